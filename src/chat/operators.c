/* operators.c - what + - * / // % ** ~ in and comparisons make of two values, as in Python. Whole numbers
 * have 64 bits: what does not fit is an error, never a wrong number. */

/* ---- Operators ------------------------------------------------------------------------------- */

static int jinja_operands(struct jinja *j, uint32_t op, struct value a, struct value b)
{
    char name[3] = {(char)(op >> 8), (char)(op & 255), 0};
    struct value v = a.kind == VALUE_UNDEFINED ? a : b;
    if (v.kind == VALUE_UNDEFINED) {
        return chat_fail(&j->c, "'%.*s' is undefined: no operand for %s",
                         v.u.s != NULL ? text_width(str_text(v.u.s)) : 0,
                         v.u.s != NULL ? v.u.s->s : "", name);
    }
    return chat_fail(&j->c, "%s %s %s makes no sense", value_kind_name(a), name,
                     value_kind_name(b));
}

static int jinja_overflow(struct jinja *j)
{
    return chat_fail(&j->c, "a whole number beyond 64 bits");
}

static int jinja_concat_lists(struct jinja *j, struct value a, struct value b, struct value *out)
{
    struct list *l;
    SLM_TRY(chat_work(&j->c, (uint64_t)a.u.l->n + b.u.l->n));
    SLM_TRY(list_make(&j->c, a.u.l->n + b.u.l->n, &l));
    if (a.u.l->n > 0) {
        memcpy(l->items, a.u.l->items, a.u.l->n * sizeof *l->items);
    }
    if (b.u.l->n > 0) {
        memcpy(l->items + a.u.l->n, b.u.l->items, b.u.l->n * sizeof *l->items);
    }
    l->n = a.u.l->n + b.u.l->n;
    *out = value_list(l, a.kind);
    return SLM_OK;
}

/* What a float is computed with becomes one; two whole numbers of which one is too large do not. */
static int jinja_reals(struct jinja *j, struct value *a, struct value *b)
{
    struct value *const both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        double real = 0;
        if (both[i]->kind != VALUE_BIG) {
            continue;
        }
        if (both[1 - i]->kind != VALUE_FLOAT) {
            return jinja_overflow(j);
        }
        SLM_TRY(value_to_real(&j->c, *both[i], &real));
        *both[i] = value_float(real, both[i]->mark);
    }
    return SLM_OK;
}

static int jinja_add(struct jinja *j, struct value a, struct value b, struct value *out)
{
    unsigned mark = a.mark | b.mark;
    if (a.kind == VALUE_STRING && b.kind == VALUE_STRING) {
        struct builder s = builder_begin(&j->c);
        if (a.mark != b.mark) {
            struct value *plain = a.mark == VALUE_SAFE ? &b : &a;
            SLM_TRY(filter_escape_text(j, plain->u.s, &plain->u.s));
        }
        SLM_TRY(builder_reserve(&s, a.u.s->n + b.u.s->n));
        SLM_TRY(builder_str(&s, a.u.s));
        SLM_TRY(builder_str(&s, b.u.s));
        SLM_TRY(value_build(&s, out));
        out->mark = mark;
        return SLM_OK;
    }
    if (value_is_integer(a) && value_is_integer(b)) {
        int64_t x = a.u.i;
        int64_t y = b.u.i;
        if (y > 0 ? x > INT64_MAX - y : x < INT64_MIN - y) {
            return jinja_overflow(j);
        }
        *out = value_int(x + y, mark);
        return SLM_OK;
    }
    if (value_is_number(a) && value_is_number(b)) {
        SLM_TRY(jinja_reals(j, &a, &b));
        *out = value_float(value_real(a) + value_real(b), mark);
        return SLM_OK;
    }
    if (value_is_list(a) && a.kind == b.kind && !value_is_view(a) && !value_is_view(b)) {
        return jinja_concat_lists(j, a, b, out);
    }
    return jinja_operands(j, LEX_OP('+', 0), a, b);
}

/* text * n, list * n */
static int jinja_repeat(struct jinja *j, struct value a, int64_t times, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct list *l;
    times = max_i64(times, 0);
    if (a.kind == VALUE_STRING) {
        SLM_TRY(builder_repeat(&b, a.u.s, (uint64_t)times));
        return value_build(&b, out);
    }
    SLM_TRY(list_make(&j->c, 0, &l));
    for (int64_t i = 0; i < times && a.u.l->n > 0; i++) {
        for (uint32_t k = 0; k < a.u.l->n; k++) {
            SLM_TRY(list_push(&j->c, l, a.u.l->items[k]));
        }
    }
    *out = value_list(l, a.kind);
    return SLM_OK;
}

