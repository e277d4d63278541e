/* test_poison.c - the same bits whatever fresh memory holds.
 *
 * Golden models and a generation run once with malloc and then under an allocator that fills fresh
 * memory with a pattern (0xA5: a small negative float; 0xFF: a NaN, and -1 as a length), fills
 * what is given back with another, keeps it a while to see whether somebody still writes there, and
 * puts guard bytes before and behind each block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../slm.h"
#include "calls.h"
#include "golden.h"

/* ---- The allocator --------------------------------------------------------------------------- */

#define GUARD 64
#define GUARD_BYTE 0xE7
#define FREED_BYTE 0xDB
#define KEPT 256 /* blocks that were given back */

struct poison_block {
    uint8_t *raw;
    size_t raw_size;
    size_t size;
    size_t at; /* of the user's bytes in raw */
};

/* One thread at a time. */
struct poison {
    uint8_t fresh;
    int64_t n_blocks;
    int64_t n_calls;
    int damaged; /* guards overwritten, bytes written after the end of their life, wrong sizes */
    struct poison_block kept[KEPT];
    size_t next; /* in kept: the oldest */
};

static int is_filled(const uint8_t *p, size_t n, uint8_t byte)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != byte) {
            return 0;
        }
    }
    return 1;
}

/* Guards begin where the block's description ends, and end where malloc's block does. */
static int guards_stand(const struct poison_block *b)
{
    size_t head = sizeof *b;
    return is_filled(b->raw + head, b->at - head - sizeof(void *), GUARD_BYTE) &&
           is_filled(b->raw + b->at + b->size, b->raw_size - b->at - b->size, GUARD_BYTE);
}

/* The oldest block goes; nobody may have written to it since it was given back. */
static void poison_expire(struct poison *p, struct poison_block *b)
{
    if (b->raw != NULL) {
        p->damaged += !guards_stand(b) || !is_filled(b->raw + b->at, b->size, FREED_BYTE);
        free(b->raw);
        memset(b, 0, sizeof *b);
    }
}

static void poison_give(struct poison *p, uint8_t *ptr, size_t size)
{
    struct poison_block b;
    uint8_t *raw;
    memcpy(&raw, ptr - sizeof raw, sizeof raw);
    memcpy(&b, raw, sizeof b);
    p->damaged += b.raw != raw || b.size != size || !guards_stand(&b);
    memset(ptr, FREED_BYTE, b.size);
    poison_expire(p, &p->kept[p->next]);
    p->kept[p->next] = b;
    p->next = (p->next + 1) % KEPT;
    p->n_blocks--;
}

static void *poison_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    struct poison *p = (struct poison *)user;
    struct poison_block b;
    if (new_size == 0) {
        if (ptr != NULL) {
            poison_give(p, (uint8_t *)ptr, old_size);
        }
        return NULL;
    }
    b.size = new_size;
    b.raw_size = sizeof b + 2 * GUARD + align + new_size;
    b.raw = (uint8_t *)malloc(b.raw_size);
    if (b.raw == NULL) {
        return NULL;
    }
    uintptr_t least = (uintptr_t)b.raw + sizeof b + GUARD;
    b.at = (size_t)(((least + align - 1) & ~(uintptr_t)(align - 1)) - (uintptr_t)b.raw);
    memset(b.raw, GUARD_BYTE, b.raw_size);
    memset(b.raw + b.at, p->fresh, new_size);
    memcpy(b.raw, &b, sizeof b);
    memcpy(b.raw + b.at - sizeof b.raw, &b.raw, sizeof b.raw);
    p->n_blocks++;
    p->n_calls++;
    return b.raw + b.at;
}

static struct poison *poison_make(uint8_t fresh)
{
    struct poison *p = (struct poison *)calloc(1, sizeof *p);
    assert_non_null(p);
    p->fresh = fresh;
    return p;
}

