/* test_live_file.c - a file that somebody deletes, replaces, overwrites or shortens while it is being
 * opened or the model is in use. What slm.h says under "Mapped files" is held to here: copied weights
 * are free of all that, mapped ones change with the file, and of what was cut off the system makes a
 * SIGBUS, which children of this process die of.
 *
 * While opening, the change comes after each call to the system in turn. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64
#include <stdio.h>

#if defined(_WIN32)

int main(void)
{
    printf("skipped: on Windows nobody can write into a file that is open\n");
    return 77;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The system, and the moment when the file changes ---------------------------------------- */

static struct {
    int64_t calls; /* to the system so far */
    int64_t at;    /* after so many of them ... */
    void (*act)(void) /* ... this happens; NULL: nothing */;
    int64_t n_open; /* files and maps not given back */
} live;

static void live_moment(void)
{
    if (++live.calls == live.at && live.act != NULL) {
        int code = errno;
        live.act();
        errno = code;
    }
}

static int live_open(const char *path, int flags)
{
    int fd = open(path, flags);
    live.n_open += fd >= 0;
    live_moment();
    return fd;
}

static int live_close(int fd)
{
    int status = close(fd);
    live.n_open--;
    live_moment();
    return status;
}

static int live_stat(int fd, struct stat *info)
{
    int status = fstat(fd, info);
    live_moment();
    return status;
}

static int64_t live_seek(int fd, int64_t offset, int whence)
{
    int64_t at = (int64_t)lseek(fd, (off_t)offset, whence);
    live_moment();
    return at;
}

static long live_read(int fd, void *buffer, size_t size, int64_t offset)
{
    long n = (long)pread(fd, buffer, size, (off_t)offset);
    live_moment();
    return n;
}

static void *live_map(size_t size, int fd)
{
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    live.n_open += p != MAP_FAILED;
    live_moment();
    return p;
}

static int live_unmap(void *p, size_t size)
{
    live.n_open--;
    return munmap(p, size);
}

#define PLATFORM_OPEN(path, flags) live_open(path, flags)
#define PLATFORM_CLOSE(fd) live_close(fd)
#define PLATFORM_FSTAT(fd, info) live_stat(fd, info)
#define PLATFORM_LSEEK(fd, offset, whence) live_seek(fd, offset, whence)
#define PLATFORM_PREAD(fd, buffer, size, offset) live_read(fd, buffer, size, offset)
#define PLATFORM_MMAP(size, fd) live_map(size, fd)
#define PLATFORM_MUNMAP(address, size) live_unmap(address, size)
#ifndef SLM_NO_SIMD
#define SLM_NO_SIMD /* nothing here is about kernels */
#endif
#include "../slm.c"

#include "calls.h"
#include "model_fixture.h"

/* ---- The file and what happens to it --------------------------------------------------------- */

static struct {
    char path[512];
    char *bytes; /* as it should be */
    size_t size;
} victim;

static void write_at(const char *data, size_t size)
{
    int fd = open(victim.path, O_WRONLY);
    assert_true(fd >= 0);
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        assert_true(n > 0);
        data += n;
        size -= (size_t)n;
    }
    assert_int_equal(close(fd), 0);
}

static void overwrite(int (*byte)(size_t i))
{
    char *bytes = (char *)malloc(victim.size);
    assert_non_null(bytes);
    for (size_t i = 0; i < victim.size; i++) {
        bytes[i] = (char)byte(i);
    }
    write_at(bytes, victim.size);
    free(bytes);
}

static int byte_zero(size_t i)
{
    return (void)i, 0;
}

static int byte_ones(size_t i)
{
    return (void)i, 0xff;
}

static int byte_any(size_t i)
{
    return (int)((uint64_t)i * UINT64_C(0x9E3779B97F4A7C15) >> 40 & 0xff);
}

static void become_zeros(void)
{
    overwrite(byte_zero);
}

static void become_ones(void) /* NaN, whatever the encoding's floats */
{
    overwrite(byte_ones);
}

static void become_anything(void)
{
    overwrite(byte_any);
}

static void become_empty(void)
{
    assert_int_equal(truncate(victim.path, 0), 0);
}

static void become_half(void)
{
    assert_int_equal(truncate(victim.path, (off_t)(victim.size / 2)), 0);
}

static void become_nothing(void)
{
    assert_int_equal(unlink(victim.path), 0);
}

