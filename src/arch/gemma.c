/* gemma.c - the family gemma: Gemma 1 (2B, 7B).
 *
 * As llama (src/arch/llama.c) with token embeddings multiplied by sqrt(n_embd), GELU for SiLU, NEOX
 * pairs, and the head tied. Traps: the weights of the norms have their 1 added in the file already;
 * head_dim is attention.key_length (256), not n_embd / n_head. */

static int arch_gemma_configure(const struct config *c, struct hparams *h)
{
    (void)c;
    h->embd_scale = (float)math_sqrt((wide_float)h->n_embd);
    return SLM_OK;
}

static const struct slm_arch arch_gemma = {
    "gemma",
    ROPE_NEOX,
    NORM_RMS,
    ACT_GELU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    arch_gemma_configure,
    NULL,
};
