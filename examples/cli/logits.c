/* logits.c - the numbers themselves, to compare with another program's. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_usage usage = {
    CLI_LOGITS,
    "logits",
    "-m FILE --tokens \"1 2 3\" [options]",
    "Evaluates a row of tokens and writes the logits of every position: a line for each token,\n"
    "with one number (%.9g, which tells every float apart) for each entry of the vocabulary.\n",
    "  slm logits -m model.gguf --tokens \"$(printf Hello | slm tokens -m model.gguf --bos)\"\n",
};

/* Positions evaluated at once: rows of logits are large. */
#define ROWS 128

static int print_row(const float *row, int32_t n_vocab)
{
    for (int32_t i = 0; i < n_vocab; i++) {
        printf(i == 0 ? "%.9g" : " %.9g", (double)row[i]);
    }
    putchar('\n');
    return ferror(stdout) ? cli_finish() : CLI_GO;
}

static int eval_rows(slm_context *context, const int32_t *tokens, int32_t n, int32_t n_vocab,
                     struct cli_progress *progress)
{
    slm_error err;
    slm_eval_options options;
    slm_span span;
    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    span.position = -1;
    span.tokens = tokens;
    span.n_tokens = n;
    span.want = SLM_WANT_ALL;
    slm_eval_options_init(&options, sizeof options);
    options.cancel = cli_interrupt();
    options.progress = cli_progress_report;
    options.progress_user = progress;

    cli_progress_begin(progress, "evaluating");
    int status = slm_eval(context, &span, 1, sizeof span, &options, &err);
    cli_progress_end(progress);
    for (int32_t i = 0; i < n && status == SLM_OK; i++) {
        const float *row = NULL; /* [n_vocab] */
        status = slm_logits(context, i, &row, NULL, &err);
        if (status == SLM_OK && print_row(row, n_vocab) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return status == SLM_OK ? CLI_GO : cli_fail("%s", err.message);
}

static int with_model(slm_model *model, const struct cli_settings *s,
                      const struct cli_tokens *tokens)
{
    slm_error err;
    slm_model_info info;
    slm_context_options options;
    slm_context *context = NULL;
    struct cli_progress progress;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    slm_context_options_init(&options, sizeof options);
    options.n_ctx = (int32_t)tokens->n;
    options.n_logits = tokens->n < ROWS ? (int32_t)tokens->n : ROWS;
    options.n_threads = s->n_threads;
    options.kv_type = s->kv_type;
    options.flags = s->exact ? SLM_CONTEXT_EXACT : 0;
    if (slm_model_get_info(model, &info, &err) != SLM_OK ||
        slm_context_create(&context, model, &options, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    int code = CLI_GO;
    for (size_t i = 0; i < tokens->n && code == CLI_GO; i += ROWS) {
        size_t n = tokens->n - i < ROWS ? tokens->n - i : ROWS;
        code = eval_rows(context, tokens->data + i, (int32_t)n, info.n_vocab, &progress);
    }
    slm_context_free(context);
    return code == CLI_GO ? cli_finish() : code;
}

int cli_logits(int argc, char **argv)
{
    struct cli_settings s;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (s.model == NULL) {
        return cli_wanted(&usage, "-m FILE");
    }
    if (s.tokens == NULL) {
        return cli_wanted(&usage, "--tokens IDS");
    }
    struct cli_tokens tokens = {NULL, 0, 0};
    slm_model *model = NULL;
    code = cli_parse_tokens("--tokens", s.tokens, strlen(s.tokens), &tokens);
    if (code == CLI_GO && (tokens.n == 0 || tokens.n > 1 << 24)) {
        code = cli_fail("--tokens: at least one token id is wanted and at most %d", 1 << 24);
    }
    if (code != CLI_GO) {
        free(tokens.data);
        return CLI_USAGE; /* a wrong value of an option, whoever found it */
    }
    cli_catch_interrupt(1);
    code = cli_open_model(&model, s.model, 0, &s);
    if (code == CLI_GO) {
        code = with_model(model, &s, &tokens);
    }
    slm_model_free(model);
    free(tokens.data);
    return code;
}
