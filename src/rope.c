/* rope.c - angles of the rotary position embedding (Su et al. 2021), with linear and YaRN
 * stretching (Peng et al. 2023) and per-frequency divisors (Llama 3).
 *
 * A frequency is a fraction of a turn in units of 2^-64. Position times frequency modulo 2^64 is
 * therefore exact, whole turns fall away by themselves, and the angle is as good at position 100,000
 * as at 1, with doubles or without. Frequencies are made in fixed point, too: their logarithms to
 * base 2 have ROPE_LOG_BITS bits behind the point, an error of 2^-50 of the frequency. */

#define ROPE_PI 3.14159265358979323846
#define ROPE_LOG_BITS 52
#define ROPE_LOG_ONE ((int64_t)1 << ROPE_LOG_BITS)

/* One way of turning: what layers of one kind share. */
struct rope_table {
    uint64_t *freq;  /* [n_rot / 2] turns a position, times 2^64 */
    int32_t n_rot;   /* elements of a head that are rotated */
    float magnitude; /* multiplies cos and sin */
};

/* ---- Fixed point ----------------------------------------------------------------------------- */

/* a * b / 2^64. */
static uint64_t rope_multiply(uint64_t a, uint64_t b)
{
    uint64_t a_low = a & 0xffffffffu, a_high = a >> 32;
    uint64_t b_low = b & 0xffffffffu, b_high = b >> 32;
    uint64_t middle = a_high * b_low + (a_low * b_low >> 32);
    uint64_t other = a_low * b_high + (middle & 0xffffffffu);
    return a_high * b_high + (middle >> 32) + (other >> 32);
}

/* log2 x, x positive and finite: squaring the mantissa gives a bit at a time. */
static int64_t rope_log2(float x)
{
    uint32_t bits = f32_to_bits(x);
    int64_t exponent = (int64_t)(bits >> 23) - 127;
    uint64_t m = (uint64_t)(bits & 0x7fffffu) << 40; /* in units of 2^-63, from 1 to 2 */
    if (bits >> 23 == 0) {
        for (exponent = -126; m >> 63 == 0; exponent--) {
            m <<= 1;
        }
    }
    m |= (uint64_t)1 << 63;
    int64_t log = exponent * ROPE_LOG_ONE;
    for (int64_t bit = ROPE_LOG_ONE / 2; bit != 0; bit /= 2) {
        m = rope_multiply(m, m); /* in units of 2^-62, from 1 to 4 */
        if (m >> 63 != 0) {
            log += bit;
        } else {
            m <<= 1;
        }
    }
    return log;
}

/* A radian times 2^log, in turns: exp by its series, in units of 2^-62. */
static uint64_t rope_turns(int64_t log)
{
    const uint64_t ln_2 = UINT64_C(0xb17217f7d1cf79ac);           /* times 2^64 */
    const uint64_t turns_a_radian = UINT64_C(0x28be60db9391054a); /* 1 / (2 pi) times 2^64 */
    int64_t whole = log / ROPE_LOG_ONE - (log % ROPE_LOG_ONE < 0);
    uint64_t z =
        rope_multiply((uint64_t)(log - whole * ROPE_LOG_ONE) << (64 - ROPE_LOG_BITS), ln_2);
    uint64_t power = (uint64_t)1 << 62;
    for (uint32_t n = 22; n > 0; n--) {
        power = ((uint64_t)1 << 62) + rope_multiply(z, power) / n;
    }
    uint64_t turns = rope_multiply(power << 1, turns_a_radian) << 1;
    if (whole >= 0) {
        return whole < 64 ? turns << whole : 0;
    }
    return whole > -64 ? turns >> -whole : 0;
}

/* ---- Frequencies ----------------------------------------------------------------------------- */

/* The pair index at which a frequency turns `beta` times over the original context. */
static wide_float rope_correction(const struct hparams *h, wide_float beta)
{
    const wide_float turn = (wide_float)(2 * ROPE_PI);
    wide_float log_turns = math_log((wide_float)h->rope_ctx_orig / (beta * turn));
    wide_float log_base = math_log(h->rope_base);
    if (log_base == 0) { /* all pairs turn alike */
        return log_turns > 0 ? (wide_float)h->n_rot : 0;
    }
    return (wide_float)h->n_rot * log_turns / (2 * log_base);
}

