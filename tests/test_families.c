/* test_families.c - what families take from a file: tensors that are missing or of another shape,
 * experts, and positions, in models rebuilt from golden manifests. That they compute the right
 * logits is test_golden's subject. */
#include "../slm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden.h"
#include "gguf_build.h"

/* One manifest for each set of tensors. */
static const char *const manifests[] = {"llama-bias",
                                        "llama-fused-qkv",
                                        "llama-mixtral",
                                        "qwen2-outbias",
                                        "qwen3",
                                        "gemma",
                                        "gemma2",
                                        "gemma3-pattern2",
                                        "phi3-gqa-split",
                                        "phi4-mini",
                                        "phi2",
                                        "granite",
                                        "minicpm-longrope",
                                        "minicpm3",
                                        "olmo2",
                                        "exaone4",
                                        "cohere2",
                                        "stablelm",
                                        "stablelm-12b",
                                        "starcoder2",
                                        "bitnet",
                                        "x-arcee",
                                        "x-glm4",
                                        "x-gpt2",
                                        "x-gptneox-seq",
                                        "x-hunyuan-dense",
                                        "x-nemotron",
                                        "x-olmo",
                                        "qwen3moe",
                                        "x-qwen2moe",
                                        "x-olmoe",
                                        "granite-moe-shared",
                                        "x-gpt-oss",
                                        "gemma3n",
                                        "gemma4-31b",
                                        "gemma4-e2b",
                                        "gemma4-moe",
                                        "gemma4-sharedkept",
                                        "lfm2",
                                        "rwkv7",
                                        "mamba",
                                        "mamba2-groups",
                                        "granitehybrid",
                                        "granitehybrid-moe",
                                        "falcon-h1-norm",
                                        "x-nemotron_h",
                                        "qwen35",
                                        "qwen35moe",
                                        "qwen3next",
                                        "qwen3next-legacy"};

#define TENSORS_MOST 640

static void load(struct golden *g, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/models/%s.txt", name);
    if (!golden_load(g, path, NULL)) {
        fail_msg("%s", g->error);
    }
}

/* Renaming a tensor makes a surplus one of it, too. */
static int open_image(slm_model **model, const struct golden *g, slm_error *err)
{
    const void *data = g->image;
    slm_model_options o;
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_SURPLUS;
    return slm_model_open_memory(model, &data, &g->image_size, 1, &o, err);
}

/* The place of a name in the file: of a key or a tensor. */
static size_t find_name(const struct golden *g, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 8; i + n < g->image_size; i++) {
        const uint8_t *p = g->image + i;
        uint8_t length[8] = {(uint8_t)n};
        if (memcmp(p, name, n) == 0 && memcmp(p - 8, length, 8) == 0) {
            return i;
        }
    }
    fail_msg("no '%s' in this file", name);
    return 0;
}

/* Copies the names of the tensors; returns how many there are. */
static int list_tensors(const struct golden *g, char names[TENSORS_MOST][64])
{
    slm_model *model = NULL;
    slm_model_info info;
    slm_error err;
    info.struct_size = (uint32_t)sizeof info;
    if (open_image(&model, g, &err) != SLM_OK) {
        fail_msg("%s: %s", g->title, err.message);
    }
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_true(info.n_tensors <= TENSORS_MOST);
    for (int32_t i = 0; i < info.n_tensors; i++) {
        slm_tensor_info t;
        t.struct_size = (uint32_t)sizeof t;
        assert_int_equal(slm_model_tensor(model, i, &t, NULL), SLM_OK);
        snprintf(names[i], 64, "%.*s", (int)t.name_size, t.name);
    }
    slm_model_free(model);
    return info.n_tensors;
}

/* What may be left out, by the end of its name: the model that remains is another, or llama.cpp
 * takes it so too. */
