/* x86.h - what the x86 files share: products by rows, of any vector length.
 *
 * One idea carries all products: a lane is a row. 8 or 16 rows of weights are unpacked 256 columns
 * at a time into a panel whose vectors hold four columns of all the rows; activations are broadcast
 * four columns at a time, and lane r of every sum belongs to row r. So there is no horizontal sum
 * at all, scales and minimums of the rows are vectors too, and transposing the packed bytes (before
 * nibbles are split) costs less than reading them from memory. The same panel serves two tokens and
 * hundreds; one token is a race with memory and is multiplied in registers, without a panel.
 *
 * Here stands what knows no vectors: which rows and tokens go together. x86_rows.inc has the
 * vectors, written once and included for each instruction set.
 *
 * Traps:
 * - Reads stay inside the rows asked for: a group that is not full is copied first.
 * - A y must not depend on how rows and tokens are grouped: every variant of a sum does the same
 *   operations in the same order. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

/* As C++ gcc 12 warns of what its own header leaves uninitialised on purpose. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__cplusplus)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

/* gcc would add up integers as a tree, with more sums alive than there are registers. */
#define X86_IN_ORDER(sum) __asm__("" : "+v"(sum))

/* Of an address as an integer: it may lie beyond the matrix, where a pointer may not. */
#define X86_PREFETCH(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define X86_DISTANCE 1024    /* bytes of a row between a read and the prefetch, for one token */
#define X86_DISTANCE_FEW 512 /* and for a few */

#define X86_COLUMNS 256      /* of a panel */
#define X86_ROWS_MOST 16     /* lanes */
#define X86_TAIL_STRIDE 1024 /* bytes of 256 columns of the widest type */
#define X86_TOGETHER 32      /* rows of panels that tokens pass over in turn, when there are many */
#define X86_SLAB 256         /* tokens that pass over a panel before it is unpacked again */

/* 1.5 * 2^23: added to its bits as an integer, a number below 2^22 is added to its value. */
#define X86_WHOLE 12582912.0f
#define X86_WHOLE_BITS 0x4b400000

/* In a super-block of 256 the first column of group j of part p: a part is 64 columns, two groups of 32 or four of 16. */
#define X86_GROUP_COLUMN(p, j, columns)                                                            \
    ((columns) == 32 ? 64 * (p) + 32 * (j) : 128 * ((p) / 2) + 16 * ((p) % 2) + 32 * (j))

/* Activations from some column on: token t is t * stride bytes behind the first. */
struct x86_tokens {
    const int8_t *q;
    const float *d;
    const float *s;       /* q8_0 */
    const int16_t *bsums; /* q8_k */
    const int32_t *sums;  /* what enum x86_sums says */
    size_t stride;
    size_t sums_stride;
};

/* Sums of activations that a format wants in a form of its own, made once in a call. */
enum x86_sums {
    X86_SUMS_NONE,
    X86_SUMS_32,   /* sums_32 - offset * sum of 32 columns */
    X86_SUMS_16,   /* -offset * sum of 16 columns; q8_k */
    X86_SUMS_PAIRS /* two sums of 32 columns, 16 bits each; q8_k */
};

/* How an encoding is multiplied. */
struct x86_format {
    const struct kernel_act *act;
    int32_t rows;       /* lanes: 8 or 16 */
    int32_t tokens;     /* that `dot` takes at most */
    int32_t panels;     /* that it takes at most, with all those tokens */
    size_t panel_bytes; /* a multiple of 64 */
    int32_t sums_32;    /* what those sums begin at */
    int32_t block_elements;
    int32_t block_bytes;
    int32_t offset; /* weights are stored as q + offset */
    enum x86_sums sums;
    /* the rows at w + r * stride, n_block blocks of each */
    void (*unpack)(void *panel, const uint8_t *w, size_t stride, int32_t n_block, size_t distance);
    /* acc[t * acc_stride + row] += n_32 times 32 columns of panels, the rows of one after those of
     * the other: of 1 with 1 to `tokens` tokens, or of `panels` with `tokens` */
    void (*dot)(float *acc, int64_t acc_stride, const void *panel, const struct x86_tokens *x,
                int32_t n_32, int32_t n_token, int32_t n_panel);
    /* Both for one token; or NULL. */
    void (*one)(float *acc, const uint8_t *w, size_t stride, const struct x86_tokens *x,
                int32_t n_block, size_t distance);
    int32_t unit; /* columns that unpack reads at least */
};

/* ---- Rows ------------------------------------------------------------------------------------ */

