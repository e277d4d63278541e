/* threads.c: every part runs exactly once whoever runs it; sleeping, sharing, failing and forking.
 * --bench prints what a region costs. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- Hooks: the n-th creation of a thread, mutex or condition variable fails ----------------- */

static struct {
    int creations; /* so far */
    int fail_at;   /* 0: never */
} hook;

static int hook_fails(void)
{
    hook.creations++;
    return hook.creations == hook.fail_at;
}

#define PLATFORM_THREAD_CREATE(id, attr, fn, arg)                                                  \
    (hook_fails() ? EAGAIN : pthread_create(id, attr, fn, arg))
#define PLATFORM_MUTEX_INIT(mutex) (hook_fails() ? ENOMEM : pthread_mutex_init(mutex, NULL))
#define PLATFORM_COND_INIT(cond) (hook_fails() ? EAGAIN : pthread_cond_init(cond, NULL))
#include "../slm.c"

/* ---- An allocator that counts ---------------------------------------------------------------- */

struct heap {
    int64_t in_use;
    int64_t peak;
    int refuse;
};

static void *heap_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    struct heap *heap = (struct heap *)user;
    if (new_size == 0) {
        heap->in_use -= (int64_t)old_size;
        free(ptr);
        return NULL;
    }
    if (heap->refuse || posix_memalign(&ptr, align, new_size) != 0) {
        return NULL;
    }
    heap->in_use += (int64_t)new_size;
    heap->peak = heap->in_use > heap->peak ? heap->in_use : heap->peak;
    return ptr;
}

static slm_threads_options options_of(int32_t n_threads, struct heap *heap)
{
    slm_threads_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.n_threads = n_threads;
    options.alloc = heap != NULL ? heap_alloc : NULL;
    options.alloc_user = heap;
    return options;
}

/* As it is made here: with more threads than CPUs only some are ever awake. */
static struct slm_threads *plain_pool_of(int32_t n_threads, struct heap *heap)
{
    struct slm_threads *t = NULL;
    slm_error err;
    slm_threads_options options = options_of(n_threads, heap);
    assert_int_equal(threads_create(&t, &options, &err), SLM_OK);
    assert_int_equal(threads_count(t), n_threads);
    return t;
}

/* As on a machine that has a CPU for each of them. */
static struct slm_threads *pool_of(int32_t n_threads, struct heap *heap)
{
    struct slm_threads *t = plain_pool_of(n_threads, heap);
    t->n_awake_max = n_threads - 1;
    return t;
}

/* ---- Regions that check themselves ----------------------------------------------------------- */

#define SLOTS 64

/* Plain fields: a part that runs twice, or whose writes are not seen, shows (and races under
 * ThreadSanitizer). */
struct region {
    int32_t runs[SLOTS];
    int64_t values[SLOTS];
    int64_t seed;
};

static void region_part(void *arg, int32_t i)
{
    struct region *r = (struct region *)arg;
    r->runs[i]++;
    r->values[i] = r->seed * (i + 1);
}

static int region_once(struct slm_threads *t, int owned, struct region *r, int32_t n, int64_t seed)
{
    memset(r, 0, sizeof *r);
    r->seed = seed;
    threads_run(t, owned, n, region_part, r);
    for (int32_t i = 0; i < SLOTS; i++) {
        if (r->runs[i] != (i < n) || r->values[i] != (i < n ? seed * (i + 1) : 0)) {
            return 0;
        }
    }
    return 1;
}