static int may_be_missing(const char *name)
{
    static const char *const ends[] = {".bias",           "output.weight", "rope_freqs.weight",
                                       "ffn_norm.weight", "_norm.weight",  "ffn_gate.weight",
                                       ".scale"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t n = strlen(name), m = strlen(ends[i]);
        if (n >= m && strcmp(name + n - m, ends[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What only one model may leave out, by the beginning of its name: K and V of layers that read those
 * of an earlier one, and V where K stands in for it. */
static int may_be_missing_here(const char *title, const char *name)
{
    static const struct {
        const char *title, *begin;
    } rows[] = {
        {"gemma3n.txt", "blk.20.attn_k"},          {"gemma3n.txt", "blk.20.attn_v"},
        {"gemma3n.txt", "blk.21.attn_k"},          {"gemma3n.txt", "blk.21.attn_v"},
        {"gemma4-sharedkept.txt", "blk.4.attn_k"}, {"gemma4-sharedkept.txt", "blk.4.attn_v"},
        {"gemma4-sharedkept.txt", "blk.5.attn_k"}, {"gemma4-sharedkept.txt", "blk.5.attn_v"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(title, rows[i].title) == 0 &&
            strncmp(name, rows[i].begin, strlen(rows[i].begin)) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What a family may do without. */
static int may_be_missing_in_family(const char *title, const char *name)
{
    return strncmp(title, "gemma4", 6) == 0 &&
           (strstr(name, ".attn_v.") != NULL || strstr(name, ".layer_output_scale.") != NULL);
}

/* What is in files, but nobody reads. */
static int is_unread(const char *name)
{
    return strcmp(name, "blk.0.time_mix_v1.weight") == 0 ||
           strcmp(name, "blk.0.time_mix_v2.weight") == 0;
}

/* The message names the tensor, or what could stand for it: Q for a fused QKV. */
static int is_told(const slm_error *err, const char *name)
{
    static const struct {
        const char *fused, *told;
    } rows[] = {
        {"attn_qkv", "attn_q."}, {"ffn_gate_up_exps", "ffn_gate_exps."}, {"ssm_in", "attn_qkv."}};
    int told = tiny_says(err, name, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        told |= strstr(name, rows[i].fused) != NULL && tiny_says(err, rows[i].told, NULL);
    }
    return told;
}

static void a_tensor_that_is_missing_is_told(void **state)
{
    static char names[TENSORS_MOST][64];
    (void)state;
    for (size_t m = 0; m < sizeof manifests / sizeof manifests[0]; m++) {
        struct golden g;
        load(&g, manifests[m]);
        int n = list_tensors(&g, names);
        for (int i = 0; i < n; i++) {
            slm_model *model = NULL;
            slm_error err;
            size_t at = find_name(&g, names[i]);
            g.image[at] = '~';
            int status = open_image(&model, &g, &err);
            g.image[at] = (uint8_t)names[i][0];
            slm_model_free(model);
            if (status == SLM_OK
                    ? !may_be_missing(names[i]) && !may_be_missing_here(g.title, names[i]) &&
                          !may_be_missing_in_family(g.title, names[i]) && !is_unread(names[i])
                    : status != SLM_E_MODEL || !is_told(&err, names[i])) {
                fail_msg("%s without '%s': %s", g.title, names[i],
                         status != SLM_OK ? err.message : "ok");
            }
        }
        golden_free(&g);
    }
}

static void a_tensor_of_another_shape_is_told(void **state)
{
    static char names[TENSORS_MOST][64];
    (void)state;
    for (size_t m = 0; m < sizeof manifests / sizeof manifests[0]; m++) {
        struct golden g;
        load(&g, manifests[m]);
        int n = list_tensors(&g, names);
        for (int i = 0; i < n; i++) {
            slm_model *model = NULL;
            slm_error err;
            uint8_t *width = g.image + find_name(&g, names[i]) + strlen(names[i]) + 4;
            width += *width == 1 && width[-4] > 1 ? 8 : 0; /* rows of 2 would not fit the file */
            uint8_t old[2] = {width[0], width[1]};
            uint32_t wide = width[0] + 256u * width[1];
            wide = wide == 1 ? 2 : wide - 1; /* a width of 0 is no tensor at all */
            width[0] = (uint8_t)wide;
            width[1] = (uint8_t)(wide >> 8);
            int status = open_image(&model, &g, &err);
            memcpy(width, old, sizeof old);
            slm_model_free(model);
            if (may_be_missing_here(g.title, names[i]) || is_unread(names[i])) {
                continue; /* not even looked at */
            }
            if (status != SLM_E_MODEL || !tiny_says(&err, names[i], "shape")) {
                fail_msg("%s with another width of '%s': %s", g.title, names[i],
                         status != SLM_OK ? err.message : "ok");
            }
        }
        golden_free(&g);
    }
}

static void another_number_of_experts_is_told(void **state)
{
    struct golden g;
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    load(&g, "qwen3moe");
    uint8_t *count = g.image + find_name(&g, "qwen3moe.expert_count") + 21 + 4;
    uint8_t *used = g.image + find_name(&g, "qwen3moe.expert_used_count") + 26 + 4;
    assert_int_equal(*count, 8);
    *count = 7;
    assert_int_equal(open_image(&model, &g, &err), SLM_E_MODEL);
    assert_true(tiny_says(&err, "blk.0.ffn_gate_inp.weight", "64 x 7"));
    *count = 8;
    *used = 9;
    assert_int_equal(open_image(&model, &g, &err), SLM_E_MODEL);
    assert_true(tiny_says(&err, "expert_used_count' is 9", "1 to 8"));
    *used = 0;
    assert_int_equal(open_image(&model, &g, &err), SLM_E_MODEL);
    assert_true(tiny_says(&err, "expert_used_count' is 0", "1 to 8"));
    golden_free(&g);
}

/* One value of a key, 4 bytes, is set for a while. */
static void assert_key_is_told(struct golden *g, const char *key, uint32_t value, const char *told,
                               const char *also)
{
    slm_model *model = NULL;
    slm_error err;
    uint8_t old[4];
    uint8_t *at = g->image + find_name(g, key) + strlen(key) + 4;
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 24)};
    memcpy(old, at, 4);
    memcpy(at, bytes, 4);
    int status = open_image(&model, g, &err);
    memcpy(at, old, 4);
    slm_model_free(model);
    if (status != SLM_E_MODEL || !tiny_says(&err, told, also)) {
        fail_msg("%s with %s = %u: %s", g->title, key, (unsigned)value,
                 status != SLM_OK ? err.message : "ok");
    }
}

static void a_family_of_experts_without_any_is_told(void **state)
{
    static const char *const names[][2] = {{"qwen3moe", "qwen3moe"},
                                           {"x-qwen2moe", "qwen2moe"},
                                           {"x-olmoe", "olmoe"},
                                           {"granite-moe-shared", "granitemoe"},
                                           {"x-gpt-oss", "gpt-oss"}};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct golden g;
        char key[64];
        load(&g, names[i][0]);
        snprintf(key, sizeof key, "%s.expert_count", names[i][1]);
        assert_key_is_told(&g, key, 0, key, "missing or 0");
        golden_free(&g);
    }
}

static void sizes_of_experts_that_overflow_are_told(void **state)
{
    static const uint32_t sizes[] = {0, 1, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    struct golden g;
    (void)state;
    load(&g, "qwen3moe");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_key_is_told(&g, "qwen3moe.expert_feed_forward_length", sizes[i], "", NULL);
        assert_key_is_told(&g, "qwen3moe.expert_count", sizes[i], "", NULL);
    }
    golden_free(&g);
    load(&g, "granite-moe-shared");
    for (size_t i = 1; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_key_is_told(&g, "granitemoe.expert_shared_feed_forward_length", sizes[i], "", NULL);
    }
    golden_free(&g);
}

static void ranks_of_latent_attention_that_do_not_fit_are_told(void **state)
{
    static const uint32_t sizes[] = {0, 1, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    struct golden g;
    (void)state;
    load(&g, "minicpm3");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_key_is_told(&g, "minicpm3.attention.q_lora_rank", sizes[i], "", NULL);
        assert_key_is_told(&g, "minicpm3.attention.kv_lora_rank", sizes[i], "", NULL);
    }
    assert_key_is_told(&g, "minicpm3.attention.head_count_kv", 2, "head_count_kv 2", NULL);
    golden_free(&g);
}

static void layers_that_cannot_share_keys_and_values_are_told(void **state)
{
    static const char key[] = "gemma4.attention.shared_kv_layers";
    static const char key_3n[] = "gemma3n.attention.sliding_window";
    struct golden g;
    (void)state;
    load(&g, "gemma4-e2b"); /* 8 layers: layers 4 and 7 are global, and their heads are larger */
    assert_key_is_told(&g, key, 6, "layer 4", "cannot share K and V of layer 1");
    assert_key_is_told(&g, key, 7, "layer 1", "7 of 8");
    assert_key_is_told(&g, key, 8, key, "0 to 7");
    assert_key_is_told(&g, key, 0x7fffffff, key, "0 to 7");
    assert_key_is_told(&g, key, 0xffffffff, key, "0 to 7");
    golden_free(&g);
    load(&g, "gemma3n");
    assert_key_is_told(&g, key_3n, 0, key_3n, "1 to");
    assert_key_is_told(&g, key_3n, 0x80000000, key_3n, "1 to");
    golden_free(&g);
}

static void sizes_of_single_layers_that_do_not_fit_are_told(void **state)
{
    static const uint32_t sizes[] = {0, 1, 17, 1025, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    struct golden g;
    (void)state;
    load(&g, "gemma4-e2b");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_key_is_told(&g, "gemma4.attention.key_length_swa", sizes[i], "", NULL);
        assert_key_is_told(&g, "gemma4.attention.value_length_swa", sizes[i], "", NULL);
        assert_key_is_told(&g, "gemma4.rope.dimension_count_swa", sizes[i],
                           "rope.dimension_count_swa' is", "2 to 16");
    }
    assert_key_is_told(&g, "gemma4.rope.dimension_count_swa", 3, "dimension_count_swa", "odd: 3");
    for (size_t i = 1; i < sizeof sizes / sizeof sizes[0]; i++) { /* 0: nothing is added */
        assert_key_is_told(&g, "gemma4.embedding_length_per_layer_input", sizes[i], "", NULL);
    }
    golden_free(&g);
    load(&g, "gemma3n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_key_is_told(&g, "gemma3n.embedding_length_per_layer_input", sizes[i], "", NULL);
        assert_key_is_told(&g, "gemma3n.altup.num_inputs", sizes[i], "altup.num_inputs", "4 to 4");
    }
    assert_key_is_told(&g, "gemma3n.altup.active_idx", 1, "altup.active_idx", "0 to 0");
    golden_free(&g);
}

/* V of heads of 16 where K has heads of 32: without attn_v, K cannot stand in. */
static void keys_that_cannot_stand_in_for_values_are_told(void **state)
{
    struct golden g;
    (void)state;
    load(&g, "gemma4-31b");
    uint8_t *v = g.image + find_name(&g, "gemma4.attention.value_length") + 29 + 4;
    uint8_t *output = g.image + find_name(&g, "blk.5.attn_output.weight") + 24 + 4;
    slm_model *model = NULL;
    slm_error err;
    assert_int_equal(*v, 32);
    assert_int_equal(*output, 128);
    *v = 16;
    *output = 64;
    assert_int_equal(open_image(&model, &g, &err), SLM_E_MODEL);
    assert_true(tiny_says(&err, "blk.5.attn_v.weight' is missing", "32"));
    golden_free(&g);
}

static void arrays_of_another_length_are_told(void **state)
{
    static const struct {
        const char *name, *key;
        uint32_t n;
    } want[] = {{"gemma4-31b", "gemma4.attention.head_count_kv", 5},
                {"gemma4-e2b", "gemma4.feed_forward_length", 7},
                {"gemma4-moe", "gemma4.attention.sliding_window_pattern", 3},
                {"gemma4-moe", "gemma4.attention.sliding_window_pattern", 5}};
    struct golden g;
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        load(&g, want[i].name);
        assert_key_is_told(&g, "gemma4.block_count", want[i].n, want[i].key, "one a layer");
        golden_free(&g);
    }
    load(&g, "gemma4-e2b");
    g.image[find_name(&g, "gemma4.attention.sliding_window_pattern")] = '~';
    assert_int_equal(open_image(&model, &g, &err), SLM_E_MODEL);
    assert_true(tiny_says(&err, "sliding_window_pattern' is missing", NULL));
    golden_free(&g);
}

/* Logits of all tokens of a manifest, n_at_once a call. */
static float *all_logits(const struct golden *g, int32_t n_threads, int n_at_once)
{
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_context_options o;
    slm_error err;
    size_t row = (size_t)g->n_vocab;
    float *rows = (float *)calloc((size_t)g->n_tokens, row * sizeof *rows);
    assert_non_null(rows);
    assert_int_equal(open_image(&model, g, &err), SLM_OK);
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = g->n_ctx;
    o.n_logits = g->n_tokens;
    o.n_threads = n_threads;
    o.flags = SLM_CONTEXT_BATCH_INVARIANT;
    assert_int_equal(slm_context_create(&context, model, &o, &err), SLM_OK);
    for (int first = 0; first < g->n_tokens; first += n_at_once) {
        slm_span span;
        memset(&span, 0, sizeof span);
        span.struct_size = (uint32_t)sizeof span;
        span.position = first;
        span.tokens = g->tokens + first;
        span.n_tokens = g->n_tokens - first < n_at_once ? g->n_tokens - first : n_at_once;
        span.want = SLM_WANT_ALL;
        assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, &err), SLM_OK);
        for (int i = 0; i < span.n_tokens; i++) {
            const float *from = NULL;
            assert_int_equal(slm_logits(context, i, &from, NULL, &err), SLM_OK);
            memcpy(rows + (size_t)(first + i) * row, from, row * sizeof *rows);
        }
    }
    slm_context_free(context);
    slm_model_free(model);
    return rows;
}

static void threads_and_batches_do_not_show_in_the_bits(void **state)
{
    static const char *const names[] = {"gemma3n", "gemma4-31b", "gemma4-e2b", "gemma4-moe"};
    static const struct {
        int32_t n_threads;
        int n_at_once;
    } ways[] = {{2, 1000}, {1, 1}, {3, 5}};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct golden g;
        load(&g, names[i]);
        float *one = all_logits(&g, 1, g.n_tokens);
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            float *other = all_logits(&g, ways[w].n_threads, ways[w].n_at_once);
            size_t bytes = (size_t)g.n_tokens * (size_t)g.n_vocab * sizeof *one;
            if (memcmp(one, other, bytes) != 0) {
                fail_msg("%s: other bits with %d threads, %d tokens at once", names[i],
                         (int)ways[w].n_threads, ways[w].n_at_once);
            }
            free(other);
        }
        free(one);
        golden_free(&g);
    }
}

