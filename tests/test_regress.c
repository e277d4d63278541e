/* test_regress.c - defects that were found once, each by what triggered it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../slm.h"
#include "calls.h"
#include "gguf_build.h"
#include "testing.h"

static void add_tensor(struct build *b, const char *name, int64_t n_in, int64_t n_out)
{
    int64_t shape[2] = {n_in, n_out};
    build_tensor(b, name, n_out == 1 ? 1 : 2, shape);
}

/* A llama without vocabulary, one layer, whose feed-forward is one element wide. ffn_gate has one
 * dimension and, if q8_0 is set, that encoding, alone in the file. */
static void build_narrow(struct build *b, int q8_0)
{
    uint8_t block[34] = {0, 60};
    int64_t row[1] = {32};
    build_init(b);
    build_text(b, "general.architecture", "llama");
    build_u32(b, "llama.block_count", 1);
    build_u32(b, "llama.embedding_length", 32);
    build_u32(b, "llama.context_length", 2048);
    build_u32(b, "llama.feed_forward_length", 1);
    build_u32(b, "llama.attention.head_count", 4);
    build_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    add_tensor(b, "token_embd.weight", 32, 12);
    add_tensor(b, "output_norm.weight", 32, 1);
    add_tensor(b, "blk.0.attn_norm.weight", 32, 1);
    add_tensor(b, "blk.0.attn_q.weight", 32, 32);
    add_tensor(b, "blk.0.attn_k.weight", 32, 32);
    add_tensor(b, "blk.0.attn_v.weight", 32, 32);
    add_tensor(b, "blk.0.attn_output.weight", 32, 32);
    add_tensor(b, "blk.0.ffn_norm.weight", 32, 1);
    if (q8_0) {
        build_tensor_bytes(b, "blk.0.ffn_gate.weight", 8, 1, row, block, sizeof block);
    } else {
        add_tensor(b, "blk.0.ffn_gate.weight", 32, 1);
    }
    add_tensor(b, "blk.0.ffn_up.weight", 32, 1);
    add_tensor(b, "blk.0.ffn_down.weight", 1, 32);
    build_finish(b);
}

struct world {
    struct build file;
    slm_model *model;
    slm_context *context;
};

static void open_narrow(struct world *w, int q8_0)
{
    slm_context_options o;
    slm_error err;
    build_narrow(&w->file, q8_0);
    const void *data = w->file.file.data;
    assert_int_equal(slm_model_open_memory(&w->model, &data, &w->file.file.size, 1, NULL, &err),
                     SLM_OK);
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 64;
    o.n_threads = 1;
    assert_int_equal(slm_context_create(&w->context, w->model, &o, &err), SLM_OK);
}

static void close_world(struct world *w)
{
    slm_context_free(w->context);
    slm_model_free(w->model);
    build_free(&w->file);
}

static const int32_t four[4] = {1, 2, 3, 4};

/* What is multiplied was guessed from the number of dimensions: this one had no input prepared. */
static void a_matrix_of_one_row_may_have_one_dimension(void **state)
{
    struct world w;
    (void)state;
    open_narrow(&w, 1);
    slm_span s = span_of(0, four, 4, SLM_WANT_LAST);
    assert_int_equal(slm_eval(w.context, &s, 1, sizeof s, NULL, NULL), SLM_OK);
    close_world(&w);
}

static void a_refused_call_sets_n_done_to_zero(void **state)
{
    static const int32_t bad[2] = {1, 99};
    static const int32_t many[65] = {0};
    struct world w;
    slm_span s;
    (void)state;
    open_narrow(&w, 0);
    s = span_of(0, bad, 2, SLM_WANT_LAST);
    s.n_done = 77;
    assert_int_equal(slm_eval(w.context, &s, 1, sizeof s, NULL, NULL), SLM_E_ARGUMENT);
    assert_int_equal(s.n_done, 0);
    s = span_of(0, many, 65, SLM_WANT_LAST);
    s.n_done = 65;
    assert_int_equal(slm_eval(w.context, &s, 1, sizeof s, NULL, NULL), SLM_E_FULL);
    assert_int_equal(s.n_done, 0);
    close_world(&w);
}

static void the_earliest_of_all_deadlines_overflows_nothing(void **state)
{
    struct world w;
    slm_eval_options o;
    (void)state;
    open_narrow(&w, 0);
    slm_span s = span_of(0, four, 4, SLM_WANT_LAST);
    assert_int_equal(slm_eval(w.context, &s, 1, sizeof s, NULL, NULL), SLM_OK);
    slm_eval_options_init(&o, sizeof o);
    o.deadline_ns = INT64_MIN;
    assert_int_equal(slm_eval(w.context, &s, 1, sizeof s, &o, NULL), SLM_E_DEADLINE);
    close_world(&w);
}

static void spans_of_an_odd_size_are_refused(void **state)
{
    struct world w;
    char buffer[2 * (sizeof(slm_span) + 1)];
    (void)state;
    open_narrow(&w, 0);
    slm_span s = span_of(0, four, 1, SLM_WANT_LAST);
    memset(buffer, 0, sizeof buffer);
    memcpy(buffer, &s, sizeof s);
    assert_int_equal(
        slm_eval(w.context, (slm_span *)(void *)buffer, 2, sizeof(slm_span) + 1, NULL, NULL),
        SLM_E_ARGUMENT);
    close_world(&w);
}

