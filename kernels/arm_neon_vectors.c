/* arm_neon_vectors.c - attention, norms, RoPE, activation functions and conversions for NEON. What
 * does not fill a vector goes through one in memory. */

#if defined(ARM_HAS_NEON)

#define NEON_TOGETHER 4 /* vectors that loops of long chains work on at once, for cores in order */

/* ---- Ends and exponentials ------------------------------------------------------------------- */

/* n floats, or four if there are more; zeros behind them. */
static NEON ARM_INLINE float32x4_t neon_part(const float *p, int64_t n)
{
    if (n >= 4) {
        return vld1q_f32(p);
    }
    float part[4] = {0, 0, 0, 0};
    memcpy(part, p, (size_t)n * sizeof(float));
    return vld1q_f32(part);
}

static NEON ARM_INLINE void neon_store_part(float *p, float32x4_t v, int64_t n)
{
    float part[4];
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    vst1q_f32(part, v);
    memcpy(p, part, (size_t)n * sizeof(float));
}

/* z = n ln 2 + r with |r| <= ln 2 / 2: exp(r) - 1 by a Taylor polynomial of degree 7, and 2^n. z is
 * within -87.3..88.3 or NaN, which stays NaN. */
static NEON ARM_INLINE float32x4_t neon_exp_parts(float32x4_t z, float32x4_t *power)
{
    int32x4_t n = vcvtnq_s32_f32(vmulq_n_f32(z, 0x1.715476p+0f));
    float32x4_t whole = vcvtq_f32_s32(n);
    float32x4_t r = vfmsq_f32(z, whole, vdupq_n_f32(0x1.62e4p-1f));
    r = vfmsq_f32(r, whole, vdupq_n_f32(0x1.7f7d1cp-20f));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(1.0f / 720), r, vdupq_n_f32(1.0f / 5040));
    p = vfmaq_f32(vdupq_n_f32(1.0f / 120), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 24), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 6), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    *power = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
    return vfmaq_f32(r, p, vmulq_f32(r, r));
}

/* exp(x) to 2 ulp. Below -87.3 it is 0, above 88.3 it stays where it is; NaN stays NaN. */
static NEON ARM_INLINE float32x4_t neon_exp(float32x4_t x)
{
    float32x4_t low = vdupq_n_f32(-87.3f), power;
    float32x4_t p = neon_exp_parts(vminq_f32(vmaxq_f32(x, low), vdupq_n_f32(88.3f)), &power);
    p = vfmaq_f32(power, p, power);
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(p), vcltq_f32(x, low)));
}

/* x / (1 + exp(-z)) */
static NEON ARM_INLINE float32x4_t neon_gate(float32x4_t x, float32x4_t z)
{
    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), neon_exp(vnegq_f32(z))));
}

/* c * tanh(x / c), by tanh(u) = e / (e + 2) with e = exp(2 u) - 1, which loses nothing near 0. From
 * 2 u = 20 on it is 1. */
static NEON ARM_INLINE float32x4_t neon_softcap(float32x4_t x, float c)
{
    float32x4_t z = vmulq_n_f32(vabsq_f32(x), 2.0f / c), power;
    float32x4_t p = neon_exp_parts(vminq_f32(z, vdupq_n_f32(20.0f)), &power);
    float32x4_t e = vfmaq_f32(vsubq_f32(power, vdupq_n_f32(1.0f)), p, power);
    float32x4_t y = vmulq_n_f32(vdivq_f32(e, vaddq_f32(e, vdupq_n_f32(2.0f))), c);
    return vbslq_f32(vdupq_n_u32(0x80000000u), x, y);
}

/* ---- Attention ------------------------------------------------------------------------------- */

/* One page at a time: scores of all queries, then weights, then values. Queries go through a page
 * four or one together, so that a key or value is loaded (and widened) once for them; the sums of
 * each query are the same operations in the same order however it is grouped. */

/* Elements e..e+7 of a row. */
static NEON ARM_INLINE float32x4x2_t neon_kv(const uint8_t *row, int64_t e, int f16)
{
    return f16 ? neon_load_f16(row + 2 * e) : neon_load_f32(row + 4 * e);
}

