/* ref.c - the scalar reference: what every entry of the table of kernels computes.
 *
 * Owns: the table of formats, the activation forms, and the reference product, attention and
 * vector operations. It is the specification that other kernels are checked against, and what runs
 * on machines and for types that have no kernel. Blocks expand into small integers (blocks.c);
 * everything here is written once, in terms of that.
 *
 * Orders of sums, so that a result depends on nothing but its operands:
 *     int8 products   integers exactly in int32, one float term for each activation block (32 or
 *                     256 elements), terms added in order in float; ref_dot_* has the formulas
 *     f32 products    stretches of 256 elements, each summed in 8 lanes as ref_dot_f32 does, added
 *                     in order in float
 *     attention       scores as f32 products over stretches of 128 elements; pages, and positions
 *                     in a page, in order
 *
 * Traps: a float is converted to an integer only after NaN and infinity are out (it would be
 * undefined), and non-finite numbers are told from bits: -ffast-math assumes there are none. */

/* ---- Activations ----------------------------------------------------------------------------- */

/* Below this the scale rounds to 0 whatever the quants are, and 127 / amax may overflow: such a
 * block is all zero. */
#define REF_TINY_BITS 0x0d800000u /* 2^-100 */

/* The bits of the largest magnitude; *at its index, the first among equals. NaN is the largest. */
static uint32_t ref_largest(const float *x, int64_t n, int64_t *at)
{
    uint32_t largest = 0;
    *at = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t a = f32_to_bits(x[i]) & 0x7fffffff;
        if (a > largest) {
            largest = a;
            *at = i;
        }
    }
    return largest;
}

static size_t ref_act_q8_0_bytes(int64_t k)
{
    return act_pad((size_t)k) + 2 * act_pad((size_t)k / 32 * 4);
}

/* What is not finite makes the whole block NaN: the products say so rather than invent numbers. */
static void ref_quantize_q8_0(int8_t *q, float *d, float *s, const float *x)
{
    int64_t at = 0;
    uint32_t largest = ref_largest(x, 32, &at);
    memset(q, 0, 32);
    *d = *s = 0;
    if (largest >= REF_INFINITY_BITS) {
        *d = *s = bits_to_f32(REF_NAN_BITS);
    } else if (largest >= REF_TINY_BITS) {
        float amax = bits_to_f32(largest);
        float scale = amax / 127.0f;
        float inverse = 127.0f / amax;
        int32_t sum = 0;
        for (int32_t i = 0; i < 32; i++) {
            int32_t nearest = ref_nearest(x[i] * inverse);
            q[i] = (int8_t)nearest;
            sum += nearest;
        }
        *d = f16_to_f32(f32_to_f16(scale));
        *s = f16_to_f32(f32_to_f16(scale * (float)sum));
    }
}

static void ref_prepare_q8_0(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * ref_act_q8_0_bytes(k);
        struct act_q8_0_planes to = act_q8_0_at(row, k);
        for (int64_t i = 0; i < k / 32; i++) {
            ref_quantize_q8_0(to.q + 32 * i, to.d + i, to.s + i, x + t * k + 32 * i);
        }
    }
}

static size_t ref_act_q8_k_bytes(int64_t k)
{
    return act_pad((size_t)k) + act_pad((size_t)k / 256 * 4) + act_pad((size_t)k / 16 * 2);
}

static void ref_quantize_q8_k(int8_t *q, float *d, int16_t *bsums, const float *x)
{
    int64_t at = 0;
    uint32_t largest = ref_largest(x, 256, &at);
    memset(q, 0, 256);
    memset(bsums, 0, 16 * sizeof *bsums);
    *d = 0;
    if (largest >= REF_INFINITY_BITS) {
        *d = bits_to_f32(REF_NAN_BITS);
    } else if (largest >= REF_TINY_BITS) {
        float inverse = -127.0f / x[at];
        for (int32_t i = 0; i < 256; i++) {
            int32_t nearest = min_i32(127, ref_nearest(inverse * x[i]));
            q[i] = (int8_t)nearest;
            bsums[i / 16] = (int16_t)(bsums[i / 16] + nearest);
        }
        *d = 1.0f / inverse;
    }
}

static void ref_prepare_q8_k(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * ref_act_q8_k_bytes(k);
        struct act_q8_k_planes to = act_q8_k_at(row, k);
        for (int64_t i = 0; i < k / 256; i++) {
            ref_quantize_q8_k(to.q + 256 * i, to.d + i, to.bsums + 16 * i, x + t * k + 256 * i);
        }
    }
}

static size_t ref_act_f32_bytes(int64_t k)
{
    return act_pad((size_t)k * 4);
}

static void ref_prepare_f32(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * ref_act_f32_bytes(k);
        memcpy(row, x + t * k, (size_t)k * 4);
    }
}

static const struct kernel_act act_q8_0 = {"q8_0", 1, ref_act_q8_0_bytes, ref_prepare_q8_0};
static const struct kernel_act act_q8_k = {"q8_k", 1, ref_act_q8_k_bytes, ref_prepare_q8_k};
static const struct kernel_act act_f32 = {"f32", 1, ref_act_f32_bytes, ref_prepare_f32};

/* ---- Formats --------------------------------------------------------------------------------- */

static void ref_decode_f32(float *y, const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = load_f32(src + 4 * i);
    }
}

static void ref_decode_f16(float *y, const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = load_f16(src + 2 * i);
    }
}

static void ref_decode_bf16(float *y, const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = bf16_to_f32(load_u16(src + 2 * i));
    }
}

static void ref_decode_f64(float *y, const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)wide_of_f64_bits(load_u64(src + 8 * i));
    }
}

/* What a block type is, for the functions that are written once. */
struct ref_type {
    int32_t elements;
    int32_t bytes;
    void (*expand)(struct ref_block *b, const uint8_t *src);
    const struct kernel_act *act;
    /* sum + the products of this block, elements first .. first + n - 1 of a row, with the same
     * elements of the prepared row of k elements at act. */
    float (*dot)(float sum, const struct ref_block *b, int32_t n, const void *act, int64_t first,
                 int64_t k);
};

static void ref_decode_blocks(const struct ref_type *type, float *y, const uint8_t *src, int64_t n)
{
    struct ref_block b;
    for (int64_t i = 0; i < n; i += type->elements, src += type->bytes) {
        type->expand(&b, src);
        for (int32_t s = 0; s < type->elements / 16; s++) {
            float scale = b.d * (float)b.scale[s];
            float min = b.dmin * (float)b.min[s];
            for (int32_t e = 16 * s; e < 16 * s + 16; e++) {
                y[i + e] = scale * (float)b.q[e] - min;
            }
        }
    }
}

