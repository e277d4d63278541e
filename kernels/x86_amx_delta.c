/* x86_amx_delta.c - the delta rule in chunks (delta_chunk in kernels.h) on AMX: tiles of bf16.
 *
 * Every float is the sum of two bf16 parts, to 2^-18 of itself, and a product of matrices that of
 * high by high, high by low and low by high. What is added to the state stays in it where little is
 * forgotten: that product has three parts, which are all of a float, and six products of them. The
 * triangle of u, each of which wants those before it, is solved with floats, 8 tokens at a time.
 *
 * The first operand of a product stands as tiles of 16 rows of 32 columns ("rows"), the second as tiles
 * of 32 rows, pairs of them interleaved, of 16 columns ("pairs"). Either is a tile for each
 * part. Keys are there three times: as rows for S^T k, turned as pairs for the scores, and turned as
 * rows for what they add to S. The state goes through 32 columns at a time.
 *
 * The number of tokens becomes a multiple of 32 with ones that have no key, no query, no value, beta
 * 0 and decay 1: they change nothing. */

#if defined(__x86_64__) && defined(__linux__) && !defined(SLM_NO_SIMD)

#define AMX_DELTA_MIN 20         /* tokens for which a chunk of 32 is faster than one by one, */
#define AMX_DELTA_KEY_MIN 96     /* where heads are so long: with 64 it is not */
#define AMX_PARTS (3 * AMX_TILE) /* bytes of a tile's parts, though most have two */
#define AMX_DELTA_WIDTH 32       /* columns of the state */
#define AMX_DELTA_ROWS 8         /* of u that stand in registers, */
#define AMX_DELTA_VECTORS 2      /* this long */
#define AMX_DELTA_TINY 7.9e-31f  /* 2^-100: what decays to less is 0, and never a denormal */

/* [token / 16][n_key / 32] and the like: each of AMX_PARTS. */
struct amx_delta {
    const struct kernel_delta_job *job;
    int64_t n;                    /* tokens, with those that fill up: 32 or 64 */
    int64_t steps;                /* n_key / 32 */
    float *decays, *ends, *betas; /* [n] from the chunk's start, to its end */
    float *scores[2];             /* [n][DELTA_CHUNK] of keys, times -beta, and of queries */
    float *sums[2];               /* [n][AMX_DELTA_WIDTH] S^T k, then u; S^T q, then o */
    uint8_t *rows[2];             /* [n / 16][n_key / 32] keys and queries */
    uint8_t *pairs;               /* [n / 16][n_key / 32] keys turned */
    uint8_t *turned;              /* [n_key / 16][n / 32] rows: keys turned */
    uint8_t *weights;             /* [n / 16][n / 32] rows: scores of queries */
    uint8_t *state;               /* [2][n_key / 32] pairs */
    uint8_t *u[2];                /* [2][n / 32] pairs: u, and what is left of it at the end */
};

/* ---- Tiles ----------------------------------------------------------------------------------- */

/* Registers 4 and 5, two tiles of rows; 6 and 7, two of pairs. */
static AMX_INLINE void amx_delta_take_rows(const uint8_t *a, size_t next)
{
    _tile_loadd(4, a, 64);
    _tile_loadd(5, a + next, 64);
}

static AMX_INLINE void amx_delta_take_pairs(const uint8_t *b, size_t next)
{
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + next, 64);
}

