/* gpt2.c - the family gpt2: GPT-2 and its kin.
 *
 * As starcoder2 (src/arch/starcoder2.c) without rotation: a row of position_embd is added to each
 * token's embedding, so that there are no positions beyond its rows. */

static const struct arch_tensor arch_gpt2_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("position_embd", position_embd, DIM_EMBD, DIM_CTX, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
};

static int arch_gpt2_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                     struct layer *l)
{
    (void)c;
    (void)h;
    (void)i;
    l->rope = LAYER_ROPE_NONE;
    return SLM_OK;
}

static const struct slm_arch arch_gpt2 = {
    "gpt2",
    ROPE_NORM,
    NORM_LAYER,
    ACT_GELU,
    arch_gpt2_globals,
    SLM_COUNT(arch_gpt2_globals),
    arch_starcoder2_layer,
    SLM_COUNT(arch_starcoder2_layer),
    NULL,
    arch_gpt2_layer_configure,
};
