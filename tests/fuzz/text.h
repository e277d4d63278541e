/* text.h - what must hold of tokenising any text with any vocabulary, and back. */
#ifndef FUZZ_TEXT_H
#define FUZZ_TEXT_H

#include "fuzz.h"

/* Special tokens come of text only where the caller asks for them; but for the unknown one. */
static void text_no_control(const slm_model *model, const slm_model_info *info,
                            const int32_t *tokens, size_t n)
{
    slm_token_info t = {.struct_size = sizeof t};
    size_t first = n > 0 && info->add_bos && tokens[0] == info->bos_token;
    int is_bert = strcmp(info->tokenizer, "wordpiece") == 0;
    int32_t end = is_bert ? info->sep_token : info->eos_token;
    size_t last = n > first && info->add_eos && tokens[n - 1] == end;
    for (size_t i = first; i < n - last; i++) {
        fuzz_check(slm_token_get_info(model, tokens[i], &t, NULL) == SLM_OK, "token %d", tokens[i]);
        fuzz_check(t.kind != SLM_TOKEN_CONTROL || tokens[i] == info->unk_token,
                   "text gave control token %d", tokens[i]);
    }
}

/* The tokens of a text, to be freed; NULL if there are none to be had. */
static int32_t *text_tokens(const slm_model *model, const slm_model_info *info, const char *text,
                            size_t size, uint32_t flags, size_t *n)
{
    slm_error err;
    size_t again = 0;
    int status = slm_tokenize(model, text, size, flags, NULL, 0, n, &err);
    fuzz_status(status, &err);
    if (status != SLM_OK) {
        fuzz_check(status == SLM_E_UNSUPPORTED, "%s", err.message);
        return NULL;
    }
    /* A charsmap may make 23 characters of one. */
    size_t most = strcmp(info->tokenizer, "unigram") == 0 ? 24 : 4;
    fuzz_check(*n <= most * size + 8, "%zu tokens of %zu bytes", *n, size);
    int32_t *tokens = (int32_t *)malloc((*n + 1) * sizeof *tokens);
    fuzz_check(tokens != NULL, "no memory");
    memset(tokens, 0x7f, (*n + 1) * sizeof *tokens);
    if (*n > 0) {
        status = slm_tokenize(model, text, size, flags, tokens, *n - 1, &again, &err);
        fuzz_check(status == SLM_E_SPACE && again == *n, "%d, %zu of %zu", status, again, *n);
        fuzz_check(tokens[0] == 0x7f7f7f7f, "the buffer was touched");
    }
    status = slm_tokenize(model, text, size, flags, tokens, *n, &again, &err);
    fuzz_check(status == SLM_OK && again == *n, "%d, %zu of %zu", status, again, *n);
    fuzz_check(tokens[*n] == 0x7f7f7f7f, "one token too many");
    for (size_t i = 0; i < *n; i++) {
        fuzz_check(tokens[i] >= 0 && tokens[i] < info->n_vocab, "token %d", tokens[i]);
    }
    if ((flags & SLM_TEXT_SPECIAL) == 0) {
        text_no_control(model, info, tokens, *n);
    }
    return tokens;
}

/* The bytes of tokens, to be freed. */
static char *text_whole(const slm_model *model, const int32_t *tokens, size_t n, uint32_t flags,
                        size_t *size)
{
    slm_error err;
    size_t again = 0;
    int status = slm_detokenize(model, tokens, n, flags, NULL, 0, size, &err);
    fuzz_check(status == SLM_OK, "%s", err.message);
    char *text = (char *)malloc(*size + 1);
    fuzz_check(text != NULL, "no memory");
    memset(text, 0x7f, *size + 1);
    if (*size > 0) {
        status = slm_detokenize(model, tokens, n, flags, text, *size - 1, &again, &err);
        fuzz_check(status == SLM_E_SPACE && again == *size, "%d, %zu of %zu", status, again, *size);
        fuzz_check(text[0] == 0x7f, "the buffer was touched");
    }
    status = slm_detokenize(model, tokens, n, flags, text, *size, &again, &err);
    fuzz_check(status == SLM_OK && again == *size, "%d, %zu of %zu", status, again, *size);
    fuzz_check(text[*size] == 0x7f, "one byte too many");
    return text;
}

/* Token by token: whole characters at every step, and together the same as at once (where a
 * U+FFFD stands for what is no UTF-8). */
static void text_stream(const slm_model *model, const int32_t *tokens, size_t n, uint32_t flags,
                        const char *whole, size_t whole_size)
{
    slm_text_stream stream;
    slm_error err;
    size_t size = 0, at = 0;
    char *expected = fuzz_repair(whole, whole_size, &size);
    memset(&stream, 0, sizeof stream);
    for (size_t i = 0; i <= n; i++) {
        slm_text_stream before = stream;
        size_t needed = 0, again = 0;
        int32_t token = i < n ? tokens[i] : -1;
        int status = slm_decode_token(model, &stream, token, flags, NULL, 0, &needed, &err);
        fuzz_check(status == SLM_OK, "%s", err.message);
        fuzz_check(memcmp(&stream, &before, sizeof stream) == 0, "asking changed the stream");
        char *text = (char *)malloc(needed + 1);
        fuzz_check(text != NULL, "no memory");
        if (needed > 0) {
            status = slm_decode_token(model, &stream, token, flags, text, needed - 1, &again, &err);
            fuzz_check(status == SLM_E_SPACE && again == needed, "%d", status);
            fuzz_check(memcmp(&stream, &before, sizeof stream) == 0, "the stream went on");
        }
        status = slm_decode_token(model, &stream, token, flags, text, needed, &again, &err);
        fuzz_check(status == SLM_OK && again == needed, "%d, %zu of %zu", status, again, needed);
        fuzz_check(fuzz_is_utf8(text, needed), "step %zu", i);
        fuzz_check(needed <= size - at && memcmp(text, expected + at, needed) == 0,
                   "step %zu, token %d: other text at %zu", i, token, at);
        at += needed;
        free(text);
    }
    fuzz_check(at == size, "%zu of %zu bytes", at, size);
    free(expected);
}

/* Text and back with these flags. The stream cannot know which end token is the last one, and is
 * compared only where that makes no difference. */
static TESTING_UNUSED char *text_both_ways(const slm_model *model, const char *text, size_t size,
                                           uint32_t flags, size_t *back_size)
{
    slm_model_info info = {.struct_size = sizeof info};
    size_t n = 0;
    *back_size = 0;
    fuzz_check(slm_model_get_info(model, &info, NULL) == SLM_OK, "info");
    int32_t *tokens = text_tokens(model, &info, text, size, flags, &n);
    if (tokens == NULL) {
        return NULL;
    }
    char *back = text_whole(model, tokens, n, flags, back_size);
    if ((flags & SLM_TEXT_BOS) == 0 || !info.add_eos) {
        text_stream(model, tokens, n, flags, back, *back_size);
    }
    free(tokens);
    return back;
}

#endif
