/* output_calls.c - from the text of a tool call to its name and its arguments as JSON.
 *
 * What is no call of its style is "none found", not an error: the text then goes out as it is. Only
 * memory can fail. Whatever a style makes of the arguments is read as JSON once more before it goes
 * out. */

struct output_call {
    struct output_call *next;
    struct text id; /* 0-terminated, as are the others; empty: none */
    struct text name;
    struct text arguments; /* an object of JSON */
};

struct output_reader {
    struct chat *c;
    const struct output_calls *style;
    struct text tools; /* JSON, or n 0 */
    struct output_call *first;
    struct output_call **last;
};

#define OUTPUT_NONE SLM_E_ARGUMENT /* not a call */

/* ---- Texts ----------------------------------------------------------------------------------- */

/* Where part begins at or behind from, or t.n. */
static size_t output_find(struct text t, size_t from, const char *part)
{
    size_t n = string_length(part);
    for (size_t at = from; n <= t.n && at <= t.n - n; at++) {
        if (t.s[at] == part[0] && memcmp(t.s + at, part, n) == 0) {
            return at;
        }
    }
    return t.n;
}

static struct text output_behind(struct text t, size_t at)
{
    struct text rest = {t.s + at, t.n - at};
    return rest;
}

static struct text output_trim(struct text t)
{
    while (t.n > 0 && output_is_blank((uint8_t)t.s[t.n - 1])) {
        t.n--;
    }
    while (t.n > 0 && output_is_blank((uint8_t)t.s[0])) {
        t = output_behind(t, 1);
    }
    return t;
}

/* Takes what t begins with away, and the blanks in front of it. */
static int output_skip(struct text *t, const char *s)
{
    struct text rest = *t;
    size_t n = string_length(s);
    while (rest.n > 0 && output_is_blank((uint8_t)rest.s[0])) {
        rest = output_behind(rest, 1);
    }
    if (rest.n < n || memcmp(rest.s, s, n) != 0) {
        return 0;
    }
    *t = output_behind(rest, n);
    return 1;
}

static int output_skip_any(struct text *t, const char *const *texts, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (texts[i] != NULL && output_skip(t, texts[i])) {
            return 1;
        }
    }
    return 0;
}

