/* api_chat.c - the public functions of chat templates: check the arguments, then one call down. */

static slm_chat_template_options api_template_defaults(void)
{
    slm_chat_template_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.max_bytes = UINT64_MAX;
    return o;
}

SLM_API int slm_chat_template_options_init(slm_chat_template_options *options, size_t size)
{
    slm_chat_template_options o = api_template_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_chat_template_create(slm_chat_template **chat_template, const slm_model *model,
                                     const char *text, size_t size,
                                     const slm_chat_template_options *options, slm_error *err)
{
    slm_chat_template_options o;
    error_clear(err);
    API_NEED(chat_template, "chat_template", err);
    *chat_template = NULL;
    if (text == NULL && size != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "text is NULL, but size is %zu", size);
    }
    API_OPTIONS(o, options, api_template_defaults(), "chat template options", err);
    if (o.reserved != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "chat template options: reserved is %d, not 0",
                 o.reserved);
    }
    return chat_template_make(chat_template, model, text, size, &o, err);
}

SLM_API void slm_chat_template_free(slm_chat_template *chat_template)
{
    chat_template_release(chat_template);
}

SLM_API int slm_chat_builtin_find(int32_t index, const char *name, slm_chat_builtin *builtin,
                                  slm_error *err)
{
    slm_chat_builtin ours;
    error_clear(err);
    API_NEED(builtin, "builtin", err);
    for (int32_t i = 0; name != NULL && i < SLM_COUNT(builtin_table); i++) {
        if (api_same_name(builtin_table[i].name, name)) {
            index = i;
            name = NULL;
        }
    }
    if (name != NULL || index < 0 || index >= SLM_COUNT(builtin_table)) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, index, "no built-in chat template '%s' (%d)",
                 name != NULL ? name : "", index);
    }
    memset(&ours, 0, sizeof ours);
    ours.index = index;
    ours.name = builtin_table[index].name;
    ours.text = builtin_table[index].text;
    ours.size = string_length(ours.text);
    return struct_write(builtin, &ours, sizeof ours, "builtin", err);
}

static slm_chat_options api_chat_defaults(void)
{
    slm_chat_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.add_generation_prompt = 1;
    o.enable_thinking = SLM_AUTO;
    o.now = SLM_NO_DATE;
    return o;
}

SLM_API int slm_chat_options_init(slm_chat_options *options, size_t size)
{
    slm_chat_options o = api_chat_defaults();
    return struct_init(options, size, &o, sizeof o);
}

SLM_API int slm_chat_render(slm_chat_prompt **prompt, const slm_chat_template *chat_template,
                            const char *messages, size_t size, const slm_chat_options *options,
                            slm_error *err)
{
    slm_chat_options o;
    error_clear(err);
    API_NEED(prompt, "prompt", err);
    *prompt = NULL;
    API_NEED(chat_template, "chat_template", err);
    API_NEED(messages, "messages", err);
    API_OPTIONS(o, options, api_chat_defaults(), "chat options", err);
    if (o.reserved != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "chat options: reserved is %d, not 0", o.reserved);
    }
    if ((o.tools == NULL && o.tools_size != 0) || (o.extra == NULL && o.extra_size != 0)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "chat options: %s is NULL, but its size is not 0",
                 o.tools == NULL ? "tools" : "extra");
    }
    if (o.now != SLM_NO_DATE && (o.now < -LIMIT_DATE || o.now > LIMIT_DATE)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "chat options: now is %lld, which is no date here",
                 (long long)o.now);
    }
    /* Rendering changes nothing of a template but its allocator's counters, which are atomic. */
    struct slm_chat_template *mutable_template =
        (struct slm_chat_template *)(uintptr_t)chat_template;
    return chat_render(mutable_template, messages, size, &o, prompt, err);
}

SLM_API int slm_chat_prompt_get_info(const slm_chat_prompt *prompt, slm_chat_prompt_info *info,
                                     slm_error *err)
{
    slm_chat_prompt_info ours;
    error_clear(err);
    API_NEED(prompt, "prompt", err);
    memset(&ours, 0, sizeof ours);
    ours.n_segments = prompt->n_segments;
    ours.segments = prompt->segments;
    ours.segment_size = sizeof *prompt->segments;
    ours.text = prompt->text;
    ours.size = prompt->n_text;
    return struct_write(info, &ours, sizeof ours, "info", err);
}

SLM_API void slm_chat_prompt_free(slm_chat_prompt *prompt)
{
    if (prompt != NULL) {
        chat_prompt_destroy(prompt);
    }
}

SLM_API int slm_tokenize_segments(const slm_model *model, const slm_chat_segment *segments,
                                  int32_t n_segments, size_t segment_size, uint32_t flags,
                                  int32_t *tokens, size_t capacity, size_t *needed, slm_error *err)
{
    error_clear(err);
    API_NEED(needed, "needed", err);
    *needed = 0;
    API_NEED(model, "model", err);
    SLM_TRY(api_buffer(tokens, capacity, "tokens", err));
    if (n_segments < 0 || (n_segments > 0 && segments == NULL)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "n_segments is %d, or segments is NULL", n_segments);
    }
    if (segment_size < sizeof *segments || segment_size > LIMIT_STRUCT_BYTES) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "segment_size is %zu: sizeof(slm_chat_segment) is %zu",
                 segment_size, sizeof *segments);
    }
    if ((flags & ~SLM_TEXT_BOS) != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "flags %x: SLM_TEXT_BOS or 0 is expected", flags);
    }
    /* As in slm_tokenize. */
    struct memory *memory = api_model_memory(model);
    return chat_tokenize(&model->vocab, memory, segments, n_segments, segment_size, flags, tokens,
                         capacity, needed, err);
}
