/* test_generate.c - pulled generation: pieces, stop strings, limits, and ending early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "../slm.h"
#include "fuzz/vocabs.h"
#include "testing.h"

static slm_model *story;

static int setup(void **state)
{
    (void)state;
    return slm_model_open(&story, TESTING_STORYTELLER, NULL, NULL) != SLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    slm_model_free(story);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------- */

#define PROMPT "Once upon a time"

static slm_context *make_context(int32_t n_sequences, int32_t n_ctx)
{
    slm_context_options o;
    slm_context *c = NULL;
    slm_context_options_init(&o, sizeof o);
    o.n_sequences = n_sequences;
    o.n_ctx = n_ctx;
    o.n_threads = 1;
    o.n_batch = 16;
    assert_int_equal(slm_context_create(&c, story, &o, NULL), SLM_OK);
    return c;
}

static slm_generate_options options_of(int32_t max_tokens)
{
    slm_generate_options o;
    assert_int_equal(slm_generate_options_init(&o, sizeof o), SLM_OK);
    o.max_tokens = max_tokens;
    return o;
}

static slm_generator *begin(slm_context *c, int32_t sequence, const char *prompt,
                            const slm_generate_options *o)
{
    slm_generator *g = NULL;
    slm_error err;
    int status = slm_generate_begin(&g, c, sequence, NULL, prompt, strlen(prompt), o, &err);
    if (status != SLM_OK) {
        print_error("%s\n", err.message);
    }
    assert_int_equal(status, SLM_OK);
    return g;
}

static slm_piece empty_piece(void)
{
    slm_piece p;
    memset(&p, 0, sizeof p);
    p.struct_size = (uint32_t)sizeof p;
    return p;
}

static int is_whole_utf8(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint8_t c = (uint8_t)s[i];
        size_t k = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
        if (k == 0 || k > n - i) {
            return 0;
        }
        for (size_t j = 1; j < k; j++) {
            if (((uint8_t)s[i + j] & 0xc0) != 0x80) {
                return 0;
            }
        }
        i += k;
    }
    return 1;
}

struct run {
    char text[8192];
    size_t size;
    int32_t tokens[1024];
    int32_t n_tokens;
    int32_t reason;
    int interruptions;
};

static void run_add_tokens(struct run *r, const slm_piece *p)
{
    assert_true(p->n_tokens >= 0 && r->n_tokens + p->n_tokens <= 1024);
    memcpy(r->tokens + r->n_tokens, p->tokens, (size_t)p->n_tokens * sizeof(int32_t));
    r->n_tokens += p->n_tokens;
}

/* All pieces to the end; takes up again what a deadline or a cancel ended. */
static struct run pull(slm_generator *g, int32_t *cancel)
{
    struct run r;
    memset(&r, 0, sizeof r);
    for (;;) {
        slm_piece p = empty_piece();
        int status = slm_generate_next(g, &p, NULL);
        if (status == SLM_E_DEADLINE || status == SLM_E_CANCELLED) {
            r.interruptions++;
            assert_true(r.interruptions < 100000);
            if (cancel != NULL) {
                *cancel = 0;
            }
            continue;
        }
        assert_int_equal(status, SLM_OK);
        run_add_tokens(&r, &p);
        if (p.kind == SLM_PIECE_END) {
            r.reason = p.reason;
            assert_int_equal(slm_generate_next(g, &p, NULL), SLM_OK);
            assert_int_equal(p.kind, SLM_PIECE_END);
            assert_int_equal(p.n_tokens, 0);
            return r;
        }
        assert_int_equal(p.kind, SLM_PIECE_TEXT);
        assert_true(p.size > 0 && p.size < sizeof r.text - r.size);
        assert_true(is_whole_utf8(p.text, p.size));
        memcpy(r.text + r.size, p.text, p.size);
        r.size += p.size;
    }
}

static struct run generate(const slm_generate_options *o, const char *prompt)
{
    slm_context *c = make_context(1, 512);
    slm_generator *g = begin(c, 0, prompt, o);
    struct run r = pull(g, NULL);
    slm_generate_end(g);
    slm_context_free(c);
    return r;
}

