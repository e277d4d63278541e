/* blocks.c - what is stored: 16-bit floats and other scales, and the blocks of every encoding as
 * small integers.
 *
 * Owns the scalar conversions and ref_expand_*: each block type expands into
 *     w[e] = (d * scale[e / 16]) * q[e] - dmin * min[e / 16]
 * each step rounded to float. The powers of two in some formulas (0.125 of the IQ2 types) stand in
 * d, where they are exact. ref.c makes decoders and products of that, once for all types.
 *
 * Trap: every index into a table is masked to its size where it is made, for blocks are hostile
 * bytes. */

/* ---- Scalar conversions ---------------------------------------------------------------------- */

#define REF_INFINITY_BITS 0x7f800000u
#define REF_NAN_BITS 0x7fc00000u

static float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = (h >> 10) & 31;
    uint32_t mantissa = h & 0x3ff;
    if (exponent == 0) {
        return bits_to_f32(f32_to_bits((float)mantissa * 0x1p-24f) | sign);
    }
    exponent = exponent == 31 ? 255 : exponent + 112;
    return bits_to_f32(sign | exponent << 23 | mantissa << 13);
}

/* Nearest, ties to even; beyond the range infinity; NaN a quiet NaN. */
static uint16_t f32_to_f16(float f)
{
    uint32_t bits = f32_to_bits(f);
    uint32_t sign = (bits >> 16) & 0x8000;
    uint32_t a = bits & 0x7fffffff;
    if (a > REF_INFINITY_BITS) {
        return (uint16_t)(sign | 0x7e00);
    }
    if (a >= 0x477ff000) { /* 65520, halfway between the largest f16 and the next power of two */
        return (uint16_t)(sign | 0x7c00);
    }
    if (a >= 0x38800000) { /* 2^-14: a carry out of the mantissa moves the exponent, as it should */
        a -= 112u << 23;
        return (uint16_t)(sign | (a + 0xfff + ((a >> 13) & 1)) >> 13);
    }
    uint32_t shift = 126 - (a >> 23); /* in units of 2^-24, the smallest f16 */
    if (shift > 24) {
        return (uint16_t)sign;
    }
    uint32_t mantissa = (a & 0x7fffff) | 0x800000;
    uint32_t half = (1u << (shift - 1)) - 1 + ((mantissa >> shift) & 1);
    return (uint16_t)(sign | (mantissa + half) >> shift);
}

static float bf16_to_f32(uint16_t h)
{
    return bits_to_f32((uint32_t)h << 16);
}

static float load_f16(const uint8_t *p)
{
    return f16_to_f32(load_u16(p));
}

/* 2^(x - 128), half of what E8M0 means: the FP4 table is doubled. */
static float e8m0_half_to_f32(uint8_t x)
{
    return bits_to_f32(x < 2 ? 0x00200000u << x : (uint32_t)(x - 1) << 23);
}

/* UE4M3 in units of 2^-9 (or of 2^-10 with the doubled FP4 table): always a whole number. The
 * highest bit is ignored, except that only 0x7f itself is NaN and read as 0. */
static int32_t ue4m3_to_units(uint8_t x)
{
    int32_t exponent = (x >> 3) & 15;
    int32_t mantissa = x & 7;
    if (x == 0x7f) {
        return 0;
    }
    return exponent == 0 ? mantissa : (8 + mantissa) << (exponent - 1);
}

/* Half to even, for |f| <= 2^22: in the sum with 1.5 * 2^23 the last bit is worth 1. Read from the
 * bits, so that no optimisation can cancel the constant. */
static int32_t ref_nearest(float f)
{
    return (int32_t)(f32_to_bits(f + 12582912.0f) & 0x7fffff) - 0x400000;
}

/* ---- Blocks as small integers ---------------------------------------------------------------- */

struct ref_block {
    float d, dmin;
    int32_t scale[16]; /* of elements 16 s .. 16 s + 15 */
    int32_t min[16];
    int8_t q[256];
};

