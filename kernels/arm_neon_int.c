/* arm_neon_int.c - products of quantised weights with int8 activations for AArch64, with three sets
 * of dot products: those of the baseline (smull, smlal), sdot (dotprod) and smmla (i8mm).
 *
 * Four rows go together, and lane r of every sum belongs to row r. One token: groups of 32 columns
 * are taken apart in registers and multiplied at once (arm_rows.inc). Several tokens: four rows of
 * 256 columns are unpacked to a panel of int8 that serves all tokens (arm_tokens.inc). Both do the
 * same operations on floats in the same order, so a y has the same bits either way.
 *
 * Traps:
 * - Sums of smull and smlal have 16 bits. How many products may be added before widening is a bound
 *   on (largest weight) * 127 * (products in the sum), stated where it is used.
 * - Rows that are left over are filled up with the last one's address, so nothing is read outside
 *   the rows asked for, and what they give is not stored. */

#if defined(ARM_HAS_NEON)

#define NEON_TOKENS 4   /* per pass over a panel */
#define NEON_PANELS 8   /* of four rows, unpacked together */
#define NEON_AHEAD 1024 /* bytes of a row between a read and the prefetch */
#define NEON_FEW 3      /* from so many tokens on a panel pays */

/* One token's activations for 256 columns. */
struct neon_token {
    const int8_t *q;
    const float *d, *s;
    int32_t sums[16]; /* of 16 or 32 q; times -offset where the weights have one */
};

struct neon_tile {
    struct neon_token token[NEON_TOKENS];
    int8_t q[16][4][16]; /* as the panel has four rows, if the set's `pack` wants that */
};

struct neon_panel {
    int8_t q[16][4][16]; /* [column / 16][row][16], or as the set's `pack` left it */
    struct neon_scales s;
};

typedef void (*neon_one)(float acc[4], const uint8_t *const p[NEON_ROWS],
                         const struct neon_token *x, int32_t n_group);
typedef void (*neon_dot)(float *acc, int64_t stride, const struct neon_panel *panel,
                         const struct neon_tile *x, int32_t n_group, int32_t n_token);

/* What an instruction set does with panels. */
struct neon_set {
    void (*pack)(int8_t *q, int32_t n_group); /* four vectors of 16 columns, in place; or NULL */
    int32_t packs_tokens;
    /* Blocks of 32 columns, with a minimum, of 16, none; super-blocks with a scale of 32, with
     * minimums too, of 16, with minimums; for small integers and for any. */
    const neon_dot (*dot)[8];
};

/* ---- Sums of floats -------------------------------------------------------------------------- */

static NEON ARM_INLINE float32x4_t neon_add_scaled(float32x4_t sum, int32x4_t integers,
                                                   float32x4_t d, float dx)
{
    return vfmaq_f32(sum, vcvtq_f32_s32(integers), vmulq_n_f32(d, dx));
}

static NEON ARM_INLINE float32x4_t neon_add_super(float32x4_t sum, const struct neon_scales *s,
                                                  int32x4_t wide, int32x4_t low, float dx,
                                                  int32_t has_m)
{
    sum = vfmaq_f32(sum, vcvtq_f32_s32(wide), vmulq_n_f32(vld1q_f32(s->d[0]), dx));
    if (has_m) {
        sum = vfmsq_f32(sum, vcvtq_f32_s32(low), vmulq_n_f32(vld1q_f32(s->m[0]), dx));
    }
    return sum;
}

/* ---- The baseline ---------------------------------------------------------------------------- */

static NEON ARM_INLINE int32x4_t neon_add_rows(const int32x4_t v[4])
{
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

static NEON ARM_INLINE int16x8_t neon_multiply_16(int8x16_t q, int8x16_t x)
{
    return vmlal_high_s8(vmull_s8(vget_low_s8(q), vget_low_s8(x)), q, x);
}

/* 128 * 127 * 2 fits, and 63 * 127 * 4: after that it is 32 bits. 32 * 127 * 8 fits too. */
static NEON ARM_INLINE int32x4_t neon_dot_16(const int8x16x2_t q[4], int32_t h, int8x16_t x,
                                             int32_t most)
{
    int16x8_t n[4];
    int32x4_t v[4];
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        n[r] = neon_multiply_16(q[r].val[h], x);
    }
    if (most <= 32) {
        return vpaddlq_s16(vpaddq_s16(vpaddq_s16(n[0], n[1]), vpaddq_s16(n[2], n[3])));
    }
    if (most <= 64) {
        return vpaddq_s32(vpaddlq_s16(vpaddq_s16(n[0], n[1])), vpaddlq_s16(vpaddq_s16(n[2], n[3])));
    }
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        v[r] = vpaddlq_s16(n[r]);
    }
    return neon_add_rows(v);
}

