/* glue.c - slm for a WebAssembly host: what engine.js calls, and what a module needs that has no
 * operating system: a clock, and threads that wait for work.
 *
 * JavaScript sees numbers only. Handles are addresses, texts are an address and a size, and a
 * status below 0 has its message in web_error(). A talk is a context with what a page wants of it:
 * a conversation rendered by the model's template, or a text to go on with; it reads the prompt in
 * small parts and gives one piece at a time, so that the worker that runs it can listen to the page
 * in between. Nothing of the page's code ever runs inside these calls. */
#include "../../slm.h"

#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(#name), visibility("default"))) name

static slm_error error;

slm_error *EXPORT(web_error)(void)
{
    return &error;
}

const char *EXPORT(web_status_name)(int status)
{
    return slm_status_name(status);
}

void *EXPORT(web_take)(size_t size)
{
    return malloc(size);
}

void EXPORT(web_give)(void *p)
{
    free(p);
}

static int fail(int status, const char *message)
{
    memset(&error, 0, sizeof error);
    error.code = status;
    error.position = -1;
    memcpy(error.message, message, strlen(message));
    return status;
}

/* ---- Clock ----------------------------------------------------------------------------------- */

/* Milliseconds; wasm.c makes it the clock of slm.c. */
__attribute__((import_module("host"), import_name("now"))) double web_now(void);

