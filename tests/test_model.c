/* test_model.c - a model: what a file must hold to be one, what opening it tells, and what it costs.
 *
 * Public functions only. Memory is counted everywhere: plans are compared with what the allocator
 * gave, to the byte, and every failure must leave nothing behind. */
#include "counting.h"
#include "golden.h"
#include "gguf_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const int32_t tokens[5] = {3, 1, 4, 1, 5};

static void assert_says(const char *what, int status, const slm_error *err, int wanted,
                        const char *a, const char *b)
{
    if (status != wanted || err->code != wanted || !tiny_says(err, a, b)) {
        fail_msg("%s: %s '%s', expected %s with '%s' and '%s'", what, slm_status_name(status),
                 err->message, slm_status_name(wanted), a != NULL ? a : "", b != NULL ? b : "");
    }
}

static slm_model_options model_options(struct counting *c, uint32_t flags)
{
    slm_model_options o;
    slm_model_options_init(&o, sizeof o);
    o.flags = flags;
    if (c != NULL) {
        memset(c, 0, sizeof *c);
        o.alloc = counting_alloc;
        o.alloc_user = c;
    }
    return o;
}

static void assert_all_freed(const struct counting *c)
{
    assert_int_equal(c->n_blocks, 0);
    assert_int_equal(c->now, 0);
}

/* Opens, and frees again what opened. */
static int open_status(const struct build *b, const slm_model_options *o, slm_error *err)
{
    slm_model *model = NULL;
    int status = tiny_open(&model, b, o, err);
    assert_true((status == SLM_OK) == (model != NULL));
    slm_model_free(model);
    return status;
}

static slm_model *open_model(const struct build *b, const slm_model_options *o)
{
    slm_model *model = NULL;
    slm_error err;
    assert_says("opening", tiny_open(&model, b, o, &err), &err, SLM_OK, "", NULL);
    return model;
}

static slm_model *open_tiny(struct build *b)
{
    struct tiny t = tiny_default();
    tiny_build(b, &t);
    return open_model(b, NULL);
}

static void assert_tiny_is(const char *what, const struct tiny *t, int wanted, const char *one,
                           const char *two)
{
    struct build b;
    struct counting c;
    slm_model_options o = model_options(&c, 0);
    slm_error err;
    tiny_build(&b, t);
    int status = open_status(&b, &o, &err);
    assert_says(what, status, &err, wanted, wanted == SLM_OK ? "" : one, two);
    assert_all_freed(&c);
    build_free(&b);
}

/* ---- Keys ----------------------------------------------------------------------------------------- */

struct key_row {
    const char *key; /* without the family, which is left out and written anew; NULL: as it is */
    uint32_t type;   /* SLM_TYPE_; array: two ones */
    double value;
    const char *text; /* for SLM_TYPE_STRING */
    int status;
    const char *says, *also;
};

static const struct key_row *key_now; /* for key_write, which takes no argument */

static void key_write(struct build *b)
{
    char key[96];
    snprintf(key, sizeof key, "llama.%s", key_now->key);
    int64_t both[2] = {1, 1};
    switch (key_now->type) {
    case SLM_TYPE_STRING:
        build_text(b, key, key_now->text);
        break;
    case SLM_TYPE_FLOAT32:
        build_f32(b, key, (float)key_now->value);
        break;
    case SLM_TYPE_FLOAT64:
        build_f64(b, key, key_now->value);
        break;
    case SLM_TYPE_ARRAY:
        build_ints(b, key, SLM_TYPE_INT32, both, 2);
        break;
    default:
        build_int(b, key, key_now->type, (int64_t)key_now->value);
    }
}

#define U32 SLM_TYPE_UINT32
#define I32 SLM_TYPE_INT32
#define F32 SLM_TYPE_FLOAT32
#define STR SLM_TYPE_STRING
#define INFINITE (1e308 * 10)

static void keys_out_of_range_are_told(void **state)
{
    static const struct key_row rows[] = {
        {"block_count", U32, 0, NULL, SLM_E_MODEL, "llama.block_count' is 0", "1 to 512"},
        {"block_count", U32, 513, NULL, SLM_E_MODEL, "llama.block_count' is 513", "1 to 512"},
        {"block_count", I32, -1, NULL, SLM_E_MODEL, "llama.block_count' is -1", "1 to 512"},
        {"block_count", U32, 1e9, NULL, SLM_E_MODEL, "llama.block_count' is 1000000000", NULL},
        {"block_count", U32, 2, NULL, SLM_E_MODEL, "blk.1.attn_norm.weight", "missing"},
        {"block_count", F32, 1, NULL, SLM_E_MODEL, "llama.block_count", "no integer"},
        {"block_count", STR, 0, "1", SLM_E_MODEL, "llama.block_count", "no integer"},
        {"block_count", SLM_TYPE_ARRAY, 1, NULL, SLM_E_MODEL, "llama.block_count", "no integer"},
        {"embedding_length", U32, 0, NULL, SLM_E_MODEL, "llama.embedding_length' is 0", NULL},
        {"embedding_length", U32, 1e9, NULL, SLM_E_MODEL, "embedding_length' is 1000000000", NULL},
        {"embedding_length", U32, 18, NULL, SLM_E_MODEL, "embedding_length 18", "head_count 4"},
        {"embedding_length", U32, 32, NULL, SLM_E_MODEL, "token_embd.weight", "expected 32 x 12"},
        {"context_length", U32, 0, NULL, SLM_E_MODEL, "llama.context_length' is 0", NULL},
        {"context_length", U32, 4e9, NULL, SLM_E_MODEL, "context_length' is 4000000000", NULL},
        {"feed_forward_length", U32, 0, NULL, SLM_E_MODEL, "feed_forward_length' is 0", NULL},
        {"feed_forward_length", U32, 24, NULL, SLM_E_MODEL, "blk.0.ffn_gate.weight", "16 x 24"},
        {"feed_forward_length", U32, 1e9, NULL, SLM_E_MODEL, "length' is 1000000000", NULL},
        {"attention.head_count", U32, 0, NULL, SLM_E_MODEL, "attention.head_count' is 0", NULL},
        {"attention.head_count", U32, 1e9, NULL, SLM_E_MODEL, "head_count' is 1000000000", NULL},
        {"attention.head_count", U32, 3, NULL, SLM_E_MODEL, "embedding_length 16", "head_count 3"},
        {"attention.head_count", U32, 32, NULL, SLM_E_MODEL, "head_count 32", NULL},
        {"attention.head_count_kv", U32, 0, NULL, SLM_E_MODEL, "head_count_kv' is 0", NULL},
        {"attention.head_count_kv", U32, 3, NULL, SLM_E_MODEL, "head_count 4", "head_count_kv 3"},
        {"attention.head_count_kv", U32, 8, NULL, SLM_E_MODEL, "head_count 4", "head_count_kv 8"},
        {"attention.head_count_kv", U32, 1e9, NULL, SLM_E_MODEL, "_kv' is 1000000000", NULL},
        {"attention.head_count_kv", U32, 1, NULL, SLM_E_MODEL, "blk.0.attn_k.weight", "16 x 4"},
        {"attention.key_length", U32, 0, NULL, SLM_E_MODEL, "key_length' is 0", "1 to 1024"},
        {"attention.key_length", U32, 1025, NULL, SLM_E_MODEL, "key_length' is 1025", NULL},
        {"attention.key_length", U32, 8, NULL, SLM_E_MODEL, "blk.0.attn_q.weight", "16 x 32"},
        {"attention.value_length", U32, 0, NULL, SLM_E_MODEL, "value_length' is 0", NULL},
        {"attention.value_length", U32, 1e9, NULL, SLM_E_MODEL, "length' is 1000000000", NULL},
        {"attention.value_length", U32, 8, NULL, SLM_E_MODEL, "blk.0.attn_v.weight", "16 x 16"},
        {"attention.layer_norm_rms_epsilon", F32, -1, NULL, SLM_E_MODEL, "rms_epsilon", "finite"},
        {"attention.layer_norm_rms_epsilon", F32, INFINITE, NULL, SLM_E_MODEL, "rms_epsilon",
         "finite"},
        {"attention.layer_norm_rms_epsilon", STR, 0, "x", SLM_E_MODEL, "rms_epsilon", "no number"},
        {"rope.dimension_count", U32, 3, NULL, SLM_E_MODEL, "rope.dimension_count", "odd"},
        {"rope.dimension_count", U32, 0, NULL, SLM_E_MODEL, "rope.dimension_count' is 0", "2 to 4"},
        {"rope.dimension_count", U32, 6, NULL, SLM_E_MODEL, "rope.dimension_count' is 6", "2 to 4"},
        {"rope.freq_base", F32, 0, NULL, SLM_E_MODEL, "llama.rope.freq_base", "positive"},
        {"rope.freq_base", F32, -10000, NULL, SLM_E_MODEL, "llama.rope.freq_base", "positive"},
        {"rope.freq_base", F32, INFINITE, NULL, SLM_E_MODEL, "llama.rope.freq_base", "finite"},
        {"rope.freq_base", SLM_TYPE_FLOAT64, 1e300, NULL, SLM_E_MODEL, "rope.freq_base", "finite"},
        {"rope.scaling.factor", F32, -2, NULL, SLM_E_MODEL, "rope.scaling.factor", "finite"},
        {"rope.scaling.factor", F32, INFINITE, NULL, SLM_E_MODEL, "rope.scaling.factor", NULL},
        {"rope.scaling.type", STR, 0, "longrope", SLM_E_UNSUPPORTED, "scaling.type", "'longrope'"},
        {"rope.scaling.type", U32, 1, NULL, SLM_E_MODEL, "rope.scaling.type", "no string"},
        {"rope.scaling.original_context_length", U32, 0, NULL, SLM_E_MODEL,
         "original_context_length' is 0", NULL},
        {"expert_count", U32, 8, NULL, SLM_E_UNSUPPORTED, "8 experts", NULL},

        /* What is fine. */
        {"block_count", SLM_TYPE_UINT8, 1, NULL, SLM_OK, NULL, NULL},
        {"block_count", SLM_TYPE_INT64, 1, NULL, SLM_OK, NULL, NULL},
        {"block_count", SLM_TYPE_UINT64, 1, NULL, SLM_OK, NULL, NULL},
        {"context_length", U32, 1 << 24, NULL, SLM_OK, NULL, NULL},
        {"attention.key_length", U32, 4, NULL, SLM_OK, NULL, NULL},
        {"rope.dimension_count", U32, 2, NULL, SLM_OK, NULL, NULL},
        {"rope.freq_base", U32, 500000, NULL, SLM_OK, NULL, NULL},
        {"rope.scaling.type", STR, 0, "yarn", SLM_OK, NULL, NULL},
        {"attention.layer_norm_rms_epsilon", SLM_TYPE_FLOAT64, 0, NULL, SLM_OK, NULL, NULL},
        {"expert_count", U32, 0, NULL, SLM_OK, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tiny t = tiny_default();
        key_now = &rows[i];
        t.without = rows[i].key;
        t.keys = key_write;
        assert_tiny_is(rows[i].key, &t, rows[i].status, rows[i].says, rows[i].also);
    }
}

static void keys_that_are_needed_are_told_when_missing(void **state)
{
    static const char *const keys[] = {"block_count",          "context_length",
                                       "embedding_length",     "feed_forward_length",
                                       "attention.head_count", "attention.layer_norm_rms_epsilon"};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct tiny t = tiny_default();
        t.without = keys[i];
        assert_tiny_is(keys[i], &t, SLM_E_MODEL, keys[i], "missing");
    }
    struct tiny t = tiny_default();
    t.without = "attention.head_count_kv"; /* as many as head_count then */
    t.n_kv_head = t.n_head;
    assert_tiny_is("head_count_kv", &t, SLM_OK, NULL, NULL);
}

