/* api_output.c - the public functions for what a model answers in a chat: check the arguments, then
 * one call down. */

#define OUTPUT_CALL_DEFAULT ((uint64_t)1 << 20)

static slm_chat_output_options api_output_defaults(void)
{
    slm_chat_output_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.max_call_bytes = OUTPUT_CALL_DEFAULT;
    return o;
}

SLM_API int slm_chat_output_options_init(slm_chat_output_options *options, size_t size)
{
    slm_chat_output_options o = api_output_defaults();
    return struct_init(options, size, &o, sizeof o);
}

/* A style by its name; "" is none. */
static int api_find_reasoning(struct slm_chat_output *o, const char *name, slm_error *err)
{
    o->machine.reasoning = NULL;
    for (int32_t i = 0; i < SLM_COUNT(output_reasonings); i++) {
        if (api_same_name(output_reasonings[i].name, name)) {
            o->machine.reasoning = &output_reasonings[i];
        }
    }
    if (o->machine.reasoning == NULL && name[0] != 0) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "no style of reasoning is named '%s'", name);
    }
    return SLM_OK;
}

static int api_find_calls(struct slm_chat_output *o, const char *name, slm_error *err)
{
    o->machine.calls = NULL;
    for (int32_t i = 0; i < SLM_COUNT(output_calls_table); i++) {
        if (api_same_name(output_calls_table[i].name, name)) {
            o->machine.calls = &output_calls_table[i];
        }
    }
    if (o->machine.calls == NULL && name[0] != 0) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "no style of tool calls is named '%s'", name);
    }
    return SLM_OK;
}

static int api_output_tools(struct slm_chat_output *o, const slm_chat_output_options *options,
                            slm_error *err)
{
    struct text t = {options->tools, options->tools_size};
    struct chat c = chat_begin(&o->memory, err);
    struct value v;
    int status = t.n > 0 ? json_parse(&c, "tools", t, &v) : SLM_OK;
    if (status == SLM_OK && t.n > 0 && v.kind != VALUE_LIST) {
        status = error_set(err, SLM_E_ARGUMENT, 0, "tools: an array is expected, not %s",
                           value_kind_name(v));
    }
    chat_end(&c);
    if (status != SLM_OK || t.n == 0) {
        return status;
    }
    o->tools = (char *)memory_take(&o->memory, t.n);
    if (o->tools == NULL) {
        return memory_error(&o->memory, t.n, "tools", err);
    }
    memcpy(o->tools, t.s, t.n);
    o->n_tools = t.n;
    return SLM_OK;
}

static int api_output_fill(struct slm_chat_output *o, const slm_chat_template *chat_template,
                           const slm_chat_output_options *options, slm_error *err)
{
    if (chat_template != NULL) {
        SLM_TRY(probe_template(o, (struct slm_chat_template *)chat_template, err));
    }
    if (options->reasoning != NULL) {
        SLM_TRY(api_find_reasoning(o, options->reasoning, err));
    }
    if (options->tool_calls != NULL) {
        SLM_TRY(api_find_calls(o, options->tool_calls, err));
    }
    SLM_TRY(api_output_tools(o, options, err));
    output_reset(o, o->default_open);
    return SLM_OK;
}

SLM_API int slm_chat_output_create(slm_chat_output **output, const slm_chat_template *chat_template,
                                   const slm_chat_output_options *options, slm_error *err)
{
    slm_chat_output_options o;
    error_clear(err);
    API_NEED(output, "output", err);
    *output = NULL;
    API_OPTIONS(o, options, api_output_defaults(), "chat output options", err);
    if (o.reserved != 0 || (o.tools == NULL && o.tools_size != 0)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1,
                 "chat output options: reserved is %d, not 0, or tools is NULL and has a size",
                 o.reserved);
    }
    struct memory memory = memory_make(o.alloc, o.alloc_user, UINT64_MAX);
    struct slm_chat_output *made = (struct slm_chat_output *)memory_take(&memory, sizeof *made);
    if (made == NULL) {
        return memory_error(&memory, sizeof *made, "a chat output", err);
    }
    memset(made, 0, sizeof *made);
    made->memory = memory;
    made->max_call = o.max_call_bytes;
    output_reset(made, 0);
    int status = api_output_fill(made, chat_template, &o, err);
    if (status != SLM_OK) {
        output_destroy(made);
        return status;
    }
    *output = made;
    return SLM_OK;
}

SLM_API void slm_chat_output_free(slm_chat_output *output)
{
    if (output != NULL) {
        output_destroy(output);
    }
}

SLM_API int slm_chat_output_begin(slm_chat_output *output, const slm_chat_prompt *prompt,
                                  slm_error *err)
{
    error_clear(err);
    API_NEED(output, "output", err);
    output_reset(output,
                 prompt != NULL ? output_prompt_is_open(output, prompt) : output->default_open);
    return SLM_OK;
}

SLM_API int slm_chat_output_push(slm_chat_output *output, int32_t kind, const char *text,
                                 size_t size, slm_error *err)
{
    error_clear(err);
    API_NEED(output, "output", err);
    if (kind != SLM_PIECE_TEXT && kind != SLM_PIECE_SPECIAL && kind != SLM_PIECE_END) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "kind %d is none of SLM_PIECE_", kind);
    }
    if (text == NULL && size != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "text is NULL, but size is %zu", size);
    }
    return output_push(output, kind, text, size, err);
}

SLM_API int slm_chat_output_next(slm_chat_output *output, slm_chat_event *event, slm_error *err)
{
    slm_chat_event ours;
    error_clear(err);
    API_NEED(output, "output", err);
    API_NEED(event, "event", err);
    memset(&ours, 0, sizeof ours);
    SLM_TRY(struct_write(event, &ours, sizeof ours, "event", err)); /* before one is taken */
    SLM_TRY(output_next(output, &ours, err));
    return struct_write(event, &ours, sizeof ours, "event", err);
}

SLM_API int slm_chat_output_get_info(const slm_chat_output *output, slm_chat_output_info *info,
                                     slm_error *err)
{
    slm_chat_output_info ours;
    error_clear(err);
    API_NEED(output, "output", err);
    const struct output_machine *m = &output->machine;
    memset(&ours, 0, sizeof ours);
    ours.kind = m->kind;
    ours.reasoning = m->reasoning != NULL ? m->reasoning->name : "";
    ours.tool_calls = m->calls != NULL ? m->calls->name : "";
    ours.reasoning_open = m->reasoning != NULL ? m->reasoning->opens[0] : "";
    ours.reasoning_close = m->reasoning != NULL ? m->reasoning->close : "";
    return struct_write(info, &ours, sizeof ours, "info", err);
}
