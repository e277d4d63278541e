/* rope.c - angles of the rotary position embedding (Su et al. 2021), with linear and YaRN
 * stretching (Peng et al. 2023) and per-frequency divisors (Llama 3).
 *
 * Angles are computed in double: position times frequency, so that they are as exact at position
 * 100,000 as at 1. */

#define ROPE_PI 3.14159265358979323846

/* The pair index at which a frequency turns `beta` times over the original context. */
static double rope_correction(const struct hparams *h, double beta)
{
    return (double)h->n_rot * math_log((double)h->rope_ctx_orig / (beta * 2 * ROPE_PI)) /
           (2 * math_log(h->rope_base));
}

/* freq[i] in radians a position, i < n_rot / 2; *magnitude multiplies cos and sin. */
static void rope_frequencies(const struct hparams *h, const float *divisors, double *freq,
                             float *magnitude)
{
    int is_yarn = h->rope_scaling == ROPE_SCALING_YARN;
    double low = 0;
    double high = 0;
    if (is_yarn) {
        low = math_floor(rope_correction(h, h->yarn_beta_fast));
        high = math_ceil(rope_correction(h, h->yarn_beta_slow));
        low = low > 0 ? low : 0;
        high = high < h->n_rot - 1 ? high : h->n_rot - 1;
    }
    for (int32_t i = 0; i < h->n_rot / 2; i++) {
        double f = math_pow(h->rope_base, -2.0 * i / h->n_rot);
        double stretch = 1.0 / h->rope_factor;
        if (divisors != NULL) {
            f /= (double)divisors[i];
        }
        if (is_yarn) {
            double width = high - low > 0.001 ? high - low : 0.001;
            double ramp = ((double)i - low) / width;
            ramp = 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);
            stretch = stretch * (1 - ramp) + ramp;
        }
        freq[i] = f * stretch;
    }
    *magnitude = (float)(h->rope_attn_factor *
                         (is_yarn && h->rope_factor > 1 ? 1 + 0.1 * math_log(h->rope_factor) : 1));
}

/* cos and sin of one position, [n_rot / 2] each. */
static void rope_fill(const double *freq, int32_t n_half, float magnitude, int32_t position,
                      float *cos_table, float *sin_table)
{
    for (int32_t i = 0; i < n_half; i++) {
        double angle = (double)position * freq[i];
        cos_table[i] = (float)math_cos(angle) * magnitude;
        sin_table[i] = (float)math_sin(angle) * magnitude;
    }
}
