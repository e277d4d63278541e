/* check_bench.h - what `check_kernels --bench` times: each kernel alone, one thread. A part of
 * check_kernels.c, which includes it where it uses what stands above. */
#ifndef CHECK_BENCH_H
#define CHECK_BENCH_H

#define BENCH_BYTES ((size_t)1 << 30) /* beyond every cache */
#define BENCH_TILE 256                /* rows of a call, as the engine's tasks have */
#define BENCH_K 2048

static double bench_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of many passes over `pass_rows` rows each: seconds per row. */
static double bench_product(const struct kernel_product *p, const uint8_t *w, int64_t n_row,
                            int64_t n_token, int64_t pass_rows)
{
    float *x = (float *)malloc((size_t)n_token * BENCH_K * sizeof(float));
    float *y = (float *)malloc((size_t)(n_token * n_row) * sizeof(float));
    struct guarded act =
        guarded_take((size_t)act_tokens(p->act, n_token) * p->act->row_bytes(BENCH_K), 1, 64);
    struct guarded scratch = guarded_take(p->scratch_bytes(n_token, BENCH_K) + 64, 1, 64);
    double best = 1e9, first = bench_seconds();
    input_fill(x, n_token * BENCH_K, INPUT_RANDOM);
    p->act->prepare(act.p, x, n_token, BENCH_K);
    for (int64_t row = 0, pass = 0; pass < 8 || bench_seconds() - first < 0.5; pass++) {
        double start = bench_seconds();
        row = row + pass_rows > n_row ? 0 : row;
        for (int64_t end = row + pass_rows; row < end; row += BENCH_TILE) {
            p->multiply(y, n_row, w, row, row + BENCH_TILE, act.p, n_token, BENCH_K, scratch.p);
        }
        double each = (bench_seconds() - start) / (double)pass_rows;
        best = pass > 0 && each < best ? each : best;
        if (bench_seconds() - first > 2) {
            break;
        }
    }
    free(x);
    free(y);
    guarded_give(&act);
    guarded_give(&scratch);
    return best;
}

static void bench_matrix(const char *isa, const char *prefix, int32_t type,
                         const struct kernel_matrix *m, uint8_t *w)
{
    static const int32_t tokens[] = {4, 16, 512};
    const struct kernel_format *f = &kernel_formats[type];
    size_t row_bytes = (size_t)(BENCH_K / f->block_elements * f->block_bytes);
    int64_t n_row = (int64_t)(BENCH_BYTES / row_bytes);
    char name[32];
    snprintf(name, sizeof name, "%s%s", prefix, f->name);
    if (f->decode == NULL || !check_wanted(name, (const void *)m, NULL)) {
        return;
    }
    size_t filled = 256 * row_bytes;
    weights_fill(w, type, 256 * (BENCH_K / f->block_elements), WEIGHTS_RANDOM);
    for (size_t at = filled; at + filled <= BENCH_BYTES; at += filled) {
        memcpy(w + at, w, filled);
    }
    n_row = n_row / 256 * 256;
    double each = bench_product(m->one, w, n_row, 1,
                                (int64_t)(((size_t)8 << 20) / row_bytes) / BENCH_TILE * BENCH_TILE);
    printf("%s %-14s one %6.2f GB/s", isa, name, (double)row_bytes / each * 1e-9);
    for (int i = 0; i < SLM_COUNT(tokens); i++) {
        int32_t n = tokens[i];
        const struct kernel_product *p = n < m->few_min    ? m->one
                                         : n < m->many_min ? m->few
                                                           : m->many;
        each = bench_product(p, w, min_i64(n_row, 4096), n, BENCH_TILE);
        printf("  %d tokens %6.2f GMAC/s", n, (double)n * BENCH_K / each * 1e-9);
    }
    printf("\n");
    fflush(stdout);
}

static void bench_act(const char *isa, const struct kernel_act *act)
{
    int64_t n_token = 64;
    float *x = (float *)malloc((size_t)n_token * BENCH_K * sizeof(float));
    void *to = NULL;
    struct guarded a = guarded_take((size_t)n_token * act->row_bytes(BENCH_K), 1, 64);
    double best = 1e9;
    to = a.p;
    input_fill(x, n_token * BENCH_K, INPUT_RANDOM);
    for (int pass = 0; pass < 50; pass++) {
        double start = bench_seconds();
        act->prepare(to, x, n_token, BENCH_K);
        double each = (bench_seconds() - start) / (double)(n_token * BENCH_K);
        best = each < best ? each : best;
    }
    printf("%s prepare %-6s %6.2f ns/256\n", isa, act->name, best * 256e9);
    guarded_give(&a);
    free(x);
}

