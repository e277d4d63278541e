/* test_ops.c - the reference's attention, norm, rope and vector entries against the vectors of
 * tests/golden/ops ("slm-ops 1", made with llama.cpp's operators) and against the formulas in
 * double. */
#include "../slm.c"

#include <math.h>
#include <setjmp.h>
#include <cmocka.h>

#include "testing.h"

#define MAX_ARRAYS 8
#define MAX_VALUES 4096

static struct kernels table;

/* ---- Reading vectors ------------------------------------------------------------------------ */

struct op_array {
    char kind[8]; /* in, out, exact */
    char label[16];
    int64_t ne[4];
    int64_t n;
    float values[MAX_VALUES];
};

struct op_case {
    char line[256]; /* "rms_norm eps=1e-5", without the newline */
    int n_array;
    struct op_array arrays[MAX_ARRAYS];
};

static struct op_case current;

static const char *line_end(const char *s)
{
    const char *end = strchr(s, '\n');
    return end != NULL ? end : s + strlen(s);
}

static void read_array(struct op_array *a, const char *line)
{
    int used = 0;
    long long ne[4];
    assert_int_equal(sscanf(line, "%7s %15s %lld %lld %lld %lld%n", a->kind, a->label, &ne[0],
                            &ne[1], &ne[2], &ne[3], &used),
                     6);
    const char *s = line + used;
    for (int i = 0; i < 4; i++) {
        a->ne[i] = ne[i];
    }
    for (a->n = 0; *s == ' '; a->n++) {
        char *end;
        assert_true(a->n < MAX_VALUES);
        a->values[a->n] = strtof(s, &end);
        assert_true(end > s);
        s = end;
    }
    assert_int_equal(a->n, ne[0] * ne[1] * ne[2] * ne[3]);
}

/* Reads the case that begins at or after *text into `current`, moves *text behind it; 0 at the
 * end. */
static int read_case(const char **text)
{
    const char *s = *text;
    current.n_array = 0;
    current.line[0] = 0;
    while (*s != 0) {
        const char *end = line_end(s);
        if (strncmp(s, "op ", 3) == 0) {
            size_t n = (size_t)(end - s) - 3;
            assert_true(n < sizeof current.line);
            memcpy(current.line, s + 3, n);
            current.line[n] = 0;
        } else if (strncmp(s, "end", 3) == 0) {
            *text = *end != 0 ? end + 1 : end;
            return 1;
        } else if (*s != '#' && strncmp(s, "slm-ops 1", 9) != 0) {
            assert_true(current.n_array < MAX_ARRAYS);
            read_array(&current.arrays[current.n_array++], s);
        }
        s = *end != 0 ? end + 1 : end;
    }
    assert_int_equal(current.line[0], 0);
    return 0;
}

static int case_is(const char *name)
{
    size_t n = strlen(name);
    return strncmp(current.line, name, n) == 0 && (current.line[n] == ' ' || current.line[n] == 0);
}

static double case_number(const char *key)
{
    char pattern[32];
    snprintf(pattern, sizeof pattern, " %s=", key);
    const char *found = strstr(current.line, pattern);
    assert_non_null(found);
    return strtod(found + strlen(pattern), NULL);
}

static const struct op_array *find_array(const char *kind, const char *label)
{
    for (int i = 0; i < current.n_array; i++) {
        if (strcmp(current.arrays[i].kind, kind) == 0 &&
            strcmp(current.arrays[i].label, label) == 0) {
            return &current.arrays[i];
        }
    }
    return NULL;
}

static const struct op_array *need_array(const char *kind, const char *label)
{
    const struct op_array *a = find_array(kind, label);
    assert_non_null(a);
    return a;
}

static void check_values(const float *got, const float *want, int64_t n, double relative,
                         double absolute)
{
    for (int64_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - (double)want[i]);
        if (!(error <= relative * fabs((double)want[i]) + absolute)) {
            fail_msg("%s, element %d: %.9g, not %.9g", current.line, (int)i, (double)got[i],
                     (double)want[i]);
        }
    }
}

