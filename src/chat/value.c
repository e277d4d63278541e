/* value.c - what templates compute with: strings that know where each byte comes from, lists,
 * dictionaries, scalars; and the memory and the time that one call may take.
 *
 * Invariant: every byte of a string is marked CHAT_TEMPLATE or CHAT_CONTENT. A byte is of the
 * template only if it was copied from the template's own text (or from a text that the caller of the
 * library vouches for, such as the start token); everything that came from the inputs, and every byte
 * that the engine made up from them, is content. There is no function that makes a string without
 * saying which. tests/test_templates.c tries to get around it.
 *
 * Values are immutable once they are visible to a template, but for namespaces, as in the sandbox
 * that templates are written for. All memory is given back at once at the end of the call. */

/* ---- One call: memory, steps, errors --------------------------------------------------------- */

#define CHAT_BLOCK_BYTES ((uint64_t)16 << 10)

struct chat_block {
    struct chat_block *next;
    uint64_t size;
};

struct chat {
    struct memory *memory;
    struct chat_block *blocks;
    uint8_t *rest; /* of the newest block */
    uint64_t n_rest;
    uint64_t bytes; /* taken so far */
    uint64_t steps; /* left */
    int32_t line;   /* of the template, 0: not there yet */
    int32_t depth;  /* of calls inside calls */
    int refused;    /* the status of the last chat_take that gave nothing */
    slm_error *err;
};

static struct chat chat_begin(struct memory *memory, slm_error *err)
{
    struct chat c = {memory, NULL, NULL, 0, 0, LIMIT_RENDER_STEPS, 0, 0, SLM_OK, err};
    return c;
}

static void chat_end(struct chat *c)
{
    while (c->blocks != NULL) {
        struct chat_block *block = c->blocks;
        c->blocks = block->next;
        memory_give(c->memory, block, block->size);
    }
}

static void SLM_PRINTF(2, 3) SLM_NOINLINE chat_tell(struct chat *c, const char *format, ...)
{
    char text[240];
    va_list args;
    va_start(args, format);
    format_text_va(text, sizeof text, format, args);
    va_end(args);
    if (c->line == 0) {
        error_set(c->err, SLM_E_TEMPLATE, -1, "%s", text);
    } else {
        error_set(c->err, SLM_E_TEMPLATE, c->line, "line %d: %s", c->line, text);
    }
}

/* A constant, so that compilers see that what is set on success is set where it is read. */
#define chat_fail(...) (chat_tell(__VA_ARGS__), SLM_E_TEMPLATE)

/* Whatever takes time that the template or the inputs decide on pays for it here. */
static int chat_work(struct chat *c, uint64_t steps)
{
    if (steps > c->steps) {
        c->steps = 0;
        return chat_fail(c, "the template takes more than %llu steps",
                         (unsigned long long)LIMIT_RENDER_STEPS);
    }
    c->steps -= steps;
    return SLM_OK;
}

/* The same where no status can be returned. 0 if no step is left: the next chat_work fails. */
static int chat_spend(struct chat *c, uint64_t steps)
{
    c->steps -= steps < c->steps ? steps : c->steps;
    return c->steps > 0;
}

/* Whether one call may take so many bytes more. */
static int chat_allow(struct chat *c, uint64_t bytes)
{
    return bytes <= LIMIT_RENDER_BYTES - c->bytes
               ? SLM_OK
               : chat_fail(c, "the template takes more than %llu bytes of memory",
                           (unsigned long long)LIMIT_RENDER_BYTES);
}

