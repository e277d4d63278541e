/* nomic_bert.c - the families nomic-bert (nomic-embed-text v1, v1.5) and nomic-bert-moe (v2).
 *
 * As bert (src/arch/bert.c) with a rotation for the rows of position_embd, NEOX pairs. nomic-bert
 * has a gated feed-forward with SiLU and no biases but those of its norms. nomic-bert-moe has bert's
 * feed-forward in layers 0, 2, 4 and experts without gates in layers 1, 3, 5: of each so many layers
 * as moe_every_n_layers says the second one. Trap: the weights of the selected experts do not sum to
 * 1. */

static const struct arch_tensor arch_nomic_bert_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("token_types", token_types, DIM_EMBD, DIM_TOKEN_TYPES, 0),
    ARCH_GLOBAL("token_embd_norm", embd_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS),
    ARCH_CLASSIFIER,
};

static const struct arch_tensor arch_nomic_bert_layer[] = {
    ARCH_BERT_ATTENTION,
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
};

static const struct arch_tensor arch_nomic_bert_moe_layer[] = {
    ARCH_BERT_ATTENTION,
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
    ARCH_LAYER("ffn_gate_inp", ffn_router, DIM_EMBD, DIM_EXPERTS, 0),
    ARCH_LAYER("ffn_up_exps", up_exps, DIM_EMBD, DIM_FF_EXPERT, TENSOR_STACK),
    ARCH_LAYER("ffn_down_exps", down_exps, DIM_FF_EXPERT, DIM_EMBD, TENSOR_STACK),
};

static int arch_nomic_bert_moe_configure(const struct config *c, struct hparams *h)
{
    h->expert_weights_norm = 0;
    return arch_bert_configure(c, h);
}

static int arch_nomic_bert_moe_layer_configure(const struct config *c, const struct hparams *h,
                                               int32_t i, struct layer *l)
{
    int32_t period = 0;
    SLM_TRY(config_i32(c, "moe_every_n_layers", 0, 0, LIMIT_LAYERS, &period));
    if (period == 0 || i % period != 1) {
        l->n_expert = 0;
        return config_layer_i32(c, "feed_forward_length", 1, 1, LIMIT_WIDTH, i, h->n_block,
                                &l->n_ff);
    }
    return SLM_OK;
}

static const struct slm_arch arch_nomic_bert = {
    "nomic-bert",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_SILU,
    arch_nomic_bert_globals,
    SLM_COUNT(arch_nomic_bert_globals),
    arch_nomic_bert_layer,
    SLM_COUNT(arch_nomic_bert_layer),
    arch_bert_configure,
    NULL,
};

static const struct slm_arch arch_nomic_bert_moe = {
    "nomic-bert-moe",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_GELU,
    arch_nomic_bert_globals,
    SLM_COUNT(arch_nomic_bert_globals),
    arch_nomic_bert_moe_layer,
    SLM_COUNT(arch_nomic_bert_moe_layer),
    arch_nomic_bert_moe_configure,
    arch_nomic_bert_moe_layer_configure,
};
