/* fuzz_prompt.c - generation with tiny models: the input is options, stop strings, stages of a
 * sampler and a prompt (text or tokens); or a script of calls on a context (script.h).
 *
 * The models are good and the same for all inputs; their vocabularies have all bytes, so that
 * generated text is any bytes at all. The first byte says how many stages there are, and what else
 * (EXTRA_). */
#include "script.h"
#include "vocabs.h"

#define PROMPT_POSITIONS 48

#define EXTRA_FAIL 1       /* an allocation of the beginning fails */
#define EXTRA_BEFORE 2     /* the sequence has tokens already */
#define EXTRA_BPE 4        /* the byte-level vocabulary, with an end token behind each text */
#define EXTRA_SCRIPT 8     /* no generation but a script */
#define EXTRA_NO_TOKENS 16 /* a number of prompt tokens without tokens, or a negative one */

struct world {
    slm_model *model;
    struct fuzz_memory memory; /* of the model, which stays */
    int32_t n_vocab;
};

static void keys_bpe(struct build *b)
{
    vocab_bpe(b);
    build_int(b, "tokenizer.ggml.add_eos_token", SLM_TYPE_BOOL, 1);
}

static struct world *get_world(int is_bpe)
{
    static struct world worlds[2];
    static struct build files[2];
    struct world *w = &worlds[is_bpe];
    struct tiny t = tiny_default();
    slm_model_options o;
    slm_error err;
    if (w->model == NULL) {
        w->memory = fuzz_memory(0);
        w->n_vocab = is_bpe ? VOCAB_BPE_TOKENS : VOCAB_SPM_TOKENS;
        t.n_vocab = w->n_vocab;
        t.keys = is_bpe ? keys_bpe : vocab_spm;
        tiny_build(&files[is_bpe], &t);
        slm_model_options_init(&o, sizeof o);
        o.alloc = fuzz_alloc;
        o.alloc_user = &w->memory;
        fuzz_check(tiny_open(&w->model, &files[is_bpe], &o, &err) == SLM_OK, "%s", err.message);
    }
    return w;
}

static slm_context *make_context(const struct world *w, struct fuzz_memory *memory)
{
    slm_context *context = NULL;
    slm_error err;
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = PROMPT_POSITIONS;
    o.n_batch = 8;
    o.n_threads = 1;
    o.alloc = fuzz_alloc;
    o.alloc_user = memory;
    fuzz_check(slm_context_create(&context, w->model, &o, &err) == SLM_OK, "%s", err.message);
    return context;
}

/* NULL, which is greedy, where the stages are refused. */
static slm_sampler *make_sampler(const struct world *w, struct fuzz_input *in, int32_t n)
{
    static const float values[16] = {0.0f,  0.5f, 0.9f,  1.0f,     1.5f, -1.0f,     100.0f, 1e-30f,
                                     -2.0f, 0.1f, 1e30f, INFINITY, NAN,  -INFINITY, 3.0f,   -1e30f};
    slm_logit_bias biases[2];
    slm_sampler_stage stages[4];
    slm_sampler_options o;
    slm_sampler *sampler = NULL;
    slm_error err;
    memset(stages, 0, sizeof stages);
    for (int32_t i = 0; i < 2 && n > 0; i++) {
        biases[i].token = script_token(in, w->n_vocab);
        biases[i].bias = values[fuzz_u8(in) % 16] * 10;
    }
    for (int32_t i = 0; i < n; i++) {
        stages[i].struct_size = sizeof stages[i];
        stages[i].kind = fuzz_u8(in) % 8;
        stages[i].n = (int8_t)fuzz_u8(in) * (stages[i].kind == SLM_STAGE_PENALTIES ? 40 : 1);
        stages[i].value = values[fuzz_u8(in) % 16];
        stages[i].repeat = values[fuzz_u8(in) % 16];
        stages[i].frequency = values[fuzz_u8(in) % 16];
        stages[i].presence = stages[i].value;
        stages[i].n_biases = stages[i].n < -100 ? -1 : 2;
        stages[i].biases = stages[i].n > 100 ? NULL : biases;
    }
    slm_sampler_options_init(&o, sizeof o);
    o.seed = fuzz_u8(in);
    int status = slm_sampler_create(&sampler, w->model, stages, n, sizeof *stages, &o, &err);
    fuzz_status(status, &err);
    return sampler;
}

struct request {
    slm_generate_options options;
    int32_t sequence;
    int32_t cancel;
    int32_t n_progress;
    int32_t tokens[16];
    const char *stops[17];
    char texts[17][256];
    const char *prompt;
    size_t size;
};

/* Stops the prompt after its second batch. */
static int stop_once(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return ++((struct request *)user)->n_progress == 2;
}