static int jinja_multiply_int(int64_t x, int64_t y, int64_t *out)
{
    uint64_t a = x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
    uint64_t b = y < 0 ? 0 - (uint64_t)y : (uint64_t)y;
    uint64_t product = 0;
    int is_negative = (x < 0) != (y < 0);
    if (!mul_u64(a, b, &product) || product > (uint64_t)INT64_MAX) {
        return 0;
    }
    *out = is_negative ? -(int64_t)product : (int64_t)product;
    return 1;
}

static int jinja_power_real(struct jinja *j, double x, double y, double *out)
{
    int is_whole = math_floor(y) - y >= 0;
    int is_odd = is_whole && math_floor(y / 2) - y / 2 < 0;
    if (!(x < 0 || x > 0) && y < 0) {
        return chat_fail(&j->c, "division by zero");
    }
    if (x < 0 && !is_whole) {
        return chat_fail(&j->c, "**: a power that is no real number");
    }
    double root = y - 0.5;
    *out = !(y < 0 || y > 0)      ? 1
           : !(x < 0 || x > 0)    ? 0
           : root < 0 || root > 0 ? math_pow(x < 0 ? -x : x, y)
                                  : math_sqrt(x); /* exact to the last digit */
    if (!math_is_finite(*out)) {
        return chat_fail(&j->c, "**: a number that is too large");
    }
    *out = x < 0 && is_odd ? -*out : *out;
    return SLM_OK;
}

static int jinja_power(struct jinja *j, struct value a, struct value b, struct value *out)
{
    int64_t whole = 1;
    double real = 1;
    if (!value_is_integer(a) || !value_is_integer(b) || b.u.i < 0) {
        SLM_TRY(jinja_power_real(j, value_real(a), value_real(b), &real));
        *out = value_float(real, a.mark | b.mark);
        return SLM_OK;
    }
    if (b.u.i > 1024) {
        return chat_fail(&j->c, "**: an exponent of at most 1024 is expected");
    }
    SLM_TRY(chat_work(&j->c, (uint64_t)b.u.i));
    for (int64_t i = 0; i < b.u.i; i++) {
        if (!jinja_multiply_int(whole, a.u.i, &whole)) {
            return jinja_overflow(j);
        }
    }
    *out = value_int(whole, a.mark | b.mark);
    return SLM_OK;
}

/* What is left of x above 0 when y above 0 has been taken away as often as it can be. Exact. */
static double jinja_rest(double x, double y)
{
    double part = y;
    while (part <= x / 2) {
        part *= 2;
    }
    for (; part >= y; part /= 2) {
        x -= x >= part ? part : 0;
    }
    return x;
}

/* x // y and x % y, whose sign is that of y. */
static int jinja_divide_real(struct jinja *j, uint32_t op, double x, double y, double *out)
{
    if (!math_is_finite(x) || !math_is_finite(y)) {
        return chat_fail(&j->c, "a division of what is no finite number");
    }
    double rest = jinja_rest(x < 0 ? -x : x, y < 0 ? -y : y);
    rest = x < 0 ? -rest : rest;
    double quotient = (x - rest) / y;
    if ((rest < 0 || rest > 0) && (rest < 0) != (y < 0)) {
        rest += y;
        quotient -= 1;
    }
    double whole = math_floor(quotient);
    whole += quotient - whole > 0.5;
    if (!(rest < 0 || rest > 0)) {
        rest = y < 0 ? -0.0 : 0.0;
    }
    if (!(quotient < 0 || quotient > 0)) {
        whole = (x / y) * 0; /* a zero with the sign of the true quotient */
    }
    *out = op == LEX_OP('%', 0) ? rest : whole;
    return chat_work(&j->c, 600);
}

static int jinja_divide_int(struct jinja *j, uint32_t op, struct value a, struct value b,
                            struct value *out)
{
    if (b.u.i == -1 && a.u.i == INT64_MIN) {
        return jinja_overflow(j);
    }
    int64_t quotient = a.u.i / b.u.i;
    int64_t rest = a.u.i % b.u.i;
    if (rest != 0 && (rest < 0) != (b.u.i < 0)) {
        quotient--;
        rest += b.u.i;
    }
    *out = value_int(op == LEX_OP('%', 0) ? rest : quotient, a.mark | b.mark);
    return SLM_OK;
}

