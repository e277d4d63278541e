/* attention.c - attention with grouped queries over the paged cache: causal, or of whole texts.
 *
 * A tile is the queries of a few neighbouring tokens of one sequence that share a kv head. Its
 * positions are cut into fixed runs of pages, each run gives a partial (max, sum, out), and
 * partials are merged in order of position. Runs begin at multiples of ATTENTION_RUN whatever the
 * batch, and a query's partial does not depend on its neighbours: the result is the same bits for
 * any split of a prompt and any number of threads. Small batches over long caches also give the
 * runs to different tasks; the merge is the same. */

#define ATTENTION_RUN (4 * KV_PAGE)
#define ATTENTION_QUERIES 64 /* of a tile, about: they share the work of widening K and V */
#define ATTENTION_SPLIT_TOKENS 4
#define ATTENTION_TILE_MAX 64 /* tokens of a tile at most */

/* ---- Scratch --------------------------------------------------------------------------------- */

/* Of one part: gathered queries, two partials, what each query may see, and the kernel's own. */
struct attention_scratch {
    float *q;           /* [n_q][head_dim] */
    float *out[2];      /* [n_q][head_dim_v] */
    float *max[2];      /* [n_q] */
    float *sum[2];      /* [n_q] */
    int32_t *from, *to; /* [n_q] */
    int32_t *at;        /* [n_q] for ALiBi */
    float *slopes;      /* [n_q] likewise */
    void *kernel;
};

static int32_t attention_queries(const struct slm_context *c)
{
    return c->attention.tile_tokens * c->model->n_group_max;
}

static void attention_carve(const struct slm_context *c, struct arena *a,
                            struct attention_scratch *s)
{
    const struct slm_model *m = c->model;
    uint64_t n = (uint64_t)attention_queries(c);
    s->q = (float *)arena_take(a, n * (uint64_t)m->head_dim_max, sizeof(float));
    for (int i = 0; i < 2; i++) {
        s->out[i] = (float *)arena_take(a, n * (uint64_t)m->head_dim_v_max, sizeof(float));
        s->max[i] = (float *)arena_take(a, n, sizeof(float));
        s->sum[i] = (float *)arena_take(a, n, sizeof(float));
    }
    s->from = (int32_t *)arena_take(a, n, sizeof(int32_t));
    s->to = (int32_t *)arena_take(a, n, sizeof(int32_t));
    s->at = (int32_t *)arena_take(a, n, sizeof(int32_t));
    s->slopes = (float *)arena_take(a, n, sizeof(float));
    s->kernel = arena_take(a, ATTENTION_SCRATCH(n), 1);
}

