/* kernels.h - everything that touches numbers in bulk: block formats, the table of kernels, and the
 * contract of each entry.
 *
 * ref.c is the specification: it fills every entry. A file per instruction set (x86_avx2.c, ...)
 * overrides what it does better; cpu.c builds the table, reference first, then overrides in rising
 * order. No caller asks whether an entry is NULL: only what no model can need is, since the build
 * leaves it out. The table lives in the model: no globals. */

/* ---- Compiler -------------------------------------------------------------------------------- */

/* Every fast function carries its own target, so that one plain -O2 object runs everywhere. gcc
 * also needs the level: a -O0 build of the host would make intrinsics 10 times slower. */
#if defined(__clang__) || (defined(__GNUC__) && defined(SLM_DEBUG))
#define SLM_TARGET(features) __attribute__((target(features)))
#elif defined(__GNUC__)
#define SLM_TARGET(features) __attribute__((target(features), optimize("O2", "fp-contract=off")))
#else
#define SLM_TARGET(features)
#endif

/* Helpers of a fast function carry the same target and are inlined into it; not where sanitizers
 * watch, which would then be busy for minutes with the thousands of copies. */
#if defined(SLM_DEBUG)
#define SLM_INLINE_TARGET(features) SLM_TARGET(features) __attribute__((unused))
#else
#define SLM_INLINE_TARGET(features) SLM_TARGET(features) __attribute__((always_inline)) inline
#endif

/* The small loops over tokens, rows and words index registers: they must disappear. gcc unrolls them
 * at -O2 only when told. */
#if defined(SLM_DEBUG)
#define SLM_UNROLL
#elif defined(__clang__)
#define SLM_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SLM_UNROLL _Pragma("GCC unroll 16")
#else
#define SLM_UNROLL
#endif

/* ---- Block formats (shared/spec: quants.md) -------------------------------------------------- */

/* Little-endian bytes only, so that alignment is 1: a model in memory may start at any address. The
 * comment gives the value of element e. All 32-element types put element j of 0..15 in the low and
 * j + 16 in the high nibble of qs[j]. */

enum {
    ENC_F32 = 0,
    ENC_F16 = 1,
    ENC_Q4_0 = 2,
    ENC_Q4_1 = 3,
    ENC_Q5_0 = 6,
    ENC_Q5_1 = 7,
    ENC_Q8_0 = 8,
    ENC_Q8_1 = 9,
    ENC_Q2_K = 10,
    ENC_Q3_K = 11,
    ENC_Q4_K = 12,
    ENC_Q5_K = 13,
    ENC_Q6_K = 14,
    ENC_Q8_K = 15,
    ENC_IQ2_XXS = 16,
    ENC_IQ2_XS = 17,
    ENC_IQ3_XXS = 18,
    ENC_IQ1_S = 19,
    ENC_IQ4_NL = 20,
    ENC_IQ3_S = 21,
    ENC_IQ2_S = 22,
    ENC_IQ4_XS = 23,
    ENC_I8 = 24,
    ENC_I16 = 25,
    ENC_I32 = 26,
    ENC_I64 = 27,
    ENC_F64 = 28,
    ENC_IQ1_M = 29,
    ENC_BF16 = 30,
    ENC_TQ1_0 = 34,
    ENC_TQ2_0 = 35,
    ENC_MXFP4 = 39,
    ENC_NVFP4 = 40,
    ENC_Q1_0 = 41,
    ENC_Q2_0 = 42,
    ENC_COUNT = 43
};

