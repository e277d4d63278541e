/* arm_neon_f32.c - products with f32 activations for NEON: plain weights, and every encoding where
 * activations are not rounded. Four rows go together; a lane is a column until 256 of them are
 * summed, which keeps rounding errors small. */

#if defined(ARM_HAS_NEON)

#define NEON_FLOAT_PANELS 4 /* of four rows: 16 KiB of floats */

typedef float32x4x2_t (*neon_load)(const uint8_t *p);

/* Four rows of 256 columns, zeros up to a multiple of 8. */
struct neon_values {
    float v[NEON_ROWS][NEON_COLUMNS];
};

struct neon_float_format {
    const struct neon_format *integers; /* NULL: the type has no blocks */
    int32_t block_elements;
    int32_t block_bytes;
    /* acc[r] += n columns of four rows with x; those without blocks from the weights */
    void (*one)(float acc[4], const uint8_t *const p[NEON_ROWS], const float *x, int64_t n);
    void (*load)(float *values, const uint8_t *w, int64_t n);
};

/* ---- Loads ----------------------------------------------------------------------------------- */

static NEON ARM_INLINE float32x4x2_t neon_load_f32(const uint8_t *p)
{
    float32x4x2_t v;
    v.val[0] = vreinterpretq_f32_u8(vld1q_u8(p));
    v.val[1] = vreinterpretq_f32_u8(vld1q_u8(p + 16));
    return v;
}

static NEON ARM_INLINE float32x4x2_t neon_load_f16(const uint8_t *p)
{
    float16x8_t h = vreinterpretq_f16_u8(vld1q_u8(p));
    float32x4x2_t v;
    v.val[0] = vcvt_f32_f16(vget_low_f16(h));
    v.val[1] = vcvt_high_f32_f16(h);
    return v;
}

static NEON ARM_INLINE float32x4x2_t neon_load_bf16(const uint8_t *p)
{
    uint16x8_t h = vreinterpretq_u16_u8(vld1q_u8(p));
    float32x4x2_t v;
    v.val[0] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16));
    v.val[1] = vreinterpretq_f32_u32(vshll_high_n_u16(h, 16));
    return v;
}

/* The last n < 8 elements of a row, and zeros. */
static NEON ARM_INLINE float32x4x2_t neon_load_part(neon_load load, const uint8_t *p, int64_t n,
                                                    size_t width)
{
    uint8_t part[32];
    memset(part, 0, sizeof part);
    memcpy(part, p, (size_t)n * width);
    return load(part);
}

static NEON ARM_INLINE void neon_load_row(float *values, const uint8_t *w, int64_t n,
                                          neon_load load, size_t width)
{
    for (int64_t e = 0; e < n; e += 8) {
        const uint8_t *p = w + (size_t)e * width;
        float32x4x2_t v = n - e < 8 ? neon_load_part(load, p, n - e, width) : load(p);
        vst1q_f32(values + e, v.val[0]);
        vst1q_f32(values + e + 4, v.val[1]);
    }
}

/* ---- Dot products ---------------------------------------------------------------------------- */

static NEON ARM_INLINE float32x4_t neon_add_row_lanes(const float32x4_t v[4])
{
    return vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3]));
}

