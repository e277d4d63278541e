/* tokenize.c - text to tokens and back: special tokens, start and end, and the three functions that
 * api.c calls.
 *
 * Special tokens are found before anything else, on the raw bytes, the longest first over the whole
 * text: control and unknown tokens only where the caller asks (SLM_TEXT_SPECIAL), user-defined ones
 * always. What lies between goes to the algorithm, whose lookups never yield a control token. So
 * text without that flag cannot produce one, whatever it says. */

/* ---- Special tokens -------------------------------------------------------------------------- */

/* The rule: of all special tokens that stand in a stretch of text the longest is taken, the leftmost
 * among equals, and the same goes for what lies to its left and to its right.
 *
 * One pass of the automaton gives for each place the longest token that ends there. A tree of maxima
 * over these matches finds the best one of a stretch. A match to the right of a taken token that
 * begins before that one's end becomes the next shorter one that does not. Of a token of n bytes
 * these are less than n: all matches are at most as long as the one that was taken. So this happens
 * no more often than the text has bytes, and whatever tokens a file has, a text takes n log n. */

struct special_match {
    uint32_t end;
    uint32_t special; /* in the list of struct specials; 0: none any more */
    uint32_t is_user; /* in that of those that are found in content, too */
};

/* A part of the text yet to be given out, and the matches that end in it. */
struct special_part {
    uint32_t start;
    uint32_t end;
    uint32_t first; /* match */
    uint32_t last;
    int32_t token; /* what it is, or -1 */
};

/* A walk over the parts of a text from left to right. What is still to come lies on a stack. */
struct special_walk {
    struct encoder *e;
    struct text text;
    const struct specials *specials; /* found all over the text, or where it is no content */
    const struct specials *users;    /* found all over a text that has marks; else NULL */
    uint32_t n_matches;
    uint32_t n_leaves; /* a power of two */
    uint32_t n_parts;
};

static struct special_match *special_matches(const struct special_walk *w)
{
    return (struct special_match *)w->e->matches.data;
}

static const struct specials *special_list_of(const struct special_walk *w,
                                              const struct special_match *m)
{
    return m->is_user ? w->users : w->specials;
}

static uint32_t special_size(const struct special_walk *w, const struct special_match *m)
{
    return special_list_of(w, m)->list[m->special].size;
}

static int special_add(struct special_walk *w, struct special_match match, slm_error *err)
{
    uint64_t used = (uint64_t)w->n_matches * sizeof match;
    SLM_TRY(encoder_reserve(w->e, &w->e->matches, used + sizeof match, used, err));
    special_matches(w)[w->n_matches++] = match;
    return SLM_OK;
}

/* Some files have tokens that frame messages as user-defined: gpt-oss has <|start|>. They are told by
 * how they end, which the shorter ones that a token ends with have in common with it. */
static int special_is_structure(const uint8_t *bytes, uint32_t end)
{
    return end >= 2 && bytes[end - 2] == '|' && bytes[end - 1] == '>';
}

/* Reads a text that has marks: two automata side by side. The one of all special tokens begins anew
 * behind each byte of content, so that whatever it finds has none. */
static int special_scan_marked(struct special_walk *w, slm_error *err)
{
    const uint8_t *bytes = (const uint8_t *)w->text.s;
    uint32_t node = 0;
    uint32_t user_node = 0;
    for (uint32_t at = 0; at < (uint32_t)w->text.n; at++) {
        if (w->users->n > 0) {
            user_node = special_step(w->users, user_node, bytes[at]);
            struct special_match match = {at + 1, w->users->nodes[user_node].longest, 1};
            if (match.special != 0 && !special_is_structure(bytes, at + 1)) {
                SLM_TRY(special_add(w, match, err));
            }
        }
        node = w->e->marks[at] != 0 ? 0 : special_step(w->specials, node, bytes[at]);
        struct special_match match = {at + 1, w->specials->nodes[node].longest, 0};
        if (node != 0 && match.special != 0) {
            SLM_TRY(special_add(w, match, err));
        }
    }
    return SLM_OK;
}

/* Reads the text. */
static int special_scan(struct special_walk *w, slm_error *err)
{
    const struct specials *s = w->specials;
    const uint8_t *bytes = (const uint8_t *)w->text.s;
    uint32_t n = (uint32_t)w->text.n;
    uint32_t node = 0;
    for (uint32_t at = 0; at < n; at++) {
        if (node == 0) {
            while (at < n && s->start[bytes[at]] == 0) {
                at++;
            }
            if (at == n) {
                break;
            }
        }
        node = special_step(s, node, bytes[at]);
        if (s->nodes[node].longest != 0) {
            struct special_match match = {at + 1, s->nodes[node].longest, 0};
            SLM_TRY(special_add(w, match, err));
        }
    }
    return SLM_OK;
}