static void families_that_are_not_known_are_told(void **state)
{
    static const struct {
        const char *family;
        const char *says;
    } rows[] = {{"mamba", "'mamba'"},   {"", "family ''"},    {"llam", "'llam'"},
                {"llama2", "'llama2'"}, {"LLAMA", "'LLAMA'"}, {"\x01\xff", "'?"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tiny t = tiny_default();
        t.family = rows[i].family;
        assert_tiny_is(rows[i].family, &t, SLM_E_UNSUPPORTED, rows[i].says, NULL);
    }
    struct build b;
    slm_error err;
    build_init(&b);
    build_u32(&b, "general.architecture", 1);
    build_finish(&b);
    assert_says("no string", open_status(&b, NULL, &err), &err, SLM_E_MODEL, "general.architecture",
                NULL);
    build_free(&b);
    build_init(&b);
    build_text(&b, "general.name", "nameless");
    build_finish(&b);
    assert_says("missing", open_status(&b, NULL, &err), &err, SLM_E_MODEL, "general.architecture",
                "missing");
    build_free(&b);
}

/* ---- Keys with a value for every layer ----------------------------------------------------------------- */

static void heads_of_layers(struct build *b, const int64_t *values, size_t n)
{
    build_ints(b, "llama.attention.head_count", SLM_TYPE_UINT32, values, n);
}

static void heads_1(struct build *b)
{
    static const int64_t values[1] = {4};
    heads_of_layers(b, values, 1);
}

static void heads_2(struct build *b)
{
    static const int64_t values[2] = {4, 4};
    heads_of_layers(b, values, 2);
}

static void heads_3(struct build *b)
{
    static const int64_t values[3] = {4, 4, 4};
    heads_of_layers(b, values, 3);
}

static void heads_0(struct build *b)
{
    heads_of_layers(b, NULL, 0);
}

static void heads_second_bad(struct build *b)
{
    static const int64_t values[2] = {4, 0};
    heads_of_layers(b, values, 2);
}

static void heads_second_uneven(struct build *b)
{
    static const int64_t values[2] = {4, 5};
    heads_of_layers(b, values, 2);
}

static void heads_real(struct build *b)
{
    build_array(b, "llama.attention.head_count", SLM_TYPE_FLOAT32, 2);
    build_put_f32(&b->keys, 4);
    build_put_f32(&b->keys, 4);
}

static void heads_text(struct build *b)
{
    static const char *const texts[2] = {"4", "4"};
    build_texts(b, "llama.attention.head_count", texts, 2);
}

static void arrays_have_a_value_for_every_layer(void **state)
{
    static const struct {
        void (*keys)(struct build *b);
        int status;
        const char *says, *also;
    } rows[] = {
        {heads_2, SLM_OK, NULL, NULL},
        {heads_1, SLM_E_MODEL, "llama.attention.head_count", "2 integers"},
        {heads_3, SLM_E_MODEL, "llama.attention.head_count", "2 integers"},
        {heads_0, SLM_E_MODEL, "llama.attention.head_count", "2 integers"},
        {heads_real, SLM_E_MODEL, "llama.attention.head_count", "2 integers"},
        {heads_text, SLM_E_MODEL, "llama.attention.head_count", "2 integers"},
        {heads_second_bad, SLM_E_MODEL, "llama.attention.head_count' is 0", NULL},
        {heads_second_uneven, SLM_E_MODEL, "layer 1", "head_count 5"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tiny t = tiny_default();
        t.n_layer = 2;
        t.without = "attention.head_count";
        t.keys = rows[i].keys;
        assert_tiny_is("array", &t, rows[i].status, rows[i].says, rows[i].also);
    }
}

static void an_array_of_equal_values_is_the_scalar(void **state)
{
    struct tiny t = tiny_default();
    struct build b;
    float rows[2][TINY_VOCAB];
    (void)state;
    t.n_layer = 2;
    for (int i = 0; i < 2; i++) {
        tiny_build(&b, &t);
        slm_model *model = open_model(&b, NULL);
        assert_int_equal(tiny_run(model, tokens, 5, rows[i], TINY_VOCAB, NULL), SLM_OK);
        slm_model_free(model);
        build_free(&b);
        t.without = "attention.head_count";
        t.keys = heads_2;
    }
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
}

static void ff_of_layers(struct build *b)
{
    static const int64_t values[2] = {20, 40};
    build_ints(b, "llama.feed_forward_length", SLM_TYPE_INT32, values, 2);
}

static void layers_may_differ(void **state)
{
    struct tiny t = tiny_default();
    struct build b;
    float row[TINY_VOCAB];
    (void)state;
    t.n_layer = 2;
    t.n_ff_last = 40;
    t.without = "feed_forward_length";
    t.keys = ff_of_layers;
    tiny_build(&b, &t);
    slm_model *model = open_model(&b, NULL);
    assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, NULL), SLM_OK);
    slm_model_free(model);
    build_free(&b);
    t.n_ff_last = 24;
    assert_tiny_is("other than the array", &t, SLM_E_MODEL, "blk.1.ffn_gate.weight", "16 x 40");
}

/* ---- Tensors ------------------------------------------------------------------------------------------- */

static const char *const needed[] = {
    "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
    "blk.0.attn_q.weight",      "blk.0.attn_k.weight",   "blk.0.attn_v.weight",
    "blk.0.attn_output.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
    "blk.0.ffn_down.weight",    "blk.0.ffn_norm.weight",
};

#define N_NEEDED (sizeof needed / sizeof needed[0])

static void every_tensor_that_is_missing_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NEEDED; i++) {
        struct tiny t = tiny_default();
        t.without = needed[i];
        assert_tiny_is(needed[i], &t, SLM_E_MODEL, needed[i], "missing");
    }
}

static void every_tensor_of_the_wrong_shape_is_told(void **state)
{
    static const struct {
        uint32_t n_dims;
        int64_t shape[4];
    } shapes[] = {
        {1, {1, 1, 1, 1}},   {1, {16, 1, 1, 1}},  {1, {17, 1, 1, 1}},  {2, {16, 17, 1, 1}},
        {2, {17, 16, 1, 1}}, {2, {12, 16, 1, 1}}, {3, {16, 16, 2, 1}}, {4, {16, 16, 1, 2}},
        {3, {16, 1, 12, 1}}, {0, {0, 0, 0, 0}},   {2, {8, 32, 1, 1}},
    };
    int n_refused = 0;
    (void)state;
    for (size_t i = 0; i < N_NEEDED; i++) {
        for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
            struct tiny t = tiny_default();
            int is_norm = strstr(needed[i], "norm") != NULL;
            t.misshaped = needed[i];
            t.n_dims = shapes[k].n_dims;
            memcpy(t.shape, shapes[k].shape, sizeof t.shape);
            int is_right = is_norm && t.n_dims == 1 && t.shape[0] == 16;
            /* An embedding of another number of rows is a vocabulary of that size: then it is the
             * output that does not fit. */
            int is_vocabulary = i == 0 && t.shape[0] == 16 && t.shape[2] == 1 && t.shape[3] == 1;
            const char *name = is_vocabulary ? "output.weight" : needed[i];
            assert_tiny_is(needed[i], &t, is_right ? SLM_OK : SLM_E_MODEL, name, NULL);
            n_refused += !is_right;
        }
    }
    assert_true(n_refused > 100);
}

/* Trailing dimensions of 1 are no dimensions. */
static void vectors_and_matrices_may_have_dimensions_of_one(void **state)
{
    struct tiny t = tiny_default();
    (void)state;
    t.misshaped = "blk.0.attn_norm.weight";
    t.n_dims = 4;
    int64_t vector[4] = {16, 1, 1, 1};
    memcpy(t.shape, vector, sizeof vector);
    assert_tiny_is("vector", &t, SLM_OK, NULL, NULL);
    t.misshaped = "blk.0.attn_q.weight";
    int64_t matrix[4] = {16, 16, 1, 1};
    memcpy(t.shape, matrix, sizeof matrix);
    assert_tiny_is("matrix", &t, SLM_OK, NULL, NULL);
}

static void without_an_output_the_embedding_is_it(void **state)
{
    struct tiny t = tiny_default();
    struct build b;
    float rows[2][TINY_VOCAB];
    (void)state;
    for (int i = 0; i < 2; i++) {
        t.without = "output.weight";
        tiny_build(&b, &t);
        if (i == 1) { /* with one that is a copy of the embedding */
            uint8_t copy[TINY_VOCAB * 16 * 4];
            build_free(&b);
            t.without = NULL;
            tiny_build(&b, &t);
            memcpy(copy, b.file.data + build_data_at(&b, "token_embd.weight"), sizeof copy);
            memcpy(b.file.data + build_data_at(&b, "output.weight"), copy, sizeof copy);
        }
        slm_model *model = open_model(&b, NULL);
        assert_int_equal(tiny_run(model, tokens, 5, rows[i], TINY_VOCAB, NULL), SLM_OK);
        slm_model_free(model);
        build_free(&b);
    }
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
}

static void qwen2_needs_its_biases(void **state)
{
    struct tiny t = tiny_default();
    (void)state;
    t.family = "qwen2";
    assert_tiny_is("qwen2", &t, SLM_E_MODEL, "blk.0.attn_q.bias", "missing");
    t.family = "qwen3";
    assert_tiny_is("qwen3", &t, SLM_E_MODEL, "blk.0.attn_q_norm.weight", "missing");
}

static void logits_of(const struct tiny *t, float row[TINY_VOCAB])
{
    struct build b;
    tiny_build(&b, t);
    slm_model *model = open_model(&b, NULL);
    assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, NULL), SLM_OK);
    slm_model_free(model);
    build_free(&b);
}

static void fused_and_separate_projections_are_the_same(void **state)
{
    float rows[2][TINY_VOCAB], without[TINY_VOCAB];
    struct tiny t = tiny_default();
    (void)state;
    t.n_layer = 2;
    logits_of(&t, without);
    for (t.biases = 0; t.biases <= 1; t.biases++) {
        for (t.fused = 0; t.fused <= 1; t.fused++) {
            logits_of(&t, rows[t.fused]);
        }
        assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
        assert_int_equal(memcmp(rows[0], without, sizeof without) != 0, t.biases);
    }
}

static void scale_of_two(struct build *b)
{
    int64_t one = 1;
    struct build_bytes two = {NULL, 0, 0};
    build_put_f32(&two, 2);
    build_tensor_bytes(b, "blk.0.ffn_up.scale", 0, 1, &one, two.data, two.size);
    free(two.data);
}

/* Twice is exact: the same bits as a weight of twice the size. */
static void a_scale_beside_a_weight_multiplies_it(void **state)
{
    float scaled[TINY_VOCAB], doubled[TINY_VOCAB], plain[TINY_VOCAB];
    struct tiny t = tiny_default();
    struct build b;
    (void)state;
    logits_of(&t, plain);
    tiny_build(&b, &t);
    for (size_t i = 0; i < 16 * 20; i++) { /* one more in the exponent */
        size_t at = build_data_at(&b, "blk.0.ffn_up.weight") + 4 * i;
        build_poke(&b, at, build_peek(&b, at, 4) + (1u << 23), 4);
    }
    slm_model *model = open_model(&b, NULL);
    assert_int_equal(tiny_run(model, tokens, 5, doubled, TINY_VOCAB, NULL), SLM_OK);
    slm_model_free(model);
    build_free(&b);
    t.tensors = scale_of_two;
    logits_of(&t, scaled);
    assert_memory_equal(scaled, doubled, sizeof scaled);
    assert_memory_not_equal(scaled, plain, sizeof scaled);
}