/* 16 * 127 * 16 fits; 32 * 127 * 8; 64 * 127 * 4; 128 * 127 * 2. */
static NEON ARM_INLINE int32x4_t neon_dot_32(const int8x16x2_t q[4], int8x16x2_t x, int32_t most)
{
    int16x8_t n[4];
    int32x4_t v[4];
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        n[r] = neon_multiply_16(q[r].val[0], x.val[0]);
        if (most <= 64) {
            n[r] = vmlal_s8(n[r], vget_low_s8(q[r].val[1]), vget_low_s8(x.val[1]));
            n[r] = vmlal_high_s8(n[r], q[r].val[1], x.val[1]);
        } else {
            v[r] = vpaddlq_s16(n[r]);
            v[r] = vpadalq_s16(v[r], neon_multiply_16(q[r].val[1], x.val[1]));
        }
    }
    if (most <= 16) {
        return vpaddlq_s16(vpaddq_s16(vpaddq_s16(n[0], n[1]), vpaddq_s16(n[2], n[3])));
    }
    if (most <= 32) {
        return vpaddq_s32(vpaddlq_s16(vpaddq_s16(n[0], n[1])), vpaddlq_s16(vpaddq_s16(n[2], n[3])));
    }
    if (most <= 64) {
        SLM_UNROLL
        for (int32_t r = 0; r < NEON_ROWS; r++) {
            v[r] = vpaddlq_s16(n[r]);
        }
    }
    return neon_add_rows(v);
}

static NEON ARM_INLINE void neon_dot_tokens(int32x4_t sums[NEON_TOKENS], const int8_t *q,
                                            const struct neon_tile *x, int32_t column, int32_t n,
                                            int32_t n_token, int32_t most)
{
    int8x16x2_t w[NEON_ROWS];
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        w[r].val[0] = vld1q_s8(q + 16 * r);
        w[r].val[1] = n == 2 ? vld1q_s8(q + 64 + 16 * r) : w[r].val[0];
    }
    SLM_UNROLL
    for (int32_t t = 0; t < n_token; t++) {
        int8x16x2_t v;
        v.val[0] = vld1q_s8(x->token[t].q + column);
        v.val[1] = n == 2 ? vld1q_s8(x->token[t].q + column + 16) : v.val[0];
        sums[t] = n == 2 ? neon_dot_32(w, v, most) : neon_dot_16(w, 0, v.val[0], most);
    }
}

/* ---- dotprod --------------------------------------------------------------------------------- */

#if defined(ARM_HAS_DOTPROD)

static DOTPROD ARM_INLINE int32x4_t dotprod_dot_16(const int8x16x2_t q[4], int32_t h, int8x16_t x,
                                                   int32_t most)
{
    int32x4_t v[NEON_ROWS];
    (void)most;
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        v[r] = vdotq_s32(vdupq_n_s32(0), q[r].val[h], x);
    }
    return neon_add_rows(v);
}

static DOTPROD ARM_INLINE int32x4_t dotprod_dot_32(const int8x16x2_t q[4], int8x16x2_t x,
                                                   int32_t most)
{
    int32x4_t v[NEON_ROWS];
    (void)most;
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        v[r] = vdotq_s32(vdupq_n_s32(0), q[r].val[0], x.val[0]);
        v[r] = vdotq_s32(v[r], q[r].val[1], x.val[1]);
    }
    return neon_add_rows(v);
}

/* Vector j of 16 columns: columns 4 j .. 4 j + 3 of every row. */
static NEON void dotprod_pack(int8_t *q, int32_t n_group)
{
    for (int32_t i = 0; i < 2 * n_group; i++, q += 64) {
        int8x16_t v[4] = {vld1q_s8(q), vld1q_s8(q + 16), vld1q_s8(q + 32), vld1q_s8(q + 48)};
        neon_transpose(v);
        SLM_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            vst1q_s8(q + 16 * j, v[j]);
        }
    }
}

