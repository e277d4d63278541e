/* experts.c - a mixture of experts in place of a feed-forward (Shazeer et al. 2017):
 *
 *     x += sum over the selected experts e of weight_e * down_e(act(gate_e n) * (up_e n))
 *
 * n = norm(x, expert_norm). A router gives each token a score for each expert; the n_expert_used best
 * are selected. The tokens of a batch are sorted by expert: a row for each expert a token selected,
 * those of expert 0 first. A shared expert, if there is one, stands behind the others and has a row
 * of each token; one with norms of its own goes by itself. Some experts at a time go through a
 * region of products; a token's sum is in order of experts, so it does not depend on which tokens
 * share the batch. */

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

/* The n best of p + bias, best first, the first among equals. Different ones whatever p holds, NaN
 * too. */
static void experts_best(const float *p, const float *bias, int32_t n_expert, int32_t n,
                         int32_t *selected)
{
    uint8_t is_taken[LIMIT_EXPERTS] = {0}; /* n may be as many */
    for (int32_t i = 0; i < n; i++) {
        int32_t best = -1;
        float most = 0;
        for (int32_t e = 0; e < n_expert; e++) {
            float score = bias != NULL ? p[e] + bias[e] : p[e];
            if ((best < 0 || score > most) && !is_taken[e]) {
                best = e;
                most = score;
            }
        }
        selected[i] = best;
        is_taken[best] = 1;
    }
}

#define EXPERTS_AT_ONCE MATMUL_GROUPS_MAX
#define EXPERTS_LEAST_SUM 6.103515625e-5f /* what weights are divided by is never less */

/* The experts of some rows, one behind the other. */
struct experts_run {
    struct slm_context *c;
    const struct layer *l;
    int32_t row0, row1;
    int32_t n;                        /* experts that have rows */
    int32_t experts[EXPERTS_AT_ONCE]; /* the shared one is n_expert */
};

/* Experts come before others of a higher number. */
static void experts_sort(int32_t *selected, float *weights, int32_t n)
{
    for (int32_t i = 1; i < n; i++) {
        int32_t expert = selected[i];
        float weight = weights[i];
        int32_t at = i;
        for (; at > 0 && selected[at - 1] > expert; at--) {
            selected[at] = selected[at - 1];
            weights[at] = weights[at - 1];
        }
        selected[at] = expert;
        weights[at] = weight;
    }
}

static void experts_norm(void *arg, int32_t token, int32_t part)
{
    const struct experts_run *r = (const struct experts_run *)arg;
    int64_t n_embd = r->c->model->hparams.n_embd;
    const float *x = r->c->x + token * n_embd;
    float *y = r->c->experts.x + token * n_embd;
    (void)part;
    if (r->l->expert_norm.n > 0) {
        norm_apply(r->c->model, &r->l->expert_norm, y, x, n_embd);
    } else {
        memcpy(y, x, (size_t)n_embd * sizeof(float));
    }
}

