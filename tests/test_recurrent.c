/* test_recurrent.c - the contract of sequences that have states (slm_model_info.is_recurrent): fork,
 * rewind, checkpoints, batches that end early, spans that share a call, and the same bits whatever
 * the number of threads.
 *
 * Every test runs over all of `models`, rebuilt from golden manifests. That they compute the right
 * logits is test_golden's subject. Public functions only. */
#include "../slm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "calls.h"
#include "counting.h"
#include "golden.h"
#include "gguf_build.h"

/* A line a family; n_floats is what the state of a sequence has, in floats, added up by hand, each
 * layer's share rounded up to 16. */
static const struct subject {
    const char *manifest;
    int64_t n_floats;
} subjects[] = {
    {"lfm2", 3 * 2 * 64},
    {"mamba", 3 * (3 + 16) * 128},
    {"mamba-rms", 2 * (3 + 16) * 128},
    {"mamba2", 3 * (3 * 160 + 128 * 16)},
    {"mamba2-groups", 2 * (3 * 160 + 128 * 8)},
    {"granitehybrid", 3 * (3 * 160 + 128 * 16)},
    {"granitehybrid-moe", 2 * (3 * 192 + 128 * 16)},
    {"falcon-h1", 3 * (3 * 128 + 96 * 16)},
    {"x-nemotron_h", 2 * (3 * 192 + 128 * 16)},
};

#define N_SUBJECTS ((int)(sizeof subjects / sizeof subjects[0]))
#define N_CHECKPOINTS 3
#define N_BATCH 24 /* a prompt takes several */

struct model {
    struct golden golden;
    slm_model *model;
};

static struct model models[N_SUBJECTS];

static int open_all(void **state)
{
    (void)state;
    for (int i = 0; i < N_SUBJECTS; i++) {
        struct golden *g = &models[i].golden;
        char path[128];
        slm_error err;
        snprintf(path, sizeof path, "tests/golden/models/%s.txt", subjects[i].manifest);
        if (!golden_load(g, path, NULL)) {
            print_error("%s\n", g->error);
            return -1;
        }
        const void *data = g->image;
        if (slm_model_open_memory(&models[i].model, &data, &g->image_size, 1, NULL, &err) != 0) {
            print_error("%s: %s\n", g->title, err.message);
            return -1;
        }
    }
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (int i = 0; i < N_SUBJECTS; i++) {
        slm_model_free(models[i].model);
        golden_free(&models[i].golden);
    }
    return 0;
}

/* ---- Contexts -------------------------------------------------------------------------------- */

static slm_context_options options_of(int32_t n_sequences)
{
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 256;
    o.n_sequences = n_sequences;
    o.n_batch = N_BATCH;
    o.n_threads = 2;
    o.n_checkpoints = N_CHECKPOINTS;
    o.flags = SLM_CONTEXT_BATCH_INVARIANT;
    return o;
}

static slm_context *make(const struct model *m, const slm_context_options *o)
{
    slm_context *c = NULL;
    slm_error err;
    if (slm_context_create(&c, m->model, o, &err) != SLM_OK) {
        fail_msg("%s: %s", m->golden.title, err.message);
    }
    return c;
}

static slm_context *make_one(const struct model *m, int32_t n_sequences)
{
    slm_context_options o = options_of(n_sequences);
    return make(m, &o);
}

static int32_t length_of(const slm_context *c, int32_t sequence)
{
    int32_t length = -1;
    assert_int_equal(slm_sequence_length(c, sequence, &length, NULL), SLM_OK);
    return length;
}

/* Row `index` of the last call is that of a sequence of these n tokens, in bits. */
static void assert_row(const struct model *m, slm_context *c, int32_t index, const int32_t *tokens,
                       int32_t n)
{
    slm_context *other = make_one(m, 1);
    const float *row = NULL;
    const float *wanted = NULL;
    eval(other, 0, tokens, n, SLM_WANT_LAST);
    assert_int_equal(slm_logits(c, index, &row, NULL, NULL), SLM_OK);
    assert_int_equal(slm_logits(other, -1, &wanted, NULL, NULL), SLM_OK);
    if (memcmp(row, wanted, (size_t)m->golden.n_vocab * sizeof(float)) != 0) {
        fail_msg("%s: other logits after %d tokens", m->golden.title, (int)n);
    }
    slm_context_free(other);
}

