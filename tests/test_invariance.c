/* test_invariance.c - the same bits: for any number of threads, and with SLM_CONTEXT_BATCH_INVARIANT
 * for any split of a prompt and any company in a batch; every encoding on every instruction set of
 * this CPU.
 *
 * Models are built here, one layer of llama whose matrices all have the encoding in question.
 * Prompts are longer than what any kernel for many tokens begins at. Sizes of chunks are drawn at
 * random, the same in each run; `test_invariance SEED` draws others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../slm.h"
#include "gguf_build.h"
#include "testing.h"

#define N_VOCAB 40
#define N_TYPES 64
#define N_PROMPT 41 /* AMX and the like begin at 24 tokens, and none takes 41 at a time */
#define N_LONG 530  /* positions: attention merges the runs of pages that begin at 0 and at 512 */

static uint64_t seed;
static int32_t tokens[2][N_LONG]; /* of the two sequences */

static int32_t random_below(int32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int32_t)((seed >> 33) % (uint64_t)n);
}

/* ---- Models ---------------------------------------------------------------------------------- */

/* Where the f16 scales of a block stand (the second: -1 if there is none); 0 alone in the others. */
static const struct {
    const char *name;
    int32_t at, second;
} scales[] = {
    {"F16", 0, -1},    {"BF16", -1, -1},  {"F64", -1, -1},   {"Q4_1", 0, 2},    {"Q5_1", 0, 2},
    {"Q2_K", 80, 82},  {"Q3_K", 108, -1}, {"Q4_K", 0, 2},    {"Q5_K", 0, 2},    {"Q6_K", 208, -1},
    {"TQ1_0", 52, -1}, {"TQ2_0", 64, -1}, {"MXFP4", -1, -1}, {"NVFP4", -1, -1}, {"IQ1_M", -1, -1},
};

/* A block of any bytes becomes one of finite values that are not so large that they hide others. */
static void tame_block(uint8_t *block, const slm_encoding_info *e)
{
    int32_t at[2] = {0, -1};
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        if (strcmp(scales[i].name, e->name) == 0) {
            at[0] = scales[i].at;
            at[1] = scales[i].second;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (at[i] >= 0) {
            block[at[i] + 1] = (uint8_t)((block[at[i] + 1] & 0x83) | 0x24); /* 2^-6 to 2^-5 */
        }
    }
    if (strcmp(e->name, "BF16") == 0) {
        block[1] = (uint8_t)((block[1] & 0x80) | 0x3d);
    } else if (strcmp(e->name, "F64") == 0) {
        block[7] = (uint8_t)((block[7] & 0x80) | 0x3f);
        block[6] = (uint8_t)((block[6] & 0x0f) | 0xb0);
    } else if (strcmp(e->name, "MXFP4") == 0) {
        block[0] = (uint8_t)(118 + block[0] % 4); /* a power of two */
    } else if (strcmp(e->name, "NVFP4") == 0) {
        for (int i = 0; i < 4; i++) {
            block[i] = (uint8_t)(0x10 + block[i] % 16);
        }
    } else if (strcmp(e->name, "IQ1_M") == 0) {
        block[e->block_bytes - 1] = (uint8_t)((block[e->block_bytes - 1] & 0x8f) | 0x20);
    }
}

static void tame_tensor(struct build *b, const struct build_mark *m, const slm_encoding_info *e)
{
    int64_t rows = (int64_t)build_peek(b, m->at[AT_SHAPE] + 8, 8);
    int64_t row = (int64_t)build_peek(b, m->at[AT_SHAPE], 8);
    uint8_t *data = b->file.data + build_data_at(b, m->name);
    for (int64_t i = 0; i < rows * row / e->block_elements; i++) {
        tame_block(data + i * e->block_bytes, e);
    }
}

/* A file whose matrices have that encoding. The rows of ffn_down are longer than a block. */
static void build_type(struct build *b, const slm_encoding_info *e)
{
    struct tiny t = tiny_default();
    t.n_vocab = N_VOCAB;
    t.n_embd = 256;
    t.n_ff = 512;
    t.type = e->id;
    tiny_build(b, &t);
    for (size_t i = 0; e->id != 0 && i < b->n_marks; i++) {
        const struct build_mark *m = &b->marks[i];
        if (m->is_tensor && build_peek(b, m->at[AT_TYPE], 4) == (uint64_t)e->id) {
            tame_tensor(b, m, e);
        }
    }
}

