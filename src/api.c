/* api.c - the public functions: check the arguments, then one call down. */

#define API_NEED(pointer, name, err)                                                               \
    do {                                                                                           \
        if ((pointer) == NULL) {                                                                   \
            SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%s: %s is NULL", __func__, name);                   \
        }                                                                                          \
    } while (0)

/* Reads a caller's options over our defaults; NULL means the defaults. */
#define API_OPTIONS(ours, theirs, defaults, what, err)                                             \
    do {                                                                                           \
        (ours) = (defaults);                                                                       \
        if ((theirs) != NULL) {                                                                    \
            SLM_TRY(struct_read(&(ours), sizeof(ours), theirs, (theirs)->struct_size, what, err)); \
        }                                                                                          \
    } while (0)

/* ---- Library --------------------------------------------------------------------------------- */

SLM_API int32_t slm_version(void)
{
    return SLM_VERSION_MAJOR * 1000000 + SLM_VERSION_MINOR * 1000 + SLM_VERSION_PATCH;
}

SLM_API const char *slm_status_name(int status)
{
    static const char *const names[] = {
        "SLM_OK",       "SLM_E_ARGUMENT",  "SLM_E_MEMORY",      "SLM_E_IO",
        "SLM_E_FORMAT", "SLM_E_MODEL",     "SLM_E_UNSUPPORTED", "SLM_E_SPACE",
        "SLM_E_FULL",   "SLM_E_CANCELLED", "SLM_E_DEADLINE",    "SLM_E_BUSY",
        "SLM_E_FORKED", "SLM_E_NUMERIC",   "SLM_E_THREAD",      "SLM_E_TEMPLATE",
    };
    return status <= 0 && status > -SLM_COUNT(names) ? names[-status] : "unknown status";
}

SLM_API int64_t slm_clock_ns(void)
{
    return platform_clock_ns();
}

SLM_API uint64_t slm_cpu_features(void)
{
    return cpu_detect();
}

SLM_API const char *slm_cpu_feature_name(int32_t index)
{
    return PROFILE_LISTS ? cpu_feature_name(index) : NULL;
}

/* The calls that list what there is, without which models run as well. */
static int api_lists(slm_error *err)
{
    if (!PROFILE_LISTS) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                 "keys, tensors and encodings are not listed by this build (SLM_NO_LISTS)");
    }
    return SLM_OK;
}

static int api_same_name(const char *a, const char *b)
{
    for (;; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y) {
            return 0;
        }
        if (x == 0) {
            return 1;
        }
    }
}

SLM_API int slm_encoding_find(int32_t id, const char *name, slm_encoding_info *info, slm_error *err)
{
    slm_encoding_info ours;
    error_clear(err);
    SLM_TRY(api_lists(err));
    API_NEED(info, "info", err);
    for (int32_t i = 0; name != NULL && i < ENC_COUNT; i++) {
        if (kernel_formats[i].block_elements != 0 && api_same_name(kernel_formats[i].name, name)) {
            id = i;
            name = NULL;
        }
    }
    if (name != NULL || id < 0 || id >= ENC_COUNT || kernel_formats[id].block_elements == 0) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, id, "no encoding '%s' (%d)", name != NULL ? name : "", id);
    }
    memset(&ours, 0, sizeof ours);
    ours.id = id;
    ours.name = kernel_formats[id].name;
    ours.block_elements = kernel_formats[id].block_elements;
    ours.block_bytes = kernel_formats[id].block_bytes;
    return struct_write(info, &ours, sizeof ours, "info", err);
}

/* A pointer may be NULL where there is nothing. */
static int api_buffer(const void *p, size_t n, const char *name, slm_error *err)
{
    if (p == NULL && n > 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%s is NULL, but %zu of it are promised", name, n);
    }
    return SLM_OK;
}

/* ---- Model ----------------------------------------------------------------------------------- */

static slm_model_options api_model_defaults(void)
{
    slm_model_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.max_bytes = UINT64_MAX;
    o.cpu = SLM_CPU_ALL;
    return o;
}

SLM_API int slm_model_options_init(slm_model_options *options, size_t size)
{
    slm_model_options o = api_model_defaults();
    return struct_init(options, size, &o, sizeof o);
}

