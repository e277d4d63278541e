/* roofline.c - what this machine can do at most: streaming reads by 1 and n threads, multiply-adds
 * of f32, int8 and bf16 by one, with each instruction set that it has. Kernels are measured against
 * these numbers.
 *
 *     cc -O2 bench/roofline.c slm.c -pthread -o roofline
 *     roofline [--csv] [--read] [threads]       --read: the streams alone
 *
 * The best of several short passes: on a shared machine the mean measures the neighbours. */

#define _GNU_SOURCE 1
#include "../slm.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET_AVX2 __attribute__((target("avx2,fma")))
#endif

#define BUFFER_BYTES ((size_t)1 << 30)
#define STRIPE_BYTES ((size_t)16 << 20) /* of one pass */
#define THREADS_MAX 64

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static volatile uint64_t sink; /* what is computed must not be optimised away */

/* ---- Reading --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
TARGET_AVX2 static uint64_t read_avx2(const uint8_t *p, size_t n)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += 128) {
        const __m256i *v = (const __m256i *)(const void *)(p + i);
        _mm_prefetch((const char *)p + i + 2048, _MM_HINT_T0);
        _mm_prefetch((const char *)p + i + 2048 + 64, _MM_HINT_T0);
        a = _mm256_or_si256(a, _mm256_loadu_si256(v));
        b = _mm256_or_si256(b, _mm256_loadu_si256(v + 1));
        c = _mm256_or_si256(c, _mm256_loadu_si256(v + 2));
        d = _mm256_or_si256(d, _mm256_loadu_si256(v + 3));
    }
    a = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
    return (uint64_t)_mm256_extract_epi64(a, 0) ^ (uint64_t)_mm256_extract_epi64(a, 3);
}
#endif

static uint64_t read_plain(const uint8_t *p, size_t n)
{
    uint64_t sum[8] = {0};
    for (size_t i = 0; i < n; i += 64) {
        uint64_t v[8];
        memcpy(v, p + i, sizeof v);
        for (int j = 0; j < 8; j++) {
            sum[j] |= v[j];
        }
    }
    for (int j = 1; j < 8; j++) {
        sum[0] ^= sum[j];
    }
    return sum[0];
}

static uint64_t read_bytes(const uint8_t *p, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        return read_avx2(p, n);
    }
#endif
    return read_plain(p, n);
}

struct reader {
    pthread_t thread;
    pthread_barrier_t *barrier;
    const uint8_t *p;
    size_t bytes;
    double start, end;
    uint64_t sum;
};

static void *reader_run(void *arg)
{
    struct reader *r = (struct reader *)arg;
    pthread_barrier_wait(r->barrier);
    r->start = seconds();
    r->sum = read_bytes(r->p, r->bytes);
    r->end = seconds();
    return NULL;
}

/* n threads read parts of the same stripe; from the first start to the last end. */
static double read_pass(const uint8_t *stripe, size_t bytes, int n)
{
    struct reader readers[THREADS_MAX];
    pthread_barrier_t barrier;
    size_t part = bytes / (size_t)n / 4096 * 4096;
    int made = 0;
    pthread_barrier_init(&barrier, NULL, (unsigned)n);
    for (int i = 0; i < n; i++) {
        readers[i].barrier = &barrier;
        readers[i].p = stripe + (size_t)i * part;
        readers[i].bytes = part;
    }
    for (int i = 1; i < n; i++) {
        made += pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]) == 0;
    }
    if (made != n - 1) {
        fprintf(stderr, "roofline: cannot start %d threads\n", n);
        exit(1);
    }
    reader_run(&readers[0]);
    double start = readers[0].start, end = readers[0].end;
    sink ^= readers[0].sum;
    for (int i = 1; i < n; i++) {
        pthread_join(readers[i].thread, NULL);
        start = readers[i].start < start ? readers[i].start : start;
        end = readers[i].end > end ? readers[i].end : end;
        sink ^= readers[i].sum;
    }
    pthread_barrier_destroy(&barrier);
    return (double)(part * (size_t)n) / (end - start) * 1e-9;
}

