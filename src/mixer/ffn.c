/* ffn.c - the feed-forward: x += down(act(gate n) * (up n)), or without a gate down(act(up n)),
 * n = norm(x, ffn_norm), or with ffn_shift that mixed with the token before's (shift.c): its row is
 * the first of the layer's state. `x` is c->x, or in a parallel layer what c->x becomes.
 *
 * A layer with ffn_cut keeps only the gates that stand out: each loses the mean of its token's and
 * ffn_cut times their standard deviation, and what is then below 0 is 0. */

static void ffn_cut_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    int64_t n = r->l->n_ff;
    float *gate = r->c->gate + token * n;
    (void)part;
    r->c->model->kernels.cut(gate, n, r->l->ffn_cut);
}

static void ffn(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    int is_gated = l->ffn_gate.n_out > 0;
    int is_normed = PROFILE_MORE && l->ffn_post_norm.n > 0;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->ffn_norm, h->n_embd, n};
    struct matmul_job up_gate[2] = {
        {&l->ffn_up, c->up, l->n_ff, NULL, 1},
        {&l->ffn_gate, c->gate, l->n_ff, NULL, 1},
    };
    struct matmul_input hidden = {is_gated ? c->gate : c->up, h->act,  is_gated ? c->up : NULL,
                                  &l->ffn_sub_norm,           l->n_ff, n};
    struct matmul_job down = {&l->ffn_down, c->y, h->n_embd, is_normed ? NULL : x,
                              h->residual_scale};
    if (PROFILE_RWKV7 && l->ffn_shift != NULL) {
        struct shift_run shifted = {c, &l->ffn_norm, l->ffn_shift, 1, l->state_at};
        shift(&shifted);
        in.x = shift_row(c, SHIFT_OUT);
        in.norm = NULL;
    }
    matmul(c, &in, up_gate, is_gated ? 2 : 1);
    if (PROFILE_MORE && l->ffn_cut > 0) {
        context_tokens(c, l, 4 * (int64_t)l->n_ff, ffn_cut_token);
    }
    matmul(c, &hidden, &down, 1);
    if (is_normed) {
        norm_add(c, &l->ffn_post_norm, x);
    }
}
