/* wasm_simd.c - SIMD128 of WebAssembly. A module cannot ask what its host has: these kernels are in
 * the table of a module compiled with -msimd128, and only there.
 *
 * Every entry gives the bits of the reference, in a fraction of the time: the same operations on
 * floats in the same order, four or eight of them at once. So one test covers all of them, and a
 * text comes out the same in a browser as from the reference anywhere else. SIMD128 has no fused
 * multiply-add, which would be in the way of that, and none is missed.
 *
 * Products take four rows together; lane r of a sum belongs to row r. Weights become int16, in
 * super-blocks already times their scale, which fits (64 * 63; 32 * 128), so that one instruction
 * makes eight products and adds them in pairs. One token: straight from the blocks, for the types
 * that have a `group`. Several tokens: four rows of 256 columns are unpacked to a panel, which
 * serves all of them.
 *
 * Trap: nothing is read outside a block; rows that are left over are filled up with the last one's
 * address, and what they give is not stored. */

#if defined(__wasm_simd128__) && !defined(SLM_NO_SIMD)

#include <wasm_simd128.h>

#define WASM_INLINE static __attribute__((always_inline)) inline
#define WASM_ROWS 4
#define WASM_COLUMNS 256
#define WASM_FEW 3 /* from so many tokens on a panel pays */

/* Four rows of 256 columns. */
struct wasm_panel {
    int16_t q[WASM_ROWS][WASM_COLUMNS];
    float d[8][WASM_ROWS]; /* of blocks of 32; of a super-block d[0] */
    float m[8][WASM_ROWS]; /* added to a block; taken away from a super-block m[0] */
    int16_t min[WASM_ROWS][16];
};

/* Integer scales of a super-block, each for 16 columns. */
struct wasm_scales {
    int16_t scale[16];
    int16_t min[16];
};

struct wasm_format {
    const struct kernel_act *act;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t super; /* 256 columns under one float scale */
    int32_t has_m;
    /* n columns, at most 256, of four rows at p */
    void (*unpack)(struct wasm_panel *panel, const uint8_t *const p[WASM_ROWS], int32_t n);
    /* acc[r] += n columns of row r with one token, from the column `at` on of a row of k; or NULL */
    void (*one)(float acc[WASM_ROWS], const uint8_t *const p[WASM_ROWS], const uint8_t *act,
                int64_t at, int32_t n, int64_t k);
};

/* ---- Floats of 16 bits ----------------------------------------------------------------------- */

/* Four in lanes of 32 bits. Exact: the exponent is put right by a product, which does denormals,
 * too; what is not finite gets its exponent back. */
WASM_INLINE v128_t wasm_widen_f16(v128_t h)
{
    v128_t sign = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x8000)), 16);
    v128_t bits = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x7fff)), 13);
    v128_t special = wasm_i32x4_gt(bits, wasm_i32x4_const_splat(0x0f7fffff));
    v128_t f = wasm_f32x4_mul(bits, wasm_f32x4_const_splat(0x1p112f));
    f = wasm_v128_or(f, wasm_v128_and(special, wasm_i32x4_const_splat(0x7f800000)));
    return wasm_v128_or(f, sign);
}

WASM_INLINE v128_t wasm_load_f16(const uint8_t *p)
{
    return wasm_widen_f16(wasm_u32x4_load16x4(p));
}

WASM_INLINE v128_t wasm_load_bf16(const uint8_t *p)
{
    return wasm_i32x4_shl(wasm_u32x4_load16x4(p), 16);
}

WASM_INLINE v128_t wasm_load_f32(const uint8_t *p)
{
    return wasm_v128_load(p);
}

/* The f16 at p + at of four rows. */
WASM_INLINE v128_t wasm_halves(const uint8_t *const p[WASM_ROWS], size_t at)
{
    v128_t h = wasm_i32x4_const_splat(0);
    h = wasm_v128_load16_lane(p[0] + at, h, 0);
    h = wasm_v128_load16_lane(p[1] + at, h, 2);
    h = wasm_v128_load16_lane(p[2] + at, h, 4);
    h = wasm_v128_load16_lane(p[3] + at, h, 6);
    return wasm_widen_f16(h);
}

/* ---- Groups: 32 columns in four vectors of int16 --------------------------------------------- */

/* 16 small integers in v[0..1]. */
WASM_INLINE void wasm_widen_i8(v128_t v[2], v128_t bytes)
{
    v[0] = wasm_i16x8_extend_low_i8x16(bytes);
    v[1] = wasm_i16x8_extend_high_i8x16(bytes);
}

/* Nibbles of 16 bytes: the low ones are columns 0 to 15, the high ones 16 to 31. */
WASM_INLINE void wasm_nibbles(v128_t q[4], const uint8_t *qs)
{
    v128_t a = wasm_u16x8_load8x8(qs), b = wasm_u16x8_load8x8(qs + 8);
    q[0] = wasm_v128_and(a, wasm_i16x8_const_splat(15));
    q[1] = wasm_v128_and(b, wasm_i16x8_const_splat(15));
    q[2] = wasm_u16x8_shr(a, 4);
    q[3] = wasm_u16x8_shr(b, 4);
}

/* Bit e of the word is the fifth of column e. */
WASM_INLINE void wasm_fifth_bits(v128_t q[4], const uint8_t *qh)
{
    const v128_t bits = wasm_i16x8_const(1, 2, 4, 8, 16, 32, 64, 128);
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v128_t set = wasm_v128_and(wasm_i16x8_splat(qh[j]), bits);
        set = wasm_v128_and(wasm_i16x8_eq(set, bits), wasm_i16x8_const_splat(16));
        q[j] = wasm_v128_or(q[j], set);
    }
}

WASM_INLINE void wasm_group_q8_0(v128_t q[4], const uint8_t *block)
{
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        q[j] = wasm_i16x8_load8x8(block + 2 + 8 * j);
    }
}

WASM_INLINE void wasm_group_q4_0(v128_t q[4], const uint8_t *block)
{
    wasm_nibbles(q, block + 2);
}

WASM_INLINE void wasm_group_q4_1(v128_t q[4], const uint8_t *block)
{
    wasm_nibbles(q, block + 4);
}

WASM_INLINE void wasm_group_q5_0(v128_t q[4], const uint8_t *block)
{
    wasm_nibbles(q, block + 6);
    wasm_fifth_bits(q, block + 2);
}

WASM_INLINE void wasm_group_q5_1(v128_t q[4], const uint8_t *block)
{
    wasm_nibbles(q, block + 8);
    wasm_fifth_bits(q, block + 4);
}

WASM_INLINE void wasm_look_up(v128_t q[4], const uint8_t *qs, const int8_t levels[16])
{
    v128_t v = wasm_v128_load(qs), table = wasm_v128_load(levels);
    v128_t low = wasm_v128_and(v, wasm_i8x16_const_splat(15));
    wasm_widen_i8(q, wasm_i8x16_swizzle(table, low));
    wasm_widen_i8(q + 2, wasm_i8x16_swizzle(table, wasm_u8x16_shr(v, 4)));
}

WASM_INLINE void wasm_group_iq4_nl(v128_t q[4], const uint8_t *block)
{
    wasm_look_up(q, block + 2, ref_iq4_levels);
}

/* Of super-blocks: group u * (groups unrolled) + i, where i is a constant once the loop is gone. */

WASM_INLINE void wasm_group_q4_k(v128_t q[4], const uint8_t *block, int32_t u, int32_t i)
{
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v128_t v = wasm_u16x8_load8x8(block + 16 + 32 * u + 8 * j);
        q[j] = i == 0 ? wasm_v128_and(v, wasm_i16x8_const_splat(15)) : wasm_u16x8_shr(v, 4);
    }
}

