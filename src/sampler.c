/* sampler.c - from logits to a token: making a chain, the draw, history and rewind.
 *
 * Owns slm_sampler; what stages do is in sampler_stages.c and sampler_dry.c, and what to take care of
 * in sampler.h. All memory is taken when the chain is made; nothing afterwards allocates. */

/* ---- What the kinds of stages read ---------------------------------------------------------------- */

enum {
    FIELD_NONE,
    FIELD_INT,
    FIELD_FLOAT,
    FIELD_POINTER
};

/* The values that a field may have. Whole numbers are compared as floats. */
struct sampler_range {
    float low;
    float high;
    const char *text;
};

static const struct sampler_range sampler_finite = {-SAMPLER_HUGE, SAMPLER_HUGE, "finite"};
static const struct sampler_range sampler_not_negative = {0, SAMPLER_HUGE, "finite and 0 or more"};
static const struct sampler_range sampler_positive = {1.17549435e-38f, SAMPLER_HUGE,
                                                      "finite and above 0"};
static const struct sampler_range sampler_from_one = {1, SAMPLER_HUGE, "finite and 1 or more"};
static const struct sampler_range sampler_part = {0, 1, "from 0 to 1"};
static const struct sampler_range sampler_to_one = {-SAMPLER_HUGE, 1, "finite and 1 at most"};
static const struct sampler_range sampler_decay = {0, 0.99f, "from 0 to 0.99"};
static const struct sampler_range sampler_window = {-SAMPLER_HUGE, LIMIT_WINDOW, "4096 at most"};
static const struct sampler_range sampler_two = {2, SAMPLER_HUGE, "2 or more"};
static const struct sampler_range sampler_breakers = {0, LIMIT_BREAKERS, "from 0 to 16"};

/* A field that a kind reads. The pointers have checks of their own. */
struct sampler_rule {
    const char *name;
    uint8_t offset;
    uint8_t size;
    uint8_t form; /* FIELD_; NONE: no more */
    const struct sampler_range *range;
};

#define SAMPLER_READS(name, form, range)                                                           \
    {                                                                                              \
#name, offsetof(slm_sampler_stage, name), sizeof(((slm_sampler_stage *)0)->name), form,    \
            range                                                                                  \
    }
#define SAMPLER_READS_NO_MORE                                                                      \
    {                                                                                              \
        NULL, 0, 0, FIELD_NONE, NULL                                                               \
    }

static const struct sampler_rule sampler_temperature_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_finite), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_top_k_rules[] = {
    SAMPLER_READS(n, FIELD_INT, &sampler_finite), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_top_p_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_part), SAMPLER_READS(n, FIELD_INT, &sampler_finite),
    SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_min_p_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_part), SAMPLER_READS(n, FIELD_INT, &sampler_finite),
    SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_penalties_rules[] = {
    SAMPLER_READS(n, FIELD_INT, &sampler_window),
    SAMPLER_READS(repeat, FIELD_FLOAT, &sampler_positive),
    SAMPLER_READS(frequency, FIELD_FLOAT, &sampler_finite),
    SAMPLER_READS(presence, FIELD_FLOAT, &sampler_finite), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_logit_bias_rules[] = {
    SAMPLER_READS(n_biases, FIELD_INT, &sampler_not_negative),
    SAMPLER_READS(biases, FIELD_POINTER, NULL), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_dynamic_temperature_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_finite),
    SAMPLER_READS(range, FIELD_FLOAT, &sampler_not_negative),
    SAMPLER_READS(exponent, FIELD_FLOAT, &sampler_not_negative), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_top_n_sigma_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_finite), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_typical_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_part), SAMPLER_READS(n, FIELD_INT, &sampler_finite),
    SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_xtc_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_part),
    SAMPLER_READS(threshold, FIELD_FLOAT, &sampler_part),
    SAMPLER_READS(n, FIELD_INT, &sampler_finite), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_dry_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_finite),
    SAMPLER_READS(n, FIELD_INT, &sampler_window),
    SAMPLER_READS(base, FIELD_FLOAT, &sampler_from_one),
    SAMPLER_READS(allowed, FIELD_INT, &sampler_not_negative),
    SAMPLER_READS(n_breakers, FIELD_INT, &sampler_breakers),
    SAMPLER_READS(breakers, FIELD_POINTER, NULL),
    SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_mirostat_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_not_negative),
    SAMPLER_READS(rate, FIELD_FLOAT, &sampler_part), SAMPLER_READS(n, FIELD_INT, &sampler_two),
    SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_mirostat_2_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_not_negative),
    SAMPLER_READS(rate, FIELD_FLOAT, &sampler_part), SAMPLER_READS_NO_MORE};
