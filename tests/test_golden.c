/* test_golden.c - logits of tiny models held against llama.cpp's, through the public API alone.
 *
 *     build/test_golden [--kv f16|f32] [--exact] [--isa ref|avx2|...] [--threads N] [FILE...]
 *     build/test_golden --write MODEL.gguf FILE
 *
 * Each FILE is a manifest (golden.h says what that is). Every model is evaluated twice, all tokens
 * as one batch and token by token, and both must agree with the manifest; of one of embeddings the
 * text is evaluated alone, and with others or in parts, pooled and token by token. Without FILE everything
 * under tests/golden is run: with the f32 cache, which is how the vectors were made, with the f16
 * cache, and the quantised files once more with unrounded activations. Exit status: 0 if all are
 * ok, 1 if any failed, 2 for a wrong command line. --write runs nothing: it writes the model of a
 * manifest, for tests of the tool. */

#include "../slm.h"
#include "golden.h"

#include <dirent.h>
#include <math.h>

#define FILES_OF_MANIFESTS "../shared/golden/quant"

struct setup {
    int32_t kv_type;
    int exact; /* no rounding of activations to 8 bits */
    uint64_t cpu;
    int32_t n_threads;
};

struct tally {
    int n_ok, n_failed, n_skipped;
    /* Quantised files, int8 activations, f32 cache: our nmse against exact over llama.cpp's own. */
    double log_ratio_sum, worst_ratio;
    int n_ratios;
};

/* What the design asks of these ratios: of each file, and in the geometric mean. */
#define RATIO_MOST 1.15
#define RATIO_MEAN_MOST 1.02

/* ---- Evaluation ------------------------------------------------------------------------------ */

static int make_context(slm_context **context, slm_model *model, const struct golden *g,
                        const struct setup *s, slm_error *err)
{
    slm_context_options options;
    int status = slm_context_options_init(&options, sizeof options);
    options.n_ctx = g->n_ctx;
    options.n_logits = g->n_tokens;
    options.kv_type = s->kv_type;
    options.n_threads = s->n_threads;
    options.flags = s->exact ? SLM_CONTEXT_EXACT : 0;
    return status != SLM_OK ? status : slm_context_create(context, model, &options, err);
}

static int copy_logits(float *rows, slm_context *context, int first, int n, int n_vocab,
                       slm_error *err)
{
    for (int i = 0; i < n; i++) {
        const float *row = NULL;
        int status = slm_logits(context, i, &row, NULL, err);
        if (status != SLM_OK) {
            return status;
        }
        memcpy(rows + (size_t)(first + i) * (size_t)n_vocab, row, (size_t)n_vocab * sizeof *rows);
    }
    return SLM_OK;
}

/* rows[n_tokens][n_vocab], evaluated n_at_once tokens a call in a context of their own. */
static int evaluate(float *rows, slm_model *model, const struct golden *g, const struct setup *s,
                    int n_at_once, slm_error *err)
{
    slm_context *context = NULL;
    int status = make_context(&context, model, g, s, err);
    for (int first = 0; status == SLM_OK && first < g->n_tokens; first += n_at_once) {
        int n = g->n_tokens - first < n_at_once ? g->n_tokens - first : n_at_once;
        slm_span span;
        memset(&span, 0, sizeof span);
        span.struct_size = (uint32_t)sizeof span;
        span.position = first;
        span.n_tokens = n;
        span.tokens = g->tokens + first;
        span.want = SLM_WANT_ALL;
        status = slm_eval(context, &span, 1, sizeof span, NULL, err);
        if (status == SLM_OK) {
            status = copy_logits(rows, context, first, n, g->n_vocab, err);
        }
    }
    slm_context_free(context);
    return status;
}

/* ---- Judgement ------------------------------------------------------------------------------- */

struct result {
    double nmse;       /* what is held against the tolerance */
    double nmse_exact; /* against the exact row, where there is one */
    double argmax;     /* share of positions */
    int against_exact;
};

