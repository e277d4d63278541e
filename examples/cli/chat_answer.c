/* chat_answer.c - one answer: the whole talk becomes a prompt, of which the cache has most already, and
 * what the model says is written and kept as it comes.
 *
 * A template may write earlier answers otherwise than the model did (most leave their reasoning out),
 * so the prompt of each turn is rendered anew and compared, token by token, with what is in the cache.
 * From the first difference on it is evaluated. A model with a state cannot go back to any place: it
 * keeps a checkpoint in front of its own answer, behind which a later prompt seldom differs. */
#include "chat.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_UNKNOWN (-1)

/* ---- The prompt ----------------------------------------------------------------------------- */

static int render(struct chat *c, int with_answer, slm_chat_prompt **prompt, slm_error *err)
{
    struct chat_text json = {0};
    if (history_array(&c->history, c->history.n, &json) != CLI_GO) {
        text_free(&json);
        memset(err, 0, sizeof *err);
        return err->code = SLM_E_MEMORY;
    }
    c->options.add_generation_prompt = with_answer;
    int status = slm_chat_render(prompt, c->form, json.data, json.n, &c->options, err);
    text_free(&json);
    return status;
}

/* The prompt's tokens in c->prompt; the output is ready for the answer. */
static int build_prompt(struct chat *c)
{
    slm_chat_prompt *prompt = NULL;
    slm_error err;
    int status = render(c, 1, &prompt, &err);
    if (status == SLM_OK) {
        status = slm_chat_output_begin(c->output, prompt, &err);
    }
    c->prompt.n = 0;
    int code = status != SLM_OK ? cli_fail("%s", err.message)
                                : cli_tokenize_prompt(c->model, prompt, &c->prompt);
    slm_chat_prompt_free(prompt);
    if (code == CLI_GO && c->prompt.n == 0) {
        return cli_fail("the template makes nothing of this talk");
    }
    return code;
}

static size_t common(const struct cli_tokens *a, const struct cli_tokens *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->data[n] == b->data[n]) {
        n++;
    }
    return n;
}

/* How much of the prompt stands there whatever the answer will be; 0 if that cannot be told. */
static size_t lasting(struct chat *c)
{
    slm_chat_prompt *prompt = NULL;
    struct cli_tokens tokens = {NULL, 0, 0};
    slm_error err;
    size_t n = 0;
    if (render(c, 0, &prompt, &err) == SLM_OK &&
        cli_tokenize_prompt(c->model, prompt, &tokens) == CLI_GO) {
        n = common(&tokens, &c->prompt);
    }
    slm_chat_prompt_free(prompt);
    free(tokens.data);
    return n;
}

/* ---- The cache ------------------------------------------------------------------------------ */

void chat_forget(struct chat *c)
{
    slm_sequence_rewind(c->context, 0, 0, NULL);
    c->cache.n = 0;
    c->checkpoint = 0;
}

/* Goes back to what the cache has in common with the prompt, or as near to it as there is a way. */
static void rewind_cache(struct chat *c)
{
    size_t n = common(&c->cache, &c->prompt);
    n = n < c->prompt.n ? n : c->prompt.n - 1; /* the last one gives the logits */
    if (c->is_recurrent && n < c->cache.n) {
        n = c->checkpoint <= n ? c->checkpoint : 0;
    }
    if (slm_sequence_rewind(c->context, 0, (int32_t)n, NULL) != SLM_OK) {
        n = 0;
        slm_sequence_rewind(c->context, 0, 0, NULL);
    }
    c->cache.n = n;
    c->checkpoint = c->checkpoint <= n ? c->checkpoint : 0;
}

