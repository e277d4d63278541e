/* lex.c - a template's text to tokens: data between tags, and within tags names, numbers, strings
 * and operators. White space is trimmed here as Jinja does with trim_blocks and lstrip_blocks, the
 * way chat templates are rendered everywhere:
 *     "-" inside a tag   takes all white space on that side away
 *     behind {% %}, {# #}    one newline goes, unless "+" stands before the end
 *     before {% %}, {# #}    blanks from the start of the line go, unless "+" stands behind the start
 * One newline at the end of the template goes; all kinds of newline become \n. */

#define LEX_END 0
#define LEX_DATA 1       /* text between tags; never empty */
#define LEX_BLOCK 2      /* {% */
#define LEX_BLOCK_END 3  /* %} */
#define LEX_OUTPUT 4     /* {{ */
#define LEX_OUTPUT_END 5 /* }} */
#define LEX_NAME 6
#define LEX_STRING 7 /* text: without quotes, escapes as they stand */
#define LEX_INTEGER 8
#define LEX_FLOAT 9
#define LEX_OPERATOR 10 /* op */

/* Operators by two characters; of one, the second is 0. */
#define LEX_OP(a, b) ((uint32_t)(uint8_t)(a) << 8 | (uint32_t)(uint8_t)(b))

struct token {
    int32_t kind;
    int32_t line;
    uint32_t op;
    struct text text;
};

struct lexer {
    struct chat *c;
    struct text t;
    size_t at;
    int32_t line;
    int32_t open;      /* brackets within a tag */
    char tag;          /* '%' or '{' within one, else 0 */
    int at_line_start; /* what stands here begins a line, as far as lstrip_blocks goes */
    struct token next; /* what lex_next found; the token at hand */
};

/* str.isspace of Python. */
static int lex_is_space(uint32_t point)
{
    return point == ' ' || (point >= '\t' && point <= '\r') || (point >= 0x1c && point <= 0x1f) ||
           point == 0x85 || (point > 0x7f && (unicode_class(point) & UNICODE_WHITE) != 0);
}

static uint32_t lex_point(struct text t, size_t at, size_t *n)
{
    return unicode_decode((const uint8_t *)t.s + at, t.n - at, n);
}

/* Where the white space at the end of t begins. */
static size_t lex_end_of_text(struct text t)
{
    size_t end = 0;
    size_t n = 1;
    for (size_t at = 0; at < t.n; at += n) {
        if (!lex_is_space(lex_point(t, at, &n))) {
            end = at + n;
        }
    }
    return end;
}

static int lex_is_at(const struct lexer *l, size_t at, const char *s)
{
    size_t n = string_length(s);
    return l->t.n - at >= n && memcmp(l->t.s + at, s, n) == 0;
}

static void lex_count_lines(struct lexer *l, size_t to)
{
    for (; l->at < to; l->at++) {
        l->line += l->t.s[l->at] == '\n';
    }
}

static int lex_fail(struct lexer *l, const char *what)
{
    l->c->line = l->line;
    return chat_fail(l->c, "%s", what);
}

/* ---- Between tags ---------------------------------------------------------------------------- */

/* Skips white space if `all`, else one newline. */
static void lex_skip_after(struct lexer *l, int all)
{
    size_t at = l->at;
    size_t n = 1;
    if (all) {
        while (at < l->t.n && lex_is_space(lex_point(l->t, at, &n))) {
            at += n;
        }
    } else if (at < l->t.n && l->t.s[at] == '\n') {
        at++;
    }
    l->at_line_start = at > 0 && l->t.s[at - 1] == '\n';
    lex_count_lines(l, at);
}

/* Where data ends that stands before a tag whose "{%" is at `tag`. */
static size_t lex_trim_before(const struct lexer *l, size_t tag)
{
    struct text data = {l->t.s + l->at, tag - l->at};
    char sign = tag + 2 < l->t.n ? l->t.s[tag + 2] : 0;
    if (sign == '-') {
        return l->at + lex_end_of_text(data);
    }
    if (sign != '+' && l->t.s[tag + 1] != '{') {
        size_t start = tag;
        while (start > l->at && l->t.s[start - 1] != '\n') {
            start--;
        }
        struct text line = {l->t.s + start, tag - start};
        if ((start > l->at || l->at_line_start) && lex_end_of_text(line) == 0) {
            return start;
        }
    }
    return tag;
}

