/* embed.c - embeddings: texts to batches to hidden states, pooled, through the dense layers or the
 * classifier, normalised.
 *
 * A text borrows an empty sequence for its K and V. Its length stays 0, so that nothing is there to
 * take back when a batch fails: the pages alone go back, after each group. A group is texts that
 * share a batch, or one that takes several, which only a causal model can be given in parts. */

struct embed_call {
    struct slm_context *c;
    const slm_embed_text *texts; /* first of n_texts, text_size apart */
    int32_t n_texts;
    size_t text_size;
    const slm_embed_options *options;
    slm_error *err;
    int32_t pooling; /* SLM_POOLING_, resolved */
    int64_t width;   /* floats of a row */
    int32_t next;    /* the first text that is not done */
    float *rows;     /* where its embedding goes */
    int64_t n_total; /* tokens */
    int64_t n_done;
};

static const slm_embed_text *embed_text(const struct embed_call *e, int32_t i)
{
    return (const slm_embed_text *)(const void *)((const uint8_t *)e->texts +
                                                  (size_t)i * e->text_size);
}

/* ---- Checking a call ------------------------------------------------------------------------- */

SLM_UNUSED static const char *embed_pooling_name(int32_t pooling)
{
    static const char *const names[] = {"none", "mean", "cls", "last", "rank"};
    return names[pooling];
}

/* What is asked for, held against what the model was trained for: a vector of any other kind would
 * look like one and mean nothing. */
static int embed_choose_pooling(struct embed_call *e)
{
    const struct slm_model *m = e->c->model;
    int32_t said = m->hparams.pooling;
    int32_t asked = e->options->pooling == SLM_AUTO ? said : e->options->pooling;
    if (asked < SLM_POOLING_NONE || asked > SLM_POOLING_RANK) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, asked, "embed options: pooling is %d", asked);
    }
    if (asked != said && asked != SLM_POOLING_NONE && said != SLM_POOLING_NONE) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, asked, "pooling %s is asked for, the model's is %s",
                 embed_pooling_name(asked), embed_pooling_name(said));
    }
    if (asked != said && asked == SLM_POOLING_CLS && m->hparams.is_causal) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, asked,
                 "pooling cls is asked for, but the model's first token sees no other");
    }
    if (asked == SLM_POOLING_RANK && model_classifier_outputs(m) == 0) {
        SLM_FAIL(e->err, asked == said ? SLM_E_MODEL : SLM_E_ARGUMENT, asked,
                 "pooling rank: the model has no tensor 'cls.weight' or 'cls.output.weight'");
    }
    e->pooling = asked;
    e->width = asked == SLM_POOLING_RANK ? model_classifier_outputs(m) : model_width(m);
    return SLM_OK;
}

/* Does a text of n tokens fit everything that bounds it? */
static int embed_check_length(const struct embed_call *e, int32_t i, int32_t n)
{
    const struct slm_context *c = e->c;
    int64_t n_positions = c->model->globals.position_embd.n_out;
    if (n_positions > 0 && n > n_positions) {
        SLM_FAIL(e->err, SLM_E_FULL, i, "text %d has %d tokens, the model knows %lld positions", i,
                 n, (long long)n_positions);
    }
    if (n > c->n_ctx) {
        SLM_FAIL(e->err, SLM_E_FULL, i, "text %d has %d tokens, the context has n_ctx %d", i, n,
                 c->n_ctx);
    }
    if (n > c->n_batch && !c->model->hparams.is_causal) {
        SLM_FAIL(
            e->err, SLM_E_FULL, i,
            "text %d has %d tokens, the context has n_batch %d: an encoder sees a text at once", i,
            n, c->n_batch);
    }
    if (cache_pages_for(n) > c->cache.n_free) {
        SLM_FAIL(e->err, SLM_E_FULL, i, "text %d needs %d KV pages, %d of %d are free", i,
                 cache_pages_for(n), c->cache.n_free, c->cache.n_pages);
    }
    return SLM_OK;
}

static int embed_check_text(const struct embed_call *e, int32_t i)
{
    const slm_embed_text *t = embed_text(e, i);
    int32_t n_vocab = e->c->model->hparams.n_vocab;
    if (t->n_tokens < 1 || t->tokens == NULL) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, i, "text %d has no tokens", i);
    }
    SLM_TRY(embed_check_length(e, i, t->n_tokens));
    for (int32_t k = 0; k < t->n_tokens; k++) {
        if (t->tokens[k] < 0 || t->tokens[k] >= n_vocab) {
            SLM_FAIL(e->err, SLM_E_ARGUMENT, k, "text %d: token %d is id %d, the vocabulary has %d",
                     i, k, t->tokens[k], n_vocab);
        }
    }
    return SLM_OK;
}

