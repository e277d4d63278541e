/* qwen2.c - the family qwen2: Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen.
 *
 * As llama (src/arch/llama.c) with biases on Q, K and V, and halves of a head rotated against each
 * other (NEOX pairs). The small ones tie the head to the token embedding; output may have a bias.
 */

static const struct arch_tensor arch_qwen2_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS_NEEDED | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS_NEEDED | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS_NEEDED | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static const struct slm_arch arch_qwen2 = {
    "qwen2",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_qwen2_layer,
    SLM_COUNT(arch_qwen2_layer),
    NULL,
    NULL,
};
