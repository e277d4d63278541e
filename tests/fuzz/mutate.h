/* mutate.h - changes a GGUF file as somebody would who knows the format.
 *
 * The file is taken apart leniently (what cannot be read ends the list), one to four fields, keys or
 * tensors are changed, and the whole is written again with counts and padding that fit: so that a
 * changed file gets past the header, most of the time. Sometimes a count or length is left wrong.
 * Both libFuzzer's custom mutator and AFL++'s (mutator.c) are this. */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include "fuzz.h"

#define MUTATE_ITEMS 400

/* A key with its value, or an entry of the tensor table: a copy of its bytes. */
struct mutate_item {
    uint8_t *bytes;
    size_t size;
    size_t name_size; /* of the name at byte 8 */
};

struct mutate_file {
    struct mutate_item keys[MUTATE_ITEMS], tensors[MUTATE_ITEMS];
    size_t n_keys, n_tensors;
    uint8_t *data;
    size_t data_size;
    uint32_t version;
    uint64_t alignment;
    int lie;        /* counts of the header: -1 to 1 is added */
    uint64_t state; /* of the random numbers */
};

static uint64_t mutate_random(struct mutate_file *f, uint64_t n)
{
    f->state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = f->state;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (z ^ z >> 31) % n;
}

static uint64_t mutate_load(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value |= (uint64_t)p[i] << (8 * i);
    }
    return value;
}

static void mutate_store(uint8_t *p, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)(value >> (8 * i));
    }
}

/* ---- Taking apart ---------------------------------------------------------------------------- */

static size_t mutate_type_size(uint64_t type)
{
    static const uint8_t sizes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
    return type < 13 ? sizes[type] : 0;
}

/* The length of a string with its size, or 0 if it does not fit. */
static size_t mutate_string(const uint8_t *p, size_t left)
{
    if (left < 8) {
        return 0;
    }
    uint64_t n = mutate_load(p, 8);
    return n <= left - 8 ? (size_t)n + 8 : 0;
}

/* The length of a value, or 0. */
static size_t mutate_value(const uint8_t *p, size_t left, uint64_t type)
{
    if (type == SLM_TYPE_STRING) {
        return mutate_string(p, left);
    }
    if (type != SLM_TYPE_ARRAY) {
        size_t n = mutate_type_size(type);
        return n <= left ? n : 0;
    }
    if (left < 12) {
        return 0;
    }
    uint64_t element = mutate_load(p, 4);
    uint64_t count = mutate_load(p + 4, 8);
    size_t at = 12;
    if (element != SLM_TYPE_STRING) {
        size_t n = mutate_type_size(element);
        return n > 0 && count <= (left - at) / n ? at + (size_t)count * n : 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        size_t n = mutate_string(p + at, left - at);
        if (n == 0) {
            return 0;
        }
        at += n;
    }
    return at;
}

static size_t mutate_key(const uint8_t *p, size_t left)
{
    size_t name = mutate_string(p, left);
    if (name == 0 || left - name < 4) {
        return 0;
    }
    size_t value = mutate_value(p + name + 4, left - name - 4, mutate_load(p + name, 4));
    return value > 0 ? name + 4 + value : 0;
}

static size_t mutate_tensor(const uint8_t *p, size_t left)
{
    size_t name = mutate_string(p, left);
    if (name == 0 || left - name < 4) {
        return 0;
    }
    uint64_t n_dims = mutate_load(p + name, 4);
    size_t size = n_dims <= 8 ? name + 4 + (size_t)n_dims * 8 + 12 : 0;
    return size > 0 && size <= left ? size : 0;
}