/* As editors and downloads do it: another file takes the name. */
static void become_another(void)
{
    char path[600];
    snprintf(path, sizeof path, "%s.new", victim.path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs("another file altogether\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(path, victim.path), 0);
}

/* The file as it should be, new. */
static void victim_restore(void)
{
    FILE *f = fopen(victim.path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(victim.bytes, 1, victim.size, f), victim.size);
    assert_int_equal(fclose(f), 0);
}

static void victim_make(const char *bytes, size_t size)
{
    victim.bytes = (char *)malloc(size);
    assert_non_null(victim.bytes);
    memcpy(victim.bytes, bytes, size);
    victim.size = size;
    assert_int_equal(testing_temp(victim.path, sizeof victim.path, "live.gguf", bytes, size), 0);
    memset(&live, 0, sizeof live);
}

static void victim_make_story(void)
{
    size_t size = 0;
    char *bytes = testing_read(TESTING_STORYTELLER, &size);
    assert_non_null(bytes);
    victim_make(bytes, size);
    free(bytes);
}

/* A few kilobytes: for tests that open it for every call to the system. */
static void victim_make_tiny(void)
{
    struct build b;
    struct tiny t = tiny_default();
    t.keys = bpe_known;
    tiny_build(&b, &t);
    victim_make((const char *)b.file.data, b.file.size);
    build_free(&b);
}

static void victim_free(void)
{
    unlink(victim.path);
    free(victim.bytes);
    assert_int_equal(live.n_open, 0);
}

/* ---- What a model does ----------------------------------------------------------------------- */

struct seen {
    uint64_t facts;  /* hash of all that needs no weights */
    uint64_t logits; /* hash of logits of a prompt and of a token behind it */
    uint64_t text;   /* hash of what is generated */
};

static uint64_t seen_add(uint64_t hash, const void *data, size_t size)
{
    return hash_bytes(data, size, hash * 31 + size);
}

/* Everything but evaluation. */
static uint64_t seen_facts(slm_model *model)
{
    static const char text[] = "Once upon a time, a cab<|end|>";
    slm_model_info info = {.struct_size = sizeof info};
    slm_token_info token = {.struct_size = sizeof token};
    slm_tensor_info tensor = {.struct_size = sizeof tensor};
    slm_metadata value = {.struct_size = sizeof value};
    slm_context_options o = tiny_context();
    slm_plan plan = {.struct_size = sizeof plan};
    slm_sampler *sampler = NULL;
    int32_t ids[64];
    char back[256];
    size_t n = 0;
    size_t n_back = 0;
    uint64_t hash = 1;
    assert_int_equal(slm_tokenize(model, text, sizeof text - 1, 3, ids, 64, &n, NULL), SLM_OK);
    assert_int_equal(slm_detokenize(model, ids, n, 3, back, sizeof back, &n_back, NULL), SLM_OK);
    hash = seen_add(seen_add(hash, ids, n * sizeof *ids), back, n_back);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    hash = seen_add(hash, info.family, strlen(info.family));
    for (int32_t i = 0; i < info.n_metadata; i++) {
        assert_int_equal(slm_model_metadata(model, i, 0, &value, NULL), SLM_OK);
        hash = seen_add(hash, value.key, value.key_size);
        hash = seen_add(hash, &value.integer, sizeof value.integer);
        hash = seen_add(hash, value.text, value.text_size);
    }
    for (int32_t i = 0; i < info.n_tensors; i++) {
        assert_int_equal(slm_model_tensor(model, i, &tensor, NULL), SLM_OK);
        hash = seen_add(hash, tensor.name, tensor.name_size);
        hash = seen_add(hash, &tensor.offset, sizeof tensor.offset);
    }
    for (int32_t i = 0; i < info.n_vocab; i++) {
        assert_int_equal(slm_token_get_info(model, i, &token, NULL), SLM_OK);
        hash = seen_add(hash, token.text, token.text_size);
    }
    assert_int_equal(slm_plan_memory(model, &o, &plan, NULL), SLM_OK);
    hash = seen_add(hash, &plan, sizeof plan);
    assert_int_equal(slm_sampler_create(&sampler, model, NULL, 0, 0, NULL, NULL), SLM_OK);
    slm_sampler_free(sampler);
    return hash;
}

static int seen_eval(slm_context *context, const int32_t *ids, int32_t n, int32_t n_vocab,
                     uint64_t *hash, slm_error *err)
{
    const float *logits = NULL;
    int status = try_eval(context, 0, ids, n, SLM_WANT_LAST, err);
    if (status == SLM_OK) {
        assert_int_equal(slm_logits(context, -1, &logits, NULL, err), SLM_OK);
        *hash = seen_add(*hash, logits, (size_t)n_vocab * sizeof *logits);
    }
    return status;
}

/* A prompt and a token in sequence 0, which is empty before and after. */
static int seen_logits(slm_context *context, int32_t n_vocab, uint64_t *hash, slm_error *err)
{
    static const int32_t ids[6] = {1, 4, 2, 5, 3, 1};
    *hash = 2;
    int status = seen_eval(context, ids, 6, n_vocab, hash, err);
    status = status != SLM_OK ? status : seen_eval(context, ids, 1, n_vocab, hash, err);
    assert_int_equal(slm_sequence_rewind(context, 0, 0, NULL), SLM_OK);
    return status;
}

static int seen_text(slm_context *context, uint64_t *hash, slm_error *err)
{
    slm_generator *g = NULL;
    slm_generate_options o;
    slm_piece piece = {.struct_size = sizeof piece};
    *hash = 3;
    slm_generate_options_init(&o, sizeof o);
    o.max_tokens = 8;
    int status = slm_generate_begin(&g, context, 0, NULL, "abc", 3, &o, err);
    while (status == SLM_OK && piece.kind != SLM_PIECE_END) {
        status = slm_generate_next(g, &piece, err);
        *hash = status == SLM_OK ? seen_add(*hash, piece.text, piece.size) : *hash;
    }
    slm_generate_end(g);
    assert_int_equal(slm_sequence_rewind(context, 0, 0, NULL), SLM_OK);
    return status;
}

static slm_context *seen_context(slm_model *model, int32_t n_threads)
{
    slm_context *context = NULL;
    slm_context_options o = tiny_context();
    o.n_ctx = 64;
    o.n_threads = n_threads;
    assert_int_equal(slm_context_create(&context, model, &o, NULL), SLM_OK);
    return context;
}

static int seen_of(slm_model *model, slm_context *context, struct seen *s, slm_error *err)
{
    slm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_model_get_info(model, &info, err), SLM_OK);
    s->facts = seen_facts(model);
    int status = seen_logits(context, info.n_vocab, &s->logits, err);
    return status != SLM_OK ? status : seen_text(context, &s->text, err);
}

static int live_model(slm_model **model, uint32_t flags, struct counting *c, slm_error *err)
{
    slm_model_options o = model_options(c, flags);
    return slm_model_open(model, victim.path, &o, err);
}

/* What the untouched file gives, and how many calls to the system opening makes. */
static struct seen seen_untouched(uint32_t flags, int64_t *n_calls)
{
    struct seen s;
    struct counting c;
    slm_model *model = NULL;
    slm_error err;
    live.act = NULL;
    int64_t before = live.calls;
    assert_says("untouched", live_model(&model, flags, &c, &err), &err, SLM_OK, "", NULL);
    *n_calls = live.calls - before;
    slm_context *context = seen_context(model, 1);
    assert_says("untouched", seen_of(model, context, &s, &err), &err, SLM_OK, "", NULL);
    slm_context_free(context);
    slm_model_free(model);
    assert_all_freed(&c);
    return s;
}

/* ---- In use ---------------------------------------------------------------------------------- */

/* Opens, lets the file change, and everything is as before; then once more. */
static void expect_unharmed(uint32_t flags, void (*const *acts)(void), size_t n_acts)
{
    int64_t n_calls = 0;
    struct seen before = seen_untouched(flags, &n_calls);
    for (size_t i = 0; i < n_acts; i++) {
        struct seen after;
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        assert_says("open", live_model(&model, flags, &c, &err), &err, SLM_OK, "", NULL);
        slm_context *context = seen_context(model, 1);
        uint64_t logits = 0;
        slm_model_info info = {.struct_size = sizeof info};
        assert_int_equal(slm_model_get_info(model, &info, &err), SLM_OK);
        assert_int_equal(seen_logits(context, info.n_vocab, &logits, &err), SLM_OK);
        acts[i]();
        memset(&after, 0, sizeof after);
        assert_says("changed", seen_of(model, context, &after, &err), &err, SLM_OK, "", NULL);
        assert_memory_equal(&after, &before, sizeof after);
        assert_true(logits == before.logits);
        slm_context_free(context);
        slm_model_free(model);
        assert_all_freed(&c);
        victim_restore();
    }
}

static void copied_weights_do_not_care_what_becomes_of_the_file(void **state)
{
    static void (*const acts[])(void) = {become_empty,    become_half,    become_ones,
                                         become_anything, become_nothing, become_another};
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    victim_make_story();
    expect_unharmed(SLM_LOAD_READ, acts, sizeof acts / sizeof acts[0]);
    victim_free();
}

static void mapped_weights_outlive_the_name_of_the_file(void **state)
{
    static void (*const acts[])(void) = {become_nothing, become_another};
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    victim_make_story();
    expect_unharmed(0, acts, sizeof acts / sizeof acts[0]);
    victim_free();
}

/* Numbers change, and nothing else; the right bytes give the right numbers again. Whether the system
 * shows what is written through a private map at once is its own business: the page cache of Linux
 * does. */
static void overwritten_weights_change_numbers_only(void **state)
{
    static void (*const acts[])(void) = {become_zeros, become_ones, become_anything};
    int64_t n_calls = 0;
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    victim_make_story();
    struct seen before = seen_untouched(0, &n_calls);
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        struct seen after;
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        assert_says("open", live_model(&model, 0, &c, &err), &err, SLM_OK, "", NULL);
        slm_context *context = seen_context(model, 1);
        slm_model_info info = {.struct_size = sizeof info};
        assert_int_equal(slm_model_get_info(model, &info, &err), SLM_OK);
        acts[i]();
        assert_true(seen_facts(model) == before.facts);
        int status = seen_logits(context, info.n_vocab, &after.logits, &err);
        assert_says("prefill and decode", status, &err, SLM_OK, "", NULL);
        status = seen_text(context, &after.text, &err);
        assert_true(status == SLM_OK || status == SLM_E_NUMERIC);
        write_at(victim.bytes, victim.size);
        assert_says("mended", seen_of(model, context, &after, &err), &err, SLM_OK, "", NULL);
        assert_memory_equal(&after, &before, sizeof after);
        slm_context_free(context);
        slm_model_free(model);
        assert_all_freed(&c);
    }
    victim_free();
}

