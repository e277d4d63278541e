/* forward.c - the order of a layer, and evaluation: spans to batches to layers to logits.
 *
 * Prefill and decode are the same path with different numbers of tokens. A batch is committed
 * wholly or not at all: pages are reserved before it, lengths move after it, and a batch that was
 * stopped between two layers has only written positions that no length covers. */

/* ---- One batch ------------------------------------------------------------------------------- */

struct forward_stop {
    const slm_eval_options *options;
    slm_error *err;
};

static int forward_poll(const struct forward_stop *s)
{
    const slm_eval_options *o = s->options;
    if (o->cancel != NULL && __atomic_load_n(o->cancel, __ATOMIC_RELAXED) != 0) {
        SLM_FAIL(s->err, SLM_E_CANCELLED, -1, "the evaluation was cancelled");
    }
    if (o->deadline_ns != SLM_NO_DEADLINE && platform_clock_ns() >= o->deadline_ns) {
        SLM_FAIL(s->err, SLM_E_DEADLINE, -1, "the deadline has passed");
    }
    return SLM_OK;
}

/* What some families make of the row of a token. `row` is scratch. */
static void forward_embed_more(const struct slm_context *c, int32_t position, float *x, float *row)
{
    const struct slm_model *m = c->model;
    const struct hparams *h = &m->hparams;
    for (int32_t i = 0; h->embd_scale != 1 && i < h->n_embd; i++) {
        x[i] *= h->embd_scale;
    }
    if (m->globals.token_types.n_out > 0) {
        linear_row(&m->globals.token_types, 0, row);
        m->kernels.add(x, row, h->n_embd);
    }
    if (m->globals.position_embd.n_out > 0) {
        linear_row(&m->globals.position_embd, position, row);
        m->kernels.add(x, row, h->n_embd);
    }
    if (m->globals.embd_norm.n > 0) {
        norm_apply(m, &m->globals.embd_norm, x, x, h->n_embd);
    }
}

/* x = embedding rows; cos and sin of the positions. One task a token. */
static void forward_embed(void *arg, int32_t token, int32_t part)
{
    struct slm_context *c = (struct slm_context *)arg;
    const struct slm_model *m = c->model;
    const struct hparams *h = &m->hparams;
    int32_t position = c->batch.positions[token];
    float *x = c->x + (int64_t)token * h->n_embd;
    (void)part;
    linear_row(&m->globals.token_embd, c->batch.tokens[token], x);
    if (PROFILE_MORE) {
        forward_embed_more(c, position, x, c->h + (int64_t)token * h->n_embd);
    }
    for (int32_t i = 0; i < LAYER_ROPE_COUNT; i++) {
        if (c->ropes[i] != NULL) {
            int64_t at = (int64_t)token * (c->ropes[i]->n_rot / 2);
            rope_fill(c->ropes[i], position, c->rope_cos[i] + at, c->rope_sin[i] + at);
        }
    }
}

/* Addresses of the pages of each sequence in the batch, for the attention kernel. */
static void forward_list_pages(struct slm_context *c)
{
    for (int32_t i = 0; i < c->batch.n_segments; i++) {
        int32_t sequence = c->batch.segments[i].sequence;
        const struct sequence *s = &c->cache.sequences[sequence];
        const uint8_t **list = c->pages + (int64_t)sequence * c->cache.max_pages;
        for (int32_t p = 0; p < s->n_pages; p++) {
            list[p] = cache_page(&c->cache, s->pages[p]);
        }
    }
}

#define FORWARD_LOGITS_TILE 4096

/* logits = cap * tanh(scale * logits / cap), a tile of the batch's rows. */
static void forward_scale_logits(void *arg, int32_t tile, int32_t part)
{
    struct slm_context *c = (struct slm_context *)arg;
    const struct hparams *h = &c->model->hparams;
    int64_t first = (int64_t)tile * FORWARD_LOGITS_TILE;
    int64_t n = min_i64(FORWARD_LOGITS_TILE, (int64_t)c->batch.n_rows * h->n_vocab - first);
    float *x = c->logits + (int64_t)c->n_logits_valid * h->n_vocab + first;
    (void)part;
    for (int64_t i = 0; h->logit_scale != 1 && i < n; i++) {
        x[i] *= h->logit_scale;
    }
    if (h->logit_softcap > 0) {
        c->model->kernels.softcap(x, n, h->logit_softcap);
    }
}