/* Is an f16 at any of `count` places from `offset` on in these blocks NaN or infinite? */
static int ref_nonfinite_scales(const uint8_t *src, int64_t n_block, size_t bytes, size_t offset,
                                int32_t count)
{
    for (int64_t i = 0; i < n_block; i++) {
        for (int32_t j = 0; j < count; j++) {
            uint16_t h = load_u16(src + (size_t)i * bytes + offset + 2 * (size_t)j);
            if ((h & 0x7c00) == 0x7c00) {
                return 1;
            }
        }
    }
    return 0;
}

static int ref_nonfinite_none(const uint8_t *src, int64_t n)
{
    (void)src;
    (void)n;
    return 0;
}

static int ref_nonfinite_f32(const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if ((load_u32(src + 4 * i) & 0x7f800000u) == 0x7f800000u) {
            return 1;
        }
    }
    return 0;
}

static int ref_nonfinite_f16(const uint8_t *src, int64_t n)
{
    return ref_nonfinite_scales(src, n, 2, 0, 1);
}

static int ref_nonfinite_bf16(const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if ((load_u16(src + 2 * i) & 0x7f80) == 0x7f80) {
            return 1;
        }
    }
    return 0;
}

static int ref_nonfinite_f64(const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if ((load_u64(src + 8 * i) >> 52 & 0x7ff) == 0x7ff) {
            return 1;
        }
    }
    return 0;
}

static int ref_nonfinite_mxfp4(const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n / 32; i++) {
        if (src[i * (int64_t)sizeof(struct block_mxfp4)] == 0xff) {
            return 1;
        }
    }
    return 0;
}

static int ref_nonfinite_iq1_m(const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n / 256; i++) {
        const struct block_iq1_m *x = (const struct block_iq1_m *)src + i;
        if ((ref_iq1_m_scale(x) & 0x7c00) == 0x7c00) {
            return 1;
        }
    }
    return 0;
}

