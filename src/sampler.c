/* sampler.c - from logits to a token: the chain of stages, the draw, history and rewind.
 *
 * Owns slm_sampler. A stage is one row of sampler_kinds: adding a sampler is adding a row. All
 * memory is taken when the chain is made; nothing afterwards allocates. Formulas are those that
 * llama.cpp's samplers of the same names compute; tests/golden/samplers holds its answers.
 *
 * Traps:
 *   Candidates are compared by sampler_key, a whole number, never by their floats: NaN then counts
 *   as -infinity, equal logits go by token id, and -ffast-math has nothing to reason about.
 *   Stages may produce infinities (a bias) and NaN (inf / inf), so no stage trusts its input.
 *   The counts scratch is all zero between calls: who marks it clears it.
 *   Whatever the stages do, at least one candidate is left. */

/* ---- The sampler ----------------------------------------------------------------------------- */

struct slm_sampler {
    struct memory mem;
    uint64_t bytes;       /* of the one block that all this lies in */
    uint64_t state_bytes; /* of these, what a clone copies: all but the candidates */
    int32_t references;
    int32_t busy;
    struct slm_model *model; /* set and counted by api.c */
    int32_t n_vocab;
    int32_t n_stages;
    uint64_t n_biases;  /* of all stages together */
    int32_t has_counts; /* a stage needs the counts scratch */
    int32_t n_ring;     /* capacity of tokens: the longest window and what may be taken back */
    int32_t n_back;     /* tokens that rewind can take back now */
    int64_t n_accepted; /* token i of the history lies at tokens[i % n_ring] */
    uint64_t start;     /* random state that the seed gave */
    uint64_t random;    /* random state now */
    struct sampler_stage *stages; /* [n_stages] */
    slm_logit_bias *biases;       /* [n_biases] */
    uint64_t *states;             /* [SLM_REWIND_MAX] random state before accepting token i */
    int32_t *tokens;              /* [n_ring] */
    int32_t *counts;              /* [n_vocab] by token */
    slm_candidate *candidates;    /* [n_vocab] for sampler_sample */
};

struct sampler_kind;

struct sampler_stage {
    const struct sampler_kind *kind;
    slm_sampler_stage set; /* as the caller gave it; biases NULL, n_biases after merging */
    uint64_t first_bias;
};

#define SAMPLER_NEEDS_COUNTS 1  /* the counts scratch */
#define SAMPLER_NEEDS_HISTORY 2 /* the last n accepted tokens */
#define SAMPLER_NEEDS_BIASES 4  /* a copy of the caller's biases */

typedef int (*sampler_check_fn)(const struct sampler_stage *stage, int32_t index, int32_t n_vocab,
                                slm_error *err);
typedef void (*sampler_apply_fn)(struct slm_sampler *s, const struct sampler_stage *stage,
                                 slm_candidate *c, int32_t *n);

struct sampler_kind {
    int32_t kind;
    uint32_t needs;
    const char *name;
    sampler_check_fn check; /* of the fields that this kind uses; NULL: left out of this build */
    /* Reorders and reweighs c[0..*n-1], lowers *n to no less than 1. */
    sampler_apply_fn apply;
};

/* ---- Random numbers: splitmix64 (Steele, Lea, Flood 2014) ------------------------------------ */

static uint64_t sampler_mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Uniform in [0, 1). The state is a counter, so that one word per token is enough to go back. */
static wide_float sampler_uniform(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    const wide_float unit = (wide_float)1 / ((uint64_t)1 << WIDE_BITS);
    return (wide_float)(sampler_mix(*state) >> (64 - WIDE_BITS)) * unit;
}

/* ---- Order ----------------------------------------------------------------------------------- */

#define SAMPLER_KEY_ALWAYS 0x7f800000           /* of +infinity */
#define SAMPLER_KEY_NEVER (-SAMPLER_KEY_ALWAYS) /* of -infinity, and of NaN */