/* The next "{{", "{%" or "{#", or the end. */
static size_t lex_find_tag(const struct lexer *l)
{
    for (size_t at = l->at; at + 1 < l->t.n; at++) {
        if (l->t.s[at] == '{' &&
            (l->t.s[at + 1] == '{' || l->t.s[at + 1] == '%' || l->t.s[at + 1] == '#')) {
            return at;
        }
    }
    return l->t.n;
}

/* At "{#". */
static int lex_comment(struct lexer *l)
{
    size_t from = l->at + 2;
    from += from < l->t.n && (l->t.s[from] == '-' || l->t.s[from] == '+') ? 1 : 0;
    size_t at = from;
    while (at < l->t.n && !lex_is_at(l, at, "#}")) {
        at++;
    }
    if (at >= l->t.n) {
        return lex_fail(l, "a comment without its end, '#}'");
    }
    char sign = at > from ? l->t.s[at - 1] : 0;
    lex_count_lines(l, at + 2);
    if (sign != '+') {
        lex_skip_after(l, sign == '-');
    } else {
        l->at_line_start = 0;
    }
    return SLM_OK;
}

static size_t lex_skip_blanks(const struct lexer *l, size_t at)
{
    size_t n = 1;
    while (at < l->t.n && lex_is_space(lex_point(l->t, at, &n))) {
        at += n;
    }
    return at;
}

/* Whether at "{%" stands the tag of that name and nothing else. *end is behind it, *sign what stands
 * before its "%}". */
static int lex_is_bare_tag(const struct lexer *l, size_t at, const char *name, size_t *end,
                           char *sign)
{
    size_t n = string_length(name);
    at += 2;
    at += at < l->t.n && (l->t.s[at] == '-' || l->t.s[at] == '+') ? 1 : 0;
    at = lex_skip_blanks(l, at);
    if (!lex_is_at(l, at, name)) {
        return 0;
    }
    at = lex_skip_blanks(l, at + n);
    *sign = at < l->t.n ? l->t.s[at] : 0;
    at += *sign == '-' || *sign == '+' ? 1 : 0;
    *end = at + 2;
    return lex_is_at(l, at, "%}");
}

/* At "{% raw %}", whose end is given: its text is data. */
static int lex_raw(struct lexer *l, size_t end, char sign, struct token *token)
{
    size_t at;
    char end_sign = 0;
    size_t behind = 0;
    lex_count_lines(l, end);
    l->at_line_start = 0;
    if (sign == '-') { /* the newline behind this tag, and this one alone, stays */
        lex_skip_after(l, 1);
    }
    for (at = l->at; at < l->t.n; at++) {
        if (lex_is_at(l, at, "{%") && lex_is_bare_tag(l, at, "endraw", &behind, &end_sign)) {
            break;
        }
    }
    if (at >= l->t.n) {
        return lex_fail(l, "'raw' without 'endraw'");
    }
    token->line = l->line;
    token->text.s = l->t.s + l->at;
    token->text.n = lex_trim_before(l, at) - l->at;
    token->kind = LEX_DATA;
    lex_count_lines(l, behind);
    l->at_line_start = 0;
    if (end_sign != '+') {
        lex_skip_after(l, end_sign == '-');
    }
    return SLM_OK;
}