static int api_model_options(slm_model_options *o, const slm_model_options *theirs, slm_error *err)
{
    API_OPTIONS(*o, theirs, api_model_defaults(), "model options", err);
    if ((o->flags & ~(SLM_LOAD_READ | SLM_LOAD_METADATA | SLM_LOAD_CHECK | SLM_LOAD_SURPLUS)) !=
        0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "model options: flags %x are not known", o->flags);
    }
    if (!PROFILE_CHECK && (o->flags & SLM_LOAD_CHECK) != 0) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                 "SLM_LOAD_CHECK was left out of this build (SLM_NO_CHECK)");
    }
    return SLM_OK;
}

SLM_API int slm_model_open(slm_model **model, const char *path, const slm_model_options *options,
                           slm_error *err)
{
    slm_model_options o;
    struct slm_model *m = NULL;
    error_clear(err);
    API_NEED(model, "model", err);
    *model = NULL;
    API_NEED(path, "path", err);
    SLM_TRY(api_model_options(&o, options, err));
    SLM_TRY(model_new(&m, &o, err));
    int status = model_open_path(m, path, &o, err);
    if (status != SLM_OK) {
        model_destroy(m);
        return status;
    }
    *model = m;
    return SLM_OK;
}

/* The common part of memory and callback: sources are given, part by part. */
static int api_open_sources(slm_model **model, const void *const *data, const size_t *data_size,
                            slm_read_fn read, void *read_user, const uint64_t *read_size,
                            int32_t n_files, const slm_model_options *options, slm_error *err)
{
    slm_model_options o;
    struct slm_model *m = NULL;
    if (!PROFILE_SPLIT && n_files > 1) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, n_files,
                 "n_files is %d: models of one file are all that this build reads (SLM_NO_SPLIT)",
                 n_files);
    }
    if (n_files < 1 || n_files > LIMIT_SPLIT_FILES) {
        SLM_FAIL(err, SLM_E_ARGUMENT, n_files, "n_files is %d: 1 to %d is expected", n_files,
                 LIMIT_SPLIT_FILES);
    }
    for (int32_t i = 0; data != NULL && i < n_files; i++) {
        if (data[i] == NULL) {
            SLM_FAIL(err, SLM_E_ARGUMENT, i, "data[%d] is NULL", i);
        }
    }
    SLM_TRY(api_model_options(&o, options, err));
    SLM_TRY(model_new(&m, &o, err));
    int status = model_take_parts(m, n_files, err);
    for (int32_t i = 0; status == SLM_OK && i < n_files; i++) {
        struct source *s = &m->gguf.parts[i].source;
        s->data = data != NULL ? (const uint8_t *)data[i] : NULL;
        s->size = data != NULL ? data_size[i] : read_size[i];
        s->read = read;
        s->read_user = read_user;
        s->file = i;
    }
    if (status == SLM_OK) {
        status = model_open_parts(m, &o, err);
    }
    if (status != SLM_OK) {
        model_destroy(m);
        return status;
    }
    *model = m;
    return SLM_OK;
}

SLM_API int slm_model_open_memory(slm_model **model, const void *const *data, const size_t *size,
                                  int32_t n_files, const slm_model_options *options, slm_error *err)
{
    error_clear(err);
    API_NEED(model, "model", err);
    *model = NULL;
    API_NEED(data, "data", err);
    API_NEED(size, "size", err);
    return api_open_sources(model, data, size, NULL, NULL, NULL, n_files, options, err);
}

SLM_API int slm_model_open_callback(slm_model **model, slm_read_fn read, void *read_user,
                                    const uint64_t *size, int32_t n_files,
                                    const slm_model_options *options, slm_error *err)
{
    error_clear(err);
    API_NEED(model, "model", err);
    *model = NULL;
    API_NEED(read, "read", err);
    API_NEED(size, "size", err);
    return api_open_sources(model, NULL, NULL, read, read_user, size, n_files, options, err);
}

SLM_API void slm_model_free(slm_model *model)
{
    model_release(model);
}