/* A sequence of tokens[0..n-1] goes on by 5 tokens as one that was never anything else. */
static void assert_goes_on(const struct model *m, slm_context *c, int32_t sequence,
                           const int32_t *tokens, int32_t n)
{
    int32_t all[256];
    assert_int_equal(length_of(c, sequence), n);
    memcpy(all, tokens, (size_t)n * sizeof *all);
    for (int32_t i = 0; i < 5; i++) {
        all[n + i] = m->golden.tokens[(3 * i + n) % m->golden.n_tokens];
    }
    eval(c, sequence, all + n, 5, SLM_WANT_LAST);
    assert_row(m, c, -1, all, n + 5);
}

/* ---- Rewind and checkpoints ------------------------------------------------------------------ */

static void a_rewind_to_a_checkpoint_is_exact(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        slm_context *c = make_one(m, 1);
        eval(c, 0, t, 10, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 2, NULL), SLM_OK);
        eval(c, 0, t + 10, 7, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 0, NULL), SLM_OK);
        eval(c, 0, t + 17, 13, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_rewind(c, 0, 17, NULL), SLM_OK);
        assert_goes_on(m, c, 0, t, 17);
        assert_int_equal(slm_sequence_rewind(c, 0, 17, NULL), SLM_OK); /* once more */
        assert_goes_on(m, c, 0, t, 17);
        assert_int_equal(slm_sequence_rewind(c, 0, 10, NULL), SLM_OK);
        assert_goes_on(m, c, 0, t, 10);
        slm_context_free(c);
    }
}

static void a_rewind_elsewhere_is_refused_and_changes_nothing(void **state)
{
    static const int32_t lengths[] = {1, 9, 11, 19, 21, -1, INT32_MIN, INT32_MAX};
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        slm_context *c = make_one(m, 1);
        eval(c, 0, t, 10, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 1, NULL), SLM_OK);
        eval(c, 0, t + 10, 10, SLM_WANT_LAST);
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            slm_error err;
            assert_int_equal(slm_sequence_rewind(c, 0, lengths[i], &err), SLM_E_ARGUMENT);
            assert_true(tiny_says(&err, "sequence 0 cannot be rewound", NULL));
        }
        assert_int_equal(slm_sequence_rewind(c, 0, 20, NULL), SLM_OK); /* where it is */
        assert_goes_on(m, c, 0, t, 20);
        assert_int_equal(slm_sequence_rewind(c, 0, 10, NULL), SLM_OK);
        assert_goes_on(m, c, 0, t, 10);
        slm_context_free(c);
    }
}

static void a_rewind_to_0_is_a_new_sequence(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        slm_context *c = make_one(m, 1);
        eval(c, 0, t + 3, 30, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 0, NULL), SLM_OK);
        assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
        assert_goes_on(m, c, 0, t, 0);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 1, NULL), SLM_OK);
        assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
        eval(c, 0, t, 1, SLM_WANT_LAST);
        assert_row(m, c, -1, t, 1);
        slm_context_free(c);
    }
}

/* A checkpoint behind the rewind is of a past that never was: its length may be reached again, by
 * other tokens. */
static void checkpoints_behind_a_rewind_are_gone(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        slm_context *c = make_one(m, 1);
        eval(c, 0, t, 8, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 0, NULL), SLM_OK);
        eval(c, 0, t + 8, 8, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 1, NULL), SLM_OK);
        assert_int_equal(slm_sequence_rewind(c, 0, 8, NULL), SLM_OK);
        eval(c, 0, t + 20, 12, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_rewind(c, 0, 16, NULL), SLM_E_ARGUMENT);
        assert_int_equal(slm_sequence_rewind(c, 0, 8, NULL), SLM_OK);
        assert_goes_on(m, c, 0, t, 8);
        slm_context_free(c);
    }
}

static void a_checkpoint_replaces_what_it_held(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        slm_context *c = make_one(m, 1);
        eval(c, 0, t, 5, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 0, NULL), SLM_OK);
        eval(c, 0, t + 5, 5, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 0, NULL), SLM_OK);
        eval(c, 0, t + 10, 5, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_rewind(c, 0, 5, NULL), SLM_E_ARGUMENT);
        assert_int_equal(slm_sequence_rewind(c, 0, 10, NULL), SLM_OK);
        assert_goes_on(m, c, 0, t, 10);
        slm_context_free(c);
    }
}