/* n of them, n < 8, and zeros. */
static NEON ARM_INLINE float32x4x2_t neon_kv_part(const uint8_t *row, int64_t e, int64_t n, int f16)
{
    return f16 ? neon_load_part(neon_load_f16, row + 2 * e, n, 2)
               : neon_load_part(neon_load_f32, row + 4 * e, n, 4);
}

/* scores of n queries (from query i on) at a position */
static NEON ARM_INLINE void neon_scores(const struct kernel_attention_job *job, int32_t i, int n,
                                        const uint8_t *k, float *scores, int f16)
{
    float32x4_t a[4], b[4];
    const float *q = job->q + i * job->q_stride;
    int64_t dim = job->head_dim, e = 0;
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        a[j] = b[j] = vdupq_n_f32(0);
    }
    for (; e + 8 <= dim; e += 8) {
        float32x4x2_t v = neon_kv(k, e, f16);
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            const float *at = q + j * job->q_stride + e;
            a[j] = vfmaq_f32(a[j], v.val[0], vld1q_f32(at));
            b[j] = vfmaq_f32(b[j], v.val[1], vld1q_f32(at + 4));
        }
    }
    if (e < dim) {
        float32x4x2_t v = neon_kv_part(k, e, dim - e, f16);
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            const uint8_t *at = (const uint8_t *)(q + j * job->q_stride + e);
            float32x4x2_t x = neon_load_part(neon_load_f32, at, dim - e, sizeof(float));
            a[j] = vfmaq_f32(a[j], v.val[0], x.val[0]);
            b[j] = vfmaq_f32(b[j], v.val[1], x.val[1]);
        }
    }
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        scores[j * KV_PAGE] = vaddvq_f32(vaddq_f32(a[j], b[j]));
    }
}

/* The positions of the page p0..p1-1 that some of n queries see; 0 if none. */
static int neon_seen(const struct kernel_attention_job *job, int32_t i, int n, int32_t p0,
                     int32_t p1, int32_t *first, int32_t *last)
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

static NEON ARM_INLINE void neon_page_scores(const struct kernel_attention_job *job, int32_t i,
                                             int n, const uint8_t *page, int32_t p0, int32_t p1,
                                             float *scores, int f16)
{
    int32_t first, last;
    size_t k_bytes = (size_t)job->head_dim * (f16 ? 2 : 4);
    size_t v_bytes = (size_t)job->head_dim_v * (f16 ? 2 : 4);
    if (!neon_seen(job, i, n, p0, p1, &first, &last)) {
        return;
    }
    for (int32_t p = first; p < last; p++) {
        const uint8_t *k = page + job->k_offset + (size_t)(p % KV_PAGE) * k_bytes;
        const uint8_t *v = page + job->v_offset + (size_t)(p % KV_PAGE) * v_bytes;
        for (size_t at = 0; i == 0 && at < v_bytes; at += 64) { /* the values are wanted next */
            ARM_PREFETCH((uintptr_t)v + at);
        }
        neon_scores(job, i, n, k, scores + (int64_t)i * KV_PAGE + p % KV_PAGE, f16);
    }
}

/* The first n lanes. */
static NEON ARM_INLINE uint32x4_t neon_mask(int64_t n)
{
    static const int32_t lanes[4] = {0, 1, 2, 3};
    return vcgtq_s32(vdupq_n_s32((int32_t)min_i64(n, 4)), vld1q_s32(lanes));
}

