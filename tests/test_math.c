/* test_math.c - math.c against the host's libm in long double, over dense and edge inputs. */
#include "../slm.c"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "check_rope.h"
#include "testing.h"

/* -ffast-math links start-up code that flushes denormals and lets sums be reordered: the same
 * inputs, a wider bound. */
#ifdef __FAST_MATH__
#define ULP_DOUBLE 2.0
#define ULP_FLOAT 1.0
#else
#define ULP_DOUBLE 1.0
#define ULP_FLOAT 0.51
#endif

typedef long double oracle_fn(long double);

/* Through volatile pointers: under -ffast-math a compiler writes its own inexact sine and root. */
static oracle_fn *volatile libm_sin = sinl;
static oracle_fn *volatile libm_cos = cosl;
static double (*volatile libm_sqrt)(double) = sqrt;

/* Uniform in [a, b). */
static double test_uniform(uint64_t *state, double a, double b)
{
    return a + (b - a) * ((double)(testing_random(state) >> 11) * 0x1p-53);
}

/* How many units of the last place of a number with `digits` bits lie between got and want. */
static double test_ulps(long double got, long double want, int digits, int least_exponent)
{
    int exponent = 0;
    frexpl(want, &exponent);
    exponent = exponent - digits > least_exponent ? exponent - digits : least_exponent;
    return (double)fabsl(ldexpl(got - want, -exponent));
}

static double test_ulps_double(double got, long double want)
{
    return test_ulps(got, want, 53, -1074);
}

static double test_ulps_float(float got, long double want)
{
    return test_ulps((long double)got, want, 24, -149);
}

static double exp_of(double x)
{
    return math_exp_pair(x, 0);
}

/* The worst of `count` inputs between a and b, and the ends. */
static void check_double(const char *name, double (*f)(double), oracle_fn *oracle, double a,
                         double b, int count)
{
    uint64_t state = 1;
    double worst = 0;
    double worst_at = a;
    for (int i = 0; i < count; i++) {
        double x = i == 0 ? a : i == 1 ? b : test_uniform(&state, a, b);
        double ulps = test_ulps_double(f(x), oracle((long double)x));
        if (!(ulps <= worst)) {
            worst = ulps;
            worst_at = x;
        }
    }
    print_message("%-5s [%g, %g]: %.3f ulp at %.17g\n", name, a, b, worst, worst_at);
    assert_true(worst < ULP_DOUBLE);
}

/* Every `step`-th float from the bit pattern of a to that of b. */
static void check_float(const char *name, float (*f)(float), oracle_fn *oracle, float a, float b,
                        uint32_t step)
{
    double worst = 0;
    float worst_at = a;
    uint32_t last = f32_to_bits(b);
    uint32_t count = 0;
    for (uint32_t bits = f32_to_bits(a); bits <= last; bits += step) {
        float x = bits_to_f32(bits);
        double ulps = test_ulps_float(f(x), oracle((long double)x));
        if (!(ulps <= worst)) {
            worst = ulps;
            worst_at = x;
        }
        count++;
    }
    print_message("%-5s [%g, %g]: %.4f ulp at %.9g, %u inputs\n", name, (double)a, (double)b, worst,
                  (double)worst_at, count);
    assert_true(count > 10000);
    assert_true(worst < ULP_FLOAT);
}

static void exp_is_within_an_ulp(void **unused)
{
    (void)unused;
    check_double("exp", exp_of, expl, -0.4, 0.4, 300000);
    check_double("exp", exp_of, expl, -20, 20, 300000);
    check_double("exp", exp_of, expl, -708, 709.78, 300000);
#ifndef __FAST_MATH__
    check_double("exp", exp_of, expl, -745, -708, 100000);
#endif
}

static void log_is_within_an_ulp(void **unused)
{
    (void)unused;
    check_double("log", math_log, logl, 0.99, 1.01, 300000);
    check_double("log", math_log, logl, 0.5, 2, 300000);
    check_double("log", math_log, logl, 1e-300, 1e-290, 100000);
    check_double("log", math_log, logl, 1, 1e9, 100000);
    check_double("log", math_log, logl, 1e300, 1.7e308, 100000);
}

