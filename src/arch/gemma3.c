/* gemma3.c - the family gemma3: Gemma 3 (270M to 27B; the text half of those that see).
 *
 * As gemma2 (src/arch/gemma2.c) with a norm of each head of Q and K before the rotation, no cap of
 * attention, five local layers to a global one, and two kinds of angles: local layers turn with base
 * rope.freq_base_swa and are never stretched, global ones with rope.freq_base and the file's
 * scaling. Traps: without attention.sliding_window all layers are global; there is a cap of logits
 * only if the file has the key; the 27B is known by its 62 layers. */

static const struct arch_tensor arch_gemma3_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("post_attention_norm", attn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
    ARCH_LAYER("post_ffw_norm", ffn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
};

static int arch_gemma3_configure(const struct config *c, struct hparams *h)
{
    arch_gemma2_scale(h, 62);
    SLM_TRY(arch_gemma_configure(c, h));
    SLM_TRY(config_window(c, h));
    if (h->window > 0) {
        h->rope_base_local = 10000;
        SLM_TRY(config_f64(c, "rope.freq_base_swa", 0, 1, &h->rope_base_local));
    }
    return config_f32(c, "final_logit_softcapping", 0, 0, &h->logit_softcap);
}

static int arch_gemma3_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                       struct layer *l)
{
    SLM_TRY(config_layer_window(c, h, i, 6, l));
    l->rope = l->window > 0 ? LAYER_ROPE_LOCAL : LAYER_ROPE_GLOBAL;
    return SLM_OK;
}

static const struct slm_arch arch_gemma3 = {
    "gemma3",
    ROPE_NEOX,
    NORM_RMS,
    ACT_GELU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_gemma3_layer,
    SLM_COUNT(arch_gemma3_layer),
    arch_gemma3_configure,
    arch_gemma3_layer_configure,
};