/* Stretched attention is flatter; YaRN lengthens Q and K against that. */
static wide_float rope_yarn_magnitude(const struct hparams *h)
{
    if (h->rope_scaling != ROPE_SCALING_YARN || !(h->rope_factor > 1)) {
        return 1;
    }
    wide_float log_factor = (wide_float)0.1 * math_log(h->rope_factor);
    return (1 + log_factor) / (1 + h->yarn_log_multiplier * log_factor);
}

/* Which pairs YaRN leaves as they are (up to low), which it stretches (from high). */
static void rope_yarn_range(const struct hparams *h, int64_t *low, int64_t *high)
{
    wide_float first = math_floor(rope_correction(h, h->yarn_beta_fast));
    wide_float last = math_ceil(rope_correction(h, h->yarn_beta_slow));
    first = first > 0 ? first : 0;
    last = last > 0 ? last : 0;
    *low = first < (wide_float)h->n_rot ? (int32_t)first : h->n_rot;
    *high = last < (wide_float)h->n_rot ? (int32_t)last : h->n_rot - 1;
}

/* Of two frequencies, `share` / 2^64 of the second. */
static uint64_t rope_mix(uint64_t a, uint64_t b, uint64_t share)
{
    return a > b ? a - rope_multiply(a - b, share) : a + rope_multiply(b - a, share);
}

/* Fills the table; `divisors` of the frequencies may be NULL. A divisor that is no positive number
 * stops its pair. */
static void rope_frequencies(const struct hparams *h, const float *divisors,
                             struct rope_table *table)
{
    int is_yarn = h->rope_scaling == ROPE_SCALING_YARN;
    int64_t base = rope_log2((float)h->rope_base);
    int64_t factor = rope_log2((float)h->rope_factor);
    int64_t low = 0;
    int64_t high = 0;
    if (is_yarn) {
        rope_yarn_range(h, &low, &high);
    }
    for (int32_t i = 0; i < h->n_rot / 2; i++) {
        /* base * 2i / n_rot would not fit at once */
        int64_t log = -(base / h->n_rot * 2 * i + base % h->n_rot * 2 * i / h->n_rot);
        if (divisors != NULL && !(divisors[i] > 0 && f32_is_finite(divisors[i]))) {
            table->freq[i] = 0;
            continue;
        }
        log -= divisors != NULL ? rope_log2(divisors[i]) : 0;
        table->freq[i] = rope_turns(log - factor);
        if (is_yarn && i <= low) {
            table->freq[i] = rope_turns(log);
        } else if (is_yarn && i < high) {
            uint64_t ramp = ((uint64_t)(i - low) << 48) / (uint64_t)(high - low);
            table->freq[i] = rope_mix(rope_turns(log), table->freq[i], ramp << 16);
        }
    }
    table->magnitude = (float)(h->rope_attn_factor * rope_yarn_magnitude(h));
}

/* The angles of LAYER_ROPE_LOCAL: a base of their own, and no stretching of any kind. */
static void rope_local_frequencies(const struct hparams *h, struct rope_table *table)
{
    struct hparams local = *h;
    local.rope_base = h->rope_base_local;
    local.rope_scaling = ROPE_SCALING_NONE;
    local.rope_factor = 1;
    local.rope_attn_factor = 1;
    local.n_rot = table->n_rot;
    rope_frequencies(&local, NULL, table);
}

/* ---- Angles ---------------------------------------------------------------------------------- */

/* cos and sin of turn / 2^64: those of the eighth of a turn around the nearest quarter. */
static void rope_angle(uint64_t turn, float *cosine, float *sine)
{
    const wide_float radian = (wide_float)(2 * ROPE_PI * 0x1p-64);
    uint64_t quarter = (turn + ((uint64_t)1 << 61)) >> 62;
    wide_float angle = (wide_float)(int64_t)(turn - (quarter << 62)) * radian;
    float c = (float)math_cos(angle);
    float s = (float)math_sin(angle);
    *cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
    *sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
}

/* cos and sin of one position, [n_rot / 2] each. */
static void rope_fill(const struct rope_table *table, int32_t position, float *cos_table,
                      float *sin_table)
{
    for (int32_t i = 0; i < table->n_rot / 2; i++) {
        rope_angle((uint64_t)position * table->freq[i], &cos_table[i], &sin_table[i]);
        cos_table[i] *= table->magnitude;
        sin_table[i] *= table->magnitude;
    }
}
