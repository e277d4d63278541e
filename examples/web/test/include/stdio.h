/* stdio.h - what tests/check_kernels.c uses of a C library, in one header, for wasm32 under Node.
 * Defined in shim.c; the others of this folder include it. */
#ifndef SHIM_H
#define SHIM_H
#include <stddef.h>
#include <stdint.h>

typedef struct shim_file FILE;
#define stdout ((FILE *)0)
#define stderr ((FILE *)0)

int printf(const char *format, ...);
int fprintf(FILE *file, const char *format, ...);
int snprintf(char *to, size_t capacity, const char *format, ...);
int fflush(FILE *file);
void exit(int status);
unsigned long long strtoull(const char *text, char **end, int base);
int strcmp(const char *a, const char *b);
void *calloc(size_t n, size_t size);

typedef int64_t time_t;
struct timespec {
    time_t tv_sec;
    long tv_nsec;
};
#define CLOCK_MONOTONIC 1
time_t time(time_t *t);
int clock_gettime(int clock, struct timespec *t);

/* Memory without guards: a module has one memory, all of which may be read. */
#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 0
#define MAP_ANONYMOUS 0
#define MAP_FAILED ((void *)-1)
void *mmap(void *at, size_t size, int protection, int flags, int fd, long offset);
int mprotect(void *at, size_t size, int protection);
int munmap(void *at, size_t size);

#endif
