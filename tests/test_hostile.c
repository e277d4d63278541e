/* test_hostile.c - files and arguments of the kinds that took other programs down, each refused with
 * a status and a message that names the place, or harmless.
 *
 * The files are those of fuzz/hostile.h, and those that tests/corpus holds; here are also the
 * classes that are no files: numbers of tokens, negative positions, and files that grow in memory. */
#include "counting.h"
#include "fuzz/hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* As in test_gguf.c: what opening may take. */
#define MEMORY_CONSTANT 49152
#define MEMORY_PER_BYTE 32

static slm_model_options options_with(struct counting *c, uint32_t flags)
{
    slm_model_options o;
    slm_model_options_init(&o, sizeof o);
    memset(c, 0, sizeof *c);
    o.alloc = counting_alloc;
    o.alloc_user = c;
    o.flags = flags;
    return o;
}

static void assert_answer(const struct hostile *h, const struct build *b, uint32_t flags)
{
    struct counting c;
    slm_model_options o = options_with(&c, flags);
    slm_model *model = NULL;
    slm_error err;
    float row[VOCAB_SPM_TOKENS];
    static const int32_t tokens[4] = {3, 1, 4, 1};
    int status = tiny_open(&model, b, &o, &err);
    if (status != h->status || !tiny_says(&err, h->says, h->names)) {
        fail_msg("%s: %s '%s', expected %s with '%s' and '%s'", h->name, slm_status_name(status),
                 err.message, slm_status_name(h->status), h->says, h->names);
    }
    uint64_t bound = MEMORY_CONSTANT + (uint64_t)MEMORY_PER_BYTE * b->file.size;
    if (c.peak > bound || c.largest > bound) {
        fail_msg("%s: %llu bytes, %llu at once, for %zu", h->name, (unsigned long long)c.peak,
                 (unsigned long long)c.largest, b->file.size);
    }
    if (status == SLM_OK && (flags & SLM_LOAD_METADATA) == 0) {
        slm_model_info info = {.struct_size = sizeof info};
        assert_int_equal(slm_model_get_info(model, &info, &err), SLM_OK);
        assert_int_equal(tiny_run(model, tokens, 4, row, info.n_vocab, &err), SLM_OK);
    }
    slm_model_free(model);
    assert_int_equal(c.n_blocks, 0);
}

/* Each file is a test of its own, with its name. */
static void file_is_answered(void **state)
{
    const struct hostile *h = (const struct hostile *)*state;
    struct build b;
    h->make(&b);
    assert_answer(h, &b, 0);
    assert_answer(h, &b, SLM_LOAD_READ);
    build_free(&b);
}

/* The corpus has them all, as they are made here: `make corpus` was not forgotten. */
static void the_corpus_has_every_one_of_these_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOSTILE_FILES; i++) {
        struct build b;
        char path[256];
        size_t size = 0;
        hostile_files[i].make(&b);
        snprintf(path, sizeof path, "tests/corpus/gguf/%s", hostile_files[i].name);
        char *data = testing_read(path, &size);
        if (data == NULL || size != b.file.size || memcmp(data, b.file.data, size) != 0) {
            fail_msg("%s is not what hostile.h makes: run make corpus", path);
        }
        free(data);
        build_free(&b);
    }
}

/* Many layers whose norms all lie in one place, in an encoding that decodes to twenty times as much:
 * without a rule against overlap, tens of megabytes out of fifty kilobytes. */
