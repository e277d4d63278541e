/* context.c - a context: the KV cache, the batch being computed and scratch for it.
 *
 * All of it is one block from the context's allocator, laid out by context_layout, which also
 * measures it for the plan: nothing is allocated afterwards. One call at a time (`busy`). */

/* The tokens of one pass through the layers; segments are runs of one sequence. */
struct segment {
    int32_t sequence;
    int32_t first; /* token of the batch */
    int32_t n_tokens;
    int32_t position; /* of the first token */
};

struct batch {
    int32_t n_tokens;
    int32_t n_segments;
    int32_t n_rows;           /* logits wanted */
    int32_t *tokens;          /* [n_batch] */
    int32_t *positions;       /* [n_batch] */
    int32_t *rows;            /* [n_batch] tokens whose logits are wanted */
    struct segment *segments; /* [n_batch] */
};

/* For layers of experts (mixer/experts.c). A row is what one expert makes of one token. */
struct context_experts {
    float *x;          /* [n_batch][n_embd] normed */
    float *logits;     /* [n_batch][n_expert] of the router, then probabilities */
    int32_t *selected; /* [n_batch][n_expert_used] in rising order */
    float *weights;    /* [n_batch][n_expert_used] */
    float *scales;     /* [n_batch] of the shared expert */
    int32_t *first;    /* [n_expert + 2] rows of experts; the shared one's are the last */
    int32_t *rows;     /* [n_batch][n_expert_used] */
    int32_t *tokens;   /* [n_batch * n_expert_used] of rows, but for the shared expert's */
    float *y;          /* [n_prepared][n_embd] some rows */
};

/* Forms that inputs of matrices may be prepared in: at most so many differ among all kernels. */
#define ACT_FORMS_MAX 8
/* A region of products takes this many inputs of a token at least (mixer/matmul.c). */
#define PREPARED_LEAST 16

struct slm_context {
    struct memory memory;
    int32_t references;
    int32_t busy;
    int64_t process_id;
    struct slm_model *model;
    struct slm_threads *threads;
    uint64_t block_bytes;
    uint64_t heap_bytes; /* block and pool */
    uint32_t flags;      /* SLM_CONTEXT_ */
    int32_t n_ctx;
    int32_t n_batch;
    int32_t n_logits;
    int32_t n_threads;  /* parts that may run at once: scratch for each */
    int32_t pool_owned; /* during a call: threads_begin's answer */

    struct kv_cache cache;
    struct states states;
    uint8_t generating[LIMIT_SEQUENCES]; /* 1: the sequence is a generator's, until it ends */
    struct batch batch;

    /* [n_batch] rows each */
    float *x;      /* [n_embd] the residual stream */
    float *q;      /* [n_head][head_dim], or of gated heads [n_head][2][head_dim] */
    float *k;      /* [n_kv_head][head_dim] */
    float *v;      /* [n_kv_head][head_dim_v] */
    float *attn;   /* [n_head][head_dim_v] */
    float *gate;   /* [n_ff]; [n_prepared] rows if there are experts, as of up */
    float *up;     /* [n_ff] */
    float *y;      /* [n_embd] output of a product that is added to x */
    float *x_next; /* [n_embd] what x becomes, where it is kept; NULL if no layer does */

    float *mix; /* [n_mix_max] of a recurrent mixer, which has its own order in it */

    /* For latent attention, if the model has it. */
    float *latent_q;  /* [n_q_rank] */
    float *latent_kv; /* [n_kv_rank] */
    float *k_rope;    /* [n_rot] */
    float *kv;        /* [n_head][head_dim - n_rot + head_dim_v] */

    /* What layers add about their token, if the model has that. */
    float *ple;      /* [n_layer][n_embd_layer] */
    float *ple_gate; /* [n_embd_layer] */

