/* story.c - the storyteller through the reference kernels, for a comparison between platforms: the
 * text it tells, and one number made of the bits of every logit on the way.
 *
 *     story [MODEL]
 *
 * The model is read with stdio and opened in memory, so that a build without files can do it too;
 * any other build must open it by name as well. Compiles as C11 and C++17. */
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif
#include "../testing.h"
#include "../../slm.h"

#define N_TOKENS 60

/* By value, not by the bytes in memory: the same on every byte order. */
static uint64_t hash_row(uint64_t hash, const float *row, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        hash = (hash ^ bits) * UINT64_C(1099511628211);
    }
    return hash;
}

static int32_t best_of(const float *row, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

static int write_token(const slm_model *model, slm_text_stream *stream, int32_t token,
                       slm_error *err)
{
    char text[4096];
    size_t size = 0;
    int status = slm_decode_token(model, stream, token, 0, text, sizeof text, &size, err);
    if (status == SLM_OK) {
        fwrite(text, 1, size, stdout);
    }
    return status;
}

static int tell_story(slm_context *context, const slm_model *model, slm_error *err)
{
    static const char prompt[] = "Once upon a time";
    int32_t tokens[64];
    size_t n = 0;
    uint64_t hash = UINT64_C(1469598103934665603);
    slm_text_stream stream;
    slm_model_info info;
    memset(&stream, 0, sizeof stream);
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    int status = slm_model_get_info(model, &info, err);
    if (status == SLM_OK) {
        status = slm_tokenize(model, prompt, sizeof prompt - 1, SLM_TEXT_BOS, tokens, 64, &n, err);
    }
    for (int i = 0; status == SLM_OK && i < N_TOKENS; i++) {
        const float *row = NULL;
        slm_span span;
        memset(&span, 0, sizeof span);
        span.struct_size = (uint32_t)sizeof span;
        span.position = -1;
        span.n_tokens = (int32_t)n;
        span.tokens = tokens;
        span.want = SLM_WANT_LAST;
        status = slm_eval(context, &span, 1, sizeof span, NULL, err);
        if (status == SLM_OK) {
            status = slm_logits(context, -1, &row, NULL, err);
        }
        if (status == SLM_OK) {
            hash = hash_row(hash, row, info.n_vocab);
            tokens[0] = best_of(row, info.n_vocab);
            n = 1;
            status = write_token(model, &stream, tokens[0], err);
        }
    }
    printf("\nbits %08lx%08lx\n", (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffffu));
    return status;
}

/* Memory as it may be: not zero. */
static void *dirty_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    (void)user;
    (void)old_size;
    if (new_size == 0) {
        free(((void **)ptr)[-1]);
        return NULL;
    }
    char *block = (char *)malloc(new_size + align + sizeof(void *));
    if (block == NULL) {
        return NULL;
    }
    memset(block, 0xaa, new_size + align + sizeof(void *));
    size_t to_align = align - (uintptr_t)(block + sizeof(void *)) % align;
    char *p = block + sizeof(void *) + to_align;
    memcpy(p - sizeof(void *), &block, sizeof block);
    return p;
}

static void run_backwards(void *user, int32_t n, slm_task_fn task, void *arg)
{
    ++*(int *)user;
    while (n > 0) {
        task(arg, --n);
    }
}

/* A host's executor is asked whether or not the build has threads of its own. */
static int executor_is_asked(slm_model *model, slm_error *err)
{
    static const int32_t tokens[] = {1, 2, 3};
    int calls = 0;
    slm_threads *threads = NULL;
    slm_context *context = NULL;
    slm_threads_options pool;
    slm_context_options options;
    slm_span span;
    slm_threads_options_init(&pool, sizeof pool);
    slm_context_options_init(&options, sizeof options);
    memset(&span, 0, sizeof span);
    span.struct_size = (uint32_t)sizeof span;
    span.position = -1;
    span.n_tokens = 3;
    span.tokens = tokens;
    pool.n_threads = 4;
    pool.parallel = run_backwards;
    pool.parallel_user = &calls;
    pool.alloc = dirty_alloc;
    int status = slm_threads_create(&threads, &pool, err);
    options.threads = threads;
    options.n_ctx = 64;
    if (status == SLM_OK) {
        status = slm_context_create(&context, model, &options, err);
    }
    if (status == SLM_OK) {
        status = slm_eval(context, &span, 1, sizeof span, NULL, err);
    }
    slm_context_free(context);
    slm_threads_free(threads);
    return status == SLM_OK && calls == 0 ? SLM_E_THREAD : status;
}

static int open_by_name(const char *path, slm_error *err)
{
    slm_model *model = NULL;
    int status = slm_model_open(&model, path, NULL, err);
    slm_model_free(model);
#ifdef SLM_NO_FILES
    return status == SLM_E_UNSUPPORTED ? SLM_OK : SLM_E_IO;
#else
    return status;
#endif
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : TESTING_STORYTELLER;
    slm_error err;
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_model_options options;
    size_t size = 0;
#ifdef _WIN32
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    char *data = testing_read(path, &size);
    if (data == NULL) {
        fprintf(stderr, "story: cannot read %s\n", path);
        return 1;
    }
    const void *file = data;
    memset(&err, 0, sizeof err);
    slm_model_options_init(&options, sizeof options);
    options.cpu = 0;
    int status = open_by_name(path, &err);
    if (status == SLM_OK) {
        status = slm_model_open_memory(&model, &file, &size, 1, &options, &err);
    }
    if (status == SLM_OK) {
        status = executor_is_asked(model, &err);
    }
    if (status == SLM_OK) {
        status = slm_context_create(&context, model, NULL, &err);
    }
    if (status == SLM_OK) {
        status = tell_story(context, model, &err);
    }
    if (status != SLM_OK) {
        fprintf(stderr, "story: %s (%s)\n", err.message, slm_status_name(status));
    }
    slm_context_free(context);
    slm_model_free(model);
    free(data);
    return status == SLM_OK ? 0 : 1;
}
