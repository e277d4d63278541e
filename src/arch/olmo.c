/* olmo.c - the family olmo: OLMo 1 and 1.7.
 *
 * As llama (src/arch/llama.c) with layer norms that have no weights at all; attention.clamp_kqv, if
 * the file has it, brings Q, K and V to -clamp..clamp before the rotation. */

static const struct arch_tensor arch_olmo_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_NO_WEIGHT),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
};

static const struct arch_tensor arch_olmo_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_NO_WEIGHT),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_NO_WEIGHT),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static int arch_olmo_configure(const struct config *c, struct hparams *h)
{
    return config_f32(c, "attention.clamp_kqv", 0, 0, &h->attn_clamp);
}

static const struct slm_arch arch_olmo = {
    "olmo",
    ROPE_NORM,
    NORM_LAYER,
    ACT_SILU,
    arch_olmo_globals,
    SLM_COUNT(arch_olmo_globals),
    arch_olmo_layer,
    SLM_COUNT(arch_olmo_layer),
    arch_olmo_configure,
    NULL,
};
