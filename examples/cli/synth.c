/* synth.c - GGUF files of random weights in the shapes of known models, for bench: the speed of a
 * model depends on its shape and encodings, not on what it learnt.
 *
 * Encodings of single tensors follow the rules by which quantising programs mix them (a "Q4_K_M"
 * file is mostly Q4_K with some Q6_K), with their fallbacks for narrow matrices. Blocks are random
 * bytes with scales set so that the weights of a row of K are about 1/sqrt(K): activations stay
 * finite in any depth. Vocabularies are made up, but load.
 *
 * Files are kept in $TMPDIR (or /tmp) in a folder that only this user can write. A file is written
 * under another name and renamed when it is whole. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* Part of the file's name: raise it when the same names would mean other bytes. */
#define SYNTH_VERSION 1

/* ---- Shapes --------------------------------------------------------------------------------- */

struct shape {
    const char *name, *family;
    int32_t n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_vocab, n_ctx;
    float rope_base, eps;
    int tied;          /* the token embedding is the head, too */
    float rope_factor; /* of llama3's frequency factors; 0: none */
};

static const struct shape shapes[] = {
    {"tiny", "llama", 2, 256, 4, 2, 64, 512, 1024, 4096, 1e4f, 1e-5f, 1, 0},
    {"smollm2-135m", "llama", 30, 576, 9, 3, 64, 1536, 49152, 8192, 1e5f, 1e-5f, 1, 0},
    {"smollm2-360m", "llama", 32, 960, 15, 5, 64, 2560, 49152, 8192, 1e5f, 1e-5f, 1, 0},
    {"smollm2-1.7b", "llama", 24, 2048, 32, 32, 64, 8192, 49152, 8192, 1.3e5f, 1e-5f, 1, 0},
    {"tinyllama-1.1b", "llama", 22, 2048, 32, 4, 64, 5632, 32000, 2048, 1e4f, 1e-5f, 0, 0},
    {"llama3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5f, 1e-5f, 1, 32},
    {"llama3.2-3b", "llama", 28, 3072, 24, 8, 128, 8192, 128256, 131072, 5e5f, 1e-5f, 1, 32},
    {"llama3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072, 5e5f, 1e-5f, 0, 8},
    {"mistral-7b", "llama", 32, 4096, 32, 8, 128, 14336, 32768, 32768, 1e6f, 1e-5f, 0, 0},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, 1e6f, 1e-6f, 1, 0},
    {"qwen2.5-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, 32768, 1e6f, 1e-6f, 1, 0},
    {"qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960, 1e6f, 1e-6f, 1, 0},
    {"qwen3-1.7b", "qwen3", 28, 2048, 16, 8, 128, 6144, 151936, 40960, 1e6f, 1e-6f, 1, 0},
    {"qwen3-4b", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, 40960, 1e6f, 1e-6f, 1, 0},
    {"granite3.1-1b-a400m", "granitemoe", 24, 1024, 16, 8, 64, 512, 49155, 131072, 1.5e6f, 1e-6f, 1,
     0},
    {"olmoe-1b-7b", "olmoe", 16, 2048, 16, 16, 128, 1024, 50304, 4096, 1e4f, 1e-5f, 0, 0},
    {"lfm2-350m", "lfm2", 16, 1024, 16, 8, 64, 4608, 65536, 128000, 1e6f, 1e-5f, 1, 0},
    {"lfm2-1.2b", "lfm2", 16, 2048, 32, 8, 64, 8192, 65536, 128000, 1e6f, 1e-5f, 1, 0},
    {"rwkv7-0.4b", "rwkv7", 24, 1024, 0, 0, 64, 4096, 65536, 1048576, 1e4f, 1e-5f, 0, 0},
    {"rwkv7-1.5b", "rwkv7", 24, 2048, 0, 0, 64, 8192, 65536, 1048576, 1e4f, 1e-5f, 0, 0},
};

/* What some have beyond that: experts, layers with a short convolution in place of attention, ranks
 * of RWKV-7. */
static const struct extra {
    const char *shape;
    int32_t n_expert, n_used;
    const char *layers; /* a letter each: 'c' convolution, 'a' attention; NULL: attention */
    int32_t decay, rate, value, gate;
} extras[] = {
    {"granite3.1-1b-a400m", 32, 8, NULL, 0, 0, 0, 0},
    {"olmoe-1b-7b", 64, 8, NULL, 0, 0, 0, 0},
    {"lfm2-350m", 0, 0, "ccaccaccacacacac", 0, 0, 0, 0},
    {"lfm2-1.2b", 0, 0, "ccaccaccacacacac", 0, 0, 0, 0},
    {"rwkv7-0.4b", 0, 0, NULL, 64, 64, 32, 128},
    {"rwkv7-1.5b", 0, 0, NULL, 96, 96, 64, 256},
};

static const struct extra *extra_of(const struct shape *s)
{
    static const struct extra none;
    for (int i = 0; i < CLI_COUNT(extras); i++) {
        if (strcmp(extras[i].shape, s->name) == 0) {
            return &extras[i];
        }
    }
    return &none;
}

static int is_family(const struct shape *s, const char *family)
{
    return strcmp(s->family, family) == 0;
}

/* Has the layer attention? */
static int has_attention(const struct shape *s, int32_t layer)
{
    const char *layers = extra_of(s)->layers;
    return s->n_head > 0 && (layers == NULL || layers[layer] == 'a');
}

/* ---- Encodings ------------------------------------------------------------------------------ */

/* How random bytes become blocks of moderate weights. Block types: a f16 scale at scale_at and a
 * f16 offset at min_at (NONE: there is none), which is scale * min_ratio so that the mean is about
 * 0; rms is the root mean square of a weight whose scale is 1. Plain types have a fixed exponent
 * and random sign and mantissa instead. */
#define NONE (-1)

struct filling {
    const char *encoding;
    int scale_at, min_at;
    double min_ratio, rms;
    const char *narrow; /* what stands in where a row is no whole number of blocks */
};

static const struct filling fillings[] = {
    {"Q4_0", 0, NONE, 0, 4.6, "F16"},     {"Q4_1", 0, 2, -7.5, 4.6, "F16"},
    {"Q5_0", 0, NONE, 0, 9.2, "F16"},     {"Q5_1", 0, 2, -15.5, 9.2, "F16"},
    {"Q8_0", 0, NONE, 0, 74, "F16"},      {"IQ4_NL", 0, NONE, 0, 66, "F16"},
    {"Q2_K", 80, 82, 1.5, 14, "Q4_0"},    {"Q3_K", 108, NONE, 0, 42, "Q4_0"},
    {"Q4_K", 0, 2, 7.5, 257, "Q5_0"},     {"Q5_K", 0, 2, 15.5, 525, "Q5_1"},
    {"Q6_K", 208, NONE, 0, 1370, "Q8_0"}, {"IQ4_XS", 0, NONE, 0, 1200, "IQ4_NL"},
    {"IQ3_S", 0, NONE, 0, 130, "IQ4_NL"}, {"TQ1_0", 52, NONE, 0, 0.8, "Q4_0"},
    {"TQ2_0", 64, NONE, 0, 1.2, "Q4_0"},
};

/* bits of mantissa and exponent, bias of the exponent */
static const struct plain {
    const char *encoding;
    int size, mantissa, exponent, bias;
} plains[] = {{"F32", 4, 23, 8, 127}, {"F16", 2, 10, 5, 15}, {"BF16", 2, 7, 8, 127}};

static const struct filling *find_filling(const char *encoding)
{
    for (int i = 0; i < CLI_COUNT(fillings); i++) {
        if (strcmp(fillings[i].encoding, encoding) == 0) {
            return &fillings[i];
        }
    }
    return NULL;
}

static const struct plain *find_plain(const char *encoding)
{
    for (int i = 0; i < CLI_COUNT(plains); i++) {
        if (strcmp(plains[i].encoding, encoding) == 0) {
            return &plains[i];
        }
    }
    return NULL;
}

/* ---- Mixes ---------------------------------------------------------------------------------- */

/* Which layers of n get the better encoding. */
enum when {
    NEVER,
    ALWAYS,
    MORE_BITS,
    FIRST_2,
    FIRST_4,
    FIRST_8TH,
    FIRST_16TH,
    MANY_QUERIES
};

struct rule {
    enum when when;
    const char *then, *otherwise; /* otherwise NULL: the base encoding */
};

struct mix {
    const char *name;
    int32_t file_type;
    const char *base;
    const char *output;               /* the head, also where it is the token embedding */
    struct rule v, down, attn_output; /* {0}: the base encoding */
};

static const struct mix mixes[] = {
    {"f32", 0, "F32", "F32", {0}, {0}, {0}},
    {"f16", 1, "F16", "F16", {0}, {0}, {0}},
    {"bf16", 32, "BF16", "BF16", {0}, {0}, {0}},
    {"q8_0", 7, "Q8_0", "Q8_0", {0}, {0}, {0}},
    {"q4_0", 2, "Q4_0", "Q6_K", {0}, {0}, {0}},
    {"q4_1", 3, "Q4_1", "Q6_K", {0}, {0}, {0}},
    {"q5_0", 8, "Q5_0", "Q6_K", {0}, {0}, {0}},
    {"q5_1", 9, "Q5_1", "Q6_K", {0}, {0}, {0}},
    {"q2_k",
     10,
     "Q2_K",
     "Q6_K",
     {MANY_QUERIES, "Q4_K", "Q3_K"},
     {ALWAYS, "Q3_K", NULL},
     {ALWAYS, "Q3_K", NULL}},
    {"q3_k_s", 11, "Q3_K", "Q6_K", {0}, {0}, {0}},
    {"q3_k_m",
     12,
     "Q3_K",
     "Q6_K",
     {FIRST_2, "Q5_K", "Q4_K"},
     {FIRST_16TH, "Q5_K", "Q4_K"},
     {ALWAYS, "Q4_K", NULL}},
    {"q3_k_l",
     13,
     "Q3_K",
     "Q6_K",
     {ALWAYS, "Q5_K", NULL},
     {ALWAYS, "Q5_K", NULL},
     {ALWAYS, "Q5_K", NULL}},
    {"q4_k_s", 14, "Q4_K", "Q6_K", {FIRST_4, "Q5_K", NULL}, {FIRST_8TH, "Q5_K", NULL}, {0}},
    {"q4_k_m", 15, "Q4_K", "Q6_K", {MORE_BITS, "Q6_K", NULL}, {MORE_BITS, "Q6_K", NULL}, {0}},
    {"q5_k_s", 16, "Q5_K", "Q6_K", {0}, {0}, {0}},
    {"q5_k_m", 17, "Q5_K", "Q6_K", {MORE_BITS, "Q6_K", NULL}, {MORE_BITS, "Q6_K", NULL}, {0}},
    {"q6_k", 18, "Q6_K", "Q6_K", {0}, {0}, {0}},
    {"iq4_nl", 25, "IQ4_NL", "Q6_K", {MANY_QUERIES, "Q5_K", NULL}, {FIRST_8TH, "Q5_K", NULL}, {0}},
    {"iq4_xs", 30, "IQ4_XS", "Q6_K", {MANY_QUERIES, "Q5_K", NULL}, {FIRST_8TH, "Q5_K", NULL}, {0}},
    {"iq3_s", 26, "IQ3_S", "Q6_K", {MANY_QUERIES, "Q4_K", NULL}, {0}, {0}},
    {"tq1_0", 36, "TQ1_0", "Q6_K", {0}, {0}, {0}},
    {"tq2_0", 37, "TQ2_0", "Q6_K", {0}, {0}, {0}},
};

static int applies(enum when when, int32_t i, const struct shape *shape)
{
    int32_t n = shape->n_layer;
    switch (when) {
    case ALWAYS:
        return 1;
    case MORE_BITS: /* both ends, and every third layer between */
        return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case FIRST_2:
        return i < 2;
    case FIRST_4:
        return i < 4;
    case FIRST_8TH:
        return i < n / 8;
    case FIRST_16TH:
        return i < n / 16;
    case MANY_QUERIES:
        return shape->n_kv_head > 0 && shape->n_head / shape->n_kv_head >= 4;
    default:
        return 0;
    }
}

static const char *choose(const struct mix *mix, const struct rule *rule, int32_t layer,
                          const struct shape *shape)
{
    const char *encoding = applies(rule->when, layer, shape) ? rule->then : rule->otherwise;
    return encoding != NULL ? encoding : mix->base;
}

/* ---- Names, for help and errors ------------------------------------------------------------- */

static const struct shape *find_shape(const char *name)
{
    for (int i = 0; i < CLI_COUNT(shapes); i++) {
        if (strcasecmp(shapes[i].name, name) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

static const struct mix *find_mix(const char *name)
{
    for (int i = 0; i < CLI_COUNT(mixes); i++) {
        if (strcasecmp(mixes[i].name, name) == 0) {
            return &mixes[i];
        }
    }
    return NULL;
}

static void append_name(char *list, size_t capacity, const char *name)
{
    size_t n = strlen(list);
    snprintf(list + n, capacity - n, "%s%s", n > 0 ? ", " : "", name);
}

const char *cli_synth_shapes(void)
{
    static char list[512];
    list[0] = 0;
    for (int i = 0; i < CLI_COUNT(shapes); i++) {
        append_name(list, sizeof list, shapes[i].name);
    }
    return list;
}

const char *cli_synth_types(void)
{
    static char list[512];
    list[0] = 0;
    for (int i = 0; i < CLI_COUNT(mixes); i++) {
        append_name(list, sizeof list, mixes[i].name);
    }
    return list;
}

/* ---- Numbers without libm ------------------------------------------------------------------- */

static double square_root(double x) /* x > 0 */
{
    double r = x > 1 ? x : 1;
    for (int i = 0; i < 100; i++) { /* Newton, from above: falls until it stands */
        double next = 0.5 * (r + x / r);
        if (next >= r) {
            break;
        }
        r = next;
    }
    return r;
}

/* x = m * 2^e with 1 <= m < 2 */
static int exponent_of(double x)
{
    int e = 0;
    for (; x >= 2; x /= 2) {
        e++;
    }
    for (; x < 1; x *= 2) {
        e--;
    }
    return e;
}

static void store_f16(uint8_t *p, double x)
{
    unsigned sign = x < 0 ? 0x8000u : 0;
    double a = x < 0 ? -x : x;
    int e = a > 0 ? exponent_of(a) : -24;
    e = e < -14 ? -14 : e > 15 ? 15 : e;
    double steps = a; /* of 2^(e - 10) */
    for (int i = e; i < 10; i++) {
        steps *= 2;
    }
    for (int i = 10; i < e; i++) {
        steps /= 2;
    }
    /* A mantissa that rounds up to 2048 carries into the exponent by itself. */
    unsigned bits = (sign | (unsigned)(e + 14) << 10) + (unsigned)(steps + 0.5);
    p[0] = (uint8_t)bits;
    p[1] = (uint8_t)(bits >> 8);
}

static uint64_t random_next(uint64_t *state) /* xorshift64 */
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* ---- A growing row of bytes ----------------------------------------------------------------- */

struct bytes {
    uint8_t *data;
    size_t n, capacity;
    int failed; /* told once, at the end */
};

static void put(struct bytes *b, const void *data, size_t n)
{
    if (b->capacity - b->n < n) {
        size_t capacity = 2 * b->capacity + n + 65536;
        uint8_t *grown = b->failed ? NULL : realloc(b->data, capacity);
        if (grown == NULL) {
            b->failed = 1;
            return;
        }
        b->data = grown;
        b->capacity = capacity;
    }
    if (n > 0) {
        memcpy(b->data + b->n, data, n);
        b->n += n;
    }
}

static void put_uint(struct bytes *b, uint64_t value, int size)
{
    uint8_t bytes[8];
    for (int i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    put(b, bytes, (size_t)size);
}

static void put_f32(struct bytes *b, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_uint(b, bits, 4);
}

static void put_string(struct bytes *b, const char *s)
{
    put_uint(b, strlen(s), 8);
    put(b, s, strlen(s));
}

/* ---- Metadata ------------------------------------------------------------------------------- */

struct writer {
    const struct shape *shape;
    const struct mix *mix;
    struct bytes head; /* everything before the weights */
    uint64_t n_keys, n_tensors;
    struct tensor *tensors; /* [n_tensors] */
    uint64_t data_size, total_size;
    uint64_t random;
    FILE *file;
    struct cli_progress progress;
};

/* A '~' in front stands for the family's name and a dot. */
static void put_key(struct writer *w, const char *key, int type)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s%s", *key == '~' ? w->shape->family : "",
             *key == '~' ? "." : "", *key == '~' ? key + 1 : key);
    put_string(&w->head, full);
    put_uint(&w->head, (uint64_t)type, 4);
    w->n_keys++;
}

static void key_u32(struct writer *w, const char *key, int32_t value)
{
    put_key(w, key, SLM_TYPE_UINT32);
    put_uint(&w->head, (uint64_t)value, 4);
}

static void key_f32(struct writer *w, const char *key, float value)
{
    put_key(w, key, SLM_TYPE_FLOAT32);
    put_f32(&w->head, value);
}

static void key_string(struct writer *w, const char *key, const char *value)
{
    put_key(w, key, SLM_TYPE_STRING);
    put_string(&w->head, value);
}

static void key_array(struct writer *w, const char *key, int type, int32_t n)
{
    put_key(w, key, SLM_TYPE_ARRAY);
    put_uint(&w->head, (uint64_t)type, 4);
    put_uint(&w->head, (uint64_t)n, 8);
}

/* A SentencePiece vocabulary: three control tokens, the bytes, and made-up words. */
static void put_vocabulary(struct writer *w)
{
    static const char *const control[] = {"<unk>", "<s>", "</s>"};
    int32_t n = w->shape->n_vocab;
    key_string(w, "tokenizer.ggml.model", "llama");
    key_array(w, "tokenizer.ggml.tokens", SLM_TYPE_STRING, n);
    for (int32_t i = 0; i < n; i++) {
        char text[24];
        if (i < 3) {
            snprintf(text, sizeof text, "%s", control[i]);
        } else {
            snprintf(text, sizeof text, i < 259 ? "<0x%02X>" : "\xe2\x96\x81w%d",
                     (unsigned)(i < 259 ? i - 3 : i));
        }
        put_string(&w->head, text);
    }
    key_array(w, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, n);
    for (int32_t i = 0; i < n; i++) {
        put_f32(&w->head, i < 259 ? 0 : (float)-i);
    }
    key_array(w, "tokenizer.ggml.token_type", SLM_TYPE_INT32, n);
    for (int32_t i = 0; i < n; i++) {
        put_uint(&w->head,
                 i == 0    ? SLM_TOKEN_UNKNOWN
                 : i < 3   ? SLM_TOKEN_CONTROL
                 : i < 259 ? SLM_TOKEN_BYTE
                           : SLM_TOKEN_NORMAL,
                 4);
    }
    key_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    key_u32(w, "tokenizer.ggml.bos_token_id", 1);
    key_u32(w, "tokenizer.ggml.eos_token_id", 2);
}

static void key_kv_heads(struct writer *w)
{
    const struct shape *s = w->shape;
    if (extra_of(s)->layers == NULL) {
        key_u32(w, "~attention.head_count_kv", s->n_kv_head);
        return;
    }
    key_array(w, "~attention.head_count_kv", SLM_TYPE_INT32, s->n_layer);
    for (int32_t i = 0; i < s->n_layer; i++) {
        put_uint(&w->head, (uint64_t)(has_attention(s, i) ? s->n_kv_head : 0), 4);
    }
}

static void put_extra_metadata(struct writer *w)
{
    const struct extra *e = extra_of(w->shape);
    if (e->n_expert > 0) {
        key_u32(w, "~expert_count", e->n_expert);
        key_u32(w, "~expert_used_count", e->n_used);
    }
    if (e->layers != NULL) {
        key_u32(w, "~shortconv.l_cache", 3);
    }
    if (e->decay > 0) {
        key_f32(w, "~attention.layer_norm_epsilon", w->shape->eps);
        key_u32(w, "~wkv.head_size", w->shape->head_dim);
        key_u32(w, "~attention.decay_lora_rank", e->decay);
        key_u32(w, "~attention.iclr_lora_rank", e->rate);
        key_u32(w, "~attention.value_residual_mix_lora_rank", e->value);
        key_u32(w, "~attention.gate_lora_rank", e->gate);
    }
}

static void put_metadata(struct writer *w)
{
    const struct shape *s = w->shape;
    char name[64];
    snprintf(name, sizeof name, "%s with random weights", s->name);
    key_string(w, "general.architecture", s->family);
    key_string(w, "general.name", name);
    key_u32(w, "general.file_type", w->mix->file_type);
    key_u32(w, "general.quantization_version", 2);
    key_u32(w, "~context_length", s->n_ctx);
    key_u32(w, "~embedding_length", s->n_embd);
    key_u32(w, "~block_count", s->n_layer);
    key_u32(w, "~feed_forward_length", s->n_ff);
    key_u32(w, "~attention.head_count", s->n_head);
    key_u32(w, "~vocab_size", s->n_vocab);
    if (s->n_head > 0) {
        key_kv_heads(w);
        key_u32(w, "~attention.key_length", s->head_dim);
        key_u32(w, "~attention.value_length", s->head_dim);
        key_f32(w, "~attention.layer_norm_rms_epsilon", s->eps);
        key_u32(w, "~rope.dimension_count", s->head_dim);
        key_f32(w, "~rope.freq_base", s->rope_base);
    }
    put_extra_metadata(w);
    put_vocabulary(w);
}

/* ---- Tensors -------------------------------------------------------------------------------- */

enum content {
    WEIGHTS,
    ONES,
    SMALL,
    ROPE_FACTORS
};

struct tensor {
    char name[48];
    enum content content;
    slm_encoding_info encoding;
    int64_t row, rows; /* rows 0: one dimension */
    int64_t stack;     /* 0: two */
    uint64_t size, offset;
};

#define ALIGNMENT 32
#define TENSORS_PER_LAYER 32

/* Narrow matrices step down until a row is a whole number of blocks; F16 always is. */
static int encoding_for(const char *name, int64_t row, slm_encoding_info *info)
{
    slm_error err;
    for (;;) {
        memset(info, 0, sizeof *info);
        info->struct_size = sizeof *info;
        if (slm_encoding_find(0, name, info, &err) != SLM_OK) {
            return cli_fail("%s", err.message);
        }
        if (row % info->block_elements == 0) {
            return CLI_GO;
        }
        const struct filling *filling = find_filling(name);
        name = filling != NULL ? filling->narrow : "F16";
    }
}

static int add_tensor(struct writer *w, const char *name, enum content content,
                      const char *encoding, int64_t row, int64_t rows, int64_t stack)
{
    struct tensor *t = &w->tensors[w->n_tensors++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->content = content;
    t->row = row;
    t->rows = rows;
    t->stack = stack;
    if (encoding_for(encoding, row, &t->encoding) != CLI_GO) {
        return CLI_FAILED;
    }
    t->size = (uint64_t)(row / t->encoding.block_elements) * (uint64_t)(rows > 0 ? rows : 1) *
              (uint64_t)(stack > 0 ? stack : 1) * (uint64_t)t->encoding.block_bytes;
    t->offset = w->data_size;
    w->data_size += (t->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return CLI_GO;
}

struct row {
    const char *name;
    int wanted;
    enum content content;
    const char *encoding;
    int64_t row, rows, stack;
};

/* layer -1: outside the layers */
static int add_rows(struct writer *w, int32_t layer, const struct row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        char name[48];
        snprintf(name, sizeof name, "%s", rows[i].name);
        if (layer >= 0) {
            snprintf(name, sizeof name, "blk.%d.%s", (int)layer, rows[i].name);
        }
        if (rows[i].wanted && add_tensor(w, name, rows[i].content, rows[i].encoding, rows[i].row,
                                         rows[i].rows, rows[i].stack) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return CLI_GO;
}

/* Attention or a short convolution. */
static int add_mixer(struct writer *w, int32_t layer)
{
    const struct shape *s = w->shape;
    const struct mix *m = w->mix;
    int has = has_attention(s, layer), has_bias = has && is_family(s, "qwen2");
    int has_norms = has && (is_family(s, "qwen3") || is_family(s, "lfm2") || is_family(s, "olmoe"));
    int64_t n = s->n_embd, q = (int64_t)s->n_head * s->head_dim;
    int64_t kv = (int64_t)s->n_kv_head * s->head_dim;
    int is_olmoe = is_family(s, "olmoe");
    const struct row rows[] = {
        {"attn_norm.weight", 1, ONES, "F32", n, 0, 0},
        {"attn_q.weight", has, WEIGHTS, m->base, n, q, 0},
        {"attn_q.bias", has_bias, SMALL, "F32", q, 0, 0},
        {"attn_q_norm.weight", has_norms, ONES, "F32", is_olmoe ? q : s->head_dim, 0, 0},
        {"attn_k.weight", has, WEIGHTS, m->base, n, kv, 0},
        {"attn_k.bias", has_bias, SMALL, "F32", kv, 0, 0},
        {"attn_k_norm.weight", has_norms, ONES, "F32", is_olmoe ? kv : s->head_dim, 0, 0},
        {"attn_v.weight", has, WEIGHTS, choose(m, &m->v, layer, s), n, kv, 0},
        {"attn_v.bias", has_bias, SMALL, "F32", kv, 0, 0},
        {"attn_output.weight", has, WEIGHTS, choose(m, &m->attn_output, layer, s), q, n, 0},
        {"shortconv.conv.weight", !has, WEIGHTS, "F32", 3, n, 0},
        {"shortconv.in_proj.weight", !has, WEIGHTS, m->base, n, 3 * n, 0},
        {"shortconv.out_proj.weight", !has, WEIGHTS, m->base, n, n, 0},
    };
    return add_rows(w, layer, rows, CLI_COUNT(rows));
}

static int add_feed_forward(struct writer *w, int32_t layer)
{
    const struct shape *s = w->shape;
    const struct mix *m = w->mix;
    const char *down = choose(m, &m->down, layer, s);
    int64_t n = s->n_embd, n_expert = extra_of(s)->n_expert;
    int dense = n_expert == 0;
    const struct row rows[] = {
        {"ffn_norm.weight", 1, ONES, "F32", n, 0, 0},
        {"ffn_gate.weight", dense, WEIGHTS, m->base, n, s->n_ff, 0},
        {"ffn_up.weight", dense, WEIGHTS, m->base, n, s->n_ff, 0},
        {"ffn_down.weight", dense, WEIGHTS, down, s->n_ff, n, 0},
        {"ffn_gate_inp.weight", !dense, WEIGHTS, "F32", n, n_expert, 0},
        {"ffn_gate_exps.weight", !dense, WEIGHTS, m->base, n, s->n_ff, n_expert},
        {"ffn_up_exps.weight", !dense, WEIGHTS, m->base, n, s->n_ff, n_expert},
        {"ffn_down_exps.weight", !dense, WEIGHTS, down, s->n_ff, n, n_expert},
    };
    return add_rows(w, layer, rows, CLI_COUNT(rows));
}

/* Quantising programs leave what is of low rank in F32. */
static int add_rwkv7(struct writer *w, int32_t layer)
{
    const struct shape *s = w->shape;
    const struct mix *m = w->mix;
    const struct extra *e = extra_of(s);
    int64_t n = s->n_embd;
    const struct row rows[] = {
        {"attn_norm.weight", 1, ONES, "F32", n, 0, 0},
        {"attn_norm.bias", 1, SMALL, "F32", n, 0, 0},
        {"attn_norm_2.weight", 1, ONES, "F32", n, 0, 0},
        {"attn_norm_2.bias", 1, SMALL, "F32", n, 0, 0},
        {"time_mix_lerp_fused.weight", 1, WEIGHTS, "F32", n, 6, 0},
        {"time_mix_receptance.weight", 1, WEIGHTS, m->base, n, n, 0},
        {"time_mix_key.weight", 1, WEIGHTS, m->base, n, n, 0},
        {"time_mix_value.weight", 1, WEIGHTS, m->base, n, n, 0},
        {"time_mix_output.weight", 1, WEIGHTS, m->base, n, n, 0},
        {"time_mix_w0.weight", 1, SMALL, "F32", n, 0, 0},
        {"time_mix_w1.weight", 1, WEIGHTS, "F32", n, e->decay, 0},
        {"time_mix_w2.weight", 1, WEIGHTS, "F32", e->decay, n, 0},
        {"time_mix_a0.weight", 1, SMALL, "F32", n, 0, 0},
        {"time_mix_a1.weight", 1, WEIGHTS, "F32", n, e->rate, 0},
        {"time_mix_a2.weight", 1, WEIGHTS, "F32", e->rate, n, 0},
        {"time_mix_v0.weight", 1, SMALL, "F32", n, 0, 0},
        {"time_mix_v1.weight", layer > 0, WEIGHTS, "F32", n, e->value, 0},
        {"time_mix_v2.weight", layer > 0, WEIGHTS, "F32", e->value, n, 0},
        {"time_mix_g1.weight", 1, WEIGHTS, "F32", n, e->gate, 0},
        {"time_mix_g2.weight", 1, WEIGHTS, "F32", e->gate, n, 0},
        {"time_mix_k_k.weight", 1, ONES, "F32", n, 0, 0},
        {"time_mix_k_a.weight", 1, ONES, "F32", n, 0, 0},
        {"time_mix_r_k.weight", 1, SMALL, "F32", n, 0, 0},
        {"time_mix_ln.weight", 1, ONES, "F32", n, 0, 0},
        {"time_mix_ln.bias", 1, SMALL, "F32", n, 0, 0},
        {"channel_mix_lerp_k.weight", 1, SMALL, "F32", n, 0, 0},
        {"channel_mix_key.weight", 1, WEIGHTS, m->base, n, s->n_ff, 0},
        {"channel_mix_value.weight", 1, WEIGHTS, choose(m, &m->down, layer, s), s->n_ff, n, 0},
    };
    return add_rows(w, layer, rows, CLI_COUNT(rows));
}

static int add_layers(struct writer *w)
{
    int code = CLI_GO;
    for (int32_t i = 0; i < w->shape->n_layer && code == CLI_GO; i++) {
        if (is_family(w->shape, "rwkv7")) {
            code = add_rwkv7(w, i);
        } else {
            code = add_mixer(w, i);
            code = code == CLI_GO ? add_feed_forward(w, i) : code;
        }
    }
    return code;
}

static int add_tensors(struct writer *w)
{
    const struct shape *s = w->shape;
    int is_rwkv7 = is_family(s, "rwkv7");
    const char *norm = is_family(s, "lfm2") ? "token_embd_norm.weight" : "output_norm.weight";
    const struct row before[] = {
        {"token_embd.weight", 1, WEIGHTS, s->tied ? w->mix->output : w->mix->base, s->n_embd,
         s->n_vocab, 0},
        {"rope_freqs.weight", s->rope_factor > 0, ROPE_FACTORS, "F32", s->head_dim / 2, 0, 0},
        {"token_embd_norm.weight", is_rwkv7, ONES, "F32", s->n_embd, 0, 0},
        {"token_embd_norm.bias", is_rwkv7, SMALL, "F32", s->n_embd, 0, 0},
    };
    const struct row behind[] = {
        {norm, 1, ONES, "F32", s->n_embd, 0, 0},
        {"output_norm.bias", is_rwkv7, SMALL, "F32", s->n_embd, 0, 0},
        {"output.weight", !s->tied, WEIGHTS, w->mix->output, s->n_embd, s->n_vocab, 0},
    };
    w->tensors = calloc((size_t)s->n_layer * TENSORS_PER_LAYER + 8, sizeof *w->tensors);
    if (w->tensors == NULL) {
        return cli_fail("no memory for a tensor table");
    }
    int code = add_rows(w, -1, before, CLI_COUNT(before));
    code = code == CLI_GO ? add_layers(w) : code;
    return code == CLI_GO ? add_rows(w, -1, behind, CLI_COUNT(behind)) : code;
}

static int build_head(struct writer *w)
{
    if (add_tensors(w) != CLI_GO) {
        return CLI_FAILED;
    }
    put(&w->head, "GGUF\3\0\0\0", 8);
    put_uint(&w->head, w->n_tensors, 8);
    put_uint(&w->head, 0, 8); /* the number of keys, below */
    put_metadata(w);
    for (uint64_t i = 0; i < w->n_tensors; i++) {
        const struct tensor *t = &w->tensors[i];
        put_string(&w->head, t->name);
        put_uint(&w->head, t->stack > 0 ? 3 : t->rows > 0 ? 2 : 1, 4);
        put_uint(&w->head, (uint64_t)t->row, 8);
        if (t->rows > 0) {
            put_uint(&w->head, (uint64_t)t->rows, 8);
        }
        if (t->stack > 0) {
            put_uint(&w->head, (uint64_t)t->stack, 8);
        }
        put_uint(&w->head, (uint64_t)t->encoding.type, 4);
        put_uint(&w->head, t->offset, 8);
    }
    while (w->head.n % ALIGNMENT != 0 && !w->head.failed) {
        put_uint(&w->head, 0, 1);
    }
    if (w->head.failed) {
        return cli_fail("no memory for the metadata of a model");
    }
    for (int i = 0; i < 8; i++) {
        w->head.data[16 + i] = (uint8_t)(w->n_keys >> (8 * i));
    }
    w->total_size = w->head.n + w->data_size;
    return CLI_GO;
}

/* ---- Weights -------------------------------------------------------------------------------- */

#define CHUNK_BYTES (256 * 1024)

/* Floats of either sign between 1 and 2 times a power of two near 1/sqrt(row). */
static void fill_plain(uint8_t *p, size_t n, const struct plain *plain, int64_t row)
{
    int exponent = exponent_of(1 / (1.53 * square_root((double)row))) + plain->bias;
    uint64_t field = ((UINT64_C(1) << plain->exponent) - 1) << plain->mantissa;
    uint64_t fixed = (uint64_t)(exponent > 1 ? exponent : 1) << plain->mantissa;
    for (int shift = 8 * plain->size; shift < 64;
         shift *= 2) { /* one in every element of 8 bytes */
        field |= field << shift;
        fixed |= fixed << shift;
    }
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t bits;
        memcpy(&bits, p + i, 8);
        bits = (bits & ~field) | fixed;
        memcpy(p + i, &bits, 8);
    }
}

static void fill_blocks(uint8_t *p, size_t n, const struct tensor *t, const struct filling *f)
{
    double scale = 1 / (f->rms * square_root((double)t->row));
    for (size_t i = 0; i < n; i += (size_t)t->encoding.block_bytes) {
        store_f16(p + i + f->scale_at, scale);
        if (f->min_at != NONE) {
            store_f16(p + i + f->min_at, scale * f->min_ratio);
        }
    }
}

/* chunk: CHUNK_BYTES rounded down to whole blocks and to 8 bytes */
static void fill_weights(struct writer *w, const struct tensor *t, uint8_t *chunk, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t bits = random_next(&w->random);
        memcpy(chunk + i, &bits, 8);
    }
    const struct plain *plain = find_plain(t->encoding.name);
    const struct filling *filling = find_filling(t->encoding.name);
    if (plain != NULL) {
        fill_plain(chunk, n, plain, t->row);
    } else if (filling != NULL) {
        fill_blocks(chunk, n, t, filling);
    }
}

/* The factors of llama3's scaling: long waves are stretched, short ones kept, a ramp between. */
static void fill_rope_factors(const struct shape *s, uint8_t *chunk)
{
    const double low = 1, high = 4, original = 8192, pi = 3.14159265358979323846;
    int32_t n = s->head_dim / 2; /* a power of two: base^(-1/n) by square roots */
    double ratio = 1 / (double)s->rope_base, frequency = 1;
    for (int32_t i = n; i > 1; i /= 2) {
        ratio = square_root(ratio);
    }
    for (int32_t i = 0; i < n; i++) {
        double wave = 2 * pi / frequency;
        double ramp = (original / wave - low) / (high - low);
        double factor = wave < original / high  ? 1
                        : wave > original / low ? (double)s->rope_factor
                                                : 1 / ((1 - ramp) / (double)s->rope_factor + ramp);
        float value = (float)factor;
        memcpy(chunk + 4 * i, &value, 4);
        frequency *= ratio;
    }
}

static void fill_vector(struct writer *w, const struct tensor *t, uint8_t *chunk)
{
    for (int64_t i = 0; i < t->row; i++) {
        float value = 1;
        if (t->content == SMALL) {
            value = (float)((double)(random_next(&w->random) >> 40) / (1 << 24) - 0.5) * 0.1f;
        }
        memcpy(chunk + 4 * i, &value, 4);
    }
    if (t->content == ROPE_FACTORS) {
        fill_rope_factors(w->shape, chunk);
    }
}

static int write_tensor(struct writer *w, const struct tensor *t, uint8_t *chunk)
{
    static const uint8_t zeros[ALIGNMENT];
    size_t unit = 8 * (size_t)t->encoding.block_bytes;
    size_t whole = CHUNK_BYTES / unit * unit;
    if (t->content != WEIGHTS) {
        fill_vector(w, t, chunk);
    }
    for (uint64_t done = 0; done < t->size;) {
        size_t n = t->size - done < whole ? (size_t)(t->size - done) : whole;
        if (t->content == WEIGHTS) {
            fill_weights(w, t, chunk, (n + unit - 1) / unit * unit);
        }
        if (fwrite(chunk, 1, n, w->file) != n) {
            return cli_fail("cannot write weights: %s", strerror(errno));
        }
        done += n;
        if (cli_progress_report(&w->progress, w->head.n + t->offset + done, w->total_size) != 0) {
            return cli_fail("interrupted");
        }
    }
    size_t padding = (size_t)((ALIGNMENT - t->size % ALIGNMENT) % ALIGNMENT);
    if (fwrite(zeros, 1, padding, w->file) != padding) {
        return cli_fail("cannot write weights: %s", strerror(errno));
    }
    return CLI_GO;
}

static int write_all(struct writer *w)
{
    /* Holds any vector, too: the widest shape has 14,336 floats. */
    uint8_t *chunk = malloc(CHUNK_BYTES);
    if (chunk == NULL) {
        return cli_fail("no memory for weights");
    }
    int code = CLI_GO;
    if (fwrite(w->head.data, 1, w->head.n, w->file) != w->head.n) {
        code = cli_fail("cannot write metadata: %s", strerror(errno));
    }
    for (uint64_t i = 0; i < w->n_tensors && code == CLI_GO; i++) {
        code = write_tensor(w, &w->tensors[i], chunk);
    }
    free(chunk);
    return code;
}

/* ---- The cache ------------------------------------------------------------------------------ */

#define PATH_BYTES 1024

/* A folder of ours that nobody else can write: names in a shared one could be planted. */
static int cache_folder(char *path)
{
    const char *parent = getenv("TMPDIR");
    struct stat st;
    if (parent == NULL || *parent == 0) {
        parent = "/tmp";
    }
    int n = snprintf(path, PATH_BYTES, "%s/slm-bench-%lu", parent, (unsigned long)getuid());
    if (n < 0 || n > PATH_BYTES - 128) {
        return cli_fail("TMPDIR is too long");
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return cli_fail("cannot make %s: %s", path, strerror(errno));
    }
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() ||
        (st.st_mode & 022) != 0) {
        return cli_fail("%s is not a folder that only this user can write", path);
    }
    return CLI_GO;
}

static int write_file(struct writer *w, const char *path)
{
    char temporary[PATH_BYTES + 32];
    char what[96];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    snprintf(what, sizeof what, "writing random %s %s", w->shape->name, w->mix->name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
    w->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (w->file == NULL) {
        return cli_fail("cannot make %s: %s", temporary, strerror(errno));
    }
    cli_progress_begin(&w->progress, what);
    int code = write_all(w);
    cli_progress_end(&w->progress);
    if (fclose(w->file) != 0 && code == CLI_GO) {
        code = cli_fail("cannot write %s: %s", temporary, strerror(errno));
    }
    if (code == CLI_GO && rename(temporary, path) != 0) {
        code = cli_fail("cannot rename %s: %s", temporary, strerror(errno));
    }
    if (code != CLI_GO) {
        unlink(temporary);
    }
    return code;
}

static int is_there(const struct writer *w, const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == w->total_size;
}

int cli_synth(const char *shape, const char *type, char **path)
{
    struct writer w;
    char file[PATH_BYTES];
    memset(&w, 0, sizeof w);
    w.shape = find_shape(shape);
    w.mix = find_mix(type);
    w.random = UINT64_C(0x853c49e6748fea9b);
    if (w.shape == NULL) {
        cli_say("no shape '%s'; there are %s", shape, cli_synth_shapes());
        return CLI_USAGE;
    }
    if (w.mix == NULL) {
        cli_say("no type '%s'; there are %s", type, cli_synth_types());
        return CLI_USAGE;
    }
    int code = cache_folder(file);
    if (code == CLI_GO) {
        size_t n = strlen(file);
        snprintf(file + n, sizeof file - n, "/%s-%s-%d.gguf", w.shape->name, w.mix->name,
                 SYNTH_VERSION);
        code = build_head(&w);
    }
    if (code == CLI_GO && !is_there(&w, file)) {
        code = write_file(&w, file);
    }
    if (code == CLI_GO) {
        *path = strdup(file);
        code = *path != NULL ? CLI_GO : cli_fail("no memory for a path");
    }
    free(w.head.data);
    free(w.tensors);
    return code;
}