static DOTPROD ARM_INLINE void dotprod_dot_tokens(int32x4_t sums[NEON_TOKENS], const int8_t *q,
                                                  const struct neon_tile *x, int32_t column,
                                                  int32_t n, int32_t n_token, int32_t most)
{
    (void)most;
    SLM_UNROLL
    for (int32_t i = 0; i < n; i++, q += 64) {
        int8x16_t w0 = vld1q_s8(q), w1 = vld1q_s8(q + 16);
        int8x16_t w2 = vld1q_s8(q + 32), w3 = vld1q_s8(q + 48);
        SLM_UNROLL
        for (int32_t t = 0; t < n_token; t++) {
            int8x16_t v = vld1q_s8(x->token[t].q + column + 16 * i);
            int32x4_t sum = i == 0 ? vdupq_n_s32(0) : sums[t];
            sum = vdotq_laneq_s32(sum, w0, v, 0);
            sum = vdotq_laneq_s32(sum, w1, v, 1);
            sum = vdotq_laneq_s32(sum, w2, v, 2);
            sums[t] = vdotq_laneq_s32(sum, w3, v, 3);
        }
    }
}

#endif

/* ---- i8mm ------------------------------------------------------------------------------------ */

#if defined(ARM_HAS_I8MM)

/* Vectors 0 and 1 of 16 columns: 8 columns of rows 0 and 1, the other 8; 2 and 3: rows 2 and 3. */
static NEON void i8mm_pack(int8_t *q, int32_t n_group)
{
    for (int32_t i = 0; i < 4 * n_group; i++, q += 32) {
        int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(q));
        int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(q + 16));
        vst1q_s8(q, vreinterpretq_s8_s64(vzip1q_s64(a, b)));
        vst1q_s8(q + 16, vreinterpretq_s8_s64(vzip2q_s64(a, b)));
    }
}

/* smmla gives two rows times two tokens: (r0, t0), (r0, t1), (r1, t0), (r1, t1). */
static I8MM ARM_INLINE void i8mm_dot_tokens(int32x4_t sums[NEON_TOKENS], const int8_t *q,
                                            const struct neon_tile *x, int32_t column, int32_t n,
                                            int32_t n_token, int32_t most)
{
    const int8_t *v = x->q[column / 16][0];
    int32_t n_pair = (n_token + 1) / 2;
    int32x4_t a[2], b[2];
    (void)most;
    SLM_UNROLL
    for (int32_t j = 0; j < n_pair; j++) {
        a[j] = b[j] = vdupq_n_s32(0);
    }
    SLM_UNROLL
    for (int32_t i = 0; i < n; i++, q += 64, v += 64) {
        int8x16_t w0 = vld1q_s8(q), w1 = vld1q_s8(q + 16);
        int8x16_t w2 = vld1q_s8(q + 32), w3 = vld1q_s8(q + 48);
        SLM_UNROLL
        for (int32_t j = 0; j < n_pair; j++) {
            int8x16_t v0 = vld1q_s8(v + 32 * j), v1 = vld1q_s8(v + 32 * j + 16);
            a[j] = vmmlaq_s32(a[j], w0, v0);
            b[j] = vmmlaq_s32(b[j], w2, v0);
            a[j] = vmmlaq_s32(a[j], w1, v1);
            b[j] = vmmlaq_s32(b[j], w3, v1);
        }
    }
    SLM_UNROLL
    for (int32_t t = 0; t < n_token; t++) {
        sums[t] = t % 2 == 0 ? vuzp1q_s32(a[t / 2], b[t / 2]) : vuzp2q_s32(a[t / 2], b[t / 2]);
    }
}

#endif

/* ---- The three sets -------------------------------------------------------------------------- */

#define ARM_ROWS(name) neon_##name
#define ARM_SET NEON
#define ARM_DOT_16 neon_dot_16
#define ARM_DOT_32 neon_dot_32
#include "arm_rows.inc"

