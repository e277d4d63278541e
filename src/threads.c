/* threads.c - who computes the parts of a region: a pool of n - 1 workers and the caller, the
 * host's own parallel-for, or the caller alone (one thread, or SLM_NO_THREADS).
 *
 * A region is n parts, fn(arg, 0) to fn(arg, n - 1), that never wait for each other; so any order
 * and any number of threads is legal, and whoever comes first takes the next part. Two counters
 * carry the protocol:
 *
 *     parts_left     parts nobody has taken. The caller sets it to n, which publishes the region;
 *                    a thread takes a part by lowering it from k > 0 to k - 1: that part is k - 1.
 *     parts_running  parts not finished. The region ends when it reaches 0.
 *
 * fn and arg are plain fields. They are read only after taking a part, and a region with a taken
 * part cannot end, so they cannot change under a reader; a worker that comes late, in a later
 * region or in none, finds parts_left as it is now, and either takes a valid part of the region of
 * now or nothing. That is why no generation is needed.
 *
 * Sleep. Inside a call (busy != 0) an idle worker spins for 100 us by the clock, then sleeps;
 * outside it sleeps at once. A sleeper raises workers_sleep under the mutex and then looks at
 * parts_left once more; the caller sets parts_left and then looks at workers_sleep. All four are
 * sequentially consistent, so at least one of the two sees the other: no wake-up is lost, and the
 * mutex is touched only when somebody sleeps. caller_sleeps and parts_running mirror this at the
 * end of a region. Whoever wakes others does so after giving the mutex back, or the woken would run
 * into it. A woken worker that finds nothing left spins for the next region.
 *
 * A pool of more threads than CPUs must not spin against itself. Workers begin asleep and only a
 * wake-up gets one out, which takes one of workers_sleep and leaves it in wake_ups: so the caller
 * knows how many are awake, and never wakes more than there are CPUs beside its own. The others
 * sleep until one of those does; no region needs them.
 *
 * One context owns the pool during its call; another that calls meanwhile computes alone. After
 * fork the workers do not exist in the child, and the mutex may be held by one of them for ever:
 * there nothing but the memory is touched.
 *
 * The result of a region does not depend on who computes which part: that is its author's duty. */

#define THREADS_SPIN_NS 100000
#define THREADS_LINE 64 /* bytes of a cache line: counters of different writers keep apart */

struct slm_threads {
    int32_t references;
    int32_t n_threads;
    slm_parallel_fn parallel; /* the host's executor, or NULL */
    void *parallel_user;
    struct memory memory;
    uint64_t bytes; /* of this block */
    int64_t process_id;
    int32_t n_workers;   /* threads that run */
    int32_t n_awake_max; /* of them: CPUs there are for them. 0: the caller does not spin, either */

    uint8_t line0[THREADS_LINE];
    int32_t parts_left;
    int32_t busy; /* a context is in a call */
    slm_task_fn fn;
    void *arg;

    uint8_t line1[THREADS_LINE];
    int32_t parts_running;

    uint8_t line2[THREADS_LINE];
    int32_t workers_sleep; /* or will soon: not yet called by a wake-up. Written under mutex */
    int32_t caller_sleeps;
#ifndef SLM_NO_THREADS
    int32_t wake_ups; /* that no worker has taken yet; guarded by mutex */
    int32_t quit;     /* guarded by mutex */
    struct platform_mutex mutex;
    struct platform_cond work;       /* there are parts, or quit */
    struct platform_cond done;       /* parts_running is 0 */
    struct platform_thread *workers; /* [n_threads - 1], in this block */
#endif
};

/* ---- What a pool takes ----------------------------------------------------------------------- */

/* SLM_AUTO to a number. */
static int32_t threads_resolve(int32_t n_threads)
{
#ifdef SLM_NO_THREADS
    (void)n_threads;
    return 1;
#else
    return n_threads == SLM_AUTO ? min_i32(platform_core_count(), LIMIT_THREADS) : n_threads;
#endif
}

