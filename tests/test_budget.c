/* test_budget.c - the budget of reasoning, counted exactly: a model that always says "a", in
 * vocabularies that write the end of reasoning differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gguf_build.h"

#define SP "\xE2\x96\x81"
#define FORCE "\n</think>\n\n" /* of the style */

struct entry {
    const char *text;
    int type;
};

/* SentencePiece: all bytes, a space, an "a", and what comes on top. */
#define SPM_TOKENS (3 + 256 + 2 + 1)

static void spm_keys(struct build *b, struct entry last)
{
    build_text(b, "tokenizer.ggml.model", "llama");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, SPM_TOKENS);
    const struct entry rest[] = {{SP, SLM_TOKEN_NORMAL}, {"a", SLM_TOKEN_NORMAL}, last};
    static const struct entry first[] = {
        {"<unk>", SLM_TOKEN_UNKNOWN}, {"<s>", SLM_TOKEN_CONTROL}, {"</s>", SLM_TOKEN_CONTROL}};
    for (int i = 0; i < SPM_TOKENS; i++) {
        char byte[8];
        snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(i - 3) & 255);
        const char *text = i < 3 ? first[i].text : i < 259 ? byte : rest[i - 259].text;
        build_put_string(&b->keys, text, strlen(text));
    }
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, SPM_TOKENS);
    for (int i = 0; i < SPM_TOKENS; i++) {
        build_put_f32(&b->keys, (float)-i);
    }
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, SPM_TOKENS);
    for (int i = 0; i < SPM_TOKENS; i++) {
        int type = i < 3 ? first[i].type : i < 259 ? SLM_TOKEN_BYTE : rest[i - 259].type;
        build_put_int(&b->keys, (uint64_t)type, 4);
    }
}

static void spm_bytes(struct build *b)
{
    spm_keys(b, (struct entry){"b", SLM_TOKEN_NORMAL});
}

static void spm_control(struct build *b)
{
    spm_keys(b, (struct entry){"</think>", SLM_TOKEN_CONTROL});
}

static void spm_user(struct build *b)
{
    spm_keys(b, (struct entry){"</think>", SLM_TOKEN_USER});
}

/* A delimiter that runs on into what follows it. */
static void spm_long(struct build *b)
{
    spm_keys(b, (struct entry){"</think>\n\n", SLM_TOKEN_USER});
}

struct world {
    struct build b;
    slm_model *model;
    slm_context *context;
    slm_sampler *sampler; /* takes "a" */
    slm_chat_output *output;
};

static void world_open(struct world *w, void (*keys)(struct build *b))
{
    static const char text[] = "{{ messages[0].content }}{{ '<think>\n' }}";
    struct tiny t = tiny_default();
    slm_context_options co;
    slm_chat_template *form = NULL;
    slm_logit_bias bias = {-1, 1e6f};
    slm_sampler_stage stage = {.struct_size = sizeof stage, .kind = SLM_STAGE_LOGIT_BIAS};
    t.n_vocab = SPM_TOKENS;
    t.keys = keys;
    memset(w, 0, sizeof *w);
    tiny_build(&w->b, &t);
    slm_context_options_init(&co, sizeof co);
    co.n_threads = 1;
    co.n_ctx = 128;
    assert_int_equal(tiny_open(&w->model, &w->b, NULL, NULL), SLM_OK);
    assert_int_equal(slm_context_create(&w->context, w->model, &co, NULL), SLM_OK);
    assert_int_equal(slm_token_find(w->model, "a", 1, &bias.token, NULL), SLM_OK);
    stage.n_biases = 1;
    stage.biases = &bias;
    assert_int_equal(slm_sampler_create(&w->sampler, w->model, &stage, 1, sizeof stage, NULL, NULL),
                     SLM_OK);
    assert_int_equal(slm_chat_template_create(&form, NULL, text, sizeof text - 1, NULL, NULL),
                     SLM_OK);
    assert_int_equal(slm_chat_output_create(&w->output, form, NULL, NULL), SLM_OK);
    slm_chat_template_free(form);
}

static void world_close(struct world *w)
{
    slm_chat_output_free(w->output);
    slm_sampler_free(w->sampler);
    slm_context_free(w->context);
    slm_model_free(w->model);
    build_free(&w->b);
}

