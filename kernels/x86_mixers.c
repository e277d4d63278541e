/* x86_mixers.c - the small loops of mixers with a state and of experts, for AVX2 and AVX-512: gates, a
 * convolution, a head of Mamba-2, a step of RWKV-7's delta rule, sums of scaled rows. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define MIX2 SLM_TARGET("avx2,fma,f16c")
#define MIX2_INLINE SLM_INLINE_TARGET("avx2,fma,f16c")
#define MIX5 SLM_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define MIX5_INLINE SLM_INLINE_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

/* ---- AVX2 ------------------------------------------------------------------------------------ */

static MIX2 void avx2_sigmoid_gate(float *y, const float *gate, const float *x, int64_t n)
{
    __m256 one = _mm256_set1_ps(1.0f), minus = _mm256_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 e = avx2_exp(_mm256_xor_ps(_mm256_maskload_ps(gate + i, mask), minus));
        __m256 v = x != NULL ? _mm256_maskload_ps(x + i, mask) : one;
        _mm256_maskstore_ps(y + i, mask, _mm256_div_ps(v, _mm256_add_ps(one, e)));
    }
}

static MIX2 void avx2_vector_multiply(float *y, const float *a, const float *b, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    }
    for (; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}

static MIX2 void avx2_add_scaled(float *y, const float *x, float scale, int64_t n)
{
    __m256 s = _mm256_set1_ps(scale);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(s, _mm256_loadu_ps(x + i));
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), v));
    }
    for (; i < n; i++) {
        y[i] += scale * x[i];
    }
}

/* Eight channels of a convolution, or those of `mask`, over all tokens: the state is in registers. */
static MIX2_INLINE void avx2_conv_channels(struct kernel_conv job, int n_conv, int64_t i,
                                           __m256i mask)
{
    __m256 one = _mm256_set1_ps(1.0f), minus = _mm256_set1_ps(-0.0f), z[4], kernel[4];
    __m256 bias = job.bias != NULL ? _mm256_maskload_ps(job.bias + i, mask) : _mm256_setzero_ps();
    SLM_UNROLL
    for (int j = 0; j < n_conv; j++) {
        kernel[j] = _mm256_maskload_ps(job.kernel + j * job.width + i, mask);
        z[j] = j + 1 < n_conv ? _mm256_maskload_ps(job.from + j * job.width + i, mask) : one;
    }
    for (int64_t t = 0; t < job.n_token; t++) {
        float *x = job.x + t * job.stride + i;
        __m256 y = bias;
        z[n_conv - 1] = _mm256_maskload_ps(x, mask);
        SLM_UNROLL
        for (int j = 0; j < n_conv; j++) {
            y = _mm256_fmadd_ps(kernel[j], z[j], y);
        }
        if (job.silu) {
            y = _mm256_div_ps(y, _mm256_add_ps(one, avx2_exp(_mm256_xor_ps(y, minus))));
        }
        _mm256_maskstore_ps(x, mask, y);
        SLM_UNROLL
        for (int j = 0; j + 1 < n_conv; j++) {
            z[j] = z[j + 1];
        }
    }
    SLM_UNROLL
    for (int j = 0; j + 1 < n_conv; j++) {
        _mm256_maskstore_ps(job.to + j * job.width + i, mask, z[j]);
    }
}

/* Three and four taps are what models have. */
static MIX2 void avx2_conv(const struct kernel_conv *job)
{
    for (int64_t i = 0; job->n_conv == 3 && i < job->n; i += 8) {
        avx2_conv_channels(*job, 3, i, avx2_mask(job->n - i));
    }
    for (int64_t i = 0; job->n_conv == 4 && i < job->n; i += 8) {
        avx2_conv_channels(*job, 4, i, avx2_mask(job->n - i));
    }
    if (job->n_conv != 3 && job->n_conv != 4) {
        ref_conv(job);
    }
}

/* Columns i.. of a step: n_vectors of eight, or what the mask leaves of one. */
static MIX2_INLINE void avx2_rwkv_columns(const struct kernel_rwkv_step *s, int64_t i,
                                          int n_vectors, __m256i mask)
{
    __m256 old[4], y[4], v[4];
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        old[c] = y[c] = _mm256_setzero_ps();
        v[c] = _mm256_maskload_ps(s->v + i + 8 * c, mask);
    }
    for (int64_t j = 0; j < s->n; j++) {
        const float *row = s->state + j * s->n + i;
        __m256 removal = _mm256_broadcast_ss(s->removal + j);
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            old[c] = _mm256_fmadd_ps(removal, _mm256_maskload_ps(row + 8 * c, mask), old[c]);
        }
    }
    for (int64_t j = 0; j < s->n; j++) {
        float *row = s->state + j * s->n + i;
        __m256 decay = _mm256_broadcast_ss(s->decay + j);
        __m256 insertion = _mm256_broadcast_ss(s->insertion + j);
        __m256 k = _mm256_broadcast_ss(s->k + j), r = _mm256_broadcast_ss(s->r + j);
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            __m256 e = _mm256_fmadd_ps(insertion, old[c], _mm256_mul_ps(k, v[c]));
            e = _mm256_fmadd_ps(decay, _mm256_maskload_ps(row + 8 * c, mask), e);
            _mm256_maskstore_ps(row + 8 * c, mask, e);
            y[c] = _mm256_fmadd_ps(r, e, y[c]);
        }
    }
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        _mm256_maskstore_ps(s->y + i + 8 * c, mask, y[c]);
    }
}

