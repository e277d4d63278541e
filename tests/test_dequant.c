/* test_dequant.c - weight formats: every block type decodes as llama.cpp's code does, and the
 * reference products agree with a dot product in double, for the vectors of tests/golden/dequant
 * ("slm-dequant 1"). Then what no vector covers: conversions, activations, contracts, hostile
 * bytes. */
#include "../slm.c"

#include <math.h>
#include <setjmp.h>
#include <cmocka.h>

#include "testing.h"

#define MAX_ELEMENTS 1024

static struct kernels table;

/* ---- Reading vectors ------------------------------------------------------------------------ */

/* The rest of the line if it begins with that word, else NULL. */
static const char *after_word(const char *line, const char *word)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end != NULL ? end + 1 : line + strlen(line);
}

/* Hex digits up to the end of the line; the number of bytes. */
static int64_t read_hex(const char *s, uint8_t *bytes, int64_t capacity)
{
    int64_t n = 0;
    unsigned value;
    for (; *s != '\n' && *s != 0; s += 2, n++) {
        assert_true(n < capacity);
        assert_int_equal(sscanf(s, "%2x", &value), 1);
        bytes[n] = (uint8_t)value;
    }
    return n;
}

static int64_t read_floats(const char *s, float *values, int64_t capacity)
{
    int64_t n = 0;
    while (*s != '\n' && *s != 0) {
        char *end;
        assert_true(n < capacity);
        values[n++] = strtof(s, &end);
        assert_true(end > s);
        s = end + strspn(end, " ");
    }
    return n;
}

/* Bit for bit; a build with -ffast-math may reorder the multiplications, flush and drop signs. */
static int same_float(float got, float want)
{
#ifdef __FAST_MATH__
    float error = fabsf(got - want);
    return error <= 3e-7f * fabsf(want) || error < 1e-37f;
#else
    return f32_to_bits(got) == f32_to_bits(want);
#endif
}

/* ---- The vectors ---------------------------------------------------------------------------- */

/* Room for prepared activations, 64-byte aligned. */
static void *aligned_room(size_t size, void **raw)
{
    *raw = calloc(1, size + 64);
    assert_non_null(*raw);
    return (void *)(((uintptr_t)*raw + 63) & ~(uintptr_t)63);
}

static float run_product(const struct kernel_product *product, const uint8_t *w, const float *x,
                         int64_t k)
{
    void *raw;
    void *raw_scratch;
    float y = NAN;
    void *act = aligned_room(product->act->row_bytes(k), &raw);
    void *scratch = aligned_room(product->scratch_bytes(1, k), &raw_scratch);
    product->act->prepare(act, x, 1, k);
    product->multiply(&y, 1, w, 0, 1, act, 1, k, scratch);
    free(raw);
    free(raw_scratch);
    return y;
}

static void check_block(const struct kernel_format *format, const char *hex, const char *values)
{
    static uint8_t bytes[MAX_ELEMENTS * 8];
    static float want[MAX_ELEMENTS];
    static float got[MAX_ELEMENTS];
    int64_t n_bytes = read_hex(hex, bytes, (int64_t)sizeof bytes);
    int64_t n = read_floats(values, want, MAX_ELEMENTS);
    assert_true(n > 0 && n % format->block_elements == 0);
    assert_int_equal(n_bytes, n / format->block_elements * format->block_bytes);
    format->decode(got, bytes, n);
    for (int64_t i = 0; i < n; i++) {
        if (!same_float(got[i], want[i])) {
            fail_msg("%s, element %d: %.9g, not %.9g", format->name, (int)i, (double)got[i],
                     (double)want[i]);
        }
    }
    assert_int_equal(format->has_nonfinite(bytes, n), 0);
}