static NEON ARM_INLINE void neon_one_f32(float acc[4], const uint8_t *const p[NEON_ROWS],
                                         const float *x, int64_t n, neon_load load, size_t width)
{
    float32x4_t a[NEON_ROWS], b[NEON_ROWS];
    int64_t e = 0;
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        a[r] = b[r] = vdupq_n_f32(0);
    }
    for (; e + 8 <= n; e += 8) {
        float32x4_t x0 = vld1q_f32(x + e), x1 = vld1q_f32(x + e + 4);
        SLM_UNROLL
        for (int32_t r = 0; r < NEON_ROWS; r++) {
            float32x4x2_t v = load(p[r] + (size_t)e * width);
            a[r] = vfmaq_f32(a[r], v.val[0], x0);
            b[r] = vfmaq_f32(b[r], v.val[1], x1);
        }
    }
    if (e < n) {
        float32x4x2_t last =
            neon_load_part(neon_load_f32, (const uint8_t *)(x + e), n - e, sizeof(float));
        for (int32_t r = 0; r < NEON_ROWS; r++) {
            float32x4x2_t v = neon_load_part(load, p[r] + (size_t)e * width, n - e, width);
            a[r] = vfmaq_f32(a[r], v.val[0], last.val[0]);
            b[r] = vfmaq_f32(b[r], v.val[1], last.val[1]);
        }
    }
    SLM_UNROLL
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        a[r] = vaddq_f32(a[r], b[r]);
    }
    vst1q_f32(acc, vaddq_f32(vld1q_f32(acc), neon_add_row_lanes(a)));
}

/* acc[t * stride + row] += values times four tokens; n is a multiple of 4. */
static NEON void neon_dot_values(float *acc, int64_t stride, const struct neon_values *values,
                                 const float *const x[NEON_TOKENS], int64_t n)
{
    float32x4_t sum[NEON_TOKENS][NEON_ROWS];
    SLM_UNROLL
    for (int32_t i = 0; i < NEON_TOKENS * NEON_ROWS; i++) {
        sum[i / NEON_ROWS][i % NEON_ROWS] = vdupq_n_f32(0);
    }
    for (int64_t e = 0; e < n; e += 4) {
        float32x4_t v[NEON_ROWS];
        SLM_UNROLL
        for (int32_t r = 0; r < NEON_ROWS; r++) {
            v[r] = vld1q_f32(values->v[r] + e);
        }
        SLM_UNROLL
        for (int32_t t = 0; t < NEON_TOKENS; t++) {
            float32x4_t xt = vld1q_f32(x[t] + e);
            SLM_UNROLL
            for (int32_t r = 0; r < NEON_ROWS; r++) {
                sum[t][r] = vfmaq_f32(sum[t][r], v[r], xt);
            }
        }
    }
    SLM_UNROLL
    for (int32_t t = 0; t < NEON_TOKENS; t++) {
        float *to = acc + t * stride;
        vst1q_f32(to, vaddq_f32(vld1q_f32(to), neon_add_row_lanes(sum[t])));
    }
}

/* ---- Integers to floats ---------------------------------------------------------------------- */

/* 16 columns of a row: q * d + m. */
static NEON ARM_INLINE void neon_expand_16(float *values, const int8_t *q, float d, float m)
{
    int8x16_t v = vld1q_s8(q);
    int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
    int32x4_t w[4] = {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low),
                      vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        float32x4_t f = vmulq_n_f32(vcvtq_f32_s32(w[j]), d);
        vst1q_f32(values + 4 * j, vaddq_f32(f, vdupq_n_f32(m)));
    }
}

static NEON void neon_expand(const struct neon_format *f, struct neon_values *values,
                             const struct neon_panel *panel, int32_t n_group)
{
    const struct neon_scales *s = &panel->s;
    for (int32_t i = 0; i < 2 * n_group; i++) {
        int32_t at = f->width == 16 ? i : i / 2, n_scale = 256 / f->width;
        for (int32_t r = 0; r < NEON_ROWS; r++) {
            float d, m = 0;
            if (f->super) {
                d = s->d[0][r] * (float)s->scale[at][r];
                m = f->has_m ? -(s->m[0][r] * (float)s->scale[n_scale + at][r]) : 0;
            } else {
                d = s->d[at][r];
                m = f->has_m ? s->m[at][r] : 0;
            }
            neon_expand_16(values->v[r] + 16 * i, panel->q[i][r], d, m);
        }
    }
}

/* ---- Products of floats ---------------------------------------------------------------------- */

struct neon_float_scratch {
    struct neon_values *values; /* [NEON_FLOAT_PANELS] */
    struct neon_panel *panel;
    float *x;   /* [NEON_TOKENS][NEON_COLUMNS], where columns end */
    float *acc; /* [n_token rounded up to 4][4 * NEON_FLOAT_PANELS] */
};

