/* run.c - continues a prompt. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_usage usage = {
    CLI_RUN,
    "run",
    "-m FILE [-p PROMPT | -f FILE] [options]",
    "Continues a text. Only the continuation goes to standard output, piece by piece as it\n"
    "comes, without the prompt and without a newline at the end (but on a terminal). The\n"
    "prompt is taken as it is, with the start token that the vocabulary asks for; for a\n"
    "conversation see slm chat. Ctrl-C ends it, with exit status 1.\n",
    "  slm run -m story.gguf -p \"Once upon a time\" --seed 7\n"
    "  slm run -m model.gguf -n 64 --temp 0 --stop $'\\n' < question.txt\n"
    "  slm run -m model.gguf -f prompt.txt --stats > answer.txt\n",
};

static int read_prompt(const struct cli_settings *s, char **data, size_t *size)
{
    if (s->prompt == NULL) {
        if (s->prompt_file == NULL && isatty(STDIN_FILENO)) {
            cli_say("reading the prompt from the terminal; Ctrl-D ends it");
        }
        return cli_read_all(s->prompt_file, data, size);
    }
    *size = strlen(s->prompt);
    *data = malloc(*size + 1);
    if (*data == NULL) {
        return cli_fail("no memory for the prompt");
    }
    memcpy(*data, s->prompt, *size + 1);
    return CLI_GO;
}

static double per_second(int32_t n, int64_t ns)
{
    return ns > 0 ? n * 1e9 / (double)ns : 0;
}

static void print_stats(const slm_generator *generator, const struct cli_settings *s,
                        int64_t load_ns)
{
    slm_generate_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    if (slm_generate_get_stats(generator, &stats, NULL) != SLM_OK) {
        return;
    }
    fprintf(stderr,
            "load       %8.1f ms\n"
            "prompt     %8d tokens  %8.1f tokens/s\n"
            "generated  %8d tokens  %8.1f tokens/s\n"
            "first token%8.1f ms after the prompt was handed over\n"
            "seed       %llu\n",
            (double)load_ns / 1e6, (int)stats.n_prompt,
            per_second(stats.n_prompt_done, stats.prompt_ns), (int)stats.n_generated,
            per_second(stats.n_generated, stats.generate_ns), (double)stats.first_token_ns / 1e6,
            (unsigned long long)s->sampling.seed.value);
}

/* Pulls pieces until the end. */
static int stream(slm_generator *generator, struct cli_progress *progress)
{
    slm_piece piece;
    slm_error err;
    memset(&piece, 0, sizeof piece);
    piece.struct_size = sizeof piece;
    cli_progress_begin(progress, "reading the prompt");
    for (;;) {
        int status = slm_generate_next(generator, &piece, &err);
        cli_progress_end(progress);
        if (status != SLM_OK || piece.kind == SLM_PIECE_END) {
            if (isatty(STDOUT_FILENO)) {
                cli_write("\n", 1);
            }
            if (status != SLM_OK) {
                return cli_fail("%s", status == SLM_E_CANCELLED ? "interrupted" : err.message);
            }
            break;
        }
        if (cli_write_text(piece.text, piece.size) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    if (piece.reason == SLM_END_FULL) {
        cli_say("the context is full; --ctx makes it longer");
    }
    return CLI_OK;
}

static int generate(slm_context *context, slm_sampler *sampler, const struct cli_settings *s,
                    const char *prompt, size_t size, int64_t load_ns)
{
    struct cli_progress progress;
    slm_generate_options options;
    slm_generator *generator = NULL;
    slm_error err;
    slm_generate_options_init(&options, sizeof options);
    if (s->special) {
        options.flags |= SLM_TEXT_SPECIAL;
    }
    options.max_tokens = s->n_predict;
    options.heal = s->heal;
    options.stops = s->stops.text;
    options.n_stops = s->stops.n;
    options.cancel = cli_interrupt();
    options.progress = cli_progress_report;
    options.progress_user = &progress;
    if (slm_generate_begin(&generator, context, 0, sampler, prompt, size, &options, &err) !=
        SLM_OK) {
        return cli_fail("%s", err.message);
    }
    int code = stream(generator, &progress);
    if (s->stats && code == CLI_OK) {
        print_stats(generator, s, load_ns);
    }
    slm_generate_end(generator);
    return code;
}

static int with_model(slm_model *model, struct cli_settings *s, const char *prompt, size_t size,
                      int64_t load_ns)
{
    slm_context_options options;
    slm_context *context = NULL;
    slm_sampler *sampler = NULL;
    slm_error err;
    slm_context_options_init(&options, sizeof options);
    options.n_ctx = s->n_ctx;
    options.n_threads = s->n_threads;
    options.kv_type = s->kv_type;
    if (slm_context_create(&context, model, &options, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    int code = cli_make_sampler(&sampler, model, &s->sampling);
    if (code == CLI_GO) {
        code = generate(context, sampler, s, prompt, size, load_ns);
    }
    slm_sampler_free(sampler);
    slm_context_free(context);
    return code;
}

int cli_run(int argc, char **argv)
{
    struct cli_settings s;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (s.model == NULL) {
        return cli_wanted(&usage, "-m FILE");
    }
    if (s.prompt != NULL && s.prompt_file != NULL) {
        return cli_not_both(&usage, "-p", "-f");
    }
    char *prompt = NULL;
    size_t size = 0;
    if (read_prompt(&s, &prompt, &size) != CLI_GO) {
        return CLI_FAILED;
    }
    cli_catch_interrupt(1);
    slm_model *model = NULL;
    int64_t begin_ns = slm_clock_ns();
    code = cli_open_model(&model, s.model, 0, &s);
    if (code == CLI_GO) {
        code = with_model(model, &s, prompt, size, slm_clock_ns() - begin_ns);
    }
    slm_model_free(model);
    free(prompt);
    return code;
}