WASM_INLINE void wasm_group_q5_k(v128_t q[4], const uint8_t *block, int32_t u, int32_t i)
{
    wasm_group_q4_k(q, block + 32, u, i);
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v128_t v = wasm_u16x8_load8x8(block + 16 + 8 * j);
        v = wasm_i16x8_shl(wasm_u16x8_shr(v, (uint32_t)(2 * u + i)), 4);
        q[j] = wasm_v128_or(q[j], wasm_v128_and(v, wasm_i16x8_const_splat(16)));
    }
}

WASM_INLINE void wasm_group_q6_k(v128_t q[4], const uint8_t *block, int32_t u, int32_t i)
{
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v128_t v = wasm_u16x8_load8x8(block + 64 * u + 32 * (i % 2) + 8 * j);
        v128_t high = wasm_u16x8_load8x8(block + 128 + 32 * u + 8 * j);
        v = i < 2 ? wasm_v128_and(v, wasm_i16x8_const_splat(15)) : wasm_u16x8_shr(v, 4);
        high = i < 2 ? wasm_i16x8_shl(high, (uint32_t)(4 - 2 * i))
                     : wasm_u16x8_shr(high, (uint32_t)(2 * i - 4));
        q[j] = wasm_v128_or(v, wasm_v128_and(high, wasm_i16x8_const_splat(48)));
    }
}

/* Each of eight scales, or minimums, twice. */
WASM_INLINE void wasm_store_twice(int16_t to[16], v128_t bytes)
{
    wasm_v128_store(to, wasm_u16x8_extend_low_u8x16(wasm_i8x16_shuffle(
                            bytes, bytes, 0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0)));
    wasm_v128_store(to + 8, wasm_u16x8_extend_low_u8x16(wasm_i8x16_shuffle(
                                bytes, bytes, 4, 4, 5, 5, 6, 6, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0)));
}

/* As ref_scales_6_bits, four numbers in a word. */
WASM_INLINE void wasm_scales_q4_k(struct wasm_scales *s, const uint8_t *block)
{
    const uint32_t six = 0x3f3f3f3fu, four = 0x0f0f0f0fu, two = 0x03030303u;
    uint32_t a = load_u32(block + 4), b = load_u32(block + 8), c = load_u32(block + 12);
    uint64_t scale = (uint64_t)((c & four) | (a >> 6 & two) << 4) << 32 | (a & six);
    uint64_t min = (uint64_t)((c >> 4 & four) | (b >> 6 & two) << 4) << 32 | (b & six);
    wasm_store_twice(s->scale, wasm_i64x2_splat((int64_t)scale));
    wasm_store_twice(s->min, wasm_i64x2_splat((int64_t)min));
}

WASM_INLINE void wasm_scales_q5_k(struct wasm_scales *s, const uint8_t *block)
{
    wasm_scales_q4_k(s, block);
}

WASM_INLINE void wasm_scales_q6_k(struct wasm_scales *s, const uint8_t *block)
{
    wasm_v128_store(s->scale, wasm_i16x8_load8x8(block + 192));
    wasm_v128_store(s->scale + 8, wasm_i16x8_load8x8(block + 200));
}

/* ---- Sums ------------------------------------------------------------------------------------ */

/* Lane r: the sum of v[r]. */
WASM_INLINE v128_t wasm_add_lanes(const v128_t v[WASM_ROWS])
{
    v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(v[0], v[1], 0, 4, 1, 5),
                               wasm_i32x4_shuffle(v[0], v[1], 2, 6, 3, 7));
    v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(v[2], v[3], 0, 4, 1, 5),
                               wasm_i32x4_shuffle(v[2], v[3], 2, 6, 3, 7));
    return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5),
                          wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

WASM_INLINE v128_t wasm_dot_32(const v128_t q[4], const v128_t x[4])
{
    return wasm_i32x4_add(
        wasm_i32x4_add(wasm_i32x4_dot_i16x8(q[0], x[0]), wasm_i32x4_dot_i16x8(q[1], x[1])),
        wasm_i32x4_add(wasm_i32x4_dot_i16x8(q[2], x[2]), wasm_i32x4_dot_i16x8(q[3], x[3])));
}

WASM_INLINE v128_t wasm_dot_16(const int16_t *a, const int16_t *b)
{
    return wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_v128_load(a), wasm_v128_load(b)),
                          wasm_i32x4_dot_i16x8(wasm_v128_load(a + 8), wasm_v128_load(b + 8)));
}

WASM_INLINE void wasm_load_32(v128_t x[4], const int8_t *q)
{
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        x[j] = wasm_i16x8_load8x8(q + 8 * j);
    }
}

WASM_INLINE v128_t wasm_sum_32(const v128_t x[4])
{
    return wasm_i32x4_extadd_pairwise_i16x8(
        wasm_i16x8_add(wasm_i16x8_add(x[0], x[1]), wasm_i16x8_add(x[2], x[3])));
}

/* sum + (d * dx) * integers [+ m * sx], as ref_dot_q8_0 and ref_dot_q8_0_min. */
WASM_INLINE v128_t wasm_add_block(v128_t sum, v128_t integers, v128_t d, float dx, v128_t m,
                                  float sx, int32_t has_m)
{
    v128_t term =
        wasm_f32x4_mul(wasm_f32x4_mul(d, wasm_f32x4_splat(dx)), wasm_f32x4_convert_i32x4(integers));
    if (has_m) {
        term = wasm_f32x4_add(term, wasm_f32x4_mul(m, wasm_f32x4_splat(sx)));
    }
    return wasm_f32x4_add(sum, term);
}

/* sum + ((d * dx) * products - (dmin * dx) * minima), as ref_dot_q8_k. */
WASM_INLINE v128_t wasm_add_super(v128_t sum, v128_t products, v128_t minima, v128_t d, v128_t m,
                                  float dx, int32_t has_m)
{
    v128_t factor = wasm_f32x4_splat(dx);
    v128_t term = wasm_f32x4_mul(wasm_f32x4_mul(d, factor), wasm_f32x4_convert_i32x4(products));
    if (has_m) {
        term = wasm_f32x4_sub(
            term, wasm_f32x4_mul(wasm_f32x4_mul(m, factor), wasm_f32x4_convert_i32x4(minima)));
    }
    return wasm_f32x4_add(sum, term);
}

/* ---- One token, straight from the blocks ----------------------------------------------------- */

typedef void (*wasm_group)(v128_t q[4], const uint8_t *block);
typedef void (*wasm_super_group)(v128_t q[4], const uint8_t *block, int32_t u, int32_t i);
typedef void (*wasm_super_scales)(struct wasm_scales *s, const uint8_t *block);

WASM_INLINE void wasm_one_blocks(float acc[WASM_ROWS], const uint8_t *const p[WASM_ROWS],
                                 const uint8_t *act, int64_t at, int32_t n, int64_t k,
                                 wasm_group group, int32_t bytes, int32_t offset, int32_t has_m)
{
    struct act_q8_0_planes row = act_q8_0_at((void *)(uintptr_t)act, k);
    v128_t sum = wasm_v128_load(acc), m = sum;
    for (int32_t g = 0; g < n / 32; g++) {
        size_t from = (size_t)(g * bytes);
        int64_t block = at / 32 + g;
        v128_t x[4], v[WASM_ROWS], shift = sum;
        wasm_load_32(x, row.q + 32 * block);
        if (offset != 0) {
            shift = wasm_i32x4_mul(wasm_sum_32(x), wasm_i32x4_splat(offset));
        }
        SLM_UNROLL
        for (int32_t r = 0; r < WASM_ROWS; r++) {
            v128_t q[4];
            group(q, p[r] + from);
            v[r] = wasm_dot_32(q, x);
            v[r] = offset != 0 ? wasm_i32x4_sub(v[r], shift) : v[r];
        }
        m = has_m ? wasm_halves(p, from + 2) : m;
        sum = wasm_add_block(sum, wasm_add_lanes(v), wasm_halves(p, from), row.d[block], m,
                             row.s[block], has_m);
    }
    wasm_v128_store(acc, sum);
}

