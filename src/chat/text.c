/* text.c - strings as Python has them: str() and repr(), case, stripping, splitting. Each result says
 * byte by byte where it comes from. */

/* ---- str() and repr() ------------------------------------------------------------------------ */

static int print_quoted(struct builder *b, const struct str *s)
{
    int has_single = str_find(b->c, s, text_of("'"), 0, s->n) <= s->n;
    int has_double = str_find(b->c, s, text_of("\""), 0, s->n) <= s->n;
    char quote[2] = {has_single && !has_double ? '"' : '\'', 0};
    uint32_t length = 1;
    SLM_TRY(builder_text(b, quote, CHAT_CONTENT));
    for (uint32_t at = 0; at < s->n; at += length) {
        uint32_t point = str_point(s, at, &length);
        char text[16] = {'\\', json_short_escape(point), 0};
        int is_printed =
            point < 0x7f ? point >= 0x20
                         : (unicode_class(point) & ~UNICODE_CONTROL) != 0 && !lex_is_space(point);
        if (point == '\n' || point == '\r' || point == '\t' || point == '\\') {
            /* as it stands */
        } else if (point == (uint8_t)quote[0]) {
            text[1] = quote[0];
        } else if (is_printed) {
            SLM_TRY(builder_part(b, s, at, at + length));
            continue;
        } else {
            int digits = point < 0x100 ? 2 : point < 0x10000 ? 4 : 8;
            text[1] = digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
            for (int i = 0; i < digits; i++) {
                text[2 + i] = "0123456789abcdef"[point >> (4 * (digits - 1 - i)) & 15];
            }
            text[2 + digits] = 0;
        }
        SLM_TRY(builder_text(b, text, CHAT_CONTENT));
    }
    return builder_text(b, quote, CHAT_CONTENT);
}

static int print_value(struct builder *b, struct value v, int is_repr, int32_t depth);

static int print_list(struct builder *b, const struct list *l, int is_tuple, int32_t depth)
{
    SLM_TRY(builder_text(b, is_tuple ? "(" : "[", CHAT_CONTENT));
    for (uint32_t i = 0; i < l->n; i++) {
        SLM_TRY(builder_text(b, i > 0 ? ", " : "", CHAT_CONTENT));
        SLM_TRY(print_value(b, l->items[i], 1, depth + 1));
    }
    return builder_text(b, !is_tuple ? "]" : l->n == 1 ? ",)" : ")", CHAT_CONTENT);
}

static int print_dict(struct builder *b, const struct dict *d, int32_t depth)
{
    SLM_TRY(builder_text(b, "{", CHAT_CONTENT));
    for (uint32_t i = 0; i < d->n; i++) {
        SLM_TRY(builder_text(b, i > 0 ? ", " : "", CHAT_CONTENT));
        SLM_TRY(print_value(b, d->entries[i].key, 1, depth + 1));
        SLM_TRY(builder_text(b, ": ", CHAT_CONTENT));
        SLM_TRY(print_value(b, d->entries[i].value, 1, depth + 1));
    }
    return builder_text(b, "}", CHAT_CONTENT);
}

static int print_scalar(struct builder *b, struct value v)
{
    char text[DECIMAL_TEXT + 1];
    switch (v.kind) {
    case VALUE_NONE:
        return builder_text(b, "None", v.mark);
    case VALUE_BOOL:
        return builder_text(b, v.u.i ? "True" : "False", v.mark);
    case VALUE_INT:
        return builder_bytes(b, text, format_text(text, sizeof text, "%lld", (long long)v.u.i),
                             v.mark);
    case VALUE_BIG:
        return builder_str(b, v.u.s);
    default:
        SLM_TRY(chat_work(b->c, DECIMAL_STEPS));
        return builder_bytes(b, text, decimal_print(v.u.f, text), v.mark);
    }
}

