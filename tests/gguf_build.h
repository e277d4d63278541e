/* gguf_build.h - writes GGUF files in memory, good ones and bad ones, for tests.
 *
 * A file is put together key by key and tensor by tensor; build_finish joins the parts. Where each
 * field of it stands is kept, so that a test can name one and overwrite it:
 *
 *     struct build b;
 *     build_init(&b);
 *     build_int(&b, "llama.block_count", SLM_TYPE_UINT32, 1);
 *     build_tensor(&b, "token_embd.weight", 0, 2, shape);
 *     build_finish(&b);
 *     build_poke(&b, build_at(&b, "token_embd.weight", AT_TYPE), 999, 4);
 *     ... b.file.data, b.file.size ...
 *     build_free(&b);
 *
 * The second half makes a whole model of a few kilobytes: a llama with one or two layers and f32
 * weights that depend on nothing but the tensor's name. */
#ifndef GGUF_BUILD_H
#define GGUF_BUILD_H

#include "../slm.h"
#include "testing.h"

/* ---- Bytes ----------------------------------------------------------------------------------- */

struct build_bytes {
    uint8_t *data;
    size_t size, capacity;
};

static void build_put(struct build_bytes *b, const void *data, size_t size)
{
    if (b->capacity - b->size < size) {
        b->capacity = b->capacity * 2 + size + 1024;
        b->data = (uint8_t *)realloc(b->data, b->capacity);
        if (b->data == NULL) {
            fprintf(stderr, "no memory for a test file\n");
            exit(1);
        }
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
        b->size += size;
    }
}

/* The low n bytes of an integer, little endian. */
static void build_put_int(struct build_bytes *b, uint64_t value, size_t n)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    build_put(b, bytes, n);
}

static void build_put_f32(struct build_bytes *b, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    build_put_int(b, bits, 4);
}

static void build_put_string(struct build_bytes *b, const char *s, size_t n)
{
    build_put_int(b, n, 8);
    build_put(b, s, n);
}

static void build_pad(struct build_bytes *b, size_t alignment)
{
    while (b->size % alignment != 0) {
        build_put_int(b, 0, 1);
    }
}

/* ---- The file -------------------------------------------------------------------------------- */

/* Fields of the header, of a key and of a tensor. */
enum build_field {
    AT_NAME,     /* u64: its length; the bytes follow */
    AT_TYPE,     /* u32: of the value or of the tensor */
    AT_VALUE,    /* of a key; an array begins with its element type */
    AT_ELEMENTS, /* u64: elements of an array */
    AT_N_DIMS,   /* u32 */
    AT_SHAPE,    /* i64 each */
    AT_OFFSET,   /* u64 */
    AT_FIELDS
};

#define BUILD_AT_VERSION 4
#define BUILD_AT_N_TENSORS 8
#define BUILD_AT_N_KEYS 16
#define BUILD_HEADER 24

struct build_mark {
    char name[64];
    int is_tensor;
    size_t at[AT_FIELDS];
};

struct build {
    uint32_t version;   /* 3 unless changed before build_finish */
    uint32_t alignment; /* of the data; a key general.alignment is not written for it */
    uint64_t n_keys, n_tensors;
    struct build_bytes keys, infos, data, file;
    struct build_mark *marks; /* [n_marks] keys, and tensors, in the order of the file */
    size_t n_marks;
    size_t data_at; /* where the data section begins */
    size_t needed;  /* bytes of the file that matter: without the padding at the end */
};

static TESTING_UNUSED void build_init(struct build *b)
{
    memset(b, 0, sizeof *b);
    b->version = 3;
    b->alignment = 32;
}

static TESTING_UNUSED void build_free(struct build *b)
{
    free(b->keys.data);
    free(b->infos.data);
    free(b->data.data);
    free(b->file.data);
    free(b->marks);
    memset(b, 0, sizeof *b);
}

static struct build_mark *build_mark(struct build *b, const char *name, int is_tensor)
{
    if ((b->n_marks & (b->n_marks - 1)) == 0) { /* 0 or a power of two: full */
        size_t room = b->n_marks == 0 ? 1 : 2 * b->n_marks;
        b->marks = (struct build_mark *)realloc(b->marks, room * sizeof *b->marks);
        if (b->marks == NULL) {
            fprintf(stderr, "no memory for a test file\n");
            exit(1);
        }
    }
    struct build_mark *m = &b->marks[b->n_marks++];
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    m->is_tensor = is_tensor;
    return m;
}