static size_t mutate_items(struct mutate_item *items, size_t *n, uint64_t wanted,
                           size_t (*measure)(const uint8_t *p, size_t left), const uint8_t *data,
                           size_t size, size_t at)
{
    for (*n = 0; *n < wanted && *n < MUTATE_ITEMS; (*n)++) {
        size_t length = measure(data + at, size - at);
        if (length == 0) {
            break;
        }
        struct mutate_item *item = &items[*n];
        item->bytes = (uint8_t *)fuzz_copy(data + at, length);
        item->size = length;
        item->name_size = (size_t)mutate_load(data + at, 8);
        at += length;
    }
    return at;
}

static int mutate_has_name(const struct mutate_item *item, const char *name)
{
    return item->name_size == strlen(name) && memcmp(item->bytes + 8, name, item->name_size) == 0;
}

static int mutate_read(struct mutate_file *f, const uint8_t *data, size_t size)
{
    if (size < 24 || memcmp(data, "GGUF", 4) != 0) {
        return 0;
    }
    f->version = (uint32_t)mutate_load(data + 4, 4);
    f->alignment = 32;
    size_t at =
        mutate_items(f->keys, &f->n_keys, mutate_load(data + 16, 8), mutate_key, data, size, 24);
    at = mutate_items(f->tensors, &f->n_tensors, mutate_load(data + 8, 8), mutate_tensor, data,
                      size, at);
    for (size_t i = 0; i < f->n_keys; i++) {
        const struct mutate_item *k = &f->keys[i];
        if (mutate_has_name(k, "general.alignment") && k->size == k->name_size + 16) {
            uint64_t a = mutate_load(k->bytes + k->size - 4, 4);
            f->alignment = a > 0 && a <= 4096 && (a & (a - 1)) == 0 ? a : 32;
        }
    }
    at = (at + (size_t)f->alignment - 1) & ~((size_t)f->alignment - 1);
    f->data_size = at < size ? size - at : 0;
    f->data = (uint8_t *)fuzz_copy(at < size ? data + at : data, f->data_size);
    return 1;
}

static void mutate_free(struct mutate_file *f)
{
    for (size_t i = 0; i < f->n_keys; i++) {
        free(f->keys[i].bytes);
    }
    for (size_t i = 0; i < f->n_tensors; i++) {
        free(f->tensors[i].bytes);
    }
    free(f->data);
}

/* ---- Changing -------------------------------------------------------------------------------- */

static const char *const mutate_key_names[] = {"general.architecture",
                                               "general.alignment",
                                               "general.name",
                                               "general.file_type",
                                               "split.no",
                                               "split.count",
                                               "split.tensors.count",
                                               "llama.block_count",
                                               "llama.context_length",
                                               "llama.embedding_length",
                                               "llama.feed_forward_length",
                                               "llama.attention.head_count",
                                               "llama.attention.head_count_kv",
                                               "llama.attention.key_length",
                                               "llama.attention.value_length",
                                               "llama.attention.layer_norm_rms_epsilon",
                                               "llama.rope.dimension_count",
                                               "llama.rope.freq_base",
                                               "llama.rope.scaling.type",
                                               "llama.rope.scaling.factor",
                                               "llama.rope.scale_linear",
                                               "llama.rope.scaling.attn_factor",
                                               "llama.rope.scaling.original_context_length",
                                               "llama.expert_count",
                                               "llama.vocab_size",
                                               "tokenizer.ggml.model",
                                               "tokenizer.ggml.pre",
                                               "tokenizer.ggml.tokens",
                                               "tokenizer.ggml.scores",
                                               "tokenizer.ggml.token_type",
                                               "tokenizer.ggml.merges",
                                               "tokenizer.ggml.bos_token_id",
                                               "tokenizer.ggml.eos_token_id",
                                               "tokenizer.ggml.unknown_token_id",
                                               "tokenizer.ggml.padding_token_id",
                                               "tokenizer.ggml.add_bos_token",
                                               "tokenizer.ggml.add_space_prefix",
                                               "tokenizer.chat_template",
                                               "qwen2.block_count",
                                               "qwen3.block_count"};

