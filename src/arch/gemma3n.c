/* gemma3n.c - the family gemma3n: Gemma 3n (E2B, E4B; the text half).
 *
 * As gemma3 (src/arch/gemma3.c) with scores that are not scaled, a norm of each head of V, and
 *
 *     src/mixer/altup.c    four streams, of which a layer's branches see the first
 *     src/mixer/laurel.c   a branch beside attention
 *     src/mixer/ple.c      what each layer adds about the token itself
 *
 * Gates of the first ten layers are cut to about the largest twentieth (src/mixer/ffn.c). Layers
 * behind the first 20 make only Q: they read the K and V of layer 18, or 19 if they see everything;
 * files may hold an attn_k and attn_v for them that nobody uses. Traps: V is normed without weights
 * and not rotated; no weight has a 1 added; the cap of logits is 30 though no key says so. */

#define ARCH_GEMMA3N_LAYERS_KV 20
#define ARCH_GEMMA3N_LAYERS_CUT 10
#define ARCH_GEMMA3N_CUT                                                                           \
    1.6448533535003662f /* deviations: 5 % of a normal distribution lie above */

#define ARCH_GEMMA3N_PLE_GLOBALS                                                                   \
    ARCH_GLOBAL("per_layer_token_embd", ple_embd, DIM_LAYERS_EMBD, DIM_VOCAB, 0),                  \
        ARCH_GLOBAL("per_layer_model_proj", ple_proj, DIM_EMBD, DIM_LAYERS_EMBD, 0),               \
        ARCH_GLOBAL("per_layer_proj_norm", ple_norm, DIM_LAYER_EMBD, DIM_ONE, TENSOR_NORM)
#define ARCH_GEMMA3N_PLE_LAYER                                                                     \
    ARCH_LAYER("inp_gate", ple_gate, DIM_EMBD, DIM_LAYER_EMBD, 0),                                 \
        ARCH_LAYER("proj", ple_output, DIM_LAYER_EMBD, DIM_EMBD, 0),                               \
        ARCH_LAYER("post_norm", ple_post_norm, DIM_PLE_EMBD, DIM_ONE, TENSOR_NORM)
/* Attention of gemma3n and gemma4; gemma4 may do without attn_v. */
#define ARCH_GEMMA3N_ATTENTION(v)                                                                  \
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),                            \
        ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_QKV),                                 \
        ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_QKV),                                 \
        ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_QKV | v),                             \
        ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, 0),                                \
        ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),                    \
        ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_K_HEAD, DIM_ONE, TENSOR_NORM),                  \
        ARCH_LAYER("attn_v_norm", attn_v_norm, DIM_V_HEAD, DIM_ONE,                                \
                   TENSOR_NORM | TENSOR_NO_WEIGHT),                                                \
        ARCH_LAYER("post_attention_norm", attn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM)

static const struct arch_tensor arch_gemma3n_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
    ARCH_GLOBAL("altup_proj", altup_proj, DIM_EMBD, DIM_EMBD, TENSOR_STREAMS),
    ARCH_GLOBAL("altup_unembd_proj", altup_unproj, DIM_EMBD, DIM_EMBD, TENSOR_STREAMS),
    ARCH_GEMMA3N_PLE_GLOBALS,
};

