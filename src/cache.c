/* cache.c - keys and values of past positions, in pages that sequences share.
 *
 * A page holds KV_PAGE positions of all layers: for each layer K as [n_kv_head][KV_PAGE][head_dim]
 * and V as [n_kv_head][KV_PAGE][head_dim_v] (places in struct layer). A sequence is a list of pages
 * and a length. Invariants:
 *   - the list covers the length; references[p] counts the lists that hold page p, 0 = free;
 *   - a page with more than one reference is never written: cache_reserve copies it first;
 *   - the length moves last (eval_commit), so that a batch that failed was never there.
 * cache_fits counts what a call needs before anything changes; cache_reserve then cannot fail. */

struct sequence {
    int32_t length;
    int32_t n_pages;
    int32_t *pages; /* [max_pages] */
};

struct kv_cache {
    uint8_t *data; /* [n_pages][page_bytes] */
    uint64_t page_bytes;
    int32_t kv_type; /* KV_ */
    int32_t element_bytes;
    int32_t n_pages;
    int32_t n_free;
    int32_t n_sequences;
    int32_t max_pages; /* of a sequence */
    int32_t n_ctx;
    int32_t *references; /* [n_pages] */
    int32_t *writers;    /* [n_pages] scratch of cache_check, zero between calls */
    int32_t *free_pages; /* [n_free] a stack */
    struct sequence *sequences;
    int32_t *wanted; /* [n_sequences] scratch: lengths a call leads to */
};

static int32_t cache_pages_for(int32_t length)
{
    return (length + KV_PAGE - 1) / KV_PAGE;
}

/* Lays the cache out; sizes are set before. With a measuring arena nothing is written. */
static void cache_layout(struct kv_cache *c, struct arena *a)
{
    c->references = (int32_t *)arena_take(a, (uint64_t)c->n_pages, sizeof(int32_t));
    c->writers = (int32_t *)arena_take(a, (uint64_t)c->n_pages, sizeof(int32_t));
    c->free_pages = (int32_t *)arena_take(a, (uint64_t)c->n_pages, sizeof(int32_t));
    c->wanted = (int32_t *)arena_take(a, (uint64_t)c->n_sequences, sizeof(int32_t));
    c->sequences =
        (struct sequence *)arena_take(a, (uint64_t)c->n_sequences, sizeof(struct sequence));
    int32_t *lists = (int32_t *)arena_take(a, (uint64_t)c->n_sequences * (uint64_t)c->max_pages,
                                           sizeof(int32_t));
    c->data = (uint8_t *)arena_take(a, (uint64_t)c->n_pages, c->page_bytes);
    if (a->base == NULL || a->overflow) {
        return;
    }
    memset(c->references, 0, (size_t)c->n_pages * sizeof(int32_t));
    memset(c->writers, 0, (size_t)c->n_pages * sizeof(int32_t));
    for (int32_t i = 0; i < c->n_pages; i++) {
        c->free_pages[i] = c->n_pages - 1 - i;
    }
    c->n_free = c->n_pages;
    for (int32_t i = 0; i < c->n_sequences; i++) {
        c->sequences[i].length = 0;
        c->sequences[i].n_pages = 0;
        c->sequences[i].pages = lists + (size_t)i * (size_t)c->max_pages;
    }
}

static uint8_t *cache_page(const struct kv_cache *c, int32_t page)
{
    return c->data + (uint64_t)page * c->page_bytes;
}

static void cache_drop_page(struct kv_cache *c, int32_t page)
{
    SLM_ASSERT(c->references[page] > 0);
    if (--c->references[page] == 0) {
        c->free_pages[c->n_free++] = page;
    }
}

/* Gives back pages behind the first n. */
static void cache_trim(struct kv_cache *c, struct sequence *s, int32_t n)
{
    while (s->n_pages > n) {
        cache_drop_page(c, s->pages[--s->n_pages]);
    }
}

static void cache_rewind(struct kv_cache *c, int32_t sequence, int32_t length)
{
    struct sequence *s = &c->sequences[sequence];
    s->length = length;
    cache_trim(c, s, cache_pages_for(length));
}

static void cache_fork(struct kv_cache *c, int32_t from, int32_t to)
{
    struct sequence *source = &c->sequences[from];
    struct sequence *target = &c->sequences[to];
    if (from == to) {
        return;
    }
    cache_rewind(c, to, 0);
    cache_trim(c, source, cache_pages_for(source->length));
    for (int32_t i = 0; i < source->n_pages; i++) {
        c->references[source->pages[i]]++;
        target->pages[i] = source->pages[i];
    }
    target->n_pages = source->n_pages;
    target->length = source->length;
}

/* The page that writing position `length` would change, if it is shared; else -1. */
static int32_t cache_shared_tail(const struct kv_cache *c, const struct sequence *s)
{
    if (s->length % KV_PAGE == 0) {
        return -1;
    }
    int32_t page = s->pages[s->length / KV_PAGE];
    return c->references[page] > 1 ? page : -1;
}

/* Are there pages enough for every sequence i to grow to wanted[i]? Of k sequences that share a
 * tail page with r references and all write it, the last one may keep it if no one else holds it.
 */
static int cache_fits(struct kv_cache *c)
{
    int64_t needed = 0;
    for (int32_t i = 0; i < c->n_sequences; i++) {
        const struct sequence *s = &c->sequences[i];
        if (c->wanted[i] <= s->length) {
            continue;
        }
        needed += cache_pages_for(c->wanted[i]) - s->n_pages;
        int32_t tail = cache_shared_tail(c, s);
        if (tail >= 0 && ++c->writers[tail] < c->references[tail]) {
            needed++;
        }
    }
    for (int32_t i = 0; i < c->n_sequences; i++) {
        int32_t tail = cache_shared_tail(c, &c->sequences[i]);
        if (tail >= 0) {
            c->writers[tail] = 0;
        }
    }
    return needed <= c->n_free;
}

static int32_t cache_new_page(struct kv_cache *c)
{
    SLM_ASSERT(c->n_free > 0);
    int32_t page = c->free_pages[--c->n_free];
    c->references[page] = 1;
    return page;
}

/* Makes positions length..length+n-1 writable. Only after cache_fits said yes. */
static void cache_reserve(struct kv_cache *c, int32_t sequence, int32_t n)
{
    struct sequence *s = &c->sequences[sequence];
    int32_t tail = cache_shared_tail(c, s);
    if (tail >= 0) {
        int32_t copy = cache_new_page(c);
        memcpy(cache_page(c, copy), cache_page(c, tail), (size_t)c->page_bytes);
        s->pages[s->length / KV_PAGE] = copy;
        cache_drop_page(c, tail);
    }
    while (s->n_pages < cache_pages_for(s->length + n)) {
        s->pages[s->n_pages++] = cache_new_page(c);
    }
}
