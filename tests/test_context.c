/* test_context.c - evaluation: sequences, batches, fork, rewind, cancel, deadlines, threads.
 *
 * "The same" means the same bits wherever the contract says so (threads,
 * SLM_CONTEXT_BATCH_INVARIANT, the f32 tiny model whose products do not depend on the batch), and a
 * small nmse elsewhere. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#endif
#include <unistd.h>

#include <cmocka.h>

#include "../slm.h"
#include "calls.h"
#include "golden.h"

#define N_LONG 200 /* tokens: more than one page */

static slm_model *tiny;  /* f32, rebuilt from a manifest */
static slm_model *story; /* Q8_0 */
static struct golden tiny_golden;
static int32_t tokens_long[N_LONG];

static int setup(void **state)
{
    slm_error err;
    (void)state;
    if (!golden_load(&tiny_golden, "tests/golden/models/llama-3.2.txt", NULL)) {
        fprintf(stderr, "%s\n", tiny_golden.error);
        return 1;
    }
    const void *data = tiny_golden.image;
    for (int i = 0; i < N_LONG; i++) {
        tokens_long[i] = (i * 37 + i / 7) % 200;
    }
    return slm_model_open_memory(&tiny, &data, &tiny_golden.image_size, 1, NULL, &err) != SLM_OK ||
           slm_model_open(&story, TESTING_STORYTELLER, NULL, &err) != SLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    slm_model_free(tiny);
    slm_model_free(story);
    golden_free(&tiny_golden);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------- */

static slm_context_options options_of(int32_t n_sequences, int32_t n_batch)
{
    slm_context_options o;
    assert_int_equal(slm_context_options_init(&o, sizeof o), SLM_OK);
    o.n_ctx = 256;
    o.n_sequences = n_sequences;
    o.n_batch = n_batch;
    o.n_logits = 256;
    o.n_threads = 1;
    o.kv_type = SLM_KV_F32; /* an f16 cache rounds differences of the last bit up */
    return o;
}

static slm_context *make(slm_model *model, const slm_context_options *o)
{
    slm_context *c = NULL;
    slm_error err;
    int status = slm_context_create(&c, model, o, &err);
    if (status != SLM_OK) {
        print_error("%s\n", err.message);
    }
    assert_int_equal(status, SLM_OK);
    return c;
}

static int n_vocab_of(slm_model *model)
{
    slm_model_info info;
    info.struct_size = (uint32_t)sizeof info;
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    return info.n_vocab;
}

/* A copy of row i of the last evaluation's logits; to be freed. */
static float *logits_copy(slm_context *c, slm_model *model, int32_t i)
{
    const float *row = NULL;
    size_t n = (size_t)n_vocab_of(model);
    int32_t width = 0;
    assert_int_equal(slm_logits(c, i, &row, &width, NULL), SLM_OK);
    assert_int_equal(width, n);
    float *copy = (float *)malloc(n * sizeof(float));
    assert_non_null(copy);
    memcpy(copy, row, n * sizeof(float));
    return copy;
}

static int32_t length_of(slm_context *c, int32_t sequence)
{
    int32_t n = -1;
    assert_int_equal(slm_sequence_length(c, sequence, &n, NULL), SLM_OK);
    return n;
}

/* The logits after n tokens in a fresh context of one sequence and one batch. */
static float *fresh(slm_model *model, const int32_t *tokens, int32_t n)
{
    slm_context_options o = options_of(1, 512);
    slm_context *c = make(model, &o);
    eval(c, 0, tokens, n, SLM_WANT_LAST);
    float *row = logits_copy(c, model, -1);
    slm_context_free(c);
    return row;
}

/* Batches of different sizes round differently, and on AMX the parts of many tokens add up to 16 bits
 * of a weight or an activation, not 24. */
#define SPLIT 1e-8

static void assert_close(slm_model *model, float *got, float *expected, double tolerance)
{
    double nmse = golden_nmse(got, expected, (size_t)n_vocab_of(model));
    if (!(nmse <= tolerance)) {
        print_error("nmse %g\n", nmse);
    }
    assert_true(nmse <= tolerance);
    free(got);
    free(expected);
}

static void assert_same(slm_model *model, float *got, float *expected)
{
    assert_memory_equal(got, expected, (size_t)n_vocab_of(model) * sizeof(float));
    free(got);
    free(expected);
}

/* ---- Sequences ------------------------------------------------------------------------------- */

static void two_sequences_interleaved_anyhow_give_the_logits_they_give_alone(void **state)
{
    static const int32_t cuts[][2] = {{1, 3}, {40, 1}, {7, 90}, {100, 100}, {200, 200}};
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        slm_context_options o = options_of(2, 48);
        slm_context *c = make(tiny, &o);
        int32_t a = 0, b = 0;
        const int32_t n_a = 170, n_b = 133;
        const int32_t *b_tokens = tokens_long + 50;
        while (a < n_a || b < n_b) {
            slm_span s[2];
            int32_t n = 0;
            int32_t step_a = n_a - a < cuts[i][0] ? n_a - a : cuts[i][0];
            int32_t step_b = n_b - b < cuts[i][1] ? n_b - b : cuts[i][1];
            if (step_b > 0) {
                s[n++] = span_of(1, b_tokens + b, step_b, SLM_WANT_LAST);
            }
            if (step_a > 0) {
                s[n++] = span_of(0, tokens_long + a, step_a, SLM_WANT_LAST);
            }
            assert_int_equal(slm_eval(c, s, n, sizeof s[0], NULL, NULL), SLM_OK);
            a += step_a;
            b += step_b;
            if (b == n_b && step_b > 0) {
                assert_close(tiny, logits_copy(c, tiny, 0), fresh(tiny, b_tokens, n_b), SPLIT);
            }
            if (a == n_a && step_a > 0) {
                assert_close(tiny, logits_copy(c, tiny, -1), fresh(tiny, tokens_long, n_a), SPLIT);
            }
        }
        slm_context_free(c);
    }
}

