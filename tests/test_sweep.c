/* test_sweep.c - everything that can be refused is refused, one at a time.
 *
 * A scenario is one call or a row of calls. It runs once undisturbed, which counts how often it asks
 * the allocator and the system for something; then once for every such request, and in that run
 * the request is refused: only this one, or this one and all that follow. Each time the call must
 * answer with the right status and a message, leave nothing behind that was not there before, and
 * give exactly the undisturbed result when it is made again on the same objects. Some faults (an
 * interrupted or a short read) must not be seen at all.
 *
 * Scenarios that must not ask for anything, such as decoding a token, are held to that. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- The host, which refuses on demand ------------------------------------------------------- */

enum host_call {
    HOST_HEAP,
    HOST_OPEN,
    HOST_STAT,
    HOST_SEEK,
    HOST_MAP,
    HOST_READ,
    HOST_CALLBACK,
    HOST_ATTR,
    HOST_STACK,
    HOST_THREAD,
    HOST_LOCK,
    HOST_CALLS
};

/* Faults that are no errno. */
#define HOST_SHORT (-1) /* one byte */
#define HOST_END (-2)   /* no byte */
#define HOST_WILD (-3)  /* a callback that claims more than it was asked for */

static struct {
    enum host_call call; /* what is refused, with code, from call number at (0: never) */
    int code;
    int64_t at;
    int lasting; /* and ever after */
    int64_t calls[HOST_CALLS];
    int64_t n_files, n_maps; /* open */
    int64_t n_attrs;         /* of threads, not destroyed */
    int32_t n_threads;       /* running; atomic */
} host;

/* 0, or the code of the fault for this call. */
static int host_fault(enum host_call call)
{
    int64_t n = ++host.calls[call];
    if (call != host.call || host.at == 0 || n < host.at || (n > host.at && !host.lasting)) {
        return 0;
    }
    return host.code;
}

static int host_open(const char *path, int flags)
{
    int code = host_fault(HOST_OPEN);
    int fd = -1;
    if (code == 0) {
        fd = open(path, flags);
        host.n_files += fd >= 0;
    } else {
        errno = code;
    }
    return fd;
}

static int host_close(int fd)
{
    host.n_files--;
    return close(fd);
}

static int host_stat(int fd, struct stat *info)
{
    int code = host_fault(HOST_STAT);
    if (code != 0) {
        errno = code;
        return -1;
    }
    return fstat(fd, info);
}

static int64_t host_seek(int fd, int64_t offset, int whence)
{
    int code = host_fault(HOST_SEEK);
    if (code != 0) {
        errno = code;
        return -1;
    }
    return (int64_t)lseek(fd, (off_t)offset, whence);
}

static long host_read(int fd, void *buffer, size_t size, int64_t offset)
{
    int code = host_fault(HOST_READ);
    if (code > 0) {
        errno = code;
        return -1;
    }
    if (code == HOST_END) {
        return 0;
    }
    return (long)pread(fd, buffer, code == HOST_SHORT ? 1 : size, (off_t)offset);
}

static void *host_map(size_t size, int fd)
{
    int code = host_fault(HOST_MAP);
    if (code != 0) {
        errno = code;
        return MAP_FAILED;
    }
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    host.n_maps += p != MAP_FAILED;
    return p;
}

static int host_unmap(void *p, size_t size)
{
    host.n_maps--;
    return munmap(p, size);
}

static int host_attr(pthread_attr_t *attr)
{
    int code = host_fault(HOST_ATTR);
    code = code != 0 ? code : pthread_attr_init(attr);
    host.n_attrs += code == 0;
    return code;
}

static int host_attr_stack(pthread_attr_t *attr, size_t size)
{
    int code = host_fault(HOST_STACK);
    return code != 0 ? code : pthread_attr_setstacksize(attr, size);
}

static int host_attr_destroy(pthread_attr_t *attr)
{
    host.n_attrs--;
    return pthread_attr_destroy(attr);
}

struct host_thread {
    void *(*fn)(void *);
    void *arg;
};

static void *host_thread_main(void *arg)
{
    struct host_thread t = *(struct host_thread *)arg;
    free(arg);
    void *result = t.fn(t.arg);
    __atomic_sub_fetch(&host.n_threads, 1, __ATOMIC_SEQ_CST);
    return result;
}

static int host_thread(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    int code = host_fault(HOST_THREAD);
    struct host_thread *t = code == 0 ? (struct host_thread *)malloc(sizeof *t) : NULL;
    if (t == NULL) {
        return code != 0 ? code : EAGAIN;
    }
    t->fn = fn;
    t->arg = arg;
    __atomic_add_fetch(&host.n_threads, 1, __ATOMIC_SEQ_CST);
    code = pthread_create(id, attr, host_thread_main, t);
    if (code != 0) {
        __atomic_sub_fetch(&host.n_threads, 1, __ATOMIC_SEQ_CST);
        free(t);
    }
    return code;
}

static int host_mutex(pthread_mutex_t *mutex)
{
    int code = host_fault(HOST_LOCK);
    return code != 0 ? code : pthread_mutex_init(mutex, NULL);
}

static int host_cond(pthread_cond_t *cond)
{
    int code = host_fault(HOST_LOCK);
    return code != 0 ? code : pthread_cond_init(cond, NULL);
}

#define PLATFORM_OPEN(path, flags) host_open(path, flags)
#define PLATFORM_CLOSE(fd) host_close(fd)
#define PLATFORM_FSTAT(fd, info) host_stat(fd, info)
#define PLATFORM_LSEEK(fd, offset, whence) host_seek(fd, offset, whence)
#define PLATFORM_PREAD(fd, buffer, size, offset) host_read(fd, buffer, size, offset)
#define PLATFORM_MMAP(size, fd) host_map(size, fd)
#define PLATFORM_MUNMAP(address, size) host_unmap(address, size)
#define PLATFORM_ATTR_INIT(attr) host_attr(attr)
#define PLATFORM_ATTR_STACK(attr, size) host_attr_stack(attr, size)
#define PLATFORM_ATTR_DESTROY(attr) host_attr_destroy(attr)
#define PLATFORM_THREAD_CREATE(id, attr, fn, arg) host_thread(id, attr, fn, arg)
#define PLATFORM_MUTEX_INIT(mutex) host_mutex(mutex)
#define PLATFORM_COND_INIT(cond) host_cond(cond)
#include "../slm.c"

#include "counting.h"
#include "gguf_build.h"

static struct counting heap;

static void *host_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    if (new_size != 0 && host_fault(HOST_HEAP) != 0) {
        return NULL;
    }
    return counting_alloc(user, ptr, old_size, new_size, align);
}

