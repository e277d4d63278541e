/* trie.c - the tokens that begin at a place of a text, found byte by byte.
 *
 * Owns one block: the nodes in order of depth, so that the children of a node stand together, in
 * order of their bytes. Built by way of lists of children, which no choice of texts can make longer
 * than 256; and quickly if the tokens come in order, because then a child is the last one. */

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
    uint64_t key;
    uint32_t index;
};

static uint64_t trie_key_of(struct text t)
{
    uint64_t key = 0;
    for (size_t i = 0; i < 8; i++) {
        key = key << 8 | (i < t.n ? (uint8_t)t.s[i] : 0);
    }
    return key;
}

/* Sorts by one byte of the keys, and leaves equals in their order. */
static void trie_sort_byte(const struct trie_key *from, struct trie_key *to, uint32_t n,
                           unsigned shift)
{
    uint32_t start[257] = {0};
    for (uint32_t i = 0; i < n; i++) {
        start[(from[i].key >> shift & 255) + 1]++;
    }
    for (int b = 0; b < 256; b++) {
        start[b + 1] += start[b];
    }
    for (uint32_t i = 0; i < n; i++) {
        to[start[from[i].key >> shift & 255]++] = from[i];
    }
}

/* Writes the indices of the n texts of a table in order: by their first 8 bytes in 8 passes, the few
 * that have these in common by table_sort. keys has room for 2 n. */
static void trie_order(const struct table *t, uint32_t *order, struct trie_key *keys, uint32_t n)
{
    struct trie_key *from = keys;
    struct trie_key *to = keys + n;
    for (uint32_t i = 0; i < n; i++) {
        from[i].key = trie_key_of(t->text_of(t->owner, i));
        from[i].index = i;
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        struct trie_key *sorted = to;
        trie_sort_byte(from, to, n, shift);
        to = from;
        from = sorted;
    }
    for (uint32_t i = 0; i < n; i++) {
        order[i] = from[i].index;
    }
    for (uint32_t start = 0, end = 0; start < n; start = end) {
        while (end < n && from[end].key == from[start].key) {
            end++;
        }
        table_sort(t, order + start, end - start, (uint32_t *)(void *)to);
    }
}

/* ---- Building -------------------------------------------------------------------------------- */

/* While it is built: children are lists in order of their bytes. */
struct trie_node {
    uint32_t child; /* the first */
    uint32_t last;
    uint32_t next;
    int32_t token;
    uint8_t byte;
};

struct trie_builder {
    struct memory *m;
    void *nodes; /* struct trie_node [n] */
    uint64_t capacity;
    uint64_t n;
};

static int trie_add_node(struct trie_builder *b, struct trie_node node, slm_error *err)
{
    SLM_TRY(gguf_grow(b->m, &b->nodes, &b->capacity, b->n, sizeof node, "tokens by bytes", err));
    ((struct trie_node *)b->nodes)[b->n++] = node;
    return SLM_OK;
}

static int trie_begin(struct trie_builder *b, struct memory *m, slm_error *err)
{
    struct trie_node root = {0, 0, 0, -1, 0};
    memset(b, 0, sizeof *b);
    b->m = m;
    return trie_add_node(b, root, err);
}

static void trie_drop(struct trie_builder *b)
{
    memory_give(b->m, b->nodes, b->capacity * sizeof(struct trie_node));
}

/* The child of a node by this byte, made if there is none; 0 without memory. */
static uint32_t trie_child(struct trie_builder *b, uint32_t node, uint8_t byte, slm_error *err)
{
    struct trie_node *nodes = (struct trie_node *)b->nodes;
    uint32_t before = nodes[node].last;
    uint32_t after = 0;
    if (before != 0 && nodes[before].byte == byte) {
        return before;
    }
    if (before != 0 && nodes[before].byte > byte) {
        before = 0;
        after = nodes[node].child;
        while (nodes[after].byte < byte) {
            before = after;
            after = nodes[after].next;
        }
        if (nodes[after].byte == byte) {
            return after;
        }
    }
    struct trie_node child = {0, 0, after, -1, byte};
    uint32_t made = (uint32_t)b->n;
    if (trie_add_node(b, child, err) != SLM_OK) { /* the nodes may move */
        return 0;
    }
    nodes = (struct trie_node *)b->nodes;
    *(before != 0 ? &nodes[before].next : &nodes[node].child) = made;
    nodes[node].last = after == 0 ? made : nodes[node].last;
    return made;
}

/* Of tokens with the same text the first stays. An empty text is never found. */
static int trie_add(struct trie_builder *b, const uint8_t *s, size_t n, int32_t token,
                    slm_error *err)
{
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        node = trie_child(b, node, s[i], err);
        if (node == 0) {
            return SLM_E_MEMORY;
        }
    }
    int32_t *last = &((struct trie_node *)b->nodes)[node].token;
    *last = n > 0 && (*last < 0 || token < *last) ? token : *last;
    return SLM_OK;
}

static void trie_layout(struct trie *t, struct arena *a)
{
    t->first = (uint32_t *)arena_take(a, (uint64_t)t->n_nodes + 1, sizeof(uint32_t));
    t->start = (uint32_t *)arena_take(a, 256, sizeof(uint32_t));
    t->token = (int32_t *)arena_take(a, t->n_nodes, sizeof(int32_t));
    t->bytes = (uint8_t *)arena_take(a, t->n_nodes, 1);
}

/* Numbers the nodes anew, all of one depth after another. Which old node a new one was is kept in
 * `first` until its turn comes. */
static void trie_fill(struct trie *t, const struct trie_node *nodes)
{
    uint32_t used = 1;
    t->first[0] = 0;
    t->token[0] = -1;
    for (uint32_t node = 0; node < t->n_nodes; node++) {
        uint32_t child = nodes[t->first[node]].child;
        t->first[node] = used;
        for (; child != 0; child = nodes[child].next) {
            t->bytes[used] = nodes[child].byte;
            t->token[used] = nodes[child].token;
            t->start[nodes[child].byte] = node == 0 ? used : t->start[nodes[child].byte];
            t->first[used++] = child;
        }
    }
    SLM_ASSERT(used == t->n_nodes);
    t->first[used] = used;
}

/* Frees what was built with, and on failure leaves nothing else. */
static int trie_finish(struct trie *t, struct trie_builder *b, slm_error *err)
{
    struct arena a = {NULL, 0, 0};
    t->n_nodes = (uint32_t)b->n;
    trie_layout(t, &a);
    t->block = a.overflow ? NULL : memory_take(b->m, a.used);
    t->block_size = a.used;
    if (t->block == NULL) {
        int status = memory_error(b->m, a.used, "tokens by bytes", err);
        trie_drop(b);
        memset(t, 0, sizeof *t);
        return status;
    }
    memset(t->block, 0, (size_t)a.used);
    a.base = (uint8_t *)t->block;
    a.used = 0;
    trie_layout(t, &a);
    trie_fill(t, (const struct trie_node *)b->nodes);
    trie_drop(b);
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
