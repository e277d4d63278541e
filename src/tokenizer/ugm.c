/* ugm.c - Unigram, as T5 and XLM-R have it: text is normalised, and of all ways to cut it into
 * tokens the one with the best sum of scores is taken.
 *
 * From the method: Kudo 2018 (subword regularization) and the code of SentencePiece, whose
 * normaliser this is: a table of what to replace (the charsmap) in the form of a Darts double array,
 * and rules for spaces. The charsmap is bytes of a file: nothing in it is an index unchecked. */

/* ---- The charsmap ---------------------------------------------------------------------------- */

#define UGM_REPLACEMENT_MAX 255u /* bytes; a longer one is none. Real ones have up to 36 */

static uint32_t ugm_node(const struct normalizer *z, uint32_t i)
{
    return load_u32(z->charsmap.data + 4 + (uint64_t)i * 4);
}

/* What the children of a node are numbered from, relative to it. */
static uint32_t ugm_base(uint32_t node)
{
    return (node >> 10) << ((node & 0x200) >> 6);
}

/* The replacement of the longest beginning of s[0..n-1] that has one, and how many bytes that is; 0
 * if there is none. */
static size_t ugm_replace(const struct normalizer *z, const uint8_t *s, size_t n,
                          struct text *replacement)
{
    size_t longest = 0;
    if (z->n_nodes == 0) {
        return 0;
    }
    uint32_t at = ugm_base(ugm_node(z, 0));
    for (size_t i = 0; i < n && s[i] != 0; i++) {
        at ^= s[i];
        uint32_t node = at < z->n_nodes ? ugm_node(z, at) : 0;
        if (at >= z->n_nodes || (node & 0x800000ffu) != s[i]) {
            break;
        }
        at ^= ugm_base(node);
        if ((node & 0x100) == 0 || at >= z->n_nodes) {
            continue;
        }
        /* Replacements lie behind the nodes; one that does not is none. */
        uint64_t start = 4 + (uint64_t)z->n_nodes * 4 + (ugm_node(z, at) & 0x7fffffffu);
        uint64_t end = start;
        while (end < z->charsmap.count && end - start <= UGM_REPLACEMENT_MAX &&
               z->charsmap.data[end] != 0) {
            end++;
        }
        if (end < z->charsmap.count && end - start <= UGM_REPLACEMENT_MAX) {
            replacement->s = (const char *)z->charsmap.data + start;
            replacement->n = (size_t)(end - start);
            longest = i + 1;
        }
    }
    return longest;
}

/* ---- Normalising ----------------------------------------------------------------------------- */

/* The text of a fragment in e->text. */
struct ugm_text {
    size_t n;
    int in_word;
    int has_prefix;
};

/* Appends bytes, with U+2581 for spaces. */
static int ugm_add(struct encoder *e, struct ugm_text *t, struct text bytes, slm_error *err)
{
    int merge = e->v->normalizer.merge_spaces;
    SLM_TRY(encoder_reserve(e, &e->text, t->n + 6 * (uint64_t)bytes.n, t->n, err));
    char *out = (char *)e->text.data;
    for (size_t i = 0; i < bytes.n; i++) {
        int is_space = bytes.s[i] == ' ';
        int begins = !is_space && !t->in_word;
        int prefix = begins && (merge || (e->v->add_space_prefix && !t->has_prefix));
        t->in_word = !is_space;
        t->has_prefix |= prefix;
        if (prefix || (is_space && !merge)) {
            memcpy(out + t->n, VOCAB_SPACE, 3);
            t->n += 3;
        }
        if (!is_space) {
            out[t->n++] = bytes.s[i];
        }
    }
    return SLM_OK;
}