static struct slm_threads *threads_layout(struct arena *a, int32_t n_threads)
{
    struct slm_threads *t = (struct slm_threads *)arena_take(a, 1, sizeof *t);
    if (t != NULL) {
        memset(t, 0, sizeof *t);
    }
#ifdef SLM_NO_THREADS
    (void)n_threads;
#else
    struct platform_thread *workers = (struct platform_thread *)arena_take(
        a, (uint64_t)(n_threads - 1), sizeof(struct platform_thread));
    if (t != NULL) {
        t->workers = workers;
    }
#endif
    return t;
}

/* Exactly what threads_create allocates for n_threads >= 1 without a host's executor. */
static uint64_t threads_heap_bytes(int32_t n_threads)
{
    struct arena measure = {NULL, 0, 0};
    threads_layout(&measure, n_threads);
    return measure.used;
}

static uint64_t threads_stack_bytes(int32_t n_threads)
{
#ifdef SLM_NO_THREADS
    (void)n_threads;
    return 0;
#else
    return (uint64_t)(n_threads - 1) * platform_stack_bytes();
#endif
}

static int32_t threads_count(const struct slm_threads *t)
{
    return t->n_threads;
}

/* 1 in a child of the process that made the pool. */
static int threads_forked(const struct slm_threads *t)
{
    return platform_process_id() != t->process_id;
}

/* ---- Workers --------------------------------------------------------------------------------- */

#ifndef SLM_NO_THREADS

/* A wait that asks the clock only now and then, and not at all when it is short. */
struct threads_wait {
    uint32_t rounds;
    int64_t until; /* 0: not yet known */
};

/* 0 when the time is up. */
static int threads_spin(struct threads_wait *wait)
{
    platform_cpu_relax();
    if (++wait->rounds % 16 != 0) {
        return 1;
    }
    int64_t now = platform_clock_ns();
    if (wait->until == 0) {
        wait->until = now + THREADS_SPIN_NS;
    }
    return now < wait->until;
}

/* Takes and computes one part; 0 if none is left. */
static int threads_do_part(struct slm_threads *t)
{
    int32_t left = __atomic_load_n(&t->parts_left, __ATOMIC_RELAXED);
    do {
        if (left <= 0) {
            return 0;
        }
    } while (!__atomic_compare_exchange_n(&t->parts_left, &left, left - 1, 1, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    t->fn(t->arg, left - 1);
    if (__atomic_sub_fetch(&t->parts_running, 1, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&t->caller_sleeps, __ATOMIC_SEQ_CST) != 0) {
        platform_mutex_lock(&t->mutex);
        platform_mutex_unlock(&t->mutex);
        platform_cond_broadcast(&t->done);
    }
    return 1;
}

/* Counted as asleep, until a wake-up comes; 0 if the pool ends. The mutex is held. */
static int threads_await_wake_up(struct slm_threads *t)
{
    while (!t->quit && t->wake_ups == 0) {
        platform_cond_wait(&t->work, &t->mutex);
    }
    if (t->quit) {
        return 0;
    }
    t->wake_ups--;
    return 1;
}

/* Sleeps until there may be work; 0 if the pool ends. */
static int threads_sleep(struct slm_threads *t)
{
    int goes_on = 1;
    platform_mutex_lock(&t->mutex);
    __atomic_add_fetch(&t->workers_sleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&t->parts_left, __ATOMIC_SEQ_CST) == 0) {
        goes_on = threads_await_wake_up(t);
    } else {
        __atomic_sub_fetch(&t->workers_sleep, 1, __ATOMIC_RELAXED);
    }
    platform_mutex_unlock(&t->mutex);
    return goes_on;
}

static void *threads_worker(void *arg)
{
    struct slm_threads *t = (struct slm_threads *)arg;
    struct threads_wait wait = {0, 0};
    platform_mutex_lock(&t->mutex);
    int goes_on = threads_await_wake_up(t);
    platform_mutex_unlock(&t->mutex);
    while (goes_on) {
        if (threads_do_part(t)) {
            wait.until = 0;
        } else if (__atomic_load_n(&t->busy, __ATOMIC_RELAXED) == 0 || !threads_spin(&wait)) {
            goes_on = threads_sleep(t);
            wait.until = 0;
        }
    }
    return NULL;
}

/* Sees to it that as many workers are awake as can be of use. */
static void threads_wake(struct slm_threads *t, int32_t n_parts)
{
    int32_t wanted = min_i32(n_parts - 1, t->n_awake_max);
    if (t->n_workers - __atomic_load_n(&t->workers_sleep, __ATOMIC_SEQ_CST) >= wanted) {
        return;
    }
    platform_mutex_lock(&t->mutex);
    int32_t n = wanted - (t->n_workers - __atomic_load_n(&t->workers_sleep, __ATOMIC_RELAXED));
    if (n > 0) {
        __atomic_sub_fetch(&t->workers_sleep, n, __ATOMIC_RELAXED);
        t->wake_ups += n;
    }
    platform_mutex_unlock(&t->mutex);
    while (n-- > 0) {
        platform_cond_signal(&t->work);
    }
}

/* The caller's side of a region: publish, help, wait for the stragglers. */
static void threads_run_pool(struct slm_threads *t, int32_t n_parts, slm_task_fn fn, void *arg)
{
    struct threads_wait wait = {0, 0};
    t->fn = fn;
    t->arg = arg;
    __atomic_store_n(&t->parts_running, n_parts, __ATOMIC_RELAXED);
    __atomic_store_n(&t->parts_left, n_parts, __ATOMIC_SEQ_CST);
    threads_wake(t, n_parts);
    while (threads_do_part(t)) {
    }
    while (__atomic_load_n(&t->parts_running, __ATOMIC_ACQUIRE) != 0) {
        if (t->n_awake_max > 0 && threads_spin(&wait)) {
            continue;
        }
        platform_mutex_lock(&t->mutex);
        __atomic_store_n(&t->caller_sleeps, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&t->parts_running, __ATOMIC_SEQ_CST) != 0) {
            platform_cond_wait(&t->done, &t->mutex);
        }
        __atomic_store_n(&t->caller_sleeps, 0, __ATOMIC_RELAXED);
        platform_mutex_unlock(&t->mutex);
    }
}

