/* test_jinja.c - chat templates: the language, its limits, its errors and their lines, which bytes
 * are whose, and what becomes of them as tokens. Public functions only; tests/test_templates.c has
 * real templates. */
#include "model_fixture.h"

#include "fuzz/vocabs.h"
#include "jinja_cases.h"

#define NOW INT64_C(1774182896) /* 2026-03-22 12:34:56 */

static int render(const char *text, size_t size, const char *context, slm_chat_prompt **prompt,
                  slm_error *err)
{
    slm_chat_template *t = NULL;
    slm_chat_options o;
    slm_chat_options_init(&o, sizeof o);
    o.now = NOW;
    *prompt = NULL;
    int status = slm_chat_template_create(&t, NULL, text, size, NULL, err);
    if (status == SLM_OK) {
        status = slm_chat_render(prompt, t, context, strlen(context), &o, err);
    }
    slm_chat_template_free(t);
    return status;
}

static slm_chat_prompt_info info_of(const slm_chat_prompt *prompt)
{
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_chat_prompt_get_info(prompt, &info, NULL), SLM_OK);
    return info;
}

/* ---- The language ---------------------------------------------------------------------------- */

static void each_construct_gives_what_jinja_gives(void **state)
{
    (void)state;
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof jinja_cases / sizeof jinja_cases[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        const char *text = jinja_cases[i].text;
        const char *expected = jinja_cases[i].expected;
        int status = render(text, strlen(text), jinja_context, &prompt, &err);
        if (status != SLM_OK) {
            printf("%s: %s\n", text, err.message);
            n_wrong++;
            continue;
        }
        slm_chat_prompt_info info = info_of(prompt);
        if (info.size != strlen(expected) || memcmp(info.text, expected, info.size) != 0) {
            printf("%s: %.*s, not %s\n", text, (int)info.size, info.text, expected);
            n_wrong++;
        }
        slm_chat_prompt_free(prompt);
    }
    assert_int_equal(n_wrong, 0);
}

static void what_fails_in_jinja_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof jinja_failures / sizeof jinja_failures[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        const char *text = jinja_failures[i];
        assert_says(text, render(text, strlen(text), jinja_context, &prompt, &err), &err,
                    SLM_E_TEMPLATE, "line 1: ", NULL);
        assert_null(prompt);
    }
}

static void what_is_missing_says_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof jinja_missing / sizeof jinja_missing[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        const char *text = jinja_missing[i].text;
        assert_says(text, render(text, strlen(text), jinja_context, &prompt, &err), &err,
                    SLM_E_TEMPLATE, "line 1: ", jinja_missing[i].says);
    }
}

static void errors_tell_the_line(void **state)
{
    static const struct {
        const char *text;
        int64_t line;
        const char *says;
    } rows[] = {
        {"a\nb {% if x %}\nc", 3, "'endif'"},
        {"{{ 1 +\n\n }}", 3, "an expression"},
        {"\n{{ 'abc }}", 2, "string without its end"},
        {"\n\n{# abc", 3, "comment without its end"},
        {"{{ a", 1, "without its end"},
        {"{% for x in y %}\n{% endif %}", 2, "'endif' does not belong"},
        {"\n{% include 'x' %}", 2, "'include' does not belong"},
        {"\n{{ a $ b }}", 2, "'$'"},
        {"{{ x.1a }}", 1, "'a'"},
        {"\n{% break %}", 2, "outside of a loop"},
        {"\n{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", 2, "outside"},
        {"{% set x %}\n", 1, "'endset'"},
        {"{% raw %}\n", 1, "'endraw'"},
        {"{{ '\\u12' }}", 1, "escape"},
        {"{{ f(1 }}", 1, "','"},
        {"{{ x is }}", 1, "a name"},
        {"{{ x is string is number }}", 1, "no second test"},
        {"{% call x %}{% endcall %}", 1, "a call is"},
        {"\n{{ x.y }}", 2, "'x' is undefined"},
        {"\n\n{{ 1 + 'a' }}", 3, "int + str"},
        {"\n{{ raise_exception('no ' ~ messages[0].role) }}", 2, "no user"},
        {"{% macro m() %}\n{{ 1/0 }}\n{% endmacro %}\n{{ m() }}", 2, "division by zero"},
        {"\n{{ 1|nothing }}", 2, "no filter is named 'nothing'"},
        {"\n{{ 1 is nothing }}", 2, "no test is named 'nothing'"},
        {"\n{{ [1].append(2) }}", 2, "'append' of list"},
        {"\n{{ 'a'|replace('b') }}", 2, "'new' is missing"},
        {"\n{{ 'a'|upper(1) }}", 2, "does not have"},
        {"\n{{ 9223372036854775807 + 1 }}", 2, "beyond 64 bits"},
        {"\n{{ range(1000000) }}", 2, "range"},
        {"\n{{ none() }}", 2, "cannot be called"},
        {"\n{% for a, b in [[1]] %}{% endfor %}", 2, "unpack"},
        {"\n{% set x.y = 1 %}", 2, "no namespace"},
        {"\n{{ namespace|tojson }}", 2, "no form in JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        int status = render(rows[i].text, strlen(rows[i].text), jinja_context, &prompt, &err);
        assert_says(rows[i].text, status, &err, SLM_E_TEMPLATE, rows[i].says, NULL);
        if (err.position != rows[i].line) {
            fail_msg("%s: %s", rows[i].text, err.message);
        }
    }
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static void repeat(char *to, const char *what, int times)
{
    *to = 0;
    for (int i = 0; i < times; i++) {
        to += sprintf(to, "%s", what);
    }
}

static void nesting_in_a_template_is_limited(void **state)
{
    static const struct {
        const char *open, *inside, *close;
        int fits; /* so often */
    } rows[] = {
        {"(", "1", ")", 40},   {"[", "1", "]", 40}, {"-", "1", "", 40},
        {"not ", "1", "", 90}, {"f(", "1", ")", 0}, {"{'a':", "1", "}", 40},
    };
    static char text[200000];
    static char part[100000];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int times = rows[i].fits; times <= 20000; times = times < 100 ? 101 : 20000 + times) {
            slm_chat_prompt *prompt = NULL;
            slm_error err;
            strcpy(text, "{{ ");
            repeat(part, rows[i].open, times);
            strcat(text, part);
            strcat(text, rows[i].inside);
            repeat(part, rows[i].close, times);
            strcat(text, part);
            strcat(text, " }}");
            int status = render(text, strlen(text), "[]", &prompt, &err);
            assert_says(rows[i].open, status, &err, times == rows[i].fits ? SLM_OK : SLM_E_TEMPLATE,
                        times == rows[i].fits ? "" : "nested more than 100 deep", NULL);
            slm_chat_prompt_free(prompt);
        }
    }
}

