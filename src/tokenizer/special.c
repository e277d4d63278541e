/* special.c - special tokens in a text.
 *
 * Special tokens are found before anything else, on the raw bytes, the longest first over the whole
 * text: control and unknown tokens only where the caller asks (SLM_TEXT_SPECIAL), user-defined ones
 * always; in a chat's content only those that are no markup. What lies between goes to the
 * algorithm, whose lookups never yield a control token or markup. So text cannot produce one,
 * whatever it says. vocab.c has the structs. */

/* ---- The automaton --------------------------------------------------------------------------- */

static struct text special_text(const struct vocab *v, uint32_t token)
{
    return vocab_text(v, (int32_t)token);
}

static int special_wanted(const struct vocab *v, uint32_t token, unsigned without)
{
    return (v->attributes[token] & without) == 0;
}

/* Counts what the automaton of those of order[0..n-1] that have none of the attributes `without`
 * will have: tokens, and what they begin with. */
static struct specials special_count(const struct vocab *v, const uint32_t *order, uint32_t n,
                                     unsigned without)
{
    struct specials s = {0, 1, NULL, NULL, NULL, NULL};
    struct text last = {"", 0};
    for (uint32_t i = 0; i < n; i++) {
        if (special_wanted(v, order[i], without)) {
            struct text t = special_text(v, order[i]);
            size_t same = 0;
            while (same < t.n && same < last.n && t.s[same] == last.s[same]) {
                same++;
            }
            s.n_nodes += (uint32_t)(t.n - same);
            s.n++;
            last = t;
        }
    }
    return s;
}

static void special_layout(struct specials *s, struct arena *a)
{
    if (s->n > 0) {
        s->list = (struct special *)arena_take(a, (uint64_t)s->n + 1, sizeof(struct special));
        s->nodes = (struct special_node *)arena_take(a, (uint64_t)s->n_nodes + 1,
                                                     sizeof(struct special_node));
        s->bytes = (uint8_t *)arena_take(a, s->n_nodes, 1);
        s->start = (uint32_t *)arena_take(a, 256, sizeof(uint32_t));
    }
}

/* The node behind `node` and this byte: a child, or that of the longest of its ends that has one.
 * A node is never deeper than there are bytes read: following `fail` takes no time on average. */
static uint32_t special_step(const struct specials *s, uint32_t node, uint8_t byte)
{
    while (node != 0) {
        uint32_t low = s->nodes[node].first;
        uint32_t end = s->nodes[node + 1].first;
        uint32_t high = end;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (s->bytes[middle] < byte) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low < end && s->bytes[low] == byte) {
            return low;
        }
        node = s->nodes[node].fail;
    }
    return s->start[byte];
}

/* Token k ends with token `shorter`. Jumps are those of a skew-binary list (Myers 1983). */
static void special_chain(struct specials *s, uint32_t k, uint32_t shorter)
{
    const struct special *next = &s->list[shorter];
    const struct special *jump = &s->list[next->jump];
    const struct special *over = &s->list[jump->jump];
    int equal = next->n_shorter - jump->n_shorter == jump->n_shorter - over->n_shorter;
    s->list[k].shorter = shorter;
    s->list[k].n_shorter = next->n_shorter + 1;
    s->list[k].jump = equal ? jump->jump : shorter;
}

/* The longest of token k and those it ends with that has at most `most` bytes; 0 if none has. */
static uint32_t special_within(const struct specials *s, uint32_t k, uint32_t most)
{
    while (s->list[k].size > most) {
        uint32_t jump = s->list[k].jump;
        k = s->list[jump].size > most ? jump : s->list[k].shorter;
    }
    return k;
}

/* Makes the children of a node, one for each byte that stands at `depth` in the tokens low..high-1.
 * What a child is for is kept in its fields until its turn comes. */
static void special_grow(const struct vocab *v, struct specials *s, uint32_t node, uint32_t depth,
                         uint32_t low, uint32_t high, uint32_t *used)
{
    while (low < high) {
        uint8_t byte = (uint8_t)vocab_text(v, s->list[low].token).s[depth];
        uint32_t child = (*used)++;
        s->bytes[child] = byte;
        s->nodes[child].fail = node == 0 ? 0 : special_step(s, s->nodes[node].fail, byte);
        s->nodes[child].first = low;
        while (low < high && (uint8_t)vocab_text(v, s->list[low].token).s[depth] == byte) {
            low++;
        }
        s->nodes[child].longest = low;
        if (node == 0) {
            s->start[byte] = child;
        }
    }
}

/* Fills the automaton, all nodes of one depth after another: ends are shorter, so they are ready. */
static void special_fill(const struct vocab *v, struct specials *s)
{
    uint32_t used = 1;
    uint32_t depth = 0;
    uint32_t depth_end = 1;
    s->nodes[0].first = 1;
    s->nodes[0].longest = s->n + 1;
    for (uint32_t node = 0; node < s->n_nodes; node++) {
        struct special_node *at = &s->nodes[node];
        uint32_t low = at->first;
        uint32_t high = at->longest;
        if (node == depth_end) {
            depth++;
            depth_end = used;
        }
        at->first = used;
        at->longest = node == 0 ? 0 : s->nodes[at->fail].longest;
        if (node > 0 && s->list[low].size == depth) { /* the shortest stands first */
            special_chain(s, low, at->longest);
            at->longest = low++;
        }
        special_grow(v, s, node, depth, low, high, &used);
    }
    SLM_ASSERT(used == s->n_nodes);
    s->nodes[used].first = used;
}

