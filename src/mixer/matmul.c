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

#define MATMUL_JOBS_MAX 4
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
    const struct matmul_input *in;
    const struct matmul_job *jobs;
    int32_t n_jobs;
    const struct kernel_product *products[MATMUL_JOBS_MAX];
    const uint8_t *acts[MATMUL_JOBS_MAX];
    int32_t tile_rows[MATMUL_JOBS_MAX];
    int32_t first_tile[MATMUL_JOBS_MAX + 1];
    uint32_t forms;       /* bit i: forms[i] is wanted */
    int32_t input_tokens; /* of a tile of the input: a multiple of each wanted form's group */
    int64_t n_rows;       /* of all jobs */
};

/* ---- Input ----------------------------------------------------------------------------------- */

static void matmul_activate(const struct kernels *k, int32_t act, float *y, const float *x,
                            const float *x2, int64_t n)
{
    switch (act) {
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

/* Rows first..first+n-1 of the input: [n][k]. */
static const float *matmul_input_rows(const struct slm_context *c, const struct matmul_input *in,
                                      int64_t first, int64_t n)
{
    const float *x = in->x + first * in->k;
    float *h = c->h + first * in->k;
    if (in->act != ACT_NONE) {
        const float *x2 = in->x2 != NULL ? in->x2 + first * in->k : NULL;
        matmul_activate(&c->model->kernels, in->act, h, x, x2, n * in->k);
        x = h;
    }
    if (in->norm != NULL && in->norm->n > 0) {
        norm_apply(c->model, in->norm, h, x, n * in->k);
        x = h;
    }
    return x;
}

static void matmul_prepare_tile(void *arg, int32_t tile, int32_t part)
{
    const struct matmul_run *r = (const struct matmul_run *)arg;
    const struct slm_context *c = r->c;
    int64_t first = (int64_t)tile * r->input_tokens;
    int64_t n = min_i64(r->input_tokens, r->in->n_tokens - first);
    const float *x = matmul_input_rows(c, r->in, first, n);
    (void)part;
    for (int32_t f = 0; f < c->n_forms; f++) {
        if ((r->forms & 1u << f) != 0) {
            size_t row = c->forms[f]->row_bytes(r->in->k);
            c->forms[f]->prepare(c->prepared[f] + (size_t)first * row, x, n, r->in->k);
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
    const struct matmul_job *job = &r->jobs[j];
    int64_t row0 = (int64_t)(tile - r->first_tile[j]) * r->tile_rows[j];
    int64_t row1 = min_i64(row0 + r->tile_rows[j], job->w->n_out);
    r->products[j]->multiply(job->y, job->y_stride, job->w->data, row0, row1, r->acts[j],
                             r->in->n_tokens, r->in->k, context_scratch(r->c, part));
    matmul_finish_rows(&r->c->model->kernels, job, r->in->n_tokens, row0, row1);
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

static void matmul_setup(struct matmul_run *r, const struct matmul_job *jobs, int32_t n_jobs)
{
    struct slm_context *c = r->c;
    int64_t n_rows = 0;
    r->jobs = jobs;
    r->n_jobs = n_jobs;
    r->forms = 0;
    r->input_tokens = MATMUL_INPUT_TOKENS;
    for (int32_t j = 0; j < n_jobs; j++) {
        n_rows += jobs[j].w->n_out;
    }
    r->n_rows = n_rows;
    r->first_tile[0] = 0;
    for (int32_t j = 0; j < n_jobs; j++) {
        const struct linear *w = jobs[j].w;
        r->products[j] = context_product(c, w->type, r->in->n_tokens);
        for (int32_t f = 0; f < c->n_forms; f++) {
            if (c->forms[f] == r->products[j]->act) {
                r->forms |= 1u << f;
                r->input_tokens = max_i32(r->input_tokens, c->forms[f]->group);
                r->acts[j] = c->prepared[f];
            }
        }
        r->tile_rows[j] = matmul_tile_rows(w, r->in->n_tokens, n_rows, c->n_threads);
        r->first_tile[j + 1] =
            r->first_tile[j] + (int32_t)((w->n_out + r->tile_rows[j] - 1) / r->tile_rows[j]);
    }
}

/* All jobs have the input's k columns. */
static void matmul(struct slm_context *c, const struct matmul_input *in,
                   const struct matmul_job *jobs, int32_t n_jobs)
{
    struct matmul_run r;
    memset(&r, 0, sizeof r);
    r.c = c;
    r.in = in;
    matmul_setup(&r, jobs, n_jobs);
    context_tiles(c, in->k * in->n_tokens * 8, (in->n_tokens + r.input_tokens - 1) / r.input_tokens,
                  matmul_prepare_tile, &r);
    context_tiles(c, in->k * r.n_rows * in->n_tokens, r.first_tile[n_jobs], matmul_row_tile, &r);
}