static void blocks_are_nested_up_to_a_limit(void **state)
{
    static char text[400000];
    static char part[200000];
    (void)state;
    for (int times = 90; times <= 9000; times *= 100) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        repeat(text, "{% if 1 %}", times);
        repeat(part, "{% endif %}", times);
        strcat(text, part);
        assert_int_equal(render(text, strlen(text), "[]", &prompt, &err),
                         times == 90 ? SLM_OK : SLM_E_TEMPLATE);
        slm_chat_prompt_free(prompt);
    }
}

/* What is long but not deep has no such limit. */
static void long_rows_are_no_nesting(void **state)
{
    static char text[400000];
    static char part[200000];
    static const char *const rows[][3] = {{"{{ 1", " + 1", " }}"},
                                          {"{{ 1", " and 1", " }}"},
                                          {"{{ 1", " ~ 1", " }}"},
                                          {"{{ [1", ", 1", "]|length }}"},
                                          {"{% if 0 %}", "{% elif 0 %}", "{% endif %}"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        repeat(part, rows[i][1], 5000);
        sprintf(text, "%s%s%s", rows[i][0], part, rows[i][2]);
        assert_says(rows[i][1], render(text, strlen(text), "[]", &prompt, &err), &err, SLM_OK, "",
                    NULL);
        slm_chat_prompt_free(prompt);
    }
}

static void templates_without_end_are_stopped(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
         "268435456 bytes"},
        {"{% set s = 'a' * 999999 %}{% for a in range(99999) %}{{ 'b' in s }}{% endfor %}",
         "steps"},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "200 deep"},
        {"{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
         "200 deep"},
        {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "200 deep"},
        {"{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(99) %}"
         "{% set ns.s = ns.s + ns.s %}{% endfor %}",
         "33554432 bytes"},
        {"{{ 'aaaaaaaa' * 9999999999 }}", "33554432 bytes"},
        {"{{ 'aaaaaaaa'|center(9999999999) }}", "33554432 bytes"},
        {"{{ 'a'.center(9999999999) }}", "33554432 bytes"},
        {"{{ [1] * 9999999999 }}", "268435456 bytes"},
        {"{% set s = 'a' * 4000 %}{% for i in range(99999) %}{{ s }}{% endfor %}",
         "33554432 bytes"},
        {"{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}"
         "{% endfor %}{{ ns.x }}",
         "128 deep"},
        {"{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "128 deep"},
        {"{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}"
         "{% endfor %}{{ ns.x == [ns.x] }}",
         "128 deep"},
        {"{{ '{:>999999999}'.format(1) }}", "33554432 bytes"},
        {"{{ '%999999999d' % 1 }}", "33554432 bytes"},
        {"{{ 2 ** 9999999999 }}", "exponent"},
        {"{% set s = 'a' * 4000000 %}{% if 'a' * 2000000 + 'b' in s %}{% endif %}", "steps"},
        {"{% set s = 'a' * 4000000 %}{{ s.rfind('a' * 2000000 + 'b') }}", "steps"},
        {"{% set s = 'a' * 4000000 %}{{ s.replace('a' * 2000000 + 'b', '') }}", "steps"},
        {"{{ ('a' * 1048576).strip('b' * 65534 ~ 'a') }}", "steps"},
        {"{{ ('a' * 1048576)|trim('b' * 65534 ~ 'a') }}", "steps"},
        {"{% set s = 'a' * 3000 * 10000 %}{% for i in range(999) %}{% set x = s|truncate(5) %}"
         "{% endfor %}",
         "steps"},
        {"{% set s = 'a' * 3000 * 10000 %}{% for i in range(9999) %}{% set x = s.removeprefix(s) %}"
         "{% endfor %}",
         "steps"},
        {"{% set s = 'a' * 3000 * 10000 %}{{ s.startswith((s,) * 99999) }}", "steps"},
        {"{% set s = '1' * 3000 * 10000 %}{% for i in range(9999) %}{% set x = s|float %}{% endfor "
         "%}",
         "steps"},
        {"{% for i in range(99999) %}{% set x = '%.99f' % 1.1e-300 %}{% endfor %}", "steps"},
        {"{% for i in range(99999) %}{% set x = 1 ** 1000 %}{% endfor %}", "steps"},
        {"{{ ('x' ~ messages)[:2] * 6000000 }}", "268435456 bytes"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        int status = render(rows[i].text, strlen(rows[i].text), "[]", &prompt, &err);
        assert_says(rows[i].text, status, &err, SLM_E_TEMPLATE, rows[i].says, "line 1: ");
    }
}

