/* cli.h - what the subcommands of the slm tool share.
 *
 *     main.c      the table of subcommands, `slm help`
 *     options.c   one parser for every subcommand's table of options
 *     stream.c    standard output and error, reading whole files, escaping
 *     setup.c     opening a model, making a sampler, Ctrl-C
 *     progress.c  one line on a terminal for long work
 *     shapes.c    the shapes of known models
 *     weights.c   encodings and bytes of random weights
 *     synth.c     files of random weights in these shapes, for bench
 *     vectors.c   many texts through slm_embed
 *     conversation.c  chat templates and what they are told
 *     run.c chat.c template.c tokens.c logits.c embed.c rerank.c info.c bench.c   one subcommand
 *                 each; chat.h lists those of chat
 *
 * The tool uses slm.h alone and is an example of doing so. Standard output carries the result and
 * nothing else; everything said beside it goes to standard error. */
#ifndef CLI_H
#define CLI_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "../../slm.h"

#include <signal.h>
#include <stdio.h>

/* Exit codes. CLI_GO is none of them: go on. */
#define CLI_GO (-1)
#define CLI_OK 0
#define CLI_FAILED 1
#define CLI_USAGE 2

#define CLI_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#if defined(__GNUC__) || defined(__clang__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

/* ---- Options (options.c) -------------------------------------------------------------------- */

#define CLI_STOPS_MAX 16

struct cli_stops {
    const char *text[CLI_STOPS_MAX];
    int32_t n;
};

struct cli_seed {
    uint64_t value;
    int given;
};

struct cli_sampling {
    float temperature, top_p, min_p, repeat;
    int32_t top_k;
    struct cli_seed seed; /* chosen by cli_make_sampler unless given */
};

#define BENCH_SEQUENCES_MAX 256 /* decoded together: what a context takes */

/* What the options of all subcommands can set. cli_parse fills in the defaults first. */
struct cli_settings {
    const char *model;
    const char *prompt, *prompt_file, *system, *chat_template, *tokens, *shape, *type;
    int32_t n_predict;
    int32_t n_threads, n_ctx, kv_type;
    uint64_t cpu;
    struct cli_sampling sampling;
    struct cli_stops stops;
    int stats, special, heal, bos, decode, metadata, tensors, csv, exact, surplus;
    const char *query;
    int32_t pooling;
    int raw, ids, compare;
    int segments, no_prompt;
    int32_t thinking, think_budget;
    const char *effort, *tools, *load, *save;
    char **words; /* [n_words] that are no options, where a subcommand takes some */
    int n_words;
    int32_t bench_prefill, bench_decode, bench_depth, bench_sequences, bench_repeat;
};

/* One bit for each subcommand, for the table of options. */
#define CLI_RUN 1u
#define CLI_CHAT 2u
#define CLI_TOKENS 4u
#define CLI_LOGITS 8u
#define CLI_INFO 16u
#define CLI_BENCH 32u
#define CLI_EMBED 64u
#define CLI_RERANK 128u
#define CLI_TEMPLATE 256u

struct cli_usage {
    unsigned command;     /* CLI_RUN ... */
    const char *name;     /* "run" */
    const char *synopsis; /* what follows `slm run` */
    const char *text;     /* what it does, ending in a newline */
    const char *examples; /* lines ending in newlines, or NULL */
};

/* argv[0] is the subcommand's name; words that are no options are brought to the front of argv. CLI_GO, or the code to exit with: help was asked for, or a
 * line on standard error says what is wrong. */
int cli_parse(const struct cli_usage *usage, struct cli_settings *settings, int argc, char **argv);
/* Says that an option is wanted. CLI_USAGE. */
int cli_wanted(const struct cli_usage *usage, const char *option);
/* Says that two options exclude each other. CLI_USAGE. */
int cli_not_both(const struct cli_usage *usage, const char *one, const char *other);

/* ---- Streams (stream.c) --------------------------------------------------------------------- */

/* One line on standard error: "slm: " and the message, control characters made visible. */
void cli_say(const char *format, ...) CLI_PRINTF(1, 2);
/* The same, and CLI_FAILED. */
int cli_fail(const char *format, ...) CLI_PRINTF(1, 2);

/* Writes and flushes. CLI_GO, or CLI_FAILED after saying why. */
int cli_write(const void *data, size_t size);
/* Text that a model wrote: on a terminal control characters other than newline and tab are made
 * visible, so that no model can send it commands; elsewhere the bytes go out as they are. */
int cli_write_text(const char *text, size_t size);
/* Whether standard output is a terminal that is not asked to do without (NO_COLOR, TERM=dumb). */
int cli_has_colours(void);
/* Flushes what printf left and finds errors that it met. CLI_OK or CLI_FAILED. */
int cli_finish(void);

/* Text of unknown origin: what is not printable UTF-8 is written as \n, \x1b, \u{202e}. At most
 * limit bytes of text, then "...". */
void cli_print_escaped(FILE *to, const char *text, size_t size, size_t limit);

/* The size of the UTF-8 character at text (size > 0), its code point in *code; 0 if there is none. */
size_t cli_decode_utf8(const char *text, size_t size, uint32_t *code);

