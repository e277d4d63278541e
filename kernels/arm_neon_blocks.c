/* arm_neon_blocks.c - blocks of every encoding as vectors of small integers, for NEON: what all
 * AArch64 products are made of.
 *
 * A group is 32 columns of a row. neon_group_TYPE gives its integers in two vectors, with the
 * format's offset still in (neon_format.offset); neon_scales_TYPE gives the scales of four rows,
 * transposed: in every vector of scales and sums a lane is a row. Up to 256 columns are looked at
 * at a time. Every load stays inside its block.
 *
 * Trap: indexes into codebooks are masked to the table's size, for blocks are hostile bytes. */

#if defined(ARM_HAS_NEON)

#define NEON_ROWS 4
#define NEON_COLUMNS 256

/* Scales of four rows of 256 columns. */
struct neon_scales {
    int32_t scale[32][4]; /* of super-blocks: all scales, then all minimums, as integers */
    float d[16][4];       /* of a super-block; of 32 columns; for NVFP4 of 16 */
    float m[8][4];        /* taken away from a super-block; added to a block of 32 */
};

/* How integers and scales make a product. */
struct neon_format {
    const struct kernel_act *act;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t offset; /* groups are q + offset; panels are q */
    int32_t width;  /* columns that share a scale, 16 or 32 */
    int32_t super;  /* super-blocks: integer scales under a float one */
    int32_t has_m;
    int32_t most; /* the largest magnitude in a group */
    /* q [column / 16][row][16] and s <- four rows at p, n_group groups of 32 columns */
    void (*unpack)(int8_t *q, struct neon_scales *s, const uint8_t *const p[NEON_ROWS],
                   int32_t n_group);
};

typedef int8x16x2_t (*neon_group)(const uint8_t *p, int32_t u, int32_t i);
typedef float32x4_t (*neon_d)(const uint8_t *const p[NEON_ROWS], size_t at);
typedef int8x16_t (*neon_row_scales)(const uint8_t *p, int32_t part);

/* ---- Helpers --------------------------------------------------------------------------------- */

static NEON ARM_INLINE int8x16x2_t neon_pair(uint8x16_t a, uint8x16_t b)
{
    int8x16x2_t pair;
    pair.val[0] = vreinterpretq_s8_u8(a);
    pair.val[1] = vreinterpretq_s8_u8(b);
    return pair;
}

static NEON ARM_INLINE uint8x16_t neon_low_nibbles(uint8x16_t v)
{
    return vandq_u8(v, vdupq_n_u8(15));
}

static NEON ARM_INLINE uint8x16_t neon_high_nibbles(uint8x16_t v)
{
    return vshrq_n_u8(v, 4);
}

static NEON ARM_INLINE uint8x16_t neon_spread_u32(uint32_t word)
{
    return vreinterpretq_u8_u32(vdupq_n_u32(word));
}

/* Little-endian, as the CPU is. load_u16 works by bytes, and clang leaves it so when the result is
 * a part of a larger word; gcc does not inline load_u64. */
static NEON ARM_INLINE uint64_t neon_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static NEON ARM_INLINE uint64_t neon_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The f16 at p + at of four rows. */
static NEON ARM_INLINE float32x4_t neon_halves(const uint8_t *const p[4], size_t at)
{
    uint64_t h = neon_u16(p[0] + at) | neon_u16(p[1] + at) << 16 | neon_u16(p[2] + at) << 32 |
                 neon_u16(p[3] + at) << 48;
    return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(h)));
}

/* v[j] <- 32-bit word j of the rows that were in v[0..3]. */
static NEON ARM_INLINE void neon_transpose(int8x16_t v[4])
{
    int32x4_t a = vreinterpretq_s32_s8(v[0]), b = vreinterpretq_s32_s8(v[1]);
    int32x4_t c = vreinterpretq_s32_s8(v[2]), d = vreinterpretq_s32_s8(v[3]);
    int64x2_t ab0 = vreinterpretq_s64_s32(vtrn1q_s32(a, b));
    int64x2_t ab1 = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
    int64x2_t cd0 = vreinterpretq_s64_s32(vtrn1q_s32(c, d));
    int64x2_t cd1 = vreinterpretq_s64_s32(vtrn2q_s32(c, d));
    v[0] = vreinterpretq_s8_s64(vtrn1q_s64(ab0, cd0));
    v[1] = vreinterpretq_s8_s64(vtrn1q_s64(ab1, cd1));
    v[2] = vreinterpretq_s8_s64(vtrn2q_s64(ab0, cd0));
    v[3] = vreinterpretq_s8_s64(vtrn2q_s64(ab1, cd1));
}

