/* x86_avx512_vectors.c - attention, norms, RoPE, activation functions and conversions for AVX-512
 * (F, BW, VL and DQ). */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define ZMM SLM_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define ZMM_INLINE SLM_INLINE_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

/* ---- Lanes ----------------------------------------------------------------------------------- */

/* The first n of 16 lanes, n >= 1. */
static ZMM_INLINE __mmask16 zmm_mask(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1);
}

static ZMM_INLINE __m512 zmm_load(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(zmm_mask(n), p);
}

static ZMM_INLINE void zmm_store(float *p, int64_t n, __m512 v)
{
    _mm512_mask_storeu_ps(p, zmm_mask(n), v);
}

/* exp(x) to 2 ulp: 2^n times a Taylor polynomial of degree 7 on |r| <= ln 2 / 2. Below -87.3 it is
 * 0, above 88.3 it stays where it is; NaN stays NaN. */
static ZMM_INLINE __m512 zmm_exp(__m512 x)
{
    __m512 low = _mm512_set1_ps(-87.3f);
    /* min and max give their second operand for NaN */
    __m512 z = _mm512_min_ps(_mm512_set1_ps(88.3f), _mm512_max_ps(low, x));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(z, _mm512_set1_ps(0x1.715476p+0f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), z);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, low, _CMP_NLT_UQ), p, n);
}

/* ---- Attention: keys ------------------------------------------------------------------------- */

/* Page by page: scores of all queries, then weights, then values. For the scores a lane is a
 * position, which wants keys turned (and widened) first, and no horizontal sum afterwards; for the
 * values it is an element. Queries go through a page four together, so that a key or value is
 * loaded once for them. Whatever the grouping, the sums of a query are the same operations in the
 * same order. */

#define ZMM_QUERIES 4       /* worked on together */
#define ZMM_POSITIONS 64    /* scored together: four vectors */
#define ZMM_KEY_ELEMENTS 32 /* turned and summed together */
#define ZMM_COLUMNS 4       /* vectors of a value that are summed together */
#define ZMM_STREAMS 4       /* parts of a page that few queries read in turn */
#define ZMM_STREAM (KV_PAGE / ZMM_STREAMS)
#define ZMM_STREAMS_DIM (64 * KV_PAGE / (ZMM_STREAMS * ZMM_QUERIES))
#define ZMM_AHEAD 2         /* times four positions of a stream that are asked for */
#define ZMM_WIDEN_QUERIES 8 /* from here on values in f16 are widened first, for all queries */

SLM_STATIC_ASSERT(ZMM_POSITIONS *ZMM_KEY_ELEMENTS <= 64 * KV_PAGE, "keys fit the scratch");
SLM_STATIC_ASSERT(16 * ZMM_COLUMNS <= 64, "values fit the scratch");

/* K or V of the kv head in one page. */
struct zmm_rows {
    const uint8_t *at; /* position 0 of the page */
    size_t bytes;      /* of a position */
    int64_t dim;
    uintptr_t then; /* position 0 of the rows that are wanted after this page; 0: none */
};

/* Lines of `bytes` from an address on: it may lie behind what is read, where a pointer may not. */
static ZMM_INLINE void zmm_prefetch(uintptr_t address, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)(address + i), _MM_HINT_T0);
    }
}

/* Elements e.. of a row; `left` of them, 16 if `full`. */
static ZMM_INLINE __m512 zmm_kv(const uint8_t *row, int64_t e, int64_t left, int full, int f16)
{
    const void *p = row + e * (f16 ? 2 : 4);
    if (f16) {
        return _mm512_cvtph_ps(full ? _mm256_loadu_si256((const __m256i *)p)
                                    : _mm256_maskz_loadu_epi16(zmm_mask(left), p));
    }
    return full ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(zmm_mask(left), p);
}

