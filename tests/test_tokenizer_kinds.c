/* test_tokenizer_kinds.c - small vocabularies of WordPiece, Unigram, RWKV and raw BPE, made here, each
 * to show a rule; what is missing or wrong in one; and memory that is refused while they are loaded
 * and used. Vectors of real ones are the subject of test_tokenizer.c.
 *
 * Public functions only. */
#include <math.h>

#include "counting.h"
#include "vocab_fixture.h"

#define N(array) (sizeof(array) / sizeof(array)[0])
#define KEY(name) "tokenizer.ggml." name

static slm_model_info info_of(const slm_model *m)
{
    slm_model_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    assert_int_equal(slm_model_get_info(m, &info, NULL), SLM_OK);
    return info;
}

/* ---- WordPiece ------------------------------------------------------------------------------- */

static const struct entry wpm_entries[] = {{"[PAD]", 3, 0},
                                           {"[UNK]", 2, 0},
                                           {"[CLS]", 3, 0},
                                           {"[SEP]", 3, 0},
                                           {"[MASK]", 3, 0},
                                           {SP "a", 1, 0},
                                           {SP "b", 1, 0},
                                           {"a", 1, 0},
                                           {"b", 1, 0},
                                           {SP "ab", 1, 0},
                                           {"ba", 1, 0},
                                           {SP ",", 1, 0},
                                           {SP "$", 1, 0},
                                           {SP "\xE6\xBC\xA2", 1, 0},
                                           {SP "o", 1, 0},
                                           {SP "[", 1, 0},
                                           {SP "]", 1, 0},
                                           {SP "\xE1\x84\x80", 1, 0},
                                           {"\xE1\x85\xA1", 1, 0},
                                           {SP "\xC3\xB6", 1, 0},
                                           {"\xE0\xA4\xBE", 1, 0},
                                           {SP "\xE0\xA4\x95", 1, 0},
                                           {"", 1, 0},
                                           {SP "ab", 1, 0},
                                           {SP "O", 1, 0}};

static void wpm_ids(struct build *b)
{
    build_u32(b, KEY("bos_token_id"), 2);
    build_u32(b, KEY("unknown_token_id"), 1);
    build_u32(b, KEY("seperator_token_id"), 3);
    build_u32(b, KEY("padding_token_id"), 0);
    build_u32(b, KEY("mask_token_id"), 4);
}

static const struct small wpm_small = {"bert", "default", wpm_entries, N(wpm_entries),
                                       NULL,   0,         NULL,        wpm_ids};

static void wordpiece_takes_the_longest_from_the_left(void **state)
{
    slm_model *m = small_model(&wpm_small);
    (void)state;
    EXPECT(m, "a", 0, 5);
    EXPECT(m, "ab", 0, 9); /* the first of two */
    EXPECT(m, "abba", 0, 9, 10);
    EXPECT(m, "abab b", 0, 9, 7, 8, 6);
    EXPECT(m, "abx", 0, 1); /* one part unknown: all of it */
    EXPECT(m, "abx a x", 0, 1, 5, 1);
    expect_ids(m, "", 0, NULL, 0);
    expect_ids(m, " \n\t", 0, NULL, 0);
    slm_model_free(m);
}

static void wordpiece_normalises_and_cuts_words(void **state)
{
    slm_model *m = small_model(&wpm_small);
    (void)state;
    EXPECT(m,
           "A\xC2\xA0"
           "B\xE3\x80\x80"
           "a\x0B"
           "b",
           0, 5, 6, 5, 6);
    EXPECT(m, "a,b$a", 0, 5, 11, 6, 12, 5);
    EXPECT(m,
           "a\xE6\xBC\xA2"
           "b",
           0, 5, 13, 6);
    EXPECT(m, "\xC3\x96 \xC3\xB6 o\xCC\x88", 0, 14, 14, 14); /* accents go */
    EXPECT(m,
           "a\xE2\x80\x8B"
           "b\xC2\xAD \xEF\xBF\xBD",
           0, 9); /* and what is not seen */
    EXPECT(m,
           "a\xFF"
           "b\xE6",
           0, 9);                                     /* and bytes that are no UTF-8 */
    EXPECT(m, "\xEA\xB0\x80", 0, 17, 18);             /* Hangul falls into its letters */
    EXPECT(m, "\xE0\xA4\x95\xE0\xA4\xBE", 0, 21, 20); /* a vowel that is a spacing mark */
    slm_model_free(m);
}

