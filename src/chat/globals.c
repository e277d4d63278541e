/* globals.c - tests ("is defined") and global functions (range, namespace, strftime_now): a row each. */

/* ---- Tests ----------------------------------------------------------------------------------- */

#define TEST_DEFINED 0
#define TEST_UNDEFINED 1
#define TEST_NONE 2
#define TEST_TRUE 3
#define TEST_FALSE 4
#define TEST_BOOLEAN 5
#define TEST_INTEGER 6
#define TEST_FLOAT 7
#define TEST_NUMBER 8
#define TEST_STRING 9
#define TEST_MAPPING 10
#define TEST_SEQUENCE 11
#define TEST_ITERABLE 12
#define TEST_CALLABLE 13

static int test_kind(struct jinja *j, struct call *k, struct value *out)
{
    struct value v = k->self;
    int walked = value_is_list(v) || v.kind == VALUE_DICT || v.kind == VALUE_STRING;
    const int answers[] = {
        v.kind != VALUE_UNDEFINED,
        v.kind == VALUE_UNDEFINED,
        v.kind == VALUE_NONE,
        v.kind == VALUE_BOOL && v.u.i,
        v.kind == VALUE_BOOL && !v.u.i,
        v.kind == VALUE_BOOL,
        v.kind == VALUE_INT || v.kind == VALUE_BIG,
        v.kind == VALUE_FLOAT,
        value_is_number(v),
        v.kind == VALUE_STRING,
        v.kind == VALUE_DICT,
        (walked && !value_is_view(v)) || v.kind == VALUE_UNDEFINED,
        walked || v.kind == VALUE_UNDEFINED || v.kind == VALUE_ITERATOR || v.kind == VALUE_LOOP,
        v.kind == VALUE_MACRO || v.kind == VALUE_METHOD,
    };
    (void)j;
    *out = value_bool(answers[k->function->variant]);
    return SLM_OK;
}

static int jinja_compare(struct jinja *j, uint32_t op, struct value a, struct value b,
                         int *is_true);

static int test_compare(struct jinja *j, struct call *k, struct value *out)
{
    int is_true = 0;
    SLM_TRY(jinja_compare(j, (uint32_t)k->function->variant, k->self, k->arg[0], &is_true));
    *out = value_bool(is_true);
    return SLM_OK;
}

/* even, odd: variant 0 and 1; divisibleby: 2 */
static int test_divisible(struct jinja *j, struct call *k, struct value *out)
{
    int64_t by = 2;
    if (k->function->variant == 2) {
        SLM_TRY(call_integer(j, k, 0, 0, &by));
    }
    if (!value_is_integer(k->self) || by == 0) {
        return call_fail(j, k, "a whole number is", k->self);
    }
    int64_t rest = by == -1 ? 0 : k->self.u.i % by;
    *out = value_bool(k->function->variant == 1 ? rest != 0 : rest == 0);
    return SLM_OK;
}

static int test_sameas(struct jinja *j, struct call *k, struct value *out)
{
    int equal = 0;
    SLM_TRY(value_equal(&j->c, k->self, k->arg[0], &equal));
    *out = value_bool(equal && k->self.kind == k->arg[0].kind);
    return SLM_OK;
}

static int test_case(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    struct call inner = *k;
    SLM_TRY(filter_self(j, k, &s));
    inner.self = value_string(s);
    return method_is(j, &inner, out);
}

/* Whether there is a filter or test of that name. */
static int test_exists(struct jinja *j, struct call *k, struct value *out);

