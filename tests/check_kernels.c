/* check_kernels.c - every entry of the table of kernels, for every instruction set this CPU has:
 * against an oracle in double precision, against its own contract (row ranges, tokens, borders of
 * every buffer), and against the clock with --bench. The reference is checked the same way, so that
 * a machine without vector instructions checks something.
 *
 *     check_kernels [--seed N] [--isa NAME] [--only TEXT] [--bench]
 *
 * Weights lie against a page that cannot be read, now at their end, now at their beginning. The
 * oracle, the random numbers and that memory are in kernel_oracle.h. */

#define _GNU_SOURCE 1
#include <stdio.h>
#include <time.h>

#include "../slm.c"

#include "kernel_oracle.h"

/* ---- Reports --------------------------------------------------------------------------------- */

/* What is too small to be told from 0: with -ffast-math the CPU takes denormals for 0, and a
 * product on the way to the result may be one. */
#ifdef __FAST_MATH__
#define CHECK_TINY 1e-28
#else
#define CHECK_TINY 1e-36
#endif

static int check_failures;
static int check_entry_failures;
static uint64_t check_seed;
static const char *check_only;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            if (check_entry_failures++ < 3) {                                                      \
                printf("  %s:%d: ", __FILE__, __LINE__);                                           \
                printf(__VA_ARGS__);                                                               \
                printf("\n");                                                                      \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static void check_report(const char *isa, const char *name, const char *part)
{
    printf("%s %s%s%s %s\n", isa, name, part[0] != 0 ? " " : "", part,
           check_entry_failures == 0 ? "ok" : "FAILED");
    fflush(stdout);
    check_failures += check_entry_failures != 0;
    check_entry_failures = 0;
}

/* Is the entry called for, and other than the reference's? Starts its random numbers. */
static int check_wanted(const char *name, const void *entry, const void *reference)
{
    check_state = check_seed + hash_bytes(name, string_length(name), 7);
    return (check_only == NULL || text_contains(text_of(name), check_only)) && entry != reference;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* One call on guarded buffers; y is [n_token][n_row] in the end. */
struct product_case {
    const struct kernel_product *product;
    int32_t type;
    int64_t n_row, n_token, k;
    uint8_t *w; /* n_row rows */
    uint8_t *act;
    struct guarded scratch;
};

#define Y_POISON 0x7fa5a5a5u /* a NaN that no sum gives */

static void product_run(const struct product_case *c, float *y, int64_t row0, int64_t row1,
                        int64_t token0, int64_t n_token, int at_end)
{
    const struct kernel_format *f = &kernel_formats[c->type];
    size_t row_bytes = (size_t)(c->k / f->block_elements) * (size_t)f->block_bytes;
    size_t bytes = (size_t)(row1 - row0) * row_bytes;
    struct guarded w = guarded_take(bytes, at_end, 1);
    int64_t stride = row1 + 3;
    size_t n_y = (size_t)(n_token * stride);
    float *out = (float *)malloc(n_y * sizeof(float));
    memcpy(w.p, c->w + (size_t)row0 * row_bytes, bytes);
    for (size_t i = 0; i < n_y; i++) {
        uint32_t poison = Y_POISON;
        memcpy(out + i, &poison, sizeof poison);
    }
    /* w is where row 0 would be */
    const uint8_t *row_0 = (const uint8_t *)((uintptr_t)w.p - (size_t)row0 * row_bytes);
    c->product->multiply(out, stride, row_0, row0, row1,
                         c->act + (size_t)token0 * c->product->act->row_bytes(c->k), n_token, c->k,
                         c->scratch.p);
    for (int64_t t = 0; t < n_token; t++) {
        for (int64_t r = 0; r < stride; r++) {
            const float *p = out + t * stride + r;
            int inside = r >= row0 && r < row1;
            CHECK(inside == (f32_to_bits(*p) != Y_POISON), "row %lld of token %lld is %s",
                  (long long)r, (long long)t, inside ? "not written" : "written");
        }
        memcpy(y + t * (row1 - row0), out + t * stride + row0,
               (size_t)(row1 - row0) * sizeof(float));
    }
    free(out);
    guarded_give(&w);
}

static void product_compare(struct product_case *c, const float *y, int modes)
{
    const struct kernel_format *f = &kernel_formats[c->type];
    size_t row_bytes = (size_t)(c->k / f->block_elements) * (size_t)f->block_bytes;
    /* One rounding per block of 32 and some for the values; floats are added one by one. */
    double bound = (double)(c->k / 32 + (c->product->act->name[0] == 'q' ? 12 : 48)) * 0x1p-23;
    struct oracle_weight *w =
        (struct oracle_weight *)malloc((size_t)c->k * sizeof(struct oracle_weight));
    for (int64_t r = 0; r < c->n_row; r++) {
        oracle_row(w, c->type, c->w + (size_t)r * row_bytes, c->k);
        for (int64_t t = 0; t < c->n_token; t++) {
            struct oracle_sum want = oracle_dot(c->product->act, c->type, w, c->act, t, c->k);
            double error = check_abs((double)y[t * c->n_row + r] - want.value);
            CHECK(error <= bound * want.magnitude + want.slack + CHECK_TINY,
                  "row %lld of %lld, token %lld of %lld, k %lld, modes %d: %.9g, want %.9g, "
                  "magnitude %.3g",
                  (long long)r, (long long)c->n_row, (long long)t, (long long)c->n_token,
                  (long long)c->k, modes, (double)y[t * c->n_row + r], want.value, want.magnitude);
        }
    }
    free(w);
}

/* Any part of the rows gives the same bits; for `one` any part of the tokens too. */
static void product_parts(const struct product_case *c, const float *y, int one)
{
    int64_t row0 = check_range(0, (int32_t)c->n_row - 1);
    int64_t row1 = check_range((int32_t)row0 + 1, (int32_t)c->n_row);
    int64_t t0 = 0, n = c->n_token;
    if (one) {
        t0 = check_range(0, (int32_t)c->n_token - 1);
        n = check_range(1, (int32_t)(c->n_token - t0));
    }
    float *part = (float *)malloc((size_t)(n * (row1 - row0)) * sizeof(float));
    product_run(c, part, row0, row1, t0, n, check_range(0, 1));
    for (int64_t t = 0; t < n; t++) {
        for (int64_t r = row0; r < row1; r++) {
            float a = part[t * (row1 - row0) + r - row0], b = y[(t0 + t) * c->n_row + r];
            CHECK(f32_to_bits(a) == f32_to_bits(b),
                  "row %lld of %lld..%lld, token %lld of %lld..: %.9g, in one call of %lld %.9g",
                  (long long)r, (long long)row0, (long long)row1, (long long)t, (long long)t0,
                  (double)a, (long long)c->n_token, (double)b);
        }
    }
    free(part);
}

static void product_trial(const struct kernel_product *product, int32_t type, int64_t n_token,
                          int one, struct guarded scratch, int trial)
{
    const struct kernel_format *f = &kernel_formats[type];
    struct product_case c = {product, type, check_range(1, 44), n_token, 0, NULL, NULL, scratch};
    int block = f->block_elements;
    int unit = product->act->name[0] != 'q'   ? block
               : product->act->name[3] == 'k' ? 256
                                              : (block > 32 ? block : 32);
    c.k = (int64_t)unit * check_range(1, unit == 1 ? 700 : 1 + 600 / unit);
    int weights_mode = trial % 3 == 0 ? WEIGHTS_RANDOM : check_range(0, WEIGHTS_MODES - 1);
    int input_mode = trial % 3 == 1 ? INPUT_RANDOM : check_range(0, INPUT_MODES - 1);
    if (weights_mode == WEIGHTS_ONES || weights_mode == WEIGHTS_MINUS) {
        input_mode = trial % 2 ? INPUT_SAME : input_mode;
    }
    size_t row_bytes = (size_t)(c.k / block) * (size_t)f->block_bytes;
    size_t act_bytes = product->act->row_bytes(c.k);
    c.w = (uint8_t *)malloc((size_t)c.n_row * row_bytes);
    weights_fill(c.w, type, c.n_row * (c.k / block), weights_mode);
    float *x = (float *)malloc((size_t)(c.n_token * c.k) * sizeof(float));
    input_fill(x, c.n_token * c.k, input_mode);
    struct guarded act =
        guarded_take((size_t)act_tokens(product->act, c.n_token) * act_bytes, 1, 64);
    c.act = act.p;
    product->act->prepare(c.act, x, c.n_token, c.k);

    size_t need = product->scratch_bytes(c.n_token, c.k);
    c.scratch.p = scratch.map + scratch.map_bytes - GUARD_PAGE - act_pad(need);
    float *y = (float *)malloc((size_t)(c.n_token * c.n_row) * sizeof(float));
    product_run(&c, y, 0, c.n_row, 0, c.n_token, trial % 2);
    product_compare(&c, y, weights_mode * 10 + input_mode);
    product_parts(&c, y, one);
    free(y);
    free(x);
    free(c.w);
    guarded_give(&act);
}

static void check_product(const char *isa, const char *name, const char *part,
                          const struct kernel_product *product, int32_t type,
                          const struct kernel_product *reference, int32_t tokens_min,
                          int32_t tokens_max, int one)
{
    char label[64];
    snprintf(label, sizeof label, "%s %s", name, part);
    if (!check_wanted(label, product, reference)) {
        return;
    }
    size_t most = 0;
    for (int64_t k = 256; k <= 1024; k += 256) {
        most = (size_t)max_i64((int64_t)most, (int64_t)product->scratch_bytes(tokens_max, k));
    }
    /* One buffer for all trials: nothing may depend on what a call before left there. */
    struct guarded scratch = guarded_take(most + 64, 1, 64);
    for (int trial = 0; trial < 24; trial++) {
        int32_t n_token = trial < 4 ? tokens_min : check_range(tokens_min, tokens_max);
        product_trial(product, type, n_token, one, scratch, trial);
    }
    guarded_give(&scratch);
    check_report(isa, label, "");
}

static void check_matrix(const char *isa, const char *prefix, int32_t type,
                         const struct kernel_matrix *m, const struct kernel_matrix *reference)
{
    char name[32];
    int same = m->one == reference->one && m->few == reference->few && m->many == reference->many &&
               m != reference;
    if (kernel_formats[type].decode == NULL || same) {
        return;
    }
    int is_reference = m == reference;
    snprintf(name, sizeof name, "%s%s", prefix, kernel_formats[type].name);
    check_product(isa, name, "one", m->one, type, is_reference ? NULL : reference->one, 1, 9, 1);
    if (m->few != m->one) {
        check_product(isa, name, "few", m->few, type, is_reference ? NULL : reference->one,
                      min_i32(m->few_min, 2), 17, 0);
    }
    if (m->many != m->one && m->many != m->few) {
        check_product(isa, name, "many", m->many, type, is_reference ? NULL : reference->one, 2, 40,
                      0);
    }
}

/* ---- Activations ----------------------------------------------------------------------------- */

/* Bytes of the reference if it has the form, and no byte beyond the rows. */
static void check_act(const char *isa, const struct kernel_act *act, const struct kernel_act *ref)
{
    char label[32];
    snprintf(label, sizeof label, "prepare %s", act->name);
    if (!check_wanted(label, (const void *)act, NULL)) {
        return;
    }
    for (int trial = 0; trial < 60; trial++) {
        int unit = act->name[0] != 'q' ? 1 : act->name[3] == 'k' ? 256 : 32;
        int64_t k = (int64_t)unit * check_range(1, unit == 1 ? 300 : 9);
        int64_t n_token = check_range(1, 4);
        size_t bytes = (size_t)act_tokens(act, n_token) * act->row_bytes(k);
        struct guarded x = guarded_take((size_t)(n_token * k) * 4, trial % 2, 4);
        struct guarded a = guarded_take(bytes, 1, 64), b = guarded_take(bytes, 1, 64);
        input_fill((float *)(void *)x.p, n_token * k, trial % INPUT_MODES);
        act->prepare(a.p, (const float *)(const void *)x.p, n_token, k);
        CHECK(act->row_bytes(k) % 64 == 0, "row_bytes of k %lld", (long long)k);
        if (ref != NULL) {
            ref->prepare(b.p, (const float *)(const void *)x.p, n_token, k);
            CHECK(act->row_bytes(k) == ref->row_bytes(k), "row_bytes of k %lld", (long long)k);
            CHECK(memcmp(a.p, b.p, bytes) == 0, "k %lld, mode %d: other bytes than the reference",
                  (long long)k, trial % INPUT_MODES);
        }
        for (int64_t e = 0; e < k; e++) { /* and they say what the input was */
            double want = (double)((const float *)(const void *)x.p)[e];
            double got = oracle_act(act, a.p, 0, k, e), most = 1e-30;
            for (int64_t i = e / unit * unit; i < k && i < (e / unit + 1) * unit; i++) {
                double v = check_abs((double)((const float *)(const void *)x.p)[i]);
                most = v > most ? v : most;
            }
            CHECK(check_abs(got - want) <= most * 0.0061 + 1e-5 * (most < 1e-4),
                  "element %lld: %g for %g", (long long)e, got, want);
        }
        guarded_give(&x);
        guarded_give(&a);
        guarded_give(&b);
    }
    check_report(isa, label, "");
}

/* A form that the reference does not have. */
static void check_act_of(const char *isa, const struct kernel_product *product)
{
    if (product->act->name[0] == 'b') {
        check_act(isa, product->act, NULL);
    }
}

/* ---- Attention ------------------------------------------------------------------------------- */

/* In double, from the same pages; with the kernel's own maximum, whose rounding is not an error. */
static void attention_compare(const struct kernel_attention_job *j, int32_t kv)
{
    double *out = (double *)malloc((size_t)j->head_dim_v * sizeof(double));
    double *size = (double *)malloc((size_t)j->head_dim_v * sizeof(double));
    for (int32_t i = 0; i < j->n_q; i++) {
        double sum = 0, max = -1e300;
        for (int32_t e = 0; e < j->head_dim_v; e++) {
            out[e] = size[e] = 0;
        }
        int32_t from = max_i32(j->from[i], j->position0), to = min_i32(j->to[i], j->position1);
        for (int32_t p = from; p < to; p++) {
            const uint8_t *v = j->pages[p / KV_PAGE] + j->v_offset;
            double s = oracle_score(j, kv, i, p), weight = oracle_exp(s - (double)j->max[i]);
            max = s > max ? s : max;
            sum += weight;
            for (int32_t e = 0; e < j->head_dim_v; e++) {
                double x = weight * oracle_kv(v, kv, (int64_t)(p % KV_PAGE) * j->head_dim_v + e);
                out[e] += x;
                size[e] += check_abs(x);
            }
        }
        if (from >= to) {
            CHECK(f32_to_bits(j->max[i]) == 0xff800000u && j->sum[i] == 0, "query %d sees nothing",
                  i);
        } else {
            CHECK(check_abs((double)j->max[i] - max) < 2e-5, "query %d: max %g, want %g", i,
                  (double)j->max[i], max);
        }
        CHECK(check_abs((double)j->sum[i] - sum) <= 3e-5 * sum, "query %d: sum %g, want %g", i,
              (double)j->sum[i], sum);
        for (int32_t e = 0; e < j->head_dim_v; e++) {
            double got = (double)j->out[i * j->out_stride + e];
            CHECK(check_abs(got - out[e]) <= 3e-5 * size[e] + 1e-30,
                  "query %d of %d, element %d of %d, run %d..%d: %.9g, want %.9g", i, j->n_q, e,
                  j->head_dim_v, j->position0, j->position1, got, out[e]);
        }
        for (int64_t e = j->head_dim_v; e < j->out_stride; e++) {
            CHECK(f32_to_bits(j->out[i * j->out_stride + e]) == Y_POISON,
                  "query %d: wrote beyond out", i);
        }
    }
    free(out);
    free(size);
}

#define TRIAL_QUERIES 11
#define ATTENTION_PAGES 5

/* What no query sees is NaN, what is not of the run does not exist. */
static void attention_pages(struct kernel_attention_job *j, int32_t kv, struct guarded *pages,
                            const uint8_t **list)
{
    size_t width = kv == KV_F16 ? 2 : 4;
    size_t k_bytes = KV_PAGE * (size_t)j->head_dim * width;
    size_t v_bytes = KV_PAGE * (size_t)j->head_dim_v * width;
    j->k_offset = 4 * (size_t)check_range(0, 3);
    j->v_offset = j->k_offset + k_bytes;
    for (int32_t n = 0; n < ATTENTION_PAGES; n++) {
        list[n] = NULL;
        pages[n].map = NULL;
        if (n < j->position0 / KV_PAGE || n * KV_PAGE >= j->position1) {
            continue;
        }
        pages[n] = guarded_take(j->v_offset + v_bytes, 1, 4);
        list[n] = pages[n].p;
        memset(pages[n].p, 0xff, j->v_offset + v_bytes); /* NaN in both types */
        for (int32_t p = n * KV_PAGE; p < (n + 1) * KV_PAGE; p++) {
            int seen = 0;
            for (int32_t i = 0; i < j->n_q; i++) {
                seen |= p >= j->position0 && p < j->position1 && j->from[i] <= p && p < j->to[i];
            }
            for (int32_t e = 0; seen && e < j->head_dim + j->head_dim_v; e++) {
                size_t at =
                    e < j->head_dim
                        ? j->k_offset +
                              ((size_t)(p % KV_PAGE) * (size_t)j->head_dim + (size_t)e) * width
                        : j->v_offset + ((size_t)(p % KV_PAGE) * (size_t)j->head_dim_v +
                                         (size_t)(e - j->head_dim)) *
                                            width;
                float v = check_float();
                uint16_t h = f32_to_f16(v);
                memcpy(pages[n].p + at, kv == KV_F16 ? (const void *)&h : (const void *)&v, width);
            }
        }
    }
    j->pages = list;
}

static void attention_poison(float *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t poison = Y_POISON;
        memcpy(p + i, &poison, sizeof poison);
    }
}

/* Each query alone gives the same bits. */
static void attention_alone(const struct kernel_attention_job *j, void *scratch,
                            void (*kernel)(const struct kernel_attention_job *, void *))
{
    float *out = (float *)malloc((size_t)j->head_dim_v * sizeof(float));
    for (int32_t i = 0; i < j->n_q; i++) {
        struct kernel_attention_job one = *j;
        float max, sum;
        one.q = j->q + i * j->q_stride;
        one.n_q = 1;
        one.from = j->from + i;
        one.to = j->to + i;
        one.slopes = j->slopes != NULL ? j->slopes + i : NULL;
        one.at = j->at + i;
        one.max = &max;
        one.sum = &sum;
        one.out = out;
        kernel(&one, scratch);
        CHECK(f32_to_bits(max) == f32_to_bits(j->max[i]) &&
                  f32_to_bits(sum) == f32_to_bits(j->sum[i]) &&
                  memcmp(out, j->out + i * j->out_stride, (size_t)j->head_dim_v * 4) == 0,
              "query %d of %d alone gives other bits", i, j->n_q);
    }
    free(out);
}

static void attention_trial(void (*kernel)(const struct kernel_attention_job *, void *), int32_t kv,
                            int trial)
{
    static const int32_t dims[] = {1, 3, 7, 8, 16, 31, 32, 64, 65, 80, 96, 128, 200, 256, 333};
    struct kernel_attention_job j;
    struct guarded pages[ATTENTION_PAGES];
    const uint8_t *list[ATTENTION_PAGES];
    int32_t from[TRIAL_QUERIES], to[TRIAL_QUERIES], at[TRIAL_QUERIES];
    float max[TRIAL_QUERIES], sum[TRIAL_QUERIES], slopes[TRIAL_QUERIES];
    memset(&j, 0, sizeof j);
    j.head_dim = dims[check_range(0, SLM_COUNT(dims) - 1)];
    j.head_dim_v = trial % 3 == 0 ? dims[check_range(0, SLM_COUNT(dims) - 1)] : j.head_dim;
    j.n_q = check_range(1, TRIAL_QUERIES);
    j.q_stride = j.head_dim + check_range(0, 5);
    j.out_stride = j.head_dim_v + check_range(1, 5);
    j.softcap = trial % 4 == 0 ? 5.0f : 0;
    j.position0 = check_range(0, 300);
    j.position1 = check_range(j.position0 + 1, ATTENTION_PAGES * KV_PAGE);
    for (int32_t i = 0; i < j.n_q; i++) {
        int same = trial % 2;
        from[i] = same ? 0 : check_range(0, j.position1);
        to[i] = same ? j.position1 - j.n_q / 2 + i : check_range(0, 700);
        at[i] = check_range(0, 700);
        slopes[i] = (float)check_range(0, 8) / 128;
    }
    j.slopes = trial % 8 < 4 && j.softcap == 0 ? slopes : NULL;
    j.at = at;
    j.from = from;
    j.to = to;
    j.max = max;
    j.sum = sum;
    attention_pages(&j, kv, pages, list);
    struct guarded q =
        guarded_take(((size_t)(j.n_q - 1) * (size_t)j.q_stride + (size_t)j.head_dim) * 4, 1, 4);
    struct guarded scratch = guarded_take(ATTENTION_SCRATCH(j.n_q), 1, 64);
    float *query = (float *)(void *)q.p;
    for (int64_t i = 0; i < (j.n_q - 1) * j.q_stride + j.head_dim; i++) {
        query[i] = check_float() * 2 / (float)math_sqrt((double)j.head_dim);
    }
    j.q = query;
    j.out = (float *)malloc((size_t)(j.n_q * j.out_stride) * sizeof(float));
    attention_poison(j.out, j.n_q * j.out_stride);
    kernel(&j, scratch.p);
    attention_compare(&j, kv);
    attention_alone(&j, scratch.p, kernel);
    free(j.out);
    guarded_give(&q);
    guarded_give(&scratch);
    for (int32_t n = 0; n < ATTENTION_PAGES; n++) {
        if (pages[n].map != NULL) {
            guarded_give(&pages[n]);
        }
    }
}

static void check_attention(const char *isa, const struct kernels *k, const struct kernels *ref)
{
    static const char *const names[KV_COUNT] = {"attention f16", "attention f32"};
    for (int32_t kv = 0; kv < KV_COUNT; kv++) {
        const void *other = k == ref ? NULL : (const void *)(uintptr_t)ref->attention[kv];
        if (check_wanted(names[kv], (const void *)(uintptr_t)k->attention[kv], other)) {
            for (int trial = 0; trial < 40; trial++) {
                attention_trial(k->attention[kv], kv, trial);
            }
            check_report(isa, names[kv], "");
        }
    }
}

/* ---- Vectors --------------------------------------------------------------------------------- */

/* Inputs and outputs against the end of their room, n elements each. */
struct vectors {
    int64_t n;
    struct guarded a, b, c, y;
};

static float *vector_of(const struct guarded *g)
{
    return (float *)(void *)g->p;
}

static struct vectors vectors_take(int trial)
{
    struct vectors v;
    v.n = trial < 40 ? trial + 1 : check_range(41, 3000);
    v.a = guarded_take((size_t)v.n * 4, trial % 2, 4);
    v.b = guarded_take((size_t)v.n * 4, trial % 2, 4);
    v.c = guarded_take((size_t)v.n * 4, trial % 2, 4);
    v.y = guarded_take((size_t)v.n * 4, trial % 2, 4);
    for (int64_t i = 0; i < v.n; i++) {
        vector_of(&v.a)[i] = check_float() * (trial % 5 == 0 ? 40.0f : 1.0f);
        vector_of(&v.b)[i] = check_float();
        vector_of(&v.c)[i] = check_float();
    }
    return v;
}

static void vectors_give(struct vectors *v)
{
    guarded_give(&v->a);
    guarded_give(&v->b);
    guarded_give(&v->c);
    guarded_give(&v->y);
}

static void vector_compare(const char *what, const float *y, int64_t i, double want, double size)
{
    CHECK(check_abs((double)y[i] - want) <= 4e-7 * size + CHECK_TINY,
          "%s element %lld: %.9g, want %.9g", what, (long long)i, (double)y[i], want);
}

static void trial_rms_norm(const struct kernels *k, struct vectors *v, int trial)
{
    const float *x = vector_of(&v->a), *weight = trial % 3 == 0 ? NULL : vector_of(&v->b);
    float eps = trial % 2 ? 1e-5f : 1e-6f;
    double squares = 0;
    for (int64_t i = 0; i < v->n; i++) {
        squares += (double)x[i] * (double)x[i];
    }
    double scale = 1 / math_sqrt(squares / (double)v->n + (double)eps);
    k->rms_norm(vector_of(&v->y), x, weight, v->n, eps);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (double)x[i] * scale * (weight != NULL ? (double)weight[i] : 1);
        vector_compare("rms_norm", vector_of(&v->y), i, want, check_abs(want));
    }
    k->rms_norm(vector_of(&v->a), x, weight, v->n, eps);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (double)vector_of(&v->y)[i];
        vector_compare("rms_norm in place", vector_of(&v->a), i, want, check_abs(want));
    }
}

