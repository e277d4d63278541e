/* tokenize.c - text to tokens and back: start and end, and the three functions that api.c calls. */

/* ---- Text to tokens -------------------------------------------------------------------------- */

static int encode_parts(struct encoder *e, struct text t, slm_error *err)
{
    struct special_walk walk;
    struct special_part part = {0, 0, 0, 0, -1};
    int more = 0;
    SLM_TRY(special_begin(&walk, e, t, err));
    for (e->after_special = 1;; e->after_special = part.token >= 0) {
        SLM_TRY(special_next(&walk, &part, &more, err));
        if (!more) {
            return SLM_OK;
        }
        if (part.token >= 0) {
            SLM_TRY(encoder_push(e, part.token, err));
        } else {
            struct text raw = {t.s + part.start, part.end - part.start};
            SLM_TRY(e->v->algorithm->encode(e, raw, err));
        }
    }
}

/* A text with marks is a whole prompt: it gets the start token unless it has it, and no end. */
static int encode_marked(struct encoder *e, struct text t, slm_error *err)
{
    const struct vocab *v = e->v;
    int32_t *tokens;
    if (t.n > 0) {
        SLM_TRY(encode_parts(e, t, err));
    }
    if ((e->flags & SLM_TEXT_BOS) == 0 || !v->add_bos) {
        return SLM_OK;
    }
    if (e->n_tokens > 0 && ((const int32_t *)e->tokens.data)[0] == v->bos) {
        return SLM_OK;
    }
    SLM_TRY(encoder_push(e, v->bos, err));
    tokens = (int32_t *)e->tokens.data;
    memmove(tokens + 1, tokens, (e->n_tokens - 1) * sizeof *tokens);
    tokens[0] = v->bos;
    return SLM_OK;
}

static int encode_text(struct encoder *e, struct text t, slm_error *err)
{
    const struct vocab *v = e->v;
    int ends = (e->flags & SLM_TEXT_BOS) != 0;
    if (PROFILE_CHAT && e->marks != NULL) {
        return encode_marked(e, t, err);
    }
    if (ends && v->add_bos) {
        SLM_TRY(encoder_push(e, v->bos, err));
    }
    if (t.n > 0) {
        SLM_TRY(encode_parts(e, t, err));
    }
    if (ends && v->add_eos) {
        SLM_TRY(encoder_push(e, v->end, err));
    }
    return SLM_OK;
}

static int tokenizer_check(const struct vocab *v, slm_error *err)
{
    if (v->n_token == 0) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "this model has no vocabulary: use token ids");
    }
    if (v->algorithm->encode == NULL) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "the tokenizer '%.*s' is not supported: use token ids",
                 text_width(v->model), v->model.s);
    }
    return SLM_OK;
}

/* The rule of slm.h for buffers; a NULL one only asks, and never comes here. */
static int tokenizer_room(size_t needed, size_t capacity, const char *what, slm_error *err)
{
    if (needed > capacity) {
        SLM_FAIL(err, SLM_E_SPACE, -1, "%zu %s do not fit a buffer of %zu", needed, what, capacity);
    }
    return SLM_OK;
}

