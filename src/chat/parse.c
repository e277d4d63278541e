/* parse.c - tokens to a tree, with Jinja's grammar and precedence: what a tree is made of, and
 * expressions; statements.c has the tags. The tree lies in the template's memory and is never changed
 * afterwards: any number of threads may render it.
 *
 * Recursion is bounded by LIMIT_TEMPLATE_DEPTH; what can be long without being deep (a + b + c ..,
 * elif, a row of statements) is a list. */

/* Expressions */
#define NODE_CONST 1
#define NODE_NAME 2
#define NODE_LIST 3    /* a: items */
#define NODE_TUPLE 4   /* a: items */
#define NODE_DICT 5    /* a: key, value, key, ... */
#define NODE_ATTR 6    /* a.name */
#define NODE_ITEM 7    /* a[b] */
#define NODE_SLICE 8   /* a[b:c:other], only there */
#define NODE_CALL 9    /* a(b: arguments) */
#define NODE_FILTER 10 /* a|name(b) */
#define NODE_TEST 11   /* a is name(b) */
#define NODE_NOT 12    /* a */
#define NODE_SIGN 13   /* op a */
#define NODE_CHAIN 14  /* a, then b: links of op and a, from left to right */
#define NODE_LINK 15
#define NODE_COMPARE 16 /* likewise */
#define NODE_AND 17     /* a: operands */
#define NODE_OR 18
#define NODE_COND 19  /* a if b else c */
#define NODE_ARG 20   /* of a call: op 0, '*', '=' (name), '**'; a */
#define NODE_BLOCK 21 /* the text of a filter's or set's block */

/* Statements */
#define NODE_DATA 30         /* name: the text */
#define NODE_OUTPUT 31       /* a */
#define NODE_IF 32           /* a; body; other: the else part */
#define NODE_FOR 33          /* a: target; b: what; c: filter; body; other; op: recursive */
#define NODE_SET 34          /* a: target; b: value */
#define NODE_SET_BLOCK 35    /* a: target; b: filters; body */
#define NODE_MACRO 36        /* name; a: parameters; body */
#define NODE_CALL_BLOCK 37   /* a: parameters; b: call; body */
#define NODE_FILTER_BLOCK 38 /* b: filters; body */
#define NODE_WITH 39         /* a: NODE_SETs; body */
#define NODE_BREAK 40
#define NODE_CONTINUE 41
#define NODE_PARAM 42 /* of a macro: name; a: default or NULL */

struct node {
    int32_t kind;
    int32_t line;
    uint32_t op;
    struct node *next; /* in a list */
    struct node *a;
    struct node *b;
    struct node *c;
    struct node *body;
    struct node *other;
    const struct str *name;
    struct value constant;
};

struct parser {
    struct chat *c;
    struct lexer l;
    int32_t depth;
    int32_t n_loops; /* around here: break and continue stand in one */
    uint32_t uses;   /* PARSE_USES_ of the macro at hand */
};

/* What a macro's body speaks of that its caller may give besides its parameters. */
#define PARSE_USES_CALLER 1u
#define PARSE_USES_VARARGS 2u
#define PARSE_USES_KWARGS 4u

/* ---- Helpers --------------------------------------------------------------------------------- */

static int parse_fail(struct parser *p, const char *expected)
{
    const struct token *t = &p->l.next;
    p->c->line = t->line;
    switch (t->kind) {
    case LEX_END:
        return chat_fail(p->c, "the template ends here: %s expected", expected);
    case LEX_OPERATOR:
        return chat_fail(p->c, "'%c%.*s': %s expected", (int)(t->op >> 8),
                         (t->op & 255) != 0 ? 1 : 0,
                         &"/*="[(t->op & 255) == '/'   ? 0
                                : (t->op & 255) == '*' ? 1
                                                       : 2],
                         expected);
    case LEX_BLOCK_END:
    case LEX_OUTPUT_END:
        return chat_fail(p->c, "the tag ends here: %s expected", expected);
    default:
        return chat_fail(p->c, "'%.*s': %s expected", t->text.n > 60 ? 60 : (int)t->text.n,
                         t->text.s != NULL ? t->text.s : "", expected);
    }
}

static int parse_next(struct parser *p)
{
    return lex_next(&p->l);
}

static int parse_is_op(const struct parser *p, uint32_t op)
{
    return p->l.next.kind == LEX_OPERATOR && p->l.next.op == op;
}

