/* bind.c - tensors to their places in a family's layers: found by name, checked for shape, used where
 * they lie or copied as f32.
 *
 * A model's block is laid out twice by the same code: once to measure, once for real. Shapes are
 * checked against the family's table here and trusted everywhere else. */

/* One pass over the tensors a family wants. In the measuring pass arena.base is NULL and nothing is
 * read; only shapes are checked and sizes added. */
struct binder {
    struct slm_model *model;
    const slm_model_options *options;
    slm_error *err;
    struct arena arena;
    uint8_t *used;        /* [n_tensors] set for what the family takes */
    uint64_t bytes_done;  /* of weights, for the progress callback */
    uint64_t bytes_total; /* of those the family takes; counted in the measuring pass */
};

#define BIND_STEP ((uint64_t)16 << 20) /* bytes read between two looks at cancel */

static int bind_progress(struct binder *b, uint64_t bytes)
{
    const slm_model_options *o = b->options;
    b->bytes_done += bytes;
    if (o->cancel != NULL && __atomic_load_n(o->cancel, __ATOMIC_RELAXED) != 0) {
        SLM_FAIL(b->err, SLM_E_CANCELLED, -1, "loading was cancelled");
    }
    if (o->progress != NULL && o->progress(o->progress_user, b->bytes_done, b->bytes_total) != 0) {
        SLM_FAIL(b->err, SLM_E_CANCELLED, -1, "loading was stopped by the progress callback");
    }
    return SLM_OK;
}

/* What goes through the convolution of a state space: x, and in Mamba-2 b and c of each group. */
static int64_t ssm_conv_channels(const struct hparams *h)
{
    return h->ssm_inner + 2 * (int64_t)h->n_ssm_group * h->ssm_state;
}

static int64_t bind_recurrent_dim(const struct hparams *h, const struct layer *l, enum arch_dim dim)
{
    int64_t heads = (2 * (int64_t)h->n_ssm_group + h->n_ssm_head) * h->ssm_state;
    int64_t values = (int64_t)h->n_ssm_head * h->ssm_state;
    switch (dim) {
    case DIM_MIX:
        return h->n_embd;
    case DIM_MIX_3:
        return 3 * (int64_t)h->n_embd;
    case DIM_CONV:
        return h->n_conv;
    case DIM_SSM_INNER:
        return h->ssm_inner;
    case DIM_SSM_STATE:
        return h->ssm_state;
    case DIM_SSM_HEADS:
        return h->n_ssm_head;
    case DIM_SSM_GROUPS:
        return h->n_ssm_group;
    case DIM_SSM_GROUP:
        return h->ssm_inner / max_i32(h->n_ssm_group, 1);
    case DIM_SSM_CONV:
        return ssm_conv_channels(h);
    case DIM_SSM_IN:
        return h->ssm_inner + ssm_conv_channels(h) + h->n_ssm_head;
    case DIM_SSM_RANK:
        return h->ssm_rank;
    case DIM_SSM_X:
        return h->ssm_rank + 2 * (int64_t)h->ssm_state;
    case DIM_DELTA_QKV:
        return l->delta_is_fused ? 0 : heads;
    case DIM_DELTA_CONV:
        return heads;
    case DIM_DELTA_Z:
        return l->delta_is_fused ? 0 : values;
    case DIM_DELTA_IN:
        return l->delta_is_fused ? heads + values : 0;
    case DIM_DELTA_BA:
        return 2 * (int64_t)h->n_ssm_head;
    case DIM_RWKV_SHIFTS:
        return h->n_gate_rank > 0 ? 6 : 5;
    case DIM_DECAY_RANK:
        return h->n_decay_rank;
    case DIM_RATE_RANK:
        return h->n_rate_rank;
    case DIM_GATE_RANK:
        return h->n_gate_rank;
    default:
        return 0;
    }
}

