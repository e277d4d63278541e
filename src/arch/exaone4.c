/* exaone4.c - the family exaone4: EXAONE 4.0 (1.2B, 32B).
 *
 * As olmo2 (src/arch/olmo2.c): norms behind the branches only; but Q and K are normed head by head.
 * Trap: the 32B, known by its 64 layers, has a window on three of four layers and rotates only in
 * these; in all others attention.sliding_window is not used and every layer rotates. */

static const struct arch_tensor arch_exaone4_layer[] = {
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("post_attention_norm", attn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
    ARCH_LAYER("post_ffw_norm", ffn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
};

static int arch_exaone4_configure(const struct config *c, struct hparams *h)
{
    if (h->n_layer != 64) {
        return SLM_OK;
    }
    h->window = 4096;
    return config_window(c, h);
}

static int arch_exaone4_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                        struct layer *l)
{
    SLM_TRY(config_layer_window(c, h, i, 4, l));
    l->rope = h->window > 0 && l->window == 0 ? LAYER_ROPE_NONE : LAYER_ROPE_GLOBAL;
    return SLM_OK;
}

static const struct slm_arch arch_exaone4 = {
    "exaone4",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_exaone4_layer,
    SLM_COUNT(arch_exaone4_layer),
    arch_exaone4_configure,
    arch_exaone4_layer_configure,
};