static void trial_layer_norm(const struct kernels *k, struct vectors *v, int trial)
{
    float *x = vector_of(&v->a);
    const float *weight = trial % 3 == 0 ? NULL : vector_of(&v->b);
    const float *bias = trial % 4 == 0 ? NULL : vector_of(&v->c);
    float eps = trial % 2 ? 1e-5f : 1e-6f;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < v->n; i++) {
        x[i] += trial % 7 == 0 ? 3000.0f : 0; /* far from 0, where squares would lose digits */
        sum += (double)x[i];
    }
    double mean = sum / (double)v->n;
    for (int64_t i = 0; i < v->n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    double scale = 1 / math_sqrt(squares / (double)v->n + (double)eps);
    k->layer_norm(vector_of(&v->y), x, weight, bias, v->n, eps);
    for (int64_t i = 0; i < v->n; i++) {
        double w = weight != NULL ? (double)weight[i] : 1, b = bias != NULL ? (double)bias[i] : 0;
        double want = ((double)x[i] - mean) * scale * w + b;
        double size = (check_abs((double)x[i]) + check_abs(mean)) * scale * check_abs(w);
        vector_compare("layer_norm", vector_of(&v->y), i, want, size + check_abs(b));
    }
    k->layer_norm(vector_of(&v->a), x, weight, bias, v->n, eps);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (double)vector_of(&v->y)[i];
        vector_compare("layer_norm in place", vector_of(&v->a), i, want, check_abs(want));
    }
}