/* Runs check on every case of that operator and returns how many there were. */
static int for_cases(const char *file, const char *op, void (*check)(void))
{
    char path[64];
    size_t size = 0;
    int n = 0;
    snprintf(path, sizeof path, "tests/golden/ops/%s", file);
    char *text = testing_read(path, &size);
    if (text == NULL) {
        fail_msg("%s cannot be read", path);
        return 0;
    }
    for (const char *s = text; read_case(&s);) {
        if (case_is(op)) {
            check();
            n++;
        }
    }
    free(text);
    return n;
}

static uint32_t random_state = 1;

static float random_float(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return (float)(int32_t)random_state * 0x1p-31f;
}

/* ---- Norm, activation ----------------------------------------------------------------------- */

static void check_rms_norm(void)
{
    static float y[MAX_VALUES], weight[MAX_VALUES], weighted[MAX_VALUES];
    const struct op_array *x = need_array("in", "x");
    int64_t width = x->ne[0];
    for (int64_t row = 0; row < x->n; row += width) {
        table.rms_norm(y + row, x->values + row, NULL, width, (float)case_number("eps"));
    }
    check_values(y, need_array("out", "y")->values, x->n, 2e-6, 0);

    for (int64_t i = 0; i < width; i++) {
        weight[i] = random_float();
    }
    memcpy(weighted, x->values, (size_t)width * sizeof(float)); /* in place */
    table.rms_norm(weighted, weighted, weight, width, (float)case_number("eps"));
    for (int64_t i = 0; i < width; i++) {
        y[i] *= weight[i];
    }
    check_values(weighted, y, width, 1e-6, 0);
}

static void rms_norm_as_llama_cpp(void **state)
{
    (void)state;
    assert_true(for_cases("norm.txt", "rms_norm", check_rms_norm) >= 3);
}

static void check_swiglu(void)
{
    static float y[MAX_VALUES];
    const struct op_array *gate = need_array("in", "gate");
    const struct op_array *up = need_array("in", "up");
    const struct op_array *out = need_array("out", "y");
    table.swiglu(y, gate->values, up->values, gate->n);
    check_values(y, out->values, gate->n, 2e-6, 1e-12);
    memcpy(y, gate->values, (size_t)gate->n * sizeof(float));
    table.swiglu(y, y, up->values, gate->n); /* over the gate */
    check_values(y, out->values, gate->n, 2e-6, 1e-12);
    memcpy(y, up->values, (size_t)gate->n * sizeof(float));
    table.swiglu(y, gate->values, y, gate->n); /* over up */
    check_values(y, out->values, gate->n, 2e-6, 1e-12);
}

static void check_silu(void)
{
    static float y[MAX_VALUES], one[MAX_VALUES];
    const struct op_array *x = need_array("in", "x");
    for (int64_t i = 0; i < x->n; i++) {
        one[i] = 1;
    }
    table.swiglu(y, x->values, one, x->n);
    check_values(y, need_array("exact", "y")->values, x->n, 1e-6, 1e-37);
}

static void swiglu_as_llama_cpp(void **state)
{
    (void)state;
    assert_true(for_cases("activation.txt", "swiglu", check_swiglu) >= 1);
    assert_true(for_cases("activation.txt", "silu", check_silu) >= 1);
}

/* ---- State spaces ---------------------------------------------------------------------------- */

/* llama.cpp's state is [head][channel][n_state]; that of the table of kernels is [n_state][channel]
 * of a head, and Mamba-1, whose heads have one channel, takes them all at once. */
struct scan {
    const struct op_array *state, *x, *dt, *a, *b, *c, *out;
    int64_t n_state, n_channel, n_head, n_token;
    int is_head;
};