/* What a name costs goes by its length: names that differ in the last byte, bound and looked up. */
static void long_names_are_paid_for(void **state)
{
    static char name[200001];
    static char text[1000000];
    slm_chat_prompt *prompt = NULL;
    slm_error err;
    (void)state;
    repeat(name, "a", 200000);
    sprintf(text,
            "{%% set %s1 = 1 %%}{%% set %s2 = 1 %%}{%% for i in range(99999) %%}"
            "{%% if %s1 %%}{%% endif %%}{%% endfor %%}",
            name, name, name);
    int status = render(text, strlen(text), "[]", &prompt, &err);
    assert_says("long names", status, &err, SLM_E_TEMPLATE, "steps", NULL);
}

static void sizes_are_limited(void **state)
{
    size_t n = (size_t)1 << 20;
    char *text = (char *)malloc(n + 1);
    slm_chat_prompt *prompt = NULL;
    slm_error err;
    (void)state;
    assert_non_null(text);
    memset(text, 'x', n + 1);
    assert_says("a template", render(text, n, "[]", &prompt, &err), &err, SLM_OK, "", NULL);
    assert_int_equal(info_of(prompt).size, n);
    slm_chat_prompt_free(prompt);
    assert_says("a template", render(text, n + 1, "[]", &prompt, &err), &err, SLM_E_TEMPLATE,
                "1048576", NULL);
    free(text);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static const char all_kinds[] =
    "{% macro m(a, b=[1]) %}{{ a }}{{ b }}{{ caller() }}{% endmacro %}"
    "{%- for x in messages -%}{% call m(x.content|upper) %}{{ x|tojson }}{% endcall %}"
    "{% set y %}{{ x.content.split(' ')|join('-') }}{% endset %}{{ y ~ 1.5 }}{%- endfor -%}"
    "{{ messages|map(attribute='role')|list }}{{ strftime_now('%Y') }}{{ {'a': 1}|dictsort }}";

static int all_kinds_run(struct counting *c, slm_error *err)
{
    static const char messages[] = "[{\"role\": \"user\", \"content\": \"a b\\n\\u00e9\"}]";
    slm_chat_template *t = NULL;
    slm_chat_prompt *prompt = NULL;
    slm_chat_template_options to;
    slm_chat_options o;
    slm_chat_options_init(&o, sizeof o);
    slm_chat_template_options_init(&to, sizeof to);
    to.alloc = counting_alloc;
    to.alloc_user = c;
    to.bos_token = "<s>";
    o.now = NOW;
    o.tools = "[{}]";
    o.tools_size = 4;
    int status = slm_chat_template_create(&t, NULL, all_kinds, sizeof all_kinds - 1, &to, err);
    if (status == SLM_OK) {
        status = slm_chat_render(&prompt, t, messages, sizeof messages - 1, &o, err);
    }
    slm_chat_template_free(t); /* a prompt keeps it */
    assert_true((status == SLM_OK) == (prompt != NULL));
    slm_chat_prompt_free(prompt);
    return status;
}

static void any_memory_may_be_refused(void **state)
{
    int status = SLM_E_MEMORY;
    int64_t at = 1;
    (void)state;
    for (; status != SLM_OK; at++) {
        struct counting c;
        slm_error err;
        memset(&c, 0, sizeof c);
        c.fail_at = at;
        status = all_kinds_run(&c, &err);
        if (status != SLM_OK) {
            assert_says("refused", status, &err, SLM_E_MEMORY, "bytes", NULL);
        }
        assert_all_freed(&c);
    }
    assert_true(at - 2 >= 4);
}

static void a_cap_on_memory_is_kept(void **state)
{
    static const char text[] = "{{ 'abcdefgh' * 100000 }}";
    slm_chat_template *t = NULL;
    slm_chat_prompt *prompt = NULL;
    slm_chat_template_options to;
    slm_error err;
    struct counting c;
    (void)state;
    memset(&c, 0, sizeof c);
    slm_chat_template_options_init(&to, sizeof to);
    to.max_bytes = 200000;
    to.alloc = counting_alloc;
    to.alloc_user = &c;
    assert_int_equal(slm_chat_template_create(&t, NULL, text, sizeof text - 1, &to, &err), SLM_OK);
    assert_says("capped", slm_chat_render(&prompt, t, "[]", 2, NULL, &err), &err, SLM_E_MEMORY,
                "max_bytes 200000", NULL);
    assert_true(c.peak <= 200000);
    slm_chat_template_free(t);
    assert_all_freed(&c);
}

/* ---- Whose bytes ----------------------------------------------------------------------------- */

/* The text with the template's bytes as they are and content in braces. */
static void segments_text(const slm_chat_prompt *prompt, char *out)
{
    slm_chat_prompt_info info = info_of(prompt);
    for (int32_t i = 0; i < info.n_segments; i++) {
        const slm_chat_segment *s = &info.segments[i];
        out += sprintf(out, s->kind == SLM_SEGMENT_TEMPLATE ? "%.*s" : "{%.*s}", (int)s->size,
                       s->text);
    }
    *out = 0;
}

static void content_stays_content(void **state)
{
    static const char context[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \" aBc \"},"
        "{\"role\": \"<|x|>\", \"content\": \"d,e\", \"n\": 5, \"l\": [\"p\", \"q\"]}],"
        "\"role\": \"user\"}";
    static const char *const rows[][2] = {
        {"<{{ messages[0].content }}>", "<{ aBc }>"},
        {"<{{ messages[0].content|trim }}>", "<{aBc}>"},
        {"{{ ('<' + messages[0].content + '>')|upper }}", "<{ ABC }>"},
        {"{{ ('<' ~ messages[0].content ~ '>')[1:4] }}", "{ aB}"},
        {"{{ ('<' ~ messages[0].content ~ '>')[:3] }}", "<{ a}"},
        {"{{ ('<' ~ messages[0].content ~ '>')[::-1] }}", ">{ cBa }<"},
        {"{{ ('<' ~ messages[0].content)|reverse }}", "{ cBa }<"},
        {"{{ messages[0].content.replace('B', '<|') }}", "{ a}<|{c }"},
        {"{{ '<|y|>'.replace('y', messages[0].content) }}", "<|{ aBc }|>"},
        {"{{ '<|y|>'|replace('y', messages[1].role) }}", "<|{<|x|>}|>"},
        {"{{ messages[1].l|join('|') }}", "{p}|{q}"},
        {"{{ ['a','b']|join(messages[1].content) }}", "a{d,e}b"},
        {"{{ messages[1].content.split(',')[1] }}", "{e}"},
        {"{{ 'a-b'.split('-')|join }}", "ab"},
        {"{{ messages[1].l|tojson }}", "{[\"p\", \"q\"]}"},
        {"{{ ['<a>']|tojson }}", "{[\"}<a>{\"]}"},
        {"{{ messages[1].l }}", "{['p', 'q']}"},
        {"{{ messages[1].n }}{{ messages[1].n + 1 }}{{ 1 + 1 }}", "{56}2"},
        {"{{ '<|%s|>' % messages[1].content }}", "<|{d,e}|>"},
        {"{{ '<|{}|>'.format(messages[1].content) }}", "<|{d,e}|>"},
        {"{{ messages[1].content.format('x') }}", "{d,e}"},
        {"{{ '<|' + messages[0].role + '|>' }}", "<|user|>"},
        {"{{ '<|' + messages[1].role + '|>' }}", "<|{<|x|>}|>"},
        {"{{ '<|' + role + '|>' }}", "<|{user}|>"},
        {"{% for k in messages[0] %}{{ k }}.{% endfor %}", "{role}.{content}."},
        {"{% for c in 'ab' %}{{ c }}{{ loop.index }}{% endfor %}", "a1b2"},
        {"{% set x %}<{{ messages[1].content }}>{% endset %}{{ x|title }}", "<{D,e}>"},
        {"{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m(messages[1].content) }}", "[{d,e}]"},
        {"{% filter upper %}a{{ messages[1].content }}{% endfilter %}", "A{D,E}"},
        {"{{ messages[1].content * 2 }}", "{d,ed,e}"},
        {"{{ messages[1].content|indent(2, true) }}", "{  d,e}"},
        {"{{ '<a>'|indent(2, true) }}", "{  }<a>"},
        {"{{ messages[1].content|default('x') }}{{ zz|default('x') }}", "{d,e}x"},
        {"{{ messages[1].content|length }}", "{3}"},
        {"{{ messages[0].content|e|string }}", "{ aBc }"},
        {"{{ strftime_now('%Y') }}", "{2026}"},
        {"{{ bos_token }}", ""},
    };
    char got[1000];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_error err;
        int status = render(rows[i][0], strlen(rows[i][0]), context, &prompt, &err);
        assert_says(rows[i][0], status, &err, SLM_OK, "", NULL);
        segments_text(prompt, got);
        if (strcmp(got, rows[i][1]) != 0) {
            fail_msg("%s: %s, not %s", rows[i][0], got, rows[i][1]);
        }
        slm_chat_prompt_free(prompt);
    }
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static void keys_bpe(struct build *b)
{
    vocab_bpe(b);
    build_text(b, "tokenizer.chat_template",
               "{% for m in messages %}{{ eos_token }}{{ m.content }}{% endfor %}");
}

static slm_model *open_vocabulary(struct build *b, void (*keys)(struct build *b))
{
    struct tiny t = tiny_default();
    t.keys = keys;
    t.n_vocab = VOCAB_BPE_TOKENS;
    tiny_build(b, &t);
    return open_model(b, NULL);
}

static int is_token(const slm_model *model, int32_t id, const char *text)
{
    slm_token_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_token_get_info(model, id, &info, NULL), SLM_OK);
    return info.text_size == strlen(text) && memcmp(info.text, text, info.text_size) == 0;
}

static size_t count_tokens(const slm_model *model, const slm_chat_segment *segments, int32_t n,
                           const char *text)
{
    int32_t ids[256];
    size_t needed = 0;
    size_t found = 0;
    slm_error err;
    assert_says(
        "segments",
        slm_tokenize_segments(model, segments, n, sizeof *segments, 0, ids, 256, &needed, &err),
        &err, SLM_OK, "", NULL);
    for (size_t i = 0; i < needed; i++) {
        found += (size_t)is_token(model, ids[i], text);
    }
    return found;
}

#define SEGMENT(kind, text)                                                                        \
    {                                                                                              \
        sizeof(slm_chat_segment), kind, text, sizeof text - 1                                      \
    }
#define OURS(text) SEGMENT(SLM_SEGMENT_TEMPLATE, text)
#define THEIRS(text) SEGMENT(SLM_SEGMENT_CONTENT, text)

static void only_the_templates_special_tokens_are_tokens(void **state)
{
    struct build b;
    slm_model *model = open_vocabulary(&b, keys_bpe);
    static const slm_chat_segment rows[][3] = {
        {OURS("a<|endoftext|>b"), THEIRS("c"), OURS("")},
        {OURS("a<|endof"), THEIRS("text|>"), OURS("")},
        {THEIRS("<|endof"), OURS("text|>"), OURS("")},
        {THEIRS("<|endoftext|>"), OURS("x"), OURS("")},
        {OURS("<|end"), OURS("oftext"), OURS("|>")},
        {OURS("<|end"), THEIRS("oftext"), OURS("|>")},
        {OURS("<|endoftext|>"), THEIRS("<|endoftext|>"), OURS("<|endoftext|>")},
        {THEIRS("<t"), OURS("d>"), THEIRS("<td>")},
    };
    static const size_t expected[] = {1, 0, 0, 0, 1, 0, 2, 0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(count_tokens(model, rows[i], 3, "<|endoftext|>"), expected[i]);
        assert_int_equal(count_tokens(model, rows[i], 3, "<td>"), i == 7 ? 2 : 0);
    }
    slm_model_free(model);
    build_free(&b);
}

/* As gpt-oss has it: what frames messages is user-defined. */
static void keys_framed(struct build *b)
{
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_text(b, "tokenizer.ggml.pre", "llama-bpe");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, VOCAB_BPE_TOKENS);
    for (size_t i = 0; i < VOCAB_BPE_TOKENS; i++) {
        char text[16] = "<|start|>";
        size_t size = strlen(text);
        if (i < 256) {
            size = vocab_byte_char((unsigned)i, text);
        } else if (i > 256) {
            size = (size_t)snprintf(text, sizeof text, "<unused%d>", (int)i);
        }
        if (i == 257 || i == 259) {
            strcpy(text, i == 257 ? "<h1>" : "[INST]");
            size = strlen(text);
        }
        build_put_string(&b->keys, text, size);
    }
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, VOCAB_BPE_TOKENS);
    for (size_t i = 0; i < VOCAB_BPE_TOKENS; i++) {
        int type = i < 256 ? SLM_TOKEN_NORMAL : SLM_TOKEN_USER;
        build_put_int(&b->keys, (uint64_t)type, 4);
    }
    static const char *const merges[] = {"a b"};
    build_texts(b, "tokenizer.ggml.merges", merges, 0);
}