/* Sizes that few families have. */
static int64_t bind_rare_dim(const struct hparams *h, const struct layer *l, enum arch_dim dim)
{
    switch (dim) {
    case DIM_Q_RANK:
        return h->n_q_rank;
    case DIM_KV_RANK:
        return h->n_kv_rank;
    case DIM_KV:
        return (int64_t)l->n_head * (l->head_dim - h->n_rot + l->head_dim_v);
    case DIM_Q_GATED:
        return 2 * (int64_t)l->n_head * l->head_dim;
    case DIM_EXPERT_EMBD:
        return l->n_expert > 0 ? h->n_embd : 0;
    case DIM_LAYER_EMBD:
        return h->n_embd_layer;
    case DIM_LAYERS_EMBD:
        return (int64_t)h->n_layer * h->n_embd_layer;
    case DIM_PLE_EMBD:
        return h->n_embd_layer > 0 ? h->n_embd : 0;
    case DIM_STREAMS:
        return h->n_streams;
    case DIM_STREAMS_SQUARE:
        return (int64_t)h->n_streams * h->n_streams;
    case DIM_LAUREL:
        return h->n_laurel;
    case DIM_VALUE_RANK:
        return l->n_value_rank;
    case DIM_TOKEN_TYPES:
        return h->n_token_types;
    case DIM_CLS:
        return h->n_cls;
    case DIM_CLS_IN:
        return h->n_cls > 0 ? h->n_cls : h->n_embd;
    case DIM_OUTPUTS:
        return h->n_outputs;
    case DIM_DENSE_2:
        return h->n_dense_2;
    case DIM_DENSE_3:
        return h->n_dense_3;
    default:
        return PROFILE_RECURRENT && l->recurrent != RECURRENT_NONE ? bind_recurrent_dim(h, l, dim)
                                                                   : 0;
    }
}

static int64_t bind_dim(const struct binder *b, const struct layer *l, enum arch_dim dim)
{
    const struct hparams *h = &b->model->hparams;
    switch (dim) {
    case DIM_EMBD:
        return h->n_embd;
    case DIM_VOCAB:
        return h->n_vocab;
    case DIM_FF:
        return l->n_ff;
    case DIM_EXPERTS:
        return l->n_expert;
    case DIM_FF_EXPERT:
        return l->n_expert > 0 ? h->n_ff_expert : 0;
    case DIM_FF_SHARED:
        return l->n_expert > 0 ? h->n_ff_shared : 0;
    case DIM_Q:
        return (int64_t)l->n_head * l->head_dim;
    case DIM_K:
        return l->kv_from < 0 ? (int64_t)l->n_kv_head * l->head_dim : 0;
    case DIM_V:
        return l->kv_from < 0 ? (int64_t)l->n_kv_head * l->head_dim_v : 0;
    case DIM_O:
        return (int64_t)l->n_head * l->head_dim_v;
    case DIM_HEAD:
        return l->n_head > 0 ? l->head_dim : 0;
    case DIM_K_HEAD:
        return l->n_head > 0 && l->kv_from < 0 ? l->head_dim : 0;
    case DIM_V_HEAD:
        return l->kv_from < 0 ? l->head_dim_v : 0;
    case DIM_HEADS:
        return l->n_head;
    case DIM_KV_HEADS:
        return l->n_kv_head;
    case DIM_CTX:
        return h->n_ctx_train;
    case DIM_ROT_HALF:
        return h->n_rot / 2;
    case DIM_ONE:
        return 1;
    default:
        return PROFILE_MORE || PROFILE_EMBED ? bind_rare_dim(h, l, dim) : 0;
    }
}

/* "blk.3.attn_q.weight"; layer -1 for tensors outside the layers. */
static struct text bind_name(char buffer[96], int32_t layer, const char *name, const char *suffix)
{
    struct text t = {buffer, 0};
    t.n = layer < 0 ? format_text(buffer, 96, "%s%s", name, suffix)
                    : format_text(buffer, 96, "blk.%d.%s%s", layer, name, suffix);
    return t;
}

static int64_t bind_row_count(const struct gguf_tensor *t)
{
    return t->shape[1] * t->shape[2] * t->shape[3];
}

/* A stack, or rows. Rows may be a later dimension than the second, as those of fused vectors are in
 * some files: the bytes are the same. */
static int bind_rows_match(const struct gguf_tensor *t, int64_t n_out, int64_t n_stack)
{
    int64_t n1 = t->shape[1];
    int64_t n2 = t->shape[2];
    int64_t n3 = t->shape[3];
    if (n_stack != 1) {
        return n1 == n_out && n2 == n_stack && n3 == 1;
    }
    return (n1 == n_out || n1 == 1) && (n2 == n_out || n2 == 1) && (n3 == n_out || n3 == 1) &&
           (n_out == 1 || (n1 != 1) + (n2 != 1) + (n3 != 1) == 1);
}