static int64_t scan_at(const struct scan *s, int64_t head, int64_t channel, int64_t n)
{
    return ((s->is_head ? head * s->x->ne[0] : 0) + channel) * s->n_state + n;
}

static void scan_head(const struct scan *s, int64_t head)
{
    static float state[MAX_VALUES], a[MAX_VALUES], step[MAX_VALUES], y[MAX_VALUES];
    static const float zeros[MAX_VALUES];
    int64_t width = s->n_channel, n_dt = s->dt->ne[0], n_group = s->b->ne[1];
    int64_t group = s->is_head ? head / (s->n_head / n_group) : 0;
    for (int64_t i = 0; i < s->n_state * width; i++) {
        state[i] = s->state->values[scan_at(s, head, i % width, i / width)];
        a[i] = s->is_head ? 0 : s->a->values[i % width * s->n_state + i / width];
    }
    for (int64_t t = 0; t < s->n_token; t++) {
        int64_t at = t * s->x->ne[0] * s->x->ne[1] + (s->is_head ? head * width : 0);
        const float *b = s->b->values + (t * n_group + group) * s->n_state;
        const float *c = s->c->values + (t * n_group + group) * s->n_state;
        table.softplus(step, s->dt->values + t * n_dt + (s->is_head ? head : 0),
                       s->is_head ? 1 : n_dt);
        if (s->is_head) {
            const float gates[2] = {step[0], math_expf(step[0] * s->a->values[head])};
            struct kernel_ssm_head job = {.from = state,
                                          .to = state,
                                          .n_state = s->n_state,
                                          .n = width,
                                          .n_token = 1,
                                          .x = s->x->values + at,
                                          .b = b,
                                          .c = c,
                                          .gates = gates,
                                          .y = y};
            table.ssm_head(&job);
        } else {
            struct kernel_ssm k = {y, state, s->x->values + at, b, c, s->n_state, width};
            struct kernel_ssm_channels own = {step, a, width, zeros};
            table.ssm_channels(&k, &own);
        }
        check_values(y, s->out->values + at, width, 2e-6, 1e-6);
    }
    for (int64_t i = 0; i < s->n_state * width; i++) {
        int64_t at = s->x->n + scan_at(s, head, i % width, i / width);
        check_values(state + i, s->out->values + at, 1, 2e-6, 1e-6);
    }
}

static void check_ssm_scan(void)
{
    struct scan s;
    s.state = need_array("in", "state");
    s.x = need_array("in", "x");
    s.dt = need_array("in", "dt");
    s.a = need_array("in", "A");
    s.b = need_array("in", "B");
    s.c = need_array("in", "C");
    s.out = need_array("out", "y_then_state");
    s.is_head = s.a->ne[0] == 1;
    s.n_state = s.state->ne[0];
    s.n_head = s.is_head ? s.x->ne[1] : 1;
    s.n_channel = s.is_head ? s.x->ne[0] : s.x->ne[1];
    s.n_token = s.x->ne[2];
    for (int64_t head = 0; head < s.n_head; head++) {
        scan_head(&s, head);
    }
}

static void ssm_scan_as_llama_cpp(void **state)
{
    (void)state;
    assert_true(for_cases("ssm.txt", "ssm_scan", check_ssm_scan) == 2);
}

/* ---- Rope ----------------------------------------------------------------------------------- */

struct ops_rope {
    int64_t n_rot;
    double base, freq_scale, ext_factor, attn_factor, low, high;
    const float *factors; /* [n_rot / 2] or NULL */
};

static double yarn_corner(double beta, int64_t n_rot, double base, double n_orig)
{
    return (double)n_rot * log(n_orig / (beta * 2 * 3.14159265358979323846)) / (2 * log(base));
}

