/* spm.c - SentencePiece BPE: merge neighbours while the two together are a token, best score first.
 *
 * Also has the merging itself, which bpe.c shares: a row of symbols, a rank for each pair of
 * neighbours, and the lowest rank (the leftmost among equals) merged until none is left. Ranks lie
 * in buckets of 16 with a tree of minima above, so that a word costs a glance at one bucket and a
 * megabyte of one letter n log n.
 *
 * From the method: Kudo and Richardson 2018 (SentencePiece). */

/* ---- Merging --------------------------------------------------------------------------------- */

#define MERGE_NONE UINT32_MAX
#define MERGE_BUCKET 16u

struct merge_symbol {
    uint32_t start; /* in e->text */
    uint32_t size;
    uint32_t prev; /* MERGE_NONE at the ends */
    uint32_t next;
};

/* The rank of merging two neighbours, MERGE_NONE if they do not. */
typedef uint32_t (*merge_rank_fn)(const struct encoder *e, const struct merge_symbol *left,
                                  const struct merge_symbol *right);

struct merge {
    struct merge_symbol *symbols; /* [n] */
    uint32_t *ranks;              /* [n rounded up to buckets] of symbol i with the next one */
    uint64_t *tree;  /* [2 n_leaf] lowest rank below in the high half, its symbol; 1 is the root */
    uint32_t n_leaf; /* a power of two */
};

/* What is merged by, and what becomes of the symbols that are left. */
struct merge_kind {
    merge_rank_fn rank;
    int (*push)(struct encoder *e, const struct merge_symbol *symbol, slm_error *err);
};

static int merge_reserve(struct encoder *e, uint64_t n, slm_error *err)
{
    uint64_t buckets = n / MERGE_BUCKET + 1;
    uint64_t leaves = 1;
    while (leaves < buckets) {
        leaves *= 2;
    }
    SLM_TRY(encoder_reserve(e, &e->ranks, leaves * MERGE_BUCKET * sizeof(uint32_t), 0, err));
    return encoder_reserve(e, &e->tree, 2 * leaves * sizeof(uint64_t), 0, err);
}

/* The lowest rank of bucket b, and the first symbol that has it. */
static uint64_t merge_lowest(const struct merge *g, uint32_t b)
{
    const uint32_t *ranks = g->ranks + (size_t)b * MERGE_BUCKET;
    uint32_t best = 0;
    for (uint32_t i = 1; i < MERGE_BUCKET; i++) {
        best = ranks[i] < ranks[best] ? i : best;
    }
    return (uint64_t)ranks[best] << 32 | (b * MERGE_BUCKET + best);
}

static uint64_t merge_lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Finds the lowest rank of bucket b anew and carries it towards the root, as far as it matters. */
static void merge_update(const struct merge *g, uint32_t b)
{
    uint32_t node = g->n_leaf + b;
    uint64_t lowest = merge_lowest(g, b);
    while (g->tree[node] != lowest) {
        g->tree[node] = lowest;
        if (node == 1) {
            break;
        }
        lowest = merge_lower(lowest, g->tree[node ^ 1]);
        node /= 2;
    }
}

static uint32_t merge_rank(const struct encoder *e, const struct merge *g, uint32_t i,
                           merge_rank_fn rank)
{
    uint32_t next = g->symbols[i].next;
    return next == MERGE_NONE ? MERGE_NONE : rank(e, &g->symbols[i], &g->symbols[next]);
}

/* Chains the n >= 1 symbols (start and size are set), and ranks all pairs. */
static struct merge merge_begin(struct encoder *e, uint32_t n, merge_rank_fn rank)
{
    struct merge g = {(struct merge_symbol *)e->symbols.data, (uint32_t *)e->ranks.data,
                      (uint64_t *)e->tree.data, 1};
    while (g.n_leaf * MERGE_BUCKET < n) {
        g.n_leaf *= 2;
    }
    for (uint32_t i = 0; i < n; i++) {
        g.symbols[i].prev = i == 0 ? MERGE_NONE : i - 1;
        g.symbols[i].next = i + 1 == n ? MERGE_NONE : i + 1;
    }
    for (uint32_t i = 0; i < g.n_leaf * MERGE_BUCKET; i++) {
        g.ranks[i] = i < n ? merge_rank(e, &g, i, rank) : MERGE_NONE;
    }
    for (uint32_t b = 0; b < g.n_leaf; b++) {
        g.tree[g.n_leaf + b] = merge_lowest(&g, b);
    }
    for (uint32_t node = g.n_leaf - 1; node > 0; node--) {
        g.tree[node] = merge_lower(g.tree[2 * node], g.tree[2 * node + 1]);
    }
    return g;
}