#define ARM_TOKENS(name) neon_##name
#define ARM_SET NEON
#define ARM_DOT_TOKENS neon_dot_tokens
#define ARM_SMALL 1
#include "arm_tokens.inc"
static const struct neon_set neon_set = {NULL, 0, neon_dots};

#if defined(ARM_HAS_DOTPROD)
#define ARM_ROWS(name) dotprod_##name
#define ARM_SET DOTPROD
#define ARM_DOT_16 dotprod_dot_16
#define ARM_DOT_32 dotprod_dot_32
#include "arm_rows.inc"

#define ARM_TOKENS(name) dotprod_##name
#define ARM_SET DOTPROD
#define ARM_DOT_TOKENS dotprod_dot_tokens
#define ARM_SMALL 0
#include "arm_tokens.inc"
static const struct neon_set dotprod_set = {dotprod_pack, 0, dotprod_dots};
#endif

#if defined(ARM_HAS_I8MM)
#define ARM_TOKENS(name) i8mm_##name
#define ARM_SET I8MM
#define ARM_DOT_TOKENS i8mm_dot_tokens
#define ARM_SMALL 0
#include "arm_tokens.inc"
static const struct neon_set i8mm_set = {i8mm_pack, 1, i8mm_dots};
#endif

/* ---- Tokens ---------------------------------------------------------------------------------- */

static NEON ARM_INLINE int32_t neon_sum_32(const int8_t *q)
{
    return vaddlvq_s8(vld1q_s8(q)) + vaddlvq_s8(vld1q_s8(q + 16));
}

/* Columns `column` and on of a prepared row. */
static NEON void neon_look_at_token(const struct neon_format *f, struct neon_token *x,
                                    const uint8_t *row, int64_t k, int64_t column, int32_t n_group)
{
    void *act = (void *)(uintptr_t)row;
    int32_t factor = f->offset != 0 ? -f->offset : 1;
    if (!f->super) {
        struct act_q8_0_planes planes = act_q8_0_at(act, k);
        x->q = planes.q + column;
        x->d = planes.d + column / 32;
        x->s = planes.s + column / 32;
        for (int32_t g = 0; f->offset != 0 && g < n_group; g++) {
            x->sums[g] = factor * neon_sum_32(x->q + 32 * g);
        }
        return;
    }
    struct act_q8_k_planes planes = act_q8_k_at(act, k);
    const int16_t *bsums = planes.bsums + column / 16;
    x->q = planes.q + column;
    x->d = planes.d + column / 256;
    x->s = NULL;
    for (int32_t s = 0; s < 16; s++) {
        if (f->width == 16) {
            x->sums[s] = factor * bsums[s];
        } else if (s < 8) {
            x->sums[s] = factor * (bsums[2 * s] + bsums[2 * s + 1]);
        }
    }
}

/* n tokens from row on; fewer than four are filled up with the last. */
static NEON void neon_look_at_tile(const struct neon_format *f, const struct neon_set *set,
                                   struct neon_tile *tile, const uint8_t *row, int64_t k,
                                   int64_t column, int32_t n_group, int64_t n)
{
    size_t act_bytes = f->act->row_bytes(k);
    for (int64_t t = 0; t < (n == 1 ? 1 : NEON_TOKENS); t++) {
        neon_look_at_token(f, &tile->token[t], row + (size_t)min_i64(t, n - 1) * act_bytes, k,
                           column, n_group);
        for (int32_t i = 0; set->packs_tokens && i < 2 * n_group; i++) {
            vst1q_s8(tile->q[i][t], vld1q_s8(tile->token[t].q + 16 * i));
        }
    }
    if (set->packs_tokens) {
        set->pack(tile->q[0][0], n_group);
    }
}

/* ---- Products of integers -------------------------------------------------------------------- */

/* One row of weights to a lane, n_lane >= 1 of them. */
struct neon_rows {
    const uint8_t *p[NEON_ROWS];
    int64_t row[NEON_ROWS];
    int64_t n_row;
};

static void neon_take_rows(struct neon_rows *rows, const uint8_t *w, size_t row_bytes, int64_t row,
                           int64_t spacing, int64_t n_row)
{
    rows->n_row = min_i64(n_row, NEON_ROWS);
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        rows->row[r] = row + min_i64(r, rows->n_row - 1) * spacing;
        rows->p[r] = w + (size_t)rows->row[r] * row_bytes;
    }
}