static void a_vocabulary_longer_than_the_embedding_is_refused(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_error err;
    (void)state;
    size_t size = 0;
    t.n_vocab = 1;
    tiny_build(&b, &t);
    slm_model_free(open_model(&b, NULL));
    build_free(&b);
    /* Of a real file: fewer rows than tokens. */
    char *file = testing_read(TESTING_STORYTELLER, &size);
    assert_non_null(file);
    build_init(&b);
    b.file.data = (uint8_t *)file;
    b.file.size = size;
    slm_model *model = open_model(&b, NULL);
    slm_tensor_info info = {.struct_size = sizeof info};
    const char *wanted = "token_embd.weight";
    for (int32_t i = 0; slm_model_tensor(model, i, &info, NULL) == SLM_OK; i++) {
        if (info.name_size == strlen(wanted) && memcmp(info.name, wanted, info.name_size) == 0) {
            break;
        }
    }
    assert_int_equal(info.name_size, strlen(wanted));
    int64_t rows = info.shape[1];
    slm_model_free(model);
    /* The info stands somewhere in the metadata: name, n_dims, ne[0], ne[1]. */
    for (size_t at = 0; at + 64 < size; at++) {
        if (memcmp(file + at, wanted, strlen(wanted)) == 0) {
            at += strlen(wanted) + 4 + 8;
            assert_int_equal(build_peek(&b, at, 8), rows);
            build_poke(&b, at, (uint64_t)rows - 1, 8);
            break;
        }
    }
    assert_says("short", open_status(&b, NULL, &err), &err, SLM_E_MODEL, "token_embd.weight",
                "tokens");
    build_free(&b);
}

/* ---- Log ------------------------------------------------------------------------------------------------- */

struct log {
    int n;
    int32_t level;
    char last[300];
};

static void log_line(void *user, int32_t level, const char *message)
{
    struct log *l = (struct log *)user;
    l->n++;
    l->level = level;
    assert_null(strchr(message, '\n'));
    snprintf(l->last, sizeof l->last, "%s", message);
}

static void extra_tensors(struct build *b)
{
    int64_t shape[2] = {16, 2};
    build_tensor(b, "blk.0.attn_rot_embd", 2, shape);
    build_tensor(b, "blk.7.attn_q.weight", 2, shape);
}

static void unused_tensors_are_ignored_and_logged(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct log log;
    slm_model_options o = model_options(NULL, 0);
    float rows[2][TINY_VOCAB];
    (void)state;
    for (int i = 0; i < 2; i++) {
        memset(&log, 0, sizeof log);
        o.log = log_line;
        o.log_user = &log;
        t.tensors = i == 1 ? extra_tensors : NULL;
        tiny_build(&b, &t);
        slm_model *model = open_model(&b, &o);
        assert_int_equal(tiny_run(model, tokens, 5, rows[i], TINY_VOCAB, NULL), SLM_OK);
        slm_model_free(model);
        assert_int_equal(log.n, i);
        o.log = NULL; /* silent, and works */
        slm_model_free(open_model(&b, &o));
        assert_int_equal(log.n, i);
        build_free(&b);
    }
    assert_int_equal(log.level, SLM_LOG_WARN);
    assert_non_null(strstr(log.last, "2 tensors"));
    assert_non_null(strstr(log.last, "blk.0.attn_rot_embd"));
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
}

static void bpe_keys(struct build *b, const char *pre)
{
    static const char *const texts[6] = {"a", "b", "c", "ab", "abc", "<|end|>"};
    static const char *const merges[2] = {"a b", "ab c"};
    static const int64_t types[6] = {1, 1, 1, 1, 1, 3};
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_text(b, "tokenizer.ggml.pre", pre);
    build_texts(b, "tokenizer.ggml.tokens", texts, 6);
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, types, 6);
    build_texts(b, "tokenizer.ggml.merges", merges, 2);
    build_int(b, "tokenizer.ggml.eos_token_id", SLM_TYPE_UINT32, 5);
    build_int(b, "tokenizer.ggml.bos_token_id", SLM_TYPE_UINT32, 5);
}

static void bpe_known(struct build *b)
{
    bpe_keys(b, "gpt-2");
}

static void bpe_unknown(struct build *b)
{
    bpe_keys(b, "no-such-pre");
}

static void an_unknown_pre_tokenizer_is_logged(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct log log;
    slm_model_options o = model_options(NULL, 0);
    (void)state;
    o.log = log_line;
    o.log_user = &log;
    for (int i = 0; i < 2; i++) {
        int32_t ids[8];
        size_t n = 0;
        memset(&log, 0, sizeof log);
        t.keys = i == 1 ? bpe_unknown : bpe_known;
        tiny_build(&b, &t);
        slm_model *model = open_model(&b, &o);
        assert_int_equal(log.n, i);
        assert_int_equal(slm_tokenize(model, "abc", 3, 0, ids, 8, &n, NULL), SLM_OK);
        assert_int_equal(n, 1);
        assert_int_equal(ids[0], 4);
        slm_model_free(model);
        o.log = NULL;
        slm_model_free(open_model(&b, &o));
        o.log = log_line;
        assert_int_equal(log.n, i);
        build_free(&b);
    }
    assert_int_equal(log.level, SLM_LOG_WARN);
    assert_non_null(strstr(log.last, "no-such-pre"));
}

static void a_context_beyond_the_trained_length_is_logged(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct log log;
    slm_model_options o = model_options(NULL, 0);
    slm_context_options co = tiny_context();
    (void)state;
    memset(&log, 0, sizeof log);
    o.log = log_line;
    o.log_user = &log;
    tiny_build(&b, &t);
    slm_model *model = open_model(&b, &o);
    for (int32_t n_ctx = 64; n_ctx <= 65; n_ctx++) {
        slm_context *context = NULL;
        co.n_ctx = n_ctx;
        assert_int_equal(slm_context_create(&context, model, &co, NULL), SLM_OK);
        slm_context_free(context);
        assert_int_equal(log.n, n_ctx - 64);
    }
    assert_int_equal(log.level, SLM_LOG_WARN);
    assert_non_null(strstr(log.last, "65"));
    assert_non_null(strstr(log.last, "64"));
    slm_model_free(model);
    build_free(&b);
}

static void the_default_context_is_the_trained_length_up_to_4096(void **state)
{
    static const struct key_row rows[] = {
        {"context_length", U32, 100, NULL, SLM_OK, NULL, NULL},
        {"context_length", U32, 131072, NULL, SLM_OK, NULL, NULL},
    };
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct build b;
        struct tiny t = tiny_default();
        slm_context_options o;
        slm_plan plan = {.struct_size = sizeof plan};
        slm_context *context = NULL;
        slm_context_info info = {.struct_size = sizeof info};
        key_now = &rows[i];
        t.without = "context_length";
        t.keys = key_write;
        tiny_build(&b, &t);
        slm_model *model = open_model(&b, NULL);
        slm_context_options_init(&o, sizeof o);
        o.n_threads = 1;
        assert_int_equal(slm_plan_memory(model, &o, &plan, NULL), SLM_OK);
        assert_int_equal(plan.n_ctx, i == 0 ? 100 : 4096);
        assert_int_equal(slm_context_create(&context, model, &o, NULL), SLM_OK);
        assert_int_equal(slm_context_get_info(context, &info, NULL), SLM_OK);
        assert_int_equal(info.n_ctx, plan.n_ctx);
        slm_context_free(context);
        slm_model_free(model);
        build_free(&b);
    }
}

/* ---- SLM_LOAD_METADATA ------------------------------------------------------------------------------------ */

static void a_file_with_a_vocabulary_alone_opens_for_its_metadata(void **state)
{
    struct build b;
    struct counting c;
    slm_model_options o = model_options(&c, SLM_LOAD_METADATA);
    slm_model_info info = {.struct_size = sizeof info};
    slm_context *context = NULL;
    slm_plan plan = {.struct_size = sizeof plan};
    slm_error err;
    int32_t ids[8];
    size_t n = 0;
    (void)state;
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_text(&b, "general.name", "words only");
    bpe_known(&b);
    build_finish(&b);
    slm_model *model = open_model(&b, &o);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_string_equal(info.family, "llama");
    assert_string_equal(info.name, "words only");
    assert_string_equal(info.tokenizer, "bpe");
    assert_null(info.chat_template);
    assert_int_equal(info.n_vocab, 6);
    assert_int_equal(info.n_tensors, 0);
    assert_int_equal(slm_tokenize(model, "abc", 3, 0, ids, 8, &n, NULL), SLM_OK);
    assert_int_equal(ids[0], 4);
    int status = slm_context_create(&context, model, NULL, &err);
    assert_says("context", status, &err, SLM_E_ARGUMENT, "SLM_LOAD_METADATA", NULL);
    status = slm_plan_memory(model, NULL, &plan, &err);
    assert_says("plan", status, &err, SLM_E_MODEL, "llama.block_count", NULL);
    slm_model_free(model);
    assert_all_freed(&c);
    status = open_status(&b, NULL, &err);
    assert_says("in full", status, &err, SLM_E_MODEL, "llama.block_count", NULL);
    build_free(&b);
}

static void metadata_of_models_that_cannot_run_is_readable(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model_options o = model_options(NULL, SLM_LOAD_METADATA);
    slm_plan plan = {.struct_size = sizeof plan};
    slm_model_info info = {.struct_size = sizeof info};
    slm_error err;
    (void)state;
    t.family = "mamba";
    tiny_build(&b, &t);
    slm_model *model = open_model(&b, &o);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_string_equal(info.family, "mamba");
    assert_int_equal(info.n_tensors, 12);
    int status = slm_plan_memory(model, NULL, &plan, &err);
    assert_says("plan", status, &err, SLM_E_UNSUPPORTED, "mamba", NULL);
    slm_model_free(model);
    build_free(&b);
}

struct read_count {
    const uint8_t *data;
    uint64_t size;
    uint64_t bytes;
};

static int64_t read_counted(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    struct read_count *r = (struct read_count *)user;
    if (file != 0 || offset > r->size || size > r->size - offset) {
        return -1;
    }
    memcpy(buffer, r->data + offset, size);
    r->bytes += size;
    return (int64_t)size;
}

static void load_metadata_reads_no_weights(void **state)
{
    size_t size = 0;
    char *file = testing_read(TESTING_STORYTELLER, &size);
    struct counting c;
    slm_model_info info = {.struct_size = sizeof info};
    (void)state;
    assert_non_null(file);
    for (int full = 0; full <= 1; full++) {
        struct read_count r = {(const uint8_t *)file, size, 0};
        slm_model_options o = model_options(&c, full ? 0 : SLM_LOAD_METADATA);
        slm_model *model = NULL;
        uint64_t size64 = size;
        assert_int_equal(slm_model_open_callback(&model, read_counted, &r, &size64, 1, &o, NULL),
                         SLM_OK);
        assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
        assert_int_equal(info.heap_bytes, c.now);
        if (full) {
            assert_true(r.bytes >= info.weight_bytes && c.now > info.weight_bytes);
        } else {
            assert_true(r.bytes < size / 4 && c.now < size / 4);
            assert_true(info.n_layer > 0 && info.n_vocab > 0);
        }
        slm_model_free(model);
        assert_all_freed(&c);
    }
    free(file);
}

/* ---- NaN and infinity --------------------------------------------------------------------------------------- */

#define BITS_NAN 0x7fc00000u
#define BITS_INFINITY 0x7f800000u

