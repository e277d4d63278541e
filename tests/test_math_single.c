/* test_math_single.c - what SLM_NO_DOUBLE puts in the place of doubles: math_single.c against the
 * host's libm, numbers of files from their bits, angles of RoPE, sums. */
#ifndef SLM_NO_DOUBLE
#define SLM_NO_DOUBLE
#endif
#ifndef SLM_NO_CHAT
#define SLM_NO_CHAT
#endif
#ifndef SLM_NO_SIMD
#define SLM_NO_SIMD
#endif
#include "../slm.c"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "check_rope.h"
#include "testing.h"

typedef double oracle_fn(double);

static double exp2_of(double x)
{
    return pow(2, x);
}

/* Every `step`-th float from the bit pattern of a to that of b: the worst error in units of the last
 * place, of normal numbers. */
static void check_float(const char *name, float (*f)(float), oracle_fn *oracle, float a, float b,
                        uint32_t step, double bound)
{
    double worst = 0;
    float worst_at = a;
    uint32_t count = 0;
    for (uint32_t bits = f32_to_bits(a); bits <= f32_to_bits(b); bits += step) {
        float x = bits_to_f32(bits);
        double want = oracle((double)x);
        int exponent = 0;
        frexp(want, &exponent);
        exponent = exponent < -125 ? -125 : exponent;
        double ulps = fabs(ldexp((double)f(x) - want, 24 - exponent));
        if (!(ulps <= worst)) {
            worst = ulps;
            worst_at = x;
        }
        count++;
    }
    print_message("%-5s [%g, %g]: %.3f ulp at %.9g\n", name, (double)a, (double)b, worst,
                  (double)worst_at);
    assert_true(count > 10000);
    assert_true(worst < bound);
}

static void functions_are_within_an_ulp_or_two(void **state)
{
    (void)state;
    check_float("exp", math_expf, exp, 0x1p-30f, 0x1.62e42ep+6f, 997, 1);
    check_float("exp", math_expf, exp, -0x1p-30f, -103.9f, 997, 1);
    check_float("exp2", math_exp2, exp2_of, -0x1p-30f, -125.9f, 997, 3);
    check_float("log", math_log, log, 0x1p-149f, 0x1.fffffep+127f, 997, 1);
    check_float("log", math_log, log, 0.5f, 2, 97, 1);
    check_float("log1p", math_log_1p, log1p, 0x1p-60f, 0x1p60f, 997, 3);
    check_float("tanh", math_tanhf, tanh, 0x1p-60f, 20, 997, 3);
    check_float("tanh", math_tanhf, tanh, -0x1p-60f, -20, 997, 3);
    check_float("sin", math_sin, sin, 0x1p-60f, 0x1.921fb6p-1f, 997, 1);
    check_float("sin", math_sin, sin, -0x1p-60f, -0x1.921fb6p-1f, 997, 1);
    check_float("cos", math_cos, cos, 0x1p-60f, 0x1.921fb6p-1f, 997, 1);
}

static void roots_and_rounding_are_exact(void **state)
{
    (void)state;
    for (uint32_t bits = 1; bits < 0x7f800000u; bits += 9973) {
        float x = bits_to_f32(bits);
        assert_int_equal(f32_to_bits(math_sqrt_bits(x)), f32_to_bits(sqrtf(x)));
        assert_int_equal(f32_to_bits(math_sqrt(x)), f32_to_bits(sqrtf(x)));
        assert_true(math_floor(x) == floorf(x) && math_ceil(x) == ceilf(x));
        assert_true(math_floor(-x) == floorf(-x) && math_ceil(-x) == ceilf(-x));
    }
    assert_true(math_sqrt_bits(0) == 0 && f32_is_nan(math_sqrt_bits(-1)));
}

static void edges_give_what_they_should(void **state)
{
    (void)state;
    const float infinity = bits_to_f32(0x7f800000u);
    const float nan = bits_to_f32(0x7fc00000u);
    assert_true(math_expf(0) == 1 && math_expf(-200) == 0 && math_expf(-infinity) == 0);
    assert_true(math_expf(89) == infinity && math_expf(infinity) == infinity);
    assert_true(math_exp2(0) == 1 && math_exp2(-8) == 0x1p-8f && math_exp2(-1e30f) == 0);
    assert_true(math_log(1) == 0 && math_log(0) == -infinity && math_log(infinity) == infinity);
    assert_true(math_log_1p(0) == 0 && math_log_1p(infinity) == infinity);
    assert_true(math_tanhf(0) == 0 && math_tanhf(1e30f) == 1 && math_tanhf(-infinity) == -1);
    assert_true(math_sin(0) == 0 && math_cos(0) == 1);
    assert_true(f32_is_nan(math_expf(nan)) && f32_is_nan(math_log(nan)) &&
                f32_is_nan(math_log(-1)));
    assert_true(f32_is_nan(math_tanhf(nan)) && f32_is_nan(math_exp2(nan)) == 0);
}

static uint64_t bits_of(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

static void doubles_from_bits_are_what_the_processor_makes(void **state)
{
    uint64_t seed = 5;
    (void)state;
    for (int i = 0; i < 1000000; i++) {
        uint64_t r = testing_random(&seed);
        uint64_t small = r >> (i % 64);
        float f = bits_to_f32((uint32_t)r & (i % 3 == 0 ? 0x807fffffu : 0xffffffffu));
        assert_int_equal(f64_bits_of_u64(small), bits_of((double)small));
        assert_int_equal(f64_bits_of_i64((int64_t)r), bits_of((double)(int64_t)r));
        if (!f32_is_nan(f)) {
            assert_int_equal(f64_bits_of_f32(f), bits_of((double)f));
        }
        /* Near the range of floats, and halfway between two of them. */
        uint64_t d = (r & ~(UINT64_C(0x7ff) << 52)) | (uint64_t)(1023 - 152 + i % 284) << 52;
        d = i % 5 == 0 ? (d & ~UINT64_C(0x1fffffff)) | 0x10000000 : d;
        assert_int_equal(f32_to_bits(wide_of_f64_bits(d)), f32_to_bits((float)bits_to_f64(d)));
    }
    assert_int_equal(f64_bits_of_u64(0), 0);
    assert_int_equal(f64_bits_of_i64(INT64_MIN), bits_of((double)INT64_MIN));
    assert_int_equal(f32_to_bits(wide_of_f64_bits(bits_of(HUGE_VAL))), 0x7f800000u);
    assert_int_equal(f32_to_bits(wide_of_f64_bits(bits_of(-1e300))), 0xff800000u);
    assert_int_equal(f32_to_bits(wide_of_f64_bits(bits_of(-0.0))), 0x80000000u);
    assert_true(f32_is_nan(wide_of_f64_bits(UINT64_C(0x7ff8000000000001))));
}

static void long_sums_lose_nothing(void **state)
{
    struct math_total total;
    double want = 0;
    uint64_t seed = 3;
    (void)state;
    memset(&total, 0, sizeof total);
    for (int i = 0; i < 200000; i++) {
        float x = (float)(testing_random(&seed) >> 40);
        math_add(&total, x);
        want += (double)x;
    }
    assert_true(fabs((double)total.value - want) < 0x1p-23 * want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_within_an_ulp_or_two),
        cmocka_unit_test(roots_and_rounding_are_exact),
        cmocka_unit_test(edges_give_what_they_should),
        cmocka_unit_test(doubles_from_bits_are_what_the_processor_makes),
        cmocka_unit_test(long_sums_lose_nothing),
        cmocka_unit_test(rope_is_as_exact_far_out_as_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
