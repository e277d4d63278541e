/* x86_avx2.c - kernels for AVX2 with FMA and F16C.
 *
 * One idea carries all products: a lane is a row. Eight rows of weights are unpacked 256 columns at
 * a time into a panel whose vectors hold four columns of eight rows; activations are broadcast four
 * columns at a time, and lane r of every sum belongs to row r. So there is no horizontal sum at
 * all, scales and minimums of eight rows are vectors too, and transposing the packed bytes (before
 * nibbles are split) costs less than reading them from memory. The same panel serves one token and
 * hundreds: what changes is how many tokens it is used for before the next is unpacked.
 *
 * Traps:
 * - vpmaddubsw saturates at 16 bits. How many of its results may be added before widening is a
 *   bound on (largest weight) * 127 * (columns in the sum); each format states its own.
 * - Reads stay inside the rows asked for: a group of fewer than eight rows is copied first.
 * - A y must not depend on how rows and tokens are grouped: every variant of a sum does the same
 *   operations in the same order. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#include <immintrin.h>

#define AVX2 SLM_TARGET("avx2,fma,f16c")
#define AVX2_INLINE SLM_INLINE_TARGET("avx2,fma,f16c")

/* The small loops over tokens and words index registers: they must disappear. gcc unrolls them at
 * -O2 only when told. */
#if defined(__clang__)
#define AVX2_UNROLL _Pragma("clang loop unroll(full)")
#else
#define AVX2_UNROLL _Pragma("GCC unroll 16")
#endif

/* Of an address as an integer: it may lie beyond the matrix, where a pointer may not. */
#define AVX2_PREFETCH(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define AVX2_DISTANCE 1024 /* bytes of a row between a read and the prefetch */

#define AVX2_COLUMNS 256      /* of a panel */
#define AVX2_GROUPS 4         /* of eight rows, unpacked together when there are several tokens */
#define AVX2_TOKENS 4         /* per pass over an integer panel */
#define AVX2_TOKENS_F32 6     /* of the eight that are interleaved: 12 sums and their inputs fit */
#define AVX2_TAIL_STRIDE 1024 /* bytes of 256 columns of the widest type */

/* Eight rows of 256 columns. */
struct avx2_panel {
    uint8_t q[128][32];    /* [column / 4][row][4] unsigned, or int16 [column / 2][row][2] */
    int16_t scale[16][16]; /* [column / 16][row][2]: a scale twice, for vpmaddwd */
    int16_t low[8][16];    /* [column / 32][row][2]: factors of two sums of 16 activations */
    float d[8][8];         /* [block][row] */
    float m[8][8];         /* [block][row], what is added (Q4_1) or taken away (Q4_K) */
};

/* Activations of a few tokens for the columns of a panel. */
struct avx2_tile {
    const int8_t *q[AVX2_TOKENS];
    const float *d[AVX2_TOKENS];
    const float *s[AVX2_TOKENS];
    const int16_t *bsums[AVX2_TOKENS];
    int32_t sums[AVX2_TOKENS][8];            /* per 32 columns: -offset * sum of q */
    int16_t wide[AVX2_TOKENS][AVX2_COLUMNS]; /* per 32 columns: 16 even ones, 16 odd ones */
};

/* How an encoding is multiplied. */
struct avx2_format {
    const struct kernel_act *act;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t offset; /* weights are stored as q + offset */
    /* 8 rows at w + r * stride, n_block blocks of each */
    void (*unpack)(struct avx2_panel *panel, const uint8_t *w, size_t stride, int32_t n_block,
                   size_t distance);
    void (*tile)(struct avx2_tile *tile, const uint8_t *act, size_t act_bytes, int64_t k,
                 int64_t column, int32_t n_block, int32_t n_token, int32_t offset);
    /* acc[t * stride + row] += products of the panel with 1 or AVX2_TOKENS tokens */
    void (*dot)(float *acc, int64_t stride, const struct avx2_panel *panel,
                const struct avx2_tile *tile, int32_t n_block, int32_t n_token);
    /* Both for one token, or NULL. */
    void (*one)(float *acc, const uint8_t *w, size_t stride, const struct avx2_tile *tile,
                int32_t n_block, size_t distance);
};

/* ---- Loads and transposes -------------------------------------------------------------------- */

static AVX2_INLINE __m256i avx2_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static AVX2_INLINE void avx2_store(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

static AVX2_INLINE __m256i avx2_rows2(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
        _mm_loadu_si128((const __m128i *)(const void *)high), 1);
}

/* 16 bytes of each of 8 rows: v[j] <- 32-bit word j of rows 0..7. Half of the rows are asked for
 * `distance` bytes further on, the other half the next time: every line at least once. */
static AVX2_INLINE void avx2_transpose(__m256i v[4], const uint8_t *p, size_t stride,
                                       size_t distance)
{
    uintptr_t next = (uintptr_t)p + distance + (((uintptr_t)p & 16) != 0 ? 4 * stride : 0);
    AVX2_PREFETCH(next);
    AVX2_PREFETCH(next + stride);
    AVX2_PREFETCH(next + 2 * stride);
    AVX2_PREFETCH(next + 3 * stride);
    __m256i a = avx2_rows2(p, p + 4 * stride);
    __m256i b = avx2_rows2(p + stride, p + 5 * stride);
    __m256i c = avx2_rows2(p + 2 * stride, p + 6 * stride);
    __m256i d = avx2_rows2(p + 3 * stride, p + 7 * stride);
    __m256i ab0 = _mm256_unpacklo_epi32(a, b);
    __m256i ab1 = _mm256_unpackhi_epi32(a, b);
    __m256i cd0 = _mm256_unpacklo_epi32(c, d);
    __m256i cd1 = _mm256_unpackhi_epi32(c, d);
    v[0] = _mm256_unpacklo_epi64(ab0, cd0);
    v[1] = _mm256_unpackhi_epi64(ab0, cd0);
    v[2] = _mm256_unpacklo_epi64(ab1, cd1);
    v[3] = _mm256_unpackhi_epi64(ab1, cd1);
}

static AVX2_INLINE uint64_t avx2_half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}

/* The f16 at p of 8 rows. */
static AVX2_INLINE __m256 avx2_halves(const uint8_t *p, size_t stride)
{
    const uint8_t *p4 = p + 4 * stride;
    uint64_t a = avx2_half(p) | avx2_half(p + stride) << 16 | avx2_half(p + 2 * stride) << 32 |
                 avx2_half(p + 3 * stride) << 48;
    uint64_t b = avx2_half(p4) | avx2_half(p4 + stride) << 16 | avx2_half(p4 + 2 * stride) << 32 |
                 avx2_half(p4 + 3 * stride) << 48;
    return _mm256_cvtph_ps(_mm_set_epi64x((int64_t)b, (int64_t)a));
}

/* Two f16 in every word: the low ones of eight rows in the low half, the high ones in the high. */
static AVX2_INLINE __m256i avx2_part_halves(__m256i v)
{
    v = _mm256_shuffle_epi8(v,
                            _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
                                             0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    return _mm256_permute4x64_epi64(v, 0xd8);
}

/* Four bytes to every lane. */
static AVX2_INLINE __m256i avx2_spread(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
}

static AVX2_INLINE __m256i avx2_low_nibbles(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}

static AVX2_INLINE __m256i avx2_high_nibbles(__m256i v)
{
    return avx2_low_nibbles(_mm256_srli_epi16(v, 4));
}

/* ---- Unpacking: 32-element blocks -----------------------------------------------------------*/

/* Q4_0, Q4_1, Q5_0, Q5_1 differ in where things stand; bytes before qs: d, m?, qh? */
static AVX2_INLINE void avx2_unpack_32(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                       int32_t n_block, size_t distance, int has_m, int has_high)
{
    int32_t header = 2 + (has_m ? 2 : 0);
    int32_t block_bytes = header + (has_high ? 4 : 0) + 16;
    for (int32_t b = 0; b < n_block; b++) {
        const uint8_t *p = w + b * block_bytes;
        __m256i v[4];
        _mm256_storeu_ps(panel->d[b], avx2_halves(p, stride));
        if (has_m) {
            _mm256_storeu_ps(panel->m[b], avx2_halves(p + 2, stride));
        }
        avx2_transpose(v, p + block_bytes - 16, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(panel->q[8 * b + j], avx2_low_nibbles(v[j]));
            avx2_store(panel->q[8 * b + 4 + j], avx2_high_nibbles(v[j]));
        }
        if (!has_high) {
            continue;
        }
        /* Word j of the block wants bits 4j..4j+3 of qh, one in bit 4 of each byte. */
        avx2_transpose(v, p + header, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 8; j++) {
            __m256i byte = _mm256_set1_epi32(0x04000400 + 0x01010101 * (j / 2) - 0x04000400);
            __m256i lane = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                             0x08080808, 0x0c0c0c0c);
            __m256i bit = _mm256_set1_epi32(j & 1 ? (int32_t)0x80402010u : 0x08040201);
            __m256i high = _mm256_shuffle_epi8(v[0], _mm256_add_epi8(lane, byte));
            high = _mm256_cmpeq_epi8(_mm256_and_si256(high, bit), bit);
            high = _mm256_and_si256(high, _mm256_set1_epi8(16));
            avx2_store(panel->q[8 * b + j], _mm256_or_si256(high, avx2_load(panel->q[8 * b + j])));
        }
    }
}

static AVX2 void avx2_unpack_q4_0(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    avx2_unpack_32(panel, w, stride, n_block, distance, 0, 0);
}

static AVX2 void avx2_unpack_q4_1(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    avx2_unpack_32(panel, w, stride, n_block, distance, 1, 0);
}

static AVX2 void avx2_unpack_q5_0(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    avx2_unpack_32(panel, w, stride, n_block, distance, 0, 1);
}

static AVX2 void avx2_unpack_q5_1(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    avx2_unpack_32(panel, w, stride, n_block, distance, 1, 1);
}

/* Eight bits and a sign leave vpmaddubsw no room: widened to int16, even and odd columns apart. */
static AVX2 void avx2_unpack_q8_0(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    for (int32_t b = 0; b < n_block; b++) {
        const uint8_t *p = w + b * 34;
        _mm256_storeu_ps(panel->d[b], avx2_halves(p, stride));
        for (int32_t c = 0; c < 2; c++) {
            __m256i v[4];
            avx2_transpose(v, p + 2 + 16 * c, stride, distance);
            AVX2_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                uint8_t(*q)[32] = &panel->q[16 * b + 8 * c + 2 * j];
                avx2_store(q[0], _mm256_srai_epi16(_mm256_slli_epi16(v[j], 8), 8));
                avx2_store(q[1], _mm256_srai_epi16(v[j], 8));
            }
        }
    }
}

/* ---- Unpacking: super-blocks of 256 ---------------------------------------------------------*/

/* Byte `byte` of every word, sign-extended, twice. */
static AVX2_INLINE __m256i avx2_scale_16(__m256i scales, int32_t byte)
{
    __m256i at = _mm256_add_epi8(
        _mm256_set1_epi32((int32_t)(0x00800080u | (uint32_t)byte << 8 | (uint32_t)byte << 24)),
        _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0c000c00, 0, 0x04000400, 0x08000800,
                          0x0c000c00));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(scales, at), 8);
}

/* Bytes 0 and 1 (or 2 and 3) of every word, sign-extended and shifted left. */
static AVX2_INLINE __m256i avx2_low_16(__m256i scales, int32_t second, int32_t shift)
{
    __m256i at = _mm256_add_epi8(_mm256_set1_epi32((int32_t)(second ? 0x03800280u : 0x01800080u)),
                                 _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0c000c00, 0,
                                                   0x04000400, 0x08000800, 0x0c000c00));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(scales, at), 8 - shift);
}

/* Sixteen scales of a row in four vectors to the tables of the panel. */
static AVX2_INLINE void avx2_spread_scales(struct avx2_panel *panel, const __m256i scales[4])
{
    AVX2_UNROLL
    for (int32_t i = 0; i < 16; i++) {
        avx2_store(panel->scale[i], avx2_scale_16(scales[i / 4], i % 4));
    }
}