/* Recursion goes as deep as values do. */
static int print_value(struct builder *b, struct value v, int is_repr, int32_t depth)
{
    SLM_TRY(chat_work(b->c, 1));
    if (depth > LIMIT_JSON_DEPTH) {
        return chat_fail(b->c, "values nested more than %d deep", LIMIT_JSON_DEPTH);
    }
    switch (v.kind) {
    case VALUE_UNDEFINED:
        return builder_text(b, is_repr ? "Undefined" : "", CHAT_CONTENT);
    case VALUE_STRING:
        return is_repr ? print_quoted(b, v.u.s) : builder_str(b, v.u.s);
    case VALUE_LIST:
    case VALUE_TUPLE:
        if (value_is_view(v)) {
            SLM_TRY(builder_text(b, value_kind_name(v), CHAT_CONTENT));
            SLM_TRY(builder_text(b, "(", CHAT_CONTENT));
            SLM_TRY(print_list(b, v.u.l, 0, depth));
            return builder_text(b, ")", CHAT_CONTENT);
        }
        return print_list(b, v.u.l, v.kind == VALUE_TUPLE, depth);
    case VALUE_DICT:
        return print_dict(b, v.u.d, depth);
    case VALUE_SPACE:
        SLM_TRY(builder_text(b, "<Namespace ", CHAT_CONTENT));
        SLM_TRY(print_dict(b, v.u.d, depth));
        return builder_text(b, ">", CHAT_CONTENT);
    case VALUE_ITERATOR:
    case VALUE_LOOP:
    case VALUE_MACRO:
    case VALUE_METHOD:
    case VALUE_MISSING:
        SLM_TRY(builder_text(b, "<", CHAT_CONTENT));
        SLM_TRY(builder_text(b, value_kind_name(v), CHAT_CONTENT));
        return builder_text(b, ">", CHAT_CONTENT);
    default:
        return print_scalar(b, v);
    }
}

/* str(v) */
static int text_str(struct chat *c, struct value v, const struct str **out)
{
    struct builder b = builder_begin(c);
    if (v.kind == VALUE_STRING) {
        *out = v.u.s;
        return SLM_OK;
    }
    SLM_TRY(print_value(&b, v, 0, 0));
    return builder_end(&b, out);
}

/* ---- Case ------------------------------------------------------------------------------------ */

/* Letters whose lower case is `add` above them; with step 2 every other one. What is not here has no
 * case to templates: Latin, Greek, Cyrillic, Armenian and full-width letters are. */
static const struct {
    uint32_t first;
    uint32_t last;
    uint32_t step;
    uint32_t add;
} text_cases[] = {
    {'A', 'Z', 1, 32},      {0xc0, 0xd6, 1, 32},    {0xd8, 0xde, 1, 32},     {0x100, 0x12e, 2, 1},
    {0x132, 0x136, 2, 1},   {0x139, 0x147, 2, 1},   {0x14a, 0x176, 2, 1},    {0x179, 0x17d, 2, 1},
    {0x386, 0x386, 1, 38},  {0x388, 0x38a, 1, 37},  {0x38c, 0x38c, 1, 64},   {0x38e, 0x38f, 1, 63},
    {0x391, 0x3a1, 1, 32},  {0x3a3, 0x3ab, 1, 32},  {0x400, 0x40f, 1, 80},   {0x410, 0x42f, 1, 32},
    {0x460, 0x480, 2, 1},   {0x48a, 0x4be, 2, 1},   {0x4d0, 0x52e, 2, 1},    {0x531, 0x556, 1, 48},
    {0x1e00, 0x1e94, 2, 1}, {0x1ea0, 0x1efe, 2, 1}, {0xff21, 0xff3a, 1, 32},
};

static uint32_t text_to_lower(uint32_t point)
{
    for (int32_t i = 0; i < SLM_COUNT(text_cases) && point >= text_cases[i].first; i++) {
        if (point <= text_cases[i].last &&
            (point - text_cases[i].first) % text_cases[i].step == 0) {
            return point + text_cases[i].add;
        }
    }
    return point == 0x178 ? 0xff : point;
}

static uint32_t text_to_upper(uint32_t point)
{
    for (int32_t i = 0; i < SLM_COUNT(text_cases); i++) {
        uint32_t upper = point - text_cases[i].add;
        if (point >= text_cases[i].add && upper >= text_cases[i].first &&
            upper <= text_cases[i].last &&
            (upper - text_cases[i].first) % text_cases[i].step == 0) {
            return upper;
        }
    }
    return point == 0xff ? 0x178 : point;
}

static int text_is_letter(uint32_t point)
{
    return (unicode_class(point) & UNICODE_LETTER) != 0;
}

#define TEXT_LOWER 0
#define TEXT_UPPER 1
#define TEXT_CAPITALIZE 2  /* the first character of the text */
#define TEXT_TITLE 3       /* of each run of letters */
#define TEXT_TITLE_WORDS 4 /* of each word between blanks, hyphens and opening brackets */
#define TEXT_SWAP 5

