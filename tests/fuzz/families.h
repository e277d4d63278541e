/* families.h - a model of each kind of layer, as small as can be: good files to be changed.
 *
 * A model is a line of words: the family, its keys (name=value, name=value,value for an array; a
 * value with a point is an f32), its tensors (name:4x2). A tensor with an @ stands in every block
 * ("@attn_norm.weight"), or in the one before the @ ("0@ssm_in.weight"). */
#ifndef FUZZ_FAMILIES_H
#define FUZZ_FAMILIES_H

#include "../gguf_build.h"

#define FAMILY_SIZES " context_length=32 embedding_length=4"
#define FAMILY_RMS " attention.layer_norm_rms_epsilon=0.00001"
#define FAMILY_LAYER " attention.layer_norm_epsilon=0.00001"
#define FAMILY_HEADS " attention.head_count=2 attention.head_count_kv=1"
#define FAMILY_HEADS_OF_2 " attention.key_length=2 attention.value_length=2"
#define FAMILY_TOKENS " token_embd.weight:4x5 output_norm.weight:4 @attn_norm.weight:4"
/* Attention with heads of 2 in the blocks `at`. */
#define FAMILY_QKV(at)                                                                             \
    " " at "@attn_q.weight:4x4 " at "@attn_k.weight:4x2 " at "@attn_v.weight:4x2 " at              \
    "@attn_output.weight:4x4"
#define FAMILY_QK_NORMS(at) " " at "@attn_q_norm.weight:2 " at "@attn_k_norm.weight:2"
#define FAMILY_FFN " @ffn_gate.weight:4x4 @ffn_up.weight:4x4 @ffn_down.weight:4x4"
#define FAMILY_EXPERTS " expert_count=2 expert_used_count=1 expert_feed_forward_length=2"
#define FAMILY_ROUTED                                                                              \
    " @ffn_gate_inp.weight:4x2 @ffn_gate_exps.weight:4x2x2 @ffn_up_exps.weight:4x2x2"              \
    " @ffn_down_exps.weight:2x4x2"
#define FAMILY_SHARED                                                                              \
    " expert_shared_feed_forward_length=2 @ffn_gate_inp_shexp.weight:4"                            \
    " @ffn_gate_shexp.weight:4x2 @ffn_up_shexp.weight:4x2 @ffn_down_shexp.weight:2x4"
#define FAMILY_MAMBA2                                                                              \
    " ssm.conv_kernel=3 ssm.inner_size=8 ssm.state_size=2 ssm.time_step_rank=4 ssm.group_count=2"  \
    " 0@ssm_in.weight:4x28 0@ssm_conv1d.weight:3x16 0@ssm_dt.bias:4 0@ssm_a:1x4 0@ssm_d:1x4"       \
    " 0@ssm_norm.weight:4x2 0@ssm_out.weight:8x4"
#define FAMILY_DELTA                                                                               \
    " full_attention_interval=2 ssm.conv_kernel=2 ssm.state_size=2 ssm.group_count=1"              \
    " ssm.time_step_rank=2 ssm.inner_size=4 rope.dimension_count=2 0@ssm_conv1d.weight:2x8"        \
    " 0@ssm_dt.bias:2 0@ssm_a:2 0@ssm_norm.weight:2 0@ssm_out.weight:4x4 1@attn_q.weight:4x8"      \
    " 1@attn_k.weight:4x2 1@attn_v.weight:4x2 1@attn_output.weight:4x4"                            \
    " @post_attention_norm.weight:4"
#define FAMILY_PLE(n)                                                                              \
    " embedding_length_per_layer_input=2 per_layer_token_embd.weight:" n                           \
    "x5 per_layer_model_proj.weight:4x" n " per_layer_proj_norm.weight:2 @inp_gate.weight:4x2"     \
    " @proj.weight:2x4 @post_norm.weight:4"
#define FAMILY_GEMMA3                                                                              \
    " @attn_norm.weight:4 @post_attention_norm.weight:4 @ffn_norm.weight:4"                        \
    " @post_ffw_norm.weight:4"
#define FAMILY_ENCODER                                                                             \
    " token_embd.weight:4x5 token_embd_norm.weight:4 @attn_q.weight:4x4 @attn_k.weight:4x2"        \
    " @attn_v.weight:4x2 @attn_output.weight:4x4"
#define FAMILY_BERT                                                                                \
    FAMILY_ENCODER " token_types.weight:4x2 token_embd_norm.bias:4 @attn_output_norm.weight:4"     \
                   " @attn_output_norm.bias:4 @layer_output_norm.weight:4"                         \
                   " @layer_output_norm.bias:4"

