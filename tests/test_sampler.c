/* test_sampler.c - the chain against llama.cpp's answers, and what slm.h promises of it.
 *
 * With --bench it prints milliseconds per token for a large vocabulary instead. */
#include "../slm.c"

#include "gguf_build.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>
#include "sampler_fixture.h"

#define LARGE 262144
/* ---- Golden vectors -------------------------------------------------------------------------- */

#define VECTOR_MAX 2048

struct vector {
    int32_t n_stages;
    slm_sampler_stage stages[8];
    slm_logit_bias biases[16];
    int32_t n_history;
    int32_t history[VECTOR_MAX];
    int32_t n_logits;
    float logits[VECTOR_MAX];
};

static const char *const newline_and_colon[2] = {"\n", ":"};

/* Of these vectors' vocabulary only the breakers have a text that matters. */
static slm_model *vector_model(void)
{
    static char texts[275][8];
    static const char *pieces[275];
    for (int i = 0; i < 275; i++) {
        snprintf(texts[i], sizeof texts[i], "t%d", i);
        pieces[i] = i == 25 ? ":" : i == 198 ? "\xC4\x8A" : texts[i];
    }
    return vocabulary_of(pieces, 275, -1);
}

/* The number after " name=" in text. */
static float vector_field(const char *text, const char *name)
{
    char pattern[32];
    snprintf(pattern, sizeof pattern, " %s=", name);
    const char *p = strstr(text, pattern);
    if (p == NULL) {
        fail_msg("there is no %s in %s", name, text);
        return 0;
    }
    return strtof(p + strlen(pattern), NULL);
}

static slm_sampler_stage vector_biases(struct vector *v, const char *text)
{
    char *p = (char *)(uintptr_t)text;
    int32_t n = 0;
    while (*p >= '0' && *p <= '9') {
        v->biases[n].token = (int32_t)strtol(p, &p, 10);
        p++;
        if (strncmp(p, "-inf", 4) == 0) {
            v->biases[n++].bias = test_minus_infinity();
            p += 4;
        } else {
            v->biases[n++].bias = (float)strtod(p, &p);
        }
        p += *p == ' ';
    }
    return biases_of(v->biases, n);
}

static slm_sampler_stage vector_stage(struct vector *v, const char *text)
{
    size_t length = strcspn(text, " ");
#define IS(name) (length == strlen(name) && strncmp(text, name, length) == 0)
#define FIELD(name) vector_field(text, name)
#define WHOLE(name) ((int32_t)vector_field(text, name))
    if (IS("temp")) {
        return stage_of(SLM_STAGE_TEMPERATURE, 0, FIELD("t"));
    } else if (IS("temp_ext")) {
        return dynamic_of(FIELD("t"), FIELD("delta"), FIELD("exponent"));
    } else if (IS("top_k")) {
        return stage_of(SLM_STAGE_TOP_K, WHOLE("k"), 0);
    } else if (IS("top_p")) {
        return stage_of(SLM_STAGE_TOP_P, WHOLE("min_keep"), FIELD("p"));
    } else if (IS("min_p")) {
        return stage_of(SLM_STAGE_MIN_P, WHOLE("min_keep"), FIELD("p"));
    } else if (IS("typical")) {
        return stage_of(SLM_STAGE_TYPICAL, WHOLE("min_keep"), FIELD("p"));
    } else if (IS("top_n_sigma")) {
        return stage_of(SLM_STAGE_TOP_N_SIGMA, 0, FIELD("n"));
    } else if (IS("xtc")) {
        return xtc_of(WHOLE("min_keep"), FIELD("p"), FIELD("threshold"));
    } else if (IS("penalties")) {
        return penalties_of(WHOLE("last_n"), FIELD("repeat"), FIELD("freq"), FIELD("present"));
    } else if (IS("dry")) {
        return dry_of(WHOLE("penalty_last_n"), FIELD("multiplier"), FIELD("base"),
                      WHOLE("allowed_length"), newline_and_colon,
                      strstr(text, "breakers=nl,colon") != NULL ? 2 : 0);
    } else if (IS("logit_bias")) {
        return vector_biases(v, text + length + 1);
    }
#undef IS
#undef FIELD
#undef WHOLE
    fail_msg("there is no sampler %.*s", (int)length, text);
    return stage_of(0, 0, 0);
}

static void vector_sampler(struct vector *v, const char *line)
{
    memset(v, 0, sizeof *v);
    for (const char *p = line; p != NULL;) {
        char text[256];
        const char *end = strstr(p, " ; ");
        size_t n = end != NULL ? (size_t)(end - p) : strcspn(p, "\n");
        assert_true(n < sizeof text && v->n_stages < 8);
        memcpy(text, p, n);
        text[n] = 0;
        v->stages[v->n_stages] = vector_stage(v, text);
        v->n_stages++;
        p = end != NULL ? end + 3 : NULL;
    }
}

/* Runs the chain and compares what is left, by falling logit, with the line. */
static void vector_check(const struct vector *v, slm_model *model, const char *line,
                         const char *where)
{
    static slm_candidate c[VECTOR_MAX];
    struct slm_sampler *s = must_make(v->n_logits, v->stages, v->n_stages, 1);
    char *p = (char *)(uintptr_t)line;
    int32_t n = v->n_logits;
    int32_t token = -1;
    long n_want = strtol(p, &p, 10);
    s->model = model;
    for (int32_t i = 0; i < v->n_history; i++) {
        assert_int_equal(sampler_accept(s, v->history[i], NULL), SLM_OK);
    }
    candidates_of(c, v->logits, n);
    assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
    assert_int_equal(sampler_choose(s, c, n, &token, NULL), SLM_OK);
    n = sort_candidates(c, n);
    assert_true(n_want > 0);
    if (n != n_want) {
        fail_msg("%s: %d candidates, not %ld", where, n, n_want);
    }
    for (int32_t i = 0; i < n; i++) {
        long id = strtol(p, &p, 10);
        double logit = strtod(p + 1, &p);
        double probability = strtod(p + 1, &p);
        if (c[i].token != id || !is_near((double)c[i].logit, logit) ||
            !is_near((double)c[i].probability, probability)) {
            fail_msg("%s: candidate %d is %d:%.9g:%.9g, not %ld:%.9g:%.9g", where, i, c[i].token,
                     (double)c[i].logit, (double)c[i].probability, id, logit, probability);
        }
    }
    sampler_destroy(s);
}