static void a_fork_diverges_and_leaves_its_parent_as_it_was(void **state)
{
    static const int32_t lengths[] = {1, 100, 127, 128, 129};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        slm_context_options o = options_of(3, 64);
        slm_context *c = make(tiny, &o);
        int32_t n = lengths[i];
        int32_t other[N_LONG];
        memcpy(other, tokens_long, sizeof other);
        for (int32_t t = n; t < N_LONG; t++) {
            other[t] = (tokens_long[t] + 1) % 200;
        }
        eval(c, 0, tokens_long, n, SLM_WANT_NONE);
        assert_int_equal(slm_sequence_fork(c, 0, 1, NULL), SLM_OK);
        assert_int_equal(slm_sequence_fork(c, 1, 2, NULL), SLM_OK);
        assert_int_equal(length_of(c, 1), n);
        eval(c, 1, other + n, N_LONG - n, SLM_WANT_LAST);
        assert_close(tiny, logits_copy(c, tiny, -1), fresh(tiny, other, N_LONG), SPLIT);
        eval(c, 0, tokens_long + n, N_LONG - n, SLM_WANT_LAST);
        assert_close(tiny, logits_copy(c, tiny, -1), fresh(tiny, tokens_long, N_LONG), SPLIT);
        eval(c, 2, other + n, N_LONG - n, SLM_WANT_LAST);
        assert_close(tiny, logits_copy(c, tiny, -1), fresh(tiny, other, N_LONG), SPLIT);
        slm_context_free(c);
    }
}

static void rewind_and_evaluate_again_equals_a_fresh_run(void **state)
{
    (void)state;
    slm_context_options o = options_of(1, 64);
    slm_context *c = make(tiny, &o);
    int32_t wrong[60];
    for (int i = 0; i < 60; i++) {
        wrong[i] = 3 + i;
    }
    eval(c, 0, tokens_long, 140, SLM_WANT_NONE);
    for (int32_t keep = 139; keep > 0; keep = keep * 2 / 3) {
        assert_int_equal(slm_sequence_rewind(c, 0, keep, NULL), SLM_OK);
        eval(c, 0, wrong, 60, SLM_WANT_NONE);
        assert_int_equal(slm_sequence_rewind(c, 0, keep, NULL), SLM_OK);
        eval(c, 0, tokens_long + keep, N_LONG - keep, SLM_WANT_LAST);
        assert_close(tiny, logits_copy(c, tiny, -1), fresh(tiny, tokens_long, N_LONG), SPLIT);
    }
    assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
    assert_int_equal(length_of(c, 0), 0);
    assert_int_equal(slm_sequence_rewind(c, 0, 1, NULL), SLM_E_ARGUMENT);
    slm_context_free(c);
}