/* The read callback of slm_model_open_callback; user is the array of files. */
static int64_t host_callback(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    const struct build *b = &((const struct build *)user)[file];
    int code = host_fault(HOST_CALLBACK);
    if (code > 0) {
        return -1;
    }
    if (code == HOST_END || code == HOST_WILD) {
        return code == HOST_END ? 0 : (int64_t)size + 1;
    }
    size = code == HOST_SHORT ? 1 : size;
    assert_true(offset <= b->file.size && size <= b->file.size - offset);
    memcpy(buffer, b->file.data + offset, size);
    return (int64_t)size;
}

/* ---- The files ------------------------------------------------------------------------------- */

#define SHARDS 3
#define SP "\xE2\x96\x81"

static struct build whole;          /* a llama of one layer, with a vocabulary of SentencePiece */
static struct build shards[SHARDS]; /* the same, split */
static char folder[256];
static char whole_path[320];
static char shard_path[SHARDS][320];

static void vocabulary_keys(struct build *b)
{
    static const struct {
        const char *text;
        int type;
        float score;
    } entries[TINY_VOCAB] = {{"<unk>", 2, 0}, {"<s>", 3, 0},   {"</s>", 3, 0}, {"<0x0A>", 6, 0},
                             {SP, 1, -10},    {"a", 1, -11},   {"b", 1, -12},  {"ab", 1, -2},
                             {"ba", 1, -1},   {SP "a", 1, -3}, {"c", 1, -20},  {"<|u|>", 4, 0}};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        build_put_string(&b->keys, entries[i].text, strlen(entries[i].text));
    }
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        build_put_f32(&b->keys, entries[i].score);
    }
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        build_put_int(&b->keys, (uint64_t)entries[i].type, 4);
    }
}

static int write_file(const char *path, const struct build *b)
{
    FILE *f = fopen(path, "wb");
    size_t written = f != NULL ? fwrite(b->file.data, 1, b->file.size, f) : 0;
    return f != NULL && fclose(f) == 0 && written == b->file.size ? 0 : -1;
}

static int make_files(void **state)
{
    const char *temp = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%.200s/slm_sweep_XXXXXX",
             temp != NULL && temp[0] != 0 ? temp : "/tmp");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    struct tiny t = tiny_default();
    t.keys = vocabulary_keys;
    tiny_build(&whole, &t);
    snprintf(whole_path, sizeof whole_path, "%s/whole.gguf", folder);
    int status = write_file(whole_path, &whole);
    for (int i = 0; i < SHARDS; i++) {
        t.n_shards = SHARDS;
        t.shard = i;
        tiny_build(&shards[i], &t);
        snprintf(shard_path[i], sizeof shard_path[i], "%s/m-%05d-of-%05d.gguf", folder, i + 1,
                 SHARDS);
        status |= write_file(shard_path[i], &shards[i]);
    }
    return status;
}