static const char *const families[] = {
    "lfm2 block_count=2 attention.head_count=2 attention.head_count_kv=0,1 feed_forward_length=4"
    " shortconv.l_cache=3 token_embd.weight:4x5 token_embd_norm.weight:4 @attn_norm.weight:4"
    " 0@shortconv.conv.weight:3x4 0@shortconv.in_proj.weight:4x12 0@shortconv.out_proj.weight:4x4"
    " @ffn_norm.weight:4" FAMILY_SIZES FAMILY_RMS FAMILY_QKV("1") FAMILY_QK_NORMS("1") FAMILY_FFN,

    "mamba block_count=1 attention.head_count=0 feed_forward_length=0 ssm.conv_kernel=3"
    " ssm.inner_size=8 ssm.state_size=2 ssm.time_step_rank=1 @ssm_in.weight:4x16"
    " @ssm_conv1d.weight:3x8 @ssm_conv1d.bias:8 @ssm_x.weight:8x5 @ssm_dt.weight:1x8 @ssm_dt.bias:8"
    " @ssm_a:2x8 @ssm_d:8 @ssm_out.weight:8x4" FAMILY_SIZES FAMILY_RMS FAMILY_TOKENS,

    "falcon-h1 block_count=1 feed_forward_length=4 @ffn_norm:4" FAMILY_SIZES FAMILY_HEADS FAMILY_RMS
        FAMILY_TOKENS FAMILY_QKV("") FAMILY_MAMBA2 FAMILY_FFN,

    "nemotron_h block_count=3 attention.head_count=2 attention.head_count_kv=0,1,0"
    " feed_forward_length=0,0,4 2@ffn_up.weight:4x4 2@ffn_down.weight:4x4" FAMILY_SIZES FAMILY_RMS
        FAMILY_TOKENS FAMILY_MAMBA2 FAMILY_QKV("1"),

    "rwkv7 block_count=2 attention.head_count=0 feed_forward_length=4 wkv.head_size=2"
    " attention.decay_lora_rank=1 attention.iclr_lora_rank=1 attention.gate_lora_rank=1"
    " attention.value_residual_mix_lora_rank=1 token_embd_norm.weight:4 token_embd_norm.bias:4"
    " output_norm.bias:4 output.weight:4x5 @attn_norm.bias:4 @attn_norm_2.weight:4"
    " @attn_norm_2.bias:4 @time_mix_lerp_fused.weight:4x6 @time_mix_receptance.weight:4x4"
    " @time_mix_key.weight:4x4 @time_mix_value.weight:4x4 @time_mix_output.weight:4x4"
    " @time_mix_w0.weight:4 @time_mix_w1.weight:4x1 @time_mix_w2.weight:1x4 @time_mix_a0.weight:4"
    " @time_mix_a1.weight:4x1 @time_mix_a2.weight:1x4 @time_mix_v0.weight:4"
    " 1@time_mix_v1.weight:4x1 1@time_mix_v2.weight:1x4 @time_mix_g1.weight:4x1"
    " @time_mix_g2.weight:1x4 @time_mix_k_k.weight:4 @time_mix_k_a.weight:4 @time_mix_r_k.weight:4"
    " @time_mix_ln.weight:4 @time_mix_ln.bias:4 @channel_mix_lerp_k.weight:4"
    " @channel_mix_key.weight:4x4 @channel_mix_value.weight:4x4" FAMILY_SIZES FAMILY_LAYER
        FAMILY_TOKENS,

    "qwen35moe block_count=2 0@attn_qkv.weight:4x8 0@attn_gate.weight:4x4 0@ssm_beta.weight:4x2"
    " 0@ssm_alpha.weight:4x2" FAMILY_SIZES FAMILY_HEADS FAMILY_HEADS_OF_2 FAMILY_RMS FAMILY_TOKENS
        FAMILY_DELTA FAMILY_QK_NORMS("1") FAMILY_EXPERTS FAMILY_ROUTED FAMILY_SHARED,

    "qwen3next block_count=2 0@ssm_in.weight:4x12 0@ssm_ba.weight:4x4" FAMILY_SIZES FAMILY_HEADS
        FAMILY_HEADS_OF_2 FAMILY_RMS FAMILY_TOKENS FAMILY_DELTA FAMILY_QK_NORMS("1")
            FAMILY_EXPERTS FAMILY_ROUTED FAMILY_SHARED,

    "gemma4 block_count=3 feed_forward_length=4 attention.sliding_window=4"
    " attention.sliding_window_pattern=1,0,1 attention.shared_kv_layers=1"
    " attention.key_length_swa=2 attention.value_length_swa=2 token_embd.weight:4x5"
    " output_norm.weight:4 @post_ffw_norm_1.weight:4 @pre_ffw_norm_2.weight:4"
    " @post_ffw_norm_2.weight:4 @ffn_gate_inp.weight:4x2 @ffn_gate_inp.scale:4"
    " @ffn_gate_up_exps.weight:4x4x2 @ffn_down_exps.weight:2x4x2 "
    "0@layer_output_scale.weight:1" FAMILY_SIZES FAMILY_HEADS FAMILY_HEADS_OF_2 FAMILY_RMS
        FAMILY_QKV("") FAMILY_QK_NORMS("") FAMILY_FFN FAMILY_EXPERTS FAMILY_PLE("6") FAMILY_GEMMA3,

    "gemma3n block_count=1 feed_forward_length=4 attention.sliding_window=4 token_embd.weight:4x5"
    " output_norm.weight:4 altup_proj.weight:4x4x3 altup_unembd_proj.weight:4x4x3"
    " @altup_router.weight:4x4 @altup_router_norm.weight:4 @altup_predict_coef.weight:4x16"
    " @altup_correct_coef.weight:4x4 @altup_correct_scale.weight:4 @laurel_l.weight:4x64"
    " @laurel_r.weight:64x4 @laurel_post_norm.weight:4" FAMILY_SIZES FAMILY_HEADS FAMILY_RMS
        FAMILY_QKV("") FAMILY_QK_NORMS("") FAMILY_FFN FAMILY_PLE("2") FAMILY_GEMMA3,

    "minicpm3 block_count=1 attention.head_count=2 feed_forward_length=4 attention.key_length=4"
    " attention.value_length=2 rope.dimension_count=2 attention.q_lora_rank=2"
    " attention.kv_lora_rank=2 @attn_q_a.weight:4x2 @attn_q_a_norm.weight:2 @attn_q_b.weight:2x8"
    " @attn_kv_a_mqa.weight:4x4 @attn_kv_a_norm.weight:2 @attn_kv_b.weight:2x8"
    " @attn_output.weight:4x4 @ffn_norm.weight:4" FAMILY_SIZES FAMILY_RMS FAMILY_TOKENS FAMILY_FFN,

    "gpt-oss block_count=2 attention.sliding_window=4 @post_attention_norm.weight:4"
    " @attn_sinks.weight:2" FAMILY_SIZES FAMILY_HEADS FAMILY_RMS FAMILY_TOKENS FAMILY_QKV("")
        FAMILY_EXPERTS FAMILY_ROUTED,

    "bert block_count=1 feed_forward_length=4 pooling_type=4 position_embd.weight:4x32"
    " @ffn_up.weight:4x4 @ffn_down.weight:4x4 cls.weight:4x4 cls.bias:4 cls.output.weight:4"
    " cls.output.bias:1" FAMILY_SIZES FAMILY_HEADS FAMILY_LAYER FAMILY_BERT,

    "jina-bert-v2 block_count=1 feed_forward_length=4 pooling_type=1 @ffn_up.weight:4x8"
    " @ffn_down.weight:4x4 @attn_norm_2.weight:4 @attn_norm_2.bias:4" FAMILY_SIZES FAMILY_HEADS
        FAMILY_LAYER FAMILY_BERT,

    "nomic-bert-moe block_count=2 feed_forward_length=4 pooling_type=1 moe_every_n_layers=2"
    " expert_count=2 expert_used_count=1 0@ffn_up.weight:4x4 0@ffn_down.weight:4x4"
    " 1@ffn_gate_inp.weight:4x2 1@ffn_up_exps.weight:4x4x2 "
    "1@ffn_down_exps.weight:4x4x2" FAMILY_SIZES FAMILY_HEADS FAMILY_LAYER FAMILY_BERT,

    "modern-bert block_count=2 feed_forward_length=4 pooling_type=4 attention.sliding_window=4"
    " output_norm.weight:4 1@attn_norm.weight:4 @ffn_norm.weight:4 @ffn_up.weight:4x8"
    " @ffn_down.weight:4x4 cls.weight:4x4 cls.norm.weight:4 cls.output.weight:4" FAMILY_SIZES
        FAMILY_HEADS FAMILY_LAYER FAMILY_ENCODER,

    "gemma-embedding block_count=2 feed_forward_length=4 pooling_type=1 attention.sliding_window=4"
    " attention.sliding_window_pattern=2 token_embd.weight:4x5 output_norm.weight:4"
    " dense_2.weight:4x6 dense_3.weight:6x4" FAMILY_SIZES FAMILY_HEADS FAMILY_RMS FAMILY_QKV("")
        FAMILY_QK_NORMS("") FAMILY_FFN FAMILY_GEMMA3,
};

