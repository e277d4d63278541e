/* shapes.c - the shapes of known models, as rows of tables: a model is a row of its sizes, and one
 * for each key that not all models have. */
#include "cli.h"
#include "shapes.h"

#include <string.h>
#include <strings.h>

/* ---- Models --------------------------------------------------------------------------------- */

/* Attention in layers 10, 13, 17 and 27, or 5, 15, 25 and 35. */
#define GRANITE_H_350M "mmmmmmmmmmammammmammmmmmmmmammmm"
#define GRANITE_H "mmmmmammmm"
#define LFM2 "ccaccaccacacacac"
#define LFM2_8B "ccacccacccacccacccaccacc"

const struct shape cli_shapes[] = {
    {"tiny", "llama", 2, 256, 4, 2, 64, 512, 1024, 4096, 1e4f, 1e-5f, 1, "a"},
    {"smollm2-135m", "llama", 30, 576, 9, 3, 64, 1536, 49152, 8192, 1e5f, 1e-5f, 1, "a"},
    {"smollm2-360m", "llama", 32, 960, 15, 5, 64, 2560, 49152, 8192, 1e5f, 1e-5f, 1, "a"},
    {"smollm2-1.7b", "llama", 24, 2048, 32, 32, 64, 8192, 49152, 8192, 1.3e5f, 1e-5f, 1, "a"},
    {"tinyllama-1.1b", "llama", 22, 2048, 32, 4, 64, 5632, 32000, 2048, 1e4f, 1e-5f, 0, "a"},
    {"llama2-7b", "llama", 32, 4096, 32, 32, 128, 11008, 32000, 4096, 1e4f, 1e-5f, 0, "a"},
    {"llama3-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 8192, 5e5f, 1e-5f, 0, "a"},
    {"llama3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5f, 1e-5f, 1, "a"},
    {"llama3.2-3b", "llama", 28, 3072, 24, 8, 128, 8192, 128256, 131072, 5e5f, 1e-5f, 1, "a"},
    {"llama3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072, 5e5f, 1e-5f, 0, "a"},
    {"mistral-7b", "llama", 32, 4096, 32, 8, 128, 14336, 32768, 32768, 1e6f, 1e-5f, 0, "a"},
    {"ministral-3-3b", "mistral3", 26, 3072, 32, 8, 128, 9216, 131072, 262144, 1e6f, 1e-5f, 1, "a"},
    {"ministral-3-8b", "mistral3", 34, 4096, 32, 8, 128, 14336, 131072, 262144, 1e6f, 1e-5f, 0,
     "a"},
    {"smollm3-3b", "smollm3", 36, 2048, 16, 4, 128, 11008, 128256, 65536, 5e6f, 1e-6f, 1, "a"},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, 1e6f, 1e-6f, 1, "a"},
    {"qwen2.5-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, 32768, 1e6f, 1e-6f, 1, "a"},
    {"qwen2.5-3b", "qwen2", 36, 2048, 16, 2, 128, 11008, 151936, 32768, 1e6f, 1e-6f, 1, "a"},
    {"qwen2.5-7b", "qwen2", 28, 3584, 28, 4, 128, 18944, 152064, 32768, 1e6f, 1e-6f, 0, "a"},
    {"qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960, 1e6f, 1e-6f, 1, "a"},
    {"qwen3-1.7b", "qwen3", 28, 2048, 16, 8, 128, 6144, 151936, 40960, 1e6f, 1e-6f, 1, "a"},
    {"qwen3-4b", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, 40960, 1e6f, 1e-6f, 1, "a"},
    {"qwen3-8b", "qwen3", 36, 4096, 32, 8, 128, 12288, 151936, 40960, 1e6f, 1e-6f, 0, "a"},
    {"qwen3.5-0.8b", "qwen35", 24, 1024, 8, 2, 256, 3584, 248320, 262144, 1e7f, 1e-6f, 1, "ddda"},
    {"qwen3.5-2b", "qwen35", 24, 2048, 8, 2, 256, 6144, 248320, 262144, 1e7f, 1e-6f, 1, "ddda"},
    {"qwen3.5-4b", "qwen35", 32, 2560, 16, 4, 256, 9216, 248320, 262144, 1e7f, 1e-6f, 1, "ddda"},
    {"gemma2-2b", "gemma2", 26, 2304, 8, 4, 256, 9216, 256000, 8192, 1e4f, 1e-6f, 1, "wa"},
    {"gemma3-270m", "gemma3", 18, 640, 4, 1, 256, 2048, 262144, 32768, 1e6f, 1e-6f, 1, "wwwwwa"},
    {"gemma3-1b", "gemma3", 26, 1152, 4, 1, 256, 6912, 262144, 32768, 1e6f, 1e-6f, 1, "wwwwwa"},
    {"gemma3-4b", "gemma3", 34, 2560, 8, 4, 256, 10240, 262144, 131072, 1e6f, 1e-6f, 1, "wwwwwa"},
    {"gemma3n-e2b", "gemma3n", 30, 2048, 8, 2, 256, 8192, 262400, 32768, 1e6f, 1e-6f, 1, "wwwwa"},
    {"gemma3n-e4b", "gemma3n", 35, 2048, 8, 2, 256, 16384, 262400, 32768, 1e6f, 1e-6f, 1, "wwwwa"},
    {"gemma4-e2b", "gemma4", 35, 1536, 8, 1, 512, 6144, 262144, 131072, 1e6f, 1e-6f, 1, "wwwwa"},
    {"gemma4-e4b", "gemma4", 42, 2560, 8, 2, 512, 10240, 262144, 131072, 1e6f, 1e-6f, 1, "wwwwwa"},
    {"phi-2", "phi2", 32, 2560, 32, 32, 80, 10240, 51200, 2048, 1e4f, 1e-5f, 0, "a"},
    {"phi3.5-mini", "phi3", 32, 3072, 32, 32, 96, 8192, 32064, 131072, 1e4f, 1e-5f, 0, "a"},
    {"phi4-mini", "phi3", 32, 3072, 24, 8, 128, 8192, 200064, 131072, 1e4f, 1e-5f, 1, "a"},
    {"granite3.1-1b-a400m", "granitemoe", 24, 1024, 16, 8, 64, 512, 49155, 131072, 1.5e6f, 1e-6f, 1,
     "a"},
    {"granite3.3-2b", "granite", 40, 2048, 32, 8, 64, 8192, 49159, 131072, 1e7f, 1e-5f, 1, "a"},
    {"granite3.3-8b", "granite", 40, 4096, 32, 8, 128, 12800, 49159, 131072, 1e7f, 1e-5f, 1, "a"},
    {"granite-4-350m", "granite", 28, 1024, 16, 4, 64, 2048, 100352, 131072, 1e7f, 1e-5f, 1, "a"},
    {"granite-4-1b", "granite", 40, 2048, 16, 4, 128, 4096, 100352, 131072, 1e7f, 1e-5f, 1, "a"},
    {"granite-4-micro", "granite", 40, 2560, 40, 8, 64, 8192, 100352, 131072, 1e7f, 1e-5f, 1, "a"},
    {"granite-4-h-350m", "granitehybrid", 32, 768, 12, 4, 64, 2048, 100352, 32768, 1e4f, 1e-5f, 1,
     GRANITE_H_350M},
    {"granite-4-h-1b", "granitehybrid", 40, 1536, 12, 4, 128, 4096, 100352, 131072, 1e4f, 1e-5f, 1,
     GRANITE_H},
    {"granite-4-h-micro", "granitehybrid", 40, 2048, 32, 8, 64, 8192, 100352, 131072, 1e4f, 1e-5f,
     1, GRANITE_H},
    {"granite-4-h-tiny", "granitehybrid", 40, 1536, 12, 4, 128, 512, 100352, 131072, 1e4f, 1e-5f, 1,
     GRANITE_H},
    {"lfm2-350m", "lfm2", 16, 1024, 16, 8, 64, 4608, 65536, 128000, 1e6f, 1e-5f, 1, LFM2},
    {"lfm2-700m", "lfm2", 16, 1536, 24, 8, 64, 6912, 65536, 128000, 1e6f, 1e-5f, 1, LFM2},
    {"lfm2-1.2b", "lfm2", 16, 2048, 32, 8, 64, 8192, 65536, 128000, 1e6f, 1e-5f, 1, LFM2},
    {"lfm2-8b-a1b", "lfm2moe", 24, 2048, 32, 8, 64, 7168, 65536, 128000, 1e6f, 1e-5f, 1, LFM2_8B},
    {"olmo2-1b", "olmo2", 16, 2048, 16, 16, 128, 8192, 100352, 4096, 5e5f, 1e-6f, 0, "a"},
    {"olmo2-7b", "olmo2", 32, 4096, 32, 32, 128, 11008, 100352, 4096, 5e5f, 1e-6f, 0, "a"},
    {"olmo3-7b", "olmo2", 32, 4096, 32, 32, 128, 11008, 100278, 65536, 5e5f, 1e-6f, 0, "wwwa"},
    {"olmoe-1b-7b", "olmoe", 16, 2048, 16, 16, 128, 1024, 50304, 4096, 1e4f, 1e-5f, 0, "a"},
    {"stablelm-2-1.6b", "stablelm", 24, 2048, 32, 32, 64, 5632, 100352, 4096, 1e4f, 1e-5f, 0, "a"},
    {"falcon-h1-0.5b", "falcon-h1", 36, 1024, 8, 2, 64, 2048, 32784, 16384, 1e11f, 1e-5f, 0, "b"},
    {"bitnet-2b", "bitnet", 30, 2560, 20, 5, 128, 6912, 128256, 4096, 5e5f, 1e-5f, 1, "a"},
    {"rwkv7-0.4b", "rwkv7", 24, 1024, 0, 0, 0, 4096, 65536, 1048576, 1e4f, 1e-5f, 0, "r"},
    {"rwkv7-1.5b", "rwkv7", 24, 2048, 0, 0, 0, 8192, 65536, 1048576, 1e4f, 1e-5f, 0, "r"},
};

const int cli_n_shapes = CLI_COUNT(cli_shapes);

/* ---- Their own keys -------------------------------------------------------------------------- */

#define U32 SLM_TYPE_UINT32
#define F32 SLM_TYPE_FLOAT32
#define BOOL SLM_TYPE_BOOL
#define STRING SLM_TYPE_STRING

/* The first that fits counts: shapes stand before their family. Notes: rope_freqs is the factor of
 * llama3's frequencies, rope_factors the number of longrope's, shared_n_ff the width of layers
 * without K and V; with idle_kv these have the tensors all the same, for nothing. */
const struct setting cli_settings[] = {
    {"llama3.2-1b", "rope_freqs", NOTE, 32, NULL},
    {"llama3.2-3b", "rope_freqs", NOTE, 32, NULL},
    {"llama3.1-8b", "rope_freqs", NOTE, 8, NULL},

    {"mistral3", "rope.scaling.type", STRING, 0, "yarn"},
    {"mistral3", "rope.scaling.factor", F32, 16, NULL},
    {"mistral3", "rope.scaling.original_context_length", U32, 16384, NULL},
    {"mistral3", "rope.scaling.yarn_beta_fast", F32, 32, NULL},
    {"mistral3", "rope.scaling.yarn_beta_slow", F32, 1, NULL},
    {"mistral3", "rope.scaling.yarn_log_multiplier", F32, 1, NULL},
    {"mistral3", "attention.temperature_scale", F32, 0.1, NULL},

    {"qwen3.5-4b", "ssm.time_step_rank", U32, 32, NULL},
    {"qwen3.5-4b", "ssm.inner_size", U32, 4096, NULL},
    {"qwen35", "rope.dimension_count", U32, 64, NULL},
    {"qwen35", "full_attention_interval", U32, 4, NULL},
    {"qwen35", "ssm.conv_kernel", U32, 4, NULL},
    {"qwen35", "ssm.state_size", U32, 128, NULL},
    {"qwen35", "ssm.group_count", U32, 16, NULL},
    {"qwen35", "ssm.time_step_rank", U32, 16, NULL},
    {"qwen35", "ssm.inner_size", U32, 2048, NULL},

    {"gemma2", "attention.sliding_window", U32, 4096, NULL},
    {"gemma2", "attn_logit_softcapping", F32, 50, NULL},
    {"gemma2", "final_logit_softcapping", F32, 30, NULL},
    {"gemma3-4b", "attention.sliding_window", U32, 1024, NULL},
    {"gemma3-4b", "rope.scaling.type", STRING, 0, "linear"},
    {"gemma3-4b", "rope.scaling.factor", F32, 8, NULL},
    {"gemma3", "attention.sliding_window", U32, 512, NULL},
    {"gemma3", "rope.freq_base_swa", F32, 1e4, NULL},
    {"gemma3n-e2b", "attention.shared_kv_layers", U32, 10, NULL},
    {"gemma3n-e4b", "attention.shared_kv_layers", U32, 15, NULL},
    {"gemma3n", "idle_kv", NOTE, 1, NULL},
    {"gemma3n", "attention.sliding_window", U32, 512, NULL},
    {"gemma3n", "rope.freq_base_swa", F32, 1e4, NULL},
    {"gemma3n", "embedding_length_per_layer_input", U32, 256, NULL},
    {"gemma3n", "altup.num_inputs", U32, 4, NULL},
    {"gemma3n", "altup.active_idx", U32, 0, NULL},
    {"gemma4-e2b", "attention.shared_kv_layers", U32, 20, NULL},
    {"gemma4-e2b", "shared_n_ff", NOTE, 12288, NULL},
    {"gemma4-e4b", "attention.shared_kv_layers", U32, 18, NULL},
    {"gemma4", "attention.sliding_window", U32, 512, NULL},
    {"gemma4", "attention.key_length_swa", U32, 256, NULL},
    {"gemma4", "attention.value_length_swa", U32, 256, NULL},
    {"gemma4", "rope.dimension_count_swa", U32, 256, NULL},
    {"gemma4", "rope.freq_base_swa", F32, 1e4, NULL},
    {"gemma4", "embedding_length_per_layer_input", U32, 256, NULL},
    {"gemma4", "final_logit_softcapping", F32, 30, NULL},

    {"phi2", "rope.dimension_count", U32, 32, NULL},
    {"phi4-mini", "rope.dimension_count", U32, 96, NULL},
    {"phi3", "rope_factors", NOTE, 48, NULL},
    {"phi3", "rope.scaling.original_context_length", U32, 4096, NULL},
    {"phi3", "rope.scaling.attn_factor", F32, 1.190238, NULL},

    {"granite3.3-8b", "attention.scale", F32, 0.0078125, NULL},
    {"granite3.3-8b", "logit_scale", F32, 16, NULL},
    {"granite-4-350m", "residual_scale", F32, 0.263, NULL},
    {"granite-4-350m", "logit_scale", F32, 4, NULL},
    {"granite-4-1b", "attention.scale", F32, 0.0078125, NULL},
    {"granite-4-micro", "logit_scale", F32, 10, NULL},
    {"granite", "attention.scale", F32, 0.015625, NULL},
    {"granite", "embedding_scale", F32, 12, NULL},
    {"granite", "residual_scale", F32, 0.22, NULL},
    {"granite", "logit_scale", F32, 8, NULL},
    {"granitemoe", "expert_count", U32, 32, NULL},
    {"granitemoe", "expert_used_count", U32, 8, NULL},
    {"granite-4-h-350m", "ssm.inner_size", U32, 1536, NULL},
    {"granite-4-h-350m", "residual_scale", F32, 0.246, NULL},
    {"granite-4-h-350m", "logit_scale", F32, 3, NULL},
    {"granite-4-h-1b", "attention.scale", F32, 0.0078125, NULL},
    {"granite-4-h-micro", "ssm.time_step_rank", U32, 64, NULL},
    {"granite-4-h-micro", "ssm.inner_size", U32, 4096, NULL},
    {"granite-4-h-micro", "logit_scale", F32, 8, NULL},
    {"granite-4-h-tiny", "attention.scale", F32, 0.0078125, NULL},
    {"granite-4-h-tiny", "expert_count", U32, 64, NULL},
    {"granite-4-h-tiny", "expert_used_count", U32, 6, NULL},
    {"granite-4-h-tiny", "expert_shared_feed_forward_length", U32, 1024, NULL},
    {"granitehybrid", "rope.scaling.finetuned", BOOL, 0, NULL},
    {"granitehybrid", "attention.scale", F32, 0.015625, NULL},
    {"granitehybrid", "embedding_scale", F32, 12, NULL},
    {"granitehybrid", "residual_scale", F32, 0.22, NULL},
    {"granitehybrid", "logit_scale", F32, 6, NULL},
    {"granitehybrid", "ssm.conv_kernel", U32, 4, NULL},
    {"granitehybrid", "ssm.state_size", U32, 128, NULL},
    {"granitehybrid", "ssm.group_count", U32, 1, NULL},
    {"granitehybrid", "ssm.time_step_rank", U32, 48, NULL},
    {"granitehybrid", "ssm.inner_size", U32, 3072, NULL},

    {"lfm2", "shortconv.l_cache", U32, 3, NULL},
    {"lfm2moe", "shortconv.l_cache", U32, 3, NULL},
    {"lfm2moe", "leading_dense_block_count", U32, 2, NULL},
    {"lfm2moe", "expert_count", U32, 32, NULL},
    {"lfm2moe", "expert_used_count", U32, 4, NULL},
    {"lfm2moe", "expert_feed_forward_length", U32, 1792, NULL},
    {"lfm2moe", "expert_gating_func", U32, 2, NULL},

    {"olmo3-7b", "attention.sliding_window", U32, 4096, NULL},
    {"olmoe", "expert_count", U32, 64, NULL},
    {"olmoe", "expert_used_count", U32, 8, NULL},
    {"stablelm", "rope.dimension_count", U32, 16, NULL},
    {"falcon-h1", "ssm.conv_kernel", U32, 4, NULL},
    {"falcon-h1", "ssm.state_size", U32, 128, NULL},
    {"falcon-h1", "ssm.group_count", U32, 1, NULL},
    {"falcon-h1", "ssm.time_step_rank", U32, 24, NULL},
    {"falcon-h1", "ssm.inner_size", U32, 1536, NULL},

    {"rwkv7-0.4b", "attention.decay_lora_rank", U32, 64, NULL},
    {"rwkv7-0.4b", "attention.iclr_lora_rank", U32, 64, NULL},
    {"rwkv7-0.4b", "attention.value_residual_mix_lora_rank", U32, 32, NULL},
    {"rwkv7-0.4b", "attention.gate_lora_rank", U32, 128, NULL},
    {"rwkv7-1.5b", "attention.decay_lora_rank", U32, 96, NULL},
    {"rwkv7-1.5b", "attention.iclr_lora_rank", U32, 96, NULL},
    {"rwkv7-1.5b", "attention.value_residual_mix_lora_rank", U32, 64, NULL},
    {"rwkv7-1.5b", "attention.gate_lora_rank", U32, 256, NULL},
    {"rwkv7", "wkv.head_size", U32, 64, NULL},
};

const int cli_n_settings = CLI_COUNT(cli_settings);

/* ---- Families -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned traits;
} families[] = {
    {"llama", LLAMA},
    {"mistral3", LLAMA},
    {"smollm3", LLAMA},
    {"granite", LLAMA},
    {"granitemoe", LLAMA},
    {"granitehybrid", LLAMA | SSM | SSM_NORM},
    {"qwen2", LLAMA | QKV_BIASES},
    {"qwen3", LLAMA | HEAD_NORMS},
    {"qwen35", (LLAMA & ~FFN_NORM) | POST_ATTN_NORM | HEAD_NORMS | GATED_Q | DELTA},
    {"gemma2", LLAMA | POST_ATTN_NORM | POST_FFN_NORM},
    {"gemma3", LLAMA | POST_ATTN_NORM | POST_FFN_NORM | HEAD_NORMS},
    {"gemma3n", LLAMA | POST_ATTN_NORM | POST_FFN_NORM | HEAD_NORMS | ALTUP},
    {"gemma4", LLAMA | POST_ATTN_NORM | POST_FFN_NORM | HEAD_NORMS | GEMMA4},
    {"phi2", ATTN_NORM | LAST_NORM | NORM_BIASES | FUSED_QKV | QKV_BIASES | UP | BIASES},
    {"phi3", ATTN_NORM | FFN_NORM | LAST_NORM | FUSED_QKV | FUSED_GATE},
    {"lfm2", (LLAMA & ~LAST_NORM) | HEAD_NORMS | EMBD_NORM},
    {"lfm2moe", (LLAMA & ~LAST_NORM) | HEAD_NORMS | EMBD_NORM | EXPERT_BIAS},
    {"olmo2", QKV | WIDE_NORMS | GATE | UP | POST_ATTN_NORM | POST_FFN_NORM | LAST_NORM},
    {"olmoe", LLAMA | WIDE_NORMS},
    {"stablelm", LLAMA | NORM_BIASES | QKV_BIASES},
    {"falcon-h1", (LLAMA & ~FFN_NORM) | BARE_FFN_NORM | SSM},
    {"bitnet", LLAMA | SUB_NORMS},
    {"rwkv7", ATTN_NORM | NORM_BIASES | EMBD_NORM | LAST_NORM},
};

unsigned shape_traits(const struct shape *s)
{
    for (int i = 0; i < CLI_COUNT(families); i++) {
        if (strcmp(families[i].name, s->family) == 0) {
            return families[i].traits;
        }
    }
    return 0;
}

/* ---- Look-ups -------------------------------------------------------------------------------- */

const struct shape *shape_find(const char *name)
{
    for (int i = 0; i < cli_n_shapes; i++) {
        if (strcasecmp(cli_shapes[i].name, name) == 0) {
            return &cli_shapes[i];
        }
    }
    return NULL;
}

const struct setting *shape_setting(const struct shape *s, const char *key)
{
    for (int i = 0; i < cli_n_settings; i++) {
        const struct setting *row = &cli_settings[i];
        if (strcmp(row->key, key) == 0 &&
            (strcmp(row->of, s->name) == 0 || strcmp(row->of, s->family) == 0)) {
            return row;
        }
    }
    return NULL;
}

double shape_number(const struct shape *s, const char *key)
{
    const struct setting *row = shape_setting(s, key);
    return row != NULL ? row->value : 0;
}

/* ---- Layers ---------------------------------------------------------------------------------- */

enum layer_kind shape_kind(const struct shape *s, int32_t layer)
{
    return (enum layer_kind)s->layers[(size_t)layer % strlen(s->layers)];
}

/* Does the layer take K and V from an earlier one? */
static int is_shared(const struct shape *s, int32_t layer)
{
    return layer >= s->n_layer - (int32_t)shape_number(s, "attention.shared_kv_layers");
}

/* What the file says: 0 is how it tells some mixers from attention. */
int32_t shape_kv_heads(const struct shape *s, int32_t layer)
{
    enum layer_kind kind = shape_kind(s, layer);
    return kind == MAMBA2 || kind == SHORT_CONV ? 0 : s->n_kv_head;
}

int32_t shape_n_ff(const struct shape *s, int32_t layer)
{
    int32_t wide = (int32_t)shape_number(s, "shared_n_ff");
    return wide > 0 && is_shared(s, layer) ? wide : s->n_ff;
}

static void set_attention(const struct shape *s, int32_t layer, struct layer_shape *l)
{
    int32_t local = (int32_t)shape_number(s, "attention.key_length_swa");
    l->head_dim = shape_kind(s, layer) == WINDOW && local > 0 ? local : s->head_dim;
    l->q = s->n_head * l->head_dim;
    int shared = is_shared(s, layer);
    l->kv_head_dim = shared && shape_number(s, "idle_kv") == 0 ? 0 : l->head_dim;
    l->kv = s->n_kv_head * l->kv_head_dim;
    l->kept = shared ? 0 : l->kv;
}

/* Mamba-2 convolves X, B and C, a delta net V, K and Q. */
static void set_states(const struct shape *s, struct layer_shape *l)
{
    l->n_ssm_head = (int64_t)shape_number(s, "ssm.time_step_rank");
    l->n_ssm_group = (int64_t)shape_number(s, "ssm.group_count");
    l->ssm_inner = (int64_t)shape_number(s, "ssm.inner_size");
    l->n_conv = l->ssm_inner + 2 * l->n_ssm_group * (int64_t)shape_number(s, "ssm.state_size");
}

static void set_feed_forward(const struct shape *s, int32_t layer, struct layer_shape *l)
{
    int64_t width = (int64_t)shape_number(s, "expert_feed_forward_length");
    if (layer < (int32_t)shape_number(s, "leading_dense_block_count") ||
        shape_setting(s, "expert_count") == NULL) {
        l->n_ff = shape_n_ff(s, layer);
        return;
    }
    l->n_expert = (int64_t)shape_number(s, "expert_count");
    l->n_ff_expert = width > 0 ? width : s->n_ff;
    l->n_ff_shared = (int64_t)shape_number(s, "expert_shared_feed_forward_length");
}

struct layer_shape shape_of_layer(const struct shape *s, int32_t layer)
{
    enum layer_kind kind = shape_kind(s, layer);
    struct layer_shape l;
    memset(&l, 0, sizeof l);
    if (kind == ATTENTION || kind == WINDOW || kind == BOTH) {
        set_attention(s, layer, &l);
    }
    if (kind == MAMBA2 || kind == DELTA_NET || kind == BOTH) {
        set_states(s, &l);
    }
    if (kind == RWKV7) { /* its feed-forward is of its own kind, too */
        l.rwkv = s->n_embd;
    } else {
        set_feed_forward(s, layer, &l);
    }
    l.n_short = kind == SHORT_CONV ? s->n_embd : 0;
    return l;
}
