/* eval.c - walks the tree of a template: expressions to values, statements to text.
 *
 * Scopes are those of Jinja: "if" has none of its own; each turn of a loop, a macro, "with" and the
 * block of set, call and filter have; an assignment is seen only inside. Recursion is bounded by
 * LIMIT_RENDER_DEPTH, time by chat_work: each node costs a step, each list or text by its length. */

static int jinja_eval(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out);
static int jinja_exec(struct jinja *j, struct scope *scope, const struct node *first,
                      struct builder *out);

/* ---- Names ----------------------------------------------------------------------------------- */

static int scope_make(struct jinja *j, struct scope *parent, struct scope **out)
{
    struct scope *s;
    CHAT_TAKE(&j->c, s, struct scope, 1);
    s->parent = parent;
    s->first = NULL;
    s->names = NULL;
    *out = s;
    return SLM_OK;
}

static int scope_set(struct jinja *j, struct scope *scope, const struct str *name, struct value v)
{
    struct binding *b;
    for (b = scope->first; b != NULL; b = b->next) {
        SLM_TRY(chat_work(&j->c, 1 + name->n / 16));
        if (text_equal(str_text(b->name), str_text(name))) {
            b->value = v;
            return SLM_OK;
        }
    }
    CHAT_TAKE(&j->c, b, struct binding, 1);
    b->name = name;
    b->value = v;
    b->next = scope->first;
    scope->first = b;
    return SLM_OK;
}

static const struct str scope_loop = {"loop", NULL, 4, CHAT_TEMPLATE};

static int scope_set_text(struct jinja *j, struct scope *scope, const char *name, struct value v)
{
    const struct str *s;
    SLM_TRY(str_wrap(&j->c, text_of(name), CHAT_TEMPLATE, &s));
    return scope_set(j, scope, s, v);
}

static void jinja_global(const struct jinja *j, const struct str *name, struct value *out)
{
    const struct function *f = function_find(global_table, SLM_COUNT(global_table), str_text(name));
    if (f == NULL && j->now != SLM_NO_DATE && text_is(str_text(name), global_date.name)) {
        f = &global_date;
    }
    *out = value_undefined(name);
    if (f != NULL) {
        *out = value_of_kind(VALUE_METHOD);
        out->u.p = f;
        out->mark = 1; /* u.p is the row itself: a global function */
    }
}

static int scope_find(struct jinja *j, const struct scope *scope, const struct str *name,
                      struct value *out)
{
    for (; scope != NULL; scope = scope->parent) {
        for (const struct binding *b = scope->first; b != NULL; b = b->next) {
            SLM_TRY(chat_work(&j->c, 1 + name->n / 16));
            if (text_equal(str_text(b->name), str_text(name))) {
                *out = b->value;
                return SLM_OK;
            }
        }
        if (scope->names != NULL) {
            SLM_TRY(dict_find_text(&j->c, scope->names, str_text(name), out));
            if (out->kind != VALUE_MISSING) {
                return SLM_OK;
            }
        }
    }
    jinja_global(j, name, out);
    return SLM_OK;
}