static AVX2_INLINE void avx2_spread_lows(struct avx2_panel *panel, const __m256i lows[4],
                                         int32_t shift)
{
    AVX2_UNROLL
    for (int32_t i = 0; i < 8; i++) {
        avx2_store(panel->low[i], avx2_low_16(lows[i / 2], i % 2, shift));
    }
}

/* d, dmin and 12 bytes of scales and minimums of Q4_K and Q5_K: byte i of vector j is 4 j + i. */
struct avx2_header_45 {
    __m256 d, dmin;
    __m256i scale[2], min[2];
};

static AVX2_INLINE void avx2_read_header_45(struct avx2_header_45 *h, const uint8_t *w,
                                            size_t stride, size_t distance)
{
    __m256i v[4], low6 = _mm256_set1_epi8(63), high2 = _mm256_set1_epi8(48);
    avx2_transpose(v, w, stride, distance);
    v[0] = avx2_part_halves(v[0]);
    h->d = _mm256_cvtph_ps(_mm256_castsi256_si128(v[0]));
    h->dmin = _mm256_cvtph_ps(_mm256_extracti128_si256(v[0], 1));
    h->scale[0] = _mm256_and_si256(v[1], low6);
    h->min[0] = _mm256_and_si256(v[2], low6);
    h->scale[1] = _mm256_or_si256(avx2_low_nibbles(v[3]),
                                  _mm256_and_si256(_mm256_srli_epi16(v[1], 2), high2));
    h->min[1] = _mm256_or_si256(avx2_high_nibbles(v[3]),
                                _mm256_and_si256(_mm256_srli_epi16(v[2], 2), high2));
}

/* Scale (or minimum) s of 8, twice. */
static AVX2_INLINE __m256i avx2_scale_45(const __m256i table[2], int32_t s)
{
    uint32_t byte = (uint32_t)s % 4;
    __m256i at = _mm256_add_epi8(_mm256_set1_epi32((int32_t)(0x80008000u | byte | byte << 16)),
                                 _mm256_setr_epi32(0, 0x00040004, 0x00080008, 0x000c000c, 0,
                                                   0x00040004, 0x00080008, 0x000c000c));
    return _mm256_shuffle_epi8(table[s / 4], at);
}

static AVX2_INLINE void avx2_unpack_header_45(struct avx2_panel *panel, const uint8_t *w,
                                              size_t stride, size_t distance)
{
    struct avx2_header_45 h;
    avx2_read_header_45(&h, w, stride, distance);
    _mm256_storeu_ps(panel->d[0], h.d);
    _mm256_storeu_ps(panel->m[0], h.dmin);
    AVX2_UNROLL
    for (int32_t s = 0; s < 8; s++) {
        avx2_store(panel->scale[2 * s], avx2_scale_45(h.scale, s));
        avx2_store(panel->scale[2 * s + 1], avx2_scale_45(h.scale, s));
        avx2_store(panel->low[s], avx2_scale_45(h.min, s));
    }
}

static AVX2 void avx2_unpack_q4_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    (void)n_block;
    avx2_unpack_header_45(panel, w, stride, distance);
    for (int32_t u = 0; u < 4; u++) {
        for (int32_t c = 0; c < 2; c++) {
            __m256i v[4];
            avx2_transpose(v, w + 16 + 32 * u + 16 * c, stride, distance);
            AVX2_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                avx2_store(panel->q[16 * u + 4 * c + j], avx2_low_nibbles(v[j]));
                avx2_store(panel->q[16 * u + 8 + 4 * c + j], avx2_high_nibbles(v[j]));
            }
        }
    }
}

static AVX2 void avx2_unpack_q5_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    (void)n_block;
    avx2_unpack_header_45(panel, w, stride, distance);
    __m256i fifth = _mm256_set1_epi8(16);
    for (int32_t c = 0; c < 2; c++) {
        __m256i v[4], high[4];
        avx2_transpose(high, w + 16 + 16 * c, stride, distance);
        for (int32_t u = 0; u < 4; u++) {
            avx2_transpose(v, w + 48 + 32 * u + 16 * c, stride, distance);
            AVX2_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                /* bits 2u and 2u+1 of every byte go to bit 4 */
                __m256i even = _mm256_and_si256(_mm256_slli_epi16(high[j], 4), fifth);
                __m256i odd = _mm256_and_si256(_mm256_slli_epi16(high[j], 3), fifth);
                avx2_store(panel->q[16 * u + 4 * c + j],
                           _mm256_or_si256(avx2_low_nibbles(v[j]), even));
                avx2_store(panel->q[16 * u + 8 + 4 * c + j],
                           _mm256_or_si256(avx2_high_nibbles(v[j]), odd));
                high[j] = _mm256_srli_epi16(high[j], 2);
            }
        }
    }
}

static AVX2 void avx2_unpack_q6_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    (void)n_block;
    __m256i high2 = _mm256_set1_epi8(48);
    for (int32_t i = 0; i < 4; i++) {
        int32_t n = i / 2, c = i % 2;
        __m256i a[4], b[4], h[4];
        avx2_transpose(a, w + 64 * n + 16 * c, stride, distance);
        avx2_transpose(b, w + 64 * n + 32 + 16 * c, stride, distance);
        avx2_transpose(h, w + 128 + 32 * n + 16 * c, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            uint8_t(*q)[32] = &panel->q[32 * n + 4 * c + j];
            __m256i h0 = _mm256_and_si256(_mm256_slli_epi16(h[j], 4), high2);
            __m256i h1 = _mm256_and_si256(_mm256_slli_epi16(h[j], 2), high2);
            __m256i h2 = _mm256_and_si256(h[j], high2);
            __m256i h3 = _mm256_and_si256(_mm256_srli_epi16(h[j], 2), high2);
            avx2_store(q[0], _mm256_or_si256(avx2_low_nibbles(a[j]), h0));
            avx2_store(q[8], _mm256_or_si256(avx2_low_nibbles(b[j]), h1));
            avx2_store(q[16], _mm256_or_si256(avx2_high_nibbles(a[j]), h2));
            avx2_store(q[24], _mm256_or_si256(avx2_high_nibbles(b[j]), h3));
        }
    }
    __m256i scales[4];
    avx2_transpose(scales, w + 192, stride, distance);
    avx2_spread_scales(panel, scales);
    avx2_spread_lows(panel, scales, 5);
    _mm256_storeu_ps(panel->d[0], avx2_halves(w + 208, stride));
}

static AVX2 void avx2_unpack_q3_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    (void)n_block;
    __m256i three = _mm256_set1_epi8(3), four = _mm256_set1_epi8(4), high2 = _mm256_set1_epi8(48);
    __m256i k[4], scales[4], center = _mm256_set1_epi8(32);
    for (int32_t c = 0; c < 2; c++) {
        __m256i h[4], v[4];
        avx2_transpose(h, w + 16 * c, stride, distance);
        for (int32_t n = 0; n < 2; n++) {
            avx2_transpose(v, w + 32 + 32 * n + 16 * c, stride, distance);
            AVX2_UNROLL
            for (int32_t i = 0; i < 16; i++) {
                int32_t t = i / 4, j = i % 4;
                __m256i bit = _mm256_srl_epi16(h[j], _mm_cvtsi32_si128(4 * n + t));
                bit = _mm256_and_si256(_mm256_slli_epi16(bit, 2), four);
                __m256i low = _mm256_srl_epi16(v[j], _mm_cvtsi32_si128(2 * t));
                avx2_store(panel->q[32 * n + 8 * t + 4 * c + j],
                           _mm256_or_si256(_mm256_and_si256(low, three), bit));
            }
        }
    }
    /* k[0] is the end of qs: reading from there keeps the load inside the block. */
    avx2_transpose(k, w + 92, stride, distance);
    scales[0] = _mm256_or_si256(avx2_low_nibbles(k[1]),
                                _mm256_and_si256(_mm256_slli_epi16(k[3], 4), high2));
    scales[1] = _mm256_or_si256(avx2_low_nibbles(k[2]),
                                _mm256_and_si256(_mm256_slli_epi16(k[3], 2), high2));
    scales[2] = _mm256_or_si256(avx2_high_nibbles(k[1]), _mm256_and_si256(k[3], high2));
    scales[3] = _mm256_or_si256(avx2_high_nibbles(k[2]),
                                _mm256_and_si256(_mm256_srli_epi16(k[3], 2), high2));
    AVX2_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        scales[j] = _mm256_sub_epi8(scales[j], center);
    }
    avx2_spread_scales(panel, scales);
    avx2_spread_lows(panel, scales, 2);
    _mm256_storeu_ps(panel->d[0], avx2_halves(w + 108, stride));
}

static AVX2 void avx2_unpack_q2_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block, size_t distance)
{
    (void)n_block;
    __m256i three = _mm256_set1_epi8(3), v[4], scales[4], mins[4];
    for (int32_t i = 0; i < 4; i++) {
        int32_t n = i / 2, c = i % 2;
        avx2_transpose(v, w + 16 + 32 * n + 16 * c, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            uint8_t(*q)[32] = &panel->q[32 * n + 4 * c + j];
            avx2_store(q[0], _mm256_and_si256(v[j], three));
            avx2_store(q[8], _mm256_and_si256(_mm256_srli_epi16(v[j], 2), three));
            avx2_store(q[16], _mm256_and_si256(_mm256_srli_epi16(v[j], 4), three));
            avx2_store(q[24], _mm256_and_si256(_mm256_srli_epi16(v[j], 6), three));
        }
    }
    avx2_transpose(v, w, stride, distance);
    AVX2_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        scales[j] = avx2_low_nibbles(v[j]);
        mins[j] = avx2_high_nibbles(v[j]);
    }
    avx2_spread_scales(panel, scales);
    avx2_spread_lows(panel, mins, 0);
    _mm256_storeu_ps(panel->d[0], avx2_halves(w + 80, stride));
    _mm256_storeu_ps(panel->m[0], avx2_halves(w + 82, stride));
}

/* ---- Tiles of activations -------------------------------------------------------------------- */

static AVX2_INLINE void avx2_prefetch(const void *p, size_t offset, size_t n)
{
    for (size_t i = 0; i < n; i += 64) {
        AVX2_PREFETCH((uintptr_t)p + offset + i);
    }
}

/* -offset * sums of 8 blocks of 32: eight vectors of eight partial sums, added up by halves. */
static AVX2_INLINE void avx2_block_sums(int32_t sums[8], const int8_t *q, int32_t n_block,
                                        int32_t offset)
{
    __m256i one8 = _mm256_set1_epi8(1), factor = _mm256_set1_epi16((int16_t)-offset);
    __m256i v[8];
    for (int32_t b = 0; b < 8; b++) {
        v[b] = _mm256_setzero_si256();
        if (b < n_block) {
            v[b] = _mm256_madd_epi16(_mm256_maddubs_epi16(one8, avx2_load(q + 32 * b)), factor);
        }
    }
    AVX2_UNROLL
    for (int32_t i = 0; i < 4; i++) {
        v[i] = _mm256_hadd_epi32(v[2 * i], v[2 * i + 1]);
    }
    v[0] = _mm256_hadd_epi32(v[0], v[1]);
    v[1] = _mm256_hadd_epi32(v[2], v[3]);
    avx2_store(sums, _mm256_add_epi32(_mm256_permute2x128_si256(v[0], v[1], 0x20),
                                      _mm256_permute2x128_si256(v[0], v[1], 0x31)));
}

static AVX2 void avx2_tile_q8_0(struct avx2_tile *tile, const uint8_t *act, size_t act_bytes,
                                int64_t k, int64_t column, int32_t n_block, int32_t n_token,
                                int32_t offset)
{
    for (int32_t t = 0; t < n_token; t++) {
        struct act_q8_0_planes planes =
            act_q8_0_at((void *)(uintptr_t)(act + (size_t)t * act_bytes), k);
        tile->q[t] = planes.q + column;
        tile->d[t] = planes.d + column / 32;
        tile->s[t] = planes.s + column / 32;
        avx2_prefetch(tile->q[t], (size_t)n_token * act_bytes, AVX2_COLUMNS);
        if (offset != 0) {
            avx2_block_sums(tile->sums[t], tile->q[t], n_block, offset);
        }
    }
}