SLM_API int slm_model_get_info(const slm_model *model, slm_model_info *info, slm_error *err)
{
    slm_model_info o;
    int64_t file_type = 0;
    error_clear(err);
    API_NEED(model, "model", err);
    memset(&o, 0, sizeof o);
    gguf_find_i64(&model->gguf, "general.file_type", &file_type);
    o.n_vocab = max_i32(model->hparams.n_vocab, model->vocab.n_token);
    o.n_ctx_train = model->hparams.n_ctx_train;
    o.n_embd = model->hparams.n_embd;
    o.n_layer = model->hparams.n_layer;
    o.is_recurrent = model->n_state_floats > 0;
    o.n_head = model->hparams.n_head;
    o.n_kv_head = model->hparams.n_kv_head;
    o.head_dim = model->hparams.head_dim;
    o.n_ff = model->hparams.n_ff;
    o.bos_token = model->vocab.bos;
    o.eos_token = model->vocab.eos;
    o.eot_token = model->vocab.eot;
    o.unk_token = model->vocab.unk;
    o.pad_token = model->vocab.pad;
    o.add_bos = model->vocab.add_bos;
    o.add_eos = model->vocab.add_eos;
    o.n_metadata = (int32_t)model->gguf.n_kv;
    o.n_tensors = (int32_t)model->gguf.n_tensors;
    o.file_type = (int32_t)file_type;
    o.gguf_version = (int32_t)model->gguf.version;
    o.family = model->family;
    o.name = model->name;
    o.tokenizer = vocab_kind_name(&model->vocab);
    o.isa = model->kernels.isa;
    o.chat_template = model->chat_template;
    o.n_parameters = model->n_parameters;
    o.weight_bytes = model->weight_bytes;
    o.mapped_bytes = model->mapped_bytes;
    o.heap_bytes = atomic_load_size(&model->memory.used);
    o.heap_peak_bytes = atomic_load_size(&model->memory.peak);
    o.cpu = model->kernels.cpu;
    o.is_causal = model->hparams.is_causal;
    o.pooling = model->hparams.pooling;
    o.n_embd_out = (int32_t)model_width(model);
    o.n_outputs = (int32_t)model_classifier_outputs(model);
    o.sep_token = model->vocab.sep;
    o.add_sep = model->vocab.add_sep;
    o.pre_status = model->vocab.pre_status;
    o.pre = model->pre;
    o.eom_token = model->vocab.eom;
    o.mask_token = model->vocab.mask;
    o.fim_pre_token = model->vocab.fim_pre;
    o.fim_suf_token = model->vocab.fim_suf;
    o.fim_mid_token = model->vocab.fim_mid;
    o.fim_pad_token = model->vocab.fim_pad;
    o.fim_rep_token = model->vocab.fim_rep;
    o.fim_sep_token = model->vocab.fim_sep;
    return struct_write(info, &o, sizeof o, "info", err);
}

SLM_API int slm_model_metadata(const slm_model *model, int32_t index, uint64_t element,
                               slm_metadata *value, slm_error *err)
{
    slm_metadata o;
    error_clear(err);
    SLM_TRY(api_lists(err));
    API_NEED(model, "model", err);
    if (index < 0 || (uint64_t)index >= model->gguf.n_kv) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "metadata %d: the model has %llu", index,
                 (unsigned long long)model->gguf.n_kv);
    }
    const struct gguf_kv *kv = &model->gguf.kv[index];
    const uint8_t *base = model->gguf.parts[0].bytes;
    if (element >= kv->count && element > 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, (int64_t)element, "element %llu of an array of %llu",
                 (unsigned long long)element, (unsigned long long)kv->count);
    }
    memset(&o, 0, sizeof o);
    struct text key = gguf_key(&model->gguf, (uint64_t)index);
    o.value_type = (int32_t)kv->element_type;
    o.is_array = kv->type == SLM_TYPE_ARRAY;
    o.count = kv->count;
    o.key = key.s;
    o.key_size = key.n;
    if (kv->count > 0 && kv->element_type == SLM_TYPE_STRING) {
        struct text t = gguf_string_at(base, o.is_array ? kv->strings[element] : kv->value_at);
        o.text = t.s;
        o.text_size = t.n;
    } else if (kv->count > 0) {
        const uint8_t *p = base + kv->value_at + element * gguf_type_size[kv->element_type];
        if (o.is_array) {
            o.data = base + kv->value_at;
            o.data_size = (size_t)(kv->count * gguf_type_size[kv->element_type]);
        }
        o.integer = gguf_load_i64(kv->element_type, p);
        o.real = bits_to_f64(gguf_load_f64_bits(kv->element_type, p));
    }
    return struct_write(value, &o, sizeof o, "value", err);
}

SLM_API int slm_model_metadata_find(const slm_model *model, const char *key, size_t size,
                                    int32_t *index, slm_error *err)
{
    error_clear(err);
    API_NEED(model, "model", err);
    SLM_TRY(api_buffer(key, size, "key", err));
    API_NEED(index, "index", err);
    struct text name = {size > 0 ? key : "", size};
    *index = (int32_t)gguf_find_name(&model->gguf.by_key, name);
    return SLM_OK;
}