static void pages_are_shared_by_forks_and_come_back(void **state)
{
    slm_context_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    (void)state;
    slm_context_options o = options_of(8, 64);
    o.n_pages = 4;
    slm_context *c = make(tiny, &o);
    eval(c, 0, tokens_long, N_LONG, SLM_WANT_NONE); /* 2 pages */
    for (int32_t s = 1; s < 8; s++) {
        assert_int_equal(slm_sequence_fork(c, 0, s, NULL), SLM_OK);
    }
    assert_int_equal(slm_context_get_info(c, &info, NULL), SLM_OK);
    assert_int_equal(info.n_pages_free, 2);
    /* Two of the eight may get a tail page of their own, then none is left. */
    eval(c, 1, tokens_long, 3, SLM_WANT_NONE);
    eval(c, 2, tokens_long, 3, SLM_WANT_NONE);
    slm_span s = span_of(3, tokens_long, 3, SLM_WANT_NONE);
    slm_error err;
    assert_int_equal(slm_eval(c, &s, 1, sizeof s, NULL, &err), SLM_E_FULL);
    assert_non_null(strstr(err.message, "pages"));
    assert_int_equal(length_of(c, 3), N_LONG);
    for (int32_t i = 0; i < 8; i++) {
        if (i != 3) {
            assert_int_equal(slm_sequence_rewind(c, i, 0, NULL), SLM_OK);
        }
    }
    eval(c, 3, tokens_long, 3, SLM_WANT_NONE); /* the last holder writes in place */
    assert_int_equal(slm_context_get_info(c, &info, NULL), SLM_OK);
    assert_int_equal(info.n_pages_free, 2);
    slm_context_free(c);
}

/* All who share a page and write it in one call: one of them may keep it. */
static void sharers_that_write_together_need_one_page_less_than_they_are(void **state)
{
    (void)state;
    slm_context_options o = options_of(2, 64);
    o.n_pages = 2;
    slm_context *c = make(tiny, &o);
    eval(c, 0, tokens_long, 10, SLM_WANT_NONE);
    assert_int_equal(slm_sequence_fork(c, 0, 1, NULL), SLM_OK);
    slm_span s[2] = {span_of(0, tokens_long + 10, 5, SLM_WANT_LAST),
                     span_of(1, tokens_long + 20, 5, SLM_WANT_LAST)};
    assert_int_equal(slm_eval(c, s, 2, sizeof s[0], NULL, NULL), SLM_OK);
    assert_close(tiny, logits_copy(c, tiny, 0), fresh(tiny, tokens_long, 15), SPLIT);
    slm_context_free(c);
}

/* ---- Ending early ---------------------------------------------------------------------------- */

struct stopper {
    int32_t cancel;
    uint64_t at; /* tokens done when it stops */
    int32_t by_return;
};

static int32_t stop_at(void *user, uint64_t done, uint64_t total)
{
    struct stopper *s = (struct stopper *)user;
    assert_true(done <= total);
    if (done >= s->at) {
        s->cancel = 1;
        return s->by_return;
    }
    return 0;
}

static void a_cancelled_prefill_resumed_gives_what_one_call_gives(void **state)
{
    (void)state;
    for (int32_t by_return = 0; by_return < 2; by_return++) {
        slm_context_options o = options_of(1, 32);
        slm_context *c = make(tiny, &o);
        slm_eval_options e;
        struct stopper stopper = {0, 64, by_return};
        assert_int_equal(slm_eval_options_init(&e, sizeof e), SLM_OK);
        e.cancel = by_return ? NULL : &stopper.cancel;
        e.progress = stop_at;
        e.progress_user = &stopper;
        slm_span s = span_of(0, tokens_long, N_LONG, SLM_WANT_LAST);
        assert_int_equal(slm_eval(c, &s, 1, sizeof s, &e, NULL), SLM_E_CANCELLED);
        assert_int_equal(s.n_done, 64);
        assert_int_equal(length_of(c, 0), 64);
        const float *row = NULL;
        assert_int_equal(slm_logits(c, -1, &row, NULL, NULL), SLM_E_ARGUMENT);
        eval(c, 0, tokens_long + 64, N_LONG - 64, SLM_WANT_LAST);
        assert_close(tiny, logits_copy(c, tiny, -1), fresh(tiny, tokens_long, N_LONG), SPLIT);
        slm_context_free(c);
    }
}