/* marks: see struct encoder. */
static int tokenize_marked(const struct vocab *v, struct memory *m, struct text t,
                           const uint8_t *marks, uint32_t flags, int32_t *tokens, size_t capacity,
                           size_t *needed, slm_error *err)
{
    struct encoder e;
    *needed = 0;
    SLM_TRY(tokenizer_check(v, err));
    if (t.n > LIMIT_TEXT_BYTES) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "a text of %zu bytes: at most %zu are tokenised at once",
                 t.n, LIMIT_TEXT_BYTES);
    }
    memset(&e, 0, sizeof e);
    e.v = v;
    e.m = m;
    e.flags = flags;
    e.marks = marks;
    e.base = t.s;
    int status = words_begin(&e, t.n, err);
    status = status == SLM_OK ? encode_text(&e, t, err) : status;
    if (status == SLM_OK) {
        *needed = e.n_tokens;
        status = tokens == NULL ? SLM_OK : tokenizer_room(e.n_tokens, capacity, "tokens", err);
        if (status == SLM_OK && tokens != NULL && e.n_tokens > 0) {
            memcpy(tokens, e.tokens.data, e.n_tokens * sizeof *tokens);
        }
    }
    struct scratch *all[] = {&e.text, &e.symbols, &e.ranks,  &e.tree, &e.matches,
                             &e.best, &e.parts,   &e.tokens, &e.words};
    for (int32_t i = 0; i < SLM_COUNT(all); i++) {
        memory_give(m, all[i]->data, all[i]->size);
    }
    return status;
}

static int tokenize_text(const struct vocab *v, struct memory *m, const char *text, size_t n,
                         uint32_t flags, int32_t *tokens, size_t capacity, size_t *needed,
                         slm_error *err)
{
    struct text t = {text, n};
    return tokenize_marked(v, m, t, NULL, flags, tokens, capacity, needed, err);
}

/* ---- Tokens to bytes ------------------------------------------------------------------------- */

/* Reads the bytes that a token stands for. */
struct piece {
    const uint8_t *s;
    size_t n;
    size_t at;
    int form;
    uint8_t byte;
};

/* "<0x0A>". Anything else of that type is written as it stands. */
static void piece_read_byte(struct piece *p)
{
    int high = p->n == 6 ? vocab_hex_digit(p->s[3]) : -1;
    int low = p->n == 6 ? vocab_hex_digit(p->s[4]) : -1;
    if (high >= 0 && low >= 0 && memcmp(p->s, "<0x", 3) == 0 && p->s[5] == '>') {
        p->form = PIECE_BYTE;
        p->byte = (uint8_t)(high * 16 + low);
    }
}

/* Control and unknown tokens are empty unless special is set; so are unused and undefined ones, and
 * ids without a token. */
static struct piece vocab_piece(const struct vocab *v, int32_t token, int special)
{
    struct piece p = {NULL, 0, 0, PIECE_RAW, 0};
    unsigned attributes = vocab_attributes(v, token);
    int guarded = (attributes & TOKEN_GUARDED) != 0;
    if ((guarded && !special) || (attributes & (TOKEN_SPECIAL | TOKEN_NORMAL | TOKEN_BYTE)) == 0) {
        return p;
    }
    struct text t = vocab_text(v, token);
    p.s = (const uint8_t *)t.s;
    p.n = t.n;
    if ((attributes & TOKEN_SPECIAL) != 0) {
        return p;
    }
    p.form = v->form;
    if ((attributes & TOKEN_BYTE) != 0) {
        piece_read_byte(&p);
    }
    return p;
}

/* The next byte, or -1. */
static int piece_next(struct piece *p)
{
    if (p->at >= p->n) {
        return -1;
    }
    const uint8_t *s = p->s + p->at;
    size_t size = 1;
    int byte = s[0];
    if (p->form == PIECE_BYTE) {
        size = p->n;
        byte = p->byte;
    } else if (p->form == PIECE_SPACES && p->n - p->at >= 3 && memcmp(s, VOCAB_SPACE, 3) == 0) {
        size = 3;
        byte = ' ';
    } else if (p->form == PIECE_BYTES) {
        int known = bpe_byte_of_char(unicode_decode(s, p->n - p->at, &size));
        size = known >= 0 ? size : 1;
        byte = known >= 0 ? known : byte;
    } else if (PROFILE_TOKENIZER(rwkv) && p->form == PIECE_ESCAPES) {
        byte = vocab_unescape(s, p->n - p->at, &size);
    }
    p->at += size;
    return byte;
}

/* Counts all, writes what fits. */
struct text_sink {
    char *text;
    size_t capacity;
    size_t n;
};

