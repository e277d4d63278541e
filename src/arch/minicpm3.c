/* minicpm3.c - the family minicpm3: MiniCPM3 4B.
 *
 * As llama (src/arch/llama.c) with latent attention (src/mixer/latent.c), NEOX pairs, long and short
 * factors, and three numbers that stand in no key: embeddings * 12, what joins x * 1.4 /
 * sqrt(n_layer), logits * 256 / n_embd. Traps: the last n_rot elements of a head are rotated, not
 * the first; attn_kv_b gives K and V head by head. */

static const struct arch_tensor arch_minicpm3_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q_a", latent_q, DIM_EMBD, DIM_Q_RANK, 0),
    ARCH_LAYER("attn_q_a_norm", latent_q_norm, DIM_Q_RANK, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_q_b", attn_q, DIM_Q_RANK, DIM_Q, 0),
    ARCH_LAYER("attn_kv_a_mqa", latent_kv, DIM_EMBD, DIM_KV_RANK, TENSOR_LATENT_KV),
    ARCH_LAYER("attn_kv_a_norm", latent_kv_norm, DIM_KV_RANK, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("attn_kv_b", attn_kv, DIM_KV_RANK, DIM_KV, 0),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, 0),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static int arch_minicpm3_configure(const struct config *c, struct hparams *h)
{
    h->embd_scale = 12;
    h->residual_scale = (float)((wide_float)1.4 / math_sqrt((wide_float)h->n_layer));
    h->logit_scale = 256.0f / (float)h->n_embd;
    SLM_TRY(config_i32(c, "attention.q_lora_rank", 1, 1, LIMIT_WIDTH, &h->n_q_rank));
    SLM_TRY(config_i32(c, "attention.kv_lora_rank", 1, 1, LIMIT_WIDTH, &h->n_kv_rank));
    h->rot_at = h->head_dim - h->n_rot;
    return SLM_OK;
}

/* K of every head is made: none are shared. */
static int arch_minicpm3_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                         struct layer *l)
{
    (void)h;
    if (l->n_kv_head != l->n_head) {
        SLM_FAIL(c->err, SLM_E_MODEL, i, "layer %d: head_count_kv %d, but latent attention has %d",
                 i, l->n_kv_head, l->n_head);
    }
    return SLM_OK;
}

static const struct slm_arch arch_minicpm3 = {
    "minicpm3",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_llama_globals,
    SLM_COUNT(arch_llama_globals),
    arch_minicpm3_layer,
    SLM_COUNT(arch_minicpm3_layer),
    arch_minicpm3_configure,
    arch_minicpm3_layer_configure,
};
