/* test_embed.c - slm_embed: what a batch, a buffer, a pooling and a sequence have to do with it, and
 * files that say impossible things of pooling and classifiers. What the vectors are is test_golden's
 * subject; the models are the same.
 *
 * Public functions only. */
#include "golden.h"
#include "model_fixture.h"

#include <math.h>

#define MODELS "tests/golden/models/"
#define MOST_TOKENS 700
#define MOST_FLOATS (MOST_TOKENS * 96)

/* ---- Models ---------------------------------------------------------------------------------- */

struct subject {
    struct golden g;
    slm_model *model;
    slm_model_info info;
};

/* The manifest with each `from` replaced by its `to`, rebuilt; pairs of them, ended by NULL. */
static void edited_load(struct golden *g, const char *name, const char *const *edits)
{
    struct golden_parts p;
    char path[300];
    size_t size = 0;
    memset(g, 0, sizeof *g);
    memset(&p, 0, sizeof p);
    snprintf(path, sizeof path, MODELS "%s.txt", name);
    char *text = testing_read(path, &size);
    assert_non_null(text);
    for (; edits != NULL && edits[0] != NULL; edits += 2) {
        char *at = strstr(text, edits[0]);
        size_t from = strlen(edits[0]), to = strlen(edits[1]);
        assert_non_null(at);
        char *changed = (char *)malloc(size - from + to + 1);
        size_t before = (size_t)(at - text);
        assert_non_null(changed);
        memcpy(changed, text, before);
        memcpy(changed + before, edits[1], to);
        memcpy(changed + before + to, at + from, size - before - from + 1);
        free(text);
        text = changed;
        size += to - from;
    }
    if (!golden_lines(g, &p, text, size) || !golden_assemble(g, &p)) {
        fail_msg("%s: %s", name, g->error);
    }
    free(text);
    free(p.keys.data);
    free(p.infos.data);
    free(p.data.data);
}

static int edited_open(struct subject *s, const char *name, const char *const *edits,
                       slm_error *err)
{
    memset(s, 0, sizeof *s);
    edited_load(&s->g, name, edits);
    const void *data = s->g.image;
    s->info.struct_size = sizeof s->info;
    int status = slm_model_open_memory(&s->model, &data, &s->g.image_size, 1, NULL, err);
    return status != SLM_OK ? status : slm_model_get_info(s->model, &s->info, err);
}

static void subject_open(struct subject *s, const char *name)
{
    slm_error err;
    int status = edited_open(s, name, NULL, &err);
    assert_says(name, status, &err, SLM_OK, "", NULL);
}

static void subject_close(struct subject *s)
{
    slm_model_free(s->model);
    golden_free(&s->g);
}

static slm_context *make_context(const struct subject *s, int32_t n_sequences, int32_t n_batch,
                                 int32_t n_threads, uint32_t flags)
{
    slm_context *context = NULL;
    slm_context_options o;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = MOST_TOKENS;
    o.n_sequences = n_sequences;
    o.n_batch = n_batch;
    o.n_threads = n_threads;
    o.flags = flags;
    o.kv_type = SLM_KV_F32;
    assert_int_equal(slm_context_create(&context, s->model, &o, NULL), SLM_OK);
    return context;
}

static slm_embed_options embed_options(int32_t pooling, int32_t normalize)
{
    slm_embed_options o;
    assert_int_equal(slm_embed_options_init(&o, sizeof o), SLM_OK);
    o.pooling = pooling;
    o.normalize = normalize;
    return o;
}

static slm_embed_text make_text(const int32_t *ids, int32_t n)
{
    slm_embed_text t;
    memset(&t, 0, sizeof t);
    t.struct_size = sizeof t;
    t.tokens = ids;
    t.n_tokens = n;
    return t;
}

static float embed_rows[2][MOST_FLOATS];

/* The whole text of the manifest; fails the test unless it works. Returns how many floats. */
static size_t embed_one(slm_context *context, const struct subject *s, int32_t pooling,
                        int32_t normalize, float *rows)
{
    slm_error err;
    slm_embed_text t = make_text(s->g.tokens, s->g.n_tokens);
    slm_embed_options o = embed_options(pooling, normalize);
    size_t needed = 0;
    int status = slm_embed(context, &t, 1, sizeof t, &o, rows, MOST_FLOATS, &needed, &err);
    assert_says(s->info.family, status, &err, SLM_OK, "", NULL);
    return needed;
}

