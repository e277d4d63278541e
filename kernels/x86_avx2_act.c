/* x86_avx2_act.c - AVX2: vectors of 8 rows, and the preparation of int8 activations, which all x86
 * sets share. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define AVX2 SLM_TARGET("avx2,fma,f16c")
#define AVX2_INLINE SLM_INLINE_TARGET("avx2,fma,f16c")

/* ---- Vectors of 8 rows ----------------------------------------------------------------------- */

static AVX2_INLINE __m256i avx2_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static AVX2_INLINE void avx2_store(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

static AVX2_INLINE __m256i avx2_zero(void)
{
    return _mm256_setzero_si256();
}

static AVX2_INLINE __m256i avx2_both(__m256i a, __m256i b)
{
    return _mm256_and_si256(a, b);
}

static AVX2_INLINE __m256i avx2_either(__m256i a, __m256i b)
{
    return _mm256_or_si256(a, b);
}

static AVX2_INLINE __m256i avx2_differ(__m256i a, __m256i b)
{
    return _mm256_xor_si256(a, b);
}

static AVX2_INLINE __m256i avx2_cast(__m256 v)
{
    return _mm256_castps_si256(v);
}

static AVX2_INLINE __m256 avx2_cast_f(__m256i v)
{
    return _mm256_castsi256_ps(v);
}

/* The same 16 bytes in both halves. */
static AVX2_INLINE __m256i avx2_quarters(const void *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p));
}

/* In every byte the number of the first byte of its word. */
static AVX2_INLINE __m256i avx2_lanes(void)
{
    return _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808,
                             0x0c0c0c0c);
}

/* 16 in the bytes of v where the one bit of `bit` is set. */
static AVX2_INLINE __m256i avx2_sixteens(__m256i v, __m256i bit)
{
    v = _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
    return _mm256_and_si256(v, _mm256_set1_epi8(16));
}

static AVX2_INLINE __m256i avx2_rows2(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
        _mm_loadu_si128((const __m128i *)(const void *)high), 1);
}

/* 16 bytes of each of 8 rows: v[j] <- 32-bit word j of rows 0..7. Half of the rows are asked for
 * `distance` bytes further on, the other half the next time: every line at least once. */
static AVX2_INLINE void avx2_transpose(__m256i v[4], const uint8_t *p, size_t stride,
                                       size_t distance)
{
    uintptr_t next = (uintptr_t)p + distance + (((uintptr_t)p & 16) != 0 ? 4 * stride : 0);
    X86_PREFETCH(next);
    X86_PREFETCH(next + stride);
    X86_PREFETCH(next + 2 * stride);
    X86_PREFETCH(next + 3 * stride);
    __m256i a = avx2_rows2(p, p + 4 * stride);
    __m256i b = avx2_rows2(p + stride, p + 5 * stride);
    __m256i c = avx2_rows2(p + 2 * stride, p + 6 * stride);
    __m256i d = avx2_rows2(p + 3 * stride, p + 7 * stride);
    __m256i ab0 = _mm256_unpacklo_epi32(a, b);
    __m256i ab1 = _mm256_unpackhi_epi32(a, b);
    __m256i cd0 = _mm256_unpacklo_epi32(c, d);
    __m256i cd1 = _mm256_unpackhi_epi32(c, d);
    v[0] = _mm256_unpacklo_epi64(ab0, cd0);
    v[1] = _mm256_unpackhi_epi64(ab0, cd0);
    v[2] = _mm256_unpacklo_epi64(ab1, cd1);
    v[3] = _mm256_unpackhi_epi64(ab1, cd1);
}

/* 32 bytes of each: v[0..7]. */
static AVX2_INLINE void avx2_transpose_32(__m256i v[8], const uint8_t *p, size_t stride,
                                          size_t distance)
{
    avx2_transpose(v, p, stride, distance);
    avx2_transpose(v + 4, p + 16, stride, distance);
}

static AVX2_INLINE uint64_t avx2_half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}

/* The f16 at p of 8 rows. */
static AVX2_INLINE __m256 avx2_halves(const uint8_t *p, size_t stride)
{
    const uint8_t *p4 = p + 4 * stride;
    uint64_t a = avx2_half(p) | avx2_half(p + stride) << 16 | avx2_half(p + 2 * stride) << 32 |
                 avx2_half(p + 3 * stride) << 48;
    uint64_t b = avx2_half(p4) | avx2_half(p4 + stride) << 16 | avx2_half(p4 + 2 * stride) << 32 |
                 avx2_half(p4 + 3 * stride) << 48;
    return _mm256_cvtph_ps(_mm_set_epi64x((int64_t)b, (int64_t)a));
}

