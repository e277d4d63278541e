/* test_json.c - the JSON reader and writer: what is JSON, what it is read as, how it is printed, and
 * where an error is. Through what templates print of it, and on its own for numbers. */
#include "../slm.c"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "counting.h"

struct reading {
    struct memory memory;
    struct chat c;
    slm_error err;
    struct value v;
    int status;
};

static void read_json(struct reading *r, const char *text, size_t n)
{
    struct text t = {text, n};
    memset(r, 0, sizeof *r);
    r->memory = memory_make(NULL, NULL, UINT64_MAX);
    r->c = chat_begin(&r->memory, &r->err);
    r->status = json_parse(&r->c, "test", t, &r->v);
}

/* Reads and writes again. */
static void assert_json(const char *text, const char *expected)
{
    struct reading r;
    struct str comma = {", ", NULL, 2, CHAT_CONTENT};
    struct str colon = {": ", NULL, 2, CHAT_CONTENT};
    struct json_style style = {NULL, &comma, &colon, 0, 0};
    const struct str *s = NULL;
    read_json(&r, text, strlen(text));
    assert_int_equal(r.status, SLM_OK);
    struct builder b = builder_begin(&r.c);
    assert_int_equal(json_write(&b, r.v, &style, 0), SLM_OK);
    assert_int_equal(builder_end(&b, &s), SLM_OK);
    if (s->n != strlen(expected) || memcmp(s->s, expected, s->n) != 0) {
        fail_msg("%s became %.*s, not %s", text, (int)s->n, s->s, expected);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        assert_int_equal(str_mark(s, i), CHAT_CONTENT);
    }
    chat_end(&r.c);
}

static void values_come_back_as_python_has_them(void **state)
{
    static const char *const same[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-123456789012345678901234567890",
        "0.0",
        "-0.0",
        "1.5",
        "1e+16",
        "1e-05",
        "0.0001",
        "1.7976931348623157e+308",
        "5e-324",
        "0.30000000000000004",
        "\"\"",
        "\"\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\"",
        "\"/\"",
        "\"\303\251\360\237\231\202\"",
        "[]",
        "{}",
        "[[], {}, [1]]",
        "{\"a\": {\"b\": [null]}, \"\": 1}",
    };
    static const char *const rows[][2] = {
        {" [ 1 ,\t2\r\n] ", "[1, 2]"},
        {"-0", "0"},
        {"1E5", "100000.0"},
        {"1e400", "Infinity"},
        {"-1e400", "-Infinity"},
        {"1e-400", "0.0"},
        {"100000000000000000.0", "1e+17"},
        {"12.50", "12.5"},
        {"\"\\/\\u0041\\u00e9\\ud83d\\ude42\"", "\"/A\303\251\360\237\231\202\""},
        {"\"\\ud83dx\"", "\"\357\277\275x\""},
        {"\"\\ude42\"", "\"\357\277\275\""},
        {"\"\\ud83d\\ud83d\\ude42\"", "\"\357\277\275\360\237\231\202\""},
        {"\"\\ud83d\\n\"", "\"\357\277\275\\n\""},
        {"\"\x7f\xff\"", "\"\x7f\xff\""},
        {"{\"a\": 1, \"b\": 2, \"a\": 3}", "{\"a\": 3, \"b\": 2}"},
    };
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(same); i++) {
        assert_json(same[i], same[i]);
    }
    for (int32_t i = 0; i < SLM_COUNT(rows); i++) {
        assert_json(rows[i][0], rows[i][1]);
    }
}

static void errors_name_the_byte(void **state)
{
    static const struct {
        const char *text;
        int64_t position;
        const char *says;
    } rows[] = {
        {"", 0, "ends"},
        {"  ", 2, "ends"},
        {"nul", 0, "value"},
        {"nulll", 4, "nothing more"},
        {"[1,]", 3, "value"},
        {"[1 2]", 3, "']'"},
        {"{\"a\" 1}", 5, "':'"},
        {"{\"a\":1,}", 7, "name"},
        {"{a:1}", 1, "name"},
        {"{\"a\":}", 5, "value"},
        {"{\"a\":1", 6, "ends"},
        {"[", 1, "ends"},
        {"]", 0, "value"},
        {"01", 1, "leading 0"},
        {"-", 1, "digit"},
        {"+1", 0, "value"},
        {"1.", 2, "digit"},
        {".5", 0, "value"},
        {"1e", 2, "digit"},
        {"NaN", 0, "value"},
        {"\"a", 2, "end of a string"},
        {"\"\\x\"", 2, "escape"},
        {"\"\\u12g4\"", 5, "hexadecimal"},
        {"\"a\nb\"", 2, "control character"},
        {"[1] 2", 4, "nothing more"},
        {"'a'", 0, "value"},
    };
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(rows); i++) {
        struct reading r;
        read_json(&r, rows[i].text, strlen(rows[i].text));
        if (r.status != SLM_E_ARGUMENT || r.err.position != rows[i].position ||
            strstr(r.err.message, rows[i].says) == NULL) {
            fail_msg("%s: %d at %lld: %s", rows[i].text, r.status, (long long)r.err.position,
                     r.err.message);
        }
        chat_end(&r.c);
    }
}

