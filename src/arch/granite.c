/* granite.c - the family granite: Granite 3.x and the dense Granite 4.0 (350m, 1b, micro).
 *
 * As llama (src/arch/llama.c) with four numbers from the file: embedding_scale multiplies the
 * embedding, attention.scale stands for 1 / sqrt(head_dim), residual_scale multiplies what each
 * branch adds, and the logits are divided by logit_scale. Trap: rope.scaling.finetuned = false means
 * that nothing is rotated. */

static int arch_granite_configure(const struct config *c, struct hparams *h)
{
    float scale = 0;
    SLM_TRY(config_f32(c, "attention.scale", 0, 0, &scale));
    h->attn_scale = scale > 0 ? scale : h->attn_scale;
    return config_scales(c, h);
}

static int arch_granite_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                        struct layer *l)
{
    int32_t is_rotated = 1;
    (void)h;
    (void)i;
    SLM_TRY(config_i32(c, "rope.scaling.finetuned", 0, 0, 1, &is_rotated));
    l->rope = is_rotated ? LAYER_ROPE_GLOBAL : LAYER_ROPE_NONE;
    return SLM_OK;
}

static const struct slm_arch arch_granite = {
    "granite",
    ROPE_NORM,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_llama_layer,
    SLM_COUNT(arch_llama_layer),
    arch_granite_configure,
    arch_granite_layer_configure,
};
