/* bare.c - decode without the model: every matrix of a file that decode reads is multiplied with
 * one vector, by the same kernels, and nothing else is done. No norms, no attention, no order in
 * which matrices must follow each other: what a token costs beyond this loop is the engine's.
 *
 *     bare [--csv] [-t THREADS] [-r PASSES] [--isa NAME] FILE */

#define _POSIX_C_SOURCE 200809L
#include <stdio.h>

#include "../slm.c"

#define TILE_BYTES 524288 /* as matmul.c deals them out */
#define INPUTS_MAX 32

/* An input of k elements, in the form that some kernel wants. */
struct input {
    const struct kernel_act *form;
    int64_t k;
    void *act;
};

struct tile {
    const uint8_t *weights;
    int64_t n_in;
    const struct kernel_product *product;
    const void *act;
    int64_t row0, row1;
};

struct bare {
    struct slm_model *model;
    struct slm_threads *threads;
    struct input inputs[INPUTS_MAX];
    int n_inputs;
    struct tile *tiles; /* [n_tiles] */
    int32_t n_tiles, capacity;
    int64_t longest; /* rows of a matrix */
    size_t scratch_bytes;
    uint64_t bytes; /* of all rows */
    float **y;      /* [threads][longest] */
    void **scratch; /* [threads][scratch_bytes] */
};

static int give_up(const char *why)
{
    fprintf(stderr, "bare: %s\n", why);
    exit(1);
}

static void *take(size_t n)
{
    void *p = aligned_alloc(64, (n + 64) / 64 * 64);
    if (p == NULL) {
        give_up("out of memory");
    }
    return memset(p, 0, (n + 64) / 64 * 64);
}

/* ---- What is multiplied ---------------------------------------------------------------------- */

static const void *find_input(struct bare *b, const struct kernel_act *form, int64_t k)
{
    for (int i = 0; i < b->n_inputs; i++) {
        if (b->inputs[i].form == form && b->inputs[i].k == k) {
            return b->inputs[i].act;
        }
    }
    if (b->n_inputs == INPUTS_MAX) {
        give_up("too many kinds of matrices");
    }
    float *x = (float *)take((size_t)k * sizeof *x);
    for (int64_t i = 0; i < k; i++) {
        x[i] = (float)(i * 37 % 101 - 50) / 50.0f;
    }
    struct input *input = &b->inputs[b->n_inputs++];
    input->form = form;
    input->k = k;
    input->act = take((size_t)act_tokens(form, 1) * form->row_bytes(k));
    form->prepare(input->act, x, 1, k);
    free(x);
    return input->act;
}

static void add_matrix(struct bare *b, const struct linear *w)
{
    if (w->data == NULL) {
        return;
    }
    const struct kernel_format *f = &kernel_formats[w->type];
    const struct kernel_product *product = b->model->kernels.matrix[w->type].one;
    const void *act = find_input(b, product->act, w->n_in);
    int64_t row_bytes = w->n_in / f->block_elements * f->block_bytes;
    int64_t rows = max_i64(TILE_BYTES / row_bytes / 32, 1) * 32;
    size_t scratch = product->scratch_bytes(1, w->n_in);
    b->bytes += (uint64_t)(row_bytes * w->n_out);
    b->longest = max_i64(b->longest, w->n_out);
    b->scratch_bytes = scratch > b->scratch_bytes ? scratch : b->scratch_bytes;
    for (int64_t row = 0; row < w->n_out; row += rows) {
        if (b->n_tiles == b->capacity) {
            b->capacity = 2 * b->capacity + 1024;
            b->tiles = (struct tile *)realloc(b->tiles, (size_t)b->capacity * sizeof *b->tiles);
            if (b->tiles == NULL) {
                give_up("out of memory");
            }
        }
        struct tile tile = {w->data, w->n_in, product, act, row, min_i64(row + rows, w->n_out)};
        b->tiles[b->n_tiles++] = tile;
    }
}

