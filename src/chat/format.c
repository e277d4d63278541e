/* format.c - fields, as in "%-8.2f" and "{:>8,}": what they say, and values written into them.
 *
 * Python has more: types e, g, n, c and %, a precision of whole numbers, and widths that are fields
 * themselves are errors here. */

/* What stands behind ':' in "{:>8.2f}" and behind '%' in "%-8.2f". */
struct text_spec {
    uint32_t fill;
    char align;    /* '<' '>' '^', '=' behind the sign, 'c' as str.center() does, or 0 */
    char sign;     /* '+' ' ' or 0 */
    int zero;      /* numbers begin with zeros */
    int alternate; /* 0x in front */
    char group;    /* between three digits, or 0 */
    uint32_t width;
    int32_t precision; /* -1: none */
    char type;
};

static int text_pad(struct builder *b, const struct str *s, const struct text_spec *spec,
                    char default_align)
{
    uint32_t n = str_points(b->c, s);
    uint32_t pad = spec->width > n ? spec->width - n : 0;
    char align = spec->align != 0 ? spec->align : default_align;
    uint32_t left = align == '>'   ? pad
                    : align == '^' ? pad / 2
                    : align == 'c' ? pad / 2 + (pad & spec->width & 1)
                                   : 0;
    SLM_TRY(chat_work(b->c, pad));
    for (uint32_t i = 0; i < pad; i++) {
        if (i == left) {
            SLM_TRY(builder_str(b, s));
        }
        SLM_TRY(builder_point(b, spec->fill, CHAT_CONTENT));
    }
    return left >= pad ? builder_str(b, s) : SLM_OK;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* A float without what stands behind its point. */
static int text_whole(struct chat *c, struct value v, struct value *out)
{
    char *text;
    if (v.u.f > -9.2e18 && v.u.f < 9.2e18) {
        *out = value_int((int64_t)v.u.f, v.mark);
        return SLM_OK;
    }
    if (!math_is_finite(v.u.f)) {
        return chat_fail(c, "%s is no whole number", math_is_nan(v.u.f) ? "NaN" : "infinity");
    }
    SLM_TRY(chat_work(c, DECIMAL_STEPS));
    CHAT_TAKE(c, text, char, DECIMAL_FIXED(0));
    struct text t = {text, 0};
    t.n = decimal_print_fixed(v.u.f, 0, text);
    return json_integer(c, t, v.mark, out);
}

/* Of x, X, o and b; 0 for other types. */
static uint64_t text_base(char type)
{
    return type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 0;
}

#define TEXT_PRECISION 100u
#define TEXT_DIGITS (DECIMAL_FIXED(TEXT_PRECISION) + 1)

/* A whole number; buffer has room for TEXT_DIGITS bytes. */
static int text_digits_whole(struct chat *c, struct value v, const struct text_spec *spec,
                             char *buffer, struct text *out)
{
    uint64_t base = text_base(spec->type);
    if (spec->precision >= 0) {
        return chat_fail(c, "a whole number has no precision here");
    }
    if (base > 0 && (v.kind == VALUE_BIG || spec->group == ',')) {
        return chat_fail(c, "'%c' is not for numbers beyond 64 bits, nor with ','", spec->type);
    }
    if (v.kind == VALUE_BIG) {
        *out = str_text(v.u.s);
        return SLM_OK;
    }
    uint64_t rest = v.u.i < 0 ? 0 - (uint64_t)v.u.i : (uint64_t)v.u.i;
    const char *all = spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t at = TEXT_DIGITS;
    do {
        buffer[--at] = all[rest % (base > 0 ? base : 10)];
        rest /= base > 0 ? base : 10;
    } while (rest > 0);
    if (v.u.i < 0) {
        buffer[--at] = '-';
    }
    out->s = buffer + at;
    out->n = TEXT_DIGITS - at;
    return SLM_OK;
}

static int text_digits_real(struct chat *c, struct value v, const struct text_spec *spec,
                            char *buffer, struct text *out)
{
    double x;
    SLM_TRY(value_to_real(c, v, &x));
    SLM_TRY(chat_work(c, DECIMAL_STEPS));
    out->s = buffer;
    if (spec->type == 0 && spec->precision >= 0) {
        return chat_fail(c, "a precision without 'f' behind it");
    }
    if (spec->precision > (int32_t)TEXT_PRECISION) {
        return chat_fail(c, "a precision of more than %u digits", TEXT_PRECISION);
    }
    out->n =
        spec->type == 0 || !math_is_finite(x)
            ? decimal_print(x, buffer)
            : decimal_print_fixed(x, spec->precision < 0 ? 6u : (uint32_t)spec->precision, buffer);
    return SLM_OK;
}

/* Digits as they stand in a field: sign and prefix, then fill or zeros, then groups. */
static int text_write_digits(struct builder *b, struct text digits, const struct text_spec *spec,
                             unsigned mark)
{
    size_t group = spec->group == 0 ? SIZE_MAX : text_base(spec->type) > 0 ? 4 : 3;
    int is_negative = digits.s[0] == '-';
    const char *s = digits.s + is_negative;
    size_t n = digits.n - (size_t)is_negative;
    size_t whole = 0;
    if (is_negative || spec->sign != 0) {
        SLM_TRY(builder_bytes(b, is_negative ? "-" : &spec->sign, 1, mark));
    }
    if (spec->alternate && text_base(spec->type) > 0) {
        char prefix[2] = {'0', spec->type};
        SLM_TRY(builder_bytes(b, prefix, 2, mark));
    }
    while (whole < n && (text_base(spec->type) > 0 || (s[whole] >= '0' && s[whole] <= '9'))) {
        whole++;
    }
    size_t all = whole; /* digits in front of the point, zeros among them */
    size_t size = b->n + n + (whole > 0 ? (whole - 1) / group : 0);
    for (; spec->zero && size < spec->width; all++) {
        size += all > 0 && all % group == 0 ? 2u : 1u;
    }
    for (; spec->align == '=' && size < spec->width; size++) {
        SLM_TRY(builder_point(b, spec->fill, CHAT_CONTENT));
    }
    for (size_t left = all; left > 0; left--) {
        SLM_TRY(builder_bytes(b, left > whole ? "0" : s + whole - left, 1, mark));
        SLM_TRY(builder_bytes(b, &spec->group, (left - 1) % group == 0 && left > 1, mark));
    }
    return builder_bytes(b, s + whole, n - whole, mark);
}

static int text_format_number(struct chat *c, struct value v, const struct text_spec *spec,
                              const struct str **out)
{
    struct builder b = builder_begin(c);
    char buffer[TEXT_DIGITS];
    struct text digits = {buffer, 0};
    int is_whole = v.kind != VALUE_FLOAT && !text_has_char("fF", spec->type);
    if (!text_has_char("fFdxXob", spec->type) && spec->type != 0) {
        return chat_fail(c, "numbers are not formatted as '%c' here", spec->type);
    }
    if (!is_whole && !text_has_char("fF", spec->type) && spec->type != 0) {
        return chat_fail(c, "%s is no whole number to be formatted", value_kind_name(v));
    }
    SLM_TRY(is_whole ? text_digits_whole(c, v, spec, buffer, &digits)
                     : text_digits_real(c, v, spec, buffer, &digits));
    SLM_TRY(text_write_digits(&b, digits, spec, v.mark));
    return builder_end(&b, out);
}

static int text_format_value(struct builder *b, struct value v, const struct text_spec *spec)
{
    const struct str *s;
    int is_asked = spec->width > 0 || spec->align != 0 || spec->group != 0;
    int is_number = value_is_number(v) && (v.kind != VALUE_BOOL || is_asked);
    if (spec->width > LIMIT_RENDER_TEXT) {
        return chat_fail(b->c, "a text of more than %u bytes", LIMIT_RENDER_TEXT);
    }
    SLM_TRY(chat_work(b->c, spec->width));
    if (spec->type == 's' || spec->type == 'r' || (!is_number && spec->type == 0)) {
        struct builder r = builder_begin(b->c);
        if (spec->align == '=' || spec->group != 0) {
            return chat_fail(b->c, "'=', ',' and '_' are for numbers, not for %s",
                             value_kind_name(v));
        }
        SLM_TRY(print_value(&r, v, spec->type == 'r', 0));
        SLM_TRY(builder_end(&r, &s));
        if (spec->precision >= 0) {
            uint32_t to = str_offset(b->c, s, (uint64_t)spec->precision);
            SLM_TRY(str_slice(b->c, s, 0, to, &s));
        }
        return text_pad(b, s, spec, '<');
    }
    if (!value_is_number(v)) {
        return chat_fail(b->c, "%s is no number to be formatted", value_kind_name(v));
    }
    SLM_TRY(text_format_number(b->c, v, spec, &s));
    return text_pad(b, s, spec, '>');
}

/* ---- Fields ---------------------------------------------------------------------------------- */

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
        spec->sign = flag == '+' || (flag == ' ' && spec->sign == 0) ? flag : spec->sign;
    }
    spec->width = text_read_number(s, at, s->n);
    if (*at < s->n && s->s[*at] == '.') {
        (*at)++;
        spec->precision = (int32_t)text_read_number(s, at, s->n);
    }
    spec->type = *at < s->n ? s->s[(*at)++] : 0;
    spec->type = spec->type == 'i' || spec->type == 'u' ? 'd' : spec->type;
    spec->zero = spec->zero && spec->align == 0;
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
        if (spec.type == 'd' && v.kind == VALUE_FLOAT) {
            SLM_TRY(text_whole(c, v, &v));
        }
        SLM_TRY(text_format_value(&b, v, &spec));
    }
    if (used < l->n && !may_rest) {
        return chat_fail(c, "more values than the format has places for");
    }
    return builder_end(&b, out);
}

