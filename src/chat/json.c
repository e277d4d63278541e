/* json.c - JSON text to values and back.
 *
 * The reader takes RFC 8259 and nothing else, without recursion. Strings without escapes stay where
 * they are in the text. Everything it makes is marked as content. Rules where the RFC leaves a
 * choice: of members of the same name the last one counts, in the place of the first; \u escapes of
 * half a surrogate pair become U+FFFD; bytes that are not UTF-8 stay as they are; a whole number
 * beyond 64 bits keeps its digits; other numbers become the nearest double.
 *
 * The writer is json.dumps of Python. */

/* ---- Reading --------------------------------------------------------------------------------- */

/* What is open: a list, or a dictionary and the key that waits for its value. */
struct json_level {
    struct value container;
    struct value key;
};

struct json {
    struct chat *c;
    const char *what; /* for messages */
    struct text t;
    size_t at;
    int32_t depth;
    struct json_level levels[LIMIT_JSON_DEPTH];
};

static int json_fail(const struct json *j, const char *expected)
{
    if (j->at >= j->t.n) {
        return error_set(j->c->err, SLM_E_ARGUMENT, (int64_t)j->at,
                         "%s: the JSON ends at byte %zu: %s expected", j->what, j->at, expected);
    }
    return error_set(j->c->err, SLM_E_ARGUMENT, (int64_t)j->at,
                     "%s: JSON byte %zu is '%c': %s expected", j->what, j->at, j->t.s[j->at],
                     expected);
}

static int json_peek(struct json *j)
{
    while (j->at < j->t.n && (j->t.s[j->at] == ' ' || j->t.s[j->at] == '\t' ||
                              j->t.s[j->at] == '\n' || j->t.s[j->at] == '\r')) {
        j->at++;
    }
    return j->at < j->t.n ? (uint8_t)j->t.s[j->at] : -1;
}

static int json_hex4(struct json *j, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++, j->at++) {
        int digit = j->at < j->t.n ? vocab_hex_digit((uint8_t)j->t.s[j->at]) : -1;
        if (digit < 0) {
            return json_fail(j, "four hexadecimal digits are");
        }
        *unit = *unit * 16 + (uint32_t)digit;
    }
    return SLM_OK;
}

/* Behind "\u". */
static int json_unicode(struct json *j, struct builder *b)
{
    uint32_t unit = 0;
    SLM_TRY(json_hex4(j, &unit));
    if (unit >= 0xd800 && unit < 0xdc00 && j->t.n - j->at >= 2 && j->t.s[j->at] == '\\' &&
        j->t.s[j->at + 1] == 'u') {
        size_t before = j->at;
        uint32_t low = 0;
        j->at += 2;
        SLM_TRY(json_hex4(j, &low));
        if (low >= 0xdc00 && low < 0xe000) {
            return builder_point(b, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                                 CHAT_CONTENT);
        }
        j->at = before; /* a half, and something else behind it */
    }
    return builder_point(b, unit >= 0xd800 && unit < 0xe000 ? UNICODE_BAD : unit, CHAT_CONTENT);
}

static int json_escape(struct json *j, struct builder *b)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    char c = j->at < j->t.n ? j->t.s[j->at] : 0;
    if (c == 'u') {
        j->at++;
        return json_unicode(j, b);
    }
    for (size_t i = 0; i + 1 < sizeof from; i++) {
        if (c == from[i]) {
            j->at++;
            return builder_bytes(b, to + i, 1, CHAT_CONTENT);
        }
    }
    return json_fail(j, "an escape of JSON is");
}

/* At the quote. */
static int json_string(struct json *j, struct value *out)
{
    struct builder b = builder_begin(j->c);
    size_t from = ++j->at;
    int has_escapes = 0;
    for (; j->at < j->t.n && j->t.s[j->at] != '"';) {
        if ((uint8_t)j->t.s[j->at] < 0x20) {
            return json_fail(j, "an escape instead of a control character is");
        }
        if (j->t.s[j->at] != '\\') {
            j->at++;
            continue;
        }
        SLM_TRY(builder_bytes(&b, j->t.s + from, j->at - from, CHAT_CONTENT));
        j->at++;
        SLM_TRY(json_escape(j, &b));
        has_escapes = 1;
        from = j->at;
    }
    if (j->at >= j->t.n) {
        return json_fail(j, "the end of a string is");
    }
    struct text rest = {j->t.s + from, j->at - from};
    j->at++;
    if (has_escapes) {
        SLM_TRY(builder_bytes(&b, rest.s, rest.n, CHAT_CONTENT));
        return value_build(&b, out);
    }
    const struct str *s;
    SLM_TRY(str_wrap(j->c, rest, CHAT_CONTENT, &s));
    *out = value_string(s);
    return SLM_OK;
}