static void tensors_that_share_bytes_cannot_multiply_memory(void **state)
{
    enum {
        LAYERS = 40,
        WIDTH = 32768
    };
    static const char *const norms[2] = {"attn_norm", "ffn_norm"};
    struct build b;
    struct counting c;
    slm_model_options o = options_with(&c, 0);
    slm_model *model = NULL;
    slm_error err;
    slm_encoding_info e = {.struct_size = sizeof e};
    uint8_t *bytes = (uint8_t *)calloc(WIDTH, 4);
    (void)state;
    assert_non_null(bytes);
    assert_int_equal(slm_encoding_find(-1, "IQ1_S", &e, &err), SLM_OK);
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_u32(&b, "llama.block_count", LAYERS);
    build_u32(&b, "llama.context_length", 64);
    build_u32(&b, "llama.embedding_length", WIDTH);
    build_u32(&b, "llama.feed_forward_length", 1);
    build_u32(&b, "llama.attention.head_count", 1);
    build_u32(&b, "llama.attention.key_length", 2);
    build_u32(&b, "llama.attention.value_length", 2);
    build_f32(&b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    static const struct {
        const char *name;
        int64_t in, out;
    } matrices[7] = {{"attn_q", WIDTH, 2},      {"attn_k", WIDTH, 2},   {"attn_v", WIDTH, 2},
                     {"attn_output", 2, WIDTH}, {"ffn_gate", WIDTH, 1}, {"ffn_up", WIDTH, 1},
                     {"ffn_down", 1, WIDTH}};
    int64_t width[1] = {WIDTH}, embedding[2] = {WIDTH, 4};
    size_t size = WIDTH / (size_t)e.block_elements * (size_t)e.block_bytes;
    build_tensor_bytes(&b, "token_embd.weight", (uint32_t)e.id, 2, embedding, bytes, 4 * size);
    build_tensor_bytes(&b, "output_norm.weight", (uint32_t)e.id, 1, width, bytes, size);
    for (int layer = 0; layer < LAYERS; layer++) {
        char name[64];
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, norms[i]);
            build_tensor_bytes(&b, name, (uint32_t)e.id, 1, width, bytes, 0);
        }
        for (int i = 0; i < 7; i++) {
            int64_t shape[2] = {matrices[i].in, matrices[i].out};
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, matrices[i].name);
            build_tensor_bytes(&b, name, shape[0] == WIDTH ? (uint32_t)e.id : 1, 2, shape, bytes,
                               0);
        }
    }
    build_pad(&b.data, 32);
    build_put(&b.data, bytes, 4 * WIDTH);
    build_finish(&b);
    for (size_t i = 2; i < b.n_marks; i++) { /* all at the first: within the file, each of them */
        if (b.marks[i].is_tensor) {
            build_poke(&b, b.marks[i].at[AT_OFFSET], 0, 8);
        }
    }
    int status = tiny_open(&model, &b, &o, &err);
    assert_int_equal(status, SLM_E_FORMAT);
    assert_true(tiny_says(&err, "more than the file", NULL));
    assert_true(c.peak < MEMORY_CONSTANT + MEMORY_PER_BYTE * (uint64_t)b.file.size);
    assert_null(model);
    assert_int_equal(c.n_blocks, 0);
    build_free(&b);
    free(bytes);
}

/* ---- Not files ------------------------------------------------------------------------------- */

