/* test_templates.c - chat templates as published with real models: every expected rendering, byte for
 * byte, and that nothing in a conversation can become a special token.
 *
 * The templates and their cases lie in ../shared/templates and are not part of the repository: what
 * needs them is skipped without. tests/templates has a few small ones of our own for always. With
 * names of templates as arguments only these are rendered, and differences are shown at length. */
#include "../slm.c"

#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "testing.h"

#define SHARED "../shared/templates"
#define OWN "tests/templates"
#define NOW INT64_C(1774182896) /* 2026-03-22 12:34:56 */
#define TOKENS ", \"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}"

static char **wanted; /* names of the command line */
static int n_wanted;

/* ---- Cases ----------------------------------------------------------------------------------- */

struct sample {
    char *line; /* of the file */
    struct text name;
    struct text context; /* JSON, without the tokens that are given as options */
    struct value text;   /* expected; MISSING if an error is */
    struct value error;
};

/* The value of a member of a one-line object, as JSON. */
static void sample_read(struct chat *c, char *line, size_t n, struct sample *s)
{
    struct text t = {line, n};
    struct value v;
    struct value name;
    assert_int_equal(json_parse(c, "case", t, &v), SLM_OK);
    assert_int_equal(v.kind, VALUE_DICT);
    assert_int_equal(dict_find_text(c, v.u.d, text_of("case"), &name), SLM_OK);
    assert_int_equal(dict_find_text(c, v.u.d, text_of("text"), &s->text), SLM_OK);
    assert_int_equal(dict_find_text(c, v.u.d, text_of("error"), &s->error), SLM_OK);
    s->name = str_text(name.u.s);
    char *context = strstr(line, "\"context\": {");
    char *tokens = strstr(line, TOKENS);
    assert_non_null(context);
    assert_non_null(tokens);
    context += 11;
    *tokens = '}';
    s->context.s = context;
    s->context.n = (size_t)(tokens + 1 - context);
}

static slm_chat_template *compile(const char *text, size_t size, slm_error *err)
{
    slm_chat_template *t = NULL;
    slm_chat_template_options o;
    slm_chat_template_options_init(&o, sizeof o);
    o.bos_token = "<s>";
    o.eos_token = "</s>";
    slm_chat_template_create(&t, NULL, text, size, &o, err);
    return t;
}

static int render(const slm_chat_template *t, struct text context, slm_chat_prompt **prompt,
                  slm_error *err)
{
    slm_chat_options o;
    slm_chat_options_init(&o, sizeof o);
    o.now = NOW;
    o.add_generation_prompt = 0;
    return slm_chat_render(t, context.s, context.n, &o, prompt, err);
}

/* Only what the template raises itself is to be said in its words. */
static int error_agrees(const struct str *expected, const slm_error *err)
{
    static const char raised[] = "TemplateError: ";
    size_t n = sizeof raised - 1;
    char wanted_text[256];
    if (expected->n < n || memcmp(expected->s, raised, n) != 0) {
        return err->code == SLM_E_TEMPLATE;
    }
    struct text_writer w = {wanted_text, 200, 0};
    writer_text(&w, expected->s + n, expected->n - n);
    wanted_text[w.size] = 0;
    return strstr(err->message, wanted_text) != NULL;
}

static void show(const char *what, const char *text, size_t n)
{
    printf("    %s %.*s\n", what, (int)n, text);
}

static int case_passes(const slm_chat_template *t, const struct sample *s, int verbose)
{
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    slm_error err;
    int status = render(t, s->context, &prompt, &err);
    int expects_text = s->text.kind == VALUE_STRING;
    int passes = 0;
    if (status == SLM_OK) {
        slm_chat_prompt_get_info(prompt, &info, NULL);
        struct text got = {info.text, info.size};
        passes = expects_text && text_equal(got, str_text(s->text.u.s));
    } else {
        passes = !expects_text && error_agrees(s->error.u.s, &err);
    }
    if (!passes && verbose) {
        size_t same = 0;
        while (expects_text && same < info.size && same < s->text.u.s->n &&
               info.text[same] == s->text.u.s->s[same]) {
            same++;
        }
        size_t from = same > 60 ? same - 60 : 0;
        printf("  %.*s differs at byte %zu\n", (int)s->name.n, s->name.s, same);
        if (expects_text) {
            size_t n = s->text.u.s->n - from;
            show("expected:", s->text.u.s->s + from, n < 160 ? n : 160);
        } else {
            show("expected:", s->error.u.s->s, s->error.u.s->n);
        }
        if (status == SLM_OK) {
            size_t n = info.size - from;
            show("got:     ", info.text + from, n < 160 ? n : 160);
        } else {
            show("got:     ", err.message, strlen(err.message));
        }
    }
    slm_chat_prompt_free(prompt);
    return passes;
}

