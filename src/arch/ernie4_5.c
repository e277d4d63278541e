/* ernie4_5.c - the family ernie4_5: ERNIE 4.5 0.3B. As llama (src/arch/llama.c). */

static const struct slm_arch arch_ernie4_5 = {
    "ernie4_5",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    NULL,
    NULL,
};
