/* no_chat.c - what stands for templates under SLM_NO_CHAT: their public functions refuse. */

static int no_chat(slm_error *err)
{
    SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
             "chat templates were left out of this build (SLM_NO_CHAT)");
}

SLM_API int slm_chat_template_options_init(slm_chat_template_options *options, size_t size)
{
    (void)options;
    (void)size;
    return no_chat(NULL);
}

SLM_API int slm_chat_template_create(slm_chat_template **chat_template, const slm_model *model,
                                     const char *text, size_t size,
                                     const slm_chat_template_options *options, slm_error *err)
{
    (void)chat_template;
    (void)model;
    (void)text;
    (void)size;
    (void)options;
    return no_chat(err);
}

SLM_API void slm_chat_template_free(slm_chat_template *chat_template)
{
    (void)chat_template;
}

SLM_API int slm_chat_builtin_find(int32_t index, const char *name, slm_chat_builtin *builtin,
                                  slm_error *err)
{
    (void)index;
    (void)name;
    (void)builtin;
    return no_chat(err);
}

SLM_API int slm_chat_options_init(slm_chat_options *options, size_t size)
{
    (void)options;
    (void)size;
    return no_chat(NULL);
}

SLM_API int slm_chat_render(slm_chat_prompt **prompt, const slm_chat_template *chat_template,
                            const char *messages, size_t size, const slm_chat_options *options,
                            slm_error *err)
{
    (void)chat_template;
    (void)messages;
    (void)size;
    (void)options;
    (void)prompt;
    return no_chat(err);
}

SLM_API int slm_chat_prompt_get_info(const slm_chat_prompt *prompt, slm_chat_prompt_info *info,
                                     slm_error *err)
{
    (void)prompt;
    (void)info;
    return no_chat(err);
}

SLM_API void slm_chat_prompt_free(slm_chat_prompt *prompt)
{
    (void)prompt;
}

SLM_API int slm_tokenize_segments(const slm_model *model, const slm_chat_segment *segments,
                                  int32_t n_segments, size_t segment_size, uint32_t flags,
                                  int32_t *tokens, size_t capacity, size_t *needed, slm_error *err)
{
    (void)model;
    (void)segments;
    (void)n_segments;
    (void)segment_size;
    (void)flags;
    (void)tokens;
    (void)capacity;
    (void)needed;
    return no_chat(err);
}
