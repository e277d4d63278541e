/* test_collisions.c - texts that collide: what a file's author could do within the limits to make
 * loading and looking up slow. */
#include "../slm.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <time.h>

#include "gguf_build.h"

/* Texts whose hashes begin in the same few slots of a table of n: each insertion walked over all
 * before it once. */
#define COLLIDING_SLOTS 64

struct collisions {
    uint64_t counter;
    uint64_t mask;
};

static void collide(struct collisions *c, char text[9])
{
    do {
        uint64_t n = c->counter++;
        for (int i = 0; i < 8; i++, n /= 26) {
            text[i] = (char)('a' + n % 26);
        }
        text[8] = 0;
    } while ((hash_bytes(text, 8, 0) & c->mask) >= COLLIDING_SLOTS);
}

/* "left right" whose hash as a pair collides. */
static void collide_pair(struct collisions *c, char text[10])
{
    uint64_t hash;
    do {
        uint64_t n = c->counter++;
        for (int i = 0; i < 9; i++) {
            text[i] = i == 4 ? ' ' : (char)('a' + n % 26);
            n /= i == 4 ? 1 : 26;
        }
        hash = vocab_pair_hash(hash_bytes(text, 4, 0), hash_bytes(text + 5, 4, 0));
    } while ((hash & c->mask) >= COLLIDING_SLOTS);
}

/* n tokens, the last one equal to the first, and n merges, or else texts as they come. */
static void build_collisions(struct build *b, size_t n, int colliding)
{
    struct collisions c = {1000000, colliding ? table_slots(n) - 1 : 0};
    char text[10];
    char first[10] = "";
    build_init(b);
    build_text(b, "general.architecture", "llama");
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        collide(&c, text);
        memcpy(first, i == 0 ? text : first, sizeof first);
        build_put_string(&b->keys, i + 1 == n ? first : text, 8);
    }
    build_array(b, "tokenizer.ggml.merges", SLM_TYPE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        collide_pair(&c, text);
        build_put_string(&b->keys, text, 9);
    }
    build_finish(b);
}

/* Opens and looks everything up; returns the processor time that takes. */
static double collisions_seconds(const struct build *b, int32_t n, int colliding)
{
    slm_model *model = NULL;
    slm_model_options o;
    slm_error err;
    slm_token_info info = {.struct_size = sizeof info};
    int32_t token = -1;
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    clock_t begin = clock();
    assert_int_equal(tiny_open(&model, b, &o, &err), SLM_OK);
    for (int32_t i = 0; i < n; i++) {
        assert_int_equal(slm_token_get_info(model, i, &info, NULL), SLM_OK);
        slm_token_find(model, info.text, info.text_size, &token, NULL);
        assert_int_equal(token, i + 1 == n ? 0 : i);
        slm_token_find(model, info.text, info.text_size - 1, &token, NULL);
        assert_int_equal(token, -1);
    }
    for (uint64_t i = 0; i < (uint64_t)n; i++) {
        struct text pair = gguf_array_text(&model->vocab.merges, i);
        struct text left = {pair.s, 4};
        struct text right = {pair.s + 5, 4};
        assert_int_equal(vocab_find_pair(&model->vocab, left, right), i);
        left.n = 3;
        assert_int_equal(vocab_find_pair(&model->vocab, left, right), UINT32_MAX);
    }
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    assert_int_equal(model->vocab.by_text.n_sorted, colliding ? n : 0);
    assert_int_equal(model->vocab.by_pair.n_sorted, colliding ? n : 0);
    slm_model_free(model);
    return seconds;
}

static void a_vocabulary_of_collisions_loads_in_time(void **state)
{
    const int32_t n = 40000;
    double seconds[2];
    (void)state;
    for (int colliding = 0; colliding <= 1; colliding++) {
        struct build b;
        build_collisions(&b, (size_t)n, colliding);
        seconds[colliding] = collisions_seconds(&b, n, colliding);
        build_free(&b);
    }
    printf("%d tokens and merges: %.4f s, colliding %.4f s\n", (int)n, seconds[0], seconds[1]);
    assert_true(seconds[1] < 25 * (seconds[0] + 0.005));
}

/* Keys and tensors whose names collide; `twin` writes the second of each a second time. */
static int colliding_names_status(uint32_t n, int twin, slm_model **model, slm_error *err)
{
    struct build b;
    struct collisions c = {77, table_slots(n) - 1};
    static const int64_t shape[1] = {1};
    char text[9] = "";
    char second[9] = "";
    slm_model_options o;
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    for (uint32_t i = 1; i < n; i++) {
        collide(&c, text);
        memcpy(second, i == 2 ? text : second, sizeof second);
        build_u32(&b, twin == 1 && i + 1 == n ? second : text, i);
    }
    for (uint32_t i = 0; i < n; i++) {
        collide(&c, text);
        memcpy(second, i == 1 ? text : second, sizeof second);
        build_tensor(&b, twin == 2 && i + 1 == n ? second : text, 1, shape);
    }
    build_finish(&b);
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA | SLM_LOAD_READ;
    int status = tiny_open(model, &b, &o, err);
    build_free(&b);
    return status;
}

static void keys_and_tensors_that_collide_are_found(void **state)
{
    const uint32_t n = 4000;
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    assert_int_equal(colliding_names_status(n, 0, &model, &err), SLM_OK);
    assert_int_equal(model->gguf.by_key.n_sorted, n);
    assert_int_equal(model->gguf.by_name.n_sorted, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(gguf_find_name(&model->gguf.by_key, gguf_key(&model->gguf, i)), i);
        assert_ptr_equal(gguf_find_tensor(&model->gguf, gguf_tensor_name(&model->gguf, i)),
                         &model->gguf.tensors[i]);
    }
    assert_int_equal(gguf_find(&model->gguf, "no such key"), -1);
    assert_null(gguf_find_tensor(&model->gguf, text_of("")));
    slm_model_free(model);
    assert_int_equal(colliding_names_status(n, 1, &model, &err), SLM_E_FORMAT);
    assert_true(tiny_says(&err, "key '", "stands twice"));
    assert_int_equal(colliding_names_status(n, 2, &model, &err), SLM_E_FORMAT);
    assert_true(tiny_says(&err, "tensor '", "stands twice"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vocabulary_of_collisions_loads_in_time),
        cmocka_unit_test(keys_and_tensors_that_collide_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