static int remove_files(void **state)
{
    (void)state;
    remove(whole_path);
    build_free(&whole);
    for (int i = 0; i < SHARDS; i++) {
        remove(shard_path[i]);
        build_free(&shards[i]);
    }
    return rmdir(folder);
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

struct scene {
    slm_model *model;
    slm_threads *pool;
    slm_context *context;
    slm_sampler *sampler;
    slm_sampler *copy;
    slm_generator *generator;
    slm_chat_template *chat;
    slm_chat_prompt *prompt;
    slm_chat_output *output;
    int32_t tokens[128];
    size_t n_tokens;
    char text[512];
    size_t n_text;
};

/* What a scenario finds made. */
#define HAS_TINY 1
#define HAS_STORY 2
#define HAS_POOL 4
#define HAS_CONTEXT 8
#define HAS_SAMPLER 16
#define HAS_PREFIX 32 /* five tokens evaluated */
#define HAS_GENERATOR 64
#define HAS_CHAT 128
#define HAS_PROMPT 256
#define HAS_OUTPUT 512
#define HAS_ANSWER 1024 /* pushed into the output */

struct scenario {
    const char *name;
    int has;
    int (*act)(struct scene *s, slm_error *err);
    uint64_t (*check)(struct scene *s); /* a hash of all that can be seen of the result */
};

static const int32_t prefix[5] = {1, 9, 8, 7, 5};
static const char story_text[] = "Once upon a time, the 3 cats sat; \xC3\xA4 caf\xC3\xA9 in 1999!";

static slm_model_options model_options(uint32_t flags)
{
    slm_model_options o;
    assert_int_equal(slm_model_options_init(&o, sizeof o), SLM_OK);
    o.flags = flags;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return o;
}

static int load_path(struct scene *s, const char *path, uint32_t flags, slm_error *err)
{
    slm_model_options o = model_options(flags);
    return slm_model_open(&s->model, path, &o, err);
}

static int load_mapped(struct scene *s, slm_error *err)
{
    return load_path(s, whole_path, 0, err);
}

static int load_read(struct scene *s, slm_error *err)
{
    return load_path(s, whole_path, SLM_LOAD_READ | SLM_LOAD_CHECK, err);
}

static int load_metadata(struct scene *s, slm_error *err)
{
    return load_path(s, whole_path, SLM_LOAD_METADATA, err);
}

static int load_story(struct scene *s, slm_error *err)
{
    return load_path(s, TESTING_STORYTELLER, 0, err);
}

static int load_split(struct scene *s, slm_error *err)
{
    return load_path(s, shard_path[0], 0, err);
}

static int load_split_read(struct scene *s, slm_error *err)
{
    return load_path(s, shard_path[0], SLM_LOAD_READ, err);
}

static int load_memory_of(struct scene *s, const struct build *files, int32_t n, uint32_t flags,
                          slm_error *err)
{
    slm_model_options o = model_options(flags);
    const void *data[SHARDS];
    size_t size[SHARDS];
    for (int32_t i = 0; i < n; i++) {
        data[i] = files[i].file.data;
        size[i] = files[i].file.size;
    }
    return slm_model_open_memory(&s->model, data, size, n, &o, err);
}

static int load_memory(struct scene *s, slm_error *err)
{
    return load_memory_of(s, &whole, 1, 0, err);
}

static int load_memory_read(struct scene *s, slm_error *err)
{
    return load_memory_of(s, &whole, 1, SLM_LOAD_READ, err);
}

static int load_split_memory(struct scene *s, slm_error *err)
{
    return load_memory_of(s, shards, SHARDS, 0, err);
}

static int load_callback_of(struct scene *s, struct build *files, int32_t n, slm_error *err)
{
    slm_model_options o = model_options(0);
    uint64_t size[SHARDS];
    for (int32_t i = 0; i < n; i++) {
        size[i] = files[i].file.size;
    }
    return slm_model_open_callback(&s->model, host_callback, files, size, n, &o, err);
}

static int load_callback(struct scene *s, slm_error *err)
{
    return load_callback_of(s, &whole, 1, err);
}

static int load_split_callback(struct scene *s, slm_error *err)
{
    return load_callback_of(s, shards, SHARDS, err);
}

static int create_pool(struct scene *s, slm_error *err)
{
    slm_threads_options o;
    assert_int_equal(slm_threads_options_init(&o, sizeof o), SLM_OK);
    o.n_threads = 4;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_threads_create(&s->pool, &o, err);
}

static int create_context_of(struct scene *s, slm_threads *pool, int32_t n_threads, slm_error *err)
{
    slm_context_options o = tiny_context();
    o.n_ctx = 64;
    o.n_sequences = 3;
    o.n_threads = n_threads;
    o.threads = pool;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_context_create(&s->context, s->model, &o, err);
}

static int create_context(struct scene *s, slm_error *err)
{
    return create_context_of(s, s->pool, 1, err);
}

static int create_context_own_pool(struct scene *s, slm_error *err)
{
    return create_context_of(s, NULL, 4, err);
}

static int create_sampler(struct scene *s, slm_error *err)
{
    static const slm_logit_bias biases[2] = {{3, -1.0f}, {4, 0.5f}};
    slm_sampler_stage stages[4];
    slm_sampler_options o;
    memset(stages, 0, sizeof stages);
    for (int i = 0; i < 4; i++) {
        stages[i].struct_size = (uint32_t)sizeof stages[i];
    }
    stages[0].kind = SLM_STAGE_LOGIT_BIAS;
    stages[0].biases = biases;
    stages[0].n_biases = 2;
    stages[1].kind = SLM_STAGE_PENALTIES;
    stages[1].n = 8;
    stages[1].repeat = 1.1f;
    stages[2].kind = SLM_STAGE_TOP_K;
    stages[2].n = 8;
    stages[3].kind = SLM_STAGE_TEMPERATURE;
    stages[3].value = 0.9f;
    assert_int_equal(slm_sampler_options_init(&o, sizeof o), SLM_OK);
    o.seed = 42;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_sampler_create(&s->sampler, s->model, stages, 4, sizeof stages[0], &o, err);
}

static int clone_sampler(struct scene *s, slm_error *err)
{
    return slm_sampler_clone(&s->copy, s->sampler, err);
}

static int tokenize_of(struct scene *s, const char *text, size_t size, slm_error *err)
{
    return slm_tokenize(s->model, text, size, SLM_TEXT_BOS | SLM_TEXT_SPECIAL, s->tokens, 128,
                        &s->n_tokens, err);
}

static int tokenize_bpe(struct scene *s, slm_error *err)
{
    return tokenize_of(s, story_text, sizeof story_text - 1, err);
}

static int tokenize_spm(struct scene *s, slm_error *err)
{
    return tokenize_of(s, "abba a<|u|>baab cab\n", 20, err);
}

static int detokenize(struct scene *s, slm_error *err)
{
    slm_text_stream stream;
    size_t n = 0;
    memset(&stream, 0, sizeof stream);
    int status = slm_detokenize(s->model, prefix, 5, SLM_TEXT_BOS, s->text, 256, &s->n_text, err);
    for (int i = 0; status == SLM_OK && i < 5; i++) {
        status =
            slm_decode_token(s->model, &stream, prefix[i], 0, s->text + s->n_text, 64, &n, err);
        s->n_text += n;
    }
    return status;
}

static int eval_of(struct scene *s, const int32_t *tokens, int32_t n, int32_t want, slm_error *err)
{
    slm_span span;
    memset(&span, 0, sizeof span);
    span.struct_size = (uint32_t)sizeof span;
    span.position = -1;
    span.n_tokens = n;
    span.tokens = tokens;
    span.want = want;
    return slm_eval(s->context, &span, 1, sizeof span, NULL, err);
}

static int prefill(struct scene *s, slm_error *err)
{
    return eval_of(s, prefix, 5, SLM_WANT_LAST, err);
}

static int embed(struct scene *s, slm_error *err)
{
    static float rows[2][64];
    slm_embed_text texts[2];
    size_t needed = 0;
    memset(texts, 0, sizeof texts);
    for (int i = 0; i < 2; i++) {
        texts[i].struct_size = (uint32_t)sizeof texts[i];
        texts[i].n_tokens = 5 - 2 * i;
        texts[i].tokens = prefix;
    }
    slm_embed_options o;
    slm_embed_options_init(&o, sizeof o);
    o.pooling = SLM_POOLING_LAST;
    return slm_embed(s->context, texts, 2, sizeof texts[0], &o, rows[0], 128, &needed, err);
}

static int decode(struct scene *s, slm_error *err)
{
    int status = SLM_OK;
    for (int32_t i = 0; status == SLM_OK && i < 20; i++) {
        int32_t token = 4 + i % 8;
        status = eval_of(s, &token, 1, SLM_WANT_LAST, err);
    }
    return status;
}

static int sample(struct scene *s, slm_error *err)
{
    const float *logits = NULL;
    int status = slm_logits(s->context, -1, &logits, NULL, err);
    for (s->n_tokens = 0; status == SLM_OK && s->n_tokens < 20;) {
        int32_t *token = &s->tokens[s->n_tokens++];
        status = slm_sample(s->sampler, logits, TINY_VOCAB, token, err);
        if (status == SLM_OK) {
            status = slm_sampler_accept(s->sampler, *token, err);
        }
    }
    return status != SLM_OK ? status : slm_sampler_rewind(s->sampler, 7, err);
}

static int fork_and_rewind(struct scene *s, slm_error *err)
{
    int status = slm_sequence_fork(s->context, 0, 1, err);
    status = status != SLM_OK ? status : slm_sequence_fork(s->context, 1, 2, err);
    status = status != SLM_OK ? status : slm_sequence_rewind(s->context, 0, 3, err);
    return status != SLM_OK ? status : slm_sequence_rewind(s->context, 1, 0, err);
}

static int ask(struct scene *s, slm_error *err)
{
    slm_model_info info;
    slm_context_info context;
    slm_metadata value;
    slm_tensor_info tensor;
    slm_token_info token;
    slm_plan plan;
    int32_t n = 0;
    info.struct_size = (uint32_t)sizeof info;
    context.struct_size = (uint32_t)sizeof context;
    value.struct_size = (uint32_t)sizeof value;
    tensor.struct_size = (uint32_t)sizeof tensor;
    token.struct_size = (uint32_t)sizeof token;
    plan.struct_size = (uint32_t)sizeof plan;
    slm_context_options o = tiny_context();
    int status = slm_model_get_info(s->model, &info, err);
    status = status != SLM_OK ? status : slm_context_get_info(s->context, &context, err);
    status = status != SLM_OK ? status : slm_model_metadata(s->model, 3, 0, &value, err);
    status = status != SLM_OK ? status : slm_model_tensor(s->model, 2, &tensor, err);
    status = status != SLM_OK ? status : slm_token_get_info(s->model, 7, &token, err);
    status = status != SLM_OK ? status : slm_token_find(s->model, "ab", 2, &n, err);
    status = status != SLM_OK ? status : slm_sequence_length(s->context, 0, &n, err);
    return status != SLM_OK ? status : slm_plan_memory(s->model, &o, &plan, err);
}

static int begin_with(struct scene *s, slm_sampler *sampler, int32_t heal, slm_error *err)
{
    static const char *const stops[1] = {"cc"};
    slm_generate_options o;
    assert_int_equal(slm_generate_options_init(&o, sizeof o), SLM_OK);
    o.max_tokens = 12;
    o.stops = stops;
    o.n_stops = 1;
    o.heal = heal;
    return slm_generate_begin(&s->generator, s->context, 0, sampler, "ab ba", heal ? 4 : 5, &o,
                              err);
}

static int generate_begin(struct scene *s, slm_error *err)
{
    return begin_with(s, s->sampler, 0, err);
}

static int generate_begin_greedy(struct scene *s, slm_error *err)
{
    return begin_with(s, NULL, 0, err);
}

/* Takes back "b", with which "ba" begins. */
static int generate_begin_healed(struct scene *s, slm_error *err)
{
    return begin_with(s, s->sampler, 1, err);
}

static int generate_begin_tokens(struct scene *s, slm_error *err)
{
    slm_generate_options o;
    assert_int_equal(slm_generate_options_init(&o, sizeof o), SLM_OK);
    o.max_tokens = 12;
    o.prompt_tokens = prefix;
    o.n_prompt_tokens = 5;
    return slm_generate_begin(&s->generator, s->context, 0, s->sampler, NULL, 0, &o, err);
}

/* Generates until the end, appending to s->text. */
static int generate_to_the_end(struct scene *s, slm_error *err)
{
    slm_piece piece;
    int status = SLM_OK;
    s->n_text = 0;
    do {
        piece.struct_size = (uint32_t)sizeof piece;
        status = slm_generate_next(s->generator, &piece, err);
        if (status == SLM_OK && piece.kind == SLM_PIECE_TEXT) {
            assert_true(piece.size <= sizeof s->text - s->n_text);
            memcpy(s->text + s->n_text, piece.text, piece.size);
            s->n_text += piece.size;
        }
    } while (status == SLM_OK && piece.kind == SLM_PIECE_TEXT);
    return status;
}

/* ---- Chat ------------------------------------------------------------------------------------ */

static const char chat_text[] =
    "{% macro turn(m) %}{{ '<|u|>' ~ m.role }}: {{ m.content|trim|upper }}{% endmacro %}"
    "{% set ns = namespace(n=0) %}{% for m in messages if m.content %}{% set ns.n = ns.n + 1 %}"
    "{{ turn(m) }}{{ m|tojson(indent=2) if loop.last else ', '.join(['a', m.role]) }}{% endfor %}"
    "{% for t in tools or [] %}{{ t.function.name|replace('a', 'b') }}{% endfor %}{{ ns.n }}";
static const char chat_messages[] =
    "[{\"role\": \"user\", \"content\": \" ab\\u00e4ba \"}, {\"role\": \"assistant\", \"content\": "
    "\"\"},"
    " {\"role\": \"user\", \"content\": \"c<|u|>\", \"numbers\": [1, 2.5, true, null]}]";
static const char chat_tools[] = "[{\"type\": \"function\", \"function\": {\"name\": \"add\", "
                                 "\"parameters\": {\"type\": \"object\","
                                 " \"properties\": {\"a\": {\"type\": \"integer\"}}}}}]";
static const char chat_answer[] = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, "
                                  "\"b\": [\"\\u00e4\"]}}\n</tool_call>";

static int create_chat(struct scene *s, slm_error *err)
{
    slm_chat_template_options o;
    slm_chat_template_options_init(&o, sizeof o);
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_chat_template_create(&s->chat, s->model, chat_text, sizeof chat_text - 1, &o, err);
}

static int render(struct scene *s, slm_error *err)
{
    slm_chat_options o;
    slm_chat_options_init(&o, sizeof o);
    o.tools = chat_tools;
    o.tools_size = sizeof chat_tools - 1;
    return slm_chat_render(&s->prompt, s->chat, chat_messages, sizeof chat_messages - 1, &o, err);
}

static int tokenize_prompt(struct scene *s, slm_error *err)
{
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_chat_prompt_get_info(s->prompt, &info, NULL), SLM_OK);
    int32_t tokens[1024];
    int status = slm_tokenize_segments(s->model, info.segments, info.n_segments, info.segment_size,
                                       SLM_TEXT_BOS, tokens, 1024, &s->n_tokens, err);
    s->n_tokens = s->n_tokens < 128 ? s->n_tokens : 128;
    memcpy(s->tokens, tokens, s->n_tokens * sizeof tokens[0]);
    return status;
}