static void trial_rope(const struct kernels *k, struct vectors *v, int neox)
{
    int64_t n_rot = v->n / 2 * 2, half = n_rot / 2;
    float *x = vector_of(&v->a), *y = vector_of(&v->y);
    struct guarded c = guarded_take((size_t)half * 4, 1, 4),
                   s = guarded_take((size_t)half * 4, 1, 4);
    for (int64_t i = 0; i < half; i++) {
        vector_of(&c)[i] = check_float();
        vector_of(&s)[i] = check_float();
    }
    memcpy(y, x, (size_t)v->n * 4);
    k->rope[neox](y, vector_of(&c), vector_of(&s), n_rot);
    for (int64_t i = 0; i < half; i++) {
        int64_t at = neox ? i : 2 * i, other = neox ? half + i : 2 * i + 1;
        double a = (double)x[at], b = (double)x[other];
        double cosine = (double)vector_of(&c)[i], sine = (double)vector_of(&s)[i];
        double size = check_abs(a * cosine) + check_abs(b * sine) + check_abs(a * sine) +
                      check_abs(b * cosine);
        vector_compare("rope", y, at, a * cosine - b * sine, size);
        vector_compare("rope", y, other, a * sine + b * cosine, size);
    }
    CHECK(v->n == n_rot || f32_to_bits(y[v->n - 1]) == f32_to_bits(x[v->n - 1]),
          "rope turned more than n_rot");
    guarded_give(&c);
    guarded_give(&s);
}