static void wpm_as_it_is(struct build *b)
{
    wpm_ids(b);
    build_int(b, KEY("normalizer.lowercase"), SLM_TYPE_BOOL, 0);
}

static void wordpiece_may_keep_case_and_accents(void **state)
{
    struct small s = wpm_small;
    (void)state;
    s.more = wpm_as_it_is;
    slm_model *m = small_model(&s);
    EXPECT(m, "O o \xC3\xB6 A", 0, 24, 14, 19, 1);
    slm_model_free(m);
}

static void wordpiece_stands_between_cls_and_sep(void **state)
{
    slm_model *m = small_model(&wpm_small);
    slm_model_info info = info_of(m);
    (void)state;
    EXPECT(m, "a b", SLM_TEXT_BOS, 2, 5, 6, 3);
    EXPECT(m, "", SLM_TEXT_BOS, 2, 3);
    EXPECT(m, "[SEP]", 0, 15, 1, 16);
    EXPECT(m, "a[MASK]b", SLM_TEXT_SPECIAL, 5, 4, 6);
    EXPECT_TEXT(m, SLM_TEXT_BOS, "ab ab", 2, 9, 5, 8, 3);
    EXPECT_TEXT(m, 0, " ab a", 9, 5, 3);
    EXPECT_TEXT(m, SLM_TEXT_SPECIAL, "[CLS] a[SEP]", 2, 5, 3);
    assert_string_equal(info.tokenizer, "wordpiece");
    assert_int_equal(info.add_bos, 1);
    assert_int_equal(info.add_eos, 1);
    assert_int_equal(info.add_sep, 0); /* the end of the first text parts it from the second */
    assert_int_equal(info.bos_token, 2);
    assert_int_equal(info.eos_token, -1);
    assert_int_equal(info.sep_token, 3);
    assert_int_equal(info.mask_token, 4);
    assert_int_equal(info.pre_status, SLM_PRE_NONE);
    slm_model_free(m);
}

/* ---- Unigram --------------------------------------------------------------------------------- */

static const struct entry ugm_entries[] = {
    {"<pad>", 3, 0}, {"</s>", 3, 0},        {"<unk>", 2, 0},    {SP, 1, -2},
    {"a", 1, -3},    {"b", 1, -3},          {SP "a", 1, -2.5f}, {"ab", 1, -4},
    {"ba", 1, -4},   {SP "ab", 1, -20},     {"<u>", 4, -50},    {"aa", 1, -1},
    {"", 1, 0},      {"unused", 5, -1},     {"c", 1, -9},       {"ab", 1, 0},
    {"\xE2", 1, -1}, {SP "b" SP "b", 1, -1}};

static void ugm_flags(struct build *b)
{
    build_int(b, KEY("add_space_prefix"), SLM_TYPE_BOOL, 1);
    build_int(b, KEY("remove_extra_whitespaces"), SLM_TYPE_BOOL, 1);
}

static const struct small ugm_small = {"t5", "default", ugm_entries, N(ugm_entries),
                                       NULL, 0,         NULL,        ugm_flags};

static void unigram_takes_the_best_sum(void **state)
{
    slm_model *m = small_model(&ugm_small);
    (void)state;
    EXPECT(m, "a", 0, 6);
    EXPECT(m, "ab", 0, 6, 5); /* -5.5, and not the longest: -20; nor space and ab: -6 */
    EXPECT(m, "b", 0, 3, 5);
    EXPECT(m, "aab", 0, 3, 11, 5); /* -6, against -7.5 of a, a, b and -6.5 of a, ab */
    EXPECT(m, "unused", 0, 3, 13);
    EXPECT(m, "bb", 0, 3, 5, 5);
    EXPECT(m, "b b", 0, 17); /* a token over two words */
    EXPECT(m, "a b b a", 0, 6, 17, 6);
    slm_model_free(m);
}

static void unigram_covers_what_it_does_not_know(void **state)
{
    slm_model *m = small_model(&ugm_small);
    (void)state;
    EXPECT(m, "axyza", 0, 6, 2, 4); /* one for all of a run */
    EXPECT(m, "x", 0, 3, 2);
    EXPECT(m, "\xE6\xBC\xA2", 0, 3, 2);
    EXPECT(m,
           "\xFF"
           "a",
           0, 3, 2, 4);                 /* no UTF-8 */
    EXPECT(m, "\xE2\x82\xAC", 0, 3, 2); /* not the token of its first byte */
    EXPECT_TEXT(m, 0, " a b", 6, 3, 5, 2);
    slm_model_free(m);
}