/* Ends it and tells how many blocks were damaged. All must have been given back. */
static int poison_end(struct poison *p)
{
    for (size_t i = 0; i < KEPT; i++) {
        poison_expire(p, &p->kept[i]);
    }
    int damaged = p->damaged;
    assert_int_equal(p->n_blocks, 0);
    free(p);
    return damaged;
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static slm_context *context_of(slm_model *model, int32_t n_ctx, int32_t n_logits, int32_t kv_type,
                               struct poison *p)
{
    slm_error err;
    slm_context *context = NULL;
    slm_context_options o;
    assert_int_equal(slm_context_options_init(&o, sizeof o), SLM_OK);
    o.n_ctx = n_ctx;
    o.n_logits = n_logits;
    o.kv_type = kv_type;
    o.n_threads = 2;
    o.alloc = p != NULL ? poison_alloc : NULL;
    o.alloc_user = p;
    must(slm_context_create(&context, model, &o, &err), &err);
    return context;
}

static slm_model_options model_options(struct poison *p, uint32_t flags)
{
    slm_model_options o;
    assert_int_equal(slm_model_options_init(&o, sizeof o), SLM_OK);
    o.flags = flags;
    o.alloc = p != NULL ? poison_alloc : NULL;
    o.alloc_user = p;
    return o;
}

/* Logits of all tokens of a manifest, n_at_once a call. */
static void golden_rows(const struct golden *g, slm_model *model, int32_t kv_type,
                        int32_t n_at_once, struct poison *p, float *rows)
{
    slm_error err;
    slm_context *context = context_of(model, g->n_ctx, g->n_tokens, kv_type, p);
    for (int32_t first = 0; first < g->n_tokens; first += n_at_once) {
        slm_span span;
        memset(&span, 0, sizeof span);
        span.struct_size = (uint32_t)sizeof span;
        span.position = first;
        span.n_tokens = g->n_tokens - first < n_at_once ? g->n_tokens - first : n_at_once;
        span.tokens = g->tokens + first;
        span.want = SLM_WANT_ALL;
        must(slm_eval(context, &span, 1, sizeof span, NULL, &err), &err);
        for (int32_t i = 0; i < span.n_tokens; i++) {
            const float *row = NULL;
            must(slm_logits(context, i, &row, NULL, &err), &err);
            memcpy(rows + (size_t)(first + i) * (size_t)g->n_vocab, row,
                   (size_t)g->n_vocab * sizeof *rows);
        }
    }
    slm_context_free(context);
}

/* Both caches, in one batch, in batches of three and token by token: rows [6][n_tokens][n_vocab],
 * to be freed. */
static float *golden_run(const struct golden *g, struct poison *p)
{
    static const int32_t at_once[3] = {INT32_MAX, 3, 1};
    size_t n = (size_t)g->n_tokens * (size_t)g->n_vocab;
    float *rows = (float *)malloc(6 * n * sizeof *rows);
    assert_non_null(rows);
    for (size_t i = 0; i < 6; i++) {
        slm_error err;
        slm_model *model = NULL;
        const void *data = g->image;
        slm_model_options o = model_options(p, i % 2 == 0 ? SLM_LOAD_READ : 0);
        must(slm_model_open_memory(&model, &data, &g->image_size, 1, &o, &err), &err);
        golden_rows(g, model, i % 2 == 0 ? SLM_KV_F32 : SLM_KV_F16,
                    at_once[i / 2] < g->n_tokens ? at_once[i / 2] : g->n_tokens, p, rows + i * n);
        slm_model_free(model);
    }
    return rows;
}

static void golden_is_the_same(const char *manifest)
{
    static const uint8_t fresh[2] = {0xA5, 0xFF};
    struct golden g;
    if (!golden_load(&g, manifest, NULL)) {
        fail_msg("%s: %s", manifest, g.error);
    }
    size_t n = (size_t)g.n_tokens * (size_t)g.n_vocab;
    float *expected = golden_run(&g, NULL);
    assert_true(golden_nmse(g.exact != NULL ? g.exact : g.logits, expected, n) < 1e-6);
    for (int i = 0; i < 2; i++) {
        struct poison *p = poison_make(fresh[i]);
        float *rows = golden_run(&g, p);
        assert_memory_equal(rows, expected, 6 * n * sizeof *rows);
        assert_true(p->n_calls > 6 * 12);
        assert_int_equal(poison_end(p), 0);
        free(rows);
    }
    free(expected);
    golden_free(&g);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void golden_logits_do_not_depend_on_fresh_memory(void **state)
{
    (void)state;
    golden_is_the_same("tests/golden/models/llama-3.2.txt");
    golden_is_the_same("tests/golden/models/qwen3-bf16.txt");
    golden_is_the_same("tests/golden/models/llama-fused-qkv.txt");
}

/* 100 tokens sampled with every stage; the text into buffer. */
static size_t generate(struct poison *p, char *buffer, size_t capacity)
{
    static const slm_logit_bias bias = {13, -2.0f};
    static const int kinds[6] = {SLM_STAGE_LOGIT_BIAS, SLM_STAGE_PENALTIES, SLM_STAGE_TOP_K,
                                 SLM_STAGE_TOP_P,      SLM_STAGE_MIN_P,     SLM_STAGE_TEMPERATURE};
    slm_error err;
    slm_model *model = NULL;
    slm_sampler *sampler = NULL;
    slm_generator *generator = NULL;
    slm_sampler_stage stages[6];
    slm_sampler_options so;
    slm_generate_options go;
    slm_piece piece;
    size_t used = 0;
    slm_model_options mo = model_options(p, 0);
    must(slm_model_open(&model, TESTING_STORYTELLER, &mo, &err), &err);
    slm_context *context = context_of(model, 256, 1, SLM_KV_F16, p);
    memset(stages, 0, sizeof stages);
    for (int i = 0; i < 6; i++) {
        stages[i].struct_size = (uint32_t)sizeof stages[i];
        stages[i].kind = kinds[i];
        stages[i].n = kinds[i] == SLM_STAGE_TOP_K ? 40 : kinds[i] == SLM_STAGE_PENALTIES ? 32 : 1;
        stages[i].value = kinds[i] == SLM_STAGE_MIN_P ? 0.05f : 0.9f;
        stages[i].repeat = 1.1f;
        stages[i].n_biases = kinds[i] == SLM_STAGE_LOGIT_BIAS;
        stages[i].biases = &bias;
    }
    assert_int_equal(slm_sampler_options_init(&so, sizeof so), SLM_OK);
    so.seed = 11;
    so.alloc = p != NULL ? poison_alloc : NULL;
    so.alloc_user = p;
    must(slm_sampler_create(&sampler, model, stages, 6, sizeof stages[0], &so, &err), &err);
    assert_int_equal(slm_generate_options_init(&go, sizeof go), SLM_OK);
    go.max_tokens = 100;
    must(slm_generate_begin(&generator, context, 0, sampler, "Once upon a time", 16, &go, &err),
         &err);
    do {
        piece.struct_size = (uint32_t)sizeof piece;
        must(slm_generate_next(generator, &piece, &err), &err);
        if (piece.kind == SLM_PIECE_TEXT) {
            assert_true(piece.size <= capacity - used);
            memcpy(buffer + used, piece.text, piece.size);
            used += piece.size;
        }
    } while (piece.kind == SLM_PIECE_TEXT);
    slm_generate_end(generator);
    slm_sampler_free(sampler);
    slm_context_free(context);
    slm_model_free(model);
    return used;
}

static void generated_text_does_not_depend_on_fresh_memory(void **state)
{
    static char expected[4096], text[4096];
    static const uint8_t fresh[2] = {0xA5, 0xFF};
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    size_t n = generate(NULL, expected, sizeof expected);
    assert_true(n > 100);
    for (int i = 0; i < 2; i++) {
        struct poison *p = poison_make(fresh[i]);
        assert_int_equal(generate(p, text, sizeof text), n);
        assert_memory_equal(text, expected, n);
        assert_int_equal(poison_end(p), 0);
    }
}

static void the_poisoned_allocator_sees_what_it_is_for(void **state)
{
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        struct poison *p = poison_make(0xA5);
        uint8_t *block = (uint8_t *)poison_alloc(p, NULL, 0, 100, 64);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 64, 0);
        assert_true(is_filled(block, 100, 0xA5));
        block[kind == 1 ? 100 : 99] = 1;
        *(block - (kind == 2 ? 17 : 0)) = 1;
        poison_alloc(p, block, kind == 3 ? 99 : 100, 0, 64);
        if (kind == 4) {
            block[50] = 1;
        }
        assert_int_equal(poison_end(p), kind == 1 || kind == 2 ? 2 : kind == 3 || kind == 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_poisoned_allocator_sees_what_it_is_for),
        cmocka_unit_test(golden_logits_do_not_depend_on_fresh_memory),
        cmocka_unit_test(generated_text_does_not_depend_on_fresh_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