static const char *const all_kinds[] = {
    "bert-mean",   "bert-rerank",        "bert-classify",   "nomic-bert-moe",  "jina-bert-v2",
    "modern-bert", "modern-bert-rerank", "gemma-embedding", "qwen3-embedding", "qwen3-reranker",
};

/* ---- Batches --------------------------------------------------------------------------------- */

#define TEXTS 6

/* Texts of different lengths, more than there are sequences. */
static void make_texts(const struct subject *s, slm_embed_text *texts)
{
    static const int32_t sizes[TEXTS] = {3, 1, 20, 7, 2, 11};
    for (int i = 0; i < TEXTS; i++) {
        texts[i] = make_text(s->g.tokens + (i == 2 ? 0 : i), sizes[i]);
    }
}

static void texts_of_a_batch_give_the_bits_of_each_alone(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof all_kinds / sizeof all_kinds[0]; k++) {
        struct subject s;
        slm_embed_text texts[TEXTS];
        slm_embed_options o = embed_options(SLM_AUTO, SLM_NORMALIZE_EUCLIDEAN);
        size_t n = 0, needed = 0;
        subject_open(&s, all_kinds[k]);
        make_texts(&s, texts);
        slm_context *together = make_context(&s, 4, 64, 2, SLM_CONTEXT_BATCH_INVARIANT);
        slm_context *alone = make_context(&s, 1, 64, 1, SLM_CONTEXT_BATCH_INVARIANT);
        assert_int_equal(slm_embed(together, texts, TEXTS, sizeof texts[0], &o, embed_rows[0],
                                   MOST_FLOATS, &n, NULL),
                         SLM_OK);
        for (size_t i = 0; i < TEXTS; i++) {
            assert_int_equal(slm_embed(alone, &texts[i], 1, sizeof texts[0], &o,
                                       embed_rows[1] + i * n / TEXTS, n / TEXTS, &needed, NULL),
                             SLM_OK);
            assert_int_equal(needed, n / TEXTS);
        }
        assert_memory_equal(embed_rows[0], embed_rows[1], n * sizeof(float));
        slm_context_free(together);
        slm_context_free(alone);
        subject_close(&s);
    }
}

static void the_number_of_threads_does_not_show(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof all_kinds / sizeof all_kinds[0]; k++) {
        struct subject s;
        subject_open(&s, all_kinds[k]);
        size_t n = 0;
        for (int i = 0; i < 2; i++) {
            slm_context *context = make_context(&s, 1, 64, 1 + 2 * i, 0);
            n = embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_EUCLIDEAN, embed_rows[i]);
            slm_context_free(context);
        }
        assert_memory_equal(embed_rows[0], embed_rows[1], n * sizeof(float));
        subject_close(&s);
    }
}

/* A causal model takes a long text in parts, an encoder refuses it. */
static void a_text_longer_than_a_batch(void **state)
{
    struct subject s;
    slm_error err;
    size_t needed = 0;
    (void)state;
    subject_open(&s, "qwen3-embedding");
    for (int32_t pooling = SLM_POOLING_NONE; pooling <= SLM_POOLING_LAST; pooling += 3) {
        size_t n = 0;
        for (int i = 0; i < 2; i++) {
            slm_context *context =
                make_context(&s, 2, i == 0 ? 64 : 5, 2, SLM_CONTEXT_BATCH_INVARIANT);
            n = embed_one(context, &s, pooling, SLM_NORMALIZE_EUCLIDEAN, embed_rows[i]);
            slm_context_free(context);
        }
        assert_memory_equal(embed_rows[0], embed_rows[1], n * sizeof(float));
    }
    subject_close(&s);
    subject_open(&s, "bert-mean");
    slm_context *context = make_context(&s, 2, s.g.n_tokens - 1, 1, 0);
    slm_embed_text t = make_text(s.g.tokens, s.g.n_tokens);
    int status =
        slm_embed(context, &t, 1, sizeof t, NULL, embed_rows[0], MOST_FLOATS, &needed, &err);
    assert_says("encoder", status, &err, SLM_E_FULL, "text 0 has 20 tokens", "n_batch 19");
    slm_context_free(context);
    subject_close(&s);
}

