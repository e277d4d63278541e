/* x86_avx2_codes.c - the types whose weights are codes, for AVX2: nibbles into a table (IQ4, FP4), grid
 * points with signs (IQ2, IQ3, IQ1), ternary digits, single bits. Products with int8 activations, and
 * the expansion of 256 elements into integers and scales that panels are made of.
 *
 * One description carries all: 32 elements at a time a type gives magnitudes (unsigned bytes) and a
 * vector of their signs, which vpsignb moves over to the activations; types of few levels give
 * unsigned bytes above an offset instead, whose part is taken away with the sums of activations. Work
 * on a row at a time: looking up grid points is most of it, and it knows nothing of other rows. For
 * several tokens the 256 elements wait in L1.
 *
 * Traps:
 * - vpmaddubsw saturates: two products of at most 127 * 127 fit 16 bits, as magnitudes and
 *   activations do not exceed 127. (An IQ4 level of -128 would not do.)
 * - Indices come from hostile bytes: each is masked to the size of its grid where it is made.
 * - Sums have the same lanes and the same order whatever the number of tokens. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#include "x86_grids.inc"

#define CODES SLM_TARGET("avx2,fma,f16c")
#define CODES_INLINE SLM_INLINE_TARGET("avx2,fma,f16c")

/* 256 elements of a row: w[e] = (d[e / 16] * scale[e / 16]) * q[e] - dmin * min[e / 16], rounded as
 * the reference rounds. Types of small blocks have a d for each block and scales of 1; NVFP4, whose
 * scales need more than 16 bits, has them in d. */
struct x86_codes {
    int8_t q[256];
    int16_t scale[16];
    int16_t min[16];
    float d[16];
    float dmin;
};

/* What the types have in common, known when a function is compiled. */
struct codes_form {
    int32_t type;
    int32_t block_elements;
    int32_t block_bytes;
    int32_t wide;   /* activations: 0 q8_0, 1 q8_k */
    int32_t offset; /* bytes are q + offset and unsigned; 0: magnitudes and signs */
    int32_t scaled; /* integer scales for every 16 elements */
};

/* What is worked out once for 256 elements. */
struct codes_head {
    const uint8_t *block;
    __m256i scale;      /* int16: those of even sixteens in the low half, of odd ones in the high */
    __m256 d[2];        /* for each 32 elements; NVFP4: for each 16 */
    uint32_t signs[8];  /* bit set: negative; IQ1: a byte for 8 elements, 2 or 0 */
    uint16_t index[64]; /* of grid points */
    __m256i trits;      /* TQ1_0: the bytes that are multiplied on */
    __m128i trits16;
};

/* 32 elements. */
struct codes_32 {
    __m256i size;
    __m256i sign; /* negative, 0 or positive bytes */
};

/* ---- Small pieces ---------------------------------------------------------------------------- */

