/* x86_amx.c - products of many tokens on AMX: tiles of bf16.
 *
 * Weights of any encoding become bf16 with their scale in them, 256 rows by 2048 columns at a time,
 * in a panel that stays in L2 for all tokens of the batch. That rounds a weight and an activation to 8
 * bits of mantissa each, about a tenth of the error that 8-bit blocks of activations make. F16 and
 * BF16 weights are exact: what rounding leaves of F16 and of activations is a second bf16 part, and
 * the product the sum of two or three products of parts. F32 weights would lack their last 8 bits in
 * two parts, which some models (gemma3n) make a thousand times larger: they are not multiplied here.
 *
 * A tile of weights is 16 rows as they lie, of 32 columns. A tile of activations is 16 tokens, pairs
 * of columns interleaved, which is how the form of activations stores them.
 *
 * Traps:
 * - gcc 12 takes _tile_loadconfig to read 8 bytes and _tile_loadd to read nothing: the configuration
 *   is static and constant, and AMX_FENCE stands before the first and after the last use of a panel.
 * - The system gives the tile registers on request only (platform.c), and a task that holds them
 *   makes every switch save 8 KiB: they are released at the end of each call.
 * - Only Linux is asked (cpu.c); elsewhere gcc 12 cannot even assemble the strides.
 * - AMX flushes denormals and cannot trap. */

#if defined(__x86_64__) && defined(__linux__) && !defined(SLM_NO_SIMD)

#define AMX_FEATURES "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16"
#define AMX SLM_TARGET(AMX_FEATURES)
#define AMX_INLINE SLM_INLINE_TARGET(AMX_FEATURES)
#define AMX_FENCE __asm__ volatile("" ::: "memory")

#define AMX_SIDE 16            /* rows or tokens of a tile */
#define AMX_STEP 32            /* columns of a tile */
#define AMX_TILE 1024          /* bytes of a tile */
#define AMX_ROWS 256           /* of a panel */
#define AMX_ROWS_FEW 64        /* of a panel for a few tokens, */
#define AMX_TOKENS_FEW 64      /* at most this many */
#define AMX_TILES_OF_ROW 64    /* of a panel's row: 2048 columns, or 1024 of two parts */
#define AMX_TOKENS 512         /* that a panel is used for before the next is made */
#define AMX_STEPS 8            /* of columns whose activations and */
#define AMX_TOGETHER 4         /* pairs of tiles of rows whose sums stay in L1 */
#define AMX_ROWS_AHEAD 3       /* between a row that is unpacked and the prefetch */
#define AMX_CHUNK 256          /* columns that are unpacked at a time: the largest block */
#define AMX_ROW_BYTES_MAX 1024 /* of a chunk of the widest type */

/* A chunk of a row: w = q * scale + low. */
struct amx_chunk {
    int8_t q[AMX_CHUNK];
    float scale[AMX_CHUNK / 16];
    float low[AMX_CHUNK / 16];
};

/* How an encoding becomes tiles of bf16. */
struct amx_format {
    int32_t block_elements;
    int32_t block_bytes;
    int32_t weight_parts;     /* 1, or 2: high and low */
    int32_t activation_parts; /* 1, or 2 */
    /* The integers and scales of n_block blocks, */
    void (*unpack)(struct amx_chunk *chunk, const uint8_t *w, int32_t n_block);
    /* of 256 columns as codes, */
    void (*expand)(struct x86_codes *codes, const uint8_t *w);
    /* or for plain floats: n columns, a multiple of 32, to the row's place in each tile. */
    void (*load)(uint8_t *to, const uint8_t *w, int64_t n);
};

/* ---- Activations ----------------------------------------------------------------------------- */

/* Group of 16 tokens: [k / 32][parts][16 pairs of columns][16 tokens][2] bf16, zero where there is
 * no column or no token. */

static size_t amx_act_bytes(int64_t k)
{
    return (size_t)((k + AMX_STEP - 1) / AMX_STEP) * AMX_STEP * 2;
}

static size_t amx_act_split_bytes(int64_t k)
{
    return 2 * amx_act_bytes(k);
}

static AMX_INLINE __m512 amx_load_tail(const float *x, int64_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)(n >= 16  ? 0xffff
                                             : n <= 0 ? 0
                                                      : (1u << n) - 1),
                                 n <= 0 ? NULL : x);
}

/* 32 floats to bf16 in order, and what they lack to another. */
static AMX_INLINE __m512i amx_round(__m512 a, __m512 b)
{
    return (__m512i)_mm512_cvtne2ps_pbh(b, a);
}

static AMX_INLINE __m512 amx_low_part(__m512 x, __m256i high)
{
    return _mm512_sub_ps(x,
                         _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16)));
}

static AMX_INLINE __m512i amx_round_rest(__m512 a, __m512 b, __m512i high)
{
    return amx_round(amx_low_part(a, _mm512_castsi512_si256(high)),
                     amx_low_part(b, _mm512_extracti64x4_epi64(high, 1)));
}