/* The state goes on from part to part, though the sequence's length stays 0 all the while; and what
 * the sequence held before does not show. */
static void a_long_text_of_a_recurrent_model(void **state)
{
    static const char *const names[] = {"lfm2",      "mamba", "mamba2",
                                        "falcon-h1", "rwkv7", "qwen3next-legacy"};
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        struct subject s;
        size_t n = 0;
        subject_open(&s, names[k]);
        for (int i = 0; i < 2; i++) {
            slm_context *context =
                make_context(&s, 1, i == 0 ? 64 : 7, 1, SLM_CONTEXT_BATCH_INVARIANT);
            for (int times = 0; times < 2; times++) {
                n = embed_one(context, &s, SLM_POOLING_NONE, SLM_NORMALIZE_NONE, embed_rows[i]);
            }
            slm_context_free(context);
        }
        if (memcmp(embed_rows[0], embed_rows[1], n * sizeof(float)) != 0) {
            fail_msg("%s: parts of a text show", names[k]);
        }
        subject_close(&s);
    }
}

/* With ALiBi a text and its reverse have the same mean: only distances count, and they are the same.
 * The text is longer than a page, and than a run of pages. */
static void distances_are_the_same_both_ways(void **state)
{
    static int32_t ids[2][MOST_TOKENS];
    struct subject s;
    (void)state;
    subject_open(&s, "jina-bert-v2-code");
    slm_context *context = make_context(&s, 1, MOST_TOKENS, 2, 0);
    for (int i = 0; i < MOST_TOKENS; i++) {
        ids[0][i] = ids[1][MOST_TOKENS - 1 - i] = 5 + i * i % 97;
    }
    for (int i = 0; i < 2; i++) {
        slm_embed_text t = make_text(ids[i], MOST_TOKENS);
        size_t needed = 0;
        assert_int_equal(
            slm_embed(context, &t, 1, sizeof t, NULL, embed_rows[i], MOST_FLOATS, &needed, NULL),
            SLM_OK);
        assert_int_equal(needed, s.info.n_embd_out);
    }
    assert_true(golden_nmse(embed_rows[0], embed_rows[1], (size_t)s.info.n_embd_out) < 1e-9);
    slm_context_free(context);
    subject_close(&s);
}

/* ---- What comes out -------------------------------------------------------------------------- */

static void vectors_have_length_1_unless_raw(void **state)
{
    struct subject s;
    (void)state;
    subject_open(&s, "bert-mean");
    slm_context *context = make_context(&s, 1, 64, 1, 0);
    for (int32_t pooling = SLM_POOLING_NONE; pooling <= SLM_POOLING_MEAN; pooling++) {
        size_t n = embed_one(context, &s, pooling, SLM_NORMALIZE_EUCLIDEAN, embed_rows[0]);
        assert_int_equal(embed_one(context, &s, pooling, SLM_NORMALIZE_NONE, embed_rows[1]), n);
        for (size_t i = 0; i < n; i += (size_t)s.info.n_embd) {
            double length = 0, raw = 0;
            for (size_t e = i; e < i + (size_t)s.info.n_embd; e++) {
                length += (double)embed_rows[0][e] * (double)embed_rows[0][e];
                raw += (double)embed_rows[1][e] * (double)embed_rows[1][e];
            }
            assert_true(fabs(length - 1) < 1e-6 && fabs(raw - 1) > 1e-3);
            for (size_t e = i; e < i + (size_t)s.info.n_embd; e++) {
                double want = (double)embed_rows[1][e] / sqrt(raw);
                assert_true(fabs((double)embed_rows[0][e] - want) < 1e-6);
            }
        }
    }
    slm_context_free(context);
    subject_close(&s);
}

static void scores_are_not_normalised(void **state)
{
    struct subject s;
    (void)state;
    subject_open(&s, "bert-classify");
    slm_context *context = make_context(&s, 1, 64, 1, 0);
    assert_int_equal(embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_EUCLIDEAN, embed_rows[0]), 3);
    assert_int_equal(embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_NONE, embed_rows[1]), 3);
    assert_memory_equal(embed_rows[0], embed_rows[1], 3 * sizeof(float));
    slm_context_free(context);
    subject_close(&s);
}