/* 16-byte aligned, uninitialised. NULL after setting the error: use CHAT_TAKE. */
static void *chat_take(struct chat *c, uint64_t count, uint64_t size)
{
    uint64_t bytes = 0;
    int fits = mul_u64(count, size, &bytes);
    c->refused = chat_allow(c, fits ? bytes : UINT64_MAX);
    if (c->refused != SLM_OK) {
        return NULL;
    }
    bytes = (bytes + 15) & ~(uint64_t)15;
    if (bytes > c->n_rest) {
        uint64_t head = (sizeof(struct chat_block) + 15) & ~(uint64_t)15;
        uint64_t most = c->bytes > CHAT_BLOCK_BYTES ? c->bytes : CHAT_BLOCK_BYTES;
        most = most < ((uint64_t)1 << 20) ? most : (uint64_t)1 << 20;
        uint64_t room = head + (bytes > most ? bytes : most);
        struct chat_block *block = (struct chat_block *)memory_take(c->memory, room);
        if (block == NULL) {
            c->refused = memory_error(c->memory, room, "a chat template", c->err);
            return NULL;
        }
        block->next = c->blocks;
        block->size = room;
        c->blocks = block;
        c->rest = (uint8_t *)block + head;
        c->n_rest = room - head;
    }
    void *p = c->rest;
    c->rest += bytes;
    c->n_rest -= bytes;
    c->bytes += bytes;
    return p;
}

#define CHAT_TAKE(c, pointer, type, count)                                                         \
    do {                                                                                           \
        (pointer) = (type *)chat_take(c, (uint64_t)(count), sizeof(type));                         \
        SLM_TRY((c)->refused);                                                                     \
    } while (0)

/* ---- Strings --------------------------------------------------------------------------------- */

#define CHAT_TEMPLATE 0u
#define CHAT_CONTENT 1u

struct str {
    const char *s;
    const uint8_t *marks; /* [n] where each byte comes from; NULL: all from `mark` */
    uint32_t n;
    uint32_t mark;
};

static struct text str_text(const struct str *s)
{
    struct text t = {s->s, s->n};
    return t;
}

static unsigned str_mark(const struct str *s, uint32_t at)
{
    return s->marks != NULL ? s->marks[at] : s->mark;
}

/* A string whose bytes stay where they are. */
static int str_wrap(struct chat *c, struct text t, unsigned mark, const struct str **out)
{
    struct str *s;
    if (t.n > LIMIT_RENDER_TEXT) {
        return chat_fail(c, "a text of more than %u bytes", LIMIT_RENDER_TEXT);
    }
    CHAT_TAKE(c, s, struct str, 1);
    s->s = t.s;
    s->marks = NULL;
    s->n = (uint32_t)t.n;
    s->mark = mark;
    *out = s;
    return SLM_OK;
}

/* Bytes from..to-1 of it. */
static int str_slice(struct chat *c, const struct str *s, uint32_t from, uint32_t to,
                     const struct str **out)
{
    struct str *part;
    CHAT_TAKE(c, part, struct str, 1);
    part->s = s->s + from;
    part->marks = s->marks != NULL ? s->marks + from : NULL;
    part->n = to - from;
    part->mark = s->mark;
    *out = part;
    return SLM_OK;
}

/* The code point at byte `at` and its length. Bytes that are no character count as one each. */
static uint32_t str_point(const struct str *s, uint32_t at, uint32_t *length)
{
    size_t n = 1;
    uint32_t point = unicode_decode((const uint8_t *)s->s + at, s->n - at, &n);
    *length = (uint32_t)n;
    return point;
}

/* Pays for each byte it looks at, as str_offset and str_find do. */
static uint32_t str_points(struct chat *c, const struct str *s)
{
    uint32_t n = 0;
    uint32_t length = 1;
    for (uint32_t at = 0; at < s->n; at += length) {
        str_point(s, at, &length);
        n++;
    }
    chat_spend(c, s->n / 2);
    return n;
}

/* The byte at which character `index` begins; the end if there are not so many. */
static uint32_t str_offset(struct chat *c, const struct str *s, uint64_t index)
{
    uint32_t at = 0;
    uint32_t length = 1;
    for (; at < s->n && index > 0; index--) {
        str_point(s, at, &length);
        at += length;
    }
    chat_spend(c, at / 2);
    return at;
}