static int embed_can_borrow(const struct slm_context *c, int32_t sequence)
{
    return c->cache.sequences[sequence].length == 0 && !context_generates(c, sequence);
}

static int embed_has_empty_sequence(const struct slm_context *c)
{
    for (int32_t i = 0; i < c->cache.n_sequences; i++) {
        if (embed_can_borrow(c, i)) {
            return 1;
        }
    }
    return 0;
}

/* Everything that can be wrong with the arguments, before anything changes. */
static int embed_check(struct embed_call *e)
{
    if (e->n_texts < 0 || (e->n_texts > 0 && e->texts == NULL) ||
        e->text_size < offsetof(slm_embed_text, tokens) + sizeof(void *) ||
        e->text_size % sizeof(void *) != 0) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, -1, "%d texts of %zu bytes: sizeof(slm_embed_text) is %zu",
                 e->n_texts, e->text_size, sizeof(slm_embed_text));
    }
    if (e->options->normalize != SLM_NORMALIZE_EUCLIDEAN &&
        e->options->normalize != SLM_NORMALIZE_NONE) {
        SLM_FAIL(e->err, SLM_E_ARGUMENT, -1, "embed options: normalize is %d",
                 e->options->normalize);
    }
    SLM_TRY(embed_choose_pooling(e));
    for (int32_t i = 0; i < e->n_texts; i++) {
        slm_embed_text text;
        SLM_TRY(struct_read(&text, sizeof text, embed_text(e, i), e->text_size, "text", e->err));
        SLM_TRY(embed_check_text(e, i));
        e->n_total += text.n_tokens;
    }
    if (e->n_texts > 0 && !embed_has_empty_sequence(e->c)) {
        SLM_FAIL(e->err, SLM_E_FULL, -1, "none of the context's %d sequences is empty",
                 e->c->cache.n_sequences);
    }
    return SLM_OK;
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* Takes the next texts, as many as there are empty sequences, pages and room in a batch; of a text
 * longer than a batch the beginning. Their pages are reserved. */
static void embed_gather(struct embed_call *e)
{
    struct slm_context *c = e->c;
    struct batch *b = &c->batch;
    b->n_tokens = b->n_segments = b->n_rows = 0;
    for (int32_t i = 0; i < c->cache.n_sequences; i++) {
        c->cache.wanted[i] = c->cache.sequences[i].length;
    }
    for (int32_t i = 0; i < c->cache.n_sequences && e->next + b->n_segments < e->n_texts; i++) {
        if (!embed_can_borrow(c, i)) {
            continue;
        }
        int32_t n = embed_text(e, e->next + b->n_segments)->n_tokens;
        c->cache.wanted[i] = n;
        if (b->n_segments > 0 && (n > c->n_batch - b->n_tokens || !cache_fits(&c->cache))) {
            c->cache.wanted[i] = 0;
            break;
        }
        n = min_i32(n, c->n_batch);
        struct segment s = {i, b->n_tokens, n, 0};
        b->segments[b->n_segments++] = s;
        b->n_tokens += n;
    }
    eval_reserve(c);
}

/* Tokens and positions of the batch's segments. */
static void embed_fill(struct embed_call *e)
{
    struct batch *b = &e->c->batch;
    for (int32_t i = 0; i < b->n_segments; i++) {
        const struct segment *s = &b->segments[i];
        const int32_t *tokens = embed_text(e, e->next + i)->tokens + s->position;
        for (int32_t t = 0; t < s->n_tokens; t++) {
            b->tokens[s->first + t] = tokens[t];
            b->positions[s->first + t] = s->position + t;
        }
    }
}

/* On to the next part of a text longer than a batch; 0: the group is done. */
static int embed_advance(struct embed_call *e)
{
    struct batch *b = &e->c->batch;
    struct segment *s = &b->segments[0];
    int32_t left = embed_text(e, e->next)->n_tokens - s->position - s->n_tokens;
    if (left == 0) {
        return 0;
    }
    /* The next part begins with the state that this one left. The sequence's length stays 0, so that
     * afterwards it does not matter which state is its own. */
    states_commit(&e->c->states, s->sequence);
    s->position += s->n_tokens;
    s->n_tokens = b->n_tokens = min_i32(left, e->c->n_batch);
    return 1;
}