/* 256 columns: q - offset, whose second part is taken from the sums of 16. */
WASM_INLINE void wasm_one_super(float acc[WASM_ROWS], const uint8_t *const p[WASM_ROWS],
                                const uint8_t *act, int64_t at, int64_t k, wasm_super_group group,
                                wasm_super_scales scales, int32_t unrolled, int32_t offset,
                                size_t d_at, int32_t has_m)
{
    struct act_q8_k_planes row = act_q8_k_at((void *)(uintptr_t)act, k);
    const int16_t *bsums = row.bsums + at / 16;
    struct wasm_scales s[WASM_ROWS];
    v128_t v[WASM_ROWS], low[WASM_ROWS];
    SLM_UNROLL
    for (int32_t r = 0; r < WASM_ROWS; r++) {
        scales(&s[r], p[r]);
        v[r] = wasm_i32x4_const_splat(0);
        low[r] = has_m ? wasm_dot_16(s[r].min, bsums) : v[r];
        if (offset != 0) {
            v[r] = wasm_i32x4_mul(wasm_dot_16(s[r].scale, bsums), wasm_i32x4_splat(-offset));
        }
    }
    for (int32_t u = 0; u < 8 / unrolled; u++) {
        SLM_UNROLL
        for (int32_t i = 0; i < unrolled; i++) {
            int32_t g = u * unrolled + i;
            v128_t x[4];
            wasm_load_32(x, row.q + at + 32 * g);
            SLM_UNROLL
            for (int32_t r = 0; r < WASM_ROWS; r++) {
                v128_t q[4], first = wasm_v128_load16_splat(&s[r].scale[2 * g]);
                v128_t second = wasm_v128_load16_splat(&s[r].scale[2 * g + 1]);
                group(q, p[r], u, i);
                q[0] = wasm_i16x8_mul(q[0], first);
                q[1] = wasm_i16x8_mul(q[1], first);
                q[2] = wasm_i16x8_mul(q[2], second);
                q[3] = wasm_i16x8_mul(q[3], second);
                v[r] = wasm_i32x4_add(v[r], wasm_dot_32(q, x));
            }
        }
    }
    v128_t d = wasm_halves(p, d_at), m = has_m ? wasm_halves(p, d_at + 2) : d;
    wasm_v128_store(acc,
                    wasm_add_super(wasm_v128_load(acc), wasm_add_lanes(v),
                                   has_m ? wasm_add_lanes(low) : d, d, m, row.d[at / 256], has_m));
}

/* ---- Panels ---------------------------------------------------------------------------------- */

WASM_INLINE void wasm_store_group(int16_t *to, const v128_t q[4], int32_t offset)
{
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        wasm_v128_store(to + 8 * j, wasm_i16x8_sub(q[j], wasm_i16x8_splat((int16_t)offset)));
    }
}

WASM_INLINE void wasm_unpack_blocks(struct wasm_panel *panel, const uint8_t *const p[WASM_ROWS],
                                    int32_t n, wasm_group group, int32_t bytes, int32_t offset,
                                    int32_t has_m)
{
    for (int32_t g = 0; g < n / 32; g++) {
        size_t from = (size_t)(g * bytes);
        for (int32_t r = 0; r < WASM_ROWS; r++) {
            v128_t q[4];
            group(q, p[r] + from);
            wasm_store_group(panel->q[r] + 32 * g, q, offset);
        }
        wasm_v128_store(panel->d[g], wasm_halves(p, from));
        if (has_m) {
            wasm_v128_store(panel->m[g], wasm_halves(p, from + 2));
        }
    }
}

/* Any type, through the reference's integers. Of blocks, scales are 1: each 32 columns have d. */
WASM_INLINE void wasm_unpack_any(struct wasm_panel *panel, const uint8_t *const p[WASM_ROWS],
                                 int32_t n, const struct ref_type *type, int32_t super)
{
    struct ref_block b;
    for (int32_t r = 0; r < WASM_ROWS; r++) {
        const uint8_t *src = p[r];
        for (int32_t e = 0; e < n; e += type->elements, src += type->bytes) {
            type->expand(&b, src);
            for (int32_t i = 0; i < type->elements; i++) {
                panel->q[r][e + i] = (int16_t)(b.q[i] * b.scale[i / 16]);
            }
            for (int32_t i = 0; i < type->elements / 32; i++) {
                panel->d[e / 32 + i][r] = b.d;
            }
            for (int32_t s = 0; super && s < 16; s++) {
                panel->min[r][s] = (int16_t)b.min[s];
            }
            panel->m[e / 32][r] = b.dmin;
        }
    }
}

#define WASM_TILE 2 /* tokens that go through a panel together */

/* acc[t][r] += the panel's n columns from column `at` on with n_token tokens, 1 or WASM_TILE. */
WASM_INLINE void wasm_tile_blocks(float *acc, const struct wasm_panel *panel, const uint8_t *act,
                                  size_t act_bytes, int64_t at, int32_t n, int64_t k,
                                  int32_t n_token, int32_t has_m)
{
    struct act_q8_0_planes row[WASM_TILE];
    v128_t sum[WASM_TILE];
    SLM_UNROLL
    for (int32_t t = 0; t < n_token; t++) {
        row[t] = act_q8_0_at((void *)(uintptr_t)(act + (size_t)t * act_bytes), k);
        sum[t] = wasm_v128_load(acc + t * WASM_ROWS);
    }
    for (int32_t g = 0; g < n / 32; g++) {
        int64_t block = at / 32 + g;
        v128_t v[WASM_TILE][WASM_ROWS];
        SLM_UNROLL
        for (int32_t t = 0; t < n_token; t++) {
            v[t][0] = v[t][1] = v[t][2] = v[t][3] = wasm_i32x4_const_splat(0);
        }
        SLM_UNROLL
        for (int32_t j = 0; j < 32; j += 8) {
            v128_t q[WASM_ROWS];
            SLM_UNROLL
            for (int32_t r = 0; r < WASM_ROWS; r++) {
                q[r] = wasm_v128_load(panel->q[r] + 32 * g + j);
            }
            SLM_UNROLL
            for (int32_t t = 0; t < n_token; t++) {
                v128_t x = wasm_i16x8_load8x8(row[t].q + 32 * block + j);
                SLM_UNROLL
                for (int32_t r = 0; r < WASM_ROWS; r++) {
                    v[t][r] = wasm_i32x4_add(v[t][r], wasm_i32x4_dot_i16x8(q[r], x));
                }
            }
        }
        SLM_UNROLL
        for (int32_t t = 0; t < n_token; t++) {
            sum[t] = wasm_add_block(sum[t], wasm_add_lanes(v[t]), wasm_v128_load(panel->d[g]),
                                    row[t].d[block], wasm_v128_load(panel->m[g]), row[t].s[block],
                                    has_m);
        }
    }
    SLM_UNROLL
    for (int32_t t = 0; t < n_token; t++) {
        wasm_v128_store(acc + t * WASM_ROWS, sum[t]);
    }
}

