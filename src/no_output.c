/* no_output.c - what stands for src/chat/output*.c under SLM_NO_TOOLS: the public functions of answers
 * refuse, and generation, which follows an answer where it is given one, never is. */

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

static int no_output(slm_error *err)
{
    SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
             "the reading of answers and tool calls was left out of this build (SLM_NO_TOOLS)");
}

SLM_API int slm_chat_output_options_init(slm_chat_output_options *options, size_t size)
{
    (void)options;
    (void)size;
    return no_output(NULL);
}

SLM_API int slm_chat_output_create(slm_chat_output **output, const slm_chat_template *chat_template,
                                   const slm_chat_output_options *options, slm_error *err)
{
    (void)output;
    (void)chat_template;
    (void)options;
    return no_output(err);
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
    return no_output(err);
}

SLM_API int slm_chat_output_push(slm_chat_output *output, int32_t kind, const char *text,
                                 size_t size, slm_error *err)
{
    (void)output;
    (void)kind;
    (void)text;
    (void)size;
    return no_output(err);
}

SLM_API int slm_chat_output_next(slm_chat_output *output, slm_chat_event *event, slm_error *err)
{
    (void)output;
    (void)event;
    return no_output(err);
}

SLM_API int slm_chat_output_get_info(const slm_chat_output *output, slm_chat_output_info *info,
                                     slm_error *err)
{
    (void)output;
    (void)info;
    return no_output(err);
}
