/* check_delta.h - the delta rule of gated delta nets, against an oracle in double precision. A part of
 * check_kernels.c, which includes it where it uses what stands above. */
#ifndef CHECK_DELTA_H
#define CHECK_DELTA_H

/* Buffers of one trial; the oracle's state stands transposed: a column is a row. */
struct delta_trial {
    struct kernel_delta_job job;
    struct guarded from, to, q, k, gates, v, o, scratch;
    double *state; /* [n_value][n_key] */
    double *size;  /* the same of absolute values: what rounding is measured by */
};

static struct guarded delta_take(int64_t n, int64_t align)
{
    int at_end = align == 64 || check_range(0, 1) != 0;
    struct guarded g = guarded_take((size_t)n * 4, at_end, (size_t)align);
    for (int64_t i = 0; i < n; i++) {
        vector_of(&g)[i] = (float)check_range(-1000, 1000) / 1000;
    }
    return g;
}

static void delta_trial_sizes(struct delta_trial *d, int trial)
{
    struct kernel_delta_job *j = &d->job;
    memset(d, 0, sizeof *d);
    j->n_key = trial % 3 == 0 ? 128 : check_range(1, 70);
    j->n_value = trial % 3 == 0 ? 128 : check_range(1, 140);
    j->n_token = trial % 4 == 0 ? 1 : check_range(1, 9);
    j->v_stride = j->n_value + check_range(0, 3);
    j->o_stride = j->n_value + check_range(0, 3);
}

/* Buffers for the job's sizes. */
static void delta_trial_take(struct delta_trial *d, int trial, int64_t scratch_floats)
{
    struct kernel_delta_job *j = &d->job;
    d->from = delta_take(j->n_key * j->n_value, 4);
    d->to = delta_take(j->n_key * j->n_value, 4);
    d->q = delta_take(j->n_token * j->n_key, 4);
    d->k = delta_take(j->n_token * j->n_key, 4);
    d->gates = delta_take(j->n_token * 2, 4);
    d->v = delta_take((j->n_token - 1) * j->v_stride + j->n_value, 4);
    d->o = delta_take((j->n_token - 1) * j->o_stride + j->n_value, 4);
    d->scratch = delta_take(scratch_floats, 64);
    for (int64_t i = 0; i < j->n_token * j->n_key; i++) { /* keys of a length about 1 */
        vector_of(&d->k)[i] *= (float)(1.7 / math_sqrt((double)j->n_key));
    }
    for (int64_t i = 0; i < j->n_token * 2; i++) {
        vector_of(&d->gates)[i] = (float)check_abs((double)vector_of(&d->gates)[i]);
    }
    j->from = vector_of(&d->from);
    j->to = trial % 5 == 0 ? vector_of(&d->from) : vector_of(&d->to);
    j->q = vector_of(&d->q);
    j->k = vector_of(&d->k);
    j->gates = vector_of(&d->gates);
    j->v = vector_of(&d->v);
    j->o = vector_of(&d->o);
    j->scratch = vector_of(&d->scratch);
    d->state = (double *)calloc((size_t)(j->n_key * j->n_value), 2 * sizeof(double));
    d->size = d->state + j->n_key * j->n_value;
    for (int64_t i = 0; i < j->n_key * j->n_value; i++) {
        int64_t at = i % j->n_value * j->n_key + i / j->n_value;
        d->state[at] = (double)j->from[i];
        d->size[at] = check_abs(d->state[at]);
    }
}

static void delta_trial_give(struct delta_trial *d)
{
    struct guarded *all[] = {&d->from, &d->to, &d->q, &d->k, &d->gates, &d->v, &d->o, &d->scratch};
    for (int i = 0; i < SLM_COUNT(all); i++) {
        guarded_give(all[i]);
    }
    free(d->state);
}

