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
                                        "qwen35",
                                        "qwen35moe",
                                        "qwen3next",
                                        "qwen3next-legacy"};

static void load(struct golden *g, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/models/%s.txt", name);
    if (!golden_load(g, path, NULL)) {
        fail_msg("%s", g->error);
    }
}

static int open_image(slm_model **model, const struct golden *g, slm_error *err)
{
    const void *data = g->image;
    return slm_model_open_memory(model, &data, &g->image_size, 1, NULL, err);
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
static int list_tensors(const struct golden *g, char names[128][64])
{
    slm_model *model = NULL;
    slm_model_info info;
    slm_error err;
    info.struct_size = (uint32_t)sizeof info;
    if (open_image(&model, g, &err) != SLM_OK) {
        fail_msg("%s: %s", g->title, err.message);
    }
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_true(info.n_tensors < 128);
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

/* The message names the tensor, or what could stand for it: Q for a fused QKV. */
static int is_told(const slm_error *err, const char *name)
{
    return tiny_says(err, name, NULL) ||
           (strstr(name, "attn_qkv") != NULL && tiny_says(err, "attn_q.", NULL)) ||
           (strstr(name, "ssm_in") != NULL && tiny_says(err, "attn_qkv.", NULL));
}

static void a_tensor_that_is_missing_is_told(void **state)
{
    static char names[128][64];
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
            if (status == SLM_OK ? !may_be_missing(names[i])
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
    static char names[128][64];
    (void)state;
    for (size_t m = 0; m < sizeof manifests / sizeof manifests[0]; m++) {
        struct golden g;
        load(&g, manifests[m]);
        int n = list_tensors(&g, names);
        for (int i = 0; i < n; i++) {
            slm_model *model = NULL;
            slm_error err;
            uint8_t *width = g.image + find_name(&g, names[i]) + strlen(names[i]) + 4;
            uint8_t old = *width;
            *width = (uint8_t)(old == 1 ? 2 : old - 1); /* a width of 0 is no tensor at all */
            int status = open_image(&model, &g, &err);
            *width = old;
            slm_model_free(model);
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
        cmocka_unit_test(sizes_of_delta_nets_that_do_not_fit_are_told),
        cmocka_unit_test(pairs_that_would_not_turn_are_told),
        cmocka_unit_test(experts_alone_need_no_feed_forward_length),
        cmocka_unit_test(positions_end_where_no_more_were_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
