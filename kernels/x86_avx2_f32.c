/* x86_avx2_f32.c - products with f32 activations for AVX2: plain weights, and any encoding where
 * activations are not rounded. Panels of floats, lanes are rows (x86_avx2_int.c). */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define AVX2_GROUPS_F32 (X86_TOGETHER / 8) /* of eight rows, unpacked together */
#define AVX2_TOKENS_F32 6 /* of the eight that are interleaved: 12 sums and their inputs fit */

/* ---- Products of floats ---------------------------------------------------------------------- */

/* Panels of floats: [column][8 rows]. `one` takes a token at a time, four sums per row to hide the
 * latency of the multiply-add; `many` six tokens, interleaved as the weights are. Both add up a
 * stretch of columns before they add to what stood there, which keeps rounding errors small. */
struct avx2_float_format {
    int32_t type;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t has_m;
    /* The types without blocks: values[column * 8 + row] <- 8 rows of n columns, n a multiple of 8.
     */
    void (*load)(float *values, const uint8_t *w, size_t stride, int64_t n, size_t distance);
    /* or what their integers and scales become by avx2_expand_ */
    void (*unpack)(void *panel, const uint8_t *w, size_t stride, int32_t n_block, size_t distance);
    void (*expand)(float *values, const struct avx2_panel *panel, int32_t n_block, int32_t offset,
                   int32_t has_m);
    int32_t offset;
};

static AVX2 void avx2_load_f32(float *values, const uint8_t *w, size_t stride, int64_t n,
                               size_t distance)
{
    for (int64_t i = 0; i < n; i += 4) {
        __m256i v[4];
        avx2_transpose(v, w + 4 * i, stride, distance);
        SLM_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(values + 8 * (i + j), v[j]);
        }
    }
}

static AVX2 void avx2_load_bf16(float *values, const uint8_t *w, size_t stride, int64_t n,
                                size_t distance)
{
    __m256i high = _mm256_set1_epi32((int32_t)0xffff0000u);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i v[4];
        avx2_transpose(v, w + 2 * i, stride, distance);
        SLM_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(values + 8 * (i + 2 * j), _mm256_slli_epi32(v[j], 16));
            avx2_store(values + 8 * (i + 2 * j) + 8, _mm256_and_si256(v[j], high));
        }
    }
}

static AVX2 void avx2_load_f16(float *values, const uint8_t *w, size_t stride, int64_t n,
                               size_t distance)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256i v[4];
        avx2_transpose(v, w + 2 * i, stride, distance);
        SLM_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            float *to = values + 8 * (i + 2 * j);
            v[j] = avx2_part_halves(v[j]);
            _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm256_castsi256_si128(v[j])));
            _mm256_storeu_ps(to + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(v[j], 1)));
        }
    }
}

/* Four columns of eight rows from a vector of bytes. */
static AVX2_INLINE void avx2_expand_bytes(float *values, __m256i q, int32_t offset, __m256 d,
                                          __m256 m)
{
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        __m256i v = _mm256_and_si256(q, _mm256_set1_epi32(255));
        __m256 f = _mm256_cvtepi32_ps(_mm256_sub_epi32(v, _mm256_set1_epi32(offset)));
        _mm256_storeu_ps(values + 8 * j, _mm256_add_ps(_mm256_mul_ps(f, d), m));
        q = _mm256_srli_epi32(q, 8);
    }
}

static AVX2 void avx2_expand_32(float *values, const struct avx2_panel *panel, int32_t n_block,
                                int32_t offset, int32_t has_m)
{
    for (int32_t i = 0; i < 8 * n_block; i++) {
        __m256 m = has_m ? _mm256_loadu_ps(panel->m[i / 8]) : _mm256_setzero_ps();
        avx2_expand_bytes(values + 32 * i, avx2_load(panel->q[i]), offset,
                          _mm256_loadu_ps(panel->d[i / 8]), m);
    }
}

/* Two planes of nibbles, that together are q + offset. */
static AVX2 void avx2_expand_8_0(float *values, const struct avx2_panel *panel, int32_t n_block,
                                 int32_t offset, int32_t has_m)
{
    (void)has_m;
    for (int32_t i = 0; i < 8 * n_block; i++) {
        uint8_t(*q)[32] = (uint8_t(*)[32])(uintptr_t)&panel->q[16 * (i / 8) + i % 8];
        __m256i v = _mm256_or_si256(avx2_load(q[0]), _mm256_slli_epi16(avx2_load(q[8]), 4));
        avx2_expand_bytes(values + 32 * i, v, offset, _mm256_loadu_ps(panel->d[i / 8]),
                          _mm256_setzero_ps());
    }
}

