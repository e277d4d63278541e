/* fuzz_split.c - a model split into several files: of the input, the first byte gives their number,
 * then stands the size of each in four bytes, then the files one after the other; the last one has
 * what is left.
 *
 * Opened from memory, through a callback, and sometimes as files beside each other. */
#include "walk.h"

#include <unistd.h>

#define SPLIT_FILES 6

struct split {
    int32_t n;
    const void *data[SPLIT_FILES];
    size_t size[SPLIT_FILES];
    uint64_t size64[SPLIT_FILES];
};

static int64_t split_read(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    const struct split *s = (const struct split *)user;
    fuzz_check(file >= 0 && file < s->n, "file %d", file);
    fuzz_check(offset <= s->size[file] && size <= s->size[file] - offset, "%zu bytes at %llu", size,
               (unsigned long long)offset);
    memcpy(buffer, (const uint8_t *)s->data[file] + offset, size);
    return (int64_t)size;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static char folder[256];

static void split_path(char path[320], int32_t i, int32_t n)
{
    snprintf(path, 320, "%s/m-%05d-of-%05d.gguf", folder, (int)i + 1, (int)n);
}

static void remove_folder(void)
{
    rmdir(folder);
}

/* Writes the files, or removes them. */
static void split_files(const struct split *s, int write)
{
    char path[320];
    if (folder[0] == 0) {
        const char *in = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/slm-split-XXXXXX", in != NULL && in[0] ? in : "/tmp");
        fuzz_check(mkdtemp(folder) != NULL, "%s", folder);
        atexit(remove_folder);
    }
    for (int32_t i = 0; i < s->n; i++) {
        split_path(path, i, s->n);
        FILE *file = write ? fopen(path, "wb") : NULL;
        fuzz_check(write ? file != NULL : remove(path) == 0, "%s", path);
        if (write) {
            fuzz_check(fwrite(s->data[i], 1, s->size[i], file) == s->size[i], "%s", path);
            fclose(file);
        }
    }
}

/* ---- Opening --------------------------------------------------------------------------------- */

enum split_way {
    FROM_MEMORY,
    BY_CALLBACK,
    BY_PATH
};

static int open_and_walk(const struct split *s, size_t total, uint32_t flags, enum split_way way)
{
    struct fuzz_memory memory = fuzz_memory(total);
    char path[320];
    slm_model_options o;
    slm_model *model = NULL;
    slm_error err;
    int status = SLM_OK;
    slm_model_options_init(&o, sizeof o);
    o.alloc = fuzz_alloc;
    o.alloc_user = &memory;
    o.flags = flags;
    if (way == FROM_MEMORY) {
        status = slm_model_open_memory(&model, s->data, s->size, s->n, &o, &err);
    } else if (way == BY_CALLBACK) {
        status = slm_model_open_callback(&model, split_read, (void *)(uintptr_t)s, s->size64, s->n,
                                         &o, &err);
    } else {
        split_path(path, 0, s->n);
        status = slm_model_open(&model, path, &o, &err);
    }
    fuzz_status(status, &err);
    fuzz_opened(&memory, total);
    fuzz_check((status == SLM_OK) == (model != NULL), "%d and a model", status);
    if (status == SLM_OK) {
        walk_model(model, s->size, s->n, &memory);
    }
    slm_model_free(model);
    fuzz_all_freed(&memory);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size, 0};
    struct split s = {.n = 1 + fuzz_u8(&in) % SPLIT_FILES};
    uint32_t wanted[SPLIT_FILES];
    clock_t begin = clock();
    for (int32_t i = 0; i < s.n; i++) {
        wanted[i] = fuzz_u32(&in);
    }
    for (int32_t i = 0; i < s.n; i++) {
        size_t left = in.size - in.at;
        s.size[i] = wanted[i] < left && i < s.n - 1 ? wanted[i] : left;
        s.size64[i] = s.size[i];
        s.data[i] = fuzz_copy(in.data + in.at, s.size[i]);
        in.at += s.size[i];
    }
    int status = open_and_walk(&s, size, 0, FROM_MEMORY);
    fuzz_check(open_and_walk(&s, size, SLM_LOAD_READ, BY_CALLBACK) == status, "not %d", status);
    if (status == SLM_OK || size % 8 == 0) {
        split_files(&s, 1);
        for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags += SLM_LOAD_READ) {
            int again = open_and_walk(&s, size, flags, BY_PATH);
            fuzz_check((again == SLM_OK) == (status == SLM_OK), "%d, now %d", status, again);
        }
        split_files(&s, 0);
    }
    for (int32_t i = 0; i < s.n; i++) {
        free((void *)(uintptr_t)s.data[i]);
    }
    fuzz_in_time(begin);
    return 0;
}