    /* For streams beside x and branches beside attention, likewise. */
    float *streams[ALTUP_STREAMS]; /* [n_embd]; the first is x between layers */
    float *altup_router;           /* [n_streams] */
    float *laurel_low;             /* [n_laurel] */
    float *laurel;                 /* [n_embd] */

    struct context_experts experts;

    const struct rope_table *ropes[LAYER_ROPE_COUNT]; /* NULL: no layer turns this way */
    float *rope_cos[LAYER_ROPE_COUNT];                /* [n_rot / 2] */
    float *rope_sin[LAYER_ROPE_COUNT];                /* [n_rot / 2] */

    const struct kernel_act *forms[ACT_FORMS_MAX]; /* in use by the model's encodings */
    uint8_t *prepared[ACT_FORMS_MAX]; /* [act_tokens(n_prepared)][row_bytes(n_in_max)] */
    int32_t n_forms;
    int32_t n_prepared; /* tokens of all inputs that a region may have: n_batch or more */
    float *h;           /* [n_prepared][n_in_max] inputs before they are prepared */

    /* For slm_embed, a row for each text of a batch; for each token where there are dense layers. */
    struct context_pool {
        int32_t n_rows;  /* at most */
        float *hidden;   /* [n_rows][n_embd] */
        float *layer[2]; /* [n_rows][widest of what follows]: results of the layers, in turns */
    } pool;

    float *logits; /* [n_logits][n_vocab] */
    int32_t n_logits_valid;
    float *row_x; /* [min(n_logits, n_batch)][n_embd] of x, whose logits are wanted */

    const uint8_t **pages; /* [n_sequences][max_pages] addresses, for the attention kernel */
    uint8_t *part_scratch; /* [n_threads][part_bytes] */
    uint64_t part_bytes;
    struct attention_plan {
        int32_t tile_tokens; /* queries of so many tokens are worked on together */
        int32_t n_runs_max;
        int32_t split_tokens; /* batches up to this size also split positions between tasks */
        float *partial;       /* [split_tokens * n_head_max][n_runs_max][head_dim_v_max + 2] */
    } attention;

    wide_float ns_per_token; /* of the last batch: how batches are sized under a deadline */
    int32_t batch_last;      /* its tokens */
};

static const struct kernel_matrix *context_kernel(const struct slm_context *c, int32_t type)
{
    return (c->flags & SLM_CONTEXT_EXACT) != 0 ? &c->model->kernels.exact[type]
                                               : &c->model->kernels.matrix[type];
}

static const struct kernel_product *context_product(const struct slm_context *c, int32_t type,
                                                    int32_t n_tokens)
{
    const struct kernel_matrix *k = context_kernel(c, type);
    if (n_tokens < k->few_min || (c->flags & SLM_CONTEXT_BATCH_INVARIANT) != 0) {
        return k->one;
    }
    return n_tokens < k->many_min ? k->few : k->many;
}

static int32_t context_form(const struct slm_context *c, const struct kernel_act *form)
{
    int32_t f = 0;
    while (c->forms[f] != form) {
        f++;
    }
    return f;
}

/* ---- Layout ---------------------------------------------------------------------------------- */

static void context_add_form(struct slm_context *c, const struct kernel_act *form)
{
    for (int32_t i = 0; i < c->n_forms; i++) {
        if (c->forms[i] == form) {
            return;
        }
    }
    SLM_ASSERT(c->n_forms < ACT_FORMS_MAX);
    c->forms[c->n_forms++] = form;
}

/* Forms of the inputs of the model's matrices; returns the scratch their products want. */
static uint64_t context_visit_model(struct slm_context *c)
{
    uint64_t scratch = 0;
    for (int32_t type = 0; type < ENC_COUNT; type++) {
        int64_t n_in = c->model->n_in_of[type];
        if (n_in == 0) {
            continue;
        }
        const struct kernel_matrix *k = context_kernel(c, type);
        const struct kernel_product *products[3] = {k->one, k->few, k->many};
        for (int i = 0; i < 3; i++) {
            uint64_t bytes = products[i]->scratch_bytes(c->n_batch, n_in);
            context_add_form(c, products[i]->act);
            scratch = bytes > scratch ? bytes : scratch;
        }
    }
    return scratch;
}

