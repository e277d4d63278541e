/* test_races.c - many threads at once: shared models, shared pools, creation and destruction,
 * cancelling, and two threads that call one object. Meant for ThreadSanitizer (make check-races),
 * and in any build results are compared bit for bit with those of one thread.
 *
 * Threads only call slm and write into their own struct: cmocka's checks belong to the main thread.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "../slm.h"
#include "calls.h"
#include "golden.h"

#define N_THREADS 8
#define N_TOKENS 24
#define ROW_MAX 8192

static struct golden image; /* a llama of f32 weights */
static slm_model *tiny;
static slm_model *story;
static int32_t tiny_tokens[N_TOKENS];
static int32_t story_tokens[N_TOKENS];
static float tiny_rows[2][ROW_MAX]; /* logits after the tokens, by kv_type */
static float story_rows[2][ROW_MAX];
static int32_t tiny_vocab, story_vocab;

/* ---- Pieces ---------------------------------------------------------------------------------- */

static slm_context_options options_of(int32_t kv_type, int32_t n_threads, slm_threads *pool)
{
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 64;
    o.n_batch = 8;
    o.kv_type = kv_type;
    o.n_threads = n_threads;
    o.threads = pool;
    return o;
}

static int copy_row(slm_context *c, float *row, int32_t n_vocab, slm_error *err)
{
    const float *logits = NULL;
    int status = slm_logits(c, -1, &logits, NULL, err);
    if (status == SLM_OK) {
        memcpy(row, logits, (size_t)n_vocab * sizeof *row);
    }
    return status;
}

/* A context of its own, the tokens, the logits. */
static int run_context(slm_model *m, const slm_context_options *o, const int32_t *tokens,
                       int32_t n_vocab, float *row, slm_error *err)
{
    slm_context *c = NULL;
    int status = slm_context_create(&c, m, o, err);
    status = status != SLM_OK ? status : try_eval(c, 0, tokens, N_TOKENS, SLM_WANT_LAST, err);
    status = status != SLM_OK ? status : copy_row(c, row, n_vocab, err);
    slm_context_free(c);
    return status;
}

