/* chat_commands.c - what begins with a slash. What they say goes to standard error: standard output is
 * for answers. */
#include "chat.h"

#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    const char *other; /* a second name, or NULL */
    const char *argument;
    /* argument: the text behind the name, trimmed, 0-terminated. As chat_command. */
    int (*run)(struct chat *c, const char *argument);
    const char *help;
};

static int run_help(struct chat *c, const char *argument);

/* ---- The talk ------------------------------------------------------------------------------- */

static int run_quit(struct chat *c, const char *argument)
{
    (void)c;
    (void)argument;
    return CLI_OK;
}

/* A file keeps what it has: a talk is not lost by beginning another. */
static int leave_file(struct chat *c)
{
    if (c->history.path == NULL) {
        return CLI_GO;
    }
    cli_say("no longer saved to %s; /save FILE saves this talk", c->history.path);
    return history_save_to(&c->history, NULL);
}

static int run_clear(struct chat *c, const char *argument)
{
    (void)argument;
    if (leave_file(c) != CLI_GO) {
        return CLI_FAILED;
    }
    int has_system = c->history.n > 0 && c->history.list[0].role == ROLE_SYSTEM;
    history_truncate(&c->history, has_system ? 1 : 0);
    slm_sampler_rewind(c->sampler, INT32_MAX, NULL);
    return CLI_GO;
}

static int run_undo(struct chat *c, const char *argument)
{
    (void)argument;
    size_t last = history_last(&c->history, ROLE_USER);
    if (last == c->history.n) {
        return cli_fail("there is nothing to take back");
    }
    history_truncate(&c->history, last);
    cli_say("taken back; %zu messages are left", c->history.n);
    return history_sync(&c->history);
}

static int run_retry(struct chat *c, const char *argument)
{
    (void)argument;
    return chat_retry(c);
}

static int run_system(struct chat *c, const char *argument)
{
    if (history_set_system(&c->history, argument, strlen(argument)) != CLI_GO) {
        return CLI_FAILED;
    }
    cli_say(argument[0] != 0 ? "other instructions from now on" : "no instructions from now on");
    return history_sync(&c->history);
}

/* ---- Files ---------------------------------------------------------------------------------- */