WASM_INLINE void wasm_tile_super(float *acc, const struct wasm_panel *panel, const uint8_t *act,
                                 size_t act_bytes, int64_t at, int64_t k, int32_t n_token,
                                 int32_t has_m)
{
    struct act_q8_k_planes row[WASM_TILE];
    v128_t v[WASM_TILE][WASM_ROWS];
    SLM_UNROLL
    for (int32_t t = 0; t < n_token; t++) {
        row[t] = act_q8_k_at((void *)(uintptr_t)(act + (size_t)t * act_bytes), k);
        v[t][0] = v[t][1] = v[t][2] = v[t][3] = wasm_i32x4_const_splat(0);
    }
    for (int32_t e = 0; e < WASM_COLUMNS; e += 8) {
        v128_t q[WASM_ROWS];
        SLM_UNROLL
        for (int32_t r = 0; r < WASM_ROWS; r++) {
            q[r] = wasm_v128_load(panel->q[r] + e);
        }
        SLM_UNROLL
        for (int32_t t = 0; t < n_token; t++) {
            v128_t x = wasm_i16x8_load8x8(row[t].q + at + e);
            SLM_UNROLL
            for (int32_t r = 0; r < WASM_ROWS; r++) {
                v[t][r] = wasm_i32x4_add(v[t][r], wasm_i32x4_dot_i16x8(q[r], x));
            }
        }
    }
    v128_t d = wasm_v128_load(panel->d[0]), m = wasm_v128_load(panel->m[0]);
    SLM_UNROLL
    for (int32_t t = 0; t < n_token; t++) {
        v128_t low[WASM_ROWS];
        SLM_UNROLL
        for (int32_t r = 0; r < WASM_ROWS; r++) {
            low[r] = has_m ? wasm_dot_16(panel->min[r], row[t].bsums + at / 16) : v[t][r];
        }
        float *to = acc + t * WASM_ROWS;
        wasm_v128_store(to, wasm_add_super(wasm_v128_load(to), wasm_add_lanes(v[t]),
                                           has_m ? wasm_add_lanes(low) : d, d, m,
                                           row[t].d[at / 256], has_m));
    }
}

/* One function for each shape, so that counts are constants inside. */
#define WASM_TILE_OF(name, n_token, call)                                                          \
    static SLM_NOINLINE void name(float *acc, const struct wasm_panel *panel, const uint8_t *act,  \
                                  size_t act_bytes, int64_t at, int32_t n, int64_t k)              \
    {                                                                                              \
        (void)n;                                                                                   \
        call;                                                                                      \
    }
#define WASM_TILES_OF(name, n_token)                                                               \
    WASM_TILE_OF(name##_block, n_token,                                                            \
                 wasm_tile_blocks(acc, panel, act, act_bytes, at, n, k, n_token, 0))               \
    WASM_TILE_OF(name##_block_m, n_token,                                                          \
                 wasm_tile_blocks(acc, panel, act, act_bytes, at, n, k, n_token, 1))               \
    WASM_TILE_OF(name##_super, n_token,                                                            \
                 wasm_tile_super(acc, panel, act, act_bytes, at, k, n_token, 0))                   \
    WASM_TILE_OF(name##_super_m, n_token,                                                          \
                 wasm_tile_super(acc, panel, act, act_bytes, at, k, n_token, 1))
WASM_TILES_OF(wasm_tile_1, 1)
WASM_TILES_OF(wasm_tile_2, WASM_TILE)

typedef void (*wasm_tile)(float *acc, const struct wasm_panel *panel, const uint8_t *act,
                          size_t act_bytes, int64_t at, int32_t n, int64_t k);

/* [more tokens than one][super, has_m] */
static const wasm_tile wasm_tiles[2][4] = {
    {wasm_tile_1_block, wasm_tile_1_block_m, wasm_tile_1_super, wasm_tile_1_super_m},
    {wasm_tile_2_block, wasm_tile_2_block_m, wasm_tile_2_super, wasm_tile_2_super_m}};

/* ---- Products of integers -------------------------------------------------------------------- */

/* p <- four rows from `row` on, as far as there are n_row of them. */
static void wasm_take_rows(const uint8_t *p[WASM_ROWS], const uint8_t *w, size_t row_bytes,
                           int64_t row, int64_t spacing, int64_t n_row)
{
    for (int64_t r = 0; r < WASM_ROWS; r++) {
        p[r] = w + (size_t)(row + min_i64(r, n_row - 1) * spacing) * row_bytes;
    }
}

/* The rows that go together are far apart: memory likes few long streams. Lane r reads the rows of a
 * quarter of the call one after the other; what is left over comes last. */
static void wasm_multiply_one(const struct wasm_format *f, float *y, const uint8_t *w, int64_t row0,
                              int64_t row1, const uint8_t *act, int64_t k)
{
    size_t row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    int64_t step = f->super ? WASM_COLUMNS : k, each = (row1 - row0) / WASM_ROWS;
    for (int64_t turn = 0; row0 + turn * WASM_ROWS < row1; turn++) {
        float acc[WASM_ROWS] = {0, 0, 0, 0};
        int64_t row = turn < each ? row0 + turn : row0 + each * WASM_ROWS;
        int64_t spacing = turn < each ? each : 1;
        int64_t n_row = min_i64(WASM_ROWS, row1 - row0 - turn * WASM_ROWS);
        const uint8_t *p[WASM_ROWS];
        wasm_take_rows(p, w, row_bytes, row, spacing, n_row);
        for (int64_t at = 0; at < k; at += step) {
            f->one(acc, p, act, at, (int32_t)step, k);
            for (int32_t r = 0; r < WASM_ROWS; r++) {
                p[r] += f->block_bytes;
            }
        }
        for (int64_t r = 0; r < n_row; r++) {
            y[row + r * spacing] = acc[r];
        }
    }
}

static void wasm_multiply_many(const struct wasm_format *f, float *y, int64_t y_stride,
                               const uint8_t *w, int64_t row0, int64_t row1, const uint8_t *act,
                               int64_t n_token, int64_t k, struct wasm_panel *panel)
{
    float *acc = (float *)(void *)((uint8_t *)panel + act_pad(sizeof *panel));
    size_t act_bytes = f->act->row_bytes(k);
    size_t row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    for (int64_t row = row0; row < row1; row += WASM_ROWS) {
        int64_t n_row = min_i64(WASM_ROWS, row1 - row);
        const uint8_t *p[WASM_ROWS];
        wasm_take_rows(p, w, row_bytes, row, 1, n_row);
        memset(acc, 0, (size_t)(n_token * WASM_ROWS) * sizeof(float));
        for (int64_t at = 0; at < k; at += WASM_COLUMNS) {
            int32_t n = (int32_t)min_i64(WASM_COLUMNS, k - at);
            f->unpack(panel, p, n);
            for (int64_t t = 0, many; t < n_token; t += many ? WASM_TILE : 1) {
                many = t + WASM_TILE <= n_token;
                wasm_tiles[many][2 * f->super + f->has_m](
                    acc + t * WASM_ROWS, panel, act + (size_t)t * act_bytes, act_bytes, at, n, k);
            }
            for (int32_t r = 0; r < WASM_ROWS; r++) {
                p[r] += (size_t)(n / f->block_elements) * (size_t)f->block_bytes;
            }
        }
        for (int64_t t = 0; t < n_token; t++) {
            memcpy(y + t * y_stride + row, acc + t * WASM_ROWS, (size_t)n_row * sizeof(float));
        }
    }
}

static SLM_NOINLINE void wasm_multiply(const struct wasm_format *f, float *y, int64_t y_stride,
                                       const uint8_t *w, int64_t row0, int64_t row1,
                                       const void *act_rows, int64_t n_token, int64_t k,
                                       void *scratch)
{
    const uint8_t *act = (const uint8_t *)act_rows;
    if (f->one == NULL || n_token >= WASM_FEW) {
        wasm_multiply_many(f, y, y_stride, w, row0, row1, act, n_token, k,
                           (struct wasm_panel *)scratch);
        return;
    }
    for (int64_t t = 0; t < n_token; t++) {
        wasm_multiply_one(f, y + t * y_stride, w, row0, row1,
                          act + (size_t)t * f->act->row_bytes(k), k);
    }
}