/* Fewer rows than lanes: what is there is copied and the rest is zero. */
static void x86_copy_tail(uint8_t *tail, const uint8_t *w, size_t stride, int64_t n_row,
                          int64_t n_lane, size_t bytes)
{
    memset(tail, 0, (size_t)n_lane * X86_TAIL_STRIDE);
    for (int64_t r = 0; r < n_row; r++) {
        memcpy(tail + r * X86_TAIL_STRIDE, w + (size_t)r * stride, bytes);
    }
}

/* Which rows go together, for the products of integers and of floats.
 *
 * Many tokens: X86_TOGETHER rows in order. Few tokens are a race with memory, whose prefetcher
 * likes few long streams in pages of their own: lane r reads rows r * each, r * each + 1, ... one
 * after the other, where each is the rows of the call divided by the lanes. Rows that are left over
 * come last. */
struct x86_rows {
    const uint8_t *w; /* of the first row */
    size_t row_bytes;
    size_t stride; /* from lane to lane */
    int64_t n_lane;
    int64_t n_row;   /* of these; a multiple of n_lane but for the last */
    int64_t row;     /* the first one's number */
    int64_t spacing; /* row r of these is row + r * spacing */
    int64_t step;    /* floats of a token in acc */
    size_t at_end;   /* how much farther the prefetches near the end of the rows reach */
};

/* The rows after the *done that are done; 0 if there are no more. row_bytes and n_lane are set. */
static int x86_next_rows(struct x86_rows *rows, const uint8_t *w, int64_t row0, int64_t row1,
                         int64_t *done, int together)
{
    int64_t n = row1 - row0, n_lane = rows->n_lane, each = n / n_lane, first = *done;
    if (first >= n) {
        return 0;
    }
    rows->step = together ? X86_TOGETHER : n_lane;
    rows->n_row = min_i64(rows->step, n - first);
    if (!together && rows->n_row == n_lane) {
        rows->row = row0 + first / n_lane;
        rows->spacing = each;
        rows->at_end =
            first / n_lane + 1 < each ? 0 : (size_t)((n_lane - 1) * each) * rows->row_bytes;
    } else {
        rows->row = row0 + first;
        rows->spacing = 1;
        rows->at_end = (size_t)(rows->step - 1) * rows->row_bytes;
    }
    rows->stride = (size_t)rows->spacing * rows->row_bytes;
    rows->w = w + (size_t)rows->row * rows->row_bytes;
    *done += rows->n_row;
    return 1;
}

static size_t x86_distance(const struct x86_rows *rows, size_t offset, size_t distance)
{
    return offset + distance < rows->row_bytes ? distance : distance + rows->at_end;
}

static void x86_store_rows(float *y, int64_t y_stride, const float *acc,
                           const struct x86_rows *rows, int64_t n_token)
{
    for (int64_t t = 0; t < n_token; t++) {
        float *to = y + t * y_stride + rows->row;
        const float *from = acc + t * rows->step;
        if (rows->n_row == X86_TOGETHER && rows->spacing == 1) {
            memcpy(to, from, X86_TOGETHER * sizeof(float));
            continue;
        }
        for (int64_t r = 0; r < rows->n_row; r++) {
            to[r * rows->spacing] = from[r];
        }
    }
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* As an integer: it may lie beyond the last token, where a pointer may not. */
static const void *x86_token_plane(const void *plane, size_t stride, int32_t t)
{
    return (const void *)((uintptr_t)plane + (size_t)t * stride);
}

static const int8_t *x86_token_q(const struct x86_tokens *x, int32_t t)
{
    return (const int8_t *)x86_token_plane(x->q, x->stride, t);
}

static float x86_token_d(const struct x86_tokens *x, int32_t t, int32_t i)
{
    return ((const float *)x86_token_plane(x->d, x->stride, t))[i];
}

static float x86_token_s(const struct x86_tokens *x, int32_t t, int32_t i)
{
    return ((const float *)x86_token_plane(x->s, x->stride, t))[i];
}

static int32_t x86_token_sum(const struct x86_tokens *x, int32_t t, int32_t i)
{
    return ((const int32_t *)x86_token_plane(x->sums, x->sums_stride, t))[i];
}

static int32_t x86_sum_columns(enum x86_sums sums)
{
    return sums == X86_SUMS_NONE ? 0 : sums == X86_SUMS_32 ? 32 : sums == X86_SUMS_16 ? 16 : 64;
}

/* Of a token: the sums of k columns. */
static size_t x86_sums_bytes(enum x86_sums sums, int64_t k)
{
    return sums == X86_SUMS_NONE ? 0 : act_pad((size_t)(k / x86_sum_columns(sums)) * 4);
}

/* Of 32 bytes, by way of unsigned bytes: x + 128. */
static int32_t x86_sum_of_32(const int8_t *q)
{
    __m128i flip = _mm_set1_epi8((char)0x80), zero = _mm_setzero_si128();
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)q);
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(q + 16));
    a = _mm_add_epi64(_mm_sad_epu8(_mm_xor_si128(a, flip), zero),
                      _mm_sad_epu8(_mm_xor_si128(b, flip), zero));
    return _mm_cvtsi128_si32(a) + _mm_cvtsi128_si32(_mm_unpackhi_epi64(a, a)) - 32 * 128;
}

