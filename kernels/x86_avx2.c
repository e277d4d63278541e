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

#define AVX2_COLUMNS 256 /* of a panel */
#define AVX2_GROUPS 4    /* of eight rows, unpacked together when there are several tokens */
#define AVX2_TOKENS 4    /* per pass over an integer panel */
#define AVX2_TOKENS_F32 8
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
    int32_t sums[AVX2_TOKENS][8]; /* per 32 columns: -offset * sum of q */
    int16_t wide[AVX2_TOKENS][AVX2_COLUMNS]; /* per 32 columns: 16 even ones, 16 odd ones */
};

/* How an encoding is multiplied. */
struct avx2_format {
    const struct kernel_act *act;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t offset; /* weights are stored as q + offset */
    /* 8 rows at w + r * stride, n_block blocks of each */
    void (*unpack)(struct avx2_panel *panel, const uint8_t *w, size_t stride, int32_t n_block);
    void (*tile)(struct avx2_tile *tile, const uint8_t *act, size_t act_bytes, int64_t k,
                 int64_t column, int32_t n_block, int32_t n_token, int32_t offset);
    /* acc[t * stride + row] += products of the panel with 1 or AVX2_TOKENS tokens */
    void (*dot)(float *acc, int64_t stride, const struct avx2_panel *panel,
                const struct avx2_tile *tile, int32_t n_block, int32_t n_token);
};

/* ---- Loads and transposes ------------------------------------------------------------------- */

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

/* 16 bytes of each of 8 rows: v[j] <- 32-bit word j of rows 0..7. */
static AVX2_INLINE void avx2_transpose(__m256i v[4], const uint8_t *p, size_t stride)
{
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

/* ---- Unpacking: 32-element blocks ------------------------------------------------------------- */

/* Q4_0, Q4_1, Q5_0, Q5_1 differ in where things stand; bytes before qs: d, m?, qh? */
static AVX2_INLINE void avx2_unpack_32(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                       int32_t n_block, int has_m, int has_high)
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
        avx2_transpose(v, p + block_bytes - 16, stride);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(panel->q[8 * b + j], avx2_low_nibbles(v[j]));
            avx2_store(panel->q[8 * b + 4 + j], avx2_high_nibbles(v[j]));
        }
        if (!has_high) {
            continue;
        }
        /* Word j of the block wants bits 4j..4j+3 of qh, one in bit 4 of each byte. */
        avx2_transpose(v, p + header, stride);
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
                                  int32_t n_block)
{
    avx2_unpack_32(panel, w, stride, n_block, 0, 0);
}

static AVX2 void avx2_unpack_q4_1(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block)
{
    avx2_unpack_32(panel, w, stride, n_block, 1, 0);
}

static AVX2 void avx2_unpack_q5_0(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block)
{
    avx2_unpack_32(panel, w, stride, n_block, 0, 1);
}

static AVX2 void avx2_unpack_q5_1(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block)
{
    avx2_unpack_32(panel, w, stride, n_block, 1, 1);
}

/* Eight bits and a sign leave vpmaddubsw no room: widened to int16, even and odd columns apart. */
static AVX2 void avx2_unpack_q8_0(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block)
{
    for (int32_t b = 0; b < n_block; b++) {
        const uint8_t *p = w + b * 34;
        _mm256_storeu_ps(panel->d[b], avx2_halves(p, stride));
        for (int32_t c = 0; c < 2; c++) {
            __m256i v[4];
            avx2_transpose(v, p + 2 + 16 * c, stride);
            AVX2_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                uint8_t(*q)[32] = &panel->q[16 * b + 8 * c + 2 * j];
                avx2_store(q[0], _mm256_srai_epi16(_mm256_slli_epi16(v[j], 8), 8));
                avx2_store(q[1], _mm256_srai_epi16(v[j], 8));
            }
        }
    }
}

/* ---- Unpacking: super-blocks of 256 ----------------------------------------------------------- */

/* Sixteen bytes per row, four to a vector, become the two tables of the panel: scale[i] is byte i
 * twice, low[i] bytes 2i and 2i+1 times `factor`. Bytes are signed. */