/* Bit j % 8 of byte j / 8 + 2 * half of the word: all ones in byte j where it is set. */
static NEON ARM_INLINE uint8x16_t neon_bit_mask(uint32_t word, int32_t half)
{
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    static const uint8_t at[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    uint8x16_t from = vaddq_u8(vld1q_u8(at), vdupq_n_u8((uint8_t)(2 * half)));
    return vtstq_u8(vqtbl1q_u8(neon_spread_u32(word), from), vld1q_u8(bits));
}

/* 2-bit field j % 4 of byte j / 4 of 8 bytes, j = 0..31. */
static NEON ARM_INLINE int8x16x2_t neon_fields_2(uint64_t bytes)
{
    static const uint8_t at[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    static const int8_t shift[16] = {0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6};
    uint8x16_t v = vcombine_u8(vcreate_u8(bytes), vcreate_u8(0)), three = vdupq_n_u8(3);
    uint8x16_t a = vqtbl1q_u8(v, vld1q_u8(at));
    uint8x16_t b = vqtbl1q_u8(v, vaddq_u8(vld1q_u8(at), vdupq_n_u8(4)));
    return neon_pair(vandq_u8(vshlq_u8(a, vld1q_s8(shift)), three),
                     vandq_u8(vshlq_u8(b, vld1q_s8(shift)), three));
}

/* ---- Groups: 32 columns ---------------------------------------------------------------------- */

/* Group u * (groups unrolled) + i of the row at p; i is a constant once the loop over it is gone.
 */

static NEON ARM_INLINE int8x16x2_t neon_nibbles(const uint8_t *p)
{
    uint8x16_t v = vld1q_u8(p);
    return neon_pair(neon_low_nibbles(v), neon_high_nibbles(v));
}

static NEON ARM_INLINE int8x16x2_t neon_look_up(int8x16x2_t q, const int8_t levels[16])
{
    int8x16_t table = vld1q_s8(levels);
    q.val[0] = vqtbl1q_s8(table, vreinterpretq_u8_s8(q.val[0]));
    q.val[1] = vqtbl1q_s8(table, vreinterpretq_u8_s8(q.val[1]));
    return q;
}

static NEON ARM_INLINE int8x16x2_t neon_group_q4_0(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_nibbles(p + 18 * (u + i) + 2);
}

static NEON ARM_INLINE int8x16x2_t neon_group_q4_1(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_nibbles(p + 20 * (u + i) + 4);
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq4_nl(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_look_up(neon_nibbles(p + 18 * (u + i) + 2), ref_iq4_levels);
}

static NEON ARM_INLINE int8x16x2_t neon_group_mxfp4(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_look_up(neon_nibbles(p + 17 * (u + i) + 1), ref_fp4_levels);
}

/* Blocks of 64: eight bytes hold 16 columns. */
static NEON ARM_INLINE int8x16x2_t neon_group_nvfp4(const uint8_t *p, int32_t u, int32_t i)
{
    int32_t g = u + i;
    uint8x16_t v = vld1q_u8(p + 36 * (g / 2) + 4 + 16 * (g % 2));
    uint64x2_t low = vreinterpretq_u64_u8(neon_low_nibbles(v));
    uint64x2_t high = vreinterpretq_u64_u8(neon_high_nibbles(v));
    int8x16x2_t q = neon_pair(vreinterpretq_u8_u64(vzip1q_u64(low, high)),
                              vreinterpretq_u8_u64(vzip2q_u64(low, high)));
    return neon_look_up(q, ref_fp4_levels);
}

/* All ones go above the nibble where the fifth bit is not set: that takes 16 away. */
static NEON ARM_INLINE int8x16x2_t neon_five_bits(const uint8_t *qh)
{
    uint32_t clear = ~load_u32(qh);
    uint8x16_t v = vld1q_u8(qh + 4);
    return neon_pair(vsliq_n_u8(v, neon_bit_mask(clear, 0), 4),
                     vsliq_n_u8(neon_high_nibbles(v), neon_bit_mask(clear, 1), 4));
}

static NEON ARM_INLINE int8x16x2_t neon_group_q5_0(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_five_bits(p + 22 * (u + i) + 2);
}

static NEON ARM_INLINE int8x16x2_t neon_group_q5_1(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_five_bits(p + 24 * (u + i) + 4);
}

static NEON ARM_INLINE int8x16x2_t neon_group_q8_0(const uint8_t *p, int32_t u, int32_t i)
{
    const uint8_t *block = p + 34 * (u + i);
    return neon_pair(vld1q_u8(block + 2), vld1q_u8(block + 18));
}

/* Nibbles of 64 columns in 32 bytes: the low ones are the even group's. */
static NEON ARM_INLINE int8x16x2_t neon_nibbles_64(const uint8_t *qs, int32_t odd)
{
    uint8x16_t a = vld1q_u8(qs), b = vld1q_u8(qs + 16);
    return odd ? neon_pair(neon_high_nibbles(a), neon_high_nibbles(b))
               : neon_pair(neon_low_nibbles(a), neon_low_nibbles(b));
}

static NEON ARM_INLINE int8x16x2_t neon_group_q4_k(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_nibbles_64(p + 16 + 32 * u, i);
}

/* Bits of every byte from bit `from` on. Not a constant: once for the groups of a turn. */
static NEON ARM_INLINE uint8x16_t neon_bits_from(const uint8_t *p, int32_t from)
{
    return vshlq_u8(vld1q_u8(p), vdupq_n_s8((int8_t)-from));
}

static NEON ARM_INLINE int8x16x2_t neon_or(int8x16x2_t q, uint8x16_t a, uint8x16_t b)
{
    q.val[0] = vorrq_s8(q.val[0], vreinterpretq_s8_u8(a));
    q.val[1] = vorrq_s8(q.val[1], vreinterpretq_s8_u8(b));
    return q;
}

/* The bits of v from bit `from` on above the low four of q, then all but those of the mask go. */
static NEON ARM_INLINE int8x16_t neon_put_above(int8x16_t q, uint8x16_t v, int32_t from,
                                                uint8_t mask)
{
    uint8x16_t low = vreinterpretq_u8_s8(q);
    v = from == 1 ? vshrq_n_u8(v, 1) : from == 2 ? vshrq_n_u8(v, 2) : v;
    v = from == 4 ? vshrq_n_u8(v, 4) : from == 6 ? vshrq_n_u8(v, 6) : v;
    v = vsliq_n_u8(low, v, 4);
    return vreinterpretq_s8_u8(from == 6 ? v : vandq_u8(v, vdupq_n_u8(mask)));
}

/* Nibbles of 64 columns in 32 bytes; above the low ones anything may stand. */
static NEON ARM_INLINE int8x16x2_t neon_nibbles_uncut(const uint8_t *qs, int32_t odd)
{
    uint8x16_t a = vld1q_u8(qs), b = vld1q_u8(qs + 16);
    return odd ? neon_pair(neon_high_nibbles(a), neon_high_nibbles(b)) : neon_pair(a, b);
}

static NEON ARM_INLINE int8x16x2_t neon_group_q5_k(const uint8_t *p, int32_t u, int32_t i)
{
    int8x16x2_t q = neon_nibbles_uncut(p + 48 + 32 * u, i);
    q.val[0] = neon_put_above(q.val[0], neon_bits_from(p + 16, 2 * u), i, 31);
    q.val[1] = neon_put_above(q.val[1], neon_bits_from(p + 32, 2 * u), i, 31);
    return q;
}

static NEON ARM_INLINE int8x16x2_t neon_group_q6_k(const uint8_t *p, int32_t u, int32_t i)
{
    const uint8_t *high = p + 128 + 32 * u;
    int8x16x2_t q = neon_nibbles_uncut(p + 64 * u + 32 * (i % 2), i / 2);
    q.val[0] = neon_put_above(q.val[0], vld1q_u8(high), 2 * i, 63);
    q.val[1] = neon_put_above(q.val[1], vld1q_u8(high + 16), 2 * i, 63);
    return q;
}

/* Two bits at 2 i. */
static NEON ARM_INLINE uint8x16_t neon_two_bits(uint8x16_t v, int32_t i)
{
    v = i == 1 ? vshrq_n_u8(v, 2) : i == 2 ? vshrq_n_u8(v, 4) : i == 3 ? vshrq_n_u8(v, 6) : v;
    return i == 3 ? v : vandq_u8(v, vdupq_n_u8(3));
}

static NEON ARM_INLINE int8x16x2_t neon_planes_2(const uint8_t *qs, int32_t i)
{
    return neon_pair(neon_two_bits(vld1q_u8(qs), i), neon_two_bits(vld1q_u8(qs + 16), i));
}

static NEON ARM_INLINE int8x16x2_t neon_group_q2_k(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_planes_2(p + 16 + 32 * u, i);
}

static NEON ARM_INLINE int8x16x2_t neon_group_tq2_0(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_planes_2(p + 32 * u, i);
}

/* Bit i to bit 2. */
static NEON ARM_INLINE uint8x16_t neon_third(uint8x16_t v, int32_t i)
{
    v = i == 0 ? vshlq_n_u8(v, 2) : i == 1 ? vshlq_n_u8(v, 1) : i == 3 ? vshrq_n_u8(v, 1) : v;
    return vandq_u8(v, vdupq_n_u8(4));
}

static NEON ARM_INLINE int8x16x2_t neon_group_q3_k(const uint8_t *p, int32_t u, int32_t i)
{
    int8x16x2_t q = neon_planes_2(p + 32 + 32 * u, i);
    return neon_or(q, neon_third(neon_bits_from(p, 4 * u), i),
                   neon_third(neon_bits_from(p + 16, 4 * u), i));
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq4_xs(const uint8_t *p, int32_t u, int32_t i)
{
    return neon_look_up(neon_nibbles(p + 8 + 16 * (2 * u + i)), ref_iq4_levels);
}

/* Trit `n` of every byte, minus 1: times 3^n, the carry of a multiplication by 3 is below 86, below
 * 171 or neither. */
static NEON ARM_INLINE uint8x16_t neon_trits(uint8x16_t v, uint8x16_t power)
{
    v = vmulq_u8(v, power);
    uint8x16_t t = vaddq_u8(vcgeq_u8(v, vdupq_n_u8(86)), vcgeq_u8(v, vdupq_n_u8(171)));
    return vsubq_u8(vdupq_n_u8(255), t);
}

static NEON ARM_INLINE int8x16x2_t neon_group_tq1_0(const uint8_t *p, int32_t u, int32_t i)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    static const uint8_t last[16] = {1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27};
    uint8x16_t v = vld1q_u8(p + 32);
    (void)u;
    if (i < 5) {
        uint8x16_t factor = vdupq_n_u8(power[i]);
        return neon_pair(neon_trits(vld1q_u8(p), factor), neon_trits(vld1q_u8(p + 16), factor));
    }
    if (i < 7) {
        return neon_pair(neon_trits(v, vdupq_n_u8(power[2 * i - 10])),
                         neon_trits(v, vdupq_n_u8(power[2 * i - 9])));
    }
    return neon_pair(neon_trits(v, vdupq_n_u8(81)),
                     neon_trits(neon_spread_u32(load_u32(p + 48)), vld1q_u8(last)));
}

static NEON ARM_INLINE int8x16x2_t neon_group_q1_0(const uint8_t *p, int32_t u, int32_t i)
{
    int32_t g = u + i;
    uint32_t bits = load_u32(p + 18 * (g / 4) + 2 + 4 * (g % 4));
    uint8x16_t two = vdupq_n_u8(2), one = vdupq_n_u8(1);
    return neon_pair(vsubq_u8(vandq_u8(neon_bit_mask(bits, 0), two), one),
                     vsubq_u8(vandq_u8(neon_bit_mask(bits, 1), two), one));
}

static NEON ARM_INLINE int8x16x2_t neon_group_q2_0(const uint8_t *p, int32_t u, int32_t i)
{
    int32_t g = u + i;
    return neon_fields_2(neon_u64(p + 18 * (g / 2) + 2 + 8 * (g % 2)));
}

/* ---- Groups: codebooks ----------------------------------------------------------------------- */

/* Magnitudes with the signs of the bits of the word. */
static NEON ARM_INLINE int8x16x2_t neon_signed(int8x16x2_t q, uint32_t signs)
{
    int8x16_t a = vreinterpretq_s8_u8(neon_bit_mask(signs, 0));
    int8x16_t b = vreinterpretq_s8_u8(neon_bit_mask(signs, 1));
    q.val[0] = vsubq_s8(veorq_s8(q.val[0], a), a);
    q.val[1] = vsubq_s8(veorq_s8(q.val[1], b), b);
    return q;
}

/* Four fields of 7 bits to bytes whose number of set bits is even. */
static NEON ARM_INLINE uint32_t neon_even_signs(uint32_t v)
{
    uint32_t bytes = (v & 0x7f) | (v << 1 & 0x7f00) | (v << 2 & 0x7f0000) | (v << 3 & 0x7f000000);
    uint8x8_t signs = vcreate_u8(bytes);
    signs = vorr_u8(signs, vshl_n_u8(vcnt_u8(signs), 7));
    return vget_lane_u32(vreinterpret_u32_u8(signs), 0);
}

/* 4 points of 8 levels each. */
static NEON ARM_INLINE int8x16x2_t neon_points_8(const uint16_t *grid, const uint32_t index[4],
                                                 const int8_t levels[4])
{
    int8x16_t table = vreinterpretq_s8_u8(neon_spread_u32(load_u32((const uint8_t *)levels)));
    int8x16x2_t q = neon_fields_2(grid[index[0]] | (uint64_t)grid[index[1]] << 16 |
                                  (uint64_t)grid[index[2]] << 32 | (uint64_t)grid[index[3]] << 48);
    q.val[0] = vqtbl1q_s8(table, vreinterpretq_u8_s8(q.val[0]));
    q.val[1] = vqtbl1q_s8(table, vreinterpretq_u8_s8(q.val[1]));
    return q;
}

/* Eight 3-bit fields of each of two 16-bit numbers; those of the lanes 2 half and 2 half + 1. */
static NEON ARM_INLINE uint16x8_t neon_fields_3(uint8x16_t v, int32_t half)
{
    static const uint8_t at[16] = {0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3};
    static const int16_t shift[8] = {0, -3, -6, -9, 0, -3, -6, -9};
    uint8x16_t from = vaddq_u8(vld1q_u8(at), vdupq_n_u8((uint8_t)(4 * half)));
    return vshlq_u16(vreinterpretq_u16_u8(vqtbl1q_u8(v, from)), vld1q_s16(shift));
}

/* 8 points of 4 levels each. */
static NEON ARM_INLINE int8x16x2_t neon_points_4(const uint16_t *grid, const uint32_t index[8],
                                                 const int8_t levels[8])
{
    uint64_t low = grid[index[0]] | (uint64_t)grid[index[1]] << 16 |
                   (uint64_t)grid[index[2]] << 32 | (uint64_t)grid[index[3]] << 48;
    uint64_t high = grid[index[4]] | (uint64_t)grid[index[5]] << 16 |
                    (uint64_t)grid[index[6]] << 32 | (uint64_t)grid[index[7]] << 48;
    uint8x16_t v = vcombine_u8(vcreate_u8(low), vcreate_u8(high)), seven = vdupq_n_u8(7);
    uint8x16_t table = vcombine_u8(vld1_u8((const uint8_t *)levels), vcreate_u8(0)), q[2];
    SLM_UNROLL
    for (int32_t j = 0; j < 2; j++) {
        q[j] = vuzp1q_u8(vreinterpretq_u8_u16(neon_fields_3(v, 2 * j)),
                         vreinterpretq_u8_u16(neon_fields_3(v, 2 * j + 1)));
        q[j] = vqtbl1q_u8(table, vandq_u8(q[j], seven));
    }
    return neon_pair(q[0], q[1]);
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq2_xxs(const uint8_t *p, int32_t u, int32_t i)
{
    const uint8_t *at = p + 2 + 8 * (u + i);
    uint32_t index[4] = {at[0], at[1], at[2], at[3]};
    return neon_signed(neon_points_8(ref_grid_iq2_xxs, index, ref_iq2_levels),
                       neon_even_signs(load_u32(at + 4)));
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq2_xs(const uint8_t *p, int32_t u, int32_t i)
{
    uint32_t index[4], signs = 0;
    SLM_UNROLL
    for (int32_t l = 0; l < 4; l++) {
        uint32_t v = load_u16(p + 2 + 8 * (u + i) + 2 * l);
        index[l] = v & 511;
        signs |= v >> 9 << 7 * l;
    }
    return neon_signed(neon_points_8(ref_grid_iq2_xs, index, ref_iq2_levels),
                       neon_even_signs(signs));
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq2_s(const uint8_t *p, int32_t u, int32_t i)
{
    const uint8_t *at = p + 2 + 4 * (u + i);
    uint32_t index[4], high = p[66 + u + i];
    SLM_UNROLL
    for (int32_t l = 0; l < 4; l++) {
        index[l] = at[l] | (high << (8 - 2 * l) & 0x300);
    }
    return neon_signed(neon_points_8(ref_grid_iq2_s, index, ref_iq2_levels), load_u32(at + 32));
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq3_xxs(const uint8_t *p, int32_t u, int32_t i)
{
    const uint8_t *at = p + 2 + 8 * (u + i);
    uint32_t index[8] = {at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]};
    return neon_signed(neon_points_4(ref_grid_iq3_xxs, index, ref_iq3_xxs_levels),
                       neon_even_signs(load_u32(p + 66 + 4 * (u + i))));
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq3_s(const uint8_t *p, int32_t u, int32_t i)
{
    const uint8_t *at = p + 2 + 8 * (u + i);
    uint32_t index[8], high = p[66 + u + i];
    SLM_UNROLL
    for (int32_t l = 0; l < 8; l++) {
        index[l] = at[l] | (high << (8 - l) & 256);
    }
    return neon_signed(neon_points_4(ref_grid_iq3_s, index, ref_iq3_s_levels),
                       load_u32(p + 74 + 4 * (u + i)));
}

/* Levels and 1/8 up or down, all times 8. */
static NEON ARM_INLINE int8x16x2_t neon_shifted(int8x16x2_t q, uint32_t down)
{
    uint8x16_t one = vdupq_n_u8(1);
    q.val[0] = vaddq_s8(q.val[0], vreinterpretq_s8_u8(vorrq_u8(neon_bit_mask(down, 0), one)));
    q.val[1] = vaddq_s8(q.val[1], vreinterpretq_s8_u8(vorrq_u8(neon_bit_mask(down, 1), one)));
    return q;
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq1_s(const uint8_t *p, int32_t u, int32_t i)
{
    uint32_t index[4], h = load_u16(p + 34 + 2 * (u + i));
    SLM_UNROLL
    for (int32_t l = 0; l < 4; l++) {
        index[l] = p[2 + 4 * (u + i) + l] | ((h >> 3 * l) & 7) << 8;
    }
    return neon_shifted(neon_points_8(ref_grid_iq1, index, ref_iq1_levels), 0 - (h >> 15));
}

static NEON ARM_INLINE int8x16x2_t neon_group_iq1_m(const uint8_t *p, int32_t u, int32_t i)
{
    uint32_t index[4], down = 0, h = load_u16(p + 32 + 2 * (u + i));
    SLM_UNROLL
    for (int32_t l = 0; l < 4; l++) { /* a nibble: 3 bits of the index, the sign */
        index[l] = p[4 * (u + i) + l] | ((h >> 4 * l) & 7) << 8;
        down |= (0 - ((h >> (4 * l + 3)) & 1)) & 255u << 8 * l;
    }
    return neon_shifted(neon_points_8(ref_grid_iq1, index, ref_iq1_levels), down);
}

/* ---- Scales ---------------------------------------------------------------------------------- */

/* Blocks below 256: a scale of every 32 columns, whatever the block. */
static NEON ARM_INLINE void neon_scales_32(struct neon_scales *s, const uint8_t *const p[4],
                                           int32_t n_group, int32_t elements, int32_t bytes,
                                           int32_t has_m)
{
    for (int32_t g = 0; g < n_group; g++) {
        size_t at = (size_t)(32 * g / elements * bytes);
        vst1q_f32(s->d[g], neon_halves(p, at));
        if (has_m) {
            vst1q_f32(s->m[g], neon_halves(p, at + 2));
        }
    }
}

/* 2^(e - 128) as e8m0_half_to_f32 has it: the least two are not normal. */
static NEON ARM_INLINE float32x4_t neon_d_mxfp4(const uint8_t *const p[4], size_t at)
{
    uint32_t e = (uint32_t)(p[0][at] | p[1][at] << 8 | p[2][at] << 16) | (uint32_t)p[3][at] << 24;
    uint32x4_t v = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(e))));
    uint32x4_t tiny = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(v));
    uint32x4_t normal = vshlq_n_u32(vsubq_u32(v, vdupq_n_u32(1)), 23);
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(v, vdupq_n_u32(2)), tiny, normal));
}

static NEON void neon_scales_mxfp4(struct neon_scales *s, const uint8_t *const p[4],
                                   int32_t n_group)
{
    for (int32_t g = 0; g < n_group; g++) {
        vst1q_f32(s->d[g], neon_d_mxfp4(p, (size_t)(17 * g)));
    }
}

static NEON void neon_scales_nvfp4(struct neon_scales *s, const uint8_t *const p[4],
                                   int32_t n_group)
{
    for (int32_t i = 0; i < 2 * n_group; i++) {
        for (int32_t r = 0; r < NEON_ROWS; r++) {
            s->d[i][r] = 0x1p-10f * (float)ue4m3_to_units(p[r][36 * (i / 4) + i % 4]);
        }
    }
}

/* 16 bytes of each row, sign-extended, a row to a lane. */
static NEON ARM_INLINE void neon_widen_scales(int32_t to[16][4], int8x16_t v[4])
{
    neon_transpose(v);
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        int32x4_t w = vreinterpretq_s32_s8(v[j]);
        vst1q_s32(to[4 * j], vshrq_n_s32(vshlq_n_s32(w, 24), 24));
        vst1q_s32(to[4 * j + 1], vshrq_n_s32(vshlq_n_s32(w, 16), 24));
        vst1q_s32(to[4 * j + 2], vshrq_n_s32(vshlq_n_s32(w, 8), 24));
        vst1q_s32(to[4 * j + 3], vshrq_n_s32(w, 24));
    }
}

/* Super-blocks: 16 integers of each row, or 32; d and the factor m, -1 if there is none. */
static NEON ARM_INLINE void neon_scales_256(struct neon_scales *s, const uint8_t *const p[4],
                                            neon_row_scales scales, int32_t n_part, int32_t d_at,
                                            int32_t m_at, float factor)
{
    for (int32_t part = 0; part < n_part; part++) {
        int8x16_t v[4] = {scales(p[0], part), scales(p[1], part), scales(p[2], part),
                          scales(p[3], part)};
        neon_widen_scales(s->scale + 16 * part, v);
    }
    if (d_at >= 0) {
        vst1q_f32(s->d[0], vmulq_n_f32(neon_halves(p, (size_t)d_at), factor));
    }
    if (m_at >= 0) {
        vst1q_f32(s->m[0], neon_halves(p, (size_t)m_at));
    }
}

static NEON ARM_INLINE int8x16_t neon_scales_q2_k(const uint8_t *p, int32_t part)
{
    uint8x16_t v = vld1q_u8(p);
    return vreinterpretq_s8_u8(part == 0 ? neon_low_nibbles(v) : neon_high_nibbles(v));
}

static NEON ARM_INLINE int8x16_t neon_from_u64(uint64_t low, uint64_t high)
{
    return vcombine_s8(vcreate_s8(low), vcreate_s8(high));
}

static NEON ARM_INLINE int8x16_t neon_scales_q3_k(const uint8_t *p, int32_t part)
{
    const uint64_t low4 = UINT64_C(0x0f0f0f0f0f0f0f0f), low2 = UINT64_C(0x0303030303030303);
    uint64_t low = neon_u64(p + 96), high = load_u32(p + 104);
    uint64_t first = high | high << 30, last = high >> 4 | (high >> 6) << 32;
    (void)part;
    first = (low & low4) | (first & low2) << 4;
    last = (low >> 4 & low4) | (last & low2) << 4;
    return vsubq_s8(neon_from_u64(first, last), vdupq_n_s8(32));
}

/* Eight scales, then eight minimums. */
static NEON ARM_INLINE int8x16_t neon_scales_q45_k(const uint8_t *p, int32_t part)
{
    const uint32_t low6 = 0x3f3f3f3f, low4 = 0x0f0f0f0f, high2 = 0x30303030;
    uint32_t a = load_u32(p + 4), b = load_u32(p + 8), c = load_u32(p + 12);
    uint32_t scale = (c & low4) | (a >> 2 & high2), min = (c >> 4 & low4) | (b >> 2 & high2);
    (void)part;
    return neon_from_u64((a & low6) | (uint64_t)scale << 32, (b & low6) | (uint64_t)min << 32);
}

static NEON ARM_INLINE int8x16_t neon_scales_q6_k(const uint8_t *p, int32_t part)
{
    (void)part;
    return vreinterpretq_s8_u8(vld1q_u8(p + 192));
}

/* Eight nibbles to bytes. */
static NEON ARM_INLINE uint64_t neon_spread_nibbles(uint64_t v)
{
    v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
    v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
    return (v | v << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
}

static NEON ARM_INLINE int8x16_t neon_scales_iq4_xs(const uint8_t *p, int32_t part)
{
    uint64_t low = neon_spread_nibbles(load_u32(p + 4)), high = load_u16(p + 2);
    high = (high | high << 24) & UINT64_C(0x000000ff000000ff);
    high = (high | high << 12) & UINT64_C(0x000f000f000f000f);
    high = (high | high << 6) & UINT64_C(0x0303030303030303);
    (void)part;
    return vsubq_s8(neon_from_u64(low | high << 4, 0), vdupq_n_s8(32));
}

static NEON ARM_INLINE int8x16_t neon_scales_one(const uint8_t *p, int32_t part)
{
    (void)p;
    (void)part;
    return vdupq_n_s8(1);
}

/* 2 n + 1 of every byte n. */
static NEON ARM_INLINE int8x16_t neon_odd(uint64_t low, uint64_t high)
{
    int8x16_t v = neon_from_u64(low, high);
    return vorrq_s8(vaddq_s8(v, v), vdupq_n_s8(1));
}

/* The top nibbles of eight words. */
static NEON ARM_INLINE int8x16_t neon_scales_top(const uint8_t *p, int32_t stride)
{
    uint64_t v = 0;
    for (int32_t g = 0; g < 8; g++) {
        v |= (uint64_t)(load_u32(p + stride * g) >> 28) << 8 * g;
    }
    return neon_odd(v, 0);
}

static NEON ARM_INLINE int8x16_t neon_scales_iq2_xxs(const uint8_t *p, int32_t part)
{
    (void)part;
    return neon_scales_top(p + 6, 8);
}

static NEON ARM_INLINE int8x16_t neon_scales_iq3_xxs(const uint8_t *p, int32_t part)
{
    (void)part;
    return neon_scales_top(p + 66, 4);
}

static NEON ARM_INLINE int8x16_t neon_scales_iq2_s(const uint8_t *p, int32_t part)
{
    (void)part;
    return neon_odd(neon_spread_nibbles(load_u32(p + 74)), neon_spread_nibbles(load_u32(p + 78)));
}

static NEON ARM_INLINE int8x16_t neon_scales_iq2_xs(const uint8_t *p, int32_t part)
{
    (void)part;
    return neon_odd(neon_spread_nibbles(load_u32(p + 66)), neon_spread_nibbles(load_u32(p + 70)));
}

static NEON ARM_INLINE int8x16_t neon_scales_iq3_s(const uint8_t *p, int32_t part)
{
    (void)part;
    return neon_odd(neon_spread_nibbles(load_u32(p + 106)), 0);
}

static NEON ARM_INLINE int8x16_t neon_scales_iq1_s(const uint8_t *p, int32_t part)
{
    uint64_t v = 0;
    (void)part;
    for (int32_t g = 0; g < 8; g++) {
        v |= (uint64_t)(load_u16(p + 34 + 2 * g) >> 12 & 7) << 8 * g;
    }
    return neon_odd(v, 0);
}

static NEON ARM_INLINE int8x16_t neon_scales_iq1_m(const uint8_t *p, int32_t part)
{
    uint64_t v[2] = {0, 0};
    (void)part;
    for (int32_t s = 0; s < 16; s++) {
        uint32_t word = load_u16(p + 48 + 2 * (s / 4));
        v[s / 8] |= (uint64_t)(word >> 3 * (s % 4) & 7) << 8 * (s % 8);
    }
    return neon_odd(v[0], v[1]);
}

static NEON void neon_d_iq1_m(struct neon_scales *s, const uint8_t *const p[4])
{
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        const struct block_iq1_m *block = (const struct block_iq1_m *)p[r];
        s->d[0][r] = f16_to_f32(ref_iq1_m_scale(block)) * 0.125f;
    }
}

/* ---- The types ------------------------------------------------------------------------------- */

/* X(id, type, act, elements, bytes, offset, width, super, has_m, most, unrolled): the groups that
 * are unrolled divide those of a block. The types of the first two lists have functions of their
 * own for one token; the others are harder to take apart than to multiply, and go through a panel.
 */
#define NEON_FUSED_BLOCKS(X)                                                                       \
    X(Q4_0, q4_0, neon_act_q8_0, 32, 18, 8, 32, 0, 0, 15, 1)                                       \
    X(Q4_1, q4_1, neon_act_q8_0, 32, 20, 0, 32, 0, 1, 15, 1)                                       \
    X(Q5_0, q5_0, neon_act_q8_0, 32, 22, 0, 32, 0, 0, 16, 1)                                       \
    X(Q5_1, q5_1, neon_act_q8_0, 32, 24, -16, 32, 0, 1, 16, 1)                                     \
    X(Q8_0, q8_0, neon_act_q8_0, 32, 34, 0, 32, 0, 0, 128, 1)                                      \
    X(IQ4_NL, iq4_nl, neon_act_q8_0, 32, 18, 0, 32, 0, 0, 127, 1)                                  \
    X(MXFP4, mxfp4, neon_act_q8_0, 32, 17, 0, 32, 0, 0, 12, 1)

#define NEON_FUSED_SUPERS(X)                                                                       \
    X(Q2_K, q2_k, neon_act_q8_k, 256, 84, 0, 16, 1, 1, 3, 4)                                       \
    X(Q3_K, q3_k, neon_act_q8_k, 256, 110, 4, 16, 1, 0, 7, 4)                                      \
    X(Q4_K, q4_k, neon_act_q8_k, 256, 144, 0, 32, 1, 1, 15, 2)                                     \
    X(Q5_K, q5_k, neon_act_q8_k, 256, 176, 0, 32, 1, 1, 31, 2)                                     \
    X(Q6_K, q6_k, neon_act_q8_k, 256, 210, 32, 16, 1, 0, 63, 4)                                    \
    X(IQ4_XS, iq4_xs, neon_act_q8_k, 256, 136, 0, 32, 1, 0, 127, 2)                                \
    X(TQ2_0, tq2_0, neon_act_q8_k, 256, 66, 1, 32, 1, 0, 3, 4)

#define NEON_OTHER_TYPES(X)                                                                        \
    X(NVFP4, nvfp4, neon_act_q8_0, 64, 36, 0, 16, 0, 0, 12, 1)                                     \
    X(Q1_0, q1_0, neon_act_q8_0, 128, 18, 0, 32, 0, 0, 1, 1)                                       \
    X(Q2_0, q2_0, neon_act_q8_0, 64, 18, 1, 32, 0, 0, 3, 1)                                        \
    X(IQ1_S, iq1_s, neon_act_q8_k, 256, 50, 0, 32, 1, 0, 9, 1)                                     \
    X(IQ1_M, iq1_m, neon_act_q8_k, 256, 56, 0, 16, 1, 0, 9, 1)                                     \
    X(IQ2_XXS, iq2_xxs, neon_act_q8_k, 256, 66, 0, 32, 1, 0, 43, 1)                                \
    X(IQ2_XS, iq2_xs, neon_act_q8_k, 256, 74, 0, 16, 1, 0, 43, 1)                                  \
    X(IQ2_S, iq2_s, neon_act_q8_k, 256, 82, 0, 16, 1, 0, 43, 1)                                    \
    X(IQ3_XXS, iq3_xxs, neon_act_q8_k, 256, 98, 0, 32, 1, 0, 62, 1)                                \
    X(IQ3_S, iq3_s, neon_act_q8_k, 256, 110, 0, 32, 1, 0, 15, 1)                                   \
    X(TQ1_0, tq1_0, neon_act_q8_k, 256, 54, 0, 32, 1, 0, 1, 8)

#define NEON_FUSED_TYPES(X) NEON_FUSED_BLOCKS(X) NEON_FUSED_SUPERS(X)
#define NEON_TYPES(X) NEON_FUSED_TYPES(X) NEON_OTHER_TYPES(X)

/* neon_d_TYPE: the scales of a block of four rows. */
#define neon_d_q4_0 neon_halves
#define neon_d_q4_1 neon_halves
#define neon_d_q5_0 neon_halves
#define neon_d_q5_1 neon_halves
#define neon_d_q8_0 neon_halves
#define neon_d_iq4_nl neon_halves

/* neon_fill_TYPE: the scales of four rows. */
#define NEON_FILL(type, call)                                                                      \
    static NEON ARM_INLINE void neon_fill_##type(                                                  \
        struct neon_scales *s, const uint8_t *const p[NEON_ROWS], int32_t n_group)                 \
    {                                                                                              \
        (void)n_group;                                                                             \
        call;                                                                                      \
    }