/* v[j] lane i <-> v[i] lane j. */
static AMX_INLINE void amx_transpose(__m512i v[16])
{
    __m512i a[16];
    SLM_UNROLL
    for (int32_t i = 0; i < 16; i += 4) {
        __m512i ab0 = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        __m512i ab1 = _mm512_unpackhi_epi32(v[i], v[i + 1]);
        __m512i cd0 = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
        __m512i cd1 = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
        a[i] = _mm512_unpacklo_epi64(ab0, cd0);
        a[i + 1] = _mm512_unpackhi_epi64(ab0, cd0);
        a[i + 2] = _mm512_unpacklo_epi64(ab1, cd1);
        a[i + 3] = _mm512_unpackhi_epi64(ab1, cd1);
    }
    SLM_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        __m512i low0 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x44);
        __m512i low1 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x44);
        __m512i high0 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xee);
        __m512i high1 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xee);
        v[j] = _mm512_shuffle_i32x4(low0, low1, 0x88);
        v[4 + j] = _mm512_shuffle_i32x4(low0, low1, 0xdd);
        v[8 + j] = _mm512_shuffle_i32x4(high0, high1, 0x88);
        v[12 + j] = _mm512_shuffle_i32x4(high0, high1, 0xdd);
    }
}

static AMX_INLINE void amx_store_tile(uint8_t *to, __m512i v[16])
{
    amx_transpose(v);
    SLM_UNROLL
    for (int32_t i = 0; i < 16; i++) {
        _mm512_storeu_si512((void *)(to + 64 * i), v[i]);
    }
}

static AMX void amx_prepare_group(uint8_t *to, const float *x, int64_t n_token, int64_t k,
                                  int32_t parts)
{
    for (int64_t column = 0; column < k; column += AMX_STEP, to += parts * AMX_TILE) {
        __m512i high[16], low[16];
        for (int64_t t = 0; t < AMX_SIDE; t++) {
            const float *from = x + t * k + column;
            int64_t n = t < n_token ? k - column : 0;
            __m512 a = amx_load_tail(from, n), b = amx_load_tail(from + 16, n - 16);
            high[t] = amx_round(a, b);
            low[t] = parts == 2 ? amx_round_rest(a, b, high[t]) : high[t];
        }
        amx_store_tile(to, high);
        if (parts == 2) {
            amx_store_tile(to + AMX_TILE, low);
        }
    }
}

static AMX void amx_prepare_parts(void *act, const float *x, int64_t n_token, int64_t k,
                                  int32_t parts)
{
    size_t group_bytes = AMX_SIDE * amx_act_bytes(k) * (size_t)parts;
    for (int64_t t = 0; t < n_token; t += AMX_SIDE) {
        amx_prepare_group((uint8_t *)act + (size_t)(t / AMX_SIDE) * group_bytes, x + t * k,
                          n_token - t, k, parts);
    }
}

static void amx_prepare(void *act, const float *x, int64_t n_token, int64_t k)
{
    amx_prepare_parts(act, x, n_token, k, 1);
}

static void amx_prepare_split(void *act, const float *x, int64_t n_token, int64_t k)
{
    amx_prepare_parts(act, x, n_token, k, 2);
}

static const struct kernel_act amx_act = {"bf16", AMX_SIDE, amx_act_bytes, amx_prepare};
static const struct kernel_act amx_act_split = {"bf16 split", AMX_SIDE, amx_act_split_bytes,
                                                amx_prepare_split};

/* ---- Integers and scales of a chunk ---------------------------------------------------------- */

static AMX_INLINE float amx_half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

static AMX_INLINE uint32_t amx_word(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static AMX_INLINE __m256i amx_load32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static AMX_INLINE void amx_store32(int8_t *q, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)q, v);
}

/* low <- -dmin * mins; scale <- d * scales: 16 small integers each. */
static AMX_INLINE void amx_scales(struct amx_chunk *chunk, float d, __m512i scales, float dmin,
                                  __m512i mins)
{
    _mm512_storeu_ps(chunk->scale, _mm512_mul_ps(_mm512_set1_ps(d), _mm512_cvtepi32_ps(scales)));
    _mm512_storeu_ps(chunk->low, _mm512_mul_ps(_mm512_set1_ps(-dmin), _mm512_cvtepi32_ps(mins)));
}

/* 2-bit field j of each byte. */
static AMX_INLINE __m256i amx_pair(__m256i v, int32_t j)
{
    return _mm256_and_si256(_mm256_srl_epi16(v, _mm_cvtsi32_si128(2 * j)), _mm256_set1_epi8(3));
}

static AMX void amx_unpack_q2_k(struct amx_chunk *chunk, const uint8_t *w, int32_t n_block)
{
    (void)n_block;
    for (int32_t i = 0; i < 8; i++) {
        amx_store32(chunk->q + 32 * i, amx_pair(amx_load32(w + 16 + 32 * (i / 4)), i % 4));
    }
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)w), low4 = _mm_set1_epi8(15);
    amx_scales(chunk, amx_half(w + 80), _mm512_cvtepu8_epi32(_mm_and_si128(v, low4)),
               amx_half(w + 82), _mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(v, 4), low4)));
}

