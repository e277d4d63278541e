/* trie.c - the tokens that begin at a place of a text, found byte by byte.
 *
 * Owns one block: the nodes in order of depth, so that the children of a node stand together, in
 * order of their bytes. It is filled from the tokens in order, in which the nodes of one depth come in
 * order too: so each has its final place when it is met. */

struct trie {
    uint32_t n_nodes; /* 0: empty; node 0 is the root */
    uint32_t *first;  /* [n_nodes + 1] child; those of the next node follow */
    uint32_t *start;  /* [256] children of the root by byte, or 0 */
    int32_t *token;   /* [n_nodes] whose text ends here, or -1 */
    uint8_t *bytes;   /* [n_nodes] the last byte of what leads here */
    void *block;
    uint64_t block_size;
};

/* ---- Order ----------------------------------------------------------------------------------- */

/* A text by its first 8 bytes, the first one highest. */
struct trie_key {
    uint64_t key; /* once counted: how many bytes it has in common with the text before */
    const char *s;
    uint32_t size;
    int32_t token;
};

static struct trie_key trie_key_of(struct text t, int32_t token)
{
    struct trie_key k = {0, t.s, (uint32_t)t.n, token};
    for (size_t i = 0; i < 8; i++) {
        k.key = k.key << 8 | (i < t.n ? (uint8_t)t.s[i] : 0);
    }
    return k;
}

/* What a trie is made from: texts of which none is longer than `deepest`. */
struct trie_plan {
    struct trie_key *keys; /* [2 n] the first n are given, in any order */
    uint32_t n;
    uint32_t *order;  /* [n] */
    unsigned n_bits;  /* 16, or 8 for few texts: keys are sorted by so many bits at once */
    uint32_t *starts; /* [2^n_bits] */
    uint32_t deepest;
    uint32_t *next; /* [deepest + 2] how many nodes of each depth, then the next free one */
    uint32_t *path; /* [deepest + 2] the node of each depth that the current text leads through */
};

/* Room for n texts. */
static void trie_plan_layout(struct trie_plan *p, struct arena *a)
{
    p->keys = (struct trie_key *)arena_take(a, (uint64_t)p->n * 2, sizeof *p->keys);
    p->order = (uint32_t *)arena_take(a, p->n, sizeof *p->order);
    p->n_bits = p->n < 16384 ? 8 : 16;
    p->starts = (uint32_t *)arena_take(a, (uint64_t)1 << p->n_bits, sizeof *p->starts);
    p->next = (uint32_t *)arena_take(a, (uint64_t)p->deepest + 2, sizeof *p->next);
    p->path = (uint32_t *)arena_take(a, (uint64_t)p->deepest + 2, sizeof *p->path);
}

#define TRIE_AHEAD 16u

/* The texts of keys in order lie anywhere: who reads them asks for those to come. */
static void trie_fetch(const struct trie_key *keys, uint32_t i, uint32_t n)
{
#if defined(__GNUC__) || defined(__clang__)
    if (i + TRIE_AHEAD < n) {
        __builtin_prefetch(keys[i + TRIE_AHEAD].s);
    }
#else
    (void)keys;
    (void)i;
    (void)n;
#endif
}

/* Sorts by n_bits of the keys, and leaves equals in their order. starts has a place for each value
 * they can have. */
static void trie_sort_bits(const struct trie_key *from, struct trie_key *to, uint32_t n,
                           unsigned shift, unsigned n_bits, uint32_t *starts)
{
    uint32_t used = 0;
    uint32_t mask = (1u << n_bits) - 1;
    memset(starts, 0, ((size_t)mask + 1) * sizeof *starts);
    for (uint32_t i = 0; i < n; i++) {
        starts[from[i].key >> shift & mask]++;
    }
    for (uint32_t digit = 0; digit <= mask; digit++) {
        uint32_t count = starts[digit];
        starts[digit] = used;
        used += count;
    }
    for (uint32_t i = 0; i < n; i++) {
        to[starts[from[i].key >> shift & mask]++] = from[i];
    }
}

static struct text trie_text_of(const void *keys, uint64_t i)
{
    const struct trie_key *k = (const struct trie_key *)keys + i;
    struct text t = {k->s, k->size};
    return t;
}

/* Puts the keys in order: by their first 8 bytes in 4 or 8 passes, those that have these in common
 * by table_sort. */
static void trie_sort(const struct trie_plan *p)
{
    struct trie_key *keys = p->keys;
    struct trie_key *spare = p->keys + p->n;
    uint32_t *order = p->order;
    uint32_t n = p->n;
    struct table texts = table_make(NULL, 0, trie_text_of, keys);
    for (unsigned shift = 0; shift < 64; shift += 2 * p->n_bits) {
        trie_sort_bits(keys, spare, n, shift, p->n_bits, p->starts);
        trie_sort_bits(spare, keys, n, shift + p->n_bits, p->n_bits, p->starts);
    }
    for (uint32_t start = 0, end = 0; start < n; start = end) {
        while (end < n && keys[end].key == keys[start].key) {
            order[end] = end;
            trie_fetch(keys, end++, n);
        }
        if (end - start > 1) {
            table_sort(&texts, order + start, end - start, (uint32_t *)(void *)spare);
            for (uint32_t i = start; i < end; i++) {
                spare[i] = keys[order[i]];
            }
            memcpy(keys + start, spare + start, (end - start) * sizeof *keys);
        }
    }
}

