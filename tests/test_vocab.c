/* test_vocab.c - small vocabularies made here, each to show a rule: which tokens are merged, found,
 * left out or added, what the keys of a vocabulary change, and what is missing or wrong in one.
 *
 * Public functions only. */
#include "counting.h"
#include "vocab_fixture.h"

#include <time.h>

/* ---- SentencePiece --------------------------------------------------------------------------- */

static const struct entry spm_entries[] = {
    {"<unk>", 2, 0},  {"<s>", 3, 0},   {"</s>", 3, 0}, {"<0x0A>", 6, 0}, {"<0xC3>", 6, 0},
    {"<0xA4>", 6, 0}, {SP, 1, -10},    {"a", 1, -11},  {"b", 1, -12},    {"ab", 1, -2},
    {"ba", 1, -1},    {SP "a", 1, -3}, {"<", 1, -20},  {"/", 1, -20},    {"s", 1, -20},
    {">", 1, -20},    {"</", 1, -5},   {"s>", 1, -5},  {"<|u|>", 4, 0},  {"aa", 1, -4},
    {"<|u|>>", 4, 0}, {"<c>", 3, 0},   {SP SP, 1, -6}, {"", 1, 0},       {"a", 1, 5},
    {"unused", 5, 0}, {" u", 4, 0}};

static const struct small spm_small = {
    "llama", NULL, spm_entries, sizeof spm_entries / sizeof spm_entries[0], NULL, 0, NULL, NULL};

static void sentencepiece_merges_the_best_score_first(void **state)
{
    slm_model *m = small_model(&spm_small);
    (void)state;
    EXPECT(m, "ab", 0, 6, 9);
    EXPECT(m, "aba", 0, 11, 10);
    EXPECT(m, "aaa", 0, 11, 19);
    EXPECT(m, "aaaa", 0, 11, 19, 7);
    EXPECT(m, "bb", 0, 6, 8, 8);
    EXPECT(m, " a", 0, 6, 11);
    EXPECT(m, "   b", 0, 22, 22, 8);
    EXPECT(m, "a b", 0, 11, 6, 8);
    EXPECT(m, "ab" SP "a", 0, 6, 9, 11);
    EXPECT(m, "b" SP " b", 0, 6, 8, 22, 8);
    slm_model_free(m);
}

/* Longer than a bucket of merge_update: what is left over is at the end all the same. */
static void the_leftmost_of_equals_is_merged_first(void **state)
{
    char text[301];
    slm_model *m = small_model(&spm_small);
    (void)state;
    for (size_t n = 2; n <= 300; n++) {
        memset(text, 'a', n);
        struct ids ids = test_tokenize(m, text, n, 0);
        assert_int_equal(ids.n, 1 + n / 2);
        assert_int_equal(ids.data[0], 11);
        for (size_t i = 1; i < ids.n; i++) {
            assert_int_equal(ids.data[i], i == ids.n - 1 && n % 2 == 0 ? 7 : 19);
        }
        free(ids.data);
    }
    slm_model_free(m);
}

/* The encoder works word by word, but not then. */
static void sentencepiece_may_merge_across_words(void **state)
{
    static const struct entry entries[] = {{"<unk>", 2, 0}, {SP, 1, -9},     {"a", 1, -9},
                                           {"b", 1, -9},    {SP "b", 1, -5}, {"a" SP "b", 1, -1}};
    struct small s = spm_small;
    (void)state;
    s.entries = entries;
    s.n = sizeof entries / sizeof entries[0];
    slm_model *m = small_model(&s);
    EXPECT(m, "a b", 0, 1, 5);
    slm_model_free(m);
}

static void sentencepiece_falls_back_to_bytes(void **state)
{
    slm_model *m = small_model(&spm_small);
    (void)state;
    EXPECT(m, "\n", 0, 6, 3);
    EXPECT(m, "\xC3\xA4", 0, 6, 4, 5);
    EXPECT(m, "\xC3\xA9", 0, 6, 4, 0);
    EXPECT(m, "\xC3", 0, 6, 4);
    EXPECT(m, "\xC3 b", 0, 6, 4, 6, 8);
    EXPECT_TEXT(m, 0, " \n\xC3\xA4", 6, 3, 4, 5);
    slm_model_free(m);
}

