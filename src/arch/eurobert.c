/* eurobert.c - the family eurobert: EuroBERT.
 *
 * As llama (src/arch/llama.c) without its causal mask and its head, and with NEOX pairs: an
 * encoder. */

static const struct arch_tensor arch_eurobert_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_CLASSIFIER,
};

static int arch_eurobert_configure(const struct config *c, struct hparams *h)
{
    (void)c;
    h->is_causal = 0;
    return SLM_OK;
}

static const struct slm_arch arch_eurobert = {
    "eurobert",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_eurobert_globals,
    SLM_COUNT(arch_eurobert_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    arch_eurobert_configure,
    NULL,
};