static AVX2 void avx2_tile_q8_0_wide(struct avx2_tile *tile, const uint8_t *act, size_t act_bytes,
                                     int64_t k, int64_t column, int32_t n_block, int32_t n_token,
                                     int32_t offset)
{
    avx2_tile_q8_0(tile, act, act_bytes, k, column, n_block, n_token, offset);
    for (int32_t t = 0; t < n_token; t++) {
        for (int32_t b = 0; b < n_block; b++) {
            __m256i x = avx2_load(tile->q[t] + 32 * b);
            avx2_store(tile->wide[t] + 32 * b, _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
            avx2_store(tile->wide[t] + 32 * b + 16, _mm256_srai_epi16(x, 8));
        }
    }
}

static AVX2 void avx2_tile_q8_k(struct avx2_tile *tile, const uint8_t *act, size_t act_bytes,
                                int64_t k, int64_t column, int32_t n_block, int32_t n_token,
                                int32_t offset)
{
    (void)n_block;
    (void)offset;
    for (int32_t t = 0; t < n_token; t++) {
        struct act_q8_k_planes planes =
            act_q8_k_at((void *)(uintptr_t)(act + (size_t)t * act_bytes), k);
        tile->q[t] = planes.q + column;
        tile->d[t] = planes.d + column / 256;
        tile->bsums[t] = planes.bsums + column / 16;
        avx2_prefetch(tile->q[t], (size_t)n_token * act_bytes, AVX2_COLUMNS);
    }
}

/* ---- Dot products of a panel ----------------------------------------------------------------- */

/* 4- and 5-bit blocks of 32. 15 * 127 * 16 columns and 31 * 127 * 8 columns fit 16 bits: `chain`
 * vectors of four columns (two per 16-bit lane) are added before widening. */
static AVX2_INLINE void avx2_dot_32(float *acc, int64_t stride, const struct avx2_panel *panel,
                                    const struct avx2_tile *tile, int32_t n_block, int n, int chain,
                                    int has_m)
{
    __m256 sum[AVX2_TOKENS];
    __m256i one = _mm256_set1_epi16(1);
    AVX2_UNROLL
    for (int t = 0; t < n; t++) {
        sum[t] = _mm256_loadu_ps(acc + t * stride);
    }
    for (int32_t b = 0; b < n_block; b++) {
        __m256i wide[AVX2_TOKENS], narrow[AVX2_TOKENS];
        AVX2_UNROLL
        for (int j = 0; j < 8; j++) {
            __m256i q = avx2_load(panel->q[8 * b + j]);
            AVX2_UNROLL
            for (int t = 0; t < n; t++) {
                __m256i p = _mm256_maddubs_epi16(q, avx2_spread(tile->q[t] + 32 * b + 4 * j));
                narrow[t] = j % chain == 0 ? p : _mm256_add_epi16(narrow[t], p);
                if (j % chain == chain - 1) {
                    p = _mm256_madd_epi16(narrow[t], one);
                    wide[t] = j < chain ? p : _mm256_add_epi32(wide[t], p);
                }
            }
        }
        __m256 d = _mm256_loadu_ps(panel->d[b]);
        AVX2_UNROLL
        for (int t = 0; t < n; t++) {
            if (!has_m) {
                wide[t] = _mm256_add_epi32(wide[t], _mm256_set1_epi32(tile->sums[t][b]));
            }
            __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(tile->d[t][b]));
            sum[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide[t]), scale, sum[t]);
            if (has_m) {
                sum[t] = _mm256_fmadd_ps(_mm256_loadu_ps(panel->m[b]),
                                         _mm256_set1_ps(tile->s[t][b]), sum[t]);
            }
        }
    }
    AVX2_UNROLL
    for (int t = 0; t < n; t++) {
        _mm256_storeu_ps(acc + t * stride, sum[t]);
    }
}

static AVX2_INLINE void avx2_dot_8_0(float *acc, int64_t stride, const struct avx2_panel *panel,
                                     const struct avx2_tile *tile, int32_t n_block, int n)
{
    __m256 sum[AVX2_TOKENS];
    AVX2_UNROLL
    for (int t = 0; t < n; t++) {
        sum[t] = _mm256_loadu_ps(acc + t * stride);
    }
    for (int32_t b = 0; b < n_block; b++) {
        __m256i wide[AVX2_TOKENS];
        AVX2_UNROLL
        for (int j = 0; j < 16; j++) {
            __m256i q = avx2_load(panel->q[16 * b + j]);
            AVX2_UNROLL
            for (int t = 0; t < n; t++) {
                const int16_t *x = tile->wide[t] + 32 * b + 16 * (j % 2) + 2 * (j / 2);
                __m256i p = _mm256_madd_epi16(q, avx2_spread(x));
                wide[t] = j == 0 ? p : _mm256_add_epi32(wide[t], p);
            }
        }
        __m256 d = _mm256_loadu_ps(panel->d[b]);
        AVX2_UNROLL
        for (int t = 0; t < n; t++) {
            __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(tile->d[t][b]));
            sum[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide[t]), scale, sum[t]);
        }
    }
    AVX2_UNROLL
    for (int t = 0; t < n; t++) {
        _mm256_storeu_ps(acc + t * stride, sum[t]);
    }
}

/* Super-blocks. chain * 4 columns share a scale and their sum fits 16 bits: 15 * 127 * 16 (Q4_K,
 * 32 columns), 31 * 127 * 8 (Q5_K), 63 * 127 * 4 (Q6_K). What the sums of activations give is a
 * float part of its own (has_m), or the offset of the weights, taken away as an integer. */
static AVX2_INLINE void avx2_dot_256(float *acc, int64_t stride, const struct avx2_panel *panel,
                                     const struct avx2_tile *tile, int n, int chain, int has_m)
{
    __m256i wide[AVX2_TOKENS], narrow[AVX2_TOKENS], low[AVX2_TOKENS];
    AVX2_UNROLL
    for (int t = 0; t < n; t++) {
        wide[t] = _mm256_setzero_si256();
    }
    for (int s = 0; s < 64 / chain; s++) {
        AVX2_UNROLL
        for (int j = 0; j < chain; j++) {
            __m256i q = avx2_load(panel->q[chain * s + j]);
            AVX2_UNROLL
            for (int t = 0; t < n; t++) {
                const int8_t *x = tile->q[t] + 4 * (chain * s + j);
                __m256i p = _mm256_maddubs_epi16(q, avx2_spread(x));
                narrow[t] = j == 0 ? p : _mm256_add_epi16(narrow[t], p);
            }
        }
        __m256i scale = avx2_load(panel->scale[chain * s / 4]);
        AVX2_UNROLL
        for (int t = 0; t < n; t++) {
            wide[t] = _mm256_add_epi32(wide[t], _mm256_madd_epi16(narrow[t], scale));
        }
    }
    for (int i = 0; i < 8; i++) {
        __m256i factor = avx2_load(panel->low[i]);
        AVX2_UNROLL
        for (int t = 0; t < n; t++) {
            __m256i p = _mm256_madd_epi16(factor, avx2_spread(tile->bsums[t] + 2 * i));
            low[t] = i == 0 ? p : _mm256_add_epi32(low[t], p);
        }
    }
    AVX2_UNROLL
    for (int t = 0; t < n; t++) {
        __m256 sum = _mm256_loadu_ps(acc + t * stride), dx = _mm256_set1_ps(tile->d[t][0]);
        if (!has_m) {
            wide[t] = _mm256_sub_epi32(wide[t], low[t]);
        }
        sum = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(panel->d[0]), dx),
                              _mm256_cvtepi32_ps(wide[t]), sum);
        if (has_m) {
            sum = _mm256_fnmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(panel->m[0]), dx),
                                   _mm256_cvtepi32_ps(low[t]), sum);
        }
        _mm256_storeu_ps(acc + t * stride, sum);
    }
}

#define AVX2_DOT(name, body_1, body_n)                                                             \
    static AVX2 void name(float *acc, int64_t stride, const struct avx2_panel *panel,              \
                          const struct avx2_tile *tile, int32_t n_block, int32_t n_token)          \
    {                                                                                              \
        (void)n_block;                                                                             \
        if (n_token == 1) {                                                                        \
            body_1;                                                                                \
        } else {                                                                                   \
            body_n;                                                                                \
        }                                                                                          \
    }
#define AVX2_DOT_32(name, chain, has_m)                                                            \
    AVX2_DOT(name, avx2_dot_32(acc, stride, panel, tile, n_block, 1, chain, has_m),                \
             avx2_dot_32(acc, stride, panel, tile, n_block, AVX2_TOKENS, chain, has_m))
#define AVX2_DOT_256(name, chain, has_m)                                                           \
    AVX2_DOT(name, avx2_dot_256(acc, stride, panel, tile, 1, chain, has_m),                        \
             avx2_dot_256(acc, stride, panel, tile, AVX2_TOKENS, chain, has_m))

AVX2_DOT_32(avx2_dot_4_offset, 8, 0)
AVX2_DOT_32(avx2_dot_4_min, 8, 1)
AVX2_DOT_32(avx2_dot_5_offset, 4, 0)
AVX2_DOT_32(avx2_dot_5_min, 4, 1)
AVX2_DOT(avx2_dot_8, avx2_dot_8_0(acc, stride, panel, tile, n_block, 1),
         avx2_dot_8_0(acc, stride, panel, tile, n_block, AVX2_TOKENS))
AVX2_DOT_256(avx2_dot_4_k, 8, 1)
AVX2_DOT_256(avx2_dot_25_k, 4, 1)
AVX2_DOT_256(avx2_dot_3_k, 4, 0)
AVX2_DOT_256(avx2_dot_6_k, 2, 0)

/* ---- One token: unpacked and multiplied in registers ----------------------------------------- */

/* The commonest types, when there is one token: the same sums as by way of a panel, without storing
 * it. What is left is what memory can deliver. */

static AVX2_INLINE __m256i avx2_pairs(__m256i q, const int8_t *x)
{
    return _mm256_maddubs_epi16(q, avx2_spread(x));
}

static AVX2 void avx2_one_q4_0(float *acc, const uint8_t *w, size_t stride,
                               const struct avx2_tile *tile, int32_t n_block, size_t distance)
{
    __m256 sum = _mm256_loadu_ps(acc);
    for (int32_t b = 0; b < n_block; b++) {
        const int8_t *x = tile->q[0] + 32 * b;
        __m256i v[4], narrow = _mm256_setzero_si256();
        avx2_transpose(v, w + 2, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            narrow = _mm256_add_epi16(narrow, avx2_pairs(avx2_low_nibbles(v[j]), x + 4 * j));
            narrow = _mm256_add_epi16(narrow, avx2_pairs(avx2_high_nibbles(v[j]), x + 16 + 4 * j));
        }
        __m256i wide = _mm256_madd_epi16(narrow, _mm256_set1_epi16(1));
        wide = _mm256_add_epi32(wide, _mm256_set1_epi32(tile->sums[0][b]));
        __m256 scale = _mm256_mul_ps(avx2_halves(w, stride), _mm256_set1_ps(tile->d[0][b]));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide), scale, sum);
        w += 18;
    }
    _mm256_storeu_ps(acc, sum);
}

static AVX2 void avx2_one_q8_0(float *acc, const uint8_t *w, size_t stride,
                               const struct avx2_tile *tile, int32_t n_block, size_t distance)
{
    __m256 sum = _mm256_loadu_ps(acc);
    for (int32_t b = 0; b < n_block; b++) {
        const int16_t *x = tile->wide[0] + 32 * b;
        __m256i v[4], wide = _mm256_setzero_si256();
        for (int32_t c = 0; c < 2; c++) {
            avx2_transpose(v, w + 2 + 16 * c, stride, distance);
            AVX2_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(v[j], 8), 8);
                __m256i odd = _mm256_srai_epi16(v[j], 8);
                const int16_t *at = x + 8 * c + 2 * j;
                wide = _mm256_add_epi32(wide, _mm256_madd_epi16(even, avx2_spread(at)));
                wide = _mm256_add_epi32(wide, _mm256_madd_epi16(odd, avx2_spread(at + 16)));
            }
        }
        __m256 scale = _mm256_mul_ps(avx2_halves(w, stride), _mm256_set1_ps(tile->d[0][b]));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide), scale, sum);
        w += 34;
    }
    _mm256_storeu_ps(acc, sum);
}

