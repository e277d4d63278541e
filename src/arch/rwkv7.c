/* rwkv7.c - the family rwkv7 (RWKV-7 "Goose", 0.1B to 2.9B; Peng et al. 2025): no attention at all.
 *
 *     x = norm(embedding)
 *     each layer:   x += time mix (src/mixer/rwkv7.c)
 *                   x += V relu(K s)^2,   s = norm(x) mixed with the token before's
 *     logits = output norm(x)
 *
 * Norms are layer norms. What differs from llama is everything; what is common is the order of a
 * layer. Traps: the first layer has tensors of the value's mix that nobody reads, of another rank;
 * the vectors of the token shift are rows of a fourth dimension; without a gate there are five. */

static const struct arch_tensor arch_rwkv7_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("token_embd_norm", embd_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_GLOBAL("output", output, DIM_EMBD, DIM_VOCAB, 0),
};

static const struct arch_tensor arch_rwkv7_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_LAYER("attn_norm_2", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS_NEEDED),
    ARCH_LAYER("time_mix_lerp_fused", time_shift, DIM_MIX, DIM_RWKV_SHIFTS, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_receptance", rwkv_r, DIM_MIX, DIM_MIX, 0),
    ARCH_LAYER("time_mix_key", rwkv_k, DIM_MIX, DIM_MIX, 0),
    ARCH_LAYER("time_mix_value", rwkv_v, DIM_MIX, DIM_MIX, 0),
    ARCH_LAYER("time_mix_output", rwkv_out, DIM_MIX, DIM_MIX, 0),
    ARCH_LAYER("time_mix_w0", decay_base, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_w1", decay_down, DIM_MIX, DIM_DECAY_RANK, 0),
    ARCH_LAYER("time_mix_w2", decay_up, DIM_DECAY_RANK, DIM_MIX, 0),
    ARCH_LAYER("time_mix_a0", rate_base, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_a1", rate_down, DIM_MIX, DIM_RATE_RANK, 0),
    ARCH_LAYER("time_mix_a2", rate_up, DIM_RATE_RANK, DIM_MIX, 0),
    ARCH_LAYER("time_mix_v0", value_base, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_v1", value_down, DIM_MIX, DIM_VALUE_RANK, 0),
    ARCH_LAYER("time_mix_v2", value_up, DIM_VALUE_RANK, DIM_MIX, 0),
    ARCH_LAYER("time_mix_g1", gate_down, DIM_MIX, DIM_GATE_RANK, 0),
    ARCH_LAYER("time_mix_g2", gate_up, DIM_GATE_RANK, DIM_MIX, 0),
    ARCH_LAYER("time_mix_k_k", key_removal, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_k_a", key_rate, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_r_k", bonus, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_ln", head_norm, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("time_mix_ln.bias", head_norm_bias, DIM_MIX, DIM_ONE, TENSOR_VECTOR | TENSOR_BARE),
    ARCH_LAYER("channel_mix_lerp_k", ffn_shift, DIM_MIX, DIM_ONE, TENSOR_VECTOR),
    ARCH_LAYER("channel_mix_key", ffn_up, DIM_EMBD, DIM_FF, 0),
    ARCH_LAYER("channel_mix_value", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static int arch_rwkv7_configure(const struct config *c, struct hparams *h)
{
    h->is_hybrid = 1;
    SLM_TRY(config_i32(c, "wkv.head_size", 1, 1, LIMIT_HEAD_DIM, &h->rwkv_head));
    SLM_TRY(config_i32(c, "attention.decay_lora_rank", 1, 1, LIMIT_WIDTH, &h->n_decay_rank));
    SLM_TRY(config_i32(c, "attention.iclr_lora_rank", 1, 1, LIMIT_WIDTH, &h->n_rate_rank));
    SLM_TRY(config_i32(c, "attention.value_residual_mix_lora_rank", 1, 1, LIMIT_WIDTH,
                       &h->n_value_rank));
    SLM_TRY(config_i32(c, "attention.gate_lora_rank", 0, 0, LIMIT_WIDTH, &h->n_gate_rank));
    if (h->n_embd % h->rwkv_head != 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "key 'rwkv7.wkv.head_size' is %d: a divisor of embedding_length %d is expected",
                 h->rwkv_head, h->n_embd);
    }
    if (h->n_kv_head != 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "key 'rwkv7.attention.head_count' is %d: there is no attention, 0 is expected",
                 h->n_head);
    }
    return SLM_OK;
}

static int arch_rwkv7_layer_configure(const struct config *c, const struct hparams *h, int32_t i,
                                      struct layer *l)
{
    (void)c;
    l->recurrent = RECURRENT_RWKV7;
    l->n_value_rank = i > 0 ? h->n_value_rank : 0;
    return SLM_OK;
}

static const struct slm_arch arch_rwkv7 = {
    "rwkv7",
    ROPE_NORM,
    NORM_LAYER,
    ACT_RELU_SQUARED,
    arch_rwkv7_globals,
    SLM_COUNT(arch_rwkv7_globals),
    arch_rwkv7_layer,
    SLM_COUNT(arch_rwkv7_layer),
    arch_rwkv7_configure,
    arch_rwkv7_layer_configure,
};