/* ---- Keys ------------------------------------------------------------------------------------ */

static const size_t build_type_size[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static void build_key(struct build *b, const char *key, uint32_t type)
{
    struct build_mark *m = build_mark(b, key, 0);
    m->at[AT_NAME] = BUILD_HEADER + b->keys.size;
    build_put_string(&b->keys, key, strlen(key));
    m->at[AT_TYPE] = BUILD_HEADER + b->keys.size;
    build_put_int(&b->keys, type, 4);
    m->at[AT_VALUE] = BUILD_HEADER + b->keys.size;
    b->n_keys++;
}

/* The head of an array, whose elements the caller puts into b->keys. */
static void build_array(struct build *b, const char *key, uint32_t type, uint64_t n)
{
    build_key(b, key, SLM_TYPE_ARRAY);
    build_put_int(&b->keys, type, 4);
    b->marks[b->n_marks - 1].at[AT_ELEMENTS] = BUILD_HEADER + b->keys.size;
    build_put_int(&b->keys, n, 8);
}

/* Any integer type, bool included. */
static TESTING_UNUSED void build_int(struct build *b, const char *key, uint32_t type, int64_t value)
{
    build_key(b, key, type);
    build_put_int(&b->keys, (uint64_t)value, build_type_size[type]);
}

static TESTING_UNUSED void build_u32(struct build *b, const char *key, uint32_t value)
{
    build_int(b, key, SLM_TYPE_UINT32, value);
}

static TESTING_UNUSED void build_f32(struct build *b, const char *key, float value)
{
    build_key(b, key, SLM_TYPE_FLOAT32);
    build_put_f32(&b->keys, value);
}

static TESTING_UNUSED void build_f64(struct build *b, const char *key, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    build_key(b, key, SLM_TYPE_FLOAT64);
    build_put_int(&b->keys, bits, 8);
}

static TESTING_UNUSED void build_string(struct build *b, const char *key, const char *s, size_t n)
{
    build_key(b, key, SLM_TYPE_STRING);
    build_put_string(&b->keys, s, n);
}

static TESTING_UNUSED void build_text(struct build *b, const char *key, const char *s)
{
    build_string(b, key, s, strlen(s));
}

static TESTING_UNUSED void build_ints(struct build *b, const char *key, uint32_t type,
                                      const int64_t *values, size_t n)
{
    build_array(b, key, type, n);
    for (size_t i = 0; i < n; i++) {
        build_put_int(&b->keys, (uint64_t)values[i], build_type_size[type]);
    }
}

static TESTING_UNUSED void build_texts(struct build *b, const char *key, const char *const *texts,
                                       size_t n)
{
    build_array(b, key, SLM_TYPE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        build_put_string(&b->keys, texts[i], strlen(texts[i]));
    }
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static TESTING_UNUSED void build_tensor_bytes(struct build *b, const char *name, uint32_t type,
                                              uint32_t n_dims, const int64_t *shape,
                                              const void *data, size_t size)
{
    struct build_mark *m = build_mark(b, name, 1);
    build_pad(&b->data, b->alignment);
    m->at[AT_NAME] = b->infos.size;
    build_put_string(&b->infos, name, strlen(name));
    m->at[AT_N_DIMS] = b->infos.size;
    build_put_int(&b->infos, n_dims, 4);
    m->at[AT_SHAPE] = b->infos.size;
    for (uint32_t i = 0; i < n_dims; i++) {
        build_put_int(&b->infos, (uint64_t)shape[i], 8);
    }
    m->at[AT_TYPE] = b->infos.size;
    build_put_int(&b->infos, type, 4);
    m->at[AT_OFFSET] = b->infos.size;
    build_put_int(&b->infos, b->data.size, 8);
    build_put(&b->data, data, size);
    b->n_tensors++;
}

/* Element i of the tensor of that name: -1 to 1, the same in every build. */
static float build_weight(const char *name, uint64_t i)
{
    uint64_t h = 1469598103934665603u;
    for (const char *p = name; *p != 0; p++) {
        h = (h ^ (uint8_t)*p) * 1099511628211u;
    }
    h = (h ^ i) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
    return (float)(int32_t)(h >> 40) / 8388608.0f - 1.0f;
}

/* An f32 tensor; norms are near 1. */
static TESTING_UNUSED void build_tensor(struct build *b, const char *name, uint32_t n_dims,
                                        const int64_t *shape)
{
    struct build_bytes data = {NULL, 0, 0};
    int is_norm = strstr(name, "_norm") != NULL;
    uint64_t n = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        n *= (uint64_t)shape[i];
    }
    for (uint64_t i = 0; i < n; i++) {
        float w = build_weight(name, i);
        build_put_f32(&data, is_norm ? 1 + w / 8 : w / 2);
    }
    build_tensor_bytes(b, name, 0, n_dims, shape, data.data, data.size);
    free(data.data);
}

/* ---- The whole ------------------------------------------------------------------------------- */

static TESTING_UNUSED void build_finish(struct build *b)
{
    struct build_bytes *f = &b->file;
    f->size = 0;
    build_put(f, "GGUF", 4);
    build_put_int(f, b->version, 4);
    build_put_int(f, b->n_tensors, 8);
    build_put_int(f, b->n_keys, 8);
    build_put(f, b->keys.data, b->keys.size);
    for (size_t i = 0; i < b->n_marks; i++) {
        for (int k = 0; b->marks[i].is_tensor && k < AT_FIELDS; k++) {
            b->marks[i].at[k] += f->size;
        }
    }
    build_put(f, b->infos.data, b->infos.size);
    b->needed = f->size;
    if (b->n_tensors > 0) {
        build_pad(f, b->alignment);
        b->needed = f->size + b->data.size;
    }
    b->data_at = f->size;
    build_put(f, b->data.data, b->data.size);
    build_pad(f, b->alignment);
}

/* Where a field stands in the file; after build_finish. */
static TESTING_UNUSED size_t build_at(const struct build *b, const char *name, int field)
{
    for (size_t i = 0; i < b->n_marks; i++) {
        if (strcmp(b->marks[i].name, name) == 0) {
            return b->marks[i].at[field];
        }
    }
    fprintf(stderr, "the test file has no '%s'\n", name);
    exit(1);
}

static TESTING_UNUSED uint64_t build_peek(const struct build *b, size_t at, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value |= (uint64_t)b->file.data[at + i] << (8 * i);
    }
    return value;
}

