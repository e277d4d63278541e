/* generate.c - pulled generation: a prompt in, pieces of text out, one call at a time.
 *
 * A generator is a small state machine: tokens are chosen, their text is held in a buffer, and what
 * cannot belong to a stop string any more is given out. Each call can end early (deadline, cancel)
 * at any evaluation and be taken up again by the next one: nothing is lost, because a token is
 * chosen only after everything before it has been evaluated. Every token chosen is evaluated into
 * the sequence, the last one before SLM_PIECE_END is answered, so that the sequence can be
 * continued as it stands. */

struct generate_stop {
    int32_t size;
    char text[LIMIT_STOP_BYTES + 1];
};

struct slm_generator {
    struct memory memory;
    struct slm_context *context; /* its busy flag guards the generator, too */
    struct slm_sampler *sampler;
    int32_t sequence;
    int32_t position; /* what the sequence's length must be: nobody else may change it */
    int32_t max_tokens;
    slm_eval_options eval; /* deadline_ns is set for each step */
    int64_t step_ns;       /* that a step may take */

    int32_t *prompt; /* [n_prompt], capacity n_prompt_room */
    uint64_t n_prompt_room;
    int32_t n_prompt;
    int32_t n_prompt_done;

    int32_t token;      /* chosen and not yet evaluated, or -1 */
    int32_t has_logits; /* the context's logits are ours: another generator may use it between
                           two steps */
    int32_t reason;     /* SLM_END_ once the text is complete, 0 before */
    slm_text_stream stream;

    int32_t *chosen; /* [n_chosen] all tokens, capacity n_chosen_room */
    uint64_t n_chosen_room;
    int32_t n_chosen;
    int32_t n_told; /* of them, by pieces */

    char *text; /* text not given out yet: [0, size) */
    uint64_t text_room;
    size_t size;
    size_t given; /* of it, handed out by the last call */

    int32_t n_stops;
    struct generate_stop stops[LIMIT_STOPS];

    int32_t special_pieces;
    size_t special;                /* of the text, at its end: that of a control token */
    int32_t counts_kinds;          /* tracker is in use */
    int32_t n_kind[4];             /* tokens of SLM_CHAT_ kinds */
    struct output_machine tracker; /* follows the text, token by token */
    int32_t budget;                /* tokens left inside reasoning; -1: no limit */
    int32_t n_forced;
    int32_t was_forced; /* the last token */
    int32_t n_force;    /* tokens that end reasoning */
    int32_t force_at;   /* the next one; n_force: none is being forced */
    int32_t force[LIMIT_FORCED];

    struct heal heal;
    int32_t n_healed; /* tokens that wrote what healing took back, and no more */

    int32_t n_generated;
    int64_t begin_ns;
    int64_t prompt_ns;
    int64_t generate_ns;
    int64_t first_token_ns;
};

/* ---- Samplers keep their model --------------------------------------------------------------- */

static int sampler_make(struct slm_sampler **out, struct slm_model *m,
                        const slm_sampler_stage *stages, int32_t n_stages, size_t stage_size,
                        const slm_sampler_options *options, slm_error *err)
{
    int32_t n_vocab = max_i32(m->hparams.n_vocab, m->vocab.n_token);
    SLM_TRY(sampler_create(out, n_vocab, stages, n_stages, stage_size, options, err));
    model_retain(m);
    (*out)->model = m;
    return SLM_OK;
}

static void sampler_retain(struct slm_sampler *s)
{
    reference_add(&s->references);
}

static void sampler_release(struct slm_sampler *s)
{
    if (s != NULL && reference_drop(&s->references)) {
        struct slm_model *model = s->model;
        sampler_destroy(s);
        model_release(model);
    }
}

/* ---- Begin and end --------------------------------------------------------------------------- */

