/* tokenize.c - how fast texts become tokens, on one core: prose, and inputs made to be slow, each of
 * 1 MB at once and in slices of 10 KB, because nothing may grow faster than the text.
 *
 *     tokenize [--csv] [--text FILE] VOCABULARY...
 *
 * VOCABULARY is a GGUF file; none of its weights are read. The first row of each is the time that
 * opening takes and the second prose (FILE, by default the test set of WikiText-2 beside the
 * repository) with the speed of decoding; numbers are the best of several runs. */
#include "../slm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 10000
#define LARGE 1000000

static const struct {
    const char *name;
    const char *unit; /* over and over; NULL: letters by chance */
} inputs[] = {{"one letter", "a"},
              {"spaces", " "},
              {"digits", "7"},
              {"combining marks", "\xCC\x81"},
              {"newlines", "\n"},
              {"carriage returns", "\r\n"},
              {"tabs", "\t"},
              {"emoji", "\xF0\x9F\x98\x80"},
              {"ideographs", "\xE6\xBC\xA2"},
              {"punctuation", "="},
              {"two letters", "ab"},
              {"one long word", NULL},
              {"half a character", "\xE6"}};

static char *read_text(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        *size = (size_t)ftell(file);
        rewind(file);
        text = (char *)malloc(*size + 1);
        if (text != NULL && fread(text, 1, *size, file) != *size) {
            free(text);
            text = NULL;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return text;
}

static slm_model *open_model(const char *path)
{
    slm_error err;
    slm_model_options o;
    slm_model *model = NULL;
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    if (slm_model_open(&model, path, &o, &err) != SLM_OK) {
        fprintf(stderr, "tokenize: %s: %s\n", path, err.message);
        exit(1);
    }
    return model;
}

struct tokens {
    int32_t *data;
    size_t n, capacity;
};

/* Seconds for encoding the text, whole or in slices, the best of runs that take a fifth of a second
 * together, or of three. */
static double encode(const slm_model *model, const char *text, size_t size, size_t slice,
                     struct tokens *t)
{
    int64_t best = INT64_MAX;
    int64_t sum = 0;
    for (int run = 0; run < 200 && (run < 3 || sum < 200000000); run++) {
        int64_t begin = slm_clock_ns();
        for (size_t at = 0; at < size; at += slice) {
            slm_error err;
            size_t n = size - at < slice ? size - at : slice;
            if (slm_tokenize(model, text + at, n, 0, t->data, t->capacity, &t->n, &err) != SLM_OK) {
                fprintf(stderr, "tokenize: %s\n", err.message);
                exit(1);
            }
        }
        int64_t ns = slm_clock_ns() - begin;
        best = ns < best ? ns : best;
        sum += ns;
    }
    return (double)best / 1e9;
}

static double decode(const slm_model *model, const struct tokens *t, char *text, size_t capacity)
{
    int64_t best = INT64_MAX;
    for (int run = 0; run < 3; run++) {
        slm_error err;
        size_t needed = 0;
        int64_t begin = slm_clock_ns();
        if (slm_detokenize(model, t->data, t->n, 0, text, capacity, &needed, &err) != SLM_OK) {
            fprintf(stderr, "tokenize: %s\n", err.message);
            exit(1);
        }
        int64_t ns = slm_clock_ns() - begin;
        best = ns < best ? ns : best;
    }
    return (double)best / 1e9;
}

static void fill(char *text, size_t n, const char *unit)
{
    uint64_t random = 1;
    size_t size = unit != NULL ? strlen(unit) : 1;
    for (size_t i = 0; i < n; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        text[i] = unit != NULL ? unit[i % size] : (char)('a' + (random >> 33) % 26);
    }
}

struct bench {
    const char *path, *name;
    int csv;
    const char *prose;
    size_t prose_size;
    char *text; /* [capacity] */
    size_t capacity;
    struct tokens tokens;
};

static void row(const struct bench *b, const char *input, size_t bytes, double seconds,
                const char *more, double value)
{
    double speed = (double)bytes / seconds / 1e6;
    if (b->csv) {
        printf("%s,%s,%zu,%.6f,%.2f,%s,%.2f\n", b->name, input, bytes, seconds, speed, more, value);
    } else {
        printf("%-16s %-16s %8zu bytes %9.2f ms %8.2f MB/s   %s %.2f\n", b->name, input, bytes,
               seconds * 1e3, speed, more, value);
    }
    fflush(stdout);
}

static void open_row(const struct bench *b)
{
    int64_t best = INT64_MAX;
    slm_model_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    for (int run = 0; run < 7; run++) {
        int64_t begin = slm_clock_ns();
        slm_model *model = open_model(b->path);
        int64_t ns = slm_clock_ns() - begin;
        best = ns < best ? ns : best;
        slm_model_get_info(model, &info, NULL);
        slm_model_free(model);
    }
    size_t size = 0;
    free(read_text(b->path, &size));
    row(b, "open", size, (double)best / 1e9, "tokens", info.n_vocab);
}

static void vocabulary(struct bench *b)
{
    const char *name = strrchr(b->path, '/');
    const char *known = strstr(b->path, "ggml-vocab-");
    static char buffer[64];
    snprintf(buffer, sizeof buffer, "%s",
             known != NULL  ? known + 11
             : name != NULL ? name + 1
                            : b->path);
    if (strstr(buffer, ".gguf") != NULL) {
        *strstr(buffer, ".gguf") = 0;
    }
    b->name = buffer;
    open_row(b);
    slm_model *model = open_model(b->path);
    if (b->prose != NULL) {
        double seconds = encode(model, b->prose, b->prose_size, b->prose_size, &b->tokens);
        double back = decode(model, &b->tokens, b->text, b->capacity);
        row(b, "prose", b->prose_size, seconds, "decoding MB/s",
            (double)b->prose_size / back / 1e6);
    }
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        fill(b->text, LARGE, inputs[i].unit);
        double small = encode(model, b->text, LARGE, SMALL, &b->tokens);
        double large = encode(model, b->text, LARGE, LARGE, &b->tokens);
        row(b, inputs[i].name, LARGE, large, "time a byte over that of 10 KB", large / small);
    }
    slm_model_free(model);
}

int main(int argc, char **argv)
{
    struct bench b;
    const char *text = "../shared/text/wikitext-2-raw.wiki.test.raw";
    memset(&b, 0, sizeof b);
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--csv") == 0) {
            b.csv = 1;
        } else if (strcmp(argv[at], "--text") == 0 && at + 1 < argc) {
            text = argv[++at];
        } else {
            fprintf(stderr, "usage: tokenize [--csv] [--text FILE] VOCABULARY...\n");
            return 2;
        }
    }
    b.prose = read_text(text, &b.prose_size);
    size_t longest = b.prose_size > LARGE ? b.prose_size : LARGE;
    b.tokens.capacity = longest * 4 + 16;
    b.tokens.data = (int32_t *)malloc(b.tokens.capacity * sizeof *b.tokens.data);
    b.capacity = longest * 4 + 16;
    b.text = (char *)malloc(b.capacity);
    if (b.tokens.data == NULL || b.text == NULL) {
        fprintf(stderr, "tokenize: no memory\n");
        return 1;
    }
    if (b.csv) {
        printf("vocabulary,input,bytes,seconds,mb_s,more,value\n");
    }
    for (; at < argc; at++) {
        b.path = argv[at];
        vocabulary(&b);
    }
    return 0;
}