static void sin_and_cos_are_within_an_ulp(void **unused)
{
    (void)unused;
    static const double ends[] = {0.8, 7, 4096, 131072, 1e7, 5e8};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        check_double("sin", math_sin, libm_sin, -ends[i], ends[i], 200000);
        check_double("cos", math_cos, libm_cos, -ends[i], ends[i], 200000);
    }
}

/* Near a multiple of pi/2 one of the two is almost nothing, and reduction shows its errors. */
static void sin_and_cos_hold_near_the_multiples_of_a_quarter_turn(void **unused)
{
    (void)unused;
    double worst = 0;
    for (int64_t n = 1; n < 340000000; n += 1 + n / 5000) {
        double x = (double)((long double)n * 1.57079632679489661923132169163975144L);
        for (int step = -1; step <= 1; step++) {
            double y = step < 0 ? nextafter(x, 0) : step > 0 ? nextafter(x, 1e30) : x;
            worst = fmax(worst, test_ulps_double(math_sin(y), libm_sin((long double)y)));
            worst = fmax(worst, test_ulps_double(math_cos(y), libm_cos((long double)y)));
        }
    }
    print_message("near multiples of pi/2: %.3f ulp\n", worst);
    assert_true(worst < ULP_DOUBLE);
}

/* The angles of a RoPE table: base^(-2i/n), and those times a position. */
static void pow_is_within_an_ulp(void **unused)
{
    (void)unused;
    static const double bases[] = {10000, 500000, 1e6, 1e7, 2.5, 0.25, 160000, 8e6};
    double worst = 0;
    for (size_t b = 0; b < sizeof bases / sizeof *bases; b++) {
        for (int n = 2; n <= 1024; n += 2) {
            for (int i = 0; i < n; i += 2) {
                double y = math_keep(-(double)i / n); /* x87 would hold more bits of it */
                long double want = powl((long double)bases[b], (long double)y);
                worst = fmax(worst, test_ulps_double(math_pow(bases[b], y), want));
            }
        }
    }
    print_message("pow, rope: %.3f ulp\n", worst);
    assert_true(worst < ULP_DOUBLE);

    uint64_t state = 7;
    worst = 0;
    for (int i = 0; i < 300000; i++) {
        double x = math_keep(exp_of(test_uniform(&state, -600, 600)));
        double y = math_keep(test_uniform(&state, -1, 1) * 700 / fmax(fabs(log(x)), 1e-3));
        long double want = powl((long double)x, (long double)y);
        worst = fmax(worst, test_ulps_double(math_pow(x, y), want));
    }
    print_message("pow, anywhere: %.3f ulp\n", worst);
    assert_true(worst < ULP_DOUBLE);
}

static void floats_are_within_half_an_ulp_and_a_little(void **unused)
{
    (void)unused;
    check_float("expf", math_expf, expl, 0x1p-30f, 0x1.62e42ep+6f, 997);
    check_float("expf", math_expf, expl, -0x1p-30f, -87.0f, 997);
    check_float("tanhf", math_tanhf, tanhl, 0x1p-60f, 20.0f, 997);
    check_float("tanhf", math_tanhf, tanhl, -0x1p-60f, -20.0f, 997);
    check_float("logf", math_logf, logl, 0x1p-126f, 0x1.fffffep+127f, 9973);
#ifndef __FAST_MATH__
    check_float("expf", math_expf, expl, -87.0f, -103.9f, 101);
    check_float("logf", math_logf, logl, 0x1p-149f, 0x1p-126f, 499);
#endif
}

