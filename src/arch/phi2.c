/* phi2.c - the family phi2: Phi-1, 1.5 and 2.
 *
 *     each layer:  n = layer_norm(x, attn_norm)
 *                  x += Wo attention(rope(Wq n), rope(Wk n), Wv n) + Wdown gelu(Wup n)
 *
 * with a bias on every matrix and norm. NEOX pairs on the first 32 of a head's 80 elements. */

static const struct arch_tensor arch_phi2_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL | TENSOR_BIAS),
};

static const struct arch_tensor arch_phi2_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS_NEEDED | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS_NEEDED | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS_NEEDED | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS_NEEDED),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS_NEEDED),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS_NEEDED),
};

static int arch_phi2_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                     struct layer *l)
{
    (void)c;
    (void)h;
    (void)i;
    l->is_parallel = 1;
    return SLM_OK;
}

static const struct slm_arch arch_phi2 = {
    "phi2",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_GELU,
    arch_phi2_globals,
    SLM_COUNT(arch_phi2_globals),
    arch_phi2_layer,
    SLM_COUNT(arch_phi2_layer),
    NULL,
    arch_phi2_layer_configure,
};