/* The same by hand: tokenize, eval, best token, decode. */
static struct run generate_by_hand(const char *prompt, int32_t n)
{
    struct run r;
    int32_t tokens[256];
    size_t n_tokens = 0;
    slm_context *c = make_context(1, 512);
    slm_text_stream stream;
    slm_sampler *greedy = NULL;
    slm_model_info info;
    memset(&r, 0, sizeof r);
    memset(&stream, 0, sizeof stream);
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    assert_int_equal(slm_model_get_info(story, &info, NULL), SLM_OK);
    assert_int_equal(slm_sampler_create(&greedy, story, NULL, 0, 0, NULL, NULL), SLM_OK);
    assert_int_equal(
        slm_tokenize(story, prompt, strlen(prompt), SLM_TEXT_BOS, tokens, 256, &n_tokens, NULL),
        SLM_OK);
    for (int32_t i = 0; i < n; i++) {
        slm_span s;
        const float *logits = NULL;
        size_t size = 0;
        memset(&s, 0, sizeof s);
        s.struct_size = (uint32_t)sizeof s;
        s.position = -1;
        s.tokens = tokens;
        s.n_tokens = (int32_t)n_tokens;
        s.want = SLM_WANT_LAST;
        assert_int_equal(slm_eval(c, &s, 1, sizeof s, NULL, NULL), SLM_OK);
        assert_int_equal(slm_logits(c, -1, &logits, NULL, NULL), SLM_OK);
        assert_int_equal(slm_sample(greedy, logits, info.n_vocab, &tokens[0], NULL), SLM_OK);
        n_tokens = 1;
        r.tokens[r.n_tokens++] = tokens[0];
        assert_int_equal(slm_decode_token(story, &stream, tokens[0], 0, r.text + r.size,
                                          sizeof r.text - r.size, &size, NULL),
                         SLM_OK);
        r.size += size;
    }
    slm_sampler_free(greedy);
    slm_context_free(c);
    return r;
}

static void assert_same_text(const struct run *a, const struct run *b)
{
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->text, b->text, a->size);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof(int32_t));
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void generation_is_what_the_same_calls_by_hand_give(void **state)
{
    (void)state;
    slm_generate_options o = options_of(60);
    struct run a = generate(&o, PROMPT), b = generate_by_hand(PROMPT, 60);
    assert_int_equal(a.reason, SLM_END_LIMIT);
    assert_same_text(&a, &b);
    assert_true(a.size > 100);
}

static void a_story_is_asked_for_and_ends_by_itself(void **state)
{
    (void)state;
    slm_generate_options o = options_of(SLM_AUTO);
    o.flags = SLM_TEXT_SPECIAL;
    struct run r = generate(&o, "<|im_start|>user\nTell me a story about a dog and a ball."
                                "<|im_end|>\n<|im_start|>assistant\n");
    assert_int_equal(r.reason, SLM_END_TOKEN);
    assert_true(r.size > 100);
    slm_token_info last = {.struct_size = sizeof last};
    assert_int_equal(slm_token_get_info(story, r.tokens[r.n_tokens - 1], &last, NULL), SLM_OK);
    assert_true(last.is_end);
    assert_non_null(strstr(r.text, "dog"));
    assert_null(strstr(r.text, "<|im_end|>"));
}

static void every_stop_string_cuts_exactly_before_itself(void **state)
{
    (void)state;
    slm_generate_options o = options_of(25);
    struct run whole = generate(&o, PROMPT);
    for (size_t at = 1; at + 12 < whole.size; at += 7) {
        for (size_t n = 1; n <= 12; n += 4) {
            char stop[32] = {0};
            memcpy(stop, whole.text + at, n);
            const char *stops[2] = {"never in a story", stop};
            size_t first = (size_t)(strstr(whole.text, stop) - whole.text);
            o.stops = stops;
            o.n_stops = 2;
            struct run r = generate(&o, PROMPT);
            assert_int_equal(r.reason, SLM_END_STOP);
            assert_int_equal(r.size, first);
            assert_memory_equal(r.text, whole.text, first);
        }
    }
}