static void reserved_fields_must_be_zero(void **state)
{
    struct world w;
    slm_eval_options e;
    slm_sampler_options so;
    slm_sampler *sampler = NULL;
    slm_error err;
    (void)state;
    open_narrow(&w, 0);
    slm_span s = span_of(0, four, 1, SLM_WANT_LAST);
    slm_eval_options_init(&e, sizeof e);
    slm_sampler_options_init(&so, sizeof so);
    e.reserved = 7;
    so.reserved = 1;
    assert_int_equal(slm_eval(w.context, &s, 1, sizeof s, &e, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "reserved"));
    assert_int_equal(slm_sampler_create(&sampler, w.model, NULL, 0, 0, &so, &err), SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "reserved"));
    close_world(&w);
}

/* It used to compute the prompt and then fail at every step, a token further each time. */
static void generation_without_a_vocabulary_fails_before_it_begins(void **state)
{
    struct world w;
    slm_generate_options o;
    slm_generator *g = NULL;
    int32_t length = -1;
    (void)state;
    open_narrow(&w, 0);
    slm_generate_options_init(&o, sizeof o);
    o.prompt_tokens = four;
    o.n_prompt_tokens = 4;
    assert_int_equal(slm_generate_begin(&g, w.context, 0, NULL, NULL, 0, &o, NULL),
                     SLM_E_UNSUPPORTED);
    assert_null(g);
    assert_int_equal(slm_sequence_length(w.context, 0, &length, NULL), SLM_OK);
    assert_int_equal(length, 0);
    close_world(&w);
}

static void a_sampler_of_another_model_is_refused(void **state)
{
    struct world w;
    slm_model *story = NULL;
    slm_context *context = NULL;
    slm_sampler *sampler = NULL;
    slm_generator *g = NULL;
    slm_error err;
    (void)state;
    open_narrow(&w, 0);
    assert_int_equal(slm_model_open(&story, TESTING_STORYTELLER, NULL, NULL), SLM_OK);
    assert_int_equal(slm_context_create(&context, story, NULL, NULL), SLM_OK);
    assert_int_equal(slm_sampler_create(&sampler, w.model, NULL, 0, 0, NULL, NULL), SLM_OK);
    assert_int_equal(slm_generate_begin(&g, context, 0, sampler, "a", 1, NULL, &err),
                     SLM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "another model"));
    slm_sampler_free(sampler);
    slm_context_free(context);
    slm_model_free(story);
    close_world(&w);
}

/* Stop strings are bytes, text goes out in whole characters. A byte that is no character comes out as
 * U+FFFD, EF BF BD: the stop is its second byte. */
static void a_stop_inside_a_character_leaves_whole_characters(void **state)
{
    slm_model *story = NULL;
    slm_context *context = NULL;
    slm_sampler *sampler = NULL;
    slm_generator *g = NULL;
    slm_generate_options o;
    slm_sampler_stage stage;
    slm_logit_bias bias = {-1, 1000};
    slm_piece piece;
    const char *stops[1] = {"\xBF"};
    (void)state;
    assert_int_equal(slm_model_open(&story, TESTING_STORYTELLER, NULL, NULL), SLM_OK);
    /* The token of the byte 9D, as the byte-level alphabet writes it. */
    assert_int_equal(slm_token_find(story, "\xC4\xBF", 2, &bias.token, NULL), SLM_OK);
    assert_true(bias.token >= 0);
    memset(&stage, 0, sizeof stage);
    stage.struct_size = (uint32_t)sizeof stage;
    stage.kind = SLM_STAGE_LOGIT_BIAS;
    stage.biases = &bias;
    stage.n_biases = 1;
    assert_int_equal(slm_sampler_create(&sampler, story, &stage, 1, sizeof stage, NULL, NULL),
                     SLM_OK);
    assert_int_equal(slm_context_create(&context, story, NULL, NULL), SLM_OK);
    slm_generate_options_init(&o, sizeof o);
    o.stops = stops;
    o.n_stops = 1;
    assert_int_equal(slm_generate_begin(&g, context, 0, sampler, "a", 1, &o, NULL), SLM_OK);
    memset(&piece, 0, sizeof piece);
    piece.struct_size = (uint32_t)sizeof piece;
    assert_int_equal(slm_generate_next(g, &piece, NULL), SLM_OK);
    assert_int_equal(piece.kind, SLM_PIECE_END);
    assert_int_equal(piece.reason, SLM_END_STOP);
    slm_generate_end(g);
    slm_sampler_free(sampler);
    slm_context_free(context);
    slm_model_free(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_matrix_of_one_row_may_have_one_dimension),
        cmocka_unit_test(a_refused_call_sets_n_done_to_zero),
        cmocka_unit_test(the_earliest_of_all_deadlines_overflows_nothing),
        cmocka_unit_test(spans_of_an_odd_size_are_refused),
        cmocka_unit_test(reserved_fields_must_be_zero),
        cmocka_unit_test(generation_without_a_vocabulary_fails_before_it_begins),
        cmocka_unit_test(a_sampler_of_another_model_is_refused),
        cmocka_unit_test(a_stop_inside_a_character_leaves_whole_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