static float *context_rows(struct slm_context *c, struct arena *a, int64_t n)
{
    return (float *)arena_take(a, (uint64_t)c->n_batch * (uint64_t)n, sizeof(float));
}

static void context_layout_batch(struct slm_context *c, struct arena *a)
{
    uint64_t n = (uint64_t)c->n_batch;
    c->batch.tokens = (int32_t *)arena_take(a, n, sizeof(int32_t));
    c->batch.positions = (int32_t *)arena_take(a, n, sizeof(int32_t));
    c->batch.rows = (int32_t *)arena_take(a, n, sizeof(int32_t));
    c->batch.segments = (struct segment *)arena_take(a, n, sizeof(struct segment));
}

static void context_layout_experts(struct slm_context *c, struct arena *a)
{
    const struct hparams *h = &c->model->hparams;
    struct context_experts *e = &c->experts;
    uint64_t n_selected = (uint64_t)c->n_batch * (uint64_t)h->n_expert_used;
    e->x = context_rows(c, a, h->n_embd);
    e->logits = context_rows(c, a, h->n_expert);
    e->selected = (int32_t *)arena_take(a, n_selected, sizeof(int32_t));
    e->weights = context_rows(c, a, h->n_expert_used);
    e->scales = context_rows(c, a, 1);
    e->first = (int32_t *)arena_take(a, (uint64_t)h->n_expert + 2, sizeof(int32_t));
    e->rows = (int32_t *)arena_take(a, n_selected, sizeof(int32_t));
    e->tokens = (int32_t *)arena_take(a, n_selected, sizeof(int32_t));
    e->y = (float *)arena_take(a, (uint64_t)c->n_prepared * (uint64_t)h->n_embd, sizeof(float));
}

static void context_layout_activations(struct slm_context *c, struct arena *a)
{
    const struct slm_model *m = c->model;
    const struct hparams *h = &m->hparams;
    c->x = context_rows(c, a, h->n_embd);
    c->q = context_rows(c, a, m->n_q_max);
    c->k = context_rows(c, a, m->n_k_max);
    c->v = context_rows(c, a, m->n_v_max);
    c->attn = context_rows(c, a, m->n_o_max);
    c->n_prepared = max_i32(c->n_batch, PREPARED_LEAST);
    uint64_t n_hidden = (uint64_t)(PROFILE_EXPERTS && h->n_expert > 0 ? c->n_prepared : c->n_batch);
    c->gate = (float *)arena_take(a, n_hidden * (uint64_t)m->n_ff_max, sizeof(float));
    c->up = (float *)arena_take(a, n_hidden * (uint64_t)m->n_ff_max, sizeof(float));
    c->y = context_rows(c, a, h->n_embd);
    if (PROFILE_MORE && h->n_kv_rank > 0) {
        c->latent_q = context_rows(c, a, h->n_q_rank);
        c->latent_kv = context_rows(c, a, h->n_kv_rank);
        c->k_rope = context_rows(c, a, h->n_rot);
        c->kv =
            context_rows(c, a, (int64_t)m->n_head_max * (h->head_dim - h->n_rot + h->head_dim_v));
    }
    if (PROFILE_PLE) {
        c->ple = context_rows(c, a, (int64_t)h->n_layer * h->n_embd_layer);
        c->ple_gate = context_rows(c, a, h->n_embd_layer);
    }
    if (PROFILE_ALTUP) {
        for (int32_t i = 0; i < h->n_streams; i++) {
            c->streams[i] = context_rows(c, a, h->n_embd);
        }
        c->altup_router = context_rows(c, a, h->n_streams);
        c->laurel_low = context_rows(c, a, h->n_laurel);
        c->laurel = context_rows(c, a, h->n_laurel > 0 ? h->n_embd : 0);
    }
    if (PROFILE_EXPERTS && h->n_expert > 0) {
        context_layout_experts(c, a);
    }
    c->mix = PROFILE_RECURRENT ? context_rows(c, a, m->n_mix_max) : NULL;
    c->x_next = PROFILE_MORE && m->keeps_x ? context_rows(c, a, h->n_embd) : NULL;
    for (int32_t i = 0; i < LAYER_ROPE_COUNT; i++) {
        int32_t half = c->ropes[i] != NULL ? c->ropes[i]->n_rot / 2 : 0;
        c->rope_cos[i] = context_rows(c, a, half);
        c->rope_sin[i] = context_rows(c, a, half);
    }
    c->h = (float *)arena_take(a, (uint64_t)c->n_prepared * (uint64_t)m->n_in_max, sizeof(float));
    for (int32_t i = 0; i < c->n_forms; i++) {
        c->prepared[i] = (uint8_t *)arena_take(a, (uint64_t)act_tokens(c->forms[i], c->n_prepared),
                                               c->forms[i]->row_bytes(m->n_in_max));
    }
    c->logits = (float *)arena_take(a, (uint64_t)c->n_logits * (uint64_t)h->n_vocab, sizeof(float));
    c->row_x = (float *)arena_take(a, (uint64_t)min_i32(c->n_logits, c->n_batch),
                                   (uint64_t)h->n_embd * sizeof(float));
}

