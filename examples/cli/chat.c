/* chat.c - a conversation. The history lives in the context's KV cache: each turn evaluates only
 * its own new tokens.
 *
 * Invariant: the cache holds whole turns, but for the end of the last answer, which is evaluated in
 * front of the next message (open_answer), whether the model ended its answer itself or was
 * stopped.
 *
 * Trap: what a user types is text. Template parts are tokenised with special tokens, messages
 * without, so that nobody can type an end of turn and speak as somebody else. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_usage usage = {
    CLI_CHAT,
    "chat",
    "-m FILE [--system TEXT] [options]",
    "Talks with a model that was trained for it: a line is a message, the answer follows.\n"
    "The whole talk is remembered until the context is full; then, or to change the subject,\n"
    "/clear begins anew. Ctrl-C stops an answer; /exit, Ctrl-D, or Ctrl-C twice at the\n"
    "prompt leaves. Without a terminal messages are read line by line and answered.\n",
    "  slm chat -m model.gguf --system \"You answer in one sentence.\"\n"
    "  echo \"Tell me a story about a dog and a ball.\" | slm chat -m story.gguf\n",
};

/* ---- Templates ------------------------------------------------------------------------------ */

struct chat_template {
    const char *name;
    const char *marker; /* a vocabulary that has this token knows the template */
    const char *before_role, *after_role;
    const char *end_token;
    const char *after_end;
};

static const struct chat_template templates[] = {
    {"chatml", "<|im_start|>", "<|im_start|>", "\n", "<|im_end|>", "\n"},
    {"llama3", "<|start_header_id|>", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>",
     ""},
};

static int32_t find_token(const slm_model *model, const char *text)
{
    int32_t token = -1;
    slm_token_find(model, text, strlen(text), &token, NULL);
    return token;
}

static int pick_template(const slm_model *model, const char *name,
                         const struct chat_template **picked)
{
    for (int i = 0; i < CLI_COUNT(templates); i++) {
        if (name != NULL ? strcmp(name, templates[i].name) == 0
                         : find_token(model, templates[i].marker) >= 0) {
            *picked = &templates[i];
            return CLI_GO;
        }
    }
    return cli_fail("the vocabulary has neither <|im_start|> nor <|start_header_id|>: this model "
                    "was not trained to chat in a way known here; slm run continues any text");
}

/* ---- State ---------------------------------------------------------------------------------- */

struct chat {
    slm_model *model;
    slm_context *context;
    slm_sampler *sampler;
    const struct chat_template *form;
    const char *system;
    int32_t n_vocab, n_ctx, n_predict;
    int32_t start_token; /* -1: none */
    int32_t end_token;
    int open_answer;        /* the last answer's end is still to be evaluated */
    int interactive;        /* a person types and reads */
    struct cli_tokens turn; /* the tokens that this turn adds */
};

static int push_special(struct chat *c, const char *text)
{
    return cli_tokenize(c->model, text, strlen(text), SLM_TEXT_SPECIAL, &c->turn);
}

static int push_head(struct chat *c, const char *role)
{
    char head[128];
    snprintf(head, sizeof head, "%s%s%s", c->form->before_role, role, c->form->after_role);
    return push_special(c, head);
}

static int push_end(struct chat *c)
{
    char end[128];
    snprintf(end, sizeof end, "%s%s", c->form->end_token, c->form->after_end);
    return push_special(c, end);
}

static int push_message(struct chat *c, const char *role, const char *text, size_t size)
{
    if (push_head(c, role) != CLI_GO || cli_tokenize(c->model, text, size, 0, &c->turn) != CLI_GO) {
        return CLI_FAILED;
    }
    return push_end(c);
}

static int32_t history_length(const struct chat *c)
{
    int32_t n = 0;
    slm_sequence_length(c->context, 0, &n, NULL);
    return n;
}