static int text_case(struct chat *c, const struct str *s, int how, const struct str **out)
{
    struct builder b = builder_begin(c);
    uint32_t length = 1;
    int is_start = 1;
    SLM_TRY(chat_work(c, s->n));
    SLM_TRY(builder_reserve(&b, s->n));
    for (uint32_t at = 0; at < s->n; at += length) {
        uint32_t point = str_point(s, at, &length);
        int is_upper = how == TEXT_UPPER || (how >= TEXT_CAPITALIZE && is_start);
        if (how == TEXT_SWAP) {
            is_upper = text_to_upper(point) != point;
        }
        uint32_t mapped = is_upper ? text_to_upper(point) : text_to_lower(point);
        if (point == 0xdf && is_upper) {
            SLM_TRY(builder_text(&b, how == TEXT_UPPER || how == TEXT_SWAP ? "SS" : "Ss",
                                 str_mark(s, at)));
        } else if (mapped == point) {
            SLM_TRY(builder_part(&b, s, at, at + length));
        } else {
            SLM_TRY(builder_point(&b, mapped, str_mark(s, at)));
        }
        is_start = how == TEXT_TITLE ? !text_is_letter(point)
                   : how == TEXT_TITLE_WORDS
                       ? lex_is_space(point) || point == '-' || point == '(' || point == '{' ||
                             point == '[' || point == '<'
                       : 0;
    }
    return builder_end(&b, out);
}

/* ---- Stripping, replacing, splitting --------------------------------------------------------- */

#define TEXT_LEFT 1
#define TEXT_RIGHT 2

/* Whether a code point is in chars, or is white space if chars is NULL. */
static int text_is_in(uint32_t point, const struct str *chars)
{
    uint32_t length = 1;
    if (chars == NULL) {
        return lex_is_space(point);
    }
    for (uint32_t at = 0; at < chars->n; at += length) {
        if (str_point(chars, at, &length) == point) {
            return 1;
        }
    }
    return 0;
}

/* Where the last character of s[from..to-1] begins. */
static uint32_t text_before(const struct str *s, uint32_t from, uint32_t to, uint32_t *point)
{
    uint32_t at = to - 1;
    uint32_t length = 1;
    while (at > from && to - at < 4 && ((uint8_t)s->s[at] & 0xc0) == 0x80) {
        at--;
    }
    *point = str_point(s, at, &length);
    if (at + length != to) { /* no character: its last byte by itself */
        *point = UNICODE_BAD;
        return to - 1;
    }
    return at;
}

static int text_strip(struct chat *c, const struct str *s, const struct str *chars, int sides,
                      const struct str **out)
{
    uint64_t price = 1 + (chars != NULL ? chars->n / 4 : 0); /* of text_is_in */
    uint32_t from = 0;
    uint32_t to = s->n;
    uint32_t length = 1;
    while ((sides & TEXT_LEFT) != 0 && from < to) {
        SLM_TRY(chat_work(c, price));
        if (!text_is_in(str_point(s, from, &length), chars)) {
            break;
        }
        from += length;
    }
    while ((sides & TEXT_RIGHT) != 0 && to > from) {
        uint32_t point;
        uint32_t at = text_before(s, from, to, &point);
        SLM_TRY(chat_work(c, price));
        if (!text_is_in(point, chars)) {
            break;
        }
        to = at;
    }
    return str_slice(c, s, from, to, out);
}

/* most < 0: all. */
static int text_replace(struct chat *c, const struct str *s, const struct str *old,
                        const struct str *new_text, int64_t most, const struct str **out)
{
    struct builder b = builder_begin(c);
    uint32_t from = 0;
    SLM_TRY(chat_work(c, s->n / 16));
    while (most != 0 && from <= s->n) {
        uint32_t at = str_find(c, s, str_text(old), from, s->n);
        if (at > s->n) {
            break;
        }
        SLM_TRY(chat_work(c, 1));
        SLM_TRY(builder_part(&b, s, from, at));
        SLM_TRY(builder_str(&b, new_text));
        from = at + old->n;
        if (old->n == 0) { /* between all characters */
            uint32_t length = 1;
            if (at == s->n) {
                break;
            }
            str_point(s, at, &length);
            SLM_TRY(builder_part(&b, s, at, at + length));
            from = at + length;
        }
        most -= most > 0;
    }
    SLM_TRY(builder_part(&b, s, from, s->n));
    return builder_end(&b, out);
}