SLM_API int slm_model_tensor(const slm_model *model, int32_t index, slm_tensor_info *info,
                             slm_error *err)
{
    slm_tensor_info o;
    error_clear(err);
    SLM_TRY(api_lists(err));
    API_NEED(model, "model", err);
    if (index < 0 || (uint64_t)index >= model->gguf.n_tensors) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "tensor %d: the model has %llu", index,
                 (unsigned long long)model->gguf.n_tensors);
    }
    const struct gguf_tensor *t = &model->gguf.tensors[index];
    memset(&o, 0, sizeof o);
    o.encoding = t->type;
    o.name = t->name.s;
    o.name_size = t->name.n;
    o.encoding_name = kernel_formats[t->type].name;
    memcpy(o.shape, t->shape, sizeof o.shape);
    o.n_dims = t->n_dims;
    o.file = t->part;
    o.offset = t->offset;
    o.size = t->size;
    return struct_write(info, &o, sizeof o, "info", err);
}

/* ---- Text ------------------------------------------------------------------------------------ */

static int api_text_flags(uint32_t flags, uint32_t more, slm_error *err)
{
    if ((flags & ~(SLM_TEXT_BOS | SLM_TEXT_SPECIAL | more)) != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "text flags %x are not known", flags);
    }
    return SLM_OK;
}

/* Its counters are atomic: this is the one thing about a model that changes. */
static struct memory *api_model_memory(const slm_model *model)
{
    return &((struct slm_model *)(uintptr_t)model)->memory;
}

SLM_API int slm_tokenize(const slm_model *model, const char *text, size_t size, uint32_t flags,
                         int32_t *tokens, size_t capacity, size_t *needed, slm_error *err)
{
    error_clear(err);
    API_NEED(model, "model", err);
    API_NEED(needed, "needed", err);
    *needed = 0;
    SLM_TRY(api_buffer(text, size, "text", err));
    SLM_TRY(api_buffer(tokens, capacity, "tokens", err));
    SLM_TRY(api_text_flags(flags, 0, err));
    return tokenize_text(&model->vocab, api_model_memory(model), text, size, flags, tokens,
                         capacity, needed, err);
}

static int api_token(const slm_model *model, int64_t index, int32_t token, slm_error *err)
{
    if (token < 0 || token >= max_i32(model->hparams.n_vocab, model->vocab.n_token)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "token %d: the vocabulary has %d", token,
                 max_i32(model->hparams.n_vocab, model->vocab.n_token));
    }
    return SLM_OK;
}

SLM_API int slm_detokenize(const slm_model *model, const int32_t *tokens, size_t n_tokens,
                           uint32_t flags, char *text, size_t capacity, size_t *needed,
                           slm_error *err)
{
    error_clear(err);
    API_NEED(model, "model", err);
    API_NEED(needed, "needed", err);
    *needed = 0;
    SLM_TRY(api_buffer(tokens, n_tokens, "tokens", err));
    SLM_TRY(api_buffer(text, capacity, "text", err));
    SLM_TRY(api_text_flags(flags, SLM_TEXT_CLEAN, err));
    for (size_t i = 0; i < n_tokens; i++) {
        SLM_TRY(api_token(model, (int64_t)i, tokens[i], err));
    }
    return detokenize_text(&model->vocab, api_model_memory(model), tokens, n_tokens, flags, text,
                           capacity, needed, err);
}

SLM_API int slm_decode_token(const slm_model *model, slm_text_stream *stream, int32_t token,
                             uint32_t flags, char *text, size_t capacity, size_t *needed,
                             slm_error *err)
{
    error_clear(err);
    API_NEED(model, "model", err);
    API_NEED(stream, "stream", err);
    API_NEED(needed, "needed", err);
    *needed = 0;
    SLM_TRY(api_buffer(text, capacity, "text", err));
    SLM_TRY(api_text_flags(flags, 0, err));
    if (token != -1) {
        SLM_TRY(api_token(model, token, token, err));
    }
    return decode_token(&model->vocab, stream, token, flags, text, capacity, needed, err);
}

SLM_API int slm_token_get_info(const slm_model *model, int32_t token, slm_token_info *info,
                               slm_error *err)
{
    slm_token_info o;
    error_clear(err);
    API_NEED(model, "model", err);
    SLM_TRY(api_token(model, token, token, err));
    memset(&o, 0, sizeof o);
    o.text = "";
    if (token < model->vocab.n_token) {
        struct text t = vocab_text(&model->vocab, token);
        o.kind = vocab_type(&model->vocab, token);
        o.is_end = vocab_is_end(&model->vocab, token);
        o.score = vocab_score(&model->vocab, token);
        o.text = t.s;
        o.text_size = t.n;
    }
    return struct_write(info, &o, sizeof o, "info", err);
}