static void context_layout_pool(struct slm_context *c, struct arena *a)
{
    const struct globals *g = &c->model->globals;
    int64_t width = max_i64(max_i64(g->dense_2.n_out, g->dense_3.n_out),
                            max_i64(g->cls.n_out, g->cls_output.n_out));
    c->pool.n_rows = g->dense_2.n_out > 0 ? c->n_batch : min_i32(c->n_batch, c->cache.n_sequences);
    uint64_t n = (uint64_t)c->pool.n_rows;
    c->pool.hidden = (float *)arena_take(a, n * (uint64_t)c->model->hparams.n_embd, sizeof(float));
    for (int i = 0; i < 2; i++) {
        c->pool.layer[i] = (float *)arena_take(a, n * (uint64_t)width, sizeof(float));
    }
}

static void attention_layout(struct slm_context *c, struct arena *a, uint64_t *part_bytes);

/* The same code measures (a->base NULL) and lays out. The context itself comes first. */
static void context_layout(struct slm_context *c, struct arena *a)
{
    arena_take(a, 1, sizeof *c);
    c->n_forms = 0;
    c->part_bytes = context_visit_model(c);
    cache_layout(&c->cache, a);
    if (PROFILE_RECURRENT) {
        states_layout(&c->states, a);
    }
    context_layout_batch(c, a);
    context_layout_activations(c, a);
    if (PROFILE_EMBED) {
        context_layout_pool(c, a);
    }
    c->pages = (const uint8_t **)arena_take(
        a, (uint64_t)c->cache.n_sequences * (uint64_t)c->cache.max_pages, sizeof(uint8_t *));
    attention_layout(c, a, &c->part_bytes);
    c->part_bytes = (uint64_t)max_i64((int64_t)c->part_bytes, c->model->mix_part_bytes);
    c->part_bytes = (c->part_bytes + MEMORY_ALIGN - 1) & ~(uint64_t)(MEMORY_ALIGN - 1);
    c->part_scratch = (uint8_t *)arena_take(a, (uint64_t)c->n_threads, c->part_bytes);
}

static void *context_scratch(const struct slm_context *c, int32_t part)
{
    return c->part_scratch + (uint64_t)part * c->part_bytes;
}

#define CONTEXT_INLINE_MACS 65536 /* below this a region costs more than it gains */

