/* gpt_oss.c - the family gpt-oss: gpt-oss-20b, gpt-oss-120b.
 *
 *     each layer:  x += Wo attention(rope(Wq n), rope(Wk n), Wv n)   n = norm(x, attn_norm)
 *                  x += experts(n)                          n = norm(x, post_attention_norm)
 *
 * with a bias on every matrix, the router's and the experts' too. Each head has a sink, a score that
 * takes part in the softmax of attention and gives nothing. A window on every second layer,
 * beginning with the first; YaRN on all. Traps: post_attention_norm stands before the experts; the
 * softmax goes over the selected experts only; their activation has bounds. */

static const struct arch_tensor arch_gpt_oss_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("attn_sinks", attn_sinks, DIM_HEADS, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("post_attention_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_EXPERTS(TENSOR_BIAS),
};

static int arch_gpt_oss_configure(const struct config *c, struct hparams *h)
{
    h->expert_score = EXPERT_SCORE_SOFTMAX_SELECTED;
    SLM_TRY(config_expert_widths(c, 0, h));
    return config_window(c, h);
}

static int arch_gpt_oss_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                        struct layer *l)
{
    return config_layer_window(c, h, i, 2, l);
}

static const struct slm_arch arch_gpt_oss = {
    "gpt-oss",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SWIGLU_CLAMPED,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_gpt_oss_layer,
    SLM_COUNT(arch_gpt_oss_layer),
    arch_gpt_oss_configure,
    arch_gpt_oss_layer_configure,
};
