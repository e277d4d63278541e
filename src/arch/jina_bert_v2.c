/* jina_bert_v2.c - the family jina-bert-v2: jina-embeddings-v2, jina-reranker-v1.
 *
 * As bert (src/arch/bert.c) with ALiBi for positions: distance, to either side, costs as much as the
 * head's slope says. The feed-forward is gated with GELU, its gate in a matrix of its own or in front
 * of ffn_up, or (the model for code) has no gate. That model also has norms of all of Q and of K, and
 *
 *     x1 = norm(x + Wo attention(...), attn_output_norm),  x1 = norm(x1 + x, attn_norm_2)
 *
 * Trap: the rerankers' cls has no cls.output behind it: its rows are the outputs. */

static const struct arch_tensor arch_jina_bert_v2_layer[] = {
    ARCH_BERT_ATTENTION,
    ARCH_LAYER("attn_q_norm", attn_q_norm, DIM_Q, DIM_ONE,
               TENSOR_NORM | TENSOR_BIAS | TENSOR_OPTIONAL),
    ARCH_LAYER("attn_k_norm", attn_k_norm, DIM_K, DIM_ONE,
               TENSOR_NORM | TENSOR_BIAS | TENSOR_OPTIONAL),
    ARCH_LAYER("attn_norm_2", attn_norm_2, DIM_EMBD, DIM_ONE,
               TENSOR_NORM | TENSOR_BIAS | TENSOR_OPTIONAL),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, TENSOR_GATE_UP | TENSOR_OPTIONAL),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_GATE_UP | TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
};

static int arch_jina_bert_v2_configure(const struct config *c, struct hparams *h)
{
    h->alibi_bias = 8;
    SLM_TRY(config_f32(c, "attention.max_alibi_bias", 0, 1, &h->alibi_bias));
    return arch_bert_configure(c, h);
}

static const struct slm_arch arch_jina_bert_v2 = {
    "jina-bert-v2",
    ROPE_NORM,
    NORM_LAYER,
    ACT_GELU,
    arch_nomic_bert_globals,
    SLM_COUNT(arch_nomic_bert_globals),
    arch_jina_bert_v2_layer,
    SLM_COUNT(arch_jina_bert_v2_layer),
    arch_jina_bert_v2_configure,
    arch_gpt2_layer_configure,
};