/* Decode: 4 queries share a kv head of 128, 4096 positions in one run. */
static void bench_attention(const char *isa, const struct kernels *k)
{
    enum {
        DIM = 128,
        QUERIES = 4,
        POSITIONS = 4096,
        HEADS = 32
    };
    static float q[QUERIES * DIM], out[QUERIES * DIM], max[QUERIES], sum[QUERIES];
    static int32_t from[QUERIES], to[QUERIES];
    for (int32_t kv = 0; kv < KV_COUNT; kv++) {
        size_t page_bytes = (size_t)KV_PAGE * DIM * 2 * (kv == KV_F16 ? 2 : 4) * HEADS;
        uint8_t *data = (uint8_t *)malloc(page_bytes * (POSITIONS / KV_PAGE));
        const uint8_t *pages[POSITIONS / KV_PAGE];
        struct guarded scratch = guarded_take(ATTENTION_SCRATCH(QUERIES), 1, 64);
        struct kernel_attention_job j = {q,   DIM, QUERIES,   DIM,  DIM, pages, 0,
                                         0,   0,   POSITIONS, from, to,  0,     max,
                                         sum, out, DIM,       NULL, NULL};
        double best = 1e9;
        memset(data, 0, page_bytes * (POSITIONS / KV_PAGE));
        for (int32_t i = 0; i < POSITIONS / KV_PAGE; i++) {
            pages[i] = data + (size_t)i * page_bytes;
        }
        for (int32_t i = 0; i < QUERIES; i++) {
            to[i] = POSITIONS;
        }
        for (int pass = 0; pass < 3; pass++) {
            double start = bench_seconds();
            for (size_t head = 0; head < HEADS; head++) {
                j.k_offset = head * page_bytes / HEADS;
                j.v_offset = j.k_offset + page_bytes / HEADS / 2;
                k->attention[kv](&j, scratch.p);
            }
            double each = bench_seconds() - start;
            best = each < best ? each : best;
        }
        printf("%s attention %s %6.2f GB/s\n", isa, kv == KV_F16 ? "f16" : "f32",
               (double)page_bytes * (POSITIONS / KV_PAGE) / best * 1e-9);
        guarded_give(&scratch);
        free(data);
    }
}

/* One call of a vector entry on n elements. */
static void bench_vector(const struct kernels *k, int which, float *y, float *x, const float *z,
                         int64_t n)
{
    switch (which) {
    case VECTOR_RMS_NORM:
        k->rms_norm(y, x, z, n, 1e-5f);
        break;
    case VECTOR_LAYER_NORM:
        k->layer_norm(y, x, z, z, n, 1e-5f);
        break;
    case VECTOR_SWIGLU:
        k->swiglu(y, x, z, n);
        break;
    case VECTOR_SWIGLU_CLAMPED:
        k->swiglu_clamped(y, x, z, n);
        break;
    case VECTOR_GELU:
        k->gelu(y, x, z, n);
        break;
    case VECTOR_RELU_SQUARED:
        k->relu_squared(y, x, z, n);
        break;
    case VECTOR_SOFTCAP:
        k->softcap(y, n, 1);
        break;
    case VECTOR_ADD:
        k->add(y, x, n);
        break;
    default:
        y[0] = (float)k->argmax(x, n);
        break;
    }
}

static void bench_vectors(const char *isa, const struct kernels *k)
{
    enum {
        N = 8192
    };
    static const struct {
        int which;
        const char *name;
    } entries[] = {{VECTOR_RMS_NORM, "rms_norm"}, {VECTOR_LAYER_NORM, "layer_norm"},
                   {VECTOR_SWIGLU, "swiglu"},     {VECTOR_SWIGLU_CLAMPED, "swiglu_clamped"},
                   {VECTOR_GELU, "gelu"},         {VECTOR_RELU_SQUARED, "relu_squared"},
                   {VECTOR_SOFTCAP, "softcap"},   {VECTOR_ADD, "add"},
                   {VECTOR_ARGMAX, "argmax"}};
    static float x[N], y[N], z[N];
    input_fill(x, N, INPUT_RANDOM);
    input_fill(z, N, INPUT_RANDOM);
    printf("%s ns per element:", isa);
    for (int i = 0; i < SLM_COUNT(entries); i++) {
        double best = 1e9;
        for (int pass = 0; pass < 100; pass++) {
            memcpy(y, x, sizeof y);
            double start = bench_seconds();
            bench_vector(k, entries[i].which, y, x, z, N);
            double each = bench_seconds() - start;
            best = each < best ? each : best;
        }
        printf(" %s %.3f", entries[i].name, best * 1e9 / N);
    }
    printf("\n");
}

/* The heads of all layers of a small model: one token is as fast as their states are read and
 * written. The best time a token of calls of n_token. */