static CODES_INLINE __m256i codes_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static CODES_INLINE __m128i codes_load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static CODES_INLINE __m128i codes_load_8(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

static CODES_INLINE int32_t codes_word(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static CODES_INLINE int64_t codes_long(const void *p)
{
    int64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static CODES_INLINE void codes_store(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

static CODES_INLINE __m256i codes_twice(__m128i v)
{
    return _mm256_broadcastsi128_si256(v);
}

static CODES_INLINE __m256i codes_join(__m128i low, __m128i high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

static CODES_INLINE float codes_half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

/* The f16 at the head of 8 blocks. */
static CODES_INLINE __m256 codes_halves(const uint8_t *p, size_t stride)
{
    uint64_t half[8];
    SLM_UNROLL
    for (int32_t i = 0; i < 8; i++) {
        uint16_t h;
        memcpy(&h, p + (size_t)i * stride, sizeof h);
        half[i] = h;
    }
    uint64_t a = half[0] | half[1] << 16 | half[2] << 32 | half[3] << 48;
    uint64_t b = half[4] | half[5] << 16 | half[6] << 32 | half[7] << 48;
    return _mm256_cvtph_ps(_mm_set_epi64x((int64_t)b, (int64_t)a));
}

/* Byte l of a word for the elements 8 l .. 8 l + 7. */
static CODES_INLINE __m256i codes_spread(int32_t word)
{
    const __m256i at = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2,
                                        2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    return _mm256_shuffle_epi8(_mm256_set1_epi32(word), at);
}

/* -1 where the bit of the element is as `set` says, else 1. */
static CODES_INLINE __m256i codes_signs(int32_t word, int set)
{
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
    __m256i v = _mm256_and_si256(codes_spread(word), bit);
    v = _mm256_cmpeq_epi8(v, set ? bit : _mm256_setzero_si256());
    return _mm256_or_si256(v, _mm256_set1_epi8(1));
}

/* Bytes of 7 signs get an 8th: the number of negative ones is even. */
static CODES_INLINE __m256i codes_even(__m256i v)
{
    const __m256i parity = codes_twice(
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    __m256i half = _mm256_xor_si256(v, _mm256_srli_epi16(v, 4));
    half = _mm256_and_si256(half, _mm256_set1_epi8(15));
    return _mm256_or_si256(v, _mm256_shuffle_epi8(parity, half));
}

/* Four times 7 bits of each word as bytes, with the 8th. */
static CODES_INLINE __m256i codes_even_words(__m256i w)
{
    __m256i a = _mm256_and_si256(w, _mm256_set1_epi32(0x7f));
    __m256i b = _mm256_and_si256(_mm256_slli_epi32(w, 1), _mm256_set1_epi32(0x7f00));
    __m256i c = _mm256_and_si256(_mm256_slli_epi32(w, 2), _mm256_set1_epi32(0x7f0000));
    __m256i d = _mm256_and_si256(_mm256_slli_epi32(w, 3), _mm256_set1_epi32(0x7f000000));
    return codes_even(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
}

/* 2 x + 1 of small numbers. */
static CODES_INLINE __m256i codes_odd(__m256i v)
{
    return _mm256_or_si256(_mm256_add_epi16(v, v), _mm256_set1_epi16(1));
}

/* Scales of 4 bits in 4 or 8 bytes. */
static CODES_INLINE __m256i codes_nibble_scales_8(const uint8_t *p) /* one for each 16 */
{
    __m128i v = _mm_cvtepu8_epi16(codes_load_8(p));
    return codes_join(_mm_and_si128(v, _mm_set1_epi16(15)), _mm_srli_epi16(v, 4));
}

static CODES_INLINE __m256i codes_nibble_scales_4(const uint8_t *p) /* one for each 32 */
{
    __m128i v = _mm_cvtepu8_epi16(_mm_cvtsi32_si128(codes_word(p)));
    v = _mm_and_si128(_mm_or_si128(v, _mm_slli_epi16(v, 4)), _mm_set1_epi8(15));
    return codes_twice(_mm_cvtepu8_epi16(v));
}

/* The top four bits of words, one for each 32. */
static CODES_INLINE __m256i codes_word_scales(__m256i words)
{
    __m256i v = _mm256_srli_epi32(words, 28);
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(v, v), 0x88);
}

/* ---- Heads ----------------------------------------------------------------------------------- */

static CODES_INLINE void codes_head_iq2_xxs(struct codes_head *h, const uint8_t *p)
{
    __m256i a = codes_load(p + 2), b = codes_load(p + 34);
    a = _mm256_shuffle_epi32(a, 0xd8);
    b = _mm256_shuffle_epi32(b, 0xd8);
    __m256i words = _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(a, b), 0xd8);
    codes_store(h->signs, codes_even_words(words));
    h->scale = codes_odd(codes_word_scales(words));
}

static CODES_INLINE void codes_head_iq2_xs(struct codes_head *h, const uint8_t *p)
{
    __m256i a = codes_load(p + 2), b = codes_load(p + 34), low = _mm256_set1_epi16(511);
    codes_store(h->index, _mm256_and_si256(a, low));
    codes_store(h->index + 16, _mm256_and_si256(b, low));
    a = _mm256_packus_epi16(_mm256_srli_epi16(a, 9), _mm256_srli_epi16(b, 9));
    codes_store(h->signs, codes_even(_mm256_permute4x64_epi64(a, 0xd8)));
    h->scale = codes_odd(codes_nibble_scales_8(p + 66));
}

/* Sixteen of a byte each, and bits above them: those of 4 bytes (or words of 16 bits) of `high`,
 * shifted left by so much for each of four elements and masked. */
static CODES_INLINE __m256i codes_index_16(const uint8_t *low, __m256i high, int64_t factors,
                                           int32_t mask)
{
    high = _mm256_mullo_epi16(high, _mm256_set1_epi64x(factors));
    high = _mm256_and_si256(high, _mm256_set1_epi16((int16_t)mask));
    return _mm256_or_si256(high, _mm256_cvtepu8_epi16(codes_load_16(low)));
}

static CODES_INLINE void codes_head_iq2_s(struct codes_head *h, const uint8_t *p)
{
    const __m256i at = _mm256_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 1, -1, 1, -1, 1, -1, 1, -1, 2,
                                        -1, 2, -1, 2, -1, 2, -1, 3, -1, 3, -1, 3, -1, 3, -1);
    SLM_UNROLL
    for (int32_t i = 0; i < 2; i++) {
        __m256i high = _mm256_shuffle_epi8(_mm256_set1_epi32(codes_word(p + 66 + 4 * i)), at);
        codes_store(h->index + 16 * i,
                    codes_index_16(p + 2 + 16 * i, high, 0x0004001000400100, 0x300));
    }
    codes_store(h->signs, codes_load(p + 34));
    h->scale = codes_odd(codes_nibble_scales_8(p + 74));
}

static CODES_INLINE void codes_head_iq3_xxs(struct codes_head *h, const uint8_t *p)
{
    __m256i words = codes_load(p + 66);
    codes_store(h->signs, codes_even_words(words));
    h->scale = codes_odd(codes_word_scales(words));
}

static CODES_INLINE void codes_head_iq3_s(struct codes_head *h, const uint8_t *p)
{
    const __m256i factors =
        codes_twice(_mm_setr_epi16(256, 128, 64, 32, 16, 8, 4, 2)); /* bit i to bit 8 */
    const __m256i at = _mm256_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 1,
                                        -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1);
    SLM_UNROLL
    for (int32_t i = 0; i < 4; i++) {
        __m256i high = _mm256_set1_epi16((int16_t)load_u16(p + 66 + 2 * i));
        high = _mm256_mullo_epi16(_mm256_shuffle_epi8(high, at), factors);
        high = _mm256_and_si256(high, _mm256_set1_epi16(256));
        __m256i low = _mm256_cvtepu8_epi16(codes_load_16(p + 2 + 16 * i));
        codes_store(h->index + 16 * i, _mm256_or_si256(high, low));
    }
    codes_store(h->signs, codes_load(p + 74));
    h->scale = codes_odd(codes_nibble_scales_4(p + 106));
}

static CODES_INLINE void codes_head_iq1_s(struct codes_head *h, const uint8_t *p)
{
    const __m256i at = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4, 5, 4, 5,
                                        4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
    __m128i words = codes_load_16(p + 34);
    SLM_UNROLL
    for (int32_t i = 0; i < 2; i++) {
        __m256i high = _mm256_shuffle_epi8(_mm256_set1_epi64x(codes_long(p + 34 + 8 * i)), at);
        /* the bits 3 l .. 3 l + 2 to 9, and then to 8: one of the shifts is to the right */
        high = _mm256_mullo_epi16(high, _mm256_set1_epi64x(0x0001000800400200));
        high = _mm256_and_si256(_mm256_srli_epi16(high, 1), _mm256_set1_epi16(0x700));
        __m256i low = _mm256_cvtepu8_epi16(codes_load_16(p + 2 + 16 * i));
        codes_store(h->index + 16 * i, _mm256_or_si256(high, low));
    }
    __m256i delta = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16), 31);
    codes_store(h->signs, _mm256_andnot_si256(delta, _mm256_set1_epi8(2)));
    words = _mm_and_si128(_mm_srli_epi16(words, 12), _mm_set1_epi16(7));
    h->scale = codes_odd(codes_twice(words));
}

static CODES_INLINE void codes_head_iq1_m(struct codes_head *h, const uint8_t *p)
{
    __m128i byte = codes_load_16(p + 32), low4 = _mm_set1_epi8(15);
    __m128i a = _mm_and_si128(byte, low4), b = _mm_and_si128(_mm_srli_epi16(byte, 4), low4);
    __m256i nibbles = codes_join(_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
    __m256i delta = _mm256_slli_epi16(_mm256_and_si256(nibbles, _mm256_set1_epi8(8)), 4);
    delta = _mm256_cmpgt_epi8(_mm256_setzero_si256(), delta);
    codes_store(h->signs, _mm256_andnot_si256(delta, _mm256_set1_epi8(2)));
    nibbles = _mm256_and_si256(nibbles, _mm256_set1_epi8(7));
    SLM_UNROLL
    for (int32_t i = 0; i < 2; i++) {
        __m128i high =
            i == 0 ? _mm256_castsi256_si128(nibbles) : _mm256_extracti128_si256(nibbles, 1);
        __m256i low = _mm256_cvtepu8_epi16(codes_load_16(p + 16 * i));
        __m256i wide = _mm256_slli_epi16(_mm256_cvtepu8_epi16(high), 8);
        codes_store(h->index + 16 * i, _mm256_or_si256(wide, low));
    }
    __m128i words = codes_load_8(p + 48); /* each for two groups of 32 */
    __m256i w = _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(words, words));
    __m256i even = _mm256_srlv_epi32(w, _mm256_setr_epi32(0, 6, 0, 6, 0, 6, 0, 6));
    __m256i odd = _mm256_srlv_epi32(w, _mm256_setr_epi32(3, 9, 3, 9, 3, 9, 3, 9));
    w = _mm256_packus_epi32(_mm256_and_si256(even, _mm256_set1_epi32(7)),
                            _mm256_and_si256(odd, _mm256_set1_epi32(7)));
    h->scale = codes_odd(_mm256_permute4x64_epi64(w, 0xd8));
}

static CODES_INLINE void codes_head_iq4_xs(struct codes_head *h, const uint8_t *p)
{
    const __m128i factors =
        _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1);
    __m128i high = _mm_mullo_epi16(_mm_set1_epi16((int16_t)load_u16(p + 2)), factors);
    high = _mm_and_si128(_mm_srli_epi16(high, 10), _mm_set1_epi16(48));
    __m256i scale = _mm256_or_si256(codes_nibble_scales_4(p + 4), codes_twice(high));
    h->scale = _mm256_sub_epi16(scale, _mm256_set1_epi16(32));
}