/* llama.cpp merges letters to control tokens: "</s>" in a user's text would end it. */
static void letters_never_merge_to_a_control_token(void **state)
{
    slm_model *m = small_model(&spm_small);
    (void)state;
    EXPECT(m, "</s>", 0, 6, 16, 17);
    EXPECT(m, "</s>", SLM_TEXT_SPECIAL, 2);
    EXPECT(m, "<c>", 0, 6, 12, 0, 15);
    EXPECT(m, "a<c>b</s>", SLM_TEXT_SPECIAL, 11, 21, 6, 8, 2);
    EXPECT_TEXT(m, 0, " a", 11, 2, 25);
    EXPECT_TEXT(m, SLM_TEXT_SPECIAL, " a</s>", 11, 2);
    slm_model_free(m);
}

static void user_defined_tokens_are_always_found_the_longest_first(void **state)
{
    slm_model *m = small_model(&spm_small);
    (void)state;
    EXPECT(m, "<|u|>", 0, 18);
    EXPECT(m, "a<|u|>b", 0, 11, 18, 6, 8);
    EXPECT(m, "a<|u|>>b", 0, 11, 20, 6, 8);
    EXPECT(m, "<|u|><|u|>><|u|>", 0, 18, 20, 18);
    EXPECT_TEXT(m, 0, " a<|u|>", 11, 18);
    slm_model_free(m);
}

static void start_and_end_come_as_the_vocabulary_asks(void **state)
{
    slm_model *m = small_model(&spm_small);
    (void)state;
    expect_ids(m, "", 0, NULL, 0);
    EXPECT(m, "", SLM_TEXT_BOS, 1);
    EXPECT(m, "ab", SLM_TEXT_BOS, 1, 6, 9);
    EXPECT_TEXT(m, 0, " ab", 1, 6, 9, 2);
    EXPECT_TEXT(m, SLM_TEXT_BOS, "ab", 1, 6, 9);
    EXPECT_TEXT(m, SLM_TEXT_SPECIAL, "<s> ab", 1, 6, 9);
    EXPECT_TEXT(m, SLM_TEXT_SPECIAL | SLM_TEXT_BOS, "ab</s>", 1, 6, 9, 2);
    EXPECT_TEXT(m, SLM_TEXT_BOS, "a<|u|>b a", 1, 11, 18, 6, 8, 11);
    EXPECT(m, " u", SLM_TEXT_BOS, 1, 26);
    EXPECT_TEXT(m, SLM_TEXT_BOS, " u", 1, 26);
    slm_model_free(m);
}

static void add_eos(struct build *b)
{
    build_int(b, "tokenizer.ggml.add_bos_token", SLM_TYPE_BOOL, 0);
    build_int(b, "tokenizer.ggml.add_eos_token", SLM_TYPE_BOOL, 1);
    build_int(b, "tokenizer.ggml.add_space_prefix", SLM_TYPE_BOOL, 0);
}

static void keys_override_the_defaults(void **state)
{
    struct small s = spm_small;
    slm_model_info info;
    slm_error err;
    (void)state;
    s.more = add_eos;
    slm_model *m = small_model(&s);
    EXPECT(m, "ab", SLM_TEXT_BOS, 9, 2);
    EXPECT(m, "", SLM_TEXT_BOS, 2);
    EXPECT_TEXT(m, SLM_TEXT_BOS | SLM_TEXT_SPECIAL, " ab", 6, 9, 2);
    info.struct_size = sizeof info;
    assert_int_equal(slm_model_get_info(m, &info, &err), SLM_OK);
    assert_int_equal(info.add_bos, 0);
    assert_int_equal(info.add_eos, 1);
    assert_int_equal(info.bos_token, 1);
    assert_int_equal(info.eos_token, 2);
    assert_int_equal(info.pad_token, -1);
    assert_string_equal(info.tokenizer, "spm");
    slm_model_free(m);
}

static void phi3(struct build *b)
{
    build_text(b, "general.name", "Phi-3 mini");
}

static void special_tokens_of_phi3_swallow_the_space_behind(void **state)
{
    struct small s = spm_small;
    (void)state;
    s.more = phi3;
    slm_model *m = small_model(&s);
    EXPECT(m, "<|u|> \n b", 0, 18, 6, 8);
    EXPECT(m, "<c> \n", SLM_TEXT_SPECIAL, 21);
    EXPECT(m, "<s> b", SLM_TEXT_SPECIAL, 1, 22, 8);
    slm_model_free(m);
}

