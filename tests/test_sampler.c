/* test_sampler.c - the chain against llama.cpp's answers, and what slm.h promises of it.
 *
 * With --bench it prints milliseconds per token for a large vocabulary instead. */
#include "../slm.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#define LARGE 262144

static float test_infinity(void)
{
    return bits_to_f32(0x7f800000u);
}

static float test_minus_infinity(void)
{
    return bits_to_f32(0xff800000u);
}

static float test_nan(void)
{
    return bits_to_f32(0x7fc00000u);
}

static uint64_t test_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Logits with the look of a model's: a sum of four uniform numbers, exact in any arithmetic. */
static void test_logits(float *logits, int32_t n, uint64_t seed)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (int j = 0; j < 4; j++) {
            sum += (int32_t)(test_random(&seed) & 0xffff) - 0x8000;
        }
        logits[i] = (float)sum / 8192;
    }
}

/* ---- Making chains --------------------------------------------------------------------------- */

static slm_sampler_stage stage_of(int32_t kind, int32_t n, float value)
{
    slm_sampler_stage s;
    memset(&s, 0, sizeof s);
    s.struct_size = sizeof s;
    s.kind = kind;
    s.n = n;
    s.value = value;
    s.repeat = 1;
    return s;
}

static slm_sampler_stage penalties_of(int32_t n, float repeat, float frequency, float presence)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_PENALTIES, n, 0);
    s.repeat = repeat;
    s.frequency = frequency;
    s.presence = presence;
    return s;
}

static slm_sampler_stage biases_of(const slm_logit_bias *biases, int32_t n)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_LOGIT_BIAS, 0, 0);
    s.biases = biases;
    s.n_biases = n;
    return s;
}

static int make(struct slm_sampler **s, int32_t n_vocab, const slm_sampler_stage *stages, int32_t n,
                uint64_t seed, slm_error *err)
{
    slm_sampler_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.seed = seed;
    return sampler_create(s, n_vocab, stages, n, sizeof *stages, &options, err);
}