static void trial_swiglu(const struct kernels *k, struct vectors *v, int trial)
{
    float *gate = vector_of(&v->a), *up = vector_of(&v->b);
    const float *factor = trial % 3 == 0 ? NULL : up;
    k->swiglu(vector_of(&v->y), gate, factor, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double g = (double)gate[i];
        double want = g / (1 + oracle_exp(-g)) * (factor != NULL ? (double)up[i] : 1);
        vector_compare("swiglu", vector_of(&v->y), i, want, check_abs(want) * 2);
    }
    /* In place: y is up, then y is gate. */
    k->swiglu(vector_of(&v->y), gate, up, v->n);
    for (int which = 0; which < 2; which++) {
        float *y = which == 0 ? vector_of(&v->c) : gate;
        memcpy(vector_of(&v->c), up, (size_t)v->n * 4);
        k->swiglu(y, gate, which == 0 ? y : up, v->n);
        for (int64_t i = 0; i < v->n; i++) {
            double want = (double)vector_of(&v->y)[i];
            vector_compare("swiglu in place", y, i, want, check_abs(want));
        }
    }
}

static double check_clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static void trial_swiglu_clamped(const struct kernels *k, struct vectors *v)
{
    float *gate = vector_of(&v->a), *up = vector_of(&v->b);
    k->swiglu_clamped(vector_of(&v->y), gate, up, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double g = check_clamp((double)gate[i], -1e30, 7), u = check_clamp((double)up[i], -7, 7);
        double silu = g / (1 + oracle_exp(-1.702 * g));
        double size = check_abs(silu) * (1 + check_abs(u)) * (2 + check_abs(g));
        vector_compare("swiglu_clamped", vector_of(&v->y), i, silu * (u + 1), size);
    }
    k->swiglu_clamped(gate, gate, up, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (double)vector_of(&v->y)[i];
        vector_compare("swiglu_clamped in place", gate, i, want, check_abs(want));
    }
}