/* ---- Pooling --------------------------------------------------------------------------------- */

/* c->y = the last norm of c->x. */
static void embed_hidden(void *arg, int32_t token, int32_t part)
{
    struct slm_context *c = (struct slm_context *)arg;
    const struct norm *norm = &c->model->globals.output_norm;
    int64_t n_embd = c->model->hparams.n_embd;
    const float *x = c->x + token * n_embd;
    float *y = c->y + token * n_embd;
    (void)part;
    if (norm->n > 0) {
        norm_apply(c->model, norm, y, x, n_embd);
    } else {
        memcpy(y, x, (size_t)n_embd * sizeof(float));
    }
}

/* Segment i into its row: a sum in order of positions, or the one hidden state. A task a segment. */
static void embed_pool_segment(void *arg, int32_t i, int32_t part)
{
    const struct embed_call *e = (const struct embed_call *)arg;
    struct slm_context *c = e->c;
    const struct segment *s = &c->batch.segments[i];
    int32_t n_tokens = embed_text(e, e->next + i)->n_tokens;
    int64_t n_embd = c->model->hparams.n_embd;
    int32_t pooling = e->pooling == SLM_POOLING_RANK ? c->model->hparams.rank_pooling : e->pooling;
    const float *from = c->y + s->first * n_embd;
    float *row = c->pool.hidden + i * n_embd;
    int is_end = s->position + s->n_tokens == n_tokens;
    (void)part;
    if (pooling == SLM_POOLING_CLS && s->position == 0) {
        memcpy(row, from, (size_t)n_embd * sizeof(float));
    }
    if (pooling == SLM_POOLING_LAST && is_end) {
        memcpy(row, from + (s->n_tokens - 1) * n_embd, (size_t)n_embd * sizeof(float));
    }
    if (pooling == SLM_POOLING_MEAN) {
        if (s->position == 0) {
            memset(row, 0, (size_t)n_embd * sizeof(float));
        }
        for (int32_t t = 0; t < s->n_tokens; t++) {
            c->model->kernels.add(row, from + t * n_embd, n_embd);
        }
        for (int64_t k = 0; is_end && k < n_embd; k++) {
            row[k] /= (float)n_tokens;
        }
    }
}

/* ---- What follows pooling -------------------------------------------------------------------- */

/* The rows on their way through the layers that a model has. */
struct embed_layers {
    struct slm_context *c;
    struct matmul_input in;
    int turn;
};

/* The next layer; what it gives goes through `act` and `norm` on the way into the one after it. */
static void embed_layer(struct embed_layers *l, const struct linear *w, int32_t act,
                        const struct norm *norm)
{
    if (w->n_out == 0) {
        return;
    }
    float *y = l->c->pool.layer[l->turn];
    struct matmul_job job = {w, y, w->n_out, NULL, 1};
    struct matmul_input next = {y, act, NULL, norm, w->n_out, l->in.n_tokens};
    matmul(l->c, &l->in, &job, 1);
    l->in = next;
    l->turn = !l->turn;
}

/* Where cls is the last layer, no product makes an input of its n rows: in place. */
static void embed_activate(struct slm_context *c, int32_t n)
{
    const struct globals *g = &c->model->globals;
    float *y = c->pool.layer[0];
    int64_t size = n * g->cls.n_out;
    matmul_activate(&c->model->kernels, c->model->hparams.cls_act, y, y, NULL, size);
    if (g->cls_norm.n > 0) {
        norm_apply(c->model, &g->cls_norm, y, y, size);
    }
}

/* What the model makes of n rows of hidden states: [n][width] */
static const float *embed_finish(const struct embed_call *e, const float *hidden, int32_t n)
{
    struct slm_context *c = e->c;
    const struct hparams *h = &c->model->hparams;
    const struct globals *g = &c->model->globals;
    struct embed_layers l = {c, {hidden, ACT_NONE, NULL, NULL, h->n_embd, n}, 0};
    if (e->pooling != SLM_POOLING_RANK) {
        embed_layer(&l, &g->dense_2, ACT_NONE, NULL);
        embed_layer(&l, &g->dense_3, ACT_NONE, NULL);
        return l.in.x;
    }
    embed_layer(&l, &g->cls, h->cls_act, &g->cls_norm);
    embed_layer(&l, &g->cls_output, ACT_NONE, NULL);
    if (g->cls_output.n_out == 0) {
        embed_activate(c, n);
    }
    return l.in.x;
}