static struct result compare(const struct golden *g, const float *rows, int take_smaller)
{
    struct result r;
    size_t width = (size_t)g->n_vocab, n = (size_t)g->n_tokens * width;
    double nmse = golden_nmse(g->logits, rows, n);
    r.nmse_exact = g->exact != NULL ? golden_nmse(g->exact, rows, n) : nmse;
    r.against_exact = g->exact != NULL && (!take_smaller || r.nmse_exact <= nmse);
    r.nmse = r.against_exact ? r.nmse_exact : nmse;
    const float *reference = r.against_exact ? g->exact : g->logits;
    int agree = 0;
    for (size_t t = 0; t < (size_t)g->n_tokens; t++) {
        agree += golden_argmax(reference + t * width, g->n_vocab) ==
                 golden_argmax(rows + t * width, g->n_vocab);
    }
    r.argmax = (double)agree / g->n_tokens;
    return r;
}

/* 1 if any weight is quantised: has blocks of more than one element. */
static int model_is_quantised(const slm_model *model, const slm_model_info *info)
{
    for (int32_t i = 0; i < info->n_tensors; i++) {
        slm_tensor_info tensor;
        slm_encoding_info encoding;
        tensor.struct_size = (uint32_t)sizeof tensor;
        encoding.struct_size = (uint32_t)sizeof encoding;
        if (slm_model_tensor(model, i, &tensor, NULL) == SLM_OK &&
            slm_encoding_find(tensor.encoding, NULL, &encoding, NULL) == SLM_OK &&
            encoding.block_elements > 1) {
            return 1;
        }
    }
    return 0;
}

/* golden/README: f32, f16 and bf16 weights are multiplied to f32 accuracy, and so are quantised
 * ones when activations stay unrounded. The f16 cache costs a digit. */
static double tolerance(const struct setup *s, int int8_activations)
{
    return int8_activations ? 5e-3 : s->kv_type == SLM_KV_F32 ? 1e-6 : 1e-5;
}

static void print_setup(const struct setup *s)
{
    printf(", %s cache%s", s->kv_type == SLM_KV_F32 ? "f32" : "f16", s->exact ? ", exact" : "");
}

/* The quantised files have llama.cpp's own distance from the exact products; ours beside it. */
static void print_ratio(const struct golden *g, const struct result *r, const struct setup *s,
                        struct tally *tally)
{
    double theirs = golden_nmse(g->exact, g->logits, (size_t)g->n_tokens * (size_t)g->n_vocab);
    double ratio = r->nmse_exact / theirs;
    if (theirs > 0 && ratio > 0) {
        printf(", %.3f of llama.cpp's", ratio);
    }
    if (theirs > 0 && ratio > 0 && s->kv_type == SLM_KV_F32) {
        tally->log_ratio_sum += log(ratio);
        tally->worst_ratio = ratio > tally->worst_ratio ? ratio : tally->worst_ratio;
        tally->n_ratios++;
    }
}

static int judge(const struct golden *g, slm_model *model, const slm_model_info *info,
                 const struct setup *s, struct tally *tally, slm_error *err)
{
    int int8_activations = !s->exact && model_is_quantised(model, info);
    float *rows = (float *)calloc((size_t)g->n_tokens, (size_t)g->n_vocab * sizeof *rows);
    if (rows == NULL) {
        snprintf(err->message, sizeof err->message, "out of memory");
        return SLM_E_MEMORY;
    }
    int status = evaluate(rows, model, g, s, g->n_tokens, err);
    struct result batch = compare(g, rows, int8_activations);
    if (status == SLM_OK) {
        status = evaluate(rows, model, g, s, 1, err);
    }
    struct result single = compare(g, rows, int8_activations);
    free(rows);
    if (status != SLM_OK) {
        return status;
    }
    double limit = tolerance(s, int8_activations);
    int ok = batch.nmse <= limit && single.nmse <= limit;
    printf("%-7s %s  nmse %.3g (token by token %.3g) against %s, argmax %.1f%%, tolerance %.0e",
           ok ? "ok" : "FAILED", g->title, batch.nmse, single.nmse,
           batch.against_exact ? "exact" : "logits",
           100 * (batch.argmax < single.argmax ? batch.argmax : single.argmax), limit);
    print_setup(s);
    if (int8_activations && g->exact != NULL) {
        print_ratio(g, &batch, s, tally);
    }
    printf("\n");
    tally->n_ok += ok;
    tally->n_failed += !ok;
    return SLM_OK;
}

