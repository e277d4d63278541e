/* arena.h - an allocator for slm in one static array. */
#ifndef ARENA_H
#define ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_hole;

struct arena {
    struct arena_hole *holes; /* in order of addresses, no two side by side */
    size_t used;
    size_t peak;
};

/* memory and size are multiples of 64. */
void arena_begin(struct arena *arena, void *memory, size_t size);

/* A slm_alloc_fn; user is the arena. */
void *arena_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align);

#endif