static void unigram_merges_spaces(void **state)
{
    struct small s = ugm_small;
    slm_model *m = small_model(&s);
    (void)state;
    EXPECT(m, "  a   a ", 0, 6, 6);
    expect_ids(m, "   ", 0, NULL, 0);
    EXPECT(m, "a", SLM_TEXT_BOS, 6, 1);
    EXPECT(m, "a<u>a", 0, 6, 10, 6);
    EXPECT_TEXT(m, SLM_TEXT_BOS, "a a", 6, 6, 1);
    slm_model_free(m);
    s.more = NULL; /* no prefix, and every space counts */
    m = small_model(&s);
    EXPECT(m, "a", 0, 4);
    EXPECT(m, " a  b", 0, 6, 3, 3, 5);
    slm_model_info info = info_of(m);
    assert_string_equal(info.tokenizer, "unigram");
    assert_int_equal(info.add_bos, 0);
    assert_int_equal(info.add_eos, 1);
    slm_model_free(m);
}

/* A double array in which the bytes of a text lead to a replacement. Nodes lie at base 1024 for each
 * depth: few enough for a test to tell where each one is. */
#define MAP_NODES 4096

struct map {
    uint32_t nodes[MAP_NODES];
    char strings[600];
    size_t n_strings;
};

static uint32_t map_offset(uint32_t base)
{
    return base << 10; /* fits without the shift of bit 9 */
}

/* One text of up to 3 bytes. */
static void map_add(struct map *map, const char *text, const char *replacement)
{
    uint32_t at = 0;
    size_t n = strlen(text);
    map->nodes[0] = map_offset(256);
    at = 256;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        uint32_t base = (uint32_t)(512 * (i + 1)) + 256;
        map->nodes[at] = map_offset(at ^ base) | (map->nodes[at] & 0x100) | byte;
        if (i + 1 == n) {
            map->nodes[at] |= 0x100;
            map->nodes[base] = (uint32_t)map->n_strings | 0x80000000u;
        }
        at = base;
    }
    memcpy(map->strings + map->n_strings, replacement, strlen(replacement) + 1);
    map->n_strings += strlen(replacement) + 1;
}

static struct map current_map;
static size_t map_cut;         /* bytes left out at the end */
static uint32_t map_size_said; /* instead of the size of the nodes; 0: that */

static void put_map(struct build *b)
{
    uint32_t size = map_size_said != 0 ? map_size_said : MAP_NODES * 4;
    size_t n = 4 + MAP_NODES * 4 + current_map.n_strings - map_cut;
    uint8_t *bytes = (uint8_t *)malloc(4 + sizeof current_map.nodes + sizeof current_map.strings);
    for (size_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(size >> 8 * i);
    }
    for (size_t i = 0; i < MAP_NODES * 4; i++) {
        bytes[4 + i] = (uint8_t)(current_map.nodes[i / 4] >> 8 * (i % 4));
    }
    memcpy(bytes + 4 + MAP_NODES * 4, current_map.strings, current_map.n_strings);
    ugm_flags(b);
    build_array(b, KEY("precompiled_charsmap"), SLM_TYPE_UINT8, n);
    build_put(&b->keys, bytes, n);
    free(bytes);
}

static struct small map_small(const char *text, const char *replacement)
{
    struct small s = ugm_small;
    memset(&current_map, 0, sizeof current_map);
    map_add(&current_map, text, replacement);
    map_cut = 0;
    map_size_said = 0;
    s.more = put_map;
    return s;
}

static void the_charsmap_replaces_the_longest(void **state)
{
    static const struct {
        const char *from, *to;
        int32_t ids[4];
        size_t n;
    } want[] = {{"A", "a", {6}, 1},
                {"\xC3\x84", "ab", {6, 5}, 2},
                {"xyz", "", {2}, 0},
                {"xyz", "a b", {6, 3, 5}, 3}};
    (void)state;
    for (size_t i = 0; i < N(want); i++) {
        struct small s = map_small(want[i].from, want[i].to);
        slm_model *m = small_model(&s);
        expect_ids(m, want[i].from, 0, want[i].ids, want[i].n);
        EXPECT(m, "a", 0, 6);
        slm_model_free(m);
    }
    struct small s = map_small("x", "a");
    map_add(&current_map, "xy", "b"); /* the longer one wins where it stands */
    slm_model *m = small_model(&s);
    EXPECT(m, "x", 0, 6);
    EXPECT(m, "xy", 0, 3, 5);
    EXPECT(m, "xx", 0, 3, 11);
    slm_model_free(m);
}