static void threads_stop(struct slm_threads *t)
{
    if (t->n_threads == 1 || t->parallel != NULL) {
        return;
    }
    platform_mutex_lock(&t->mutex);
    t->quit = 1;
    platform_cond_broadcast(&t->work);
    platform_mutex_unlock(&t->mutex);
    for (int32_t i = 0; i < t->n_workers; i++) {
        platform_thread_join(&t->workers[i]);
    }
    platform_cond_destroy(&t->done);
    platform_cond_destroy(&t->work);
    platform_mutex_destroy(&t->mutex);
}

/* All workers or none. */
static int threads_start(struct slm_threads *t, slm_error *err)
{
    SLM_TRY(platform_mutex_init(&t->mutex, err));
    int status = platform_cond_init(&t->work, err);
    if (status != SLM_OK) {
        platform_mutex_destroy(&t->mutex);
        return status;
    }
    status = platform_cond_init(&t->done, err);
    if (status != SLM_OK) {
        platform_cond_destroy(&t->work);
        platform_mutex_destroy(&t->mutex);
        return status;
    }
    t->workers_sleep = t->n_threads - 1;
    t->n_awake_max = min_i32(t->n_threads, platform_cpu_count()) - 1;
    while (t->n_workers < t->n_threads - 1) {
        status = platform_thread_start(&t->workers[t->n_workers], threads_worker, t, err);
        if (status != SLM_OK) {
            threads_stop(t);
            return status;
        }
        t->n_workers++;
    }
    return SLM_OK;
}

#else

static void threads_run_pool(struct slm_threads *t, int32_t n_parts, slm_task_fn fn, void *arg)
{
    (void)t;
    for (int32_t i = 0; i < n_parts; i++) {
        fn(arg, i);
    }
}

static void threads_stop(struct slm_threads *t)
{
    (void)t;
}

static int threads_start(struct slm_threads *t, slm_error *err)
{
    (void)t;
    (void)err;
    return SLM_OK;
}

#endif

/* ---- Life ------------------------------------------------------------------------------------ */

static void threads_free_block(struct slm_threads *t)
{
    struct memory memory = t->memory; /* it lies in what is freed */
    memory_give(&memory, t, t->bytes);
}

