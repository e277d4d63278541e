/* starcoder2.c - the family starcoder2: StarCoder2 3B, 7B, 15B.
 *
 *     each layer:  x += Wo attention(rope(Wq n), rope(Wk n), Wv n)   n = layer_norm(x, attn_norm)
 *                  x += Wdown gelu(Wup n)                            n = layer_norm(x, ffn_norm)
 *
 * with a bias on every matrix and norm; NEOX pairs. Trap: no window, whatever the file says. */

static const struct arch_tensor arch_starcoder2_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
};

static const struct arch_tensor arch_starcoder2_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
};

static const struct slm_arch arch_starcoder2 = {
    "starcoder2",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_GELU,
    arch_starcoder2_globals,
    SLM_COUNT(arch_starcoder2_globals),
    arch_starcoder2_layer,
    SLM_COUNT(arch_starcoder2_layer),
    NULL,
    NULL,
};
