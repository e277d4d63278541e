/* wpm.c - WordPiece, as BERT has it: text is normalised and cut into words, and each word into the
 * longest tokens from left to right. A word of which some part is no token is the unknown token.
 *
 * From the method: Devlin et al. 2018 and its code; Wu et al. 2016 for the pieces. Accents are taken
 * off by full canonical decomposition and by dropping Mn alone, as there (llama.cpp takes the first
 * character of a decomposition and drops all marks, which differs for Hangul and for the vowels of
 * India). There is no limit to the length of a word; BERT's own code has one of 100 characters. */

/* ---- Characters ------------------------------------------------------------------------------ */

static const struct pre_range wpm_ideographs[] = {
    {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},   {0x20000, 0x2a6df},
    {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};

/* Whether a character is a word by itself. */
static int wpm_stands_alone(uint32_t point, unsigned type)
{
    return (type & UNICODE_PUNCT) != 0 || ((type & UNICODE_SYMBOL) != 0 && point < 0x7f) ||
           (point >= 0x3400 && pre_in_ranges(wpm_ideographs, SLM_COUNT(wpm_ideographs), point));
}

static int wpm_is_dropped(uint32_t point, unsigned type)
{
    return point == 0 || point == UNICODE_BAD || (type & UNICODE_CONTROL) != 0;
}

/* ---- Words ----------------------------------------------------------------------------------- */

/* A word as the vocabulary has it: in e->text, behind a U+2581. */
#define WPM_EMPTY 3u

/* Appends the tokens of the word, and makes it empty. */
static int wpm_end_word(struct encoder *e, size_t *n, slm_error *err)
{
    const uint8_t *s = (const uint8_t *)e->text.data;
    size_t end = *n;
    size_t before = e->n_tokens;
    *n = WPM_EMPTY;
    for (size_t at = 0; at < end && end > WPM_EMPTY;) {
        size_t size = 0;
        int32_t token = trie_longest(&e->v->trie, s, at, end, &size);
        if (token < 0) {
            e->n_tokens = before;
            return e->v->unk >= 0 ? encoder_push(e, e->v->unk, err) : SLM_OK;
        }
        SLM_TRY(encoder_push(e, token, err));
        at += size;
    }
    return SLM_OK;
}

static int wpm_add_char(struct encoder *e, uint32_t point, size_t *n, slm_error *err)
{
    unsigned type = unicode_class(point);
    int alone = wpm_stands_alone(point, type);
    if ((type & UNICODE_WHITE) != 0 || alone) {
        SLM_TRY(wpm_end_word(e, n, err));
    }
    if ((type & UNICODE_WHITE) != 0 ||
        (e->v->normalizer.strip_accents && (type & UNICODE_ACCENT) != 0)) {
        return SLM_OK;
    }
    SLM_TRY(encoder_reserve(e, &e->text, *n + 4, *n, err));
    point = e->v->normalizer.lowercase ? unicode_lower(point) : point;
    *n += unicode_encode(point, (uint8_t *)e->text.data + *n);
    return alone ? wpm_end_word(e, n, err) : SLM_OK;
}

static int wpm_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    const uint8_t *s = (const uint8_t *)fragment.s;
    size_t n = WPM_EMPTY;
    SLM_TRY(encoder_reserve(e, &e->text, 256, 0, err));
    memcpy(e->text.data, VOCAB_SPACE, 3);
    for (size_t at = 0, size = 1; at < fragment.n; at += size) {
        uint32_t parts[UNICODE_PARTS_MAX];
        int n_parts = 1;
        parts[0] = unicode_decode(s + at, fragment.n - at, &size);
        unsigned type = unicode_class(parts[0]);
        if (wpm_is_dropped(parts[0], type) && (type & UNICODE_WHITE) == 0) {
            continue;
        }
        if (e->v->normalizer.strip_accents) {
            n_parts = unicode_decompose(parts[0], parts);
        }
        for (int i = 0; i < n_parts; i++) {
            SLM_TRY(wpm_add_char(e, parts[i], &n, err));
        }
    }
    return wpm_end_word(e, &n, err);
}

/* ---- Loading --------------------------------------------------------------------------------- */

static int wpm_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    struct normalizer *z = &v->normalizer;
    z->lowercase = 1;
    SLM_TRY(vocab_load_flag(g, "tokenizer.ggml.normalizer.lowercase", &z->lowercase, err));
    z->strip_accents = z->lowercase;
    SLM_TRY(vocab_load_flag(g, "tokenizer.ggml.normalizer.strip_accents", &z->strip_accents, err));
    return vocab_load_trie(v, TOKEN_NORMAL | TOKEN_USER | TOKEN_UNUSED | TOKEN_BYTE, m, err);
}
