/* template.c - a conversation in JSON as the text and the tokens that a model gets to see. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
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

/* The names of the built-in templates. */
static void print_names(char *text, size_t capacity)
{
    slm_chat_builtin b;
    memset(&b, 0, sizeof b);
    b.struct_size = sizeof b;
    text[0] = 0;
    for (int32_t i = 0; slm_chat_builtin_find(i, NULL, &b, NULL) == SLM_OK; i++) {
        size_t n = strlen(text);
        snprintf(text + n, capacity - n, "%s%s", i > 0 ? ", " : "", b.name);
    }
}

static int create(slm_chat_template **t, const slm_model *model, const char *text, size_t size)
{
    slm_error err;
    if (slm_chat_template_create(t, model, text, size, NULL, &err) == SLM_OK) {
        return CLI_GO;
    }
    char names[200];
    print_names(names, sizeof names);
    return err.code == SLM_E_UNSUPPORTED
               ? cli_fail("the file has no chat template; --template takes a file or one of %s",
                          names)
               : cli_fail("chat template: %s", err.message);
}

/* --template names a built-in template or a file; without it the model's own. */
static int open_template(slm_chat_template **t, const slm_model *model, const char *name)
{
    slm_chat_builtin b;
    char *text = NULL;
    size_t size = 0;
    memset(&b, 0, sizeof b);
    b.struct_size = sizeof b;
    if (name == NULL) {
        return create(t, model, NULL, 0);
    }
    if (slm_chat_builtin_find(0, name, &b, NULL) == SLM_OK) {
        return create(t, model, b.text, b.size);
    }
    int code = cli_read_all(name, &text, &size);
    if (code == CLI_GO) {
        code = create(t, model, text, size);
    }
    free(text);
    return code;
}

/* Seconds since 1970 on the clock on the wall here. */
static int64_t wall_clock(void)
{
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) == NULL) {
        return SLM_NO_DATE;
    }
    utc.tm_isdst = -1;
    return (int64_t)now + (int64_t)(now - mktime(&utc));
}

static int write_text(const slm_chat_prompt_info *info)
{
    int coloured = isatty(STDOUT_FILENO);
    if (!coloured) {
        return cli_write(info->text, info->size);
    }
    for (int32_t i = 0; i < info->n_segments; i++) {
        const slm_chat_segment *s = &info->segments[i];
        int is_content = s->kind == SLM_SEGMENT_CONTENT;
        if (cli_write(is_content ? "\033[36m" : "\033[0m", is_content ? 5 : 4) != CLI_GO ||
            cli_write_text(s->text, s->size) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return cli_write("\033[0m\n", 5);
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

static int write_ids(const slm_model *model, const slm_chat_prompt_info *info)
{
    slm_error err;
    size_t n = 0;
    int32_t *ids = NULL;
    int status = slm_tokenize_segments(model, info->segments, info->n_segments, info->segment_size,
                                       SLM_TEXT_BOS, NULL, 0, &n, &err);
    if (status == SLM_OK) {
        ids = malloc((n + 1) * sizeof *ids);
        if (ids == NULL) {
            return cli_fail("no memory for %zu tokens", n);
        }
        status = slm_tokenize_segments(model, info->segments, info->n_segments, info->segment_size,
                                       SLM_TEXT_BOS, ids, n, &n, &err);
    }
    for (size_t i = 0; status == SLM_OK && i < n; i++) {
        printf(i == 0 ? "%d" : " %d", (int)ids[i]);
    }
    free(ids);
    if (status != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    putchar('\n');
    return CLI_GO;
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
    slm_chat_options_init(&o, sizeof o);
    o.add_generation_prompt = !s->no_prompt;
    o.enable_thinking = s->thinking;
    o.now = wall_clock();
    if (slm_chat_render(t, json, size, &o, &prompt, &err) != SLM_OK ||
        slm_chat_prompt_get_info(prompt, &info, &err) != SLM_OK) {
        slm_chat_prompt_free(prompt);
        return cli_fail("%s", err.message);
    }
    int code = s->ids        ? write_ids(model, &info)
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
    if (s.model == NULL && (s.chat_template == NULL || s.ids)) {
        return cli_wanted(&usage, s.ids ? "-m FILE for --ids" : "-m FILE or --template NAME");
    }
    if (s.model != NULL) {
        code = cli_open_model(&model, s.model, SLM_LOAD_METADATA, &s);
    }
    if (code == CLI_GO) {
        code = open_template(&t, model, s.chat_template);
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
