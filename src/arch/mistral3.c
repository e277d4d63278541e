/* mistral3.c - the family mistral3: Ministral 3 (3B, 8B, 14B) and newer Mistral Small.
 *
 * As llama (src/arch/llama.c) with YaRN whose betas are read from the file, which other families do
 * not do, and with attention that sharpens in steps of the original context: Q of position p is
 * multiplied by 1 + attention.temperature_scale * ln(1 + floor(p / original_context_length)).
 * yarn_log_multiplier = 1 takes back YaRN's lengthening of Q and K. */

static int arch_mistral3_configure(const struct config *c, struct hparams *h)
{
    h->temperature_context = h->rope_ctx_orig;
    SLM_TRY(config_f64(c, "rope.scaling.yarn_beta_fast", 0, 1, &h->yarn_beta_fast));
    SLM_TRY(config_f64(c, "rope.scaling.yarn_beta_slow", 0, 1, &h->yarn_beta_slow));
    SLM_TRY(config_f64(c, "rope.scaling.yarn_log_multiplier", 0, 0, &h->yarn_log_multiplier));
    return config_f64(c, "attention.temperature_scale", 0, 0, &h->attn_temperature);
}

static const struct slm_arch arch_mistral3 = {
    "mistral3",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    arch_mistral3_configure,
    NULL,
};