static ZMM_INLINE __m128i zmm_load_16_bytes(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* 16 bytes of each of 16 rows, four from p on and then four each `apart` bytes further on: v[j] <-
 * 32-bit word j of rows 0..15. */
static ZMM_INLINE void zmm_turn(__m512i v[4], const uint8_t *p, size_t stride, size_t apart)
{
    __m512i row[4]; /* rows i, i + 4, i + 8, i + 12 */
    SLM_UNROLL
    for (size_t i = 0; i < 4; i++, p += stride) {
        row[i] = _mm512_castsi128_si512(zmm_load_16_bytes(p));
        row[i] = _mm512_mask_broadcast_i32x4(row[i], 0x00f0, zmm_load_16_bytes(p + apart));
        row[i] = _mm512_mask_broadcast_i32x4(row[i], 0x0f00, zmm_load_16_bytes(p + 2 * apart));
        row[i] = _mm512_mask_broadcast_i32x4(row[i], 0xf000, zmm_load_16_bytes(p + 3 * apart));
    }
    __m512i a = _mm512_unpacklo_epi32(row[0], row[1]), b = _mm512_unpackhi_epi32(row[0], row[1]);
    __m512i c = _mm512_unpacklo_epi32(row[2], row[3]), d = _mm512_unpackhi_epi32(row[2], row[3]);
    v[0] = _mm512_unpacklo_epi64(a, c);
    v[1] = _mm512_unpackhi_epi64(a, c);
    v[2] = _mm512_unpacklo_epi64(b, d);
    v[3] = _mm512_unpackhi_epi64(b, d);
}

/* For _mm512_permutexvar_epi16: even words, then odd ones. */
static const uint16_t zmm_even_odd[32] = {0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20,
                                          22, 24, 26, 28, 30, 1,  3,  5,  7,  9,  11,
                                          13, 15, 17, 19, 21, 23, 25, 27, 29, 31};

/* to[e * ZMM_POSITIONS + p] <- element e of position p, for 16 positions as zmm_turn takes them; f16
 * stays f16 if not `widen`. next: what is asked for meanwhile, in as many parts; 0 for nothing. */
static ZMM_INLINE void zmm_turn_keys(uint8_t *to, const uint8_t *from, size_t row_bytes,
                                     size_t apart, int64_t dim, uintptr_t next, int f16, int widen)
{
    const __m512i even_odd = _mm512_loadu_si512(zmm_even_odd);
    const int64_t elements = f16 ? 8 : 4; /* in 16 bytes */
    const size_t step = ZMM_POSITIONS * (f16 && !widen ? sizeof(uint16_t) : sizeof(float));
    uint8_t last[16][16];
    for (int64_t e = 0; e < dim; e += elements, from += 16) {
        __m512i v[4];
        if (next != 0) {
            for (size_t i = 0; i < 4; i++) {
                zmm_prefetch(next + i * apart, 64);
            }
            next += 64;
        }
        if (dim - e >= elements) {
            zmm_turn(v, from, row_bytes, apart);
        } else {
            memset(last, 0, sizeof last);
            for (size_t p = 0; p < 16; p++) {
                memcpy(last[p], from + p % 4 * row_bytes + p / 4 * apart,
                       (size_t)(dim - e) * (f16 ? 2 : 4));
            }
            zmm_turn(v, last[0], 16, 64);
        }
        SLM_UNROLL
        for (int j = 0; j < 4; j++) {
            if (!f16) {
                _mm512_storeu_si512(to, v[j]);
                to += step;
                continue;
            }
            __m512i w = _mm512_permutexvar_epi16(even_odd, v[j]);
            __m256i even = _mm512_castsi512_si256(w), odd = _mm512_extracti64x4_epi64(w, 1);
            if (widen) {
                _mm512_storeu_ps(to, _mm512_cvtph_ps(even));
                _mm512_storeu_ps(to + step, _mm512_cvtph_ps(odd));
            } else {
                _mm256_storeu_si256((__m256i *)(void *)to, even);
                _mm256_storeu_si256((__m256i *)(void *)(to + step), odd);
            }
            to += 2 * step;
        }
    }
}

/* scores of n queries at `vectors` times 16 positions, over dim elements: [n][KV_PAGE]. What was
 * stored for the elements before is added at the end: one long chain of sums would round too often.
 */
static ZMM_INLINE void zmm_scores(const float *q, int64_t q_stride, int n, int vectors,
                                  const uint8_t *keys, int64_t dim, int begin, float *scores,
                                  int f16)
{
    __m512 sum[ZMM_QUERIES * ZMM_POSITIONS / 16];
    SLM_UNROLL
    for (int i = 0; i < n * vectors; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (int64_t e = 0; e < dim; e++, keys += ZMM_POSITIONS * (f16 ? 2 : 4)) {
        __m512 key[ZMM_POSITIONS / 16];
        SLM_UNROLL
        for (int p = 0; p < vectors; p++) {
            key[p] = zmm_kv(keys, 16 * p, 16, 1, f16);
        }
        SLM_UNROLL
        for (int i = 0; i < n * vectors; i++) {
            __m512 x = _mm512_set1_ps(q[i / vectors * q_stride + e]);
            sum[i] = _mm512_fmadd_ps(x, key[i % vectors], sum[i]);
        }
    }
    SLM_UNROLL
    for (int i = 0; i < n * vectors; i++) {
        float *to = scores + i / vectors * KV_PAGE + 16 * (i % vectors);
        _mm512_storeu_ps(to, begin ? sum[i] : _mm512_add_ps(_mm512_loadu_ps(to), sum[i]));
    }
}

/* All queries: elements e..e+dim-1, at the positions that `scores` points to. */
static ZMM_INLINE void zmm_scores_all(const struct kernel_attention_job *job, int vectors,
                                      const uint8_t *keys, int64_t e, int64_t dim, float *scores,
                                      int f16)
{
    const float *q = job->q + e;
    int32_t left = job->n_q;
    for (; left >= ZMM_QUERIES; left -= ZMM_QUERIES) {
        zmm_scores(q, job->q_stride, ZMM_QUERIES, vectors, keys, dim, e == 0, scores, f16);
        q += ZMM_QUERIES * job->q_stride;
        scores += ZMM_QUERIES * KV_PAGE;
    }
    if (left == 3) {
        zmm_scores(q, job->q_stride, 3, vectors, keys, dim, e == 0, scores, f16);
    } else if (left == 2) {
        zmm_scores(q, job->q_stride, 2, vectors, keys, dim, e == 0, scores, f16);
    } else if (left == 1) {
        zmm_scores(q, job->q_stride, 1, vectors, keys, dim, e == 0, scores, f16);
    }
}

/* `vectors` times 16 positions from `row` on: a lot of elements that fits the scratch is turned, then
 * multiplied. step: bytes between vectors; then as for zmm_turn_keys. */
static ZMM_INLINE void zmm_scores_block(const struct kernel_attention_job *job,
                                        const struct zmm_rows *k, const uint8_t *row, size_t step,
                                        size_t apart, int vectors, const uintptr_t *next,
                                        float *scores, uint8_t *keys, int f16, int widen)
{
    const int wide = !f16 || widen;
    const int64_t lot = widen ? ZMM_KEY_ELEMENTS : f16 ? 256 : 128;
    for (int64_t e0 = 0; e0 < k->dim; e0 += lot) {
        int64_t all = min_i64(k->dim - e0, lot);
        for (int i = 0; i < vectors; i++) {
            zmm_turn_keys(keys + i * 16 * (wide ? 4 : 2), row + (size_t)i * step, k->bytes, apart,
                          all, next != NULL && e0 == 0 ? next[i] : 0, f16, widen);
        }
        for (int64_t e = 0; e < all; e += ZMM_KEY_ELEMENTS) {
            const uint8_t *at = keys + e * ZMM_POSITIONS * (wide ? 4 : 2);
            int64_t dim = min_i64(all - e, ZMM_KEY_ELEMENTS);
            if (vectors == 4) {
                zmm_scores_all(job, 4, at, e0 + e, dim, scores, !wide);
            } else {
                zmm_scores_all(job, 2, at, e0 + e, dim, scores, !wide);
            }
        }
        row += (size_t)lot * (f16 ? 2 : 4);
    }
}

/* Scores in the order of zmm_page_streams to the order of positions: number 64 g + 16 v + 4 s + i
 * belongs to position 32 s + 16 g + 4 v + i. */
static ZMM_INLINE void zmm_scores_order(float *scores)
{
    __m512 x[8], y[8];
    SLM_UNROLL
    for (int i = 0; i < 8; i++) {
        x[i] = _mm512_loadu_ps(scores + 16 * i);
    }
    SLM_UNROLL
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm512_shuffle_f32x4(x[i], x[i + 1], 0x88);     /* streams 0, 2 of both */
        y[i + 1] = _mm512_shuffle_f32x4(x[i], x[i + 1], 0xdd); /* streams 1, 3 */
    }
    SLM_UNROLL
    for (int g = 0; g < 2; g++) {
        SLM_UNROLL
        for (int s = 0; s < 4; s++) {
            __m512 a = y[4 * g + s % 2], b = y[4 * g + 2 + s % 2];
            /* a: vectors 0, 1 of stream s % 2, vectors 0, 1 of stream s % 2 + 2 - by pairs */
            a = s < 2 ? _mm512_shuffle_f32x4(a, b, 0x88) : _mm512_shuffle_f32x4(a, b, 0xdd);
            _mm512_storeu_ps(scores + ZMM_STREAM * s + 16 * g, a);
        }
    }
}

/* A whole page that few queries see: a race with memory. The CPU's prefetcher goes further ahead with
 * several streams than with one, so that a vector takes four positions from each part of the page. */
static ZMM_INLINE void zmm_page_streams(const struct kernel_attention_job *job,
                                        const struct zmm_rows *k, float *scores, uint8_t *keys,
                                        int f16)
{
    size_t apart = ZMM_STREAM * k->bytes, step = 4 * k->bytes;
    for (size_t g = 0; g < 2; g++) {
        uintptr_t next[4];
        for (size_t v = 0; v < 4; v++) {
            size_t b = 4 * g + v + ZMM_AHEAD;
            next[v] = b < 8          ? (uintptr_t)k->at + b * step
                      : k->then != 0 ? k->then + (b - 8) * step
                                     : 0;
        }
        zmm_scores_block(job, k, k->at + 4 * g * step, step, apart, 4, next, scores + 64 * g, keys,
                         f16, 0);
    }
    for (int32_t i = 0; i < job->n_q; i++) {
        zmm_scores_order(scores + (int64_t)i * KV_PAGE);
    }
}

/* Positions first..last-1 of the page, and those around them that make up whole vectors: what they
 * hold may be anything, and is not used. */
static ZMM_INLINE void zmm_page_scores(const struct kernel_attention_job *job,
                                       const struct zmm_rows *k, int32_t first, int32_t last,
                                       float *scores, uint8_t *keys, int f16, int widen)
{
    size_t step = 16 * k->bytes, apart = 4 * k->bytes;
    int32_t n = 0;
    for (int32_t p = first & -32; p < last; p += n) {
        const uint8_t *row = k->at + (size_t)p * k->bytes;
        n = last - p > 32 && p + ZMM_POSITIONS <= KV_PAGE ? ZMM_POSITIONS : 32;
        if (n == ZMM_POSITIONS) {
            zmm_scores_block(job, k, row, step, apart, 4, NULL, scores + p, keys, f16, widen);
        } else {
            zmm_scores_block(job, k, row, step, apart, 2, NULL, scores + p, keys, f16, widen);
        }
    }
}

/* ---- Attention: weights ---------------------------------------------------------------------- */

/* c * tanh(s / c) = c - 2 c / (exp(2 s / c) + 1) */
static ZMM_INLINE __m512 zmm_softcap(__m512 s, float c)
{
    __m512 e = zmm_exp(_mm512_mul_ps(s, _mm512_set1_ps(2.0f / c)));
    __m512 part = _mm512_div_ps(_mm512_set1_ps(2.0f * c), _mm512_add_ps(e, _mm512_set1_ps(1.0f)));
    return _mm512_sub_ps(_mm512_set1_ps(c), part);
}

/* The largest of n scores and `max`; the cap is applied to them. */
static ZMM_INLINE float zmm_largest_score(float *s, int32_t n, float softcap, float max)
{
    __m512 largest = _mm512_set1_ps(max);
    int32_t j = 0;
    if (softcap != 0) {
        for (int32_t i = 0; i < n; i += 16) {
            zmm_store(s + i, n - i, zmm_softcap(zmm_load(s + i, n - i), softcap));
        }
    }
    for (; j + 16 <= n; j += 16) {
        largest = _mm512_max_ps(_mm512_loadu_ps(s + j), largest);
    }
    if (j < n) {
        largest = _mm512_mask_max_ps(largest, zmm_mask(n - j), zmm_load(s + j, n - j), largest);
    }
    return _mm512_reduce_max_ps(largest);
}

/* Scores of query i on a page become exp(score - max); sum and out come down to a new maximum. */
static ZMM void zmm_page_weights(const struct kernel_attention_job *job, int32_t i, int32_t p0,
                                 int32_t p1, float *scores)
{
    int32_t first = max_i32(p0, job->from[i]), n = min_i32(p1, job->to[i]) - first, j = 0;
    float *s = scores + (int64_t)i * KV_PAGE + first % KV_PAGE;
    if (n <= 0) {
        return;
    }
    ref_alibi(job, i, first, n, s);
    float max = zmm_largest_score(s, n, job->softcap, job->max[i]);
    if (first != max_i32(job->position0, job->from[i]) && max > job->max[i]) {
        float *out = job->out + i * job->out_stride;
        __m512 factor = zmm_exp(_mm512_set1_ps(job->max[i] - max));
        job->sum[i] *= _mm512_cvtss_f32(factor);
        for (int32_t e = 0; e < job->head_dim_v; e += 16) {
            int64_t left = job->head_dim_v - e;
            zmm_store(out + e, left, _mm512_mul_ps(zmm_load(out + e, left), factor));
        }
    }
    job->max[i] = max;
    __m512 sum = _mm512_setzero_ps(), shift = _mm512_set1_ps(max);
    for (; j + 16 <= n; j += 16) {
        __m512 v = zmm_exp(_mm512_sub_ps(_mm512_loadu_ps(s + j), shift));
        _mm512_storeu_ps(s + j, v);
        sum = _mm512_add_ps(sum, v);
    }
    if (j < n) {
        __m512 v = zmm_exp(_mm512_sub_ps(zmm_load(s + j, n - j), shift));
        zmm_store(s + j, n - j, v);
        sum = _mm512_mask_add_ps(sum, zmm_mask(n - j), sum, v);
    }
    job->sum[i] += _mm512_reduce_add_ps(sum);
}

/* ---- Attention: values ----------------------------------------------------------------------- */

/* f16 to f32 */
static ZMM_INLINE void zmm_widen(float *to, const uint8_t *from, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        zmm_store(to + i, n - i, zmm_kv(from, i, n - i, 0, 1));
    }
}