static size_t json_digits(struct json *j)
{
    size_t n = 0;
    for (; j->at < j->t.n && j->t.s[j->at] >= '0' && j->t.s[j->at] <= '9'; j->at++) {
        n++;
    }
    return n;
}

/* A whole number of a text of digits and perhaps a sign. */
static int json_integer(struct chat *c, struct text t, unsigned mark, struct value *out)
{
    int is_negative = t.n > 0 && t.s[0] == '-';
    uint64_t most = (uint64_t)INT64_MAX + (uint64_t)is_negative;
    uint64_t n = 0;
    for (size_t i = (size_t)is_negative; i < t.n; i++) {
        uint64_t digit = (uint64_t)(t.s[i] - '0');
        if (n > (most - digit) / 10) {
            const struct str *s;
            SLM_TRY(str_wrap(c, t, mark, &s));
            *out = value_string(s);
            out->kind = VALUE_BIG;
            return SLM_OK;
        }
        n = n * 10 + digit;
    }
    *out = value_int(is_negative ? (int64_t)(0 - n) : (int64_t)n, mark);
    return SLM_OK;
}

static int json_number(struct json *j, struct value *out)
{
    size_t from = j->at;
    int is_whole = 1;
    uint64_t steps = 0;
    j->at += j->t.s[j->at] == '-' ? 1 : 0;
    size_t zero = j->at < j->t.n && j->t.s[j->at] == '0';
    size_t n = json_digits(j);
    if (n == 0 || (zero && n > 1)) {
        j->at -= n > 0 ? n - 1 : 0;
        return json_fail(j, n == 0 ? "a digit is" : "no digit behind a leading 0 is");
    }
    if (j->at < j->t.n && j->t.s[j->at] == '.') {
        is_whole = 0;
        j->at++;
        if (json_digits(j) == 0) {
            return json_fail(j, "a digit is");
        }
    }
    if (j->at < j->t.n && (j->t.s[j->at] == 'e' || j->t.s[j->at] == 'E')) {
        is_whole = 0;
        j->at++;
        j->at += j->at < j->t.n && (j->t.s[j->at] == '+' || j->t.s[j->at] == '-') ? 1 : 0;
        if (json_digits(j) == 0) {
            return json_fail(j, "a digit is");
        }
    }
    struct text t = {j->t.s + from, j->at - from};
    if (is_whole) {
        return json_integer(j->c, t, CHAT_CONTENT, out);
    }
    *out = value_float(decimal_parse(t, &steps), CHAT_CONTENT);
    return chat_work(j->c, steps);
}

static int json_word(struct json *j, const char *word, struct value v, struct value *out)
{
    size_t n = string_length(word);
    if (j->t.n - j->at < n || memcmp(j->t.s + j->at, word, n) != 0) {
        return json_fail(j, "a value is");
    }
    j->at += n;
    *out = v;
    out->mark = CHAT_CONTENT;
    return SLM_OK;
}

static int json_open(struct json *j, int32_t kind, struct value *out)
{
    if (j->depth == LIMIT_JSON_DEPTH) {
        return error_set(j->c->err, SLM_E_ARGUMENT, (int64_t)j->at,
                         "%s: JSON byte %zu: values nested more than %d deep", j->what, j->at,
                         LIMIT_JSON_DEPTH);
    }
    if (kind == VALUE_LIST) {
        struct list *l;
        SLM_TRY(list_make(j->c, 0, &l));
        *out = value_list(l, kind);
    } else {
        struct dict *d;
        SLM_TRY(dict_make(j->c, &d));
        *out = value_dict(d, kind);
    }
    j->at++;
    j->levels[j->depth++].container = *out;
    return SLM_OK;
}

/* A value, or the beginning of one that has parts: then *is_open. */
static int json_value(struct json *j, struct value *out, int *is_open)
{
    int c = json_peek(j);
    SLM_TRY(chat_work(j->c, 1));
    *is_open = c == '{' || c == '[';
    switch (c) {
    case '{':
        return json_open(j, VALUE_DICT, out);
    case '[':
        return json_open(j, VALUE_LIST, out);
    case '"':
        return json_string(j, out);
    case 't':
        return json_word(j, "true", value_bool(1), out);
    case 'f':
        return json_word(j, "false", value_bool(0), out);
    case 'n':
        return json_word(j, "null", value_none(), out);
    default:
        if (c != '-' && (c < '0' || c > '9')) {
            return json_fail(j, "a value is");
        }
        return json_number(j, out);
    }
}