static void check_vecdot(int32_t id, const char *text, const char *act, double exact, double abssum)
{
    static uint8_t w[MAX_ELEMENTS * 8];
    static float x[MAX_ELEMENTS];
    char *hex;
    const struct kernel_format *format = &kernel_formats[id];
    int64_t k = strtol(text, &hex, 10);
    int64_t n_bytes = read_hex(hex + 1, w, (int64_t)sizeof w);
    assert_int_equal(n_bytes, k / format->block_elements * format->block_bytes);
    assert_int_equal(read_floats(act, x, MAX_ELEMENTS), k);

    double error = fabs((double)run_product(table.exact[id].one, w, x, k) - exact);
    if (!(error <= 1e-6 * abssum)) {
        fail_msg("%s exact: error %g of sum|wx|", format->name, error / abssum);
    }
    double bound = table.matrix[id].one->act == &act_f32 ? 1e-6 : 3e-3;
    error = fabs((double)run_product(table.matrix[id].one, w, x, k) - exact);
    if (!(error <= bound * abssum)) {
        fail_msg("%s: error %g of sum|wx|", format->name, error / abssum);
    }
}

static void vectors_of_type(void **state)
{
    const char *name = (const char *)*state;
    char path[128];
    size_t size = 0;
    snprintf(path, sizeof path, "tests/golden/dequant/%s.txt", name);
    char *text = testing_read(path, &size);
    if (text == NULL) {
        fail_msg("%s cannot be read", path);
        return;
    }
    int32_t id = -1;
    int n_block = 0;
    int n_vecdot = 0;
    const char *hex = NULL;
    const char *vecdot = NULL;
    const char *act = NULL;
    double exact = 0;
    assert_int_equal(strncmp(text, "slm-dequant 1\n", 14), 0);
    for (const char *line = next_line(text), *rest; *line != 0; line = next_line(line)) {
        if ((rest = after_word(line, "type")) != NULL) {
            char type_name[32];
            int elements, bytes;
            assert_int_equal(
                sscanf(rest, "%31s id %d block %d bytes %d", type_name, &id, &elements, &bytes), 4);
            assert_true(id >= 0 && id < ENC_COUNT);
            assert_int_equal(kernel_formats[id].block_elements, elements);
            assert_int_equal(kernel_formats[id].block_bytes, bytes);
            for (size_t i = 0; i <= strlen(name); i++) {
                int c = kernel_formats[id].name[i];
                assert_int_equal(c >= 'A' && c <= 'Z' ? c + 32 : c, type_name[i]);
            }
        } else if ((rest = after_word(line, "block")) != NULL) {
            hex = rest;
        } else if ((rest = after_word(line, "values")) != NULL) {
            assert_non_null(hex);
            check_block(&kernel_formats[id], hex, rest);
            hex = NULL;
            n_block++;
        } else if ((rest = after_word(line, "vecdot")) != NULL) {
            vecdot = rest;
        } else if ((rest = after_word(line, "act")) != NULL) {
            act = rest;
        } else if ((rest = after_word(line, "exact")) != NULL) {
            exact = strtod(rest, NULL);
        } else if ((rest = after_word(line, "abssum")) != NULL) {
            assert_true(vecdot != NULL && act != NULL);
            check_vecdot(id, vecdot, act, exact, strtod(rest, NULL));
            vecdot = act = NULL;
            n_vecdot++;
        } else {
            assert_int_equal(line[0], '#');
        }
    }
    assert_true(n_block >= 4);
    assert_true(n_vecdot >= 2);
    free(text);
}

/* ---- Random numbers ------------------------------------------------------------------------- */

static uint32_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static float random_float(void)
{
    return (float)(int32_t)random_u32() * 0x1p-31f;
}

/* ---- Conversions ---------------------------------------------------------------------------- */

static float f16_by_formula(uint16_t h)
{
    int exponent = (h >> 10) & 31;
    double m = h & 0x3ff;
    double value = exponent == 0 ? ldexp(m, -24) : ldexp(m + 1024, exponent - 25);
    return (float)(h & 0x8000 ? -value : value);
}

