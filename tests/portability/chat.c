/* chat.c - a wish and the story that answers it, through the model's chat template, for a comparison
 * between builds. Where answers are read (no SLM_NO_TOOLS), what is read is the text generated. */
#include "../testing.h"
#include "../../slm.h"

#define N_TOKENS 60

static const char wish[] =
    "[{\"role\": \"user\", \"content\": \"Tell me a story about a dog and a ball.\"}]";

/* The prompt's tokens. */
static int render(const slm_model *model, const slm_chat_template *form, slm_chat_output *output,
                  int32_t tokens[256], size_t *n, slm_error *err)
{
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    int status = slm_chat_render(&prompt, form, wish, sizeof wish - 1, NULL, err);
    if (status == SLM_OK) {
        status = slm_chat_prompt_get_info(prompt, &info, err);
    }
    if (status == SLM_OK) {
        status = slm_tokenize_segments(model, info.segments, info.n_segments, info.segment_size,
                                       SLM_TEXT_BOS, tokens, 256, n, err);
    }
    if (status == SLM_OK && output != NULL) {
        status = slm_chat_output_begin(output, prompt, err);
    }
    slm_chat_prompt_free(prompt);
    return status;
}

/* Reads a piece of the answer, which must come out as it is: *read counts what did. */
static int follow(slm_chat_output *output, const slm_piece *piece, size_t *read, slm_error *err)
{
    slm_chat_event event;
    memset(&event, 0, sizeof event);
    event.struct_size = (uint32_t)sizeof event;
    int status = slm_chat_output_push(output, piece->kind, piece->text, piece->size, err);
    for (int more = 1; more && status == SLM_OK;) {
        status = slm_chat_output_next(output, &event, err);
        *read += status == SLM_OK && event.kind == SLM_CHAT_ANSWER ? event.size : 0;
        more = event.kind != SLM_CHAT_NONE && event.kind != SLM_CHAT_END;
    }
    return status;
}

static int answer(slm_context *context, const int32_t *tokens, size_t n, slm_chat_output *output,
                  slm_error *err)
{
    slm_generator *generator = NULL;
    slm_generate_options options;
    slm_piece piece;
    size_t given = 0;
    size_t read = 0;
    memset(&piece, 0, sizeof piece);
    piece.struct_size = (uint32_t)sizeof piece;
    slm_generate_options_init(&options, sizeof options);
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = (int32_t)n;
    options.max_tokens = N_TOKENS;
    options.chat_output = output;
    int status = slm_generate_begin(&generator, context, 0, NULL, NULL, 0, &options, err);
    while (status == SLM_OK && piece.kind != SLM_PIECE_END) {
        status = slm_generate_next(generator, &piece, err);
        if (status == SLM_OK && output != NULL) {
            status = follow(output, &piece, &read, err);
        }
        if (status == SLM_OK && piece.kind == SLM_PIECE_TEXT) {
            fwrite(piece.text, 1, piece.size, stdout);
            given += piece.size;
        }
    }
    printf("\n");
    slm_generate_end(generator);
    if (output != NULL && read != given) {
        printf("%d bytes of an answer of %d were read\n", (int)read, (int)given);
    }
    return status;
}

static int talk(slm_model *model, slm_error *err)
{
    int32_t tokens[256];
    size_t n = 0;
    slm_context *context = NULL;
    slm_chat_template *form = NULL;
    slm_chat_output *output = NULL;
    int status = slm_chat_template_create(&form, model, NULL, 0, NULL, err);
#ifndef SLM_NO_TOOLS
    if (status == SLM_OK) {
        status = slm_chat_output_create(&output, form, NULL, err);
    }
#endif
    if (status == SLM_OK) {
        status = render(model, form, output, tokens, &n, err);
    }
    if (status == SLM_OK) {
        status = slm_context_create(&context, model, NULL, err);
    }
    if (status == SLM_OK) {
        status = answer(context, tokens, n, output, err);
    }
    slm_context_free(context);
    slm_chat_output_free(output);
    slm_chat_template_free(form);
    return status;
}

int main(void)
{
    slm_error err;
    slm_model *model = NULL;
    slm_model_options options;
    size_t size = 0;
    char *data = testing_read(TESTING_STORYTELLER, &size);
    const void *file = data;
    if (data == NULL) {
        return 1;
    }
    slm_model_options_init(&options, sizeof options);
    options.cpu = 0;
    int status = slm_model_open_memory(&model, &file, &size, 1, &options, &err);
    if (status == SLM_OK) {
        status = talk(model, &err);
    }
    if (status != SLM_OK) {
        printf("chat: %s (%s)\n", err.message, slm_status_name(status));
    }
    slm_model_free(model);
    free(data);
    return status != SLM_OK;
}