static const struct function test_table[] = {
    {"boolean", test_kind, "", 0, TEST_BOOLEAN},
    {"callable", test_kind, "", 0, TEST_CALLABLE},
    {"defined", test_kind, "", 0, TEST_DEFINED},
    {"divisibleby", test_divisible, "num", 1, 2},
    {"eq", test_compare, "other", 1, LEX_OP('=', '=')},
    {"equalto", test_compare, "other", 1, LEX_OP('=', '=')},
    {"==", test_compare, "other", 1, LEX_OP('=', '=')},
    {"even", test_divisible, "", 0, 0},
    {"false", test_kind, "", 0, TEST_FALSE},
    {"filter", test_exists, "", 0, 0},
    {"float", test_kind, "", 0, TEST_FLOAT},
    {"ge", test_compare, "other", 1, LEX_OP('>', '=')},
    {">=", test_compare, "other", 1, LEX_OP('>', '=')},
    {"greaterthan", test_compare, "other", 1, LEX_OP('>', 0)},
    {"gt", test_compare, "other", 1, LEX_OP('>', 0)},
    {">", test_compare, "other", 1, LEX_OP('>', 0)},
    {"in", test_compare, "other", 1, OP_IN},
    {"integer", test_kind, "", 0, TEST_INTEGER},
    {"iterable", test_kind, "", 0, TEST_ITERABLE},
    {"le", test_compare, "other", 1, LEX_OP('<', '=')},
    {"<=", test_compare, "other", 1, LEX_OP('<', '=')},
    {"lessthan", test_compare, "other", 1, LEX_OP('<', 0)},
    {"lower", test_case, "", 0, METHOD_LOWER},
    {"lt", test_compare, "other", 1, LEX_OP('<', 0)},
    {"<", test_compare, "other", 1, LEX_OP('<', 0)},
    {"mapping", test_kind, "", 0, TEST_MAPPING},
    {"ne", test_compare, "other", 1, LEX_OP('!', '=')},
    {"!=", test_compare, "other", 1, LEX_OP('!', '=')},
    {"none", test_kind, "", 0, TEST_NONE},
    {"number", test_kind, "", 0, TEST_NUMBER},
    {"odd", test_divisible, "", 0, 1},
    {"sameas", test_sameas, "other", 1, 0},
    {"sequence", test_kind, "", 0, TEST_SEQUENCE},
    {"string", test_kind, "", 0, TEST_STRING},
    {"test", test_exists, "", 0, 1},
    {"true", test_kind, "", 0, TEST_TRUE},
    {"undefined", test_kind, "", 0, TEST_UNDEFINED},
    {"upper", test_case, "", 0, METHOD_UPPER},
};

static int test_exists(struct jinja *j, struct call *k, struct value *out)
{
    const struct function *f = NULL;
    (void)j;
    if (k->self.kind == VALUE_STRING) {
        f = k->function->variant == 0
                ? function_find(filter_table, SLM_COUNT(filter_table), str_text(k->self.u.s))
                : function_find(test_table, SLM_COUNT(test_table), str_text(k->self.u.s));
    }
    *out = value_bool(f != NULL);
    return SLM_OK;
}

/* ---- Global functions ------------------------------------------------------------------------ */

static int global_range(struct jinja *j, struct call *k, struct value *out)
{
    struct list *l;
    int64_t first;
    int64_t end;
    int64_t step;
    SLM_TRY(call_integer(j, k, 0, 0, &first));
    SLM_TRY(call_integer(j, k, 1, 0, &end));
    SLM_TRY(call_integer(j, k, 2, 1, &step));
    if (!call_has(k, 1)) {
        end = first;
        first = 0;
    }
    if (step == 0 || step == INT64_MIN) {
        return chat_fail(&j->c, "range: the step is 0");
    }
    uint64_t span = step > 0 ? (first < end ? (uint64_t)end - (uint64_t)first : 0)
                             : (first > end ? (uint64_t)first - (uint64_t)end : 0);
    uint64_t stride = (uint64_t)(step > 0 ? step : -step);
    uint64_t n = span / stride + (span % stride != 0);
    if (n > LIMIT_RANGE) {
        return chat_fail(&j->c, "range: more than %u numbers", LIMIT_RANGE);
    }
    SLM_TRY(list_make(&j->c, (uint32_t)n, &l));
    for (uint64_t i = 0; i < n; i++) {
        uint64_t value = (uint64_t)first + i * (uint64_t)step;
        SLM_TRY(list_push(&j->c, l, value_int((int64_t)value, k->arg[0].mark)));
    }
    *out = value_list(l, VALUE_LIST);
    return SLM_OK;
}

