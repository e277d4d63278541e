/* bpe.c - BPE: pieces cut by the pre-tokenizer, and within each piece the merge of lowest rank until
 * none is left. Byte-level as GPT-2 has it, with bytes written as printable characters; or raw as
 * Gemma 4 has it, with the characters themselves, spaces as U+2581, and tokens for bytes of characters
 * that are none.
 *
 * From the method: Sennrich et al. 2016, Radford et al. 2019. Merging is driven by the merge list
 * alone: what it makes need not be a token. The merging itself is in spm.c. */

/* ---- Pieces ---------------------------------------------------------------------------------- */

static struct text bpe_text(const struct encoder *e, const struct merge_symbol *symbol)
{
    struct text t = {(const char *)e->text.data + symbol->start, symbol->size};
    return t;
}

static uint32_t bpe_rank(const struct encoder *e, const struct merge_symbol *left,
                         const struct merge_symbol *right)
{
    return vocab_find_pair(e->v, bpe_text(e, left), bpe_text(e, right));
}

/* The token of a text, if text may become it. */
static int32_t bpe_find(const struct encoder *e, struct text t)
{
    int32_t token = vocab_find(e->v, t);
    return (vocab_attributes(e->v, token) & (TOKEN_GUARDED | TOKEN_MARKUP)) != 0 ? -1 : token;
}

/* What is no token is looked up byte by byte; bytes that are none are left out. */
static int bpe_push(struct encoder *e, const struct merge_symbol *symbol, slm_error *err)
{
    struct text t = bpe_text(e, symbol);
    int32_t token = bpe_find(e, t);
    if (token >= 0) {
        return encoder_push(e, token, err);
    }
    for (size_t i = 0; i < t.n; i++) {
        struct text byte = {t.s + i, 1};
        token = bpe_find(e, byte);
        if (token >= 0) {
            SLM_TRY(encoder_push(e, token, err));
        }
    }
    return SLM_OK;
}

static const struct merge_kind bpe_kind = {bpe_rank, bpe_push};

static int bpe_add_byte(struct encoder *e, uint8_t byte, slm_error *err)
{
    uint8_t text[4];
    size_t size = unicode_encode(bpe_char_of_byte(byte), text);
    return merge_add(e, &bpe_kind, text, size, byte, byte, err);
}

/* The character at `at` as the models saw it in training: what is no UTF-8 are the three bytes of
 * U+FFFD for each byte. */
static struct text bpe_char(struct text piece, size_t at, size_t *size)
{
    struct text c = {piece.s + at, 1};
    *size = 1;
    if ((uint8_t)piece.s[at] >= 0x80 &&
        unicode_decode((const uint8_t *)c.s, piece.n - at, size) == UNICODE_BAD && *size == 1) {
        return text_of("\xEF\xBF\xBD");
    }
    c.n = *size;
    return c;
}

/* The token of a whole piece, or -1; e->text has room for 6 bytes for each of it. */
static int32_t bpe_whole(struct encoder *e, struct text piece)
{
    uint8_t *text = (uint8_t *)e->text.data;
    size_t n = 0;
    for (size_t at = 0, size = 1; at < piece.n; at += size) {
        struct text c = bpe_char(piece, at, &size);
        for (size_t i = 0; i < c.n; i++) {
            n += unicode_encode(bpe_char_of_byte((uint8_t)c.s[i]), text + n);
        }
    }
    struct text whole = {(const char *)text, n};
    return bpe_find(e, whole);
}

static int bpe_encode_bytes(struct encoder *e, struct text piece, slm_error *err)
{
    if ((e->v->pretokenizer->flags & PRE_IGNORE_MERGES) != 0 && piece.n <= e->v->text_max) {
        SLM_TRY(encoder_reserve(e, &e->text, (uint64_t)piece.n * 6, 0, err));
        int32_t token = bpe_whole(e, piece);
        if (token >= 0) {
            return encoder_push(e, token, err);
        }
    }
    for (size_t at = 0, size = 1; at < piece.n; at += size) {
        struct text c = bpe_char(piece, at, &size);
        for (size_t i = 0; i < c.n; i++) {
            SLM_TRY(bpe_add_byte(e, (uint8_t)c.s[i], err));
        }
    }
    return merge_flush(e, &bpe_kind, err);
}

/* ---- Raw ------------------------------------------------------------------------------------- */

static int bpe_push_raw(struct encoder *e, const struct merge_symbol *symbol, slm_error *err)
{
    int32_t token = bpe_find(e, bpe_text(e, symbol));
    return token >= 0 ? encoder_push(e, token, err) : spm_push_bytes(e, symbol, err);
}

static const struct merge_kind bpe_kind_raw = {bpe_rank, bpe_push_raw};

static int bpe_is_raw(const struct vocab *v)
{
    int may_be = PROFILE_PRETOKENIZER(lines) || PROFILE_PRETOKENIZER(whitespace);
    return may_be && (v->pretokenizer->flags & PRE_RAW) != 0;
}

static int bpe_lowers(const struct vocab *v)
{
    return PROFILE_PRETOKENIZER(whitespace) && (v->pretokenizer->flags & PRE_LOWER) != 0 &&
           v->normalizer.lowercase;
}

/* A symbol for each character. */
static int bpe_encode_word(struct encoder *e, struct text word, slm_error *err)
{
    uint32_t flags = e->v->pretokenizer->flags;
    int lower = bpe_lowers(e->v);
    const uint8_t *s = (const uint8_t *)word.s;
    for (size_t at = 0, size = 1; at < word.n; at += size) {
        uint32_t point = lower ? unicode_decode(s + at, word.n - at, &size) : 0;
        if (lower && unicode_lower(point) != point) {
            uint8_t text[4];
            size_t n = unicode_encode(unicode_lower(point), text);
            SLM_TRY(merge_add(e, &bpe_kind_raw, text, n, text[0], text[n - 1], err));
        } else {
            SLM_TRY(spm_add_char(e, &bpe_kind_raw, s + at, word.n - at, (flags & PRE_SPACES) != 0,
                                 &size, err));
        }
    }
    return merge_flush(e, &bpe_kind_raw, err);
}

static int bpe_encode_raw(struct encoder *e, struct text piece, slm_error *err)
{
    /* Newlines alone are one token if there is such a token, whether merges lead there or not. */
    int32_t whole = piece.s[0] == '\n' ? bpe_find(e, piece) : -1;
    if (whole >= 0) {
        return encoder_push(e, whole, err);
    }
    /* The table of joins knows no lower case: such pieces are short. */
    return bpe_lowers(e->v) ? word_encode(e, piece, bpe_encode_word, err)
                            : words_encode(e, piece, bpe_encode_word, err);
}

/* ---- All pieces ------------------------------------------------------------------------------ */

static int bpe_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    (void)m;
    return vocab_load_flag(g, "tokenizer.ggml.normalizer.lowercase", &v->normalizer.lowercase, err);
}

static int bpe_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    int is_raw = bpe_is_raw(e->v);
    struct pre_cursor cursor;
    struct text piece;
    pretokenize_begin(&cursor, e->v->pretokenizer, fragment);
    while (pretokenize_next(&cursor, &piece)) {
        if ((e->v->pretokenizer->flags & PRE_NO_WHITE) != 0 && pre_is_white(piece)) {
            continue;
        }
        SLM_TRY(is_raw ? bpe_encode_raw(e, piece, err)
                       : word_encode(e, piece, bpe_encode_bytes, err));
    }
    return SLM_OK;
}