static void load_check_names_the_tensor_with_a_nan(void **state)
{
    static const uint32_t values[] = {BITS_NAN, BITS_INFINITY, 0xff800000u, 0x7f800001u};
    struct build b;
    struct tiny t = tiny_default();
    struct counting c;
    slm_error err;
    (void)state;
    tiny_build(&b, &t);
    for (uint32_t flags = SLM_LOAD_CHECK; flags <= (SLM_LOAD_CHECK | SLM_LOAD_READ); flags++) {
        slm_model_options o = model_options(&c, flags);
        if ((flags & SLM_LOAD_METADATA) != 0) {
            continue;
        }
        assert_says("clean", open_status(&b, &o, &err), &err, SLM_OK, "", NULL);
        for (size_t i = 0; i < N_NEEDED; i++) {
            size_t n = strstr(needed[i], "norm") != NULL ? 16 : 16 * 8;
            for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
                size_t at = build_data_at(&b, needed[i]) + (k % 2 == 0 ? 0 : 4 * (n - 1));
                uint64_t old = build_peek(&b, at, 4);
                build_poke(&b, at, values[k], 4);
                int status = open_status(&b, &o, &err);
                assert_says(needed[i], status, &err, SLM_E_MODEL, needed[i], "NaN");
                build_poke(&b, at, old, 4);
            }
        }
        assert_all_freed(&c);
    }
    build_free(&b);
}

/* All scales of all blocks of the first quantised matrix, one by one, would be long: some. */
static void load_check_sees_the_scales_of_blocks(void **state)
{
    size_t size = 0;
    char *file = testing_read(TESTING_STORYTELLER, &size);
    struct build b;
    slm_error err;
    slm_model_options o = model_options(NULL, SLM_LOAD_CHECK);
    int n = 0;
    (void)state;
    assert_non_null(file);
    build_init(&b);
    b.file.data = (uint8_t *)file;
    b.file.size = size;
    slm_model *model = open_model(&b, &o);
    slm_tensor_info info = {.struct_size = sizeof info};
    for (int32_t i = 0; slm_model_tensor(model, i, &info, NULL) == SLM_OK; i++) {
        if (info.type != 8) {
            continue;
        }
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)info.name_size, info.name);
        size_t last = (size_t)info.size / 34 - 1;
        size_t at = (size_t)info.offset + 34 * (i % 2 == 0 ? last : last / 2);
        uint64_t old = build_peek(&b, at, 2);
        build_poke(&b, at, i % 3 == 0 ? 0x7e00 : 0xfc00, 2);
        int status = open_status(&b, &o, &err);
        assert_says(name, status, &err, SLM_E_MODEL, name, "NaN");
        build_poke(&b, at, old, 2);
        n++;
    }
    assert_true(n > 10);
    slm_model_free(model);
    build_free(&b);
}

static int is_finite(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (bits & BITS_INFINITY) != BITS_INFINITY;
}

/* Every role of a tensor all NaN and all infinite: it loads, it runs, and a token is chosen from what
 * is finite or SLM_E_NUMERIC says that nothing is. */
static void nan_weights_are_a_status_when_sampling(void **state)
{
    static const uint32_t values[] = {BITS_NAN, BITS_INFINITY, 0xff800000u};
    struct build b;
    struct tiny t = tiny_default();
    slm_error err;
    int n_numeric = 0;
    (void)state;
    tiny_build(&b, &t);
    for (size_t i = 0; i <= N_NEEDED; i++) {
        const char *name = i < N_NEEDED ? needed[i] : "output.weight";
        slm_model *model = open_model(&b, NULL);
        slm_tensor_info info = {.struct_size = sizeof info};
        for (int32_t k = 0; slm_model_tensor(model, k, &info, NULL) == SLM_OK; k++) {
            if (info.name_size == strlen(name) && memcmp(info.name, name, info.name_size) == 0) {
                break;
            }
        }
        slm_model_free(model);
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            uint8_t old[2048];
            float row[TINY_VOCAB];
            int n_finite = 0;
            int32_t token = 77;
            slm_sampler *sampler = NULL;
            assert_true(info.size <= sizeof old);
            memcpy(old, b.file.data + info.offset, (size_t)info.size);
            for (size_t at = 0; at < info.size; at += 4) {
                build_poke(&b, (size_t)info.offset + at, values[v], 4);
            }
            model = open_model(&b, NULL);
            assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, &err), SLM_OK);
            for (int k = 0; k < TINY_VOCAB; k++) {
                n_finite += is_finite(row[k]);
            }
            assert_int_equal(slm_sampler_create(&sampler, model, NULL, 0, 0, NULL, NULL), SLM_OK);
            int status = slm_sample(sampler, row, TINY_VOCAB, &token, &err);
            if (n_finite == 0) {
                assert_says(name, status, &err, SLM_E_NUMERIC, "finite", NULL);
                n_numeric++;
            } else {
                assert_int_equal(status, SLM_OK);
                assert_in_range(token, 0, TINY_VOCAB - 1);
                assert_true(is_finite(row[token]));
            }
            int reaches_all = i < 2 || i == N_NEEDED; /* embedding, output norm, output */
            assert_true(!reaches_all || values[v] != BITS_NAN || n_finite == 0);
            slm_sampler_free(sampler);
            slm_model_free(model);
            memcpy(b.file.data + info.offset, old, (size_t)info.size);
        }
    }
    print_message("%d of %zu altered models gave no finite logit\n", n_numeric,
                  (N_NEEDED + 1) * sizeof values / sizeof values[0]);
    assert_true(n_numeric >= 10);
    build_free(&b);
}

/* A NaN in one row of the output is a NaN in one logit. */
static void a_token_whose_logit_is_nan_is_never_chosen(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    (void)state;
    tiny_build(&b, &t);
    for (int32_t bad = 0; bad < TINY_VOCAB; bad++) {
        size_t at = build_data_at(&b, "output.weight") + (size_t)bad * 16 * 4;
        uint64_t old = build_peek(&b, at, 4);
        float row[TINY_VOCAB];
        int32_t token = -1, best = bad == 0;
        slm_sampler *sampler = NULL;
        build_poke(&b, at, BITS_NAN, 4);
        slm_model *model = open_model(&b, NULL);
        assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, NULL), SLM_OK);
        for (int32_t k = 0; k < TINY_VOCAB; k++) {
            assert_int_equal(is_finite(row[k]), k != bad);
            best = k != bad && row[k] > row[best] ? k : best;
        }
        assert_int_equal(slm_sampler_create(&sampler, model, NULL, 0, 0, NULL, NULL), SLM_OK);
        assert_int_equal(slm_sample(sampler, row, TINY_VOCAB, &token, NULL), SLM_OK);
        assert_int_equal(token, best);
        slm_sampler_free(sampler);
        slm_model_free(model);
        build_poke(&b, at, old, 4);
    }
    build_free(&b);
}

static void nan_weights_end_a_generation_with_a_status(void **state)
{
    struct build b;
    slm_error err;
    slm_context *context = NULL;
    slm_generator *generator = NULL;
    slm_context_options co = tiny_context();
    slm_generate_options go;
    slm_piece piece = {.struct_size = sizeof piece};
    struct tiny t = tiny_default();
    (void)state;
    t.keys = bpe_known;
    tiny_build(&b, &t);
    for (size_t i = 0; i < 16; i++) {
        build_poke(&b, build_data_at(&b, "output_norm.weight") + 4 * i, BITS_NAN, 4);
    }
    slm_model *model = open_model(&b, NULL);
    assert_int_equal(slm_context_create(&context, model, &co, NULL), SLM_OK);
    slm_generate_options_init(&go, sizeof go);
    go.prompt_tokens = tokens;
    go.n_prompt_tokens = 5;
    assert_int_equal(slm_generate_begin(&generator, context, 0, NULL, NULL, 0, &go, NULL), SLM_OK);
    int status = slm_generate_next(generator, &piece, &err);
    assert_says("generation", status, &err, SLM_E_NUMERIC, "finite", NULL);
    status = slm_generate_next(generator, &piece, &err);
    assert_says("and again", status, &err, SLM_E_NUMERIC, NULL, NULL);
    slm_generate_end(generator);
    slm_context_free(context);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Any bytes as weights -------------------------------------------------------------------------------------- */

static struct tiny any_bytes(int32_t type)
{
    struct tiny t = tiny_default();
    t.n_embd = 256;
    t.n_ff = 256;
    t.type = type;
    return t;
}

/* Codebook indices, scales and all: nothing in a block may lead out of a table. */
static void weights_of_every_encoding_may_be_any_bytes(void **state)
{
    int n = 0;
    (void)state;
    for (int32_t type = 1; type < 43; type++) {
        slm_encoding_info e = {.struct_size = sizeof e};
        struct build b;
        slm_error err;
        float row[TINY_VOCAB];
        if (slm_encoding_find(type, NULL, &e, NULL) != SLM_OK) {
            continue;
        }
        struct tiny t = any_bytes(type);
        tiny_build(&b, &t);
        for (int all = 0; all < 3; all++) {
            slm_model_options o = model_options(NULL, all == 1 ? SLM_LOAD_CHECK : 0);
            slm_model *model = NULL;
            if (all == 2) {
                memset(b.file.data + b.data_at + 12288, 0xff, 4096);
            }
            int status = tiny_open(&model, &b, &o, &err);
            int is_weight = type != 9 && type != 15 && !(type >= 24 && type <= 27);
            if (!is_weight) {
                assert_says(e.name, status, &err, SLM_E_UNSUPPORTED, "token_embd.weight", e.name);
            } else if (all == 1) {
                assert_true(status == SLM_OK || status == SLM_E_MODEL);
            } else {
                assert_says(e.name, status, &err, SLM_OK, "", NULL);
                assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, &err), SLM_OK);
                n++;
            }
            slm_model_free(model);
        }
        build_free(&b);
    }
    assert_int_equal(n, 2 * 28);
}

/* ---- Cancel and progress ---------------------------------------------------------------------------------------- */

struct progress {
    int calls;
    int stop_at;
    int32_t *cancel;
    uint64_t done, total;
};

static int32_t progress_step(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = (struct progress *)user;
    p->calls++;
    assert_true(done >= p->done && done <= total);
    assert_true(p->total == 0 || p->total == total);
    p->done = done;
    p->total = total;
    if (p->calls == p->stop_at) {
        if (p->cancel == NULL) {
            return 1;
        }
        *p->cancel = 1;
    }
    return 0;
}

static void loading_tells_its_progress_and_can_be_stopped(void **state)
{
    struct counting c;
    slm_error err;
    slm_model_info info = {.struct_size = sizeof info};
    (void)state;
    for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags++) {
        int calls = 1;
        for (int stop_at = 0; stop_at <= calls; stop_at++) {
            for (int by_flag = 0; by_flag <= 1; by_flag++) {
                int32_t cancel = 0;
                struct progress p = {0, stop_at, by_flag ? &cancel : NULL, 0, 0};
                slm_model_options o = model_options(&c, flags);
                slm_model *model = NULL;
                o.progress = progress_step;
                o.progress_user = &p;
                o.cancel = &cancel;
                int status = slm_model_open(&model, TESTING_STORYTELLER, &o, &err);
                if (stop_at == 0) {
                    assert_says("whole", status, &err, SLM_OK, "", NULL);
                    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
                    assert_int_equal(p.total, info.weight_bytes);
                    assert_int_equal(p.done, p.total);
                    calls = p.calls;
                } else if (!by_flag || stop_at < calls) {
                    assert_says("stopped", status, &err, SLM_E_CANCELLED, "loading", NULL);
                    assert_true(p.calls <= stop_at + 1);
                }
                slm_model_free(model);
                assert_all_freed(&c);
            }
        }
        assert_true(calls > 10);
    }
}