static int jinja_assign(struct jinja *j, struct scope *scope, const struct node *target,
                        struct value v)
{
    if (target->kind == NODE_NAME) {
        return scope_set(j, scope, target->name, v);
    }
    if (target->kind == NODE_ATTR) {
        struct value space;
        SLM_TRY(scope_find(j, scope, target->a->name, &space));
        if (space.kind != VALUE_SPACE) {
            return chat_fail(&j->c, "'%.*s' is no namespace, so its attributes cannot be set",
                             text_width(str_text(target->a->name)), target->a->name->s);
        }
        return dict_set(&j->c, space.u.d, target->name, v);
    }
    const struct list *l;
    uint32_t i = 0;
    SLM_TRY(jinja_iterate(j, v, &l));
    for (const struct node *n = target->a; n != NULL; n = n->next, i++) {
        if (i == l->n) {
            return chat_fail(&j->c, "more names than the %u values to unpack", l->n);
        }
        SLM_TRY(jinja_assign(j, scope, n, l->items[i]));
    }
    return i < l->n ? chat_fail(&j->c, "%u values to unpack into %u names", l->n, i) : SLM_OK;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static int jinja_spread(struct jinja *j, const struct node *arg, struct value v, struct call *k)
{
    const struct list *l;
    if (arg->op == LEX_OP('*', 0)) {
        SLM_TRY(jinja_iterate(j, v, &l));
        for (uint32_t i = 0; i < l->n; i++) {
            SLM_TRY(list_push(&j->c, k->positional, l->items[i]));
        }
        return SLM_OK;
    }
    if (v.kind != VALUE_DICT) {
        return chat_fail(&j->c, "a dictionary is expected behind **, not %s", value_kind_name(v));
    }
    for (uint32_t i = 0; i < v.u.d->n; i++) {
        if (v.u.d->entries[i].key.kind != VALUE_STRING) {
            return chat_fail(&j->c, "a name is expected as a key behind **, not %s",
                             value_kind_name(v.u.d->entries[i].key));
        }
        SLM_TRY(dict_push(&j->c, k->named, v.u.d->entries[i].key, v.u.d->entries[i].value));
    }
    return SLM_OK;
}

static int jinja_arguments(struct jinja *j, struct scope *scope, const struct node *arg,
                           struct call *k)
{
    memset(k, 0, sizeof *k);
    k->self = value_of_kind(VALUE_MISSING);
    SLM_TRY(list_make(&j->c, 0, &k->positional));
    for (; arg != NULL; arg = arg->next) {
        struct value v;
        SLM_TRY(jinja_eval(j, scope, arg->a, &v));
        if (arg->op == 0) {
            SLM_TRY(list_push(&j->c, k->positional, v));
            continue;
        }
        if (k->named == NULL) {
            SLM_TRY(dict_make(&j->c, &k->named));
        }
        if (arg->op == LEX_OP('=', 0)) {
            SLM_TRY(dict_push(&j->c, k->named, value_string(arg->name), v));
        } else {
            SLM_TRY(jinja_spread(j, arg, v, k));
        }
    }
    return k->named != NULL ? dict_finish(&j->c, k->named) : SLM_OK;
}

/* The next name in a list between blanks; its length is 0 at the end. */
static struct text function_parameter(const char **list)
{
    struct text t;
    while (**list == ' ') {
        (*list)++;
    }
    t.s = *list;
    while (**list != 0 && **list != ' ') {
        (*list)++;
    }
    t.n = (size_t)(*list - t.s);
    return t;
}

/* Gives each parameter of a row its argument. */
static int jinja_bind(struct jinja *j, struct call *k)
{
    const struct function *f = k->function;
    const char *list = f->parameters;
    uint32_t n_named = 0;
    int32_t n = 0;
    for (;; n++) {
        struct text name = function_parameter(&list);
        if (name.n == 0) {
            break;
        }
        k->arg[n] = value_of_kind(VALUE_MISSING);
        if (k->named != NULL) {
            SLM_TRY(dict_find_text(&j->c, k->named, name, &k->arg[n]));
            n_named += k->arg[n].kind != VALUE_MISSING;
        }
        if ((uint32_t)n < k->positional->n) {
            k->arg[n] = k->positional->items[n];
        }
        if (n < f->n_needed && k->arg[n].kind == VALUE_MISSING) {
            return chat_fail(&j->c, "%s: the argument '%.*s' is missing", f->name, text_width(name),
                             name.s);
        }
    }
    for (int32_t i = n; i < CALL_ARGUMENTS; i++) {
        k->arg[i] = value_of_kind(VALUE_MISSING);
    }
    if (k->positional->n > (uint32_t)n || (k->named != NULL && n_named < k->named->n)) {
        return chat_fail(&j->c, "%s: an argument that it does not have", f->name);
    }
    return SLM_OK;
}

static int jinja_run(struct jinja *j, const struct function *f, struct call *k, struct value *out)
{
    k->function = f;
    if (f->parameters != NULL) {
        SLM_TRY(jinja_bind(j, k));
    }
    SLM_TRY(chat_work(&j->c, 1));
    return f->run(j, k, out);
}

static int jinja_filter(struct jinja *j, const struct str *name, struct call *k, struct value *out)
{
    const struct function *f = function_find(filter_table, SLM_COUNT(filter_table), str_text(name));
    if (f == NULL) {
        return chat_fail(&j->c, "no filter is named '%.*s'", text_width(str_text(name)), name->s);
    }
    return jinja_run(j, f, k, out);
}

static int jinja_test(struct jinja *j, const struct str *name, struct call *k, int *is_true)
{
    const struct function *f = function_find(test_table, SLM_COUNT(test_table), str_text(name));
    struct value v;
    if (f == NULL) {
        return chat_fail(&j->c, "no test is named '%.*s'", text_width(str_text(name)), name->s);
    }
    SLM_TRY(jinja_run(j, f, k, &v));
    *is_true = value_truth(v);
    return SLM_OK;
}

static int macro_take(struct jinja *j, struct call *k, struct scope *scope,
                      const struct node *param, uint32_t index)
{
    struct value v = value_of_kind(VALUE_MISSING);
    if (index < k->positional->n) {
        v = k->positional->items[index];
    } else if (k->named != NULL) {
        SLM_TRY(dict_find_text(&j->c, k->named, str_text(param->name), &v));
    }
    if (v.kind == VALUE_MISSING && param->a != NULL) {
        SLM_TRY(jinja_eval(j, scope, param->a, &v));
    }
    if (v.kind == VALUE_MISSING) {
        v = value_undefined(param->name);
    }
    return scope_set(j, scope, param->name, v);
}

static int macro_has_parameter(struct jinja *j, const struct macro *m, struct text name)
{
    const struct node *p = m->node->a;
    while (p != NULL && !text_equal(str_text(p->name), name)) {
        chat_spend(&j->c, 1 + name.n / 16);
        p = p->next;
    }
    return p != NULL;
}

/* caller, varargs and kwargs: what was given besides the parameters. */
static int macro_take_rest(struct jinja *j, const struct macro *m, struct call *k,
                           struct scope *scope, uint32_t n_params)
{
    struct list *more;
    struct dict *others;
    struct value caller = value_undefined(NULL);
    SLM_TRY(list_make(&j->c, 0, &more));
    SLM_TRY(dict_make(&j->c, &others));
    for (uint32_t i = n_params; i < k->positional->n; i++) {
        SLM_TRY(list_push(&j->c, more, k->positional->items[i]));
    }
    for (uint32_t i = 0; k->named != NULL && i < k->named->n; i++) {
        const struct entry *e = &k->named->entries[i];
        if (value_is_text(e->key, "caller")) {
            caller = e->value;
        }
        int is_taken = value_is_text(e->key, "caller") && (m->node->op & PARSE_USES_CALLER) != 0;
        if (!is_taken && !macro_has_parameter(j, m, str_text(e->key.u.s))) {
            SLM_TRY(dict_push(&j->c, others, e->key, e->value));
        }
    }
    if ((more->n > 0 && (m->node->op & PARSE_USES_VARARGS) == 0) ||
        (others->n > 0 && (m->node->op & PARSE_USES_KWARGS) == 0)) {
        return chat_fail(&j->c, "macro '%.*s': an argument that it does not have",
                         m->node->name != NULL ? text_width(str_text(m->node->name)) : 0,
                         m->node->name != NULL ? m->node->name->s : "");
    }
    SLM_TRY(dict_finish(&j->c, others));
    if ((m->node->op & PARSE_USES_CALLER) != 0 && !macro_has_parameter(j, m, text_of("caller"))) {
        SLM_TRY(scope_set_text(j, scope, "caller", caller));
    }
    if ((m->node->op & PARSE_USES_VARARGS) != 0) {
        SLM_TRY(scope_set_text(j, scope, "varargs", value_list(more, VALUE_TUPLE)));
    }
    if ((m->node->op & PARSE_USES_KWARGS) != 0) {
        SLM_TRY(scope_set_text(j, scope, "kwargs", value_dict(others, VALUE_DICT)));
    }
    return SLM_OK;
}

/* The text that its body writes. A level of its own, as what its parameters default to may call it
 * again without any body between. */
static int macro_call(struct jinja *j, const struct macro *m, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct scope *scope;
    uint32_t n = 0;
    int32_t line = j->c.line;
    SLM_TRY(jinja_enter(j, line));
    SLM_TRY(scope_make(j, m->scope, &scope));
    for (const struct node *p = m->node->a; p != NULL; p = p->next) {
        SLM_TRY(macro_take(j, k, scope, p, n++));
    }
    if (k->positional->n > n || k->named != NULL || m->node->op != 0) {
        SLM_TRY(macro_take_rest(j, m, k, scope, n));
    }
    SLM_TRY(jinja_exec(j, scope, m->node->body, &b));
    j->c.depth--;
    j->c.line = line;
    return value_build(&b, out);
}

static int loop_recurse(struct jinja *j, const struct loop *loop, struct call *k,
                        struct value *out);

static int jinja_call(struct jinja *j, struct value callee, struct call *k, struct value *out)
{
    if (callee.kind == VALUE_MACRO) {
        return macro_call(j, (const struct macro *)callee.u.p, k, out);
    }
    if (callee.kind == VALUE_LOOP) {
        return loop_recurse(j, (const struct loop *)callee.u.p, k, out);
    }
    if (callee.kind == VALUE_METHOD && callee.mark == 1) {
        return jinja_run(j, (const struct function *)callee.u.p, k, out);
    }
    if (callee.kind == VALUE_METHOD) {
        const struct method *m = (const struct method *)callee.u.p;
        k->self = m->self;
        return jinja_run(j, m->function, k, out);
    }
    if (callee.kind == VALUE_UNDEFINED) {
        return chat_fail(&j->c, "'%.*s' is undefined and cannot be called%s",
                         callee.u.s != NULL ? text_width(str_text(callee.u.s)) : 0,
                         callee.u.s != NULL ? callee.u.s->s : "",
                         callee.u.s != NULL && text_is(str_text(callee.u.s), global_date.name)
                             ? ": the call gave no date"
                             : "");
    }
    return chat_fail(&j->c, "%s cannot be called", value_kind_name(callee));
}

/* ---- Expressions ----------------------------------------------------------------------------- */

static int eval_items(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct list *l;
    SLM_TRY(list_make(&j->c, 0, &l));
    for (const struct node *n = node->a; n != NULL; n = n->next) {
        struct value v;
        SLM_TRY(jinja_eval(j, scope, n, &v));
        SLM_TRY(list_push(&j->c, l, v));
    }
    *out = value_list(l, node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE);
    return SLM_OK;
}

static int eval_dict(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out)
{
    struct dict *d;
    SLM_TRY(dict_make(&j->c, &d));
    for (const struct node *n = node->a; n != NULL; n = n->next->next) {
        struct value key;
        struct value v;
        SLM_TRY(jinja_eval(j, scope, n, &key));
        SLM_TRY(jinja_eval(j, scope, n->next, &v));
        SLM_TRY(dict_check_key(&j->c, key));
        SLM_TRY(dict_push(&j->c, d, key, v));
    }
    SLM_TRY(dict_finish(&j->c, d));
    *out = value_dict(d, VALUE_DICT);
    return SLM_OK;
}

/* One border of a slice; otherwise where it is left out. */
static int eval_border(struct jinja *j, struct scope *scope, const struct node *node,
                       int64_t otherwise, int64_t *out)
{
    struct value v;
    *out = otherwise;
    if (node == NULL) {
        return SLM_OK;
    }
    SLM_TRY(jinja_eval(j, scope, node, &v));
    if (v.kind == VALUE_NONE) {
        return SLM_OK;
    }
    if (!value_is_integer(v)) {
        return chat_fail(&j->c, "a slice from or to %s", value_kind_name(v));
    }
    *out = v.u.i;
    return SLM_OK;
}

/* As Python counts: from the end if negative, cut to what there is. */
static int64_t eval_clip(int64_t i, int64_t n, int64_t low, int64_t high)
{
    i = i < 0 ? i + n : i;
    return min_i64(max_i64(i, low), high);
}

static int eval_slice(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct value v;
    const struct list *l;
    struct list *part;
    struct builder b = builder_begin(&j->c);
    int64_t from;
    int64_t to;
    int64_t step;
    SLM_TRY(jinja_eval(j, scope, node->a, &v));
    if (v.kind != VALUE_STRING && (!value_is_list(v) || value_is_view(v))) {
        return v.kind == VALUE_UNDEFINED ? method_undefined(j, v, NULL)
                                         : chat_fail(&j->c, "%s has no slices", value_kind_name(v));
    }
    SLM_TRY(eval_border(j, scope, node->other, 1, &step));
    if (step == 0 || step == INT64_MIN) {
        return chat_fail(&j->c, "a slice with a step of 0");
    }
    int64_t n = v.kind == VALUE_STRING ? str_points(&j->c, v.u.s) : v.u.l->n;
    int64_t low = step > 0 ? 0 : -1;
    int64_t high = step > 0 ? n : n - 1;
    SLM_TRY(eval_border(j, scope, node->b, step > 0 ? 0 : INT64_MAX, &from));
    SLM_TRY(eval_border(j, scope, node->c, step > 0 ? INT64_MAX : INT64_MIN, &to));
    from = eval_clip(from, n, low, high);
    to = to == INT64_MIN ? low : eval_clip(to, n, low, high);
    if (v.kind == VALUE_STRING && step == 1) {
        const struct str *s;
        uint32_t first = str_offset(&j->c, v.u.s, (uint64_t)from);
        uint32_t end = to > from ? str_offset(&j->c, v.u.s, (uint64_t)to) : first;
        SLM_TRY(str_slice(&j->c, v.u.s, first, end, &s));
        *out = value_string(s);
        return SLM_OK;
    }
    SLM_TRY(jinja_iterate(j, v, &l));
    SLM_TRY(list_make(&j->c, 0, &part));
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        if (v.kind == VALUE_STRING) {
            SLM_TRY(builder_str(&b, l->items[i].u.s));
        } else {
            SLM_TRY(list_push(&j->c, part, l->items[i]));
        }
        if (step > 0 ? step >= to - i : step <= to - i) {
            break;
        }
        i += step;
    }
    if (v.kind == VALUE_STRING) {
        return value_build(&b, out);
    }
    *out = value_list(part, v.kind);
    return SLM_OK;
}

