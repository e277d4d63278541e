/* mamba2.c - the family mamba2: Mamba-2 130M to 2.7B, Codestral Mamba 7B.
 *
 * As mamba (src/arch/mamba.c) with the mixer of Mamba-2 (src/mixer/mamba2.c). Traps: time_step_rank
 * is the number of heads; ssm_a and ssm_d are a number a head. */

#define ARCH_MAMBA2_MIXER(norm)                                                                    \
    ARCH_LAYER("ssm_in", ssm_in, DIM_EMBD, DIM_SSM_IN, TENSOR_BIAS),                               \
        ARCH_LAYER("ssm_conv1d", conv, DIM_CONV, DIM_SSM_CONV, TENSOR_VECTOR | TENSOR_TRANSPOSED), \
        ARCH_LAYER("ssm_conv1d.bias", conv_bias, DIM_SSM_CONV, DIM_ONE,                            \
                   TENSOR_VECTOR | TENSOR_BARE | TENSOR_OPTIONAL),                                 \
        ARCH_LAYER("ssm_dt.bias", step_bias, DIM_SSM_HEADS, DIM_ONE, TENSOR_VECTOR | TENSOR_BARE), \
        ARCH_LAYER("ssm_a", ssm_a, DIM_ONE, DIM_SSM_HEADS, TENSOR_VECTOR | TENSOR_BARE),           \
        ARCH_LAYER("ssm_d", ssm_skip, DIM_ONE, DIM_SSM_HEADS, TENSOR_VECTOR | TENSOR_BARE),        \
        ARCH_LAYER("ssm_norm", ssm_norm, DIM_SSM_GROUP, DIM_SSM_GROUPS, TENSOR_NORM | (norm)),     \
        ARCH_LAYER("ssm_out", ssm_out, DIM_SSM_INNER, DIM_EMBD, TENSOR_BIAS)

static const struct arch_tensor arch_mamba2_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_MAMBA2_MIXER(0),
};

static int arch_mamba2_configure(const struct config *c, struct hparams *h)
{
    h->is_hybrid = 1;
    h->n_head = h->n_kv_head = h->n_ff = 0;
    return config_ssm_heads(c, h);
}

static const struct slm_arch arch_mamba2 = {
    "mamba2",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_mamba2_layer,
    SLM_COUNT(arch_mamba2_layer),
    arch_mamba2_configure,
    arch_mamba_layer_configure,
};
