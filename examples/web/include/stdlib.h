/* stdlib.h - what slm.c uses of it, for a target without a C library. Defined in libc.c. */
#ifndef WEB_STDLIB_H
#define WEB_STDLIB_H
#include <stddef.h>

void *malloc(size_t n);
void free(void *p);

#endif
