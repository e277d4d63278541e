/* sampler_fixture.h - chains of stages and logits for the tests of samplers, which include slm.c. */
#ifndef SAMPLER_FIXTURE_H
#define SAMPLER_FIXTURE_H

#include "testing.h"

static TESTING_UNUSED float test_infinity(void)
{
    return bits_to_f32(0x7f800000u);
}

static TESTING_UNUSED float test_minus_infinity(void)
{
    return bits_to_f32(0xff800000u);
}

static TESTING_UNUSED float test_nan(void)
{
    return bits_to_f32(0x7fc00000u);
}

/* Logits with the look of a model's: a sum of four uniform numbers, exact in any arithmetic. */
static TESTING_UNUSED void test_logits(float *logits, int32_t n, uint64_t seed)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (int j = 0; j < 4; j++) {
            sum += (int32_t)(testing_random(&seed) & 0xffff) - 0x8000;
        }
        logits[i] = (float)sum / 8192;
    }
}

/* ---- Making chains --------------------------------------------------------------------------- */

static TESTING_UNUSED slm_sampler_stage stage_of(int32_t kind, int32_t n, float value)
{
    slm_sampler_stage s;
    memset(&s, 0, sizeof s);
    s.struct_size = sizeof s;
    s.kind = kind;
    s.n = n;
    s.value = value;
    return s;
}

static TESTING_UNUSED slm_sampler_stage penalties_of(int32_t n, float repeat, float frequency,
                                                     float presence)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_PENALTIES, n, 0);
    s.repeat = repeat;
    s.frequency = frequency;
    s.presence = presence;
    return s;
}

static TESTING_UNUSED slm_sampler_stage biases_of(const slm_logit_bias *biases, int32_t n)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_LOGIT_BIAS, 0, 0);
    s.biases = biases;
    s.n_biases = n;
    return s;
}

static TESTING_UNUSED slm_sampler_stage dynamic_of(float value, float range, float exponent)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_DYNAMIC_TEMPERATURE, 0, value);
    s.range = range;
    s.exponent = exponent;
    return s;
}

static TESTING_UNUSED slm_sampler_stage xtc_of(int32_t n, float probability, float threshold)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_XTC, n, probability);
    s.threshold = threshold;
    return s;
}

static TESTING_UNUSED slm_sampler_stage dry_of(int32_t n, float multiplier, float base,
                                               int32_t allowed, const char *const *breakers,
                                               int32_t n_breakers)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_DRY, n, multiplier);
    s.base = base;
    s.allowed = allowed;
    s.breakers = breakers;
    s.n_breakers = n_breakers;
    return s;
}

static TESTING_UNUSED slm_sampler_stage mirostat_of(int32_t kind, float target, float rate)
{
    slm_sampler_stage s = stage_of(kind, kind == SLM_STAGE_MIROSTAT ? 100 : 0, target);
    s.rate = rate;
    return s;
}

static TESTING_UNUSED slm_sampler_stage adaptive_of(float target, float decay)
{
    slm_sampler_stage s = stage_of(SLM_STAGE_ADAPTIVE_P, 0, target);
    s.decay = decay;
    return s;
}

/* A model that is nothing but a vocabulary, in the letters of byte-level BPE. */
static TESTING_UNUSED slm_model *vocabulary_of(const char *const *pieces, size_t n,
                                               int32_t suppressed)
{
    struct build b;
    slm_error err;
    slm_model *model = NULL;
    slm_model_options o;
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_text(&b, "tokenizer.ggml.model", "gpt2");
    build_text(&b, "tokenizer.ggml.pre", "gpt-2");
    build_texts(&b, "tokenizer.ggml.tokens", pieces, n);
    build_texts(&b, "tokenizer.ggml.merges", pieces, 0);
    if (suppressed >= 0) {
        build_array(&b, "tokenizer.ggml.suppress_tokens", SLM_TYPE_INT32, 1);
        build_put_int(&b.keys, (uint64_t)suppressed, 4);
    }
    build_finish(&b);
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    if (tiny_open(&model, &b, &o, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    build_free(&b);
    return model;
}

static TESTING_UNUSED int make(struct slm_sampler **s, int32_t n_vocab,
                               const slm_sampler_stage *stages, int32_t n, uint64_t seed,
                               slm_error *err)
{
    slm_sampler_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.seed = seed;
    return sampler_create(s, n_vocab, stages, n, sizeof *stages, &options, err);
}

static TESTING_UNUSED struct slm_sampler *
must_make(int32_t n_vocab, const slm_sampler_stage *stages, int32_t n, uint64_t seed)
{
    slm_error err;
    struct slm_sampler *s = NULL;
    if (make(&s, n_vocab, stages, n, seed, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    return s;
}

static TESTING_UNUSED int32_t must_sample(struct slm_sampler *s, const float *logits, int32_t n)
{
    slm_error err;
    int32_t token = -1;
    if (sampler_sample(s, logits, n, &token, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    assert_in_range(token, 0, n - 1);
    return token;
}

static TESTING_UNUSED void candidates_of(slm_candidate *c, const float *logits, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        c[i].token = i;
        c[i].logit = logits[i];
        c[i].probability = -1;
    }
}

/* By falling logit, then by token: the order that the library promises, written independently. */
static TESTING_UNUSED int by_rank(const void *a, const void *b)
{
    const slm_candidate *x = (const slm_candidate *)a;
    const slm_candidate *y = (const slm_candidate *)b;
    if (x->logit > y->logit || x->logit < y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return x->token < y->token ? -1 : x->token > y->token;
}

/* By falling logit; returns how many are not banned. */
static TESTING_UNUSED int32_t sort_candidates(slm_candidate *c, int32_t n)
{
    qsort(c, (size_t)n, sizeof *c, by_rank);
    while (n > 0 && sampler_key(c[n - 1].logit) == SAMPLER_KEY_NEVER) {
        n--;
    }
    return n;
}

static TESTING_UNUSED int is_near(double got, double want)
{
    double size = want < 0 ? -want : want;
    double difference = got > want ? got - want : want - got;
    return difference <= 1e-5 * size + 1e-6;
}

#endif
