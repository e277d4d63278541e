/* test_tokenizer.c - text to tokens and back, through slm.h: real vocabularies with vectors where
 * they are at hand, pieces of every pre-tokenizer, and the model of the repository. The rules of
 * vocabularies, one by one, are the subject of test_vocab.c and test_tokenizer_kinds.c. */
#include "../slm.c"

#include "tokenizer_fixture.h"

#define VOCAB_PATH "../shared/vocab/ggml-vocab-"
#define SEPARATOR "\n__ggml_vocab_test__\n"

static slm_model *test_open(const char *path)
{
    slm_error err;
    slm_model_options o;
    slm_model *model = NULL;
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    if (slm_model_open(&model, path, &o, &err) != SLM_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    return model;
}

static int is_utf8(const char *s, size_t n)
{
    size_t at = 0;
    while (at < n) {
        uint32_t point = 0;
        int missing = 0;
        at += unicode_scan((const uint8_t *)s + at, n - at, &point, &missing);
        if (missing != 0) {
            return 0;
        }
    }
    return 1;
}

/* What decoding token by token gives, to be freed; every piece is whole characters. */
static char *test_stream(const slm_model *model, struct ids ids, uint32_t flags, size_t *n)
{
    slm_error err;
    slm_text_stream stream;
    size_t capacity = ids.n * 64 + 256;
    char *text = (char *)malloc(capacity);
    memset(&stream, 0, sizeof stream);
    *n = 0;
    for (size_t i = 0; i <= ids.n; i++) {
        size_t got = 0;
        int32_t token = i < ids.n ? ids.data[i] : -1;
        assert_int_equal(
            slm_decode_token(model, &stream, token, flags, text + *n, capacity - *n, &got, &err),
            SLM_OK);
        assert_true(is_utf8(text + *n, got));
        *n += got;
    }
    return text;
}

static void expect_round_trip(const slm_model *model, const char *text, size_t n)
{
    struct ids ids = test_tokenize(model, text, n, SLM_TEXT_BOS);
    size_t size = 0;
    char *back = test_text(model, ids, SLM_TEXT_BOS, &size);
    assert_int_equal(size, n);
    assert_memory_equal(back, text, n);
    free(back);
    back = test_stream(model, ids, SLM_TEXT_BOS, &size);
    assert_int_equal(size, n);
    assert_memory_equal(back, text, n);
    free(back);
    free(ids.data);
}

/* n random characters of all lengths and kinds, but for U+2581. Returns the bytes written. */
static size_t random_text(uint8_t *out, size_t n, uint64_t *state)
{
    static const uint32_t limits[] = {0x7f, 0x7f, 0x7ff, 0x3fff, 0xffff, 0x1ffff, 0x10ffff};
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = testing_random(state);
        uint32_t point = (uint32_t)((r >> 8) % (limits[r % 7] + 1));
        point = (point >= 0xd800 && point < 0xe000) || point == 0x2581 ? ' ' : point;
        used += unicode_encode(point, out + used);
    }
    return used;
}

/* ---- Vectors --------------------------------------------------------------------------------- */

/* Ids of a line of the .out file; returns where the next line begins. */
static const char *parse_line(const char *line, int32_t *ids, size_t capacity, size_t *n)
{
    *n = 0;
    while (*line != 0 && *line != '\n') {
        char *end = NULL;
        long id = strtol(line, &end, 10);
        assert_true(end > line && *n < capacity);
        ids[(*n)++] = (int32_t)id;
        line = end;
        while (*line == ' ') {
            line++;
        }
    }
    return line + (*line == '\n');
}

static size_t parse_hex(const char *hex, char *out)
{
    size_t n = 0;
    for (; vocab_hex_digit((uint8_t)hex[2 * n]) >= 0; n++) {
        out[n] = (char)(vocab_hex_digit((uint8_t)hex[2 * n]) * 16 +
                        vocab_hex_digit((uint8_t)hex[2 * n + 1]));
    }
    return n;
}

