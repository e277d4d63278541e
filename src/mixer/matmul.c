/* matmul.c - products of the batch with matrices: make the input, prepare it once in each form that
 * is wanted, then all rows of all matrices that share it, in one parallel region.
 *
 * Rows are dealt out in tiles. A y depends only on its row, its token and the row's length, so
 * neither the size of a tile nor the number of threads shows in the result. */

/* How the input rows come about: x, through an activation, through a norm. */
struct matmul_input {
    const float *x;          /* [n_tokens][k] */
    int32_t act;             /* ACT_ */
    const float *x2;         /* [n_tokens][k] multiplies what the activation gives; or NULL */
    const struct norm *norm; /* of k elements; NULL or n == 0: none */
    int64_t k;
    int32_t n_tokens;
};

struct matmul_job {
    const struct linear *w;
    float *y; /* [n_tokens][y_stride] */
    int64_t y_stride;
    float *residual;      /* [n_tokens][y_stride], the result is added to it; or NULL */
    float residual_scale; /* after being multiplied by this */
};

/* An input with the matrices that take it. */
struct matmul_group {
    const struct matmul_input *in;
    const int32_t *rows; /* [n_tokens] which rows of x (with neither act nor x2); NULL: the first */
    const struct matmul_job *jobs;
    int32_t n_jobs;
};

#define MATMUL_GROUPS_MAX 12 /* of a region; more are done in several */
#define MATMUL_JOBS_MAX 24
/* For a few tokens a tile is long enough to stream (decode kernels read it as eight streams, which
 * the prefetcher has to find anew in each tile) and short enough that the parts finish together. For
 * many, it is the rows that kernels unpack at a time: fewer would read all activations more often. */
#define MATMUL_TILE_BYTES 524288
#define MATMUL_MANY 32
#define MATMUL_PANEL_ROWS 256
/* A tile is a multiple of what kernels take at a time. */
#define MATMUL_ROWS_FEW 8
#define MATMUL_ROWS_MANY 32
#define MATMUL_INPUT_TOKENS 4 /* of a tile when the input is made, if no form wants more */

struct matmul_run {
    struct slm_context *c;
    const struct matmul_group *groups;
    int32_t n_groups;
    int32_t n_jobs;       /* of the groups of this region */
    int32_t n_tokens;     /* of c->prepared and c->h that they take */
    int32_t input_tokens; /* of a tile of the input: a multiple of each wanted form's group */
    int64_t n_rows;       /* of all jobs */
    int64_t macs_in, macs;
    /* Of each group. */
    uint32_t forms[MATMUL_GROUPS_MAX];          /* bit i: forms[i] is wanted */
    int32_t place[MATMUL_GROUPS_MAX];           /* the token of c->prepared and c->h it begins at */
    int32_t first_input[MATMUL_GROUPS_MAX + 1]; /* tile */
    /* Of each job. */
    const struct matmul_job *jobs[MATMUL_JOBS_MAX];
    int32_t group_of[MATMUL_JOBS_MAX];
    const struct kernel_product *products[MATMUL_JOBS_MAX];
    const uint8_t *acts[MATMUL_JOBS_MAX];
    int32_t tile_rows[MATMUL_JOBS_MAX];
    int32_t first_tile[MATMUL_JOBS_MAX + 1];
};

/* ---- Input ----------------------------------------------------------------------------------- */

static void matmul_activate(const struct kernels *k, int32_t act, float *y, const float *x,
                            const float *x2, int64_t n)
{
    switch (PROFILE_MORE || PROFILE_EMBED ? act : ACT_SILU) {
    case ACT_GELU:
        k->gelu(y, x, x2, n);
        break;
    case ACT_RELU_SQUARED:
        k->relu_squared(y, x, x2, n);
        break;
    case ACT_SWIGLU_CLAMPED:
        k->swiglu_clamped(y, x, x2, n);
        break;
    case ACT_TANH:
        memmove(y, x, (size_t)n * sizeof(float));
        k->softcap(y, n, 1);
        break;
    default:
        k->swiglu(y, x, x2, n);
        break;
    }
}