static void attention_layout(struct slm_context *c, struct arena *a, uint64_t *part_bytes)
{
    const struct slm_model *m = c->model;
    struct arena part = {NULL, 0, 0};
    struct attention_scratch scratch;
    if (m->n_group_max == 0) {
        return; /* no layer has attention */
    }
    int32_t tile =
        min_i32(ATTENTION_QUERIES / m->n_group_max, min_i32(ATTENTION_TILE_MAX, c->n_batch));
    c->attention.tile_tokens = max_i32(tile, 1);
    c->attention.n_runs_max = (c->n_ctx + ATTENTION_RUN - 1) / ATTENTION_RUN;
    c->attention.split_tokens = PROFILE_SMALL ? 0 : min_i32(ATTENTION_SPLIT_TOKENS, c->n_batch);
    c->attention.partial =
        (float *)arena_take(a,
                            (uint64_t)c->attention.split_tokens * (uint64_t)m->n_head_max *
                                (uint64_t)c->attention.n_runs_max,
                            ((uint64_t)m->head_dim_v_max + 2) * sizeof(float));
    attention_carve(c, &part, &scratch);
    *part_bytes = part.used > *part_bytes ? part.used : *part_bytes;
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

struct attention_run {
    struct slm_context *c;
    const struct layer *l;
    int32_t group; /* queries a token that share a kv head */
    int32_t tile_tokens;
    int32_t n_tiles; /* of tokens, over all segments */
    int32_t n_runs;  /* 0: a task does all runs of its tile */
};

/* Token tile `index` of the batch: the tokens first..first+n-1 of one segment. */
struct attention_tile {
    const struct segment *segment;
    int32_t first;
    int32_t n;
};

static int32_t attention_count_tiles(const struct batch *b, int32_t tile_tokens)
{
    int32_t n = 0;
    for (int32_t i = 0; i < b->n_segments; i++) {
        n += (b->segments[i].n_tokens + tile_tokens - 1) / tile_tokens;
    }
    return n;
}

static struct attention_tile attention_find_tile(const struct batch *b, int32_t tile_tokens,
                                                 int32_t index)
{
    const struct segment *s = b->segments;
    for (;; s++) {
        int32_t n = (s->n_tokens + tile_tokens - 1) / tile_tokens;
        if (index < n) {
            break;
        }
        index -= n;
    }
    struct attention_tile t = {s, s->first + index * tile_tokens, 0};
    t.n = min_i32(tile_tokens, s->first + s->n_tokens - t.first);
    return t;
}

/* The positions from..to-1 that a query of layer l sees: from the first, or from where its window
 * begins, to itself; where attention is not causal, to the end of its text, which is the segment, or
 * to half a window behind it. */
static void attention_range(const struct slm_context *c, const struct layer *l,
                            const struct segment *s, int32_t position, int32_t *from, int32_t *to)
{
    int is_causal = !PROFILE_EMBED || c->model->hparams.is_causal;
    int32_t before = is_causal ? l->window - 1 : l->window / 2;
    *from = l->window > 0 ? max_i32(position - before, 0) : 0;
    *to = is_causal ? position + 1 : s->position + s->n_tokens;
    if (!is_causal && l->window > 0) {
        *to = min_i32(*to, position + before + 1);
    }
}

/* What multiplies Q K^T of a query. Some models sharpen attention as the text grows. */
static float attention_scale(const struct hparams *h, int32_t position)
{
    if (!PROFILE_MORE || !(h->attn_temperature > 0)) {
        return h->attn_scale;
    }
    wide_float turns = (wide_float)(position / h->temperature_context);
    return h->attn_scale * (float)(1 + h->attn_temperature * math_log(1 + turns));
}

/* From one head of Q to the next: its gates may lie between. */
static int64_t attention_q_step(const struct layer *l)
{
    return (int64_t)l->head_dim * (PROFILE_MORE && l->q_is_gated ? 2 : 1);
}

static float *attention_q_at(const struct slm_context *c, const struct layer *l, int32_t token,
                             int32_t head)
{
    return c->q + ((int64_t)token * l->n_head + head) * attention_q_step(l);
}

/* Copies the tile's queries together, scaled, and says which positions each sees. */
static void attention_gather(const struct attention_run *r, const struct attention_tile *t,
                             int32_t kv_head, struct attention_scratch *s)
{
    const struct slm_context *c = r->c;
    int32_t head_dim = r->l->head_dim;
    int64_t step = attention_q_step(r->l);
    int32_t i = 0;
    for (int32_t token = t->first; token < t->first + t->n; token++) {
        int32_t position = c->batch.positions[token];
        int32_t from, to;
        attention_range(c, r->l, t->segment, position, &from, &to);
        float scale = attention_scale(&c->model->hparams, position);
        const float *q = attention_q_at(c, r->l, token, kv_head * r->group);
        for (int32_t g = 0; g < r->group; g++, i++) {
            for (int32_t d = 0; d < head_dim; d++) {
                s->q[(int64_t)i * head_dim + d] = q[g * step + d] * scale;
            }
            s->from[i] = from;
            s->to[i] = to;
            s->at[i] = position;
            s->slopes[i] =
                PROFILE_MORE && r->l->alibi != NULL ? r->l->alibi[kv_head * r->group + g] : 0;
        }
    }
}

static void attention_job_init(const struct attention_run *r, const struct attention_tile *t,
                               int32_t kv_head, const struct attention_scratch *s,
                               struct kernel_attention_job *job)
{
    const struct slm_context *c = r->c;
    const struct layer *l = r->l;
    int64_t k = l->k_at + (int64_t)kv_head * KV_PAGE * l->head_dim;
    int64_t v = l->v_at + (int64_t)kv_head * KV_PAGE * l->head_dim_v;
    memset(job, 0, sizeof *job);
    job->q = s->q;
    job->q_stride = l->head_dim;
    job->n_q = t->n * r->group;
    job->head_dim = l->head_dim;
    job->head_dim_v = l->head_dim_v;
    job->pages = c->pages + (int64_t)t->segment->sequence * c->cache.max_pages;
    job->k_offset = (size_t)(k * c->cache.element_bytes);
    job->v_offset = (size_t)(v * c->cache.element_bytes);
    job->from = s->from;
    job->to = s->to;
    job->softcap = c->model->hparams.attn_softcap;
    job->slopes = l->alibi != NULL ? s->slopes : NULL;
    job->at = s->at;
}

/* Runs that the tile's queries see: first..end-1. Positions of a tile rise, so do both bounds. */
static void attention_runs(const struct attention_scratch *s, int32_t n_q, int32_t *first,
                           int32_t *end)
{
    *first = s->from[0] / ATTENTION_RUN;
    *end = (s->to[n_q - 1] + ATTENTION_RUN - 1) / ATTENTION_RUN;
}

static void attention_partial(const struct slm_context *c, struct kernel_attention_job *job,
                              int32_t run, float *max, float *sum, float *out, void *scratch)
{
    job->position0 = run * ATTENTION_RUN;
    job->position1 = min_i32(job->position0 + ATTENTION_RUN, job->to[job->n_q - 1]);
    job->max = max;
    job->sum = sum;
    job->out = out;
    job->out_stride = job->head_dim_v;
    c->model->kernels.attention[c->cache.kv_type](job, scratch);
}

/* a = a * scale_a + b * scale_b. Eight at a time, through copies: compilers see that nothing
 * overlaps, and make vectors of it. */
static void attention_add_scaled(float *a, float scale_a, const float *b, float scale_b, int32_t n)
{
    float x[8], y[8];
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(x, a + i, sizeof x);
        memcpy(y, b + i, sizeof y);
        for (int32_t j = 0; j < 8; j++) {
            x[j] = x[j] * scale_a + y[j] * scale_b;
        }
        memcpy(a + i, x, sizeof x);
    }
    for (; i < n; i++) {
        a[i] = a[i] * scale_a + b[i] * scale_b;
    }
}