static AVX2_INLINE void avx2_spread_scales(struct avx2_panel *panel, const __m256i scales[4])
{
    AVX2_UNROLL
    for (int32_t i = 0; i < 16; i++) {
        int32_t byte = i % 4;
        __m256i at = _mm256_add_epi8(
            _mm256_set1_epi32((int32_t)(0x00800080u | (uint32_t)byte << 8 | (uint32_t)byte << 24)),
            _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0c000c00, 0, 0x04000400, 0x08000800,
                              0x0c000c00));
        __m256i v = _mm256_shuffle_epi8(scales[i / 4], at);
        avx2_store(panel->scale[i], _mm256_srai_epi16(v, 8));
    }
}

/* low[i] <- (byte 2i, byte 2i+1) << shift; as above, bytes are signed. */
static AVX2_INLINE void avx2_spread_lows(struct avx2_panel *panel, const __m256i lows[4],
                                         int32_t shift)
{
    AVX2_UNROLL
    for (int32_t i = 0; i < 8; i++) {
        uint32_t byte = i % 2 ? 0x03800280u : 0x01800080u;
        __m256i at = _mm256_add_epi8(_mm256_set1_epi32((int32_t)byte),
                                     _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0c000c00, 0,
                                                       0x04000400, 0x08000800, 0x0c000c00));
        __m256i v = _mm256_shuffle_epi8(lows[i / 2], at);
        avx2_store(panel->low[i], _mm256_srai_epi16(v, 8 - shift));
    }
}

