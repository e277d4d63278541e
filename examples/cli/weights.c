/* weights.c - the encodings of random weights, and their bytes.
 *
 * Encodings of single tensors follow the rules by which quantising programs mix them (a "Q4_K_M"
 * file is mostly Q4_K with some Q6_K), with their fallbacks for narrow matrices. Blocks are random
 * bytes with scales set so that the weights of a row of K are about 1/sqrt(K): activations stay
 * finite in any depth. */
#include "cli.h"
#include "weights.h"

#include <string.h>
#include <strings.h>

/* ---- Encodings ------------------------------------------------------------------------------ */

/* How random bytes become blocks of moderate weights. Block types: a scale at scale_at, f16 unless
 * kind says otherwise, and a f16 offset at min_at (NONE: there is none), which is scale * min_ratio
 * so that the mean is about 0; rms is the root mean square of a weight whose scale is 1. Plain types
 * have a fixed exponent and random sign and mantissa instead. */
#define NONE (-1)

enum scale_kind {
    HALF,
    POWER,   /* MXFP4: a byte, 2^(byte - 128) */
    FOUR,    /* NVFP4: four bytes of 4 bits of exponent and 3 of mantissa */
    NIBBLES, /* IQ1_M: a f16 in the high nibbles of every second byte */
};

struct filling {
    const char *encoding;
    int scale_at, min_at;
    double min_ratio, rms;
    const char *narrow; /* what stands in where a row is no whole number of blocks */
    enum scale_kind kind;
};

static const struct filling fillings[] = {
    {"Q4_0", 0, NONE, 0, 4.6, "F16", HALF},       {"Q4_1", 0, 2, -7.5, 4.6, "F16", HALF},
    {"Q5_0", 0, NONE, 0, 9.2, "F16", HALF},       {"Q5_1", 0, 2, -15.5, 9.2, "F16", HALF},
    {"Q8_0", 0, NONE, 0, 74, "F16", HALF},        {"IQ4_NL", 0, NONE, 0, 66, "F16", HALF},
    {"Q2_K", 80, 82, 1.5, 14, "Q4_0", HALF},      {"Q3_K", 108, NONE, 0, 42, "Q4_0", HALF},
    {"Q4_K", 0, 2, 7.5, 257, "Q5_0", HALF},       {"Q5_K", 0, 2, 15.5, 525, "Q5_1", HALF},
    {"Q6_K", 208, NONE, 0, 1370, "Q8_0", HALF},   {"IQ4_XS", 0, NONE, 0, 1200, "IQ4_NL", HALF},
    {"IQ3_S", 0, NONE, 0, 130, "IQ4_NL", HALF},   {"TQ1_0", 52, NONE, 0, 0.8, "Q4_0", HALF},
    {"TQ2_0", 64, NONE, 0, 1.2, "Q4_0", HALF},    {"IQ1_S", 0, NONE, 0, 7.2, "Q4_0", HALF},
    {"IQ1_M", 49, NONE, 0, 7.2, "Q4_0", NIBBLES}, {"IQ2_XXS", 0, NONE, 0, 53, "Q4_0", HALF},
    {"IQ2_XS", 0, NONE, 0, 56, "Q4_0", HALF},     {"IQ2_S", 0, NONE, 0, 57, "Q4_0", HALF},
    {"IQ3_XXS", 0, NONE, 0, 143, "IQ4_NL", HALF}, {"Q1_0", 0, NONE, 0, 1, "Q4_0", HALF},
    {"Q2_0", 0, NONE, 0, 1.2, "Q4_0", HALF},      {"MXFP4", 0, NONE, 0, 5.8, "F16", POWER},
    {"NVFP4", 0, NONE, 0, 2.9, "F16", FOUR},
};

/* bits of mantissa and exponent, bias of the exponent */
static const struct plain {
    const char *encoding;
    int size, mantissa, exponent, bias;
} plains[] = {{"F32", 4, 23, 8, 127}, {"F16", 2, 10, 5, 15}, {"BF16", 2, 7, 8, 127}};

static const struct filling *find_filling(const char *encoding)
{
    for (int i = 0; i < CLI_COUNT(fillings); i++) {
        if (strcmp(fillings[i].encoding, encoding) == 0) {
            return &fillings[i];
        }
    }
    return NULL;
}