/* A replacement behind the end, one without end, nodes outside: as if they were not there. */
static void a_wrong_charsmap_is_refused_or_without_effect(void **state)
{
    struct small s = map_small("A", "a");
    char longer[400];
    slm_error err;
    slm_model *m = NULL;
    (void)state;
    map_cut = 1; /* the 0 behind it */
    m = small_model(&s);
    EXPECT(m, "A", 0, 3, 2);
    slm_model_free(m);
    memset(longer, 'a', sizeof longer);
    longer[399] = 0;
    s = map_small("A", longer);
    m = small_model(&s);
    EXPECT(m, "A", 0, 3, 2);
    slm_model_free(m);
    s = map_small("A", "a");
    current_map.nodes[512 + 256] = 0x7fffffff;
    m = small_model(&s);
    EXPECT(m, "A", 0, 3, 2);
    slm_model_free(m);
    for (int bits = 0; bits < 3; bits++) {
        s = map_small("A", "a");
        current_map.nodes[0] = bits == 0 ? 0xffffffff : bits == 1 ? 0xfffffe00 : 0x7ffffc00;
        m = small_model(&s);
        EXPECT(m, "A", 0, 3, 2);
        slm_model_free(m);
    }
    static const uint32_t sizes[] = {1, 2, 3, 6, MAP_NODES * 4 + 4, 0xfffffffc, 0xffffffff};
    for (size_t i = 0; i < N(sizes); i++) {
        s = map_small("A", "a");
        map_size_said = sizes[i];
        assert_int_equal(small_open(&m, &s, NULL, &err), SLM_E_MODEL);
        assert_true(tiny_says(&err, "precompiled_charsmap", "nodes"));
    }
}

static void map_of_texts(struct build *b)
{
    static const char *const texts[] = {"a"};
    build_texts(b, KEY("precompiled_charsmap"), texts, 1);
}

static void map_of_words(struct build *b)
{
    static const int64_t values[] = {4, 0};
    build_ints(b, KEY("precompiled_charsmap"), SLM_TYPE_UINT32, values, 2);
}

static void map_of_two_bytes(struct build *b)
{
    static const int64_t values[] = {4, 0};
    build_ints(b, KEY("precompiled_charsmap"), SLM_TYPE_INT8, values, 2);
}

static void map_of_nothing(struct build *b)
{
    build_array(b, KEY("precompiled_charsmap"), SLM_TYPE_UINT8, 0);
}

static void no_unknown(struct build *b)
{
    build_int(b, KEY("unknown_token_id"), SLM_TYPE_UINT32, 1000);
}

/* ---- RWKV ------------------------------------------------------------------------------------ */

static const struct entry rwkv_entries[] = {
    {"<s>", 3, 0},  {"a", 1, 0},      {"ab", 1, 0},       {"abc", 1, 0},
    {"\\n", 1, 0},  {"\\t\\r", 1, 0}, {"\\x00", 1, 0},    {"\\xE2\\x82", 1, 0},
    {"\\\\", 1, 0}, {"\\'", 1, 0},    {"\xC3\xA4", 1, 0}, {" a", 1, 0},
    {"\\x4", 1, 0}, {"", 1, 0},       {"\\", 1, 0},       {"\\x61\\x62", 1, 0}};

static const struct small rwkv_small = {"rwkv", NULL, rwkv_entries, N(rwkv_entries),
                                        NULL,   0,    NULL,         NULL};

static void rwkv_takes_the_longest_bytes(void **state)
{
    slm_model *m = small_model(&rwkv_small);
    (void)state;
    EXPECT(m, "abcab a", 0, 3, 2, 11);
    EXPECT(m, "a\n\t\ra", 0, 1, 4, 5, 1);
    EXPECT(m, "\\'x4", 0, 8, 9, 12);
    EXPECT(m, "\xE2\x82\xC3\xA4", 0, 7, 10);
    expect_ids(m, "\t", 0, NULL, 0); /* only the beginning of a token, and no unknown one */
    EXPECT(m, "\tab\xFF", 0, 2);
    EXPECT(m, "<s>", SLM_TEXT_SPECIAL, 0);
    struct ids zero = test_tokenize(m, "a\0a", 3, 0);
    assert_int_equal(zero.n, 3);
    assert_int_equal(zero.data[1], 6);
    free(zero.data);
    EXPECT_TEXT(m, 0, "ab\n\t\r\xE2\x82\\'x4ab", 2, 4, 5, 7, 8, 9, 12, 15);
    EXPECT_TEXT(m, SLM_TEXT_SPECIAL, "<s>a", 0, 1);
    assert_string_equal(info_of(m).tokenizer, "rwkv");
    slm_model_free(m);
}