/* Sums of 32 by 32 stand in registers 0 to 3. */
static AMX_INLINE void amx_delta_add(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* Sums += a b, over n_step parts of 32 columns of a; the second tiles of rows and of columns stand
 * a_next and b_next bytes behind the first. Each product shares an operand with the one before. */
static AMX_INLINE void amx_delta_multiply(const uint8_t *a, size_t a_next, const uint8_t *b,
                                          size_t b_next, int64_t n_step, int parts)
{
    for (int64_t s = 0; s < n_step; s++, a += AMX_PARTS, b += AMX_PARTS) {
        amx_delta_take_pairs(b, b_next);
        if (parts == 3) {
            amx_delta_take_rows(a + 2 * AMX_TILE, a_next);
            amx_delta_add();
        }
        amx_delta_take_rows(a + AMX_TILE, a_next);
        amx_delta_add();
        if (parts == 3) {
            amx_delta_take_pairs(b + AMX_TILE, b_next);
            amx_delta_add();
            amx_delta_take_pairs(b, b_next);
        }
        amx_delta_take_rows(a, a_next);
        amx_delta_add();
        amx_delta_take_pairs(b + AMX_TILE, b_next);
        amx_delta_add();
        if (parts == 3) {
            amx_delta_take_pairs(b + 2 * AMX_TILE, b_next);
            amx_delta_add();
        }
    }
}

static AMX_INLINE void amx_delta_zero(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

static AMX_INLINE void amx_delta_load(const float *c, int64_t stride)
{
    const float *below = c + AMX_SIDE * stride;
    _tile_loadd(0, c, stride * 4);
    _tile_loadd(1, c + AMX_SIDE, stride * 4);
    _tile_loadd(2, below, stride * 4);
    _tile_loadd(3, below + AMX_SIDE, stride * 4);
}

static AMX_INLINE void amx_delta_store(float *c, int64_t stride)
{
    float *below = c + AMX_SIDE * stride;
    _tile_stored(0, c, stride * 4);
    _tile_stored(1, c + AMX_SIDE, stride * 4);
    _tile_stored(2, below, stride * 4);
    _tile_stored(3, below + AMX_SIDE, stride * 4);
}

/* The parts of 32 floats, the highest first. */
static AMX_INLINE void amx_delta_split(__m512i part[3], __m512 a, __m512 b, int parts)
{
    SLM_UNROLL
    for (int i = 0; i < parts; i++) {
        part[i] = amx_round(a, b);
        a = amx_low_part(a, _mm512_castsi512_si256(part[i]));
        b = amx_low_part(b, _mm512_extracti64x4_epi64(part[i], 1));
    }
}

/* n_row rows of n floats as tiles of rows, zeros behind them up to n_all. */
static AMX_INLINE void amx_delta_split_rows(uint8_t *to, const float *x, int64_t stride,
                                            int64_t n_row, int64_t n_all, int64_t n, int parts)
{
    for (int64_t r = 0; r < n_all; r++) {
        uint8_t *row =
            to + (size_t)(r / AMX_SIDE * (n / AMX_STEP)) * AMX_PARTS + (size_t)(r % AMX_SIDE) * 64;
        for (int64_t i = 0; i < n; i += AMX_STEP, row += AMX_PARTS) {
            __m512i part[3] = {_mm512_setzero_si512(), _mm512_setzero_si512(),
                               _mm512_setzero_si512()};
            if (r < n_row) {
                amx_delta_split(part, _mm512_loadu_ps(x + r * stride + i),
                                _mm512_loadu_ps(x + r * stride + i + AMX_SIDE), parts);
            }
            SLM_UNROLL
            for (int p = 0; p < parts; p++) {
                _mm512_storeu_si512((void *)(row + p * AMX_TILE), part[p]);
            }
        }
    }
}

/* 16 columns of two rows as a line of a tile of pairs. */
static AMX_INLINE void amx_delta_split_pair(uint8_t *to, __m512 a, __m512 b, int parts)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i part[3];
    amx_delta_split(part, a, b, parts);
    SLM_UNROLL
    for (int p = 0; p < parts; p++) {
        _mm512_storeu_si512((void *)(to + p * AMX_TILE), _mm512_permutexvar_epi16(order, part[p]));
    }
}

/* ---- A chunk's keys and scores --------------------------------------------------------------- */

/* A tile of pairs from one of rows: 16 lines of 16 pairs, turned. */
static AMX_INLINE void amx_delta_turn(uint8_t *to, const uint8_t *from)
{
    __m512i v[16];
    SLM_UNROLL
    for (int i = 0; i < 16; i++) {
        v[i] = _mm512_loadu_si512((const void *)(from + 64 * i));
    }
    amx_store_tile(to, v);
}

/* Two tiles of rows, of 16 elements of keys and 32 tokens, from tiles of pairs of 16 tokens each. */
static AMX_INLINE void amx_delta_join(uint8_t *to, size_t next, const uint8_t *a, const uint8_t *b)
{
    const __m512i even =
        _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                         24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
    for (size_t i = 0; i < 16; i++) {
        __m512i x = _mm512_loadu_si512((const void *)(a + 64 * i));
        __m512i y = _mm512_loadu_si512((const void *)(b + 64 * i));
        uint8_t *row = to + i / 8 * next + i % 8 * 128;
        _mm512_storeu_si512((void *)row, _mm512_permutex2var_epi16(x, even, y));
        _mm512_storeu_si512((void *)(row + 64), _mm512_permutex2var_epi16(x, odd, y));
    }
}

static AMX void amx_delta_keys(const struct amx_delta *d)
{
    const struct kernel_delta_job *job = d->job;
    size_t tile_next = (size_t)d->steps * AMX_PARTS, chunk_next = (size_t)d->n / 32 * AMX_PARTS;
    amx_delta_split_rows(d->rows[0], job->k, job->n_key, job->n_token, d->n, job->n_key, 3);
    amx_delta_split_rows(d->rows[1], job->q, job->n_key, job->n_token, d->n, job->n_key, 2);
    for (size_t i = 0; i < (size_t)d->n / AMX_SIDE * tile_next; i += AMX_TILE) {
        amx_delta_turn(d->pairs + i, d->rows[0] + i);
    }
    for (int64_t t = 0; t < d->n / 32; t++) {
        for (int64_t s = 0; s < 3 * d->steps; s++) { /* steps and their parts */
            const uint8_t *from = d->pairs + (size_t)(2 * t) * tile_next + (size_t)s * AMX_TILE;
            uint8_t *to = d->turned + (size_t)(s / 3 * 2) * chunk_next + (size_t)t * AMX_PARTS +
                          (size_t)(s % 3) * AMX_TILE;
            amx_delta_join(to, chunk_next, from, from + tile_next);
        }
    }
}

/* Decays into the scores: row[j] is D(t, j), at last D(n - 1, j). Of scores only the blocks of 32
 * tokens with t and before it are there. */
static AMX void amx_delta_decays(const struct amx_delta *d)
{
    const __m512 tiny = _mm512_set1_ps(AMX_DELTA_TINY), one = _mm512_set1_ps(1);
    __m512 row[DELTA_CHUNK / 16];
    float decay = 1;
    SLM_UNROLL
    for (int i = 0; i < DELTA_CHUNK / 16; i++) {
        row[i] = _mm512_setzero_ps();
    }
    for (int64_t t = 0; t < d->n; t++) {
        int is_there = t < d->job->n_token;
        float gate = is_there ? d->job->gates[2 * t] : 1;
        float beta = is_there ? d->job->gates[2 * t + 1] : 0;
        float *k = d->scores[0] + t * DELTA_CHUNK, *q = d->scores[1] + t * DELTA_CHUNK;
        decay *= gate;
        decay = decay < AMX_DELTA_TINY ? 0 : decay;
        d->decays[t] = decay;
        d->betas[t] = beta;
        SLM_UNROLL
        for (int i = 0; i < DELTA_CHUNK / 16; i++) {
            if (i / 2 <= t / 32) {
                __m512 k_i = _mm512_mul_ps(_mm512_set1_ps(-beta), _mm512_loadu_ps(k + 16 * i));
                row[i] = _mm512_mul_ps(_mm512_set1_ps(gate), row[i]);
                row[i] = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(row[i], tiny, _CMP_GE_OQ), row[i]);
                _mm512_storeu_ps(k + 16 * i, _mm512_mul_ps(row[i], k_i));
                row[i] =
                    _mm512_mask_mov_ps(row[i], (__mmask16)(t / 16 == i ? 1u << t % 16 : 0), one);
                _mm512_storeu_ps(q + 16 * i, _mm512_mul_ps(row[i], _mm512_loadu_ps(q + 16 * i)));
            }
        }
    }
    SLM_UNROLL
    for (int i = 0; i < DELTA_CHUNK / 16; i++) {
        _mm512_storeu_ps(d->ends + 16 * i, row[i]);
    }
}

