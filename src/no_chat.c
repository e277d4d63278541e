/* no_chat.c - what stands for src/chat/ under SLM_NO_CHAT: the public functions of templates and
 * answers refuse, and generation, which follows an answer where it is given one, never is. */

#define CALL_BAD 2

struct output_reasoning {
    const char *force;
};

struct output_machine {
    const struct output_reasoning *reasoning;
    int32_t kind;
};

static void output_track(const struct slm_chat_output *output, struct output_machine *tracker)
{
    (void)output;
    (void)tracker;
}

static int output_put(struct output_machine *tracker, uint8_t byte, uint8_t mark)
{
    (void)tracker;
    (void)byte;
    (void)mark;
    return 0;
}

static int no_chat(slm_error *err)
{
    SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
             "chat templates and answers were left out of this build (SLM_NO_CHAT)");
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

SLM_API int slm_chat_output_options_init(slm_chat_output_options *options, size_t size)
{
    (void)options;
    (void)size;
    return no_chat(NULL);
}

SLM_API int slm_chat_output_create(slm_chat_output **output, const slm_chat_template *chat_template,
                                   const slm_chat_output_options *options, slm_error *err)
{
    (void)output;
    (void)chat_template;
    (void)options;
    return no_chat(err);
}

SLM_API void slm_chat_output_free(slm_chat_output *output)
{
    (void)output;
}

SLM_API int slm_chat_output_begin(slm_chat_output *output, const slm_chat_prompt *prompt,
                                  slm_error *err)
{
    (void)output;
    (void)prompt;
    return no_chat(err);
}

SLM_API int slm_chat_output_push(slm_chat_output *output, int32_t kind, const char *text,
                                 size_t size, slm_error *err)
{
    (void)output;
    (void)kind;
    (void)text;
    (void)size;
    return no_chat(err);
}

SLM_API int slm_chat_output_next(slm_chat_output *output, slm_chat_event *event, slm_error *err)
{
    (void)output;
    (void)event;
    return no_chat(err);
}

SLM_API int slm_chat_output_get_info(const slm_chat_output *output, slm_chat_output_info *info,
                                     slm_error *err)
{
    (void)output;
    (void)info;
    return no_chat(err);
}