static void sqrt_is_exact_by_instruction_and_by_hand(void **unused)
{
    (void)unused;
    uint64_t state = 3;
    for (int i = 0; i < 300000; i++) {
        uint64_t bits = testing_random(&state) & INT64_MAX;
        if (i & 1) { /* a square and its neighbours: where rounding is closest to a tie */
            double root = (double)(testing_random(&state) >> 38);
            bits = f64_to_bits(root * root) + (uint64_t)(i & 2) - 1;
        }
        double x = bits_to_f64(bits);
        if (!math_is_finite(x) || bits < UINT64_C(0x0010000000000000)) {
            continue;
        }
        assert_int_equal(f64_to_bits(math_sqrt_bits(x)), f64_to_bits(libm_sqrt(x)));
        assert_int_equal(f64_to_bits(math_sqrt(x)), f64_to_bits(libm_sqrt(x)));
    }
#ifndef __FAST_MATH__
    for (uint64_t bits = 1; bits < UINT64_C(0x0010000000000000); bits = bits * 3 + 1) {
        double x = bits_to_f64(bits);
        assert_int_equal(f64_to_bits(math_sqrt_bits(x)), f64_to_bits(libm_sqrt(x)));
    }
#endif
    assert_int_equal(f64_to_bits(math_sqrt_bits(0.0)), 0);
    assert_int_equal(f64_to_bits(math_sqrt_bits(bits_to_f64(UINT64_C(1) << 63))), UINT64_C(1)
                                                                                      << 63);
    assert_true(math_is_nan(math_sqrt_bits(-1.0)));
    assert_true(math_is_nan(math_sqrt(-1.0)));
    assert_true(math_is_nan(math_sqrt_bits(math_nan())));
    assert_int_equal(f64_to_bits(math_sqrt_bits(math_infinity())), f64_to_bits(math_infinity()));
}

static void floor_and_ceil_agree_with_libm(void **unused)
{
    (void)unused;
    static const double edges[] = {
        0,      0.5,   1,         1.5,  2,       0x1p51 + 0.5, 0x1p52,     0x1p53,      0x1p62,
        0x1p63, 1e300, 0x1p-1000, 1e18, 4.99999, 0x1p31 - 1,   0x1p32 + 1, 0x1p52 - 0.5};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            double x = edges[i] * sign;
            assert_true(math_floor(x) == floor(x));
            assert_true(math_ceil(x) == ceil(x));
        }
    }
    uint64_t state = 9;
    for (int i = 0; i < 100000; i++) {
        double x = test_uniform(&state, -1e6, 1e6);
        assert_true(math_floor(x) == floor(x));
        assert_true(math_ceil(x) == ceil(x));
    }
}

static void edges_give_what_they_should(void **unused)
{
    (void)unused;
    const uint64_t infinity = UINT64_C(0x7ff0000000000000);
    const uint64_t minus_infinity = UINT64_C(0xfff0000000000000);
    const double minus = bits_to_f64(minus_infinity);
    assert_int_equal(f64_to_bits(exp_of(0)), f64_to_bits(1));
    assert_int_equal(f64_to_bits(exp_of(math_infinity())), infinity);
    assert_int_equal(f64_to_bits(exp_of(1e300)), infinity);
    assert_int_equal(f64_to_bits(exp_of(710)), infinity);
    assert_int_equal(f64_to_bits(exp_of(minus)), 0);
    assert_int_equal(f64_to_bits(exp_of(-1e300)), 0);
    assert_int_equal(f64_to_bits(math_log(1)), 0);
    assert_int_equal(f64_to_bits(math_log(0)), minus_infinity);
    assert_int_equal(f64_to_bits(math_log(math_infinity())), infinity);
    assert_true(math_is_nan(math_log(-1)));
    assert_true(math_is_nan(math_log(minus)));
    assert_true(math_is_nan(math_log(math_nan())));
    assert_true(math_is_nan(math_sin(math_infinity())));
    assert_true(math_is_nan(math_cos(math_nan())));
    assert_true(math_is_nan(math_sin(1e300)));
    assert_true(math_is_nan(math_cos(-0x1p30)));
    assert_true(math_sin(0) == 0 && math_cos(0) == 1);
    assert_true(math_pow(5, 0) == 1 && math_pow(5, 1) == 5 && math_pow(10, 3) == 1000);
    assert_true(math_pow(2, -10) == 0x1p-10 && math_pow(0x1p-1074, 0) == 1);
    assert_int_equal(f64_to_bits(math_pow(10, 400)), infinity);
    assert_int_equal(f64_to_bits(math_pow(10, -400)), 0);
    assert_int_equal(f64_to_bits(math_pow(1e308, 1e308)), infinity);
    assert_true(math_is_nan(math_pow(-1, 0.5)) && math_is_nan(math_pow(0, 1)));
    assert_true(math_is_nan(math_pow(2, math_nan())) && math_is_nan(math_pow(math_nan(), 2)));
    assert_true(math_is_nan(math_pow(math_infinity(), 1)) && math_is_nan(math_pow(2, minus)));
    assert_true(math_is_nan(math_floor(math_nan())) && math_is_nan(math_ceil(math_nan())));
    assert_int_equal(f64_to_bits(math_floor(minus)), minus_infinity);
    assert_int_equal(f64_to_bits(math_ceil(minus)), minus_infinity);

    assert_int_equal(f32_to_bits(math_expf(0)), f32_to_bits(1));
    assert_int_equal(f32_to_bits(math_expf(bits_to_f32(0x7f800000u))), 0x7f800000u);
    assert_int_equal(f32_to_bits(math_expf(88.8f)), 0x7f800000u);
    assert_int_equal(f32_to_bits(math_expf(bits_to_f32(0xff800000u))), 0);
    assert_int_equal(f32_to_bits(math_expf(-200.0f)), 0);
    assert_true(f32_is_nan(math_expf(bits_to_f32(0x7fc00000u))));
    assert_true(f32_is_nan(math_expf(bits_to_f32(0xff800001u))));
    assert_true(math_tanhf(0) == 0 && math_tanhf(1e30f) == 1 && math_tanhf(-1e30f) == -1);
    assert_true(math_tanhf(bits_to_f32(0x7f800000u)) == 1);
    assert_true(math_tanhf(bits_to_f32(0xff800000u)) == -1);
    assert_true(f32_is_nan(math_tanhf(bits_to_f32(0x7fc00000u))));
    assert_true(math_logf(1) == 0);
    assert_int_equal(f32_to_bits(math_logf(0)), 0xff800000u);
    assert_true(f32_is_nan(math_logf(-1)));
}