static AVX2 void avx2_one_q4_k(float *acc, const uint8_t *w, size_t stride,
                               const struct avx2_tile *tile, int32_t n_block, size_t distance)
{
    struct avx2_header_45 h;
    const int8_t *x = tile->q[0];
    __m256i wide = _mm256_setzero_si256(), low = wide;
    (void)n_block;
    avx2_read_header_45(&h, w, stride, distance);
    for (int32_t u = 0; u < 4; u++, x += 64) {
        __m256i even = _mm256_setzero_si256(), odd = even;
        AVX2_UNROLL
        for (int32_t c = 0; c < 2; c++) {
            __m256i v[4];
            avx2_transpose(v, w + 16 + 32 * u + 16 * c, stride, distance);
            AVX2_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                const int8_t *at = x + 16 * c + 4 * j;
                even = _mm256_add_epi16(even, avx2_pairs(avx2_low_nibbles(v[j]), at));
                odd = _mm256_add_epi16(odd, avx2_pairs(avx2_high_nibbles(v[j]), at + 32));
            }
        }
        const int16_t *bsums = tile->bsums[0] + 4 * u;
        even = _mm256_madd_epi16(even, avx2_scale_45(h.scale, 2 * u));
        odd = _mm256_madd_epi16(odd, avx2_scale_45(h.scale, 2 * u + 1));
        wide = _mm256_add_epi32(wide, _mm256_add_epi32(even, odd));
        even = _mm256_madd_epi16(avx2_scale_45(h.min, 2 * u), avx2_spread(bsums));
        odd = _mm256_madd_epi16(avx2_scale_45(h.min, 2 * u + 1), avx2_spread(bsums + 2));
        low = _mm256_add_epi32(low, _mm256_add_epi32(even, odd));
    }
    __m256 sum = _mm256_loadu_ps(acc), dx = _mm256_set1_ps(tile->d[0][0]);
    sum = _mm256_fmadd_ps(_mm256_mul_ps(h.d, dx), _mm256_cvtepi32_ps(wide), sum);
    sum = _mm256_fnmadd_ps(_mm256_mul_ps(h.dmin, dx), _mm256_cvtepi32_ps(low), sum);
    _mm256_storeu_ps(acc, sum);
}

/* A quarter of 128 columns of Q6_K: 16 columns and the scale that they share. */
static AVX2_INLINE __m256i avx2_part_q6_k(const __m256i q[4], const int8_t *x, __m256i scale)
{
    __m256i a = _mm256_add_epi16(avx2_pairs(q[0], x), avx2_pairs(q[1], x + 4));
    __m256i b = _mm256_add_epi16(avx2_pairs(q[2], x + 8), avx2_pairs(q[3], x + 12));
    return _mm256_add_epi32(_mm256_madd_epi16(a, scale), _mm256_madd_epi16(b, scale));
}

static AVX2 void avx2_one_q6_k(float *acc, const uint8_t *w, size_t stride,
                               const struct avx2_tile *tile, int32_t n_block, size_t distance)
{
    __m256i scales[4], wide = _mm256_setzero_si256(), low = wide;
    __m256i high2 = _mm256_set1_epi8(48);
    (void)n_block;
    avx2_transpose(scales, w + 192, stride, distance);
    for (int32_t i = 0; i < 4; i++) {
        int32_t n = i / 2, c = i % 2;
        const int8_t *x = tile->q[0] + 128 * n + 16 * c;
        const int16_t *bsums = tile->bsums[0] + 4 * i;
        __m256i a[4], b[4], h[4], q[4];
        avx2_transpose(a, w + 64 * n + 16 * c, stride, distance);
        avx2_transpose(b, w + 64 * n + 32 + 16 * c, stride, distance);
        avx2_transpose(h, w + 128 + 32 * n + 16 * c, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            __m256i high = _mm256_and_si256(_mm256_slli_epi16(h[j], 4), high2);
            q[j] = _mm256_or_si256(avx2_low_nibbles(a[j]), high);
        }
        wide = _mm256_add_epi32(wide, avx2_part_q6_k(q, x, avx2_scale_16(scales[2 * n], c)));
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            __m256i high = _mm256_and_si256(_mm256_slli_epi16(h[j], 2), high2);
            q[j] = _mm256_or_si256(avx2_low_nibbles(b[j]), high);
        }
        wide =
            _mm256_add_epi32(wide, avx2_part_q6_k(q, x + 32, avx2_scale_16(scales[2 * n], 2 + c)));
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            q[j] = _mm256_or_si256(avx2_high_nibbles(a[j]), _mm256_and_si256(h[j], high2));
        }
        wide =
            _mm256_add_epi32(wide, avx2_part_q6_k(q, x + 64, avx2_scale_16(scales[2 * n + 1], c)));
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            __m256i high = _mm256_and_si256(_mm256_srli_epi16(h[j], 2), high2);
            q[j] = _mm256_or_si256(avx2_high_nibbles(b[j]), high);
        }
        wide = _mm256_add_epi32(wide,
                                avx2_part_q6_k(q, x + 96, avx2_scale_16(scales[2 * n + 1], 2 + c)));
        low = _mm256_add_epi32(low,
                               _mm256_madd_epi16(avx2_low_16(scales[i], 0, 5), avx2_spread(bsums)));
        low = _mm256_add_epi32(
            low, _mm256_madd_epi16(avx2_low_16(scales[i], 1, 5), avx2_spread(bsums + 2)));
    }
    __m256 d = _mm256_mul_ps(avx2_halves(w + 208, stride), _mm256_set1_ps(tile->d[0][0]));
    wide = _mm256_sub_epi32(wide, low);
    _mm256_storeu_ps(acc, _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(wide), _mm256_loadu_ps(acc)));
}

/* ---- Products of integers -------------------------------------------------------------------- */

/* Fewer than eight rows: what is there is copied and the rest is zero. */
static AVX2 void avx2_copy_tail(uint8_t *tail, const uint8_t *w, size_t stride, int64_t n_row,
                                size_t bytes)
{
    memset(tail, 0, 8 * AVX2_TAIL_STRIDE);
    for (int64_t r = 0; r < n_row; r++) {
        memcpy(tail + r * AVX2_TAIL_STRIDE, w + (size_t)r * stride, bytes);
    }
}

/* What a call needs: panels, a tile, rows of a tail, and the sums of `step` rows for all tokens. */
struct avx2_scratch {
    struct avx2_panel *panels;
    struct avx2_tile *tile;
    uint8_t *tail;
    float *acc; /* [n_token][step] */
};

static struct avx2_scratch avx2_scratch_at(void *scratch)
{
    uint8_t *p = (uint8_t *)scratch;
    struct avx2_scratch s;
    s.panels = (struct avx2_panel *)(void *)p;
    p += act_pad(AVX2_GROUPS * sizeof(struct avx2_panel));
    s.tile = (struct avx2_tile *)(void *)p;
    p += act_pad(sizeof(struct avx2_tile));
    s.tail = p;
    s.acc = (float *)(void *)(p + 8 * AVX2_TAIL_STRIDE);
    return s;
}

static size_t avx2_scratch_bytes(int64_t n_token, int64_t k)
{
    (void)k;
    return act_pad(AVX2_GROUPS * sizeof(struct avx2_panel)) + act_pad(sizeof(struct avx2_tile)) +
           8 * AVX2_TAIL_STRIDE + (size_t)n_token * AVX2_GROUPS * 8 * sizeof(float);
}

/* Which rows go together, for the products of integers and of floats.
 *
 * Several tokens: 32 rows in order. One token is a race with memory, whose prefetcher likes few
 * long streams in pages of their own: lane r reads rows r * each, r * each + 1, ... one after the
 * other, where each is an eighth of the rows of the call. Rows that are left over come last. */
struct avx2_rows {
    const uint8_t *w; /* of the first row */
    size_t row_bytes;
    size_t stride;   /* from lane to lane */
    int64_t n_row;   /* of these; a multiple of 8 but for the last */
    int64_t row;     /* the first one's number */
    int64_t spacing; /* row r of these is row + r * spacing */
    int64_t step;    /* floats of a token in acc */
    size_t at_end;   /* what is prefetched near the end of the rows: bytes beyond p */
};

/* The rows after the *done that are done; 0 if there are no more. */
static int avx2_next_rows(struct avx2_rows *rows, const uint8_t *w, int64_t row0, int64_t row1,
                          int64_t *done, int together)
{
    int64_t n = row1 - row0, each = n / 8, first = *done;
    if (first >= n) {
        return 0;
    }
    rows->step = together ? 8 * AVX2_GROUPS : 8;
    rows->n_row = min_i64(rows->step, n - first);
    if (!together && rows->n_row == 8) {
        rows->row = row0 + first / 8;
        rows->spacing = each;
        rows->at_end =
            AVX2_DISTANCE + (first / 8 + 1 < each ? 0 : 7 * (size_t)each * rows->row_bytes);
    } else {
        rows->row = row0 + first;
        rows->spacing = 1;
        rows->at_end = AVX2_DISTANCE + (size_t)(rows->step - 1) * rows->row_bytes;
    }
    rows->stride = (size_t)rows->spacing * rows->row_bytes;
    rows->w = w + (size_t)rows->row * rows->row_bytes;
    *done += rows->n_row;
    return 1;
}

static AVX2_INLINE size_t avx2_distance(const struct avx2_rows *rows, size_t offset)
{
    return offset + AVX2_DISTANCE < rows->row_bytes ? AVX2_DISTANCE : rows->at_end;
}

static void avx2_store_rows(float *y, int64_t y_stride, const float *acc,
                            const struct avx2_rows *rows, int64_t n_token)
{
    for (int64_t t = 0; t < n_token; t++) {
        float *to = y + t * y_stride + rows->row;
        const float *from = acc + t * rows->step;
        if (rows->spacing == 1) {
            memcpy(to, from, (size_t)rows->n_row * sizeof(float));
        } else {
            for (int64_t r = 0; r < 8; r++) {
                to[r * rows->spacing] = from[r];
            }
        }
    }
}

/* acc += panels of these rows with all tokens. */
static AVX2 void avx2_multiply_panels(const struct avx2_format *f, const struct avx2_scratch *s,
                                      const struct avx2_rows *rows, const uint8_t *act,
                                      int64_t n_token, int64_t k, int64_t column, int32_t n_block)
{
    size_t act_bytes = f->act->row_bytes(k);
    int32_t n = 0;
    for (int64_t t = 0; t < n_token; t += n) {
        n = n_token - t >= AVX2_TOKENS ? AVX2_TOKENS : 1;
        f->tile(s->tile, act + (size_t)t * act_bytes, act_bytes, k, column, n_block, n, f->offset);
        for (int64_t g = 0; 8 * g < rows->n_row; g++) {
            f->dot(s->acc + t * rows->step + 8 * g, rows->step, &s->panels[g], s->tile, n_block, n);
        }
    }
}

static SLM_NOINLINE AVX2 void avx2_multiply(const struct avx2_format *f, float *y, int64_t y_stride,
                                            const uint8_t *w, int64_t row0, int64_t row1,
                                            const void *act_rows, int64_t n_token, int64_t k,
                                            void *scratch)
{
    struct avx2_scratch s = avx2_scratch_at(scratch);
    struct avx2_rows rows;
    const uint8_t *act = (const uint8_t *)act_rows;
    int one = n_token == 1 && f->one != NULL;
    int64_t done = 0;
    rows.row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    while (avx2_next_rows(&rows, w, row0, row1, &done, n_token >= AVX2_TOKENS)) {
        memset(s.acc, 0, (size_t)(n_token * rows.step) * sizeof(float));
        for (int64_t column = 0; column < k; column += AVX2_COLUMNS) {
            int32_t n_block = (int32_t)min_i64(AVX2_COLUMNS, k - column) / f->block_elements;
            size_t bytes = (size_t)n_block * (size_t)f->block_bytes;
            size_t offset = (size_t)(column / f->block_elements) * (size_t)f->block_bytes;
            size_t distance = avx2_distance(&rows, offset);
            if (one) {
                f->tile(s.tile, act, f->act->row_bytes(k), k, column, n_block, 1, f->offset);
            }
            for (int64_t g = 0; 8 * g < rows.n_row; g++) {
                const uint8_t *p = rows.w + (size_t)(8 * g) * rows.row_bytes + offset;
                size_t stride = rows.stride;
                if (rows.n_row - 8 * g < 8) {
                    avx2_copy_tail(s.tail, p, stride, rows.n_row - 8 * g, bytes);
                    p = s.tail;
                    stride = AVX2_TAIL_STRIDE;
                }
                if (one) {
                    f->one(s.acc, p, stride, s.tile, n_block, distance);
                } else {
                    f->unpack(&s.panels[g], p, stride, n_block, distance);
                }
            }
            if (!one) {
                avx2_multiply_panels(f, &s, &rows, act, n_token, k, column, n_block);
            }
        }
        avx2_store_rows(y, y_stride, s.acc, &rows, n_token);
    }
}