/* Scores of query i on a page become exp(score - max); sum and out come down to a new maximum. */
static NEON void neon_page_weights(const struct kernel_attention_job *job, int32_t i, int32_t p0,
                                   int32_t p1, float *scores)
{
    int32_t first = max_i32(p0, job->from[i]), n = min_i32(p1, job->to[i]) - first;
    float *s = scores + (int64_t)i * KV_PAGE + first % KV_PAGE;
    if (n <= 0) {
        return;
    }
    ref_alibi(job, i, first, n, s);
    float32x4_t largest = vdupq_n_f32(job->max[i]);
    for (int32_t j = 0; j < n; j += 4) {
        float32x4_t v = neon_part(s + j, n - j);
        if (job->softcap != 0) {
            v = neon_softcap(v, job->softcap);
            neon_store_part(s + j, v, n - j);
        }
        largest = vmaxnmq_f32(largest, vbslq_f32(neon_mask(n - j), v, largest));
    }
    float max = vmaxnmvq_f32(largest);
    if (first != max_i32(job->position0, job->from[i]) && max > job->max[i]) {
        float *out = job->out + i * job->out_stride;
        float32x4_t factor = neon_exp(vdupq_n_f32(job->max[i] - max));
        job->sum[i] *= vgetq_lane_f32(factor, 0);
        for (int32_t e = 0; e < job->head_dim_v; e += 4) {
            int64_t left = job->head_dim_v - e;
            neon_store_part(out + e, vmulq_f32(neon_part(out + e, left), factor), left);
        }
    }
    job->max[i] = max;
    float32x4_t sum = vdupq_n_f32(0);
    for (int32_t j = 0; j < n; j += 4) {
        float32x4_t v = neon_exp(vsubq_f32(neon_part(s + j, n - j), vdupq_n_f32(max)));
        neon_store_part(s + j, v, n - j);
        sum = vaddq_f32(
            sum, vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), neon_mask(n - j))));
    }
    job->sum[i] += vaddvq_f32(sum);
}

/* out of n queries += weights * values of n_position rows at v: elements e..e+7, or the `part` of
 * them, 1 to 7, that are left */
static NEON ARM_INLINE void neon_values_8(float *out, int64_t out_stride, const float *weight,
                                          const uint8_t *v, size_t row_bytes, int32_t n_position,
                                          int64_t part, int n, int f16)
{
    float32x4_t a[4], b[4];
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        a[j] = neon_part(out + j * out_stride, part);
        b[j] = part > 4 ? neon_part(out + j * out_stride + 4, part - 4) : vdupq_n_f32(0);
    }
    for (int32_t p = 0; p < n_position; p++, v += row_bytes) {
        float32x4x2_t x = part == 8 ? neon_kv(v, 0, f16) : neon_kv_part(v, 0, part, f16);
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            float w = weight[j * KV_PAGE + p];
            a[j] = vfmaq_n_f32(a[j], x.val[0], w);
            b[j] = vfmaq_n_f32(b[j], x.val[1], w);
        }
    }
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        neon_store_part(out + j * out_stride, a[j], part);
        if (part > 4) {
            neon_store_part(out + j * out_stride + 4, b[j], part - 4);
        }
    }
}

/* The positions first..last-1, which all of the n queries see. */
static NEON ARM_INLINE void neon_values_run(const struct kernel_attention_job *job, int32_t i,
                                            int n, const uint8_t *page, int32_t first, int32_t last,
                                            const float *weights, int f16)
{
    int64_t dim = job->head_dim_v, e = 0;
    size_t width = f16 ? 2 : 4, row_bytes = (size_t)dim * width;
    const uint8_t *v = page + job->v_offset + (size_t)(first % KV_PAGE) * row_bytes;
    const float *weight = weights + (int64_t)i * KV_PAGE + first % KV_PAGE;
    float *out = job->out + i * job->out_stride;
    for (; e + 8 <= dim; e += 8) {
        neon_values_8(out + e, job->out_stride, weight, v + (size_t)e * width, row_bytes,
                      last - first, 8, n, f16);
    }
    if (e < dim) {
        neon_values_8(out + e, job->out_stride, weight, v + (size_t)e * width, row_bytes,
                      last - first, dim - e, n, f16);
    }
}

/* Positions that only some of the n queries see are done query by query: what a query does not see
 * may hold anything, and 0 * NaN is NaN. */