/* Whole numbers in the order of the floats, -0 like +0. Without branches: the signs of logits are
 * nothing that a CPU could predict. */
static int32_t sampler_key(float logit)
{
    uint32_t bits = f32_to_bits(logit);
    int32_t size = (int32_t)(bits & 0x7fffffffu);
    int32_t sign = (int32_t)(bits >> 31);
    int32_t key = (size ^ -sign) + sign;
    return size > SAMPLER_KEY_ALWAYS ? SAMPLER_KEY_NEVER : key;
}

/* The better candidate has the greater rank; no two tokens have the same. */
static int64_t sampler_rank(const slm_candidate *c)
{
    return (int64_t)sampler_key(c->logit) * ((int64_t)1 << 32) - c->token;
}

static int32_t sampler_best(const slm_candidate *c, int32_t n)
{
    int32_t best = 0;
    int64_t best_rank = sampler_rank(&c[0]);
    for (int32_t i = 1; i < n; i++) {
        int64_t rank = sampler_rank(&c[i]);
        if (rank > best_rank) {
            best_rank = rank;
            best = i;
        }
    }
    return best;
}

/* Restores the heap below i: each candidate above two that are no worse. */
static void sampler_sift(slm_candidate *heap, int32_t n, int32_t i)
{
    slm_candidate moving = heap[i];
    int64_t rank = sampler_rank(&moving);
    while (i <= n / 2 - 1) {
        int32_t child = 2 * i + 1;
        int64_t child_rank = sampler_rank(&heap[child]);
        if (child + 1 < n && sampler_rank(&heap[child + 1]) < child_rank) {
            child++;
            child_rank = sampler_rank(&heap[child]);
        }
        if (child_rank >= rank) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

/* Brings the best k of n to the front, best first; the others follow in no particular order. One
 * pass with a heap of the k best so far, whose root is the one to beat. */
static void sampler_select(slm_candidate *c, int32_t n, int32_t k)
{
    for (int32_t i = k / 2 - 1; i >= 0; i--) {
        sampler_sift(c, k, i);
    }
    int64_t worst = sampler_rank(&c[0]);
    for (int32_t i = k; i < n; i++) {
        if (SLM_UNLIKELY(sampler_rank(&c[i]) > worst)) {
            slm_candidate out = c[0];
            c[0] = c[i];
            c[i] = out;
            sampler_sift(c, k, 0);
            worst = sampler_rank(&c[0]);
        }
    }
    for (int32_t i = k - 1; i > 0; i--) {
        slm_candidate out = c[0];
        c[0] = c[i];
        c[i] = out;
        sampler_sift(c, i, 0);
    }
}

/* exp(logit - max): 1 for the best. When the best is +infinity, only its equals count. */
static float sampler_weight(float logit, float max)
{
    int32_t key = sampler_key(logit);
    if (key <= SAMPLER_KEY_NEVER) {
        return 0;
    }
    if (sampler_key(max) == SAMPLER_KEY_ALWAYS) {
        return key == SAMPLER_KEY_ALWAYS ? 1.0f : 0.0f;
    }
    return math_expf(logit - max);
}

/* ---- Stages ---------------------------------------------------------------------------------- */

static int sampler_check_nothing(const struct sampler_stage *stage, int32_t index, int32_t n_vocab,
                                 slm_error *err)
{
    (void)stage;
    (void)index;
    (void)n_vocab;
    (void)err;
    return SLM_OK;
}

static int sampler_check_value(const struct sampler_stage *stage, int32_t index, int32_t n_vocab,
                               slm_error *err)
{
    (void)n_vocab;
    if (!f32_is_finite(stage->set.value)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "sampler stage %d (%s): value is NaN or infinite",
                 index, stage->kind->name);
    }
    return SLM_OK;
}

/* Below this, dividing could overflow two different logits to the same infinity. */
#define SAMPLER_COLDEST 1e-30f

static void sampler_temperature(struct slm_sampler *s, const struct sampler_stage *stage,
                                slm_candidate *c, int32_t *n)
{
    (void)s;
    float t = stage->set.value;
    if (t < SAMPLER_COLDEST) {
        c[0] = c[sampler_best(c, *n)];
        *n = 1;
        return;
    }
    for (int32_t i = 0; i < *n; i++) {
        c[i].logit /= t;
    }
}

static void sampler_top_k(struct slm_sampler *s, const struct sampler_stage *stage,
                          slm_candidate *c, int32_t *n)
{
    (void)s;
    if (stage->set.n > 0) {
        int32_t k = min_i32(stage->set.n, *n);
        sampler_select(c, *n, k);
        *n = k;
    }
}

/* Candidates are told apart by how far they lie below the best: buckets of a quarter, e to the
 * power of which is 0.78. The last one is for all that is farther away. */
#define SAMPLER_BUCKETS 256

static int32_t sampler_bucket(float logit, float max)
{
    if (sampler_key(logit) >= sampler_key(max)) {
        return 0;
    }
    float distance = (max - logit) * 4;
    return distance < SAMPLER_BUCKETS - 1 ? (int32_t)distance : SAMPLER_BUCKETS - 1;
}

/* Moves what lies in buckets up to `last` to the front; returns how many that is. */
static int32_t sampler_gather(slm_candidate *c, int32_t n, float max, int32_t last)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        if (sampler_bucket(c[i].logit, max) <= last) {
            slm_candidate out = c[count];
            c[count++] = c[i];
            c[i] = out;
        }
    }
    return count;
}