static void a_stop_string_that_only_begins_is_given_out_after_all(void **state)
{
    (void)state;
    slm_generate_options o = options_of(20);
    struct run whole = generate(&o, PROMPT);
    char stop[64];
    size_t n = whole.size < 20 ? whole.size : 20;
    memcpy(stop, whole.text + whole.size - n, n);
    memcpy(stop + n, "XYZ", 4);
    const char *stops[1] = {stop};
    o.stops = stops;
    o.n_stops = 1;
    struct run r = generate(&o, PROMPT);
    assert_int_equal(r.reason, SLM_END_LIMIT);
    assert_same_text(&r, &whole);
}

static void what_a_deadline_or_a_cancel_ends_goes_on_as_if_nothing_had_been(void **state)
{
    (void)state;
    slm_generate_options o = options_of(60);
    clock_t start = clock();
    struct run whole = generate(&o, PROMPT);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    slm_context *c = make_context(1, 512);
    /* Time for some tokens, however slow the machine: an emulated one takes 60 ms for one. */
    o.step_ns = seconds < 0.2 ? 20000000 : (int64_t)(seconds * 1e8);
    slm_generator *g = begin(c, 0, PROMPT, &o);
    struct run r = pull(g, NULL);
    assert_same_text(&r, &whole);
    slm_generate_end(g);
    assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);

    int32_t cancel = 1;
    o.step_ns = SLM_NO_DEADLINE;
    o.cancel = &cancel;
    g = begin(c, 0, PROMPT, &o);
    r = pull(g, &cancel);
    assert_int_equal(r.interruptions, 1);
    assert_same_text(&r, &whole);
    slm_generate_end(g);
    slm_context_free(c);
}

static void every_token_chosen_stands_in_the_sequence_at_the_end(void **state)
{
    (void)state;
    slm_generate_options o = options_of(10);
    slm_generate_stats stats;
    slm_context *c = make_context(1, 512);
    slm_generator *g = begin(c, 0, PROMPT, &o);
    int32_t length = 0;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = (uint32_t)sizeof stats;
    pull(g, NULL);
    assert_int_equal(slm_generate_get_stats(g, &stats, NULL), SLM_OK);
    assert_int_equal(stats.n_generated, 10);
    assert_true(stats.n_prompt > 0);
    assert_int_equal(stats.n_prompt_done, stats.n_prompt);
    assert_true(stats.prompt_ns > 0 && stats.generate_ns > 0 && stats.first_token_ns > 0);
    assert_int_equal(slm_sequence_length(c, 0, &length, NULL), SLM_OK);
    assert_int_equal(length, stats.n_prompt + 10);
    slm_piece p = empty_piece();
    assert_int_equal(slm_generate_next(g, &p, NULL), SLM_OK);
    assert_int_equal(p.kind, SLM_PIECE_END);
    assert_int_equal(p.reason, SLM_END_LIMIT);
    slm_generate_end(g);

    /* Continued in two halves: as in one. */
    struct run all, first;
    o.max_tokens = 40;
    all = generate(&o, PROMPT);
    assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
    o.max_tokens = 20;
    g = begin(c, 0, PROMPT, &o);
    first = pull(g, NULL);
    slm_generate_end(g);
    assert_true(first.size < all.size);
    assert_memory_equal(first.text, all.text, first.size);
    slm_context_free(c);
}

static void a_sequence_is_its_generator_s_until_the_end(void **state)
{
    (void)state;
    static const int32_t token = 5;
    slm_context *c = make_context(3, 64);
    slm_generate_options o = options_of(8);
    slm_generator *other = NULL;
    slm_error err;
    const float *row = NULL;
    slm_span s = {.struct_size = sizeof s, .position = -1, .n_tokens = 1, .tokens = &token};
    struct run alone = generate(&o, PROMPT);
    slm_generator *g = begin(c, 0, PROMPT, &o);
    for (int i = 0; i < 2; i++) {
        slm_piece p = empty_piece();
        assert_int_equal(slm_sequence_rewind(c, 0, 0, &err), SLM_E_BUSY);
        assert_non_null(strstr(err.message, "slm_generate_end"));
        assert_int_equal(slm_sequence_fork(c, 1, 0, NULL), SLM_E_BUSY);
        assert_int_equal(slm_eval(c, &s, 1, sizeof s, NULL, NULL), SLM_E_BUSY);
        assert_int_equal(slm_generate_begin(&other, c, 0, NULL, PROMPT, 4, &o, NULL), SLM_E_BUSY);
        assert_null(other);
        assert_int_equal(slm_sequence_fork(c, 0, 2, NULL), SLM_OK);
        assert_int_equal(slm_generate_next(g, &p, NULL), SLM_OK);
        assert_int_equal(slm_logits(c, -1, &row, NULL, NULL), SLM_E_ARGUMENT);
    }
    slm_generate_end(g);
    assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
    assert_int_equal(slm_eval(c, &s, 1, sizeof s, NULL, NULL), SLM_OK);
    assert_int_equal(slm_sequence_rewind(c, 0, 0, NULL), SLM_OK);
    g = begin(c, 0, PROMPT, &o);
    struct run again = pull(g, NULL);
    assert_same_text(&again, &alone);
    slm_generate_end(g);
    slm_context_free(c);
}

