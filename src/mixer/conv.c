/* conv.c - the causal convolution of each channel by itself that stands before most recurrent mixers:
 *
 *     y[t] = bias + sum over j < n_conv of conv[j] * x[t - (n_conv - 1) + j]
 *
 * in place, then through SiLU where `silu` is set. The state is the last n_conv - 1 rows of x, the
 * oldest first; before the first position they are zeros. */

#define CONV_CHANNELS 256 /* of a task */

struct conv_run {
    struct slm_context *c;
    const struct layer *l;
    float *x;       /* [n_tokens] rows `stride` apart, [n_channel] each */
    int64_t stride; /* in floats */
    int64_t n_channel;
    int64_t state_at; /* of [n_conv - 1][n_channel] in the layer's part of the state */
    int32_t silu;
};

/* Where a segment's state of channels first..first+n-1 begins: rows n_channel apart. */
static float *conv_state(const struct conv_run *r, const struct segment *s, int64_t first,
                         int64_t n)
{
    const struct slm_context *c = r->c;
    int64_t at = r->l->state_at + r->state_at + first;
    float *state = NULL;
    for (int32_t j = c->model->hparams.n_conv - 2; j >= 0; j--) {
        state = states_open(&c->states, s->sequence, s->position, at + j * r->n_channel, n);
    }
    return state;
}

/* x[n], channels from `first` on of a row, becomes y; the state moves on. */
static void conv_row(const struct conv_run *r, float *x, float *state, int64_t first, int64_t n)
{
    const float *bias = r->l->conv_bias != NULL ? r->l->conv_bias + first : NULL;
    r->c->model->kernels.conv_row(x, state, r->l->conv + first, bias, r->c->model->hparams.n_conv,
                                  n, r->n_channel);
}

static void conv_tile(void *arg, int32_t tile, int32_t part)
{
    const struct conv_run *r = (const struct conv_run *)arg;
    const struct slm_context *c = r->c;
    int32_t n_blocks = (int32_t)((r->n_channel + CONV_CHANNELS - 1) / CONV_CHANNELS);
    const struct segment *s = &c->batch.segments[tile / n_blocks];
    int64_t first = (int64_t)(tile % n_blocks) * CONV_CHANNELS;
    int64_t n = min_i64(CONV_CHANNELS, r->n_channel - first);
    float *state = conv_state(r, s, first, n);
    (void)part;
    for (int32_t t = 0; t < s->n_tokens; t++) {
        float *x = r->x + (s->first + t) * r->stride + first;
        conv_row(r, x, state, first, n);
        if (r->silu) {
            c->model->kernels.sigmoid_gate(x, x, x, n);
        }
    }
}

/* fn for each block of channels of each segment: conv_tile, or a mixer's own. */
static void conv_tiles(const struct conv_run *r, void (*fn)(void *arg, int32_t tile, int32_t part))
{
    struct slm_context *c = r->c;
    int32_t n_blocks = (int32_t)((r->n_channel + CONV_CHANNELS - 1) / CONV_CHANNELS);
    context_tiles(c, r->n_channel * c->batch.n_tokens * (c->model->hparams.n_conv + 8),
                  n_blocks * c->batch.n_segments, fn, (void *)r);
}

/* The convolution by itself. */
static void conv(const struct conv_run *r)
{
    conv_tiles(r, conv_tile);
}

static int64_t conv_state_floats(const struct hparams *h, int64_t n_channel)
{
    return (int64_t)(h->n_conv - 1) * n_channel;
}
