/* nemotron_h.c - the family nemotron_h: Nemotron-H, Nemotron Nano v2.
 *
 *     each layer:  x += one of     attention(Wq n, Wk n, Wv n)         n = rms_norm(x, attn_norm)
 *                                  mamba2(n)                           (src/mixer/mamba2.c)
 *                                  Wdown relu(Wup n)^2
 *
 * The arrays attention.head_count_kv and feed_forward_length say which: a layer where both are 0 is
 * Mamba-2. Nothing is rotated. Trap: the norm is called attn_norm in all of them. */

static const struct arch_tensor arch_nemotron_h_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_MAMBA2_MIXER(0),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
};

static int arch_nemotron_h_configure(const struct config *c, struct hparams *h)
{
    h->is_hybrid = 1;
    return config_ssm_heads(c, h);
}

static int arch_nemotron_h_layer_configure(const struct config *c, const struct hparams *h,
                                           int32_t i, struct layer *l)
{
    (void)c;
    (void)h;
    (void)i;
    l->rope = LAYER_ROPE_NONE;
    l->recurrent = l->n_kv_head == 0 && l->n_ff == 0 ? RECURRENT_MAMBA2 : RECURRENT_NONE;
    return SLM_OK;
}

static const struct slm_arch arch_nemotron_h = {
    "nemotron_h",
    ROPE_NEOX,
    NORM_RMS,
    ACT_RELU_SQUARED,
    arch_falcon_h1_globals,
    SLM_COUNT(arch_falcon_h1_globals),
    arch_nemotron_h_layer,
    SLM_COUNT(arch_nemotron_h_layer),
    arch_nemotron_h_configure,
    arch_nemotron_h_layer_configure,
};
