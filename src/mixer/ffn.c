/* ffn.c - the gated feed-forward: x += down(silu(gate n) * (up n)), n = rms_norm(x, ffn_norm). */

static void ffn(struct slm_context *c, const struct layer *l)
{
    int32_t n = c->batch.n_tokens;
    int64_t n_embd = c->model->hparams.n_embd;
    struct matmul_input in = {INPUT_NORM, c->x, NULL, l->ffn_norm, n_embd, n};
    struct matmul_job gate_up[2] = {
        {&l->ffn_gate, c->gate, l->n_ff, NULL},
        {&l->ffn_up, c->up, l->n_ff, NULL},
    };
    struct matmul_input hidden = {INPUT_SWIGLU, c->gate, c->up, NULL, l->n_ff, n};
    struct matmul_job down = {&l->ffn_down, c->y, n_embd, c->x};
    matmul(c, &in, gate_up, 2);
    matmul(c, &hidden, &down, 1);
}
