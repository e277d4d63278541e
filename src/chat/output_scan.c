/* output_scan.c - the machine that reads an answer byte by byte: which bytes are reasoning, which are
 * the answer, where a tool call begins and where it ends.
 *
 * It decides on each byte alone, whatever pieces the text comes in, and asks for no memory. What may
 * still become a delimiter is held, with the line breaks in front of it, and given out once it
 * cannot. A delimiter inside a string of a call is part of the string. */

#define OUTPUT_BLANKS 32 /* line breaks that are held at once; further ones go out as text */
#define OUTPUT_HELD (OUTPUT_BLANKS + OUTPUT_DELIMITER)
#define OUTPUT_TEXT 1024  /* bytes of text that are collected before they are given out */
#define OUTPUT_HEADER 256 /* longest name, key or what stands around them */

#define OUTPUT_IS_PART 1 /* where text may go on to be it */
#define OUTPUT_IS_WHOLE 2

/* Text and calls on their way out; nothing where only the kinds of tokens are counted. */
struct output_sink {
    char text[OUTPUT_TEXT];
    uint32_t n_text;
    int32_t kind; /* of text, SLM_CHAT_REASONING or SLM_CHAT_ANSWER */
    char *raw;    /* the call that is open, from its opening delimiter on */
    uint64_t raw_room;
    size_t n_raw;
};

/* ---- The extent of a call -------------------------------------------------------------------- */

#define CALL_OPEN 0        /* behind a wrap: the opening delimiter */
#define CALL_BODY 1        /* in front of what the form says */
#define CALL_BARE_KEY 2    /* behind the first brace of a bare object */
#define CALL_JSON 3        /* inside a value of JSON */
#define CALL_HEADER 4      /* NAMED: up to args; GEMMA: up to the brace */
#define CALL_ARGS 5        /* NAMED: behind args */
#define CALL_GEMMA 6       /* inside the braces */
#define CALL_PYTHON 7      /* inside the brackets */
#define CALL_NAME 8        /* TAGS: up to name_end */
#define CALL_BETWEEN 9     /* TAGS: in front of key_open or end */
#define CALL_KEY 10        /* TAGS: up to key_end */
#define CALL_VALUE_OPEN 11 /* TAGS: up to value_open */
#define CALL_VALUE 12      /* TAGS: up to value_close */
#define CALL_LINES 13      /* LINES: up to end */

#define CALL_MORE 0
#define CALL_DONE 1 /* the byte was its last */
#define CALL_BAD 2  /* it is none; the byte is not part of it */

struct output_call_scan {
    const struct output_calls *style;
    int32_t phase;
    int32_t depth;
    int32_t n_phase; /* bytes in this phase */
    uint8_t quote;   /* of the string we are in, or 0 */
    uint8_t escaped;
    uint8_t n_tail;
    char tail[OUTPUT_DELIMITER]; /* the last bytes of this phase */
};

static int output_is_blank(uint8_t b)
{
    return b == ' ' || b == '\n' || b == '\t' || b == '\r';
}

static void call_enter(struct output_call_scan *s, int32_t phase)
{
    s->phase = phase;
    s->n_phase = 0;
    s->n_tail = 0;
}

static void call_push_tail(struct output_call_scan *s, uint8_t b)
{
    if (s->n_tail == sizeof s->tail) {
        memmove(s->tail, s->tail + 1, sizeof s->tail - 1);
        s->n_tail--;
    }
    s->tail[s->n_tail++] = (char)b;
}

/* Whether the phase's text ends with `text`. */
static int call_ends(const struct output_call_scan *s, const char *text)
{
    size_t n = text != NULL ? string_length(text) : 0;
    return n > 0 && n <= s->n_tail && memcmp(s->tail + s->n_tail - n, text, n) == 0;
}