static void loading_with_cancel_set_stops_at_once(void **state)
{
    static const int32_t cancel = 1;
    struct counting c;
    slm_error err;
    slm_model *model = NULL;
    slm_model_options o = model_options(&c, SLM_LOAD_READ);
    (void)state;
    o.cancel = &cancel;
    assert_says("cancel", slm_model_open(&model, TESTING_STORYTELLER, &o, &err), &err,
                SLM_E_CANCELLED, "loading", NULL);
    assert_null(model);
    assert_all_freed(&c);
}

static void a_file_with_unused_tensors_has_a_whole_progress(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct progress p = {0, 0, NULL, 0, 0};
    slm_model_options o = model_options(NULL, 0);
    (void)state;
    t.tensors = extra_tensors;
    tiny_build(&b, &t);
    o.progress = progress_step;
    o.progress_user = &p;
    slm_model_free(open_model(&b, &o));
    assert_true(p.calls > 0);
    assert_int_equal(p.done, p.total);
    build_free(&b);
}

/* ---- The plan, the cap and the count --------------------------------------------------------------------------- */

/* A file in memory or on disk. */
struct subject {
    const char *name;
    const char *path; /* or NULL: build */
    const struct build *build;
};

static int subject_open(const struct subject *s, slm_model **model, const slm_model_options *o,
                        slm_error *err)
{
    return s->path != NULL ? slm_model_open(model, s->path, o, err)
                           : tiny_open(model, s->build, o, err);
}

struct subjects {
    struct subject rows[16];
    int n;
    struct build builds[16];
};

static void subjects_add_build(struct subjects *s, const char *name, const struct tiny *t)
{
    struct subject subject = {name, NULL, &s->builds[s->n]};
    tiny_build(&s->builds[s->n], t);
    s->rows[s->n++] = subject;
}

static void subjects_add_golden(struct subjects *s, const char *path)
{
    struct golden g;
    struct subject subject = {path, NULL, &s->builds[s->n]};
    if (!golden_load(&g, path, NULL)) {
        fail_msg("%s: %s", path, g.error);
    }
    build_init(&s->builds[s->n]);
    build_put(&s->builds[s->n].file, g.image, g.image_size);
    golden_free(&g);
    s->rows[s->n++] = subject;
}

static void subjects_make(struct subjects *s)
{
    static const int32_t types[] = {2, 8, 12, 14, 40};
    static const char *const names[] = {"Q4_0", "Q8_0", "Q4_K", "Q6_K", "NVFP4"};
    struct subject storyteller = {"storyteller", TESTING_STORYTELLER, NULL};
    struct tiny t = tiny_default();
    memset(s, 0, sizeof *s);
    s->rows[s->n++] = storyteller;
    subjects_add_build(s, "tiny", &t);
    t.keys = bpe_known;
    t.tensors = extra_tensors;
    t.n_layer = 2;
    subjects_add_build(s, "tiny with a vocabulary and unused tensors", &t);
    for (int i = 0; i < 5; i++) {
        struct tiny any = any_bytes(types[i]);
        subjects_add_build(s, names[i], &any);
    }
    subjects_add_golden(s, "tests/golden/models/llama-3.2-hd32.txt");
    subjects_add_golden(s, "tests/golden/models/qwen2.txt");
    subjects_add_golden(s, "tests/golden/models/qwen3.txt");
    subjects_add_golden(s, "tests/golden/models/llama-fused-qkv.txt");
}

static void subjects_free(struct subjects *s)
{
    for (int i = 0; i < s->n; i++) {
        build_free(&s->builds[i]);
    }
}

static void the_plan_of_a_model_is_the_peak_of_its_allocator(void **state)
{
    struct subjects s;
    (void)state;
    subjects_make(&s);
    for (int i = 0; i < s.n; i++) {
        for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags++) {
            struct counting full, look;
            slm_model_options o = model_options(&full, flags);
            slm_model *model = NULL;
            slm_context_options co = tiny_context();
            slm_plan plan = {.struct_size = sizeof plan}, early = {.struct_size = sizeof early};
            slm_model_info info = {.struct_size = sizeof info};
            slm_error err;
            int status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says(s.rows[i].name, status, &err, SLM_OK, "", NULL);
            assert_int_equal(slm_plan_memory(model, &co, &plan, NULL), SLM_OK);
            assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
            assert_int_equal(info.heap_peak_bytes, full.peak);
            assert_int_equal(info.heap_bytes, full.now);
            assert_int_equal(info.mapped_bytes, plan.model_mapped_bytes);
            if (plan.model_heap_bytes != full.peak) {
                fail_msg("%s: planned %llu, peak %llu", s.rows[i].name,
                         (unsigned long long)plan.model_heap_bytes, (unsigned long long)full.peak);
            }
            slm_model_free(model);
            assert_all_freed(&full);

            /* Known before: from the metadata alone. */
            o = model_options(&look, flags | SLM_LOAD_METADATA);
            status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says(s.rows[i].name, status, &err, SLM_OK, "", NULL);
            assert_int_equal(slm_plan_memory(model, &co, &early, NULL), SLM_OK);
            if (early.model_heap_bytes != full.peak) {
                fail_msg("%s: planned from the metadata %llu, peak %llu", s.rows[i].name,
                         (unsigned long long)early.model_heap_bytes, (unsigned long long)full.peak);
            }
            assert_memory_equal(&early, &plan, sizeof plan);
            slm_model_free(model);
            assert_all_freed(&look);

            /* The cap: exactly that, and one byte less. */
            o = model_options(&full, flags);
            o.max_bytes = plan.model_heap_bytes;
            status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says("capped", status, &err, SLM_OK, "", NULL);
            slm_model_free(model);
            o.max_bytes--;
            status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says("a byte less", status, &err, SLM_E_MEMORY, "max_bytes", NULL);
            char number[32];
            snprintf(number, sizeof number, "max_bytes %llu", (unsigned long long)o.max_bytes);
            assert_non_null(strstr(err.message, number));
            assert_null(model);
            assert_all_freed(&full);
        }
    }
    subjects_free(&s);
}

/* Tokenising takes scratch from the model's allocator, which is no part of what opening takes. */
static void the_plan_of_a_model_does_not_change_with_its_use(void **state)
{
    slm_model *model = NULL;
    slm_plan before = {.struct_size = sizeof before}, after = {.struct_size = sizeof after};
    slm_context_options co = tiny_context();
    size_t n = 0;
    static char text[400000];
    (void)state;
    memset(text, 'a', sizeof text);
    assert_int_equal(slm_model_open(&model, TESTING_STORYTELLER, NULL, NULL), SLM_OK);
    assert_int_equal(slm_plan_memory(model, &co, &before, NULL), SLM_OK);
    slm_tokenize(model, text, sizeof text, 0, NULL, 0, &n, NULL);
    assert_true(n > 0);
    assert_int_equal(slm_plan_memory(model, &co, &after, NULL), SLM_OK);
    assert_int_equal(before.model_heap_bytes, after.model_heap_bytes);
    slm_model_free(model);
}

static void every_smaller_cap_is_a_clean_failure(void **state)
{
    struct build b;
    struct counting c;
    slm_error err;
    struct tiny t = tiny_default();
    (void)state;
    t.keys = bpe_known;
    tiny_build(&b, &t);
    slm_model_options o = model_options(&c, SLM_LOAD_READ);
    slm_model_free(open_model(&b, &o));
    uint64_t peak = c.peak;
    for (uint64_t cap = 0; cap < peak; cap += 37) {
        o = model_options(&c, SLM_LOAD_READ);
        o.max_bytes = cap;
        assert_says("cap", open_status(&b, &o, &err), &err, SLM_E_MEMORY, "max_bytes", NULL);
        assert_all_freed(&c);
        assert_true(c.peak <= cap);
    }
    build_free(&b);
}

static void inline_parallel(void *user, int32_t n, slm_task_fn task, void *arg)
{
    (void)user;
    for (int32_t i = n; i-- > 0;) {
        task(arg, i);
    }
}

static void assert_context_is_as_planned(const char *name, slm_model *model, slm_context_options o)
{
    struct counting c;
    slm_plan plan = {.struct_size = sizeof plan};
    slm_context_info info = {.struct_size = sizeof info};
    slm_context *context = NULL;
    slm_error err;
    float row[8];
    memset(&c, 0, sizeof c);
    o.alloc = counting_alloc;
    o.alloc_user = &c;
    int status = slm_plan_memory(model, &o, &plan, &err);
    assert_says(name, status, &err, SLM_OK, "", NULL);
    assert_int_equal(c.n_calls, 0);
    o.max_bytes = plan.context_heap_bytes;
    status = slm_context_create(&context, model, &o, &err);
    assert_says(name, status, &err, SLM_OK, "", NULL);
    if (c.peak != plan.context_heap_bytes) {
        fail_msg("%s: planned %llu, peak %llu", name, (unsigned long long)plan.context_heap_bytes,
                 (unsigned long long)c.peak);
    }
    assert_int_equal(slm_context_get_info(context, &info, NULL), SLM_OK);
    assert_int_equal(info.heap_bytes, plan.context_heap_bytes);
    assert_int_equal(info.n_ctx, plan.n_ctx);
    assert_int_equal(info.n_pages, plan.n_pages);
    assert_int_equal(info.n_pages_free, plan.n_pages);
    assert_int_equal(info.n_threads, plan.n_threads);
    assert_true(plan.kv_bytes > 0 && plan.kv_bytes < plan.context_heap_bytes);
    /* Nothing is allocated afterwards. */
    int64_t calls = c.n_calls;
    if (info.n_logits > 0) {
        status = tiny_logits(context, tokens, 5, row, 8, &err);
        assert_says(name, status, &err, SLM_OK, "", NULL);
        status = tiny_logits(context, tokens, 1, row, 8, &err);
        assert_says(name, status, &err, SLM_OK, "", NULL);
    }
    if (info.n_sequences > 1) {
        assert_int_equal(slm_sequence_fork(context, 0, 1, NULL), SLM_OK);
    }
    assert_int_equal(slm_sequence_rewind(context, 0, 0, NULL), SLM_OK);
    assert_int_equal(c.n_calls, calls);
    slm_context_free(context);
    assert_all_freed(&c);
    o.max_bytes--;
    status = slm_context_create(&context, model, &o, &err);
    assert_says(name, status, &err, SLM_E_MEMORY, "max_bytes", NULL);
    assert_null(context);
    assert_all_freed(&c);
}