static void sink_put(struct text_sink *sink, const uint8_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (sink->n < sink->capacity) {
            sink->text[sink->n] = (char)s[i];
        }
        sink->n++;
    }
}

/* The piece of a token as encoding had it: with SLM_TEXT_BOS, the space that encoding puts in front
 * of a text and after each special token is not part of it. *inside is 0 there. */
static struct piece piece_begin(const struct vocab *v, int32_t token, uint32_t flags, int *inside)
{
    struct piece p = vocab_piece(v, token, (flags & SLM_TEXT_SPECIAL) != 0);
    int special = (vocab_attributes(v, token) & TOKEN_SPECIAL) != 0;
    if (v->begins_with_space && (flags & SLM_TEXT_BOS) != 0 && !*inside && !special) {
        struct piece second = p;
        p = piece_next(&second) == ' ' ? second : p;
    }
    *inside = !special;
    return p;
}

static void detokenize_all(const struct vocab *v, const int32_t *tokens, size_t n, uint32_t flags,
                           struct text_sink *sink)
{
    int inside = 0;
    for (size_t i = 0; i < n; i++) {
        struct piece p = piece_begin(v, tokens[i], flags, &inside);
        for (int byte = piece_next(&p); byte >= 0; byte = piece_next(&p)) {
            uint8_t b = (uint8_t)byte;
            sink_put(sink, &b, 1);
        }
    }
}

/* Texts that lose the spaces in them, in three passes as BERT's tokenizer for Python has them. */
#define CLEAN_PASSES 3
static const char *const clean_texts[CLEAN_PASSES][5] = {
    {" ?", " !", " .", " ,", NULL}, {" ' ", NULL}, {" 's", " 'm", " 're", " 've", NULL}};

static const char *clean_find(const char *const *texts, const char *s, size_t n)
{
    for (; *texts != NULL; texts++) {
        size_t size = string_length(*texts);
        if (size <= n && memcmp(s, *texts, size) == 0) {
            return *texts;
        }
    }
    return NULL;
}

/* Cleans a text where it lies. Returns what is left of its n bytes. */
static size_t clean_spaces(char *s, size_t n)
{
    for (int pass = 0; pass < CLEAN_PASSES; pass++) {
        size_t used = 0;
        for (size_t at = 0; at < n;) {
            const char *found = s[at] == ' ' ? clean_find(clean_texts[pass], s + at, n - at) : NULL;
            size_t size = found != NULL ? string_length(found) : 1;
            for (size_t i = 0; i < size; i++) {
                s[used] = s[at + i];
                used += found == NULL || found[i] != ' ';
            }
            at += size;
        }
        n = used;
    }
    return n;
}

/* The same as detokenize_all, but cleaned: what is left is known only when all is there. */
static int detokenize_clean(const struct vocab *v, struct memory *m, const int32_t *tokens,
                            size_t n_tokens, uint32_t flags, size_t most, struct text_sink *out,
                            slm_error *err)
{
    char *text = (char *)memory_take(m, most);
    struct text_sink sink = {text, most, 0};
    if (text == NULL) {
        return memory_error(m, most, "the text", err);
    }
    detokenize_all(v, tokens, n_tokens, flags, &sink);
    sink_put(out, (const uint8_t *)text, clean_spaces(text, most));
    memory_give(m, text, most);
    return SLM_OK;
}