static void sizes_of_state_spaces_that_do_not_fit_are_told(void **state)
{
    static const uint32_t sizes[] = {0, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    static const char *const names[] = {"conv_kernel", "inner_size", "state_size", "time_step_rank",
                                        "group_count"};
    (void)state;
    for (int is_2 = 0; is_2 < 2; is_2++) {
        struct golden g;
        char key[64];
        load(&g, is_2 ? "mamba2-groups" : "mamba");
        for (int k = 0; k < 4 + is_2; k++) {
            snprintf(key, sizeof key, "%s.ssm.%s", is_2 ? "mamba2" : "mamba", names[k]);
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                int is_range = sizes[i] == 0 || sizes[i] > 65536;
                assert_key_is_told(&g, key, sizes[i], is_range ? key : "",
                                   is_range ? "is expected" : NULL);
            }
            assert_key_is_told(&g, key, 1, "", NULL); /* other shapes */
        }
        golden_free(&g);
    }
}

static void sizes_of_rwkv7_that_do_not_fit_are_told(void **state)
{
    static const uint32_t sizes[] = {0, 1, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    static const char *const keys[] = {
        "rwkv7.attention.decay_lora_rank", "rwkv7.attention.iclr_lora_rank",
        "rwkv7.attention.value_residual_mix_lora_rank", "rwkv7.attention.gate_lora_rank"};
    struct golden g;
    (void)state;
    load(&g, "rwkv7");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            assert_key_is_told(&g, keys[k], sizes[i], "", NULL);
        }
        if (sizes[i] != 1) {
            assert_key_is_told(&g, "rwkv7.wkv.head_size", sizes[i], "head_size", NULL);
        }
    }
    assert_key_is_told(&g, "rwkv7.wkv.head_size", 48, "head_size' is 48", "divisor");
    assert_key_is_told(&g, "rwkv7.attention.head_count", 2, "head_count' is 2", "no attention");
    golden_free(&g);
}

