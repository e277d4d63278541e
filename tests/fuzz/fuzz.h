/* fuzz.h - what the fuzzers share: the entry point, failing, an allocator and a clock with limits,
 * reading an input piece by piece, and going through a model with everything the API offers.
 *
 * A fuzzer is one file with LLVMFuzzerTestOneInput. libFuzzer, or AFL++ through its libFuzzer
 * driver, calls it; so does replay.c, a plain main. What must hold is said with fuzz_check, which
 * ends the process: that is what a fuzzer takes for a find. */
#ifndef FUZZ_H
#define FUZZ_H

#include "../../slm.h"
#include "../testing.h"

#include <math.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define fuzz_check(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #condition);                \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- Memory ---------------------------------------------------------------------------------- */

/* More than this for an input is a find, not a failed allocation. */
#define FUZZ_MEMORY_CONSTANT ((uint64_t)64 << 20)
#define FUZZ_MEMORY_PER_BYTE 64
/* Opening a file takes little more than the file has. */
#define FUZZ_OPEN_CONSTANT ((uint64_t)48 << 10)

struct fuzz_memory {
    uint64_t now;
    uint64_t peak;
    uint64_t limit;
    int64_t n_blocks;
    int32_t fails_in; /* the allocation that fails, counted from 1; 0: none */
};

static TESTING_UNUSED struct fuzz_memory fuzz_memory(size_t input_size)
{
    struct fuzz_memory m = {0, 0, 0, 0, 0};
    m.limit = FUZZ_MEMORY_CONSTANT + FUZZ_MEMORY_PER_BYTE * (uint64_t)input_size;
    return m;
}

/* The alloc hook; `user` is a struct fuzz_memory. Blocks are malloc's own (of 64 bytes alignment),
 * so that the address sanitizer sees their ends. */
static TESTING_UNUSED void *fuzz_alloc(void *user, void *ptr, size_t old_size, size_t new_size,
                                       size_t align)
{
    struct fuzz_memory *m = (struct fuzz_memory *)user;
    void *out = NULL;
    if (new_size == 0) {
        m->now -= ptr != NULL ? old_size : 0;
        m->n_blocks -= ptr != NULL;
        free(ptr);
        return NULL;
    }
    fuzz_check(new_size <= m->limit && m->now <= m->limit - new_size,
               "%zu bytes more than %llu wanted, %llu are the limit", new_size,
               (unsigned long long)m->now, (unsigned long long)m->limit);
    if (m->fails_in > 0 && --m->fails_in == 0) {
        return NULL;
    }
    if (posix_memalign(&out, align < sizeof(void *) ? sizeof(void *) : align, new_size) != 0) {
        return NULL;
    }
    memset(out, 0xcd, new_size);
    m->now += new_size;
    m->peak = m->peak > m->now ? m->peak : m->now;
    m->n_blocks++;
    return out;
}

static TESTING_UNUSED void fuzz_all_freed(const struct fuzz_memory *m)
{
    fuzz_check(m->now == 0 && m->n_blocks == 0, "%lld blocks, %llu bytes left",
               (long long)m->n_blocks, (unsigned long long)m->now);
}

/* After a file of so many bytes was opened, or was not. */
static TESTING_UNUSED void fuzz_opened(const struct fuzz_memory *m, size_t file_size)
{
    uint64_t most = FUZZ_OPEN_CONSTANT + FUZZ_MEMORY_PER_BYTE * (uint64_t)file_size;
    fuzz_check(m->peak <= most, "%llu bytes to open %zu", (unsigned long long)m->peak, file_size);
}

/* ---- Time ------------------------------------------------------------------------------------ */

/* Processor seconds for one input: far more than any takes, also under sanitizers and valgrind. */
#define FUZZ_SECONDS 20

static TESTING_UNUSED void fuzz_in_time(clock_t begin)
{
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    fuzz_check(seconds < FUZZ_SECONDS, "%.1f s for one input", seconds);
}

/* ---- An input as numbers and texts ----------------------------------------------------------- */