/* What the phase's text is of one of texts: OUTPUT_IS_. */
static int call_expects(const struct output_call_scan *s, const char *const *texts, int32_t n_texts)
{
    int found = 0;
    for (int32_t i = 0; i < n_texts; i++) {
        size_t n = texts[i] != NULL ? string_length(texts[i]) : 0;
        if (s->n_tail <= n && memcmp(s->tail, texts[i], s->n_tail) == 0) {
            found = s->n_tail == n ? OUTPUT_IS_WHOLE : found == 0 ? OUTPUT_IS_PART : found;
        }
    }
    return found;
}

static int call_is_many(const struct output_calls *c)
{
    return c->form == OUTPUT_JSON;
}

/* In JSON: what could be no JSON is found at once, the rest when all of it is read. */
static int call_put_json(struct output_call_scan *s, uint8_t b)
{
    static const char outside[] = "0123456789+-.eEtruefalsn:, \t\r\n";
    if (s->quote != 0) {
        if (b < 0x20) {
            return CALL_BAD;
        }
        if (s->escaped || b == '\\') {
            s->escaped = (uint8_t)!s->escaped;
        } else if (b == '"') {
            s->quote = 0;
        }
        return CALL_MORE;
    }
    switch (b) {
    case '"':
        s->quote = b;
        return CALL_MORE;
    case '{':
    case '[':
        s->depth++;
        return s->depth > LIMIT_JSON_DEPTH ? CALL_BAD : CALL_MORE;
    case '}':
    case ']':
        s->depth--;
        return s->depth == 0 ? CALL_DONE : CALL_MORE;
    default:
        for (size_t i = 0; i + 1 < sizeof outside; i++) {
            if (b == (uint8_t)outside[i]) {
                return CALL_MORE;
            }
        }
        return CALL_BAD;
    }
}

/* Strings stand between two delimiters. */
static int call_put_gemma(struct output_call_scan *s, uint8_t b)
{
    call_push_tail(s, b);
    if (call_ends(s, s->style->tags.value_open)) {
        s->quote = (uint8_t)!s->quote;
        s->n_tail = 0;
    } else if (s->quote == 0 && (b == '{' || b == '[')) {
        s->depth++;
        return s->depth > LIMIT_JSON_DEPTH ? CALL_BAD : CALL_MORE;
    } else if (s->quote == 0 && (b == '}' || b == ']')) {
        s->depth--;
        return s->depth == 0 ? CALL_DONE : CALL_MORE;
    }
    return CALL_MORE;
}

static int call_put_python(struct output_call_scan *s, uint8_t b)
{
    if (s->quote != 0) {
        if (s->escaped || b == '\\') {
            s->escaped = (uint8_t)!s->escaped;
        } else if (b == s->quote) {
            s->quote = 0;
        }
    } else if (b == '"' || b == '\'') {
        s->quote = b;
    } else if (b == '(' || b == '[' || b == '{') {
        s->depth++;
        return s->depth > LIMIT_JSON_DEPTH ? CALL_BAD : CALL_MORE;
    } else if (b == ')' || b == ']' || b == '}') {
        s->depth--;
        return s->depth == 0 ? CALL_DONE : CALL_MORE;
    }
    return CALL_MORE;
}

/* Calls one behind the other; a bracket without its other half makes it none. */
static int call_put_lines(struct output_call_scan *s, uint8_t b)
{
    call_push_tail(s, b);
    if (s->quote == 0 && call_ends(s, s->style->tags.end)) {
        return s->depth == 1 ? CALL_DONE : CALL_BAD;
    }
    return call_put_python(s, b) == CALL_MORE ? CALL_MORE : CALL_BAD;
}

