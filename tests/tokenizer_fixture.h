/* tokenizer_fixture.h - what the tests of tokenizers share: text to ids and ids to text, both asked
 * for their size first, and what is expected of them. It brings cmocka. */
#ifndef TOKENIZER_FIXTURE_H
#define TOKENIZER_FIXTURE_H

#include "../slm.h"
#include "testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct ids {
    int32_t *data;
    size_t n;
};

/* The tokens of the text, to be freed. */
static TESTING_UNUSED struct ids test_tokenize(const slm_model *model, const char *text, size_t n,
                                               uint32_t flags)
{
    slm_error err;
    struct ids ids = {NULL, 0};
    int status = slm_tokenize(model, text, n, flags, NULL, 0, &ids.n, &err);
    assert_int_equal(status, SLM_OK);
    size_t needed = ids.n;
    ids.data = (int32_t *)malloc((ids.n + 1) * sizeof *ids.data);
    if (slm_tokenize(model, text, n, flags, ids.data, ids.n, &ids.n, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(ids.n, needed);
    return ids;
}

static TESTING_UNUSED void expect_ids(const slm_model *model, const char *text, uint32_t flags,
                                      const int32_t *want, size_t n)
{
    struct ids got = test_tokenize(model, text, strlen(text), flags);
    if (got.n != n || (n > 0 && memcmp(got.data, want, n * sizeof *want) != 0)) {
        printf("'%s' gives", text);
        for (size_t i = 0; i < got.n; i++) {
            printf(" %d", (int)got.data[i]);
        }
        fail_msg(", which is not wanted");
    }
    free(got.data);
}

#define EXPECT(model, text, flags, ...)                                                            \
    do {                                                                                           \
        const int32_t want_ids[] = {__VA_ARGS__};                                                  \
        expect_ids(model, text, flags, want_ids, sizeof want_ids / sizeof want_ids[0]);            \
    } while (0)

/* The text of the tokens, to be freed. */
static TESTING_UNUSED char *test_text(const slm_model *model, struct ids ids, uint32_t flags,
                                      size_t *n)
{
    slm_error err;
    int status = slm_detokenize(model, ids.data, ids.n, flags, NULL, 0, n, &err);
    assert_int_equal(status, SLM_OK);
    char *text = (char *)malloc(*n + 1);
    assert_int_equal(slm_detokenize(model, ids.data, ids.n, flags, text, *n, n, &err), SLM_OK);
    text[*n] = 0;
    return text;
}

static TESTING_UNUSED void expect_text(const slm_model *model, const int32_t *ids, size_t n,
                                       uint32_t flags, const char *want)
{
    struct ids copy = {NULL, n};
    copy.data = (int32_t *)malloc((n + 1) * sizeof *ids);
    memcpy(copy.data, ids, n * sizeof *ids);
    size_t size = 0;
    char *text = test_text(model, copy, flags, &size);
    assert_string_equal(text, want);
    free(text);
    free(copy.data);
}

#define EXPECT_TEXT(model, flags, want, ...)                                                       \
    do {                                                                                           \
        const int32_t some_ids[] = {__VA_ARGS__};                                                  \
        expect_text(model, some_ids, sizeof some_ids / sizeof some_ids[0], flags, want);           \
    } while (0)

#endif