static int create_output_of(struct scene *s, const char *style, slm_error *err)
{
    slm_chat_output_options o;
    slm_chat_output_options_init(&o, sizeof o);
    o.tool_calls = style;
    o.tools = chat_tools;
    o.tools_size = sizeof chat_tools - 1;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_chat_output_create(&s->output, s->chat, &o, err);
}

static int create_output(struct scene *s, slm_error *err)
{
    return create_output_of(s, "hermes", err);
}

static int create_output_of_template(struct scene *s, slm_error *err)
{
    return create_output_of(s, NULL, err);
}

static int push_answer(struct scene *s, slm_error *err)
{
    return slm_chat_output_push(s->output, SLM_PIECE_TEXT, chat_answer, sizeof chat_answer - 1,
                                err);
}

static int next_event(struct scene *s, slm_error *err)
{
    slm_chat_event e = {.struct_size = sizeof e};
    int status = slm_chat_output_next(s->output, &e, err);
    if (status == SLM_OK && e.kind == SLM_CHAT_TOOL_CALL) {
        s->n_text = (size_t)snprintf(s->text, sizeof s->text, "%s %s", e.name, e.arguments);
    }
    return status;
}

/* Everything that lives, in an order that leaves references to free for the last. */
static void free_scene(struct scene *s)
{
    slm_model_free(s->model);
    slm_threads_free(s->pool);
    slm_context_free(s->context);
    slm_sampler_free(s->sampler);
    slm_sampler_free(s->copy);
    slm_generate_end(s->generator);
    slm_chat_template_free(s->chat);
    slm_chat_prompt_free(s->prompt);
    slm_chat_output_free(s->output);
    s->chat = NULL;
    s->prompt = NULL;
    s->output = NULL;
    s->model = NULL;
    s->pool = NULL;
    s->context = NULL;
    s->sampler = NULL;
    s->copy = NULL;
    s->generator = NULL;
}