static int eval_call(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out)
{
    struct call *k; /* large, and calls nest */
    struct value callee;
    SLM_TRY(jinja_eval(j, scope, node->a, &callee));
    CHAT_TAKE(&j->c, k, struct call, 1);
    SLM_TRY(jinja_arguments(j, scope, node->b, k));
    j->c.line = node->line;
    return jinja_call(j, callee, k, out);
}

/* Filters and tests. */
static int eval_named(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct call *k;
    struct value self;
    int is_true = 0;
    SLM_TRY(jinja_eval(j, scope, node->a, &self));
    CHAT_TAKE(&j->c, k, struct call, 1);
    SLM_TRY(jinja_arguments(j, scope, node->b, k));
    k->self = self;
    j->c.line = node->line;
    if (node->kind == NODE_FILTER) {
        return jinja_filter(j, node->name, k, out);
    }
    SLM_TRY(jinja_test(j, node->name, k, &is_true));
    *out = value_bool(is_true);
    return SLM_OK;
}

static int eval_chain(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    SLM_TRY(jinja_eval(j, scope, node->a, out));
    for (const struct node *link = node->b; link != NULL; link = link->next) {
        struct value right;
        SLM_TRY(jinja_eval(j, scope, link->a, &right));
        j->c.line = link->line;
        SLM_TRY(jinja_binary(j, link->op, *out, right, out));
    }
    return SLM_OK;
}