static struct neon_float_scratch neon_float_scratch_at(void *scratch)
{
    struct neon_float_scratch s;
    s.values = (struct neon_values *)scratch;
    s.panel = (struct neon_panel *)(void *)(s.values + NEON_FLOAT_PANELS);
    s.x = (float *)(void *)((uint8_t *)s.panel + act_pad(sizeof *s.panel));
    s.acc = s.x + NEON_TOKENS * NEON_COLUMNS;
    return s;
}

static size_t neon_float_scratch_bytes(int64_t n_token, int64_t k)
{
    (void)k;
    return NEON_FLOAT_PANELS * sizeof(struct neon_values) + act_pad(sizeof(struct neon_panel)) +
           NEON_TOKENS * NEON_COLUMNS * sizeof(float) +
           (size_t)(n_token + 3) * NEON_FLOAT_PANELS * NEON_ROWS * sizeof(float);
}

static size_t neon_float_bytes(const struct neon_float_format *f, int64_t n)
{
    return (size_t)(n / f->block_elements) * (size_t)f->block_bytes;
}

static void neon_values_at(const struct neon_float_format *f, const struct neon_float_scratch *s,
                           struct neon_values *values, const uint8_t *const p[NEON_ROWS], int64_t n)
{
    if (f->integers != NULL) {
        f->integers->unpack(s->panel->q[0][0], &s->panel->s, p, (int32_t)n / 32);
        neon_expand(f->integers, values, s->panel, (int32_t)n / 32);
        return;
    }
    for (int32_t r = 0; r < NEON_ROWS; r++) {
        f->load(values->v[r], p[r], n);
    }
}

static SLM_NOINLINE NEON void neon_multiply_one_f32(const struct neon_float_format *f, float *y,
                                                    int64_t y_stride, const uint8_t *w,
                                                    int64_t row0, int64_t row1, const void *act,
                                                    int64_t n_token, int64_t k, void *scratch)
{
    struct neon_float_scratch s = neon_float_scratch_at(scratch);
    struct neon_rows rows;
    int64_t done = 0;
    const uint8_t *p[NEON_ROWS] = {(const uint8_t *)s.values->v[0], (const uint8_t *)s.values->v[1],
                                   (const uint8_t *)s.values->v[2],
                                   (const uint8_t *)s.values->v[3]};
    while (neon_next_rows(&rows, w, neon_float_bytes(f, k), row0, row1, &done)) {
        memset(s.acc, 0, (size_t)n_token * NEON_ROWS * sizeof(float));
        for (int64_t column = 0; column < k; column += NEON_COLUMNS) {
            int64_t n = min_i64(NEON_COLUMNS, k - column);
            if (f->integers != NULL) {
                neon_values_at(f, &s, s.values, rows.p, n);
            }
            for (int64_t t = 0; t < n_token; t++) {
                const uint8_t *x = (const uint8_t *)act + (size_t)t * act_f32.row_bytes(k);
                f->one(s.acc + NEON_ROWS * t, f->integers != NULL ? p : rows.p,
                       (const float *)(const void *)x + column, n);
            }
            neon_step(&rows, neon_float_bytes(f, n), 1);
        }
        for (int64_t t = 0; t < n_token; t++) {
            for (int64_t r = 0; r < rows.n_row; r++) {
                y[t * y_stride + rows.row[r]] = s.acc[NEON_ROWS * t + r];
            }
        }
    }
}

