/* chat.c - a compiled template, and a conversation rendered by it: text in segments, of which each
 * is the template's or content (value.c tells how it knows).
 *
 * A template is immutable once made, but for its allocator's counters and its count of references. */

struct slm_chat_template {
    struct memory memory;
    int32_t references;
    struct chat_block *blocks; /* of the tree */
    struct node *first;
    struct dict *tokens; /* bos_token and its kin, as the template sees them */
};

struct slm_chat_prompt {
    struct slm_chat_template *owner;
    uint64_t size; /* of this block: the struct, the segments, the text */
    int32_t n_segments;
    size_t n_text;
    slm_chat_segment *segments;
    char *text;
};

/* ---- Templates ------------------------------------------------------------------------------- */

static void chat_template_destroy(struct slm_chat_template *t)
{
    struct memory memory = t->memory;
    struct chat c = chat_begin(&memory, NULL);
    c.blocks = t->blocks;
    chat_end(&c);
    memory_give(&memory, t, sizeof *t);
}

static void chat_template_release(struct slm_chat_template *t)
{
    if (t != NULL && reference_drop(&t->references)) {
        chat_template_destroy(t);
    }
}

/* A variable that the template may write as a special token. It is copied. */
static int chat_add_token(struct chat *c, struct dict *d, const char *name, struct text t)
{
    struct builder b = builder_begin(c);
    struct value v;
    SLM_TRY(builder_bytes(&b, t.s, t.n, CHAT_TEMPLATE));
    SLM_TRY(value_build(&b, &v));
    return dict_push_text(c, d, name, v);
}

static int chat_add_tokens(struct chat *c, struct dict *d, const struct slm_model *model,
                           const slm_chat_template_options *o)
{
    if (model != NULL) {
        const struct vocab *v = &model->vocab;
        const struct {
            const char *name;
            int32_t token;
        } rows[] = {{"bos_token", v->bos},
                    {"eos_token", v->eos},
                    {"unk_token", v->unk},
                    {"pad_token", v->pad}};
        for (int32_t i = 0; i < SLM_COUNT(rows); i++) {
            if (vocab_has(v, rows[i].token)) {
                SLM_TRY(chat_add_token(c, d, rows[i].name, vocab_text(v, rows[i].token)));
            }
        }
    }
    if (o->bos_token != NULL) {
        SLM_TRY(chat_add_token(c, d, "bos_token", text_of(o->bos_token)));
    }
    if (o->eos_token != NULL) {
        SLM_TRY(chat_add_token(c, d, "eos_token", text_of(o->eos_token)));
    }
    return dict_finish(c, d);
}

static int chat_compile(struct slm_chat_template *t, const struct slm_model *model,
                        struct text text, const slm_chat_template_options *o, slm_error *err)
{
    struct chat c = chat_begin(&t->memory, err);
    int status = dict_make(&c, &t->tokens);
    if (status == SLM_OK) {
        status = chat_add_tokens(&c, t->tokens, model, o);
    }
    if (status == SLM_OK) {
        status = parse_template(&c, text, &t->first);
    }
    t->blocks = c.blocks;
    return status;
}

static int chat_template_make(struct slm_chat_template **out, const struct slm_model *model,
                              const char *text, size_t size, const slm_chat_template_options *o,
                              slm_error *err)
{
    struct memory memory = memory_make(o->alloc, o->alloc_user, o->max_bytes);
    struct text t = {text, size};
    if (text == NULL && (model == NULL || model->chat_template == NULL)) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                 "%s: give a text, such as one of slm_chat_builtin_find",
                 model == NULL ? "neither a model nor a text" : "the file has no chat template");
    }
    if (text == NULL) {
        t = text_of(model->chat_template);
    }
    if (t.n > LIMIT_TEMPLATE_BYTES) {
        SLM_FAIL(err, SLM_E_TEMPLATE, -1, "a template of %zu bytes: at most %u", t.n,
                 LIMIT_TEMPLATE_BYTES);
    }
    struct slm_chat_template *made = (struct slm_chat_template *)memory_take(&memory, sizeof *made);
    if (made == NULL) {
        return memory_error(&memory, sizeof *made, "a chat template", err);
    }
    memset(made, 0, sizeof *made);
    made->memory = memory;
    made->references = 1;
    int status = chat_compile(made, model, t, o, err);
    if (status != SLM_OK) {
        chat_template_destroy(made);
        return status;
    }
    *out = made;
    return SLM_OK;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

/* A message's role decides what the template writes, and some write it into a special token: '<|' +
 * role + '|>'. These names are the library's own text wherever they come from; any other role is
 * content like everything else. */
static const char *const chat_roles[] = {"system",   "user",    "assistant",   "tool", "developer",
                                         "function", "ipython", "observation", "model"};