/* a < b < c is a < b and b < c. */
static int eval_compare(struct jinja *j, struct scope *scope, const struct node *node,
                        struct value *out)
{
    struct value left;
    int is_true = 1;
    SLM_TRY(jinja_eval(j, scope, node->a, &left));
    for (const struct node *link = node->b; link != NULL && is_true; link = link->next) {
        struct value right;
        SLM_TRY(jinja_eval(j, scope, link->a, &right));
        j->c.line = link->line;
        SLM_TRY(jinja_compare(j, link->op, left, right, &is_true));
        left = right;
    }
    *out = value_bool(is_true);
    return SLM_OK;
}

/* The operand that decides. */
static int eval_logic(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    for (const struct node *n = node->a; n != NULL; n = n->next) {
        SLM_TRY(jinja_eval(j, scope, n, out));
        if (value_truth(*out) == (node->kind == NODE_OR)) {
            break;
        }
    }
    return SLM_OK;
}

static int eval_cond(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out)
{
    struct value test;
    SLM_TRY(jinja_eval(j, scope, node->b, &test));
    if (value_truth(test)) {
        return jinja_eval(j, scope, node->a, out);
    }
    *out = value_undefined(NULL);
    return node->c != NULL ? jinja_eval(j, scope, node->c, out) : SLM_OK;
}