SLM_API int slm_token_find(const slm_model *model, const char *text, size_t size, int32_t *token,
                           slm_error *err)
{
    error_clear(err);
    API_NEED(model, "model", err);
    API_NEED(token, "token", err);
    SLM_TRY(api_buffer(text, size, "text", err));
    struct text t = {text != NULL ? text : "", size};
    *token = vocab_find(&model->vocab, t);
    return SLM_OK;
}

/* ---- Threads --------------------------------------------------------------------------------- */

static slm_threads_options api_threads_defaults(void)
{
    slm_threads_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.n_threads = SLM_AUTO;
    return o;
}

SLM_API int slm_threads_options_init(slm_threads_options *options, size_t size)
{
    slm_threads_options o = api_threads_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_threads_create(slm_threads **threads, const slm_threads_options *options,
                               slm_error *err)
{
    slm_threads_options o;
    error_clear(err);
    API_NEED(threads, "threads", err);
    *threads = NULL;
    API_OPTIONS(o, options, api_threads_defaults(), "thread options", err);
    return threads_create(threads, &o, err);
}

SLM_API void slm_threads_free(slm_threads *threads)
{
    threads_release(threads);
}

/* ---- Context --------------------------------------------------------------------------------- */

static slm_context_options api_context_defaults(void)
{
    slm_context_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.n_ctx = SLM_AUTO;
    o.n_sequences = 1;
    o.n_pages = SLM_AUTO;
    o.n_batch = 512;
    o.n_logits = SLM_AUTO;
    o.kv_type = SLM_KV_F16;
    o.n_threads = SLM_AUTO;
    o.max_bytes = UINT64_MAX;
    return o;
}

SLM_API int slm_context_options_init(slm_context_options *options, size_t size)
{
    slm_context_options o = api_context_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_plan_memory(const slm_model *model, const slm_context_options *options,
                            slm_plan *plan, slm_error *err)
{
    slm_context_options o;
    slm_plan ours;
    error_clear(err);
    API_NEED(model, "model", err);
    API_OPTIONS(o, options, api_context_defaults(), "context options", err);
    memset(&ours, 0, sizeof ours);
    /* Planning only reads the model; the context struct it fills has a pointer that is not const.
     */
    SLM_TRY(context_plan((struct slm_model *)(uintptr_t)model, &o, &ours, err));
    return struct_write(plan, &ours, sizeof ours, "plan", err);
}

SLM_API int slm_context_create(slm_context **context, slm_model *model,
                               const slm_context_options *options, slm_error *err)
{
    slm_context_options o;
    error_clear(err);
    API_NEED(context, "context", err);
    *context = NULL;
    API_NEED(model, "model", err);
    API_OPTIONS(o, options, api_context_defaults(), "context options", err);
    return context_create(context, model, &o, err);
}

SLM_API void slm_context_free(slm_context *context)
{
    context_release(context);
}

/* For the calls that only look and therefore do not enter: what they would see in a child is what
 * some thread of the parent was in the middle of. */
static int api_not_forked(const slm_context *context, slm_error *err)
{
    if (context->process_id != platform_process_id()) {
        SLM_FAIL(err, SLM_E_FORKED, -1, "the context was made before fork()");
    }
    return SLM_OK;
}

SLM_API int slm_context_get_info(const slm_context *context, slm_context_info *info, slm_error *err)
{
    slm_context_info o;
    error_clear(err);
    API_NEED(context, "context", err);
    SLM_TRY(api_not_forked(context, err));
    memset(&o, 0, sizeof o);
    o.n_ctx = context->n_ctx;
    o.n_sequences = context->cache.n_sequences;
    o.n_batch = context->n_batch;
    o.n_logits = context->n_logits;
    o.n_pages = context->cache.n_pages;
    o.n_pages_free = context->cache.n_free;
    o.n_threads = context->n_threads;
    o.heap_bytes = context->heap_bytes;
    return struct_write(info, &o, sizeof o, "info", err);
}

/* ---- Sequences ------------------------------------------------------------------------------- */

static int api_sequence(const slm_context *context, int32_t sequence, slm_error *err)
{
    if (sequence < 0 || sequence >= context->cache.n_sequences) {
        SLM_FAIL(err, SLM_E_ARGUMENT, sequence, "sequence %d: the context has %d", sequence,
                 context->cache.n_sequences);
    }
    return SLM_OK;
}

SLM_API int slm_sequence_length(const slm_context *context, int32_t sequence, int32_t *length,
                                slm_error *err)
{
    error_clear(err);
    API_NEED(context, "context", err);
    API_NEED(length, "length", err);
    SLM_TRY(api_not_forked(context, err));
    SLM_TRY(api_sequence(context, sequence, err));
    *length = context->cache.sequences[sequence].length;
    return SLM_OK;
}

SLM_API int slm_sequence_fork(slm_context *context, int32_t from, int32_t to, slm_error *err)
{
    error_clear(err);
    API_NEED(context, "context", err);
    SLM_TRY(api_sequence(context, from, err));
    SLM_TRY(api_sequence(context, to, err));
    SLM_TRY(context_enter(context, err));
    int status = context_check_free(context, to, err);
    if (status == SLM_OK) {
        cache_fork(&context->cache, from, to);
        states_fork(&context->states, from, to);
    }
    context_leave(context);
    return status;
}

/* The context is entered. */
static int api_rewind(slm_context *context, int32_t sequence, int32_t length, slm_error *err)
{
    int32_t now = context->cache.sequences[sequence].length;
    SLM_TRY(context_check_free(context, sequence, err));
    if (length < 0 || length > now) {
        SLM_FAIL(err, SLM_E_ARGUMENT, length,
                 "sequence %d cannot be rewound to %d: its length is %d", sequence, length, now);
    }
    if (!states_can_rewind(&context->states, sequence, now, length)) {
        SLM_FAIL(
            err, SLM_E_ARGUMENT, length,
            "sequence %d cannot be rewound from %d to %d: the model is recurrent, and there is "
            "no checkpoint",
            sequence, now, length);
    }
    states_rewind(&context->states, sequence, now, length);
    cache_rewind(&context->cache, sequence, length);
    return SLM_OK;
}

SLM_API int slm_sequence_rewind(slm_context *context, int32_t sequence, int32_t length,
                                slm_error *err)
{
    error_clear(err);
    API_NEED(context, "context", err);
    SLM_TRY(api_sequence(context, sequence, err));
    SLM_TRY(context_enter(context, err));
    int status = api_rewind(context, sequence, length, err);
    context_leave(context);
    return status;
}

SLM_API int slm_sequence_checkpoint(slm_context *context, int32_t sequence, int32_t index,
                                    slm_error *err)
{
    error_clear(err);
    API_NEED(context, "context", err);
    SLM_TRY(api_sequence(context, sequence, err));
    if (index < 0 || index >= context->states.n_checkpoints) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "checkpoint %d: a sequence of the context has %d",
                 index, context->states.n_checkpoints);
    }
    SLM_TRY(context_enter(context, err));
    states_checkpoint(&context->states, sequence, index, context->cache.sequences[sequence].length);
    context_leave(context);
    return SLM_OK;
}