static int chat_trust_roles(struct chat *c, struct value messages)
{
    for (uint32_t i = 0; value_is_list(messages) && i < messages.u.l->n; i++) {
        struct value m = messages.u.l->items[i];
        for (uint32_t k = 0; m.kind == VALUE_DICT && k < m.u.d->n; k++) {
            struct entry *e = &m.u.d->entries[k];
            for (int32_t r = 0; value_is_text(e->key, "role") && r < SLM_COUNT(chat_roles); r++) {
                if (value_is_text(e->value, chat_roles[r])) {
                    const struct str *s;
                    SLM_TRY(str_wrap(c, text_of(chat_roles[r]), CHAT_TEMPLATE, &s));
                    e->value = value_string(s);
                }
            }
        }
    }
    return SLM_OK;
}

static int chat_add_json(struct chat *c, struct dict *d, const char *name, const char *text,
                         size_t size)
{
    struct text t = {text, size};
    struct value v;
    SLM_TRY(json_parse(c, name, t, &v));
    return dict_push_text(c, d, name, v);
}

/* All members of an object become variables. */
static int chat_add_object(struct chat *c, struct dict *d, const char *what, const char *text,
                           size_t size, int32_t kind)
{
    struct text t = {text, size};
    struct value v;
    SLM_TRY(json_parse(c, what, t, &v));
    if (kind == VALUE_LIST && v.kind == VALUE_LIST) {
        return dict_push_text(c, d, "messages", v);
    }
    if (v.kind != VALUE_DICT) {
        return error_set(c->err, SLM_E_ARGUMENT, 0, "%s: an object%s is expected, not %s", what,
                         kind == VALUE_LIST ? " or an array of messages" : "", value_kind_name(v));
    }
    for (uint32_t i = 0; i < v.u.d->n; i++) {
        SLM_TRY(dict_push(c, d, v.u.d->entries[i].key, v.u.d->entries[i].value));
    }
    return SLM_OK;
}

static int chat_inputs(struct chat *c, const struct slm_chat_template *t, const char *messages,
                       size_t size, const slm_chat_options *o, struct dict *d)
{
    struct value found;
    for (uint32_t i = 0; i < t->tokens->n; i++) {
        SLM_TRY(dict_push(c, d, t->tokens->entries[i].key, t->tokens->entries[i].value));
    }
    SLM_TRY(dict_push_text(c, d, "add_generation_prompt", value_bool(o->add_generation_prompt)));
    if (o->enable_thinking != SLM_AUTO) {
        SLM_TRY(dict_push_text(c, d, "enable_thinking", value_bool(o->enable_thinking)));
    }
    if (o->reasoning_effort != NULL) {
        struct value v;
        SLM_TRY(value_text(c, o->reasoning_effort, &v));
        SLM_TRY(dict_push_text(c, d, "reasoning_effort", v));
    }
    if (o->tools != NULL) {
        SLM_TRY(chat_add_json(c, d, "tools", o->tools, o->tools_size));
    }
    SLM_TRY(chat_add_object(c, d, "messages", messages, size, VALUE_LIST));
    if (o->extra != NULL) {
        SLM_TRY(chat_add_object(c, d, "extra", o->extra, o->extra_size, VALUE_DICT));
    }
    SLM_TRY(dict_finish(c, d));
    SLM_TRY(dict_find_text(c, d, text_of("messages"), &found));
    if (found.kind != VALUE_LIST) {
        return error_set(c->err, SLM_E_ARGUMENT, -1, "messages: an array is expected, not %s",
                         value_kind_name(found));
    }
    return chat_trust_roles(c, found);
}

/* ---- Rendering ------------------------------------------------------------------------------- */

/* The end of the run of equal marks that begins at `at`. */
static uint32_t chat_run(const struct str *s, uint32_t at)
{
    uint32_t end = s->n;
    if (s->marks != NULL) {
        for (end = at + 1; end < s->n && s->marks[end] == s->marks[at]; end++) {
        }
    }
    return end;
}

/* Its memory counts as the template's: alternating bytes have a segment each. */
static int chat_prompt_make(struct chat *c, struct slm_chat_template *t, const struct str *s,
                            struct slm_chat_prompt **out)
{
    uint32_t n = 0;
    for (uint32_t at = 0; at < s->n; at = chat_run(s, at)) {
        n++;
    }
    uint64_t head = (sizeof(struct slm_chat_prompt) + 15) & ~(uint64_t)15;
    uint64_t size = head + (uint64_t)n * sizeof(slm_chat_segment) + s->n;
    SLM_TRY(chat_allow(c, size));
    struct slm_chat_prompt *p = (struct slm_chat_prompt *)memory_take(&t->memory, size);
    if (p == NULL) {
        return memory_error(&t->memory, size, "a prompt", c->err);
    }
    memset(p, 0, (size_t)head);
    p->size = size;
    p->segments = (slm_chat_segment *)((uint8_t *)p + head);
    p->text = (char *)(p->segments + n);
    p->n_segments = (int32_t)n;
    p->n_text = s->n;
    if (s->n > 0) {
        memcpy(p->text, s->s, s->n);
    }
    n = 0;
    for (uint32_t at = 0; at < s->n; at = chat_run(s, at)) {
        slm_chat_segment *segment = &p->segments[n++];
        memset(segment, 0, sizeof *segment);
        segment->struct_size = sizeof *segment;
        segment->kind =
            str_mark(s, at) == CHAT_TEMPLATE ? SLM_SEGMENT_TEMPLATE : SLM_SEGMENT_CONTENT;
        segment->text = p->text + at;
        segment->size = chat_run(s, at) - at;
    }
    reference_add(&t->references);
    p->owner = t;
    *out = p;
    return SLM_OK;
}