struct said {
    char reasoning[256], answer[256];
    slm_generate_stats stats;
};

static void add(char *to, const slm_chat_event *e)
{
    size_t n = strlen(to);
    memcpy(to + n, e->text, e->size);
    to[n + e->size] = 0;
}

static struct said say(struct world *w, int32_t budget, int32_t max_tokens)
{
    struct said s;
    slm_generate_options o;
    slm_generator *g = NULL;
    slm_piece piece = {.struct_size = sizeof piece};
    memset(&s, 0, sizeof s);
    s.stats.struct_size = sizeof s.stats;
    slm_generate_options_init(&o, sizeof o);
    o.chat_output = w->output;
    o.reasoning_budget = budget;
    o.max_tokens = max_tokens;
    assert_int_equal(slm_chat_output_begin(w->output, NULL, NULL), SLM_OK);
    assert_int_equal(slm_sequence_rewind(w->context, 0, 0, NULL), SLM_OK);
    assert_int_equal(slm_generate_begin(&g, w->context, 0, w->sampler, "aa", 2, &o, NULL), SLM_OK);
    do {
        slm_chat_event e = {.struct_size = sizeof e};
        assert_int_equal(slm_generate_next(g, &piece, NULL), SLM_OK);
        assert_int_equal(slm_chat_output_push(w->output, piece.kind, piece.text, piece.size, NULL),
                         SLM_OK);
        while (slm_chat_output_next(w->output, &e, NULL) == SLM_OK && e.size > 0) {
            add(e.kind == SLM_CHAT_REASONING ? s.reasoning : s.answer, &e);
            memset(&e, 0, sizeof e);
            e.struct_size = sizeof e;
        }
    } while (piece.kind != SLM_PIECE_END);
    assert_int_equal(slm_generate_get_stats(g, &s.stats, NULL), SLM_OK);
    slm_generate_end(g);
    return s;
}

static int all_a(const char *text, int32_t n)
{
    return strlen(text) == (size_t)n && strspn(text, "a") == (size_t)n;
}

/* budget tokens that the model chose, then n_forced that it did not; those up to the delimiter's end
 * are reasoning's. Nothing of it is in either text: not the space a vocabulary puts in front. */
static void every_vocabulary_ends_reasoning_after_its_budget(void **state)
{
    static const struct {
        const char *name;
        void (*keys)(struct build *b);
        int32_t n_forced, n_inside;
    } rows[] = {{"bytes", spm_bytes, 11, 9},
                {"control", spm_control, 4, 2},
                {"user-defined", spm_user, 4, 2},
                {"runs on", spm_long, 2, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world w;
        world_open(&w, rows[i].keys);
        for (int32_t budget = 1; budget < 12; budget++) {
            struct said s = say(&w, budget, 40);
            assert_int_equal(s.stats.n_generated, 40);
            assert_int_equal(s.stats.n_forced, rows[i].n_forced);
            assert_int_equal(s.stats.n_reasoning, budget + rows[i].n_inside);
            assert_int_equal(s.stats.n_answer, 40 - s.stats.n_reasoning);
            assert_true(all_a(s.reasoning, budget));
            assert_true(all_a(s.answer, 40 - budget - rows[i].n_forced));
        }
        world_close(&w);
    }
}

static void a_limit_within_the_end_of_reasoning_is_kept(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, spm_bytes);
    for (int32_t limit = 1; limit < 20; limit++) {
        struct said s = say(&w, 3, limit);
        int32_t forced = limit < 3 ? 0 : limit - 3;
        assert_int_equal(s.stats.n_generated, limit);
        assert_int_equal(s.stats.n_forced, forced < 11 ? forced : 11);
        assert_int_equal(s.stats.n_reasoning, limit < 12 ? limit : 12);
    }
    world_close(&w);
}

static void without_a_budget_nothing_is_forced(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, spm_control);
    struct said s = say(&w, 0, 40);
    assert_int_equal(s.stats.n_forced, 0);
    assert_int_equal(s.stats.n_reasoning, 40);
    assert_true(all_a(s.reasoning, 40));
    assert_string_equal(s.answer, "");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vocabulary_ends_reasoning_after_its_budget),
        cmocka_unit_test(a_limit_within_the_end_of_reasoning_is_kept),
        cmocka_unit_test(without_a_budget_nothing_is_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
