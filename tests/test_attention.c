/* test_attention.c - sliding windows, and splits of long caches. */
#include "../slm.c"

#include <setjmp.h>

#include <cmocka.h>

#include "calls.h"
#include "golden.h"

#define N_TOKENS 1300 /* more than two runs of pages */

static struct golden manifest;
static slm_model *model; /* one layer: a position sees what attention lets it see, and no more */
static int32_t ids[N_TOKENS];

/* The manifest's model, cut down to its first layer by the key that counts them. */
static int setup(void **state)
{
    static const char key[] = "llama.block_count";
    slm_error err;
    (void)state;
    if (!golden_load(&manifest, "tests/golden/models/llama-3.2.txt", NULL)) {
        fprintf(stderr, "%s\n", manifest.error);
        return 1;
    }
    for (size_t i = 0; i + sizeof key + 8 < manifest.image_size; i++) {
        if (memcmp(manifest.image + i, key, sizeof key - 1) == 0) {
            manifest.image[i + sizeof key - 1 + 4] = 1;
        }
    }
    for (int i = 0; i < N_TOKENS; i++) {
        ids[i] = (i * 53 + i / 11) % 250;
    }
    const void *data = manifest.image;
    slm_model_options o;
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_SURPLUS; /* the other layers */
    int status = slm_model_open_memory(&model, &data, &manifest.image_size, 1, &o, &err);
    if (status != SLM_OK || model->hparams.n_layer != 1) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slm_model_free(model);
    golden_free(&manifest);
    return 0;
}

/* The logits after ids[first..end-1] in an empty sequence, in batches of n_batch; to be freed. */
static float *logits_of(int32_t first, int32_t end, int32_t n_batch, int32_t n_threads)
{
    slm_context_options o;
    slm_context *c = NULL;
    slm_error err;
    const float *row = NULL;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 2048;
    o.n_batch = n_batch;
    o.kv_type = SLM_KV_F32;
    o.n_threads = n_threads;
    assert_int_equal(slm_context_create(&c, model, &o, &err), SLM_OK);
    eval(c, 0, ids + first, end - first, SLM_WANT_LAST);
    assert_int_equal(slm_logits(c, -1, &row, NULL, &err), SLM_OK);
    size_t bytes = (size_t)model->hparams.n_vocab * sizeof(float);
    float *copy = (float *)malloc(bytes);
    memcpy(copy, row, bytes);
    slm_context_free(c);
    return copy;
}

static double difference(float *a, float *b)
{
    double nmse = golden_nmse(a, b, (size_t)model->hparams.n_vocab);
    free(a);
    free(b);
    return nmse;
}

/* Rotations are relative: with one layer, a window of w gives what the last w tokens give alone. */
static void a_window_shows_the_last_positions_and_no_more(void **state)
{
    static const int32_t windows[] = {1, 2, 127, 128, 129, 511, 512, 513, 1000};
    static const int32_t batches[] = {1, 3, 100, 512};
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
            int32_t w = windows[i];
            model->layers[0].window = w;
            float *windowed = logits_of(0, N_TOKENS, batches[b], 1);
            model->layers[0].window = 0;
            float *alone = logits_of(N_TOKENS - w, N_TOKENS, 512, 1);
            double nmse = difference(windowed, alone);
            if (!(nmse < 1e-9)) {
                print_error("window %d, batch %d: nmse %g\n", w, batches[b], nmse);
            }
            assert_true(nmse < 1e-9);
        }
    }
}

static void a_window_off_by_one_would_show(void **state)
{
    (void)state;
    model->layers[0].window = 64;
    float *windowed = logits_of(0, N_TOKENS, 512, 1);
    model->layers[0].window = 0;
    assert_true(difference(windowed, logits_of(N_TOKENS - 63, N_TOKENS, 512, 1)) > 1e-7);
    model->layers[0].window = 64;
    windowed = logits_of(0, N_TOKENS, 512, 1);
    model->layers[0].window = 0;
    assert_true(difference(windowed, logits_of(N_TOKENS - 65, N_TOKENS, 512, 1)) > 1e-7);
}

/* A batch of up to four tokens gives each run of pages to a task of its own. */
static void splitting_a_long_cache_changes_no_bit(void **state)
{
    (void)state;
    for (int32_t window = 0; window <= 700; window += 350) {
        model->layers[0].window = window;
        float *one = logits_of(0, N_TOKENS, 1, 1), *three = logits_of(0, N_TOKENS, 3, 3);
        assert_true(difference(one, three) < 1e-12);
        one = logits_of(0, N_TOKENS, 1, 1);
        three = logits_of(0, N_TOKENS, 1, 3);
        assert_memory_equal(one, three, (size_t)model->hparams.n_vocab * sizeof(float));
        free(one);
        free(three);
    }
    model->layers[0].window = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_shows_the_last_positions_and_no_more),
        cmocka_unit_test(a_window_off_by_one_would_show),
        cmocka_unit_test(splitting_a_long_cache_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
