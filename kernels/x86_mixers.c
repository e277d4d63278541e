/* x86_mixers.c - the small loops of mixers with a state and of experts, for AVX2 and AVX-512: gates, a
 * row of a convolution, a step of RWKV-7's delta rule, sums of scaled rows. */

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

/* The state rows are read and moved in one go. */
static MIX2 void avx2_conv_row(float *x, float *state, const float *kernel, const float *bias,
                               int32_t n_conv, int64_t n, int64_t width)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 y = bias != NULL ? _mm256_maskload_ps(bias + i, mask) : _mm256_setzero_ps();
        for (int32_t j = 0; j < n_conv; j++) {
            const float *from = j + 1 < n_conv ? state + j * width : x;
            __m256 z = _mm256_maskload_ps(from + i, mask);
            y = _mm256_fmadd_ps(_mm256_maskload_ps(kernel + j * width + i, mask), z, y);
            if (j > 0) {
                _mm256_maskstore_ps(state + (j - 1) * width + i, mask, z);
            }
        }
        _mm256_maskstore_ps(x + i, mask, y);
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

static void kernels_set_avx2_mixers(struct kernels *k)
{
    k->sigmoid_gate = avx2_sigmoid_gate;
    k->multiply = avx2_vector_multiply;
    k->add_scaled = avx2_add_scaled;
    k->conv_row = avx2_conv_row;
    k->rwkv_step = avx2_rwkv_step;
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

static MIX5 void zmm_conv_row(float *x, float *state, const float *kernel, const float *bias,
                              int32_t n_conv, int64_t n, int64_t width)
{
    for (int64_t i = 0; i < n; i += 16) {
        __m512 y = bias != NULL ? zmm_load(bias + i, n - i) : _mm512_setzero_ps();
        for (int32_t j = 0; j < n_conv; j++) {
            const float *from = j + 1 < n_conv ? state + j * width : x;
            __m512 z = zmm_load(from + i, n - i);
            y = _mm512_fmadd_ps(zmm_load(kernel + j * width + i, n - i), z, y);
            if (j > 0) {
                zmm_store(state + (j - 1) * width + i, n - i, z);
            }
        }
        zmm_store(x + i, n - i, y);
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

static void kernels_set_avx512_mixers(struct kernels *k)
{
    k->sigmoid_gate = zmm_sigmoid_gate;
    k->conv_row = zmm_conv_row;
    k->rwkv_step = zmm_rwkv_step;
}

#undef MIX2
#undef MIX2_INLINE
#undef MIX5
#undef MIX5_INLINE

#endif /* x86-64 */