static CODES_INLINE void codes_head_tq1_0(struct codes_head *h, const uint8_t *p)
{
    h->trits = _mm256_xor_si256(codes_load(p), _mm256_set1_epi8(-128));
    h->trits16 = _mm_xor_si128(codes_load_16(p + 32), _mm_set1_epi8(-128));
    h->scale = _mm256_set1_epi16(1);
}

/* 2^(e - 128) of 8 blocks. */
static CODES_INLINE void codes_head_mxfp4(struct codes_head *h, const uint8_t *p)
{
    uint64_t bytes = 0;
    SLM_UNROLL
    for (int32_t i = 0; i < 8; i++) {
        bytes |= (uint64_t)p[17 * i] << 8 * i;
    }
    __m256i e = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)bytes));
    __m256i one = _mm256_set1_epi32(1);
    __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e); /* of 0 and 1 */
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    normal = _mm256_blendv_epi8(small, normal, _mm256_cmpgt_epi32(e, one));
    h->d[0] = _mm256_castsi256_ps(normal);
}

/* UE4M3 as f16: the exponents differ by 8, and the table of levels is doubled. */
static CODES_INLINE void codes_head_nvfp4(struct codes_head *h, const uint8_t *p)
{
    __m128i v =
        _mm_setr_epi32(codes_word(p), codes_word(p + 36), codes_word(p + 72), codes_word(p + 108));
    v = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)), v);
    __m256i half = _mm256_slli_epi16(_mm256_cvtepu8_epi16(v), 7);
    half = _mm256_and_si256(half, _mm256_set1_epi16(0x3f80));
    __m256 unit = _mm256_set1_ps(128.0f);
    h->d[0] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(half)), unit);
    h->d[1] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(half, 1)), unit);
}

static CODES_INLINE void codes_head_q1_0(struct codes_head *h, const uint8_t *p)
{
    h->d[0] =
        _mm256_insertf128_ps(_mm256_set1_ps(codes_half(p)), _mm_set1_ps(codes_half(p + 18)), 1);
}

static CODES_INLINE void codes_head_q2_0(struct codes_head *h, const uint8_t *p)
{
    __m256 v = _mm256_setr_ps(codes_half(p), codes_half(p + 18), codes_half(p + 36),
                              codes_half(p + 54), 0, 0, 0, 0);
    h->d[0] = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

/* The scale of 256 elements, of types that have one; a power of two stands beside it. */
static CODES_INLINE float codes_d(int32_t type, const uint8_t *p)
{
    switch (type) {
    case ENC_IQ2_XXS:
    case ENC_IQ2_XS:
    case ENC_IQ2_S:
    case ENC_IQ1_S:
        return codes_half(p) * 0.125f;
    case ENC_IQ3_XXS:
        return codes_half(p) * 0.25f;
    case ENC_IQ1_M: {
        uint16_t bits = ref_iq1_m_scale((const struct block_iq1_m *)p);
        return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))) * 0.125f;
    }
    case ENC_TQ1_0:
        return codes_half(p + 52);
    case ENC_TQ2_0:
        return codes_half(p + 64);
    default:
        return codes_half(p);
    }
}