/* With a token for each byte, any bytes come back. */
static void rwkv_with_all_bytes_is_reversible(void **state)
{
    static char names[256][8];
    static struct entry entries[256 + 2];
    struct small s = rwkv_small;
    char text[512];
    uint64_t random = 1;
    (void)state;
    for (int i = 0; i < 256; i++) {
        snprintf(names[i], sizeof names[i], "\\x%02x", (unsigned)i);
        entries[i].text = names[i];
        entries[i].type = 1;
    }
    entries[256].text = "\\xe2\\x82\\xac";
    entries[257].text = "ab";
    entries[256].type = entries[257].type = 1;
    s.entries = entries;
    s.n = N(entries);
    slm_model *m = small_model(&s);
    for (int run = 0; run < 200; run++) {
        for (size_t i = 0; i < sizeof text; i++) {
            random = random * UINT64_C(6364136223846793005) + 1;
            text[i] = run % 2 == 0 ? (char)(random >> 56) : "ab\xE2\x82\xAC"[(random >> 40) % 5];
        }
        struct ids ids = test_tokenize(m, text, sizeof text, SLM_TEXT_BOS);
        size_t n = 0;
        char *back = test_text(m, ids, SLM_TEXT_BOS, &n);
        assert_int_equal(n, sizeof text);
        assert_memory_equal(back, text, n);
        free(back);
        free(ids.data);
    }
    slm_model_free(m);
}

/* ---- Raw BPE --------------------------------------------------------------------------------- */

static const struct entry raw_entries[] = {
    {"<pad>", 3, 0},  {"<eos>", 3, 0},  {"<bos>", 3, 0},  {"<unk>", 2, 0},    {"a", 1, 0},
    {"b", 1, 0},      {SP, 1, 0},       {SP "a", 1, 0},   {"\n", 1, 0},       {"\n\n\n", 1, 0},
    {"<0xE6>", 6, 0}, {"<0xBC>", 6, 0}, {"<0xA2>", 6, 0}, {"\xC3\xA4", 1, 0}, {SP SP, 1, 0},
    {"ab", 1, 0},     {"b" SP, 1, 0},   {"B", 1, 0}};
static const char *const raw_merges[] = {"b " SP, SP " a", "a b", SP " " SP, "a a"};

static void raw_ids(struct build *b)
{
    build_u32(b, KEY("bos_token_id"), 2);
    build_u32(b, KEY("eos_token_id"), 1);
    build_u32(b, KEY("unknown_token_id"), 3);
    build_int(b, KEY("add_bos_token"), SLM_TYPE_BOOL, 0); /* Gemma 4 has it whatever this says */
}

static const struct small raw_small = {"gemma4",   NULL, raw_entries, N(raw_entries),
                                       raw_merges, 5,    NULL,        raw_ids};

static void gemma4_merges_characters(void **state)
{
    slm_model *m = small_model(&raw_small);
    (void)state;
    EXPECT(m, "ab a", 0, 4, 16, 4); /* b and the space first */
    EXPECT(m, "a a", 0, 4, 7);
    EXPECT(m, "a   a", 0, 4, 14, 7);
    EXPECT(m, "\n\n\n", 0, 9);
    EXPECT(m, "\n\n", 0, 8, 8);
    EXPECT(m, "a\n\n\na", 0, 4, 9, 4);
    EXPECT(m, "\xE6\xBC\xA2", 0, 10, 11, 12);
    EXPECT(m, "\xC3\xA4x", 0, 13, 3); /* no token for a byte: the unknown one */
    EXPECT(m, "aa", 0, 4, 4);         /* a merge to no token: its bytes */
    EXPECT(m, "a", SLM_TEXT_BOS, 2, 4);
    EXPECT_TEXT(m, SLM_TEXT_BOS, "b a\xE6\xBC\xA2", 2, 16, 4, 10, 11, 12);
    slm_model_info info = info_of(m);
    assert_string_equal(info.tokenizer, "bpe");
    assert_int_equal(info.add_bos, 1);
    assert_int_equal(info.pre_status, SLM_PRE_KNOWN);
    slm_model_free(m);
}

static void lower(struct build *b)
{
    build_int(b, KEY("normalizer.lowercase"), SLM_TYPE_BOOL, 1);
}