#define MERGE_FAR 1024u /* buckets: more do not fit the fast caches */

/* Asks for the memory of the merge that follows the one of symbol i, most likely: the best of what
 * lies beside the way from it to the root. */
static void merge_fetch(const struct merge *g, uint32_t i)
{
#if defined(__GNUC__) || defined(__clang__)
    uint64_t next = UINT64_MAX;
    for (uint32_t node = g->n_leaf + i / MERGE_BUCKET; node > 1; node /= 2) {
        next = merge_lower(next, g->tree[node ^ 1]);
    }
    if (next >> 32 != MERGE_NONE) {
        uint32_t k = (uint32_t)next;
        __builtin_prefetch(&g->symbols[k], 1);
        __builtin_prefetch(&g->symbols[k] + 4, 1);
        __builtin_prefetch(&g->ranks[k], 1);
        __builtin_prefetch(&g->tree[g->n_leaf + k / MERGE_BUCKET], 1);
        __builtin_prefetch(&g->tree[(g->n_leaf + k / MERGE_BUCKET) / 2], 1);
    }
#else
    (void)g;
    (void)i;
#endif
}

/* Merges until no pair has a rank. Symbol 0 stays the first; follow next. */
static void merge_all(struct encoder *e, uint32_t n, merge_rank_fn rank)
{
    struct merge g = merge_begin(e, n, rank);
    while (g.tree[1] >> 32 != MERGE_NONE) {
        uint32_t i = (uint32_t)g.tree[1];
        struct merge_symbol *left = &g.symbols[i];
        uint32_t gone = left->next;
        if (g.n_leaf > MERGE_FAR) {
            merge_fetch(&g, i);
        }
        left->size += g.symbols[gone].size;
        left->next = g.symbols[gone].next;
        if (left->next != MERGE_NONE) {
            g.symbols[left->next].prev = i;
        }
        g.ranks[gone] = MERGE_NONE;
        g.ranks[i] = merge_rank(e, &g, i, rank);
        uint32_t before = left->prev == MERGE_NONE ? i : left->prev;
        if (before != i) {
            g.ranks[before] = merge_rank(e, &g, before, rank);
        }
        merge_update(&g, i / MERGE_BUCKET);
        if (gone / MERGE_BUCKET != i / MERGE_BUCKET) {
            merge_update(&g, gone / MERGE_BUCKET);
        }
        if (before / MERGE_BUCKET != i / MERGE_BUCKET) {
            merge_update(&g, before / MERGE_BUCKET);
        }
    }
}

/* Merges the symbols that were added and appends their tokens. */
static int merge_flush(struct encoder *e, const struct merge_kind *kind, slm_error *err)
{
    uint32_t n = e->n_symbols;
    struct merge_symbol *symbols = (struct merge_symbol *)e->symbols.data;
    e->n_text = 0;
    e->n_symbols = 0;
    if (n > 1) {
        SLM_TRY(merge_reserve(e, n, err));
        merge_all(e, n, kind->rank);
    } else if (n == 1) {
        symbols[0].next = MERGE_NONE;
    }
    for (uint32_t i = n > 0 ? 0 : MERGE_NONE; i != MERGE_NONE; i = symbols[i].next) {
        SLM_TRY(kind->push(e, &symbols[i], err));
    }
    return SLM_OK;
}

/* Adds a symbol of 1 to 4 bytes; first and last stand for it in vocab.joins. Where nothing joins it
 * to the one before, that and all before are done: so memory is that of a word rather than of a
 * text, and most of the time in the fast caches. */
static int merge_add(struct encoder *e, const struct merge_kind *kind, const uint8_t *s,
                     size_t size, uint8_t first, uint8_t last, slm_error *err)
{
    if (e->n_symbols > 0 && !vocab_joins(e->v, e->last, first)) {
        SLM_TRY(merge_flush(e, kind, err));
    }
    uint64_t used = (uint64_t)e->n_symbols * sizeof(struct merge_symbol);
    SLM_TRY(encoder_reserve(e, &e->symbols, used + sizeof(struct merge_symbol), used, err));
    SLM_TRY(encoder_reserve(e, &e->text, (uint64_t)e->n_text + size, e->n_text, err));
    struct merge_symbol *symbol = (struct merge_symbol *)e->symbols.data + e->n_symbols++;
    uint8_t *text = (uint8_t *)e->text.data + e->n_text;
    for (size_t i = 0; i < size; i++) {
        text[i] = s[i];
    }
    symbol->start = e->n_text;
    symbol->size = (uint32_t)size;
    e->n_text += (uint32_t)size;
    e->last = last;
    return SLM_OK;
}

