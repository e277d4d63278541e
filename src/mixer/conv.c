/* conv.c - the causal convolution of each channel by itself that stands before most recurrent mixers:
 *
 *     y[t] = bias + sum over j < n_conv of conv[j] * x[t - (n_conv - 1) + j]
 *
 * in place, then through SiLU where `silu` is set. The state is the last n_conv - 1 rows of x, the
 * oldest first; before the first position they are zeros. */

/* Channels of a task: a few rows of them stay in the first cache, or for less tokens than that, long
 * stretches of taps and states come from memory. */
#define CONV_CHANNELS 256
#define CONV_CHANNELS_FEW 1024
#define CONV_TOKENS 16

struct conv_run {
    struct slm_context *c;
    const struct layer *l;
    float *x;       /* [n_tokens] rows `stride` apart, [n_channel] each */
    int64_t stride; /* in floats */
    int64_t n_channel;
    int64_t state_at; /* of [n_conv - 1][n_channel] in the layer's part of the state */
    int32_t silu;
};

static int32_t conv_channels(const struct conv_run *r)
{
    return r->c->batch.n_tokens < CONV_TOKENS ? CONV_CHANNELS_FEW : CONV_CHANNELS;
}

static int32_t conv_blocks(const struct conv_run *r)
{
    int32_t n = conv_channels(r);
    return (int32_t)((r->n_channel + n - 1) / n);
}

/* The job of a tile, a block of channels of a segment, for conv_tokens. */
static struct kernel_conv conv_begin(const struct conv_run *r, int32_t tile,
                                     const struct segment **segment)
{
    const struct slm_context *c = r->c;
    const struct segment *s = &c->batch.segments[tile / conv_blocks(r)];
    int64_t first = (int64_t)(tile % conv_blocks(r)) * conv_channels(r);
    int64_t at = r->l->state_at + r->state_at + first;
    struct kernel_conv job;
    memset(&job, 0, sizeof job);
    job.x = r->x + s->first * r->stride + first;
    job.stride = r->stride;
    job.kernel = r->l->conv + first;
    job.bias = r->l->conv_bias != NULL ? r->l->conv_bias + first : NULL;
    job.n = min_i64(conv_channels(r), r->n_channel - first);
    job.width = r->n_channel;
    job.n_conv = c->model->hparams.n_conv;
    job.silu = r->silu;
    for (int32_t j = job.n_conv - 2; j >= 0; j--) {
        job.to = states_replace(&c->states, s->sequence, s->position, at + j * r->n_channel, job.n,
                                &job.from);
    }
    *segment = s;
    return job;
}

/* The next n tokens; the state moves on. */
static void conv_tokens(const struct conv_run *r, struct kernel_conv *job, int32_t n)
{
    job->n_token = n;
    r->c->model->kernels.conv(job);
    job->x += n * job->stride;
    job->from = job->to;
}

static void conv_tile(void *arg, int32_t tile, int32_t part)
{
    const struct conv_run *r = (const struct conv_run *)arg;
    const struct segment *s;
    struct kernel_conv job = conv_begin(r, tile, &s);
    (void)part;
    for (int32_t t = 0; t < s->n_tokens; t += CONV_TOKENS) {
        conv_tokens(r, &job, min_i32(CONV_TOKENS, s->n_tokens - t));
    }
}

/* fn for each block of channels of each segment: conv_tile, or a mixer's own. */
static void conv_tiles(const struct conv_run *r, void (*fn)(void *arg, int32_t tile, int32_t part))
{
    struct slm_context *c = r->c;
    context_tiles(c, r->n_channel * c->batch.n_tokens * (c->model->hparams.n_conv + 20),
                  conv_blocks(r) * c->batch.n_segments, fn, (void *)r);
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