/* Values of a page in ZMM_COLUMNS vectors of columns. */
struct zmm_values {
    struct zmm_rows v; /* dim: of these columns */
    int64_t column;    /* of out, the first */
    uintptr_t next;    /* what is asked for meanwhile, a row for each position; 0: nothing */
};

/* sums of n queries += weights * values of n_position rows from row `first` on: `columns` vectors
 * from element e on, of which the last has `left` elements if not `full`. begin: the sums begin; add:
 * they are added to what stands there, in the end. */
static ZMM_INLINE void zmm_values_block(float *out, int64_t out_stride, const float *weight,
                                        const struct zmm_values *values, int32_t first,
                                        int32_t n_position, int64_t e, int n, int columns, int full,
                                        int begin, int add, int f16)
{
    __m512 sum[ZMM_QUERIES * ZMM_COLUMNS];
    int64_t left = values->v.dim - e;
    const uint8_t *row = values->v.at + (size_t)first * values->v.bytes;
    uintptr_t next = values->next;
    SLM_UNROLL
    for (int i = 0; i < n * columns; i++) {
        const float *from = out + i / columns * out_stride + e + 16 * (i % columns);
        sum[i] = begin ? _mm512_setzero_ps() : _mm512_loadu_ps(from);
    }
    for (int32_t p = 0; p < n_position; p++, row += values->v.bytes) {
        __m512 value[ZMM_COLUMNS];
        if (next != 0) {
            zmm_prefetch(next, (size_t)columns * (f16 ? 32 : 64));
            next += values->v.bytes;
        }
        SLM_UNROLL
        for (int c = 0; c < columns; c++) {
            value[c] = zmm_kv(row, e + 16 * c, left, full, f16);
        }
        SLM_UNROLL
        for (int i = 0; i < n * columns; i++) {
            __m512 x = _mm512_set1_ps(weight[i / columns * KV_PAGE + p]);
            sum[i] = _mm512_fmadd_ps(x, value[i % columns], sum[i]);
        }
    }
    SLM_UNROLL
    for (int i = 0; i < n * columns; i++) {
        float *to = out + i / columns * out_stride + e + 16 * (i % columns);
        if (full) {
            _mm512_storeu_ps(to, add ? _mm512_add_ps(_mm512_loadu_ps(to), sum[i]) : sum[i]);
        } else {
            zmm_store(to, left, _mm512_add_ps(zmm_load(to, left), sum[i]));
        }
    }
}