/* Logits of the last of `n` tokens of each of two sequences: in one call, or one after the other. */
static void eval_two(slm_model *model, const struct golden *g, int together, float *logits)
{
    slm_context *context = NULL;
    slm_context_options o;
    slm_span spans[2];
    slm_error err;
    const float *row = NULL;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 64;
    o.n_sequences = 2;
    o.n_batch = together ? 32 : 5;
    o.flags = SLM_CONTEXT_BATCH_INVARIANT;
    assert_int_equal(slm_context_create(&context, model, &o, &err), SLM_OK);
    memset(spans, 0, sizeof spans);
    for (int i = 0; i < 2; i++) {
        spans[i].struct_size = (uint32_t)sizeof spans[i];
        spans[i].sequence = i;
        spans[i].position = -1;
        spans[i].tokens = g->tokens + 2 * i;
        spans[i].n_tokens = 9 + i;
        spans[i].want = SLM_WANT_LAST;
    }
    for (int i = 0; i < (together ? 1 : 2); i++) {
        assert_int_equal(
            slm_eval(context, spans + i, together ? 2 : 1, sizeof spans[0], NULL, &err), SLM_OK);
        for (int r = 0; r < (together ? 2 : 1); r++) {
            assert_int_equal(slm_logits(context, r, &row, NULL, &err), SLM_OK);
            memcpy(logits + (i + r) * g->n_vocab, row, (size_t)g->n_vocab * sizeof(float));
        }
    }
    slm_context_free(context);
}

