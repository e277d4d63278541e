/* model.c - a model: opening files, reading what they say, binding (src/bind.c), counting references.
 */

/* Angles, once the tensors that divide frequencies are there. */
static void model_fill_ropes(struct slm_model *m)
{
    const struct globals *g = &m->globals;
    const float *divisors = g->rope_freqs != NULL ? g->rope_freqs : g->rope_factors_short;
    const float *divisors_long = g->rope_freqs != NULL ? g->rope_freqs : g->rope_factors_long;
    rope_frequencies(&m->hparams, divisors, &m->ropes[MODEL_ROPE_GLOBAL]);
    rope_frequencies(&m->hparams, divisors_long, &m->ropes[MODEL_ROPE_LONG]);
    if (PROFILE_MORE && m->hparams.rope_base_local > 0) {
        rope_local_frequencies(&m->hparams, &m->ropes[MODEL_ROPE_LOCAL]);
    }
}

/* Floats of an embedding. */
static int64_t model_width(const struct slm_model *m)
{
    const struct globals *g = &m->globals;
    return !PROFILE_EMBED         ? 0
           : g->dense_3.n_out > 0 ? g->dense_3.n_out
           : g->dense_2.n_out > 0 ? g->dense_2.n_out
                                  : m->hparams.n_embd;
}

/* 0: there is no classifier. */
static int64_t model_classifier_outputs(const struct slm_model *m)
{
    return m->globals.cls_output.n_out > 0 ? m->globals.cls_output.n_out : m->globals.cls.n_out;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* n_vocab: rows of the embedding. A vocabulary may be shorter (padding rows), never longer. */
static int model_read_vocab_size(struct slm_model *m, slm_error *err)
{
    const struct gguf_tensor *t = gguf_find_tensor(&m->gguf, text_of("token_embd.weight"));
    if (t == NULL) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "tensor 'token_embd.weight' is missing");
    }
    if (t->shape[1] < m->vocab.n_token || t->shape[1] > LIMIT_VOCABULARY) {
        SLM_FAIL(err, SLM_E_MODEL, (int64_t)t->offset,
                 "tensor 'token_embd.weight' has %lld rows for a vocabulary of %d tokens",
                 (long long)t->shape[1], m->vocab.n_token);
    }
    m->hparams.n_vocab = (int32_t)t->shape[1];
    return SLM_OK;
}

/* Does the family have layers of this size? */
static int model_has_dim(const struct slm_arch *arch, enum arch_dim dim)
{
    for (int32_t i = 0; i < arch->n_layer; i++) {
        if (arch->layer[i].in == dim || arch->layer[i].out == dim) {
            return 1;
        }
    }
    return 0;
}

/* A layer has an ordinary feed-forward or experts: what the family has a place for. */
static int model_check_experts(const struct slm_model *m, slm_error *err)
{
    const struct hparams *h = &m->hparams;
    if (h->n_expert == 0 && !model_has_dim(m->arch, DIM_FF) &&
        model_has_dim(m->arch, DIM_EXPERTS)) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "key '%s.expert_count' is missing or 0", m->arch->name);
    }
    if (h->n_expert > 0 && (!PROFILE_EXPERTS || !model_has_dim(m->arch, DIM_EXPERTS))) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                 "the model is a mixture of %d experts, which this version cannot run for "
                 "'%s'" PROFILE_NO_EXPERTS,
                 h->n_expert, m->arch->name);
    }
    if (PROFILE_EXPERTS && h->n_expert > 0 && h->n_ff_expert < 1) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "the experts have feed_forward_length %d", h->n_ff_expert);
    }
    return SLM_OK;
}

static int model_configure(struct slm_model *m, struct text family, slm_error *err)
{
    struct config config = {&m->gguf, family, err};
    m->arch = arch_find(family);
    if (m->arch == NULL) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "model family '%.*s' is not known" PROFILE_NO_FAMILY,
                 text_width(family), family.s);
    }
    SLM_TRY(config_read(&config, m->arch->norm, &m->hparams));
    SLM_TRY(model_read_vocab_size(m, err));
    m->hparams.act = m->arch->act;
    if (m->arch->configure != NULL) {
        SLM_TRY(m->arch->configure(&config, &m->hparams));
    }
    return model_check_experts(m, err);
}