struct block_q4_0 { /* (q - 8) * d */
    uint8_t d[2], qs[16];
};
struct block_q4_1 { /* q * d + m */
    uint8_t d[2], m[2], qs[16];
};
struct block_q5_0 { /* (q - 16) * d, bit e of qh is the fifth bit */
    uint8_t d[2], qh[4], qs[16];
};
struct block_q5_1 { /* q * d + m */
    uint8_t d[2], m[2], qh[4], qs[16];
};
struct block_q8_0 { /* (int8)qs[e] * d */
    uint8_t d[2], qs[32];
};
struct block_q2_k { /* (d * scale) * q - (dmin * min), 16 sub-blocks */
    uint8_t scales[16], qs[64], d[2], dmin[2];
};
struct block_q3_k { /* (d * scale) * q */
    uint8_t hmask[32], qs[64], scales[12], d[2];
};
struct block_q4_k { /* (d * scale) * q - (dmin * min), 8 sub-blocks */
    uint8_t d[2], dmin[2], scales[12], qs[128];
};
struct block_q5_k { /* as q4_k with a fifth bit */
    uint8_t d[2], dmin[2], scales[12], qh[32], qs[128];
};
struct block_q6_k { /* (d * scale) * (q - 32), 16 sub-blocks */
    uint8_t ql[128], qh[64], scales[16], d[2];
};
struct block_iq2_xxs {
    uint8_t d[2], qs[64];
};
struct block_iq2_xs {
    uint8_t d[2], qs[64], scales[8];
};
struct block_iq2_s {
    uint8_t d[2], qs[32], signs[32], qh[8], scales[8];
};
struct block_iq3_xxs {
    uint8_t d[2], qs[64], sas[32];
};
struct block_iq3_s {
    uint8_t d[2], qs[64], qh[8], signs[32], scales[4];
};
struct block_iq1_s {
    uint8_t d[2], qs[32], qh[16];
};
struct block_iq1_m {
    uint8_t qs[32], qh[16], scales[8];
};
struct block_iq4_nl { /* d * T[q] */
    uint8_t d[2], qs[16];
};
struct block_iq4_xs { /* (d * (scale - 32)) * T[q] */
    uint8_t d[2], scales_h[2], scales_l[4], qs[128];
};
struct block_tq1_0 {
    uint8_t qs[48], qh[4], d[2];
};
struct block_tq2_0 {
    uint8_t qs[64], d[2];
};
struct block_mxfp4 { /* F[q] * 2^(e - 128) */
    uint8_t e, qs[16];
};
struct block_nvfp4 {
    uint8_t d[4], qs[32];
};
struct block_q1_0 {
    uint8_t d[2], qs[16];
};
struct block_q2_0 {
    uint8_t d[2], qs[16];
};

SLM_STATIC_ASSERT(sizeof(struct block_q4_0) == 18, "q4_0");
SLM_STATIC_ASSERT(sizeof(struct block_q4_1) == 20, "q4_1");
SLM_STATIC_ASSERT(sizeof(struct block_q5_0) == 22, "q5_0");
SLM_STATIC_ASSERT(sizeof(struct block_q5_1) == 24, "q5_1");
SLM_STATIC_ASSERT(sizeof(struct block_q8_0) == 34, "q8_0");
SLM_STATIC_ASSERT(sizeof(struct block_q2_k) == 84, "q2_k");
SLM_STATIC_ASSERT(sizeof(struct block_q3_k) == 110, "q3_k");
SLM_STATIC_ASSERT(sizeof(struct block_q4_k) == 144, "q4_k");
SLM_STATIC_ASSERT(sizeof(struct block_q5_k) == 176, "q5_k");
SLM_STATIC_ASSERT(sizeof(struct block_q6_k) == 210, "q6_k");
SLM_STATIC_ASSERT(sizeof(struct block_iq2_xxs) == 66, "iq2_xxs");
SLM_STATIC_ASSERT(sizeof(struct block_iq2_xs) == 74, "iq2_xs");
SLM_STATIC_ASSERT(sizeof(struct block_iq2_s) == 82, "iq2_s");
SLM_STATIC_ASSERT(sizeof(struct block_iq3_xxs) == 98, "iq3_xxs");
SLM_STATIC_ASSERT(sizeof(struct block_iq3_s) == 110, "iq3_s");
SLM_STATIC_ASSERT(sizeof(struct block_iq1_s) == 50, "iq1_s");
SLM_STATIC_ASSERT(sizeof(struct block_iq1_m) == 56, "iq1_m");
SLM_STATIC_ASSERT(sizeof(struct block_iq4_nl) == 18, "iq4_nl");
SLM_STATIC_ASSERT(sizeof(struct block_iq4_xs) == 136, "iq4_xs");
SLM_STATIC_ASSERT(sizeof(struct block_tq1_0) == 54, "tq1_0");
SLM_STATIC_ASSERT(sizeof(struct block_tq2_0) == 66, "tq2_0");
SLM_STATIC_ASSERT(sizeof(struct block_mxfp4) == 17, "mxfp4");
SLM_STATIC_ASSERT(sizeof(struct block_nvfp4) == 36, "nvfp4");
SLM_STATIC_ASSERT(sizeof(struct block_q1_0) == 18, "q1_0");
SLM_STATIC_ASSERT(sizeof(struct block_q2_0) == 18, "q2_0");

