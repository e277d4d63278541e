/* walk.h - goes through a model that a fuzzer opened: info, all metadata, all tensors, all tokens,
 * tokenising, a context, a prefill and eight decode steps. */
#ifndef FUZZ_WALK_H
#define FUZZ_WALK_H

#include "fuzz.h"

#define WALK_ELEMENTS 4096 /* of an array that are looked at */
#define WALK_CONTEXT_BYTES ((uint64_t)16 << 20)
#define WALK_POSITIONS 16

/* Every byte of a text must be there to be read. */
static uint64_t walk_sum;

static void walk_text(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        walk_sum += (uint8_t)text[i];
    }
}

static void walk_metadata(const slm_model *model, int32_t n)
{
    slm_metadata v = {.struct_size = sizeof v};
    slm_error err;
    for (int32_t i = 0; i < n; i++) {
        uint64_t count = 1;
        for (uint64_t k = 0; k < count && k < WALK_ELEMENTS; k++) {
            fuzz_check(slm_model_metadata(model, i, k, &v, &err) == SLM_OK, "%s", err.message);
            count = v.count;
            walk_text(v.key, v.key_size);
            walk_text(v.text, v.text_size);
        }
        if (count < WALK_ELEMENTS) {
            int status = slm_model_metadata(model, i, count > 0 ? count : 1, &v, &err);
            fuzz_check(status == SLM_E_ARGUMENT, "element %llu", (unsigned long long)count);
        }
    }
    fuzz_check(slm_model_metadata(model, n, 0, &v, &err) == SLM_E_ARGUMENT, "key %d", n);
}

static void walk_tensors(const slm_model *model, int32_t n, const size_t *sizes, int32_t n_files)
{
    slm_tensor_info t = {.struct_size = sizeof t};
    slm_encoding_info e = {.struct_size = sizeof e};
    slm_error err;
    for (int32_t i = 0; i < n; i++) {
        fuzz_check(slm_model_tensor(model, i, &t, &err) == SLM_OK, "%s", err.message);
        walk_text(t.name, t.name_size);
        fuzz_check(slm_encoding_find(t.type, NULL, &e, &err) == SLM_OK, "type %d", t.type);
        fuzz_check(t.file >= 0 && t.file < n_files, "file %d", t.file);
        fuzz_check(t.offset <= sizes[t.file] && t.size <= sizes[t.file] - t.offset,
                   "%llu bytes at %llu", (unsigned long long)t.size, (unsigned long long)t.offset);
        int64_t rows = t.shape[1] * t.shape[2] * t.shape[3];
        fuzz_check(t.shape[0] % e.block_elements == 0, "a row of %lld", (long long)t.shape[0]);
        fuzz_check((uint64_t)(t.shape[0] / e.block_elements * e.block_bytes * rows) == t.size,
                   "%llu bytes", (unsigned long long)t.size);
    }
}

/* Tokenises a text with all flags and goes back; only that it comes to an end is asked here. */
static void walk_tokenize(const slm_model *model, const char *text, size_t size)
{
    int32_t tokens[256];
    char out[1024];
    slm_error err;
    for (uint32_t flags = 0; flags < 4; flags++) {
        size_t n = 0, n_out = 0;
        int status = slm_tokenize(model, text, size, flags, tokens, 256, &n, &err);
        fuzz_status(status, &err);
        if (status == SLM_OK) {
            status = slm_detokenize(model, tokens, n, flags, out, sizeof out, &n_out, &err);
            fuzz_status(status, &err);
        }
    }
}

static void walk_tokens(const slm_model *model, int32_t n)
{
    slm_token_info t = {.struct_size = sizeof t};
    slm_text_stream stream;
    slm_error err;
    memset(&stream, 0, sizeof stream);
    for (int32_t i = 0; i < n && i < WALK_ELEMENTS; i++) {
        int32_t found = -1;
        size_t needed = 0;
        int status = slm_token_get_info(model, i, &t, &err);
        fuzz_status(status, &err);
        if (status != SLM_OK) {
            return;
        }
        walk_text(t.text, t.text_size);
        if (t.text_size > 0) {
            fuzz_check(slm_token_find(model, t.text, t.text_size, &found, &err) == SLM_OK &&
                           found >= 0 && found <= i,
                       "token %d is found as %d", i, found);
        }
        char *text = (char *)malloc(SLM_DECODE_MAX(t.text_size));
        fuzz_check(text != NULL, "no memory");
        status = slm_decode_token(model, &stream, i, SLM_TEXT_SPECIAL, text,
                                  SLM_DECODE_MAX(t.text_size), &needed, &err);
        fuzz_check(status == SLM_OK || status == SLM_E_UNSUPPORTED, "%s", err.message);
        fuzz_check(status != SLM_OK || fuzz_is_utf8(text, needed), "token %d", i);
        free(text);
    }
}