/* Jina's rerankers have no cls.output: the score is tanh(cls h), h the first hidden state. */
static void a_classifier_may_be_cls_alone(void **state)
{
    static const char *const edits[] = {
        "kv jina-bert-v2.pooling_type u32 1", "kv jina-bert-v2.pooling_type u32 4",
        "tensor token_embd_norm.weight",
        "tensor cls.weight f32 64 1 scale 0.125 offset 0\ntensor token_embd_norm.weight", NULL};
    struct subject s;
    slm_error err;
    double score = 0;
    (void)state;
    int status = edited_open(&s, "jina-bert-v2", edits, &err);
    assert_says("open", status, &err, SLM_OK, "", NULL);
    assert_int_equal(s.info.n_outputs, 1);
    slm_context *context = make_context(&s, 1, 64, 1, 0);
    embed_one(context, &s, SLM_POOLING_NONE, SLM_NORMALIZE_NONE, embed_rows[0]);
    assert_int_equal(embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_EUCLIDEAN, embed_rows[1]), 1);
    for (size_t i = 0; i < 64; i++) {
        score += (double)embed_rows[0][i] *
                 (double)golden_weight(golden_hash("cls.weight", 10), i, 0.125, 0);
    }
    assert_true(fabs(tanh(score) - (double)embed_rows[1][0]) < 1e-5);
    slm_context_free(context);
    subject_close(&s);
}

/* More outputs than any matrix of the model has columns. */
static void a_classifier_may_be_wider_than_the_model(void **state)
{
    static char labels[2000], cls[200];
    const char *const edits[] = {"kv jina-bert-v2.pooling_type u32 1", labels,
                                 "tensor token_embd_norm.weight", cls, NULL};
    struct subject s;
    slm_error err;
    slm_embed_text texts[TEXTS];
    size_t needed = 0, n = 0;
    (void)state;
    n = (size_t)snprintf(labels, sizeof labels,
                         "kv jina-bert-v2.pooling_type u32 4\n"
                         "kv jina-bert-v2.classifier.output_labels arr:str 300");
    for (int i = 0; i < 300; i++) {
        n += (size_t)snprintf(labels + n, sizeof labels - n, " \"x\"");
    }
    snprintf(cls, sizeof cls, "tensor cls.weight f32 64 300 scale 0.125 offset 0\n%s", edits[2]);
    int status = edited_open(&s, "jina-bert-v2", edits, &err);
    assert_says("open", status, &err, SLM_OK, "", NULL);
    make_texts(&s, texts);
    slm_context *context = make_context(&s, TEXTS, 44, 1, 0);
    assert_int_equal(slm_embed(context, texts, TEXTS, sizeof texts[0], NULL, embed_rows[0],
                               MOST_FLOATS, &needed, NULL),
                     SLM_OK);
    assert_int_equal(needed, TEXTS * 300);
    for (size_t i = 0; i < needed; i++) {
        assert_true(embed_rows[0][i] >= -1 && embed_rows[0][i] <= 1);
    }
    slm_context_free(context);
    subject_close(&s);
}

static void a_buffer_too_small_is_untouched(void **state)
{
    struct subject s;
    slm_error err;
    size_t needed = 0;
    (void)state;
    subject_open(&s, "bert-mean");
    slm_context *context = make_context(&s, 2, 64, 1, 0);
    slm_embed_text t[2] = {make_text(s.g.tokens, 20), make_text(s.g.tokens, 4)};
    slm_embed_options o = embed_options(SLM_POOLING_NONE, SLM_NORMALIZE_NONE);
    assert_int_equal(slm_embed(context, t, 2, sizeof t[0], NULL, NULL, 0, &needed, NULL), SLM_OK);
    assert_int_equal(needed, 2 * 64);
    assert_int_equal(slm_embed(context, t, 2, sizeof t[0], &o, NULL, 0, &needed, NULL), SLM_OK);
    assert_int_equal(needed, 24 * 64);
    memset(embed_rows, 0x55, sizeof embed_rows);
    int status = slm_embed(context, t, 2, sizeof t[0], NULL, embed_rows[0], 127, &needed, &err);
    assert_says("space", status, &err, SLM_E_SPACE, "128", "127");
    assert_int_equal(needed, 128);
    assert_memory_equal(embed_rows[0], embed_rows[1], sizeof embed_rows[0]);
    status = slm_embed(context, t, 2, sizeof t[0], NULL, embed_rows[0], 128, &needed, &err);
    assert_int_equal(status, SLM_OK);
    assert_memory_equal(embed_rows[0] + 128, embed_rows[1] + 128, 64 * sizeof(float));
    slm_context_free(context);
    subject_close(&s);
}