/* Of a layer, about in the order in which a token meets them. */
static const size_t matrices[] = {
    offsetof(struct layer, altup_router), offsetof(struct layer, laurel_down),
    offsetof(struct layer, laurel_up),    offsetof(struct layer, latent_q),
    offsetof(struct layer, latent_kv),    offsetof(struct layer, latent_k_rope),
    offsetof(struct layer, attn_q),       offsetof(struct layer, attn_k),
    offsetof(struct layer, attn_v),       offsetof(struct layer, attn_kv),
    offsetof(struct layer, attn_output),  offsetof(struct layer, short_in),
    offsetof(struct layer, short_out),    offsetof(struct layer, ssm_in),
    offsetof(struct layer, ssm_x),        offsetof(struct layer, ssm_step),
    offsetof(struct layer, ssm_out),      offsetof(struct layer, delta_qkv),
    offsetof(struct layer, delta_z),      offsetof(struct layer, delta_in),
    offsetof(struct layer, delta_beta),   offsetof(struct layer, delta_alpha),
    offsetof(struct layer, delta_ba),     offsetof(struct layer, delta_output),
    offsetof(struct layer, rwkv_r),       offsetof(struct layer, rwkv_k),
    offsetof(struct layer, rwkv_v),       offsetof(struct layer, decay_down),
    offsetof(struct layer, decay_up),     offsetof(struct layer, rate_down),
    offsetof(struct layer, rate_up),      offsetof(struct layer, value_down),
    offsetof(struct layer, value_up),     offsetof(struct layer, gate_down),
    offsetof(struct layer, gate_up),      offsetof(struct layer, rwkv_out),
    offsetof(struct layer, ffn_router),   offsetof(struct layer, shared_router),
    offsetof(struct layer, shared_gate),  offsetof(struct layer, shared_up),
    offsetof(struct layer, shared_down),  offsetof(struct layer, ffn_gate),
    offsetof(struct layer, ffn_up),       offsetof(struct layer, ffn_down),
    offsetof(struct layer, ple_gate),     offsetof(struct layer, ple_output),
};
static const size_t stacks[] = {
    offsetof(struct layer, gate_exps),
    offsetof(struct layer, up_exps),
    offsetof(struct layer, gate_up_exps),
    offsetof(struct layer, down_exps),
};

static const struct linear *matrix_at(const struct layer *l, size_t offset)
{
    return (const struct linear *)(const void *)((const uint8_t *)l + offset);
}

/* As many experts as a token takes, the same ones in each pass but others in each layer. */
static void add_experts(struct bare *b, const struct layer *l, int32_t layer)
{
    const struct hparams *h = &b->model->hparams;
    for (int32_t i = 0; l->n_expert > 0 && i < h->n_expert_used; i++) {
        int32_t expert = (layer * 7 + i * 11) % l->n_expert;
        for (int j = 0; j < SLM_COUNT(stacks); j++) {
            const struct linear *stack = matrix_at(l, stacks[j]);
            if (stack->data != NULL) {
                struct linear w = linear_of_stack(stack, expert, l->n_expert);
                add_matrix(b, &w);
            }
        }
    }
}