static struct ops_rope read_ops_rope(void)
{
    const struct op_array *factors = find_array("in", "freq_factors");
    struct ops_rope r = {(int64_t)case_number("n_dims"),
                         case_number("freq_base"),
                         case_number("freq_scale"),
                         case_number("ext_factor"),
                         case_number("attn_factor"),
                         0,
                         0,
                         NULL};
    double n_orig = case_number("n_ctx_orig");
    r.low = floor(yarn_corner(case_number("beta_fast"), r.n_rot, r.base, n_orig));
    r.high = ceil(yarn_corner(case_number("beta_slow"), r.n_rot, r.base, n_orig));
    r.low = r.low < 0 ? 0 : r.low;
    r.high = r.high > (double)(r.n_rot - 1) ? (double)(r.n_rot - 1) : r.high;
    r.factors = factors != NULL ? factors->values : NULL;
    return r;
}

static void fill_rope_tables(const struct ops_rope *r, double position, float *cosine, float *sine)
{
    for (int64_t i = 0; i < r->n_rot / 2; i++) {
        double plain = position * pow(r->base, -2.0 * (double)i / (double)r->n_rot);
        if (r->factors != NULL) {
            plain /= (double)r->factors[i];
        }
        double theta = r->freq_scale * plain;
        double magnitude = r->attn_factor;
        if (r->ext_factor != 0) {
            double range = r->high - r->low > 0.001 ? r->high - r->low : 0.001;
            double ramp = ((double)i - r->low) / range;
            ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
            double mix = r->ext_factor * (1 - ramp);
            theta = theta * (1 - mix) + plain * mix;
            magnitude *= 1 + 0.1 * log(1 / r->freq_scale);
        }
        cosine[i] = (float)(cos(theta) * magnitude);
        sine[i] = (float)(sin(theta) * magnitude);
    }
}

static int n_rope_cases[2];

static void check_rope(void)
{
    static float y[MAX_VALUES], cosine[512], sine[512];
    const struct op_array *x = need_array("in", "x");
    const struct op_array *position = need_array("in", "pos");
    struct ops_rope r = read_ops_rope();
    int mode = strstr(current.line, " mode=neox ") != NULL ? ROPE_NEOX : ROPE_NORM;
    assert_true(mode == ROPE_NEOX || strstr(current.line, " mode=norm ") != NULL);
    n_rope_cases[mode]++;
    memcpy(y, x->values, (size_t)x->n * sizeof(float));
    for (int64_t t = 0; t < x->ne[2]; t++) {
        fill_rope_tables(&r, (double)position->values[t], cosine, sine);
        for (int64_t h = 0; h < x->ne[1]; h++) {
            table.rope[mode](y + (t * x->ne[1] + h) * x->ne[0], cosine, sine, r.n_rot);
        }
    }
    check_values(y, need_array("exact", "y")->values, x->n, 0, 1e-6);
}

static void rope_as_the_formula_in_double(void **state)
{
    (void)state;
    assert_true(for_cases("rope.txt", "rope", check_rope) >= 10);
    assert_true(n_rope_cases[ROPE_NORM] >= 3 && n_rope_cases[ROPE_NEOX] >= 3);
}

/* ---- Attention ------------------------------------------------------------------------------ */

/* Softmax by attention: one-dimensional queries and keys make the scores, unit vectors as values
 * give back the weights. A mask must be a run in -infinity, of zeros or for ALiBi of distances. */
