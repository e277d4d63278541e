/* options.c - one table of all options of all subcommands, and one walk over the arguments: it
 * finds the row and lets the row's parser store the value in struct cli_settings. Help is printed
 * from the same table. Every complaint is one line that says what would have been right. */
#include "cli.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- Values --------------------------------------------------------------------------------- */

struct option {
    unsigned commands;
    const char *name;     /* "-m" or "--temp" */
    const char *argument; /* what the help calls its value; NULL for a flag */
    /* Stores value at target, or says what is wrong. CLI_GO, CLI_USAGE or CLI_FAILED. */
    int (*parse)(const struct option *option, const char *value, void *target);
    size_t target;      /* offset in struct cli_settings */
    double least, most; /* of a number */
    const char *help;
};

static int wrong_value(const struct option *option, const char *value, const char *expected)
{
    cli_say("%s needs %s, not '%s'", option->name, expected, value);
    return CLI_USAGE;
}

static int parse_flag(const struct option *option, const char *value, void *target)
{
    (void)option;
    (void)value;
    *(int *)target = 1;
    return CLI_GO;
}

static int parse_off(const struct option *option, const char *value, void *target)
{
    (void)option;
    (void)value;
    *(int32_t *)target = 0;
    return CLI_GO;
}

static int parse_text(const struct option *option, const char *value, void *target)
{
    (void)option;
    *(const char **)target = value;
    return CLI_GO;
}

static int parse_int(const struct option *option, const char *value, void *target)
{
    char *end = NULL;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    if (end == value || *end != 0 || errno != 0 || (double)n < option->least ||
        (double)n > option->most) {
        char expected[80];
        snprintf(expected, sizeof expected, "a whole number from %.0f to %.0f", option->least,
                 option->most);
        return wrong_value(option, value, expected);
    }
    *(int32_t *)target = (int32_t)n;
    return CLI_GO;
}

static int parse_real(const struct option *option, const char *value, void *target)
{
    char *end = NULL;
    double x = strtod(value, &end);
    /* Written so that NaN fails too. */
    if (end == value || *end != 0 || !(x >= option->least && x <= option->most)) {
        char expected[80];
        snprintf(expected, sizeof expected, "a number from %g to %g", option->least, option->most);
        return wrong_value(option, value, expected);
    }
    *(float *)target = (float)x;
    return CLI_GO;
}

static int parse_seed(const struct option *option, const char *value, void *target)
{
    struct cli_seed *seed = target;
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    /* strtoull takes "-1" for the largest number there is. */
    if (*value < '0' || *value > '9' || *end != 0 || errno != 0) {
        return wrong_value(option, value, "a whole number from 0 to 18446744073709551615");
    }
    seed->value = n;
    seed->given = 1;
    return CLI_GO;
}

static int parse_stops(const struct option *option, const char *value, void *target)
{
    struct cli_stops *stops = target;
    size_t size = strlen(value);
    if (size < 1 || size > 255) {
        return wrong_value(option, value, "a text of 1 to 255 bytes");
    }
    if (stops->n == CLI_STOPS_MAX) {
        cli_say("%s may be given %d times", option->name, CLI_STOPS_MAX);
        return CLI_USAGE;
    }
    stops->text[stops->n++] = value;
    return CLI_GO;
}

struct named {
    const char *name;
    int32_t value;
};

static int parse_named(const struct option *option, const char *value, void *target,
                       const struct named *names, int n, const char *expected)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(value, names[i].name) == 0) {
            *(int32_t *)target = names[i].value;
            return CLI_GO;
        }
    }
    return wrong_value(option, value, expected);
}

static int parse_kv(const struct option *option, const char *value, void *target)
{
    static const struct named types[] = {{"f16", SLM_KV_F16}, {"f32", SLM_KV_F32}};
    return parse_named(option, value, target, types, CLI_COUNT(types), "f16 or f32");
}

static int parse_pooling(const struct option *option, const char *value, void *target)
{
    static const struct named names[] = {{"none", SLM_POOLING_NONE},
                                         {"mean", SLM_POOLING_MEAN},
                                         {"cls", SLM_POOLING_CLS},
                                         {"last", SLM_POOLING_LAST},
                                         {"rank", SLM_POOLING_RANK}};
    return parse_named(option, value, target, names, CLI_COUNT(names),
                       "none, mean, cls, last or rank");
}

static int parse_effort(const struct option *option, const char *value, void *target)
{
    static const struct named names[] = {{"low", 0}, {"medium", 1}, {"high", 2}};
    int32_t which = 0;
    int code = parse_named(option, value, &which, names, CLI_COUNT(names), "low, medium or high");
    *(const char **)target = code == CLI_GO ? names[which].name : NULL;
    return code;
}