/* One sum over many results: what differs on any platform differs here. Measured with gcc and clang
 * at -O0 to -O3; the bits are part of the promise that a seed gives the same tokens everywhere. */
static void results_are_the_same_bits_everywhere(void **unused)
{
    (void)unused;
#ifdef __FAST_MATH__
    skip(); /* the compiler was told that order does not matter */
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2
    skip(); /* x87 rounds twice */
#endif
    uint64_t state = 11;
    uint64_t hash = 0;
    for (int i = 0; i < 100000; i++) {
        double x = test_uniform(&state, -80, 80);
        double results[6] = {
            exp_of(x),         math_log(x < 0 ? -x : x), math_pow(10000, x / 40),
            math_sin(x * 1e5), math_cos(x * 1e5),        math_sqrt(x < 0 ? -x : x)};
        float floats[3] = {math_expf((float)x), math_tanhf((float)x / 10),
                           math_logf((float)(x < 0 ? -x : x))};
        for (int j = 0; j < 6; j++) {
            hash = hash * UINT64_C(0x100000001b3) ^ f64_to_bits(results[j]);
        }
        for (int j = 0; j < 3; j++) {
            hash = hash * UINT64_C(0x100000001b3) ^ f32_to_bits(floats[j]);
        }
    }
    print_message("hash of results: %016llx\n", (unsigned long long)hash);
    assert_int_equal(hash, UINT64_C(0xff8cfbfc47a0b9bb));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_an_ulp),
        cmocka_unit_test(log_is_within_an_ulp),
        cmocka_unit_test(sin_and_cos_are_within_an_ulp),
        cmocka_unit_test(sin_and_cos_hold_near_the_multiples_of_a_quarter_turn),
        cmocka_unit_test(pow_is_within_an_ulp),
        cmocka_unit_test(floats_are_within_half_an_ulp_and_a_little),
        cmocka_unit_test(sqrt_is_exact_by_instruction_and_by_hand),
        cmocka_unit_test(floor_and_ceil_agree_with_libm),
        cmocka_unit_test(edges_give_what_they_should),
        cmocka_unit_test(rope_is_as_exact_far_out_as_near),
        cmocka_unit_test(results_are_the_same_bits_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