/* Compares all vectors of the file, of which there must be n_want. */
static void vector_file(const char *path, slm_model *model, int n_want)
{
    static char line[1 << 16];
    static struct vector v;
    char where[128];
    int number = 0;
    int n_samplers = 0;
    int n_checked = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        char *p = line;
        number++;
        if (strncmp(line, "sampler ", 8) == 0) {
            vector_sampler(&v, line + 8);
            n_samplers++;
        } else if (strncmp(line, "history ", 8) == 0) {
            v.n_history = (int32_t)strtol(line + 8, &p, 10);
            assert_in_range(v.n_history, 0, VECTOR_MAX);
            for (int32_t i = 0; i < v.n_history; i++) {
                v.history[i] = (int32_t)strtol(p, &p, 10);
            }
        } else if (strncmp(line, "logits ", 7) == 0) {
            v.n_logits = (int32_t)strtol(line + 7, &p, 10);
            assert_in_range(v.n_logits, 1, VECTOR_MAX);
            for (int32_t i = 0; i < v.n_logits; i++) {
                v.logits[i] = strtof(p, &p);
            }
        } else if (strncmp(line, "out ", 4) == 0) {
            snprintf(where, sizeof where, "%s:%d", path, number);
            vector_check(&v, model, line + 4, where);
            n_checked++;
        } else {
            assert_true(line[0] == '#' || strncmp(line, "end", 3) == 0 || number == 1);
        }
    }
    fclose(file);
    assert_int_equal(n_samplers, n_want);
    assert_int_equal(n_checked, n_want);
}

static void chains_give_what_llama_cpp_gives(void **unused)
{
    (void)unused;
    slm_model *model = vector_model();
    vector_file("tests/golden/samplers/truncation.txt", model, 28);
    vector_file("tests/golden/samplers/temperature.txt", model, 13);
    vector_file("tests/golden/samplers/penalties.txt", model, 8);
    vector_file("tests/golden/samplers/chain.txt", model, 5);
    vector_file("tests/golden/samplers/dry.txt", model, 11);
    slm_model_free(model);
}

/* ---- Determinism ----------------------------------------------------------------------------- */

static int32_t usual_chain(slm_sampler_stage *stages)
{
    stages[0] = penalties_of(64, 1.1f, 0.25f, 0.125f);
    stages[1] = stage_of(SLM_STAGE_TOP_K, 40, 0);
    stages[2] = stage_of(SLM_STAGE_TOP_P, 1, 0.95f);
    stages[3] = stage_of(SLM_STAGE_MIN_P, 1, 0.05f);
    stages[4] = stage_of(SLM_STAGE_TEMPERATURE, 0, 0.8f);
    return 5;
}

static void generate(struct slm_sampler *s, int32_t n_vocab, int32_t *tokens, int32_t n,
                     uint64_t seed)
{
    static float logits[1000];
    assert_true(n_vocab <= 1000);
    for (int32_t i = 0; i < n; i++) {
        test_logits(logits, n_vocab, seed + (uint64_t)i);
        tokens[i] = must_sample(s, logits, n_vocab);
        assert_int_equal(sampler_accept(s, tokens[i], NULL), SLM_OK);
    }
}

/* These numbers are a promise: a seed gives them on every platform and in every version. */
static void a_seed_gives_these_tokens(void **unused)
{
    (void)unused;
    static const int32_t usual[32] = {487, 223, 118, 801, 835, 113, 632, 744, 25,  380, 436,
                                      338, 658, 754, 358, 503, 248, 220, 904, 323, 794, 572,
                                      651, 31,  403, 566, 760, 237, 574, 637, 51,  546};
    static const int32_t plain[32] = {830, 257, 43,  918, 187, 175, 176, 861, 287, 916, 532,
                                      992, 439, 447, 470, 743, 526, 425, 39,  496, 799, 698,
                                      709, 289, 803, 609, 163, 389, 788, 942, 977, 253};
    slm_sampler_stage stages[8];
    int32_t tokens[32];

    struct slm_sampler *s = must_make(1000, stages, usual_chain(stages), 42);
    generate(s, 1000, tokens, 32, 100);
    assert_memory_equal(tokens, usual, sizeof tokens);
    sampler_destroy(s);

    stages[0] = stage_of(SLM_STAGE_TEMPERATURE, 0, 1);
    s = must_make(1000, stages, 1, 0);
    generate(s, 1000, tokens, 32, 200);
    assert_memory_equal(tokens, plain, sizeof tokens);
    sampler_destroy(s);
}

static void another_seed_gives_other_tokens(void **unused)
{
    (void)unused;
    slm_sampler_stage stages[8];
    int32_t a[32];
    int32_t b[32];
    int32_t n = usual_chain(stages);
    struct slm_sampler *s = must_make(1000, stages, n, 1);
    struct slm_sampler *t = must_make(1000, stages, n, 2);
    generate(s, 1000, a, 32, 100);
    generate(t, 1000, b, 32, 100);
    assert_memory_not_equal(a, b, sizeof a);
    sampler_destroy(s);
    sampler_destroy(t);
}

static slm_sampler_stage random_stage(uint64_t *state)
{
    static const slm_logit_bias biases[3] = {{3, 1}, {17, -2}, {3, 0.5f}};
    int32_t small = (int32_t)(testing_random(state) % 60);
    float part = (float)(testing_random(state) % 100) / 100;
    switch (testing_random(state) % 11) {
    case 0:
        return stage_of(SLM_STAGE_TEMPERATURE, 0, 2 * part + 0.25f);
    case 1:
        return stage_of(SLM_STAGE_TOP_K, small, 0);
    case 2:
        return stage_of(SLM_STAGE_TOP_P, small % 4, part);
    case 3:
        return stage_of(SLM_STAGE_MIN_P, small % 4, part / 4);
    case 4:
        return penalties_of(small * 5 - 10, 1 + part, part, -part);
    case 5:
        return dynamic_of(part + 0.25f, part, part * 2);
    case 6:
        return stage_of(SLM_STAGE_TOP_N_SIGMA, 0, 3 * part);
    case 7:
        return stage_of(SLM_STAGE_TYPICAL, small % 4, part);
    case 8:
        return xtc_of(small % 4, part, part / 5);
    case 9:
        return dry_of(small * 5 - 10, part, 1 + part, small % 4, NULL, 0);
    default:
        return biases_of(biases, 3);
    }
}

static int32_t random_chain(slm_sampler_stage *stages, uint64_t *state)
{
    int32_t n = 1 + (int32_t)(testing_random(state) % 6);
    float part = (float)(testing_random(state) % 100) / 100;
    for (int32_t i = 0; i < n; i++) {
        stages[i] = random_stage(state);
    }
    switch (testing_random(state) % 6) { /* half of them learn */
    case 0:
        stages[n - 1] = mirostat_of(SLM_STAGE_MIROSTAT, 5 * part, part);
        break;
    case 1:
        stages[n - 1] = mirostat_of(SLM_STAGE_MIROSTAT_2, 5 * part, part);
        break;
    case 2:
        stages[n - 1] = adaptive_of(part, part < 0.99f ? part : 0.5f);
        break;
    }
    return n;
}

static void rewind_is_as_if_never_accepted(void **unused)
{
    (void)unused;
    uint64_t state = 5;
    int32_t moved = 0;
    for (int round = 0; round < 1000; round++) {
        slm_sampler_stage stages[8];
        int32_t before = (int32_t)(testing_random(&state) % 200);
        int32_t back = (int32_t)(testing_random(&state) % 100);
        int32_t scratch[200];
        int32_t want[50];
        int32_t got[50];
        struct slm_sampler *twin = NULL;
        int32_t n = random_chain(stages, &state);
        struct slm_sampler *s = must_make(100, stages, n, testing_random(&state));
        generate(s, 100, scratch, before, state);
        assert_int_equal(sampler_clone(&twin, s, NULL), SLM_OK);
        generate(twin, 100, want, 50, 77);
        if (back > 0) { /* the first is accepted before anything is drawn */
            assert_int_equal(sampler_accept(s, 1, NULL), SLM_OK);
            generate(s, 100, scratch, back - 1, state + 1);
            moved += s->now.random != twin->now.random;
        }
        assert_int_equal(sampler_rewind(s, back, NULL), SLM_OK);
        generate(s, 100, got, 50, 77);
        assert_memory_equal(want, got, sizeof want);
        assert_memory_equal(&s->now, &twin->now, sizeof s->now);
        assert_int_equal(s->n_accepted, twin->n_accepted);
        sampler_destroy(s);
        sampler_destroy(twin);
    }
    assert_true(moved > 100);
}

