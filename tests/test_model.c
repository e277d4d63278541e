/* test_model.c - what a file must hold to be a model, and what the model makes of it: its keys, its
 * tensors, what it logs, what its metadata tells alone, weights that are NaN or any bytes.
 *
 * Public functions only. */
#include "model_fixture.h"

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

/* ---- Keys ------------------------------------------------------------------------------------ */

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
        {"rope.scaling.type", STR, 0, "su", SLM_E_UNSUPPORTED, "scaling.type", "'su'"},
        {"rope.scaling.type", STR, 0, "longrope", SLM_E_MODEL, "rope_factors_long", NULL},
        {"rope.scaling.type", U32, 1, NULL, SLM_E_MODEL, "rope.scaling.type", "no string"},
        {"rope.scaling.original_context_length", U32, 0, NULL, SLM_E_MODEL,
         "original_context_length' is 0", NULL},
        {"expert_count", U32, 8, NULL, SLM_E_MODEL, "expert_used_count", "missing"},

        /* What is fine. */
        {"block_count", SLM_TYPE_UINT8, 1, NULL, SLM_OK, NULL, NULL},
        {"block_count", SLM_TYPE_INT64, 1, NULL, SLM_OK, NULL, NULL},
        {"block_count", SLM_TYPE_UINT64, 1, NULL, SLM_OK, NULL, NULL},
        {"context_length", U32, 1 << 24, NULL, SLM_OK, NULL, NULL},
        {"attention.key_length", U32, 4, NULL, SLM_OK, NULL, NULL},
        {"rope.dimension_count", U32, 2, NULL, SLM_OK, NULL, NULL},
        {"rope.freq_base", SLM_TYPE_FLOAT64, 1e-60, NULL, SLM_E_MODEL, "rope.freq_base",
         "positive"},
        {"rope.freq_base", SLM_TYPE_FLOAT64, 1e-45, NULL, SLM_OK, NULL, NULL},
        {"rope.scaling.factor", SLM_TYPE_FLOAT64, 1e-60, NULL, SLM_OK, NULL, NULL},
        {"rope.scaling.factor", F32, 1e-45, NULL, SLM_OK, NULL, NULL},
        {"rope.freq_base", U32, 500000, NULL, SLM_OK, NULL, NULL},
        {"rope.scaling.type", STR, 0, "yarn", SLM_OK, NULL, NULL},
        {"rope.freq_base", F32, 1, NULL, SLM_OK, NULL, NULL},
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

static void write_experts(struct build *b)
{
    build_u32(b, "qwen2.expert_count", 8);
    build_u32(b, "qwen2.expert_used_count", 2);
}

