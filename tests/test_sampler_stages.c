/* test_sampler_stages.c - what each stage does to its candidates, against formulas in double. */
#include "../slm.c"

#include "gguf_build.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "sampler_fixture.h"

/* ---- Against formulas in double -------------------------------------------------------------- */

#define ORACLE_N 300

/* Probabilities; returns the entropy in nats. */
static double shares_of(const float *logits, int32_t n, double *p)
{
    double max = -1e300, sum = 0, entropy = 0;
    for (int32_t i = 0; i < n; i++) {
        max = (double)logits[i] > max ? (double)logits[i] : max;
    }
    for (int32_t i = 0; i < n; i++) {
        p[i] = exp((double)logits[i] - max);
        sum += p[i];
    }
    for (int32_t i = 0; i < n; i++) {
        p[i] /= sum;
        entropy -= p[i] > 0 ? p[i] * log(p[i]) : 0;
    }
    return entropy;
}

struct scored {
    double score;
    int32_t token;
};

static int by_score(const void *a, const void *b)
{
    double x = ((const struct scored *)a)->score;
    double y = ((const struct scored *)b)->score;
    return x < y ? -1 : x > y;
}

/* Those that the stage leaves, as marks by token. */
static int32_t kept_by(struct slm_sampler *s, const float *logits, int32_t n, uint8_t *kept)
{
    static slm_candidate c[ORACLE_N];
    candidates_of(c, logits, n);
    memset(kept, 0, (size_t)n);
    assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
    n = sort_candidates(c, n);
    for (int32_t i = 0; i < n; i++) {
        kept[c[i].token] = 1;
    }
    return n;
}

static void typical_oracle(const float *logits, int32_t n, double share, uint8_t *kept)
{
    static double p[ORACLE_N];
    static struct scored order[ORACLE_N];
    double entropy = shares_of(logits, n, p);
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        order[i].score = fabs(-log(p[i]) - entropy);
        order[i].token = i;
    }
    qsort(order, (size_t)n, sizeof *order, by_score);
    memset(kept, 0, (size_t)n);
    for (int32_t i = 0; i < n && sum <= share; i++) {
        kept[order[i].token] = 1;
        sum += p[order[i].token];
    }
}

static void top_n_sigma_oracle(const float *logits, int32_t n, double sigmas, uint8_t *kept)
{
    double max = -1e300, sum = 0, squares = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += (double)logits[i];
        max = (double)logits[i] > max ? (double)logits[i] : max;
    }
    for (int32_t i = 0; i < n; i++) {
        squares += ((double)logits[i] - sum / n) * ((double)logits[i] - sum / n);
    }
    for (int32_t i = 0; i < n; i++) {
        kept[i] = (double)logits[i] >= max - sigmas * sqrt(squares / n);
    }
}

static void truncations_agree_with_an_oracle(void **unused)
{
    (void)unused;
    float logits[ORACLE_N];
    uint8_t want[ORACLE_N];
    uint8_t got[ORACLE_N];
    uint64_t state = 3;
    for (int round = 0; round < 400; round++) {
        float part = (float)(1 + testing_random(&state) % 98) / 100;
        int is_typical = round % 2;
        slm_sampler_stage stage = is_typical ? stage_of(SLM_STAGE_TYPICAL, 0, part)
                                             : stage_of(SLM_STAGE_TOP_N_SIGMA, 0, part * 3);
        struct slm_sampler *s = must_make(ORACLE_N, &stage, 1, 0);
        test_logits(logits, ORACLE_N, state);
        if (is_typical) {
            typical_oracle(logits, ORACLE_N, (double)part, want);
        } else {
            top_n_sigma_oracle(logits, ORACLE_N, (double)(part * 3), want);
        }
        kept_by(s, logits, ORACLE_N, got);
        assert_memory_equal(got, want, sizeof got);
        sampler_destroy(s);
    }
}