/* Positions first..last-1 of the page, which all of the n queries from query i on see. */
static ZMM_INLINE void zmm_values_run(const struct kernel_attention_job *job,
                                      const struct zmm_values *values, int32_t i, int n,
                                      int32_t first, int32_t last, const float *weights, int f16)
{
    const float *weight = weights + (int64_t)i * KV_PAGE + first;
    float *out = job->out + i * job->out_stride + values->column;
    if (values->v.dim == 16 * ZMM_COLUMNS) {
        zmm_values_block(out, job->out_stride, weight, values, first, last - first, 0, n,
                         ZMM_COLUMNS, 1, 1, 1, f16);
        return;
    }
    for (int64_t e = 0; e < values->v.dim; e += 16) {
        zmm_values_block(out, job->out_stride, weight, values, first, last - first, e, n, 1, 0, 1,
                         1, f16);
    }
}

/* Positions p0..p1-1 of one stream. Queries that don't see the same of them go through it one by
 * one: what a query does not see may hold anything, and 0 * NaN is NaN. */
static ZMM_INLINE void zmm_values_queries(const struct kernel_attention_job *job,
                                          const struct zmm_values *values, int32_t i, int n,
                                          int32_t p0, int32_t p1, const float *weights, int f16)
{
    int32_t base = p0 - p0 % KV_PAGE, same = 1;
    int32_t first = max_i32(p0, job->from[i]), last = min_i32(p1, job->to[i]);
    for (int j = 1; j < n; j++) {
        same &= first == max_i32(p0, job->from[i + j]) && last == min_i32(p1, job->to[i + j]);
    }
    if (same && first < last) {
        zmm_values_run(job, values, i, n, first - base, last - base, weights, f16);
    }
    for (int j = 0; !same && j < n; j++) {
        first = max_i32(p0, job->from[i + j]);
        last = min_i32(p1, job->to[i + j]);
        if (first < last) {
            zmm_values_run(job, values, i + j, 1, first - base, last - base, weights, f16);
        }
    }
}