static const struct sampler_rule sampler_adaptive_p_rules[] = {
    SAMPLER_READS(value, FIELD_FLOAT, &sampler_to_one),
    SAMPLER_READS(decay, FIELD_FLOAT, &sampler_decay), SAMPLER_READS_NO_MORE};

/* ---- The kinds of stages --------------------------------------------------------------------- */

static const struct sampler_learner sampler_mirostat_learner = {sampler_mirostat_begin,
                                                                sampler_mirostat_learn, NULL};
static const struct sampler_learner sampler_adaptive_learner = {
    sampler_adaptive_begin, sampler_adaptive_learn, sampler_adaptive};

#define SAMPLER_ROW(id, name, needs, apply, learner)                                               \
    {                                                                                              \
        id, PROFILE_STAGE(name) ? (needs) : SAMPLER_LEFT_OUT, PROFILE_MESSAGES ? #name : NULL,     \
            PROFILE_STAGE(name) ? sampler_##name##_rules : (const struct sampler_rule *)NULL,      \
            PROFILE_STAGE(name) ? apply : (sampler_apply_fn)NULL,                                  \
            PROFILE_STAGE(name) ? learner : (const struct sampler_learner *)NULL                   \
    }
#define SAMPLER_PLAIN(id, name, needs)                                                             \
    SAMPLER_ROW(id, name, needs, sampler_##name, (const struct sampler_learner *)NULL)

static const struct sampler_kind sampler_kinds[] = {
    SAMPLER_PLAIN(SLM_STAGE_TEMPERATURE, temperature, 0),
    SAMPLER_PLAIN(SLM_STAGE_TOP_K, top_k, 0),
    SAMPLER_PLAIN(SLM_STAGE_TOP_P, top_p, 0),
    SAMPLER_PLAIN(SLM_STAGE_MIN_P, min_p, 0),
    SAMPLER_PLAIN(SLM_STAGE_PENALTIES, penalties, SAMPLER_NEEDS_COUNTS | SAMPLER_NEEDS_HISTORY),
    SAMPLER_PLAIN(SLM_STAGE_LOGIT_BIAS, logit_bias, SAMPLER_NEEDS_COUNTS),
    SAMPLER_PLAIN(SLM_STAGE_DYNAMIC_TEMPERATURE, dynamic_temperature, 0),
    SAMPLER_PLAIN(SLM_STAGE_TOP_N_SIGMA, top_n_sigma, 0),
    SAMPLER_PLAIN(SLM_STAGE_TYPICAL, typical, 0),
    SAMPLER_PLAIN(SLM_STAGE_XTC, xtc, 0),
    SAMPLER_PLAIN(SLM_STAGE_DRY, dry,
                  SAMPLER_NEEDS_COUNTS | SAMPLER_NEEDS_HISTORY | SAMPLER_NEEDS_REPEATS),
    SAMPLER_ROW(SLM_STAGE_MIROSTAT, mirostat, 0, sampler_mirostat, &sampler_mirostat_learner),
    SAMPLER_ROW(SLM_STAGE_MIROSTAT_2, mirostat_2, 0, sampler_mirostat_2, &sampler_mirostat_learner),
    SAMPLER_ROW(SLM_STAGE_ADAPTIVE_P, adaptive_p, 0, NULL, &sampler_adaptive_learner),
};

#undef SAMPLER_PLAIN
#undef SAMPLER_ROW
#undef SAMPLER_READS
#undef SAMPLER_READS_NO_MORE

/* ---- Checking stages ------------------------------------------------------------------------- */

static int sampler_is_inside(const struct sampler_rule *rule, const uint8_t *bytes)
{
    float value = 0;
    int32_t whole = 0;
    if (rule->form == FIELD_FLOAT) {
        memcpy(&value, bytes, sizeof value);
    } else {
        memcpy(&whole, bytes, sizeof whole);
        value = (float)whole;
    }
    return f32_is_finite(value) && value >= rule->range->low && value <= rule->range->high;
}

/* The field that has this byte. */
static const char *sampler_field_at(size_t at)
{
    static const struct {
        size_t end;
        const char *name;
    } fields[] = {
#define FIELD(name)                                                                                \
    {offsetof(slm_sampler_stage, name) + sizeof(((slm_sampler_stage *)0)->name), #name}
        FIELD(n),        FIELD(value),     FIELD(repeat),     FIELD(frequency),
        FIELD(presence), FIELD(n_biases),  FIELD(biases),     FIELD(range),
        FIELD(exponent), FIELD(threshold), FIELD(base),       FIELD(allowed),
        FIELD(rate),     FIELD(decay),     FIELD(n_breakers), FIELD(breakers),
#undef FIELD
    };
    int32_t i = 0;
    while (i + 1 < SLM_COUNT(fields) && at >= fields[i].end) {
        i++;
    }
    return fields[i].name;
}

/* Every field that is read has a value it may have, and all others are 0. */
static int sampler_check_fields(const struct sampler_stage *stage, int32_t index, slm_error *err)
{
    slm_sampler_stage rest = stage->set;
    uint8_t *bytes = (uint8_t *)&rest;
    for (const struct sampler_rule *r = stage->kind->rules; r->form != FIELD_NONE; r++) {
        if (r->range != NULL && !sampler_is_inside(r, bytes + r->offset)) {
            SLM_FAIL(err, SLM_E_ARGUMENT, index, "sampler stage %d (%s): %s must be %s", index,
                     stage->kind->name, r->name, r->range->text);
        }
        memset(bytes + r->offset, 0, r->size);
    }
    for (size_t i = offsetof(slm_sampler_stage, n); i < sizeof rest; i++) {
        if (bytes[i] != 0) {
            const char *name = PROFILE_MESSAGES ? sampler_field_at(i) : "";
            SLM_FAIL(err, SLM_E_ARGUMENT, index,
                     "sampler stage %d (%s): %s must be 0: it is not read", index,
                     stage->kind->name, name);
        }
    }
    return SLM_OK;
}

static int sampler_check_biases(const struct sampler_stage *stage, int32_t index, int32_t n_vocab,
                                slm_error *err)
{
    if (stage->set.n_biases > 0 && stage->set.biases == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "sampler stage %d (%s): biases is NULL", index,
                 stage->kind->name);
    }
    for (int32_t i = 0; PROFILE_STAGE(logit_bias) && i < stage->set.n_biases; i++) {
        const slm_logit_bias *b = &stage->set.biases[i];
        if (b->token < 0 || b->token >= n_vocab) {
            SLM_FAIL(err, SLM_E_ARGUMENT, index,
                     "sampler stage %d (%s): bias %d: token %d is not in the vocabulary of %d",
                     index, stage->kind->name, i, b->token, n_vocab);
        }
        if (f32_is_nan(b->bias)) {
            SLM_FAIL(err, SLM_E_ARGUMENT, index,
                     "sampler stage %d (%s): bias %d: the bias of token %d is NaN", index,
                     stage->kind->name, i, b->token);
        }
    }
    return SLM_OK;
}

static int sampler_check_breakers(const struct sampler_stage *stage, int32_t index, slm_error *err)
{
    if (stage->set.n_breakers > 0 && stage->set.breakers == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "sampler stage %d (%s): breakers is NULL", index,
                 stage->kind->name);
    }
    for (int32_t i = 0; PROFILE_STAGE(dry) && i < stage->set.n_breakers; i++) {
        const char *breaker = stage->set.breakers[i];
        size_t size = breaker != NULL ? string_length(breaker) : 0;
        if (size < 1 || size > LIMIT_BREAKER_BYTES) {
            SLM_FAIL(err, SLM_E_ARGUMENT, index,
                     "sampler stage %d (%s): breaker %d has %zu bytes, not 1 to %d", index,
                     stage->kind->name, i, size, LIMIT_BREAKER_BYTES);
        }
    }
    return SLM_OK;
}