/* Types whose f16 scales stand together, d first. */
#define REF_NONFINITE(type, elements, n_scales)                                                    \
    static int ref_nonfinite_##type(const uint8_t *src, int64_t n)                                 \
    {                                                                                              \
        return ref_nonfinite_scales(src, n / (elements), sizeof(struct block_##type),              \
                                    offsetof(struct block_##type, d), n_scales);                   \
    }

REF_NONFINITE(q4_0, 32, 1)
REF_NONFINITE(q4_1, 32, 2)
REF_NONFINITE(q5_0, 32, 1)
REF_NONFINITE(q5_1, 32, 2)
REF_NONFINITE(q8_0, 32, 1)
REF_NONFINITE(q2_k, 256, 2)
REF_NONFINITE(q3_k, 256, 1)
REF_NONFINITE(q4_k, 256, 2)
REF_NONFINITE(q5_k, 256, 2)
REF_NONFINITE(q6_k, 256, 1)
REF_NONFINITE(iq2_xxs, 256, 1)
REF_NONFINITE(iq2_xs, 256, 1)
REF_NONFINITE(iq2_s, 256, 1)
REF_NONFINITE(iq3_xxs, 256, 1)
REF_NONFINITE(iq3_s, 256, 1)
REF_NONFINITE(iq1_s, 256, 1)
REF_NONFINITE(iq4_nl, 32, 1)
REF_NONFINITE(iq4_xs, 256, 1)
REF_NONFINITE(tq1_0, 256, 1)
REF_NONFINITE(tq2_0, 256, 1)
REF_NONFINITE(q1_0, 128, 1)
REF_NONFINITE(q2_0, 64, 1)

/* ---- Dot products of a block ----------------------------------------------------------------- */

static int32_t ref_dot_16(const int8_t *a, const int8_t *b)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < 16; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* sum += (d * dx) * integers, for every 32 elements. */
static float ref_dot_q8_0(float sum, const struct ref_block *b, int32_t n, const void *act,
                          int64_t first, int64_t k)
{
    struct act_q8_0_planes x = act_q8_0_at((void *)act, k);
    for (int32_t e = 0; e < n; e += 32) {
        const int8_t *q = x.q + first + e;
        int32_t integers = ref_dot_16(b->q + e, q) + ref_dot_16(b->q + e + 16, q + 16);
        sum += (b->d * x.d[(first + e) / 32]) * (float)integers;
    }
    return sum;
}

/* sum += (d * dx) * integers + m * sx: blocks of 32 with a minimum. */
static float ref_dot_q8_0_min(float sum, const struct ref_block *b, int32_t n, const void *act,
                              int64_t first, int64_t k)
{
    struct act_q8_0_planes x = act_q8_0_at((void *)act, k);
    return sum + (ref_dot_q8_0(0, b, n, act, first, k) + b->dmin * x.s[first / 32]);
}

/* sum += dx * (d * scale) * integers, for every 16 elements: the integers times these scales would
 * not fit 32 bits. */
static float ref_dot_q8_0_scaled(float sum, const struct ref_block *b, int32_t n, const void *act,
                                 int64_t first, int64_t k)
{
    struct act_q8_0_planes x = act_q8_0_at((void *)act, k);
    for (int32_t e = 0; e < n; e += 16) {
        float scale = b->d * (float)b->scale[e / 16];
        int32_t integers = ref_dot_16(b->q + e, x.q + first + e);
        sum += (scale * x.d[(first + e) / 32]) * (float)integers;
    }
    return sum;
}

/* sum += (d * dx) * (scales * integers) - (dmin * dx) * (minima * sums of 16), for 256 elements.
 * The first integer is the largest for Q6_K: 128 * 32 * 127 * 256 = 2^27. */
static float ref_dot_q8_k(float sum, const struct ref_block *b, int32_t n, const void *act,
                          int64_t first, int64_t k)
{
    struct act_q8_k_planes x = act_q8_k_at((void *)act, k);
    float dx = x.d[first / 256];
    int32_t products = 0;
    int32_t minima = 0;
    for (int32_t s = 0; s < n / 16; s++) {
        products += b->scale[s] * ref_dot_16(b->q + 16 * s, x.q + first + 16 * s);
        minima += b->min[s] * x.bsums[first / 16 + s];
    }
    return sum + ((b->d * dx) * (float)products - (b->dmin * dx) * (float)minima);
}

/* Lane i of 8 takes the elements i, i + 8, ..., then ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)). */
static float ref_dot_f32(const float *a, const float *b, int64_t n)
{
    float lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int32_t j = 0; j < 8; j++) {
            lane[j] += a[i + j] * b[i + j];
        }
    }
    for (int32_t j = 0; i + j < n; j++) {
        lane[j] += a[i + j] * b[i + j];
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* ---- The types ------------------------------------------------------------------------------- */

/* X(type, elements, activations, dot) of every type made of blocks: its decoder and its products
 * are the same functions with another struct ref_type. */
#define REF_BLOCK_TYPES(X)                                                                         \
    X(Q4_0, q4_0, 32, act_q8_0, ref_dot_q8_0)                                                      \
    X(Q4_1, q4_1, 32, act_q8_0, ref_dot_q8_0_min)                                                  \
    X(Q5_0, q5_0, 32, act_q8_0, ref_dot_q8_0)                                                      \
    X(Q5_1, q5_1, 32, act_q8_0, ref_dot_q8_0_min)                                                  \
    X(Q8_0, q8_0, 32, act_q8_0, ref_dot_q8_0)                                                      \
    X(IQ4_NL, iq4_nl, 32, act_q8_0, ref_dot_q8_0)                                                  \
    X(MXFP4, mxfp4, 32, act_q8_0, ref_dot_q8_0)                                                    \
    X(NVFP4, nvfp4, 64, act_q8_0, ref_dot_q8_0_scaled)                                             \
    X(Q1_0, q1_0, 128, act_q8_0, ref_dot_q8_0)                                                     \
    X(Q2_0, q2_0, 64, act_q8_0, ref_dot_q8_0)                                                      \
    X(Q2_K, q2_k, 256, act_q8_k, ref_dot_q8_k)                                                     \
    X(Q3_K, q3_k, 256, act_q8_k, ref_dot_q8_k)                                                     \
    X(Q4_K, q4_k, 256, act_q8_k, ref_dot_q8_k)                                                     \
    X(Q5_K, q5_k, 256, act_q8_k, ref_dot_q8_k)                                                     \
    X(Q6_K, q6_k, 256, act_q8_k, ref_dot_q8_k)                                                     \
    X(IQ4_XS, iq4_xs, 256, act_q8_k, ref_dot_q8_k)                                                 \
    X(IQ1_S, iq1_s, 256, act_q8_k, ref_dot_q8_k)                                                   \
    X(IQ1_M, iq1_m, 256, act_q8_k, ref_dot_q8_k)                                                   \
    X(IQ2_XXS, iq2_xxs, 256, act_q8_k, ref_dot_q8_k)                                               \
    X(IQ2_XS, iq2_xs, 256, act_q8_k, ref_dot_q8_k)                                                 \
    X(IQ2_S, iq2_s, 256, act_q8_k, ref_dot_q8_k)                                                   \
    X(IQ3_XXS, iq3_xxs, 256, act_q8_k, ref_dot_q8_k)                                               \
    X(IQ3_S, iq3_s, 256, act_q8_k, ref_dot_q8_k)                                                   \
    X(TQ1_0, tq1_0, 256, act_q8_k, ref_dot_q8_k)                                                   \
    X(TQ2_0, tq2_0, 256, act_q8_k, ref_dot_q8_k)

#define REF_PLAIN_TYPES(X) X(F32, f32) X(F16, f16) X(BF16, bf16) X(F64, f64)

#define REF_TYPE(id, type, elements, act, dot)                                                     \
    static const struct ref_type ref_type_##type = {                                               \
        elements, (int32_t)sizeof(struct block_##type), ref_expand_##type, &act, dot};             \
    static void ref_decode_##type(float *y, const uint8_t *src, int64_t n)                         \
    {                                                                                              \
        ref_decode_blocks(&ref_type_##type, y, src, n);                                            \
    }
REF_BLOCK_TYPES(REF_TYPE)

/* Every id in order. C++17 has no designated initialisers: the enum below counts the rows, and the
 * assertions compare that with the ids. */
#define KERNEL_FORMATS(ROW, NONE)                                                                  \
    ROW(F32, 1, 4, ref_decode_f32, ref_nonfinite_f32)                                              \
    ROW(F16, 1, 2, ref_decode_f16, ref_nonfinite_f16)                                              \
    ROW(Q4_0, 32, 18, ref_decode_q4_0, ref_nonfinite_q4_0)                                         \
    ROW(Q4_1, 32, 20, ref_decode_q4_1, ref_nonfinite_q4_1)                                         \
    NONE(4)                                                                                        \
    NONE(5)                                                                                        \
    ROW(Q5_0, 32, 22, ref_decode_q5_0, ref_nonfinite_q5_0)                                         \
    ROW(Q5_1, 32, 24, ref_decode_q5_1, ref_nonfinite_q5_1)                                         \
    ROW(Q8_0, 32, 34, ref_decode_q8_0, ref_nonfinite_q8_0)                                         \
    ROW(Q8_1, 32, 36, NULL, ref_nonfinite_none)                                                    \
    ROW(Q2_K, 256, 84, ref_decode_q2_k, ref_nonfinite_q2_k)                                        \
    ROW(Q3_K, 256, 110, ref_decode_q3_k, ref_nonfinite_q3_k)                                       \
    ROW(Q4_K, 256, 144, ref_decode_q4_k, ref_nonfinite_q4_k)                                       \
    ROW(Q5_K, 256, 176, ref_decode_q5_k, ref_nonfinite_q5_k)                                       \
    ROW(Q6_K, 256, 210, ref_decode_q6_k, ref_nonfinite_q6_k)                                       \
    ROW(Q8_K, 256, 292, NULL, ref_nonfinite_none)                                                  \
    ROW(IQ2_XXS, 256, 66, ref_decode_iq2_xxs, ref_nonfinite_iq2_xxs)                               \
    ROW(IQ2_XS, 256, 74, ref_decode_iq2_xs, ref_nonfinite_iq2_xs)                                  \
    ROW(IQ3_XXS, 256, 98, ref_decode_iq3_xxs, ref_nonfinite_iq3_xxs)                               \
    ROW(IQ1_S, 256, 50, ref_decode_iq1_s, ref_nonfinite_iq1_s)                                     \
    ROW(IQ4_NL, 32, 18, ref_decode_iq4_nl, ref_nonfinite_iq4_nl)                                   \
    ROW(IQ3_S, 256, 110, ref_decode_iq3_s, ref_nonfinite_iq3_s)                                    \
    ROW(IQ2_S, 256, 82, ref_decode_iq2_s, ref_nonfinite_iq2_s)                                     \
    ROW(IQ4_XS, 256, 136, ref_decode_iq4_xs, ref_nonfinite_iq4_xs)                                 \
    ROW(I8, 1, 1, NULL, ref_nonfinite_none)                                                        \
    ROW(I16, 1, 2, NULL, ref_nonfinite_none)                                                       \
    ROW(I32, 1, 4, NULL, ref_nonfinite_none)                                                       \
    ROW(I64, 1, 8, NULL, ref_nonfinite_none)                                                       \
    ROW(F64, 1, 8, ref_decode_f64, ref_nonfinite_f64)                                              \
    ROW(IQ1_M, 256, 56, ref_decode_iq1_m, ref_nonfinite_iq1_m)                                     \
    ROW(BF16, 1, 2, ref_decode_bf16, ref_nonfinite_bf16)                                           \
    NONE(31)                                                                                       \
    NONE(32)                                                                                       \
    NONE(33)                                                                                       \
    ROW(TQ1_0, 256, 54, ref_decode_tq1_0, ref_nonfinite_tq1_0)                                     \
    ROW(TQ2_0, 256, 66, ref_decode_tq2_0, ref_nonfinite_tq2_0)                                     \
    NONE(36)                                                                                       \
    NONE(37)                                                                                       \
    NONE(38)                                                                                       \
    ROW(MXFP4, 32, 17, ref_decode_mxfp4, ref_nonfinite_mxfp4)                                      \
    ROW(NVFP4, 64, 36, ref_decode_nvfp4, ref_nonfinite_none)                                       \
    ROW(Q1_0, 128, 18, ref_decode_q1_0, ref_nonfinite_q1_0)                                        \
    ROW(Q2_0, 64, 18, ref_decode_q2_0, ref_nonfinite_q2_0)

#define KERNEL_FORMAT_ROW(id, elements, bytes, decode, has_nonfinite)                              \
    {#id, elements, bytes, PROFILE_ENCODING(id) ? decode : (kernel_decode_fn)NULL,                 \
     PROFILE_CHECK && PROFILE_ENCODING(id) ? has_nonfinite : (kernel_nonfinite_fn)NULL},
#define KERNEL_FORMAT_NO_ROW(id) {NULL, 0, 0, NULL, NULL},
#define KERNEL_FORMAT_COUNT(id, elements, bytes, decode, has_nonfinite) KERNEL_FORMAT_AT_##id,
#define KERNEL_FORMAT_NO_COUNT(id) KERNEL_FORMAT_AT_##id,
#define KERNEL_FORMAT_CHECK(id, elements, bytes, decode, has_nonfinite)                            \
    SLM_STATIC_ASSERT((int)KERNEL_FORMAT_AT_##id == (int)ENC_##id, #id " is in the wrong row");
#define KERNEL_FORMAT_NO_CHECK(id)                                                                 \
    SLM_STATIC_ASSERT(KERNEL_FORMAT_AT_##id == id, #id " is in the wrong row");

enum {
    KERNEL_FORMATS(KERNEL_FORMAT_COUNT, KERNEL_FORMAT_NO_COUNT) KERNEL_FORMAT_ROWS
};
KERNEL_FORMATS(KERNEL_FORMAT_CHECK, KERNEL_FORMAT_NO_CHECK)
SLM_STATIC_ASSERT((int)KERNEL_FORMAT_ROWS == (int)ENC_COUNT, "a row for every id");

static const struct kernel_format kernel_formats[ENC_COUNT] = {
    KERNEL_FORMATS(KERNEL_FORMAT_ROW, KERNEL_FORMAT_NO_ROW)};

/* ---- Products -------------------------------------------------------------------------------- */

static size_t ref_no_scratch(int64_t n_token, int64_t k)
{
    (void)n_token;
    (void)k;
    return 0;
}

/* A block is expanded once and used for all tokens; the sums wait in y. */
static void ref_multiply_blocks(const struct ref_type *type, float *y, int64_t y_stride,
                                const uint8_t *w, int64_t row0, int64_t row1, const void *act,
                                int64_t n_token, int64_t k)
{
    struct ref_block b;
    int64_t n_block = k / type->elements;
    size_t act_bytes = type->act->row_bytes(k);
    for (int64_t r = row0; r < row1; r++) {
        const uint8_t *src = w + r * n_block * type->bytes;
        for (int64_t t = 0; t < n_token; t++) {
            y[t * y_stride + r] = 0;
        }
        for (int64_t i = 0; i < n_block; i++, src += type->bytes) {
            type->expand(&b, src);
            for (int64_t t = 0; t < n_token; t++) {
                float *sum = y + t * y_stride + r;
                const uint8_t *row = (const uint8_t *)act + (size_t)t * act_bytes;
                *sum = type->dot(*sum, &b, type->elements, row, i * type->elements, k);
            }
        }
    }
}

/* Any type with f32 activations: decodes 256 elements, a multiple of every block, at a time. */
static void ref_multiply_f32(const struct kernel_format *format, float *y, int64_t y_stride,
                             const uint8_t *w, int64_t row0, int64_t row1, const void *act,
                             int64_t n_token, int64_t k)
{
    float values[256];
    int64_t row_bytes = k / format->block_elements * format->block_bytes;
    size_t act_bytes = ref_act_f32_bytes(k);
    for (int64_t r = row0; r < row1; r++) {
        for (int64_t t = 0; t < n_token; t++) {
            y[t * y_stride + r] = 0;
        }
        for (int64_t i = 0; i < k; i += 256) {
            int64_t n = min_i64(256, k - i);
            format->decode(values,
                           w + r * row_bytes + i / format->block_elements * format->block_bytes, n);
            for (int64_t t = 0; t < n_token; t++) {
                const uint8_t *row = (const uint8_t *)act + (size_t)t * act_bytes;
                const float *x = (const float *)(const void *)row + i;
                y[t * y_stride + r] += ref_dot_f32(values, x, n);
            }
        }
    }
}

/* struct kernel_product has no room for the type, so each gets its own pair of entry points. */
#define REF_PRODUCT(id, type, elements, act_form, dot)                                             \
    static void ref_multiply_##type(float *y, int64_t y_stride, const uint8_t *w, int64_t row0,    \
                                    int64_t row1, const void *act, int64_t n_token, int64_t k,     \
                                    void *scratch)                                                 \
    {                                                                                              \
        (void)scratch;                                                                             \
        ref_multiply_blocks(&ref_type_##type, y, y_stride, w, row0, row1, act, n_token, k);        \
    }                                                                                              \
    static const struct kernel_product ref_product_##type = {&act_form, ref_no_scratch,            \
                                                             ref_multiply_##type};                 \
    REF_EXACT_PRODUCT(id, type)

#define REF_EXACT_PRODUCT(id, type)                                                                \
    static void ref_multiply_exact_##type(float *y, int64_t y_stride, const uint8_t *w,            \
                                          int64_t row0, int64_t row1, const void *act,             \
                                          int64_t n_token, int64_t k, void *scratch)               \
    {                                                                                              \
        (void)scratch;                                                                             \
        ref_multiply_f32(&kernel_formats[ENC_##id], y, y_stride, w, row0, row1, act, n_token, k);  \
    }                                                                                              \
    static const struct kernel_product ref_exact_##type = {&act_f32, ref_no_scratch,               \
                                                           ref_multiply_exact_##type};

REF_BLOCK_TYPES(REF_PRODUCT)
REF_PLAIN_TYPES(REF_EXACT_PRODUCT)

/* ---- Attention ------------------------------------------------------------------------------- */

#define REF_ATTENTION_STRETCH 128 /* elements of k or v decoded at a time */

/* The loops go over positions first, queries second: a row of the page is decoded once for all the
 * queries that see it. */
static int ref_sees(const struct kernel_attention_job *job, int32_t i, int32_t p)
{
    return job->from[i] <= p && p < job->to[i];
}

/* scores[i][p % KV_PAGE] = dot(q_i, k_p) for the positions p0..p1-1 of one page. */
static void ref_attention_scores(const struct kernel_attention_job *job,
                                 const struct kernel_format *kv, const uint8_t *page, int32_t p0,
                                 int32_t p1, float *scores)
{
    float k[REF_ATTENTION_STRETCH];
    int64_t row_bytes = (int64_t)job->head_dim * kv->block_bytes;
    for (int32_t p = p0; p < p1; p++) {
        const uint8_t *row = page + job->k_offset + p % KV_PAGE * row_bytes;
        for (int32_t e = 0; e < job->head_dim; e += REF_ATTENTION_STRETCH) {
            int32_t n = min_i32(REF_ATTENTION_STRETCH, job->head_dim - e);
            kv->decode(k, row + (int64_t)e * kv->block_bytes, n);
            for (int32_t i = 0; i < job->n_q; i++) {
                if (ref_sees(job, i, p)) {
                    float *score = scores + (int64_t)i * KV_PAGE + p % KV_PAGE;
                    float before = e == 0 ? 0 : *score;
                    *score = before + ref_dot_f32(job->q + i * job->q_stride + e, k, n);
                }
            }
        }
    }
}

/* ALiBi: takes from the scores of query i, s[0..n-1] of the positions from p on, what their distance
 * costs. The kernels of all instruction sets use this. */
static void ref_alibi(const struct kernel_attention_job *job, int32_t i, int32_t p, int32_t n,
                      float *s)
{
    for (int32_t j = 0; PROFILE_MORE && job->slopes != NULL && j < n; j++) {
        int32_t distance = job->at[i] - (p + j);
        s[j] -= job->slopes[i] * (float)(distance < 0 ? -distance : distance);
    }
}

/* Turns the scores of query i on one page into weights exp(score - max), and brings sum and out,
 * which stand for the pages before, down to the new maximum. */
static void ref_attention_weights(const struct kernel_attention_job *job, int32_t i, int32_t p0,
                                  int32_t p1, float *scores)
{
    int32_t first = max_i32(p0, job->from[i]);
    int32_t last = min_i32(p1, job->to[i]) - 1;
    if (first > last) {
        return;
    }
    float *s = scores + (int64_t)i * KV_PAGE + first % KV_PAGE;
    int32_t n = last - first + 1;
    ref_alibi(job, i, first, n, s);
    for (int32_t j = 0; PROFILE_MORE && job->softcap != 0 && j < n; j++) {
        s[j] = job->softcap * math_tanhf(s[j] / job->softcap);
    }
    float max = s[0];
    for (int32_t j = 1; j < n; j++) {
        max = s[j] > max ? s[j] : max;
    }
    if (max > job->max[i]) { /* on its first page: from -infinity, factor 0 */
        float factor = math_expf(job->max[i] - max);
        float *out = job->out + i * job->out_stride;
        job->sum[i] *= factor;
        for (int32_t e = 0; e < job->head_dim_v; e++) {
            out[e] *= factor;
        }
    } else {
        max = job->max[i];
    }
    job->max[i] = max;
    for (int32_t j = 0; j < n; j++) {
        s[j] = math_expf(s[j] - max);
        job->sum[i] += s[j];
    }
}

/* out_i += weight * v_p, position after position. */
static void ref_attention_values(const struct kernel_attention_job *job,
                                 const struct kernel_format *kv, const uint8_t *page, int32_t p0,
                                 int32_t p1, const float *weights)
{
    float v[REF_ATTENTION_STRETCH];
    int64_t row_bytes = (int64_t)job->head_dim_v * kv->block_bytes;
    for (int32_t p = p0; p < p1; p++) {
        const uint8_t *row = page + job->v_offset + p % KV_PAGE * row_bytes;
        for (int32_t e = 0; e < job->head_dim_v; e += REF_ATTENTION_STRETCH) {
            int32_t n = min_i32(REF_ATTENTION_STRETCH, job->head_dim_v - e);
            kv->decode(v, row + (int64_t)e * kv->block_bytes, n);
            for (int32_t i = 0; i < job->n_q; i++) {
                if (ref_sees(job, i, p)) {
                    float weight = weights[(int64_t)i * KV_PAGE + p % KV_PAGE];
                    float *out = job->out + i * job->out_stride + e;
                    for (int32_t j = 0; j < n; j++) {
                        out[j] += weight * v[j];
                    }
                }
            }
        }
    }
}

static void ref_attention(const struct kernel_attention_job *job, const struct kernel_format *kv,
                          float *scores)
{
    for (int32_t i = 0; i < job->n_q; i++) {
        job->max[i] = bits_to_f32(REF_INFINITY_BITS | 0x80000000u);
        job->sum[i] = 0;
        memset(job->out + i * job->out_stride, 0, (size_t)job->head_dim_v * sizeof(float));
    }
    int32_t p1;
    for (int32_t p0 = job->position0; p0 < job->position1; p0 = p1) {
        const uint8_t *page = job->pages[p0 / KV_PAGE];
        p1 = min_i32(job->position1, p0 - p0 % KV_PAGE + KV_PAGE);
        ref_attention_scores(job, kv, page, p0, p1, scores);
        for (int32_t i = 0; i < job->n_q; i++) {
            ref_attention_weights(job, i, p0, p1, scores);
        }
        ref_attention_values(job, kv, page, p0, p1, scores);
    }
}

static void ref_attention_f16(const struct kernel_attention_job *job, void *scratch)
{
    ref_attention(job, &kernel_formats[ENC_F16], (float *)scratch);
}

static void ref_attention_f32(const struct kernel_attention_job *job, void *scratch)
{
    ref_attention(job, &kernel_formats[ENC_F32], (float *)scratch);
}

static void ref_kv_store_f16(uint8_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = f32_to_f16(src[i]);
        dst[2 * i] = (uint8_t)h;
        dst[2 * i + 1] = (uint8_t)(h >> 8);
    }
}

static void ref_kv_store_f32(uint8_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = f32_to_bits(src[i]);
        for (int32_t j = 0; j < 4; j++) {
            dst[4 * i + j] = (uint8_t)(bits >> 8 * j);
        }
    }
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static wide_float ref_sum(const float *x, int64_t n)
{
    struct math_total sum;
    memset(&sum, 0, sizeof sum);
    for (int64_t i = 0; i < n; i++) {
        math_add(&sum, (wide_float)x[i]);
    }
    return sum.value;
}

/* The sum of (x - mean)^2. */
static wide_float ref_squares(const float *x, int64_t n, wide_float mean)
{
    struct math_total sum;
    memset(&sum, 0, sizeof sum);
    for (int64_t i = 0; i < n; i++) {
        wide_float d = (wide_float)x[i] - mean;
        math_add(&sum, d * d);
    }
    return sum.value;
}

static void ref_rms_norm(float *y, const float *x, const float *weight, int64_t n, float eps)
{
    wide_float mean = ref_squares(x, n, 0) / (wide_float)n;
    float scale = (float)(1 / math_sqrt(mean + (wide_float)eps));
    for (int64_t i = 0; i < n; i++) {
        float normal = x[i] * scale;
        y[i] = weight != NULL ? normal * weight[i] : normal;
    }
}

static void ref_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                           int64_t n, float eps)
{
    wide_float mean = ref_sum(x, n) / (wide_float)n;
    wide_float variance = ref_squares(x, n, mean) / (wide_float)n;
    wide_float scale = 1 / math_sqrt(variance + (wide_float)eps);
    for (int64_t i = 0; i < n; i++) {
        float normal = (float)(((wide_float)x[i] - mean) * scale);
        float weighted = weight != NULL ? normal * weight[i] : normal;
        y[i] = bias != NULL ? weighted + bias[i] : weighted;
    }
}

static void ref_rotate(float *a, float *b, float cosine, float sine)
{
    float x = *a;
    float y = *b;
    *a = x * cosine - y * sine;
    *b = x * sine + y * cosine;
}

static void ref_rope_norm(float *x, const float *cos_table, const float *sin_table, int64_t n_rot)
{
    for (int64_t i = 0; i < n_rot / 2; i++) {
        ref_rotate(x + 2 * i, x + 2 * i + 1, cos_table[i], sin_table[i]);
    }
}

static void ref_rope_neox(float *x, const float *cos_table, const float *sin_table, int64_t n_rot)
{
    for (int64_t i = 0; i < n_rot / 2; i++) {
        ref_rotate(x + i, x + n_rot / 2 + i, cos_table[i], sin_table[i]);
    }
}

/* silu(g) = g / (1 + exp(-g)). */
static void ref_swiglu(float *y, const float *gate, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float silu = gate[i] / (1.0f + math_expf(-gate[i]));
        y[i] = up != NULL ? silu * up[i] : silu;
    }
}

static void ref_swiglu_clamped(float *y, const float *gate, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float g = gate[i] > 7 ? 7 : gate[i];
        float u = up[i] > 7 ? 7 : up[i] < -7 ? -7 : up[i];
        y[i] = g / (1.0f + math_expf(-1.702f * g)) * (u + 1);
    }
}

/* x / 2 * (1 + tanh(u)) = x / (1 + exp(-2 u)), which loses nothing where tanh comes close to -1. */
static void ref_gelu(float *y, const float *x, const float *up, int64_t n)
{
    const float twice_root = 1.59576912160573071f; /* 2 * sqrt(2 / pi) */
    for (int64_t i = 0; i < n; i++) {
        float u = twice_root * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        float gelu = x[i] / (1.0f + math_expf(-u));
        y[i] = up != NULL ? gelu * up[i] : gelu;
    }
}

static void ref_relu_squared(float *y, const float *x, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float positive = x[i] < 0 ? 0 : x[i];
        y[i] = up != NULL ? positive * positive * up[i] : positive * positive;
    }
}

static void ref_sigmoid_gate(float *y, const float *gate, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = (x != NULL ? x[i] : 1.0f) / (1.0f + math_expf(-gate[i]));
    }
}

static void ref_cut(float *x, int64_t n, float factor)
{
    wide_float mean = ref_sum(x, n) / (wide_float)n;
    wide_float variance = ref_squares(x, n, mean) / (wide_float)max_i64(n - 1, 1);
    float cut = (float)(mean + (wide_float)factor * math_sqrt(variance));
    for (int64_t i = 0; i < n; i++) {
        float above = x[i] - cut;
        x[i] = above < 0 ? 0 : above;
    }
}

static void ref_softcap(float *x, int64_t n, float cap)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = cap * math_tanhf(x[i] / cap);
    }
}