static const char *const mutate_tensor_names[] = {"token_embd.weight",
                                                  "output_norm.weight",
                                                  "output.weight",
                                                  "output.bias",
                                                  "output.scale",
                                                  "rope_freqs.weight",
                                                  "blk.0.attn_norm.weight",
                                                  "blk.0.attn_q.weight",
                                                  "blk.0.attn_k.weight",
                                                  "blk.0.attn_v.weight",
                                                  "blk.0.attn_qkv.weight",
                                                  "blk.0.attn_qkv.bias",
                                                  "blk.0.attn_q.bias",
                                                  "blk.0.attn_q.scale",
                                                  "blk.0.attn_output.weight",
                                                  "blk.0.attn_output.bias",
                                                  "blk.0.attn_q_norm.weight",
                                                  "blk.0.attn_k_norm.weight",
                                                  "blk.0.ffn_norm.weight",
                                                  "blk.0.ffn_gate.weight",
                                                  "blk.0.ffn_up.weight",
                                                  "blk.0.ffn_down.weight",
                                                  "blk.0.ffn_down.bias",
                                                  "blk.1.attn_q.weight",
                                                  "blk.511.attn_q.weight"};

static uint64_t mutate_number(struct mutate_file *f, uint64_t old)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      8,
                                      16,
                                      31,
                                      32,
                                      33,
                                      63,
                                      64,
                                      127,
                                      128,
                                      255,
                                      256,
                                      512,
                                      513,
                                      1023,
                                      1024,
                                      4096,
                                      32768,
                                      65535,
                                      65536,
                                      1u << 20,
                                      (1u << 20) + 1,
                                      1u << 24,
                                      0x7fffffff,
                                      0x80000000u,
                                      0xffffffffu,
                                      UINT64_C(1) << 32,
                                      UINT64_C(1) << 60,
                                      UINT64_C(1) << 61,
                                      UINT64_C(1) << 62,
                                      INT64_MAX,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX,
                                      UINT64_MAX - 31,
                                      UINT64_MAX - 7};
    switch (mutate_random(f, 6)) {
    case 0:
        return old + 1;
    case 1:
        return old - 1;
    case 2:
        return old * 2;
    case 3:
        return old ^ UINT64_C(1) << mutate_random(f, 64);
    default:
        return values[mutate_random(f, sizeof values / sizeof values[0])];
    }
}

/* Replaces `old` bytes of an item at `at` by n bytes. */
static void mutate_splice(struct mutate_item *item, size_t at, size_t old, const void *with,
                          size_t n)
{
    size_t size = item->size - old + n;
    uint8_t *bytes = (uint8_t *)malloc(size + 1);
    fuzz_check(bytes != NULL, "no memory");
    memcpy(bytes, item->bytes, at);
    memcpy(bytes + at, with, n);
    memcpy(bytes + at + n, item->bytes + at + old, item->size - at - old);
    free(item->bytes);
    item->bytes = bytes;
    item->size = size;
}

static void mutate_rename(struct mutate_item *item, const void *name, size_t n)
{
    mutate_splice(item, 8, item->name_size, name, n);
    mutate_store(item->bytes, n, 8);
    item->name_size = n;
}

static void mutate_bytes(struct mutate_file *f, uint8_t *bytes, size_t n)
{
    for (uint64_t i = 1 + mutate_random(f, 4); n > 0 && i > 0; i--) {
        uint8_t *p = bytes + mutate_random(f, n);
        *p = mutate_random(f, 2) != 0 ? (uint8_t)mutate_random(f, 256)
                                      : (uint8_t)(*p ^ 1u << mutate_random(f, 8));
    }
}

/* A field of n bytes at `at`. */
static void mutate_field(struct mutate_file *f, struct mutate_item *item, size_t at, size_t n)
{
    n = n < 8 ? n : 8;
    if (at + n <= item->size) {
        mutate_store(item->bytes + at, mutate_number(f, mutate_load(item->bytes + at, n)), n);
    }
}