/* A group of columns shares a scale, and low[group / 2] holds two minimums. */
static AVX2_INLINE void avx2_expand_groups(float *values, const struct avx2_panel *panel,
                                           int32_t offset, int32_t has_m, int32_t columns)
{
    __m256 d = _mm256_loadu_ps(panel->d[0]), minus = _mm256_set1_ps(-0.0f);
    __m256 dmin = has_m ? _mm256_xor_ps(_mm256_loadu_ps(panel->m[0]), minus) : minus;
    for (int32_t i = 0; i < 64; i++) {
        int32_t g = 4 * i / columns;
        __m256i scale = _mm256_srai_epi32(avx2_load(panel->scale[g]), 16);
        __m256i low = avx2_load(panel->low[g / 2]);
        low = g % 2 == 0 ? _mm256_srai_epi32(_mm256_slli_epi32(low, 16), 16)
                         : _mm256_srai_epi32(low, 16);
        __m256 m = has_m ? _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(low)) : minus;
        avx2_expand_bytes(values + 32 * i, avx2_load(panel->q[i]), offset,
                          _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale)), m);
    }
}

static AVX2 void avx2_expand_256_16(float *values, const struct avx2_panel *panel, int32_t n_block,
                                    int32_t offset, int32_t has_m)
{
    (void)n_block;
    avx2_expand_groups(values, panel, offset, has_m, 16);
}

static AVX2 void avx2_expand_256_32(float *values, const struct avx2_panel *panel, int32_t n_block,
                                    int32_t offset, int32_t has_m)
{
    (void)n_block;
    avx2_expand_groups(values, panel, offset, has_m, 32);
}

struct avx2_float_scratch {
    float *values;            /* [AVX2_GROUPS_F32][256][8] */
    float *x;                 /* [256][8] */
    struct avx2_panel *panel; /* where integers stand in between */
    uint8_t *tail;
    float *acc; /* [n_token rounded up to 8][8 * AVX2_GROUPS_F32] */
};

#define AVX2_VALUES (X86_COLUMNS * 8)

static struct avx2_float_scratch avx2_float_scratch_at(void *scratch)
{
    struct avx2_float_scratch s;
    s.values = (float *)scratch;
    s.x = s.values + AVX2_GROUPS_F32 * AVX2_VALUES;
    s.acc = s.x + AVX2_VALUES; /* its size varies: the last */
    s.panel = (struct avx2_panel *)(void *)s.acc;
    s.tail = (uint8_t *)s.acc + act_pad(sizeof(struct avx2_panel));
    s.acc = (float *)(void *)(s.tail + 8 * X86_TAIL_STRIDE);
    return s;
}

static size_t avx2_float_scratch_bytes(int64_t n_token, int64_t k)
{
    (void)k;
    return (AVX2_GROUPS_F32 + 1) * AVX2_VALUES * sizeof(float) +
           act_pad(sizeof(struct avx2_panel)) + 8 * X86_TAIL_STRIDE +
           (size_t)(n_token + 7) * X86_TOGETHER * sizeof(float);
}

static AVX2 void avx2_dot_one_f32(float *acc, const float *values, const float *x, int64_t n)
{
    __m256 sum[4];
    SLM_UNROLL
    for (int j = 0; j < 4; j++) {
        sum[j] = _mm256_setzero_ps();
    }
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        SLM_UNROLL
        for (int j = 0; j < 4; j++) {
            sum[j] = _mm256_fmadd_ps(_mm256_loadu_ps(values + 8 * (i + j)),
                                     _mm256_set1_ps(x[i + j]), sum[j]);
        }
    }
    for (; i < n; i++) {
        sum[0] = _mm256_fmadd_ps(_mm256_loadu_ps(values + 8 * i), _mm256_set1_ps(x[i]), sum[0]);
    }
    sum[0] = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    _mm256_storeu_ps(acc, _mm256_add_ps(_mm256_loadu_ps(acc), sum[0]));
}

/* x [n][8 tokens]; acc[token * stride + row] of n_group * 8 rows. Sums of 64 columns: a longer
 * chain of additions would round more often than the reference. */
static AVX2_INLINE void avx2_dot_groups_f32(float *acc, int64_t stride, const float *values,
                                            const float *x, int64_t n, int n_group)
{
    for (int64_t i = 0; i < n;) {
        __m256 sum[2 * AVX2_TOKENS_F32], v[2];
        int64_t end = min_i64(n, i + 64);
        SLM_UNROLL
        for (int j = 0; j < n_group * AVX2_TOKENS_F32; j++) {
            sum[j] = _mm256_setzero_ps();
        }
        for (; i < end; i++) {
            SLM_UNROLL
            for (int g = 0; g < n_group; g++) {
                v[g] = _mm256_loadu_ps(values + g * AVX2_VALUES + 8 * i);
            }
            SLM_UNROLL
            for (int t = 0; t < AVX2_TOKENS_F32; t++) {
                __m256 xt = _mm256_set1_ps(x[8 * i + t]);
                SLM_UNROLL
                for (int g = 0; g < n_group; g++) {
                    sum[n_group * t + g] = _mm256_fmadd_ps(v[g], xt, sum[n_group * t + g]);
                }
            }
        }
        SLM_UNROLL
        for (int j = 0; j < n_group * AVX2_TOKENS_F32; j++) {
            float *to = acc + j / n_group * stride + j % n_group * 8;
            _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), sum[j]));
        }
    }
}