static AMX void amx_delta_scores(const struct amx_delta *d)
{
    size_t next = (size_t)d->steps * AMX_PARTS;
    AMX_FENCE;
    for (int64_t t = 0; t < d->n / AMX_SIDE; t += 2) {
        for (int64_t j = 0; j <= t; j += 2) {
            for (int i = 0; i < 2; i++) {
                amx_delta_zero();
                amx_delta_multiply(d->rows[i] + (size_t)t * next, next, d->pairs + (size_t)j * next,
                                   next, d->steps, 2);
                amx_delta_store(d->scores[i] + (t * DELTA_CHUNK + j) * AMX_SIDE, DELTA_CHUNK);
            }
        }
    }
    AMX_FENCE;
    amx_delta_decays(d);
    /* Nobody reads the block above the diagonal, whatever it is. */
    amx_delta_split_rows(d->weights, d->scores[1], DELTA_CHUNK, d->n, d->n, d->n, 2);
}

/* ---- Columns of the state -------------------------------------------------------------------- */

/* Of each column the state as tiles, and its decay to the end of the chunk. */
static AMX_INLINE void amx_delta_split_state(const struct amx_delta *d, int64_t column)
{
    const struct kernel_delta_job *job = d->job;
    const float *from = job->from + column;
    float *to = job->to + column;
    __m512 decay = _mm512_set1_ps(d->decays[d->n - 1]);
    for (int64_t i = 0; i < job->n_key; i += 2) {
        SLM_UNROLL
        for (int c = 0; c < AMX_DELTA_VECTORS; c++) {
            int64_t a_at = i * job->n_value + 16 * c, b_at = a_at + job->n_value;
            __m512 a = _mm512_loadu_ps(from + a_at), b = _mm512_loadu_ps(from + b_at);
            amx_delta_split_pair(d->state + (size_t)(c * d->steps + i / 32) * AMX_PARTS +
                                     (size_t)(i % 32) * 32,
                                 a, b, 2);
            _mm512_storeu_ps(to + a_at, _mm512_mul_ps(decay, a));
            _mm512_storeu_ps(to + b_at, _mm512_mul_ps(decay, b));
        }
    }
}