static void experts_select(void *arg, int32_t token, int32_t part)
{
    const struct experts_run *r = (const struct experts_run *)arg;
    struct slm_context *c = r->c;
    const struct hparams *h = &c->model->hparams;
    float *p = c->experts.logits + (int64_t)token * h->n_expert;
    int32_t *selected = c->experts.selected + (int64_t)token * h->n_expert_used;
    float *weights = c->experts.weights + (int64_t)token * h->n_expert_used;
    float sum = 0;
    (void)part;
    if (h->expert_score == EXPERT_SCORE_SOFTMAX) {
        experts_softmax(p, h->n_expert);
    }
    for (int32_t i = 0; h->expert_score == EXPERT_SCORE_SIGMOID && i < h->n_expert; i++) {
        p[i] = 1 / (1 + math_expf(-p[i]));
    }
    experts_best(p, r->l->expert_bias, h->n_expert, h->n_expert_used, selected);
    for (int32_t i = 0; i < h->n_expert_used; i++) {
        weights[i] = p[selected[i]];
        sum += weights[i];
    }
    sum = sum < EXPERTS_LEAST_SUM ? EXPERTS_LEAST_SUM : sum;
    if (h->expert_score == EXPERT_SCORE_SOFTMAX_SELECTED) {
        experts_softmax(weights, h->n_expert_used);
    } else if (h->expert_weights_norm) {
        for (int32_t i = 0; i < h->n_expert_used; i++) {
            weights[i] /= sum;
        }
    }
    experts_sort(selected, weights, h->n_expert_used);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* Counts, then deals out the rows. */
static void experts_deal(struct slm_context *c, int has_shared)
{
    const struct hparams *h = &c->model->hparams;
    struct context_experts *e = &c->experts;
    int32_t n = c->batch.n_tokens * h->n_expert_used;
    memset(e->first, 0, ((size_t)h->n_expert + 2) * sizeof(int32_t));
    for (int32_t i = 0; i < n; i++) {
        e->first[e->selected[i] + 1]++;
    }
    for (int32_t i = 0; i < h->n_expert; i++) {
        e->first[i + 1] += e->first[i];
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t row = e->first[e->selected[i]]++;
        e->tokens[row] = i / h->n_expert_used;
        e->rows[i] = row;
    }
    for (int32_t i = h->n_expert; i > 0; i--) {
        e->first[i] = e->first[i - 1];
    }
    e->first[0] = 0;
    e->first[h->n_expert + 1] = n + (has_shared ? c->batch.n_tokens : 0);
}

/* From expert `next` on as many as one region takes; returns the expert after them. */
static int32_t experts_take(struct experts_run *r, int32_t next)
{
    const struct slm_context *c = r->c;
    const int32_t *first = c->experts.first;
    r->row0 = r->row1 = first[next];
    r->n = 0;
    for (; next <= c->model->hparams.n_expert; next++) {
        if (first[next + 1] == first[next]) {
            continue;
        }
        if (r->n == EXPERTS_AT_ONCE || first[next + 1] - r->row0 > c->n_prepared) {
            break;
        }
        r->experts[r->n++] = next;
        r->row1 = first[next + 1];
    }
    return next;
}

static struct linear experts_matrix(const struct experts_run *r, int32_t expert,
                                    const struct linear *stack, const struct linear *shared)
{
    int32_t n = r->c->model->hparams.n_expert;
    return expert < n ? linear_of_stack(stack, expert, n) : *shared;
}

static int experts_are_gated(const struct layer *l)
{
    return l->gate_exps.n_out > 0 || l->gate_up_exps.n_out > 0;
}

/* Up of an expert, and gate if there is one; they may be one matrix in the file. */
static void experts_up_and_gate(const struct experts_run *r, int32_t expert, struct linear w[2])
{
    const struct layer *l = r->l;
    int32_t n = r->c->model->hparams.n_expert;
    if (expert < n && l->gate_up_exps.n_out > 0) {
        struct linear both = linear_of_stack(&l->gate_up_exps, expert, n);
        linear_slice(&both, 0, both.n_out / 2, &w[1]);
        linear_slice(&both, both.n_out / 2, both.n_out / 2, &w[0]);
        return;
    }
    w[0] = experts_matrix(r, expert, &l->up_exps, &l->shared_up);
    if (experts_are_gated(l)) {
        w[1] = experts_matrix(r, expert, &l->gate_exps, &l->shared_gate);
    }
}

/* ---- Products -------------------------------------------------------------------------------- */

/* c->gate and c->up of the rows. A token by itself is everybody's input. */
static void experts_gate_up(const struct experts_run *r)
{
    struct slm_context *c = r->c;
    int64_t n_embd = c->model->hparams.n_embd;
    const int32_t *first = c->experts.first;
    int is_one = c->batch.n_tokens == 1;
    int32_t n_each = experts_are_gated(r->l) ? 2 : 1;
    struct linear matrices[2 * EXPERTS_AT_ONCE];
    struct matmul_job jobs[2 * EXPERTS_AT_ONCE];
    struct matmul_input in[EXPERTS_AT_ONCE];
    struct matmul_group groups[EXPERTS_AT_ONCE];
    for (int32_t i = 0; i < r->n; i++) {
        int32_t e = r->experts[i];
        int is_shared = e == c->model->hparams.n_expert;
        int64_t at = (first[e] - r->row0) * (int64_t)c->model->n_ff_max;
        struct linear *w = &matrices[2 * i];
        experts_up_and_gate(r, e, w);
        struct matmul_job up = {&w[0], c->up + at, w[0].n_out, NULL, 1};
        struct matmul_job gate = {&w[n_each - 1], c->gate + at, w[n_each - 1].n_out, NULL, 1};
        struct matmul_input rows = {c->experts.x, ACT_NONE, NULL,
                                    NULL,         n_embd,   first[e + 1] - first[e]};
        struct matmul_group group = {&in[i],
                                     is_one || is_shared ? NULL : c->experts.tokens + first[e],
                                     &jobs[n_each * i], is_one ? n_each * r->n : n_each};
        jobs[n_each * i + n_each - 1] = gate;
        jobs[n_each * i] = up;
        in[i] = rows;
        groups[i] = group;
    }
    matmul_groups(c, groups, is_one ? 1 : r->n);
}

/* c->experts.y of the rows. */
static void experts_down(const struct experts_run *r)
{
    struct slm_context *c = r->c;
    const struct layer *l = r->l;
    int64_t n_embd = c->model->hparams.n_embd;
    int is_gated = experts_are_gated(l);
    const int32_t *first = c->experts.first;
    struct linear matrices[EXPERTS_AT_ONCE];
    struct matmul_job jobs[EXPERTS_AT_ONCE];
    struct matmul_input in[EXPERTS_AT_ONCE];
    struct matmul_group groups[EXPERTS_AT_ONCE];
    for (int32_t i = 0; i < r->n; i++) {
        int32_t e = r->experts[i];
        int64_t row = first[e] - r->row0;
        int64_t at = row * c->model->n_ff_max;
        matrices[i] = experts_matrix(r, e, &l->down_exps, &l->shared_down);
        struct matmul_job down = {&matrices[i], c->experts.y + row * n_embd, n_embd, NULL, 1};
        struct matmul_input hidden = {(is_gated ? c->gate : c->up) + at,
                                      c->model->hparams.act,
                                      is_gated ? c->up + at : NULL,
                                      NULL,
                                      matrices[i].n_in,
                                      first[e + 1] - first[e]};
        struct matmul_group group = {&in[i], NULL, &jobs[i], 1};
        jobs[i] = down;
        in[i] = hidden;
        groups[i] = group;
    }
    matmul_groups(c, groups, r->n);
}

/* y += scale * row, if it is one of the run's. */
static void experts_add_row(const struct experts_run *r, float *y, int32_t row, float scale)
{
    int64_t n_embd = r->c->model->hparams.n_embd;
    if (row >= r->row0 && row < r->row1) {
        const float *from = r->c->experts.y + (row - r->row0) * n_embd;
        r->c->model->kernels.add_scaled(y, from, scale, n_embd);
    }
}

/* c->y of a token += what the run's experts make of it, in their order. */
static void experts_add(void *arg, int32_t token, int32_t part)
{
    const struct experts_run *r = (const struct experts_run *)arg;
    const struct slm_context *c = r->c;
    const struct context_experts *e = &c->experts;
    const struct hparams *h = &c->model->hparams;
    float *y = c->y + token * (int64_t)h->n_embd;
    (void)part;
    for (int32_t i = token * h->n_expert_used; i < (token + 1) * h->n_expert_used; i++) {
        experts_add_row(r, y, e->rows[i], e->weights[i]);
    }
    experts_add_row(r, y, e->first[h->n_expert] + token, e->scales[token]);
}

/* Scores of the experts, and the weight of the shared one. */
static void experts_route(const struct experts_run *r)
{
    struct slm_context *c = r->c;
    const struct layer *l = r->l;
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->experts.x, ACT_NONE, NULL, NULL, h->n_embd, n};
    if (l->router_norm.weight != l->expert_norm.weight) {
        in.x = c->x;
        in.norm = &l->router_norm;
    }
    struct matmul_job jobs[2] = {
        {&l->ffn_router, c->experts.logits, h->n_expert, NULL, 1},
        {&l->shared_router, c->experts.scales, 1, NULL, 1},
    };
    matmul(c, &in, jobs, l->shared_router.n_out > 0 ? 2 : 1);
    for (int32_t t = 0; t < n; t++) {
        c->experts.scales[t] =
            l->shared_router.n_out > 0 ? 1 / (1 + math_expf(-c->experts.scales[t])) : 1;
    }
}