/* Scales and minimums of Q4_K and Q5_K; the header of 16 bytes is d, dmin, 12 bytes of both. */
static AVX2_INLINE void avx2_unpack_header_45(struct avx2_panel *panel, const uint8_t *w,
                                              size_t stride)
{
    __m256i v[4], low6 = _mm256_set1_epi8(63), high2 = _mm256_set1_epi8(48);
    avx2_transpose(v, w, stride);
    /* f16 in the halves of a word: gather the low halves of eight lanes, then the high halves. */
    __m256i halves = _mm256_shuffle_epi8(
        v[0], _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8,
                               9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    halves = _mm256_permute4x64_epi64(halves, 0xd8);
    _mm256_storeu_ps(panel->d[0], _mm256_cvtph_ps(_mm256_castsi256_si128(halves)));
    _mm256_storeu_ps(panel->m[0], _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
    __m256i scale[2], min[2];
    scale[0] = _mm256_and_si256(v[1], low6);
    min[0] = _mm256_and_si256(v[2], low6);
    scale[1] = _mm256_or_si256(avx2_low_nibbles(v[3]),
                               _mm256_and_si256(_mm256_srli_epi16(v[1], 2), high2));
    min[1] = _mm256_or_si256(avx2_high_nibbles(v[3]),
                             _mm256_and_si256(_mm256_srli_epi16(v[2], 2), high2));
    for (int32_t s = 0; s < 8; s++) {
        uint32_t byte = (uint32_t)s % 4;
        __m256i at = _mm256_add_epi8(
            _mm256_set1_epi32((int32_t)(0x80008000u | byte | byte << 16)),
            _mm256_setr_epi32(0, 0x00040004, 0x00080008, 0x000c000c, 0, 0x00040004, 0x00080008,
                              0x000c000c));
        __m256i twice = _mm256_shuffle_epi8(scale[s / 4], at);
        avx2_store(panel->scale[2 * s], twice);
        avx2_store(panel->scale[2 * s + 1], twice);
        avx2_store(panel->low[s], _mm256_shuffle_epi8(min[s / 4], at));
    }
}

static AVX2 void avx2_unpack_q4_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block)
{
    (void)n_block;
    avx2_unpack_header_45(panel, w, stride);
    for (int32_t u = 0; u < 4; u++) {
        for (int32_t c = 0; c < 2; c++) {
            __m256i v[4];
            avx2_transpose(v, w + 16 + 32 * u + 16 * c, stride);
            AVX2_UNROLL
            for (int32_t j = 0; j < 4; j++) {
                avx2_store(panel->q[16 * u + 4 * c + j], avx2_low_nibbles(v[j]));
                avx2_store(panel->q[16 * u + 8 + 4 * c + j], avx2_high_nibbles(v[j]));
            }
        }
    }
}

static AVX2 void avx2_unpack_q5_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block)
{
    (void)n_block;
    avx2_unpack_header_45(panel, w, stride);
    __m256i fifth = _mm256_set1_epi8(16);
    for (int32_t c = 0; c < 2; c++) {
        __m256i v[4], high[4];
        avx2_transpose(high, w + 16 + 16 * c, stride);
        for (int32_t u = 0; u < 4; u++) {
            avx2_transpose(v, w + 48 + 32 * u + 16 * c, stride);
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
                                  int32_t n_block)
{
    (void)n_block;
    __m256i high2 = _mm256_set1_epi8(48);
    AVX2_UNROLL
    for (int32_t i = 0; i < 4; i++) {
        int32_t n = i / 2, c = i % 2;
        __m256i a[4], b[4], h[4];
        avx2_transpose(a, w + 64 * n + 16 * c, stride);
        avx2_transpose(b, w + 64 * n + 32 + 16 * c, stride);
        avx2_transpose(h, w + 128 + 32 * n + 16 * c, stride);
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
    avx2_transpose(scales, w + 192, stride);
    avx2_spread_scales(panel, scales);
    avx2_spread_lows(panel, scales, 5);
    _mm256_storeu_ps(panel->d[0], avx2_halves(w + 208, stride));
}

static AVX2 void avx2_unpack_q3_k(struct avx2_panel *panel, const uint8_t *w, size_t stride,
                                  int32_t n_block)
{
    (void)n_block;
    __m256i three = _mm256_set1_epi8(3), four = _mm256_set1_epi8(4), high2 = _mm256_set1_epi8(48);
    __m256i k[4], scales[4], center = _mm256_set1_epi8(32);
    for (int32_t c = 0; c < 2; c++) {
        __m256i h[4], v[4];
        avx2_transpose(h, w + 16 * c, stride);
        for (int32_t n = 0; n < 2; n++) {
            avx2_transpose(v, w + 32 + 32 * n + 16 * c, stride);
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
    avx2_transpose(k, w + 92, stride);
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
                                  int32_t n_block)
{
    (void)n_block;
    __m256i three = _mm256_set1_epi8(3), v[4], scales[4], mins[4];
    AVX2_UNROLL
    for (int32_t i = 0; i < 4; i++) {
        int32_t n = i / 2, c = i % 2;
        avx2_transpose(v, w + 16 + 32 * n + 16 * c, stride);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            uint8_t(*q)[32] = &panel->q[32 * n + 4 * c + j];
            avx2_store(q[0], _mm256_and_si256(v[j], three));
            avx2_store(q[8], _mm256_and_si256(_mm256_srli_epi16(v[j], 2), three));
            avx2_store(q[16], _mm256_and_si256(_mm256_srli_epi16(v[j], 4), three));
            avx2_store(q[24], _mm256_and_si256(_mm256_srli_epi16(v[j], 6), three));
        }
    }
    avx2_transpose(v, w, stride);
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

/* ---- Tiles of activations ---------------------------------------------------------------------- */

static AVX2_INLINE void avx2_prefetch(const void *p, int64_t n)
{
    for (int64_t i = 0; i < n; i += 64) {
        _mm_prefetch((const char *)p + i, _MM_HINT_T0);
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
        struct act_q8_0_planes planes = act_q8_0_at((void *)(uintptr_t)(act + (size_t)t * act_bytes), k);
        tile->q[t] = planes.q + column;
        tile->d[t] = planes.d + column / 32;
        tile->s[t] = planes.s + column / 32;
        avx2_prefetch(tile->q[t] + (size_t)n_token * act_bytes, AVX2_COLUMNS);
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
        struct act_q8_k_planes planes = act_q8_k_at((void *)(uintptr_t)(act + (size_t)t * act_bytes), k);
        tile->q[t] = planes.q + column;
        tile->d[t] = planes.d + column / 256;
        tile->bsums[t] = planes.bsums + column / 16;
        avx2_prefetch(tile->q[t] + (size_t)n_token * act_bytes, AVX2_COLUMNS);
    }
}

/* ---- Dot products of a panel -------------------------------------------------------------------- */

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
    AVX2_UNROLL
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
    AVX2_UNROLL
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

/* ---- Products of integers ----------------------------------------------------------------------- */

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

/* acc += panels of n_group * 8 rows with all tokens. */
static AVX2 void avx2_multiply_panels(const struct avx2_format *f, const struct avx2_scratch *s,
                                      int32_t n_group, int64_t step, const uint8_t *act,
                                      int64_t n_token, int64_t k, int64_t column, int32_t n_block)
{
    size_t act_bytes = f->act->row_bytes(k);
    int32_t n = 0;
    for (int64_t t = 0; t < n_token; t += n) {
        n = n_token - t >= AVX2_TOKENS ? AVX2_TOKENS : 1;
        f->tile(s->tile, act + (size_t)t * act_bytes, act_bytes, k, column, n_block, n, f->offset);
        for (int32_t g = 0; g < n_group; g++) {
            f->dot(s->acc + t * step + 8 * g, step, &s->panels[g], s->tile, n_block, n);
        }
    }
}

static AVX2_INLINE void avx2_store_rows(float *y, int64_t y_stride, const float *acc, int64_t step,
                                        int64_t n_row, int64_t n_token)
{
    for (int64_t t = 0; t < n_token; t++) {
        memcpy(y + t * y_stride, acc + t * step, (size_t)n_row * sizeof(float));
    }
}

static AVX2 void avx2_multiply(const struct avx2_format *f, float *y, int64_t y_stride,
                               const uint8_t *w, int64_t row0, int64_t row1, const void *act,
                               int64_t n_token, int64_t k, void *scratch)
{
    struct avx2_scratch s = avx2_scratch_at(scratch);
    size_t row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    int64_t step = n_token < AVX2_TOKENS ? 8 : 8 * AVX2_GROUPS;
    for (int64_t row = row0; row < row1; row += step) {
        int64_t n_row = min_i64(step, row1 - row);
        const uint8_t *at = w + (size_t)row * row_bytes;
        const uint8_t *ahead = at + (size_t)step * row_bytes;
        memset(s.acc, 0, (size_t)(n_token * step) * sizeof(float));
        for (int64_t column = 0; column < k; column += AVX2_COLUMNS) {
            int32_t n_block = (int32_t)min_i64(AVX2_COLUMNS, k - column) / f->block_elements;
            size_t bytes = (size_t)n_block * (size_t)f->block_bytes;
            size_t offset = (size_t)(column / f->block_elements) * (size_t)f->block_bytes;
            for (int64_t g = 0; 8 * g < n_row; g++) {
                const uint8_t *p = at + (size_t)(8 * g) * row_bytes + offset;
                if (row + step < row1) {
                    avx2_prefetch(ahead, (int64_t)(8 * bytes));
                    ahead += 8 * bytes;
                }
                if (n_row - 8 * g >= 8) {
                    f->unpack(&s.panels[g], p, row_bytes, n_block);
                } else {
                    avx2_copy_tail(s.tail, p, row_bytes, n_row - 8 * g, bytes);
                    f->unpack(&s.panels[g], s.tail, AVX2_TAIL_STRIDE, n_block);
                }
            }
            avx2_multiply_panels(f, &s, (int32_t)((n_row + 7) / 8), step, (const uint8_t *)act,
                                 n_token, k, column, n_block);
        }
        avx2_store_rows(y + row, y_stride, s.acc, step, n_row, n_token);
    }
}

/* ---- Products of floats -------------------------------------------------------------------------- */

/* Panels of floats: [column][8 rows]. `one` takes a token at a time, four sums per row to hide the
 * latency of the multiply-add; `many` eight tokens, interleaved as the weights are. Both add up 256
 * columns before they add to what the columns before gave, which keeps rounding errors small. */
struct avx2_float_format {
    int32_t type;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t has_m;
    /* values[column * 8 + row] <- 8 rows of n columns (n a multiple of 8); the types without blocks */
    void (*load)(float *values, const uint8_t *w, size_t stride, int64_t n);
    /* or what their integers and scales become by avx2_expand_ */
    void (*unpack)(struct avx2_panel *panel, const uint8_t *w, size_t stride, int32_t n_block);
    void (*expand)(float *values, const struct avx2_panel *panel, int32_t n_block, int32_t offset,
                   int32_t has_m);
    int32_t offset;
};

static AVX2 void avx2_load_f32(float *values, const uint8_t *w, size_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i += 4) {
        __m256i v[4];
        avx2_transpose(v, w + 4 * i, stride);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(values + 8 * (i + j), v[j]);
        }
    }
}

static AVX2 void avx2_load_bf16(float *values, const uint8_t *w, size_t stride, int64_t n)
{
    __m256i high = _mm256_set1_epi32((int32_t)0xffff0000u);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i v[4];
        avx2_transpose(v, w + 2 * i, stride);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_store(values + 8 * (i + 2 * j), _mm256_slli_epi32(v[j], 16));
            avx2_store(values + 8 * (i + 2 * j) + 8, _mm256_and_si256(v[j], high));
        }
    }
}

/* Words with two f16 each, a row in every lane, to the two vectors of eight rows. */
static AVX2_INLINE void avx2_split_halves(float *values, __m256i v)
{
    v = _mm256_shuffle_epi8(v, _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14,
                                                15, 0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11,
                                                14, 15));
    v = _mm256_permute4x64_epi64(v, 0xd8);
    _mm256_storeu_ps(values, _mm256_cvtph_ps(_mm256_castsi256_si128(v)));
    _mm256_storeu_ps(values + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)));
}