static CODES_INLINE void codes_read_head(int32_t type, struct codes_head *h, const uint8_t *p)
{
    h->block = p;
    switch (type) {
    case ENC_IQ4_NL:
        h->d[0] = codes_halves(p, 18);
        break;
    case ENC_MXFP4:
        codes_head_mxfp4(h, p);
        break;
    case ENC_NVFP4:
        codes_head_nvfp4(h, p);
        break;
    case ENC_Q1_0:
        codes_head_q1_0(h, p);
        break;
    case ENC_Q2_0:
        codes_head_q2_0(h, p);
        break;
    case ENC_IQ4_XS:
        codes_head_iq4_xs(h, p);
        break;
    case ENC_IQ2_XXS:
        codes_head_iq2_xxs(h, p);
        break;
    case ENC_IQ2_XS:
        codes_head_iq2_xs(h, p);
        break;
    case ENC_IQ2_S:
        codes_head_iq2_s(h, p);
        break;
    case ENC_IQ3_XXS:
        codes_head_iq3_xxs(h, p);
        break;
    case ENC_IQ3_S:
        codes_head_iq3_s(h, p);
        break;
    case ENC_IQ1_S:
        codes_head_iq1_s(h, p);
        break;
    case ENC_IQ1_M:
        codes_head_iq1_m(h, p);
        break;
    case ENC_TQ1_0:
        codes_head_tq1_0(h, p);
        break;
    default:
        h->scale = _mm256_set1_epi16(1);
        break;
    }
}

/* ---- 32 elements ----------------------------------------------------------------------------- */

/* 16 bytes of nibbles: low ones, high ones. */
static CODES_INLINE __m256i codes_nibbles(const uint8_t *p)
{
    __m128i v = codes_load_16(p);
    return _mm256_and_si256(codes_join(v, _mm_srli_epi16(v, 4)), _mm256_set1_epi8(15));
}

static CODES_INLINE struct codes_32 codes_of_levels(__m256i q)
{
    struct codes_32 c = {_mm256_abs_epi8(q), q};
    return c;
}

static CODES_INLINE struct codes_32 codes_look_up(__m256i nibbles, const int8_t *levels)
{
    return codes_of_levels(_mm256_shuffle_epi8(codes_twice(codes_load_16(levels)), nibbles));
}

/* NVFP4 splits 8 bytes, not 16. */
static CODES_INLINE __m256i codes_nibbles_nvfp4(const uint8_t *p)
{
    __m128i v = codes_load_16(p), low4 = _mm_set1_epi8(15);
    __m128i low = _mm_and_si128(v, low4), high = _mm_and_si128(_mm_srli_epi16(v, 4), low4);
    return codes_join(_mm_unpacklo_epi64(low, high), _mm_unpackhi_epi64(low, high));
}

/* Four points of 8, or 8 of 4 levels. Loads and inserts: gathering is slow on most CPUs without
 * AVX-512, and on many where microcode protects it. */
static CODES_INLINE __m256i codes_points_8(const uint64_t *grid, uint32_t i0, uint32_t i1,
                                           uint32_t i2, uint32_t i3)
{
    __m128d a = _mm_load_sd((const double *)(const void *)(grid + i0));
    __m128d b = _mm_load_sd((const double *)(const void *)(grid + i2));
    a = _mm_loadh_pd(a, (const double *)(const void *)(grid + i1));
    b = _mm_loadh_pd(b, (const double *)(const void *)(grid + i3));
    return codes_join(_mm_castpd_si128(a), _mm_castpd_si128(b));
}

static CODES_INLINE __m128i codes_points_4(const uint32_t *grid, uint32_t i0, uint32_t i1,
                                           uint32_t i2, uint32_t i3)
{
    __m128i v = _mm_cvtsi32_si128((int32_t)grid[i0]);
    v = _mm_blend_epi32(v, _mm_set1_epi32((int32_t)grid[i1]), 2);
    v = _mm_blend_epi32(v, _mm_set1_epi32((int32_t)grid[i2]), 4);
    return _mm_blend_epi32(v, _mm_set1_epi32((int32_t)grid[i3]), 8);
}

static CODES_INLINE struct codes_32 codes_grid_8(const struct codes_head *h, const uint64_t *grid,
                                                 int32_t g)
{
    const uint16_t *i = h->index + 4 * g;
    struct codes_32 c = {codes_points_8(grid, i[0], i[1], i[2], i[3]),
                         codes_signs((int32_t)h->signs[g], 1)};
    return c;
}

static CODES_INLINE struct codes_32 codes_grid_iq2_xxs(const struct codes_head *h, int32_t g)
{
    const uint8_t *i = h->block + 2 + 8 * g;
    struct codes_32 c = {codes_points_8(x86_grid_iq2_xxs, i[0], i[1], i[2], i[3]),
                         codes_signs((int32_t)h->signs[g], 1)};
    return c;
}

static CODES_INLINE struct codes_32 codes_grid_iq3_xxs(const struct codes_head *h, int32_t g)
{
    const uint8_t *i = h->block + 2 + 8 * g;
    struct codes_32 c = {codes_join(codes_points_4(x86_grid_iq3_xxs, i[0], i[1], i[2], i[3]),
                                    codes_points_4(x86_grid_iq3_xxs, i[4], i[5], i[6], i[7])),
                         codes_signs((int32_t)h->signs[g], 1)};
    return c;
}

static CODES_INLINE struct codes_32 codes_grid_iq3_s(const struct codes_head *h, int32_t g)
{
    const uint16_t *i = h->index + 8 * g;
    struct codes_32 c = {codes_join(codes_points_4(x86_grid_iq3_s, i[0], i[1], i[2], i[3]),
                                    codes_points_4(x86_grid_iq3_s, i[4], i[5], i[6], i[7])),
                         codes_signs((int32_t)h->signs[g], 1)};
    return c;
}

/* Of IQ1: 8 * level + delta + 9. */
static CODES_INLINE struct codes_32 codes_grid_iq1(const struct codes_head *h, int32_t g)
{
    struct codes_32 c = codes_grid_8(h, x86_grid_iq1, g);
    c.size = _mm256_add_epi8(c.size, codes_spread((int32_t)h->signs[g]));
    return c;
}