static void the_plan_of_a_context_is_the_peak_of_its_allocator(void **state)
{
    static const struct {
        int32_t n_ctx, n_sequences, n_pages, n_batch, n_logits, kv_type, n_threads;
        uint32_t flags;
    } rows[] = {
        {SLM_AUTO, 1, SLM_AUTO, 512, SLM_AUTO, SLM_KV_F16, 1, 0},
        {SLM_AUTO, 1, SLM_AUTO, 512, SLM_AUTO, SLM_KV_F32, 2, 0},
        {16, 1, SLM_AUTO, 4, SLM_AUTO, SLM_KV_F16, 1, 0},
        {16, 1, SLM_AUTO, 1, SLM_AUTO, SLM_KV_F16, 2, SLM_CONTEXT_EXACT},
        {129, 1, SLM_AUTO, 64, 64, SLM_KV_F32, 1, SLM_CONTEXT_BATCH_INVARIANT},
        {1000, 3, SLM_AUTO, 512, SLM_AUTO, SLM_KV_F16, 2, SLM_CONTEXT_BATCH_INVARIANT},
        {1000, 3, 5, 17, 1, SLM_KV_F32, 3, SLM_CONTEXT_EXACT | SLM_CONTEXT_BATCH_INVARIANT},
        {256, 256, 300, 4096, 256, SLM_KV_F16, 2, 0},
        {64, 2, SLM_AUTO, 8, 0, SLM_KV_F16, 1, 0},
    };
    struct subjects s;
    (void)state;
    subjects_make(&s);
    for (int i = 0; i < s.n; i++) {
        slm_model *model = NULL;
        slm_error err;
        int status = subject_open(&s.rows[i], &model, NULL, &err);
        assert_says(s.rows[i].name, status, &err, SLM_OK, "", NULL);
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
            slm_context_options o;
            slm_context_options_init(&o, sizeof o);
            o.n_ctx = rows[k].n_ctx;
            o.n_sequences = rows[k].n_sequences;
            o.n_pages = rows[k].n_pages;
            o.n_batch = rows[k].n_batch;
            o.n_logits = rows[k].n_logits;
            o.kv_type = rows[k].kv_type;
            o.n_threads = rows[k].n_threads;
            o.flags = rows[k].flags;
            assert_context_is_as_planned(s.rows[i].name, model, o);
        }
        slm_model_free(model);
    }
    subjects_free(&s);
}

static void a_shared_pool_is_no_part_of_the_plan(void **state)
{
    struct build b;
    slm_model *model = open_tiny(&b);
    slm_plan own = {.struct_size = sizeof own}, shared = {.struct_size = sizeof shared};
    (void)state;
    for (int32_t n = 1; n <= 4; n++) {
        for (int host = 0; host <= 1; host++) {
            struct counting c;
            slm_threads *threads = NULL;
            slm_threads_options to;
            slm_context_options o = tiny_context();
            memset(&c, 0, sizeof c);
            slm_threads_options_init(&to, sizeof to);
            to.n_threads = n;
            to.alloc = counting_alloc;
            to.alloc_user = &c;
            to.parallel = host ? inline_parallel : NULL;
            assert_int_equal(slm_threads_create(&threads, &to, NULL), SLM_OK);
            o.n_threads = n;
            assert_int_equal(slm_plan_memory(model, &o, &own, NULL), SLM_OK);
            o.threads = threads;
            assert_int_equal(slm_plan_memory(model, &o, &shared, NULL), SLM_OK);
            assert_int_equal(shared.stack_bytes, 0);
            if (host == 0) {
                assert_int_equal(shared.context_heap_bytes + c.now, own.context_heap_bytes);
            }
            assert_context_is_as_planned("shared pool", model, o);
            slm_threads_free(threads);
            assert_all_freed(&c);
        }
    }
    slm_model_free(model);
    build_free(&b);
}

static void context_options_out_of_range_are_told(void **state)
{
    static const struct {
        const char *name;
        int32_t values[4];
        size_t offset;
    } rows[] = {
        {"n_ctx", {0, -2, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, n_ctx)},
        {"n_sequences", {0, -1, 257, INT32_MAX}, offsetof(slm_context_options, n_sequences)},
        {"n_pages", {0, -2, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, n_pages)},
        {"n_batch", {0, -1, 4097, INT32_MAX}, offsetof(slm_context_options, n_batch)},
        {"n_logits",
         {-2, INT32_MIN, INT32_MAX, INT32_MAX},
         offsetof(slm_context_options, n_logits)},
        {"kv_type", {-1, 2, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, kv_type)},
        {"n_threads", {0, -2, 1025, INT32_MAX}, offsetof(slm_context_options, n_threads)},
        {"reserved", {1, -1, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, reserved)},
        {"flags", {4, 8, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, flags)},
    };
    struct build b;
    slm_model *model = open_tiny(&b);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int k = 0; k < 4; k++) {
            slm_context_options o = tiny_context();
            slm_context *context = NULL;
            slm_plan plan = {.struct_size = sizeof plan};
            slm_error err;
            memcpy((uint8_t *)&o + rows[i].offset, &rows[i].values[k], sizeof(int32_t));
            int status = slm_context_create(&context, model, &o, &err);
            assert_says(rows[i].name, status, &err, SLM_E_ARGUMENT, rows[i].name, NULL);
            assert_null(context);
            status = slm_plan_memory(model, &o, &plan, &err);
            assert_says(rows[i].name, status, &err, SLM_E_ARGUMENT, rows[i].name, NULL);
        }
    }
    slm_model_free(model);
    build_free(&b);
}

/* The largest context that options can ask for: a plan, or a status; never less than it takes. */
static void the_largest_context_is_planned_or_refused(void **state)
{
    struct subjects s;
    (void)state;
    subjects_make(&s);
    for (int i = 0; i < s.n; i++) {
        slm_model *model = NULL;
        slm_context *context = NULL;
        slm_context_options o;
        struct counting c;
        slm_plan plan = {.struct_size = sizeof plan};
        slm_error err;
        assert_int_equal(subject_open(&s.rows[i], &model, NULL, &err), SLM_OK);
        memset(&c, 0, sizeof c);
        c.limit = 1 << 20;
        slm_context_options_init(&o, sizeof o);
        o.alloc = counting_alloc;
        o.alloc_user = &c;
        o.n_ctx = 1 << 24;
        o.n_sequences = 256;
        o.n_pages = INT32_MAX / 2;
        o.n_batch = 4096;
        o.n_logits = 1 << 24;
        o.n_threads = 1024;
        o.kv_type = SLM_KV_F32;
        int status = slm_plan_memory(model, &o, &plan, &err);
        if (status == SLM_OK) {
            assert_true(plan.context_heap_bytes > (uint64_t)1 << 36);
        } else {
            assert_int_equal(status, SLM_E_MEMORY);
        }
        status = slm_context_create(&context, model, &o, &err);
        assert_says("huge", status, &err, SLM_E_MEMORY, "context", NULL);
        assert_null(context);
        assert_all_freed(&c);
        slm_model_free(model);
    }
    subjects_free(&s);
}

/* ---- Encodings ---------------------------------------------------------------------------------------------------- */

static const struct {
    int32_t type;
    const char *name;
    int32_t elements, bytes;
} encodings[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
};

#define N_ENCODINGS (sizeof encodings / sizeof encodings[0])

static void every_encoding_is_found_by_type_and_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ENCODINGS; i++) {
        slm_encoding_info e = {.struct_size = sizeof e};
        char lower[16];
        assert_int_equal(slm_encoding_find(encodings[i].type, NULL, &e, NULL), SLM_OK);
        for (int by_name = 0; by_name < 3; by_name++) {
            assert_int_equal(e.type, encodings[i].type);
            assert_string_equal(e.name, encodings[i].name);
            assert_int_equal(e.block_elements, encodings[i].elements);
            assert_int_equal(e.block_bytes, encodings[i].bytes);
            memset(&e, 0, sizeof e);
            e.struct_size = sizeof e;
            snprintf(lower, sizeof lower, "%s", encodings[i].name);
            for (char *p = lower; by_name == 1 && *p != 0; p++) {
                *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
            }
            /* With a name the type does not matter. */
            assert_int_equal(slm_encoding_find(by_name == 0 ? -1 : 999, lower, &e, NULL), SLM_OK);
        }
    }
}

static void other_encodings_do_not_exist(void **state)
{
    static const char *const names[] = {"", "Q4", "Q4_0x", "Q4_0 ", "q4_0_4_4", "nothing", "F3"};
    slm_encoding_info e = {.struct_size = sizeof e};
    slm_error err;
    int n = 0;
    (void)state;
    for (int32_t type = -3; type < 300; type++) {
        int known = 0;
        for (size_t i = 0; i < N_ENCODINGS; i++) {
            known |= encodings[i].type == type;
        }
        int status = slm_encoding_find(type, NULL, &e, &err);
        assert_int_equal(status, known ? SLM_OK : SLM_E_UNSUPPORTED);
        n += known;
    }
    assert_int_equal(n, N_ENCODINGS);
    assert_int_equal(slm_encoding_find(INT32_MIN, NULL, &e, &err), SLM_E_UNSUPPORTED);
    assert_int_equal(slm_encoding_find(INT32_MAX, NULL, &e, &err), SLM_E_UNSUPPORTED);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int status = slm_encoding_find(0, names[i], &e, &err);
        assert_says("name", status, &err, SLM_E_UNSUPPORTED, names[i], NULL);
    }
}

/* ---- Structs that tell their size ---------------------------------------------------------------------------------- */

/* A caller of another age: its struct is `size` bytes, and the library must stay inside. */
union aged {
    uint32_t struct_size;
    slm_model_options model;
    slm_context_options context;
    slm_threads_options threads;
    slm_eval_options eval;
    slm_sampler_options sampler;
    slm_generate_options generate;
    slm_encoding_info encoding;
    slm_model_info model_info;
    slm_metadata metadata;
    slm_tensor_info tensor;
    slm_context_info context_info;
    slm_plan plan;
    slm_token_info token;
    uint8_t bytes[512];
};

struct aged_call {
    slm_model *model;
    slm_context *context;
    slm_generator *generator;
};

static int aged_model_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_model *model = NULL;
    (void)c;
    int status = slm_model_open(&model, TESTING_STORYTELLER, &a->model, err);
    slm_model_free(model);
    return status;
}

static int aged_context_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_context *context = NULL;
    int status = slm_context_create(&context, c->model, &a->context, err);
    slm_context_free(context);
    return status;
}

static int aged_threads_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_threads *threads = NULL;
    (void)c;
    int status = slm_threads_create(&threads, &a->threads, err);
    slm_threads_free(threads);
    return status;
}

static int aged_eval_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_eval(c->context, NULL, 0, sizeof(slm_span), &a->eval, err);
}

static int aged_sampler_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_sampler *sampler = NULL;
    int status = slm_sampler_create(&sampler, c->model, NULL, 0, 0, &a->sampler, err);
    slm_sampler_free(sampler);
    return status;
}

static int aged_generate_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_generator *generator = NULL;
    int status = slm_generate_begin(&generator, c->context, 0, NULL, "a", 1, &a->generate, err);
    slm_generate_end(generator);
    return status;
}

static int aged_plan_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_plan plan = {.struct_size = sizeof plan};
    return slm_plan_memory(c->model, &a->context, &plan, err);
}

/* Results. */

static int aged_encoding(const struct aged_call *c, union aged *a, slm_error *err)
{
    (void)c;
    return slm_encoding_find(12, NULL, &a->encoding, err);
}

static int aged_model_info(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_model_get_info(c->model, &a->model_info, err);
}

static int aged_metadata(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_model_metadata(c->model, 0, 0, &a->metadata, err);
}

static int aged_tensor(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_model_tensor(c->model, 0, &a->tensor, err);
}

static int aged_context_info(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_context_get_info(c->context, &a->context_info, err);
}

static int aged_plan(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_context_options o = tiny_context();
    return slm_plan_memory(c->model, &o, &a->plan, err);
}

static int aged_token(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_token_get_info(c->model, 0, &a->token, err);
}

/* The defaults come through wrappers: calling one init function through another's type is undefined. */
#define AGED_INIT(name, field)                                                                     \
    static int aged_init_##name(union aged *a, size_t size)                                        \
    {                                                                                              \
        return slm_##name##_options_init(&a->field, size);                                         \
    }
AGED_INIT(model, model)
AGED_INIT(context, context)
AGED_INIT(threads, threads)
AGED_INIT(eval, eval)
AGED_INIT(sampler, sampler)
AGED_INIT(generate, generate)