static void checkpoints_that_a_context_has_not_are_told(void **state)
{
    static const int32_t wrong[] = {-1, N_CHECKPOINTS, INT32_MIN, INT32_MAX};
    (void)state;
    slm_context *c = make_one(&models[0], 2);
    slm_context_options none = options_of(1);
    none.n_checkpoints = 0;
    slm_context *without = make(&models[0], &none);
    slm_error err;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(slm_sequence_checkpoint(c, 0, wrong[i], &err), SLM_E_ARGUMENT);
        assert_true(tiny_says(&err, "checkpoint", "has 3"));
    }
    assert_int_equal(slm_sequence_checkpoint(c, 2, 0, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_sequence_checkpoint(c, -1, 0, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_sequence_checkpoint(without, 0, 0, &err), SLM_E_ARGUMENT);
    assert_true(tiny_says(&err, "checkpoint 0", "has 0"));
    slm_context_free(without);
    slm_context_free(c);
}

/* ---- Fork ------------------------------------------------------------------------------------ */

static void a_fork_and_what_it_came_from_go_their_own_ways(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        int32_t other[64];
        slm_context *c = make_one(m, 3);
        eval(c, 0, t, 6, SLM_WANT_LAST);
        assert_int_equal(slm_sequence_checkpoint(c, 0, 1, NULL), SLM_OK);
        eval(c, 0, t + 6, 12, SLM_WANT_LAST);
        eval(c, 2, t + 9, 20, SLM_WANT_LAST); /* is replaced */
        assert_int_equal(slm_sequence_fork(c, 0, 2, NULL), SLM_OK);
        memcpy(other, t, 18 * sizeof *other);
        memcpy(other + 18, t + 1, 9 * sizeof *other);
        eval(c, 2, other + 18, 9, SLM_WANT_LAST);
        assert_row(m, c, -1, other, 27);
        assert_goes_on(m, c, 0, t, 18);
        assert_goes_on(m, c, 2, other, 27);
        assert_int_equal(slm_sequence_rewind(c, 2, 6, NULL), SLM_OK); /* checkpoints came along */
        assert_goes_on(m, c, 2, t, 6);
        assert_int_equal(slm_sequence_rewind(c, 0, 6, NULL), SLM_OK);
        assert_goes_on(m, c, 0, t, 6);
        assert_int_equal(slm_sequence_fork(c, 0, 0, NULL), SLM_OK); /* changes nothing */
        assert_int_equal(slm_sequence_rewind(c, 0, 6, NULL), SLM_OK);
        assert_int_equal(slm_sequence_fork(c, 1, 2, NULL), SLM_OK); /* of an empty one */
        assert_goes_on(m, c, 2, t, 0);
        assert_goes_on(m, c, 0, t, 6);
        slm_context_free(c);
    }
}

/* ---- Batches that end early ------------------------------------------------------------------ */

/* An executor that sets the cancel flag before its region number `at`. */
struct stopper {
    int32_t cancel;
    int64_t at;
    int64_t n_regions;
};

static void run_until(void *user, int32_t n, void (*fn)(void *arg, int32_t index), void *arg)
{
    struct stopper *s = (struct stopper *)user;
    s->cancel = ++s->n_regions >= s->at;
    for (int32_t i = n - 1; i >= 0; i--) {
        fn(arg, i);
    }
}

/* Cancels a batch at its every region in turn; the last time it comes through. */
static int64_t cancel_everywhere(const struct model *m, slm_context *c, struct stopper *stopper)
{
    slm_eval_options e;
    int status;
    int64_t n = 0;
    slm_eval_options_init(&e, sizeof e);
    e.cancel = &stopper->cancel;
    do {
        slm_span s = span_of(0, m->golden.tokens + 15, N_BATCH, SLM_WANT_LAST);
        stopper->cancel = 0;
        stopper->n_regions = 0;
        stopper->at = ++n;
        status = slm_eval(c, &s, 1, sizeof s, &e, NULL);
        stopper->at = INT64_MAX;
        if (status != SLM_OK) {
            assert_int_equal(status, SLM_E_CANCELLED);
            assert_int_equal(s.n_done, 0);
            assert_int_equal(length_of(c, 0), 15);
        }
        if (status != SLM_OK && n % 5 == 0) { /* the state is the old one */
            assert_int_equal(slm_sequence_fork(c, 0, 1, NULL), SLM_OK);
            assert_goes_on(m, c, 1, m->golden.tokens, 15);
        }
    } while (status != SLM_OK && n < 1000);
    assert_int_equal(status, SLM_OK);
    return n;
}