/* These rows behind those that are there. */
static void embed_write(struct embed_call *e, const float *hidden, int32_t n)
{
    int is_softmax = e->pooling == SLM_POOLING_RANK && e->c->model->hparams.rank_softmax;
    memcpy(e->rows, embed_finish(e, hidden, n), (size_t)n * (size_t)e->width * sizeof(float));
    for (int32_t i = 0; is_softmax && i < n; i++) {
        experts_softmax(e->rows + i * e->width, (int32_t)e->width);
    }
    e->rows += n * e->width;
}

/* The batch's hidden states: to the caller, or into the rows of their texts. */
static void embed_pool(struct embed_call *e)
{
    struct slm_context *c = e->c;
    int64_t work = (int64_t)c->batch.n_tokens * c->model->hparams.n_embd;
    context_tiles(c, work * 8, c->batch.n_tokens, embed_hidden, c);
    if (e->pooling == SLM_POOLING_NONE) {
        embed_write(e, c->y, c->batch.n_tokens);
    } else {
        context_tiles(c, work, c->batch.n_segments, embed_pool_segment, e);
    }
}

static void embed_normalise(float *x, int64_t n)
{
    struct math_total squares;
    memset(&squares, 0, sizeof squares);
    for (int64_t i = 0; i < n; i++) {
        math_add(&squares, (wide_float)x[i] * (wide_float)x[i]);
    }
    float scale = squares.value > 0 ? (float)(1 / math_sqrt(squares.value)) : 0;
    for (int64_t i = 0; squares.value > 0 && i < n; i++) {
        x[i] *= scale;
    }
}

/* ---- The call -------------------------------------------------------------------------------- */

/* The next group, whose pages go back whatever happens. */
static int embed_group(struct embed_call *e, const struct forward_stop *stop)
{
    struct slm_context *c = e->c;
    int status = SLM_OK;
    embed_gather(e);
    do {
        embed_fill(e);
        status = forward_layers(c, stop);
        if (status == SLM_OK) {
            embed_pool(e);
            e->n_done += c->batch.n_tokens;
        }
    } while (status == SLM_OK && embed_advance(e));
    if (status == SLM_OK && e->pooling != SLM_POOLING_NONE) {
        embed_write(e, c->pool.hidden, c->batch.n_segments);
    }
    e->next += c->batch.n_segments;
    eval_roll_back(c);
    SLM_TRY(status);
    const slm_embed_options *o = e->options;
    if (o->progress != NULL &&
        o->progress(o->progress_user, (uint64_t)e->n_done, (uint64_t)e->n_total) != 0 &&
        e->n_done < e->n_total) {
        SLM_FAIL(e->err, SLM_E_CANCELLED, -1,
                 "the evaluation was stopped by the progress callback");
    }
    return SLM_OK;
}

static int embed_all(struct embed_call *e)
{
    slm_eval_options polled;
    struct forward_stop stop = {&polled, e->err};
    int status = SLM_OK;
    memset(&polled, 0, sizeof polled);
    polled.deadline_ns = e->options->deadline_ns;
    polled.cancel = e->options->cancel;
    e->c->pool_owned = threads_begin(e->c->threads);
    while (status == SLM_OK && e->next < e->n_texts) {
        status = embed_group(e, &stop);
    }
    threads_end(e->c->threads, e->c->pool_owned);
    return status;
}

/* The body of slm_embed; the context is entered. */
static int embed_run(struct embed_call *e, float *rows, size_t capacity, size_t *needed)
{
    SLM_TRY(embed_check(e));
    uint64_t n_rows = e->pooling == SLM_POOLING_NONE ? (uint64_t)e->n_total : (uint64_t)e->n_texts;
    uint64_t n = n_rows * (uint64_t)e->width;
    if (n > SIZE_MAX / sizeof(float)) {
        SLM_FAIL(e->err, SLM_E_MEMORY, -1, "these embeddings are larger than the address space");
    }
    *needed = (size_t)n;
    if (rows == NULL) {
        return SLM_OK;
    }
    if (capacity < *needed) {
        SLM_FAIL(e->err, SLM_E_SPACE, -1, "the embeddings take %zu floats, there is room for %zu",
                 *needed, capacity);
    }
    e->rows = rows;
    SLM_TRY(embed_all(e));
    if (e->options->normalize == SLM_NORMALIZE_EUCLIDEAN && e->pooling != SLM_POOLING_RANK) {
        for (uint64_t i = 0; i < n_rows; i++) {
            embed_normalise(rows + i * (uint64_t)e->width, e->width);
        }
    }
    return SLM_OK;
}
