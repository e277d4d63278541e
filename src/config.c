/* config.c - hyper-parameters: from the keys of a file to struct hparams, each checked against a
 * range.
 *
 * Keys are "<family>.<name>". Integers of any type are taken as long as the value fits; a value of
 * the wrong kind or out of range is an error that names the key, the value and what was expected.
 */

struct config {
    const struct gguf *gguf;
    struct text prefix; /* general.architecture */
    slm_error *err;
};

/* A family known to arch_find and a name of ours always fit: no length of a file's is compared. */
#define CONFIG_KEY_BYTES 160

static void config_key(const struct config *c, const char *name, char key[CONFIG_KEY_BYTES])
{
    format_text(key, CONFIG_KEY_BYTES, "%.*s.%s", text_width(c->prefix), c->prefix.s, name);
}

static int config_has(const struct config *c, const char *name)
{
    char key[CONFIG_KEY_BYTES];
    config_key(c, name, key);
    return gguf_find(c->gguf, key) >= 0;
}

/* An integer of low..high. Absent: *out stays as it is, unless `needed`. For a key that may be an
 * array with one value per block, `layer` says which and n_block how many there must be. */
static int config_layer_i32(const struct config *c, const char *name, int needed, int32_t low,
                            int32_t high, int32_t layer, int32_t n_block, int32_t *out)
{
    char key[CONFIG_KEY_BYTES];
    int64_t value = 0;
    struct gguf_array array;
    config_key(c, name, key);
    int found = gguf_find_i64(c->gguf, key, &value);
    if (found < 0 && n_block > 0 && gguf_find_array(c->gguf, key, &array) == 1) {
        if (array.count != (uint64_t)n_block || array.type == SLM_TYPE_STRING ||
            gguf_is_real(array.type)) {
            SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s': %d integers are expected, one a layer",
                     key, n_block);
        }
        value = gguf_array_i64(&array, (uint64_t)layer);
        found = 1;
    }
    if (found == 0 && !needed) {
        return SLM_OK;
    }
    if (found == 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s' is missing", key);
    }
    if (found < 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s' is no integer", key);
    }
    if (value < low || value > high) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s' is %lld: %d to %d is expected", key,
                 (long long)value, low, high);
    }
    *out = (int32_t)value;
    return SLM_OK;
}

static int config_i32(const struct config *c, const char *name, int needed, int32_t low,
                      int32_t high, int32_t *out)
{
    return config_layer_i32(c, name, needed, low, high, 0, 0, out);
}

/* A finite number, as floats have it: one too small for them is 0. Above zero if `positive`. Absent:
 * *out stays as it is, unless `needed`. */
static int config_f64(const struct config *c, const char *name, int needed, int positive,
                      wide_float *out)
{
    char key[CONFIG_KEY_BYTES];
    wide_float value = 0;
    config_key(c, name, key);
    int found = gguf_find_f64(c->gguf, key, &value);
    if (found == 0 && !needed) {
        return SLM_OK;
    }
    if (found != 1) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s' is %s", key,
                 found == 0 ? "missing" : "no number");
    }
    value = (float)value != 0 ? value : 0;
    if (!f32_is_finite((float)value) || (positive && !(value > 0)) || value < 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s' is not a finite %s number", key,
                 positive ? "positive" : "non-negative");
    }
    *out = value;
    return SLM_OK;
}

/* The same as a float. */
static int config_f32(const struct config *c, const char *name, int needed, int positive,
                      float *out)
{
    wide_float value = (wide_float)*out;
    SLM_TRY(config_f64(c, name, needed, positive, &value));
    *out = (float)value;
    return SLM_OK;
}