static void a_batch_cancelled_between_layers_was_never_there(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        struct stopper stopper = {0, INT64_MAX, 0};
        slm_threads_options o;
        slm_context_options with = options_of(2);
        slm_threads_options_init(&o, sizeof o);
        o.n_threads = 2;
        o.parallel = run_until;
        o.parallel_user = &stopper;
        assert_int_equal(slm_threads_create(&with.threads, &o, NULL), SLM_OK);
        slm_context *c = make(m, &with);
        eval(c, 0, m->golden.tokens, 15, SLM_WANT_LAST);
        int64_t n = cancel_everywhere(m, c, &stopper);
        if (n < 5) {
            fail_msg("%s: only %lld regions", m->golden.title, (long long)n);
        }
        assert_row(m, c, -1, m->golden.tokens, 15 + N_BATCH);
        slm_context_free(c);
        slm_threads_free(with.threads);
    }
}

/* ---- Spans that share a call ----------------------------------------------------------------- */

static void spans_of_one_sequence_are_one_span(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        slm_context_options o = options_of(2);
        o.n_logits = 4;
        slm_context *c = make(m, &o);
        slm_span s[4] = {span_of(0, t, 3, SLM_WANT_LAST), span_of(0, t + 3, 1, SLM_WANT_LAST),
                         span_of(1, t, 7, SLM_WANT_LAST), span_of(0, t + 4, 9, SLM_WANT_LAST)};
        slm_error err;
        if (slm_eval(c, s, 4, sizeof s[0], NULL, &err) != SLM_OK) {
            fail_msg("%s: %s", m->golden.title, err.message);
        }
        assert_row(m, c, 0, t, 3);
        assert_row(m, c, 1, t, 4);
        assert_row(m, c, 2, t, 7);
        assert_row(m, c, 3, t, 13);
        assert_goes_on(m, c, 0, t, 13);
        assert_goes_on(m, c, 1, t, 7);
        slm_context_free(c);
    }
}

static void sequences_that_share_a_call_are_as_each_alone(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        const int32_t *t = m->golden.tokens;
        slm_context *c = make_one(m, 3);
        eval(c, 1, t + 2, 5, SLM_WANT_LAST);
        for (int32_t round = 0; round < 2; round++) { /* of many tokens, then of one each */
            int32_t n = round == 0 ? 11 : 1;
            int32_t at = round == 0 ? 0 : 11;
            slm_span s[3] = {span_of(2, t + at, n, SLM_WANT_LAST),
                             span_of(0, t + 1 + at, n, SLM_WANT_LAST),
                             span_of(1, t + 7 + at, n, SLM_WANT_LAST)};
            slm_error err;
            if (slm_eval(c, s, 3, sizeof s[0], NULL, &err) != SLM_OK) {
                fail_msg("%s: %s", m->golden.title, err.message);
            }
            assert_row(m, c, 0, t, at + n);
            assert_row(m, c, 1, t + 1, at + n);
            assert_row(m, c, 2, t + 2, 5 + at + n);
        }
        slm_context_free(c);
    }
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void plan_of(const struct model *m, const slm_context_options *o, slm_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->struct_size = (uint32_t)sizeof *plan;
    assert_int_equal(slm_plan_memory(m->model, o, plan, NULL), SLM_OK);
}

