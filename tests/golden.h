/* golden.h - reads the manifests of tests/golden ("slm-golden 1" and "slm-golden-file 1").
 *
 * A manifest describes a tiny model: metadata keys and, instead of weights, a rule that makes each
 * weight from the tensor's name and the element's index. golden_load rebuilds the GGUF file of it
 * in memory, byte by byte, and proves that with the size and hash the manifest gives. It also holds
 * what llama.cpp made of it: a row of logits for every token (`logits`), and, where llama.cpp's
 * arithmetic is coarser than f32, the same graph with exact products (`exact`). A file manifest
 * names a GGUF file instead (quantised weights have no rule).
 *
 *     slm-golden 1
 *     # comment
 *     n_ctx <n>
 *     mode logits | embd
 *     kv <key> <type> <value>
 *     kv <key> arr:<type> <n> <values>
 *     tensor <name> <f32|f16|bf16> <ne0> [...] scale <s> offset <o>
 *     tensor <name> <f32|f16|bf16> <ne0> [...] values <values>
 *     file <name>                     (slm-golden-file 1, instead of kv and tensor)
 *     tokens <n> <ids>
 *     check <bytes> <FNV-1a-64 in hex>
 *     logits <position> <values>, exact <position> <values>
 *     embd <values>, embd_exact <values>               (mode embd: pooled, not normalised)
 *     hidden <position> <values>, hidden_exact <position> <values>
 *
 * A line that is not understood is an error: a misread manifest must not pass as a good one. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "testing.h"

struct golden {
    char title[128]; /* the file name without its folder */
    int is_file;     /* of the second kind: model is in `file`, not in `image` */
    char file[512];
    uint8_t *image; /* the GGUF file, image_size bytes */
    size_t image_size;
    int n_ctx;
    int is_embd;
    int32_t *tokens; /* [n_tokens] */
    int n_tokens;
    float *logits; /* [n_tokens][n_vocab] */
    float *exact;  /* the same, or NULL where logits are exact */
    int n_vocab;
    /* Mode embd, instead of logits; the exact ones may be NULL as above. */
    float *embd, *embd_exact; /* [n_outputs] */
    int n_outputs;
    float *hidden, *hidden_exact; /* [n_tokens][n_embd] */
    int n_embd;
    char error[256]; /* why golden_load failed */
};

/* ---- Building the file ---------------------------------------------------------------------- */

struct golden_bytes {
    uint8_t *data;
    size_t size, capacity;
};

static int golden_put(struct golden_bytes *b, const void *data, size_t size)
{
    if (b->capacity - b->size < size) {
        size_t capacity = b->capacity * 2 + size + 4096;
        uint8_t *larger = (uint8_t *)realloc(b->data, capacity);
        if (larger == NULL) {
            return 0;
        }
        b->data = larger;
        b->capacity = capacity;
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
        b->size += size;
    }
    return 1;
}