static TESTING_UNUSED void build_poke(struct build *b, size_t at, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        b->file.data[at + i] = (uint8_t)(value >> (8 * i));
    }
}

/* Where a tensor's data begins in the file. */
static TESTING_UNUSED size_t build_data_at(const struct build *b, const char *name)
{
    return b->data_at + (size_t)build_peek(b, build_at(b, name, AT_OFFSET), 8);
}

/* ---- A tiny model ---------------------------------------------------------------------------- */

struct tiny {
    const char *family;
    uint32_t version;
    uint32_t alignment;
    int64_t n_vocab, n_embd, n_head, n_kv_head, n_ff, n_layer;
    int64_t n_ff_last;   /* of the last layer; 0: as the others */
    int32_t type;        /* encoding of the matrices; but for 0, F32, they hold any bytes at all */
    const char *without; /* a key without its family, or a tensor, that is left out */
    const char *misshaped;
    uint32_t n_dims; /* ... has this shape instead of its own */
    int64_t shape[4];
    int fused;                     /* Q, K and V in one matrix */
    int biases;                    /* on Q, K and V */
    void (*keys)(struct build *b); /* writes more keys */
    void (*tensors)(struct build *b);
    int shard, n_shards; /* only the part of it that belongs into this file of n_shards (0: all) */
    int first_is_empty;  /* shard 0 has no tensors */
};

#define TINY_VOCAB 12

static TESTING_UNUSED struct tiny tiny_default(void)
{
    struct tiny t;
    memset(&t, 0, sizeof t);
    t.family = "llama";
    t.version = 3;
    t.alignment = 32;
    t.n_vocab = TINY_VOCAB;
    t.n_embd = 16;
    t.n_head = 4;
    t.n_kv_head = 2;
    t.n_ff = 20;
    t.n_layer = 1;
    return t;
}

static void tiny_u32(struct build *b, const struct tiny *t, const char *name, int64_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", t->family, name);
    if (t->without == NULL || strcmp(t->without, name) != 0) {
        build_u32(b, key, (uint32_t)value);
    }
}