/* Runs fn over all tiles: in parallel if there is enough to do. */
static void context_tiles(struct slm_context *c, int64_t macs, int32_t n_tiles,
                          void (*fn)(void *arg, int32_t tile, int32_t part), void *arg)
{
    if (macs < CONTEXT_INLINE_MACS) {
        for (int32_t i = 0; i < n_tiles; i++) {
            fn(arg, i, 0);
        }
        return;
    }
    threads_tiles(c->threads, c->pool_owned, n_tiles, fn, arg);
}

/* What a region over the tokens of a layer takes. */
struct layer_run {
    struct slm_context *c;
    const struct layer *l;
};

/* A task for each token of the batch; `work` is about its share in products. */
static void context_tokens(struct slm_context *c, const struct layer *l, int64_t work,
                           void (*fn)(void *arg, int32_t token, int32_t part))
{
    struct layer_run r = {c, l};
    context_tiles(c, work * c->batch.n_tokens, c->batch.n_tokens, fn, &r);
}

/* y = the rows of x whose logits are wanted. */
static void context_gather_rows(const struct slm_context *c, const float *x, float *y)
{
    int64_t n = c->model->hparams.n_embd;
    for (int32_t i = 0; i < c->batch.n_rows; i++) {
        memcpy(y + i * n, x + c->batch.rows[i] * n, (size_t)n * sizeof(float));
    }
}

/* ---- Options --------------------------------------------------------------------------------- */

static int context_check(const char *name, int64_t value, int64_t low, int64_t high, slm_error *err)
{
    if (value < low || value > high) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%s is %lld: %lld to %lld is expected", name,
                 (long long)value, (long long)low, (long long)high);
    }
    return SLM_OK;
}

#define CONTEXT_GRAIN 256 /* the reference rounds contexts up to this before it compares */

/* Which of the model's angles this context turns by. With long factors that is a matter of what the
 * context has room for, not of how long its sequences are: all positions must agree. */
static void context_choose_ropes(struct slm_context *c)
{
    const struct slm_model *m = c->model;
    int64_t room = ((int64_t)c->n_ctx + CONTEXT_GRAIN - 1) / CONTEXT_GRAIN * CONTEXT_GRAIN;
    int is_long = m->globals.rope_factors_long != NULL && room > m->hparams.rope_ctx_orig;
    c->ropes[LAYER_ROPE_GLOBAL] = &m->ropes[is_long ? MODEL_ROPE_LONG : MODEL_ROPE_GLOBAL];
    c->ropes[LAYER_ROPE_LOCAL] =
        m->hparams.rope_base_local > 0 ? &m->ropes[MODEL_ROPE_LOCAL] : NULL;
}

/* Fills c from options: everything context_layout needs. */
static int context_configure(struct slm_context *c, struct slm_model *m,
                             const slm_context_options *o, slm_error *err)
{
    int32_t n_ctx = o->n_ctx != SLM_AUTO ? o->n_ctx : min_i32(m->hparams.n_ctx_train, 4096);
    memset(c, 0, sizeof *c);
    SLM_TRY(context_check("n_ctx", n_ctx, 1, LIMIT_CONTEXT, err));
    SLM_TRY(context_check("n_sequences", o->n_sequences, 1, LIMIT_SEQUENCES, err));
    SLM_TRY(context_check("n_batch", o->n_batch, 1, LIMIT_BATCH, err));
    SLM_TRY(context_check("kv_type", o->kv_type, 0, KV_COUNT - 1, err));
    if ((o->flags & ~(SLM_CONTEXT_EXACT | SLM_CONTEXT_BATCH_INVARIANT)) != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "context options: flags %x are not known", o->flags);
    }
    SLM_TRY(context_check("n_checkpoints", o->n_checkpoints, 0, LIMIT_CHECKPOINTS, err));
    int32_t max_pages = cache_pages_for(n_ctx);
    int64_t n_pages = o->n_pages != SLM_AUTO ? o->n_pages : (int64_t)max_pages * o->n_sequences;
    SLM_TRY(context_check("n_pages", n_pages, 1, LIMIT_PAGES, err));
    int32_t n_logits = o->n_logits != SLM_AUTO     ? o->n_logits
                       : m->hparams.is_causal != 0 ? o->n_sequences
                                                   : 0;
    SLM_TRY(context_check("n_logits", n_logits, 0, LIMIT_CONTEXT, err));
    c->model = m;
    c->flags = o->flags;
    c->n_ctx = n_ctx;
    c->n_batch =
        min_i32(o->n_batch, (int32_t)min_i64((int64_t)n_ctx * o->n_sequences, LIMIT_BATCH));
    c->n_logits = n_logits;
    c->cache.kv_type = o->kv_type;
    c->cache.element_bytes = o->kv_type == SLM_KV_F16 ? 2 : 4;
    c->cache.page_bytes = (uint64_t)m->kv_page_elements * (uint64_t)c->cache.element_bytes;
    c->cache.n_pages = (int32_t)n_pages;
    c->cache.n_sequences = o->n_sequences;
    c->cache.max_pages = max_pages;
    c->cache.n_ctx = n_ctx;
    c->states.n_floats = m->n_state_floats;
    c->states.n_sequences = o->n_sequences;
    c->states.n_checkpoints = o->n_checkpoints;
    context_choose_ropes(c);
    return SLM_OK;
}