/* A name of the list, or half the time that of another item. */
static void mutate_any_name(struct mutate_file *f, struct mutate_item *item,
                            const struct mutate_item *items, size_t n_items,
                            const char *const *names, size_t n_names)
{
    if (mutate_random(f, 2) == 0) {
        const char *name = names[mutate_random(f, n_names)];
        mutate_rename(item, name, strlen(name));
        return;
    }
    const struct mutate_item *other = &items[mutate_random(f, n_items)];
    if (other != item) {
        mutate_rename(item, other->bytes + 8, other->name_size);
    }
}

/* A number of four bytes becomes an array of some, as for layers; of an array one is changed. */
static void mutate_layers(struct mutate_file *f, struct mutate_item *k, size_t value_at)
{
    uint64_t type = mutate_load(k->bytes + value_at - 4, 4);
    uint8_t array[12 + 4 * 8];
    uint64_t n = 1 + mutate_random(f, 8);
    if (type == SLM_TYPE_ARRAY && k->size >= value_at + 16) {
        size_t n_elements = (k->size - value_at - 12) / 4;
        mutate_field(f, k, value_at + 12 + 4 * (size_t)mutate_random(f, n_elements), 4);
    } else if (k->size == value_at + 4) {
        mutate_store(array, type, 4);
        mutate_store(array + 4, n, 8);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t old = mutate_load(k->bytes + value_at, 4);
            uint64_t value = mutate_random(f, 3) != 0 ? old : mutate_number(f, old) % 8;
            mutate_store(array + 12 + 4 * i, value, 4);
        }
        mutate_splice(k, value_at, 4, array, 12 + 4 * (size_t)n);
        mutate_store(k->bytes + value_at - 4, SLM_TYPE_ARRAY, 4);
    }
}

static void mutate_one_key(struct mutate_file *f, struct mutate_item *k)
{
    static const size_t n_names = sizeof mutate_key_names / sizeof mutate_key_names[0];
    size_t type_at = 8 + k->name_size;
    size_t value_at = type_at + 4;
    uint64_t type = mutate_load(k->bytes + type_at, 4);
    switch (mutate_random(f, 10)) {
    case 0:
        mutate_any_name(f, k, f->keys, f->n_keys, mutate_key_names, n_names);
        break;
    case 1:
        mutate_store(k->bytes + type_at, mutate_random(f, 14), 4);
        break;
    case 2: /* another type and a value of its size */
        if (type != SLM_TYPE_STRING && type != SLM_TYPE_ARRAY) {
            static const uint8_t types[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12};
            uint8_t value[8];
            uint64_t to = types[mutate_random(f, sizeof types)];
            mutate_store(value, mutate_number(f, mutate_load(k->bytes + value_at, 1)), 8);
            mutate_splice(k, value_at, k->size - value_at, value, mutate_type_size(to));
            mutate_store(k->bytes + type_at, to, 4);
        }
        break;
    case 3: /* an array's type or count; a string's length */
        mutate_field(f, k, value_at + (type == SLM_TYPE_ARRAY ? 4 : 0), 8);
        break;
    case 4:
        if (type == SLM_TYPE_ARRAY && k->size >= value_at + 12) {
            mutate_store(k->bytes + value_at, mutate_random(f, 14), 4);
        }
        break;
    case 5: /* a string is made shorter or longer and its length fits */
        if (type == SLM_TYPE_STRING && k->size > value_at + 8) {
            size_t n = (size_t)mutate_random(f, k->size - value_at - 8 + 1);
            mutate_splice(k, value_at + 8, n, k->bytes, mutate_random(f, 2) != 0 ? 8 : 0);
            mutate_store(k->bytes + value_at, k->size - value_at - 8, 8);
        }
        break;
    case 6:
        mutate_layers(f, k, value_at);
        break;
    default:
        if (type == SLM_TYPE_STRING || type == SLM_TYPE_ARRAY) {
            mutate_bytes(f, k->bytes + value_at, k->size - value_at);
        } else {
            mutate_field(f, k, value_at, k->size - value_at);
        }
    }
}