static const struct aged_row {
    const char *name;
    size_t size;
    int (*init)(union aged *a, size_t size); /* NULL: a result */
    int (*call)(const struct aged_call *c, union aged *a, slm_error *err);
} aged_rows[] = {
    {"model", sizeof(slm_model_options), aged_init_model, aged_model_options},
    {"context", sizeof(slm_context_options), aged_init_context, aged_context_options},
    {"plan options", sizeof(slm_context_options), aged_init_context, aged_plan_options},
    {"threads", sizeof(slm_threads_options), aged_init_threads, aged_threads_options},
    {"eval", sizeof(slm_eval_options), aged_init_eval, aged_eval_options},
    {"sampler", sizeof(slm_sampler_options), aged_init_sampler, aged_sampler_options},
    {"generate", sizeof(slm_generate_options), aged_init_generate, aged_generate_options},
    {"encoding", sizeof(slm_encoding_info), NULL, aged_encoding},
    {"model info", sizeof(slm_model_info), NULL, aged_model_info},
    {"metadata", sizeof(slm_metadata), NULL, aged_metadata},
    {"tensor", sizeof(slm_tensor_info), NULL, aged_tensor},
    {"context info", sizeof(slm_context_info), NULL, aged_context_info},
    {"plan", sizeof(slm_plan), NULL, aged_plan},
    {"token", sizeof(slm_token_info), NULL, aged_token},
};

#define N_AGED (sizeof aged_rows / sizeof aged_rows[0])

static void aged_open(struct aged_call *c)
{
    slm_context_options o = tiny_context();
    memset(c, 0, sizeof *c);
    assert_int_equal(slm_model_open(&c->model, TESTING_STORYTELLER, NULL, NULL), SLM_OK);
    assert_int_equal(slm_context_create(&c->context, c->model, &o, NULL), SLM_OK);
}

static void aged_close(struct aged_call *c)
{
    slm_context_free(c->context);
    slm_model_free(c->model);
}

static void options_of_older_and_newer_callers_work(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        const struct aged_row *r = &aged_rows[i];
        for (size_t size = 0; r->init != NULL && size <= r->size + 64; size += size < 4 ? 1 : 4) {
            /* Exactly as large as the caller says, so that a read beyond it is seen. */
            union aged *a = (union aged *)malloc(size > 4 ? size : 4);
            slm_error err;
            assert_non_null(a);
            a->struct_size = 0;
            int status = r->init(a, size);
            assert_int_equal(status, size < 4 ? SLM_E_ARGUMENT : SLM_OK);
            if (size >= 4) {
                assert_int_equal(a->struct_size, size);
            } else {
                a->struct_size = (uint32_t)size;
            }
            status = r->call(&c, a, &err);
            if (size < 4) {
                assert_says(r->name, status, &err, SLM_E_ARGUMENT, "struct_size", NULL);
            } else {
                assert_says(r->name, status, &err, SLM_OK, "", NULL);
            }
            free(a);
        }
    }
    aged_close(&c);
}

static void options_the_library_does_not_know_are_refused(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        const struct aged_row *r = &aged_rows[i];
        for (size_t at = r->size; r->init != NULL && at < r->size + 16; at++) {
            union aged a;
            slm_error err;
            char byte[32];
            assert_int_equal(r->init(&a, r->size + 16), SLM_OK);
            a.bytes[at] = 1;
            snprintf(byte, sizeof byte, "byte %zu", at);
            int status = r->call(&c, &a, &err);
            assert_says(r->name, status, &err, SLM_E_ARGUMENT, byte, NULL);
        }
    }
    aged_close(&c);
}

static void results_stay_inside_what_the_caller_has(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        const struct aged_row *r = &aged_rows[i];
        union aged whole;
        slm_error err;
        if (r->init != NULL) {
            continue;
        }
        memset(&whole, 0xaa, sizeof whole);
        whole.struct_size = (uint32_t)r->size;
        assert_int_equal(r->call(&c, &whole, &err), SLM_OK);
        for (size_t size = 0; size <= r->size + 64; size += size < 4 ? 1 : 4) {
            union aged a;
            memset(&a, 0xaa, sizeof a);
            a.struct_size = (uint32_t)size;
            int status = r->call(&c, &a, &err);
            if (size < 4) {
                assert_says(r->name, status, &err, SLM_E_ARGUMENT, "struct_size", NULL);
                continue;
            }
            assert_says(r->name, status, &err, SLM_OK, "", NULL);
            assert_int_equal(a.struct_size, size);
            size_t known = size < r->size ? size : r->size;
            assert_memory_equal(a.bytes + 4, whole.bytes + 4, known - 4);
            for (size_t k = known; k < sizeof a; k++) {
                assert_int_equal(a.bytes[k], k < size ? 0 : 0xaa);
            }
        }
    }
    aged_close(&c);
}

static void absurd_struct_sizes_are_refused(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        static const uint32_t sizes[] = {0, 65537, INT32_MAX, UINT32_MAX};
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            union aged a;
            slm_error err;
            memset(&a, 0, sizeof a);
            a.struct_size = sizes[k];
            int status = aged_rows[i].call(&c, &a, &err);
            assert_says(aged_rows[i].name, status, &err, SLM_E_ARGUMENT, "struct_size", NULL);
        }
        if (aged_rows[i].init != NULL) {
            union aged a;
            assert_int_equal(aged_rows[i].init(&a, SIZE_MAX), SLM_E_ARGUMENT);
            assert_int_equal(slm_model_options_init(NULL, sizeof a), SLM_E_ARGUMENT);
        }
    }
    aged_close(&c);
}

/* An older caller's struct ends before max_bytes and cpu, which keep their defaults. */
static void what_an_older_caller_lacks_keeps_its_default(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model_info info = {.struct_size = sizeof info}, old = {.struct_size = sizeof old};
    slm_model_options o;
    (void)state;
    tiny_build(&b, &t);
    slm_model *model = open_model(&b, NULL);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    slm_model_free(model);
    memset(&o, 0, sizeof o); /* a cap of 0, and no CPU features */
    o.struct_size = offsetof(slm_model_options, max_bytes);
    model = open_model(&b, &o);
    assert_int_equal(slm_model_get_info(model, &old, NULL), SLM_OK);
    assert_int_equal(old.cpu, info.cpu);
    slm_model_free(model);
    build_free(&b);
}

static void unknown_flags_are_refused(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_error err;
    (void)state;
    tiny_build(&b, &t);
    for (int bit = 3; bit < 32; bit++) {
        slm_model_options o = model_options(NULL, 1u << bit);
        assert_says("flags", open_status(&b, &o, &err), &err, SLM_E_ARGUMENT, "flags", NULL);
    }
    build_free(&b);
}

/* ---- NULL ------------------------------------------------------------------------------------------------------------ */

static int64_t read_nothing(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    (void)user, (void)file, (void)offset, (void)buffer, (void)size;
    return -1;
}