/* Logits of the wanted rows, behind those of earlier batches. */
static void forward_logits(struct slm_context *c)
{
    const struct slm_model *m = c->model;
    int64_t n_embd = m->hparams.n_embd;
    int64_t n_vocab = m->hparams.n_vocab;
    struct batch *b = &c->batch;
    if (b->n_rows == 0) {
        return;
    }
    if (PROFILE_ALTUP && m->hparams.n_streams > 0) {
        altup_merge(c, c->row_x);
    } else {
        context_gather_rows(c, c->x, c->row_x);
    }
    struct matmul_input in = {c->row_x, ACT_NONE, NULL, &m->globals.output_norm, n_embd, b->n_rows};
    struct matmul_job head = {&m->globals.output, c->logits + c->n_logits_valid * n_vocab, n_vocab,
                              NULL, 1};
    matmul(c, &in, &head, 1);
    if (PROFILE_MORE && (m->hparams.logit_scale != 1 || m->hparams.logit_softcap > 0)) {
        int64_t n = b->n_rows * n_vocab;
        context_tiles(c, n * 8, (int32_t)((n + FORWARD_LOGITS_TILE - 1) / FORWARD_LOGITS_TILE),
                      forward_scale_logits, c);
    }
}

/* x *= the layer's output scale. */
static void forward_scale_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    int64_t n = r->c->model->hparams.n_embd;
    float *x = r->c->x + token * n;
    float scale = *r->l->output_scale;
    (void)part;
    for (int64_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
}

/* From here on x stays as it is, and what the layer adds goes to what this returns. */
static float *forward_branch(struct slm_context *c)
{
    memcpy(c->x_next, c->x,
           (size_t)c->batch.n_tokens * (size_t)c->model->hparams.n_embd * sizeof(float));
    return c->x_next;
}

/* x, which is c->x or c->x_next, is c->x from here on. */
static void forward_take(struct slm_context *c, float *x)
{
    if (x != c->x) {
        c->x_next = c->x;
        c->x = x;
    }
}

/* What comes before the feed-forward: attention, another mixer, or both from the same x. */
static void forward_mixers(struct slm_context *c, const struct layer *l, float *x)
{
    if (PROFILE_ALTUP && l->laurel_down.n_out > 0) {
        laurel(c, l);
    }
    if (l->n_kv_head > 0) {
        attention(c, l, x);
    }
    if (PROFILE_RECURRENT && l->recurrent != RECURRENT_NONE) {
        recurrent_mixers[l->recurrent].run(c, l, x);
    }
    if (PROFILE_ALTUP && l->laurel_down.n_out > 0) {
        laurel_join(c, x);
    }
    if (PROFILE_MORE) {
        norm_sum(c, &l->attn_sum_norm, x, NULL);
        norm_sum(c, &l->attn_norm_2, x, c->x);
    }
}

/* Mixers, then the feed-forward or the experts; or all of them from the same x, which changes after
 * them. */
static void forward_branches(struct slm_context *c, const struct layer *l)
{
    float *x = layer_keeps_x(l) ? forward_branch(c) : c->x;
    forward_mixers(c, l, x);
    if (PROFILE_MORE && !l->is_parallel) {
        forward_take(c, x);
    }
    if (PROFILE_EXPERTS && l->n_expert > 0) {
        experts(c, l, x);
    } else if (l->n_ff > 0) {
        ffn(c, l, x);
    }
    if (PROFILE_MORE) {
        norm_sum(c, &l->ffn_sum_norm, x, NULL);
        forward_take(c, x);
    }
}

static void forward_layer(struct slm_context *c, const struct layer *l)
{
    if (PROFILE_ALTUP && l->altup_router.n_out > 0) {
        altup_predict(c, l);
    }
    forward_branches(c, l);
    if (PROFILE_ALTUP && l->altup_router.n_out > 0) {
        altup_correct(c, l);
    }
    if (PROFILE_PLE && l->ple_gate.n_out > 0) {
        ple(c, l);
    }
    if (PROFILE_MORE && l->output_scale != NULL) {
        context_tokens(c, l, c->model->hparams.n_embd, forward_scale_token);
    }
}

