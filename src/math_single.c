/* math_single.c - math.c for SLM_NO_DOUBLE: the same functions in float alone, for processors whose
 * doubles are subroutines of hundreds of cycles.
 *
 * Errors, in units of the last place, as tests/test_math_single.c measures and enforces them:
 *     math_sqrt math_floor math_ceil                    exact
 *     math_expf math_log math_sin math_cos              below 1
 *     math_exp2 math_tanhf math_log_1p                  below 3
 *
 * The methods are those of math.c, with polynomials cut where the next term is below 2^-27 of the
 * result. */

#define MATH_LN2_HI 0x1.62e4p-1f /* 15 bits: exact times any exponent */
#define MATH_LN2_LO 0x1.7f7d1cp-20f

/* x, about which the compiler knows nothing any more. */
static float math_keep(float x)
{
#if defined(__SSE2__)
    __asm__("" : "+x"(x));
#elif defined(__aarch64__)
    __asm__("" : "+w"(x));
#elif defined(__ARM_FP)
    __asm__("" : "+t"(x));
#elif defined(__riscv_flen)
    __asm__("" : "+f"(x));
#else
    __asm__("" : "+m"(x));
#endif
    return x;
}

/* ---- Long sums ------------------------------------------------------------------------------- */

/* What each addition loses is brought to the next (Kahan 1965): the error of the sum does not grow
 * with its length. */
struct math_total {
    float value;
    float owed;
};

static void math_add(struct math_total *total, float x)
{
    float more = math_keep(x - total->owed);
    float sum = math_keep(total->value + more);
    total->owed = math_keep(sum - total->value) - more;
    total->value = sum;
}

/* ---- Rounding, and the square root ----------------------------------------------------------- */

/* 2^k for -126 <= k <= 127. */
static float math_power_of_two(int32_t k)
{
    return bits_to_f32((uint32_t)(k + 127) << 23);
}

/* From 2^23 on every float is whole. NaN and infinity come back as they are. */
static int math_is_whole(float x)
{
    return (f32_to_bits(x) >> 23 & 0xff) >= 127 + 23;
}

static float math_floor(float x)
{
    if (math_is_whole(x)) {
        return x;
    }
    int32_t i = (int32_t)x;
    return (float)(i - (x < (float)i));
}

static float math_ceil(float x)
{
    if (math_is_whole(x)) {
        return x;
    }
    int32_t i = (int32_t)x;
    return (float)(i + (x > (float)i));
}

/* The nearest whole number, for |x| < 2^22. Of two equally near, either will do. */
static int32_t math_nearest(float x)
{
    return (int32_t)(x < 0 ? x - 0.5f : x + 0.5f);
}

/* The exactly rounded root, bit by bit, of what has no instruction for it. */
SLM_UNUSED static float math_sqrt_bits(float x)
{
    uint32_t bits = f32_to_bits(x);
    if (x == 0 || f32_is_nan(x) || bits == 0x7f800000u) {
        return x;
    }
    if (bits >> 31) {
        return bits_to_f32(0x7fc00000u);
    }
    int32_t exponent = (int32_t)(bits >> 23);
    uint32_t m = bits & 0x7fffffu;
    if (exponent == 0) {
        exponent = 1;
        while (m >> 23 == 0) {
            m <<= 1;
            exponent--;
        }
    }
    m |= 1u << 23;
    exponent -= 127;
    if (exponent & 1) {
        m <<= 1;
        exponent--;
    }
    /* The root of m * 2^25 has 25 bits, one more than a float: it says which way to round. */
    uint64_t square = (uint64_t)m << 25;
    uint32_t root = 0;
    for (uint32_t bit = 1u << 24; bit != 0; bit >>= 1) {
        uint32_t with = root | bit;
        root = (uint64_t)with * with <= square ? with : root;
    }
    root = (root >> 1) + (root & 1);
    return bits_to_f32(((uint32_t)(exponent / 2 + 126) << 23) + root);
}

static float math_sqrt(float x)
{
#if defined(__SSE2__)
    float root;
    __asm__("sqrtss %1, %0" : "=x"(root) : "x"(x));
    return root;
#elif defined(__ARM_FP) && (__ARM_FP & 4) && !defined(__aarch64__)
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
    return root;
#elif defined(__riscv_flen)
    float root;
    __asm__("fsqrt.s %0, %1" : "=f"(root) : "f"(x));
    return root;
#else
    return math_sqrt_bits(x);
#endif
}

/* ---- Exponential and logarithm --------------------------------------------------------------- */

/* c[0] + c[1]*x + ... by Horner's rule. */
static float math_polynomial(const float *c, int n, float x)
{
    float sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--) {
        sum = sum * x + c[i];
    }
    return sum;
}

