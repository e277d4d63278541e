/* math.c - elementary functions without libm.
 *
 * Owns: log, pow, sin, cos, sqrt, floor, ceil in double; exp, tanh, log in float. The same bits
 * from every compiler and CPU with IEEE arithmetic: only + - * / in a written order, and sqrt,
 * which IEEE rounds exactly. (32-bit x86 must be compiled for SSE2: x87 rounds differently.) Where
 * there is no double, math_single.c stands in its place.
 *
 * Errors, in units of the last place, as tests/test_math.c measures and enforces them:
 *     math_sqrt math_floor math_ceil                      exact
 *     math_expf math_tanhf math_logf                      below 0.51
 *     math_log math_pow math_sin math_cos math_exp_pair   below 1
 *
 * Methods are the textbook ones: reduction with a constant in several parts (Cody and Waite), sums
 * and products with their rounding error (Knuth, Dekker), logarithm through the inverse hyperbolic
 * tangent. Polynomials are Taylor series cut where the next term is below 2^-57 of the result; the
 * one short polynomial, for floats, is a Chebyshev fit computed with 300 bits.
 *
 * Trap: -ffast-math lets a compiler prove rounding errors to be zero and infinities and NaN absent.
 * Hence math_keep() around every value whose rounding matters, and classes told from bits. */

#define MATH_LOG2_E 0x1.71547652b82fep+0
#define MATH_LN2_HI 0x1.62e42fefa2000p-1 /* 40 bits: exact times any exponent */
#define MATH_LN2_LO 0x1.9ef35793c7673p-41

static int math_is_nan(double x)
{
    return (f64_to_bits(x) & UINT64_C(0x7fffffffffffffff)) > UINT64_C(0x7ff0000000000000);
}

static int math_is_finite(double x)
{
    return (f64_to_bits(x) >> 52 & 0x7ff) != 0x7ff;
}

static double math_nan(void)
{
    return bits_to_f64(UINT64_C(0x7ff8000000000000));
}

static double math_infinity(void)
{
    return bits_to_f64(UINT64_C(0x7ff0000000000000));
}

/* 2^k for -1022 <= k <= 1023. */
static double math_power_of_two(int32_t k)
{
    return bits_to_f64((uint64_t)(k + 1023) << 52);
}

/* x, about which the compiler knows nothing any more. */
static double math_keep(double x)
{
#if defined(__SSE2__)
    __asm__("" : "+x"(x));
#elif defined(__aarch64__)
    __asm__("" : "+w"(x));
#else
    __asm__("" : "+m"(x));
#endif
    return x;
}

/* ---- Pairs: a value and what rounding took from it ------------------------------------------- */

struct math_pair {
    double hi;
    double lo;
};

/* a + b exactly. */
static struct math_pair math_sum(double a, double b)
{
    double sum = math_keep(a + b);
    double b_part = math_keep(sum - a);
    double a_part = math_keep(sum - b_part);
    struct math_pair r = {sum, math_keep(a - a_part) + math_keep(b - b_part)};
    return r;
}

/* a * b to 2^-105 of it. The halves have 26 and 27 bits. */
static struct math_pair math_product(double a, double b)
{
    double a_hi = bits_to_f64(f64_to_bits(a) & ~UINT64_C(0x7ffffff));
    double b_hi = bits_to_f64(f64_to_bits(b) & ~UINT64_C(0x7ffffff));
    double a_lo = math_keep(a - a_hi);
    double b_lo = math_keep(b - b_hi);
    double product = math_keep(a * b);
    double rest = math_keep(math_keep(a_hi * b_hi) - product);
    rest = math_keep(rest + math_keep(a_hi * b_lo));
    rest = math_keep(rest + math_keep(a_lo * b_hi));
    struct math_pair r = {product, rest + math_keep(a_lo * b_lo)};
    return r;
}

/* ---- Long sums: in double nothing need be done for them ---------------------------------------- */

struct math_total {
    double value;
};

static void math_add(struct math_total *total, double x)
{
    total->value += x;
}

/* ---- Rounding -------------------------------------------------------------------------------- */