static float ref_softplus_of(float x)
{
    if (x > 20 || f32_is_nan(x)) {
        return x;
    }
    if (x < -15) { /* 1 + exp(x) would lose what exp(x) says */
        return math_expf(x);
    }
    return (float)math_log_1p(math_exp_short((wide_float)x));
}

static void ref_softplus(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = ref_softplus_of(x[i]);
    }
}

static void ref_ssm_head(const struct kernel_ssm_head *job)
{
    for (int64_t t = 0; t < job->n_token; t++) {
        const float *from = t == 0 ? job->from : job->to;
        const float *x = job->x + t * job->stride;
        float step = job->gates[2 * t], decay = job->gates[2 * t + 1];
        float *y = job->y + t * job->y_stride;
        memset(y, 0, (size_t)job->n * sizeof(float));
        for (int64_t j = 0; j < job->n_state; j++) {
            float b = job->b[t * job->stride + j], c = job->c[t * job->stride + j];
            for (int64_t i = 0; i < job->n; i++) {
                float v = decay * from[j * job->n + i] + b * (step * x[i]);
                job->to[j * job->n + i] = v;
                y[i] += c * v;
            }
        }
        for (int64_t i = 0; i < job->n; i++) {
            y[i] += job->skip * x[i];
        }
    }
}

