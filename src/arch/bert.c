/* bert.c - the family bert: BERT, MiniLM, bge, e5, RoBERTa, XLM-R, and the rerankers made of them.
 *
 *     x = norm(embed(token) + token_types[0] + position_embd[position], token_embd_norm)
 *     each layer:  x = norm(x + Wo attention(Wq x, Wk x, Wv x), attn_output_norm)
 *                  x = norm(x + Wdown gelu(Wup x), layer_output_norm)
 *
 * An encoder: every token sees all of its text, and there are no logits. Norms stand behind the
 * branches, so there is none at the end; no rotation. Traps: there are no positions beyond the rows
 * of position_embd (RoBERTa's two rows for padding are cut off in the file already); a classifier may
 * have both layers or cls.output alone. */

static const struct arch_tensor arch_bert_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("token_types", token_types, DIM_EMBD, DIM_TOKEN_TYPES, 0),
    ARCH_GLOBAL("position_embd", position_embd, DIM_EMBD, DIM_CTX, 0),
    ARCH_GLOBAL("token_embd_norm", embd_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_BIAS),
    ARCH_CLASSIFIER,
};

/* Attention of the encoders whose norms stand behind the branches, and those norms. */
#define ARCH_BERT_ATTENTION                                                                        \
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_BIAS | TENSOR_QKV),                       \
        ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_BIAS | TENSOR_QKV),                   \
        ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_BIAS | TENSOR_QKV),                   \
        ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, TENSOR_BIAS),                      \
        ARCH_LAYER("attn_output_norm", attn_sum_norm, DIM_EMBD, DIM_ONE,                           \
                   TENSOR_NORM | TENSOR_BIAS),                                                     \
        ARCH_LAYER("layer_output_norm", ffn_sum_norm, DIM_EMBD, DIM_ONE,                           \
                   TENSOR_NORM | TENSOR_BIAS)

static const struct arch_tensor arch_bert_layer[] = {
    ARCH_BERT_ATTENTION,
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_BIAS),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, TENSOR_BIAS),
};

static int arch_bert_configure(const struct config *c, struct hparams *h)
{
    h->is_causal = 0;
    return config_tensor_rows(c, "token_types.weight", &h->n_token_types);
}

static const struct slm_arch arch_bert = {
    "bert",
    ROPE_NORM,
    NORM_LAYER,
    ACT_GELU,
    arch_bert_globals,
    SLM_COUNT(arch_bert_globals),
    arch_bert_layer,
    SLM_COUNT(arch_bert_layer),
    arch_bert_configure,
    arch_gpt2_layer_configure,
};
