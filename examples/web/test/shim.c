/* shim.c - the little of a C library that tests/check_kernels.c needs, for wasm32 under Node:
 * printf of what it prints, memory for mmap, a clock. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST(name) __attribute__((import_module("host"), import_name(#name)))

HOST(now) double host_now(void);
HOST(print) void host_print(const char *text, size_t size);
HOST(exit) _Noreturn void host_exit(int status);
/* Writes x as %.*g would. */
HOST(number) size_t host_number(char *to, size_t capacity, double x, int digits);

struct out {
    char *p;
    size_t n, capacity;
};

static void put(struct out *o, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++, o->n++) {
        if (o->n + 1 < o->capacity) {
            o->p[o->n] = s[i];
        }
    }
}

static void put_integer(struct out *o, uint64_t v, int negative, unsigned base, int width, int zero)
{
    char text[24];
    int at = 24;
    do {
        text[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    while (zero && 24 - at < width) {
        text[--at] = '0';
    }
    if (negative) {
        text[--at] = '-';
    }
    for (int i = 24 - at; i < width; i++) {
        put(o, " ", 1);
    }
    put(o, text + at, (size_t)(24 - at));
}

/* Flags and widths as they are met in the tests: %5d %04x %-10s %lld %zu %.9g %s %c. */
static void format_all(struct out *o, const char *f, va_list args)
{
    for (; *f != 0; f++) {
        if (*f != '%') {
            put(o, f, 1);
            continue;
        }
        int zero = 0, left = 0, width = 0, digits = 6, longs = 0;
        for (f++; *f == '0' || *f == '-'; f++) {
            zero |= *f == '0';
            left |= *f == '-';
        }
        for (; *f >= '0' && *f <= '9'; f++) {
            width = 10 * width + *f - '0';
        }
        if (*f == '.') {
            for (f++, digits = 0; *f >= '0' && *f <= '9'; f++) {
                digits = 10 * digits + *f - '0';
            }
        }
        for (; *f == 'l' || *f == 'z'; f++) {
            longs += *f == 'l';
        }
        if (*f == 's') {
            const char *s = va_arg(args, const char *);
            int n = (int)strlen(s);
            for (int i = n; !left && i < width; i++) {
                put(o, " ", 1);
            }
            put(o, s, (size_t)n);
            for (int i = n; left && i < width; i++) {
                put(o, " ", 1);
            }
        } else if (*f == 'd' || *f == 'u' || *f == 'x') {
            int64_t v = longs == 2  ? va_arg(args, int64_t)
                        : *f == 'd' ? va_arg(args, int)
                                    : (int64_t)va_arg(args, unsigned);
            int negative = *f == 'd' && v < 0;
            put_integer(o, negative ? 0 - (uint64_t)v : (uint64_t)v, negative, *f == 'x' ? 16 : 10,
                        width, zero);
        } else if (*f == 'g' || *f == 'f' || *f == 'e') {
            char text[40];
            put(o, text, host_number(text, sizeof text, va_arg(args, double), digits));
        } else {
            put(o, f, 1);
        }
    }
    if (o->capacity > 0) {
        o->p[o->n < o->capacity ? o->n : o->capacity - 1] = 0;
    }
}

int printf(const char *format, ...)
{
    char line[1000];
    struct out o = {line, 0, sizeof line};
    va_list args;
    va_start(args, format);
    format_all(&o, format, args);
    va_end(args);
    host_print(line, o.n < sizeof line ? o.n : sizeof line - 1);
    return (int)o.n;
}

int fprintf(FILE *file, const char *format, ...)
{
    (void)file;
    host_print(format, strlen(format));
    return 0;
}

int snprintf(char *to, size_t capacity, const char *format, ...)
{
    struct out o = {to, 0, capacity};
    va_list args;
    va_start(args, format);
    format_all(&o, format, args);
    va_end(args);
    return (int)o.n;
}

int fflush(FILE *file)
{
    (void)file;
    return 0;
}

void exit(int status)
{
    host_exit(status);
}

unsigned long long strtoull(const char *text, char **end, int base)
{
    unsigned long long v = 0;
    (void)end;
    (void)base;
    for (; *text >= '0' && *text <= '9'; text++) {
        v = 10 * v + (unsigned long long)(*text - '0');
    }
    return v;
}

int strcmp(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

time_t time(time_t *t)
{
    (void)t;
    return (time_t)host_now();
}

int clock_gettime(int clock, struct timespec *t)
{
    double ms = host_now();
    (void)clock;
    t->tv_sec = (time_t)(ms / 1000);
    t->tv_nsec = (long)((ms - (double)t->tv_sec * 1000) * 1e6);
    return 0;
}

/* At a multiple of 64; the block stands in front. */
void *mmap(void *at, size_t size, int protection, int flags, int fd, long offset)
{
    (void)at, (void)protection, (void)flags, (void)fd, (void)offset;
    uint8_t *p = malloc(size + 128);
    if (p == NULL) {
        return MAP_FAILED;
    }
    uint8_t *aligned = (uint8_t *)(((uintptr_t)p + 127) & ~(uintptr_t)63);
    memcpy(aligned - sizeof p, &p, sizeof p);
    return aligned;
}

int mprotect(void *at, size_t size, int protection)
{
    (void)at, (void)size, (void)protection;
    return 0;
}

int munmap(void *at, size_t size)
{
    void *p;
    (void)size;
    memcpy(&p, (uint8_t *)at - sizeof p, sizeof p);
    free(p);
    return 0;
}

void *calloc(size_t n, size_t size)
{
    void *p = malloc(n * size);
    return p == NULL ? NULL : memset(p, 0, n * size);
}