static void a_mask_swallows_the_space_in_front(void **state)
{
    static const struct entry entries[] = {{"a", 1, 0}, {"<mask>", 3, 0}, {"\xC4\xA0", 1, 0}};
    static const char *const merges[] = {"a a"};
    const struct small s = {"gpt2", "jina-v2-code", entries, 3, merges, 1, NULL, NULL};
    (void)state;
    slm_model *m = small_model(&s);
    EXPECT(m, "a  <mask> a", SLM_TEXT_SPECIAL, 0, 1, 2, 0);
    EXPECT(m, " \n<mask>", SLM_TEXT_SPECIAL, 1);
    slm_model_free(m);
}

static void tokens_tell_what_they_are(void **state)
{
    static const struct {
        int32_t token, type, is_end;
    } want[] = {{0, SLM_TOKEN_UNKNOWN, 0}, {1, SLM_TOKEN_CONTROL, 0}, {2, SLM_TOKEN_CONTROL, 1},
                {3, SLM_TOKEN_BYTE, 0},    {7, SLM_TOKEN_NORMAL, 0},  {18, SLM_TOKEN_USER, 0},
                {25, SLM_TOKEN_UNUSED, 0}};
    slm_model *m = small_model(&spm_small);
    slm_token_info info;
    slm_error err;
    int32_t token = 0;
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        info.struct_size = sizeof info;
        assert_int_equal(slm_token_get_info(m, want[i].token, &info, &err), SLM_OK);
        assert_int_equal(info.kind, want[i].type);
        assert_int_equal(info.is_end, want[i].is_end);
        assert_int_equal(info.text_size, strlen(spm_entries[want[i].token].text));
        assert_true(info.score == spm_entries[want[i].token].score);
    }
    assert_int_equal(slm_token_find(m, "a", 1, &token, &err), SLM_OK);
    assert_int_equal(token, 7); /* the first of two */
    assert_int_equal(slm_token_find(m, "", 0, &token, &err), SLM_OK);
    assert_int_equal(token, -1);
    assert_int_equal(slm_token_find(m, "zz", 2, &token, &err), SLM_OK);
    assert_int_equal(token, -1);
    assert_int_equal(slm_token_get_info(m, 27, &info, &err), SLM_E_ARGUMENT);
    slm_model_free(m);
}

/* ---- Byte pairs ------------------------------------------------------------------------------ */

static const struct entry bpe_entries[] = {{"a", 1, 0},
                                           {"b", 1, 0},
                                           {"c", 1, 0},
                                           {"ab", 1, 0},
                                           {"bc", 1, 0},
                                           {"\xC4\xA0", 1, 0},
                                           {"x", 1, 0},
                                           {"y", 1, 0},
                                           {"xy", 1, 0},
                                           {"\xC4\xA0"
                                            "a",
                                            1, 0},
                                           {"<|end|>", 1, 0},
                                           {"<|endoftext|>", 3, 0},
                                           {"<|call|>", 3, 0},
                                           {"<|return|>", 3, 0},
                                           {"<eot>", 3, 0},
                                           {"a\xC3\xA4 \xE6\xBC\xA2", 1, 0},
                                           {"ca", 3, 0}};
static const char *const bpe_merges[] = {"b c", "a b", "\xC4\xA0 a", "c c", "b c", "c a"};

static const struct small bpe_small = {
    "gpt2",     "gpt-2", bpe_entries, sizeof bpe_entries / sizeof bpe_entries[0],
    bpe_merges, 6,       NULL,        NULL};

static void bpe_merges_the_lowest_rank_first(void **state)
{
    slm_model *m = small_model(&bpe_small);
    (void)state;
    EXPECT(m, "ab", 0, 3);
    EXPECT(m, "abc", 0, 0, 4);
    EXPECT(m, " abc", 0, 9, 4);
    EXPECT(m, "bcbc", 0, 4, 4);
    EXPECT(m, "a a", 0, 0, 9);
    EXPECT(m, "xy", 0, 6, 7);
    EXPECT(m, "ccb", 0, 2, 2, 1); /* "cc" is a merge but no token */
    EXPECT(m, "adb", 0, 0, 1);    /* no token at all for d */
    EXPECT(m, "ca", 0, 2, 0);     /* a merge to a control token */
    EXPECT(m, "ca", SLM_TEXT_SPECIAL, 16);
    slm_model_free(m);
}