static AMX void amx_unpack_q3_k(struct amx_chunk *chunk, const uint8_t *w, int32_t n_block)
{
    (void)n_block;
    __m256i mask = amx_load32(w), four = _mm256_set1_epi8(4);
    for (int32_t i = 0; i < 8; i++) {
        __m256i q = amx_pair(amx_load32(w + 32 + 32 * (i / 4)), i % 4);
        __mmask32 high = _mm256_test_epi8_mask(mask, _mm256_set1_epi8((char)(1 << i)));
        amx_store32(chunk->q + 32 * i, _mm256_mask_sub_epi8(q, _knot_mask32(high), q, four));
    }
    uint32_t a = amx_word(w + 96), b = amx_word(w + 100), c = amx_word(w + 104);
    uint32_t low4 = 0x0f0f0f0f, two = 0x03030303;
    __m128i scales = _mm_setr_epi32((int32_t)((a & low4) | (c & two) << 4),
                                    (int32_t)((b & low4) | (c >> 2 & two) << 4),
                                    (int32_t)((a >> 4 & low4) | (c >> 4 & two) << 4),
                                    (int32_t)((b >> 4 & low4) | (c >> 6 & two) << 4));
    amx_scales(chunk, amx_half(w + 108),
               _mm512_sub_epi32(_mm512_cvtepu8_epi32(scales), _mm512_set1_epi32(32)), 0,
               _mm512_setzero_si512());
}

/* Of Q4_K and Q5_K: eight scales and minimums of 6 bits, for 32 columns each. */
static AMX_INLINE void amx_scales_45(struct amx_chunk *chunk, const uint8_t *w)
{
    uint32_t a = amx_word(w + 4), b = amx_word(w + 8), c = amx_word(w + 12);
    uint32_t low4 = 0x0f0f0f0f, low6 = 0x3f3f3f3f, two = 0x03030303;
    __m128i scales =
        _mm_setr_epi32((int32_t)(a & low6), (int32_t)((c & low4) | (a >> 6 & two) << 4), 0, 0);
    __m128i mins =
        _mm_setr_epi32((int32_t)(b & low6), (int32_t)((c >> 4 & low4) | (b >> 6 & two) << 4), 0, 0);
    amx_scales(chunk, amx_half(w), _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(scales, scales)),
               amx_half(w + 2), _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(mins, mins)));
}

static AMX void amx_unpack_q6_k(struct amx_chunk *chunk, const uint8_t *w, int32_t n_block)
{
    __m256i low4 = _mm256_set1_epi8(15), center = _mm256_set1_epi8(32);
    (void)n_block;
    for (int32_t i = 0; i < 8; i++) {
        int32_t n = i / 4, j = i % 4;
        __m256i v = amx_load32(w + 64 * n + 32 * (j % 2));
        __m256i high = amx_pair(amx_load32(w + 128 + 32 * n), j);
        v = _mm256_and_si256(j >= 2 ? _mm256_srli_epi16(v, 4) : v, low4);
        v = _mm256_or_si256(v, _mm256_slli_epi16(high, 4));
        amx_store32(chunk->q + 32 * i, _mm256_sub_epi8(v, center));
    }
    __m128i scales = _mm_loadu_si128((const __m128i *)(const void *)(w + 192));
    amx_scales(chunk, amx_half(w + 208), _mm512_cvtepi8_epi32(scales), 0, _mm512_setzero_si512());
}

/* ---- Tables ---------------------------------------------------------------------------------- */

/* Of 4 or 5 bits: what each code of a group stands for is computed once, 16 or 32 values in one
 * register, and looked up for its columns. */

static AMX_INLINE __m512 amx_codes_from(int32_t first)
{
    const __m512i ramp = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(ramp, _mm512_set1_epi32(first)));
}

/* code * scale + low as bf16 for codes first..first + 15, twice: bit 4 of an index says nothing. */
static AMX_INLINE __m512i amx_table_16(int32_t first, float scale, float low)
{
    __m512 v = _mm512_fmadd_ps(amx_codes_from(first), _mm512_set1_ps(scale), _mm512_set1_ps(low));
    return amx_round(v, v);
}

static AMX_INLINE __m512i amx_table_32(int32_t first, float scale, float low)
{
    __m512 d = _mm512_set1_ps(scale), m = _mm512_set1_ps(low);
    return amx_round(_mm512_fmadd_ps(amx_codes_from(first), d, m),
                     _mm512_fmadd_ps(amx_codes_from(first + 16), d, m));
}

/* Bit 4 of the indexes from a mask. */
static AMX_INLINE __m512i amx_fifth(__m512i v, __mmask32 bits)
{
    v = _mm512_and_si512(v, _mm512_set1_epi16(15));
    return _mm512_mask_add_epi16(v, bits, v, _mm512_set1_epi16(16));
}

static AMX_INLINE void amx_look_up(uint8_t *to, __m512i index, __m512i table)
{
    _mm512_storeu_si512((void *)to, _mm512_permutexvar_epi16(index, table));
}

