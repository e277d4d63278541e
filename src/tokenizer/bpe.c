/* bpe.c - BPE: pieces cut by the pre-tokenizer, and within each piece the merge of lowest rank until
 * none is left. Byte-level as GPT-2 has it, with bytes written as printable characters; or raw as
 * Gemma 4 has it, with the characters themselves, spaces as U+2581, and tokens for bytes of characters
 * that are none.
 *
 * From the method: Sennrich et al. 2016, Radford et al. 2019. Merging is driven by the merge list
 * alone: what it makes need not be a token. The merging itself is in spm.c. */

/* ---- Bytes as characters --------------------------------------------------------------------- */

/* Printable bytes stand for themselves, the other 68 are numbered from U+0100. */
static int bpe_is_printable(uint32_t point)
{
    return (point >= 0x21 && point <= 0x7e) || (point >= 0xa1 && point <= 0xff && point != 0xad);
}

static uint32_t bpe_char_of_byte(uint8_t byte)
{
    if (bpe_is_printable(byte)) {
        return byte;
    }
    return byte <= 0x20 ? 0x100u + byte : byte == 0xad ? 0x143u : 0x121u + byte - 0x7fu;
}

/* The byte of a character, or -1. */
static int bpe_byte_of_char(uint32_t point)
{
    if (bpe_is_printable(point)) {
        return (int)point;
    }
    if (point < 0x100 || point > 0x143) {
        return -1;
    }
    return (int)(point <= 0x120 ? point - 0x100 : point == 0x143 ? 0xad : point - 0x121 + 0x7f);
}

/* ---- Pieces ---------------------------------------------------------------------------------- */

static struct text bpe_text(const struct encoder *e, const struct merge_symbol *symbol)
{
    struct text t = {(const char *)e->text.data + symbol->start, symbol->size};
    return t;
}

static uint32_t bpe_rank(const struct encoder *e, const struct merge_symbol *left,
                         const struct merge_symbol *right)
{
    return vocab_find_pair(e->v, (const char *)e->text.data + left->start, left->size, right->size,
                           vocab_pair_hash(left->hash, right->hash));
}

static void bpe_done(const struct encoder *e, struct merge_symbol *left)
{
    left->hash = vocab_hash(bpe_text(e, left));
}

/* The token of a text, if text may become it. */
static int32_t bpe_find(const struct encoder *e, struct text t, uint64_t hash)
{
    int32_t token = vocab_find_hashed(e->v, t, hash);
    return (vocab_attributes(e->v, token) & TOKEN_GUARDED) != 0 ? -1 : token;
}

static void bpe_add_byte(struct encoder *e, uint8_t byte, uint32_t *n, uint32_t *used)
{
    struct merge_symbol *symbol = (struct merge_symbol *)e->symbols.data + *n;
    symbol->start = *used;
    symbol->size =
        (uint32_t)unicode_encode(bpe_char_of_byte(byte), (uint8_t *)e->text.data + *used);
    symbol->hash = vocab_hash(bpe_text(e, symbol));
    *used += symbol->size;
    (*n)++;
}

static int bpe_is_bad(const uint8_t *s, size_t n, size_t *size)
{
    return unicode_decode(s, n, size) == UNICODE_BAD && *size == 1;
}

/* How many symbols bpe_split will make. */
static uint64_t bpe_count(struct text piece)
{
    uint64_t n = piece.n;
    size_t size = 1;
    for (size_t at = 0; at < piece.n; at += size) {
        n += bpe_is_bad((const uint8_t *)piece.s + at, piece.n - at, &size) ? 2 : 0;
    }
    return n;
}

/* Makes a symbol of each byte. Bytes that are no UTF-8 are the three bytes of U+FFFD each, as the
 * models were trained. Returns the number of symbols and the size of the text. */
static uint32_t bpe_split(struct encoder *e, struct text piece, uint32_t *used)
{
    const uint8_t *s = (const uint8_t *)piece.s;
    uint32_t n = 0;
    size_t at = 0;
    *used = 0;
    while (at < piece.n) {
        size_t size = 1;
        if (bpe_is_bad(s + at, piece.n - at, &size)) {
            bpe_add_byte(e, 0xef, &n, used);
            bpe_add_byte(e, 0xbf, &n, used);
            bpe_add_byte(e, 0xbd, &n, used);
        } else {
            for (size_t i = 0; i < size; i++) {
                bpe_add_byte(e, s[at + i], &n, used);
            }
        }
        at += size;
    }
    return n;
}

/* What is no token is looked up byte by byte; bytes that are none are left out. */
static int bpe_push(struct encoder *e, const struct merge_symbol *symbol, slm_error *err)
{
    struct text t = bpe_text(e, symbol);
    int32_t token = bpe_find(e, t, symbol->hash);
    if (token >= 0) {
        return encoder_push(e, token, err);
    }
    for (size_t i = 0; i < t.n; i++) {
        struct text byte = {t.s + i, 1};
        token = bpe_find(e, byte, vocab_hash(byte));
        if (token >= 0) {
            SLM_TRY(encoder_push(e, token, err));
        }
    }
    return SLM_OK;
}