/* An integer of n bytes, little endian. */
static int golden_put_int(struct golden_bytes *b, uint64_t value, int n)
{
    uint8_t bytes[8];
    for (int i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    return golden_put(b, bytes, (size_t)n);
}

static int golden_put_text(struct golden_bytes *b, const char *s, size_t n)
{
    return golden_put_int(b, n, 8) && golden_put(b, s, n);
}

/* Tensor data begins, and every tensor ends, at a multiple of 32. */
static int golden_pad(struct golden_bytes *b)
{
    static const uint8_t zeros[32];
    return golden_put(b, zeros, (32 - b->size % 32) % 32);
}

static uint64_t golden_hash(const void *data, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) {
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

/* ---- Weights -------------------------------------------------------------------------------- */

/* Element i of the tensor whose name has hash h. The product is exact in double: scales have few
 * bits. So there is one rounding, the one to float. */
static float golden_weight(uint64_t h, uint64_t i, double scale, double offset)
{
    uint64_t z = h + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    double v = (double)(z >> 40) * (2.0 / 16777216.0) - 1.0;
    return (float)(v * scale + offset);
}

static uint32_t golden_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* `value` without its last n bits (1 to 31), rounded to nearest, half to even. */
static uint32_t golden_round_shift(uint32_t value, int n)
{
    uint32_t half = UINT32_C(1) << (n - 1);
    uint32_t rest = value & (2 * half - 1);
    uint32_t kept = value >> n;
    return kept + (rest > half || (rest == half && (kept & 1)));
}

/* By bits, as no compiler option can change. Finite values only. */
static uint16_t golden_f16(float f)
{
    uint32_t bits = golden_bits(f);
    uint32_t sign = bits >> 16 & 0x8000u;
    int exponent = (int)(bits >> 23 & 0xff) - 127;
    uint32_t mantissa = (bits & 0x7fffffu) | 0x800000u;
    if (exponent < -25) {
        return (uint16_t)sign;
    }
    if (exponent < -14) { /* subnormal: 2^-24 is the last bit */
        return (uint16_t)(sign | golden_round_shift(mantissa, -1 - exponent));
    }
    /* A carry out of the mantissa raises the exponent, which is right; up to infinity. */
    uint32_t half = ((uint32_t)(exponent + 14) << 10) + golden_round_shift(mantissa, 13);
    return (uint16_t)(sign | (half > 0x7c00u ? 0x7c00u : half));
}

static uint16_t golden_bf16(float f)
{
    return (uint16_t)golden_round_shift(golden_bits(f), 16);
}

/* type is the GGUF id: 0 f32, 1 f16, 30 bf16. */
static int golden_put_weight(struct golden_bytes *b, int type, float value)
{
    return type == 0   ? golden_put_int(b, golden_bits(value), 4)
           : type == 1 ? golden_put_int(b, golden_f16(value), 2)
                       : golden_put_int(b, golden_bf16(value), 2);
}

/* ---- Fields of a line ----------------------------------------------------------------------- */

/* The next field, ended by a space or the end of the line and 0-terminated in place; NULL if there
 * is none. */
static char *golden_word(char **line)
{
    char *word = *line;
    if (*word == 0) {
        return NULL;
    }
    char *end = word + strcspn(word, " ");
    *line = *end != 0 ? end + 1 : end;
    *end = 0;
    return word;
}

static int golden_integer(char **line, int64_t low, int64_t high, int64_t *value)
{
    char *word = golden_word(line), *end = word;
    long long v = word != NULL ? strtoll(word, &end, 10) : 0;
    *value = v;
    return word != NULL && end != word && *end == 0 && v >= low && v <= high;
}

static int golden_double(char **line, double *value)
{
    char *word = golden_word(line), *end = word;
    *value = word != NULL ? strtod(word, &end) : 0;
    return word != NULL && end != word && *end == 0;
}

/* Not (float)strtod: that would round twice. */
static int golden_float(char **line, float *value)
{
    char *word = golden_word(line), *end = word;
    *value = word != NULL ? strtof(word, &end) : 0;
    return word != NULL && end != word && *end == 0;
}

/* A string in quotes with the escapes \\ \" \n \t \r \xHH, unescaped in place. It may hold zero
 * bytes. */
static int golden_string(char **line, const char **text, size_t *size)
{
    static const char names[] = "\\\"ntr", values[] = "\\\"\n\t\r";
    char *from = *line, *to = *line;
    if (*from++ != '"') {
        return 0;
    }
    *text = to;
    while (*from != '"') {
        char c = *from++;
        if (c == 0) {
            return 0;
        }
        if (c == '\\' && from[0] == 'x' && from[1] != 0 && from[2] != 0) {
            char hex[3] = {from[1], from[2], 0}, *end;
            c = (char)strtol(hex, &end, 16);
            from += 3;
            if (end != hex + 2) {
                return 0;
            }
        } else if (c == '\\') {
            const char *name = *from != 0 ? strchr(names, *from) : NULL;
            if (name == NULL) {
                return 0;
            }
            c = values[name - names];
            from++;
        }
        *to++ = c;
    }
    *size = (size_t)(to - *text);
    from++;
    if (*from != 0 && *from++ != ' ') {
        return 0;
    }
    *line = from;
    return 1;
}

static const struct golden_type {
    const char *name;
    int id;    /* GGUF value type */
    int bytes; /* of an integer */
    int64_t low, high;
} golden_types[] = {
    {"u8", 0, 1, 0, 0xff},
    {"i8", 1, 1, -0x80, 0x7f},
    {"u16", 2, 2, 0, 0xffff},
    {"i16", 3, 2, -0x8000, 0x7fff},
    {"u32", 4, 4, 0, 0xffffffff},
    {"i32", 5, 4, INT32_MIN, INT32_MAX},
    {"f32", 6, 0, 0, 0},
    {"bool", 7, 1, 0, 1},
    {"str", 8, 0, 0, 0},
    {"u64", 10, 8, 0, INT64_MAX},
    {"i64", 11, 8, INT64_MIN, INT64_MAX},
    {"f64", 12, 0, 0, 0},
};

static const struct golden_type *golden_type_find(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof golden_types / sizeof golden_types[0]; i++) {
        if (strcmp(golden_types[i].name, name) == 0) {
            return &golden_types[i];
        }
    }
    return NULL;
}

static int golden_value(struct golden_bytes *b, const struct golden_type *type, char **line)
{
    const char *text;
    size_t size;
    int64_t integer;
    float f32;
    double f64;
    uint64_t bits;
    switch (type->id) {
    case 6:
        return golden_float(line, &f32) && golden_put_int(b, golden_bits(f32), 4);
    case 8:
        return golden_string(line, &text, &size) && golden_put_text(b, text, size);
    case 12:
        if (!golden_double(line, &f64)) {
            return 0;
        }
        memcpy(&bits, &f64, sizeof bits);
        return golden_put_int(b, bits, 8);
    default:
        return golden_integer(line, type->low, type->high, &integer) &&
               golden_put_int(b, (uint64_t)integer, type->bytes);
    }
}

/* ---- Lines ---------------------------------------------------------------------------------- */

/* What the file is put together from at the end: its size fields stand before the parts. */
struct golden_parts {
    struct golden_bytes keys, infos, data;
    uint64_t n_keys, n_tensors;
    int has_check;
    uint64_t check_bytes, check_hash;
};

static int golden_kv(struct golden_parts *p, char *line)
{
    struct golden_bytes *b = &p->keys;
    char *key = golden_word(&line), *name = golden_word(&line);
    if (key == NULL || name == NULL) {
        return 0;
    }
    int is_array = strncmp(name, "arr:", 4) == 0;
    const struct golden_type *type = golden_type_find(is_array ? name + 4 : name);
    int64_t n = 1;
    if (type == NULL || !golden_put_text(b, key, strlen(key)) ||
        (is_array && (!golden_integer(&line, 0, INT32_MAX, &n) || !golden_put_int(b, 9, 4))) ||
        !golden_put_int(b, (uint64_t)type->id, 4) ||
        (is_array && !golden_put_int(b, (uint64_t)n, 8))) {
        return 0;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!golden_value(b, type, &line)) {
            return 0;
        }
    }
    p->n_keys++;
    return *line == 0;
}

