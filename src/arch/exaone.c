/* exaone.c - the family exaone: EXAONE 3.0, 3.5 and Deep. As llama (src/arch/llama.c) with NEOX pairs.
 */

static const struct slm_arch arch_exaone = {
    "exaone",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    NULL,
    NULL,
};