static void the_whitespace_pretokenizer_drops_white_space(void **state)
{
    struct small s = raw_small;
    (void)state;
    s.model = "gpt2";
    s.pre = "whitespace";
    s.more = lower;
    slm_model *m = small_model(&s);
    EXPECT(m, "ab  B\tA\xC3\x84", 0, 15, 5, 4, 13);
    slm_model_free(m);
    s.more = NULL;
    m = small_model(&s);
    EXPECT(m, "ab B", 0, 15, 17);
    slm_model_free(m);
}

/* ---- Cleaning and suppressing ----------------------------------------------------------------- */

/* User-defined tokens come out as they are. */
static const struct entry clean_entries[] = {
    {"a", 1, 0},  {"hi ", 4, 0},  {" ", 4, 0},  {"?", 4, 0},     {"! .", 4, 0},  {" 's", 4, 0},
    {"' ", 4, 0}, {" 'll", 4, 0}, {" '", 4, 0}, {"ve ,x", 4, 0}, {"<br> ", 3, 0}};

static void spaces_are_cleaned_on_request_where_llama_cpp_does(void **state)
{
    static const char *const no_merges[1] = {"a a"};
    struct small s = {"gpt2", "gpt-2", clean_entries, N(clean_entries), no_merges, 1, NULL, NULL};
    slm_model *m = small_model(&s);
    slm_error err;
    char text[64];
    size_t n = 0;
    static const int32_t ids[2] = {1, 3};
    (void)state;
    EXPECT_TEXT(m, 0, "hi ?", 1, 3);
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, "hi?", 1, 3);
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, "?!. ?", 3, 2, 4, 2, 2, 3); /* one of two spaces */
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, "a's 'll've,x", 0, 5, 7, 8, 9);
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, "a'a' a", 0, 8, 2, 0, 8, 2, 2, 0);
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, " '' '", 2, 8, 8, 8);
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, "?", 2, 3);
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, "", 10); /* a control token, not written */
    EXPECT_TEXT(m, SLM_TEXT_CLEAN | SLM_TEXT_SPECIAL, "<br>?", 10, 3);
    assert_int_equal(slm_detokenize(m, ids, 2, SLM_TEXT_CLEAN, text, 2, &n, &err), SLM_E_SPACE);
    assert_int_equal(n, 3);
    assert_int_equal(slm_tokenize(m, "a", 1, SLM_TEXT_CLEAN, NULL, 0, &n, &err), SLM_E_ARGUMENT);
    slm_model_free(m);
    s.pre = "qwen2";
    m = small_model(&s);
    EXPECT_TEXT(m, SLM_TEXT_CLEAN, "hi ?", 1, 3);
    slm_model_free(m);
}

static void suppress(struct build *b)
{
    static const int64_t ids[] = {2, 4, 2, -1, 99};
    build_ints(b, KEY("suppress_tokens"), SLM_TYPE_INT32, ids, N(ids));
}

static void suppress_text(struct build *b)
{
    build_text(b, KEY("suppress_tokens"), "2");
}

static void suppressed_tokens_are_never_sampled(void **state)
{
    static const float logits[] = {1, 2, 9, 3, 8, 0, 0, 0, 0, 0, 0};
    static const char *const no_merges[1] = {"a a"};
    struct small s = {"gpt2",    "gpt-2", clean_entries, N(clean_entries),
                      no_merges, 1,       NULL,          suppress};
    slm_sampler_stage stage = {.struct_size = sizeof stage};
    slm_model *m = small_model(&s);
    slm_error err;
    (void)state;
    stage.kind = SLM_STAGE_TOP_K;
    stage.n = 2;
    for (int32_t n_stages = 0; n_stages < 2; n_stages++) {
        slm_sampler *sampler = NULL;
        slm_candidate c[2] = {{2, 9, 0}, {1, 2, 0}};
        float only[N(clean_entries)];
        int32_t token = -1;
        int32_t n = 2;
        assert_int_equal(
            slm_sampler_create(&sampler, m, &stage, n_stages, sizeof stage, NULL, &err), SLM_OK);
        for (int i = 0; i < 50; i++) {
            assert_int_equal(slm_sample(sampler, logits, N(logits), &token, &err), SLM_OK);
            assert_true(token == 3 || (token == 1 && n_stages > 0));
        }
        assert_int_equal(slm_sampler_apply(sampler, c, &n, &err), SLM_OK);
        assert_int_equal(slm_sampler_choose(sampler, c, n, &token, &err), SLM_OK);
        assert_int_equal(token, 1);
        for (size_t i = 0; i < N(only); i++) {
            only[i] = i == 2 ? 1 : -INFINITY;
        }
        assert_int_equal(slm_sample(sampler, only, N(only), &token, &err), SLM_E_NUMERIC);
        slm_sampler_free(sampler);
    }
    slm_model_free(m);
    s.more = suppress_text;
    assert_int_equal(small_open(&m, &s, NULL, &err), SLM_E_MODEL);
    assert_non_null(strstr(err.message, "suppress_tokens"));
}

