/* rwkv7.c - the time mix of RWKV-7 (Peng et al. 2025), a mixer in place of attention. Six inputs come
 * out of the token shift (shift.c); small letters are vectors over channels, * is by element:
 *
 *     r = R x_r     k = K x_k     v = V x_v     g = gate_up sigmoid(gate_down x_g)
 *     a = sigmoid(rate_base + rate_up rate_down x_a)
 *     w = exp(-e^-1/2 * sigmoid(decay_base + decay_up tanh(decay_down x_w)))
 *     v += (v of the first layer - v) * sigmoid(value_base + value_up value_down x_v)
 *
 * and for each head, with its state S (columns are elements of v, rows of k) and q = k * key_removal
 * brought to length 1 in the head:
 *
 *     k  = k * (1 + (a - 1) * key_rate)
 *     S  = w S - (q * a) (q^T S) + k v^T                      w scales rows
 *     y  = layer_norm(r^T S) * head_norm + head_norm_bias + v * sum(r * k * bonus)
 *
 * Then x += out (y * g). The state of a layer is the feed-forward's row of shift.c, the time mix's,
 * and the heads'. Rows of c->mix behind those of the shift, of n_embd each, stand below; behind them
 * are the short rows of the ranks. */

#define RWKV7_V_FIRST 0 /* of the first layer: later layers read it, the shift leaves it alone */
#define RWKV7_Y SHIFT_NORM
#define RWKV7_R 8
#define RWKV7_K 9
#define RWKV7_V 10
#define RWKV7_RANKS 11
/* Over inputs that have been read: */
#define RWKV7_DECAY 2
#define RWKV7_RATE 3
#define RWKV7_VALUE 4
#define RWKV7_GATE 5

#define RWKV7_NORM_EPS 64e-5f          /* of the head norm, whatever the file's */
#define RWKV7_LEAST_LENGTH 1e-12f      /* a shorter k is not brought to length 1 */
#define RWKV7_DECAY_SCALE -0.60653066f /* -exp(-1/2) */

static int64_t rwkv7_state_floats(const struct hparams *h)
{
    return (int64_t)h->n_embd * (2 + h->rwkv_head);
}

static int64_t rwkv7_row_floats(const struct hparams *h)
{
    return RWKV7_RANKS * (int64_t)h->n_embd + h->n_decay_rank + h->n_rate_rank + h->n_value_rank +
           h->n_gate_rank;
}

/* removal, insertion, old: [head] each */
static int64_t rwkv7_part_bytes(const struct slm_model *m)
{
    return 3 * (int64_t)m->hparams.rwkv_head * (int64_t)sizeof(float);
}

struct rwkv7_run {
    struct slm_context *c;
    const struct layer *l;
    float *v; /* [n_tokens][n_embd] */
    /* Rows of the ranks, [n_tokens][rank]. */
    float *decay;
    float *rate;
    float *value;
    float *gate;
};

/* ---- Products -------------------------------------------------------------------------------- */

/* tanh and sigmoid between the two halves of the decay and of the gate. */
static void rwkv7_activate(void *arg, int32_t token, int32_t part)
{
    const struct rwkv7_run *r = (const struct rwkv7_run *)arg;
    const struct hparams *h = &r->c->model->hparams;
    float *decay = r->decay + (int64_t)token * h->n_decay_rank;
    float *gate = r->gate + (int64_t)token * h->n_gate_rank;
    (void)part;
    for (int32_t i = 0; i < h->n_decay_rank; i++) {
        decay[i] = math_tanhf(decay[i]);
    }
    r->c->model->kernels.sigmoid_gate(gate, gate, NULL, h->n_gate_rank);
}

