/* x86_avx2_vectors.c - attention, norms, RoPE, activation functions and conversions for AVX2. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

/* ---- Exponentials ---------------------------------------------------------------------------- */

/* exp(x) to 2 ulp: 2^n times a Taylor polynomial of degree 7 on |r| <= ln 2 / 2. Below -87.3 it is
 * 0, above 88.3 it stays where it is; NaN stays NaN. */
static AVX2_INLINE __m256 avx2_exp(__m256 x)
{
    __m256 low = _mm256_set1_ps(-87.3f);
    /* min and max give their second operand for NaN */
    __m256 z = _mm256_min_ps(_mm256_set1_ps(88.3f), _mm256_max_ps(low, x));
    __m256i n = _mm256_cvtps_epi32(_mm256_mul_ps(z, _mm256_set1_ps(0x1.715476p+0f)));
    __m256 whole = _mm256_cvtepi32_ps(n);
    __m256 r = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0x1.62e4p-1f), z);
    r = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    __m256i power = _mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
    return _mm256_and_ps(p, _mm256_cmp_ps(x, low, _CMP_NLT_UQ));
}

/* The first n of 8 lanes. */
static AVX2_INLINE __m256i avx2_mask(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)min_i64(n, 8)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static AVX2_INLINE float avx2_sum_lanes(__m256 v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

static AVX2_INLINE float avx2_max_lanes(__m256 v)
{
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}

/* ---- Attention ------------------------------------------------------------------------------- */

/* One page at a time: scores of all queries, then weights, then values. Queries go through a page
 * four, two or one together, so that a key or value is loaded (and widened) once for them; the sums
 * of each query are the same operations in the same order however it is grouped. */

/* Elements e..e+7 of a row. */
static AVX2_INLINE __m256 avx2_kv(const uint8_t *row, int64_t e, int f16)
{
    return f16 ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + 2 * e)))
               : _mm256_loadu_ps((const float *)(const void *)(row + 4 * e));
}

/* n of them, n < 8, and zeros. */
static AVX2_INLINE __m256 avx2_kv_part(const uint8_t *row, int64_t e, int64_t n, int f16)
{
    uint64_t part[4] = {0, 0, 0, 0};
    memcpy(part, row + e * (f16 ? 2 : 4), (size_t)n * (f16 ? 2 : 4));
    return avx2_kv((const uint8_t *)part, 0, f16);
}

/* scores of n queries (from query i on) at positions p and p + 1; without a next k1 is k0 */
static AVX2_INLINE void avx2_scores(const struct kernel_attention_job *job, int32_t i, int n,
                                    const uint8_t *k0, const uint8_t *k1, float *scores, int f16)
{
    __m256 sum[8];
    const float *q = job->q + i * job->q_stride;
    int64_t q_stride = job->q_stride, dim = job->head_dim, e = 0;
    SLM_UNROLL
    for (int j = 0; j < 2 * n; j++) {
        sum[j] = _mm256_setzero_ps();
    }
    for (; e + 8 <= dim; e += 8) {
        __m256 a = avx2_kv(k0, e, f16), b = avx2_kv(k1, e, f16);
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            __m256 v = _mm256_loadu_ps(q + j * q_stride + e);
            sum[2 * j] = _mm256_fmadd_ps(a, v, sum[2 * j]);
            sum[2 * j + 1] = _mm256_fmadd_ps(b, v, sum[2 * j + 1]);
        }
    }
    if (e < dim) {
        __m256 a = avx2_kv_part(k0, e, dim - e, f16), b = avx2_kv_part(k1, e, dim - e, f16);
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            __m256 v = _mm256_maskload_ps(q + j * q_stride + e, avx2_mask(dim - e));
            sum[2 * j] = _mm256_fmadd_ps(a, v, sum[2 * j]);
            sum[2 * j + 1] = _mm256_fmadd_ps(b, v, sum[2 * j + 1]);
        }
    }
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        scores[j * KV_PAGE] = avx2_sum_lanes(sum[2 * j]);
        if (k1 != k0) {
            scores[j * KV_PAGE + 1] = avx2_sum_lanes(sum[2 * j + 1]);
        }
    }
}

/* The positions of the page p0..p1-1 that some of n queries see; 0 if none. */
static AVX2_INLINE int avx2_seen(const struct kernel_attention_job *job, int32_t i, int n,
                                 int32_t p0, int32_t p1, int32_t *first, int32_t *last)
{
    *first = p1;
    *last = p0;
    for (int j = 0; j < n; j++) {
        int32_t from = max_i32(p0, job->from[i + j]), to = min_i32(p1, job->to[i + j]);
        if (from < to) {
            *first = min_i32(*first, from);
            *last = max_i32(*last, to);
        }
    }
    return *first < *last;
}

