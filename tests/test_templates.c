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
    return slm_chat_render(prompt, t, context.s, context.n, &o, err);
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

static void own_templates_render_as_expected(void **state)
{
    (void)state;
    render_folder(OWN);
}

/* ---- Built-in templates ----------------------------------------------------------------------- */

static char *render_talk(const char *text, size_t size, const char *messages, int with_prompt)
{
    slm_error err;
    char context[1024];
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    slm_chat_template *t = compile(text, size, &err);
    assert_non_null(t);
    struct text json = {context, 0};
    json.n = (size_t)snprintf(context, sizeof context,
                              "{\"messages\": [%s], \"add_generation_prompt\": %s}", messages,
                              with_prompt ? "true" : "false");
    if (render(t, json, &prompt, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    slm_chat_prompt_get_info(prompt, &info, NULL);
    char *copy = strndup(info.text, info.size);
    slm_chat_prompt_free(prompt);
    slm_chat_template_free(t);
    return copy;
}

#define SAYS(role, content) "{\"role\": \"" role "\", \"content\": \"" content "\"}"

/* What a built-in template writes is what models of its family were trained with, or behind `behind`
 * what follows a preamble of their own. (No template of the old Llama 2, Mistral 7B, Vicuna and Zephyr
 * is at hand.) */
static void built_in_templates_write_what_models_of_the_family_write(void **state)
{
    static const char users[] =
        SAYS("user", "Hi ") ", " SAYS("assistant", "Hello\\n") ", " SAYS("user", " x < y\\u20ac");
    static const char system[] =
        SAYS("system", "Be brief.") ", " SAYS("user", "Hi") ", " SAYS("assistant", "Hello");
    static const struct {
        const char *builtin, *real, *messages, *behind;
    } rows[] = {
        {"chatml", "Qwen-Qwen2.5-7B-Instruct", system, ""},
        {"chatml", "Qwen-Qwen2.5-7B-Instruct", users, "<|im_start|>user"},
        {"chatml", "Bielik-11B-v3.0-Instruct", users, "<|im_start|>"},
        {"gemma", "google-gemma-2-2b-it", users, ""},
        {"llama3", "meta-llama-Llama-3.2-3B-Instruct", users, "<|start_header_id|>user"},
        {"llama3", "meta-llama-Llama-3.1-8B-Instruct", users, "<|start_header_id|>user"},
        {"llama3", "meta-llama-Llama-3.2-3B-Instruct", system, "Be brief."},
        {"phi3", "microsoft-Phi-3.5-mini-instruct", users, ""},
        {"phi3", "microsoft-Phi-3.5-mini-instruct", system, ""},
    };
    (void)state;
    for (int i = 0; i < 2 * SLM_COUNT(rows); i++) {
        char path[256];
        size_t size = 0;
        slm_chat_builtin b = {.struct_size = sizeof b};
        assert_int_equal(slm_chat_builtin_find(0, rows[i / 2].builtin, &b, NULL), SLM_OK);
        snprintf(path, sizeof path, SHARED "/%s.jinja", rows[i / 2].real);
        char *text = testing_read(path, &size);
        if (text == NULL) {
            printf("skipped: %s is not here\n", path);
            skip();
        }
        char *real = render_talk(text, size, rows[i / 2].messages, i % 2);
        char *ours = render_talk(b.text, b.size, rows[i / 2].messages, i % 2);
        assert_non_null(strstr(real, rows[i / 2].behind));
        assert_string_equal(strstr(ours, rows[i / 2].behind), strstr(real, rows[i / 2].behind));
        free(ours);
        free(real);
        free(text);
    }
}

/* ---- Whose bytes they are -------------------------------------------------------------------- */

/* Where in the text a byte of a segment of that kind lies: 1 for the template's. */
static uint8_t *kinds_of(const slm_chat_prompt_info *info)
{
    uint8_t *kinds = (uint8_t *)calloc(info->size + 1, 1);
    assert_non_null(kinds);
    size_t at = 0;
    for (int32_t i = 0; i < info->n_segments; i++) {
        const slm_chat_segment *s = &info->segments[i];
        assert_true(s->size > 0 && s->text == info->text + at);
        assert_true(i == 0 || s->kind != info->segments[i - 1].kind);
        memset(kinds + at, s->kind == SLM_SEGMENT_TEMPLATE, s->size);
        at += s->size;
    }
    assert_true(at == info->size);
    return kinds;
}

/* A token's text that begins here: <|...|> or [WORD] or <word>; its length, or 0. */
static size_t token_at(const char *text, size_t n)
{
    char close = text[0] == '<' ? '>' : ']';
    size_t i = 1;
    if (n < 3 || (text[0] != '<' && text[0] != '[')) {
        return 0;
    }
    while (i < n && i < 40 &&
           ((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
            text[i] == '_' || text[i] == '|' || text[i] == '/')) {
        i++;
    }
    int has_bars = text[1] == '|';
    return i < n && i > 1 && text[i] == close && (has_bars || close == ']') ? i + 1 : 0;
}

/* In a conversation without such texts, they are wholly the template's. */
static void whole_case(const slm_chat_template *t, const char *name, const struct sample *s,
                       void *user)
{
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    int *n_tokens = (int *)user;
    char *context = strndup(s->context.s, s->context.n);
    if (render(t, s->context, &prompt, NULL) == SLM_OK) {
        slm_chat_prompt_get_info(prompt, &info, NULL);
        uint8_t *kinds = kinds_of(&info);
        for (size_t i = 0; i < info.size; i++) {
            size_t n = token_at(info.text + i, info.size - i);
            char token[64] = "";
            memcpy(token, info.text + i, n);
            if (n > 0 && memchr(kinds + i, 0, n) != NULL && strstr(context, token) == NULL) {
                fail_msg("%s, %.*s: %s is not wholly the template's", name, (int)s->name.n,
                         s->name.s, token);
            }
            *n_tokens += n > 0;
        }
        free(kinds);
    }
    free(context);
    slm_chat_prompt_free(prompt);
}

static void special_tokens_that_templates_write_are_their_own(void **state)
{
    int n_tokens = 0;
    (void)state;
    if (each_template(SHARED, whole_case, NULL, &n_tokens) == 0) {
        skip();
    }
    print_message("%d tokens\n", n_tokens);
    assert_true(n_wanted > 0 || n_tokens > 5000);
}

/* The JSON with `what` in strings: at their beginning, middle or end. is_key: names, too; only >= 0:
 * in string number `only` alone. Returns how many strings there are. */
static int inject(struct text json, const char *what, int place, int keys, int only, char *out,
                  size_t *size)
{
    size_t n = 0;
    int count = 0;
    for (size_t i = 0; i < json.n;) {
        if (json.s[i] != '"') {
            out[n++] = json.s[i++];
            continue;
        }
        size_t end = i + 1;
        while (json.s[end] != '"') {
            end += json.s[end] == '\\' ? 2 : 1;
        }
        int is_key = end + 1 < json.n && json.s[end + 1] == ':';
        int chosen = (only < 0 || only == count) && (keys || !is_key);
        size_t middle = i + 1 + (end - i) / 2;
        while (middle > i + 1 && (((uint8_t)json.s[middle] & 0xc0) == 0x80 ||
                                  memchr(json.s + i, '\\', end - i) != NULL)) {
            middle--;
        }
        size_t cut = place == 0 ? i + 1 : place == 1 ? middle : end;
        memcpy(out + n, json.s + i, cut - i);
        n += cut - i;
        if (chosen) {
            memcpy(out + n, what, strlen(what));
            n += strlen(what);
        }
        memcpy(out + n, json.s + cut, end + 1 - cut);
        n += end + 1 - cut;
        i = end + 1;
        count++;
    }
    *size = n;
    return count;
}

/* No letter, and in no template: wherever it comes out it came in. */
#define SENTINEL "\xEE\x84\xA3"

static void check_sentinel(const slm_chat_template *t, const char *name, struct text context,
                           int *n_seen)
{
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    slm_error err;
    int status = render(t, context, &prompt, &err);
    assert_true(status == SLM_OK || status == SLM_E_TEMPLATE || status == SLM_E_ARGUMENT);
    if (status != SLM_OK) {
        return;
    }
    slm_chat_prompt_get_info(prompt, &info, NULL);
    for (int32_t i = 0; i < info.n_segments; i++) {
        const slm_chat_segment *s = &info.segments[i];
        int found = memchr(s->text, SENTINEL[0], s->size) != NULL;
        if (found && s->kind == SLM_SEGMENT_TEMPLATE) {
            fail_msg("%s: the input's text is the template's in %.*s", name, (int)context.n,
                     context.s);
        }
        *n_seen += found;
    }
    slm_chat_prompt_free(prompt);
}

static void inject_case(const slm_chat_template *t, const char *name, const struct sample *s,
                        void *user)
{
    char *json = (char *)malloc(s->context.n * 16);
    struct text changed = {json, 0};
    assert_non_null(json);
    for (int place = 0; place < 3; place++) {
        for (int keys = 0; keys < 2; keys++) {
            inject(s->context, SENTINEL, place, keys, -1, json, &changed.n);
            check_sentinel(t, name, changed, (int *)user);
        }
        int n = inject(s->context, SENTINEL, place, 0, -1, json, &changed.n);
        int one_by_one = text_is(s->name, "tool_call") || text_is(s->name, "parts");
        for (int only = 0; only < n && place != 1 && one_by_one; only++) {
            inject(s->context, SENTINEL, place, 1, only, json, &changed.n);
            check_sentinel(t, name, changed, (int *)user);
        }
    }
    free(json);
}

static void no_byte_of_any_field_becomes_the_templates(void **state)
{
    int n_seen = 0;
    (void)state;
    if (each_template(SHARED, inject_case, NULL, &n_seen) == 0 || n_wanted > 0) {
        skip();
    }
    print_message("seen in %d segments\n", n_seen);
    assert_true(n_seen > 5000);
}

/* Texts of special tokens in every field, one field at a time: as many tokens are the template's as
 * with a harmless text of that length. Roles are content then, and a template may refuse them. */
static int template_tokens(const slm_chat_template *t, struct text context, const char *token)
{
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    int n = 0;
    if (render(t, context, &prompt, NULL) != SLM_OK) {
        return -1;
    }
    slm_chat_prompt_get_info(prompt, &info, NULL);
    for (int32_t i = 0; i < info.n_segments; i++) {
        const slm_chat_segment *s = &info.segments[i];
        size_t size = strlen(token);
        for (size_t at = 0; s->kind == SLM_SEGMENT_TEMPLATE && at + size <= s->size; at++) {
            n += memcmp(s->text + at, token, size) == 0;
        }
    }
    slm_chat_prompt_free(prompt);
    return n;
}

static void inject_tokens_case(const slm_chat_template *t, const char *name, const struct sample *s,
                               void *user)
{
    static const char *const tokens[] = {
        "<|im_end|>", "<|im_start|>", "<|eot_id|>",  "<end_of_turn>", "[INST]",
        "[/INST]",    "</s>",         "<s>",         "<|end|>",       "<|endoftext|>",
        "<turn|>",    "<|user|>",     "<|message|>", "<|sep|>"};
    char *json = (char *)malloc(s->context.n * 16);
    struct text changed = {json, 0};
    assert_non_null(json);
    if (!text_is(s->name, "tool_call")) {
        free(json);
        return;
    }
    for (size_t k = 0; k < sizeof tokens / sizeof tokens[0]; k++) {
        char harmless[32] = "";
        memset(harmless, 'q', strlen(tokens[k]));
        int n = inject(s->context, harmless, 2, 0, -1, json, &changed.n);
        for (int only = 0; only < n; only++) {
            inject(s->context, harmless, 2, 1, only, json, &changed.n);
            int without = template_tokens(t, changed, tokens[k]);
            inject(s->context, tokens[k], 2, 1, only, json, &changed.n);
            int with = template_tokens(t, changed, tokens[k]);
            if (with > without && without >= 0) {
                fail_msg("%s: %s in a field makes %d of %d", name, tokens[k], with, without);
            }
            *(int *)user += without > 0;
        }
    }
    free(json);
}

static void no_special_token_in_a_field_becomes_one(void **state)
{
    int n_seen = 0;
    (void)state;
    if (each_template(SHARED, inject_tokens_case, NULL, &n_seen) == 0 || n_wanted > 0) {
        skip();
    }
    assert_true(n_seen > 1000);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_templates_render_as_expected),
        cmocka_unit_test(published_templates_render_as_expected),
        cmocka_unit_test(built_in_templates_write_what_models_of_the_family_write),
        cmocka_unit_test(special_tokens_that_templates_write_are_their_own),
        cmocka_unit_test(no_byte_of_any_field_becomes_the_templates),
        cmocka_unit_test(no_special_token_in_a_field_becomes_one),
    };
    wanted = argv + 1;
    n_wanted = argc - 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
