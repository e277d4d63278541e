/* delta_net.c - the gated delta net (Yang et al. 2024; Qwen3-Next, Qwen3.5), a mixer in place of
 * attention. n = norm(x, attn_norm); of each head S elements; G key heads, H value heads:
 *
 *     q, k, v = silu(conv(delta_qkv n))         z = delta_z n
 *     q = q / |q| / sqrt(S)                     k = k / |k|
 *     beta = sigmoid(delta_beta n)              decay = exp(delta_a softplus(delta_alpha n + dt))
 *     each value head, S x S, with its key head: the delta rule (kernels/kernels.h) makes o
 *     x += delta_output (norm(o, delta_norm) * silu(z))
 *
 * The state is that of the convolution and then a matrix of each value head. c->mix holds
 * [n_batch][q, k, v, z], behind them [n_batch][beta, alpha] and [n_batch][o].
 *
 * A task runs a head over the tokens of a segment, up to DELTA_CHUNK at a time: one after the other,
 * in whose kernel a few columns of the state stay in the first cache, or from delta_chunk_min tokens on
 * as products of matrices (Yang et al. 2024, kernels/kernels.h), where the machine has fast ones. Of
 * the two only the first gives a prompt the same bits as its tokens one at a time: it is what
 * SLM_CONTEXT_BATCH_INVARIANT and SLM_CONTEXT_EXACT have. */

/* Rows are often a power of two long: all would meet in the same sets of a cache. */
#define DELTA_ROW_PAD 16

struct delta_sizes {
    int64_t head;   /* S */
    int64_t keys;   /* G * S */
    int64_t values; /* H * S */
    int64_t conv;   /* q, k, v */
    int64_t row;    /* and z, and room */
    int64_t gates;  /* 2 * H */
};

static struct delta_sizes delta_sizes_of(const struct hparams *h)
{
    struct delta_sizes s;
    s.head = h->ssm_state;
    s.keys = (int64_t)h->n_ssm_group * s.head;
    s.values = (int64_t)h->n_ssm_head * s.head;
    s.conv = 2 * s.keys + s.values;
    s.row = s.conv + s.values + DELTA_ROW_PAD;
    s.gates = 2 * (int64_t)h->n_ssm_head;
    return s;
}

static int64_t delta_state_floats(const struct hparams *h)
{
    struct delta_sizes s = delta_sizes_of(h);
    return conv_state_floats(h, s.conv) + s.values * s.head;
}

static int64_t delta_row_floats(const struct hparams *h)
{
    struct delta_sizes s = delta_sizes_of(h);
    return s.row + s.gates + s.values;
}

/* What kernels want, behind q, k and gates of DELTA_CHUNK tokens; delta_split wants a row. */
static int64_t delta_part_bytes(const struct slm_model *m)
{
    struct delta_sizes s = delta_sizes_of(&m->hparams);
    int64_t kernel = DELTA_COLUMNS * s.head;
    if (m->kernels.delta_chunk_min <= DELTA_CHUNK) {
        kernel = max_i64(kernel, delta_chunk_floats(s.head));
    }
    return max_i64(DELTA_CHUNK * (2 * s.head + 2) + kernel, s.row) * (int64_t)sizeof(float);
}

struct delta_run {
    struct slm_context *c;
    const struct layer *l;
    struct delta_sizes s;
    float *rows;  /* [n_batch][row] */
    float *gates; /* [n_batch][2 * H] */
    float *out;   /* [n_batch][values] */
};

/* A row as delta_in gives it, by key heads, becomes q, k, v, z. */
static void delta_split(void *arg, int32_t token, int32_t part)
{
    const struct delta_run *r = (const struct delta_run *)arg;
    const struct delta_sizes *s = &r->s;
    int32_t n_group = r->c->model->hparams.n_ssm_group;
    int64_t values = s->values / n_group;
    float *row = r->rows + token * s->row;
    float *from = (float *)context_scratch(r->c, part);
    memcpy(from, row, (size_t)(s->conv + s->values) * sizeof(float));
    for (int32_t i = 0; i < n_group; i++, from += 2 * (s->head + values)) {
        size_t key_bytes = (size_t)s->head * sizeof(float);
        size_t value_bytes = (size_t)values * sizeof(float);
        memcpy(row + i * s->head, from, key_bytes);
        memcpy(row + s->keys + i * s->head, from + s->head, key_bytes);
        memcpy(row + 2 * s->keys + i * values, from + 2 * s->head, value_bytes);
        memcpy(row + s->conv + i * values, from + 2 * s->head + values, value_bytes);
    }
}

/* decay and beta of a head at a token. */
static void delta_gates(const struct delta_run *r, int64_t token, int32_t head, float gates[2])
{
    const struct hparams *h = &r->c->model->hparams;
    const float *row = r->gates + token * r->s.gates;
    int32_t beta = head;
    int32_t alpha = h->n_ssm_head + head;
    if (r->l->delta_ba.n_out > 0) {
        int32_t n = h->n_ssm_head / h->n_ssm_group;
        beta = head / n * 2 * n + head % n;
        alpha = beta + n;
    }
    float step = row[alpha] + r->l->delta_dt[head];
    r->c->model->kernels.softplus(&step, &step, 1);
    gates[0] = math_expf(r->l->delta_a[head] * step);
    gates[1] = 1 / (1 + math_expf(-row[beta]));
}

/* y = scale * x / sqrt(sum of x^2 + eps) */
static void delta_normalise(const struct slm_model *m, float *y, const float *x, int64_t n,
                            float scale)
{
    m->kernels.rms_norm(y, x, NULL, n, m->hparams.norm_eps / (float)n);
    for (int64_t i = 0; i < n; i++) {
        y[i] *= scale;
    }
}

