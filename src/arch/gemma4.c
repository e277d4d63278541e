/* gemma4.c - the family gemma4: Gemma 4 (E2B, E4B, 26B-A4B, 31B; the text half).
 *
 * As gemma3 (src/arch/gemma3.c) with scores that are not scaled, a norm of each head of V, and as
 * far as the file has them
 *
 *     what each layer adds about the token itself (src/mixer/ple.c)
 *     layers at the end that make only Q, and read K and V of the last local or global one before
 *     experts beside the feed-forward, each with norms of their own:
 *         x += norm(norm(ffn(norm(x, ffn_norm)), post_ffw_norm_1)
 *                   + norm(experts(norm(x, pre_ffw_norm_2)), post_ffw_norm_2), post_ffw_norm)
 *     a number that multiplies x behind each layer
 *
 * The feed-forward beside experts is bound as their shared expert. Heads of local layers have sizes
 * of their own. Traps: without attn_v V is K as the product gave it, before norm and rotation; V is
 * normed without weights; rope_freqs divides angles of the global layers only; no weight has a 1
 * added; the router sees x without a learnt norm, with ffn_gate_inp.scale / sqrt(n_embd). */

static const struct arch_tensor arch_gemma4_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
    ARCH_GLOBAL("rope_freqs", rope_freqs, DIM_ROT_HALF, DIM_ONE, TENSOR_OPTIONAL | TENSOR_VECTOR),
    ARCH_GEMMA3N_PLE_GLOBALS,
};

static const struct arch_tensor arch_gemma4_layer[] = {
    ARCH_GEMMA3N_ATTENTION(TENSOR_OPTIONAL),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
    ARCH_LAYER("ffn_gate", shared_gate, DIM_EMBD, DIM_FF_SHARED, 0),
    ARCH_LAYER("ffn_up", shared_up, DIM_EMBD, DIM_FF_SHARED, 0),
    ARCH_LAYER("ffn_down", shared_down, DIM_FF_SHARED, DIM_EMBD, 0),
    ARCH_LAYER("post_ffw_norm_1", shared_post_norm, DIM_EXPERT_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate_inp", ffn_router, DIM_EMBD, DIM_EXPERTS, TENSOR_ROUTER),
    ARCH_LAYER("pre_ffw_norm_2", expert_norm, DIM_EXPERT_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate_exps", gate_exps, DIM_EMBD, DIM_FF_EXPERT,
               TENSOR_STACK | TENSOR_GATE_UP_EXPS),
    ARCH_LAYER("ffn_up_exps", up_exps, DIM_EMBD, DIM_FF_EXPERT, TENSOR_STACK | TENSOR_GATE_UP_EXPS),
    ARCH_LAYER("ffn_down_exps", down_exps, DIM_FF_EXPERT, DIM_EMBD, TENSOR_STACK),
    ARCH_LAYER("post_ffw_norm_2", expert_post_norm, DIM_EXPERT_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("post_ffw_norm", ffn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("layer_output_scale", output_scale, DIM_ONE, DIM_ONE,
               TENSOR_OPTIONAL | TENSOR_VECTOR),
    ARCH_GEMMA3N_PLE_LAYER,
};

/* Sizes of the heads of local layers. */
static int arch_gemma4_heads(const struct config *c, int32_t *head_dim, int32_t *head_dim_v)
{
    SLM_TRY(config_i32(c, "attention.key_length_swa", 0, 1, LIMIT_HEAD_DIM, head_dim));
    return config_i32(c, "attention.value_length_swa", 0, 1, LIMIT_HEAD_DIM, head_dim_v);
}

static int arch_gemma4_configure(const struct config *c, struct hparams *h)
{
    int32_t head_dim = h->head_dim;
    int32_t head_dim_v = h->head_dim_v;
    SLM_TRY(arch_gemma3n_common(c, 0, h));
    SLM_TRY(config_expert_widths(c, h->n_ff, h));
    if (h->n_expert > 0 && h->n_ff_shared == 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "key 'gemma4.feed_forward_length' is missing or 0: a feed-forward is expected "
                 "beside the experts");
    }
    SLM_TRY(arch_gemma4_heads(c, &head_dim, &head_dim_v));
    h->n_rot_local = min_i32(h->n_rot, head_dim);
    SLM_TRY(config_i32(c, "rope.dimension_count_swa", 0, 2, head_dim, &h->n_rot_local));
    if (h->n_rot_local % 2 != 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "rope.dimension_count_swa is odd: %d", h->n_rot_local);
    }
    if (!config_has(c, "attention.sliding_window_pattern")) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "key 'gemma4.attention.sliding_window_pattern' is "
                 "missing: which layers are local cannot be known");
    }
    return SLM_OK;
}

static int arch_gemma4_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                       struct layer *l)
{
    SLM_TRY(arch_gemma3n_common_layer(c, h, i, 0, l));
    return l->window > 0 ? arch_gemma4_heads(c, &l->head_dim, &l->head_dim_v) : SLM_OK;
}

static const struct slm_arch arch_gemma4 = {
    "gemma4",
    ROPE_NEOX,
    NORM_RMS,
    ACT_GELU,
    arch_gemma4_globals,
    SLM_COUNT(arch_gemma4_globals),
    arch_gemma4_layer,
    SLM_COUNT(arch_gemma4_layer),
    arch_gemma4_configure,
    arch_gemma4_layer_configure,
};