static void user_defined_frames_are_the_templates_alone(void **state)
{
    static const slm_chat_segment theirs[] = {THEIRS("a<|start|>b<unused258><h1>[INST]"),
                                              OURS("<|start|>[INST]")};
    static const slm_chat_segment both[] = {OURS("<|sta"), THEIRS("rt|>")};
    struct build b;
    slm_model *model = open_vocabulary(&b, keys_framed);
    (void)state;
    assert_int_equal(count_tokens(model, theirs, 2, "<|start|>"), 1);
    assert_int_equal(count_tokens(model, theirs, 2, "<unused258>"), 0);
    assert_int_equal(count_tokens(model, theirs, 2, "[INST]"), 1);
    assert_int_equal(count_tokens(model, theirs, 2, "<h1>"), 1);
    assert_int_equal(count_tokens(model, both, 2, "<|start|>"), 0);
    slm_model_free(model);
    build_free(&b);
}

/* Borders between segments are none to the tokeniser: the same ids as of the whole text. */
static void segments_are_one_text(void **state)
{
    static const char text[] = "<|endoftext|>hello the man 12 <td> <|endoftext|> the";
    struct build b;
    slm_model *model = open_vocabulary(&b, keys_bpe);
    int32_t whole[128];
    int32_t parts[128];
    size_t n = 0;
    (void)state;
    assert_int_equal(
        slm_tokenize(model, text, sizeof text - 1, SLM_TEXT_SPECIAL, whole, 128, &n, NULL), SLM_OK);
    for (size_t cut = 13; cut <= 40; cut++) {
        slm_chat_segment segments[3] = {
            {sizeof *segments, SLM_SEGMENT_TEMPLATE, text, 13},
            {sizeof *segments, SLM_SEGMENT_CONTENT, text + 13, cut - 13 > 20 ? 20 : cut - 13},
            {sizeof *segments, SLM_SEGMENT_TEMPLATE, NULL, 0}};
        size_t needed = 0;
        segments[2].text = segments[1].text + segments[1].size;
        segments[2].size = (size_t)(text + sizeof text - 1 - segments[2].text);
        assert_int_equal(slm_tokenize_segments(model, segments, 3, sizeof *segments, 0, parts, 128,
                                               &needed, NULL),
                         SLM_OK);
        assert_int_equal(needed, n);
        assert_memory_equal(parts, whole, n * sizeof *whole);
    }
    slm_model_free(model);
    build_free(&b);
}