/* The rows that go together for one token are far apart: memory likes few long streams. Lane r
 * reads the rows of a quarter of the call one after the other; what is left over comes last. */
static int neon_next_rows(struct neon_rows *rows, const uint8_t *w, size_t row_bytes, int64_t row0,
                          int64_t row1, int64_t *done)
{
    int64_t n = row1 - row0, each = n / NEON_ROWS, turn = *done;
    *done += 1;
    if (turn < each) {
        neon_take_rows(rows, w, row_bytes, row0 + turn, each, NEON_ROWS);
        return 1;
    }
    if (turn == each && n % NEON_ROWS != 0) {
        neon_take_rows(rows, w, row_bytes, row0 + NEON_ROWS * each, 1, n % NEON_ROWS);
        return 1;
    }
    return 0;
}

static NEON ARM_INLINE void neon_step(struct neon_rows *rows, size_t bytes, int prefetch)
{
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        for (size_t at = 0; prefetch && at < bytes; at += 64) {
            ARM_PREFETCH((uintptr_t)rows->p[r] + NEON_AHEAD + at);
        }
        rows->p[r] += bytes;
    }
}

static NEON void neon_multiply_one(const struct neon_format *f, neon_one one, float *y,
                                   const uint8_t *w, int64_t row0, int64_t row1, const uint8_t *act,
                                   int64_t k, struct neon_token *tokens)
{
    size_t row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    struct neon_rows rows;
    int64_t done = 0;
    for (int64_t column = 0; column < k; column += NEON_COLUMNS) {
        neon_look_at_token(f, &tokens[column / NEON_COLUMNS], act, k, column,
                           (int32_t)min_i64(NEON_COLUMNS, k - column) / 32);
    }
    while (neon_next_rows(&rows, w, row_bytes, row0, row1, &done)) {
        float acc[NEON_ROWS] = {0, 0, 0, 0};
        for (int64_t column = 0; column < k; column += NEON_COLUMNS) {
            int32_t n = (int32_t)min_i64(NEON_COLUMNS, k - column);
            one(acc, rows.p, &tokens[column / NEON_COLUMNS], n / 32);
            neon_step(&rows, (size_t)(n / f->block_elements) * (size_t)f->block_bytes, 1);
        }
        for (int64_t r = 0; r < rows.n_row; r++) {
            y[rows.row[r]] = acc[r];
        }
    }
}

struct neon_scratch {
    struct neon_panel *panels;
    struct neon_tile *tile;
    struct neon_token *tokens; /* [k / 256], for one token */
    float *acc;                /* [n_token rounded up to 4][4 * NEON_PANELS] */
};

static struct neon_scratch neon_scratch_at(void *scratch, int64_t k)
{
    uint8_t *p = (uint8_t *)scratch;
    struct neon_scratch s;
    s.panels = (struct neon_panel *)(void *)p;
    p += act_pad(NEON_PANELS * sizeof(struct neon_panel));
    s.tile = (struct neon_tile *)(void *)p;
    p += act_pad(sizeof(struct neon_tile));
    s.tokens = (struct neon_token *)(void *)p;
    p += act_pad((size_t)(k / NEON_COLUMNS + 1) * sizeof(struct neon_token));
    s.acc = (float *)(void *)p;
    return s;
}

static size_t neon_scratch_bytes(int64_t n_token, int64_t k)
{
    return act_pad(NEON_PANELS * sizeof(struct neon_panel)) + act_pad(sizeof(struct neon_tile)) +
           act_pad((size_t)(k / NEON_COLUMNS + 1) * sizeof(struct neon_token)) +
           (size_t)(n_token + 3) * NEON_PANELS * NEON_ROWS * sizeof(float);
}

