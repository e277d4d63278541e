/* test_process.c - slm as a part of a process: loaded and unloaded again and again, twice in one
 * process, in a program that has functions of the same names, and on both sides of a fork.
 *
 * Wants build/libslm.so and build/process_decoy (the Makefile says where they are). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "process.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

static const struct process_api linked = {
#define OWN(name) slm_##name,
    PROCESS_FUNCTIONS(OWN)
#undef OWN
};

static struct process_result expected;

static int setup(void **state)
{
    slm_error err;
    (void)state;
    memset(&err, 0, sizeof err);
    if (process_run(&linked, &expected, &err) != SLM_OK || expected.n_text == 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}

static void assert_expected(const struct process_result *r)
{
    assert_memory_equal(r->logits, expected.logits, sizeof r->logits);
    assert_int_equal(r->n_text, expected.n_text);
    assert_memory_equal(r->text, expected.text, r->n_text);
}

/* ---- Loading and unloading ------------------------------------------------------------------- */

/* Lines of /proc/self/maps that have this in them. */
static int count_maps(const char *part)
{
    char line[1024];
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        n += strstr(line, part) != NULL;
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

static int count_folder(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

/* A thread that was joined may be listed a moment longer. */
static int count_threads(int at_most)
{
    int n = count_folder("/proc/self/task");
    for (int i = 0; i < 200 && n > at_most; i++) {
        usleep(1000);
        n = count_folder("/proc/self/task");
    }
    return n;
}

static void fifty_times_loaded_and_unloaded_leaves_nothing(void **state)
{
    static struct process_result r;
    const char *name = strrchr(PROCESS_LIBRARY, '/'); /* with the slash: a folder may be alike */
    const int n_rounds = UNDER_TSAN ? 12 : 50;        /* it is many times slower there */
    int n_threads = 0, n_maps = 0, n_files = 0;
    (void)state;
    assert_non_null(name);
    TESTING_NEEDS(PROCESS_LIBRARY);
    TESTING_NEEDS("/proc/self/maps");
    for (int i = 0; i < n_rounds; i++) {
        struct process_api api;
        slm_error err;
        void *library = dlopen(PROCESS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fail_msg("%s", dlerror());
        }
        assert_true(count_maps(name) > 0);
        assert_int_equal(process_bind(&api, library), 0);
        must(process_run(&api, &r, &err), &err);
        assert_expected(&r);
        assert_int_equal(dlclose(library), 0);
        assert_int_equal(count_maps(name), 0);
        assert_int_equal(count_maps("storyteller"), 0);
        if (i == 9) { /* by now libc and sanitizers have what they keep */
            n_threads = count_threads(0);
            n_maps = count_maps("");
            n_files = count_folder("/proc/self/fd");
        }
    }
    assert_true(n_threads > 0 && n_maps > 0 && n_files > 0);
    assert_true(count_threads(n_threads) <= n_threads);
    assert_int_equal(count_folder("/proc/self/fd"), n_files);
    /* Allocators of sanitizers map a little more now and then; one map a round would be 40. */
    int grown = count_maps("") - n_maps;
    printf("maps: %d, grown by %d in %d rounds\n", n_maps, grown, n_rounds - 10);
    assert_true(grown < 30);
}

/* ---- Two copies ------------------------------------------------------------------------------ */

static void *run_in_a_thread(void *arg)
{
    static struct process_result r; /* of the one thread */
    slm_error err;
    int *same = (int *)arg;
    int status = process_run(&linked, &r, &err);
    *same = status == SLM_OK && memcmp(&r, &expected, sizeof r) == 0;
    return NULL;
}

static void two_copies_in_one_process_give_the_same(void **state)
{
    static struct process_result r;
    struct process_api api;
    slm_error err;
    pthread_t thread;
    int same = 0;
    (void)state;
    TESTING_NEEDS(PROCESS_LIBRARY);
    void *library = dlopen(PROCESS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    assert_int_equal(process_bind(&api, library), 0);
    /* This program exports the functions it is linked with, and the library has its own. */
    void *program = dlopen(NULL, RTLD_NOW);
    assert_non_null(program);
    assert_non_null(dlsym(program, "slm_eval"));
    assert_true(dlsym(program, "slm_eval") != dlsym(library, "slm_eval"));
    assert_int_equal(api.version(), slm_version());
    assert_int_equal(pthread_create(&thread, NULL, run_in_a_thread, &same), 0);
    must(process_run(&api, &r, &err), &err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_expected(&r);
    assert_true(same);
    dlclose(program);
    assert_int_equal(dlclose(library), 0);
}

/* Linked with -Bsymbolic: what the library calls by a public name is its own function, whatever the
 * program exports. */
static void the_library_binds_its_names_to_itself(void **state)
{
    struct link_map *map = NULL;
    int is_symbolic = 0;
    (void)state;
    TESTING_NEEDS(PROCESS_LIBRARY);
    void *library = dlopen(PROCESS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    assert_int_equal(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        is_symbolic |= d->d_tag == DT_SYMBOLIC;
        is_symbolic |= d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_SYMBOLIC) != 0;
        assert_true(d->d_tag != DT_TEXTREL);
    }
    assert_true(is_symbolic);
    dlclose(library);
}

static void a_program_with_functions_of_the_same_names_captures_no_calls(void **state)
{
    int status = -1;
    (void)state;
    TESTING_NEEDS(PROCESS_LIBRARY);
    TESTING_NEEDS(PROCESS_DECOY);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        execl(PROCESS_DECOY, PROCESS_DECOY, PROCESS_LIBRARY, (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- Fork ------------------------------------------------------------------------------------ */

#define CHILD_SECONDS 30 /* then it hangs, and dies by SIGALRM */

struct before_fork {
    slm_model *model;
    slm_threads *pool;
    slm_context *context; /* with a pool of its own */
    slm_context *shared;  /* with the pool above */
    slm_sampler *sampler;
    slm_generator *generator;
};

static const int32_t some[5] = {1, 300, 7, 12, 900};

static int eval_some(slm_context *c, slm_error *err)
{
    return try_eval(c, 0, some, 5, SLM_WANT_LAST, err);
}

static slm_context *context_of(slm_model *model, slm_threads *pool, int32_t n_threads)
{
    slm_error err;
    slm_context *c = NULL;
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 512;
    o.n_sequences = 2;
    o.n_checkpoints = 1;
    o.n_threads = n_threads;
    o.threads = pool;
    return slm_context_create(&c, model, &o, &err) == SLM_OK ? c : NULL;
}

static void make(struct before_fork *b)
{
    slm_error err;
    slm_threads_options t;
    memset(b, 0, sizeof *b);
    must(slm_model_open(&b->model, TESTING_STORYTELLER, NULL, &err), &err);
    assert_int_equal(slm_threads_options_init(&t, sizeof t), SLM_OK);
    t.n_threads = 3;
    must(slm_threads_create(&b->pool, &t, &err), &err);
    b->context = context_of(b->model, NULL, 2);
    b->shared = context_of(b->model, b->pool, SLM_AUTO);
    assert_true(b->context != NULL && b->shared != NULL);
    must(slm_sampler_create(&b->sampler, b->model, NULL, 0, 0, NULL, &err), &err);
    must(slm_generate_begin(&b->generator, b->context, 1, b->sampler, "Once", 4, NULL, &err), &err);
    must(eval_some(b->context, &err), &err);
    must(eval_some(b->shared, &err), &err);
}

static void free_all(struct before_fork *b)
{
    slm_generate_end(b->generator);
    slm_context_free(b->context);
    slm_context_free(b->shared);
    slm_sampler_free(b->sampler);
    slm_threads_free(b->pool);
    slm_model_free(b->model);
}

/* The logits of a fresh context and what a parent and a child must agree on. */
static int fresh_context_works(slm_model *model)
{
    slm_error err;
    const float *logits = NULL;
    int32_t best = -1;
    slm_sampler *sampler = NULL;
    slm_context *c = context_of(model, NULL, UNDER_TSAN ? 1 : 2);
    int ok = c != NULL && eval_some(c, &err) == SLM_OK &&
             slm_logits(c, -1, &logits, NULL, &err) == SLM_OK &&
             slm_sampler_create(&sampler, model, NULL, 0, 0, NULL, &err) == SLM_OK;
    slm_model_info info;
    info.struct_size = (uint32_t)sizeof info;
    ok = ok && slm_model_get_info(model, &info, &err) == SLM_OK &&
         slm_sample(sampler, logits, info.n_vocab, &best, &err) == SLM_OK && best >= 0;
    slm_sampler_free(sampler);
    slm_context_free(c);
    return ok;
}

/* 0, or the number of what is wrong in the child. */
static int child_of(struct before_fork *b)
{
    slm_error err;
    slm_piece piece;
    slm_generator *g = NULL;
    int32_t tokens[16];
    size_t n = 0;
    piece.struct_size = (uint32_t)sizeof piece;
    if (eval_some(b->context, &err) != SLM_E_FORKED || err.message[0] == 0) {
        return 1;
    }
    if (eval_some(b->shared, NULL) != SLM_E_FORKED) {
        return 2;
    }
    if (slm_sequence_fork(b->context, 0, 1, &err) != SLM_E_FORKED ||
        slm_sequence_rewind(b->context, 0, 0, &err) != SLM_E_FORKED ||
        slm_sequence_checkpoint(b->context, 0, 0, &err) != SLM_E_FORKED) {
        return 3;
    }
    if (slm_generate_begin(&g, b->shared, 0, NULL, "a", 1, NULL, &err) != SLM_E_FORKED ||
        slm_generate_next(b->generator, &piece, &err) != SLM_E_FORKED) {
        return 4;
    }
    if (context_of(b->model, b->pool, 1) != NULL) {
        return 5;
    }
    if (slm_tokenize(b->model, "Once upon", 9, 0, tokens, 16, &n, &err) != SLM_OK || n == 0 ||
        slm_sampler_accept(b->sampler, tokens[0], &err) != SLM_OK) {
        return 6;
    }
    if (!fresh_context_works(b->model)) {
        return 7;
    }
    free_all(b);
    return 0;
}

static void assert_child_is_well(pid_t child)
{
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("the child ended with %d, signal %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    }
}

static void after_fork_parent_and_child_make_contexts_of_one_model(void **state)
{
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    must(slm_model_open(&model, TESTING_STORYTELLER, NULL, &err), &err);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        int ok = fresh_context_works(model);
        slm_model_free(model);
        _exit(ok ? 0 : 1);
    }
    assert_true(fresh_context_works(model));
    assert_child_is_well(child);
    assert_true(fresh_context_works(model));
    slm_model_free(model);
}

static void what_was_alive_at_a_fork_is_refused_in_the_child_and_goes_on_in_the_parent(void **state)
{
    struct before_fork b;
    slm_error err;
    (void)state;
    make(&b);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(child_of(&b));
    }
    must(eval_some(b.context, &err), &err);
    must(eval_some(b.shared, &err), &err);
    assert_child_is_well(child);
    must(eval_some(b.context, &err), &err);
    free_all(&b);
}

struct busy_thread {
    slm_context *contexts[2];
    int32_t n_done; /* atomic */
    int32_t quit;   /* atomic */
    int status;
};

static void *keep_busy(void *arg)
{
    struct busy_thread *t = (struct busy_thread *)arg;
    while (!__atomic_load_n(&t->quit, __ATOMIC_ACQUIRE) && t->status == SLM_OK) {
        for (int i = 0; i < 2 && t->status == SLM_OK; i++) {
            slm_sequence_rewind(t->contexts[i], 0, 0, NULL);
            t->status = eval_some(t->contexts[i], NULL);
        }
        __atomic_add_fetch(&t->n_done, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* The worst moment: another thread is in the middle of an evaluation, workers run, locks may be
 * held. The child must be able to tell and to free all the same. */
static void a_fork_in_the_middle_of_an_evaluation_does_not_hang_the_child(void **state)
{
    struct before_fork b;
    struct busy_thread busy;
    pthread_t thread;
    (void)state;
    if (UNDER_TSAN) {
        printf("skipped: ThreadSanitizer does not support it\n");
        skip();
    }
    make(&b);
    memset(&busy, 0, sizeof busy);
    busy.contexts[0] = b.context;
    busy.contexts[1] = b.shared;
    assert_int_equal(pthread_create(&thread, NULL, keep_busy, &busy), 0);
    for (int round = 0; round < 20; round++) {
        int32_t before = __atomic_load_n(&busy.n_done, __ATOMIC_ACQUIRE);
        while (__atomic_load_n(&busy.n_done, __ATOMIC_ACQUIRE) == before) {
            sched_yield();
        }
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(CHILD_SECONDS);
            _exit(child_of(&b));
        }
        assert_child_is_well(child);
    }
    __atomic_store_n(&busy.quit, 1, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(busy.status, SLM_OK);
    free_all(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifty_times_loaded_and_unloaded_leaves_nothing),
        cmocka_unit_test(two_copies_in_one_process_give_the_same),
        cmocka_unit_test(the_library_binds_its_names_to_itself),
        cmocka_unit_test(a_program_with_functions_of_the_same_names_captures_no_calls),
        cmocka_unit_test(after_fork_parent_and_child_make_contexts_of_one_model),
        cmocka_unit_test(
            what_was_alive_at_a_fork_is_refused_in_the_child_and_goes_on_in_the_parent),
        cmocka_unit_test(a_fork_in_the_middle_of_an_evaluation_does_not_hang_the_child),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
