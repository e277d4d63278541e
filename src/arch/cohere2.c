/* cohere2.c - the family cohere2: Command R7B, Aya.
 *
 *     each layer:  n = layer_norm(x, attn_norm)
 *                  x += Wo attention(rope(Wq n), rope(Wk n), Wv n) + Wdown (silu(Wgate n) * Wup n)
 *
 * Layer norms without bias, neighbours rotated, the head tied. A window on three of four layers;
 * the others see everything and rotate nothing. Trap: the logits are multiplied by logit_scale,
 * while granite divides. */

static const struct arch_tensor arch_cohere2_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static int arch_cohere2_configure(const struct config *c, struct hparams *h)
{
    SLM_TRY(config_window(c, h));
    return config_f32(c, "logit_scale", 0, 1, &h->logit_scale);
}

static int arch_cohere2_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                        struct layer *l)
{
    l->is_parallel = 1;
    SLM_TRY(config_layer_window(c, h, i, 4, l));
    l->rope = l->window > 0 ? LAYER_ROPE_GLOBAL : LAYER_ROPE_NONE;
    return SLM_OK;
}

static const struct slm_arch arch_cohere2 = {
    "cohere2",
    ROPE_NORM,
    NORM_LAYER,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_cohere2_layer,
    SLM_COUNT(arch_cohere2_layer),
    arch_cohere2_configure,
    arch_cohere2_layer_configure,
};