static void some_pretokenizers_take_a_piece_whole(void **state)
{
    struct small s = bpe_small;
    (void)state;
    s.pre = "llama-bpe";
    slm_model *m = small_model(&s);
    EXPECT(m, "xy", 0, 8);
    slm_model_free(m);
}

/* Added tokens stand in the vocabulary as they are, not as bytes. */
static void characters_that_are_no_bytes_come_out_as_they_are(void **state)
{
    slm_model *m = small_model(&bpe_small);
    (void)state;
    EXPECT_TEXT(m, 0, "a\xE4 \xE6\xBC\xA2", 15);
    slm_model_free(m);
}

static void an_unknown_pretokenizer_is_told_and_replaced(void **state)
{
    struct small s = bpe_small;
    char warning[256] = "";
    slm_error err;
    slm_model *m = NULL;
    (void)state;
    s.pre = "no-such-thing";
    assert_int_equal(small_open(&m, &s, warning, &err), SLM_OK);
    assert_non_null(strstr(warning, "no-such-thing"));
    EXPECT(m, "abc", 0, 0, 4);
    slm_model_free(m);
}

static void bad_eos(struct build *b)
{
    build_u32(b, "tokenizer.ggml.eos_token_id", 14);
    build_u32(b, "tokenizer.ggml.bos_token_id", 17);
}

static void ends_are_found_by_id_and_by_name(void **state)
{
    struct small s = bpe_small;
    char warning[256] = "";
    slm_token_info info;
    slm_model_info model_info;
    slm_error err;
    slm_model *m = NULL;
    (void)state;
    s.more = bad_eos;
    assert_int_equal(small_open(&m, &s, warning, &err), SLM_OK);
    assert_non_null(strstr(warning, "bos_token_id"));
    for (int32_t i = 0; i < 15; i++) {
        info.struct_size = sizeof info;
        assert_int_equal(slm_token_get_info(m, i, &info, &err), SLM_OK);
        assert_int_equal(info.is_end, i >= 11); /* <|end|> ends a message, not the answer */
    }
    assert_int_equal(slm_token_get_info(m, 10, &info, &err), SLM_OK);
    assert_int_equal(info.kind, SLM_TOKEN_USER);
    EXPECT(m, "a<|end|>b", 0, 0, 10, 1);
    model_info.struct_size = sizeof model_info;
    assert_int_equal(slm_model_get_info(m, &model_info, &err), SLM_OK);
    assert_int_equal(model_info.bos_token, 11); /* the default stays */
    assert_int_equal(model_info.eos_token, 14);
    assert_int_equal(model_info.eot_token, 10);
    assert_int_equal(model_info.add_bos, 0);
    assert_string_equal(model_info.tokenizer, "bpe");
    slm_model_free(m);
}

/* ---- Special tokens by the plain rule -------------------------------------------------------- */

/* What the library finds in one pass is found here as it is described: sizes from the longest down,
 * each size from left to right in what no longer one has taken. Letters that are left are a token
 * each, and there are no merges. */

#define PLAIN_LETTERS "abc "
#define PLAIN_TOKENS 40

struct plain {
    struct entry entries[PLAIN_TOKENS];
    char texts[PLAIN_TOKENS][12];
    size_t n;
    int swallows_behind; /* Phi-3 */
    int swallows_before; /* the mask of Jina */
};

/* A stretch of text; letters (token -1) or a token. */
struct stretch {
    size_t start, end;
    int32_t token;
};

static uint64_t plain_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static size_t plain_text(char *out, size_t most, uint64_t *state)
{
    size_t n = 1 + plain_random(state) % most;
    for (size_t i = 0; i < n; i++) {
        out[i] = "aab "[plain_random(state) % 4];
    }
    out[n] = 0;
    return n;
}

static void plain_make(struct plain *p, uint64_t *state)
{
    static const char *const letters[4] = {"a", "b", "c", "\xC4\xA0"};
    static const int types[6] = {1, 2, 3, 3, 4, 4};
    p->n = 5 + plain_random(state) % (PLAIN_TOKENS - 5);
    p->swallows_behind = plain_random(state) % 3 == 0;
    p->swallows_before = plain_random(state) % 2 == 0;
    for (size_t i = 0; i < p->n; i++) {
        p->entries[i].type = types[plain_random(state) % 6];
        p->entries[i].score = 0;
        p->entries[i].text = p->texts[i];
        plain_text(p->texts[i], 1 + plain_random(state) % 10, state);
        if (i < 4) {
            p->entries[i].text = letters[i];
            p->entries[i].type = 1;
        } else if (i == 4) {
            p->entries[i].text = "<mask>";
        }
    }
}