/* How many of the best mirostat keeps; p falls. */
static int32_t mirostat_oracle(const double *p, int32_t n, double mu)
{
    double products = 0, squares = 0;
    for (int32_t i = 0; i < 99 && i < n - 1; i++) {
        double t = log((i + 2.0) / (i + 1.0));
        products += t * log(p[i] / p[i + 1]);
        squares += t * t;
    }
    double s = products / squares;
    double k = pow((s - 1) * pow(2, mu) / (1 - pow(n, 1 - s)), 1 / s);
    return k < 1 ? 1 : k > n ? n : (int32_t)k;
}

static int32_t mirostat_2_oracle(const double *p, int32_t n, double mu)
{
    int32_t k = 0;
    while (k < n && -log2(p[k]) <= mu) {
        k++;
    }
    return k < 1 ? 1 : k;
}

static int by_falling_number(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x > y ? -1 : x < y;
}

static void mirostat_agrees_with_an_oracle(void **unused)
{
    (void)unused;
    float logits[ORACLE_N];
    double p[ORACLE_N];
    double sorted[ORACLE_N];
    uint8_t kept[ORACLE_N];
    int32_t smallest = ORACLE_N, largest = 0;
    for (int32_t kind = SLM_STAGE_MIROSTAT; kind <= SLM_STAGE_MIROSTAT_2; kind++) {
        slm_sampler_stage stage = mirostat_of(kind, 3, 0.4f);
        struct slm_sampler *s = must_make(ORACLE_N, &stage, 1, 5);
        assert_true(s->now.memory[0] == 6);
        for (int step = 0; step < 300; step++) {
            double mu = (double)s->now.memory[0];
            double sum = 0;
            test_logits(logits, ORACLE_N, (uint64_t)step);
            for (int32_t i = 0; i < ORACLE_N; i++) {
                logits[i] *= (float)(step % 7) / 4 + 0.125f;
            }
            shares_of(logits, ORACLE_N, p);
            memcpy(sorted, p, sizeof p);
            qsort(sorted, ORACLE_N, sizeof *sorted, by_falling_number);
            int32_t k = kind == SLM_STAGE_MIROSTAT ? mirostat_oracle(sorted, ORACLE_N, mu)
                                                   : mirostat_2_oracle(sorted, ORACLE_N, mu);
            int32_t n = kept_by(s, logits, ORACLE_N, kept);
            assert_int_equal(n, k);
            smallest = n < smallest ? n : smallest;
            largest = n > largest ? n : largest;
            for (int32_t i = 0; i < ORACLE_N; i++) {
                sum += kept[i] ? p[i] : 0;
            }
            int32_t token = must_sample(s, logits, ORACLE_N);
            assert_true(kept[token] && (double)s->now.memory[0] == mu);
            assert_int_equal(sampler_accept(s, token, NULL), SLM_OK);
            assert_true(is_near((double)s->now.memory[0],
                                mu - (double)stage.rate * (-log2(p[token] / sum) - 3)));
        }
        sampler_destroy(s);
    }
    assert_true(smallest < 5 && largest > 100);
}

/* Logits by Zipf's law: the surprise on average is the target in the long run. */
static void mirostat_reaches_its_target(void **unused)
{
    (void)unused;
    enum {
        N = 20000,
        STEPS = 3000
    };
    static float logits[N];
    for (int32_t i = 0; i < N; i++) {
        logits[i] = (float)(-1.1 * log(i + 1.0));
    }
    for (int32_t kind = SLM_STAGE_MIROSTAT; kind <= SLM_STAGE_MIROSTAT_2; kind++) {
        for (int tau = 2; tau <= 6; tau += 2) {
            slm_sampler_stage stage = mirostat_of(kind, (float)tau, 0.1f);
            struct slm_sampler *s = must_make(N, &stage, 1, 9);
            double sum = 0;
            for (int i = 0; i < STEPS; i++) {
                int32_t token = must_sample(s, logits, N);
                sum += -log2((double)s->now.observed);
                assert_int_equal(sampler_accept(s, token, NULL), SLM_OK);
            }
            assert_true(fabs(sum / STEPS - tau) < 0.1);
            sampler_destroy(s);
        }
    }
}