int64_t web_clock_ns(void)
{
    return (int64_t)(web_now() * 1e6);
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* The protocol of src/threads.c with the waits of WebAssembly. `left` counts the parts nobody has
 * taken, a thread takes part k - 1 by lowering it from k; `running` those that are not finished.
 * fn and arg are read only by who has a part, and a region with a taken part cannot end. Workers
 * spin a little, then sleep on `epoch`, which every region raises; the caller wakes them if it sees
 * a sleeper, and a sleeper looks at epoch after it has counted itself: one of the two sees the
 * other. */
#ifdef __wasm_atomics__

#define SPIN 30000 /* looks at a counter: some tens of microseconds */
#define WORKER_STACK ((size_t)256 << 10)

static struct {
    int32_t epoch;
    int32_t left;
    int32_t running;
    int32_t sleepers;
    int32_t broken; /* a worker ended by a trap: nothing can be computed any more */
    slm_task_fn fn;
    void *arg;
} pool;

static int take_part(void)
{
    int32_t left = __atomic_load_n(&pool.left, __ATOMIC_SEQ_CST);
    do {
        if (left <= 0) {
            return 0;
        }
    } while (!__atomic_compare_exchange_n(&pool.left, &left, left - 1, 1, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    pool.fn(pool.arg, left - 1);
    if (__atomic_sub_fetch(&pool.running, 1, __ATOMIC_SEQ_CST) == 0) {
        __builtin_wasm_memory_atomic_notify(&pool.running, 1);
    }
    return 1;
}

static void parallel(void *user, int32_t n, slm_task_fn fn, void *arg)
{
    (void)user;
    pool.fn = fn;
    pool.arg = arg;
    __atomic_store_n(&pool.running, n, __ATOMIC_SEQ_CST);
    __atomic_store_n(&pool.left, n, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&pool.epoch, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool.sleepers, __ATOMIC_SEQ_CST) != 0) {
        __builtin_wasm_memory_atomic_notify(&pool.epoch, (uint32_t)n - 1);
    }
    while (take_part()) {
    }
    for (int32_t spin = 0;; spin++) {
        int32_t running = __atomic_load_n(&pool.running, __ATOMIC_SEQ_CST);
        if (running == 0) {
            return;
        }
        if (spin > SPIN) {
            __builtin_wasm_memory_atomic_wait32(&pool.running, running, 100000000);
            if (__atomic_load_n(&pool.broken, __ATOMIC_SEQ_CST) != 0) {
                __builtin_trap();
            }
        }
    }
}

/* The life of a worker; engine.js ends it by ending its thread. */
void EXPORT(web_work)(void)
{
    for (;;) {
        int32_t epoch = __atomic_load_n(&pool.epoch, __ATOMIC_SEQ_CST);
        while (take_part()) {
        }
        int32_t spin = 0;
        while (spin < SPIN && __atomic_load_n(&pool.epoch, __ATOMIC_SEQ_CST) == epoch) {
            spin++;
        }
        if (spin == SPIN) {
            __atomic_add_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
            __builtin_wasm_memory_atomic_wait32(&pool.epoch, epoch, -1);
            __atomic_sub_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
        }
    }
}

/* Called by a worker whose web_work has trapped. */
void EXPORT(web_broken)(void)
{
    __atomic_store_n(&pool.broken, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify(&pool.running, 1);
}

/* A stack for one more worker: the address of its end, from which it grows down. 0: no memory. */
uintptr_t EXPORT(web_stack)(void)
{
    uint8_t *stack = malloc(WORKER_STACK);
    return stack == NULL ? 0 : (uintptr_t)stack + WORKER_STACK;
}

#endif

static slm_threads *threads; /* NULL: the engine's thread alone */

/* So many threads, this one among them, compute from now on; contexts made before keep theirs. */
int EXPORT(web_threads)(int32_t n)
{
    slm_threads_options options;
    slm_threads_options_init(&options, sizeof options);
    options.n_threads = n;
#ifdef __wasm_atomics__
    options.parallel = n > 1 ? parallel : NULL;
#endif
    slm_threads_free(threads);
    return slm_threads_create(&threads, &options, &error);
}

/* ---- Models ---------------------------------------------------------------------------------- */

/* The file's bytes stay where they are until the model is closed. reference: 1 takes the scalar
 * kernels. */
int EXPORT(web_open)(const void *data, size_t size, int32_t reference, slm_model **model)
{
    slm_model_options options;
    slm_model_options_init(&options, sizeof options);
    options.cpu = reference ? 0 : SLM_CPU_ALL;
    return slm_model_open_memory(model, &data, &size, 1, &options, &error);
}

void EXPORT(web_close)(slm_model *model)
{
    slm_model_free(model);
}

/* Number `which` of the model: see engine.js. */
double EXPORT(web_model_number)(const slm_model *model, int32_t which)
{
    slm_model_info info = {.struct_size = sizeof info};
    slm_model_get_info(model, &info, NULL);
    switch (which) {
    case 0:
        return (double)info.n_parameters;
    case 1:
        return (double)info.weight_bytes;
    case 2:
        return info.n_ctx_train;
    case 3:
        return info.n_vocab;
    case 4:
        return info.n_layer;
    case 5:
        return info.is_causal;
    default:
        return info.chat_template != NULL;
    }
}

const char *EXPORT(web_model_text)(const slm_model *model, int32_t which)
{
    slm_model_info info = {.struct_size = sizeof info};
    slm_model_get_info(model, &info, NULL);
    return which == 0 ? info.name : which == 1 ? info.family : info.isa;
}

/* ---- Talks ----------------------------------------------------------------------------------- */

#define CHUNK 32 /* tokens of a prompt between two looks at the page */

struct web_talk {
    slm_model *model;
    slm_context *context;
    slm_chat_template *form; /* NULL: plain text */
    slm_chat_output *output;
    slm_sampler *sampler;
    slm_generator *generator;
    int32_t n_ctx;
    int32_t *tokens;    /* [n_ctx] of the prompt */
    int32_t n_tokens;   /* of the prompt */
    int32_t *known;     /* [n_ctx + 1] what the sequence was given and has chosen: */
    int32_t n_known;    /* where an answer was stopped, it may hold more, or one less */
    int32_t checkpoint; /* length that the model's states can return to */
    int32_t max_tokens;
    int32_t n_generated;
    int32_t reason; /* SLM_END_, 0 before */
    slm_piece piece;
    slm_chat_event event;
};

void EXPORT(web_talk_free)(struct web_talk *t)
{
    if (t == NULL) {
        return;
    }
    slm_generate_end(t->generator);
    slm_sampler_free(t->sampler);
    slm_chat_output_free(t->output);
    slm_chat_template_free(t->form);
    slm_context_free(t->context);
    free(t->known);
    free(t->tokens);
    free(t);
}

/* is_chat: with the model's template. n_ctx 0: the library's default. */
int EXPORT(web_talk_create)(slm_model *model, int32_t is_chat, int32_t n_ctx,
                            struct web_talk **talk)
{
    slm_context_options options;
    slm_context_info info = {.struct_size = sizeof info};
    *talk = NULL;
    struct web_talk *t = malloc(sizeof *t);
    if (t == NULL) {
        return fail(SLM_E_MEMORY, "no memory for a conversation");
    }
    memset(t, 0, sizeof *t);
    t->model = model;
    slm_context_options_init(&options, sizeof options);
    options.n_ctx = n_ctx > 0 ? n_ctx : SLM_AUTO;
    options.n_batch = CHUNK;
    options.n_checkpoints = 1;
    options.threads = threads;
    int status = slm_context_create(&t->context, model, &options, &error);
    if (status == SLM_OK && is_chat) {
        status = slm_chat_template_create(&t->form, model, NULL, 0, NULL, &error);
        if (status == SLM_OK) {
            status = slm_chat_output_create(&t->output, t->form, NULL, &error);
        }
    }
    if (status == SLM_OK) {
        slm_context_get_info(t->context, &info, NULL);
        t->n_ctx = info.n_ctx;
        t->tokens = malloc((size_t)info.n_ctx * sizeof(int32_t));
        t->known = malloc(((size_t)info.n_ctx + 1) * sizeof(int32_t));
        if (t->tokens == NULL || t->known == NULL) {
            status = fail(SLM_E_MEMORY, "no memory for the tokens of a conversation");
        }
    }
    if (status != SLM_OK) {
        web_talk_free(t);
        return status;
    }
    *talk = t;
    return SLM_OK;
}

/* tokens <- the prompt: of a chat `text` is its messages as JSON. */
static int tokenize(struct web_talk *t, const char *text, size_t size, double now)
{
    size_t needed = 0;
    int status;
    if (t->form != NULL) {
        slm_chat_options options;
        slm_chat_prompt *prompt = NULL;
        slm_chat_prompt_info info = {.struct_size = sizeof info};
        slm_chat_options_init(&options, sizeof options);
        options.now = (int64_t)now;
        status = slm_chat_render(&prompt, t->form, text, size, &options, &error);
        if (status == SLM_OK) {
            slm_chat_prompt_get_info(prompt, &info, NULL);
            status =
                slm_tokenize_segments(t->model, info.segments, info.n_segments, info.segment_size,
                                      SLM_TEXT_BOS, t->tokens, (size_t)t->n_ctx, &needed, &error);
        }
        if (status == SLM_OK) {
            status = slm_chat_output_begin(t->output, prompt, &error);
        }
        slm_chat_prompt_free(prompt);
    } else {
        status = slm_tokenize(t->model, text, size, SLM_TEXT_BOS, t->tokens, (size_t)t->n_ctx,
                              &needed, &error);
    }
    t->n_tokens = (int32_t)needed;
    return status == SLM_E_SPACE ? fail(SLM_E_FULL, "the conversation is longer than the context")
                                 : status;
}

static int rewind_to(struct web_talk *t, int32_t length)
{
    int status = slm_sequence_rewind(t->context, 0, length, &error);
    if (status == SLM_OK) {
        t->n_known = length;
    }
    return status;
}

/* Keeps what the sequence and the new prompt begin with alike, at least the prompt's last token is
 * computed. A model with states returns to its checkpoint only, or to nothing. */
static int rewind_to_prompt(struct web_talk *t)
{
    int32_t n = 0, length = 0;
    int status = slm_sequence_length(t->context, 0, &length, &error);
    if (status != SLM_OK) {
        return status;
    }
    t->n_known = t->n_known < length ? t->n_known : length;
    while (n < t->n_known && n + 1 < t->n_tokens && t->known[n] == t->tokens[n]) {
        n++;
    }
    if (n == length) {
        return SLM_OK;
    }
    if (rewind_to(t, n) == SLM_OK ||
        (t->checkpoint <= n && rewind_to(t, t->checkpoint) == SLM_OK)) {
        return SLM_OK;
    }
    t->checkpoint = 0;
    return rewind_to(t, 0);
}

static int make_sampler(struct web_talk *t, float temperature, double seed)
{
    slm_sampler_options options;
    slm_sampler_stage stages[3];
    memset(stages, 0, sizeof stages);
    for (int32_t i = 0; i < 3; i++) {
        stages[i].struct_size = sizeof stages[i];
    }
    stages[0].kind = SLM_STAGE_TOP_K;
    stages[0].n = 40;
    stages[1].kind = SLM_STAGE_MIN_P;
    stages[1].value = 0.05f;
    stages[2].kind = SLM_STAGE_TEMPERATURE;
    stages[2].value = temperature;
    slm_sampler_options_init(&options, sizeof options);
    options.seed = (uint64_t)seed;
    slm_sampler_free(t->sampler);
    return slm_sampler_create(&t->sampler, t->model, stages, temperature > 0 ? 3 : 0,
                              sizeof stages[0], &options, &error);
}

/* Ends an answer, finished or not; the next begin takes up what the sequence holds. */
void EXPORT(web_talk_end)(struct web_talk *t)
{
    slm_generate_end(t->generator);
    t->generator = NULL;
}

/* max_tokens < 0: as many as fit. now: seconds since 1970 on the user's clock. */
int EXPORT(web_talk_begin)(struct web_talk *t, const char *text, size_t size, float temperature,
                           double seed, int32_t max_tokens, double now)
{
    web_talk_end(t);
    t->n_generated = t->reason = 0;
    t->max_tokens = max_tokens;
    int status = tokenize(t, text, size, now);
    if (status == SLM_OK && t->n_tokens == 0) {
        status = fail(SLM_E_ARGUMENT, "there is nothing to go on with: the prompt is empty");
    }
    if (status == SLM_OK) {
        status = make_sampler(t, temperature, seed);
    }
    return status == SLM_OK ? rewind_to_prompt(t) : status;
}

/* A part of the prompt, all but its last token, which is the generator's. */
static int read_prompt(struct web_talk *t)
{
    slm_span span;
    int32_t left = t->n_tokens - 1 - t->n_known;
    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    span.position = -1;
    span.tokens = t->tokens + t->n_known;
    span.n_tokens = left < CHUNK ? left : CHUNK;
    int status = slm_eval(t->context, &span, 1, sizeof span, NULL, &error);
    memcpy(t->known + t->n_known, span.tokens, (size_t)span.n_done * sizeof(int32_t));
    t->n_known += span.n_done;
    return status;
}

static int begin_answer(struct web_talk *t)
{
    slm_generate_options options;
    slm_generate_options_init(&options, sizeof options);
    options.flags = 0;
    options.max_tokens = t->max_tokens < 0 ? SLM_AUTO : t->max_tokens;
    options.prompt_tokens = t->tokens + t->n_tokens - 1;
    options.n_prompt_tokens = 1;
    options.chat_output = t->output;
    t->checkpoint = t->n_known;
    slm_sequence_checkpoint(t->context, 0, 0, NULL);
    return slm_generate_begin(&t->generator, t->context, 0, t->sampler, NULL, 0, &options, &error);
}

/* The first piece says that the prompt is done, and each which tokens it took. */
static void count_piece(struct web_talk *t)
{
    slm_generate_stats stats = {.struct_size = sizeof stats};
    slm_generate_get_stats(t->generator, &stats, NULL);
    if (t->n_known == t->n_tokens - 1) {
        t->known[t->n_known++] = t->tokens[t->n_tokens - 1];
    }
    memcpy(t->known + t->n_known, t->piece.tokens, (size_t)t->piece.n_tokens * sizeof(int32_t));
    t->n_known += t->piece.n_tokens;
    t->n_generated = stats.n_generated;
}

#define STEP_PROMPT 1 /* a part of the prompt is read */
#define STEP_PIECE 2  /* web_talk_event tells text */
#define STEP_END 3    /* so it does, and the answer is over */

/* One more part of the work: a STEP_ or a status below 0, after which it may be called again. */
int EXPORT(web_talk_step)(struct web_talk *t)
{
    if (t->generator == NULL) {
        int status = t->n_known + 1 < t->n_tokens ? read_prompt(t) : begin_answer(t);
        return status == SLM_OK ? STEP_PROMPT : status;
    }
    t->piece.struct_size = sizeof t->piece;
    int status = slm_generate_next(t->generator, &t->piece, &error);
    if (status != SLM_OK) {
        return status;
    }
    count_piece(t);
    if (t->output != NULL) {
        status =
            slm_chat_output_push(t->output, t->piece.kind, t->piece.text, t->piece.size, &error);
        if (status != SLM_OK) {
            return status;
        }
    }
    t->reason = t->piece.kind == SLM_PIECE_END ? t->piece.reason : 0;
    return t->reason != 0 ? STEP_END : STEP_PIECE;
}

/* The next bit of text of the last step, at web_talk_text: SLM_CHAT_REASONING, _ANSWER or
 * _TOOL_CALL; 0: no more. */
int EXPORT(web_talk_event)(struct web_talk *t)
{
    t->event.struct_size = sizeof t->event;
    if (t->output == NULL) {
        t->event.kind = t->piece.kind == SLM_PIECE_TEXT ? SLM_CHAT_ANSWER : SLM_CHAT_NONE;
        t->event.text = t->piece.text;
        t->event.size = t->piece.size;
        t->piece.kind = 0;
        return t->event.kind;
    }
    int status = slm_chat_output_next(t->output, &t->event, &error);
    return status != SLM_OK ? status : t->event.kind == SLM_CHAT_END ? 0 : t->event.kind;
}

const char *EXPORT(web_talk_text)(const struct web_talk *t, int32_t which)
{
    return which == 0 ? t->event.text : t->event.name;
}

/* Number `which`: see engine.js. */
double EXPORT(web_talk_number)(const struct web_talk *t, int32_t which)
{
    switch (which) {
    case 0:
        return t->n_tokens;
    case 1:
        return t->n_known < t->n_tokens ? t->n_known : t->n_tokens;
    case 2:
        return t->n_generated;
    case 3:
        return t->reason;
    case 4:
        return t->n_ctx;
    default:
        return (double)t->event.size;
    }
}