static size_t wasm_scratch_bytes(int64_t n_token, int64_t k)
{
    (void)k;
    return act_pad(sizeof(struct wasm_panel)) + (size_t)n_token * WASM_ROWS * sizeof(float);
}

/* ---- Activations ----------------------------------------------------------------------------- */

/* The largest magnitude of n floats, a multiple of 8, as bits. */
WASM_INLINE uint32_t wasm_largest(const float *x, int32_t n)
{
    const v128_t magnitude = wasm_i32x4_const_splat(0x7fffffff);
    v128_t a = wasm_i32x4_const_splat(0), b = a;
    for (int32_t i = 0; i < n; i += 8) {
        a = wasm_i32x4_max(a, wasm_v128_and(wasm_v128_load(x + i), magnitude));
        b = wasm_i32x4_max(b, wasm_v128_and(wasm_v128_load(x + i + 4), magnitude));
    }
    a = wasm_i32x4_max(a, b);
    a = wasm_i32x4_max(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    a = wasm_i32x4_max(a, wasm_i32x4_shuffle(a, a, 1, 0, 3, 2));
    return (uint32_t)wasm_i32x4_extract_lane(a, 0);
}

/* q <- 16 floats times `factor`, to the nearest, at most 127; gives their sum. */
WASM_INLINE int32_t wasm_quantize_16(int8_t *q, const float *x, float factor)
{
    v128_t v[4], f = wasm_f32x4_splat(factor);
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v[j] = wasm_i32x4_trunc_sat_f32x4(
            wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(x + 4 * j), f)));
    }
    v128_t bytes = wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(v[0], v[1]),
                                           wasm_i16x8_narrow_i32x4(v[2], v[3]));
    wasm_v128_store(q, bytes);
    v128_t sum = wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_extadd_pairwise_i8x16(bytes));
    sum = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 0, 1));
    sum = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 1, 0, 3, 2));
    return wasm_i32x4_extract_lane(sum, 0);
}

static void wasm_prepare_q8_0(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        struct act_q8_0_planes to =
            act_q8_0_at((uint8_t *)act + (size_t)t * ref_act_q8_0_bytes(k), k);
        for (int64_t i = 0; i < k / 32; i++) {
            const float *from = x + t * k + 32 * i;
            uint32_t largest = wasm_largest(from, 32);
            if (largest >= REF_INFINITY_BITS || largest < REF_TINY_BITS) {
                ref_quantize_q8_0(to.q + 32 * i, to.d + i, to.s + i, from);
                continue;
            }
            float scale = bits_to_f32(largest) / 127.0f, inverse = 127.0f / bits_to_f32(largest);
            int32_t sum = wasm_quantize_16(to.q + 32 * i, from, inverse) +
                          wasm_quantize_16(to.q + 32 * i + 16, from + 16, inverse);
            to.d[i] = f16_to_f32(f32_to_f16(scale));
            to.s[i] = f16_to_f32(f32_to_f16(scale * (float)sum));
        }
    }
}

static void wasm_quantize_q8_k(int8_t *q, float *d, int16_t *bsums, const float *x)
{
    uint32_t largest = wasm_largest(x, 256);
    if (largest >= REF_INFINITY_BITS || largest < REF_TINY_BITS) {
        ref_quantize_q8_k(q, d, bsums, x);
        return;
    }
    int32_t at = 0;
    while ((f32_to_bits(x[at]) & 0x7fffffff) != largest) {
        at++;
    }
    float inverse = -127.0f / x[at];
    for (int32_t i = 0; i < 16; i++) {
        bsums[i] = (int16_t)wasm_quantize_16(q + 16 * i, x + 16 * i, inverse);
    }
    *d = 1.0f / inverse;
}

static void wasm_prepare_q8_k(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        struct act_q8_k_planes to =
            act_q8_k_at((uint8_t *)act + (size_t)t * ref_act_q8_k_bytes(k), k);
        for (int64_t i = 0; i < k / 256; i++) {
            wasm_quantize_q8_k(to.q + 256 * i, to.d + i, to.bsums + 16 * i, x + t * k + 256 * i);
        }
    }
}

static const struct kernel_act wasm_act_q8_0 = {"q8_0", 1, ref_act_q8_0_bytes, wasm_prepare_q8_0};
static const struct kernel_act wasm_act_q8_k = {"q8_k", 1, ref_act_q8_k_bytes, wasm_prepare_q8_k};

/* ---- The types of integers ------------------------------------------------------------------- */

/* X(id, type, has_m, offset): blocks of 32 columns, d first, then m */
#define WASM_BLOCK_TYPES(X)                                                                        \
    X(Q8_0, q8_0, 0, 0)                                                                            \
    X(Q4_0, q4_0, 0, 8)                                                                            \
    X(Q4_1, q4_1, 1, 0)                                                                            \
    X(Q5_0, q5_0, 0, 16)                                                                           \
    X(Q5_1, q5_1, 1, 0)                                                                            \
    X(IQ4_NL, iq4_nl, 0, 0)

/* X(id, type, has_m, offset, groups unrolled): d at `d`, behind it dmin */
#define WASM_SUPER_TYPES(X)                                                                        \
    X(Q4_K, q4_k, 1, 0, 2)                                                                         \
    X(Q5_K, q5_k, 1, 0, 2)                                                                         \
    X(Q6_K, q6_k, 0, 32, 4)

/* X(id, type, elements, activations, super, has_m): those without a group */
#define WASM_OTHER_TYPES(X)                                                                        \
    X(MXFP4, mxfp4, 32, q8_0, 0, 0)                                                                \
    X(Q1_0, q1_0, 128, q8_0, 0, 0)                                                                 \
    X(Q2_0, q2_0, 64, q8_0, 0, 0)                                                                  \
    X(Q2_K, q2_k, 256, q8_k, 1, 1)                                                                 \
    X(Q3_K, q3_k, 256, q8_k, 1, 0)                                                                 \
    X(IQ4_XS, iq4_xs, 256, q8_k, 1, 0)                                                             \
    X(IQ1_S, iq1_s, 256, q8_k, 1, 0)                                                               \
    X(IQ1_M, iq1_m, 256, q8_k, 1, 0)                                                               \
    X(IQ2_XXS, iq2_xxs, 256, q8_k, 1, 0)                                                           \
    X(IQ2_XS, iq2_xs, 256, q8_k, 1, 0)                                                             \
    X(IQ2_S, iq2_s, 256, q8_k, 1, 0)                                                               \
    X(IQ3_XXS, iq3_xxs, 256, q8_k, 1, 0)                                                           \
    X(IQ3_S, iq3_s, 256, q8_k, 1, 0)                                                               \
    X(TQ1_0, tq1_0, 256, q8_k, 1, 0)                                                               \
    X(TQ2_0, tq2_0, 256, q8_k, 1, 0)

#define WASM_UNPACK(type, call)                                                                    \
    static void wasm_unpack_##type(struct wasm_panel *panel, const uint8_t *const p[WASM_ROWS],    \
                                   int32_t n)                                                      \
    {                                                                                              \
        call;                                                                                      \
    }
#define WASM_ONE(type, call)                                                                       \
    static void wasm_one_##type(float acc[WASM_ROWS], const uint8_t *const p[WASM_ROWS],           \
                                const uint8_t *act, int64_t at, int32_t n, int64_t k)              \
    {                                                                                              \
        (void)n;                                                                                   \
        call;                                                                                      \
    }