static void check_softmax(void)
{
    enum {
        max_kv = 32
    };
    static float scratch[ATTENTION_SCRATCH(1) / 4];
    static uint8_t page[KV_PAGE * (1 + max_kv) * 4];
    const struct op_array *x = need_array("in", "x");
    const struct op_array *mask = find_array("in", "mask");
    const struct op_array *want = need_array("out", "y");
    int32_t n_kv = (int32_t)x->ne[0];
    float q = (float)case_number("scale");
    float max, sum, out[max_kv], unit[max_kv];
    double bias = case_number("max_bias");
    assert_true(n_kv <= max_kv);
    for (int64_t row = 0; row < x->ne[1] * x->ne[2]; row++) {
        int32_t from = 0;
        int32_t to = n_kv;
        const float *m = mask != NULL ? mask->values + row % x->ne[1] * n_kv : NULL;
        while (m != NULL && m[from] < (float)-n_kv) {
            from++;
        }
        while (m != NULL && m[to - 1] < (float)-n_kv) {
            to--;
        }
        int32_t at = to - 1; /* with ALiBi the mask is causal, and holds distances */
        float slope = bind_alibi_slope((int32_t)(row / x->ne[1]), (int32_t)x->ne[2], bias);
        for (int32_t p = 0; p < n_kv; p++) {
            memset(unit, 0, sizeof unit);
            unit[p] = 1;
            table.kv_store[KV_F32](page + 4 * p, x->values + row * n_kv + p, 1);
            table.kv_store[KV_F32](page + 4 * (KV_PAGE + p * n_kv), unit, n_kv);
        }
        const uint8_t *pages[1] = {page};
        struct kernel_attention_job job = {
            &q,   1,     1,   1, n_kv, pages, 0,   KV_PAGE * 4, 0,
            n_kv, &from, &to, 0, &max, &sum,  out, 0,           bias > 0 ? &slope : NULL,
            &at};
        table.attention[KV_F32](&job, scratch);
        for (int32_t p = 0; p < n_kv; p++) {
            out[p] /= sum;
        }
        check_values(out, want->values + row * n_kv, n_kv, 1e-5, 1e-9);
    }
}

static int n_softmax;

/* Sinks are not for the kernel. */
static void check_plain_softmax(void)
{
    if (find_array("in", "sinks") == NULL) {
        check_softmax();
        n_softmax++;
    }
}

static void attention_as_softmax(void **state)
{
    (void)state;
    for_cases("softmax.txt", "softmax", check_plain_softmax);
    assert_true(n_softmax >= 4);
}

/* A cache of 3 pages with 2 kv heads, of which the second is used. */
#define TEST_POSITIONS (3 * KV_PAGE)
#define TEST_Q 5
#define TEST_DIM 136 /* more than one stretch of the reference */
#define TEST_DIM_V 20

struct attention_test {
    float k[TEST_POSITIONS][TEST_DIM];
    float v[TEST_POSITIONS][TEST_DIM_V];
    float q[TEST_Q][TEST_DIM + 3];
    uint8_t page[3][KV_PAGE * 2 * (TEST_DIM + TEST_DIM_V) * 4];
    const uint8_t *pages[3];
    int32_t from[TEST_Q], to[TEST_Q];
    float max[TEST_Q], sum[TEST_Q], out[TEST_Q][TEST_DIM_V + 1];
    float scratch[ATTENTION_SCRATCH(TEST_Q) / 4];
};

static struct attention_test at;

static struct kernel_attention_job fill_attention(int type)
{
    size_t size = type == KV_F16 ? 2 : 4;
    size_t k_offset = KV_PAGE * TEST_DIM * size;
    size_t v_offset = 2 * k_offset + KV_PAGE * TEST_DIM_V * size;
    memset(at.page, 0xff, sizeof at.page); /* NaN wherever nothing belongs */
    for (int32_t p = 0; p < TEST_POSITIONS; p++) {
        uint8_t *page = at.page[p / KV_PAGE];
        for (int32_t e = 0; e < TEST_DIM; e++) {
            at.k[p][e] = f16_to_f32(f32_to_f16(random_float()));
        }
        for (int32_t e = 0; e < TEST_DIM_V; e++) {
            at.v[p][e] = f16_to_f32(f32_to_f16(random_float()));
        }
        size_t slot = (size_t)(p % KV_PAGE);
        table.kv_store[type](page + k_offset + slot * TEST_DIM * size, at.k[p], TEST_DIM);
        table.kv_store[type](page + v_offset + slot * TEST_DIM_V * size, at.v[p], TEST_DIM_V);
        at.pages[p / KV_PAGE] = page;
    }
    static const int32_t from[TEST_Q] = {0, 100, 127, 0, 250};
    static const int32_t to[TEST_Q] = {384, 301, 129, 0, 251};
    memcpy(at.from, from, sizeof from);
    memcpy(at.to, to, sizeof to);
    for (int32_t i = 0; i < TEST_Q; i++) {
        for (int32_t e = 0; e < TEST_DIM; e++) {
            at.q[i][e] = random_float();
        }
    }
    struct kernel_attention_job job = {at.q[0],   TEST_DIM + 3,   TEST_Q,   TEST_DIM, TEST_DIM_V,
                                       at.pages,  k_offset,       v_offset, 10,       300,
                                       at.from,   at.to,          0,        at.max,   at.sum,
                                       at.out[0], TEST_DIM_V + 1, NULL,     NULL};
    return job;
}