static ZMM_INLINE void zmm_page_values(const struct kernel_attention_job *job,
                                       struct zmm_values *values, int32_t p0, int32_t p1,
                                       const float *weights, int f16)
{
    int32_t i = 0, left = job->n_q;
    for (; left >= ZMM_QUERIES; left -= ZMM_QUERIES, i += ZMM_QUERIES) {
        zmm_values_queries(job, values, i, ZMM_QUERIES, p0, p1, weights, f16);
    }
    if (left == 3) {
        zmm_values_queries(job, values, i, 3, p0, p1, weights, f16);
    } else if (left == 2) {
        zmm_values_queries(job, values, i, 2, p0, p1, weights, f16);
    } else if (left == 1) {
        zmm_values_queries(job, values, i, 1, p0, p1, weights, f16);
    }
}

/* ---- Attention: pages ------------------------------------------------------------------------ */

/* The positions of p0..p1-1 that some query sees; 0 if none. */
static int zmm_seen(const struct kernel_attention_job *job, int32_t p0, int32_t p1, int32_t *first,
                    int32_t *last)
{
    *first = p1;
    *last = p0;
    for (int32_t i = 0; i < job->n_q; i++) {
        int32_t from = max_i32(p0, job->from[i]), to = min_i32(p1, job->to[i]);
        if (from < to) {
            *first = min_i32(*first, from);
            *last = max_i32(*last, to);
        }
    }
    return *first < *last;
}

/* Positions first..last-1 of the page, stream by stream: the sums of each begin at 0, whoever goes
 * through them and in which order. `wide` is room for 64 * KV_PAGE floats. */
static ZMM_INLINE void zmm_page_columns(const struct kernel_attention_job *job,
                                        const struct zmm_rows *v, int32_t base, int32_t first,
                                        int32_t last, const float *weights, float *wide, int f16,
                                        int widen)
{
    for (int64_t e = 0; e < v->dim; e += 16 * ZMM_COLUMNS) {
        struct zmm_values values = {*v, e, 0};
        values.v.at += (size_t)e * (f16 ? 2 : 4);
        values.v.dim = min_i64(v->dim - e, 16 * ZMM_COLUMNS);
        if (widen) {
            for (int32_t p = first; p < last; p++) {
                zmm_widen(wide + p * 16 * ZMM_COLUMNS, values.v.at + (size_t)p * v->bytes,
                          values.v.dim);
            }
            values.v.at = (const uint8_t *)wide;
            values.v.bytes = 16 * ZMM_COLUMNS * sizeof(float);
        }
        for (int32_t p = first; p < last; p = (p | (ZMM_STREAM - 1)) + 1) {
            int32_t end = min_i32((p | (ZMM_STREAM - 1)) + 1, last);
            zmm_page_values(job, &values, base + p, base + end, weights, f16 && !widen);
        }
    }
}

/* The same of a whole page that n queries from query i on see, a few positions of each stream in
 * turn. sums: [ZMM_STREAMS][n][head_dim_v] */