static NEON ARM_INLINE void neon_page_values(const struct kernel_attention_job *job, int32_t i,
                                             int n, const uint8_t *page, int32_t p0, int32_t p1,
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
            neon_values_run(job, i + j, 1, page, from, to, weights, f16);
        }
    }
    if (!common) {
        return;
    }
    neon_values_run(job, i, n, page, first, last, weights, f16);
    for (int j = 0; j < n; j++) {
        int32_t to = min_i32(p1, job->to[i + j]);
        if (last < to) {
            neon_values_run(job, i + j, 1, page, last, to, weights, f16);
        }
    }
}

static NEON ARM_INLINE void neon_attention(const struct kernel_attention_job *job, float *scores,
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
            neon_page_scores(job, i, 4, page, p0, p1, scores, f16);
        }
        for (; i < n_q; i++) {
            neon_page_scores(job, i, 1, page, p0, p1, scores, f16);
        }
        for (i = 0; i < n_q; i++) {
            neon_page_weights(job, i, p0, p1, scores);
        }
        for (i = 0; i + 4 <= n_q; i += 4) {
            neon_page_values(job, i, 4, page, p0, p1, scores, f16);
        }
        for (; i < n_q; i++) {
            neon_page_values(job, i, 1, page, p0, p1, scores, f16);
        }
    }
}

static NEON void neon_attention_f16(const struct kernel_attention_job *job, void *scratch)
{
    neon_attention(job, (float *)scratch, 1);
}

static NEON void neon_attention_f32(const struct kernel_attention_job *job, void *scratch)
{
    neon_attention(job, (float *)scratch, 0);
}

static NEON void neon_kv_store_f16(uint8_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t v = neon_part(src + i, n - i);
        uint16x4_t h = vreinterpret_u16_f16(vcvt_f16_f32(v));
        memcpy(dst + 2 * i, &h, (size_t)min_i64(n - i, 4) * 2);
    }
}

static void neon_kv_store_f32(uint8_t *dst, const float *src, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof(float));
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static NEON void neon_rms_norm(float *y, const float *x, const float *weight, int64_t n, float eps)
{
    float64x2_t sum[2] = {vdupq_n_f64(0), vdupq_n_f64(0)};
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t v = neon_part(x + i, n - i);
        float64x2_t a = vcvt_f64_f32(vget_low_f32(v)), b = vcvt_high_f64_f32(v);
        sum[0] = vfmaq_f64(sum[0], a, a);
        sum[1] = vfmaq_f64(sum[1], b, b);
    }
    double mean = vaddvq_f64(vaddq_f64(sum[0], sum[1])) / (double)n;
    double root = vgetq_lane_f64(vsqrtq_f64(vdupq_n_f64(mean + (double)eps)), 0);
    float scale = (float)(1.0 / root);
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_n_f32(neon_part(x + i, n - i), scale);
        if (weight != NULL) {
            v = vmulq_f32(v, neon_part(weight + i, n - i));
        }
        neon_store_part(y + i, v, n - i);
    }
}

/* x - mean, in double: elements 0, 1 and 2, 3 of x */
static NEON ARM_INLINE void neon_centered(float64x2_t d[2], float32x4_t x, double mean)
{
    d[0] = vsubq_f64(vcvt_f64_f32(vget_low_f32(x)), vdupq_n_f64(mean));
    d[1] = vsubq_f64(vcvt_high_f64_f32(x), vdupq_n_f64(mean));
}

static NEON double neon_mean(const float *x, int64_t n)
{
    float64x2_t a = vdupq_n_f64(0), b = a;
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t v = neon_part(x + i, n - i);
        a = vaddq_f64(a, vcvt_f64_f32(vget_low_f32(v)));
        b = vaddq_f64(b, vcvt_high_f64_f32(v));
    }
    return vaddvq_f64(vaddq_f64(a, b)) / (double)n;
}

static NEON double neon_variance(const float *x, int64_t n, double mean)
{
    float64x2_t a = vdupq_n_f64(0), b = a, d[2];
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        neon_centered(d, vld1q_f32(x + i), mean);
        a = vfmaq_f64(a, d[0], d[0]);
        b = vfmaq_f64(b, d[1], d[1]);
    }
    double sum = vaddvq_f64(vaddq_f64(a, b));
    for (; i < n; i++) { /* zeros behind the end would count */
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    return sum / (double)n;
}