static int parse_is_char(const struct parser *p, char c)
{
    return parse_is_op(p, LEX_OP(c, 0));
}

static int parse_is_name(const struct parser *p, const char *name)
{
    return p->l.next.kind == LEX_NAME && text_is(p->l.next.text, name);
}

/* *found, and past it, if it stands here. */
static int parse_skip_char(struct parser *p, char c, int *found)
{
    *found = parse_is_char(p, c);
    return *found ? parse_next(p) : SLM_OK;
}

static int parse_skip_name(struct parser *p, const char *name, int *found)
{
    *found = parse_is_name(p, name);
    return *found ? parse_next(p) : SLM_OK;
}

static int parse_want_char(struct parser *p, char c)
{
    char expected[8] = {'\'', c, '\'', ' ', 'i', 's', 0, 0};
    return parse_is_char(p, c) ? parse_next(p) : parse_fail(p, expected);
}

static int parse_node(struct parser *p, int32_t kind, struct node **out)
{
    struct node *n;
    CHAT_TAKE(p->c, n, struct node, 1);
    memset(n, 0, sizeof *n);
    n->kind = kind;
    n->line = p->l.next.line;
    *out = n;
    return SLM_OK;
}

static int parse_word(struct parser *p, const struct str **name, const char *expected)
{
    if (p->l.next.kind != LEX_NAME) {
        return parse_fail(p, expected);
    }
    SLM_TRY(str_wrap(p->c, p->l.next.text, CHAT_TEMPLATE, name));
    return parse_next(p);
}

static int parse_enter(struct parser *p)
{
    if (++p->depth > LIMIT_TEMPLATE_DEPTH) {
        p->c->line = p->l.next.line;
        return chat_fail(p->c, "nested more than %d deep", LIMIT_TEMPLATE_DEPTH);
    }
    return SLM_OK;
}

/* ---- Literals -------------------------------------------------------------------------------- */

/* Digits of a number in a string, at most n. Returns how many there are. */
static uint32_t parse_escape_digits(struct text t, size_t at, uint32_t n, uint32_t base,
                                    uint32_t *value)
{
    uint32_t i = 0;
    *value = 0;
    for (; i < n && at + i < t.n; i++) {
        int digit = vocab_hex_digit((uint8_t)t.s[at + i]);
        if (digit < 0 || (uint32_t)digit >= base) {
            break;
        }
        *value = *value * base + (uint32_t)digit;
    }
    return i;
}

/* The escape behind the backslash at t.s[at - 1]; *at moves behind it. As in Python an unknown one
 * stands for itself, backslash included. */
static int parse_escape(struct parser *p, struct builder *b, struct text t, size_t *at)
{
    static const char from[] = "\\'\"abfnrtv";
    static const char to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = t.s[*at];
    uint32_t point = 0;
    uint32_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n > 0) {
        if (parse_escape_digits(t, *at + 1, n, 16, &point) != n || point > 0x10ffff) {
            return lex_fail(&p->l, "an escape in a string with too few digits, or too large");
        }
        *at += n + 1;
        return builder_point(b, point >= 0xd800 && point < 0xe000 ? UNICODE_BAD : point,
                             CHAT_TEMPLATE);
    }
    n = parse_escape_digits(t, *at, 3, 8, &point);
    if (n > 0) {
        *at += n;
        return builder_point(b, point, CHAT_TEMPLATE);
    }
    *at += 1;
    for (size_t i = 0; i + 1 < sizeof from; i++) {
        if (c == from[i]) {
            return builder_bytes(b, to + i, 1, CHAT_TEMPLATE);
        }
    }
    return c == '\n' ? SLM_OK : builder_bytes(b, t.s + *at - 2, 2, CHAT_TEMPLATE);
}

/* Strings side by side are one. */
static int parse_string(struct parser *p, struct node *node)
{
    struct builder b = builder_begin(p->c);
    while (p->l.next.kind == LEX_STRING) {
        struct text t = p->l.next.text;
        size_t from = 0;
        for (size_t at = 0; at < t.n;) {
            if (t.s[at] != '\\') {
                at++;
                continue;
            }
            SLM_TRY(builder_bytes(&b, t.s + from, at - from, CHAT_TEMPLATE));
            at++;
            SLM_TRY(parse_escape(p, &b, t, &at));
            from = at;
        }
        SLM_TRY(builder_bytes(&b, t.s + from, t.n - from, CHAT_TEMPLATE));
        SLM_TRY(parse_next(p));
    }
    return value_build(&b, &node->constant);
}