/* The first byte of what the form says that is no blank. */
static int call_put_body(struct output_call_scan *s, uint8_t b)
{
    const struct output_calls *c = s->style;
    int opens = b == '{' || b == '[';
    if (s->phase == CALL_ARGS) {
        opens = b == '{';
    }
    if (c->form == OUTPUT_LINES) {
        call_enter(s, CALL_LINES);
        s->depth = 1;
        return CALL_MORE; /* the caller puts the byte again */
    }
    if (s->phase == CALL_BODY && (c->form == OUTPUT_TAGS || c->form == OUTPUT_NAMED ||
                                  c->form == OUTPUT_GEMMA || (c->named.args != NULL && !opens))) {
        call_enter(s, c->form == OUTPUT_TAGS ? CALL_NAME : CALL_HEADER);
        return CALL_MORE; /* the caller puts the byte again */
    }
    if (output_is_blank(b)) {
        return CALL_MORE;
    }
    if (c->form == OUTPUT_PYTHON) {
        call_enter(s, CALL_PYTHON);
        s->depth = 1;
        return b == '[' ? CALL_MORE : CALL_BAD;
    }
    call_enter(s, CALL_JSON);
    s->depth = 1;
    return opens ? CALL_MORE : CALL_BAD;
}

static int call_put_header(struct output_call_scan *s, uint8_t b)
{
    const struct output_calls *c = s->style;
    call_push_tail(s, b);
    if (c->form == OUTPUT_GEMMA && b == '{') {
        call_enter(s, CALL_GEMMA);
        s->depth = 1;
    } else if (c->form != OUTPUT_GEMMA && call_ends(s, c->named.args)) {
        call_enter(s, CALL_ARGS);
    } else if (b == '{') { /* what stands in the header is not given out: no arguments there */
        return CALL_BAD;
    }
    return s->n_phase > OUTPUT_HEADER ? CALL_BAD : CALL_MORE;
}

/* Whether a tag has begun that is not this one. */
static int call_strays(const struct output_call_scan *s, const char *tag)
{
    size_t n = string_length(tag);
    for (size_t at = 0; at < s->n_tail; at++) {
        size_t size = s->n_tail - at;
        if (s->tail[at] == '<' && (size > n || memcmp(s->tail + at, tag, size) != 0)) {
            return 1;
        }
    }
    return 0;
}

static int call_put_between(struct output_call_scan *s, uint8_t b)
{
    const char *next[2] = {s->style->tags.key_open, s->style->tags.end};
    if (s->n_tail == 0 && output_is_blank(b)) {
        return CALL_MORE;
    }
    call_push_tail(s, b);
    int found = call_expects(s, next, 2);
    if (found == OUTPUT_IS_WHOLE && call_ends(s, s->style->tags.end)) {
        return CALL_DONE;
    }
    if (found == OUTPUT_IS_WHOLE) {
        call_enter(s, CALL_KEY);
    }
    return found == 0 ? CALL_BAD : CALL_MORE;
}

static int call_put_tags(struct output_call_scan *s, uint8_t b)
{
    const struct output_calls *c = s->style;
    call_push_tail(s, b);
    switch (s->phase) {
    case CALL_NAME:
        if (c->tags.name_end == NULL && call_ends(s, c->tags.end)) {
            return CALL_DONE;
        }
        if (c->tags.name_end == NULL && call_ends(s, c->tags.key_open)) {
            call_enter(s, CALL_KEY);
        } else if (call_ends(s, c->tags.name_end)) {
            call_enter(s, CALL_BETWEEN);
        }
        break;
    case CALL_KEY:
        if (call_ends(s, c->tags.key_end)) {
            call_enter(s, c->tags.value_open != NULL ? CALL_VALUE_OPEN : CALL_VALUE);
        }
        break;
    case CALL_VALUE_OPEN:
        if (call_ends(s, c->tags.value_open)) {
            call_enter(s, CALL_VALUE);
        } else if (call_strays(s, c->tags.value_open)) {
            return CALL_BAD;
        }
        break;
    default:
        if (call_ends(s, c->tags.value_close)) {
            call_enter(s, CALL_BETWEEN);
        }
        return CALL_MORE;
    }
    return s->n_phase > OUTPUT_HEADER ? CALL_BAD : CALL_MORE;
}