static void sequences_of_a_batch_do_not_mix(void **state)
{
    static const char *const names[] = {"lfm2", "rwkv7", "qwen3moe", "granite-moe-shared"};
    static float logits[2][2 * 4096];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct golden g;
        slm_model *model = NULL;
        slm_error err;
        load(&g, names[i]);
        assert_true(g.n_vocab <= 4096 && g.n_tokens >= 12);
        assert_int_equal(open_image(&model, &g, &err), SLM_OK);
        eval_two(model, &g, 0, logits[0]);
        eval_two(model, &g, 1, logits[1]);
        if (memcmp(logits[0], logits[1], 2 * (size_t)g.n_vocab * sizeof(float)) != 0) {
            fail_msg("%s", g.title);
        }
        slm_model_free(model);
        golden_free(&g);
    }
}

static void heads_of_state_spaces_that_do_not_divide_are_told(void **state)
{
    struct golden g;
    (void)state;
    load(&g, "mamba2-groups"); /* 128 in 4 heads of 2 groups */
    assert_key_is_told(&g, "mamba2.ssm.inner_size", 127, "inner_size 127", "time_step_rank 4");
    assert_key_is_told(&g, "mamba2.ssm.time_step_rank", 3, "inner_size 128", "time_step_rank 3");
    assert_key_is_told(&g, "mamba2.ssm.group_count", 3, "time_step_rank 4", "group_count 3");
    assert_key_is_told(&g, "mamba2.ssm.group_count", 8, "time_step_rank 4", "group_count 8");
    golden_free(&g);
}