NEON_FILL(q4_0, neon_scales_32(s, p, n_group, 32, 18, 0))
NEON_FILL(q4_1, neon_scales_32(s, p, n_group, 32, 20, 1))
NEON_FILL(q5_0, neon_scales_32(s, p, n_group, 32, 22, 0))
NEON_FILL(q5_1, neon_scales_32(s, p, n_group, 32, 24, 1))
NEON_FILL(q8_0, neon_scales_32(s, p, n_group, 32, 34, 0))
NEON_FILL(iq4_nl, neon_scales_32(s, p, n_group, 32, 18, 0))
NEON_FILL(mxfp4, neon_scales_mxfp4(s, p, n_group))
NEON_FILL(nvfp4, neon_scales_nvfp4(s, p, n_group))
NEON_FILL(q1_0, neon_scales_32(s, p, n_group, 128, 18, 0))
NEON_FILL(q2_0, neon_scales_32(s, p, n_group, 64, 18, 0))
NEON_FILL(q2_k, neon_scales_256(s, p, neon_scales_q2_k, 2, 80, 82, 1.0f))
NEON_FILL(q3_k, neon_scales_256(s, p, neon_scales_q3_k, 1, 108, -1, 1.0f))
NEON_FILL(q4_k, neon_scales_256(s, p, neon_scales_q45_k, 1, 0, 2, 1.0f))
NEON_FILL(q5_k, neon_scales_256(s, p, neon_scales_q45_k, 1, 0, 2, 1.0f))
NEON_FILL(q6_k, neon_scales_256(s, p, neon_scales_q6_k, 1, 208, -1, 1.0f))
NEON_FILL(iq4_xs, neon_scales_256(s, p, neon_scales_iq4_xs, 1, 0, -1, 1.0f))
NEON_FILL(iq1_s, neon_scales_256(s, p, neon_scales_iq1_s, 1, 0, -1, 0.125f))
NEON_FILL(iq1_m, neon_scales_256(s, p, neon_scales_iq1_m, 1, -1, -1, 1.0f); neon_d_iq1_m(s, p))
NEON_FILL(iq2_xxs, neon_scales_256(s, p, neon_scales_iq2_xxs, 1, 0, -1, 0.125f))
NEON_FILL(iq2_xs, neon_scales_256(s, p, neon_scales_iq2_xs, 1, 0, -1, 0.125f))
NEON_FILL(iq2_s, neon_scales_256(s, p, neon_scales_iq2_s, 1, 0, -1, 0.125f))
NEON_FILL(iq3_xxs, neon_scales_256(s, p, neon_scales_iq3_xxs, 1, 0, -1, 0.25f))
NEON_FILL(iq3_s, neon_scales_256(s, p, neon_scales_iq3_s, 1, 0, -1, 1.0f))
NEON_FILL(tq1_0, neon_scales_256(s, p, neon_scales_one, 1, 52, -1, 1.0f))
NEON_FILL(tq2_0, neon_scales_256(s, p, neon_scales_one, 1, 64, -1, 1.0f))