static int walk_eval(slm_context *context, const int32_t *tokens, int32_t n, slm_error *err)
{
    slm_span span = {.struct_size = sizeof span};
    span.position = -1;
    span.n_tokens = n;
    span.tokens = tokens;
    span.want = SLM_WANT_LAST;
    return slm_eval(context, &span, 1, sizeof span, NULL, err);
}

static void walk_run(slm_model *model, int32_t n_vocab, struct fuzz_memory *memory)
{
    slm_context_options o;
    slm_context *context = NULL;
    slm_sampler *sampler = NULL;
    slm_plan plan = {.struct_size = sizeof plan};
    slm_error err;
    const float *logits = NULL;
    int32_t tokens[5] = {0, 1, n_vocab - 1, n_vocab / 2, n_vocab};
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = WALK_POSITIONS;
    o.n_batch = 4;
    o.n_threads = 1;
    o.alloc = fuzz_alloc;
    o.alloc_user = memory;
    o.max_bytes = WALK_CONTEXT_BYTES;
    tokens[1] = n_vocab > 1 ? 1 : 0;
    int planned = slm_plan_memory(model, &o, &plan, &err);
    fuzz_status(planned, &err);
    int status = slm_context_create(&context, model, &o, &err);
    fuzz_status(status, &err);
    fuzz_check((status == SLM_OK) == (context != NULL), "%d and a context", status);
    if (status == SLM_OK) {
        fuzz_check(slm_sampler_create(&sampler, model, NULL, 0, 0, NULL, &err) == SLM_OK, "%s",
                   err.message);
        fuzz_check(walk_eval(context, tokens + 4, 1, &err) == SLM_E_ARGUMENT, "a token too large");
        status = walk_eval(context, tokens, 4, &err);
        fuzz_check(status == SLM_OK, "%s", err.message);
    }
    for (int step = 0; step < 8 && status == SLM_OK; step++) {
        int32_t next = -1;
        fuzz_check(slm_logits(context, -1, &logits, &err) == SLM_OK, "%s", err.message);
        int chosen = slm_sample(sampler, logits, n_vocab, &next, &err);
        fuzz_check(chosen == SLM_OK || chosen == SLM_E_NUMERIC, "%s", err.message);
        next = chosen == SLM_OK ? next : step % n_vocab;
        fuzz_check(next >= 0 && next < n_vocab, "token %d of %d", next, n_vocab);
        status = walk_eval(context, &next, 1, &err);
        fuzz_check(status == SLM_OK, "%s", err.message);
    }
    slm_sampler_free(sampler);
    slm_context_free(context);
}

/* Everything; the model is still open behind it. */
static TESTING_UNUSED void walk_model(slm_model *model, const size_t *sizes, int32_t n_files,
                                      struct fuzz_memory *memory)
{
    static const char text[] = "<s>Hello w\xc3\xb6rld \xff\xe2\x96\x81</s>\n 123";
    slm_model_info info = {.struct_size = sizeof info};
    slm_error err;
    fuzz_check(slm_model_get_info(model, &info, &err) == SLM_OK, "%s", err.message);
    walk_text(info.family, strlen(info.family));
    walk_text(info.name, strlen(info.name));
    walk_text(info.chat_template, info.chat_template != NULL ? strlen(info.chat_template) : 0);
    walk_metadata(model, info.n_metadata);
    walk_tensors(model, info.n_tensors, sizes, n_files);
    walk_tokens(model, info.n_vocab);
    walk_tokenize(model, text, sizeof text - 1);
    if (info.n_vocab > 0) {
        walk_run(model, info.n_vocab, memory);
    }
}

#endif