static double oracle_gelu(double x)
{
    double u = 2 * math_sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
    return x / (1 + oracle_exp(-u));
}

static double oracle_relu_squared(double x)
{
    return x > 0 ? x * x : 0;
}

/* Activations whose second factor may be absent. Far below 0 gelu is exp of a large number, which
 * carries the rounding of that number: hence the cube. */
static void trial_activation(void (*act)(float *y, const float *x, const float *up, int64_t n),
                             double (*oracle)(double x), const char *name, struct vectors *v,
                             int trial)
{
    float *x = vector_of(&v->a), *up = trial % 3 == 0 ? NULL : vector_of(&v->b);
    act(vector_of(&v->y), x, up, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double a = (double)x[i], cube = check_abs(a * a * a);
        double want = oracle(a) * (up != NULL ? (double)up[i] : 1);
        vector_compare(name, vector_of(&v->y), i, want, check_abs(want) * (2 + cube));
    }
    act(x, x, up, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (double)vector_of(&v->y)[i];
        vector_compare(name, x, i, want, check_abs(want));
    }
}

static void trial_softcap(const struct kernels *k, struct vectors *v, int trial)
{
    float cap = trial % 2 ? 30.0f : 0.5f;
    memcpy(v->y.p, v->a.p, (size_t)v->n * 4);
    k->softcap(vector_of(&v->y), v->n, cap);
    for (int64_t i = 0; i < v->n; i++) {
        double u = (double)vector_of(&v->a)[i] / (double)cap;
        double want = (double)cap * (1 - 2 / (oracle_exp(2 * u) + 1));
        vector_compare("softcap", vector_of(&v->y), i, want, check_abs(want));
    }
}