static void a_cancel_set_beforehand_changes_nothing(void **state)
{
    (void)state;
    slm_context_options o = options_of(1, 32);
    slm_context *c = make(tiny, &o);
    slm_eval_options e;
    int32_t cancel = 1;
    slm_eval_options_init(&e, sizeof e);
    e.cancel = &cancel;
    slm_span s = span_of(0, tokens_long, 10, SLM_WANT_LAST);
    assert_int_equal(slm_eval(c, &s, 1, sizeof s, &e, NULL), SLM_E_CANCELLED);
    assert_int_equal(s.n_done, 0);
    assert_int_equal(length_of(c, 0), 0);
    slm_context_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    assert_int_equal(slm_context_get_info(c, &info, NULL), SLM_OK);
    assert_int_equal(info.n_pages_free, info.n_pages);
    slm_context_free(c);
}

static void deadlines_are_kept_and_progress_is_made(void **state)
{
    (void)state;
    slm_context_options o = options_of(1, 256);
    o.n_ctx = 1024;
    slm_context *c = make(story, &o);
    int32_t tokens[800];
    int32_t done = 0;
    int calls = 0;
    int64_t budget =
        20000000; /* 20 ms, or on a machine where a token takes longer what that takes */
    slm_eval_options e;
    slm_eval_options_init(&e, sizeof e);
    for (int i = 0; i < 800; i++) {
        tokens[i] = i * 7 % 2000;
    }
    while (done < 800 && calls < 100000) {
        slm_span s = span_of(0, tokens + done, 800 - done, SLM_WANT_LAST);
        int64_t start = slm_clock_ns();
        e.deadline_ns = start + budget;
        int status = slm_eval(c, &s, 1, sizeof s, &e, NULL);
        assert_true(status == SLM_OK || status == SLM_E_DEADLINE);
        budget += s.n_done == 0 ? budget : 0;
        done += s.n_done;
        calls++;
    }
    assert_int_equal(done, 800);
    assert_true(calls > 1);
    float *row = logits_copy(c, story, -1);
    assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
    eval(c, 0, tokens, 800, SLM_WANT_LAST);
    /* small batches round activations to 8-bit blocks, large ones on AMX to bf16 */
    assert_close(story, row, logits_copy(c, story, -1), 1e-3);
    e.deadline_ns = slm_clock_ns() - 1;
    slm_span s = span_of(0, tokens, 1, SLM_WANT_NONE);
    assert_int_equal(slm_eval(c, &s, 1, sizeof s, &e, NULL), SLM_E_DEADLINE);
    slm_context_free(c);
}

/* ---- The same bits --------------------------------------------------------------------------- */

static void results_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    float *expected = NULL;
    for (int32_t n = 1; n <= 5; n++) {
        slm_context_options o = options_of(1, 64);
        o.n_threads = n;
        slm_context *c = make(story, &o);
        eval(c, 0, tokens_long, N_LONG - 1, SLM_WANT_NONE);
        eval(c, 0, tokens_long, 1, SLM_WANT_LAST);
        float *row = logits_copy(c, story, -1);
        if (expected == NULL) {
            expected = row;
        } else {
            assert_memory_equal(row, expected, (size_t)n_vocab_of(story) * sizeof(float));
            free(row);
        }
        slm_context_free(c);
    }
    free(expected);
}