static void x86_make_sums(int32_t *sums, const struct x86_format *f, const uint8_t *row, int64_t k)
{
    if (f->sums == X86_SUMS_32) {
        const int8_t *q = act_q8_0_at((void *)(uintptr_t)row, k).q;
        for (int64_t i = 0; i < k / 32; i++) {
            sums[i] = f->sums_32 - f->offset * x86_sum_of_32(q + 32 * i);
        }
        return;
    }
    const int16_t *bsums = act_q8_k_at((void *)(uintptr_t)row, k).bsums;
    for (int64_t i = 0; f->sums == X86_SUMS_16 && i < k / 16; i++) {
        sums[i] = -f->offset * bsums[i];
    }
    for (int64_t i = 0; f->sums == X86_SUMS_PAIRS && i < k / 64; i++) {
        const int16_t *four = bsums + 4 * i;
        sums[i] = (int32_t)((uint32_t)(uint16_t)(four[0] + four[1]) | (uint32_t)(four[2] + four[3])
                                                                          << 16);
    }
}

/* ---- Scales ---------------------------------------------------------------------------------- */

/* Which bytes of a 32-bit word become its two 16-bit numbers. */
enum x86_two_bytes {
    X86_BYTE_0, /* twice */
    X86_BYTE_1,
    X86_BYTE_2,
    X86_BYTE_3,
    X86_BYTES_0_1,
    X86_BYTES_2_3
};

/* As pshufb wants it: to the upper half of each number. A table, because constants worked out from
 * such numbers cost compilers seconds. */
#define X86_TWO_BYTES(a, b)                                                                        \
    {                                                                                              \
        128, a, 128, b, 128, a + 4, 128, b + 4, 128, a + 8, 128, b + 8, 128, a + 12, 128, b + 12   \
    }
static const uint8_t x86_two_bytes_at[6][16] = {
    X86_TWO_BYTES(0, 0), X86_TWO_BYTES(1, 1), X86_TWO_BYTES(2, 2),
    X86_TWO_BYTES(3, 3), X86_TWO_BYTES(0, 1), X86_TWO_BYTES(2, 3),
};
#undef X86_TWO_BYTES

/* ---- Products of integers -------------------------------------------------------------------- */

/* What a call needs. */
struct x86_scratch {
    uint8_t *panels;
    uint8_t *tail; /* rows of a group that is not full */
    int32_t *sums; /* [slab][k / columns of a sum] */
    float *acc;    /* [slab][step] */
    size_t sums_stride;
};

static size_t x86_panels_bytes(const struct x86_format *f)
{
    return X86_TOGETHER / (size_t)f->rows * f->panel_bytes;
}

static struct x86_scratch x86_scratch_at(const struct x86_format *f, void *scratch, int64_t n_token,
                                         int64_t k)
{
    struct x86_scratch s;
    s.panels = (uint8_t *)scratch;
    s.tail = s.panels + x86_panels_bytes(f);
    s.sums = (int32_t *)(void *)(s.tail + X86_ROWS_MOST * X86_TAIL_STRIDE);
    s.sums_stride = x86_sums_bytes(f->sums, k);
    s.acc = (float *)(void *)((uint8_t *)s.sums + (size_t)n_token * s.sums_stride);
    return s;
}

static size_t x86_scratch_bytes(const struct x86_format *f, int64_t n_token, int64_t k)
{
    size_t n = (size_t)min_i64(n_token, X86_SLAB);
    return x86_panels_bytes(f) + X86_ROWS_MOST * X86_TAIL_STRIDE +
           n * (x86_sums_bytes(f->sums, k) + X86_TOGETHER * sizeof(float));
}

static void x86_prefetch(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        X86_PREFETCH((uintptr_t)p + i);
    }
}

/* What the next pass reads of n tokens; they may lie beyond the last. */
static void x86_prefetch_tokens(const struct x86_tokens *x, int32_t n)
{
    for (int32_t t = n; t < 2 * n; t++) {
        x86_prefetch(x86_token_q(x, t), X86_COLUMNS);
        X86_PREFETCH(x86_token_plane(x->d, x->stride, t));
        X86_PREFETCH(x86_token_plane(x->sums, x->sums_stride, t));
    }
}