static void the_plan_knows_the_states(void **state)
{
    (void)state;
    for (int i = 0; i < N_SUBJECTS; i++) {
        const struct model *m = &models[i];
        for (int32_t n = 1; n <= 3; n++) {
            struct counting counting;
            slm_plan plan;
            slm_context_options o = options_of(n);
            memset(&counting, 0, sizeof counting);
            o.alloc = counting_alloc;
            o.alloc_user = &counting;
            o.n_checkpoints = n == 3 ? 5 : n - 1;
            uint64_t states = (uint64_t)n * (2 + (uint64_t)o.n_checkpoints);
            plan_of(m, &o, &plan);
            assert_int_equal(plan.state_bytes, states * (uint64_t)subjects[i].n_floats * 4);
            slm_context *c = make(m, &o);
            eval(c, 0, m->golden.tokens, 30, SLM_WANT_LAST);
            assert_int_equal(counting.peak, plan.context_heap_bytes);
            slm_context_free(c);
            assert_int_equal(counting.n_blocks, 0);
        }
    }
}

static void the_models_say_that_they_are_recurrent(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        slm_model_info info;
        memset(&info, 0, sizeof info);
        info.struct_size = (uint32_t)sizeof info;
        assert_int_equal(slm_model_get_info(m->model, &info, NULL), SLM_OK);
        assert_int_equal(info.is_recurrent, 1);
    }
}

/* ---- The same bits --------------------------------------------------------------------------- */

static uint64_t seed = 1;

static int32_t random_below(int32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int32_t)((seed >> 33) % (uint64_t)n);
}

/* With SLM_CONTEXT_BATCH_INVARIANT. */
static void any_chunks_of_a_prompt_give_the_same_bits(void **state)
{
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        for (int trial = 0; trial < 6; trial++) {
            slm_context_options o = options_of(1);
            o.n_batch = trial % 2 ? 7 : 64;
            slm_context *c = make(m, &o);
            for (int32_t at = 0; at < m->golden.n_tokens;) {
                int32_t left = m->golden.n_tokens - at;
                int32_t n = trial == 0 ? 1 : 1 + random_below(left < 13 ? left : 13);
                eval(c, 0, m->golden.tokens + at, n, SLM_WANT_LAST);
                at += n;
            }
            assert_row(m, c, -1, m->golden.tokens, m->golden.n_tokens);
            slm_context_free(c);
        }
    }
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    static const int32_t threads[] = {1, 2, 5};
    (void)state;
    for (const struct model *m = models; m < models + N_SUBJECTS; m++) {
        static float wanted[2][512];
        size_t bytes = (size_t)m->golden.n_vocab * sizeof(float);
        assert_true(m->golden.n_vocab <= 512);
        for (int i = 0; i < 3; i++) {
            slm_context_options o = options_of(1);
            o.n_threads = threads[i];
            o.flags = 0;
            o.n_batch = 64;
            slm_context *c = make(m, &o);
            for (int step = 0; step < 2; step++) { /* a prompt, then a token */
                const float *row = NULL;
                eval(c, 0, m->golden.tokens, step == 0 ? m->golden.n_tokens : 1, SLM_WANT_LAST);
                assert_int_equal(slm_logits(c, -1, &row, NULL, NULL), SLM_OK);
                if (i == 0) {
                    memcpy(wanted[step], row, bytes);
                } else if (memcmp(wanted[step], row, bytes) != 0) {
                    fail_msg("%s: other logits with %d threads", m->golden.title, (int)threads[i]);
                }
            }
            slm_context_free(c);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_models_say_that_they_are_recurrent),
        cmocka_unit_test(a_rewind_to_a_checkpoint_is_exact),
        cmocka_unit_test(a_rewind_elsewhere_is_refused_and_changes_nothing),
        cmocka_unit_test(a_rewind_to_0_is_a_new_sequence),
        cmocka_unit_test(checkpoints_behind_a_rewind_are_gone),
        cmocka_unit_test(a_checkpoint_replaces_what_it_held),
        cmocka_unit_test(checkpoints_that_a_context_has_not_are_told),
        cmocka_unit_test(a_fork_and_what_it_came_from_go_their_own_ways),
        cmocka_unit_test(a_batch_cancelled_between_layers_was_never_there),
        cmocka_unit_test(spans_of_one_sequence_are_one_span),
        cmocka_unit_test(sequences_that_share_a_call_are_as_each_alone),
        cmocka_unit_test(the_plan_knows_the_states),
        cmocka_unit_test(any_chunks_of_a_prompt_give_the_same_bits),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
    };
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    return cmocka_run_group_tests(tests, open_all, close_all);
}
