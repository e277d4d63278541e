/* gptneox.c - the family gptneox: GPT-NeoX, Pythia, RedPajama.
 *
 * As starcoder2 (src/arch/starcoder2.c) with Q, K and V in one matrix; use_parallel_residual says
 * whether both branches, each with its own norm, read the same x. Many rotate a quarter of a head. */

static int arch_gptneox_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                        struct layer *l)
{
    (void)h;
    (void)i;
    l->is_parallel = 1;
    return config_i32(c, "use_parallel_residual", 0, 0, 1, &l->is_parallel);
}

static const struct slm_arch arch_gptneox = {
    "gptneox",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_GELU,
    arch_starcoder2_globals,
    SLM_COUNT(arch_starcoder2_globals),
    arch_starcoder2_layer,
    SLM_COUNT(arch_starcoder2_layer),
    NULL,
    arch_gptneox_layer_configure,
};