/* ---- SentencePiece --------------------------------------------------------------------------- */

/* The token of this text, if text may become it. (llama.cpp merges to any token, control tokens
 * too; SentencePiece keeps control, unknown and byte tokens out of the merges, and so do we: a user
 * who writes "</s>" or "<0x0A>" gets letters.) */
static int32_t spm_find(const struct encoder *e, uint32_t start, uint32_t size)
{
    struct text t = {(const char *)e->text.data + start, size};
    int32_t token = size > e->v->text_max ? -1 : vocab_find(e->v, t);
    unsigned kept_out = TOKEN_GUARDED | TOKEN_MARKUP | TOKEN_BYTE;
    return (vocab_attributes(e->v, token) & kept_out) != 0 ? -1 : token;
}

/* The higher the score, the lower the rank. */
static uint32_t spm_rank(const struct encoder *e, const struct merge_symbol *left,
                         const struct merge_symbol *right)
{
    int32_t token = spm_find(e, left->start, left->size + right->size);
    if (token < 0) {
        return MERGE_NONE;
    }
    uint32_t bits = f32_to_bits(vocab_score(e->v, token));
    bits = bits == 0x80000000u ? 0 : bits;
    return (bits & 0x80000000u) != 0 ? bits : 0x7fffffffu - bits;
}

/* What is no token goes byte by byte. */
static int spm_push_bytes(struct encoder *e, const struct merge_symbol *symbol, slm_error *err)
{
    for (uint32_t i = 0; i < symbol->size; i++) {
        int32_t byte = e->v->byte_token[((const uint8_t *)e->text.data)[symbol->start + i]];
        byte = byte >= 0 ? byte : e->v->unk;
        if (byte >= 0) {
            SLM_TRY(encoder_push(e, byte, err));
        }
    }
    return SLM_OK;
}

/* A symbol that is no token is a single character: only tokens are merged to. */
static int spm_push(struct encoder *e, const struct merge_symbol *symbol, slm_error *err)
{
    int32_t token = spm_find(e, symbol->start, symbol->size);
    return token >= 0 ? encoder_push(e, token, err) : spm_push_bytes(e, symbol, err);
}

static const struct merge_kind spm_kind = {spm_rank, spm_push};

/* Adds the character at s[0..n-1], or the byte if it is part of none. Returns its size in *size. */
static int spm_add_char(struct encoder *e, const struct merge_kind *kind, const uint8_t *s,
                        size_t n, int spaces, size_t *size, slm_error *err)
{
    const uint8_t *space = (const uint8_t *)VOCAB_SPACE;
    uint8_t last = s[0];
    *size = 1;
    if (s[0] >= 0x80) {
        unicode_decode(s, n, size);
        last = s[*size - 1];
    }
    if (spaces && (s[0] == ' ' || (*size == 3 && memcmp(s, space, 3) == 0))) {
        return merge_add(e, kind, space, 3, ' ', ' ', err);
    }
    return merge_add(e, kind, s, *size, s[0], last, err);
}

static int spm_encode_word(struct encoder *e, struct text word, slm_error *err)
{
    const uint8_t *s = (const uint8_t *)word.s;
    for (size_t at = 0, size = 1; at < word.n; at += size) {
        SLM_TRY(spm_add_char(e, &spm_kind, s + at, word.n - at, 1, &size, err));
    }
    return merge_flush(e, &spm_kind, err);
}

static int spm_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    size_t size = 0;
    if (e->v->add_space_prefix && e->after_special && fragment.n > 0) {
        SLM_TRY(spm_add_char(e, &spm_kind, (const uint8_t *)" ", 1, 1, &size, err));
        struct text word = {fragment.s, word_end(e->v, fragment, 0)};
        SLM_TRY(spm_encode_word(e, word, err)); /* with a space that is not in the text */
        fragment.s += word.n;
        fragment.n -= word.n;
    }
    return words_encode(e, fragment, spm_encode_word, err);
}

static int spm_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    (void)g;
    (void)m;
    (void)err;
    for (int32_t i = 0; i < v->n_token; i++) {
        if ((v->attributes[i] & (TOKEN_GUARDED | TOKEN_BYTE)) == 0) {
            struct text t = vocab_text(v, i);
            vocab_note_joins(v, t.s, t.n, 1);
        }
    }
    return SLM_OK;
}