static void read_stops(struct fuzz_input *in, struct request *r)
{
    uint8_t n = fuzz_u8(in);
    r->options.n_stops = n == 255 ? -1 : n % 18;
    r->options.stops = r->stops;
    for (int32_t i = 0; i < r->options.n_stops; i++) {
        size_t size = 0;
        const char *text = fuzz_text(in, 255, &size);
        size = strnlen(text, size);
        memcpy(r->texts[i], text, size);
        r->stops[i] = r->texts[i];
    }
}

static void read_request(struct fuzz_input *in, struct request *r, int32_t extra)
{
    uint8_t has = fuzz_u8(in);
    slm_generate_options_init(&r->options, sizeof r->options);
    r->sequence = (has & 1) != 0 && fuzz_u8(in) > 200 ? -1 : 0;
    if ((has & 2) != 0) {
        uint8_t how = fuzz_u8(in);
        r->options.flags = how % 5;
        r->options.heal = how >= 128;
    }
    if ((has & 4) != 0) {
        r->options.max_tokens = (int8_t)fuzz_u8(in);
    }
    if ((has & 8) != 0) {
        read_stops(in, r);
    }
    if ((has & 16) != 0) {
        r->options.n_prompt_tokens = fuzz_u8(in) % 17;
        r->options.prompt_tokens = r->tokens;
        for (int32_t i = 0; i < r->options.n_prompt_tokens; i++) {
            r->tokens[i] = fuzz_u8(in) + (i % 3) * 16;
        }
    }
    if ((extra & EXTRA_NO_TOKENS) != 0) {
        r->options.n_prompt_tokens = 1 - r->options.n_prompt_tokens;
    }
    if ((has & 32) != 0) {
        r->options.cancel = &r->cancel;
        r->options.progress = stop_once;
        r->options.progress_user = r;
    }
    if ((has & 64) != 0) {
        r->options.step_ns = 1 << 20;
    }
    /* With tokens there may be no text; sometimes there is. */
    if ((has & 16) == 0 || (has & 128) != 0) {
        r->prompt = fuzz_rest(in, &r->size);
    }
}

/* ---- Pulling --------------------------------------------------------------------------------- */

struct answer {
    char text[4096];
    size_t size;
    int end; /* SLM_END_, or a status below 0 */
};

/* The text a piece adds must be whole, and no stop string may be in all of it. */
static void add_piece(const struct request *r, const slm_piece *piece, struct answer *a)
{
    fuzz_check(piece->size > 0 && fuzz_is_utf8(piece->text, piece->size), "a piece of %zu bytes",
               piece->size);
    fuzz_check(piece->size <= sizeof a->text - a->size, "%zu bytes of text", a->size + piece->size);
    memcpy(a->text + a->size, piece->text, piece->size);
    a->size += piece->size;
    for (int32_t i = 0; i < r->options.n_stops; i++) {
        size_t n = strlen(r->stops[i]);
        for (size_t at = 0; at + n <= a->size; at++) {
            fuzz_check(memcmp(a->text + at, r->stops[i], n) != 0, "stop string %d in the text", i);
        }
    }
}

/* Everything that comes, and how it ends. */
static void pull(slm_generator *generator, struct request *r, struct answer *a)
{
    slm_piece piece = {.struct_size = sizeof piece};
    slm_error err;
    a->size = 0;
    for (int calls = 0;; calls++) {
        int status = slm_generate_next(generator, &piece, &err);
        fuzz_status(status, &err);
        fuzz_check(calls < 4000, "it does not end");
        if (status == SLM_E_CANCELLED || status == SLM_E_DEADLINE) {
            r->cancel = 0;
            continue;
        }
        if (status != SLM_OK || piece.kind == SLM_PIECE_END) {
            fuzz_check(status == SLM_OK || status == SLM_E_NUMERIC, "%s", err.message);
            a->end = status == SLM_OK ? piece.reason : status;
            break;
        }
        fuzz_check(piece.kind == SLM_PIECE_TEXT, "kind %d", piece.kind);
        add_piece(r, &piece, a);
        r->cancel = calls % 3 == 1;
    }
    int again = slm_generate_next(generator, &piece, &err);
    fuzz_check((again == SLM_OK ? piece.reason : again) == a->end, "%d again, not %d", again,
               a->end);
}

static void check_stats(const slm_generator *generator, const struct request *r)
{
    slm_generate_stats stats = {.struct_size = sizeof stats};
    slm_error err;
    fuzz_check(slm_generate_get_stats(generator, &stats, &err) == SLM_OK, "%s", err.message);
    fuzz_check(stats.n_generated >= 0 &&
                   stats.n_prompt_done + stats.n_generated <= PROMPT_POSITIONS + 1,
               "%d and %d tokens", stats.n_prompt_done, stats.n_generated);
    fuzz_check(r->options.max_tokens < 0 || stats.n_generated <= r->options.max_tokens,
               "%d tokens, %d wanted", stats.n_generated, r->options.max_tokens);
}

/* ---- All ------------------------------------------------------------------------------------- */

