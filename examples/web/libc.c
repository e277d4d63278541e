/* libc.c - the few functions of libraries that slm.c calls, for wasm32, which has none.
 *
 * Memory is one list of free blocks in order of address; what is given back joins its neighbours,
 * and what is missing comes from memory.grow. Blocks are few and large (a model, a context), so the
 * list stays short. Only the thread of the engine allocates: slm's tasks never do, and no lock is
 * needed. Trap: addresses above 2 GiB are ordinary here, so nothing is compared as signed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    return __builtin_memcpy(to, from, n); /* memory.copy, with -mbulk-memory */
}

void *memmove(void *to, const void *from, size_t n)
{
    return __builtin_memmove(to, from, n);
}

void *memset(void *to, int byte, size_t n)
{
    return __builtin_memset(to, byte, n);
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *p = a, *q = b;
    for (size_t i = 0; i < n; i++) {
        if (p[i] != q[i]) {
            return p[i] < q[i] ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n] != 0) {
        n++;
    }
    return n;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

#define UNIT ((size_t)16) /* blocks are a multiple of it, and begin at one */
#define PAGE ((size_t)65536)

/* In front of every block; of free ones `next` is the next free one. */
struct block {
    size_t bytes; /* with this header */
    struct block *next;
    size_t padding[2];
};
_Static_assert(sizeof(struct block) == 16, "a header is a unit");

extern uint8_t __heap_base; /* from the linker: where data and stack end */
static struct block *free_list;
static uintptr_t heap_end; /* 0: not begun */

/* Puts a block where it belongs in the list, joined with the free blocks that it touches. */
static void give_back(struct block *b)
{
    struct block **at = &free_list, *before = NULL;
    while (*at != NULL && *at < b) {
        before = *at;
        at = &before->next;
    }
    b->next = *at;
    *at = b;
    if (b->next != NULL && (uintptr_t)b + b->bytes == (uintptr_t)b->next) {
        b->bytes += b->next->bytes;
        b->next = b->next->next;
    }
    if (before != NULL && (uintptr_t)before + before->bytes == (uintptr_t)b) {
        before->bytes += b->bytes;
        before->next = b->next;
    }
}

/* Makes the heap `bytes` longer, in whole pages; 0 if the host gives no more. */
static int grow(size_t bytes)
{
    if (heap_end == 0) {
        heap_end = ((uintptr_t)&__heap_base + UNIT - 1) & ~(UNIT - 1);
        size_t rest = (size_t)(__builtin_wasm_memory_size(0) * PAGE - heap_end);
        if (rest >= 2 * UNIT) {
            struct block *b = (struct block *)heap_end;
            b->bytes = rest & ~(UNIT - 1);
            heap_end += b->bytes;
            give_back(b);
        }
    }
    size_t pages = bytes / PAGE + 1;
    size_t old = __builtin_wasm_memory_grow(0, pages);
    if (old == SIZE_MAX) {
        return 0;
    }
    struct block *b = (struct block *)(old * PAGE);
    /* The last unit below 4 GiB stays unused: an end address of 0 would be no address. */
    b->bytes = pages * PAGE - (old + pages == 65536 ? UNIT : 0);
    heap_end = (uintptr_t)b + b->bytes;
    give_back(b);
    return 1;
}

static void *take(size_t bytes)
{
    for (struct block **at = &free_list; *at != NULL; at = &(*at)->next) {
        struct block *b = *at;
        if (b->bytes < bytes) {
            continue;
        }
        if (b->bytes - bytes >= 2 * UNIT) {
            struct block *rest = (struct block *)((uintptr_t)b + bytes);
            rest->bytes = b->bytes - bytes;
            rest->next = b->next;
            b->bytes = bytes;
            *at = rest;
        } else {
            *at = b->next;
        }
        return b + 1;
    }
    return NULL;
}

void *malloc(size_t n)
{
    if (n > SIZE_MAX - 2 * PAGE) {
        return NULL;
    }
    size_t bytes = ((n + UNIT - 1) & ~(UNIT - 1)) + sizeof(struct block);
    void *p = take(bytes);
    if (p == NULL && grow(bytes)) {
        p = take(bytes);
    }
    return p;
}

void free(void *p)
{
    if (p != NULL) {
        give_back((struct block *)p - 1);
    }
}

/* ---- What the compiler calls ----------------------------------------------------------------- */

/* a * b in 128 bits, which clang wants for checked products of 64 bits. From halves of 32 bits. */
__int128 __multi3(__int128 a, __int128 b)
{
    uint64_t al = (uint64_t)a, bl = (uint64_t)b;
    uint64_t a0 = (uint32_t)al, a1 = al >> 32, b0 = (uint32_t)bl, b1 = bl >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32);
    uint64_t other = a0 * b1 + (uint32_t)middle;
    uint64_t high = a1 * b1 + (middle >> 32) + (other >> 32);
    high += (uint64_t)(a >> 64) * bl + al * (uint64_t)(b >> 64);
    return (__int128)((unsigned __int128)high << 64 | (other << 32 | (uint32_t)low));
}
