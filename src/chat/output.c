/* output.c - what a model answers, taken apart as it comes: text goes in in pieces of any size,
 * events come out.
 *
 * What was pushed waits, made valid UTF-8, in `in`; slm_chat_output_next runs the machine over it
 * one character at a time until there is an event. So a push either takes all or fails, and where
 * memory fails in the middle of a call the next try goes on from there. */

#define OUTPUT_RUNNING 0
#define OUTPUT_CALL_READY 1 /* sink.raw is a call, to be read */
#define OUTPUT_RAW_READY 2  /* sink.raw is text after all */

struct slm_chat_output {
    struct memory memory;
    struct output_machine machine;
    struct output_sink sink;
    uint64_t max_call;
    int32_t state;
    int32_t is_ended; /* nothing more is pushed */
    int32_t end_done;
    int32_t default_open; /* prompts of the template end inside reasoning */

    char *in; /* [in_room] text, then [in_room] marks of it */
    uint64_t in_room;
    size_t in_at;
    size_t n_in;
    struct stream stream;
    int32_t last_kind; /* of what was pushed */

    char *tools; /* [n_tools] JSON */
    uint64_t n_tools;
    struct chat calls; /* memory of what has been read of the last call */
    struct output_call *next;
    int32_t n_calls;
};

/* ---- Life ------------------------------------------------------------------------------------ */

static void output_reset(struct slm_chat_output *o, int is_open)
{
    chat_end(&o->calls);
    o->calls = chat_begin(&o->memory, NULL);
    o->next = NULL;
    o->n_calls = 0;
    o->state = OUTPUT_RUNNING;
    o->is_ended = 0;
    o->end_done = 0;
    o->in_at = 0;
    o->n_in = 0;
    memset(&o->stream, 0, sizeof o->stream);
    o->last_kind = SLM_PIECE_TEXT;
    o->sink.n_text = 0;
    o->sink.n_raw = 0;
    o->machine.sink = &o->sink;
    output_start(&o->machine, is_open);
}

static void output_destroy(struct slm_chat_output *o)
{
    struct memory memory = o->memory;
    chat_end(&o->calls);
    memory_give(&memory, o->in, 2 * o->in_room);
    memory_give(&memory, o->sink.raw, o->sink.raw_room);
    memory_give(&memory, o->tools, o->n_tools);
    memory_give(&memory, o, sizeof *o);
}

/* Whether a text ends with the beginning of reasoning, and perhaps line breaks. */
static int output_ends_open(const struct output_reasoning *r, struct text t)
{
    while (t.n > 0 && (t.s[t.n - 1] == '\n' || t.s[t.n - 1] == ' ')) {
        t.n--;
    }
    for (int32_t i = 0; r != NULL && i < SLM_COUNT(r->opens); i++) {
        size_t n = r->opens[i] != NULL ? string_length(r->opens[i]) : 0;
        if (n > 0 && n <= t.n && memcmp(t.s + t.n - n, r->opens[i], n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Only what the template itself wrote counts. */
static int output_prompt_is_open(const struct slm_chat_output *o, const struct slm_chat_prompt *p)
{
    if (p->n_segments == 0 || p->segments[p->n_segments - 1].kind != SLM_SEGMENT_TEMPLATE) {
        return 0;
    }
    struct text t = {p->segments[p->n_segments - 1].text, p->segments[p->n_segments - 1].size};
    return output_ends_open(o->machine.reasoning, t);
}

static void output_track(const struct slm_chat_output *o, struct output_machine *tracker)
{
    *tracker = o->machine;
    tracker->sink = NULL;
}

/* ---- In -------------------------------------------------------------------------------------- */

/* Room for n more bytes of text and their marks. */
static int output_take_in(struct slm_chat_output *o, uint64_t n, slm_error *err)
{
    size_t left = o->n_in - o->in_at;
    if (n > o->in_room - o->n_in) {
        uint64_t room = (left + n) * 3 / 2 + 64;
        char *in = (char *)memory_take(&o->memory, 2 * room);
        if (in == NULL) {
            return memory_error(&o->memory, 2 * room, "text of an answer", err);
        }
        if (left > 0) {
            memcpy(in, o->in + o->in_at, left);
            memcpy(in + room, o->in + o->in_room + o->in_at, left);
        }
        memory_give(&o->memory, o->in, 2 * o->in_room);
        o->in = in;
        o->in_room = room;
        o->in_at = 0;
        o->n_in = left;
    }
    return SLM_OK;
}

static int output_push(struct slm_chat_output *o, int32_t kind, const char *text, size_t size,
                       slm_error *err)
{
    if (o->is_ended) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1,
                 "the answer has ended: slm_chat_output_begin begins another");
    }
    if (size > LIMIT_TEXT_BYTES) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%zu bytes of an answer at once: at most %zu", size,
                 LIMIT_TEXT_BYTES);
    }
    if (o->in_at == o->n_in) {
        o->in_at = 0;
        o->n_in = 0;
    }
    /* A byte that is part of no character takes three, and so does what the stream holds. */
    SLM_TRY(output_take_in(o, 3 * (uint64_t)size + 8, err));
    struct text_sink sink = {o->in, (size_t)o->in_room, o->n_in};
    if (o->stream.n_held > 0 && (kind != o->last_kind || kind == SLM_PIECE_END)) {
        sink_put(&sink, (const uint8_t *)"\xEF\xBF\xBD", 3);
        memset(o->in + o->in_room + o->n_in, 0, 3);
        o->n_in = sink.n;
        o->stream.n_held = 0;
    }
    for (size_t i = 0; i < size; i++) {
        stream_put(&o->stream, &sink, (uint8_t)text[i]);
    }
    memset(o->in + o->in_room + o->n_in, kind == SLM_PIECE_SPECIAL, sink.n - o->n_in);
    o->n_in = sink.n;
    o->last_kind = kind;
    o->is_ended = kind == SLM_PIECE_END;
    return SLM_OK;
}