/* One row of the format table kernel_formats[ENC_COUNT] (ref.c). block_elements 0 marks an id that
 * does not exist. decode is NULL for types that only stand beside weights (integers, Q8_1, Q8_K).
 */
/* y[0..n-1] = the values of n elements at src; n is a multiple of block_elements. */
typedef void (*kernel_decode_fn)(float *y, const uint8_t *src, int64_t n);
/* 1 if any scale or element of these n is NaN or infinite (quants.md section 6). */
typedef int (*kernel_nonfinite_fn)(const uint8_t *src, int64_t n);

struct kernel_format {
    const char *name;
    int32_t block_elements;
    int32_t block_bytes;
    kernel_decode_fn decode; /* NULL: no encoding of weights, or left out of this build */
    kernel_nonfinite_fn has_nonfinite;
};

/* ---- Activations ----------------------------------------------------------------------------- */

/* A form in which the inputs of a product are stored. Written once per input; all matrices whose
 * kernels name the same form share it. Groups of tokens are independent, so that several tasks may
 * prepare parts of one input. */
struct kernel_act {
    const char *name;
    /* Tokens that stand together: token t belongs to group t / group, which begins at
     * act + (t / group) * group * row_bytes(k). 1: a token has a row of its own. */
    int32_t group;
    /* Bytes that a token of k elements takes; a multiple of 64. */
    size_t (*row_bytes)(int64_t k);
    /* The groups of tokens 0..n_token-1 <- x[t * k]; the last may be cut short, and its whole space
     * may be written. act is 64-byte aligned, x is f32 aligned. k is a multiple of the block of
     * every encoding that uses the form. NaN and infinity in x are allowed: they must not trap, be
     * undefined behaviour or index anything; what the products of such a token are is not said. */
    void (*prepare)(void *act, const float *x, int64_t n_token, int64_t k);
};

/* Blocks of the int8 forms. Unlike weights they are ours: aligned, native byte order.
 *
 * act_q8_0: per 32 elements. d = amax / 127 rounded to f16 and back (what llama.cpp multiplies by),
 * q = nearest(x * (127 / amax)), half to even. Stored as planes:
 *     int8_t q[k]; then float d[k / 32]; then float s[k / 32]
 * where s = unrounded d * (sum of q), rounded to f16 and back: for types with a minimum (Q4_1,
 * Q5_1).
 *
 * act_q8_k: per 256 elements. m = element of largest magnitude (first wins), iscale = -127 / m,
 * q = min(127, nearest_int(iscale * x)), d = 1 / iscale. Stored as planes:
 *     int8_t q[k]; then float d[k / 256]; then int16_t bsums[k / 16] (sums of 16 q)
 *
 * act_f32: float x[k], the input itself.
 *
 * Each plane begins at a multiple of 64 bytes from the start of the row. */
struct act_q8_0_planes {
    int8_t *q;
    float *d;
    float *s;
};
struct act_q8_k_planes {
    int8_t *q;
    float *d;
    int16_t *bsums;
};

/* Tokens whose space n_token of them take. */
static int64_t act_tokens(const struct kernel_act *form, int64_t n_token)
{
    return (n_token + form->group - 1) / form->group * form->group;
}