/* Heads of layer i; `least` 0 where a layer may be without attention. */
static int config_heads(const struct config *c, int32_t i, int32_t n_block, int32_t least,
                        int32_t *n_head, int32_t *n_kv_head)
{
    SLM_TRY(config_layer_i32(c, "attention.head_count", 1, least, LIMIT_HEADS, i, n_block, n_head));
    *n_kv_head = *n_head;
    return config_layer_i32(c, "attention.head_count_kv", 0, least, LIMIT_HEADS, i, n_block,
                            n_kv_head);
}

/* Heads of the first layer that has any. Whether layers may be without is known when the family has
 * had its say: config_read_layer checks it. */
static int config_attention_heads(const struct config *c, struct hparams *h)
{
    for (int32_t i = 0; i < h->n_layer && h->n_kv_head == 0; i++) {
        SLM_TRY(config_heads(c, i, h->n_block, 0, &h->n_head, &h->n_kv_head));
    }
    return SLM_OK;
}

static int config_attention(const struct config *c, int32_t norm, struct hparams *h)
{
    SLM_TRY(config_f32(
        c, norm == NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
        1, 0, &h->norm_eps));
    SLM_TRY(config_attention_heads(c, h));
    if (h->n_kv_head == 0 || h->n_head == 0) {
        return SLM_OK;
    }
    h->head_dim = h->n_embd / h->n_head;
    if (!config_has(c, "attention.key_length") && h->head_dim * h->n_head != h->n_embd) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "embedding_length %d is no multiple of head_count %d, and there is no key_length",
                 h->n_embd, h->n_head);
    }
    h->head_dim_v = h->head_dim;
    SLM_TRY(config_i32(c, "attention.key_length", 0, 1, LIMIT_HEAD_DIM, &h->head_dim));
    SLM_TRY(config_i32(c, "attention.value_length", 0, 1, LIMIT_HEAD_DIM, &h->head_dim_v));
    /* V has the default where only K has a key: the one may be fine and the other 0. */
    if (min_i32(h->head_dim, h->head_dim_v) < 1 ||
        max_i32(h->head_dim, h->head_dim_v) > LIMIT_HEAD_DIM) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "a head of %d elements, of V %d: 1 to %d is expected",
                 h->head_dim, h->head_dim_v, LIMIT_HEAD_DIM);
    }
    h->attn_scale = (float)(1 / math_sqrt((wide_float)h->head_dim));
    return SLM_OK;
}

static int config_rope_scaling(const struct config *c, struct hparams *h)
{
    static const char *const names[] = {"none", "linear", "yarn", "longrope"};
    char key[CONFIG_KEY_BYTES];
    struct text type = {"linear", 6};
    config_key(c, "rope.scaling.type", key);
    if (gguf_find_text(c->gguf, key, &type) < 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s' is no string", key);
    }
    for (h->rope_scaling = 0; h->rope_scaling < SLM_COUNT(names); h->rope_scaling++) {
        if (text_is(type, names[h->rope_scaling])) {
            return SLM_OK;
        }
    }
    SLM_FAIL(c->err, SLM_E_UNSUPPORTED, -1, "key '%s': '%.*s' is not known", key, text_width(type),
             type.s);
}

static int config_rope(const struct config *c, struct hparams *h)
{
    wide_float factor = 0;
    h->n_rot = h->head_dim;
    h->rope_base = 10000;
    h->rope_attn_factor = 1;
    h->rope_ctx_orig = h->n_ctx_train;
    h->yarn_beta_fast = 32;
    h->yarn_beta_slow = 1;
    if (h->head_dim > 0) {
        SLM_TRY(config_i32(c, "rope.dimension_count", 0, 2, h->head_dim, &h->n_rot));
    }
    SLM_TRY(config_f64(c, "rope.freq_base", 0, 1, &h->rope_base));
    SLM_TRY(config_rope_scaling(c, h));
    SLM_TRY(config_f64(c, "rope.scale_linear", 0, 0, &factor)); /* the name until 2023 */
    SLM_TRY(config_f64(c, "rope.scaling.factor", 0, 0, &factor));
    h->rope_factor = factor == 0 || h->rope_scaling == ROPE_SCALING_NONE ? 1 : factor;
    SLM_TRY(config_f64(c, "rope.scaling.attn_factor", 0, 1, &h->rope_attn_factor));
    SLM_TRY(config_i32(c, "rope.scaling.original_context_length", 0, 1, LIMIT_CONTEXT,
                       &h->rope_ctx_orig));
    return SLM_OK;
}

