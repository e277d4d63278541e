/* methods.c - methods of strings and dictionaries, and what "." and "[]" find in a value.
 *
 * As in the sandbox that templates are written for, nothing changes a value: append, pop, update and
 * their kin exist and fail. */

/* ---- Strings --------------------------------------------------------------------------------- */

static int method_case(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    SLM_TRY(text_case(&j->c, k->self.u.s, k->function->variant, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int method_strip(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *chars;
    const struct str *s;
    SLM_TRY(call_string(j, k, 0, &chars));
    SLM_TRY(text_strip(&j->c, k->self.u.s, chars, k->function->variant, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int method_split(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *separator;
    int64_t most;
    struct list *l;
    SLM_TRY(call_string(j, k, 0, &separator));
    SLM_TRY(call_integer(j, k, 1, -1, &most));
    SLM_TRY(list_make(&j->c, 0, &l));
    if (separator != NULL && separator->n == 0) {
        return chat_fail(&j->c, "%s: an empty separator", k->function->name);
    }
    if (k->function->variant == TEXT_RIGHT) {
        SLM_TRY(text_split_right(&j->c, k->self.u.s, separator, most, l));
    } else {
        SLM_TRY(text_split(&j->c, k->self.u.s, separator, most, l));
    }
    *out = value_list(l, VALUE_LIST);
    return SLM_OK;
}

static int method_splitlines(struct jinja *j, struct call *k, struct value *out)
{
    struct list *l;
    SLM_TRY(list_make(&j->c, 0, &l));
    SLM_TRY(text_split_lines(&j->c, k->self.u.s, call_flag(k, 0, 0), l));
    *out = value_list(l, VALUE_LIST);
    return SLM_OK;
}

static int method_partition(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s = k->self.u.s;
    const struct str *part;
    struct list *l;
    SLM_TRY(call_string(j, k, 0, &part));
    if (part == NULL || part->n == 0) {
        return call_fail(j, k, "a separator is", k->arg[0]);
    }
    int from_right = k->function->variant == TEXT_RIGHT;
    SLM_TRY(chat_work(&j->c, s->n / 16));
    uint32_t at = from_right ? text_find_last(&j->c, s, str_text(part), 0, s->n)
                             : str_find(&j->c, s, str_text(part), 0, s->n);
    uint32_t end = at + part->n;
    if (at > s->n) {
        at = end = from_right ? 0 : s->n;
    }
    SLM_TRY(list_make(&j->c, 3, &l));
    SLM_TRY(text_push(&j->c, l, s, 0, at));
    SLM_TRY(text_push(&j->c, l, s, at, end));
    SLM_TRY(text_push(&j->c, l, s, end, s->n));
    *out = value_list(l, VALUE_TUPLE);
    return SLM_OK;
}

/* Bytes of the slice that arguments first and first + 1 cut out; from above to: not even an empty
 * one. */
static int method_range(struct jinja *j, const struct call *k, int32_t first, uint32_t *from,
                        uint32_t *to)
{
    const struct str *s = k->self.u.s;
    int64_t n = str_points(&j->c, s);
    int64_t a;
    int64_t b;
    SLM_TRY(call_integer(j, k, first, 0, &a));
    SLM_TRY(call_integer(j, k, first + 1, n, &b));
    a = max_i64(a < 0 ? a + n : a, 0);
    b = min_i64(max_i64(b < 0 ? b + n : b, 0), n);
    int is_range = a <= b;
    *from = is_range ? str_offset(&j->c, s, (uint64_t)a) : 1;
    *to = is_range ? str_offset(&j->c, s, (uint64_t)b) : 0;
    return SLM_OK;
}

static int method_has_edge(struct chat *c, const struct str *s, struct text part, uint32_t from,
                           uint32_t to, int side)
{
    uint32_t at = side == TEXT_LEFT ? from : to - (uint32_t)part.n;
    chat_spend(c, 1 + part.n / 16);
    return part.n <= to - from && (part.n == 0 || memcmp(s->s + at, part.s, part.n) == 0);
}

static int method_edge(struct jinja *j, struct call *k, struct value *out)
{
    uint32_t from;
    uint32_t to;
    struct list one = {&k->arg[0], 1, 1};
    const struct list *parts = k->arg[0].kind == VALUE_TUPLE ? k->arg[0].u.l : &one;
    SLM_TRY(method_range(j, k, 1, &from, &to));
    *out = value_bool(0);
    for (uint32_t i = 0; i < parts->n; i++) {
        if (parts->items[i].kind != VALUE_STRING) {
            return call_fail(j, k, "a string is", parts->items[i]);
        }
        out->u.i |= from <= to && method_has_edge(&j->c, k->self.u.s, str_text(parts->items[i].u.s),
                                                  from, to, k->function->variant);
        SLM_TRY(chat_work(&j->c, 1));
    }
    return SLM_OK;
}

static int method_remove(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s = k->self.u.s;
    const struct str *part;
    const struct str *rest = s;
    SLM_TRY(call_string(j, k, 0, &part));
    if (part != NULL && method_has_edge(&j->c, s, str_text(part), 0, s->n, k->function->variant)) {
        int left = k->function->variant == TEXT_LEFT;
        SLM_TRY(str_slice(&j->c, s, left ? part->n : 0, left ? s->n : s->n - part->n, &rest));
    }
    *out = value_string(rest);
    return SLM_OK;
}

#define METHOD_FIND 0
#define METHOD_INDEX 1
#define METHOD_LAST 2

static int method_find(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s = k->self.u.s;
    const struct str *part;
    uint32_t from;
    uint32_t to;
    int is_last = (k->function->variant & METHOD_LAST) != 0;
    SLM_TRY(call_string(j, k, 0, &part));
    if (part == NULL) {
        return call_fail(j, k, "a string is", k->arg[0]);
    }
    SLM_TRY(method_range(j, k, 1, &from, &to));
    uint32_t at = from > to ? to + 1
                  : is_last ? text_find_last(&j->c, s, str_text(part), from, to)
                            : str_find(&j->c, s, str_text(part), from, to);
    if (at <= to) {
        struct str before = {s->s, NULL, at, CHAT_CONTENT};
        *out = value_int(str_points(&j->c, &before), CHAT_CONTENT);
        return SLM_OK;
    }
    *out = value_int(-1, CHAT_CONTENT);
    return (k->function->variant & METHOD_INDEX) != 0
               ? chat_fail(&j->c, "%s: substring not found", k->function->name)
               : SLM_OK;
}

static int method_count(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s = k->self.u.s;
    const struct str *part;
    uint32_t from;
    uint32_t to;
    int64_t n = 0;
    SLM_TRY(call_string(j, k, 0, &part));
    if (part == NULL) {
        return call_fail(j, k, "a string is", k->arg[0]);
    }
    SLM_TRY(method_range(j, k, 1, &from, &to));
    SLM_TRY(chat_work(&j->c, s->n));
    if (part->n == 0 && from <= to) {
        struct str range = {s->s + from, NULL, to - from, CHAT_CONTENT};
        n = (int64_t)str_points(&j->c, &range) + 1;
    }
    while (part->n > 0 && from <= to) {
        uint32_t at = str_find(&j->c, s, str_text(part), from, to);
        n += at <= to;
        from = at <= to ? at + part->n : at;
    }
    *out = value_int(n, CHAT_CONTENT);
    return SLM_OK;
}

static int method_replace(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *old;
    const struct str *new_text;
    const struct str *s;
    int64_t most;
    SLM_TRY(call_string(j, k, 0, &old));
    SLM_TRY(call_string(j, k, 1, &new_text));
    SLM_TRY(call_integer(j, k, 2, -1, &most));
    if (old == NULL || new_text == NULL) {
        return call_fail(j, k, "a string is", k->arg[old == NULL ? 0 : 1]);
    }
    SLM_TRY(text_replace(&j->c, k->self.u.s, old, new_text, most, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int method_join(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    const struct list *l;
    SLM_TRY(jinja_iterate(j, k->arg[0], &l));
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->items[i].kind != VALUE_STRING) {
            return call_fail(j, k, "a list of strings is", l->items[i]);
        }
        if (i > 0) {
            SLM_TRY(builder_str(&b, k->self.u.s));
        }
        SLM_TRY(builder_str(&b, l->items[i].u.s));
    }
    return value_build(&b, out);
}

/* The value that a field of str.format names: "", "0", "name", "name.attribute". */
static int method_format_field(struct jinja *j, const struct call *k, struct text name,
                               uint32_t *next, struct value *out)
{
    size_t n = 0;
    struct text rest = {name.s, 0};
    const struct str *attribute;
    int64_t index = 0;
    while (n < name.n && name.s[n] != '.' && name.s[n] != '[') {
        n++;
    }
    int is_number = 1;
    for (size_t i = 0; i < n; i++) {
        is_number = is_number && name.s[i] >= '0' && name.s[i] <= '9' && n < 9;
        index = is_number ? index * 10 + (name.s[i] - '0') : 0;
    }
    struct text head = {name.s, n};
    *out = value_of_kind(VALUE_MISSING);
    if (is_number) {
        index = n == 0 ? (int64_t)(*next)++ : index;
        if (index < k->positional->n) {
            *out = k->positional->items[index];
        }
    } else if (k->named != NULL) {
        SLM_TRY(dict_find_text(&j->c, k->named, head, out));
    }
    if (out->kind == VALUE_MISSING) {
        return chat_fail(&j->c, "format: no value for {%.*s}", text_width(name), name.s);
    }
    if (n < name.n) {
        rest.s = name.s + n + 1;
        rest.n = name.n - n - 1;
        rest.n -= name.s[n] == '[' && rest.n > 0 ? 1 : 0;
        SLM_TRY(str_wrap(&j->c, rest, CHAT_CONTENT, &attribute));
        return jinja_attribute(j, *out, attribute, out);
    }
    return SLM_OK;
}

/* The field at the bracket *at. */
static int method_format_part(struct jinja *j, const struct call *k, uint32_t *at, uint32_t *next,
                              struct builder *b)
{
    const struct str *s = k->self.u.s;
    struct text_spec spec = {' ', 0, 0, 0, 0, 0, 0, -1, 0};
    uint32_t end = str_find(&j->c, s, text_of("}"), *at, s->n);
    struct value v;
    if (s->s[*at] == '}' || end > s->n) {
        return chat_fail(&j->c, "format: a single bracket");
    }
    uint32_t colon = str_find(&j->c, s, text_of(":"), *at, end);
    colon = colon > end ? end : colon;
    uint32_t bang = str_find(&j->c, s, text_of("!"), *at, colon);
    struct text name = {s->s + *at + 1, (bang > colon ? colon : bang) - *at - 1};
    SLM_TRY(method_format_field(j, k, name, next, &v));
    if (colon < end) {
        SLM_TRY(text_read_spec(&j->c, s, colon + 1, end, &spec));
    }
    if (bang <= colon && bang + 1 < colon) {
        spec.type = s->s[bang + 1] == 'r' ? 'r' : 's';
    }
    *at = end + 1;
    return text_format_value(b, v, &spec);
}

static int method_format(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s = k->self.u.s;
    struct builder b = builder_begin(&j->c);
    uint32_t next = 0;
    SLM_TRY(chat_work(&j->c, s->n));
    for (uint32_t at = 0; at < s->n;) {
        if (s->s[at] != '{' && s->s[at] != '}') {
            uint32_t from = at;
            while (at < s->n && s->s[at] != '{' && s->s[at] != '}') {
                at++;
            }
            SLM_TRY(builder_part(&b, s, from, at));
        } else if (at + 1 < s->n && s->s[at + 1] == s->s[at]) {
            SLM_TRY(builder_part(&b, s, at, at + 1));
            at += 2;
        } else {
            SLM_TRY(method_format_part(j, k, &at, &next, &b));
        }
    }
    return value_build(&b, out);
}

/* center, ljust, rjust, zfill */
static int method_pad(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct text_spec spec = {' ', (char)k->function->variant, 0, 0, 0, 0, 0, -1, 0};
    const struct str *fill;
    int64_t width;
    uint32_t length = 1;
    SLM_TRY(call_integer(j, k, 0, 0, &width));
    SLM_TRY(call_string(j, k, 1, &fill));
    if (width > (int64_t)LIMIT_RENDER_TEXT) {
        return chat_fail(&j->c, "a text of more than %u bytes", LIMIT_RENDER_TEXT);
    }
    spec.width = width > 0 ? (uint32_t)width : 0;
    spec.fill = fill != NULL && fill->n > 0 ? str_point(fill, 0, &length) : ' ';
    SLM_TRY(text_pad(&b, k->self.u.s, &spec, '<'));
    return value_build(&b, out);
}

/* Zeros behind the sign. */
static int method_zfill(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    const struct str *s = k->self.u.s;
    struct str zero = {"0", NULL, 1, CHAT_CONTENT};
    int64_t width;
    SLM_TRY(call_integer(j, k, 0, 0, &width));
    uint32_t sign = s->n > 0 && (s->s[0] == '-' || s->s[0] == '+') ? 1 : 0;
    int64_t zeros = max_i64(width, 0) - str_points(&j->c, s);
    SLM_TRY(builder_part(&b, s, 0, sign));
    SLM_TRY(builder_repeat(&b, &zero, zeros > 0 ? (uint64_t)zeros : 0));
    SLM_TRY(builder_part(&b, s, sign, s->n));
    return value_build(&b, out);
}

#define METHOD_ALPHA 1
#define METHOD_DIGIT 2
#define METHOD_ALNUM 3
#define METHOD_SPACE 4
#define METHOD_LOWER 5
#define METHOD_UPPER 6
#define METHOD_ASCII 7
#define METHOD_DECIMAL 8
#define METHOD_NUMERIC 9

static int method_is(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s = k->self.u.s;
    int how = k->function->variant;
    int all = s->n > 0 || how == METHOD_ASCII;
    int cased = 0;
    uint32_t length = 1;
    SLM_TRY(chat_work(&j->c, s->n));
    for (uint32_t at = 0; at < s->n && all; at += length) {
        uint32_t point = str_point(s, at, &length);
        unsigned kind = unicode_class(point);
        int is_upper = (kind & UNICODE_UPPER) != 0;
        int is_lower = (kind & UNICODE_LOWER) != 0;
        all = how == METHOD_ALPHA     ? (kind & UNICODE_LETTER) != 0
              : how == METHOD_DECIMAL ? text_digit(point) == TEXT_DECIMAL
              : how == METHOD_DIGIT   ? text_digit(point) != 0
              : how == METHOD_NUMERIC ? (kind & UNICODE_NUMBER) != 0
              : how == METHOD_ALNUM   ? (kind & (UNICODE_LETTER | UNICODE_NUMBER)) != 0
              : how == METHOD_SPACE   ? lex_is_space(point)
              : how == METHOD_ASCII   ? point < 0x80
              : how == METHOD_LOWER   ? !is_upper
                                      : !is_lower;
        cased |= is_upper | is_lower;
    }
    *out = value_bool(all && (cased || (how != METHOD_LOWER && how != METHOD_UPPER)));
    return SLM_OK;
}

static const struct function method_strings[] = {
    {"capitalize", method_case, "", 0, TEXT_CAPITALIZE},
    {"casefold", method_case, "", 0, TEXT_FOLD},
    {"center", method_pad, "width fillchar", 1, 'c'},
    {"count", method_count, "sub start end", 1, 0},
    {"endswith", method_edge, "suffix start end", 1, TEXT_RIGHT},
    {"find", method_find, "sub start end", 1, METHOD_FIND},
    {"format", method_format, NULL, 0, 0},
    {"index", method_find, "sub start end", 1, METHOD_INDEX},
    {"isalnum", method_is, "", 0, METHOD_ALNUM},
    {"isalpha", method_is, "", 0, METHOD_ALPHA},
    {"isascii", method_is, "", 0, METHOD_ASCII},
    {"isdecimal", method_is, "", 0, METHOD_DECIMAL},
    {"isdigit", method_is, "", 0, METHOD_DIGIT},
    {"islower", method_is, "", 0, METHOD_LOWER},
    {"isnumeric", method_is, "", 0, METHOD_NUMERIC},
    {"isspace", method_is, "", 0, METHOD_SPACE},
    {"isupper", method_is, "", 0, METHOD_UPPER},
    {"join", method_join, "iterable", 1, 0},
    {"ljust", method_pad, "width fillchar", 1, '<'},
    {"lower", method_case, "", 0, TEXT_LOWER},
    {"lstrip", method_strip, "chars", 0, TEXT_LEFT},
    {"partition", method_partition, "sep", 1, TEXT_LEFT},
    {"removeprefix", method_remove, "prefix", 1, TEXT_LEFT},
    {"removesuffix", method_remove, "suffix", 1, TEXT_RIGHT},
    {"replace", method_replace, "old new count", 2, 0},
    {"rfind", method_find, "sub start end", 1, METHOD_LAST},
    {"rindex", method_find, "sub start end", 1, METHOD_LAST | METHOD_INDEX},
    {"rjust", method_pad, "width fillchar", 1, '>'},
    {"rpartition", method_partition, "sep", 1, TEXT_RIGHT},
    {"rsplit", method_split, "sep maxsplit", 0, TEXT_RIGHT},
    {"rstrip", method_strip, "chars", 0, TEXT_RIGHT},
    {"split", method_split, "sep maxsplit", 0, TEXT_LEFT},
    {"splitlines", method_splitlines, "keepends", 0, 0},
    {"startswith", method_edge, "prefix start end", 1, TEXT_LEFT},
    {"strip", method_strip, "chars", 0, TEXT_LEFT | TEXT_RIGHT},
    {"swapcase", method_case, "", 0, TEXT_SWAP},
    {"title", method_case, "", 0, TEXT_TITLE},
    {"upper", method_case, "", 0, TEXT_UPPER},
    {"zfill", method_zfill, "width", 1, 0},
};

/* ---- Dictionaries and lists ------------------------------------------------------------------ */

static int method_get(struct jinja *j, struct call *k, struct value *out)
{
    SLM_TRY(value_find_key(&j->c, k->self.u.d, k->arg[0], out));
    if (out->kind == VALUE_MISSING) {
        *out = call_has(k, 1) ? k->arg[1] : value_none();
    }
    return SLM_OK;
}

static int method_entries(struct jinja *j, struct call *k, struct value *out)
{
    const struct dict *d = k->self.u.d;
    struct list *l;
    SLM_TRY(list_make(&j->c, d->n, &l));
    for (uint32_t i = 0; i < d->n; i++) {
        struct value v = k->function->variant == (int32_t)VALUE_VIEW_KEYS ? d->entries[i].key
                                                                          : d->entries[i].value;
        if (k->function->variant == (int32_t)VALUE_VIEW_ITEMS) {
            SLM_TRY(list_pair(&j->c, d->entries[i].key, d->entries[i].value, &v));
        }
        SLM_TRY(list_push(&j->c, l, v));
    }
    *out = value_list(l, VALUE_LIST);
    out->mark = (uint32_t)k->function->variant;
    return SLM_OK;
}

static int method_copy(struct jinja *j, struct call *k, struct value *out)
{
    (void)j;
    *out = k->self;
    return SLM_OK;
}

/* list.index and list.count */
static int method_search(struct jinja *j, struct call *k, struct value *out)
{
    const struct list *l = k->self.u.l;
    int64_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        int equal = 0;
        SLM_TRY(value_equal(&j->c, l->items[i], k->arg[0], &equal));
        if (equal && k->function->variant == METHOD_INDEX) {
            *out = value_int(i, CHAT_CONTENT);
            return SLM_OK;
        }
        n += equal;
    }
    *out = value_int(n, CHAT_CONTENT);
    return k->function->variant == METHOD_INDEX ? chat_fail(&j->c, "index: not in the list")
                                                : SLM_OK;
}

static int method_refuse(struct jinja *j, struct call *k, struct value *out)
{
    (void)out;
    return chat_fail(&j->c, "'%s' of %s would change it, which templates may not",
                     k->function->name, value_kind_name(k->self));
}

static const struct function method_dicts[] = {
    {"clear", method_refuse, NULL, 0, 0},
    {"copy", method_copy, "", 0, 0},
    {"get", method_get, "key default", 1, 0},
    {"items", method_entries, "", 0, VALUE_VIEW_ITEMS},
    {"keys", method_entries, "", 0, VALUE_VIEW_KEYS},
    {"pop", method_refuse, NULL, 0, 0},
    {"popitem", method_refuse, NULL, 0, 0},
    {"setdefault", method_refuse, NULL, 0, 0},
    {"update", method_refuse, NULL, 0, 0},
    {"values", method_entries, "", 0, VALUE_VIEW_VALUES},
};

static const struct function method_lists[] = {
    {"append", method_refuse, NULL, 0, 0}, {"clear", method_refuse, NULL, 0, 0},
    {"copy", method_copy, "", 0, 0},       {"count", method_search, "value", 1, 0},
    {"extend", method_refuse, NULL, 0, 0}, {"index", method_search, "value", 1, METHOD_INDEX},
    {"insert", method_refuse, NULL, 0, 0}, {"pop", method_refuse, NULL, 0, 0},
    {"remove", method_refuse, NULL, 0, 0}, {"reverse", method_refuse, NULL, 0, 0},
    {"sort", method_refuse, NULL, 0, 0},
};

/* ---- Loops ----------------------------------------------------------------------------------- */

static int method_cycle(struct jinja *j, struct call *k, struct value *out)
{
    const struct loop *loop = (const struct loop *)k->self.u.p;
    if (k->positional->n == 0) {
        return chat_fail(&j->c, "cycle: a value is expected");
    }
    *out = k->positional->items[loop->at % k->positional->n];
    return SLM_OK;
}

static int method_changed(struct jinja *j, struct call *k, struct value *out)
{
    struct loop *loop = (struct loop *)k->self.u.p;
    struct value now = value_list(k->positional, VALUE_TUPLE);
    int equal = 0;
    if (loop->changed.kind != VALUE_MISSING) {
        SLM_TRY(value_equal(&j->c, loop->changed, now, &equal));
    }
    loop->changed = now;
    *out = value_bool(!equal);
    return SLM_OK;
}

static const struct function method_loops[] = {
    {"changed", method_changed, NULL, 0, 0},
    {"cycle", method_cycle, NULL, 0, 0},
};

static struct value method_loop_value(const struct loop *loop, struct text name)
{
    static const char *const names[] = {"index",  "index0", "revindex", "revindex0",
                                        "length", "depth",  "depth0"};
    int64_t n = loop->items->n;
    const int64_t values[] = {loop->at + 1,    loop->at,   n - loop->at, n - loop->at - 1, n,
                              loop->depth + 1, loop->depth};
    for (int32_t i = 0; i < SLM_COUNT(names); i++) {
        if (text_is(name, names[i])) {
            return value_int(values[i], CHAT_TEMPLATE);
        }
    }
    if (text_is(name, "first") || text_is(name, "last")) {
        return value_bool(loop->at == (name.s[0] == 'f' ? 0 : loop->items->n - 1));
    }
    if (text_is(name, "previtem") || text_is(name, "nextitem")) {
        int is_next = name.s[0] == 'n';
        if (is_next ? loop->at + 1 < loop->items->n : loop->at > 0) {
            return loop->items->items[is_next ? loop->at + 1 : loop->at - 1];
        }
        return value_undefined(NULL);
    }
    return value_of_kind(VALUE_MISSING);
}

/* ---- Macros ---------------------------------------------------------------------------------- */

static int method_macro(struct jinja *j, const struct node *node, struct text name,
                        struct value *out)
{
    static const struct {
        const char *name;
        uint32_t uses;
    } flags[] = {{"caller", PARSE_USES_CALLER},
                 {"catch_kwargs", PARSE_USES_KWARGS},
                 {"catch_varargs", PARSE_USES_VARARGS}};
    for (int32_t i = 0; i < SLM_COUNT(flags); i++) {
        if (text_is(name, flags[i].name)) {
            *out = value_bool((node->op & flags[i].uses) != 0);
        }
    }
    if (text_is(name, "name") && node->name != NULL) {
        *out = value_string(node->name);
    }
    if (text_is(name, "arguments")) {
        struct list *l;
        SLM_TRY(list_make(&j->c, 0, &l));
        for (const struct node *p = node->a; p != NULL; p = p->next) {
            SLM_TRY(list_push(&j->c, l, value_string(p->name)));
        }
        *out = value_list(l, VALUE_TUPLE);
    }
    return SLM_OK;
}

/* ---- "." and "[]" ---------------------------------------------------------------------------- */

static const struct function *method_of(struct value v, struct text name)
{
    switch (v.kind) {
    case VALUE_STRING:
        return function_find(method_strings, SLM_COUNT(method_strings), name);
    case VALUE_DICT:
        return function_find(method_dicts, SLM_COUNT(method_dicts), name);
    case VALUE_LIST:
        return value_is_view(v) ? NULL : function_find(method_lists, SLM_COUNT(method_lists), name);
    case VALUE_LOOP:
        return function_find(method_loops, SLM_COUNT(method_loops), name);
    default:
        return NULL;
    }
}

static int method_bind(struct jinja *j, struct value v, const struct function *f, struct value *out)
{
    struct method *m;
    CHAT_TAKE(&j->c, m, struct method, 1);
    m->function = f;
    m->self = v;
    *out = value_of_kind(VALUE_METHOD);
    out->u.p = m;
    return SLM_OK;
}

static int method_undefined(struct jinja *j, struct value v, const struct str *name)
{
    return chat_fail(&j->c, "'%.*s' is undefined, and so has no '%.*s'",
                     v.u.s != NULL ? text_width(str_text(v.u.s)) : 0, v.u.s != NULL ? v.u.s->s : "",
                     name != NULL ? text_width(str_text(name)) : 4,
                     name != NULL ? name->s : "item");
}

/* Python's attribute first, then what the value holds under that name. */
static int jinja_attribute(struct jinja *j, struct value v, const struct str *name,
                           struct value *out)
{
    const struct function *f = method_of(v, str_text(name));
    SLM_TRY(chat_work(&j->c, 1));
    if (v.kind == VALUE_UNDEFINED) {
        return method_undefined(j, v, name);
    }
    if (f != NULL) {
        return method_bind(j, v, f, out);
    }
    *out = value_of_kind(VALUE_MISSING);
    if (v.kind == VALUE_DICT || v.kind == VALUE_SPACE) {
        SLM_TRY(dict_find_text(&j->c, v.u.d, str_text(name), out));
    } else if (v.kind == VALUE_LOOP) {
        *out = method_loop_value((const struct loop *)v.u.p, str_text(name));
    } else if (v.kind == VALUE_TUPLE && v.mark == VALUE_GROUP) {
        if (text_is(str_text(name), "grouper") || text_is(str_text(name), "list")) {
            *out = v.u.l->items[name->s[0] == 'l'];
        }
    } else if (v.kind == VALUE_MACRO) {
        SLM_TRY(method_macro(j, ((const struct macro *)v.u.p)->node, str_text(name), out));
    }
    if (out->kind == VALUE_MISSING) {
        *out = value_undefined(name);
    }
    return SLM_OK;
}

/* What the value holds first, then Python's attribute. */
static int jinja_item(struct jinja *j, struct value v, struct value index, struct value *out)
{
    SLM_TRY(chat_work(&j->c, 1));
    *out = value_of_kind(VALUE_MISSING);
    if (v.kind == VALUE_UNDEFINED) {
        return method_undefined(j, v, index.kind == VALUE_STRING ? index.u.s : NULL);
    }
    if (v.kind == VALUE_DICT) {
        SLM_TRY(value_find_key(&j->c, v.u.d, index, out));
    } else if (value_is_integer(index) && value_is_list(v) && !value_is_view(v)) {
        int64_t i = index.u.i < 0 ? index.u.i + v.u.l->n : index.u.i;
        if (i >= 0 && i < v.u.l->n) {
            *out = v.u.l->items[i];
        }
    } else if (value_is_integer(index) && v.kind == VALUE_STRING) {
        int64_t n = str_points(&j->c, v.u.s);
        int64_t i = index.u.i < 0 ? index.u.i + n : index.u.i;
        if (i >= 0 && i < n) {
            const struct str *s;
            uint32_t from = str_offset(&j->c, v.u.s, (uint64_t)i);
            uint32_t length = 1;
            str_point(v.u.s, from, &length);
            SLM_TRY(str_slice(&j->c, v.u.s, from, from + length, &s));
            *out = value_string(s);
        }
    }
    if (out->kind != VALUE_MISSING) {
        return SLM_OK;
    }
    if (index.kind == VALUE_STRING) {
        return jinja_attribute(j, v, index.u.s, out);
    }
    *out = value_undefined(NULL);
    return SLM_OK;
}
