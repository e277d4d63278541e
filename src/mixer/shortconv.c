/* shortconv.c - the gated short convolution of LFM2 (Liquid AI 2025), a mixer in place of attention:
 *
 *     b, c, u = short_in n                      n = norm(x, attn_norm), n_embd each
 *     x += short_out (c * conv(b * u))
 *
 * c->mix holds [n_batch][3 n_embd], the rows of short_in, and behind them [n_batch][n_embd]. */

static int64_t shortconv_state_floats(const struct hparams *h)
{
    return conv_state_floats(h, h->n_embd);
}

static int64_t shortconv_row_floats(const struct hparams *h)
{
    return 4 * (int64_t)h->n_embd;
}

/* u = b * u */
static void shortconv_gate_in(void *arg, int32_t token, int32_t part)
{
    struct slm_context *c = (struct slm_context *)arg;
    int64_t n = c->model->hparams.n_embd;
    float *row = c->mix + token * 3 * n;
    (void)part;
    for (int64_t i = 0; i < n; i++) {
        row[2 * n + i] *= row[i];
    }
}

/* What goes into short_out = c * u, the rows one behind the other. */
static void shortconv_gate_out(void *arg, int32_t token, int32_t part)
{
    struct slm_context *c = (struct slm_context *)arg;
    int64_t n = c->model->hparams.n_embd;
    const float *row = c->mix + token * 3 * n;
    float *y = c->mix + (c->n_batch * 3 + token) * n;
    (void)part;
    for (int64_t i = 0; i < n; i++) {
        y[i] = row[n + i] * row[2 * n + i];
    }
}

static void shortconv(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int64_t n_embd = h->n_embd;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->attn_norm, n_embd, n};
    struct matmul_job bcu = {&l->short_in, c->mix, 3 * n_embd, NULL, 1};
    struct conv_run run = {c, l, c->mix + 2 * n_embd, 3 * n_embd, n_embd, 0, 0};
    struct matmul_input gated = {c->mix + c->n_batch * 3 * n_embd, ACT_NONE, NULL, NULL, n_embd, n};
    struct matmul_job out = {&l->short_out, c->y, n_embd, x, h->residual_scale};
    matmul(c, &in, &bcu, 1);
    context_tiles(c, n * n_embd, n, shortconv_gate_in, c);
    conv(&run);
    context_tiles(c, n * n_embd, n, shortconv_gate_out, c);
    matmul(c, &gated, &out, 1);
}