static int call_put_expected(struct output_call_scan *s, uint8_t b)
{
    static const char *const keys[] = {"\"name\"",       "\"type\"",      "\"function\"",
                                       "\"parameters\"", "\"arguments\"", "\"id\""};
    int is_key = s->phase == CALL_BARE_KEY;
    if (s->n_tail == 0 && output_is_blank(b)) {
        return CALL_MORE;
    }
    call_push_tail(s, b);
    int found = is_key ? call_expects(s, keys, SLM_COUNT(keys))
                       : call_expects(s, s->style->opens, SLM_COUNT(s->style->opens));
    if (found == OUTPUT_IS_WHOLE) {
        call_enter(s, is_key ? CALL_JSON : CALL_BODY);
        s->depth = is_key;
    }
    return found == 0 ? CALL_BAD : CALL_MORE;
}

static int call_put(struct output_call_scan *s, uint8_t b)
{
    s->n_phase += s->n_phase <= OUTPUT_HEADER;
    switch (s->phase) {
    case CALL_OPEN:
    case CALL_BARE_KEY:
        return call_put_expected(s, b);
    case CALL_BODY:
    case CALL_ARGS: {
        int32_t phase = s->phase;
        int status = call_put_body(s, b);
        int again = phase == CALL_BODY &&
                    (s->phase == CALL_HEADER || s->phase == CALL_NAME || s->phase == CALL_LINES);
        return again ? call_put(s, b) : status;
    }
    case CALL_JSON:
        return call_put_json(s, b);
    case CALL_HEADER:
        return call_put_header(s, b);
    case CALL_GEMMA:
        return call_put_gemma(s, b);
    case CALL_PYTHON:
        return call_put_python(s, b);
    case CALL_BETWEEN:
        return call_put_between(s, b);
    case CALL_LINES:
        return call_put_lines(s, b);
    default:
        return call_put_tags(s, b);
    }
}

/* ---- Delimiters ------------------------------------------------------------------------------ */

#define OUTPUT_OPENS 1   /* reasoning begins */
#define OUTPUT_CLOSES 2  /* reasoning ends */
#define OUTPUT_WRAPS 3   /* calls begin */
#define OUTPUT_CALLS 4   /* a call begins */
#define OUTPUT_DROPS 5   /* no part of the text */
#define OUTPUT_FOLLOWS 6 /* the same, if nothing but line breaks stands between it and a call */
#define OUTPUT_AGAIN 7   /* the same for the beginning of reasoning that has begun */

#define OUTPUT_DELIMITERS 24

struct output_delimiter {
    const char *text;
    int32_t n;
    int32_t action;
};

struct output_machine {
    const struct output_reasoning *reasoning; /* NULL: none */
    const struct output_calls *calls;         /* NULL: none */
    int32_t kind;  /* of what comes next: SLM_CHAT_REASONING, SLM_CHAT_ANSWER, SLM_CHAT_TOOL_CALL */
    int32_t fresh; /* only line breaks have come since the last delimiter, or at all */
    int32_t called; /* the last delimiter belongs to a call */
    int32_t n_delimiters;
    struct output_delimiter delimiters[OUTPUT_DELIMITERS];
    struct output_call_scan call;
    int32_t n_held;
    int32_t n_blanks; /* of held, line breaks in front */
    char held[OUTPUT_HELD];
    uint8_t marks[OUTPUT_HELD]; /* 1: text of a control token */
    struct output_sink *sink;   /* NULL: nobody wants the text */
};

static void output_add(struct output_machine *m, const char *const *texts, int32_t n,
                       int32_t action)
{
    for (int32_t i = 0; i < n; i++) {
        if (texts[i] != NULL && m->n_delimiters < OUTPUT_DELIMITERS) {
            struct output_delimiter *d = &m->delimiters[m->n_delimiters++];
            d->text = texts[i];
            d->n = (int32_t)string_length(texts[i]);
            d->action = action;
        }
    }
}

