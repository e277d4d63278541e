/* qwen35.c - the families qwen35 (Qwen3.5 and 3.6, 0.8B to 27B) and qwen35moe (35B-A3B and larger).
 *
 *     x = x + mixer(norm(x, attn_norm))
 *     x = x + ffn(norm(x, post_attention_norm))
 *
 * The mixer of three layers out of four is a gated delta net (src/mixer/delta_net.c), of the fourth
 * attention as in qwen3 (src/arch/qwen3.c) with a gate: what it gives is multiplied by sigmoid(gate).
 * qwen35moe has experts for the feed-forward and a shared one with a sigmoid, as qwen2moe, but
 * weights of sum 1.
 *
 * Traps: post_attention_norm stands before the feed-forward; the heads of attn_q are followed by
 * their gates one by one; value head h belongs to key head h mod G; the fourth quarter of a text's
 * position is 0, and rope.dimension_sections must not give it any pair. Blocks behind the layers
 * (nextn_predict_layers) predict further tokens and are left alone. */

static const struct arch_tensor arch_qwen35_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
};

/* Attention with gates and a delta net; a layer has the rows of one of them. */
#define ARCH_QWEN35_MIXERS                                                                         \
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),                            \
        ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q_GATED, 0),                                    \
        ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, 0),                                          \
        ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, 0),                                          \
        ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, 0),                                \
        ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),                    \
        ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),                    \
        ARCH_LAYER("attn_qkv", delta_qkv, DIM_EMBD, DIM_DELTA_QKV, 0),                             \
        ARCH_LAYER("attn_gate", delta_z, DIM_EMBD, DIM_DELTA_Z, 0),                                \
        ARCH_LAYER("ssm_conv1d", conv, DIM_CONV, DIM_DELTA_CONV,                                   \
                   TENSOR_VECTOR | TENSOR_TRANSPOSED),                                             \
        ARCH_LAYER("ssm_dt.bias", delta_dt, DIM_SSM_HEADS, DIM_ONE, TENSOR_VECTOR | TENSOR_BARE),  \
        ARCH_LAYER("ssm_a", delta_a, DIM_SSM_HEADS, DIM_ONE, TENSOR_VECTOR | TENSOR_BARE),         \
        ARCH_LAYER("ssm_norm", delta_norm, DIM_SSM_STATE, DIM_ONE, TENSOR_NORM),                   \
        ARCH_LAYER("ssm_out", delta_output, DIM_SSM_INNER, DIM_EMBD, 0),                           \
        ARCH_LAYER("post_attention_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM)

#define ARCH_QWEN35_LAYER                                                                          \
    ARCH_QWEN35_MIXERS, ARCH_LAYER("ssm_beta", delta_beta, DIM_EMBD, DIM_SSM_HEADS, 0),            \
        ARCH_LAYER("ssm_alpha", delta_alpha, DIM_EMBD, DIM_SSM_HEADS, 0)

static const struct arch_tensor arch_qwen35_layer[] = {
    ARCH_QWEN35_LAYER,
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static const struct arch_tensor arch_qwen35moe_layer[] = {
    ARCH_QWEN35_LAYER,
    ARCH_EXPERTS(0),
    ARCH_LAYER("ffn_gate_inp_shexp", shared_router, DIM_EMBD, DIM_ONE, 0),
    ARCH_SHARED_EXPERT,
};

/* The sizes of the delta nets; and gates want V as wide as Q. */
static int arch_qwen35_delta(const struct config *c, struct hparams *h)
{
    h->is_hybrid = 1;
    SLM_TRY(config_i32(c, "ssm.conv_kernel", 1, 1, LIMIT_TAPS, &h->n_conv));
    SLM_TRY(config_i32(c, "ssm.state_size", 1, 1, LIMIT_HEAD_DIM, &h->ssm_state));
    SLM_TRY(config_i32(c, "ssm.group_count", 1, 1, LIMIT_HEADS, &h->n_ssm_group));
    SLM_TRY(config_i32(c, "ssm.time_step_rank", 1, 1, LIMIT_HEADS, &h->n_ssm_head));
    SLM_TRY(config_i32(c, "ssm.inner_size", 1, 1, LIMIT_WIDTH, &h->ssm_inner));
    if (h->n_ssm_head % h->n_ssm_group != 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "ssm.time_step_rank %d is no multiple of ssm.group_count %d", h->n_ssm_head,
                 h->n_ssm_group);
    }
    if (h->ssm_inner != h->n_ssm_head * h->ssm_state) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "ssm.inner_size is %d: ssm.time_step_rank %d times ssm.state_size %d is expected",
                 h->ssm_inner, h->n_ssm_head, h->ssm_state);
    }
    if (h->head_dim_v != h->head_dim) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "attention.value_length is %d: attention.key_length %d is expected", h->head_dim_v,
                 h->head_dim);
    }
    return SLM_OK;
}

