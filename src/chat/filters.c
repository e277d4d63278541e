/* filters.c - filters: a row each. */

/* str(v) of the value that is filtered. */
static int filter_self(struct jinja *j, const struct call *k, const struct str **s)
{
    return text_str(&j->c, k->self, s);
}

/* ---- Texts ----------------------------------------------------------------------------------- */

static int filter_string(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    SLM_TRY(filter_self(j, k, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int filter_case(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    SLM_TRY(filter_self(j, k, &s));
    SLM_TRY(text_case(&j->c, s, k->function->variant, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int filter_trim(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    const struct str *chars;
    SLM_TRY(filter_self(j, k, &s));
    SLM_TRY(call_string(j, k, 0, &chars));
    SLM_TRY(text_strip(&j->c, s, chars, TEXT_LEFT | TEXT_RIGHT, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int filter_replace(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    const struct str *old;
    const struct str *new_text;
    int64_t most;
    SLM_TRY(filter_self(j, k, &s));
    SLM_TRY(text_str(&j->c, k->arg[0], &old));
    SLM_TRY(text_str(&j->c, k->arg[1], &new_text));
    SLM_TRY(call_integer(j, k, 2, -1, &most));
    SLM_TRY(text_replace(&j->c, s, old, new_text, most, &s));
    *out = value_string(s);
    return SLM_OK;
}

/* HTML's entities for what has a meaning in HTML. */
static int filter_escape_text(struct jinja *j, const struct str *s, const struct str **out)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct builder b = builder_begin(&j->c);
    for (uint32_t at = 0; at < s->n; at++) {
        size_t i = 0;
        while (from[i] != 0 && from[i] != s->s[at]) {
            i++;
        }
        SLM_TRY(from[i] != 0 ? builder_text(&b, to[i], CHAT_CONTENT)
                             : builder_part(&b, s, at, at + 1));
    }
    return builder_end(&b, out);
}

#define FILTER_ESCAPE 0 /* what is not escaped yet */
#define FILTER_FORCE 1
#define FILTER_SAFE 2 /* says that it was done */

static int filter_escape(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    SLM_TRY(filter_self(j, k, &s));
    int is_safe = k->self.kind == VALUE_STRING && k->self.mark == VALUE_SAFE;
    if (k->function->variant == FILTER_FORCE ||
        (k->function->variant == FILTER_ESCAPE && !is_safe)) {
        SLM_TRY(filter_escape_text(j, s, &s));
    }
    *out = value_string(s);
    out->mark = VALUE_SAFE;
    return SLM_OK;
}

static int filter_urlencode(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    const struct str *s;
    if (value_is_list(k->self) || k->self.kind == VALUE_DICT || k->self.kind == VALUE_ITERATOR) {
        return call_fail(j, k, "a string is", k->self); /* pairs of a query */
    }
    SLM_TRY(filter_self(j, k, &s));
    for (uint32_t at = 0; at < s->n; at++) {
        uint8_t c = (uint8_t)s->s[at];
        char hex[4] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15], 0};
        int plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    text_has_char("/-_.~", (char)c);
        SLM_TRY(plain && c != 0 ? builder_part(&b, s, at, at + 1)
                                : builder_text(&b, hex, CHAT_CONTENT));
    }
    return value_build(&b, out);
}

static int filter_indent(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct str blanks = {" ", NULL, 1, CHAT_CONTENT};
    const struct str *indent = &blanks;
    const struct str *s;
    struct list *lines;
    int64_t times = 1;
    SLM_TRY(filter_self(j, k, &s));
    if (k->arg[0].kind == VALUE_STRING) {
        indent = k->arg[0].u.s;
    } else {
        SLM_TRY(call_integer(j, k, 0, 4, &times));
    }
    SLM_TRY(list_make(&j->c, 0, &lines));
    SLM_TRY(builder_str(&b, s));
    SLM_TRY(builder_text(&b, "\n", CHAT_CONTENT)); /* so that a last line may be empty */
    SLM_TRY(builder_end(&b, &s));
    SLM_TRY(text_split_lines(&j->c, s, 0, lines));
    b = builder_begin(&j->c);
    for (uint32_t i = 0; i < lines->n; i++) {
        const struct str *line = lines->items[i].u.s;
        SLM_TRY(builder_text(&b, i > 0 ? "\n" : "", CHAT_CONTENT));
        if (i == 0 ? call_flag(k, 1, 0) : line->n > 0 || call_flag(k, 2, 0)) {
            SLM_TRY(builder_repeat(&b, indent, times > 0 ? (uint64_t)times : 0));
        }
        SLM_TRY(builder_str(&b, line));
    }
    return value_build(&b, out);
}

static int filter_center(struct jinja *j, struct call *k, struct value *out)
{
    SLM_TRY(filter_self(j, k, &k->self.u.s));
    k->self.kind = VALUE_STRING;
    if (!call_has(k, 0)) {
        k->arg[0] = value_int(80, CHAT_TEMPLATE);
    }
    return method_pad(j, k, out);
}

static int filter_truncate(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct str dots = {"...", NULL, 3, CHAT_CONTENT};
    const struct str *s;
    const struct str *end;
    int64_t length;
    int64_t leeway;
    SLM_TRY(filter_self(j, k, &s));
    SLM_TRY(call_integer(j, k, 0, 255, &length));
    SLM_TRY(call_string(j, k, 2, &end));
    SLM_TRY(call_integer(j, k, 3, 5, &leeway));
    end = end != NULL ? end : &dots;
    *out = value_string(s);
    if (str_points(&j->c, s) <= length + leeway) {
        return SLM_OK;
    }
    uint32_t to = str_offset(&j->c, s, (uint64_t)max_i64(length - str_points(&j->c, end), 0));
    uint32_t word = text_find_last(&j->c, s, text_of(" "), 0, to);
    SLM_TRY(builder_part(&b, s, 0, call_flag(k, 1, 0) || word > to ? to : word));
    SLM_TRY(builder_str(&b, end));
    return value_build(&b, out);
}

static int filter_format(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    SLM_TRY(filter_self(j, k, &s));
    SLM_TRY(text_percent(&j->c, s, value_list(k->positional, VALUE_TUPLE), &s));
    *out = value_string(s);
    return SLM_OK;
}

static int filter_wordcount(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    int64_t n = 0;
    int was_word = 0;
    uint32_t length = 1;
    SLM_TRY(filter_self(j, k, &s));
    SLM_TRY(chat_work(&j->c, s->n / 2));
    for (uint32_t at = 0; at < s->n; at += length) {
        uint32_t point = str_point(s, at, &length);
        int is_word =
            point == '_' || (unicode_class(point) & (UNICODE_LETTER | UNICODE_NUMBER)) != 0;
        n += is_word && !was_word;
        was_word = is_word;
    }
    *out = value_int(n, CHAT_CONTENT);
    return SLM_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int filter_separators(struct jinja *j, const struct call *k, struct json_style *style)
{
    const struct value *v = &k->arg[2];
    if (v->kind == VALUE_MISSING || v->kind == VALUE_NONE) {
        return SLM_OK;
    }
    if (!value_is_list(*v) || v->u.l->n != 2 || v->u.l->items[0].kind != VALUE_STRING ||
        v->u.l->items[1].kind != VALUE_STRING) {
        return call_fail(j, k, "a pair of separators is", *v);
    }
    style->item_separator = v->u.l->items[0].u.s;
    style->key_separator = v->u.l->items[1].u.s;
    return SLM_OK;
}

static int filter_tojson(struct jinja *j, struct call *k, struct value *out)
{
    static const char spaces[] = "                                ";
    struct builder b = builder_begin(&j->c);
    struct str comma = {", ", NULL, 2, CHAT_CONTENT};
    struct str colon = {": ", NULL, 2, CHAT_CONTENT};
    struct str indent = {spaces, NULL, 0, CHAT_CONTENT};
    struct json_style style = {NULL, &comma, &colon, call_flag(k, 0, 0), call_flag(k, 3, 0)};
    int64_t n;
    if (k->arg[1].kind == VALUE_STRING) {
        style.indent = k->arg[1].u.s;
    } else if (call_has(k, 1) && k->arg[1].kind != VALUE_NONE) {
        SLM_TRY(call_integer(j, k, 1, 0, &n));
        if (n >= (int64_t)sizeof spaces) {
            return chat_fail(&j->c, "tojson: an indent of more than %zu", sizeof spaces - 1);
        }
        indent.n = (uint32_t)max_i64(n, 0);
        style.indent = &indent;
    }
    comma.n = style.indent != NULL ? 1 : 2;
    SLM_TRY(filter_separators(j, k, &style));
    SLM_TRY(json_write(&b, k->self, &style, 0));
    return value_build(&b, out);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* Without blanks around it and the single underscores between its digits. */
static int filter_bare_number(struct jinja *j, const struct str *s, struct text *out)
{
    const struct str *t;
    char *bare;
    SLM_TRY(text_strip(&j->c, s, NULL, TEXT_LEFT | TEXT_RIGHT, &t));
    SLM_TRY(chat_work(&j->c, t->n));
    CHAT_TAKE(&j->c, bare, char, t->n);
    out->s = bare;
    out->n = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        int is_between = t->s[i] == '_' && i > 0 && i + 1 < t->n &&
                         decimal_digit(t->s[i - 1]) < 36 && decimal_digit(t->s[i + 1]) < 36;
        bare[out->n] = t->s[i];
        out->n += !is_between;
    }
    return SLM_OK;
}

/* int(text, base); missing if the text is no whole number. */
static int filter_parse_int(struct jinja *j, const struct str *s, int64_t base, struct value *out)
{
    struct text t;
    int64_t n = 0;
    SLM_TRY(filter_bare_number(j, s, &t));
    *out = value_of_kind(VALUE_MISSING);
    if ((base < 2 && base != 0) || base > 36) {
        return SLM_OK;
    }
    int is_negative = t.n > 0 && t.s[0] == '-';
    size_t sign = is_negative || (t.n > 0 && t.s[0] == '+') ? 1 : 0;
    struct text digits = {t.s + sign, t.n - sign};
    int prefix = lex_base(digits);
    if (prefix != 10 && (base == 0 || base == prefix)) {
        digits.s += 2;
        digits.n -= 2;
        base = prefix;
    }
    int status = decimal_parse_whole(digits, base == 0 ? 10 : (int)base, &n);
    if (status < 0) {
        return chat_fail(&j->c, "int: a whole number beyond 64 bits");
    }
    if (status > 0) {
        *out = value_int(is_negative ? -n : n, CHAT_CONTENT);
    }
    return SLM_OK;
}

/* A float that is no number of digits; 0 if it is none. */
static double filter_special_float(struct text t)
{
    static const char *const names[] = {"inf", "infinity", "nan"};
    int is_negative = t.n > 0 && t.s[0] == '-';
    size_t sign = is_negative || (t.n > 0 && t.s[0] == '+') ? 1 : 0;
    for (int32_t i = 0; i < SLM_COUNT(names); i++) {
        size_t same = 0;
        while (same < t.n - sign && names[i][same] != 0 &&
               (t.s[sign + same] | 32) == names[i][same]) {
            same++;
        }
        if (same == t.n - sign && names[i][same] == 0) {
            double x = i == 2 ? math_nan() : math_infinity();
            return is_negative ? -x : x;
        }
    }
    return 0;
}

static int filter_is_float(struct text t)
{
    size_t at = t.n > 0 && (t.s[0] == '-' || t.s[0] == '+') ? 1 : 0;
    size_t digits = 0;
    for (int dots = 0; at < t.n && (t.s[at] == '.' || (t.s[at] >= '0' && t.s[at] <= '9')); at++) {
        dots += t.s[at] == '.';
        digits += t.s[at] != '.';
        if (dots > 1) {
            return 0;
        }
    }
    if (digits == 0 || at == t.n) {
        return digits > 0;
    }
    if (t.s[at] != 'e' && t.s[at] != 'E') {
        return 0;
    }
    at++;
    at += at < t.n && (t.s[at] == '-' || t.s[at] == '+') ? 1 : 0;
    digits = t.n - at;
    while (at < t.n && t.s[at] >= '0' && t.s[at] <= '9') {
        at++;
    }
    return digits > 0 && at == t.n;
}

static int filter_parse_float(struct jinja *j, const struct str *s, struct value *out)
{
    struct text t;
    uint64_t steps = 0;
    SLM_TRY(filter_bare_number(j, s, &t));
    *out = value_of_kind(VALUE_MISSING);
    double special = filter_special_float(t);
    if (filter_is_float(t)) {
        *out = value_float(decimal_parse(t, &steps), CHAT_CONTENT);
    } else if (!math_is_finite(special)) {
        *out = value_float(special, CHAT_CONTENT);
    }
    return chat_work(&j->c, steps);
}

static int filter_int(struct jinja *j, struct call *k, struct value *out)
{
    struct value v = k->self;
    int64_t base;
    SLM_TRY(call_integer(j, k, 1, 10, &base));
    *out = value_of_kind(VALUE_MISSING);
    if (v.kind == VALUE_UNDEFINED) {
        return method_undefined(j, v, NULL);
    }
    if (v.kind == VALUE_STRING) {
        SLM_TRY(filter_parse_int(j, v.u.s, base, out));
        if (out->kind == VALUE_MISSING) {
            SLM_TRY(filter_parse_float(j, v.u.s, &v));
        }
    }
    if (v.kind == VALUE_FLOAT && math_is_finite(v.u.f)) {
        SLM_TRY(text_whole(&j->c, v, out));
    } else if (value_is_integer(v)) {
        *out = value_int(v.u.i, v.mark);
    } else if (v.kind == VALUE_BIG) {
        *out = v;
    }
    if (out->kind == VALUE_MISSING) {
        *out = call_has(k, 0) ? k->arg[0] : value_int(0, CHAT_TEMPLATE);
    }
    return SLM_OK;
}

static int filter_float(struct jinja *j, struct call *k, struct value *out)
{
    *out = value_of_kind(VALUE_MISSING);
    if (k->self.kind == VALUE_UNDEFINED) {
        return method_undefined(j, k->self, NULL);
    }
    if (k->self.kind == VALUE_STRING) {
        SLM_TRY(filter_parse_float(j, k->self.u.s, out));
    } else if (value_is_number(k->self)) {
        *out = value_float(0, k->self.mark);
        SLM_TRY(value_to_real(&j->c, k->self, &out->u.f));
    }
    if (out->kind == VALUE_MISSING) {
        *out = call_has(k, 0) ? k->arg[0] : value_float(0, CHAT_TEMPLATE);
    }
    return SLM_OK;
}

static int filter_abs(struct jinja *j, struct call *k, struct value *out)
{
    *out = k->self;
    if (k->self.kind == VALUE_FLOAT) {
        out->u.f = out->u.f <= 0 ? 0 - out->u.f : out->u.f; /* -0.0, too */
        return SLM_OK;
    }
    if (k->self.kind == VALUE_BIG) {
        return k->self.u.s->s[0] == '-' ? value_negate_big(&j->c, k->self, out) : SLM_OK;
    }
    if (!value_is_integer(k->self) || k->self.u.i == INT64_MIN) {
        return call_fail(j, k, "a number is", k->self);
    }
    *out = value_int(k->self.u.i < 0 ? -k->self.u.i : k->self.u.i, k->self.mark);
    return SLM_OK;
}

static int filter_round(struct jinja *j, struct call *k, struct value *out)
{
    char text[DECIMAL_FIXED(20) + 1];
    int64_t digits;
    uint64_t steps = 0;
    const struct str *method;
    SLM_TRY(call_integer(j, k, 0, 0, &digits));
    SLM_TRY(call_string(j, k, 1, &method));
    if (k->self.kind == VALUE_BIG && digits >= 0) {
        *out = k->self;
        return SLM_OK;
    }
    if (!value_is_integer(k->self) && k->self.kind != VALUE_FLOAT) {
        return call_fail(j, k, "a number is", k->self);
    }
    if (digits < 0 || digits > 20) {
        return chat_fail(&j->c, "round: 0 to 20 digits are expected");
    }
    double x = value_real(k->self);
    int is_common = method == NULL || text_is(str_text(method), "common");
    *out = is_common && value_is_integer(k->self) ? value_int(k->self.u.i, k->self.mark)
                                                  : value_float(x, k->self.mark);
    if (!math_is_finite(x) || out->kind == VALUE_INT) {
        return SLM_OK;
    }
    if (is_common) {
        struct text t = {text, 0};
        t.n = decimal_print_fixed(x, (uint32_t)digits, text);
        out->u.f = decimal_parse(t, &steps);
    } else {
        double unit = decimal_powers[digits];
        x *= unit;
        out->u.f = (text_is(str_text(method), "ceil") ? math_ceil(x) : math_floor(x)) / unit;
    }
    return chat_work(&j->c, steps + DECIMAL_STEPS);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static int filter_length(struct jinja *j, struct call *k, struct value *out)
{
    struct value v = k->self;
    int64_t n = 0;
    switch (v.kind) {
    case VALUE_UNDEFINED:
        break;
    case VALUE_STRING:
        n = str_points(&j->c, v.u.s);
        break;
    case VALUE_LIST:
    case VALUE_TUPLE:
        n = v.u.l->n;
        break;
    case VALUE_DICT:
        n = v.u.d->n;
        break;
    case VALUE_LOOP:
        n = ((const struct loop *)v.u.p)->items->n;
        break;
    default:
        return chat_fail(&j->c, "%s has no length", value_kind_name(v));
    }
    *out = value_int(n, CHAT_CONTENT);
    return SLM_OK;
}

#define FILTER_FIRST 0
#define FILTER_LAST 1

static int filter_edge(struct jinja *j, struct call *k, struct value *out)
{
    const struct list *l;
    SLM_TRY(jinja_iterate(j, k->self, &l));
    *out = l->n == 0 ? value_undefined(NULL)
                     : l->items[k->function->variant == FILTER_FIRST ? 0 : l->n - 1];
    return SLM_OK;
}

/* The same values in a list of their own. */
static int filter_copy(struct jinja *j, struct value v, int is_reverse, struct list **out)
{
    const struct list *l;
    SLM_TRY(jinja_iterate(j, v, &l));
    SLM_TRY(chat_work(&j->c, l->n / 4));
    SLM_TRY(list_make(&j->c, l->n, out));
    for (uint32_t i = 0; i < l->n; i++) {
        (*out)->items[i] = l->items[is_reverse ? l->n - 1 - i : i];
    }
    (*out)->n = l->n;
    return SLM_OK;
}

static int filter_list(struct jinja *j, struct call *k, struct value *out)
{
    struct list *copy;
    SLM_TRY(filter_copy(j, k->self, 0, &copy));
    *out = value_list(copy, VALUE_LIST);
    return SLM_OK;
}

static int filter_reverse(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct list *copy;
    SLM_TRY(filter_copy(j, k->self, 1, &copy));
    if (k->self.kind != VALUE_STRING) {
        *out = value_list(copy, VALUE_ITERATOR);
        return SLM_OK;
    }
    for (uint32_t i = 0; i < copy->n; i++) {
        SLM_TRY(builder_str(&b, copy->items[i].u.s));
    }
    return value_build(&b, out);
}

/* What attribute= names: "name", "a.b", or an index. MISSING: the value itself. */
static int filter_attribute(struct jinja *j, struct value v, struct value attribute,
                            struct value *out)
{
    *out = v;
    if (attribute.kind == VALUE_MISSING || attribute.kind == VALUE_NONE) {
        return SLM_OK;
    }
    if (attribute.kind != VALUE_STRING) {
        return jinja_item(j, v, attribute, out);
    }
    struct list *parts;
    struct str dot = {".", NULL, 1, CHAT_CONTENT};
    SLM_TRY(list_make(&j->c, 0, &parts));
    SLM_TRY(text_split(&j->c, attribute.u.s, &dot, -1, parts));
    for (uint32_t i = 0; i < parts->n; i++) {
        struct value part = parts->items[i];
        int64_t index = 0;
        int status = decimal_parse_whole(str_text(part.u.s), 10, &index);
        SLM_TRY(chat_work(&j->c, part.u.s->n / 4));
        if (status != 0) { /* what is beyond 64 bits is behind the end of any list */
            part = value_int(status > 0 ? index : INT64_MAX, CHAT_CONTENT);
        }
        SLM_TRY(jinja_item(j, *out, part, out));
    }
    return SLM_OK;
}

/* The same; otherwise where that is undefined. */
static int filter_attribute_or(struct jinja *j, struct value v, struct value attribute,
                               struct value otherwise, struct value *out)
{
    SLM_TRY(filter_attribute(j, v, attribute, out));
    if (out->kind == VALUE_UNDEFINED && otherwise.kind != VALUE_MISSING) {
        *out = otherwise;
    }
    return SLM_OK;
}

static int filter_join(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct str nothing = {"", NULL, 0, CHAT_CONTENT};
    const struct str *separator = &nothing;
    const struct list *l;
    if (call_has(k, 0)) {
        SLM_TRY(text_str(&j->c, k->arg[0], &separator));
    }
    SLM_TRY(jinja_iterate(j, k->self, &l));
    for (uint32_t i = 0; i < l->n; i++) {
        struct value v;
        SLM_TRY(filter_attribute(j, l->items[i], k->arg[1], &v));
        if (i > 0) {
            SLM_TRY(builder_str(&b, separator));
        }
        SLM_TRY(print_value(&b, v, 0, 0));
    }
    return value_build(&b, out);
}

static int filter_items(struct jinja *j, struct call *k, struct value *out)
{
    struct function items = {"items", method_entries, NULL, 0, VALUE_VIEW_ITEMS};
    struct call call = *k;
    if (k->self.kind == VALUE_UNDEFINED) {
        struct list *empty;
        SLM_TRY(list_make(&j->c, 0, &empty));
        *out = value_list(empty, VALUE_ITERATOR);
        return SLM_OK;
    }
    if (k->self.kind != VALUE_DICT) {
        return call_fail(j, k, "a dictionary is", k->self);
    }
    call.function = &items;
    SLM_TRY(method_entries(j, &call, out));
    out->kind = VALUE_ITERATOR;
    return SLM_OK;
}

/* Items and what each is sorted by: lower case unless case counts. */
struct filter_keys {
    const struct list *items;
    struct value *keys;
};

static int filter_order(const struct sorter *s, uint32_t a, uint32_t b, int *order)
{
    const struct filter_keys *f = (const struct filter_keys *)s->owner;
    return value_order(s->c, f->keys[a], f->keys[b], 0, order);
}

static int filter_fold(struct jinja *j, struct value v, int case_counts, struct value *out)
{
    *out = v;
    if (v.kind == VALUE_STRING && !case_counts) {
        const struct str *s;
        SLM_TRY(text_case(&j->c, v.u.s, TEXT_LOWER, &s));
        *out = value_string(s);
    }
    return SLM_OK;
}

static int filter_make_keys(struct jinja *j, const struct list *l, struct value attribute,
                            struct value otherwise, int case_counts, struct filter_keys *out)
{
    out->items = l;
    CHAT_TAKE(&j->c, out->keys, struct value, l->n);
    for (uint32_t i = 0; i < l->n; i++) {
        SLM_TRY(filter_attribute_or(j, l->items[i], attribute, otherwise, &out->keys[i]));
        SLM_TRY(filter_fold(j, out->keys[i], case_counts, &out->keys[i]));
    }
    return SLM_OK;
}

static int filter_sorted(struct jinja *j, const struct filter_keys *f, int is_reverse,
                         struct list **out)
{
    struct sorter s = {&j->c, f, filter_order, is_reverse};
    uint32_t *order;
    SLM_TRY(sorter_run(&s, f->items->n, &order));
    SLM_TRY(list_make(&j->c, f->items->n, out));
    for (uint32_t i = 0; i < f->items->n; i++) {
        (*out)->items[i] = f->items->items[order[i]];
    }
    (*out)->n = f->items->n;
    return SLM_OK;
}

/* "a,b": by a, and where these are equal by b. */
static int filter_sort_key(struct jinja *j, struct value item, struct value attribute,
                           int case_counts, struct value *out)
{
    struct str comma = {",", NULL, 1, CHAT_CONTENT};
    struct list *names;
    SLM_TRY(list_make(&j->c, 0, &names));
    if (attribute.kind == VALUE_STRING) {
        SLM_TRY(text_split(&j->c, attribute.u.s, &comma, -1, names));
    } else {
        SLM_TRY(list_push(&j->c, names, attribute));
    }
    for (uint32_t i = 0; i < names->n; i++) {
        struct value *key = &names->items[i];
        SLM_TRY(filter_attribute(j, item, *key, key));
        SLM_TRY(filter_fold(j, *key, case_counts, key));
    }
    *out = value_list(names, VALUE_LIST);
    return SLM_OK;
}

static int filter_sort(struct jinja *j, struct call *k, struct value *out)
{
    struct filter_keys f;
    struct list *sorted;
    SLM_TRY(jinja_iterate(j, k->self, &f.items));
    CHAT_TAKE(&j->c, f.keys, struct value, f.items->n);
    for (uint32_t i = 0; i < f.items->n; i++) {
        SLM_TRY(filter_sort_key(j, f.items->items[i], k->arg[2], call_flag(k, 1, 0), &f.keys[i]));
    }
    SLM_TRY(filter_sorted(j, &f, call_flag(k, 0, 0), &sorted));
    *out = value_list(sorted, VALUE_LIST);
    return SLM_OK;
}

static int filter_dictsort(struct jinja *j, struct call *k, struct value *out)
{
    struct filter_keys f;
    struct list *sorted;
    struct value none = value_of_kind(VALUE_MISSING);
    int by_value = value_is_text(k->arg[1], "value");
    SLM_TRY(filter_items(j, k, out));
    if (k->self.kind == VALUE_UNDEFINED) {
        return method_undefined(j, k->self, NULL);
    }
    SLM_TRY(filter_make_keys(j, out->u.l, value_int(by_value, CHAT_TEMPLATE), none,
                             call_flag(k, 0, 0), &f));
    SLM_TRY(filter_sorted(j, &f, call_flag(k, 2, 0), &sorted));
    *out = value_list(sorted, VALUE_LIST);
    return SLM_OK;
}

/* The first of each group of equals, in the order of the list. */
static int filter_unique(struct jinja *j, struct call *k, struct value *out)
{
    struct dict *seen;
    struct list *result;
    const struct list *l;
    struct filter_keys f;
    SLM_TRY(jinja_iterate(j, k->self, &l));
    SLM_TRY(
        filter_make_keys(j, l, k->arg[1], value_of_kind(VALUE_MISSING), call_flag(k, 0, 0), &f));
    SLM_TRY(dict_make(&j->c, &seen));
    SLM_TRY(list_make(&j->c, 0, &result));
    for (uint32_t i = 0; i < l->n; i++) {
        struct value found;
        SLM_TRY(dict_check_key(&j->c, f.keys[i]));
        SLM_TRY(value_find_key(&j->c, seen, f.keys[i], &found));
        if (found.kind == VALUE_MISSING) {
            SLM_TRY(dict_push(&j->c, seen, f.keys[i], value_none()));
            SLM_TRY(list_push(&j->c, result, l->items[i]));
        }
        SLM_TRY(chat_work(&j->c, seen->n));
    }
    *out = value_list(result, VALUE_ITERATOR);
    return SLM_OK;
}

static int filter_groupby(struct jinja *j, struct call *k, struct value *out)
{
    struct filter_keys f;
    struct filter_keys sorted;
    const struct list *l;
    struct list *in_order;
    struct list *groups;
    SLM_TRY(jinja_iterate(j, k->self, &l));
    SLM_TRY(filter_make_keys(j, l, k->arg[0], k->arg[1], call_flag(k, 2, 0), &f));
    SLM_TRY(filter_sorted(j, &f, 0, &in_order));
    SLM_TRY(filter_make_keys(j, in_order, k->arg[0], k->arg[1], call_flag(k, 2, 0), &sorted));
    SLM_TRY(list_make(&j->c, 0, &groups));
    for (uint32_t i = 0; i < in_order->n; i++) {
        struct value pair;
        struct list *group;
        int equal = 0;
        if (i > 0) {
            SLM_TRY(value_equal(&j->c, sorted.keys[i - 1], sorted.keys[i], &equal));
        }
        if (!equal) {
            struct value key;
            SLM_TRY(filter_attribute_or(j, in_order->items[i], k->arg[0], k->arg[1], &key));
            SLM_TRY(list_make(&j->c, 0, &group));
            SLM_TRY(list_pair(&j->c, key, value_list(group, VALUE_LIST), &pair));
            pair.mark = VALUE_GROUP;
            SLM_TRY(list_push(&j->c, groups, pair));
        }
        group = groups->items[groups->n - 1].u.l->items[1].u.l;
        SLM_TRY(list_push(&j->c, group, in_order->items[i]));
    }
    *out = value_list(groups, VALUE_LIST);
    return SLM_OK;
}

#define FILTER_MIN (-1)
#define FILTER_MAX 1

static int filter_extreme(struct jinja *j, struct call *k, struct value *out)
{
    struct filter_keys f;
    const struct list *l;
    uint32_t best = 0;
    SLM_TRY(jinja_iterate(j, k->self, &l));
    SLM_TRY(
        filter_make_keys(j, l, k->arg[1], value_of_kind(VALUE_MISSING), call_flag(k, 0, 0), &f));
    for (uint32_t i = 1; i < l->n; i++) {
        int order = 0;
        SLM_TRY(value_order(&j->c, f.keys[i], f.keys[best], 0, &order));
        best = order == k->function->variant ? i : best;
    }
    *out = l->n > 0 ? l->items[best] : value_undefined(NULL);
    return SLM_OK;
}

static int jinja_add(struct jinja *j, struct value a, struct value b, struct value *out);

static int filter_sum(struct jinja *j, struct call *k, struct value *out)
{
    const struct list *l;
    *out = call_has(k, 1) ? k->arg[1] : value_int(0, CHAT_TEMPLATE);
    SLM_TRY(jinja_iterate(j, k->self, &l));
    for (uint32_t i = 0; i < l->n; i++) {
        struct value v;
        SLM_TRY(filter_attribute(j, l->items[i], k->arg[0], &v));
        SLM_TRY(jinja_add(j, *out, v, out));
    }
    return SLM_OK;
}

/* batch: rows of n; slice: n columns */
static int filter_batch(struct jinja *j, struct call *k, struct value *out)
{
    const struct list *l;
    struct list *rows;
    struct list *row = NULL;
    int64_t n;
    SLM_TRY(jinja_iterate(j, k->self, &l));
    SLM_TRY(call_integer(j, k, 0, 1, &n));
    if (n < 1 || n > (int64_t)LIMIT_RANGE) {
        return chat_fail(&j->c, "%s: 1 to %u are expected", k->function->name, LIMIT_RANGE);
    }
    int64_t long_rows = l->n % n;
    SLM_TRY(list_make(&j->c, 0, &rows));
    int is_slice = k->function->variant;
    uint32_t i = 0;
    for (int64_t r = 0; is_slice ? r < n : i < l->n; r++) {
        int64_t size = is_slice ? l->n / n + (r < long_rows) : min_i64(n, l->n - i);
        SLM_TRY(list_make(&j->c, 0, &row));
        for (int64_t end = i + size; i < end; i++) {
            SLM_TRY(list_push(&j->c, row, l->items[i]));
        }
        while (call_has(k, 1) && (is_slice ? r >= long_rows && row->n == size : row->n < n)) {
            SLM_TRY(list_push(&j->c, row, k->arg[1]));
        }
        SLM_TRY(list_push(&j->c, rows, value_list(row, VALUE_LIST)));
    }
    *out = value_list(rows, VALUE_ITERATOR);
    return SLM_OK;
}

/* ---- map, select, reject --------------------------------------------------------------------- */

/* What is false is empty to these: None, too. */
static int filter_walk(struct jinja *j, const struct call *k, const struct list **l)
{
    struct list *empty;
    if (value_truth(k->self)) {
        return jinja_iterate(j, k->self, l);
    }
    SLM_TRY(list_make(&j->c, 0, &empty));
    *l = empty;
    return SLM_OK;
}

static const struct value *filter_named(const struct call *k, const char *name)
{
    for (uint32_t i = 0; k->named != NULL && i < k->named->n; i++) {
        if (value_is_text(k->named->entries[i].key, name)) {
            return &k->named->entries[i].value;
        }
    }
    return NULL;
}

/* The call of a filter or test for one value: what was given behind its name. */
static int filter_rest(struct jinja *j, const struct call *k, uint32_t skip, struct call **out)
{
    struct call *inner; /* large, and map may call map */
    CHAT_TAKE(&j->c, inner, struct call, 1);
    memset(inner, 0, sizeof *inner);
    SLM_TRY(list_make(&j->c, 0, &inner->positional));
    for (uint32_t i = skip; i < k->positional->n; i++) {
        SLM_TRY(list_push(&j->c, inner->positional, k->positional->items[i]));
    }
    inner->named = k->named;
    *out = inner;
    return SLM_OK;
}

static int filter_map(struct jinja *j, struct call *k, struct value *out)
{
    const struct value *attribute = filter_named(k, "attribute");
    const struct value *given = filter_named(k, "default");
    struct value otherwise = given != NULL ? *given : value_of_kind(VALUE_MISSING);
    const struct list *l;
    struct list *result;
    struct call *inner;
    SLM_TRY(filter_walk(j, k, &l));
    SLM_TRY(list_make(&j->c, l->n, &result));
    SLM_TRY(filter_rest(j, k, 1, &inner));
    if (attribute == NULL &&
        (k->positional->n == 0 || k->positional->items[0].kind != VALUE_STRING)) {
        return chat_fail(&j->c, "map: the name of a filter, or attribute=, is expected");
    }
    for (uint32_t i = 0; i < l->n; i++) {
        struct value v;
        if (attribute != NULL) {
            SLM_TRY(filter_attribute_or(j, l->items[i], *attribute, otherwise, &v));
        } else {
            inner->self = l->items[i];
            SLM_TRY(jinja_enter(j, j->c.line)); /* the filter may be map again */
            SLM_TRY(jinja_filter(j, k->positional->items[0].u.s, inner, &v));
            j->c.depth--;
        }
        SLM_TRY(list_push(&j->c, result, v));
    }
    *out = value_list(result, VALUE_ITERATOR);
    return SLM_OK;
}

#define FILTER_SELECT 0
#define FILTER_REJECT 1
#define FILTER_ATTRIBUTE 2

/* select, reject, selectattr, rejectattr */
static int filter_select(struct jinja *j, struct call *k, struct value *out)
{
    uint32_t name = (k->function->variant & FILTER_ATTRIBUTE) != 0 ? 1 : 0;
    int is_reject = k->function->variant & FILTER_REJECT;
    struct value attribute = value_of_kind(VALUE_MISSING);
    const struct list *l;
    struct list *result;
    struct call *inner;
    if (name == 1) {
        if (k->positional->n == 0) {
            return chat_fail(&j->c, "%s: the name of an attribute is expected", k->function->name);
        }
        attribute = k->positional->items[0];
    }
    if (k->positional->n > name && k->positional->items[name].kind != VALUE_STRING) {
        return chat_fail(&j->c, "%s: the name of a test is expected", k->function->name);
    }
    SLM_TRY(filter_walk(j, k, &l));
    SLM_TRY(list_make(&j->c, 0, &result));
    SLM_TRY(filter_rest(j, k, name + 1, &inner));
    for (uint32_t i = 0; i < l->n; i++) {
        int is_true = 0;
        SLM_TRY(filter_attribute(j, l->items[i], attribute, &inner->self));
        if (k->positional->n > name) {
            SLM_TRY(jinja_test(j, k->positional->items[name].u.s, inner, &is_true));
        } else {
            is_true = value_truth(inner->self);
        }
        if (is_true != is_reject) {
            SLM_TRY(list_push(&j->c, result, l->items[i]));
        }
    }
    *out = value_list(result, VALUE_ITERATOR);
    return SLM_OK;
}

/* ---- Others ---------------------------------------------------------------------------------- */

static int filter_default(struct jinja *j, struct call *k, struct value *out)
{
    int missing = k->self.kind == VALUE_UNDEFINED;
    if (missing || (call_flag(k, 1, 0) && !value_truth(k->self))) {
        *out = k->arg[0];
        return call_has(k, 0) ? SLM_OK : value_text(&j->c, "", out);
    }
    *out = k->self;
    return SLM_OK;
}

static int filter_attr(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *name;
    SLM_TRY(call_string(j, k, 0, &name));
    if (name == NULL) {
        return call_fail(j, k, "a name is", k->arg[0]);
    }
    if (k->self.kind == VALUE_DICT && method_of(k->self, str_text(name)) == NULL) {
        *out = value_undefined(name); /* not what it holds under that name */
        return SLM_OK;
    }
    return jinja_attribute(j, k->self, name, out);
}

static const struct function filter_table[] = {
    {"abs", filter_abs, "", 0, 0},
    {"attr", filter_attr, "name", 1, 0},
    {"batch", filter_batch, "linecount fill_with", 1, 0},
    {"capitalize", filter_case, "", 0, TEXT_CAPITALIZE},
    {"center", filter_center, "width", 0, 'c'},
    {"count", filter_length, "", 0, 0},
    {"d", filter_default, "default_value boolean", 0, 0},
    {"default", filter_default, "default_value boolean", 0, 0},
    {"dictsort", filter_dictsort, "case_sensitive by reverse", 0, 0},
    {"e", filter_escape, "", 0, FILTER_ESCAPE},
    {"escape", filter_escape, "", 0, FILTER_ESCAPE},
    {"first", filter_edge, "", 0, FILTER_FIRST},
    {"float", filter_float, "default", 0, 0},
    {"forceescape", filter_escape, "", 0, FILTER_FORCE},
    {"format", filter_format, NULL, 0, 0},
    {"groupby", filter_groupby, "attribute default case_sensitive", 1, 0},
    {"indent", filter_indent, "width first blank", 0, 0},
    {"int", filter_int, "default base", 0, 0},
    {"items", filter_items, "", 0, 0},
    {"join", filter_join, "d attribute", 0, 0},
    {"last", filter_edge, "", 0, FILTER_LAST},
    {"length", filter_length, "", 0, 0},
    {"list", filter_list, "", 0, 0},
    {"lower", filter_case, "", 0, TEXT_LOWER},
    {"map", filter_map, NULL, 0, 0},
    {"max", filter_extreme, "case_sensitive attribute", 0, FILTER_MAX},
    {"min", filter_extreme, "case_sensitive attribute", 0, FILTER_MIN},
    {"reject", filter_select, NULL, 0, FILTER_REJECT},
    {"rejectattr", filter_select, NULL, 0, FILTER_ATTRIBUTE | FILTER_REJECT},
    {"replace", filter_replace, "old new count", 2, 0},
    {"reverse", filter_reverse, "", 0, 0},
    {"round", filter_round, "precision method", 0, 0},
    {"safe", filter_escape, "", 0, FILTER_SAFE},
    {"select", filter_select, NULL, 0, FILTER_SELECT},
    {"selectattr", filter_select, NULL, 0, FILTER_ATTRIBUTE | FILTER_SELECT},
    {"slice", filter_batch, "slices fill_with", 1, 1},
    {"sort", filter_sort, "reverse case_sensitive attribute", 0, 0},
    {"string", filter_string, "", 0, 0},
    {"sum", filter_sum, "attribute start", 0, 0},
    {"title", filter_case, "", 0, TEXT_TITLE_WORDS},
    {"tojson", filter_tojson, "ensure_ascii indent separators sort_keys", 0, 0},
    {"trim", filter_trim, "chars", 0, 0},
    {"truncate", filter_truncate, "length killwords end leeway", 0, 0},
    {"unique", filter_unique, "case_sensitive attribute", 0, 0},
    {"upper", filter_case, "", 0, TEXT_UPPER},
    {"urlencode", filter_urlencode, "", 0, 0},
    {"wordcount", filter_wordcount, "", 0, 0},
};