/* struct kernel_product has no room for the format: each type gets its own entry point. */
#define WASM_FORMAT(type, form, elements, super, has_m, one)                                       \
    static const struct wasm_format wasm_format_##type = {                                         \
        &act_##form,        elements, (int32_t)sizeof(struct block_##type), super, has_m,          \
        wasm_unpack_##type, one};                                                                  \
    static void wasm_mul_##type(float *y, int64_t y_stride, const uint8_t *w, int64_t row0,        \
                                int64_t row1, const void *act, int64_t n_token, int64_t k,         \
                                void *scratch)                                                     \
    {                                                                                              \
        wasm_multiply(&wasm_format_##type, y, y_stride, w, row0, row1, act, n_token, k, scratch);  \
    }                                                                                              \
    static const struct kernel_product wasm_product_##type = {                                     \
        &wasm_act_##form, wasm_scratch_bytes, wasm_mul_##type};

#define WASM_BLOCK(id, type, has_m, offset)                                                        \
    WASM_UNPACK(type, wasm_unpack_blocks(panel, p, n, wasm_group_##type,                           \
                                         (int32_t)sizeof(struct block_##type), offset, has_m))     \
    WASM_ONE(type, wasm_one_blocks(acc, p, act, at, n, k, wasm_group_##type,                       \
                                   (int32_t)sizeof(struct block_##type), offset, has_m))           \
    WASM_FORMAT(type, q8_0, 32, 0, has_m, wasm_one_##type)
#define WASM_SUPER(id, type, has_m, offset, unrolled)                                              \
    WASM_UNPACK(type, wasm_unpack_any(panel, p, n, &ref_type_##type, 1))                           \
    WASM_ONE(type, wasm_one_super(acc, p, act, at, k, wasm_group_##type, wasm_scales_##type,       \
                                  unrolled, offset, offsetof(struct block_##type, d), has_m))      \
    WASM_FORMAT(type, q8_k, 256, 1, has_m, wasm_one_##type)
#define WASM_OTHER(id, type, elements, form, super, has_m)                                         \
    WASM_UNPACK(type, wasm_unpack_any(panel, p, n, &ref_type_##type, super))                       \
    WASM_FORMAT(type, form, elements, super, has_m, NULL)
WASM_BLOCK_TYPES(WASM_BLOCK)
WASM_SUPER_TYPES(WASM_SUPER)
WASM_OTHER_TYPES(WASM_OTHER)

/* ---- Products of floats ---------------------------------------------------------------------- */

/* The sum of eight lanes, 0..3 in a and 4..7 in b, as ref_dot_f32 adds them. */
WASM_INLINE float wasm_add_eight(v128_t a, v128_t b)
{
    v128_t v = wasm_f32x4_add(a, b);
    v = wasm_f32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1);
}

/* As ref_dot_f32, bit for bit. */
static float wasm_dot_f32(const float *x, const float *y, int64_t n)
{
    v128_t a = wasm_f32x4_const_splat(0), b = a;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        a = wasm_f32x4_add(a, wasm_f32x4_mul(wasm_v128_load(x + i), wasm_v128_load(y + i)));
        b = wasm_f32x4_add(b, wasm_f32x4_mul(wasm_v128_load(x + i + 4), wasm_v128_load(y + i + 4)));
    }
    if (i < n) {
        float lane[8];
        wasm_v128_store(lane, a);
        wasm_v128_store(lane + 4, b);
        for (int32_t j = 0; i + j < n; j++) {
            lane[j] += x[i + j] * y[i + j];
        }
        a = wasm_v128_load(lane);
        b = wasm_v128_load(lane + 4);
    }
    return wasm_add_eight(a, b);
}

typedef v128_t (*wasm_load_4)(const uint8_t *p);

WASM_INLINE void wasm_decode(float *y, const uint8_t *src, int64_t n, wasm_load_4 load,
                             size_t width, void (*rest)(float *y, const uint8_t *src, int64_t n))
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        wasm_v128_store(y + i, load(src + (size_t)i * width));
    }
    rest(y + i, src + (size_t)i * width, n - i);
}

static void wasm_decode_f32(float *y, const uint8_t *src, int64_t n)
{
    memcpy(y, src, (size_t)n * sizeof(float));
}

static void wasm_decode_f16(float *y, const uint8_t *src, int64_t n)
{
    wasm_decode(y, src, n, wasm_load_f16, 2, ref_decode_f16);
}

static void wasm_decode_bf16(float *y, const uint8_t *src, int64_t n)
{
    wasm_decode(y, src, n, wasm_load_bf16, 2, ref_decode_bf16);
}

typedef void (*wasm_decoder)(float *y, const uint8_t *src, int64_t n);

/* Stretches of 256 columns, decoded once for all tokens and added in order, as ref_multiply_f32. */
WASM_INLINE void wasm_multiply_f32(float *y, int64_t y_stride, const uint8_t *w, int64_t row0,
                                   int64_t row1, const void *act, int64_t n_token, int64_t k,
                                   float *values, wasm_decoder decode, int64_t width)
{
    size_t act_bytes = ref_act_f32_bytes(k);
    for (int64_t r = row0; r < row1; r++) {
        for (int64_t t = 0; t < n_token; t++) {
            y[t * y_stride + r] = 0;
        }
        for (int64_t i = 0; i < k; i += WASM_COLUMNS) {
            int64_t n = min_i64(WASM_COLUMNS, k - i);
            decode(values, w + (r * k + i) * width, n);
            for (int64_t t = 0; t < n_token; t++) {
                const uint8_t *x = (const uint8_t *)act + (size_t)t * act_bytes;
                y[t * y_stride + r] += wasm_dot_f32(values, (const float *)(const void *)x + i, n);
            }
        }
    }
}

static size_t wasm_float_scratch_bytes(int64_t n_token, int64_t k)
{
    (void)n_token;
    (void)k;
    return WASM_COLUMNS * sizeof(float);
}

#define WASM_PLAIN_TYPES(X) X(F32, f32, 4) X(F16, f16, 2) X(BF16, bf16, 2)
#define WASM_PLAIN(id, type, width)                                                                \
    static void wasm_mul_##type(float *y, int64_t y_stride, const uint8_t *w, int64_t row0,        \
                                int64_t row1, const void *act, int64_t n_token, int64_t k,         \
                                void *scratch)                                                     \
    {                                                                                              \
        wasm_multiply_f32(y, y_stride, w, row0, row1, act, n_token, k, (float *)scratch,           \
                          wasm_decode_##type, width);                                              \
    }                                                                                              \
    static const struct kernel_product wasm_product_##type = {&act_f32, wasm_float_scratch_bytes,  \
                                                              wasm_mul_##type};
WASM_PLAIN_TYPES(WASM_PLAIN)

/* ---- Exponential ----------------------------------------------------------------------------- */

/* math_exp_short, two at once. */
WASM_INLINE v128_t wasm_exp_short(v128_t x)
{
    const v128_t magic = wasm_f64x2_const_splat(6755399441055744.0); /* 1.5 * 2^52 */
    v128_t half =
        wasm_v128_or(wasm_v128_and(x, wasm_f64x2_const_splat(-0.0)), wasm_f64x2_const_splat(0.5));
    v128_t k = wasm_f64x2_trunc(
        wasm_f64x2_add(wasm_f64x2_mul(x, wasm_f64x2_const_splat(MATH_LOG2_E)), half));
    v128_t r = wasm_f64x2_sub(x, wasm_f64x2_mul(k, wasm_f64x2_const_splat(0x1.62e42fefa39efp-1)));
    v128_t r2 = wasm_f64x2_mul(r, r);
#define WASM_LINE(a, b)                                                                            \
    wasm_f64x2_add(wasm_f64x2_const_splat(a), wasm_f64x2_mul(wasm_f64x2_const_splat(b), r))
    v128_t low =
        wasm_f64x2_add(WASM_LINE(0.9999999999595618, 0.9999999999955090),
                       wasm_f64x2_mul(WASM_LINE(0.5000000107729166, 0.16666666786308587), r2));
    v128_t high = wasm_f64x2_add(
        WASM_LINE(0.041666218319291945, 0.008333283538708528),
        wasm_f64x2_mul(WASM_LINE(0.0013948578326459795, 0.00019907569310848288), r2));
#undef WASM_LINE
    v128_t power = wasm_i64x2_add(wasm_f64x2_add(k, magic), wasm_i64x2_const_splat(1023));
    return wasm_f64x2_mul(wasm_f64x2_add(low, wasm_f64x2_mul(high, wasm_f64x2_mul(r2, r2))),
                          wasm_i64x2_shl(power, 52));
}

/* math_expf, four at once, but for which NaN a NaN becomes. */
WASM_INLINE v128_t wasm_exp(v128_t x)
{
    const v128_t least = wasm_f32x4_const_splat(-104.0f);
    const v128_t most = wasm_f32x4_const_splat(0x1.62e42ep+6f);
    v128_t z = wasm_f32x4_min(wasm_f32x4_max(x, least), most);
    v128_t low = wasm_exp_short(wasm_f64x2_promote_low_f32x4(z));
    v128_t high =
        wasm_exp_short(wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(z, z, 2, 3, 0, 1)));
    v128_t y = wasm_i32x4_shuffle(wasm_f32x4_demote_f64x2_zero(low),
                                  wasm_f32x4_demote_f64x2_zero(high), 0, 1, 4, 5);
    y = wasm_v128_andnot(y, wasm_f32x4_lt(x, least));
    return wasm_v128_bitselect(wasm_i32x4_const_splat(0x7f800000), y, wasm_f32x4_gt(x, most));
}

/* ---- Attention ------------------------------------------------------------------------------- */

/* As ref_attention, piece by piece: a row of the page is decoded once for all queries. */

static void wasm_attention_scores(const struct kernel_attention_job *job, wasm_decoder decode,
                                  size_t width, const uint8_t *page, int32_t p0, int32_t p1,
                                  float *scores)
{
    float k[REF_ATTENTION_STRETCH];
    size_t row_bytes = (size_t)job->head_dim * width;
    for (int32_t p = p0; p < p1; p++) {
        const uint8_t *row = page + job->k_offset + (size_t)(p % KV_PAGE) * row_bytes;
        for (int32_t e = 0; e < job->head_dim; e += REF_ATTENTION_STRETCH) {
            int32_t n = min_i32(REF_ATTENTION_STRETCH, job->head_dim - e);
            decode(k, row + (size_t)e * width, n);
            for (int32_t i = 0; i < job->n_q; i++) {
                if (ref_sees(job, i, p)) {
                    float *score = scores + (int64_t)i * KV_PAGE + p % KV_PAGE;
                    float before = e == 0 ? 0 : *score;
                    *score = before + wasm_dot_f32(job->q + i * job->q_stride + e, k, n);
                }
            }
        }
    }
}

/* y = factor * y */
static void wasm_scale(float *y, float factor, int32_t n)
{
    v128_t f = wasm_f32x4_splat(factor);
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        wasm_v128_store(y + i, wasm_f32x4_mul(wasm_v128_load(y + i), f));
    }
    for (; i < n; i++) {
        y[i] *= factor;
    }
}

static float wasm_max(const float *s, int32_t n)
{
    v128_t best = wasm_f32x4_splat(s[0]);
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        best = wasm_f32x4_pmax(best, wasm_v128_load(s + i));
    }
    best = wasm_f32x4_pmax(best, wasm_i32x4_shuffle(best, best, 2, 3, 0, 1));
    best = wasm_f32x4_pmax(best, wasm_i32x4_shuffle(best, best, 1, 0, 3, 2));
    float max = wasm_f32x4_extract_lane(best, 0);
    for (; i < n; i++) {
        max = s[i] > max ? s[i] : max;
    }
    return max;
}

/* s = exp(s - max); gives sum + s[0] + s[1] + ..., in order */
static float wasm_exp_all(float *s, float max, int32_t n, float sum)
{
    v128_t from = wasm_f32x4_splat(max);
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        wasm_v128_store(s + i, wasm_exp(wasm_f32x4_sub(wasm_v128_load(s + i), from)));
    }
    for (; i < n; i++) {
        s[i] = math_expf(s[i] - max);
    }
    for (i = 0; i < n; i++) {
        sum += s[i];
    }
    return sum;
}

/* As ref_attention_weights. */
static void wasm_attention_weights(const struct kernel_attention_job *job, int32_t i, int32_t p0,
                                   int32_t p1, float *scores)
{
    int32_t first = max_i32(p0, job->from[i]), n = min_i32(p1, job->to[i]) - first;
    if (n <= 0) {
        return;
    }
    float *s = scores + (int64_t)i * KV_PAGE + first % KV_PAGE;
    ref_alibi(job, i, first, n, s);
    if (job->softcap != 0) {
        ref_softcap(s, n, job->softcap);
    }
    float max = wasm_max(s, n);
    if (max > job->max[i]) {
        float factor = math_expf(job->max[i] - max);
        job->sum[i] *= factor;
        wasm_scale(job->out + i * job->out_stride, factor, job->head_dim_v);
        job->max[i] = max;
    }
    job->sum[i] = wasm_exp_all(s, job->max[i], n, job->sum[i]);
}

/* y += factor * x, rounded after the product and after the sum */
static void wasm_add_scaled(float *y, const float *x, float factor, int64_t n)
{
    v128_t f = wasm_f32x4_splat(factor);
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        wasm_v128_store(
            y + i, wasm_f32x4_add(wasm_v128_load(y + i), wasm_f32x4_mul(f, wasm_v128_load(x + i))));
    }
    ref_add_scaled(y + i, x + i, factor, n - i);
}

static void wasm_attention_values(const struct kernel_attention_job *job, wasm_decoder decode,
                                  size_t width, const uint8_t *page, int32_t p0, int32_t p1,
                                  const float *weights)
{
    float v[REF_ATTENTION_STRETCH];
    size_t row_bytes = (size_t)job->head_dim_v * width;
    for (int32_t p = p0; p < p1; p++) {
        const uint8_t *row = page + job->v_offset + (size_t)(p % KV_PAGE) * row_bytes;
        for (int32_t e = 0; e < job->head_dim_v; e += REF_ATTENTION_STRETCH) {
            int32_t n = min_i32(REF_ATTENTION_STRETCH, job->head_dim_v - e);
            decode(v, row + (size_t)e * width, n);
            for (int32_t i = 0; i < job->n_q; i++) {
                if (ref_sees(job, i, p)) {
                    wasm_add_scaled(job->out + i * job->out_stride + e, v,
                                    weights[(int64_t)i * KV_PAGE + p % KV_PAGE], n);
                }
            }
        }
    }
}

WASM_INLINE void wasm_attention(const struct kernel_attention_job *job, float *scores,
                                wasm_decoder decode, size_t width)
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
        wasm_attention_scores(job, decode, width, page, p0, p1, scores);
        for (int32_t i = 0; i < job->n_q; i++) {
            wasm_attention_weights(job, i, p0, p1, scores);
        }
        wasm_attention_values(job, decode, width, page, p0, p1, scores);
    }
}

static void wasm_attention_f16(const struct kernel_attention_job *job, void *scratch)
{
    wasm_attention(job, (float *)scratch, wasm_decode_f16, 2);
}

static void wasm_attention_f32(const struct kernel_attention_job *job, void *scratch)
{
    wasm_attention(job, (float *)scratch, wasm_decode_f32, 4);
}

/* f32_to_f16, four at once, in lanes of 32 bits. Below 2^-14 the sum with 1/2 rounds to units of
 * 2^-24. */
WASM_INLINE v128_t wasm_narrow_f16(v128_t f)
{
    v128_t a = wasm_v128_and(f, wasm_i32x4_const_splat(0x7fffffff));
    v128_t sign = wasm_u32x4_shr(wasm_v128_xor(f, a), 16);
    v128_t shifted = wasm_i32x4_sub(a, wasm_i32x4_const_splat(112 << 23));
    v128_t odd = wasm_v128_and(wasm_u32x4_shr(shifted, 13), wasm_i32x4_const_splat(1));
    v128_t h = wasm_u32x4_shr(
        wasm_i32x4_add(wasm_i32x4_add(shifted, wasm_i32x4_const_splat(0xfff)), odd), 13);
    v128_t small = wasm_i32x4_sub(wasm_f32x4_add(a, wasm_f32x4_const_splat(0.5f)),
                                  wasm_i32x4_const_splat(0x3f000000));
    h = wasm_v128_bitselect(small, h, wasm_i32x4_lt(a, wasm_i32x4_const_splat(0x38800000)));
    h = wasm_v128_bitselect(wasm_i32x4_const_splat(0x7c00), h,
                            wasm_i32x4_gt(a, wasm_i32x4_const_splat(0x477fefff)));
    h = wasm_v128_bitselect(wasm_i32x4_const_splat(0x7e00), h,
                            wasm_i32x4_gt(a, wasm_i32x4_const_splat(0x7f800000)));
    return wasm_v128_or(h, sign);
}

static void wasm_kv_store_f16(uint8_t *dst, const float *src, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        wasm_v128_store(dst + 2 * i,
                        wasm_u16x8_narrow_i32x4(wasm_narrow_f16(wasm_v128_load(src + i)),
                                                wasm_narrow_f16(wasm_v128_load(src + i + 4))));
    }
    ref_kv_store_f16(dst + 2 * i, src + i, n - i);
}

static void wasm_kv_store_f32(uint8_t *dst, const float *src, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof(float));
}

/* ---- Vectors --------------------------------------------------------------------------------- */

/* What does not fill a vector is the reference's. rms_norm and its kin stay with it as a whole:
 * their sums are one chain in double, and no part of a token's time to speak of. */

WASM_INLINE v128_t wasm_gate(v128_t x, v128_t z)
{
    return wasm_f32x4_div(x,
                          wasm_f32x4_add(wasm_f32x4_const_splat(1), wasm_exp(wasm_f32x4_neg(z))));
}

static void wasm_swiglu(float *y, const float *gate, const float *up, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        v128_t g = wasm_v128_load(gate + i), silu = wasm_gate(g, g);
        wasm_v128_store(y + i, up != NULL ? wasm_f32x4_mul(silu, wasm_v128_load(up + i)) : silu);
    }
    ref_swiglu(y + i, gate + i, up != NULL ? up + i : NULL, n - i);
}

static void wasm_gelu(float *y, const float *x, const float *up, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        v128_t v = wasm_v128_load(x + i);
        v128_t cube = wasm_f32x4_mul(wasm_f32x4_const_splat(0.044715f), v);
        cube = wasm_f32x4_mul(wasm_f32x4_mul(cube, v), v);
        v128_t u =
            wasm_f32x4_mul(wasm_f32x4_const_splat(1.59576912160573071f), wasm_f32x4_add(v, cube));
        v128_t gelu = wasm_gate(v, u);
        wasm_v128_store(y + i, up != NULL ? wasm_f32x4_mul(gelu, wasm_v128_load(up + i)) : gelu);
    }
    ref_gelu(y + i, x + i, up != NULL ? up + i : NULL, n - i);
}

static void wasm_sigmoid_gate(float *y, const float *gate, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        v128_t v = x != NULL ? wasm_v128_load(x + i) : wasm_f32x4_const_splat(1);
        wasm_v128_store(y + i, wasm_gate(v, wasm_v128_load(gate + i)));
    }
    ref_sigmoid_gate(y + i, gate + i, x != NULL ? x + i : NULL, n - i);
}

