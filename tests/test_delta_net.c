/* test_delta_net.c - gated delta nets in whole models: how a prompt is cut does not show, or only as
 * rounding where chunks are run as products of matrices.
 *
 * The delta rule itself is held against a double-precision oracle by check_kernels, and the models
 * against llama.cpp by test_golden. Here the same tokens go through in pieces of every kind, shorter
 * and longer than what the mixer makes ready at a time. Heads of the golden models are too small for
 * products of matrices; one of them is made anew with heads of 128. */

#include "../slm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "calls.h"
#include "golden.h"

#define N_SEQUENCES 4

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

/* A context with room for the logits of all tokens. */
static slm_context *context_for(const struct golden *g, slm_model *model, uint32_t flags,
                                slm_threads *threads, int32_t n_threads)
{
    slm_context *context = NULL;
    slm_context_options o;
    slm_error err;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = g->n_ctx;
    o.n_logits = g->n_tokens;
    o.n_sequences = N_SEQUENCES;
    o.n_threads = n_threads;
    o.threads = threads;
    o.flags = flags;
    o.kv_type = SLM_KV_F32;
    assert_int_equal(slm_context_create(&context, model, &o, &err), SLM_OK);
    return context;
}

/* n rows of logits of the last call, from row `first` on. */
static void take_rows(const struct golden *g, slm_context *context, int32_t first, int32_t n,
                      float *rows)
{
    for (int32_t i = 0; i < n; i++, rows += g->n_vocab) {
        const float *logits = NULL;
        assert_int_equal(slm_logits(context, first + i, &logits, NULL, NULL), SLM_OK);
        memcpy(rows, logits, (size_t)g->n_vocab * sizeof(float));
    }
}

static float *room_for_rows(const struct golden *g)
{
    float *rows = (float *)malloc((size_t)g->n_tokens * (size_t)g->n_vocab * sizeof(float));
    assert_non_null(rows);
    return rows;
}

/* Logits of all tokens, n_at_once a call. */
static float *evaluate(const struct golden *g, slm_model *model, uint32_t flags, int32_t n_threads,
                       int32_t n_at_once)
{
    float *rows = room_for_rows(g);
    slm_context *context = context_for(g, model, flags, NULL, n_threads);
    slm_error err;
    for (int32_t first = 0; first < g->n_tokens; first += n_at_once) {
        int32_t n = g->n_tokens - first < n_at_once ? g->n_tokens - first : n_at_once;
        slm_span span = span_of(0, g->tokens + first, n, SLM_WANT_ALL);
        assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, &err), SLM_OK);
        take_rows(g, context, 0, n, rows + (size_t)first * (size_t)g->n_vocab);
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

/* Delta nets make more of it than others where q and
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

/* ---- Heads of 128 ---------------------------------------------------------------------------- */

#define N_LONG 700

/* Lines of the golden model and what becomes of them; lines of results are left out. */
static const char *const wider[][2] = {
    {"qwen35.context_length u32 256", "qwen35.context_length u32 2048"},
    {"ssm.inner_size u32 64", "ssm.inner_size u32 512"},
    {"ssm.state_size u32 16", "ssm.state_size u32 128"},
    {"attn_qkv.weight f32 64 128", "attn_qkv.weight f32 64 1024"},
    {"attn_gate.weight f32 64 64", "attn_gate.weight f32 64 512"},
    {"ssm_conv1d.weight f32 4 128", "ssm_conv1d.weight f32 4 1024"},
    {"ssm_norm.weight f32 16", "ssm_norm.weight f32 128"},
    {"ssm_out.weight f32 64 64", "ssm_out.weight f32 512 64"},
};

static void widen_line(char *to, size_t size, const char *line)
{
    snprintf(to, size, "%s", line);
    for (size_t i = 0; i < sizeof wider / sizeof wider[0]; i++) {
        const char *at = strstr(line, wider[i][0]);
        if (at != NULL) {
            snprintf(to, size, "%.*s%s%s", (int)(at - line), line, wider[i][1],
                     at + strlen(wider[i][0]));
        }
    }
}

static void load_wide(struct golden *g, slm_model **model)
{
    static char line[1 << 16];
    struct golden_parts p;
    struct golden_counts counts = {0, 0, 0, 0};
    size_t size = 0;
    slm_error err;
    char *text = testing_read("tests/golden/models/qwen35.txt", &size);
    assert_non_null(text);
    memset(g, 0, sizeof *g);
    memset(&p, 0, sizeof p);
    (void)strtok(text, "\n");
    for (char *word = strtok(NULL, "\n"); word != NULL; word = strtok(NULL, "\n")) {
        widen_line(line, sizeof line, word);
        if (strncmp(line, "logits", 6) != 0 && !golden_line(g, &p, &counts, line)) {
            fail_msg("not understood: %.60s", word);
        }
    }
    assert_true(golden_assemble(g, &p));
    free(text);
    free(p.keys.data);
    free(p.infos.data);
    free(p.data.data);
    const void *data = g->image;
    if (slm_model_open_memory(model, &data, &g->image_size, 1, NULL, &err) != SLM_OK) {
        fail_msg("wide: %s", err.message);
    }
    int32_t *tokens = (int32_t *)malloc(N_LONG * sizeof(int32_t));
    assert_non_null(tokens);
    for (int32_t i = 0; i < N_LONG; i++) {
        tokens[i] = (int32_t)((uint32_t)i * 2654435761u >> 24) + i % 7;
    }
    free(g->tokens);
    g->tokens = tokens;
    g->n_tokens = N_LONG;
    g->n_ctx = 2 * N_LONG;
    g->n_vocab = 275;
}