/* ---- Making and copying ---------------------------------------------------------------------- */

/* The struct as it was first published: no caller has a shorter one. */
#define SAMPLER_STAGE_FIRST (offsetof(slm_sampler_stage, biases) + sizeof(const slm_logit_bias *))

/* One stage from the caller's array, checked. */
static int sampler_read_stage(struct sampler_stage *stage, const slm_sampler_stage *stages,
                              int32_t index, size_t stage_size, int32_t n_vocab, slm_error *err)
{
    char what[32];
    format_text(what, sizeof what, "sampler stage %d", index);
    memset(stage, 0, sizeof *stage);
    int status =
        struct_read(&stage->set, sizeof stage->set,
                    (const uint8_t *)stages + (size_t)index * stage_size, stage_size, what, err);
    if (status != SLM_OK) {
        if (err != NULL) {
            err->position = index;
        }
        return status;
    }
    for (int32_t i = 0; i < SLM_COUNT(sampler_kinds); i++) {
        if (sampler_kinds[i].kind == stage->set.kind) {
            stage->kind = &sampler_kinds[i];
        }
    }
    if (stage->kind == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "sampler stage %d: there is no kind %d", index,
                 stage->set.kind);
    }
    if ((stage->kind->needs & SAMPLER_LEFT_OUT) != 0) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, index,
                 "sampler stage %d: %s was left out of this build (SLM_ONLY_STAGES)", index,
                 stage->kind->name);
    }
    SLM_TRY(sampler_check_fields(stage, index, err));
    SLM_TRY(sampler_check_biases(stage, index, n_vocab, err));
    return sampler_check_breakers(stage, index, err);
}