static void expect_vectors(const char *name, int n_tests)
{
    char path[256];
    int32_t want[2048];
    size_t size = 0;
    size_t n_want = 0;
    snprintf(path, sizeof path, "%s%s.gguf", VOCAB_PATH, name);
    TESTING_NEEDS(path);
    slm_model *model = test_open(path);
    snprintf(path, sizeof path, "%s%s.gguf.inp", VOCAB_PATH, name);
    char *input = testing_read(path, &size);
    snprintf(path, sizeof path, "%s%s.gguf.out", VOCAB_PATH, name);
    char *output = testing_read(path, &size);
    assert_true(input != NULL && output != NULL);
    const char *line = output;
    int tests = 0;
    for (char *text = input, *end; *text != 0; tests++) { /* the last one may lack its separator */
        end = strstr(text, SEPARATOR);
        end = end != NULL ? end : strchr(text, 0);
        int is_last = *end == 0;
        *end = 0;
        line = parse_line(line, want, sizeof want / sizeof want[0], &n_want);
        expect_ids(model, text, 0, want, n_want);
        text = is_last ? end : end + strlen(SEPARATOR);
    }
    assert_int_equal(tests, n_tests);
    free(input);
    free(output);
    slm_model_free(model);
}

#define VECTORS(name, vocabulary, n)                                                               \
    static void vectors_of_##name(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        expect_vectors(vocabulary, n);                                                             \
    }

VECTORS(llama_bpe, "llama-bpe", 46)
VECTORS(qwen2, "qwen2", 46)
VECTORS(qwen35, "qwen35", 50)
VECTORS(gpt_2, "gpt-2", 46)
VECTORS(mpt, "mpt", 46)
VECTORS(starcoder, "starcoder", 46)
VECTORS(refact, "refact", 46)
VECTORS(command_r, "command-r", 46)
VECTORS(falcon, "falcon", 46)
VECTORS(deepseek_coder, "deepseek-coder", 46)
VECTORS(llama_spm, "llama-spm", 46)
VECTORS(phi_3, "phi-3", 46)
VECTORS(deepseek_llm, "deepseek-llm", 46)
VECTORS(gemma_4, "gemma-4", 46)
VECTORS(bert_bge, "bert-bge", 46)

/* tests/golden/unigram.txt was made by SentencePiece. */
static void unigram_gives_what_sentencepiece_does(void **state)
{
    int32_t want[2048];
    size_t size = 0;
    size_t n_want = 0;
    int n_lines = 0;
    (void)state;
    TESTING_NEEDS(VOCAB_PATH "nomic-bert-moe.gguf");
    slm_model *model = test_open(VOCAB_PATH "nomic-bert-moe.gguf");
    char *file = testing_read("tests/golden/unigram.txt", &size);
    assert_non_null(file);
    for (char *line = file, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char text[4096];
        if (line[0] == '#') {
            continue;
        }
        *end = 0;
        size_t n = parse_hex(line, text);
        text[n] = 0;
        parse_line(line + 2 * n + (line[2 * n] == ' '), want, sizeof want / sizeof want[0],
                   &n_want);
        expect_ids(model, text, 0, want, n_want);
        n_lines++;
    }
    assert_true(n_lines > 60);
    free(file);
    slm_model_free(model);
}

/* Files of which nobody has vectors. */
static void others_load_and_say_what_they_are(void **state)
{
    static const struct {
        const char *name, *tokenizer;
        int32_t pre_status;
    } want[] = {
        {"gpt-neox", "bpe", SLM_PRE_MISSING},    {"nomic-bert-moe", "unigram", SLM_PRE_NONE},
        {"llama-bpe", "bpe", SLM_PRE_KNOWN},     {"llama-spm", "spm", SLM_PRE_NONE},
        {"bert-bge", "wordpiece", SLM_PRE_NONE}, {"gemma-4", "bpe", SLM_PRE_KNOWN}};
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(want); i++) {
        char path[256];
        slm_model_info info;
        snprintf(path, sizeof path, "%s%s.gguf", VOCAB_PATH, want[i].name);
        TESTING_NEEDS(path);
        slm_model *model = test_open(path);
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
        assert_string_equal(info.tokenizer, want[i].tokenizer);
        assert_int_equal(info.pre_status, want[i].pre_status);
        struct ids ids = test_tokenize(model, "Hello world", 11, SLM_TEXT_BOS);
        assert_true(ids.n >= 2 && ids.n <= 4);
        free(ids.data);
        slm_model_free(model);
    }
}