static int golden_tensor_data(struct golden_parts *p, uint64_t hash, int type, int64_t count,
                              int is_rule, char *line)
{
    double scale = 0, offset = 0;
    if (is_rule) {
        if (!golden_double(&line, &scale) || strncmp(line, "offset ", 7) != 0) {
            return 0;
        }
        line += 7;
        if (!golden_double(&line, &offset)) {
            return 0;
        }
    }
    for (int64_t i = 0; i < count; i++) {
        float value = is_rule ? golden_weight(hash, (uint64_t)i, scale, offset) : 0;
        if ((!is_rule && !golden_float(&line, &value)) ||
            !golden_put_weight(&p->data, type, value)) {
            return 0;
        }
    }
    return *line == 0 && golden_pad(&p->data);
}

static int golden_tensor(struct golden_parts *p, char *line)
{
    char *name = golden_word(&line), *type_name = golden_word(&line);
    if (name == NULL || type_name == NULL) {
        return 0;
    }
    int type = strcmp(type_name, "f32") == 0    ? 0
               : strcmp(type_name, "f16") == 0  ? 1
               : strcmp(type_name, "bf16") == 0 ? 30
                                                : -1;
    int64_t shape[4], count = 1;
    int n_dims = 0;
    while (n_dims < 4 && *line >= '0' && *line <= '9') {
        if (!golden_integer(&line, 1, 1 << 20, &shape[n_dims])) {
            return 0;
        }
        count *= shape[n_dims++];
        if (count > (1 << 28)) {
            return 0;
        }
    }
    char *how = golden_word(&line);
    int is_rule = how != NULL && strcmp(how, "scale") == 0;
    if (type < 0 || n_dims == 0 || how == NULL || (!is_rule && strcmp(how, "values") != 0)) {
        return 0;
    }
    struct golden_bytes *b = &p->infos;
    int ok = golden_put_text(b, name, strlen(name)) && golden_put_int(b, (uint64_t)n_dims, 4);
    for (int i = 0; ok && i < n_dims; i++) {
        ok = golden_put_int(b, (uint64_t)shape[i], 8);
    }
    ok = ok && golden_put_int(b, (uint64_t)type, 4) && golden_put_int(b, p->data.size, 8);
    p->n_tensors++;
    return ok && golden_tensor_data(p, golden_hash(name, strlen(name)), type, count, is_rule, line);
}

