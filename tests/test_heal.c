/* test_heal.c - token healing: which tokens are taken back and which may follow, against a search of
 * the whole vocabulary by hand; and what comes out of a model. */
#include "../slm.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>

#include "fuzz/vocabs.h"
#include "testing.h"

#define VOCAB_PATH "../shared/vocab/ggml-vocab-"
#define POSITIONS 256

/* ---- Models ---------------------------------------------------------------------------------- */

static slm_model *open_path(const char *path, uint32_t flags)
{
    slm_model *model = NULL;
    slm_model_options o;
    slm_error err;
    slm_model_options_init(&o, sizeof o);
    o.flags = flags;
    if (slm_model_open(&model, path, &o, &err) != SLM_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    return model;
}

/* Random weights with a vocabulary of vocabs.h. b must live as long. */
static slm_model *open_tiny(struct build *b, void (*keys)(struct build *b), int64_t n_vocab)
{
    slm_model *model = NULL;
    struct tiny t = tiny_default();
    slm_error err;
    t.n_vocab = n_vocab;
    t.keys = keys;
    tiny_build(b, &t);
    if (tiny_open(&model, b, NULL, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    return model;
}

static slm_context *make_context(slm_model *model)
{
    slm_context_options o;
    slm_context *c = NULL;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = POSITIONS;
    o.n_threads = 1;
    assert_int_equal(slm_context_create(&c, model, &o, NULL), SLM_OK);
    return c;
}

/* ---- By hand --------------------------------------------------------------------------------- */

struct bytes {
    uint8_t s[1024];
    size_t n;
};

static struct bytes bytes_of(const slm_model *model, int32_t token)
{
    struct bytes b;
    assert_int_equal(slm_detokenize(model, &token, 1, 0, (char *)b.s, sizeof b.s, &b.n, NULL),
                     SLM_OK);
    return b;
}

static int begins_with(const struct bytes *b, const uint8_t *s, size_t n)
{
    return b->n >= n && memcmp(b->s, s, n) == 0;
}

static int32_t n_tokens_of(const slm_model *model)
{
    slm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    return info.n_vocab;
}

/* A prompt's tokens, how many stay, and the bytes of the others. */
struct cut {
    int32_t tokens[512];
    size_t n;
    size_t n_kept;
    struct bytes back;
    uint8_t writable[HEAL_BYTES + 1]; /* from here, exactly, by tokens */
};

/* As many as some token begins with and goes on from: the longest, within the bytes healing may take. */
static struct cut cut_by_hand(const slm_model *model, const char *prompt, size_t size)
{
    struct cut c;
    struct bytes back = {{0}, 0};
    int32_t n_vocab = n_tokens_of(model);
    memset(&c, 0, sizeof c);
    assert_int_equal(slm_tokenize(model, prompt, size, SLM_TEXT_BOS | SLM_TEXT_SPECIAL, c.tokens,
                                  512, &c.n, NULL),
                     SLM_OK);
    c.n_kept = c.n;
    for (size_t i = c.n; i-- > 1;) {
        struct bytes b = bytes_of(model, c.tokens[i]);
        if (b.n == 0 || b.n + back.n > HEAL_BYTES) {
            break;
        }
        memmove(back.s + b.n, back.s, back.n);
        memcpy(back.s, b.s, b.n);
        back.n += b.n;
        for (int32_t token = 0; token < n_vocab; token++) {
            b = bytes_of(model, token);
            if (b.n > back.n && begins_with(&b, back.s, back.n)) {
                c.n_kept = i;
                c.back = back;
                break;
            }
        }
    }
    c.writable[c.back.n] = 1;
    for (size_t at = c.back.n; at-- > 0;) {
        for (int32_t token = 0; token < n_vocab; token++) {
            struct bytes b = bytes_of(model, token);
            c.writable[at] |= b.n > 0 && b.n <= c.back.n - at &&
                              memcmp(b.s, c.back.s + at, b.n) == 0 && c.writable[at + b.n];
        }
    }
    return c;
}

static int may_follow(const struct cut *c, const struct bytes *b, size_t at)
{
    size_t rest = c->back.n - at;
    if (b->n == 0) {
        return 0;
    }
    return b->n > rest ? begins_with(b, c->back.s + at, rest)
                       : memcmp(b->s, c->back.s + at, b->n) == 0 && c->writable[at + b->n];
}

/* The library's decision and its candidates are those by hand. Returns how many tokens go back. */
static size_t compare_plan(const slm_model *model, const char *prompt, size_t size)
{
    struct cut c = cut_by_hand(model, prompt, size);
    struct memory memory = memory_make(NULL, NULL, UINT64_MAX);
    struct heal h;
    int32_t n_vocab = n_tokens_of(model);
    int32_t n_tokens = (int32_t)c.n;
    float *logits = (float *)calloc((size_t)n_vocab, sizeof *logits);
    assert_int_equal(heal_begin(&h, &model->vocab, n_vocab, c.tokens, &n_tokens, &memory, NULL),
                     SLM_OK);
    assert_int_equal(n_tokens, c.n_kept);
    assert_int_equal(h.n, c.back.n);
    assert_memory_equal(h.text, c.back.s, c.back.n);
    for (size_t at = 0; at < c.back.n; at++) {
        int32_t n = 0;
        int32_t i = 0;
        h.at = (int32_t)at;
        if (!c.writable[at]) {
            continue; /* never reached */
        }
        heal_collect(&h, logits, &n);
        for (int32_t token = 0; token < n_vocab; token++) {
            struct bytes b = bytes_of(model, token);
            if (may_follow(&c, &b, at)) {
                assert_true(i < n);
                assert_int_equal(h.candidates[i++].token, token);
            }
        }
        assert_int_equal(i, n);
        assert_true(n > 0 && (uint64_t)n <= h.room);
    }
    heal_free(&h, &memory);
    free(logits);
    return c.n - c.n_kept;
}

/* ---- Running --------------------------------------------------------------------------------- */

struct run {
    char text[8192];
    size_t size;
    int32_t reason;
    slm_generate_stats stats;
    int32_t length; /* of the sequence */
};

static slm_generate_options heal_options(int32_t max_tokens)
{
    slm_generate_options o;
    slm_generate_options_init(&o, sizeof o);
    o.flags |= SLM_TEXT_SPECIAL;
    o.max_tokens = max_tokens;
    o.heal = 1;
    return o;
}

static slm_sampler *biased(slm_model *model, int32_t token, float bias)
{
    slm_sampler *s = NULL;
    slm_logit_bias b = {token, bias};
    slm_sampler_stage stages[2] = {
        {.struct_size = sizeof *stages, .kind = SLM_STAGE_LOGIT_BIAS, .n_biases = 1, .biases = &b},
        {.struct_size = sizeof *stages, .kind = SLM_STAGE_TOP_K, .n = 1}};
    assert_int_equal(slm_sampler_create(&s, model, stages, 2, sizeof *stages, NULL, NULL), SLM_OK);
    return s;
}

static struct run pull(slm_generator *g, slm_context *c, int32_t *cancel)
{
    struct run r = {.stats = {.struct_size = sizeof r.stats}};
    for (int tries = 0; tries < 100000; tries++) {
        slm_piece p = {.struct_size = sizeof p};
        int status = slm_generate_next(g, &p, NULL);
        if (status == SLM_E_CANCELLED || status == SLM_E_DEADLINE) {
            *cancel = 0;
            continue;
        }
        assert_int_equal(status, SLM_OK);
        if (p.kind == SLM_PIECE_END) {
            r.reason = p.reason;
            break;
        }
        memcpy(r.text + r.size, p.text, p.size);
        r.size += p.size;
        if (cancel != NULL) {
            *cancel = 1;
        }
    }
    assert_true(r.reason != 0);
    assert_int_equal(slm_generate_get_stats(g, &r.stats, NULL), SLM_OK);
    assert_int_equal(slm_sequence_length(c, 0, &r.length, NULL), SLM_OK);
    slm_generate_end(g);
    return r;
}

static struct run run_with(slm_model *model, slm_sampler *s, const char *prompt, size_t size,
                           const slm_generate_options *o)
{
    slm_context *c = make_context(model);
    slm_generator *g = NULL;
    slm_error err;
    if (slm_generate_begin(&g, c, 0, s, prompt, size, o, &err) != SLM_OK) {
        fail_msg("'%.*s': %s", (int)size, prompt, err.message);
    }
    struct run r = pull(g, c, NULL);
    slm_context_free(c);
    return r;
}

static const float *eval_last(slm_context *c, const int32_t *tokens, size_t n)
{
    const float *logits = NULL;
    slm_span span = {.struct_size = sizeof span, .position = -1, .want = SLM_WANT_LAST};
    span.tokens = tokens;
    span.n_tokens = (int32_t)n;
    assert_int_equal(slm_eval(c, &span, 1, sizeof span, NULL, NULL), SLM_OK);
    assert_int_equal(slm_logits(c, -1, &logits, NULL, NULL), SLM_OK);
    return logits;
}

/* The best token, `lift` on one of them, among those that may stand at `at`. */
static int32_t best_by_hand(const slm_model *model, const float *logits, const struct cut *c,
                            size_t at, int32_t lifted, float lift)
{
    int32_t best = -1;
    float most = 0;
    for (int32_t token = 0; token < n_tokens_of(model); token++) {
        float x = logits[token] + (token == lifted ? lift : 0);
        struct bytes b = at < c->back.n ? bytes_of(model, token) : c->back;
        if ((at == c->back.n || may_follow(c, &b, at)) && (best < 0 || x > most)) {
            best = token;
            most = x;
        }
    }
    return best;
}

/* The same as run_with, token by token; the stats and length that it must have. */
static struct run run_by_hand(slm_model *model, int32_t lifted, float lift, const char *prompt,
                              size_t size, int32_t max_tokens)
{
    struct run r = {.reason = SLM_END_LIMIT};
    struct cut cut = cut_by_hand(model, prompt, size);
    slm_context *c = make_context(model);
    slm_text_stream stream;
    const float *logits = eval_last(c, cut.tokens, cut.n_kept);
    size_t at = 0;
    size_t n = 0;
    memset(&stream, 0, sizeof stream);
    r.stats.n_prompt = (int32_t)cut.n_kept;
    while (r.stats.n_generated < max_tokens && r.reason == SLM_END_LIMIT) {
        int32_t token = best_by_hand(model, logits, &cut, at, lifted, lift);
        struct bytes b = bytes_of(model, token);
        size_t rest = cut.back.n - at;
        if (rest > 0 && b.n > rest) {
            struct stream s;
            struct text_sink sink = {r.text + r.size, sizeof r.text - r.size, 0};
            memcpy(&s, &stream, sizeof s);
            for (size_t i = rest; i < b.n; i++) {
                stream_put(&s, &sink, b.s[i]);
            }
            memcpy(&stream, &s, sizeof s);
            r.size += sink.n;
        } else if (rest == 0) {
            assert_int_equal(slm_decode_token(model, &stream, token, 0, r.text + r.size,
                                              sizeof r.text - r.size, &n, NULL),
                             SLM_OK);
            r.size += n;
            r.reason = vocab_is_end(&model->vocab, token) ? SLM_END_TOKEN : r.reason;
        }
        r.stats.n_generated += rest == 0 || b.n > rest;
        r.stats.n_prompt += rest > 0 && b.n <= rest;
        at += b.n < rest ? b.n : rest;
        logits = eval_last(c, &token, 1);
    }
    assert_int_equal(
        slm_decode_token(model, &stream, -1, 0, r.text + r.size, sizeof r.text - r.size, &n, NULL),
        SLM_OK);
    r.size += n;
    r.length = r.stats.n_prompt + r.stats.n_generated;
    slm_context_free(c);
    return r;
}

static void assert_same_run(const char *prompt, size_t size, const struct run *a,
                            const struct run *b)
{
    if (a->size != b->size || memcmp(a->text, b->text, a->size) != 0) {
        fail_msg("'%.*s' gives '%.*s', by hand '%.*s'", (int)size, prompt, (int)a->size, a->text,
                 (int)b->size, b->text);
    }
    assert_int_equal(a->reason, b->reason);
    assert_int_equal(a->stats.n_generated, b->stats.n_generated);
    assert_int_equal(a->stats.n_prompt, b->stats.n_prompt);
    assert_int_equal(a->stats.n_prompt_done, b->stats.n_prompt);
    assert_int_equal(a->length, b->length);
}

static uint32_t random_next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Prompts of letters that these vocabularies have tokens of, bytes that are no characters, and special
 * tokens: planned and run as by hand, with one token or another made the likeliest. */
static void compare_random(slm_model *model, const char *const *parts, uint32_t n_parts,
                           uint32_t rounds)
{
    uint32_t state = 7;
    int32_t healed = 0;
    int32_t in_steps = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        char prompt[256];
        size_t size = 0;
        for (uint32_t k = 1 + random_next(&state) % 12; k > 0; k--) {
            const char *part = parts[random_next(&state) % n_parts];
            memcpy(prompt + size, part, strlen(part));
            size += strlen(part);
        }
        healed += compare_plan(model, prompt, size) > 0;
        int32_t lifted = (int32_t)(random_next(&state) % (uint32_t)n_tokens_of(model));
        slm_sampler *s = biased(model, lifted, 3);
        slm_generate_options o = heal_options(6);
        struct run a = run_with(model, s, prompt, size, &o);
        struct run b = run_by_hand(model, lifted, 3, prompt, size, 6);
        assert_same_run(prompt, size, &a, &b);
        in_steps += a.stats.n_prompt > (int32_t)cut_by_hand(model, prompt, size).n_kept;
        slm_sampler_free(s);
    }
    print_message("%d of %u prompts healed, %d of them in steps\n", healed, rounds, in_steps);
    assert_true(healed > (int32_t)rounds / 8);
    assert_true(in_steps > 0);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void a_sentencepiece_prompt_heals_as_by_hand(void **state)
{
    static const char *const parts[] = {" ",  "t",        "h",        "e",          "a",
                                        "n",  "o",        "th",       "x",          " ",
                                        "\n", "\xC3\xA9", "\xE2\x82", "<|control|>"};
    struct build b;
    slm_model *model = open_tiny(&b, vocab_spm, VOCAB_SPM_TOKENS);
    (void)state;
    compare_random(model, parts, SLM_COUNT(parts), 60);
    slm_model_free(model);
    build_free(&b);
}

static void a_byte_level_prompt_heals_as_by_hand(void **state)
{
    static const char *const parts[] = {" ", "t", "h",  "e",        "a",    "n",
                                        "1", "2", "\n", "\xC3\xA9", "\xFF", "<|endoftext|>"};
    struct build b;
    slm_model *model = open_tiny(&b, vocab_bpe, VOCAB_BPE_TOKENS);
    (void)state;
    compare_random(model, parts, SLM_COUNT(parts), 60);
    slm_model_free(model);
    build_free(&b);
}

static void a_story_cut_anywhere_goes_on_better_healed(void **state)
{
    static const char begin[] = "Once upon a time there was";
    slm_model *model = open_path(TESTING_STORYTELLER, 0);
    slm_generate_options o = heal_options(60);
    struct run whole = run_with(model, NULL, begin, sizeof begin - 1, &o);
    char text[sizeof begin + sizeof whole.text];
    int same[2] = {0, 0};
    int n = 0;
    (void)state;
    memcpy(text, begin, sizeof begin - 1);
    memcpy(text + sizeof begin - 1, whole.text, whole.size);
    for (size_t k = 1; k + 40 < whole.size; k += 7) {
        size_t size = sizeof begin - 1 + k;
        n++;
        for (o.heal = 0; o.heal < 2; o.heal++) {
            o.max_tokens = 8;
            struct run r = run_with(model, NULL, text, size, &o);
            assert_true(r.size < whole.size - k);
            same[o.heal] += memcmp(r.text, whole.text + k, r.size) == 0;
        }
        o.heal = 1;
        struct run r = run_with(model, NULL, text, size, &o);
        struct run hand = run_by_hand(model, -1, 0, text, size, 8);
        assert_same_run(text, size, &r, &hand);
    }
    print_message("of %d cuts %d go on as before unhealed, %d healed\n", n, same[0], same[1]);
    assert_true(same[1] > same[0]);
    slm_model_free(model);
}

/* "http:" ends with a token that "://" begins with. */
static void a_url_heals_in_real_vocabularies(void **state)
{
    static const char *const names[] = {"gpt-2", "llama-bpe", "llama-spm", "gemma-4"};
    char path[128];
    int n = 0;
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(names); i++) {
        snprintf(path, sizeof path, VOCAB_PATH "%s.gguf", names[i]);
        if (!testing_exists(path)) {
            printf("skipped: %s is not here\n", path);
            continue;
        }
        slm_model *model = open_path(path, SLM_LOAD_METADATA);
        static const char *const prompts[] = {"the link is <a href=\"http:", "I am ", "Hello, wor",
                                              "\xE2\x82"};
        size_t back = 0;
        for (int32_t k = 0; k < SLM_COUNT(prompts); k++) {
            size_t one = compare_plan(model, prompts[k], strlen(prompts[k]));
            back = k == 0 ? one : back;
        }
        assert_true(back > 0);
        slm_model_free(model);
        n++;
    }
    if (n == 0) {
        skip();
    }
}

static void what_cannot_be_healed_is_left_as_it_is(void **state)
{
    struct build b;
    slm_model *model = open_tiny(&b, vocab_bpe, VOCAB_BPE_TOKENS);
    (void)state;
    /* One token, which must stay; a special token at the end; one that nothing goes on from. */
    static const char *const prompts[] = {" t", "an", "a<|endoftext|>", "a the"};
    for (int32_t i = 0; i < SLM_COUNT(prompts); i++) {
        slm_generate_options o = heal_options(5);
        size_t size = strlen(prompts[i]);
        o.flags = SLM_TEXT_SPECIAL;
        struct run healed = run_with(model, NULL, prompts[i], size, &o);
        o.heal = 0;
        struct run plain = run_with(model, NULL, prompts[i], size, &o);
        assert_same_run(prompts[i], size, &healed, &plain);
    }
    /* Nothing will be chosen: nothing is taken back. */
    slm_generate_options o = heal_options(0);
    struct run r = run_with(model, NULL, "a t", 3, &o);
    assert_int_equal(r.stats.n_prompt_done, 3); /* with the start token */
    assert_int_equal(r.length, 3);
    o.heal = 2;
    slm_generator *g = NULL;
    slm_error err;
    slm_context *c = make_context(model);
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "a t", 3, &o, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "heal is 2"));
    slm_context_free(c);
    slm_model_free(model);
    build_free(&b);
}