static int free_everything(struct scene *s, slm_error *err)
{
    (void)err;
    free_scene(s);
    return heap.n_blocks == 0 && heap.now == 0 ? SLM_OK : SLM_E_MEMORY;
}

/* From the file to the last piece. What was made before the failure is freed. */
static int whole_life(struct scene *s, slm_error *err)
{
    int status = load_read(s, err);
    status = status != SLM_OK ? status : create_pool(s, err);
    status = status != SLM_OK ? status : create_context(s, err);
    status = status != SLM_OK ? status : create_sampler(s, err);
    status = status != SLM_OK ? status : clone_sampler(s, err);
    status = status != SLM_OK ? status : generate_begin(s, err);
    status = status != SLM_OK ? status : generate_to_the_end(s, err);
    if (status != SLM_OK) {
        free_scene(s);
    }
    return status;
}

/* ---- Results --------------------------------------------------------------------------------- */

/* As make_scene does it: nothing is refused. */
static uint64_t mixed(uint64_t hash, const void *data, size_t size)
{
    return hash_bytes(data, size, hash * 31 + size);
}

static uint64_t nothing_to_see(struct scene *s)
{
    (void)s;
    return 1;
}

static uint64_t text_and_tokens(struct scene *s)
{
    return mixed(mixed(1, s->tokens, s->n_tokens * sizeof s->tokens[0]), s->text, s->n_text);
}

/* Of the two sequences that are left after forking, too. */
static uint64_t logits_and_lengths(struct scene *s)
{
    uint64_t hash = 2;
    const float *logits = NULL;
    assert_int_equal(slm_logits(s->context, -1, &logits, NULL, NULL), SLM_OK);
    hash = mixed(hash, logits, TINY_VOCAB * sizeof *logits);
    for (int32_t i = 0; i < 3; i++) {
        int32_t n = -1;
        assert_int_equal(slm_sequence_length(s->context, i, &n, NULL), SLM_OK);
        hash = mixed(hash, &n, sizeof n);
    }
    return hash;
}

static uint64_t works_in_context(struct scene *s)
{
    slm_error err;
    assert_int_equal(slm_sequence_rewind(s->context, 0, 0, &err), SLM_OK);
    assert_int_equal(prefill(s, &err), SLM_OK);
    return logits_and_lengths(s);
}

static uint64_t pool_works(struct scene *s)
{
    slm_error err;
    assert_int_equal(create_context(s, &err), SLM_OK);
    return works_in_context(s);
}

/* Tokenises and evaluates. */
static uint64_t model_works(struct scene *s)
{
    slm_error err;
    assert_int_equal(tokenize_spm(s, &err), SLM_OK);
    assert_int_equal(create_context(s, &err), SLM_OK);
    uint64_t hash = works_in_context(s);
    slm_context_free(s->context);
    s->context = NULL;
    return mixed(hash, s->tokens, s->n_tokens * sizeof s->tokens[0]);
}

static uint64_t metadata_works(struct scene *s)
{
    slm_error err;
    slm_plan plan;
    slm_context_options o = tiny_context();
    memset(&plan, 0, sizeof plan);
    plan.struct_size = (uint32_t)sizeof plan;
    assert_int_equal(tokenize_spm(s, &err), SLM_OK);
    assert_int_equal(slm_plan_memory(s->model, &o, &plan, &err), SLM_OK);
    return mixed(text_and_tokens(s), &plan, sizeof plan);
}

static uint64_t story_tokenizes(struct scene *s)
{
    slm_error err;
    assert_int_equal(tokenize_bpe(s, &err), SLM_OK);
    return text_and_tokens(s);
}

static uint64_t samplers_work(struct scene *s)
{
    slm_error err;
    uint64_t hash = 3;
    assert_int_equal(sample(s, &err), SLM_OK);
    hash = mixed(hash, s->tokens, s->n_tokens * sizeof s->tokens[0]);
    if (s->copy != NULL) {
        slm_sampler *original = s->sampler;
        s->sampler = s->copy;
        assert_int_equal(sample(s, &err), SLM_OK);
        s->sampler = original;
        hash = mixed(hash, s->tokens, s->n_tokens * sizeof s->tokens[0]);
    }
    return hash;
}

static uint64_t generates(struct scene *s)
{
    slm_error err;
    assert_int_equal(generate_to_the_end(s, &err), SLM_OK);
    assert_true(s->n_text > 0);
    return mixed(4, s->text, s->n_text);
}

static uint64_t prompt_of(struct scene *s)
{
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    uint64_t hash = 5;
    assert_int_equal(slm_chat_prompt_get_info(s->prompt, &info, NULL), SLM_OK);
    for (int32_t i = 0; i < info.n_segments; i++) {
        hash = mixed(hash + (uint64_t)info.segments[i].kind, info.segments[i].text,
                     info.segments[i].size);
    }
    slm_chat_prompt_free(s->prompt);
    s->prompt = NULL;
    return hash;
}

static uint64_t chat_renders(struct scene *s)
{
    slm_error err;
    assert_int_equal(render(s, &err), SLM_OK);
    return prompt_of(s);
}

/* The call, and text behind it. */
static uint64_t output_reads(struct scene *s)
{
    slm_error err;
    uint64_t hash = mixed(6, s->text, s->n_text);
    assert_int_equal(slm_chat_output_push(s->output, SLM_PIECE_TEXT, "more", 4, &err), SLM_OK);
    assert_int_equal(slm_chat_output_push(s->output, SLM_PIECE_END, NULL, 0, &err), SLM_OK);
    for (;;) {
        slm_chat_event e = {.struct_size = sizeof e};
        assert_int_equal(slm_chat_output_next(s->output, &e, &err), SLM_OK);
        if (e.kind == SLM_CHAT_END) {
            return hash;
        }
        hash = mixed(hash + (uint64_t)e.kind, e.text, e.size);
    }
}

/* ---- The sweep ------------------------------------------------------------------------------- */

struct fault {
    const char *name;
    enum host_call call;
    int code;
    int status;       /* what the call then answers; SLM_OK: the fault is overcome */
    const char *says; /* stands in the message */
    int forever;      /* may last: with an interruption that lasts, it is right to go on for ever */
};