/* Tensors that files have and engines make no use of. */
static const char *const model_idle_tensors[] = {
    "rope_freqs.weight", /* where the family does not divide frequencies */
    ".attn_rot_embd.weight", ".rotary_emb.inv_freq", ".input_scale", /* for activations of 4 bits */
};

static int text_ends(struct text t, struct text end)
{
    return t.n >= end.n && memcmp(t.s + (t.n - end.n), end.s, end.n) == 0;
}

/* Is this, without "blk.N.", a tensor that some layer of the family has, or one of its parts? */
static int model_is_of_layer(const struct slm_arch *arch, struct text name)
{
    for (int32_t i = 0; i < arch->n_layer; i++) {
        struct text row = text_of(arch->layer[i].name);
        if (name.n >= row.n && memcmp(name.s, row.s, row.n) == 0 &&
            (name.n == row.n || name.s[row.n] == '.')) {
            return 1;
        }
    }
    return 0;
}

/* N of "blk.N.", and what follows it; -1 for other names. */
static int32_t model_block_of(struct text name, struct text *rest)
{
    int32_t block = 0;
    size_t at = 4;
    if (name.n < at || memcmp(name.s, "blk.", at) != 0) {
        return -1;
    }
    while (at < name.n && at < 10 && name.s[at] >= '0' && name.s[at] <= '9') {
        block = 10 * block + (name.s[at++] - '0');
    }
    if (at == 4 || at == name.n || name.s[at] != '.') {
        return -1;
    }
    rest->s = name.s + at + 1;
    rest->n = name.n - at - 1;
    return block;
}

/* Layers may leave out what others of the family have; blocks behind the layers are not used yet. */
static int model_is_idle(const struct slm_model *m, struct text name)
{
    struct text rest = {NULL, 0};
    int32_t block = model_block_of(name, &rest);
    for (size_t i = 0; i < sizeof model_idle_tensors / sizeof model_idle_tensors[0]; i++) {
        if (text_ends(name, text_of(model_idle_tensors[i]))) {
            return 1;
        }
    }
    return block >= 0 && block < m->hparams.n_block &&
           (block >= m->hparams.n_layer || model_is_of_layer(m->arch, rest));
}

/* A tensor that was not bound may be a norm, a bias or a scale: without it results are wrong. */
static int model_check_surplus(const struct slm_model *m, const uint8_t *used, slm_error *err)
{
    uint64_t n = 0, first = 0;
    for (uint64_t i = m->gguf.n_tensors; i-- > 0;) {
        if (!used[i] && !model_is_idle(m, gguf_tensor_name(&m->gguf, i))) {
            n++;
            first = i;
        }
    }
    if (n == 0) {
        return SLM_OK;
    }
    struct text name = gguf_tensor_name(&m->gguf, first);
    if ((m->flags & SLM_LOAD_SURPLUS) == 0) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, (int64_t)m->gguf.tensors[first].offset,
                 "%llu tensors are not known to family '%s', the first is '%.*s' "
                 "(SLM_LOAD_SURPLUS ignores them)",
                 (unsigned long long)n, m->arch->name, text_width(name), name.s);
    }
    model_log(m, SLM_LOG_WARN, "%llu tensors are not known to family '%s', the first is '%.*s'",
              (unsigned long long)n, m->arch->name, text_width(name), name.s);
    return SLM_OK;
}

static void model_count(struct slm_model *m)
{
    for (uint64_t i = 0; i < m->gguf.n_tensors; i++) {
        const struct gguf_tensor *t = &m->gguf.tensors[i];
        m->n_parameters += (uint64_t)t->shape[0] * (uint64_t)t->shape[1] * (uint64_t)t->shape[2] *
                           (uint64_t)t->shape[3];
        m->weight_bytes += t->size;
    }
    for (int32_t i = 0; i < m->gguf.n_parts; i++) {
        if (m->gguf.parts[i].source.is_mapped) {
            m->mapped_bytes += m->gguf.parts[i].source.size;
        }
    }
}

/* Measures, takes the block, binds. With SLM_LOAD_METADATA only the strings are bound, and what a
 * full load would have taken is remembered for the plan. */
