/* rerank.c - which documents answer a query. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_usage usage = {
    CLI_RERANK,
    "rerank",
    "-m FILE --query TEXT [options] [DOCUMENT...]",
    "Scores each document, or each line of standard input, by how well it answers the query, and\n"
    "writes a line of JSON with index and score for each, best first. Wants a reranker. What is\n"
    "too long for it has the score null, and the exit status is 1.\n",
    "  slm rerank -m bge-reranker.gguf --query \"What is a panda?\" \"A bear.\" \"A car.\"\n",
};

struct pairs {
    const slm_model *model;
    slm_model_info info;
    const char *query;
    const char *template; /* [template_size] with {query} and {document}; or NULL */
    size_t template_size;
    struct cli_texts texts;
};

static int append(struct pairs *p, const char *text, size_t size, uint32_t flags)
{
    return cli_tokenize(p->model, text, size, flags, &p->texts.tokens);
}

/* [start] query [end] [separator] document [end], each where the vocabulary asks for it: two texts,
 * without the start of the second. */
static int append_pair(struct pairs *p, const char *document, size_t size)
{
    const slm_model_info *v = &p->info;
    struct cli_tokens *tokens = &p->texts.tokens;
    int code = append(p, p->query, strlen(p->query), SLM_TEXT_BOS);
    if (code == CLI_GO && v->add_sep) {
        code = cli_push_token(tokens, v->sep_token);
    }
    size_t second = tokens->n;
    code = code == CLI_GO ? append(p, document, size, SLM_TEXT_BOS) : code;
    if (code == CLI_GO && v->add_bos) {
        tokens->n--;
        memmove(tokens->data + second, tokens->data + second + 1,
                (tokens->n - second) * sizeof *tokens->data);
    }
    return code;
}

/* The template is tokenised as a whole, or words at its seams would be split in other ways. So
 * nothing else in it may be a special token: the text must read the same without them. */
static int check_plain(struct pairs *p, const char *what, const char *text, size_t size)
{
    struct cli_tokens special = {NULL, 0, 0}, plain = {NULL, 0, 0};
    int code = cli_tokenize(p->model, text, size, SLM_TEXT_SPECIAL, &special);
    code = code == CLI_GO ? cli_tokenize(p->model, text, size, 0, &plain) : code;
    if (code == CLI_GO &&
        (special.n != plain.n ||
         (plain.n > 0 && memcmp(special.data, plain.data, plain.n * sizeof *plain.data) != 0))) {
        code = cli_fail("the %s has the text of a special token of this model", what);
    }
    free(special.data);
    free(plain.data);
    return code;
}

static int is_at(const struct pairs *p, size_t i, const char *name)
{
    size_t n = strlen(name);
    return p->template_size - i >= n && memcmp(p->template + i, name, n) == 0;
}

/* The template with both texts in it, to be freed; as often as it names them. */
static char *fill_template(const struct pairs *p, const char *document, size_t size, size_t *filled)
{
    size_t query_size = strlen(p->query), n = 0;
    char *text = NULL;
    for (int pass = 0; pass < 2; pass++) {
        n = 0;
        for (size_t i = 0; i < p->template_size;) {
            const char *from = p->template + i;
            size_t part = 1, skipped = 1;
            if (is_at(p, i, "{query}")) {
                from = p->query, part = query_size, skipped = strlen("{query}");
            } else if (is_at(p, i, "{document}")) {
                from = document, part = size, skipped = strlen("{document}");
            }
            if (pass == 1 && part > 0) {
                memcpy(text + n, from, part);
            }
            n += part;
            i += skipped;
        }
        if (pass == 0 && (text = malloc(n + 1)) == NULL) {
            return NULL;
        }
    }
    *filled = n;
    return text;
}