/* ---- Out ------------------------------------------------------------------------------------- */

/* Room for a call to grow by a character, or to begin. */
static int output_take_raw(struct slm_chat_output *o, slm_error *err)
{
    struct output_sink *s = &o->sink;
    if (o->machine.calls == NULL || s->raw_room - s->n_raw >= 2 * OUTPUT_HELD) {
        return SLM_OK;
    }
    uint64_t room = 2 * (s->raw_room + 2 * OUTPUT_HELD);
    char *raw = (char *)memory_take(&o->memory, room);
    if (raw == NULL) {
        return memory_error(&o->memory, room, "a tool call", err);
    }
    if (s->n_raw > 0) {
        memcpy(raw, s->raw, s->n_raw);
    }
    memory_give(&o->memory, s->raw, s->raw_room);
    s->raw = raw;
    s->raw_room = room;
    return SLM_OK;
}

static void output_give_text(slm_chat_event *e, int32_t kind, const char *text, size_t size)
{
    e->kind = kind;
    e->text = text;
    e->size = size;
}

static void output_give_call(struct slm_chat_output *o, slm_chat_event *e)
{
    const struct output_call *call = o->next;
    o->next = call->next;
    e->kind = SLM_CHAT_TOOL_CALL;
    e->index = o->n_calls++;
    e->id = call->id.s;
    e->name = call->name.s;
    e->arguments = call->arguments.s;
    e->text = call->arguments.s;
    e->size = call->arguments.n;
}

/* The next character of what was pushed; a byte that makes a call impossible is read again as text,
 * with the bytes of its character in front of it. */
static void output_put_char(struct slm_chat_output *o)
{
    const uint8_t *s = (const uint8_t *)o->in + o->in_at;
    size_t n = 1;
    while (o->in_at + n < o->n_in && (s[n] & 0xc0) == 0x80) {
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        int status = output_put(&o->machine, s[i], (uint8_t)o->in[o->in_room + o->in_at + i]);
        if (status == CALL_BAD) {
            o->sink.n_raw -= i;
            o->state = OUTPUT_RAW_READY;
            return;
        }
        if (status == CALL_DONE) {
            o->state = OUTPUT_CALL_READY;
        }
    }
    o->in_at += n;
}

static int output_read_raw(struct slm_chat_output *o, slm_error *err)
{
    struct text raw = {o->sink.raw, o->sink.n_raw};
    struct text tools = {o->tools, (size_t)o->n_tools};
    struct output_call *first = NULL;
    slm_error why;
    chat_end(&o->calls);
    o->calls = chat_begin(&o->memory, &why);
    error_clear(&why);
    int status = output_read_calls(&o->calls, o->machine.calls, raw, tools, &first);
    o->calls.err = NULL;
    if (status != SLM_OK) {
        chat_end(&o->calls);
        if (err != NULL) {
            *err = why;
        }
        return status;
    }
    if (first == NULL) { /* what follows is no delimiter of a call then */
        output_enter(&o->machine, SLM_CHAT_ANSWER, 0);
        o->machine.fresh = 0;
    }
    o->next = first;
    o->state = first != NULL ? OUTPUT_RUNNING : OUTPUT_RAW_READY;
    o->sink.n_raw = first != NULL ? 0 : o->sink.n_raw;
    return SLM_OK;
}

/* Runs the machine until something is ready. */
static int output_run(struct slm_chat_output *o, slm_error *err)
{
    struct output_sink *s = &o->sink;
    while (o->state == OUTPUT_RUNNING) {
        int turns = s->n_text > 0 && o->machine.kind != s->kind;
        if (turns || s->n_text > OUTPUT_TEXT - 2 * OUTPUT_HELD) {
            return SLM_OK;
        }
        SLM_TRY(output_take_raw(o, err));
        if (o->in_at < o->n_in && o->machine.kind == SLM_CHAT_TOOL_CALL &&
            s->n_raw >= o->max_call) {
            output_end(&o->machine);
            o->state = OUTPUT_RAW_READY;
        } else if (o->in_at < o->n_in) {
            output_put_char(o);
        } else if (o->is_ended && !o->end_done) {
            o->end_done = 1;
            o->state = output_end(&o->machine) == CALL_BAD ? OUTPUT_RAW_READY : OUTPUT_RUNNING;
        } else {
            return SLM_OK;
        }
    }
    return SLM_OK;
}

static int output_next(struct slm_chat_output *o, slm_chat_event *e, slm_error *err)
{
    struct output_sink *s = &o->sink;
    for (;;) {
        if (o->next != NULL) {
            output_give_call(o, e);
            return SLM_OK;
        }
        SLM_TRY(output_run(o, err));
        if (s->n_text > 0) {
            output_give_text(e, s->kind, s->text, s->n_text);
            s->n_text = 0;
            return SLM_OK;
        }
        if (o->state == OUTPUT_RAW_READY) {
            output_give_text(e, SLM_CHAT_ANSWER, s->raw, s->n_raw);
            s->n_raw = 0;
            o->state = OUTPUT_RUNNING;
            return SLM_OK;
        }
        if (o->state != OUTPUT_CALL_READY) {
            e->kind = o->end_done ? SLM_CHAT_END : SLM_CHAT_NONE;
            return SLM_OK;
        }
        SLM_TRY(output_read_raw(o, err));
    }
}