static size_t act_pad(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static struct act_q8_0_planes act_q8_0_at(void *row, int64_t k)
{
    uint8_t *p = (uint8_t *)row;
    size_t q = act_pad((size_t)k);
    struct act_q8_0_planes planes = {(int8_t *)p, (float *)(void *)(p + q),
                                     (float *)(void *)(p + q + act_pad((size_t)k / 32 * 4))};
    return planes;
}

static struct act_q8_k_planes act_q8_k_at(void *row, int64_t k)
{
    uint8_t *p = (uint8_t *)row;
    size_t q = act_pad((size_t)k);
    struct act_q8_k_planes planes = {(int8_t *)p, (float *)(void *)(p + q),
                                     (int16_t *)(void *)(p + q + act_pad((size_t)k / 256 * 4))};
    return planes;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* Weights are used where they lie: row r of a matrix with k columns begins at
 *     w + r * (k / block_elements) * block_bytes
 * at any alignment. */
struct kernel_product {
    const struct kernel_act *act;
    /* Scratch for one call, 64-byte aligned; may be 0. Panels live there, not on the stack (frames
     * stay under 4 KiB). */
    size_t (*scratch_bytes)(int64_t n_token, int64_t k);
    /* y[t * y_stride + r] = dot(row r of w, token t) for r in row0..row1-1, t in 0..n_token-1.
     * Calls nothing outside its file, waits for nobody, writes nothing else. Rows and tokens are
     * any number >= 1. Each y depends only on its row, its token and k: not on row0, row1, and for
     * the `one` product not on n_token either (it may be called with several tokens; that is what
     * SLM_CONTEXT_BATCH_INVARIANT uses). Reads no byte outside rows row0..row1-1. */
    void (*multiply)(float *y, int64_t y_stride, const uint8_t *w, int64_t row0, int64_t row1,
                     const void *act, int64_t n_token, int64_t k, void *scratch);
};

/* An encoding has up to three products: one token, a few, and panels of weights for many. Which is
 * used is decided by measured numbers. */
struct kernel_matrix {
    const struct kernel_product *one;
    const struct kernel_product *few;  /* for n_token >= few_min */
    const struct kernel_product *many; /* for n_token >= many_min */
    int32_t few_min;
    int32_t many_min;
};

/* ---- Attention ------------------------------------------------------------------------------- */

#define KV_PAGE 128 /* positions of a page */

/* Queries that share one kv head against a run of positions. Gives a partial: for query i
 *     max[i] = max of s_p,  sum[i] = sum of exp(s_p - max[i]),  out[i] = sum of exp(s_p - max[i])
 * v_p over the positions p of the run with from[i] <= p < to[i], where s_p = dot(q_i, k_p), and
 * with softcap c != 0 s_p = c * tanh(dot / c), with slopes s_p = dot - slopes[i] * |at[i] - p|
 * (ALiBi: Press et al. 2021). No visible position: max = -infinity, sum = 0, out =
 * 0. Partials are merged by the caller in order of position. Each query's result depends only on
 * its own q, from, to and the run: not on which queries share the call. What no query sees may hold
 * anything, NaN too; it may be read where its page is one of the run. */
struct kernel_attention_job {
    const float *q; /* [n_q][head_dim], scaled; query i at q + i * q_stride */
    int64_t q_stride;
    int32_t n_q;
    int32_t head_dim;             /* of q and k, any number >= 1 */
    int32_t head_dim_v;           /* of v and out */
    const uint8_t *const *pages;  /* pages[p / KV_PAGE] holds position p; only those of the run */
    size_t k_offset;              /* in a page: k of this kv head, [KV_PAGE][head_dim] */
    size_t v_offset;              /* in a page: v of this kv head, [KV_PAGE][head_dim_v] */
    int32_t position0, position1; /* the run */
    const int32_t *from, *to;     /* [n_q] */
    float softcap;
    float *max; /* [n_q] */
    float *sum; /* [n_q] */
    float *out; /* query i at out + i * out_stride */
    int64_t out_stride;
    const float *slopes; /* [n_q] or NULL; not with softcap */
    const int32_t *at;   /* [n_q] positions of the queries, wanted with slopes */
};

#define KV_F16 0
#define KV_F32 1
#define KV_COUNT 2

/* Scratch bytes that an attention kernel may use for n_q queries: scores, and 64 columns of a page
 * as f32. */
#define ATTENTION_SCRATCH(n_q) (((size_t)(n_q) + 64) * KV_PAGE * 4 + 64)

/* ---- State spaces ---------------------------------------------------------------------------- */

/* n channels and their state move on by one token, for s < n_state and i < n:
 *     state[s][i] = decay * state[s][i] + b[s] * (step * x[i])
 *     y[i] = sum over s of c[s] * state[s][i], in order of s,  + skip * x[i]
 * decay is exp(step[i] * a[s][i]). Nothing overlaps. */
struct kernel_ssm {
    float *y;       /* [n] */
    float *state;   /* [n_state][n] */
    const float *x; /* [n] */
    const float *b; /* [n_state] */
    const float *c; /* [n_state] */
    int64_t n_state;
    int64_t n;
};

struct kernel_ssm_channels {
    const float *step; /* [n] */
    const float *a;    /* [n_state] rows a_stride apart of [n] */
    int64_t a_stride;
    const float *skip; /* [n] */
};

/* A head over n_token tokens, one after the other: n tokens in one call give the same bits as in
 * several. */
struct kernel_ssm_head {
    const float *from; /* [n_state][n] the state before; may be `to`, else does not overlap it */
    float *to;         /* [n_state][n] after */
    int64_t n_state;
    int64_t n;
    int64_t n_token;
    const float *x; /* [n] of the first token; x, b and c of the next are `stride` behind */
    const float *b; /* [n_state] */
    const float *c; /* [n_state] */
    int64_t stride;
    const float *gates; /* [n_token][2] step, decay */
    float skip;
    float *y; /* token t at y + t * y_stride; overlaps nothing */
    int64_t y_stride;
    int32_t
        is_far; /* `to` is not read again before it has left all caches: they may be passed by */
};

/* ---- Convolutions ---------------------------------------------------------------------------- */

/* A causal convolution of each channel by itself over n_token tokens, one after the other. z being the
 * n_conv - 1 rows of the state, the oldest first, and then x of a token: x becomes bias + sum over j of
 * kernel[j] * z[j], in order of j, through SiLU if `silu` is set, and the state the last n_conv - 1 of
 * z. Rows of states and kernel are `width` apart. */
struct kernel_conv {
    float *x; /* [n] of the first token, the next ones `stride` behind; overlaps nothing */
    int64_t stride;
    const float *from; /* the state before; may be `to`, else does not overlap it */
    float *to;         /* after */
    const float *kernel;
    const float *bias; /* NULL: 0 */
    int64_t n;
    int64_t width;
    int64_t n_token;
    int32_t n_conv; /* 1 or more */
    int32_t silu;
};

/* ---- The delta rule --------------------------------------------------------------------------- */

/* A head of a gated delta net over n_token tokens, one after the other. The state S has a row for
 * each element of a key and a column for each element of a value; token t makes
 *
 *     d = beta * (v - decay * S^T k),   S = decay * S + k d^T,   o = S^T q
 *
 * Columns are independent of each other, and each sum over the rows is in an order that depends on
 * n_key alone: n tokens in one call give the same bits as in several. */
struct kernel_delta_job {
    const float *from; /* [n_key][n_value] S before; may be `to`, else does not overlap it */
    float *to;         /* [n_key][n_value] S after */
    int64_t n_key;
    int64_t n_value;
    int64_t n_token;
    const float *q;     /* [n_token][n_key] */
    const float *k;     /* [n_token][n_key] */
    const float *gates; /* [n_token][2] decay, beta */
    const float *v;     /* token t at v + t * v_stride */
    int64_t v_stride;
    float *o; /* token t at o + t * o_stride; overlaps nothing */
    int64_t o_stride;
    float *scratch; /* 64-byte aligned: [n_key][DELTA_COLUMNS], or delta_chunk_floats(n_key) */
    int32_t is_far; /* as in kernel_ssm_head */
};

#define DELTA_COLUMNS 64 /* of the state, that a kernel may keep together in its scratch */
#define DELTA_CHUNK 64   /* tokens of a call of delta_chunk, at most */

/* The same for up to DELTA_CHUNK tokens at once, as products of matrices (Yang et al. 2024:
 * Parallelizing Linear Transformers with the Delta Rule over Sequence Length; with decays: Gated Delta
 * Networks). With D(t, j) the product of the decays of tokens j + 1..t, and D(t) that of 0..t, all at
 * most 1:
 *
 *     u_t = beta_t (v_t - D(t) S^T k_t - sum over j < t of D(t, j) (k_t . k_j) u_j)
 *     o_t = D(t) S^T q_t + sum over j <= t of D(t, j) (q_t . k_j) u_j
 *     S = D(n - 1) S + sum over j of D(n - 1, j) k_j u_j^T
 *
 * Keys are no longer than 1, decay and beta are in 0..1: then no u is much larger than the values
 * and nothing is divided by. Bits differ from those of one token after the other, and depend on
 * where chunks begin; the nmse of o and S is below 1e-9. */

/* Of which x86_amx_delta.c wants the most: vectors of tokens; scores, floats and tiles; u and o of 32
 * columns, and two of u as tiles; the state's columns, keys and queries as tiles. */
static int64_t delta_chunk_floats(int64_t n_key)
{
    return DELTA_CHUNK * (3 + DELTA_CHUNK * 7 / 2 + 5 * 32) + n_key * (48 + 6 * DELTA_CHUNK);
}

/* ---- RWKV-7 ---------------------------------------------------------------------------------- */

/* A head's state moves on by one token: a row for each element of k, a column for each of v.
 *
 *     old = removal^T state;  state[j] = decay[j] * state[j] + insertion[j] * old + k[j] * v
 *     y = r^T state
 *
 * Columns are independent of each other; the sums over rows are in order. Nothing overlaps. */
struct kernel_rwkv_step {
    float *state; /* [n][n] */
    const float *r;
    const float *k;
    const float *v;
    const float *decay;
    const float *removal;
    const float *insertion;
    float *old; /* [n] scratch */
    float *y;
    int64_t n;
};

/* ---- The table ------------------------------------------------------------------------------- */

#define ROPE_NORM 0 /* pairs (x[2i], x[2i+1]) */
#define ROPE_NEOX 1 /* pairs (x[i], x[i + n_rot/2]) */

struct kernels {
    const char *isa; /* name of the highest instruction set in the table */
    uint64_t cpu;    /* SLM_CPU_ bits allowed */

    /* Per encoding; decode == NULL in the format table means no product either. */
    struct kernel_matrix matrix[ENC_COUNT];
    /* The same with f32 activations: SLM_CONTEXT_EXACT. */
    struct kernel_matrix exact[ENC_COUNT];

    /* Per KV type. scratch is 64-byte aligned, ATTENTION_SCRATCH(n_q) bytes. */
    void (*attention[KV_COUNT])(const struct kernel_attention_job *job, void *scratch);
    /* f32 to the KV type: dst 2-byte (f16, round to nearest even) or 4-byte elements. */
    void (*kv_store[KV_COUNT])(uint8_t *dst, const float *src, int64_t n);

    /* y = x / sqrt(mean(x^2) + eps) * weight; the mean accumulates in double. weight NULL: 1. y may
     * be x. */
    void (*rms_norm)(float *y, const float *x, const float *weight, int64_t n, float eps);
    /* Rotates the first n_rot elements of x in place; cos, sin [n_rot / 2]. Index: ROPE_. */
    void (*rope[2])(float *x, const float *cos_table, const float *sin_table, int64_t n_rot);
    /* y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias; the means accumulate in
     * double. weight NULL: 1, bias NULL: 0. y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *weight, const float *bias, int64_t n,
                       float eps);
    /* y = silu(gate) * up. up NULL: 1. y may be gate or up. */
    void (*swiglu)(float *y, const float *gate, const float *up, int64_t n);
    /* The same with bounds: g = min(gate, 7), u = up brought to -7..7,
     * y = g / (1 + exp(-1.702 g)) * (u + 1). y may be gate or up. */
    void (*swiglu_clamped)(float *y, const float *gate, const float *up, int64_t n);
    /* y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) * up. up NULL: 1. y may be x or
     * up. */
    void (*gelu)(float *y, const float *x, const float *up, int64_t n);
    /* y = max(x, 0)^2 * up. up NULL: 1. y may be x or up. */
    void (*relu_squared)(float *y, const float *x, const float *up, int64_t n);
    /* y = x / (1 + exp(-gate)). x NULL: 1. y may be x or gate. */
    void (*sigmoid_gate)(float *y, const float *gate, const float *x, int64_t n);
    /* x = cap * tanh(x / cap), cap > 0. */
    void (*softcap)(float *x, int64_t n, float cap);
    /* What stands out of x: max(x - cut, 0), where cut is the mean of x and `factor` times its deviation,
     * that of a sample of n. Sums are in double. */
    void (*cut)(float *x, int64_t n, float factor);
    /* y = ln(1 + exp(x)), which is x above 20. y may be x. */
    void (*softplus)(float *y, const float *x, int64_t n);
    /* Tokens of a head of Mamba-2 (Dao, Gu 2024), one of channels of Mamba-1 (Gu, Dao 2023). */
    void (*ssm_head)(const struct kernel_ssm_head *job);
    void (*ssm_channels)(const struct kernel_ssm *s, const struct kernel_ssm_channels *own);
    /* All sizes are at least 1. */
    void (*delta_net)(const struct kernel_delta_job *job);
    void (*delta_chunk)(const struct kernel_delta_job *job);
    int32_t delta_chunk_min; /* tokens from which delta_chunk is faster; measured */
    /* y += x; y may not overlap x. */
    void (*add)(float *y, const float *x, int64_t n);
    /* y += scale * x, rounded after the product and after the sum; y may not overlap x. */
    void (*add_scaled)(float *y, const float *x, float scale, int64_t n);
    /* y = a * b. y may be a or b. */
    void (*multiply)(float *y, const float *a, const float *b, int64_t n);
    void (*conv)(const struct kernel_conv *job);
    void (*rwkv_step)(const struct kernel_rwkv_step *s);
    /* Index of the largest of n >= 1 values, the first among equals; NaN never wins unless all are.
     */
    int64_t (*argmax)(const float *x, int64_t n);
};
