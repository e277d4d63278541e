/* internlm2.c - the family internlm2: InternLM 2 and 2.5. As llama (src/arch/llama.c): the converter
 * takes the fused Q, K and V apart. */

static const struct slm_arch arch_internlm2 = {
    "internlm2",
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