static MIX2 void avx2_rwkv_step(const struct kernel_rwkv_step *s)
{
    int64_t i = 0;
    for (; i + 32 <= s->n; i += 32) {
        avx2_rwkv_columns(s, i, 4, _mm256_set1_epi32(-1));
    }
    for (; i < s->n; i += 8) {
        avx2_rwkv_columns(s, i, 1, avx2_mask(s->n - i));
    }
}

/* Tokens t..t + n_token - 1 of a head pass over vectors of channels from `at` on of the state, each
 * of which stays in a register for all of them; of the last eight only the lanes of `mask`. The job is
 * a copy: to a compiler a store may change what a pointer leads to. */
static MIX2_INLINE void avx2_ssm_head_block(struct kernel_ssm_head job, int64_t t, int64_t at,
                                            int n_token, int n, __m256i mask, int is_far)
{
    __m256 in[2][4], sum[2][4], keep[2];
    const float *from = (t == 0 ? job.from : job.to) + at;
    float *to = job.to + at;
    SLM_UNROLL
    for (int k = 0; k < n_token; k++) {
        const float *x = job.x + (t + k) * job.stride + at;
        keep[k] = _mm256_broadcast_ss(job.gates + 2 * (t + k) + 1);
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            in[k][i] = _mm256_mul_ps(_mm256_broadcast_ss(job.gates + 2 * (t + k)),
                                     _mm256_maskload_ps(x + 8 * i, mask));
            sum[k][i] = _mm256_setzero_ps();
        }
    }
    const float *b = job.b + t * job.stride, *c = job.c + t * job.stride;
    for (int64_t j = 0; j < job.n_state; j++, from += job.n, to += job.n, b++, c++) {
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            __m256 v =
                n > 1 ? _mm256_loadu_ps(from + 8 * i) : _mm256_maskload_ps(from + 8 * i, mask);
            SLM_UNROLL
            for (int k = 0; k < n_token; k++) {
                __m256 added = _mm256_mul_ps(_mm256_broadcast_ss(b + k * job.stride), in[k][i]);
                v = _mm256_fmadd_ps(keep[k], v, added);
                sum[k][i] = _mm256_fmadd_ps(_mm256_broadcast_ss(c + k * job.stride), v, sum[k][i]);
            }
            if (is_far) {
                _mm256_stream_ps(to + 8 * i, v);
            } else if (n > 1) {
                _mm256_storeu_ps(to + 8 * i, v);
            } else {
                _mm256_maskstore_ps(to + 8 * i, mask, v);
            }
        }
    }
    SLM_UNROLL
    for (int k = 0; k < n_token; k++) {
        const float *x = job.x + (t + k) * job.stride + at;
        float *y = job.y + (t + k) * job.y_stride + at;
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            __m256 v = _mm256_maskload_ps(x + 8 * i, mask);
            _mm256_maskstore_ps(y + 8 * i, mask,
                                _mm256_fmadd_ps(_mm256_set1_ps(job.skip), v, sum[k][i]));
        }
    }
}

static MIX2_INLINE void avx2_ssm_head_columns(struct kernel_ssm_head job, int64_t at, int n,
                                              __m256i mask)
{
    int64_t t = 0;
    for (; t + 2 <= job.n_token; t += 2) {
        avx2_ssm_head_block(job, t, at, 2, n, mask, 0);
    }
    if (t < job.n_token) {
        avx2_ssm_head_block(job, t, at, 1, n, mask, 0);
    }
}

static MIX2 void avx2_ssm_head(const struct kernel_ssm_head *job)
{
    const __m256i all = _mm256_set1_epi32(-1);
    int64_t i = 0;
    if (job->is_far && job->n_token == 1 && job->n % 16 == 0 && (uintptr_t)job->to % 64 == 0) {
        for (; i + 32 <= job->n; i += 32) {
            avx2_ssm_head_block(*job, 0, i, 1, 4, all, 1);
        }
        for (; i < job->n; i += 16) {
            avx2_ssm_head_block(*job, 0, i, 1, 2, all, 1);
        }
        _mm_sfence();
    }
    for (; i + 16 <= job->n; i += 16) {
        avx2_ssm_head_columns(*job, i, 2, all);
    }
    for (; i < job->n; i += 8) {
        avx2_ssm_head_columns(*job, i, 1, avx2_mask(job->n - i));
    }
}