static void ref_ssm_channels(const struct kernel_ssm *s, const struct kernel_ssm_channels *own)
{
    memset(s->y, 0, (size_t)s->n * sizeof(float));
    for (int64_t j = 0; j < s->n_state; j++) {
        float *state = s->state + j * s->n;
        const float *a = own->a + j * own->a_stride;
        for (int64_t i = 0; i < s->n; i++) {
            float decay = math_expf(own->step[i] * a[i]);
            state[i] = decay * state[i] + s->b[j] * (own->step[i] * s->x[i]);
            s->y[i] += s->c[j] * state[i];
        }
    }
    for (int64_t i = 0; i < s->n; i++) {
        s->y[i] += own->skip[i] * s->x[i];
    }
}

static void ref_vector_add(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

static void ref_add_scaled(float *y, const float *x, float scale, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += scale * x[i];
    }
}

/* x of a token, whose state is in `to`. */
static void ref_conv_row(const struct kernel_conv *job, float *x)
{
    for (int64_t i = 0; i < job->n; i++) {
        float y = job->bias != NULL ? job->bias[i] : 0;
        for (int32_t j = 0; j < job->n_conv; j++) {
            float z = j + 1 < job->n_conv ? job->to[j * job->width + i] : x[i];
            y += job->kernel[j * job->width + i] * z;
            if (j > 0) {
                job->to[(j - 1) * job->width + i] = z;
            }
        }
        x[i] = y;
    }
}

