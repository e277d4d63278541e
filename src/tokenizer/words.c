/* words.c - what words became before: a text has most of its words more than once.
 *
 * Owns the slots of e->words, made for each call and as many as its text may use. A slot has the last
 * of the words whose hash leads there, by where it stands in the text and where its tokens stand
 * among those of the call: so neither is copied, and a word may have any length. What a word becomes
 * must not depend on what stands around it. SLM_SMALL goes without. */

#define WORDS_MOST 8192u /* slots: more do not fit the fast caches */
#define WORDS_BYTES 16u  /* of text for each slot */

struct word {
    uint32_t start; /* in e->base */
    uint32_t size;  /* 0: none yet */
    uint32_t first; /* token */
    uint32_t n_tokens;
};

static int words_begin(struct encoder *e, size_t text_size, slm_error *err)
{
    if (PROFILE_SMALL) {
        return SLM_OK;
    }
    e->n_words = 1;
    while (e->n_words < WORDS_MOST && e->n_words < text_size / WORDS_BYTES) {
        e->n_words *= 2;
    }
    uint64_t size = e->n_words * (uint64_t)sizeof(struct word);
    SLM_TRY(encoder_reserve(e, &e->words, size, 0, err));
    memset(e->words.data, 0, (size_t)size);
    return SLM_OK;
}

/* Where a word belongs. */
static struct word *word_slot(const struct encoder *e, struct text t)
{
    uint32_t hash = (uint32_t)hash_bytes(t.s, t.n, 0);
    return (struct word *)e->words.data + (hash & (e->n_words - 1));
}

static int word_is(const struct encoder *e, const struct word *w, struct text t)
{
    return w->size == t.n && memcmp(e->base + w->start, t.s, t.n) == 0;
}

/* Appends the tokens of a word that was there before. */
static int word_repeat(struct encoder *e, const struct word *w, slm_error *err)
{
    uint64_t used = (uint64_t)e->n_tokens * sizeof(int32_t);
    uint64_t more = (uint64_t)w->n_tokens * sizeof(int32_t);
    SLM_TRY(encoder_reserve(e, &e->tokens, used + more, used, err));
    int32_t *tokens = (int32_t *)e->tokens.data;
    for (uint32_t i = 0; i < w->n_tokens; i++) {
        tokens[e->n_tokens + i] = tokens[w->first + i];
    }
    e->n_tokens += w->n_tokens;
    return SLM_OK;
}

/* The tokens from `first` on are those of this word. */
static void word_note(const struct encoder *e, struct word *w, struct text t, size_t first)
{
    w->start = (uint32_t)(t.s - e->base);
    w->size = (uint32_t)t.n;
    w->first = (uint32_t)first;
    w->n_tokens = (uint32_t)(e->n_tokens - first);
}

typedef int (*word_encode_fn)(struct encoder *e, struct text word, slm_error *err);

static int word_encode(struct encoder *e, struct text t, word_encode_fn encode, slm_error *err)
{
    if (PROFILE_SMALL) {
        return encode(e, t, err);
    }
    struct word *w = word_slot(e, t);
    size_t first = e->n_tokens;
    if (word_is(e, w, t)) {
        return word_repeat(e, w, err);
    }
    SLM_TRY(encode(e, t, err));
    word_note(e, w, t, first);
    return SLM_OK;
}

/* Where the word of raw text that begins at `at` ends: where nothing joins two characters. */
static size_t word_end(const struct vocab *v, struct text t, size_t at)
{
    for (size_t size = 1;;) {
        unicode_decode((const uint8_t *)t.s + at, t.n - at, &size);
        at += size;
        struct text left = {t.s, at};
        struct text right = {t.s + at, t.n - at};
        if (right.n == 0 ||
            !vocab_joins(v, (unsigned)vocab_edge(v, left, 1), (unsigned)vocab_edge(v, right, 0))) {
            return at;
        }
    }
}

/* Encodes raw text word by word. */
static int words_encode(struct encoder *e, struct text t, word_encode_fn encode, slm_error *err)
{
    for (size_t at = 0; at < t.n;) {
        struct text word = {t.s + at, word_end(e->v, t, at) - at};
        SLM_TRY(word_encode(e, word, encode, err));
        at += word.n;
    }
    return SLM_OK;
}