static void batch_invariant_results_do_not_depend_on_how_a_prompt_is_split(void **state)
{
    (void)state;
    slm_model *models[2] = {tiny, story};
    for (int m = 0; m < 2; m++) {
        slm_context_options o = options_of(2, 200);
        o.flags = SLM_CONTEXT_BATCH_INVARIANT;
        slm_context *c = make(models[m], &o);
        eval(c, 0, tokens_long, N_LONG, SLM_WANT_LAST);
        float *expected = logits_copy(c, models[m], -1);
        uint32_t random = 1;
        for (int round = 0; round < 6; round++) {
            assert_int_equal(slm_sequence_rewind(c, 1, 0, NULL), SLM_OK);
            for (int32_t t = 0; t < N_LONG;) {
                random = random * 1664525u + 1013904223u;
                int32_t n = round == 0 ? 1 : 1 + (int32_t)(random >> 16) % (round * 13);
                n = n < N_LONG - t ? n : N_LONG - t;
                eval(c, 1, tokens_long + t, n, t + n == N_LONG ? SLM_WANT_LAST : SLM_WANT_NONE);
                t += n;
            }
            assert_same(models[m], logits_copy(c, models[m], -1),
                        (float *)memcpy(malloc((size_t)n_vocab_of(models[m]) * 4), expected,
                                        (size_t)n_vocab_of(models[m]) * 4));
        }
        free(expected);
        slm_context_free(c);
    }
}

/* Of three spans the second fills up the first batch and the third begins in the last one. */
static void spans_over_several_batches_give_what_each_gives_alone(void **state)
{
    static const int32_t lengths[3] = {5, 40, 30};
    (void)state;
    slm_context_options o = options_of(3, 16);
    o.flags = SLM_CONTEXT_BATCH_INVARIANT;
    slm_context *together = make(tiny, &o);
    slm_context *alone = make(tiny, &o);
    slm_span spans[3];
    for (int32_t i = 0; i < 3; i++) {
        spans[i] = span_of(i, tokens_long + 10 * i, lengths[i], SLM_WANT_LAST);
    }
    assert_int_equal(slm_eval(together, spans, 3, sizeof *spans, NULL, NULL), SLM_OK);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(spans[i].n_done, lengths[i]);
        assert_int_equal(length_of(together, i), lengths[i]);
        eval(alone, i, tokens_long + 10 * i, lengths[i], SLM_WANT_LAST);
        assert_same(tiny, logits_copy(together, tiny, i), logits_copy(alone, tiny, -1));
    }
    slm_context_free(together);
    slm_context_free(alone);
}

static void all_logits_are_those_of_each_token_in_turn(void **state)
{
    (void)state;
    slm_context_options o = options_of(1, 64);
    slm_context *c = make(tiny, &o);
    eval(c, 0, tokens_long, 150, SLM_WANT_ALL);
    for (int32_t i = 0; i < 150; i += 49) {
        assert_close(tiny, logits_copy(c, tiny, i), fresh(tiny, tokens_long, i + 1), SPLIT);
    }
    slm_context_free(c);
}

static void exact_activations_are_closer_than_rounded_ones(void **state)
{
    (void)state;
    slm_context_options o = options_of(1, 64);
    slm_context *rounded = make(story, &o);
    o.flags = SLM_CONTEXT_EXACT;
    slm_context *exact = make(story, &o);
    eval(rounded, 0, tokens_long, 60, SLM_WANT_LAST);
    eval(exact, 0, tokens_long, 60, SLM_WANT_LAST);
    float *a = logits_copy(rounded, story, -1), *b = logits_copy(exact, story, -1);
    double nmse = golden_nmse(a, b, (size_t)n_vocab_of(story));
    assert_true(nmse > 1e-12 && nmse < 1e-2);
    free(a);
    free(b);
    slm_context_free(rounded);
    slm_context_free(exact);
}

/* ---- Executors of the host ------------------------------------------------------------------- */

static void run_forward(void *user, int32_t n, slm_task_fn task, void *arg)
{
    (void)user;
    for (int32_t i = 0; i < n; i++) {
        task(arg, i);
    }
}

static void run_backward(void *user, int32_t n, slm_task_fn task, void *arg)
{
    (void)user;
    for (int32_t i = n; i-- > 0;) {
        task(arg, i);
    }
}