/* Only one token after the other will do. */
static int delta_in_order(const struct slm_context *c)
{
    return (c->flags & (SLM_CONTEXT_BATCH_INVARIANT | SLM_CONTEXT_EXACT)) != 0;
}

/* Runs the delta rule over n tokens from `first` of the batch; job has the state. */
static void delta_tokens(const struct delta_run *r, int32_t head, int64_t first, int64_t n,
                         float *scratch, struct kernel_delta_job *job)
{
    const struct slm_model *m = r->c->model;
    const struct hparams *h = &m->hparams;
    int64_t size = r->s.head;
    int32_t key_head =
        h->delta_is_tiled ? head % h->n_ssm_group : head / (h->n_ssm_head / h->n_ssm_group);
    float root = (float)(1 / math_sqrt((wide_float)size));
    float *q = scratch;
    float *k = q + DELTA_CHUNK * size;
    float *gates = k + DELTA_CHUNK * size;
    for (int64_t t = 0; t < n; t++) {
        const float *row = r->rows + (first + t) * r->s.row + key_head * size;
        delta_normalise(m, q + t * size, row, size, root * root);
        delta_normalise(m, k + t * size, row + r->s.keys, size, root);
        delta_gates(r, first + t, head, gates + 2 * t);
    }
    job->scratch = gates + DELTA_CHUNK * 2;
    job->n_token = n;
    job->q = q;
    job->k = k;
    job->gates = gates;
    job->v = r->rows + first * r->s.row + 2 * r->s.keys + head * size;
    job->v_stride = r->s.row;
    job->o = r->out + first * r->s.values + head * size;
    job->o_stride = r->s.values;
    if (n >= m->kernels.delta_chunk_min && !delta_in_order(r->c)) {
        m->kernels.delta_chunk(job);
    } else {
        m->kernels.delta_net(job);
    }
    for (int64_t t = 0; t < n; t++) {
        float *o = job->o + t * r->s.values;
        const float *z = r->rows + (first + t) * r->s.row + r->s.conv + head * size;
        norm_apply(m, &r->l->delta_norm, o, o, size);
        m->kernels.swiglu(o, z, o, size);
    }
}

/* A head over the tokens of a segment. */
static void delta_head(void *arg, int32_t tile, int32_t part)
{
    const struct delta_run *r = (const struct delta_run *)arg;
    const struct slm_context *c = r->c;
    const struct hparams *h = &c->model->hparams;
    const struct segment *s = &c->batch.segments[tile / h->n_ssm_head];
    int32_t head = tile % h->n_ssm_head;
    int64_t n = r->s.head * r->s.head;
    int64_t at = r->l->state_at + conv_state_floats(h, r->s.conv) + head * n;
    struct kernel_delta_job job;
    memset(&job, 0, sizeof job);
    job.to = states_replace(&c->states, s->sequence, s->position, at, n, &job.from);
    job.n_key = job.n_value = r->s.head;
    job.is_far = states_are_far(&c->states);
    for (int32_t t = 0; t < s->n_tokens; t += DELTA_CHUNK) {
        delta_tokens(r, head, s->first + t, min_i32(DELTA_CHUNK, s->n_tokens - t),
                     (float *)context_scratch(c, part), &job);
        job.from = job.to;
    }
}

/* rows = delta_qkv n, delta_z n; gates = delta_beta n, delta_alpha n */
static void delta_inputs(const struct delta_run *r)
{
    struct slm_context *c = r->c;
    const struct layer *l = r->l;
    const struct delta_sizes *s = &r->s;
    int32_t n_head = c->model->hparams.n_ssm_head;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->attn_norm, c->model->hparams.n_embd, n};
    struct matmul_job jobs[MATMUL_JOBS_MAX];
    int32_t n_jobs = 0;
    const struct matmul_job all[] = {
        {&l->delta_qkv, r->rows, s->row, NULL, 1},
        {&l->delta_z, r->rows + s->conv, s->row, NULL, 1},
        {&l->delta_in, r->rows, s->row, NULL, 1},
        {&l->delta_beta, r->gates, s->gates, NULL, 1},
        {&l->delta_alpha, r->gates + n_head, s->gates, NULL, 1},
        {&l->delta_ba, r->gates, s->gates, NULL, 1},
    };
    for (int32_t i = 0; i < SLM_COUNT(all); i++) {
        if (all[i].w->n_out > 0) {
            SLM_ASSERT(n_jobs < MATMUL_JOBS_MAX);
            jobs[n_jobs++] = all[i];
        }
    }
    matmul(c, &in, jobs, n_jobs);
    if (l->delta_in.n_out > 0) {
        context_tiles(c, n * s->row, n, delta_split, (void *)r);
    }
}

static void delta_net(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct delta_run r = {c, l, delta_sizes_of(h), c->mix, NULL, NULL};
    r.gates = r.rows + c->n_batch * r.s.row;
    r.out = r.gates + c->n_batch * r.s.gates;
    struct conv_run run = {c, l, r.rows, r.s.row, r.s.conv, 0, 1};
    struct matmul_input heads = {r.out, ACT_NONE, NULL, NULL, r.s.values, n};
    struct matmul_job output = {&l->delta_output, c->y, h->n_embd, x, h->residual_scale};
    delta_inputs(&r);
    conv(&run);
    context_tiles(c, n * r.s.values * r.s.head * 4, c->batch.n_segments * h->n_ssm_head, delta_head,
                  &r);
    matmul(c, &heads, &output, 1);
}