static void adaptive_p_agrees_with_an_oracle(void **unused)
{
    (void)unused;
    float logits[ORACLE_N];
    double p[ORACLE_N];
    double want[ORACLE_N];
    slm_candidate c[ORACLE_N];
    slm_sampler_stage stage = adaptive_of(0.4f, 0.9f);
    struct slm_sampler *s = must_make(ORACLE_N, &stage, 1, 5);
    double target = (double)stage.value;
    double weighted = target / 0.1;
    double weight = 1 / 0.1;
    for (int step = 0; step < 300; step++) {
        int32_t n = ORACLE_N;
        int32_t token = -1;
        double sum = 0;
        test_logits(logits, n, (uint64_t)step);
        for (int32_t i = 0; i < n; i++) {
            logits[i] *= (float)(step % 5);
        }
        shares_of(logits, n, p);
        double a = 2 * target - weighted / weight;
        a = a < 0 ? 0 : a > 1 ? 1 : a;
        for (int32_t i = 0; i < n; i++) {
            double x = fabs(p[i] - a) / 0.3;
            want[i] = exp(5 - 10 * x * x / (1 + x));
            sum += want[i];
        }
        candidates_of(c, logits, n);
        assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
        assert_int_equal(n, ORACLE_N);
        assert_int_equal(sampler_choose(s, c, n, &token, NULL), SLM_OK);
        for (int32_t i = 0; i < n; i++) {
            assert_true(c[i].token == i && f32_to_bits(c[i].logit) == f32_to_bits(logits[i]));
            assert_true(fabs((double)c[i].probability - want[i] / sum) <
                        1e-5 * want[i] / sum + 1e-9);
        }
        assert_int_equal(sampler_accept(s, token, NULL), SLM_OK);
        weighted = p[token] + (double)stage.decay * weighted;
        weight = 1 + (double)stage.decay * weight;
        assert_true(is_near((double)s->now.memory[0], weighted));
        assert_true(is_near((double)s->now.memory[1], weight));
    }
    sampler_destroy(s);

    stage = adaptive_of(-1, 0.9f); /* plain sampling */
    s = must_make(ORACLE_N, &stage, 1, 5);
    int32_t n = ORACLE_N;
    int32_t token = -1;
    assert_int_equal(sampler_choose(s, c, n, &token, NULL), SLM_OK);
    for (int32_t i = 0; i < n; i++) {
        assert_true(is_near((double)c[i].probability, p[i]));
    }
    sampler_destroy(s);
}

static void xtc_comes_as_often_as_it_should(void **unused)
{
    (void)unused;
    static const float logits[6] = {0, 3, 2.5f, -1, 2.5f, -2};
    slm_sampler_stage stage = xtc_of(1, 0.3f, 0.2f);
    struct slm_sampler *s = must_make(6, &stage, 1, 5);
    uint8_t kept[6];
    int n_dropped = 0;
    for (int i = 0; i < 10000; i++) {
        int32_t n = kept_by(s, logits, 6, kept);
        assert_true(n == 6 || (n == 4 && !kept[1] && !kept[2] && kept[4]));
        n_dropped += n == 4;
    }
    assert_true(n_dropped > 2800 && n_dropped < 3200); /* 3000, standard deviation 46 */
    sampler_destroy(s);

    stage = xtc_of(5, 1, 0.2f); /* 4 would be left */
    s = must_make(6, &stage, 1, 5);
    assert_int_equal(kept_by(s, logits, 6, kept), 6);
    sampler_destroy(s);
    stage = xtc_of(4, 1, 0);
    s = must_make(6, &stage, 1, 5);
    assert_int_equal(kept_by(s, logits, 6, kept), 6);
    sampler_destroy(s);
    stage = xtc_of(1, 1, 0); /* all but the very last */
    s = must_make(6, &stage, 1, 5);
    assert_int_equal(kept_by(s, logits, 6, kept), 1);
    assert_true(kept[5]);
    sampler_destroy(s);
    stage = xtc_of(1, 1, 0.51f);
    s = must_make(6, &stage, 1, 5);
    uint64_t random = s->now.random;
    assert_int_equal(kept_by(s, logits, 6, kept), 6);
    assert_int_equal(s->now.random, random);
    sampler_destroy(s);
}

