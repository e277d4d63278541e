/* experts.c - a mixture of experts in place of a feed-forward (Shazeer et al. 2017):
 *
 *     x += sum over the selected experts e of weight_e * down_e(act(gate_e n) * (up_e n))
 *
 * n = norm(x, ffn_norm). A router gives each token a score for each expert; the n_expert_used best
 * are selected. A batch goes through the experts one after the other, each with the tokens that
 * selected it. A token's sum is in order of experts, so it does not depend on which tokens share the
 * batch. A shared expert, if there is one, takes all tokens. */

/* p = softmax(p). */
static void experts_softmax(float *p, int32_t n)
{
    float max = p[0];
    float sum = 0;
    for (int32_t i = 1; i < n; i++) {
        max = p[i] > max ? p[i] : max;
    }
    for (int32_t i = 0; i < n; i++) {
        p[i] = math_expf(p[i] - max);
        sum += p[i];
    }
    for (int32_t i = 0; i < n; i++) {
        p[i] /= sum;
    }
}

static int experts_have(const int32_t *selected, int32_t n, int32_t expert)
{
    for (int32_t i = 0; i < n; i++) {
        if (selected[i] == expert) {
            return 1;
        }
    }
    return 0;
}

/* The n best of p, best first, the first among equals. Different ones whatever p holds, NaN too. */
static void experts_best(const float *p, int32_t n_expert, int32_t n, int32_t *selected)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t best = -1;
        for (int32_t e = 0; e < n_expert; e++) {
            if ((best < 0 || p[e] > p[best]) && !experts_have(selected, i, e)) {
                best = e;
            }
        }
        selected[i] = best;
    }
}

#define EXPERTS_LEAST_SUM 6.103515625e-5f /* what weights are divided by is never less */

static void experts_select(void *arg, int32_t token, int32_t part)
{
    struct slm_context *c = (struct slm_context *)arg;
    const struct hparams *h = &c->model->hparams;
    float *p = c->experts.logits + (int64_t)token * h->n_expert;
    int32_t *selected = c->experts.selected + (int64_t)token * h->n_expert_used;
    float *weights = c->experts.weights + (int64_t)token * h->n_expert_used;
    float sum = 0;
    (void)part;
    if (!h->expert_softmax_selected) {
        experts_softmax(p, h->n_expert);
    }
    experts_best(p, h->n_expert, h->n_expert_used, selected);
    for (int32_t i = 0; i < h->n_expert_used; i++) {
        weights[i] = p[selected[i]];
        sum += weights[i];
    }
    if (h->expert_softmax_selected) {
        experts_softmax(weights, h->n_expert_used);
        return;
    }
    sum = sum < EXPERTS_LEAST_SUM ? EXPERTS_LEAST_SUM : sum;
    for (int32_t i = 0; h->expert_weights_norm && i < h->n_expert_used; i++) {
        weights[i] /= sum;
    }
}

/* Copies together the rows of the tokens that selected the expert; returns how many. */
static int32_t experts_gather(struct slm_context *c, int32_t expert)
{
    const struct hparams *h = &c->model->hparams;
    struct context_experts *e = &c->experts;
    int32_t n = 0;
    for (int32_t i = 0; i < c->batch.n_tokens * h->n_expert_used; i++) {
        if (e->selected[i] == expert) {
            e->tokens[n] = i / h->n_expert_used;
            e->scales[n] = e->weights[i];
            memcpy(e->x + (int64_t)n * h->n_embd, c->x + (int64_t)e->tokens[n] * h->n_embd,
                   (size_t)h->n_embd * sizeof(float));
            n++;
        }
    }
    return n;
}

/* c->experts.y[n] = down(act(gate norm(x)) * up norm(x)), or without a gate down(act(up norm(x))),
 * for n rows at x. */
static void experts_run(struct slm_context *c, const struct layer *l, const float *x, int32_t n,
                        const struct linear *gate, const struct linear *up,
                        const struct linear *down)
{
    int64_t n_embd = c->model->hparams.n_embd;
    struct matmul_input in = {x, ACT_NONE, NULL, &l->ffn_norm, n_embd, n};
    int is_gated = gate->n_out > 0;
    struct matmul_job up_gate[2] = {
        {up, c->up, up->n_out, NULL, 1},
        {gate, c->gate, gate->n_out, NULL, 1},
    };
    struct matmul_input hidden = {is_gated ? c->gate : c->up,
                                  c->model->hparams.act,
                                  is_gated ? c->up : NULL,
                                  NULL,
                                  down->n_in,
                                  n};
    struct matmul_job out = {down, c->experts.y, n_embd, NULL, 1};
    matmul(c, &in, up_gate, is_gated ? 2 : 1);
    matmul(c, &hidden, &out, 1);
}

/* c->y of token tokens[row] += scales[row] * row of c->experts.y; a task a row. */
static void experts_add_row(void *arg, int32_t row, int32_t part)
{
    struct slm_context *c = (struct slm_context *)arg;
    int64_t n_embd = c->model->hparams.n_embd;
    const float *from = c->experts.y + row * n_embd;
    float *to = c->y + c->experts.tokens[row] * n_embd;
    float scale = c->experts.scales[row];
    (void)part;
    for (int64_t i = 0; i < n_embd; i++) {
        to[i] += scale * from[i];
    }
}

static void experts_add(struct slm_context *c, int32_t n)
{
    context_tiles(c, (int64_t)n * c->model->hparams.n_embd, n, experts_add_row, c);
}

static void experts_shared(struct slm_context *c, const struct layer *l)
{
    struct context_experts *e = &c->experts;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->ffn_norm, c->model->hparams.n_embd, n};
    struct matmul_job router = {&l->shared_router, e->scales, 1, NULL, 1};
    for (int32_t t = 0; t < n; t++) {
        e->tokens[t] = t;
        e->scales[t] = 1;
    }
    if (l->shared_router.n_out > 0) {
        matmul(c, &in, &router, 1);
        for (int32_t t = 0; t < n; t++) {
            e->scales[t] = 1 / (1 + math_expf(-e->scales[t]));
        }
    }
    experts_run(c, l, c->x, n, &l->shared_gate, &l->shared_up, &l->shared_down);
    experts_add(c, n);
}

/* `x` is c->x, or in a parallel layer what c->x becomes. */
static void experts(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->ffn_norm, h->n_embd, n};
    struct matmul_job router = {&l->ffn_router, c->experts.logits, h->n_expert, NULL, 1};
    memset(c->y, 0, (size_t)n * (size_t)h->n_embd * sizeof(float));
    matmul(c, &in, &router, 1);
    context_tiles(c, (int64_t)n * h->n_expert * h->n_expert_used, n, experts_select, c);
    for (int32_t i = 0; i < h->n_expert; i++) {
        int32_t n_rows = experts_gather(c, i);
        if (n_rows > 0) {
            struct linear gate = linear_of_stack(&l->gate_exps, i, h->n_expert);
            struct linear up = linear_of_stack(&l->up_exps, i, h->n_expert);
            struct linear down = linear_of_stack(&l->down_exps, i, h->n_expert);
            experts_run(c, l, c->experts.x, n_rows, &gate, &up, &down);
            experts_add(c, n_rows);
        }
    }
    if (l->shared_down.n_out > 0) {
        experts_shared(c, l);
    }
    norm_add(c, &l->ffn_post_norm, x);
}