static ZMM_INLINE void zmm_streams_values(const struct kernel_attention_job *job,
                                          const struct zmm_rows *v, int32_t i, int n,
                                          const float *weights, float *sums, int f16)
{
    const int32_t lot = 8;
    const float *weight = weights + (int64_t)i * KV_PAGE;
    for (int32_t at = 0; at < ZMM_STREAM; at += lot) {
        for (int32_t s = 0; s < ZMM_STREAMS; s++) {
            int32_t p = ZMM_STREAM * s + at;
            size_t ahead = (size_t)(p + lot) * v->bytes;
            uintptr_t next = at + lot < ZMM_STREAM ? (uintptr_t)v->at + ahead
                             : v->then != 0        ? v->then + ahead - ZMM_STREAM * v->bytes
                                                   : 0;
            for (int64_t e = 0; e < v->dim; e += 16 * ZMM_COLUMNS) {
                struct zmm_values values = {*v, e, next};
                values.v.at += (size_t)e * (f16 ? 2 : 4);
                float *sum = sums + s * n * v->dim + e;
                if (at == 0) {
                    zmm_values_block(sum, v->dim, weight + p, &values, p, lot, 0, n, ZMM_COLUMNS, 1,
                                     1, 0, f16);
                } else {
                    zmm_values_block(sum, v->dim, weight + p, &values, p, lot, 0, n, ZMM_COLUMNS, 1,
                                     0, 0, f16);
                }
                next += next != 0 ? (uintptr_t)(16 * ZMM_COLUMNS * (f16 ? 2 : 4)) : 0;
            }
        }
    }
    for (int32_t s = 0; s < ZMM_STREAMS; s++) {
        for (int j = 0; j < n; j++, sums += v->dim) {
            float *out = job->out + (i + j) * job->out_stride;
            for (int64_t e = 0; e < v->dim; e += 16) {
                __m512 sum = _mm512_add_ps(_mm512_loadu_ps(out + e), _mm512_loadu_ps(sums + e));
                _mm512_storeu_ps(out + e, sum);
            }
        }
    }
}

static ZMM_INLINE void zmm_page_streams_values(const struct kernel_attention_job *job,
                                               const struct zmm_rows *v, const float *weights,
                                               float *sums, int f16)
{
    int32_t i = 0, left = job->n_q;
    for (; left >= ZMM_QUERIES; left -= ZMM_QUERIES, i += ZMM_QUERIES) {
        zmm_streams_values(job, v, i, ZMM_QUERIES, weights, sums, f16);
    }
    if (left == 3) {
        zmm_streams_values(job, v, i, 3, weights, sums, f16);
    } else if (left == 2) {
        zmm_streams_values(job, v, i, 2, weights, sums, f16);
    } else if (left == 1) {
        zmm_streams_values(job, v, i, 1, weights, sums, f16);
    }
}

/* Do all queries see the whole page? */
static int zmm_sees_all(const struct kernel_attention_job *job, int32_t p0, int32_t p1)
{
    int all = p1 - p0 == KV_PAGE;
    for (int32_t i = 0; i < job->n_q; i++) {
        all &= job->from[i] <= p0 && p1 <= job->to[i];
    }
    return all;
}

static ZMM_INLINE void zmm_page(const struct kernel_attention_job *job, int32_t p0, int32_t p1,
                                float *scores, float *wide, int f16, int widen)
{
    size_t width = f16 ? 2 : 4;
    const uint8_t *page = job->pages[p0 / KV_PAGE];
    int32_t first, last, base = p0 - p0 % KV_PAGE;
    if (!zmm_seen(job, p0, p1, &first, &last)) {
        return;
    }
    int more = base + KV_PAGE < job->position1;
    struct zmm_rows v = {page + job->v_offset, (size_t)job->head_dim_v * width, job->head_dim_v,
                         more ? (uintptr_t)job->pages[p0 / KV_PAGE + 1] + job->k_offset : 0};
    struct zmm_rows k = {page + job->k_offset, (size_t)job->head_dim * width, job->head_dim,
                         (uintptr_t)v.at};
    int streams = !widen && zmm_sees_all(job, p0, p1);
    if (streams) {
        zmm_page_streams(job, &k, scores, (uint8_t *)wide, f16);
    } else {
        zmm_page_scores(job, &k, first - base, last - base, scores, (uint8_t *)wide, f16, widen);
    }
    for (int32_t i = 0; i < job->n_q; i++) {
        zmm_page_weights(job, i, p0, p1, scores);
    }
    if (streams && v.dim % (16 * ZMM_COLUMNS) == 0 && v.dim <= ZMM_STREAMS_DIM) {
        zmm_page_streams_values(job, &v, scores, wide, f16);
    } else {
        zmm_page_columns(job, &v, base, first - base, last - base, scores, wide, f16, widen);
    }
}

static ZMM_INLINE void zmm_attention(const struct kernel_attention_job *job, void *scratch, int f16,
                                     int widen)
{
    float *scores = (float *)scratch, *wide = scores + (int64_t)job->n_q * KV_PAGE;
    for (int32_t i = 0; i < job->n_q; i++) {
        job->max[i] = bits_to_f32(REF_INFINITY_BITS | 0x80000000u);
        job->sum[i] = 0;
        memset(job->out + i * job->out_stride, 0, (size_t)job->head_dim_v * sizeof(float));
    }
    int32_t p1;
    for (int32_t p0 = job->position0; p0 < job->position1; p0 = p1) {
        p1 = min_i32(job->position1, p0 - p0 % KV_PAGE + KV_PAGE);
        zmm_page(job, p0, p1, scores, wide, f16, widen);
    }
}