static void experts_are_refused_where_a_family_has_no_place_for_them(void **state)
{
    struct tiny t = tiny_default();
    (void)state;
    t.family = "qwen2";
    t.biases = 1;
    assert_tiny_is("without experts", &t, SLM_OK, NULL, NULL);
    t.keys = write_experts;
    assert_tiny_is("experts", &t, SLM_E_UNSUPPORTED, "8 experts", "'qwen2'");
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
    } rows[] = {{"alpaca", "'alpaca'"}, {"", "family ''"},    {"llam", "'llam'"},
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

/* ---- Keys with a value for every layer ------------------------------------------------------- */

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
    float rows[2][TINY_VOCAB];
    (void)state;
    t.n_layer = 2;
    logits_of(&t, rows[0]);
    t.without = "attention.head_count";
    t.keys = heads_2;
    logits_of(&t, rows[1]);
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
    float row[TINY_VOCAB];
    (void)state;
    t.n_layer = 2;
    t.n_ff_last = 40;
    t.without = "feed_forward_length";
    t.keys = ff_of_layers;
    logits_of(&t, row);
    t.n_ff_last = 24;
    assert_tiny_is("other than the array", &t, SLM_E_MODEL, "blk.1.ffn_gate.weight", "16 x 40");
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static const char *const needed[] = {
    "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
    "blk.0.attn_q.weight",      "blk.0.attn_k.weight",   "blk.0.attn_v.weight",
    "blk.0.attn_output.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
    "blk.0.ffn_down.weight",    "blk.0.ffn_norm.weight",
};

#define N_NEEDED (sizeof needed / sizeof needed[0])

/* What the model tells of the tensor of that name. */
static slm_tensor_info tensor_named(const slm_model *model, const char *name)
{
    slm_tensor_info info = {.struct_size = sizeof info};
    for (int32_t i = 0; slm_model_tensor(model, i, &info, NULL) == SLM_OK; i++) {
        if (info.name_size == strlen(name) && memcmp(info.name, name, info.name_size) == 0) {
            return info;
        }
    }
    fail_msg("no tensor '%s'", name);
    return info;
}

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
    t.n_vocab = 1;
    tiny_build(&b, &t);
    slm_model_free(open_model(&b, NULL));
    build_free(&b);
    /* Of a real file: fewer rows than tokens. */
    const char *wanted = "token_embd.weight";
    build_storyteller(&b);
    slm_model *model = open_model(&b, NULL);
    int64_t rows = tensor_named(model, wanted).shape[1];
    slm_model_free(model);
    /* The info stands somewhere in the metadata: name, n_dims, ne[0], ne[1]. */
    for (size_t at = 0; at + 64 < b.file.size; at++) {
        if (memcmp(b.file.data + at, wanted, strlen(wanted)) == 0) {
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

/* ---- Log ------------------------------------------------------------------------------------- */

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

static void idle_tensors_are_ignored_in_silence(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct log log;
    slm_model_options o = model_options(NULL, 0);
    (void)state;
    memset(&log, 0, sizeof log);
    o.log = log_line;
    o.log_user = &log;
    t.tensors = extra_tensors;
    tiny_build(&b, &t);
    slm_model_free(open_model(&b, &o));
    assert_int_equal(log.n, 0);
    build_free(&b);
}

static void surplus_tensors_are_an_error_unless_asked_for(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct log log;
    slm_error err;
    slm_model_options o = model_options(NULL, SLM_LOAD_SURPLUS);
    float rows[2][TINY_VOCAB];
    (void)state;
    for (int i = 0; i < 2; i++) {
        memset(&log, 0, sizeof log);
        o.log = log_line;
        o.log_user = &log;
        t.tensors = i == 1 ? surplus_tensors : NULL;
        tiny_build(&b, &t);
        slm_model *model = open_model(&b, &o);
        assert_int_equal(tiny_run(model, tokens, 5, rows[i], TINY_VOCAB, NULL), SLM_OK);
        slm_model_free(model);
        assert_int_equal(log.n, i);
        o.log = NULL; /* silent, and works */
        slm_model_free(open_model(&b, &o));
        assert_int_equal(log.n, i);
        if (i == 0) {
            build_free(&b);
        }
    }
    assert_int_equal(log.level, SLM_LOG_WARN);
    assert_non_null(strstr(log.last, "2 tensors"));
    assert_non_null(strstr(log.last, "blk.0.attn_sub_norm.weight"));
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    assert_says("surplus", open_status(&b, NULL, &err), &err, SLM_E_UNSUPPORTED, "2 tensors",
                "blk.0.attn_sub_norm.weight");
    build_free(&b);
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

/* ---- SLM_LOAD_METADATA ----------------------------------------------------------------------- */

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
    t.family = "alpaca";
    tiny_build(&b, &t);
    slm_model *model = open_model(&b, &o);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_string_equal(info.family, "alpaca");
    assert_int_equal(info.n_tensors, 12);
    int status = slm_plan_memory(model, NULL, &plan, &err);
    assert_says("plan", status, &err, SLM_E_UNSUPPORTED, "alpaca", NULL);
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

/* ---- NaN and infinity ------------------------------------------------------------------------ */

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
    struct build b;
    slm_error err;
    slm_model_options o = model_options(NULL, SLM_LOAD_CHECK);
    int n = 0;
    (void)state;
    build_storyteller(&b);
    slm_model *model = open_model(&b, &o);
    slm_tensor_info info = {.struct_size = sizeof info};
    for (int32_t i = 0; slm_model_tensor(model, i, &info, NULL) == SLM_OK; i++) {
        if (info.encoding != 8) {
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

/* Every role of a tensor all NaN and all infinite: it loads, it runs, and a token is chosen from
 * what is finite or SLM_E_NUMERIC says that nothing is. */
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
        slm_tensor_info info = tensor_named(model, name);
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

/* ---- Any bytes as weights -------------------------------------------------------------------- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_out_of_range_are_told),
        cmocka_unit_test(experts_are_refused_where_a_family_has_no_place_for_them),
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
        cmocka_unit_test(idle_tensors_are_ignored_in_silence),
        cmocka_unit_test(surplus_tensors_are_an_error_unless_asked_for),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