/* ---- Products of floats ---------------------------------------------------------------------- */

/* Panels of floats: [column][8 rows]. `one` takes a token at a time, four sums per row to hide the
 * latency of the multiply-add; `many` six tokens, interleaved as the weights are. Both add up a
 * stretch of columns before they add to what stood there, which keeps rounding errors small. */
struct avx2_float_format {
    int32_t type;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t has_m;
    /* The types without blocks: values[column * 8 + row] <- 8 rows of n columns, n a multiple of 8.
     */
    void (*load)(float *values, const uint8_t *w, size_t stride, int64_t n, size_t distance);
    /* or what their integers and scales become by avx2_expand_ */
    void (*unpack)(struct avx2_panel *panel, const uint8_t *w, size_t stride, int32_t n_block,
                   size_t distance);
    void (*expand)(float *values, const struct avx2_panel *panel, int32_t n_block, int32_t offset,
                   int32_t has_m);
    int32_t offset;
};

static AVX2 void avx2_load_f32(float *values, const uint8_t *w, size_t stride, int64_t n,
                               size_t distance)
{
    for (int64_t i = 0; i < n; i += 4) {
        __m256i v[4];
        avx2_transpose(v, w + 4 * i, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(values + 8 * (i + j), v[j]);
        }
    }
}

static AVX2 void avx2_load_bf16(float *values, const uint8_t *w, size_t stride, int64_t n,
                                size_t distance)
{
    __m256i high = _mm256_set1_epi32((int32_t)0xffff0000u);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i v[4];
        avx2_transpose(v, w + 2 * i, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(values + 8 * (i + 2 * j), _mm256_slli_epi32(v[j], 16));
            avx2_store(values + 8 * (i + 2 * j) + 8, _mm256_and_si256(v[j], high));
        }
    }
}

static AVX2 void avx2_load_f16(float *values, const uint8_t *w, size_t stride, int64_t n,
                               size_t distance)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256i v[4];
        avx2_transpose(v, w + 2 * i, stride, distance);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            float *to = values + 8 * (i + 2 * j);
            v[j] = avx2_part_halves(v[j]);
            _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm256_castsi256_si128(v[j])));
            _mm256_storeu_ps(to + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(v[j], 1)));
        }
    }
}

/* Four columns of eight rows from a vector of bytes. */
static AVX2_INLINE void avx2_expand_bytes(float *values, __m256i q, int32_t offset, __m256 d,
                                          __m256 m)
{
    AVX2_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        __m256i v = _mm256_and_si256(q, _mm256_set1_epi32(255));
        __m256 f = _mm256_cvtepi32_ps(_mm256_sub_epi32(v, _mm256_set1_epi32(offset)));
        _mm256_storeu_ps(values + 8 * j, _mm256_add_ps(_mm256_mul_ps(f, d), m));
        q = _mm256_srli_epi32(q, 8);
    }
}

static AVX2 void avx2_expand_32(float *values, const struct avx2_panel *panel, int32_t n_block,
                                int32_t offset, int32_t has_m)
{
    for (int32_t i = 0; i < 8 * n_block; i++) {
        __m256 m = has_m ? _mm256_loadu_ps(panel->m[i / 8]) : _mm256_setzero_ps();
        avx2_expand_bytes(values + 32 * i, avx2_load(panel->q[i]), offset,
                          _mm256_loadu_ps(panel->d[i / 8]), m);
    }
}

static AVX2 void avx2_expand_8_0(float *values, const struct avx2_panel *panel, int32_t n_block,
                                 int32_t offset, int32_t has_m)
{
    (void)offset;
    (void)has_m;
    for (int32_t i = 0; i < 16 * n_block; i++) {
        __m256i q = avx2_load(panel->q[i]);
        __m256 d = _mm256_loadu_ps(panel->d[i / 16]);
        float *to = values + 8 * (4 * (i / 2) + i % 2);
        __m256i low = _mm256_srai_epi32(_mm256_slli_epi32(q, 16), 16);
        _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(low), d));
        _mm256_storeu_ps(to + 16, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srai_epi32(q, 16)), d));
    }
}

static AVX2 void avx2_expand_256(float *values, const struct avx2_panel *panel, int32_t n_block,
                                 int32_t offset, int32_t has_m)
{
    (void)n_block;
    __m256 d = _mm256_loadu_ps(panel->d[0]), minus = _mm256_set1_ps(-0.0f);
    __m256 dmin = has_m ? _mm256_xor_ps(_mm256_loadu_ps(panel->m[0]), minus) : minus;
    for (int32_t i = 0; i < 64; i++) {
        __m256i scale = _mm256_srai_epi32(avx2_load(panel->scale[i / 4]), 16);
        __m256i low = avx2_load(panel->low[i / 8]);
        low = i % 8 < 4 ? _mm256_srai_epi32(_mm256_slli_epi32(low, 16), 16)
                        : _mm256_srai_epi32(low, 16);
        __m256 m = has_m ? _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(low)) : minus;
        avx2_expand_bytes(values + 32 * i, avx2_load(panel->q[i]), offset,
                          _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale)), m);
    }
}

struct avx2_float_scratch {
    float *values;            /* [AVX2_GROUPS][256][8] */
    float *x;                 /* [256][8] */
    struct avx2_panel *panel; /* where integers stand in between */
    uint8_t *tail;
    float *acc; /* [n_token rounded up to 8][8 * AVX2_GROUPS] */
};

#define AVX2_VALUES (AVX2_COLUMNS * 8)

static struct avx2_float_scratch avx2_float_scratch_at(void *scratch)
{
    struct avx2_float_scratch s;
    s.values = (float *)scratch;
    s.x = s.values + AVX2_GROUPS * AVX2_VALUES;
    s.acc = s.x + AVX2_VALUES; /* its size varies: the last */
    s.panel = (struct avx2_panel *)(void *)s.acc;
    s.tail = (uint8_t *)s.acc + act_pad(sizeof(struct avx2_panel));
    s.acc = (float *)(void *)(s.tail + 8 * AVX2_TAIL_STRIDE);
    return s;
}

static size_t avx2_float_scratch_bytes(int64_t n_token, int64_t k)
{
    (void)k;
    return (AVX2_GROUPS + 1) * AVX2_VALUES * sizeof(float) + act_pad(sizeof(struct avx2_panel)) +
           8 * AVX2_TAIL_STRIDE + (size_t)(n_token + 7) * AVX2_GROUPS * 8 * sizeof(float);
}

static AVX2 void avx2_dot_one_f32(float *acc, const float *values, const float *x, int64_t n)
{
    __m256 sum[4];
    AVX2_UNROLL
    for (int j = 0; j < 4; j++) {
        sum[j] = _mm256_setzero_ps();
    }
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        AVX2_UNROLL
        for (int j = 0; j < 4; j++) {
            sum[j] = _mm256_fmadd_ps(_mm256_loadu_ps(values + 8 * (i + j)),
                                     _mm256_set1_ps(x[i + j]), sum[j]);
        }
    }
    for (; i < n; i++) {
        sum[0] = _mm256_fmadd_ps(_mm256_loadu_ps(values + 8 * i), _mm256_set1_ps(x[i]), sum[0]);
    }
    sum[0] = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    _mm256_storeu_ps(acc, _mm256_add_ps(_mm256_loadu_ps(acc), sum[0]));
}

/* x [n][8 tokens]; acc[token * stride + row] of n_group * 8 rows. Sums of 64 columns: a longer
 * chain of additions would round more often than the reference. */
static AVX2_INLINE void avx2_dot_groups_f32(float *acc, int64_t stride, const float *values,
                                            const float *x, int64_t n, int n_group)
{
    for (int64_t i = 0; i < n;) {
        __m256 sum[2 * AVX2_TOKENS_F32], v[2];
        int64_t end = min_i64(n, i + 64);
        AVX2_UNROLL
        for (int j = 0; j < n_group * AVX2_TOKENS_F32; j++) {
            sum[j] = _mm256_setzero_ps();
        }
        for (; i < end; i++) {
            AVX2_UNROLL
            for (int g = 0; g < n_group; g++) {
                v[g] = _mm256_loadu_ps(values + g * AVX2_VALUES + 8 * i);
            }
            AVX2_UNROLL
            for (int t = 0; t < AVX2_TOKENS_F32; t++) {
                __m256 xt = _mm256_set1_ps(x[8 * i + t]);
                AVX2_UNROLL
                for (int g = 0; g < n_group; g++) {
                    sum[n_group * t + g] = _mm256_fmadd_ps(v[g], xt, sum[n_group * t + g]);
                }
            }
        }
        AVX2_UNROLL
        for (int j = 0; j < n_group * AVX2_TOKENS_F32; j++) {
            float *to = acc + j / n_group * stride + j % n_group * 8;
            _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), sum[j]));
        }
    }
}

static AVX2 void avx2_dot_many_f32(float *acc, int64_t stride, const float *values, const float *x,
                                   int64_t n, int64_t n_group)
{
    int64_t g = 0;
    for (; g + 2 <= n_group; g += 2) {
        avx2_dot_groups_f32(acc + 8 * g, stride, values + g * AVX2_VALUES, x, n, 2);
    }
    if (g < n_group) {
        avx2_dot_groups_f32(acc + 8 * g, stride, values + g * AVX2_VALUES, x, n, 1);
    }
}

/* Eight tokens (or what is left of them, the rest zero) interleaved: [n][8]. They are turned as
 * eight rows of weights are. */
static AVX2 void avx2_tile_f32(const struct avx2_float_scratch *s, const uint8_t *act,
                               size_t act_bytes, int64_t column, int64_t n, int64_t n_token)
{
    const uint8_t *p = act + (size_t)column * 4;
    if (n_token >= 8 && n % 8 == 0) {
        avx2_load_f32(s->x, p, act_bytes, n, 0);
    } else {
        avx2_copy_tail(s->tail, p, act_bytes, min_i64(n_token, 8), (size_t)n * 4);
        avx2_load_f32(s->x, s->tail, AVX2_TAIL_STRIDE, (n + 7) & ~(int64_t)7, 0);
    }
}

/* Eight rows of n columns as floats. */
static AVX2 void avx2_values(const struct avx2_float_format *f, const struct avx2_float_scratch *s,
                             float *values, const uint8_t *w, size_t stride, int64_t n_row,
                             int64_t n, size_t distance)
{
    if (n_row < 8 || n % 8 != 0) {
        avx2_copy_tail(s->tail, w, stride, min_i64(n_row, 8),
                       (size_t)(n / f->block_elements) * (size_t)f->block_bytes);
        w = s->tail;
        stride = AVX2_TAIL_STRIDE;
    }
    if (f->load != NULL) {
        f->load(values, w, stride, (n + 7) & ~(int64_t)7, distance);
    } else if (f->unpack != NULL) {
        f->unpack(s->panel, w, stride, (int32_t)n / f->block_elements, distance);
        f->expand(values, s->panel, (int32_t)n / f->block_elements, f->offset, f->has_m);
    } else { /* the reference decodes rows, its values are then turned */
        for (int64_t r = 0; r < 8; r++) {
            kernel_formats[f->type].decode(s->x + r * AVX2_COLUMNS, w + (size_t)r * stride, n);
        }
        avx2_load_f32(values, (const uint8_t *)s->x, AVX2_COLUMNS * 4, n, distance);
    }
}