/* Lays the sampler's parts out; see struct arena. The counts of *s say how large they are. */
static void sampler_place(struct slm_sampler *s, struct arena *a)
{
    arena_take(a, 1, sizeof *s);
    s->stages = (struct sampler_stage *)arena_take(a, (uint64_t)s->n_stages, sizeof *s->stages);
    s->biases = (slm_logit_bias *)arena_take(a, s->n_biases, sizeof *s->biases);
    s->texts = (uint8_t *)arena_take(a, s->n_texts, sizeof *s->texts);
    s->states = (struct sampler_state *)arena_take(a, SLM_REWIND_MAX, sizeof *s->states);
    s->tokens = (int32_t *)arena_take(a, (uint64_t)s->n_ring, sizeof *s->tokens);
    s->counts =
        (int32_t *)arena_take(a, s->has_counts ? (uint64_t)s->n_vocab : 0, sizeof *s->counts);
    s->repeats = (int32_t *)arena_take(a, (uint64_t)s->n_repeats, sizeof *s->repeats);
    s->state_bytes = a->used;
    s->candidates = (slm_candidate *)arena_take(a, s->n_stages > 0 ? (uint64_t)s->n_vocab : 0,
                                                sizeof *s->candidates);
    s->bytes = a->used;
}

/* Copies a stage's biases, those of one token added up. */
static void sampler_merge_biases(struct slm_sampler *s, struct sampler_stage *stage)
{
    slm_logit_bias *merged = s->biases + stage->first_bias;
    int32_t n = 0;
    for (int32_t i = 0; PROFILE_STAGE(logit_bias) && i < stage->set.n_biases; i++) {
        slm_logit_bias b = stage->set.biases[i];
        int32_t which = s->counts[b.token];
        if (which > 0) {
            merged[which - 1].bias += b.bias;
        } else {
            merged[n++] = b;
            s->counts[b.token] = n;
        }
    }
    for (int32_t i = 0; i < n; i++) {
        s->counts[merged[i].token] = 0;
    }
    stage->set.biases = NULL;
    stage->set.n_biases = n;
}