/* Distinct numbers, or one number n times, whose deviation is 0. */
static void trial_cut(const struct kernels *k, struct vectors *v, int trial)
{
    float *x = vector_of(&v->a), *y = vector_of(&v->y), factor = (float)(trial % 3) * 0.7f;
    double mean = 0, variance = 0, n = (double)v->n;
    for (int64_t i = 0; i < v->n; i++) {
        x[i] = trial % 10 == 9 ? x[0] : x[i];
        mean += (double)x[i] / n;
    }
    for (int64_t i = 0; i < v->n; i++) {
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (n > 1 ? n - 1 : 1);
    }
    double cut = mean + (double)factor * math_sqrt(variance);
    memcpy(y, x, (size_t)v->n * 4);
    k->cut(y, v->n, factor);
    for (int64_t i = 0; i < v->n; i++) {
        double above = (double)x[i] - cut;
        vector_compare("cut", y, i, above > 0 ? above : 0,
                       check_abs((double)x[i]) + check_abs(cut));
    }
}

static double oracle_softplus(double x)
{
    double t = oracle_exp(-check_abs(x)), s = t / (2 + t), sum = 0;
    for (int i = 41; i > 0; i -= 2) { /* 2 artanh(s) = ln(1 + t) */
        sum = sum * s * s + 2.0 / i;
    }
    return (x > 0 ? x : 0) + sum * s;
}

static void trial_softplus(const struct kernels *k, struct vectors *v)
{
    float *x = vector_of(&v->a);
    k->softplus(vector_of(&v->y), x, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double want = oracle_softplus((double)x[i]);
        vector_compare("softplus", vector_of(&v->y), i, want, want * 2);
    }
    k->softplus(x, x, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (double)vector_of(&v->y)[i];
        vector_compare("softplus in place", x, i, want, want);
    }
}

/* State spaces: b and c behind one another, what decays by exp(step * a) in `own`. */
struct ssm_trial {
    struct guarded state, bc, a;
    struct kernel_ssm s;
    struct kernel_ssm_channels own;
    float *before; /* the state */
};

static struct ssm_trial ssm_take(struct vectors *v, int trial)
{
    struct ssm_trial t;
    int64_t n_state = trial % 4 == 0 ? 1 : check_range(2, 130), stride = v->n + trial % 3;
    size_t n_a = (size_t)((n_state - 1) * stride + v->n), bytes = (size_t)(n_state * v->n) * 4;
    t.state = guarded_take(bytes, trial % 2, 4);
    t.bc = guarded_take((size_t)n_state * 8, trial % 2, 4);
    t.a = guarded_take(n_a * 4, trial % 2, 4);
    t.before = (float *)malloc(bytes);
    for (int64_t i = 0; i < n_state * v->n; i++) {
        t.before[i] = check_float();
    }
    memcpy(t.state.p, t.before, bytes);
    for (int64_t i = 0; i < 2 * n_state; i++) {
        vector_of(&t.bc)[i] = check_float();
    }
    for (size_t i = 0; i < n_a; i++) {
        vector_of(&t.a)[i] = -2 * (float)check_abs((double)check_float());
    }
    for (int64_t i = 0; i < v->n; i++) {
        vector_of(&v->b)[i] = (float)check_abs((double)vector_of(&v->b)[i]);
    }
    t.s = (struct kernel_ssm){vector_of(&v->y),
                              vector_of(&t.state),
                              vector_of(&v->a),
                              vector_of(&t.bc),
                              vector_of(&t.bc) + n_state,
                              n_state,
                              v->n};
    t.own =
        (struct kernel_ssm_channels){vector_of(&v->b), vector_of(&t.a), stride, vector_of(&v->c)};
    return t;
}

static void trial_ssm_channels(const struct kernels *k, struct vectors *v, int trial)
{
    struct ssm_trial t = ssm_take(v, trial);
    const struct kernel_ssm *s = &t.s;
    k->ssm_channels(s, &t.own);
    for (int64_t i = 0; i < s->n; i++) {
        double skip = (double)t.own.skip[i] * (double)s->x[i], sum = skip, size = check_abs(skip);
        for (int64_t j = 0; j < s->n_state; j++) {
            int64_t at = j * s->n + i;
            double exponent = (double)t.own.step[i] * (double)t.own.a[j * t.own.a_stride + i];
            double kept = oracle_exp(exponent) * (double)t.before[at];
            double added = (double)s->b[j] * (double)t.own.step[i] * (double)s->x[i];
            double each = check_abs(kept) * (2 + check_abs(exponent)) + check_abs(added);
            vector_compare("state", s->state, at, kept + added, each);
            sum += (double)s->c[j] * (kept + added);
            size += check_abs((double)s->c[j]) * each;
        }
        vector_compare("y", s->y, i, sum, size * (1 + (double)s->n_state / 8));
    }
    guarded_give(&t.state);
    guarded_give(&t.bc);
    guarded_give(&t.a);
    free(t.before);
}

static void trial_add(const struct kernels *k, struct vectors *v)
{
    memcpy(v->y.p, v->b.p, (size_t)v->n * 4);
    k->add(vector_of(&v->y), vector_of(&v->a), v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double a = (double)vector_of(&v->a)[i], b = (double)vector_of(&v->b)[i];
        vector_compare("add", vector_of(&v->y), i, a + b, check_abs(a) + check_abs(b));
    }
}

static void trial_sigmoid_gate(const struct kernels *k, struct vectors *v, int trial)
{
    float *gate = vector_of(&v->a), *x = trial % 3 == 0 ? NULL : vector_of(&v->b);
    k->sigmoid_gate(vector_of(&v->y), gate, x, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (x != NULL ? (double)x[i] : 1) / (1 + oracle_exp(-(double)gate[i]));
        vector_compare("sigmoid_gate", vector_of(&v->y), i, want, check_abs(want) * 2);
    }
    k->sigmoid_gate(gate, gate, x, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double want = (double)vector_of(&v->y)[i];
        vector_compare("sigmoid_gate in place", gate, i, want, check_abs(want));
    }
}

/* Rounded once, or once after the product and once after the sum: the same bits everywhere. */
static void trial_multiply(const struct kernels *k, struct vectors *v, int trial)
{
    float *a = vector_of(&v->a), *b = vector_of(&v->b), *y = vector_of(&v->y);
    k->multiply(y, a, b, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        float want = a[i] * b[i];
        CHECK(f32_to_bits(y[i]) == f32_to_bits(want), "multiply: %.9g, want %.9g", (double)y[i],
              (double)want);
    }
    k->multiply(trial % 2 ? a : b, a, b, v->n);
    CHECK(memcmp(trial % 2 ? a : b, y, (size_t)v->n * 4) == 0, "multiply in place");
}