/* Finds a tensor and checks its shape. *out is NULL if there is none and it may be absent. */
static int bind_find(struct binder *b, struct text name, int needed, int64_t n_in, int64_t n_out,
                     int64_t n_stack, const struct gguf_tensor **out)
{
    const struct gguf_tensor *t = gguf_find_tensor(&b->model->gguf, name);
    *out = t;
    if (t == NULL && !needed) {
        return SLM_OK;
    }
    if (t == NULL) {
        SLM_FAIL(b->err, SLM_E_MODEL, -1, "tensor '%.*s' is missing", text_width(name), name.s);
    }
    if (t->shape[0] != n_in || !bind_rows_match(t, n_out, n_stack)) {
        SLM_FAIL(b->err, SLM_E_MODEL, (int64_t)t->offset,
                 "tensor '%.*s' has shape %lld x %lld x %lld x %lld, expected %lld x %lld x %lld",
                 text_width(name), name.s, (long long)t->shape[0], (long long)t->shape[1],
                 (long long)t->shape[2], (long long)t->shape[3], (long long)n_in, (long long)n_out,
                 (long long)n_stack);
    }
    if (kernel_formats[t->type].decode == NULL) {
        SLM_FAIL(b->err, SLM_E_UNSUPPORTED, (int64_t)t->offset,
                 "tensor '%.*s': %s is not an encoding of weights" PROFILE_NO_ENCODING,
                 text_width(name), name.s, kernel_formats[t->type].name);
    }
    uint8_t *used = &b->used[t - b->model->gguf.tensors];
    b->bytes_total += *used ? 0 : t->size;
    *used = 1;
    return SLM_OK;
}

/* SLM_LOAD_CHECK: is a NaN or an infinity among these n elements? */
static int bind_check_finite(struct binder *b, const struct gguf_tensor *t, const uint8_t *data,
                             int64_t n)
{
    if (PROFILE_CHECK && (b->model->flags & SLM_LOAD_CHECK) != 0 &&
        kernel_formats[t->type].has_nonfinite(data, n)) {
        SLM_FAIL(b->err, SLM_E_MODEL, (int64_t)t->offset,
                 "tensor '%.*s' has a value that is NaN or infinite", text_width(t->name),
                 t->name.s);
    }
    return SLM_OK;
}

/* Copies a tensor to f32 through a small buffer, whatever its encoding. */
static int bind_decode(struct binder *b, const struct gguf_tensor *t, float *y)
{
    const struct kernel_format *f = &kernel_formats[t->type];
    struct source *source = &b->model->gguf.parts[t->part].source;
    uint8_t raw[2048];
    int64_t elements = t->shape[0] * bind_row_count(t);
    int64_t step = (int64_t)(sizeof raw / (size_t)f->block_bytes) * f->block_elements;
    uint64_t offset = t->offset;
    for (int64_t i = 0; i < elements; i += step) {
        int64_t n = min_i64(step, elements - i);
        uint64_t bytes = (uint64_t)(n / f->block_elements) * (uint64_t)f->block_bytes;
        SLM_TRY(source_read(source, offset, raw, bytes, b->err));
        SLM_TRY(bind_check_finite(b, t, raw, n));
        f->decode(y + i, raw, n);
        offset += bytes;
    }
    return bind_progress(b, t->size);
}

/* Copies a tensor of n_rows rows of shape[0] elements as shape[0] rows of n_rows. */
static int bind_decode_transposed(struct binder *b, const struct gguf_tensor *t, float *y)
{
    const struct kernel_format *f = &kernel_formats[t->type];
    struct source *source = &b->model->gguf.parts[t->part].source;
    uint8_t raw[512];
    float values[sizeof raw / 2];
    int64_t n_rows = bind_row_count(t);
    int64_t elements = t->shape[0] * n_rows;
    int64_t step = (int64_t)sizeof raw / f->block_bytes;
    for (int64_t i = 0; i < elements; i += step) {
        int64_t n = min_i64(step, elements - i);
        SLM_TRY(source_read(source, t->offset + (uint64_t)(i * f->block_bytes), raw,
                            (uint64_t)(n * f->block_bytes), b->err));
        SLM_TRY(bind_check_finite(b, t, raw, n));
        f->decode(values, raw, n);
        for (int64_t e = i; e < i + n; e++) {
            y[e % t->shape[0] * n_rows + e / t->shape[0]] = values[e - i];
        }
    }
    return bind_progress(b, t->size);
}

/* n_out vectors of n_in elements, one after the other. */
static int bind_vectors(struct binder *b, struct text name, int needed, int64_t n_in, int64_t n_out,
                        const float **out)
{
    const struct gguf_tensor *t = NULL;
    SLM_TRY(bind_find(b, name, needed, n_in, n_out, 1, &t));
    *out = NULL;
    if (t == NULL) {
        return SLM_OK;
    }
    float *y = (float *)arena_take(&b->arena, (uint64_t)(n_in * n_out), sizeof(float));
    *out = y;
    return y == NULL ? SLM_OK : bind_decode(b, t, y);
}

/* The same as n_in vectors of n_out elements: element o of vector i is element i of the file's
 * vector o. */