/* The token of this text that may be found, or -1: the first of equal ones decides. */
static int32_t plain_token(const struct plain *p, const char *s, size_t n, uint32_t flags)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct entry *e = &p->entries[i];
        if (strlen(e->text) == n && memcmp(e->text, s, n) == 0) {
            int found = e->type == 4 || ((flags & SLM_TEXT_SPECIAL) != 0 && e->type != 1);
            return found ? (int32_t)i : -1;
        }
    }
    return -1;
}

/* Cuts stretch i at a token, and returns how many there are then. */
static size_t plain_cut(const struct plain *p, const char *text, struct stretch *list, size_t n,
                        size_t i, size_t at, size_t end, int32_t token)
{
    struct stretch whole = list[i];
    size_t left = at;
    size_t right = end;
    while (p->swallows_before && token == 4 && left > whole.start && text[left - 1] == ' ') {
        left--;
    }
    while (p->swallows_behind && right < whole.end && text[right] == ' ') {
        right++;
    }
    struct stretch three[3] = {{whole.start, left, -1}, {at, end, token}, {right, whole.end, -1}};
    memmove(list + i + 3, list + i + 1, (n - i - 1) * sizeof *list);
    memcpy(list + i, three, sizeof three);
    return n + 2;
}

static size_t plain_tokenize(const struct plain *p, const char *text, size_t n, uint32_t flags,
                             int32_t *tokens)
{
    struct stretch list[1000] = {{0, n, -1}};
    size_t n_list = 1;
    size_t n_tokens = 0;
    for (size_t size = 12; size > 0; size--) {
        for (size_t i = 0; i < n_list; i++) {
            for (size_t at = list[i].start; list[i].token < 0 && at + size <= list[i].end; at++) {
                int32_t token = plain_token(p, text + at, size, flags);
                if (token >= 0) {
                    n_list = plain_cut(p, text, list, n_list, i, at, at + size, token);
                    break;
                }
            }
        }
    }
    for (size_t i = 0; i < n_list; i++) {
        for (size_t at = list[i].start; list[i].token < 0 && at < list[i].end; at++) {
            const char *letter = strchr(PLAIN_LETTERS, text[at]);
            if (letter != NULL) {
                tokens[n_tokens++] = (int32_t)(letter - PLAIN_LETTERS);
            }
        }
        if (list[i].token >= 0) {
            tokens[n_tokens++] = list[i].token;
        }
    }
    return n_tokens;
}

static void special_tokens_are_those_of_the_plain_rule(void **state)
{
    static const char *const none[1] = {NULL};
    uint64_t random = 7;
    size_t n_special = 0;
    (void)state;
    for (int round = 0; round < 1500; round++) {
        struct plain p;
        plain_make(&p, &random);
        struct small s = {"gpt2",    p.swallows_before ? "jina-v2-code" : "gpt-2",
                          p.entries, p.n,
                          none,      0,
                          NULL,      p.swallows_behind ? phi3 : NULL};
        slm_model *m = small_model(&s);
        for (int i = 0; i < 12; i++) {
            char text[200];
            int32_t want[200];
            size_t n = 0;
            uint32_t flags = i % 3 == 0 ? 0 : SLM_TEXT_SPECIAL;
            while (n < 120 && plain_random(&random) % 8 != 0) {
                n += plain_text(text + n, 20, &random);
                if (plain_random(&random) % 4 == 0) {
                    memcpy(text + n, "<mask>", 6);
                    n += 6;
                }
            }
            size_t n_want = plain_tokenize(&p, text, n, flags, want);
            struct ids got = test_tokenize(m, text, n, flags);
            if (got.n != n_want || memcmp(got.data, want, n_want * sizeof *want) != 0) {
                fail_msg("round %d: '%.*s' gives others than the plain rule", round, (int)n, text);
            }
            for (size_t k = 0; k < n_want; k++) {
                n_special += want[k] > 3;
            }
            free(got.data);
        }
        slm_model_free(m);
    }
    assert_true(n_special > 50000);
}

/* ---- Special tokens of many sizes ------------------------------------------------------------ */

/* Control tokens of n_sizes sizes, the longest of `longest` bytes: "aaa", or "ba", "bba" between
 * them. Returns the processor time that the text takes. */