static int model_bind(struct slm_model *m, struct binder *b, struct text family)
{
    int metadata_only = (m->flags & SLM_LOAD_METADATA) != 0;
    slm_error *err = b->err;
    int status = model_configure(m, family, metadata_only ? &m->unbound : err);
    bind_strings(b, family);
    uint64_t strings = b->arena.used;
    if (status == SLM_OK) {
        b->err = metadata_only ? &m->unbound : err;
        status = bind_tensors(b, family);
        b->err = err;
    }
    if (status == SLM_OK && b->arena.overflow) {
        status = error_set(metadata_only ? &m->unbound : err, SLM_E_MODEL, -1,
                           "the tensors are too large for this machine");
    }
    if (status != SLM_OK && !metadata_only) {
        return status;
    }
    m->is_bound = status == SLM_OK;
    m->block_planned = b->arena.used;
    uint64_t bytes = metadata_only ? strings : m->block_planned;
    m->block = (uint8_t *)memory_take(&m->memory, bytes);
    if (m->block == NULL) {
        return memory_error(&m->memory, bytes, "model", err);
    }
    m->block_bytes = bytes;
    platform_prefer_large_pages(&m->memory, m->block, bytes);
    memset(&b->arena, 0, sizeof b->arena);
    b->arena.base = m->block;
    bind_strings(b, family);
    if (metadata_only) {
        return SLM_OK;
    }
    SLM_TRY(bind_tensors(b, family));
    model_fill_ropes(m);
    return model_check_surplus(m, b->used, err);
}

static int model_finish(struct slm_model *m, const slm_model_options *options, slm_error *err)
{
    struct text family = {NULL, 0};
    struct binder b;
    if (gguf_find_text(&m->gguf, "general.architecture", &family) != 1) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "key 'general.architecture' is missing or no string");
    }
    SLM_TRY(vocab_load(&m->vocab, &m->gguf, &m->memory, err));
    if (m->vocab.pre_status == SLM_PRE_UNKNOWN || m->vocab.pre_status == SLM_PRE_MISSING) {
        model_log(
            m, SLM_LOG_WARN,
            m->vocab.pre_status == SLM_PRE_UNKNOWN
                ? "unknown pre-tokenizer '%.*s': the default one is used, text may be split "
                  "wrongly"
                : "no key tokenizer.ggml.pre%.*s: the default pre-tokenizer is used, text may "
                  "be split wrongly",
            text_width(m->vocab.pre), m->vocab.pre.s);
    }
    if (m->vocab.ignored_key != NULL) {
        model_log(m, SLM_LOG_WARN, "key '%s' names no token of the vocabulary and is ignored",
                  m->vocab.ignored_key);
    }
    kernels_init(&m->kernels, options->cpu);
    model_count(m);
    memset(&b, 0, sizeof b);
    b.model = m;
    b.options = options;
    b.err = err;
    uint64_t flags_bytes = m->gguf.n_tensors;
    b.used = (uint8_t *)memory_take(&m->memory, flags_bytes);
    if (b.used == NULL) {
        return memory_error(&m->memory, flags_bytes, "tensor flags", err);
    }
    memset(b.used, 0, (size_t)flags_bytes);
    int status = model_bind(m, &b, family);
    memory_give(&m->memory, b.used, flags_bytes);
    for (int32_t i = 0; i < m->gguf.n_parts; i++) {
        source_close_file(&m->gguf.parts[i].source);
    }
    /* The plan is what opening took, not what tokenising takes later. */
    uint64_t full =
        atomic_load_size(&m->memory.used) - m->block_bytes + m->block_planned + flags_bytes;
    uint64_t peak = atomic_load_size(&m->memory.peak);
    m->planned_bytes = peak > full ? peak : full;
    return status;
}

/* Frees what there is, at any stage of opening. */
static void model_destroy(struct slm_model *m)
{
    struct memory memory = m->memory;
    memory_give(&memory, m->block, m->block_bytes);
    vocab_free(&m->vocab, &memory);
    gguf_free(&m->gguf, &memory);
    memory_give(&memory, m, sizeof *m);
}

static void model_retain(struct slm_model *m)
{
    reference_add(&m->references);
}

static void model_release(struct slm_model *m)
{
    if (m != NULL && reference_drop(&m->references)) {
        model_destroy(m);
    }
}

/* An empty model that owns room for n_parts sources. */
static int model_new(struct slm_model **out, const slm_model_options *o, slm_error *err)
{
    struct memory memory = memory_make(o->alloc, o->alloc_user, o->max_bytes);
    struct slm_model *m = (struct slm_model *)memory_take(&memory, sizeof *m);
    if (m == NULL) {
        return memory_error(&memory, sizeof *m, "model", err);
    }
    memset(m, 0, sizeof *m);
    m->memory = memory;
    m->references = 1;
    m->flags = o->flags;
    m->log = o->log;
    m->log_user = o->log_user;
    *out = m;
    return SLM_OK;
}