/* A matrix of any bytes in any encoding. */
static void tiny_any_bytes(struct build *b, int32_t type, const char *name, const int64_t *shape)
{
    struct build_bytes data = {NULL, 0, 0};
    slm_encoding_info e;
    memset(&e, 0, sizeof e);
    e.struct_size = sizeof e;
    if (slm_encoding_find(type, NULL, &e, NULL) != SLM_OK || shape[0] % e.block_elements != 0) {
        fprintf(stderr, "rows of %d are not for encoding %d\n", (int)shape[0], type);
        exit(1);
    }
    int64_t size = shape[0] / e.block_elements * e.block_bytes * shape[1];
    for (int64_t i = 0; i < size; i++) {
        build_put_int(&data, (uint64_t)(int64_t)(build_weight(name, (uint64_t)i) * 128), 1);
    }
    build_tensor_bytes(b, name, (uint32_t)type, 2, shape, data.data, data.size);
    free(data.data);
}

static void tiny_tensor(struct build *b, const struct tiny *t, int64_t layer, const char *name,
                        int64_t n_in, int64_t n_out)
{
    char full[64];
    int64_t shape[4] = {n_in, n_out, 1, 1};
    if (layer >= 0) {
        snprintf(full, sizeof full, "blk.%d.%s", (int)layer, name);
    } else {
        snprintf(full, sizeof full, "%s", name);
    }
    if (t->n_shards > 1) {
        /* All are built in the same order: the name decides where each belongs. */
        uint32_t sum = (uint32_t)layer + (uint32_t)strlen(full);
        int at = t->first_is_empty ? 1 + (int)(sum % (uint32_t)(t->n_shards - 1))
                                   : (int)(sum % (uint32_t)t->n_shards);
        if (at != t->shard) {
            return;
        }
    }
    if (t->without != NULL && strcmp(t->without, full) == 0) {
        return;
    }
    if (t->misshaped != NULL && strcmp(t->misshaped, full) == 0) {
        build_tensor(b, full, t->n_dims, t->shape);
        return;
    }
    if (t->type != 0 && n_out > 0) {
        tiny_any_bytes(b, t->type, full, shape);
        return;
    }
    build_tensor(b, full, n_out > 0 ? 2 : 1, shape);
}

/* Q, K and V of a layer as one matrix, and their biases as one vector: the same numbers. */
static void tiny_fused(struct build *b, const struct tiny *t, int64_t layer, int64_t kv)
{
    static const char *const parts[3] = {"attn_q", "attn_k", "attn_v"};
    const int64_t rows[3] = {t->n_embd, kv, kv};
    int64_t shape[2] = {t->n_embd, t->n_embd + 2 * kv};
    for (int bias = 0; bias <= t->biases; bias++) {
        struct build_bytes data = {NULL, 0, 0};
        char name[64];
        for (int part = 0; part < 3; part++) {
            int64_t n = bias ? rows[part] : rows[part] * t->n_embd;
            snprintf(name, sizeof name, "blk.%d.%s.%s", (int)layer, parts[part],
                     bias ? "bias" : "weight");
            for (int64_t i = 0; i < n; i++) {
                build_put_f32(&data, build_weight(name, (uint64_t)i) / 2);
            }
        }
        snprintf(name, sizeof name, "blk.%d.attn_qkv.%s", (int)layer, bias ? "bias" : "weight");
        build_tensor_bytes(b, name, 0, bias ? 1 : 2, bias ? shape + 1 : shape, data.data,
                           data.size);
        free(data.data);
    }
}

static void tiny_keys(struct build *b, const struct tiny *t)
{
    char key[96];
    build_text(b, "general.architecture", t->family);
    if (t->alignment != 32) {
        build_u32(b, "general.alignment", t->alignment);
    }
    tiny_u32(b, t, "block_count", t->n_layer);
    tiny_u32(b, t, "context_length", 64);
    tiny_u32(b, t, "embedding_length", t->n_embd);
    tiny_u32(b, t, "feed_forward_length", t->n_ff);
    tiny_u32(b, t, "attention.head_count", t->n_head);
    tiny_u32(b, t, "attention.head_count_kv", t->n_kv_head);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", t->family);
    if (t->without == NULL || strcmp(t->without, "attention.layer_norm_rms_epsilon") != 0) {
        build_f32(b, key, 1e-5f);
    }
    if (t->keys != NULL) {
        t->keys(b);
    }
}

