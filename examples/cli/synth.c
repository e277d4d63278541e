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
    {"gemma3-270m", "gemma3", 18, 640, 4, 1, 256, 2048, 262144, 32768, 1e6f, 1e-6f, 1, 0},
    {"gemma3-1b", "gemma3", 26, 1152, 4, 1, 256, 6912, 262144, 32768, 1e6f, 1e-6f, 1, 0},
    {"gemma3n-e2b", "gemma3n", 30, 2048, 8, 2, 256, 8192, 262400, 32768, 1e6f, 1e-6f, 1, 0},
    {"gemma4-e2b", "gemma4", 35, 1536, 8, 1, 512, 6144, 262144, 131072, 1e6f, 1e-6f, 1, 0},
};

/* What the layers of a shape do not have alike. All but each `period`th see a window, with heads of
 * their own size; the last n_shared have no K and V, but a feed-forward of their own width. */
struct kinds {
    const char *shape;
    int32_t window, period, local_head_dim, n_shared, shared_n_ff;
    int32_t n_embd_layer; /* of what each layer adds about a token */
};

static const struct kinds all_kinds[] = {
    {"gemma3-270m", 512, 6, 256, 0, 2048, 0},
    {"gemma3-1b", 512, 6, 256, 0, 6912, 0},
    {"gemma3n-e2b", 512, 5, 256, 10, 8192, 256},
    {"gemma4-e2b", 512, 5, 256, 20, 12288, 256},
};

/* Families whose tensors and keys differ from llama's. */
enum family {
    QWEN2 = 1,
    QWEN3 = 2,
    GEMMA3 = 4,
    GEMMA3N = 8,
    GEMMA4 = 16,
    GEMMAS = GEMMA3 | GEMMA3N | GEMMA4,
    PLE = GEMMA3N | GEMMA4, /* layers add something about a token */
    ALL = 32
};

static unsigned family_of(const struct shape *shape)
{
    static const struct {
        const char *name;
        unsigned bits;
    } rows[] = {{"qwen2", QWEN2},
                {"qwen3", QWEN3},
                {"gemma3", GEMMA3},
                {"gemma3n", GEMMA3N},
                {"gemma4", GEMMA4}};
    for (int i = 0; i < CLI_COUNT(rows); i++) {
        if (strcmp(rows[i].name, shape->family) == 0) {
            return rows[i].bits | ALL;
        }
    }
    return ALL;
}

/* Sizes of one layer. */
struct layer_shape {
    int64_t q, kv, head_dim, n_ff; /* kv 0: none of its own */
};