/* Blocks of 32: header bytes d, m?, qh?, then 16 of nibbles, the low halves before the high. */
static AMX_INLINE void amx_load_32(uint8_t *to, const uint8_t *w, int64_t n, int has_m,
                                   int has_high)
{
    int32_t header = 2 + (has_m ? 2 : 0);
    int32_t bytes = header + (has_high ? 4 : 0) + 16;
    int32_t first = has_m ? 0 : has_high ? -16 : -8;
    const __m512i shift = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
    for (int64_t i = 0; i < n; i += AMX_STEP, w += bytes, to += AMX_TILE) {
        float d = amx_half(w), m = has_m ? amx_half(w + 2) : 0;
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(w + bytes - 16));
        __m512i q = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(v));
        q = _mm512_srlv_epi16(q, shift);
        if (has_high) {
            amx_look_up(to, amx_fifth(q, amx_word(w + header)), amx_table_32(first, d, m));
        } else {
            amx_look_up(to, q, amx_table_16(first, d, m));
        }
    }
}

static AMX void amx_load_q4_0(uint8_t *to, const uint8_t *w, int64_t n)
{
    amx_load_32(to, w, n, 0, 0);
}

static AMX void amx_load_q4_1(uint8_t *to, const uint8_t *w, int64_t n)
{
    amx_load_32(to, w, n, 1, 0);
}

static AMX void amx_load_q5_0(uint8_t *to, const uint8_t *w, int64_t n)
{
    amx_load_32(to, w, n, 0, 1);
}

static AMX void amx_load_q5_1(uint8_t *to, const uint8_t *w, int64_t n)
{
    amx_load_32(to, w, n, 1, 1);
}

static AMX void amx_load_q4_k(uint8_t *to, const uint8_t *w, int64_t n)
{
    struct amx_chunk chunk;
    for (int64_t i = 0; i < n; i += AMX_CHUNK, w += 144) {
        amx_scales_45(&chunk, w);
        for (int32_t u = 0; u < 4; u++, to += 2 * AMX_TILE) {
            const float *scale = chunk.scale + 4 * u, *low = chunk.low + 4 * u;
            __m512i v = _mm512_cvtepu8_epi16(amx_load32(w + 16 + 32 * u));
            amx_look_up(to, v, amx_table_16(0, scale[0], low[0]));
            amx_look_up(to + AMX_TILE, _mm512_srli_epi16(v, 4), amx_table_16(0, scale[2], low[2]));
        }
    }
}

static AMX void amx_load_q5_k(uint8_t *to, const uint8_t *w, int64_t n)
{
    struct amx_chunk chunk;
    for (int64_t i = 0; i < n; i += AMX_CHUNK, w += 176) {
        __m256i high = amx_load32(w + 16);
        amx_scales_45(&chunk, w);
        for (int32_t u = 0; u < 8; u++, to += AMX_TILE) {
            __m512i v = _mm512_cvtepu8_epi16(amx_load32(w + 48 + 32 * (u / 2)));
            v = _mm512_srl_epi16(v, _mm_cvtsi32_si128(u % 2 * 4));
            v = amx_fifth(v, _mm256_test_epi8_mask(high, _mm256_set1_epi8((char)(1 << u))));
            amx_look_up(to, v, amx_table_32(0, chunk.scale[2 * u], chunk.low[2 * u]));
        }
    }
}

/* ---- Panels ---------------------------------------------------------------------------------- */

/* A panel: [row / 16][column / 32][part] tiles of [row % 16][32] bf16. */

/* 16 signed bytes. */
static AMX_INLINE __m512 amx_bytes(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

static AMX_INLINE __m512 amx_values(const struct amx_chunk *chunk, int32_t i)
{
    return _mm512_fmadd_ps(amx_bytes(chunk->q + 16 * i), _mm512_set1_ps(chunk->scale[i]),
                           _mm512_set1_ps(chunk->low[i]));
}

static AMX void amx_round_chunk(uint8_t *to, const struct amx_chunk *chunk, int64_t n)
{
    for (int32_t i = 0; i < n / AMX_STEP; i++) {
        __m512i v = amx_round(amx_values(chunk, 2 * i), amx_values(chunk, 2 * i + 1));
        _mm512_storeu_si512((void *)(to + AMX_TILE * i), v);
    }
}

static AMX void amx_load_q8_0(uint8_t *to, const uint8_t *w, int64_t n)
{
    for (int64_t i = 0; i < n; i += AMX_STEP, w += 34, to += AMX_TILE) {
        __m512 d = _mm512_set1_ps(amx_half(w));
        __m512 a = amx_bytes(w + 2), b = amx_bytes(w + 18);
        _mm512_storeu_si512((void *)to, amx_round(_mm512_mul_ps(a, d), _mm512_mul_ps(b, d)));
    }
}

static AMX_INLINE void amx_store_split(uint8_t *to, __m512 a, __m512 b)
{
    __m512i high = amx_round(a, b);
    _mm512_storeu_si512((void *)to, high);
    _mm512_storeu_si512((void *)(to + AMX_TILE), amx_round_rest(a, b, high));
}

static AMX void amx_load_f16(uint8_t *to, const uint8_t *w, int64_t n)
{
    for (int64_t i = 0; i < n; i += AMX_STEP, to += 2 * AMX_TILE) {
        amx_store_split(to, _mm512_cvtph_ps(amx_load32(w + 2 * i)),
                        _mm512_cvtph_ps(amx_load32(w + 2 * i + 32)));
    }
}

static AMX void amx_load_bf16(uint8_t *to, const uint8_t *w, int64_t n)
{
    for (int64_t i = 0; i < n; i += AMX_STEP, to += AMX_TILE) {
        _mm512_storeu_si512((void *)to, _mm512_loadu_si512((const void *)(w + 2 * i)));
    }
}

static AMX void amx_unpack_codes(const struct amx_format *f, struct amx_chunk *chunk,
                                 const uint8_t *w)
{
    struct x86_codes codes;
    f->expand(&codes, w);
    memcpy(chunk->q, codes.q, sizeof codes.q);
    __m512 scale = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(amx_load32((uint8_t *)codes.scale)));
    __m512 min = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(amx_load32((uint8_t *)codes.min)));
    _mm512_storeu_ps(chunk->scale, _mm512_mul_ps(_mm512_loadu_ps(codes.d), scale));
    _mm512_storeu_ps(chunk->low, _mm512_mul_ps(_mm512_set1_ps(-codes.dmin), min));
}