/* Feature bits come in groups of 16, one per architecture, and within a group in rising order: a
 * name stands for its bit and those below it. */
static int parse_isa(const struct option *option, const char *value, void *target)
{
    if (strcmp(value, "ref") == 0) {
        *(uint64_t *)target = 0;
        return CLI_GO;
    }
    char known[256] = "ref";
    for (int32_t i = 0; i < 64; i++) {
        const char *name = slm_cpu_feature_name(i);
        if (name == NULL) {
            continue;
        }
        if (strcmp(value, name) == 0) {
            uint64_t bit = UINT64_C(1) << i;
            uint64_t group_begin = UINT64_C(1) << (i / 16 * 16);
            if ((slm_cpu_features() & bit) == 0) {
                return cli_fail("%s %s: this CPU has no %s", option->name, value, value);
            }
            *(uint64_t *)target = (bit | (bit - 1)) & ~(group_begin - 1);
            return CLI_GO;
        }
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, ", %s", name);
    }
    char expected[280];
    snprintf(expected, sizeof expected, "one of %s", known);
    return wrong_value(option, value, expected);
}

/* ---- The table ------------------------------------------------------------------------------ */

#define VECTORS (CLI_EMBED | CLI_RERANK) /* these take words that are no options */
#define EVAL (CLI_RUN | CLI_CHAT | CLI_LOGITS | CLI_BENCH | VECTORS)
#define TALK (CLI_RUN | CLI_CHAT)
#define CONVERSATION (CLI_CHAT | CLI_TEMPLATE)
#define AT(field) offsetof(struct cli_settings, field)

