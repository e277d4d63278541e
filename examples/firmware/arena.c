/* arena.c - first fit in a list of holes. slm tells an allocator the size of what it gives back, so
 * blocks need no headers: all are multiples of 64 bytes, as aligned as slm ever asks for. */
#include "arena.h"

struct arena_hole {
    struct arena_hole *next;
    size_t size;
};

static size_t arena_round(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

void arena_begin(struct arena *arena, void *memory, size_t size)
{
    struct arena_hole *all = (struct arena_hole *)memory;
    all->next = NULL;
    all->size = size;
    arena->holes = all;
    arena->used = 0;
    arena->peak = 0;
}

static void *arena_take(struct arena *arena, size_t size)
{
    struct arena_hole **link = &arena->holes;
    while (*link != NULL && (*link)->size < size) {
        link = &(*link)->next;
    }
    struct arena_hole *hole = *link;
    if (hole == NULL) {
        return NULL;
    }
    *link = hole->next;
    if (hole->size > size) {
        struct arena_hole *rest = (struct arena_hole *)(void *)((uint8_t *)hole + size);
        rest->next = hole->next;
        rest->size = hole->size - size;
        *link = rest;
    }
    arena->used += size;
    arena->peak = arena->used > arena->peak ? arena->used : arena->peak;
    return hole;
}

static int arena_touches(const struct arena_hole *a, const struct arena_hole *b)
{
    return (const uint8_t *)a + a->size == (const uint8_t *)b;
}

static void arena_give(struct arena *arena, void *ptr, size_t size)
{
    struct arena_hole *hole = (struct arena_hole *)ptr;
    struct arena_hole *before = NULL;
    struct arena_hole *after = arena->holes;
    while (after != NULL && (uintptr_t)after < (uintptr_t)hole) {
        before = after;
        after = after->next;
    }
    hole->size = size;
    hole->next = after;
    if (after != NULL && arena_touches(hole, after)) {
        hole->size += after->size;
        hole->next = after->next;
    }
    if (before == NULL) {
        arena->holes = hole;
    } else if (arena_touches(before, hole)) {
        before->size += hole->size;
        before->next = hole->next;
    } else {
        before->next = hole;
    }
    arena->used -= size;
}

void *arena_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    struct arena *arena = (struct arena *)user;
    if (new_size == 0) {
        arena_give(arena, ptr, arena_round(old_size));
        return NULL;
    }
    return align <= 64 && new_size <= SIZE_MAX - 63 ? arena_take(arena, arena_round(new_size))
                                                    : NULL;
}
