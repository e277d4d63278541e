/* vectors.c - texts to rows of floats, for embed and rerank: many at a time, in one context that has
 * room for the longest. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* Of a call of slm_embed: more make no batch larger, and their rows must be kept until it is done. */
#define TEXTS_AT_ONCE 64
#define SEQUENCES 16
#define PAGE 128        /* positions */
#define BATCH_MOST 4096 /* tokens */

int cli_end_text(struct cli_texts *texts)
{
    if (texts->n == texts->capacity) {
        size_t capacity = 2 * texts->capacity + 64;
        size_t *grown = realloc(texts->ends, capacity * sizeof *grown);
        if (grown == NULL) {
            return cli_fail("no memory for %zu texts", capacity);
        }
        texts->ends = grown;
        texts->capacity = capacity;
    }
    texts->ends[texts->n++] = texts->tokens.n;
    return CLI_GO;
}

void cli_free_texts(struct cli_texts *texts)
{
    free(texts->tokens.data);
    free(texts->ends);
    memset(texts, 0, sizeof *texts);
}

int cli_finish_texts(const struct cli_texts *texts)
{
    int code = cli_finish();
    return texts->n_bad > 0 && code == CLI_OK ? cli_fail("%s (%zu of %zu without a result)",
                                                         texts->first_bad, texts->n_bad, texts->n)
                                              : code;
}

const char *cli_text_noun(const struct cli_settings *s)
{
    return s->n_words > 0 ? "text" : "line";
}

int cli_each_text(const struct cli_settings *s, cli_text_fn fn, void *user)
{
    int code = CLI_GO;
    char *data = NULL;
    size_t size = 0;
    for (int i = 0; i < s->n_words && code == CLI_GO; i++) {
        code = fn(user, s->words[i], strlen(s->words[i]));
    }
    if (s->n_words > 0) {
        return code;
    }
    code = cli_read_all(NULL, &data, &size);
    for (size_t i = 0; i < size && code == CLI_GO;) {
        const char *end = memchr(data + i, '\n', size - i);
        size_t n = end != NULL ? (size_t)(end - data) - i : size - i;
        size_t is_crlf = n > 0 && data[i + n - 1] == '\r';
        code = fn(user, data + i, n - is_crlf);
        i += n + 1;
    }
    free(data);
    return code;
}

static size_t text_begin(const struct cli_texts *texts, size_t i)
{
    return i == 0 ? 0 : texts->ends[i - 1];
}

static int32_t text_size(const struct cli_texts *texts, size_t i)
{
    return (int32_t)(texts->ends[i] - text_begin(texts, i));
}

/* A context for the longest text. An encoder takes it in one batch. Pages are for a batch of
 * texts, not for as many texts of the longest kind. */
static int make_context(slm_context **context, slm_model *model, const struct cli_settings *s,
                        const struct cli_texts *texts, const slm_model_info *info)
{
    slm_error err;
    slm_context_options o;
    int32_t longest = 1;
    for (size_t i = 0; i < texts->n; i++) {
        longest = text_size(texts, i) > longest ? text_size(texts, i) : longest;
    }
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = longest;
    o.n_sequences = texts->n < SEQUENCES ? (int32_t)texts->n : SEQUENCES;
    o.n_logits = 0;
    o.kv_type = s->kv_type;
    o.n_threads = s->n_threads;
    o.flags = s->exact ? SLM_CONTEXT_EXACT : 0;
    if (!info->is_causal && longest > o.n_batch) {
        o.n_batch = longest < BATCH_MOST ? longest : BATCH_MOST;
    }
    int32_t pages = longest / PAGE + 1;
    int32_t pages_of_batch = o.n_batch / PAGE + o.n_sequences;
    o.n_pages = pages > pages_of_batch ? pages : pages_of_batch;
    return slm_context_create(context, model, &o, &err) == SLM_OK ? CLI_GO
                                                                  : cli_fail("%s", err.message);
}

static slm_embed_text text_at(const struct cli_texts *texts, size_t i)
{
    slm_embed_text text = {0};
    text.struct_size = sizeof text;
    text.n_tokens = text_size(texts, i);
    text.tokens = texts->tokens.data + text_begin(texts, i);
    return text;
}

/* How many texts from `first` on are fit for one call. Where a text ends that, err says why. */
static size_t count_good(slm_context *context, const struct cli_texts *texts, size_t first,
                         const slm_embed_options *o, slm_error *err)
{
    size_t n = 0;
    err->code = SLM_OK;
    while (n < TEXTS_AT_ONCE && first + n < texts->n) {
        size_t size = 0; /* asking for it looks at the text, and evaluates nothing */
        slm_embed_text text = text_at(texts, first + n);
        if (slm_embed(context, &text, 1, sizeof text, o, NULL, 0, &size, err) != SLM_OK) {
            break;
        }
        n++;
    }
    return n;
}

