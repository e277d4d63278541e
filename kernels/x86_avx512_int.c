/* x86_avx512_int.c - AVX-512 (F, BW, VL, DQ), and with VNNI: products of quantised weights with int8
 * activations, 16 rows at a time (x86_rows.inc). */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define AVX512_FEATURES "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq"
#define AVX512_INLINE SLM_INLINE_TARGET(AVX512_FEATURES)

/* ---- Vectors of 16 rows ---------------------------------------------------------------------- */

static AVX512_INLINE __m512i avx512_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static AVX512_INLINE void avx512_store(void *p, __m512i v)
{
    _mm512_storeu_si512(p, v);
}

static AVX512_INLINE __m512i avx512_zero(void)
{
    return _mm512_setzero_si512();
}

static AVX512_INLINE __m512i avx512_both(__m512i a, __m512i b)
{
    return _mm512_and_si512(a, b);
}

static AVX512_INLINE __m512i avx512_either(__m512i a, __m512i b)
{
    return _mm512_or_si512(a, b);
}

static AVX512_INLINE __m512i avx512_differ(__m512i a, __m512i b)
{
    return _mm512_xor_si512(a, b);
}

static AVX512_INLINE __m512i avx512_cast(__m512 v)
{
    return _mm512_castps_si512(v);
}

static AVX512_INLINE __m512 avx512_cast_f(__m512i v)
{
    return _mm512_castsi512_ps(v);
}

/* In every byte the number of the first byte of its word. */
static AVX512_INLINE __m512i avx512_lanes(void)
{
    return _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
}

/* 16 in the bytes of v where the one bit of `bit` is set. */
static AVX512_INLINE __m512i avx512_sixteens(__m512i v, __m512i bit)
{
    return _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(v, bit), _mm512_set1_epi8(16));
}

/* The same 16 bytes in every quarter. */
static AVX512_INLINE __m512i avx512_quarters(const void *p)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p));
}

/* Rows r, r + 4, r + 8, r + 12. */
static AVX512_INLINE __m512i avx512_rows4(const uint8_t *p, size_t stride)
{
    size_t step = 4 * stride;
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)p));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(p + step)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(p + 2 * step)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(p + 3 * step)), 3);
}

/* Eight rows are asked for `distance` bytes further on, if that is not 0; the others the next
 * time: every line at least once. */
static AVX512_INLINE void avx512_fetch(const uint8_t *p, size_t stride, size_t distance, int other)
{
    uintptr_t next = (uintptr_t)p + distance + (other ? 8 * stride : 0);
    SLM_UNROLL
    for (size_t r = 0; distance != 0 && r < 8; r++) {
        X86_PREFETCH(next + r * stride);
    }
}

/* In every quarter: v[j] <- 32-bit word j of w[0..3]. */
static AVX512_INLINE void avx512_turn(__m512i v[4], const __m512i w[4])
{
    __m512i ab0 = _mm512_unpacklo_epi32(w[0], w[1]), ab1 = _mm512_unpackhi_epi32(w[0], w[1]);
    __m512i cd0 = _mm512_unpacklo_epi32(w[2], w[3]), cd1 = _mm512_unpackhi_epi32(w[2], w[3]);
    v[0] = _mm512_unpacklo_epi64(ab0, cd0);
    v[1] = _mm512_unpackhi_epi64(ab0, cd0);
    v[2] = _mm512_unpacklo_epi64(ab1, cd1);
    v[3] = _mm512_unpackhi_epi64(ab1, cd1);
}

/* 16 bytes of each of 16 rows: v[j] <- 32-bit word j of rows 0..15. */
static AVX512_INLINE void avx512_transpose(__m512i v[4], const uint8_t *p, size_t stride,
                                           size_t distance)
{
    __m512i w[4];
    avx512_fetch(p, stride, distance, ((uintptr_t)p & 16) != 0);
    SLM_UNROLL
    for (size_t r = 0; r < 4; r++) {
        w[r] = avx512_rows4(p + r * stride, stride);
    }
    avx512_turn(v, w);
}

