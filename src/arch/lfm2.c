/* lfm2.c - the families lfm2 (LFM2 and LFM2.5, 350M to 2.6B) and lfm2moe (LFM2 8B-A1B).
 *
 * As llama (src/arch/llama.c) with NEOX pairs and a norm of each head of Q and K, but most layers
 * have a gated short convolution in place of attention (src/mixer/shortconv.c): those whose
 * attention.head_count_kv is 0. lfm2moe has experts in all layers but the first few; its router goes
 * through a sigmoid, and a bias takes part in the selection only. Traps: the last norm is called
 * token_embd_norm; with attention.sliding_window every attention layer has the window. */

static const struct arch_tensor arch_lfm2_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("token_embd_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, TENSOR_OPTIONAL),
};

#define ARCH_LFM2_LAYER                                                                            \
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),                            \
        ARCH_LAYER("shortconv.conv", conv, DIM_CONV, DIM_MIX, TENSOR_VECTOR | TENSOR_TRANSPOSED),  \
        ARCH_LAYER("shortconv.in_proj", short_in, DIM_EMBD, DIM_MIX_3, 0),                         \
        ARCH_LAYER("shortconv.out_proj", short_out, DIM_MIX, DIM_EMBD, 0),                         \
        ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_QKV),                                 \
        ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_QKV),                                 \
        ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_QKV),                                 \
        ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, 0),                                \
        ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),                    \
        ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_HEAD, DIM_ONE, TENSOR_NORM),                    \
        ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),                          \
        ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, 0),                                     \
        ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, 0),                                         \
        ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0)

static const struct arch_tensor arch_lfm2_layer[] = {
    ARCH_LFM2_LAYER,
};

static const struct arch_tensor arch_lfm2moe_layer[] = {
    ARCH_LFM2_LAYER,
    ARCH_EXPERTS(0),
    ARCH_LAYER("exp_probs_b.bias", expert_bias, DIM_EXPERTS, DIM_ONE, TENSOR_VECTOR | TENSOR_BARE),
};

static int arch_lfm2_configure(const struct config *c, struct hparams *h)
{
    h->is_hybrid = 1;
    SLM_TRY(config_i32(c, "shortconv.l_cache", 1, 1, LIMIT_TAPS, &h->n_conv));
    return config_window(c, h);
}

static int arch_lfm2_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                     struct layer *l)
{
    (void)c;
    (void)i;
    l->recurrent = l->n_kv_head == 0 ? RECURRENT_SHORT_CONV : RECURRENT_NONE;
    l->window = h->window;
    return SLM_OK;
}

static int arch_lfm2moe_configure(const struct config *c, struct hparams *h)
{
    h->expert_score = EXPERT_SCORE_SIGMOID;
    SLM_TRY(config_expert_score(c, h));
    SLM_TRY(config_i32(c, "leading_dense_block_count", 0, 0, h->n_layer, &h->n_dense_layer));
    SLM_TRY(config_expert_widths(c, 0, h));
    return arch_lfm2_configure(c, h);
}

static const struct slm_arch arch_lfm2 = {
    "lfm2",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_lfm2_globals,
    SLM_COUNT(arch_lfm2_globals),
    arch_lfm2_layer,
    SLM_COUNT(arch_lfm2_layer),
    arch_lfm2_configure,
    arch_lfm2_layer_configure,
};

static const struct slm_arch arch_lfm2moe = {
    "lfm2moe",
    ROPE_NEOX,
    NORM_RMS,
    ACT_SILU,
    arch_lfm2_globals,
    SLM_COUNT(arch_lfm2_globals),
    arch_lfm2moe_layer,
    SLM_COUNT(arch_lfm2moe_layer),
    arch_lfm2moe_configure,
    arch_lfm2_layer_configure,
};