/* dict() and namespace(): a dictionary, or pairs, and then names. */
static int global_dict(struct jinja *j, struct call *k, struct value *out)
{
    struct dict *d;
    SLM_TRY(dict_make(&j->c, &d));
    if (k->positional->n > 0) {
        struct value from = k->positional->items[0];
        const struct list *pairs;
        struct function items = {k->function->name, method_entries, NULL, 0, VALUE_VIEW_ITEMS};
        if (from.kind == VALUE_DICT) {
            struct call inner = *k;
            inner.function = &items;
            inner.self = from;
            SLM_TRY(method_entries(j, &inner, &from));
        }
        SLM_TRY(jinja_iterate(j, from, &pairs));
        for (uint32_t i = 0; i < pairs->n; i++) {
            const struct list *pair;
            SLM_TRY(jinja_iterate(j, pairs->items[i], &pair));
            if (pair->n != 2) {
                return call_fail(j, k, "a pair is", pairs->items[i]);
            }
            SLM_TRY(dict_check_key(&j->c, pair->items[0]));
            SLM_TRY(dict_push(&j->c, d, pair->items[0], pair->items[1]));
        }
    }
    for (uint32_t i = 0; k->named != NULL && i < k->named->n; i++) {
        SLM_TRY(dict_push(&j->c, d, k->named->entries[i].key, k->named->entries[i].value));
    }
    SLM_TRY(dict_finish(&j->c, d));
    for (uint32_t i = 0; k->function->variant == VALUE_SPACE && i < d->n; i++) {
        if (d->entries[i].key.kind != VALUE_STRING) {
            return call_fail(j, k, "a name is", d->entries[i].key);
        }
    }
    d->order = k->function->variant == VALUE_SPACE ? NULL : d->order;
    *out = value_dict(d, k->function->variant);
    return SLM_OK;
}

static int global_raise(struct jinja *j, struct call *k, struct value *out)
{
    const struct str *s;
    (void)out;
    SLM_TRY(text_str(&j->c, k->arg[0], &s));
    return chat_fail(&j->c, "%.*s", text_width(str_text(s)), s->s);
}

static const struct function global_table[] = {
    {"dict", global_dict, NULL, 0, VALUE_DICT},
    {"namespace", global_dict, NULL, 0, VALUE_SPACE},
    {"raise_exception", global_raise, "message", 1, 0},
    {"range", global_range, "start stop step", 1, 0},
};

/* ---- The date -------------------------------------------------------------------------------- */

struct date {
    int64_t year;
    int64_t month; /* 1 to 12 */
    int64_t day;   /* 1 to 31 */
    int64_t yday;  /* 1 to 366 */
    int64_t wday;  /* 0 is Sunday */
    int64_t hour;
    int64_t minute;
    int64_t second;
};

static struct date date_of(int64_t seconds)
{
    struct date d;
    int64_t days = seconds / 86400 - (seconds % 86400 < 0);
    int64_t rest = seconds - days * 86400;
    /* Days since 0000-03-01: leap days end years that begin in March, and 400 years are 146097. */
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day = z - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t of_year = day - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    d.day = of_year - (153 * month + 2) / 5 + 1;
    d.month = month < 10 ? month + 3 : month - 9;
    d.year = year + era * 400 + (d.month <= 2);
    int is_leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
    d.yday = d.month <= 2 ? of_year - 305 : of_year + 60 + is_leap;
    d.wday = ((days + 4) % 7 + 7) % 7;
    d.hour = rest / 3600;
    d.minute = rest / 60 % 60;
    d.second = rest % 60;
    return d;
}

