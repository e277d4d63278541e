/* chat_turn.c - a turn: a message, the answer, and while the answer asks for tools, their results and
 * the next answer. The history keeps a turn whole or not at all. */
#include "chat.h"

#include <stdlib.h>
#include <string.h>

/* The answer as a message. */
static int keep_answer(struct chat *c, const struct chat_answer *a)
{
    struct chat_text json = {0};
    text_puts(&json, "{\"role\": \"assistant\", \"content\": ");
    text_add_json(&json, a->content.data, a->content.n);
    if (a->reasoning.n > 0) {
        text_puts(&json, ", \"reasoning_content\": ");
        text_add_json(&json, a->reasoning.data, a->reasoning.n);
    }
    if (a->n_calls > 0) {
        text_puts(&json, ", \"tool_calls\": [");
        text_add(&json, a->calls.data, a->calls.n);
        text_puts(&json, "]");
    }
    text_puts(&json, "}");
    return history_take(&c->history, &json, ROLE_ASSISTANT);
}

static int keep_result(struct chat *c, const char *id, const char *name)
{
    struct chat_text json = {0};
    text_puts(&json, "{\"role\": \"tool\", \"tool_call_id\": ");
    text_add_json(&json, id, strlen(id));
    text_puts(&json, ", \"name\": ");
    text_add_json(&json, name, strlen(name));
    text_puts(&json, ", \"content\": ");
    text_add_json(&json, c->input.text.data, c->input.text.n);
    text_puts(&json, "}");
    return history_take(&c->history, &json, ROLE_OTHER);
}

/* Asks for the result of each call: the next message of the input, in the order of the calls. */
static int ask_results(struct chat *c, const struct chat_answer *a)
{
    const char *id = a->ids.data;
    for (int32_t i = 0; i < a->n_calls; i++) {
        const char *name = id + strlen(id) + 1;
        if (c->input.interactive) {
            fputs("result of ", stdout);
            cli_print_escaped(stdout, name, strlen(name), 60);
        }
        if (input_read(&c->input, "> ", 1) != INPUT_TEXT) {
            return cli_fail("a call was left without a result: the turn is taken back");
        }
        if (keep_result(c, id, name) != CLI_GO) {
            return CLI_FAILED;
        }
        id = name + strlen(name) + 1;
    }
    return CLI_GO;
}

/* Answers until no tool is asked for. *full: the last one was cut off by the end of the context. */
static int answer_all(struct chat *c, int *full)
{
    struct chat_answer a;
    int code = CLI_GO;
    int more = 1;
    while (code == CLI_GO && more) {
        code = chat_answer(c, &a);
        if (code == CLI_GO && a.stopped && a.content.n + a.reasoning.n == 0) {
            code = cli_fail("stopped before there was an answer: the message is taken back");
        }
        a.n_calls = a.stopped ? 0 : a.n_calls; /* nobody will give results */
        if (code == CLI_GO) {
            code = keep_answer(c, &a);
        }
        *full = a.full;
        more = a.n_calls > 0;
        if (code == CLI_GO && more) {
            code = ask_results(c, &a);
        }
        chat_answer_free(&a);
    }
    return code;
}

/* Answers the history, whose last turn begins with message `first`. */
static int turn(struct chat *c, size_t first)
{
    int full = 0;
    *cli_interrupt() = 0;
    int code = answer_all(c, &full);
    if (code != CLI_GO) {
        history_truncate(&c->history, first);
    }
    int saved = history_sync(&c->history);
    if (code == CLI_GO && full) {
        return cli_fail(
            "the context is full: the answer was cut off at %d positions; /undo takes a "
            "turn back, /clear begins anew, --ctx N makes it longer",
            (int)c->n_ctx);
    }
    return code == CLI_GO ? saved : code;
}

int chat_say(struct chat *c, const char *text, size_t size)
{
    size_t first = c->history.n;
    return history_add(&c->history, ROLE_USER, text, size) == CLI_GO ? turn(c, first) : CLI_FAILED;
}

int chat_retry(struct chat *c)
{
    size_t last = history_last(&c->history, ROLE_USER);
    if (last == c->history.n) {
        return cli_fail("there is no message yet to answer again");
    }
    history_truncate(&c->history, last + 1);
    return turn(c, last);
}
