/* check_delta_chunk.h - the delta rule in chunks: against an oracle in double precision, against one
 * token after the other with the same table, and that nothing but sizes and inputs matters. A part of
 * check_kernels.c, behind check_delta.h. */
#ifndef CHECK_DELTA_CHUNK_H
#define CHECK_DELTA_CHUNK_H

#define DELTA_CHUNK_NMSE 1e-9
#define DELTA_CHUNK_STATE_NMSE 1e-10 /* what is wrong with it stays and adds up */

/* What makes a chunk's triangle hard to solve, or its decays hard to tell apart. */
enum delta_edge {
    DELTA_PLAIN,     /* decay and beta of any size */
    DELTA_SLOW,      /* decay next to 1 */
    DELTA_KEEP,      /* decay and beta 1: nothing is forgotten */
    DELTA_STRONG,    /* decay next to 0: no two tokens' product is a number */
    DELTA_RESET,     /* decay 0 here and there */
    DELTA_READ,      /* beta 0 here and there */
    DELTA_READ_ALL,  /* beta 0: the state only decays */
    DELTA_SAME_KEY,  /* the same key again and again */
    DELTA_NEAR_KEYS, /* nearly the same */
    DELTA_FLIP_KEY,  /* a key and its opposite */
    DELTA_NO_KEY,    /* keys of length 0 here and there */
    DELTA_EDGES
};

static void delta_edge_gates(struct kernel_delta_job *j, float *gates, enum delta_edge edge)
{
    for (int64_t t = 0; t < j->n_token; t++, gates += 2) {
        int one_of_five = check_range(0, 4) == 0;
        switch (edge) {
        case DELTA_SLOW:
        case DELTA_NEAR_KEYS:
            gates[0] = 1 - gates[0] / 100;
            break;
        case DELTA_KEEP:
        case DELTA_SAME_KEY:
        case DELTA_FLIP_KEY:
            gates[0] = gates[1] = 1;
            break;
        case DELTA_STRONG:
            gates[0] *= 1e-20f;
            break;
        case DELTA_RESET:
            gates[0] = one_of_five ? 0 : gates[0];
            break;
        case DELTA_READ:
            gates[1] = one_of_five ? 0 : 1;
            break;
        case DELTA_READ_ALL:
            gates[1] = 0;
            gates[0] = 1 - gates[0] / 1000;
            break;
        default:
            break;
        }
    }
}

static void delta_edge_keys(struct kernel_delta_job *j, float *k, enum delta_edge edge)
{
    for (int64_t t = 0; t < j->n_token; t++, k += j->n_key) {
        double length = 0;
        for (int64_t i = 0; i < j->n_key; i++) {
            const float first = j->k[i];
            k[i] = edge == DELTA_SAME_KEY    ? first
                   : edge == DELTA_NEAR_KEYS ? first + k[i] / 200
                   : edge == DELTA_FLIP_KEY  ? (t % 3 == 0 ? first : -first)
                                             : k[i];
            length += (double)k[i] * (double)k[i];
        }
        int is_none = length < 1e-12 || (edge == DELTA_NO_KEY && t % 3 == 1);
        for (int64_t i = 0; i < j->n_key; i++) {
            k[i] = is_none ? 0 : (float)((double)k[i] / math_sqrt(length));
        }
    }
}

/* nmse of n floats `apart` apart against doubles; what is exactly 0 counts as rounded. */
struct delta_error {
    double error, power;
};

static void delta_error_add(struct delta_error *e, double got, double want)
{
    e->error += (got - want) * (got - want);
    e->power += want * want;
}

static void delta_error_check(const struct delta_error *e, double bound, const char *what,
                              const struct kernel_delta_job *j, enum delta_edge edge)
{
    CHECK(e->error <= bound * e->power + 1e-30,
          "delta_chunk: nmse %.3g of %s, edge %d, %lld tokens of %lld x %lld",
          e->error / (e->power + 1e-30), what, (int)edge, (long long)j->n_token,
          (long long)j->n_key, (long long)j->n_value);
}

/* All tokens, in calls of `at_once`; the state ends in job->to. */
static void delta_run_in_parts(void (*kernel)(const struct kernel_delta_job *job),
                               const struct kernel_delta_job *job, int64_t at_once)
{
    for (int64_t t = 0; t < job->n_token; t += at_once) {
        struct kernel_delta_job part = delta_part(job, t, min_i64(at_once, job->n_token - t));
        part.from = t == 0 ? job->from : job->to;
        kernel(&part);
    }
}