/* Adds partial b, of later positions, to a. An empty partial (sum 0) changes nothing. */
static void attention_merge(float *max_a, float *sum_a, float *out_a, float max_b, float sum_b,
                            const float *out_b, int32_t n)
{
    if (!(sum_b > 0) && !f32_is_nan(sum_b)) {
        return;
    }
    if (!(*sum_a > 0) && !f32_is_nan(*sum_a)) {
        *max_a = max_b;
        *sum_a = sum_b;
        memcpy(out_a, out_b, (size_t)n * sizeof(float));
        return;
    }
    float max = *max_a > max_b ? *max_a : max_b;
    float scale_a = math_expf(*max_a - max);
    float scale_b = math_expf(max_b - max);
    *max_a = max;
    *sum_a = *sum_a * scale_a + sum_b * scale_b;
    attention_add_scaled(out_a, scale_a, out_b, scale_b, n);
}

/* What brings out to the end: 1 / sum, or with a sink, a score that no position has,
 * exp(max) / (sum * exp(max) + exp(sink)). */
static float attention_final_scale(const struct layer *l, int32_t head, float max, float sum)
{
    if (!PROFILE_MORE || l->attn_sinks == NULL) {
        return 1.0f / sum;
    }
    float sink = l->attn_sinks[head];
    float top = sink > max ? sink : max;
    float weight = math_expf(max - top);
    return weight / (sum * weight + math_expf(sink - top));
}

static void attention_store(const struct slm_context *c, const struct layer *l, int32_t token,
                            int32_t head, float max, float sum, const float *out)
{
    int32_t n = l->head_dim_v;
    float *y = c->attn + ((int64_t)token * l->n_head + head) * n;
    float scale = attention_final_scale(l, head, max, sum);
    for (int32_t i = 0; i < n; i++) {
        y[i] = out[i] * scale;
    }
    if (PROFILE_MORE && l->q_is_gated) {
        const float *gate = attention_q_at(c, l, token, head) + l->head_dim;
        c->model->kernels.sigmoid_gate(y, gate, y, n);
    }
}

/* What a task begins with: the tile, its queries, the kernel's job, the runs its queries see. */
struct attention_work {
    struct attention_tile tile;
    struct attention_scratch s;
    struct kernel_attention_job job;
    int32_t first_run;
    int32_t end_run;
};