static int config_experts(const struct config *c, struct hparams *h)
{
    if (!PROFILE_EXPERTS || h->n_expert == 0) {
        return SLM_OK;
    }
    SLM_TRY(config_i32(c, "expert_used_count", 1, 1, h->n_expert, &h->n_expert_used));
    h->n_ff_expert = h->n_ff;
    h->expert_weights_norm = 1;
    return SLM_OK;
}

/* Of the classifier: how many outputs it has, and how wide its hidden layer is. Without cls.output
 * the hidden layer is the outputs. */
static int config_classifier(const struct config *c, struct hparams *h)
{
    char key[CONFIG_KEY_BYTES];
    struct gguf_array labels;
    config_key(c, "classifier.output_labels", key);
    int found = gguf_find_array(c->gguf, key, &labels);
    h->n_outputs = 1;
    if (found < 0 || (found == 1 && (labels.type != SLM_TYPE_STRING || labels.count < 1 ||
                                     labels.count > LIMIT_WIDTH))) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1, "key '%s': an array of 1 to %d strings is expected", key,
                 LIMIT_WIDTH);
    }
    if (found == 1) {
        h->n_outputs = (int32_t)labels.count;
    }
    if (gguf_find_tensor(c->gguf, text_of("cls.weight")) != NULL) {
        int has_output = gguf_find_tensor(c->gguf, text_of("cls.output.weight")) != NULL;
        h->n_cls = has_output ? h->n_embd : h->n_outputs;
    }
    h->cls_act = ACT_TANH;
    h->rank_pooling = SLM_POOLING_CLS;
    return SLM_OK;
}

/* What slm_embed is to give. */
static int config_embeddings(const struct config *c, struct hparams *h)
{
    h->is_causal = 1;
    SLM_TRY(config_i32(c, "attention.causal", 0, 0, 1, &h->is_causal));
    SLM_TRY(config_i32(c, "pooling_type", 0, SLM_POOLING_NONE, SLM_POOLING_RANK, &h->pooling));
    return PROFILE_EMBED ? config_classifier(c, h) : SLM_OK;
}

/* The keys common to all families. n_vocab comes from the tensors. */
static int config_read(const struct config *c, int32_t norm, struct hparams *h)
{
    int32_t n_extra = 0;
    memset(h, 0, sizeof *h);
    h->embd_scale = h->residual_scale = h->logit_scale = 1;
    SLM_TRY(config_i32(c, "block_count", 1, 1, LIMIT_LAYERS, &h->n_block));
    SLM_TRY(config_i32(c, "nextn_predict_layers", 0, 0, h->n_block - 1, &n_extra));
    h->n_layer = h->n_block - n_extra;
    SLM_TRY(config_i32(c, "embedding_length", 1, 1, LIMIT_WIDTH, &h->n_embd));
    SLM_TRY(config_i32(c, "context_length", 1, 1, LIMIT_CONTEXT, &h->n_ctx_train));
    SLM_TRY(config_i32(c, "expert_count", 0, 0, LIMIT_EXPERTS, &h->n_expert));
    /* Where all layers have experts of a width of their own nobody needs this one. */
    SLM_TRY(config_layer_i32(c, "feed_forward_length", h->n_expert == 0, 0, LIMIT_WIDTH, 0,
                             h->n_block, &h->n_ff));
    SLM_TRY(config_experts(c, h));
    SLM_TRY(config_attention(c, norm, h));
    SLM_TRY(config_embeddings(c, h));
    return config_rope(c, h);
}