/* ---- Pre-tokenizers -------------------------------------------------------------------------- */

/* tests/golden/pretokenize.txt was cut by a regular expression engine. */
static void pieces_are_those_of_the_regular_expressions(void **state)
{
    size_t size = 0;
    char *file = testing_read("tests/golden/pretokenize.txt", &size);
    int n_lines = 0;
    (void)state;
    assert_non_null(file);
    for (char *line = file, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char text[2048];
        if (line[0] == '#') {
            continue;
        }
        *end = 0;
        char *hex = strchr(line, ' ') + 1;
        struct text name = {line, (size_t)(hex - line - 1)};
        const struct pretokenizer *p = pretokenizer_find(name);
        assert_non_null(p);
        assert_true((size_t)(end - hex) < 2 * sizeof text);
        struct text whole = {text, parse_hex(hex, text)};
        struct text piece;
        struct pre_cursor cursor;
        char *want = hex + 2 * whole.n;
        pretokenize_begin(&cursor, p, whole);
        while (pretokenize_next(&cursor, &piece)) {
            unsigned long n = strtoul(want, &want, 10);
            if (n != piece.n) {
                fail_msg("%s: a piece of %zu bytes, not %lu, at byte %td", line, piece.n, n,
                         piece.s - text);
            }
        }
        assert_int_equal(*want, 0);
        n_lines++;
    }
    assert_true(n_lines > 300);
    free(file);
}

/* Long runs of anything, and of what looks like the beginning of something. Where a matcher scans
 * ahead for nothing, this takes hours. */
static void every_pretokenizer_takes_long_runs_in_its_stride(void **state)
{
    static const char *const patterns[] = {"1",
                                           "a",
                                           "A",
                                           " ",
                                           "\n",
                                           "!",
                                           "'",
                                           "$",
                                           "\x01",
                                           "\xCC\x81",
                                           "\xE6\xBC\xA2",
                                           " 1",
                                           " \n",
                                           "\n ",
                                           "a1",
                                           "'s",
                                           ("\xE6\xBC\xA2"
                                            "A"),
                                           "A\xCC\x81",
                                           "1 \n!",
                                           "\xD9\xA3",
                                           "\xFF"};
    const size_t n = 200000;
    char *text = (char *)malloc(n);
    (void)state;
    for (int32_t i = 1; i < SLM_COUNT(pretokenizers); i++) {
        if (pretokenizers[i].group == pretokenizers[i - 1].group) {
            continue;
        }
        for (int32_t k = 0; k < SLM_COUNT(patterns); k++) {
            struct text whole = {text, n};
            struct text piece;
            struct pre_cursor cursor;
            size_t sum = 0;
            for (size_t at = 0; at < n; at++) {
                text[at] = patterns[k][at % strlen(patterns[k])];
            }
            text[n - 1] = k % 2 == 0 ? 'x' : ' ';
            pretokenize_begin(&cursor, &pretokenizers[i], whole);
            while (pretokenize_next(&cursor, &piece)) {
                assert_true(piece.n > 0 && piece.s == text + sum);
                sum += piece.n;
            }
            assert_int_equal(sum, n);
        }
    }
    free(text);
}

/* ---- The model of the repository ------------------------------------------------------------- */

static void byte_level_text_comes_back(void **state)
{
    static const char *const texts[] = {"Once upon a time, there was a little girl.",
                                        "  two  spaces \n\n and\tlines \r\n",
                                        "Äpfel, 漢字, かな, 한국어, עברית",
                                        "हिन्दी and 🚀👩‍👩‍👧",
                                        "1234567 3.14 don't I'LL",
                                        "<|im_start|>user\n<|endoftext|>",
                                        " ",
                                        "\n",
                                        "a"};
    slm_model *model = test_open(TESTING_STORYTELLER);
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        expect_round_trip(model, texts[i], strlen(texts[i]));
    }
    expect_round_trip(model, "a\0b\0", 4);
    slm_model_free(model);
}

