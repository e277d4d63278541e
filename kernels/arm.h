/* arm.h - what compilers want before they emit AArch64 instructions beyond the baseline, and which
 * sets of kernels are built. The one file that knows.
 *
 * gcc takes only a whole architecture for an attribute, which replaces that of the command line;
 * an intrinsic or helper is inlined when its instruction set is a part of its caller's. So under
 * -march with anything that our strings lack, the command line alone says which sets are built.
 *
 * clang adds features to the command line's, but before version 17 it declares an intrinsic only
 * if the macro of its feature is defined where arm_neon.h is included. We define it for that line.
 * If a host included the header first it is too late, and the baseline kernels must do. */

#if defined(__aarch64__) && defined(__AARCH64EL__) && defined(__GNUC__) && !defined(SLM_NO_SIMD)
#define ARM_HAS_NEON 1

#if defined(__clang__)

#if defined(__ARM_NEON_H) && __clang_major__ < 17
#if defined(__ARM_FEATURE_DOTPROD)
#define ARM_HAS_DOTPROD 1
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define ARM_HAS_I8MM 1
#endif
#endif
#else
#define ARM_HAS_DOTPROD 1
#define ARM_HAS_I8MM 1
#if !defined(__ARM_FEATURE_DOTPROD)
#define __ARM_FEATURE_DOTPROD 1
#define ARM_UNDEF_DOTPROD 1
#endif
#if !defined(__ARM_FEATURE_MATMUL_INT8)
#define __ARM_FEATURE_MATMUL_INT8 1
#define ARM_UNDEF_I8MM 1
#endif
#endif
#define NEON
#define DOTPROD __attribute__((target("dotprod")))
#define I8MM __attribute__((target("dotprod,i8mm")))

#else /* gcc */

#define NEON __attribute__((optimize("O2", "fp-contract=off")))
#if defined(__ARM_FEATURE_DOTPROD)
#define ARM_HAS_DOTPROD 1
#define DOTPROD NEON
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define ARM_HAS_I8MM 1
#define I8MM NEON
#endif
#elif __GNUC__ >= 10 && !defined(__ARM_FEATURE_AES) && !defined(__ARM_FEATURE_SHA2) &&             \
    !defined(__ARM_FEATURE_FP16_SCALAR_ARITHMETIC) && !defined(__ARM_FEATURE_SVE) &&               \
    !defined(__ARM_FEATURE_COMPLEX)
#define ARM_HAS_DOTPROD 1
#define ARM_HAS_I8MM 1
#define DOTPROD SLM_TARGET("arch=armv8.2-a+dotprod")
#define I8MM SLM_TARGET("arch=armv8.2-a+dotprod+i8mm")
#endif

#endif

#include <arm_neon.h>

#if defined(ARM_UNDEF_DOTPROD)
#undef __ARM_FEATURE_DOTPROD
#undef ARM_UNDEF_DOTPROD
#endif
#if defined(ARM_UNDEF_I8MM)
#undef __ARM_FEATURE_MATMUL_INT8
#undef ARM_UNDEF_I8MM
#endif

#define ARM_INLINE __attribute__((always_inline)) inline

/* Of an address as an integer: it may lie beyond the matrix, where a pointer may not. */
#define ARM_PREFETCH(address) __builtin_prefetch((const void *)(address))

#endif /* AArch64 */
