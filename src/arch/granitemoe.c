/* granitemoe.c - the family granitemoe: Granite 3.x 1B-A400M, 3B-A800M.
 *
 * As granite (src/arch/granite.c) with experts for the feed-forward, and in some one that all tokens
 * share. Trap: the width of an expert is feed_forward_length itself. */

static const struct arch_tensor arch_granitemoe_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_EXPERTS(0),
    ARCH_SHARED_EXPERT,
};

static int arch_granitemoe_configure(const struct config *c, struct hparams *h)
{
    SLM_TRY(config_i32(c, "expert_shared_feed_forward_length", 0, 0, LIMIT_WIDTH, &h->n_ff_shared));
    return arch_granite_configure(c, h);
}

static const struct slm_arch arch_granitemoe = {
    "granitemoe",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_granitemoe_layer,
    SLM_COUNT(arch_granitemoe_layer),
    arch_granitemoe_configure,
    arch_granite_layer_configure,
};
