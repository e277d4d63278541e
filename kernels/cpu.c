/* cpu.c - what this CPU and operating system offer, and the table of kernels for it.
 *
 * An instruction set counts only when the operating system saves its registers (xgetbv): a CPU that
 * has AVX under a kernel that does not know it would lose half of every vector at a task switch. */

static const struct {
    uint64_t feature;
    const char *name;
} cpu_names[] = {
    {SLM_CPU_AVX2, "avx2"},
    {SLM_CPU_AVX_VNNI, "avx_vnni"},
    {SLM_CPU_AVX512, "avx512"},
    {SLM_CPU_AVX512_VNNI, "avx512_vnni"},
    {SLM_CPU_AVX512_BF16, "avx512_bf16"},
    {SLM_CPU_AMX_INT8, "amx_int8"},
    {SLM_CPU_AMX_BF16, "amx_bf16"},
    {SLM_CPU_NEON, "neon"},
    {SLM_CPU_DOTPROD, "dotprod"},
    {SLM_CPU_I8MM, "i8mm"},
    {SLM_CPU_SIMD128, "simd128"},
};

static const char *cpu_feature_name(int32_t bit)
{
    for (int32_t i = 0; bit >= 0 && bit < 64 && i < SLM_COUNT(cpu_names); i++) {
        if (cpu_names[i].feature == (uint64_t)1 << bit) {
            return cpu_names[i].name;
        }
    }
    return NULL;
}

#if defined(__x86_64__) && defined(__GNUC__)

struct cpu_leaf {
    uint32_t a, b, c, d;
};

static struct cpu_leaf cpu_id(uint32_t leaf, uint32_t part)
{
    struct cpu_leaf r = {leaf, 0, part, 0};
    __asm__ volatile("cpuid" : "+a"(r.a), "=b"(r.b), "+c"(r.c), "=d"(r.d));
    return r;
}

/* The register files that the operating system saves. */
static uint64_t cpu_saved_state(void)
{
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Linux gives a process the tile registers when it asks; again costs nothing. Refused where an
 * alternate signal stack is too small for them, or by an old kernel. */
static int cpu_ask_for_tiles(void)
{
#if defined(__linux__)
    const int64_t arch_prctl = 158, request_permission = 0x1023, tile_data = 18;
    int64_t result = arch_prctl;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(request_permission), "S"(tile_data)
                     : "rcx", "r11", "memory");
    return result == 0;
#else
    return 0;
#endif
}

#define CPU_ALL_OF(word, bits) (((word) & (bits)) == (bits))

static uint64_t cpu_detect(void)
{
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    const uint32_t avx2 = 1u << 5;
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F DQ BW VL */
    const uint64_t ymm = 0x6, zmm = 0xe6, tiles = 0x60000;
    uint32_t highest = cpu_id(0, 0).a;
    if (highest < 7) {
        return 0;
    }
    struct cpu_leaf one = cpu_id(1, 0), seven = cpu_id(7, 0);
    if (!CPU_ALL_OF(one.c, fma | osxsave | avx | f16c) || !CPU_ALL_OF(seven.b, avx2)) {
        return 0;
    }
    struct cpu_leaf more = {0, 0, 0, 0};
    if (seven.a >= 1) {
        more = cpu_id(7, 1);
    }
    uint64_t saved = cpu_saved_state(), found = 0;
    if (!CPU_ALL_OF(saved, ymm)) {
        return 0;
    }
    found |= SLM_CPU_AVX2;
    found |= (more.a & 1u << 4) != 0 ? SLM_CPU_AVX_VNNI : 0;
    if (CPU_ALL_OF(saved, zmm) && CPU_ALL_OF(seven.b, avx512)) {
        found |= SLM_CPU_AVX512;
        found |= (seven.c & 1u << 11) != 0 ? SLM_CPU_AVX512_VNNI : 0;
        found |= (more.a & 1u << 5) != 0 ? SLM_CPU_AVX512_BF16 : 0;
    }
    if (CPU_ALL_OF(saved, tiles) && (seven.d & 1u << 24) != 0 && cpu_ask_for_tiles()) {
        found |= (seven.d & 1u << 25) != 0 ? SLM_CPU_AMX_INT8 : 0;
        found |= (seven.d & 1u << 22) != 0 ? SLM_CPU_AMX_BF16 : 0;
    }
    return found;
}