/* acc += these panels with all tokens. */
static NEON void neon_multiply_panels(const struct neon_format *f, const struct neon_set *set,
                                      const struct neon_scratch *s, int64_t n_panel,
                                      const uint8_t *act, int64_t n_token, int64_t k,
                                      int64_t column)
{
    size_t act_bytes = f->act->row_bytes(k);
    int64_t stride = NEON_PANELS * NEON_ROWS, n = 0;
    int32_t n_group = (int32_t)min_i64(NEON_COLUMNS, k - column) / 32;
    int32_t largest = f->offset > 0 ? f->offset : f->most - f->offset;
    int32_t is_16 = f->width == 16, small = largest <= (is_16 ? 32 : 16);
    neon_dot dot = set->dot[small][4 * f->super + 2 * f->has_m + is_16];
    for (int64_t t = 0; t < n_token; t += n) {
        n = n_token - t < 3 ? 1 : NEON_TOKENS;
        neon_look_at_tile(f, set, s->tile, act + (size_t)t * act_bytes, k, column, n_group,
                          min_i64(n, n_token - t));
        for (int64_t g = 0; g < n_panel; g++) {
            dot(s->acc + t * stride + NEON_ROWS * g, stride, &s->panels[g], s->tile, n_group,
                (int32_t)n);
        }
    }
}

/* Four rows of the columns column .. column + n - 1. */
static NEON void neon_unpack_rows(const struct neon_format *f, struct neon_panel *panel,
                                  const uint8_t *w, int64_t row, int64_t n_row, int64_t k,
                                  int64_t column, int32_t n)
{
    struct neon_rows rows;
    size_t row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    neon_take_rows(&rows, w, row_bytes, row, 1, n_row);
    neon_step(&rows, (size_t)(column / f->block_elements) * (size_t)f->block_bytes, 0);
    f->unpack(panel->q[0][0], &panel->s, rows.p, n / 32);
}

static NEON void neon_multiply_many(const struct neon_format *f, const struct neon_set *set,
                                    float *y, int64_t y_stride, const uint8_t *w, int64_t row0,
                                    int64_t row1, const uint8_t *act, int64_t n_token, int64_t k,
                                    const struct neon_scratch *s)
{
    int64_t n_row = 0, step = NEON_PANELS * NEON_ROWS;
    for (int64_t row = row0; row < row1; row += n_row) {
        n_row = min_i64(step, row1 - row);
        memset(s->acc, 0, (size_t)((n_token + 3) * step) * sizeof(float));
        for (int64_t column = 0; column < k; column += NEON_COLUMNS) {
            int32_t n = (int32_t)min_i64(NEON_COLUMNS, k - column);
            int64_t n_panel = (n_row + NEON_ROWS - 1) / NEON_ROWS;
            for (int64_t g = 0; g < n_panel; g++) {
                neon_unpack_rows(f, &s->panels[g], w, row + NEON_ROWS * g, n_row - NEON_ROWS * g, k,
                                 column, n);
                if (set->pack != NULL) {
                    set->pack(s->panels[g].q[0][0], n / 32);
                }
            }
            neon_multiply_panels(f, set, s, n_panel, act, n_token, k, column);
        }
        for (int64_t t = 0; t < n_token; t++) {
            memcpy(y + t * y_stride + row, s->acc + t * step, (size_t)n_row * sizeof(float));
        }
    }
}

static SLM_NOINLINE NEON void neon_multiply(const struct neon_format *f, const struct neon_set *set,
                                            neon_one one, float *y, int64_t y_stride,
                                            const uint8_t *w, int64_t row0, int64_t row1,
                                            const void *act_rows, int64_t n_token, int64_t k,
                                            void *scratch)
{
    struct neon_scratch s = neon_scratch_at(scratch, k);
    const uint8_t *act = (const uint8_t *)act_rows;
    if (one == NULL || n_token >= NEON_FEW) {
        neon_multiply_many(f, set, y, y_stride, w, row0, row1, act, n_token, k, &s);
        return;
    }
    for (int64_t t = 0; t < n_token; t++) {
        neon_multiply_one(f, one, y + t * y_stride, w, row0, row1,
                          act + (size_t)t * f->act->row_bytes(k), k, s.tokens);
    }
}

/* ---- Activations ----------------------------------------------------------------------------- */

/* The same bytes as the reference: the same operations on floats, one by one. */

static NEON ARM_INLINE uint32x4_t neon_magnitudes(const float *x)
{
    return vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x)));
}