static const int8_t ref_fp4_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
static const int8_t ref_iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t ref_iq2_levels[4] = {8, 25, 43, 0};
static const int8_t ref_iq1_levels[4] = {-8, 0, 8, 0}; /* times 8, to add 1/8 as an integer */
static const int8_t ref_iq3_xxs_levels[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t ref_iq3_s_levels[8] = {1, 3, 5, 7, 9, 11, 13, 15};

#include "codebooks.inc"

/* One scale for all n elements, no minimum. */
static void ref_uniform(struct ref_block *b, float d, int32_t n)
{
    b->d = d;
    b->dmin = 0;
    for (int32_t s = 0; s < n / 16; s++) {
        b->scale[s] = 1;
        b->min[s] = 0;
    }
}

/* q[0..n-1] from the low and q[n..2n-1] from the high halves of n bytes. */
static void ref_nibbles(int8_t *q, const uint8_t *src, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        q[i] = (int8_t)(src[i] & 15);
        q[i + n] = (int8_t)(src[i] >> 4);
    }
}

/* 256 elements of 2 bits as Q2_K, Q3_K and TQ2_0 pack them: four planes of 32, twice. */
static void ref_two_bits(int8_t *q, const uint8_t *src)
{
    for (int32_t g = 0; g < 8; g++) {
        const uint8_t *s = src + 32 * (g / 4);
        for (int32_t i = 0; i < 32; i++) {
            q[32 * g + i] = (int8_t)((s[i] >> 2 * (g % 4)) & 3);
        }
    }
}

static void ref_add(int8_t *q, int32_t n, int32_t addend)
{
    for (int32_t i = 0; i < n; i++) {
        q[i] = (int8_t)(q[i] + addend);
    }
}

static void ref_add_fifth_bit(int8_t *q, const uint8_t *qh)
{
    uint32_t bits = load_u32(qh);
    for (int32_t e = 0; e < 32; e++) {
        q[e] = (int8_t)(q[e] | (int32_t)((bits >> e) & 1) << 4);
    }
}

static void ref_look_up(int8_t *q, int32_t n, const int8_t *levels)
{
    for (int32_t i = 0; i < n; i++) {
        q[i] = levels[q[i] & 15];
    }
}

static void ref_expand_q4_0(struct ref_block *b, const uint8_t *src)
{
    const struct block_q4_0 *x = (const struct block_q4_0 *)src;
    ref_uniform(b, load_f16(x->d), 32);
    ref_nibbles(b->q, x->qs, 16);
    ref_add(b->q, 32, -8);
}

static void ref_expand_q4_1(struct ref_block *b, const uint8_t *src)
{
    const struct block_q4_1 *x = (const struct block_q4_1 *)src;
    ref_uniform(b, load_f16(x->d), 32);
    b->dmin = load_f16(x->m);
    b->min[0] = b->min[1] = -1; /* the law subtracts */
    ref_nibbles(b->q, x->qs, 16);
}

static void ref_expand_q5_0(struct ref_block *b, const uint8_t *src)
{
    const struct block_q5_0 *x = (const struct block_q5_0 *)src;
    ref_uniform(b, load_f16(x->d), 32);
    ref_nibbles(b->q, x->qs, 16);
    ref_add_fifth_bit(b->q, x->qh);
    ref_add(b->q, 32, -16);
}

static void ref_expand_q5_1(struct ref_block *b, const uint8_t *src)
{
    const struct block_q5_1 *x = (const struct block_q5_1 *)src;
    ref_uniform(b, load_f16(x->d), 32);
    b->dmin = load_f16(x->m);
    b->min[0] = b->min[1] = -1;
    ref_nibbles(b->q, x->qs, 16);
    ref_add_fifth_bit(b->q, x->qh);
}

static void ref_expand_q8_0(struct ref_block *b, const uint8_t *src)
{
    const struct block_q8_0 *x = (const struct block_q8_0 *)src;
    ref_uniform(b, load_f16(x->d), 32);
    memcpy(b->q, x->qs, 32);
}