/* ---- Embeddings ------------------------------------------------------------------------------ */

#define TEXTS 3 /* of a shared batch: the one in the middle is the manifest's */

/* The row, or with SLM_POOLING_NONE the rows, of the manifest's text; `shared`: in a batch with
 * others, or if the model can be given a text in parts, in parts. */
static int embed(float *rows, size_t n, slm_model *model, const struct golden *g,
                 const struct setup *s, int32_t pooling, int shared, int is_causal, slm_error *err)
{
    slm_context *context = NULL;
    slm_context_options options;
    slm_embed_options o;
    slm_embed_text texts[TEXTS];
    float *all = (float *)calloc(TEXTS * n, sizeof *all);
    size_t needed = 0;
    memset(texts, 0, sizeof texts);
    for (int i = 0; i < TEXTS; i++) {
        texts[i].struct_size = (uint32_t)sizeof texts[i];
        int32_t part = g->n_tokens > 2 + i ? g->n_tokens - 2 - i : 1;
        texts[i].n_tokens = i == 1 ? g->n_tokens : part;
        texts[i].tokens = g->tokens + g->n_tokens - texts[i].n_tokens;
    }
    slm_context_options_init(&options, sizeof options);
    slm_embed_options_init(&o, sizeof o);
    options.n_ctx = g->n_ctx;
    options.n_sequences = shared ? TEXTS : 1;
    options.n_batch = shared && is_causal ? 7 : 512;
    options.kv_type = s->kv_type;
    options.n_threads = s->n_threads;
    options.flags = s->exact ? SLM_CONTEXT_EXACT : 0;
    o.pooling = pooling;
    o.normalize = SLM_NORMALIZE_NONE;
    int status = all != NULL ? slm_context_create(&context, model, &options, err) : SLM_E_MEMORY;
    if (status == SLM_OK) {
        status = slm_embed(context, shared ? texts : texts + 1, shared ? TEXTS : 1, sizeof texts[0],
                           &o, all, TEXTS * n, &needed, err);
    }
    size_t before = !shared                       ? 0
                    : pooling == SLM_POOLING_NONE ? (size_t)(texts[0].n_tokens * g->n_embd)
                                                  : n;
    if (status == SLM_OK && needed >= before + n) {
        memcpy(rows, all + before, n * sizeof *rows);
    }
    slm_context_free(context);
    free(all);
    return status;
}

/* The worst of a batch of its own and a shared one, against exact values where there are some. */
static int embed_nmse(slm_model *model, const struct golden *g, const struct setup *s,
                      int32_t pooling, int is_causal, double *nmse, slm_error *err)
{
    int is_hidden = pooling == SLM_POOLING_NONE;
    const float *exact = is_hidden ? g->hidden_exact : g->embd_exact;
    const float *plain = is_hidden ? g->hidden : g->embd;
    size_t n = is_hidden ? (size_t)g->n_tokens * (size_t)g->n_embd : (size_t)g->n_outputs;
    float *rows = (float *)calloc(n, sizeof *rows);
    int status = rows != NULL ? SLM_OK : SLM_E_MEMORY;
    *nmse = 0;
    for (int shared = 0; shared < 2 && status == SLM_OK; shared++) {
        status = embed(rows, n, model, g, s, pooling, shared, is_causal, err);
        double e = golden_nmse(exact != NULL ? exact : plain, rows, n);
        *nmse = e > *nmse ? e : *nmse;
    }
    free(rows);
    return status;
}

