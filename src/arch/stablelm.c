/* stablelm.c - the family stablelm: StableLM 2 1.6B and 12B, StableLM 3B.
 *
 * As llama (src/arch/llama.c) with layer norms, NEOX pairs on a quarter of each head, and in some
 * biases on Q, K and V. The 12B norms each head of Q and K with weights of its own, and its two
 * branches read the same n = norm(x, attn_norm). Trap: that is known by the absence of ffn_norm;
 * use_parallel_residual is not looked at. */

static const struct arch_tensor arch_stablelm_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
};

static const struct arch_tensor arch_stablelm_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_HEADS, TENSOR_NORM | TENSOR_OPTIONAL),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_HEAD, DIM_KV_HEADS, TENSOR_NORM | TENSOR_OPTIONAL),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE,
               TENSOR_NORM | TENSOR_OPTIONAL | TENSOR_BIAS),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static int arch_stablelm_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                         struct layer *l)
{
    (void)h;
    l->is_parallel = !config_layer_has(c, i, "ffn_norm.weight");
    return SLM_OK;
}

static const struct slm_arch arch_stablelm = {
    "stablelm",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_SILU,
    arch_stablelm_globals,
    SLM_COUNT(arch_stablelm_globals),
    arch_stablelm_layer,
    SLM_COUNT(arch_stablelm_layer),
    NULL,
    arch_stablelm_layer_configure,
};