static AVX2_INLINE void avx2_page_scores(const struct kernel_attention_job *job, int32_t i, int n,
                                         const uint8_t *page, int32_t p0, int32_t p1, float *scores,
                                         int f16)
{
    int32_t first, last;
    size_t row_bytes = (size_t)job->head_dim * (f16 ? 2 : 4);
    if (!avx2_seen(job, i, n, p0, p1, &first, &last)) {
        return;
    }
    size_t v_bytes = (size_t)job->head_dim_v * (f16 ? 2 : 4);
    for (int32_t p = first; p < last; p += 2) {
        const uint8_t *k = page + job->k_offset + (size_t)(p % KV_PAGE) * row_bytes;
        if (i == 0) { /* the values are wanted next, in an order that no prefetcher guesses */
            avx2_prefetch(page, job->v_offset + (size_t)(p % KV_PAGE) * v_bytes, 2 * v_bytes);
            avx2_prefetch(k, X86_DISTANCE, 2 * row_bytes);
        }
        avx2_scores(job, i, n, k, p + 1 < last ? k + row_bytes : k,
                    scores + (int64_t)i * KV_PAGE + p % KV_PAGE, f16);
    }
}

/* c * tanh(s / c) = c - 2 c / (exp(2 s / c) + 1) */
static AVX2_INLINE __m256 avx2_softcap(__m256 s, float c)
{
    __m256 e = avx2_exp(_mm256_mul_ps(s, _mm256_set1_ps(2.0f / c)));
    __m256 part = _mm256_div_ps(_mm256_set1_ps(2.0f * c), _mm256_add_ps(e, _mm256_set1_ps(1.0f)));
    return _mm256_sub_ps(_mm256_set1_ps(c), part);
}

/* Scores of query i on a page become exp(score - max); sum and out come down to a new maximum. */
static AVX2 void avx2_page_weights(const struct kernel_attention_job *job, int32_t i, int32_t p0,
                                   int32_t p1, float *scores)
{
    int32_t first = max_i32(p0, job->from[i]), n = min_i32(p1, job->to[i]) - first;
    float *s = scores + (int64_t)i * KV_PAGE + first % KV_PAGE;
    if (n <= 0) {
        return;
    }
    ref_alibi(job, i, first, n, s);
    __m256 largest = _mm256_set1_ps(job->max[i]);
    for (int32_t j = 0; j < n; j += 8) {
        __m256i mask = avx2_mask(n - j);
        __m256 v = _mm256_maskload_ps(s + j, mask);
        if (job->softcap != 0) {
            v = avx2_softcap(v, job->softcap);
            _mm256_maskstore_ps(s + j, mask, v);
        }
        v = _mm256_blendv_ps(largest, v, _mm256_castsi256_ps(mask));
        largest = _mm256_max_ps(v, largest);
    }
    float max = avx2_max_lanes(largest);
    if (first != max_i32(job->position0, job->from[i]) && max > job->max[i]) {
        float *out = job->out + i * job->out_stride;
        __m256 factor = avx2_exp(_mm256_set1_ps(job->max[i] - max));
        job->sum[i] *= _mm256_cvtss_f32(factor);
        for (int32_t e = 0; e < job->head_dim_v; e += 8) {
            __m256i mask = avx2_mask(job->head_dim_v - e);
            _mm256_maskstore_ps(out + e, mask,
                                _mm256_mul_ps(_mm256_maskload_ps(out + e, mask), factor));
        }
    }
    job->max[i] = max;
    __m256 sum = _mm256_setzero_ps();
    for (int32_t j = 0; j < n; j += 8) {
        __m256i mask = avx2_mask(n - j);
        __m256 v = _mm256_maskload_ps(s + j, mask);
        v = avx2_exp(_mm256_sub_ps(v, _mm256_set1_ps(max)));
        v = _mm256_and_ps(v, _mm256_castsi256_ps(mask));
        _mm256_maskstore_ps(s + j, mask, v);
        sum = _mm256_add_ps(sum, v);
    }
    job->sum[i] += avx2_sum_lanes(sum);
}

/* out of n queries += weights * values of n_position rows at v: elements e..e+15, or the `part` of
 * them, 1 to 15, that are left */