static void add_all(struct bare *b)
{
    const struct globals *g = &b->model->globals;
    add_matrix(b, &g->ple_proj);
    add_matrix(b, &g->altup_proj);
    for (int32_t i = 0; i < b->model->hparams.n_layer; i++) {
        const struct layer *l = &b->model->layers[i];
        for (int j = 0; j < SLM_COUNT(matrices); j++) {
            add_matrix(b, matrix_at(l, matrices[j]));
        }
        add_experts(b, l, i);
    }
    add_matrix(b, &g->altup_unproj);
    add_matrix(b, &g->output);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void multiply_tile(void *arg, int32_t i, int32_t part)
{
    const struct bare *b = (const struct bare *)arg;
    const struct tile *t = &b->tiles[i];
    t->product->multiply(b->y[part], b->longest, t->weights, t->row0, t->row1, t->act, 1, t->n_in,
                         b->scratch[part]);
}

struct speed {
    double mean, least, most; /* passes a second */
};

static struct speed measure(struct bare *b, int passes)
{
    struct speed speed = {0, 1e300, 0};
    int owned = threads_begin(b->threads);
    for (int i = -1; i < passes; i++) { /* the first one brings the pages in */
        int64_t begin = slm_clock_ns();
        threads_tiles(b->threads, owned, b->n_tiles, multiply_tile, b);
        double each = 1e9 / (double)max_i64(slm_clock_ns() - begin, 1);
        if (i >= 0) {
            speed.mean += each / passes;
            speed.least = each < speed.least ? each : speed.least;
            speed.most = each > speed.most ? each : speed.most;
        }
    }
    threads_end(b->threads, owned);
    return speed;
}

/* ---- Main ------------------------------------------------------------------------------------ */

struct settings {
    const char *file, *isa;
    int csv, threads, passes;
};

static int read_settings(struct settings *s, int argc, char **argv)
{
    struct settings defaults = {NULL, NULL, 0, SLM_AUTO, 32};
    *s = defaults;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--csv") == 0) {
            s->csv = 1;
            continue;
        }
        if (strcmp(argv[i], "-t") == 0) {
            s->threads = atoi(value);
        } else if (strcmp(argv[i], "-r") == 0) {
            s->passes = atoi(value);
        } else if (strcmp(argv[i], "--isa") == 0) {
            s->isa = value;
        } else {
            s->file = i == argc - 1 ? argv[i] : NULL;
            break;
        }
        i++;
    }
    return s->file != NULL && s->passes > 0;
}

/* Its own bit and those below it, as slm bench --isa takes them. */
static uint64_t features_up_to(const char *isa)
{
    uint64_t bits = 0;
    for (int32_t i = 0; i < 64; i++) {
        const char *name = slm_cpu_feature_name(i);
        bits |= name != NULL ? UINT64_C(1) << i : 0;
        if (name != NULL && strcmp(name, isa) == 0) {
            return bits;
        }
    }
    return 0;
}

static void open_all(struct bare *b, const struct settings *s)
{
    slm_error err;
    slm_model_options model;
    slm_threads_options threads;
    slm_model_options_init(&model, sizeof model);
    slm_threads_options_init(&threads, sizeof threads);
    if (s->isa != NULL) {
        model.cpu = features_up_to(s->isa);
    }
    threads.n_threads = s->threads;
    if (slm_model_open(&b->model, s->file, &model, &err) != SLM_OK ||
        slm_threads_create(&b->threads, &threads, &err) != SLM_OK) {
        give_up(err.message);
    }
    add_all(b);
    size_t n = (size_t)threads_count(b->threads);
    b->y = (float **)take(n * sizeof *b->y);
    b->scratch = (void **)take(n * sizeof *b->scratch);
    for (size_t i = 0; i < n; i++) {
        b->y[i] = (float *)take((size_t)b->longest * sizeof(float));
        b->scratch[i] = take(b->scratch_bytes);
    }
}

static void close_all(struct bare *b)
{
    for (int32_t i = 0; i < threads_count(b->threads); i++) {
        free(b->y[i]);
        free(b->scratch[i]);
    }
    for (int i = 0; i < b->n_inputs; i++) {
        free(b->inputs[i].act);
    }
    free(b->y);
    free(b->scratch);
    free(b->tiles);
    slm_threads_free(b->threads);
    slm_model_free(b->model);
}

int main(int argc, char **argv)
{
    struct settings s;
    struct bare b;
    memset(&b, 0, sizeof b);
    if (!read_settings(&s, argc, argv)) {
        fprintf(stderr, "bare [--csv] [-t THREADS] [-r PASSES] [--isa NAME] FILE\n");
        return 2;
    }
    open_all(&b, &s);
    struct speed speed = measure(&b, s.passes);
    if (s.csv) {
        printf("isa,threads,weight_bytes,passes,passes_per_second,slowest,fastest\n");
    }
    printf(s.csv
               ? "%s,%d,%llu,%d,%.3f,%.3f,%.3f\n"
               : "%s, %d threads, %llu bytes of weights: %d passes, %.2f a second (%.2f to %.2f)\n",
           b.model->kernels.isa, (int)threads_count(b.threads), (unsigned long long)b.bytes,
           s.passes, speed.mean, speed.least, speed.most);
    close_all(&b);
    return 0;
}