static const struct fault no_memory = {"no memory", HOST_HEAP, ENOMEM, SLM_E_MEMORY, "bytes", 1};
static const struct fault no_file = {"no file", HOST_OPEN, ENFILE, SLM_E_IO, "too many open", 1};
static const struct fault no_file_cpu = {"no file", HOST_OPEN, ENFILE, SLM_OK, NULL, 1};
static const struct fault open_again = {"open EINTR", HOST_OPEN, EINTR, SLM_OK, NULL, 0};
static const struct fault no_stat = {"no stat", HOST_STAT, EIO, SLM_E_IO, "input/output", 1};
static const struct fault no_seek = {"no seek", HOST_SEEK, EOVERFLOW, SLM_E_IO, "too large", 1};
static const struct fault no_map = {"no map", HOST_MAP, ENOMEM, SLM_E_IO, "cannot map", 1};
static const struct fault no_read = {"EIO", HOST_READ, EIO, SLM_E_IO, "input/output error", 1};
static const struct fault no_read_cpu = {"EIO", HOST_READ, EIO, SLM_OK, NULL, 1};
static const struct fault read_again = {"read EINTR", HOST_READ, EINTR, SLM_OK, NULL, 0};
static const struct fault read_short = {"short read", HOST_READ, HOST_SHORT, SLM_OK, NULL, 1};
static const struct fault read_end = {"file ends", HOST_READ, HOST_END, SLM_E_IO, "file ends", 1};
static const struct fault call_fails = {"callback -1", HOST_CALLBACK, EIO, SLM_E_IO, "-1 of", 1};
static const struct fault call_end = {"callback 0", HOST_CALLBACK, HOST_END, SLM_E_IO, "0 of", 1};
static const struct fault call_wild = {"callback lies", HOST_CALLBACK,       HOST_WILD,
                                       SLM_E_IO,        "the read callback", 1};
static const struct fault call_short = {"callback short", HOST_CALLBACK, HOST_SHORT,
                                        SLM_OK,           NULL,          1};
static const struct fault no_thread = {"no thread",  HOST_THREAD,       EAGAIN,
                                       SLM_E_THREAD, "thread: a limit", 1};
static const struct fault no_attr = {
    "no attr", HOST_ATTR, ENOMEM, SLM_E_THREAD, "thread: out of memory", 1};
static const struct fault no_stack = {"no stack",   HOST_STACK,        EINVAL,
                                      SLM_E_THREAD, "thread: invalid", 1};
static const struct fault no_lock = {"no lock", HOST_LOCK, ENOMEM, SLM_E_THREAD, "cannot make", 1};

static void host_calm(void)
{
    host.at = 0;
}

static void must(int status, const slm_error *err)
{
    if (status != SLM_OK) {
        fail_msg("%s: %s", slm_status_name(status), err->message);
    }
}

static void make_scene(struct scene *s, int has)
{
    slm_error err;
    memset(s, 0, sizeof *s);
    if ((has & HAS_TINY) != 0) {
        must(load_memory(s, &err), &err);
    }
    if ((has & HAS_STORY) != 0) {
        must(load_story(s, &err), &err);
    }
    if ((has & HAS_POOL) != 0) {
        must(create_pool(s, &err), &err);
    }
    if ((has & HAS_CONTEXT) != 0) {
        must(create_context(s, &err), &err);
    }
    if ((has & HAS_SAMPLER) != 0) {
        must(create_sampler(s, &err), &err);
    }
    if ((has & HAS_PREFIX) != 0) {
        must(prefill(s, &err), &err);
    }
    if ((has & HAS_GENERATOR) != 0) {
        must(generate_begin(s, &err), &err);
    }
    if ((has & HAS_CHAT) != 0) {
        must(create_chat(s, &err), &err);
    }
    if ((has & HAS_PROMPT) != 0) {
        must(render(s, &err), &err);
    }
    if ((has & HAS_OUTPUT) != 0) {
        must(create_output(s, &err), &err);
    }
    if ((has & HAS_ANSWER) != 0) {
        must(push_answer(s, &err), &err);
    }
}

static void assert_nothing_left(const char *name, int64_t at)
{
    int32_t n_threads = __atomic_load_n(&host.n_threads, __ATOMIC_SEQ_CST);
    if (heap.n_blocks != 0 || heap.now != 0 || host.n_files != 0 || host.n_maps != 0 ||
        host.n_attrs != 0 || n_threads != 0) {
        fail_msg("%s, %d: left are %d blocks, %d files, %d maps, %d attributes, %d threads", name,
                 (int)at, (int)heap.n_blocks, (int)host.n_files, (int)host.n_maps,
                 (int)host.n_attrs, (int)n_threads);
    }
}

/* What exists is what existed: a failed call makes and destroys nothing. */
struct existing {
    const void *objects[9];
    int64_t n_blocks, n_files, n_maps;
    uint64_t bytes;
    int32_t n_threads;
};

static struct existing existing_of(const struct scene *s)
{
    struct existing e = {{s->model, s->pool, s->context, s->sampler, s->copy, s->generator, s->chat,
                          s->prompt, s->output},
                         heap.n_blocks,
                         host.n_files,
                         host.n_maps,
                         heap.now,
                         __atomic_load_n(&host.n_threads, __ATOMIC_SEQ_CST)};
    return e;
}

static void assert_untouched(const char *name, int64_t at, const struct existing *before,
                             const struct scene *s)
{
    struct existing now = existing_of(s);
    if (memcmp(now.objects, before->objects, sizeof now.objects) != 0) {
        fail_msg("%s, %d: a failed call leaves another object", name, (int)at);
    }
    if (now.n_blocks != before->n_blocks || now.bytes != before->bytes ||
        now.n_files != before->n_files || now.n_maps != before->n_maps ||
        now.n_threads != before->n_threads) {
        fail_msg("%s, %d: a failed call keeps %d blocks, %d bytes, %d files, %d maps, %d threads",
                 name, (int)at, (int)(now.n_blocks - before->n_blocks),
                 (int)(now.bytes - before->bytes), (int)(now.n_files - before->n_files),
                 (int)(now.n_maps - before->n_maps), (int)(now.n_threads - before->n_threads));
    }
}

