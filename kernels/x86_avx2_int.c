/* x86_avx2_int.c - products of quantised weights with int8 activations for AVX2, and what all AVX2
 * files share: compiler macros, panels and their unpacking.
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

static const struct kernel_act avx2_act_q8_0 = {"q8_0", 1, ref_act_q8_0_bytes, avx2_prepare_q8_0};
static const struct kernel_act avx2_act_q8_k = {"q8_k", 1, ref_act_q8_k_bytes, avx2_prepare_q8_k};

#endif /* x86-64 */