/* No weight is ever read. */
static void metadata_alone_needs_no_file_after_opening(void **state)
{
    static void (*const acts[])(void) = {become_empty, become_half, become_ones};
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    victim_make_story();
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        for (uint32_t read = 0; read <= SLM_LOAD_READ; read += SLM_LOAD_READ) {
            struct counting c;
            slm_model *model = NULL;
            slm_error err;
            int status = live_model(&model, SLM_LOAD_METADATA | read, &c, &err);
            assert_says("open", status, &err, SLM_OK, "", NULL);
            uint64_t facts = seen_facts(model);
            acts[i]();
            assert_true(seen_facts(model) == facts);
            slm_model_free(model);
            assert_all_freed(&c);
            victim_restore();
        }
    }
    victim_free();
}

/* ---- While opening --------------------------------------------------------------------------- */

/* Opens with the change at every moment in turn: a status with a message and nothing left, or a
 * model that works. Returns how often it opened with the very numbers of the file. */
static int64_t expect_opening_survives(const char *name, uint32_t flags, void (*act)(void))
{
    int64_t n_calls = 0;
    int64_t n_unharmed = 0;
    int64_t n_failed = 0;
    struct seen before = seen_untouched(flags, &n_calls);
    for (int64_t at = 1; at <= n_calls; at++) {
        struct seen after;
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        memset(&err, 0x55, sizeof err);
        live.act = act;
        live.at = live.calls + at;
        int status = live_model(&model, flags, &c, &err);
        live.act = NULL;
        if (status == SLM_OK) {
            slm_context *context = seen_context(model, 1);
            status = seen_of(model, context, &after, &err);
            assert_true(status == SLM_OK || status == SLM_E_NUMERIC);
            n_unharmed += status == SLM_OK && memcmp(&after, &before, sizeof after) == 0;
            slm_context_free(context);
        } else {
            assert_null(model);
            assert_int_equal(err.code, status);
            assert_non_null(memchr(err.message, 0, sizeof err.message));
            assert_true(strlen(err.message) > 10);
            n_failed++;
        }
        slm_model_free(model);
        assert_all_freed(&c);
        assert_int_equal(live.n_open, 0);
        victim_restore();
    }
    printf("%-32s %3d moments: %d errors, %d unharmed\n", name, (int)n_calls, (int)n_failed,
           (int)n_unharmed);
    assert_true(n_failed > 0 || act == become_nothing || act == become_another);
    return n_unharmed;
}