/* Bytes whose next trit is that of the elements of part g, with 128 more: a trit is the carry of
 * byte * 3, or whether the byte is beyond 85 and beyond 170, and signed bytes compare. Multiplying
 * by 3 keeps the 128. */
static CODES_INLINE __m256i codes_trit_bytes(struct codes_head *h, int32_t g)
{
    if (g < 5) {
        __m256i v = h->trits;
        h->trits = _mm256_add_epi8(v, _mm256_add_epi8(v, v));
        return v;
    }
    __m128i low = h->trits16, high = _mm_add_epi8(low, _mm_add_epi8(low, low));
    h->trits16 = _mm_add_epi8(high, _mm_add_epi8(high, high));
    if (g == 7) { /* four bytes, times 1, 3, 9 and 27 */
        const __m128i factor = _mm_setr_epi16(1, 1, 3, 3, 9, 9, 27, 27);
        const __m128i odd = _mm_set1_epi16((int16_t)0xff00);
        high = _mm_set1_epi32(codes_word(h->block + 48));
        high = _mm_or_si128(_mm_andnot_si128(odd, _mm_mullo_epi16(high, factor)),
                            _mm_mullo_epi16(_mm_and_si128(high, odd), factor));
        high = _mm_xor_si128(high, _mm_set1_epi8(-128));
    }
    return codes_join(low, high);
}

static CODES_INLINE struct codes_32 codes_trits(struct codes_head *h, int32_t g)
{
    __m256i v = codes_trit_bytes(h, g);
    __m256i first = _mm256_cmpgt_epi8(v, _mm256_set1_epi8(85 - 128));
    __m256i second = _mm256_cmpgt_epi8(v, _mm256_set1_epi8(170 - 128));
    struct codes_32 c;
    c.size = c.sign = _mm256_abs_epi8(_mm256_add_epi8(first, second));
    return c;
}

static CODES_INLINE struct codes_32 codes_two_bits(const struct codes_head *h, int32_t g)
{
    __m256i v = _mm256_srli_epi16(codes_load(h->block + 32 * (g / 4)), 2 * (g % 4));
    struct codes_32 c;
    c.size = c.sign = _mm256_and_si256(v, _mm256_set1_epi8(3));
    return c;
}

static CODES_INLINE struct codes_32 codes_bits(const struct codes_head *h, int32_t g)
{
    struct codes_32 c = {_mm256_set1_epi8(1),
                         codes_signs(codes_word(h->block + 18 * (g / 4) + 2 + 4 * (g % 4)), 0)};
    return c;
}

/* 8 bytes of four fields each. */
static CODES_INLINE struct codes_32 codes_fields(const struct codes_head *h, int32_t g)
{
    __m256i v = _mm256_cvtepu8_epi32(codes_load_8(h->block + 18 * (g / 2) + 2 + 8 * (g % 2)));
    v = _mm256_or_si256(v, _mm256_slli_epi32(v, 6));
    v = _mm256_or_si256(v, _mm256_slli_epi32(v, 12));
    v = _mm256_and_si256(v, _mm256_set1_epi8(3));
    return codes_of_levels(_mm256_sub_epi8(v, _mm256_set1_epi8(1)));
}

static CODES_INLINE struct codes_32 codes_part(int32_t type, struct codes_head *h, int32_t g)
{
    switch (type) {
    case ENC_IQ4_NL:
        return codes_look_up(codes_nibbles(h->block + 18 * g + 2), ref_iq4_levels);
    case ENC_IQ4_XS:
        return codes_look_up(codes_nibbles(h->block + 8 + 16 * g), ref_iq4_levels);
    case ENC_MXFP4:
        return codes_look_up(codes_nibbles(h->block + 17 * g + 1), ref_fp4_levels);
    case ENC_NVFP4:
        return codes_look_up(codes_nibbles_nvfp4(h->block + 36 * (g / 2) + 4 + 16 * (g % 2)),
                             ref_fp4_levels);
    case ENC_IQ2_XXS:
        return codes_grid_iq2_xxs(h, g);
    case ENC_IQ2_XS:
        return codes_grid_8(h, x86_grid_iq2_xs, g);
    case ENC_IQ2_S:
        return codes_grid_8(h, x86_grid_iq2_s, g);
    case ENC_IQ3_XXS:
        return codes_grid_iq3_xxs(h, g);
    case ENC_IQ3_S:
        return codes_grid_iq3_s(h, g);
    case ENC_IQ1_S:
    case ENC_IQ1_M:
        return codes_grid_iq1(h, g);
    case ENC_TQ1_0:
        return codes_trits(h, g);
    case ENC_TQ2_0:
        return codes_two_bits(h, g);
    case ENC_Q1_0:
        return codes_bits(h, g);
    default:
        return codes_fields(h, g);
    }
}

/* ---- Expansion ------------------------------------------------------------------------------- */

