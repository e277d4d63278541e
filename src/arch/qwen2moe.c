/* qwen2moe.c - the family qwen2moe: Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B.
 *
 * As qwen2 (src/arch/qwen2.c) with experts for the feed-forward, and one that all tokens share,
 * whose weight is sigmoid(ffn_gate_inp_shexp n). Trap: weights of the selected experts stay what the
 * softmax over all gave. */

static const struct arch_tensor arch_qwen2moe_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_EXPERTS(0),
    ARCH_LAYER("ffn_gate_inp_shexp", shared_router, DIM_EMBD, DIM_ONE, 0),
    ARCH_SHARED_EXPERT,
};

static int arch_qwen2moe_configure(const struct config *c, struct hparams *h)
{
    h->expert_weights_norm = 0;
    if (h->n_expert > 0) {
        h->n_ff_expert = h->n_ff / h->n_expert_used;
    }
    return config_expert_widths(c, h->n_ff, h);
}

static const struct slm_arch arch_qwen2moe = {
    "qwen2moe",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_qwen2moe_layer,
    SLM_COUNT(arch_qwen2moe_layer),
    arch_qwen2moe_configure,
    NULL,
};
