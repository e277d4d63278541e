/* olmoe.c - the family olmoe: OLMoE 1B-7B.
 *
 * As llama (src/arch/llama.c) with NEOX pairs, norms of all heads of Q and of K at once before the
 * rotation, and experts for the feed-forward. Trap: weights of the selected experts stay what the
 * softmax over all gave. */

static const struct arch_tensor arch_olmoe_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_Q, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_K, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_EXPERTS(0),
};

static int arch_olmoe_configure(const struct config *c, struct hparams *h)
{
    (void)c;
    h->expert_weights_norm = 0;
    return SLM_OK;
}

static const struct slm_arch arch_olmoe = {
    "olmoe",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_olmoe_layer,
    SLM_COUNT(arch_olmoe_layer),
    arch_olmoe_configure,
    NULL,
};