/* Rows r and r + 4. */
static AVX512_INLINE __m512i avx512_rows2(const uint8_t *p, size_t stride)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(p + 4 * stride));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* 32 bytes of each, in 32 instructions where twice the above takes 40: v[0..7]. */
static AVX512_INLINE void avx512_transpose_32(__m512i v[8], const uint8_t *p, size_t stride,
                                              size_t distance)
{
    __m512i w[8], low[4], high[4];
    avx512_fetch(p, stride, distance, ((uintptr_t)p & 32) != 0);
    SLM_UNROLL
    for (size_t r = 0; r < 8; r++) {
        w[r] = avx512_rows2(p + (r / 4 * 8 + r % 4) * stride, stride);
    }
    avx512_turn(low, w);
    avx512_turn(high, w + 4);
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v[j] = _mm512_shuffle_i32x4(low[j], high[j], 0x88);
        v[j + 4] = _mm512_shuffle_i32x4(low[j], high[j], 0xdd);
    }
}

/* The f16 at p of four rows. */
static AVX512_INLINE int64_t avx512_four_halves(const uint8_t *p, size_t stride)
{
    uint64_t v = 0;
    SLM_UNROLL
    for (size_t r = 0; r < 4; r++) {
        uint16_t h;
        memcpy(&h, p + r * stride, sizeof h);
        v |= (uint64_t)h << 16 * r;
    }
    return (int64_t)v;
}

/* The f16 at p of 16 rows. */
static AVX512_INLINE __m512 avx512_halves(const uint8_t *p, size_t stride)
{
    return _mm512_cvtph_ps(_mm256_set_epi64x(
        avx512_four_halves(p + 12 * stride, stride), avx512_four_halves(p + 8 * stride, stride),
        avx512_four_halves(p + 4 * stride, stride), avx512_four_halves(p, stride)));
}

/* Two f16 in every word. */
static AVX512_INLINE __m512 avx512_low_halves(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}

static AVX512_INLINE __m512 avx512_high_halves(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16)));
}

/* ---- Products -------------------------------------------------------------------------------- */

#define ROWS_PART(name) avx512_##name
#define ROWS_OP(name) _mm512_##name
#define ROWS_N 16
#define ROWS_I __m512i
#define ROWS_F __m512

#define ROWS_TARGET SLM_TARGET(AVX512_FEATURES)
#define ROWS_INLINE AVX512_INLINE
#include "x86_unpack.inc"

#define ROWS(name) avx512_##name
#define ROWS_TARGET SLM_TARGET(AVX512_FEATURES)
#define ROWS_INLINE AVX512_INLINE
#define ROWS_TOKENS 4
#define ROWS_PANELS 1
#define ROWS_ONE 0
#define ROWS_VNNI 0
#define ROWS_DOT2(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#include "x86_rows.inc"
#undef ROWS

#define ROWS(name) avx512_vnni_##name
#define ROWS_TARGET SLM_TARGET(AVX512_FEATURES ",avx512vnni")
#define ROWS_INLINE SLM_INLINE_TARGET(AVX512_FEATURES ",avx512vnni")
#define ROWS_TOKENS 8
#define ROWS_PANELS 2
#define ROWS_ONE 1
#define ROWS_VNNI 1
#define ROWS_DOT4(sum, u, s) _mm512_dpbusd_epi32(sum, u, s)
#define ROWS_DOT2(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#include "x86_rows.inc"
#undef ROWS

static void kernels_set_avx512(struct kernels *k)
{
    k->isa = "avx512";
    avx512_set_rows(k);
}

static void kernels_set_avx512_vnni(struct kernels *k)
{
    k->isa = "avx512_vnni";
    avx512_vnni_set_rows(k);
}

#undef ROWS_PART
#undef ROWS_OP
#undef ROWS_N
#undef ROWS_I
#undef ROWS_F
#undef AVX512_FEATURES
#undef AVX512_INLINE

#endif /* x86-64 */
