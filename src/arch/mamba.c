/* mamba.c - the family mamba: Mamba 130M to 2.8B, FalconMamba.
 *
 *     each layer:  x += mamba(n)      n = rms_norm(x, attn_norm)      (src/mixer/mamba.c)
 *
 * and nothing else: no attention, no positions, no feed-forward. FalconMamba has ssm.dt_b_c_rms.
 * Traps: the file's head_count and feed_forward_length mean nothing; ssm_a and ssm_d have no suffix,
 * and ssm_a is -exp of what the original calls A_log. */

static const struct arch_tensor arch_mamba_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ssm_in", ssm_in, DIM_EMBD, DIM_SSM_IN, TENSOR_BIAS),
    ARCH_LAYER("ssm_conv1d", conv, DIM_CONV, DIM_SSM_CONV, TENSOR_VECTOR | TENSOR_TRANSPOSED),
    ARCH_LAYER("ssm_conv1d.bias", conv_bias, DIM_SSM_CONV, DIM_ONE, TENSOR_VECTOR | TENSOR_BARE),
    ARCH_LAYER("ssm_x", ssm_x, DIM_SSM_INNER, DIM_SSM_X, 0),
    ARCH_LAYER("ssm_dt", ssm_step, DIM_SSM_RANK, DIM_SSM_INNER, TENSOR_BIAS_NEEDED),
    ARCH_LAYER("ssm_a", ssm_a, DIM_SSM_STATE, DIM_SSM_INNER,
               TENSOR_VECTOR | TENSOR_BARE | TENSOR_TRANSPOSED),
    ARCH_LAYER("ssm_d", ssm_skip, DIM_SSM_INNER, DIM_ONE, TENSOR_VECTOR | TENSOR_BARE),
    ARCH_LAYER("ssm_out", ssm_out, DIM_SSM_INNER, DIM_EMBD, TENSOR_BIAS),
};

static int arch_mamba_configure(const struct config *c, struct hparams *h)
{
    h->is_hybrid = 1;
    SLM_TRY(config_ssm(c, h, &h->ssm_rank, LIMIT_WIDTH));
    SLM_TRY(config_i32(c, "ssm.dt_b_c_rms", 0, 0, 1, &h->ssm_part_norm));
    h->n_head = h->n_kv_head = h->n_ff = 0;
    return SLM_OK;
}

static int arch_mamba_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                      struct layer *l)
{
    (void)c;
    (void)i;
    l->n_head = l->n_kv_head = l->n_ff = 0;
    l->recurrent = h->ssm_rank > 0 ? RECURRENT_MAMBA : RECURRENT_MAMBA2;
    return SLM_OK;
}

static const struct slm_arch arch_mamba = {
    "mamba",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_mamba_layer,
    SLM_COUNT(arch_mamba_layer),
    arch_mamba_configure,
    arch_mamba_layer_configure,
};
