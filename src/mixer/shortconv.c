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
    const struct segment *s;
    struct kernel_conv job = conv_begin(r, tile, &s);
    int64_t n = job.n, first = job.x - (r->x + s->first * r->stride);
    (void)part;
    for (int32_t t = 0; t < s->n_tokens; t += CONV_TOKENS) {
        int32_t n_tokens = min_i32(CONV_TOKENS, s->n_tokens - t);
        float *u = job.x;
        float *y = c->mix + (c->n_batch * 3 + s->first + t) * r->n_channel + first;
        for (int32_t i = 0; i < n_tokens; i++) {
            k->multiply(u + i * r->stride, u + i * r->stride, u + i * r->stride - 2 * r->n_channel,
                        n);
        }
        conv_tokens(r, &job, n_tokens);
        for (int32_t i = 0; i < n_tokens; i++) {
            k->multiply(y + i * r->n_channel, u + i * r->stride - r->n_channel, u + i * r->stride,
                        n);
        }
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