static int jinja_arithmetic(struct jinja *j, uint32_t op, struct value a, struct value b,
                            struct value *out)
{
    unsigned mark = a.mark | b.mark;
    int whole = value_is_integer(a) && value_is_integer(b);
    SLM_TRY(jinja_reals(j, &a, &b));
    double x = value_real(a);
    double y = value_real(b);
    if (op == LEX_OP('*', '*')) {
        return jinja_power(j, a, b, out);
    }
    if (op == LEX_OP('-', 0) && whole) {
        if (b.u.i == INT64_MIN) {
            return jinja_overflow(j);
        }
        return jinja_add(j, a, value_int(-b.u.i, mark), out);
    }
    if (op == LEX_OP('*', 0) && whole) {
        int64_t product = 0;
        if (!jinja_multiply_int(a.u.i, b.u.i, &product)) {
            return jinja_overflow(j);
        }
        *out = value_int(product, mark);
        return SLM_OK;
    }
    if (op == LEX_OP('-', 0) || op == LEX_OP('*', 0)) {
        *out = value_float(op == LEX_OP('-', 0) ? x - y : x * y, mark);
        return SLM_OK;
    }
    if (!(y < 0 || y > 0)) {
        return chat_fail(&j->c, "division by zero");
    }
    if (op != LEX_OP('/', 0) && whole) {
        return jinja_divide_int(j, op, a, b, out);
    }
    double real = x / y;
    if (op != LEX_OP('/', 0)) {
        SLM_TRY(jinja_divide_real(j, op, x, y, &real));
    }
    *out = value_float(real, mark);
    return SLM_OK;
}

/* text % values */
static int jinja_percent(struct jinja *j, struct value a, struct value b, struct value *out)
{
    const struct str *s;
    SLM_TRY(text_percent(&j->c, a.u.s, b, &s));
    *out = value_string(s);
    return SLM_OK;
}

static int jinja_binary(struct jinja *j, uint32_t op, struct value a, struct value b,
                        struct value *out)
{
    if (op == LEX_OP('+', 0)) {
        return jinja_add(j, a, b, out);
    }
    if (op == LEX_OP('~', 0)) {
        struct builder s = builder_begin(&j->c);
        SLM_TRY(print_value(&s, a, 0, 0));
        SLM_TRY(print_value(&s, b, 0, 0));
        return value_build(&s, out);
    }
    if (op == LEX_OP('*', 0) && value_is_integer(b) &&
        (value_is_list(a) || a.kind == VALUE_STRING)) {
        return jinja_repeat(j, a, b.u.i, out);
    }
    if (op == LEX_OP('*', 0) && value_is_integer(a) &&
        (value_is_list(b) || b.kind == VALUE_STRING)) {
        return jinja_repeat(j, b, a.u.i, out);
    }
    if (op == LEX_OP('%', 0) && a.kind == VALUE_STRING) {
        return jinja_percent(j, a, b, out);
    }
    if (!value_is_number(a) || !value_is_number(b)) {
        return jinja_operands(j, op, a, b);
    }
    return jinja_arithmetic(j, op, a, b, out);
}

/* a in b */
static int jinja_contains(struct jinja *j, struct value a, struct value b, int *is_in)
{
    const struct list *l;
    *is_in = 0;
    if (b.kind == VALUE_STRING) {
        if (a.kind != VALUE_STRING) {
            return jinja_operands(j, OP_IN, a, b);
        }
        SLM_TRY(chat_work(&j->c, b.u.s->n / 16 + 1));
        *is_in = str_find(&j->c, b.u.s, str_text(a.u.s), 0, b.u.s->n) <= b.u.s->n;
        return SLM_OK;
    }
    if (b.kind == VALUE_DICT) {
        struct value found;
        SLM_TRY(value_find_key(&j->c, b.u.d, a, &found));
        *is_in = found.kind != VALUE_MISSING;
        return SLM_OK;
    }
    SLM_TRY(jinja_iterate(j, b, &l));
    for (uint32_t i = 0; i < l->n && !*is_in; i++) {
        SLM_TRY(value_equal(&j->c, l->items[i], a, is_in));
    }
    return SLM_OK;
}

static int jinja_compare(struct jinja *j, uint32_t op, struct value a, struct value b, int *is_true)
{
    int order = 0;
    switch (op) {
    case LEX_OP('=', '='):
        return value_equal(&j->c, a, b, is_true);
    case LEX_OP('!', '='):
        SLM_TRY(value_equal(&j->c, a, b, is_true));
        *is_true = !*is_true;
        return SLM_OK;
    case OP_IN:
    case OP_NOT_IN:
        SLM_TRY(jinja_contains(j, a, b, is_true));
        *is_true ^= op == OP_NOT_IN;
        return SLM_OK;
    default:
        if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED) {
            return jinja_operands(j, op, a, b);
        }
        SLM_TRY(value_order(&j->c, a, b, 0, &order));
        *is_true = op == LEX_OP('<', 0)     ? order < 0
                   : op == LEX_OP('<', '=') ? order <= 0
                   : op == LEX_OP('>', 0)   ? order > 0
                                            : order >= 0;
        *is_true = *is_true && !value_is_nan(a) && !value_is_nan(b);
        return SLM_OK;
    }
}