/* ---- Panels ---------------------------------------------------------------------------------- */

static NEON ARM_INLINE void neon_unpack(int8_t *q, const uint8_t *const p[NEON_ROWS],
                                        int32_t n_group, neon_group group, int32_t unrolled,
                                        int32_t offset)
{
    int8x16_t minus = vdupq_n_s8((int8_t)offset);
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        for (int32_t u = 0; u < n_group / unrolled; u++) {
            SLM_UNROLL
            for (int32_t i = 0; i < unrolled; i++) {
                int8x16x2_t v = group(p[r], u, i);
                int8_t *to = q + 128 * (u * unrolled + i) + 16 * r;
                vst1q_s8(to, vsubq_s8(v.val[0], minus));
                vst1q_s8(to + 64, vsubq_s8(v.val[1], minus));
            }
        }
    }
}

#define NEON_FORMAT(id, type, act, elements, bytes, offset, width, super, has_m, most, unrolled)   \
    static NEON void neon_unpack_##type(int8_t *q, struct neon_scales *s,                          \
                                        const uint8_t *const p[NEON_ROWS], int32_t n_group)        \
    {                                                                                              \
        neon_fill_##type(s, p, n_group);                                                           \
        neon_unpack(q, p, n_group, neon_group_##type, unrolled, offset);                           \
    }                                                                                              \
    static const struct neon_format neon_format_##type = {                                         \
        &act, elements, bytes, offset, width, super, has_m, most, neon_unpack_##type};             \
    SLM_STATIC_ASSERT(sizeof(struct block_##type) == bytes, #type);

#endif /* AArch64 */