static ZMM void zmm_attention_f16(const struct kernel_attention_job *job, void *scratch)
{
    if (job->n_q < ZMM_WIDEN_QUERIES) {
        zmm_attention(job, scratch, 1, 0);
    } else {
        zmm_attention(job, scratch, 1, 1);
    }
}

static ZMM void zmm_attention_f32(const struct kernel_attention_job *job, void *scratch)
{
    zmm_attention(job, scratch, 0, 0);
}

static ZMM void zmm_kv_store_f16(uint8_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __m256i h = _mm512_cvtps_ph(zmm_load(src + i, n - i),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16(dst + 2 * i, zmm_mask(n - i), h);
    }
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static ZMM void zmm_rms_norm(float *y, const float *x, const float *weight, int64_t n, float eps)
{
    __m512d sum[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = zmm_load(x + i, n - i);
        __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
        __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
        sum[0] = _mm512_fmadd_pd(a, a, sum[0]);
        sum[1] = _mm512_fmadd_pd(b, b, sum[1]);
    }
    double mean = _mm512_reduce_add_pd(_mm512_add_pd(sum[0], sum[1])) / (double)n;
    __m128d root = _mm_set_sd(mean + (double)eps);
    __m512 scale = _mm512_set1_ps((float)(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(root, root))));
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_mul_ps(zmm_load(x + i, n - i), scale);
        if (weight != NULL) {
            v = _mm512_mul_ps(v, zmm_load(weight + i, n - i));
        }
        zmm_store(y + i, n - i, v);
    }
}

static ZMM void zmm_rope_neox(float *x, const float *cos_table, const float *sin_table,
                              int64_t n_rot)
{
    int64_t half = n_rot / 2;
    for (int64_t i = 0; i < half; i += 16) {
        int64_t n = half - i;
        __m512 a = zmm_load(x + i, n), b = zmm_load(x + half + i, n);
        __m512 c = zmm_load(cos_table + i, n), s = zmm_load(sin_table + i, n);
        zmm_store(x + i, n, _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s)));
        zmm_store(x + half + i, n, _mm512_add_ps(_mm512_mul_ps(a, s), _mm512_mul_ps(b, c)));
    }
}

static ZMM void zmm_rope_norm(float *x, const float *cos_table, const float *sin_table,
                              int64_t n_rot)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (int64_t i = 0; i < n_rot / 2; i += 8) {
        int64_t n = n_rot / 2 - i;
        __mmask8 half = (__mmask8)(zmm_mask(n) & 0xff);
        __m512 v = zmm_load(x + 2 * i, 2 * n);
        __m256 c8 = _mm256_maskz_loadu_ps(half, cos_table + i);
        __m256 s8 = _mm256_maskz_loadu_ps(half, sin_table + i);
        __m512 c = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(c8));
        __m512 s = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(s8));
        __m512 straight = _mm512_mul_ps(v, c);
        __m512 crossed = _mm512_mul_ps(_mm512_permute_ps(v, 0xb1), s);
        __m512 y = _mm512_add_ps(straight, crossed);
        y = _mm512_mask_sub_ps(y, 0x5555, straight, crossed);
        zmm_store(x + 2 * i, 2 * n, y);
    }
}

static ZMM void zmm_swiglu(float *y, const float *gate, const float *up, int64_t n)
{
    __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 g = zmm_load(gate + i, n - i);
        __m512 v = _mm512_div_ps(g, _mm512_add_ps(one, zmm_exp(_mm512_xor_ps(g, minus))));
        if (up != NULL) {
            v = _mm512_mul_ps(v, zmm_load(up + i, n - i));
        }
        zmm_store(y + i, n - i, v);
    }
}

static ZMM void zmm_vector_add(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        zmm_store(y + i, n - i, _mm512_add_ps(zmm_load(y + i, n - i), zmm_load(x + i, n - i)));
    }
}

#define ZMM_ARGMAX_STRETCH 4096

/* x where it is larger: NaN never is. Not max, whose operands -ffast-math lets compilers swap. */
static ZMM_INLINE __m512 zmm_larger(__m512 best, __m512 x)
{
    return _mm512_mask_mov_ps(best, _mm512_cmp_ps_mask(x, best, _CMP_GT_OQ), x);
}

/* The largest value of x[0..n-1], -infinity where all are NaN. */
static ZMM_INLINE float zmm_max(const float *x, int64_t n)
{
    __m512 lowest = _mm512_castsi512_ps(_mm512_set1_epi32((int32_t)0xff800000u));
    __m512 best[4] = {lowest, lowest, lowest, lowest};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        SLM_UNROLL
        for (int j = 0; j < 4; j++) {
            best[j] = zmm_larger(best[j], _mm512_loadu_ps(x + i + 16 * j));
        }
    }
    for (; i < n; i += 16) {
        __mmask16 lanes = zmm_mask(n - i);
        best[0] = _mm512_mask_mov_ps(best[0], lanes, zmm_larger(best[0], zmm_load(x + i, n - i)));
    }
    best[0] = _mm512_max_ps(best[0], best[1]);
    best[2] = _mm512_max_ps(best[2], best[3]);
    return _mm512_reduce_max_ps(_mm512_max_ps(best[0], best[2]));
}