struct run {
    struct world *world;
    struct fuzz_memory *memory;
    slm_sampler *sampler;
    struct request *request;
    int32_t n_before; /* tokens that the sequence has already */
    uint8_t failing;  /* which allocation fails, and whose; 0: none */
};

static int begin(const struct run *run, slm_context *context, slm_generator **generator)
{
    const struct request *r = run->request;
    char *prompt = r->prompt != NULL ? (char *)fuzz_copy(r->prompt, r->size) : NULL;
    slm_error err;
    int status = slm_generate_begin(generator, context, r->sequence, run->sampler, prompt, r->size,
                                    &r->options, &err);
    free(prompt);
    fuzz_status(status, &err);
    fuzz_check((status == SLM_OK) == (*generator != NULL), "%d and a generator", status);
    return status;
}

/* Without memory it does not begin, and the next one that has it is not the worse for it. */
static int begin_failing(const struct run *run, slm_context *context, slm_generator **generator)
{
    struct fuzz_memory *m = run->failing % 2 != 0 ? run->memory : &run->world->memory;
    int64_t n_blocks = m->n_blocks;
    int32_t length = -1;
    slm_error err;
    m->fails_in = 1 + run->failing / 2 % 8;
    int status = begin(run, context, generator);
    m->fails_in = 0;
    if (status == SLM_E_MEMORY) {
        fuzz_check(m->n_blocks == n_blocks, "%lld blocks", (long long)(m->n_blocks - n_blocks));
        fuzz_check(slm_sequence_length(context, 0, &length, &err) == SLM_OK &&
                       length == run->n_before,
                   "%d positions", length);
        status = begin(run, context, generator);
        fuzz_check(status != SLM_E_MEMORY, "again");
    }
    return status;
}

/* One context, one generation. Returns whether there was any. */
static int generate(const struct run *run, struct answer *a)
{
    static const int32_t before[PROMPT_POSITIONS] = {1, 70, 80, 90, 100};
    slm_context *context = make_context(run->world, run->memory);
    slm_generator *generator = NULL;
    slm_error err;
    if (run->n_before > 0) {
        slm_span span = {.struct_size = sizeof span};
        span.position = -1;
        span.n_tokens = run->n_before;
        span.tokens = before;
        fuzz_check(slm_eval(context, &span, 1, sizeof span, NULL, &err) == SLM_OK, "%s",
                   err.message);
    }
    int status = (run->failing != 0 ? begin_failing : begin)(run, context, &generator);
    if (status == SLM_OK) {
        int32_t length = -1;
        pull(generator, run->request, a);
        check_stats(generator, run->request);
        slm_generate_end(generator);
        fuzz_check(slm_sequence_length(context, 0, &length, &err) == SLM_OK &&
                       length >= run->n_before && length <= PROMPT_POSITIONS,
                   "%d positions", length);
    }
    slm_context_free(context);
    return status == SLM_OK;
}

/* What was cancelled now and then is what comes when nothing disturbs. (A deadline cuts batches
 * elsewhere, and rounds otherwise.) */
static void generate_undisturbed(const struct run *run, const struct answer *disturbed)
{
    static struct answer a;
    slm_error err;
    run->request->options.cancel = NULL;
    run->request->options.progress = NULL;
    fuzz_check(run->sampler == NULL || slm_sampler_rewind(run->sampler, INT32_MAX, &err) == SLM_OK,
               "%s", err.message);
    fuzz_check(generate(run, &a), "this time it did not begin");
    fuzz_check(a.end == disturbed->end && a.size == disturbed->size &&
                   memcmp(a.text, disturbed->text, a.size) == 0,
               "end %d and '%.*s', undisturbed %d and '%.*s'", disturbed->end, (int)disturbed->size,
               disturbed->text, a.end, (int)a.size, a.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size, 0};
    struct fuzz_memory memory = fuzz_memory(size);
    static struct request r;
    static struct answer a;
    struct run run = {NULL, &memory, NULL, &r, 0, 0};
    clock_t start = clock();
    uint8_t first = fuzz_u8(&in);
    int32_t extra = first / 5;
    memset(&r, 0, sizeof r);
    run.world = get_world((extra & EXTRA_BPE) != 0);
    run.sampler = make_sampler(run.world, &in, first % 5);
    if ((extra & EXTRA_SCRIPT) != 0) {
        run.sampler = script_play(&in, run.world->model, run.sampler, &memory);
    } else {
        run.failing = (extra & EXTRA_FAIL) != 0 ? fuzz_u8(&in) : 0;
        run.n_before = (extra & EXTRA_BEFORE) != 0 ? fuzz_u8(&in) % (PROMPT_POSITIONS + 1) : 0;
        read_request(&in, &r, extra);
        if (generate(&run, &a) && r.options.cancel != NULL &&
            r.options.step_ns == SLM_NO_DEADLINE) {
            generate_undisturbed(&run, &a);
        }
    }
    slm_sampler_free(run.sampler);
    fuzz_all_freed(&memory);
    fuzz_in_time(start);
    return 0;
}