/* Takes the block that *plan describes and moves *plan into it. */
static int sampler_allocate(struct slm_sampler **out, struct slm_sampler *plan, slm_error *err)
{
    struct arena measure = {NULL, 0, 0};
    sampler_place(plan, &measure);
    if (measure.overflow) {
        SLM_FAIL(err, SLM_E_MEMORY, -1, "the sampler is larger than any memory");
    }
    uint8_t *block = (uint8_t *)memory_take(&plan->mem, measure.used);
    if (block == NULL) {
        return memory_error(&plan->mem, measure.used, "the sampler", err);
    }
    struct slm_sampler *s = (struct slm_sampler *)(void *)block;
    struct arena real = {block, 0, 0};
    memcpy(s, plan, sizeof *s);
    sampler_place(s, &real);
    *out = s;
    return SLM_OK;
}

/* Copies a stage's breakers to *at, which moves behind them. */
static void sampler_copy_breakers(struct slm_sampler *s, struct sampler_stage *stage, uint64_t *at)
{
    stage->first_text = *at;
    for (int32_t i = 0; PROFILE_STAGE(dry) && i < stage->set.n_breakers; i++) {
        size_t size = string_length(stage->set.breakers[i]);
        s->texts[*at] = (uint8_t)size;
        memcpy(s->texts + *at + 1, stage->set.breakers[i], size);
        *at += 1 + size;
    }
    stage->set.breakers = NULL;
}

static uint64_t sampler_breaker_bytes(const slm_sampler_stage *set)
{
    uint64_t bytes = 0;
    for (int32_t i = 0; PROFILE_STAGE(dry) && i < set->n_breakers; i++) {
        bytes += 1 + string_length(set->breakers[i]);
    }
    return bytes;
}

/* Checks all stages; *plan: how much memory they need, and the state they begin with. */
static int sampler_plan(struct slm_sampler *plan, const slm_sampler_stage *stages,
                        size_t stage_size, slm_error *err)
{
    struct sampler_stage stage;
    int32_t window = 0;
    for (int32_t i = 0; i < plan->n_stages; i++) {
        SLM_TRY(sampler_read_stage(&stage, stages, i, stage_size, plan->n_vocab, err));
        uint32_t needs = stage.kind->needs;
        if (stage.kind->learner != NULL && i != plan->n_stages - 1) {
            SLM_FAIL(err, SLM_E_ARGUMENT, i, "sampler stage %d (%s): it must be the last", i,
                     stage.kind->name);
        }
        if (stage.kind->learner != NULL) {
            stage.kind->learner->begin(&stage, plan->start.memory);
        }
        plan->n_biases += (uint64_t)stage.set.n_biases;
        plan->n_texts += sampler_breaker_bytes(&stage.set);
        plan->has_counts |= (needs & SAMPLER_NEEDS_COUNTS) != 0;
        window = needs & SAMPLER_NEEDS_HISTORY ? max_i32(window, stage.set.n) : window;
        plan->n_repeats =
            needs & SAMPLER_NEEDS_REPEATS ? max_i32(plan->n_repeats, stage.set.n) : plan->n_repeats;
    }
    plan->n_ring = window > 0 ? window + SLM_REWIND_MAX : 0;
    return SLM_OK;
}

