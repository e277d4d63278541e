#include "callbacks.h"

#include "_cgo_export.h"

#include <stdlib.h>

static _Thread_local void *current;

void *slm_go_call(void *call)
{
    void *outer = current;
    current = call;
    return outer;
}

void slm_go_log(void *user, int32_t level, const char *message)
{
    slmGoLog(user, current, level, (char *)message); /* cgo knows no const */
}

int32_t slm_go_progress(void *user, uint64_t done, uint64_t total)
{
    return slmGoProgress(user, done, total);
}

int64_t slm_go_read(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    return slmGoRead(user, file, offset, buffer, size);
}

void *slm_go_take(size_t size)
{
    return malloc(size);
}

void *slm_go_count(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    int64_t *counts = (int64_t *)user;
    if (new_size == 0) {
        __atomic_fetch_sub(&counts[0], 1, __ATOMIC_RELAXED);
        __atomic_fetch_sub(&counts[1], (int64_t)old_size, __ATOMIC_RELAXED);
        free(ptr);
        return NULL;
    }
    size_t rounded = (new_size + align - 1) / align * align;
    void *block = rounded >= new_size ? aligned_alloc(align, rounded) : NULL;
    if (block != NULL) {
        __atomic_fetch_add(&counts[0], 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&counts[1], (int64_t)new_size, __ATOMIC_RELAXED);
    }
    return block;
}