static int eval_sign(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out)
{
    struct value v;
    SLM_TRY(jinja_eval(j, scope, node->a, &v));
    if (!value_is_number(v)) {
        return jinja_operands(j, node->op, v, v);
    }
    if (node->op == LEX_OP('+', 0) && v.kind != VALUE_BOOL) {
        *out = v;
    } else if (v.kind == VALUE_BIG) {
        return value_negate_big(&j->c, v, out);
    } else if (v.kind == VALUE_FLOAT) {
        *out = value_float(-v.u.f, v.mark);
    } else {
        return jinja_arithmetic(j, node->op == LEX_OP('+', 0) ? LEX_OP('*', 0) : LEX_OP('-', 0),
                                value_int(node->op == LEX_OP('+', 0), v.mark), v, out);
    }
    return SLM_OK;
}

static int eval_node(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value *out)
{
    struct value v;
    switch (node->kind) {
    case NODE_CONST:
        *out = node->constant;
        return SLM_OK;
    case NODE_NAME:
        return scope_find(j, scope, node->name, out);
    case NODE_LIST:
    case NODE_TUPLE:
        return eval_items(j, scope, node, out);
    case NODE_DICT:
        return eval_dict(j, scope, node, out);
    case NODE_ATTR:
        SLM_TRY(jinja_eval(j, scope, node->a, &v));
        j->c.line = node->line;
        return jinja_attribute(j, v, node->name, out);
    case NODE_ITEM: {
        struct value index;
        SLM_TRY(jinja_eval(j, scope, node->a, &v));
        SLM_TRY(jinja_eval(j, scope, node->b, &index));
        j->c.line = node->line;
        return jinja_item(j, v, index, out);
    }
    case NODE_SLICE:
        return eval_slice(j, scope, node, out);
    case NODE_CALL:
        return eval_call(j, scope, node, out);
    case NODE_FILTER:
    case NODE_TEST:
        return eval_named(j, scope, node, out);
    case NODE_NOT:
        SLM_TRY(jinja_eval(j, scope, node->a, &v));
        *out = value_bool(!value_truth(v));
        return SLM_OK;
    case NODE_SIGN:
        return eval_sign(j, scope, node, out);
    case NODE_CHAIN:
        return eval_chain(j, scope, node, out);
    case NODE_COMPARE:
        return eval_compare(j, scope, node, out);
    case NODE_AND:
    case NODE_OR:
        return eval_logic(j, scope, node, out);
    case NODE_COND:
        return eval_cond(j, scope, node, out);
    default: /* NODE_BLOCK */
        *out = j->block;
        return SLM_OK;
    }
}