#define DRY_TOKENS 8

/* What the token loses, looked for in the simplest way. Token 7 is a breaker. */
static double dry_oracle(const int32_t *text, int32_t n, const slm_sampler_stage *stage,
                         int32_t token)
{
    int32_t longest = -1;
    int32_t begin = n > stage->n ? n - stage->n : 0;
    for (int32_t i = begin; i < n; i++) {
        begin = stage->n_breakers > 0 && text[i] == 7 ? i + 1 : begin;
    }
    int32_t limit = n - begin;
    begin = n > stage->n ? n - stage->n : 0;
    if (n - begin <= stage->allowed || (stage->n_breakers > 0 && token == 7)) {
        return 0;
    }
    for (int32_t at = begin + 1; at < n; at++) { /* text[at] follows the repeat */
        int32_t same = 0;
        while (same < limit && at - 1 - same >= begin &&
               text[at - 1 - same] == text[n - 1 - same]) {
            same++;
        }
        longest = text[at] == token && same > longest ? same : longest;
    }
    if (longest < stage->allowed || limit < stage->allowed) {
        return 0;
    }
    return (double)stage->value * pow((double)stage->base, longest - stage->allowed);
}

static slm_model *dry_model(void)
{
    static const char *const pieces[DRY_TOKENS] = {"a", "b", "c", "d", "da", "bc", "cc", "a."};
    return vocabulary_of(pieces, DRY_TOKENS, -1);
}

static void dry_agrees_with_an_oracle(void **unused)
{
    (void)unused;
    static const char *const breakers[2] = {"?!", "."};
    slm_model *model = dry_model();
    uint64_t state = 17;
    int n_changed = 0;
    for (int round = 0; round < 3000; round++) {
        int32_t text[80];
        slm_candidate c[DRY_TOKENS];
        float logits[DRY_TOKENS] = {0};
        int32_t n_text = (int32_t)(testing_random(&state) % 80);
        int32_t period = 1 + (int32_t)(testing_random(&state) % 12);
        int32_t n = DRY_TOKENS;
        slm_sampler_stage stage =
            dry_of((int32_t)(testing_random(&state) % 90), 0.75f, 1.0f + (float)(round % 5) / 4,
                   (int32_t)(testing_random(&state) % 4), breakers, round % 2 ? 2 : 0);
        struct slm_sampler *s = must_make(DRY_TOKENS, &stage, 1, 0);
        s->model = model;
        for (int32_t i = 0; i < n_text; i++) { /* a period with errors */
            text[i] = i >= period && testing_random(&state) % 10 != 0
                          ? text[i - period]
                          : (int32_t)(testing_random(&state) % DRY_TOKENS);
            assert_int_equal(sampler_accept(s, text[i], NULL), SLM_OK);
        }
        candidates_of(c, logits, n);
        assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
        for (int32_t i = 0; i < n; i++) {
            double want = dry_oracle(text, n_text, &stage, i);
            n_changed += want > 0;
            assert_int_equal(c[i].token, i);
            assert_true(is_near(-(double)c[i].logit, want));
        }
        sampler_destroy(s);
    }
    assert_true(n_changed > 3000);
    slm_model_free(model);
}