static void ref_conv(const struct kernel_conv *job)
{
    for (int32_t j = 0; j + 1 < job->n_conv; j++) {
        memmove(job->to + j * job->width, job->from + j * job->width,
                (size_t)job->n * sizeof(float));
    }
    for (int64_t t = 0; t < job->n_token; t++) {
        float *x = job->x + t * job->stride;
        ref_conv_row(job, x);
        if (job->silu) {
            ref_sigmoid_gate(x, x, x, job->n);
        }
    }
}

static void ref_rwkv_step(const struct kernel_rwkv_step *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        s->old[i] = s->y[i] = 0;
    }
    for (int64_t j = 0; j < s->n; j++) {
        const float *row = s->state + j * s->n;
        for (int64_t i = 0; i < s->n; i++) {
            s->old[i] += s->removal[j] * row[i];
        }
    }
    for (int64_t j = 0; j < s->n; j++) {
        float *row = s->state + j * s->n;
        for (int64_t i = 0; i < s->n; i++) {
            row[i] = s->decay[j] * row[i] + (s->insertion[j] * s->old[i] + s->k[j] * s->v[i]);
            s->y[i] += s->r[j] * row[i];
        }
    }
}

static void ref_vector_multiply(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}

/* A number that orders as f does, with -0 equal to 0 and every NaN below -infinity. */
static uint32_t ref_order(float f)
{
    uint32_t bits = f32_to_bits(f);
    if ((bits & 0x7fffffff) > REF_INFINITY_BITS) {
        return 0;
    }
    if ((bits & 0x7fffffff) == 0) {
        bits = 0;
    }
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static int64_t ref_argmax(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        if (ref_order(x[i]) > ref_order(x[best])) {
            best = i;
        }
    }
    return best;
}

