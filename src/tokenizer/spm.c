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
    uint64_t hash; /* of the text, for bpe.c */
};

/* The rank of merging two neighbours, MERGE_NONE if they do not. */
typedef uint32_t (*merge_rank_fn)(const struct encoder *e, const struct merge_symbol *left,
                                  const struct merge_symbol *right);

/* Called on the left symbol when it has swallowed the right one. */
typedef void (*merge_done_fn)(const struct encoder *e, struct merge_symbol *left);

struct merge {
    struct merge_symbol *symbols; /* [n] */
    uint32_t *ranks;              /* [n rounded up to buckets] of symbol i with the next one */
    uint64_t *tree;  /* [2 n_leaf] lowest rank below in the high half, its symbol; 1 is the root */
    uint32_t n_leaf; /* a power of two */
};

static int merge_reserve(struct encoder *e, uint64_t n, slm_error *err)
{
    uint64_t buckets = n / MERGE_BUCKET + 1;
    uint64_t leaves = 1;
    while (leaves < buckets) {
        leaves *= 2;
    }
    SLM_TRY(encoder_reserve(e, &e->symbols, n * sizeof(struct merge_symbol), 0, err));
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

/* Chains the n >= 1 symbols (start, size and hash are set), and ranks all pairs. */
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

/* Merges until no pair has a rank. Symbol 0 stays the first; follow next. */
static void merge_all(struct encoder *e, uint32_t n, merge_rank_fn rank, merge_done_fn done)
{
    struct merge g = merge_begin(e, n, rank);
    while (g.tree[1] >> 32 != MERGE_NONE) {
        uint32_t i = (uint32_t)g.tree[1];
        struct merge_symbol *left = &g.symbols[i];
        uint32_t gone = left->next;
        left->size += g.symbols[gone].size;
        left->next = g.symbols[gone].next;
        if (left->next != MERGE_NONE) {
            g.symbols[left->next].prev = i;
        }
        done(e, left);
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

/* ---- SentencePiece --------------------------------------------------------------------------- */

/* The token of this text, if text may become it. (llama.cpp merges to any token, control tokens
 * too; SentencePiece keeps control, unknown and byte tokens out of the merges, and so do we: a user
 * who writes "</s>" or "<0x0A>" gets letters.) */
static int32_t spm_find(const struct encoder *e, uint32_t start, uint32_t size)
{
    struct text t = {(const char *)e->text.data + start, size};
    int32_t token = size > e->v->text_max ? -1 : vocab_find(e->v, t);
    return (vocab_attributes(e->v, token) & (TOKEN_GUARDED | TOKEN_BYTE)) != 0 ? -1 : token;
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

static void spm_done(const struct encoder *e, struct merge_symbol *left)
{
    (void)e;
    (void)left;
}

/* Writes spaces as U+2581 where `spaces` says so, one in front where `prefix` does, and makes a
 * symbol of each character, and of each byte that is part of none. */
static uint32_t spm_split(struct encoder *e, struct text fragment, int prefix, int spaces)
{
    uint8_t *out = (uint8_t *)e->text.data;
    struct merge_symbol *symbols = (struct merge_symbol *)e->symbols.data;
    const uint8_t *s = (const uint8_t *)fragment.s;
    uint32_t used = 0;
    uint32_t n = 0;
    size_t at = 0;
    while (at < fragment.n || prefix) {
        size_t size = 1;
        symbols[n].start = used;
        if (prefix || (spaces && s[at] == ' ')) {
            memcpy(out + used, VOCAB_SPACE, 3);
            used += 3;
            size = prefix ? 0 : 1;
            prefix = 0;
        } else {
            unicode_decode(s + at, fragment.n - at, &size);
            memcpy(out + used, s + at, size);
            used += (uint32_t)size;
        }
        symbols[n].size = used - symbols[n].start;
        at += size;
        n++;
    }
    return n;
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

/* The end of the word at `at`: words begin at a space that follows something else, where no token
 * reaches from that into the space. Memory is then that of a word rather than of a text. */
static size_t spm_word_end(const struct vocab *v, struct text t, size_t at)
{
    size_t end = at + 1;
    while (end < t.n &&
           (t.s[end] != ' ' || t.s[end - 1] == ' ' || v->joins_space[(uint8_t)t.s[end - 1]] ||
            (end >= 3 && vocab_is_space_at(t, end - 3)))) {
        end++;
    }
    return end;
}

static int spm_encode_word(struct encoder *e, struct text word, int prefix, slm_error *err)
{
    SLM_TRY(encoder_reserve(e, &e->text, (uint64_t)word.n * 3 + 3, 0, err));
    SLM_TRY(merge_reserve(e, (uint64_t)word.n + 1, err));
    uint32_t n = spm_split(e, word, prefix, 1);
    merge_all(e, n, spm_rank, spm_done);
    const struct merge_symbol *symbols = (const struct merge_symbol *)e->symbols.data;
    for (uint32_t i = 0; i != MERGE_NONE; i = symbols[i].next) {
        SLM_TRY(spm_push(e, &symbols[i], err));
    }
    return SLM_OK;
}

static int spm_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    int prefix = e->v->add_space_prefix && e->after_special;
    for (size_t at = 0; at < fragment.n;) {
        size_t end = spm_word_end(e->v, fragment, at);
        struct text word = {fragment.s + at, end - at};
        SLM_TRY(spm_encode_word(e, word, prefix && at == 0, err));
        at = end;
    }
    return SLM_OK;
}