static double sizes_seconds(size_t longest, size_t n_sizes, int mixed, const char *text, size_t n)
{
    struct build b;
    slm_model *m = NULL;
    slm_error err;
    slm_model_options o;
    char *letters = (char *)malloc(longest);
    double best = 1e9;
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_text(&b, "tokenizer.ggml.model", "gpt2");
    build_texts(&b, "tokenizer.ggml.merges", NULL, 0);
    build_array(&b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, n_sizes);
    for (size_t i = 0; i < n_sizes; i++) {
        size_t size = longest - i * (longest / n_sizes);
        memset(letters, mixed && i % 2 != 0 ? 'b' : 'a', size);
        letters[size - 1] = 'a';
        build_put_string(&b.keys, letters, size);
    }
    build_array(&b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, n_sizes);
    for (size_t i = 0; i < n_sizes; i++) {
        build_put_int(&b.keys, SLM_TOKEN_CONTROL, 4);
    }
    build_finish(&b);
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    assert_int_equal(tiny_open(&m, &b, &o, &err), SLM_OK);
    for (int run = 0; run < 3; run++) {
        size_t needed = 0;
        clock_t begin = clock();
        assert_int_equal(slm_tokenize(m, text, n, SLM_TEXT_SPECIAL, NULL, 0, &needed, &err),
                         SLM_OK);
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        best = seconds < best ? seconds : best;
    }
    slm_model_free(m);
    build_free(&b);
    free(letters);
    return best;
}

/* With a search per size it would be hundreds of times slower; memory costs a few times. */
static void the_number_of_sizes_of_special_tokens_does_not_matter(void **state)
{
    const size_t n = 400000;
    const size_t longest = 4000;
    char *text = (char *)malloc(n);
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < n; i++) {
            /* Nothing but the letter, or runs of it that are far shorter than the longest token. */
            text[i] = kind % 2 == 0 || i % 500 != 0 ? 'a' : kind == 1 ? '.' : 'b';
        }
        double few = sizes_seconds(longest, 4, kind >= 2, text, n);
        double many = sizes_seconds(longest, longest, kind >= 2, text, n);
        printf("4 sizes %.4f s, %zu sizes %.4f s\n", few, longest, many);
        assert_true(many < 30 * (few + 0.005));
    }
    free(text);
}

/* Each byte of each token is a node of both automata. */
static void long_special_tokens_take_memory_in_proportion(void **state)
{
    enum {
        TOKENS = 50,
        SIZE = 20000
    };
    static char text[SIZE];
    uint64_t random = 3;
    struct build b;
    struct counting c = {0};
    slm_model *m = NULL;
    slm_error err;
    slm_model_options o;
    (void)state;
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_text(&b, "tokenizer.ggml.model", "llama");
    build_array(&b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, TOKENS);
    for (int i = 0; i < TOKENS; i++) {
        for (int k = 0; k < SIZE; k++) {
            text[k] = (char)(uint8_t)plain_random(&random);
        }
        build_put_string(&b.keys, text, SIZE);
    }
    build_array(&b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, TOKENS);
    for (int i = 0; i < TOKENS; i++) {
        build_put_int(&b.keys, SLM_TOKEN_USER, 4);
    }
    build_finish(&b);
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    o.alloc = counting_alloc;
    o.alloc_user = &c;
    assert_int_equal(tiny_open(&m, &b, &o, &err), SLM_OK);
    assert_true(c.peak < 49152 + 32 * (uint64_t)b.file.size);
    struct ids ids = test_tokenize(m, text, SIZE, 0); /* the last one */
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.data[0], TOKENS - 1);
    free(ids.data);
    slm_model_free(m);
    assert_int_equal(c.n_blocks, 0);
    build_free(&b);
}

/* ---- Vocabularies with holes ----------------------------------------------------------------- */

static void tokens_of_ints(struct build *b)
{
    const int64_t values[] = {1, 2, 3};
    build_ints(b, "tokenizer.ggml.tokens", SLM_TYPE_INT32, values, 3);
}

static void no_tokens(struct build *b)
{
    build_texts(b, "tokenizer.ggml.tokens", NULL, 0);
}

static void short_types(struct build *b)
{
    const int64_t values[] = {1, 2, 3};
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, values, 3);
}

static void real_types(struct build *b)
{
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_FLOAT32, 1);
    build_put_f32(&b->keys, 1);
}