/* ---- Keys that some families read ------------------------------------------------------------ */

/* Does layer i have this tensor? */
static int config_layer_has(const struct config *c, int32_t i, const char *name)
{
    char full[CONFIG_KEY_BYTES];
    struct text t = {full, format_text(full, sizeof full, "blk.%d.%s", i, name)};
    return gguf_find_tensor(c->gguf, t) != NULL;
}

/* attention.sliding_window; 0 or absent (with nothing set before): every layer sees everything. */
static int config_window(const struct config *c, struct hparams *h)
{
    return config_i32(c, "attention.sliding_window", 0, 0, INT32_MAX, &h->window);
}

/* The rows of a matrix outside the layers; 0 if there is none. */
static int config_tensor_rows(const struct config *c, const char *name, int32_t *rows)
{
    const struct gguf_tensor *t = gguf_find_tensor(c->gguf, text_of(name));
    if (t != NULL && (t->shape[1] < 1 || t->shape[1] > LIMIT_WIDTH)) {
        SLM_FAIL(c->err, SLM_E_MODEL, (int64_t)t->offset,
                 "tensor '%s' has %lld rows: 1 to %d are expected", name, (long long)t->shape[1],
                 LIMIT_WIDTH);
    }
    *rows = t != NULL ? (int32_t)t->shape[1] : 0;
    return SLM_OK;
}

/* Is layer i one of those with a window? attention.sliding_window_pattern is an array that says it
 * for each layer, or a period: all but the last layer, or the first, of each so many. 0: all. */
static int config_layer_pattern(const struct config *c, const struct hparams *h, int32_t i,
                                int32_t period, int first_is_global, int32_t *is_local)
{
    char key[CONFIG_KEY_BYTES];
    struct gguf_array array;
    static const char name[] = "attention.sliding_window_pattern";
    config_key(c, name, key);
    if (gguf_find_array(c->gguf, key, &array) == 1) {
        SLM_TRY(config_layer_i32(c, name, 1, 0, 1, i, h->n_block, is_local));
    } else {
        SLM_TRY(config_i32(c, name, 0, 0, LIMIT_LAYERS, &period));
        *is_local = period == 0 || i % period != (first_is_global ? 0 : period - 1);
    }
    *is_local = *is_local && h->window > 0;
    return SLM_OK;
}

static int config_layer_is_local(const struct config *c, const struct hparams *h, int32_t i,
                                 int32_t period, int32_t *is_local)
{
    return config_layer_pattern(c, h, i, period, 0, is_local);
}

static int config_layer_window(const struct config *c, const struct hparams *h, int32_t i,
                               int32_t period, struct layer *l)
{
    int32_t is_local = 0;
    SLM_TRY(config_layer_is_local(c, h, i, period, &is_local));
    l->window = is_local ? h->window : 0;
    return SLM_OK;
}

/* Widths of experts where they have keys of their own; `shared`: of the shared one without its key.
 */
static int config_expert_widths(const struct config *c, int32_t shared, struct hparams *h)
{
    if (h->n_expert == 0) {
        return SLM_OK;
    }
    SLM_TRY(config_i32(c, "expert_feed_forward_length", 0, 0, LIMIT_WIDTH, &h->n_ff_expert));
    SLM_TRY(config_i32(c, "expert_shared_feed_forward_length", 0, 0, LIMIT_WIDTH, &h->n_ff_shared));
    h->n_ff_shared = h->n_ff_shared > 0 ? h->n_ff_shared : shared;
    return SLM_OK;
}

/* How scores come from the router: a number in the file, or the family's own way. */
static int config_expert_score(const struct config *c, struct hparams *h)
{
    static const int32_t scores[] = {EXPERT_SCORE_SOFTMAX, EXPERT_SCORE_SIGMOID,
                                     EXPERT_SCORE_SOFTMAX_SELECTED};
    int32_t number = 0;
    SLM_TRY(config_i32(c, "expert_gating_func", 0, 0, SLM_COUNT(scores), &number));
    if (number > 0) {
        h->expert_score = scores[number - 1];
    }
    return SLM_OK;
}