static void attention_begin(const struct attention_run *r, int32_t tile, int32_t kv_head,
                            int32_t part, struct attention_work *w)
{
    struct arena a = {(uint8_t *)context_scratch(r->c, part), 0, 0};
    w->tile = attention_find_tile(&r->c->batch, r->tile_tokens, tile);
    attention_carve(r->c, &a, &w->s);
    attention_gather(r, &w->tile, kv_head, &w->s);
    attention_job_init(r, &w->tile, kv_head, &w->s, &w->job);
    attention_runs(&w->s, w->job.n_q, &w->first_run, &w->end_run);
}

/* All runs of a tile, merged as they come. */
static void attention_whole_tile(void *arg, int32_t index, int32_t part)
{
    const struct attention_run *r = (const struct attention_run *)arg;
    const struct slm_context *c = r->c;
    int32_t kv_head = index / r->n_tiles;
    struct attention_work w;
    attention_begin(r, index % r->n_tiles, kv_head, part, &w);
    attention_partial(c, &w.job, w.first_run, w.s.max[0], w.s.sum[0], w.s.out[0], w.s.kernel);
    for (int32_t run = w.first_run + 1; run < w.end_run; run++) {
        attention_partial(c, &w.job, run, w.s.max[1], w.s.sum[1], w.s.out[1], w.s.kernel);
        for (int32_t i = 0; i < w.job.n_q; i++) {
            int64_t at = (int64_t)i * w.job.head_dim_v;
            attention_merge(&w.s.max[0][i], &w.s.sum[0][i], w.s.out[0] + at, w.s.max[1][i],
                            w.s.sum[1][i], w.s.out[1] + at, w.job.head_dim_v);
        }
    }
    for (int32_t i = 0; i < w.job.n_q; i++) {
        attention_store(c, r->l, w.tile.first + i / r->group, kv_head * r->group + i % r->group,
                        w.s.max[0][i], w.s.sum[0][i], w.s.out[0] + (int64_t)i * w.job.head_dim_v);
    }
}

/* ---- Small batches: a task per run ----------------------------------------------------------- */

/* Partial of (token, head, run): max, sum, out[head_dim_v]. */
static float *attention_partial_at(const struct slm_context *c, const struct layer *l,
                                   int32_t token, int32_t head, int32_t run)
{
    int64_t index = ((int64_t)token * l->n_head + head) * c->attention.n_runs_max + run;
    return c->attention.partial + index * (l->head_dim_v + 2);
}

/* index = (kv_head * n_tiles + tile) * n_runs + run */
static void attention_one_run(void *arg, int32_t index, int32_t part)
{
    const struct attention_run *r = (const struct attention_run *)arg;
    const struct slm_context *c = r->c;
    int32_t run = index % r->n_runs;
    int32_t tile = index / r->n_runs;
    int32_t kv_head = tile / r->n_tiles;
    struct attention_work w;
    attention_begin(r, tile % r->n_tiles, kv_head, part, &w);
    if (run < w.first_run || run >= w.end_run) {
        return;
    }
    attention_partial(c, &w.job, run, w.s.max[0], w.s.sum[0], w.s.out[0], w.s.kernel);
    for (int32_t i = 0; i < w.job.n_q; i++) {
        float *p = attention_partial_at(c, r->l, w.tile.first + i / r->group,
                                        kv_head * r->group + i % r->group, run);
        p[0] = w.s.max[0][i];
        p[1] = w.s.sum[0][i];
        memcpy(p + 2, w.s.out[0] + (int64_t)i * w.job.head_dim_v,
               (size_t)w.job.head_dim_v * sizeof(float));
    }
}

/* Merges the runs of one token's head into its first one. index = token * n_head + head */
static void attention_merge_runs(void *arg, int32_t index, int32_t part)
{
    const struct attention_run *r = (const struct attention_run *)arg;
    const struct slm_context *c = r->c;
    int32_t token = index / r->l->n_head;
    int32_t head = index % r->l->n_head;
    int32_t from, to;
    (void)part;
    attention_range(c, r->l, attention_find_tile(&c->batch, 1, token).segment,
                    c->batch.positions[token], &from, &to);
    int32_t end = (to + ATTENTION_RUN - 1) / ATTENTION_RUN;
    float *a = attention_partial_at(c, r->l, token, head, from / ATTENTION_RUN);
    for (int32_t run = from / ATTENTION_RUN + 1; run < end; run++) {
        const float *b = attention_partial_at(c, r->l, token, head, run);
        attention_merge(&a[0], &a[1], a + 2, b[0], b[1], b + 2, r->l->head_dim_v);
    }
    attention_store(c, r->l, token, head, a[0], a[1], a + 2);
}

