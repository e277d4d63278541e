/* check_tokens.h - what goes through several tokens with a state of its own: heads of Mamba-2 and
 * convolutions, against oracles in double precision; and a token at a time gives the same bits as all
 * in one call. A part of check_kernels.c, which includes it where it uses what stands above. */
#ifndef CHECK_TOKENS_H
#define CHECK_TOKENS_H

/* A buffer and what it held before. */
struct tokens_state {
    struct guarded from, to, one;
};

static struct tokens_state tokens_state_take(int64_t n, int64_t align)
{
    struct tokens_state s = {delta_take(n, align), delta_take(n, align), delta_take(n, align)};
    memcpy(s.one.p, s.from.p, (size_t)n * 4);
    return s;
}

static void tokens_state_give(struct tokens_state *s)
{
    guarded_give(&s->from);
    guarded_give(&s->to);
    guarded_give(&s->one);
}

static void tokens_same(const char *what, const float *a, const float *b, int64_t n)
{
    CHECK(memcmp(a, b, (size_t)n * 4) == 0, "%s: a token at a time gives other bits", what);
}

/* ---- Heads of Mamba-2 ------------------------------------------------------------------------ */

/* One channel through all tokens. */
static void ssm_head_compare(const struct kernel_ssm_head *j, const double *before, int64_t i)
{
    double state[140], size[140];
    for (int64_t s = 0; s < j->n_state; s++) {
        state[s] = before[s * j->n + i];
        size[s] = check_abs(state[s]);
    }
    for (int64_t t = 0; t < j->n_token; t++) {
        double step = (double)j->gates[2 * t], decay = (double)j->gates[2 * t + 1];
        double x = (double)j->x[t * j->stride + i], sum = (double)j->skip * x;
        double sum_size = check_abs(sum);
        for (int64_t s = 0; s < j->n_state; s++) {
            double b = (double)j->b[t * j->stride + s], c = (double)j->c[t * j->stride + s];
            state[s] = decay * state[s] + b * step * x;
            size[s] = decay * size[s] + check_abs(b * step * x);
            sum += c * state[s];
            sum_size += check_abs(c) * size[s];
        }
        vector_compare("ssm_head", j->y, t * j->y_stride + i, sum, 4 * sum_size);
    }
    for (int64_t s = 0; s < j->n_state; s++) {
        vector_compare("state of ssm_head", j->to, s * j->n + i, state[s], 4 * size[s]);
    }
}