/* All of a file ("-" or NULL: standard input), to be freed. CLI_GO or CLI_FAILED. */
int cli_read_all(const char *path, char **data, size_t *size);

/* "1.2 GiB" in buffer. */
#define CLI_BYTES_SIZE 32
const char *cli_bytes(uint64_t bytes, char *buffer);

/* ---- Setup (setup.c) ------------------------------------------------------------------------ */

/* Ctrl-C sets a flag instead of killing. once: a second Ctrl-C kills after all. */
void cli_catch_interrupt(int once);
int32_t *cli_interrupt(void);
/* Lets it wait until the old mask, *before, is set again. */
void cli_hold_interrupt(sigset_t *before);

/* Opens a model with a progress line. CLI_GO, or CLI_FAILED after saying why. */
int cli_open_model(slm_model **model, const char *path, uint32_t flags,
                   const struct cli_settings *s);

int cli_make_sampler(slm_sampler **sampler, slm_model *model, struct cli_sampling *sampling);

/* Tokens in a growing array. Zero to begin with; free(data) when done. */
struct cli_tokens {
    int32_t *data;
    size_t n, capacity;
};

int cli_push_token(struct cli_tokens *tokens, int32_t token);
int cli_tokenize(const slm_model *model, const char *text, size_t size, uint32_t flags,
                 struct cli_tokens *tokens); /* appends */
int cli_tokenize_prompt(const slm_model *model, const slm_chat_prompt *prompt,
                        struct cli_tokens *tokens); /* the same */
/* Decimal numbers between white space and commas. what: for the message. CLI_GO or CLI_FAILED. */
int cli_parse_tokens(const char *what, const char *text, size_t size, struct cli_tokens *tokens);

/* ---- Progress (progress.c) ------------------------------------------------------------------ */

struct cli_progress {
    const char *what;
    int64_t last_ns;
    int shown;
};

void cli_progress_begin(struct cli_progress *progress, const char *what);
/* A slm_progress_fn whose user is the struct. Stops the work after Ctrl-C. */
int32_t cli_progress_report(void *user, uint64_t done, uint64_t total);
void cli_progress_end(struct cli_progress *progress);

/* ---- Conversations (conversation.c) --------------------------------------------------------- */

/* --template names a built-in template or a file; without it the model's own. CLI_GO or CLI_FAILED. */
int cli_open_template(slm_chat_template **t, const slm_model *model, const struct cli_settings *s);

/* What --think, --effort and --tools say, and the time now. *tools is to be freed when the options are
 * no longer needed. CLI_GO or CLI_FAILED. */
int cli_chat_options(slm_chat_options *o, const struct cli_settings *s, char **tools);

/* enable_thinking, and as "thinking", which some templates call it. SLM_AUTO: the template decides. */
void cli_set_thinking(slm_chat_options *o, int32_t thinking);

/* ---- Embeddings (vectors.c) ------------------------------------------------------------------ */

/* Texts as tokens, one behind the other. Zero to begin with. */
struct cli_texts {
    struct cli_tokens tokens;
    size_t *ends; /* [n] */
    size_t n, capacity;
    size_t n_bad;        /* those that cli_embed_texts could make nothing of */
    char first_bad[256]; /* which was the first, and why */
};

/* The tokens appended since the last one are a text. */
int cli_end_text(struct cli_texts *texts);
void cli_free_texts(struct cli_texts *texts);
/* Ends the output. CLI_OK, or CLI_FAILED after saying what went wrong with texts. */
int cli_finish_texts(const struct cli_texts *texts);

/* Calls fn for each word of the command line, or without any for each line of standard input. */
typedef int (*cli_text_fn)(void *user, const char *text, size_t size);
int cli_each_text(const struct cli_settings *s, cli_text_fn fn, void *user);
/* "line" or "text": what messages call them. They count from 1. */
const char *cli_text_noun(const struct cli_settings *s);

/* What slm_embed made of text `index`. */
struct cli_row {
    size_t index;
    int32_t n_tokens;
    const char *error; /* why there is nothing below, which names the text; or NULL */
    const float *rows; /* [n_rows][width] */
    size_t n_rows, width;
};

/* Calls fn with each text's row, or rows, in order. pooling: SLM_POOLING_ or SLM_AUTO. */
typedef int (*cli_row_fn)(void *user, const struct cli_row *row);
int cli_embed_texts(slm_model *model, const struct cli_settings *s, struct cli_texts *texts,
                    int32_t pooling, cli_row_fn fn, void *user);

/* As JSON has it. */
void cli_print_number(float x);

/* ---- Random weights (synth.c) --------------------------------------------------------------- */

/* The path (to be freed) of a file of random weights, made now unless it is there already. */
int cli_synth(const char *shape, const char *type, char **path);
/* "name, name, ...". Static memory. */
const char *cli_synth_shapes(void);
const char *cli_synth_types(void);

/* ---- Subcommands ---------------------------------------------------------------------------- */

int cli_run(int argc, char **argv);
int cli_chat(int argc, char **argv);
int cli_tokens_command(int argc, char **argv);
int cli_logits(int argc, char **argv);
int cli_embed(int argc, char **argv);
int cli_rerank(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_template(int argc, char **argv);

#endif