static AVX2_INLINE void avx2_values_16(float *out, int64_t out_stride, const float *weight,
                                       const uint8_t *v, size_t row_bytes, int32_t n_position,
                                       int64_t part, int n, int f16)
{
    __m256 sum[8];
    __m256i mask0 = avx2_mask(part), mask1 = avx2_mask(part - 8);
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        sum[2 * j] = _mm256_maskload_ps(out + j * out_stride, mask0);
        sum[2 * j + 1] = _mm256_maskload_ps(out + j * out_stride + (part > 8 ? 8 : 0), mask1);
    }
    for (int32_t p = 0; p < n_position; p++, v += row_bytes) {
        __m256 a = part >= 8 ? avx2_kv(v, 0, f16) : avx2_kv_part(v, 0, part, f16), b = a;
        if (part > 8) {
            b = part == 16 ? avx2_kv(v, 8, f16) : avx2_kv_part(v, 8, part - 8, f16);
        }
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            __m256 x = _mm256_set1_ps(weight[j * KV_PAGE + p]);
            sum[2 * j] = _mm256_fmadd_ps(x, a, sum[2 * j]);
            sum[2 * j + 1] = _mm256_fmadd_ps(x, b, sum[2 * j + 1]);
        }
    }
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        _mm256_maskstore_ps(out + j * out_stride, mask0, sum[2 * j]);
        _mm256_maskstore_ps(out + j * out_stride + (part > 8 ? 8 : 0), mask1, sum[2 * j + 1]);
    }
}

/* The positions first..last-1, which all of the n queries see. */
static AVX2_INLINE void avx2_values_run(const struct kernel_attention_job *job, int32_t i, int n,
                                        const uint8_t *page, int32_t first, int32_t last,
                                        const float *weights, int f16)
{
    int64_t dim = job->head_dim_v, e = 0;
    size_t width = f16 ? 2 : 4, row_bytes = (size_t)dim * width;
    const uint8_t *v = page + job->v_offset + (size_t)(first % KV_PAGE) * row_bytes;
    const float *weight = weights + (int64_t)i * KV_PAGE + first % KV_PAGE;
    float *out = job->out + i * job->out_stride;
    for (; e + 16 <= dim; e += 16) {
        avx2_values_16(out + e, job->out_stride, weight, v + (size_t)e * width, row_bytes,
                       last - first, 16, n, f16);
    }
    if (e < dim) {
        avx2_values_16(out + e, job->out_stride, weight, v + (size_t)e * width, row_bytes,
                       last - first, dim - e, n, f16);
    }
}

/* Positions that only some of the n queries see are done query by query: what a query does not see
 * may hold anything, and 0 * NaN is NaN. */
static AVX2_INLINE void avx2_page_values(const struct kernel_attention_job *job, int32_t i, int n,
                                         const uint8_t *page, int32_t p0, int32_t p1,
                                         const float *weights, int f16)
{
    int32_t first = p0, last = p1;
    for (int j = 0; j < n; j++) {
        first = max_i32(first, job->from[i + j]);
        last = min_i32(last, job->to[i + j]);
    }
    int common = n > 1 && first < last;
    for (int j = 0; j < n; j++) {
        int32_t from = max_i32(p0, job->from[i + j]), to = min_i32(p1, job->to[i + j]);
        to = common ? first : to;
        if (from < to) {
            avx2_values_run(job, i + j, 1, page, from, to, weights, f16);
        }
    }
    if (!common) {
        return;
    }
    avx2_values_run(job, i, n, page, first, last, weights, f16);
    for (int j = 0; j < n; j++) {
        int32_t to = min_i32(p1, job->to[i + j]);
        if (last < to) {
            avx2_values_run(job, i + j, 1, page, last, to, weights, f16);
        }
    }
}

static AVX2_INLINE void avx2_attention(const struct kernel_attention_job *job, float *scores,
                                       int f16)
{
    int32_t n_q = job->n_q;
    for (int32_t i = 0; i < n_q; i++) {
        job->max[i] = bits_to_f32(REF_INFINITY_BITS | 0x80000000u);
        job->sum[i] = 0;
        memset(job->out + i * job->out_stride, 0, (size_t)job->head_dim_v * sizeof(float));
    }
    int32_t p1;
    for (int32_t p0 = job->position0; p0 < job->position1; p0 = p1) {
        const uint8_t *page = job->pages[p0 / KV_PAGE];
        p1 = min_i32(job->position1, p0 - p0 % KV_PAGE + KV_PAGE);
        int32_t i = 0;
        for (; i + 4 <= n_q; i += 4) {
            avx2_page_scores(job, i, 4, page, p0, p1, scores, f16);
        }
        for (; i < n_q; i++) {
            avx2_page_scores(job, i, 1, page, p0, p1, scores, f16);
        }
        for (i = 0; i < n_q; i++) {
            avx2_page_weights(job, i, p0, p1, scores);
        }
        for (i = 0; i + 4 <= n_q; i += 4) {
            avx2_page_values(job, i, 4, page, p0, p1, scores, f16);
        }
        for (; i < n_q; i++) {
            avx2_page_values(job, i, 1, page, p0, p1, scores, f16);
        }
    }
}

