/* llama.c - the family llama: Llama 2, 3 and 3.2, SmolLM2, TinyLlama, Mistral 7B and Nemo,
 * Mixtral, DeepSeek-R1-Distill-Llama. The plain decoder that the others are told against:
 *
 *     x = embed(token)
 *     each layer:  x += Wo attention(rope(Wq n), rope(Wk n), Wv n)   n = rms_norm(x, attn_norm)
 *                  x += Wdown (silu(Wgate n) * Wup n)                n = rms_norm(x, ffn_norm)
 *     logits = output rms_norm(x, output_norm)
 *
 * Mixtral has experts for its feed-forward (src/mixer/experts.c). Llama 3.2 stretches its context
 * through rope_freqs, a divisor for each frequency. Traps: Q and K of GGUF files are permuted so
 * that neighbours are rotated; attention.sliding_window (Mistral 7B v0.1) and attention.scale are
 * not used by this family, whatever the file says. */

static const struct arch_tensor arch_llama_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL | TENSOR_BIAS),
    ARCH_ROPE_FACTORS,
};

static const struct arch_tensor arch_llama_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
    ARCH_EXPERTS(0),
};

static const struct slm_arch arch_llama = {
    "llama",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    NULL,
    NULL,
};