/* n tokens of a job from t on; the state is the caller's to set. */
static struct kernel_delta_job delta_part(const struct kernel_delta_job *job, int64_t t, int64_t n)
{
    struct kernel_delta_job part = *job;
    part.n_token = n;
    part.q += t * job->n_key;
    part.k += t * job->n_key;
    part.gates += 2 * t;
    part.v += t * job->v_stride;
    part.o += t * job->o_stride;
    return part;
}

/* One column at one token: o and its size. */
static double delta_oracle(const struct delta_trial *d, int64_t t, int64_t column, double *o_size)
{
    const struct kernel_delta_job *j = &d->job;
    const float *k = j->k + t * j->n_key, *q = j->q + t * j->n_key;
    double *s = d->state + column * j->n_key, *size = d->size + column * j->n_key;
    double decay = (double)j->gates[2 * t], beta = (double)j->gates[2 * t + 1];
    double v = (double)j->v[t * j->v_stride + column];
    double sum = 0, sum_size = 0, o = 0;
    for (int64_t i = 0; i < j->n_key; i++) {
        sum += s[i] * (double)k[i];
        sum_size += size[i] * check_abs((double)k[i]);
    }
    *o_size = 0;
    for (int64_t i = 0; i < j->n_key; i++) {
        double k_size = check_abs((double)k[i]);
        s[i] = decay * s[i] + (double)k[i] * beta * (v - decay * sum);
        size[i] = decay * size[i] + k_size * beta * (check_abs(v) + decay * sum_size);
        o += s[i] * (double)q[i];
        *o_size += size[i] * check_abs((double)q[i]);
    }
    return o;
}

static void delta_trial_run(const struct kernels *k, int trial)
{
    struct delta_trial d;
    delta_trial_sizes(&d, trial);
    delta_trial_take(&d, trial, d.job.n_key * DELTA_COLUMNS);
    const struct kernel_delta_job *j = &d.job;
    int64_t n = j->n_key * j->n_value;
    struct guarded state = guarded_take((size_t)n * 4, 0, 4),
                   one = guarded_take((size_t)n * 4, 0, 4);
    memcpy(one.p, j->from, (size_t)n * 4);
    k->delta_net(j);
    memcpy(state.p, j->to, (size_t)n * 4);
    for (int64_t t = 0; t < j->n_token; t++) {
        for (int64_t column = 0; column < j->n_value; column++) {
            double size = 0, want = delta_oracle(&d, t, column, &size);
            vector_compare("delta_net", j->o, t * j->o_stride + column, want, 4 * size);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i % j->n_value * j->n_key + i / j->n_value;
        vector_compare("delta_net state", j->to, i, d.state[at], 4 * d.size[at]);
    }
    for (int64_t t = 0; t < j->n_token; t++) { /* a token at a time: the same bits */
        struct kernel_delta_job each = delta_part(j, t, 1);
        struct guarded o = guarded_take((size_t)j->n_value * 4, 0, 4);
        each.from = each.to = vector_of(&one);
        each.o = vector_of(&o);
        k->delta_net(&each);
        CHECK(memcmp(each.o, j->o + t * j->o_stride, (size_t)j->n_value * 4) == 0,
              "delta_net: token %lld of %lld alone gives other bits", (long long)t,
              (long long)j->n_token);
        guarded_give(&o);
    }
    CHECK(memcmp(one.p, state.p, (size_t)n * 4) == 0, "delta_net: another state by single tokens");
    guarded_give(&one);
    guarded_give(&state);
    delta_trial_give(&d);
}

static void check_delta(const char *isa, const struct kernels *k, const struct kernels *ref)
{
    uintptr_t other = k == ref ? 0 : (uintptr_t)ref->delta_net;
    if (check_wanted("delta_net", (const void *)(uintptr_t)k->delta_net, (const void *)other)) {
        for (int trial = 0; trial < 60; trial++) {
            delta_trial_run(k, trial);
        }
        check_report(isa, "delta_net", "");
    }
}

#endif