static NEON void neon_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                                 int64_t n, float eps)
{
    double mean = neon_mean(x, n);
    double scale = 1.0 / math_sqrt(neon_variance(x, n, mean) + (double)eps);
    for (int64_t i = 0; i < n; i += 4) {
        float64x2_t d[2];
        neon_centered(d, neon_part(x + i, n - i), mean);
        float32x4_t v =
            vcvt_high_f32_f64(vcvt_f32_f64(vmulq_n_f64(d[0], scale)), vmulq_n_f64(d[1], scale));
        if (weight != NULL) {
            v = vmulq_f32(v, neon_part(weight + i, n - i));
        }
        if (bias != NULL) {
            v = vaddq_f32(v, neon_part(bias + i, n - i));
        }
        neon_store_part(y + i, v, n - i);
    }
}

static NEON void neon_rope_neox(float *x, const float *cos_table, const float *sin_table,
                                int64_t n_rot)
{
    int64_t half = n_rot / 2;
    for (int64_t i = 0; i < half; i += 4) {
        int64_t left = half - i;
        float32x4_t a = neon_part(x + i, left), b = neon_part(x + half + i, left);
        float32x4_t c = neon_part(cos_table + i, left), s = neon_part(sin_table + i, left);
        float32x4_t u = vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s));
        float32x4_t v = vaddq_f32(vmulq_f32(a, s), vmulq_f32(b, c));
        neon_store_part(x + i, u, left);
        neon_store_part(x + half + i, v, left);
    }
}

static NEON void neon_rope_norm(float *x, const float *cos_table, const float *sin_table,
                                int64_t n_rot)
{
    int64_t i = 0;
    for (; i + 4 <= n_rot / 2; i += 4) {
        float32x4x2_t v = vld2q_f32(x + 2 * i), w;
        float32x4_t c = vld1q_f32(cos_table + i), s = vld1q_f32(sin_table + i);
        w.val[0] = vsubq_f32(vmulq_f32(v.val[0], c), vmulq_f32(v.val[1], s));
        w.val[1] = vaddq_f32(vmulq_f32(v.val[0], s), vmulq_f32(v.val[1], c));
        vst2q_f32(x + 2 * i, w);
    }
    ref_rope_norm(x + 2 * i, cos_table + i, sin_table + i, n_rot - 2 * i);
}

/* What a kernel does with an element of a and one of b, and a number for all. */
typedef float32x4_t (*neon_function)(float32x4_t a, float32x4_t b, float c);

/* y = f(a, b, c) for n_vectors of four; if there is one, for n elements of it. b NULL: 1. */
static NEON ARM_INLINE void neon_map_part(float *y, const float *a, const float *b, float c,
                                          int n_vectors, int64_t n, neon_function f)
{
    float32x4_t v[NEON_TOGETHER];
    SLM_UNROLL
    for (int j = 0; j < n_vectors; j++) {
        v[j] = vdupq_n_f32(1.0f);
    }
    if (b != NULL) { /* asked once: across a branch no compiler would mix the chains below */
        SLM_UNROLL
        for (int j = 0; j < n_vectors; j++) {
            v[j] = neon_part(b + 4 * j, n);
        }
    }
    SLM_UNROLL
    for (int j = 0; j < n_vectors; j++) {
        v[j] = f(neon_part(a + 4 * j, n), v[j], c);
    }
    SLM_UNROLL
    for (int j = 0; j < n_vectors; j++) {
        neon_store_part(y + 4 * j, v[j], n);
    }
}

/* y may be a or b. */
static NEON ARM_INLINE void neon_map(float *y, const float *a, const float *b, float c, int64_t n,
                                     neon_function f)
{
    const int64_t together = 4 * NEON_TOGETHER;
    int64_t i = 0;
    for (; i + together <= n; i += together) {
        neon_map_part(y + i, a + i, b != NULL ? b + i : NULL, c, NEON_TOGETHER, 4, f);
    }
    for (; i < n; i += 4) {
        neon_map_part(y + i, a + i, b != NULL ? b + i : NULL, c, 1, n - i, f);
    }
}

