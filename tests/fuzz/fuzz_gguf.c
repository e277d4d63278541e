/* fuzz_gguf.c - a GGUF file of any bytes: opened from memory, mapped or copied, or through a
 * callback that reads short; what opens is gone through and run. The files of hostile.h are known,
 * and must have the answers that stand there.
 *
 * How it is opened depends on a hash of the input, so that a file is opened the same way each time,
 * and a fuzzer tries all ways: flags, instruction sets, and a cap on memory that may be too small. */
#include "walk.h"

#include "hostile.h"

struct callback {
    const uint8_t *data;
    size_t size;
};

static int64_t read_short(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    const struct callback *c = (const struct callback *)user;
    (void)file;
    if (offset > c->size) {
        return -1;
    }
    size_t left = c->size - (size_t)offset;
    size_t n = size < left ? size : left;
    n = n > 1000 ? 1000 : n;
    memcpy(buffer, c->data + offset, n);
    return (int64_t)n;
}

static void log_line(void *user, int32_t level, const char *message)
{
    (void)user;
    fuzz_check(level == SLM_LOG_INFO || level == SLM_LOG_WARN, "level %d", level);
    fuzz_check(fuzz_is_utf8(message, strlen(message)), "%s", message);
}

static uint64_t hash_of(const uint8_t *data, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* Which of them this is, or NULL. */
static const struct hostile *hostile_find(uint64_t hash)
{
    static uint64_t hashes[HOSTILE_FILES];
    for (size_t i = 0; hashes[HOSTILE_FILES - 1] == 0 && i < HOSTILE_FILES; i++) {
        struct build b;
        hostile_files[i].make(&b);
        hashes[i] = hash_of(b.file.data, b.file.size);
        build_free(&b);
    }
    for (size_t i = 0; i < HOSTILE_FILES; i++) {
        if (hashes[i] == hash) {
            return &hostile_files[i];
        }
    }
    return NULL;
}

static void hostile_answer(const struct hostile *h, int status, const slm_error *err)
{
    fuzz_check(status == h->status && tiny_says(err, h->says, h->names),
               "%s: %s '%s', expected %s with '%s' and '%s'", h->name, slm_status_name(status),
               err->message, slm_status_name(h->status), h->says != NULL ? h->says : "",
               h->names != NULL ? h->names : "");
}

static void open_and_walk(const uint8_t *data, size_t size, uint32_t flags, int by_callback,
                          uint64_t max_bytes, const struct hostile *known)
{
    struct fuzz_memory memory = fuzz_memory(size);
    struct callback callback = {data, size};
    slm_model_options o;
    slm_model *model = NULL;
    slm_error err;
    const void *files = data;
    uint64_t size64 = size;
    slm_model_options_init(&o, sizeof o);
    o.alloc = fuzz_alloc;
    o.alloc_user = &memory;
    o.flags = flags;
    o.log = log_line;
    o.max_bytes = max_bytes;
    o.cpu = max_bytes % 2 != 0 ? SLM_CPU_ALL : 0;
    int status = by_callback
                     ? slm_model_open_callback(&model, read_short, &callback, &size64, 1, &o, &err)
                     : slm_model_open_memory(&model, &files, &size, 1, &o, &err);
    fuzz_status(status, &err);
    fuzz_opened(&memory, size);
    fuzz_check((status == SLM_OK) == (model != NULL), "%d and a model", status);
    if (known != NULL) {
        hostile_answer(known, status, &err);
    }
    if (status == SLM_OK && max_bytes >= UINT64_MAX - 1) { /* tokenising takes memory, too */
        walk_model(model, &size, 1, &memory);
    }
    slm_model_free(model);
    fuzz_all_freed(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t flags[4] = {0, SLM_LOAD_CHECK, SLM_LOAD_READ,
                                      SLM_LOAD_READ | SLM_LOAD_CHECK};
    clock_t begin = clock();
    uint64_t hash = hash_of(data, size);
    uint8_t *copy = (uint8_t *)fuzz_copy(data, size);
    int by_callback = (hash >> 42 & 3) == 0;
    open_and_walk(copy, size, SLM_LOAD_METADATA, 0, UINT64_MAX, NULL);
    open_and_walk(copy, size, flags[hash >> 40 & 3], by_callback, UINT64_MAX - (hash >> 44 & 1),
                  hostile_find(hash));
    open_and_walk(copy, size, flags[hash >> 46 & 3], by_callback, hash >> 48, NULL);
    free(copy);
    fuzz_in_time(begin);
    return 0;
}