/* All layers over c->batch, whose pages are reserved: c->x is what they make of it. */
static int forward_layers(struct slm_context *c, const struct forward_stop *stop)
{
    const struct slm_model *m = c->model;
    forward_list_pages(c);
    context_tiles(c, (int64_t)c->batch.n_tokens * m->hparams.n_embd * 8, c->batch.n_tokens,
                  forward_embed, c);
    if (PROFILE_PLE && m->hparams.n_embd_layer > 0) {
        ple_begin(c);
    }
    if (PROFILE_ALTUP && m->hparams.n_streams > 0) {
        altup_begin(c);
    }
    for (int32_t i = 0; i < m->hparams.n_layer; i++) {
        SLM_TRY(forward_poll(stop));
        forward_layer(c, &m->layers[i]);
    }
    return forward_poll(stop);
}

static int forward(struct slm_context *c, const struct forward_stop *stop)
{
    SLM_TRY(forward_layers(c, stop));
    forward_logits(c);
    return SLM_OK;
}

/* ---- Checking a call ------------------------------------------------------------------------- */

struct eval_call {
    struct slm_context *c;
    slm_span *spans; /* first of n_spans, span_size apart */
    int32_t n_spans;
    size_t span_size;
    const slm_eval_options *options;
    slm_error *err;
    int is_generator; /* the call is of the generator that has the sequence */
    int64_t n_total;  /* tokens */
    int64_t n_done;
};

static slm_span *eval_span(const struct eval_call *e, int32_t i)
{
    return (slm_span *)(void *)((uint8_t *)e->spans + (size_t)i * e->span_size);
}

static int eval_check_span(struct eval_call *e, int32_t i, const slm_span *s, int64_t *n_logits)
{
    struct slm_context *c = e->c;
    if (s->sequence < 0 || s->sequence >= c->cache.n_sequences) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, i, "span %d: sequence %d, but the context has %d", i,
                 s->sequence, c->cache.n_sequences);
    }
    if (!e->is_generator) {
        SLM_TRY(context_check_free(c, s->sequence, e->err));
    }
    int32_t *length = &c->cache.wanted[s->sequence];
    if (s->n_tokens < 1 || s->tokens == NULL) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, i, "span %d has no tokens", i);
    }
    if (s->position != -1 && s->position != *length) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, i,
                 "span %d: position %d, but sequence %d has length %d (rewind it first)", i,
                 s->position, s->sequence, *length);
    }
    if (s->want < SLM_WANT_NONE || s->want > SLM_WANT_ALL) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, i, "span %d: want is %d", i, s->want);
    }
    if (PROFILE_MORE && e->c->model->globals.position_embd.n_out > 0 &&
        s->n_tokens > c->model->globals.position_embd.n_out - *length) {
        SLM_FAIL(e->err, SLM_E_FULL, i,
                 "span %d: %d tokens after %d, but the model knows only %lld positions", i,
                 s->n_tokens, *length, (long long)c->model->globals.position_embd.n_out);
    }
    if (s->n_tokens > c->n_ctx - *length) {
        SLM_FAIL(e->err, SLM_E_FULL, i,
                 "span %d: %d tokens after %d do not fit the %d positions of the context", i,
                 s->n_tokens, *length, c->n_ctx);
    }
    for (int32_t t = 0; t < s->n_tokens; t++) {
        if (s->tokens[t] < 0 || s->tokens[t] >= c->model->hparams.n_vocab) {
            SLM_FAIL(e->err, SLM_E_ARGUMENT, t, "span %d: token %d is id %d, the vocabulary has %d",
                     i, t, s->tokens[t], c->model->hparams.n_vocab);
        }
    }
    *length += s->n_tokens;
    *n_logits += s->want == SLM_WANT_ALL ? s->n_tokens : s->want == SLM_WANT_LAST ? 1 : 0;
    return SLM_OK;
}

static int eval_check_causal(const struct slm_context *c, slm_error *err)
{
    if (!c->model->hparams.is_causal) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                 "the model is an encoder, which has no next token: slm_embed is what it is for");
    }
    return SLM_OK;
}