static int judge_embd(const struct golden *g, slm_model *model, const slm_model_info *info,
                      const struct setup *s, struct tally *tally, slm_error *err)
{
    int32_t width = info->pooling == SLM_POOLING_RANK ? info->n_outputs : info->n_embd_out;
    double pooled, hidden;
    if (width != g->n_outputs || info->n_embd_out != g->n_embd) {
        snprintf(err->message, sizeof err->message, "embeddings of %d and %d floats", (int)width,
                 (int)info->n_embd_out);
        return SLM_E_MODEL;
    }
    int status = embed_nmse(model, g, s, SLM_AUTO, info->is_causal, &pooled, err);
    if (status == SLM_OK) {
        status = embed_nmse(model, g, s, SLM_POOLING_NONE, info->is_causal, &hidden, err);
    }
    if (status != SLM_OK) {
        return status;
    }
    /* A score is one number: no others average its error away. */
    double limit = tolerance(s, 0);
    double pooled_limit = s->kv_type == SLM_KV_F16 && g->n_outputs == 1 ? 10 * limit : limit;
    int ok = pooled <= pooled_limit && hidden <= limit;
    printf("%-7s %s  nmse %.3g (hidden states %.3g) against %s, tolerance %.0e",
           ok ? "ok" : "FAILED", g->title, pooled, hidden, g->embd_exact != NULL ? "exact" : "embd",
           pooled_limit);
    print_setup(s);
    printf("\n");
    tally->n_ok += ok;
    tally->n_failed += !ok;
    return SLM_OK;
}

static int open_model(slm_model **model, const struct golden *g, const struct setup *s,
                      slm_error *err)
{
    slm_model_options options;
    const void *data = g->image;
    int status = slm_model_options_init(&options, sizeof options);
    options.cpu = s->cpu;
    if (status != SLM_OK) {
        return status;
    }
    return g->is_file ? slm_model_open(model, g->file, &options, err)
                      : slm_model_open_memory(model, &data, &g->image_size, 1, &options, err);
}

static void run(const struct golden *g, const struct setup *s, struct tally *tally)
{
    slm_error err;
    slm_model *model = NULL;
    slm_model_info info;
    memset(&err, 0, sizeof err);
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    int status = open_model(&model, g, s, &err);
    if (status == SLM_OK) {
        status = slm_model_get_info(model, &info, &err);
    }
    if (status == SLM_OK && !g->is_embd && info.n_vocab != g->n_vocab) {
        status = SLM_E_MODEL;
        snprintf(err.message, sizeof err.message, "n_vocab is %d, the manifest has rows of %d",
                 (int)info.n_vocab, g->n_vocab);
    }
    if (status == SLM_OK) {
        status = g->is_embd ? judge_embd(g, model, &info, s, tally, &err)
                            : judge(g, model, &info, s, tally, &err);
    }
    if (status != SLM_OK) {
        printf("FAILED  %s  %s: %s", g->title, slm_status_name(status), err.message);
        print_setup(s);
        printf("\n");
        tally->n_failed++;
    }
    slm_model_free(model);
}

/* ---- Which files ----------------------------------------------------------------------------- */

static void run_file(const char *path, const struct setup *setups, int n_setups, int may_skip,
                     struct tally *tally)
{
    struct golden g;
    if (golden_load(&g, path, FILES_OF_MANIFESTS)) {
        for (int i = 0; i < n_setups; i++) {
            run(&g, &setups[i], tally);
        }
    } else if (may_skip && g.is_file && !testing_exists(g.file)) {
        tally->n_skipped++;
    } else {
        printf("FAILED  %s  %s\n", g.title, g.error);
        tally->n_failed++;
    }
    golden_free(&g);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b);
}