/* Layers with keys but no queries, values of no elements (V has its default where only K has a key),
 * and experts without the feed-forward beside them: products with matrices that are not there. */
static void sizes_of_nothing_are_told(void **state)
{
    static const char *const hybrids[][2] = {{"lfm2", "lfm2"},
                                             {"granitehybrid", "granitehybrid"},
                                             {"x-nemotron_h", "nemotron_h"},
                                             {"qwen35", "qwen35"}};
    struct golden g;
    (void)state;
    for (size_t i = 0; i < sizeof hybrids / sizeof hybrids[0]; i++) {
        char key[64];
        load(&g, hybrids[i][0]);
        snprintf(key, sizeof key, "%s.attention.head_count", hybrids[i][1]);
        assert_key_is_told(&g, key, 0, "head_count 0 is no multiple", NULL);
        golden_free(&g);
    }
    load(&g, "gemma2"); /* 46 layers are a model whose scale is made of n_embd / head_count */
    g.image[find_name(&g, "gemma2.attention.head_count") + 27 + 4] = 0;
    assert_key_is_told(&g, "gemma2.block_count", 46, "gemma2.attention.head_count' is 0", NULL);
    golden_free(&g);
    load(&g, "minicpm3");
    g.image[find_name(&g, "minicpm3.attention.value_length")] = '-';
    assert_key_is_told(&g, "minicpm3.attention.head_count", 65, "a head of 24 elements, of V 0",
                       "1 to 1024");
    golden_free(&g);
    load(&g, "gemma4-moe");
    g.image[find_name(&g, "gemma4.feed_forward_length")] = '-';
    assert_key_is_told(&g, "gemma4.expert_feed_forward_length", 32,
                       "feed_forward_length' is missing", "beside the experts");
    golden_free(&g);
}

