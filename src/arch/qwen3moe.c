/* qwen3moe.c - the family qwen3moe: Qwen3 30B-A3B and 235B-A22B.
 *
 * As qwen3 (src/arch/qwen3.c) with experts for the feed-forward; the weights of those selected are
 * brought to sum 1. */

static const struct arch_tensor arch_qwen3moe_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_EXPERTS(0),
};

static int arch_qwen3moe_configure(const struct config *c, struct hparams *h)
{
    if (h->n_expert > 0) {
        h->n_ff_expert = h->n_ff / h->n_expert_used;
    }
    return config_expert_widths(c, 0, h);
}

static const struct slm_arch arch_qwen3moe = {
    "qwen3moe",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_qwen3moe_layer,
    SLM_COUNT(arch_qwen3moe_layer),
    arch_qwen3moe_configure,
    NULL,
};