static void keys_bos(struct build *b)
{
    vocab_bpe(b);
    build_int(b, "tokenizer.ggml.add_bos_token", SLM_TYPE_BOOL, 1);
}

static void the_start_token_stands_once(void **state)
{
    static const slm_chat_segment with[] = {OURS("<|endoftext|>a")};
    static const slm_chat_segment without[] = {OURS("a")};
    static const slm_chat_segment fake[] = {THEIRS("<|endoftext|>")};
    struct build b;
    slm_model *model = open_vocabulary(&b, keys_bos);
    int32_t ids[64];
    size_t n = 0;
    (void)state;
    slm_tokenize_segments(model, with, 1, sizeof *with, SLM_TEXT_BOS, ids, 64, &n, NULL);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 262);
    slm_tokenize_segments(model, without, 1, sizeof *with, SLM_TEXT_BOS, ids, 64, &n, NULL);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 262);
    slm_tokenize_segments(model, without, 1, sizeof *with, 0, ids, 64, &n, NULL);
    assert_int_equal(n, 1);
    slm_tokenize_segments(model, fake, 1, sizeof *with, SLM_TEXT_BOS, ids, 64, &n, NULL);
    assert_true(n > 2 && ids[0] == 262 && ids[1] != 262);
    slm_tokenize_segments(model, NULL, 0, sizeof *with, SLM_TEXT_BOS, ids, 64, &n, NULL);
    assert_true(n == 1 && ids[0] == 262);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Where templates come from --------------------------------------------------------------- */