/* Every *.txt of a folder, by name. A folder without any is a failure: nothing would be tested. */
static void run_folder(const char *folder, const struct setup *setups, int n_setups, int may_skip,
                       struct tally *tally)
{
    static char names[512][256];
    size_t n = 0;
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir != NULL && n < 512 && (entry = readdir(dir)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length > 4 && length < 256 && strcmp(entry->d_name + length - 4, ".txt") == 0) {
            memcpy(names[n++], entry->d_name, length + 1);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    qsort(names, n, sizeof names[0], compare_names);
    for (size_t i = 0; i < n; i++) {
        char path[600];
        snprintf(path, sizeof path, "%.255s/%.255s", folder, names[i]);
        run_file(path, setups, n_setups, may_skip, tally);
    }
    if (n == 0) {
        printf("FAILED  %s  no manifests here\n", folder);
        tally->n_failed++;
    }
}

static void run_everything(const struct setup *base, struct tally *tally)
{
    struct setup setups[3] = {*base, *base, *base};
    setups[0].kv_type = SLM_KV_F32;
    setups[1].kv_type = SLM_KV_F16;
    setups[2].kv_type = SLM_KV_F32;
    setups[2].exact = 1;
    run_folder("tests/golden/models", setups, 2, 0, tally);
    run_folder("tests/golden/quant", setups, 3, 1, tally);
    if (tally->n_ratios > 0) {
        double mean = exp(tally->log_ratio_sum / tally->n_ratios);
        int ok = mean <= RATIO_MEAN_MOST && tally->worst_ratio <= RATIO_MOST;
        printf("%-7s int8 activations: nmse %.3f of llama.cpp's in the geometric mean (at most "
               "%.2f), %.3f at worst (at most %.2f)\n",
               ok ? "ok" : "FAILED", mean, RATIO_MEAN_MOST, tally->worst_ratio, RATIO_MOST);
        tally->n_ok += ok;
        tally->n_failed += !ok;
    }
    if (tally->n_skipped > 0) {
        printf("skipped: %d quantised models, which are not in the repository (%s)\n",
               tally->n_skipped, FILES_OF_MANIFESTS);
    }
}

static int write_model(const char *to, const char *manifest)
{
    struct golden g;
    int ok = golden_load(&g, manifest, NULL) && !g.is_file;
    FILE *file = ok ? fopen(to, "wb") : NULL;
    ok = file != NULL && fwrite(g.image, 1, g.image_size, file) == g.image_size;
    ok = file != NULL && fclose(file) == 0 && ok;
    if (!ok) {
        fprintf(stderr, "test_golden: %s: not written. %s\n", to, g.error);
    }
    golden_free(&g);
    return !ok;
}

/* ---- Command line ---------------------------------------------------------------------------- */

#define SKIPPED 77 /* exit status */

/* The features of an instruction set: its own, and those of the same machine below it. 0 where there
 * is none of the name, SKIPPED where it is another machine's. */
static int find_isa(const char *name, uint64_t *cpu)
{
    uint64_t below = 0;
    *cpu = 0;
    for (int32_t i = 0; i < 64; i++) {
        const char *feature = slm_cpu_feature_name(i);
        if (feature != NULL) {
            below |= UINT64_C(1) << i;
            if (strcmp(feature, name) == 0) {
                *cpu = below;
                return (slm_cpu_features() >> i & 1) != 0 ? 1 : SKIPPED;
            }
        }
    }
    return strcmp(name, "ref") == 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: test_golden [--kv f16|f32] [--exact] [--isa ref|avx2|...] "
                    "[--threads N] [FILE...]\n"
                    "       test_golden --write MODEL.gguf FILE\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct setup s = {SLM_KV_F32, 0, SLM_CPU_ALL, 2};
    struct tally tally = {0, 0, 0, 0, 0, 0};
    int i = 1;
    if (argc == 4 && strcmp(argv[1], "--write") == 0) {
        return write_model(argv[2], argv[3]);
    }
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--exact") == 0) {
            s.exact = 1;
            continue;
        }
        if (strcmp(argv[i], "--kv") == 0 && (!strcmp(value, "f16") || !strcmp(value, "f32"))) {
            s.kv_type = strcmp(value, "f16") == 0 ? SLM_KV_F16 : SLM_KV_F32;
        } else if (strcmp(argv[i], "--threads") == 0 && atoi(value) > 0) {
            s.n_threads = atoi(value);
        } else if (strcmp(argv[i], "--isa") == 0) {
            int found = find_isa(value, &s.cpu);
            if (found != 1) {
                printf("skipped: this machine has no '%s'\n", value);
                return found == 0 ? 2 : found;
            }
        } else {
            return usage();
        }
        i++;
    }
    if (i == argc) {
        run_everything(&s, &tally);
    }
    for (; i < argc; i++) {
        run_file(argv[i], &s, 1, 0, &tally);
    }
    printf("%d ok, %d failed, %d skipped\n", tally.n_ok, tally.n_failed, tally.n_skipped);
    return tally.n_failed > 0;
}