static void ref_expand_iq4_nl(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq4_nl *x = (const struct block_iq4_nl *)src;
    ref_uniform(b, load_f16(x->d), 32);
    ref_nibbles(b->q, x->qs, 16);
    ref_look_up(b->q, 32, ref_iq4_levels);
}

static void ref_expand_mxfp4(struct ref_block *b, const uint8_t *src)
{
    const struct block_mxfp4 *x = (const struct block_mxfp4 *)src;
    ref_uniform(b, e8m0_half_to_f32(x->e), 32);
    ref_nibbles(b->q, x->qs, 16);
    ref_look_up(b->q, 32, ref_fp4_levels);
}

static void ref_expand_nvfp4(struct ref_block *b, const uint8_t *src)
{
    const struct block_nvfp4 *x = (const struct block_nvfp4 *)src;
    ref_uniform(b, 0x1p-10f, 64);
    for (int32_t s = 0; s < 4; s++) {
        b->scale[s] = ue4m3_to_units(x->d[s]);
        ref_nibbles(b->q + 16 * s, x->qs + 8 * s, 8);
    }
    ref_look_up(b->q, 64, ref_fp4_levels);
}

static void ref_expand_q1_0(struct ref_block *b, const uint8_t *src)
{
    const struct block_q1_0 *x = (const struct block_q1_0 *)src;
    ref_uniform(b, load_f16(x->d), 128);
    for (int32_t e = 0; e < 128; e++) {
        b->q[e] = (x->qs[e / 8] >> e % 8) & 1 ? 1 : -1;
    }
}

static void ref_expand_q2_0(struct ref_block *b, const uint8_t *src)
{
    const struct block_q2_0 *x = (const struct block_q2_0 *)src;
    ref_uniform(b, load_f16(x->d), 64);
    for (int32_t e = 0; e < 64; e++) {
        b->q[e] = (int8_t)(((x->qs[e / 4] >> 2 * (e % 4)) & 3) - 1);
    }
}

static void ref_expand_q2_k(struct ref_block *b, const uint8_t *src)
{
    const struct block_q2_k *x = (const struct block_q2_k *)src;
    b->d = load_f16(x->d);
    b->dmin = load_f16(x->dmin);
    for (int32_t s = 0; s < 16; s++) {
        b->scale[s] = x->scales[s] & 15;
        b->min[s] = x->scales[s] >> 4;
    }
    ref_two_bits(b->q, x->qs);
}

static void ref_expand_q3_k(struct ref_block *b, const uint8_t *src)
{
    const struct block_q3_k *x = (const struct block_q3_k *)src;
    ref_uniform(b, load_f16(x->d), 256);
    for (int32_t s = 0; s < 16; s++) {
        int32_t low = s < 8 ? x->scales[s] & 15 : x->scales[s - 8] >> 4;
        int32_t high = (x->scales[8 + s % 4] >> 2 * (s / 4)) & 3;
        b->scale[s] = (low | high << 4) - 32;
    }
    ref_two_bits(b->q, x->qs);
    for (int32_t g = 0; g < 8; g++) {
        for (int32_t i = 0; i < 32; i++) { /* a set bit means: nothing to subtract */
            int32_t high = (x->hmask[i] >> g) & 1;
            b->q[32 * g + i] = (int8_t)(b->q[32 * g + i] + 4 * high - 4);
        }
    }
}

/* The 12 bytes of Q4_K and Q5_K: 8 scales and 8 minima of 6 bits. Bytes 0..3 and 4..7 hold scales
 * and minima 0..3 with the top bits of numbers 4..7 above them, bytes 8..11 the low nibbles of
 * those. */
static void ref_scales_6_bits(struct ref_block *b, const uint8_t *k)
{
    for (int32_t s = 0; s < 8; s++) {
        int32_t scale = s < 4 ? k[s] & 63 : (k[s + 4] & 15) | (k[s - 4] >> 6) << 4;
        int32_t min = s < 4 ? k[s + 4] & 63 : k[s + 4] >> 4 | (k[s] >> 6) << 4;
        b->scale[2 * s] = b->scale[2 * s + 1] = scale;
        b->min[2 * s] = b->min[2 * s + 1] = min;
    }
}