/* The stretch whose largest value is the first to be the largest of all; then where it stands. */
static ZMM int64_t zmm_argmax(const float *x, int64_t n)
{
    int64_t at = 0;
    float best = bits_to_f32(REF_INFINITY_BITS | 0x80000000u);
    for (int64_t i = 0; i < n; i += ZMM_ARGMAX_STRETCH) {
        float max = zmm_max(x + i, min_i64(n - i, ZMM_ARGMAX_STRETCH));
        if (max > best) {
            best = max;
            at = i;
        }
    }
    for (; at < n; at += 16) {
        __mmask16 same = _mm512_mask_cmp_ps_mask(zmm_mask(n - at), zmm_load(x + at, n - at),
                                                 _mm512_set1_ps(best), _CMP_EQ_OQ);
        if (same != 0) {
            return at + __builtin_ctz((unsigned)same);
        }
    }
    return 0;
}

/* ---- State spaces ---------------------------------------------------------------------------- */

/* As avx2_softplus. */
static ZMM void zmm_softplus(float *y, const float *x, int64_t n)
{
    __m512 sign = _mm512_set1_ps(-0.0f), two = _mm512_set1_ps(2.0f);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = zmm_load(x + i, n - i);
        __m512 t = zmm_exp(_mm512_or_ps(v, sign));
        __m512 s = _mm512_div_ps(t, _mm512_add_ps(t, two)), square = _mm512_mul_ps(s, s);
        __m512 p = _mm512_set1_ps(2.0f / 15);
        p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(2.0f / 13));
        p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(2.0f / 11));
        p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(2.0f / 9));
        p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(2.0f / 7));
        p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(2.0f / 5));
        p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(2.0f / 3));
        p = _mm512_fmadd_ps(p, square, two);
        __m512 above = _mm512_max_ps(_mm512_setzero_ps(), v);
        zmm_store(y + i, n - i, _mm512_fmadd_ps(p, s, above));
    }
}

/* Channels at..at + 16 * n - 1; for n = 1 only the first n_lane of them. Two vectors at a time: the
 * exponential of one is worked on while that of the other waits. */
static ZMM_INLINE void zmm_ssm_channels_block(const struct kernel_ssm *s,
                                              const struct kernel_ssm_channels *own, int64_t at,
                                              int n, int64_t n_lane)
{
    __m512 step[2], x[2], in[2], sum[2];
    const float *a = own->a + at;
    float *state = s->state + at;
    SLM_UNROLL
    for (int i = 0; i < n; i++) {
        step[i] = zmm_load(own->step + at + 16 * i, n_lane);
        x[i] = zmm_load(s->x + at + 16 * i, n_lane);
        in[i] = _mm512_mul_ps(step[i], x[i]);
        sum[i] = _mm512_setzero_ps();
    }
    for (int64_t j = 0; j < s->n_state; j++, state += s->n, a += own->a_stride) {
        __m512 b = _mm512_set1_ps(s->b[j]), c = _mm512_set1_ps(s->c[j]);
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            __m512 decay = zmm_exp(_mm512_mul_ps(step[i], zmm_load(a + 16 * i, n_lane)));
            __m512 old = zmm_load(state + 16 * i, n_lane);
            __m512 v = _mm512_fmadd_ps(decay, old, _mm512_mul_ps(b, in[i]));
            sum[i] = _mm512_fmadd_ps(c, v, sum[i]);
            zmm_store(state + 16 * i, n_lane, v);
        }
    }
    SLM_UNROLL
    for (int i = 0; i < n; i++) {
        __m512 skip = zmm_load(own->skip + at + 16 * i, n_lane);
        zmm_store(s->y + at + 16 * i, n_lane, _mm512_fmadd_ps(skip, x[i], sum[i]));
    }
}

static ZMM void zmm_ssm_channels(const struct kernel_ssm *s, const struct kernel_ssm_channels *own)
{
    int64_t i = 0;
    for (; i + 32 <= s->n; i += 32) {
        zmm_ssm_channels_block(s, own, i, 2, 16);
    }
    for (; i < s->n; i += 16) {
        zmm_ssm_channels_block(s, own, i, 1, s->n - i);
    }
}

/* ---- The table ------------------------------------------------------------------------------- */

/* Everything but products: those have files of their own. */
static void kernels_set_avx512_vectors(struct kernels *k)
{
    if (string_length(k->isa) == 4 && memcmp(k->isa, "avx2", 4) == 0) {
        k->isa = "avx512";
    }
    k->attention[KV_F16] = zmm_attention_f16;
    k->attention[KV_F32] = zmm_attention_f32;
    k->kv_store[KV_F16] = zmm_kv_store_f16;
    k->rms_norm = zmm_rms_norm;
    k->rope[ROPE_NORM] = zmm_rope_norm;
    k->rope[ROPE_NEOX] = zmm_rope_neox;
    k->swiglu = zmm_swiglu;
    k->softplus = zmm_softplus;
    k->ssm_channels = zmm_ssm_channels;
    k->add = zmm_vector_add;
    k->argmax = zmm_argmax;
}

#undef ZMM
#undef ZMM_INLINE
#undef ZMM_QUERIES
#undef ZMM_POSITIONS
#undef ZMM_COLUMNS
#undef ZMM_STREAMS
#undef ZMM_STREAM
#undef ZMM_STREAMS_DIM
#undef ZMM_AHEAD
#undef ZMM_WIDEN_QUERIES
#undef ZMM_KEY_ELEMENTS
#undef ZMM_ARGMAX_STRETCH

#endif /* x86-64 */
