/* gemma_embedding.c - the family gemma-embedding: EmbeddingGemma.
 *
 * As gemma3 (src/arch/gemma3.c) without its causal mask: an encoder whose local layers see half a
 * window to either side. The mean of the hidden states goes through two matrices more, dense_2 and
 * dense_3, if the file has them. */

static const struct arch_tensor arch_gemma_embedding_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("dense_2", dense_2, DIM_EMBD, DIM_DENSE_2, TENSOR_BIAS),
    ARCH_GLOBAL("dense_3", dense_3, DIM_DENSE_2, DIM_DENSE_3, TENSOR_BIAS),
};

static int arch_gemma_embedding_configure(const struct config *c, struct hparams *h)
{
    SLM_TRY(arch_gemma3_configure(c, h));
    SLM_TRY(config_tensor_rows(c, "dense_2.weight", &h->n_dense_2));
    SLM_TRY(config_tensor_rows(c, "dense_3.weight", &h->n_dense_3));
    SLM_TRY(config_i32(c, "dense_2_feat_out", 0, 1, LIMIT_WIDTH, &h->n_dense_2));
    SLM_TRY(config_i32(c, "dense_3_feat_out", 0, 1, LIMIT_WIDTH, &h->n_dense_3));
    if (h->n_dense_3 > 0 && h->n_dense_2 == 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "tensor 'dense_2.weight' is missing");
    }
    h->is_causal = 0;
    return SLM_OK;
}

static const struct slm_arch arch_gemma_embedding = {
    "gemma-embedding",
    ROPE_NEOX,
    NORM_RMS,
    ACT_GELU,
    arch_gemma_embedding_globals,
    SLM_COUNT(arch_gemma_embedding_globals),
    arch_gemma3_layer,
    SLM_COUNT(arch_gemma3_layer),
    arch_gemma_embedding_configure,
    arch_gemma3_layer_configure,
};
