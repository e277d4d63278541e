/* output_probe.c - which styles a chat template has. Small conversations are rendered, and every row
 * of the tables reads what the template wrote: the style is that of the row that finds the call, or
 * the reasoning, that was put in. Where a template writes neither, what it tells the model about
 * them decides, or how it begins an answer. Names of models and texts of templates do not matter. */

#define PROBE_QUESTION "probe question"
#define PROBE_THOUGHT "probe thought"
#define PROBE_TOOL "probe_tool"
#define PROBE_KEY "probe_key"
#define PROBE_VALUE "probe value"

#define PROBE_USER "{\"role\": \"user\", \"content\": \"" PROBE_QUESTION "\"}"
#define PROBE_REASONING                                                                            \
    "\"reasoning_content\": \"" PROBE_THOUGHT "\", \"reasoning\": \"" PROBE_THOUGHT                \
    "\", \"thinking\": \"" PROBE_THOUGHT "\""
#define PROBE_CALL(arguments)                                                                      \
    "\"tool_calls\": [{\"id\": \"probe0001\", \"type\": \"function\", \"function\": "              \
    "{\"name\": \"" PROBE_TOOL "\", \"arguments\": " arguments "}}]"
#define PROBE_OBJECT "{\"" PROBE_KEY "\": \"" PROBE_VALUE "\"}"
#define PROBE_STRING "\"{\\\"" PROBE_KEY "\\\": \\\"" PROBE_VALUE "\\\"}\""
#define PROBE_TOOLS                                                                                \
    "[{\"type\": \"function\", \"function\": {\"name\": \"" PROBE_TOOL                             \
    "\", \"description\": \"a tool\", \"parameters\": {\"type\": \"object\", \"properties\": "     \
    "{\"" PROBE_KEY "\": {\"type\": \"string\", \"description\": \"a value\"}}, "                  \
    "\"required\": [\"" PROBE_KEY "\"]}}}]"

/* Answers that are put in; templates differ in what they take. */
static const char *const probe_answers[] = {
    "\"content\": \"\", " PROBE_REASONING ", " PROBE_CALL(PROBE_OBJECT),
    "\"content\": \"\", " PROBE_REASONING ", " PROBE_CALL(PROBE_STRING),
    "\"content\": \"\", " PROBE_CALL(PROBE_OBJECT),
    "\"content\": \"\", " PROBE_CALL(PROBE_STRING),
    "\"content\": null, " PROBE_CALL(PROBE_OBJECT),
    "\"content\": null, " PROBE_CALL(PROBE_STRING),
    "\"content\": \"probe answer\", " PROBE_REASONING,
    "\"content\": [{\"type\": \"thinking\", \"thinking\": \"" PROBE_THOUGHT
    "\"}, {\"type\": \"text\", \"text\": \"probe answer\"}]",
};

struct probe {
    struct slm_chat_output *o; /* reads */
    struct slm_chat_template *chat_template;
    const struct output_reasoning *reasoning; /* what is found */
    const struct output_calls *calls;
    const struct output_reasoning *unused; /* what stands in an answer without a thought in it */
    slm_error *err;
};

/* Names under which templates take tools besides "tools", and what else they ask for then. */
static const char *const probe_extras[2] = {
    "{\"thinking\": false, \"xml_tools\": " PROBE_TOOLS ", \"functions\": \"" PROBE_TOOL
    "\", \"datetime\": \"now\"}",
    "{\"thinking\": true, \"xml_tools\": " PROBE_TOOLS ", \"functions\": \"" PROBE_TOOL
    "\", \"datetime\": \"now\"}"};