static void trial_add_scaled(const struct kernels *k, struct vectors *v)
{
    float *x = vector_of(&v->a), *before = vector_of(&v->b), *y = vector_of(&v->y);
    float scale = check_float();
    memcpy(y, before, (size_t)v->n * 4);
    k->add_scaled(y, x, scale, v->n);
    for (int64_t i = 0; i < v->n; i++) {
        double a = (double)before[i], b = (double)scale * (double)x[i];
        vector_compare("add_scaled", y, i, a + b, check_abs(a) + check_abs(b));
    }
}

/* Square: the first so many of the vectors' elements. */
static void trial_rwkv_step(const struct kernels *k, struct vectors *v, int trial)
{
    const int64_t n = v->n < 130 ? v->n : 64 + trial;
    struct guarded state = guarded_take((size_t)(n * n) * 4, 1, 4);
    struct guarded rest = guarded_take((size_t)(8 * n) * 4, 1, 4);
    float *s = vector_of(&state), *at = vector_of(&rest);
    float *before = (float *)malloc((size_t)(n * n) * sizeof(float));
    for (int64_t i = 0; i < n * n; i++) {
        before[i] = s[i] = check_float();
    }
    for (int64_t i = 0; i < 6 * n; i++) {
        at[i] = check_float();
    }
    struct kernel_rwkv_step step = {s,          at,         at + n,     at + 2 * n, at + 3 * n,
                                    at + 4 * n, at + 5 * n, at + 6 * n, at + 7 * n, n};
    k->rwkv_step(&step);
    for (int64_t i = 0; i < n; i++) {
        double old = 0, old_size = 0, y = 0, y_size = 0;
        for (int64_t j = 0; j < n; j++) {
            double term = (double)step.removal[j] * (double)before[j * n + i];
            old += term;
            old_size += check_abs(term);
        }
        for (int64_t j = 0; j < n; j++) {
            double kept = (double)step.decay[j] * (double)before[j * n + i];
            double added = (double)step.k[j] * (double)step.v[i];
            double want = kept + (double)step.insertion[j] * old + added;
            double size = check_abs(kept) + check_abs(added) +
                          check_abs((double)step.insertion[j]) * old_size;
            vector_compare("state of rwkv_step", s + j * n + i, 0, want, size);
            y += (double)step.r[j] * want;
            y_size += check_abs((double)step.r[j]) * size;
        }
        vector_compare("rwkv_step", step.y, i, y, y_size);
    }
    free(before);
    guarded_give(&state);
    guarded_give(&rest);
}

static void trial_argmax(const struct kernels *k, struct vectors *v, int trial)
{
    static const uint32_t special[] = {0xff800000u, 0x7f800000u, 0x7fc00000u,
                                       0xffc00001u, 0,           0x80000000u};
    float *x = vector_of(&v->a);
    for (int64_t i = 0; i < v->n; i++) {
        x[i] = (float)check_range(-20, 20);
        if (trial % 4 != 0 && check_u32() % 3 == 0) {
            x[i] = bits_to_f32(special[check_range(0, trial % 4 == 1 ? 5 : 3)]);
        }
        if (trial % 8 == 3) {
            x[i] = bits_to_f32(special[trial % 16 == 3 ? 2 : 2 * check_range(0, 1)]);
        }
    }
    int64_t want = 0;
    for (int64_t i = 1; i < v->n; i++) {
        if (!f32_is_nan(x[i]) && (f32_is_nan(x[want]) || x[i] > x[want])) {
            want = i;
        }
    }
    int64_t got = k->argmax(x, v->n);
    CHECK(got == want, "argmax of %lld: %lld, want %lld", (long long)v->n, (long long)got,
          (long long)want);
}

static void trial_kv_store(const struct kernels *k, struct vectors *v, int32_t kv, int trial)
{
    size_t width = kv == KV_F16 ? 2 : 4;
    struct guarded to = guarded_take((size_t)v->n * width, trial % 2, 2);
    for (int64_t i = 0; trial % 3 == 0 && i < v->n; i++) { /* all of f16's range and beyond */
        uint32_t bits = 0x30000000u + check_u32() % 0x1a000000u;
        vector_of(&v->a)[i] = bits_to_f32(bits | (check_u32() & 0x80000000u));
    }
    k->kv_store[kv](to.p, vector_of(&v->a), v->n);
    for (int64_t i = 0; i < v->n; i++) {
        float x = vector_of(&v->a)[i];
        if (kv == KV_F32) {
            CHECK(load_u32(to.p + 4 * i) == f32_to_bits(x), "kv_store element %lld", (long long)i);
        } else {
            CHECK(load_u16(to.p + 2 * i) == f32_to_f16(x), "kv_store %g: %04x, want %04x",
                  (double)x, load_u16(to.p + 2 * i), f32_to_f16(x));
        }
    }
    guarded_give(&to);
}

enum {
    VECTOR_RMS_NORM,
    VECTOR_ROPE_NORM,
    VECTOR_ROPE_NEOX,
    VECTOR_SWIGLU,
    VECTOR_LAYER_NORM,
    VECTOR_SWIGLU_CLAMPED,
    VECTOR_GELU,
    VECTOR_RELU_SQUARED,
    VECTOR_SOFTCAP,
    VECTOR_CUT,
    VECTOR_SOFTPLUS,
    VECTOR_SSM_CHANNELS,
    VECTOR_ADD,
    VECTOR_SIGMOID_GATE,
    VECTOR_MULTIPLY,
    VECTOR_ADD_SCALED,
    VECTOR_RWKV_STEP,
    VECTOR_ARGMAX,
    VECTOR_STORE_F16,
    VECTOR_STORE_F32,
    VECTOR_COUNT
};

