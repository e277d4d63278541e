/* qwen3next.c - the family qwen3next: Qwen3-Next 80B-A3B and its like.
 *
 * As qwen35moe (src/arch/qwen35.c) without sections of the rotation, and with beta and alpha in one
 * matrix, by key heads. Traps: value head h belongs to key head h / (H / G), not to h mod G; files of
 * 2025 have Q, K, V and z in one matrix ssm_in, by key heads, too. */

static const struct arch_tensor arch_qwen3next_layer[] = {
    ARCH_QWEN35_MIXERS,
    ARCH_LAYER("ssm_in", delta_in, DIM_EMBD, DIM_DELTA_IN, 0),
    ARCH_LAYER("ssm_ba", delta_ba, DIM_EMBD, DIM_DELTA_BA, 0),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
    ARCH_EXPERTS(0),
    ARCH_LAYER("ffn_gate_inp_shexp", shared_router, DIM_EMBD, DIM_ONE, 0),
    ARCH_SHARED_EXPERT,
};

static int arch_qwen3next_configure(const struct config *c, struct hparams *h)
{
    SLM_TRY(config_expert_widths(c, 0, h));
    return arch_qwen35_delta(c, h);
}

static int arch_qwen3next_layer_configure(const struct config *c, const struct hparams *h,
                                          int32_t i, struct layer *l)
{
    l->delta_is_fused = config_layer_has(c, i, "ssm_in.weight");
    return arch_qwen35_layer_configure(c, h, i, l);
}

static const struct slm_arch arch_qwen3next = {
    "qwen3next",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_qwen35_globals,
    SLM_COUNT(arch_qwen35_globals),
    arch_qwen3next_layer,
    SLM_COUNT(arch_qwen3next_layer),
    arch_qwen3next_configure,
    arch_qwen3next_layer_configure,
};