/* The shortest row of best candidates with a probability of at least `value` together. How many
 * that takes nobody knows before, so the buckets that hold so much are found first, and only what
 * is in them is sorted. */
static void sampler_top_p(struct slm_sampler *s, const struct sampler_stage *stage,
                          slm_candidate *c, int32_t *n)
{
    (void)s;
    if (stage->set.value >= 1) {
        return;
    }
    float max = c[sampler_best(c, *n)].logit;
    wide_float bucket[SAMPLER_BUCKETS] = {0};
    struct math_total sum;
    memset(&sum, 0, sizeof sum);
    for (int32_t i = 0; i < *n; i++) {
        wide_float weight = (wide_float)sampler_weight(c[i].logit, max);
        math_add(&sum, weight);
        bucket[sampler_bucket(c[i].logit, max)] += weight;
    }
    wide_float wanted = (wide_float)stage->set.value * sum.value;
    wide_float running = 0, so_far = 0;
    int32_t done = 0;
    for (int32_t b = 0; done < *n && b < SAMPLER_BUCKETS; b++) {
        so_far += bucket[b];
        if (so_far < wanted && b < SAMPLER_BUCKETS - 1) {
            continue;
        }
        int32_t end = done + sampler_gather(c + done, *n - done, max, b);
        sampler_select(c + done, end - done, end - done);
        for (; done < end; done++) {
            running += (wide_float)sampler_weight(c[done].logit, max);
            if (running >= wanted && done + 1 >= stage->set.n) {
                *n = done + 1;
                return;
            }
        }
    }
}

/* Those at least `value` times as probable as the best. */
static void sampler_min_p(struct slm_sampler *s, const struct sampler_stage *stage,
                          slm_candidate *c, int32_t *n)
{
    (void)s;
    if (stage->set.value <= 0) {
        return;
    }
    float max = c[sampler_best(c, *n)].logit;
    int32_t least = sampler_key(max + math_logf(stage->set.value));
    int32_t min_keep = min_i32(max_i32(stage->set.n, 1), *n);
    int32_t kept = 0;
    for (int32_t i = 0; i < *n; i++) {
        kept += sampler_key(c[i].logit) >= least;
    }
    if (kept < min_keep) {
        sampler_select(c, *n, min_keep);
        *n = min_keep;
        return;
    }
    kept = 0;
    for (int32_t i = 0; i < *n; i++) {
        if (sampler_key(c[i].logit) >= least) {
            c[kept++] = c[i];
        }
    }
    *n = kept;
}

