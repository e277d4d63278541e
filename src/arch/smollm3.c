/* smollm3.c - the family smollm3: SmolLM3 3B.
 *
 * As llama (src/arch/llama.c), but every fourth layer rotates nothing. */

static int arch_smollm3_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                        struct layer *l)
{
    (void)c;
    (void)h;
    l->rope = (i + 1) % 4 == 0 ? LAYER_ROPE_NONE : LAYER_ROPE_GLOBAL;
    return SLM_OK;
}

static const struct slm_arch arch_smollm3 = {
    "smollm3",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    NULL,
    arch_smollm3_layer_configure,
};