static int jinja_enter(struct jinja *j, int32_t line)
{
    j->c.line = line;
    if (++j->c.depth > LIMIT_RENDER_DEPTH) {
        return chat_fail(&j->c, "calls nested more than %d deep", LIMIT_RENDER_DEPTH);
    }
    return chat_work(&j->c, 1);
}

static int jinja_eval(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    SLM_TRY(jinja_enter(j, node->line));
    SLM_TRY(eval_node(j, scope, node, out));
    j->c.depth--;
    return SLM_OK;
}

/* ---- Statements ------------------------------------------------------------------------------ */

/* The items that a loop's filter keeps. */
static int exec_filter_items(struct jinja *j, struct scope *scope, const struct node *node,
                             const struct list **items)
{
    struct list *kept;
    const struct list *all = *items;
    SLM_TRY(list_make(&j->c, 0, &kept));
    for (uint32_t i = 0; i < all->n; i++) {
        struct scope *inner;
        struct value v;
        SLM_TRY(scope_make(j, scope, &inner));
        SLM_TRY(jinja_assign(j, inner, node->a, all->items[i]));
        SLM_TRY(jinja_eval(j, inner, node->c, &v));
        if (value_truth(v)) {
            SLM_TRY(list_push(&j->c, kept, all->items[i]));
        }
    }
    *items = kept;
    return SLM_OK;
}