static void vector_trial(const struct kernels *k, int which, int trial)
{
    struct vectors v = vectors_take(trial);
    switch (which) {
    case VECTOR_RMS_NORM:
        trial_rms_norm(k, &v, trial);
        break;
    case VECTOR_ROPE_NORM:
    case VECTOR_ROPE_NEOX:
        trial_rope(k, &v, which == VECTOR_ROPE_NEOX);
        break;
    case VECTOR_SWIGLU:
        trial_swiglu(k, &v, trial);
        break;
    case VECTOR_LAYER_NORM:
        trial_layer_norm(k, &v, trial);
        break;
    case VECTOR_SWIGLU_CLAMPED:
        trial_swiglu_clamped(k, &v);
        break;
    case VECTOR_GELU:
        trial_activation(k->gelu, oracle_gelu, "gelu", &v, trial);
        break;
    case VECTOR_RELU_SQUARED:
        trial_activation(k->relu_squared, oracle_relu_squared, "relu_squared", &v, trial);
        break;
    case VECTOR_SOFTCAP:
        trial_softcap(k, &v, trial);
        break;
    case VECTOR_CUT:
        trial_cut(k, &v, trial);
        break;
    case VECTOR_SOFTPLUS:
        trial_softplus(k, &v);
        break;
    case VECTOR_SSM_CHANNELS:
        trial_ssm_channels(k, &v, trial);
        break;
    case VECTOR_ADD:
        trial_add(k, &v);
        break;
    case VECTOR_SIGMOID_GATE:
        trial_sigmoid_gate(k, &v, trial);
        break;
    case VECTOR_MULTIPLY:
        trial_multiply(k, &v, trial);
        break;
    case VECTOR_ADD_SCALED:
        trial_add_scaled(k, &v);
        break;
    case VECTOR_RWKV_STEP:
        trial_rwkv_step(k, &v, trial);
        break;
    case VECTOR_ARGMAX:
        trial_argmax(k, &v, trial);
        break;
    default:
        trial_kv_store(k, &v, which == VECTOR_STORE_F16 ? KV_F16 : KV_F32, trial);
        break;
    }
    vectors_give(&v);
}

static uintptr_t vector_entry(const struct kernels *k, int which)
{
    switch (which) {
    case VECTOR_RMS_NORM:
        return (uintptr_t)k->rms_norm;
    case VECTOR_ROPE_NORM:
        return (uintptr_t)k->rope[ROPE_NORM];
    case VECTOR_ROPE_NEOX:
        return (uintptr_t)k->rope[ROPE_NEOX];
    case VECTOR_SWIGLU:
        return (uintptr_t)k->swiglu;
    case VECTOR_LAYER_NORM:
        return (uintptr_t)k->layer_norm;
    case VECTOR_SWIGLU_CLAMPED:
        return (uintptr_t)k->swiglu_clamped;
    case VECTOR_GELU:
        return (uintptr_t)k->gelu;
    case VECTOR_RELU_SQUARED:
        return (uintptr_t)k->relu_squared;
    case VECTOR_SOFTCAP:
        return (uintptr_t)k->softcap;
    case VECTOR_CUT:
        return (uintptr_t)k->cut;
    case VECTOR_SOFTPLUS:
        return (uintptr_t)k->softplus;
    case VECTOR_SSM_CHANNELS:
        return (uintptr_t)k->ssm_channels;
    case VECTOR_ADD:
        return (uintptr_t)k->add;
    case VECTOR_SIGMOID_GATE:
        return (uintptr_t)k->sigmoid_gate;
    case VECTOR_MULTIPLY:
        return (uintptr_t)k->multiply;
    case VECTOR_ADD_SCALED:
        return (uintptr_t)k->add_scaled;
    case VECTOR_RWKV_STEP:
        return (uintptr_t)k->rwkv_step;
    case VECTOR_ARGMAX:
        return (uintptr_t)k->argmax;
    case VECTOR_STORE_F16:
        return (uintptr_t)k->kv_store[KV_F16];
    default:
        return (uintptr_t)k->kv_store[KV_F32];
    }
}

static void check_vectors(const char *isa, const struct kernels *k, const struct kernels *ref)
{
    static const char *const names[VECTOR_COUNT] = {
        "rms_norm",       "rope norm",    "rope neox",    "swiglu",       "layer_norm",
        "swiglu_clamped", "gelu",         "relu_squared", "softcap",      "cut",
        "softplus",       "ssm_channels", "add",          "sigmoid_gate", "multiply",
        "add_scaled",     "rwkv_step",    "argmax",       "kv_store f16", "kv_store f32"};
    for (int which = 0; which < VECTOR_COUNT; which++) {
        uintptr_t other = k == ref ? 0 : vector_entry(ref, which);
        if (check_wanted(names[which], (const void *)vector_entry(k, which), (const void *)other)) {
            for (int trial = 0; trial < 60; trial++) {
                vector_trial(k, which, trial);
            }
            check_report(isa, names[which], "");
        }
    }
}

#include "check_delta.h"
#include "check_delta_chunk.h"
#include "check_tokens.h"

#include "check_bench.h"

/* ---- Main ------------------------------------------------------------------------------------ */

static void check_all(const char *isa, const struct kernels *k, const struct kernels *ref)
{
    check_act(isa, k->matrix[ENC_Q8_0].one->act, &act_q8_0);
    check_act(isa, k->matrix[ENC_Q4_K].one->act, &act_q8_k);
    check_act(isa, k->matrix[ENC_F32].one->act, &act_f32);
    check_act_of(isa, k->matrix[ENC_Q8_0].many);
    check_act_of(isa, k->matrix[ENC_F32].many);
    for (int32_t type = 0; type < ENC_COUNT; type++) {
        check_matrix(isa, "", type, &k->matrix[type], &ref->matrix[type]);
        check_matrix(isa, "exact ", type, &k->exact[type], &ref->exact[type]);
    }
    check_attention(isa, k, ref);
    check_vectors(isa, k, ref);
    check_delta(isa, k, ref);
    check_delta_chunk(isa, k, ref);
    check_tokens(isa, k, ref);
}

int main(int argc, char **argv)
{
    const char *isa = NULL;
    int bench = 0;
    check_seed = (uint64_t)time(NULL);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            check_seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc) {
            isa = argv[++i];
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            check_only = argv[++i];
        } else if (strcmp(argv[i], "--bench") == 0) {
            bench = 1;
        } else {
            fprintf(stderr, "check_kernels [--seed N] [--isa NAME] [--only TEXT] [--bench]\n");
            return 2;
        }
    }
    printf("seed %llu\n", (unsigned long long)check_seed);

    static struct kernels ref;
    kernels_init(&ref, 0);
    /* Bits in rising order: each that changes the table's name makes another table. */
    const char *last = "";
    uint64_t allowed = 0;
    for (int32_t bit = -1; bit < 64; bit++) {
        static struct kernels k;
        allowed |= bit < 0 ? 0 : UINT64_C(1) << bit;
        kernels_init(&k, allowed);
        if (strcmp(k.isa, last) == 0) {
            continue;
        }
        last = k.isa;
        if (isa != NULL && strcmp(isa, k.isa) != 0) {
            continue;
        }
        if (bench) {
            bench_all(k.isa, &k);
        } else {
            check_all(k.isa, bit < 0 ? &ref : &k, &ref);
        }
    }
    if (check_failures != 0) {
        printf("%d entries FAILED, seed %llu\n", check_failures, (unsigned long long)check_seed);
    }
    return check_failures != 0;
}