/* Threads the context will have. A pool given by the caller counts for scratch only. */
static int context_threads(struct slm_context *c, const slm_context_options *o, slm_error *err)
{
    if (o->threads != NULL && threads_forked(o->threads)) {
        SLM_FAIL(err, SLM_E_FORKED, -1, "the thread pool was made before fork()");
    }
    if (o->threads != NULL) {
        c->n_threads = threads_count(o->threads);
        return SLM_OK;
    }
    if (o->n_threads != SLM_AUTO) {
        SLM_TRY(context_check("n_threads", o->n_threads, 1, LIMIT_THREADS, err));
    }
    c->n_threads = threads_resolve(o->n_threads);
    return SLM_OK;
}

/* ---- Plan, create, free ---------------------------------------------------------------------- */

static int context_measure(struct slm_context *c, struct slm_model *m, const slm_context_options *o,
                           uint64_t *bytes, slm_error *err)
{
    struct arena measure = {NULL, 0, 0};
    if (!m->is_bound) {
        SLM_FAIL(err, m->unbound.code != 0 ? m->unbound.code : SLM_E_MODEL, -1, "%s",
                 m->unbound.code != 0 ? m->unbound.message : "the model has no weights");
    }
    SLM_TRY(context_configure(c, m, o, err));
    SLM_TRY(context_threads(c, o, err));
    context_layout(c, &measure);
    if (measure.overflow || measure.used > SIZE_MAX) {
        SLM_FAIL(err, SLM_E_MEMORY, -1, "this context is larger than the address space");
    }
    *bytes = measure.used;
    return SLM_OK;
}

static int context_plan(struct slm_model *m, const slm_context_options *o, slm_plan *plan,
                        slm_error *err)
{
    struct slm_context c;
    uint64_t bytes = 0;
    SLM_TRY(context_measure(&c, m, o, &bytes, err));
    uint64_t own_pool = o->threads == NULL ? threads_heap_bytes(c.n_threads) : 0;
    plan->n_threads = c.n_threads;
    plan->n_ctx = c.n_ctx;
    plan->n_pages = c.cache.n_pages;
    plan->model_mapped_bytes = m->mapped_bytes;
    plan->model_heap_bytes = m->planned_bytes;
    plan->context_heap_bytes = bytes + own_pool;
    plan->kv_bytes = (uint64_t)c.cache.n_pages * c.cache.page_bytes;
    plan->state_bytes = (uint64_t)c.states.n_floats * sizeof(float) *
                        (uint64_t)c.states.n_sequences * (2 + (uint64_t)c.states.n_checkpoints);
    plan->stack_bytes = o->threads == NULL ? threads_stack_bytes(c.n_threads) : 0;
    return SLM_OK;
}