static void f16_converts_exactly_and_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) != 0x7c00) {
            assert_int_equal(f32_to_bits(f), f32_to_bits(f16_by_formula((uint16_t)h)));
            assert_int_equal(f32_to_f16(f), h);
        } else if ((h & 0x3ff) == 0) {
            assert_int_equal(f32_to_bits(f), h & 0x8000 ? 0xff800000u : 0x7f800000u);
            assert_int_equal(f32_to_f16(f), h);
        } else {
            assert_true(f32_is_nan(f));
            assert_int_equal(f32_to_f16(f), (h & 0x8000) | 0x7e00);
        }
    }
    for (uint32_t h = 0; h < 0x7c00; h++) {
        /* Halfway to the next: one more bit of mantissa, exact. 65536 stands for infinity. */
        float low = f16_by_formula((uint16_t)h);
        float high = h == 0x7bff ? 65536.0f : f16_by_formula((uint16_t)(h + 1));
        uint32_t middle = f32_to_bits((low + high) / 2);
        assert_int_equal(f32_to_f16(bits_to_f32(middle)), h + (h & 1));
        assert_int_equal(f32_to_f16(bits_to_f32(middle - 1)), h);
        assert_int_equal(f32_to_f16(bits_to_f32(middle + 1)), h + 1);
        assert_int_equal(f32_to_f16(bits_to_f32(middle | 0x80000000u)), 0x8000 + h + (h & 1));
    }
    assert_int_equal(f32_to_f16(bits_to_f32(0x7f7fffff)), 0x7c00);
}

static void bf16_is_the_upper_half(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        assert_int_equal(f32_to_bits(bf16_to_f32((uint16_t)h)), h << 16);
    }
}

static void eight_bit_scales_convert(void **state)
{
    (void)state;
    assert_int_equal(ue4m3_to_units(0), 0);
    assert_int_equal(ue4m3_to_units(7), 7);      /* 2^-9 each */
    assert_int_equal(ue4m3_to_units(0x38), 512); /* 1 */
    assert_int_equal(ue4m3_to_units(0x7e), 448 * 512);
    assert_int_equal(ue4m3_to_units(0x7f), 0); /* NaN */
    assert_int_equal(ue4m3_to_units(0x80), 0);
    assert_int_equal(ue4m3_to_units(0xff), 480 * 512);
    for (int e = 0; e < 256; e++) {
        uint32_t want = e == 0   ? 0x00200000u /* 2^-128 and 2^-127 are subnormal */
                        : e == 1 ? 0x00400000u
                                 : f32_to_bits((float)ldexp(1, e - 128));
        assert_int_equal(f32_to_bits(e8m0_half_to_f32((uint8_t)e)), want);
    }
}