static void strange_types(struct build *b)
{
    int64_t values[17];
    for (int i = 0; i < 17; i++) {
        values[i] = i * 1000 - 5000;
    }
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT64, values, 17);
}

static void short_scores(struct build *b)
{
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, 1);
    build_put_f32(&b->keys, 1);
}

static void nan_scores(struct build *b)
{
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, 17);
    for (int i = 0; i < 17; i++) {
        build_put_int(&b->keys, 0x7fc00000u, 4);
    }
}

static void merge_without_space(struct build *b)
{
    static const char *const texts[] = {"a b", "ab"};
    build_texts(b, "tokenizer.ggml.merges", texts, 2);
}

static void merge_without_left(struct build *b)
{
    static const char *const texts[] = {" b"};
    build_texts(b, "tokenizer.ggml.merges", texts, 1);
}

static void no_merges(struct build *b)
{
    build_texts(b, "tokenizer.ggml.merges", NULL, 0);
}

static void long_token(struct build *b)
{
    char *text = (char *)malloc(70000);
    memset(text, 'a', 70000);
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, 2);
    build_put_string(&b->keys, "a", 1);
    build_put_string(&b->keys, text, 70000);
    free(text);
}

static void text_bos(struct build *b)
{
    build_text(b, "tokenizer.ggml.bos_token_id", "1");
}

static void text_flag(struct build *b)
{
    build_text(b, "tokenizer.ggml.add_bos_token", "yes");
}

static void large_id(struct build *b)
{
    build_int(b, "tokenizer.ggml.eos_token_id", SLM_TYPE_INT64, INT64_MIN);
    build_int(b, "tokenizer.ggml.padding_token_id", SLM_TYPE_UINT32, 0xffffffff);
}

static void a_vocabulary_with_holes_is_refused_by_name_or_used(void **state)
{
    static const struct {
        const char *without;
        void (*more)(struct build *b);
        int status;
        const char *message;
        const char *place;
    } want[] = {
        {"tokenizer.ggml.tokens", NULL, SLM_E_MODEL, "tokenizer.ggml.tokens", "missing"},
        {"tokenizer.ggml.tokens", tokens_of_ints, SLM_E_MODEL, "tokenizer.ggml.tokens", "strings"},
        {"tokenizer.ggml.tokens", no_tokens, SLM_E_MODEL, "tokenizer.ggml.tokens", "empty"},
        {"tokenizer.ggml.tokens", long_token, SLM_E_MODEL, "tokenizer.ggml.tokens[1]", "65535"},
        {"tokenizer.ggml.merges", NULL, SLM_E_MODEL, "tokenizer.ggml.merges", "missing"},
        {"tokenizer.ggml.merges", merge_without_space, SLM_E_MODEL, "merges[1]", "'ab'"},
        {"tokenizer.ggml.merges", merge_without_left, SLM_E_MODEL, "merges[0]", "' b'"},
        {"tokenizer.ggml.merges", no_merges, SLM_OK, NULL, NULL},
        {"tokenizer.ggml.token_type", NULL, SLM_OK, NULL, NULL},
        {"tokenizer.ggml.token_type", short_types, SLM_E_MODEL, "token_type", "3 elements for 17"},
        {"tokenizer.ggml.token_type", real_types, SLM_E_MODEL, "token_type", "integers"},
        {"tokenizer.ggml.token_type", strange_types, SLM_OK, NULL, NULL},
        {"tokenizer.ggml.scores", NULL, SLM_OK, NULL, NULL},
        {"tokenizer.ggml.scores", short_scores, SLM_E_MODEL, "scores", "1 elements for 17"},
        {"tokenizer.ggml.scores", nan_scores, SLM_OK, NULL, NULL},
        {NULL, text_bos, SLM_E_MODEL, "bos_token_id", "integer"},
        {NULL, text_flag, SLM_E_MODEL, "add_bos_token", "bool"},
        {NULL, large_id, SLM_OK, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        struct small s = bpe_small;
        slm_error err;
        slm_model *m = NULL;
        s.without = want[i].without;
        s.more = want[i].more;
        int status = small_open(&m, &s, NULL, &err);
        if (status != want[i].status ||
            (status != SLM_OK && !tiny_says(&err, want[i].message, want[i].place))) {
            fail_msg("%zu: %d: %s", i, status, err.message);
        }
        if (status == SLM_OK) {
            size_t n = 0;
            struct ids ids = test_tokenize(m, "a bc<|end|>d", 12, 3);
            free(test_text(m, ids, 3, &n));
            free(ids.data);
        }
        slm_model_free(m);
    }
}

/* A table that kept them all would take minutes. */
static void a_hundred_thousand_equal_tokens_load_at_once(void **state)
{
    const size_t n = 100000;
    struct entry *entries = (struct entry *)malloc(n * sizeof *entries);
    const char **merges = (const char **)malloc(n * sizeof *merges);
    struct small s = bpe_small;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        entries[i].text = "a";
        entries[i].type = 1;
        entries[i].score = 0;
        merges[i] = "a a";
    }
    s.entries = entries;
    s.n = n;
    s.merges = merges;
    s.n_merges = n;
    slm_model *m = small_model(&s);
    EXPECT(m, "aaa", 0, 0, 0, 0);
    slm_model_free(m);
    free(entries);
    free(merges);
}

