/* bitnet.c - the family bitnet: BitNet b1.58 as llama.cpp runs it.
 *
 * As llama (src/arch/llama.c) with NEOX pairs and two more norms, each inside a branch:
 *
 *     x += Wo norm(attention(...), attn_sub_norm)
 *     x += Wdown norm(silu(Wgate n) * Wup n, ffn_sub_norm)
 *
 * Matrices of three values have their size in a .scale beside them. The head is tied. Trap: the
 * published 2B-4T has the square of relu for SiLU. */

static const struct arch_tensor arch_bitnet_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_sub_norm", attn_sub_norm, DIM_O, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_sub_norm", ffn_sub_norm, DIM_FF, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static const struct slm_arch arch_bitnet = {
    "bitnet",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_bitnet_layer,
    SLM_COUNT(arch_bitnet_layer),
    NULL,
    NULL,
};
