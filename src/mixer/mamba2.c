/* mamba2.c - the mixer of Mamba-2 (Dao & Gu 2024):
 *
 *     z, x, b, c, dt = ssm_in n              n = norm(x, attn_norm)
 *     x, b, c = silu(conv(x, b, c))
 *     each head, whose x and y are [n_p] and whose b and c those of its group, [ssm_state]:
 *         step = softplus(dt + step_bias)
 *         S = exp(step * a) S + b (step * x)     S [ssm_state][n_p]
 *         y = c S + skip * x
 *     x += ssm_out norm(silu(z) * y)             the norm of each group, if there is one
 *
 * A state is that of the convolution, then S of each head. c->mix holds what ssm_in gives, cut into
 * z, x b c and dt, and y, [n_batch] rows each. The state of a head stays in the cache while a task
 * goes through the tokens of a segment. */

#define MAMBA2_TOKENS 64 /* whose steps are made at a time */

struct mamba2_rows {
    float *z;   /* [n_batch][ssm_inner] */
    float *xbc; /* [n_batch][n_channel] */
    float *dt;  /* [n_batch][n_ssm_head] */
    float *y;   /* [n_batch][ssm_inner] */
    int64_t n_channel;
};

struct mamba2_run {
    struct slm_context *c;
    const struct layer *l;
    struct mamba2_rows rows;
};

static int64_t mamba2_state_floats(const struct hparams *h)
{
    return conv_state_floats(h, ssm_conv_channels(h)) + (int64_t)h->ssm_inner * h->ssm_state;
}

static int64_t mamba2_row_floats(const struct hparams *h)
{
    return 2 * (int64_t)h->ssm_inner + ssm_conv_channels(h) + h->n_ssm_head;
}

static struct mamba2_rows mamba2_rows_of(const struct slm_context *c)
{
    const struct hparams *h = &c->model->hparams;
    int64_t n = c->n_batch;
    struct mamba2_rows r;
    r.n_channel = ssm_conv_channels(h);
    r.z = c->mix;
    r.xbc = r.z + n * h->ssm_inner;
    r.dt = r.xbc + n * r.n_channel;
    r.y = r.dt + n * h->n_ssm_head;
    return r;
}

/* Asks for what a head reads of a token soon: tokens lie further apart than prefetchers look. */
static void mamba2_prefetch(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __builtin_prefetch(x + i);
    }
}

/* step and decay of a head, of n tokens from `token` on. */
static void mamba2_gates(const struct mamba2_run *r, int32_t head, int64_t token, int64_t n,
                         float *gates)
{
    const struct hparams *h = &r->c->model->hparams;
    int64_t n_p = h->ssm_inner / h->n_ssm_head;
    float step[MAMBA2_TOKENS];
    for (int64_t t = 0; t < n; t++) {
        step[t] = r->rows.dt[(token + t) * h->n_ssm_head + head] + r->l->step_bias[head];
        mamba2_prefetch(r->rows.xbc + (token + t) * r->rows.n_channel + head * n_p, n_p);
    }
    r->c->model->kernels.softplus(step, step, n);
    for (int64_t t = 0; t < n; t++) {
        gates[2 * t] = step[t];
        gates[2 * t + 1] = math_expf(step[t] * r->l->ssm_a[head]);
    }
}

/* A head of a segment. */
static void mamba2_scan(void *arg, int32_t tile, int32_t part)
{
    const struct mamba2_run *r = (const struct mamba2_run *)arg;
    const struct slm_context *c = r->c;
    const struct hparams *h = &c->model->hparams;
    int32_t head = tile % h->n_ssm_head;
    const struct segment *segment = &c->batch.segments[tile / h->n_ssm_head];
    int64_t n = h->ssm_inner / h->n_ssm_head;
    int64_t group = head / (h->n_ssm_head / h->n_ssm_group);
    int64_t b_at = h->ssm_inner + group * h->ssm_state;
    int64_t state_at = conv_state_floats(h, r->rows.n_channel) + head * n * h->ssm_state;
    struct kernel_ssm_head job;
    float gates[2 * MAMBA2_TOKENS];
    (void)part;
    memset(&job, 0, sizeof job);
    job.to = states_replace(&c->states, segment->sequence, segment->position,
                            r->l->state_at + state_at, n * h->ssm_state, &job.from);
    job.n_state = h->ssm_state;
    job.n = n;
    job.stride = r->rows.n_channel;
    job.gates = gates;
    job.skip = r->l->ssm_skip[head];
    job.y_stride = h->ssm_inner;
    job.is_far = states_are_far(&c->states);
    for (int32_t t = 0; t < segment->n_tokens; t += MAMBA2_TOKENS) {
        int64_t token = segment->first + t;
        const float *xbc = r->rows.xbc + token * r->rows.n_channel;
        job.n_token = min_i32(MAMBA2_TOKENS, segment->n_tokens - t);
        mamba2_gates(r, head, token, job.n_token, gates);
        job.x = xbc + head * n;
        job.b = xbc + b_at;
        job.c = job.b + (int64_t)h->n_ssm_group * h->ssm_state;
        job.y = r->rows.y + token * h->ssm_inner + head * n;
        c->model->kernels.ssm_head(&job);
        job.from = job.to;
    }
}

static void mamba2(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct mamba2_run run = {c, l, mamba2_rows_of(c)};
    const struct mamba2_rows *r = &run.rows;
    struct linear w[3];
    linear_slice(&l->ssm_in, 0, h->ssm_inner, &w[0]);
    linear_slice(&l->ssm_in, h->ssm_inner, r->n_channel, &w[1]);
    linear_slice(&l->ssm_in, h->ssm_inner + r->n_channel, h->n_ssm_head, &w[2]);
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->attn_norm, h->n_embd, n};
    struct matmul_job cut[3] = {
        {&w[0], r->z, h->ssm_inner, NULL, 1},
        {&w[1], r->xbc, r->n_channel, NULL, 1},
        {&w[2], r->dt, h->n_ssm_head, NULL, 1},
    };
    struct conv_run taps = {c, l, r->xbc, r->n_channel, r->n_channel, 0, 1};
    struct matmul_input gated = {r->z, ACT_SILU, r->y, &l->ssm_norm, h->ssm_inner, n};
    struct matmul_job out = {&l->ssm_out, c->y, h->n_embd, x, h->residual_scale};
    matmul(c, &in, cut, 3);
    conv(&taps);
    context_tiles(c, n * (int64_t)h->ssm_inner * h->ssm_state, c->batch.n_segments * h->n_ssm_head,
                  mamba2_scan, &run);
    matmul(c, &gated, &out, 1);
}