/* Against the oracle, then against one token after the other. */
static void delta_chunk_compare(const struct kernels *k, struct delta_trial *d, const float *old,
                                enum delta_edge edge)
{
    const struct kernel_delta_job *j = &d->job;
    int64_t n = j->n_key * j->n_value, n_o = (j->n_token - 1) * j->o_stride + j->n_value;
    struct delta_error o = {0, 0}, state = {0, 0}, o_each = {0, 0}, state_each = {0, 0};
    struct kernel_delta_job each = *j;
    float *buffer = (float *)malloc((size_t)(2 * n + n_o) * sizeof(float));
    memcpy(buffer, old, (size_t)n * sizeof(float));
    each.from = buffer;
    each.to = buffer + n;
    each.o = buffer + 2 * n;
    delta_run_in_parts(k->delta_net, &each, DELTA_CHUNK);
    for (int64_t t = 0; t < j->n_token; t++) {
        for (int64_t column = 0; column < j->n_value; column++) {
            double size = 0, want = delta_oracle(d, t, column, &size);
            double got = (double)j->o[t * j->o_stride + column];
            delta_error_add(&o, got, want);
            delta_error_add(&o_each, got, (double)each.o[t * j->o_stride + column]);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        double want = d->state[i % j->n_value * j->n_key + i / j->n_value];
        delta_error_add(&state, (double)j->to[i], want);
        delta_error_add(&state_each, (double)j->to[i], (double)each.to[i]);
    }
    delta_error_check(&o, DELTA_CHUNK_NMSE, "o", j, edge);
    delta_error_check(&state, DELTA_CHUNK_STATE_NMSE, "the state", j, edge);
    delta_error_check(&o_each, DELTA_CHUNK_NMSE, "o to single tokens", j, edge);
    delta_error_check(&state_each, DELTA_CHUNK_STATE_NMSE, "the state to single tokens", j, edge);
    free(buffer);
}

/* The same bits whatever scratch held, and nothing written between rows of o. */
static void delta_chunk_again(const struct kernels *k, struct delta_trial *d, const float *old,
                              int64_t at_once)
{
    struct kernel_delta_job *j = &d->job;
    int64_t n = j->n_key * j->n_value, n_o = (j->n_token - 1) * j->o_stride + j->n_value;
    float *want = (float *)malloc((size_t)(n + n_o) * sizeof(float));
    memcpy(want, j->to, (size_t)n * sizeof(float));
    memcpy(want + n, j->o, (size_t)n_o * sizeof(float));
    memcpy(vector_of(&d->from), old, (size_t)n * sizeof(float));
    memset(d->scratch.p, 0xff, (size_t)delta_chunk_floats(j->n_key) * sizeof(float));
    delta_run_in_parts(k->delta_chunk, j, at_once);
    CHECK(memcmp(j->to, want, (size_t)n * sizeof(float)) == 0 &&
              memcmp(j->o, want + n, (size_t)n_o * sizeof(float)) == 0,
          "delta_chunk: other bits with other scratch, %lld tokens of %lld x %lld",
          (long long)j->n_token, (long long)j->n_key, (long long)j->n_value);
    for (int64_t i = 0; i < n_o; i++) {
        vector_of(&d->o)[i] = 5;
    }
    delta_run_in_parts(k->delta_chunk, j, at_once);
    for (int64_t i = 0; i < n_o; i++) {
        CHECK(i % j->o_stride < j->n_value || f32_to_bits(j->o[i]) == f32_to_bits(5.0f),
              "delta_chunk: writes behind row %lld of o", (long long)(i / j->o_stride));
    }
    free(want);
}

static void delta_chunk_trial(const struct kernels *k, int trial, int64_t n_token, int64_t at_once)
{
    static const int64_t sizes[] = {128, 96, 160, 64, 256};
    enum delta_edge edge = (enum delta_edge)(trial % DELTA_EDGES);
    struct delta_trial d;
    struct kernel_delta_job *j = &d.job;
    delta_trial_sizes(&d, 1);
    j->n_token = n_token;
    if (trial % 7 < 5) { /* what kernels are made for; else odd sizes */
        j->n_key = sizes[trial % 7];
        j->n_value = trial % 2 ? 32 * check_range(1, 5) : j->n_key;
        j->v_stride = j->n_value + check_range(0, 3);
        j->o_stride = j->n_value + check_range(0, 3);
    }
    delta_trial_take(&d, trial, delta_chunk_floats(j->n_key));
    delta_edge_gates(j, vector_of(&d.gates), edge);
    delta_edge_keys(j, vector_of(&d.k), edge);
    size_t bytes = (size_t)(j->n_key * j->n_value) * sizeof(float);
    float *old = (float *)malloc(bytes);
    memcpy(old, j->from, bytes);
    delta_run_in_parts(k->delta_chunk, j, at_once);
    delta_chunk_compare(k, &d, old, edge);
    delta_chunk_again(k, &d, old, at_once);
    free(old);
    delta_trial_give(&d);
}

static void check_delta_chunk(const char *isa, const struct kernels *k, const struct kernels *ref)
{
    uintptr_t other = k == ref ? 0 : (uintptr_t)ref->delta_chunk;
    if (!check_wanted("delta_chunk", (const void *)(uintptr_t)k->delta_chunk,
                      (const void *)other)) {
        return;
    }
    for (int trial = 0; trial < 3 * DELTA_CHUNK; trial++) { /* all lengths, and both behind 32 */
        delta_chunk_trial(k, trial, trial % DELTA_CHUNK + 1, DELTA_CHUNK);
    }
    for (int trial = 0; trial < 2 * DELTA_EDGES; trial++) { /* many chunks, and a token beyond */
        delta_chunk_trial(k, trial, trial % 2 ? 2 * DELTA_CHUNK + 1 : 333,
                          trial % 3 ? DELTA_CHUNK : check_range(1, DELTA_CHUNK));
    }
    for (int trial = 0; trial < 7 * DELTA_EDGES; trial += 7) { /* of 128 x 128, with each edge */
        delta_chunk_trial(k, trial, 1000, DELTA_CHUNK);
    }
    check_report(isa, "delta_chunk", "");
}

#endif