static void wasm_rope_neox(float *x, const float *cos_table, const float *sin_table, int64_t n_rot)
{
    float *y = x + n_rot / 2;
    int64_t i = 0;
    for (; i + 4 <= n_rot / 2; i += 4) {
        v128_t a = wasm_v128_load(x + i), b = wasm_v128_load(y + i);
        v128_t c = wasm_v128_load(cos_table + i), s = wasm_v128_load(sin_table + i);
        wasm_v128_store(x + i, wasm_f32x4_sub(wasm_f32x4_mul(a, c), wasm_f32x4_mul(b, s)));
        wasm_v128_store(y + i, wasm_f32x4_add(wasm_f32x4_mul(a, s), wasm_f32x4_mul(b, c)));
    }
    for (; i < n_rot / 2; i++) {
        ref_rotate(x + i, y + i, cos_table[i], sin_table[i]);
    }
}

/* The largest value, then the first place where it stands; a NaN is never larger. */
static int64_t wasm_argmax(const float *x, int64_t n)
{
    float best = bits_to_f32(REF_INFINITY_BITS | 0x80000000u);
    v128_t most = wasm_f32x4_splat(best);
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        most = wasm_f32x4_pmax(most, wasm_v128_load(x + i));
    }
    for (int64_t j = i; j < n; j++) {
        best = x[j] > best ? x[j] : best;
    }
    most = wasm_f32x4_pmax(most, wasm_f32x4_splat(best));
    most = wasm_f32x4_pmax(most, wasm_i32x4_shuffle(most, most, 2, 3, 0, 1));
    most = wasm_f32x4_pmax(most, wasm_i32x4_shuffle(most, most, 1, 0, 3, 2));
    best = wasm_f32x4_extract_lane(most, 0);
    for (i = 0; i + 4 <= n; i += 4) {
        uint32_t same = wasm_i32x4_bitmask(wasm_f32x4_eq(wasm_v128_load(x + i), most));
        if (same != 0) {
            return i + __builtin_ctz(same);
        }
    }
    for (; i < n; i++) {
        if (x[i] == best) {
            return i;
        }
    }
    return 0;
}