/* ---- What the vocabulary says of itself ------------------------------------------------------ */

static void a_pretokenizer_that_is_guessed_is_told(void **state)
{
    static const struct {
        const char *pre;
        int32_t status;
        const char *warning;
    } want[] = {{"gpt-2", SLM_PRE_KNOWN, ""},
                {"default", SLM_PRE_KNOWN, ""},
                {NULL, SLM_PRE_MISSING, "tokenizer.ggml.pre"},
                {"no-such-thing", SLM_PRE_UNKNOWN, "no-such-thing"}};
    (void)state;
    for (size_t i = 0; i < N(want); i++) {
        struct small s = raw_small;
        char warning[256] = "";
        slm_error err;
        slm_model *m = NULL;
        s.model = "gpt2";
        s.pre = want[i].pre;
        s.more = NULL;
        assert_int_equal(small_open(&m, &s, warning, &err), SLM_OK);
        assert_non_null(strstr(warning, want[i].warning));
        slm_model_info info = info_of(m);
        assert_int_equal(info.pre_status, want[i].status);
        assert_string_equal(info.pre, want[i].pre != NULL ? want[i].pre : "");
        slm_model_free(m);
    }
}

static void infill_tokens_are_found_by_name_and_by_key(void **state)
{
    static const struct entry entries[] = {{"a", 1, 0},
                                           {"<|fim_prefix|>", 1, 0},
                                           {"<fim_suffix>", 3, 0},
                                           {"<MID>", 3, 0},
                                           {"[PAD]", 3, 0},
                                           {"<reponame>", 3, 0},
                                           {"<|file_sep|>", 3, 0},
                                           {"<|eom_id|>", 3, 0},
                                           {"<|fim_middle|>", 3, 0}};
    struct small s = raw_small;
    (void)state;
    s.entries = entries;
    s.n = N(entries);
    s.more = NULL;
    slm_model *m = small_model(&s);
    slm_model_info info = info_of(m);
    slm_token_info token;
    assert_int_equal(info.fim_pre_token, 1);
    assert_int_equal(info.fim_suf_token, 2);
    assert_int_equal(info.fim_mid_token, 8); /* the first name of the list */
    assert_int_equal(info.fim_pad_token, 4);
    assert_int_equal(info.fim_rep_token, 5);
    assert_int_equal(info.fim_sep_token, 6);
    assert_int_equal(info.eom_token, 7);
    token.struct_size = sizeof token;
    for (int32_t i = 0; i < 9; i++) {
        assert_int_equal(slm_token_get_info(m, i, &token, NULL), SLM_OK);
        assert_int_equal(token.is_end, i >= 4 && i < 8);
        assert_int_equal(token.kind, i == 0 ? SLM_TOKEN_NORMAL : SLM_TOKEN_CONTROL);
    }
    slm_model_free(m);
}

/* ---- Holes and memory ------------------------------------------------------------------------ */