/* embedding_scale, residual_scale, and logit_scale, which divides. 0 in a file: as if absent. */
static int config_scales(const struct config *c, struct hparams *h)
{
    float embd = h->embd_scale;
    float residual = h->residual_scale;
    float logit = 1 / h->logit_scale;
    SLM_TRY(config_f32(c, "embedding_scale", 0, 0, &embd));
    SLM_TRY(config_f32(c, "residual_scale", 0, 0, &residual));
    SLM_TRY(config_f32(c, "logit_scale", 0, 0, &logit));
    h->embd_scale = embd > 0 ? embd : 1;
    h->residual_scale = residual > 0 ? residual : 1;
    h->logit_scale = logit > 0 ? 1 / logit : 1;
    return SLM_OK;
}

/* Sizes of a state space. `n` is what time_step_rank says; keys that say how long a state is have
 * limits of their own, as it stands in no file. */
static int config_ssm(const struct config *c, struct hparams *h, int32_t *n, int32_t n_limit)
{
    SLM_TRY(config_i32(c, "ssm.conv_kernel", 1, 1, LIMIT_TAPS, &h->n_conv));
    SLM_TRY(config_i32(c, "ssm.inner_size", 1, 1, LIMIT_WIDTH, &h->ssm_inner));
    SLM_TRY(config_i32(c, "ssm.state_size", 1, 1, LIMIT_SSM_STATE, &h->ssm_state));
    return config_i32(c, "ssm.time_step_rank", 1, 1, n_limit, n);
}

/* The same with heads and groups of them: Mamba-2. */
static int config_ssm_heads(const struct config *c, struct hparams *h)
{
    SLM_TRY(config_ssm(c, h, &h->n_ssm_head, LIMIT_HEADS));
    SLM_TRY(config_i32(c, "ssm.group_count", 1, 1, LIMIT_HEADS, &h->n_ssm_group));
    if (h->ssm_inner % h->n_ssm_head != 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "ssm.inner_size %d is no multiple of the heads, ssm.time_step_rank %d",
                 h->ssm_inner, h->n_ssm_head);
    }
    if (h->n_ssm_head % h->n_ssm_group != 0) {
        SLM_FAIL(c->err, SLM_E_MODEL, -1,
                 "ssm.time_step_rank %d is no multiple of ssm.group_count %d", h->n_ssm_head,
                 h->n_ssm_group);
    }
    return SLM_OK;
}

/* What may differ from layer to layer. */
static int config_read_layer(const struct config *c, const struct hparams *h, int32_t i,
                             struct layer *l)
{
    int32_t least = h->is_hybrid ? 0 : 1;
    SLM_TRY(config_heads(c, i, h->n_block, least, &l->n_head, &l->n_kv_head));
    l->head_dim = h->head_dim;
    l->head_dim_v = h->head_dim_v;
    l->kv_from = -1;
    l->n_expert = i < h->n_dense_layer ? 0 : h->n_expert;
    SLM_TRY(config_layer_i32(c, "feed_forward_length", l->n_expert == 0, least, LIMIT_WIDTH, i,
                             h->n_block, &l->n_ff));
    l->n_head = l->n_kv_head > 0 ? l->n_head : 0;
    l->n_ff = l->n_expert > 0 ? 0 : l->n_ff;
    if (l->n_kv_head > 0 && (l->n_head == 0 || l->n_head % l->n_kv_head != 0)) {
        SLM_FAIL(c->err, SLM_E_MODEL, i,
                 "layer %d: head_count %d is no multiple of head_count_kv %d", i, l->n_head,
                 l->n_kv_head);
    }
    return SLM_OK;
}