static NEON ARM_INLINE float32x4_t neon_swiglu_of(float32x4_t x, float32x4_t up, float unused)
{
    (void)unused;
    return vmulq_f32(neon_gate(x, x), up);
}

static NEON ARM_INLINE float32x4_t neon_clamped_of(float32x4_t x, float32x4_t up, float limit)
{
    float32x4_t most = vdupq_n_f32(limit), g = vminq_f32(x, most);
    float32x4_t u = vmaxq_f32(vminq_f32(up, most), vnegq_f32(most));
    return vmulq_f32(neon_gate(g, vmulq_n_f32(g, 1.702f)), vaddq_f32(u, vdupq_n_f32(1.0f)));
}

/* As ref_gelu. */
static NEON ARM_INLINE float32x4_t neon_gelu_of(float32x4_t x, float32x4_t up, float twice_root)
{
    float32x4_t cube = vmulq_f32(vmulq_f32(x, x), x);
    float32x4_t u = vfmaq_n_f32(x, cube, 0.044715f);
    return vmulq_f32(neon_gate(x, vmulq_n_f32(u, twice_root)), up);
}

static NEON ARM_INLINE float32x4_t neon_relu_of(float32x4_t x, float32x4_t up, float least)
{
    float32x4_t positive = vmaxq_f32(x, vdupq_n_f32(least));
    return vmulq_f32(vmulq_f32(positive, positive), up);
}

static NEON ARM_INLINE float32x4_t neon_softcap_of(float32x4_t x, float32x4_t unused, float cap)
{
    (void)unused;
    return neon_softcap(x, cap);
}

static NEON ARM_INLINE float32x4_t neon_sum_of(float32x4_t y, float32x4_t x, float unused)
{
    (void)unused;
    return vaddq_f32(y, x);
}

static NEON void neon_swiglu(float *y, const float *gate, const float *up, int64_t n)
{
    neon_map(y, gate, up, 0, n, neon_swiglu_of);
}

static NEON void neon_swiglu_clamped(float *y, const float *gate, const float *up, int64_t n)
{
    neon_map(y, gate, up, 7.0f, n, neon_clamped_of);
}

static NEON void neon_gelu(float *y, const float *x, const float *up, int64_t n)
{
    neon_map(y, x, up, 1.59576912160573071f, n, neon_gelu_of);
}

static NEON void neon_relu_squared(float *y, const float *x, const float *up, int64_t n)
{
    neon_map(y, x, up, 0, n, neon_relu_of);
}

static NEON void neon_softcap_all(float *x, int64_t n, float cap)
{
    neon_map(x, x, NULL, cap, n, neon_softcap_of);
}

static NEON void neon_vector_add(float *y, const float *x, int64_t n)
{
    neon_map(y, y, x, 0, n, neon_sum_of);
}

/* The largest value, then the first place where it stands. */
static NEON int64_t neon_argmax(const float *x, int64_t n)
{
    float32x4_t lowest = vdupq_n_f32(bits_to_f32(REF_INFINITY_BITS | 0x80000000u)), best = lowest;
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t v = vbslq_f32(neon_mask(n - i), neon_part(x + i, n - i), lowest);
        best = vbslq_f32(vcgtq_f32(v, best), v, best); /* a NaN never wins */
    }
    best = vdupq_n_f32(vmaxnmvq_f32(best));
    for (int64_t i = 0; i < n; i += 4) {
        uint32x4_t same = vceqq_f32(neon_part(x + i, n - i), best);
        same = vandq_u32(same, neon_mask(n - i));
        if (vmaxvq_u32(same) != 0) {
            uint32_t lane[4];
            vst1q_u32(lane, same);
            return i + (lane[0] ? 0 : lane[1] ? 1 : lane[2] ? 2 : 3);
        }
    }
    return 0;
}

#endif /* AArch64 */
