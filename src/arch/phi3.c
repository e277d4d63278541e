/* phi3.c - the family phi3: Phi-3 and 3.5 mini, Phi-4, Phi-4-mini.
 *
 * As llama (src/arch/llama.c) with Q, K and V in one matrix, gate and up in another (gate first),
 * and NEOX pairs. Those for long contexts divide their frequencies by rope_factors_long or _short
 * and lengthen Q and K by rope.scaling.attn_factor. Traps: which factors are taken is a property of
 * the context, not of the position; the tensors decide, rope.scaling.type may be missing;
 * attention.sliding_window is not used; Phi-4-mini rotates 96 of a head's 128 elements. */

static const struct arch_tensor arch_phi3_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, TENSOR_GATE_UP),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_GATE_UP),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static const struct slm_arch arch_phi3 = {
    "phi3",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_phi3_layer,
    SLM_COUNT(arch_phi3_layer),
    NULL,
    NULL,
};