/* The families whose tokens give back every valid text; but for U+2581, which is a space to
 * SentencePiece and Gemma 4. */
static const char *const reversible[] = {TESTING_STORYTELLER, VOCAB_PATH "llama-spm.gguf",
                                         VOCAB_PATH "gemma-4.gguf", VOCAB_PATH "llama-bpe.gguf",
                                         VOCAB_PATH "qwen35.gguf"};

static void expect_file_round_trip(const char *path)
{
    size_t size = 0;
    TESTING_NEEDS(path);
    char *text = testing_read(path, &size);
    for (int32_t i = 0; i < SLM_COUNT(reversible); i++) {
        if (testing_exists(reversible[i])) {
            slm_model *model = test_open(reversible[i]);
            expect_round_trip(model, text, size);
            slm_model_free(model);
        }
    }
    free(text);
}

#define ROUND_TRIP(name, file)                                                                     \
    static void name##_comes_back(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        expect_file_round_trip("../shared/text/" file);                                            \
    }

ROUND_TRIP(a_novel, "frankenstein.txt")
ROUND_TRIP(an_encyclopedia, "wikitext-2-raw.wiki.test.raw")
ROUND_TRIP(a_play, "tinyshakespeare.txt")
ROUND_TRIP(a_book_of_stories, "tinystories-train-head-200k.txt")

static void any_characters_come_back(void **state)
{
    static uint8_t buffer[4096];
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(reversible); i++) {
        uint64_t random = 3;
        if (!testing_exists(reversible[i])) {
            continue;
        }
        slm_model *model = test_open(reversible[i]);
        for (int run = 0; run < 500; run++) {
            expect_round_trip(model, (char *)buffer, random_text(buffer, 200, &random));
        }
        slm_model_free(model);
    }
}

/* Text is cut where no merge joins two characters. A vocabulary that joins them all is not cut, and
 * merges to the same. */
static void cutting_changes_no_token(void **state)
{
    size_t size = 0;
    char *text = testing_read("README.md", &size);
    uint64_t random = 4;
    (void)state;
    assert_non_null(text);
    size = size < 8000 ? size : 8000;
    text = (char *)realloc(text, size + 80000);
    assert_non_null(text);
    size += random_text((uint8_t *)text + size, 4000, &random);
    for (size_t i = 0; i < 4000; i++) {
        text[size++] = "abcdefghij \xE2\x96\x81>/<\xFF"[testing_random(&random) % 18];
    }
    for (int32_t i = 0; i < SLM_COUNT(reversible); i++) {
        if (!testing_exists(reversible[i])) {
            continue;
        }
        slm_model *model = test_open(reversible[i]);
        struct ids cut = test_tokenize(model, text, size, 0);
        memset(model->vocab.joins, 0xff, sizeof model->vocab.joins);
        struct ids whole = test_tokenize(model, text, size, 0);
        assert_int_equal(cut.n, whole.n);
        assert_memory_equal(cut.data, whole.data, cut.n * sizeof *cut.data);
        free(cut.data);
        free(whole.data);
        slm_model_free(model);
    }
    free(text);
}

