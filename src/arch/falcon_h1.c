/* falcon_h1.c - the family falcon-h1: Falcon-H1 0.5B to 34B.
 *
 *     each layer:  x += Wo attention(rope(Wq n), rope(Wk n), Wv n) + mamba2(n)
 *                  x += Wdown (silu(Wgate m) * Wup m)
 *
 * with n = rms_norm(x, attn_norm), m = rms_norm(x, ffn_norm), NEOX pairs and Mamba-2
 * (src/mixer/mamba2.c), whose norm some have and some do not. Traps: the second norm is called
 * blk.N.ffn_norm without .weight; the file's rope_freqs are not used; the original's many
 * multipliers are in the weights already. */

static const struct arch_tensor arch_falcon_h1_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
};

static const struct arch_tensor arch_falcon_h1_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_MAMBA2_MIXER(TENSOR_OPTIONAL),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BARE),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
};

static int arch_falcon_h1_layer_configure(const struct config *c, const struct hparams *h,
                                          int32_t i, struct layer *l)
{
    (void)c;
    (void)h;
    (void)i;
    l->recurrent = RECURRENT_MAMBA2;
    return SLM_OK;
}

static const struct slm_arch arch_falcon_h1 = {
    "falcon-h1",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_falcon_h1_globals,
    SLM_COUNT(arch_falcon_h1_globals),
    arch_falcon_h1_layer,
    SLM_COUNT(arch_falcon_h1_layer),
    config_ssm_heads,
    arch_falcon_h1_layer_configure,
};