static int exec_loop(struct jinja *j, struct scope *scope, const struct node *node,
                     struct value over, int32_t depth, struct builder *out)
{
    struct loop *loop;
    struct value v = value_of_kind(VALUE_LOOP);
    CHAT_TAKE(&j->c, loop, struct loop, 1);
    loop->node = node;
    loop->scope = scope;
    loop->depth = depth;
    loop->changed = value_of_kind(VALUE_MISSING);
    SLM_TRY(jinja_iterate(j, over, &loop->items));
    if (node->c != NULL) {
        SLM_TRY(exec_filter_items(j, scope, node, &loop->items));
    }
    v.u.p = loop;
    struct scope *inner;
    for (loop->at = 0; loop->at < loop->items->n; loop->at++) {
        SLM_TRY(chat_work(&j->c, 1));
        SLM_TRY(scope_make(j, scope, &inner));
        SLM_TRY(scope_set(j, inner, &scope_loop, v));
        SLM_TRY(jinja_assign(j, inner, node->a, loop->items->items[loop->at]));
        SLM_TRY(jinja_exec(j, inner, node->body, out));
        int jump = j->jump;
        j->jump = 0;
        if (jump == NODE_BREAK) {
            break;
        }
    }
    if (loop->items->n == 0) {
        SLM_TRY(scope_make(j, scope, &inner));
        SLM_TRY(jinja_exec(j, inner, node->other, out));
    }
    return SLM_OK;
}

/* loop(items) in a recursive loop: the text of another round over these. */
static int loop_recurse(struct jinja *j, const struct loop *loop, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    if (loop->node->op == 0 || k->positional->n != 1) {
        return chat_fail(&j->c, "this loop is not 'recursive', or gets no list");
    }
    SLM_TRY(exec_loop(j, loop->scope, loop->node, k->positional->items[0], loop->depth + 1, &b));
    return value_build(&b, out);
}

static int exec_if(struct jinja *j, struct scope *scope, const struct node *node,
                   struct builder *out)
{
    for (;;) {
        struct value test;
        SLM_TRY(jinja_eval(j, scope, node->a, &test));
        if (value_truth(test)) {
            return jinja_exec(j, scope, node->body, out);
        }
        if (node->other == NULL || node->other->kind != NODE_IF || node->other->next != NULL) {
            return jinja_exec(j, scope, node->other, out);
        }
        node = node->other;
    }
}

/* The text of a block in a scope of its own. */
static int exec_block(struct jinja *j, struct scope *scope, const struct node *body,
                      struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct scope *inner;
    SLM_TRY(scope_make(j, scope, &inner));
    SLM_TRY(jinja_exec(j, inner, body, &b));
    return value_build(&b, out);
}