static int bind_transposed(struct binder *b, struct text name, int needed, int64_t n_in,
                           int64_t n_out, const float **out)
{
    const struct gguf_tensor *t = NULL;
    SLM_TRY(bind_find(b, name, needed, n_in, n_out, 1, &t));
    *out = NULL;
    if (t == NULL) {
        return SLM_OK;
    }
    const struct kernel_format *f = &kernel_formats[t->type];
    if (f->block_elements != 1 || f->block_bytes < 2) {
        SLM_FAIL(b->err, SLM_E_UNSUPPORTED, (int64_t)t->offset,
                 "tensor '%.*s': %s, but a float encoding is expected", text_width(name), name.s,
                 f->name);
    }
    float *y = (float *)arena_take(&b->arena, (uint64_t)(n_in * n_out), sizeof(float));
    *out = y;
    return y == NULL ? SLM_OK : bind_decode_transposed(b, t, y);
}

static int bind_vector(struct binder *b, struct text name, int needed, int64_t n, const float **out)
{
    return bind_vectors(b, name, needed, n, 1, out);
}

/* A norm of n elements with its .bias, if it may have one; n_heads > 1: each head has its own. */
static int bind_norm(struct binder *b, int32_t layer, const char *name, uint32_t flags, int64_t n,
                     int64_t n_heads, struct norm *out)
{
    char buffer[96];
    struct text weight =
        bind_name(buffer, layer, name, (flags & TENSOR_BARE) != 0 ? "" : ".weight");
    memset(out, 0, sizeof *out);
    if ((flags & TENSOR_OPTIONAL) != 0 && gguf_find_tensor(&b->model->gguf, weight) == NULL) {
        return SLM_OK;
    }
    out->n = (int32_t)n;
    if ((flags & TENSOR_NO_WEIGHT) != 0) {
        return SLM_OK;
    }
    out->stride = n_heads > 1 ? (int32_t)n : 0;
    SLM_TRY(bind_vectors(b, weight, 1, n, n_heads, &out->weight));
    if ((flags & (TENSOR_BIAS | TENSOR_BIAS_NEEDED)) != 0) {
        SLM_TRY(bind_vector(b, bind_name(buffer, layer, name, ".bias"),
                            (flags & TENSOR_BIAS_NEEDED) != 0, n, &out->bias));
    }
    return SLM_OK;
}

/* SLM_LOAD_CHECK: a NaN or an infinity anywhere? */
static int bind_check(struct binder *b, const struct gguf_tensor *t, const uint8_t *data)
{
    const struct kernel_format *f = &kernel_formats[t->type];
    int64_t elements = t->shape[0] * bind_row_count(t);
    int64_t step = (int64_t)(BIND_STEP / (uint64_t)f->block_bytes) * f->block_elements;
    for (int64_t i = 0; i < elements; i += step) {
        int64_t n = min_i64(step, elements - i);
        SLM_TRY(bind_check_finite(b, t, data + i / f->block_elements * f->block_bytes, n));
        SLM_TRY(bind_progress(b, 0));
    }
    return SLM_OK;
}

/* Where a matrix's bytes are: in place, or copied into the arena. NULL in the measuring pass. */
static int bind_bytes(struct binder *b, const struct gguf_tensor *t, const uint8_t **data)
{
    struct source *source = &b->model->gguf.parts[t->part].source;
    int copies = source->data == NULL || (b->model->flags & SLM_LOAD_READ) != 0;
    *data = NULL;
    if (!copies) {
        if (b->arena.base == NULL) {
            return SLM_OK;
        }
        *data = source->data + t->offset;
        SLM_TRY(bind_progress(b, t->size));
    } else {
        uint8_t *bytes = (uint8_t *)arena_take(&b->arena, t->size, 64);
        if (bytes == NULL) {
            return SLM_OK;
        }
        for (uint64_t i = 0; i < t->size; i += BIND_STEP) {
            uint64_t n = t->size - i < BIND_STEP ? t->size - i : BIND_STEP;
            SLM_TRY(source_read(source, t->offset + i, bytes + i, n, b->err));
            SLM_TRY(bind_progress(b, n));
        }
        *data = bytes;
    }
    int checks = PROFILE_CHECK && (b->model->flags & SLM_LOAD_CHECK) != 0;
    return checks ? bind_check(b, t, *data) : SLM_OK;
}

/* How many matrices lie one behind the other. */
static int64_t bind_stack(const struct binder *b, uint32_t flags)
{
    const struct hparams *h = &b->model->hparams;
    return PROFILE_EXPERTS && (flags & TENSOR_STACK) != 0   ? h->n_expert
           : PROFILE_ALTUP && (flags & TENSOR_STREAMS) != 0 ? h->n_streams - 1
                                                            : 1;
}