static int threads_create(struct slm_threads **out, const slm_threads_options *options,
                          slm_error *err)
{
    *out = NULL;
    if (options->n_threads != SLM_AUTO &&
        (options->n_threads < 1 || options->n_threads > LIMIT_THREADS)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "n_threads is %d: SLM_AUTO or 1 to %d expected",
                 options->n_threads, LIMIT_THREADS);
    }
    int32_t n_threads = threads_resolve(options->n_threads);
    if (options->parallel != NULL && options->n_threads != SLM_AUTO) {
        n_threads = options->n_threads; /* with SLM_NO_THREADS too: they are the host's */
    }
    int32_t n_pool = options->parallel != NULL ? 1 : n_threads;
    struct memory memory = memory_make(options->alloc, options->alloc_user, UINT64_MAX);
    uint64_t bytes = threads_heap_bytes(n_pool);
    void *block = memory_take(&memory, bytes);
    if (block == NULL) {
        return memory_error(&memory, bytes, "a thread pool", err);
    }
    struct arena arena = {(uint8_t *)block, 0, 0};
    struct slm_threads *t = threads_layout(&arena, n_pool);
    t->references = 1;
    t->n_threads = n_threads;
    t->parallel = options->parallel;
    t->parallel_user = options->parallel_user;
    t->memory = memory;
    t->bytes = bytes;
    t->process_id = platform_process_id();
    if (n_pool > 1) {
        int status = threads_start(t, err);
        if (status != SLM_OK) {
            threads_free_block(t);
            return status;
        }
    }
    *out = t;
    return SLM_OK;
}

static void threads_retain(struct slm_threads *t)
{
    reference_add(&t->references);
}

/* The last one ends the workers, which are asleep: no call is running. NULL is allowed. */
static void threads_release(struct slm_threads *t)
{
    if (t == NULL || !reference_drop(&t->references)) {
        return;
    }
    if (!threads_forked(t)) {
        threads_stop(t);
    }
    threads_free_block(t);
}

/* ---- Regions --------------------------------------------------------------------------------- */

/* A context's call begins: 1 if it owns the pool until threads_end, 0 if another context does. */
static int threads_begin(struct slm_threads *t)
{
    return busy_enter(&t->busy);
}

static void threads_end(struct slm_threads *t, int owned)
{
    if (owned) {
        busy_leave(&t->busy);
    }
}

/* fn(arg, i) for all i in 0..n_parts-1; when it returns, all have and what they wrote is seen. Not
 * to be called from a part. */
static void threads_run(struct slm_threads *t, int owned, int32_t n_parts, slm_task_fn fn,
                        void *arg)
{
    if (!owned || n_parts <= 1 || t->n_threads == 1) {
        for (int32_t i = 0; i < n_parts; i++) {
            fn(arg, i);
        }
    } else if (t->parallel != NULL) {
        t->parallel(t->parallel_user, n_parts, fn, arg);
    } else {
        threads_run_pool(t, n_parts, fn, arg);
    }
}

struct threads_tile_job {
    uint32_t next; /* unsigned: every part adds one beyond the end */
    int32_t n_tiles;
    void (*fn)(void *arg, int32_t tile, int32_t part);
    void *arg;
};

static void threads_tiles_part(void *arg, int32_t part)
{
    struct threads_tile_job *job = (struct threads_tile_job *)arg;
    for (;;) {
        uint32_t tile = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (tile >= (uint32_t)job->n_tiles) {
            return;
        }
        job->fn(job->arg, (int32_t)tile, part);
    }
}

/* fn(arg, tile, part) for all tiles in 0..n_tiles-1, spread over at most threads_count parts: each
 * part takes the next tile until none is left. Two calls with the same part never overlap, so that
 * scratch may be one per part. */
static void threads_tiles(struct slm_threads *t, int owned, int32_t n_tiles,
                          void (*fn)(void *arg, int32_t tile, int32_t part), void *arg)
{
    int32_t n_parts = min_i32(n_tiles, t->n_threads);
    if (!owned || n_parts <= 1) {
        for (int32_t tile = 0; tile < n_tiles; tile++) {
            fn(arg, tile, 0);
        }
        return;
    }
    struct threads_tile_job job = {0, n_tiles, fn, arg};
    threads_run(t, owned, n_parts, threads_tiles_part, &job);
}
