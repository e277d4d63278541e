/* roofline.c - what this machine can do at most: streaming reads by 1 and n threads, multiply-adds
 * of floats and of bytes by one. Kernels are measured against these numbers.
 *
 *     cc -O2 bench/roofline.c -pthread -o roofline
 *     roofline [--csv] [threads]
 *
 * The best of several short passes: on a shared machine the mean measures the neighbours. */

#define _GNU_SOURCE 1
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

#define STEPS 20000

#if defined(__x86_64__)
/* 12 independent sums hide the latency; GMAC/s. */
TARGET_AVX2 static double fma_pass(void)
{
    __m256 s[12], x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);
    for (int i = 0; i < 12; i++) {
        s[i] = _mm256_set1_ps((float)i);
    }
    double start = seconds();
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            s[i] = _mm256_fmadd_ps(s[i], x, y);
        }
    }
    double time = seconds() - start;
    for (int i = 1; i < 12; i++) {
        s[0] = _mm256_add_ps(s[0], s[i]);
    }
    sink ^= (uint64_t)_mm256_cvtss_f32(s[0]);
    return 12.0 * 8 * STEPS / time * 1e-9;
}

/* The bytes of a product: multiply pairs, widen, add. */
TARGET_AVX2 static double bytes_pass(void)
{
    __m256i s[8], x = _mm256_set1_epi8(3), one = _mm256_set1_epi16(1);
    for (int i = 0; i < 8; i++) {
        s[i] = _mm256_set1_epi32(i);
    }
    double start = seconds();
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            __m256i p = _mm256_madd_epi16(_mm256_maddubs_epi16(x, s[i]), one);
            s[i] = _mm256_add_epi32(s[i], p);
        }
    }
    double time = seconds() - start;
    for (int i = 1; i < 8; i++) {
        s[0] = _mm256_xor_si256(s[0], s[i]);
    }
    sink ^= (uint64_t)_mm256_extract_epi64(s[0], 0);
    return 8.0 * 32 * STEPS / time * 1e-9;
}
#endif

static double best_of(double (*pass)(void))
{
    double best = 0, start = seconds();
    while (seconds() - start < 0.5) {
        double rate = pass();
        best = rate > best ? rate : best;
    }
    return best;
}

/* ---- Main ------------------------------------------------------------------------------------ */

static void print(int csv, const char *name, int threads, double value)
{
    printf(csv ? "%s,%d,%.2f\n" : "%s %d %.1f\n", name, threads, value);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int csv = 0, threads = 2;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--csv") == 0) {
            csv = 1;
        } else {
            threads = atoi(argv[i]);
        }
    }
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "roofline [--csv] [threads 1 to %d]\n", THREADS_MAX);
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
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        print(csv, "fma_f32_gmac_s", 1, best_of(fma_pass));
        print(csv, "maddubs_gmac_s", 1, best_of(bytes_pass));
    }
#else
    (void)best_of;
#endif
    free(buffer);
    return 0;
}