static void a_vocabulary_with_holes_is_refused_by_name_or_used(void **state)
{
    static const struct {
        const struct small *small;
        const char *without;
        void (*more)(struct build *b);
        int status;
        const char *says;
    } want[] = {{&ugm_small, KEY("scores"), NULL, SLM_E_MODEL, "scores is missing"},
                {&ugm_small, KEY("token_type"), NULL, SLM_OK, NULL},
                {&ugm_small, KEY("tokens"), NULL, SLM_E_MODEL, "tokens is missing"},
                {&ugm_small, NULL, map_of_texts, SLM_E_MODEL, "no array of bytes"},
                {&ugm_small, NULL, map_of_words, SLM_E_MODEL, "no array of bytes"},
                {&ugm_small, NULL, map_of_two_bytes, SLM_E_MODEL, "2 bytes"},
                {&ugm_small, NULL, map_of_nothing, SLM_OK, NULL},
                {&ugm_small, NULL, no_unknown, SLM_OK, NULL},
                {&wpm_small, KEY("scores"), NULL, SLM_OK, NULL},
                {&wpm_small, KEY("token_type"), NULL, SLM_OK, NULL},
                {&wpm_small, NULL, no_unknown, SLM_OK, NULL},
                {&rwkv_small, KEY("scores"), NULL, SLM_OK, NULL},
                {&rwkv_small, KEY("token_type"), NULL, SLM_OK, NULL},
                {&raw_small, KEY("merges"), NULL, SLM_E_MODEL, "merges is missing"},
                {&raw_small, KEY("scores"), NULL, SLM_OK, NULL}};
    (void)state;
    for (size_t i = 0; i < N(want); i++) {
        struct small s = *want[i].small;
        slm_error err;
        slm_model *m = NULL;
        s.without = want[i].without;
        s.more = want[i].more != NULL ? want[i].more : s.more;
        int status = small_open(&m, &s, NULL, &err);
        if (status != want[i].status ||
            (status != SLM_OK && !tiny_says(&err, want[i].says, NULL))) {
            fail_msg("%zu: %d: %s", i, status, err.message);
        }
        for (uint32_t flags = 0; status == SLM_OK && flags < 4; flags++) {
            static const char text[] = "ab b\xC3\x84 x\xFF\xE6\xBC\xA2[MASK]<u>\n";
            size_t n = 0;
            struct ids ids = test_tokenize(m, text, sizeof text - 1, flags);
            free(test_text(m, ids, flags, &n));
            free(ids.data);
        }
        slm_model_free(m);
    }
}

static void no_memory_is_an_error_at_every_request(void **state)
{
    struct small map = map_small("A", "a");
    const struct small *const all[] = {&wpm_small, &ugm_small, &map, &rwkv_small, &raw_small};
    (void)state;
    for (size_t which = 0; which < N(all); which++) {
        struct build b;
        slm_model_options o;
        int status = SLM_E_MEMORY;
        int64_t fail_at = 1;
        small_build(&b, all[which]);
        for (; status != SLM_OK && fail_at < 1000; fail_at++) {
            struct counting c = {0};
            slm_error err;
            slm_model *m = NULL;
            int32_t tokens[64];
            size_t needed = 0;
            c.fail_at = fail_at;
            slm_model_options_init(&o, sizeof o);
            o.flags = SLM_LOAD_METADATA;
            o.alloc = counting_alloc;
            o.alloc_user = &c;
            status = tiny_open(&m, &b, &o, &err);
            if (status == SLM_OK) {
                int64_t before = c.n_blocks;
                status =
                    slm_tokenize(m, "ab<u>A \xE6\xBC\xA2[MASK]", 16, 3, tokens, 64, &needed, &err);
                assert_int_equal(c.n_blocks, before);
            }
            slm_model_free(m);
            assert_true(status == SLM_OK || status == SLM_E_MEMORY);
            assert_int_equal(c.n_blocks, 0);
            assert_int_equal(c.now, 0);
        }
        assert_int_equal(status, SLM_OK);
        assert_true(fail_at > 8);
        build_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wordpiece_takes_the_longest_from_the_left),
        cmocka_unit_test(wordpiece_normalises_and_cuts_words),
        cmocka_unit_test(wordpiece_may_keep_case_and_accents),
        cmocka_unit_test(wordpiece_stands_between_cls_and_sep),
        cmocka_unit_test(unigram_takes_the_best_sum),
        cmocka_unit_test(unigram_covers_what_it_does_not_know),
        cmocka_unit_test(unigram_merges_spaces),
        cmocka_unit_test(the_charsmap_replaces_the_longest),
        cmocka_unit_test(a_wrong_charsmap_is_refused_or_without_effect),
        cmocka_unit_test(rwkv_takes_the_longest_bytes),
        cmocka_unit_test(rwkv_with_all_bytes_is_reversible),
        cmocka_unit_test(gemma4_merges_characters),
        cmocka_unit_test(the_whitespace_pretokenizer_drops_white_space),
        cmocka_unit_test(spaces_are_cleaned_on_request_where_llama_cpp_does),
        cmocka_unit_test(suppressed_tokens_are_never_sampled),
        cmocka_unit_test(a_pretokenizer_that_is_guessed_is_told),
        cmocka_unit_test(infill_tokens_are_found_by_name_and_by_key),
        cmocka_unit_test(a_vocabulary_with_holes_is_refused_by_name_or_used),
        cmocka_unit_test(no_memory_is_an_error_at_every_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