static void kernels_set_avx2_mixers(struct kernels *k)
{
    k->sigmoid_gate = avx2_sigmoid_gate;
    k->multiply = avx2_vector_multiply;
    k->add_scaled = avx2_add_scaled;
    k->conv = avx2_conv;
    k->rwkv_step = avx2_rwkv_step;
    k->ssm_head = avx2_ssm_head;
}

/* ---- AVX-512 --------------------------------------------------------------------------------- */

/* multiply and add_scaled stay AVX2's: in cache 16 masked lanes took a third to a half longer on a
 * Sapphire Rapids. */

static MIX5 void zmm_sigmoid_gate(float *y, const float *gate, const float *x, int64_t n)
{
    __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 e = zmm_exp(_mm512_xor_ps(zmm_load(gate + i, n - i), minus));
        __m512 v = x != NULL ? zmm_load(x + i, n - i) : one;
        zmm_store(y + i, n - i, _mm512_div_ps(v, _mm512_add_ps(one, e)));
    }
}

/* As avx2_conv_channels. */
static MIX5_INLINE void zmm_conv_channels(struct kernel_conv job, int n_conv, int64_t i)
{
    __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-0.0f), z[4], kernel[4];
    __mmask16 lanes = zmm_mask(job.n - i);
    __m512 bias =
        job.bias != NULL ? _mm512_maskz_loadu_ps(lanes, job.bias + i) : _mm512_setzero_ps();
    SLM_UNROLL
    for (int j = 0; j < n_conv; j++) {
        kernel[j] = _mm512_maskz_loadu_ps(lanes, job.kernel + j * job.width + i);
        z[j] = j + 1 < n_conv ? _mm512_maskz_loadu_ps(lanes, job.from + j * job.width + i) : one;
    }
    for (int64_t t = 0; t < job.n_token; t++) {
        float *x = job.x + t * job.stride + i;
        __m512 y = bias;
        z[n_conv - 1] = _mm512_maskz_loadu_ps(lanes, x);
        SLM_UNROLL
        for (int j = 0; j < n_conv; j++) {
            y = _mm512_fmadd_ps(kernel[j], z[j], y);
        }
        if (job.silu) {
            y = _mm512_div_ps(y, _mm512_add_ps(one, zmm_exp(_mm512_xor_ps(y, minus))));
        }
        _mm512_mask_storeu_ps(x, lanes, y);
        SLM_UNROLL
        for (int j = 0; j + 1 < n_conv; j++) {
            z[j] = z[j + 1];
        }
    }
    SLM_UNROLL
    for (int j = 0; j + 1 < n_conv; j++) {
        _mm512_mask_storeu_ps(job.to + j * job.width + i, lanes, z[j]);
    }
}

static MIX5 void zmm_conv(const struct kernel_conv *job)
{
    for (int64_t i = 0; job->n_conv == 3 && i < job->n; i += 16) {
        zmm_conv_channels(*job, 3, i);
    }
    for (int64_t i = 0; job->n_conv == 4 && i < job->n; i += 16) {
        zmm_conv_channels(*job, 4, i);
    }
    if (job->n_conv != 3 && job->n_conv != 4) {
        ref_conv(job);
    }
}

/* Columns i.. of a step: n_vectors of 16, the last of them with n lanes. */
static MIX5_INLINE void zmm_rwkv_columns(const struct kernel_rwkv_step *s, int64_t i, int n_vectors,
                                         int64_t n)
{
    __m512 old[4], y[4], v[4];
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        old[c] = y[c] = _mm512_setzero_ps();
        v[c] = zmm_load(s->v + i + 16 * c, n);
    }
    for (int64_t j = 0; j < s->n; j++) {
        const float *row = s->state + j * s->n + i;
        __m512 removal = _mm512_set1_ps(s->removal[j]);
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            old[c] = _mm512_fmadd_ps(removal, zmm_load(row + 16 * c, n), old[c]);
        }
    }
    for (int64_t j = 0; j < s->n; j++) {
        float *row = s->state + j * s->n + i;
        __m512 decay = _mm512_set1_ps(s->decay[j]), insertion = _mm512_set1_ps(s->insertion[j]);
        __m512 k = _mm512_set1_ps(s->k[j]), r = _mm512_set1_ps(s->r[j]);
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            __m512 e = _mm512_fmadd_ps(insertion, old[c], _mm512_mul_ps(k, v[c]));
            e = _mm512_fmadd_ps(decay, zmm_load(row + 16 * c, n), e);
            zmm_store(row + 16 * c, n, e);
            y[c] = _mm512_fmadd_ps(r, e, y[c]);
        }
    }
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        zmm_store(s->y + i + 16 * c, n, y[c]);
    }
}