static void what_a_model_gives_stands_in_its_info(void **state)
{
    static const struct {
        const char *name;
        int32_t is_causal, pooling, width, n_outputs;
    } rows[] = {
        {"bert-mean", 0, SLM_POOLING_MEAN, 64, 0},
        {"bert-cls", 0, SLM_POOLING_CLS, 64, 0},
        {"bert-classify", 0, SLM_POOLING_RANK, 64, 3},
        {"bert-rerank", 0, SLM_POOLING_RANK, 64, 1},
        {"gemma-embedding", 0, SLM_POOLING_MEAN, 64, 0},
        {"qwen3-embedding", 1, SLM_POOLING_LAST, 64, 0},
        {"qwen3-reranker", 1, SLM_POOLING_RANK, 64, 2},
        {"qwen3", 1, SLM_POOLING_NONE, 64, 0},
    };
    static const char *const wide[] = {"dense_3_feat_out u32 64", "dense_3_feat_out u32 80",
                                       "tensor dense_3.weight f32 96 64",
                                       "tensor dense_3.weight f32 96 80", NULL};
    struct subject s;
    slm_metadata value = {.struct_size = sizeof value};
    int32_t index = -1;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        subject_open(&s, rows[i].name);
        assert_int_equal(s.info.is_causal, rows[i].is_causal);
        assert_int_equal(s.info.pooling, rows[i].pooling);
        assert_int_equal(s.info.n_embd_out, rows[i].width);
        assert_int_equal(s.info.n_outputs, rows[i].n_outputs);
        subject_close(&s);
    }
    assert_int_equal(edited_open(&s, "gemma-embedding", wide, NULL), SLM_OK);
    assert_int_equal(s.info.n_embd_out, 80);
    slm_context *context = make_context(&s, 1, 64, 1, 0);
    assert_int_equal(embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_NONE, embed_rows[0]), 80);
    slm_context_free(context);
    subject_close(&s);
    subject_open(&s, "bert-classify");
    slm_model_metadata_find(s.model, "bert.classifier.output_labels",
                            sizeof "bert.classifier.output_labels" - 1, &index, NULL);
    assert_int_equal(slm_model_metadata(s.model, index, 2, &value, NULL), SLM_OK);
    assert_true(value.count == 3 && value.text_size == 1 && value.text[0] == 'c');
    subject_close(&s);
}

/* ---- Pooling --------------------------------------------------------------------------------- */

static int ask(const struct subject *s, int32_t pooling, slm_error *err)
{
    slm_context *context = make_context(s, 1, 64, 1, 0);
    slm_embed_text t = make_text(s->g.tokens, 4);
    slm_embed_options o = embed_options(pooling, SLM_NORMALIZE_NONE);
    size_t needed = 0;
    int status = slm_embed(context, &t, 1, sizeof t, &o, embed_rows[0], MOST_FLOATS, &needed, err);
    slm_context_free(context);
    return status;
}

