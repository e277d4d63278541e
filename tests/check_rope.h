/* check_rope.h - the angles of rope.c against the formula in long double, for whatever slm.c computes
 * in: at position 16,000,000 as at 4. */

static long double rope_formula(const struct hparams *h, const float *divisors, int32_t i)
{
    const long double pi = 3.14159265358979323846264338327950288L;
    long double base = (long double)h->rope_base;
    long double f = powl(base, -2.0L * i / h->n_rot) / (divisors != NULL ? divisors[i] : 1);
    long double share = 1; /* of stretching */
    if (h->rope_scaling == ROPE_SCALING_YARN) {
        long double turns = h->rope_ctx_orig / (2 * pi);
        long double low = floorl(h->n_rot * logl(turns / h->yarn_beta_fast) / (2 * logl(base)));
        long double high = ceill(h->n_rot * logl(turns / h->yarn_beta_slow) / (2 * logl(base)));
        low = fmaxl(low, 0);
        high = fminl(high, h->n_rot - 1);
        share = fminl(fmaxl((i - low) / fmaxl(high - low, 0.001L), 0), 1);
    }
    return f * (share / h->rope_factor + 1 - share);
}

static double check_rope_table(const struct hparams *h, const float *divisors, int32_t position)
{
    uint64_t freq[LIMIT_HEAD_DIM / 2];
    float cosine[LIMIT_HEAD_DIM / 2], sine[LIMIT_HEAD_DIM / 2];
    struct rope_table table = {freq, h->n_rot, 0};
    double worst = 0;
    rope_frequencies(h, divisors, &table);
    table.magnitude = 1;
    rope_fill(&table, position, cosine, sine);
    for (int32_t i = 0; i < h->n_rot / 2; i++) {
        long double angle = position * rope_formula(h, divisors, i);
        worst = fmax(worst, (double)fabsl(cosine[i] - cosl(angle)));
        worst = fmax(worst, (double)fabsl(sine[i] - sinl(angle)));
    }
    return worst;
}

static void rope_is_as_exact_far_out_as_near(void **state)
{
    static const float bases[] = {10000, 500000, 1e6f, 1e7f, 2.5f};
    static const int32_t positions[] = {0, 1, 4, 4000, 131071, 16000000};
    float divisors[64];
    (void)state;
    for (int i = 0; i < 64; i++) {
        divisors[i] = 1 + 7.3f * (float)(i % 9);
    }
    for (int b = 0; b < SLM_COUNT(bases); b++) {
        for (int p = 0; p < SLM_COUNT(positions); p++) {
            struct hparams h;
            memset(&h, 0, sizeof h);
            h.rope_base = bases[b];
            h.rope_factor = 1;
            h.rope_attn_factor = 1;
            h.rope_ctx_orig = 4096;
            h.yarn_beta_fast = 32;
            h.yarn_beta_slow = 1;
            h.n_rot = 128;
            assert_true(check_rope_table(&h, NULL, positions[p]) < 1.5e-7);
            assert_true(check_rope_table(&h, divisors, positions[p]) < 1.5e-7);
            h.rope_factor = 6.5f;
            assert_true(check_rope_table(&h, NULL, positions[p]) < 1.5e-7);
            h.rope_scaling = ROPE_SCALING_YARN;
            assert_true(check_rope_table(&h, NULL, positions[p]) < 1.5e-7);
        }
    }
}
