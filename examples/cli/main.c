/* main.c - the table of subcommands. */
#include "cli.h"

#include <string.h>

static const struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", cli_run, "continue a prompt; the text goes to standard output"},
    {"chat", cli_chat, "talk, with reasoning and tools where the model has them"},
    {"template", cli_template, "a conversation as the text and tokens that a model gets"},
    {"tokens", cli_tokens_command, "text to token ids, and back"},
    {"logits", cli_logits, "the raw logits of every position of a row of tokens"},
    {"embed", cli_embed, "texts as vectors, and how near two of them are"},
    {"rerank", cli_rerank, "which documents answer a query"},
    {"info", cli_info, "what a file is, what it needs, what it says about itself"},
    {"bench", cli_bench, "prefill and decode speed, of a file or of a known shape"},
};

static const struct cli_command *find_command(const char *name)
{
    for (int i = 0; i < CLI_COUNT(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int help(void)
{
    printf("slm runs small language models from GGUF files on this computer's CPU.\n\n"
           "usage: slm COMMAND [options]\n\n");
    for (int i = 0; i < CLI_COUNT(commands); i++) {
        printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    }
    printf("  %-8s this text, or that of one command: slm help run\n"
           "  %-8s the version of the library\n\n",
           "help", "version");
    printf("try:\n"
           "  slm run -m examples/models/storyteller-q8_0.gguf -p \"Once upon a time\"\n"
           "  slm chat -m examples/models/storyteller-q8_0.gguf\n"
           "  slm info -m model.gguf\n"
           "  slm bench --shape llama3.2-1b --type q4_k_m\n\n"
           "A value follows its option as the next word or after a '=': --temp 0.5, --temp=0.5.\n"
           "An option given again replaces what it said before; --stop adds to it.\n"
           "Standard output carries the result alone; everything else is on standard error.\n"
           "Exit status: 0 done, 1 failed or interrupted (one line says why), 2 wrong usage.\n");
    return cli_finish();
}

static int unknown_command(const char *name)
{
    cli_say("unknown command '%s'; slm help lists them", name);
    return CLI_USAGE;
}

static int unexpected(const char *word)
{
    cli_say("unexpected argument %s; slm help says more", word);
    return CLI_USAGE;
}

/* `slm help`, or `slm help COMMAND` */
static int help_command(int argc, char **argv)
{
    if (argc < 3) {
        return help();
    }
    if (argc > 3) {
        return unexpected(argv[3]);
    }
    const struct cli_command *command = find_command(argv[2]);
    char flag[] = "--help";
    char *help_argv[] = {argv[2], flag, NULL};
    return command != NULL ? command->run(2, help_argv) : unknown_command(argv[2]);
}

static int version(int argc, char **argv)
{
    int32_t v = slm_version();
    if (argc > 2) {
        return unexpected(argv[2]);
    }
    printf("slm %d.%d.%d\n", (int)(v / 1000000), (int)(v / 1000 % 1000), (int)(v % 1000));
    return cli_finish();
}

int main(int argc, char **argv)
{
    /* A reader that goes away ends the tool without a word, also where the parent ignores the signal. */
    signal(SIGPIPE, SIG_DFL);

    if (argc < 2) {
        cli_say("which command? slm help lists them");
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        return help_command(argc, argv);
    }
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        return version(argc, argv);
    }
    const struct cli_command *command = find_command(name);
    return command != NULL ? command->run(argc - 1, argv + 1) : unknown_command(name);
}
