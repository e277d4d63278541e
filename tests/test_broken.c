/* test_broken.c - files that are no models: whatever is wrong with one is told by a status and a
 * message that names the place, and no claim it makes takes more memory than its size allows.
 *
 * Public functions only. */
#include "gguf_fixture.h"

/* Opens from memory; must fail like this and leave nothing. */
static void assert_refused(const char *what, const struct build *b, int wanted, const char *one,
                           const char *two)
{
    struct counting c;
    slm_model_options o = model_options(&c, 0);
    slm_error err;
    slm_model *model = (slm_model *)(uintptr_t)1;
    int status = tiny_open(&model, b, &o, &err);
    assert_says(what, status, &err, wanted, one, two);
    assert_null(model);
    assert_all_freed(&c);
    assert_in_proportion(&c, b->file.size);
}

/* ---- What is not a GGUF file of ours --------------------------------------------------------- */

static void other_files_are_refused(void **state)
{
    static const struct {
        const char *what;
        const char *bytes;
        size_t size;
        int status;
        const char *says;
    } rows[] = {
        {"empty", "", 0, SLM_E_FORMAT, "needs 4 bytes"},
        {"a byte", "G", 1, SLM_E_FORMAT, "has 1 left"},
        {"text", "once upon a time there was", 26, SLM_E_FORMAT, "not a GGUF file"},
        {"zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_FORMAT,
         "not a GGUF"},
        {"magic alone", "GGUF", 4, SLM_E_FORMAT, "at byte 4"},
        {"no counts", "GGUF\3\0\0\0", 8, SLM_E_FORMAT, "at byte 8"},
        {"version 1", "GGUF\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_UNSUPPORTED,
         "version 1"},
        {"version 4", "GGUF\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_UNSUPPORTED,
         "version 4"},
        {"big-endian", "GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_UNSUPPORTED,
         "big-endian"},
        {"nothing in it", "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_MODEL,
         "general.architecture"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct build b;
        struct counting c;
        struct reader r = {&b, 1, SIZE_MAX, 0, 0, 0, 0};
        char path[512];
        build_init(&b);
        build_put(&b.file, "", 0);
        build_put(&b.file, rows[i].bytes, rows[i].size);
        if (b.file.data == NULL) {
            b.file.data = (uint8_t *)malloc(1);
        }
        assert_refused(rows[i].what, &b, rows[i].status, rows[i].says, NULL);
        assert_int_equal(testing_temp(path, sizeof path, "other", rows[i].bytes, rows[i].size), 0);
        for (uint32_t flags = 0; flags <= 1; flags++) {
            slm_model *model = NULL;
            slm_model_options o = model_options(&c, flags);
            slm_error err;
            int status = slm_model_open(&model, path, &o, &err);
            assert_says(rows[i].what, status, &err, rows[i].status, rows[i].says, NULL);
            assert_all_freed(&c);
            status = reader_open(&model, &r, &o, &err);
            assert_says(rows[i].what, status, &err, rows[i].status, rows[i].says, NULL);
            assert_all_freed(&c);
        }
        remove(path);
        build_free(&b);
    }
}

static void paths_that_are_no_files_are_io_errors(void **state)
{
    struct counting c;
    slm_error err;
    (void)state;
    for (uint32_t flags = 0; flags <= 1; flags++) {
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, flags);
        int status = slm_model_open(&model, "tests", &o, &err);
        assert_says("a directory", status, &err, SLM_E_IO, "tests", "directory");
        status = slm_model_open(&model, "tests/no such file.gguf", &o, &err);
        assert_says("no file", status, &err, SLM_E_IO, "no such file.gguf", NULL);
        status = slm_model_open(&model, "", &o, &err);
        assert_says("an empty path", status, &err, SLM_E_IO, NULL, NULL);
        status = slm_model_open(&model, "/dev/null", &o, &err);
        assert_says("a device", status, &err, SLM_E_IO, "/dev/null", NULL);
        assert_null(model);
        assert_all_freed(&c);
    }
}