static const struct arch_tensor arch_gemma3n_layer[] = {
    ARCH_GEMMA3N_ATTENTION(0),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
    ARCH_LAYER("post_ffw_norm", ffn_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("altup_router", altup_router, DIM_EMBD, DIM_STREAMS, 0),
    ARCH_LAYER("altup_router_norm", altup_router_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("altup_predict_coef", altup_predict, DIM_STREAMS, DIM_STREAMS_SQUARE, TENSOR_VECTOR),
    ARCH_LAYER("altup_correct_coef", altup_correct, DIM_STREAMS, DIM_STREAMS, TENSOR_VECTOR),
    ARCH_LAYER("altup_correct_scale", altup_input_scale, DIM_EMBD, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("laurel_l", laurel_down, DIM_EMBD, DIM_LAUREL, 0),
    ARCH_LAYER("laurel_r", laurel_up, DIM_LAUREL, DIM_EMBD, 0),
    ARCH_LAYER("laurel_post_norm", laurel_post_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GEMMA3N_PLE_LAYER,
};

/* What gemma3n and gemma4 have alike. `n_shared` layers at the end have no K and V of their own. */
static int arch_gemma3n_common(const struct config *c, int32_t n_shared, struct hparams *h)
{
    h->attn_scale = 1;
    h->logit_softcap = 30;
    h->rope_base_local = 10000;
    SLM_TRY(arch_gemma_configure(c, h));
    SLM_TRY(config_i32(c, "attention.sliding_window", 1, 1, INT32_MAX, &h->window));
    SLM_TRY(config_f64(c, "rope.freq_base_swa", 0, 1, &h->rope_base_local));
    SLM_TRY(config_f32(c, "final_logit_softcapping", 0, 0, &h->logit_softcap));
    SLM_TRY(config_i32(c, "embedding_length_per_layer_input", 0, 0, LIMIT_WIDTH, &h->n_embd_layer));
    SLM_TRY(config_i32(c, "attention.shared_kv_layers", 0, 0, h->n_layer - 1, &n_shared));
    h->n_layer_kv = h->n_layer - n_shared;
    return SLM_OK;
}

/* Local or global, every `period` layers; K and V of which layer. */
static int arch_gemma3n_common_layer(const struct config *c, const struct hparams *h, int32_t i,
                                     int32_t period, struct layer *l)
{
    SLM_TRY(config_layer_window(c, h, i, period, l));
    l->rope = l->window > 0 ? LAYER_ROPE_LOCAL : LAYER_ROPE_GLOBAL;
    if (i < h->n_layer_kv) {
        return SLM_OK;
    }
    l->kv_from = h->n_layer_kv - (l->window > 0 ? 2 : 1);
    if (l->kv_from < 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, i,
                 "layer %d would share K and V of the last local layer before layer %d: %d of %d "
                 "layers cannot be shared ones",
                 i, h->n_layer_kv, h->n_layer - h->n_layer_kv, h->n_layer);
    }
    return SLM_OK;
}

static int arch_gemma3n_configure(const struct config *c, struct hparams *h)
{
    int32_t active = 0;
    h->n_embd_layer = 256;
    h->n_streams = ALTUP_STREAMS;
    h->n_laurel = 64;
    SLM_TRY(config_i32(c, "altup.num_inputs", 0, ALTUP_STREAMS, ALTUP_STREAMS, &h->n_streams));
    SLM_TRY(config_i32(c, "altup.active_idx", 0, 0, 0, &active));
    SLM_TRY(arch_gemma3n_common(c, max_i32(h->n_layer - ARCH_GEMMA3N_LAYERS_KV, 0), h));
    if (h->n_embd_layer == 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "key 'gemma3n.embedding_length_per_layer_input' is 0: 1 to %d is expected",
                 LIMIT_WIDTH);
    }
    return SLM_OK;
}

static int arch_gemma3n_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                        struct layer *l)
{
    l->ffn_cut = i < ARCH_GEMMA3N_LAYERS_CUT ? ARCH_GEMMA3N_CUT : 0;
    return arch_gemma3n_common_layer(c, h, i, 5, l);
}

static const struct slm_arch arch_gemma3n = {
    "gemma3n",
    ROPE_NEOX,
    NORM_RMS,
    ACT_GELU,
    arch_gemma3n_globals,
    SLM_COUNT(arch_gemma3n_globals),
    arch_gemma3n_layer,
    SLM_COUNT(arch_gemma3n_layer),
    arch_gemma3n_configure,
    arch_gemma3n_layer_configure,
};