static int detokenize_text(const struct vocab *v, struct memory *m, const int32_t *tokens,
                           size_t n_tokens, uint32_t flags, char *text, size_t capacity,
                           size_t *needed, slm_error *err)
{
    struct text_sink count = {NULL, 0, 0};
    struct text_sink sink = {text, capacity, 0};
    SLM_TRY(tokenizer_check(v, err));
    if ((flags & SLM_TEXT_BOS) != 0) {
        if (n_tokens > 0 && v->add_bos && tokens[0] == v->bos) {
            tokens++;
            n_tokens--;
        }
        if (n_tokens > 0 && v->add_eos && tokens[n_tokens - 1] == v->end) {
            n_tokens--;
        }
    }
    detokenize_all(v, tokens, n_tokens, flags, &count);
    size_t most = count.n;
    int cleans = (flags & SLM_TEXT_CLEAN) != 0 && v->cleans && most > 0;
    if (cleans) {
        count.n = 0;
        SLM_TRY(detokenize_clean(v, m, tokens, n_tokens, flags, most, &count, err));
    }
    *needed = count.n;
    if (text == NULL) {
        return SLM_OK;
    }
    SLM_TRY(tokenizer_room(count.n, capacity, "bytes", err));
    if (cleans) {
        return detokenize_clean(v, m, tokens, n_tokens, flags, most, &sink, err);
    }
    detokenize_all(v, tokens, n_tokens, flags, &sink);
    return SLM_OK;
}

/* ---- One token at a time --------------------------------------------------------------------- */

/* What slm_text_stream holds. */
struct stream {
    uint8_t held[4]; /* the beginning of a character */
    uint8_t n_held;
    uint8_t begun;  /* a token has come */
    uint8_t inside; /* as in piece_begin */
};

SLM_STATIC_ASSERT(sizeof(struct stream) <= sizeof(slm_text_stream), "slm_text_stream");

/* Takes one byte and gives out what is decided. */
static void stream_put(struct stream *st, struct text_sink *sink, uint8_t byte)
{
    st->held[st->n_held++] = byte;
    while (st->n_held > 0) {
        uint32_t point = 0;
        int missing = 0;
        uint8_t out[4];
        size_t size = unicode_scan(st->held, st->n_held, &point, &missing);
        if (missing > 0) {
            return;
        }
        sink_put(sink, out, unicode_encode(point, out));
        st->n_held = (uint8_t)(st->n_held - size);
        memmove(st->held, st->held + size, st->n_held);
    }
}

static void stream_token(const struct vocab *v, struct stream *st, int32_t token, uint32_t flags,
                         struct text_sink *sink)
{
    if (token < 0) {
        if (st->n_held > 0) {
            sink_put(sink, (const uint8_t *)"\xEF\xBF\xBD", 3);
        }
        memset(st, 0, sizeof *st);
        return;
    }
    /* Which end token is the last one cannot be known here: all are taken away. */
    int ends = (flags & SLM_TEXT_BOS) != 0;
    int is_start = ends && v->add_bos && token == v->bos && !st->begun;
    int is_end = ends && v->add_eos && token == v->end;
    int inside = st->inside;
    struct piece p = piece_begin(v, token, flags, &inside);
    st->begun = 1;
    st->inside = is_start ? 0 : (uint8_t)inside; /* the text begins behind it, whatever its type */
    if (!is_start && !is_end) {
        for (int byte = piece_next(&p); byte >= 0; byte = piece_next(&p)) {
            stream_put(st, sink, (uint8_t)byte);
        }
    }
}

static int decode_token(const struct vocab *v, slm_text_stream *stream, int32_t token,
                        uint32_t flags, char *text, size_t capacity, size_t *needed, slm_error *err)
{
    struct text_sink count = {NULL, 0, 0};
    struct text_sink sink = {text, capacity, 0};
    struct stream before;
    SLM_TRY(tokenizer_check(v, err));
    memcpy(&before, stream->state, sizeof before);
    if (before.n_held >= sizeof before.held) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "this slm_text_stream was not set to zero");
    }
    struct stream after = before;
    stream_token(v, &after, token, flags, &count);
    *needed = count.n;
    if (text == NULL) {
        return SLM_OK;
    }
    SLM_TRY(tokenizer_room(count.n, capacity, "bytes", err));
    stream_token(v, &before, token, flags, &sink);
    memcpy(stream->state, &before, sizeof before);
    return SLM_OK;
}