static void generate_destroy(struct slm_generator *g)
{
    struct memory memory = g->memory;
    struct slm_context *context = g->context;
    __atomic_store_n(&context->generating[g->sequence], 0, __ATOMIC_RELEASE);
    sampler_release(g->sampler);
    heal_free(&g->heal, &memory);
    memory_give(&memory, g->prompt, g->n_prompt_room * sizeof(int32_t));
    memory_give(&memory, g->chosen, g->n_chosen_room * sizeof(int32_t));
    memory_give(&memory, g->text, g->text_room);
    memory_give(&memory, g, sizeof *g);
    context_release(context);
}

static int generate_copy_stops(struct slm_generator *g, const slm_generate_options *o,
                               slm_error *err)
{
    if (o->n_stops < 0 || o->n_stops > LIMIT_STOPS || (o->n_stops > 0 && o->stops == NULL)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "n_stops is %d: 0 to %d stop strings are expected",
                 o->n_stops, LIMIT_STOPS);
    }
    for (int32_t i = 0; i < o->n_stops; i++) {
        size_t n = o->stops[i] != NULL ? string_length(o->stops[i]) : 0;
        if (n == 0 || n > LIMIT_STOP_BYTES) {
            SLM_FAIL(err, SLM_E_ARGUMENT, i, "stop string %d is NULL or has %zu bytes: 1 to %d", i,
                     n, LIMIT_STOP_BYTES);
        }
        g->stops[i].size = (int32_t)n;
        memcpy(g->stops[i].text, o->stops[i], n);
    }
    g->n_stops = o->n_stops;
    return SLM_OK;
}

static int generate_take_prompt(struct slm_generator *g, uint64_t room, slm_error *err)
{
    memory_give(&g->memory, g->prompt, g->n_prompt_room * sizeof(int32_t));
    g->n_prompt_room = 0;
    g->prompt = (int32_t *)memory_take(&g->memory, room * sizeof(int32_t));
    if (g->prompt == NULL) {
        return memory_error(&g->memory, room * sizeof(int32_t), "prompt", err);
    }
    g->n_prompt_room = room;
    return SLM_OK;
}

/* A token is seldom shorter than a byte: the second try is for vocabularies where it may be. */
static int generate_tokenize(struct slm_generator *g, const char *text, size_t size, uint32_t flags,
                             slm_error *err)
{
    struct slm_model *m = g->context->model;
    size_t needed = 0;
    SLM_TRY(generate_take_prompt(g, (uint64_t)size + 8, err));
    int status = tokenize_text(&m->vocab, &m->memory, text, size, flags, g->prompt,
                               (size_t)g->n_prompt_room, &needed, err);
    if (status == SLM_E_SPACE) {
        error_clear(err);
        SLM_TRY(generate_take_prompt(g, needed, err));
        status = tokenize_text(&m->vocab, &m->memory, text, size, flags, g->prompt,
                               (size_t)g->n_prompt_room, &needed, err);
    }
    SLM_TRY(status);
    if (needed > INT32_MAX) {
        SLM_FAIL(err, SLM_E_FULL, -1, "the prompt has %zu tokens", needed);
    }
    g->n_prompt = (int32_t)needed;
    return SLM_OK;
}

/* A text that is to go on does not get the end token that some vocabularies add. */
static void generate_drop_end(struct slm_generator *g, uint32_t flags)
{
    const struct vocab *v = &g->context->model->vocab;
    if ((flags & SLM_TEXT_BOS) != 0 && v->add_eos && g->n_prompt > 1 &&
        g->prompt[g->n_prompt - 1] == v->end) {
        g->n_prompt--;
    }
}