static void null_for_any_pointer_is_a_status(void **state)
{
    struct build b;
    slm_model *model = open_tiny(&b), *none = NULL;
    slm_context *context = NULL, *no_context = NULL;
    slm_context_options o = tiny_context();
    const void *data = b.file.data;
    size_t size = b.file.size;
    uint64_t size64 = size;
    int32_t number = 0;
    const float *logits = NULL;
    slm_plan plan = {.struct_size = sizeof plan};
    slm_model_info info = {.struct_size = sizeof info};
    slm_metadata value = {.struct_size = sizeof value};
    slm_tensor_info tensor = {.struct_size = sizeof tensor};
    slm_context_info ci = {.struct_size = sizeof ci};
    (void)state;
    assert_int_equal(slm_context_create(&context, model, &o, NULL), SLM_OK);
    for (int with_error = 0; with_error <= 1; with_error++) {
        slm_error error, *err = with_error ? &error : NULL;
        int n = 0;
        memset(&error, 0, sizeof error);
#define REFUSES(name, call)                                                                        \
    do {                                                                                           \
        error.message[0] = 0;                                                                      \
        assert_int_equal(call, SLM_E_ARGUMENT);                                                    \
        assert_true(!with_error || strstr(error.message, name " is NULL") != NULL);                \
        n++;                                                                                       \
    } while (0)
        REFUSES("model", slm_model_open(NULL, "x", NULL, err));
        REFUSES("path", slm_model_open(&none, NULL, NULL, err));
        REFUSES("model", slm_model_open_memory(NULL, &data, &size, 1, NULL, err));
        REFUSES("data", slm_model_open_memory(&none, NULL, &size, 1, NULL, err));
        REFUSES("size", slm_model_open_memory(&none, &data, NULL, 1, NULL, err));
        REFUSES("model", slm_model_open_callback(NULL, read_nothing, NULL, &size64, 1, NULL, err));
        REFUSES("read", slm_model_open_callback(&none, NULL, NULL, &size64, 1, NULL, err));
        REFUSES("size", slm_model_open_callback(&none, read_nothing, NULL, NULL, 1, NULL, err));
        REFUSES("model", slm_model_get_info(NULL, &info, err));
        REFUSES("info", slm_model_get_info(model, NULL, err));
        REFUSES("model", slm_model_metadata(NULL, 0, 0, &value, err));
        REFUSES("value", slm_model_metadata(model, 0, 0, NULL, err));
        REFUSES("model", slm_model_metadata_find(NULL, "x", &number, err));
        REFUSES("key", slm_model_metadata_find(model, NULL, &number, err));
        REFUSES("index", slm_model_metadata_find(model, "x", NULL, err));
        REFUSES("model", slm_model_tensor(NULL, 0, &tensor, err));
        REFUSES("info", slm_model_tensor(model, 0, NULL, err));
        REFUSES("info", slm_encoding_find(0, NULL, NULL, err));
        REFUSES("model", slm_plan_memory(NULL, NULL, &plan, err));
        REFUSES("plan", slm_plan_memory(model, NULL, NULL, err));
        REFUSES("context", slm_context_create(NULL, model, NULL, err));
        REFUSES("model", slm_context_create(&no_context, NULL, NULL, err));
        REFUSES("context", slm_context_get_info(NULL, &ci, err));
        REFUSES("info", slm_context_get_info(context, NULL, err));
        REFUSES("context", slm_sequence_length(NULL, 0, &number, err));
        REFUSES("length", slm_sequence_length(context, 0, NULL, err));
        REFUSES("context", slm_sequence_fork(NULL, 0, 0, err));
        REFUSES("context", slm_sequence_rewind(NULL, 0, 0, err));
        REFUSES("context", slm_eval(NULL, NULL, 0, sizeof(slm_span), NULL, err));
        REFUSES("context", slm_logits(NULL, 0, &logits, err));
        REFUSES("logits", slm_logits(context, 0, NULL, err));
        REFUSES("threads", slm_threads_create(NULL, NULL, err));
#undef REFUSES
        assert_int_equal(n, 32);
        assert_int_equal(slm_eval(context, NULL, 1, sizeof(slm_span), NULL, err), SLM_E_ARGUMENT);
    }
    assert_int_equal(slm_model_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_context_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_eval_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_threads_options_init(NULL, 8), SLM_E_ARGUMENT);
    slm_model_free(NULL);
    slm_context_free(NULL);
    slm_threads_free(NULL);
    slm_sampler_free(NULL);
    slm_generate_end(NULL);
    assert_null(none);
    assert_null(no_context);
    slm_context_free(context);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Lifetime --------------------------------------------------------------------------------------------------------- */

struct family {
    struct counting c[4]; /* model, threads, context and generator, sampler */
    slm_model *model;
    slm_threads *threads;
    slm_context *context;
    slm_sampler *sampler;
    slm_generator *generator;
};

static void family_make(struct family *f, const struct build *b)
{
    slm_model_options mo = model_options(&f->c[0], SLM_LOAD_READ);
    slm_threads_options to;
    slm_context_options co = tiny_context();
    slm_sampler_options so;
    slm_generate_options go;
    memset(f, 0, sizeof *f);
    f->model = open_model(b, &mo);
    slm_threads_options_init(&to, sizeof to);
    to.n_threads = 2;
    to.alloc = counting_alloc;
    to.alloc_user = &f->c[1];
    assert_int_equal(slm_threads_create(&f->threads, &to, NULL), SLM_OK);
    co.threads = f->threads;
    co.alloc = counting_alloc;
    co.alloc_user = &f->c[2];
    assert_int_equal(slm_context_create(&f->context, f->model, &co, NULL), SLM_OK);
    slm_sampler_options_init(&so, sizeof so);
    so.alloc = counting_alloc;
    so.alloc_user = &f->c[3];
    assert_int_equal(slm_sampler_create(&f->sampler, f->model, NULL, 0, 0, &so, NULL), SLM_OK);
    slm_generate_options_init(&go, sizeof go);
    go.prompt_tokens = tokens;
    go.n_prompt_tokens = 5;
    go.max_tokens = 4;
    assert_int_equal(
        slm_generate_begin(&f->generator, f->context, 0, f->sampler, NULL, 0, &go, NULL), SLM_OK);
}

static void family_free(struct family *f, int which)
{
    switch (which) {
    case 0:
        slm_model_free(f->model);
        break;
    case 1:
        slm_threads_free(f->threads);
        break;
    case 2:
        slm_context_free(f->context);
        break;
    case 3:
        slm_sampler_free(f->sampler);
        break;
    default:
        slm_generate_end(f->generator);
    }
}

/* All 120 orders; as long as the generator is there, it works, whatever else is gone. */
static void objects_may_be_freed_in_any_order(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    int n_orders = 0;
    (void)state;
    t.keys = bpe_known;
    tiny_build(&b, &t);
    for (int code = 0; code < 5 * 5 * 5 * 5 * 5; code++) {
        int order[5], seen = 0;
        for (int i = 0, rest = code; i < 5; i++, rest /= 5) {
            order[i] = rest % 5;
            seen |= 1 << order[i];
        }
        if (seen != 31) {
            continue;
        }
        struct family f;
        family_make(&f, &b);
        int has_generator = 1;
        n_orders++;
        for (int i = 0; i < 5; i++) {
            slm_piece piece = {.struct_size = sizeof piece};
            slm_error err;
            if (has_generator) {
                int status = slm_generate_next(f.generator, &piece, &err);
                assert_says("generator", status, &err, SLM_OK, "", NULL);
            }
            family_free(&f, order[i]);
            has_generator = has_generator && order[i] != 4;
        }
        for (int i = 0; i < 4; i++) {
            assert_all_freed(&f.c[i]);
        }
    }
    assert_int_equal(n_orders, 120);
    build_free(&b);
}

static void a_context_keeps_its_model(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct counting c;
    float rows[2][TINY_VOCAB];
    (void)state;
    tiny_build(&b, &t);
    slm_model_options o = model_options(&c, SLM_LOAD_READ);
    slm_model *model = open_model(&b, &o);
    slm_context *context = NULL;
    slm_context_options co = tiny_context();
    assert_int_equal(slm_context_create(&context, model, &co, NULL), SLM_OK);
    assert_int_equal(tiny_run(model, tokens, 5, rows[0], TINY_VOCAB, NULL), SLM_OK);
    slm_model_free(model);
    assert_true(c.n_blocks > 0);
    assert_int_equal(tiny_logits(context, tokens, 5, rows[1], TINY_VOCAB, NULL), SLM_OK);
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    slm_context_free(context);
    assert_all_freed(&c);
    build_free(&b);
}

/* ---- Out of memory ------------------------------------------------------------------------------------------------------ */

struct scenario {
    const struct build *build;
    const char *path; /* instead of it */
    uint32_t flags;
    int32_t n_threads;
    const char *step; /* where it failed */
};

static int scenario_run(struct scenario *s, struct counting *c, slm_error *err)
{
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_sampler *sampler = NULL;
    slm_generator *generator = NULL;
    slm_model_options mo;
    slm_context_options co = tiny_context();
    slm_sampler_options so;
    slm_generate_options go;
    slm_sampler_stage stage;
    int32_t ids[8];
    size_t n = 0;
    float row[8];
    slm_model_options_init(&mo, sizeof mo);
    slm_sampler_options_init(&so, sizeof so);
    slm_generate_options_init(&go, sizeof go);
    memset(&stage, 0, sizeof stage);
    stage.struct_size = sizeof stage;
    stage.kind = SLM_STAGE_TOP_K;
    stage.n = 3;
    mo.flags = s->flags;
    mo.alloc = co.alloc = so.alloc = counting_alloc;
    mo.alloc_user = co.alloc_user = so.alloc_user = c;
    co.n_threads = s->n_threads;
    go.max_tokens = 2;
    s->step = "open";
    int status = s->path != NULL ? slm_model_open(&model, s->path, &mo, err)
                                 : tiny_open(&model, s->build, &mo, err);
    if (status == SLM_OK) {
        s->step = "tokenise";
        status = slm_tokenize(model, "abc", 3, 0, ids, 8, &n, err);
    }
    if (status == SLM_OK) {
        s->step = "context";
        status = slm_context_create(&context, model, &co, err);
    }
    if (status == SLM_OK) {
        int64_t calls = c->n_calls;
        s->step = "eval";
        status = tiny_logits(context, ids, (int32_t)n, row, 1, err);
        assert_int_equal(c->n_calls, calls);
    }
    if (status == SLM_OK) {
        s->step = "sampler";
        status = slm_sampler_create(&sampler, model, &stage, 1, sizeof stage, &so, err);
    }
    if (status == SLM_OK) {
        s->step = "generate";
        status = slm_generate_begin(&generator, context, 0, sampler, "abc", 3, &go, err);
    }
    for (int i = 0; status == SLM_OK && i < 3; i++) {
        slm_piece piece = {.struct_size = sizeof piece};
        int64_t calls = c->n_calls;
        status = slm_generate_next(generator, &piece, err);
        assert_int_equal(c->n_calls, calls);
    }
    slm_generate_end(generator);
    slm_sampler_free(sampler);
    slm_context_free(context);
    slm_model_free(model);
    return status;
}

static void every_allocation_that_fails_is_a_status(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    (void)state;
    t.keys = bpe_known;
    t.tensors = extra_tensors;
    tiny_build(&b, &t);
    const struct {
        const char *path;
        uint32_t flags;
        int32_t n_threads;
        int64_t least;
    } rows[] = {
        {NULL, 0, 1, 15},
        {NULL, SLM_LOAD_READ, 2, 15},
        {TESTING_STORYTELLER, 0, 1, 15},
        {TESTING_STORYTELLER, SLM_LOAD_READ, 2, 15},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scenario s = {&b, rows[i].path, rows[i].flags, rows[i].n_threads, ""};
        int64_t at = 0;
        int status = SLM_E_MEMORY;
        int failed_in[256] = {0};
        for (at = 1; status != SLM_OK; at++) {
            struct counting c;
            slm_error err;
            memset(&c, 0, sizeof c);
            c.fail_at = at;
            status = scenario_run(&s, &c, &err);
            if (status != SLM_OK) {
                assert_says(s.step, status, &err, SLM_E_MEMORY, "bytes", NULL);
                failed_in[(uint8_t)s.step[0]]++;
            }
            assert_all_freed(&c);
        }
        print_message("%lld points of failure\n", (long long)at - 2);
        assert_true(at - 2 >= rows[i].least);
        assert_true(failed_in['o'] >= 8);
        assert_true(failed_in['t'] > 0 && failed_in['c'] >= 2 && failed_in['s'] == 1);
        assert_true(failed_in['g'] >= 3);
    }
    build_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_out_of_range_are_told),
        cmocka_unit_test(keys_that_are_needed_are_told_when_missing),
        cmocka_unit_test(families_that_are_not_known_are_told),
        cmocka_unit_test(arrays_have_a_value_for_every_layer),
        cmocka_unit_test(an_array_of_equal_values_is_the_scalar),
        cmocka_unit_test(layers_may_differ),
        cmocka_unit_test(every_tensor_that_is_missing_is_told),
        cmocka_unit_test(every_tensor_of_the_wrong_shape_is_told),
        cmocka_unit_test(vectors_and_matrices_may_have_dimensions_of_one),
        cmocka_unit_test(without_an_output_the_embedding_is_it),
        cmocka_unit_test(qwen2_needs_its_biases),
        cmocka_unit_test(fused_and_separate_projections_are_the_same),
        cmocka_unit_test(a_scale_beside_a_weight_multiplies_it),
        cmocka_unit_test(a_vocabulary_longer_than_the_embedding_is_refused),
        cmocka_unit_test(unused_tensors_are_ignored_and_logged),
        cmocka_unit_test(an_unknown_pre_tokenizer_is_logged),
        cmocka_unit_test(a_context_beyond_the_trained_length_is_logged),
        cmocka_unit_test(the_default_context_is_the_trained_length_up_to_4096),
        cmocka_unit_test(a_file_with_a_vocabulary_alone_opens_for_its_metadata),
        cmocka_unit_test(metadata_of_models_that_cannot_run_is_readable),
        cmocka_unit_test(load_metadata_reads_no_weights),
        cmocka_unit_test(load_check_names_the_tensor_with_a_nan),
        cmocka_unit_test(load_check_sees_the_scales_of_blocks),
        cmocka_unit_test(nan_weights_are_a_status_when_sampling),
        cmocka_unit_test(a_token_whose_logit_is_nan_is_never_chosen),
        cmocka_unit_test(nan_weights_end_a_generation_with_a_status),
        cmocka_unit_test(weights_of_every_encoding_may_be_any_bytes),
        cmocka_unit_test(loading_tells_its_progress_and_can_be_stopped),
        cmocka_unit_test(loading_with_cancel_set_stops_at_once),
        cmocka_unit_test(a_file_with_unused_tensors_has_a_whole_progress),
        cmocka_unit_test(the_plan_of_a_model_is_the_peak_of_its_allocator),
        cmocka_unit_test(the_plan_of_a_model_does_not_change_with_its_use),
        cmocka_unit_test(every_smaller_cap_is_a_clean_failure),
        cmocka_unit_test(the_plan_of_a_context_is_the_peak_of_its_allocator),
        cmocka_unit_test(a_shared_pool_is_no_part_of_the_plan),
        cmocka_unit_test(context_options_out_of_range_are_told),
        cmocka_unit_test(the_largest_context_is_planned_or_refused),
        cmocka_unit_test(every_encoding_is_found_by_type_and_by_name),
        cmocka_unit_test(other_encodings_do_not_exist),
        cmocka_unit_test(options_of_older_and_newer_callers_work),
        cmocka_unit_test(options_the_library_does_not_know_are_refused),
        cmocka_unit_test(results_stay_inside_what_the_caller_has),
        cmocka_unit_test(absurd_struct_sizes_are_refused),
        cmocka_unit_test(what_an_older_caller_lacks_keeps_its_default),
        cmocka_unit_test(unknown_flags_are_refused),
        cmocka_unit_test(null_for_any_pointer_is_a_status),
        cmocka_unit_test(objects_may_be_freed_in_any_order),
        cmocka_unit_test(a_context_keeps_its_model),
        cmocka_unit_test(every_allocation_that_fails_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