/* acc += these rows' values with all tokens. */
static AVX2 void avx2_multiply_values(const struct avx2_float_scratch *s,
                                      const struct avx2_rows *rows, const uint8_t *act,
                                      int64_t n_token, int64_t k, int64_t column, int many)
{
    size_t act_bytes = act_f32.row_bytes(k);
    int64_t n = min_i64(AVX2_COLUMNS, k - column);
    for (int64_t t = 0; t < n_token; t += many ? AVX2_TOKENS_F32 : 1) {
        const uint8_t *x = act + (size_t)t * act_bytes;
        if (many) {
            avx2_tile_f32(s, x, act_bytes, column, n, n_token - t);
            avx2_dot_many_f32(s->acc + t * rows->step, rows->step, s->values, s->x, n,
                              (rows->n_row + 7) / 8);
            continue;
        }
        for (int64_t g = 0; 8 * g < rows->n_row; g++) {
            avx2_dot_one_f32(s->acc + t * rows->step + 8 * g, s->values + g * AVX2_VALUES,
                             (const float *)(const void *)x + column, n);
        }
    }
}

static SLM_NOINLINE AVX2 void avx2_multiply_f32(const struct avx2_float_format *f, float *y,
                                                int64_t y_stride, const uint8_t *w, int64_t row0,
                                                int64_t row1, const void *act, int64_t n_token,
                                                int64_t k, void *scratch, int many)
{
    struct avx2_float_scratch s = avx2_float_scratch_at(scratch);
    struct avx2_rows rows;
    int64_t done = 0;
    rows.row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    while (avx2_next_rows(&rows, w, row0, row1, &done, many)) {
        memset(s.acc, 0, (size_t)((n_token + 7) * rows.step) * sizeof(float));
        for (int64_t column = 0; column < k; column += AVX2_COLUMNS) {
            int64_t n = min_i64(AVX2_COLUMNS, k - column);
            size_t offset = (size_t)(column / f->block_elements) * (size_t)f->block_bytes;
            for (int64_t g = 0; 8 * g < rows.n_row; g++) {
                avx2_values(f, &s, s.values + g * AVX2_VALUES,
                            rows.w + (size_t)(8 * g) * rows.row_bytes + offset, rows.stride,
                            rows.n_row - 8 * g, n, avx2_distance(&rows, offset));
            }
            avx2_multiply_values(&s, &rows, (const uint8_t *)act, n_token, k, column, many);
        }
        avx2_store_rows(y, y_stride, s.acc, &rows, n_token);
    }
}

/* ---- Activations ----------------------------------------------------------------------------- */

/* The same bytes as the reference: the same operations on floats, one by one. */

static AVX2_INLINE __m256i avx2_magnitudes(const float *x)
{
    return _mm256_and_si256(avx2_load(x), _mm256_set1_epi32(0x7fffffff));
}

static AVX2_INLINE uint32_t avx2_largest(__m256i v)
{
    __m128i a = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(a);
}

static AVX2_INLINE int32_t avx2_total(__m256i v)
{
    __m128i a = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return _mm_cvtsi128_si32(a);
}

/* 32 floats times `factor`, to the nearest, as bytes in order. */
static AVX2_INLINE __m256i avx2_quantize_32(const float *x, __m256 factor, __m256i *sum)
{
    __m256i v[4];
    AVX2_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        v[j] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * j), factor));
        v[j] = _mm256_min_epi32(v[j], _mm256_set1_epi32(127));
    }
    *sum = _mm256_add_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
    __m256i packed =
        _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static AVX2_INLINE float avx2_round_f16(float f)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph(_mm_set_ss(f), 0)));
}

static AVX2 void avx2_quantize_q8_0(int8_t *q, float *d, float *s, const float *x)
{
    __m256i a = _mm256_max_epi32(avx2_magnitudes(x), avx2_magnitudes(x + 8));
    __m256i b = _mm256_max_epi32(avx2_magnitudes(x + 16), avx2_magnitudes(x + 24));
    uint32_t largest = avx2_largest(_mm256_max_epi32(a, b));
    avx2_store(q, _mm256_setzero_si256());
    *d = *s = 0;
    if (largest >= REF_INFINITY_BITS) {
        *d = *s = bits_to_f32(REF_NAN_BITS);
    } else if (largest >= REF_TINY_BITS) {
        float amax = bits_to_f32(largest);
        float scale = amax / 127.0f;
        __m256i sum;
        avx2_store(q, avx2_quantize_32(x, _mm256_set1_ps(127.0f / amax), &sum));
        *d = avx2_round_f16(scale);
        *s = avx2_round_f16(scale * (float)avx2_total(sum));
    }
}

static AVX2 void avx2_prepare_q8_0(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * act_q8_0.row_bytes(k);
        struct act_q8_0_planes to = act_q8_0_at(row, k);
        for (int64_t i = 0; i < k / 32; i++) {
            avx2_quantize_q8_0(to.q + 32 * i, to.d + i, to.s + i, x + t * k + 32 * i);
        }
    }
}

/* The first element whose magnitude is `largest`. */
static AVX2_INLINE float avx2_first(const float *x, uint32_t largest)
{
    __m256i bits = _mm256_set1_epi32((int32_t)largest);
    for (int32_t i = 0; i < 256; i += 8) {
        __m256i same = _mm256_cmpeq_epi32(avx2_magnitudes(x + i), bits);
        uint32_t mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(same));
        if (mask != 0) {
            return x[i + __builtin_ctz(mask)];
        }
    }
    return x[0];
}

static AVX2 void avx2_quantize_q8_k(int8_t *q, float *d, int16_t *bsums, const float *x)
{
    __m256i a = avx2_magnitudes(x);
    for (int32_t i = 8; i < 256; i += 8) {
        a = _mm256_max_epi32(a, avx2_magnitudes(x + i));
    }
    uint32_t largest = avx2_largest(a);
    if (largest >= REF_INFINITY_BITS || largest < REF_TINY_BITS) {
        memset(q, 0, 256);
        memset(bsums, 0, 16 * sizeof *bsums);
        *d = largest >= REF_INFINITY_BITS ? bits_to_f32(REF_NAN_BITS) : 0;
        return;
    }
    float inverse = -127.0f / avx2_first(x, largest);
    for (int32_t i = 0; i < 8; i++) {
        __m256i sum;
        __m256i v = avx2_quantize_32(x + 32 * i, _mm256_set1_ps(inverse), &sum);
        avx2_store(q + 32 * i, v);
        sum = _mm256_maddubs_epi16(_mm256_set1_epi8(1), v);
        sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
        __m128i low = _mm256_castsi256_si128(sum), high = _mm256_extracti128_si256(sum, 1);
        low = _mm_hadd_epi32(low, high);
        low = _mm_hadd_epi32(low, low);
        bsums[2 * i] = (int16_t)_mm_cvtsi128_si32(low);
        bsums[2 * i + 1] = (int16_t)_mm_extract_epi32(low, 1);
    }
    *d = 1.0f / inverse;
}

static AVX2 void avx2_prepare_q8_k(void *act, const float *x, int64_t n_token, int64_t k)
{
    for (int64_t t = 0; t < n_token; t++) {
        uint8_t *row = (uint8_t *)act + (size_t)t * act_q8_k.row_bytes(k);
        struct act_q8_k_planes to = act_q8_k_at(row, k);
        for (int64_t i = 0; i < k / 256; i++) {
            avx2_quantize_q8_k(to.q + 256 * i, to.d + i, to.bsums + 16 * i, x + t * k + 256 * i);
        }
    }
}

static const struct kernel_act avx2_act_q8_0 = {"q8_0", ref_act_q8_0_bytes, avx2_prepare_q8_0};
static const struct kernel_act avx2_act_q8_k = {"q8_k", ref_act_q8_k_bytes, avx2_prepare_q8_k};

/* ---- The types ------------------------------------------------------------------------------- */

/* X(id, type, elements, offset, act, tile, dot, one) of the types multiplied as integers. */
#define AVX2_INTEGER_TYPES(X)                                                                      \
    X(Q4_0, q4_0, 32, 8, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_4_offset, avx2_one_q4_0)          \
    X(Q4_1, q4_1, 32, 0, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_4_min, NULL)                      \
    X(Q5_0, q5_0, 32, 16, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_5_offset, NULL)                  \
    X(Q5_1, q5_1, 32, 0, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_5_min, NULL)                      \
    X(Q8_0, q8_0, 32, 0, avx2_act_q8_0, avx2_tile_q8_0_wide, avx2_dot_8, avx2_one_q8_0)            \
    X(Q2_K, q2_k, 256, 0, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_25_k, NULL)                      \
    X(Q3_K, q3_k, 256, 4, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_3_k, NULL)                       \
    X(Q4_K, q4_k, 256, 0, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_4_k, avx2_one_q4_k)              \
    X(Q5_K, q5_k, 256, 0, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_25_k, NULL)                      \
    X(Q6_K, q6_k, 256, 32, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_6_k, avx2_one_q6_k)

/* X(id, type, elements, bytes, load, unpack, expand, offset, has_m): how a type becomes floats. */
#define AVX2_FLOAT_TYPES(X)                                                                        \
    X(F32, f32, 1, 4, avx2_load_f32, NULL, NULL, 0, 0)                                             \
    X(F16, f16, 1, 2, avx2_load_f16, NULL, NULL, 0, 0)                                             \
    X(BF16, bf16, 1, 2, avx2_load_bf16, NULL, NULL, 0, 0)                                          \
    X(Q4_0, q4_0, 32, 18, NULL, avx2_unpack_q4_0, avx2_expand_32, 8, 0)                            \
    X(Q4_1, q4_1, 32, 20, NULL, avx2_unpack_q4_1, avx2_expand_32, 0, 1)                            \
    X(Q5_0, q5_0, 32, 22, NULL, avx2_unpack_q5_0, avx2_expand_32, 16, 0)                           \
    X(Q5_1, q5_1, 32, 24, NULL, avx2_unpack_q5_1, avx2_expand_32, 0, 1)                            \
    X(Q8_0, q8_0, 32, 34, NULL, avx2_unpack_q8_0, avx2_expand_8_0, 0, 0)                           \
    X(Q2_K, q2_k, 256, 84, NULL, avx2_unpack_q2_k, avx2_expand_256, 0, 1)                          \
    X(Q3_K, q3_k, 256, 110, NULL, avx2_unpack_q3_k, avx2_expand_256, 4, 0)                         \
    X(Q4_K, q4_k, 256, 144, NULL, avx2_unpack_q4_k, avx2_expand_256, 0, 1)                         \
    X(Q5_K, q5_k, 256, 176, NULL, avx2_unpack_q5_k, avx2_expand_256, 0, 1)                         \
    X(Q6_K, q6_k, 256, 210, NULL, avx2_unpack_q6_k, avx2_expand_256, 32, 0)

/* X(id, type, elements, bytes): the reference decodes them, for products of many tokens. */
#define AVX2_DECODED_TYPES(X)                                                                      \
    X(IQ4_NL, iq4_nl, 32, 18)                                                                      \
    X(IQ4_XS, iq4_xs, 256, 136)                                                                    \
    X(IQ3_S, iq3_s, 256, 110)                                                                      \
    X(IQ3_XXS, iq3_xxs, 256, 98)                                                                   \
    X(IQ2_S, iq2_s, 256, 82)                                                                       \
    X(IQ2_XS, iq2_xs, 256, 74)                                                                     \
    X(IQ2_XXS, iq2_xxs, 256, 66)                                                                   \
    X(IQ1_S, iq1_s, 256, 50)                                                                       \
    X(IQ1_M, iq1_m, 256, 56)                                                                       \
    X(TQ1_0, tq1_0, 256, 54)                                                                       \
    X(TQ2_0, tq2_0, 256, 66)                                                                       \
    X(MXFP4, mxfp4, 32, 17)                                                                        \
    X(NVFP4, nvfp4, 64, 36)                                                                        \
    X(Q1_0, q1_0, 128, 18)                                                                         \
    X(Q2_0, q2_0, 64, 18)

/* struct kernel_product has no room for the format: each type gets its own entry points. */
#define AVX2_PRODUCT(name, call, act, scratch_size)                                                \
    static AVX2 void name(float *y, int64_t y_stride, const uint8_t *w, int64_t row0,              \
                          int64_t row1, const void *act_rows, int64_t n_token, int64_t k,          \
                          void *scratch)                                                           \
    {                                                                                              \
        call;                                                                                      \
    }                                                                                              \
    static const struct kernel_product name##_product = {&act, scratch_size, name};