static int append_template(struct pairs *p, const char *document, size_t size)
{
    size_t n = 0;
    char *text = fill_template(p, document, size, &n);
    int code = text != NULL ? check_plain(p, "document", document, size)
                            : cli_fail("no memory for the template");
    code = code == CLI_GO ? append(p, text, n, SLM_TEXT_SPECIAL) : code;
    free(text);
    return code;
}

static int read_document(void *user, const char *text, size_t size)
{
    struct pairs *p = user;
    int code = p->template != NULL ? append_template(p, text, size) : append_pair(p, text, size);
    return code == CLI_GO ? cli_end_text(&p->texts) : code;
}

/* ---- Scores --------------------------------------------------------------------------------- */

struct score {
    size_t index;
    float value;
};

static int keep_score(void *user, const struct cli_row *row)
{
    struct score *scores = user;
    scores[row->index].index = row->index;
    scores[row->index].value = row->error != NULL ? (float)NAN : row->rows[0];
    return CLI_GO;
}

/* Best first, what is no number last, equals in the order given. */
static int compare_scores(const void *a, const void *b)
{
    const struct score *x = a, *y = b;
    int x_is_nan = !(x->value <= x->value), y_is_nan = !(y->value <= y->value);
    if (x_is_nan != y_is_nan) {
        return x_is_nan - y_is_nan;
    }
    if (!x_is_nan && (x->value < y->value || x->value > y->value)) {
        return x->value < y->value ? 1 : -1;
    }
    return x->index < y->index ? -1 : 1;
}

static int print_scores(slm_model *model, const struct cli_settings *s, struct pairs *p)
{
    struct score *scores = calloc(p->texts.n + 1, sizeof *scores);
    if (scores == NULL) {
        return cli_fail("no memory for %zu scores", p->texts.n);
    }
    int code = cli_embed_texts(model, s, &p->texts, SLM_POOLING_RANK, keep_score, scores);
    if (code == CLI_GO) {
        qsort(scores, p->texts.n, sizeof *scores, compare_scores);
    }
    for (size_t i = 0; i < p->texts.n && code == CLI_GO; i++) {
        printf("{\"index\":%zu,\"score\":", scores[i].index);
        cli_print_number(scores[i].value);
        puts("}");
    }
    free(scores);
    return code;
}

/* ---- The command ---------------------------------------------------------------------------- */

static void find_template(struct pairs *p)
{
    int32_t index = -1;
    slm_metadata value = {.struct_size = sizeof value};
    if (slm_model_metadata_find(p->model, "tokenizer.chat_template.rerank",
                                sizeof "tokenizer.chat_template.rerank" - 1, &index,
                                NULL) == SLM_OK &&
        index >= 0 && slm_model_metadata(p->model, index, 0, &value, NULL) == SLM_OK) {
        p->template = value.text;
        p->template_size = value.text_size;
    }
}

static int with_model(slm_model *model, const struct cli_settings *s)
{
    slm_error err;
    struct pairs p;
    memset(&p, 0, sizeof p);
    p.model = model;
    p.query = s->query;
    p.info.struct_size = sizeof p.info;
    if (slm_model_get_info(model, &p.info, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    if (p.info.n_outputs == 0) {
        return cli_fail("%s: no reranker: the model has no classifier", s->model);
    }
    find_template(&p);
    int code = p.template != NULL ? check_plain(&p, "query", s->query, strlen(s->query)) : CLI_GO;
    if (code == CLI_GO) {
        code = cli_each_text(s, read_document, &p);
    }
    if (code == CLI_GO) {
        code = print_scores(model, s, &p);
    }
    code = code == CLI_GO ? cli_finish_texts(&p.texts) : code;
    cli_free_texts(&p.texts);
    return code;
}

int cli_rerank(int argc, char **argv)
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
    if (s.query == NULL) {
        return cli_wanted(&usage, "--query TEXT");
    }
    cli_catch_interrupt(1);
    code = cli_open_model(&model, s.model, 0, &s);
    if (code == CLI_GO) {
        code = with_model(model, &s);
    }
    slm_model_free(model);
    return code;
}