/* A call, or a slab of it. A chunk is X86_COLUMNS columns. */
struct x86_product {
    const struct x86_format *f;
    struct x86_scratch s;
    struct x86_tokens x; /* from the first column on */
    float *y;
    int64_t y_stride;
    int64_t n_token;
    int64_t k;
    size_t chunk_bytes;   /* of a row */
    int64_t chunk_scales; /* x.d and x.s, */
    int64_t chunk_sums;   /* and x.sums of a chunk */
    int together;
};

static void x86_begin_tokens(struct x86_product *c, const uint8_t *act)
{
    memset(&c->x, 0, sizeof c->x);
    c->x.stride = c->f->act->row_bytes(c->k);
    c->x.sums = c->s.sums;
    c->x.sums_stride = c->s.sums_stride;
    if (c->f->act->name[3] == 'k') {
        struct act_q8_k_planes planes = act_q8_k_at((void *)(uintptr_t)act, c->k);
        c->x.q = planes.q;
        c->x.d = planes.d;
        c->x.bsums = planes.bsums;
        c->chunk_scales = 1;
    } else {
        struct act_q8_0_planes planes = act_q8_0_at((void *)(uintptr_t)act, c->k);
        c->x.q = planes.q;
        c->x.d = planes.d;
        c->x.s = planes.s;
        c->chunk_scales = X86_COLUMNS / 32;
    }
}

/* Token t from column on. */
static struct x86_tokens x86_tokens_at(const struct x86_product *c, int64_t t, int64_t column)
{
    struct x86_tokens x = c->x;
    size_t row = (size_t)t * x.stride, chunk = (size_t)column / X86_COLUMNS;
    size_t scales = row + chunk * (size_t)c->chunk_scales * sizeof(float);
    size_t sums = (size_t)t * x.sums_stride + chunk * (size_t)c->chunk_sums * sizeof(int32_t);
    x.q = (const int8_t *)x86_token_plane(x.q, row + (size_t)column, 1);
    x.d = (const float *)x86_token_plane(x.d, scales, 1);
    x.s = (const float *)x86_token_plane(x.s, scales, 1);
    x.bsums = (const int16_t *)x86_token_plane(x.bsums, row + chunk * (X86_COLUMNS / 16) * 2, 1);
    x.sums = (const int32_t *)x86_token_plane(x.sums, sums, 1);
    return x;
}

/* What comes after the pass of tokens t.. over panels is fetched meanwhile: a part of the rows'
 * next columns, and in the end where y is written for the next tokens. */
static void x86_fetch_next(const struct x86_product *c, const struct x86_rows *rows, int64_t column,
                           int64_t t)
{
    const struct x86_format *f = c->f;
    int64_t next = min_i64(t + f->tokens, c->n_token), end = min_i64(next + f->tokens, c->n_token);
    size_t offset = (size_t)(column / X86_COLUMNS + 1) * c->chunk_bytes;
    if (column + X86_COLUMNS >= c->k) {
        offset = (size_t)rows->n_row * rows->row_bytes;
        for (int64_t i = next; i < end; i++) {
            x86_prefetch(c->y + i * c->y_stride + rows->row, X86_TOGETHER * sizeof(float));
        }
    }
    for (int64_t r = rows->n_row * t / c->n_token; r < rows->n_row * next / c->n_token; r++) {
        x86_prefetch((const void *)((uintptr_t)rows->w + (size_t)r * rows->row_bytes + offset),
                     c->chunk_bytes + 63);
    }
}

/* Before and after acc has got these columns for n tokens from t on: */
static void x86_begin_sums(const struct x86_product *c, const struct x86_rows *rows, int64_t column,
                           int64_t t, int64_t n)
{
    if (column == 0) {
        memset(c->s.acc + t * rows->step, 0, (size_t)(n * rows->step) * sizeof(float));
    }
}

static void x86_end_sums(const struct x86_product *c, const struct x86_rows *rows, int64_t column,
                         int64_t t, int64_t n)
{
    if (column + X86_COLUMNS >= c->k) {
        x86_store_rows(c->y + t * c->y_stride, c->y_stride, c->s.acc + t * rows->step, rows, n);
    }
}