/* How many of the first n bytes are equal. */
static uint32_t str_equal(const char *a, const char *b, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

/* Where part begins in s[from..to-1], or to + 1. An empty one begins anywhere. Pays for each byte it
 * compares: text and part may be chosen so that these are many. */
static uint32_t str_find(struct chat *c, const struct str *s, struct text part, uint32_t from,
                         uint32_t to)
{
    uint64_t seen = 0;
    for (uint32_t at = from; at <= to && part.n <= to - at; at++) {
        uint32_t equal = str_equal(s->s + at, part.s, (uint32_t)part.n);
        if (equal == part.n) {
            chat_spend(c, seen / 16);
            return at;
        }
        seen += equal + 1;
        if (seen >= 4096) {
            if (!chat_spend(c, seen / 16)) {
                break;
            }
            seen = 0;
        }
    }
    chat_spend(c, seen / 16);
    return to + 1;
}

/* ---- Building strings ------------------------------------------------------------------------ */

struct builder {
    struct chat *c;
    char *s;
    uint8_t *marks;
    uint32_t n;
    uint32_t room;
};

static struct builder builder_begin(struct chat *c)
{
    struct builder b = {c, NULL, NULL, 0, 0};
    return b;
}

static int builder_reserve(struct builder *b, uint32_t n)
{
    if (n > LIMIT_RENDER_TEXT - b->n) {
        return chat_fail(b->c, "a text of more than %u bytes", LIMIT_RENDER_TEXT);
    }
    if (n > b->room - b->n) {
        uint32_t room = b->n + n > 2 * b->room ? b->n + n : 2 * b->room;
        char *s;
        uint8_t *marks;
        room = room < 32 ? 32 : room;
        CHAT_TAKE(b->c, s, char, room);
        CHAT_TAKE(b->c, marks, uint8_t, room);
        if (b->n > 0) {
            memcpy(s, b->s, b->n);
            memcpy(marks, b->marks, b->n);
        }
        b->s = s;
        b->marks = marks;
        b->room = room;
    }
    return SLM_OK;
}

static int builder_bytes(struct builder *b, const char *s, size_t n, unsigned mark)
{
    if (n > LIMIT_RENDER_TEXT) {
        return chat_fail(b->c, "a text of more than %u bytes", LIMIT_RENDER_TEXT);
    }
    SLM_TRY(chat_work(b->c, n / 16));
    SLM_TRY(builder_reserve(b, (uint32_t)n));
    if (n > 0) {
        memcpy(b->s + b->n, s, n);
        memset(b->marks + b->n, (int)mark, n);
        b->n += (uint32_t)n;
    }
    return SLM_OK;
}

static int builder_part(struct builder *b, const struct str *s, uint32_t from, uint32_t to)
{
    uint32_t start = b->n;
    if (from >= to) {
        return SLM_OK;
    }
    SLM_TRY(builder_bytes(b, s->s + from, to - from, s->mark));
    if (s->marks != NULL) {
        memcpy(b->marks + start, s->marks + from, to - from);
    }
    return SLM_OK;
}

static int builder_str(struct builder *b, const struct str *s)
{
    return builder_part(b, s, 0, s->n);
}

static int builder_text(struct builder *b, const char *s, unsigned mark)
{
    return builder_bytes(b, s, string_length(s), mark);
}

static int builder_point(struct builder *b, uint32_t point, unsigned mark)
{
    uint8_t bytes[4];
    return builder_bytes(b, (const char *)bytes, unicode_encode(point, bytes), mark);
}

static int builder_repeat(struct builder *b, const struct str *s, uint64_t times)
{
    for (uint64_t i = 0; i < times && s->n > 0; i++) {
        SLM_TRY(chat_work(b->c, 1));
        SLM_TRY(builder_str(b, s));
    }
    return SLM_OK;
}

/* The string, which is not built any further. */
static int builder_end(struct builder *b, const struct str **out)
{
    struct str *s;
    CHAT_TAKE(b->c, s, struct str, 1);
    s->s = b->n > 0 ? b->s : "";
    s->n = b->n;
    s->mark = b->n > 0 ? b->marks[0] : CHAT_TEMPLATE;
    s->marks = NULL;
    for (uint32_t i = 1; i < b->n; i++) {
        if (b->marks[i] != s->mark) {
            s->marks = b->marks;
            break;
        }
    }
    *out = s;
    return SLM_OK;
}

/* ---- Values ---------------------------------------------------------------------------------- */

#define VALUE_UNDEFINED 0 /* u.s: what is undefined, for a message, or NULL */
#define VALUE_NONE 1
#define VALUE_BOOL 2
#define VALUE_INT 3
#define VALUE_BIG 4 /* an integer beyond 64 bits: its digits */
#define VALUE_FLOAT 5
#define VALUE_STRING 6
#define VALUE_LIST 7
#define VALUE_TUPLE 8
#define VALUE_ITERATOR 9 /* a list that can be walked once, is true and has no length */
#define VALUE_DICT 10
#define VALUE_SPACE 11 /* namespace() */
#define VALUE_LOOP 12
#define VALUE_MACRO 13
#define VALUE_METHOD 14  /* of a value, or a global function */
#define VALUE_MISSING 15 /* an argument that was not given; templates never see it */

/* A string that is HTML already: "+" escapes what is added to it. */
#define VALUE_SAFE 1u

/* What keys(), values() and items() give: walked over like a list, but without indices. */
#define VALUE_VIEW_KEYS 1u
#define VALUE_VIEW_VALUES 2u
#define VALUE_VIEW_ITEMS 3u

/* A tuple of groupby, whose parts have names. */
#define VALUE_GROUP 1u

struct value {
    int32_t kind;
    uint32_t
        mark; /* of a scalar: where its text would come from; of a string: VALUE_SAFE; of a list:
                      VALUE_VIEW of a dictionary, or 0; of a tuple: VALUE_GROUP, or 0 */
    union {
        int64_t i;
        double f;
        const struct str *s;
        struct list *l;
        struct dict *d;
        const void *p;
    } u;
};

struct list {
    struct value *items;
    uint32_t n;
    uint32_t room;
};

struct entry {
    struct value key;
    struct value value;
};

struct dict {
    struct entry *entries;
    uint32_t n;
    uint32_t room;
    uint32_t *order; /* [n] by key, in dictionaries of more than a few */
};

static struct value value_of_kind(int32_t kind)
{
    struct value v;
    memset(&v, 0, sizeof v);
    v.kind = kind;
    return v;
}

static struct value value_none(void)
{
    return value_of_kind(VALUE_NONE);
}

static struct value value_undefined(const struct str *name)
{
    struct value v = value_of_kind(VALUE_UNDEFINED);
    v.u.s = name;
    return v;
}

static struct value value_bool(int is_true)
{
    struct value v = value_of_kind(VALUE_BOOL);
    v.u.i = is_true != 0;
    return v;
}

static struct value value_int(int64_t i, unsigned mark)
{
    struct value v = value_of_kind(VALUE_INT);
    v.mark = mark;
    v.u.i = i;
    return v;
}

static struct value value_float(double f, unsigned mark)
{
    struct value v = value_of_kind(VALUE_FLOAT);
    v.mark = mark;
    v.u.f = f;
    return v;
}

static struct value value_string(const struct str *s)
{
    struct value v = value_of_kind(VALUE_STRING);
    v.u.s = s;
    return v;
}

static struct value value_list(struct list *l, int32_t kind)
{
    struct value v = value_of_kind(kind);
    v.u.l = l;
    return v;
}

static struct value value_dict(struct dict *d, int32_t kind)
{
    struct value v = value_of_kind(kind);
    v.u.d = d;
    return v;
}

/* A string constant of the library. Its bytes are vouched for by nobody: content. */
static int value_text(struct chat *c, const char *s, struct value *out)
{
    const struct str *wrapped;
    SLM_TRY(str_wrap(c, text_of(s), CHAT_CONTENT, &wrapped));
    *out = value_string(wrapped);
    return SLM_OK;
}

static int value_build(struct builder *b, struct value *out)
{
    const struct str *s;
    SLM_TRY(builder_end(b, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int value_is_list(struct value v)
{
    return v.kind == VALUE_LIST || v.kind == VALUE_TUPLE;
}

static int value_is_view(struct value v)
{
    return v.kind == VALUE_LIST && v.mark != 0;
}

static int value_is_text(struct value v, const char *s)
{
    return v.kind == VALUE_STRING && text_is(str_text(v.u.s), s);
}

static int value_is_integer(struct value v)
{
    return v.kind == VALUE_INT || v.kind == VALUE_BOOL;
}

static int value_is_number(struct value v)
{
    return value_is_integer(v) || v.kind == VALUE_FLOAT || v.kind == VALUE_BIG;
}

static double value_real(struct value v)
{
    return v.kind == VALUE_FLOAT ? v.u.f : (double)v.u.i;
}

/* The nearest float of any number. */
static int value_to_real(struct chat *c, struct value v, double *out)
{
    uint64_t steps = 0;
    if (v.kind != VALUE_BIG) {
        *out = value_real(v);
        return SLM_OK;
    }
    *out = decimal_parse(str_text(v.u.s), &steps);
    return chat_work(c, steps + v.u.s->n / 4);
}

/* As Python names types in its messages. */
static const char *value_kind_name(struct value v)
{
    static const char *const names[] = {
        "undefined", "None",      "bool", "int",       "int",  "float", "str",      "list",
        "tuple",     "generator", "dict", "namespace", "loop", "macro", "function", "missing"};
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    return value_is_view(v) ? views[v.mark - 1] : names[v.kind];
}

/* -v of an integer beyond 64 bits. */
static int value_negate_big(struct chat *c, struct value v, struct value *out)
{
    const struct str *s = v.u.s;
    char *text;
    int is_negative = s->s[0] == '-';
    SLM_TRY(chat_work(c, s->n / 16));
    CHAT_TAKE(c, text, char, s->n + 1u);
    text[0] = '-';
    memcpy(text + !is_negative, s->s + is_negative, s->n - (uint32_t)is_negative);
    struct text t = {text, is_negative ? s->n - 1u : s->n + 1u};
    *out = v;
    return str_wrap(c, t, s->mark, &out->u.s);
}

static int value_truth(struct value v)
{
    switch (v.kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return 0;
    case VALUE_BOOL:
    case VALUE_INT:
        return v.u.i != 0;
    case VALUE_FLOAT:
        return v.u.f < 0 || v.u.f > 0 || !math_is_finite(v.u.f);
    case VALUE_STRING:
        return v.u.s->n > 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
        return v.u.l->n > 0;
    case VALUE_DICT:
        return v.u.d->n > 0;
    default:
        return 1;
    }
}

/* ---- Order and equality ---------------------------------------------------------------------- */

static int value_is_nan(struct value v)
{
    return v.kind == VALUE_FLOAT && math_is_nan(v.u.f);
}

/* Steps of a comparison with it: one, and those of its text. */
static uint64_t value_work(struct value v)
{
    return v.kind == VALUE_STRING || v.kind == VALUE_BIG ? 1 + v.u.s->n / 16 : 1;
}

/* Of two numbers that are no NaN. */
static int value_order_numbers(struct value a, struct value b)
{
    if (value_is_integer(a) && value_is_integer(b)) {
        return (a.u.i > b.u.i) - (a.u.i < b.u.i);
    }
    if (a.kind == VALUE_BIG || b.kind == VALUE_BIG) {
        /* Beyond all that fits 64 bits; a float that large is below it, whatever it is. */
        int low = a.kind == VALUE_BIG ? (a.u.s->s[0] == '-' ? -1 : 1) : 0;
        int high = b.kind == VALUE_BIG ? (b.u.s->s[0] == '-' ? -1 : 1) : 0;
        if (low != high || low == 0) {
            return low - high;
        }
        if (a.u.s->n != b.u.s->n) {
            return (a.u.s->n > b.u.s->n ? 1 : -1) * low;
        }
        return text_order(str_text(a.u.s), str_text(b.u.s)) * low;
    }
    double x = value_real(a);
    double y = value_real(b);
    return (x > y) - (x < y);
}

static int value_equal_deep(struct chat *c, struct value a, struct value b, int32_t depth,
                            int *equal);

static int value_find_key(struct chat *c, const struct dict *d, struct value key,
                          struct value *found);

static int value_equal_lists(struct chat *c, const struct list *a, const struct list *b,
                             int32_t depth, int *equal)
{
    *equal = a->n == b->n;
    for (uint32_t i = 0; i < a->n && *equal; i++) {
        SLM_TRY(value_equal_deep(c, a->items[i], b->items[i], depth + 1, equal));
    }
    return SLM_OK;
}

static int value_equal_dicts(struct chat *c, const struct dict *a, const struct dict *b,
                             int32_t depth, int *equal)
{
    *equal = a->n == b->n;
    for (uint32_t i = 0; i < a->n && *equal; i++) {
        struct value other;
        SLM_TRY(value_find_key(c, b, a->entries[i].key, &other));
        *equal = other.kind != VALUE_MISSING;
        if (*equal) {
            SLM_TRY(value_equal_deep(c, a->entries[i].value, other, depth + 1, equal));
        }
    }
    return SLM_OK;
}

static int value_equal_deep(struct chat *c, struct value a, struct value b, int32_t depth,
                            int *equal)
{
    SLM_TRY(chat_work(c, value_work(a)));
    if (depth > LIMIT_JSON_DEPTH) {
        return chat_fail(c, "values nested more than %d deep", LIMIT_JSON_DEPTH);
    }
    *equal = 0;
    if (value_is_number(a) && value_is_number(b)) {
        *equal = !value_is_nan(a) && !value_is_nan(b) && value_order_numbers(a, b) == 0;
    } else if (a.kind != b.kind) {
        *equal = 0;
    } else if (a.kind == VALUE_STRING) {
        *equal = text_equal(str_text(a.u.s), str_text(b.u.s));
    } else if (value_is_list(a)) {
        return value_equal_lists(c, a.u.l, b.u.l, depth, equal);
    } else if (a.kind == VALUE_DICT) {
        return value_equal_dicts(c, a.u.d, b.u.d, depth, equal);
    } else {
        *equal = a.kind == VALUE_NONE || a.kind == VALUE_UNDEFINED || a.u.p == b.u.p;
    }
    return SLM_OK;
}

static int value_equal(struct chat *c, struct value a, struct value b, int *equal)
{
    return value_equal_deep(c, a, b, 0, equal);
}

/* -1, 0, 1 for what Python can order: numbers, strings, lists of these. */
static int value_order(struct chat *c, struct value a, struct value b, int32_t depth, int *order)
{
    SLM_TRY(chat_work(c, value_work(a)));
    if (value_is_number(a) && value_is_number(b)) {
        *order = value_order_numbers(a, b);
        return SLM_OK;
    }
    if (a.kind == VALUE_STRING && b.kind == VALUE_STRING) {
        int n = text_order(str_text(a.u.s), str_text(b.u.s));
        *order = (n > 0) - (n < 0);
        return SLM_OK;
    }
    if (a.kind != b.kind || !value_is_list(a) || depth > LIMIT_JSON_DEPTH) {
        return chat_fail(c, "%s and %s cannot be put in order", value_kind_name(a),
                         value_kind_name(b));
    }
    *order = 0;
    for (uint32_t i = 0; i < a.u.l->n && i < b.u.l->n && *order == 0; i++) {
        int equal = 0;
        SLM_TRY(value_equal_deep(c, a.u.l->items[i], b.u.l->items[i], depth + 1, &equal));
        if (!equal) {
            SLM_TRY(value_order(c, a.u.l->items[i], b.u.l->items[i], depth + 1, order));
            return SLM_OK;
        }
    }
    *order = (a.u.l->n > b.u.l->n) - (a.u.l->n < b.u.l->n);
    return SLM_OK;
}

/* ---- Sorting --------------------------------------------------------------------------------- */

/* Sorts indices by what an owner says of two of them; equals keep their order. */
struct sorter {
    struct chat *c;
    const void *owner;
    int (*order)(const struct sorter *s, uint32_t a, uint32_t b, int *order);
    int is_reverse; /* equals keep their order even then */
};

static int sorter_merge(const struct sorter *s, uint32_t *items, uint32_t n, uint32_t *spare)
{
    uint32_t half = n / 2;
    uint32_t left = 0;
    uint32_t right = half;
    if (n < 2) {
        return SLM_OK;
    }
    SLM_TRY(chat_work(s->c, n));
    SLM_TRY(sorter_merge(s, items, half, spare));
    SLM_TRY(sorter_merge(s, items + half, n - half, spare));
    memcpy(spare, items, (size_t)half * sizeof *spare);
    for (uint32_t to = 0; left < half; to++) {
        int order = -1;
        if (right < n) {
            SLM_TRY(s->order(s, spare[left], items[right], &order));
            order = s->is_reverse ? -order : order;
        }
        items[to] = order <= 0 ? spare[left++] : items[right++];
    }
    return SLM_OK;
}

/* *items: the indices 0..n-1 in order. */
static int sorter_run(const struct sorter *s, uint32_t n, uint32_t **items)
{
    uint32_t *spare;
    CHAT_TAKE(s->c, *items, uint32_t, n);
    CHAT_TAKE(s->c, spare, uint32_t, n);
    for (uint32_t i = 0; i < n; i++) {
        (*items)[i] = i;
    }
    return sorter_merge(s, *items, n, spare);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static int list_make(struct chat *c, uint32_t room, struct list **out)
{
    struct list *l;
    CHAT_TAKE(c, l, struct list, 1);
    memset(l, 0, sizeof *l);
    if (room > 0) {
        CHAT_TAKE(c, l->items, struct value, room);
    }
    l->room = room;
    *out = l;
    return SLM_OK;
}

/* Only for a list that nobody has seen yet. */
static int list_push(struct chat *c, struct list *l, struct value v)
{
    SLM_TRY(chat_work(c, 1));
    if (l->n == l->room) {
        uint32_t room = l->room < 4 ? 4 : 2 * l->room;
        struct value *items;
        if (l->n >= LIMIT_RENDER_TEXT) {
            return chat_fail(c, "a list of more than %u values", LIMIT_RENDER_TEXT);
        }
        CHAT_TAKE(c, items, struct value, room);
        if (l->n > 0) {
            memcpy(items, l->items, l->n * sizeof *items);
        }
        l->items = items;
        l->room = room;
    }
    l->items[l->n++] = v;
    return SLM_OK;
}

static int list_pair(struct chat *c, struct value first, struct value second, struct value *out)
{
    struct list *l;
    SLM_TRY(list_make(c, 2, &l));
    l->items[0] = first;
    l->items[1] = second;
    l->n = 2;
    *out = value_list(l, VALUE_TUPLE);
    return SLM_OK;
}

/* ---- Dictionaries ---------------------------------------------------------------------------- */

/* Small ones are searched through; larger ones are sorted, not hashed: who chooses the keys cannot
 * make that slow. */
#define DICT_SMALL 8u

static int dict_make(struct chat *c, struct dict **out)
{
    CHAT_TAKE(c, *out, struct dict, 1);
    memset(*out, 0, sizeof **out);
    return SLM_OK;
}

/* Behind the others, which may have the same key: dict_finish looks. */
static int dict_push(struct chat *c, struct dict *d, struct value key, struct value v)
{
    SLM_TRY(chat_work(c, 1));
    if (d->n == d->room) {
        uint32_t room = d->room < 4 ? 4 : 2 * d->room;
        struct entry *entries;
        if (d->n >= LIMIT_RENDER_TEXT) {
            return chat_fail(c, "a dictionary of more than %u keys", LIMIT_RENDER_TEXT);
        }
        CHAT_TAKE(c, entries, struct entry, room);
        if (d->n > 0) {
            memcpy(entries, d->entries, d->n * sizeof *entries);
        }
        d->entries = entries;
        d->room = room;
    }
    d->entries[d->n].key = key;
    d->entries[d->n].value = v;
    d->n++;
    return SLM_OK;
}

static int dict_push_text(struct chat *c, struct dict *d, const char *key, struct value v)
{
    struct value k;
    SLM_TRY(value_text(c, key, &k));
    return dict_push(c, d, k, v);
}

/* Numbers, strings, others, which are one key a kind: a NaN is one of them. */
static int dict_key_class(struct value v)
{
    return value_is_number(v) && !value_is_nan(v) ? 0 : v.kind == VALUE_STRING ? 1 : 2;
}

/* In Python tuples can be keys, too. */
static int dict_check_key(struct chat *c, struct value key)
{
    int is_key = dict_key_class(key) < 2 || key.kind == VALUE_NONE || key.kind == VALUE_UNDEFINED ||
                 key.kind == VALUE_FLOAT;
    return is_key ? SLM_OK : chat_fail(c, "%s cannot be a key here", value_kind_name(key));
}

/* Any two keys can be put in order, by class first. */
static int dict_order_keys(struct chat *c, struct value a, struct value b, int *order)
{
    *order = dict_key_class(a) - dict_key_class(b);
    if (*order == 0 && dict_key_class(a) == 2) {
        *order = a.kind - b.kind;
        return SLM_OK;
    }
    return *order != 0 ? SLM_OK : value_order(c, a, b, 0, order);
}

static int dict_order(const struct sorter *s, uint32_t a, uint32_t b, int *order)
{
    const struct dict *d = (const struct dict *)s->owner;
    return dict_order_keys(s->c, d->entries[a].key, d->entries[b].key, order);
}

/* Of equal keys the first keeps its place and gets the last one's value. Removed ones are marked. */
static int dict_drop_twins(struct chat *c, struct dict *d, const uint32_t *order, uint32_t *n_twins)
{
    uint32_t first = 0;
    *n_twins = 0;
    for (uint32_t i = 1; i < d->n; i++) {
        int differ = 1;
        struct entry *e = &d->entries[order[i]];
        SLM_TRY(dict_order_keys(c, d->entries[order[first]].key, e->key, &differ));
        if (differ != 0) {
            first = i;
            continue;
        }
        d->entries[order[first]].value = e->value;
        e->value = value_of_kind(VALUE_MISSING);
        (*n_twins)++;
    }
    return SLM_OK;
}

static int dict_finish(struct chat *c, struct dict *d)
{
    uint32_t n_twins = 0;
    uint32_t n = 0;
    struct sorter s = {c, d, dict_order, 0};
    d->order = NULL;
    if (d->n < 2) {
        return SLM_OK;
    }
    SLM_TRY(sorter_run(&s, d->n, &d->order));
    SLM_TRY(dict_drop_twins(c, d, d->order, &n_twins));
    if (n_twins > 0) {
        for (uint32_t i = 0; i < d->n; i++) {
            if (d->entries[i].value.kind != VALUE_MISSING) {
                d->entries[n++] = d->entries[i];
            }
        }
        d->n = n;
        SLM_TRY(sorter_run(&s, d->n, &d->order));
    }
    return SLM_OK;
}

/* *found is missing if there is none. */
static int value_find_key(struct chat *c, const struct dict *d, struct value key,
                          struct value *found)
{
    uint32_t low = 0;
    uint32_t high = d->n;
    int order = 1;
    *found = value_of_kind(VALUE_MISSING);
    if (d->n <= DICT_SMALL || d->order == NULL) {
        for (uint32_t i = 0; i < d->n; i++) {
            SLM_TRY(dict_order_keys(c, d->entries[i].key, key, &order));
            if (order == 0) {
                *found = d->entries[i].value;
                return SLM_OK;
            }
        }
        return SLM_OK;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        SLM_TRY(dict_order_keys(c, d->entries[d->order[middle]].key, key, &order));
        if (order == 0) {
            *found = d->entries[d->order[middle]].value;
            return SLM_OK;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return SLM_OK;
}

static int dict_find_text(struct chat *c, const struct dict *d, struct text name,
                          struct value *found)
{
    struct str s = {name.s, NULL, (uint32_t)name.n, CHAT_CONTENT};
    return value_find_key(c, d, value_string(&s), found);
}

/* Namespaces only. */
static int dict_set(struct chat *c, struct dict *d, const struct str *name, struct value v)
{
    for (uint32_t i = 0; i < d->n; i++) {
        SLM_TRY(chat_work(c, 1 + name->n / 16));
        if (text_equal(str_text(d->entries[i].key.u.s), str_text(name))) {
            d->entries[i].value = v;
            return SLM_OK;
        }
    }
    d->order = NULL;
    return dict_push(c, d, value_string(name), v);
}