/* Everything that can be wrong with the arguments, before anything changes. */
static int eval_check(struct eval_call *e)
{
    struct slm_context *c = e->c;
    int64_t n_logits = 0;
    SLM_TRY(eval_check_causal(c, e->err));
    if (e->n_spans < 0 || (e->n_spans > 0 && e->spans == NULL) ||
        e->span_size < offsetof(slm_span, n_done) + sizeof(int32_t) ||
        e->span_size % sizeof(void *) != 0) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, -1, "%d spans of %zu bytes: sizeof(slm_span) is %zu",
                 e->n_spans, e->span_size, sizeof(slm_span));
    }
    /* A span_size that is the size of the whole array fails at the first span. Until all have been
     * looked at nothing is written: it could be beyond the array. */
    for (int32_t i = 0; i < e->n_spans; i++) {
        slm_span span;
        SLM_TRY(struct_read(&span, sizeof span, eval_span(e, i), e->span_size, "span", e->err));
    }
    for (int32_t i = 0; i < e->n_spans; i++) {
        eval_span(e, i)->n_done = 0;
    }
    for (int32_t i = 0; i < c->cache.n_sequences; i++) {
        c->cache.wanted[i] = c->cache.sequences[i].length;
    }
    for (int32_t i = 0; i < e->n_spans; i++) {
        const slm_span *span = eval_span(e, i);
        SLM_TRY(eval_check_span(e, i, span, &n_logits));
        e->n_total += span->n_tokens;
    }
    if (n_logits > c->n_logits) {
        SLM_FAIL(e->err, SLM_E_SPACE, -1,
                 "%lld rows of logits are wanted, the context was made for n_logits %d",
                 (long long)n_logits, c->n_logits);
    }
    if (!cache_fits(&c->cache)) {
        SLM_FAIL(e->err, SLM_E_FULL, -1, "these tokens need more KV pages than are free: %d of %d",
                 c->cache.n_free, c->cache.n_pages);
    }
    return SLM_OK;
}

/* ---- Batches --------------------------------------------------------------------------------- */

static wide_float eval_time_left(const struct eval_call *e)
{
    return (wide_float)(max_i64(e->options->deadline_ns, 0) - platform_clock_ns());
}

/* How many tokens may be tried at once: all that fit, or under a deadline what should take half of
 * the time left by the speed measured so far. */
static int32_t eval_batch_limit(const struct eval_call *e)
{
    const struct slm_context *c = e->c;
    if (e->options->deadline_ns == SLM_NO_DEADLINE) {
        return c->n_batch;
    }
    if (!(c->ns_per_token > 0)) {
        return min_i32(c->n_batch, 4);
    }
    wide_float left = eval_time_left(e);
    wide_float n = left / (2 * c->ns_per_token);
    /* More tokens cost less each, which a batch of one does not show: it may double. */
    if (4 * c->ns_per_token * (wide_float)c->batch_last < left &&
        n < 2 * (wide_float)c->batch_last) {
        n = 2 * (wide_float)c->batch_last;
    }
    return n < 1 ? 1 : n > (wide_float)c->n_batch ? c->n_batch : (int32_t)n;
}

/* Takes the next tokens of the spans, in order. Positions follow the sequences' lengths. */
static void eval_fill(struct eval_call *e, int32_t limit)
{
    struct slm_context *c = e->c;
    struct batch *b = &c->batch;
    b->n_tokens = b->n_segments = b->n_rows = 0;
    for (int32_t i = 0; i < c->cache.n_sequences; i++) {
        c->cache.wanted[i] = c->cache.sequences[i].length;
    }
    for (int32_t i = 0; i < e->n_spans && b->n_tokens < limit; i++) {
        const slm_span *s = eval_span(e, i);
        int32_t n = min_i32(s->n_tokens - s->n_done, limit - b->n_tokens);
        if (n == 0) {
            continue;
        }
        /* A state is written once in a batch: a second span of the sequence waits for the next. */
        if (states_exist(&c->states) &&
            c->cache.wanted[s->sequence] > c->cache.sequences[s->sequence].length) {
            break;
        }
        struct segment *segment = &b->segments[b->n_segments++];
        segment->sequence = s->sequence;
        segment->first = b->n_tokens;
        segment->n_tokens = n;
        segment->position = c->cache.wanted[s->sequence];
        c->cache.wanted[s->sequence] += n;
        for (int32_t t = 0; t < n; t++) {
            int32_t index = s->n_done + t;
            b->tokens[b->n_tokens] = s->tokens[index];
            b->positions[b->n_tokens] = segment->position + t;
            if (s->want == SLM_WANT_ALL || (s->want == SLM_WANT_LAST && index == s->n_tokens - 1)) {
                b->rows[b->n_rows++] = b->n_tokens;
            }
            b->n_tokens++;
        }
    }
}