static double read_rate(const uint8_t *buffer, int n)
{
    double best = 0, start = seconds();
    size_t stripe = STRIPE_BYTES * (size_t)n;
    for (int round = 0; round < 4 && seconds() - start < 2; round++) {
        for (size_t at = 0; at + stripe <= BUFFER_BYTES; at += stripe) {
            double rate = read_pass(buffer + at, stripe, n);
            best = rate > best ? rate : best;
        }
    }
    return best;
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

#if defined(__x86_64__)
#define STEPS 20000
#define TILE_STEPS 8 /* 32 KiB of tiles */
#define SUMS 12      /* independent, to hide the latency */

/* One pass over an instruction: next is the sum s[i] after it, macs its multiply-adds, bits makes a
 * number of a sum. GMAC/s. */
#define PASS(name, features, vector, macs, first, next, bits)                                      \
    __attribute__((target(features))) static double name(void)                                     \
    {                                                                                              \
        vector s[SUMS];                                                                            \
        for (int i = 0; i < SUMS; i++) {                                                           \
            s[i] = first;                                                                          \
        }                                                                                          \
        double start = seconds();                                                                  \
        for (int step = 0; step < STEPS; step++) {                                                 \
            _Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++)                                \
            {                                                                                      \
                s[i] = next;                                                                       \
            }                                                                                      \
        }                                                                                          \
        double time = seconds() - start;                                                           \
        for (int i = 0; i < SUMS; i++) {                                                           \
            sink ^= (uint64_t)(bits);                                                              \
        }                                                                                          \
        return (double)SUMS * (macs)*STEPS / time * 1e-9;                                          \
    }

PASS(f32_avx2, "avx2,fma", __m256, 8, _mm256_set1_ps((float)i),
     _mm256_fmadd_ps(s[i], _mm256_set1_ps(0.5f), _mm256_set1_ps(0.25f)), _mm256_cvtss_f32(s[i]))
PASS(f32_avx512, "avx512f", __m512, 16, _mm512_set1_ps((float)i),
     _mm512_fmadd_ps(s[i], _mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f)), _mm512_cvtss_f32(s[i]))
/* What AVX2 has for bytes: multiply and add pairs, widen, add. */
PASS(int8_avx2, "avx2", __m256i, 32, _mm256_set1_epi32(i),
     _mm256_add_epi32(s[i], _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(3), s[i]),
                                              _mm256_set1_epi16(1))),
     _mm256_extract_epi64(s[i], 0))
PASS(int8_avx512_vnni, "avx512f,avx512vnni", __m512i, 64, _mm512_set1_epi32(i),
     _mm512_dpbusd_epi32(s[i], _mm512_set1_epi8(3), _mm512_set1_epi8(5)),
     _mm512_cvtsi512_si32(s[i]))
PASS(bf16_avx512, "avx512f,avx512bf16", __m512, 32, _mm512_set1_ps((float)i),
     _mm512_dpbf16_ps(s[i], (__m512bh)_mm512_set1_epi32(0x3f003f00),
                      (__m512bh)_mm512_set1_epi32(0x3f003f00)),
     _mm512_cvtss_f32(s[i]))

#undef PASS

/* Eight tiles of 16 rows of 64 bytes. Static: gcc 12 tells the optimiser of the first 8 bytes that
 * a configuration has, and of no bytes that a tile is loaded from. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/* Not zeros: the multipliers draw less power for those, and run a fifth faster. */
static uint8_t tile_bytes[4][TILE_STEPS][16 * 64] __attribute__((aligned(64)));

/* As bf16 these are numbers from 1/2 to 2 of either sign. */
static void fill_tiles(void)
{
    uint8_t *bytes = &tile_bytes[0][0][0];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof tile_bytes; i += 2) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(random >> 16);
        bytes[i + 1] = (uint8_t)(0x3f | (random >> 24 & 0x80));
    }
}