/* Copies the stages into a sampler that was planned for them. */
static void sampler_fill(struct slm_sampler *s, const slm_sampler_stage *stages, size_t stage_size)
{
    uint64_t n_biases = 0;
    uint64_t n_texts = 0;
    memset(s->counts, 0, s->has_counts ? (size_t)s->n_vocab * sizeof *s->counts : 0);
    memset(s->repeats, 0, (size_t)s->n_repeats * sizeof *s->repeats);
    for (int32_t i = 0; i < s->n_stages; i++) {
        struct sampler_stage *stage = &s->stages[i];
        int status = sampler_read_stage(stage, stages, i, stage_size, s->n_vocab, NULL);
        SLM_ASSERT(status == SLM_OK);
        (void)status;
        stage->first_bias = n_biases;
        n_biases += (uint64_t)stage->set.n_biases;
        sampler_merge_biases(s, stage);
        sampler_copy_breakers(s, stage, &n_texts);
    }
}

static int sampler_create(struct slm_sampler **out, int32_t n_vocab,
                          const slm_sampler_stage *stages, int32_t n_stages, size_t stage_size,
                          const slm_sampler_options *options, slm_error *err)
{
    struct slm_sampler plan;
    *out = NULL;
    if (n_vocab < 1 || n_vocab > LIMIT_VOCABULARY) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "a vocabulary of %d tokens: 1 to %d are expected",
                 n_vocab, LIMIT_VOCABULARY);
    }
    if (n_stages < 0 || n_stages > LIMIT_STAGES) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "n_stages is %d, not 0 to %d", n_stages, LIMIT_STAGES);
    }
    if (n_stages > 0 && stages == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "stages is NULL");
    }
    if (n_stages > 0 && stage_size < SAMPLER_STAGE_FIRST) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "stage_size is %zu, and no slm_sampler_stage below %zu",
                 stage_size, SAMPLER_STAGE_FIRST);
    }
    memset(&plan, 0, sizeof plan);
    plan.mem = memory_make(options->alloc, options->alloc_user, UINT64_MAX);
    plan.references = 1;
    plan.n_vocab = n_vocab;
    plan.n_stages = n_stages;
    plan.start.random = sampler_mix(options->seed);
    plan.start.drawn = -1;
    SLM_TRY(sampler_plan(&plan, stages, stage_size, err));
    plan.now = plan.start;
    SLM_TRY(sampler_allocate(out, &plan, err));
    sampler_fill(*out, stages, stage_size);
    return SLM_OK;
}

static void sampler_destroy(struct slm_sampler *s)
{
    if (s != NULL) {
        struct memory mem = s->mem; /* the block contains its own account */
        memory_give(&mem, s, s->bytes);
    }
}

static int sampler_clone(struct slm_sampler **out, const struct slm_sampler *s, slm_error *err)
{
    /* Not *s: other threads may count references and try busy meanwhile, which stand before model.
     */
    struct slm_sampler plan;
    const size_t at = offsetof(struct slm_sampler, model);
    *out = NULL;
    memset(&plan, 0, sizeof plan);
    memcpy((uint8_t *)&plan + at, (const uint8_t *)s + at, sizeof plan - at);
    plan.mem = memory_make(s->mem.alloc, s->mem.user, s->mem.cap);
    plan.references = 1;
    SLM_TRY(sampler_allocate(out, &plan, err));
    /* The parts lie at the same offsets, the struct itself first. */
    memcpy((uint8_t *)*out + sizeof *s, (const uint8_t *)s + sizeof *s,
           (size_t)s->state_bytes - sizeof *s);
    return SLM_OK;
}

/* ---- Choosing -------------------------------------------------------------------------------- */

