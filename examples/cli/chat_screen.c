/* chat_screen.c - an answer on standard output, as it comes. On a terminal reasoning is dim, or
 * between marks where there are no colours; elsewhere it is left out, so that what is written is the
 * answer and nothing else. A call is a line of JSON. */
#include "chat.h"

#include <string.h>
#include <unistd.h>

static const char *colour_of(int32_t kind)
{
    return kind == SLM_CHAT_REASONING   ? "\033[2m"
           : kind == SLM_CHAT_TOOL_CALL ? "\033[36m"
                                        : "\033[0m";
}

static const char *mark_of(int32_t kind)
{
    return kind == SLM_CHAT_REASONING ? "(thinking)\n" : "(answer)\n";
}

static int write_plain(const char *text)
{
    return cli_write(text, strlen(text));
}

static int write_text(struct chat_screen *s, const char *text, size_t size)
{
    s->mid_line = size > 0 ? text[size - 1] != '\n' : s->mid_line;
    return cli_write_text(text, size);
}

static int end_line(struct chat_screen *s)
{
    int code = s->mid_line ? write_plain("\n") : CLI_GO;
    s->mid_line = 0;
    return code;
}

void screen_begin(struct chat_screen *s)
{
    s->terminal = isatty(STDOUT_FILENO);
    s->coloured = cli_has_colours();
    s->kind = SLM_CHAT_NONE;
    s->mid_line = 0;
}

/* What stands between two kinds of text. */
static int change_to(struct chat_screen *s, int32_t kind)
{
    int32_t before = s->kind;
    int was_reasoning = before == SLM_CHAT_REASONING;
    s->kind = kind;
    if (before == SLM_CHAT_NONE && kind == SLM_CHAT_ANSWER) {
        return CLI_GO;
    }
    if (before != SLM_CHAT_NONE && end_line(s) != CLI_GO) {
        return CLI_FAILED;
    }
    if (s->coloured && write_plain(colour_of(kind)) != CLI_GO) {
        return CLI_FAILED;
    }
    if (s->coloured && was_reasoning) {
        return write_plain("\n");
    }
    int is_marked = s->terminal && !s->coloured && kind != SLM_CHAT_TOOL_CALL;
    return is_marked && (kind == SLM_CHAT_REASONING || was_reasoning) ? write_plain(mark_of(kind))
                                                                      : CLI_GO;
}

int screen_event(struct chat_screen *s, const slm_chat_event *event)
{
    int is_call = event->kind == SLM_CHAT_TOOL_CALL;
    if (event->kind == SLM_CHAT_REASONING && !s->terminal) {
        return CLI_GO;
    }
    if ((event->kind != s->kind || is_call) && change_to(s, event->kind) != CLI_GO) {
        return CLI_FAILED;
    }
    if (!is_call) {
        return write_text(s, event->text, event->size);
    }
    struct chat_text line = {0};
    text_puts(&line, "{\"name\": ");
    text_add_json(&line, event->name, strlen(event->name));
    text_puts(&line, ", \"arguments\": ");
    text_add_line(&line, event->arguments, event->size);
    text_puts(&line, "}\n");
    int code = line.failed ? cli_fail("no memory for a call") : write_text(s, line.data, line.n);
    text_free(&line);
    return code;
}

int screen_end(struct chat_screen *s)
{
    if (s->coloured && s->kind != SLM_CHAT_ANSWER && s->kind != SLM_CHAT_NONE &&
        write_plain(colour_of(SLM_CHAT_ANSWER)) != CLI_GO) {
        return CLI_FAILED;
    }
    /* An answer without text is a line, too, so that answers can be counted. */
    s->mid_line |= s->kind == SLM_CHAT_NONE;
    return end_line(s);
}