static void check_attention(const struct kernel_attention_job *job)
{
    for (int32_t i = 0; i < TEST_Q; i++) {
        double score[TEST_POSITIONS], max = -1e300, sum = 0;
        int32_t p0 = max_i32(job->position0, at.from[i]);
        int32_t p1 = min_i32(job->position1, at.to[i]);
        for (int32_t p = p0; p < p1; p++) {
            double s = 0;
            for (int32_t e = 0; e < TEST_DIM; e++) {
                s += (double)at.q[i][e] * (double)at.k[p][e];
            }
            double c = (double)job->softcap;
            score[p] = c != 0 ? c * tanh(s / c) : s;
            max = score[p] > max ? score[p] : max;
        }
        if (p0 >= p1) {
            assert_int_equal(f32_to_bits(at.max[i]), 0xff800000u);
        } else {
            assert_true(fabs((double)at.max[i] - max) < 1e-5);
        }
        double out[TEST_DIM_V] = {0};
        for (int32_t p = p0; p < p1; p++) {
            double weight = exp(score[p] - (double)at.max[i]);
            sum += weight;
            for (int32_t e = 0; e < TEST_DIM_V; e++) {
                out[e] += weight * (double)at.v[p][e];
            }
        }
        assert_true(fabs((double)at.sum[i] - sum) <= 1e-5 * sum);
        for (int32_t e = 0; e < TEST_DIM_V; e++) {
            assert_true(fabs((double)at.out[i][e] - out[e]) <= 1e-5 * sum);
        }
        assert_int_equal(f32_to_bits(at.out[i][TEST_DIM_V]), 0x5a5a5a5a);
    }
}

static void attention_over_pages_as_in_double(void **state)
{
    (void)state;
    for (int type = 0; type < KV_COUNT; type++) {
        for (int round = 0; round < 6; round++) {
            struct kernel_attention_job job = fill_attention(type);
            job.softcap = round % 2 == 0 ? 0 : 1.5f;
            job.position0 = round < 2 ? 0 : round < 4 ? 10 : 128;
            job.position1 = round < 2 ? 384 : round < 4 ? 300 : 256;
            if (job.position0 == 128) { /* pages outside the run are not looked at */
                at.pages[0] = at.pages[2] = NULL;
            }
            memset(at.out, 0x5a, sizeof at.out);
            table.attention[type](&job, at.scratch);
            check_attention(&job);
        }
    }
}

static void attention_does_not_depend_on_the_other_queries(void **state)
{
    (void)state;
    for (int type = 0; type < KV_COUNT; type++) {
        struct kernel_attention_job job = fill_attention(type);
        table.attention[type](&job, at.scratch);
        for (int32_t i = 0; i < TEST_Q; i++) {
            float max, sum, out[TEST_DIM_V];
            struct kernel_attention_job one = job;
            one.q = at.q[i];
            one.n_q = 1;
            one.from = at.from + i;
            one.to = at.to + i;
            one.max = &max;
            one.sum = &sum;
            one.out = out;
            table.attention[type](&one, at.scratch);
            assert_memory_equal(&max, &at.max[i], sizeof max);
            assert_memory_equal(&sum, &at.sum[i], sizeof sum);
            assert_memory_equal(out, at.out[i], sizeof out);
        }
    }
}