#define AVX2_INTEGER(id, type, elements, offset, act, tile, dot, one)                              \
    static const struct avx2_format avx2_format_##type = {                                         \
        &act, elements, (int32_t)sizeof(struct block_##type), offset, avx2_unpack_##type, tile,    \
        dot,  one};                                                                                \
    AVX2_PRODUCT(avx2_mul_##type,                                                                  \
                 avx2_multiply(&avx2_format_##type, y, y_stride, w, row0, row1, act_rows, n_token, \
                               k, scratch),                                                        \
                 act, avx2_scratch_bytes)
AVX2_INTEGER_TYPES(AVX2_INTEGER)

#define AVX2_FLOAT(id, type, elements, bytes, load, unpack, expand, offset, has_m)                 \
    static const struct avx2_float_format avx2_float_##type = {                                    \
        ENC_##id, elements, bytes, has_m, load, unpack, expand, offset};                           \
    AVX2_PRODUCT(avx2_one_f32_##type,                                                              \
                 avx2_multiply_f32(&avx2_float_##type, y, y_stride, w, row0, row1, act_rows,       \
                                   n_token, k, scratch, 0),                                        \
                 act_f32, avx2_float_scratch_bytes)                                                \
    AVX2_PRODUCT(avx2_many_f32_##type,                                                             \
                 avx2_multiply_f32(&avx2_float_##type, y, y_stride, w, row0, row1, act_rows,       \
                                   n_token, k, scratch, 1),                                        \
                 act_f32, avx2_float_scratch_bytes)
AVX2_FLOAT_TYPES(AVX2_FLOAT)

#define AVX2_DECODED(id, type, elements, bytes)                                                    \
    static const struct avx2_float_format avx2_float_##type = {ENC_##id, elements, bytes, 0,       \
                                                               NULL,     NULL,     NULL,  0};      \
    AVX2_PRODUCT(avx2_many_f32_##type,                                                             \
                 avx2_multiply_f32(&avx2_float_##type, y, y_stride, w, row0, row1, act_rows,       \
                                   n_token, k, scratch, 1),                                        \
                 act_f32, avx2_float_scratch_bytes)
AVX2_DECODED_TYPES(AVX2_DECODED)

/* ---- Exponentials ---------------------------------------------------------------------------- */

/* exp(x) to 2 ulp: 2^n times a Taylor polynomial of degree 7 on |r| <= ln 2 / 2. Below -87.3 it is
 * 0, above 88.3 it stays where it is; NaN stays NaN. */
static AVX2_INLINE __m256 avx2_exp(__m256 x)
{
    __m256 low = _mm256_set1_ps(-87.3f);
    /* min and max give their second operand for NaN */
    __m256 z = _mm256_min_ps(_mm256_set1_ps(88.3f), _mm256_max_ps(low, x));
    __m256i n = _mm256_cvtps_epi32(_mm256_mul_ps(z, _mm256_set1_ps(0x1.715476p+0f)));
    __m256 whole = _mm256_cvtepi32_ps(n);
    __m256 r = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0x1.62e4p-1f), z);
    r = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    __m256i power = _mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
    return _mm256_and_ps(p, _mm256_cmp_ps(x, low, _CMP_NLT_UQ));
}

/* The first n of 8 lanes. */
static AVX2_INLINE __m256i avx2_mask(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)min_i64(n, 8)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static AVX2_INLINE float avx2_sum_lanes(__m256 v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

static AVX2_INLINE float avx2_max_lanes(__m256 v)
{
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}

/* ---- Attention ------------------------------------------------------------------------------- */

/* One page at a time: scores of all queries, then weights, then values. Queries go through a page
 * four, two or one together, so that a key or value is loaded (and widened) once for them; the sums
 * of each query are the same operations in the same order however it is grouped. */

/* Elements e..e+7 of a row. */
static AVX2_INLINE __m256 avx2_kv(const uint8_t *row, int64_t e, int f16)
{
    return f16 ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + 2 * e)))
               : _mm256_loadu_ps((const float *)(const void *)(row + 4 * e));
}

/* n of them, n < 8, and zeros. */
static AVX2_INLINE __m256 avx2_kv_part(const uint8_t *row, int64_t e, int64_t n, int f16)
{
    uint64_t part[4] = {0, 0, 0, 0};
    memcpy(part, row + e * (f16 ? 2 : 4), (size_t)n * (f16 ? 2 : 4));
    return avx2_kv((const uint8_t *)part, 0, f16);
}

/* scores of n queries (from query i on) at positions p and p + 1; without a next k1 is k0 */
static AVX2_INLINE void avx2_scores(const struct kernel_attention_job *job, int32_t i, int n,
                                    const uint8_t *k0, const uint8_t *k1, float *scores, int f16)
{
    __m256 sum[8];
    const float *q = job->q + i * job->q_stride;
    int64_t q_stride = job->q_stride, dim = job->head_dim, e = 0;
    AVX2_UNROLL
    for (int j = 0; j < 2 * n; j++) {
        sum[j] = _mm256_setzero_ps();
    }
    for (; e + 8 <= dim; e += 8) {
        __m256 a = avx2_kv(k0, e, f16), b = avx2_kv(k1, e, f16);
        AVX2_UNROLL
        for (int j = 0; j < n; j++) {
            __m256 v = _mm256_loadu_ps(q + j * q_stride + e);
            sum[2 * j] = _mm256_fmadd_ps(a, v, sum[2 * j]);
            sum[2 * j + 1] = _mm256_fmadd_ps(b, v, sum[2 * j + 1]);
        }
    }
    if (e < dim) {
        __m256 a = avx2_kv_part(k0, e, dim - e, f16), b = avx2_kv_part(k1, e, dim - e, f16);
        AVX2_UNROLL
        for (int j = 0; j < n; j++) {
            __m256 v = _mm256_maskload_ps(q + j * q_stride + e, avx2_mask(dim - e));
            sum[2 * j] = _mm256_fmadd_ps(a, v, sum[2 * j]);
            sum[2 * j + 1] = _mm256_fmadd_ps(b, v, sum[2 * j + 1]);
        }
    }
    AVX2_UNROLL
    for (int j = 0; j < n; j++) {
        scores[j * KV_PAGE] = avx2_sum_lanes(sum[2 * j]);
        if (k1 != k0) {
            scores[j * KV_PAGE + 1] = avx2_sum_lanes(sum[2 * j + 1]);
        }
    }
}

/* The positions of the page p0..p1-1 that some of n queries see; 0 if none. */
static AVX2_INLINE int avx2_seen(const struct kernel_attention_job *job, int32_t i, int n,
                                 int32_t p0, int32_t p1, int32_t *first, int32_t *last)
{
    *first = p1;
    *last = p0;
    for (int j = 0; j < n; j++) {
        int32_t from = max_i32(p0, job->from[i + j]), to = min_i32(p1, job->to[i + j]);
        if (from < to) {
            *first = min_i32(*first, from);
            *last = max_i32(*last, to);
        }
    }
    return *first < *last;
}

static AVX2_INLINE void avx2_page_scores(const struct kernel_attention_job *job, int32_t i, int n,
                                         const uint8_t *page, int32_t p0, int32_t p1, float *scores,
                                         int f16)
{
    int32_t first, last;
    size_t row_bytes = (size_t)job->head_dim * (f16 ? 2 : 4);
    if (!avx2_seen(job, i, n, p0, p1, &first, &last)) {
        return;
    }
    size_t v_bytes = (size_t)job->head_dim_v * (f16 ? 2 : 4);
    for (int32_t p = first; p < last; p += 2) {
        const uint8_t *k = page + job->k_offset + (size_t)(p % KV_PAGE) * row_bytes;
        if (i == 0) { /* the values are wanted next, in an order that no prefetcher guesses */
            avx2_prefetch(page, job->v_offset + (size_t)(p % KV_PAGE) * v_bytes, 2 * v_bytes);
            avx2_prefetch(k, AVX2_DISTANCE, 2 * row_bytes);
        }
        avx2_scores(job, i, n, k, p + 1 < last ? k + row_bytes : k,
                    scores + (int64_t)i * KV_PAGE + p % KV_PAGE, f16);
    }
}

/* c * tanh(s / c) = c - 2 c / (exp(2 s / c) + 1) */
static AVX2_INLINE __m256 avx2_softcap(__m256 s, float c)
{
    __m256 e = avx2_exp(_mm256_mul_ps(s, _mm256_set1_ps(2.0f / c)));
    __m256 part = _mm256_div_ps(_mm256_set1_ps(2.0f * c), _mm256_add_ps(e, _mm256_set1_ps(1.0f)));
    return _mm256_sub_ps(_mm256_set1_ps(c), part);
}

/* Scores of query i on a page become exp(score - max); sum and out come down to a new maximum. */
static AVX2 void avx2_page_weights(const struct kernel_attention_job *job, int32_t i, int32_t p0,
                                   int32_t p1, float *scores)
{
    int32_t first = max_i32(p0, job->from[i]), n = min_i32(p1, job->to[i]) - first;
    float *s = scores + (int64_t)i * KV_PAGE + first % KV_PAGE;
    if (n <= 0) {
        return;
    }
    __m256 largest = _mm256_set1_ps(job->max[i]);
    for (int32_t j = 0; j < n; j += 8) {
        __m256i mask = avx2_mask(n - j);
        __m256 v = _mm256_maskload_ps(s + j, mask);
        if (job->softcap != 0) {
            v = avx2_softcap(v, job->softcap);
            _mm256_maskstore_ps(s + j, mask, v);
        }
        v = _mm256_blendv_ps(largest, v, _mm256_castsi256_ps(mask));
        largest = _mm256_max_ps(v, largest);
    }
    float max = avx2_max_lanes(largest);
    if (first != max_i32(job->position0, job->from[i]) && max > job->max[i]) {
        float *out = job->out + i * job->out_stride;
        __m256 factor = avx2_exp(_mm256_set1_ps(job->max[i] - max));
        job->sum[i] *= _mm256_cvtss_f32(factor);
        for (int32_t e = 0; e < job->head_dim_v; e += 8) {
            __m256i mask = avx2_mask(job->head_dim_v - e);
            _mm256_maskstore_ps(out + e, mask,
                                _mm256_mul_ps(_mm256_maskload_ps(out + e, mask), factor));
        }
    }
    job->max[i] = max;
    __m256 sum = _mm256_setzero_ps();
    for (int32_t j = 0; j < n; j += 8) {
        __m256i mask = avx2_mask(n - j);
        __m256 v = _mm256_maskload_ps(s + j, mask);
        v = avx2_exp(_mm256_sub_ps(v, _mm256_set1_ps(max)));
        v = _mm256_and_ps(v, _mm256_castsi256_ps(mask));
        _mm256_maskstore_ps(s + j, mask, v);
        sum = _mm256_add_ps(sum, v);
    }
    job->sum[i] += avx2_sum_lanes(sum);
}

/* out of n queries += weights * values of n_position rows at v: elements e..e+15, or the `part` of
 * them, 1 to 15, that are left */
static AVX2_INLINE void avx2_values_16(float *out, int64_t out_stride, const float *weight,
                                       const uint8_t *v, size_t row_bytes, int32_t n_position,
                                       int64_t part, int n, int f16)
{
    __m256 sum[8];
    __m256i mask0 = avx2_mask(part), mask1 = avx2_mask(part - 8);
    AVX2_UNROLL
    for (int j = 0; j < n; j++) {
        sum[2 * j] = _mm256_maskload_ps(out + j * out_stride, mask0);
        sum[2 * j + 1] = _mm256_maskload_ps(out + j * out_stride + (part > 8 ? 8 : 0), mask1);
    }
    for (int32_t p = 0; p < n_position; p++, v += row_bytes) {
        __m256 a = part >= 8 ? avx2_kv(v, 0, f16) : avx2_kv_part(v, 0, part, f16), b = a;
        if (part > 8) {
            b = part == 16 ? avx2_kv(v, 8, f16) : avx2_kv_part(v, 8, part - 8, f16);
        }
        AVX2_UNROLL
        for (int j = 0; j < n; j++) {
            __m256 x = _mm256_set1_ps(weight[j * KV_PAGE + p]);
            sum[2 * j] = _mm256_fmadd_ps(x, a, sum[2 * j]);
            sum[2 * j + 1] = _mm256_fmadd_ps(x, b, sum[2 * j + 1]);
        }
    }
    AVX2_UNROLL
    for (int j = 0; j < n; j++) {
        _mm256_maskstore_ps(out + j * out_stride, mask0, sum[2 * j]);
        _mm256_maskstore_ps(out + j * out_stride + (part > 8 ? 8 : 0), mask1, sum[2 * j + 1]);
    }
}