/* What is read behind the end is 0. */
struct fuzz_input {
    const uint8_t *data;
    size_t size, at;
};

static TESTING_UNUSED uint8_t fuzz_u8(struct fuzz_input *in)
{
    return in->at < in->size ? in->data[in->at++] : 0;
}

static TESTING_UNUSED uint32_t fuzz_u32(struct fuzz_input *in)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        value |= (uint32_t)fuzz_u8(in) << (8 * i);
    }
    return value;
}

/* Up to `most` bytes, a length of one byte before them. */
static TESTING_UNUSED const char *fuzz_text(struct fuzz_input *in, size_t most, size_t *size)
{
    size_t n = fuzz_u8(in);
    const char *text = (const char *)in->data + in->at;
    n = n < most ? n : most;
    *size = n < in->size - in->at ? n : in->size - in->at;
    in->at += *size;
    return text;
}

static TESTING_UNUSED const char *fuzz_rest(struct fuzz_input *in, size_t *size)
{
    const char *text = (const char *)in->data + in->at;
    *size = in->size - in->at;
    in->at = in->size;
    return text;
}

/* A copy of exactly n bytes (at least one is allocated), so that reading beyond it is seen. */
static TESTING_UNUSED void *fuzz_copy(const void *data, size_t n)
{
    void *copy = malloc(n > 0 ? n : 1);
    fuzz_check(copy != NULL, "no memory");
    if (n > 0) {
        memcpy(copy, data, n);
    }
    return copy;
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* The length of the whole character at s, or 0; *bad is the length of what one U+FFFD stands for
 * then (Unicode 15, chapter 3, table 3-7). Written apart from the library's own. */
static TESTING_UNUSED size_t fuzz_char(const uint8_t *s, size_t n, size_t *bad)
{
    static const struct {
        uint8_t lead_low, lead_high, low, high, length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    *bad = 1;
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        if (s[0] < forms[f].lead_low || s[0] > forms[f].lead_high) {
            continue;
        }
        size_t i = 1;
        while (i < forms[f].length && i < n && s[i] >= (i == 1 ? forms[f].low : 0x80) &&
               s[i] <= (i == 1 ? forms[f].high : 0xbf)) {
            i++;
        }
        *bad = i;
        return i == forms[f].length ? i : 0;
    }
    return 0;
}

static TESTING_UNUSED int fuzz_is_utf8(const char *s, size_t n)
{
    size_t bad;
    for (size_t at = 0; at < n;) {
        size_t length = fuzz_char((const uint8_t *)s + at, n - at, &bad);
        if (length == 0) {
            return 0;
        }
        at += length;
    }
    return 1;
}

/* Replaces what is wrong by U+FFFD; to be freed. */
static TESTING_UNUSED char *fuzz_repair(const char *s, size_t n, size_t *size)
{
    char *out = (char *)malloc(3 * n + 1);
    fuzz_check(out != NULL, "no memory");
    *size = 0;
    for (size_t at = 0; at < n;) {
        size_t bad;
        size_t length = fuzz_char((const uint8_t *)s + at, n - at, &bad);
        memcpy(out + *size, length > 0 ? s + at : "\xEF\xBF\xBD", length > 0 ? length : 3);
        *size += length > 0 ? length : 3;
        at += length > 0 ? length : bad;
    }
    return out;
}

/* ---- Statuses -------------------------------------------------------------------------------- */

/* A status and its message as slm.h promises them. */
static TESTING_UNUSED void fuzz_status(int status, const slm_error *err)
{
    size_t n = strnlen(err->message, sizeof err->message);
    if (status == SLM_OK) {
        return;
    }
    fuzz_check(status < 0 && status >= SLM_E_TEMPLATE, "%d", status);
    fuzz_check(err->code == status, "%d says %d: %s", status, err->code, err->message);
    fuzz_check(n > 0 && n < sizeof err->message, "a message of %zu bytes", n);
    fuzz_check(fuzz_is_utf8(err->message, n) && strchr(err->message, '\n') == NULL, "%s",
               err->message);
}

#endif