/* What values lack of the old state: beta (v - D(t) S^T k) of some tokens from t on. */
static AMX_INLINE void amx_delta_begin(const struct amx_delta *d, int64_t t, int64_t column,
                                       __m512 u[AMX_DELTA_ROWS][AMX_DELTA_VECTORS])
{
    const float *v = d->job->v + t * d->job->v_stride + column;
    SLM_UNROLL
    for (int i = 0; i < AMX_DELTA_ROWS; i++) {
        const float *old = d->sums[0] + (t + i) * AMX_DELTA_WIDTH;
        __m512 decay = _mm512_set1_ps(d->decays[t + i]), beta = _mm512_set1_ps(d->betas[t + i]);
        int is_there = t + i < d->job->n_token;
        SLM_UNROLL
        for (int c = 0; c < AMX_DELTA_VECTORS; c++) {
            __m512 value =
                is_there ? _mm512_loadu_ps(v + i * d->job->v_stride + 16 * c) : _mm512_setzero_ps();
            value = _mm512_fnmadd_ps(decay, _mm512_loadu_ps(old + 16 * c), value);
            u[i][c] = _mm512_mul_ps(beta, value);
        }
    }
}

/* u of all tokens, in place of S^T k. */
static AMX_INLINE void amx_delta_solve(const struct amx_delta *d, int64_t column)
{
    for (int64_t t = 0; t < d->n; t += AMX_DELTA_ROWS) {
        const float *scores = d->scores[0] + t * DELTA_CHUNK;
        __m512 u[AMX_DELTA_ROWS][AMX_DELTA_VECTORS];
        amx_delta_begin(d, t, column, u);
        for (int64_t j = 0; j < t; j++) {
            const float *before = d->sums[0] + j * AMX_DELTA_WIDTH;
            __m512 a = _mm512_loadu_ps(before), b = _mm512_loadu_ps(before + 16);
            SLM_UNROLL
            for (int i = 0; i < AMX_DELTA_ROWS; i++) {
                __m512 score = _mm512_set1_ps(scores[i * DELTA_CHUNK + j]);
                u[i][0] = _mm512_fmadd_ps(score, a, u[i][0]);
                u[i][1] = _mm512_fmadd_ps(score, b, u[i][1]);
            }
        }
        SLM_UNROLL
        for (int i = 0; i < AMX_DELTA_ROWS; i++) {
            float *to = d->sums[0] + (t + i) * AMX_DELTA_WIDTH;
            SLM_UNROLL
            for (int j = 0; j < i; j++) {
                __m512 score = _mm512_set1_ps(scores[i * DELTA_CHUNK + t + j]);
                u[i][0] = _mm512_fmadd_ps(score, u[j][0], u[i][0]);
                u[i][1] = _mm512_fmadd_ps(score, u[j][1], u[i][1]);
            }
            _mm512_storeu_ps(to, u[i][0]);
            _mm512_storeu_ps(to + 16, u[i][1]);
        }
    }
}

