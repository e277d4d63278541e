/* calls.h - calls of slm.h as tests make them over and over. Brings cmocka. */
#ifndef CALLS_H
#define CALLS_H

#include "../slm.h"
#include "testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static TESTING_UNUSED void must(int status, const slm_error *err)
{
    if (status != SLM_OK) {
        fail_msg("%s: %s", slm_status_name(status), err->message);
    }
}

/* Tokens behind what the sequence has. want: SLM_WANT_ */
static TESTING_UNUSED slm_span span_of(int32_t sequence, const int32_t *tokens, int32_t n,
                                       int32_t want)
{
    slm_span s;
    memset(&s, 0, sizeof s);
    s.struct_size = (uint32_t)sizeof s;
    s.sequence = sequence;
    s.position = -1;
    s.tokens = tokens;
    s.n_tokens = n;
    s.want = want;
    return s;
}

/* For threads and forked processes as well: asserts nothing. */
static TESTING_UNUSED int try_eval(slm_context *c, int32_t sequence, const int32_t *tokens,
                                   int32_t n, int32_t want, slm_error *err)
{
    slm_span s = span_of(sequence, tokens, n, want);
    return slm_eval(c, &s, 1, sizeof s, NULL, err);
}

static TESTING_UNUSED void eval(slm_context *c, int32_t sequence, const int32_t *tokens, int32_t n,
                                int32_t want)
{
    slm_error err;
    slm_span s = span_of(sequence, tokens, n, want);
    must(slm_eval(c, &s, 1, sizeof s, NULL, &err), &err);
    assert_int_equal(s.n_done, n);
}

#endif
