/* norm.c - norms as a family has them, and branches that are normed before they join x. */

/* y = the norm of each stretch of w->n elements of x[0..n-1]. y may be x. */
static void norm_apply(const struct slm_model *m, const struct norm *w, float *y, const float *x,
                       int64_t n)
{
    const struct kernels *k = &m->kernels;
    for (int64_t i = 0; i * w->n < n; i++) {
        const float *weight = w->weight != NULL ? w->weight + i * w->stride : NULL;
        const float *from = x + i * w->n;
        float *to = y + i * w->n;
        if (!PROFILE_MORE || m->arch->norm == NORM_RMS) {
            k->rms_norm(to, from, weight, w->n, m->hparams.norm_eps);
        } else {
            k->layer_norm(to, from, weight, w->bias, w->n, m->hparams.norm_eps);
        }
    }
}

struct norm_run {
    struct slm_context *c;
    const struct norm *norm;
    float *x; /* [n_tokens][n_embd] */
};

static void norm_row(void *arg, int32_t row, int32_t part)
{
    const struct norm_run *r = (const struct norm_run *)arg;
    int64_t n = r->c->model->hparams.n_embd;
    (void)part;
    norm_apply(r->c->model, r->norm, r->x + row * n, r->x + row * n, n);
}

/* Norms rows of n_embd in place, if there is such a norm. */
static void norm_rows(struct slm_context *c, const struct norm *norm, float *x, int32_t n_rows)
{
    struct norm_run r = {c, norm, x};
    if (norm->n > 0) {
        context_tiles(c, (int64_t)n_rows * c->model->hparams.n_embd * 8, n_rows, norm_row, &r);
    }
}

static void norm_add_token(void *arg, int32_t token, int32_t part)
{
    const struct norm_run *r = (const struct norm_run *)arg;
    const struct hparams *h = &r->c->model->hparams;
    float *y = r->c->y + (int64_t)token * h->n_embd;
    float *x = r->x + (int64_t)token * h->n_embd;
    (void)part;
    if (r->norm->n > 0) {
        norm_apply(r->c->model, r->norm, y, y, h->n_embd);
    }
    r->c->model->kernels.add_scaled(x, y, h->residual_scale, h->n_embd);
}

/* x += residual_scale * norm(y), for branches whose norm stands behind them, or which are a sum:
 * their product is added by this and not while its rows are warm. */
static void norm_add(struct slm_context *c, const struct norm *norm, float *x)
{
    struct norm_run r = {c, norm, x};
    context_tiles(c, (int64_t)c->batch.n_tokens * c->model->hparams.n_embd * 8, c->batch.n_tokens,
                  norm_add_token, &r);
}

/* x = norm(x + y), a token; y NULL: norm(x). */
struct norm_sum_run {
    struct slm_context *c;
    const struct norm *norm;
    float *x;       /* [n_tokens][n_embd] */
    const float *y; /* the same */
};

static void norm_sum_token(void *arg, int32_t token, int32_t part)
{
    const struct norm_sum_run *r = (const struct norm_sum_run *)arg;
    int64_t n = r->c->model->hparams.n_embd;
    float *x = r->x + token * n;
    (void)part;
    if (r->y != NULL) {
        r->c->model->kernels.add(x, r->y + token * n, n);
    }
    norm_apply(r->c->model, r->norm, x, x, n);
}

/* The norm of x behind a branch, if there is one. */
static void norm_sum(struct slm_context *c, const struct norm *norm, float *x, const float *y)
{
    struct norm_sum_run r = {c, norm, x, y};
    if (norm->n > 0) {
        context_tiles(c, (int64_t)c->batch.n_tokens * norm->n * 8, c->batch.n_tokens,
                      norm_sum_token, &r);
    }
}