/* u as tiles, once as it is and once as it counts at the end; and S^T q becomes what o has of it. */
static AMX_INLINE void amx_delta_split_u(const struct amx_delta *d)
{
    for (int64_t t = 0; t < d->n; t += 2) {
        __m512 a_end = _mm512_set1_ps(d->ends[t]), b_end = _mm512_set1_ps(d->ends[t + 1]);
        __m512 a_decay = _mm512_set1_ps(d->decays[t]), b_decay = _mm512_set1_ps(d->decays[t + 1]);
        SLM_UNROLL
        for (int c = 0; c < AMX_DELTA_VECTORS; c++) {
            const float *u = d->sums[0] + t * AMX_DELTA_WIDTH + 16 * c;
            float *o = d->sums[1] + t * AMX_DELTA_WIDTH + 16 * c, *o_b = o + AMX_DELTA_WIDTH;
            __m512 a = _mm512_loadu_ps(u), b = _mm512_loadu_ps(u + AMX_DELTA_WIDTH);
            size_t at = (size_t)(c * (d->n / 32) + t / 32) * AMX_PARTS + (size_t)(t % 32) * 32;
            amx_delta_split_pair(d->u[0] + at, a, b, 2);
            amx_delta_split_pair(d->u[1] + at, _mm512_mul_ps(a_end, a), _mm512_mul_ps(b_end, b), 3);
            _mm512_storeu_ps(o, _mm512_mul_ps(a_decay, _mm512_loadu_ps(o)));
            _mm512_storeu_ps(o_b, _mm512_mul_ps(b_decay, _mm512_loadu_ps(o_b)));
        }
    }
}

static AMX_INLINE void amx_delta_store_o(const struct amx_delta *d, int64_t column)
{
    for (int64_t t = 0; t < d->job->n_token; t++) {
        float *to = d->job->o + t * d->job->o_stride + column;
        const float *o = d->sums[1] + t * AMX_DELTA_WIDTH;
        _mm512_storeu_ps(to, _mm512_loadu_ps(o));
        _mm512_storeu_ps(to + 16, _mm512_loadu_ps(o + 16));
    }
}

static SLM_NOINLINE AMX void amx_delta_columns(const struct amx_delta *d, int64_t column)
{
    const struct kernel_delta_job *job = d->job;
    size_t next = (size_t)d->steps * AMX_PARTS, chunk_next = (size_t)d->n / 32 * AMX_PARTS;
    amx_delta_split_state(d, column);
    AMX_FENCE;
    for (int64_t t = 0; t < d->n / AMX_SIDE; t += 2) {
        for (int i = 0; i < 2; i++) {
            amx_delta_zero();
            amx_delta_multiply(d->rows[i] + (size_t)t * next, next, d->state, next, d->steps, 2);
            amx_delta_store(d->sums[i] + t * AMX_SIDE * AMX_DELTA_WIDTH, AMX_DELTA_WIDTH);
        }
    }
    AMX_FENCE;
    amx_delta_solve(d, column);
    amx_delta_split_u(d);
    AMX_FENCE;
    for (int64_t t = 0; t < d->n / AMX_SIDE; t += 2) {
        float *o = d->sums[1] + t * AMX_SIDE * AMX_DELTA_WIDTH;
        amx_delta_load(o, AMX_DELTA_WIDTH);
        amx_delta_multiply(d->weights + (size_t)t * chunk_next, chunk_next, d->u[0], chunk_next,
                           t / 2 + 1, 2);
        amx_delta_store(o, AMX_DELTA_WIDTH);
    }
    for (int64_t i = 0; i < job->n_key / AMX_SIDE; i += 2) {
        float *to = job->to + i * AMX_SIDE * job->n_value + column;
        amx_delta_load(to, job->n_value);
        amx_delta_multiply(d->turned + (size_t)i * chunk_next, chunk_next, d->u[1], chunk_next,
                           d->n / 32, 3);
        amx_delta_store(to, job->n_value);
    }
    AMX_FENCE;
    amx_delta_store_o(d, column);
}