/* Goes over to a kind of text: what is looked for in it. */
static void output_enter(struct output_machine *m, int32_t kind, int32_t called)
{
    const struct output_reasoning *r = m->reasoning;
    const struct output_calls *c = m->calls;
    m->kind = kind;
    m->fresh = r != NULL || c != NULL; /* without styles text stays as it is */
    m->called = called;
    m->n_delimiters = 0;
    if (kind == SLM_CHAT_REASONING) {
        output_add(m, &r->close, 1, OUTPUT_CLOSES);
        output_add(m, r->opens, SLM_COUNT(r->opens), OUTPUT_AGAIN);
        return;
    }
    if (called) {
        output_add(m, c->closers, SLM_COUNT(c->closers), OUTPUT_FOLLOWS);
    }
    if (c != NULL) {
        output_add(m, c->wraps, SLM_COUNT(c->wraps), OUTPUT_WRAPS);
        output_add(m, c->opens, SLM_COUNT(c->opens), OUTPUT_CALLS);
    }
    if (r != NULL) {
        output_add(m, r->opens, SLM_COUNT(r->opens), OUTPUT_OPENS);
        output_add(m, r->drops, SLM_COUNT(r->drops), OUTPUT_DROPS);
    }
}

static void output_start(struct output_machine *m, int is_open)
{
    m->n_held = 0;
    m->n_blanks = 0;
    output_enter(m, is_open && m->reasoning != NULL ? SLM_CHAT_REASONING : SLM_CHAT_ANSWER, 0);
}

static void output_raw(struct output_machine *m, const char *s, int32_t n)
{
    if (m->sink != NULL) {
        memcpy(m->sink->raw + m->sink->n_raw, s, (size_t)n);
        m->sink->n_raw += (size_t)n;
    }
}

/* Takes the first n bytes of what is held away; given != 0: they go out as text. */
static void output_take(struct output_machine *m, int32_t n, int given)
{
    struct output_sink *sink = m->sink;
    for (int32_t i = 0; i < n && given && sink != NULL; i++) {
        if (m->marks[i] == 0) {
            sink->kind = m->kind;
            sink->text[sink->n_text++] = m->held[i];
        }
    }
    m->n_held -= n;
    memmove(m->held, m->held + n, (size_t)m->n_held);
    memmove(m->marks, m->marks + n, (size_t)m->n_held);
    m->n_blanks = max_i32(0, m->n_blanks - n);
}

/* Line breaks at the beginning of a text are no part of it; some of a long run go out. */
static void output_count_blanks(struct output_machine *m)
{
    int spaces = m->fresh && m->called && m->calls->is_bare; /* between objects */
    while (m->n_blanks < m->n_held &&
           (m->held[m->n_blanks] == '\n' || m->held[m->n_blanks] == '\r' ||
            (spaces && m->held[m->n_blanks] == ' '))) {
        m->n_blanks++;
    }
    if (m->fresh || m->n_blanks > OUTPUT_BLANKS) {
        output_take(m, m->fresh ? m->n_blanks : m->n_blanks - OUTPUT_BLANKS, !m->fresh);
    }
}

/* What stands behind the line breaks: a delimiter, the beginning of one (OUTPUT_IS_PART), or none. */
static int output_look(const struct output_machine *m, const struct output_delimiter **found)
{
    int32_t n = m->n_held - m->n_blanks;
    int state = 0;
    *found = NULL;
    for (int32_t i = 0; i < m->n_delimiters; i++) {
        const struct output_delimiter *d = &m->delimiters[i];
        int applies = m->fresh || (d->action != OUTPUT_FOLLOWS && d->action != OUTPUT_AGAIN);
        if (applies && n <= d->n && memcmp(m->held + m->n_blanks, d->text, (size_t)n) == 0) {
            if (n == d->n) {
                *found = d;
                return OUTPUT_IS_WHOLE;
            }
            state = OUTPUT_IS_PART;
        }
    }
    return state;
}