/* The better of two matches: longer, or else further left. n_matches stands for none. */
static uint32_t special_better(const struct special_walk *w, uint32_t a, uint32_t b)
{
    const struct special_match *m = special_matches(w);
    if (a == w->n_matches || b == w->n_matches) {
        return a == w->n_matches ? b : a;
    }
    uint32_t size_a = special_size(w, &m[a]);
    uint32_t size_b = special_size(w, &m[b]);
    return size_a != size_b ? (size_a > size_b ? a : b) : (a < b ? a : b);
}

static int special_plant(struct special_walk *w, slm_error *err)
{
    w->n_leaves = 1;
    while (w->n_leaves < w->n_matches) {
        w->n_leaves *= 2;
    }
    SLM_TRY(
        encoder_reserve(w->e, &w->e->best, 2 * (uint64_t)w->n_leaves * sizeof(uint32_t), 0, err));
    uint32_t *tree = (uint32_t *)w->e->best.data;
    for (uint32_t i = 0; i < w->n_leaves; i++) {
        tree[w->n_leaves + i] = i < w->n_matches ? i : w->n_matches;
    }
    for (uint32_t node = w->n_leaves - 1; node > 0; node--) {
        tree[node] = special_better(w, tree[2 * node], tree[2 * node + 1]);
    }
    return SLM_OK;
}

/* Matches first..last-1, at least one, have changed. */
static void special_update(const struct special_walk *w, uint32_t first, uint32_t last)
{
    uint32_t *tree = (uint32_t *)w->e->best.data;
    uint32_t low = (w->n_leaves + first) / 2;
    uint32_t high = (w->n_leaves + last - 1) / 2;
    for (; low > 0; low /= 2, high /= 2) {
        for (uint32_t node = low; node <= high; node++) {
            tree[node] = special_better(w, tree[2 * node], tree[2 * node + 1]);
        }
    }
}

/* The match to take of first..last-1; n_matches if there is none. */
static uint32_t special_best(const struct special_walk *w, uint32_t first, uint32_t last)
{
    const uint32_t *tree = (const uint32_t *)w->e->best.data;
    uint32_t best = w->n_matches;
    uint32_t low = w->n_leaves + first;
    uint32_t high = w->n_leaves + last;
    for (; low < high; low /= 2, high /= 2) {
        if (low % 2 != 0) {
            best = special_better(w, best, tree[low++]);
        }
        if (high % 2 != 0) {
            best = special_better(w, best, tree[--high]);
        }
    }
    return best < w->n_matches && special_matches(w)[best].special != 0 ? best : w->n_matches;
}

/* The text before `start`, where a token of `size` bytes ends, is taken: matches from `first` on. */
static void special_shorten(const struct special_walk *w, uint32_t start, uint32_t size,
                            uint32_t first, uint32_t last)
{
    struct special_match *m = special_matches(w);
    uint32_t i = first;
    for (; i < last && m[i].end - start < size; i++) {
        m[i].special = special_within(special_list_of(w, &m[i]), m[i].special, m[i].end - start);
    }
    if (i > first) {
        special_update(w, first, i);
    }
}

static int special_push(struct special_walk *w, struct special_part part, slm_error *err)
{
    uint64_t used = (uint64_t)w->n_parts * sizeof part;
    if (part.start < part.end) {
        SLM_TRY(encoder_reserve(w->e, &w->e->parts, used + sizeof part, used, err));
        ((struct special_part *)w->e->parts.data)[w->n_parts++] = part;
    }
    return SLM_OK;
}

static int special_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Cuts part p at match `best`: what lies left of it, it, what lies right of it. */
static int special_cut(struct special_walk *w, const struct special_part *p, uint32_t best,
                       slm_error *err)
{
    const struct special_match *m = special_matches(w);
    const struct special *special = &special_list_of(w, &m[best])->list[m[best].special];
    unsigned attributes = vocab_attributes(w->e->v, special->token);
    struct special_part found = {m[best].end - special->size, m[best].end, 0, 0, special->token};
    struct special_part left = {p->start, found.start, p->first, best, -1};
    struct special_part right = {found.end, p->end, best + 1, p->last, -1};
    while ((attributes & TOKEN_LSTRIP) != 0 && left.end > left.start &&
           special_is_space(w->text.s[left.end - 1])) {
        left.end--;
    }
    while ((attributes & TOKEN_RSTRIP) != 0 && right.start < right.end &&
           special_is_space(w->text.s[right.start])) {
        right.start++;
    }
    while (left.last > left.first && m[left.last - 1].end > left.end) {
        left.last--;
    }
    while (right.first < right.last && m[right.first].end <= right.start) {
        right.first++;
    }
    special_shorten(w, right.start, special->size, right.first, right.last);
    SLM_TRY(special_push(w, right, err));
    SLM_TRY(special_push(w, found, err));
    return special_push(w, left, err);
}