/* Appends the normalised fragment to the *n bytes in e->text. */
static int ugm_normalize(struct encoder *e, struct text fragment, size_t *n, slm_error *err)
{
    const uint8_t *s = (const uint8_t *)fragment.s;
    struct ugm_text t = {*n, 0, 0};
    for (size_t at = 0, size = 0; at < fragment.n; at += size) {
        struct text unit = {fragment.s + at, 1};
        size = ugm_replace(&e->v->normalizer, s + at, fragment.n - at, &unit);
        if (size == 0) {
            uint32_t point = unicode_decode(s + at, fragment.n - at, &size);
            unit.n = size;
            if (point == UNICODE_BAD) {
                unit = text_of("\xEF\xBF\xBD");
            }
        }
        SLM_TRY(ugm_add(e, &t, unit, err));
        if (t.n > LIMIT_TEXT_BYTES) {
            SLM_FAIL(err, SLM_E_ARGUMENT, (int64_t)at,
                     "the normalised text is longer than %zu bytes at byte %zu", LIMIT_TEXT_BYTES,
                     at);
        }
    }
    *n = t.n;
    return SLM_OK;
}

/* ---- The best cut ---------------------------------------------------------------------------- */

/* The best way to a place: its sum of scores, and its last token. */
struct ugm_best {
    wide_float score;
    uint32_t from;
    int32_t token;
};

#define UGM_NOT_REACHED (-2)
#define UGM_UNKNOWN (-1)

/* What is no number counts as very bad, so that sums stay finite. */
static wide_float ugm_score(const struct vocab *v, int32_t token)
{
    float score = vocab_score(v, token);
    if ((vocab_attributes(v, token) & TOKEN_USER) != 0) {
        return 0;
    }
    return f32_is_finite(score) ? (wide_float)score : (wide_float)-1e30;
}

static void ugm_reach(struct ugm_best *best, size_t *reach, wide_float score, size_t from,
                      size_t to, int32_t token)
{
    while (*reach < to) {
        best[++*reach].token = UGM_NOT_REACHED;
    }
    if (best[to].token == UGM_NOT_REACHED || score > best[to].score) {
        best[to].score = score;
        best[to].from = (uint32_t)from;
        best[to].token = token;
    }
}

/* All ways on from a character: the tokens that begin there, and if none is that character alone,
 * the unknown one. Returns the size of the character; *reach is raised to the end of the longest. */
static size_t ugm_go_on(const struct vocab *v, const uint8_t *s, size_t at, size_t end,
                        struct ugm_best *best, size_t *reach)
{
    size_t size = 1;
    int is_known = 0;
    uint32_t node = 0;
    unicode_decode(s + at, end - at, &size);
    for (size_t i = at; i < end; i++) {
        node = trie_step(&v->trie, node, s[i]);
        if (node == 0) {
            break;
        }
        int32_t token = v->trie.token[node];
        if (token >= 0) {
            is_known |= i + 1 - at == size;
            ugm_reach(best, reach, best[at].score + ugm_score(v, token), at, i + 1, token);
        }
    }
    if (!is_known) {
        wide_float score = best[at].score + v->normalizer.unknown_score;
        ugm_reach(best, reach, score, at, at + size, UGM_UNKNOWN);
    }
    return size;
}

/* Appends the tokens of the best cut. Unknown characters that follow each other are one token. */
static int ugm_push(struct encoder *e, const struct ugm_best *best, size_t n, size_t first,
                    slm_error *err)
{
    size_t before = e->n_tokens;
    for (size_t at = n; at > 0; at = best[at].from) {
        int32_t token = best[at].token == UGM_UNKNOWN ? e->v->unk : best[at].token;
        if (token >= 0) {
            SLM_TRY(encoder_push(e, token, err));
        }
    }
    int32_t *tokens = (int32_t *)e->tokens.data;
    for (size_t low = before, high = e->n_tokens; low + 1 < high; low++) {
        int32_t swapped = tokens[--high];
        tokens[high] = tokens[low];
        tokens[low] = swapped;
    }
    size_t used = before;
    for (size_t i = before; i < e->n_tokens; i++) {
        if (tokens[i] != e->v->unk || used == first || tokens[used - 1] != tokens[i]) {
            tokens[used++] = tokens[i];
        }
    }
    e->n_tokens = used;
    return SLM_OK;
}

/* The best cut of a word. Where no token reaches over a place, what stands before it is decided: so
 * memory is that of a few tokens, mostly. first: see ugm_push. */
