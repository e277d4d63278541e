/* test_delta_net.c - gated delta nets in whole models: how a prompt is cut does not show.
 *
 * The delta rule itself is held against a double-precision oracle by check_kernels, and the models
 * against llama.cpp by test_golden. Here the same tokens go through in pieces of every kind, shorter
 * and longer than what the mixer makes ready at a time. */

#include "../slm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden.h"

static void load(struct golden *g, slm_model **model, const char *name)
{
    char path[96];
    slm_error err;
    snprintf(path, sizeof path, "tests/golden/models/%s.txt", name);
    if (!golden_load(g, path, NULL)) {
        fail_msg("%s: %s", name, g->error);
    }
    const void *data = g->image;
    if (slm_model_open_memory(model, &data, &g->image_size, 1, NULL, &err) != SLM_OK) {
        fail_msg("%s: %s", name, err.message);
    }
}

/* Logits of all tokens, n_at_once a call. */
static float *evaluate(const struct golden *g, slm_model *model, uint32_t flags, int32_t n_threads,
                       int32_t n_at_once)
{
    size_t row = (size_t)g->n_vocab;
    float *rows = (float *)malloc((size_t)g->n_tokens * row * sizeof(float));
    slm_context *context = NULL;
    slm_context_options o;
    slm_error err;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = g->n_ctx;
    o.n_logits = g->n_tokens;
    o.n_threads = n_threads;
    o.flags = flags;
    o.kv_type = SLM_KV_F32;
    assert_non_null(rows);
    assert_int_equal(slm_context_create(&context, model, &o, &err), SLM_OK);
    for (int32_t first = 0; first < g->n_tokens; first += n_at_once) {
        slm_span span;
        memset(&span, 0, sizeof span);
        span.struct_size = (uint32_t)sizeof span;
        span.position = -1;
        span.tokens = g->tokens + first;
        span.n_tokens = g->n_tokens - first < n_at_once ? g->n_tokens - first : n_at_once;
        span.want = SLM_WANT_ALL;
        assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, &err), SLM_OK);
        for (int32_t i = 0; i < span.n_tokens; i++) {
            const float *logits = NULL;
            assert_int_equal(slm_logits(context, i, &logits, &err), SLM_OK);
            memcpy(rows + (size_t)(first + i) * row, logits, row * sizeof(float));
        }
    }
    slm_context_free(context);
    return rows;
}

static const char *const names[] = {"qwen35-eqheads", "qwen35", "qwen35moe", "qwen3next",
                                    "qwen3next-legacy"};
static const int32_t pieces[] = {2, 7, 31, 33, 64, 1000};

static void pieces_of_a_prompt_do_not_show(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct golden g;
        slm_model *model = NULL;
        load(&g, &model, names[i]);
        size_t n = (size_t)g.n_tokens * (size_t)g.n_vocab;
        float *want = evaluate(&g, model, SLM_CONTEXT_BATCH_INVARIANT, 1, 1);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            for (int32_t threads = 1; threads <= 3; threads++) {
                float *got = evaluate(&g, model, SLM_CONTEXT_BATCH_INVARIANT, threads, pieces[p]);
                if (memcmp(want, got, n * sizeof(float)) != 0) {
                    fail_msg("%s: %d tokens at once, %d threads: other bits", names[i],
                             (int)pieces[p], (int)threads);
                }
                free(got);
            }
        }
        free(want);
        slm_model_free(model);
        golden_free(&g);
    }
}

/* Of the products: the mixer's bits are the same. Delta nets make more of it than others where q and
 * k of a head are nearly at right angles and the norm behind them divides by next to nothing. */
static void without_the_flag_only_rounding_shows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct golden g;
        slm_model *model = NULL;
        load(&g, &model, names[i]);
        float *want = evaluate(&g, model, 0, 1, 1);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            float *got = evaluate(&g, model, 0, 2, pieces[p]);
            double nmse = golden_nmse(want, got, (size_t)g.n_tokens * (size_t)g.n_vocab);
            if (!(nmse < 1e-8)) {
                fail_msg("%s: %d tokens at once: nmse %g", names[i], (int)pieces[p], nmse);
            }
            free(got);
        }
        free(want);
        slm_model_free(model);
        golden_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_a_prompt_do_not_show),
        cmocka_unit_test(without_the_flag_only_rounding_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