static void opening_survives_a_file_that_changes_under_it(void **state)
{
    (void)state;
    victim_make_tiny();
    assert_true(expect_opening_survives("copied, zeros", SLM_LOAD_READ, become_zeros) > 0);
    assert_true(expect_opening_survives("copied, ones", SLM_LOAD_READ, become_ones) > 0);
    assert_true(expect_opening_survives("copied, anything", SLM_LOAD_READ, become_anything) > 0);
    expect_opening_survives("mapped, zeros", 0, become_zeros);
    expect_opening_survives("mapped, ones", 0, become_ones);
    expect_opening_survives("mapped, anything", 0, become_anything);
    victim_free();
}

/* Either all was read, and the model is the file's, or it is an error. */
static void opening_survives_a_file_that_is_shortened_while_it_is_copied(void **state)
{
    static void (*const acts[])(void) = {become_empty, become_half};
    int64_t n_calls = 0;
    (void)state;
    victim_make_tiny();
    struct seen before = seen_untouched(SLM_LOAD_READ, &n_calls);
    for (int i = 0; i < 2; i++) {
        for (int64_t at = 1; at <= n_calls; at++) {
            struct seen after;
            struct counting c;
            slm_model *model = NULL;
            slm_error err;
            live.act = acts[i];
            live.at = live.calls + at;
            int status = live_model(&model, SLM_LOAD_READ, &c, &err);
            live.act = NULL;
            if (status == SLM_OK) {
                slm_context *context = seen_context(model, 1);
                assert_int_equal(seen_of(model, context, &after, &err), SLM_OK);
                assert_memory_equal(&after, &before, sizeof after);
                slm_context_free(context);
            } else if (at <= 2) { /* before its size was asked for: a short file */
                assert_says("short", status, &err, SLM_E_FORMAT, NULL, NULL);
            } else {
                assert_says("shortened", status, &err, SLM_E_IO, "the file ends at offset", NULL);
            }
            assert_true(status == SLM_OK || at < n_calls);
            slm_model_free(model);
            assert_all_freed(&c);
            victim_restore();
        }
    }
    victim_free();
}