/* Tokens first..first+n-1 of a group's input: [n][k], in x or made in h. */
static const float *matmul_input_rows(const struct slm_context *c, const struct matmul_group *g,
                                      int64_t first, int64_t n, float *h)
{
    const struct matmul_input *in = g->in;
    const float *x = in->x + first * in->k;
    if (g->rows != NULL) {
        for (int64_t i = 0; i < n; i++) {
            memcpy(h + i * in->k, in->x + g->rows[first + i] * in->k,
                   (size_t)in->k * sizeof(float));
        }
        x = h;
    }
    if (in->act != ACT_NONE) {
        const float *x2 = in->x2 != NULL ? in->x2 + first * in->k : NULL;
        matmul_activate(&c->model->kernels, in->act, h, x, x2, n * in->k);
        x = h;
    }
    if (in->norm != NULL && in->norm->n > 0) {
        for (int64_t t = 0; t < n; t++) {
            norm_apply(c->model, in->norm, h + t * in->k, x + t * in->k, in->k);
        }
        x = h;
    }
    return x;
}

/* Where the prepared tokens of a group from `first` on stand in form f. */
static uint8_t *matmul_prepared(const struct matmul_run *r, int32_t g, int32_t f, int64_t first)
{
    const struct slm_context *c = r->c;
    return c->prepared[f] + (size_t)r->place[g] * c->forms[f]->row_bytes(c->model->n_in_max) +
           (size_t)first * c->forms[f]->row_bytes(r->groups[g].in->k);
}

