/* chat.c - a conversation with a model, by its own chat template; chat.h lists the parts. */
#include "chat.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_usage usage = {
    CLI_CHAT,
    "chat",
    "-m FILE [--system TEXT] [options]",
    "Talks with a model that was trained for it: a line is a message, the answer follows.\n"
    "The whole talk is remembered until the context is full; /help lists what can be done\n"
    "then. On a terminal reasoning is dim; elsewhere only answers are written, and lines\n"
    "of input are messages and commands. Ctrl-C stops an answer and keeps it.\n"
    "A call of a tool is written as a line of JSON; its result is the next line of input,\n"
    "in the order of the calls. Where the input ends before it, the turn is taken back.\n",
    "  slm chat -m model.gguf --system \"You answer in one sentence.\"\n"
    "  slm chat -m model.gguf --think --think-budget 200 --save talk.jsonl\n"
    "  slm chat -m model.gguf --tools tools.json\n"
    "  echo \"Tell me a story about a dog and a ball.\" | slm chat -m story.gguf\n",
};

/* ---- Setup ---------------------------------------------------------------------------------- */

static int make_context(struct chat *c, const struct cli_settings *s)
{
    slm_error err;
    slm_model_info info;
    slm_context_info context_info;
    slm_context_options options;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    memset(&context_info, 0, sizeof context_info);
    context_info.struct_size = sizeof context_info;
    slm_context_options_init(&options, sizeof options);
    options.n_ctx = s->n_ctx;
    options.n_threads = s->n_threads;
    options.kv_type = s->kv_type;
    if (slm_model_get_info(c->model, &info, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    options.n_checkpoints = info.is_recurrent ? 1 : 0;
    if (slm_context_create(&c->context, c->model, &options, &err) != SLM_OK ||
        slm_context_get_info(c->context, &context_info, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    c->is_recurrent = info.is_recurrent;
    c->n_ctx = context_info.n_ctx;
    return CLI_GO;
}

static int make_output(struct chat *c, const struct cli_settings *s)
{
    slm_chat_output_options options;
    slm_chat_output_info info;
    slm_error err;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    slm_chat_output_options_init(&options, sizeof options);
    options.tools = c->options.tools;
    options.tools_size = c->options.tools_size;
    if (slm_chat_output_create(&c->output, c->form, &options, &err) != SLM_OK) {
        return s->tools != NULL ? cli_fail("%s: %s", s->tools, err.message)
                                : cli_fail("%s", err.message);
    }
    slm_chat_output_get_info(c->output, &info, NULL);
    c->has_reasoning = info.reasoning != NULL && info.reasoning[0] != 0;
    c->budget = s->think_budget;
    if (c->budget > 0 && !c->has_reasoning) {
        return cli_fail("--think-budget: this model's template knows of no reasoning");
    }
    if (s->tools != NULL && info.tool_calls[0] == 0) {
        cli_say("warning: this model's template knows of no tools");
    }
    return CLI_GO;
}

static int begin_history(struct chat *c, const struct cli_settings *s)
{
    struct chat_history *h = &c->history;
    int is_same = s->load != NULL && s->save != NULL && strcmp(s->load, s->save) == 0;
    if (s->load != NULL && !is_same && history_load(h, s->load, 1) != CLI_GO) {
        return CLI_FAILED;
    }
    if (s->save != NULL && history_save_to(h, s->save) != CLI_GO) {
        return CLI_FAILED;
    }
    size_t before = h->n;
    if (s->save != NULL && history_load(h, s->save, is_same) != CLI_GO) {
        return CLI_FAILED;
    }
    if (before > 0 && h->n > before) {
        return cli_fail("%s has a talk already: without --load it goes on", s->save);
    }
    if (s->save != NULL && history_try(s->save) != CLI_GO) {
        return CLI_FAILED;
    }
    if (before > 0) { /* loaded from elsewhere, not a line of it saved */
        h->n_saved = 0;
    }
    if (h->n > 0 && h->list[h->n - 1].role != ROLE_ASSISTANT && c->input.interactive) {
        cli_say("the last message has no answer yet; /retry answers it");
    }
    return s->system != NULL ? history_set_system(h, s->system, strlen(s->system)) : CLI_GO;
}

static int setup(struct chat *c, struct cli_settings *s)
{
    c->name = s->model;
    c->n_predict = s->n_predict;
    c->input.interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (cli_open_template(&c->form, c->model, s) != CLI_GO ||
        cli_chat_options(&c->options, s, &c->tools) != CLI_GO || make_output(c, s) != CLI_GO ||
        begin_history(c, s) != CLI_GO || make_context(c, s) != CLI_GO) {
        return CLI_FAILED;
    }
    return cli_make_sampler(&c->sampler, c->model, &s->sampling);
}

/* ---- The loop ------------------------------------------------------------------------------- */

static void trim(const char **text, size_t *size)
{
    while (*size > 0 && strchr(" \t\r\n", (*text)[*size - 1]) != NULL) {
        --*size;
    }
    while (*size > 0 && strchr(" \t\r\n", **text) != NULL) {
        ++*text;
        --*size;
    }
}

/* A command or a message. CLI_OK: leave. */
static int take_message(struct chat *c)
{
    const char *text = c->input.text.data;
    size_t size = c->input.text.n;
    if (!c->input.is_block) {
        trim(&text, &size);
        if (size > 1 && text[0] == '/' && text[1] != '/') {
            c->input.text.data[text + size - c->input.text.data] = 0;
            return chat_command(c, text, size);
        }
        int is_escaped = size > 1 && text[0] == '/';
        text += is_escaped;
        size -= (size_t)is_escaped;
    }
    return size > 0 ? chat_say(c, text, size) : CLI_GO;
}

/* What fails is told and, for a person, not the end: the talk is as it was. */
static int talk(struct chat *c)
{
    int failed = 0;
    for (;;) {
        if (*cli_interrupt() && !c->input.interactive) {
            failed = 1;
            break;
        }
        int got = input_read(&c->input, "> ", 0);
        int code = got == INPUT_TEXT ? take_message(c) : CLI_GO;
        failed |= code == CLI_FAILED && !c->input.interactive;
        if (got == INPUT_END || code == CLI_OK || ferror(stdout)) {
            break;
        }
    }
    if (ferror(stdin) && !*cli_interrupt()) {
        return cli_fail("cannot read standard input");
    }
    return failed || ferror(stdout) ? CLI_FAILED : CLI_OK;
}

static void free_all(struct chat *c)
{
    history_free(&c->history);
    text_free(&c->input.text);
    free(c->input.line);
    free(c->cache.data);
    free(c->prompt.data);
    free(c->tools);
    slm_chat_output_free(c->output);
    slm_chat_template_free(c->form);
    slm_sampler_free(c->sampler);
    slm_context_free(c->context);
    slm_model_free(c->model);
}

int cli_chat(int argc, char **argv)
{
    struct cli_settings s;
    struct chat chat;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (s.model == NULL) {
        return cli_wanted(&usage, "-m FILE");
    }
    memset(&chat, 0, sizeof chat);
    cli_catch_interrupt(0);
    code = cli_open_model(&chat.model, s.model, 0, &s);
    if (code == CLI_GO) {
        code = setup(&chat, &s);
    }
    if (code == CLI_GO) {
        if (chat.input.interactive) {
            cli_say("%s; /help lists commands", chat.name);
        }
        code = talk(&chat);
    }
    free_all(&chat);
    return code;
}