/* ---- The table ------------------------------------------------------------------------------- */

static void kernels_set_wasm(struct kernels *k)
{
    k->isa = "simd128";

#define WASM_SET(id, type, ...) ref_set_matrix(&k->matrix[ENC_##id], &wasm_product_##type);
#define WASM_SET_PLAIN(id, type, width)                                                            \
    WASM_SET(id, type)                                                                             \
    ref_set_matrix(&k->exact[ENC_##id], &wasm_product_##type);
    WASM_BLOCK_TYPES(WASM_SET)
    WASM_SUPER_TYPES(WASM_SET)
    WASM_OTHER_TYPES(WASM_SET)
    WASM_PLAIN_TYPES(WASM_SET_PLAIN)

    k->attention[KV_F16] = wasm_attention_f16;
    k->attention[KV_F32] = wasm_attention_f32;
    k->kv_store[KV_F16] = wasm_kv_store_f16;
    k->kv_store[KV_F32] = wasm_kv_store_f32;
    k->rope[ROPE_NEOX] = wasm_rope_neox;
    k->swiglu = wasm_swiglu;
    k->gelu = wasm_gelu;
    k->sigmoid_gate = wasm_sigmoid_gate;
    k->add_scaled = wasm_add_scaled;
    k->argmax = wasm_argmax;
}

#undef WASM_INLINE
#undef WASM_TILE_OF
#undef WASM_TILES_OF
#undef WASM_BLOCK_TYPES
#undef WASM_SUPER_TYPES
#undef WASM_OTHER_TYPES
#undef WASM_PLAIN_TYPES
#undef WASM_UNPACK
#undef WASM_ONE
#undef WASM_FORMAT
#undef WASM_BLOCK
#undef WASM_SUPER
#undef WASM_OTHER
#undef WASM_PLAIN
#undef WASM_SET
#undef WASM_SET_PLAIN

#endif /* SIMD128 */