/* Two f16 in every word: the low ones of eight rows in the low half, the high ones in the high. */
static AVX2_INLINE __m256i avx2_part_halves(__m256i v)
{
    v = _mm256_shuffle_epi8(v,
                            _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
                                             0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    return _mm256_permute4x64_epi64(v, 0xd8);
}

static AVX2_INLINE __m256 avx2_low_halves(__m256i v)
{
    return _mm256_cvtph_ps(_mm256_castsi256_si128(avx2_part_halves(v)));
}

static AVX2_INLINE __m256 avx2_high_halves(__m256i v)
{
    return _mm256_cvtph_ps(_mm256_extracti128_si256(avx2_part_halves(v), 1));
}

static AVX2_INLINE void avx2_prefetch(const void *p, size_t offset, size_t n)
{
    for (size_t i = 0; i < n; i += 64) {
        X86_PREFETCH((uintptr_t)p + offset + i);
    }
}

/* ---- Activations ----------------------------------------------------------------------------- */

/* The same bytes as the reference: the same operations on floats, one by one. */

static AVX2_INLINE __m256i avx2_magnitudes(const float *x)
{
    return _mm256_and_si256(avx2_load(x), _mm256_set1_epi32(0x7fffffff));
}

static AVX2_INLINE uint32_t avx2_largest(__m256i v)
{
    __m128i a = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(a);
}

static AVX2_INLINE int32_t avx2_total(__m256i v)
{
    __m128i a = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return _mm_cvtsi128_si32(a);
}

/* 32 floats times `factor`, to the nearest, as bytes in order. */
static AVX2_INLINE __m256i avx2_quantize_32(const float *x, __m256 factor, __m256i *sum)
{
    __m256i v[4];
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v[j] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * j), factor));
        v[j] = _mm256_min_epi32(v[j], _mm256_set1_epi32(127));
    }
    *sum = _mm256_add_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
    __m256i packed =
        _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static AVX2_INLINE float avx2_round_f16(float f)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph(_mm_set_ss(f), 0)));
}

static AVX2 void avx2_quantize_q8_0(int8_t *q, float *d, float *s, const float *x)
{
    __m256i a = _mm256_max_epi32(avx2_magnitudes(x), avx2_magnitudes(x + 8));
    __m256i b = _mm256_max_epi32(avx2_magnitudes(x + 16), avx2_magnitudes(x + 24));
    uint32_t largest = avx2_largest(_mm256_max_epi32(a, b));
    avx2_store(q, _mm256_setzero_si256());
    *d = *s = 0;
    if (largest >= REF_INFINITY_BITS) {
        *d = *s = bits_to_f32(REF_NAN_BITS);
    } else if (largest >= REF_TINY_BITS) {
        float amax = bits_to_f32(largest);
        float scale = amax / 127.0f;
        __m256i sum;
        avx2_store(q, avx2_quantize_32(x, _mm256_set1_ps(127.0f / amax), &sum));
        *d = avx2_round_f16(scale);
        *s = avx2_round_f16(scale * (float)avx2_total(sum));
    }
}

static AVX2 void avx2_prepare_q8_0(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * act_q8_0.row_bytes(k);
        struct act_q8_0_planes to = act_q8_0_at(row, k);
        for (int64_t i = 0; i < k / 32; i++) {
            avx2_quantize_q8_0(to.q + 32 * i, to.d + i, to.s + i, x + t * k + 32 * i);
        }
    }
}

/* The first element whose magnitude is `largest`. */
static AVX2_INLINE float avx2_first(const float *x, uint32_t largest)
{
    __m256i bits = _mm256_set1_epi32((int32_t)largest);
    for (int32_t i = 0; i < 256; i += 8) {
        __m256i same = _mm256_cmpeq_epi32(avx2_magnitudes(x + i), bits);
        uint32_t mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(same));
        if (mask != 0) {
            return x[i + __builtin_ctz(mask)];
        }
    }
    return x[0];
}

static AVX2 void avx2_quantize_q8_k(int8_t *q, float *d, int16_t *bsums, const float *x)
{
    __m256i a = avx2_magnitudes(x);
    for (int32_t i = 8; i < 256; i += 8) {
        a = _mm256_max_epi32(a, avx2_magnitudes(x + i));
    }
    uint32_t largest = avx2_largest(a);
    if (largest >= REF_INFINITY_BITS || largest < REF_TINY_BITS) {
        memset(q, 0, 256);
        memset(bsums, 0, 16 * sizeof *bsums);
        *d = largest >= REF_INFINITY_BITS ? bits_to_f32(REF_NAN_BITS) : 0;
        return;
    }
    float inverse = -127.0f / avx2_first(x, largest);
    for (int32_t i = 0; i < 8; i++) {
        __m256i sum;
        __m256i v = avx2_quantize_32(x + 32 * i, _mm256_set1_ps(inverse), &sum);
        avx2_store(q + 32 * i, v);
        sum = _mm256_maddubs_epi16(_mm256_set1_epi8(1), v);
        sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
        __m128i low = _mm256_castsi256_si128(sum), high = _mm256_extracti128_si256(sum, 1);
        low = _mm_hadd_epi32(low, high);
        low = _mm_hadd_epi32(low, low);
        bsums[2 * i] = (int16_t)_mm_cvtsi128_si32(low);
        bsums[2 * i + 1] = (int16_t)_mm_extract_epi32(low, 1);
    }
    *d = 1.0f / inverse;
}

static AVX2 void avx2_prepare_q8_k(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * act_q8_k.row_bytes(k);
        struct act_q8_k_planes to = act_q8_k_at(row, k);
        for (int64_t i = 0; i < k / 256; i++) {
            avx2_quantize_q8_k(to.q + 256 * i, to.d + i, to.bsums + 16 * i, x + t * k + 256 * i);
        }
    }
}

static const struct kernel_act avx2_act_q8_0 = {"q8_0", 1, ref_act_q8_0_bytes, avx2_prepare_q8_0};
static const struct kernel_act avx2_act_q8_k = {"q8_k", 1, ref_act_q8_k_bytes, avx2_prepare_q8_k};

#endif /* x86-64 */