static void attention_scores(struct slm_context *c, const struct layer *l)
{
    struct attention_run r = {c, l, l->n_head / l->n_kv_head, c->attention.tile_tokens, 0, 0};
    int32_t last = 0;
    for (int32_t i = 0; i < c->batch.n_tokens; i++) {
        last = max_i32(last, c->batch.positions[i]);
    }
    int32_t n_runs = last / ATTENTION_RUN + 1;
    int64_t macs = (int64_t)c->batch.n_tokens * l->n_head * (last + 1) * l->head_dim * 2;
    r.n_tiles = attention_count_tiles(&c->batch, r.tile_tokens);
    if (!PROFILE_SMALL && c->batch.n_tokens <= c->attention.split_tokens && n_runs > 1) {
        r.n_runs = n_runs;
        context_tiles(c, macs, r.n_tiles * l->n_kv_head * n_runs, attention_one_run, &r);
        context_tiles(c, macs / ATTENTION_RUN, c->batch.n_tokens * l->n_head, attention_merge_runs,
                      &r);
    } else {
        context_tiles(c, macs, r.n_tiles * l->n_kv_head, attention_whole_tile, &r);
    }
}

/* ---- Heads: clamp, norm, rotation, store ----------------------------------------------------- */

static void attention_clamp(float *x, int64_t n, float clamp)
{
    for (int64_t i = 0; PROFILE_MORE && clamp > 0 && i < n; i++) {
        x[i] = x[i] > clamp ? clamp : x[i] < -clamp ? -clamp : x[i];
    }
}

/* Heads that lie apart have one norm each, all the same. */
static void attention_norm(const struct slm_context *c, const struct norm *norm, float *x,
                           int32_t n_head, int64_t head_dim, int64_t step)
{
    if (!PROFILE_MORE || step == head_dim) {
        norm_apply(c->model, norm, x, x, n_head * head_dim);
        return;
    }
    for (int32_t i = 0; i < n_head; i++) {
        norm_apply(c->model, norm, x + i * step, x + i * step, head_dim);
    }
}

/* Q or K of one token, in place: n_head heads, `step` apart. */
static void attention_heads(const struct slm_context *c, const struct layer *l, float *x,
                            int32_t n_head, int64_t step, const struct norm *norm, int32_t token)
{
    const struct hparams *h = &c->model->hparams;
    attention_clamp(x, n_head * step, h->attn_clamp);
    if (norm->n > 0 && !(PROFILE_MORE && h->qk_norm_after_rope)) {
        attention_norm(c, norm, x, n_head, l->head_dim, step);
    }
    for (int32_t i = 0; l->rope != LAYER_ROPE_NONE && i < n_head; i++) {
        int32_t n_rot = c->ropes[l->rope]->n_rot;
        int64_t at = (int64_t)token * (n_rot / 2);
        c->model->kernels.rope[c->model->arch->rope](
            x + i * step + h->rot_at, c->rope_cos[l->rope] + at, c->rope_sin[l->rope] + at, n_rot);
    }
    if (PROFILE_MORE && norm->n > 0 && h->qk_norm_after_rope) {
        attention_norm(c, norm, x, n_head, l->head_dim, step);
    }
}

/* Where a token's K and V go: its page. */
static uint8_t *attention_page(const struct slm_context *c, int32_t token)
{
    int32_t segment = 0;
    while (token >= c->batch.segments[segment].first + c->batch.segments[segment].n_tokens) {
        segment++;
    }
    const struct sequence *s = &c->cache.sequences[c->batch.segments[segment].sequence];
    return cache_page(&c->cache, s->pages[c->batch.positions[token] / KV_PAGE]);
}

