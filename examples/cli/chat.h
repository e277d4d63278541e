/* chat.h - what the files of slm chat share.
 *
 *     chat.c           options, setup, the loop
 *     chat_turn.c      a turn: what the model is asked, tool calls and their results
 *     chat_answer.c    an answer: the prompt, what of it the cache holds, what comes
 *     chat_screen.c    reasoning, answer and calls on standard output
 *     chat_history.c   the messages, and files of them
 *     chat_json.c      JSON as text that grows
 *     chat_commands.c  /help and its like
 *     chat_input.c     messages from a terminal or a pipe
 *
 * Invariants: the history holds whole turns (a turn that fails is taken back), and `cache` the tokens
 * of sequence 0, one for one. */
#ifndef CHAT_H
#define CHAT_H

#include "cli.h"

/* ---- JSON (chat_json.c) --------------------------------------------------------------------- */

/* Text that grows. Without memory `failed` is set, and what follows is ignored. Zero to begin with. */
struct chat_text {
    char *data;
    size_t n, capacity;
    int failed;
};

void text_add(struct chat_text *t, const char *s, size_t n);
void text_puts(struct chat_text *t, const char *s);
/* JSON that a model wrote, on one line: line breaks between its parts become spaces. */
void text_add_line(struct chat_text *t, const char *s, size_t n);
void text_free(struct chat_text *t);
/* A string of JSON in its quotes. Bytes that are no UTF-8 become U+FFFD. */
void text_add_json(struct chat_text *t, const char *s, size_t n);

/* ---- History (chat_history.c) --------------------------------------------------------------- */

enum chat_role {
    ROLE_SYSTEM,
    ROLE_USER,
    ROLE_ASSISTANT,
    ROLE_OTHER
};

struct chat_message {
    char *json; /* an object on one line */
    size_t size;
    enum chat_role role;
};

struct chat_history {
    struct chat_message *list; /* [n] */
    size_t n, capacity;
    char *path;                /* of the file that is kept up to date, or NULL */
    size_t n_saved;            /* lines in it, the first messages */
    int is_stale;              /* the file has lines that are no longer so */
    slm_chat_template *reader; /* finds the role of a line, and whether it is JSON */
};

/* Appends a message; takes the text, also on failure. CLI_GO or CLI_FAILED, here and below. */
int history_take(struct chat_history *h, struct chat_text *json, enum chat_role role);
/* The object {"role": role, "content": content}. */
int history_add(struct chat_history *h, enum chat_role role, const char *content, size_t size);
void history_truncate(struct chat_history *h, size_t n);
/* Instructions in front of the talk; "" removes them. */
int history_set_system(struct chat_history *h, const char *content, size_t size);
/* The number of the last message of that role, or n. */
size_t history_last(const struct chat_history *h, enum chat_role role);
/* [message, message ...] of the first n. */
int history_array(const struct chat_history *h, size_t n, struct chat_text *json);
/* Appends the messages of a file. must: it must exist. */
int history_load(struct chat_history *h, const char *path, int must);
/* Saves to the file of that name from now on; NULL: nowhere. */
int history_save_to(struct chat_history *h, const char *path);
/* Finds out whether a file can be written, which makes it. */
int history_try(const char *path);
/* Brings the file up to date. */
int history_sync(struct chat_history *h);
void history_free(struct chat_history *h);

/* ---- Input (chat_input.c) ------------------------------------------------------------------- */

struct chat_input {
    char *line;
    size_t capacity;
    int interactive;       /* a person types and reads */
    int is_block;          /* the last message was a block: no command */
    struct chat_text text; /* the last message */
};

#define INPUT_END 0
#define INPUT_TEXT 1
#define INPUT_DROPPED 2 /* Ctrl-C while there was something to drop */

/* The next message: a line, lines ending in a backslash, or a block between lines of """. drops:
 * Ctrl-C at its beginning drops it, and does not ask whether to leave. */
int input_read(struct chat_input *in, const char *sign, int drops);

/* ---- Screen (chat_screen.c) ----------------------------------------------------------------- */

struct chat_screen {
    int coloured, terminal;
    int32_t kind; /* SLM_CHAT_ of what was written last in this answer, NONE at its beginning */
    int mid_line;
};

void screen_begin(struct chat_screen *s);
/* CLI_GO or CLI_FAILED. Without a terminal reasoning is not written. */
int screen_event(struct chat_screen *s, const slm_chat_event *event);
int screen_end(struct chat_screen *s);

/* ---- The talk ------------------------------------------------------------------------------- */

struct chat_counts {
    int64_t prompt, kept; /* tokens of prompts, and of these, those that were in the cache */
    int64_t reasoning, answer, calls, forced;
    int64_t prompt_ns, answer_ns;
};

struct chat_answer {
    struct chat_text reasoning, content;
    struct chat_text calls; /* as "tool_calls" has them, without brackets */
    struct chat_text ids;   /* of the calls and their names, each 0-terminated, in turn */
    int32_t n_calls;
    int stopped; /* by Ctrl-C */
    int full;    /* cut off by the end of the context */
};

struct chat {
    slm_model *model;
    slm_context *context;
    slm_sampler *sampler;
    slm_chat_template *form;
    slm_chat_output *output;
    slm_chat_options options;
    char *tools;
    const char *name; /* of the model's file */
    int32_t n_ctx, n_predict, budget;
    int has_reasoning; /* the template shows how it is written */
    int is_recurrent;
    int told_full; /* that the talk does not fit: in a pipe once is enough */

    struct chat_history history;
    struct chat_input input;
    struct chat_screen screen;

    struct cli_tokens cache;  /* of sequence 0; -1: some token, we do not know which */
    struct cli_tokens prompt; /* of this answer */
    size_t checkpoint;        /* length of the cache there; 0: none */
    struct chat_counts last, all;
};

/* Answers the messages of the history with one. On failure the reason has been told. */
int chat_answer(struct chat *c, struct chat_answer *a);
void chat_answer_free(struct chat_answer *a);
/* A model with a state forgets, a new talk begins. */
void chat_forget(struct chat *c);

/* A message of the user, and all answers and results of tools it leads to. */
int chat_say(struct chat *c, const char *text, size_t size);
/* The last of these again. */
int chat_retry(struct chat *c);

/* Runs "/name argument". CLI_GO: go on; CLI_OK: leave; CLI_FAILED: it did not work. */
int chat_command(struct chat *c, const char *text, size_t size);

#endif