/* ---- Evaluation ------------------------------------------------------------------------------ */

static slm_eval_options api_eval_defaults(void)
{
    slm_eval_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.deadline_ns = SLM_NO_DEADLINE;
    return o;
}

SLM_API int slm_eval_options_init(slm_eval_options *options, size_t size)
{
    slm_eval_options o = api_eval_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_eval(slm_context *context, slm_span *spans, int32_t n_spans, size_t span_size,
                     const slm_eval_options *options, slm_error *err)
{
    slm_eval_options o;
    struct eval_call e;
    error_clear(err);
    API_NEED(context, "context", err);
    API_OPTIONS(o, options, api_eval_defaults(), "eval options", err);
    if (o.reserved != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "eval options: reserved is %d, not 0", o.reserved);
    }
    SLM_TRY(context_enter(context, err));
    memset(&e, 0, sizeof e);
    e.c = context;
    e.spans = spans;
    e.n_spans = n_spans;
    e.span_size = span_size;
    e.options = &o;
    e.err = err;
    int status = eval_run(&e);
    context_leave(context);
    return status;
}

SLM_API int slm_logits(const slm_context *context, int32_t index, const float **logits,
                       int32_t *n_vocab, slm_error *err)
{
    error_clear(err);
    API_NEED(context, "context", err);
    API_NEED(logits, "logits", err);
    *logits = NULL;
    SLM_TRY(api_not_forked(context, err));
    int32_t i = index == -1 ? context->n_logits_valid - 1 : index;
    if (i < 0 || i >= context->n_logits_valid) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "logits %d: the last evaluation gave %d rows", index,
                 context->n_logits_valid);
    }
    *logits = context->logits + (int64_t)i * context->model->hparams.n_vocab;
    if (n_vocab != NULL) {
        *n_vocab = context->model->hparams.n_vocab;
    }
    return SLM_OK;
}