static void a_models_own_template_knows_its_tokens(void **state)
{
    struct build b;
    slm_model *model = open_vocabulary(&b, keys_bpe);
    slm_chat_template *t = NULL;
    slm_chat_prompt *prompt = NULL;
    slm_error err;
    char got[100];
    (void)state;
    assert_says("a template", slm_chat_template_create(&t, model, NULL, 0, NULL, &err), &err,
                SLM_OK, "", NULL);
    slm_model_free(model); /* it is not needed any more */
    static const char messages[] = "[{\"content\": \"<|endoftext|>\"}]";
    assert_int_equal(slm_chat_render(&prompt, t, messages, sizeof messages - 1, NULL, &err),
                     SLM_OK);
    segments_text(prompt, got);
    assert_string_equal(got, "<|endoftext|>{<|endoftext|>}");
    slm_chat_template_free(t);
    slm_chat_prompt_free(prompt);
    build_free(&b);
}

static void without_a_template_there_are_built_in_ones(void **state)
{
    static const char talk[] = "[{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\","
                               "\"content\": \"U</s>\"}, {\"role\": \"assistant\", \"content\":"
                               "\"A\"}, {\"role\": \"user\", \"content\": \"V\"}]";
    struct build b;
    slm_model *model = open_tiny(&b);
    slm_chat_template *t = NULL;
    slm_chat_builtin builtin = {.struct_size = sizeof builtin};
    slm_chat_template_options o;
    slm_error err;
    (void)state;
    assert_says("none", slm_chat_template_create(&t, model, NULL, 0, NULL, &err), &err,
                SLM_E_UNSUPPORTED, "no chat template", "slm_chat_builtin_find");
    assert_says("none", slm_chat_template_create(&t, NULL, NULL, 0, NULL, &err), &err,
                SLM_E_UNSUPPORTED, "neither", NULL);
    slm_chat_template_options_init(&o, sizeof o);
    o.bos_token = "<s>";
    o.eos_token = "</s>";
    int32_t n = 0;
    for (; slm_chat_builtin_find(n, NULL, &builtin, NULL) == SLM_OK; n++) {
        slm_chat_prompt *prompt = NULL;
        char got[1000];
        assert_says(builtin.name,
                    slm_chat_template_create(&t, NULL, builtin.text, builtin.size, &o, &err), &err,
                    SLM_OK, "", NULL);
        assert_says(builtin.name, slm_chat_render(&prompt, t, talk, sizeof talk - 1, NULL, &err),
                    &err, SLM_OK, "", NULL);
        segments_text(prompt, got);
        assert_non_null(strstr(got, "{U</s>}"));
        assert_non_null(strstr(got, "{S}"));
        assert_non_null(strstr(got, "{V}"));
        slm_chat_prompt_free(prompt);
        slm_chat_template_free(t);
    }
    assert_int_equal(n, 8);
    assert_says("zzz", slm_chat_builtin_find(0, "zzz", &builtin, &err), &err, SLM_E_UNSUPPORTED,
                "zzz", NULL);
    assert_int_equal(slm_chat_builtin_find(0, "ChatML", &builtin, &err), SLM_OK);
    assert_string_equal(builtin.name, "chatml");
    slm_model_free(model);
    build_free(&b);
}