static AVX2 void avx2_load_f16(float *values, const uint8_t *w, size_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m256i v[4];
        avx2_transpose(v, w + 2 * i, stride);
        AVX2_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            avx2_split_halves(values + 8 * (i + 2 * j), v[j]);
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
        _mm256_storeu_ps(to + 16,
                         _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srai_epi32(q, 16)), d));
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

/* x [n][8 tokens]; acc[token * stride + row] */
static AVX2 void avx2_dot_many_f32(float *acc, int64_t stride, const float *values, const float *x,
                                   int64_t n)
{
    __m256 sum[AVX2_TOKENS_F32];
    AVX2_UNROLL
    for (int t = 0; t < AVX2_TOKENS_F32; t++) {
        sum[t] = _mm256_setzero_ps();
    }
    for (int64_t i = 0; i < n; i++) {
        __m256 v = _mm256_loadu_ps(values + 8 * i);
        AVX2_UNROLL
        for (int t = 0; t < AVX2_TOKENS_F32; t++) {
            sum[t] = _mm256_fmadd_ps(v, _mm256_set1_ps(x[8 * i + t]), sum[t]);
        }
    }
    AVX2_UNROLL
    for (int t = 0; t < AVX2_TOKENS_F32; t++) {
        _mm256_storeu_ps(acc + t * stride,
                         _mm256_add_ps(_mm256_loadu_ps(acc + t * stride), sum[t]));
    }
}