static void ref_expand_q4_k(struct ref_block *b, const uint8_t *src)
{
    const struct block_q4_k *x = (const struct block_q4_k *)src;
    b->d = load_f16(x->d);
    b->dmin = load_f16(x->dmin);
    ref_scales_6_bits(b, x->scales);
    for (int32_t i = 0; i < 4; i++) {
        ref_nibbles(b->q + 64 * i, x->qs + 32 * i, 32);
    }
}

static void ref_expand_q5_k(struct ref_block *b, const uint8_t *src)
{
    const struct block_q5_k *x = (const struct block_q5_k *)src;
    b->d = load_f16(x->d);
    b->dmin = load_f16(x->dmin);
    ref_scales_6_bits(b, x->scales);
    for (int32_t i = 0; i < 4; i++) {
        ref_nibbles(b->q + 64 * i, x->qs + 32 * i, 32);
    }
    for (int32_t g = 0; g < 8; g++) {
        for (int32_t i = 0; i < 32; i++) {
            b->q[32 * g + i] = (int8_t)(b->q[32 * g + i] | ((x->qh[i] >> g) & 1) << 4);
        }
    }
}

static void ref_expand_q6_k(struct ref_block *b, const uint8_t *src)
{
    const struct block_q6_k *x = (const struct block_q6_k *)src;
    ref_uniform(b, load_f16(x->d), 256);
    for (int32_t s = 0; s < 16; s++) {
        b->scale[s] = (int8_t)x->scales[s];
    }
    for (int32_t n = 0; n < 2; n++) {
        ref_nibbles(b->q + 128 * n, x->ql + 64 * n, 64);
    }
    for (int32_t g = 0; g < 8; g++) {
        const uint8_t *qh = x->qh + 32 * (g / 4);
        for (int32_t i = 0; i < 32; i++) {
            int32_t high = (qh[i] >> 2 * (g % 4)) & 3;
            b->q[32 * g + i] = (int8_t)((b->q[32 * g + i] | high << 4) - 32);
        }
    }
}

static void ref_expand_iq4_xs(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq4_xs *x = (const struct block_iq4_xs *)src;
    uint32_t scales_h = load_u16(x->scales_h);
    ref_uniform(b, load_f16(x->d), 256);
    for (int32_t g = 0; g < 8; g++) {
        int32_t low = (x->scales_l[g / 2] >> 4 * (g % 2)) & 15;
        int32_t high = (int32_t)(scales_h >> 2 * g) & 3;
        b->scale[2 * g] = b->scale[2 * g + 1] = (low | high << 4) - 32;
        ref_nibbles(b->q + 32 * g, x->qs + 16 * g, 16);
    }
    ref_look_up(b->q, 256, ref_iq4_levels);
}

/* Trits of base 3, the first one most significant, scaled up so that each comes out as the carry of
 * a multiplication by 3. n_trit planes of n bytes. */
static void ref_trits(int8_t *q, const uint8_t *src, int32_t n, int32_t n_trit)
{
    for (int32_t i = 0; i < n; i++) {
        uint32_t byte = src[i];
        for (int32_t t = 0; t < n_trit; t++) {
            q[t * n + i] = (int8_t)((int32_t)(byte * 3 >> 8) - 1);
            byte = byte * 3 & 255;
        }
    }
}

static void ref_expand_tq1_0(struct ref_block *b, const uint8_t *src)
{
    const struct block_tq1_0 *x = (const struct block_tq1_0 *)src;
    ref_uniform(b, load_f16(x->d), 256);
    ref_trits(b->q, x->qs, 32, 5);
    ref_trits(b->q + 160, x->qs + 32, 16, 5);
    ref_trits(b->q + 240, x->qh, 4, 4);
}

static void ref_expand_tq2_0(struct ref_block *b, const uint8_t *src)
{
    const struct block_tq2_0 *x = (const struct block_tq2_0 *)src;
    ref_uniform(b, load_f16(x->d), 256);
    ref_two_bits(b->q, x->qs);
    ref_add(b->q, 256, -1);
}