/* n columns of a row, a chunk at most, to their place in the panel; zeros to a multiple of 32. */
static AMX void amx_panel_chunk(const struct amx_format *f, uint8_t *to, const uint8_t *w,
                                int64_t n)
{
    uint8_t tail[AMX_ROW_BYTES_MAX];
    struct amx_chunk chunk;
    if (n % AMX_STEP != 0 || (f->expand != NULL && n < AMX_CHUNK)) {
        memset(tail, 0, sizeof tail);
        memcpy(tail, w, (size_t)(n / f->block_elements * f->block_bytes));
        w = tail;
    }
    if (f->load != NULL) {
        f->load(to, w, (n + AMX_STEP - 1) / AMX_STEP * AMX_STEP);
        return;
    }
    if (f->expand != NULL) {
        amx_unpack_codes(f, &chunk, w);
    } else {
        f->unpack(&chunk, w, (int32_t)(n / f->block_elements));
    }
    amx_round_chunk(to, &chunk, n);
}

static AMX void amx_panel_row(const struct amx_format *f, uint8_t *to, const uint8_t *w, int64_t n)
{
    if (f->load != NULL && n % AMX_STEP == 0) {
        f->load(to, w, n);
        return;
    }
    for (int64_t i = 0; i < n; i += AMX_CHUNK) {
        int64_t part = min_i64(n - i, AMX_CHUNK);
        amx_panel_chunk(f, to, w, part);
        to += AMX_CHUNK / AMX_STEP * AMX_TILE * f->weight_parts;
        w += part / f->block_elements * f->block_bytes;
    }
}

/* Panels of a call. */
static int64_t amx_panel_rows(int64_t n_token)
{
    return n_token > AMX_TOKENS_FEW ? AMX_ROWS : AMX_ROWS_FEW;
}

static size_t amx_panel_bytes(int64_t n_token, int64_t k)
{
    int64_t tiles = min_i64((k + AMX_STEP - 1) / AMX_STEP * 2, AMX_TILES_OF_ROW);
    return (size_t)(amx_panel_rows(n_token) / AMX_SIDE * tiles) * AMX_TILE;
}

static size_t amx_scratch_bytes(int64_t n_token, int64_t k)
{
    int64_t groups = (min_i64(n_token, AMX_TOKENS) + 2 * AMX_SIDE - 1) / (2 * AMX_SIDE) * 2;
    return amx_panel_bytes(n_token, k) +
           (size_t)(amx_panel_rows(n_token) / AMX_SIDE * groups) * AMX_TILE;
}

/* What a call works on: n_row rows by n_group groups of tokens, both at most what scratch holds. */
struct amx_block {
    const struct amx_format *f;
    const uint8_t *w;   /* of the first row */
    const uint8_t *act; /* of the first group */
    float *y;           /* of the first row and token */
    int64_t y_stride;
    size_t row_bytes, group_bytes;
    int64_t k, n_row, n_group, n_token;
    int64_t columns;    /* of a panel */
    size_t tiles_bytes; /* of 16 rows of a panel */
    uint8_t *panel;     /* [row / 16] */
    float *sums;        /* [token / 32][row / 32][token / 16 % 2][row / 16 % 2][16 rows][16] */
};

