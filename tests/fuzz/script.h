/* script.h - a script of calls on one context and one sampler: evaluation of several sequences at
 * once, fork, rewind, sampling, and lists of candidates with any logits at all.
 *
 * Beside the context stands a model of it: the tokens that each sequence must have. What every call
 * leaves is compared with that, and at the end each sequence is computed again in one piece, in a
 * context of its own: as these contexts are batch-invariant, the logits must be the same bits. */
#ifndef FUZZ_SCRIPT_H
#define FUZZ_SCRIPT_H

#include "fuzz.h"

#define SCRIPT_POSITIONS 300 /* more than two pages of 128 */
#define SCRIPT_SEQUENCES 4
#define SCRIPT_PAGES 5 /* not enough for all sequences at once */
#define SCRIPT_LOGITS 6
#define SCRIPT_CALLS 48
#define SCRIPT_SPANS 3
#define SCRIPT_SPAN_TOKENS 64
#define SCRIPT_CANDIDATES 8

struct script {
    struct fuzz_input *in;
    struct fuzz_memory *memory;
    slm_model *model;
    slm_context *context;
    slm_sampler *sampler; /* may be NULL */
    int32_t n_vocab;
    int32_t length[SCRIPT_SEQUENCES];
    int32_t tokens[SCRIPT_SEQUENCES][SCRIPT_POSITIONS];
    uint32_t stop_at; /* progress stops an evaluation at so many tokens */
};

static slm_context *script_context(slm_model *model, struct fuzz_memory *memory, int32_t n_batch,
                                   int32_t n_pages)
{
    slm_context_options o;
    slm_context *context = NULL;
    slm_error err;
    slm_context_options_init(&o, sizeof o);
    o.flags = SLM_CONTEXT_BATCH_INVARIANT;
    o.n_ctx = SCRIPT_POSITIONS;
    o.n_sequences = SCRIPT_SEQUENCES;
    o.n_pages = n_pages;
    o.n_batch = n_batch;
    o.n_logits = SCRIPT_LOGITS;
    o.n_threads = 1;
    o.alloc = fuzz_alloc;
    o.alloc_user = memory;
    fuzz_check(slm_context_create(&context, model, &o, &err) == SLM_OK, "%s", err.message);
    return context;
}

/* Any token; seldom one that there is not. */
static int32_t script_token(struct fuzz_input *in, int32_t n_vocab)
{
    int32_t byte = fuzz_u8(in);
    return byte < 240 ? byte : byte == 255 ? -1 : n_vocab - 248 + byte;
}

/* Four and on are out of range. */
static int32_t script_sequence(struct fuzz_input *in)
{
    int32_t byte = fuzz_u8(in);
    return byte == 255 ? -1 : byte % (SCRIPT_SEQUENCES + 1);
}

static int script_progress(void *user, uint64_t done, uint64_t total)
{
    const struct script *s = (const struct script *)user;
    fuzz_check(done <= total, "%llu of %llu", (unsigned long long)done, (unsigned long long)total);
    return s->stop_at > 0 && done >= s->stop_at;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

/* What was committed becomes part of the sequences; a call that was refused committed nothing. */
static void script_commit(struct script *s, const slm_span *spans, int32_t n, int status)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t done = spans[i].n_done, sequence = spans[i].sequence;
        fuzz_check(done >= 0 && done <= spans[i].n_tokens, "%d of %d tokens done", done,
                   spans[i].n_tokens);
        fuzz_check(status != SLM_OK || done == spans[i].n_tokens, "%d of %d tokens done", done,
                   spans[i].n_tokens);
        fuzz_check(status == SLM_OK || status == SLM_E_CANCELLED || done == 0,
                   "%d tokens done, and %d", done, status);
        if (done > 0) {
            fuzz_check(s->length[sequence] + done <= SCRIPT_POSITIONS, "sequence %d", sequence);
            memcpy(s->tokens[sequence] + s->length[sequence], spans[i].tokens,
                   (size_t)done * sizeof(int32_t));
            s->length[sequence] += done;
        }
    }
}