static int build_turn(struct chat *c, const char *text, size_t size)
{
    c->turn.n = 0;
    if (history_length(c) == 0) {
        if (c->start_token >= 0 && cli_push_token(&c->turn, c->start_token) != CLI_GO) {
            return CLI_FAILED;
        }
        if (c->system != NULL &&
            push_message(c, "system", c->system, strlen(c->system)) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    if (c->open_answer && push_end(c) != CLI_GO) {
        return CLI_FAILED;
    }
    if (push_message(c, "user", text, size) != CLI_GO) {
        return CLI_FAILED;
    }
    return push_head(c, "assistant");
}

/* ---- One answer ----------------------------------------------------------------------------- */

static int full(const struct chat *c, const char *what)
{
    return cli_fail("the context is full: %s; %d of %d positions are used; /clear begins anew, "
                    "--ctx N makes it longer",
                    what, (int)history_length(c), (int)c->n_ctx);
}

/* With a progress line it can be interrupted. A single token is not: what was written is in the
 * history. */
static int eval(struct chat *c, const int32_t *tokens, int32_t n, struct cli_progress *progress,
                slm_error *err)
{
    slm_eval_options options;
    slm_span span;
    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    span.position = -1;
    span.tokens = tokens;
    span.n_tokens = n;
    span.want = SLM_WANT_LAST;
    slm_eval_options_init(&options, sizeof options);
    if (progress != NULL) {
        options.cancel = cli_interrupt();
        options.progress = cli_progress_report;
        options.progress_user = progress;
    }
    return slm_eval(c->context, &span, 1, sizeof span, &options, err);
}

static int next_token(struct chat *c, int32_t *token, slm_error *err)
{
    const float *logits = NULL; /* [n_vocab] */
    int status = slm_logits(c->context, -1, &logits, err);
    if (status == SLM_OK) {
        status = slm_sample(c->sampler, logits, c->n_vocab, token, err);
    }
    if (status == SLM_OK) {
        status = slm_sampler_accept(c->sampler, *token, err);
    }
    return status;
}

static int is_end(const struct chat *c, int32_t token)
{
    slm_token_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    return token == c->end_token ||
           (slm_token_get_info(c->model, token, &info, NULL) == SLM_OK && info.is_end);
}

/* Writes the text that token completes; -1: what is held back. */
static int write_token(const struct chat *c, slm_text_stream *stream, int32_t token)
{
    char small[512], *text = small;
    size_t size = 0;
    slm_error err;
    int status = slm_decode_token(c->model, stream, token, 0, small, sizeof small, &size, &err);
    if (status == SLM_E_SPACE) {
        size_t capacity = size;
        text = malloc(capacity);
        if (text == NULL) {
            return cli_fail("no memory for a piece of text");
        }
        status = slm_decode_token(c->model, stream, token, 0, text, capacity, &size, &err);
    }
    int code = status != SLM_OK ? cli_fail("%s", err.message) : CLI_GO;
    if (code == CLI_GO && size > 0) {
        code = cli_write_text(text, size);
    }
    if (text != small) {
        free(text);
    }
    return code;
}

/* Samples, writes and evaluates until the answer ends. */
static int answer(struct chat *c)
{
    slm_text_stream stream;
    slm_error err;
    int status = SLM_OK;
    memset(&stream, 0, sizeof stream);
    for (int32_t n = 0; !*cli_interrupt() && (c->n_predict < 0 || n < c->n_predict); n++) {
        int32_t token = -1;
        status = next_token(c, &token, &err);
        if (status != SLM_OK || is_end(c, token)) {
            break;
        }
        if (write_token(c, &stream, token) != CLI_GO) {
            return CLI_FAILED;
        }
        status = eval(c, &token, 1, NULL, &err);
        if (status != SLM_OK) {
            break;
        }
    }
    if (write_token(c, &stream, -1) != CLI_GO || cli_write("\n", 1) != CLI_GO) {
        return CLI_FAILED;
    }
    if (status == SLM_E_FULL) {
        return full(c, "the answer was cut off");
    }
    return status == SLM_OK ? CLI_GO : cli_fail("%s", err.message);
}

static int take_turn(struct chat *c, const char *text, size_t size)
{
    if (build_turn(c, text, size) != CLI_GO) {
        return CLI_FAILED;
    }
    int32_t before = history_length(c);
    if (c->turn.n >= (size_t)(c->n_ctx - before)) {
        return full(c, "the message does not fit");
    }
    struct cli_progress progress;
    slm_error err;
    int status = slm_sequence_checkpoint(c->context, 0, 0, &err);
    if (status != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    cli_progress_begin(&progress, "reading");
    status = eval(c, c->turn.data, (int32_t)c->turn.n, &progress, &err);
    cli_progress_end(&progress);
    if (status != SLM_OK) {
        /* What was read of the message goes; the talk before it stays. */
        slm_sequence_rewind(c->context, 0, before, NULL);
        return status == SLM_E_CANCELLED ? cli_fail("stopped; the message was not read")
                                         : cli_fail("%s", err.message);
    }
    c->open_answer = 1;
    return answer(c);
}

/* ---- The talk ------------------------------------------------------------------------------- */

static void clear(struct chat *c)
{
    slm_sequence_rewind(c->context, 0, 0, NULL);
    slm_sampler_rewind(c->sampler, INT32_MAX, NULL);
    c->open_answer = 0;
}

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

/* The next line. 0 at the end of input or after two interrupts in a row. */
static int read_line(const struct chat *c, char **line, size_t *capacity, size_t *size)
{
    for (int interrupts = 0;; interrupts++) {
        *cli_interrupt() = 0;
        if (c->interactive) {
            fputs("> ", stdout);
            fflush(stdout);
        }
        errno = 0;
        ssize_t n = getline(line, capacity, stdin);
        if (n >= 0) {
            *size = (size_t)n;
            return 1;
        }
        if (!*cli_interrupt() || interrupts == 1) {
            if (c->interactive) {
                putchar('\n');
            }
            return 0;
        }
        clearerr(stdin); /* Ctrl-C ended the read, not the input */
        fputs("\n(Ctrl-C again or Ctrl-D leaves)\n", stderr);
    }
}

static int is(const char *text, size_t size, const char *command)
{
    return strlen(command) == size && memcmp(text, command, size) == 0;
}

/* A turn that fails is told and, for a person, not the end: the history is as it was. */
static int talk(struct chat *c)
{
    char *line = NULL;
    size_t capacity = 0, line_size = 0;
    int code = CLI_OK;
    while (!ferror(stdout) && read_line(c, &line, &capacity, &line_size)) {
        const char *text = line;
        size_t size = line_size;
        trim(&text, &size);
        if (is(text, size, "/exit")) {
            break;
        }
        if (is(text, size, "/clear")) {
            clear(c);
        } else if (is(text, size, "/help")) {
            fputs("/clear begins anew, /exit or Ctrl-D leaves, Ctrl-C stops an answer\n", stderr);
        } else if (size > 0 && take_turn(c, text, size) != CLI_GO && !c->interactive) {
            code = CLI_FAILED;
        }
    }
    if (ferror(stdin) && !*cli_interrupt()) {
        code = cli_fail("cannot read standard input");
    }
    free(line);
    return ferror(stdout) ? CLI_FAILED : code;
}

static int setup(struct chat *c, struct cli_settings *s)
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
    options.n_checkpoints = 1; /* recurrent models go back to nothing else */
    options.n_ctx = s->n_ctx;
    options.n_threads = s->n_threads;
    options.kv_type = s->kv_type;
    if (pick_template(c->model, s->chat_template, &c->form) != CLI_GO) {
        return CLI_FAILED;
    }
    if (slm_model_get_info(c->model, &info, &err) != SLM_OK ||
        slm_context_create(&c->context, c->model, &options, &err) != SLM_OK ||
        slm_context_get_info(c->context, &context_info, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    c->system = s->system;
    c->n_vocab = info.n_vocab;
    c->n_ctx = context_info.n_ctx;
    c->n_predict = s->n_predict;
    c->start_token = info.add_bos ? info.bos_token : -1;
    c->end_token = find_token(c->model, c->form->end_token);
    c->interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    return cli_make_sampler(&c->sampler, c->model, &s->sampling);
}

static int known_template(const char *name)
{
    for (int i = 0; i < CLI_COUNT(templates); i++) {
        if (strcmp(name, templates[i].name) == 0) {
            return 1;
        }
    }
    return 0;
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
    if (s.chat_template != NULL && !known_template(s.chat_template)) {
        cli_say("--template needs chatml or llama3, not '%s'", s.chat_template);
        return CLI_USAGE;
    }
    memset(&chat, 0, sizeof chat);
    cli_catch_interrupt(0);
    code = cli_open_model(&chat.model, s.model, 0, &s);
    if (code == CLI_GO) {
        code = setup(&chat, &s);
    }
    if (code == CLI_GO) {
        code = talk(&chat);
    }
    free(chat.turn.data);
    slm_sampler_free(chat.sampler);
    slm_context_free(chat.context);
    slm_model_free(chat.model);
    return code;
}
