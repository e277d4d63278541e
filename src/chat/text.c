/* text.c - strings as Python has them: str() and repr(), case, stripping, splitting, formatting. Each
 * result says byte by byte where it comes from. */

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

static int text_strip(struct chat *c, const struct str *s, const struct str *chars, int sides,
                      const struct str **out)
{
    uint32_t from = 0;
    uint32_t length = 1;
    SLM_TRY(chat_work(c, s->n / 16 * (1 + (chars != NULL ? chars->n : 0))));
    while ((sides & TEXT_LEFT) != 0 && from < s->n &&
           text_is_in(str_point(s, from, &length), chars)) {
        from += length;
    }
    uint32_t to = s->n;
    while ((sides & TEXT_RIGHT) != 0 && to > from) {
        uint32_t at = to - 1;
        while (at > from && to - at < 4 && ((uint8_t)s->s[at] & 0xc0) == 0x80) {
            at--;
        }
        uint32_t point = str_point(s, at, &length);
        if (at + length != to) { /* no character: its last byte by itself */
            at = to - 1;
            point = UNICODE_BAD;
        }
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
    SLM_TRY(chat_work(c, s->n / 16));
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
    SLM_TRY(chat_work(c, s->n / 16));
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

/* ---- Formatting ------------------------------------------------------------------------------ */

/* What stands behind ':' in "{:>8.2f}" and behind '%' in "%-8.2f". */
struct text_spec {
    uint32_t fill;
    char align; /* '<' '>' '^', 'c' as str.center() does, or 0 */
    char sign;  /* '+' ' ' or 0 */
    int zero;
    int alternate; /* 0x in front */
    char group;    /* between three digits, or 0 */
    uint32_t width;
    int32_t precision; /* -1: none */
    char type;
};

static int text_pad(struct builder *b, const struct str *s, const struct text_spec *spec,
                    char default_align)
{
    uint32_t n = str_points(s);
    uint32_t pad = spec->width > n ? spec->width - n : 0;
    char align = spec->align != 0 ? spec->align : default_align;
    uint32_t left = align == '>'   ? pad
                    : align == '^' ? pad / 2
                    : align == 'c' ? pad / 2 + (pad & spec->width & 1)
                                   : 0;
    for (uint32_t i = 0; i < pad; i++) {
        if (i == left) {
            SLM_TRY(builder_str(b, s));
        }
        SLM_TRY(builder_point(b, spec->fill, CHAT_CONTENT));
    }
    return left >= pad ? builder_str(b, s) : SLM_OK;
}

/* Of x, X, o and b; 0 for other types. */
static uint64_t text_base(char type)
{
    return type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 0;
}

static int text_format_base(struct chat *c, struct value v, const struct text_spec *spec,
                            const struct str **out)
{
    struct builder b = builder_begin(c);
    char digits[64];
    size_t at = sizeof digits;
    if (!value_is_integer(v)) {
        return chat_fail(c, "%s is no whole number to be formatted", value_kind_name(v));
    }
    uint64_t base = text_base(spec->type);
    uint64_t rest = v.u.i < 0 ? 0 - (uint64_t)v.u.i : (uint64_t)v.u.i;
    const char *all = spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    do {
        digits[--at] = all[rest % base];
        rest /= base;
    } while (rest > 0);
    if (v.u.i < 0 || spec->sign != 0) {
        SLM_TRY(builder_bytes(&b, v.u.i < 0 ? "-" : &spec->sign, 1, v.mark));
    }
    if (spec->alternate) {
        char prefix[2] = {'0', spec->type};
        SLM_TRY(builder_bytes(&b, prefix, 2, v.mark));
    }
    for (size_t n = b.n + sizeof digits - at; spec->zero && n < spec->width; n++) {
        SLM_TRY(builder_text(&b, "0", v.mark));
    }
    SLM_TRY(builder_bytes(&b, digits + at, sizeof digits - at, v.mark));
    return builder_end(&b, out);
}

static int text_format_digits(struct chat *c, struct value v, const struct text_spec *spec,
                              const struct str **out)
{
    struct builder b = builder_begin(c);
    char text[DECIMAL_FIXED(100) + 1];
    size_t n;
    if (v.kind == VALUE_BIG) {
        *out = v.u.s;
        return SLM_OK;
    }
    if (text_base(spec->type) > 0) {
        return text_format_base(c, v, spec, out);
    }
    if (spec->type != 0 && !text_has_char("dfF", spec->type)) {
        return chat_fail(c, "numbers are not formatted as '%c' here", spec->type);
    }
    if (spec->type == 0 && spec->precision >= 0 && v.kind == VALUE_FLOAT) {
        return chat_fail(c, "a precision without 'f' behind it");
    }
    int is_real =
        spec->type == 'f' || spec->type == 'F' || (v.kind == VALUE_FLOAT && spec->type != 'd');
    if (is_real && !math_is_finite(value_real(v))) {
        n = decimal_print(value_real(v), text);
    } else if (is_real && (spec->type != 0 || spec->precision >= 0)) {
        uint32_t digits = spec->precision < 0     ? 6
                          : spec->precision > 100 ? 100
                                                  : (uint32_t)spec->precision;
        n = decimal_print_fixed(value_real(v), digits, text);
    } else if (is_real) {
        n = decimal_print(v.u.f, text);
    } else {
        int64_t i = v.kind == VALUE_FLOAT ? (int64_t)v.u.f : v.u.i;
        n = format_text(text, sizeof text, "%lld", (long long)i);
    }
    size_t first = text[0] == '-';
    if (first == 1) {
        SLM_TRY(builder_text(&b, "-", v.mark));
    } else if (spec->sign != 0) {
        SLM_TRY(builder_bytes(&b, &spec->sign, 1, v.mark));
    }
    for (size_t pad = b.n + n - first; spec->zero && pad < spec->width; pad++) {
        SLM_TRY(builder_text(&b, "0", v.mark));
    }
    size_t whole = first;
    while (whole < n && text[whole] >= '0' && text[whole] <= '9') {
        whole++;
    }
    for (size_t i = first; i < n; i++) {
        if (spec->group != 0 && i > first && i < whole && (whole - i) % 3 == 0) {
            SLM_TRY(builder_bytes(&b, &spec->group, 1, v.mark));
        }
        SLM_TRY(builder_bytes(&b, text + i, 1, v.mark));
    }
    return builder_end(&b, out);
}

static int text_format_value(struct builder *b, struct value v, const struct text_spec *spec)
{
    const struct str *s;
    int is_number = value_is_number(v) && (v.kind != VALUE_BOOL || spec->width > 0);
    if (spec->type == 's' || spec->type == 'r' || (!is_number && spec->type == 0)) {
        struct builder r = builder_begin(b->c);
        SLM_TRY(print_value(&r, v, spec->type == 'r', 0));
        SLM_TRY(builder_end(&r, &s));
        if (spec->precision >= 0) {
            SLM_TRY(str_slice(b->c, s, 0, str_offset(s, (uint64_t)spec->precision), &s));
        }
        return text_pad(b, s, spec, '<');
    }
    if (!value_is_number(v)) {
        return chat_fail(b->c, "%s is no number to be formatted", value_kind_name(v));
    }
    SLM_TRY(text_format_digits(b->c, v, spec, &s));
    return text_pad(b, s, spec, '>');
}

static uint32_t text_read_number(const struct str *s, uint32_t *at, uint32_t to)
{
    uint32_t n = 0;
    for (; *at < to && s->s[*at] >= '0' && s->s[*at] <= '9'; (*at)++) {
        n = n < LIMIT_RENDER_TEXT ? n * 10 + (uint32_t)(s->s[*at] - '0') : n;
    }
    return n;
}

/* Behind "%": flags, width, precision, type. */
static void text_read_percent(const struct str *s, uint32_t *at, struct text_spec *spec)
{
    for (; *at < s->n && text_has_char("-0+ #", s->s[*at]); (*at)++) {
        char flag = s->s[*at];
        spec->align = flag == '-' ? '<' : spec->align;
        spec->zero |= flag == '0';
        spec->alternate |= flag == '#';
        spec->sign = flag == '+' || flag == ' ' ? flag : spec->sign;
    }
    spec->width = text_read_number(s, at, s->n);
    if (*at < s->n && s->s[*at] == '.') {
        (*at)++;
        spec->precision = (int32_t)text_read_number(s, at, s->n);
    }
    spec->type = *at < s->n ? s->s[(*at)++] : 0;
    spec->type = spec->type == 'i' || spec->type == 'u' ? 'd' : spec->type;
    spec->align = spec->align == 0 ? '>' : spec->align;
}

/* "%s and %5.1f" % values, "%(name)s" % dict. Values that have indices need not all be used. */
static int text_percent(struct chat *c, const struct str *s, struct value values,
                        const struct str **out)
{
    struct builder b = builder_begin(c);
    struct list one = {&values, 1, 1};
    const struct list *l = values.kind == VALUE_TUPLE ? values.u.l : &one;
    int may_rest =
        values.kind == VALUE_LIST || values.kind == VALUE_DICT || values.kind == VALUE_UNDEFINED;
    uint32_t used = 0;
    for (uint32_t at = 0; at < s->n;) {
        struct text_spec spec = {' ', 0, 0, 0, 0, 0, 0, -1, 0};
        struct value v = value_of_kind(VALUE_MISSING);
        uint32_t percent = str_find(c, s, text_of("%"), at, s->n);
        SLM_TRY(builder_part(&b, s, at, percent > s->n ? s->n : percent));
        if (percent > s->n) {
            break;
        }
        at = percent + 1;
        if (at < s->n && s->s[at] == '(' && values.kind == VALUE_DICT) {
            uint32_t end = str_find(c, s, text_of(")"), at, s->n);
            struct text name = {s->s + at + 1, end > s->n ? 0 : end - at - 1};
            SLM_TRY(dict_find_text(c, values.u.d, name, &v));
            at = end > s->n ? s->n : end + 1;
        } else if (used < l->n) {
            v = l->items[used];
        }
        text_read_percent(s, &at, &spec);
        if (spec.type == '%') {
            SLM_TRY(builder_part(&b, s, at - 1, at));
            continue;
        }
        if (v.kind == VALUE_MISSING || spec.type == 0) {
            return chat_fail(c, "not enough values for the format");
        }
        used++;
        SLM_TRY(text_format_value(&b, v, &spec));
    }
    if (used < l->n && !may_rest) {
        return chat_fail(c, "more values than the format has places for");
    }
    return builder_end(&b, out);
}

static void text_read_spec(const struct str *s, uint32_t at, uint32_t to, struct text_spec *spec)
{
    uint32_t length = 1;
    if (at < to) {
        uint32_t point = str_point(s, at, &length);
        if (at + length < to && text_has_char("<>^", s->s[at + length])) {
            spec->fill = point;
            at += length;
        }
    }
    if (at < to && text_has_char("<>^", s->s[at])) {
        spec->align = s->s[at++];
    }
    if (at < to && (s->s[at] == '+' || s->s[at] == ' ' || s->s[at] == '-')) {
        spec->sign = s->s[at] == '-' ? 0 : s->s[at];
        at++;
    }
    if (at < to && s->s[at] == '#') {
        spec->alternate = 1;
        at++;
    }
    if (at < to && s->s[at] == '0') {
        spec->zero = 1;
        at++;
    }
    spec->width = text_read_number(s, &at, to);
    if (at < to && (s->s[at] == ',' || s->s[at] == '_')) {
        spec->group = s->s[at++];
    }
    if (at < to && s->s[at] == '.') {
        at++;
        spec->precision = (int32_t)text_read_number(s, &at, to);
    }
    spec->type = at < to ? s->s[at] : 0;
}