static void a_full_context_ends_the_text_with_its_reason(void **state)
{
    (void)state;
    slm_generate_options o = options_of(SLM_AUTO);
    slm_context *c = make_context(1, 30);
    slm_generator *g = begin(c, 0, PROMPT, &o);
    struct run r = pull(g, NULL);
    int32_t length = 0;
    assert_int_equal(r.reason, SLM_END_FULL);
    assert_int_equal(slm_sequence_length(c, 0, &length, NULL), SLM_OK);
    assert_int_equal(length, 30);
    slm_generate_end(g);
    slm_error err;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "a", 1, NULL, &err), SLM_E_FULL);
    assert_null(g);
    slm_context_free(c);
}

static void two_generators_take_turns_on_one_context(void **state)
{
    (void)state;
    slm_generate_options o = options_of(40);
    struct run a = generate(&o, PROMPT), b = generate(&o, "The little cat");
    slm_context *c = make_context(2, 512);
    slm_generator *g[2] = {begin(c, 0, PROMPT, &o), begin(c, 1, "The little cat", &o)};
    struct run r[2];
    int live = 2;
    memset(r, 0, sizeof r);
    while (live > 0) {
        for (int i = 0; i < 2; i++) {
            slm_piece p = empty_piece();
            assert_int_equal(slm_generate_next(g[i], &p, NULL), SLM_OK);
            run_add_tokens(&r[i], &p);
            if (p.kind == SLM_PIECE_TEXT) {
                memcpy(r[i].text + r[i].size, p.text, p.size);
                r[i].size += p.size;
            } else if (r[i].reason == 0) {
                r[i].reason = p.reason;
                live--;
            }
        }
    }
    assert_same_text(&r[0], &a);
    assert_same_text(&r[1], &b);
    slm_generate_end(g[0]);
    slm_generate_end(g[1]);
    slm_context_free(c);
}

static void a_seeded_sampler_tells_the_same_story_twice_and_another_with_another_seed(void **state)
{
    struct run r[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        slm_sampler_stage stages[2];
        slm_sampler_options so;
        slm_sampler *sampler = NULL;
        slm_generate_options o = options_of(40);
        memset(stages, 0, sizeof stages);
        stages[0].struct_size = stages[1].struct_size = (uint32_t)sizeof stages[0];
        stages[0].kind = SLM_STAGE_TOP_K;
        stages[0].n = 40;
        stages[1].kind = SLM_STAGE_TEMPERATURE;
        stages[1].value = 1.0f;
        slm_sampler_options_init(&so, sizeof so);
        so.seed = i == 2 ? 2 : 1;
        assert_int_equal(
            slm_sampler_create(&sampler, story, stages, 2, sizeof stages[0], &so, NULL), SLM_OK);
        slm_context *c = make_context(1, 512);
        slm_generator *g = NULL;
        assert_int_equal(slm_generate_begin(&g, c, 0, sampler, PROMPT, strlen(PROMPT), &o, NULL),
                         SLM_OK);
        /* Freed in the wrong order: the generator keeps what it needs. */
        slm_sampler_free(sampler);
        slm_context_free(c);
        r[i] = pull(g, NULL);
        slm_generate_end(g);
    }
    assert_same_text(&r[0], &r[1]);
    assert_true(r[0].size != r[2].size || memcmp(r[0].text, r[2].text, r[0].size) != 0);
}