static CODES_INLINE void codes_expand(struct codes_form f, struct x86_codes *to, const uint8_t *p)
{
    struct codes_head h;
    codes_read_head(f.type, &h, p);
    SLM_UNROLL
    for (int32_t g = 0; g < 8; g++) {
        struct codes_32 c = codes_part(f.type, &h, g);
        __m256i q = f.offset != 0 ? _mm256_sub_epi8(c.size, _mm256_set1_epi8((int8_t)f.offset))
                                  : _mm256_sign_epi8(c.size, c.sign);
        codes_store(to->q + 32 * g, q);
    }
    __m256 d0, d1;
    __m256i scale = _mm256_set1_epi16(1);
    if (f.wide) {
        d0 = d1 = _mm256_set1_ps(codes_d(f.type, p));
        /* even and odd ones back into one order */
        scale = _mm256_permute4x64_epi64(h.scale, 0xd8);
        scale = _mm256_unpacklo_epi16(scale, _mm256_unpackhi_epi64(scale, scale));
    } else if (f.type == ENC_NVFP4) {
        d0 = h.d[0];
        d1 = h.d[1];
    } else {
        d0 = _mm256_permutevar8x32_ps(h.d[0], _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
        d1 = _mm256_permutevar8x32_ps(h.d[0], _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
    }
    codes_store(to->scale, scale);
    codes_store(to->min, _mm256_setzero_si256());
    _mm256_storeu_ps(to->d, d0);
    _mm256_storeu_ps(to->d + 8, d1);
    to->dmin = 0;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* 256 elements that wait for several tokens. */
struct codes_chunk {
    __m256i size[8];
    __m256i sign[8];
    __m256i scale[8];
    __m256i low; /* offset * scale, in the order of h.scale */
    __m256 d[2];
    float d_wide;
};

/* The activations of a token for 256 elements. */
struct codes_x {
    const int8_t *q;
    const float *d;
    const int16_t *bsums;
};

static CODES_INLINE __m256i codes_scale(__m256i scale, int32_t g)
{
    return _mm256_shuffle_epi8(scale, _mm256_set1_epi16((int16_t)(0x0100 + 0x0202 * g)));
}

static CODES_INLINE __m256i codes_pairs(int32_t offset, struct codes_32 c, const int8_t *x)
{
    __m256i v = codes_load(x);
    return _mm256_maddubs_epi16(c.size, offset != 0 ? v : _mm256_sign_epi8(v, c.sign));
}

/* offset * scale * sums of 16. */
static CODES_INLINE __m256i codes_low(__m256i low, const int16_t *bsums)
{
    const __m256i at = codes_twice(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)); /* even, odd */
    __m256i v = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(codes_load(bsums), at), 0xd8);
    return _mm256_madd_epi16(low, v);
}

static CODES_INLINE __m256 codes_add(__m256 acc, __m256 d, __m256i sum)
{
    return _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(sum), acc);
}

/* The factors of the 8 sums of part g. */
static CODES_INLINE __m256 codes_factor(int32_t type, const __m256 d[2], int32_t g)
{
    if (type == ENC_NVFP4) {
        __m256i at = _mm256_add_epi32(_mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1),
                                      _mm256_set1_epi32(2 * (g % 4)));
        return _mm256_permutevar8x32_ps(d[g / 4], at);
    }
    return _mm256_permutevar8x32_ps(d[0], _mm256_set1_epi32(g));
}

static CODES_INLINE void codes_factors(int32_t type, __m256 to[2], const __m256 d[2],
                                       const float *xd)
{
    __m256 x = _mm256_loadu_ps(xd);
    if (type == ENC_NVFP4) {
        __m256 x0 = _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
        __m256 x1 = _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
        to[0] = _mm256_mul_ps(d[0], x0);
        to[1] = _mm256_mul_ps(d[1], x1);
    } else {
        to[0] = _mm256_mul_ps(d[0], x);
    }
}

/* acc + the products of 256 elements with one token, straight from the block. *sums: of types
 * without scales, the sums of each pair of neighbours in the 8 parts. */
static CODES_INLINE __m256 codes_dot_block(struct codes_form f, __m256 acc, const uint8_t *p,
                                           struct codes_x x, const __m256i *sums)
{
    struct codes_head h;
    __m256i sum = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1);
    __m256 factor[2];
    codes_read_head(f.type, &h, p);
    if (!f.wide) {
        codes_factors(f.type, factor, h.d, x.d);
    }
    SLM_UNROLL
    for (int32_t g = 0; g < 8; g++) {
        __m256i pairs = codes_pairs(f.offset, codes_part(f.type, &h, g), x.q + 32 * g);
        if (!f.wide) {
            acc = codes_add(acc, codes_factor(f.type, factor, g), _mm256_madd_epi16(pairs, ones));
        } else if (f.scaled) {
            pairs = _mm256_madd_epi16(pairs, codes_scale(h.scale, g));
            sum = _mm256_add_epi32(sum, pairs);
        } else { /* at most 3 * 127 * 2 each: 8 of them fit */
            sum = _mm256_add_epi16(sum, pairs);
        }
    }
    if (!f.wide) {
        return acc;
    }
    if (!f.scaled) {
        sum = _mm256_madd_epi16(_mm256_sub_epi16(sum, *sums), ones);
    } else if (f.offset != 0) {
        __m256i low = _mm256_mullo_epi16(h.scale, _mm256_set1_epi16((int16_t)f.offset));
        sum = _mm256_sub_epi32(sum, codes_low(low, x.bsums));
    }
    return codes_add(acc, _mm256_set1_ps(codes_d(f.type, p) * x.d[0]), sum);
}

/* The same in two steps. */
static CODES_INLINE void codes_fill(struct codes_form f, struct codes_chunk *c, const uint8_t *p)
{
    struct codes_head h;
    codes_read_head(f.type, &h, p);
    SLM_UNROLL
    for (int32_t g = 0; g < 8; g++) {
        struct codes_32 part = codes_part(f.type, &h, g);
        c->size[g] = part.size;
        if (f.offset == 0) {
            c->sign[g] = part.sign;
        }
        if (f.scaled) {
            c->scale[g] = codes_scale(h.scale, g);
        }
    }
    if (f.wide) {
        c->low = _mm256_mullo_epi16(h.scale, _mm256_set1_epi16((int16_t)f.offset));
        c->d_wide = codes_d(f.type, p);
    } else {
        c->d[0] = h.d[0];
        if (f.type == ENC_NVFP4) {
            c->d[1] = h.d[1];
        }
    }
}