/* As a file has it, on every machine: the low byte first. */
static void put_low_byte_first(uint8_t *to, uint64_t value, int n)
{
    for (int i = 0; i < n; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_f32(uint8_t *to, float value)
{
    put_low_byte_first(to, f32_to_bits(value), 4);
}

static void put_f64(uint8_t *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_low_byte_first(to, bits, 8);
}

static void f32_and_f64_decode_to_the_same_number(void **state)
{
    (void)state;
    float values[3] = {1.5f, -0x1.234568p-100f, 3e38f};
    double doubles[3] = {1.5, -0x1.2345680001p-100, 3e38};
    float got[3];
    uint8_t bytes[1 + sizeof doubles];
    for (int i = 0; i < 3; i++) {
        put_f32(bytes + 1 + 4 * i, values[i]); /* at an odd address */
    }
    kernel_formats[ENC_F32].decode(got, bytes + 1, 3);
    assert_memory_equal(got, values, sizeof values);
    for (int i = 0; i < 3; i++) {
        put_f64(bytes + 1 + 8 * i, doubles[i]);
    }
    kernel_formats[ENC_F64].decode(got, bytes + 1, 3);
    assert_memory_equal(got, values, sizeof values);
}

static void codebooks_have_the_published_sums(void **state)
{
    (void)state;
#define CHECK_SUM(grid, count, want)                                                               \
    do {                                                                                           \
        uint32_t sum = 0;                                                                          \
        assert_int_equal(SLM_COUNT(grid), count);                                                  \
        for (int32_t i = 0; i < SLM_COUNT(grid); i++) {                                            \
            sum += grid[i];                                                                        \
        }                                                                                          \
        assert_int_equal(sum, want);                                                               \
    } while (0)
    CHECK_SUM(ref_grid_iq2_xxs, 256, 3697703);
    CHECK_SUM(ref_grid_iq2_xs, 512, 8004683);
    CHECK_SUM(ref_grid_iq2_s, 1024, 16519059);
    CHECK_SUM(ref_grid_iq1, 2048, 44428132);
    CHECK_SUM(ref_grid_iq3_xxs, 256, 391138);
    CHECK_SUM(ref_grid_iq3_s, 512, 777331);
}

/* ---- The table of formats ------------------------------------------------------------------- */

static void types_have_products_where_they_have_a_decoder(void **state)
{
    (void)state;
    int n_type = 0;
    for (int32_t id = 0; id < ENC_COUNT; id++) {
        const struct kernel_format *f = &kernel_formats[id];
        const struct kernel_matrix *both[2] = {&table.matrix[id], &table.exact[id]};
        for (int i = 0; i < 2; i++) {
            int wanted = f->decode != NULL;
            assert_int_equal(both[i]->one != NULL, wanted);
            assert_int_equal(both[i]->few != NULL, wanted);
            assert_int_equal(both[i]->many != NULL, wanted);
        }
        assert_int_equal(f->name != NULL, f->block_elements > 0);
        assert_int_equal(f->has_nonfinite != NULL, f->block_elements > 0);
        n_type += f->decode != NULL;
    }
    assert_int_equal(n_type, 29);
}

static void nonfinite_scales_are_found(void **state)
{
    (void)state;
    /* Where the f16 scales are, by the layouts of the formats; -1 ends. */
    static const int places[][3] = {
        {ENC_F16, 0, -1},    {ENC_Q4_0, 0, -1},   {ENC_Q4_1, 0, 2},     {ENC_Q5_0, 0, -1},
        {ENC_Q5_1, 0, 2},    {ENC_Q8_0, 0, -1},   {ENC_Q2_K, 80, 82},   {ENC_Q3_K, 108, -1},
        {ENC_Q4_K, 0, 2},    {ENC_Q5_K, 0, 2},    {ENC_Q6_K, 208, -1},  {ENC_IQ2_XXS, 0, -1},
        {ENC_IQ2_XS, 0, -1}, {ENC_IQ2_S, 0, -1},  {ENC_IQ3_XXS, 0, -1}, {ENC_IQ3_S, 0, -1},
        {ENC_IQ1_S, 0, -1},  {ENC_IQ4_NL, 0, -1}, {ENC_IQ4_XS, 0, -1},  {ENC_TQ1_0, 52, -1},
        {ENC_TQ2_0, 64, -1}, {ENC_Q1_0, 0, -1},   {ENC_Q2_0, 0, -1},
    };
    uint8_t bytes[600];
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const struct kernel_format *f = &kernel_formats[places[i][0]];
        for (int j = 1; j < 3 && places[i][j] >= 0; j++) {
            memset(bytes, 0, sizeof bytes);
            assert_int_equal(f->has_nonfinite(bytes, 2 * f->block_elements), 0);
            uint8_t *scale = bytes + f->block_bytes + places[i][j]; /* of the second block */
            scale[1] = 0x7c;
            assert_int_equal(f->has_nonfinite(bytes, 2 * f->block_elements), 1);
            assert_int_equal(f->has_nonfinite(bytes, f->block_elements), 0);
            scale[0] = 1;
            assert_int_equal(f->has_nonfinite(bytes, 2 * f->block_elements), 1);
            scale[0] = 0xff;
            scale[1] = 0xfb;
            assert_int_equal(f->has_nonfinite(bytes, 2 * f->block_elements), 0);
        }
    }
    memset(bytes, 0, sizeof bytes);
    bytes[17] = 0xff;
    assert_int_equal(kernel_formats[ENC_MXFP4].has_nonfinite(bytes, 64), 1);
    bytes[17] = 0xfe;
    assert_int_equal(kernel_formats[ENC_MXFP4].has_nonfinite(bytes, 64), 0);
    memset(bytes, 0, sizeof bytes);
    bytes[55] = 0x70; /* IQ1_M: the top nibbles of words 3 and 2 */
    bytes[53] = 0xc0;
    assert_int_equal(kernel_formats[ENC_IQ1_M].has_nonfinite(bytes, 256), 1);
    bytes[53] = 0x80;
    assert_int_equal(kernel_formats[ENC_IQ1_M].has_nonfinite(bytes, 256), 0);
}

static void nonfinite_elements_are_found(void **state)
{
    (void)state;
    uint8_t bytes[16] = {0};
    bytes[6] = 0x80;
    bytes[7] = 0x7f;
    assert_int_equal(kernel_formats[ENC_F32].has_nonfinite(bytes, 2), 1);
    assert_int_equal(kernel_formats[ENC_F32].has_nonfinite(bytes, 1), 0);
    assert_int_equal(kernel_formats[ENC_BF16].has_nonfinite(bytes, 4), 1);
    assert_int_equal(kernel_formats[ENC_BF16].has_nonfinite(bytes, 3), 0);
    bytes[7] = 0x7e;
    assert_int_equal(kernel_formats[ENC_F32].has_nonfinite(bytes, 2), 0);
    assert_int_equal(kernel_formats[ENC_BF16].has_nonfinite(bytes, 4), 0);
    bytes[14] = 0xf0;
    bytes[15] = 0xff;
    assert_int_equal(kernel_formats[ENC_F64].has_nonfinite(bytes, 2), 1);
    assert_int_equal(kernel_formats[ENC_F64].has_nonfinite(bytes, 1), 0);
    bytes[14] = 0xe0;
    assert_int_equal(kernel_formats[ENC_F64].has_nonfinite(bytes, 2), 0);
}

/* A sanitizer is what makes this test bite: any bytes are a block of any type. */
static void random_bytes_decode_and_multiply_without_harm(void **state)
{
    (void)state;
    static float x[512], y[512];
    for (int i = 0; i < 512; i++) {
        x[i] = random_float();
    }
    int n_done = 0;
    for (int32_t id = 0; id < ENC_COUNT; id++) {
        const struct kernel_format *f = &kernel_formats[id];
        if (f->decode == NULL) {
            continue;
        }
        size_t size = (size_t)(512 / f->block_elements * f->block_bytes);
        uint8_t *w = (uint8_t *)malloc(size); /* exactly: a read beyond the end is seen */
        assert_non_null(w);
        for (int round = 0; round < 50; round++) {
            for (size_t i = 0; i < size; i++) {
                w[i] = round == 0 ? 0xff : (uint8_t)(random_u32() >> 24);
            }
            f->decode(y, w, 512);
            run_product(table.matrix[id].one, w, x, 512);
            run_product(table.exact[id].one, w, x, 512);
            n_done += f->has_nonfinite(w, 512) >= 0;
        }
        free(w);
    }
    assert_int_equal(n_done, 29 * 50);
}

/* ---- Activations ---------------------------------------------------------------------------- */

/* got is x rounded to f16; with -ffast-math, which may divide by multiplying, nearly so. */
static int near_f16(float got, float x)
{
#ifdef __FAST_MATH__
    return fabsf(got - x) <= fabsf(x) * 0x1.1p-11f + 0x1p-24f ||
           (fabsf(x) > 65500 && (f32_to_bits(got) & 0x7fffffff) >= 0x477fe000); /* or infinity */
#else
    return f32_to_bits(got) == f32_to_bits(f16_to_f32(f32_to_f16(x)));
#endif
}

static void activations_become_int8_blocks(void **state)
{
    (void)state;
    enum {
        k = 512
    };
    static float x[k];
    void *raw;
    for (int round = 0; round < 20; round++) {
        float range = ldexpf(1, 2 * round - 20);
        for (int i = 0; i < k; i++) {
            x[i] = random_float() * range;
        }
        x[40] = 2 * range; /* a tie of magnitudes: the first one decides */
        x[41] = -2 * range;
        void *act = aligned_room(act_q8_0.row_bytes(k) + act_q8_k.row_bytes(k), &raw);
        act_q8_0.prepare(act, x, 1, k);
        struct act_q8_0_planes a = act_q8_0_at(act, k);
        for (int b = 0; b < k / 32; b++) {
            float amax = 0;
            int sum = 0;
            for (int i = 32 * b; i < 32 * b + 32; i++) {
                amax = fmaxf(amax, fabsf(x[i]));
            }
            for (int i = 32 * b; i < 32 * b + 32; i++) {
                assert_true(fabs(a.q[i] - (double)x[i] * 127 / (double)amax) < 0.5001);
                sum += a.q[i];
            }
            assert_true(near_f16(a.d[b], amax / 127));
            assert_true(near_f16(a.s[b], amax / 127 * (float)sum));
        }
        act_q8_k.prepare(act, x, 1, k);
        struct act_q8_k_planes c = act_q8_k_at(act, k);
        assert_int_equal(c.q[40], -127);
        for (int i = 0; i < k; i++) {
            assert_true(fabs((double)c.q[i] * (double)c.d[i / 256] - (double)x[i]) <=
                        0.5001 * fabs((double)c.d[i / 256]));
        }
        for (int s = 0; s < k / 16; s++) {
            int sum = 0;
            for (int i = 16 * s; i < 16 * s + 16; i++) {
                sum += c.q[i];
            }
            assert_int_equal(c.bsums[s], sum);
        }
        free(raw);
    }
}

static void activation_ties_go_to_even(void **state)
{
    (void)state;
#ifdef __FAST_MATH__
    printf("skipped: with -ffast-math the scale need not be exactly 1\n");
    skip();
#endif
    static float x[256];
    void *raw;
    for (int i = 0; i < 256; i++) {
        x[i] = (float)(i % 8) + 0.5f; /* times 1: the scale of a block with 127 in it */
    }
    for (int i = 0; i < 256; i += 32) {
        x[i] = 127;
    }
    void *act = aligned_room(act_q8_0.row_bytes(256) + act_q8_k.row_bytes(256), &raw);
    act_q8_0.prepare(act, x, 1, 256);
    for (int i = 1; i < 32; i++) {
        assert_int_equal(act_q8_0_at(act, 256).q[i], (i % 8 + 1) / 2 * 2);
    }
    act_q8_k.prepare(act, x, 1, 256);
    for (int i = 1; i < 32; i++) {
        assert_int_equal(act_q8_k_at(act, 256).q[i], -((i % 8 + 1) / 2 * 2));
    }
    free(raw);
}

static void activations_at_the_edges_are_defined(void **state)
{
    (void)state;
    static const uint32_t edges[] = {0,          0x80000000, 1,          0x00800000,
                                     0x0d800000, 0x0d7fffff, 0x7f7fffff, 0xff7fffff,
                                     0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff};
    static float x[512];
    void *raw;
    void *act = aligned_room(act_q8_0.row_bytes(512) + act_q8_k.row_bytes(512), &raw);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        for (int fill = 0; fill < 2; fill++) {
            for (int j = 0; j < 512; j++) {
                x[j] = fill ? bits_to_f32(edges[i]) : 0;
            }
            x[300] = bits_to_f32(edges[i]);
            int bad = (edges[i] & 0x7f800000) == 0x7f800000;
            act_q8_0.prepare(act, x, 1, 512);
            assert_int_equal(f32_is_nan(act_q8_0_at(act, 512).d[300 / 32]), bad);
            act_q8_k.prepare(act, x, 1, 512);
            assert_int_equal(f32_is_nan(act_q8_k_at(act, 512).d[1]), bad);
            if ((edges[i] & 0x7fffffff) < 0x0d800000) { /* too small for a scale: nothing is left */
                assert_int_equal(act_q8_0_at(act, 512).q[300], 0);
                assert_int_equal(act_q8_k_at(act, 512).q[300], 0);
                assert_int_equal(f32_to_bits(act_q8_k_at(act, 512).d[1]), 0);
            }
            if (!fill) { /* the block before it is not touched by what comes later */
                assert_int_equal(f32_to_bits(act_q8_k_at(act, 512).d[0]), 0);
            }
        }
    }
    free(raw);
}

