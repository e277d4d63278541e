/* altup.c - streams beside x, of which a layer works on the first alone (alternating updates: Baykal
 * et al. 2023).
 *
 *     at first  X_0 = x,  X_j = P_j x, brought to the length of x
 *     a layer   Y_j = X_j + sum over k of C_jk X_k         C from what the router says of X_0
 *               z = the layer's branches over Y_0
 *               X_j = Y_j + c_j (z - Y_0)                  c from what the router says of z
 *     at last   x = mean of X_0 and Q_j X_j, brought to the length of X_0
 *
 * The router's answer r is tanh(router norm(v) / n_embd); C = predict r, c = 1 + correct r. What
 * ple.c adds goes to all streams but the first, and it sees X_0 * altup_input_scale. Between the
 * branches c->x is what they work on; between layers the streams are the truth. */

#define ALTUP_LANES 8 /* that do not wait for each other; sums of them are added in a fixed order */

static wide_float altup_length(const float *x, int64_t n)
{
    struct math_total lanes[ALTUP_LANES];
    struct math_total sum;
    memset(lanes, 0, sizeof lanes);
    memset(&sum, 0, sizeof sum);
    for (int64_t i = 0; i < n; i += ALTUP_LANES) {
        for (int64_t j = 0; j < ALTUP_LANES && i + j < n; j++) {
            math_add(&lanes[j], (wide_float)x[i + j] * (wide_float)x[i + j]);
        }
    }
    for (int j = 0; j < ALTUP_LANES; j++) {
        math_add(&sum, lanes[j].value);
    }
    return math_sqrt(sum.value);
}

/* y is brought to the length of x; a y of nothing stays so. */
static void altup_match(float *y, const float *x, int64_t n)
{
    wide_float length = altup_length(y, n);
    float scale = length > 0 ? (float)(altup_length(x, n) / length) : 1;
    for (int64_t i = 0; i < n; i++) {
        y[i] *= scale;
    }
}

static void altup_begin_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    const struct slm_context *c = r->c;
    int64_t n = c->model->hparams.n_embd;
    const float *x = c->x + token * n;
    (void)part;
    memcpy(c->streams[0] + token * n, x, (size_t)n * sizeof(float));
    for (int32_t j = 1; j < ALTUP_STREAMS; j++) {
        altup_match(c->streams[j] + token * n, x, n);
    }
}

/* The streams from c->x, before the first layer. */
static void altup_begin(struct slm_context *c)
{
    int32_t n_embd = c->model->hparams.n_embd;
    struct matmul_input in = {c->x, ACT_NONE, NULL, NULL, n_embd, c->batch.n_tokens};
    struct linear proj[ALTUP_STREAMS - 1];
    struct matmul_job jobs[ALTUP_STREAMS - 1];
    for (int32_t j = 0; j < ALTUP_STREAMS - 1; j++) {
        struct matmul_job job = {&proj[j], c->streams[j + 1], n_embd, NULL, 1};
        proj[j] = linear_of_stack(&c->model->globals.altup_proj, j, ALTUP_STREAMS - 1);
        jobs[j] = job;
    }
    matmul(c, &in, jobs, ALTUP_STREAMS - 1);
    context_tokens(c, NULL, (int64_t)n_embd * 16, altup_begin_token);
}

/* c->altup_router of the rows v, but for its scale and tanh. */
static void altup_route(struct slm_context *c, const struct layer *l, const float *v)
{
    struct matmul_input in = {
        v, ACT_NONE, NULL, &l->altup_router_norm, c->model->hparams.n_embd, c->batch.n_tokens};
    struct matmul_job job = {&l->altup_router, c->altup_router, ALTUP_STREAMS, NULL, 1};
    matmul(c, &in, &job, 1);
}

/* y[n_y] = w r, w [n_y][ALTUP_STREAMS], r what the router says of the token. */
static void altup_coefficients(const struct slm_context *c, int32_t token, const float *w,
                               int32_t n_y, float *y)
{
    const float *routed = c->altup_router + (int64_t)token * ALTUP_STREAMS;
    for (int32_t i = 0; i < n_y; i++) {
        y[i] = 0;
    }
    for (int32_t k = 0; k < ALTUP_STREAMS; k++) {
        float r = math_tanhf(routed[k] / (float)c->model->hparams.n_embd);
        for (int32_t i = 0; i < n_y; i++) {
            y[i] += w[i * ALTUP_STREAMS + k] * r;
        }
    }
}

/* Y of ALTUP_LANES elements of each stream, in place. Through copies: compilers see that nothing
 * overlaps, and make vectors of it. */
static void altup_mix(float *const at[ALTUP_STREAMS], const float *mix)
{
    float x[ALTUP_STREAMS][ALTUP_LANES];
    float y[ALTUP_LANES];
    for (int32_t j = 0; j < ALTUP_STREAMS; j++) {
        memcpy(x[j], at[j], sizeof x[j]);
    }
    for (int32_t j = 0; j < ALTUP_STREAMS; j++) {
        const float *m = mix + j * ALTUP_STREAMS;
        for (int32_t i = 0; i < ALTUP_LANES; i++) {
            y[i] = x[j][i] + (m[0] * x[0][i] + m[1] * x[1][i] + m[2] * x[2][i] + m[3] * x[3][i]);
        }
        memcpy(at[j], y, sizeof y);
    }
}

