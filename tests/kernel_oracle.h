/* kernel_oracle.h - what check_kernels.c compares with and what it feeds to kernels: the value of
 * every weight, product and score in double precision, written from the descriptions of the
 * formats; random weights and inputs, at the limits of formats and rounding too; memory that traps.
 *
 * Include it behind ../slm.c, whose formats it reads, and after defining _GNU_SOURCE. */
#ifndef KERNEL_ORACLE_H
#define KERNEL_ORACLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <sys/mman.h>
#endif

/* ---- Random numbers, guarded memory ---------------------------------------------------------- */

static uint64_t check_state = 1;

static uint32_t check_u32(void)
{
    check_state += UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(hash_mix(check_state, UINT64_C(0xD1B54A32D192ED03)) >> 16);
}

static int32_t check_range(int32_t low, int32_t high)
{
    return low + (int32_t)(check_u32() % (uint32_t)(high - low + 1));
}

/* About normal, sigma 1. */
static float check_float(void)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (float)check_u32() * (1.0f / 4294967296.0f) - 0.5f;
    }
    return sum * 1.7320508f;
}

static double check_abs(double x)
{
    return x < 0 ? -x : x;
}

#define GUARD_PAGE ((size_t)65536)

/* `bytes` bytes between two pages that trap; at the end of the room or at its beginning. */
struct guarded {
    uint8_t *map;
    size_t map_bytes;
    uint8_t *p;
};

#if defined(_WIN32)
static void guarded_map(struct guarded *g, size_t room)
{
    g->map = (uint8_t *)VirtualAlloc(NULL, g->map_bytes, MEM_RESERVE, PAGE_NOACCESS);
    if (g->map != NULL && room > 0 &&
        VirtualAlloc(g->map + GUARD_PAGE, room, MEM_COMMIT, PAGE_READWRITE) == NULL) {
        g->map = NULL;
    }
}