static void special_tokens_in_text_are_text_unless_asked_for(void **state)
{
    static const char *const names[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    const char text[] = "A<|im_end|>\n<|im_start|>B";
    slm_model *model = test_open(TESTING_STORYTELLER);
    (void)state;
    struct ids ids = test_tokenize(model, text, strlen(text), 0);
    for (size_t i = 0; i < ids.n; i++) {
        assert_true(ids.data[i] < 2045);
    }
    free(ids.data);
    for (int32_t i = 0; i < 3; i++) {
        EXPECT(model, names[i], SLM_TEXT_SPECIAL, 2045 + i);
    }
    ids = test_tokenize(model, text, strlen(text), SLM_TEXT_SPECIAL);
    assert_int_equal(ids.n, 5);
    assert_int_equal(ids.data[1], 2047);
    assert_int_equal(ids.data[3], 2046);
    size_t n = 0;
    char *back = test_text(model, ids, 0, &n);
    assert_string_equal(back, "A\nB");
    free(back);
    back = test_text(model, ids, SLM_TEXT_SPECIAL, &n);
    assert_string_equal(back, text);
    free(back);
    free(ids.data);
    slm_model_free(model);
}

static void invalid_utf8_becomes_replacement_characters(void **state)
{
    slm_model *model = test_open(TESTING_STORYTELLER);
    size_t n = 0;
    (void)state;
    struct ids ids = test_tokenize(model, "a\xFF\xC3z\xE2\x82", 6, 0);
    char *text = test_text(model, ids, 0, &n);
    assert_string_equal(text, "a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
    free(text);
    free(ids.data);
    slm_model_free(model);
}

/* Whatever the bytes, all of them are decoded again into whole characters. */
static void any_bytes_are_text(void **state)
{
    const char *const paths[] = {TESTING_STORYTELLER, VOCAB_PATH "llama-spm.gguf"};
    char text[256];
    uint64_t random = 2;
    (void)state;
    for (size_t p = 0; p < 2 && testing_exists(paths[p]); p++) {
        slm_model *model = test_open(paths[p]);
        for (int i = 0; i < 1000; i++) {
            size_t n = testing_random(&random) % sizeof text;
            uint64_t mask = i % 2 == 0 ? 0xff : 0xe1;
            for (size_t k = 0; k < n; k++) {
                text[k] = (char)(uint8_t)(testing_random(&random) >> 32 & mask);
            }
            struct ids ids = test_tokenize(model, text, n, (uint32_t)i & 3);
            size_t size = 0;
            free(test_stream(model, ids, SLM_TEXT_BOS, &size));
            assert_true(size >= (n > 0));
            free(ids.data);
        }
        slm_model_free(model);
    }
}

static int32_t byte_of(const slm_model *model, uint8_t byte)
{
    uint8_t text[4];
    int32_t token = -1;
    slm_error err;
    size_t n = unicode_encode(bpe_char_of_byte(byte), text);
    assert_int_equal(slm_token_find(model, (char *)text, n, &token, &err), SLM_OK);
    assert_true(token >= 0);
    return token;
}

/* U+20AC is E2 82 AC. */
static void a_stream_holds_back_the_start_of_a_character(void **state)
{
    static const struct {
        const char *bytes;  /* a token each */
        const char *pieces; /* what comes out after each, and at the end, | between */
    } want[] = {{"\xE2\x82\xAC", "||\xE2\x82\xAC|"},
                {"a\xE2\x82", "a||"
                              "|\xEF\xBF\xBD"},
                {"\xE2\x82z", "||\xEF\xBF\xBDz|"},
                {"\x80z", "\xEF\xBF\xBD|z|"},
                {"\xF0\x9F\x98\x80!", "|||\xF0\x9F\x98\x80|!|"},
                {"\xED\xA0\x80", "|\xEF\xBF\xBD\xEF\xBF\xBD|\xEF\xBF\xBD|"}};
    slm_model *model = test_open(TESTING_STORYTELLER);
    slm_error err;
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        slm_text_stream stream;
        char got[256];
        size_t used = 0;
        size_t n = strlen(want[i].bytes);
        memset(&stream, 0, sizeof stream);
        for (size_t k = 0; k <= n; k++) {
            size_t size = 0;
            int32_t token = k < n ? byte_of(model, (uint8_t)want[i].bytes[k]) : -1;
            assert_int_equal(slm_decode_token(model, &stream, token, 0, got + used,
                                              sizeof got - used, &size, &err),
                             SLM_OK);
            assert_true(size <= SLM_DECODE_MAX(2));
            used += size;
            got[used++] = '|';
        }
        got[used - 1] = 0;
        assert_string_equal(got, want[i].pieces);
        for (size_t k = 0; k < sizeof stream.state; k++) {
            assert_int_equal(stream.state[k], 0);
        }
    }
    slm_model_free(model);
}

static void a_buffer_too_small_is_left_alone(void **state)
{
    const char text[] = "Once upon a time";
    slm_model *model = test_open(TESTING_STORYTELLER);
    slm_text_stream stream, before;
    slm_error err;
    int32_t tokens[64];
    char out[64];
    size_t needed = 0;
    (void)state;
    struct ids ids = test_tokenize(model, text, strlen(text), 0);
    memset(tokens, 0x55, sizeof tokens);
    assert_int_equal(slm_tokenize(model, text, strlen(text), 0, tokens, ids.n - 1, &needed, &err),
                     SLM_E_SPACE);
    assert_int_equal(needed, ids.n);
    assert_int_equal(err.code, SLM_E_SPACE);
    memset(out, 0x55, sizeof out);
    assert_int_equal(
        slm_detokenize(model, ids.data, ids.n, 0, out, strlen(text) - 1, &needed, &err),
        SLM_E_SPACE);
    assert_int_equal(needed, strlen(text));
    assert_int_equal(slm_detokenize(model, ids.data, ids.n, 0, NULL, 0, &needed, &err), SLM_OK);
    assert_int_equal(needed, strlen(text));
    memset(&stream, 0, sizeof stream);
    before = stream;
    assert_int_equal(
        slm_decode_token(model, &stream, byte_of(model, 'z'), 0, NULL, 0, &needed, &err), SLM_OK);
    assert_int_equal(needed, 1);
    assert_memory_equal(&stream, &before, sizeof stream);
    assert_int_equal(
        slm_decode_token(model, &stream, byte_of(model, 0xe2), 0, out, 0, &needed, &err), SLM_OK);
    before = stream;
    assert_int_equal(
        slm_decode_token(model, &stream, byte_of(model, 'z'), 0, out, 3, &needed, &err),
        SLM_E_SPACE);
    assert_int_equal(needed, 4);
    assert_memory_equal(&stream, &before, sizeof stream);
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        assert_int_equal(tokens[i], 0x55555555);
        assert_int_equal(out[i], 0x55);
    }
    free(ids.data);
    slm_model_free(model);
}