static void assert_close(const struct golden *g, const float *want, const float *got, int32_t n,
                         const char *what, int32_t number)
{
    double nmse = golden_nmse(want, got, (size_t)n * (size_t)g->n_vocab);
    if (!(nmse < 1e-8)) {
        fail_msg("%s %d: nmse %g", what, (int)number, nmse);
    }
}

static void chunks_of_a_prompt_show_as_rounding_only(void **state)
{
    static const int32_t chunks[] = {19, 20, 33, 64, 65, 100, N_LONG};
    struct golden g;
    slm_model *model = NULL;
    (void)state;
    load_wide(&g, &model);
    size_t bytes = (size_t)g.n_tokens * (size_t)g.n_vocab * sizeof(float);
    float *want = evaluate(&g, model, 0, 1, 1);
    float *same = evaluate(&g, model, SLM_CONTEXT_BATCH_INVARIANT, 1, 1);
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        float *one = evaluate(&g, model, 0, 1, chunks[i]);
        float *three = evaluate(&g, model, 0, 3, chunks[i]);
        float *exact = evaluate(&g, model, SLM_CONTEXT_BATCH_INVARIANT, 2, chunks[i]);
        assert_close(&g, want, one, g.n_tokens, "tokens at once", chunks[i]);
        assert_int_equal(memcmp(one, three, bytes), 0);
        assert_int_equal(memcmp(same, exact, bytes), 0);
        free(one);
        free(three);
        free(exact);
    }
    free(want);
    free(same);
    slm_model_free(model);
    golden_free(&g);
}

/* The first tokens, of another number in each sequence, in one call and again the next ones. */
static void sequences_share_a_batch(void **state)
{
    static const int32_t lengths[N_SEQUENCES] = {70, 21, 1, 150};
    struct golden g;
    slm_model *model = NULL;
    (void)state;
    load_wide(&g, &model);
    float *want = evaluate(&g, model, 0, 1, 1), *got = room_for_rows(&g);
    slm_context *context = context_for(&g, model, 0, NULL, 2);
    for (int32_t round = 0; round < 2; round++) {
        slm_span spans[N_SEQUENCES];
        for (int32_t i = 0; i < N_SEQUENCES; i++) {
            spans[i] = span_of(i, g.tokens + round * lengths[i], lengths[i], SLM_WANT_ALL);
        }
        assert_int_equal(slm_eval(context, spans, N_SEQUENCES, sizeof spans[0], NULL, NULL),
                         SLM_OK);
        for (int32_t i = 0, row = 0; i < N_SEQUENCES; row += lengths[i++]) {
            take_rows(&g, context, row, lengths[i], got);
            assert_close(&g, want + (size_t)(round * lengths[i]) * (size_t)g.n_vocab, got,
                         lengths[i], "sequence", i);
        }
    }
    free(want);
    free(got);
    slm_context_free(context);
    slm_model_free(model);
    golden_free(&g);
}

/* Runs regions and sets the cancel flag before number `at`. */
struct stopper {
    int32_t cancel;
    int64_t at, n_regions;
};

static void run_until(void *user, int32_t n, void (*fn)(void *arg, int32_t index), void *arg)
{
    struct stopper *s = (struct stopper *)user;
    s->cancel = ++s->n_regions >= s->at;
    for (int32_t i = n - 1; i >= 0; i--) {
        fn(arg, i);
    }
}

static void a_cancelled_chunk_was_never_there(void **state)
{
    struct golden g;
    slm_model *model = NULL;
    struct stopper stopper = {0, INT64_MAX, 0};
    slm_threads *threads = NULL;
    slm_threads_options o;
    slm_eval_options e;
    int status = SLM_E_CANCELLED;
    (void)state;
    load_wide(&g, &model);
    g.n_tokens = 200;
    float *want = evaluate(&g, model, 0, 1, 100), *got = room_for_rows(&g);
    slm_threads_options_init(&o, sizeof o);
    o.n_threads = 2;
    o.parallel = run_until;
    o.parallel_user = &stopper;
    assert_int_equal(slm_threads_create(&threads, &o, NULL), SLM_OK);
    slm_context *context = context_for(&g, model, 0, threads, 2);
    slm_span span = span_of(0, g.tokens, 100, SLM_WANT_ALL);
    assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, NULL), SLM_OK);
    slm_eval_options_init(&e, sizeof e);
    e.cancel = &stopper.cancel;
    for (int64_t at = 1; status == SLM_E_CANCELLED && at < 1000; at++) {
        span = span_of(0, g.tokens + 100, 100, SLM_WANT_ALL);
        stopper.cancel = 0;
        stopper.n_regions = 0;
        stopper.at = at;
        status = slm_eval(context, &span, 1, sizeof span, &e, NULL);
        assert_int_equal(span.n_done, status == SLM_OK ? 100 : 0);
    }
    assert_int_equal(status, SLM_OK);
    assert_in_range(stopper.n_regions, 10, 1000);
    take_rows(&g, context, 0, 100, got);
    size_t half = (size_t)100 * (size_t)g.n_vocab;
    assert_int_equal(memcmp(want + half, got, half * sizeof(float)), 0);
    free(want);
    free(got);
    slm_context_free(context);
    slm_threads_free(threads);
    slm_model_free(model);
    golden_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_a_prompt_do_not_show),
        cmocka_unit_test(without_the_flag_only_rounding_shows),
        cmocka_unit_test(chunks_of_a_prompt_show_as_rounding_only),
        cmocka_unit_test(sequences_share_a_batch),
        cmocka_unit_test(a_cancelled_chunk_was_never_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