static void only_the_new_prompt_is_taken_back(void **state)
{
    struct build b;
    slm_model *model = open_tiny(&b, vocab_bpe, VOCAB_BPE_TOKENS);
    slm_context *c = make_context(model);
    slm_generate_options o = heal_options(3);
    slm_generator *g = NULL;
    int32_t space_t = 0;
    (void)state;
    assert_int_equal(slm_token_find(model, "\xC4\xA0t", 3, &space_t, NULL), SLM_OK);
    o.prompt_tokens = &space_t;
    o.n_prompt_tokens = 1;
    for (int32_t i = 0; i < 2; i++) { /* the second finds tokens in the sequence */
        int32_t before = 0;
        assert_int_equal(slm_sequence_length(c, 0, &before, NULL), SLM_OK);
        assert_int_equal(slm_generate_begin(&g, c, 0, NULL, NULL, 0, &o, NULL), SLM_OK);
        struct run r = pull(g, c, NULL);
        assert_int_equal(r.stats.n_prompt, 1);
        assert_int_equal(r.length, before + 4);
    }
    /* A prompt of tokens heals like its text. */
    int32_t tokens[8];
    size_t n = 0;
    assert_int_equal(slm_tokenize(model, "an t", 4, SLM_TEXT_BOS, tokens, 8, &n, NULL), SLM_OK);
    o.prompt_tokens = tokens;
    o.n_prompt_tokens = (int32_t)n;
    assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, NULL, 0, &o, NULL), SLM_OK);
    struct run ids = pull(g, c, NULL);
    o.prompt_tokens = NULL;
    o.n_prompt_tokens = 0;
    struct run text = run_with(model, NULL, "an t", 4, &o);
    assert_same_run("an t", 4, &ids, &text);
    slm_context_free(c);
    slm_model_free(model);
    build_free(&b);
}

