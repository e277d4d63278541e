/* mamba.c - the mixer of Mamba-1 (Gu & Dao 2023), a selective state space for each channel:
 *
 *     x, z = ssm_in n                        n = norm(x, attn_norm), [ssm_inner] each
 *     x = silu(conv(x))
 *     r, b, c = ssm_x x                      [ssm_rank], [ssm_state], [ssm_state]
 *     step = softplus(ssm_step r + bias)
 *     each channel, whose S is [ssm_state]:
 *         S = exp(step * a) S + b (step * x)
 *         y = c S + skip * x
 *     x += ssm_out (silu(z) * y)
 *
 * In FalconMamba r, b and c are normed, without weights. A state is that of the convolution, then S
 * of blocks of channels, each [ssm_state][channels of the block]. c->mix holds x, z, step, y, r, b and
 * c, [n_batch] rows each. */

#define MAMBA_CHANNELS 128 /* of a block */

struct mamba_rows {
    float *x;    /* [n_batch][ssm_inner] */
    float *z;    /* [n_batch][ssm_inner] */
    float *step; /* [n_batch][ssm_inner] */
    float *y;    /* [n_batch][ssm_inner] */
    float *r;    /* [n_batch][ssm_rank] */
    float *b;    /* [n_batch][ssm_state] */
    float *c;    /* [n_batch][ssm_state] */
};

struct mamba_run {
    struct slm_context *c;
    const struct layer *l;
    struct mamba_rows rows;
};

static int64_t mamba_state_floats(const struct hparams *h)
{
    return conv_state_floats(h, h->ssm_inner) + (int64_t)h->ssm_inner * h->ssm_state;
}

static int64_t mamba_row_floats(const struct hparams *h)
{
    return 4 * (int64_t)h->ssm_inner + h->ssm_rank + 2 * (int64_t)h->ssm_state;
}

static struct mamba_rows mamba_rows_of(const struct slm_context *c)
{
    const struct hparams *h = &c->model->hparams;
    int64_t n = c->n_batch;
    struct mamba_rows r;
    r.x = c->mix;
    r.z = r.x + n * h->ssm_inner;
    r.step = r.z + n * h->ssm_inner;
    r.y = r.step + n * h->ssm_inner;
    r.r = r.y + n * h->ssm_inner;
    r.b = r.r + n * h->ssm_rank;
    r.c = r.b + n * h->ssm_state;
    return r;
}

/* A block of channels of a segment. */
static void mamba_scan(void *arg, int32_t tile, int32_t part)
{
    const struct mamba_run *r = (const struct mamba_run *)arg;
    const struct slm_context *c = r->c;
    const struct hparams *h = &c->model->hparams;
    const struct kernels *k = &c->model->kernels;
    int32_t n_blocks = (h->ssm_inner + MAMBA_CHANNELS - 1) / MAMBA_CHANNELS;
    const struct segment *segment = &c->batch.segments[tile / n_blocks];
    int64_t first = (int64_t)(tile % n_blocks) * MAMBA_CHANNELS;
    int64_t n = min_i64(MAMBA_CHANNELS, h->ssm_inner - first);
    int64_t state_at = conv_state_floats(h, h->ssm_inner) + first * h->ssm_state;
    struct kernel_ssm s = {NULL, NULL, NULL, NULL, NULL, h->ssm_state, n};
    struct kernel_ssm_channels own = {NULL, r->l->ssm_a + first, h->ssm_inner,
                                      r->l->ssm_skip + first};
    (void)part;
    s.state = states_open(&c->states, segment->sequence, segment->position,
                          r->l->state_at + state_at, n * h->ssm_state);
    for (int64_t t = segment->first; t < segment->first + segment->n_tokens; t++) {
        int64_t at = t * h->ssm_inner + first;
        k->softplus(r->rows.step + at, r->rows.step + at, n);
        own.step = r->rows.step + at;
        s.y = r->rows.y + at;
        s.x = r->rows.x + at;
        s.b = r->rows.b + t * h->ssm_state;
        s.c = r->rows.c + t * h->ssm_state;
        k->ssm_channels(&s, &own);
    }
}

static void mamba_norm_parts(void *arg, int32_t token, int32_t part)
{
    const struct mamba_run *r = (const struct mamba_run *)arg;
    const struct hparams *h = &r->c->model->hparams;
    const struct norm norm = {NULL, NULL, h->ssm_state, 0};
    float *b = r->rows.b + (int64_t)token * h->ssm_state;
    float *c = r->rows.c + (int64_t)token * h->ssm_state;
    (void)part;
    norm_apply(r->c->model, &norm, b, b, h->ssm_state);
    norm_apply(r->c->model, &norm, c, c, h->ssm_state);
}

/* step, b and c, which depend on x. */
static void mamba_select(const struct mamba_run *run)
{
    struct slm_context *c = run->c;
    const struct mamba_rows *r = &run->rows;
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct linear w[3];
    linear_slice(&run->l->ssm_x, 0, h->ssm_rank, &w[0]);
    linear_slice(&run->l->ssm_x, h->ssm_rank, h->ssm_state, &w[1]);
    linear_slice(&run->l->ssm_x, h->ssm_rank + h->ssm_state, h->ssm_state, &w[2]);
    struct matmul_input in = {r->x, ACT_NONE, NULL, NULL, h->ssm_inner, n};
    struct matmul_job cut[3] = {
        {&w[0], r->r, h->ssm_rank, NULL, 1},
        {&w[1], r->b, h->ssm_state, NULL, 1},
        {&w[2], r->c, h->ssm_state, NULL, 1},
    };
    const struct norm norm = {NULL, NULL, h->ssm_part_norm ? h->ssm_rank : 0, 0};
    struct matmul_input rank = {r->r, ACT_NONE, NULL, &norm, h->ssm_rank, n};
    struct matmul_job step = {&run->l->ssm_step, r->step, h->ssm_inner, NULL, 1};
    matmul(c, &in, cut, 3);
    matmul(c, &rank, &step, 1);
    if (h->ssm_part_norm) {
        context_tiles(c, n * (int64_t)h->ssm_state * 8, n, mamba_norm_parts, (void *)run);
    }
}

static void mamba(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int64_t n_inner = h->ssm_inner;
    int32_t n = c->batch.n_tokens;
    int32_t n_blocks = (h->ssm_inner + MAMBA_CHANNELS - 1) / MAMBA_CHANNELS;
    struct mamba_run run = {c, l, mamba_rows_of(c)};
    const struct mamba_rows *r = &run.rows;
    struct linear w[2];
    linear_slice(&l->ssm_in, 0, n_inner, &w[0]);
    linear_slice(&l->ssm_in, n_inner, n_inner, &w[1]);
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->attn_norm, h->n_embd, n};
    struct matmul_job cut[2] = {{&w[0], r->x, n_inner, NULL, 1}, {&w[1], r->z, n_inner, NULL, 1}};
    struct conv_run taps = {c, l, r->x, n_inner, n_inner, 0, 1};
    struct matmul_input gated = {r->z, ACT_SILU, r->y, NULL, n_inner, n};
    struct matmul_job out = {&l->ssm_out, c->y, h->n_embd, x, h->residual_scale};
    matmul(c, &in, cut, 2);
    conv(&taps);
    mamba_select(&run);
    context_tiles(c, n * n_inner * h->ssm_state * 4, n_blocks * c->batch.n_segments, mamba_scan,
                  &run);
    matmul(c, &gated, &out, 1);
}