/* A refusal by the template is no error: *prompt stays NULL. */
static int probe_render(struct probe *p, const char *answer, const char *system, int32_t thinking,
                        int with_tools, struct slm_chat_prompt **prompt)
{
    char messages[1200];
    slm_chat_options o;
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    o.add_generation_prompt = answer == NULL;
    o.enable_thinking = thinking;
    o.now = 0;
    if (with_tools) {
        o.extra = probe_extras[thinking == 1];
    } else if (thinking != SLM_AUTO) {
        o.extra = thinking == 1 ? "{\"thinking\": true}" : "{\"thinking\": false}";
    }
    o.extra_size = o.extra != NULL ? string_length(o.extra) : 0;
    o.tools = with_tools ? PROBE_TOOLS : NULL;
    o.tools_size = with_tools ? string_length(PROBE_TOOLS) : 0;
    size_t n = format_text(messages, sizeof messages, "[%s" PROBE_USER "%s%s%s]", system,
                           answer != NULL ? ", {\"role\": \"assistant\", " : "",
                           answer != NULL ? answer : "", answer != NULL ? "}" : "");
    slm_error why;
    error_clear(&why);
    *prompt = NULL;
    int status = chat_render(p->chat_template, messages, n, &o, prompt, &why);
    if (status == SLM_E_MEMORY && p->err != NULL) {
        *p->err = why;
    }
    return output_memory_only(status);
}

static struct text probe_text(const struct slm_chat_prompt *prompt)
{
    struct text t = {prompt != NULL ? prompt->text : "", prompt != NULL ? prompt->n_text : 0};
    return t;
}

/* Whether the rows that o has now find what was put into an answer. */
static int probe_reads(struct probe *p, struct text answer, int is_open, int32_t kind, int *reads)
{
    slm_chat_event e;
    *reads = 0;
    output_reset(p->o, is_open);
    SLM_TRY(output_push(p->o, SLM_PIECE_TEXT, answer.s, answer.n, p->err));
    SLM_TRY(output_push(p->o, SLM_PIECE_END, NULL, 0, p->err));
    do {
        memset(&e, 0, sizeof e);
        SLM_TRY(output_next(p->o, &e, p->err));
        struct text t = {e.text, e.size};
        if (e.kind == kind && kind == SLM_CHAT_TOOL_CALL) {
            *reads |= text_is(text_of(e.name), PROBE_TOOL) && text_contains(t, PROBE_KEY) &&
                      text_contains(t, PROBE_VALUE);
        } else if (e.kind == kind) {
            *reads |= text_contains(t, PROBE_THOUGHT);
        }
    } while (e.kind != SLM_CHAT_END);
    return SLM_OK;
}

/* Models may leave wraps out; of two rows that read, the one whose wrap is there is meant. */
static int probe_calls(struct probe *p, struct text answer, int with_wrap)
{
    struct output_machine *m = &p->o->machine;
    m->reasoning = NULL;
    for (int32_t i = 0; p->calls == NULL && i < SLM_COUNT(output_calls_table); i++) {
        const struct output_calls *c = &output_calls_table[i];
        int has_wrap = c->wraps[0] == NULL || text_contains(answer, c->wraps[0]) ||
                       (c->wraps[1] != NULL && text_contains(answer, c->wraps[1]));
        int reads = 0;
        m->calls = c;
        if (has_wrap == with_wrap) {
            SLM_TRY(probe_reads(p, answer, 0, SLM_CHAT_TOOL_CALL, &reads));
        }
        p->calls = reads ? c : NULL;
    }
    return SLM_OK;
}

/* Tries all rows on what the template made of an answer. */
static int probe_answer(struct probe *p, struct text begun, struct text whole)
{
    struct output_machine *m = &p->o->machine;
    size_t same = 0;
    int reads = 0;
    while (same < begun.n && same < whole.n && begun.s[same] == whole.s[same]) {
        same++;
    }
    begun.n = same;
    struct text answer = output_behind(whole, same);
    SLM_TRY(probe_calls(p, answer, 1));
    SLM_TRY(probe_calls(p, answer, 0));
    for (int32_t i = 0; p->reasoning == NULL && i < SLM_COUNT(output_reasonings); i++) {
        const struct output_reasoning *r = &output_reasonings[i];
        if (r->hint == NULL) {
            m->calls = NULL;
            m->reasoning = r;
            SLM_TRY(probe_reads(p, answer, output_ends_open(r, begun), SLM_CHAT_REASONING, &reads));
            p->reasoning = reads ? r : NULL;
            int is_there = text_contains(answer, r->opens[0]) && text_contains(answer, r->close);
            p->unused = p->unused == NULL && is_there ? r : p->unused;
        }
    }
    return SLM_OK;
}

