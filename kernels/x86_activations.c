/* x86_activations.c - activation functions and the norm with a mean, for AVX2 and AVX-512. The
 * exponential stands with attention.
 *
 * Where -u becomes so large that exp(-u) stays where it is, x / (1 + exp(-u)) is some 1e-38 times x
 * and not 0. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define ACT2 SLM_TARGET("avx2,fma,f16c")
#define ACT2_INLINE SLM_INLINE_TARGET("avx2,fma,f16c")
#define ACT5 SLM_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define ACT5_INLINE SLM_INLINE_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

/* gelu: x / (1 + exp(x * (LINEAR + CUBIC * x^2))). */
#define X86_GELU_LINEAR (-1.59576912160573071f) /* -2 * sqrt(2 / pi) */
#define X86_GELU_CUBIC (-0.07135481626f)        /* times 0.044715 */

/* tanh(u): below X86_TANH_SMALL 1 - 2 / (exp(2 u) + 1) loses digits, and u + u z P(z), z = u^2, is
 * taken. P is a Chebyshev fit of (tanh(u) / u - 1) / z, to 1e-8 of the result; highest power first.
 * Trap: with -ffast-math a division is a guess and a step of Newton's. Hence |u|, which keeps the
 * quotient small, and a bound above 0.6. */
#define X86_TANH_SMALL 1.125f
static const float x86_tanh_terms[8] = {0.000103377394f, -0.000778421576f, 0.00299701778f,
                                        -0.00854752561f, 0.021774338f,     -0.0539537823f,
                                        0.133332479f,    -0.333333325f};

/* Of a layer norm: y = ((x - mean) - rest) * scale. With the mean in two parts nothing of it is lost
 * in floats. */
struct x86_moments {
    float mean;
    float rest;
    float scale;
    double variance;
};

/* From the sums of x - first and of its squares. That is one pass, and loses no digits to speak of
 * however large the mean is: first is one of the n, so that n * (mean - first)^2 is at most n^2
 * times the variance, which a double has room for. */
static ACT2_INLINE struct x86_moments x86_moments_of(double sum, double squares, float first,
                                                     int64_t n, float eps)
{
    struct x86_moments m;
    double shift = sum / (double)n, mean = (double)first + shift;
    double variance = squares / (double)n - shift * shift;
    m.variance = variance > 0 ? variance : 0;
    __m128d root = _mm_set_sd(m.variance + (double)eps);
    m.mean = (float)mean;
    m.rest = (float)(mean - (double)m.mean);
    m.scale = (float)(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(root, root)));
    return m;
}

/* What ref_cut cuts off. */
static ACT2_INLINE float x86_cut_of(const struct x86_moments *m, int64_t n, float factor)
{
    __m128d root = _mm_set_sd(m->variance * (double)n / (double)max_i64(n - 1, 1));
    double deviation = _mm_cvtsd_f64(_mm_sqrt_sd(root, root));
    return (float)((double)m->mean + (double)m->rest + (double)factor * deviation);
}

/* ---- AVX2 ------------------------------------------------------------------------------------ */

/* Eight floats, or the n that are left: whole vectors need no mask, which some CPUs store slowly. */
static ACT2_INLINE __m256 avx2_take(const float *p, int64_t n)
{
    return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, avx2_mask(n));
}

static ACT2_INLINE void avx2_give(float *p, int64_t n, __m256 v)
{
    if (n >= 8) {
        _mm256_storeu_ps(p, v);
    } else {
        _mm256_maskstore_ps(p, avx2_mask(n), v);
    }
}

static ACT2 void avx2_gelu(float *y, const float *x, const float *up, int64_t n)
{
    __m256 one = _mm256_set1_ps(1.0f);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = avx2_take(x + i, n - i);
        __m256 u = _mm256_fmadd_ps(_mm256_mul_ps(v, v), _mm256_set1_ps(X86_GELU_CUBIC),
                                   _mm256_set1_ps(X86_GELU_LINEAR));
        __m256 e = avx2_exp(_mm256_mul_ps(u, v));
        v = _mm256_div_ps(v, _mm256_add_ps(one, e));
        if (up != NULL) {
            v = _mm256_mul_ps(v, avx2_take(up + i, n - i));
        }
        avx2_give(y + i, n - i, v);
    }
}