/* K and V of one token into the cache. */
static void attention_store_kv(const struct slm_context *c, const struct layer *l, int32_t token)
{
    float *keys = c->k + (int64_t)token * l->n_kv_head * l->head_dim;
    float *values = c->v + (int64_t)token * l->n_kv_head * l->head_dim_v;
    int64_t n_v = (int64_t)l->n_kv_head * l->head_dim_v;
    uint8_t *page = attention_page(c, token);
    int32_t in_page = c->batch.positions[token] % KV_PAGE;
    if (PROFILE_MORE && l->attn_k.n_out > 0 &&
        l->attn_v.n_out == 0) { /* V is K as the product gave it */
        memcpy(values, keys, (size_t)n_v * sizeof(float));
    }
    attention_heads(c, l, keys, l->n_kv_head, l->head_dim, &l->attn_k_norm, token);
    attention_clamp(values, n_v, c->model->hparams.attn_clamp);
    if (PROFILE_MORE && l->attn_v_norm.n > 0) {
        norm_apply(c->model, &l->attn_v_norm, values, values, n_v);
    }
    for (int32_t i = 0; i < l->n_kv_head; i++) {
        int64_t k_at = l->k_at + ((int64_t)i * KV_PAGE + in_page) * l->head_dim;
        int64_t v_at = l->v_at + ((int64_t)i * KV_PAGE + in_page) * l->head_dim_v;
        c->model->kernels.kv_store[c->cache.kv_type](page + k_at * c->cache.element_bytes,
                                                     keys + (int64_t)i * l->head_dim, l->head_dim);
        c->model->kernels.kv_store[c->cache.kv_type](page + v_at * c->cache.element_bytes,
                                                     values + (int64_t)i * l->head_dim_v,
                                                     l->head_dim_v);
    }
}

static void attention_token_heads(void *arg, int32_t token, int32_t part)
{
    const struct attention_run *r = (const struct attention_run *)arg;
    const struct layer *l = r->l;
    (void)part;
    attention_heads(r->c, l, attention_q_at(r->c, l, token, 0), l->n_head, attention_q_step(l),
                    &l->attn_q_norm, token);
    if (!PROFILE_MORE || l->kv_from < 0) {
        attention_store_kv(r->c, l, token);
    }
}

static void latent_qkv(struct slm_context *c, const struct layer *l);

/* Q, K and V of the batch, as far as the layer has its own. */
static void attention_qkv(struct slm_context *c, const struct layer *l)
{
    struct matmul_input in = {
        c->x, ACT_NONE, NULL, &l->attn_norm, c->model->hparams.n_embd, c->batch.n_tokens};
    struct matmul_job qkv[3] = {
        {&l->attn_q, c->q, l->attn_q.n_out, NULL, 1},
        {&l->attn_k, c->k, (int64_t)l->n_kv_head * l->head_dim, NULL, 1},
        {&l->attn_v, c->v, (int64_t)l->n_kv_head * l->head_dim_v, NULL, 1},
    };
    matmul(c, &in, qkv, l->attn_v.n_out > 0 ? 3 : l->attn_k.n_out > 0 ? 2 : 1);
}

/* x += Wo attention(Wq n, Wk n, Wv n), n = norm(x, attn_norm). `x` is c->x, or in a parallel layer
 * what c->x becomes. */
static void attention(struct slm_context *c, const struct layer *l, float *x)
{
    const struct hparams *h = &c->model->hparams;
    int is_normed = PROFILE_MORE && l->attn_post_norm.n > 0;
    int32_t n = c->batch.n_tokens;
    int64_t n_heads = l->n_head + (l->kv_from < 0 ? l->n_kv_head : 0);
    struct matmul_input heads = {
        c->attn, ACT_NONE, NULL, &l->attn_sub_norm, (int64_t)l->n_head * l->head_dim_v, n};
    struct matmul_job output = {&l->attn_output, c->y, h->n_embd, is_normed ? NULL : x,
                                h->residual_scale};
    struct attention_run r = {c, l, 0, 0, 0, 0};
    if (PROFILE_MORE && l->latent_kv.n_out > 0) {
        latent_qkv(c, l);
    } else {
        attention_qkv(c, l);
    }
    context_tiles(c, n_heads * l->head_dim * 8 * n, n, attention_token_heads, &r);
    attention_scores(c, l);
    matmul(c, &heads, &output, 1);
    if (is_normed) {
        norm_add(c, &l->attn_post_norm, x);
    }
}
