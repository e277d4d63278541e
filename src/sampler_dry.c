/* sampler_dry.c - the DRY stage: tokens that would go on with what was said before lose by the
 * length of the repeat.
 *
 * After p-e-w's sampler in text-generation-webui and the one in llama.cpp, whose penalties these
 * are. A breaker ends where its text ends, however the tokens cut it; llama.cpp finds one of several
 * tokens only where the tokenizer cuts it so. */

/* The accepted token i before the last one. */
static int32_t dry_recent(const struct slm_sampler *s, int32_t i)
{
    return s->tokens[(s->n_accepted - 1 - i) % s->n_ring];
}

/* ---- Breakers -------------------------------------------------------------------------------- */

/* The end of a text, as long as the longest breaker. */
struct dry_text {
    uint8_t bytes[LIMIT_BREAKER_BYTES]; /* byte i of the text lies at bytes[i % sizeof bytes] */
    uint32_t n;
};

/* Whether the text ends with one of the breakers. */
static int dry_ends_broken(const struct dry_text *t, const uint8_t *breakers, int32_t n_breakers)
{
    for (int32_t i = 0; i < n_breakers; i++) {
        uint32_t length = breakers[0];
        uint32_t same = 0;
        while (same < length && same < t->n &&
               breakers[length - same] == t->bytes[(t->n - 1 - same) % sizeof t->bytes]) {
            same++;
        }
        if (same == length) {
            return 1;
        }
        breakers += 1 + length;
    }
    return 0;
}

/* Adds a token; returns whether a breaker ends inside. */
static int dry_add(const struct slm_sampler *s, const struct sampler_stage *stage,
                   struct dry_text *t, int32_t token)
{
    int is_broken = 0;
    struct piece piece = vocab_piece(&s->model->vocab, token, 1);
    for (int byte = piece_next(&piece); byte >= 0; byte = piece_next(&piece)) {
        t->bytes[t->n++ % sizeof t->bytes] = (uint8_t)byte;
        is_broken |= dry_ends_broken(t, s->texts + stage->first_text, stage->set.n_breakers);
    }
    return is_broken;
}

static int dry_has_breakers(const struct slm_sampler *s, const struct sampler_stage *stage)
{
    return stage->set.n_breakers > 0 && s->model != NULL;
}

/* How many of the last tokens stand behind the last breaker. */
static int32_t dry_unbroken(const struct slm_sampler *s, const struct sampler_stage *stage,
                            int32_t window)
{
    struct dry_text text;
    int32_t unbroken = window;
    memset(&text, 0, sizeof text);
    for (int32_t i = window - 1; i >= 0 && dry_has_breakers(s, stage); i--) {
        unbroken = dry_add(s, stage, &text, dry_recent(s, i)) ? i : unbroken;
    }
    return unbroken;
}

/* Whether the token has a breaker inside. */
static int dry_is_breaker(const struct slm_sampler *s, const struct sampler_stage *stage,
                          int32_t token)
{
    struct dry_text text;
    memset(&text, 0, sizeof text);
    return dry_has_breakers(s, stage) && dry_add(s, stage, &text, token);
}

/* ---- Repeats --------------------------------------------------------------------------------- */

/* repeats[k]: how many tokens before the last k agree with the last ones. The Z algorithm,
 * backwards: [from, to) is the match that reaches farthest back. */
static void dry_find_repeats(struct slm_sampler *s, int32_t window)
{
    int32_t from = 0;
    int32_t to = 0;
    for (int32_t k = 1; k < window; k++) {
        int32_t n = k < to ? min_i32(to - k, s->repeats[k - from]) : 0;
        while (k + n < window && dry_recent(s, n) == dry_recent(s, k + n)) {
            n++;
        }
        if (k + n > to) {
            from = k;
            to = k + n;
        }
        s->repeats[k] = n;
    }
}

/* multiplier * base^(n - allowed), the power below FLT_MAX. */
static float dry_penalty(const struct sampler_stage *stage, int32_t n)
{
    wide_float power = 1;
    wide_float square = (wide_float)stage->set.base;
    int32_t exponent = n - stage->set.allowed;
    if (stage->set.base > 1.000001f) {
        exponent = min_i32(exponent, (int32_t)(88.7228391f / math_logf(stage->set.base)));
    }
    for (; exponent > 0; exponent >>= 1) {
        power = exponent & 1 ? power * square : power;
        square *= square;
    }
    return (float)((wide_float)stage->set.value * power);
}

static void sampler_dry(struct slm_sampler *s, const struct sampler_stage *stage, slm_candidate *c,
                        int32_t *n)
{
    int32_t allowed = stage->set.allowed;
    int32_t window = (int32_t)min_i64(stage->set.n, s->n_accepted);
    if (stage->set.value == 0 || window <= allowed) {
        return;
    }
    int32_t longest = dry_unbroken(s, stage, window);
    if (longest < allowed) {
        return;
    }
    dry_find_repeats(s, window);
    for (int32_t k = 1; k < window; k++) { /* the token after such a repeat would make it longer */
        int32_t repeat = min_i32(s->repeats[k], longest);
        int32_t *count = &s->counts[dry_recent(s, k - 1)];
        if (repeat >= allowed && repeat >= *count) {
            *count = repeat + 1;
        }
    }
    for (int32_t k = 1; k < window; k++) {
        int32_t token = dry_recent(s, k - 1);
        if (s->counts[token] > 0 && dry_is_breaker(s, stage, token)) {
            s->counts[token] = 0;
        }
    }
    for (int32_t i = 0; i < *n; i++) {
        int32_t count = s->counts[c[i].token];
        if (SLM_UNLIKELY(count > 0)) {
            c[i].logit -= dry_penalty(stage, count - 1);
        }
    }
    for (int32_t k = 1; k < window; k++) {
        s->counts[dry_recent(s, k - 1)] = 0;
    }
}