/* In the order of the help. */
static const struct option options[] = {
    {EVAL | CLI_TOKENS | CLI_INFO | CLI_TEMPLATE, "-m", "FILE", parse_text, AT(model), 0, 0,
     "the model, a GGUF file"},
    {CLI_RUN, "-p", "PROMPT", parse_text, AT(prompt), 0, 0, "the text to continue"},
    {CLI_RUN, "-f", "FILE", parse_text, AT(prompt_file), 0, 0,
     "read it from a file; without -p and -f from standard input"},
    {CLI_CHAT, "--system", "TEXT", parse_text, AT(system), 0, 0,
     "instructions that stand before the talk"},
    {CONVERSATION, "--template", "NAME", parse_text, AT(chat_template), 0, 0,
     "a file with a template, or a built-in one: chatml, gemma, llama2,\n"
     "llama3, mistral, phi3, vicuna, zephyr (default: the model's own)"},
    {CONVERSATION, "--think", NULL, parse_flag, AT(thinking), 0, 0,
     "ask the template for reasoning (default: it decides)"},
    {CONVERSATION, "--no-think", NULL, parse_off, AT(thinking), 0, 0,
     "ask it for none; the last of the two counts"},
    {CLI_CHAT, "--think-budget", "N", parse_int, AT(think_budget), 0, INT32_MAX,
     "at most N tokens of reasoning, then the answer; 0: no limit (0)"},
    {CONVERSATION, "--effort", "LEVEL", parse_effort, AT(effort), 0, 0,
     "low, medium or high, where the template knows reasoning effort"},
    {CONVERSATION, "--tools", "FILE", parse_text, AT(tools), 0, 0,
     "tools that the model may call: a JSON array of functions"},
    {CLI_CHAT, "--load", "FILE", parse_text, AT(load), 0, 0,
     "begin with the talk in FILE: a message in JSON on each line"},
    {CLI_CHAT, "--save", "FILE", parse_text, AT(save), 0, 0,
     "add the talk to FILE as it goes; a talk in it already goes on"},
    {CLI_TEMPLATE, "-f", "FILE", parse_text, AT(prompt_file), 0, 0,
     "read the conversation from a file instead of standard input"},
    {CLI_TEMPLATE, "--no-prompt", NULL, parse_flag, AT(no_prompt), 0, 0,
     "do not end with the beginning of an answer"},
    {CLI_TEMPLATE, "--segments", NULL, parse_flag, AT(segments), 0, 0,
     "a line for each stretch of text: the template's, or content"},
    {CLI_TEMPLATE, "--ids", NULL, parse_flag, AT(ids), 0, 0, "token ids instead of text"},
    {CLI_EMBED, "--compare", NULL, parse_flag, AT(compare), 0, 0,
     "two texts are given: write the cosine of their vectors instead"},
    {CLI_EMBED, "--ids", NULL, parse_flag, AT(ids), 0, 0,
     "texts are token ids: \"1 2 3\". The only way for files whose\n"
     "tokenizer is not supported"},
    {CLI_EMBED, "--pooling", "NAME", parse_pooling, AT(pooling), 0, 0,
     "none, mean, cls, last or rank (default: what the file says)"},
    {CLI_EMBED, "--raw", NULL, parse_flag, AT(raw), 0, 0, "do not bring vectors to length 1"},
    {CLI_RERANK, "--query", "TEXT", parse_text, AT(query), 0, 0,
     "what the documents are to answer"},
    {CLI_LOGITS, "--tokens", "IDS", parse_text, AT(tokens), 0, 0, "token ids: \"1 2 3\""},
    {TALK, "-n", "N", parse_int, AT(n_predict), -1, INT32_MAX,
     "at most N tokens of text; -1: until the model ends it or the\n"
     "context is full (-1)"},
    {CLI_BENCH, "--shape", "NAME", parse_text, AT(shape), 0, 0,
     "random weights in the shape of a known model, made once in a\n"
     "temporary folder; list names them"},
    {CLI_BENCH, "--type", "NAME", parse_text, AT(type), 0, 0, "and their encoding (q4_k_m)"},
    {CLI_BENCH, "-p", "N", parse_int, AT(bench_prefill), 0, 1 << 20,
     "tokens of prefill, 0 for no such test (512)"},
    {CLI_BENCH, "-n", "N", parse_int, AT(bench_decode), 0, 1 << 20,
     "tokens of decode, 0 for no such test (32)"},
    {CLI_BENCH, "-d", "DEPTH", parse_int, AT(bench_depth), 0, 1 << 22,
     "positions in the cache before either begins (0)"},
    {CLI_BENCH, "-b", "N", parse_int, AT(bench_sequences), 1, BENCH_SEQUENCES_MAX,
     "sequences that decode together, a token of each at a time (1)"},
    {CLI_BENCH, "-r", "N", parse_int, AT(bench_repeat), 1, 1000,
     "repetitions, after one that is not timed (3)"},
    {CLI_BENCH, "--csv", NULL, parse_flag, AT(csv), 0, 0,
     "one line of comma-separated values for each test, with a head"},
    {TALK, "--temp", "T", parse_real, AT(sampling.temperature), 0, 1000,
     "temperature; 0 takes the likeliest token each time (0.8)"},
    {TALK, "--top-k", "N", parse_int, AT(sampling.top_k), 0, INT32_MAX,
     "choose among the N likeliest tokens, 0 for all (40)"},
    {TALK, "--top-p", "P", parse_real, AT(sampling.top_p), 0, 1,
     "choose among the likeliest that together have P (0.95)"},
    {TALK, "--min-p", "P", parse_real, AT(sampling.min_p), 0, 1,
     "leave out what has less than P times the best one's (0.05)"},
    {TALK, "--repeat-penalty", "R", parse_real, AT(sampling.repeat), 0.01, 100,
     "make tokens of the last 64 less likely, 1 for not (1)"},
    {TALK, "--seed", "N", parse_seed, AT(sampling.seed), 0, 0,
     "the same seed gives the same text, with the same instruction set\n"
     "(default: a new one each time)"},
    {CLI_RUN, "--stop", "TEXT", parse_stops, AT(stops), 0, 0,
     "end before TEXT; may be given 16 times"},
    {CLI_TOKENS, "--decode", NULL, parse_flag, AT(decode), 0, 0,
     "ids on standard input, text on standard output"},
    {CLI_RUN, "--special", NULL, parse_flag, AT(special), 0, 0,
     "special tokens in the prompt become tokens; not for prompts\n"
     "that strangers write"},
    {CLI_RUN, "--heal", NULL, parse_flag, AT(heal), 0, 0,
     "the prompt may end inside a word: its last tokens are chosen anew\n"
     "among those that agree with it (token healing)"},
    {CLI_TOKENS, "--special", NULL, parse_flag, AT(special), 0, 0,
     "special tokens in the text become tokens; with --decode they\n"
     "are written rather than dropped"},
    {CLI_TOKENS, "--bos", NULL, parse_flag, AT(bos), 0, 0,
     "add the start and end tokens that the vocabulary asks for; with\n"
     "--decode take them and the space put in front away again"},
    {CLI_INFO, "--metadata", NULL, parse_flag, AT(metadata), 0, 0,
     "list every key; long values are abbreviated"},
    {CLI_INFO, "--tensors", NULL, parse_flag, AT(tensors), 0, 0, "list every tensor"},
    {TALK, "--ctx", "N", parse_int, AT(n_ctx), 1, 1 << 24,
     "positions of context (default: as trained, at most 4096)"},
    {EVAL, "-t", "N", parse_int, AT(n_threads), 1, 1024,
     "threads to compute with (default: one for each core that this\n"
     "process may use, of fast ones if there are two kinds)"},
    {EVAL, "--threads", "N", parse_int, AT(n_threads), 1, 1024, "the same as -t"},
    {CLI_RUN, "--stats", NULL, parse_flag, AT(stats), 0, 0,
     "timings and the seed on standard error at the end"},
    {EVAL, "--kv", "TYPE", parse_kv, AT(kv_type), 0, 0,
     "encoding of the KV cache: f16 or f32 (f16)"},
    {CLI_LOGITS | CLI_BENCH | VECTORS, "--exact", NULL, parse_flag, AT(exact), 0, 0,
     "do not round activations to 8 bits"},
    {EVAL, "--surplus", NULL, parse_flag, AT(surplus), 0, 0,
     "run a model with tensors that slm has no place for in its family"},
    {EVAL | CLI_INFO, "--isa", "NAME", parse_isa, AT(cpu), 0, 0,
     "instruction set to stay within: ref, avx2, ... (default: all\n"
     "that this CPU has)"},
};