/* Models with a size that is 0, whose matrices are not there. */
static const struct {
    const char *name, *line;
} broken_families[] = {
    {"keys-without-queries",
     "lfm2 block_count=1 attention.head_count=0 attention.head_count_kv=1 feed_forward_length=0"
     " shortconv.l_cache=3 token_embd.weight:4x5 token_embd_norm.weight:4 @attn_norm.weight:4"
     " @ffn_norm.weight:4" FAMILY_SIZES FAMILY_RMS},
    {"values-of-nothing",
     "minicpm3 block_count=1 attention.head_count=8 feed_forward_length=4 attention.key_length=4"
     " rope.dimension_count=2 attention.q_lora_rank=2 attention.kv_lora_rank=2"
     " @attn_q_a.weight:4x2 @attn_q_a_norm.weight:2 @attn_q_b.weight:2x32"
     " @attn_kv_a_mqa.weight:4x4 @attn_kv_a_norm.weight:2 @attn_kv_b.weight:2x16"
     " @ffn_norm.weight:4" FAMILY_SIZES FAMILY_RMS FAMILY_TOKENS FAMILY_FFN},
    {"experts-without-feed-forward",
     "gemma4 block_count=1 attention.sliding_window=4"
     " attention.sliding_window_pattern=1 token_embd.weight:4x5 output_norm.weight:4"
     " @post_ffw_norm_1.weight:4 @pre_ffw_norm_2.weight:4 @post_ffw_norm_2.weight:4"
     " @ffn_gate_inp.weight:4x2 @ffn_gate_inp.scale:4 @ffn_gate_up_exps.weight:4x4x2"
     " @ffn_down_exps.weight:2x4x2" FAMILY_SIZES FAMILY_HEADS FAMILY_HEADS_OF_2 FAMILY_RMS
         FAMILY_QKV("") FAMILY_QK_NORMS("") FAMILY_EXPERTS FAMILY_GEMMA3},
    {"27b-without-heads", "gemma2 block_count=46 attention.head_count=0 feed_forward_length=4"
                          " token_embd.weight:4x5" FAMILY_SIZES FAMILY_RMS},
};