/* After taking back all that may be taken back, the longest window must still be whole. */
static void the_window_is_complete_after_the_longest_rewind(void **unused)
{
    (void)unused;
    enum {
        N = 8000
    };
    static float logits[N];
    static slm_candidate a[N];
    static slm_candidate b[N];
    slm_sampler_stage stage = penalties_of(4096, 1, 0.5f, 0);
    struct slm_sampler *s = must_make(N, &stage, 1, 0);
    struct slm_sampler *twin = NULL;
    int32_t n = N;
    for (int32_t i = 0; i < 6000; i++) {
        assert_int_equal(sampler_accept(s, i, NULL), SLM_OK);
    }
    assert_int_equal(sampler_clone(&twin, s, NULL), SLM_OK);
    for (int32_t i = 0; i < SLM_REWIND_MAX; i++) {
        assert_int_equal(sampler_accept(s, N - 1 - i % 7, NULL), SLM_OK);
    }
    assert_int_equal(sampler_rewind(s, SLM_REWIND_MAX, NULL), SLM_OK);
    candidates_of(a, logits, N);
    candidates_of(b, logits, N);
    assert_int_equal(sampler_apply(s, a, &n, NULL), SLM_OK);
    assert_int_equal(sampler_apply(twin, b, &n, NULL), SLM_OK);
    assert_memory_equal(a, b, sizeof a);
    for (int32_t i = 0; i < N; i++) {
        assert_true(a[i].logit == (i >= 6000 - 4096 && i < 6000 ? -0.5f : 0.0f));
    }
    sampler_destroy(s);
    sampler_destroy(twin);
}