/* Whether the file says that this token is never sampled: tokenizer.ggml.suppress_tokens. */
static int sampler_suppresses(const struct slm_sampler *s, int32_t token)
{
    return (vocab_attributes(&s->model->vocab, token) & TOKEN_SUPPRESSED) != 0;
}

static int sampler_has_suppressed(const struct slm_sampler *s)
{
    return s->model != NULL && s->model->vocab.suppresses;
}

static void sampler_run(struct slm_sampler *s, slm_candidate *c, int32_t *n)
{
    for (int32_t i = 0; i < *n && sampler_has_suppressed(s); i++) {
        c[i].logit =
            sampler_suppresses(s, c[i].token) ? bits_to_f32(SAMPLER_MINUS_INFINITY) : c[i].logit;
    }
    for (int32_t i = 0; i < s->n_stages; i++) {
        if (s->stages[i].kind->apply != NULL) {
            s->stages[i].kind->apply(s, &s->stages[i], c, n);
        }
    }
}

/* Draws from c[0..n-1] and leaves in each probability its weight, in *sum their sum. */
static int sampler_draw(struct slm_sampler *s, slm_candidate *c, int32_t n, int32_t *token,
                        wide_float *sum, slm_error *err)
{
    const struct sampler_stage *last = s->n_stages > 0 ? &s->stages[s->n_stages - 1] : NULL;
    int32_t chosen = sampler_best(c, n);
    float max = c[chosen].logit;
    if (sampler_key(max) <= SAMPLER_KEY_NEVER) {
        SLM_FAIL(err, SLM_E_NUMERIC, -1, "none of the %d candidates has a logit above -infinity",
                 n);
    }
    wide_float plain = sampler_weigh(c, n, max);
    *sum = plain;
    if (last != NULL && last->kind->learner != NULL && last->kind->learner->reweigh != NULL) {
        *sum = last->kind->learner->reweigh(s, last, c, n, plain);
    }
    if (last != NULL) {
        struct math_total running;
        memset(&running, 0, sizeof running);
        wide_float wanted = sampler_uniform(&s->now.random) * *sum;
        for (int32_t i = 0; i < n; i++) {
            math_add(&running, (wide_float)c[i].probability);
            if (running.value >= wanted && c[i].probability > 0) {
                chosen = i;
                break;
            }
        }
        s->now.drawn = c[chosen].token;
        s->now.observed = (float)((wide_float)sampler_weight(c[chosen].logit, max) / plain);
    }
    *token = c[chosen].token;
    return SLM_OK;
}

/* The first token from `from` on that is never sampled, or n. */
static int32_t sampler_next_suppressed(const struct slm_sampler *s, int32_t from, int32_t n)
{
    if (!sampler_has_suppressed(s)) {
        return n;
    }
    while (from < n && !sampler_suppresses(s, from)) {
        from++;
    }
    return from;
}

/* The best of the tokens that may be sampled; *token -1 if none of them is above -infinity. Returns
 * whether any of them is finite. */
static int sampler_greedy(const struct slm_sampler *s, const float *logits, int32_t n,
                          int32_t *token)
{
    int32_t best = SAMPLER_KEY_NEVER;
    uint32_t finite = 0;
    *token = -1;
    for (int32_t i = 0, end; i < n; i = end + 1) {
        end = sampler_next_suppressed(s, i, n);
        for (; i < end; i++) {
            int32_t key = sampler_key(logits[i]);
            finite |= (uint32_t)(key > SAMPLER_KEY_NEVER && key < SAMPLER_KEY_ALWAYS);
            if (key > best) {
                best = key;
                *token = i;
            }
        }
    }
    return finite != 0;
}