/* What comes straight from the inputs of the shift, in its order. */
static void rwkv7_products(const struct rwkv7_run *r)
{
    struct slm_context *c = r->c;
    const struct layer *l = r->l;
    const struct hparams *h = &c->model->hparams;
    struct matmul_input in[6];
    struct matmul_job jobs[7] = {
        {&l->rwkv_r, shift_row(c, RWKV7_R), h->n_embd, NULL, 1},
        {&l->decay_down, r->decay, h->n_decay_rank, NULL, 1},
        {&l->rwkv_k, shift_row(c, RWKV7_K), h->n_embd, NULL, 1},
        {&l->rate_down, r->rate, h->n_rate_rank, NULL, 1},
        {&l->gate_down, r->gate, h->n_gate_rank, NULL, 1},
        {&l->rwkv_v, r->v, h->n_embd, NULL, 1},
        {&l->value_down, r->value, h->n_value_rank, NULL, 1},
    };
    struct matmul_group groups[6] = {
        {&in[0], NULL, &jobs[0], 1}, {&in[1], NULL, &jobs[1], 1},
        {&in[2], NULL, &jobs[2], 1}, {&in[3], NULL, &jobs[5], l->n_value_rank > 0 ? 2 : 1},
        {&in[4], NULL, &jobs[3], 1}, {&in[5], NULL, &jobs[4], 1},
    };
    for (int32_t i = 0; i < 6; i++) {
        struct matmul_input input = {
            shift_row(c, SHIFT_OUT + i), ACT_NONE, NULL, NULL, h->n_embd, c->batch.n_tokens};
        in[i] = input;
    }
    matmul_groups(c, groups, h->n_gate_rank > 0 ? 6 : 5);
}

/* The second halves of those of low rank. */
static void rwkv7_ranks(const struct rwkv7_run *r)
{
    struct slm_context *c = r->c;
    const struct layer *l = r->l;
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    const struct matmul_input in[4] = {
        {r->decay, ACT_NONE, NULL, NULL, h->n_decay_rank, n},
        {r->rate, ACT_NONE, NULL, NULL, h->n_rate_rank, n},
        {r->gate, ACT_NONE, NULL, NULL, h->n_gate_rank, n},
        {r->value, ACT_NONE, NULL, NULL, h->n_value_rank, n},
    };
    const struct matmul_job jobs[4] = {
        {&l->decay_up, shift_row(c, RWKV7_DECAY), h->n_embd, NULL, 1},
        {&l->rate_up, shift_row(c, RWKV7_RATE), h->n_embd, NULL, 1},
        {&l->gate_up, shift_row(c, RWKV7_GATE), h->n_embd, NULL, 1},
        {&l->value_up, shift_row(c, RWKV7_VALUE), h->n_embd, NULL, 1},
    };
    struct matmul_group groups[4];
    int32_t n_groups = 0;
    for (int32_t i = 0; i < 4; i++) {
        if (jobs[i].w->n_out > 0) {
            struct matmul_group group = {&in[i], NULL, &jobs[i], 1};
            groups[n_groups++] = group;
        }
    }
    matmul_groups(c, groups, n_groups);
}

/* ---- Heads ----------------------------------------------------------------------------------- */

/* The vectors of one head and token. */
struct rwkv7_head {
    float *r;
    float *k;
    float *v;
    float *decay;
    float *rate;
    float *value; /* NULL in the first layer */
    float *y;
    float *removal;   /* -q */
    float *insertion; /* q * a */
    float *old;       /* of rwkv_step */
};