static int generate_read_prompt(struct slm_generator *g, const char *text, size_t size,
                                const slm_generate_options *o, slm_error *err)
{
    const struct slm_model *m = g->context->model;
    int32_t length = g->position;
    uint32_t flags = length == 0 ? o->flags : o->flags & ~SLM_TEXT_BOS;
    if (o->prompt_tokens == NULL && o->n_prompt_tokens != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "prompt_tokens is NULL, but n_prompt_tokens is %d",
                 o->n_prompt_tokens);
    }
    if (o->prompt_tokens != NULL) {
        if (text != NULL || size != 0 || o->n_prompt_tokens < 0) {
            SLM_FAIL(err, SLM_E_ARGUMENT, -1, "a prompt is either text or %d tokens",
                     o->n_prompt_tokens);
        }
        SLM_TRY(generate_take_prompt(g, (uint64_t)o->n_prompt_tokens, err));
        memcpy(g->prompt, o->prompt_tokens, (size_t)o->n_prompt_tokens * sizeof(int32_t));
        g->n_prompt = o->n_prompt_tokens;
    } else {
        SLM_TRY(generate_tokenize(g, text, size, flags, err));
        generate_drop_end(g, flags);
    }
    for (int32_t i = 0; i < g->n_prompt; i++) {
        if (g->prompt[i] < 0 || g->prompt[i] >= m->hparams.n_vocab) {
            SLM_FAIL(err, SLM_E_ARGUMENT, i, "prompt token %d is id %d, the vocabulary has %d", i,
                     g->prompt[i], m->hparams.n_vocab);
        }
    }
    if (g->n_prompt == 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1,
                 "the prompt has no tokens, and the vocabulary asks for no start token");
    }
    if (g->n_prompt > g->context->n_ctx - length) {
        SLM_FAIL(err, SLM_E_FULL, g->n_prompt,
                 "a prompt of %d tokens after %d does not fit the %d positions of the context",
                 g->n_prompt, length, g->context->n_ctx);
    }
    return SLM_OK;
}

/* Room for what can be held back plus the text of one more token. */
static int generate_take_text(struct slm_generator *g, slm_error *err)
{
    uint64_t room =
        (uint64_t)SLM_DECODE_MAX(g->context->model->vocab.text_max) + 2 * LIMIT_STOP_BYTES;
    g->text = (char *)memory_take(&g->memory, room);
    if (g->text == NULL) {
        return memory_error(&g->memory, room, "text", err);
    }
    g->text_room = room;
    return SLM_OK;
}

/* Room for every token that the sequence takes, and the one that finds it full. */
static int generate_take_chosen(struct slm_generator *g, slm_error *err)
{
    uint64_t room = (uint64_t)(g->context->n_ctx - g->position - g->n_prompt) + 1;
    g->chosen = (int32_t *)memory_take(&g->memory, room * sizeof(int32_t));
    if (g->chosen == NULL) {
        return memory_error(&g->memory, room * sizeof(int32_t), "tokens", err);
    }
    g->n_chosen_room = room;
    return SLM_OK;
}

static int generate_use_sampler(struct slm_generator *g, struct slm_sampler *sampler,
                                slm_error *err)
{
    slm_sampler_options o;
    if (sampler != NULL) {
        sampler_retain(sampler);
        g->sampler = sampler;
        return SLM_OK;
    }
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.alloc = g->memory.alloc;
    o.alloc_user = g->memory.user;
    return sampler_make(&g->sampler, g->context->model, NULL, 0, 0, &o, err);
}

/* The tokens that end reasoning, as the style writes it: without the spaces that a vocabulary puts in
 * front of a text and behind special tokens, where these are tokens of their own. */
static int generate_take_force(struct slm_generator *g, slm_error *err)
{
    struct slm_model *m = g->context->model;
    const char *text = g->tracker.reasoning->force;
    size_t needed = 0;
    int inside = 0;
    SLM_TRY(tokenize_text(&m->vocab, &m->memory, text, string_length(text), SLM_TEXT_SPECIAL,
                          g->force, LIMIT_FORCED, &needed, err));
    for (size_t i = 0; i < needed; i++) {
        const uint32_t flags = SLM_TEXT_BOS | SLM_TEXT_SPECIAL;
        struct piece piece = piece_begin(&m->vocab, g->force[i], flags, &inside);
        if (piece_next(&piece) >= 0) {
            g->force[g->n_force++] = g->force[i];
        }
    }
    g->force_at = g->n_force;
    return SLM_OK;
}