/* Of n floats, a multiple of 16. */
static NEON ARM_INLINE uint32_t neon_largest(const float *x, int32_t n)
{
    uint32x4_t a = neon_magnitudes(x), b = a, c = a, d = a;
    for (int32_t i = 0; i < n; i += 16) {
        a = vmaxq_u32(a, neon_magnitudes(x + i));
        b = vmaxq_u32(b, neon_magnitudes(x + i + 4));
        c = vmaxq_u32(c, neon_magnitudes(x + i + 8));
        d = vmaxq_u32(d, neon_magnitudes(x + i + 12));
    }
    return vmaxvq_u32(vmaxq_u32(vmaxq_u32(a, b), vmaxq_u32(c, d)));
}

/* q <- 16 floats times `factor`, to the nearest; gives their sum. */
static NEON ARM_INLINE int32_t neon_quantize_16(int8_t *q, const float *x, float factor)
{
    int32x4_t v[4];
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v[j] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * j), factor));
        v[j] = vminq_s32(v[j], vdupq_n_s32(127));
    }
    int16x8_t a = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
    int16x8_t b = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
    vst1q_s8(q, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
    return vaddvq_s16(vaddq_s16(a, b));
}

static NEON ARM_INLINE float neon_round_f16(float f)
{
    float32x4_t v = vcvt_f32_f16(vcvt_f16_f32(vdupq_n_f32(f)));
    return vgetq_lane_f32(v, 0);
}

static NEON void neon_quantize_q8_0(int8_t *q, float *d, float *s, const float *x)
{
    uint32_t largest = neon_largest(x, 32);
    if (largest >= REF_INFINITY_BITS || largest < REF_TINY_BITS) {
        memset(q, 0, 32);
        *d = *s = largest >= REF_INFINITY_BITS ? bits_to_f32(REF_NAN_BITS) : 0;
        return;
    }
    float amax = bits_to_f32(largest);
    float scale = amax / 127.0f, inverse = 127.0f / amax;
    int32_t sum = neon_quantize_16(q, x, inverse) + neon_quantize_16(q + 16, x + 16, inverse);
    *d = neon_round_f16(scale);
    *s = neon_round_f16(scale * (float)sum);
}

static NEON void neon_prepare_q8_0(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * act_q8_0.row_bytes(k);
        struct act_q8_0_planes to = act_q8_0_at(row, k);
        for (int64_t i = 0; i < k / 32; i++) {
            neon_quantize_q8_0(to.q + 32 * i, to.d + i, to.s + i, x + t * k + 32 * i);
        }
    }
}

/* The first element whose magnitude is `largest`. */
static NEON ARM_INLINE float neon_first(const float *x, uint32_t largest)
{
    for (int32_t i = 0; i < 256; i++) {
        if ((f32_to_bits(x[i]) & 0x7fffffff) == largest) {
            return x[i];
        }
    }
    return x[0];
}

static NEON void neon_quantize_q8_k(int8_t *q, float *d, int16_t *bsums, const float *x)
{
    uint32_t largest = neon_largest(x, 256);
    if (largest >= REF_INFINITY_BITS || largest < REF_TINY_BITS) {
        memset(q, 0, 256);
        memset(bsums, 0, 16 * sizeof *bsums);
        *d = largest >= REF_INFINITY_BITS ? bits_to_f32(REF_NAN_BITS) : 0;
        return;
    }
    float inverse = -127.0f / neon_first(x, largest);
    for (int32_t i = 0; i < 16; i++) {
        bsums[i] = (int16_t)neon_quantize_16(q + 16 * i, x + 16 * i, inverse);
    }
    *d = 1.0f / inverse;
}

static NEON void neon_prepare_q8_k(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * act_q8_k.row_bytes(k);
        struct act_q8_k_planes to = act_q8_k_at(row, k);
        for (int64_t i = 0; i < k / 256; i++) {
            neon_quantize_q8_k(to.q + 256 * i, to.d + i, to.bsums + 16 * i, x + t * k + 256 * i);
        }
    }
}

static const struct kernel_act neon_act_q8_0 = {"q8_0", 1, ref_act_q8_0_bytes, neon_prepare_q8_0};
static const struct kernel_act neon_act_q8_k = {"q8_k", 1, ref_act_q8_k_bytes, neon_prepare_q8_k};

NEON_TYPES(NEON_FORMAT)

#endif /* AArch64 */