/* ---- The chunk ------------------------------------------------------------------------------- */

static AMX void amx_delta_run(const struct kernel_delta_job *job)
{
    struct amx_delta d;
    const int64_t element = AMX_PARTS / (AMX_SIDE * AMX_STEP); /* bytes of its parts */
    const int64_t tokens = DELTA_CHUNK * job->n_key * element;
    uint8_t *p = (uint8_t *)(job->scratch + 3 * DELTA_CHUNK);
    d.job = job;
    d.n = (job->n_token + 31) / 32 * 32;
    d.steps = job->n_key / AMX_STEP;
    d.decays = job->scratch;
    d.ends = d.decays + DELTA_CHUNK;
    d.betas = d.ends + DELTA_CHUNK;
    for (int i = 0; i < 2; i++) {
        d.scores[i] = (float *)(void *)p;
        d.sums[i] = d.scores[i] + DELTA_CHUNK * DELTA_CHUNK;
        d.u[i] = (uint8_t *)(d.sums[i] + DELTA_CHUNK * AMX_DELTA_WIDTH);
        d.rows[i] = d.u[i] + DELTA_CHUNK * AMX_DELTA_WIDTH * element;
        p = d.rows[i] + tokens;
    }
    d.pairs = p;
    d.turned = d.pairs + tokens;
    d.weights = d.turned + tokens;
    d.state = d.weights + DELTA_CHUNK * DELTA_CHUNK * element;
    SLM_ASSERT(d.state + job->n_key * AMX_DELTA_WIDTH * element ==
               (uint8_t *)(job->scratch + delta_chunk_floats(job->n_key)));
    _tile_loadconfig(&amx_config);
    amx_delta_keys(&d);
    amx_delta_scores(&d);
    for (int64_t column = 0; column < job->n_value; column += AMX_DELTA_WIDTH) {
        amx_delta_columns(&d, column);
    }
    _tile_release();
}

/* Whole chunks of 32, and what is left if there is enough of it; the rest one by one, and heads of other
 * sizes. */
static void amx_delta_chunk(const struct kernel_delta_job *job)
{
    struct kernel_delta_job part = *job;
    int64_t rest = job->n_token % 32;
    rest = rest >= AMX_DELTA_MIN ? 0 : rest;
    if (job->n_key < AMX_DELTA_KEY_MIN || job->n_key % AMX_STEP != 0 ||
        job->n_value % AMX_DELTA_WIDTH != 0) {
        rest = job->n_token;
    }
    if (rest < job->n_token) {
        part.n_token = job->n_token - rest;
        amx_delta_run(&part);
        part.from = part.to;
    }
    if (rest > 0) {
        int64_t first = job->n_token - rest;
        part.n_token = rest;
        part.q += first * job->n_key;
        part.k += first * job->n_key;
        part.gates += 2 * first;
        part.v += first * job->v_stride;
        part.o += first * job->o_stride;
        zmm_delta_net(&part);
    }
}

static void kernels_set_amx_delta(struct kernels *k)
{
    k->delta_chunk = amx_delta_chunk;
    k->delta_chunk_min = AMX_DELTA_MIN;
}

#undef AMX
#undef AMX_INLINE
#undef AMX_FEATURES

#endif /* x86-64 with Linux */