/* Eight tokens (or what is left of them, the rest zero) interleaved: [n][8]. */
static AVX2 void avx2_tile_f32(const struct avx2_float_scratch *s, const uint8_t *act,
                               size_t act_bytes, int64_t column, int64_t n, int64_t n_token)
{
    const uint8_t *p = act + (size_t)column * 4;
    if (n_token >= AVX2_TOKENS_F32 && n % 8 == 0) {
        avx2_load_f32(s->x, p, act_bytes, n);
    } else {
        avx2_copy_tail(s->tail, p, act_bytes, min_i64(n_token, AVX2_TOKENS_F32), (size_t)n * 4);
        avx2_load_f32(s->x, s->tail, AVX2_TAIL_STRIDE, (n + 7) & ~(int64_t)7);
    }
}

/* Eight rows of n columns as floats. */
static AVX2 void avx2_values(const struct avx2_float_format *f, const struct avx2_float_scratch *s,
                             float *values, const uint8_t *w, size_t stride, int64_t n_row,
                             int64_t n)
{
    if (n_row < 8 || n % 8 != 0) {
        avx2_copy_tail(s->tail, w, stride, min_i64(n_row, 8),
                       (size_t)(n / f->block_elements) * (size_t)f->block_bytes);
        w = s->tail;
        stride = AVX2_TAIL_STRIDE;
    }
    if (f->load != NULL) {
        f->load(values, w, stride, (n + 7) & ~(int64_t)7);
    } else if (f->unpack != NULL) {
        f->unpack(s->panel, w, stride, (int32_t)n / f->block_elements);
        f->expand(values, s->panel, (int32_t)n / f->block_elements, f->offset, f->has_m);
    } else { /* the reference decodes rows, its values are then turned */
        for (int64_t r = 0; r < 8; r++) {
            kernel_formats[f->type].decode(s->x + r * AVX2_COLUMNS, w + (size_t)r * stride, n);
        }
        avx2_load_f32(values, (const uint8_t *)s->x, AVX2_COLUMNS * 4, n);
    }
}