/* NaN stays NaN: max and min give their second operand for it. */
static ACT2 void avx2_relu_squared(float *y, const float *x, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_max_ps(_mm256_setzero_ps(), avx2_take(x + i, n - i));
        v = _mm256_mul_ps(v, v);
        if (up != NULL) {
            v = _mm256_mul_ps(v, avx2_take(up + i, n - i));
        }
        avx2_give(y + i, n - i, v);
    }
}

static ACT2 void avx2_swiglu_clamped(float *y, const float *gate, const float *up, int64_t n)
{
    __m256 one = _mm256_set1_ps(1.0f), high = _mm256_set1_ps(7.0f), low = _mm256_set1_ps(-7.0f);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 g = _mm256_min_ps(high, avx2_take(gate + i, n - i));
        __m256 u = _mm256_max_ps(low, _mm256_min_ps(high, avx2_take(up + i, n - i)));
        __m256 e = avx2_exp(_mm256_mul_ps(g, _mm256_set1_ps(-1.702f)));
        g = _mm256_div_ps(g, _mm256_add_ps(one, e));
        avx2_give(y + i, n - i, _mm256_mul_ps(g, _mm256_add_ps(u, one)));
    }
}

static ACT2_INLINE __m256 avx2_tanh(__m256 u)
{
    __m256 one = _mm256_set1_ps(1.0f), two = _mm256_set1_ps(2.0f), minus = _mm256_set1_ps(-0.0f);
    __m256 size = _mm256_andnot_ps(minus, u), e = avx2_exp(_mm256_add_ps(size, size));
    __m256 large = _mm256_sub_ps(one, _mm256_div_ps(two, _mm256_add_ps(e, one)));
    large = _mm256_or_ps(large, _mm256_and_ps(minus, u));
    __m256 z = _mm256_mul_ps(u, u);
    __m256 p = _mm256_set1_ps(x86_tanh_terms[0]);
    SLM_UNROLL
    for (int i = 1; i < SLM_COUNT(x86_tanh_terms); i++) {
        p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(x86_tanh_terms[i]));
    }
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(z, u), u);
    __m256 small = _mm256_cmp_ps(size, _mm256_set1_ps(X86_TANH_SMALL), _CMP_LT_OQ);
    return _mm256_blendv_ps(large, p, small);
}

static ACT2 void avx2_softcap_row(float *x, int64_t n, float cap)
{
    __m256 c = _mm256_set1_ps(cap), inverse = _mm256_set1_ps(1 / cap);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 u = _mm256_mul_ps(avx2_take(x + i, n - i), inverse);
        avx2_give(x + i, n - i, _mm256_mul_ps(c, avx2_tanh(u)));
    }
}

static ACT2_INLINE double avx2_sum_doubles(__m256d a)
{
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}

static ACT2_INLINE struct x86_moments avx2_moments(const float *x, int64_t n, float eps)
{
    __m256d zero = _mm256_setzero_pd(), sum[2] = {zero, zero}, squares[2] = {zero, zero};
    __m256d shift = _mm256_set1_pd((double)x[0]);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = avx2_take(x + i, n - i);
        if (n - i < 8) { /* what is not there adds nothing */
            v = _mm256_blendv_ps(_mm256_set1_ps(x[0]), v, _mm256_castsi256_ps(avx2_mask(n - i)));
        }
        __m256d a = _mm256_sub_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(v)), shift);
        __m256d b = _mm256_sub_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)), shift);
        sum[0] = _mm256_add_pd(sum[0], a);
        sum[1] = _mm256_add_pd(sum[1], b);
        squares[0] = _mm256_fmadd_pd(a, a, squares[0]);
        squares[1] = _mm256_fmadd_pd(b, b, squares[1]);
    }
    return x86_moments_of(avx2_sum_doubles(_mm256_add_pd(sum[0], sum[1])),
                          avx2_sum_doubles(_mm256_add_pd(squares[0], squares[1])), x[0], n, eps);
}