/* ---- Codebook types: groups g of 32 elements, in each 4 grid points l of 8 ------------------- */

/* The stored 7 signs make an 8th: the number of negative ones is even. */
static uint32_t ref_even_signs(uint32_t index)
{
    uint32_t parity = index ^ index >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return index | (parity & 1) << 7;
}

/* 8 levels of a packed index with 2-bit fields; bit j of signs makes element j negative. */
static void ref_grid_8(int8_t *q, uint32_t packed, const int8_t *levels, uint32_t signs)
{
    for (int32_t j = 0; j < 8; j++) {
        int8_t level = levels[(packed >> 2 * j) & 3];
        q[j] = (int8_t)((signs >> j) & 1 ? -level : level);
    }
}

/* The same for 4 levels of 3-bit fields. */
static void ref_grid_4(int8_t *q, uint32_t packed, const int8_t *levels, uint32_t signs)
{
    for (int32_t j = 0; j < 4; j++) {
        int8_t level = levels[(packed >> 3 * j) & 7];
        q[j] = (int8_t)((signs >> j) & 1 ? -level : level);
    }
}

static void ref_expand_iq2_xxs(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq2_xxs *x = (const struct block_iq2_xxs *)src;
    ref_uniform(b, load_f16(x->d) * 0.125f, 256);
    for (int32_t g = 0; g < 8; g++) {
        const uint8_t *index = x->qs + 8 * g;
        uint32_t signs = load_u32(index + 4);
        b->scale[2 * g] = b->scale[2 * g + 1] = 2 * (int32_t)(signs >> 28) + 1;
        for (int32_t l = 0; l < 4; l++) {
            ref_grid_8(b->q + 32 * g + 8 * l, ref_grid_iq2_xxs[index[l]], ref_iq2_levels,
                       ref_even_signs((signs >> 7 * l) & 127));
        }
    }
}

static void ref_expand_iq2_xs(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq2_xs *x = (const struct block_iq2_xs *)src;
    ref_uniform(b, load_f16(x->d) * 0.125f, 256);
    for (int32_t g = 0; g < 8; g++) {
        b->scale[2 * g] = 2 * (x->scales[g] & 15) + 1;
        b->scale[2 * g + 1] = 2 * (x->scales[g] >> 4) + 1;
        for (int32_t l = 0; l < 4; l++) {
            uint32_t u = load_u16(x->qs + 2 * (4 * g + l));
            ref_grid_8(b->q + 32 * g + 8 * l, ref_grid_iq2_xs[u & 511], ref_iq2_levels,
                       ref_even_signs(u >> 9));
        }
    }
}

static void ref_expand_iq2_s(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq2_s *x = (const struct block_iq2_s *)src;
    ref_uniform(b, load_f16(x->d) * 0.125f, 256);
    for (int32_t g = 0; g < 8; g++) {
        b->scale[2 * g] = 2 * (x->scales[g] & 15) + 1;
        b->scale[2 * g + 1] = 2 * (x->scales[g] >> 4) + 1;
        for (int32_t l = 0; l < 4; l++) {
            uint32_t index = x->qs[4 * g + l] | ((uint32_t)x->qh[g] << (8 - 2 * l) & 0x300);
            ref_grid_8(b->q + 32 * g + 8 * l, ref_grid_iq2_s[index], ref_iq2_levels,
                       x->signs[4 * g + l]);
        }
    }
}