/* ---- The delta rule --------------------------------------------------------------------------- */

#define REF_DELTA_COLUMNS 64 /* worked on together */

/* n columns of the state at one token. */
static void ref_delta_columns(const struct kernel_delta_job *job, int64_t token, const float *from,
                              int64_t column, int64_t n)
{
    const float *q = job->q + token * job->n_key;
    const float *k = job->k + token * job->n_key;
    const float *v = job->v + token * job->v_stride + column;
    float decay = job->gates[2 * token];
    float beta = job->gates[2 * token + 1];
    float d[REF_DELTA_COLUMNS] = {0};
    float o[REF_DELTA_COLUMNS] = {0};
    for (int64_t i = 0; i < job->n_key; i++) {
        const float *s = from + i * job->n_value + column;
        for (int64_t j = 0; j < n; j++) {
            d[j] += k[i] * s[j];
        }
    }
    for (int64_t j = 0; j < n; j++) {
        d[j] = beta * (v[j] - decay * d[j]);
    }
    for (int64_t i = 0; i < job->n_key; i++) {
        const float *s = from + i * job->n_value + column;
        float *y = job->to + i * job->n_value + column;
        for (int64_t j = 0; j < n; j++) {
            y[j] = decay * s[j] + k[i] * d[j];
            o[j] += q[i] * y[j];
        }
    }
    memcpy(job->o + token * job->o_stride + column, o, (size_t)n * sizeof(float));
}

static void ref_delta_net(const struct kernel_delta_job *job)
{
    for (int64_t column = 0; column < job->n_value; column += REF_DELTA_COLUMNS) {
        int64_t n = job->n_value - column;
        n = n < REF_DELTA_COLUMNS ? n : REF_DELTA_COLUMNS;
        for (int64_t t = 0; t < job->n_token; t++) {
            ref_delta_columns(job, t, t == 0 ? job->from : job->to, column, n);
        }
    }
}

/* Of a chunk: what u_t and o_t have of u_j, and D(t) and D(n - 1, t). */
struct ref_delta_scores {
    float *k, *q;         /* [DELTA_CHUNK][DELTA_CHUNK] */
    float *decays, *ends; /* [DELTA_CHUNK] */
};