/* Evaluates the prompt up to there. What is done when it is stopped stays in the cache. */
static int eval_to(struct chat *c, size_t end)
{
    struct cli_progress progress;
    slm_eval_options options;
    slm_span span;
    slm_error err;
    if (end <= c->cache.n) {
        return CLI_GO;
    }
    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    span.position = -1;
    span.tokens = c->prompt.data + c->cache.n;
    span.n_tokens = (int32_t)(end - c->cache.n);
    slm_eval_options_init(&options, sizeof options);
    options.cancel = cli_interrupt();
    options.progress = cli_progress_report;
    options.progress_user = &progress;
    cli_progress_begin(&progress, "reading");
    int status = slm_eval(c->context, &span, 1, sizeof span, &options, &err);
    cli_progress_end(&progress);
    for (int32_t i = 0; i < span.n_done; i++) {
        if (cli_push_token(&c->cache, span.tokens[i]) != CLI_GO) {
            chat_forget(c);
            return CLI_FAILED;
        }
    }
    if (status == SLM_E_CANCELLED) {
        return cli_fail("stopped; the message was not read");
    }
    return status == SLM_OK ? CLI_GO : cli_fail("%s", err.message);
}

static int tell_full(struct chat *c)
{
    const char *in_a_pipe = c->input.interactive ? "" : "; until then messages go unanswered";
    if (c->told_full && !c->input.interactive) {
        return CLI_FAILED;
    }
    c->told_full = 1;
    return cli_fail("the context is full: the talk has %zu tokens, of %d positions; /undo takes a "
                    "turn back, /clear begins anew, --ctx N makes it longer%s",
                    c->prompt.n, (int)c->n_ctx, in_a_pipe);
}

/* All of the prompt but its last token. */
static int prefill(struct chat *c)
{
    if (c->prompt.n >= (size_t)c->n_ctx) {
        return tell_full(c);
    }
    c->told_full = 0;
    rewind_cache(c);
    c->last.kept = (int64_t)c->cache.n;
    c->last.prompt = (int64_t)c->prompt.n;
    size_t last = c->prompt.n - 1;
    size_t stays = c->is_recurrent ? lasting(c) : 0;
    stays = stays < last ? stays : last;
    if (stays > c->cache.n) {
        if (eval_to(c, stays) != CLI_GO) {
            return CLI_FAILED;
        }
        if (slm_sequence_checkpoint(c->context, 0, 0, NULL) == SLM_OK) {
            c->checkpoint = stays;
        }
    }
    return eval_to(c, last);
}

/* ---- What comes ----------------------------------------------------------------------------- */

void chat_answer_free(struct chat_answer *a)
{
    text_free(&a->reasoning);
    text_free(&a->content);
    text_free(&a->calls);
    text_free(&a->ids);
    memset(a, 0, sizeof *a);
}

/* As "tool_calls" has it. Some templates insist on an id of nine letters and digits. */
static void add_call(struct chat_answer *a, const slm_chat_event *e)
{
    char made[16];
    const char *id = e->id;
    if (id[0] == 0) {
        snprintf(made, sizeof made, "call%05u", (unsigned)a->n_calls % 100000u);
        id = made;
    }
    text_puts(&a->calls, a->n_calls > 0 ? ", " : "");
    text_puts(&a->calls, "{\"id\": ");
    text_add_json(&a->calls, id, strlen(id));
    text_puts(&a->calls, ", \"type\": \"function\", \"function\": {\"name\": ");
    text_add_json(&a->calls, e->name, strlen(e->name));
    text_puts(&a->calls, ", \"arguments\": ");
    text_add_line(&a->calls, e->arguments, strlen(e->arguments));
    text_puts(&a->calls, "}}");
    text_add(&a->ids, id, strlen(id) + 1);
    text_add(&a->ids, e->name, strlen(e->name) + 1);
    a->n_calls++;
}