/* " t" is taken back; all that agrees is banned, but " the". Then all of it: the prompt stands. */
static void a_sampler_that_lets_nothing_pass_leaves_the_prompt(void **state)
{
    static const char *const texts[] = {"\xC4\xA0", "\xC4\xA0t", "\xC4\xA0the"};
    struct build b;
    slm_model *model = open_tiny(&b, vocab_bpe, VOCAB_BPE_TOKENS);
    slm_logit_bias biases[3];
    (void)state;
    for (int32_t i = 0; i < 3; i++) {
        biases[i].bias = -INFINITY;
        assert_int_equal(slm_token_find(model, texts[i], strlen(texts[i]), &biases[i].token, NULL),
                         SLM_OK);
    }
    for (int32_t n = 2; n <= 3; n++) {
        slm_sampler_stage stages[2] = {
            {.struct_size = sizeof *stages, .kind = SLM_STAGE_LOGIT_BIAS},
            {.struct_size = sizeof *stages, .kind = SLM_STAGE_PENALTIES, .n = 8, .repeat = 1.5f}};
        slm_sampler *s = NULL;
        stages[0].n_biases = n;
        stages[0].biases = biases;
        assert_int_equal(slm_sampler_create(&s, model, stages, 2, sizeof *stages, NULL, NULL),
                         SLM_OK);
        slm_generate_options o = heal_options(1);
        struct run r = run_with(model, s, "a t", 3, &o);
        if (n == 2) {
            assert_int_equal(r.size, 2);
            assert_memory_equal(r.text, "he", 2);
            assert_int_equal(r.stats.n_prompt, 2);
        } else {
            assert_int_equal(r.stats.n_prompt, 3);
        }
        assert_int_equal(s->n_accepted, r.length - 2);
        slm_sampler_free(s);
    }
    slm_model_free(model);
    build_free(&b);
}

