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

static int text_has_char(const char *set, char c)
{
    for (; *set != 0 && *set != c; set++) {
    }
    return *set != 0;
}

/* ---- Case and digits ------------------------------------------------------------------------- */

/* Upper case; what is added to that for title case; decimal digits (1) and others (2). */
#include "case.inc"

static uint32_t text_upper(uint32_t point)
{
    return point + unicode_case_delta(text_upper_ranges, SLM_COUNT(text_upper_ranges), point);
}

static uint32_t text_title(uint32_t point)
{
    return text_upper(point) +
           unicode_case_delta(text_title_ranges, SLM_COUNT(text_title_ranges), point);
}

#define TEXT_DECIMAL 1
#define TEXT_DIGIT 2 /* a superscript, or in a circle */

/* One of these, or 0. */
static int text_digit(uint32_t point)
{
    int32_t i = 0;
    while (i < SLM_COUNT(text_digit_ranges) && text_digit_ranges[i].last < point) {
        i++;
    }
    return i < SLM_COUNT(text_digit_ranges) && text_digit_ranges[i].first <= point
               ? text_digit_ranges[i].code
               : 0;
}

static int text_is_cased(uint32_t point)
{
    return (unicode_class(point) & (UNICODE_UPPER | UNICODE_LOWER)) != 0;
}

#define TEXT_LOWER 0
#define TEXT_UPPER 1
#define TEXT_CAPITALIZE 2  /* the first character of the text */
#define TEXT_TITLE 3       /* of each run of letters */
#define TEXT_TITLE_WORDS 4 /* of each word between blanks, hyphens and opening brackets */
#define TEXT_SWAP 5
#define TEXT_FOLD 6 /* lower case, to be compared */

#define TEXT_SHARP_S 0xdfu
#define TEXT_SIGMA 0x3a3u
#define TEXT_FINAL_SIGMA 0x3c2u

/* Letters become one letter each; but for this one, the text that becomes of it. */
static const char *text_sharp_s(int how, int is_start)
{
    if (how == TEXT_UPPER || how == TEXT_SWAP || (how == TEXT_TITLE_WORDS && is_start)) {
        return "SS";
    }
    return how == TEXT_FOLD ? "ss" : how != TEXT_LOWER && is_start ? "Ss" : "\303\237";
}

static uint32_t text_case_point(uint32_t point, int how, int is_start)
{
    uint32_t upper = text_upper(point);
    if (how == TEXT_UPPER || (how == TEXT_SWAP && upper != point) ||
        (how == TEXT_TITLE_WORDS && is_start)) {
        return upper;
    }
    return (how == TEXT_TITLE || how == TEXT_CAPITALIZE) && is_start ? text_title(point)
                                                                     : unicode_lower(point);
}

/* Whether a letter stands at `at`, accents aside. */
static int text_letter_follows(const struct str *s, uint32_t at)
{
    uint32_t length = 1;
    for (; at < s->n; at += length) {
        uint32_t point = str_point(s, at, &length);
        if ((unicode_class(point) & UNICODE_ACCENT) == 0) {
            return text_is_cased(point);
        }
    }
    return 0;
}

static int text_begins_word(uint32_t before)
{
    return lex_is_space(before) || (before < 0x80 && text_has_char("-({[<", (char)before));
}

static int text_case(struct chat *c, const struct str *s, int how, const struct str **out)
{
    struct builder b = builder_begin(c);
    uint32_t length = 1;
    int is_start = 1;
    int was_cased = 0; /* the last character that is no accent */
    SLM_TRY(chat_work(c, s->n));
    SLM_TRY(builder_reserve(&b, s->n));
    for (uint32_t at = 0; at < s->n; at += length) {
        uint32_t point = str_point(s, at, &length);
        uint32_t mapped = text_case_point(point, how, is_start);
        if (point == TEXT_SIGMA && mapped != point && how != TEXT_FOLD && was_cased &&
            !text_letter_follows(s, at + length)) {
            mapped = TEXT_FINAL_SIGMA;
        }
        if (point == TEXT_SHARP_S) {
            SLM_TRY(builder_text(&b, text_sharp_s(how, is_start), str_mark(s, at)));
        } else if (mapped == point) {
            SLM_TRY(builder_part(&b, s, at, at + length));
        } else {
            SLM_TRY(builder_point(&b, mapped, str_mark(s, at)));
        }
        is_start = (how == TEXT_TITLE && !text_is_cased(point)) ||
                   (how == TEXT_TITLE_WORDS && text_begins_word(point));
        was_cased = (unicode_class(point) & UNICODE_ACCENT) != 0 ? was_cased : text_is_cased(point);
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

/* The piece before `to`, at a run of white space; *to moves to where it begins. */
static int text_push_word_before(struct chat *c, const struct str *s, int64_t most, uint32_t *to,
                                 struct list *l)
{
    const struct str *rest = s;
    uint32_t point;
    uint32_t at;
    struct str part = {s->s, s->marks, *to, s->mark};
    SLM_TRY(text_strip(c, &part, NULL, TEXT_RIGHT, &rest));
    for (at = rest->n; most != 0 && at > 0;) {
        uint32_t before = text_before(s, 0, at, &point);
        if (lex_is_space(point)) {
            break;
        }
        at = before;
    }
    at = most == 0 ? 0 : at;
    *to = at;
    return rest->n > 0 ? text_push(c, l, s, at, rest->n) : SLM_OK;
}

/* From the right: the pieces in the order of the text. */
static int text_split_right(struct chat *c, const struct str *s, const struct str *separator,
                            int64_t most, struct list *l)
{
    uint32_t to = s->n;
    SLM_TRY(chat_work(c, s->n / 4));
    for (; separator == NULL && to > 0; most -= most > 0) {
        SLM_TRY(text_push_word_before(c, s, most, &to, l));
    }
    for (; separator != NULL && most != 0; most -= most > 0) {
        uint32_t at = text_find_last(c, s, str_text(separator), 0, to);
        if (at > to) {
            break;
        }
        SLM_TRY(text_push(c, l, s, at + separator->n, to));
        to = at;
    }
    if (separator != NULL) {
        SLM_TRY(text_push(c, l, s, 0, to));
    }
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
