/* hunyuan_dense.c - the family hunyuan-dense: Hunyuan 0.5B, 1.8B, 4B, 7B.
 *
 * As qwen3 (src/arch/qwen3.c). Trap: the heads of Q and K are normed after the rotation. */

static int arch_hunyuan_dense_configure(const struct config *c, struct hparams *h)
{
    (void)c;
    h->qk_norm_after_rope = 1;
    return SLM_OK;
}

static const struct slm_arch arch_hunyuan_dense = {
    "hunyuan-dense",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_qwen3_layer,
    SLM_COUNT(arch_qwen3_layer),
    arch_hunyuan_dense_configure,
    NULL,
};