/* How many dimensions a tensor has bytes for, whatever it says. */
static uint64_t mutate_dims(const struct mutate_item *t)
{
    return (t->size - t->name_size - 24) / 8;
}

/* Another encoding, and rows that fit it. */
static void mutate_encoding(struct mutate_file *f, struct mutate_item *t)
{
    slm_encoding_info e = {.struct_size = sizeof e};
    size_t dims_at = 8 + t->name_size;
    uint64_t n_dims = mutate_dims(t);
    size_t type_at = dims_at + 4 + (size_t)n_dims * 8;
    int32_t type = (int32_t)mutate_random(f, 43);
    if (n_dims == 0 || slm_encoding_find(type, NULL, &e, NULL) != SLM_OK) {
        return;
    }
    mutate_store(t->bytes + type_at, (uint64_t)type, 4);
    if (mutate_random(f, 2) != 0) {
        uint64_t n = mutate_load(t->bytes + dims_at + 4, 8);
        uint64_t block = (uint64_t)e.block_elements;
        mutate_store(t->bytes + dims_at + 4, n < block ? block : n / block * block, 8);
    }
}

static void mutate_one_tensor(struct mutate_file *f, struct mutate_item *t)
{
    static const size_t n_names = sizeof mutate_tensor_names / sizeof mutate_tensor_names[0];
    size_t dims_at = 8 + t->name_size;
    uint64_t n_dims = mutate_dims(t);
    switch (mutate_random(f, 7)) {
    case 0:
        mutate_any_name(f, t, f->tensors, f->n_tensors, mutate_tensor_names, n_names);
        break;
    case 1:
        mutate_field(f, t, dims_at + 4 + 8 * (size_t)mutate_random(f, n_dims + 1), 8);
        break;
    case 2: /* one dimension more or less */
        if (n_dims > 0 && mutate_random(f, 2) != 0) {
            mutate_splice(t, dims_at + 4, 8, t->bytes, 0);
            mutate_store(t->bytes + dims_at, n_dims - 1, 4);
        } else if (n_dims < 8) {
            static const uint8_t one[8] = {1, 0, 0, 0, 0, 0, 0, 0};
            mutate_splice(t, dims_at + 4 + (size_t)n_dims * 8, 0, one, 8);
            mutate_store(t->bytes + dims_at, n_dims + 1, 4);
        }
        break;
    case 3:
        mutate_field(f, t, dims_at, 4);
        break;
    case 4: /* where another one is, or nowhere */
        if (mutate_random(f, 2) != 0) {
            const struct mutate_item *o = &f->tensors[mutate_random(f, f->n_tensors)];
            uint64_t at = mutate_load(o->bytes + o->size - 8, 8);
            mutate_store(t->bytes + t->size - 8, at, 8);
        } else {
            mutate_field(f, t, t->size - 8, 8);
        }
        break;
    case 5:
        mutate_field(f, t, t->size - 12, 4);
        break;
    default:
        mutate_encoding(f, t);
    }
}

/* Twice, not at all, or in another place. */
static void mutate_list(struct mutate_file *f, struct mutate_item *items, size_t *n)
{
    size_t i = (size_t)mutate_random(f, *n);
    size_t j = (size_t)mutate_random(f, *n);
    struct mutate_item moved = items[i];
    switch (mutate_random(f, 3)) {
    case 0:
        items[i] = items[j];
        items[j] = moved;
        break;
    case 1:
        free(moved.bytes);
        items[i] = items[--*n];
        break;
    default:
        if (*n < MUTATE_ITEMS) {
            items[*n] = items[i];
            items[*n].bytes = (uint8_t *)fuzz_copy(items[i].bytes, items[i].size);
            (*n)++;
        }
    }
}