static int parse_number(struct parser *p, struct node *node)
{
    struct text t = p->l.next.text;
    char *digits;
    size_t n = 0;
    uint64_t steps = 0;
    CHAT_TAKE(p->c, digits, char, t.n);
    for (size_t i = 0; i < t.n; i++) {
        if (t.s[i] != '_') {
            digits[n++] = t.s[i];
        }
    }
    struct text plain = {digits, n};
    if (p->l.next.kind == LEX_FLOAT) {
        node->constant = value_float(decimal_parse(plain, &steps), CHAT_TEMPLATE);
    } else if (lex_base(plain) != 10) {
        struct text behind = {plain.s + 2, plain.n - 2};
        int64_t value = 0;
        if (decimal_parse_whole(behind, lex_base(plain), &value) < 0) {
            return lex_fail(&p->l, "a whole number beyond 64 bits");
        }
        node->constant = value_int(value, CHAT_TEMPLATE);
    } else {
        SLM_TRY(json_integer(p->c, plain, CHAT_TEMPLATE, &node->constant));
    }
    return parse_next(p);
}

/* ---- Expressions ----------------------------------------------------------------------------- */

static int parse_expression(struct parser *p, struct node **out);
static int parse_or(struct parser *p, struct node **out);
static int parse_unary(struct parser *p, int with_filter, struct node **out);

/* How parse_tuple ends besides at the end of a tag or a bracket. */
#define PARSE_TUPLE 0
#define PARSE_NO_COND 1  /* no "a if b else c": an iterable, before "if" and "recursive" */
#define PARSE_BRACKETS 2 /* may be empty */

static int parse_tuple_ends(const struct parser *p)
{
    return p->l.next.kind == LEX_BLOCK_END || p->l.next.kind == LEX_OUTPUT_END ||
           parse_is_char(p, ')');
}

/* One expression, or several between commas. */
static int parse_tuple(struct parser *p, int how, struct node **out)
{
    struct node *tuple;
    struct node **last;
    int n = 0;
    int is_tuple = 0;
    SLM_TRY(parse_node(p, NODE_TUPLE, &tuple));
    last = &tuple->a;
    while (!parse_tuple_ends(p)) {
        SLM_TRY(how == PARSE_NO_COND ? parse_or(p, last) : parse_expression(p, last));
        last = &(*last)->next;
        n++;
        int comma = 0;
        SLM_TRY(parse_skip_char(p, ',', &comma));
        if (!comma) {
            break;
        }
        is_tuple = 1;
    }
    if (n == 0 && how != PARSE_BRACKETS) {
        return parse_fail(p, "an expression is");
    }
    *out = is_tuple || n == 0 ? tuple : tuple->a;
    return SLM_OK;
}

static int parse_items(struct parser *p, char end, struct node **first)
{
    struct node **last = first;
    SLM_TRY(parse_next(p));
    while (!parse_is_char(p, end)) {
        SLM_TRY(parse_expression(p, last));
        last = &(*last)->next;
        if (end == '}') {
            SLM_TRY(parse_want_char(p, ':'));
            SLM_TRY(parse_expression(p, last));
            last = &(*last)->next;
        }
        if (!parse_is_char(p, end)) {
            SLM_TRY(parse_want_char(p, ','));
        }
    }
    return parse_next(p);
}

static int parse_name(struct parser *p, struct node *node)
{
    struct text t = p->l.next.text;
    if (text_is(t, "true") || text_is(t, "True") || text_is(t, "false") || text_is(t, "False")) {
        node->kind = NODE_CONST;
        node->constant = value_bool(t.s[0] == 't' || t.s[0] == 'T');
    } else if (text_is(t, "none") || text_is(t, "None")) {
        node->kind = NODE_CONST;
        node->constant = value_none();
    } else {
        p->uses |= text_is(t, "caller") ? PARSE_USES_CALLER : 0;
        p->uses |= text_is(t, "varargs") ? PARSE_USES_VARARGS : 0;
        p->uses |= text_is(t, "kwargs") ? PARSE_USES_KWARGS : 0;
        SLM_TRY(str_wrap(p->c, t, CHAT_TEMPLATE, &node->name));
    }
    return parse_next(p);
}

