/* shift.c - the token shift of RWKV: inputs that are the norm of a token mixed with that of the
 * token before, each by weights of its own:
 *
 *     out[i][t] = n[t] + (n[t - 1] - n[t]) * weights[i]       n = norm(x); zeros before the first
 *
 * The state is one row, the last n. Rows of c->mix are [n_batch][n_embd]: row SHIFT_NORM becomes n,
 * SHIFT_OUT and those behind it the inputs. */

#define SHIFT_NORM 1
#define SHIFT_OUT 2
#define SHIFT_CHANNELS 256 /* of a task */

struct shift_run {
    struct slm_context *c;
    const struct norm *norm;
    const float *weights; /* [n_out][n_embd] */
    int32_t n_out;
    int64_t state_at; /* of the row in the state of a sequence */
};

static float *shift_row(const struct slm_context *c, int32_t row)
{
    return c->mix + (int64_t)row * c->n_batch * c->model->hparams.n_embd;
}

static void shift_norm(void *arg, int32_t token, int32_t part)
{
    const struct shift_run *r = (const struct shift_run *)arg;
    struct slm_context *c = r->c;
    int64_t n_embd = c->model->hparams.n_embd;
    (void)part;
    norm_apply(c->model, r->norm, shift_row(c, SHIFT_NORM) + token * n_embd, c->x + token * n_embd,
               n_embd);
}

/* Some channels of a segment's tokens, in order: `before` is the state first. */
static void shift_tile(void *arg, int32_t tile, int32_t part)
{
    const struct shift_run *r = (const struct shift_run *)arg;
    struct slm_context *c = r->c;
    int64_t n_embd = c->model->hparams.n_embd;
    int32_t n_blocks = (int32_t)((n_embd + SHIFT_CHANNELS - 1) / SHIFT_CHANNELS);
    const struct segment *s = &c->batch.segments[tile / n_blocks];
    int64_t first = (int64_t)(tile % n_blocks) * SHIFT_CHANNELS;
    int64_t n = min_i64(SHIFT_CHANNELS, n_embd - first);
    float *state = states_open(&c->states, s->sequence, s->position, r->state_at + first, n);
    const float *before = state;
    (void)part;
    for (int32_t t = s->first; t < s->first + s->n_tokens; t++) {
        const float *now = shift_row(c, SHIFT_NORM) + t * n_embd + first;
        for (int32_t i = 0; i < r->n_out; i++) {
            const float *w = r->weights + i * n_embd + first;
            float *out = shift_row(c, SHIFT_OUT + i) + t * n_embd + first;
            for (int64_t e = 0; e < n; e++) {
                out[e] = now[e] + (before[e] - now[e]) * w[e];
            }
        }
        before = now;
    }
    memcpy(state, before, (size_t)n * sizeof(float));
}

static void shift(const struct shift_run *r)
{
    struct slm_context *c = r->c;
    int64_t n_embd = c->model->hparams.n_embd;
    int32_t n_blocks = (int32_t)((n_embd + SHIFT_CHANNELS - 1) / SHIFT_CHANNELS);
    int64_t macs = c->batch.n_tokens * n_embd * 4;
    context_tiles(c, macs, c->batch.n_tokens, shift_norm, (void *)r);
    context_tiles(c, macs, n_blocks * c->batch.n_segments, shift_tile, (void *)r);
}