static void altup_predict_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    const struct slm_context *c = r->c;
    int64_t n = c->model->hparams.n_embd;
    float mix[ALTUP_STREAMS * ALTUP_STREAMS];
    float rest[ALTUP_STREAMS][ALTUP_LANES]; /* where less than ALTUP_LANES are left */
    float *at[ALTUP_STREAMS];
    (void)part;
    altup_coefficients(c, token, r->l->altup_predict, ALTUP_STREAMS * ALTUP_STREAMS, mix);
    memset(rest, 0, sizeof rest);
    for (int64_t i = 0; i < n; i += ALTUP_LANES) {
        int64_t left = min_i64(ALTUP_LANES, n - i);
        for (int32_t j = 0; j < ALTUP_STREAMS; j++) {
            float *stream = c->streams[j] + token * n + i;
            at[j] = left == ALTUP_LANES ? stream : rest[j];
            if (left < ALTUP_LANES) {
                memcpy(rest[j], stream, (size_t)left * sizeof(float));
            }
        }
        altup_mix(at, mix);
        for (int32_t j = 0; left < ALTUP_LANES && j < ALTUP_STREAMS; j++) {
            memcpy(c->streams[j] + token * n + i, rest[j], (size_t)left * sizeof(float));
        }
    }
    memcpy(c->x + token * n, c->streams[0] + token * n, (size_t)n * sizeof(float));
}

/* Before a layer: the streams become Y, and c->x is Y_0. */
static void altup_predict(struct slm_context *c, const struct layer *l)
{
    altup_route(c, l, c->streams[0]);
    context_tokens(c, l, (int64_t)c->model->hparams.n_embd * 16, altup_predict_token);
}

static void altup_correct_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    const struct slm_context *c = r->c;
    int64_t n = c->model->hparams.n_embd;
    float gain[ALTUP_STREAMS];
    (void)part;
    altup_coefficients(c, token, r->l->altup_correct, ALTUP_STREAMS, gain);
    for (int64_t i = token * n; i < (token + 1) * n; i++) {
        float change = c->x[i] - c->streams[0][i];
        for (int32_t j = 0; j < ALTUP_STREAMS; j++) {
            c->streams[j][i] += (1 + gain[j]) * change;
        }
        c->x[i] = c->streams[0][i] * r->l->altup_input_scale[i - token * n];
    }
}

/* After a layer's branches, which have made c->x: the streams become X, and c->x what ple.c sees. */
static void altup_correct(struct slm_context *c, const struct layer *l)
{
    altup_route(c, l, c->x);
    context_tokens(c, l, (int64_t)c->model->hparams.n_embd * 8, altup_correct_token);
}

static void altup_add_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    const struct slm_context *c = r->c;
    int64_t n = c->model->hparams.n_embd;
    float *y = c->y + token * n;
    (void)part;
    norm_apply(c->model, &r->l->ple_post_norm, y, y, n);
    for (int32_t j = 1; j < ALTUP_STREAMS; j++) {
        c->model->kernels.add(c->streams[j] + token * n, y, n);
    }
}

/* All streams but the first += norm(c->y, ple_post_norm). */
static void altup_add(struct slm_context *c, const struct layer *l)
{
    context_tokens(c, l, (int64_t)c->model->hparams.n_embd * 8, altup_add_token);
}

/* One of the wanted rows, with what was made of one of its streams. */
struct altup_merging {
    struct slm_context *c;
    float *y;    /* [n_rows][n_embd] the sum */
    float scale; /* multiplies it: 1 but for the last stream */
};

static void altup_merge_row(void *arg, int32_t row, int32_t part)
{
    const struct altup_merging *r = (const struct altup_merging *)arg;
    const struct slm_context *c = r->c;
    int64_t n = c->model->hparams.n_embd;
    float *y = r->y + row * n;
    float *stream = c->y + row * n;
    (void)part;
    altup_match(stream, c->streams[0] + c->batch.rows[row] * n, n);
    c->model->kernels.add(y, stream, n);
    for (int64_t i = 0; r->scale != 1 && i < n; i++) {
        y[i] *= r->scale;
    }
}

/* y[n_rows] = x of the wanted rows, after the last layer; c->x and c->y are free by then. */
static void altup_merge(struct slm_context *c, float *y)
{
    int64_t n = c->model->hparams.n_embd;
    int32_t n_rows = c->batch.n_rows;
    context_gather_rows(c, c->streams[0], y);
    for (int32_t j = 1; j < ALTUP_STREAMS; j++) {
        struct altup_merging r = {c, y, j == ALTUP_STREAMS - 1 ? 1.0f / ALTUP_STREAMS : 1};
        struct linear proj =
            linear_of_stack(&c->model->globals.altup_unproj, j - 1, ALTUP_STREAMS - 1);
        struct matmul_input in = {c->x, ACT_NONE, NULL, NULL, n, n_rows};
        struct matmul_job job = {&proj, c->y, n, NULL, 1};
        context_gather_rows(c, c->streams[j], c->x);
        matmul(c, &in, &job, 1);
        context_tiles(c, n * n_rows * 16, n_rows, altup_merge_row, &r);
    }
}
