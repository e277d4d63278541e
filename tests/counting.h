/* counting.h - an allocator hook that counts, limits and fails on demand.
 *
 * Give counting_alloc as the alloc of an options struct and a zeroed struct counting as its user.
 * Fresh memory is filled with a pattern, so that reading what was never written changes results;
 * a block given back with another size or alignment than it was taken with ends the program. */
#ifndef COUNTING_H
#define COUNTING_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counting {
    uint64_t now;     /* bytes in use */
    uint64_t peak;    /* most bytes in use at once */
    uint64_t largest; /* largest single request, granted or not */
    int64_t n_blocks; /* in use */
    int64_t n_calls;  /* requests for memory */
    int64_t fail_at;  /* the number of the request that gets nothing, from 1; 0: none */
    uint64_t limit;   /* requests that lead over this get nothing; 0: none */
};

#define COUNTING_HEAD 64

struct counting_head {
    size_t size;
    size_t align;
    void *raw;
};

static void counting_give(struct counting *c, void *ptr, size_t size, size_t align)
{
    struct counting_head head;
    memcpy(&head, (uint8_t *)ptr - COUNTING_HEAD, sizeof head);
    if (head.size != size || head.align != align) {
        fprintf(stderr, "a block of %zu bytes aligned to %zu is freed as %zu aligned to %zu\n",
                head.size, head.align, size, align);
        abort();
    }
    memset(ptr, 0xdd, size);
    free(head.raw);
    c->now -= size;
    c->n_blocks--;
}

static void *counting_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    struct counting *c = (struct counting *)user;
    if (new_size == 0) {
        if (ptr != NULL) {
            counting_give(c, ptr, old_size, align);
        }
        return NULL;
    }
    c->n_calls++;
    c->largest = new_size > c->largest ? new_size : c->largest;
    if (ptr != NULL || align == 0 || align > 64 || (align & (align - 1)) != 0) {
        fprintf(stderr, "slm.h allows no such request: %p aligned to %zu\n", ptr, align);
        abort();
    }
    if (c->n_calls == c->fail_at || new_size > SIZE_MAX / 2 ||
        (c->limit != 0 && c->now + new_size > c->limit)) {
        return NULL;
    }
    struct counting_head head = {new_size, align, malloc(new_size + COUNTING_HEAD + 64)};
    if (head.raw == NULL) {
        return NULL;
    }
    uintptr_t at = ((uintptr_t)head.raw + COUNTING_HEAD + align - 1) & ~(uintptr_t)(align - 1);
    uint8_t *out = (uint8_t *)head.raw + (at - (uintptr_t)head.raw);
    memcpy(out - COUNTING_HEAD, &head, sizeof head);
    memset(out, 0xcd, new_size);
    c->now += new_size;
    c->peak = c->now > c->peak ? c->now : c->peak;
    c->n_blocks++;
    return out;
}

#endif