static int parse_primary(struct parser *p, struct node **out)
{
    struct node *node;
    SLM_TRY(parse_node(p, NODE_CONST, &node));
    *out = node;
    switch (p->l.next.kind) {
    case LEX_NAME:
        node->kind = NODE_NAME;
        return parse_name(p, node);
    case LEX_STRING:
        return parse_string(p, node);
    case LEX_INTEGER:
    case LEX_FLOAT:
        return parse_number(p, node);
    default:
        break;
    }
    if (parse_is_char(p, '[')) {
        node->kind = NODE_LIST;
        return parse_items(p, ']', &node->a);
    }
    if (parse_is_char(p, '{')) {
        node->kind = NODE_DICT;
        return parse_items(p, '}', &node->a);
    }
    if (!parse_is_char(p, '(')) {
        return parse_fail(p, "an expression is");
    }
    SLM_TRY(parse_next(p));
    SLM_TRY(parse_tuple(p, PARSE_BRACKETS, out));
    return parse_want_char(p, ')');
}

/* At "(": arguments in the order in which they stand. */
static int parse_arguments(struct parser *p, struct node **first)
{
    struct node **last = first;
    SLM_TRY(parse_next(p));
    while (!parse_is_char(p, ')')) {
        struct node *arg;
        SLM_TRY(parse_node(p, NODE_ARG, &arg));
        if (parse_is_char(p, '*') || parse_is_op(p, LEX_OP('*', '*'))) {
            arg->op = p->l.next.op;
            SLM_TRY(parse_next(p));
        }
        SLM_TRY(parse_expression(p, &arg->a));
        if (arg->op == 0 && parse_is_char(p, '=') && arg->a->kind == NODE_NAME) {
            arg->op = LEX_OP('=', 0);
            arg->name = arg->a->name;
            SLM_TRY(parse_next(p));
            SLM_TRY(parse_expression(p, &arg->a));
        }
        *last = arg;
        last = &arg->next;
        if (!parse_is_char(p, ')')) {
            SLM_TRY(parse_want_char(p, ','));
        }
    }
    return parse_next(p);
}

/* Behind "[": an index, or a slice. */
static int parse_index(struct parser *p, struct node *item)
{
    struct node **parts[] = {&item->b, &item->c, &item->other};
    for (int i = 0; i < 3; i++) {
        int colon = 0;
        if (!parse_is_char(p, ':') && !parse_is_char(p, ']')) {
            SLM_TRY(parse_expression(p, parts[i]));
        }
        if (i < 2) {
            SLM_TRY(parse_skip_char(p, ':', &colon));
        }
        if (!colon) {
            break;
        }
        item->kind = NODE_SLICE;
    }
    if (item->kind == NODE_ITEM && item->b == NULL) {
        return parse_fail(p, "an index is");
    }
    return parse_want_char(p, ']');
}

/* .name .0 [index] (arguments) */
static int parse_postfix(struct parser *p, struct node **inner)
{
    for (;;) {
        struct node *node;
        int is_dot = parse_is_char(p, '.');
        if (!is_dot && !parse_is_char(p, '[') && !parse_is_char(p, '(')) {
            return SLM_OK;
        }
        SLM_TRY(parse_node(p, is_dot ? NODE_ATTR : NODE_ITEM, &node));
        node->a = *inner;
        if (parse_is_char(p, '(')) {
            node->kind = NODE_CALL;
            SLM_TRY(parse_arguments(p, &node->b));
        } else {
            SLM_TRY(parse_next(p));
            if (!is_dot) {
                SLM_TRY(parse_index(p, node));
            } else if (p->l.next.kind == LEX_INTEGER) {
                node->kind = NODE_ITEM;
                SLM_TRY(parse_primary(p, &node->b));
            } else {
                SLM_TRY(parse_word(p, &node->name, "a name is"));
            }
        }
        *inner = node;
    }
}

/* A name, perhaps with dots, which no filter or test here has: an error when it is used. */
static int parse_filter_name(struct parser *p, const struct str **name)
{
    struct text t = p->l.next.text;
    SLM_TRY(parse_word(p, name, "a name is"));
    while (parse_is_char(p, '.')) {
        const struct str *part = NULL;
        SLM_TRY(parse_next(p));
        SLM_TRY(parse_word(p, &part, "a name is"));
        t.n = (size_t)(part->s - t.s) + part->n;
        SLM_TRY(str_wrap(p->c, t, CHAT_TEMPLATE, name));
    }
    return SLM_OK;
}