static struct slm_sampler *must_make(int32_t n_vocab, const slm_sampler_stage *stages, int32_t n,
                                     uint64_t seed)
{
    slm_error err;
    struct slm_sampler *s = NULL;
    if (make(&s, n_vocab, stages, n, seed, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    return s;
}

static int32_t must_sample(struct slm_sampler *s, const float *logits, int32_t n)
{
    slm_error err;
    int32_t token = -1;
    if (sampler_sample(s, logits, n, &token, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    assert_in_range(token, 0, n - 1);
    return token;
}

static void candidates_of(slm_candidate *c, const float *logits, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        c[i].token = i;
        c[i].logit = logits[i];
        c[i].probability = -1;
    }
}

/* By falling logit, then by token: the order that the library promises, written independently. */
static int by_rank(const void *a, const void *b)
{
    const slm_candidate *x = (const slm_candidate *)a;
    const slm_candidate *y = (const slm_candidate *)b;
    if (x->logit > y->logit || x->logit < y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return x->token < y->token ? -1 : x->token > y->token;
}

/* ---- Golden vectors -------------------------------------------------------------------------- */

#define GOLDEN_MAX 2048

struct golden {
    int supported;
    int32_t n_stages;
    slm_sampler_stage stages[8];
    slm_logit_bias biases[16];
    int32_t n_history;
    int32_t history[GOLDEN_MAX];
    int32_t n_logits;
    float logits[GOLDEN_MAX];
};

/* The number after "name=" in text, or otherwise. */
static double golden_field(const char *text, const char *name, double otherwise)
{
    const char *p = strstr(text, name);
    return p != NULL ? strtod(p + strlen(name), NULL) : otherwise;
}

static void golden_stage(struct golden *g, const char *text)
{
    slm_sampler_stage *s = &g->stages[g->n_stages];
    int32_t min_keep = (int32_t)golden_field(text, "min_keep=", 0);
    assert_in_range(g->n_stages, 0, 7);
    if (strncmp(text, "temp ", 5) == 0) {
        *s = stage_of(SLM_STAGE_TEMPERATURE, 0, (float)golden_field(text, "t=", 0));
    } else if (strncmp(text, "top_k ", 6) == 0) {
        *s = stage_of(SLM_STAGE_TOP_K, (int32_t)golden_field(text, "k=", 0), 0);
    } else if (strncmp(text, "top_p ", 6) == 0) {
        *s = stage_of(SLM_STAGE_TOP_P, min_keep, (float)golden_field(text, " p=", 0));
    } else if (strncmp(text, "min_p ", 6) == 0) {
        *s = stage_of(SLM_STAGE_MIN_P, min_keep, (float)golden_field(text, " p=", 0));
    } else if (strncmp(text, "penalties ", 10) == 0) {
        *s = penalties_of(
            (int32_t)golden_field(text, "last_n=", 0), (float)golden_field(text, "repeat=", 1),
            (float)golden_field(text, "freq=", 0), (float)golden_field(text, "present=", 0));
    } else if (strncmp(text, "logit_bias ", 11) == 0) {
        char *p = (char *)(uintptr_t)text + 11;
        int32_t n = 0;
        while (*p >= '0' && *p <= '9') {
            g->biases[n].token = (int32_t)strtol(p, &p, 10);
            p++;
            if (strncmp(p, "-inf", 4) == 0) {
                g->biases[n++].bias = test_minus_infinity();
                p += 4;
            } else {
                g->biases[n++].bias = (float)strtod(p, &p);
            }
            p += *p == ' ';
        }
        *s = biases_of(g->biases, n);
    } else {
        g->supported = 0;
        return;
    }
    g->n_stages++;
}

static void golden_sampler(struct golden *g, const char *line)
{
    memset(g, 0, sizeof *g);
    g->supported = 1;
    for (const char *p = line; p != NULL;) {
        char text[256];
        const char *end = strstr(p, " ; ");
        size_t n = end != NULL ? (size_t)(end - p) : strcspn(p, "\n");
        assert_true(n < sizeof text);
        memcpy(text, p, n);
        text[n] = 0;
        golden_stage(g, text);
        p = end != NULL ? end + 3 : NULL;
    }
}

static int is_near(double got, double want)
{
    double size = want < 0 ? -want : want;
    double difference = got > want ? got - want : want - got;
    return difference <= 1e-5 * size + 1e-6;
}

/* Runs the chain and compares what is left, by falling logit, with the line. */
static void golden_check(const struct golden *g, const char *line, const char *where)
{
    static slm_candidate c[GOLDEN_MAX];
    struct slm_sampler *s = must_make(g->n_logits, g->stages, g->n_stages, 1);
    char *p = (char *)(uintptr_t)line;
    int32_t n = g->n_logits;
    int32_t token = -1;
    long n_want = strtol(p, &p, 10);
    for (int32_t i = 0; i < g->n_history; i++) {
        assert_int_equal(sampler_accept(s, g->history[i], NULL), SLM_OK);
    }
    candidates_of(c, g->logits, n);
    assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
    assert_int_equal(sampler_choose(s, c, n, &token, NULL), SLM_OK);
    qsort(c, (size_t)n, sizeof *c, by_rank);
    while (n > 0 && sampler_key(c[n - 1].logit) == SAMPLER_KEY_NEVER) {
        n--;
    }
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

static void golden_file(const char *path, int *n_checked, int *n_skipped)
{
    static char line[1 << 16];
    static struct golden g;
    char where[128];
    int number = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        char *p = line;
        number++;
        if (strncmp(line, "sampler ", 8) == 0) {
            golden_sampler(&g, line + 8);
            *n_skipped += !g.supported;
        } else if (strncmp(line, "history ", 8) == 0) {
            g.n_history = (int32_t)strtol(line + 8, &p, 10);
            assert_in_range(g.n_history, 0, GOLDEN_MAX);
            for (int32_t i = 0; i < g.n_history; i++) {
                g.history[i] = (int32_t)strtol(p, &p, 10);
            }
        } else if (strncmp(line, "logits ", 7) == 0) {
            g.n_logits = (int32_t)strtol(line + 7, &p, 10);
            assert_in_range(g.n_logits, 1, GOLDEN_MAX);
            for (int32_t i = 0; i < g.n_logits; i++) {
                g.logits[i] = strtof(p, &p);
            }
        } else if (strncmp(line, "out ", 4) == 0 && g.supported) {
            snprintf(where, sizeof where, "%s:%d", path, number);
            golden_check(&g, line + 4, where);
            ++*n_checked;
        }
    }
    fclose(file);
}

static void chains_give_what_llama_cpp_gives(void **unused)
{
    (void)unused;
    int n_checked = 0;
    int n_skipped = 0;
    golden_file("tests/golden/samplers/truncation.txt", &n_checked, &n_skipped);
    golden_file("tests/golden/samplers/temperature.txt", &n_checked, &n_skipped);
    golden_file("tests/golden/samplers/penalties.txt", &n_checked, &n_skipped);
    golden_file("tests/golden/samplers/chain.txt", &n_checked, &n_skipped);
    print_message("%d vectors compared, %d skipped: their samplers are not implemented\n",
                  n_checked, n_skipped);
    assert_true(n_checked >= 33);
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

static int32_t random_chain(slm_sampler_stage *stages, uint64_t *state)
{
    static const slm_logit_bias biases[3] = {{3, 1}, {17, -2}, {3, 0.5f}};
    int32_t n = 1 + (int32_t)(test_random(state) % 6);
    for (int32_t i = 0; i < n; i++) {
        int32_t small = (int32_t)(test_random(state) % 60);
        float part = (float)(test_random(state) % 100) / 100;
        switch (test_random(state) % 6) {
        case 0:
            stages[i] = stage_of(SLM_STAGE_TEMPERATURE, 0, 2 * part + 0.25f);
            break;
        case 1:
            stages[i] = stage_of(SLM_STAGE_TOP_K, small, 0);
            break;
        case 2:
            stages[i] = stage_of(SLM_STAGE_TOP_P, small % 4, part);
            break;
        case 3:
            stages[i] = stage_of(SLM_STAGE_MIN_P, small % 4, part / 4);
            break;
        case 4:
            stages[i] = penalties_of(small * 5 - 10, 1 + part, part, -part);
            break;
        default:
            stages[i] = biases_of(biases, 3);
            break;
        }
    }
    return n;
}

static void rewind_is_as_if_never_accepted(void **unused)
{
    (void)unused;
    uint64_t state = 5;
    int32_t moved = 0;
    for (int round = 0; round < 300; round++) {
        slm_sampler_stage stages[8];
        int32_t before = (int32_t)(test_random(&state) % 200);
        int32_t back = (int32_t)(test_random(&state) % 100);
        int32_t scratch[200];
        int32_t want[50];
        int32_t got[50];
        struct slm_sampler *twin = NULL;
        int32_t n = random_chain(stages, &state);
        struct slm_sampler *s = must_make(100, stages, n, test_random(&state));
        generate(s, 100, scratch, before, state);
        assert_int_equal(sampler_clone(&twin, s, NULL), SLM_OK);
        generate(twin, 100, want, 50, 77);
        if (back > 0) { /* the first is accepted before anything is drawn */
            assert_int_equal(sampler_accept(s, 1, NULL), SLM_OK);
            generate(s, 100, scratch, back - 1, state + 1);
            moved += s->random != twin->random;
        }
        assert_int_equal(sampler_rewind(s, back, NULL), SLM_OK);
        generate(s, 100, got, 50, 77);
        assert_memory_equal(want, got, sizeof want);
        assert_int_equal(s->random, twin->random);
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
    uint64_t random = s->random;
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
    assert_int_equal(s->random, random);
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
        int32_t good = (int32_t)(test_random(&state) % 100);
        test_logits(logits, 100, state);
        for (int32_t i = 0; i < 100; i++) {
            if (i != good && test_random(&state) % 8 != 0) {
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
        uint64_t random = s->random;
        assert_int_equal(sampler_sample(s, logits, 4, &token, &err), SLM_E_NUMERIC);
        assert_int_equal(err.code, SLM_E_NUMERIC);
        assert_int_equal(token, 77);
        assert_int_equal(s->random, random);
        sampler_destroy(s);
    }
    slm_logit_bias ban[2] = {{0, test_minus_infinity()}, {1, test_minus_infinity()}};
    float two[2] = {1, 2};
    stages[0] = biases_of(ban, 2);
    struct slm_sampler *s = must_make(2, stages, 1, 0);
    uint64_t random = s->random;
    assert_int_equal(sampler_sample(s, two, 2, &token, &err), SLM_E_NUMERIC);
    assert_int_equal(s->random, random);
    sampler_destroy(s);
}

/* The one random number in 2^53 that is zero must not choose what has no probability. */
static void the_smallest_random_number_chooses_something_possible(void **unused)
{
    (void)unused;
    float logits[3] = {test_minus_infinity(), -1, 2};
    slm_sampler_stage stage = stage_of(SLM_STAGE_TEMPERATURE, 0, 1);
    struct slm_sampler *s = must_make(3, &stage, 1, 0);
    s->random = 0 - UINT64_C(0x9E3779B97F4A7C15);
    uint64_t random = s->random;
    assert_true(sampler_uniform(&random) == 0);
    assert_int_equal(must_sample(s, logits, 3), 1);
    sampler_destroy(s);
}

static void min_p_keeps_one_at_least(void **unused)
{
    (void)unused;
    float logits[4] = {1, 5, 5, 2};
    slm_candidate c[4];
    for (int32_t least = -1; least <= 6; least++) {
        slm_sampler_stage stage = stage_of(SLM_STAGE_MIN_P, least, 2);
        struct slm_sampler *s = must_make(4, &stage, 1, 0);
        int32_t n = 4;
        candidates_of(c, logits, 4);
        assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
        assert_int_equal(n, least < 1 ? 1 : least > 4 ? 4 : least);
        assert_int_equal(c[0].token, 1);
        sampler_destroy(s);
    }
}

/* Extreme but finite settings: always some candidate, always a valid one. */
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
                slm_sampler_stage stage = stage_of(kind, ns[k], values[v]);
                struct slm_sampler *s = must_make(20, &stage, 1, 0);
                int32_t token = must_sample(s, logits, 20);
                assert_true(token == 3 || (kind == SLM_STAGE_TEMPERATURE && values[v] == 3e38f));
                sampler_destroy(s);
            }
        }
    }
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
        assert_int_equal(a->random, b->random);
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
    slm_logit_bias not_a_number[1] = {{1, test_nan()}};
    struct {
        slm_sampler_stage stage;
        const char *message;
    } bad[] = {
        {stage_of(SLM_STAGE_TEMPERATURE, 0, test_nan()), "stage 1 (temperature): value"},
        {stage_of(SLM_STAGE_TEMPERATURE, 0, test_infinity()), "stage 1 (temperature): value"},
        {stage_of(SLM_STAGE_TOP_P, 0, test_nan()), "stage 1 (top_p): value"},
        {stage_of(SLM_STAGE_MIN_P, 0, test_minus_infinity()), "stage 1 (min_p): value"},
        {stage_of(0, 0, 0), "stage 1: there is no kind 0"},
        {stage_of(7, 0, 0), "stage 1: there is no kind 7"},
        {stage_of(-1, 0, 0), "stage 1: there is no kind -1"},
        {penalties_of(4097, 1, 0, 0), "stage 1 (penalties): a window of 4097 tokens"},
        {penalties_of(64, 0, 0, 0), "stage 1 (penalties): repeat"},
        {penalties_of(64, -1, 0, 0), "stage 1 (penalties): repeat"},
        {penalties_of(64, test_nan(), 0, 0), "stage 1 (penalties): repeat"},
        {penalties_of(64, 1, test_nan(), 0), "stage 1 (penalties): frequency"},
        {penalties_of(64, 1, 0, test_nan()), "stage 1 (penalties): frequency"},
        {biases_of(outside, -1), "stage 1 (logit_bias): n_biases is -1"},
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

    struct {
        uint32_t struct_size;
        int32_t kind;
        int32_t n;
    } shorter[2] = {{12, SLM_STAGE_TOP_K, 9}, {12, SLM_STAGE_TOP_K, 4}};
    assert_int_equal(sampler_create(&s, 10, (const slm_sampler_stage *)(const void *)shorter, 2,
                                    sizeof shorter[0], &options, &err),
                     SLM_OK);
    assert_int_equal(s->stages[1].set.n, 4);
    sampler_destroy(s);
    assert_int_equal(sampler_create(&s, 10, &longer[0].stage, 2, 3, &options, &err),
                     SLM_E_ARGUMENT);
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
        cmocka_unit_test(the_smallest_random_number_chooses_something_possible),
        cmocka_unit_test(min_p_keeps_one_at_least),
        cmocka_unit_test(extreme_settings_choose_something),
        cmocka_unit_test(selection_agrees_with_a_full_sort),
        cmocka_unit_test(top_p_takes_the_shortest_row_that_is_enough),
        cmocka_unit_test(a_host_stage_goes_between_apply_and_choose),
        cmocka_unit_test(bad_candidates_are_refused),
        cmocka_unit_test(biases_of_one_token_add_up),
        cmocka_unit_test(bad_stages_are_named),
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
