/* laurel.c - a branch beside attention, through a matrix of low rank (LAuReL: Menghani et al. 2024):
 *
 *     x = (x + attention(n) + n + norm(laurel_up laurel_down n, laurel_post_norm)) / sqrt(2)
 *
 * n = norm(x, attn_norm). */

/* c->laurel of one token, of which the products have made the last term: + n. */
static void laurel_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    const struct slm_model *m = r->c->model;
    int64_t n = m->hparams.n_embd;
    float *y = r->c->laurel + token * n;
    float *normed = r->c->h + token * n;
    (void)part;
    norm_apply(m, &r->l->laurel_post_norm, y, y, n);
    norm_apply(m, &r->l->attn_norm, normed, r->c->x + token * n, n);
    m->kernels.add(y, normed, n);
}

/* Before attention changes x. */
static void laurel(struct slm_context *c, const struct layer *l)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->attn_norm, h->n_embd, n};
    struct matmul_job down = {&l->laurel_down, c->laurel_low, h->n_laurel, NULL, 1};
    struct matmul_input low = {c->laurel_low, ACT_NONE, NULL, NULL, h->n_laurel, n};
    struct matmul_job up = {&l->laurel_up, c->laurel, h->n_embd, NULL, 1};
    matmul(c, &in, &down, 1);
    matmul(c, &low, &up, 1);
    context_tokens(c, l, (int64_t)h->n_embd * 16, laurel_token);
}

static void laurel_join_token(void *arg, int32_t token, int32_t part)
{
    const struct norm_run *r = (const struct norm_run *)arg;
    int64_t n = r->c->model->hparams.n_embd;
    const float *branch = r->c->laurel + token * n;
    float *x = r->x + token * n;
    float half = (float)math_sqrt((wide_float)0.5);
    (void)part;
    for (int64_t i = 0; i < n; i++) {
        x[i] = (x[i] + branch[i]) * half;
    }
}

/* After attention was added to x. */
static void laurel_join(struct slm_context *c, float *x)
{
    struct norm_run r = {c, NULL, x};
    context_tiles(c, (int64_t)c->batch.n_tokens * c->model->hparams.n_embd, c->batch.n_tokens,
                  laurel_join_token, &r);
}
