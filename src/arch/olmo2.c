/* olmo2.c - the family olmo2: OLMo 2 and Olmo 3.
 *
 *     each layer:  x += norm(Wo attention(rope(norm(Wq x)), rope(norm(Wk x)), Wv x),
 *                            post_attention_norm)
 *                  x += norm(Wdown (silu(Wgate x) * Wup x), post_ffw_norm)
 *
 * There are no norms before the branches; those of Q and K go over all heads at once. NEOX pairs.
 * Olmo 3 has a window on three of four layers. Trap: these turn with the same base, but without the
 * YaRN of the others; rope.freq_base_swa is not used. */

static const struct arch_tensor arch_olmo2_layer[] = {
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_Q, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_K, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("post_attention_norm", attn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
    ARCH_LAYER("post_ffw_norm", ffn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
};

static int arch_olmo2_configure(const struct config *c, struct hparams *h)
{
    SLM_TRY(config_window(c, h));
    h->rope_base_local = h->window > 0 ? h->rope_base : 0;
    return SLM_OK;
}

static int arch_olmo2_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                      struct layer *l)
{
    SLM_TRY(config_layer_window(c, h, i, 4, l));
    l->rope = l->window > 0 ? LAYER_ROPE_LOCAL : LAYER_ROPE_GLOBAL;
    return SLM_OK;
}

static const struct slm_arch arch_olmo2 = {
    "olmo2",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_olmo2_layer,
    SLM_COUNT(arch_olmo2_layer),
    arch_olmo2_configure,
    arch_olmo2_layer_configure,
};