/* family.name=value,value */
static void family_key(struct build *b, const char *family, const char *word, size_t name_size)
{
    char key[96];
    int64_t values[8];
    uint32_t n = 0;
    const char *at = word + name_size + 1;
    snprintf(key, sizeof key, "%s.%.*s", family, (int)name_size, word);
    if (strchr(at, '.') != NULL) {
        build_f32(b, key, strtof(at, NULL));
        return;
    }
    for (char *end; n < 8; at = end + 1) {
        values[n++] = strtoll(at, &end, 10);
        if (*end != ',') {
            break;
        }
    }
    if (n == 1) {
        build_u32(b, key, (uint32_t)values[0]);
    } else {
        build_ints(b, key, SLM_TYPE_INT32, values, n);
    }
}

static void family_tensor(struct build *b, const char *word, size_t name_size, int64_t n_blocks)
{
    int64_t shape[4];
    uint32_t n_dims = 0;
    const char *block = (const char *)memchr(word, '@', name_size);
    for (char *at = (char *)(uintptr_t)word + name_size; *at != 0 && n_dims < 4;) {
        shape[n_dims++] = strtoll(at + 1, &at, 10);
    }
    for (int64_t i = 0; i < (block != NULL ? n_blocks : 1); i++) {
        char name[96];
        int length = (int)name_size;
        if (block == NULL) {
            snprintf(name, sizeof name, "%.*s", length, word);
        } else if (block == word || strtoll(word, NULL, 10) == i) {
            length -= (int)(block + 1 - word);
            snprintf(name, sizeof name, "blk.%d.%.*s", (int)i, length, block + 1);
        } else {
            continue;
        }
        build_tensor(b, name, n_dims, shape);
    }
}

/* The file of a model; `family` gets its name. */
static TESTING_UNUSED void family_build(struct build *b, const char *line, char family[32])
{
    size_t n = strcspn(line, " ");
    int64_t n_blocks = strtoll(strstr(line, "block_count=") + 12, NULL, 10);
    build_init(b);
    snprintf(family, 32, "%.*s", (int)n, line);
    build_text(b, "general.architecture", family);
    for (const char *at = line + n; *at != 0; at += strcspn(at, " ")) {
        char word[96];
        at += strspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, " "), at);
        size_t name_size = strcspn(word, "=:");
        if (word[name_size] == '=') {
            family_key(b, family, word, name_size);
        } else {
            family_tensor(b, word, name_size, n_blocks);
        }
    }
    build_finish(b);
}

#endif