static void script_eval(struct script *s)
{
    static int32_t tokens[SCRIPT_SPANS][SCRIPT_SPAN_TOKENS];
    slm_span spans[SCRIPT_SPANS];
    slm_eval_options o;
    slm_error err;
    uint8_t what = fuzz_u8(s->in);
    int32_t n = what % (SCRIPT_SPANS + 1);
    slm_eval_options_init(&o, sizeof o);
    memset(spans, 0, sizeof spans);
    for (int32_t i = 0; i < n; i++) {
        uint8_t how = fuzz_u8(s->in);
        spans[i].struct_size = sizeof spans[i];
        spans[i].sequence = script_sequence(s->in);
        spans[i].position = how < 200 ? -1 : fuzz_u8(s->in);
        spans[i].want = how % 8 < 3 ? how % 8 : how % 8 < 7 ? SLM_WANT_LAST : 3;
        spans[i].n_tokens = fuzz_u8(s->in) % (SCRIPT_SPAN_TOKENS + 1);
        spans[i].tokens = tokens[i];
        int32_t token = script_token(s->in, s->n_vocab);
        for (int32_t t = 0; t < spans[i].n_tokens; t++) { /* a row that one byte names */
            tokens[i][t] = t == 0 ? token : (token + t * 7 + 7) % s->n_vocab;
        }
    }
    s->stop_at = (what & 4) != 0 ? fuzz_u8(s->in) : 0;
    o.progress = script_progress;
    o.progress_user = s;
    int64_t past = slm_clock_ns() - 1;
    o.deadline_ns = (what & 8) != 0 ? past : SLM_NO_DEADLINE;
    int status = slm_eval(s->context, spans, n, sizeof *spans, &o, &err);
    fuzz_status(status, &err);
    script_commit(s, spans, n, status);
}

static void script_fork(struct script *s)
{
    slm_error err;
    int32_t from = script_sequence(s->in), to = script_sequence(s->in);
    int status = slm_sequence_fork(s->context, from, to, &err);
    int exist = from >= 0 && from < SCRIPT_SEQUENCES && to >= 0 && to < SCRIPT_SEQUENCES;
    fuzz_status(status, &err);
    fuzz_check((status == SLM_OK) == exist, "%d to %d: %d", from, to, status);
    if (status == SLM_OK && from != to) {
        s->length[to] = s->length[from];
        memcpy(s->tokens[to], s->tokens[from], sizeof s->tokens[to]);
    }
}

static void script_rewind(struct script *s)
{
    slm_error err;
    int32_t sequence = script_sequence(s->in);
    int32_t length = fuzz_u8(s->in) * 2 - 64;
    int status = slm_sequence_rewind(s->context, sequence, length, &err);
    int exists = sequence >= 0 && sequence < SCRIPT_SEQUENCES;
    fuzz_status(status, &err);
    fuzz_check((status == SLM_OK) == (exists && length >= 0 && length <= s->length[sequence]),
               "%d to %d: %d", sequence, length, status);
    if (status == SLM_OK) {
        s->length[sequence] = length;
    }
}

/* A copy of the sampler chooses the same token; it goes on instead of the original or is dropped. */
static void script_sample(struct script *s)
{
    const float *logits = NULL;
    slm_sampler *copy = NULL;
    slm_error err;
    int32_t token = -1, same = -1;
    uint8_t how = fuzz_u8(s->in);
    int status = slm_logits(s->context, (how & 15) - 1, &logits, NULL, &err);
    fuzz_status(status, &err);
    if (status != SLM_OK || s->sampler == NULL) {
        return;
    }
    fuzz_check(slm_sampler_clone(&copy, s->sampler, &err) == SLM_OK, "%s", err.message);
    status = slm_sample(s->sampler, logits, s->n_vocab, &token, &err);
    fuzz_status(status, &err);
    int again = slm_sample(copy, logits, s->n_vocab, &same, &err);
    fuzz_check(status == again && token == same, "%d and %d, %d and %d", token, same, status,
               again);
    if (status == SLM_OK) {
        fuzz_check(token >= 0 && token < s->n_vocab, "token %d", token);
        fuzz_check(slm_sampler_accept(s->sampler, token, &err) == SLM_OK, "%s", err.message);
        fuzz_check(slm_sampler_accept(copy, token, &err) == SLM_OK, "%s", err.message);
    } else {
        fuzz_check(status == SLM_E_NUMERIC, "%s", err.message);
    }
    slm_sampler_free((how & 16) != 0 ? s->sampler : copy);
    s->sampler = (how & 16) != 0 ? copy : s->sampler;
}

static void script_take_back(struct script *s)
{
    slm_error err;
    int32_t n = (int8_t)fuzz_u8(s->in);
    int32_t token = script_token(s->in, s->n_vocab);
    if (s->sampler != NULL) {
        fuzz_status(slm_sampler_accept(s->sampler, token, &err), &err);
        fuzz_status(slm_sampler_rewind(s->sampler, n == 127 ? INT32_MAX : n, &err), &err);
    }
}

static void script_candidates(struct script *s)
{
    slm_candidate c[SCRIPT_CANDIDATES];
    slm_error err;
    int32_t n = 1 + fuzz_u8(s->in) % SCRIPT_CANDIDATES;
    int32_t given = n, token = -1, found = 0;
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits = fuzz_u32(s->in);
        memcpy(&c[i].logit, &bits, sizeof bits);
        c[i].token = script_token(s->in, s->n_vocab);
        c[i].probability = -1;
    }
    if (s->sampler == NULL) {
        return;
    }
    int status = slm_sampler_apply(s->sampler, c, &n, &err);
    fuzz_status(status, &err);
    fuzz_check(status == SLM_OK ? n >= 1 && n <= given : n == given, "%d of %d", n, given);
    status = slm_sampler_choose(s->sampler, c, n, &token, &err);
    fuzz_status(status, &err);
    for (int32_t i = 0; status == SLM_OK && i < n; i++) {
        fuzz_check(c[i].probability >= 0 && c[i].probability <= 1, "%g", (double)c[i].probability);
        sum += (double)c[i].probability;
        found |= c[i].token == token && c[i].probability > 0;
    }
    fuzz_check(status != SLM_OK || (found && sum > 0.999 && sum < 1.001), "token %d, sum %g", token,
               sum);
}