static void a_pooling_the_model_was_not_made_for_is_refused(void **state)
{
    static const struct {
        const char *name;
        int works[5]; /* by SLM_POOLING_ */
    } rows[] = {
        {"bert-mean", {1, 1, 0, 0, 0}},      {"bert-cls", {1, 0, 1, 0, 0}},
        {"bert-rerank", {1, 0, 0, 0, 1}},    {"qwen3-embedding", {1, 0, 0, 1, 0}},
        {"qwen3-reranker", {1, 0, 0, 0, 1}}, {"qwen3", {1, 1, 0, 1, 0}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct subject s;
        slm_error err;
        subject_open(&s, rows[i].name);
        assert_int_equal(ask(&s, SLM_AUTO, NULL), SLM_OK);
        for (int32_t pooling = SLM_POOLING_NONE; pooling <= SLM_POOLING_RANK; pooling++) {
            int status = ask(&s, pooling, &err);
            if (rows[i].works[pooling]) {
                assert_says(rows[i].name, status, &err, SLM_OK, "", NULL);
            } else {
                assert_says(rows[i].name, status, &err, SLM_E_ARGUMENT, "pooling", NULL);
            }
        }
        subject_close(&s);
    }
}

/* ---- Context --------------------------------------------------------------------------------- */

static void an_encoder_gives_no_logits(void **state)
{
    struct subject s;
    slm_error err;
    slm_generator *generator = NULL;
    slm_generate_options o;
    slm_piece piece = {.struct_size = sizeof piece};
    (void)state;
    subject_open(&s, "bert-cls");
    slm_context *context = make_context(&s, 1, 64, 1, 0);
    slm_span span = {.struct_size = sizeof span};
    span.position = -1;
    span.tokens = s.g.tokens;
    span.n_tokens = 2;
    int status = slm_eval(context, &span, 1, sizeof span, NULL, &err);
    assert_says("eval", status, &err, SLM_E_UNSUPPORTED, "encoder", "slm_embed");
    slm_generate_options_init(&o, sizeof o);
    o.prompt_tokens = s.g.tokens;
    o.n_prompt_tokens = 2;
    status = slm_generate_begin(&generator, context, 0, NULL, NULL, 0, &o, &err);
    if (status == SLM_OK) {
        status = slm_generate_next(generator, &piece, &err);
    }
    assert_says("generate", status, &err, SLM_E_UNSUPPORTED, "encoder", NULL);
    slm_generate_end(generator);
    slm_context_free(context);
    subject_close(&s);
}

static int32_t free_pages(const slm_context *context)
{
    slm_context_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_context_get_info(context, &info, NULL), SLM_OK);
    return info.n_pages_free;
}

static void sequences_in_use_are_not_touched(void **state)
{
    struct subject s;
    slm_error err;
    const float *logits = NULL;
    static float before[1000];
    size_t needed = 0;
    int32_t length = 0;
    (void)state;
    subject_open(&s, "qwen3-embedding");
    slm_context *context = make_context(&s, 2, 64, 1, 0);
    slm_span span = {.struct_size = sizeof span};
    span.position = -1;
    span.tokens = s.g.tokens;
    span.n_tokens = 5;
    span.want = SLM_WANT_LAST;
    assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, NULL), SLM_OK);
    assert_int_equal(slm_logits(context, 0, &logits, NULL, NULL), SLM_OK);
    memcpy(before, logits, (size_t)s.info.n_vocab * sizeof(float));
    int32_t n_free = free_pages(context);
    embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_NONE, embed_rows[0]);
    assert_int_equal(free_pages(context), n_free);
    for (int i = 0; i < 2; i++) {
        slm_sequence_length(context, i, &length, NULL);
        assert_int_equal(length, i == 0 ? 5 : 0);
    }
    assert_int_equal(slm_logits(context, 0, &logits, NULL, NULL), SLM_OK);
    assert_memory_equal(before, logits, (size_t)s.info.n_vocab * sizeof(float));
    assert_int_equal(slm_sequence_rewind(context, 0, 4, NULL), SLM_OK);
    span.tokens = s.g.tokens + 4;
    span.n_tokens = 1;
    assert_int_equal(slm_eval(context, &span, 1, sizeof span, NULL, NULL), SLM_OK);
    assert_int_equal(slm_logits(context, 0, &logits, NULL, NULL), SLM_OK);
    assert_true(golden_nmse(before, logits, (size_t)s.info.n_vocab) < 1e-9);
    assert_int_equal(slm_sequence_fork(context, 0, 1, NULL), SLM_OK);
    slm_embed_text t = make_text(s.g.tokens, 2);
    int status = slm_embed(context, &t, 1, sizeof t, NULL, embed_rows[0], 64, &needed, &err);
    assert_says("all in use", status, &err, SLM_E_FULL, "2 sequences", NULL);
    slm_context_free(context);
    subject_close(&s);
}

static int32_t count_reports(void *user, uint64_t done, uint64_t total)
{
    int *calls = (int *)user;
    assert_true(done <= total);
    return ++*calls == 2;
}

