/* x86_avx2_delta.c - the delta rule for AVX2: as x86_avx512_delta.c says, with narrower columns. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define AVX2_DELTA_VECTORS 2 /* of columns that are worked on together: 11 registers of 16 */

/* sum = S^T k */
static AVX2_INLINE void avx2_delta_sum(const struct kernel_delta_job *job, int64_t column,
                                       __m256 sum[AVX2_DELTA_VECTORS])
{
    const float *s = job->from + column;
    SLM_UNROLL
    for (int j = 0; j < AVX2_DELTA_VECTORS; j++) {
        sum[j] = _mm256_setzero_ps();
    }
    for (int64_t i = 0; i < job->n_key; i++, s += job->n_value) {
        __m256 k = _mm256_set1_ps(job->k[i]);
        SLM_UNROLL
        for (int j = 0; j < AVX2_DELTA_VECTORS; j++) {
            sum[j] = _mm256_fmadd_ps(k, _mm256_loadu_ps(s + 8 * j), sum[j]);
        }
    }
}

/* S = decay * S + k d^T, o = S^T q; and sum = S^T k_next, if there is one. */
static AVX2_INLINE void avx2_delta_update(const struct kernel_delta_job *job, int64_t token,
                                          int64_t column, int has_next,
                                          const __m256 d[AVX2_DELTA_VECTORS],
                                          __m256 sum[AVX2_DELTA_VECTORS])
{
    int is_last = token + 1 == job->n_token;
    const float *from = token == 0 ? job->from + column : job->scratch;
    float *to = is_last ? job->to + column : job->scratch;
    int64_t from_step = token == 0 ? job->n_value : 8 * AVX2_DELTA_VECTORS;
    int64_t to_step = is_last ? job->n_value : 8 * AVX2_DELTA_VECTORS;
    const float *k = job->k + token * job->n_key;
    const float *q = job->q + token * job->n_key;
    const __m256 decay = _mm256_set1_ps(job->gates[2 * token]);
    __m256 o[AVX2_DELTA_VECTORS];
    SLM_UNROLL
    for (int j = 0; j < AVX2_DELTA_VECTORS; j++) {
        sum[j] = o[j] = _mm256_setzero_ps();
    }
    for (int64_t i = 0; i < job->n_key; i++, from += from_step, to += to_step) {
        __m256 k_i = _mm256_set1_ps(k[i]), q_i = _mm256_set1_ps(q[i]);
        __m256 next = has_next ? _mm256_set1_ps(k[i + job->n_key]) : k_i;
        SLM_UNROLL
        for (int j = 0; j < AVX2_DELTA_VECTORS; j++) {
            __m256 s = _mm256_mul_ps(decay, _mm256_loadu_ps(from + 8 * j));
            s = _mm256_fmadd_ps(k_i, d[j], s);
            _mm256_storeu_ps(to + 8 * j, s);
            o[j] = _mm256_fmadd_ps(q_i, s, o[j]);
            if (has_next) {
                sum[j] = _mm256_fmadd_ps(next, s, sum[j]);
            }
        }
    }
    SLM_UNROLL
    for (int j = 0; j < AVX2_DELTA_VECTORS; j++) {
        _mm256_storeu_ps(job->o + token * job->o_stride + column + 8 * j, o[j]);
    }
}

/* A few columns through all tokens. */
static AVX2_INLINE void avx2_delta_columns(const struct kernel_delta_job *job, int64_t column)
{
    __m256 sum[AVX2_DELTA_VECTORS], d[AVX2_DELTA_VECTORS];
    avx2_delta_sum(job, column, sum);
    for (int64_t t = 0; t < job->n_token; t++) {
        const float *v = job->v + t * job->v_stride + column;
        const __m256 decay = _mm256_set1_ps(job->gates[2 * t]);
        const __m256 beta = _mm256_set1_ps(job->gates[2 * t + 1]);
        SLM_UNROLL
        for (int j = 0; j < AVX2_DELTA_VECTORS; j++) {
            d[j] = _mm256_fnmadd_ps(decay, sum[j], _mm256_loadu_ps(v + 8 * j));
            d[j] = _mm256_mul_ps(beta, d[j]);
        }
        if (t + 1 < job->n_token) {
            avx2_delta_update(job, t, column, 1, d, sum);
        } else {
            avx2_delta_update(job, t, column, 0, d, sum);
        }
    }
}

static AVX2 void avx2_delta_net(const struct kernel_delta_job *job)
{
    const int64_t width = 8 * AVX2_DELTA_VECTORS;
    int64_t column = 0;
    for (; column + width <= job->n_value; column += width) {
        avx2_delta_columns(job, column);
    }
    for (int64_t t = 0; column < job->n_value && t < job->n_token; t++) {
        ref_delta_columns(job, t, t == 0 ? job->from : job->to, column, job->n_value - column);
    }
}

/* ---- Convolutions ----------------------------------------------------------------------------- */

static AVX2 void avx2_conv(float *x, float *state, const float *kernel, const float *bias,
                           int32_t n_conv, int64_t n, int64_t width)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256i lanes = avx2_mask(n - i);
        __m256 y = bias != NULL ? _mm256_maskload_ps(bias + i, lanes) : _mm256_setzero_ps();
        for (int32_t j = 0; j < n_conv; j++) {
            const float *from = j + 1 < n_conv ? state + j * width : x;
            __m256 in = _mm256_maskload_ps(from + i, lanes);
            y = _mm256_fmadd_ps(_mm256_maskload_ps(kernel + j * width + i, lanes), in, y);
            if (j > 0) {
                _mm256_maskstore_ps(state + (j - 1) * width + i, lanes, in);
            }
        }
        _mm256_maskstore_ps(x + i, lanes, y);
    }
}

#undef AVX2_DELTA_VECTORS

#endif /* x86-64 */