/* From 2^52 on every double is whole. NaN and infinity come back as they are. */
static int math_is_whole(double x)
{
    return (f64_to_bits(x) >> 52 & 0x7ff) >= 1023 + 52;
}

static double math_floor(double x)
{
    if (math_is_whole(x)) {
        return x;
    }
    int64_t i = (int64_t)x;
    return (double)(i - (x < (double)i));
}

static double math_ceil(double x)
{
    if (math_is_whole(x)) {
        return x;
    }
    int64_t i = (int64_t)x;
    return (double)(i + (x > (double)i));
}

/* The nearest whole number, for |x| < 2^30. Of two equally near, either will do. */
static int32_t math_nearest(double x)
{
    return (int32_t)(x < 0 ? x - 0.5 : x + 0.5);
}

/* ---- Square root ----------------------------------------------------------------------------- */

/* The exactly rounded root, bit by bit: for CPUs without an instruction for it, and the test of
 * those that have one. */
SLM_UNUSED static double math_sqrt_bits(double x)
{
    uint64_t bits = f64_to_bits(x);
    if (x == 0 || math_is_nan(x) || bits == UINT64_C(0x7ff0000000000000)) {
        return x;
    }
    if (bits >> 63) {
        return math_nan();
    }
    int32_t exponent = (int32_t)(bits >> 52);
    uint64_t m = bits & UINT64_C(0xfffffffffffff);
    if (exponent == 0) {
        exponent = 1;
        while (m >> 52 == 0) {
            m <<= 1;
            exponent--;
        }
    }
    m |= UINT64_C(1) << 52;
    exponent -= 1023;
    if (exponent & 1) {
        m <<= 1;
        exponent--;
    }
    /* The root of m * 2^54 has 54 bits, one more than a double: it says which way to round. It is
     * found a bit at a time, two bits of m * 2^54 going in with each. */
    uint64_t root = 0;
    uint64_t rest = 0;
    for (int i = 0; i < 54; i++) {
        int shift = 52 - 2 * i;
        uint64_t two = shift >= 0 ? m >> shift & 3 : 0;
        rest = rest << 2 | two;
        root <<= 1;
        if (rest >= 2 * root + 1) {
            rest -= 2 * root + 1;
            root++;
        }
    }
    root = (root >> 1) + (root & 1);
    return bits_to_f64(((uint64_t)(exponent / 2 + 1022) << 52) + root);
}

/* __builtin_sqrt would leave a call into libm for what is below zero. */
static double math_sqrt(double x)
{
#if defined(__SSE2__)
    double root;
    __asm__("sqrtsd %1, %0" : "=x"(root) : "x"(x));
    return root;
#elif defined(__aarch64__)
    double root;
    __asm__("fsqrt %d0, %d1" : "=w"(root) : "w"(x));
    return root;
#else
    return math_sqrt_bits(x);
#endif
}

/* ---- Exponential and logarithm --------------------------------------------------------------- */

/* 1/(i+2)!, for exp(r) = 1 + r + r^2 * sum, |r| <= ln 2 / 2. */
static const double math_exp_terms[12] = {
    1.0 / 2,     1.0 / 6,      1.0 / 24,      1.0 / 120,      1.0 / 720,       1.0 / 5040,
    1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};

/* c[0] + c[1]*x + ... by Horner's rule. */
static double math_polynomial(const double *c, int n, double x)
{
    double sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--) {
        sum = sum * x + c[i];
    }
    return sum;
}

/* exp(hi + lo), |lo| far below |hi|, neither NaN. */
static double math_exp_pair(double hi, double lo)
{
    if (hi > 709.8) {
        return math_infinity();
    }
    if (hi < -745.2) {
        return 0;
    }
    int32_t k = math_nearest(hi * MATH_LOG2_E);
    double r = math_keep(hi - k * MATH_LN2_HI);
    lo = math_keep(lo - k * MATH_LN2_LO);
    double sum = math_keep(r + lo);
    lo = math_keep(math_keep(r - sum) + lo);
    double square = math_keep(sum * sum);
    double tail = square * math_polynomial(math_exp_terms, SLM_COUNT(math_exp_terms), sum);
    tail = math_keep(tail + (lo + lo * sum));
    double value = math_keep(1 + math_keep(sum + tail));
    /* In two steps: 2^k alone may be no normal number. */
    return math_keep(value * math_power_of_two(k / 2)) * math_power_of_two(k - k / 2);
}