static void guarded_give(struct guarded *g)
{
    VirtualFree(g->map, 0, MEM_RELEASE);
}
#else
static void guarded_map(struct guarded *g, size_t room)
{
    void *map = mmap(NULL, g->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g->map = map == MAP_FAILED ? NULL : (uint8_t *)map;
    if (g->map != NULL && room > 0 &&
        mprotect(g->map + GUARD_PAGE, room, PROT_READ | PROT_WRITE) != 0) {
        g->map = NULL;
    }
}

static void guarded_give(struct guarded *g)
{
    munmap(g->map, g->map_bytes);
}
#endif

static struct guarded guarded_take(size_t bytes, int at_end, size_t align)
{
    struct guarded g;
    size_t room = (bytes + GUARD_PAGE - 1) / GUARD_PAGE * GUARD_PAGE;
    g.map_bytes = room + 2 * GUARD_PAGE;
    guarded_map(&g, room);
    if (g.map == NULL) {
        fprintf(stderr, "check_kernels: no memory\n");
        exit(2);
    }
    g.p = g.map + GUARD_PAGE + (at_end ? (room - bytes) / align * align : 0);
    memset(g.map + GUARD_PAGE, 0xa5, room);
    return g;
}

/* ---- Oracle: the value of one weight, from the format's description -------------------------- */

static double oracle_f16(const uint8_t *p)
{
    uint32_t h = load_u16(p);
    int32_t exponent = (int32_t)(h >> 10 & 31);
    double m = exponent == 0 ? (double)(h & 1023) / 1024 : 1 + (double)(h & 1023) / 1024;
    for (int32_t e = exponent == 0 ? 1 : exponent; e < 15; e++) {
        m /= 2;
    }
    for (int32_t e = 15; e < exponent; e++) {
        m *= 2;
    }
    return (h & 0x8000) != 0 ? -m : m;
}

/* value = part - min; magnitude bounds what rounding errors are relative to. */
struct oracle_weight {
    double part;
    double min;
};

static int32_t oracle_bits(const uint8_t *p, int32_t byte, int32_t shift, int32_t mask)
{
    return p[byte] >> shift & mask;
}

/* Scale and minimum s of the 12 bytes of Q4_K and Q5_K. */
static void oracle_scales(const uint8_t *k, int32_t s, int32_t *scale, int32_t *min)
{
    *scale = s < 4 ? k[s] & 63 : (k[s + 4] & 15) | (k[s - 4] >> 6) << 4;
    *min = s < 4 ? k[s + 4] & 63 : (k[s + 4] >> 4) | (k[s] >> 6) << 4;
}

/* Element e of the block at p: the types that have kernels of their own, written from the table in
 * the specification; the others are what the format's decoder gave. */
static struct oracle_weight oracle_weight(int32_t type, const uint8_t *p, int32_t e, float decoded)
{
    struct oracle_weight w = {(double)decoded, 0};
    int32_t nibble = 4 * (e % 32 / 16), half = e / 128, in = e % 128, scale, min;
    int32_t two = 2 * (in / 32);
    switch (type) {
    case ENC_Q4_0:
        w.part = oracle_f16(p) * (oracle_bits(p, 2 + e % 16, nibble, 15) - 8);
        break;
    case ENC_Q4_1:
        w.part = oracle_f16(p) * oracle_bits(p, 4 + e % 16, nibble, 15);
        w.min = -oracle_f16(p + 2);
        break;
    case ENC_Q5_0:
        w.part = oracle_f16(p) * ((oracle_bits(p, 6 + e % 16, nibble, 15) |
                                   oracle_bits(p, 2 + e / 8, e % 8, 1) << 4) -
                                  16);
        break;
    case ENC_Q5_1:
        w.part = oracle_f16(p) * (oracle_bits(p, 8 + e % 16, nibble, 15) |
                                  oracle_bits(p, 4 + e / 8, e % 8, 1) << 4);
        w.min = -oracle_f16(p + 2);
        break;
    case ENC_Q8_0:
        w.part = oracle_f16(p) * (int8_t)p[2 + e];
        break;
    case ENC_Q2_K:
        w.part =
            oracle_f16(p + 80) * (p[e / 16] & 15) * oracle_bits(p, 16 + 32 * half + e % 32, two, 3);
        w.min = oracle_f16(p + 82) * (p[e / 16] >> 4);
        break;
    case ENC_Q3_K:
        scale = oracle_bits(p, 96 + e / 16 % 8, 4 * (e / 128), 15) |
                oracle_bits(p, 104 + e / 16 % 4, 2 * (e / 64), 3) << 4;
        w.part = oracle_f16(p + 108) * (scale - 32) *
                 (oracle_bits(p, 32 + 32 * half + e % 32, two, 3) -
                  (oracle_bits(p, e % 32, e / 32, 1) ? 0 : 4));
        break;
    case ENC_Q4_K:
    case ENC_Q5_K:
        oracle_scales(p + 4, e / 32, &scale, &min);
        w.part = oracle_bits(p, (type == ENC_Q4_K ? 16 : 48) + 32 * (e / 64) + e % 32,
                             4 * (e / 32 % 2), 15);
        w.part += type == ENC_Q5_K ? 16 * oracle_bits(p, 16 + e % 32, e / 32, 1) : 0;
        w.part *= oracle_f16(p) * scale;
        w.min = oracle_f16(p + 2) * min;
        break;
    case ENC_Q6_K:
        w.part = oracle_bits(p, 64 * half + e % 32 + 32 * (in / 32 % 2), 4 * (in / 64), 15) |
                 oracle_bits(p, 128 + 32 * half + e % 32, two, 3) << 4;
        w.part = (w.part - 32) * (int8_t)p[192 + e / 16] * oracle_f16(p + 208);
        break;
    default:
        break;
    }
    return w;
}

/* ---- Oracle: products ------------------------------------------------------------------------ */

/* The value that the product should have and what its error is relative to. */
struct oracle_sum {
    double value;
    double magnitude;
    double slack; /* allowed whatever the order of the sum: what the form rounds away */
};

static double oracle_bf16(const uint8_t *p)
{
    return (double)bits_to_f32((uint32_t)load_u16(p) << 16);
}

/* To nearest, ties to even, as the kernels round to bf16. */
static double oracle_round_bf16(double x)
{
    uint32_t bits = f32_to_bits((float)x);
    return (double)bits_to_f32((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

/* Tiles of bf16, in one part or two: [group of 16 tokens][k / 32][part][16][16 tokens][2]. */
static double oracle_act_bf16(const struct kernel_act *act, const uint8_t *all, int64_t t,
                              int64_t k, int64_t e)
{
    int parts = act->name[4] == 0 ? 1 : 2;
    const uint8_t *p = all + (size_t)(t / 16 * 16) * act->row_bytes(k) +
                       (size_t)(e / 32 * parts) * 1024 +
                       (size_t)(e % 32 / 2 * 64 + t % 16 * 4 + e % 2 * 2);
    return oracle_bf16(p) + (parts == 2 ? oracle_bf16(p + 1024) : 0);
}

/* What an activation form says about element e of token t. */
static double oracle_act(const struct kernel_act *act, uint8_t *all, int64_t t, int64_t k,
                         int64_t e)
{
    void *row = all + (size_t)t * act->row_bytes(k);
    if (act->name[0] == 'b') {
        return oracle_act_bf16(act, all, t, k, e);
    }
    if (act->name[0] == 'f') {
        return (double)((const float *)row)[e];
    }
    if (act->name[3] == 'k') {
        struct act_q8_k_planes p = act_q8_k_at(row, k);
        return (double)p.d[e / 256] * p.q[e];
    }
    struct act_q8_0_planes p = act_q8_0_at(row, k);
    return (double)p.d[e / 32] * p.q[e];
}

/* The weights of a row of k, [k]. */
static void oracle_row(struct oracle_weight *row, int32_t type, const uint8_t *w, int64_t k)
{
    const struct kernel_format *f = &kernel_formats[type];
    float *values = (float *)malloc((size_t)k * sizeof(float));
    f->decode(values, w, k);
    for (int64_t e = 0; e < k; e++) {
        const uint8_t *block = w + e / f->block_elements * f->block_bytes;
        row[e] = oracle_weight(type, block, (int32_t)(e % f->block_elements), values[e]);
    }
    free(values);
}

static struct oracle_sum oracle_dot(const struct kernel_act *act, int32_t type,
                                    const struct oracle_weight *w, uint8_t *all, int64_t t,
                                    int64_t k)
{
    struct oracle_sum sum = {0, 0, 0};
    void *row = all + (size_t)t * act->row_bytes(k);
    int rounded = act->name[0] == 'b' && act->name[4] == 0;
    double largest = 0;
    /* Q4_1 and Q5_1 take their minimum times the stored, rounded sum. */
    int stored_sums = act->name[0] == 'q' && (type == ENC_Q4_1 || type == ENC_Q5_1);
    for (int64_t e = 0; e < k; e++) {
        double x = oracle_act(act, all, t, k, e);
        if (rounded) {
            double value = oracle_round_bf16(w[e].part - w[e].min);
            double size = check_abs(value * x);
            sum.value += value * x;
            sum.magnitude += size;
            largest = size > largest ? size : largest;
            continue;
        }
        sum.value += w[e].part * x;
        sum.magnitude += check_abs(w[e].part * x) + check_abs(w[e].min * x);
        if (!stored_sums) {
            sum.value -= w[e].min * x;
        } else if (e % 32 == 0) {
            struct act_q8_0_planes p = act_q8_0_at(row, k);
            sum.value -= w[e].min * (double)p.s[e / 32];
            sum.magnitude += check_abs(w[e].min * (double)p.s[e / 32]);
        }
    }
    if (rounded) { /* a value halfway between two may have gone either way */
        sum.slack = largest * 0x1p-7;
    } else if (act->name[0] == 'b') { /* low parts are rounded, their product is left out */
        sum.slack = sum.magnitude * 0x1p-15;
    }
    return sum;
}

/* ---- Oracle: attention ----------------------------------------------------------------------- */

static double oracle_exp(double x)
{
    double r = x / 1024, sum = 1, term = 1;
    for (int i = 1; i < 16; i++) {
        term *= r / i;
        sum += term;
    }
    for (int i = 0; i < 10; i++) {
        sum *= sum;
    }
    return x < -700 ? 0 : sum;
}

static double oracle_kv(const uint8_t *p, int32_t kv, int64_t e)
{
    return kv == KV_F16 ? oracle_f16(p + 2 * e) : (double)load_f32(p + 4 * e);
}

static double oracle_score(const struct kernel_attention_job *j, int32_t kv, int32_t i, int32_t p)
{
    const uint8_t *k = j->pages[p / KV_PAGE] + j->k_offset;
    double s = 0;
    for (int32_t e = 0; e < j->head_dim; e++) {
        s += (double)j->q[i * j->q_stride + e] *
             oracle_kv(k, kv, (int64_t)(p % KV_PAGE) * j->head_dim + e);
    }
    if (j->softcap != 0) {
        double e = oracle_exp(2 * s / (double)j->softcap);
        s = (double)j->softcap * (1 - 2 / (e + 1));
    }
    if (j->slopes != NULL) {
        int32_t distance = j->at[i] > p ? j->at[i] - p : p - j->at[i];
        s -= (double)j->slopes[i] * distance;
    }
    return s;
}

/* ---- Weights and inputs ---------------------------------------------------------------------- */

/* Where the f16 scales of a block stand; -1 none. */
static void weights_scales_at(int32_t type, int32_t at[2])
{
    at[0] = 0;
    at[1] = -1;
    switch (type) {
    case ENC_Q4_1:
    case ENC_Q5_1:
    case ENC_Q4_K:
    case ENC_Q5_K:
        at[1] = 2;
        break;
    case ENC_Q2_K:
        at[0] = 80;
        at[1] = 82;
        break;
    case ENC_Q3_K:
        at[0] = 108;
        break;
    case ENC_Q6_K:
        at[0] = 208;
        break;
    case ENC_TQ1_0:
        at[0] = 52;
        break;
    case ENC_TQ2_0:
        at[0] = 64;
        break;
    case ENC_F32:
    case ENC_F64:
    case ENC_BF16:
    case ENC_IQ1_M:
    case ENC_MXFP4:
    case ENC_NVFP4:
        at[0] = -1;
        break;
    default:
        break;
    }
}

enum {
    WEIGHTS_RANDOM,
    WEIGHTS_ZERO,     /* every byte 0 */
    WEIGHTS_ONES,     /* every byte 0xff but the scales: the largest sums */
    WEIGHTS_MINUS,    /* every byte 0x80: -128 */
    WEIGHTS_DENORMAL, /* the smallest scales */
    WEIGHTS_LARGE,    /* the largest scales */
    WEIGHTS_MODES
};

static void put_u16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static uint32_t weights_f16(int mode)
{
    uint32_t bits = check_u32();
    uint32_t sign = bits & 0x8000;
    if (mode == WEIGHTS_DENORMAL) {
        return sign | (bits & 0x3ff);
    }
    if (mode == WEIGHTS_LARGE) {
        return sign | 0x7bff;
    }
    return sign | (0x1400 + (bits & 0xfff)); /* 2^-10 to 2^-6 */
}

static void weights_block(uint8_t *p, int32_t type, int mode)
{
    const struct kernel_format *f = &kernel_formats[type];
    int32_t at[2];
    for (int32_t i = 0; i < f->block_bytes; i++) {
        p[i] = mode == WEIGHTS_ZERO    ? 0
               : mode == WEIGHTS_ONES  ? 0xff
               : mode == WEIGHTS_MINUS ? 0x80
                                       : (uint8_t)check_u32();
    }
    weights_scales_at(type, at);
    for (int i = 0; i < 2; i++) {
        if (at[i] >= 0) {
            put_u16(p + at[i], mode == WEIGHTS_ZERO ? 0 : weights_f16(mode));
        }
    }
    if (type == ENC_F32) {
        float v = mode == WEIGHTS_ZERO ? 0 : check_float() * (mode == WEIGHTS_LARGE ? 1e30f : 1);
        memcpy(p, &v, sizeof v);
    } else if (type == ENC_F64) {
        double v = mode == WEIGHTS_ZERO ? 0 : (double)check_float();
        memcpy(p, &v, sizeof v);
    } else if (type == ENC_BF16) {
        put_u16(p, mode == WEIGHTS_ZERO ? 0 : f32_to_bits(check_float()) >> 16);
    } else if (type == ENC_IQ1_M) {
        p[f->block_bytes - 1] &= 0x3f;
    } else if (type == ENC_MXFP4) {
        p[0] = (uint8_t)(110 + p[0] % 20);
    }
}

static void weights_fill(uint8_t *w, int32_t type, int64_t n_block, int mode)
{
    for (int64_t i = 0; i < n_block; i++) {
        weights_block(w + i * kernel_formats[type].block_bytes, type, mode);
    }
}

enum {
    INPUT_RANDOM,
    INPUT_ZERO,
    INPUT_SAME,
    INPUT_OUTLIER,
    INPUT_SMALL,
    INPUT_TIES,
    INPUT_MODES
};

static void input_fill(float *x, int64_t n, int mode)
{
    for (int64_t i = 0; i < n; i++) {
        float v = check_float();
        switch (mode) {
        case INPUT_ZERO:
            v = 0;
            break;
        case INPUT_SAME: /* all quants are 127 or -127 */
            v = 1.5f;
            break;
        case INPUT_OUTLIER:
            v = check_u32() % 50 == 0 ? v * 300 : v;
            break;
        case INPUT_SMALL: /* around where blocks are taken for zero, down to denormals */
            v *= check_u32() % 2 ? 1e-30f : 1e-39f;
            break;
        case INPUT_TIES: /* halves: rounding to even shows */
            v = (float)check_range(-127, 127) + (check_u32() % 2 ? 0.5f : 0);
            v = i % 32 == 0 ? 127 : v;
            break;
        default:
            break;
        }
        x[i] = v;
    }
}

#endif