static AVX2 void avx2_multiply_f32(const struct avx2_float_format *f, float *y, int64_t y_stride,
                                   const uint8_t *w, int64_t row0, int64_t row1, const void *act,
                                   int64_t n_token, int64_t k, void *scratch, int many)
{
    struct avx2_float_scratch s = avx2_float_scratch_at(scratch);
    size_t row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    size_t act_bytes = act_f32.row_bytes(k);
    int64_t step = many ? 8 * AVX2_GROUPS : 8;
    for (int64_t row = row0; row < row1; row += step) {
        int64_t n_row = min_i64(step, row1 - row);
        const uint8_t *at = w + (size_t)row * row_bytes;
        const uint8_t *ahead = at + (size_t)step * row_bytes;
        memset(s.acc, 0, (size_t)((n_token + 7) * step) * sizeof(float));
        for (int64_t column = 0; column < k; column += AVX2_COLUMNS) {
            int64_t n = min_i64(AVX2_COLUMNS, k - column);
            size_t offset = (size_t)(column / f->block_elements) * (size_t)f->block_bytes;
            size_t bytes = (size_t)(n / f->block_elements) * (size_t)f->block_bytes;
            for (int64_t g = 0; 8 * g < n_row; g++) {
                if (row + step < row1) {
                    avx2_prefetch(ahead, (int64_t)(8 * bytes));
                    ahead += 8 * bytes;
                }
                avx2_values(f, &s, s.values + g * AVX2_VALUES,
                            at + (size_t)(8 * g) * row_bytes + offset, row_bytes, n_row - 8 * g, n);
            }
            for (int64_t t = 0; t < n_token; t += many ? AVX2_TOKENS_F32 : 1) {
                const uint8_t *x = (const uint8_t *)act + (size_t)t * act_bytes;
                if (many) {
                    avx2_tile_f32(&s, x, act_bytes, column, n, n_token - t);
                }
                for (int64_t g = 0; 8 * g < n_row; g++) {
                    float *acc = s.acc + t * step + 8 * g;
                    if (many) {
                        avx2_dot_many_f32(acc, step, s.values + g * AVX2_VALUES, s.x, n);
                    } else {
                        avx2_dot_one_f32(acc, s.values + g * AVX2_VALUES,
                                         (const float *)(const void *)x + column, n);
                    }
                }
            }
        }
        avx2_store_rows(y + row, y_stride, s.acc, step, n_row, n_token);
    }
}

/* ---- Activations ---------------------------------------------------------------------------------- */

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
    AVX2_UNROLL
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

/* ---- The types ------------------------------------------------------------------------------------ */

/* X(id, type, elements, offset, act, tile, dot) of the types multiplied as integers. */
#define AVX2_INTEGER_TYPES(X)                                                                      \
    X(Q4_0, q4_0, 32, 8, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_4_offset)                         \
    X(Q4_1, q4_1, 32, 0, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_4_min)                            \
    X(Q5_0, q5_0, 32, 16, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_5_offset)                        \
    X(Q5_1, q5_1, 32, 0, avx2_act_q8_0, avx2_tile_q8_0, avx2_dot_5_min)                            \
    X(Q8_0, q8_0, 32, 0, avx2_act_q8_0, avx2_tile_q8_0_wide, avx2_dot_8)                           \
    X(Q2_K, q2_k, 256, 0, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_25_k)                            \
    X(Q3_K, q3_k, 256, 4, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_3_k)                             \
    X(Q4_K, q4_k, 256, 0, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_4_k)                             \
    X(Q5_K, q5_k, 256, 0, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_25_k)                            \
    X(Q6_K, q6_k, 256, 32, avx2_act_q8_k, avx2_tile_q8_k, avx2_dot_6_k)

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
    X(Q6_K, q6_k, 256, 210, NULL, avx2_unpack_q6_k, avx2_expand_256, 32, 0)                        \
    X(IQ4_NL, iq4_nl, 32, 18, NULL, NULL, NULL, 0, 0)                                              \
    X(IQ4_XS, iq4_xs, 256, 136, NULL, NULL, NULL, 0, 0)                                            \
    X(IQ3_S, iq3_s, 256, 110, NULL, NULL, NULL, 0, 0)                                              \
    X(IQ3_XXS, iq3_xxs, 256, 98, NULL, NULL, NULL, 0, 0)                                           \
    X(IQ2_S, iq2_s, 256, 82, NULL, NULL, NULL, 0, 0)                                               \
    X(IQ2_XS, iq2_xs, 256, 74, NULL, NULL, NULL, 0, 0)                                             \
    X(IQ2_XXS, iq2_xxs, 256, 66, NULL, NULL, NULL, 0, 0)                                           \
    X(IQ1_S, iq1_s, 256, 50, NULL, NULL, NULL, 0, 0)                                               \
    X(IQ1_M, iq1_m, 256, 56, NULL, NULL, NULL, 0, 0)                                               \
    X(TQ1_0, tq1_0, 256, 54, NULL, NULL, NULL, 0, 0)                                               \
    X(TQ2_0, tq2_0, 256, 66, NULL, NULL, NULL, 0, 0)                                               \
    X(MXFP4, mxfp4, 32, 17, NULL, NULL, NULL, 0, 0)                                                \
    X(NVFP4, nvfp4, 64, 36, NULL, NULL, NULL, 0, 0)                                                \
    X(Q1_0, q1_0, 128, 18, NULL, NULL, NULL, 0, 0)                                                 \
    X(Q2_0, q2_0, 64, 18, NULL, NULL, NULL, 0, 0)