static void a_stopped_call_leaves_the_context_as_it_was(void **state)
{
    static const int32_t cancel = 1;
    struct subject s;
    slm_error err;
    slm_embed_text texts[TEXTS];
    size_t needed = 0;
    int calls = 0;
    (void)state;
    subject_open(&s, "bert-mean");
    make_texts(&s, texts);
    slm_context *context = make_context(&s, 2, 64, 1, 0);
    int32_t n_free = free_pages(context);
    size_t n = embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_NONE, embed_rows[0]);
    slm_embed_options o = embed_options(SLM_AUTO, SLM_NORMALIZE_NONE);
    for (int i = 0; i < 3; i++) {
        o.cancel = i == 0 ? &cancel : NULL;
        o.deadline_ns = i == 1 ? slm_clock_ns() - 1 : SLM_NO_DEADLINE;
        o.progress = i == 2 ? count_reports : NULL;
        o.progress_user = &calls;
        int status = slm_embed(context, texts, TEXTS, sizeof texts[0], &o, embed_rows[1],
                               MOST_FLOATS, &needed, &err);
        assert_int_equal(status, i == 1 ? SLM_E_DEADLINE : SLM_E_CANCELLED);
        assert_int_equal(free_pages(context), n_free);
        embed_one(context, &s, SLM_AUTO, SLM_NORMALIZE_NONE, embed_rows[1]);
        assert_memory_equal(embed_rows[0], embed_rows[1], n * sizeof(float));
    }
    assert_int_equal(calls, 2);
    slm_context_free(context);
    subject_close(&s);
}

static void texts_beyond_what_there_is_room_for_are_refused(void **state)
{
    static int32_t ids[MOST_TOKENS + 1];
    static const int32_t sizes[] = {129, MOST_TOKENS + 1};
    static const char *const says[] = {"128 positions", "n_ctx 700"};
    struct subject s;
    slm_error err;
    size_t needed = 0;
    (void)state;
    subject_open(&s, "bert-mean");
    slm_context *context = make_context(&s, 1, 1024, 1, 0);
    slm_embed_text t = make_text(ids, sizes[0]);
    int status = slm_embed(context, &t, 1, sizeof t, NULL, NULL, 0, &needed, &err);
    assert_says("positions", status, &err, SLM_E_FULL, says[0], NULL);
    slm_context_free(context);
    subject_close(&s);
    subject_open(&s, "x-eurobert");
    context = make_context(&s, 1, 1024, 1, 0);
    t.n_tokens = sizes[1];
    status = slm_embed(context, &t, 1, sizeof t, NULL, NULL, 0, &needed, &err);
    assert_says("context", status, &err, SLM_E_FULL, says[1], NULL);
    slm_context_free(context);
    subject_close(&s);
}

/* ---- Hostile files --------------------------------------------------------------------------- */