static void run_shuffled(void *user, int32_t n, slm_task_fn task, void *arg)
{
    uint32_t *random = (uint32_t *)user;
    int32_t order[64];
    for (int32_t i = 0; i < n; i++) {
        *random = *random * 1664525u + 1013904223u;
        int32_t j = (int32_t)((*random >> 8) % (uint32_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (int32_t i = 0; i < n; i++) {
        task(arg, order[i]);
    }
}

static void any_executor_gives_the_same_bits(void **state)
{
    static const slm_parallel_fn executors[] = {run_forward, run_backward, run_shuffled};
    uint32_t random = 7;
    (void)state;
    slm_context_options o = options_of(1, 64);
    slm_context *alone = make(story, &o);
    eval(alone, 0, tokens_long, 100, SLM_WANT_LAST);
    float *expected = logits_copy(alone, story, -1);
    slm_context_free(alone);
    for (size_t i = 0; i < sizeof executors / sizeof executors[0]; i++) {
        slm_threads_options t;
        slm_threads *threads = NULL;
        slm_threads_options_init(&t, sizeof t);
        t.n_threads = 8;
        t.parallel = executors[i];
        t.parallel_user = &random;
        assert_int_equal(slm_threads_create(&threads, &t, NULL), SLM_OK);
        o.threads = threads;
        slm_context *c = make(story, &o);
        slm_threads_free(threads); /* the context keeps it */
        eval(c, 0, tokens_long, 100, SLM_WANT_LAST);
        float *row = logits_copy(c, story, -1);
        assert_memory_equal(row, expected, (size_t)n_vocab_of(story) * sizeof(float));
        free(row);
        slm_context_free(c);
    }
    free(expected);
}

struct user {
    pthread_t thread;
    slm_threads *pool;
    float *row;
    int status;
};

/* Only slm calls: cmocka's checks belong to the thread that runs the test. */
static void *use_pool(void *arg)
{
    struct user *u = (struct user *)arg;
    slm_context_options o;
    slm_context *c = NULL;
    const float *row = NULL;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 256;
    o.kv_type = SLM_KV_F32;
    o.threads = u->pool;
    u->status = slm_context_create(&c, story, &o, NULL);
    for (int round = 0; round < 5 && u->status == SLM_OK; round++) {
        slm_span s = span_of(0, tokens_long, 100, SLM_WANT_LAST);
        slm_sequence_rewind(c, 0, 0, NULL);
        u->status = slm_eval(c, &s, 1, sizeof s, NULL, NULL);
    }
    if (u->status == SLM_OK) {
        u->status = slm_logits(c, -1, &row, NULL, NULL);
    }
    if (u->status == SLM_OK) {
        memcpy(u->row, row, (size_t)n_vocab_of(story) * sizeof(float));
    }
    slm_context_free(c);
    return NULL;
}

static void contexts_of_several_threads_share_a_model_and_a_pool(void **state)
{
    struct user users[4];
    slm_threads *pool = NULL;
    slm_threads_options t;
    size_t bytes = (size_t)n_vocab_of(story) * sizeof(float);
    (void)state;
    slm_threads_options_init(&t, sizeof t);
    t.n_threads = 3;
    assert_int_equal(slm_threads_create(&pool, &t, NULL), SLM_OK);
    for (int i = 0; i < 4; i++) {
        users[i].pool = pool;
        users[i].row = (float *)calloc(1, bytes);
        assert_int_equal(pthread_create(&users[i].thread, NULL, use_pool, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(users[i].thread, NULL), 0);
        assert_int_equal(users[i].status, SLM_OK);
        assert_memory_equal(users[i].row, users[0].row, bytes);
    }
    for (int i = 0; i < 4; i++) {
        free(users[i].row);
    }
    slm_threads_free(pool);
}

/* What the child finds; 0 if all is as slm.h says. */
#if !defined(_WIN32)
static int child_after_fork(slm_context *c, slm_threads *pool)
{
    slm_context_options o;
    slm_context *own = NULL;
    slm_error err;
    slm_span s = span_of(0, tokens_long, 5, SLM_WANT_LAST);
    if (slm_eval(c, &s, 1, sizeof s, NULL, &err) != SLM_E_FORKED) {
        return 1;
    }
    slm_context_free(c);
    slm_context_options_init(&o, sizeof o);
    o.threads = pool;
    if (slm_context_create(&own, story, &o, &err) != SLM_E_FORKED) {
        return 3;
    }
    slm_threads_free(pool);
    o.threads = NULL;
    o.n_threads = 2;
    if (slm_context_create(&own, story, &o, &err) != SLM_OK ||
        slm_eval(own, &s, 1, sizeof s, NULL, &err) != SLM_OK) {
        return 2;
    }
    slm_context_free(own);
    return 0;
}

static void after_fork_the_child_may_use_the_model_and_not_the_context(void **state)
{
    if (getenv("EMULATED") != NULL) {
        skip(); /* qemu-user fails an assertion of its own in a child that makes a thread */
    }
    (void)state;
    slm_context_options o = options_of(1, 64);
    slm_threads *pool = NULL;
    assert_int_equal(slm_threads_create(&pool, NULL, NULL), SLM_OK);
    o.threads = pool;
    slm_context *c = make(story, &o);
    eval(c, 0, tokens_long, 20, SLM_WANT_LAST);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(child_after_fork(c, pool));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    eval(c, 0, tokens_long, 20, SLM_WANT_LAST);
    slm_context_free(c);
    slm_threads_free(pool);
}
#endif

/* ---- Wrong arguments ------------------------------------------------------------------------- */

static void expect(slm_context *c, slm_span s, int status, const char *part)
{
    slm_error err;
    int got = slm_eval(c, &s, 1, sizeof s, NULL, &err);
    if (got != status || strstr(err.message, part) == NULL) {
        print_error("%s: %s\n", slm_status_name(got), err.message);
    }
    assert_int_equal(got, status);
    assert_int_equal(err.code, status);
    assert_non_null(strstr(err.message, part));
}

static void wrong_spans_are_named_and_change_nothing(void **state)
{
    int32_t bad[3] = {5, 100000, 6};
    int32_t negative[1] = {-1};
    (void)state;
    slm_context_options o = options_of(2, 64);
    o.n_logits = 4;
    slm_context *c = make(tiny, &o);
    eval(c, 0, tokens_long, 10, SLM_WANT_NONE);
    expect(c, span_of(0, bad, 3, SLM_WANT_NONE), SLM_E_ARGUMENT, "token 1 is id 100000");
    expect(c, span_of(0, negative, 1, SLM_WANT_NONE), SLM_E_ARGUMENT, "id -1");
    expect(c, span_of(2, bad, 1, SLM_WANT_NONE), SLM_E_ARGUMENT, "sequence 2");
    expect(c, span_of(-1, bad, 1, SLM_WANT_NONE), SLM_E_ARGUMENT, "sequence -1");
    expect(c, span_of(0, NULL, 1, SLM_WANT_NONE), SLM_E_ARGUMENT, "no tokens");
    expect(c, span_of(0, bad, 0, SLM_WANT_NONE), SLM_E_ARGUMENT, "no tokens");
    expect(c, span_of(0, bad, -5, SLM_WANT_NONE), SLM_E_ARGUMENT, "no tokens");
    expect(c, span_of(0, bad, 1, 3), SLM_E_ARGUMENT, "want is 3");
    expect(c, span_of(0, tokens_long, 5, SLM_WANT_ALL), SLM_E_SPACE, "n_logits 4");
    slm_span s = span_of(0, tokens_long, 2, SLM_WANT_NONE);
    s.position = 9;
    expect(c, s, SLM_E_ARGUMENT, "position 9");
    s.position = 10;
    assert_int_equal(slm_eval(c, &s, 1, sizeof s, NULL, NULL), SLM_OK);
    slm_error err;
    assert_int_equal(slm_eval(c, NULL, 1, sizeof s, NULL, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_eval(c, &s, 1, 4, NULL, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_eval(c, &s, -1, sizeof s, NULL, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_eval(c, NULL, 0, sizeof s, NULL, &err), SLM_OK);
    assert_int_equal(length_of(c, 0), 12);
    assert_int_equal(length_of(c, 1), 0);
    slm_context_free(c);
}

static void a_full_context_is_a_status_and_not_a_shift(void **state)
{
    (void)state;
    slm_context_options o = options_of(1, 64);
    o.n_ctx = 100;
    slm_context *c = make(tiny, &o);
    expect(c, span_of(0, tokens_long, 101, SLM_WANT_NONE), SLM_E_FULL, "100 positions");
    eval(c, 0, tokens_long, 100, SLM_WANT_NONE);
    expect(c, span_of(0, tokens_long, 1, SLM_WANT_NONE), SLM_E_FULL, "100 positions");
    assert_int_equal(length_of(c, 0), 100);
    slm_context_free(c);
}

static void wrong_options_are_named(void **state)
{
    struct {
        size_t offset;
        int32_t value;
        const char *part;
    } cases[] = {
        {offsetof(slm_context_options, n_ctx), 0, "n_ctx is 0"},
        {offsetof(slm_context_options, n_ctx), -2, "n_ctx is -2"},
        {offsetof(slm_context_options, n_ctx), INT32_MAX, "n_ctx"},
        {offsetof(slm_context_options, n_sequences), 0, "n_sequences is 0"},
        {offsetof(slm_context_options, n_sequences), 257, "n_sequences is 257"},
        {offsetof(slm_context_options, n_pages), 0, "n_pages is 0"},
        {offsetof(slm_context_options, n_batch), 0, "n_batch is 0"},
        {offsetof(slm_context_options, n_batch), 4097, "n_batch is 4097"},
        {offsetof(slm_context_options, n_logits), -2, "n_logits is -2"},
        {offsetof(slm_context_options, kv_type), 2, "kv_type is 2"},
        {offsetof(slm_context_options, n_threads), 0, "n_threads is 0"},
        {offsetof(slm_context_options, n_threads), 1025, "n_threads is 1025"},
        {offsetof(slm_context_options, flags), 4, "flags 4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        slm_context_options o = options_of(1, 64);
        slm_context *c = NULL;
        slm_error err;
        memcpy((char *)&o + cases[i].offset, &cases[i].value, 4);
        assert_int_equal(slm_context_create(&c, tiny, &o, &err), SLM_E_ARGUMENT);
        assert_non_null(strstr(err.message, cases[i].part));
        assert_null(c);
    }
}

static slm_context *reentered;

static int32_t reenter(void *user, uint64_t done, uint64_t total)
{
    slm_span s = span_of(0, tokens_long, 1, SLM_WANT_NONE);
    (void)done;
    (void)total;
    *(int *)user = slm_eval(reentered, &s, 1, sizeof s, NULL, NULL);
    return 0;
}

static void a_call_from_inside_a_callback_is_busy(void **state)
{
    (void)state;
    slm_context_options o = options_of(1, 64);
    slm_eval_options e;
    int status = 0;
    reentered = make(tiny, &o);
    slm_eval_options_init(&e, sizeof e);
    e.progress = reenter;
    e.progress_user = &status;
    slm_span s = span_of(0, tokens_long, 5, SLM_WANT_NONE);
    assert_int_equal(slm_eval(reentered, &s, 1, sizeof s, &e, NULL), SLM_OK);
    assert_int_equal(status, SLM_E_BUSY);
    assert_int_equal(length_of(reentered, 0), 5);
    slm_context_free(reentered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sequences_interleaved_anyhow_give_the_logits_they_give_alone),
        cmocka_unit_test(a_fork_diverges_and_leaves_its_parent_as_it_was),
        cmocka_unit_test(rewind_and_evaluate_again_equals_a_fresh_run),
        cmocka_unit_test(pages_are_shared_by_forks_and_come_back),
        cmocka_unit_test(sharers_that_write_together_need_one_page_less_than_they_are),
        cmocka_unit_test(a_cancelled_prefill_resumed_gives_what_one_call_gives),
        cmocka_unit_test(a_cancel_set_beforehand_changes_nothing),
        cmocka_unit_test(deadlines_are_kept_and_progress_is_made),
        cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(batch_invariant_results_do_not_depend_on_how_a_prompt_is_split),
        cmocka_unit_test(spans_over_several_batches_give_what_each_gives_alone),
        cmocka_unit_test(all_logits_are_those_of_each_token_in_turn),
        cmocka_unit_test(exact_activations_are_closer_than_rounded_ones),
        cmocka_unit_test(any_executor_gives_the_same_bits),
        cmocka_unit_test(contexts_of_several_threads_share_a_model_and_a_pool),
#if !defined(_WIN32)
        cmocka_unit_test(after_fork_the_child_may_use_the_model_and_not_the_context),
#endif
        cmocka_unit_test(wrong_spans_are_named_and_change_nothing),
        cmocka_unit_test(a_full_context_is_a_status_and_not_a_shift),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(a_call_from_inside_a_callback_is_busy),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
