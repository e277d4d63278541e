/* granitehybrid.c - the family granitehybrid: Granite 4.0 H (350m, 1b, micro, tiny, small).
 *
 * As granite and granitemoe (src/arch/granite.c, src/arch/granitemoe.c), but most layers have
 * Mamba-2 in place of attention (src/mixer/mamba2.c): those whose attention.head_count_kv is 0. A
 * file has either a feed-forward or experts. Traps: in Granite 4 nothing is rotated
 * (rope.scaling.finetuned = false); context_length says 2^20, not what it was trained for. */

static const struct arch_tensor arch_granitehybrid_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_MAMBA2_MIXER(0),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
    ARCH_EXPERTS(0),
    ARCH_SHARED_EXPERT,
};

static int arch_granitehybrid_configure(const struct config *c, struct hparams *h)
{
    h->is_hybrid = 1;
    SLM_TRY(config_ssm_heads(c, h));
    return arch_granitemoe_configure(c, h);
}

static int arch_granitehybrid_layer_configure(const struct config *c, const struct hparams *h,
                                              int32_t i, struct layer *l)
{
    l->recurrent = l->n_kv_head == 0 ? RECURRENT_MAMBA2 : RECURRENT_NONE;
    return arch_granite_layer_configure(c, h, i, l);
}

static const struct slm_arch arch_granitehybrid = {
    "granitehybrid",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_granitehybrid_layer,
    SLM_COUNT(arch_granitehybrid_layer),
    arch_granitehybrid_configure,
    arch_granitehybrid_layer_configure,
};