static int golden_tokens(struct golden *g, char *line)
{
    int64_t n, id;
    if (g->tokens != NULL || !golden_integer(&line, 1, 1 << 20, &n)) {
        return 0;
    }
    g->tokens = (int32_t *)malloc((size_t)n * sizeof *g->tokens);
    for (; g->tokens != NULL && g->n_tokens < n; g->n_tokens++) {
        if (!golden_integer(&line, INT32_MIN, INT32_MAX, &id)) {
            return 0;
        }
        g->tokens[g->n_tokens] = (int32_t)id;
    }
    return g->tokens != NULL && *line == 0;
}

/* The rest of a line into row `index` of n rows; the first of all rows tells the width. */
static int golden_values(float **rows, int n, int index, int *width, char *line)
{
    if (*width == 0) {
        for (const char *c = line; *c != 0; c++) {
            *width += *c == ' ';
        }
        ++*width;
    }
    if (*rows == NULL) {
        *rows = (float *)malloc((size_t)n * (size_t)*width * sizeof **rows);
    }
    for (int i = 0; *rows != NULL && i < *width; i++) {
        if (!golden_float(&line, *rows + (size_t)index * (size_t)*width + i)) {
            return 0;
        }
    }
    return *rows != NULL && *line == 0;
}

/* Rows come in order of position. */
static int golden_row(struct golden *g, float **rows, int *n_rows, int *width, char *line)
{
    int64_t position;
    if (g->tokens == NULL || !golden_integer(&line, *n_rows, *n_rows, &position) ||
        position >= g->n_tokens) {
        return 0;
    }
    return golden_values(rows, g->n_tokens, (*n_rows)++, width, line);
}

static int golden_check_line(struct golden_parts *p, char *line)
{
    int64_t bytes;
    char *hex, *end;
    if (!golden_integer(&line, 0, INT64_MAX, &bytes) || (hex = golden_word(&line)) == NULL) {
        return 0;
    }
    p->check_bytes = (uint64_t)bytes;
    p->check_hash = strtoull(hex, &end, 16);
    p->has_check = 1;
    return end != hex && *end == 0 && *line == 0;
}

/* ---- The manifest ---------------------------------------------------------------------------- */

static int golden_fail(struct golden *g, const char *what, long line)
{
    if (g->error[0] == 0) {
        if (line > 0) {
            snprintf(g->error, sizeof g->error, "line %ld: %s", line, what);
        } else {
            snprintf(g->error, sizeof g->error, "%s", what);
        }
    }
    return 0;
}