static int sampler_sample(struct slm_sampler *s, const float *logits, int32_t n_vocab,
                          int32_t *token, slm_error *err)
{
    if (logits == NULL || token == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%s is NULL", logits == NULL ? "logits" : "token");
    }
    if (n_vocab != s->n_vocab) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%d logits for a sampler made for a vocabulary of %d",
                 n_vocab, s->n_vocab);
    }
    int32_t best = -1;
    if (!sampler_greedy(s, logits, n_vocab, &best)) {
        SLM_FAIL(err, SLM_E_NUMERIC, -1, "none of the %d logits is finite", n_vocab);
    }
    if (s->n_stages == 0) {
        *token = best;
        return SLM_OK;
    }
    int32_t n = n_vocab;
    wide_float sum = 0;
    for (int32_t i = 0; i < n; i++) {
        s->candidates[i].token = i;
        s->candidates[i].logit = logits[i];
    }
    const struct sampler_state before = s->now;
    sampler_run(s, s->candidates, &n);
    int status = sampler_draw(s, s->candidates, n, token, &sum, err);
    if (status != SLM_OK) {
        s->now = before; /* a stage may have drawn a number */
    }
    return status;
}

static int sampler_check_candidates(const struct slm_sampler *s, const slm_candidate *c, int32_t n,
                                    slm_error *err)
{
    if (c == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "candidates is NULL");
    }
    if (n < 1 || n > s->n_vocab) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%d candidates, not 1 to %d", n, s->n_vocab);
    }
    for (int32_t i = 0; i < n; i++) {
        if (c[i].token < 0 || c[i].token >= s->n_vocab) {
            SLM_FAIL(err, SLM_E_ARGUMENT, i,
                     "candidate %d: token %d is not in the vocabulary of %d", i, c[i].token,
                     s->n_vocab);
        }
    }
    return SLM_OK;
}

static int sampler_apply(struct slm_sampler *s, slm_candidate *candidates, int32_t *n,
                         slm_error *err)
{
    if (n == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "n is NULL");
    }
    SLM_TRY(sampler_check_candidates(s, candidates, *n, err));
    sampler_run(s, candidates, n);
    return SLM_OK;
}

static int sampler_choose(struct slm_sampler *s, slm_candidate *candidates, int32_t n,
                          int32_t *token, slm_error *err)
{
    wide_float sum = 0;
    if (token == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "token is NULL");
    }
    SLM_TRY(sampler_check_candidates(s, candidates, n, err));
    SLM_TRY(sampler_draw(s, candidates, n, token, &sum, err));
    for (int32_t i = 0; i < n; i++) {
        candidates[i].probability = (float)((wide_float)candidates[i].probability / sum);
    }
    return SLM_OK;
}

/* ---- History --------------------------------------------------------------------------------- */

static int sampler_accept(struct slm_sampler *s, int32_t token, slm_error *err)
{
    if (token < 0 || token >= s->n_vocab) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "token %d is not in the vocabulary of %d", token,
                 s->n_vocab);
    }
    s->states[s->n_accepted % SLM_REWIND_MAX] = s->now;
    const struct sampler_stage *last = s->n_stages > 0 ? &s->stages[s->n_stages - 1] : NULL;
    if (last != NULL && last->kind->learner != NULL && token == s->now.drawn) {
        last->kind->learner->learn(last, s->now.memory, s->now.observed);
    }
    s->now.drawn = -1;
    if (s->n_ring > 0) {
        s->tokens[s->n_accepted % s->n_ring] = token;
    }
    s->n_accepted++;
    s->n_back = min_i32(s->n_back + 1, SLM_REWIND_MAX);
    return SLM_OK;
}

static int sampler_rewind(struct slm_sampler *s, int32_t n, slm_error *err)
{
    if (n == INT32_MAX) {
        s->n_accepted = 0;
        s->n_back = 0;
        s->now = s->start;
        return SLM_OK;
    }
    if (n < 0 || n > s->n_back) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "cannot take back %d tokens: %d can be taken back", n,
                 s->n_back);
    }
    if (n > 0) {
        s->n_accepted -= n;
        s->n_back -= n;
        s->now = s->states[s->n_accepted % SLM_REWIND_MAX];
    }
    return SLM_OK;
}