/* And through filters. */
static int exec_filtered(struct jinja *j, struct scope *scope, const struct node *node,
                         struct value *out)
{
    struct value before = j->block;
    struct value text;
    SLM_TRY(exec_block(j, scope, node->body, &text));
    j->block = text;
    SLM_TRY(jinja_eval(j, scope, node->b, out));
    j->block = before;
    return SLM_OK;
}

static int exec_macro(struct jinja *j, struct scope *scope, const struct node *node,
                      struct value *out)
{
    struct macro *m;
    CHAT_TAKE(&j->c, m, struct macro, 1);
    m->node = node;
    m->scope = scope;
    *out = value_of_kind(VALUE_MACRO);
    out->u.p = m;
    return SLM_OK;
}

static int exec_call_block(struct jinja *j, struct scope *scope, const struct node *node,
                           struct value *out)
{
    struct call *k;
    struct value callee;
    struct value caller;
    SLM_TRY(exec_macro(j, scope, node, &caller));
    SLM_TRY(jinja_eval(j, scope, node->b->a, &callee));
    CHAT_TAKE(&j->c, k, struct call, 1);
    SLM_TRY(jinja_arguments(j, scope, node->b->b, k));
    if (k->named == NULL) {
        SLM_TRY(dict_make(&j->c, &k->named));
    }
    SLM_TRY(dict_push_text(&j->c, k->named, "caller", caller));
    SLM_TRY(dict_finish(&j->c, k->named));
    return jinja_call(j, callee, k, out);
}

static int exec_with(struct jinja *j, struct scope *scope, const struct node *node,
                     struct builder *out)
{
    struct scope *inner;
    SLM_TRY(scope_make(j, scope, &inner));
    for (const struct node *n = node->a; n != NULL; n = n->next) {
        struct value v;
        SLM_TRY(jinja_eval(j, scope, n->b, &v));
        SLM_TRY(jinja_assign(j, inner, n->a, v));
    }
    return jinja_exec(j, inner, node->body, out);
}

static int exec_node(struct jinja *j, struct scope *scope, const struct node *node,
                     struct builder *out)
{
    struct value v;
    switch (node->kind) {
    case NODE_DATA:
        return builder_str(out, node->name);
    case NODE_OUTPUT:
        SLM_TRY(jinja_eval(j, scope, node->a, &v));
        return print_value(out, v, 0, 0);
    case NODE_IF:
        return exec_if(j, scope, node, out);
    case NODE_FOR:
        SLM_TRY(jinja_eval(j, scope, node->b, &v));
        return exec_loop(j, scope, node, v, 0, out);
    case NODE_SET:
        SLM_TRY(jinja_eval(j, scope, node->b, &v));
        return jinja_assign(j, scope, node->a, v);
    case NODE_SET_BLOCK:
        SLM_TRY(exec_filtered(j, scope, node, &v));
        return jinja_assign(j, scope, node->a, v);
    case NODE_FILTER_BLOCK:
        SLM_TRY(exec_filtered(j, scope, node, &v));
        return print_value(out, v, 0, 0);
    case NODE_MACRO:
        SLM_TRY(exec_macro(j, scope, node, &v));
        return scope_set(j, scope, node->name, v);
    case NODE_CALL_BLOCK:
        SLM_TRY(exec_call_block(j, scope, node, &v));
        return print_value(out, v, 0, 0);
    case NODE_WITH:
        return exec_with(j, scope, node, out);
    default: /* NODE_BREAK, NODE_CONTINUE */
        j->jump = node->kind;
        return SLM_OK;
    }
}

/* A row of statements. */
static int jinja_exec(struct jinja *j, struct scope *scope, const struct node *first,
                      struct builder *out)
{
    for (const struct node *node = first; node != NULL && j->jump == 0; node = node->next) {
        SLM_TRY(jinja_enter(j, node->line));
        SLM_TRY(exec_node(j, scope, node, out));
        j->c.depth--;
    }
    return SLM_OK;
}