/* One run with request number `at` refused. */
static void sweep_point(const struct scenario *c, const struct fault *f, int64_t at, int lasting,
                        int with_error, uint64_t expected)
{
    struct scene s;
    slm_error err;
    memset(&err, 0x55, sizeof err);
    make_scene(&s, c->has);
    struct existing before = existing_of(&s);
    host.call = f->call;
    host.code = f->code;
    host.lasting = lasting;
    host.at = host.calls[f->call] + at;
    int status = c->act(&s, with_error ? &err : NULL);
    int64_t was_at = host.at;
    int reached = host.calls[f->call] >= was_at;
    host_calm();
    if (!reached || status != f->status) {
        fail_msg("%s, %s %d%s: %s where %s is right%s (%s)", c->name, f->name, (int)at,
                 lasting ? " and later" : "", slm_status_name(status), slm_status_name(f->status),
                 reached ? "" : "; never refused", with_error ? err.message : "");
    }
    if (with_error) {
        assert_int_equal(err.code, status);
        assert_non_null(memchr(err.message, 0, sizeof err.message));
        if (status != SLM_OK && (err.message[0] == 0 || strstr(err.message, f->says) == NULL)) {
            fail_msg("%s, %s %d: '%s' does not say '%s'", c->name, f->name, (int)at, err.message,
                     f->says);
        }
    }
    if (status != SLM_OK) {
        if (c->act == next_event) { /* keeps a buffer that has grown */
            before.n_blocks = heap.n_blocks;
            before.bytes = heap.now;
        }
        assert_untouched(c->name, at, &before, &s);
        must(c->act(&s, &err), &err);
    }
    if (c->check(&s) != expected) {
        fail_msg("%s, %s %d: another result than undisturbed", c->name, f->name, (int)at);
    }
    free_scene(&s);
    assert_nothing_left(c->name, at);
}