/* ---- The contract of products --------------------------------------------------------------- */

/* Makes the float scales of a block 1; the minimum of Q4_1 and Q5_1 0, since it meets a rounded
 * sum. */
static void set_unit_scales(int32_t id, uint8_t *block)
{
    static const uint8_t iq1_m[4] = {0, 0, 0xc0, 0x30}; /* the nibbles of 0x3c00 */
    static const int at_end[][2] = {
        {ENC_Q2_K, 80}, {ENC_Q3_K, 108}, {ENC_Q6_K, 208}, {ENC_TQ1_0, 52}, {ENC_TQ2_0, 64}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof at_end / sizeof at_end[0]; i++) {
        at = at_end[i][0] == id ? (size_t)at_end[i][1] : at;
    }
    if (id == ENC_MXFP4) {
        block[0] = 128;
    } else if (id == ENC_NVFP4) {
        memset(block, 0x38, 4);
    } else if (id == ENC_IQ1_M) {
        for (int s = 0; s < 4; s++) {
            block[49 + 2 * s] = (uint8_t)((block[49 + 2 * s] & 0x0f) | iq1_m[s]);
        }
    } else {
        block[at] = 0;
        block[at + 1] = 0x3c;
    }
    if (id == ENC_Q2_K || id == ENC_Q4_K || id == ENC_Q5_K) {
        block[at + 2] = 0;
        block[at + 3] = 0x3c;
    } else if (id == ENC_Q4_1 || id == ENC_Q5_1) {
        block[2] = block[3] = 0;
    }
}