static slm_model *open_with(const struct build *b, uint64_t cpu)
{
    slm_model *model = NULL;
    slm_model_options o;
    slm_error err;
    slm_model_options_init(&o, sizeof o);
    o.cpu = cpu;
    if (tiny_open(&model, b, &o, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    return model;
}

/* ---- Every encoding on every instruction set ------------------------------------------------- */

struct subject {
    slm_model *model;
    char name[64]; /* "Q4_K on avx512" */
};

typedef void (*subject_fn)(const struct subject *s);

/* Opens the file once for each set of kernels: features are allowed one after the other. */
static int32_t each_cpu(const struct build *b, const char *encoding, subject_fn fn)
{
    uint64_t before = UINT64_MAX, allowed = 0;
    int32_t n = 0;
    for (int32_t bit = -1; bit < 64; bit++) {
        uint64_t feature = bit >= 0 ? slm_cpu_features() & UINT64_C(1) << bit : 0;
        struct subject s;
        slm_model_info info;
        if (bit >= 0 && feature == 0) {
            continue;
        }
        allowed |= feature;
        s.model = open_with(b, allowed);
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        assert_int_equal(slm_model_get_info(s.model, &info, NULL), SLM_OK);
        if (info.cpu != before) {
            snprintf(s.name, sizeof s.name, "%s on %s", encoding, info.isa);
            fn(&s);
            n++;
        }
        before = info.cpu;
        slm_model_free(s.model);
    }
    return n;
}

static void each_encoding(subject_fn fn)
{
    int32_t n_encodings = 0, n_subjects = 0;
    for (int32_t type = 0; type < N_TYPES; type++) {
        static const char *const not_weights[] = {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64"};
        slm_encoding_info e;
        struct build b;
        memset(&e, 0, sizeof e);
        e.struct_size = sizeof e;
        if (slm_encoding_find(type, NULL, &e, NULL) != SLM_OK) {
            continue;
        }
        int is_weight = 1;
        for (size_t i = 0; i < sizeof not_weights / sizeof not_weights[0]; i++) {
            is_weight &= strcmp(e.name, not_weights[i]) != 0;
        }
        if (is_weight) {
            build_type(&b, &e);
            n_subjects += each_cpu(&b, e.name, fn);
            n_encodings++;
            build_free(&b);
        }
    }
    print_message("%d encodings, %d with their instruction sets\n", n_encodings, n_subjects);
    assert_true(n_encodings >= 28);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

/* A context, how far its sequences are, and the logits of all their tokens. */
struct run {
    slm_context *context;
    int32_t done[2];
    float (*rows[2])[N_VOCAB]; /* [N_LONG] */
};

static slm_context_options options_of(uint32_t flags, int32_t n_threads)
{
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = N_LONG;
    o.n_pages = 10;
    o.n_batch = 100;
    o.n_logits = N_LONG;
    o.n_sequences = 2;
    o.n_threads = n_threads;
    o.flags = flags;
    o.kv_type = SLM_KV_F32; /* a cache of f16 rounds small differences away */
    return o;
}

static void run_begin(struct run *r, const struct subject *s, const slm_context_options *o)
{
    slm_error err;
    memset(r, 0, sizeof *r);
    if (slm_context_create(&r->context, s->model, o, &err) != SLM_OK) {
        fail_msg("%s: %s", s->name, err.message);
    }
    for (int i = 0; i < 2; i++) {
        r->rows[i] = (float(*)[N_VOCAB])calloc(N_LONG, sizeof *r->rows[i]);
        assert_non_null(r->rows[i]);
    }
}

static void run_end(struct run *r)
{
    slm_context_free(r->context);
    free(r->rows[0]);
    free(r->rows[1]);
}

/* The next a tokens of sequence 0 and b of sequence 1, in one batch. */
static void run_step(struct run *r, int32_t a, int32_t b)
{
    const int32_t counts[2] = {a, b};
    slm_span spans[2];
    slm_error err;
    int32_t n_spans = 0, row = 0;
    memset(spans, 0, sizeof spans);
    for (int32_t i = 0; i < 2; i++) {
        if (counts[i] > 0) {
            slm_span *s = &spans[n_spans++];
            s->struct_size = sizeof *s;
            s->sequence = i;
            s->position = -1;
            s->tokens = tokens[i] + r->done[i];
            s->n_tokens = counts[i];
            s->want = SLM_WANT_ALL;
        }
    }
    if (slm_eval(r->context, spans, n_spans, sizeof spans[0], NULL, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    for (int32_t i = 0; i < 2; i++) {
        for (int32_t t = 0; t < counts[i]; t++) {
            const float *logits = NULL;
            assert_int_equal(slm_logits(r->context, row++, &logits, NULL, NULL), SLM_OK);
            memcpy(r->rows[i][r->done[i]++], logits, sizeof r->rows[i][0]);
        }
    }
}

/* The tokens up to `end` in random chunks, those of both sequences in the same batches. */
static void run_randomly(struct run *r, int32_t end_a, int32_t end_b, int32_t chunk_max)
{
    while (r->done[0] < end_a || r->done[1] < end_b) {
        int32_t a = random_below(chunk_max + 1), b = random_below(chunk_max + 1);
        a = a < end_a - r->done[0] ? a : end_a - r->done[0];
        b = b < end_b - r->done[1] ? b : end_b - r->done[1];
        if (a + b > 0) {
            run_step(r, a, b);
        }
    }
}

static void assert_finite(const struct subject *s, const struct run *r, int32_t sequence)
{
    for (int32_t t = 0; t < r->done[sequence]; t++) {
        for (int32_t v = 0; v < N_VOCAB; v++) {
            float x = r->rows[sequence][t][v];
            if (!(x - x >= 0 && x - x <= 0)) {
                fail_msg("%s: logit %d of token %d is %g", s->name, v, t, (double)x);
            }
        }
    }
    if (memcmp(r->rows[sequence][0], r->rows[sequence][1], sizeof r->rows[0][0]) == 0) {
        fail_msg("%s: different tokens have the same logits", s->name);
    }
}

/* All that both have of the sequence. */
static void assert_same_bits(const struct subject *s, const char *what, const struct run *expected,
                             const struct run *got, int32_t sequence)
{
    assert_true(got->done[sequence] > 0);
    for (int32_t t = 0; t < got->done[sequence]; t++) {
        for (int32_t v = 0; v < N_VOCAB; v++) {
            const float *x = &expected->rows[sequence][t][v], *y = &got->rows[sequence][t][v];
            if (memcmp(x, y, sizeof *x) != 0) {
                fail_msg("%s, %s: logit %d of token %d of sequence %d is %.9g, not %.9g", s->name,
                         what, v, t, sequence, (double)*y, (double)*x);
            }
        }
    }
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* Many tokens, a few and one: a product has a kernel for each. */
static void steps_of_all_kinds(struct run *r)
{
    run_step(r, N_PROMPT - 8, 0);
    run_step(r, 3, 4);
    run_step(r, 1, 0);
}

static void threads_do_not_show(const struct subject *s)
{
    static const int32_t counts[] = {1, 2, 3, 5, 8};
    struct run alone;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        slm_context_options o = options_of(0, counts[i]);
        struct run r;
        char what[32];
        snprintf(what, sizeof what, "%d threads", counts[i]);
        run_begin(&r, s, &o);
        steps_of_all_kinds(&r);
        if (i == 0) {
            alone = r;
            assert_finite(s, &alone, 0);
            continue;
        }
        assert_same_bits(s, what, &alone, &r, 0);
        assert_same_bits(s, what, &alone, &r, 1);
        run_end(&r);
    }
    run_end(&alone);
}

static void no_number_of_threads_shows_in_any_encoding(void **state)
{
    (void)state;
    each_encoding(threads_do_not_show);
}

/* ---- Batches --------------------------------------------------------------------------------- */

static void splits_do_not_show(const struct subject *s)
{
    slm_context_options o = options_of(SLM_CONTEXT_BATCH_INVARIANT, 2);
    struct run whole, single, chunks;
    run_begin(&whole, s, &o);
    run_step(&whole, N_PROMPT, 0);
    run_step(&whole, 0, N_PROMPT - 10);
    assert_finite(s, &whole, 0);
    assert_finite(s, &whole, 1);

    run_begin(&single, s, &o);
    while (single.done[0] < N_PROMPT) {
        run_step(&single, 1, 0);
    }
    assert_same_bits(s, "token by token", &whole, &single, 0);
    run_end(&single);

    run_begin(&chunks, s, &o);
    run_randomly(&chunks, N_PROMPT, N_PROMPT - 10, 30);
    assert_same_bits(s, "in random chunks and in company", &whole, &chunks, 0);
    assert_same_bits(s, "in random chunks and in company", &whole, &chunks, 1);
    run_end(&chunks);
    run_end(&whole);
}

static void no_split_of_a_prompt_shows_in_any_encoding(void **state)
{
    (void)state;
    each_encoding(splits_do_not_show);
}

/* ---- Long prompts ---------------------------------------------------------------------------- */

static void long_prompts_keep_their_bits(const struct subject *s)
{
    for (int32_t kv = SLM_KV_F16; kv <= SLM_KV_F32; kv++) {
        slm_context_options o = options_of(SLM_CONTEXT_BATCH_INVARIANT, 1);
        struct run whole, chunks;
        o.kv_type = kv;
        run_begin(&whole, s, &o);
        run_step(&whole, N_LONG, 0);
        o.n_threads = 3;
        run_begin(&chunks, s, &o);
        run_randomly(&chunks, N_LONG - 10, 20, 90);
        while (chunks.done[0] < N_LONG) { /* so small batches deal out the runs of one sequence */
            run_step(&chunks, 1 + random_below(2) % (N_LONG - chunks.done[0]), 0);
        }
        assert_same_bits(s, kv == SLM_KV_F16 ? "f16 cache" : "f32 cache", &whole, &chunks, 0);
        run_end(&chunks);
        run_end(&whole);
    }
}

static void attention_over_many_pages_keeps_its_bits(void **state)
{
    slm_encoding_info e;
    struct build b;
    (void)state;
    memset(&e, 0, sizeof e);
    e.struct_size = sizeof e;
    assert_int_equal(slm_encoding_find(0, "Q8_0", &e, NULL), SLM_OK);
    build_type(&b, &e);
    each_cpu(&b, e.name, long_prompts_keep_their_bits);
    build_free(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_number_of_threads_shows_in_any_encoding),
        cmocka_unit_test(no_split_of_a_prompt_shows_in_any_encoding),
        cmocka_unit_test(attention_over_many_pages_keeps_its_bits),
    };
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int32_t i = 0; i < 2 * N_LONG; i++) {
        tokens[i / N_LONG][i % N_LONG] = (i * 7 + i / 5) % N_VOCAB;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