static int flag_get(const int32_t *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void flag_set(int32_t *flag, int32_t value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static int32_t vocab_of(slm_model *m)
{
    slm_model_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    return slm_model_get_info(m, &info, NULL) == SLM_OK ? info.n_vocab : 0;
}

static uint64_t heap_of(slm_model *m)
{
    slm_model_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    return slm_model_get_info(m, &info, NULL) == SLM_OK ? info.heap_bytes : 0;
}

static int open_tiny(slm_model **m, slm_error *err)
{
    const void *data = image.image;
    return slm_model_open_memory(m, &data, &image.image_size, 1, NULL, err);
}

static int setup(void **state)
{
    slm_error err;
    (void)state;
    memset(&err, 0, sizeof err);
    if (!golden_load(&image, "tests/golden/models/llama-3.2.txt", NULL)) {
        fprintf(stderr, "%s\n", image.error);
        return 1;
    }
    int status = open_tiny(&tiny, &err);
    status = status != SLM_OK ? status : slm_model_open(&story, TESTING_STORYTELLER, NULL, &err);
    tiny_vocab = status == SLM_OK ? vocab_of(tiny) : 0;
    story_vocab = status == SLM_OK ? vocab_of(story) : 0;
    if (status != SLM_OK || tiny_vocab > ROW_MAX || story_vocab > ROW_MAX) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (int i = 0; i < N_TOKENS; i++) {
        tiny_tokens[i] = (i * 37 + i / 7) % tiny_vocab;
        story_tokens[i] = (i * 131 + i / 7) % story_vocab;
    }
    for (int32_t kv = 0; kv < 2 && status == SLM_OK; kv++) {
        slm_context_options o = options_of(kv, 1, NULL);
        status = run_context(tiny, &o, tiny_tokens, tiny_vocab, tiny_rows[kv], &err);
        status = status != SLM_OK
                     ? status
                     : run_context(story, &o, story_tokens, story_vocab, story_rows[kv], &err);
    }
    return status != SLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    slm_model_free(tiny);
    slm_model_free(story);
    golden_free(&image);
    return 0;
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* What a thread is given, and what it tells. */
struct worker {
    pthread_t thread;
    int index;
    slm_model *model;
    slm_threads *pool;
    slm_context *context;
    slm_sampler *sampler;
    slm_generator *generator;
    int32_t *flag;
    int32_t rounds;
    int32_t n_ok, n_busy;
    int wrong; /* results that differ */
    int status;
    slm_error err;
};

static void start(struct worker *w, int n, void *(*fn)(void *))
{
    for (int i = 0; i < n; i++) {
        w[i].index = i;
        assert_int_equal(pthread_create(&w[i].thread, NULL, fn, &w[i]), 0);
    }
}

static void join(struct worker *w, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
    }
    for (int i = 0; i < n; i++) {
        must(w[i].status, &w[i].err);
        assert_int_equal(w[i].wrong, 0);
    }
}

/* ---- A model shared -------------------------------------------------------------------------- */

static void *work_on_shared_models(void *arg)
{
    struct worker *w = (struct worker *)arg;
    float row[ROW_MAX];
    for (int32_t i = 0; i < w->rounds && w->status == SLM_OK; i++) {
        int32_t kv = (w->index + i) % 2;
        slm_context_options o = options_of(kv, 1 + (w->index / 2) % 2, w->pool);
        int is_story = i == 0;
        w->status = is_story ? run_context(story, &o, story_tokens, story_vocab, row, &w->err)
                             : run_context(tiny, &o, tiny_tokens, tiny_vocab, row, &w->err);
        w->wrong += w->status == SLM_OK &&
                    memcmp(row, is_story ? story_rows[kv] : tiny_rows[kv],
                           (size_t)(is_story ? story_vocab : tiny_vocab) * sizeof *row) != 0;
    }
    return NULL;
}

static void eight_threads_share_a_model(void **state)
{
    struct worker w[N_THREADS];
    (void)state;
    memset(w, 0, sizeof w);
    for (int i = 0; i < N_THREADS; i++) {
        w[i].rounds = 8;
    }
    start(w, N_THREADS, work_on_shared_models);
    join(w, N_THREADS);
}

static void four_contexts_share_a_pool(void **state)
{
    struct worker w[4];
    slm_threads_options o;
    slm_threads *pool = NULL;
    slm_error err;
    (void)state;
    memset(w, 0, sizeof w);
    assert_int_equal(slm_threads_options_init(&o, sizeof o), SLM_OK);
    o.n_threads = 3;
    must(slm_threads_create(&pool, &o, &err), &err);
    for (int i = 0; i < 4; i++) {
        w[i].pool = pool;
        w[i].rounds = 12;
    }
    start(w, 4, work_on_shared_models);
    join(w, 4);
    slm_threads_free(pool);
}

/* ---- Birth and death ------------------------------------------------------------------------- */

/* A model of its own each round, freed before the context that uses it; and every other round a
 * context on a model that other threads have, too. */
static void *create_and_destroy(void *arg)
{
    struct worker *w = (struct worker *)arg;
    float row[ROW_MAX];
    for (int32_t i = 0; i < w->rounds && w->status == SLM_OK; i++) {
        slm_model *m = i % 2 == 0 ? NULL : w->model;
        slm_context *c = NULL;
        slm_sampler *s = NULL;
        slm_context_options o = options_of(i / 2 % 2, 1 + i % 3 / 2, w->pool);
        w->status = m != NULL ? SLM_OK : open_tiny(&m, &w->err);
        w->status = w->status != SLM_OK ? w->status : slm_context_create(&c, m, &o, &w->err);
        w->status =
            w->status != SLM_OK ? w->status : slm_sampler_create(&s, m, NULL, 0, 0, NULL, &w->err);
        if (i % 2 == 0) {
            slm_model_free(m);
        }
        w->status = w->status != SLM_OK
                        ? w->status
                        : try_eval(c, 0, tiny_tokens, N_TOKENS, SLM_WANT_LAST, &w->err);
        w->status = w->status != SLM_OK ? w->status : copy_row(c, row, tiny_vocab, &w->err);
        w->wrong += w->status == SLM_OK &&
                    memcmp(row, tiny_rows[o.kv_type], (size_t)tiny_vocab * sizeof *row) != 0;
        slm_context_free(c);
        slm_sampler_free(s);
    }
    return NULL;
}

static void models_and_contexts_come_and_go_at_the_same_time(void **state)
{
    struct worker w[N_THREADS];
    slm_threads *pool = NULL;
    slm_threads_options o;
    slm_error err;
    (void)state;
    memset(w, 0, sizeof w);
    assert_int_equal(slm_threads_options_init(&o, sizeof o), SLM_OK);
    o.n_threads = 2;
    must(slm_threads_create(&pool, &o, &err), &err);
    for (int i = 0; i < N_THREADS; i++) {
        w[i].model = tiny;
        w[i].rounds = 12;
        w[i].pool = i % 2 == 0 ? pool : NULL;
    }
    start(w, N_THREADS, create_and_destroy);
    join(w, N_THREADS);
    slm_threads_free(pool);
}

/* Whoever is last frees the model and the pool: here any of the threads. */
static void *use_and_free(void *arg)
{
    struct worker *w = (struct worker *)arg;
    float row[ROW_MAX];
    w->status = try_eval(w->context, 0, tiny_tokens, N_TOKENS, SLM_WANT_LAST, &w->err);
    w->status = w->status != SLM_OK ? w->status : copy_row(w->context, row, tiny_vocab, &w->err);
    w->wrong += w->status == SLM_OK &&
                memcmp(row, tiny_rows[SLM_KV_F16], (size_t)tiny_vocab * sizeof *row) != 0;
    slm_context_free(w->context);
    slm_sampler_free(w->sampler);
    return NULL;
}

static void the_last_of_many_threads_frees_what_they_shared(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        struct worker w[N_THREADS];
        slm_threads *pool = NULL;
        slm_model *m = NULL;
        slm_threads_options t;
        slm_error err;
        memset(w, 0, sizeof w);
        assert_int_equal(slm_threads_options_init(&t, sizeof t), SLM_OK);
        t.n_threads = 2;
        must(slm_threads_create(&pool, &t, &err), &err);
        must(open_tiny(&m, &err), &err);
        for (int i = 0; i < N_THREADS; i++) {
            slm_context_options o = options_of(SLM_KV_F16, 1, pool);
            must(slm_context_create(&w[i].context, m, &o, &err), &err);
            must(slm_sampler_create(&w[i].sampler, m, NULL, 0, 0, NULL, &err), &err);
        }
        start(w, N_THREADS, use_and_free);
        slm_model_free(m);
        slm_threads_free(pool);
        join(w, N_THREADS);
    }
}

/* ---- Text ------------------------------------------------------------------------------------ */

static const char *const texts[4] = {"Once upon a time there was a cat.",
                                     "\xC3\xA4 caf\xC3\xA9, 1999 \xE2\x82\xAC!",
                                     "   spaces   and\n\nlines\n", "The the THE thethethe"};

static void *tokenize_much(void *arg)
{
    struct worker *w = (struct worker *)arg;
    for (int32_t i = 0; i < w->rounds && w->status == SLM_OK; i++) {
        const char *text = texts[(w->index + i) % 4];
        int32_t tokens[128];
        char back[256];
        size_t n = 0, size = 0;
        w->status = slm_tokenize(story, text, strlen(text), SLM_TEXT_BOS, tokens, 128, &n, &w->err);
        w->status = w->status != SLM_OK ? w->status
                                        : slm_detokenize(story, tokens, n, SLM_TEXT_BOS, back,
                                                         sizeof back, &size, &w->err);
        w->wrong += w->status == SLM_OK && (size != strlen(text) || memcmp(back, text, size) != 0);
    }
    return NULL;
}

static void many_threads_tokenize_with_one_model(void **state)
{
    struct worker w[N_THREADS];
    uint64_t before = heap_of(story);
    (void)state;
    memset(w, 0, sizeof w);
    for (int i = 0; i < N_THREADS; i++) {
        w[i].rounds = 200;
    }
    start(w, N_THREADS, tokenize_much);
    join(w, N_THREADS);
    assert_true(heap_of(story) == before);
}

/* One template rendered by all, and the prompt cut into tokens of one model: each thread has messages
 * of its own, and reads its answer with an output of its own. */
struct chat_result {
    char text[256];
    size_t size;
    int32_t tokens[256];
    size_t n_tokens;
};

static slm_chat_template *shared_chat;

static int chat_once(int which, struct chat_result *r, slm_error *err)
{
    static const char *const messages[2] = {
        "[{\"role\": \"user\", \"content\": \"Once upon a time\"}]",
        "[{\"role\": \"user\", \"content\": \"<s>\"}, {\"role\": \"assistant\", \"content\": "
        "\"b\"}]"};
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    int status =
        slm_chat_render(&prompt, shared_chat, messages[which], strlen(messages[which]), NULL, err);
    if (status == SLM_OK) {
        status = slm_chat_prompt_get_info(prompt, &info, err);
    }
    if (status == SLM_OK) {
        r->size = info.size < sizeof r->text ? info.size : sizeof r->text;
        memcpy(r->text, info.text, r->size);
        status = slm_tokenize_segments(story, info.segments, info.n_segments, info.segment_size,
                                       SLM_TEXT_BOS, r->tokens, 256, &r->n_tokens, err);
    }
    slm_chat_prompt_free(prompt);
    return status;
}

static int chat_is(const struct chat_result *a, const struct chat_result *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0 &&
           a->n_tokens == b->n_tokens &&
           memcmp(a->tokens, b->tokens, a->n_tokens * sizeof a->tokens[0]) == 0;
}

static struct chat_result chat_expected[2];

static void *chat_much(void *arg)
{
    struct worker *w = (struct worker *)arg;
    slm_chat_output *output = NULL;
    w->status = slm_chat_output_create(&output, shared_chat, NULL, &w->err);
    for (int32_t i = 0; i < w->rounds && w->status == SLM_OK; i++) {
        struct chat_result r;
        int which = (w->index + i) % 2;
        w->status = chat_once(which, &r, &w->err);
        w->wrong += w->status == SLM_OK && !chat_is(&r, &chat_expected[which]);
    }
    slm_chat_output_free(output);
    return NULL;
}

static void many_threads_render_with_one_template(void **state)
{
    static const char source[] =
        "{% macro m(x) %}{{ x.role }}: {{ x.content|trim }}{% endmacro %}{{ bos_token }}"
        "{% for x in messages %}{{ m(x) }}{{ x|tojson }}\n{% endfor %}";
    struct worker w[N_THREADS];
    slm_error err;
    (void)state;
    must(slm_chat_template_create(&shared_chat, story, source, sizeof source - 1, NULL, &err),
         &err);
    for (int i = 0; i < 2; i++) {
        must(chat_once(i, &chat_expected[i], &err), &err);
    }
    uint64_t before = heap_of(story);
    memset(w, 0, sizeof w);
    for (int i = 0; i < N_THREADS; i++) {
        w[i].rounds = 50;
    }
    start(w, N_THREADS, chat_much);
    join(w, N_THREADS);
    assert_true(heap_of(story) == before);
    slm_chat_template_free(shared_chat);
}

/* ---- Cancelling ------------------------------------------------------------------------------ */

struct handshake {
    int32_t reached; /* by the evaluation */
    int32_t cancel;
    int32_t done;
    int32_t pause; /* turns of the canceller before it cancels */
};

/* Called after a batch: waits until the other thread has cancelled. */
static int32_t wait_for_cancel(void *user, uint64_t done, uint64_t total)
{
    struct handshake *h = (struct handshake *)user;
    flag_set(&h->reached, 1);
    while (done < total && !flag_get(&h->cancel)) {
        sched_yield();
    }
    return 0;
}

static void *cancel_when_reached(void *arg)
{
    struct handshake *h = (struct handshake *)arg;
    while (!flag_get(&h->reached)) {
        sched_yield();
    }
    flag_set(&h->cancel, 1);
    return NULL;
}

static void *cancel_any_time(void *arg)
{
    struct handshake *h = (struct handshake *)arg;
    for (int32_t i = 0; i < flag_get(&h->pause) && !flag_get(&h->done); i++) {
        sched_yield();
    }
    flag_set(&h->cancel, 1);
    while (!flag_get(&h->done)) {
        sched_yield();
    }
    return NULL;
}

/* Goes on after each cancellation until the tokens are done; how often it was cancelled. */
static int eval_with_interruptions(slm_context *c, struct handshake *h, slm_eval_options *e,
                                   void *(*canceller)(void *))
{
    int n_cancelled = 0;
    for (int32_t done = 0; done < N_TOKENS;) {
        pthread_t thread;
        slm_error err;
        int32_t length = -1;
        slm_span s = span_of(0, story_tokens + done, N_TOKENS - done, SLM_WANT_LAST);
        flag_set(&h->reached, 0);
        flag_set(&h->cancel, 0);
        flag_set(&h->done, 0);
        assert_int_equal(pthread_create(&thread, NULL, canceller, h), 0);
        int status = slm_eval(c, &s, 1, sizeof s, e, &err);
        flag_set(&h->reached, 1);
        flag_set(&h->done, 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        if (status != SLM_E_CANCELLED) {
            must(status, &err);
        }
        n_cancelled += status == SLM_E_CANCELLED;
        assert_int_equal(status == SLM_OK, s.n_done == N_TOKENS - done);
        done += s.n_done;
        assert_int_equal(slm_sequence_length(c, 0, &length, NULL), SLM_OK);
        assert_int_equal(length, done);
        flag_set(&h->pause, 2 * flag_get(&h->pause) + 1); /* in the end it comes too late */
    }
    return n_cancelled;
}

static void an_evaluation_cancelled_by_another_thread_can_be_resumed(void **state)
{
    struct handshake h;
    slm_eval_options e;
    slm_context *c = NULL;
    slm_error err;
    int n_cancelled = 0;
    (void)state;
    memset(&h, 0, sizeof h);
    /* Three batches of the same size in all runs. */
    slm_context_options o = options_of(SLM_KV_F32, 2, NULL);
    must(slm_context_create(&c, story, &o, &err), &err);
    assert_int_equal(slm_eval_options_init(&e, sizeof e), SLM_OK);
    e.cancel = &h.cancel;
    e.progress = wait_for_cancel;
    e.progress_user = &h;
    for (int round = 0; round < 4; round++) {
        float row[ROW_MAX];
        assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
        int n =
            eval_with_interruptions(c, &h, &e, round == 0 ? cancel_when_reached : cancel_any_time);
        if (round == 0) {
            assert_int_equal(n, 2);
            e.progress = NULL;
        }
        n_cancelled += n;
        flag_set(&h.pause, 0);
        must(copy_row(c, row, story_vocab, &err), &err);
        assert_memory_equal(row, story_rows[SLM_KV_F32], (size_t)story_vocab * sizeof *row);
    }
    printf("cancelled %d times\n", n_cancelled);
    slm_context_free(c);
}

/* flag[0] cancels, flag[1] ends this. Each time it waits a little longer, so that the generation
 * gets on. */
static void *stop_generating(void *arg)
{
    struct worker *w = (struct worker *)arg;
    for (int n = 1; !flag_get(w->flag + 1); n += n < 1000000 ? n / 4 + 1 : 0) {
        flag_set(w->flag, 1);
        while (flag_get(w->flag) && !flag_get(w->flag + 1)) {
            sched_yield();
        }
        for (int i = 0; i < n && !flag_get(w->flag + 1); i++) {
            sched_yield();
        }
    }
    return NULL;
}

/* The text of one generation, gone on with whenever it was cancelled. With `wait`, cancelled at
 * least once. */
static size_t generate(int32_t *flags, int wait, char *text, size_t capacity, int *n_cancelled)
{
    slm_generate_options o;
    slm_context_options co = options_of(SLM_KV_F16, 1, NULL);
    slm_context *c = NULL;
    slm_generator *g = NULL;
    slm_error err;
    slm_piece piece;
    size_t used = 0;
    must(slm_context_create(&c, story, &co, &err), &err);
    assert_int_equal(slm_generate_options_init(&o, sizeof o), SLM_OK);
    o.max_tokens = 20;
    o.cancel = flags;
    must(slm_generate_begin(&g, c, 0, NULL, "Once upon a time", 16, &o, &err), &err);
    while (wait && !flag_get(flags)) {
        sched_yield();
    }
    do {
        piece.struct_size = (uint32_t)sizeof piece;
        int status = slm_generate_next(g, &piece, &err);
        if (status == SLM_E_CANCELLED) {
            (*n_cancelled)++;
            flag_set(flags, 0);
            piece.kind = SLM_PIECE_TEXT;
            piece.size = 0;
            continue;
        }
        must(status, &err);
        if (piece.kind == SLM_PIECE_TEXT) {
            assert_true(piece.size <= capacity - used);
            memcpy(text + used, piece.text, piece.size);
            used += piece.size;
        }
    } while (piece.kind == SLM_PIECE_TEXT);
    slm_generate_end(g);
    slm_context_free(c);
    return used;
}

static void a_generation_cancelled_by_another_thread_goes_on(void **state)
{
    static char expected[1024], text[1024];
    int32_t flags[2] = {0, 0};
    int n_cancelled = 0;
    struct worker w;
    (void)state;
    memset(&w, 0, sizeof w);
    w.flag = flags;
    size_t n = generate(flags, 0, expected, sizeof expected, &n_cancelled);
    assert_int_equal(n_cancelled, 0);
    start(&w, 1, stop_generating);
    size_t got = generate(flags, 1, text, sizeof text, &n_cancelled);
    flag_set(&flags[1], 1);
    join(&w, 1);
    printf("cancelled %d times\n", n_cancelled);
    assert_true(n_cancelled > 0);
    assert_int_equal(got, n);
    assert_memory_equal(text, expected, n);
}

/* ---- Two threads, one object ----------------------------------------------------------------- */

/* Counts what two who call at once are told; anything but SLM_OK and SLM_E_BUSY is wrong. */
static void told(struct worker *w, int status)
{
    w->n_ok += status == SLM_OK;
    w->n_busy += status == SLM_E_BUSY;
    if (status != SLM_OK && status != SLM_E_BUSY) {
        w->status = status;
    }
}

static void *eval_at_once(void *arg)
{
    struct worker *w = (struct worker *)arg;
    __atomic_add_fetch(w->flag, 1, __ATOMIC_ACQ_REL);
    while (flag_get(w->flag) < 2) { /* for the other to be there */
        sched_yield();
    }
    while (w->n_ok < w->rounds && w->status == SLM_OK) {
        int32_t token = 3;
        told(w, try_eval(w->context, 0, &token, 1, SLM_WANT_LAST, &w->err));
        sched_yield();
    }
    return NULL;
}

static void two_threads_that_evaluate_in_one_context(void **state)
{
    struct worker w[2];
    slm_context *c = NULL;
    slm_error err;
    int32_t length = -1, there = 0;
    (void)state;
    memset(w, 0, sizeof w);
    slm_context_options o = options_of(SLM_KV_F32, 2, NULL);
    must(slm_context_create(&c, tiny, &o, &err), &err);
    for (int i = 0; i < 2; i++) {
        w[i].flag = &there;
        w[i].context = c;
        w[i].rounds = 25;
    }
    start(w, 2, eval_at_once);
    join(w, 2);
    printf("50 calls were done, %d were told to come again\n", w[0].n_busy + w[1].n_busy);
    assert_int_equal(slm_sequence_length(c, 0, &length, NULL), SLM_OK);
    assert_int_equal(length, 50);
    /* The same as that many tokens in turn. */
    float row[ROW_MAX], expected[ROW_MAX];
    slm_context *alone = NULL;
    int32_t token = 3;
    must(copy_row(c, row, tiny_vocab, &err), &err);
    must(slm_context_create(&alone, tiny, &o, &err), &err);
    for (int32_t i = 0; i < length; i++) {
        must(try_eval(alone, 0, &token, 1, SLM_WANT_LAST, &err), &err);
    }
    must(copy_row(alone, expected, tiny_vocab, &err), &err);
    assert_memory_equal(row, expected, (size_t)tiny_vocab * sizeof *row);
    slm_context_free(alone);
    slm_context_free(c);
}

/* While one is held in a callback, the other tries every call that uses the context. */
static void *try_everything(void *arg)
{
    struct worker *w = (struct worker *)arg;
    slm_generator *g = NULL;
    slm_piece piece;
    int32_t token = 3;
    while (!flag_get(w->flag)) {
        sched_yield();
    }
    piece.struct_size = (uint32_t)sizeof piece;
    told(w, try_eval(w->context, 0, &token, 1, SLM_WANT_LAST, &w->err));
    told(w, slm_sequence_fork(w->context, 0, 0, &w->err));
    told(w, slm_sequence_rewind(w->context, 0, 0, &w->err));
    told(w, slm_sequence_checkpoint(w->context, 0, 0, &w->err));
    told(w, slm_generate_begin(&g, w->context, 0, NULL, "a", 1, NULL, &w->err));
    told(w, slm_generate_next(w->generator, &piece, &w->err));
    slm_generate_end(g);
    flag_set(w->flag + 1, 1);
    return NULL;
}

static int32_t hold(void *user, uint64_t done, uint64_t total)
{
    int32_t *flags = (int32_t *)user;
    (void)done;
    (void)total;
    flag_set(&flags[0], 1);
    while (!flag_get(&flags[1])) {
        sched_yield();
    }
    return 0;
}

static void a_context_in_a_call_is_busy_for_every_other_thread(void **state)
{
    int32_t flags[2] = {0, 0};
    struct worker w;
    slm_context *c = NULL;
    slm_eval_options e;
    slm_error err;
    int32_t length = -1;
    (void)state;
    memset(&w, 0, sizeof w);
    slm_context_options o = options_of(SLM_KV_F16, 1, NULL);
    o.n_sequences = 2;
    o.n_checkpoints = 1;
    must(slm_context_create(&c, story, &o, &err), &err);
    must(slm_generate_begin(&w.generator, c, 1, NULL, "Once", 4, NULL, &err), &err);
    w.context = c;
    w.flag = flags;
    assert_int_equal(slm_eval_options_init(&e, sizeof e), SLM_OK);
    e.progress = hold;
    e.progress_user = flags;
    slm_span s = span_of(0, story_tokens, 5, SLM_WANT_LAST);
    start(&w, 1, try_everything);
    must(slm_eval(c, &s, 1, sizeof s, &e, &err), &err);
    join(&w, 1);
    assert_int_equal(w.n_busy, 6);
    assert_int_equal(w.n_ok, 0);
    assert_int_equal(slm_sequence_length(c, 0, &length, NULL), SLM_OK);
    assert_int_equal(length, 5);
    slm_generate_end(w.generator);
    slm_context_free(c);
}

/* A clone made while others use the original is whole: it works on its own. */
static void *sample_at_once(void *arg)
{
    struct worker *w = (struct worker *)arg;
    for (int32_t i = 0; i < w->rounds; i++) {
        slm_sampler *copy = NULL;
        int32_t token = -1;
        told(w, slm_sample(w->sampler, story_rows[0], story_vocab, &token, &w->err));
        int status = slm_sampler_clone(&copy, w->sampler, &w->err);
        told(w, status);
        if (status == SLM_OK) {
            status = slm_sample(copy, story_rows[0], story_vocab, &token, &w->err);
            w->wrong += status != SLM_OK || token < 0;
        }
        slm_sampler_free(copy);
    }
    return NULL;
}

static void four_threads_that_use_one_sampler(void **state)
{
    struct worker w[4];
    slm_sampler *sampler = NULL;
    slm_sampler_stage stage;
    slm_error err;
    int n_ok = 0;
    (void)state;
    memset(w, 0, sizeof w);
    memset(&stage, 0, sizeof stage);
    stage.struct_size = (uint32_t)sizeof stage;
    stage.kind = SLM_STAGE_TEMPERATURE;
    stage.value = 1.0f;
    must(slm_sampler_create(&sampler, story, &stage, 1, sizeof stage, NULL, &err), &err);
    for (int i = 0; i < 4; i++) {
        w[i].sampler = sampler;
        w[i].rounds = 20;
    }
    start(w, 4, sample_at_once);
    join(w, 4);
    for (int i = 0; i < 4; i++) {
        n_ok += w[i].n_ok;
        assert_int_equal(w[i].n_ok + w[i].n_busy, 40);
    }
    assert_true(n_ok > 0);
    slm_sampler_free(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_threads_share_a_model),
        cmocka_unit_test(four_contexts_share_a_pool),
        cmocka_unit_test(models_and_contexts_come_and_go_at_the_same_time),
        cmocka_unit_test(the_last_of_many_threads_frees_what_they_shared),
        cmocka_unit_test(many_threads_tokenize_with_one_model),
        cmocka_unit_test(many_threads_render_with_one_template),
        cmocka_unit_test(an_evaluation_cancelled_by_another_thread_can_be_resumed),
        cmocka_unit_test(a_generation_cancelled_by_another_thread_goes_on),
        cmocka_unit_test(two_threads_that_evaluate_in_one_context),
        cmocka_unit_test(a_context_in_a_call_is_busy_for_every_other_thread),
        cmocka_unit_test(four_threads_that_use_one_sampler),
    };
#if !defined(_WIN32)
    alarm(300); /* for what hangs, under ThreadSanitizer too */
#endif
    return cmocka_run_group_tests(tests, setup, teardown);
}