/* struct kernel_product has no room for the format: each type gets its own entry points. */
#define AVX2_PRODUCT(name, call, act, scratch_size)                                                \
    static AVX2 void name(float *y, int64_t y_stride, const uint8_t *w, int64_t row0,              \
                          int64_t row1, const void *act_rows, int64_t n_token, int64_t k,          \
                          void *scratch)                                                           \
    {                                                                                              \
        call;                                                                                      \
    }                                                                                              \
    static const struct kernel_product name##_product = {&act, scratch_size, name};

#define AVX2_INTEGER(id, type, elements, offset, act, tile, dot)                                   \
    static const struct avx2_format avx2_format_##type = {                                         \
        &act, elements, (int32_t)sizeof(struct block_##type), offset, avx2_unpack_##type,          \
        tile, dot};                                                                                \
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

/* ---- Exponentials ---------------------------------------------------------------------------------- */

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

/* ---- Attention -------------------------------------------------------------------------------------- */

/* One page at a time: scores of all queries, then weights, then values. Queries go through a page
 * four, two or one together, so that a key or value is loaded (and widened) once for them; the sums
 * of each query are the same operations in the same order however it is grouped. */

/* Elements e..e+7 of a row of n, zero beyond its end. */
static AVX2_INLINE __m256 avx2_kv(const uint8_t *row, int32_t e, int32_t n, int f16)
{
    if (!f16) {
        const float *p = (const float *)(const void *)row;
        return n - e >= 8 ? _mm256_loadu_ps(p + e) : _mm256_maskload_ps(p + e, avx2_mask(n - e));
    }
    if (n - e >= 8) {
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + 2 * e)));
    }
    uint64_t part[2] = {0, 0};
    memcpy(part, row + 2 * e, 2 * (size_t)(n - e));
    return _mm256_cvtph_ps(_mm_set_epi64x((int64_t)part[1], (int64_t)part[0]));
}