#undef CPU_ALL_OF

#elif defined(__aarch64__)

#if defined(__linux__) && !defined(SLM_FREESTANDING)
/* Declared here: <sys/auxv.h> is not everywhere. */
#ifdef __cplusplus
extern "C"
#endif
    unsigned long
    getauxval(unsigned long type);
#endif

static uint64_t cpu_detect(void)
{
    uint64_t found = SLM_CPU_NEON;
#if defined(__linux__) && !defined(SLM_FREESTANDING)
    const unsigned long hwcap = 16, hwcap2 = 26;
    found |= (getauxval(hwcap) & 1ul << 20) != 0 ? SLM_CPU_DOTPROD : 0;
    found |= (getauxval(hwcap2) & 1ul << 13) != 0 ? SLM_CPU_I8MM : 0;
#endif
    /* What the compiler was told that every CPU has: all there is to ask on macOS. */
#if defined(__ARM_FEATURE_DOTPROD)
    found |= SLM_CPU_DOTPROD;
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    found |= SLM_CPU_I8MM;
#endif
    return found;
}

#elif defined(__wasm_simd128__)

/* A host without it refuses the whole module. */
static uint64_t cpu_detect(void)
{
    return SLM_CPU_SIMD128;
}

#else

static uint64_t cpu_detect(void)
{
    return 0;
}

#endif

/* In rising order: a later set overrides what an earlier one filled in. */
static const struct cpu_set {
    uint64_t needs; /* SLM_CPU_ bits */
    void (*set)(struct kernels *k);
} cpu_sets[] = {
    {0, kernels_set_ref},
#if defined(__x86_64__) && !defined(SLM_NO_SIMD)
    {SLM_CPU_AVX2, kernels_set_avx2},
    {SLM_CPU_AVX2, kernels_set_avx2_codes},
    {SLM_CPU_AVX2, kernels_set_avx2_mixers},
    {SLM_CPU_AVX2, kernels_set_avx2_activations},
    {SLM_CPU_AVX2, avx2_set_rows}, /* many tokens of those, too */
    {SLM_CPU_AVX2 | SLM_CPU_AVX_VNNI, kernels_set_avx_vnni},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512, kernels_set_avx512},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512, kernels_set_avx512_vectors},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512, kernels_set_avx512_delta},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512, kernels_set_avx512_mixers},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512, kernels_set_avx512_activations},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512 | SLM_CPU_AVX512_VNNI, kernels_set_avx512_codes},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512 | SLM_CPU_AVX512_VNNI, kernels_set_avx512_vnni},
#if defined(__linux__)
    {SLM_CPU_AVX2 | SLM_CPU_AVX512 | SLM_CPU_AVX512_BF16 | SLM_CPU_AMX_BF16, kernels_set_amx},
    {SLM_CPU_AVX2 | SLM_CPU_AVX512 | SLM_CPU_AVX512_BF16 | SLM_CPU_AMX_BF16, kernels_set_amx_delta},
#endif
#endif
#if defined(ARM_HAS_NEON)
    {SLM_CPU_NEON, kernels_set_neon},
#endif
#if defined(ARM_HAS_DOTPROD)
    {SLM_CPU_NEON | SLM_CPU_DOTPROD, kernels_set_dotprod},
#endif
#if defined(ARM_HAS_I8MM)
    {SLM_CPU_NEON | SLM_CPU_DOTPROD | SLM_CPU_I8MM, kernels_set_i8mm},
#endif
#if defined(__wasm_simd128__) && !defined(SLM_NO_SIMD)
    {SLM_CPU_SIMD128, kernels_set_wasm},
#endif
};

/* The reference, then what is allowed and there. */
static void kernels_init(struct kernels *k, uint64_t allowed)
{
    uint64_t usable = allowed & cpu_detect();
    k->cpu = 0;
    for (int32_t i = 0; i < SLM_COUNT(cpu_sets); i++) {
        if ((cpu_sets[i].needs & ~usable) == 0) {
            cpu_sets[i].set(k);
            k->cpu |= cpu_sets[i].needs;
        }
    }
}