static void ssm_head_trial(const struct kernels *k, int trial)
{
    struct kernel_ssm_head j;
    memset(&j, 0, sizeof j);
    j.n_state = trial % 3 == 0 ? 128 : check_range(1, 130);
    j.n = trial % 3 == 0 ? 64 : check_range(1, 100);
    j.n_token = trial % 4 == 0 ? 1 : check_range(1, 11);
    j.stride = j.n + 2 * j.n_state + check_range(0, 3);
    j.y_stride = j.n + check_range(0, 3);
    j.is_far = trial % 2;
    j.skip = check_float();
    int64_t n = j.n * j.n_state;
    struct tokens_state state = tokens_state_take(n, trial % 3 == 0 ? 64 : 4);
    struct guarded rows = delta_take((j.n_token - 1) * j.stride + j.n + 2 * j.n_state, 4);
    struct guarded gates = delta_take(2 * j.n_token, 4), y = delta_take(j.n_token * j.y_stride, 4);
    struct guarded y_one = delta_take(j.n, 4);
    double *before = (double *)malloc((size_t)n * sizeof(double));
    for (int64_t i = 0; i < n; i++) {
        before[i] = (double)vector_of(&state.from)[i];
    }
    for (int64_t i = 0; i < 2 * j.n_token; i++) {
        vector_of(&gates)[i] = (float)check_abs((double)vector_of(&gates)[i]);
    }
    j.from = vector_of(&state.from);
    j.to = vector_of(trial % 5 == 0 ? &state.from : &state.to);
    j.x = vector_of(&rows);
    j.b = j.x + j.n;
    j.c = j.b + j.n_state;
    j.gates = vector_of(&gates);
    j.y = vector_of(&y);
    k->ssm_head(&j);
    for (int64_t i = 0; i < j.n; i++) {
        ssm_head_compare(&j, before, i);
    }
    for (int64_t t = 0; t < j.n_token; t++) {
        struct kernel_ssm_head each = j;
        each.from = each.to = vector_of(&state.one);
        each.n_token = 1;
        each.x += t * j.stride;
        each.b += t * j.stride;
        each.c += t * j.stride;
        each.gates += 2 * t;
        each.y = vector_of(&y_one);
        k->ssm_head(&each);
        tokens_same("ssm_head", each.y, j.y + t * j.y_stride, j.n);
    }
    tokens_same("state of ssm_head", vector_of(&state.one), j.to, n);
    free(before);
    tokens_state_give(&state);
    guarded_give(&rows);
    guarded_give(&gates);
    guarded_give(&y);
    guarded_give(&y_one);
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

/* One channel through all tokens: z [n_conv - 1 + n_token]. */
static void conv_compare(const struct kernel_conv *j, const double *z, int64_t i)
{
    for (int64_t t = 0; t < j->n_token; t++) {
        double want = j->bias != NULL ? (double)j->bias[i] : 0, size = check_abs(want);
        for (int32_t tap = 0; tap < j->n_conv; tap++) {
            double term = (double)j->kernel[tap * j->width + i] * z[t + tap];
            want += term;
            size += check_abs(term);
        }
        if (j->silu) { /* its slope is at most 1.1 */
            want /= 1 + oracle_exp(-want);
            size = 1.1 * size + 2 * check_abs(want);
        }
        vector_compare("conv", j->x, t * j->stride + i, want, size);
    }
    for (int32_t row = 0; row + 1 < j->n_conv; row++) {
        vector_compare("state of conv", j->to, row * j->width + i, z[j->n_token + row], 0);
    }
}

static void conv_trial(const struct kernels *k, int trial)
{
    struct kernel_conv j;
    memset(&j, 0, sizeof j);
    j.n_conv = trial % 2 ? 3 + trial / 2 % 2 : 1 + trial / 2 % 6;
    j.n = check_range(1, 300);
    j.width = j.n + check_range(0, 3);
    j.stride = j.n + check_range(0, 3);
    j.n_token = trial % 4 == 0 ? 1 : check_range(1, 9);
    j.silu = trial % 3 == 0;
    int64_t n_state = (j.n_conv - 2) * j.width + j.n, n_x = (j.n_token - 1) * j.stride + j.n;
    struct tokens_state state = tokens_state_take(j.n_conv > 1 ? n_state : 1, 4);
    struct tokens_state x = tokens_state_take(n_x, 4); /* from: as it was, to: what it becomes */
    struct guarded kernel = delta_take((j.n_conv - 1) * j.width + j.n, 4);
    struct guarded bias = delta_take(j.n, 4);
    int64_t n_z = j.n_conv - 1 + j.n_token;
    double *z = (double *)malloc((size_t)(n_z * j.n) * sizeof(double));
    for (int64_t i = 0; i < n_z * j.n; i++) {
        int64_t row = i % n_z, channel = i / n_z, t = row - (j.n_conv - 1);
        z[i] = (double)(t < 0 ? vector_of(&state.from)[row * j.width + channel]
                              : vector_of(&x.from)[t * j.stride + channel]);
    }
    memcpy(x.to.p, x.from.p, (size_t)n_x * 4);
    j.x = vector_of(&x.to);
    j.from = vector_of(&state.from);
    j.to = vector_of(trial % 5 == 0 ? &state.from : &state.to);
    j.kernel = vector_of(&kernel);
    j.bias = trial % 7 < 3 ? vector_of(&bias) : NULL;
    k->conv(&j);
    for (int64_t i = 0; i < j.n; i++) {
        conv_compare(&j, z + i * n_z, i);
    }
    for (int64_t t = 0; t < j.n_token; t++) {
        struct kernel_conv each = j;
        each.n_token = 1;
        each.x = vector_of(&x.one) + t * j.stride;
        each.from = each.to = vector_of(&state.one);
        k->conv(&each);
        tokens_same("conv", each.x, j.x + t * j.stride, j.n);
    }
    for (int32_t row = 0; row + 1 < j.n_conv; row++) {
        tokens_same("state of conv", vector_of(&state.one) + row * j.width, j.to + row * j.width,
                    j.n);
    }
    free(z);
    tokens_state_give(&state);
    tokens_state_give(&x);
    guarded_give(&kernel);
    guarded_give(&bias);
}

static void check_tokens(const char *isa, const struct kernels *k, const struct kernels *ref)
{
    uintptr_t other = k == ref ? 0 : (uintptr_t)ref->ssm_head;
    if (check_wanted("ssm_head", (const void *)(uintptr_t)k->ssm_head, (const void *)other)) {
        for (int trial = 0; trial < 60; trial++) {
            ssm_head_trial(k, trial);
        }
        check_report(isa, "ssm_head", "");
    }
    other = k == ref ? 0 : (uintptr_t)ref->conv;
    if (check_wanted("conv", (const void *)(uintptr_t)k->conv, (const void *)other)) {
        for (int trial = 0; trial < 60; trial++) {
            conv_trial(k, trial);
        }
        check_report(isa, "conv", "");
    }
}

#endif