static int special_begin(struct special_walk *w, struct encoder *e, struct text t, slm_error *err)
{
    struct special_walk begin = {e, t, &e->v->user, NULL, 0, 0, 0};
    *w = begin;
    if ((e->flags & SLM_TEXT_SPECIAL) != 0 || e->marks != NULL) {
        w->specials = &e->v->special;
    }
    w->users = e->marks != NULL ? &e->v->user : NULL;
    if (w->specials->n > 0) {
        SLM_TRY(w->users != NULL ? special_scan_marked(w, err) : special_scan(w, err));
    }
    if (w->n_matches > 0) {
        SLM_TRY(special_plant(w, err));
    }
    struct special_part whole = {0, (uint32_t)t.n, 0, w->n_matches, -1};
    return special_push(w, whole, err);
}

/* The next part of the text; *more is 0 if there is none. */
static int special_next(struct special_walk *w, struct special_part *part, int *more,
                        slm_error *err)
{
    *more = w->n_parts > 0;
    while (w->n_parts > 0) {
        *part = ((const struct special_part *)w->e->parts.data)[--w->n_parts];
        uint32_t best = special_best(w, part->first, part->last);
        if (best == w->n_matches) {
            return SLM_OK;
        }
        SLM_TRY(special_cut(w, part, best, err));
    }
    return SLM_OK;
}

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
    if (e->marks != NULL) {
        return encode_marked(e, t, err);
    }
    if (ends && v->add_bos) {
        SLM_TRY(encoder_push(e, v->bos, err));
    }
    if (t.n > 0) {
        SLM_TRY(encode_parts(e, t, err));
    }
    if (ends && v->add_eos) {
        SLM_TRY(encoder_push(e, v->eos, err));
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
    int status = encode_text(&e, t, err);
    if (status == SLM_OK) {
        *needed = e.n_tokens;
        status = tokens == NULL ? SLM_OK : tokenizer_room(e.n_tokens, capacity, "tokens", err);
        if (status == SLM_OK && tokens != NULL && e.n_tokens > 0) {
            memcpy(tokens, e.tokens.data, e.n_tokens * sizeof *tokens);
        }
    }
    struct scratch *all[] = {&e.text,    &e.symbols, &e.ranks, &e.tree,
                             &e.matches, &e.best,    &e.parts, &e.tokens};
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

#define PIECE_RAW 0    /* the text itself */
#define PIECE_SPACES 1 /* U+2581 is a space */
#define PIECE_BYTES 2  /* characters stand for bytes: bpe.c; others stand for themselves */
#define PIECE_BYTE 3   /* one byte */

/* Reads the bytes that a token stands for. */
struct piece {
    const uint8_t *s;
    size_t n;
    size_t at;
    int form;
    uint8_t byte;
};

static int piece_hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* "<0x0A>". Anything else of that type is written as it stands. */
static void piece_read_byte(struct piece *p)
{
    int high = p->n == 6 ? piece_hex_digit(p->s[3]) : -1;
    int low = p->n == 6 ? piece_hex_digit(p->s[4]) : -1;
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
    p.form = v->algorithm->has_merges ? PIECE_BYTES : PIECE_SPACES;
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
    if (v->add_space_prefix && (flags & SLM_TEXT_BOS) != 0 && !*inside && !special) {
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

static int detokenize_text(const struct vocab *v, const int32_t *tokens, size_t n_tokens,
                           uint32_t flags, char *text, size_t capacity, size_t *needed,
                           slm_error *err)
{
    struct text_sink count = {NULL, 0, 0};
    struct text_sink sink = {text, capacity, 0};
    SLM_TRY(tokenizer_check(v, err));
    if ((flags & SLM_TEXT_BOS) != 0) {
        if (n_tokens > 0 && v->add_bos && tokens[0] == v->bos) {
            tokens++;
            n_tokens--;
        }
        if (n_tokens > 0 && v->add_eos && tokens[n_tokens - 1] == v->eos) {
            n_tokens--;
        }
    }
    detokenize_all(v, tokens, n_tokens, flags, &count);
    *needed = count.n;
    if (text == NULL) {
        return SLM_OK;
    }
    SLM_TRY(tokenizer_room(count.n, capacity, "bytes", err));
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
    int is_end = ends && v->add_eos && token == v->eos;
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
