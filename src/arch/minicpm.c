/* minicpm.c - the family minicpm: MiniCPM 1B, 2B and 4.
 *
 * As granite (src/arch/granite.c) without attention.scale; files older than the keys of the other
 * three numbers mean 12, 1.4 / sqrt(n_layer) and 256 / n_embd. Trap: the logits are divided by the
 * last too, though the model it was made for multiplies: only their temperature is off. */

static int arch_minicpm_configure(const struct config *c, struct hparams *h)
{
    h->embd_scale = 12;
    h->residual_scale = (float)((wide_float)1.4 / math_sqrt((wide_float)h->n_layer));
    h->logit_scale = (float)h->n_embd / 256;
    return config_scales(c, h);
}

static const struct slm_arch arch_minicpm = {
    "minicpm",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    arch_minicpm_configure,
    NULL,
};