/* acc += panels of these rows with all tokens. */
static void x86_multiply_panels(const struct x86_product *c, const struct x86_rows *rows,
                                int64_t column)
{
    const struct x86_format *f = c->f;
    int32_t n_32 = (int32_t)min_i64(X86_COLUMNS, c->k - column) / 32;
    for (int64_t t = 0; t < c->n_token; t += f->tokens) {
        int32_t n = (int32_t)min_i64(f->tokens, c->n_token - t);
        int32_t n_panel = n == f->tokens && rows->n_row > f->rows ? f->panels : 1;
        struct x86_tokens x = x86_tokens_at(c, t, column);
        const uint8_t *panel = c->s.panels;
        float *acc = c->s.acc + t * rows->step;
        if (c->together) {
            x86_prefetch_tokens(&x, n);
            x86_fetch_next(c, rows, column, t);
        }
        x86_begin_sums(c, rows, column, t, n);
        for (int64_t r = 0; r < rows->n_row; r += f->rows * n_panel) {
            f->dot(acc + r, rows->step, panel, &x, n_32, n, n_panel);
            panel += (size_t)n_panel * f->panel_bytes;
        }
        x86_end_sums(c, rows, column, t, n);
    }
}

/* acc += these rows, 256 columns of them, with all tokens. */
static void x86_multiply_columns(const struct x86_product *c, const struct x86_rows *rows,
                                 int64_t column)
{
    const struct x86_format *f = c->f;
    int32_t n_block = (int32_t)min_i64(X86_COLUMNS, c->k - column) / f->block_elements;
    size_t offset = (size_t)(column / X86_COLUMNS) * c->chunk_bytes;
    int one = c->n_token == 1 && f->one != NULL;
    size_t distance =
        c->together ? 0 : x86_distance(rows, offset, one ? X86_DISTANCE : X86_DISTANCE_FEW);
    struct x86_tokens x = x86_tokens_at(c, 0, column);
    if (one) {
        x86_begin_sums(c, rows, column, 0, 1);
    }
    for (int64_t i = 0; i * f->rows < rows->n_row; i++) {
        size_t stride = rows->stride;
        const uint8_t *p = rows->w + (size_t)(i * f->rows) * rows->row_bytes + offset;
        int64_t n_row = min_i64(rows->n_row - i * f->rows, f->rows);
        if (n_row < f->rows || n_block * f->block_elements < f->unit) {
            x86_copy_tail(c->s.tail, p, stride, n_row, f->rows,
                          (size_t)n_block * (size_t)f->block_bytes);
            p = c->s.tail;
            stride = X86_TAIL_STRIDE;
        }
        if (one) {
            f->one(c->s.acc + i * f->rows, p, stride, &x, n_block, distance);
        } else {
            f->unpack(c->s.panels + (size_t)i * f->panel_bytes, p, stride, n_block, distance);
        }
    }
    if (one) {
        x86_end_sums(c, rows, column, 0, 1);
    } else {
        x86_multiply_panels(c, rows, column);
    }
}

#define X86_TOGETHER_MIN 16 /* tokens */

static SLM_NOINLINE void x86_multiply(const struct x86_format *f, float *y, int64_t y_stride,
                                      const uint8_t *w, int64_t row0, int64_t row1,
                                      const void *act_rows, int64_t n_token, int64_t k,
                                      void *scratch)
{
    struct x86_rows rows;
    struct x86_product c;
    size_t act_bytes = f->act->row_bytes(k);
    rows.row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    rows.n_lane = f->rows;
    c.f = f;
    c.y_stride = y_stride;
    c.k = k;
    c.chunk_bytes = (size_t)(X86_COLUMNS / f->block_elements * f->block_bytes);
    c.chunk_sums = f->sums == X86_SUMS_NONE ? 0 : X86_COLUMNS / x86_sum_columns(f->sums);
    c.together = n_token >= X86_TOGETHER_MIN;
    for (int64_t first = 0; first < n_token; first += X86_SLAB) {
        int64_t done = 0;
        c.n_token = min_i64(X86_SLAB, n_token - first);
        const uint8_t *act = (const uint8_t *)act_rows + (size_t)first * act_bytes;
        c.y = y + first * y_stride;
        c.s = x86_scratch_at(f, scratch, c.n_token, k);
        x86_begin_tokens(&c, act);
        for (int64_t t = 0; f->sums != X86_SUMS_NONE && t < c.n_token; t++) {
            x86_make_sums((int32_t *)(void *)((uint8_t *)c.s.sums + (size_t)t * c.s.sums_stride), f,
                          act + (size_t)t * act_bytes, k);
        }
        while (x86_next_rows(&rows, w, row0, row1, &done, c.together)) {
            for (int64_t column = 0; column < k; column += X86_COLUMNS) {
                x86_multiply_columns(&c, &rows, column);
            }
        }
    }
}

#endif /* x86-64 */