/* ---- Embeddings ------------------------------------------------------------------------------ */

static slm_embed_options api_embed_defaults(void)
{
    slm_embed_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.pooling = SLM_AUTO;
    o.deadline_ns = SLM_NO_DEADLINE;
    return o;
}

SLM_API int slm_embed_options_init(slm_embed_options *options, size_t size)
{
    slm_embed_options o = api_embed_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_embed(slm_context *context, const slm_embed_text *texts, int32_t n_texts,
                      size_t text_size, const slm_embed_options *options, float *rows,
                      size_t capacity, size_t *needed, slm_error *err)
{
    slm_embed_options o;
    struct embed_call e;
    error_clear(err);
    if (!PROFILE_EMBED) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                 "embeddings were left out of this build (SLM_NO_EMBED)");
    }
    API_NEED(context, "context", err);
    API_NEED(needed, "needed", err);
    *needed = 0;
    SLM_TRY(api_buffer(rows, capacity, "rows", err));
    API_OPTIONS(o, options, api_embed_defaults(), "embed options", err);
    if (o.reserved != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "embed options: reserved is %d, not 0", o.reserved);
    }
    SLM_TRY(context_enter(context, err));
    memset(&e, 0, sizeof e);
    e.c = context;
    e.texts = texts;
    e.n_texts = n_texts;
    e.text_size = text_size;
    e.options = &o;
    e.err = err;
    int status = embed_run(&e, rows, capacity, needed);
    context_leave(context);
    return status;
}

/* ---- Sampling -------------------------------------------------------------------------------- */

static slm_sampler_options api_sampler_defaults(void)
{
    slm_sampler_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    return o;
}

SLM_API int slm_sampler_options_init(slm_sampler_options *options, size_t size)
{
    slm_sampler_options o = api_sampler_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_sampler_create(slm_sampler **sampler, slm_model *model,
                               const slm_sampler_stage *stages, int32_t n_stages, size_t stage_size,
                               const slm_sampler_options *options, slm_error *err)
{
    slm_sampler_options o;
    error_clear(err);
    API_NEED(sampler, "sampler", err);
    *sampler = NULL;
    API_NEED(model, "model", err);
    API_OPTIONS(o, options, api_sampler_defaults(), "sampler options", err);
    if (o.reserved != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "sampler options: reserved is %d, not 0", o.reserved);
    }
    return sampler_make(sampler, model, stages, n_stages, stage_size, &o, err);
}

SLM_API void slm_sampler_free(slm_sampler *sampler)
{
    sampler_release(sampler);
}

static int api_sampler_enter(const slm_sampler *sampler, slm_error *err)
{
    /* A clone reads the original, which must stand still: the flag is all that is written. */
    if (!busy_enter(&((struct slm_sampler *)(uintptr_t)sampler)->busy)) {
        SLM_FAIL(err, SLM_E_BUSY, -1, "the sampler is in use by another call");
    }
    return SLM_OK;
}

static int api_sampler_leave(const slm_sampler *sampler, int status)
{
    busy_leave(&((struct slm_sampler *)(uintptr_t)sampler)->busy);
    return status;
}

SLM_API int slm_sampler_clone(slm_sampler **copy, const slm_sampler *sampler, slm_error *err)
{
    error_clear(err);
    API_NEED(copy, "copy", err);
    *copy = NULL;
    API_NEED(sampler, "sampler", err);
    SLM_TRY(api_sampler_enter(sampler, err));
    int status = sampler_clone(copy, sampler, err);
    if (status == SLM_OK) {
        model_retain((*copy)->model);
    }
    return api_sampler_leave(sampler, status);
}

SLM_API int slm_sample(slm_sampler *sampler, const float *logits, int32_t n_vocab, int32_t *token,
                       slm_error *err)
{
    error_clear(err);
    API_NEED(sampler, "sampler", err);
    API_NEED(logits, "logits", err);
    API_NEED(token, "token", err);
    *token = -1;
    SLM_TRY(api_sampler_enter(sampler, err));
    return api_sampler_leave(sampler, sampler_sample(sampler, logits, n_vocab, token, err));
}

SLM_API int slm_sampler_apply(slm_sampler *sampler, slm_candidate *candidates, int32_t *n,
                              slm_error *err)
{
    error_clear(err);
    API_NEED(sampler, "sampler", err);
    API_NEED(candidates, "candidates", err);
    API_NEED(n, "n", err);
    SLM_TRY(api_sampler_enter(sampler, err));
    return api_sampler_leave(sampler, sampler_apply(sampler, candidates, n, err));
}