/* The positions first..last-1, which all of the n queries see. */
static AVX2_INLINE void avx2_values_run(const struct kernel_attention_job *job, int32_t i, int n,
                                        const uint8_t *page, int32_t first, int32_t last,
                                        const float *weights, int f16)
{
    int64_t dim = job->head_dim_v, e = 0;
    size_t width = f16 ? 2 : 4, row_bytes = (size_t)dim * width;
    const uint8_t *v = page + job->v_offset + (size_t)(first % KV_PAGE) * row_bytes;
    const float *weight = weights + (int64_t)i * KV_PAGE + first % KV_PAGE;
    float *out = job->out + i * job->out_stride;
    for (; e + 16 <= dim; e += 16) {
        avx2_values_16(out + e, job->out_stride, weight, v + (size_t)e * width, row_bytes,
                       last - first, 16, n, f16);
    }
    if (e < dim) {
        avx2_values_16(out + e, job->out_stride, weight, v + (size_t)e * width, row_bytes,
                       last - first, dim - e, n, f16);
    }
}

/* Positions that only some of the n queries see are done query by query: what a query does not see
 * may hold anything, and 0 * NaN is NaN. */
static AVX2_INLINE void avx2_page_values(const struct kernel_attention_job *job, int32_t i, int n,
                                         const uint8_t *page, int32_t p0, int32_t p1,
                                         const float *weights, int f16)
{
    int32_t first = p0, last = p1;
    for (int j = 0; j < n; j++) {
        first = max_i32(first, job->from[i + j]);
        last = min_i32(last, job->to[i + j]);
    }
    int common = n > 1 && first < last;
    for (int j = 0; j < n; j++) {
        int32_t from = max_i32(p0, job->from[i + j]), to = min_i32(p1, job->to[i + j]);
        to = common ? first : to;
        if (from < to) {
            avx2_values_run(job, i + j, 1, page, from, to, weights, f16);
        }
    }
    if (!common) {
        return;
    }
    avx2_values_run(job, i, n, page, first, last, weights, f16);
    for (int j = 0; j < n; j++) {
        int32_t to = min_i32(p1, job->to[i + j]);
        if (last < to) {
            avx2_values_run(job, i + j, 1, page, last, to, weights, f16);
        }
    }
}

static AVX2_INLINE void avx2_attention(const struct kernel_attention_job *job, float *scores,
                                       int f16)
{
    int32_t n_q = job->n_q;
    for (int32_t i = 0; i < n_q; i++) {
        job->max[i] = bits_to_f32(REF_INFINITY_BITS | 0x80000000u);
        job->sum[i] = 0;
        memset(job->out + i * job->out_stride, 0, (size_t)job->head_dim_v * sizeof(float));
    }
    int32_t p1;
    for (int32_t p0 = job->position0; p0 < job->position1; p0 = p1) {
        const uint8_t *page = job->pages[p0 / KV_PAGE];
        p1 = min_i32(job->position1, p0 - p0 % KV_PAGE + KV_PAGE);
        int32_t i = 0;
        for (; i + 4 <= n_q; i += 4) {
            avx2_page_scores(job, i, 4, page, p0, p1, scores, f16);
        }
        for (; i < n_q; i++) {
            avx2_page_scores(job, i, 1, page, p0, p1, scores, f16);
        }
        for (i = 0; i < n_q; i++) {
            avx2_page_weights(job, i, p0, p1, scores);
        }
        for (i = 0; i + 4 <= n_q; i += 4) {
            avx2_page_values(job, i, 4, page, p0, p1, scores, f16);
        }
        for (; i < n_q; i++) {
            avx2_page_values(job, i, 1, page, p0, p1, scores, f16);
        }
    }
}

static AVX2 void avx2_attention_f16(const struct kernel_attention_job *job, void *scratch)
{
    avx2_attention(job, (float *)scratch, 1);
}

static AVX2 void avx2_attention_f32(const struct kernel_attention_job *job, void *scratch)
{
    avx2_attention(job, (float *)scratch, 0);
}

static AVX2 void avx2_kv_store_f16(uint8_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v =
            n - i >= 8 ? _mm256_loadu_ps(src + i) : _mm256_maskload_ps(src + i, avx2_mask(n - i));
        __m128i h = _mm256_cvtps_ph(v, 0);
        memcpy(dst + 2 * i, &h, (size_t)min_i64(n - i, 8) * 2);
    }
}

static void avx2_kv_store_f32(uint8_t *dst, const float *src, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof(float));
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static AVX2 void avx2_rms_norm(float *y, const float *x, const float *weight, int64_t n, float eps)
{
    __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_maskload_ps(x + i, avx2_mask(n - i));
        __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
        __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        sum[0] = _mm256_fmadd_pd(a, a, sum[0]);
        sum[1] = _mm256_fmadd_pd(b, b, sum[1]);
    }
    double lane[4];
    _mm256_storeu_pd(lane, _mm256_add_pd(sum[0], sum[1]));
    double mean = ((lane[0] + lane[2]) + (lane[1] + lane[3])) / (double)n;
    __m128d root = _mm_set_sd(mean + (double)eps);
    __m256 scale = _mm256_set1_ps((float)(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(root, root))));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), scale);
        if (weight != NULL) {
            v = _mm256_mul_ps(v, _mm256_maskload_ps(weight + i, mask));
        }
        _mm256_maskstore_ps(y + i, mask, v);
    }
}

static AVX2 void avx2_rope_neox(float *x, const float *cos_table, const float *sin_table,
                                int64_t n_rot)
{
    int64_t half = n_rot / 2;
    for (int64_t i = 0; i < half; i += 8) {
        __m256i mask = avx2_mask(half - i);
        __m256 a = _mm256_maskload_ps(x + i, mask), b = _mm256_maskload_ps(x + half + i, mask);
        __m256 c = _mm256_maskload_ps(cos_table + i, mask);
        __m256 s = _mm256_maskload_ps(sin_table + i, mask);
        __m256 u = _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s));
        __m256 v = _mm256_add_ps(_mm256_mul_ps(a, s), _mm256_mul_ps(b, c));
        _mm256_maskstore_ps(x + i, mask, u);
        _mm256_maskstore_ps(x + half + i, mask, v);
    }
}

static AVX2 void avx2_rope_norm(float *x, const float *cos_table, const float *sin_table,
                                int64_t n_rot)
{
    __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    for (int64_t i = 0; i < n_rot / 2; i += 4) {
        __m256i mask = avx2_mask(n_rot - n_rot % 2 - 2 * i),
                half = avx2_mask(min_i64(4, n_rot / 2 - i));
        __m128i half4 = _mm256_castsi256_si128(half);
        __m256 v = _mm256_maskload_ps(x + 2 * i, mask);
        __m256 c = _mm256_castps128_ps256(_mm_maskload_ps(cos_table + i, half4));
        __m256 s = _mm256_castps128_ps256(_mm_maskload_ps(sin_table + i, half4));
        c = _mm256_permutevar8x32_ps(c, twice);
        s = _mm256_permutevar8x32_ps(s, twice);
        __m256 crossed = _mm256_mul_ps(_mm256_permute_ps(v, 0xb1), s);
        _mm256_maskstore_ps(x + 2 * i, mask, _mm256_addsub_ps(_mm256_mul_ps(v, c), crossed));
    }
}

static AVX2 void avx2_swiglu(float *y, const float *gate, const float *up, int64_t n)
{
    __m256 one = _mm256_set1_ps(1.0f), minus = _mm256_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 g = _mm256_maskload_ps(gate + i, mask), u = _mm256_maskload_ps(up + i, mask);
        __m256 e = avx2_exp(_mm256_xor_ps(g, minus));
        __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, e));
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(silu, u));
    }
}

static AVX2 void avx2_vector_add(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 sum =
            _mm256_add_ps(_mm256_maskload_ps(y + i, mask), _mm256_maskload_ps(x + i, mask));
        _mm256_maskstore_ps(y + i, mask, sum);
    }
}

/* The largest value, then the first place where it stands. */
static AVX2 int64_t avx2_argmax(const float *x, int64_t n)
{
    __m256 lowest = _mm256_castsi256_ps(_mm256_set1_epi32((int32_t)0xff800000u));
    __m256 best = lowest;
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 v = _mm256_maskload_ps(x + i, mask);
        v = _mm256_blendv_ps(lowest, v, _mm256_castsi256_ps(mask));
        best = _mm256_max_ps(v, best); /* the second operand where v is NaN */
    }
    best = _mm256_set1_ps(avx2_max_lanes(best));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i mask = avx2_mask(n - i);
        __m256 same = _mm256_cmp_ps(_mm256_maskload_ps(x + i, mask), best, _CMP_EQ_OQ);
        int bits = _mm256_movemask_ps(_mm256_and_ps(same, _mm256_castsi256_ps(mask)));
        if (bits != 0) {
            return i + __builtin_ctz((unsigned)bits);
        }
    }
    return 0;
}

/* ---- The table ------------------------------------------------------------------------------- */

/* Decoding is scalar: the reference's own product is faster up to some 8 tokens. */
static void avx2_set_many(struct kernel_matrix *m, const struct kernel_product *product)
{
    m->few = m->many = product;
    m->few_min = m->many_min = 8;
}

static void kernels_set_avx2(struct kernels *k)
{
    k->isa = "avx2";

#define AVX2_SET_FLOAT(id, type, elements, bytes, load, unpack, expand, offset, has_m)             \
    {                                                                                              \
        struct kernel_matrix m = {&avx2_one_f32_##type##_product, &avx2_many_f32_##type##_product, \
                                  &avx2_many_f32_##type##_product, 4, 4};                          \
        k->exact[ENC_##id] = m;                                                                    \
        k->matrix[ENC_##id] = m;                                                                   \
    }
#define AVX2_SET_INTEGER(id, type, elements, offset, act, tile, dot, one)                          \
    {                                                                                              \
        struct kernel_matrix m = {&avx2_mul_##type##_product, &avx2_mul_##type##_product,          \
                                  &avx2_mul_##type##_product, 2, 2};                               \
        k->matrix[ENC_##id] = m;                                                                   \
    }
#define AVX2_SET_DECODED(id, type, elements, bytes)                                                \
    avx2_set_many(&k->exact[ENC_##id], &avx2_many_f32_##type##_product);                           \
    avx2_set_many(&k->matrix[ENC_##id], &avx2_many_f32_##type##_product);
    AVX2_DECODED_TYPES(AVX2_SET_DECODED)
    AVX2_FLOAT_TYPES(AVX2_SET_FLOAT)
    AVX2_INTEGER_TYPES(AVX2_SET_INTEGER)

    k->attention[KV_F16] = avx2_attention_f16;
    k->attention[KV_F32] = avx2_attention_f32;
    k->kv_store[KV_F16] = avx2_kv_store_f16;
    k->kv_store[KV_F32] = avx2_kv_store_f32;
    k->rms_norm = avx2_rms_norm;
    k->rope[ROPE_NORM] = avx2_rope_norm;
    k->rope[ROPE_NEOX] = avx2_rope_neox;
    k->swiglu = avx2_swiglu;
    k->add = avx2_vector_add;
    k->argmax = avx2_argmax;
}

#undef AVX2
#undef AVX2_INLINE
#undef AVX2_UNROLL
#undef AVX2_DOT
#undef AVX2_DOT_32
#undef AVX2_DOT_256
#undef AVX2_PRODUCT
#undef AVX2_INTEGER
#undef AVX2_FLOAT
#undef AVX2_SET_FLOAT
#undef AVX2_SET_INTEGER
#undef AVX2_INTEGER_TYPES
#undef AVX2_FLOAT_TYPES
#undef AVX2_DECODED_TYPES
#undef AVX2_DECODED
#undef AVX2_SET_DECODED

#endif /* x86-64 */