static int run_save(struct chat *c, const char *argument)
{
    if (argument[0] == 0 && c->history.path == NULL) {
        return cli_fail("/save FILE: to which file?");
    }
    if (argument[0] != 0) {
        FILE *there = fopen(argument, "rb");
        if (there != NULL) {
            fclose(there);
            return cli_fail("%s exists; /load goes on with the talk in it", argument);
        }
        if (history_try(argument) != CLI_GO || history_save_to(&c->history, argument) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    int code = history_sync(&c->history);
    if (code == CLI_GO) {
        cli_say("%zu messages are in %s, and the talk as it goes", c->history.n, c->history.path);
    }
    return code;
}

/* The old talk stays if the file is none. */
static int run_load(struct chat *c, const char *argument)
{
    struct chat_history loaded;
    memset(&loaded, 0, sizeof loaded);
    if (argument[0] == 0) {
        return cli_fail("/load FILE: which file?");
    }
    if (history_save_to(&loaded, argument) != CLI_GO ||
        history_load(&loaded, argument, 1) != CLI_GO || history_try(argument) != CLI_GO) {
        history_free(&loaded);
        return CLI_FAILED;
    }
    history_free(&c->history);
    c->history = loaded;
    cli_say("%zu messages; the talk goes on in %s", c->history.n, c->history.path);
    return CLI_GO;
}

/* ---- Reasoning ------------------------------------------------------------------------------ */

static int run_think(struct chat *c, const char *argument)
{
    (void)argument;
    cli_set_thinking(&c->options, 1);
    return c->has_reasoning ? CLI_GO : cli_fail("this model's template knows of no reasoning");
}

static int run_no_think(struct chat *c, const char *argument)
{
    (void)argument;
    cli_set_thinking(&c->options, 0);
    return CLI_GO;
}

static int run_budget(struct chat *c, const char *argument)
{
    char *end = NULL;
    long n = strtol(argument, &end, 10);
    if (end == argument || *end != 0 || n < 0 || n > INT32_MAX) {
        return cli_fail("/budget needs a number of tokens, 0 for no limit");
    }
    if (!c->has_reasoning) {
        return cli_fail("this model's template knows of no reasoning");
    }
    c->budget = (int32_t)n;
    return CLI_GO;
}

static int run_effort(struct chat *c, const char *argument)
{
    static const char *const levels[] = {"low", "medium", "high"};
    for (int i = 0; i < CLI_COUNT(levels); i++) {
        if (strcmp(argument, levels[i]) == 0) {
            c->options.reasoning_effort = levels[i];
            return CLI_GO;
        }
    }
    return cli_fail("/effort needs low, medium or high");
}

/* ---- Counts --------------------------------------------------------------------------------- */

static double per_second(int64_t n, int64_t ns)
{
    return ns > 0 ? (double)n * 1e9 / (double)ns : 0;
}

static void print_counts(const char *what, const struct chat_counts *n)
{
    int64_t answered = n->reasoning + n->answer + n->calls;
    fprintf(stderr, "%-12s %8lld %8lld %9lld %8lld %8lld %9lld %9.1f %8.1f\n", what,
            (long long)n->prompt, (long long)n->kept, (long long)n->reasoning, (long long)n->answer,
            (long long)n->calls, (long long)n->forced,
            per_second(n->prompt - n->kept, n->prompt_ns), per_second(answered, n->answer_ns));
}

static int run_stats(struct chat *c, const char *argument)
{
    (void)argument;
    fprintf(stderr, "%-12s %8s %8s %9s %8s %8s %9s %9s %8s\n", "tokens", "prompt", "in cache",
            "reasoning", "answer", "calls", "forced", "read/s", "said/s");
    print_counts("last answer", &c->last);
    print_counts("all", &c->all);
    fprintf(stderr, "%zu messages, %zu of %d positions of the context\n", c->history.n, c->cache.n,
            (int)c->n_ctx);
    return CLI_GO;
}

/* ---- The table ------------------------------------------------------------------------------ */

static const struct command commands[] = {
    {"help", "?", "", run_help, "this list"},
    {"clear", "new", "", run_clear, "begin anew, with the same instructions"},
    {"undo", NULL, "", run_undo, "take the last message and its answers back"},
    {"retry", NULL, "", run_retry, "answer the last message again"},
    {"system", NULL, "[TEXT]", run_system, "instructions in front of the talk, or none"},
    {"think", NULL, "", run_think, "ask for reasoning"},
    {"no-think", NULL, "", run_no_think, "ask for none"},
    {"budget", NULL, "N", run_budget, "at most N tokens of reasoning, 0: no limit"},
    {"effort", NULL, "LEVEL", run_effort, "of reasoning: low, medium, high"},
    {"save", NULL, "[FILE]", run_save, "save the talk, and go on saving it"},
    {"load", NULL, "FILE", run_load, "go on with the talk in FILE"},
    {"stats", "tokens", "", run_stats, "tokens of each kind, and speed"},
    {"quit", "exit", "", run_quit, "leave; so do Ctrl-D, and Ctrl-C twice"},
};

static int run_help(struct chat *c, const char *argument)
{
    (void)c;
    (void)argument;
    for (int i = 0; i < CLI_COUNT(commands); i++) {
        const struct command *o = &commands[i];
        char head[48];
        snprintf(head, sizeof head, "/%s%s%s %s", o->name, o->other != NULL ? " /" : "",
                 o->other != NULL ? o->other : "", o->argument);
        fprintf(stderr, "  %-18s %s\n", head, o->help);
    }
    fputs("A line that ends in \\ goes on in the next; a line of \"\"\" begins a message of many\n"
          "lines, another ends it. //text says /text. Ctrl-C stops an answer and keeps it.\n",
          stderr);
    return CLI_GO;
}

int chat_command(struct chat *c, const char *text, size_t size)
{
    char name[16];
    size_t n = 1;
    c->told_full = 0;
    while (n < size && strchr(" \t", text[n]) == NULL) {
        n++;
    }
    snprintf(name, sizeof name, "%.*s", (int)(n - 1 < sizeof name ? n - 1 : sizeof name), text + 1);
    while (n < size && strchr(" \t", text[n]) != NULL) {
        n++;
    }
    for (int i = 0; i < CLI_COUNT(commands); i++) {
        const struct command *o = &commands[i];
        if (strcmp(name, o->name) == 0 || (o->other != NULL && strcmp(name, o->other) == 0)) {
            return o->argument[0] == 0 && n < size ? cli_fail("/%s takes no argument", o->name)
                                                   : o->run(c, text + n);
        }
    }
    return cli_fail("there is no command /%s; /help lists them, and //%s says it", name, name);
}