static AVX2 void avx2_attention_f16(const struct kernel_attention_job *job, void *scratch)
{
    avx2_attention(job, (float *)scratch, 1);
}

static AVX2 void avx2_attention_f32(const struct kernel_attention_job *job, void *scratch)
{
    avx2_attention(job, (float *)scratch, 0);
}

static AVX2 void avx2_kv_store_f16(uint8_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v =
            n - i >= 8 ? _mm256_loadu_ps(src + i) : _mm256_maskload_ps(src + i, avx2_mask(n - i));
        __m128i h = _mm256_cvtps_ph(v, 0);
        memcpy(dst + 2 * i, &h, (size_t)min_i64(n - i, 8) * 2);
    }
}

static void avx2_kv_store_f32(uint8_t *dst, const float *src, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof(float));
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static AVX2 void avx2_rms_norm(float *y, const float *x, const float *weight, int64_t n, float eps)
{
    __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_maskload_ps(x + i, avx2_mask(n - i));
        __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
        __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        sum[0] = _mm256_fmadd_pd(a, a, sum[0]);
        sum[1] = _mm256_fmadd_pd(b, b, sum[1]);
    }
    double lane[4];
    _mm256_storeu_pd(lane, _mm256_add_pd(sum[0], sum[1]));
    double mean = ((lane[0] + lane[2]) + (lane[1] + lane[3])) / (double)n;
    __m128d root = _mm_set_sd(mean + (double)eps);
    __m256 scale = _mm256_set1_ps((float)(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(root, root))));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), scale);
        if (weight != NULL) {
            v = _mm256_mul_ps(v, _mm256_maskload_ps(weight + i, mask));
        }
        _mm256_maskstore_ps(y + i, mask, v);
    }
}

static AVX2 void avx2_rope_neox(float *x, const float *cos_table, const float *sin_table,
                                int64_t n_rot)
{
    int64_t half = n_rot / 2;
    for (int64_t i = 0; i < half; i += 8) {
        __m256i mask = avx2_mask(half - i);
        __m256 a = _mm256_maskload_ps(x + i, mask), b = _mm256_maskload_ps(x + half + i, mask);
        __m256 c = _mm256_maskload_ps(cos_table + i, mask);
        __m256 s = _mm256_maskload_ps(sin_table + i, mask);
        __m256 u = _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s));
        __m256 v = _mm256_add_ps(_mm256_mul_ps(a, s), _mm256_mul_ps(b, c));
        _mm256_maskstore_ps(x + i, mask, u);
        _mm256_maskstore_ps(x + half + i, mask, v);
    }
}

static AVX2 void avx2_rope_norm(float *x, const float *cos_table, const float *sin_table,
                                int64_t n_rot)
{
    __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    for (int64_t i = 0; i < n_rot / 2; i += 4) {
        __m256i mask = avx2_mask(n_rot - n_rot % 2 - 2 * i),
                half = avx2_mask(min_i64(4, n_rot / 2 - i));
        __m128i half4 = _mm256_castsi256_si128(half);
        __m256 v = _mm256_maskload_ps(x + 2 * i, mask);
        __m256 c = _mm256_castps128_ps256(_mm_maskload_ps(cos_table + i, half4));
        __m256 s = _mm256_castps128_ps256(_mm_maskload_ps(sin_table + i, half4));
        c = _mm256_permutevar8x32_ps(c, twice);
        s = _mm256_permutevar8x32_ps(s, twice);
        __m256 crossed = _mm256_mul_ps(_mm256_permute_ps(v, 0xb1), s);
        _mm256_maskstore_ps(x + 2 * i, mask, _mm256_addsub_ps(_mm256_mul_ps(v, c), crossed));
    }
}

