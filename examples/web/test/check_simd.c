/* check_simd.c - the kernels of kernels/wasm_simd.c: all of tests/check_kernels.c, and then what
 * only they promise, that every entry gives the bits of the reference. */
#define SLM_NO_FILES
#define SLM_NO_THREADS
#define main check_main
#include "../../../tests/check_kernels.c"
#undef main

__attribute__((export_name("run"))) int run(uint32_t seed)
{
    char text[16];
    char *arguments[] = {(char *)"check_kernels", (char *)"--isa", (char *)"simd128",
                         (char *)"--seed", text};
    snprintf(text, sizeof text, "%u", seed);
    return check_main(5, arguments);
}

__attribute__((export_name("bench"))) int bench(void)
{
    char *arguments[] = {(char *)"check_kernels", (char *)"--bench"};
    return check_main(2, arguments);
}

static void bits_of_product(const struct kernel_product *product,
                            const struct kernel_product *reference, int32_t type, int trial)
{
    const struct kernel_format *f = &kernel_formats[type];
    int64_t n_row = check_range(1, 30), n_token = trial % 2 ? 1 : check_range(1, 9);
    int64_t k = 256 * check_range(1, 4) - (f->block_elements == 32 ? 32 * check_range(0, 7) : 0);
    size_t row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    uint8_t *w = malloc((size_t)n_row * row_bytes);
    float *x = malloc((size_t)(n_token * k) * sizeof(float));
    size_t n_y = (size_t)(n_token * n_row);
    float *y = malloc(2 * n_y * sizeof(float));
    size_t act_bytes = product->act->row_bytes(k) * (size_t)n_token;
    struct guarded act = guarded_take(act_bytes, 1, 64);
    struct guarded scratch = guarded_take(product->scratch_bytes(n_token, k) + 64, 1, 64);
    weights_fill(w, type, n_row * (k / f->block_elements), trial % WEIGHTS_MODES);
    input_fill(x, n_token * k, trial % INPUT_MODES);
    product->act->prepare(act.p, x, n_token, k);
    product->multiply(y, n_row, w, 0, n_row, act.p, n_token, k, scratch.p);
    reference->multiply(y + n_y, n_row, w, 0, n_row, act.p, n_token, k, NULL);
    for (size_t i = 0; i < n_y; i++) { /* a sum may be 0 of either sign */
        CHECK(y[i] == y[n_y + i] || (f32_is_nan(y[i]) && f32_is_nan(y[n_y + i])),
              "k %lld, %lld tokens: %.9g, the reference has %.9g", (long long)k, (long long)n_token,
              (double)y[i], (double)y[n_y + i]);
    }
    guarded_give(&act);
    guarded_give(&scratch);
    free(w);
    free(x);
    free(y);
}

static void bits_of_vectors(const struct kernels *k, const struct kernels *ref, int which)
{
    float x[200], up[200], y[200], want[200];
    int64_t n = check_range(1, 200);
    for (int32_t i = 0; i < 200; i++) {
        x[i] = check_float() * (float)check_range(1, 60);
        up[i] = check_float();
        y[i] = want[i] = x[i];
    }
    switch (which) {
    case 0:
        k->swiglu(y, x, up, n);
        ref->swiglu(want, x, up, n);
        break;
    case 1:
        k->gelu(y, x, up, n);
        ref->gelu(want, x, up, n);
        break;
    case 2:
        k->sigmoid_gate(y, x, up, n);
        ref->sigmoid_gate(want, x, up, n);
        break;
    case 3:
        k->rope[ROPE_NEOX](y, up, up + 100, n / 2 * 2);
        ref->rope[ROPE_NEOX](want, up, up + 100, n / 2 * 2);
        break;
    default:
        k->add_scaled(y, up, x[0], n);
        ref->add_scaled(want, up, x[0], n);
        break;
    }
    CHECK(memcmp(y, want, sizeof y) == 0, "other bits than the reference's");
}

/* Everything about attention that a trial of check_kernels makes up, with both kernels. */
static void bits_of_attention(const struct kernels *k, const struct kernels *ref, int32_t kv)
{
    float q[4 * 80], out[2][4 * 80], max[2][4], sum[2][4];
    int32_t from[4], to[4];
    const uint8_t *pages[3];
    size_t row = 80 * (kv == KV_F16 ? 2 : 4), bytes = 2 * KV_PAGE * row;
    uint8_t *room = malloc(3 * bytes);
    float *scratch = malloc(ATTENTION_SCRATCH(4));
    for (size_t i = 0; i < 3 * bytes; i += row) {
        float values[80];
        for (int32_t e = 0; e < 80; e++) {
            values[e] = check_float();
        }
        ref->kv_store[kv](room + i, values, 80);
    }
    for (int32_t i = 0; i < 4 * 80; i++) {
        q[i] = check_float() / 4;
    }
    for (int32_t i = 0; i < 4; i++) {
        from[i] = check_range(0, 100);
        to[i] = check_range(100, 3 * KV_PAGE);
    }
    for (int32_t i = 0; i < 3; i++) {
        pages[i] = room + (size_t)i * bytes;
    }
    for (int32_t i = 0; i < 2; i++) {
        struct kernel_attention_job job = {0};
        job.q = q;
        job.q_stride = job.head_dim = job.head_dim_v = 80;
        job.n_q = 4;
        job.pages = pages;
        job.v_offset = KV_PAGE * row;
        job.position1 = 3 * KV_PAGE;
        job.from = from;
        job.to = to;
        job.max = max[i];
        job.sum = sum[i];
        job.out = out[i];
        job.out_stride = 80;
        (i == 0 ? k : ref)->attention[kv](&job, scratch);
    }
    CHECK(memcmp(out[0], out[1], sizeof out[0]) == 0 &&
              memcmp(max[0], max[1], sizeof max[0]) == 0 &&
              memcmp(sum[0], sum[1], sizeof sum[0]) == 0,
          "other bits than the reference's");
    free(scratch);
    free(room);
}

__attribute__((export_name("bits"))) int bits(uint32_t seed)
{
    static struct kernels k, ref;
    kernels_init(&ref, 0);
    kernels_init(&k, SLM_CPU_ALL);
    check_state = seed;
    check_failures = 0;
    for (int32_t type = 0; type < ENC_COUNT; type++) {
        if (kernel_formats[type].decode != NULL && k.matrix[type].one != ref.matrix[type].one) {
            for (int trial = 0; trial < 60; trial++) {
                bits_of_product(k.matrix[type].one, ref.matrix[type].one, type, trial);
            }
            check_report("bits", kernel_formats[type].name, "");
        }
    }
    for (int which = 0; which < 5; which++) {
        for (int trial = 0; trial < 200; trial++) {
            bits_of_vectors(&k, &ref, which);
        }
    }
    check_report("bits", "vectors", "");
    for (int trial = 0; trial < 60; trial++) {
        bits_of_attention(&k, &ref, trial % 2);
    }
    check_report("bits", "attention", "");
    return check_failures != 0;
}
