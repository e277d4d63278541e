/* statements.c - the tags of a template to the tree; parse.c has expressions. A tag is a row of
 * parse_statements. */

/* ---- Statements ------------------------------------------------------------------------------ */

static int parse_body(struct parser *p, const char *const *ends, struct node **first,
                      const char **end);

/* What is assigned to: names, ns.name, or several between commas. */
static int parse_target_name(struct parser *p, struct node **out)
{
    int found = 0;
    if (parse_is_char(p, '(')) {
        return parse_fail(p, "a name is");
    }
    SLM_TRY(parse_node(p, NODE_NAME, out));
    SLM_TRY(parse_word(p, &(*out)->name, "a name is"));
    SLM_TRY(parse_skip_char(p, '.', &found));
    if (found) {
        struct node *attribute;
        SLM_TRY(parse_node(p, NODE_ATTR, &attribute));
        SLM_TRY(parse_word(p, &attribute->name, "a name is"));
        attribute->a = *out;
        *out = attribute;
    }
    return SLM_OK;
}

static int parse_target(struct parser *p, struct node **out)
{
    struct node *first;
    struct node **last;
    int has_bracket = 0;
    int comma = 0;
    SLM_TRY(parse_skip_char(p, '(', &has_bracket));
    SLM_TRY(parse_target_name(p, &first));
    *out = first;
    SLM_TRY(parse_skip_char(p, ',', &comma));
    if (comma) {
        SLM_TRY(parse_node(p, NODE_TUPLE, out));
        (*out)->a = first;
        last = &first->next;
        while (comma && p->l.next.kind == LEX_NAME && !parse_is_name(p, "in")) {
            SLM_TRY(parse_target_name(p, last));
            last = &(*last)->next;
            SLM_TRY(parse_skip_char(p, ',', &comma));
        }
    }
    return has_bracket ? parse_want_char(p, ')') : SLM_OK;
}

static int parse_block_end(struct parser *p)
{
    return p->l.next.kind == LEX_BLOCK_END ? parse_next(p) : parse_fail(p, "'%}' is");
}

/* A body that one end tag closes. */
static int parse_closed(struct parser *p, const char *end, struct node **body)
{
    const char *ends[] = {end, NULL};
    const char *found;
    SLM_TRY(parse_block_end(p));
    SLM_TRY(parse_body(p, ends, body, &found));
    return parse_block_end(p);
}

static int parse_if(struct parser *p, struct node *node)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    const char *end;
    for (;;) {
        SLM_TRY(parse_tuple(p, PARSE_NO_COND, &node->a));
        SLM_TRY(parse_block_end(p));
        SLM_TRY(parse_body(p, ends, &node->body, &end));
        if (end == ends[0]) {
            SLM_TRY(parse_node(p, NODE_IF, &node->other));
            node = node->other;
            continue;
        }
        if (end == ends[1]) {
            SLM_TRY(parse_block_end(p));
            SLM_TRY(parse_body(p, last, &node->other, &end));
        }
        return parse_block_end(p);
    }
}

static int parse_for(struct parser *p, struct node *node)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    const char *end;
    int found = 0;
    SLM_TRY(parse_target(p, &node->a));
    SLM_TRY(parse_skip_name(p, "in", &found));
    if (!found) {
        return parse_fail(p, "'in' is");
    }
    SLM_TRY(parse_tuple(p, PARSE_NO_COND, &node->b));
    SLM_TRY(parse_skip_name(p, "if", &found));
    if (found) {
        SLM_TRY(parse_expression(p, &node->c));
    }
    SLM_TRY(parse_skip_name(p, "recursive", &found));
    node->op = found ? 1 : 0;
    SLM_TRY(parse_block_end(p));
    p->n_loops++;
    SLM_TRY(parse_body(p, ends, &node->body, &end));
    p->n_loops--;
    if (end == ends[0]) {
        SLM_TRY(parse_block_end(p));
        SLM_TRY(parse_body(p, ends + 1, &node->other, &end));
    }
    return parse_block_end(p);
}

static int parse_set(struct parser *p, struct node *node)
{
    int found = 0;
    SLM_TRY(parse_target(p, &node->a));
    SLM_TRY(parse_skip_char(p, '=', &found));
    if (found) {
        SLM_TRY(parse_tuple(p, PARSE_TUPLE, &node->b));
        return parse_block_end(p);
    }
    node->kind = NODE_SET_BLOCK;
    SLM_TRY(parse_node(p, NODE_BLOCK, &node->b));
    SLM_TRY(parse_filters(p, 0, &node->b));
    return parse_closed(p, "endset", &node->body);
}

/* At "(". */
static int parse_parameters(struct parser *p, struct node **first)
{
    struct node **last = first;
    SLM_TRY(parse_want_char(p, '('));
    while (!parse_is_char(p, ')')) {
        struct node *param;
        int found = 0;
        SLM_TRY(parse_node(p, NODE_PARAM, &param));
        SLM_TRY(parse_word(p, &param->name, "a parameter's name is"));
        SLM_TRY(parse_skip_char(p, '=', &found));
        if (found) {
            SLM_TRY(parse_expression(p, &param->a));
        }
        *last = param;
        last = &param->next;
        if (!parse_is_char(p, ')')) {
            SLM_TRY(parse_want_char(p, ','));
        }
    }
    return parse_next(p);
}

/* The body of a macro: break does not reach out of it. */
static int parse_macro_body(struct parser *p, const char *end, struct node *macro)
{
    int32_t n_loops = p->n_loops;
    uint32_t uses = p->uses;
    p->n_loops = 0;
    p->uses = 0;
    SLM_TRY(parse_closed(p, end, &macro->body));
    macro->op = p->uses;
    p->uses = uses | macro->op;
    p->n_loops = n_loops;
    return SLM_OK;
}