static void a_stop_string_meets_only_what_is_new(void **state)
{
    static const char prompt[] = "Once upon a time there was a lit";
    slm_model *model = open_path(TESTING_STORYTELLER, 0);
    slm_generate_options o = heal_options(20);
    struct run whole = run_with(model, NULL, prompt, sizeof prompt - 1, &o);
    static const char *const stops[] = {"tle"};
    (void)state;
    print_message("'%.*s'\n", (int)whole.size, whole.text);
    assert_memory_equal(whole.text, "tle ", 4);
    o.stops = stops;
    o.n_stops = 1;
    struct run r = run_with(model, NULL, prompt, sizeof prompt - 1, &o);
    assert_int_equal(r.reason, SLM_END_STOP);
    assert_int_equal(r.size, 0);
    static const char *const across[] = {"little "}; /* begins in the prompt */
    o.stops = across;
    r = run_with(model, NULL, prompt, sizeof prompt - 1, &o);
    assert_int_equal(r.size, whole.size);
    slm_model_free(model);
}

static void a_cancel_or_a_deadline_in_between_changes_nothing(void **state)
{
    static const char prompt[] = "Once upon a time there was a lit";
    slm_model *model = open_path(TESTING_STORYTELLER, 0);
    slm_generate_options o = heal_options(20);
    struct run whole = run_with(model, NULL, prompt, sizeof prompt - 1, &o);
    slm_context *c = make_context(model);
    slm_generator *g = NULL;
    int32_t cancel = 1;
    (void)state;
    o.cancel = &cancel;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, prompt, sizeof prompt - 1, &o, NULL),
                     SLM_OK);
    struct run r = pull(g, c, &cancel);
    assert_same_run(prompt, sizeof prompt - 1, &r, &whole);
    slm_context_free(c);

    c = make_context(model);
    cancel = 0;
    o.step_ns = 50000000;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, prompt, sizeof prompt - 1, &o, NULL),
                     SLM_OK);
    r = pull(g, c, &cancel);
    assert_int_equal(r.size, whole.size);
    slm_context_free(c);
    slm_model_free(model);
}