static int generate_use_output(struct slm_generator *g, const slm_generate_options *o,
                               slm_error *err)
{
    if (o->special_pieces != 0 && o->special_pieces != 1) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "special_pieces is %d: 0 or 1", o->special_pieces);
    }
    g->special_pieces = o->special_pieces || o->chat_output != NULL;
    g->budget = o->reasoning_budget == 0 ? -1 : o->reasoning_budget;
    if (PROFILE_TOOLS && o->chat_output != NULL) {
        output_track(o->chat_output, &g->tracker);
        g->counts_kinds = 1;
    }
    if (o->reasoning_budget == 0) {
        return SLM_OK;
    }
    if (!PROFILE_TOOLS || g->budget < 0 || g->tracker.reasoning == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1,
                 "reasoning_budget is %d: 0 or more, and a chat_output with a style of reasoning",
                 o->reasoning_budget);
    }
    return generate_take_force(g, err);
}

static int generate_heal(struct slm_generator *g, const slm_generate_options *o, slm_error *err)
{
    const struct slm_model *m = g->context->model;
    if (o->heal != 0 && o->heal != 1) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "heal is %d: 0 or 1", o->heal);
    }
    if (o->heal == 0 || g->max_tokens == 0) {
        return SLM_OK;
    }
    if (!PROFILE_HEAL) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                 "token healing was left out of this build (SLM_NO_HEAL)");
    }
    return heal_begin(&g->heal, &m->vocab, m->hparams.n_vocab, g->prompt, &g->n_prompt, &g->memory,
                      err);
}

static int generate_fill(struct slm_generator *g, struct slm_sampler *sampler, const char *text,
                         size_t size, const slm_generate_options *o, slm_error *err)
{
    g->max_tokens = o->max_tokens == SLM_AUTO ? INT32_MAX : o->max_tokens;
    if (g->max_tokens < 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "max_tokens is %d", o->max_tokens);
    }
    if (g->step_ns <= 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "step_ns is %lld: more than 0 is expected",
                 (long long)g->step_ns);
    }
    if (sampler != NULL && sampler->model != g->context->model) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "the sampler was made for another model");
    }
    SLM_TRY(tokenizer_check(&g->context->model->vocab, err));
    SLM_TRY(generate_copy_stops(g, o, err));
    SLM_TRY(generate_use_output(g, o, err));
    SLM_TRY(generate_use_sampler(g, sampler, err));
    SLM_TRY(generate_take_text(g, err));
    SLM_TRY(generate_read_prompt(g, text, size, o, err));
    SLM_TRY(generate_heal(g, o, err));
    return generate_take_chosen(g, err);
}