/* scores of n queries (from query i on) at positions p and p + 1; k1 is k0 where there is no next */
static AVX2_INLINE void avx2_scores(const struct kernel_attention_job *job, int32_t i, int n,
                                    const uint8_t *k0, const uint8_t *k1, float *scores, int f16)
{
    __m256 sum[8];
    AVX2_UNROLL
    for (int j = 0; j < 2 * n; j++) {
        sum[j] = _mm256_setzero_ps();
    }
    for (int32_t e = 0; e < job->head_dim; e += 8) {
        __m256 a = avx2_kv(k0, e, job->head_dim, f16), b = avx2_kv(k1, e, job->head_dim, f16);
        AVX2_UNROLL
        for (int j = 0; j < n; j++) {
            const float *q = job->q + (i + j) * job->q_stride;
            __m256 v = avx2_kv((const uint8_t *)q, e, job->head_dim, 0);
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
    AVX2_UNROLL
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
    for (int32_t p = first; p < last; p += 2) {
        const uint8_t *k = page + job->k_offset + (size_t)(p % KV_PAGE) * row_bytes;
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

/* out of n queries += weights * values of the positions first..last-1, which all of them see */
static AVX2_INLINE void avx2_values_run(const struct kernel_attention_job *job, int32_t i, int n,
                                        const uint8_t *page, int32_t first, int32_t last,
                                        const float *weights, int f16)
{
    int32_t dim = job->head_dim_v;
    size_t row_bytes = (size_t)dim * (f16 ? 2 : 4);
    const uint8_t *v = page + job->v_offset + (size_t)(first % KV_PAGE) * row_bytes;
    const float *weight = weights + (int64_t)i * KV_PAGE + first % KV_PAGE;
    for (int32_t e = 0; e < dim; e += 16) {
        __m256 sum[8];
        __m256i mask[2] = {avx2_mask(dim - e), avx2_mask(max_i32(dim - e - 8, 0))};
        AVX2_UNROLL
        for (int j = 0; j < 2 * n; j++) {
            float *out = job->out + (i + j / 2) * job->out_stride + e + (j % 2 ? 8 : 0);
            sum[j] = _mm256_maskload_ps(out, mask[j % 2]);
        }
        int two = dim - e > 8;
        for (int32_t p = 0; p < last - first; p++) {
            __m256 a = avx2_kv(v + (size_t)p * row_bytes, e, dim, f16);
            __m256 b = two ? avx2_kv(v + (size_t)p * row_bytes, e + 8, dim, f16) : a;
            AVX2_UNROLL
            for (int j = 0; j < n; j++) {
                __m256 x = _mm256_set1_ps(weight[j * KV_PAGE + p]);
                sum[2 * j] = _mm256_fmadd_ps(x, a, sum[2 * j]);
                sum[2 * j + 1] = _mm256_fmadd_ps(x, b, sum[2 * j + 1]);
            }
        }
        AVX2_UNROLL
        for (int j = 0; j < 2 * n; j++) {
            float *out = job->out + (i + j / 2) * job->out_stride + e + (j % 2 ? 8 : 0);
            if (j % 2 == 0 || two) {
                _mm256_maskstore_ps(out, mask[j % 2], sum[j]);
            }
        }
    }
}

/* Positions that only some of the n queries see are done query by query: what a query does not see
 * may hold anything, and 0 * NaN is NaN. */
static AVX2_INLINE void avx2_page_values(const struct kernel_attention_job *job, int32_t i, int n,
                                         const uint8_t *page, int32_t p0, int32_t p1,
                                         const float *weights, int f16)
{
    int32_t first = p0, last = p1;
    AVX2_UNROLL
    for (int j = 0; j < n; j++) {
        first = max_i32(first, job->from[i + j]);
        last = min_i32(last, job->to[i + j]);
    }
    int common = n > 1 && first < last;
    AVX2_UNROLL
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
    AVX2_UNROLL
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
        __m256 v = n - i >= 8 ? _mm256_loadu_ps(src + i)
                              : _mm256_maskload_ps(src + i, avx2_mask(n - i));
        __m128i h = _mm256_cvtps_ph(v, 0);
        memcpy(dst + 2 * i, &h, (size_t)min_i64(n - i, 8) * 2);
    }
}

static void avx2_kv_store_f32(uint8_t *dst, const float *src, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof(float));
}

/* ---- Vectors ---------------------------------------------------------------------------------------- */

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
        __m256i mask = avx2_mask(n_rot - n_rot % 2 - 2 * i), half = avx2_mask(min_i64(4, n_rot / 2 - i));
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
        __m256 sum = _mm256_add_ps(_mm256_maskload_ps(y + i, mask),
                                   _mm256_maskload_ps(x + i, mask));
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

/* ---- The table -------------------------------------------------------------------------------------- */

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
#define AVX2_SET_INTEGER(id, type, elements, offset, act, tile, dot)                               \
    {                                                                                              \
        struct kernel_matrix m = {&avx2_mul_##type##_product, &avx2_mul_##type##_product,          \
                                  &avx2_mul_##type##_product, 2, 2};                               \
        k->matrix[ENC_##id] = m;                                                                   \
    }
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

#endif /* x86-64 */