static void options_become_variables(void **state)
{
    static const char text[] = "{{ add_generation_prompt }},{{ enable_thinking }},"
                               "{{ reasoning_effort }},{{ tools|length }},{{ x }},"
                               "{{ strftime_now is defined }},{{ messages|length }}";
    slm_chat_template *t = NULL;
    slm_chat_prompt *prompt = NULL;
    slm_chat_options o;
    slm_error err;
    (void)state;
    assert_int_equal(slm_chat_template_create(&t, NULL, text, sizeof text - 1, NULL, &err), SLM_OK);
    assert_int_equal(slm_chat_render(&prompt, t, "[]", 2, NULL, &err), SLM_OK);
    slm_chat_prompt_info info = info_of(prompt);
    assert_int_equal(info.size, strlen("True,,,0,,False,0"));
    assert_memory_equal(info.text, "True,,,0,,False,0", info.size);
    slm_chat_prompt_free(prompt);
    slm_chat_options_init(&o, sizeof o);
    o.add_generation_prompt = 0;
    o.enable_thinking = 0;
    o.reasoning_effort = "low";
    o.tools = "[1, 2]";
    o.tools_size = 6;
    o.extra = "{\"x\": 9, \"reasoning_effort\": \"high\"}";
    o.extra_size = strlen(o.extra);
    o.now = 0;
    assert_int_equal(slm_chat_render(&prompt, t, "{\"messages\": [{}]}", 18, &o, &err), SLM_OK);
    info = info_of(prompt);
    assert_int_equal(info.size, strlen("False,False,high,2,9,True,1"));
    assert_memory_equal(info.text, "False,False,high,2,9,True,1", info.size);
    slm_chat_prompt_free(prompt);
    o.tools = NULL;
    assert_says("tools", slm_chat_render(&prompt, t, "[]", 2, &o, &err), &err, SLM_E_ARGUMENT,
                "tools", NULL);
    assert_says("messages", slm_chat_render(&prompt, t, "5", 1, NULL, &err), &err, SLM_E_ARGUMENT,
                "array", NULL);
    assert_says("messages", slm_chat_render(&prompt, t, "{}", 2, NULL, &err), &err, SLM_E_ARGUMENT,
                "array", NULL);
    assert_says("messages", slm_chat_render(&prompt, t, "[", 1, NULL, &err), &err, SLM_E_ARGUMENT,
                "ends", NULL);
    assert_int_equal(err.position, 1);
    slm_chat_template_free(t);
}

static void the_date_is_given(void **state)
{
    static const struct {
        int64_t now;
        const char *expected;
    } rows[] = {
        {0, "1970-01-01 00:00:00 4 001"},          {-1, "1969-12-31 23:59:59 3 365"},
        {951782400, "2000-02-29 00:00:00 2 060"},  {4107542399, "2100-02-28 23:59:59 0 059"},
        {1774182896, "2026-03-22 12:34:56 0 081"}, {1735689599, "2024-12-31 23:59:59 2 366"},
    };
    static const char text[] = "{{ strftime_now('%Y-%m-%d %H:%M:%S %w %j') }}";
    slm_chat_template *t = NULL;
    slm_error err;
    (void)state;
    assert_int_equal(slm_chat_template_create(&t, NULL, text, sizeof text - 1, NULL, &err), SLM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slm_chat_prompt *prompt = NULL;
        slm_chat_options o;
        slm_chat_options_init(&o, sizeof o);
        o.now = rows[i].now;
        assert_int_equal(slm_chat_render(&prompt, t, "[]", 2, &o, &err), SLM_OK);
        slm_chat_prompt_info info = info_of(prompt);
        assert_int_equal(info.size, strlen(rows[i].expected));
        assert_memory_equal(info.text, rows[i].expected, info.size);
        slm_chat_prompt_free(prompt);
    }
    slm_chat_prompt *prompt = NULL;
    assert_says("no date", slm_chat_render(&prompt, t, "[]", 2, NULL, &err), &err, SLM_E_TEMPLATE,
                "no date", NULL);
    slm_chat_template_free(t);
}