/* Integers exactly, then one multiplication: with powers of two for scales there is no rounding. */
static void int8_products_are_exact_in_their_integers(void **state)
{
    (void)state;
    enum {
        k = 256
    };
    static float x[k], w[k];
    uint8_t bytes[1024];
    int n_checked = 0;
    for (int i = 0; i < k; i++) {
        x[i] = (float)((int32_t)(random_u32() % 255) - 127);
    }
    for (int i = 0; i < k; i += 32) {
        x[i] = -127; /* so that q is -x or x and the scale 1 in both forms */
    }
    for (int32_t id = 0; id < ENC_COUNT; id++) {
        const struct kernel_format *f = &kernel_formats[id];
        if (f->decode == NULL || table.matrix[id].one->act == &act_f32) {
            continue;
        }
        int64_t size = k / f->block_elements * f->block_bytes;
        for (int64_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)(random_u32() >> 24);
        }
        for (int64_t i = 0; i < k / f->block_elements; i++) {
            set_unit_scales(id, bytes + i * f->block_bytes);
        }
        f->decode(w, bytes, k);
        double want = 0;
        for (int i = 0; i < k; i++) {
            want += (double)w[i] * (double)x[i];
        }
        double got = (double)run_product(table.matrix[id].one, bytes, x, k);
        assert_true(fabs(got - want) <= fabs(want) * 2e-7 + 1e-9);
        n_checked++;
    }
    assert_int_equal(n_checked, 25);
}

