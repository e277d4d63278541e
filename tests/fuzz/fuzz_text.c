/* fuzz_text.c - any text for three good vocabularies, chosen by the first byte: the storyteller's,
 * which is byte-level, a small one of SentencePiece's kind and a small byte-level one. A text comes back as it was. */
#include "text.h"

#include "vocabs.h"

static slm_model *vocabulary(int which)
{
    static slm_model *models[3];
    struct build b;
    slm_error err;
    if (models[which] != NULL) {
        return models[which];
    }
    slm_model_options o;
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    if (which == 0 && testing_exists(TESTING_STORYTELLER)) {
        fuzz_check(slm_model_open(&models[0], TESTING_STORYTELLER, &o, &err) == SLM_OK, "%s",
                   err.message);
        return models[0];
    }
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    (which == 2 ? vocab_bpe : vocab_spm)(&b);
    build_finish(&b);
    o.flags |= SLM_LOAD_READ;
    fuzz_check(tiny_open(&models[which], &b, &o, &err) == SLM_OK, "%s", err.message);
    build_free(&b);
    return models[which];
}

/* What a text comes back as, to be freed. To SentencePiece U+2581 is a space; byte-level BPE reads
 * characters, and each byte that is part of none as U+FFFD. */
static char *expected_back(const slm_model *model, const char *text, size_t size, size_t *n)
{
    slm_model_info info = {.struct_size = sizeof info};
    char *out = (char *)malloc(3 * size + 1);
    fuzz_check(out != NULL && slm_model_get_info(model, &info, NULL) == SLM_OK, "no memory");
    int is_spm = strcmp(info.tokenizer, "spm") == 0;
    *n = 0;
    for (size_t at = 0; at < size;) {
        size_t bad;
        size_t length = fuzz_char((const uint8_t *)text + at, size - at, &bad);
        const char *from = text + at;
        at += length > 0 ? length : 1;
        if (is_spm && length == 3 && memcmp(from, "\xE2\x96\x81", 3) == 0) {
            from = " ";
            length = 1;
        } else if (length == 0) {
            from = is_spm ? from : "\xEF\xBF\xBD";
            length = is_spm ? 1 : 3;
        }
        memcpy(out + *n, from, length);
        *n += length;
    }
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size, 0};
    slm_model *model = vocabulary(fuzz_u8(&in) % 3);
    size_t n = 0;
    clock_t begin = clock();
    const char *rest = fuzz_rest(&in, &n);
    char *text = (char *)fuzz_copy(rest, n);
    size_t n_expected = 0;
    char *expected = expected_back(model, text, n, &n_expected);
    for (uint32_t flags = 0; flags < 4; flags++) {
        size_t back_size = 0;
        char *back = text_both_ways(model, text, n, flags, &back_size);
        fuzz_check(back != NULL, "no tokens");
        if ((flags & SLM_TEXT_BOS) != 0) {
            fuzz_check(back_size == n_expected && memcmp(back, expected, n_expected) == 0,
                       "flags %u: '%.*s' came back as '%.*s'", flags, (int)n_expected, expected,
                       (int)back_size, back);
        }
        free(back);
    }
    free(text);
    free(expected);
    fuzz_in_time(begin);
    return 0;
}