/* A matrix or a stack of them, with the .bias that may stand beside it. */
static int bind_matrix(struct binder *b, int32_t layer, const char *name, uint32_t flags,
                       int64_t n_in, int64_t n_out, struct linear *out)
{
    char buffer[96];
    const struct gguf_tensor *t = NULL;
    int needed = (flags & TENSOR_OPTIONAL) == 0;
    int64_t n_stack = bind_stack(b, flags);
    memset(out, 0, sizeof *out);
    SLM_TRY(
        bind_find(b, bind_name(buffer, layer, name, ".weight"), needed, n_in, n_out, n_stack, &t));
    if (t == NULL) {
        return SLM_OK;
    }
    out->n_in = n_in;
    out->n_out = n_out * n_stack;
    out->type = t->type;
    out->scale = 1;
    b->model->n_in_max = max_i64(b->model->n_in_max, n_in);
    b->model->n_in_of[t->type] = max_i64(b->model->n_in_of[t->type], n_in);
    SLM_TRY(bind_bytes(b, t, &out->data));
    if ((flags & (TENSOR_BIAS | TENSOR_BIAS_NEEDED)) != 0) {
        SLM_TRY(bind_vectors(b, bind_name(buffer, layer, name, ".bias"),
                             (flags & TENSOR_BIAS_NEEDED) != 0, n_out, n_stack, &out->bias));
    }
    return SLM_OK;
}

/* The same with its .scale, one for each matrix. */
static int bind_linear(struct binder *b, int32_t layer, const char *name, uint32_t flags,
                       int64_t n_in, int64_t n_out, struct linear *out)
{
    char buffer[96];
    const float *scale = NULL;
    SLM_TRY(bind_matrix(b, layer, name, flags, n_in, n_out, out));
    if (out->n_out == 0) {
        return SLM_OK;
    }
    SLM_TRY(
        bind_vector(b, bind_name(buffer, layer, name, ".scale"), 0, bind_stack(b, flags), &scale));
    if ((flags & (TENSOR_STACK | TENSOR_STREAMS)) != 0) {
        out->stack_scale = scale;
    } else if (scale != NULL) {
        out->scale = *scale;
    }
    return SLM_OK;
}

/* Rows row0.. of a fused matrix as a matrix of its own. */
static void linear_slice(const struct linear *fused, int64_t row0, int64_t n_rows,
                         struct linear *out)
{
    const struct kernel_format *f = &kernel_formats[fused->type];
    *out = *fused;
    out->n_out = n_rows;
    if (fused->data != NULL) {
        out->data = fused->data + row0 * (fused->n_in / f->block_elements) * f->block_bytes;
    }
    if (fused->bias != NULL) {
        out->bias = fused->bias + row0;
    }
}

/* Matrix i of a stack of n. */
static struct linear linear_of_stack(const struct linear *stack, int32_t i, int32_t n)
{
    struct linear out;
    int64_t n_rows = stack->n_out / n;
    linear_slice(stack, i * n_rows, n_rows, &out);
    out.scale = stack->stack_scale != NULL ? stack->stack_scale[i] : 1;
    return out;
}

static int bind_fused_qkv(struct binder *b, int32_t i, struct layer *l, uint32_t flags)
{
    struct linear fused;
    int64_t q = bind_dim(b, l, DIM_Q);
    int64_t k = bind_dim(b, l, DIM_K);
    int64_t v = bind_dim(b, l, DIM_V);
    SLM_TRY(bind_linear(b, i, "attn_qkv", flags, b->model->hparams.n_embd, q + k + v, &fused));
    linear_slice(&fused, 0, q, &l->attn_q);
    linear_slice(&fused, q, k, &l->attn_k);
    linear_slice(&fused, q + k, v, &l->attn_v);
    return SLM_OK;
}

static int bind_fused_gate_up(struct binder *b, int32_t i, struct layer *l, uint32_t flags)
{
    struct linear fused;
    int64_t n_ff = l->n_ff;
    SLM_TRY(bind_linear(b, i, "ffn_up", flags, b->model->hparams.n_embd, 2 * n_ff, &fused));
    linear_slice(&fused, 0, n_ff, &l->ffn_gate);
    linear_slice(&fused, n_ff, n_ff, &l->ffn_up);
    return SLM_OK;
}

static int bind_latent_kv(struct binder *b, int32_t i, struct layer *l, const char *name)
{
    struct linear fused;
    const struct hparams *h = &b->model->hparams;
    int64_t rank = h->n_kv_rank;
    SLM_TRY(bind_linear(b, i, name, 0, h->n_embd, rank + h->n_rot, &fused));
    linear_slice(&fused, 0, rank, &l->latent_kv);
    linear_slice(&fused, rank, h->n_rot, &l->latent_k_rope);
    return SLM_OK;
}