static void a_prompt_of_tokens_is_the_prompt_of_its_text(void **state)
{
    int32_t tokens[64];
    size_t n = 0;
    (void)state;
    slm_generate_options o = options_of(30);
    struct run text = generate(&o, PROMPT);
    assert_int_equal(slm_tokenize(story, PROMPT, strlen(PROMPT), 0, tokens, 64, &n, NULL), SLM_OK);
    o.prompt_tokens = tokens;
    o.n_prompt_tokens = (int32_t)n;
    slm_context *c = make_context(1, 512);
    slm_generator *g = NULL;
    slm_error err;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, NULL, 0, &o, &err), SLM_OK);
    struct run r = pull(g, NULL);
    assert_same_text(&r, &text);
    slm_generate_end(g);
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "x", 1, &o, &err), SLM_E_ARGUMENT);
    tokens[0] = 99999;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, NULL, 0, &o, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "99999"));
    o.prompt_tokens = NULL;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, NULL, 0, &o, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "prompt_tokens is NULL"));
    slm_context_free(c);
}

/* Chosen and not evaluated: there is no room for it, but the limit came first. */
static void a_limit_reached_with_the_last_position_is_the_reason(void **state)
{
    (void)state;
    static const int32_t prompt[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    for (int32_t n = 6; n <= 8; n++) { /* seven of them fit */
        slm_context *c = make_context(1, 16);
        slm_generate_options o = options_of(n);
        slm_generate_stats stats = {.struct_size = sizeof stats};
        o.prompt_tokens = prompt;
        o.n_prompt_tokens = 10;
        slm_generator *g = NULL;
        assert_int_equal(slm_generate_begin(&g, c, 0, NULL, NULL, 0, &o, NULL), SLM_OK);
        struct run r = pull(g, NULL);
        assert_int_equal(slm_generate_get_stats(g, &stats, NULL), SLM_OK);
        assert_int_equal(stats.n_generated, n < 7 ? n : 7);
        assert_int_equal(r.reason, n < 8 ? SLM_END_LIMIT : SLM_END_FULL);
        slm_generate_end(g);
        slm_context_free(c);
    }
}

static void keys_with_end_token(struct build *b)
{
    vocab_bpe(b);
    build_int(b, "tokenizer.ggml.add_eos_token", SLM_TYPE_BOOL, 1);
}

static int32_t prompt_length(slm_context *c, const char *text, uint32_t flags)
{
    slm_generate_options o = options_of(0);
    slm_generate_stats stats = {.struct_size = sizeof stats};
    o.flags = flags;
    slm_generator *g = begin(c, 0, text, &o);
    assert_int_equal(slm_generate_get_stats(g, &stats, NULL), SLM_OK);
    slm_generate_end(g);
    return stats.n_prompt;
}

/* A byte that is no character is U+FFFD to a byte-level vocabulary, three tokens here. */
static void a_prompt_has_all_its_tokens_and_no_end_token(void **state)
{
    struct tiny t = tiny_default();
    struct build b;
    slm_model *model = NULL;
    slm_context *c = NULL;
    slm_error err;
    size_t n = 0;
    (void)state;
    t.n_vocab = VOCAB_BPE_TOKENS;
    t.keys = keys_with_end_token;
    tiny_build(&b, &t);
    assert_int_equal(tiny_open(&model, &b, NULL, &err), SLM_OK);
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_threads = 1;
    assert_int_equal(slm_context_create(&c, model, &o, &err), SLM_OK);
    assert_int_equal(slm_tokenize(model, "ab", 2, SLM_TEXT_BOS, NULL, 0, &n, &err), SLM_OK);
    assert_int_equal(n, 4); /* start, a, b, end */
    assert_int_equal(prompt_length(c, "ab", SLM_TEXT_BOS), 3);
    assert_int_equal(prompt_length(c, "ab", 0), 2);
    assert_int_equal(prompt_length(c, "ab<|endoftext|>", SLM_TEXT_SPECIAL), 3);
    assert_int_equal(prompt_length(c, "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0), 27);
    slm_context_free(c);
    slm_model_free(model);
    build_free(&b);
}

static void wrong_arguments_are_named(void **state)
{
    const char *empty[1] = {""};
    const char *null[1] = {NULL};
    char *long_stop = (char *)malloc(300);
    slm_generator *g = NULL;
    slm_error err;
    (void)state;
    slm_context *c = make_context(1, 64);
    slm_generate_options o = options_of(5);
    memset(long_stop, 'x', 299);
    long_stop[299] = 0;
    const char *longer[1] = {long_stop};
    const char *const *bad[] = {empty, null, longer, NULL};
    for (int i = 0; i < 4; i++) {
        o.stops = bad[i];
        o.n_stops = 1;
        assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "a", 1, &o, &err), SLM_E_ARGUMENT);
        assert_non_null(strstr(err.message, "stop"));
        assert_null(g);
    }
    o = options_of(-7);
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "a", 1, &o, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "max_tokens is -7"));
    o.max_tokens = 5;
    o.step_ns = 0;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "a", 1, &o, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "step_ns is 0"));
    o = options_of(5);
    assert_int_equal(slm_generate_begin(&g, c, 1, NULL, "a", 1, &o, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "", 0, &o, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "prompt has no tokens"));
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, NULL, 3, &o, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_generate_begin(&g, NULL, 0, NULL, "a", 1, &o, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_generate_begin(NULL, c, 0, NULL, "a", 1, &o, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_generate_next(NULL, NULL, &err), SLM_E_ARGUMENT);
    slm_generate_end(NULL);
    o.max_tokens = 0;
    g = begin(c, 0, "a", &o);
    assert_int_equal(slm_generate_next(g, NULL, &err), SLM_E_ARGUMENT);
    struct run r = pull(g, NULL);
    assert_int_equal(r.reason, SLM_END_LIMIT);
    assert_int_equal(r.size, 0);
    slm_generate_end(g);
    free(long_stop);
    slm_context_free(c);
}