static void rewind_knows_its_limits(void **unused)
{
    (void)unused;
    slm_error err;
    slm_sampler_stage stages[8];
    int32_t a[40];
    int32_t b[40];
    struct slm_sampler *s = must_make(100, stages, usual_chain(stages), 9);
    assert_int_equal(sampler_rewind(s, 1, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_rewind(s, -1, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_rewind(s, 0, &err), SLM_OK);
    generate(s, 100, a, 40, 1);
    assert_int_equal(sampler_rewind(s, 41, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "40 can be taken back"));
    assert_int_equal(sampler_rewind(s, INT32_MAX, &err), SLM_OK);
    generate(s, 100, b, 40, 1);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(sampler_accept(s, i % 100, &err), SLM_OK);
    }
    assert_int_equal(sampler_rewind(s, SLM_REWIND_MAX + 1, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_rewind(s, 1000, &err), SLM_OK);
    assert_int_equal(sampler_rewind(s, 25, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_rewind(s, 24, &err), SLM_OK);
    assert_int_equal(sampler_accept(s, 100, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_accept(s, -1, &err), SLM_E_ARGUMENT);
    sampler_destroy(s);
}

static void a_clone_goes_its_own_way(void **unused)
{
    (void)unused;
    slm_sampler_stage stages[8];
    int32_t scratch[50];
    int32_t want[50];
    int32_t got[50];
    int32_t n = usual_chain(stages);
    struct slm_sampler *s = must_make(100, stages, n, 4);
    struct slm_sampler *reference = must_make(100, stages, n, 4);
    struct slm_sampler *clone = NULL;
    generate(s, 100, scratch, 50, 1);
    generate(reference, 100, scratch, 50, 1);
    assert_int_equal(sampler_clone(&clone, s, NULL), SLM_OK);
    generate(reference, 100, want, 50, 2);
    generate(s, 100, scratch, 50, 3); /* must not reach the clone */
    sampler_destroy(s);
    generate(clone, 100, got, 50, 2);
    assert_memory_equal(want, got, sizeof want);
    sampler_destroy(clone);
    sampler_destroy(reference);
}

/* ---- Any float at all ------------------------------------------------------------------------ */

static void greedy_takes_the_lowest_of_the_best(void **unused)
{
    (void)unused;
    float logits[6] = {-1, 2, -3, 2, test_nan(), 1};
    struct slm_sampler *s = must_make(6, NULL, 0, 0);
    uint64_t random = s->now.random;
    slm_candidate c[6];
    int32_t token = -1;
    assert_int_equal(must_sample(s, logits, 6), 1);
    candidates_of(c, logits, 6);
    c[1] = c[5];
    assert_int_equal(sampler_choose(s, c, 5, &token, NULL), SLM_OK);
    assert_int_equal(token, 3);
    assert_true(c[3].probability > 0.5f && c[4].probability == 0);
    logits[0] = bits_to_f32(0x80000000u); /* -0 and +0 are equal */
    logits[1] = logits[3] = 0;
    logits[5] = -1;
    assert_int_equal(must_sample(s, logits, 6), 0);
    logits[4] = bits_to_f32(1); /* one bit better */
    assert_int_equal(must_sample(s, logits, 6), 4);
    assert_int_equal(s->now.random, random);
    sampler_destroy(s);
}

static void nan_and_minus_infinity_are_never_chosen(void **unused)
{
    (void)unused;
    uint64_t state = 21;
    float logits[100];
    for (int round = 0; round < 2000; round++) {
        slm_sampler_stage stages[8];
        int32_t n = random_chain(stages, &state);
        struct slm_sampler *s = must_make(100, stages, n, (uint64_t)round);
        int32_t good = (int32_t)(testing_random(&state) % 100);
        test_logits(logits, 100, state);
        for (int32_t i = 0; i < 100; i++) {
            if (i != good && testing_random(&state) % 8 != 0) {
                logits[i] = i % 3 == 0   ? test_minus_infinity()
                            : i % 3 == 1 ? test_nan()
                                         : bits_to_f32(0xffc12345u);
            }
        }
        int32_t token = must_sample(s, logits, 100);
        assert_true(f32_is_finite(logits[token]));
        sampler_destroy(s);
    }
}

static void plus_infinity_wins(void **unused)
{
    (void)unused;
    float logits[50];
    uint64_t state = 8;
    test_logits(logits, 50, 3);
    logits[20] = test_infinity();
    for (int round = 0; round < 500; round++) {
        slm_sampler_stage stages[8];
        int32_t n = random_chain(stages, &state);
        struct slm_sampler *s = must_make(50, stages, n, 0);
        assert_int_equal(must_sample(s, logits, 50), 20);
        sampler_destroy(s);
    }
}

static void without_a_finite_logit_it_is_an_error(void **unused)
{
    (void)unused;
    slm_error err;
    slm_sampler_stage stages[8] = {stage_of(SLM_STAGE_TOP_K, 1, 0)};
    float logits[4] = {test_minus_infinity(), test_nan(), test_infinity(), test_minus_infinity()};
    int32_t token = 77;
    for (int32_t n = 0; n <= 5; n += 5) {
        struct slm_sampler *s = must_make(4, stages, n == 0 ? 0 : usual_chain(stages), 0);
        uint64_t random = s->now.random;
        assert_int_equal(sampler_sample(s, logits, 4, &token, &err), SLM_E_NUMERIC);
        assert_int_equal(err.code, SLM_E_NUMERIC);
        assert_int_equal(token, 77);
        assert_int_equal(s->now.random, random);
        sampler_destroy(s);
    }
    slm_logit_bias ban[2] = {{0, test_minus_infinity()}, {1, test_minus_infinity()}};
    float two[2] = {1, 2};
    stages[0] = biases_of(ban, 2);
    struct slm_sampler *s = must_make(2, stages, 1, 0);
    uint64_t random = s->now.random;
    assert_int_equal(sampler_sample(s, two, 2, &token, &err), SLM_E_NUMERIC);
    assert_int_equal(s->now.random, random);
    sampler_destroy(s);
}

/* A logit that may not be sampled is none, finite or not. */
static void suppressed_tokens_do_not_count(void **unused)
{
    (void)unused;
    static const char *const pieces[3] = {"a", "b", "c"};
    const float infinity = test_infinity();
    const struct {
        float logits[3];
        int32_t token; /* -1: SLM_E_NUMERIC */
    } cases[] = {
        {{1, 9, 2}, 2},
        {{infinity, 1, -infinity}, -1},
        {{infinity, 9, -infinity}, -1},
        {{infinity, 9, 1}, 0},
        {{1, infinity, -infinity}, 0},
        {{-infinity, 9, -infinity}, -1},
        {{infinity, infinity, infinity}, -1},
    };
    slm_model *model = vocabulary_of(pieces, 3, 1);
    slm_sampler_stage stage = stage_of(SLM_STAGE_TOP_K, 1, 0);
    for (int32_t n_stages = 0; n_stages <= 1; n_stages++) {
        slm_sampler *s = NULL;
        assert_int_equal(slm_sampler_create(&s, model, &stage, n_stages, sizeof stage, NULL, NULL),
                         SLM_OK);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            int32_t token = 7;
            int status = slm_sample(s, cases[i].logits, 3, &token, NULL);
            assert_int_equal(status, cases[i].token < 0 ? SLM_E_NUMERIC : SLM_OK);
            assert_int_equal(token, cases[i].token);
        }
        slm_sampler_free(s);
    }
    slm_model_free(model);
}

/* The one random number in 2^53 that is zero must not choose what has no probability. */
static void the_smallest_random_number_chooses_something_possible(void **unused)
{
    (void)unused;
    float logits[3] = {test_minus_infinity(), -1, 2};
    slm_sampler_stage stage = stage_of(SLM_STAGE_TEMPERATURE, 0, 1);
    struct slm_sampler *s = must_make(3, &stage, 1, 0);
    s->now.random = 0 - UINT64_C(0x9E3779B97F4A7C15);
    uint64_t random = s->now.random;
    assert_true(sampler_uniform(&random) == 0);
    assert_int_equal(must_sample(s, logits, 3), 1);
    sampler_destroy(s);
}

static void min_p_keeps_one_at_least(void **unused)
{
    (void)unused;
    float logits[4] = {1, 5, 4.5f, 2};
    slm_candidate c[4];
    for (int32_t least = -1; least <= 6; least++) {
        slm_sampler_stage stage = stage_of(SLM_STAGE_MIN_P, least, 1);
        struct slm_sampler *s = must_make(4, &stage, 1, 0);
        int32_t n = 4;
        candidates_of(c, logits, 4);
        assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
        assert_int_equal(n, least < 1 ? 1 : least > 4 ? 4 : least);
        assert_int_equal(c[0].token, 1);
        sampler_destroy(s);
    }
}

/* Extreme but finite settings: always some candidate, always a valid one. What is outside of a range
 * is refused. */
static void extreme_settings_choose_something(void **unused)
{
    (void)unused;
    static const float values[] = {0, -1, 1e-45f, 1e-38f, 3e38f, 1, 2, -3e38f, 0.99999994f};
    static const int32_t ns[] = {0, 1, 7, INT32_MAX, INT32_MIN, -1};
    float logits[20];
    test_logits(logits, 20, 1);
    logits[3] = 3e38f;
    logits[4] = -3e38f;
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        for (size_t k = 0; k < sizeof ns / sizeof *ns; k++) {
            for (int32_t kind = SLM_STAGE_TEMPERATURE; kind <= SLM_STAGE_MIN_P; kind++) {
                float value = kind == SLM_STAGE_TOP_K ? 0 : values[v];
                slm_sampler_stage stage =
                    stage_of(kind, kind == SLM_STAGE_TEMPERATURE ? 0 : ns[k], value);
                struct slm_sampler *s = NULL;
                int is_share = kind == SLM_STAGE_TOP_P || kind == SLM_STAGE_MIN_P;
                int status = make(&s, 20, &stage, 1, 1, NULL);
                if (is_share && (value < 0 || value > 1)) {
                    assert_int_equal(status, SLM_E_ARGUMENT);
                    continue;
                }
                assert_int_equal(status, SLM_OK);
                int32_t token = must_sample(s, logits, 20);
                assert_true(token == 3 || (kind == SLM_STAGE_TEMPERATURE && value == 3e38f));
                sampler_destroy(s);
            }
        }
    }
}

/* All the fields of a kind at values that rounding and overflow might trip over. */
#define STAGE_FIELD(name)                                                                          \
    {                                                                                              \
#name, offsetof(slm_sampler_stage, name), sizeof(((slm_sampler_stage *)0)->name)           \
    }

/* All behind kind. */
static const struct {
    const char *name;
    size_t offset;
    size_t size;
} stage_fields[] = {
    STAGE_FIELD(n),        STAGE_FIELD(value),     STAGE_FIELD(repeat),     STAGE_FIELD(frequency),
    STAGE_FIELD(presence), STAGE_FIELD(n_biases),  STAGE_FIELD(biases),     STAGE_FIELD(range),
    STAGE_FIELD(exponent), STAGE_FIELD(threshold), STAGE_FIELD(base),       STAGE_FIELD(allowed),
    STAGE_FIELD(rate),     STAGE_FIELD(decay),     STAGE_FIELD(n_breakers), STAGE_FIELD(breakers),
};

/* How a kind reads a field; NULL: not at all. */
static const struct sampler_rule *rule_of(int32_t kind, size_t offset)
{
    const struct sampler_rule *r = sampler_kinds[kind - 1].rules;
    assert_int_equal(sampler_kinds[kind - 1].kind, kind);
    while (r->form != FIELD_NONE && r->offset != offset) {
        r++;
    }
    return r->form != FIELD_NONE ? r : NULL;
}

static void extreme_fields_choose_something(void **unused)
{
    (void)unused;
    static const float values[] = {0, 1e-45f, 1e-3f, 0.5f, 0.99f, 1, 3, 1e30f, 3.4e38f, -1, -3e38f};
    enum {
        N_VALUES = sizeof values / sizeof *values
    };
    float logits[20];
    uint64_t state = 31;
    int n_made = 0;
    for (int round = 0; round < 60000; round++) {
        slm_sampler_stage stage =
            stage_of(1 + (int32_t)(testing_random(&state) % SLM_STAGE_ADAPTIVE_P), 0, 0);
        struct slm_sampler *s = NULL;
        for (int32_t f = 0; f < SLM_COUNT(stage_fields); f++) {
            float value = values[testing_random(&state) % N_VALUES];
            int32_t whole = (int32_t)(testing_random(&state) % 9) - 2;
            const struct sampler_rule *rule = rule_of(stage.kind, stage_fields[f].offset);
            if (rule != NULL && rule->form == FIELD_FLOAT) {
                memcpy((uint8_t *)&stage + stage_fields[f].offset, &value, 4);
            } else if (rule != NULL && rule->form == FIELD_INT &&
                       strncmp(stage_fields[f].name, "n_", 2) != 0) {
                memcpy((uint8_t *)&stage + stage_fields[f].offset, &whole, 4);
            }
        }
        if (make(&s, 20, &stage, 1, (uint64_t)round, NULL) != SLM_OK) {
            continue;
        }
        n_made++;
        test_logits(logits, 20, state);
        logits[testing_random(&state) % 20] = values[testing_random(&state) % N_VALUES];
        for (int i = 0; i < 12; i++) {
            int32_t token = -1;
            int status = sampler_sample(s, logits, 20, &token, NULL);
            /* A penalty may ban all there is. */
            assert_true(status == SLM_OK ||
                        (status == SLM_E_NUMERIC &&
                         (stage.kind == SLM_STAGE_PENALTIES || stage.kind == SLM_STAGE_DRY)));
            assert_int_equal(sampler_accept(s, status == SLM_OK ? token : 1, NULL), SLM_OK);
        }
        sampler_destroy(s);
    }
    assert_true(n_made > 10000);
}

/* ---- Large vocabularies ---------------------------------------------------------------------- */

static void selection_agrees_with_a_full_sort(void **unused)
{
    (void)unused;
    static float logits[LARGE];
    static slm_candidate want[LARGE];
    static slm_candidate got[LARGE];
    static const int32_t ks[] = {1, 2, 3, 40, 1000, 30000, LARGE - 1, LARGE, INT32_MAX};
    test_logits(logits, LARGE, 12);
    for (int32_t i = 0; i < LARGE; i += 16) { /* many equals */
        logits[i] = (float)(i % 5);
    }
    candidates_of(want, logits, LARGE);
    qsort(want, LARGE, sizeof *want, by_rank);
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        slm_sampler_stage stage = stage_of(SLM_STAGE_TOP_K, ks[i], 0);
        struct slm_sampler *s = must_make(LARGE, &stage, 1, 0);
        int32_t n = LARGE;
        candidates_of(got, logits, LARGE);
        assert_int_equal(sampler_apply(s, got, &n, NULL), SLM_OK);
        assert_int_equal(n, ks[i] < LARGE ? ks[i] : LARGE);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        sampler_destroy(s);
    }
}

static void top_p_takes_the_shortest_row_that_is_enough(void **unused)
{
    (void)unused;
    static float logits[LARGE];
    static slm_candidate sorted[LARGE];
    static slm_candidate got[LARGE];
    static const float ps[] = {0, 0.1f, 0.5f, 0.9f, 0.95f, 0.999f};
    for (int flat = 0; flat < 2; flat++) {
        double sum = 0;
        test_logits(logits, LARGE, 13);
        for (int32_t i = 0; i < LARGE; i++) {
            logits[i] *= flat ? 0.25f : 2.5f;
        }
        candidates_of(sorted, logits, LARGE);
        qsort(sorted, LARGE, sizeof *sorted, by_rank);
        for (int32_t i = 0; i < LARGE; i++) {
            sum += math_exp_pair((double)(sorted[i].logit - sorted[0].logit), 0);
        }
        for (size_t i = 0; i < sizeof ps / sizeof *ps; i++) {
            slm_sampler_stage stage = stage_of(SLM_STAGE_TOP_P, 2, ps[i]);
            struct slm_sampler *s = must_make(LARGE, &stage, 1, 0);
            int32_t n = LARGE;
            double kept = 0;
            candidates_of(got, logits, LARGE);
            assert_int_equal(sampler_apply(s, got, &n, NULL), SLM_OK);
            assert_memory_equal(got, sorted, (size_t)n * sizeof *got);
            for (int32_t j = 0; j < n; j++) {
                kept += math_exp_pair((double)(got[j].logit - got[0].logit), 0);
            }
            assert_true(kept / sum >= (double)ps[i] - 1e-7);
            kept -= math_exp_pair((double)(got[n - 1].logit - got[0].logit), 0);
            assert_true(n == 2 || kept / sum < (double)ps[i] + 1e-7);
            assert_true(n >= 2 && (n < LARGE || flat));
            sampler_destroy(s);
        }
    }
}

/* ---- Host stages ----------------------------------------------------------------------------- */

/* apply, a stage of the host's, choose: what slm_sample does when the host's stage does nothing. */
static void a_host_stage_goes_between_apply_and_choose(void **unused)
{
    (void)unused;
    static float logits[1000];
    static slm_candidate c[1000];
    slm_sampler_stage stages[8];
    int32_t n_stages = usual_chain(stages);
    struct slm_sampler *a = must_make(1000, stages, n_stages, 6);
    struct slm_sampler *b = must_make(1000, stages, n_stages, 6);
    for (int round = 0; round < 200; round++) {
        int32_t n = 1000;
        int32_t token = -1;
        double sum = 0;
        test_logits(logits, 1000, (uint64_t)round);
        candidates_of(c, logits, 1000);
        assert_int_equal(sampler_apply(a, c, &n, NULL), SLM_OK);
        assert_in_range(n, 1, 40);
        assert_int_equal(sampler_choose(a, c, n, &token, NULL), SLM_OK);
        assert_int_equal(token, must_sample(b, logits, 1000));
        for (int32_t i = 0; i < n; i++) {
            assert_true(c[i].probability > 0 && (i == 0 || c[i].logit <= c[i - 1].logit));
            sum += (double)c[i].probability;
        }
        assert_true(sum > 0.99999 && sum < 1.00001);

        int32_t banned = c[0].token; /* now a stage that does something */
        candidates_of(c, logits, 1000);
        n = 1000;
        assert_int_equal(sampler_apply(a, c, &n, NULL), SLM_OK);
        for (int32_t i = 0; i < n && n > 1; i++) {
            if (c[i].token == banned) {
                c[i] = c[--n];
            }
        }
        assert_int_equal(sampler_choose(a, c, n, &token, NULL), SLM_OK);
        assert_true(token != banned || n == 1);
        must_sample(b, logits, 1000);
        assert_int_equal(a->now.random, b->now.random);
    }
    sampler_destroy(a);
    sampler_destroy(b);
}

static void bad_candidates_are_refused(void **unused)
{
    (void)unused;
    slm_error err;
    slm_sampler_stage stages[8];
    slm_candidate c[4] = {{0, 1, 0}, {1, 2, 0}, {4, 3, 0}, {2, 1, 0}};
    slm_candidate before[4];
    float logits[4] = {0, 1, 2, 3};
    int32_t token = 5;
    int32_t n = 4;
    struct slm_sampler *s = must_make(4, stages, usual_chain(stages), 0);
    assert_int_equal(sampler_accept(s, 1, &err), SLM_OK);
    memcpy(before, c, sizeof c);
    assert_int_equal(sampler_apply(s, c, &n, &err), SLM_E_ARGUMENT);
    assert_int_equal(err.position, 2);
    assert_non_null(strstr(err.message, "token 4"));
    assert_int_equal(sampler_choose(s, c, 4, &token, &err), SLM_E_ARGUMENT);
    c[2].token = -1;
    before[2].token = -1;
    assert_int_equal(sampler_apply(s, c, &n, &err), SLM_E_ARGUMENT);
    assert_memory_equal(c, before, sizeof c);
    assert_int_equal(n, 4);
    n = 0;
    assert_int_equal(sampler_apply(s, c, &n, &err), SLM_E_ARGUMENT);
    n = 5;
    assert_int_equal(sampler_apply(s, c, &n, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_apply(s, c, NULL, &err), SLM_E_ARGUMENT);
    n = 2;
    assert_int_equal(sampler_apply(s, NULL, &n, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_choose(s, c, 0, &token, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_choose(s, c, 1, NULL, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_sample(s, logits, 3, &token, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_sample(s, NULL, 4, &token, &err), SLM_E_ARGUMENT);
    assert_int_equal(sampler_sample(s, logits, 4, NULL, &err), SLM_E_ARGUMENT);
    assert_int_equal(token, 5);
    sampler_destroy(s);
}

static void biases_of_one_token_add_up(void **unused)
{
    (void)unused;
    slm_logit_bias biases[4] = {{2, 1}, {0, -1}, {2, 3}, {1, test_minus_infinity()}};
    slm_sampler_stage stages[2] = {biases_of(biases, 4), biases_of(biases, 1)};
    slm_candidate c[3] = {{2, 0, 0}, {1, 0, 0}, {0, 0, 0}};
    int32_t n = 3;
    struct slm_sampler *s = must_make(3, stages, 2, 0);
    memset(biases, 0xff, sizeof biases); /* they were copied */
    assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
    assert_int_equal(n, 3);
    assert_true(c[0].logit == 5 && c[2].logit == -1);
    assert_int_equal(f32_to_bits(c[1].logit), 0xff800000u);
    sampler_destroy(s);
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static void bad_stages_are_named(void **unused)
{
    (void)unused;
    slm_logit_bias outside[2] = {{1, 0}, {10, 0}};
    slm_logit_bias negative[1] = {{-1, 0}};
    static const char *const breakers[4] = {"a", "", "12345678901234567890123456789012345678901",
                                            NULL};
    slm_logit_bias not_a_number[1] = {{1, test_nan()}};
    struct {
        slm_sampler_stage stage;
        const char *message;
    } bad[] = {
        {stage_of(SLM_STAGE_TEMPERATURE, 0, test_nan()), "stage 1 (temperature): value"},
        {stage_of(SLM_STAGE_TEMPERATURE, 0, test_infinity()), "stage 1 (temperature): value"},
        {stage_of(SLM_STAGE_TOP_P, 0, test_nan()), "stage 1 (top_p): value"},
        {stage_of(SLM_STAGE_MIN_P, 0, test_minus_infinity()), "stage 1 (min_p): value"},
        {stage_of(SLM_STAGE_TOP_P, 0, 1.5f), "stage 1 (top_p): value must be from 0 to 1"},
        {stage_of(SLM_STAGE_MIN_P, 0, -0.5f), "stage 1 (min_p): value must be from 0 to 1"},
        {stage_of(SLM_STAGE_TYPICAL, 0, 2), "stage 1 (typical): value must be from 0 to 1"},
        {stage_of(SLM_STAGE_TOP_N_SIGMA, 0, test_nan()), "stage 1 (top_n_sigma): value"},
        {stage_of(SLM_STAGE_TEMPERATURE, 1, 1), "stage 1 (temperature): n must be 0"},
        {stage_of(SLM_STAGE_TOP_K, 1, 1), "stage 1 (top_k): value must be 0"},
        {xtc_of(1, -1, 0.1f), "stage 1 (xtc): value"},
        {xtc_of(1, 1, 1.5f), "stage 1 (xtc): threshold must be from 0 to 1"},
        {dynamic_of(1, -1, 1), "stage 1 (dynamic_temperature): range"},
        {dynamic_of(1, 1, -1), "stage 1 (dynamic_temperature): exponent"},
        {dry_of(4097, 1, 1.5f, 2, NULL, 0), "stage 1 (dry): n must be 4096 at most"},
        {dry_of(64, 1, 0.5f, 2, NULL, 0), "stage 1 (dry): base must be finite and 1 or more"},
        {dry_of(64, 1, 1.5f, -1, NULL, 0), "stage 1 (dry): allowed"},
        {dry_of(64, 1, 1.5f, 2, NULL, 1), "stage 1 (dry): breakers is NULL"},
        {dry_of(64, 1, 1.5f, 2, breakers, 17), "stage 1 (dry): n_breakers must be from 0 to 16"},
        {dry_of(64, 1, 1.5f, 2, breakers, 2), "stage 1 (dry): breaker 1 has 0 bytes"},
        {dry_of(64, 1, 1.5f, 2, breakers + 2, 1), "stage 1 (dry): breaker 0 has 41 bytes"},
        {dry_of(64, 1, 1.5f, 2, breakers + 3, 1), "stage 1 (dry): breaker 0 has 0 bytes"},
        {mirostat_of(SLM_STAGE_MIROSTAT, -1, 0.1f), "stage 1 (mirostat): value"},
        {mirostat_of(SLM_STAGE_MIROSTAT_2, 5, 2), "stage 1 (mirostat_2): rate must be from 0 to 1"},
        {stage_of(SLM_STAGE_MIROSTAT, 1, 5), "stage 1 (mirostat): n must be 2 or more"},
        {adaptive_of(1.5f, 0.5f), "stage 1 (adaptive_p): value"},
        {adaptive_of(0.5f, 1), "stage 1 (adaptive_p): decay must be from 0 to 0.99"},
        {stage_of(0, 0, 0), "stage 1: there is no kind 0"},
        {stage_of(15, 0, 0), "stage 1: there is no kind 15"},
        {stage_of(-1, 0, 0), "stage 1: there is no kind -1"},
        {penalties_of(4097, 1, 0, 0), "stage 1 (penalties): n must be 4096 at most"},
        {penalties_of(64, 0, 0, 0), "stage 1 (penalties): repeat"},
        {penalties_of(64, -1, 0, 0), "stage 1 (penalties): repeat"},
        {penalties_of(64, test_nan(), 0, 0), "stage 1 (penalties): repeat"},
        {penalties_of(64, 1, test_nan(), 0), "stage 1 (penalties): frequency"},
        {penalties_of(64, 1, 0, test_nan()), "stage 1 (penalties): presence"},
        {biases_of(outside, -1), "stage 1 (logit_bias): n_biases must be"},
        {biases_of(NULL, 1), "stage 1 (logit_bias): biases is NULL"},
        {biases_of(outside, 2), "stage 1 (logit_bias): bias 1: token 10"},
        {biases_of(negative, 1), "stage 1 (logit_bias): bias 0: token -1"},
        {biases_of(not_a_number, 1), "stage 1 (logit_bias): bias 0: the bias of token 1 is NaN"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        slm_error err;
        struct slm_sampler *s = (struct slm_sampler *)(void *)&err;
        slm_sampler_stage stages[2] = {stage_of(SLM_STAGE_TOP_K, 5, 0), bad[i].stage};
        assert_int_equal(make(&s, 10, stages, 2, 0, &err), SLM_E_ARGUMENT);
        assert_null(s);
        assert_int_equal(err.code, SLM_E_ARGUMENT);
        assert_int_equal(err.position, 1);
        if (strstr(err.message, bad[i].message) == NULL) {
            fail_msg("case %zu: %s", i, err.message);
        }
    }
}

static void fields_that_a_kind_does_not_read_are_0(void **unused)
{
    (void)unused;
    int n_read = 0;
    for (int32_t kind = 1; kind <= SLM_STAGE_ADAPTIVE_P; kind++) {
        for (int32_t f = 0; f < SLM_COUNT(stage_fields); f++) {
            slm_error err;
            char want[64];
            slm_sampler_stage stage = stage_of(kind, 0, 0);
            struct slm_sampler *s = NULL;
            if (rule_of(kind, stage_fields[f].offset) != NULL) {
                n_read++;
                continue;
            }
            /* What it reads must pass first. */
            stage.repeat = kind == SLM_STAGE_PENALTIES ? 1 : 0;
            stage.base = kind == SLM_STAGE_DRY ? 1 : 0;
            stage.n = kind == SLM_STAGE_MIROSTAT ? 2 : 0;
            assert_int_equal(make(&s, 10, &stage, 1, 0, &err), SLM_OK);
            sampler_destroy(s);
            ((uint8_t *)&stage)[stage_fields[f].offset + stage_fields[f].size - 1] = 0x20;
            assert_int_equal(make(&s, 10, &stage, 1, 0, &err), SLM_E_ARGUMENT);
            snprintf(want, sizeof want, "): %s must be 0: ", stage_fields[f].name);
            assert_non_null(strstr(err.message, want));
        }
    }
    assert_int_equal(n_read, 34);
}

static void stages_that_learn_come_last(void **unused)
{
    (void)unused;
    slm_error err;
    struct slm_sampler *s = NULL;
    slm_sampler_stage stages[2] = {mirostat_of(SLM_STAGE_MIROSTAT_2, 5, 0.1f),
                                   stage_of(SLM_STAGE_TOP_K, 5, 0)};
    assert_int_equal(make(&s, 10, stages, 2, 0, &err), SLM_E_ARGUMENT);
    assert_int_equal(err.position, 0);
    assert_non_null(strstr(err.message, "stage 0 (mirostat_2): it must be the last"));
    stages[1] = adaptive_of(0.5f, 0.5f);
    assert_int_equal(make(&s, 10, stages, 2, 0, &err), SLM_E_ARGUMENT);
}

static void bad_chains_are_refused(void **unused)
{
    (void)unused;
    slm_error err;
    struct slm_sampler *s = NULL;
    static slm_sampler_stage stages[65];
    for (int i = 0; i < 65; i++) {
        stages[i] = stage_of(SLM_STAGE_TOP_K, 5, 0);
    }
    assert_int_equal(make(&s, 10, stages, 65, 0, &err), SLM_E_ARGUMENT);
    assert_int_equal(make(&s, 10, stages, -1, 0, &err), SLM_E_ARGUMENT);
    assert_int_equal(make(&s, 10, NULL, 1, 0, &err), SLM_E_ARGUMENT);
    assert_int_equal(make(&s, 0, stages, 1, 0, &err), SLM_E_ARGUMENT);
    assert_int_equal(make(&s, INT32_MAX, stages, 1, 0, &err), SLM_E_ARGUMENT);
    assert_null(s);
    assert_int_equal(make(&s, 10, stages, 64, 0, &err), SLM_OK);
    sampler_destroy(s);
    sampler_destroy(NULL);
}

/* A program compiled with a longer or shorter struct. */
static void stages_of_another_size_are_understood(void **unused)
{
    (void)unused;
    slm_error err;
    struct {
        slm_sampler_stage stage;
        uint64_t later;
    } longer[2];
    slm_sampler_options options;
    struct slm_sampler *s = NULL;
    memset(longer, 0, sizeof longer);
    memset(&options, 0, sizeof options);
    longer[0].stage = stage_of(SLM_STAGE_TOP_K, 3, 0);
    longer[1].stage = stage_of(SLM_STAGE_TOP_K, 2, 0);
    assert_int_equal(sampler_create(&s, 10, &longer[0].stage, 2, sizeof longer[0], &options, &err),
                     SLM_OK);
    assert_int_equal(s->stages[1].set.n, 2);
    sampler_destroy(s);
    longer[1].later = 1;
    assert_int_equal(sampler_create(&s, 10, &longer[0].stage, 2, sizeof longer[0], &options, &err),
                     SLM_E_ARGUMENT);
    assert_int_equal(err.position, 1);
    assert_non_null(strstr(err.message, "sampler stage 1"));

    /* As first published: up to biases. Nothing is shorter. */
    enum {
        FIRST = offsetof(slm_sampler_stage, range)
    };
    uint8_t shorter[2 * FIRST];
    memcpy(shorter, &longer[0].stage, FIRST);
    memcpy(shorter + FIRST, &longer[1].stage, FIRST);
    const slm_sampler_stage *stages = (const slm_sampler_stage *)(const void *)shorter;
    assert_int_equal(sampler_create(&s, 10, stages, 2, FIRST, &options, &err), SLM_OK);
    assert_int_equal(s->stages[1].set.n, 2);
    sampler_destroy(s);
    assert_int_equal(sampler_create(&s, 10, stages, 2, FIRST - 1, &options, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "stage_size"));
    assert_int_equal(sampler_create(&s, 10, stages, 0, 0, &options, &err), SLM_OK);
    sampler_destroy(s);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

struct counter {
    int n_calls;
    int n_live;
    int fail_at; /* the call that gets nothing; 0: none */
};

static void *counting_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    struct counter *c = (struct counter *)user;
    if (new_size == 0) {
        c->n_live--;
        return memory_libc(NULL, ptr, old_size, 0, align);
    }
    if (++c->n_calls == c->fail_at) {
        return NULL;
    }
    c->n_live++;
    return memory_libc(NULL, ptr, old_size, new_size, align);
}

static void only_create_and_clone_allocate(void **unused)
{
    (void)unused;
    slm_error err;
    slm_sampler_stage stages[8];
    slm_sampler_options options;
    struct counter counter = {0, 0, 1};
    int32_t tokens[100];
    struct slm_sampler *s = NULL;
    struct slm_sampler *clone = NULL;
    int32_t n = usual_chain(stages);
    memset(&options, 0, sizeof options);
    options.alloc = counting_alloc;
    options.alloc_user = &counter;
    assert_int_equal(sampler_create(&s, 1000, stages, n, sizeof *stages, &options, &err),
                     SLM_E_MEMORY);
    assert_null(s);
    assert_int_equal(sampler_create(&s, 1000, stages, n, sizeof *stages, &options, &err), SLM_OK);
    counter.fail_at = counter.n_calls + 1;
    assert_int_equal(sampler_clone(&clone, s, &err), SLM_E_MEMORY);
    assert_null(clone);
    assert_int_equal(sampler_clone(&clone, s, &err), SLM_OK);
    assert_int_equal(s->mem.used, s->bytes);
    assert_int_equal(clone->mem.used, clone->bytes);
    int n_calls = counter.n_calls;
    generate(s, 1000, tokens, 100, 0);
    generate(clone, 1000, tokens, 100, 0);
    assert_int_equal(sampler_rewind(s, 50, &err), SLM_OK);
    assert_int_equal(counter.n_calls, n_calls);
    assert_int_equal(counter.n_live, 2);
    sampler_destroy(s);
    sampler_destroy(clone);
    assert_int_equal(counter.n_live, 0);
}

/* ---- The draw -------------------------------------------------------------------------------- */

/* Pearson's chi-square over 7 degrees of freedom, summed over 20 seeds: 140 on average, with a
 * standard deviation of 16.7. Beyond four of them there is a bias, or numbers too even to be
 * random. */
static void tokens_come_as_often_as_their_probability_says(void **unused)
{
    (void)unused;
    enum {
        N = 8,
        DRAWS = 50000
    };
    static const float logits[N] = {0, 1, -1, 0.5f, -2, 2, 0, -4};
    slm_sampler_stage stage = stage_of(SLM_STAGE_TEMPERATURE, 0, 1);
    double sum = 0;
    double chi_square = 0;
    for (int i = 0; i < N; i++) {
        sum += math_exp_pair((double)logits[i], 0);
    }
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct slm_sampler *s = must_make(N, &stage, 1, seed);
        int32_t count[N] = {0};
        for (int i = 0; i < DRAWS; i++) {
            count[must_sample(s, logits, N)]++;
        }
        for (int i = 0; i < N; i++) {
            double expected = DRAWS * math_exp_pair((double)logits[i], 0) / sum;
            double difference = count[i] - expected;
            chi_square += difference * difference / expected;
        }
        sampler_destroy(s);
    }
    print_message("chi-square %.1f, 140 expected\n", chi_square);
    assert_true(chi_square < 207 && chi_square > 73);
}

/* ---- Speed ----------------------------------------------------------------------------------- */

static double now_ms(void)
{
    return (double)clock() * 1000 / CLOCKS_PER_SEC;
}

static void bench_chain(const char *name, const slm_sampler_stage *stages, int32_t n, float scale)
{
    static float logits[LARGE];
    struct slm_sampler *s = must_make(LARGE, stages, n, 1);
    double best = 1e9;
    test_logits(logits, LARGE, 1);
    for (int32_t i = 0; i < LARGE; i++) {
        logits[i] *= scale;
    }
    for (int i = 0; i < 100; i++) {
        (void)sampler_accept(s, i * 1000, NULL);
    }
    for (int i = 0; i < 20; i++) {
        double start = now_ms();
        (void)must_sample(s, logits, LARGE);
        double time = now_ms() - start;
        best = time < best ? time : best;
    }
    printf("%-44s %8.3f ms\n", name, best);
    sampler_destroy(s);
}

static int bench(void)
{
    slm_sampler_stage s[8] = {stage_of(SLM_STAGE_TOP_K, 1, 0)};
    printf("one token of %d, best of 20\n", LARGE);
    bench_chain("greedy", s, 0, 2);
    s[0] = stage_of(SLM_STAGE_TEMPERATURE, 0, 0.8f);
    bench_chain("temperature", s, 1, 2);
    s[0] = stage_of(SLM_STAGE_TOP_K, 40, 0);
    bench_chain("top_k 40", s, 1, 2);
    s[0] = stage_of(SLM_STAGE_TOP_P, 1, 0.95f);
    bench_chain("top_p 0.95, steep", s, 1, 4);
    bench_chain("top_p 0.95, flat", s, 1, 0.1f);
    s[0] = stage_of(SLM_STAGE_MIN_P, 1, 0.05f);
    bench_chain("min_p 0.05", s, 1, 2);
    bench_chain("penalties, top_k, top_p, min_p, temperature", s, usual_chain(s), 2);
    s[0] = stage_of(SLM_STAGE_TOP_N_SIGMA, 0, 1);
    bench_chain("top_n_sigma 1", s, 1, 2);
    s[0] = stage_of(SLM_STAGE_TYPICAL, 1, 0.95f);
    bench_chain("typical 0.95", s, 1, 2);
    s[0] = dry_of(4096, 0.8f, 1.75f, 2, NULL, 0);
    bench_chain("dry, 4096", s, 1, 2);
    s[0] = mirostat_of(SLM_STAGE_MIROSTAT_2, 5, 0.1f);
    bench_chain("mirostat_2", s, 1, 2);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_give_what_llama_cpp_gives),
        cmocka_unit_test(a_seed_gives_these_tokens),
        cmocka_unit_test(another_seed_gives_other_tokens),
        cmocka_unit_test(rewind_is_as_if_never_accepted),
        cmocka_unit_test(the_window_is_complete_after_the_longest_rewind),
        cmocka_unit_test(rewind_knows_its_limits),
        cmocka_unit_test(a_clone_goes_its_own_way),
        cmocka_unit_test(greedy_takes_the_lowest_of_the_best),
        cmocka_unit_test(nan_and_minus_infinity_are_never_chosen),
        cmocka_unit_test(plus_infinity_wins),
        cmocka_unit_test(without_a_finite_logit_it_is_an_error),
        cmocka_unit_test(suppressed_tokens_do_not_count),
        cmocka_unit_test(the_smallest_random_number_chooses_something_possible),
        cmocka_unit_test(min_p_keeps_one_at_least),
        cmocka_unit_test(extreme_settings_choose_something),
        cmocka_unit_test(selection_agrees_with_a_full_sort),
        cmocka_unit_test(top_p_takes_the_shortest_row_that_is_enough),
        cmocka_unit_test(extreme_fields_choose_something),
        cmocka_unit_test(a_host_stage_goes_between_apply_and_choose),
        cmocka_unit_test(bad_candidates_are_refused),
        cmocka_unit_test(biases_of_one_token_add_up),
        cmocka_unit_test(bad_stages_are_named),
        cmocka_unit_test(fields_that_a_kind_does_not_read_are_0),
        cmocka_unit_test(stages_that_learn_come_last),
        cmocka_unit_test(bad_chains_are_refused),
        cmocka_unit_test(stages_of_another_size_are_understood),
        cmocka_unit_test(only_create_and_clone_allocate),
        cmocka_unit_test(tokens_come_as_often_as_their_probability_says),
    };
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return bench();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
