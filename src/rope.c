/* rope.c - angles of the rotary position embedding (Su et al. 2021), with linear and YaRN
 * stretching (Peng et al. 2023) and per-frequency divisors (Llama 3).
 *
 * Angles are computed in double: position times frequency, so that they are as exact at position
 * 100,000 as at 1. */

#define ROPE_PI 3.14159265358979323846

/* One way of turning: what layers of one kind share. */
struct rope_table {
    double *freq;    /* [n_rot / 2] radians a position */
    int32_t n_rot;   /* elements of a head that are rotated */
    float magnitude; /* multiplies cos and sin */
};

/* The pair index at which a frequency turns `beta` times over the original context. */
static double rope_correction(const struct hparams *h, double beta)
{
    return (double)h->n_rot * math_log((double)h->rope_ctx_orig / (beta * 2 * ROPE_PI)) /
           (2 * math_log(h->rope_base));
}

/* Stretched attention is flatter; YaRN lengthens Q and K against that. */
static double rope_yarn_magnitude(const struct hparams *h)
{
    if (h->rope_scaling != ROPE_SCALING_YARN || !(h->rope_factor > 1)) {
        return 1;
    }
    double log_factor = 0.1 * math_log(h->rope_factor);
    return (1 + log_factor) / (1 + h->yarn_log_multiplier * log_factor);
}

/* Fills the table; `divisors` of the frequencies may be NULL. */
static void rope_frequencies(const struct hparams *h, const float *divisors,
                             struct rope_table *table)
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
        table->freq[i] = f * stretch;
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

/* cos and sin of one position, [n_rot / 2] each. */
static void rope_fill(const struct rope_table *table, int32_t position, float *cos_table,
                      float *sin_table)
{
    for (int32_t i = 0; i < table->n_rot / 2; i++) {
        double angle = (double)position * table->freq[i];
        cos_table[i] = (float)math_cos(angle) * table->magnitude;
        sin_table[i] = (float)math_sin(angle) * table->magnitude;
    }
}
