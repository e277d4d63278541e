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

/* c * conv(b * u) for a block of channels of a segment, one row of the output behind the other. */
static void shortconv_tile(void *arg, int32_t tile, int32_t part)
{
    const struct conv_run *r = (const struct conv_run *)arg;
    const struct slm_context *c = r->c;
    const struct kernels *k = &c->model->kernels;
    int32_t n_blocks = (int32_t)((r->n_channel + CONV_CHANNELS - 1) / CONV_CHANNELS);
    const struct segment *s = &c->batch.segments[tile / n_blocks];
    int64_t first = (int64_t)(tile % n_blocks) * CONV_CHANNELS;
    int64_t n = min_i64(CONV_CHANNELS, r->n_channel - first);
    float *state = conv_state(r, s, first, n);
    (void)part;
    for (int64_t t = s->first; t < s->first + s->n_tokens; t++) {
        float *u = r->x + t * r->stride + first;
        float *y = c->mix + (c->n_batch * 3 + t) * r->n_channel + first;
        k->multiply(u, u, u - 2 * r->n_channel, n);
        conv_row(r, u, state, first, n);
        k->multiply(y, u - r->n_channel, u, n);
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
    conv_tiles(&run, shortconv_tile);
    matmul(c, &gated, &out, 1);
}