static int model_take_parts(struct slm_model *m, int32_t n_parts, slm_error *err)
{
    uint64_t bytes = (uint64_t)n_parts * sizeof(struct gguf_part);
    struct gguf_part *parts = (struct gguf_part *)memory_take(&m->memory, bytes);
    if (parts == NULL) {
        return memory_error(&m->memory, bytes, "file table", err);
    }
    memset(parts, 0, (size_t)bytes);
    if (m->gguf.n_parts > 0) {
        memcpy(parts, m->gguf.parts, (size_t)m->gguf.n_parts * sizeof(struct gguf_part));
        memory_give(&m->memory, m->gguf.parts,
                    (uint64_t)m->gguf.n_parts * sizeof(struct gguf_part));
    }
    m->gguf.parts = parts;
    m->gguf.n_parts = n_parts;
    return SLM_OK;
}

/* Reads all parts whose sources are open, then binds. Part 0 may have been read before. */
static int model_read(struct slm_model *m, const slm_model_options *options, slm_error *err)
{
    for (int32_t i = 1; PROFILE_SPLIT && i < m->gguf.n_parts; i++) {
        SLM_TRY(gguf_read_shard(&m->gguf, i, &m->memory, err));
    }
    SLM_TRY(gguf_finish(&m->gguf, &m->memory, err));
    return model_finish(m, options, err);
}

/* Opens the files of a split model beside the first. `path` is a scratch copy. */
static int model_open_shards(struct slm_model *m, char *path, size_t size, int32_t n_files,
                             slm_error *err)
{
    if (!gguf_split_name(path, size, 1, n_files)) {
        SLM_FAIL(err, SLM_E_FORMAT, -1,
                 "the model is split into %d files, but this one is not named "
                 "NAME-00001-of-%s%d.gguf",
                 n_files,
                 n_files < 10     ? "0000"
                 : n_files < 100  ? "000"
                 : n_files < 1000 ? "00"
                                  : "0",
                 n_files);
    }
    SLM_TRY(model_take_parts(m, n_files, err));
    for (int32_t i = 1; i < n_files; i++) {
        gguf_split_name(path, size, i, n_files);
        SLM_TRY(source_open(&m->gguf.parts[i].source, path, (m->flags & SLM_LOAD_READ) == 0, err));
    }
    return SLM_OK;
}

static int model_open_path(struct slm_model *m, const char *path, const slm_model_options *options,
                           slm_error *err)
{
    int32_t n_files = 1;
    size_t size = string_length(path);
    if (!PROFILE_FILES) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "slm was built without files (SLM_NO_FILES)");
    }
    SLM_TRY(model_take_parts(m, 1, err));
    SLM_TRY(source_open(&m->gguf.parts[0].source, path, (m->flags & SLM_LOAD_READ) == 0, err));
    SLM_TRY(gguf_read_part(&m->gguf, &m->gguf.parts[0], &m->memory, err));
    SLM_TRY(gguf_split_count(&m->gguf, &n_files, err));
    if (!PROFILE_SPLIT && n_files > 1) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, n_files,
                 "the model is split into %d files, which this build does not read (SLM_NO_SPLIT)",
                 n_files);
    }
    if (n_files > 1) {
        char *copy = (char *)memory_take(&m->memory, size + 1);
        if (copy == NULL) {
            return memory_error(&m->memory, size + 1, "path", err);
        }
        memcpy(copy, path, size + 1);
        int status = model_open_shards(m, copy, size, n_files, err);
        memory_give(&m->memory, copy, size + 1);
        SLM_TRY(status);
    }
    return model_read(m, options, err);
}

/* Sources other than files: the caller names all parts. */
static int model_open_parts(struct slm_model *m, const slm_model_options *options, slm_error *err)
{
    int32_t n_files = m->gguf.n_parts;
    int32_t wanted = 1;
    SLM_TRY(gguf_read_part(&m->gguf, &m->gguf.parts[0], &m->memory, err));
    SLM_TRY(gguf_split_count(&m->gguf, &wanted, err));
    if (wanted != n_files) {
        SLM_FAIL(err, SLM_E_ARGUMENT, n_files, "the model consists of %d files, not %d", wanted,
                 n_files);
    }
    return model_read(m, options, err);
}