static int bind_router(struct binder *b, int32_t i, struct layer *l, const char *name)
{
    char buffer[96];
    int32_t n_embd = b->model->hparams.n_embd;
    SLM_TRY(bind_matrix(b, i, name, 0, n_embd, l->n_expert, &l->ffn_router));
    l->ffn_router.scale = (float)(1 / math_sqrt((wide_float)n_embd));
    l->router_norm.n = n_embd;
    return bind_vector(b, bind_name(buffer, i, name, ".scale"), 1, n_embd, &l->router_norm.weight);
}

/* Row `index` of a matrix: an embedding. */
static void linear_row(const struct linear *w, int64_t index, float *y)
{
    const struct kernel_format *f = &kernel_formats[w->type];
    f->decode(y, w->data + index * (w->n_in / f->block_elements) * f->block_bytes, w->n_in);
}

/* Is the tensor in the file? */
static int bind_has(const struct binder *b, int32_t layer, const char *name)
{
    char buffer[96];
    return gguf_find_tensor(&b->model->gguf, bind_name(buffer, layer, name, ".weight")) != NULL;
}

/* Are gate and up one matrix? An ffn_up as wide as one of them is no more than itself. */
static int bind_is_gate_up(const struct binder *b, int32_t layer, int64_t n_ff)
{
    char buffer[96];
    const struct gguf_tensor *up =
        gguf_find_tensor(&b->model->gguf, bind_name(buffer, layer, "ffn_up", ".weight"));
    return !bind_has(b, layer, "ffn_gate") && (up == NULL || up->shape[1] != n_ff);
}

/* One row of a family's table into its slot. */
static int bind_row(struct binder *b, const struct arch_tensor *a, int32_t index,
                    struct layer *layer, void *slot)
{
    char buffer[96];
    int64_t in = bind_dim(b, layer, a->in);
    int64_t out = bind_dim(b, layer, a->out);
    if (in == 0 || out == 0) {
        return SLM_OK;
    }
    if ((a->flags & TENSOR_NORM) != 0) {
        return bind_norm(b, index, a->name, a->flags, in, out, (struct norm *)slot);
    }
    if ((a->flags & TENSOR_VECTOR) != 0) {
        const char *suffix = (a->flags & TENSOR_BARE) != 0 ? "" : ".weight";
        struct text name = bind_name(buffer, index, a->name, suffix);
        int needed = (a->flags & TENSOR_OPTIONAL) == 0;
        return PROFILE_RECURRENT && (a->flags & TENSOR_TRANSPOSED) != 0
                   ? bind_transposed(b, name, needed, in, out, (const float **)slot)
                   : bind_vectors(b, name, needed, in, out, (const float **)slot);
    }
    if (PROFILE_MORE && (a->flags & TENSOR_ROUTER) != 0) {
        return bind_router(b, index, layer, a->name);
    }
    if (PROFILE_EXPERTS && (a->flags & TENSOR_GATE_UP_EXPS) != 0 &&
        bind_has(b, index, "ffn_gate_up_exps")) {
        return slot == &layer->up_exps ? bind_linear(b, index, "ffn_gate_up_exps", a->flags, in,
                                                     2 * out, &layer->gate_up_exps)
                                       : SLM_OK;
    }
    if (PROFILE_MORE && (a->flags & TENSOR_LATENT_KV) != 0) {
        return bind_latent_kv(b, index, layer, a->name);
    }
    if ((a->flags & TENSOR_QKV) != 0 && bind_has(b, index, "attn_qkv")) {
        return slot == &layer->attn_q ? bind_fused_qkv(b, index, layer, a->flags) : SLM_OK;
    }
    if (PROFILE_MORE && (a->flags & TENSOR_GATE_UP) != 0 &&
        bind_is_gate_up(b, index, layer->n_ff)) {
        return slot == &layer->ffn_up ? bind_fused_gate_up(b, index, layer, a->flags) : SLM_OK;
    }
    return bind_linear(b, index, a->name, a->flags, in, out, (struct linear *)slot);
}

/* The rows of a family's table into the struct at `base` (a struct layer or struct globals). */
static int bind_table(struct binder *b, const struct arch_tensor *table, int32_t n, int32_t index,
                      struct layer *layer, void *base)
{
    for (int32_t i = 0; i < n; i++) {
        SLM_TRY(bind_row(b, &table[i], index, layer, (uint8_t *)base + table[i].slot));
    }
    return SLM_OK;
}

/* What the keys say of a layer, before it has tensors. */
static int bind_layer_keys(const struct slm_model *m, const struct config *config, int32_t i,
                           struct layer *l)
{
    memset(l, 0, sizeof *l);
    SLM_TRY(config_read_layer(config, &m->hparams, i, l));
    return m->arch->configure_layer != NULL ? m->arch->configure_layer(config, &m->hparams, i, l)
                                            : SLM_OK;
}