static MIX5 void zmm_rwkv_step(const struct kernel_rwkv_step *s)
{
    int64_t i = 0;
    for (; i + 64 <= s->n; i += 64) {
        zmm_rwkv_columns(s, i, 4, 16);
    }
    for (; i < s->n; i += 16) {
        zmm_rwkv_columns(s, i, 1, s->n - i);
    }
}

/* As avx2_ssm_head_block; for n = 1 only the first n_lane channels. Two loads for three products:
 * four tokens by two vectors are bound by products, not by the first cache. */
static MIX5_INLINE void zmm_ssm_head_block(struct kernel_ssm_head job, int64_t t, int64_t at,
                                           int n_token, int n, int64_t n_lane, int is_far)
{
    __m512 in[4][4], sum[4][4], keep[4];
    const float *from = (t == 0 ? job.from : job.to) + at;
    float *to = job.to + at;
    SLM_UNROLL
    for (int k = 0; k < n_token; k++) {
        const float *x = job.x + (t + k) * job.stride + at;
        keep[k] = _mm512_set1_ps(job.gates[2 * (t + k) + 1]);
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            in[k][i] =
                _mm512_mul_ps(_mm512_set1_ps(job.gates[2 * (t + k)]), zmm_load(x + 16 * i, n_lane));
            sum[k][i] = _mm512_setzero_ps();
        }
    }
    const float *b = job.b + t * job.stride, *c = job.c + t * job.stride;
    for (int64_t j = 0; j < job.n_state; j++, from += job.n, to += job.n, b++, c++) {
        __m512 v[4];
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            v[i] = zmm_load(from + 16 * i, n_lane);
        }
        SLM_UNROLL
        for (int k = 0; k < n_token; k++) {
            __m512 b_k = _mm512_set1_ps(b[k * job.stride]), c_k = _mm512_set1_ps(c[k * job.stride]);
            SLM_UNROLL
            for (int i = 0; i < n; i++) {
                v[i] = _mm512_fmadd_ps(keep[k], v[i], _mm512_mul_ps(b_k, in[k][i]));
                sum[k][i] = _mm512_fmadd_ps(c_k, v[i], sum[k][i]);
            }
        }
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            if (is_far) {
                _mm512_stream_ps(to + 16 * i, v[i]);
            } else {
                zmm_store(to + 16 * i, n_lane, v[i]);
            }
        }
    }
    SLM_UNROLL
    for (int k = 0; k < n_token; k++) {
        const float *x = job.x + (t + k) * job.stride + at;
        float *y = job.y + (t + k) * job.y_stride + at;
        SLM_UNROLL
        for (int i = 0; i < n; i++) {
            __m512 v = zmm_load(x + 16 * i, n_lane);
            zmm_store(y + 16 * i, n_lane, _mm512_fmadd_ps(_mm512_set1_ps(job.skip), v, sum[k][i]));
        }
    }
}

static MIX5_INLINE void zmm_ssm_head_columns(struct kernel_ssm_head job, int64_t at, int n,
                                             int64_t n_lane)
{
    int64_t t = 0;
    for (; t + 4 <= job.n_token; t += 4) {
        zmm_ssm_head_block(job, t, at, 4, n, n_lane, 0);
    }
    for (; t < job.n_token; t++) {
        zmm_ssm_head_block(job, t, at, 1, n, n_lane, 0);
    }
}

static MIX5 void zmm_ssm_head(const struct kernel_ssm_head *job)
{
    int64_t i = 0;
    if (job->is_far && job->n_token == 1 && job->n % 16 == 0 && (uintptr_t)job->to % 64 == 0) {
        for (; i + 64 <= job->n; i += 64) {
            zmm_ssm_head_block(*job, 0, i, 1, 4, 16, 1);
        }
        for (; i < job->n; i += 16) {
            zmm_ssm_head_block(*job, 0, i, 1, 1, 16, 1);
        }
        _mm_sfence(); /* who waits for this thread sees what passed the caches by */
    }
    for (; i + 32 <= job->n; i += 32) {
        zmm_ssm_head_columns(*job, i, 2, 16);
    }
    for (; i < job->n; i += 16) {
        zmm_ssm_head_columns(*job, i, 1, job->n - i);
    }
}

static void kernels_set_avx512_mixers(struct kernels *k)
{
    k->sigmoid_gate = zmm_sigmoid_gate;
    k->conv = zmm_conv;
    k->rwkv_step = zmm_rwkv_step;
    k->ssm_head = zmm_ssm_head;
}

#undef MIX2
#undef MIX2_INLINE
#undef MIX5
#undef MIX5_INLINE

#endif /* x86-64 */