static AMX void amx_make_panel(const struct amx_block *b, int64_t column, int64_t n)
{
    const struct amx_format *f = b->f;
    const uint8_t *w = b->w + (size_t)(column / f->block_elements * f->block_bytes);
    size_t bytes = (size_t)(n / f->block_elements * f->block_bytes);
    for (int64_t r = 0; r < (b->n_row + 2 * AMX_SIDE - 1) / (2 * AMX_SIDE) * (2 * AMX_SIDE); r++) {
        uint8_t *to =
            b->panel + (size_t)(r / AMX_SIDE) * b->tiles_bytes + (size_t)(r % AMX_SIDE) * 64;
        if (r < b->n_row) {
            uintptr_t ahead = (uintptr_t)w + (size_t)(r + AMX_ROWS_AHEAD) * b->row_bytes;
            for (size_t i = 0; i < bytes; i += 64) {
                _mm_prefetch((const char *)(ahead + i), _MM_HINT_T0);
            }
            amx_panel_row(f, to, w + (size_t)r * b->row_bytes, n);
            continue;
        }
        for (size_t i = 0; i < b->tiles_bytes; i += AMX_TILE) {
            _mm512_storeu_si512((void *)(to + i), _mm512_setzero_si512());
        }
    }
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

/* Two tiles of rows by two (or one) of tokens: registers 0 to 3 are the sums, 4 and 5 weights, 6 and
 * 7 activations. `first`: nothing stands in the sums yet. `ahead`: activations of the next tokens,
 * n_ahead lines of which are asked for in every step. */
static AMX_INLINE void amx_multiply_tiles(const struct amx_block *b, float *sums,
                                          const uint8_t *panel, const uint8_t *x, int64_t n_step,
                                          int32_t weight_parts, int32_t x_parts, int pair,
                                          int first, uintptr_t ahead, int64_t n_ahead)
{
    const uint8_t *panel2 = panel + b->tiles_bytes, *x2 = x + b->group_bytes;
    const int32_t tile = AMX_TILE / 4;
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, 64);
        _tile_loadd(1, sums + tile, 64);
        _tile_loadd(2, sums + 2 * tile, 64);
        _tile_loadd(3, sums + 3 * tile, 64);
    }
    for (int64_t s = 0; s < n_step; s++) {
        for (int64_t i = 0; i < n_ahead; i++, ahead += 64) {
            _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        }
        for (int32_t p = 0; p < weight_parts + x_parts - 1; p++) {
            /* high by high, high by low, low by high */
            int32_t wp = p == 2 || (p == 1 && x_parts == 1), xp = p == 1 && x_parts == 2;
            _tile_loadd(4, panel + (size_t)(s * weight_parts + wp) * AMX_TILE, 64);
            _tile_loadd(6, x + (size_t)(s * x_parts + xp) * AMX_TILE, 64);
            _tile_loadd(5, panel2 + (size_t)(s * weight_parts + wp) * AMX_TILE, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 5, 6);
            if (pair) {
                _tile_loadd(7, x2 + (size_t)(s * x_parts + xp) * AMX_TILE, 64);
                _tile_dpbf16ps(2, 4, 7);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + tile, 64);
    if (pair) {
        _tile_stored(2, sums + 2 * tile, 64);
        _tile_stored(3, sums + 3 * tile, 64);
    }
}

/* The sums of a tile, turned, to the rows of y. */
static AMX void amx_store_sums(float *y, int64_t y_stride, const float *sums, int64_t n_row,
                               int64_t n_token)
{
    __mmask16 rows = (__mmask16)(n_row >= AMX_SIDE ? 0xffff : (1u << n_row) - 1);
    __m512i v[16];
    SLM_UNROLL
    for (int32_t i = 0; i < AMX_SIDE; i++) {
        v[i] = _mm512_loadu_si512((const void *)(sums + AMX_SIDE * i));
    }
    amx_transpose(v);
    SLM_UNROLL
    for (int32_t t = 0; t < AMX_SIDE; t++) {
        if (t < n_token) {
            _mm512_mask_storeu_epi32((void *)(y + t * y_stride), rows, v[t]);
        }
    }
}

/* Four tiles: 32 rows from r on by 32 tokens from t on. */
static AMX void amx_store_four(const struct amx_block *b, const float *sums, int64_t r, int64_t t)
{
    for (int64_t i = 0; i < 4; i++, sums += AMX_TILE / 4) {
        int64_t row = r + i % 2 * AMX_SIDE, token = t + i / 2 * AMX_SIDE;
        if (row < b->n_row && token < b->n_token) {
            amx_store_sums(b->y + token * b->y_stride + row, b->y_stride, sums, b->n_row - row,
                           b->n_token - token);
        }
    }
}

/* Where a call of amx_multiply_tiles stands in its panel. */
struct amx_place {
    const uint8_t *act;        /* of the first group, from the panel's first column on */
    int64_t n_step, n_pair;    /* of the panel: steps of columns, pairs of tiles of rows */
    int64_t g, row_pair, step; /* where to begin */
    int64_t steps;             /* how many */
    int first;                 /* nothing stands in the sums yet */
};

/* Some steps of two tiles of rows by two of tokens. */
static AMX_INLINE void amx_multiply_steps(const struct amx_block *b, float *sums,
                                          const struct amx_place *at, int32_t weight_parts,
                                          int32_t x_parts)
{
    const uint8_t *x = at->act + (size_t)at->g * b->group_bytes;
    const uint8_t *panel = b->panel + (size_t)(2 * at->row_pair) * b->tiles_bytes +
                           (size_t)(at->step * weight_parts) * AMX_TILE;
    /* The next two groups are asked for piece by piece: */
    size_t slice = (size_t)(at->n_step * x_parts) * AMX_TILE;
    int64_t n_ahead = (2 * x_parts * AMX_TILE / 64 + at->n_pair - 1) / at->n_pair;
    size_t done = (size_t)((at->row_pair * at->n_step + at->step) * n_ahead * 64);
    uintptr_t ahead =
        (uintptr_t)x + 2 * b->group_bytes + done + (done < slice ? 0 : b->group_bytes - slice);
    n_ahead = at->g + 2 < b->n_group ? n_ahead : 0;
    x += (size_t)(at->step * x_parts) * AMX_TILE;
    if (at->g + 1 < b->n_group) {
        amx_multiply_tiles(b, sums, panel, x, at->steps, weight_parts, x_parts, 1, at->first, ahead,
                           n_ahead);
    } else {
        amx_multiply_tiles(b, sums, panel, x, at->steps, weight_parts, x_parts, 0, at->first, ahead,
                           n_ahead);
    }
}

/* All rows of the panel by all groups of tokens. For AMX_STEPS of columns and AMX_TOGETHER pairs of
 * rows in turn activations and sums stay in L1, while the panel comes from L2. */
static AMX_INLINE void amx_multiply_panel(const struct amx_block *b, int64_t column, int64_t n,
                                          int32_t weight_parts, int32_t x_parts)
{
    struct amx_place at;
    int whole = b->columns >= b->k; /* then sums need not be kept */
    int64_t steps = AMX_STEPS / (weight_parts * x_parts);
    at.act = b->act + (size_t)(column / AMX_STEP * x_parts) * AMX_TILE;
    at.n_step = (n + AMX_STEP - 1) / AMX_STEP;
    at.n_pair = (b->n_row + 2 * AMX_SIDE - 1) / (2 * AMX_SIDE);
    for (at.g = 0; at.g < b->n_group; at.g += 2) {
        for (int64_t r0 = 0; r0 < at.n_pair; r0 += AMX_TOGETHER) {
            float *sums = b->sums + (whole ? 0 : at.g / 2 * at.n_pair + r0) * AMX_TILE;
            int64_t r1 = min_i64(r0 + AMX_TOGETHER, at.n_pair);
            for (at.step = 0; at.step < at.n_step; at.step += steps) {
                at.steps = min_i64(steps, at.n_step - at.step);
                at.first = column == 0 && at.step == 0;
                for (at.row_pair = r0; at.row_pair < r1; at.row_pair++) {
                    amx_multiply_steps(b, sums + (at.row_pair - r0) * AMX_TILE, &at, weight_parts,
                                       x_parts);
                }
            }
            AMX_FENCE;
            for (int64_t r = r0; r < r1 && column + n == b->k; r++) {
                amx_store_four(b, sums + (r - r0) * AMX_TILE, r * 2 * AMX_SIDE, at.g * AMX_SIDE);
            }
        }
    }
}

/* 16 rows of 64 bytes in each of the eight. */
static const struct amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} amx_config = {1,
                0,
                {0},
                {64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0},
                {16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0}};

