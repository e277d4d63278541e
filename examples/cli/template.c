/* template.c - a conversation in JSON as the text and the tokens that a model gets to see. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_usage usage = {
    CLI_TEMPLATE,
    "template",
    "[-m FILE] [--template NAME] [-f FILE] [--segments | --ids]",
    "Reads a conversation, a JSON array of messages or an object with messages, tools and other\n"
    "variables, and writes it as the chat template of the model does, byte for byte. On a\n"
    "terminal what came from the conversation is coloured: special tokens in it are text.\n"
    "Reads only the vocabulary of the model, none of its weights.\n",
    "  echo '[{\"role\": \"user\", \"content\": \"Hello\"}]' | slm template -m model.gguf\n"
    "  slm template --template chatml -f talk.json --segments\n"
    "  slm template -m model.gguf -f talk.json --ids\n",
};

static int write_text(const slm_chat_prompt_info *info)
{
    int coloured = cli_has_colours();
    if (!isatty(STDOUT_FILENO)) {
        return cli_write(info->text, info->size);
    }
    for (int32_t i = 0; i < info->n_segments; i++) {
        const slm_chat_segment *s = &info->segments[i];
        int is_content = s->kind == SLM_SEGMENT_CONTENT;
        const char *colour = !coloured ? "" : is_content ? "\033[36m" : "\033[0m";
        if (cli_write(colour, strlen(colour)) != CLI_GO ||
            cli_write_text(s->text, s->size) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return coloured ? cli_write("\033[0m\n", 5) : cli_write("\n", 1);
}

/* A line each. */
static int write_segments(const slm_chat_prompt_info *info)
{
    for (int32_t i = 0; i < info->n_segments; i++) {
        const slm_chat_segment *s = &info->segments[i];
        printf("%s ", s->kind == SLM_SEGMENT_CONTENT ? "content " : "template");
        cli_print_escaped(stdout, s->text, s->size, SIZE_MAX);
        putchar('\n');
    }
    return CLI_GO;
}

static int write_ids(const slm_model *model, const slm_chat_prompt *prompt)
{
    struct cli_tokens tokens = {NULL, 0, 0};
    int code = cli_tokenize_prompt(model, prompt, &tokens);
    for (size_t i = 0; code == CLI_GO && i < tokens.n; i++) {
        printf(i == 0 ? "%d" : " %d", (int)tokens.data[i]);
    }
    if (code == CLI_GO) {
        putchar('\n');
    }
    free(tokens.data);
    return code;
}

static int render(const slm_model *model, const slm_chat_template *t, const struct cli_settings *s,
                  const char *json, size_t size)
{
    slm_chat_options o;
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info;
    slm_error err;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    char *tools = NULL;
    if (cli_chat_options(&o, s, &tools) != CLI_GO) {
        return CLI_FAILED;
    }
    o.add_generation_prompt = !s->no_prompt;
    int status = slm_chat_render(&prompt, t, json, size, &o, &err);
    free(tools);
    if (status != SLM_OK || slm_chat_prompt_get_info(prompt, &info, &err) != SLM_OK) {
        slm_chat_prompt_free(prompt);
        return cli_fail("%s", err.message);
    }
    int code = s->ids        ? write_ids(model, prompt)
               : s->segments ? write_segments(&info)
                             : write_text(&info);
    slm_chat_prompt_free(prompt);
    return code == CLI_GO ? cli_finish() : code;
}

int cli_template(int argc, char **argv)
{
    struct cli_settings s;
    slm_model *model = NULL;
    slm_chat_template *t = NULL;
    char *json = NULL;
    size_t size = 0;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (s.segments && s.ids) {
        return cli_not_both(&usage, "--segments", "--ids");
    }
    if (s.model == NULL && (s.chat_template == NULL || s.ids)) {
        return cli_wanted(&usage, s.ids ? "-m FILE for --ids" : "-m FILE or --template NAME");
    }
    if (s.model != NULL) {
        code = cli_open_model(&model, s.model, SLM_LOAD_METADATA, &s);
    }
    if (code == CLI_GO) {
        code = cli_open_template(&t, model, &s);
    }
    if (code == CLI_GO) {
        code = cli_read_all(s.prompt_file, &json, &size);
    }
    if (code == CLI_GO) {
        code = render(model, t, &s, json, size);
    }
    free(json);
    slm_chat_template_free(t);
    slm_model_free(model);
    return code;
}
