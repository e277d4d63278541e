/* x86_avx2_int.c - AVX2: products of quantised weights with int8 activations (x86_rows.inc). */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define ROWS_PART(name) avx2_##name
#define ROWS_OP(name) _mm256_##name
#define ROWS_N 8
#define ROWS_I __m256i
#define ROWS_F __m256

#define ROWS_TARGET AVX2
#define ROWS_INLINE AVX2_INLINE
#include "x86_unpack.inc"

#define ROWS(name) avx2_##name
#define ROWS_TARGET AVX2
#define ROWS_INLINE AVX2_INLINE
#define ROWS_TOKENS 4
#define ROWS_PANELS 1
#define ROWS_ONE 1
#define ROWS_VNNI 0
#define ROWS_DOT2(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#include "x86_rows.inc"
#undef ROWS

#endif /* x86-64 */