static CODES_INLINE __m256 codes_dot_chunk(struct codes_form f, __m256 acc,
                                           const struct codes_chunk *c, struct codes_x x,
                                           const __m256i *sums)
{
    __m256i sum = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1);
    __m256 factor[2];
    if (!f.wide) {
        codes_factors(f.type, factor, c->d, x.d);
    }
    SLM_UNROLL
    for (int32_t g = 0; g < 8; g++) {
        struct codes_32 part = {c->size[g], f.offset == 0 ? c->sign[g] : c->size[g]};
        __m256i pairs = codes_pairs(f.offset, part, x.q + 32 * g);
        if (!f.wide) {
            acc = codes_add(acc, codes_factor(f.type, factor, g), _mm256_madd_epi16(pairs, ones));
        } else if (f.scaled) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, c->scale[g]));
        } else {
            sum = _mm256_add_epi16(sum, pairs);
        }
    }
    if (!f.wide) {
        return acc;
    }
    if (!f.scaled) {
        sum = _mm256_madd_epi16(_mm256_sub_epi16(sum, *sums), ones);
    } else if (f.offset != 0) {
        sum = _mm256_sub_epi32(sum, codes_low(c->low, x.bsums));
    }
    return codes_add(acc, _mm256_set1_ps(c->d_wide * x.d[0]), sum);
}

static CODES_INLINE float codes_total(__m256 v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

/* What a call needs. Columns beyond the last whole 256 are copied and the rest is zero, weights and
 * activations. */
struct codes_scratch {
    struct codes_chunk *chunk;
    uint8_t *tail;  /* of a row, 144 bytes at most */
    __m256 *acc;    /* [n_token] */
    int8_t *tail_q; /* [n_token][256] */
    float *tail_d;  /* [n_token][8] */
    __m256i *sums;  /* [n_token][k / 256], of q8_k */
};

#define CODES_TAIL_BYTES 192

static struct codes_scratch codes_scratch_at(void *scratch, int64_t n_token)
{
    uint8_t *p = (uint8_t *)scratch;
    struct codes_scratch s;
    s.chunk = (struct codes_chunk *)(void *)p;
    s.tail = p + act_pad(sizeof(struct codes_chunk));
    s.acc = (__m256 *)(void *)(s.tail + CODES_TAIL_BYTES);
    s.tail_q = (int8_t *)s.acc + n_token * 32;
    s.tail_d = (float *)(void *)(s.tail_q + n_token * 256);
    s.sums = (__m256i *)(void *)(s.tail_d + n_token * 8);
    return s;
}

static size_t codes_scratch_bytes(int64_t n_token, int64_t k)
{
    return act_pad(sizeof(struct codes_chunk)) + CODES_TAIL_BYTES +
           (size_t)n_token * (320 + (size_t)k / 256 * sizeof(__m256i));
}

/* The activations of a call. */
struct codes_input {
    const uint8_t *act;
    size_t act_bytes;
    int64_t k;
    int64_t whole; /* columns in whole chunks */
    struct codes_scratch s;
};

static CODES_INLINE struct codes_x codes_x_at(struct codes_form f, const struct codes_input *in,
                                              int64_t t, int64_t column)
{
    void *row = (void *)(in->act + (size_t)t * in->act_bytes);
    struct codes_x x;
    if (f.wide) {
        struct act_q8_k_planes planes = act_q8_k_at(row, in->k);
        x.q = planes.q + column;
        x.d = planes.d + column / 256;
        x.bsums = planes.bsums + column / 16;
    } else {
        struct act_q8_0_planes planes = act_q8_0_at(row, in->k);
        x.q = column < in->whole ? planes.q + column : in->s.tail_q + t * 256;
        x.d = column < in->whole ? planes.d + column / 32 : in->s.tail_d + t * 8;
        x.bsums = NULL;
    }
    return x;
}

static CODES void codes_copy_tail(const struct codes_input *in, int64_t n_token)
{
    int64_t n = in->k - in->whole;
    memset(in->s.tail, 0, CODES_TAIL_BYTES);
    memset(in->s.tail_q, 0, (size_t)n_token * 288);
    for (int64_t t = 0; t < n_token; t++) {
        void *row = (void *)(in->act + (size_t)t * in->act_bytes);
        struct act_q8_0_planes x = act_q8_0_at(row, in->k);
        memcpy(in->s.tail_q + t * 256, x.q + in->whole, (size_t)n);
        memcpy(in->s.tail_d + t * 8, x.d + in->whole / 32, (size_t)n / 32 * sizeof(float));
    }
}

static CODES void codes_sum_up(const struct codes_input *in, int64_t n_token)
{
    for (int64_t i = 0; i < n_token * (in->k / 256); i++) {
        int64_t t = i / (in->k / 256), column = i % (in->k / 256) * 256;
        const int8_t *x = (const int8_t *)(in->act + (size_t)t * in->act_bytes) + column;
        __m256i sum = _mm256_setzero_si256();
        for (int32_t g = 0; g < 8; g++) {
            __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes_load(x + 32 * g));
            sum = _mm256_add_epi16(sum, pairs);
        }
        in->s.sums[i] = sum;
    }
}

static CODES_INLINE struct codes_input codes_input_of(struct codes_form f, const void *act,
                                                      int64_t n_token, int64_t k, void *scratch)
{
    struct codes_input in = {(const uint8_t *)act, 0, k, k / 256 * 256,
                             codes_scratch_at(scratch, n_token)};
    in.act_bytes = f.wide ? ref_act_q8_k_bytes(k) : ref_act_q8_0_bytes(k);
    if (in.whole < k) {
        codes_copy_tail(&in, n_token);
    }
    return in;
}

/* What a row has beyond the whole chunks. */
static CODES const uint8_t *codes_tail(struct codes_form f, const struct codes_input *in,
                                       const uint8_t *p)
{
    memcpy(in->s.tail, p, (size_t)((in->k - in->whole) / f.block_elements * f.block_bytes));
    return in->s.tail;
}

static CODES_INLINE const __m256i *codes_sums_at(const struct codes_input *in, int64_t t,
                                                 int64_t column)
{
    return in->s.sums + (t * in->k + column) / 256;
}

static CODES_INLINE float codes_row_one(struct codes_form f, const struct codes_input *in,
                                        const uint8_t *p)
{
    size_t bytes = (size_t)(256 / f.block_elements * f.block_bytes);
    __m256 acc = _mm256_setzero_ps();
    for (int64_t column = 0; column < in->whole; column += 256, p += bytes) {
        X86_PREFETCH((uintptr_t)p + X86_DISTANCE);
        if (bytes > 64) {
            X86_PREFETCH((uintptr_t)p + X86_DISTANCE + 64);
        }
        acc =
            codes_dot_block(f, acc, p, codes_x_at(f, in, 0, column), codes_sums_at(in, 0, column));
    }
    if (!f.wide && in->whole < in->k) {
        acc = codes_dot_block(f, acc, codes_tail(f, in, p), codes_x_at(f, in, 0, in->whole), NULL);
    }
    return codes_total(acc);
}

