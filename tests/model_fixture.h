/* model_fixture.h - what tests of models and of files share: opening a model and freeing it with
 * every byte counted, failures told by status and message, small models with something odd in them.
 * It brings cmocka. */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include "counting.h"
#include "gguf_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static TESTING_UNUSED const int32_t tokens[5] = {3, 1, 4, 1, 5};

static TESTING_UNUSED void assert_says(const char *what, int status, const slm_error *err,
                                       int wanted, const char *a, const char *b)
{
    if (status != wanted || err->code != wanted || !tiny_says(err, a, b)) {
        fail_msg("%s: %s '%s', expected %s with '%s' and '%s'", what, slm_status_name(status),
                 err->message, slm_status_name(wanted), a != NULL ? a : "", b != NULL ? b : "");
    }
}

static TESTING_UNUSED void assert_all_freed(const struct counting *c)
{
    assert_int_equal(c->n_blocks, 0);
    assert_int_equal(c->now, 0);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static TESTING_UNUSED slm_model_options model_options(struct counting *c, uint32_t flags)
{
    slm_model_options o;
    slm_model_options_init(&o, sizeof o);
    o.flags = flags | SLM_LOAD_SURPLUS; /* tests put tensors of any name into files */
    if (c != NULL) {
        memset(c, 0, sizeof *c);
        o.alloc = counting_alloc;
        o.alloc_user = c;
    }
    return o;
}

/* A file on disk; where path is NULL, one in memory. */
static TESTING_UNUSED int open_file(slm_model **model, const char *path, const struct build *b,
                                    const slm_model_options *o, slm_error *err)
{
    return path != NULL ? slm_model_open(model, path, o, err) : tiny_open(model, b, o, err);
}

/* Opens, and frees again what opened. */
static TESTING_UNUSED int open_status(const struct build *b, const slm_model_options *o,
                                      slm_error *err)
{
    slm_model *model = NULL;
    int status = tiny_open(&model, b, o, err);
    assert_true((status == SLM_OK) == (model != NULL));
    slm_model_free(model);
    return status;
}

static TESTING_UNUSED slm_model *open_model(const struct build *b, const slm_model_options *o)
{
    slm_model *model = NULL;
    slm_error err;
    assert_says("opening", tiny_open(&model, b, o, &err), &err, SLM_OK, "", NULL);
    return model;
}

static TESTING_UNUSED slm_model *open_tiny(struct build *b)
{
    struct tiny t = tiny_default();
    tiny_build(b, &t);
    return open_model(b, NULL);
}

static TESTING_UNUSED void logits_of(const struct tiny *t, float row[TINY_VOCAB])
{
    struct build b;
    tiny_build(&b, t);
    slm_model *model = open_model(&b, NULL);
    assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, NULL), SLM_OK);
    slm_model_free(model);
    build_free(&b);
}

/* Opens while every request for memory in turn gets none: a status each time, and nothing is left.
 * Returns how many requests opening makes. */
static TESTING_UNUSED int64_t fail_each_request(const char *path, const struct build *b)
{
    int64_t at = 0;
    int status;
    do {
        struct counting c;
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, 0);
        slm_error err;
        c.fail_at = ++at;
        status = open_file(&model, path, b, &o, &err);
        if (status != SLM_OK) {
            assert_says("no memory", status, &err, SLM_E_MEMORY, "bytes", NULL);
            assert_null(model);
        }
        slm_model_free(model);
        assert_all_freed(&c);
    } while (status != SLM_OK);
    print_message("%lld points of failure\n", (long long)at - 1);
    return at - 1;
}

/* ---- Models ---------------------------------------------------------------------------------- */

/* The model of the repository as if it were built: b holds the bytes of the file alone. */
static TESTING_UNUSED void build_storyteller(struct build *b)
{
    build_init(b);
    b->file.data = (uint8_t *)testing_read(TESTING_STORYTELLER, &b->file.size);
    assert_non_null(b->file.data);
}

/* Matrices of that encoding, whose blocks are whatever bytes. */
static TESTING_UNUSED struct tiny any_bytes(int32_t type)
{
    struct tiny t = tiny_default();
    t.n_embd = 256;
    t.n_ff = 256;
    t.type = type;
    return t;
}

/* Two that no model uses. */
static TESTING_UNUSED void extra_tensors(struct build *b)
{
    int64_t shape[2] = {16, 2};
    build_tensor(b, "blk.0.attn_rot_embd.weight", 2, shape);
    build_tensor(b, "blk.0.attn_q.input_scale", 2, shape);
}

/* That no layer has a place for. */
static TESTING_UNUSED void surplus_tensors(struct build *b)
{
    int64_t shape[2] = {16, 2};
    build_tensor(b, "blk.0.attn_sub_norm.weight", 2, shape);
    build_tensor(b, "blk.7.attn_q.weight", 2, shape);
}

/* A vocabulary of six tokens, cut up by the rules named pre. */
static TESTING_UNUSED void bpe_keys(struct build *b, const char *pre)
{
    static const char *const texts[6] = {"a", "b", "c", "ab", "abc", "<|end|>"};
    static const char *const merges[2] = {"a b", "ab c"};
    static const int64_t types[6] = {1, 1, 1, 1, 1, 3};
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_text(b, "tokenizer.ggml.pre", pre);
    build_texts(b, "tokenizer.ggml.tokens", texts, 6);
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, types, 6);
    build_texts(b, "tokenizer.ggml.merges", merges, 2);
    build_int(b, "tokenizer.ggml.eos_token_id", SLM_TYPE_UINT32, 5);
    build_int(b, "tokenizer.ggml.bos_token_id", SLM_TYPE_UINT32, 5);
}

static TESTING_UNUSED void bpe_known(struct build *b)
{
    bpe_keys(b, "gpt-2");
}

#endif