/* ---- The rest ------------------------------------------------------------------------------- */

static void kv_store_writes_little_endian_elements(void **state)
{
    (void)state;
    static const float x[3] = {1, -2, 65520};
    static const uint8_t f16[6] = {0x00, 0x3c, 0x00, 0xc0, 0x00, 0x7c};
    static const uint8_t f32[12] = {0x00, 0x00, 0x80, 0x3f, 0x00, 0x00,
                                    0x00, 0xc0, 0x00, 0xf0, 0x7f, 0x47};
    uint8_t got[13];
    memset(got, 0x5a, sizeof got);
    table.kv_store[KV_F16](got, x, 3);
    assert_memory_equal(got, f16, sizeof f16);
    assert_int_equal(got[6], 0x5a);
    table.kv_store[KV_F32](got, x, 3);
    assert_memory_equal(got, f32, sizeof f32);
    assert_int_equal(got[12], 0x5a);
}

static void add_adds(void **state)
{
    (void)state;
    float y[4] = {1, 2, 3, 4};
    const float x[3] = {10, 20, -3};
    table.add(y, x, 3);
    assert_true(y[0] == 11 && y[1] == 22 && y[2] == 0 && y[3] == 4);
}

static void argmax_takes_the_first_and_never_nan(void **state)
{
    (void)state;
    const float nan_value = bits_to_f32(0x7fc00000);
    const float low = bits_to_f32(0xff800000), high = bits_to_f32(0x7f800000);
    const float a[] = {-3, 2, 7, 7, -9};
    const float b[] = {nan_value, low, low, nan_value};
    const float c[] = {nan_value, nan_value, nan_value};
    const float d[] = {-0.0f, 0.0f};
    const float e[] = {-2, bits_to_f32(0xffc00000), -1, high, nan_value};
    const float f[] = {-5, -1e-40f, -1};
    assert_int_equal(table.argmax(a, 5), 2);
    assert_int_equal(table.argmax(a, 1), 0);
    assert_int_equal(table.argmax(b, 4), 1);
    assert_int_equal(table.argmax(c, 3), 0);
    assert_int_equal(table.argmax(d, 2), 0);
    assert_int_equal(table.argmax(e, 5), 3);
    assert_int_equal(table.argmax(f, 3), 1);
}

static void every_entry_is_there(void **state)
{
    (void)state;
    assert_string_equal(table.isa, "ref");
    for (int i = 0; i < KV_COUNT; i++) {
        assert_true(table.attention[i] != NULL && table.kv_store[i] != NULL);
    }
    assert_true(table.rms_norm != NULL && table.swiglu != NULL && table.add != NULL);
    assert_true(table.rope[0] != NULL && table.rope[1] != NULL && table.argmax != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_is_there),
        cmocka_unit_test(rms_norm_as_llama_cpp),
        cmocka_unit_test(swiglu_as_llama_cpp),
        cmocka_unit_test(ssm_scan_as_llama_cpp),
        cmocka_unit_test(rope_as_the_formula_in_double),
        cmocka_unit_test(attention_as_softmax),
        cmocka_unit_test(attention_over_pages_as_in_double),
        cmocka_unit_test(attention_does_not_depend_on_the_other_queries),
        cmocka_unit_test(kv_store_writes_little_endian_elements),
        cmocka_unit_test(add_adds),
        cmocka_unit_test(argmax_takes_the_first_and_never_nan),
    };
    kernels_set_ref(&table);
    return cmocka_run_group_tests_name("operators", tests, NULL, NULL);
}
