/* test_stack.c - how much stack templates take: the deepest ones there are, of each kind of nesting,
 * rendered on a thread whose stack is painted before. slm.h says that slm_chat_render needs
 * 128 KiB; that holds for every optimisation, -O0 too, but not for sanitizers, whose frames are
 * many times larger.
 *
 * Public functions only. */
#include "model_fixture.h"

#include <pthread.h>

/* Frames of sanitizers are larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_ANY
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_ANY
#endif
#endif

#define STACK_SAID ((size_t)128 * 1024)
#define STACK_SIZE ((size_t)1024 * 1024)
#define STACK_PAINT 0xa5

struct job {
    const char *text;
    size_t size;
    const char *messages;
    int status;
    slm_error err;
};

static void *render(void *arg)
{
    struct job *job = (struct job *)arg;
    slm_chat_template *t = NULL;
    slm_chat_prompt *prompt = NULL;
    job->status = slm_chat_template_create(&t, NULL, job->text, job->size, NULL, &job->err);
    if (job->status == SLM_OK) {
        job->status =
            slm_chat_render(&prompt, t, job->messages, strlen(job->messages), NULL, &job->err);
    }
    slm_chat_prompt_free(prompt);
    slm_chat_template_free(t);
    return NULL;
}

/* Bytes of stack that rendering takes, those that the thread itself takes among them. */
static size_t stack_of(struct job *job)
{
    static uint8_t *stack;
    pthread_attr_t attr;
    pthread_t thread;
    size_t clean = 0;
    if (stack == NULL) {
        stack = (uint8_t *)aligned_alloc(4096, STACK_SIZE);
        assert_non_null(stack);
    }
    memset(stack, STACK_PAINT, STACK_SIZE);
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstack(&attr, stack, STACK_SIZE), 0);
    assert_int_equal(pthread_create(&thread, &attr, render, job), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
    while (clean < STACK_SIZE && stack[clean] == STACK_PAINT) {
        clean++;
    }
    return STACK_SIZE - clean;
}

/* A text: `before`, then `n` times `open`, `middle`, `n` times `close`, `after`. The depth is the
 * largest that is still rendered: a limit refuses the next one. */
struct nest {
    const char *before, *open, *middle, *close, *after;
};

#define DEEP_LIST                                                                                  \
    "{% set ns = namespace(v=[]) %}{% for i in range(126) %}{% set ns.v = [ns.v] %}{% endfor %}"