static const struct cli_settings defaults = {
    .n_predict = -1,
    .n_threads = SLM_AUTO,
    .n_ctx = SLM_AUTO,
    .kv_type = SLM_KV_F16,
    .pooling = SLM_AUTO,
    .thinking = SLM_AUTO,
    .cpu = SLM_CPU_ALL,
    .sampling = {.temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f, .repeat = 1.0f, .top_k = 40},
    .bench_prefill = 512,
    .bench_decode = 32,
    .bench_sequences = 1,
    .bench_repeat = 3,
};

/* ---- Help ----------------------------------------------------------------------------------- */

#define HELP_COLUMN 21

static void print_option(const struct option *option)
{
    char head[64];
    snprintf(head, sizeof head, "  %s%s%s", option->name, option->argument != NULL ? " " : "",
             option->argument != NULL ? option->argument : "");
    printf("%-*s ", HELP_COLUMN, head);
    for (const char *p = option->help; *p != 0; p++) {
        putchar(*p);
        if (*p == '\n') {
            printf("%*s ", HELP_COLUMN, "");
        }
    }
    putchar('\n');
}

static int print_help(const struct cli_usage *usage)
{
    printf("usage: slm %s %s\n\n%s\n", usage->name, usage->synopsis, usage->text);
    for (int i = 0; i < CLI_COUNT(options); i++) {
        if (options[i].commands & usage->command) {
            print_option(&options[i]);
        }
    }
    printf("%-*s this text\n", HELP_COLUMN, "  --help");
    if (usage->examples != NULL) {
        printf("\nexamples:\n%s", usage->examples);
    }
    return cli_finish();
}

/* ---- The walk ------------------------------------------------------------------------------- */

static const struct option *find_option(unsigned command, const char *name, size_t size)
{
    for (int i = 0; i < CLI_COUNT(options); i++) {
        const struct option *option = &options[i];
        if ((option->commands & command) && strlen(option->name) == size &&
            memcmp(option->name, name, size) == 0) {
            return option;
        }
    }
    return NULL;
}

int cli_wanted(const struct cli_usage *usage, const char *option)
{
    cli_say("%s needs %s; slm %s --help says more", usage->name, option, usage->name);
    return CLI_USAGE;
}

int cli_not_both(const struct cli_usage *usage, const char *one, const char *other)
{
    cli_say("%s takes %s or %s, not both", usage->name, one, other);
    return CLI_USAGE;
}

int cli_parse(const struct cli_usage *usage, struct cli_settings *settings, int argc, char **argv)
{
    int all_words = 0;
    *settings = defaults;
    settings->words = argv + 1;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        int takes_words = (usage->command & VECTORS) != 0;
        if (takes_words && !all_words && strcmp(word, "--") == 0) {
            all_words = 1;
            continue;
        }
        if (takes_words && (all_words || word[0] != '-')) {
            settings->words[settings->n_words++] = argv[i];
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            return print_help(usage);
        }
        if (strncmp(word, "--help=", 7) == 0) {
            cli_say("--help takes no value");
            return CLI_USAGE;
        }
        size_t name_size = strcspn(word, "=");
        const struct option *option = find_option(usage->command, word, name_size);
        if (option == NULL) {
            cli_say("%s %.*s; slm %s --help lists the options",
                    word[0] == '-' ? "unknown option" : "unexpected argument", (int)name_size, word,
                    usage->name);
            return CLI_USAGE;
        }
        const char *value = word[name_size] == '=' ? word + name_size + 1 : NULL;
        if (option->argument == NULL && value != NULL) {
            cli_say("%s takes no value", option->name);
            return CLI_USAGE;
        }
        if (option->argument != NULL && value == NULL) {
            if (++i == argc) {
                cli_say("%s needs a value: %s", option->name, option->argument);
                return CLI_USAGE;
            }
            value = argv[i];
        }
        int code = option->parse(option, value, (char *)settings + option->target);
        if (code != CLI_GO) {
            return code;
        }
    }
    return CLI_GO;
}