/* |name(arguments), once more for each. */
static int parse_filters(struct parser *p, int is_first, struct node **inner)
{
    while (is_first || parse_is_char(p, '|')) {
        struct node *node;
        if (!is_first) {
            SLM_TRY(parse_next(p));
        }
        is_first = 0;
        SLM_TRY(parse_node(p, NODE_FILTER, &node));
        SLM_TRY(parse_filter_name(p, &node->name));
        if (parse_is_char(p, '(')) {
            SLM_TRY(parse_arguments(p, &node->b));
        }
        node->a = *inner;
        *inner = node;
    }
    return SLM_OK;
}

/* Whether the argument of a test may begin here: "is divisibleby 3". */
static int parse_begins_argument(const struct parser *p)
{
    switch (p->l.next.kind) {
    case LEX_NAME:
        return !parse_is_name(p, "else") && !parse_is_name(p, "or") && !parse_is_name(p, "and");
    case LEX_STRING:
    case LEX_INTEGER:
    case LEX_FLOAT:
        return 1;
    default:
        return parse_is_char(p, '(') || parse_is_char(p, '[') || parse_is_char(p, '{');
    }
}

/* Behind "is". */
static int parse_test(struct parser *p, struct node **inner)
{
    struct node *node;
    int negated = 0;
    SLM_TRY(parse_skip_name(p, "not", &negated));
    SLM_TRY(parse_node(p, NODE_TEST, &node));
    node->a = *inner;
    SLM_TRY(parse_filter_name(p, &node->name));
    if (parse_is_char(p, '(')) {
        SLM_TRY(parse_arguments(p, &node->b));
    } else if (parse_begins_argument(p)) {
        if (parse_is_name(p, "is")) {
            return parse_fail(p, "no second test is");
        }
        SLM_TRY(parse_node(p, NODE_ARG, &node->b));
        SLM_TRY(parse_primary(p, &node->b->a));
        SLM_TRY(parse_postfix(p, &node->b->a));
    }
    *inner = node;
    if (negated) {
        SLM_TRY(parse_node(p, NODE_NOT, inner));
        (*inner)->a = node;
    }
    return SLM_OK;
}

static int parse_unary(struct parser *p, int with_filter, struct node **out)
{
    SLM_TRY(parse_enter(p));
    if (parse_is_char(p, '-') || parse_is_char(p, '+')) {
        struct node *sign;
        SLM_TRY(parse_node(p, NODE_SIGN, &sign));
        sign->op = p->l.next.op;
        SLM_TRY(parse_next(p));
        SLM_TRY(parse_unary(p, 0, &sign->a));
        *out = sign;
    } else {
        SLM_TRY(parse_primary(p, out));
    }
    SLM_TRY(parse_postfix(p, out));
    while (with_filter &&
           (parse_is_char(p, '|') || parse_is_name(p, "is") || parse_is_char(p, '('))) {
        int is_test = 0;
        SLM_TRY(parse_skip_name(p, "is", &is_test));
        if (is_test) {
            SLM_TRY(parse_test(p, out));
        } else if (parse_is_char(p, '|')) {
            SLM_TRY(parse_filters(p, 0, out));
        } else {
            SLM_TRY(parse_postfix(p, out));
        }
    }
    p->depth--;
    return SLM_OK;
}

/* Operators of each level, from the loosest. */
static const uint32_t parse_levels[4][4] = {
    {LEX_OP('+', 0), LEX_OP('-', 0), 0, 0},
    {LEX_OP('~', 0), 0, 0, 0},
    {LEX_OP('*', 0), LEX_OP('/', 0), LEX_OP('/', '/'), LEX_OP('%', 0)},
    {LEX_OP('*', '*'), 0, 0, 0},
};

static int parse_is_level(const struct parser *p, int level)
{
    for (int i = 0; i < 4 && p->l.next.kind == LEX_OPERATOR; i++) {
        if (p->l.next.op == parse_levels[level][i]) {
            return 1;
        }
    }
    return 0;
}

static int parse_link(struct parser *p, struct node **chain, int32_t kind, struct node ***last,
                      struct node **link)
{
    if (*last == NULL) {
        struct node *node;
        SLM_TRY(parse_node(p, kind, &node));
        node->a = *chain;
        *chain = node;
        *last = &node->b;
    }
    SLM_TRY(parse_node(p, NODE_LINK, link));
    (*link)->op = p->l.next.op;
    **last = *link;
    *last = &(*link)->next;
    return parse_next(p);
}