static void products_depend_on_row_and_token_only(void **state)
{
    (void)state;
    enum {
        k = 512,
        n_row = 5,
        n_token = 3,
        stride = 7,
        guard = 0x5a
    };
    static float x[n_token * k];
    static float all[n_token * stride], part[n_token * stride];
    static uint8_t w[n_row * k * 8 + 1];
    for (int i = 0; i < n_token * k; i++) {
        x[i] = random_float();
    }
    for (int32_t id = 0; id < ENC_COUNT; id++) {
        const struct kernel_format *f = &kernel_formats[id];
        const struct kernel_product *both[2] = {table.matrix[id].one, table.exact[id].one};
        int64_t row_bytes = f->decode != NULL ? k / f->block_elements * f->block_bytes : 0;
        for (int64_t i = 0; i < n_row * row_bytes; i++) {
            w[i + 1] = (uint8_t)((random_u32() >> 24) & 0x3f); /* no NaN among scales */
        }
        for (int p = 0; p < 2 && f->decode != NULL; p++) {
            const struct kernel_act *form = both[p]->act;
            void *raw;
            uint8_t *act = (uint8_t *)aligned_room(form->row_bytes(k) * n_token, &raw);
            assert_int_equal(form->row_bytes(k) % 64, 0);
            form->prepare(act, x, n_token, k);
            memset(all, guard, sizeof all);
            both[p]->multiply(all, stride, w + 1, 0, n_row, act, n_token, k, NULL);
            for (int r = 0; r < n_row; r++) {
                memset(part, guard, sizeof part); /* one row of all tokens, then of one token */
                both[p]->multiply(part, stride, w + 1, r, r + 1, act, n_token, k, NULL);
                for (int i = 0; i < n_token * stride; i++) {
                    assert_int_equal(f32_to_bits(part[i]),
                                     i % stride == r ? f32_to_bits(all[i]) : 0x5a5a5a5a);
                }
                for (int t = 0; t < n_token; t++) {
                    both[p]->multiply(part, stride, w + 1, r, r + 1,
                                      act + (size_t)t * form->row_bytes(k), 1, k, NULL);
                    assert_int_equal(f32_to_bits(part[r]), f32_to_bits(all[t * stride + r]));
                }
            }
            for (int t = 0; t < n_token; t++) {
                assert_int_equal(f32_to_bits(all[t * stride + n_row]), 0x5a5a5a5a);
            }
            free(raw);
        }
    }
}