/* ---- All ------------------------------------------------------------------------------------- */

static void script_lengths(const struct script *s)
{
    slm_error err;
    slm_context_info info = {.struct_size = sizeof info};
    int32_t pages = 0;
    for (int32_t i = 0; i < SCRIPT_SEQUENCES; i++) {
        int32_t length = -1;
        fuzz_check(slm_sequence_length(s->context, i, &length, &err) == SLM_OK, "%s", err.message);
        fuzz_check(length == s->length[i], "sequence %d: %d, not %d", i, length, s->length[i]);
        pages = pages > (length + 127) / 128 ? pages : (length + 127) / 128;
    }
    fuzz_check(slm_context_get_info(s->context, &info, &err) == SLM_OK, "%s", err.message);
    fuzz_check(info.n_pages_free >= 0 && info.n_pages_free <= SCRIPT_PAGES - pages, "%d pages free",
               info.n_pages_free);
}

/* The logits behind one more token; 0 if that does not fit. */
static int script_next(slm_context *context, int32_t sequence, float *logits, int32_t n_vocab)
{
    static const int32_t next[1] = {5};
    slm_span span = {.struct_size = sizeof span};
    const float *row = NULL;
    slm_error err;
    span.sequence = sequence;
    span.position = -1;
    span.n_tokens = 1;
    span.tokens = next;
    span.want = SLM_WANT_LAST;
    int status = slm_eval(context, &span, 1, sizeof span, NULL, &err);
    if (status != SLM_OK) {
        fuzz_check(status == SLM_E_FULL, "%s", err.message);
        return 0;
    }
    fuzz_check(slm_logits(context, -1, &row, NULL, &err) == SLM_OK, "%s", err.message);
    memcpy(logits, row, (size_t)n_vocab * sizeof *logits);
    return 1;
}

static void script_same_as_in_one_piece(struct script *s)
{
    size_t bytes = (size_t)s->n_vocab * sizeof(float);
    float *here = (float *)malloc(bytes), *there = (float *)malloc(bytes);
    slm_context *other = script_context(s->model, s->memory, 64, SLM_AUTO);
    fuzz_check(here != NULL && there != NULL, "no memory");
    for (int32_t i = 0; i < SCRIPT_SEQUENCES; i++) {
        slm_span span = {.struct_size = sizeof span};
        slm_error err;
        if (s->length[i] == 0 || !script_next(s->context, i, here, s->n_vocab)) {
            continue;
        }
        span.position = -1;
        span.n_tokens = s->length[i];
        span.tokens = s->tokens[i];
        fuzz_check(slm_sequence_rewind(other, 0, 0, &err) == SLM_OK, "%s", err.message);
        fuzz_check(slm_eval(other, &span, 1, sizeof span, NULL, &err) == SLM_OK, "%s", err.message);
        fuzz_check(script_next(other, 0, there, s->n_vocab), "no room");
        fuzz_check(memcmp(here, there, bytes) == 0, "sequence %d: other logits", i);
        fuzz_check(slm_sequence_rewind(s->context, i, s->length[i], &err) == SLM_OK, "%s",
                   err.message);
    }
    slm_context_free(other);
    free(here);
    free(there);
}

/* Plays the rest of the input. Returns the sampler, which may be a copy by now. */
static TESTING_UNUSED slm_sampler *script_play(struct fuzz_input *in, slm_model *model,
                                               slm_sampler *sampler, struct fuzz_memory *memory)
{
    static void (*const calls[])(struct script * s) = {
        script_eval, script_eval,   script_fork,      script_rewind,
        script_eval, script_sample, script_take_back, script_candidates};
    static struct script s;
    slm_model_info info = {.struct_size = sizeof info};
    memset(&s, 0, sizeof s);
    fuzz_check(slm_model_get_info(model, &info, NULL) == SLM_OK, "info");
    s.in = in;
    s.memory = memory;
    s.model = model;
    s.sampler = sampler;
    s.n_vocab = info.n_vocab;
    s.context = script_context(model, memory, 16, SCRIPT_PAGES);
    for (int n = 0; in->at < in->size && n < SCRIPT_CALLS; n++) {
        calls[fuzz_u8(in) % 8](&s);
        script_lengths(&s);
    }
    script_same_as_in_one_piece(&s);
    slm_context_free(s.context);
    return s.sampler;
}

#endif