/* ---- Rules broken one by one ----------------------------------------------------------------- */

#define IN_HEADER NULL

struct broken {
    const char *what;
    const char *name; /* the key or tensor whose field is overwritten */
    int field;        /* AT_, or BUILD_AT_ in the header */
    size_t plus;      /* bytes behind the field's begin */
    uint64_t value;
    size_t bytes;
    int status;
    const char *says, *also;
};

#define EMBD "token_embd.weight"
#define TWO_63 ((uint64_t)1 << 63)

static const struct broken broken_rows[] = {
    {"tensors, negative", IN_HEADER, BUILD_AT_N_TENSORS, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "18446744073709551615 tensors", NULL},
    {"tensors, 2^63", IN_HEADER, BUILD_AT_N_TENSORS, 0, TWO_63, 8, SLM_E_FORMAT,
     "9223372036854775808 tensors", NULL},
    {"tensors, 2^40", IN_HEADER, BUILD_AT_N_TENSORS, 0, (uint64_t)1 << 40, 8, SLM_E_FORMAT,
     "1099511627776 tensors", NULL},
    {"tensors, one too many", IN_HEADER, BUILD_AT_N_TENSORS, 0, 13, 8, SLM_E_FORMAT, NULL, NULL},
    {"tensors, one too few", IN_HEADER, BUILD_AT_N_TENSORS, 0, 11, 8, SLM_E_MODEL,
     "blk.0.ffn_norm.weight", "missing"},
    {"keys, negative", IN_HEADER, BUILD_AT_N_KEYS, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "18446744073709551615 keys", NULL},
    {"keys, 2^63", IN_HEADER, BUILD_AT_N_KEYS, 0, TWO_63, 8, SLM_E_FORMAT,
     "9223372036854775808 keys", NULL},
    {"keys, more than the file has", IN_HEADER, BUILD_AT_N_KEYS, 0, 500, 8, SLM_E_FORMAT, NULL,
     NULL},

    {"key length 0", "llama.block_count", AT_NAME, 0, 0, 8, SLM_E_FORMAT,
     "a key of 0 bytes at byte", NULL},
    {"key length 2^63", "llama.block_count", AT_NAME, 0, TWO_63, 8, SLM_E_FORMAT,
     "needs 9223372036854775808 bytes", "key"},
    {"key length 2^64-1", "llama.block_count", AT_NAME, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "needs 18446744073709551615 bytes", "key"},
    {"value type 13", "llama.block_count", AT_TYPE, 0, 13, 4, SLM_E_FORMAT, "llama.block_count",
     "type 13"},
    {"value type 2^32-1", "llama.block_count", AT_TYPE, 0, 0xffffffff, 4, SLM_E_FORMAT,
     "llama.block_count", "type 4294967295"},
    {"string of 2^64-1 bytes", "general.architecture", AT_VALUE, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "needs 18446744073709551615 bytes", "string"},
    {"string of 2^63 bytes", "general.architecture", AT_VALUE, 0, TWO_63, 8, SLM_E_FORMAT,
     "needs 9223372036854775808 bytes", "string"},
    {"array of arrays", "a.ints", AT_VALUE, 0, 9, 4, SLM_E_FORMAT, "a.ints", "type 9"},
    {"array type 13", "a.ints", AT_VALUE, 0, 13, 4, SLM_E_FORMAT, "a.ints", "type 13"},
    {"array of 2^63 integers", "a.ints", AT_ELEMENTS, 0, TWO_63, 8, SLM_E_FORMAT, "a.ints",
     "9223372036854775808 elements"},
    {"array whose bytes wrap", "a.ints", AT_ELEMENTS, 0, ((uint64_t)1 << 62) + 1, 8, SLM_E_FORMAT,
     "a.ints", "4611686018427387905 elements"},
    {"array of 2^64-1 strings", "a.texts", AT_ELEMENTS, 0, UINT64_MAX, 8, SLM_E_FORMAT, "a.texts",
     "18446744073709551615 elements"},
    {"array of 2^61 strings", "a.texts", AT_ELEMENTS, 0, (uint64_t)1 << 61, 8, SLM_E_FORMAT,
     "a.texts", "2305843009213693952 elements"},
    {"array string of 2^64-1 bytes", "a.texts", AT_ELEMENTS, 8, UINT64_MAX, 8, SLM_E_FORMAT,
     "needs 18446744073709551615 bytes", "array"},

    {"alignment 0", "general.alignment", AT_VALUE, 0, 0, 4, SLM_E_FORMAT, "general.alignment is 0",
     NULL},
    {"alignment 48", "general.alignment", AT_VALUE, 0, 48, 4, SLM_E_FORMAT,
     "general.alignment is 48", NULL},
    {"alignment 2^21", "general.alignment", AT_VALUE, 0, 1 << 21, 4, SLM_E_FORMAT,
     "general.alignment is 2097152", NULL},
    {"alignment 2^31", "general.alignment", AT_VALUE, 0, (uint64_t)1 << 31, 4, SLM_E_FORMAT,
     "general.alignment is 2147483648", NULL},
    {"alignment as int32", "general.alignment", AT_TYPE, 0, SLM_TYPE_INT32, 4, SLM_E_FORMAT,
     "general.alignment", "uint32"},
    {"alignment as float32", "general.alignment", AT_TYPE, 0, SLM_TYPE_FLOAT32, 4, SLM_E_FORMAT,
     "general.alignment", "uint32"},

    {"tensor name of 2^64-1 bytes", EMBD, AT_NAME, 0, UINT64_MAX, 8, SLM_E_FORMAT, "tensor name",
     "needs 18446744073709551615 bytes"},
    {"tensor name of 64 bytes", EMBD, AT_NAME, 0, 64, 8, SLM_E_FORMAT,
     "a tensor name of 64 bytes at byte", NULL},
    {"5 dimensions", EMBD, AT_N_DIMS, 0, 5, 4, SLM_E_FORMAT, EMBD, "5 dimensions"},
    {"2^32-1 dimensions", EMBD, AT_N_DIMS, 0, 0xffffffff, 4, SLM_E_FORMAT, EMBD,
     "4294967295 dimensions"},
    {"row length 0", EMBD, AT_SHAPE, 0, 0, 8, SLM_E_FORMAT, EMBD, "dimension 0 is 0"},
    {"no rows", EMBD, AT_SHAPE, 8, 0, 8, SLM_E_FORMAT, EMBD, "dimension 1 is 0"},
    {"negative row length", EMBD, AT_SHAPE, 0, UINT64_MAX, 8, SLM_E_FORMAT, EMBD, "dimension 0"},
    {"2^62 rows", EMBD, AT_SHAPE, 8, (uint64_t)1 << 62, 8, SLM_E_FORMAT, EMBD,
     "4611686018427387904"},
    {"rows whose product wraps to 0", EMBD, AT_SHAPE, 8, (uint64_t)1 << 60, 8, SLM_E_FORMAT, EMBD,
     "1152921504606846976"},
    {"bytes that wrap", EMBD, AT_SHAPE, 8, (uint64_t)1 << 58, 8, SLM_E_FORMAT, EMBD, NULL},
    {"more rows than the file has", EMBD, AT_SHAPE, 8, 1 << 20, 8, SLM_E_FORMAT, EMBD,
     "not within the file"},
    {"a removed encoding, 4", EMBD, AT_TYPE, 0, 4, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 4 "},
    {"a removed encoding, 5", EMBD, AT_TYPE, 0, 5, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 5 "},
    {"a removed encoding, 31", EMBD, AT_TYPE, 0, 31, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 31 "},
    {"a removed encoding, 32", EMBD, AT_TYPE, 0, 32, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 32 "},
    {"a removed encoding, 33", EMBD, AT_TYPE, 0, 33, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 33 "},
    {"a removed encoding, 36", EMBD, AT_TYPE, 0, 36, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 36 "},
    {"a removed encoding, 37", EMBD, AT_TYPE, 0, 37, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 37 "},
    {"a removed encoding, 38", EMBD, AT_TYPE, 0, 38, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 38 "},
    {"an unknown encoding, 43", EMBD, AT_TYPE, 0, 43, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 43 "},
    {"an unknown encoding, 2^31", EMBD, AT_TYPE, 0, (uint64_t)1 << 31, 4, SLM_E_UNSUPPORTED, EMBD,
     "encoding 2147483648 "},
    {"an unknown encoding, 2^32-1", EMBD, AT_TYPE, 0, 0xffffffff, 4, SLM_E_UNSUPPORTED, EMBD,
     "encoding 4294967295 "},
    {"rows that are no whole blocks, Q8_0", EMBD, AT_TYPE, 0, 8, 4, SLM_E_FORMAT, EMBD, "Q8_0"},
    {"rows that are no whole blocks, Q6_K", EMBD, AT_TYPE, 0, 14, 4, SLM_E_FORMAT, EMBD, "Q6_K"},
    {"integers as weights", EMBD, AT_TYPE, 0, 26, 4, SLM_E_UNSUPPORTED, EMBD, "I32"},
    {"unaligned offset", EMBD, AT_OFFSET, 0, 16, 8, SLM_E_FORMAT, EMBD, "alignment 32"},
    {"offset behind the file", EMBD, AT_OFFSET, 0, 1 << 20, 8, SLM_E_FORMAT, EMBD, "1048576"},
    {"offset 2^63", EMBD, AT_OFFSET, 0, TWO_63, 8, SLM_E_FORMAT, EMBD, "9223372036854775808"},
    {"offset whose sum wraps", EMBD, AT_OFFSET, 0, UINT64_MAX - 31, 8, SLM_E_FORMAT, EMBD,
     "18446744073709551584"},
};

static void array_keys(struct build *b)
{
    static const int64_t ints[3] = {1, 2, 3};
    static const char *const texts[2] = {"one", "two"};
    build_ints(b, "a.ints", SLM_TYPE_INT32, ints, 3);
    build_texts(b, "a.texts", texts, 2);
    build_u32(b, "general.alignment", 32);
}

static void each_broken_rule_is_told_with_its_place(void **state)
{
    struct tiny t = tiny_default();
    (void)state;
    t.keys = array_keys;
    for (size_t i = 0; i < sizeof broken_rows / sizeof broken_rows[0]; i++) {
        const struct broken *r = &broken_rows[i];
        struct build b;
        tiny_build(&b, &t);
        snapshot_from_memory(&b);
        size_t at = r->name != IN_HEADER ? build_at(&b, r->name, r->field) : (size_t)r->field;
        build_poke(&b, at + r->plus, r->value, r->bytes);
        assert_refused(r->what, &b, r->status, r->says, r->also);
        build_free(&b);
    }
}

static void a_key_or_tensor_that_stands_twice_is_refused(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    (void)state;
    tiny_build(&b, &t);
    /* The two names have the same length. */
    size_t one = build_at(&b, "blk.0.attn_q.weight", AT_NAME) + 8;
    size_t two = build_at(&b, "blk.0.attn_k.weight", AT_NAME) + 8;
    memcpy(b.file.data + two, b.file.data + one, strlen("blk.0.attn_k.weight"));
    assert_refused("tensor", &b, SLM_E_FORMAT, "tensor 'blk.0.attn_q.weight'", "twice");
    build_free(&b);

    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_text(&b, "some.key", "x");
    build_text(&b, "some.key", "y");
    build_finish(&b);
    assert_refused("key", &b, SLM_E_FORMAT, "key 'some.key'", "twice");
    build_free(&b);
}

static void the_longest_key_is_65535_bytes(void **state)
{
    char *key = (char *)malloc(65537);
    (void)state;
    assert_non_null(key);
    memset(key, 'k', 65536);
    key[65536] = 0;
    for (size_t n = 65535; n <= 65536; n++) {
        struct build b;
        slm_model_options o;
        slm_model *model = NULL;
        slm_error err;
        build_init(&b);
        build_text(&b, "general.architecture", "llama");
        build_text(&b, key + (65536 - n), "x");
        build_finish(&b);
        slm_model_options_init(&o, sizeof o);
        o.flags = SLM_LOAD_METADATA;
        int status = tiny_open(&model, &b, &o, &err);
        assert_says("long key", status, &err, n == 65535 ? SLM_OK : SLM_E_FORMAT,
                    n == 65535 ? NULL : "65536 bytes", NULL);
        slm_model_free(model);
        build_free(&b);
    }
    free(key);
}

static void name_of_63(struct build *b)
{
    int64_t one = 1;
    char name[64];
    memset(name, 'n', 63);
    name[63] = 0;
    build_tensor(b, name, 1, &one);
    build_tensor(b, "", 1, &one);
}

static void the_longest_tensor_name_is_63_bytes_and_it_may_be_empty(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    (void)state;
    t.tensors = name_of_63;
    tiny_build(&b, &t);
    snapshot_from_memory(&b);
    build_free(&b);
}

/* ---- Every truncation, every altered byte ---------------------------------------------------- */

static void an_odd_end(struct build *b)
{
    int64_t one = 1;
    build_tensor(b, "last", 1, &one);
}

static void a_truncated_file_is_refused_at_every_byte(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct counting c;
    (void)state;
    t.keys = array_keys;
    t.tensors = an_odd_end;
    tiny_build(&b, &t);
    assert_true(b.needed < b.file.size);
    for (size_t size = 0; size <= b.file.size; size++) {
        /* A copy of exactly that size. */
        uint8_t *copy = (uint8_t *)malloc(size + 1);
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, 0);
        slm_error err;
        assert_non_null(copy);
        uint8_t *begin = copy + 1;
        memcpy(begin, b.file.data, size);
        const void *data = begin;
        int status = slm_model_open_memory(&model, &data, &size, 1, &o, &err);
        if (size >= b.needed) {
            assert_says("only padding is missing", status, &err, SLM_OK, "", NULL);
        } else {
            assert_int_equal(status, SLM_E_FORMAT);
            assert_true(err.message[0] != 0);
            assert_null(model);
        }
        slm_model_free(model);
        assert_all_freed(&c);
        assert_in_proportion(&c, size);
        free(copy);
    }
    build_free(&b);
}

static void altered_bpe(struct build *b)
{
    static const char *const texts[6] = {"a", "b", "c", "ab", "abc", "<|x|>"};
    static const char *const merges[2] = {"a b", "ab c"};
    static const int64_t types[6] = {1, 1, 1, 1, 1, 3};
    array_keys(b);
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_text(b, "tokenizer.ggml.pre", "gpt-2");
    build_texts(b, "tokenizer.ggml.tokens", texts, 6);
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, types, 6);
    build_texts(b, "tokenizer.ggml.merges", merges, 2);
    build_u32(b, "tokenizer.ggml.eos_token_id", 5);
}

static void altered_spm(struct build *b)
{
    static const char *const texts[8] = {"<unk>", "<s>", "</s>", "<0x61>", "a", "b", "ab", "<|x|>"};
    static const int64_t types[8] = {2, 3, 3, 6, 1, 1, 1, 4};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_texts(b, "tokenizer.ggml.tokens", texts, 8);
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, types, 8);
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, 8);
    for (int i = 0; i < 8; i++) {
        build_put_f32(&b->keys, (float)-i);
    }
    build_u32(b, "tokenizer.ggml.bos_token_id", 1);
    build_u32(b, "tokenizer.ggml.eos_token_id", 2);
    build_u32(b, "tokenizer.ggml.unknown_token_id", 0);
    build_int(b, "tokenizer.ggml.add_bos_token", SLM_TYPE_BOOL, 1);
}

/* Text to tokens and back with whatever vocabulary it is. */
static void use_vocabulary(slm_model *model, int32_t n_vocab)
{
    static const char text[] = "abc <|x|> \xff\xc3 aab</s>";
    int32_t ids[64];
    char out[2048];
    size_t n = 0, size = 0;
    int status = slm_tokenize(model, text, sizeof text - 1, SLM_TEXT_BOS | SLM_TEXT_SPECIAL, ids,
                              64, &n, NULL);
    if (status == SLM_OK) {
        for (size_t i = 0; i < n; i++) {
            assert_in_range(ids[i], 0, n_vocab - 1);
        }
        status = slm_detokenize(model, ids, n, SLM_TEXT_SPECIAL, out, sizeof out, &size, NULL);
        assert_true(status == SLM_OK || (status == SLM_E_SPACE && size > sizeof out));
    }
    for (int32_t i = 0; i < n_vocab; i++) {
        slm_token_info info = {.struct_size = sizeof info};
        assert_int_equal(slm_token_get_info(model, i, &info, NULL), SLM_OK);
    }
}

/* Opens an altered file. If it loads, its vocabulary is used and a token is run. */
static int survives(const struct build *b)
{
    struct counting c;
    slm_model *model = NULL;
    slm_model_options o = model_options(&c, 0);
    slm_context *context = NULL;
    slm_context_options co = tiny_context();
    slm_error err;
    float row[64];
    slm_model_info info = {.struct_size = sizeof info};
    int status = tiny_open(&model, b, &o, &err);
    assert_int_equal(status, err.code);
    assert_in_proportion(&c, b->file.size);
    if (status != SLM_OK) {
        assert_true(err.message[0] != 0);
        assert_null(model);
        assert_all_freed(&c);
        return 0;
    }
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_true(info.n_vocab <= 64);
    use_vocabulary(model, info.n_vocab);
    assert_int_equal(slm_context_create(&context, model, &co, &err), SLM_OK);
    assert_int_equal(tiny_logits(context, tokens, 1, row, info.n_vocab, &err), SLM_OK);
    slm_context_free(context);
    slm_model_free(model);
    assert_all_freed(&c);
    return 1;
}

static void (*const altered_keys[])(struct build *b) = {array_keys, altered_bpe, altered_spm};

#define N_ALTERED (sizeof altered_keys / sizeof altered_keys[0])

static void every_altered_byte_of_the_metadata_is_survived(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < N_ALTERED; kind++) {
        struct build b;
        struct tiny t = tiny_default();
        long n_loaded = 0, n_refused = 0;
        t.keys = altered_keys[kind];
        tiny_build(&b, &t);
        assert_int_equal(survives(&b), 1);
        for (size_t at = 0; at < b.data_at; at++) {
            uint8_t old = b.file.data[at];
            const uint8_t values[] = {
                0, 0xff, 0x7f, 0x80, (uint8_t)(old ^ 1), (uint8_t)(old + 1), (uint8_t)(old ^ 0x20)};
            for (size_t i = 0; i < sizeof values; i++) {
                b.file.data[at] = values[i];
                int loaded = values[i] == old || survives(&b);
                n_loaded += loaded;
                n_refused += !loaded;
            }
            b.file.data[at] = old;
        }
        /* Names of keys that nobody asks for, texts, padding: some alterations do load. */
        print_message("%ld altered files were loaded, %ld refused\n", n_loaded, n_refused);
        assert_true(n_loaded > 500 && n_refused > 5000);
        assert_int_equal(survives(&b), 1);
        build_free(&b);
    }
}

/* Eight bytes at a time: what a length, a count or an offset can be at worst. */
static void every_altered_word_of_the_metadata_is_survived(void **state)
{
    static const uint64_t values[] = {
        0, UINT64_MAX, TWO_63, INT64_MAX, (uint64_t)1 << 32, 0xffffffff, (uint64_t)1 << 30};
    (void)state;
    for (size_t kind = 0; kind < N_ALTERED; kind++) {
        struct build b;
        struct tiny t = tiny_default();
        t.keys = altered_keys[kind];
        tiny_build(&b, &t);
        for (size_t at = 0; at + 8 <= b.data_at; at++) {
            uint64_t old = build_peek(&b, at, 8);
            for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
                build_poke(&b, at, values[i], 8);
                survives(&b);
            }
            build_poke(&b, at, old, 8);
        }
        assert_int_equal(survives(&b), 1);
        build_free(&b);
    }
}

/* Files that are not tiny_build's: a few bytes and large claims, one for each place that has a
 * count. What is asked of the allocator must not depend on the claim. */
static void a_small_file_cannot_ask_for_much(void **state)
{
    static const uint64_t claims[] = {0,
                                      1,
                                      2,
                                      8,
                                      11,
                                      100,
                                      1 << 16,
                                      (uint64_t)1 << 30,
                                      ((uint64_t)1 << 30) + 1,
                                      (uint64_t)1 << 31,
                                      (uint64_t)1 << 32,
                                      (uint64_t)1 << 61,
                                      (uint64_t)1 << 62,
                                      INT64_MAX,
                                      TWO_63,
                                      UINT64_MAX - 7,
                                      UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        for (int place = 0; place < 8; place++) {
            struct build b;
            build_init(&b);
            build_text(&b, "general.architecture", "llama");
            build_array(&b, "x", place == 0 ? SLM_TYPE_STRING : SLM_TYPE_UINT8, 0);
            build_array(&b, "y", SLM_TYPE_FLOAT64, 0);
            build_text(&b, "z", "0123456789abcdef");
            build_finish(&b);
            assert_true(b.file.size <= 160);
            const size_t at[8] = {build_at(&b, "x", AT_ELEMENTS),
                                  build_at(&b, "x", AT_ELEMENTS),
                                  build_at(&b, "y", AT_ELEMENTS),
                                  build_at(&b, "z", AT_VALUE),
                                  build_at(&b, "z", AT_NAME),
                                  BUILD_AT_N_KEYS,
                                  BUILD_AT_N_TENSORS,
                                  build_at(&b, "x", AT_NAME)};
            build_poke(&b, at[place], claims[i], 8);
            struct counting c;
            slm_model *model = NULL;
            slm_error err;
            slm_model_options o = model_options(&c, SLM_LOAD_METADATA);
            tiny_open(&model, &b, &o, &err);
            slm_model_free(model);
            assert_all_freed(&c);
            assert_true(c.peak <= 32768);
            assert_true(c.largest <= 32768);
            build_free(&b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(paths_that_are_no_files_are_io_errors),
        cmocka_unit_test(each_broken_rule_is_told_with_its_place),
        cmocka_unit_test(a_key_or_tensor_that_stands_twice_is_refused),
        cmocka_unit_test(the_longest_key_is_65535_bytes),
        cmocka_unit_test(the_longest_tensor_name_is_63_bytes_and_it_may_be_empty),
        cmocka_unit_test(a_truncated_file_is_refused_at_every_byte),
        cmocka_unit_test(every_altered_byte_of_the_metadata_is_survived),
        cmocka_unit_test(every_altered_word_of_the_metadata_is_survived),
        cmocka_unit_test(a_small_file_cannot_ask_for_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