/* A pair turns by one of four positions, which of a text are p, p, p and 0. In turn the first three
 * take a pair until their section is full; the fourth gets what is left. */
static int arch_qwen35_check_sections(const struct config *c, const struct hparams *h)
{
    static const char name[] = "rope.dimension_sections";
    int32_t sections[4] = {0, 0, 0, 0};
    int32_t sum = 0;
    if (!config_has(c, name)) {
        return SLM_OK;
    }
    for (int32_t i = 0; i < 4; i++) {
        SLM_TRY(config_layer_i32(c, name, 1, 0, LIMIT_HEAD_DIM, i, 4, &sections[i]));
        sum += sections[i];
    }
    for (int32_t i = 0; sum > 0 && i < h->n_rot / 2; i++) {
        int32_t pair = i % sum;
        if (pair >= 3 * sections[pair % 3]) {
            SLM_FAIL(c->err, SLM_E_UNSUPPORTED, -1,
                     "key '%s' is %d, %d, %d, %d: pair %d of %d would not turn", name, sections[0],
                     sections[1], sections[2], sections[3], i, h->n_rot / 2);
        }
    }
    return SLM_OK;
}

static int arch_qwen35_configure(const struct config *c, struct hparams *h)
{
    h->delta_is_tiled = 1;
    SLM_TRY(arch_qwen35_check_sections(c, h));
    SLM_TRY(config_expert_widths(c, 0, h));
    return arch_qwen35_delta(c, h);
}

/* Is layer i a delta net? attention.recurrent_layers says it for each block; without it all are but
 * the last of each full_attention_interval. */
static int arch_qwen35_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                       struct layer *l)
{
    static const char name[] = "attention.recurrent_layers";
    int32_t interval = 4;
    int32_t is_recurrent = 0;
    SLM_TRY(config_i32(c, "full_attention_interval", 0, 1, LIMIT_LAYERS, &interval));
    is_recurrent = (i + 1) % interval != 0;
    SLM_TRY(config_layer_i32(c, name, 0, 0, 1, i, h->n_block, &is_recurrent));
    l->recurrent = is_recurrent ? RECURRENT_DELTA_NET : RECURRENT_NONE;
    l->q_is_gated = !is_recurrent;
    if (is_recurrent) {
        l->n_head = l->n_kv_head = 0;
    } else if (l->n_kv_head == 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, i, "layer %d: attention with head_count_kv 0", i);
    }
    return SLM_OK;
}

static const struct slm_arch arch_qwen35 = {
    "qwen35",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_qwen35_globals,
    SLM_COUNT(arch_qwen35_globals),
    arch_qwen35_layer,
    SLM_COUNT(arch_qwen35_layer),
    arch_qwen35_configure,
    arch_qwen35_layer_configure,
};

static const struct slm_arch arch_qwen35moe = {
    "qwen35moe",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_qwen35_globals,
    SLM_COUNT(arch_qwen35_globals),
    arch_qwen35moe_layer,
    SLM_COUNT(arch_qwen35moe_layer),
    arch_qwen35_configure,
    arch_qwen35_layer_configure,
};