static void a_model_without_a_usable_tokenizer_still_opens(void **state)
{
    static const struct {
        const char *model;
        const char *says;
        int n_tokens;
    } want[] = {{NULL, "no vocabulary", 0},
                {"none", "no vocabulary", 0},
                {"no_vocab", "no vocabulary", 0},
                {"plamo2", "'plamo2'", 17},
                {"hybriddna", "'hybriddna'", 17}};
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        struct small s = bpe_small;
        slm_model_info info;
        slm_token_info token;
        slm_text_stream stream;
        slm_error err;
        char text[16];
        int32_t id = 0;
        size_t needed = 7;
        s.model = want[i].model;
        slm_model *m = small_model(&s);
        assert_int_equal(slm_tokenize(m, "a", 1, 0, &id, 1, &needed, &err), SLM_E_UNSUPPORTED);
        assert_true(tiny_says(&err, want[i].says, NULL));
        memset(&stream, 0, sizeof stream);
        assert_int_equal(slm_decode_token(m, &stream, -1, 0, text, 16, &needed, &err),
                         SLM_E_UNSUPPORTED);
        info.struct_size = sizeof info;
        assert_int_equal(slm_model_get_info(m, &info, &err), SLM_OK);
        assert_string_equal(info.tokenizer, "none");
        assert_int_equal(info.n_vocab, want[i].n_tokens);
        if (want[i].n_tokens > 0) {
            token.struct_size = sizeof token;
            assert_int_equal(slm_token_get_info(m, 8, &token, &err), SLM_OK);
            assert_memory_equal(token.text, "xy", 2);
            assert_int_equal(slm_token_find(m, "xy", 2, &id, &err), SLM_OK);
            assert_int_equal(id, 8);
        }
        slm_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentencepiece_merges_the_best_score_first),
        cmocka_unit_test(the_leftmost_of_equals_is_merged_first),
        cmocka_unit_test(sentencepiece_may_merge_across_words),
        cmocka_unit_test(sentencepiece_falls_back_to_bytes),
        cmocka_unit_test(letters_never_merge_to_a_control_token),
        cmocka_unit_test(user_defined_tokens_are_always_found_the_longest_first),
        cmocka_unit_test(start_and_end_come_as_the_vocabulary_asks),
        cmocka_unit_test(keys_override_the_defaults),
        cmocka_unit_test(special_tokens_of_phi3_swallow_the_space_behind),
        cmocka_unit_test(a_mask_swallows_the_space_in_front),
        cmocka_unit_test(tokens_tell_what_they_are),
        cmocka_unit_test(bpe_merges_the_lowest_rank_first),
        cmocka_unit_test(some_pretokenizers_take_a_piece_whole),
        cmocka_unit_test(characters_that_are_no_bytes_come_out_as_they_are),
        cmocka_unit_test(an_unknown_pretokenizer_is_told_and_replaced),
        cmocka_unit_test(ends_are_found_by_id_and_by_name),
        cmocka_unit_test(special_tokens_are_those_of_the_plain_rule),
        cmocka_unit_test(the_number_of_sizes_of_special_tokens_does_not_matter),
        cmocka_unit_test(long_special_tokens_take_memory_in_proportion),
        cmocka_unit_test(a_vocabulary_with_holes_is_refused_by_name_or_used),
        cmocka_unit_test(a_hundred_thousand_equal_tokens_load_at_once),
        cmocka_unit_test(a_model_without_a_usable_tokenizer_still_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