/* A quarter of a megabyte of one character would take minutes if anything were quadratic. bench/tokenize.c says how
 * long it does take. */
static void long_runs_take_no_time(void **state)
{
    static const char *const others[] = {VOCAB_PATH "falcon.gguf", VOCAB_PATH "deepseek-llm.gguf",
                                         VOCAB_PATH "gpt-neox.gguf", VOCAB_PATH "bert-bge.gguf",
                                         VOCAB_PATH "nomic-bert-moe.gguf"};
    static const char *const units[] = {"a",  " ",   "<", "\n", "7", "\xCC\x81", "\xF0\x9F\x98\x80",
                                        "=a", "\xFF"};
    const size_t n = (size_t)1 << 18;
    char *text = (char *)malloc(n);
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(reversible) + SLM_COUNT(others); i++) {
        int back_too = i < SLM_COUNT(reversible);
        const char *path = back_too ? reversible[i] : others[i - SLM_COUNT(reversible)];
        if (!testing_exists(path)) {
            continue;
        }
        slm_model *model = test_open(path);
        for (int32_t u = 0; u < SLM_COUNT(units); u++) {
            for (size_t at = 0; at < n; at++) {
                text[at] = units[u][at % strlen(units[u])];
            }
            struct ids ids = test_tokenize(model, text, n, SLM_TEXT_SPECIAL);
            size_t size = 0;
            char *back = test_text(model, ids, SLM_TEXT_BOS, &size);
            if (back_too && units[u][0] != '\xFF') {
                assert_int_equal(size, n);
                assert_memory_equal(back, text, n);
            }
            free(back);
            free(ids.data);
        }
        slm_model_free(model);
    }
    free(text);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void sort_table(struct table *t, uint64_t n)
{
    t->is_crowded = 1;
    table_finish(t, n);
    assert_int_equal(t->n_sorted, n);
}