/* Gives a piece to the output and takes what is certain now. */
static int take_piece(struct chat *c, struct chat_answer *a, int32_t kind, const char *text,
                      size_t size)
{
    slm_error err;
    if (slm_chat_output_push(c->output, kind, text, size, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    for (;;) {
        slm_chat_event e;
        memset(&e, 0, sizeof e);
        e.struct_size = sizeof e;
        if (slm_chat_output_next(c->output, &e, &err) != SLM_OK) {
            return cli_fail("%s", err.message);
        }
        if (e.kind == SLM_CHAT_NONE || e.kind == SLM_CHAT_END) {
            return CLI_GO;
        }
        if (e.kind == SLM_CHAT_TOOL_CALL) {
            add_call(a, &e);
        } else {
            text_add(e.kind == SLM_CHAT_REASONING ? &a->reasoning : &a->content, e.text, e.size);
        }
        if (screen_event(&c->screen, &e) != CLI_GO) {
            return CLI_FAILED;
        }
    }
}

static int note_tokens(struct chat *c, const slm_piece *piece)
{
    for (int32_t i = 0; i < piece->n_tokens; i++) {
        if (cli_push_token(&c->cache, piece->tokens[i]) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return CLI_GO;
}

static int pull(struct chat *c, slm_generator *g, struct chat_answer *a)
{
    int code = CLI_GO;
    slm_piece piece;
    memset(&piece, 0, sizeof piece);
    piece.struct_size = sizeof piece;
    while (code == CLI_GO) {
        slm_error err;
        int status = slm_generate_next(g, &piece, &err);
        a->stopped = status == SLM_E_CANCELLED;
        if (status != SLM_OK && !a->stopped) {
            return cli_fail("%s", err.message);
        }
        int is_end = a->stopped || piece.kind == SLM_PIECE_END;
        code = a->stopped ? CLI_GO : note_tokens(c, &piece);
        if (code == CLI_GO) {
            code = is_end ? take_piece(c, a, SLM_PIECE_END, NULL, 0)
                          : take_piece(c, a, piece.kind, piece.text, piece.size);
        }
        if (is_end) {
            break;
        }
    }
    a->full = piece.reason == SLM_END_FULL && !a->stopped;
    return code;
}

static void count(struct chat_counts *to, const slm_generate_stats *stats, int64_t prompt_ns)
{
    to->reasoning += stats->n_reasoning;
    to->answer += stats->n_answer;
    to->calls += stats->n_tool_calls;
    to->forced += stats->n_forced;
    to->prompt_ns += prompt_ns + stats->prompt_ns;
    to->answer_ns += stats->generate_ns;
}

/* The sequence has the last word about how many tokens there are: an answer that was stopped may have
 * chosen some of which no piece told, or one that the sequence did not take. */
static int settle_cache(struct chat *c)
{
    int32_t length = 0;
    slm_sequence_length(c->context, 0, &length, NULL);
    while (c->cache.n < (size_t)length) {
        if (cli_push_token(&c->cache, TOKEN_UNKNOWN) != CLI_GO) {
            chat_forget(c);
            return CLI_FAILED;
        }
    }
    c->cache.n = (size_t)length;
    return CLI_GO;
}

/* The prompt's last token, and the answer. */
static int generate(struct chat *c, struct chat_answer *a, int64_t prompt_ns)
{
    slm_generate_options options;
    slm_generate_stats stats;
    slm_generator *g = NULL;
    slm_error err;
    slm_generate_options_init(&options, sizeof options);
    options.prompt_tokens = c->prompt.data + c->prompt.n - 1;
    options.n_prompt_tokens = 1;
    options.max_tokens = c->n_predict;
    options.cancel = cli_interrupt();
    options.chat_output = c->output;
    options.reasoning_budget = c->has_reasoning ? c->budget : 0;
    if (slm_generate_begin(&g, c->context, 0, c->sampler, NULL, 0, &options, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    int code = cli_push_token(&c->cache, options.prompt_tokens[0]);
    if (code == CLI_GO) {
        code = pull(c, g, a);
    }
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    slm_generate_get_stats(g, &stats, NULL);
    count(&c->last, &stats, prompt_ns);
    count(&c->all, &stats, prompt_ns);
    c->all.prompt += c->last.prompt;
    c->all.kept += c->last.kept;
    slm_generate_end(g);
    int settled = settle_cache(c);
    return code == CLI_GO ? settled : code;
}

int chat_answer(struct chat *c, struct chat_answer *a)
{
    int64_t begin = slm_clock_ns();
    memset(a, 0, sizeof *a);
    memset(&c->last, 0, sizeof c->last);
    if (build_prompt(c) != CLI_GO || prefill(c) != CLI_GO) {
        return CLI_FAILED;
    }
    screen_begin(&c->screen);
    int code = generate(c, a, slm_clock_ns() - begin);
    int written = screen_end(&c->screen);
    if (a->reasoning.failed || a->content.failed || a->calls.failed || a->ids.failed) {
        return cli_fail("no memory for the answer");
    }
    return code == CLI_GO ? written : code;
}