/* Four sums from two and two tiles, which come from the first cache. */
#define TILES(name, features, multiply, macs)                                                      \
    __attribute__((target("amx-tile," features))) static double name(void)                         \
    {                                                                                              \
        fill_tiles();                                                                              \
        _tile_loadconfig(&tile_config);                                                            \
        _tile_zero(0);                                                                             \
        _tile_zero(1);                                                                             \
        _tile_zero(2);                                                                             \
        _tile_zero(3);                                                                             \
        double start = seconds();                                                                  \
        for (int step = 0; step < STEPS; step++) {                                                 \
            _tile_loadd(4, tile_bytes[0][step % TILE_STEPS], 64);                                  \
            _tile_loadd(5, tile_bytes[1][step % TILE_STEPS], 64);                                  \
            _tile_loadd(6, tile_bytes[2][step % TILE_STEPS], 64);                                  \
            _tile_loadd(7, tile_bytes[3][step % TILE_STEPS], 64);                                  \
            multiply(0, 4, 6);                                                                     \
            multiply(1, 4, 7);                                                                     \
            multiply(2, 5, 6);                                                                     \
            multiply(3, 5, 7);                                                                     \
        }                                                                                          \
        double time = seconds() - start;                                                           \
        _tile_release();                                                                           \
        return 4.0 * (macs)*STEPS / time * 1e-9;                                                   \
    }

TILES(int8_amx, "amx-int8", _tile_dpbssd, 16 * 16 * 64)
TILES(bf16_amx, "amx-bf16", _tile_dpbf16ps, 16 * 16 * 32)

#undef TILES

static const struct {
    const char *name;
    uint64_t needs;
    double (*pass)(void);
} arithmetic[] = {
    {"f32_avx2_gmac_s", SLM_CPU_AVX2, f32_avx2},
    {"f32_avx512_gmac_s", SLM_CPU_AVX512, f32_avx512},
    {"int8_avx2_gmac_s", SLM_CPU_AVX2, int8_avx2},
    {"int8_avx512_vnni_gmac_s", SLM_CPU_AVX512_VNNI, int8_avx512_vnni},
    {"int8_amx_gmac_s", SLM_CPU_AMX_INT8, int8_amx},
    {"bf16_avx512_gmac_s", SLM_CPU_AVX512_BF16, bf16_avx512},
    {"bf16_amx_gmac_s", SLM_CPU_AMX_BF16, bf16_amx},
};

static double best_of(double (*pass)(void))
{
    double best = 0, start = seconds();
    while (seconds() - start < 0.5) {
        double rate = pass();
        best = rate > best ? rate : best;
    }
    return best;
}
#endif

/* ---- Main ------------------------------------------------------------------------------------ */

static void print(int csv, const char *name, int threads, double value)
{
    printf(csv ? "%s,%d,%.2f\n" : "%-24s %d thread(s) %8.1f\n", name, threads, value);
    fflush(stdout);
}

static void print_arithmetic(int csv)
{
#if defined(__x86_64__)
    for (size_t i = 0; i < sizeof arithmetic / sizeof arithmetic[0]; i++) {
        if ((slm_cpu_features() & arithmetic[i].needs) != 0) {
            print(csv, arithmetic[i].name, 1, best_of(arithmetic[i].pass));
        }
    }
#else
    (void)csv;
#endif
}

int main(int argc, char **argv)
{
    int csv = 0, read_only = 0, threads = 2;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--csv") == 0) {
            csv = 1;
        } else if (strcmp(argv[i], "--read") == 0) {
            read_only = 1;
        } else {
            threads = atoi(argv[i]);
        }
    }
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "roofline [--csv] [--read] [threads 1 to %d]\n", THREADS_MAX);
        return 2;
    }
    uint8_t *buffer = (uint8_t *)malloc(BUFFER_BYTES + 4096);
    if (buffer == NULL) {
        fprintf(stderr, "roofline: no memory for %zu bytes\n", BUFFER_BYTES);
        return 1;
    }
    memset(buffer, 1, BUFFER_BYTES + 4096);
    if (csv) {
        printf("name,threads,value\n");
    }
    print(csv, "read_gb_s", 1, read_rate(buffer, 1));
    if (threads > 1) {
        print(csv, "read_gb_s", threads, read_rate(buffer, threads));
    }
    if (!read_only) {
        print_arithmetic(csv);
    }
    free(buffer);
    return 0;
}