/* What a family does not use may say anything. */
static void attention_that_mamba_has_not_is_ignored(void **state)
{
    static const char *const keys[] = {"mamba.attention.head_count", "mamba.feed_forward_length"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct golden g;
        slm_model *model = NULL;
        slm_error err;
        float row[512];
        load(&g, "mamba");
        uint8_t *at = g.image + find_name(&g, keys[i]) + strlen(keys[i]) + 4;
        *at = 4;
        assert_int_equal(open_image(&model, &g, &err), SLM_OK);
        assert_int_equal(tiny_run(model, g.tokens, 5, row, g.n_vocab, &err), SLM_OK);
        slm_model_free(model);
        golden_free(&g);
    }
}

static void sizes_of_delta_nets_that_do_not_fit_are_told(void **state)
{
    static const uint32_t sizes[] = {0, 1, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    static const char *const keys[] = {"state_size", "inner_size", "time_step_rank", "group_count"};
    struct golden g;
    char key[64];
    (void)state;
    load(&g, "qwen35");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            snprintf(key, sizeof key, "qwen35.ssm.%s", keys[k]);
            assert_key_is_told(&g, key, sizes[i], "", NULL);
        }
        assert_key_is_told(&g, "qwen35.ssm.conv_kernel", sizes[i], "", NULL);
        assert_key_is_told(&g, "qwen35.attention.value_length", sizes[i], "", NULL);
    }
    assert_key_is_told(&g, "qwen35.ssm.state_size", 1025, "state_size' is 1025", "1 to 1024");
    assert_key_is_told(&g, "qwen35.ssm.state_size", 32, "inner_size is 64", "state_size 32");
    assert_key_is_told(&g, "qwen35.ssm.group_count", 3, "time_step_rank 4", "group_count 3");
    assert_key_is_told(&g, "qwen35.ssm.group_count", 1025, "group_count' is 1025", NULL);
    assert_key_is_told(&g, "qwen35.full_attention_interval", 0, "interval' is 0", NULL);
    assert_key_is_told(&g, "qwen35.attention.value_length", 16, "value_length is 16", NULL);
    golden_free(&g);
    load(&g, "qwen35-mtp");
    assert_key_is_told(&g, "qwen35.nextn_predict_layers", 5, "layers' is 5", "0 to 4");
    assert_key_is_told(&g, "qwen35.nextn_predict_layers", 0xffffffff, "layers' is", NULL);
    golden_free(&g);
}