/* The breaker's text counts, wherever tokens end. */
static void dry_stops_at_breakers_of_several_tokens(void **unused)
{
    (void)unused;
    static const struct {
        const char *breaker;
        int32_t text[8]; /* after which c would go on with a repeat */
        float lost;      /* 2^(length - 1) */
    } cases[] = {
        {"?", {2, 3, 0, 1, 2, 3, 0, 1}, 8},   /* c d a b again, no breaker */
        {"dab", {2, 3, 0, 1, 2, 3, 0, 1}, 0}, /* ends with the last token */
        {"cd", {2, 3, 0, 1, 2, 3, 0, 1}, 2},  /* a b are left */
        {"bc", {2, 3, 0, 1, 2, 3, 0, 1}, 4},  /* d a b */
        {"acd", {2, 4, 6, 3, 2, 4, 6, 3}, 8}, /* c da cc d: no such text */
        {"ac", {2, 4, 6, 3, 2, 4, 6, 3}, 1},  /* ends inside cc: d is left */
    };
    slm_model *model = dry_model();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slm_candidate c[DRY_TOKENS];
        float logits[DRY_TOKENS] = {0};
        int32_t n = DRY_TOKENS;
        slm_sampler_stage stage = dry_of(64, 1, 2, 1, &cases[i].breaker, 1);
        struct slm_sampler *s = must_make(DRY_TOKENS, &stage, 1, 0);
        s->model = model;
        for (int32_t j = 0; j < 8; j++) {
            assert_int_equal(sampler_accept(s, cases[i].text[j], NULL), SLM_OK);
        }
        candidates_of(c, logits, n);
        assert_int_equal(sampler_apply(s, c, &n, NULL), SLM_OK);
        assert_true(-c[2].logit == cases[i].lost);
        sampler_destroy(s);
    }
    slm_model_free(model);
}

/* A token that was not drawn, or not last, moves nothing; what was drawn waits in clones, too. */
static void only_what_was_drawn_teaches(void **unused)
{
    (void)unused;
    float logits[50];
    slm_sampler_stage stage = mirostat_of(SLM_STAGE_MIROSTAT_2, 3, 0.5f);
    struct slm_sampler *s = must_make(50, &stage, 1, 5);
    struct slm_sampler *clone = NULL;
    test_logits(logits, 50, 2);
    assert_int_equal(sampler_accept(s, 1, NULL), SLM_OK);
    assert_true(s->now.memory[0] == 6);
    int32_t token = must_sample(s, logits, 50);
    assert_int_equal(sampler_accept(s, (token + 1) % 50, NULL), SLM_OK);
    assert_int_equal(sampler_accept(s, token, NULL), SLM_OK);
    assert_true(s->now.memory[0] == 6);
    token = must_sample(s, logits, 50);
    assert_int_equal(sampler_clone(&clone, s, NULL), SLM_OK);
    assert_int_equal(sampler_accept(clone, token, NULL), SLM_OK);
    assert_true(clone->now.memory[0] != 6 && s->now.memory[0] == 6);
    assert_int_equal(sampler_rewind(clone, 1, NULL), SLM_OK);
    assert_memory_equal(&clone->now, &s->now, sizeof s->now);
    assert_int_equal(sampler_accept(clone, token, NULL), SLM_OK); /* the same draw teaches again */
    assert_true(clone->now.memory[0] != 6);
    assert_int_equal(sampler_rewind(clone, INT32_MAX, NULL), SLM_OK);
    assert_true(clone->now.memory[0] == 6 && clone->now.drawn == -1);
    sampler_destroy(s);
    sampler_destroy(clone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncations_agree_with_an_oracle),
        cmocka_unit_test(mirostat_agrees_with_an_oracle),
        cmocka_unit_test(mirostat_reaches_its_target),
        cmocka_unit_test(adaptive_p_agrees_with_an_oracle),
        cmocka_unit_test(xtc_comes_as_often_as_it_should),
        cmocka_unit_test(dry_agrees_with_an_oracle),
        cmocka_unit_test(dry_stops_at_breakers_of_several_tokens),
        cmocka_unit_test(only_what_was_drawn_teaches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
