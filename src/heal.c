/* heal.c - token healing: a prompt that ends inside a token (Lundberg 2023, in guidance).
 *
 * A text that is cut anywhere ends with tokens the model has not seen there: behind "http" comes the
 * token "://", so what ":" is followed by is anything but "//". The last tokens of such a prompt are
 * taken back, as many as some token could begin with, and chosen anew among those that agree with
 * their bytes. A token may be shorter than what was taken back, then the next one goes on from there;
 * the first one that goes beyond it ends the healing.
 *
 * Invariant: `at` is a place from which tokens can write the rest of the text exactly, so there is
 * always one to choose. At 0 the tokens taken back do that; `steps` leads to no other place. */

#define HEAL_BYTES 62 /* taken back at most: their number and one more are bits of a step */

struct heal {
    const struct vocab *v;
    int32_t n_token;          /* ids below this may be chosen */
    int32_t n;                /* bytes taken back; 0: none */
    int32_t at;               /* of them, written again */
    uint8_t text[HEAL_BYTES]; /* [n] */
    uint64_t
        steps[HEAL_BYTES]; /* [n] bit m: a token of which heal_match says m may be chosen here */
    slm_candidate *candidates; /* [room] */
    uint64_t room;
};

/* How many bytes of the text from `at` the token writes, one more than there are if it goes beyond
 * them; 0 if it is empty or differs. */
static int32_t heal_match(const struct heal *h, struct piece token, int32_t at)
{
    int32_t rest = h->n - at;
    for (int32_t i = 0; i < rest; i++) {
        int byte = piece_next(&token);
        if (byte != h->text[at + i]) {
            return byte < 0 ? i : 0;
        }
    }
    return rest + (piece_next(&token) >= 0);
}

/* Sets the steps from the places `from` (bit i: text[i]), and *most to the tokens of the one that has
 * the most. */
static void heal_scan(struct heal *h, uint64_t from, int32_t *most)
{
    uint64_t places[256] = {0}; /* by the byte that stands there */
    int32_t counts[HEAL_BYTES] = {0};
    for (int32_t i = 0; i < h->n; i++) {
        h->steps[i] = 0;
        places[h->text[i]] |= from & (uint64_t)1 << i;
    }
    *most = 0;
    for (int32_t token = 0; token < h->n_token; token++) {
        struct piece piece = vocab_piece(h->v, token, 0);
        struct piece first = piece;
        int byte = piece_next(&first);
        uint64_t left = byte >= 0 ? places[byte] : 0;
        for (int32_t i = 0; left != 0; i++, left >>= 1) {
            int32_t m = (left & 1) != 0 ? heal_match(h, piece, i) : 0;
            if (m > 0) {
                h->steps[i] |= (uint64_t)1 << m;
                *most = max_i32(*most, ++counts[i]);
            }
        }
    }
}

/* Removes the steps to places from which the rest cannot be written. */
static void heal_prune(struct heal *h)
{
    for (int32_t i = h->n - 1; i >= 0; i--) {
        for (int32_t m = 1; m < h->n - i; m++) {
            uint64_t further = h->steps[i + m] & (((uint64_t)1 << (h->n - i - m + 1)) - 1);
            h->steps[i] &= further != 0 ? ~(uint64_t)0 : ~((uint64_t)1 << m);
        }
    }
}

/* Puts the bytes of the last tokens of a prompt into the text: whole tokens, not the first of all,
 * none that is no text. Returns the places where they begin. */
static uint64_t heal_gather(struct heal *h, const int32_t *tokens, int32_t n_tokens)
{
    uint64_t begins = 0;
    for (int32_t i = n_tokens - 1; i > 0; i--) {
        struct piece piece = vocab_piece(h->v, tokens[i], 0);
        uint8_t bytes[HEAL_BYTES];
        int32_t n = 0;
        int byte = piece_next(&piece);
        for (; byte >= 0 && h->n + n < HEAL_BYTES; byte = piece_next(&piece)) {
            bytes[n++] = (uint8_t)byte;
        }
        if (n == 0 || byte >= 0) {
            break;
        }
        memmove(h->text + n, h->text, (size_t)h->n);
        memcpy(h->text, bytes, (size_t)n);
        h->n += n;
        begins = begins << n | 1;
    }
    return begins;
}