struct tally {
    int templates, templates_passed, cases, cases_passed;
};

typedef void (*sample_fn)(const slm_chat_template *t, const char *name, const struct sample *s,
                          void *user);

/* Calls fn for each case of a template. */
static void each_case(const char *folder, const char *name, sample_fn fn, void *user)
{
    char path[512];
    size_t size = 0;
    size_t cases_size = 0;
    slm_error err;
    snprintf(path, sizeof path, "%s/%s.jinja", folder, name);
    char *text = testing_read(path, &size);
    snprintf(path, sizeof path, "%s/%s.cases.jsonl", folder, name);
    char *cases = testing_read(path, &cases_size);
    assert_non_null(text);
    assert_non_null(cases);
    slm_chat_template *t = compile(text, size, &err);
    if (t == NULL) {
        printf("  %s: %s\n", name, err.message);
    }
    for (char *line = cases; *line != 0;) {
        char *end = strchr(line, '\n');
        size_t n = end != NULL ? (size_t)(end - line) : strlen(line);
        struct memory memory = memory_make(NULL, NULL, UINT64_MAX);
        struct chat c = chat_begin(&memory, &err);
        struct sample s;
        line[n] = 0;
        sample_read(&c, line, n, &s);
        fn(t, name, &s, user);
        chat_end(&c);
        line += n + (end != NULL);
    }
    slm_chat_template_free(t);
    free(text);
    free(cases);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Calls fn for each case of each template of a folder, in order of names. */
static int each_template(const char *folder, sample_fn fn, void (*after)(const char *, void *),
                         void *user)
{
    char *names[512];
    int n = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL && n < 512;) {
        size_t size = strlen(e->d_name);
        if (size > 6 && strcmp(e->d_name + size - 6, ".jinja") == 0) {
            names[n] = strdup(e->d_name);
            names[n++][size - 6] = 0;
        }
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        int is_wanted = n_wanted == 0;
        for (int k = 0; k < n_wanted; k++) {
            is_wanted |= strcmp(wanted[k], names[i]) == 0;
        }
        if (is_wanted) {
            each_case(folder, names[i], fn, user);
            if (after != NULL) {
                after(names[i], user);
            }
        }
        free(names[i]);
    }
    return n;
}

struct rendering {
    struct tally all, one;
};

static void count_case(const slm_chat_template *t, const char *name, const struct sample *s,
                       void *user)
{
    struct rendering *r = (struct rendering *)user;
    (void)name;
    r->one.cases++;
    r->one.cases_passed += t != NULL && case_passes(t, s, 1);
}

static void count_template(const char *name, void *user)
{
    struct rendering *r = (struct rendering *)user;
    int passed = r->one.cases == r->one.cases_passed;
    if (!passed) {
        printf("%s: %d of %d cases\n", name, r->one.cases_passed, r->one.cases);
    }
    r->all.templates++;
    r->all.templates_passed += passed;
    r->all.cases += r->one.cases;
    r->all.cases_passed += r->one.cases_passed;
    memset(&r->one, 0, sizeof r->one);
}

static void render_folder(const char *folder)
{
    struct rendering r;
    memset(&r, 0, sizeof r);
    if (each_template(folder, count_case, count_template, &r) == 0) {
        printf("skipped: %s is not here\n", folder);
        skip();
    }
    print_message("%s: %d of %d templates, %d of %d cases\n", folder, r.all.templates_passed,
                  r.all.templates, r.all.cases_passed, r.all.cases);
    assert_int_equal(r.all.cases_passed, r.all.cases);
}

static void published_templates_render_as_expected(void **state)
{
    (void)state;
    render_folder(SHARED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_templates_render_as_expected),
    };
    wanted = argv + 1;
    n_wanted = argc - 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