static void special_list(const struct vocab *v, struct specials *s, const uint32_t *order,
                         uint32_t n, unsigned without)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < n && s->n > 0; i++) {
        if (special_wanted(v, order[i], without)) {
            struct special *to = &s->list[++used];
            to->token = (int32_t)order[i];
            to->size = (uint32_t)special_text(v, order[i]).n;
        }
    }
    if (s->n > 0) {
        special_fill(v, s);
    }
}

/* ---- Markup ---------------------------------------------------------------------------------- */

/* Elements of HTML that vocabularies have as tokens and people as text. */
static const char *const special_html[] = {
    "a",  "b",     "blockquote", "body",  "br",    "caption", "code", "div",  "em",    "h1",
    "h2", "h3",    "h4",         "h5",    "h6",    "head",    "hr",   "html", "i",     "img",
    "li", "ol",    "p",          "pre",   "span",  "strong",  "sub",  "sup",  "table", "tbody",
    "td", "tfoot", "th",         "thead", "title", "tr",      "u",    "ul"};

static int special_is_html(struct text name)
{
    for (int32_t i = 0; i < SLM_COUNT(special_html); i++) {
        if (text_is(name, special_html[i])) {
            return 1;
        }
    }
    return 0;
}

/* Many files have tokens that frame messages, reasoning and calls as user-defined: <|start|> of
 * gpt-oss, <|tool_response> of Gemma 4, <tool_call> of Qwen. What they have in common is <...>, but
 * for HTML, or [WORD] in capitals. */
static int special_is_markup(struct text t)
{
    if (t.n < 3 || (t.s[0] != '<' && t.s[0] != '[')) {
        return 0;
    }
    if (t.s[0] == '<') {
        size_t slash = t.s[1] == '/' ? 1 : 0;
        struct text name = {t.s + 1 + slash, t.n - 2 - slash};
        return t.s[t.n - 1] == '>' && !special_is_html(name);
    }
    for (size_t i = 1; i + 1 < t.n; i++) {
        char c = t.s[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/')) {
            return 0;
        }
    }
    return t.s[t.n - 1] == ']';
}

/* ---- Loading --------------------------------------------------------------------------------- */

/* The automata for the special tokens order[0..n-1], sorted by text. */
static int special_load(struct vocab *v, const uint32_t *order, uint32_t n, struct memory *m,
                        slm_error *err)
{
    struct arena a = {NULL, 0, 0};
    v->special = special_count(v, order, n, 0);
    v->user = special_count(v, order, n, TOKEN_GUARDED);
    v->plain = special_count(v, order, n, TOKEN_GUARDED | TOKEN_MARKUP);
    int has_markup = PROFILE_CHAT && v->plain.n < v->user.n;
    special_layout(&v->special, &a);
    special_layout(&v->user, &a);
    if (has_markup) {
        special_layout(&v->plain, &a);
    }
    v->special_block = a.overflow ? NULL : memory_take(m, a.used);
    if (v->special_block == NULL) {
        return memory_error(m, a.used, "special tokens", err);
    }
    v->special_block_size = a.used;
    memset(v->special_block, 0, (size_t)a.used);
    a.base = (uint8_t *)v->special_block;
    a.used = 0;
    special_layout(&v->special, &a);
    special_layout(&v->user, &a);
    special_list(v, &v->special, order, n, 0);
    special_list(v, &v->user, order, n, TOKEN_GUARDED);
    if (has_markup) {
        special_layout(&v->plain, &a);
        special_list(v, &v->plain, order, n, TOKEN_GUARDED | TOKEN_MARKUP);
    } else {
        v->plain = v->user;
    }
    return SLM_OK;
}

/* Types must be settled. Of tokens with the same text the first is found by it, special or not. */
static int vocab_load_specials(struct vocab *v, struct memory *m, slm_error *err)
{
    uint32_t n = 0;
    uint32_t used = 0;
    for (int32_t i = 0; i < v->n_token; i++) {
        n += (v->attributes[i] & TOKEN_SPECIAL) != 0;
        if (PROFILE_CHAT && (v->attributes[i] & TOKEN_USER) != 0 &&
            special_is_markup(vocab_text(v, i))) {
            v->attributes[i] |= TOKEN_MARKUP;
        }
    }
    if (n == 0) {
        return SLM_OK;
    }
    uint64_t bytes = ((uint64_t)n + n / 2) * sizeof(uint32_t);
    uint32_t *order = (uint32_t *)memory_take(m, bytes);
    if (order == NULL) {
        return memory_error(m, bytes, "special tokens", err);
    }
    for (int32_t i = 0; i < v->n_token; i++) {
        if ((v->attributes[i] & TOKEN_SPECIAL) != 0 && vocab_find(v, vocab_text(v, i)) == i) {
            order[used++] = (uint32_t)i;
        }
    }
    table_sort(&v->by_text, order, used, order + n);
    int status = special_load(v, order, used, m, err);
    memory_give(m, order, bytes);
    return status;
}

/* ---- Finding them in a text ------------------------------------------------------------------ */

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
    return PROFILE_CHAT && m->is_user ? w->users : w->specials;
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
            if (match.special != 0) {
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
    w->users = e->marks != NULL ? &e->v->plain : NULL;
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