static int probe_answers_all(struct probe *p)
{
    for (int32_t i = 0; i < SLM_COUNT(probe_answers); i++) {
        struct slm_chat_prompt *begun = NULL;
        struct slm_chat_prompt *whole = NULL;
        int status = probe_render(p, NULL, "", 1, 1, &begun);
        if (status == SLM_OK) {
            status = probe_render(p, probe_answers[i], "", 1, 1, &whole);
        }
        if (status == SLM_OK && begun != NULL && whole != NULL) {
            status = probe_answer(p, probe_text(begun), probe_text(whole));
        }
        slm_chat_prompt_free(whole);
        slm_chat_prompt_free(begun);
        SLM_TRY(status);
    }
    return SLM_OK;
}

static int probe_has(struct text t, const char *part)
{
    return part == NULL || text_contains(t, part);
}

/* Whether the opening of a call stands there, and behind it what may be JSON where that has to be:
 * another syntax may be about the same tag. */
static int probe_shows(struct text t, const struct output_calls *c)
{
    for (size_t at = 0; (at = output_find(t, at, c->opens[0])) < t.n; at++) {
        struct text rest = output_behind(t, at + string_length(c->opens[0]));
        int is_object = output_skip(&rest, "{");
        if (c->form != OUTPUT_JSON || output_skip(&rest, is_object ? "\"" : "[")) {
            return 1;
        }
    }
    return 0;
}

/* What a prompt tells the model about calls and reasoning. */
static void probe_hints(struct probe *p, struct text t)
{
    for (int32_t i = 0; p->calls == NULL && i < SLM_COUNT(output_calls_table); i++) {
        const struct output_calls *c = &output_calls_table[i];
        int has = probe_has(t, c->wraps[0]) && probe_shows(t, c) && probe_has(t, c->closers[0]) &&
                  probe_has(t, c->tags.key_open) && probe_has(t, c->tags.end) &&
                  probe_has(t, c->named.args);
        p->calls = (c->hint != NULL ? text_contains(t, c->hint) : has) ? c : NULL;
    }
    for (int32_t i = 0; i < SLM_COUNT(output_reasonings); i++) {
        const struct output_reasoning *r = &output_reasonings[i];
        int has = text_contains(t, r->opens[0]) && text_contains(t, r->close);
        /* A row with a hint may say more than one that reads. */
        if (has && probe_has(t, r->hint) && (p->reasoning == NULL || r->hint != NULL)) {
            p->reasoning = r;
        }
    }
}

/* How an answer begins. */
static void probe_beginning(struct probe *p, struct text t)
{
    t = output_behind(t, output_find(t, 0, PROBE_QUESTION));
    for (int32_t i = 0; p->reasoning == NULL && i < SLM_COUNT(output_reasonings); i++) {
        const struct output_reasoning *r = &output_reasonings[i];
        if (r->hint == NULL && text_contains(t, r->opens[0])) {
            p->reasoning = r;
        }
    }
}

static int probe_prompts(struct probe *p)
{
    static const struct {
        const char *system;
        int32_t thinking;
        int32_t with_tools;
    } rows[] = {
        {"", SLM_AUTO, 0},
        {"", 1, 0},
        {"", 0, 0},
        {"", 1, 1},
        {"{\"role\": \"system\", \"content\": \"probe\", \"tools\": \"probe\"}, ", SLM_AUTO, 0}};
    for (int32_t i = 0; i < SLM_COUNT(rows); i++) {
        struct slm_chat_prompt *prompt = NULL;
        SLM_TRY(
            probe_render(p, NULL, rows[i].system, rows[i].thinking, rows[i].with_tools, &prompt));
        probe_beginning(p, probe_text(prompt));
        probe_hints(p, probe_text(prompt));
        if (i == 0 && prompt != NULL) {
            p->o->default_open = output_ends_open(p->reasoning, probe_text(prompt));
        }
        slm_chat_prompt_free(prompt);
    }
    return SLM_OK;
}

/* Sets the styles of o; it is empty before and to be reset behind. */
static int probe_template(struct slm_chat_output *o, struct slm_chat_template *t, slm_error *err)
{
    struct probe p = {o, t, NULL, NULL, NULL, err};
    SLM_TRY(probe_answers_all(&p));
    SLM_TRY(probe_prompts(&p));
    o->machine.reasoning = p.reasoning != NULL ? p.reasoning : p.unused;
    o->machine.calls = p.calls;
    return SLM_OK;
}