static struct layer_shape shape_of_layer(const struct shape *s, const struct kinds *k, int32_t i)
{
    int is_local = k != NULL && i % k->period != k->period - 1;
    int is_shared = k != NULL && i >= s->n_layer - k->n_shared;
    struct layer_shape l;
    l.head_dim = is_local ? k->local_head_dim : s->head_dim;
    l.q = s->n_head * l.head_dim;
    l.kv = is_shared ? 0 : s->n_kv_head * l.head_dim;
    l.n_ff = is_shared ? k->shared_n_ff : s->n_ff;
    return l;
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
        return shape->n_head / shape->n_kv_head >= 4;
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

static const struct kinds *find_kinds(const struct shape *shape)
{
    for (int i = 0; i < CLI_COUNT(all_kinds); i++) {
        if (strcmp(all_kinds[i].shape, shape->name) == 0) {
            return &all_kinds[i];
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
    const struct kinds *kinds; /* NULL: all layers are alike */
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

/* Keys about what layers do not have alike. */
static void put_kinds(struct writer *w)
{
    const struct shape *s = w->shape;
    const struct kinds *k = w->kinds;
    unsigned family = family_of(s);
    key_u32(w, "~attention.sliding_window", k->window);
    key_f32(w, "~rope.freq_base_swa", 1e4f);
    if ((family & PLE) != 0) {
        key_u32(w, "~attention.shared_kv_layers", k->n_shared);
        key_u32(w, "~embedding_length_per_layer_input", k->n_embd_layer);
    }
    if ((family & GEMMA3N) != 0) {
        key_u32(w, "~altup.num_inputs", 4);
        key_u32(w, "~altup.active_idx", 0);
    }
    if ((family & GEMMA4) != 0) {
        key_u32(w, "~attention.key_length_swa", k->local_head_dim);
        key_u32(w, "~attention.value_length_swa", k->local_head_dim);
        key_u32(w, "~rope.dimension_count_swa", k->local_head_dim);
        key_array(w, "~attention.sliding_window_pattern", SLM_TYPE_BOOL, s->n_layer);
        for (int32_t i = 0; i < s->n_layer; i++) {
            put_uint(&w->head, i % k->period != k->period - 1, 1);
        }
    }
}

/* One number, or one for each layer. */
static void put_widths(struct writer *w)
{
    const struct shape *s = w->shape;
    if (w->kinds == NULL || w->kinds->shared_n_ff == s->n_ff) {
        key_u32(w, "~feed_forward_length", s->n_ff);
        return;
    }
    key_array(w, "~feed_forward_length", SLM_TYPE_INT32, s->n_layer);
    for (int32_t i = 0; i < s->n_layer; i++) {
        put_uint(&w->head, (uint64_t)shape_of_layer(s, w->kinds, i).n_ff, 4);
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
    put_widths(w);
    key_u32(w, "~attention.head_count", s->n_head);
    key_u32(w, "~attention.head_count_kv", s->n_kv_head);
    key_u32(w, "~attention.key_length", s->head_dim);
    key_u32(w, "~attention.value_length", s->head_dim);
    key_f32(w, "~attention.layer_norm_rms_epsilon", s->eps);
    key_u32(w, "~rope.dimension_count", s->head_dim);
    key_f32(w, "~rope.freq_base", s->rope_base);
    key_u32(w, "~vocab_size", s->n_vocab);
    if (w->kinds != NULL) {
        put_kinds(w);
    }
    put_vocabulary(w);
}

/* ---- Tensors -------------------------------------------------------------------------------- */

enum content {
    WEIGHTS,
    ONES,
    SMALL,
    ROPE_FACTORS,
    ROPE_QUARTER /* divisors that leave a quarter of a head turning */
};

struct tensor {
    char name[48];
    enum content content;
    slm_encoding_info encoding;
    int64_t row, rows; /* rows 0: one dimension */
    int64_t n_stack;   /* matrices of so many rows, one behind the other; 0: two dimensions */
    uint64_t size, offset;
};

#define ALIGNMENT 32
#define TENSORS_PER_LAYER 40
#define TENSORS_OF_MODEL 16

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
                      const char *encoding, int64_t row, int64_t rows)
{
    struct tensor *t = &w->tensors[w->n_tensors++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->content = content;
    t->row = row;
    t->rows = rows;
    if (encoding_for(encoding, row, &t->encoding) != CLI_GO) {
        return CLI_FAILED;
    }
    t->size = (uint64_t)(row / t->encoding.block_elements) * (uint64_t)(rows > 0 ? rows : 1) *
              (uint64_t)t->encoding.block_bytes;
    t->offset = w->data_size;
    w->data_size += (t->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return CLI_GO;
}

static int add_stack(struct writer *w, const char *name, const char *encoding, int64_t row,
                     int64_t rows, int64_t n_stack)
{
    int code = add_tensor(w, name, WEIGHTS, encoding, row, rows * n_stack);
    w->tensors[w->n_tensors - 1].rows = rows;
    w->tensors[w->n_tensors - 1].n_stack = n_stack;
    return code;
}

struct tensor_row {
    const char *name;
    unsigned families;
    enum content content;
    const char *encoding;
    int64_t row, rows;
};

/* Those of the rows that the family has, and the layer: a row without elements is left out. */
static int add_rows(struct writer *w, const char *prefix, const struct tensor_row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        const struct tensor_row *r = &rows[i];
        char name[48];
        snprintf(name, sizeof name, "%s%s", prefix, r->name);
        if ((r->families & family_of(w->shape)) != 0 && r->row > 0 &&
            add_tensor(w, name, r->content, r->encoding, r->row, r->rows) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return CLI_GO;
}

/* What the Gemmas have besides. */
static int add_gemma_layer(struct writer *w, const char *prefix)
{
    int64_t n_embd = w->shape->n_embd, ple = w->kinds->n_embd_layer;
    const char *base = w->mix->base;
    const struct tensor_row rows[] = {
        {"post_attention_norm.weight", GEMMAS, ONES, "F32", n_embd, 0},
        {"post_ffw_norm.weight", GEMMAS, ONES, "F32", n_embd, 0},
        {"inp_gate.weight", PLE, WEIGHTS, base, n_embd, ple},
        {"proj.weight", PLE, WEIGHTS, base, ple, n_embd},
        {"post_norm.weight", PLE, ONES, "F32", n_embd, 0},
        {"layer_output_scale.weight", GEMMA4, ONES, "F32", 1, 0},
        /* No program quantises these. */
        {"altup_router.weight", GEMMA3N, WEIGHTS, "F16", n_embd, 4},
        {"altup_router_norm.weight", GEMMA3N, ONES, "F32", n_embd, 0},
        {"altup_predict_coef.weight", GEMMA3N, SMALL, "F32", 4, 16},
        {"altup_correct_coef.weight", GEMMA3N, SMALL, "F32", 4, 4},
        {"altup_correct_scale.weight", GEMMA3N, ONES, "F32", n_embd, 0},
        {"laurel_l.weight", GEMMA3N, WEIGHTS, "F16", n_embd, 64},
        {"laurel_r.weight", GEMMA3N, WEIGHTS, "F16", 64, n_embd},
        {"laurel_post_norm.weight", GEMMA3N, ONES, "F32", n_embd, 0},
    };
    return add_rows(w, prefix, rows, CLI_COUNT(rows));
}

static int add_layer(struct writer *w, int32_t layer)
{
    const struct shape *s = w->shape;
    const struct mix *m = w->mix;
    struct layer_shape l = shape_of_layer(s, w->kinds, layer);
    int64_t kv_norm = l.kv > 0 ? l.head_dim : 0, kv_row = l.kv > 0 ? s->n_embd : 0;
    char prefix[16];
    const struct tensor_row rows[] = {
        {"attn_norm.weight", ALL, ONES, "F32", s->n_embd, 0},
        {"attn_q.weight", ALL, WEIGHTS, m->base, s->n_embd, l.q},
        {"attn_q.bias", QWEN2, SMALL, "F32", l.q, 0},
        {"attn_q_norm.weight", QWEN3 | GEMMAS, ONES, "F32", l.head_dim, 0},
        {"attn_k.weight", ALL, WEIGHTS, m->base, kv_row, l.kv},
        {"attn_k.bias", QWEN2, SMALL, "F32", l.kv, 0},
        {"attn_k_norm.weight", QWEN3 | GEMMAS, ONES, "F32", kv_norm, 0},
        {"attn_v.weight", ALL, WEIGHTS, choose(m, &m->v, layer, s), kv_row, l.kv},
        {"attn_v.bias", QWEN2, SMALL, "F32", l.kv, 0},
        {"attn_output.weight", ALL, WEIGHTS, choose(m, &m->attn_output, layer, s), l.q, s->n_embd},
        {"ffn_norm.weight", ALL, ONES, "F32", s->n_embd, 0},
        {"ffn_gate.weight", ALL, WEIGHTS, m->base, s->n_embd, l.n_ff},
        {"ffn_up.weight", ALL, WEIGHTS, m->base, s->n_embd, l.n_ff},
        {"ffn_down.weight", ALL, WEIGHTS, choose(m, &m->down, layer, s), l.n_ff, s->n_embd},
    };
    snprintf(prefix, sizeof prefix, "blk.%d.", (int)layer);
    if (add_rows(w, prefix, rows, CLI_COUNT(rows)) != CLI_GO) {
        return CLI_FAILED;
    }
    return (family_of(s) & GEMMAS) != 0 ? add_gemma_layer(w, prefix) : CLI_GO;
}

/* What stands before the layers. */
static int add_globals(struct writer *w)
{
    const struct shape *s = w->shape;
    const struct mix *m = w->mix;
    int64_t ple = w->kinds != NULL ? (int64_t)s->n_layer * w->kinds->n_embd_layer : 0;
    int64_t ple_norm = w->kinds != NULL ? w->kinds->n_embd_layer : 0;
    int64_t stretched = s->rope_factor > 0 ? s->head_dim / 2 : 0;
    const struct tensor_row rows[] = {
        {"token_embd.weight", ALL, WEIGHTS, s->tied ? m->output : m->base, s->n_embd, s->n_vocab},
        {"rope_freqs.weight", ALL, ROPE_FACTORS, "F32", stretched, 0},
        {"rope_freqs.weight", GEMMA4, ROPE_QUARTER, "F32", s->head_dim / 2, 0},
        {"per_layer_token_embd.weight", PLE, WEIGHTS, m->base, ple, s->n_vocab},
        {"per_layer_model_proj.weight", PLE, WEIGHTS, "F16", s->n_embd, ple},
        {"per_layer_proj_norm.weight", PLE, ONES, "F32", ple_norm, 0},
    };
    if (add_rows(w, "", rows, CLI_COUNT(rows)) != CLI_GO) {
        return CLI_FAILED;
    }
    if ((family_of(s) & GEMMA3N) == 0) {
        return CLI_GO;
    }
    return add_stack(w, "altup_proj.weight", "F16", s->n_embd, s->n_embd, 3) == CLI_GO
               ? add_stack(w, "altup_unembd_proj.weight", "F16", s->n_embd, s->n_embd, 3)
               : CLI_FAILED;
}

static int add_tensors(struct writer *w)
{
    const struct shape *s = w->shape;
    w->tensors =
        calloc((size_t)s->n_layer * TENSORS_PER_LAYER + TENSORS_OF_MODEL, sizeof *w->tensors);
    if (w->tensors == NULL) {
        return cli_fail("no memory for a tensor table");
    }
    if (add_globals(w) != CLI_GO) {
        return CLI_FAILED;
    }
    for (int32_t i = 0; i < s->n_layer; i++) {
        if (add_layer(w, i) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    if (add_tensor(w, "output_norm.weight", ONES, "F32", s->n_embd, 0) != CLI_GO) {
        return CLI_FAILED;
    }
    return s->tied ? CLI_GO
                   : add_tensor(w, "output.weight", WEIGHTS, w->mix->output, s->n_embd, s->n_vocab);
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
        const int64_t shape[3] = {t->row, t->rows, t->n_stack};
        int n_dims = t->rows == 0 ? 1 : t->n_stack == 0 ? 2 : 3;
        put_uint(&w->head, (uint64_t)n_dims, 4);
        for (int d = 0; d < n_dims; d++) {
            put_uint(&w->head, (uint64_t)shape[d], 8);
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
    for (uint64_t i = 0; i < t->size / 4; i++) {
        float value = t->content == ROPE_QUARTER && i >= t->size / 16 ? 1e30f : 1;
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
    w.kinds = w.shape != NULL ? find_kinds(w.shape) : NULL;
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