static int sampler_check_penalties(const struct sampler_stage *stage, int32_t index,
                                   int32_t n_vocab, slm_error *err)
{
    (void)n_vocab;
    if (stage->set.n > LIMIT_WINDOW) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index,
                 "sampler stage %d (%s): a window of %d tokens is over %d", index,
                 stage->kind->name, stage->set.n, LIMIT_WINDOW);
    }
    if (!f32_is_finite(stage->set.repeat) || stage->set.repeat <= 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index,
                 "sampler stage %d (%s): repeat must be above 0 (1 is off)", index,
                 stage->kind->name);
    }
    if (!f32_is_finite(stage->set.frequency) || !f32_is_finite(stage->set.presence)) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index,
                 "sampler stage %d (%s): frequency or presence is NaN or infinite", index,
                 stage->kind->name);
    }
    return SLM_OK;
}

static void sampler_penalties(struct slm_sampler *s, const struct sampler_stage *stage,
                              slm_candidate *c, int32_t *n)
{
    int64_t window = min_i64(stage->set.n, s->n_accepted);
    for (int64_t i = s->n_accepted - window; i < s->n_accepted; i++) {
        s->counts[s->tokens[i % s->n_ring]]++;
    }
    for (int32_t i = 0; i < *n && window > 0; i++) {
        int32_t count = s->counts[c[i].token];
        if (count > 0) {
            float logit = c[i].logit;
            logit = logit <= 0 ? logit * stage->set.repeat : logit / stage->set.repeat;
            c[i].logit = logit - ((float)count * stage->set.frequency + stage->set.presence);
        }
    }
    for (int64_t i = s->n_accepted - window; i < s->n_accepted; i++) {
        s->counts[s->tokens[i % s->n_ring]] = 0;
    }
}

static int sampler_check_biases(const struct sampler_stage *stage, int32_t index, int32_t n_vocab,
                                slm_error *err)
{
    if (stage->set.n_biases < 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "sampler stage %d (%s): n_biases is %d", index,
                 stage->kind->name, stage->set.n_biases);
    }
    if (stage->set.n_biases > 0 && stage->set.biases == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, index, "sampler stage %d (%s): biases is NULL", index,
                 stage->kind->name);
    }
    for (int32_t i = 0; i < stage->set.n_biases; i++) {
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

static void sampler_logit_bias(struct slm_sampler *s, const struct sampler_stage *stage,
                               slm_candidate *c, int32_t *n)
{
    const slm_logit_bias *biases = s->biases + stage->first_bias; /* [n_biases], tokens differ */
    for (int32_t i = 0; i < stage->set.n_biases; i++) {
        s->counts[biases[i].token] = i + 1;
    }
    for (int32_t i = 0; i < *n; i++) {
        int32_t which = s->counts[c[i].token];
        if (which > 0) {
            c[i].logit += biases[which - 1].bias;
        }
    }
    for (int32_t i = 0; i < stage->set.n_biases; i++) {
        s->counts[biases[i].token] = 0;
    }
}

#define SAMPLER_ROW(kind, needs, name, check)                                                      \
    {                                                                                              \
        kind, needs, #name, PROFILE_STAGE(name) ? check : (sampler_check_fn)NULL,                  \
            PROFILE_STAGE(name) ? sampler_##name : (sampler_apply_fn)NULL                          \
    }

static const struct sampler_kind sampler_kinds[] = {
    SAMPLER_ROW(SLM_STAGE_TEMPERATURE, 0, temperature, sampler_check_value),
    SAMPLER_ROW(SLM_STAGE_TOP_K, 0, top_k, sampler_check_nothing),
    SAMPLER_ROW(SLM_STAGE_TOP_P, 0, top_p, sampler_check_value),
    SAMPLER_ROW(SLM_STAGE_MIN_P, 0, min_p, sampler_check_value),
    SAMPLER_ROW(SLM_STAGE_PENALTIES, SAMPLER_NEEDS_COUNTS | SAMPLER_NEEDS_HISTORY, penalties,
                sampler_check_penalties),
    SAMPLER_ROW(SLM_STAGE_LOGIT_BIAS, SAMPLER_NEEDS_COUNTS | SAMPLER_NEEDS_BIASES, logit_bias,
                sampler_check_biases),
};

#undef SAMPLER_ROW

/* A constant where the one stage that has biases is left out. */
static int sampler_has_biases(const struct sampler_stage *stage)
{
    return PROFILE_STAGE(logit_bias) && (stage->kind->needs & SAMPLER_NEEDS_BIASES) != 0;
}

/* ---- Making and copying ---------------------------------------------------------------------- */

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
    if (stage->kind->check == NULL) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, index,
                 "sampler stage %d: %s was left out of this build (SLM_ONLY_STAGES)", index,
                 stage->kind->name);
    }
    return stage->kind->check(stage, index, n_vocab, err);
}

