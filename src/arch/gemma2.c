/* gemma2.c - the family gemma2: Gemma 2 (2B, 9B, 27B).
 *
 * As gemma (src/arch/gemma.c) with a norm behind each branch as well, soft caps, and a window on
 * every second layer, beginning with the first:
 *
 *     each layer:  x += norm(Wo attention(norm(x, attn_norm)), post_attention_norm)
 *                  x += norm(Wdown (gelu(Wgate n) * Wup n), post_ffw_norm)   n = norm(x, ffn_norm)
 *     logits = 30 * tanh(output norm(x, output_norm) / 30)
 *
 * Traps: the cap of attention applies to Q K^T after its scale; the 27B, known by its 46 layers,
 * scales by n_embd / n_head instead of head_dim; both kinds of layers turn with the same base. */

static const struct arch_tensor arch_gemma2_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("post_attention_norm", attn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
    ARCH_LAYER("post_ffw_norm", ffn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
};

/* attention.scale of the largest Gemma, which has no key for it. Layers without heads are refused
 * only behind this. */
static void arch_gemma2_scale(struct hparams *h, int32_t n_layer_of_27b)
{
    if (h->n_layer == n_layer_of_27b && h->n_head > 0) {
        h->attn_scale = (float)(1 / math_sqrt((wide_float)(h->n_embd / h->n_head)));
    }
}

static int arch_gemma2_configure(const struct config *c, struct hparams *h)
{
    h->window = 4096;
    h->attn_softcap = 50;
    h->logit_softcap = 30;
    arch_gemma2_scale(h, 46);
    SLM_TRY(arch_gemma_configure(c, h));
    SLM_TRY(config_window(c, h));
    SLM_TRY(config_f32(c, "attn_logit_softcapping", 0, 0, &h->attn_softcap));
    return config_f32(c, "final_logit_softcapping", 0, 0, &h->logit_softcap);
}

static int arch_gemma2_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                       struct layer *l)
{
    return config_layer_window(c, h, i, 2, l);
}

static const struct slm_arch arch_gemma2 = {
    "gemma2",
    ROPE_NEOX,
    NORM_RMS,
    ACT_GELU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_gemma2_layer,
    SLM_COUNT(arch_gemma2_layer),
    arch_gemma2_configure,
    arch_gemma2_layer_configure,
};