static const struct plain *find_plain(const char *encoding)
{
    for (int i = 0; i < CLI_COUNT(plains); i++) {
        if (strcmp(plains[i].encoding, encoding) == 0) {
            return &plains[i];
        }
    }
    return NULL;
}

/* ---- Mixes ---------------------------------------------------------------------------------- */

const struct mix cli_mixes[] = {
    {"f32", 0, "F32", "F32", NULL, {0}, {0}, {0}},
    {"f16", 1, "F16", "F16", NULL, {0}, {0}, {0}},
    {"bf16", 32, "BF16", "BF16", NULL, {0}, {0}, {0}},
    {"q8_0", 7, "Q8_0", "Q8_0", NULL, {0}, {0}, {0}},
    {"q4_0", 2, "Q4_0", "Q6_K", NULL, {0}, {0}, {0}},
    {"q4_1", 3, "Q4_1", "Q6_K", NULL, {0}, {0}, {0}},
    {"q5_0", 8, "Q5_0", "Q6_K", NULL, {0}, {0}, {0}},
    {"q5_1", 9, "Q5_1", "Q6_K", NULL, {0}, {0}, {0}},
    {"q2_k",
     10,
     "Q2_K",
     "Q6_K",
     NULL,
     {MANY_QUERIES, "Q4_K", "Q3_K"},
     {ALWAYS, "Q3_K", NULL},
     {ALWAYS, "Q3_K", NULL}},
    {"q3_k_s", 11, "Q3_K", "Q6_K", NULL, {0}, {0}, {0}},
    {"q3_k_m",
     12,
     "Q3_K",
     "Q6_K",
     "Q4_K",
     {FIRST_2, "Q5_K", "Q4_K"},
     {FIRST_16TH, "Q5_K", "Q4_K"},
     {ALWAYS, "Q4_K", NULL}},
    {"q3_k_l",
     13,
     "Q3_K",
     "Q6_K",
     "Q4_K",
     {ALWAYS, "Q5_K", NULL},
     {ALWAYS, "Q5_K", NULL},
     {ALWAYS, "Q5_K", NULL}},
    {"q4_k_s", 14, "Q4_K", "Q6_K", NULL, {FIRST_4, "Q5_K", NULL}, {FIRST_8TH, "Q5_K", NULL}, {0}},
    {"q4_k_m",
     15,
     "Q4_K",
     "Q6_K",
     "Q5_K",
     {MORE_BITS, "Q6_K", NULL},
     {MORE_BITS, "Q6_K", NULL},
     {0}},
    {"q5_k_s", 16, "Q5_K", "Q6_K", NULL, {0}, {0}, {0}},
    {"q5_k_m",
     17,
     "Q5_K",
     "Q6_K",
     "Q6_K",
     {MORE_BITS, "Q6_K", NULL},
     {MORE_BITS, "Q6_K", NULL},
     {0}},
    {"q6_k", 18, "Q6_K", "Q6_K", NULL, {0}, {0}, {0}},
    {"iq4_nl",
     25,
     "IQ4_NL",
     "Q6_K",
     NULL,
     {MANY_QUERIES, "Q5_K", NULL},
     {FIRST_8TH, "Q5_K", NULL},
     {0}},
    {"iq4_xs",
     30,
     "IQ4_XS",
     "Q6_K",
     NULL,
     {MANY_QUERIES, "Q5_K", NULL},
     {FIRST_8TH, "Q5_K", NULL},
     {0}},
    {"iq3_s", 26, "IQ3_S", "Q6_K", NULL, {MANY_QUERIES, "Q4_K", NULL}, {0}, {0}},
    {"iq1_s",
     24,
     "IQ1_S",
     "Q5_K",
     NULL,
     {MANY_QUERIES, "Q4_K", "Q2_K"},
     {FIRST_8TH, "Q2_K", NULL},
     {ALWAYS, "IQ2_XXS", NULL}},
    {"iq1_m",
     31,
     "IQ1_M",
     "Q5_K",
     NULL,
     {MANY_QUERIES, "Q4_K", "Q2_K"},
     {FIRST_8TH, "Q2_K", NULL},
     {ALWAYS, "IQ2_XXS", NULL}},
    {"iq2_xxs",
     19,
     "IQ2_XXS",
     "Q5_K",
     NULL,
     {MANY_QUERIES, "Q4_K", "Q2_K"},
     {FIRST_8TH, "Q2_K", NULL},
     {0}},
    {"iq2_xs",
     20,
     "IQ2_XS",
     "Q5_K",
     NULL,
     {MANY_QUERIES, "Q4_K", "Q2_K"},
     {FIRST_8TH, "Q2_K", NULL},
     {0}},
    {"iq2_m",
     29,
     "IQ2_S",
     "Q5_K",
     NULL,
     {MANY_QUERIES, "Q4_K", "Q3_K"},
     {FIRST_8TH, "Q3_K", NULL},
     {ALWAYS, "IQ3_S", NULL}},
    {"iq3_xxs",
     23,
     "IQ3_XXS",
     "Q5_K",
     NULL,
     {MANY_QUERIES, "Q4_K", NULL},
     {0},
     {ALWAYS, "IQ3_S", NULL}},
    {"mxfp4", 38, "MXFP4", "Q8_0", NULL, {0}, {0}, {0}},
    {"nvfp4", 39, "NVFP4", "Q8_0", NULL, {0}, {0}, {0}},
    {"q1_0", 40, "Q1_0", "Q6_K", NULL, {0}, {0}, {0}},
    {"q2_0", 41, "Q2_0", "Q6_K", NULL, {0}, {0}, {0}},
    {"tq1_0", 36, "TQ1_0", "Q6_K", NULL, {0}, {0}, {0}},
    {"tq2_0", 37, "TQ2_0", "Q6_K", NULL, {0}, {0}, {0}},
};