static void output_begin_call(struct output_machine *m, int32_t phase)
{
    int32_t called = m->called;
    if (m->sink != NULL) {
        m->sink->n_raw = 0;
    }
    output_raw(m, m->held, m->n_held);
    output_take(m, m->n_held, 0);
    m->kind = SLM_CHAT_TOOL_CALL;
    m->called = called;
    memset(&m->call, 0, sizeof m->call);
    m->call.style = m->calls;
    call_enter(&m->call, phase);
    m->call.depth = phase == CALL_JSON;
}

static void output_act(struct output_machine *m, int32_t action)
{
    if (action == OUTPUT_WRAPS || action == OUTPUT_CALLS) {
        output_begin_call(m, action == OUTPUT_WRAPS ? CALL_OPEN : CALL_BODY);
        return;
    }
    output_take(m, m->n_held, 0);
    if (action == OUTPUT_OPENS || action == OUTPUT_CLOSES) {
        output_enter(m, action == OUTPUT_OPENS ? SLM_CHAT_REASONING : SLM_CHAT_ANSWER, 0);
    } else if (action == OUTPUT_DROPS) {
        output_enter(m, m->kind, 0);
    }
}

/* An object at the beginning of an answer, or behind another call, may be a call without more. */
static int output_is_bare(const struct output_machine *m)
{
    char b = m->held[m->n_blanks];
    return m->fresh && m->kind == SLM_CHAT_ANSWER && m->calls != NULL && b == '{' &&
           (m->calls->is_bare || (m->called && call_is_many(m->calls)));
}

static void output_put_text(struct output_machine *m, uint8_t b, uint8_t mark)
{
    m->held[m->n_held] = (char)b;
    m->marks[m->n_held++] = mark;
    for (;;) {
        const struct output_delimiter *found;
        output_count_blanks(m);
        if (m->n_held == m->n_blanks) {
            return;
        }
        int state = output_look(m, &found);
        if (state == OUTPUT_IS_WHOLE) {
            output_act(m, found->action);
            return;
        }
        if (state == OUTPUT_IS_PART) {
            return;
        }
        if (output_is_bare(m)) {
            output_begin_call(m, m->calls->is_bare ? CALL_BARE_KEY : CALL_JSON);
            return;
        }
        output_take(m, m->n_blanks + 1, 1);
        m->fresh = 0;
    }
}

/* One byte; the sink has room for OUTPUT_HELD more of text and of raw. CALL_DONE: a call is
 * complete. CALL_BAD: what has been read of a call is none and goes out as text; the byte is to be
 * put again. */
static int output_put(struct output_machine *m, uint8_t b, uint8_t mark)
{
    if (m->kind != SLM_CHAT_TOOL_CALL) {
        output_put_text(m, b, mark);
        return CALL_MORE;
    }
    int status = call_put(&m->call, b);
    if (status != CALL_BAD) {
        char c = (char)b;
        output_raw(m, &c, 1);
    }
    if (status != CALL_MORE) {
        output_enter(m, SLM_CHAT_ANSWER, status == CALL_DONE);
        m->fresh = status == CALL_DONE;
    }
    return status;
}

/* No more bytes come. As output_put. */
static int output_end(struct output_machine *m)
{
    if (m->kind == SLM_CHAT_TOOL_CALL) {
        output_enter(m, SLM_CHAT_ANSWER, 0);
        m->fresh = 0;
        return CALL_BAD;
    }
    output_take(m, m->n_held, 1);
    return CALL_MORE;
}

/* A machine of the same styles and in the same state, for somebody who only wants the kinds. */
static void output_track(const struct slm_chat_output *o, struct output_machine *tracker);