/* What stands in front of the first `end`; t goes behind it. */
static int output_until(struct text *t, const char *end, struct text *before)
{
    size_t at = output_find(*t, 0, end);
    if (at == t->n) {
        return OUTPUT_NONE;
    }
    before->s = t->s;
    before->n = at;
    *t = output_behind(*t, at + string_length(end));
    return SLM_OK;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static int output_copy(struct output_reader *r, struct text t, struct text *out)
{
    char *s;
    CHAT_TAKE(r->c, s, char, t.n + 1);
    if (t.n > 0) {
        memcpy(s, t.s, t.n);
    }
    s[t.n] = 0;
    out->s = s;
    out->n = t.n;
    return SLM_OK;
}

/* Names and ids are short and have nothing of a delimiter in them. */
static int output_is_name(struct text t)
{
    for (size_t i = 0; i < t.n; i++) {
        uint8_t b = (uint8_t)t.s[i];
        if (b < 0x20 || b == '{' || b == '}' || b == '"' || b == '<' || b == '>') {
            return 0;
        }
    }
    return t.n <= OUTPUT_HEADER;
}

static int output_print(struct output_reader *r, struct value v, struct text *out)
{
    struct builder b = builder_begin(r->c);
    const struct str *s;
    struct value again;
    struct json_style style;
    memset(&style, 0, sizeof style);
    SLM_TRY(str_wrap(r->c, text_of(", "), CHAT_CONTENT, &style.item_separator));
    SLM_TRY(str_wrap(r->c, text_of(": "), CHAT_CONTENT, &style.key_separator));
    SLM_TRY(json_write(&b, v, &style, 0));
    SLM_TRY(builder_end(&b, &s));
    SLM_TRY(json_parse(r->c, "arguments", str_text(s), &again));
    return output_copy(r, str_text(s), out);
}

/* arguments is an object, or a text that holds one; UNDEFINED: there are none. */
static int output_add_call(struct output_reader *r, struct text name, struct text id,
                           struct value arguments)
{
    struct output_call *call;
    if (name.n == 0 || !output_is_name(name) || !output_is_name(id)) {
        return OUTPUT_NONE;
    }
    CHAT_TAKE(r->c, call, struct output_call, 1);
    memset(call, 0, sizeof *call);
    if (arguments.kind == VALUE_STRING) {
        SLM_TRY(json_parse(r->c, "arguments", str_text(arguments.u.s), &arguments));
    }
    if (arguments.kind == VALUE_UNDEFINED || arguments.kind == VALUE_NONE) {
        struct dict *d;
        SLM_TRY(dict_make(r->c, &d));
        arguments = value_dict(d, VALUE_DICT);
    }
    if (arguments.kind != VALUE_DICT) {
        return OUTPUT_NONE;
    }
    SLM_TRY(output_copy(r, name, &call->name));
    SLM_TRY(output_copy(r, id, &call->id));
    SLM_TRY(output_print(r, arguments, &call->arguments));
    *r->last = call;
    r->last = &call->next;
    return SLM_OK;
}

/* The first member of one of these names. */
static int output_member(struct output_reader *r, struct value v, const char *const *names,
                         int32_t n, struct value *out)
{
    *out = value_undefined(NULL);
    for (int32_t i = 0; i < n && v.kind == VALUE_DICT; i++) {
        struct value found;
        SLM_TRY(dict_find_text(r->c, v.u.d, text_of(names[i]), &found));
        if (found.kind != VALUE_UNDEFINED && found.kind != VALUE_MISSING) {
            *out = found;
            return SLM_OK;
        }
    }
    return SLM_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int output_is_tool(struct output_reader *r, struct text name, int *is_known);

#define OUTPUT_NAMES 2 /* members that may be the name, and */
#define OUTPUT_IDS 3   /* the id */

/* Whether an object is no more than a name and an id: then it may be a call without arguments. */
static int output_has_only(struct value v, const char *const *names, const char *const *ids)
{
    for (uint32_t i = 0; i < v.u.d->n; i++) {
        struct value key = v.u.d->entries[i].key;
        int is_known = value_is_text(key, "function") || value_is_text(key, "type");
        for (int32_t k = 0; k < OUTPUT_IDS; k++) {
            is_known |=
                value_is_text(key, ids[k]) || (k < OUTPUT_NAMES && value_is_text(key, names[k]));
        }
        if (!is_known) {
            return 0;
        }
    }
    return 1;
}

static int output_json_call(struct output_reader *r, struct value v, int is_bare)
{
    static const char *const functions[] = {"function"};
    static const char *const names[OUTPUT_NAMES] = {"name", "tool_name"};
    static const char *const arguments[] = {"arguments", "parameters"};
    static const char *const ids[OUTPUT_IDS] = {"id", "tool_call_id", "call_id"};
    struct value inner, name, args, id;
    struct text no_id = {"", 0};
    int is_known = 1;
    if (v.kind == VALUE_DICT && r->style->is_keyed && v.u.d->n == 1 &&
        v.u.d->entries[0].key.kind == VALUE_STRING) {
        return output_add_call(r, str_text(v.u.d->entries[0].key.u.s), no_id,
                               v.u.d->entries[0].value);
    }
    SLM_TRY(output_member(r, v, ids, SLM_COUNT(ids), &id));
    SLM_TRY(output_member(r, v, functions, 1, &inner));
    v = inner.kind == VALUE_DICT ? inner : v;
    SLM_TRY(output_member(r, v, names, SLM_COUNT(names), &name));
    SLM_TRY(output_member(r, v, arguments, SLM_COUNT(arguments), &args));
    if (name.kind != VALUE_STRING && inner.kind == VALUE_STRING) {
        name = inner; /* {"function": "NAME", "parameters": ...} */
    }
    if (name.kind != VALUE_STRING || (is_bare && args.kind != VALUE_DICT)) {
        return OUTPUT_NONE;
    }
    if (args.kind == VALUE_UNDEFINED && !output_has_only(v, names, ids)) {
        return OUTPUT_NONE;
    }
    if (is_bare) {
        SLM_TRY(output_is_tool(r, str_text(name.u.s), &is_known));
    }
    return !is_known ? OUTPUT_NONE
                     : output_add_call(r, str_text(name.u.s),
                                       id.kind == VALUE_STRING ? str_text(id.u.s) : no_id, args);
}

static int output_read_json(struct output_reader *r, struct text t, int is_bare)
{
    struct value v;
    SLM_TRY(json_parse(r->c, "tool call", t, &v));
    if (v.kind != VALUE_LIST) {
        return output_json_call(r, v, is_bare);
    }
    for (uint32_t i = 0; i < v.u.l->n; i++) {
        SLM_TRY(output_json_call(r, v.u.l->items[i], is_bare));
    }
    return v.u.l->n > 0 ? SLM_OK : OUTPUT_NONE;
}

/* Cuts a name at the first of these characters. */
static void output_stop(struct text *name, const char *stops)
{
    for (size_t i = 0; stops != NULL && i < name->n; i++) {
        name->n = text_has_char(stops, name->s[i]) ? i : name->n;
    }
}

/* ---- A name, then JSON ----------------------------------------------------------------------- */

static int output_read_named(struct output_reader *r, struct text t)
{
    const struct output_calls *s = r->style;
    struct text name;
    struct text id = {"", 0};
    struct value arguments;
    SLM_TRY(output_until(&t, s->named.args, &name));
    if (s->named.separator != NULL && output_find(name, 0, s->named.separator) < name.n) {
        SLM_TRY(output_until(&name, s->named.separator, &id));
        id = output_trim(id);
        id.n = text_is(id, "function") ? 0 : id.n; /* a kind of call, not an id */
    }
    if (s->named.id_mark != NULL && output_find(name, 0, s->named.id_mark) < name.n) {
        struct text front;
        SLM_TRY(output_until(&name, s->named.id_mark, &front));
        id = name;
        name = front;
    }
    name = output_trim(name);
    if (s->named.prefix != NULL) {
        id = name;
        output_skip(&name, s->named.prefix);
    }
    output_stop(&name, s->named.stops);
    SLM_TRY(json_parse(r->c, "arguments", t, &arguments));
    return output_add_call(r, name, output_trim(id), arguments);
}

/* ---- Tags ------------------------------------------------------------------------------------ */

/* Whether a value of JSON is of the type that a schema names. */
static int output_has_type(struct value v, struct value type)
{
    static const struct {
        const char *name;
        int32_t kinds[3];
    } types[] = {{"integer", {VALUE_INT, VALUE_BIG, VALUE_INT}},
                 {"number", {VALUE_INT, VALUE_BIG, VALUE_FLOAT}},
                 {"boolean", {VALUE_BOOL, VALUE_BOOL, VALUE_BOOL}},
                 {"object", {VALUE_DICT, VALUE_DICT, VALUE_DICT}},
                 {"array", {VALUE_LIST, VALUE_LIST, VALUE_LIST}},
                 {"null", {VALUE_NONE, VALUE_NONE, VALUE_NONE}}};
    for (int32_t i = 0; i < SLM_COUNT(types); i++) {
        if (value_is_text(type, types[i].name)) {
            const int32_t *k = types[i].kinds;
            return v.kind == k[0] || v.kind == k[1] || v.kind == k[2];
        }
    }
    return 0;
}

static int output_fits(struct output_reader *r, struct value v, struct value schema, int *fits)
{
    static const char *const types[] = {"type"};
    static const char *const choices[] = {"anyOf", "oneOf"};
    struct value type, any;
    SLM_TRY(output_member(r, schema, types, 1, &type));
    SLM_TRY(output_member(r, schema, choices, SLM_COUNT(choices), &any));
    *fits = output_has_type(v, type);
    for (uint32_t i = 0; type.kind == VALUE_LIST && i < type.u.l->n; i++) {
        *fits |= output_has_type(v, type.u.l->items[i]);
    }
    for (uint32_t i = 0; any.kind == VALUE_LIST && i < any.u.l->n; i++) {
        SLM_TRY(output_member(r, any.u.l->items[i], types, 1, &type));
        *fits |= output_has_type(v, type);
    }
    return SLM_OK;
}

/* The entry of a tool in the tools, UNDEFINED if there is none. */
static int output_tool(struct output_reader *r, struct text name, struct value *out)
{
    static const char *const functions[] = {"function"};
    static const char *const names[] = {"name"};
    struct value tools, tool, found;
    *out = value_undefined(NULL);
    if (r->tools.n == 0) {
        return SLM_OK;
    }
    SLM_TRY(json_parse(r->c, "tools", r->tools, &tools));
    for (uint32_t i = 0; tools.kind == VALUE_LIST && i < tools.u.l->n; i++) {
        SLM_TRY(output_member(r, tools.u.l->items[i], functions, 1, &tool));
        tool = tool.kind == VALUE_DICT ? tool : tools.u.l->items[i];
        SLM_TRY(output_member(r, tool, names, 1, &found));
        if (found.kind == VALUE_STRING && text_equal(str_text(found.u.s), name)) {
            *out = tool;
            return SLM_OK;
        }
    }
    return SLM_OK;
}

/* Where no tools are known, every name may be one. */
static int output_is_tool(struct output_reader *r, struct text name, int *is_known)
{
    struct value tool;
    SLM_TRY(output_tool(r, name, &tool));
    *is_known = r->tools.n == 0 || tool.kind == VALUE_DICT;
    return SLM_OK;
}

static int output_memory_only(int status)
{
    return status == SLM_E_MEMORY ? status : SLM_OK;
}

/* The value of an argument: a string, but where the schema has another type (or the tag says that
 * it is JSON) and the text is JSON of that type, or a word of Python's. */
static int output_tag_value(struct output_reader *r, struct text t, struct value schema,
                            int is_json, struct value *out)
{
    static const char *const words[3][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    const struct str *s;
    struct text json = output_trim(t);
    struct value v;
    int fits = 0;
    SLM_TRY(str_wrap(r->c, t, CHAT_CONTENT, &s));
    *out = value_string(s);
    if (schema.kind != VALUE_DICT && !is_json) {
        return SLM_OK;
    }
    for (int32_t i = 0; i < 3; i++) {
        json = text_is(json, words[i][0]) ? text_of(words[i][1]) : json;
    }
    int status = json_parse(r->c, "argument", json, &v);
    if (status != SLM_OK) {
        return output_memory_only(status);
    }
    SLM_TRY(output_fits(r, v, schema, &fits));
    *out = fits || is_json ? v : *out;
    return SLM_OK;
}

/* One line break at each side belongs to the tags. */
static struct text output_trim_lines(struct text t)
{
    if (t.n > 0 && t.s[0] == '\n') {
        t = output_behind(t, 1);
    }
    if (t.n > 0 && t.s[t.n - 1] == '\n') {
        t.n--;
    }
    return t;
}

static int output_tag(struct output_reader *r, struct text *t, struct value properties,
                      struct dict *d)
{
    const struct output_calls *s = r->style;
    struct text key;
    struct text between = {"", 0};
    struct text text;
    struct value schema, v;
    const struct str *name;
    SLM_TRY(output_until(t, s->tags.key_end, &key));
    if (s->tags.value_open != NULL) {
        SLM_TRY(output_until(t, s->tags.value_open, &between));
    }
    SLM_TRY(output_until(t, s->tags.value_close, &text));
    key = output_trim(key);
    schema = value_undefined(NULL);
    if (properties.kind == VALUE_DICT) {
        SLM_TRY(dict_find_text(r->c, properties.u.d, key, &schema));
    }
    int is_json = text_contains(between, "string=\"false\"") ||
                  (text_contains(between, "type=\"") && !text_contains(between, "type=\"string\""));
    SLM_TRY(output_tag_value(r, output_trim_lines(text), schema, is_json, &v));
    SLM_TRY(str_wrap(r->c, key, CHAT_CONTENT, &name));
    return key.n > 0 ? dict_push(r->c, d, value_string(name), v) : OUTPUT_NONE;
}

static int output_read_tags(struct output_reader *r, struct text t)
{
    static const char *const parameters[] = {"parameters", "input_schema"};
    static const char *const members[] = {"properties"};
    const struct output_calls *s = r->style;
    struct text name;
    struct text no_id = {"", 0};
    struct value tool, properties;
    struct dict *d;
    if (s->tags.name_end != NULL) {
        SLM_TRY(output_until(&t, s->tags.name_end, &name));
    } else {
        size_t key = output_find(t, 0, s->tags.key_open);
        size_t end = output_find(t, 0, s->tags.end);
        name = t;
        name.n = key < end ? key : end;
        t = output_behind(t, name.n);
    }
    name = output_trim(name);
    output_stop(&name, s->named.stops);
    SLM_TRY(output_tool(r, name, &tool));
    SLM_TRY(output_member(r, tool, parameters, SLM_COUNT(parameters), &tool));
    SLM_TRY(output_member(r, tool, members, 1, &properties));
    SLM_TRY(dict_make(r->c, &d));
    while (!output_skip(&t, s->tags.end)) {
        if (!output_skip(&t, s->tags.key_open)) {
            return OUTPUT_NONE;
        }
        SLM_TRY(output_tag(r, &t, properties, d));
    }
    SLM_TRY(dict_finish(r->c, d));
    return output_add_call(r, name, no_id, value_dict(d, VALUE_DICT));
}

/* ---- Gemma ----------------------------------------------------------------------------------- */

static int output_json_text(struct builder *b, struct text t)
{
    const struct str *s;
    SLM_TRY(str_wrap(b->c, t, CHAT_CONTENT, &s));
    return json_write_string(b, s, 0);
}

/* From behind a bracket or a comma: the key of an object, which stands there bare. */
static int output_gemma_key(struct builder *b, struct text *t, const char *quote)
{
    struct text key;
    if (output_skip(t, "}")) {
        return builder_text(b, "}", CHAT_CONTENT);
    }
    int is_quoted = output_skip(t, quote);
    SLM_TRY(output_until(t, is_quoted ? quote : ":", &key));
    if (is_quoted && !output_skip(t, ":")) {
        return OUTPUT_NONE;
    }
    SLM_TRY(output_json_text(b, is_quoted ? key : output_trim(key)));
    return builder_text(b, ":", CHAT_CONTENT);
}

static int output_read_gemma(struct output_reader *r, struct text t)
{
    struct builder b = builder_begin(r->c);
    const char *quote = r->style->tags.value_open;
    uint8_t is_object[LIMIT_JSON_DEPTH + 2];
    uint32_t depth = 1;
    struct text name, text;
    struct text no_id = {"", 0};
    struct value v;
    SLM_TRY(output_until(&t, "{", &name));
    is_object[1] = 1;
    SLM_TRY(builder_text(&b, "{", CHAT_CONTENT));
    SLM_TRY(output_gemma_key(&b, &t, quote));
    while (t.n > 0) {
        char c = t.s[0];
        if (output_skip(&t, quote)) {
            SLM_TRY(output_until(&t, quote, &text));
            SLM_TRY(output_json_text(&b, text));
            continue;
        }
        t = output_behind(t, 1);
        SLM_TRY(builder_bytes(&b, &c, 1, CHAT_CONTENT));
        if (c == '{' || c == '[') {
            if (depth == LIMIT_JSON_DEPTH) {
                return OUTPUT_NONE;
            }
            is_object[++depth] = c == '{';
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        }
        if (c == '{' || (c == ',' && depth > 0 && is_object[depth])) {
            uint32_t before = b.n;
            SLM_TRY(output_gemma_key(&b, &t, quote));
            depth -= b.n == before + 1 && depth > 0; /* it was empty */
        }
    }
    const struct str *s;
    SLM_TRY(builder_end(&b, &s));
    SLM_TRY(json_parse(r->c, "arguments", str_text(s), &v));
    return output_add_call(r, output_trim(name), no_id, v);
}

/* ---- Python ---------------------------------------------------------------------------------- */

/* Behind "\\x", "\\u" or "\\U": the character whose digits stand there. 0 if they do not. */
static int output_python_digits(struct text *t, char kind, uint32_t *point)
{
    uint32_t n = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    if (parse_escape_digits(*t, 0, n, 16, point) != n || *point > 0x10ffff) {
        return 0;
    }
    *t = output_behind(*t, n);
    return 1;
}

/* The same, and both halves of a pair, as JSON writes them. */
static int output_python_point(struct text *t, char kind, uint32_t *point)
{
    uint32_t low = 0;
    if (!output_python_digits(t, kind, point)) {
        return 0;
    }
    struct text rest = output_behind(*t, t->n < 2 ? 0 : 2);
    int is_pair = *point >= 0xd800 && *point < 0xdc00 && t->n >= 2 && t->s[0] == '\\' &&
                  t->s[1] == 'u' && output_python_digits(&rest, 'u', &low);
    if (is_pair && low >= 0xdc00 && low < 0xe000) {
        *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
        *t = rest;
    }
    *point = *point >= 0xd800 && *point < 0xe000 ? UNICODE_BAD : *point;
    return 1;
}

/* Behind the quote: a string with Python's escapes; an unknown one stands for itself. */
static int output_python_string(struct builder *b, struct text *t, char quote)
{
    static const char from[] = "nrt0\\'\"";
    static const char to[] = "\n\r\t\0\\'\"";
    struct builder inner = builder_begin(b->c);
    const struct str *s;
    while (t->n > 0 && t->s[0] != quote) {
        struct text one = {t->s, 1};
        char next = t->s[0] == '\\' && t->n > 1 ? t->s[1] : 0;
        struct text digits = output_behind(*t, next != 0 ? 2 : 1);
        uint32_t point = 0;
        if (text_has_char("xuU", next) && output_python_point(&digits, next, &point)) {
            SLM_TRY(builder_point(&inner, point, CHAT_CONTENT));
            *t = digits;
            continue;
        }
        for (size_t i = 0; next != 0 && i + 1 < sizeof from; i++) {
            if (next == from[i]) {
                one.s = to + i;
                *t = output_behind(*t, 1);
                break;
            }
        }
        SLM_TRY(builder_bytes(&inner, one.s, 1, CHAT_CONTENT));
        *t = output_behind(*t, 1);
    }
    if (t->n == 0) {
        return OUTPUT_NONE;
    }
    *t = output_behind(*t, 1);
    SLM_TRY(builder_end(&inner, &s));
    return json_write_string(b, s, 0);
}

/* A value up to the comma or bracket that ends it, as JSON. */
static int output_python_value(struct output_reader *r, struct text *t, struct value *out)
{
    static const char *const words[3][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    struct builder b = builder_begin(r->c);
    const struct str *s;
    for (int32_t depth = 0; t->n > 0;) {
        char c = t->s[0];
        int32_t word = 0;
        while (word < 3 && !(c == words[word][0][0] && output_skip(t, words[word][0]))) {
            word++;
        }
        if (word < 3) {
            SLM_TRY(builder_text(&b, words[word][1], CHAT_CONTENT));
            continue;
        }
        if (depth == 0 && (c == ',' || c == ')')) {
            break;
        }
        *t = output_behind(*t, 1);
        if (c == '\'' || c == '"') {
            SLM_TRY(output_python_string(&b, t, c));
            continue;
        }
        if (c == '(') { /* a tuple, or no more than brackets around a value */
            return OUTPUT_NONE;
        }
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        SLM_TRY(builder_bytes(&b, &c, 1, CHAT_CONTENT));
    }
    SLM_TRY(builder_end(&b, &s));
    return json_parse(r->c, "argument", str_text(s), out);
}

static int output_python_call(struct output_reader *r, struct text *t)
{
    struct text name, key;
    struct text no_id = {"", 0};
    struct dict *d;
    SLM_TRY(output_until(t, "(", &name));
    SLM_TRY(dict_make(r->c, &d));
    while (!output_skip(t, ")")) {
        const struct str *s;
        struct value v;
        SLM_TRY(output_until(t, "=", &key));
        SLM_TRY(output_python_value(r, t, &v));
        SLM_TRY(str_wrap(r->c, output_trim(key), CHAT_CONTENT, &s));
        SLM_TRY(dict_push(r->c, d, value_string(s), v));
        output_skip(t, ",");
    }
    SLM_TRY(dict_finish(r->c, d));
    return output_add_call(r, output_trim(name), no_id, value_dict(d, VALUE_DICT));
}

static int output_read_python(struct output_reader *r, struct text t)
{
    if (!output_skip(&t, "[")) {
        return OUTPUT_NONE;
    }
    do {
        SLM_TRY(output_python_call(r, &t));
    } while (output_skip(&t, ","));
    return output_skip(&t, "]") && output_trim(t).n == 0 ? SLM_OK : OUTPUT_NONE;
}

static int output_read_lines(struct output_reader *r, struct text t)
{
    t.n -= string_length(r->style->tags.end); /* the scan ended there */
    do {
        SLM_TRY(output_python_call(r, &t));
        output_skip(&t, ",");
    } while (output_trim(t).n > 0);
    return SLM_OK;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static int output_read_form(struct output_reader *r, struct text t)
{
    const struct output_calls *s = r->style;
    output_skip_any(&t, s->wraps, SLM_COUNT(s->wraps));
    int is_bare = !output_skip_any(&t, s->opens, SLM_COUNT(s->opens));
    struct text first = output_trim(t);
    switch (s->form) {
    case OUTPUT_JSON:
        if (s->named.args != NULL && first.n > 0 && first.s[0] != '{' && first.s[0] != '[') {
            return output_read_named(r, t);
        }
        return output_read_json(r, t, is_bare && s->is_bare);
    case OUTPUT_NAMED:
        return output_read_named(r, t);
    case OUTPUT_TAGS:
        return output_read_tags(r, t);
    case OUTPUT_GEMMA:
        return output_read_gemma(r, t);
    case OUTPUT_LINES:
        return output_read_lines(r, t);
    default:
        return output_read_python(r, t);
    }
}

/* The calls of a text, which must stay as long as they do; *first NULL: it has none. SLM_E_MEMORY. */
static int output_read_calls(struct chat *c, const struct output_calls *style, struct text raw,
                             struct text tools, struct output_call **first)
{
    struct output_reader r;
    memset(&r, 0, sizeof r);
    r.c = c;
    r.style = style;
    r.tools = tools;
    r.last = &r.first;
    int status = output_read_form(&r, raw);
    *first = status == SLM_OK ? r.first : NULL;
    return output_memory_only(status);
}