const int cli_n_mixes = CLI_COUNT(cli_mixes);

static int applies(enum when when, int32_t i, const struct shape *shape)
{
    int32_t n = shape->n_layer;
    switch (when) {
    case ALWAYS:
        return 1;
    case MORE_BITS: /* both ends, and every third layer between */
        return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case FIRST_2:
        return i < 2;
    case FIRST_4:
        return i < 4;
    case FIRST_8TH:
        return i < n / 8;
    case FIRST_16TH:
        return i < n / 16;
    case MANY_QUERIES:
        return shape->n_head >= 4 * shape->n_kv_head;
    default:
        return 0;
    }
}

const char *mix_choose(const struct mix *mix, const struct rule *rule, int32_t layer,
                       const struct shape *shape)
{
    const char *encoding = applies(rule->when, layer, shape) ? rule->then : rule->otherwise;
    return encoding != NULL ? encoding : mix->base;
}

const struct mix *mix_find(const char *name)
{
    for (int i = 0; i < cli_n_mixes; i++) {
        if (strcasecmp(cli_mixes[i].name, name) == 0) {
            return &cli_mixes[i];
        }
    }
    return NULL;
}

int weights_encoding(const char *name, int64_t row, slm_encoding_info *info)
{
    slm_error err;
    for (;;) {
        memset(info, 0, sizeof *info);
        info->struct_size = sizeof *info;
        if (slm_encoding_find(0, name, info, &err) != SLM_OK) {
            return cli_fail("%s", err.message);
        }
        if (row % info->block_elements == 0) {
            return CLI_GO;
        }
        const struct filling *filling = find_filling(name);
        name = filling != NULL ? filling->narrow : "F16";
    }
}

/* ---- Numbers without libm ------------------------------------------------------------------- */

static double square_root(double x) /* x > 0 */
{
    double r = x > 1 ? x : 1;
    for (int i = 0; i < 100; i++) { /* Newton, from above: falls until it stands */
        double next = 0.5 * (r + x / r);
        if (next >= r) {
            break;
        }
        r = next;
    }
    return r;
}

/* x = m * 2^e with 1 <= m < 2 */
static int exponent_of(double x)
{
    int e = 0;
    for (; x >= 2; x /= 2) {
        e++;
    }
    for (; x < 1; x *= 2) {
        e--;
    }
    return e;
}

static void store_f16(uint8_t *p, double x)
{
    unsigned sign = x < 0 ? 0x8000u : 0;
    double a = x < 0 ? -x : x;
    int e = a > 0 ? exponent_of(a) : -24;
    e = e < -14 ? -14 : e > 15 ? 15 : e;
    double steps = a; /* of 2^(e - 10) */
    for (int i = e; i < 10; i++) {
        steps *= 2;
    }
    for (int i = 10; i < e; i++) {
        steps /= 2;
    }
    /* A mantissa that rounds up to 2048 carries into the exponent by itself. */
    unsigned bits = (sign | (unsigned)(e + 14) << 10) + (unsigned)(steps + 0.5);
    p[0] = (uint8_t)bits;
    p[1] = (uint8_t)(bits >> 8);
}