static int json_key(struct json *j, struct json_level *level)
{
    if (json_peek(j) != '"') {
        return json_fail(j, "a name in quotes is");
    }
    SLM_TRY(json_string(j, &level->key));
    if (json_peek(j) != ':') {
        return json_fail(j, "':' is");
    }
    j->at++;
    return SLM_OK;
}

/* Goes from behind a value, or behind an opening bracket, to the next value. Closes what ends; *done
 * when nothing is open any more. */
static int json_next(struct json *j, int is_open, int *done)
{
    while (j->depth > 0) {
        struct json_level *level = &j->levels[j->depth - 1];
        int is_dict = level->container.kind == VALUE_DICT;
        int c = json_peek(j);
        if (c == (is_dict ? '}' : ']')) {
            j->at++;
            j->depth--;
            is_open = 0;
            if (is_dict) {
                SLM_TRY(dict_finish(j->c, level->container.u.d));
            }
            continue;
        }
        if (!is_open) {
            if (c != ',') {
                return json_fail(j, is_dict ? "',' or '}' is" : "',' or ']' is");
            }
            j->at++;
        }
        *done = 0;
        return is_dict ? json_key(j, level) : SLM_OK;
    }
    *done = 1;
    return SLM_OK;
}

/* All of a text. It must stay as long as the value. */
static int json_parse(struct chat *c, const char *what, struct text t, struct value *out)
{
    struct json *j; /* 4 KiB and more: not on the stack */
    int done = 0;
    int is_open = 0;
    CHAT_TAKE(c, j, struct json, 1);
    j->c = c;
    j->what = what;
    j->t = t;
    j->at = 0;
    j->depth = 0;
    if (t.n > LIMIT_RENDER_TEXT) {
        return error_set(c->err, SLM_E_ARGUMENT, -1, "%s: %zu bytes of JSON: at most %u", what, t.n,
                         LIMIT_RENDER_TEXT);
    }
    SLM_TRY(json_value(j, out, &is_open));
    SLM_TRY(json_next(j, is_open, &done));
    while (!done) {
        struct json_level *level = &j->levels[j->depth - 1];
        struct value v;
        SLM_TRY(json_value(j, &v, &is_open));
        if (level->container.kind == VALUE_DICT) {
            SLM_TRY(dict_push(c, level->container.u.d, level->key, v));
        } else {
            SLM_TRY(list_push(c, level->container.u.l, v));
        }
        SLM_TRY(json_next(j, is_open, &done));
    }
    return json_peek(j) < 0 ? SLM_OK : json_fail(j, "nothing more is");
}

/* ---- Writing --------------------------------------------------------------------------------- */

struct json_style {
    const struct str *indent; /* NULL: all on one line */
    const struct str *item_separator;
    const struct str *key_separator;
    int is_ascii;
    int is_sorted;
};

static int json_write_unit(struct builder *b, uint32_t unit)
{
    char text[8];
    size_t n = format_text(text, sizeof text, "\\u%x%x%x%x", unit >> 12, unit >> 8 & 15,
                           unit >> 4 & 15, unit & 15);
    return builder_bytes(b, text, n, CHAT_CONTENT);
}

/* The escape of an ASCII character, or 0. */
static char json_short_escape(uint32_t point)
{
    switch (point) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '"':
    case '\\':
        return (char)point;
    default:
        return 0;
    }
}

static int json_write_string(struct builder *b, const struct str *s, int is_ascii)
{
    uint32_t from = 0;
    uint32_t length = 1;
    SLM_TRY(builder_text(b, "\"", CHAT_CONTENT));
    for (uint32_t at = 0; at < s->n; at += length) {
        uint32_t point = str_point(s, at, &length);
        char escape[2] = {'\\', json_short_escape(point)};
        if (escape[1] == 0 && point >= 0x20 && (point < 0x7f || (point == 0x7f || !is_ascii))) {
            continue;
        }
        SLM_TRY(builder_part(b, s, from, at));
        from = at + length;
        if (escape[1] != 0) {
            SLM_TRY(builder_bytes(b, escape, 2, CHAT_CONTENT));
        } else if (point >= 0x10000) {
            SLM_TRY(json_write_unit(b, 0xd800 + ((point - 0x10000) >> 10)));
            SLM_TRY(json_write_unit(b, 0xdc00 + (point & 0x3ff)));
        } else {
            SLM_TRY(json_write_unit(b, point));
        }
    }
    SLM_TRY(builder_part(b, s, from, s->n));
    return builder_text(b, "\"", CHAT_CONTENT);
}

