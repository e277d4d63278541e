/* x86_avx_vnni.c - AVX-VNNI: products of quantised weights with int8 activations in vectors of 256
 * bits (x86_rows.inc), for CPUs without AVX-512. Everything else is AVX2's. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define ROWS(name) avx_vnni_##name
#define ROWS_TARGET SLM_TARGET("avx2,fma,f16c,avxvnni")
#define ROWS_INLINE SLM_INLINE_TARGET("avx2,fma,f16c,avxvnni")
#define ROWS_TOKENS 4
#define ROWS_PANELS 1
#define ROWS_ONE 0
#define ROWS_VNNI 1
#define ROWS_DOT4(sum, u, s) _mm256_dpbusd_avx_epi32(sum, u, s)
#define ROWS_DOT2(sum, a, b) _mm256_dpwssd_avx_epi32(sum, a, b)
#include "x86_rows.inc"
#undef ROWS
#undef ROWS_PART
#undef ROWS_OP
#undef ROWS_N
#undef ROWS_I
#undef ROWS_F

static void kernels_set_avx_vnni(struct kernels *k)
{
    k->isa = "avx_vnni";
    avx_vnni_set_rows(k);
}

#endif /* x86-64 */