/* The layer whose K and V layer i reads: an earlier one with its own, in the same form. */
static int bind_check_shared_kv(const struct slm_model *m, const struct config *config, int32_t i,
                                const struct layer *l)
{
    struct layer from;
    if (!PROFILE_MORE || l->kv_from < 0) {
        return SLM_OK;
    }
    SLM_ASSERT(l->kv_from < i);
    SLM_TRY(bind_layer_keys(m, config, l->kv_from, &from));
    if (from.kv_from >= 0 || from.n_kv_head != l->n_kv_head || from.head_dim != l->head_dim ||
        from.head_dim_v != l->head_dim_v) {
        SLM_FAIL(config->err, SLM_E_MODEL, i,
                 "layer %d: %d heads of %d and %d elements cannot share K and V of layer %d, which "
                 "has %d of %d and %d%s",
                 i, l->n_kv_head, l->head_dim, l->head_dim_v, l->kv_from, from.n_kv_head,
                 from.head_dim, from.head_dim_v, from.kv_from >= 0 ? ", shared itself" : "");
    }
    return SLM_OK;
}

/* The slope of a head, powers of two in even steps. Where the number of heads is none, those of the
 * power below it come first, then every second of those of the next (Press et al. 2021). */
static float bind_alibi_slope(int32_t head, int32_t n_head, wide_float bias)
{
    int32_t n = 1;
    while (2 * n <= n_head) {
        n *= 2;
    }
    wide_float step = (wide_float)(head < n ? 2 * (head + 1) : 2 * (head - n) + 1) / 2;
    return (float)math_exp2(-bias * step / (wide_float)n);
}

static void bind_alibi(struct binder *b, struct layer *l)
{
    wide_float bias = (wide_float)b->model->hparams.alibi_bias;
    if (!PROFILE_MORE || !(bias > 0)) {
        return;
    }
    float *slopes = (float *)arena_take(&b->arena, (uint64_t)l->n_head, sizeof(float));
    for (int32_t i = 0; slopes != NULL && i < l->n_head; i++) {
        slopes[i] = bind_alibi_slope(i, l->n_head, bias);
    }
    l->alibi = slopes;
}

static int bind_layer(struct binder *b, const struct config *config, int32_t i, struct layer *l)
{
    const struct slm_model *m = b->model;
    SLM_TRY(bind_layer_keys(m, config, i, l));
    SLM_TRY(bind_check_shared_kv(m, config, i, l));
    if (l->rope != LAYER_ROPE_NONE && m->hparams.n_rot % 2 != 0) {
        SLM_FAIL(b->err, SLM_E_MODEL, i, "rope.dimension_count is odd: %d", m->hparams.n_rot);
    }
    SLM_TRY(bind_table(b, m->arch->layer, m->arch->n_layer, i, l, l));
    bind_alibi(b, l);
    if (l->ffn_norm.n == 0) { /* all that the layer does reads one norm */
        l->ffn_norm = l->attn_norm;
    }
    l->router_norm = l->router_norm.n > 0 ? l->router_norm : l->ffn_norm;
    l->expert_norm = l->expert_norm.n > 0 ? l->expert_norm : l->ffn_norm;
    if (l->attn_k.n_out > 0 && l->attn_v.n_out == 0 && l->head_dim != l->head_dim_v) {
        SLM_FAIL(b->err, SLM_E_MODEL, i,
                 "tensor 'blk.%d.attn_v.weight' is missing, and K with heads of %d elements cannot "
                 "stand in for V with %d",
                 i, l->head_dim, l->head_dim_v);
    }
    return SLM_OK;
}

/* Long and short factors come together, and longrope is nothing without them. */
static int bind_check_factors(const struct binder *b)
{
    int wanted = b->model->hparams.rope_scaling == ROPE_SCALING_LONGROPE;
    int has_long = bind_has(b, -1, "rope_factors_long");
    int has_short = bind_has(b, -1, "rope_factors_short");
    if ((wanted || has_short) && !has_long) {
        SLM_FAIL(b->err, SLM_E_MODEL, -1, "tensor 'rope_factors_long.weight' is missing");
    }
    if ((wanted || has_long) && !has_short) {
        SLM_FAIL(b->err, SLM_E_MODEL, -1, "tensor 'rope_factors_short.weight' is missing");
    }
    return SLM_OK;
}

static void recurrent_bind(struct slm_model *m, struct layer *l);