/* Weights: some bytes, or a stretch of the same (NaN and infinity in f32 and f16 among them). */
static void mutate_data(struct mutate_file *f)
{
    static const uint8_t fills[] = {0x00, 0xff, 0x7f, 0x80, 0x7c};
    if (f->data_size == 0 || mutate_random(f, 2) != 0) {
        mutate_bytes(f, f->data, f->data_size);
        return;
    }
    size_t at = (size_t)mutate_random(f, f->data_size);
    size_t n = (size_t)mutate_random(f, f->data_size - at) + 1;
    memset(f->data + at, fills[mutate_random(f, sizeof fills)], n);
}

static void mutate_once(struct mutate_file *f)
{
    uint64_t what = mutate_random(f, 16);
    if (what < 6 && f->n_keys > 0) {
        mutate_one_key(f, &f->keys[mutate_random(f, f->n_keys)]);
    } else if (what < 11 && f->n_tensors > 0) {
        mutate_one_tensor(f, &f->tensors[mutate_random(f, f->n_tensors)]);
    } else if (what == 11 && f->n_keys > 0) {
        mutate_list(f, f->keys, &f->n_keys);
    } else if (what == 12 && f->n_tensors > 0) {
        mutate_list(f, f->tensors, &f->n_tensors);
    } else if (what == 13) {
        f->lie = (int)mutate_random(f, 3) - 1;
        f->version = mutate_random(f, 4) == 0 ? (uint32_t)mutate_number(f, f->version) : f->version;
    } else {
        mutate_data(f);
    }
}

/* ---- The whole ------------------------------------------------------------------------------- */

static size_t mutate_put(uint8_t *out, size_t at, size_t most, const void *from, size_t n)
{
    n = n < most - at ? n : most - at;
    memcpy(out + at, from, n);
    return at + n;
}

static size_t mutate_write(const struct mutate_file *f, uint8_t *out, size_t most)
{
    static const uint8_t zeros[4096];
    uint8_t head[24] = {'G', 'G', 'U', 'F'};
    uint64_t lie = (uint64_t)(int64_t)f->lie;
    mutate_store(head + 4, f->version, 4);
    mutate_store(head + 8, f->n_tensors + lie, 8);
    mutate_store(head + 16, f->n_keys + lie, 8);
    size_t at = mutate_put(out, 0, most, head, sizeof head);
    for (size_t i = 0; i < f->n_keys; i++) {
        at = mutate_put(out, at, most, f->keys[i].bytes, f->keys[i].size);
    }
    for (size_t i = 0; i < f->n_tensors; i++) {
        at = mutate_put(out, at, most, f->tensors[i].bytes, f->tensors[i].size);
    }
    if (f->data_size > 0) {
        size_t gap = (size_t)((f->alignment - at % f->alignment) % f->alignment);
        at = mutate_put(out, at, most, zeros, gap);
        at = mutate_put(out, at, most, f->data, f->data_size);
    }
    return at;
}

/* Changes size bytes of data to at most max_size, in place; returns how many there are now. 0 if
 * this is no GGUF file. */
static size_t mutate_gguf(uint8_t *data, size_t size, size_t max_size, uint64_t seed)
{
    struct mutate_file *f = (struct mutate_file *)calloc(1, sizeof *f);
    size_t n = 0;
    fuzz_check(f != NULL, "no memory");
    f->state = seed;
    if (mutate_read(f, data, size)) {
        for (uint64_t i = 1 + mutate_random(f, 4); i > 0; i--) {
            mutate_once(f);
        }
        n = mutate_write(f, data, max_size);
        if (mutate_random(f, 64) == 0) {
            n = (size_t)mutate_random(f, n) + 1;
        }
        mutate_free(f);
    }
    free(f);
    return n;
}

#endif