/* Decides how many of a prompt's tokens are taken back, and lowers *n_tokens by so many. The first of
 * the prompt stays: there must be something to evaluate. What it takes is freed by heal_free. */
static int heal_begin(struct heal *h, const struct vocab *v, int32_t n_vocab, const int32_t *tokens,
                      int32_t *n_tokens, struct memory *memory, slm_error *err)
{
    int32_t first = 0;
    int32_t n_back = 0;
    int32_t most = 0;
    memset(h, 0, sizeof *h);
    h->v = v;
    h->n_token = min_i32(v->n_token, n_vocab);
    uint64_t begins = heal_gather(h, tokens, *n_tokens);
    heal_scan(h, begins, &most);
    while (first < h->n && (h->steps[first] >> (h->n - first + 1) & 1) == 0) {
        first++;
    }
    h->n -= first;
    if (h->n == 0) {
        return SLM_OK;
    }
    memmove(h->text, h->text + first, (size_t)h->n);
    for (begins >>= first; begins != 0; begins &= begins - 1) {
        n_back++;
    }
    heal_scan(h, ~(uint64_t)0, &most);
    heal_prune(h);
    h->room = (uint64_t)most;
    h->candidates = (slm_candidate *)memory_take(memory, h->room * sizeof *h->candidates);
    if (h->candidates == NULL) {
        return memory_error(memory, h->room * sizeof *h->candidates, "healing", err);
    }
    *n_tokens -= n_back;
    return SLM_OK;
}

static void heal_free(struct heal *h, struct memory *memory)
{
    memory_give(memory, h->candidates, h->room * sizeof *h->candidates);
}

static int heal_is_on(const struct heal *h)
{
    return PROFILE_HEAL && h->at < h->n;
}

/* Lists the tokens that may be chosen. Returns the one that is the most of the text and goes not
 * beyond it. */
static int32_t heal_collect(struct heal *h, const float *logits, int32_t *n)
{
    int32_t inside = -1;
    int32_t longest = 0;
    *n = 0;
    for (int32_t token = 0; token < h->n_token; token++) {
        int32_t m = heal_match(h, vocab_piece(h->v, token, 0), h->at);
        if (m == 0 || (h->steps[h->at] >> m & 1) == 0) {
            continue;
        }
        slm_candidate *c = &h->candidates[(*n)++];
        c->token = token;
        c->logit = logits[token];
        c->probability = 0;
        if (m > longest && m <= h->n - h->at) {
            longest = m;
            inside = token;
        }
    }
    return inside;
}

/* Chooses as sampler_sample does. Where the sampler lets none of the tokens pass, the prompt is
 * written again as it was. */
static int heal_choose(struct heal *h, struct slm_sampler *s, const float *logits, int32_t n_logits,
                       int32_t *token, slm_error *err)
{
    int32_t n = 0;
    wide_float sum = 0;
    slm_error none;
    if (!sampler_greedy(logits, n_logits, token)) {
        SLM_FAIL(err, SLM_E_NUMERIC, -1, "none of the %d logits is finite", n_logits);
    }
    int32_t inside = heal_collect(h, logits, &n);
    sampler_run(s, h->candidates, &n);
    if (sampler_draw(s, h->candidates, n, token, &sum, &none) != SLM_OK) {
        *token = inside;
    }
    return SLM_OK;
}

/* The token was chosen. Returns how many of its bytes the prompt had; *inside: all of them. */
static int32_t heal_accept(struct heal *h, int32_t token, int *inside)
{
    int32_t rest = heal_is_on(h) ? h->n - h->at : 0;
    int32_t m = rest > 0 ? heal_match(h, vocab_piece(h->v, token, 0), h->at) : 1;
    int32_t n = min_i32(m, rest);
    h->at += n;
    *inside = m <= rest;
    return n;
}

/* What a token is without its first bytes. */
static struct piece heal_rest(struct piece piece, int32_t n)
{
    while (n-- > 0) {
        piece_next(&piece);
    }
    return piece;
}