static int parse_macro(struct parser *p, struct node *node)
{
    SLM_TRY(parse_word(p, &node->name, "a macro's name is"));
    SLM_TRY(parse_parameters(p, &node->a));
    return parse_macro_body(p, "endmacro", node);
}

static int parse_call(struct parser *p, struct node *node)
{
    if (parse_is_char(p, '(')) {
        SLM_TRY(parse_parameters(p, &node->a));
    }
    SLM_TRY(parse_expression(p, &node->b));
    if (node->b->kind != NODE_CALL) {
        return parse_fail(p, "a call is");
    }
    return parse_macro_body(p, "endcall", node);
}

static int parse_filter_block(struct parser *p, struct node *node)
{
    SLM_TRY(parse_node(p, NODE_BLOCK, &node->b));
    SLM_TRY(parse_filters(p, 1, &node->b));
    return parse_closed(p, "endfilter", &node->body);
}

static int parse_with(struct parser *p, struct node *node)
{
    struct node **last = &node->a;
    while (p->l.next.kind != LEX_BLOCK_END) {
        if (last != &node->a) {
            SLM_TRY(parse_want_char(p, ','));
        }
        SLM_TRY(parse_node(p, NODE_SET, last));
        SLM_TRY(parse_target(p, &(*last)->a));
        SLM_TRY(parse_want_char(p, '='));
        SLM_TRY(parse_expression(p, &(*last)->b));
        last = &(*last)->next;
    }
    return parse_closed(p, "endwith", &node->body);
}

/* Marks what an assistant says, for training: here only a body of its own. */
static int parse_generation(struct parser *p, struct node *node)
{
    return parse_closed(p, "endgeneration", &node->body);
}

static int parse_jump(struct parser *p, struct node *node)
{
    if (p->n_loops == 0) {
        p->c->line = node->line;
        return chat_fail(p->c, "'%s' outside of a loop",
                         node->kind == NODE_BREAK ? "break" : "continue");
    }
    return parse_block_end(p);
}

static const struct parse_statement {
    const char *name;
    int32_t kind;
    int (*parse)(struct parser *p, struct node *node);
} parse_statements[] = {
    {"if", NODE_IF, parse_if},
    {"for", NODE_FOR, parse_for},
    {"set", NODE_SET, parse_set},
    {"macro", NODE_MACRO, parse_macro},
    {"call", NODE_CALL_BLOCK, parse_call},
    {"filter", NODE_FILTER_BLOCK, parse_filter_block},
    {"with", NODE_WITH, parse_with},
    {"generation", NODE_WITH, parse_generation},
    {"break", NODE_BREAK, parse_jump},
    {"continue", NODE_CONTINUE, parse_jump},
};

/* Behind "{%". */
static int parse_statement_at(struct parser *p, struct node **out)
{
    for (int32_t i = 0; i < SLM_COUNT(parse_statements); i++) {
        const struct parse_statement *s = &parse_statements[i];
        if (parse_is_name(p, s->name)) {
            SLM_TRY(parse_node(p, s->kind, out));
            SLM_TRY(parse_next(p));
            return s->parse(p, *out);
        }
    }
    p->c->line = p->l.next.line;
    if (p->l.next.kind != LEX_NAME) {
        return parse_fail(p, "the name of a tag is");
    }
    return chat_fail(p->c, "the tag '%.*s' does not belong here, or is not known",
                     text_width(p->l.next.text), p->l.next.text.s);
}

/* Statements up to one of the end tags, whose name is read; *end points into ends. ends NULL: up to
 * the end of the template. */
static int parse_body(struct parser *p, const char *const *ends, struct node **first,
                      const char **end)
{
    struct node **last = first;
    SLM_TRY(parse_enter(p));
    for (;;) {
        struct node *node = NULL;
        int32_t kind = p->l.next.kind;
        if (kind == LEX_END) {
            if (ends != NULL) {
                char expected[40];
                format_text(expected, sizeof expected, "'%s' is",
                            ends[1] == NULL   ? ends[0]
                            : ends[2] == NULL ? ends[1]
                                              : ends[2]);
                return parse_fail(p, expected);
            }
            p->depth--;
            return SLM_OK;
        }
        SLM_TRY(parse_node(p, kind == LEX_DATA ? NODE_DATA : NODE_OUTPUT, &node));
        if (kind == LEX_DATA) {
            SLM_TRY(str_wrap(p->c, p->l.next.text, CHAT_TEMPLATE, &node->name));
            SLM_TRY(parse_next(p));
        } else if (kind == LEX_OUTPUT) {
            SLM_TRY(parse_next(p));
            SLM_TRY(parse_tuple(p, PARSE_TUPLE, &node->a));
            if (p->l.next.kind != LEX_OUTPUT_END) {
                return parse_fail(p, "'}}' is");
            }
            SLM_TRY(parse_next(p));
        } else {
            SLM_TRY(parse_next(p));
            for (int i = 0; ends != NULL && ends[i] != NULL; i++) {
                if (parse_is_name(p, ends[i])) {
                    *end = ends[i];
                    p->depth--;
                    return parse_next(p);
                }
            }
            SLM_TRY(parse_statement_at(p, &node));
        }
        *last = node;
        last = &node->next;
    }
}

static int parse_template(struct chat *c, struct text t, struct node **first)
{
    struct parser p;
    const char *end;
    memset(&p, 0, sizeof p);
    p.c = c;
    *first = NULL;
    SLM_TRY(lex_begin(&p.l, c, t));
    return parse_body(&p, NULL, first, &end);
}