/* 2/(2i+5), for the terms of 2 artanh(s) from s^5 on. */
static const double math_log_terms[10] = {2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11, 2.0 / 13,
                                          2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};

/* ln x to about 2^-64 of it, x positive and finite: x = 2^k * m with m near 1, and
 * ln m = 2 artanh(s) = 2s + 2/3 s^3 + ... with s = (m - 1) / (m + 1), |s| < 0.172. */
static struct math_pair math_log_pair(double x)
{
    uint64_t bits = f64_to_bits(x);
    int32_t k = 0;
    if (bits >> 52 == 0) {
        bits = f64_to_bits(x * 0x1p54);
        k = -54;
    }
    /* The shift makes the exponent field change at the root of 2, so that m lies around 1. */
    const uint64_t above_root = UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd);
    bits += above_root;
    k += (int32_t)(bits >> 52) - 1023;
    double m = bits_to_f64((bits & UINT64_C(0xfffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd));

    double f = math_keep(m - 1);
    struct math_pair d = math_sum(2, f);
    double s = math_keep(f / d.hi);
    struct math_pair p = math_product(s, d.hi);
    double s_lo = (math_keep(math_keep(f - p.hi) - p.lo) - s * d.lo) / d.hi;
    struct math_pair square = math_product(s, s);
    square.lo += 2 * s * s_lo;
    struct math_pair cube = math_product(s, square.hi);
    cube.lo += s * square.lo + s_lo * square.hi;
    struct math_pair third = math_product(cube.hi, 0x1.5555555555555p-1);
    third.lo += cube.hi * 0x1.5555555555555p-55 + cube.lo * 0x1.5555555555555p-1;
    double rest =
        cube.hi * square.hi * math_polynomial(math_log_terms, SLM_COUNT(math_log_terms), square.hi);

    struct math_pair a = math_sum(k * MATH_LN2_HI, 2 * s);
    struct math_pair b = math_sum(a.hi, third.hi);
    double lo = math_keep(a.lo + b.lo) + (k * MATH_LN2_LO + (2 * s_lo + (third.lo + rest)));
    return math_sum(b.hi, lo);
}

static double math_log(double x)
{
    if (math_is_nan(x)) {
        return x;
    }
    if (x <= 0) {
        return x < 0 ? math_nan() : bits_to_f64(UINT64_C(0xfff0000000000000));
    }
    return math_is_finite(x) ? math_log_pair(x).hi : x;
}

/* x^y for finite y and finite x above 0; everything else is NaN. */
static double math_pow(double x, double y)
{
    if (!math_is_finite(x) || !math_is_finite(y) || !(x > 0)) {
        return math_nan();
    }
    struct math_pair l = math_log_pair(x);
    double estimate = y * l.hi;
    if (estimate > 710 || estimate < -746) {
        return estimate > 0 ? math_infinity() : 0;
    }
    struct math_pair p = math_product(y, l.hi);
    return math_exp_pair(p.hi, p.lo + y * l.lo);
}

static double math_exp2(double x)
{
    return math_pow(2, x);
}

/* ---- Sine and cosine ------------------------------------------------------------------------- */

/* pi/2 in parts of 24 bits, so that a part times a whole number below 2^29 is exact. */
static const double math_half_pi[5] = {0x1.921fb4p+0, 0x1.4442dp-24, 0x1.846988p-48, 0x1.8cc516p-72,
                                       0x1.01b839a25204ap-96};

#define MATH_SIN_MAX 0x1p29 /* 5.4e8 radians */

/* x - n * pi/2 in [-pi/4, pi/4], and n modulo 4. */
static struct math_pair math_reduce(double x, int32_t *quadrant)
{
    int32_t n = math_nearest(x * 0x1.45f306dc9c883p-1);
    double r = math_keep(x - n * math_half_pi[0]);
    double lo = 0;
    for (int i = 1; i < 4; i++) {
        struct math_pair sum = math_sum(r, -(n * math_half_pi[i]));
        r = sum.hi;
        lo = math_keep(lo + sum.lo);
    }
    *quadrant = n & 3;
    return math_sum(r, lo - n * math_half_pi[4]);
}