static void sleep_us(int64_t us)
{
    struct timespec t = {us / 1000000, (us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

static int64_t process_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- The account that threads share ---------------------------------------------------------- */

#define ACCOUNT_TURNS 300000

struct account {
    struct memory memory;
    int32_t begun;
    int32_t done;
};

static void *ask_too_much(void *arg)
{
    struct account *a = (struct account *)arg;
    while (!__atomic_load_n(&a->done, __ATOMIC_RELAXED)) {
        assert_null(memory_take(&a->memory, 900));
        __atomic_store_n(&a->begun, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void what_fits_is_given_while_others_ask_too_much(void **state)
{
    struct heap heap = {0, 0, 0};
    slm_threads_options hooks = options_of(1, &heap);
    struct account a = {memory_make(hooks.alloc, hooks.alloc_user, 1000), 0, 0};
    pthread_t other;
    int n_refused = 0;
    (void)state;
    void *first = memory_take(&a.memory, 200);
    assert_int_equal(pthread_create(&other, NULL, ask_too_much, &a), 0);
    while (!__atomic_load_n(&a.begun, __ATOMIC_RELAXED)) {
        sleep_us(100);
    }
    for (int i = 0; i < ACCOUNT_TURNS; i++) {
        void *p = memory_take(&a.memory, 100);
        n_refused += p == NULL;
        memory_give(&a.memory, p, 100);
    }
    __atomic_store_n(&a.done, 1, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    assert_int_equal(n_refused, 0);
    memory_give(&a.memory, first, 200);
    assert_int_equal(heap.in_use, 0);
}

/* ---- The host's own executors ---------------------------------------------------------------- */

struct executor {
    int calls;
    uint32_t random;
};

static void executor_serial(void *user, int32_t n, slm_task_fn task, void *arg)
{
    ((struct executor *)user)->calls++;
    for (int32_t i = 0; i < n; i++) {
        task(arg, i);
    }
}

static void executor_reversed(void *user, int32_t n, slm_task_fn task, void *arg)
{
    ((struct executor *)user)->calls++;
    for (int32_t i = n - 1; i >= 0; i--) {
        task(arg, i);
    }
}

static void executor_shuffled(void *user, int32_t n, slm_task_fn task, void *arg)
{
    struct executor *e = (struct executor *)user;
    int32_t order[SLOTS];
    e->calls++;
    for (int32_t i = 0; i < n; i++) {
        e->random = e->random * 1664525u + 1013904223u;
        int32_t j = (int32_t)((e->random >> 16) % (uint32_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (int32_t i = 0; i < n; i++) {
        task(arg, order[i]);
    }
}

struct late {
    slm_task_fn task;
    void *arg;
    int32_t index;
};

static void *late_thread(void *arg)
{
    struct late *late = (struct late *)arg;
    sleep_us(200 * (1 + late->index % 3));
    late->task(late->arg, late->index);
    return NULL;
}

static void executor_late(void *user, int32_t n, slm_task_fn task, void *arg)
{
    pthread_t threads[SLOTS];
    struct late late[SLOTS];
    ((struct executor *)user)->calls++;
    for (int32_t i = 0; i < n; i++) {
        late[i].task = task;
        late[i].arg = arg;
        late[i].index = i;
        assert_int_equal(pthread_create(&threads[i], NULL, late_thread, &late[i]), 0);
    }
    for (int32_t i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void executors_of_any_order_run_every_part_once(void **state)
{
    (void)state;
    const slm_parallel_fn executors[] = {executor_serial, executor_reversed, executor_shuffled,
                                         executor_late};
    for (int32_t e = 0; e < 4; e++) {
        struct executor user = {0, 42};
        struct heap heap = {0, 0, 0};
        struct slm_threads *t = NULL;
        struct region r;
        slm_threads_options options = options_of(5, &heap);
        options.parallel = executors[e];
        options.parallel_user = &user;
        hook.creations = 0;
        assert_int_equal(threads_create(&t, &options, NULL), SLM_OK);
        assert_int_equal(threads_count(t), 5);
        int owned = threads_begin(t);
        assert_int_equal(owned, 1);
        for (int32_t n = 0; n <= 16; n++) {
            assert_true(region_once(t, owned, &r, n, n + 7));
        }
        assert_int_equal(user.calls, 15); /* not for 0 parts and 1 */
        assert_true(region_once(t, 0, &r, 16, 3));
        assert_int_equal(user.calls, 15); /* not by who does not own it */
        threads_end(t, owned);
        assert_int_equal(hook.creations, 0);
        threads_release(t);
        assert_int_equal(heap.in_use, 0);
    }
}

/* ---- The pool -------------------------------------------------------------------------------- */

static void pools_run_every_part_once(void **state)
{
    (void)state;
    const int32_t sizes[] = {1, 2, 3, 8};
    for (int32_t s = 0; s < 4; s++) {
        struct slm_threads *t = pool_of(sizes[s], NULL);
        struct region r;
        for (int32_t call = 0; call < 20; call++) {
            int owned = threads_begin(t);
            assert_int_equal(owned, 1);
            for (int32_t i = 0; i < 200; i++) {
                assert_true(region_once(t, owned, &r, i % (SLOTS + 1), call * 1000 + i));
            }
            threads_end(t, owned);
        }
        threads_release(t);
    }
}

/* Gaps between regions around the 100 us after which a worker falls asleep: a lost wake-up of the
 * caller hangs here, and the alarm ends it. */
static void wake_ups_are_never_lost(void **state)
{
    (void)state;
    const int32_t sizes[] = {2, 8};
    uint32_t random = 1;
    alarm(60);
    for (int32_t s = 0; s < 2; s++) {
        struct slm_threads *t = pool_of(sizes[s], NULL);
        struct region r;
        for (int32_t i = 0; i < 3000; i++) {
            int owned = threads_begin(t);
            random = random * 1664525u + 1013904223u;
            int64_t until = platform_clock_ns() + (random >> 16) % 150000;
            while (platform_clock_ns() < until) {
            }
            assert_true(region_once(t, owned, &r, sizes[s], i));
            assert_true(region_once(t, owned, &r, sizes[s] * 2, i));
            threads_end(t, owned);
        }
        threads_release(t);
    }
    alarm(0);
}

/* Parts much longer than the caller spins: it sleeps, and is woken by the last one. */
static void straggler_part(void *arg, int32_t i)
{
    struct region *r = (struct region *)arg;
    sleep_us(i % 2 == 0 ? 100 : 1500);
    r->runs[i]++;
}

static void caller_waits_for_stragglers(void **state)
{
    (void)state;
    struct slm_threads *t = pool_of(3, NULL);
    int owned = threads_begin(t);
    alarm(60);
    for (int32_t round = 0; round < 100; round++) {
        struct region r;
        memset(&r, 0, sizeof r);
        threads_run(t, owned, 5, straggler_part, &r);
        for (int32_t i = 0; i < 5; i++) {
            assert_int_equal(r.runs[i], 1);
        }
    }
    alarm(0);
    threads_end(t, owned);
    threads_release(t);
}

struct sharer {
    struct slm_threads *t;
    int32_t seed;
    int32_t owned_calls;
    int failed;
};

static void *sharer_thread(void *arg)
{
    struct sharer *s = (struct sharer *)arg;
    struct region r;
    for (int32_t call = 0; call < 300; call++) {
        int owned = threads_begin(s->t);
        s->owned_calls += owned;
        for (int32_t i = 0; i < 20; i++) {
            s->failed |= !region_once(s->t, owned, &r, 1 + i % 9, s->seed + call * 100 + i);
        }
        threads_end(s->t, owned);
    }
    threads_release(s->t);
    return NULL;
}

static void four_threads_share_one_pool(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct sharer sharers[4];
    struct heap heap = {0, 0, 0};
    struct slm_threads *t = pool_of(3, &heap);
    for (int32_t i = 0; i < 4; i++) {
        struct sharer s = {t, i * 1000003, 0, 0};
        sharers[i] = s;
        threads_retain(t);
        assert_int_equal(pthread_create(&threads[i], NULL, sharer_thread, &sharers[i]), 0);
    }
    threads_release(t); /* the last sharer ends the pool */
    int32_t owned_calls = 0;
    for (int32_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_false(sharers[i].failed);
        owned_calls += sharers[i].owned_calls;
    }
    assert_true(owned_calls > 0);
    assert_int_equal(heap.in_use, 0);
}

static void caller_only_part(void *arg, int32_t i)
{
    (void)i;
    if (pthread_equal(pthread_self(), *(pthread_t *)arg) == 0) {
        __atomic_store_n((pthread_t *)arg, (pthread_t)0, __ATOMIC_RELAXED);
    }
}

static void second_owner_computes_alone(void **state)
{
    (void)state;
    struct slm_threads *t = pool_of(2, NULL);
    pthread_t self = pthread_self();
    assert_int_equal(threads_begin(t), 1);
    assert_int_equal(threads_begin(t), 0);
    for (int32_t i = 0; i < 100; i++) {
        threads_run(t, 0, 8, caller_only_part, &self);
    }
    assert_true(pthread_equal(self, pthread_self()));
    threads_end(t, 0);
    assert_int_equal(threads_begin(t), 0); /* the end of one who did not own it frees nothing */
    threads_end(t, 1);
    assert_int_equal(threads_begin(t), 1);
    threads_end(t, 1);
    threads_release(t);
}

struct who {
    pthread_t caller;
    int32_t workers_ran;
    int32_t unblocked; /* a worker that does not block SIGINT, SIGTERM or SIGPROF */
};

static void who_part(void *arg, int32_t i)
{
    struct who *who = (struct who *)arg;
    sigset_t set;
    (void)i;
    sleep_us(2000);
    if (!pthread_equal(pthread_self(), who->caller)) {
        __atomic_add_fetch(&who->workers_ran, 1, __ATOMIC_RELAXED);
        sigemptyset(&set);
        pthread_sigmask(SIG_BLOCK, NULL, &set);
        if (!sigismember(&set, SIGINT) || !sigismember(&set, SIGTERM) ||
            !sigismember(&set, SIGPROF)) {
            __atomic_store_n(&who->unblocked, 1, __ATOMIC_RELAXED);
        }
    }
}

static void workers_work_and_block_signals(void **state)
{
    (void)state;
    struct who who = {pthread_self(), 0, 0};
    sigset_t before;
    sigset_t after;
    sigemptyset(&before);
    sigemptyset(&after);
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    struct slm_threads *t = pool_of(4, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int signal = 1; signal < 32; signal++) {
        assert_int_equal(sigismember(&before, signal), sigismember(&after, signal));
    }
    int owned = threads_begin(t);
    for (int32_t i = 0; i < 50 && who.workers_ran == 0; i++) {
        threads_run(t, owned, 8, who_part, &who);
    }
    threads_end(t, owned);
    assert_true(who.workers_ran > 0);
    assert_int_equal(who.unblocked, 0);
    threads_release(t);
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

struct tiles {
    int32_t runs[1000];
    int32_t parts[8]; /* who is inside */
    int32_t n_parts;
    int32_t overlaps;
    int32_t outside;
};

static void tiles_tile(void *arg, int32_t tile, int32_t part)
{
    struct tiles *s = (struct tiles *)arg;
    if (part < 0 || part >= s->n_parts) {
        s->outside = 1;
        return;
    }
    if (__atomic_add_fetch(&s->parts[part], 1, __ATOMIC_RELAXED) != 1) {
        __atomic_store_n(&s->overlaps, 1, __ATOMIC_RELAXED);
    }
    s->runs[tile]++;
    __atomic_sub_fetch(&s->parts[part], 1, __ATOMIC_RELAXED);
}

static void tiles_run_once_and_parts_never_overlap(void **state)
{
    (void)state;
    const int32_t counts[] = {0, 1, 2, 3, 7, 100, 1000};
    const int32_t sizes[] = {1, 2, 8};
    for (int32_t s = 0; s < 3; s++) {
        struct slm_threads *t = pool_of(sizes[s], NULL);
        for (int32_t c = 0; c < 7; c++) {
            for (int32_t owned = 0; owned <= 1; owned++) {
                struct tiles tiles;
                memset(&tiles, 0, sizeof tiles);
                tiles.n_parts = owned ? sizes[s] : 1;
                int owns = owned ? threads_begin(t) : 0;
                for (int32_t round = 0; round < 20; round++) {
                    threads_tiles(t, owns, counts[c], tiles_tile, &tiles);
                }
                threads_end(t, owns);
                for (int32_t i = 0; i < 1000; i++) {
                    assert_int_equal(tiles.runs[i], i < counts[c] ? 20 : 0);
                }
                assert_int_equal(tiles.overlaps, 0);
                assert_int_equal(tiles.outside, 0);
            }
        }
        threads_release(t);
    }
}

struct balance {
    int64_t end_ns[16]; /* when the last tile of each part was done */
    int32_t longest;    /* tile that takes five times as long */
};

static void balance_tile(void *arg, int32_t tile, int32_t part)
{
    struct balance *b = (struct balance *)arg;
    sleep_us(tile == b->longest ? 10000 : 2000);
    b->end_ns[part] = platform_clock_ns();
}

/* Tiles that sleep take no CPU: on any machine 16 of them run at the same time. On a busy one a
 * thread may be late for reasons of its own, so one good try of ten is enough. */
static void parts_finish_within_a_tile_of_each_other(void **state)
{
    (void)state;
    struct slm_threads *t = pool_of(16, NULL);
    int64_t best = INT64_MAX;
    for (int32_t try = 0; try < 10 && best > 3500000; try++) {
        struct balance b = {{0}, try % 2 == 0 ? -1 : 5};
        int64_t first = INT64_MAX;
        int64_t last = 0;
        int owned = threads_begin(t);
        threads_tiles(t, owned, 16 * 5 + 7, balance_tile, &b);
        threads_end(t, owned);
        for (int32_t i = 0; i < 16; i++) {
            first = min_i64(first, b.end_ns[i]);
            last = b.end_ns[i] > last ? b.end_ns[i] : last;
        }
        best = min_i64(best, last - first);
    }
    assert_true(best <= 3500000);
    threads_release(t);
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void number_of_threads_is_checked(void **state)
{
    (void)state;
    const int32_t wrong[] = {0, -2, INT32_MIN, LIMIT_THREADS + 1, INT32_MAX};
    for (int32_t i = 0; i < 5; i++) {
        struct slm_threads *t = (struct slm_threads *)&hook;
        slm_error err;
        char number[16];
        slm_threads_options options = options_of(wrong[i], NULL);
        snprintf(number, sizeof number, "%d ", wrong[i]);
        number[strlen(number) - 1] = 0;
        assert_int_equal(threads_create(&t, &options, &err), SLM_E_ARGUMENT);
        assert_null(t);
        assert_non_null(strstr(err.message, "n_threads"));
        assert_non_null(strstr(err.message, number));
    }
    struct slm_threads *t = NULL;
    slm_threads_options options = options_of(SLM_AUTO, NULL);
    assert_int_equal(threads_create(&t, &options, NULL), SLM_OK);
    assert_int_equal(threads_count(t), platform_core_count());
    threads_release(t);
    threads_release(NULL);
}

static void pools_come_and_go(void **state)
{
    (void)state;
    struct heap heap = {0, 0, 0};
    for (int32_t i = 0; i < 300; i++) {
        struct region r;
        struct slm_threads *t = pool_of(1 + i % 5, &heap);
        if (i % 3 != 0) {
            int owned = threads_begin(t);
            assert_true(region_once(t, owned, &r, 1 + i % 7, i));
            threads_end(t, owned);
        }
        threads_release(t);
        assert_int_equal(heap.in_use, 0);
    }
}

static void heap_bytes_are_what_is_allocated(void **state)
{
    (void)state;
    const int32_t sizes[] = {1, 2, 3, 8, 33};
    for (int32_t i = 0; i < 5; i++) {
        struct heap heap = {0, 0, 0};
        struct slm_threads *t = pool_of(sizes[i], &heap);
        assert_true(heap.in_use == (int64_t)threads_heap_bytes(sizes[i]));
        threads_release(t);
        assert_true(heap.peak == (int64_t)threads_heap_bytes(sizes[i]));
    }
    assert_int_equal(threads_stack_bytes(1), 0);
    assert_true(threads_stack_bytes(3) >= 2 * PLATFORM_STACK_BYTES);
}

static void every_failure_of_the_system_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    const int n_creations = 3 + 7; /* mutex, two condition variables, workers */
    for (int k = 1; k <= n_creations + 1; k++) {
        struct heap heap = {0, 0, 0};
        struct slm_threads *t = (struct slm_threads *)&hook;
        slm_error err;
        slm_threads_options options = options_of(8, &heap);
        hook.creations = 0;
        hook.fail_at = k;
        int status = threads_create(&t, &options, &err);
        hook.fail_at = 0;
        if (k <= n_creations) {
            assert_int_equal(status, SLM_E_THREAD);
            assert_int_equal(err.code, SLM_E_THREAD);
            assert_true(err.message[0] != 0);
            assert_null(t);
            assert_int_equal(hook.creations, k);
        } else {
            assert_int_equal(status, SLM_OK);
            threads_release(t);
        }
        assert_int_equal(heap.in_use, 0);
    }
    struct heap heap = {0, 0, 1};
    struct slm_threads *t = NULL;
    slm_error err;
    slm_threads_options options = options_of(2, &heap);
    assert_int_equal(threads_create(&t, &options, &err), SLM_E_MEMORY);
    assert_null(t);
}

/* CPU time and voluntary switches of this process while nothing is asked of it. */
static void assert_asleep(int64_t us)
{
    struct rusage before;
    struct rusage after;
    int64_t start = process_cpu_ns();
    getrusage(RUSAGE_SELF, &before);
    sleep_us(us);
    getrusage(RUSAGE_SELF, &after);
    assert_true(process_cpu_ns() - start < 10000000);
    assert_true(after.ru_nvcsw - before.ru_nvcsw < 40);
}

static void idle_pool_uses_no_cpu(void **state)
{
    (void)state;
    const int32_t sizes[] = {2, 16};
    for (int32_t s = 0; s < 2; s++) {
        struct slm_threads *t = s == 0 ? pool_of(sizes[s], NULL) : plain_pool_of(sizes[s], NULL);
        struct region r;
        assert_asleep(100000); /* before the first call */
        int owned = threads_begin(t);
        for (int32_t i = 0; i < 100; i++) {
            assert_true(region_once(t, owned, &r, 8, i));
        }
        assert_asleep(200000); /* in a call that computes nothing */
        assert_true(region_once(t, owned, &r, 8, 1));
        threads_end(t, owned);
        assert_asleep(2000000);
        threads_release(t);
    }
}

static int32_t workers_awake(struct slm_threads *t)
{
    return t->n_workers - __atomic_load_n(&t->workers_sleep, __ATOMIC_SEQ_CST);
}

struct crowd {
    struct slm_threads *t;
    int32_t most;
    int32_t inside;
    int32_t most_inside;
};

static void crowd_part(void *arg, int32_t i)
{
    struct crowd *c = (struct crowd *)arg;
    int32_t inside = __atomic_add_fetch(&c->inside, 1, __ATOMIC_SEQ_CST);
    (void)i;
    if (inside > __atomic_load_n(&c->most_inside, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&c->most_inside, inside, __ATOMIC_SEQ_CST);
    }
    if (workers_awake(c->t) > __atomic_load_n(&c->most, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&c->most, workers_awake(c->t), __ATOMIC_SEQ_CST);
    }
    sleep_us(i % 7 == 0 ? 300 : 20);
    __atomic_sub_fetch(&c->inside, 1, __ATOMIC_SEQ_CST);
}

static void no_more_workers_are_awake_than_there_are_cpus_for(void **state)
{
    (void)state;
    struct slm_threads *t = plain_pool_of(16, NULL);
    assert_int_equal(t->n_awake_max, min_i32(16, platform_cpu_count()) - 1);
    for (int32_t most = 0; most <= 3; most++) {
        struct crowd c = {t, 0, 0, 0};
        t->n_awake_max = most;
        sleep_us(2000); /* those of the last round go to sleep */
        for (int32_t call = 0; call < 20; call++) {
            int owned = threads_begin(t);
            for (int32_t i = 0; i < 10; i++) {
                threads_run(t, owned, 2 + i, crowd_part, &c);
            }
            threads_end(t, owned);
        }
        assert_true(c.most <= most);
        assert_true(c.most_inside <= most + 1);
        assert_int_equal(c.inside, 0);
    }
    threads_release(t);
}

static void child_of_a_fork_can_only_free(void **state)
{
    (void)state;
    struct heap heap = {0, 0, 0};
    struct slm_threads *t = pool_of(3, &heap);
    struct region r;
    int owned = threads_begin(t);
    assert_true(region_once(t, owned, &r, 8, 1));
    assert_int_equal(threads_forked(t), 0);
    /* As if a worker were just falling asleep: the child never gets this mutex. */
    platform_mutex_lock(&t->mutex);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(10);
        int good = threads_forked(t);
        threads_release(t);
        _exit(good && heap.in_use == 0 ? 0 : 1);
    }
    platform_mutex_unlock(&t->mutex);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(region_once(t, owned, &r, 8, 2));
    threads_end(t, owned);
    threads_release(t);
    assert_int_equal(heap.in_use, 0);
}

/* ---- Bench ----------------------------------------------------------------------------------- */

static void empty_part(void *arg, int32_t i)
{
    (void)arg;
    (void)i;
}

/* A fixed amount of arithmetic: with two equal parts, what is over the time of one is overhead. */
static void work_part(void *arg, int32_t i)
{
    uint32_t x = (uint32_t)i;
    for (int32_t k = 0; k < 4000; k++) {
        x = x * 1664525u + 1013904223u;
    }
    ((volatile uint32_t *)arg)[i * 32] = x;
}

/* Of 2,001 regions the one that only permille of 1,000 undercut. On a machine with other work low
 * ones tell the protocol's cost, the median what is left of it. */
static int64_t bench_region(struct slm_threads *t, int owned, slm_task_fn fn, int32_t n,
                            int32_t permille)
{
    static int64_t times[2001];
    static uint32_t out[64 * 32];
    for (int32_t i = 0; i < 2001; i++) {
        int64_t start = platform_clock_ns();
        threads_run(t, owned, n, fn, out);
        int64_t took = platform_clock_ns() - start;
        int32_t k = i;
        while (k > 0 && times[k - 1] > took) {
            times[k] = times[k - 1];
            k--;
        }
        times[k] = took;
    }
    return times[2 * permille];
}

static void bench(void)
{
    printf("usable CPUs: %d, cores: %d\n", platform_cpu_count(), platform_core_count());
    for (int32_t n = 2; n <= 8; n *= 2) {
        struct slm_threads *t = plain_pool_of(n, NULL);
        int owned = threads_begin(t);
        for (int32_t permille = 100; permille <= 900; permille += 400) {
            int64_t empty = bench_region(t, owned, empty_part, n, permille);
            int64_t one = bench_region(t, owned, work_part, 1, permille);
            int64_t all = bench_region(t, owned, work_part, n, permille);
            printf(
                "%d threads, p%d: empty region %lld ns; work: 1 part %lld ns, %d parts %lld ns\n",
                n, permille / 10, (long long)empty, (long long)one, n, (long long)all);
        }
        threads_end(t, owned);
        int64_t total = 0;
        for (int32_t i = 0; i < 200; i++) {
            sleep_us(500);
            int64_t start = platform_clock_ns();
            owned = threads_begin(t);
            threads_run(t, owned, n, empty_part, NULL);
            threads_end(t, owned);
            total += platform_clock_ns() - start;
        }
        printf("%d threads: first region of a call, workers asleep: %lld ns\n", n,
               (long long)total / 200);
        threads_release(t);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_is_given_while_others_ask_too_much),
        cmocka_unit_test(executors_of_any_order_run_every_part_once),
        cmocka_unit_test(pools_run_every_part_once),
        cmocka_unit_test(wake_ups_are_never_lost),
        cmocka_unit_test(caller_waits_for_stragglers),
        cmocka_unit_test(four_threads_share_one_pool),
        cmocka_unit_test(second_owner_computes_alone),
        cmocka_unit_test(workers_work_and_block_signals),
        cmocka_unit_test(tiles_run_once_and_parts_never_overlap),
        cmocka_unit_test(parts_finish_within_a_tile_of_each_other),
        cmocka_unit_test(number_of_threads_is_checked),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(heap_bytes_are_what_is_allocated),
        cmocka_unit_test(every_failure_of_the_system_is_an_error_and_leaks_nothing),
        cmocka_unit_test(idle_pool_uses_no_cpu),
        cmocka_unit_test(no_more_workers_are_awake_than_there_are_cpus_for),
        cmocka_unit_test(child_of_a_fork_can_only_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