static SLM_NOINLINE AMX void amx_multiply_block(const struct amx_block *b)
{
    for (int64_t column = 0; column < b->k; column += b->columns) {
        int64_t n = min_i64(b->columns, b->k - column);
        amx_make_panel(b, column, n);
        AMX_FENCE;
        if (b->f->activation_parts == 1) {
            amx_multiply_panel(b, column, n, 1, 1);
        } else if (b->f->weight_parts == 1) {
            amx_multiply_panel(b, column, n, 1, 2);
        } else {
            amx_multiply_panel(b, column, n, 2, 2);
        }
        AMX_FENCE;
    }
}

static AMX void amx_multiply(const struct amx_format *f, float *y, int64_t y_stride,
                             const uint8_t *w, int64_t row0, int64_t row1, const void *act,
                             int64_t n_token, int64_t k, void *scratch)
{
    struct amx_block b;
    int64_t rows = amx_panel_rows(n_token);
    b.f = f;
    b.k = k;
    b.y_stride = y_stride;
    b.row_bytes = (size_t)(k / f->block_elements) * (size_t)f->block_bytes;
    b.group_bytes = AMX_SIDE * amx_act_bytes(k) * (size_t)f->activation_parts;
    b.columns = AMX_TILES_OF_ROW * AMX_STEP / f->weight_parts;
    b.tiles_bytes =
        (size_t)((min_i64(k, b.columns) + AMX_STEP - 1) / AMX_STEP * f->weight_parts) * AMX_TILE;
    b.panel = (uint8_t *)scratch;
    b.sums = (float *)(void *)(b.panel + amx_panel_bytes(n_token, k));
    _tile_loadconfig(&amx_config);
    for (int64_t t = 0; t < n_token; t += AMX_TOKENS) {
        b.n_token = min_i64(n_token - t, AMX_TOKENS);
        b.n_group = (b.n_token + AMX_SIDE - 1) / AMX_SIDE;
        b.act = (const uint8_t *)act + (size_t)(t / AMX_SIDE) * b.group_bytes;
        for (int64_t row = row0; row < row1; row += rows) {
            b.n_row = min_i64(row1 - row, rows);
            b.w = w + (size_t)row * b.row_bytes;
            b.y = y + t * y_stride + row;
            amx_multiply_block(&b);
        }
    }
    _tile_release();
}

/* ---- The table ------------------------------------------------------------------------------- */