static int json_write_scalar(struct builder *b, struct value v)
{
    char text[DECIMAL_TEXT + 1];
    switch (v.kind) {
    case VALUE_NONE:
        return builder_text(b, "null", CHAT_CONTENT);
    case VALUE_BOOL:
        return builder_text(b, v.u.i ? "true" : "false", CHAT_CONTENT);
    case VALUE_INT:
        return builder_bytes(b, text, format_text(text, sizeof text, "%lld", (long long)v.u.i),
                             CHAT_CONTENT);
    case VALUE_BIG:
        return builder_bytes(b, v.u.s->s, v.u.s->n, CHAT_CONTENT);
    case VALUE_FLOAT:
        if (!math_is_finite(v.u.f)) {
            const char *name = math_is_nan(v.u.f) ? "NaN" : v.u.f < 0 ? "-Infinity" : "Infinity";
            return builder_text(b, name, CHAT_CONTENT);
        }
        SLM_TRY(chat_work(b->c, DECIMAL_STEPS));
        return builder_bytes(b, text, decimal_print(v.u.f, text), CHAT_CONTENT);
    default:
        return chat_fail(b->c, "%s has no form in JSON", value_kind_name(v));
    }
}

static int json_write_break(struct builder *b, const struct json_style *style, int32_t depth)
{
    if (style->indent == NULL) {
        return SLM_OK;
    }
    SLM_TRY(builder_text(b, "\n", CHAT_CONTENT));
    return builder_repeat(b, style->indent, (uint64_t)depth);
}

static int json_write(struct builder *b, struct value v, const struct json_style *style,
                      int32_t depth);

static int json_write_list(struct builder *b, const struct list *l, const struct json_style *style,
                           int32_t depth)
{
    SLM_TRY(builder_text(b, "[", CHAT_CONTENT));
    for (uint32_t i = 0; i < l->n; i++) {
        if (i > 0) {
            SLM_TRY(builder_str(b, style->item_separator));
        }
        SLM_TRY(json_write_break(b, style, depth + 1));
        SLM_TRY(json_write(b, l->items[i], style, depth + 1));
    }
    if (l->n > 0) {
        SLM_TRY(json_write_break(b, style, depth));
    }
    return builder_text(b, "]", CHAT_CONTENT);
}

static int json_write_dict(struct builder *b, const struct dict *d, const struct json_style *style,
                           int32_t depth)
{
    uint32_t *order = NULL;
    struct sorter s = {b->c, d, dict_order, 0};
    if (style->is_sorted && d->n > 0) {
        SLM_TRY(sorter_run(&s, d->n, &order));
    }
    SLM_TRY(builder_text(b, "{", CHAT_CONTENT));
    for (uint32_t i = 0; i < d->n; i++) {
        const struct entry *e = &d->entries[order != NULL ? order[i] : i];
        if (i > 0) {
            SLM_TRY(builder_str(b, style->item_separator));
        }
        SLM_TRY(json_write_break(b, style, depth + 1));
        if (e->key.kind == VALUE_STRING) {
            SLM_TRY(json_write_string(b, e->key.u.s, style->is_ascii));
        } else {
            SLM_TRY(builder_text(b, "\"", CHAT_CONTENT));
            SLM_TRY(json_write_scalar(b, e->key));
            SLM_TRY(builder_text(b, "\"", CHAT_CONTENT));
        }
        SLM_TRY(builder_str(b, style->key_separator));
        SLM_TRY(json_write(b, e->value, style, depth + 1));
    }
    if (d->n > 0) {
        SLM_TRY(json_write_break(b, style, depth));
    }
    return builder_text(b, "}", CHAT_CONTENT);
}

/* Recursion goes as deep as values do. */
static int json_write(struct builder *b, struct value v, const struct json_style *style,
                      int32_t depth)
{
    SLM_TRY(chat_work(b->c, 1));
    if (depth > LIMIT_JSON_DEPTH) {
        return chat_fail(b->c, "values nested more than %d deep", LIMIT_JSON_DEPTH);
    }
    if (v.kind == VALUE_STRING) {
        return json_write_string(b, v.u.s, style->is_ascii);
    }
    if (value_is_list(v) && !value_is_view(v)) {
        return json_write_list(b, v.u.l, style, depth);
    }
    return v.kind == VALUE_DICT ? json_write_dict(b, v.u.d, style, depth) : json_write_scalar(b, v);
}
