/* nemotron.c - the family nemotron: Nemotron 3 and 4, Minitron.
 *
 * As starcoder2 (src/arch/starcoder2.c) with the square of what is positive for GELU, biases on the
 * norms only, and NEOX pairs on half of each head. Trap: the weights of the norms have their 1 added
 * in the file already. */

static const struct slm_arch arch_nemotron = {
    "nemotron",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_RELU_SQUARED,
    arch_starcoder2_globals,
    SLM_COUNT(arch_starcoder2_globals),
    arch_starcoder2_layer,
    SLM_COUNT(arch_starcoder2_layer),
    NULL,
    NULL,
};