/* How many rows of each kind there were. */
struct golden_counts {
    int logits, exact, hidden, hidden_exact;
};

static int golden_result_line(struct golden *g, struct golden_counts *n, const char *word,
                              char *line)
{
    if (strcmp(word, "logits") == 0) {
        return golden_row(g, &g->logits, &n->logits, &g->n_vocab, line);
    }
    if (strcmp(word, "exact") == 0) {
        return golden_row(g, &g->exact, &n->exact, &g->n_vocab, line);
    }
    if (strcmp(word, "hidden") == 0) {
        return golden_row(g, &g->hidden, &n->hidden, &g->n_embd, line);
    }
    if (strcmp(word, "hidden_exact") == 0) {
        return golden_row(g, &g->hidden_exact, &n->hidden_exact, &g->n_embd, line);
    }
    if (strcmp(word, "embd") == 0) {
        return golden_values(&g->embd, 1, 0, &g->n_outputs, line);
    }
    return strcmp(word, "embd_exact") == 0 &&
           golden_values(&g->embd_exact, 1, 0, &g->n_outputs, line);
}

static int golden_line(struct golden *g, struct golden_parts *p, struct golden_counts *counts,
                       char *line)
{
    char *word = golden_word(&line);
    int64_t n;
    if (word == NULL || word[0] == '#') {
        return 1;
    }
    if (strcmp(word, "kv") == 0) {
        return golden_kv(p, line);
    }
    if (strcmp(word, "tensor") == 0) {
        return golden_tensor(p, line);
    }
    if (strcmp(word, "tokens") == 0) {
        return golden_tokens(g, line);
    }
    if (strcmp(word, "check") == 0) {
        return golden_check_line(p, line);
    }
    if (strcmp(word, "file") == 0) {
        return snprintf(g->file, sizeof g->file, "%s", line) < (int)sizeof g->file;
    }
    if (strcmp(word, "mode") == 0) {
        g->is_embd = strcmp(line, "embd") == 0;
        return g->is_embd || strcmp(line, "logits") == 0;
    }
    if (strcmp(word, "n_ctx") == 0) {
        int ok = golden_integer(&line, 1, 1 << 24, &n);
        g->n_ctx = (int)n;
        return ok;
    }
    return golden_result_line(g, counts, word, line);
}

/* Is there what the mode promises: a row for each token, all of them or none of the exact ones? */
static int golden_is_complete(const struct golden *g, const struct golden_counts *n)
{
    int rows = g->is_embd ? n->hidden : n->logits;
    int exact = g->is_embd ? n->hidden_exact : n->exact;
    return rows == g->n_tokens && (exact == 0 || exact == g->n_tokens) &&
           (!g->is_embd || g->embd != NULL);
}

static int golden_lines(struct golden *g, struct golden_parts *p, char *text, size_t size)
{
    struct golden_counts counts = {0, 0, 0, 0};
    long number = 0;
    for (char *line = text, *end; line < text + size; line = end + 1) {
        end = line + strcspn(line, "\n");
        int last = *end == 0;
        *end = 0;
        number++;
        if (number == 1) {
            g->is_file = strcmp(line, "slm-golden-file 1") == 0;
            if (!g->is_file && strcmp(line, "slm-golden 1") != 0) {
                return golden_fail(g, "not a manifest of golden vectors, format 1", 1);
            }
        } else if (!golden_line(g, p, &counts, line)) {
            return golden_fail(g, "not understood", number);
        }
        if (last) {
            break;
        }
    }
    if (g->tokens == NULL || g->n_ctx == 0 || !p->has_check || (g->is_file && g->file[0] == 0)) {
        return golden_fail(g, "tokens, n_ctx, check or file is missing", 0);
    }
    if (!golden_is_complete(g, &counts)) {
        return golden_fail(g, "not one row for each token", 0);
    }
    return 1;
}