static const struct nest nests[] = {
    {"{{ ", "(", "1", ")", " }}"},
    {"{{ ", "[", "1", "]", " }}"},
    {"{{ ", "{'a': ", "1", "}", " }}"},
    {"{{ ", "not ", "1", "", " }}"},
    {"{{ ", "-", "1", "", " }}"},
    {"{{ ", "(1 ** ", "1", ")", " }}"},
    {"{{ ", "(1 if ", "1", " else 2)", " }}"},
    {"{{ ", "(1 if 0 else ", "1", ")", " }}"},
    {"{{ ", "1 if 0 else ", "1", "", " }}"},
    {"{{ ", "(1 + ", "1", ")", " }}"},
    {"{{ ", "(1 in [", "1", "])", " }}"},
    {"{{ ", "(1 and ", "1", ")", " }}"},
    {"{{ ", "(1 == 1 == ", "1", ")", " }}"},
    {"{{ ", "range(", "1", ")|length", " }}"},
    {"{{ ", "[1][", "0", "]", " }}"},
    {"{{ ", "[1, 2][:", "1", "]|length", " }}"},
    {"{{ ", "('a'|default(", "1", "))", " }}"},
    {"{{ ", "'a'.replace('a', ", "'b'", ")", " }}"},
    {"{{ ", "['a']|map('default', ", "1", ")|join", " }}"},
    {"{{ ['a']|map(", "'map', ", "'upper'", "", ")|list|length }}"},
    {"{{ ", "dict(a=", "1", ")", " }}"},
    {"{{ ", "(1 is divisibleby(", "1", "))", " }}"},
    {"", "{% if 1 %}", "a", "{% endif %}", ""},
    {"", "{% if 0 %}{% else %}", "a", "{% endif %}", ""},
    {"", "{% for x in [1] %}", "a", "{% endfor %}", ""},
    {"", "{% for x in [] %}{% else %}", "a", "{% endfor %}", ""},
    {"", "{% filter upper %}", "a", "{% endfilter %}", ""},
    {"", "{% set x %}", "a", "{% endset %}", ""},
    {"", "{% generation %}", "a", "{% endgeneration %}", ""},
    {"{% macro m() %}{{ caller() }}{% endmacro %}", "{% call m() %}", "a", "{% endcall %}", ""},
    {"", "{% macro m() %}", "a", "{% endmacro %}{{ m() }}", ""},
    /* Calls within calls, counted down, with as much around each call as `open` and `close` say. */
    {"{% macro m(n) %}{% if n %}{{ ", "", "m(n - 1)", "", " }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}{{ ", "(1 and ", "m(n - 1)", ")",
     " }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}{{ ", "[", "m(n - 1)", "]|length",
     " }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}{{ ", "'a'|default(1)|replace('a', ", "m(n - 1)", ")",
     " }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}", "{% for x in [1] %}", "{{ m(n - 1) }}", "{% endfor %}",
     "{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}", "{% filter upper %}", "{{ m(n - 1) }}", "{% endfilter %}",
     "{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n > 0 %}", "{% call m(n - 1) %}", "{{ m(n - 2) }}", "{% endcall %}",
     "{% endif %}{{ caller and caller() }}{% endmacro %}{{ m(@) }}"},
    {"{% for x in [@] recursive %}", "{% if x %}", "{{ loop([x - 1]) }}", "{% endif %}",
     "{% endfor %}"},
    {"{% macro m(n, x=m(n - 1) if n else 0) %}{% if n %}{{ ", "(1 and ", "x", ")",
     " }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}", "{% set x %}", "{{ m(n=m(n - 1)) }}", "{% endset %}",
     "{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}{% for x in ", "[", "m(n - 1)", "]",
     " if x %}{% endfor %}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}{% for x in [1] if ", "1 is divisibleby(", "m(n - 1)|length + 1",
     ")", " %}{% endfor %}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n %}{% filter replace('a', ", "'a'.replace('a', ", "m(n - 1)", ")",
     ") %}a{% endfilter %}{% endif %}{% endmacro %}{{ m(@) }}"},
    {"{% macro m(n) %}{% if n > 0 %}", "",
     "{% call m(n - 1) %}{{ 'a'.replace('a', m(n - 2)) }}{% endcall %}", "",
     "{% endif %}{{ caller and 'a'.replace('a', caller()) }}{% endmacro %}{{ m(@) }}"},
    /* Values within values, at the deepest place. */
    {DEEP_LIST "{% macro m(n) %}{% if n %}{{ ", "('a'|default(1)|replace('a', ", "m(n - 1)", "))",
     " }}{% else %}{{ ns.v|tojson }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {DEEP_LIST "{% macro m(n) %}{% if n %}{{ ", "", "m(n - 1)", "",
     " }}{% else %}{{ ns.v|tojson }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {DEEP_LIST "{% macro m(n) %}{% if n %}{{ ", "", "m(n - 1)", "",
     " }}{% else %}{{ ns.v|string }}{% endif %}{% endmacro %}{{ m(@) }}"},
    {DEEP_LIST "{% set v = ns.v %}" DEEP_LIST "{% macro m(n) %}{% if n %}{{ ", "", "m(n - 1)", "",
     " }}{% else %}{{ ns.v == v }}{{ v < ns.v }}{{ v in [ns.v] }}{% endif %}{% endmacro %}{{ m(@) "
     "}}"},
    {DEEP_LIST "{% set v = ns.v %}" DEEP_LIST
               "{% macro m(n) %}{{ caller and '' }}{% if n %}{% call m(n - 1) %}{% endcall %}",
     "", "", "",
     "{% else %}{{ [ns.v, v]|sort }}{{ [ns.v, v]|max }}{% endif %}{% endmacro %}{{ m(@) "
     "}}"},
    /* Values within values. */
    {"{% set ns = namespace(v=[]) %}{% for i in range(@) %}{% set ns.v = [ns.v] %}{% endfor %}", "",
     "{{ ns.v }}{{ ns.v|tojson }}{{ ns.v == ns.v }}{{ [ns.v]|sort }}{{ ns.v|string }}", "", ""},
    {"{% set ns = namespace(v={}) %}{% for i in range(@) %}{% set ns.v = {'a': ns.v} %}{% endfor "
     "%}",
     "", "{{ ns.v }}{{ ns.v|tojson(indent=2) }}{{ ns.v == ns.v }}{{ ns.v|items|list }}", "", ""},
};

static size_t nest_write(char *to, const struct nest *n, int times, int count)
{
    const char *parts[5] = {n->before, n->open, n->middle, n->close, n->after};
    size_t size = 0;
    for (int p = 0; p < 5; p++) {
        for (int i = 0; i < (p == 1 || p == 3 ? times : 1); i++) {
            for (const char *s = parts[p]; *s != 0; s++) {
                size += (size_t)(*s == '@' ? sprintf(to + size, "%d", count)
                                           : sprintf(to + size, "%c", *s));
            }
        }
    }
    return size;
}

/* Once, it renders: the row is a template. Deeper, nothing but a limit stops it. */
static void nest_check(const struct job *job, int is_first)
{
    int is_limit = !is_first && job->status == SLM_E_TEMPLATE &&
                   (strstr(job->err.message, " deep") != NULL ||
                    strstr(job->err.message, "bytes of memory") != NULL);
    if (job->status != SLM_OK && !is_limit) {
        fail_msg("%.*s: %d, %s", (int)job->size, job->text, job->status, job->err.message);
    }
}

/* The most stack for a row: every depth of the text, with as many calls as a limit lets through, or
 * with one more, which fails at the deepest place. *least: of the first, which is not deep. */
static size_t nest_most(const struct nest *n, char *text, int *times_most, int *count_most,
                        size_t *least)
{
    static const int depths[] = {1, 4, 16, 32, 49, 64, 96, 98, 400};
    static const int counts[] = {0, 2, 30, 40, 50, 60, 80, 100};
    int has_count = strchr(n->before, '@') != NULL || strchr(n->after, '@') != NULL;
    size_t most = 0;
    *least = 0;
    for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
        for (size_t k = has_count ? 1 : 0; k < (has_count ? 8u : 1u); k++) {
            struct job job;
            memset(&job, 0, sizeof job);
            job.text = text;
            job.size = nest_write(text, n, depths[d], counts[k]);
            job.messages = "[]";
            size_t used = stack_of(&job);
            nest_check(&job, *least == 0);
            *least = *least == 0 ? used : *least;
            if (used > most) {
                most = used;
                *times_most = depths[d];
                *count_most = counts[k];
            }
        }
    }
    return most;
}

static void rendering_takes_no_more_stack_than_slm_h_says(void **state)
{
    static char text[1 << 16];
    (void)state;
    for (size_t i = 0; i < sizeof nests / sizeof nests[0]; i++) {
        int times = 0;
        int count = 0;
        size_t least = 0;
        size_t used = nest_most(&nests[i], text, &times, &count, &least);
        printf("%7zu (%zu) bytes at %3d times, %7d calls: %s%s%s\n", used, least, times, count,
               nests[i].before, nests[i].open, nests[i].middle);
#ifndef STACK_ANY
        assert_true(used <= STACK_SAID);
#endif
        assert_true(used >= least + 4096); /* the row nests, and the paint tells */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rendering_takes_no_more_stack_than_slm_h_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