static int context_own_pool(struct slm_context *c, const slm_context_options *o, slm_error *err)
{
    slm_threads_options pool;
    memset(&pool, 0, sizeof pool);
    pool.struct_size = sizeof pool;
    pool.n_threads = c->n_threads;
    pool.alloc = o->alloc;
    pool.alloc_user = o->alloc_user;
    return threads_create(&c->threads, &pool, err);
}

static void context_destroy(struct slm_context *c)
{
    struct memory memory = c->memory;
    struct slm_model *model = c->model;
    threads_release(c->threads);
    memory_give(&memory, c, c->block_bytes);
    model_release(model);
}

static int context_create(struct slm_context **out, struct slm_model *m,
                          const slm_context_options *o, slm_error *err)
{
    struct slm_context measured;
    struct memory memory = memory_make(o->alloc, o->alloc_user, o->max_bytes);
    uint64_t bytes = 0;
    if ((m->flags & SLM_LOAD_METADATA) != 0) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "the model was opened with SLM_LOAD_METADATA");
    }
    SLM_TRY(context_measure(&measured, m, o, &bytes, err));
    uint64_t own_pool = o->threads == NULL ? threads_heap_bytes(measured.n_threads) : 0;
    if (bytes + own_pool > memory.cap) {
        return memory_error(&memory, bytes + own_pool, "context", err);
    }
    struct arena arena = {(uint8_t *)memory_take(&memory, bytes), 0, 0};
    if (arena.base == NULL) {
        return memory_error(&memory, bytes, "context", err);
    }
    platform_prefer_large_pages(&memory, arena.base, bytes);
    struct slm_context *c = (struct slm_context *)(void *)arena.base;
    *c = measured;
    context_layout(c, &arena);
    c->memory = memory;
    c->block_bytes = bytes;
    c->heap_bytes = bytes + own_pool;
    c->references = 1;
    c->process_id = platform_process_id();
    if (o->threads != NULL) {
        threads_retain(o->threads);
        c->threads = o->threads;
    } else {
        int status = context_own_pool(c, o, err);
        if (status != SLM_OK) {
            memory_give(&memory, c, bytes);
            return status;
        }
    }
    model_retain(m);
    if (c->n_ctx > m->hparams.n_ctx_train) {
        model_log(m, SLM_LOG_WARN, "a context of %d positions, but the model was trained for %d",
                  c->n_ctx, m->hparams.n_ctx_train);
    }
    *out = c;
    return SLM_OK;
}

static void context_retain(struct slm_context *c)
{
    reference_add(&c->references);
}

static void context_release(struct slm_context *c)
{
    if (c != NULL && reference_drop(&c->references)) {
        context_destroy(c);
    }
}

/* The way into every call that uses the context; SLM_OK must be followed by context_leave. */
static int context_enter(struct slm_context *c, slm_error *err)
{
    if (c->process_id != platform_process_id()) {
        SLM_FAIL(err, SLM_E_FORKED, -1, "the context was made before fork()");
    }
    if (!busy_enter(&c->busy)) {
        SLM_FAIL(err, SLM_E_BUSY, -1, "the context is in use by another call");
    }
    return SLM_OK;
}

static void context_leave(struct slm_context *c)
{
    busy_leave(&c->busy);
}

/* A generator may end on another thread than that of the context's calls. */
static int context_generates(const struct slm_context *c, int32_t sequence)
{
    return __atomic_load_n(&c->generating[sequence], __ATOMIC_ACQUIRE);
}

static int context_check_free(const struct slm_context *c, int32_t sequence, slm_error *err)
{
    if (context_generates(c, sequence)) {
        SLM_FAIL(err, SLM_E_BUSY, sequence,
                 "sequence %d belongs to a generator until slm_generate_end", sequence);
    }
    return SLM_OK;
}