/* Does something in the layer want x as it was before it? Two mixers read the same x. */
static int layer_keeps_x(const struct layer *l)
{
    return PROFILE_MORE && (l->is_parallel || l->attn_norm_2.n > 0 ||
                            (l->n_kv_head > 0 && l->recurrent != RECURRENT_NONE));
}

/* Places of a layer's K and V in a page, in elements. While measuring, m->layers is NULL. */
static void bind_cache(struct slm_model *m, struct layer *l)
{
    if (PROFILE_MORE && l->kv_from >= 0 && m->layers != NULL) {
        l->k_at = m->layers[l->kv_from].k_at;
        l->v_at = m->layers[l->kv_from].v_at;
    } else if (l->kv_from < 0) {
        l->k_at = m->kv_page_elements;
        l->v_at = l->k_at + (int64_t)l->n_kv_head * KV_PAGE * l->head_dim;
        m->kv_page_elements = l->v_at + (int64_t)l->n_kv_head * KV_PAGE * l->head_dim_v;
    }
}

static void bind_largest(struct slm_model *m, const struct layer *l)
{
    m->n_head_max = max_i32(m->n_head_max, l->n_head);
    m->head_dim_max = max_i32(m->head_dim_max, l->head_dim);
    m->head_dim_v_max = max_i32(m->head_dim_v_max, l->head_dim_v);
    m->n_q_max = max_i64(m->n_q_max, l->attn_q.n_out);
    m->n_o_max = max_i64(m->n_o_max, (int64_t)l->n_head * l->head_dim_v);
    m->n_k_max = max_i64(m->n_k_max, (int64_t)l->n_kv_head * l->head_dim);
    m->n_v_max = max_i64(m->n_v_max, (int64_t)l->n_kv_head * l->head_dim_v);
    m->n_group_max = max_i32(m->n_group_max, l->n_kv_head > 0 ? l->n_head / l->n_kv_head : 1);
    m->n_ff_max = max_i32(m->n_ff_max, l->n_ff);
    if (PROFILE_EXPERTS && l->n_expert > 0) {
        m->n_ff_max = max_i32(m->n_ff_max, max_i32(m->hparams.n_ff_expert, m->hparams.n_ff_shared));
    }
    m->keeps_x |= layer_keeps_x(l);
}

static const char *bind_text(struct binder *b, struct text t)
{
    char *s = (char *)arena_take(&b->arena, t.n + 1, 1);
    if (s != NULL) {
        if (t.n > 0) {
            memcpy(s, t.s, t.n);
        }
        s[t.n] = 0;
    }
    return s;
}

/* Strings of slm_model_info: they come first and need no tensors. */
static void bind_strings(struct binder *b, struct text family)
{
    struct slm_model *m = b->model;
    struct text name = {"", 0};
    struct text chat = {NULL, 0};
    gguf_find_text(&m->gguf, "general.name", &name);
    m->family = bind_text(b, family);
    m->name = bind_text(b, name);
    m->pre = bind_text(b, m->vocab.pre);
    if (gguf_find_text(&m->gguf, "tokenizer.chat_template", &chat) == 1) {
        m->chat_template = bind_text(b, chat);
    }
}

/* Everything the forward pass reads. */
static int bind_tensors(struct binder *b, struct text family)
{
    struct slm_model *m = b->model;
    struct config config = {&m->gguf, family, b->err};
    struct layer unused;
    b->bytes_done = 0;
    m->kv_page_elements = 0;
    m->n_state_floats = 0;
    m->n_in_max = 0;
    m->layers =
        (struct layer *)arena_take(&b->arena, (uint64_t)m->hparams.n_layer, sizeof(struct layer));
    for (int32_t i = 0; i < MODEL_ROPE_COUNT; i++) {
        int is_local = i == MODEL_ROPE_LOCAL && m->hparams.n_rot_local > 0;
        m->ropes[i].n_rot = is_local ? m->hparams.n_rot_local : m->hparams.n_rot;
        m->ropes[i].freq = (uint64_t *)arena_take(&b->arena, (uint64_t)m->ropes[i].n_rot / 2 + 1,
                                                  sizeof(uint64_t));
    }
    SLM_TRY(bind_check_factors(b));
    SLM_TRY(bind_table(b, m->arch->globals, m->arch->n_globals, -1, NULL, &m->globals));
    if (m->globals.output.n_out == 0) {
        m->globals.output = m->globals.token_embd;
    }
    for (int32_t i = 0; i < m->hparams.n_layer; i++) {
        struct layer *l = m->layers != NULL ? &m->layers[i] : &unused;
        SLM_TRY(bind_layer(b, &config, i, l));
        bind_cache(m, l);
        recurrent_bind(m, l);
        bind_largest(m, l);
    }
    return SLM_OK;
}
