/* ffn.c - the feed-forward: x += down(act(gate n) * (up n)), or without a gate down(act(up n)),
 * n = norm(x, ffn_norm). `x` is c->x, or in a parallel layer what c->x becomes. */

static void ffn(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    int is_gated = l->ffn_gate.n_out > 0;
    int is_normed = l->ffn_post_norm.n > 0;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->ffn_norm, h->n_embd, n};
    struct matmul_job up_gate[2] = {
        {&l->ffn_up, c->up, l->n_ff, NULL, 1},
        {&l->ffn_gate, c->gate, l->n_ff, NULL, 1},
    };
    struct matmul_input hidden = {is_gated ? c->gate : c->up, h->act,  is_gated ? c->up : NULL,
                                  &l->ffn_sub_norm,           l->n_ff, n};
    struct matmul_job down = {&l->ffn_down, c->y, h->n_embd, is_normed ? NULL : x,
                              h->residual_scale};
    matmul(c, &in, up_gate, is_gated ? 2 : 1);
    matmul(c, &hidden, &down, 1);
    if (is_normed) {
        norm_add(c, &l->ffn_post_norm, x);
    }
}