/* Data up to the next tag, or that tag's beginning. */
static int lex_outside(struct lexer *l, struct token *token)
{
    for (;;) {
        size_t tag = lex_find_tag(l);
        token->line = l->line;
        if (l->at >= l->t.n) {
            token->kind = LEX_END;
            return SLM_OK;
        }
        size_t end = tag < l->t.n ? lex_trim_before(l, tag) : tag;
        if (tag > l->at) {
            token->kind = LEX_DATA;
            token->text.s = l->t.s + l->at;
            token->text.n = end - l->at;
            lex_count_lines(l, tag);
            if (end > (size_t)(token->text.s - l->t.s)) {
                return SLM_OK;
            }
        }
        size_t behind = 0;
        char sign = 0;
        if (l->t.s[tag + 1] == '#') {
            SLM_TRY(lex_comment(l));
        } else if (l->t.s[tag + 1] == '%' && lex_is_bare_tag(l, tag, "raw", &behind, &sign) &&
                   sign != '+') {
            SLM_TRY(lex_raw(l, behind, sign, token));
            if (token->text.n > 0) {
                return SLM_OK;
            }
        } else {
            l->tag = l->t.s[tag + 1];
            l->open = 0;
            l->at += 2;
            l->at += l->at < l->t.n && (l->t.s[l->at] == '-' || (l->t.s[l->at] == '+')) ? 1 : 0;
            token->kind = l->tag == '%' ? LEX_BLOCK : LEX_OUTPUT;
            return SLM_OK;
        }
    }
}

/* ---- Within tags ----------------------------------------------------------------------------- */

/* The end of the tag, if it stands here. */
static int lex_tag_end(struct lexer *l, struct token *token)
{
    const char *end = l->tag == '%' ? "%}" : "}}";
    char sign = l->t.s[l->at];
    size_t at = l->at + (sign == '-' || (sign == '+' && l->tag == '%') ? 1 : 0);
    if (l->open > 0 || !lex_is_at(l, at, end)) {
        return 0;
    }
    token->kind = l->tag == '%' ? LEX_BLOCK_END : LEX_OUTPUT_END;
    l->at = at + 2;
    l->at_line_start = 0;
    if (sign == '-') {
        lex_skip_after(l, 1);
    } else if (sign != '+' && l->tag == '%') {
        lex_skip_after(l, 0);
    }
    l->tag = 0;
    return 1;
}

static int lex_is_name(uint32_t point, int is_first)
{
    return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z') || point == '_' ||
           (!is_first && point >= '0' && point <= '9') ||
           (point > 0x7f &&
            (unicode_class(point) &
             (UNICODE_LETTER | (is_first ? 0 : UNICODE_MARK | UNICODE_NUMBER))) != 0);
}

static void lex_name(struct lexer *l, struct token *token)
{
    size_t from = l->at;
    size_t n = 1;
    while (l->at < l->t.n && lex_is_name(lex_point(l->t, l->at, &n), l->at == from)) {
        l->at += n;
    }
    token->kind = LEX_NAME;
    token->text.s = l->t.s + from;
    token->text.n = l->at - from;
}

static int lex_string(struct lexer *l, struct token *token)
{
    char quote = l->t.s[l->at];
    size_t at = l->at + 1;
    while (at < l->t.n && l->t.s[at] != quote) {
        at += l->t.s[at] == '\\' ? 2 : 1;
    }
    if (at >= l->t.n) {
        return lex_fail(l, "a string without its end");
    }
    token->kind = LEX_STRING;
    token->text.s = l->t.s + l->at + 1;
    token->text.n = at - l->at - 1;
    lex_count_lines(l, at + 1);
    return SLM_OK;
}

static int lex_is_digit(const struct lexer *l, size_t at, int base)
{
    int digit = at < l->t.n ? vocab_hex_digit((uint8_t)l->t.s[at]) : -1;
    return digit >= 0 && digit < base;
}

/* The end of digits with single underscores between them. */
static size_t lex_digits(const struct lexer *l, size_t at, int base)
{
    while (lex_is_digit(l, at, base) ||
           (at < l->t.n && l->t.s[at] == '_' && lex_is_digit(l, at + 1, base))) {
        at++;
    }
    return at;
}

/* 16, 8 or 2 for what begins with 0x, 0o or 0b, else 10. */
static int lex_base(struct text t)
{
    char c = t.n > 2 && t.s[0] == '0' ? (char)(t.s[1] | 32) : 0;
    return c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
}