/* Lays the sampler's parts out; see struct arena. The counts of *s say how large they are. */
static void sampler_place(struct slm_sampler *s, struct arena *a)
{
    arena_take(a, 1, sizeof *s);
    s->stages = (struct sampler_stage *)arena_take(a, (uint64_t)s->n_stages, sizeof *s->stages);
    s->biases = (slm_logit_bias *)arena_take(a, s->n_biases, sizeof *s->biases);
    s->states = (uint64_t *)arena_take(a, SLM_REWIND_MAX, sizeof *s->states);
    s->tokens = (int32_t *)arena_take(a, (uint64_t)s->n_ring, sizeof *s->tokens);
    s->counts =
        (int32_t *)arena_take(a, s->has_counts ? (uint64_t)s->n_vocab : 0, sizeof *s->counts);
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
    for (int32_t i = 0; i < stage->set.n_biases; i++) {
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

static int sampler_create(struct slm_sampler **out, int32_t n_vocab,
                          const slm_sampler_stage *stages, int32_t n_stages, size_t stage_size,
                          const slm_sampler_options *options, slm_error *err)
{
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
    struct slm_sampler plan;
    struct sampler_stage stage;
    int32_t window = 0;
    memset(&plan, 0, sizeof plan);
    for (int32_t i = 0; i < n_stages; i++) {
        SLM_TRY(sampler_read_stage(&stage, stages, i, stage_size, n_vocab, err));
        plan.n_biases += sampler_has_biases(&stage) ? (uint64_t)stage.set.n_biases : 0;
        plan.has_counts |= (stage.kind->needs & SAMPLER_NEEDS_COUNTS) != 0;
        if (PROFILE_STAGE(penalties) && (stage.kind->needs & SAMPLER_NEEDS_HISTORY) != 0) {
            window = max_i32(window, stage.set.n);
        }
    }
    plan.mem = memory_make(options->alloc, options->alloc_user, UINT64_MAX);
    plan.references = 1;
    plan.n_vocab = n_vocab;
    plan.n_stages = n_stages;
    plan.n_ring = window > 0 ? window + SLM_REWIND_MAX : 0;
    plan.start = sampler_mix(options->seed);
    plan.random = plan.start;
    SLM_TRY(sampler_allocate(out, &plan, err));

    struct slm_sampler *s = *out;
    uint64_t n_biases = 0;
    memset(s->counts, 0, s->has_counts ? (size_t)n_vocab * sizeof *s->counts : 0);
    for (int32_t i = 0; i < n_stages; i++) {
        int status = sampler_read_stage(&s->stages[i], stages, i, stage_size, n_vocab, err);
        SLM_ASSERT(status == SLM_OK);
        (void)status;
        if (sampler_has_biases(&s->stages[i])) {
            s->stages[i].first_bias = n_biases;
            n_biases += (uint64_t)s->stages[i].set.n_biases;
            sampler_merge_biases(s, &s->stages[i]);
        }
    }
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
        c[i].logit = sampler_suppresses(s, c[i].token) ? bits_to_f32(0xff800000u) : c[i].logit;
    }
    for (int32_t i = 0; i < s->n_stages; i++) {
        s->stages[i].kind->apply(s, &s->stages[i], c, n);
    }
}

/* Draws from c[0..n-1] and leaves in each probability its weight, in *sum their sum. */
static int sampler_draw(struct slm_sampler *s, slm_candidate *c, int32_t n, int32_t *token,
                        wide_float *sum, slm_error *err)
{
    int32_t chosen = sampler_best(c, n);
    float max = c[chosen].logit;
    if (sampler_key(max) <= SAMPLER_KEY_NEVER) {
        SLM_FAIL(err, SLM_E_NUMERIC, -1, "none of the %d candidates has a logit above -infinity",
                 n);
    }
    struct math_total total, running;
    memset(&total, 0, sizeof total);
    memset(&running, 0, sizeof running);
    for (int32_t i = 0; i < n; i++) {
        c[i].probability = sampler_weight(c[i].logit, max);
        math_add(&total, (wide_float)c[i].probability);
    }
    *sum = total.value;
    if (s->n_stages > 0) {
        wide_float wanted = sampler_uniform(&s->random) * *sum;
        for (int32_t i = 0; i < n; i++) {
            math_add(&running, (wide_float)c[i].probability);
            if (running.value >= wanted && c[i].probability > 0) {
                chosen = i;
                break;
            }
        }
    }
    *token = c[chosen].token;
    return SLM_OK;
}

/* The best of a row of logits; *token -1 if none is above -infinity. Returns whether any is
 * finite. */
static int sampler_greedy(const float *logits, int32_t n, int32_t *token)
{
    int32_t best = SAMPLER_KEY_NEVER;
    uint32_t finite = 0;
    *token = -1;
    for (int32_t i = 0; i < n; i++) {
        int32_t key = sampler_key(logits[i]);
        finite |= (uint32_t)(key > SAMPLER_KEY_NEVER && key < SAMPLER_KEY_ALWAYS);
        if (key > best) {
            best = key;
            *token = i;
        }
    }
    return finite != 0;
}

/* The same among the tokens that may be sampled. */
static int sampler_greedy_of(const struct slm_sampler *s, const float *logits, int32_t n,
                             int32_t *token)
{
    int32_t best = SAMPLER_KEY_NEVER;
    int finite = sampler_greedy(logits, n, token);
    if (!sampler_has_suppressed(s) || *token < 0 || !sampler_suppresses(s, *token)) {
        return finite;
    }
    *token = -1;
    for (int32_t i = 0; i < n; i++) {
        if (!sampler_suppresses(s, i) && sampler_key(logits[i]) > best) {
            best = sampler_key(logits[i]);
            *token = i;
        }
    }
    return *token >= 0;
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
    if (!sampler_greedy_of(s, logits, n_vocab, &best)) {
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
    sampler_run(s, s->candidates, &n);
    return sampler_draw(s, s->candidates, n, token, &sum, err);
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
    s->states[s->n_accepted % SLM_REWIND_MAX] = s->random;
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
        s->random = s->start;
        return SLM_OK;
    }
    if (n < 0 || n > s->n_back) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "cannot take back %d tokens: %d can be taken back", n,
                 s->n_back);
    }
    if (n > 0) {
        s->n_accepted -= n;
        s->n_back -= n;
        s->random = s->states[s->n_accepted % SLM_REWIND_MAX];
    }
    return SLM_OK;
}