/* Builds and finishes the file. */
static TESTING_UNUSED void tiny_build(struct build *b, const struct tiny *t)
{
    int64_t kv = t->n_head > 0 ? t->n_embd / t->n_head * t->n_kv_head : 0;
    build_init(b);
    b->version = t->version;
    b->alignment = t->alignment;
    if (t->shard == 0) {
        tiny_keys(b, t);
    }
    if (t->n_shards > 1) {
        build_int(b, "split.no", SLM_TYPE_UINT16, t->shard);
        build_int(b, "split.count", SLM_TYPE_UINT16, t->n_shards);
        build_int(b, "split.tensors.count", SLM_TYPE_INT32, 3 + 9 * t->n_layer);
    }
    tiny_tensor(b, t, -1, "token_embd.weight", t->n_embd, t->n_vocab);
    tiny_tensor(b, t, -1, "output_norm.weight", t->n_embd, 0);
    tiny_tensor(b, t, -1, "output.weight", t->n_embd, t->n_vocab);
    for (int64_t i = 0; i < t->n_layer; i++) {
        int64_t n_ff = i == t->n_layer - 1 && t->n_ff_last > 0 ? t->n_ff_last : t->n_ff;
        tiny_tensor(b, t, i, "attn_norm.weight", t->n_embd, 0);
        if (t->fused) {
            tiny_fused(b, t, i, kv);
        } else {
            tiny_tensor(b, t, i, "attn_q.weight", t->n_embd, t->n_embd);
            tiny_tensor(b, t, i, "attn_k.weight", t->n_embd, kv);
            tiny_tensor(b, t, i, "attn_v.weight", t->n_embd, kv);
        }
        if (t->biases && !t->fused) {
            tiny_tensor(b, t, i, "attn_q.bias", t->n_embd, 0);
            tiny_tensor(b, t, i, "attn_k.bias", kv, 0);
            tiny_tensor(b, t, i, "attn_v.bias", kv, 0);
        }
        tiny_tensor(b, t, i, "attn_output.weight", t->n_embd, t->n_embd);
        tiny_tensor(b, t, i, "ffn_gate.weight", t->n_embd, n_ff);
        tiny_tensor(b, t, i, "ffn_up.weight", t->n_embd, n_ff);
        tiny_tensor(b, t, i, "ffn_down.weight", n_ff, t->n_embd);
        tiny_tensor(b, t, i, "ffn_norm.weight", t->n_embd, 0);
    }
    if (t->tensors != NULL) {
        t->tensors(b);
    }
    build_finish(b);
}

/* ---- Running it ------------------------------------------------------------------------------ */

static TESTING_UNUSED int tiny_open(slm_model **model, const struct build *b,
                                    const slm_model_options *options, slm_error *err)
{
    const void *data = b->file.data;
    size_t size = b->file.size;
    return slm_model_open_memory(model, &data, &size, 1, options, err);
}

/* Options of a context so small that making one costs nothing. */
static TESTING_UNUSED slm_context_options tiny_context(void)
{
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 16;
    o.n_batch = 4;
    o.n_threads = 1;
    return o;
}

/* Evaluates n tokens; the logits of the last one into row [n_vocab]. */
static TESTING_UNUSED int tiny_logits(slm_context *context, const int32_t *tokens, int32_t n,
                                      float *row, int32_t n_vocab, slm_error *err)
{
    const float *logits = NULL;
    slm_span span;
    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    span.position = -1;
    span.n_tokens = n;
    span.tokens = tokens;
    span.want = SLM_WANT_LAST;
    int status = slm_eval(context, &span, 1, sizeof span, NULL, err);
    if (status == SLM_OK) {
        status = slm_logits(context, -1, &logits, NULL, err);
    }
    if (status == SLM_OK) {
        memcpy(row, logits, (size_t)n_vocab * sizeof *row);
    }
    return status;
}

/* The same in a context of its own. */
static TESTING_UNUSED int tiny_run(slm_model *model, const int32_t *tokens, int32_t n, float *row,
                                   int32_t n_vocab, slm_error *err)
{
    slm_context *context = NULL;
    slm_context_options o = tiny_context();
    int status = slm_context_create(&context, model, &o, err);
    if (status == SLM_OK) {
        status = tiny_logits(context, tokens, n, row, n_vocab, err);
    }
    slm_context_free(context);
    return status;
}

/* 1 if the message holds both parts (NULL: any). */
static TESTING_UNUSED int tiny_says(const slm_error *err, const char *a, const char *b)
{
    return (a == NULL || strstr(err->message, a) != NULL) &&
           (b == NULL || strstr(err->message, b) != NULL);
}

#endif