/* `least`: so many points there are at least. */
static void sweep(const struct scenario *c, const struct fault *f, int64_t least)
{
    struct scene s;
    slm_error err;
    host_calm();
    make_scene(&s, c->has);
    int64_t before = host.calls[f->call];
    must(c->act(&s, &err), &err);
    int64_t n = host.calls[f->call] - before;
    uint64_t expected = c->check(&s);
    free_scene(&s);
    assert_nothing_left(c->name, 0);
    printf("%-24s %-14s %3d points, at least %d are expected\n", c->name, f->name, (int)n,
           (int)least);
    assert_true(n >= least && least > 0);
    for (int64_t at = 1; at <= n; at++) {
        sweep_point(c, f, at, 0, 1, expected);
        sweep_point(c, f, at, 0, 0, expected);
        if (f->forever) {
            sweep_point(c, f, at, 1, 1, expected);
        }
    }
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static const struct scenario mapped = {"load, mapped", 0, load_mapped, model_works};
static const struct scenario read_in = {"load, read", 0, load_read, model_works};
static const struct scenario metadata = {"load, metadata", 0, load_metadata, metadata_works};
static const struct scenario in_memory = {"load, memory", 0, load_memory, model_works};
static const struct scenario copied = {"load, memory, read", 0, load_memory_read, model_works};
static const struct scenario callback = {"load, callback", 0, load_callback, model_works};
static const struct scenario split = {"load, split", 0, load_split, model_works};
static const struct scenario split_read = {"load, split, read", 0, load_split_read, model_works};
static const struct scenario split_memory = {"load, split, memory", 0, load_split_memory,
                                             model_works};
static const struct scenario split_callback = {"load, split, callback", 0, load_split_callback,
                                               model_works};
static const struct scenario story = {"load, storyteller", 0, load_story, story_tokenizes};
static const struct scenario pool = {"pool", HAS_TINY, create_pool, pool_works};
static const struct scenario context_own = {"context, own pool", HAS_TINY, create_context_own_pool,
                                            works_in_context};
static const struct scenario context_shared = {"context, shared pool", HAS_TINY | HAS_POOL,
                                               create_context, works_in_context};
static const struct scenario life = {"whole life", 0, whole_life, text_and_tokens};

static void loading_survives_every_refused_allocation(void **state)
{
    (void)state;
    sweep(&mapped, &no_memory, 10);
    sweep(&read_in, &no_memory, 10);
    sweep(&metadata, &no_memory, 10);
    sweep(&in_memory, &no_memory, 10);
    sweep(&copied, &no_memory, 10);
    sweep(&callback, &no_memory, 10);
    sweep(&split, &no_memory, 13);
    sweep(&split_read, &no_memory, 13);
    sweep(&split_memory, &no_memory, 13);
    sweep(&split_callback, &no_memory, 13);
}

static void loading_a_real_vocabulary_survives_every_refused_allocation(void **state)
{
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    sweep(&story, &no_memory, 11);
}

static void loading_survives_files_that_cannot_be_opened(void **state)
{
    (void)state;
    sweep(&mapped, &no_file, 1);
    sweep(&mapped, &open_again, 1);
    sweep(&mapped, &no_stat, 1);
    sweep(&mapped, &no_seek, 2); /* a file that was mapped is asked again: is it still as long? */
    sweep(&mapped, &no_map, 1);
    sweep(&split, &no_file, SHARDS);
    sweep(&split, &open_again, SHARDS);
    sweep(&split, &no_stat, SHARDS);
    sweep(&split, &no_seek, 2 * SHARDS);
    sweep(&split, &no_map, SHARDS);
    sweep(&split_read, &no_file, SHARDS);
    sweep(&split_read, &no_stat, SHARDS);
    sweep(&split_read, &no_seek, SHARDS);
}

static void loading_survives_reads_that_fail_and_finishes_those_that_are_short(void **state)
{
    (void)state;
    sweep(&read_in, &no_read, 12);
    sweep(&read_in, &read_end, 12);
    sweep(&read_in, &read_again, 12);
    sweep(&read_in, &read_short, 12);
    sweep(&split_read, &no_read, 12);
    sweep(&split_read, &read_end, 12);
    sweep(&split_read, &read_again, 12);
}

static void loading_survives_a_callback_that_fails_or_lies(void **state)
{
    (void)state;
    sweep(&callback, &call_fails, 12);
    sweep(&callback, &call_end, 12);
    sweep(&callback, &call_wild, 12);
    sweep(&callback, &call_short, 12);
    sweep(&split_callback, &call_fails, 12);
}

static void making_pools_and_contexts_survives_every_refusal(void **state)
{
    (void)state;
    sweep(&pool, &no_memory, 1);
    sweep(&pool, &no_attr, 3);
    sweep(&pool, &no_stack, 3);
    sweep(&pool, &no_thread, 3);
    sweep(&pool, &no_lock, 3);
    sweep(&context_own, &no_memory, 2);
    sweep(&context_own, &no_attr, 3);
    sweep(&context_own, &no_stack, 3);
    sweep(&context_own, &no_thread, 3);
    sweep(&context_own, &no_lock, 3);
    sweep(&context_shared, &no_memory, 1);
}

/* The count of CPUs reads files of the system, and makes do where there are none. */
static void making_a_pool_does_not_need_the_files_of_the_system(void **state)
{
    (void)state;
    if (!testing_exists("/proc/self/cgroup")) {
        printf("skipped: no /proc/self/cgroup here\n");
        skip();
    }
    sweep(&pool, &no_file_cpu, 1);
    sweep(&pool, &no_read_cpu, 1);
}

static void samplers_survive_every_refused_allocation(void **state)
{
    static const struct scenario create = {"sampler", HAS_TINY | HAS_CONTEXT | HAS_PREFIX,
                                           create_sampler, samplers_work};
    static const struct scenario clone = {"sampler, clone",
                                          HAS_TINY | HAS_CONTEXT | HAS_SAMPLER | HAS_PREFIX,
                                          clone_sampler, samplers_work};
    (void)state;
    sweep(&create, &no_memory, 1);
    sweep(&clone, &no_memory, 1);
}

static void tokenizing_survives_every_refused_allocation(void **state)
{
    static const struct scenario spm = {"tokenize, spm", HAS_TINY, tokenize_spm, text_and_tokens};
    static const struct scenario bpe = {"tokenize, bpe", HAS_STORY, tokenize_bpe, text_and_tokens};
    (void)state;
    sweep(&spm, &no_memory, 6);
    TESTING_NEEDS(TESTING_STORYTELLER);
    sweep(&bpe, &no_memory, 6);
}

static void beginning_to_generate_survives_every_refused_allocation(void **state)
{
    static const int has = HAS_TINY | HAS_CONTEXT;
    const struct scenario text = {"generate, text", has | HAS_SAMPLER, generate_begin, generates};
    const struct scenario greedy = {"generate, greedy", has, generate_begin_greedy, generates};
    const struct scenario later = {"generate, later", has | HAS_PREFIX, generate_begin_greedy,
                                   generates};
    const struct scenario ids = {"generate, tokens", has | HAS_SAMPLER, generate_begin_tokens,
                                 generates};
    const struct scenario healed = {"generate, healed", has | HAS_SAMPLER, generate_begin_healed,
                                    generates};
    (void)state;
    sweep(&text, &no_memory, 9);
    sweep(&healed, &no_memory, 10);
    sweep(&greedy, &no_memory, 10);
    sweep(&later, &no_memory, 10);
    sweep(&ids, &no_memory, 3);
}

static void chats_survive_every_refused_allocation(void **state)
{
    static const struct scenario template_ = {"chat template", HAS_TINY, create_chat, chat_renders};
    static const struct scenario prompt = {"render", HAS_TINY | HAS_CHAT, render, prompt_of};
    static const struct scenario segments = {"tokenize segments", HAS_TINY | HAS_CHAT | HAS_PROMPT,
                                             tokenize_prompt, text_and_tokens};
    static const struct scenario output = {"chat output", 0, create_output, output_reads};
    static const struct scenario probed = {"chat output, probed", HAS_TINY | HAS_CHAT,
                                           create_output_of_template, output_reads};
    static const struct scenario push = {"push", HAS_OUTPUT, push_answer, output_reads};
    static const struct scenario next = {"next", HAS_OUTPUT | HAS_ANSWER, next_event, output_reads};
    (void)state;
    sweep(&template_, &no_memory, 2);
    sweep(&prompt, &no_memory, 3);
    sweep(&segments, &no_memory, 3);
    sweep(&output, &no_memory, 2);
    sweep(&probed, &no_memory, 3);
    sweep(&push, &no_memory, 1);
    sweep(&next, &no_memory, 1);
}

static void a_whole_life_survives_every_refusal(void **state)
{
    (void)state;
    sweep(&life, &no_memory, 20);
    sweep(&life, &no_stat, 1);
    sweep(&life, &no_attr, 3);
    sweep(&life, &no_stack, 3);
    sweep(&life, &no_thread, 3);
    sweep(&life, &no_lock, 3);
}

static void after_creation_nothing_is_asked_for(void **state)
{
    static const int all = HAS_TINY | HAS_POOL | HAS_CONTEXT | HAS_SAMPLER;
    const struct scenario quiet[] = {
        {"detokenize", HAS_TINY, detokenize, text_and_tokens},
        {"prefill", all, prefill, logits_and_lengths},
        {"embed", all, embed, nothing_to_see},
        {"decode", all | HAS_PREFIX, decode, logits_and_lengths},
        {"sample", all | HAS_PREFIX, sample, text_and_tokens},
        {"fork, rewind", all | HAS_PREFIX, fork_and_rewind, logits_and_lengths},
        {"decode after a fork", all | HAS_PREFIX, decode, works_in_context},
        {"questions", all, ask, nothing_to_see},
        {"generate", all | HAS_GENERATOR, generate_to_the_end, text_and_tokens},
        {"free", all | HAS_PREFIX | HAS_GENERATOR, free_everything, nothing_to_see},
    };
    (void)state;
    for (size_t i = 0; i < sizeof quiet / sizeof quiet[0]; i++) {
        struct scene s;
        slm_error err;
        int64_t before[HOST_CALLS];
        host_calm();
        make_scene(&s, quiet[i].has);
        memcpy(before, host.calls, sizeof before);
        must(quiet[i].act(&s, &err), &err);
        for (int call = 0; call < HOST_CALLS; call++) {
            if (host.calls[call] != before[call]) {
                fail_msg("%s asks %d times for something of kind %d", quiet[i].name,
                         (int)(host.calls[call] - before[call]), call);
            }
        }
        assert_true(quiet[i].check(&s) != 0);
        free_scene(&s);
        assert_nothing_left(quiet[i].name, 0);
        printf("%-24s asks for nothing\n", quiet[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_survives_every_refused_allocation),
        cmocka_unit_test(loading_a_real_vocabulary_survives_every_refused_allocation),
        cmocka_unit_test(loading_survives_files_that_cannot_be_opened),
        cmocka_unit_test(loading_survives_reads_that_fail_and_finishes_those_that_are_short),
        cmocka_unit_test(loading_survives_a_callback_that_fails_or_lies),
        cmocka_unit_test(making_pools_and_contexts_survives_every_refusal),
        cmocka_unit_test(making_a_pool_does_not_need_the_files_of_the_system),
        cmocka_unit_test(samplers_survive_every_refused_allocation),
        cmocka_unit_test(tokenizing_survives_every_refused_allocation),
        cmocka_unit_test(beginning_to_generate_survives_every_refused_allocation),
        cmocka_unit_test(chats_survive_every_refused_allocation),
        cmocka_unit_test(a_whole_life_survives_every_refusal),
        cmocka_unit_test(after_creation_nothing_is_asked_for),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