static void impossible_keys_and_tensors_are_refused(void **state)
{
    static const struct {
        const char *model, *from, *to, *says, *also;
    } rows[] = {
        {"bert-mean", "pooling_type u32 1", "pooling_type u32 5", "bert.pooling_type", "is 5"},
        {"bert-mean", "pooling_type u32 1", "pooling_type i32 -1", "bert.pooling_type", "is -1"},
        {"bert-mean", "pooling_type u32 1", "pooling_type u64 4294967296", "bert.pooling_type",
         "4294967296"},
        {"bert-mean", "pooling_type u32 1", "pooling_type str \"mean\"", "bert.pooling_type",
         "no integer"},
        {"bert-mean", "causal bool 0", "causal u32 2", "bert.attention.causal", "is 2"},
        {"bert-classify", "arr:str 3 \"a\" \"b\" \"c\"", "arr:str 0", "output_labels", "strings"},
        {"bert-classify", "arr:str 3 \"a\" \"b\" \"c\"", "str \"a\"", "output_labels", "strings"},
        {"bert-classify", "arr:str 3 \"a\" \"b\" \"c\"", "arr:u32 3 1 2 3", "output_labels",
         "strings"},
        {"bert-classify", "arr:str 3 \"a\" \"b\" \"c\"", "arr:str 2 \"a\" \"b\"",
         "tensor 'cls.output.weight'", "64 x 2"},
        {"bert-classify", "tensor cls.output.weight f32 64 3", "tensor cls.output.weight f32 3 64",
         "tensor 'cls.output.weight'", "64 x 3"},
        {"bert-classify", "tensor cls.output.bias f32 3", "tensor cls.output.bias f32 2",
         "tensor 'cls.output.bias'", NULL},
        {"bert-rerank", "tensor cls.weight f32 64 64", "tensor cls.weight f32 64 32",
         "tensor 'cls.weight'", "64 x 64"},
        {"bert-mean", "tensor token_types.weight f32 64 2", "tensor token_types.weight f32 32 4",
         "tensor 'token_types.weight'", NULL},
        {"bert-mean", "tensor position_embd.weight f32 64 128",
         "tensor position_embd.weight f32 64 127", "tensor 'position_embd.weight'", NULL},
        {"bert-mean", "tensor blk.1.layer_output_norm.weight f32 64",
         "tensor blk.1.layer_output_norm.weight f32 63", "layer_output_norm.weight", NULL},
        {"modern-bert-rerank", "tensor cls.norm.weight f32 64", "tensor cls.norm.weight f32 1",
         "tensor 'cls.norm.weight'", NULL},
        {"modern-bert", "tensor blk.1.attn_norm.weight", "tensor blk.1.attn_other.weight",
         "blk.1.attn_norm.weight", "missing"},
        {"gemma-embedding", "dense_2_feat_out u32 96", "dense_2_feat_out u32 0", "dense_2_feat_out",
         NULL},
        {"gemma-embedding", "dense_2_feat_out u32 96", "dense_2_feat_out u32 95",
         "tensor 'dense_2.weight'", "64 x 95"},
        {"gemma-embedding", "tensor dense_2.weight", "tensor dense_9.weight",
         "tensor 'dense_2.weight'", "missing"},
        {"jina-bert-v2", "tensor blk.0.attn_output_norm.weight f32 64",
         "tensor blk.0.attn_norm_2.weight f32 7 scale 1 offset 0\n"
         "tensor blk.0.attn_output_norm.weight f32 64",
         "attn_norm_2.weight", NULL},
        {"jina-bert-v2", "tensor blk.0.ffn_up.weight f32 64 96",
         "tensor blk.0.ffn_up.weight f32 64 97", "blk.0.ffn_up.weight", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const edits[] = {rows[i].from, rows[i].to, NULL};
        struct subject s;
        slm_error err;
        int status = edited_open(&s, rows[i].model, edits, &err);
        assert_says(rows[i].to, status, &err, SLM_E_MODEL, rows[i].says, rows[i].also);
        subject_close(&s);
    }
}

/* Such a file may be good for something else: it opens, and only what is missing fails. */
static void a_reranker_without_a_classifier_is_an_error_when_asked(void **state)
{
    static const char *const edits[] = {"pooling_type u32 3", "pooling_type u32 4", NULL};
    struct subject s;
    slm_error err;
    (void)state;
    int status = edited_open(&s, "qwen3-embedding", edits, &err);
    assert_says("open", status, &err, SLM_OK, "", NULL);
    assert_int_equal(s.info.n_outputs, 0);
    assert_says("ask", ask(&s, SLM_AUTO, &err), &err, SLM_E_MODEL, "cls.output.weight", NULL);
    assert_int_equal(ask(&s, SLM_POOLING_NONE, &err), SLM_OK);
    subject_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_a_batch_give_the_bits_of_each_alone),
        cmocka_unit_test(the_number_of_threads_does_not_show),
        cmocka_unit_test(a_text_longer_than_a_batch),
        cmocka_unit_test(a_long_text_of_a_recurrent_model),
        cmocka_unit_test(distances_are_the_same_both_ways),
        cmocka_unit_test(vectors_have_length_1_unless_raw),
        cmocka_unit_test(scores_are_not_normalised),
        cmocka_unit_test(a_classifier_may_be_cls_alone),
        cmocka_unit_test(a_classifier_may_be_wider_than_the_model),
        cmocka_unit_test(a_buffer_too_small_is_untouched),
        cmocka_unit_test(what_a_model_gives_stands_in_its_info),
        cmocka_unit_test(a_pooling_the_model_was_not_made_for_is_refused),
        cmocka_unit_test(an_encoder_gives_no_logits),
        cmocka_unit_test(sequences_in_use_are_not_touched),
        cmocka_unit_test(a_stopped_call_leaves_the_context_as_it_was),
        cmocka_unit_test(texts_beyond_what_there_is_room_for_are_refused),
        cmocka_unit_test(impossible_keys_and_tensors_are_refused),
        cmocka_unit_test(a_reranker_without_a_classifier_is_an_error_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