static void nesting_is_limited(void **state)
{
    char text[2 * LIMIT_JSON_DEPTH + 4];
    struct reading r;
    (void)state;
    for (int32_t extra = 0; extra < 2; extra++) {
        int32_t depth = LIMIT_JSON_DEPTH + extra;
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        read_json(&r, text, 2 * (size_t)depth);
        assert_int_equal(r.status, extra == 0 ? SLM_OK : SLM_E_ARGUMENT);
        assert_true(extra == 0 || r.err.position == LIMIT_JSON_DEPTH);
        chat_end(&r.c);
    }
}

/* An object of many names is searched by halving, whatever they are. */
static void many_names_are_found(void **state)
{
    char *text = (char *)malloc(1 << 20);
    size_t n = 0;
    struct reading r;
    struct value v;
    (void)state;
    assert_non_null(text);
    text[n++] = '{';
    for (int i = 0; i < 20000; i++) {
        n += (size_t)sprintf(text + n, "%s\"k%d\": %d", i > 0 ? ", " : "", i * 7919 % 20000, i);
    }
    text[n++] = '}';
    read_json(&r, text, n);
    assert_int_equal(r.status, SLM_OK);
    for (int i = 0; i < 20000; i += 37) {
        char name[16];
        sprintf(name, "k%d", i * 7919 % 20000);
        assert_int_equal(dict_find_text(&r.c, r.v.u.d, text_of(name), &v), SLM_OK);
        assert_int_equal(v.kind, VALUE_INT);
        assert_int_equal(v.u.i, i);
    }
    chat_end(&r.c);
    free(text);
}

/* Reading and printing agree with the C library's, for any bits. */
static void numbers_are_exact(void **state)
{
    uint64_t x = 88172645463325252u;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        char text[64];
        char mine[64];
        uint64_t steps;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        double d = bits_to_f64(x & INT64_MAX);
        if (!math_is_finite(d)) {
            continue;
        }
        snprintf(text, sizeof text, "%.*e", i % 20, d);
        struct text t = {text, strlen(text)};
        double read = decimal_parse(t, &steps);
        assert_true(f64_to_bits(read) == f64_to_bits(strtod(text, NULL)));
        mine[decimal_print(d, mine)] = 0;
        assert_true(f64_to_bits(strtod(mine, NULL)) == f64_to_bits(d));
        /* No shorter one would do. */
        int digits = 0;
        while (snprintf(text, sizeof text, "%.*e", digits, d) > 0 &&
               f64_to_bits(strtod(text, NULL)) != f64_to_bits(d)) {
            digits++;
        }
        int printed = 0;
        for (const char *p = mine; *p != 0 && *p != 'e'; p++) {
            printed += *p >= '0' && *p <= '9';
        }
        assert_true(printed <= digits + 1 || strchr(mine, 'e') == NULL);
    }
}

static void any_memory_may_be_refused(void **state)
{
    static const char text[] = "{\"a\": [1, 2.5, \"x\\n\", {\"b\": null}], \"b\": \"\\u00e9\"}";
    struct text t = {text, sizeof text - 1};
    int status = SLM_E_MEMORY;
    (void)state;
    for (int64_t at = 1; status != SLM_OK; at++) {
        struct counting counting;
        struct value v;
        slm_error err;
        memset(&counting, 0, sizeof counting);
        counting.fail_at = at;
        struct memory memory = memory_make(counting_alloc, &counting, UINT64_MAX);
        struct chat c = chat_begin(&memory, &err);
        status = json_parse(&c, "test", t, &v);
        assert_true(status == SLM_OK || status == SLM_E_MEMORY);
        chat_end(&c);
        assert_int_equal(counting.n_blocks, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_as_python_has_them),
        cmocka_unit_test(errors_name_the_byte),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(many_names_are_found),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(any_memory_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