static AVX2 void avx2_dot_many_f32(float *acc, int64_t stride, const float *values, const float *x,
                                   int64_t n, int64_t n_group)
{
    int64_t g = 0;
    for (; g + 2 <= n_group; g += 2) {
        avx2_dot_groups_f32(acc + 8 * g, stride, values + g * AVX2_VALUES, x, n, 2);
    }
    if (g < n_group) {
        avx2_dot_groups_f32(acc + 8 * g, stride, values + g * AVX2_VALUES, x, n, 1);
    }
}

/* Eight tokens (or what is left of them, the rest zero) interleaved: [n][8]. They are turned as
 * eight rows of weights are. */
static AVX2 void avx2_tile_f32(const struct avx2_float_scratch *s, const uint8_t *act,
                               size_t act_bytes, int64_t column, int64_t n, int64_t n_token)
{
    const uint8_t *p = act + (size_t)column * 4;
    if (n_token >= 8 && n % 8 == 0) {
        avx2_load_f32(s->x, p, act_bytes, n, 0);
    } else {
        x86_copy_tail(s->tail, p, act_bytes, min_i64(n_token, 8), 8, (size_t)n * 4);
        avx2_load_f32(s->x, s->tail, X86_TAIL_STRIDE, (n + 7) & ~(int64_t)7, 0);
    }
}

/* Eight rows of n columns as floats. */
static AVX2 void avx2_values(const struct avx2_float_format *f, const struct avx2_float_scratch *s,
                             float *values, const uint8_t *w, size_t stride, int64_t n_row,
                             int64_t n, size_t distance)
{
    if (n_row < 8 || n % 8 != 0) {
        x86_copy_tail(s->tail, w, stride, min_i64(n_row, 8), 8,
                      (size_t)(n / f->block_elements) * (size_t)f->block_bytes);
        w = s->tail;
        stride = X86_TAIL_STRIDE;
    }
    if (f->load != NULL) {
        f->load(values, w, stride, (n + 7) & ~(int64_t)7, distance);
    } else if (f->unpack != NULL) {
        f->unpack(s->panel, w, stride, (int32_t)n / f->block_elements, distance);
        f->expand(values, s->panel, (int32_t)n / f->block_elements, f->offset, f->has_m);
    } else { /* the reference decodes rows, its values are then turned */
        for (int64_t r = 0; r < 8; r++) {
            kernel_formats[f->type].decode(s->x + r * X86_COLUMNS, w + (size_t)r * stride, n);
        }
        avx2_load_f32(values, (const uint8_t *)s->x, X86_COLUMNS * 4, n, distance);
    }
}

/* acc += these rows' values with all tokens. */
static AVX2 void avx2_multiply_values(const struct avx2_float_scratch *s,
                                      const struct x86_rows *rows, const uint8_t *act,
                                      int64_t n_token, int64_t k, int64_t column, int many)
{
    size_t act_bytes = act_f32.row_bytes(k);
    int64_t n = min_i64(X86_COLUMNS, k - column);
    for (int64_t t = 0; t < n_token; t += many ? AVX2_TOKENS_F32 : 1) {
        const uint8_t *x = act + (size_t)t * act_bytes;
        if (many) {
            avx2_tile_f32(s, x, act_bytes, column, n, n_token - t);
            avx2_dot_many_f32(s->acc + t * rows->step, rows->step, s->values, s->x, n,
                              (rows->n_row + 7) / 8);
            continue;
        }
        for (int64_t g = 0; 8 * g < rows->n_row; g++) {
            avx2_dot_one_f32(s->acc + t * rows->step + 8 * g, s->values + g * AVX2_VALUES,
                             (const float *)(const void *)x + column, n);
        }
    }
}

static SLM_NOINLINE AVX2 void avx2_multiply_f32(const struct avx2_float_format *f, float *y,
                                                int64_t y_stride, const uint8_t *w, int64_t row0,
                                                int64_t row1, const void *act, int64_t n_token,
                                                int64_t k, void *scratch, int many)
{
    struct avx2_float_scratch s = avx2_float_scratch_at(scratch);
    struct x86_rows rows;
    int64_t done = 0;
    rows.row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    rows.n_lane = 8;
    while (x86_next_rows(&rows, w, row0, row1, &done, many)) {
        memset(s.acc, 0, (size_t)((n_token + 7) * rows.step) * sizeof(float));
        for (int64_t column = 0; column < k; column += X86_COLUMNS) {
            int64_t n = min_i64(X86_COLUMNS, k - column);
            size_t offset = (size_t)(column / f->block_elements) * (size_t)f->block_bytes;
            for (int64_t g = 0; 8 * g < rows.n_row; g++) {
                avx2_values(f, &s, s.values + g * AVX2_VALUES,
                            rows.w + (size_t)(8 * g) * rows.row_bytes + offset, rows.stride,
                            rows.n_row - 8 * g, n, x86_distance(&rows, offset, X86_DISTANCE));
            }
            avx2_multiply_values(&s, &rows, (const uint8_t *)act, n_token, k, column, many);
        }
        x86_store_rows(y, y_stride, s.acc, &rows, n_token);
    }
}

#endif /* x86-64 */