/* y += row */
static void experts_add_apart(void *arg, int32_t token, int32_t part)
{
    const struct slm_context *c = (const struct slm_context *)arg;
    int64_t n_embd = c->model->hparams.n_embd;
    (void)part;
    c->model->kernels.add(c->y + token * n_embd, c->experts.y + token * n_embd, n_embd);
}

/* A shared expert that reads and is added through norms of its own. */
static void experts_shared_apart(struct slm_context *c, const struct layer *l)
{
    int64_t n_embd = c->model->hparams.n_embd;
    int64_t n_ff = l->shared_down.n_in;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->ffn_norm, n_embd, n};
    struct matmul_job jobs[2] = {
        {&l->shared_gate, c->gate, n_ff, NULL, 1},
        {&l->shared_up, c->up, n_ff, NULL, 1},
    };
    struct matmul_input hidden = {c->gate, c->model->hparams.act, c->up, NULL, n_ff, n};
    struct matmul_job down = {&l->shared_down, c->experts.y, n_embd, NULL, 1};
    matmul(c, &in, jobs, 2);
    matmul(c, &hidden, &down, 1);
    norm_rows(c, &l->shared_post_norm, c->experts.y, n);
    context_tiles(c, n * n_embd, n, experts_add_apart, c);
}

/* `x` is c->x, or in a parallel layer what c->x becomes. */
static void experts(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    int is_apart = l->shared_post_norm.n > 0;
    struct experts_run r = {c, l, 0, 0, 0, {0}};
    memset(c->y, 0, (size_t)n * (size_t)h->n_embd * sizeof(float));
    context_tiles(c, (int64_t)n * h->n_embd * 8, n, experts_norm, &r);
    experts_route(&r);
    context_tiles(c, (int64_t)n * h->n_expert * h->n_expert_used, n, experts_select, &r);
    experts_deal(c, l->shared_down.n_out > 0 && !is_apart);
    for (int32_t next = 0; next <= h->n_expert;) {
        next = experts_take(&r, next);
        if (r.n > 0) {
            experts_gate_up(&r);
            experts_down(&r);
            context_tiles(c, (int64_t)(r.row1 - r.row0) * h->n_embd, n, experts_add, &r);
        }
    }
    norm_rows(c, &l->expert_post_norm, c->y, n);
    if (is_apart) {
        experts_shared_apart(c, l);
    }
    norm_add(c, &l->ffn_post_norm, x);
}