static void matmul_prepare_tile(void *arg, int32_t tile, int32_t part)
{
    const struct matmul_run *r = (const struct matmul_run *)arg;
    const struct slm_context *c = r->c;
    int32_t g = 0;
    while (tile >= r->first_input[g + 1]) {
        g++;
    }
    const struct matmul_input *in = r->groups[g].in;
    int64_t first = (int64_t)(tile - r->first_input[g]) * r->input_tokens;
    int64_t n = min_i64(r->input_tokens, in->n_tokens - first);
    float *h = c->h + r->place[g] * c->model->n_in_max + first * in->k;
    const float *x = matmul_input_rows(c, &r->groups[g], first, n, h);
    (void)part;
    for (int32_t f = 0; f < c->n_forms; f++) {
        if ((r->forms[g] & 1u << f) != 0) {
            c->forms[f]->prepare(matmul_prepared(r, g, f, first), x, n, in->k);
        }
    }
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static void matmul_scale_rows(float *y, int64_t n, float scale)
{
    for (int64_t i = 0; f32_to_bits(scale) != f32_to_bits(1.0f) && i < n; i++) {
        y[i] *= scale;
    }
}

/* scale, bias and residual of rows row0..row1-1, while they are warm. */
static void matmul_finish_rows(const struct kernels *kernels, const struct matmul_job *job,
                               int32_t n_tokens, int64_t row0, int64_t row1)
{
    const struct linear *w = job->w;
    int64_t n = row1 - row0;
    for (int64_t t = 0; t < n_tokens; t++) {
        float *y = job->y + t * job->y_stride + row0;
        matmul_scale_rows(y, n, w->scale);
        if (w->bias != NULL) {
            kernels->add(y, w->bias + row0, n);
        }
        if (job->residual != NULL) {
            matmul_scale_rows(y, n, job->residual_scale);
            kernels->add(job->residual + t * job->y_stride + row0, y, n);
        }
    }
}

static void matmul_row_tile(void *arg, int32_t tile, int32_t part)
{
    const struct matmul_run *r = (const struct matmul_run *)arg;
    int32_t j = 0;
    while (tile >= r->first_tile[j + 1]) {
        j++;
    }
    const struct matmul_job *job = r->jobs[j];
    const struct matmul_input *in = r->groups[r->group_of[j]].in;
    int64_t row0 = (int64_t)(tile - r->first_tile[j]) * r->tile_rows[j];
    int64_t row1 = min_i64(row0 + r->tile_rows[j], job->w->n_out);
    r->products[j]->multiply(job->y, job->y_stride, job->w->data, row0, row1, r->acts[j],
                             in->n_tokens, in->k, context_scratch(r->c, part));
    matmul_finish_rows(&r->c->model->kernels, job, in->n_tokens, row0, row1);
}

/* A part gets as many tiles as the others: as few as their limit allows. */
static int32_t matmul_tile_rows(const struct linear *w, int32_t n_tokens, int64_t n_rows,
                                int32_t n_parts)
{
    const struct kernel_format *f = &kernel_formats[w->type];
    int64_t row_bytes = w->n_in / f->block_elements * f->block_bytes;
    int many = n_tokens >= MATMUL_MANY;
    int64_t limit = many ? MATMUL_PANEL_ROWS : MATMUL_TILE_BYTES / (row_bytes + 1) + 1;
    int64_t multiple = many ? MATMUL_ROWS_MANY : MATMUL_ROWS_FEW;
    int64_t rows_of_part = (n_rows + n_parts - 1) / n_parts;
    int64_t tiles_of_part = (rows_of_part + limit - 1) / limit;
    int64_t rows = (rows_of_part + tiles_of_part - 1) / tiles_of_part;
    return (int32_t)((rows + multiple - 1) / multiple * multiple);
}

/* Adds group g, if c->prepared and c->h have room for it behind the others; by itself each has. */
static int matmul_add_group(struct matmul_run *r, int32_t g)
{
    struct slm_context *c = r->c;
    const struct matmul_group *group = &r->groups[g];
    const struct matmul_input *in = group->in;
    uint32_t forms = 0;
    int32_t align = 1;
    for (int32_t j = 0; j < group->n_jobs; j++) {
        const struct kernel_act *act =
            context_product(c, group->jobs[j].w->type, in->n_tokens)->act;
        forms |= 1u << context_form(c, act);
        align = max_i32(align, act->group);
    }
    int32_t place = (r->n_tokens + align - 1) / align * align;
    int32_t n_tokens = place + (in->n_tokens + align - 1) / align * align;
    if (g > 0 && (g == MATMUL_GROUPS_MAX || r->n_jobs + group->n_jobs > MATMUL_JOBS_MAX ||
                  n_tokens > c->n_prepared)) {
        return 0;
    }
    r->forms[g] = forms;
    r->place[g] = place;
    r->n_tokens = n_tokens;
    r->input_tokens = max_i32(r->input_tokens, align);
    r->macs_in += in->k * in->n_tokens * 8;
    for (int32_t j = 0; j < group->n_jobs; j++) {
        r->jobs[r->n_jobs] = &group->jobs[j];
        r->group_of[r->n_jobs++] = g;
        r->n_rows += group->jobs[j].w->n_out;
        r->macs += group->jobs[j].w->n_out * in->k * in->n_tokens;
    }
    return 1;
}

/* As many groups as one region can take; returns how many. */
static int32_t matmul_setup(struct matmul_run *r)
{
    struct slm_context *c = r->c;
    int32_t n = 0;
    r->input_tokens = MATMUL_INPUT_TOKENS;
    while (n < r->n_groups && matmul_add_group(r, n)) {
        n++;
    }
    for (int32_t g = 0; g < n; g++) {
        r->first_input[g + 1] =
            r->first_input[g] + (r->groups[g].in->n_tokens + r->input_tokens - 1) / r->input_tokens;
    }
    for (int32_t j = 0; j < r->n_jobs; j++) {
        const struct linear *w = r->jobs[j]->w;
        int32_t n_tokens = r->groups[r->group_of[j]].in->n_tokens;
        r->products[j] = context_product(c, w->type, n_tokens);
        r->acts[j] = matmul_prepared(r, r->group_of[j], context_form(c, r->products[j]->act), 0);
        r->tile_rows[j] = matmul_tile_rows(w, n_tokens, r->n_rows, c->n_threads);
        r->first_tile[j + 1] =
            r->first_tile[j] + (int32_t)((w->n_out + r->tile_rows[j] - 1) / r->tile_rows[j]);
    }
    return n;
}

/* All groups, in as few regions as there is room for. No group reads what another writes. */
static void matmul_groups(struct slm_context *c, const struct matmul_group *groups,
                          int32_t n_groups)
{
    while (n_groups > 0) {
        struct matmul_run r;
        memset(&r, 0, sizeof r);
        r.c = c;
        r.groups = groups;
        r.n_groups = n_groups;
        int32_t n = matmul_setup(&r);
        context_tiles(c, r.macs_in, r.first_input[n], matmul_prepare_tile, &r);
        context_tiles(c, r.macs, r.first_tile[r.n_jobs], matmul_row_tile, &r);
        groups += n;
        n_groups -= n;
    }
}

/* All jobs have the input's k columns. */
static void matmul(struct slm_context *c, const struct matmul_input *in,
                   const struct matmul_job *jobs, int32_t n_jobs)
{
    struct matmul_group group = {in, NULL, jobs, n_jobs};
    matmul_groups(c, &group, 1);
}