static void chat_prompt_destroy(struct slm_chat_prompt *p)
{
    struct slm_chat_template *owner = p->owner;
    memory_give(&owner->memory, p, p->size);
    chat_template_release(owner);
}

static int chat_run_template(struct jinja *j, const struct slm_chat_template *t,
                             const char *messages, size_t size, const slm_chat_options *o,
                             const struct str **out)
{
    struct dict *names;
    struct builder b = builder_begin(&j->c);
    struct scope *inner;
    SLM_TRY(dict_make(&j->c, &names));
    SLM_TRY(chat_inputs(&j->c, t, messages, size, o, names));
    SLM_TRY(scope_make(j, NULL, &j->globals));
    j->globals->names = names;
    j->now = o->now;
    SLM_TRY(scope_make(j, j->globals, &inner));
    SLM_TRY(jinja_exec(j, inner, t->first, &b));
    SLM_TRY(chat_work(&j->c, 1)); /* a search may have used the last one */
    return builder_end(&b, out);
}

static int chat_render(struct slm_chat_template *t, const char *messages, size_t size,
                       const slm_chat_options *o, struct slm_chat_prompt **out, slm_error *err)
{
    struct jinja j;
    const struct str *text = NULL;
    memset(&j, 0, sizeof j);
    j.c = chat_begin(&t->memory, err);
    int status = chat_run_template(&j, t, messages, size, o, &text);
    if (status == SLM_OK) {
        status = chat_prompt_make(&j.c, t, text, out);
    }
    chat_end(&j.c);
    return status;
}

/* ---- Segments to tokens ---------------------------------------------------------------------- */

/* The text of all segments, and a mark for each byte of it. */
static int chat_join(struct memory *m, const slm_chat_segment *segments, int32_t n, size_t stride,
                     struct text *text, uint8_t **block, slm_error *err)
{
    uint64_t size = 0;
    slm_chat_segment s;
    memset(&s, 0, sizeof s);
    for (int32_t i = 0; i < n; i++) {
        memcpy(&s, (const uint8_t *)segments + (size_t)i * stride, sizeof s);
        if ((s.kind != SLM_SEGMENT_TEMPLATE && s.kind != SLM_SEGMENT_CONTENT) ||
            (s.text == NULL && s.size > 0)) {
            SLM_FAIL(err, SLM_E_ARGUMENT, i, "segment %d has kind %d, or no text", i, s.kind);
        }
        if (s.size > LIMIT_TEXT_BYTES || size + s.size > LIMIT_TEXT_BYTES) {
            SLM_FAIL(err, SLM_E_ARGUMENT, i,
                     "segments of more than %zu bytes: at most that are tokenised at once",
                     LIMIT_TEXT_BYTES);
        }
        size += s.size;
    }
    uint8_t *p = (uint8_t *)memory_take(m, 2 * size);
    if (p == NULL) {
        return memory_error(m, 2 * size, "segments", err);
    }
    *block = p;
    text->s = (const char *)p;
    text->n = (size_t)size;
    for (int32_t i = 0; i < n; i++) {
        memcpy(&s, (const uint8_t *)segments + (size_t)i * stride, sizeof s);
        if (s.size > 0) {
            memcpy(p, s.text, s.size);
            memset(p + size, s.kind == SLM_SEGMENT_CONTENT, s.size);
            p += s.size;
        }
    }
    return SLM_OK;
}

static int chat_tokenize(const struct vocab *v, struct memory *m, const slm_chat_segment *segments,
                         int32_t n, size_t stride, uint32_t flags, int32_t *tokens, size_t capacity,
                         size_t *needed, slm_error *err)
{
    struct text text = {NULL, 0};
    uint8_t *block = NULL;
    SLM_TRY(tokenizer_check(v, err));
    SLM_TRY(chat_join(m, segments, n, stride, &text, &block, err));
    int status = tokenize_marked(v, m, text, block + text.n, flags, tokens, capacity, needed, err);
    memory_give(m, block, 2 * (uint64_t)text.n);
    return status;
}
