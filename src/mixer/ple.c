/* ple.c - per-layer embeddings: what each layer adds about its token, apart from what came before.
 *
 *     of layer l:  e_l = (norm(P_l x0 / sqrt(n_embd), ple_norm) + sqrt(n) * E_l[token]) / sqrt(2)
 *                  x += norm(ple_output (act(ple_gate x) * e_l), ple_post_norm)
 *
 * x0 is the scaled token embedding, P ple_proj, E ple_embd, n n_embd_layer. The e of all layers are
 * made before the first. Of E, the largest tensor of such models, one row a token is read. */

/* The e of one token: c->ple holds what ple_proj gave. */
static void ple_token(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    const struct slm_context *c = r->c;
    const struct globals *g = &c->model->globals;
    const struct hparams *h = &c->model->hparams;
    int64_t n = g->ple_embd.n_in;
    float *y = c->ple + token * n;
    float *row = c->h + token * n;
    float down = (float)(1 / math_sqrt((wide_float)h->n_embd));
    float up = (float)math_sqrt((wide_float)h->n_embd_layer);
    float half = (float)math_sqrt((wide_float)0.5);
    (void)part;
    linear_row(&g->ple_embd, c->batch.tokens[token], row);
    for (int64_t i = 0; i < n; i++) {
        y[i] *= down;
    }
    norm_apply(c->model, &g->ple_norm, y, y, n);
    for (int64_t i = 0; i < n; i++) {
        y[i] = (y[i] + row[i] * up) * half;
    }
}

/* From c->x, the token embeddings, before the first layer. */
static void ple_begin(struct slm_context *c)
{
    const struct linear *proj = &c->model->globals.ple_proj;
    struct matmul_input in = {c->x, ACT_NONE, NULL, NULL, proj->n_in, c->batch.n_tokens};
    struct matmul_job job = {proj, c->ple, proj->n_out, NULL, 1};
    matmul(c, &in, &job, 1);
    context_tokens(c, NULL, proj->n_out * 8, ple_token);
}

static void ple_activate(void *arg, int32_t token, int32_t part)
{
    const struct layer_run *r = (const struct layer_run *)arg;
    const struct slm_model *m = r->c->model;
    int64_t n = m->hparams.n_embd_layer;
    int64_t layer = r->l - m->layers;
    float *gate = r->c->ple_gate + token * n;
    (void)part;
    matmul_activate(&m->kernels, m->hparams.act, gate, gate,
                    r->c->ple + (token * (int64_t)m->hparams.n_layer + layer) * n, n);
}

static void ple(struct slm_context *c, const struct layer *l)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, NULL, h->n_embd, n};
    struct matmul_job gate = {&l->ple_gate, c->ple_gate, h->n_embd_layer, NULL, 1};
    struct matmul_input gated = {c->ple_gate, ACT_NONE, NULL, NULL, h->n_embd_layer, n};
    struct matmul_job output = {&l->ple_output, c->y, h->n_embd, NULL, 1};
    matmul(c, &in, &gate, 1);
    context_tokens(c, l, (int64_t)h->n_embd_layer * 8, ple_activate);
    matmul(c, &gated, &output, 1);
    if (h->n_streams > 0) {
        altup_add(c, l);
    } else {
        norm_add(c, &l->ple_post_norm, c->x);
    }
}
