/* modern_bert.c - the family modern-bert: ModernBERT, gte-modernbert, Granite Embedding R2.
 *
 *     x = norm(embed(token), token_embd_norm)
 *     each layer:  x += Wo attention(rope(Wq n), rope(Wk n), Wv n)   n = norm(x, attn_norm)
 *                  x += Wdown (gelu(Wgate n) * Wup n)                n = norm(x, ffn_norm)
 *     hidden = norm(x, output_norm)
 *
 * An encoder with norms before its branches, without any bias. Layers 0, 3, 6 and so on see all of the
 * text, the others half a window to either side; these turn with a base of their own. Traps: layer 0
 * has no attn_norm; gate and up are one matrix; hidden_activation may say silu; a reranker takes the
 * mean of its text, and cls goes through GELU and a norm. */

static const struct arch_tensor arch_modern_bert_globals[] = {
    ARCH_GLOBAL("token_embd", token_embd, DIM_EMBD, DIM_VOCAB, 0),
    ARCH_GLOBAL("token_embd_norm", embd_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_GLOBAL("output_norm", output_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_CLASSIFIER,
};

static const struct arch_tensor arch_modern_bert_layer[] = {
    ARCH_LAYER("attn_norm", attn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM | TENSOR_OPTIONAL),
    ARCH_LAYER("attn_q", attn_q, DIM_EMBD, DIM_Q, TENSOR_QKV),
    ARCH_LAYER("attn_k", attn_k, DIM_EMBD, DIM_K, TENSOR_QKV),
    ARCH_LAYER("attn_v", attn_v, DIM_EMBD, DIM_V, TENSOR_QKV),
    ARCH_LAYER("attn_output", attn_output, DIM_O, DIM_EMBD, 0),
    ARCH_LAYER("ffn_norm", ffn_norm, DIM_EMBD, DIM_ONE, TENSOR_NORM),
    ARCH_LAYER("ffn_gate", ffn_gate, DIM_EMBD, DIM_FF, TENSOR_GATE_UP),
    ARCH_LAYER("ffn_up", ffn_up, DIM_EMBD, DIM_FF, TENSOR_GATE_UP),
    ARCH_LAYER("ffn_down", ffn_down, DIM_FF, DIM_EMBD, 0),
};

static int arch_modern_bert_activation(const struct config *c, struct hparams *h)
{
    char key[CONFIG_KEY_BYTES];
    struct text name = {"gelu", 4};
    config_key(c, "hidden_activation", key);
    if (gguf_find_text(c->gguf, key, &name) < 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s' is no string", key);
    }
    if (!text_is(name, "gelu") && !text_is(name, "silu")) {
        SLM_FAIL(c->err, SLM_E_UNSUPPORTED, -1, "key '%s' is '%.*s': gelu or silu is expected", key,
                 text_width(name), name.s);
    }
    h->act = text_is(name, "silu") ? ACT_SILU : ACT_GELU;
    return SLM_OK;
}

static int arch_modern_bert_configure(const struct config *c, struct hparams *h)
{
    h->is_causal = 0;
    h->rank_pooling = SLM_POOLING_MEAN;
    h->cls_act = ACT_GELU;
    SLM_TRY(config_window(c, h));
    if (h->window > 0) {
        h->rope_base_local = 10000;
        SLM_TRY(config_f64(c, "rope.freq_base_swa", 0, 1, &h->rope_base_local));
    }
    return arch_modern_bert_activation(c, h);
}

static int arch_modern_bert_layer_configure(const struct config *c, const struct hparams *h,
                                            int32_t i, struct layer *l)
{
    int32_t is_local = 0;
    SLM_TRY(config_layer_pattern(c, h, i, 3, 1, &is_local));
    l->window = is_local ? h->window : 0;
    l->rope = is_local ? LAYER_ROPE_LOCAL : LAYER_ROPE_GLOBAL;
    if (i > 0 && !config_layer_has(c, i, "attn_norm.weight")) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "tensor 'blk.%d.attn_norm.weight' is missing", i);
    }
    return SLM_OK;
}

static const struct slm_arch arch_modern_bert = {
    "modern-bert",
    ROPE_NEOX,
    NORM_LAYER,
    ACT_GELU,
    arch_modern_bert_globals,
    SLM_COUNT(arch_modern_bert_globals),
    arch_modern_bert_layer,
    SLM_COUNT(arch_modern_bert_layer),
    arch_modern_bert_configure,
    arch_modern_bert_layer_configure,
};