static void ref_delta_make_scores(const struct kernel_delta_job *job, struct ref_delta_scores *s)
{
    float decay = 1;
    for (int64_t t = 0; t < job->n_token; t++) {
        const float *gates = job->gates + 2 * t;
        decay *= gates[0];
        s->decays[t] = decay;
        for (int64_t j = 0; j <= t; j++) {
            const float *key = job->k + j * job->n_key;
            float k = 0, q = 0;
            for (int64_t i = 0; i < job->n_key; i++) {
                k += job->k[t * job->n_key + i] * key[i];
                q += job->q[t * job->n_key + i] * key[i];
            }
            s->ends[j] = j < t ? gates[0] * s->ends[j] : 1; /* so far D(t, j) */
            s->k[t * DELTA_CHUNK + j] = j < t ? gates[1] * s->ends[j] * k : 0;
            s->q[t * DELTA_CHUNK + j] = s->ends[j] * q;
        }
    }
}

static void ref_delta_chunk_column(const struct kernel_delta_job *job,
                                   const struct ref_delta_scores *s, int64_t column, float *u)
{
    const float *from = job->from + column;
    float *to = job->to + column;
    for (int64_t t = 0; t < job->n_token; t++) {
        const float *k = job->k + t * job->n_key, *q = job->q + t * job->n_key;
        float old = 0, o = 0;
        for (int64_t i = 0; i < job->n_key; i++) {
            old += k[i] * from[i * job->n_value];
            o += q[i] * from[i * job->n_value];
        }
        u[t] = job->gates[2 * t + 1] * (job->v[t * job->v_stride + column] - s->decays[t] * old);
        o *= s->decays[t];
        for (int64_t j = 0; j < t; j++) {
            u[t] -= s->k[t * DELTA_CHUNK + j] * u[j];
        }
        for (int64_t j = 0; j <= t; j++) {
            o += s->q[t * DELTA_CHUNK + j] * u[j];
        }
        job->o[t * job->o_stride + column] = o;
    }
    for (int64_t i = 0; i < job->n_key; i++) {
        float sum = s->decays[job->n_token - 1] * from[i * job->n_value];
        for (int64_t t = 0; t < job->n_token; t++) {
            sum += job->k[t * job->n_key + i] * (s->ends[t] * u[t]);
        }
        to[i * job->n_value] = sum;
    }
}

static void ref_delta_chunk(const struct kernel_delta_job *job)
{
    struct ref_delta_scores s;
    float u[DELTA_CHUNK];
    s.k = job->scratch;
    s.q = s.k + DELTA_CHUNK * DELTA_CHUNK;
    s.decays = s.q + DELTA_CHUNK * DELTA_CHUNK;
    s.ends = s.decays + DELTA_CHUNK;
    ref_delta_make_scores(job, &s);
    for (int64_t column = 0; column < job->n_value; column++) {
        ref_delta_chunk_column(job, &s, column, u);
    }
}

/* ---- The table ------------------------------------------------------------------------------- */

static void ref_set_matrix(struct kernel_matrix *m, const struct kernel_product *product)
{
    m->one = m->few = m->many = product;
    m->few_min = m->many_min = INT32_MAX;
}

/* Fills every entry with the reference. Types without a decoder keep NULL products. */
static void kernels_set_ref(struct kernels *k)
{
    memset(k, 0, sizeof *k);
    k->isa = "ref";

#define REF_SET_BLOCK(id, type, elements, act, dot)                                                \
    if (PROFILE_ENCODING(id)) {                                                                    \
        ref_set_matrix(&k->matrix[ENC_##id], &ref_product_##type);                                 \
        ref_set_matrix(&k->exact[ENC_##id], &ref_exact_##type);                                    \
    }
#define REF_SET_PLAIN(id, type)                                                                    \
    if (PROFILE_ENCODING(id)) {                                                                    \
        ref_set_matrix(&k->matrix[ENC_##id], &ref_exact_##type);                                   \
        ref_set_matrix(&k->exact[ENC_##id], &ref_exact_##type);                                    \
    }
    REF_BLOCK_TYPES(REF_SET_BLOCK)
    REF_PLAIN_TYPES(REF_SET_PLAIN)

    k->attention[KV_F16] = ref_attention_f16;
    k->attention[KV_F32] = ref_attention_f32;
    k->kv_store[KV_F16] = ref_kv_store_f16;
    k->kv_store[KV_F32] = ref_kv_store_f32;
    k->rms_norm = ref_rms_norm;
    k->rope[ROPE_NORM] = ref_rope_norm;
    k->rope[ROPE_NEOX] = ref_rope_neox;
    k->layer_norm = PROFILE_MORE ? ref_layer_norm : NULL;
    k->swiglu = ref_swiglu;
    k->swiglu_clamped = PROFILE_MORE ? ref_swiglu_clamped : NULL;
    k->gelu = PROFILE_MORE ? ref_gelu : NULL;
    k->relu_squared = PROFILE_MORE ? ref_relu_squared : NULL;
    k->sigmoid_gate = PROFILE_MORE ? ref_sigmoid_gate : NULL;
    k->softcap = PROFILE_MORE || PROFILE_EMBED ? ref_softcap : NULL;
    k->cut = PROFILE_MORE ? ref_cut : NULL;
    k->softplus = PROFILE_RECURRENT ? ref_softplus : NULL;
    k->ssm_head = PROFILE_MAMBA2 ? ref_ssm_head : NULL;
    k->ssm_channels = PROFILE_MAMBA ? ref_ssm_channels : NULL;
    k->delta_net = PROFILE_DELTA_NET ? ref_delta_net : NULL;
    k->delta_chunk = PROFILE_DELTA_NET ? ref_delta_chunk : NULL;
    k->delta_chunk_min = INT32_MAX;
    k->add = ref_vector_add;
    k->add_scaled = ref_add_scaled;
    k->multiply = PROFILE_RECURRENT ? ref_vector_multiply : NULL;
    k->conv = PROFILE_RECURRENT ? ref_conv : NULL;
    k->rwkv_step = PROFILE_RWKV7 ? ref_rwkv_step : NULL;
    k->argmax = ref_argmax;
}

#undef KERNEL_FORMAT_ROW
#undef KERNEL_FORMAT_NO_ROW
#undef KERNEL_FORMAT_COUNT
#undef KERNEL_FORMAT_NO_COUNT
#undef KERNEL_FORMAT_CHECK
#undef KERNEL_FORMAT_NO_CHECK
#undef KERNEL_FORMATS
#undef REF_NONFINITE
#undef REF_TYPE
#undef REF_PRODUCT
#undef REF_EXACT_PRODUCT
#undef REF_SET_BLOCK
#undef REF_SET_PLAIN
#undef REF_BLOCK_TYPES
#undef REF_PLAIN_TYPES