static const char *const date_months[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
static const char *const date_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

static int date_number(struct builder *b, int64_t n, int32_t width, char pad)
{
    char text[24];
    size_t size = format_text(text, sizeof text, "%lld", (long long)n);
    for (size_t i = size; i < (size_t)width; i++) {
        SLM_TRY(builder_bytes(b, &pad, 1, CHAT_CONTENT));
    }
    return builder_bytes(b, text, size, CHAT_CONTENT);
}

static int date_field(struct builder *b, const struct date *d, char field)
{
    const char *day = date_days[d->wday];
    const char *month = date_months[d->month - 1];
    int64_t hour12 = (d->hour + 11) % 12 + 1;
    switch (field) {
    case 'Y':
        return date_number(b, d->year, 1, '0');
    case 'y':
        return date_number(b, (d->year % 100 + 100) % 100, 2, '0');
    case 'm':
        return date_number(b, d->month, 2, '0');
    case 'd':
        return date_number(b, d->day, 2, '0');
    case 'e':
        return date_number(b, d->day, 2, ' ');
    case 'j':
        return date_number(b, d->yday, 3, '0');
    case 'H':
        return date_number(b, d->hour, 2, '0');
    case 'I':
        return date_number(b, hour12, 2, '0');
    case 'M':
        return date_number(b, d->minute, 2, '0');
    case 'S':
        return date_number(b, d->second, 2, '0');
    case 'u':
        return date_number(b, (d->wday + 6) % 7 + 1, 1, '0');
    case 'w':
        return date_number(b, d->wday, 1, '0');
    case 'p':
        return builder_text(b, d->hour < 12 ? "AM" : "PM", CHAT_CONTENT);
    case 'A':
        return builder_text(b, day, CHAT_CONTENT);
    case 'a':
        return builder_bytes(b, day, 3, CHAT_CONTENT);
    case 'B':
        return builder_text(b, month, CHAT_CONTENT);
    case 'b':
    case 'h':
        return builder_bytes(b, month, 3, CHAT_CONTENT);
    case '%':
        return builder_text(b, "%", CHAT_CONTENT);
    default:
        return chat_fail(b->c, "strftime_now: '%%%c' is not known here", field);
    }
}

/* %F and its kin are several fields. */
static const char *date_expand(const char *field)
{
    switch (*field) {
    case 'F':
        return "Y-m-d";
    case 'T':
    case 'X':
        return "H:M:S";
    case 'R':
        return "H:M";
    case 'D':
    case 'x':
        return "m/d/y";
    case 'c':
        return "a b e H:M:S Y";
    default:
        return NULL;
    }
}

static int global_strftime(struct jinja *j, struct call *k, struct value *out)
{
    struct builder b = builder_begin(&j->c);
    struct date d = date_of(j->now);
    const struct str *s;
    SLM_TRY(call_string(j, k, 0, &s));
    if (s == NULL) {
        return call_fail(j, k, "a format is", k->arg[0]);
    }
    for (uint32_t at = 0; at < s->n; at++) {
        if (s->s[at] != '%' || at + 1 == s->n) {
            SLM_TRY(builder_part(&b, s, at, at + 1));
            continue;
        }
        at++;
        int bare = s->s[at] == '-' && at + 1 < s->n; /* no leading zero */
        at += bare ? 1 : 0;
        const char *fields = date_expand(s->s + at);
        for (; fields != NULL && *fields != 0; fields++) {
            int is_field = (*fields >= 'a' && *fields <= 'z') || (*fields >= 'A' && *fields <= 'Z');
            SLM_TRY(is_field ? date_field(&b, &d, *fields)
                             : builder_bytes(&b, fields, 1, CHAT_CONTENT));
        }
        if (fields == NULL) {
            uint32_t start = b.n;
            SLM_TRY(date_field(&b, &d, s->s[at]));
            uint32_t zeros = 0;
            while (bare && start + zeros + 1 < b.n &&
                   (b.s[start + zeros] == '0' || b.s[start + zeros] == ' ')) {
                zeros++;
            }
            memmove(b.s + start, b.s + start + zeros, b.n - start - zeros);
            b.n -= zeros;
        }
    }
    return value_build(&b, out);
}

static const struct function global_date = {"strftime_now", global_strftime, "format", 1, 0};
