/* fuzz_prompt.c - generation with a tiny model: the input is options, stop strings, stages of a
 * sampler and a prompt (text or tokens).
 *
 * The model is good and the same for all inputs; its vocabulary has bytes, so that generated text
 * is any bytes at all. */
#include "vocabs.h"

#include "fuzz.h"

#define PROMPT_POSITIONS 48

static slm_model *tiny_model(void)
{
    static slm_model *model;
    static struct build b;
    slm_error err;
    struct tiny t = tiny_default();
    if (model == NULL) {
        t.n_vocab = VOCAB_SPM_TOKENS;
        t.keys = vocab_spm;
        tiny_build(&b, &t);
        fuzz_check(tiny_open(&model, &b, NULL, &err) == SLM_OK, "%s", err.message);
    }
    return model;
}

static slm_context *make_context(struct fuzz_memory *memory)
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
    fuzz_check(slm_context_create(&context, tiny_model(), &o, &err) == SLM_OK, "%s", err.message);
    return context;
}

/* NULL, which is greedy, where the stages are refused. */
static slm_sampler *make_sampler(struct fuzz_input *in)
{
    static const float values[8] = {0.0f, 0.5f, 0.9f, 1.0f, 1.5f, -1.0f, 100.0f, 1e-30f};
    slm_logit_bias biases[2];
    slm_sampler_stage stages[4];
    slm_sampler_options o;
    slm_sampler *sampler = NULL;
    slm_error err;
    int32_t n = fuzz_u8(in) % 5;
    memset(stages, 0, sizeof stages);
    for (int32_t i = 0; i < 2 && n > 0; i++) {
        biases[i].token = (int8_t)fuzz_u8(in) * 3;
        biases[i].bias = values[fuzz_u8(in) % 8] * 10;
    }
    for (int32_t i = 0; i < n; i++) {
        stages[i].struct_size = sizeof stages[i];
        stages[i].kind = fuzz_u8(in) % 8;
        stages[i].n = (int8_t)fuzz_u8(in);
        stages[i].value = values[fuzz_u8(in) % 8];
        stages[i].repeat = values[fuzz_u8(in) % 8];
        stages[i].frequency = values[fuzz_u8(in) % 8];
        stages[i].presence = stages[i].value;
        stages[i].n_biases = 2;
        stages[i].biases = biases;
    }
    slm_sampler_options_init(&o, sizeof o);
    o.seed = fuzz_u8(in);
    int status = slm_sampler_create(&sampler, tiny_model(), stages, n, sizeof *stages, &o, &err);
    fuzz_status(status, &err);
    return sampler;
}

struct request {
    slm_generate_options options;
    int32_t sequence;
    int32_t cancel;
    int32_t tokens[16];
    const char *stops[17];
    char texts[17][256];
    const char *prompt;
    size_t size;
};

static void read_request(struct fuzz_input *in, struct request *r)
{
    uint8_t has = fuzz_u8(in);
    slm_generate_options_init(&r->options, sizeof r->options);
    r->sequence = (has & 1) != 0 && fuzz_u8(in) > 200 ? -1 : 0;
    if ((has & 2) != 0) {
        r->options.flags = fuzz_u8(in) % 5;
    }
    if ((has & 4) != 0) {
        r->options.max_tokens = (int8_t)fuzz_u8(in);
    }
    if ((has & 8) != 0) {
        r->options.n_stops = fuzz_u8(in) % 18;
        r->options.stops = r->stops;
    }
    for (int32_t i = 0; i < r->options.n_stops && i < 17; i++) {
        size_t n = 0;
        const char *text = fuzz_text(in, 255, &n);
        n = strnlen(text, n);
        memcpy(r->texts[i], text, n);
        r->stops[i] = r->texts[i];
    }
    if ((has & 16) != 0) {
        r->options.n_prompt_tokens = fuzz_u8(in) % 17;
        r->options.prompt_tokens = r->tokens;
        for (int32_t i = 0; i < r->options.n_prompt_tokens; i++) {
            r->tokens[i] = fuzz_u8(in) + (i % 3) * 16;
        }
    }
    if ((has & 32) != 0) {
        r->options.cancel = &r->cancel;
    }
    if ((has & 64) != 0) {
        r->options.deadline_ns = 1 << 20;
    }
    /* With tokens there may be no text; sometimes there is. */
    if ((has & 16) == 0 || (has & 128) != 0) {
        r->prompt = fuzz_rest(in, &r->size);
    }
}