/* What a table becomes whose texts were chosen to collide: see test_limits.c. */
static void sorted_tables_find_what_hashed_ones_do(void **state)
{
    static const char *const vocabularies[] = {TESTING_STORYTELLER, VOCAB_PATH "llama-spm.gguf",
                                               VOCAB_PATH "gpt-2.gguf"};
    size_t n = 0;
    char *text = testing_read("README.md", &n);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof vocabularies / sizeof vocabularies[0]; i++) {
        if (!testing_exists(vocabularies[i])) {
            continue;
        }
        slm_model *model = test_open(vocabularies[i]);
        struct vocab *v = &model->vocab;
        struct ids hashed = test_tokenize(model, text, n, 3);
        assert_int_equal(v->by_text.n_sorted, 0);
        int32_t *found = (int32_t *)malloc((size_t)v->n_token * sizeof *found);
        for (int32_t token = 0; token < v->n_token; token++) {
            found[token] = vocab_find(v, vocab_text(v, token));
        }
        sort_table(&v->by_text, v->tokens.count);
        if (vocab_has_merges(v)) {
            sort_table(&v->by_pair, v->merges.count);
        }
        for (int32_t token = 0; token < v->n_token; token++) {
            assert_int_equal(vocab_find(v, vocab_text(v, token)), found[token]);
        }
        assert_int_equal(vocab_find_name(v, "no such token, of all things"), -1);
        struct ids sorted = test_tokenize(model, text, n, 3);
        assert_int_equal(sorted.n, hashed.n);
        assert_memory_equal(sorted.data, hashed.data, hashed.n * sizeof *hashed.data);
        free(found);
        free(hashed.data);
        free(sorted.data);
        slm_model_free(model);
    }
    free(text);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void assert_in_order(const struct pre_range *ranges, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        assert_true(ranges[i].first <= ranges[i].last);
        assert_true(i == 0 || ranges[i - 1].last < ranges[i].first);
    }
}

static void ranges_are_in_order(void **state)
{
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(pretokenizers); i++) {
        const struct pre_stage *stages = pretokenizers[i].group->stages;
        for (int k = 0; k < PRE_STAGES && stages[k].match != NULL; k++) {
            if (stages[k].match == pre_match_run) {
                const struct pre_set *set = &((const struct pre_run *)stages[k].rule)->set;
                assert_in_order(set->ranges, set->n_ranges);
            }
        }
    }
    assert_in_order(pre_han, SLM_COUNT(pre_han));
    assert_in_order(wpm_ideographs, SLM_COUNT(wpm_ideographs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_in_order),
        cmocka_unit_test(vectors_of_llama_bpe),
        cmocka_unit_test(vectors_of_qwen2),
        cmocka_unit_test(vectors_of_qwen35),
        cmocka_unit_test(vectors_of_gpt_2),
        cmocka_unit_test(vectors_of_mpt),
        cmocka_unit_test(vectors_of_starcoder),
        cmocka_unit_test(vectors_of_refact),
        cmocka_unit_test(vectors_of_command_r),
        cmocka_unit_test(vectors_of_falcon),
        cmocka_unit_test(vectors_of_deepseek_coder),
        cmocka_unit_test(vectors_of_llama_spm),
        cmocka_unit_test(vectors_of_phi_3),
        cmocka_unit_test(vectors_of_deepseek_llm),
        cmocka_unit_test(vectors_of_gemma_4),
        cmocka_unit_test(vectors_of_bert_bge),
        cmocka_unit_test(unigram_gives_what_sentencepiece_does),
        cmocka_unit_test(others_load_and_say_what_they_are),
        cmocka_unit_test(pieces_are_those_of_the_regular_expressions),
        cmocka_unit_test(every_pretokenizer_takes_long_runs_in_its_stride),
        cmocka_unit_test(byte_level_text_comes_back),
        cmocka_unit_test(a_novel_comes_back),
        cmocka_unit_test(an_encyclopedia_comes_back),
        cmocka_unit_test(a_play_comes_back),
        cmocka_unit_test(a_book_of_stories_comes_back),
        cmocka_unit_test(any_characters_come_back),
        cmocka_unit_test(cutting_changes_no_token),
        cmocka_unit_test(special_tokens_in_text_are_text_unless_asked_for),
        cmocka_unit_test(invalid_utf8_becomes_replacement_characters),
        cmocka_unit_test(any_bytes_are_text),
        cmocka_unit_test(a_stream_holds_back_the_start_of_a_character),
        cmocka_unit_test(a_buffer_too_small_is_left_alone),
        cmocka_unit_test(long_runs_take_no_time),
        cmocka_unit_test(sorted_tables_find_what_hashed_ones_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
