/* embed.c - texts as vectors. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_usage usage = {
    CLI_EMBED,
    "embed",
    "-m FILE [options] [TEXT...]",
    "Writes the embedding of each text, or of each line of standard input, as a line of JSON with\n"
    "index, n_tokens and embedding: an array of numbers, with --pooling none an array for each\n"
    "token, and of a classifier its outputs. Vectors have length 1 unless --raw is given. A text\n"
    "without one (a blank line, one that is too long) has an error and the embedding null, the\n"
    "others go on, and the exit status is 1.\n",
    "  slm embed -m bge-small.gguf \"Hello world\"\n"
    "  slm embed -m bge-small.gguf --compare \"a dog\" \"a puppy\"\n"
    "  slm embed -m bge-small.gguf --ids \"101 7592 102\"\n",
};

struct reader {
    const slm_model *model;
    const struct cli_settings *s;
    struct cli_texts texts;
};

static int read_text(void *user, const char *text, size_t size)
{
    struct reader *r = user;
    char what[48];
    snprintf(what, sizeof what, "--ids, %s %zu", cli_text_noun(r->s), r->texts.n + 1);
    int code = r->s->ids ? cli_parse_tokens(what, text, size, &r->texts.tokens)
                         : cli_tokenize(r->model, text, size, SLM_TEXT_BOS, &r->texts.tokens);
    return code == CLI_GO ? cli_end_text(&r->texts) : code;
}

static void print_array(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        putchar(i == 0 ? '[' : ',');
        cli_print_number(x[i]);
    }
    putchar(']');
}

static int print_row(void *user, const struct cli_row *row)
{
    int per_token = *(const int *)user;
    printf("{\"index\":%zu,\"n_tokens\":%d,\"embedding\":", row->index, (int)row->n_tokens);
    if (row->error != NULL) { /* nothing in it needs an escape */
        printf("null,\"error\":\"%s\"}\n", row->error);
        return ferror(stdout) ? cli_finish() : CLI_GO;
    }
    for (size_t i = 0; i < row->n_rows; i++) {
        fputs(!per_token ? "" : i == 0 ? "[" : ",", stdout);
        print_array(row->rows + i * row->width, row->width);
    }
    puts(per_token ? "]}" : "}");
    return ferror(stdout) ? cli_finish() : CLI_GO;
}

/* Of the angle between a first and a second vector, of length 1 both. */
struct comparison {
    float *first;
    double cosine;
};

static int compare_row(void *user, const struct cli_row *row)
{
    struct comparison *c = user;
    if (row->error != NULL) {
        return cli_fail("%s", row->error);
    }
    if (row->index == 0) {
        c->first = malloc(row->width * sizeof *c->first + 1);
        if (c->first == NULL) {
            return cli_fail("no memory for %zu numbers", row->width);
        }
        memcpy(c->first, row->rows, row->width * sizeof *c->first);
        return CLI_GO;
    }
    for (size_t i = 0; i < row->width; i++) {
        c->cosine += (double)c->first[i] * (double)row->rows[i];
    }
    return CLI_GO;
}

static int compare(slm_model *model, const struct cli_settings *s, struct reader *r)
{
    struct comparison c = {NULL, 0};
    int code = cli_embed_texts(model, s, &r->texts, s->pooling, compare_row, &c);
    if (code == CLI_GO) {
        printf("%.6f\n", c.cosine);
    }
    free(c.first);
    return code;
}

static int with_model(slm_model *model, const struct cli_settings *s)
{
    slm_error err;
    slm_model_info info = {.struct_size = sizeof info};
    struct reader r;
    memset(&r, 0, sizeof r);
    r.model = model;
    r.s = s;
    if (slm_model_get_info(model, &info, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    int pooling = s->pooling == SLM_AUTO ? info.pooling : s->pooling;
    int per_token = pooling == SLM_POOLING_NONE;
    int code = CLI_GO;
    if (s->compare && (per_token || pooling == SLM_POOLING_RANK)) {
        code = cli_fail("--compare wants one vector a text: the pooling is %s, see --pooling",
                        per_token ? "none" : "rank");
    }
    if (code == CLI_GO) {
        code = cli_each_text(s, read_text, &r);
    }
    if (code == CLI_GO && s->compare) {
        code = compare(model, s, &r);
    } else if (!s->compare) { /* where one cannot be read, those before it */
        int embedded = cli_embed_texts(model, s, &r.texts, s->pooling, print_row, &per_token);
        code = code == CLI_GO ? embedded : code;
    }
    code = code == CLI_GO ? cli_finish_texts(&r.texts) : code;
    cli_free_texts(&r.texts);
    return code;
}

int cli_embed(int argc, char **argv)
{
    struct cli_settings s;
    slm_model *model = NULL;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (s.model == NULL) {
        return cli_wanted(&usage, "-m FILE");
    }
    if (s.compare && s.n_words != 2) {
        return cli_wanted(&usage, "two texts behind --compare");
    }
    s.raw = s.raw && !s.compare;
    cli_catch_interrupt(1);
    code = cli_open_model(&model, s.model, 0, &s);
    if (code == CLI_GO) {
        code = with_model(model, &s);
    }
    slm_model_free(model);
    return code;
}