/* The text a piece adds must be whole, and no stop string may be in all of it. */
static size_t add_piece(const struct request *r, const slm_piece *piece, char *all, size_t size)
{
    fuzz_check(piece->size > 0 && fuzz_is_utf8(piece->text, piece->size), "a piece of %zu bytes",
               piece->size);
    fuzz_check(piece->size <= 4096 - size, "%zu bytes of text", size + piece->size);
    memcpy(all + size, piece->text, piece->size);
    size += piece->size;
    for (int32_t i = 0; i < r->options.n_stops; i++) {
        size_t n = strlen(r->stops[i]);
        for (size_t at = 0; at + n <= size; at++) {
            fuzz_check(memcmp(all + at, r->stops[i], n) != 0, "stop string %d in the text", i);
        }
    }
    return size;
}

static void pull(slm_generator *generator, struct request *r)
{
    static char all[4096];
    slm_piece piece = {.struct_size = sizeof piece};
    slm_generate_stats stats = {.struct_size = sizeof stats};
    slm_error err;
    size_t size = 0;
    for (int calls = 0;; calls++) {
        int status = slm_generate_next(generator, &piece, &err);
        fuzz_status(status, &err);
        fuzz_check(calls < 4000, "it does not end");
        if (status == SLM_E_CANCELLED || status == SLM_E_DEADLINE) {
            r->cancel = 0;
            continue;
        }
        if (status != SLM_OK || piece.kind == SLM_PIECE_END) {
            fuzz_check(status == SLM_OK || status == SLM_E_FULL || status == SLM_E_NUMERIC, "%s",
                       err.message);
            break;
        }
        fuzz_check(piece.kind == SLM_PIECE_TEXT, "kind %d", piece.kind);
        size = add_piece(r, &piece, all, size);
        r->cancel = calls % 3 == 1;
    }
    fuzz_check(slm_generate_get_stats(generator, &stats, &err) == SLM_OK, "%s", err.message);
    fuzz_check(stats.n_generated >= 0 &&
                   stats.n_prompt_done + stats.n_generated <= PROMPT_POSITIONS + 1,
               "%d and %d tokens", stats.n_prompt_done, stats.n_generated);
    fuzz_check(r->options.max_tokens < 0 || stats.n_generated <= r->options.max_tokens,
               "%d tokens, %d wanted", stats.n_generated, r->options.max_tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size, 0};
    struct fuzz_memory memory = fuzz_memory(size);
    static struct request r;
    slm_generator *generator = NULL;
    slm_error err;
    clock_t begin = clock();
    memset(&r, 0, sizeof r);
    slm_sampler *sampler = make_sampler(&in);
    slm_context *context = make_context(&memory);
    read_request(&in, &r);
    char *prompt = r.prompt != NULL ? (char *)fuzz_copy(r.prompt, r.size) : NULL;
    int status = slm_generate_begin(&generator, context, r.sequence, sampler, prompt, r.size,
                                    &r.options, &err);
    free(prompt);
    fuzz_status(status, &err);
    fuzz_check((status == SLM_OK) == (generator != NULL), "%d and a generator", status);
    if (status == SLM_OK) {
        int32_t length = -1;
        pull(generator, &r);
        slm_generate_end(generator);
        fuzz_check(slm_sequence_length(context, 0, &length, &err) == SLM_OK && length >= 0 &&
                       length <= PROMPT_POSITIONS,
                   "%d positions", length);
    }
    slm_sampler_free(sampler);
    slm_context_free(context);
    fuzz_all_freed(&memory);
    fuzz_in_time(begin);
    return 0;
}