static slm_model *open_vocabulary(void (*keys)(struct build *b), struct counting *c)
{
    struct build b;
    slm_error err;
    slm_model *model = NULL;
    slm_model_options o = options_with(c, SLM_LOAD_METADATA | SLM_LOAD_READ);
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    keys(&b);
    build_finish(&b);
    if (tiny_open(&model, &b, &o, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    build_free(&b);
    return model;
}

/* CVE-2025-52566: the number of tokens as a signed number, compared with a capacity. */
static void cve_2025_52566_more_tokens_than_room_leave_the_buffer_untouched(void **state)
{
    struct counting c;
    slm_error err;
    slm_model *model = open_vocabulary(vocab_spm, &c);
    char text[2000];
    int32_t tokens[3] = {77, 77, 77};
    size_t needed = 0;
    (void)state;
    memset(text, '#', sizeof text);
    for (size_t capacity = 0; capacity < 3; capacity++) {
        int status = slm_tokenize(model, text, sizeof text, 0, tokens, capacity, &needed, &err);
        assert_int_equal(status, SLM_E_SPACE);
        assert_true(tiny_says(&err, "tokens do not fit", NULL));
        assert_int_equal(needed, sizeof text + 1);
        assert_int_equal(tokens[0], 77);
    }
    assert_int_equal(slm_tokenize(model, text, SIZE_MAX, 0, tokens, 3, &needed, &err),
                     SLM_E_ARGUMENT);
    assert_int_equal(slm_tokenize(model, text, (size_t)INT32_MAX, 0, tokens, 3, &needed, &err),
                     SLM_E_ARGUMENT);
    slm_model_free(model);
    assert_int_equal(c.n_blocks, 0);
}

static void key_long_token(struct build *b)
{
    static char text[65536];
    memset(text, 'x', sizeof text);
    build_text(b, "tokenizer.ggml.model", "llama");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, 1);
    build_put_string(&b->keys, text, sizeof text - 1);
}

static void key_longer_token(struct build *b)
{
    key_long_token(b);
    build_put(&b->keys, "x", 1);
    static const uint8_t n[3] = {0x00, 0x00, 0x01}; /* 65536, its lower bytes */
    memcpy(b->keys.data + b->keys.size - 65536 - 8, n, sizeof n);
}

/* CVE-2025-49847: the length of a piece as a signed number of 32 bits. */
static void cve_2025_49847_a_long_token_is_written_whole_or_not_at_all(void **state)
{
    struct counting c;
    slm_error err;
    slm_model *model = open_vocabulary(key_long_token, &c);
    static char text[65536];
    static const int32_t ids[3] = {0, 0, 0};
    size_t needed = 0;
    struct build b;
    (void)state;
    text[0] = 7;
    assert_int_equal(slm_detokenize(model, ids, 1, 0, text, 65534, &needed, &err), SLM_E_SPACE);
    assert_int_equal(needed, 65535);
    assert_int_equal(text[0], 7);
    assert_int_equal(slm_detokenize(model, ids, 1, 0, text, 65535, &needed, &err), SLM_OK);
    assert_int_equal(text[65534], 'x');
    assert_int_equal(slm_detokenize(model, ids, 3, 0, NULL, 0, &needed, &err), SLM_OK);
    assert_int_equal(needed, 3 * 65535);
    slm_model_free(model);
    assert_int_equal(c.n_blocks, 0);

    slm_model_options o = options_with(&c, SLM_LOAD_METADATA);
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    key_longer_token(&b);
    build_finish(&b);
    assert_int_equal(tiny_open(&model, &b, &o, &err), SLM_E_MODEL);
    assert_true(tiny_says(&err, "tokenizer.ggml.tokens[0]", "65535 are the limit"));
    assert_int_equal(c.n_blocks, 0);
    build_free(&b);
}

static void key_byte_tokens_of_a_file(struct build *b)
{
    key_byte_tokens(b);
}

/* llama.cpp 25969: texts of byte tokens are not numbers. */
static void llama_25969_byte_tokens_that_are_no_bytes_are_their_text(void **state)
{
    struct counting c;
    slm_error err;
    slm_model *model = open_vocabulary(key_byte_tokens_of_a_file, &c);
    static const int32_t ids[5] = {3, 4, 5, 9, 7};
    char text[64];
    size_t needed = 0;
    (void)state;
    assert_int_equal(slm_detokenize(model, ids, 5, 0, text, sizeof text, &needed, &err), SLM_OK);
    assert_int_equal(needed, 6 + 6 + 3 + 6 + 1);
    assert_memory_equal(text, "<0x-1><0xZZ><0x<0x+7>\n", needed);
    slm_model_free(model);
    assert_int_equal(c.n_blocks, 0);
}

/* CVE-2026-21869: a negative number of tokens to throw away. */
static void cve_2026_21869_negative_positions_are_refused(void **state)
{
    struct build b;
    struct tiny t = hostile_shape();
    slm_context_options o = tiny_context();
    slm_context *context = NULL;
    slm_model *model = NULL;
    slm_error err;
    static const int32_t tokens[4] = {1, 2, 3, 4};
    float row[TINY_VOCAB];
    int32_t length = 0;
    (void)state;
    tiny_build(&b, &t);
    assert_int_equal(tiny_open(&model, &b, NULL, &err), SLM_OK);
    assert_int_equal(slm_context_create(&context, model, &o, &err), SLM_OK);
    assert_int_equal(tiny_logits(context, tokens, 4, row, TINY_VOCAB, &err), SLM_OK);
    static const int32_t lengths[3] = {-1, INT32_MIN, 5};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(slm_sequence_rewind(context, 0, lengths[i], &err), SLM_E_ARGUMENT);
    }
    static const int32_t positions[4] = {-2, INT32_MIN, 3, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        slm_span span = {.struct_size = sizeof span};
        span.position = positions[i];
        span.n_tokens = 1;
        span.tokens = tokens;
        int status = slm_eval(context, &span, 1, sizeof span, NULL, &err);
        assert_int_equal(status, SLM_E_ARGUMENT);
        span.position = -1;
        span.n_tokens = i == 0 ? -1 : INT32_MIN + i;
        status = slm_eval(context, &span, 1, sizeof span, NULL, &err);
        assert_int_equal(status, SLM_E_ARGUMENT);
    }
    assert_int_equal(slm_sequence_length(context, 0, &length, &err), SLM_OK);
    assert_int_equal(length, 4);
    slm_context_free(context);
    slm_model_free(model);
    build_free(&b);
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(the_corpus_has_every_one_of_these_files),
        cmocka_unit_test(tensors_that_share_bytes_cannot_multiply_memory),
        cmocka_unit_test(cve_2025_52566_more_tokens_than_room_leave_the_buffer_untouched),
        cmocka_unit_test(cve_2025_49847_a_long_token_is_written_whole_or_not_at_all),
        cmocka_unit_test(llama_25969_byte_tokens_that_are_no_bytes_are_their_text),
        cmocka_unit_test(cve_2026_21869_negative_positions_are_refused),
    };
    struct CMUnitTest tests[HOSTILE_FILES + sizeof others / sizeof *others];
    memset(tests, 0, sizeof tests);
    for (size_t i = 0; i < HOSTILE_FILES; i++) {
        tests[i].name = hostile_files[i].name;
        tests[i].test_func = file_is_answered;
        tests[i].initial_state = (void *)(uintptr_t)&hostile_files[i];
    }
    memcpy(tests + HOSTILE_FILES, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