static int text_push(struct chat *c, struct list *l, const struct str *s, uint32_t from,
                     uint32_t to)
{
    const struct str *part;
    SLM_TRY(str_slice(c, s, from, to, &part));
    return list_push(c, l, value_string(part));
}

/* At runs of white space. */
static int text_split_blanks(struct chat *c, const struct str *s, int64_t most, struct list *l)
{
    uint32_t at = 0;
    uint32_t length = 1;
    for (;;) {
        while (at < s->n && lex_is_space(str_point(s, at, &length))) {
            at += length;
        }
        if (at >= s->n) {
            return SLM_OK;
        }
        uint32_t from = at;
        if (most == 0) {
            return text_push(c, l, s, from, s->n);
        }
        while (at < s->n && !lex_is_space(str_point(s, at, &length))) {
            at += length;
        }
        SLM_TRY(text_push(c, l, s, from, at));
        most -= most > 0;
    }
}

static int text_split(struct chat *c, const struct str *s, const struct str *separator,
                      int64_t most, struct list *l)
{
    uint32_t from = 0;
    SLM_TRY(chat_work(c, s->n / 4));
    if (separator == NULL) {
        return text_split_blanks(c, s, most, l);
    }
    if (separator->n == 0) {
        return chat_fail(c, "split: an empty separator");
    }
    for (; most != 0; most -= most > 0) {
        uint32_t at = str_find(c, s, str_text(separator), from, s->n);
        if (at > s->n) {
            break;
        }
        SLM_TRY(text_push(c, l, s, from, at));
        from = at + separator->n;
    }
    return text_push(c, l, s, from, s->n);
}

/* The last place where part stands in s[from..to-1], or to + 1. */
static uint32_t text_find_last(struct chat *c, const struct str *s, struct text part, uint32_t from,
                               uint32_t to)
{
    uint64_t seen = 0;
    if (part.n > to - from) {
        return to + 1;
    }
    for (uint32_t at = to - (uint32_t)part.n;; at--) {
        uint32_t equal = str_equal(s->s + at, part.s, (uint32_t)part.n);
        seen += equal + 1;
        int is_spent = seen >= 4096 && !chat_spend(c, seen / 16);
        seen = seen >= 4096 ? 0 : seen;
        if (equal == part.n || at == from || is_spent) {
            chat_spend(c, seen / 16);
            return equal == part.n ? at : to + 1;
        }
    }
}

/* From the right: the pieces in the order of the text. */
static int text_split_right(struct chat *c, const struct str *s, const struct str *separator,
                            int64_t most, struct list *l)
{
    uint32_t to = s->n;
    SLM_TRY(chat_work(c, s->n / 16));
    for (; most != 0; most -= most > 0) {
        uint32_t at = text_find_last(c, s, str_text(separator), 0, to);
        if (at > to) {
            break;
        }
        SLM_TRY(text_push(c, l, s, at + separator->n, to));
        to = at;
    }
    SLM_TRY(text_push(c, l, s, 0, to));
    for (uint32_t i = 0; i < l->n / 2; i++) {
        struct value v = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = v;
    }
    return SLM_OK;
}

/* What ends a line for str.splitlines of Python, but \r, which may be half of an end. */
static int text_is_line_end(uint32_t point)
{
    return (point >= '\n' && point <= '\f') || (point >= 0x1c && point <= 0x1e) || point == 0x85 ||
           point == 0x2028 || point == 0x2029;
}

static int text_split_lines(struct chat *c, const struct str *s, int keep_ends, struct list *l)
{
    uint32_t from = 0;
    uint32_t length = 1;
    SLM_TRY(chat_work(c, s->n / 4));
    for (uint32_t at = 0; at < s->n; at += length) {
        uint32_t point = str_point(s, at, &length);
        if (point == '\r' || text_is_line_end(point)) {
            length += point == '\r' && at + 1 < s->n && s->s[at + 1] == '\n' ? 1 : 0;
            SLM_TRY(text_push(c, l, s, from, keep_ends ? at + length : at));
            from = at + length;
        }
    }
    return from < s->n ? text_push(c, l, s, from, s->n) : SLM_OK;
}

static int text_has_char(const char *set, char c)
{
    for (; *set != 0 && *set != c; set++) {
    }
    return *set != 0;
}