static void f32_products_take_any_width(void **state)
{
    (void)state;
    static float w[700], x[700];
    static uint8_t bytes[sizeof w];
    for (int i = 0; i < 700; i++) {
        w[i] = random_float();
        x[i] = random_float();
        put_f32(bytes + 4 * i, w[i]);
    }
    static const int widths[] = {1, 2, 7, 8, 9, 255, 256, 257, 511, 513, 700};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        double want = 0;
        for (int j = 0; j < widths[i]; j++) {
            want += (double)w[j] * (double)x[j];
        }
        float got = run_product(table.matrix[ENC_F32].one, bytes, x, widths[i]);
        assert_true(fabs((double)got - want) <= 1e-5);
    }
}

int main(void)
{
    static const char *names[] = {
        "bf16",   "f16",    "iq1_m", "iq1_s", "iq2_s", "iq2_xs", "iq2_xxs", "iq3_s", "iq3_xxs",
        "iq4_nl", "iq4_xs", "mxfp4", "nvfp4", "q1_0",  "q2_0",   "q2_k",    "q3_k",  "q4_0",
        "q4_1",   "q4_k",   "q5_0",  "q5_1",  "q5_k",  "q6_k",   "q8_0",    "tq1_0", "tq2_0"};
    struct CMUnitTest vectors[sizeof names / sizeof names[0]];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_converts_exactly_and_rounds_to_nearest_even),
        cmocka_unit_test(bf16_is_the_upper_half),
        cmocka_unit_test(eight_bit_scales_convert),
        cmocka_unit_test(f32_and_f64_decode_to_the_same_number),
        cmocka_unit_test(codebooks_have_the_published_sums),
        cmocka_unit_test(types_have_products_where_they_have_a_decoder),
        cmocka_unit_test(nonfinite_scales_are_found),
        cmocka_unit_test(nonfinite_elements_are_found),
        cmocka_unit_test(random_bytes_decode_and_multiply_without_harm),
        cmocka_unit_test(activations_become_int8_blocks),
        cmocka_unit_test(activation_ties_go_to_even),
        cmocka_unit_test(activations_at_the_edges_are_defined),
        cmocka_unit_test(int8_products_are_exact_in_their_integers),
        cmocka_unit_test(products_depend_on_row_and_token_only),
        cmocka_unit_test(f32_products_take_any_width),
    };
    kernels_set_ref(&table);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct CMUnitTest test = {names[i], vectors_of_type, NULL, NULL,
                                  (void *)(uintptr_t)names[i]};
        vectors[i] = test;
    }
    int failed = cmocka_run_group_tests_name("golden vectors", vectors, NULL, NULL);
    return failed + cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