/* The context is entered. */
static int generate_create(struct slm_generator **out, struct slm_context *c, int32_t sequence,
                           struct slm_sampler *sampler, const char *text, size_t size,
                           const slm_generate_options *o, slm_error *err)
{
    struct memory memory = memory_make(c->memory.alloc, c->memory.user, UINT64_MAX);
    SLM_TRY(eval_check_causal(c, err));
    struct slm_generator *g = (struct slm_generator *)memory_take(&memory, sizeof *g);
    if (g == NULL) {
        return memory_error(&memory, sizeof *g, "generator", err);
    }
    memset(g, 0, sizeof *g);
    g->memory = memory;
    g->begin_ns = platform_clock_ns();
    g->context = c;
    g->sequence = sequence;
    g->position = c->cache.sequences[sequence].length;
    g->token = -1;
    g->step_ns = o->step_ns;
    g->eval.struct_size = sizeof g->eval;
    g->eval.cancel = o->cancel;
    g->eval.progress = o->progress;
    g->eval.progress_user = o->progress_user;
    context_retain(c);
    int status = generate_fill(g, sampler, text, size, o, err);
    if (status != SLM_OK) {
        generate_destroy(g);
        return status;
    }
    __atomic_store_n(&c->generating[sequence], 1, __ATOMIC_RELEASE);
    *out = g;
    return SLM_OK;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static int generate_eval(struct slm_generator *g, const int32_t *tokens, int32_t n, int32_t want,
                         int32_t *n_done, slm_error *err)
{
    struct eval_call e;
    slm_span span;
    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    span.sequence = g->sequence;
    span.position = g->position;
    span.n_tokens = n;
    span.tokens = tokens;
    span.want = want;
    memset(&e, 0, sizeof e);
    e.c = g->context;
    e.spans = &span;
    e.n_spans = 1;
    e.span_size = sizeof span;
    e.options = &g->eval;
    e.is_generator = 1;
    e.err = err;
    int status = eval_run(&e);
    *n_done = span.n_done;
    g->position += span.n_done;
    return status;
}

/* Evaluates what stands before the next choice: the rest of the prompt, or the last token. */
static int generate_advance(struct slm_generator *g, slm_error *err)
{
    int64_t start = platform_clock_ns();
    int32_t n_done = 0;
    int status = SLM_OK;
    if (g->n_prompt_done < g->n_prompt) {
        status = generate_eval(g, g->prompt + g->n_prompt_done, g->n_prompt - g->n_prompt_done,
                               SLM_WANT_LAST, &n_done, err);
        g->n_prompt_done += n_done;
        g->prompt_ns += platform_clock_ns() - start;
    } else if (g->token >= 0) {
        status = generate_eval(g, &g->token, 1, g->reason == 0 ? SLM_WANT_LAST : SLM_WANT_NONE,
                               &n_done, err);
        g->generate_ns += platform_clock_ns() - start;
        if (n_done == 1) {
            g->token = -1;
        }
        /* The call before may have been the last that fitted. */
        if (status == SLM_E_FULL) {
            g->token = -1;
            g->reason = g->reason != 0 ? g->reason : SLM_END_FULL;
            error_clear(err);
            return SLM_OK;
        }
    }
    g->has_logits = status == SLM_OK && g->reason == 0;
    return status;
}

/* Where the earliest stop string begins in the held text, or its size. */
static size_t generate_find_stop(const struct slm_generator *g)
{
    size_t size = g->size - g->special;
    for (size_t i = 0; i < size; i++) {
        for (int32_t s = 0; s < g->n_stops; s++) {
            size_t n = (size_t)g->stops[s].size;
            if (n <= size - i && memcmp(g->text + i, g->stops[s].text, n) == 0) {
                return i;
            }
        }
    }
    return g->size;
}

/* The last place up to i where a character begins: stop strings are bytes. */
static size_t generate_whole(const struct slm_generator *g, size_t i)
{
    while (i > 0 && ((uint8_t)g->text[i] & 0xc0) == 0x80) {
        i--;
    }
    return i;
}

/* How much of the held text cannot be the beginning of a stop string. */
static size_t generate_safe(const struct slm_generator *g)
{
    for (size_t i = 0; i < g->size; i++) {
        for (int32_t s = 0; s < g->n_stops; s++) {
            size_t n = g->size - i;
            if (n < (size_t)g->stops[s].size && memcmp(g->text + i, g->stops[s].text, n) == 0) {
                return generate_whole(g, i);
            }
        }
    }
    return g->size;
}

/* Adds the text of a token (-1: what the stream still holds). */
static int generate_add_text(struct slm_generator *g, int32_t token, slm_error *err)
{
    size_t n = 0;
    SLM_TRY(decode_token(&g->context->model->vocab, &g->stream, token, 0, g->text + g->size,
                         (size_t)g->text_room - g->size, &n, err));
    g->size += n;
    return SLM_OK;
}

/* The same without the first `skip` bytes, which the prompt had. */
static int generate_add_rest(struct slm_generator *g, int32_t token, int32_t skip, slm_error *err)
{
    struct stream stream;
    struct text_sink sink = {g->text + g->size, (size_t)g->text_room - g->size, 0};
    if (!PROFILE_HEAL || skip == 0) {
        return generate_add_text(g, token, err);
    }
    struct piece rest = heal_rest(vocab_piece(&g->context->model->vocab, token, 0), skip);
    memcpy(&stream, g->stream.state, sizeof stream);
    for (int byte = piece_next(&rest); byte >= 0; byte = piece_next(&rest)) {
        stream_put(&stream, &sink, (uint8_t)byte);
    }
    memcpy(g->stream.state, &stream, sizeof stream);
    g->size += sink.n;
    return SLM_OK;
}

/* Adds the text of a control token, to be handed out apart from what stands in front of it. It is no
 * part of a stop string. */
static int generate_add_special(struct slm_generator *g, int32_t token, slm_error *err)
{
    slm_text_stream own;
    size_t n = 0;
    memset(&own, 0, sizeof own);
    SLM_TRY(generate_add_text(g, -1, err));
    SLM_TRY(decode_token(&g->context->model->vocab, &own, token, SLM_TEXT_SPECIAL,
                         g->text + g->size, (size_t)g->text_room - g->size, &n, err));
    g->size += n;
    g->special = n;
    return SLM_OK;
}

/* Which kind a token is of: that of the text in front of it, but for a token that leaves the answer.
 * The prompt had its first `skip` bytes. */
static void generate_count(struct slm_generator *g, int32_t token, int32_t skip, int is_forced)
{
    int32_t before = g->tracker.kind;
    int32_t kind = before;
    struct piece p = heal_rest(vocab_piece(&g->context->model->vocab, token, 1), skip);
    for (int byte = piece_next(&p); byte >= 0; byte = piece_next(&p)) {
        int status = output_put(&g->tracker, (uint8_t)byte, 0);
        if (status == CALL_BAD) {
            status = output_put(&g->tracker, (uint8_t)byte, 0);
        }
        kind = kind == SLM_CHAT_ANSWER ? g->tracker.kind : kind;
    }
    g->n_kind[kind]++;
    if (!is_forced && before == SLM_CHAT_REASONING && g->budget > 0) {
        g->budget--;
    }
}

/* A token that ends reasoning, or -1 where the model may choose. */
static int32_t generate_forced(struct slm_generator *g)
{
    if (!PROFILE_TOOLS) {
        return -1;
    }
    if (g->force_at == g->n_force && g->n_force > 0 && g->budget == 0 &&
        g->tracker.kind == SLM_CHAT_REASONING) {
        /* In a vocabulary whose tokens cannot say it, once is enough. */
        g->n_force = g->was_forced ? 0 : g->n_force;
        g->force_at = 0;
    }
    if (g->force_at == g->n_force) {
        return -1;
    }
    int32_t token = g->force[g->force_at++];
    g->n_forced++;
    return token;
}

/* Chooses a token: one that agrees with the end of the prompt, one that ends reasoning, or any. */
static int generate_pick(struct slm_generator *g, int32_t *token, slm_error *err)
{
    int32_t n_vocab = g->context->model->hparams.n_vocab;
    const float *logits = g->context->logits + (int64_t)(g->context->n_logits_valid - 1) * n_vocab;
    if (heal_is_on(&g->heal)) {
        return heal_choose(&g->heal, g->sampler, logits, n_vocab, token, err);
    }
    *token = generate_forced(g);
    g->was_forced = *token >= 0;
    return g->was_forced ? SLM_OK : sampler_sample(g->sampler, logits, n_vocab, token, err);
}

/* Adds the text of the token chosen, but for its first `skip` bytes, and sees whether it is the
 * last. */
static int generate_take(struct slm_generator *g, int32_t token, int32_t skip, slm_error *err)
{
    const struct vocab *v = &g->context->model->vocab;
    int is_special = g->special_pieces && (vocab_attributes(v, token) & TOKEN_GUARDED) != 0;
    g->n_generated++;
    if (PROFILE_TOOLS && g->counts_kinds) {
        generate_count(g, token, skip, g->was_forced);
    }
    if (vocab_is_end(v, token) && !g->was_forced) {
        g->reason = SLM_END_TOKEN;
    } else {
        SLM_TRY(is_special ? generate_add_special(g, token, err)
                           : generate_add_rest(g, token, skip, err));
        size_t stop = generate_find_stop(g);
        if (stop < g->size) {
            g->size = generate_whole(g, stop);
            g->special = 0;
            g->reason = SLM_END_STOP;
        } else if (g->n_generated >= g->max_tokens) {
            g->reason = SLM_END_LIMIT;
        }
    }
    if (g->reason == SLM_END_TOKEN || g->reason == SLM_END_LIMIT) {
        SLM_TRY(generate_add_text(g, -1, err));
    }
    return SLM_OK;
}

static int generate_choose(struct slm_generator *g, slm_error *err)
{
    int64_t start = platform_clock_ns();
    int32_t token = -1;
    int inside = 0;
    SLM_TRY(generate_pick(g, &token, err));
    SLM_TRY(sampler_accept(g->sampler, token, err));
    g->has_logits = 0;
    g->token = token;
    SLM_ASSERT((uint64_t)g->n_chosen < g->n_chosen_room);
    g->chosen[g->n_chosen++] = token;
    if (g->first_token_ns == 0) {
        g->first_token_ns = platform_clock_ns() - g->begin_ns;
    }
    int32_t skip = heal_accept(&g->heal, token, &inside);
    if (inside) {
        g->n_healed++;
    } else {
        SLM_TRY(generate_take(g, token, skip, err));
    }
    g->generate_ns += platform_clock_ns() - start;
    return SLM_OK;
}

/* Puts the tokens of which no piece has told into this one. */
static void generate_tell(struct slm_generator *g, slm_piece *piece)
{
    piece->tokens = g->chosen + g->n_told;
    piece->n_tokens = g->n_chosen - g->n_told;
    g->n_told = g->n_chosen;
}

/* Puts text that may go out into the piece; 0 if there is none yet. */
static int generate_give(struct slm_generator *g, slm_piece *piece)
{
    size_t n = g->reason != 0 || g->special > 0 ? g->size - g->special : generate_safe(g);
    int is_special = n == 0 && g->special > 0;
    if (is_special) {
        n = g->special;
        g->special = 0;
    }
    if (n == 0) {
        return 0;
    }
    piece->kind = is_special ? SLM_PIECE_SPECIAL : SLM_PIECE_TEXT;
    piece->text = g->text;
    piece->size = n;
    g->given = n;
    generate_tell(g, piece);
    return 1;
}

/* Goes on until there is a piece. */
static int generate_run(struct slm_generator *g, slm_piece *piece, slm_error *err)
{
    if (g->given > 0) {
        memmove(g->text, g->text + g->given, g->size - g->given);
        g->size -= g->given;
        g->given = 0;
    }
    if (g->max_tokens == 0 && g->reason == 0) {
        g->reason = SLM_END_LIMIT;
    }
    while (!generate_give(g, piece)) {
        if (g->n_prompt_done < g->n_prompt || g->token >= 0) {
            SLM_TRY(generate_advance(g, err));
        } else if (g->reason != 0) {
            piece->kind = SLM_PIECE_END;
            piece->reason = g->reason;
            generate_tell(g, piece);
            return SLM_OK;
        } else if (g->has_logits) {
            SLM_TRY(generate_choose(g, err));
        } else {
            SLM_FAIL(err, SLM_E_NUMERIC, -1, "generation cannot go on: choosing a token failed");
        }
        if (g->reason == SLM_END_FULL) {
            SLM_TRY(generate_add_text(g, -1, err));
        }
    }
    return SLM_OK;
}

/* One piece. The context and the sampler are entered. */
static int generate_step(struct slm_generator *g, slm_piece *piece, slm_error *err)
{
    int64_t now = platform_clock_ns();
    g->eval.deadline_ns = g->step_ns >= SLM_NO_DEADLINE - now ? SLM_NO_DEADLINE : now + g->step_ns;
    g->has_logits = 0;
    int status = generate_run(g, piece, err);
    g->context->n_logits_valid = 0; /* they were for the choice */
    return status;
}