/* Hands on why text `i` has no row. Errors that are not the text's own end it all. */
static int give_error(const struct cli_settings *s, struct cli_texts *texts, size_t i,
                      const slm_error *err, cli_row_fn fn, void *user)
{
    static const char own[] = "text 0"; /* the first and only one of its call */
    char error[sizeof texts->first_bad];
    if (strncmp(err->message, own, strlen(own)) != 0) {
        return cli_fail("%s", err->message);
    }
    snprintf(error, sizeof error, "%s %zu%s", cli_text_noun(s), i + 1, err->message + strlen(own));
    if (texts->n_bad++ == 0) {
        memcpy(texts->first_bad, error, sizeof error);
    }
    struct cli_row row = {i, text_size(texts, i), error, NULL, 0, 0};
    return fn(user, &row);
}

/* Texts first..first+n-1: their rows, to be freed, and how many floats these are. */
static int embed_some(slm_context *context, const struct cli_texts *texts, size_t first, size_t n,
                      const slm_embed_options *o, float **rows, size_t *size)
{
    slm_error err;
    slm_embed_text list[TEXTS_AT_ONCE];
    for (size_t i = 0; i < n; i++) {
        list[i] = text_at(texts, first + i);
    }
    int status = slm_embed(context, list, (int32_t)n, sizeof list[0], o, NULL, 0, size, &err);
    if (status == SLM_OK) {
        *rows = malloc(*size * sizeof **rows + 1);
        if (*rows == NULL) {
            return cli_fail("no memory for %zu numbers", *size);
        }
        status = slm_embed(context, list, (int32_t)n, sizeof list[0], o, *rows, *size, size, &err);
    }
    return status == SLM_OK ? CLI_GO : cli_fail("%s", err.message);
}

/* Hands the rows of texts first..first+n-1 on, text by text. */
static int give_rows(const struct cli_texts *texts, size_t first, size_t n, int per_token,
                     const float *rows, size_t size, cli_row_fn fn, void *user)
{
    size_t n_tokens = texts->ends[first + n - 1] - text_begin(texts, first);
    size_t width = size / (per_token ? n_tokens : n);
    int code = CLI_GO;
    for (size_t i = first; i < first + n && code == CLI_GO; i++) {
        struct cli_row row = {i, text_size(texts, i), NULL, rows, 1, width};
        row.n_rows = per_token ? (size_t)row.n_tokens : 1;
        code = fn(user, &row);
        rows += row.n_rows * width;
    }
    return code;
}

int cli_embed_texts(slm_model *model, const struct cli_settings *s, struct cli_texts *texts,
                    int32_t pooling, cli_row_fn fn, void *user)
{
    slm_error err;
    slm_model_info info = {.struct_size = sizeof info};
    slm_context *context = NULL;
    slm_embed_options o;
    struct cli_progress progress;
    if (texts->n == 0) {
        return CLI_GO;
    }
    if (slm_model_get_info(model, &info, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    int code = make_context(&context, model, s, texts, &info);
    slm_embed_options_init(&o, sizeof o);
    o.pooling = pooling;
    o.normalize = s->raw ? SLM_NORMALIZE_NONE : SLM_NORMALIZE_EUCLIDEAN;
    o.cancel = cli_interrupt();
    o.progress = cli_progress_report;
    o.progress_user = &progress;
    int per_token = (pooling == SLM_AUTO ? info.pooling : pooling) == SLM_POOLING_NONE;
    for (size_t i = 0; i < texts->n && code == CLI_GO;) {
        size_t n = count_good(context, texts, i, &o, &err), size = 0;
        float *rows = NULL;
        if (n > 0) {
            cli_progress_begin(&progress, "evaluating");
            code = embed_some(context, texts, i, n, &o, &rows, &size);
            cli_progress_end(&progress);
        }
        if (n > 0 && code == CLI_GO) {
            code = give_rows(texts, i, n, per_token, rows, size, fn, user);
        }
        free(rows);
        i += n;
        if (code == CLI_GO && err.code != SLM_OK) {
            code = give_error(s, texts, i++, &err, fn, user);
        }
    }
    slm_context_free(context);
    return code;
}

void cli_print_number(float x)
{
    /* JSON has no word for what is not finite. */
    printf(x - x == 0 ? "%.9g" : "null", (double)x);
}