SLM_API int slm_sampler_choose(slm_sampler *sampler, slm_candidate *candidates, int32_t n,
                               int32_t *token, slm_error *err)
{
    error_clear(err);
    API_NEED(sampler, "sampler", err);
    API_NEED(candidates, "candidates", err);
    API_NEED(token, "token", err);
    *token = -1;
    SLM_TRY(api_sampler_enter(sampler, err));
    return api_sampler_leave(sampler, sampler_choose(sampler, candidates, n, token, err));
}

SLM_API int slm_sampler_accept(slm_sampler *sampler, int32_t token, slm_error *err)
{
    error_clear(err);
    API_NEED(sampler, "sampler", err);
    SLM_TRY(api_sampler_enter(sampler, err));
    return api_sampler_leave(sampler, sampler_accept(sampler, token, err));
}

SLM_API int slm_sampler_rewind(slm_sampler *sampler, int32_t n, slm_error *err)
{
    error_clear(err);
    API_NEED(sampler, "sampler", err);
    SLM_TRY(api_sampler_enter(sampler, err));
    return api_sampler_leave(sampler, sampler_rewind(sampler, n, err));
}

/* ---- Generation ------------------------------------------------------------------------------ */

static slm_generate_options api_generate_defaults(void)
{
    slm_generate_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.flags = SLM_TEXT_BOS;
    o.max_tokens = SLM_AUTO;
    o.step_ns = SLM_NO_DEADLINE;
    return o;
}

SLM_API int slm_generate_options_init(slm_generate_options *options, size_t size)
{
    slm_generate_options o = api_generate_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_generate_begin(slm_generator **generator, slm_context *context, int32_t sequence,
                               slm_sampler *sampler, const char *prompt, size_t size,
                               const slm_generate_options *options, slm_error *err)
{
    slm_generate_options o;
    error_clear(err);
    API_NEED(generator, "generator", err);
    *generator = NULL;
    API_NEED(context, "context", err);
    SLM_TRY(api_buffer(prompt, size, "prompt", err));
    API_OPTIONS(o, options, api_generate_defaults(), "generate options", err);
    SLM_TRY(api_text_flags(o.flags, 0, err));
    SLM_TRY(api_sequence(context, sequence, err));
    SLM_TRY(context_enter(context, err));
    int status = context_check_free(context, sequence, err);
    if (status == SLM_OK) {
        status = generate_create(generator, context, sequence, sampler, prompt, size, &o, err);
    }
    context_leave(context);
    return status;
}

SLM_API int slm_generate_next(slm_generator *generator, slm_piece *piece, slm_error *err)
{
    slm_piece o;
    error_clear(err);
    API_NEED(generator, "generator", err);
    memset(&o, 0, sizeof o);
    SLM_TRY(struct_write(piece, &o, sizeof o, "piece", err));
    SLM_TRY(context_enter(generator->context, err));
    int status = api_sampler_enter(generator->sampler, err);
    if (status == SLM_OK) {
        status = api_sampler_leave(generator->sampler, generate_step(generator, &o, err));
    }
    context_leave(generator->context);
    SLM_TRY(status);
    return struct_write(piece, &o, sizeof o, "piece", err);
}

SLM_API int slm_generate_get_stats(const slm_generator *generator, slm_generate_stats *stats,
                                   slm_error *err)
{
    slm_generate_stats o;
    error_clear(err);
    API_NEED(generator, "generator", err);
    SLM_TRY(api_not_forked(generator->context, err));
    memset(&o, 0, sizeof o);
    o.n_prompt = generator->n_prompt + generator->n_healed;
    o.n_prompt_done = generator->n_prompt_done + generator->n_healed;
    o.n_generated = generator->n_generated;
    o.prompt_ns = generator->prompt_ns;
    o.generate_ns = generator->generate_ns;
    o.first_token_ns = generator->first_token_ns;
    o.n_reasoning = generator->n_kind[SLM_CHAT_REASONING];
    o.n_answer = generator->n_kind[SLM_CHAT_ANSWER];
    o.n_tool_calls = generator->n_kind[SLM_CHAT_TOOL_CALL];
    o.n_forced = generator->n_forced;
    return struct_write(stats, &o, sizeof o, "stats", err);
}

SLM_API void slm_generate_end(slm_generator *generator)
{
    if (generator != NULL) {
        generate_destroy(generator);
    }
}