static void pairs_that_would_not_turn_are_told(void **state)
{
    static const char key[] = "qwen35.rope.dimension_sections";
    struct golden g;
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    load(&g, "qwen35");
    uint8_t *array = g.image + find_name(&g, key) + strlen(key) + 4; /* type, 8 bytes of count */
    assert_int_equal(array[4], 4);
    array[12 + 4] = 1; /* 3, 1, 2, 0: pair 4 would turn by the fourth position */
    assert_int_equal(open_image(&model, &g, &err), SLM_E_UNSUPPORTED);
    assert_true(tiny_says(&err, "3, 1, 2, 0", "pair 4 of 8"));
    array[12 + 4 + 3] = 0x80;
    assert_int_equal(open_image(&model, &g, &err), SLM_E_MODEL);
    golden_free(&g);
}

static void experts_alone_need_no_feed_forward_length(void **state)
{
    struct golden g;
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    load(&g, "qwen35moe");
    g.image[find_name(&g, "qwen35moe.feed_forward_length")] = 'Q';
    assert_int_equal(open_image(&model, &g, &err), SLM_OK);
    slm_model_free(model);
    golden_free(&g);
}

static void positions_end_where_no_more_were_learned(void **state)
{
    struct golden g;
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_context_options o;
    slm_span span;
    slm_error err;
    static int32_t tokens[257];
    (void)state;
    load(&g, "x-gpt2");
    assert_int_equal(open_image(&model, &g, &err), SLM_OK);
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 300;
    assert_int_equal(slm_context_create(&context, model, &o, &err), SLM_OK);
    memset(&span, 0, sizeof span);
    span.struct_size = (uint32_t)sizeof span;
    span.position = -1;
    span.tokens = tokens;
    span.n_tokens = 257;
    assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, &err), SLM_E_FULL);
    assert_true(tiny_says(&err, "knows only 256 positions", NULL));
    span.n_tokens = 256;
    assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, &err), SLM_OK);
    span.n_tokens = 1;
    assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, &err), SLM_E_FULL);
    slm_context_free(context);
    slm_model_free(model);
    golden_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_that_is_missing_is_told),
        cmocka_unit_test(a_tensor_of_another_shape_is_told),
        cmocka_unit_test(another_number_of_experts_is_told),
        cmocka_unit_test(a_family_of_experts_without_any_is_told),
        cmocka_unit_test(sizes_of_experts_that_overflow_are_told),
        cmocka_unit_test(ranks_of_latent_attention_that_do_not_fit_are_told),
        cmocka_unit_test(layers_that_cannot_share_keys_and_values_are_told),
        cmocka_unit_test(sizes_of_single_layers_that_do_not_fit_are_told),
        cmocka_unit_test(keys_that_cannot_stand_in_for_values_are_told),
        cmocka_unit_test(arrays_of_another_length_are_told),
        cmocka_unit_test(threads_and_batches_do_not_show_in_the_bits),
        cmocka_unit_test(sizes_of_rwkv7_that_do_not_fit_are_told),
        cmocka_unit_test(sequences_of_a_batch_do_not_mix),
        cmocka_unit_test(sizes_of_state_spaces_that_do_not_fit_are_told),
        cmocka_unit_test(heads_of_state_spaces_that_do_not_divide_are_told),
        cmocka_unit_test(sizes_of_nothing_are_told),
        cmocka_unit_test(attention_that_mamba_has_not_is_ignored),
        cmocka_unit_test(sizes_of_delta_nets_that_do_not_fit_are_told),
        cmocka_unit_test(pairs_that_would_not_turn_are_told),
        cmocka_unit_test(experts_alone_need_no_feed_forward_length),
        cmocka_unit_test(positions_end_where_no_more_were_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