/* Behind ":" in braces. A zero before the width is a fill that stands behind a number's sign. */
static int text_read_spec(struct chat *c, const struct str *s, uint32_t at, uint32_t to,
                          struct text_spec *spec)
{
    uint32_t length = 1;
    uint32_t from = at;
    spec->fill = at < to ? str_point(s, at, &length) : ' ';
    int has_fill = at + length < to && text_has_char("<>^=", s->s[at + length]);
    at += has_fill ? length : 0;
    if (at < to && text_has_char("<>^=", s->s[at])) {
        spec->align = s->s[at++];
    }
    if (at < to && text_has_char("+ -", s->s[at])) {
        spec->sign = s->s[at] == '-' ? 0 : s->s[at];
        at++;
    }
    if (at < to && s->s[at] == '#') {
        spec->alternate = 1;
        at++;
    }
    int is_zero = at < to && s->s[at] == '0';
    spec->fill = has_fill ? spec->fill : is_zero ? '0' : ' ';
    spec->zero = (is_zero && spec->align == 0) || (spec->align == '=' && spec->fill == '0');
    spec->width = text_read_number(s, &at, to);
    if (at < to && (s->s[at] == ',' || s->s[at] == '_')) {
        spec->group = s->s[at++];
    }
    if (at < to && s->s[at] == '.') {
        at++;
        spec->precision = (int32_t)text_read_number(s, &at, to);
    }
    spec->type = at < to ? s->s[at++] : 0;
    struct text all = {s->s + from, to - from};
    return at == to ? SLM_OK
                    : chat_fail(c, "no format is written '%.*s' here", text_width(all), all.s);
}
