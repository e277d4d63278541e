/* cmocka.h - the little of cmocka that our tests use, in a header: for targets that Debian has a
 * compiler for, but no cmocka. tests/portability.sh puts this folder before the system's. */
#ifndef PORTABILITY_CMOCKA_H
#define PORTABILITY_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef int (*cmocka_fixture)(void **state);

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    cmocka_fixture setup_func, teardown_func;
    void *initial_state;
};

#define cmocka_unit_test(f)                                                                        \
    {                                                                                              \
#f, f, NULL, NULL, NULL                                                                    \
    }
#define cmocka_unit_test_setup(f, setup)                                                           \
    {                                                                                              \
#f, f, setup, NULL, NULL                                                                   \
    }
#define cmocka_unit_test_teardown(f, teardown)                                                     \
    {                                                                                              \
#f, f, NULL, teardown, NULL                                                                \
    }
#define cmocka_unit_test_setup_teardown(f, setup, teardown)                                        \
    {                                                                                              \
#f, f, setup, teardown, NULL                                                               \
    }

#define CMOCKA_FAILED 1
#define CMOCKA_SKIPPED 2

static jmp_buf cmocka_jump;

static void cmocka_leave(int why, const char *file, int line)
{
    if (why == CMOCKA_FAILED) {
        printf("%s:%d: failed\n", file, line);
    }
    longjmp(cmocka_jump, why);
}

static __attribute__((unused)) void cmocka_check(int ok, const char *what, const char *file,
                                                 int line)
{
    if (!ok) {
        printf("not so: %s\n", what);
        cmocka_leave(CMOCKA_FAILED, file, line);
    }
}

static __attribute__((unused)) void cmocka_equal(uintmax_t a, uintmax_t b, const char *what,
                                                 const char *file, int line)
{
    if (a != b) {
        printf("%s: %jd, not %jd\n", what, (intmax_t)a, (intmax_t)b);
        cmocka_leave(CMOCKA_FAILED, file, line);
    }
}

static __attribute__((unused)) void cmocka_range(uintmax_t value, uintmax_t low, uintmax_t high,
                                                 const char *file, int line)
{
    if (value < low || value > high) {
        printf("%ju is not within %ju to %ju\n", value, low, high);
        cmocka_leave(CMOCKA_FAILED, file, line);
    }
}

#define CMOCKA_CHECK(ok, what) cmocka_check(ok, what, __FILE__, __LINE__)
#define assert_true(x) CMOCKA_CHECK(!!(x), #x)
#define assert_false(x) CMOCKA_CHECK(!(x), "not " #x)
#define assert_null(p) CMOCKA_CHECK((p) == NULL, #p " is NULL")
#define assert_non_null(p) CMOCKA_CHECK((p) != NULL, #p " is not NULL")
#define assert_ptr_equal(a, b) CMOCKA_CHECK((a) == (b), #a " is " #b)
#define assert_int_equal(a, b) cmocka_equal((uintmax_t)(a), (uintmax_t)(b), #a, __FILE__, __LINE__)
#define assert_int_not_equal(a, b) CMOCKA_CHECK((uintmax_t)(a) != (uintmax_t)(b), #a " is not " #b)
#define assert_in_range(x, low, high)                                                              \
    cmocka_range((uintmax_t)(x), (uintmax_t)(low), (uintmax_t)(high), __FILE__, __LINE__)
#define assert_memory_equal(a, b, n) CMOCKA_CHECK(memcmp(a, b, n) == 0, #a " has the bytes of " #b)
#define assert_memory_not_equal(a, b, n)                                                           \
    CMOCKA_CHECK(memcmp(a, b, n) != 0, #a " has other bytes than " #b)
#define assert_string_equal(a, b) CMOCKA_CHECK(strcmp(a, b) == 0, #a " is the text " #b)
#define print_message printf
#define print_error(...) fprintf(stderr, __VA_ARGS__)
#define fail_msg(...) (printf(__VA_ARGS__), printf("\n"), fail())
#define fail() cmocka_leave(CMOCKA_FAILED, __FILE__, __LINE__)
#define skip() cmocka_leave(CMOCKA_SKIPPED, __FILE__, __LINE__)

static int cmocka_run_one(const struct CMUnitTest *t)
{
    void *state = t->initial_state;
    int result = t->setup_func != NULL && t->setup_func(&state) != 0 ? CMOCKA_FAILED : 0;
    if (result == 0) {
        /* setjmp may stand only where a controlling expression is. */
        switch (setjmp(cmocka_jump)) {
        case 0:
            t->test_func(&state);
            break;
        case CMOCKA_SKIPPED:
            result = CMOCKA_SKIPPED;
            break;
        default:
            result = CMOCKA_FAILED;
            break;
        }
    }
    if (t->teardown_func != NULL && t->teardown_func(&state) != 0) {
        result = CMOCKA_FAILED;
    }
    return result;
}

/* The lines that tests/run.sh counts, as the real one prints them. */
static int cmocka_run(const struct CMUnitTest *tests, size_t n, cmocka_fixture setup,
                      cmocka_fixture teardown)
{
    static const char *const words[3] = {"[  PASSED  ]", "[  FAILED  ]", "[  SKIPPED ]"};
    void *state = NULL;
    int counts[3] = {0, 0, 0}; /* of what cmocka_run_one says */
    if (setup != NULL && setup(&state) != 0) {
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        int result = cmocka_run_one(&tests[i]);
        counts[result]++;
        if (result == CMOCKA_FAILED) {
            printf("[  FAILED  ] %s\n", tests[i].name);
        }
        fflush(stdout);
    }
    if (teardown != NULL && teardown(&state) != 0) {
        counts[CMOCKA_FAILED]++;
    }
    for (int i = 0; i < 3; i++) {
        if (counts[i] > 0) {
            printf("%s %d test(s).\n", words[i], counts[i]);
        }
    }
    return counts[CMOCKA_FAILED];
}

#define CMOCKA_COUNT(tests) (sizeof(tests) / sizeof((tests)[0]))
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cmocka_run(tests, CMOCKA_COUNT(tests), setup, teardown)
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                  \
    cmocka_run(tests, CMOCKA_COUNT(tests), setup, teardown)

#endif