/* How many bytes neighbours in order begin with in common. */
static uint32_t trie_common(const struct trie_key *a, const struct trie_key *b)
{
    uint32_t most = a->size < b->size ? a->size : b->size;
    uint32_t n = 0;
    if (a->key != b->key) {
        while ((a->key ^ b->key) >> (56 - 8 * n) == 0) {
            n++;
        }
        return n < most ? n : most; /* what a text is too short for are zeros */
    }
    while (n < most && a->s[n] == b->s[n]) {
        n++;
    }
    return n;
}

/* ---- Building -------------------------------------------------------------------------------- */

/* Counts the nodes of each depth, then says where each depth begins. Returns how many there are. */
static uint64_t trie_count(const struct trie_plan *p)
{
    uint64_t used = 0;
    struct trie_key last = {0, "", 0, -1};
    for (uint32_t d = 0; d < p->deepest + 2; d++) {
        p->next[d] = 0;
    }
    p->next[0] = 1;
    for (uint32_t i = 0; i < p->n; i++) {
        struct trie_key k = p->keys[i];
        trie_fetch(p->keys, i, p->n);
        p->keys[i].key = trie_common(&last, &k);
        for (uint32_t d = (uint32_t)p->keys[i].key + 1; d <= k.size; d++) {
            p->next[d]++;
        }
        last = k;
    }
    for (uint32_t d = 0; d < p->deepest + 2; d++) {
        uint32_t n = p->next[d];
        p->next[d] = (uint32_t)used;
        used += n;
    }
    return used;
}

static void trie_layout(struct trie *t, struct arena *a)
{
    t->first = (uint32_t *)arena_take(a, (uint64_t)t->n_nodes + 1, sizeof(uint32_t));
    t->start = (uint32_t *)arena_take(a, 256, sizeof(uint32_t));
    t->token = (int32_t *)arena_take(a, t->n_nodes, sizeof(int32_t));
    t->bytes = (uint8_t *)arena_take(a, t->n_nodes, 1);
}

/* Makes the next node of a depth. Its children are the next ones one deeper, if it has any. */
static void trie_add(struct trie *t, const struct trie_plan *p, uint32_t depth, uint8_t byte)
{
    uint32_t node = p->next[depth]++;
    p->path[depth] = node;
    t->first[node] = p->next[depth + 1];
    t->token[node] = -1;
    t->bytes[node] = byte;
}

/* Of tokens with the same text the first stays. An empty text is never found. */
static void trie_fill(struct trie *t, const struct trie_plan *p)
{
    trie_add(t, p, 0, 0);
    for (uint32_t i = 0; i < p->n; i++) {
        const struct trie_key *k = &p->keys[i];
        trie_fetch(p->keys, i, p->n);
        for (uint32_t d = (uint32_t)k->key + 1; d <= k->size; d++) {
            uint8_t byte = (uint8_t)k->s[d - 1];
            trie_add(t, p, d, byte);
            if (d == 1) {
                t->start[byte] = p->path[1];
            }
        }
        int32_t *token = &t->token[p->path[k->size]];
        *token = k->size > 0 && *token < 0 ? k->token : *token;
    }
    t->first[t->n_nodes] = t->n_nodes;
}

/* On failure nothing is left to free. */
static int trie_build(struct trie *t, const struct trie_plan *p, struct memory *m, slm_error *err)
{
    struct arena a = {NULL, 0, 0};
    trie_sort(p);
    uint64_t n_nodes = trie_count(p);
    t->n_nodes = (uint32_t)n_nodes;
    trie_layout(t, &a);
    t->block = a.overflow || n_nodes >= UINT32_MAX ? NULL : memory_take(m, a.used);
    t->block_size = a.used;
    if (t->block == NULL) {
        memset(t, 0, sizeof *t);
        return memory_error(m, a.used, "tokens by bytes", err);
    }
    a.base = (uint8_t *)t->block;
    a.used = 0;
    trie_layout(t, &a);
    memset(t->start, 0, 256 * sizeof *t->start);
    trie_fill(t, p);
    return SLM_OK;
}

static void trie_free(struct trie *t, struct memory *m)
{
    memory_give(m, t->block, t->block_size);
    memset(t, 0, sizeof *t);
}

/* ---- Finding --------------------------------------------------------------------------------- */

/* The node behind `node` and this byte; 0 if no token goes on so. */
static uint32_t trie_step(const struct trie *t, uint32_t node, uint8_t byte)
{
    if (node == 0) {
        return t->start[byte];
    }
    uint32_t low = t->first[node];
    uint32_t end = t->first[node + 1];
    uint32_t high = end;
    while (high - low > 4) {
        uint32_t middle = low + (high - low) / 2;
        if (t->bytes[middle] < byte) {
            low = middle + 1;
        } else {
            high = middle + 1;
        }
    }
    while (low < high && t->bytes[low] < byte) {
        low++;
    }
    return low < end && t->bytes[low] == byte ? low : 0;
}

/* The longest token that begins at `at`, and its size; -1 if there is none. */
static int32_t trie_longest(const struct trie *t, const uint8_t *s, size_t at, size_t end,
                            size_t *size)
{
    int32_t token = -1;
    uint32_t node = 0;
    for (size_t i = at; i < end; i++) {
        node = trie_step(t, node, s[i]);
        if (node == 0) {
            break;
        }
        if (t->token[node] >= 0) {
            token = t->token[node];
            *size = i + 1 - at;
        }
    }
    return token;
}