static CODES_INLINE void codes_step_few(struct codes_form f, const struct codes_input *in,
                                        const uint8_t *p, int64_t column, int64_t n_token)
{
    __m256 *acc = in->s.acc;
    codes_fill(f, in->s.chunk, p);
    for (int64_t t = 0; t < n_token; t++) {
        acc[t] = codes_dot_chunk(f, acc[t], in->s.chunk, codes_x_at(f, in, t, column),
                                 codes_sums_at(in, t, column));
    }
}

static CODES_INLINE void codes_row_few(struct codes_form f, const struct codes_input *in,
                                       const uint8_t *p, int64_t n_token)
{
    size_t bytes = (size_t)(256 / f.block_elements * f.block_bytes);
    for (int64_t t = 0; t < n_token; t++) {
        in->s.acc[t] = _mm256_setzero_ps();
    }
    for (int64_t column = 0; column < in->whole; column += 256, p += bytes) {
        X86_PREFETCH((uintptr_t)p + X86_DISTANCE);
        X86_PREFETCH((uintptr_t)p + X86_DISTANCE + 64);
        codes_step_few(f, in, p, column, n_token);
    }
    if (!f.wide && in->whole < in->k) {
        codes_step_few(f, in, codes_tail(f, in, p), in->whole, n_token);
    }
}

static CODES_INLINE void codes_multiply(struct codes_form f, float *y, int64_t y_stride,
                                        const uint8_t *w, int64_t row0, int64_t row1,
                                        const void *act, int64_t n_token, int64_t k, void *scratch)
{
    struct codes_input in = codes_input_of(f, act, n_token, k, scratch);
    if (f.wide && !f.scaled) {
        codes_sum_up(&in, n_token);
    }
    size_t row_bytes = (size_t)(k / f.block_elements * f.block_bytes);
    for (int64_t r = row0; r < row1; r++) {
        const uint8_t *p = w + (size_t)r * row_bytes;
        if (n_token == 1) {
            y[r] = codes_row_one(f, &in, p);
            continue;
        }
        codes_row_few(f, &in, p, n_token);
        for (int64_t t = 0; t < n_token; t++) {
            y[t * y_stride + r] = codes_total(in.s.acc[t]);
        }
    }
}

/* ---- The types ------------------------------------------------------------------------------- */

/* X(id, type, elements, wide, offset, scaled) */
#define CODES_TYPES(X)                                                                             \
    X(IQ4_NL, iq4_nl, 32, 0, 0, 0)                                                                 \
    X(MXFP4, mxfp4, 32, 0, 0, 0)                                                                   \
    X(NVFP4, nvfp4, 64, 0, 0, 0)                                                                   \
    X(Q1_0, q1_0, 128, 0, 0, 0)                                                                    \
    X(Q2_0, q2_0, 64, 0, 0, 0)                                                                     \
    X(IQ4_XS, iq4_xs, 256, 1, 0, 1)                                                                \
    X(IQ3_S, iq3_s, 256, 1, 0, 1)                                                                  \
    X(IQ3_XXS, iq3_xxs, 256, 1, 0, 1)                                                              \
    X(IQ2_S, iq2_s, 256, 1, 0, 1)                                                                  \
    X(IQ2_XS, iq2_xs, 256, 1, 0, 1)                                                                \
    X(IQ2_XXS, iq2_xxs, 256, 1, 0, 1)                                                              \
    X(IQ1_S, iq1_s, 256, 1, 9, 1)                                                                  \
    X(IQ1_M, iq1_m, 256, 1, 9, 1)                                                                  \
    X(TQ1_0, tq1_0, 256, 1, 1, 0)                                                                  \
    X(TQ2_0, tq2_0, 256, 1, 1, 0)

#define CODES_FORM(id, type, elements, wide, offset, scaled)                                       \
    static const struct codes_form codes_form_##type = {                                           \
        ENC_##id, elements, (int32_t)sizeof(struct block_##type), wide, offset, scaled};
CODES_TYPES(CODES_FORM)

#define CODES_ENTRIES(id, type, elements, wide, offset, scaled)                                    \
    static SLM_NOINLINE CODES void codes_mul_##type(float *y, int64_t y_stride, const uint8_t *w,  \
                                                    int64_t row0, int64_t row1, const void *act,   \
                                                    int64_t n_token, int64_t k, void *scratch)     \
    {                                                                                              \
        codes_multiply(codes_form_##type, y, y_stride, w, row0, row1, act, n_token, k, scratch);   \
    }                                                                                              \
    static const struct kernel_product codes_product_##type = {                                    \
        wide ? &avx2_act_q8_k : &avx2_act_q8_0, codes_scratch_bytes, codes_mul_##type};            \
    static SLM_UNUSED SLM_NOINLINE CODES void avx2_codes_expand_##type(struct x86_codes *codes,    \
                                                                       const uint8_t *block)       \
    {                                                                                              \
        codes_expand(codes_form_##type, codes, block);                                             \
    }
CODES_TYPES(CODES_ENTRIES)

/* For any number of tokens: as fast a token at 16 as panels of floats are at 512. */
static void codes_set(struct kernel_matrix *m, const struct kernel_product *product)
{
    m->one = m->few = m->many = product;
    m->few_min = m->many_min = 2;
}

static void kernels_set_avx2_codes(struct kernels *k)
{
#define CODES_SET(id, type, elements, wide, offset, scaled)                                        \
    codes_set(&k->matrix[ENC_##id], &codes_product_##type);
    CODES_TYPES(CODES_SET)
#undef CODES_SET
}

#undef CODES_FORM
#undef CODES_ENTRIES

#endif /* x86-64 */