static void lex_number(struct lexer *l, struct token *token)
{
    size_t from = l->at;
    struct text rest = {l->t.s + from, l->t.n - from};
    int base = lex_base(rest);
    size_t at = lex_digits(l, base == 10 ? from : from + 2, base);
    size_t more = at + 1;
    int is_attribute = from > 0 && l->t.s[from - 1] == '.'; /* list.0.1 */
    token->kind = LEX_INTEGER;
    token->text.s = l->t.s + from;
    token->text.n = at - from;
    l->at = at;
    if (base != 10 || is_attribute) {
        return;
    }
    if (at < l->t.n && l->t.s[at] == '.' && lex_is_digit(l, at + 1, 10)) {
        token->kind = LEX_FLOAT;
        at = lex_digits(l, at + 1, 10);
        more = at + 1;
    }
    if (at < l->t.n && (l->t.s[at] == 'e' || l->t.s[at] == 'E')) {
        more += more < l->t.n && (l->t.s[more] == '+' || l->t.s[more] == '-') ? 1 : 0;
        if (lex_is_digit(l, more, 10)) {
            token->kind = LEX_FLOAT;
            at = lex_digits(l, more, 10);
        }
    }
    token->text.n = at - from;
    l->at = at;
}

static int lex_operator(struct lexer *l, struct token *token)
{
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = l->t.s[l->at];
    token->kind = LEX_OPERATOR;
    for (int32_t i = 0; i < SLM_COUNT(pairs); i++) {
        if (lex_is_at(l, l->at, pairs[i])) {
            token->op = LEX_OP(pairs[i][0], pairs[i][1]);
            l->at += 2;
            return SLM_OK;
        }
    }
    for (const char *p = "+-*/%~[](){}<>=.:|,"; *p != 0; p++) {
        if (*p == c) {
            l->open += c == '(' || c == '[' || c == '{' ? 1 : 0;
            l->open -= (c == ')' || c == ']' || c == '}') && l->open > 0 ? 1 : 0;
            token->op = LEX_OP(c, 0);
            l->at++;
            return SLM_OK;
        }
    }
    l->c->line = l->line;
    return chat_fail(l->c, "'%c' has no meaning inside a tag", c);
}

static int lex_inside(struct lexer *l, struct token *token)
{
    lex_count_lines(l, lex_skip_blanks(l, l->at));
    token->line = l->line;
    if (l->at >= l->t.n) {
        return lex_fail(l, l->tag == '%' ? "a tag without its end, '%}'"
                                         : "an output without its end, '}}'");
    }
    char c = l->t.s[l->at];
    size_t n = 1;
    if (lex_tag_end(l, token)) {
        return SLM_OK;
    }
    if (lex_is_name(lex_point(l->t, l->at, &n), 1)) {
        lex_name(l, token);
        return SLM_OK;
    }
    if (c >= '0' && c <= '9') {
        lex_number(l, token);
        return SLM_OK;
    }
    return c == '"' || c == '\'' ? lex_string(l, token) : lex_operator(l, token);
}

static int lex_next(struct lexer *l)
{
    struct token token;
    memset(&token, 0, sizeof token);
    SLM_TRY(l->tag != 0 ? lex_inside(l, &token) : lex_outside(l, &token));
    l->next = token;
    return SLM_OK;
}

/* A copy of the text with \n for every newline, and without the last one. */
static int lex_begin(struct lexer *l, struct chat *c, struct text t)
{
    char *copy;
    size_t n = 0;
    memset(l, 0, sizeof *l);
    CHAT_TAKE(c, copy, char, t.n);
    for (size_t i = 0; i < t.n; i++) {
        if (t.s[i] == '\r') {
            copy[n++] = '\n';
            i += i + 1 < t.n && t.s[i + 1] == '\n' ? 1 : 0;
        } else {
            copy[n++] = t.s[i];
        }
    }
    l->c = c;
    l->t.s = copy;
    l->t.n = n > 0 && copy[n - 1] == '\n' ? n - 1 : n;
    l->line = 1;
    l->at_line_start = 1;
    return lex_next(l);
}