static void eval_reserve(struct slm_context *c)
{
    for (int32_t i = 0; i < c->cache.n_sequences; i++) {
        int32_t n = c->cache.wanted[i] - c->cache.sequences[i].length;
        if (n > 0) {
            cache_reserve(&c->cache, i, n);
        }
    }
}

/* The batch counts: lengths, rows of logits, n_done. */
static void eval_commit(struct eval_call *e)
{
    struct slm_context *c = e->c;
    int32_t left = c->batch.n_tokens;
    for (int32_t i = 0; i < c->batch.n_segments; i++) {
        int32_t sequence = c->batch.segments[i].sequence;
        states_commit(&c->states, sequence);
        c->cache.sequences[sequence].length = c->cache.wanted[sequence];
    }
    for (int32_t i = 0; i < e->n_spans && left > 0; i++) {
        slm_span *s = eval_span(e, i);
        int32_t n = min_i32(s->n_tokens - s->n_done, left);
        s->n_done += n;
        left -= n;
    }
    c->n_logits_valid += c->batch.n_rows;
    e->n_done += c->batch.n_tokens;
}

/* Pages reserved for a batch that did not happen go back. The copy of a shared page stays, which the
 * next batch of this sequence would make anyway: it holds the same positions. */
static void eval_roll_back(struct slm_context *c)
{
    for (int32_t i = 0; i < c->cache.n_sequences; i++) {
        struct sequence *s = &c->cache.sequences[i];
        cache_trim(&c->cache, s, cache_pages_for(s->length));
    }
}

static int eval_batch(struct eval_call *e)
{
    struct slm_context *c = e->c;
    struct forward_stop stop = {e->options, e->err};
    if (e->n_done > 0 && e->options->deadline_ns != SLM_NO_DEADLINE &&
        eval_time_left(e) < c->ns_per_token) {
        SLM_FAIL(e->err, SLM_E_DEADLINE, -1, "the time left is too short for another token");
    }
    int64_t start = platform_clock_ns();
    eval_fill(e, eval_batch_limit(e));
    eval_reserve(c);
    int status = forward(c, &stop);
    wide_float ns = (wide_float)(platform_clock_ns() - start) / (wide_float)c->batch.n_tokens;
    if (status != SLM_OK) {
        /* It was not done, and had already taken longer than thought. */
        if (status == SLM_E_DEADLINE && ns > c->ns_per_token) {
            c->ns_per_token = 2 * ns;
        }
        eval_roll_back(c);
        return status;
    }
    c->ns_per_token = ns;
    c->batch_last = c->batch.n_tokens;
    eval_commit(e);
    if (e->options->progress != NULL &&
        e->options->progress(e->options->progress_user, (uint64_t)e->n_done,
                             (uint64_t)e->n_total) != 0 &&
        e->n_done < e->n_total) {
        SLM_FAIL(e->err, SLM_E_CANCELLED, -1,
                 "the evaluation was stopped by the progress callback");
    }
    return SLM_OK;
}

/* The body of slm_eval; the context is entered. */
static int eval_run(struct eval_call *e)
{
    struct slm_context *c = e->c;
    int status = SLM_OK;
    SLM_TRY(eval_check(e));
    c->n_logits_valid = 0;
    c->pool_owned = threads_begin(c->threads);
    while (status == SLM_OK && e->n_done < e->n_total) {
        status = eval_batch(e);
    }
    threads_end(c->threads, c->pool_owned);
    return status;
}