static AVX2 void avx2_swiglu(float *y, const float *gate, const float *up, int64_t n)
{
    __m256 one = _mm256_set1_ps(1.0f), minus = _mm256_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 g = _mm256_maskload_ps(gate + i, mask);
        __m256 e = avx2_exp(_mm256_xor_ps(g, minus));
        __m256 v = _mm256_div_ps(g, _mm256_add_ps(one, e));
        if (up != NULL) {
            v = _mm256_mul_ps(v, _mm256_maskload_ps(up + i, mask));
        }
        _mm256_maskstore_ps(y + i, mask, v);
    }
}

static AVX2 void avx2_vector_add(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 sum =
            _mm256_add_ps(_mm256_maskload_ps(y + i, mask), _mm256_maskload_ps(x + i, mask));
        _mm256_maskstore_ps(y + i, mask, sum);
    }
}

/* The largest value, then the first place where it stands. */
static AVX2 int64_t avx2_argmax(const float *x, int64_t n)
{
    __m256 lowest = _mm256_castsi256_ps(_mm256_set1_epi32((int32_t)0xff800000u));
    __m256 best = lowest;
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 v = _mm256_maskload_ps(x + i, mask);
        v = _mm256_blendv_ps(lowest, v, _mm256_castsi256_ps(mask));
        /* NaN is never larger; -ffast-math lets compilers swap what max takes */
        best = _mm256_blendv_ps(best, v, _mm256_cmp_ps(v, best, _CMP_GT_OQ));
    }
    best = _mm256_set1_ps(avx2_max_lanes(best));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 same = _mm256_cmp_ps(_mm256_maskload_ps(x + i, mask), best, _CMP_EQ_OQ);
        int bits = _mm256_movemask_ps(_mm256_and_ps(same, _mm256_castsi256_ps(mask)));
        if (bits != 0) {
            return i + __builtin_ctz((unsigned)bits);
        }
    }
    return 0;
}

/* ---- State spaces ---------------------------------------------------------------------------- */

/* ln(1 + exp(x)) = max(x, 0) + ln(1 + t), t = exp(-|x|) in 0..1, and ln(1 + t) = 2 artanh(t / (2 + t)),
 * whose series is short: the argument is at most 1/3. */
static AVX2 void avx2_softplus(float *y, const float *x, int64_t n)
{
    __m256 sign = _mm256_set1_ps(-0.0f), two = _mm256_set1_ps(2.0f);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 v = _mm256_maskload_ps(x + i, mask);
        __m256 t = avx2_exp(_mm256_or_ps(v, sign));
        __m256 s = _mm256_div_ps(t, _mm256_add_ps(t, two)), square = _mm256_mul_ps(s, s);
        __m256 p = _mm256_set1_ps(2.0f / 15);
        p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(2.0f / 13));
        p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(2.0f / 11));
        p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(2.0f / 9));
        p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(2.0f / 7));
        p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(2.0f / 5));
        p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(2.0f / 3));
        p = _mm256_fmadd_ps(p, square, two);
        __m256 above = _mm256_max_ps(_mm256_setzero_ps(), v);
        _mm256_maskstore_ps(y + i, mask, _mm256_fmadd_ps(p, s, above));
    }
}

static AVX2 void avx2_ssm_channels(const struct kernel_ssm *s,
                                   const struct kernel_ssm_channels *own)
{
    for (int64_t i = 0; i < s->n; i += 8) {
        __m256i mask = avx2_mask(s->n - i);
        __m256 step = _mm256_maskload_ps(own->step + i, mask);
        __m256 x = _mm256_maskload_ps(s->x + i, mask), in = _mm256_mul_ps(step, x);
        __m256 sum = _mm256_setzero_ps();
        for (int64_t j = 0; j < s->n_state; j++) {
            float *state = s->state + j * s->n + i;
            __m256 a = _mm256_maskload_ps(own->a + j * own->a_stride + i, mask);
            __m256 decay = avx2_exp(_mm256_mul_ps(step, a));
            __m256 v = _mm256_mul_ps(_mm256_broadcast_ss(s->b + j), in);
            v = _mm256_fmadd_ps(decay, _mm256_maskload_ps(state, mask), v);
            sum = _mm256_fmadd_ps(_mm256_broadcast_ss(s->c + j), v, sum);
            _mm256_maskstore_ps(state, mask, v);
        }
        __m256 skip = _mm256_maskload_ps(own->skip + i, mask);
        _mm256_maskstore_ps(s->y + i, mask, _mm256_fmadd_ps(skip, x, sum));
    }
}

#endif /* x86-64 */