/* ---- Kinds of tokens and their budget --------------------------------------------------------- */

/* A template whose prompts end inside reasoning. */
static slm_chat_output *open_output(void)
{
    static const char text[] = "{{ messages[0].content }}{{ '<think>\n' }}";
    slm_chat_template *t = NULL;
    slm_chat_output *o = NULL;
    assert_int_equal(slm_chat_template_create(&t, NULL, text, sizeof text - 1, NULL, NULL), SLM_OK);
    assert_int_equal(slm_chat_output_create(&o, t, NULL, NULL), SLM_OK);
    slm_chat_template_free(t);
    return o;
}

static void reasoning_ends_after_exactly_its_budget(void **state)
{
    slm_context *c = make_context(1, 256);
    slm_chat_output *o = open_output();
    (void)state;
    for (int32_t budget = 1; budget < 8; budget++) {
        slm_generate_options go = options_of(60);
        slm_generate_stats stats = {.struct_size = sizeof stats};
        slm_piece piece = {.struct_size = sizeof piece};
        char answer[1024];
        size_t n = 0;
        int reasoned = 0;
        go.chat_output = o;
        go.reasoning_budget = budget;
        slm_sequence_rewind(c, 0, 0, NULL);
        assert_int_equal(slm_chat_output_begin(o, NULL, NULL), SLM_OK);
        slm_generator *g = begin(c, 0, PROMPT, &go);
        do {
            slm_chat_event e = {.struct_size = sizeof e};
            assert_int_equal(slm_generate_next(g, &piece, NULL), SLM_OK);
            assert_int_equal(slm_chat_output_push(o, piece.kind, piece.text, piece.size, NULL),
                             SLM_OK);
            while (slm_chat_output_next(o, &e, NULL) == SLM_OK && e.size > 0) {
                reasoned |= e.kind == SLM_CHAT_REASONING;
                if (e.kind == SLM_CHAT_ANSWER) {
                    memcpy(answer + n, e.text, e.size);
                    n += e.size;
                }
                memset(&e, 0, sizeof e);
                e.struct_size = sizeof e;
            }
        } while (piece.kind != SLM_PIECE_END);
        answer[n] = 0;
        assert_int_equal(slm_generate_get_stats(g, &stats, NULL), SLM_OK);
        slm_generate_end(g);
        assert_true(reasoned && n > 0);
        assert_null(strstr(answer, "think>"));
        assert_true(stats.n_forced > 0);
        assert_in_range(stats.n_reasoning, budget + 1, budget + stats.n_forced);
        assert_int_equal(stats.n_reasoning + stats.n_answer, stats.n_generated);
        assert_int_equal(stats.n_tool_calls, 0);
    }
    slm_chat_output_free(o);
    slm_context_free(c);
}