static double bench_delta_tokens(void (*kernel)(const struct kernel_delta_job *job),
                                 const struct kernel_delta_job *job, int n_head, int64_t n_token)
{
    double best = 1e9;
    for (int pass = 0; pass < 10; pass++) {
        double start = bench_seconds();
        for (int head = 0; head < n_head; head++) {
            struct kernel_delta_job j = *job;
            j.from += head * job->n_key * job->n_value;
            j.to += head * job->n_key * job->n_value;
            j.n_token = n_token;
            kernel(&j);
        }
        double each = (bench_seconds() - start) / (double)n_token;
        best = each < best ? each : best;
    }
    return best;
}

static void bench_delta(const char *isa, const struct kernels *k)
{
    enum {
        SIZE = 128,
        HEADS = 16 * 18
    };
    static const int64_t tokens[] = {16, 20, 24, 32, 64};
    static float q[DELTA_CHUNK * SIZE], gates[DELTA_CHUNK * 2], o[DELTA_CHUNK * SIZE];
    size_t n = (size_t)HEADS * SIZE * SIZE;
    float *from = (float *)calloc(n, sizeof(float)), *to = (float *)calloc(n, sizeof(float));
    struct guarded scratch = guarded_take((size_t)delta_chunk_floats(SIZE) * 4, 1, 64);
    struct kernel_delta_job j = {
        from, to, SIZE, SIZE, 1, q, q, gates, q, SIZE, o, SIZE, vector_of(&scratch), 1};
    input_fill(q, DELTA_CHUNK * SIZE, INPUT_RANDOM);
    double one = bench_delta_tokens(k->delta_net, &j, HEADS, 1);
    printf("%s delta_net %d heads: %.2f ms a token (%.1f GB/s), ms a token of\n", isa, HEADS,
           one * 1e3, (double)n * 8 / one * 1e-9);
    for (int i = 0; i < SLM_COUNT(tokens); i++) {
        printf("  %d: %.3f, delta_chunk %.3f\n", (int)tokens[i],
               bench_delta_tokens(k->delta_net, &j, HEADS, tokens[i]) * 1e3,
               bench_delta_tokens(k->delta_chunk, &j, HEADS, tokens[i]) * 1e3);
    }
    guarded_give(&scratch);
    free(from);
    free(to);
}

/* A token of a short convolution over 2048 channels and of 32 heads of RWKV-7. */
static void bench_mixers(const char *isa, const struct kernels *k)
{
    enum {
        WIDTH = 2048,
        HEAD = 64
    };
    static float x[WIDTH], state[2 * WIDTH], kernel[3 * WIDTH], heads[WIDTH * HEAD], rest[8 * HEAD];
    double conv = 1e9, gates = 1e9, steps = 1e9;
    for (int pass = 0; pass < 100; pass++) {
        double start = bench_seconds();
        struct kernel_conv taps = {.x = x, .from = state, .to = state, .kernel = kernel};
        taps.n = taps.width = WIDTH;
        taps.n_token = 1;
        taps.n_conv = 3;
        k->conv(&taps);
        double after_conv = bench_seconds();
        k->multiply(x, x, kernel, WIDTH);
        k->multiply(x, x, kernel, WIDTH);
        double after_gates = bench_seconds();
        for (int64_t i = 0; i < WIDTH / HEAD; i++) {
            struct kernel_rwkv_step s = {heads + i * HEAD * HEAD,
                                         rest,
                                         rest + HEAD,
                                         rest + 2 * HEAD,
                                         rest + 3 * HEAD,
                                         rest + 4 * HEAD,
                                         rest + 5 * HEAD,
                                         rest + 6 * HEAD,
                                         rest + 7 * HEAD,
                                         HEAD};
            k->rwkv_step(&s);
        }
        double end = bench_seconds();
        conv = after_conv - start < conv ? after_conv - start : conv;
        gates = after_gates - after_conv < gates ? after_gates - after_conv : gates;
        steps = end - after_gates < steps ? end - after_gates : steps;
    }
    printf("%s us for a token of 2048 channels: conv of 3 taps %.2f, two multiply %.2f, "
           "rwkv_step of 32 heads %.2f\n",
           isa, conv * 1e6, gates * 1e6, steps * 1e6);
}

static void bench_all(const char *isa, const struct kernels *k)
{
    struct guarded w = guarded_take(BENCH_BYTES, 1, 64);
    for (int32_t type = 0; type < ENC_COUNT; type++) {
        bench_matrix(isa, "", type, &k->matrix[type], w.p);
    }
    for (int32_t type = 0; type < ENC_COUNT; type++) {
        bench_matrix(isa, "exact ", type, &k->exact[type], w.p);
    }
    bench_act(isa, k->matrix[ENC_Q8_0].one->act);
    bench_act(isa, k->matrix[ENC_Q4_K].one->act);
    bench_attention(isa, k);
    bench_vectors(isa, k);
    bench_delta(isa, k);
    bench_mixers(isa, k);
    guarded_give(&w);
}

#endif
