/* x86_avx512_delta.c - the delta rule for AVX-512, and the convolution before it.
 *
 * A few columns of the state, which fit the first cache, go through all tokens before the next few:
 * in one pass over them a token's update, its output, and S^T k of the next token. The loop is bound
 * by its four products, not by memory; a single token by reading and writing the state once. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define ZMM SLM_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define ZMM_INLINE SLM_INLINE_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

#define ZMM_DELTA_VECTORS 4 /* of columns that are worked on together */
#define ZMM_DELTA_MOST 8    /* of a single token, whose state is read as it lies */

/* sum = S^T k */
static ZMM_INLINE void zmm_delta_sum(const struct kernel_delta_job *job, int64_t column, int n,
                                     __mmask16 lanes, __m512 sum[ZMM_DELTA_MOST])
{
    const float *s = job->from + column;
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        sum[j] = _mm512_setzero_ps();
    }
    for (int64_t i = 0; i < job->n_key; i++, s += job->n_value) {
        __m512 k = _mm512_set1_ps(job->k[i]);
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            sum[j] = _mm512_fmadd_ps(k, _mm512_maskz_loadu_ps(lanes, s + 16 * j), sum[j]);
        }
    }
}

/* S = decay * S + k d^T, o = S^T q; and sum = S^T k_next, if there is one. */
static ZMM_INLINE void zmm_delta_update(const struct kernel_delta_job *job, int64_t token,
                                        int64_t column, int n, __mmask16 lanes, int has_next,
                                        int is_far, const __m512 d[ZMM_DELTA_MOST],
                                        __m512 sum[ZMM_DELTA_MOST])
{
    int is_last = token + 1 == job->n_token;
    const float *from = token == 0 ? job->from + column : job->scratch;
    float *to = is_last ? job->to + column : job->scratch;
    int64_t from_step = token == 0 ? job->n_value : 16 * n;
    int64_t to_step = is_last ? job->n_value : 16 * n;
    const float *k = job->k + token * job->n_key;
    const float *q = job->q + token * job->n_key;
    const __m512 decay = _mm512_set1_ps(job->gates[2 * token]);
    __m512 o[ZMM_DELTA_MOST];
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        sum[j] = o[j] = _mm512_setzero_ps();
    }
    for (int64_t i = 0; i < job->n_key; i++, from += from_step, to += to_step) {
        __m512 k_i = _mm512_set1_ps(k[i]), q_i = _mm512_set1_ps(q[i]);
        __m512 next = has_next ? _mm512_set1_ps(k[i + job->n_key]) : k_i;
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            __m512 s = _mm512_mul_ps(decay, _mm512_maskz_loadu_ps(lanes, from + 16 * j));
            s = _mm512_fmadd_ps(k_i, d[j], s);
            if (is_far) {
                _mm512_stream_ps(to + 16 * j, s);
            } else {
                _mm512_mask_storeu_ps(to + 16 * j, lanes, s);
            }
            o[j] = _mm512_fmadd_ps(q_i, s, o[j]);
            if (has_next) {
                sum[j] = _mm512_fmadd_ps(next, s, sum[j]);
            }
        }
    }
    SLM_UNROLL
    for (int j = 0; j < n; j++) {
        _mm512_mask_storeu_ps(job->o + token * job->o_stride + column + 16 * j, lanes, o[j]);
    }
}

/* n vectors of columns through all tokens. */
static ZMM_INLINE void zmm_delta_columns(const struct kernel_delta_job *job, int64_t column, int n,
                                         __mmask16 lanes, int is_far)
{
    __m512 sum[ZMM_DELTA_MOST], d[ZMM_DELTA_MOST];
    zmm_delta_sum(job, column, n, lanes, sum);
    for (int64_t t = 0; t < job->n_token; t++) {
        const float *v = job->v + t * job->v_stride + column;
        const __m512 decay = _mm512_set1_ps(job->gates[2 * t]);
        const __m512 beta = _mm512_set1_ps(job->gates[2 * t + 1]);
        SLM_UNROLL
        for (int j = 0; j < n; j++) {
            d[j] = _mm512_fnmadd_ps(decay, sum[j], _mm512_maskz_loadu_ps(lanes, v + 16 * j));
            d[j] = _mm512_mul_ps(beta, d[j]);
        }
        if (t + 1 < job->n_token) {
            zmm_delta_update(job, t, column, n, lanes, 1, 0, d, sum);
        } else {
            zmm_delta_update(job, t, column, n, lanes, 0, is_far, d, sum);
        }
    }
}

static ZMM void zmm_delta_net(const struct kernel_delta_job *job)
{
    const int64_t width = 16 * ZMM_DELTA_VECTORS, most = 16 * ZMM_DELTA_MOST;
    int64_t column = 0;
    if (job->is_far && job->n_token == 1 && job->n_value % most == 0 &&
        (uintptr_t)job->to % 64 == 0) {
        for (; column < job->n_value; column += most) {
            struct kernel_delta_job one = *job;
            one.n_token = 1;
            zmm_delta_columns(&one, column, ZMM_DELTA_MOST, 0xffff, 1);
        }
        _mm_sfence(); /* who waits for this thread sees what passed the caches by */
    }
    for (; column + width <= job->n_value; column += width) {
        zmm_delta_columns(job, column, ZMM_DELTA_VECTORS, 0xffff, 0);
    }
    for (; column < job->n_value; column += 16) {
        int64_t left = job->n_value - column;
        zmm_delta_columns(job, column, 1, (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1), 0);
    }
}

static void kernels_set_avx512_delta(struct kernels *k)
{
    k->delta_net = zmm_delta_net;
}

#undef ZMM
#undef ZMM_INLINE
#undef ZMM_DELTA_VECTORS
#undef ZMM_DELTA_MOST

#endif /* x86-64 */