static ACT2 void avx2_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                                 int64_t n, float eps)
{
    struct x86_moments m = avx2_moments(x, n, eps);
    __m256 mean = _mm256_set1_ps(m.mean), rest = _mm256_set1_ps(m.rest);
    __m256 scale = _mm256_set1_ps(m.scale);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_sub_ps(_mm256_sub_ps(avx2_take(x + i, n - i), mean), rest);
        v = _mm256_mul_ps(v, scale);
        if (weight != NULL) {
            v = _mm256_mul_ps(v, avx2_take(weight + i, n - i));
        }
        if (bias != NULL) {
            v = _mm256_add_ps(v, avx2_take(bias + i, n - i));
        }
        avx2_give(y + i, n - i, v);
    }
}

static ACT2 void avx2_cut(float *x, int64_t n, float factor)
{
    struct x86_moments m = avx2_moments(x, n, 0);
    __m256 cut = _mm256_set1_ps(x86_cut_of(&m, n, factor)), zero = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_sub_ps(avx2_take(x + i, n - i), cut);
        avx2_give(x + i, n - i, _mm256_max_ps(zero, v));
    }
}

static void kernels_set_avx2_activations(struct kernels *k)
{
    k->gelu = avx2_gelu;
    k->relu_squared = avx2_relu_squared;
    k->swiglu_clamped = avx2_swiglu_clamped;
    k->softcap = avx2_softcap_row;
    k->cut = avx2_cut;
    k->layer_norm = avx2_layer_norm;
}

/* ---- AVX-512 --------------------------------------------------------------------------------- */

/* relu_squared stays AVX2's: 16 lanes were no faster on a Sapphire Rapids. */

static ACT5 void zmm_gelu(float *y, const float *x, const float *up, int64_t n)
{
    __m512 one = _mm512_set1_ps(1.0f);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = zmm_load(x + i, n - i);
        __m512 u = _mm512_fmadd_ps(_mm512_mul_ps(v, v), _mm512_set1_ps(X86_GELU_CUBIC),
                                   _mm512_set1_ps(X86_GELU_LINEAR));
        __m512 e = zmm_exp(_mm512_mul_ps(u, v));
        v = _mm512_div_ps(v, _mm512_add_ps(one, e));
        if (up != NULL) {
            v = _mm512_mul_ps(v, zmm_load(up + i, n - i));
        }
        zmm_store(y + i, n - i, v);
    }
}

static ACT5 void zmm_swiglu_clamped(float *y, const float *gate, const float *up, int64_t n)
{
    __m512 one = _mm512_set1_ps(1.0f), high = _mm512_set1_ps(7.0f), low = _mm512_set1_ps(-7.0f);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 g = _mm512_min_ps(high, zmm_load(gate + i, n - i));
        __m512 u = _mm512_max_ps(low, _mm512_min_ps(high, zmm_load(up + i, n - i)));
        __m512 e = zmm_exp(_mm512_mul_ps(g, _mm512_set1_ps(-1.702f)));
        g = _mm512_div_ps(g, _mm512_add_ps(one, e));
        zmm_store(y + i, n - i, _mm512_mul_ps(g, _mm512_add_ps(u, one)));
    }
}