/* The prompt's end is no reasoning token; the budget begins behind it. */
static void a_budget_counts_from_the_end_of_the_prompt(void **state)
{
    static const char prompt[] = "Once upon a time there was a lit";
    slm_model *model = open_path(TESTING_STORYTELLER, 0);
    slm_chat_template *t = NULL;
    slm_chat_output *output = NULL;
    static const char text[] = "{{ messages[0].content }}{{ '<think>\n' }}";
    (void)state;
    assert_int_equal(slm_chat_template_create(&t, NULL, text, sizeof text - 1, NULL, NULL), SLM_OK);
    assert_int_equal(slm_chat_output_create(&output, t, NULL, NULL), SLM_OK);
    slm_generate_options o = heal_options(30);
    o.chat_output = output;
    o.reasoning_budget = 4;
    struct run r = run_with(model, NULL, prompt, sizeof prompt - 1, &o);
    assert_memory_equal(r.text, "tle ", 4);
    assert_true(r.stats.n_forced > 0);
    assert_int_equal(r.stats.n_reasoning + r.stats.n_answer, r.stats.n_generated);
    assert_in_range(r.stats.n_reasoning, 5, 4 + r.stats.n_forced);
    slm_chat_output_free(output);
    slm_chat_template_free(t);
    slm_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentencepiece_prompt_heals_as_by_hand),
        cmocka_unit_test(a_byte_level_prompt_heals_as_by_hand),
        cmocka_unit_test(a_story_cut_anywhere_goes_on_better_healed),
        cmocka_unit_test(a_url_heals_in_real_vocabularies),
        cmocka_unit_test(what_cannot_be_healed_is_left_as_it_is),
        cmocka_unit_test(only_the_new_prompt_is_taken_back),
        cmocka_unit_test(a_sampler_that_lets_nothing_pass_leaves_the_prompt),
        cmocka_unit_test(a_stop_string_meets_only_what_is_new),
        cmocka_unit_test(a_cancel_or_a_deadline_in_between_changes_nothing),
        cmocka_unit_test(a_budget_counts_from_the_end_of_the_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