static void ref_expand_iq3_xxs(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq3_xxs *x = (const struct block_iq3_xxs *)src;
    ref_uniform(b, load_f16(x->d) * 0.25f, 256);
    for (int32_t g = 0; g < 8; g++) {
        uint32_t sas = load_u32(x->sas + 4 * g); /* scale and signs */
        b->scale[2 * g] = b->scale[2 * g + 1] = 2 * (int32_t)(sas >> 28) + 1;
        for (int32_t l = 0; l < 4; l++) {
            const uint8_t *index = x->qs + 8 * g + 2 * l;
            uint32_t signs = ref_even_signs((sas >> 7 * l) & 127);
            int8_t *q = b->q + 32 * g + 8 * l;
            ref_grid_4(q, ref_grid_iq3_xxs[index[0]], ref_iq3_xxs_levels, signs);
            ref_grid_4(q + 4, ref_grid_iq3_xxs[index[1]], ref_iq3_xxs_levels, signs >> 4);
        }
    }
}

static void ref_expand_iq3_s(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq3_s *x = (const struct block_iq3_s *)src;
    ref_uniform(b, load_f16(x->d), 256);
    for (int32_t g = 0; g < 8; g++) {
        int32_t nibble = (x->scales[g / 2] >> 4 * (g % 2)) & 15;
        b->scale[2 * g] = b->scale[2 * g + 1] = 2 * nibble + 1;
        for (int32_t l = 0; l < 4; l++) {
            const uint8_t *low = x->qs + 8 * g + 2 * l;
            uint32_t high = x->qh[g];
            uint32_t signs = x->signs[4 * g + l];
            int8_t *q = b->q + 32 * g + 8 * l;
            uint32_t first = low[0] | (high << (8 - 2 * l) & 256);
            uint32_t second = low[1] | (high << (7 - 2 * l) & 256);
            ref_grid_4(q, ref_grid_iq3_s[first], ref_iq3_s_levels, signs);
            ref_grid_4(q + 4, ref_grid_iq3_s[second], ref_iq3_s_levels, signs >> 4);
        }
    }
}

static void ref_expand_iq1_s(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq1_s *x = (const struct block_iq1_s *)src;
    ref_uniform(b, load_f16(x->d) * 0.125f, 256);
    for (int32_t g = 0; g < 8; g++) {
        uint32_t h = load_u16(x->qh + 2 * g);
        b->scale[2 * g] = b->scale[2 * g + 1] = 2 * (int32_t)((h >> 12) & 7) + 1;
        for (int32_t l = 0; l < 4; l++) {
            uint32_t index = x->qs[4 * g + l] | ((h >> 3 * l) & 7) << 8;
            ref_grid_8(b->q + 32 * g + 8 * l, ref_grid_iq1[index], ref_iq1_levels, 0);
        }
        ref_add(b->q + 32 * g, 32, h & 0x8000 ? -1 : 1);
    }
}

/* The f16 scale of IQ1_M is spread over the top nibbles of its four words of small scales. */
static uint16_t ref_iq1_m_scale(const struct block_iq1_m *x)
{
    return (uint16_t)(load_u16(x->scales) >> 12 | (load_u16(x->scales + 2) >> 8 & 0x00f0) |
                      (load_u16(x->scales + 4) >> 4 & 0x0f00) | (load_u16(x->scales + 6) & 0xf000));
}

static void ref_expand_iq1_m(struct ref_block *b, const uint8_t *src)
{
    const struct block_iq1_m *x = (const struct block_iq1_m *)src;
    ref_uniform(b, f16_to_f32(ref_iq1_m_scale(x)) * 0.125f, 256);
    for (int32_t g = 0; g < 8; g++) {
        uint32_t scales = (uint32_t)load_u16(x->scales + 2 * (g / 2)) >> 6 * (g % 2);
        b->scale[2 * g] = 2 * (int32_t)(scales & 7) + 1;
        b->scale[2 * g + 1] = 2 * (int32_t)((scales >> 3) & 7) + 1;
        for (int32_t l = 0; l < 4; l++) {
            uint32_t h = (uint32_t)x->qh[2 * g + l / 2] >> 4 * (l % 2); /* 3 index bits, sign */
            int8_t *q = b->q + 32 * g + 8 * l;
            ref_grid_8(q, ref_grid_iq1[x->qs[4 * g + l] | (h & 7) << 8], ref_iq1_levels, 0);
            ref_add(q, 8, h & 8 ? -1 : 1);
        }
    }
}
