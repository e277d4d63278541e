/* qwen3.c - the family qwen3.
 *
 * As qwen2 (src/arch/qwen2.c) without the biases, and with an RMS norm of each head of Q and K
 * before the rotation. Trap: head_dim is attention.key_length (128), not n_embd / n_head.
 *
 * Qwen3-Embedding gives the last token's hidden state. Qwen3-Reranker has two outputs, yes and no,
 * for the last token: the probability of yes is the score. */

static const struct arch_tensor arch_qwen3_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL | TENSOR_BIAS),
    ARCH_ROPE_FACTORS,
    ARCH_CLASSIFIER,
};

static const struct arch_tensor arch_qwen3_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static int arch_qwen3_configure(const struct config *c, struct hparams *h)
{
    (void)c;
    h->rank_pooling = SLM_POOLING_LAST;
    h->rank_softmax = 1;
    return SLM_OK;
}

static const struct slm_arch arch_qwen3 = {
    "qwen3",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_qwen3_globals,
    SLM_COUNT(arch_qwen3_globals),
    arch_qwen3_layer,
    SLM_COUNT(arch_qwen3_layer),
    arch_qwen3_configure,
    NULL,
};
