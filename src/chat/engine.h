/* engine.h - what the functions that templates call (methods.c, filters.c, globals.c) and the evaluator (eval.c)
 * know of each other. */

struct binding {
    const struct str *name;
    struct value value;
    struct binding *next;
};

/* Names visible at a place: its own, then those around it. */
struct scope {
    struct scope *parent;
    struct binding *first;
    const struct dict *names; /* of the outermost: what the caller of the library gave */
};

struct jinja {
    struct chat c;         /* first: memory, steps, errors */
    struct scope *globals; /* the outermost scope */
    struct value block;    /* what NODE_BLOCK stands for */
    int jump;              /* NODE_BREAK or NODE_CONTINUE on its way to the loop, or 0 */
    int64_t now;           /* for strftime_now, or SLM_NO_DATE */
};

struct macro {
    const struct node *node; /* NODE_MACRO, or NODE_CALL_BLOCK for caller() */
    struct scope *scope;     /* where it was made */
};

struct loop {
    const struct node *node; /* NODE_FOR */
    struct scope *scope;     /* around it */
    const struct list *items;
    uint32_t at;
    int32_t depth;        /* of recursive loops, 0 outside */
    struct value changed; /* the last argument of loop.changed */
};

/* The arguments of a call as they were given, and as a function's row has them. */
#define CALL_ARGUMENTS 6

struct call {
    const struct function *function;
    struct value self;       /* of a method or filter */
    struct list *positional; /* never NULL */
    struct dict *named;      /* NULL: none */
    struct value arg[CALL_ARGUMENTS];
};

/* A filter, test, method or global function: a row in a table. */
struct function {
    const char *name;
    int (*run)(struct jinja *j, struct call *k, struct value *out);
    const char *parameters; /* names between blanks; NULL: run looks at what was given */
    int32_t n_needed;
    int32_t variant; /* what one run does for several names */
};

/* VALUE_METHOD: a row and what it is a method of. */
struct method {
    const struct function *function;
    struct value self;
};

static int jinja_attribute(struct jinja *j, struct value v, const struct str *name,
                           struct value *out);
static int jinja_item(struct jinja *j, struct value v, struct value index, struct value *out);
static int jinja_enter(struct jinja *j, int32_t line);
static int jinja_filter(struct jinja *j, const struct str *name, struct call *k, struct value *out);
static int jinja_test(struct jinja *j, const struct str *name, struct call *k, int *is_true);
static int jinja_run(struct jinja *j, const struct function *f, struct call *k, struct value *out);

/* ---- Helpers of functions -------------------------------------------------------------------- */

static int call_fail(struct jinja *j, const struct call *k, const char *expected, struct value v)
{
    return chat_fail(&j->c, "%s: %s expected, not %s", k->function->name, expected,
                     value_kind_name(v));
}

static int call_has(const struct call *k, int32_t i)
{
    return k->arg[i].kind != VALUE_MISSING;
}

static int call_flag(const struct call *k, int32_t i, int otherwise)
{
    return call_has(k, i) ? value_truth(k->arg[i]) : otherwise;
}

/* An argument that is a string; NULL if it is missing or None. */
static int call_string(struct jinja *j, const struct call *k, int32_t i, const struct str **out)
{
    *out = NULL;
    if (!call_has(k, i) || k->arg[i].kind == VALUE_NONE) {
        return SLM_OK;
    }
    if (k->arg[i].kind != VALUE_STRING) {
        return call_fail(j, k, "a string is", k->arg[i]);
    }
    *out = k->arg[i].u.s;
    return SLM_OK;
}

static int call_integer(struct jinja *j, const struct call *k, int32_t i, int64_t otherwise,
                        int64_t *out)
{
    *out = otherwise;
    if (!call_has(k, i) || k->arg[i].kind == VALUE_NONE) {
        return SLM_OK;
    }
    if (!value_is_integer(k->arg[i])) {
        return call_fail(j, k, "a whole number is", k->arg[i]);
    }
    *out = k->arg[i].u.i;
    return SLM_OK;
}

/* What a for loop walks over, as a list that is not to be changed. */
static int jinja_iterate(struct jinja *j, struct value v, const struct list **out)
{
    struct list *l;
    uint32_t length = 1;
    if (value_is_list(v)) {
        *out = v.u.l;
        return SLM_OK;
    }
    SLM_TRY(list_make(&j->c, 0, &l));
    *out = l;
    switch (v.kind) {
    case VALUE_ITERATOR: /* walked once: what is left is empty */
        *l = *v.u.l;
        v.u.l->n = 0;
        return SLM_OK;
    case VALUE_UNDEFINED:
        return SLM_OK;
    case VALUE_DICT:
        for (uint32_t i = 0; i < v.u.d->n; i++) {
            SLM_TRY(list_push(&j->c, l, v.u.d->entries[i].key));
        }
        return SLM_OK;
    case VALUE_STRING:
        for (uint32_t at = 0; at < v.u.s->n; at += length) {
            str_point(v.u.s, at, &length);
            SLM_TRY(text_push(&j->c, l, v.u.s, at, at + length));
        }
        return SLM_OK;
    default:
        return chat_fail(&j->c, "%s cannot be walked over", value_kind_name(v));
    }
}

static const struct function *function_find(const struct function *table, int32_t n,
                                            struct text name)
{
    for (int32_t i = 0; i < n; i++) {
        if (text_is(name, table[i].name)) {
            return &table[i];
        }
    }
    return NULL;
}