/* X(id, type, elements, bytes, weight_parts, activation_parts, act, unpack, expand, load) */
#define AMX_TYPES(X)                                                                               \
    X(F16, f16, 1, 2, 2, 2, amx_act_split, NULL, NULL, amx_load_f16)                               \
    X(BF16, bf16, 1, 2, 1, 2, amx_act_split, NULL, NULL, amx_load_bf16)                            \
    X(Q4_0, q4_0, 32, 18, 1, 1, amx_act, NULL, NULL, amx_load_q4_0)                                \
    X(Q4_1, q4_1, 32, 20, 1, 1, amx_act, NULL, NULL, amx_load_q4_1)                                \
    X(Q5_0, q5_0, 32, 22, 1, 1, amx_act, NULL, NULL, amx_load_q5_0)                                \
    X(Q5_1, q5_1, 32, 24, 1, 1, amx_act, NULL, NULL, amx_load_q5_1)                                \
    X(Q8_0, q8_0, 32, 34, 1, 1, amx_act, NULL, NULL, amx_load_q8_0)                                \
    X(Q2_K, q2_k, 256, 84, 1, 1, amx_act, amx_unpack_q2_k, NULL, NULL)                             \
    X(Q3_K, q3_k, 256, 110, 1, 1, amx_act, amx_unpack_q3_k, NULL, NULL)                            \
    X(Q4_K, q4_k, 256, 144, 1, 1, amx_act, NULL, NULL, amx_load_q4_k)                              \
    X(Q5_K, q5_k, 256, 176, 1, 1, amx_act, NULL, NULL, amx_load_q5_k)                              \
    X(Q6_K, q6_k, 256, 210, 1, 1, amx_act, amx_unpack_q6_k, NULL, NULL)                            \
    X(IQ4_NL, iq4_nl, 32, 18, 1, 1, amx_act, NULL, avx2_codes_expand_iq4_nl, NULL)                 \
    X(IQ4_XS, iq4_xs, 256, 136, 1, 1, amx_act, NULL, avx2_codes_expand_iq4_xs, NULL)               \
    X(IQ3_S, iq3_s, 256, 110, 1, 1, amx_act, NULL, avx2_codes_expand_iq3_s, NULL)                  \
    X(IQ3_XXS, iq3_xxs, 256, 98, 1, 1, amx_act, NULL, avx2_codes_expand_iq3_xxs, NULL)             \
    X(IQ2_S, iq2_s, 256, 82, 1, 1, amx_act, NULL, avx2_codes_expand_iq2_s, NULL)                   \
    X(IQ2_XS, iq2_xs, 256, 74, 1, 1, amx_act, NULL, avx2_codes_expand_iq2_xs, NULL)                \
    X(IQ2_XXS, iq2_xxs, 256, 66, 1, 1, amx_act, NULL, avx2_codes_expand_iq2_xxs, NULL)             \
    X(IQ1_S, iq1_s, 256, 50, 1, 1, amx_act, NULL, avx2_codes_expand_iq1_s, NULL)                   \
    X(IQ1_M, iq1_m, 256, 56, 1, 1, amx_act, NULL, avx2_codes_expand_iq1_m, NULL)                   \
    X(TQ1_0, tq1_0, 256, 54, 1, 1, amx_act, NULL, avx2_codes_expand_tq1_0, NULL)                   \
    X(TQ2_0, tq2_0, 256, 66, 1, 1, amx_act, NULL, avx2_codes_expand_tq2_0, NULL)                   \
    X(MXFP4, mxfp4, 32, 17, 1, 1, amx_act, NULL, avx2_codes_expand_mxfp4, NULL)                    \
    X(NVFP4, nvfp4, 64, 36, 1, 1, amx_act, NULL, avx2_codes_expand_nvfp4, NULL)                    \
    X(Q1_0, q1_0, 128, 18, 1, 1, amx_act, NULL, avx2_codes_expand_q1_0, NULL)                      \
    X(Q2_0, q2_0, 64, 18, 1, 1, amx_act, NULL, avx2_codes_expand_q2_0, NULL)

#define AMX_PRODUCT(id, type, elements, bytes, weight_parts, activation_parts, act, unpack,        \
                    expand, load)                                                                  \
    static const struct amx_format amx_format_##type = {                                           \
        elements, bytes, weight_parts, activation_parts, unpack, expand, load};                    \
    static void amx_mul_##type(float *y, int64_t y_stride, const uint8_t *w, int64_t row0,         \
                               int64_t row1, const void *act_rows, int64_t n_token, int64_t k,     \
                               void *scratch)                                                      \
    {                                                                                              \
        amx_multiply(&amx_format_##type, y, y_stride, w, row0, row1, act_rows, n_token, k,         \
                     scratch);                                                                     \
    }                                                                                              \
    static const struct kernel_product amx_product_##type = {&act, amx_scratch_bytes,              \
                                                             amx_mul_##type};
AMX_TYPES(AMX_PRODUCT)

#define AMX_MANY_MIN 25

static void kernels_set_amx(struct kernels *k)
{
    k->isa = "amx_bf16";
#define AMX_SET(id, type, elements, bytes, weight_parts, activation_parts, act, unpack, expand,    \
                load)                                                                              \
    k->matrix[ENC_##id].many = &amx_product_##type;                                                \
    k->matrix[ENC_##id].many_min = AMX_MANY_MIN;
    AMX_TYPES(AMX_SET)
}

#undef AMX_TYPES
#undef AMX_PRODUCT
#undef AMX_SET

#endif /* x86-64 with Linux */