static int bpe_encode_piece(struct encoder *e, struct text piece, slm_error *err)
{
    uint64_t room = bpe_count(piece);
    SLM_TRY(encoder_reserve(e, &e->text, room * 2, 0, err));
    SLM_TRY(merge_reserve(e, room, err));
    uint32_t used = 0;
    uint32_t n = bpe_split(e, piece, &used);
    const struct merge_symbol *symbols = (const struct merge_symbol *)e->symbols.data;
    if ((e->v->pretokenizer->flags & PRE_IGNORE_MERGES) != 0) {
        struct text whole = {(const char *)e->text.data, used};
        int32_t token = bpe_find(e, whole, vocab_hash(whole));
        if (token >= 0) {
            return encoder_push(e, token, err);
        }
    }
    if (n > 1) {
        merge_all(e, n, bpe_rank, bpe_done);
    } else {
        ((struct merge_symbol *)e->symbols.data)->next = MERGE_NONE;
    }
    for (uint32_t i = 0; i != MERGE_NONE; i = symbols[i].next) {
        SLM_TRY(bpe_push(e, &symbols[i], err));
    }
    return SLM_OK;
}

/* ---- Raw ------------------------------------------------------------------------------------- */

static int bpe_push_raw(struct encoder *e, const struct merge_symbol *symbol, slm_error *err)
{
    int32_t token = bpe_find(e, bpe_text(e, symbol), symbol->hash);
    return token >= 0 ? encoder_push(e, token, err) : spm_push_bytes(e, symbol, err);
}

/* Lower case, in place of the text that spm_split made: the characters of each symbol. */
static int bpe_lower(struct encoder *e, uint32_t n, uint32_t used, slm_error *err)
{
    struct merge_symbol *symbols = (struct merge_symbol *)e->symbols.data;
    uint32_t to = 0;
    SLM_TRY(encoder_reserve(e, &e->lower, (uint64_t)used * 2 + 4, 0, err));
    const uint8_t *from = (const uint8_t *)e->text.data;
    uint8_t *out = (uint8_t *)e->lower.data;
    for (uint32_t i = 0; i < n; i++) {
        size_t size = 1;
        uint32_t point = unicode_decode(from + symbols[i].start, symbols[i].size, &size);
        uint32_t lower = unicode_lower(point);
        if (lower != point) {
            size = unicode_encode(lower, out + to);
        } else {
            memcpy(out + to, from + symbols[i].start, symbols[i].size);
            size = symbols[i].size;
        }
        symbols[i].start = to;
        symbols[i].size = (uint32_t)size;
        to += (uint32_t)size;
    }
    struct scratch swapped = e->text;
    e->text = e->lower;
    e->lower = swapped;
    return SLM_OK;
}

/* Newlines alone are one token if there is such a token, whether merges lead there or not. */
static int bpe_push_newlines(struct encoder *e, struct text piece, int *done, slm_error *err)
{
    int32_t token = piece.s[0] == '\n' ? bpe_find(e, piece, vocab_hash(piece)) : -1;
    *done = token >= 0;
    return token >= 0 ? encoder_push(e, token, err) : SLM_OK;
}

/* A word of a piece: with spaces as U+2581 no merge leads from one to the next (where one does, the
 * piece is one word). */
static int bpe_encode_raw_word(struct encoder *e, struct text word, slm_error *err)
{
    uint32_t flags = e->v->pretokenizer->flags;
    SLM_TRY(encoder_reserve(e, &e->text, (uint64_t)word.n * 3 + 3, 0, err));
    SLM_TRY(merge_reserve(e, (uint64_t)word.n + 1, err));
    uint32_t n = spm_split(e, word, 0, (flags & PRE_SPACES) != 0);
    struct merge_symbol *symbols = (struct merge_symbol *)e->symbols.data;
    if ((flags & PRE_LOWER) != 0 && e->v->normalizer.lowercase) {
        SLM_TRY(bpe_lower(e, n, symbols[n - 1].start + symbols[n - 1].size, err));
    }
    for (uint32_t i = 0; i < n; i++) {
        symbols[i].hash = vocab_hash(bpe_text(e, &symbols[i]));
    }
    merge_all(e, n, bpe_rank, bpe_done);
    for (uint32_t i = 0; i != MERGE_NONE; i = symbols[i].next) {
        SLM_TRY(bpe_push_raw(e, &symbols[i], err));
    }
    return SLM_OK;
}

static int bpe_encode_raw(struct encoder *e, struct text piece, slm_error *err)
{
    int done = 0;
    SLM_TRY(bpe_push_newlines(e, piece, &done, err));
    for (size_t at = 0; at < piece.n && !done;) {
        size_t end = spm_word_end(e->v, piece, at);
        struct text word = {piece.s + at, end - at};
        SLM_TRY(bpe_encode_raw_word(e, word, err));
        at = end;
    }
    return SLM_OK;
}

/* ---- All pieces ------------------------------------------------------------------------------ */

static int bpe_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    (void)m;
    return vocab_load_flag(g, "tokenizer.ggml.normalizer.lowercase", &v->normalizer.lowercase, err);
}

static int bpe_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    int is_raw = (e->v->pretokenizer->flags & PRE_RAW) != 0;
    struct pre_cursor cursor;
    struct text piece;
    pretokenize_begin(&cursor, e->v->pretokenizer, fragment);
    while (pretokenize_next(&cursor, &piece)) {
        if ((e->v->pretokenizer->flags & PRE_NO_WHITE) != 0 && pre_is_white(piece)) {
            continue;
        }
        SLM_TRY(is_raw ? bpe_encode_raw(e, piece, err) : bpe_encode_piece(e, piece, err));
    }
    return SLM_OK;
}