static int ugm_cut(struct encoder *e, struct text t, size_t first, slm_error *err)
{
    SLM_TRY(encoder_reserve(e, &e->symbols, 4096, 0, err));
    while (t.n > 0) {
        size_t at = 0;
        size_t reach = 0;
        do {
            uint64_t most = t.n - at < e->v->text_max ? t.n - at : e->v->text_max;
            uint64_t room = at + (most < 4 ? 4 : most) + 1;
            SLM_TRY(encoder_reserve(e, &e->symbols, room * sizeof(struct ugm_best),
                                    (reach + 1) * sizeof(struct ugm_best), err));
            struct ugm_best *best = (struct ugm_best *)e->symbols.data;
            best[0].score = 0;
            at += ugm_go_on(e->v, (const uint8_t *)t.s, at, t.n, best, &reach);
        } while (reach > at);
        SLM_TRY(ugm_push(e, (const struct ugm_best *)e->symbols.data, at, first, err));
        t.s += at;
        t.n -= at;
    }
    return SLM_OK;
}

/* Whether the unknown token is among those from `from` on: what came of them depends on what stood
 * before. */
static int ugm_has_unknown(const struct encoder *e, size_t from)
{
    const int32_t *tokens = (const int32_t *)e->tokens.data;
    while (from < e->n_tokens && tokens[from] != e->v->unk) {
        from++;
    }
    return from < e->n_tokens;
}

static int ugm_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    size_t first = e->n_tokens;
    size_t at = e->n_text;
    size_t n = at;
    SLM_TRY(ugm_normalize(e, fragment, &n, err));
    e->n_text = (uint32_t)n;
    e->base = (const char *)e->text.data;
    while (at < n) {
        struct text rest = {e->base + at, n - at};
        struct text word = {rest.s, word_end(e->v, rest, 0)};
        struct word *w = word_slot(e, word);
        size_t before = e->n_tokens;
        if (word_is(e, w, word)) {
            SLM_TRY(word_repeat(e, w, err));
        } else {
            SLM_TRY(ugm_cut(e, word, first, err));
            if (!ugm_has_unknown(e, before > first ? before - 1 : before)) {
                word_note(e, w, word, before);
            }
        }
        at += word.n;
    }
    return SLM_OK;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static int ugm_load_charsmap(struct normalizer *z, const struct gguf *g, slm_error *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    int found = gguf_find_array(g, key, &z->charsmap);
    if (found == 0 || (found == 1 && z->charsmap.count == 0)) {
        z->charsmap.count = 0;
        return SLM_OK;
    }
    if (found < 0 || (z->charsmap.type != SLM_TYPE_UINT8 && z->charsmap.type != SLM_TYPE_INT8)) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s is no array of bytes", key);
    }
    uint64_t size = z->charsmap.count < 4 ? 0 : load_u32(z->charsmap.data);
    if (size < 4 || size % 4 != 0 || size > z->charsmap.count - 4) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s of %llu bytes says that %llu of them are nodes", key,
                 (unsigned long long)z->charsmap.count, (unsigned long long)size);
    }
    z->n_nodes = (uint32_t)(size / 4);
    return SLM_OK;
}

static int ugm_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    struct normalizer *z = &v->normalizer;
    wide_float lowest = 0;
    int any = 0;
    SLM_TRY(vocab_load_flag(g, "tokenizer.ggml.remove_extra_whitespaces", &z->merge_spaces, err));
    SLM_TRY(ugm_load_charsmap(z, g, err));
    for (int32_t i = 0; i < v->n_token; i++) {
        wide_float score = (wide_float)vocab_score(v, i);
        if ((v->attributes[i] & TOKEN_NORMAL) != 0 && f32_is_finite((float)score)) {
            lowest = !any || score < lowest ? score : lowest;
            any = 1;
        }
    }
    z->unknown_score = lowest - 10;
    return vocab_load_trie(v, TOKEN_NORMAL | TOKEN_USER | TOKEN_UNUSED, m, err);
}