/* Everything but the state: w, a, v, q and k as they take part. */
static void rwkv7_head_inputs(const struct slm_context *c, const struct layer *l, int64_t at,
                              int64_t token, const struct rwkv7_head *v)
{
    const struct kernels *kernels = &c->model->kernels;
    int64_t n = c->model->hparams.rwkv_head;
    const float *v_first = shift_row(c, RWKV7_V_FIRST) + token * c->model->hparams.n_embd + at;
    float square = 0;
    kernels->add(v->decay, l->decay_base + at, n);
    kernels->add(v->rate, l->rate_base + at, n);
    kernels->sigmoid_gate(v->decay, v->decay, NULL, n);
    kernels->sigmoid_gate(v->rate, v->rate, NULL, n);
    if (v->value != NULL) {
        kernels->add(v->value, l->value_base + at, n);
        kernels->sigmoid_gate(v->value, v->value, NULL, n);
        for (int64_t i = 0; i < n; i++) {
            v->v[i] += (v_first[i] - v->v[i]) * v->value[i];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        v->decay[i] = math_expf(RWKV7_DECAY_SCALE * v->decay[i]);
        v->removal[i] = -v->k[i] * l->key_removal[at + i];
        v->k[i] *= 1 + (v->rate[i] - 1) * l->key_rate[at + i];
        square += v->removal[i] * v->removal[i];
    }
    float length = (float)math_sqrt((wide_float)square);
    float scale = 1 / (length > RWKV7_LEAST_LENGTH ? length : RWKV7_LEAST_LENGTH);
    for (int64_t i = 0; i < n; i++) {
        v->removal[i] *= scale;
        v->insertion[i] = -v->removal[i] * v->rate[i];
    }
}

/* y = head norm, bonus and gate of y. */
static void rwkv7_head_output(const struct slm_context *c, const struct layer *l, int64_t at,
                              const float *gate, const struct rwkv7_head *v)
{
    int64_t n = c->model->hparams.rwkv_head;
    const struct kernels *kernels = &c->model->kernels;
    float bonus = 0;
    kernels->layer_norm(v->y, v->y, l->head_norm + at, l->head_norm_bias + at, n, RWKV7_NORM_EPS);
    for (int64_t i = 0; i < n; i++) {
        bonus += v->r[i] * v->k[i] * l->bonus[at + i];
    }
    kernels->add_scaled(v->y, v->v, bonus, n);
    if (gate != NULL) {
        kernels->multiply(v->y, v->y, gate, n);
    }
}

/* A head of a segment. */
static void rwkv7_head_tile(void *arg, int32_t tile, int32_t part)
{
    const struct rwkv7_run *run = (const struct rwkv7_run *)arg;
    const struct slm_context *c = run->c;
    const struct layer *l = run->l;
    const struct hparams *h = &c->model->hparams;
    int32_t n_heads = h->n_embd / h->rwkv_head;
    const struct segment *s = &c->batch.segments[tile / n_heads];
    int64_t n = h->rwkv_head;
    int64_t at = tile % n_heads * n;
    float *scratch = (float *)context_scratch(c, part);
    float *state = states_open(&c->states, s->sequence, s->position,
                               l->state_at + 2 * (int64_t)h->n_embd + at * n, n * n);
    for (int64_t t = s->first; t < s->first + s->n_tokens; t++) {
        int64_t from = t * h->n_embd + at;
        struct rwkv7_head v = {shift_row(c, RWKV7_R) + from,
                               shift_row(c, RWKV7_K) + from,
                               run->v + from,
                               shift_row(c, RWKV7_DECAY) + from,
                               shift_row(c, RWKV7_RATE) + from,
                               l->n_value_rank > 0 ? shift_row(c, RWKV7_VALUE) + from : NULL,
                               shift_row(c, RWKV7_Y) + from,
                               scratch,
                               scratch + n,
                               scratch + 2 * n};
        rwkv7_head_inputs(c, l, at, t, &v);
        struct kernel_rwkv_step step = {state,     v.r,         v.k,   v.v, v.decay,
                                        v.removal, v.insertion, v.old, v.y, n};
        c->model->kernels.rwkv_step(&step);
        rwkv7_head_output(c, l, at, h->n_gate_rank > 0 ? shift_row(c, RWKV7_GATE) + from : NULL,
                          &v);
    }
}

static void rwkv7(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int64_t n_embd = h->n_embd;
    int32_t n = c->batch.n_tokens;
    struct shift_run shifted = {c, &l->attn_norm, l->time_shift, h->n_gate_rank > 0 ? 6 : 5,
                                l->state_at + n_embd};
    float *v = shift_row(c, l->n_value_rank > 0 ? RWKV7_V : RWKV7_V_FIRST);
    struct rwkv7_run r = {c, l, v, shift_row(c, RWKV7_RANKS), NULL, NULL, NULL};
    struct matmul_input y = {shift_row(c, RWKV7_Y), ACT_NONE, NULL, NULL, n_embd, n};
    struct matmul_job out = {&l->rwkv_out, c->y, n_embd, x, h->residual_scale};
    r.rate = r.decay + (int64_t)c->n_batch * h->n_decay_rank;
    r.value = r.rate + (int64_t)c->n_batch * h->n_rate_rank;
    r.gate = r.value + (int64_t)c->n_batch * h->n_value_rank;
    shift(&shifted);
    rwkv7_products(&r);
    context_tiles(c, (int64_t)n * (h->n_decay_rank + h->n_gate_rank) * 16, n, rwkv7_activate, &r);
    rwkv7_ranks(&r);
    context_tiles(c, n * n_embd * h->rwkv_head * 5, h->n_embd / h->rwkv_head * c->batch.n_segments,
                  rwkv7_head_tile, &r);
    matmul(c, &y, &out, 1);
}
