/* bpe.c - byte-level BPE, as GPT-2 has it: bytes written as printable characters, pieces cut by the
 * pre-tokenizer, and within each piece the merge of lowest rank until none is left.
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

static int bpe_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    struct pre_cursor cursor;
    struct text piece;
    pretokenize_begin(&cursor, e->v->pretokenizer, fragment);
    while (pretokenize_next(&cursor, &piece)) {
        SLM_TRY(bpe_encode_piece(e, piece, err));
    }
    return SLM_OK;
}