static int golden_assemble(struct golden *g, struct golden_parts *p)
{
    struct golden_bytes b = {NULL, 0, 0};
    int ok = golden_put(&b, "GGUF", 4) && golden_put_int(&b, 3, 4) &&
             golden_put_int(&b, p->n_tensors, 8) && golden_put_int(&b, p->n_keys, 8) &&
             golden_put(&b, p->keys.data, p->keys.size) &&
             golden_put(&b, p->infos.data, p->infos.size) && golden_pad(&b) &&
             golden_put(&b, p->data.data, p->data.size);
    g->image = b.data;
    g->image_size = b.size;
    return ok;
}

/* The file of a file manifest: beside it, or else in `folder` under its own name. */
static int golden_find_file(struct golden *g, const char *manifest, const char *folder)
{
    char name[256], path[512];
    const char *slash = strrchr(manifest, '/');
    int length = slash != NULL ? (int)(slash + 1 - manifest) : 0;
    snprintf(name, sizeof name, "%.255s", g->file);
    snprintf(path, sizeof path, "%.*s%s", length, manifest, name);
    if (!testing_exists(path) && folder != NULL) {
        snprintf(path, sizeof path, "%s/%s", folder, name);
    }
    memcpy(g->file, path, sizeof path);
    return testing_exists(path) || golden_fail(g, "the model file is not there", 0);
}

static int golden_verify(struct golden *g, const struct golden_parts *p)
{
    size_t size = g->image_size;
    char *file = g->is_file ? testing_read(g->file, &size) : NULL;
    const void *data = g->is_file ? (const void *)file : g->image;
    uint64_t hash = data != NULL ? golden_hash(data, size) : 0;
    free(file);
    if (data == NULL || size != p->check_bytes || hash != p->check_hash) {
        snprintf(g->error, sizeof g->error,
                 "check: %llu bytes %016llx, expected %llu bytes %016llx", (unsigned long long)size,
                 (unsigned long long)hash, (unsigned long long)p->check_bytes,
                 (unsigned long long)p->check_hash);
        return 0;
    }
    return 1;
}

/* Reads a manifest, rebuilds its model and checks it. 1, or 0 with g->error set; golden_free either
 * way. `folder` is where files of file manifests are looked for if they are not beside it; may be
 * NULL. */
static TESTING_UNUSED int golden_load(struct golden *g, const char *path, const char *folder)
{
    struct golden_parts p;
    size_t size = 0;
    const char *slash = strrchr(path, '/');
    memset(g, 0, sizeof *g);
    memset(&p, 0, sizeof p);
    snprintf(g->title, sizeof g->title, "%s", slash != NULL ? slash + 1 : path);
    char *text = testing_read(path, &size);
    int ok = text != NULL ? golden_lines(g, &p, text, size)
                          : golden_fail(g, "the manifest cannot be read", 0);
    ok = ok && (g->is_file ? golden_find_file(g, path, folder) : golden_assemble(g, &p)) &&
         golden_verify(g, &p);
    free(text);
    free(p.keys.data);
    free(p.infos.data);
    free(p.data.data);
    return ok || golden_fail(g, "out of memory", 0);
}

static TESTING_UNUSED void golden_free(struct golden *g)
{
    free(g->image);
    free(g->tokens);
    free(g->logits);
    free(g->exact);
    free(g->embd);
    free(g->embd_exact);
    free(g->hidden);
    free(g->hidden_exact);
    memset(g, 0, sizeof *g);
}

/* ---- Comparing ------------------------------------------------------------------------------- */

/* sum (a - b)^2 / sum a^2; 1e300 if any b is not finite (told by bits: the tests also run with
 * -ffast-math, which believes that there is no such thing). */
static TESTING_UNUSED double golden_nmse(const float *a, const float *b, size_t n)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        if ((golden_bits(b[i]) & 0x7f800000u) == 0x7f800000u) {
            return 1e300;
        }
        double d = (double)a[i] - (double)b[i];
        error += d * d;
        power += (double)a[i] * (double)a[i];
    }
    return power > 0 ? error / power : 1e300;
}

static TESTING_UNUSED int golden_argmax(const float *row, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

#endif