static ACT5_INLINE __m512 zmm_tanh(__m512 u)
{
    __m512 one = _mm512_set1_ps(1.0f), two = _mm512_set1_ps(2.0f), minus = _mm512_set1_ps(-0.0f);
    __m512 size = _mm512_andnot_ps(minus, u), e = zmm_exp(_mm512_add_ps(size, size));
    __m512 large = _mm512_sub_ps(one, _mm512_div_ps(two, _mm512_add_ps(e, one)));
    large = _mm512_or_ps(large, _mm512_and_ps(minus, u));
    __m512 z = _mm512_mul_ps(u, u);
    __m512 p = _mm512_set1_ps(x86_tanh_terms[0]);
    SLM_UNROLL
    for (int i = 1; i < SLM_COUNT(x86_tanh_terms); i++) {
        p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(x86_tanh_terms[i]));
    }
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(z, u), u);
    __mmask16 small = _mm512_cmp_ps_mask(size, _mm512_set1_ps(X86_TANH_SMALL), _CMP_LT_OQ);
    return _mm512_mask_mov_ps(large, small, p);
}

static ACT5 void zmm_softcap_row(float *x, int64_t n, float cap)
{
    __m512 c = _mm512_set1_ps(cap), inverse = _mm512_set1_ps(1 / cap);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 u = _mm512_mul_ps(zmm_load(x + i, n - i), inverse);
        zmm_store(x + i, n - i, _mm512_mul_ps(c, zmm_tanh(u)));
    }
}

/* As avx2_moments. */
static ACT5_INLINE struct x86_moments zmm_moments(const float *x, int64_t n, float eps)
{
    __m512d zero = _mm512_setzero_pd(), sum[2] = {zero, zero}, squares[2] = {zero, zero};
    __m512d shift = _mm512_set1_pd((double)x[0]);
    __m512 first = _mm512_set1_ps(x[0]);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_mask_loadu_ps(first, zmm_mask(n - i), x + i);
        __m512d a = _mm512_sub_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(v)), shift);
        __m512d b = _mm512_sub_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)), shift);
        sum[0] = _mm512_add_pd(sum[0], a);
        sum[1] = _mm512_add_pd(sum[1], b);
        squares[0] = _mm512_fmadd_pd(a, a, squares[0]);
        squares[1] = _mm512_fmadd_pd(b, b, squares[1]);
    }
    return x86_moments_of(_mm512_reduce_add_pd(_mm512_add_pd(sum[0], sum[1])),
                          _mm512_reduce_add_pd(_mm512_add_pd(squares[0], squares[1])), x[0], n,
                          eps);
}

static ACT5 void zmm_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                                int64_t n, float eps)
{
    struct x86_moments m = zmm_moments(x, n, eps);
    __m512 mean = _mm512_set1_ps(m.mean), rest = _mm512_set1_ps(m.rest);
    __m512 scale = _mm512_set1_ps(m.scale);
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_sub_ps(_mm512_sub_ps(zmm_load(x + i, n - i), mean), rest);
        v = _mm512_mul_ps(v, scale);
        if (weight != NULL) {
            v = _mm512_mul_ps(v, zmm_load(weight + i, n - i));
        }
        if (bias != NULL) {
            v = _mm512_add_ps(v, zmm_load(bias + i, n - i));
        }
        zmm_store(y + i, n - i, v);
    }
}

static ACT5 void zmm_cut(float *x, int64_t n, float factor)
{
    struct x86_moments m = zmm_moments(x, n, 0);
    __m512 cut = _mm512_set1_ps(x86_cut_of(&m, n, factor)), zero = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_sub_ps(zmm_load(x + i, n - i), cut);
        zmm_store(x + i, n - i, _mm512_max_ps(zero, v));
    }
}

static void kernels_set_avx512_activations(struct kernels *k)
{
    k->gelu = zmm_gelu;
    k->swiglu_clamped = zmm_swiglu_clamped;
    k->softcap = zmm_softcap_row;
    k->cut = zmm_cut;
    k->layer_norm = zmm_layer_norm;
}

#undef ACT2
#undef ACT2_INLINE
#undef ACT5
#undef ACT5_INLINE
#undef X86_GELU_LINEAR
#undef X86_GELU_CUBIC
#undef X86_TANH_SMALL

#endif /* x86-64 */