static void a_budget_needs_reasoning(void **state)
{
    slm_context *c = make_context(1, 64);
    slm_generator *g = NULL;
    slm_generate_options go = options_of(4);
    slm_error err;
    (void)state;
    go.reasoning_budget = 3;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "a", 1, &go, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "reasoning_budget"));
    go.reasoning_budget = 0;
    go.special_pieces = 2;
    assert_int_equal(slm_generate_begin(&g, c, 0, NULL, "a", 1, &go, &err), SLM_E_ARGUMENT);
    slm_context_free(c);
}

static void control_tokens_are_pieces_of_their_own(void **state)
{
    slm_context *c = make_context(1, 64);
    slm_sampler *sampler = NULL;
    slm_generator *g = NULL;
    slm_generate_options go = options_of(2);
    slm_piece piece = {.struct_size = sizeof piece};
    slm_logit_bias bias = {-1, 1e6f};
    slm_sampler_stage stage = {.struct_size = sizeof stage, .kind = SLM_STAGE_LOGIT_BIAS};
    (void)state;
    assert_int_equal(slm_token_find(story, "<|im_start|>", 12, &bias.token, NULL), SLM_OK);
    stage.biases = &bias;
    stage.n_biases = 1;
    assert_int_equal(slm_sampler_create(&sampler, story, &stage, 1, sizeof stage, NULL, NULL),
                     SLM_OK);
    for (go.special_pieces = 0; go.special_pieces < 2; go.special_pieces++) {
        slm_sequence_rewind(c, 0, 0, NULL);
        assert_int_equal(slm_generate_begin(&g, c, 0, sampler, PROMPT, strlen(PROMPT), &go, NULL),
                         SLM_OK);
        for (int32_t i = 0; i < 2 * go.special_pieces; i++) {
            assert_int_equal(slm_generate_next(g, &piece, NULL), SLM_OK);
            assert_int_equal(piece.kind, SLM_PIECE_SPECIAL);
            assert_true(piece.size == 12 && memcmp(piece.text, "<|im_start|>", 12) == 0);
        }
        assert_int_equal(slm_generate_next(g, &piece, NULL), SLM_OK);
        assert_int_equal(piece.kind, SLM_PIECE_END);
        slm_generate_end(g);
    }
    slm_sampler_free(sampler);
    slm_context_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasoning_ends_after_exactly_its_budget),
        cmocka_unit_test(a_budget_needs_reasoning),
        cmocka_unit_test(control_tokens_are_pieces_of_their_own),
        cmocka_unit_test(generation_is_what_the_same_calls_by_hand_give),
        cmocka_unit_test(a_story_is_asked_for_and_ends_by_itself),
        cmocka_unit_test(every_stop_string_cuts_exactly_before_itself),
        cmocka_unit_test(a_stop_string_that_only_begins_is_given_out_after_all),
        cmocka_unit_test(what_a_deadline_or_a_cancel_ends_goes_on_as_if_nothing_had_been),
        cmocka_unit_test(every_token_chosen_stands_in_the_sequence_at_the_end),
        cmocka_unit_test(a_sequence_is_its_generator_s_until_the_end),
        cmocka_unit_test(a_full_context_ends_the_text_with_its_reason),
        cmocka_unit_test(two_generators_take_turns_on_one_context),
        cmocka_unit_test(a_seeded_sampler_tells_the_same_story_twice_and_another_with_another_seed),
        cmocka_unit_test(a_prompt_of_tokens_is_the_prompt_of_its_text),
        cmocka_unit_test(a_limit_reached_with_the_last_position_is_the_reason),
        cmocka_unit_test(a_prompt_has_all_its_tokens_and_no_end_token),
        cmocka_unit_test(wrong_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