/* 1/(i+2)!, for exp(r) = 1 + r + r^2 * sum, |r| <= ln 2 / 2. */
static const float math_exp_terms[6] = {1.0f / 2,   1.0f / 6,   1.0f / 24,
                                        1.0f / 120, 1.0f / 720, 1.0f / 5040};

/* exp(x) = (1 + the result) * 2^*k, x finite and below 2^20. */
static float math_exp_reduced(float x, int32_t *k)
{
    *k = math_nearest(x * 0x1.715476p+0f);
    float r = math_keep(x - (float)*k * MATH_LN2_HI);
    float low = (float)*k * MATH_LN2_LO;
    float sum = math_keep(r - low);
    float lost = math_keep(r - sum) - low;
    float square = sum * sum;
    return sum + (lost + square * math_polynomial(math_exp_terms, SLM_COUNT(math_exp_terms), sum));
}

/* exp(x), -104 <= x < 88.8 */
static float math_exp_short(float x)
{
    int32_t k;
    float value = 1 + math_exp_reduced(x, &k);
    /* In two steps: 2^k alone may be no normal number. */
    return value * math_power_of_two(k / 2) * math_power_of_two(k - k / 2);
}

static float math_expf(float x)
{
    if (f32_is_nan(x)) {
        return x;
    }
    if (x > 0x1.62e42ep+6f) { /* 88.7228: the last whose exp is a float */
        return bits_to_f32(0x7f800000u);
    }
    return x < -104.0f ? 0 : math_exp_short(x);
}

/* 2^x for x <= 0; 0 below the normal numbers. */
static float math_exp2(float x)
{
    if (!(x > -126)) {
        return 0;
    }
    int32_t k = math_nearest(x);
    return math_exp_short((x - (float)k) * 0x1.62e43p-1f) * math_power_of_two(k);
}

/* 2/(2i+3), for the terms of 2 artanh(s) from s^3 on. */
static const float math_log_terms[4] = {2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9};

/* ln x: x = 2^k * m with m near 1, and ln m = f - (f^2/2 - s (f^2/2 + R)) with f = m - 1,
 * s = f / (2 + f) and R = 2 artanh(s)/s - 2. */
static float math_log(float x)
{
    uint32_t bits = f32_to_bits(x);
    int32_t k = 0;
    if (f32_is_nan(x) || bits == 0x7f800000u) {
        return x;
    }
    if (x <= 0) {
        return bits_to_f32(x < 0 ? 0x7fc00000u : 0xff800000u);
    }
    if (bits >> 23 == 0) {
        bits = f32_to_bits(x * 0x1p25f);
        k = -25;
    }
    /* The shift makes the exponent field change at the root of 2, so that m lies around 1. */
    bits += 0x3f800000u - 0x3f3504f3u;
    k += (int32_t)(bits >> 23) - 127;
    float f = bits_to_f32((bits & 0x7fffffu) + 0x3f3504f3u) - 1;
    float s = f / (2 + f);
    float z = s * s;
    float half = 0.5f * f * f;
    float rest = z * math_polynomial(math_log_terms, SLM_COUNT(math_log_terms), z);
    float low = s * (half + rest) + (float)k * MATH_LN2_LO;
    return (float)k * MATH_LN2_HI + (f - (half - low));
}

/* ln(1 + x), x >= 0: what 1 + x rounds away is made good by the slope. */
static float math_log_1p(float x)
{
    float sum = math_keep(1 + x);
    float part = math_keep(sum - 1);
    return part > 0 && f32_is_finite(sum) ? math_log(sum) * (x / part) : x;
}

static float math_logf(float x)
{
    return math_log(x);
}

/* t / (t + 2) with t = exp(2 |x|) - 1, which loses nothing near 0. */
static float math_tanhf(float x)
{
    float size = x < 0 ? -x : x;
    if (!(size < 10)) {
        return f32_is_nan(x) ? x : x < 0 ? -1.0f : 1.0f;
    }
    int32_t k;
    float part = math_exp_reduced(2 * size, &k);
    float power = math_power_of_two(k);
    float t = power * part + (power - 1);
    float value = t / (t + 2);
    return x < 0 ? -value : value;
}

/* ---- Sine and cosine ------------------------------------------------------------------------- */

/* Of |x| <= pi/4 alone: who has larger angles has them in turns. */
static float math_sin(float x)
{
    static const float terms[4] = {-1.0f / 6, 1.0f / 120, -1.0f / 5040, 1.0f / 362880};
    float z = x * x;
    return x + x * z * math_polynomial(terms, SLM_COUNT(terms), z);
}

static float math_cos(float x)
{
    static const float terms[4] = {1.0f / 24, -1.0f / 720, 1.0f / 40320, -1.0f / 3628800};
    float z = x * x;
    float half = 0.5f * z;
    float near_one = math_keep(1 - half);
    float lost = math_keep(1 - near_one) - half;
    return near_one + (lost + z * z * math_polynomial(terms, SLM_COUNT(terms), z));
}