static int parse_chain(struct parser *p, int level, struct node **out)
{
    struct node **last = NULL;
    SLM_TRY(level == 3 ? parse_unary(p, 1, out) : parse_chain(p, level + 1, out));
    while (parse_is_level(p, level)) {
        struct node *link;
        SLM_TRY(parse_link(p, out, NODE_CHAIN, &last, &link));
        SLM_TRY(level == 3 ? parse_unary(p, 1, &link->a) : parse_chain(p, level + 1, &link->a));
    }
    return SLM_OK;
}

#define OP_IN LEX_OP('i', 'n')
#define OP_NOT_IN LEX_OP('n', 'i')

static int parse_is_comparison(const struct parser *p)
{
    static const uint32_t ops[] = {LEX_OP('=', '='), LEX_OP('!', '='), LEX_OP('<', '='),
                                   LEX_OP('>', '='), LEX_OP('<', 0),   LEX_OP('>', 0)};
    for (int32_t i = 0; i < SLM_COUNT(ops); i++) {
        if (parse_is_op(p, ops[i])) {
            return 1;
        }
    }
    return parse_is_name(p, "in") || parse_is_name(p, "not");
}

static int parse_compare(struct parser *p, struct node **out)
{
    struct node **last = NULL;
    SLM_TRY(parse_chain(p, 0, out));
    while (parse_is_comparison(p)) {
        struct node *link;
        int negated = parse_is_name(p, "not");
        int is_in = negated || parse_is_name(p, "in");
        SLM_TRY(parse_link(p, out, NODE_COMPARE, &last, &link));
        if (negated && !parse_is_name(p, "in")) {
            return parse_fail(p, "'in' is");
        }
        if (negated) {
            SLM_TRY(parse_next(p));
        }
        link->op = negated ? OP_NOT_IN : is_in ? OP_IN : link->op;
        SLM_TRY(parse_chain(p, 0, &link->a));
    }
    return SLM_OK;
}

static int parse_not(struct parser *p, struct node **out)
{
    struct node **inner = out;
    while (parse_is_name(p, "not")) {
        SLM_TRY(parse_enter(p));
        SLM_TRY(parse_node(p, NODE_NOT, inner));
        SLM_TRY(parse_next(p));
        inner = &(*inner)->a;
    }
    for (const struct node *n = *out; inner != out && n != NULL; n = n->a) {
        p->depth--;
    }
    return parse_compare(p, inner);
}

/* Operands between words "and" or "or". */
static int parse_logic(struct parser *p, int32_t kind, struct node **out)
{
    const char *word = kind == NODE_AND ? "and" : "or";
    struct node *logic = NULL;
    struct node **last = NULL;
    for (;;) {
        struct node *operand;
        SLM_TRY(kind == NODE_AND ? parse_not(p, &operand) : parse_logic(p, NODE_AND, &operand));
        if (last != NULL) {
            *last = operand;
            last = &operand->next;
        } else {
            *out = operand;
        }
        if (!parse_is_name(p, word)) {
            return SLM_OK;
        }
        if (logic == NULL) {
            SLM_TRY(parse_node(p, kind, &logic));
            logic->a = operand;
            last = &operand->next;
            *out = logic;
        }
        SLM_TRY(parse_next(p));
    }
}

static int parse_or(struct parser *p, struct node **out)
{
    return parse_logic(p, NODE_OR, out);
}

static int parse_expression(struct parser *p, struct node **out)
{
    SLM_TRY(parse_enter(p));
    SLM_TRY(parse_or(p, out));
    int found = 0;
    SLM_TRY(parse_skip_name(p, "if", &found));
    while (found) { /* a if b if c: the one before is what the next decides on */
        struct node *cond;
        SLM_TRY(parse_node(p, NODE_COND, &cond));
        cond->a = *out;
        *out = cond;
        SLM_TRY(parse_or(p, &cond->b));
        SLM_TRY(parse_skip_name(p, "else", &found));
        if (found) {
            SLM_TRY(parse_expression(p, &cond->c));
        }
        SLM_TRY(parse_skip_name(p, "if", &found));
    }
    p->depth--;
    return SLM_OK;
}