/* acc += these panels with all tokens. */
static NEON void neon_multiply_values(const struct neon_float_scratch *s, int64_t n_panel,
                                      const uint8_t *act, int64_t n_token, int64_t k,
                                      int64_t column)
{
    int64_t stride = NEON_FLOAT_PANELS * NEON_ROWS, n = min_i64(NEON_COLUMNS, k - column);
    for (int64_t t = 0; t < n_token; t += NEON_TOKENS) {
        const float *x[NEON_TOKENS];
        for (int64_t j = 0; j < NEON_TOKENS; j++) {
            const uint8_t *row = act + (size_t)min_i64(t + j, n_token - 1) * act_f32.row_bytes(k);
            x[j] = (const float *)(const void *)row + column;
            if (n % 4 != 0) {
                float *to = s->x + j * NEON_COLUMNS;
                neon_load_row(to, (const uint8_t *)x[j], n, neon_load_f32, sizeof(float));
                x[j] = to;
            }
        }
        for (int64_t g = 0; g < n_panel; g++) {
            neon_dot_values(s->acc + t * stride + NEON_ROWS * g, stride, s->values + g, x,
                            (n + 3) & ~(int64_t)3);
        }
    }
}

static SLM_NOINLINE NEON void neon_multiply_many_f32(const struct neon_float_format *f, float *y,
                                                     int64_t y_stride, const uint8_t *w,
                                                     int64_t row0, int64_t row1, const void *act,
                                                     int64_t n_token, int64_t k, void *scratch)
{
    struct neon_float_scratch s = neon_float_scratch_at(scratch);
    struct neon_rows rows;
    int64_t n_row = 0, step = NEON_FLOAT_PANELS * NEON_ROWS;
    for (int64_t row = row0; row < row1; row += n_row) {
        n_row = min_i64(step, row1 - row);
        int64_t n_panel = (n_row + NEON_ROWS - 1) / NEON_ROWS;
        memset(s.acc, 0, (size_t)((n_token + 3) * step) * sizeof(float));
        for (int64_t column = 0; column < k; column += NEON_COLUMNS) {
            for (int64_t g = 0; g < n_panel; g++) {
                neon_take_rows(&rows, w, neon_float_bytes(f, k), row + NEON_ROWS * g, 1,
                               n_row - NEON_ROWS * g);
                neon_step(&rows, neon_float_bytes(f, column), 0);
                neon_values_at(f, &s, s.values + g, rows.p, min_i64(NEON_COLUMNS, k - column));
            }
            neon_multiply_values(&s, n_panel, (const uint8_t *)act, n_token, k, column);
        }
        for (int64_t t = 0; t < n_token; t++) {
            memcpy(y + t * y_stride + row, s.acc + t * step, (size_t)n_row * sizeof(float));
        }
    }
}

/* ---- The types ------------------------------------------------------------------------------- */

#define NEON_PLAIN_TYPES(X) X(F32, f32, 4) X(F16, f16, 2) X(BF16, bf16, 2)

#define NEON_FLOAT_PLAIN(id, type, bytes)                                                          \
    static NEON void neon_plain_one_##type(float acc[4], const uint8_t *const p[NEON_ROWS],        \
                                           const float *x, int64_t n)                              \
    {                                                                                              \
        neon_one_f32(acc, p, x, n, neon_load_##type, bytes);                                       \
    }                                                                                              \
    static NEON void neon_plain_load_##type(float *values, const uint8_t *w, int64_t n)            \
    {                                                                                              \
        neon_load_row(values, w, n, neon_load_##type, bytes);                                      \
    }                                                                                              \
    static const struct neon_float_format neon_float_##type = {                                    \
        NULL, 1, bytes, neon_plain_one_##type, neon_plain_load_##type};
#define NEON_FLOAT_BLOCKS(id, type, act, elements, bytes, offset, width, super, has_m, most,       \
                          unrolled)                                                                \
    static const struct neon_float_format neon_float_##type = {&neon_format_##type, elements,      \
                                                               bytes, neon_plain_one_f32, NULL};
NEON_PLAIN_TYPES(NEON_FLOAT_PLAIN)
NEON_TYPES(NEON_FLOAT_BLOCKS)

#undef NEON_FLOAT_PLAIN
#undef NEON_FLOAT_BLOCKS

#endif /* AArch64 */