static uint64_t random_next(uint64_t *state) /* xorshift64 */
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

/* Floats of either sign between 1 and 2 times a power of two near 1/sqrt(row). */
static void fill_plain(uint8_t *p, size_t n, const struct plain *plain, int64_t row)
{
    int exponent = exponent_of(1 / (1.53 * square_root((double)row))) + plain->bias;
    uint64_t field = ((UINT64_C(1) << plain->exponent) - 1) << plain->mantissa;
    uint64_t fixed = (uint64_t)(exponent > 1 ? exponent : 1) << plain->mantissa;
    for (int shift = 8 * plain->size; shift < 64;
         shift *= 2) { /* one in every element of 8 bytes */
        field |= field << shift;
        fixed |= fixed << shift;
    }
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t bits;
        memcpy(&bits, p + i, 8);
        bits = (bits & ~field) | fixed;
        memcpy(p + i, &bits, 8);
    }
}

static void store_scale(uint8_t *p, enum scale_kind kind, double scale)
{
    uint8_t half[2];
    switch (kind) {
    case POWER:
        *p = (uint8_t)(128 + exponent_of(scale));
        break;
    case FOUR: /* without an exponent: steps of 2^-9 up to 2^-6 */
        memset(p, scale > 15.0 / 512 ? 15 : (int)(scale * 512 + 1), 4);
        break;
    case NIBBLES:
        store_f16(half, scale);
        for (int i = 0; i < 4; i++) {
            p[2 * i] = (uint8_t)((p[2 * i] & 15) | (half[i / 2] >> (i % 2 * 4) & 15) << 4);
        }
        break;
    default:
        store_f16(p, scale);
        break;
    }
}

static void fill_blocks(uint8_t *p, size_t n, const slm_encoding_info *e, int64_t row,
                        const struct filling *f)
{
    double scale = 1 / (f->rms * square_root((double)row));
    for (size_t i = 0; i < n; i += (size_t)e->block_bytes) {
        store_scale(p + i + f->scale_at, f->kind, scale);
        if (f->min_at != NONE) {
            store_f16(p + i + f->min_at, scale * f->min_ratio);
        }
    }
}

void weights_fill(uint64_t *random, const slm_encoding_info *e, int64_t row, uint8_t *p, size_t n)
{
    const struct plain *plain = find_plain(e->name);
    const struct filling *filling = find_filling(e->name);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t bits = random_next(random);
        memcpy(p + i, &bits, 8);
    }
    if (plain != NULL) {
        fill_plain(p, n, plain, row);
    } else if (filling != NULL) {
        fill_blocks(p, n, e, row, filling);
    }
}

/* The factors of llama3's scaling: long waves are stretched, short ones kept, a ramp between. */
static void fill_rope_factors(const struct shape *s, uint8_t *p)
{
    const double low = 1, high = 4, original = 8192, pi = 3.14159265358979323846;
    int32_t n = s->head_dim / 2; /* a power of two: base^(-1/n) by square roots */
    double ratio = 1 / (double)s->rope_base, frequency = 1;
    double stretch = shape_number(s, "rope_freqs");
    for (int32_t i = n; i > 1; i /= 2) {
        ratio = square_root(ratio);
    }
    for (int32_t i = 0; i < n; i++) {
        double wave = 2 * pi / frequency;
        double ramp = (original / wave - low) / (high - low);
        double factor = wave < original / high  ? 1
                        : wave > original / low ? stretch
                                                : 1 / ((1 - ramp) / stretch + ramp);
        float value = (float)factor;
        memcpy(p + 4 * i, &value, 4);
        frequency *= ratio;
    }
}

void vector_fill(uint64_t *random, enum content content, const struct shape *s, uint8_t *p,
                 size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float value = content == MINUS_ONES ? -1 : 1;
        if (content == ROPE_QUARTER && i >= n / 4) {
            value = 1e30f;
        } else if (content == SMALL) {
            value = (float)((double)(random_next(random) >> 40) / (1 << 24) - 0.5) * 0.1f;
        }
        memcpy(p + 4 * i, &value, 4);
    }
    if (content == ROPE_FACTORS) {
        fill_rope_factors(s, p);
    }
}
