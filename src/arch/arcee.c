/* arcee.c - the family arcee: AFM 4.5B.
 *
 * As llama (src/arch/llama.c) without a gate: x += Wdown relu(Wup n)^2. */

static const struct arch_tensor arch_arcee_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
};

static const struct slm_arch arch_arcee = {
    "arcee",
    ROPE_NORM,
    NORM_RMS,
    ACT_RELU_SQUARED,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_arcee_layer,
    SLM_COUNT(arch_arcee_layer),
    NULL,
    NULL,
};