static void opening_does_not_need_the_name_of_the_file(void **state)
{
    (void)state;
    victim_make_tiny();
    for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags += SLM_LOAD_READ) {
        int64_t n_calls = 0;
        seen_untouched(flags, &n_calls);
        assert_int_equal(expect_opening_survives("deleted", flags, become_nothing), n_calls);
        assert_int_equal(expect_opening_survives("replaced", flags, become_another), n_calls);
    }
    victim_free();
}

/* The progress callback of the caller is a moment, too: weights are being copied then. */
static int32_t progress_moment(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    live_moment();
    return 0;
}

static void copying_survives_a_file_that_is_shortened_at_every_progress(void **state)
{
    int64_t at = 0;
    int n_failed = 0;
    int status = SLM_E_IO;
    (void)state;
    victim_make_tiny();
    for (int reached = 1; reached;) {
        struct counting c;
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, SLM_LOAD_READ);
        slm_error err;
        o.progress = progress_moment;
        live.calls = 0;
        live.at = ++at;
        live.act = become_empty;
        status = slm_model_open(&model, victim.path, &o, &err);
        live.act = NULL;
        reached = live.calls >= at;
        if (status != SLM_OK) {
            assert_true(status == SLM_E_IO || status == SLM_E_FORMAT);
            n_failed++;
        }
        slm_model_free(model);
        assert_all_freed(&c);
        victim_restore();
    }
    assert_int_equal(status, SLM_OK); /* of the last, which nothing happened to */
    assert_true(n_failed > 5);
    victim_free();
}

/* ---- Cut off --------------------------------------------------------------------------------- */

#define CHILD_SECONDS 60
#define CHILD_CAUGHT 42

static void child_caught(int signal_number)
{
    (void)signal_number;
    _exit(CHILD_CAUGHT);
}