static void wrong_arguments_are_statuses(void **state)
{
    static const slm_chat_segment segment = OURS("a");
    static const slm_chat_segment wrong = SEGMENT(3, "a");
    struct build b;
    slm_model *model = open_vocabulary(&b, keys_bpe);
    slm_chat_template *t = NULL;
    slm_chat_prompt *p = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    slm_chat_builtin builtin = {.struct_size = sizeof builtin};
    slm_chat_template_options to;
    slm_chat_options o;
    int32_t ids[8];
    size_t n = 0;
    slm_error err;
    (void)state;
#define REFUSES(says, call) assert_says(#call, call, &err, SLM_E_ARGUMENT, says, NULL)
    REFUSES("NULL", slm_chat_template_create(NULL, model, NULL, 0, NULL, &err));
    REFUSES("size", slm_chat_template_create(&t, model, NULL, 1, NULL, &err));
    assert_int_equal(slm_chat_template_create(&t, model, "", 0, NULL, &err), SLM_OK);
    REFUSES("NULL", slm_chat_render(&p, NULL, "[]", 2, NULL, &err));
    REFUSES("NULL", slm_chat_render(&p, t, NULL, 0, NULL, &err));
    REFUSES("NULL", slm_chat_render(NULL, t, "[]", 2, NULL, &err));
    REFUSES("NULL", slm_chat_builtin_find(0, NULL, NULL, &err));
    REFUSES("NULL", slm_chat_prompt_get_info(NULL, &info, &err));
    assert_int_equal(slm_chat_render(&p, t, "[]", 2, NULL, &err), SLM_OK);
    REFUSES("NULL", slm_chat_prompt_get_info(p, NULL, &err));
    assert_int_equal(slm_chat_prompt_get_info(p, &info, &err), SLM_OK);
    assert_int_equal(info.size, 0);
    assert_int_equal(info.n_segments, 0);
    slm_chat_options_init(&o, sizeof o);
    slm_chat_template_options_init(&to, sizeof to);
    assert_int_equal(slm_chat_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_chat_template_options_init(NULL, 8), SLM_E_ARGUMENT);
    o.reserved = 1;
    to.reserved = 1;
    slm_chat_template *none = NULL;
    slm_chat_prompt *no_prompt = NULL;
    REFUSES("reserved", slm_chat_render(&no_prompt, t, "[]", 2, &o, &err));
    REFUSES("reserved", slm_chat_template_create(&none, model, "", 0, &to, &err));
    o.reserved = 0;
    o.now = INT64_MAX;
    REFUSES("date", slm_chat_render(&no_prompt, t, "[]", 2, &o, &err));
    o.struct_size = 2;
    to.struct_size = 0;
    builtin.struct_size = 1;
    info.struct_size = 0;
    REFUSES("struct_size", slm_chat_render(&no_prompt, t, "[]", 2, &o, &err));
    REFUSES("struct_size", slm_chat_template_create(&none, model, "", 0, &to, &err));
    REFUSES("struct_size", slm_chat_builtin_find(0, NULL, &builtin, &err));
    REFUSES("struct_size", slm_chat_prompt_get_info(p, &info, &err));
    REFUSES("NULL", slm_tokenize_segments(NULL, &segment, 1, sizeof segment, 0, ids, 8, &n, &err));
    REFUSES("NULL",
            slm_tokenize_segments(model, &segment, 1, sizeof segment, 0, ids, 8, NULL, &err));
    REFUSES("NULL", slm_tokenize_segments(model, NULL, 1, sizeof segment, 0, ids, 8, &n, &err));
    REFUSES("NULL",
            slm_tokenize_segments(model, &segment, 1, sizeof segment, 0, NULL, 8, &n, &err));
    REFUSES("segment_size", slm_tokenize_segments(model, &segment, 1, 4, 0, ids, 8, &n, &err));
    REFUSES("flags",
            slm_tokenize_segments(model, &segment, 1, sizeof segment, 2, ids, 8, &n, &err));
    REFUSES("kind", slm_tokenize_segments(model, &wrong, 1, sizeof segment, 0, ids, 8, &n, &err));
#undef REFUSES
    assert_null(none);
    assert_null(no_prompt);
    assert_int_equal(
        slm_tokenize_segments(model, &segment, 1, sizeof segment, 0, NULL, 0, &n, &err), SLM_OK);
    assert_int_equal(n, 1);
    assert_says("space",
                slm_tokenize_segments(model, &segment, 1, sizeof segment, 0, ids, 0, &n, &err),
                &err, SLM_E_SPACE, "1", NULL);
    slm_chat_prompt_free(NULL);
    slm_chat_template_free(NULL);
    slm_chat_prompt_free(p);
    slm_chat_template_free(t);
    slm_model_free(model);
    build_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_construct_gives_what_jinja_gives),
        cmocka_unit_test(what_fails_in_jinja_fails),
        cmocka_unit_test(what_is_missing_says_so),
        cmocka_unit_test(errors_tell_the_line),
        cmocka_unit_test(nesting_in_a_template_is_limited),
        cmocka_unit_test(blocks_are_nested_up_to_a_limit),
        cmocka_unit_test(long_rows_are_no_nesting),
        cmocka_unit_test(templates_without_end_are_stopped),
        cmocka_unit_test(long_names_are_paid_for),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(any_memory_may_be_refused),
        cmocka_unit_test(a_cap_on_memory_is_kept),
        cmocka_unit_test(content_stays_content),
        cmocka_unit_test(only_the_templates_special_tokens_are_tokens),
        cmocka_unit_test(user_defined_frames_are_the_templates_alone),
        cmocka_unit_test(segments_are_one_text),
        cmocka_unit_test(the_start_token_stands_once),
        cmocka_unit_test(a_models_own_template_knows_its_tokens),
        cmocka_unit_test(without_a_template_there_are_built_in_ones),
        cmocka_unit_test(options_become_variables),
        cmocka_unit_test(the_date_is_given),
        cmocka_unit_test(wrong_arguments_are_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