/* (-1)^(i+1)/(2i+3)! and (-1)^i/(2i+4)!, the terms from r^3 and r^4 on. */
static const double math_sin_terms[8] = {-1.0 / 6,
                                         1.0 / 120,
                                         -1.0 / 5040,
                                         1.0 / 362880,
                                         -1.0 / 39916800,
                                         1.0 / 6227020800.0,
                                         -1.0 / 1307674368000.0,
                                         1.0 / 355687428096000.0};
static const double math_cos_terms[8] = {1.0 / 24,
                                         -1.0 / 720,
                                         1.0 / 40320,
                                         -1.0 / 3628800,
                                         1.0 / 479001600,
                                         -1.0 / 87178291200.0,
                                         1.0 / 20922789888000.0,
                                         -1.0 / 6402373705728000.0};

static double math_sin_reduced(struct math_pair r)
{
    double z = math_keep(r.hi * r.hi);
    double cube = z * r.hi;
    double tail = cube * math_polynomial(math_sin_terms, SLM_COUNT(math_sin_terms), z);
    return r.hi + math_keep(tail + r.lo * (1 - 0.5 * z));
}

static double math_cos_reduced(struct math_pair r)
{
    double z = math_keep(r.hi * r.hi);
    double half = 0.5 * z;
    double near_one = math_keep(1 - half);
    double lost = math_keep(1 - near_one) - half;
    double tail = z * z * math_polynomial(math_cos_terms, SLM_COUNT(math_cos_terms), z);
    return near_one + math_keep(lost + (tail - r.hi * r.lo));
}

/* The sine of x + quarter * pi/2. NaN where |x| is over MATH_SIN_MAX: no angle of a model is. */
static double math_sin_shifted(double x, int32_t quarter)
{
    if (!math_is_finite(x) || x > MATH_SIN_MAX || x < -MATH_SIN_MAX) {
        return math_nan();
    }
    int32_t quadrant;
    struct math_pair r = math_reduce(x, &quadrant);
    quadrant += quarter;
    double value = quadrant & 1 ? math_cos_reduced(r) : math_sin_reduced(r);
    return quadrant & 2 ? -value : value;
}

static double math_sin(double x)
{
    return math_sin_shifted(x, 0);
}

static double math_cos(double x)
{
    return math_sin_shifted(x, 1);
}

/* ---- Floats: computed in double, rounded once ------------------------------------------------ */

/* exp(x) to 2^-34 of it, |x| < 700. Short chains: this one is in inner loops. */
static double math_exp_short(double x)
{
    int32_t k = math_nearest(x * MATH_LOG2_E);
    double r = x - k * 0x1.62e42fefa39efp-1;
    double r2 = r * r;
    double low = (0.9999999999595618 + 0.9999999999955090 * r) +
                 (0.5000000107729166 + 0.16666666786308587 * r) * r2;
    double high = (0.041666218319291945 + 0.008333283538708528 * r) +
                  (0.0013948578326459795 + 0.00019907569310848288 * r) * r2;
    return (low + high * (r2 * r2)) * math_power_of_two(k);
}

static float math_expf(float x)
{
    if (f32_is_nan(x)) {
        return x;
    }
    if (x > 0x1.62e42ep+6f) { /* 88.7228: the last whose exp is a float */
        return bits_to_f32(0x7f800000u);
    }
    if (x < -104.0f) {
        return 0;
    }
    return (float)math_exp_short((double)x);
}

static float math_tanhf(float x)
{
    if (f32_is_nan(x)) {
        return x;
    }
    double d = (double)x;
    double z = d * d;
    if (z < 1.0 / 256) {
        return (float)(d + d * z * (-1.0 / 3 + z * (2.0 / 15 + z * (-17.0 / 315))));
    }
    if (z > 100) {
        return x < 0 ? -1.0f : 1.0f;
    }
    return (float)(1 - 2 / (math_exp_short(2 * d) + 1));
}

static double math_log_1p(double x)
{
    return math_log(1 + x);
}

static float math_logf(float x)
{
    return (float)math_log((double)x);
}