/* What SIGBUS does in this child: end it, or run a handler of the host. */
static void child_begin(int has_handler)
{
    struct rlimit none = {0, 0};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = has_handler ? child_caught : SIG_DFL;
    setrlimit(RLIMIT_CORE, &none);
    sigaction(SIGBUS, &action, NULL);
    alarm(CHILD_SECONDS);
}

static int child_end(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* The exit status of a child: 1 to 14 is the status of opening, negated. */
static int child_opens(uint32_t flags, int64_t at, void (*act)(void), slm_error *err)
{
    slm_model *model = NULL;
    struct counting c;
    child_begin(0);
    live.calls = 0;
    live.at = at;
    live.act = act;
    int status = live_model(&model, flags, &c, err);
    slm_model_free(model);
    return c.n_blocks != 0 || live.n_open != 0 ? 100 : -status;
}

/* What is cut off before the map is there and looked at is an error; what is cut off later, while
 * the metadata is read, may be SIGBUS. */
static void a_file_shortened_before_it_is_mapped_is_an_error(void **state)
{
    static void (*const acts[])(void) = {become_empty, become_half};
    static const int64_t mapped = 4; /* open, fstat, lseek, mmap */
    (void)state;
    victim_make_tiny();
    for (int i = 0; i < 2; i++) {
        for (int64_t at = 1; at <= mapped; at++) {
            slm_error err;
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                int wanted = at <= 2 ? SLM_E_FORMAT : SLM_E_IO;
                int got = child_opens(0, at, acts[i], &err);
                _exit(got == -wanted && (at <= 2 || strstr(err.message, "shortened") != NULL)
                          ? 0
                          : 200 + got);
            }
            int status = child_end(child);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                fail_msg("shortened after call %d: %s %d", (int)at,
                         WIFEXITED(status) ? "exit status" : "signal",
                         WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            }
            victim_restore();
        }
    }
    victim_free();
}

/* Tells through the pipe that all calls but evaluation gave what they gave before, then evaluates:
 * the end of this process. */
static void child_uses_what_is_cut_off(uint64_t facts, int32_t n_threads, int has_handler, int pipe)
{
    slm_model *model = NULL;
    slm_error err;
    uint64_t logits = 0;
    struct counting c;
    child_begin(has_handler);
    if (live_model(&model, 0, &c, &err) != SLM_OK) {
        _exit(1);
    }
    slm_context *context = seen_context(model, n_threads);
    become_empty();
    char same = seen_facts(model) == facts ? 'y' : 'n';
    if (write(pipe, &same, 1) != 1) {
        _exit(2);
    }
    seen_logits(context, 12, &logits, &err);
    _exit(3);
}

static void what_is_cut_off_raises_sigbus_in_the_thread_that_reads_it(void **state)
{
    int64_t n_calls = 0;
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    victim_make_story();
    struct seen before = seen_untouched(0, &n_calls);
    for (int way = 0; way < 4; way++) {
        int32_t n_threads = way % 2 == 0 ? 1 : 3;
        int has_handler = way / 2;
        int ends[2];
        char same = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            child_uses_what_is_cut_off(before.facts, n_threads, has_handler, ends[1]);
        }
        int status = child_end(child);
        close(ends[1]);
        assert_int_equal(read(ends[0], &same, 1), 1);
        close(ends[0]);
        assert_int_equal(same, 'y');
        if (has_handler) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), CHILD_CAUGHT);
        } else {
            assert_true(WIFSIGNALED(status));
            assert_int_equal(WTERMSIG(status), SIGBUS);
        }
        victim_restore();
    }
    victim_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copied_weights_do_not_care_what_becomes_of_the_file),
        cmocka_unit_test(mapped_weights_outlive_the_name_of_the_file),
        cmocka_unit_test(overwritten_weights_change_numbers_only),
        cmocka_unit_test(metadata_alone_needs_no_file_after_opening),
        cmocka_unit_test(opening_survives_a_file_that_changes_under_it),
        cmocka_unit_test(opening_survives_a_file_that_is_shortened_while_it_is_copied),
        cmocka_unit_test(opening_does_not_need_the_name_of_the_file),
        cmocka_unit_test(copying_survives_a_file_that_is_shortened_at_every_progress),
        cmocka_unit_test(a_file_shortened_before_it_is_mapped_is_an_error),
        cmocka_unit_test(what_is_cut_off_raises_sigbus_in_the_thread_that_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
