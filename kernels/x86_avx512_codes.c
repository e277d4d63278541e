/* x86_avx512_codes.c - the types whose weights are codes (x86_avx2_codes.c, whose heads and forms these
 * are), for AVX-512 with VNNI: 64 elements at a time, signs are masks, grid points are gathered.
 *
 * Types without scales inside a block are bytes above an offset, and their sums begin at what the
 * offset adds: -offset * (sum of four activations), worked out once for a call. The others multiply
 * magnitudes with activations whose signs a mask turns, and the sums of two with the scale of 16.
 *
 * Traps: sums have the same lanes and order for one token and for several, as both run the same code;
 * a gather reads 8 or 4 bytes at each index, so that nothing is read beyond a grid. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

#define CODES512 SLM_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#define CODES512_INLINE                                                                            \
    SLM_INLINE_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

/* 64 elements: magnitudes and which are negative, or bytes above an offset. */
struct codes512_part {
    __m512i size;
    __mmask64 minus;
};

/* 256 elements. */
struct codes512_chunk {
    struct codes512_part part[4];
    __m512i scale[4];
    __m256i low; /* offset * scale, in the order of codes_head.scale */
    __m512 d;    /* for each 32 elements (8 of them), or NVFP4's for each 16 */
    float d_wide;
};

/* How sums of offsets are kept: types without scales for 16. */
#define CODES512_OFFSET(f)                                                                         \
    ((f).wide ? (f).offset : (f).type == ENC_Q1_0 || (f).type == ENC_Q2_0 ? 1 : 128)

/* ---- 64 elements ----------------------------------------------------------------------------- */

static CODES512_INLINE __m512i codes512_twice(const void *p)
{
    return _mm512_broadcast_i64x4(codes_load(p));
}

/* The bytes of two blocks of 32 (or NVFP4's of 64) to nibbles in order. */
static CODES512_INLINE __m512i codes512_nibbles(__m256i v, int nvfp4)
{
    const __m512i at = nvfp4 ? _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3)
                             : _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3);
    const __mmask32 high = nvfp4 ? 0xf0f0f0f0u : 0xff00ff00u;
    __m512i w = _mm512_permutexvar_epi64(at, _mm512_castsi256_si512(v));
    w = _mm512_mask_srli_epi16(w, high, w, 4);
    return _mm512_and_si512(w, _mm512_set1_epi8(15));
}

static CODES512_INLINE struct codes512_part codes512_offset_levels(__m512i nibbles,
                                                                   const int8_t *levels)
{
    __m512i table = _mm512_broadcast_i32x4(codes_load_16(levels));
    table = _mm512_xor_si512(table, _mm512_set1_epi8(-128));
    struct codes512_part c = {_mm512_shuffle_epi8(table, nibbles), 0};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_iq4_xs(const struct codes_head *h, int32_t i)
{
    __m512i table = _mm512_broadcast_i32x4(codes_load_16(ref_iq4_levels));
    __m512i q = codes512_nibbles(codes_load(h->block + 8 + 32 * i), 0);
    q = _mm512_shuffle_epi8(table, q);
    struct codes512_part c = {_mm512_abs_epi8(q), _mm512_movepi8_mask(q)};
    return c;
}

static CODES512_INLINE __mmask64 codes512_mask(const void *p)
{
    return (__mmask64)codes_long(p);
}

/* Into zeros: a gather merges, and would wait for what stood in its register. The mask is hidden,
 * for gcc sees that all of it is set and leaves the zeros out. */
static CODES512_INLINE __mmask16 codes512_all(void)
{
    __mmask16 all = 0xffff;
    __asm__("" : "+k"(all));
    return all;
}

static CODES512_INLINE __m512i codes512_points_8(const uint64_t *grid, __m256i index)
{
    return _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), (__mmask8)codes512_all(), index,
                                       grid, 8);
}

static CODES512_INLINE __m512i codes512_points_4(const uint32_t *grid, __m512i index)
{
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), codes512_all(), index, grid, 4);
}

static CODES512_INLINE struct codes512_part codes512_grid_8(const struct codes_head *h,
                                                            const uint64_t *grid, int32_t i)
{
    __m256i index = _mm256_cvtepu16_epi32(codes_load_16(h->index + 8 * i));
    struct codes512_part c = {codes512_points_8(grid, index), codes512_mask(h->signs + 2 * i)};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_iq2_xxs(const struct codes_head *h, int32_t i)
{
    const __m256i at =
        _mm256_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1, 8, -1, -1, -1,
                         9, -1, -1, -1, 10, -1, -1, -1, 11, -1, -1, -1);
    __m256i index = codes_twice(codes_load_16(h->block + 2 + 16 * i));
    struct codes512_part c = {codes512_points_8(x86_grid_iq2_xxs, _mm256_shuffle_epi8(index, at)),
                              codes512_mask(h->signs + 2 * i)};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_iq3_xxs(const struct codes_head *h, int32_t i)
{
    __m512i index = _mm512_cvtepu8_epi32(codes_load_16(h->block + 2 + 16 * i));
    struct codes512_part c = {codes512_points_4(x86_grid_iq3_xxs, index),
                              codes512_mask(h->signs + 2 * i)};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_iq3_s(const struct codes_head *h, int32_t i)
{
    __m512i index = _mm512_cvtepu16_epi32(codes_load(h->index + 16 * i));
    struct codes512_part c = {codes512_points_4(x86_grid_iq3_s, index),
                              codes512_mask(h->signs + 2 * i)};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_iq1(const struct codes_head *h, int32_t i)
{
    const __m512i at =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_setr_epi64x(
                               0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303)),
                           _mm256_setr_epi64x(0x0404040404040404, 0x0505050505050505,
                                              0x0606060606060606, 0x0707070707070707),
                           1);
    struct codes512_part c = codes512_grid_8(h, x86_grid_iq1, i);
    __m512i delta = _mm512_shuffle_epi8(_mm512_set1_epi64(codes_long(h->signs + 2 * i)), at);
    c.size = _mm512_add_epi8(c.size, delta);
    return c;
}

static CODES512_INLINE struct codes512_part codes512_trits(struct codes_head *h, int32_t i)
{
    __m256i low = codes_trit_bytes(h, 2 * i), high = codes_trit_bytes(h, 2 * i + 1);
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    __m512i one = _mm512_set1_epi8(1);
    __mmask64 first = _mm512_cmpgt_epi8_mask(v, _mm512_set1_epi8(85 - 128));
    __mmask64 second = _mm512_cmpgt_epi8_mask(v, _mm512_set1_epi8(170 - 128));
    struct codes512_part c = {_mm512_maskz_mov_epi8(first, one), 0};
    c.size = _mm512_mask_add_epi8(c.size, second, c.size, one);
    return c;
}

static CODES512_INLINE struct codes512_part codes512_two_bits(const struct codes_head *h, int32_t i)
{
    const __m512i shift =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi16((int16_t)(4 * (i % 2)))),
                           _mm256_set1_epi16((int16_t)(4 * (i % 2) + 2)), 1);
    __m512i v = _mm512_srlv_epi16(codes512_twice(h->block + 32 * (i / 2)), shift);
    struct codes512_part c = {_mm512_and_si512(v, _mm512_set1_epi8(3)), 0};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_bits(const struct codes_head *h, int32_t i)
{
    __mmask64 plus = codes512_mask(h->block + 18 * (i / 2) + 2 + 8 * (i % 2));
    struct codes512_part c = {_mm512_maskz_set1_epi8(plus, 2), 0};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_fields(const struct codes_head *h, int32_t i)
{
    __m512i v = _mm512_cvtepu8_epi32(codes_load_16(h->block + 18 * i + 2));
    v = _mm512_or_si512(v, _mm512_slli_epi32(v, 6));
    v = _mm512_or_si512(v, _mm512_slli_epi32(v, 12));
    struct codes512_part c = {_mm512_and_si512(v, _mm512_set1_epi8(3)), 0};
    return c;
}

static CODES512_INLINE struct codes512_part codes512_part_of(int32_t type, struct codes_head *h,
                                                             int32_t i)
{
    const uint8_t *p = h->block;
    switch (type) {
    case ENC_IQ4_NL:
        p += 36 * i + 2;
        return codes512_offset_levels(
            codes512_nibbles(codes_join(codes_load_16(p), codes_load_16(p + 18)), 0),
            ref_iq4_levels);
    case ENC_MXFP4:
        p += 34 * i + 1;
        return codes512_offset_levels(
            codes512_nibbles(codes_join(codes_load_16(p), codes_load_16(p + 17)), 0),
            ref_fp4_levels);
    case ENC_NVFP4:
        return codes512_offset_levels(codes512_nibbles(codes_load(p + 36 * i + 4), 1),
                                      ref_fp4_levels);
    case ENC_IQ4_XS:
        return codes512_iq4_xs(h, i);
    case ENC_IQ2_XXS:
        return codes512_iq2_xxs(h, i);
    case ENC_IQ2_XS:
        return codes512_grid_8(h, x86_grid_iq2_xs, i);
    case ENC_IQ2_S:
        return codes512_grid_8(h, x86_grid_iq2_s, i);
    case ENC_IQ3_XXS:
        return codes512_iq3_xxs(h, i);
    case ENC_IQ3_S:
        return codes512_iq3_s(h, i);
    case ENC_IQ1_S:
    case ENC_IQ1_M:
        return codes512_iq1(h, i);
    case ENC_TQ1_0:
        return codes512_trits(h, i);
    case ENC_TQ2_0:
        return codes512_two_bits(h, i);
    case ENC_Q1_0:
        return codes512_bits(h, i);
    default:
        return codes512_fields(h, i);
    }
}

/* ---- Products -------------------------------------------------------------------------------- */

static CODES512_INLINE void codes512_fill(struct codes_form f, struct codes512_chunk *c,
                                          const uint8_t *p)
{
    struct codes_head h;
    codes_read_head(f.type, &h, p);
    SLM_UNROLL
    for (int32_t i = 0; i < 4; i++) {
        c->part[i] = codes512_part_of(f.type, &h, i);
    }
    if (f.scaled) {
        /* lane l <- the scales l, 4 + l, 8 + l, 12 + l of the even and then odd ones */
        const __m512i order = _mm512_setr_epi64(0x0006000400020000, 0, 0x000e000c000a0008, 0,
                                                0x0007000500030001, 0, 0x000f000d000b0009, 0);
        __m512i lanes = _mm512_permutexvar_epi16(order, _mm512_castsi256_si512(h.scale));
        SLM_UNROLL
        for (int32_t i = 0; i < 4; i++) {
            c->scale[i] =
                _mm512_shuffle_epi8(lanes, _mm512_set1_epi16((int16_t)(0x0100 + 0x0202 * i)));
        }
        c->low = _mm256_mullo_epi16(h.scale, _mm256_set1_epi16((int16_t)f.offset));
    }
    if (f.wide) {
        c->d_wide = codes_d(f.type, p);
    } else {
        c->d = _mm512_castps256_ps512(h.d[0]);
        if (f.type == ENC_NVFP4) {
            c->d = _mm512_insertf32x8(c->d, h.d[1], 1);
        }
    }
}

/* Factors of each 32 (or NVFP4's 16) elements. */
static CODES512_INLINE __m512 codes512_factors(int32_t type, __m512 d, const float *xd)
{
    __m512 x = _mm512_castps256_ps512(_mm256_loadu_ps(xd));
    if (type == ENC_NVFP4) {
        const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        x = _mm512_permutexvar_ps(twice, x);
    }
    return _mm512_mul_ps(d, x);
}

static CODES512_INLINE __m512 codes512_factor(int32_t type, __m512 factors, int32_t i)
{
    const __m512i at =
        type == ENC_NVFP4
            ? _mm512_add_epi32(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
                               _mm512_set1_epi32(4 * i))
            : _mm512_add_epi32(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                               _mm512_set1_epi32(2 * i));
    return _mm512_permutexvar_ps(at, factors);
}

/* acc + the products of a chunk with one token. sums: where those of offsets begin. */
static CODES512_INLINE __m512 codes512_dot(struct codes_form f, __m512 acc,
                                           const struct codes512_chunk *c, struct codes_x x,
                                           const __m512i *sums)
{
    __m512i sum = _mm512_setzero_si512();
    if (!f.wide) {
        __m512 factors = codes512_factors(f.type, c->d, x.d);
        SLM_UNROLL
        for (int32_t i = 0; i < 4; i++) {
            sum = _mm512_dpbusd_epi32(sums[i], c->part[i].size, _mm512_loadu_si512(x.q + 64 * i));
            acc =
                _mm512_fmadd_ps(codes512_factor(f.type, factors, i), _mm512_cvtepi32_ps(sum), acc);
        }
        return acc;
    }
    sum = f.scaled ? sum : sums[0];
    SLM_UNROLL
    for (int32_t i = 0; i < 4; i++) {
        __m512i v = _mm512_loadu_si512(x.q + 64 * i);
        if (!f.scaled) {
            sum = _mm512_dpbusd_epi32(sum, c->part[i].size, v);
            continue;
        }
        if (f.offset == 0) {
            v = _mm512_mask_sub_epi8(v, c->part[i].minus, _mm512_setzero_si512(), v);
        }
        sum = _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(c->part[i].size, v), c->scale[i]);
    }
    if (f.scaled && f.offset != 0) {
        sum = _mm512_sub_epi32(sum, _mm512_zextsi256_si512(codes_low(c->low, x.bsums)));
    }
    return _mm512_fmadd_ps(_mm512_set1_ps(c->d_wide * x.d[0]), _mm512_cvtepi32_ps(sum), acc);
}

struct codes512_scratch {
    __m512 *acc;   /* [n_token] */
    __m512i *sums; /* [n_token][chunks][4], or [n_token][chunks] for q8_k */
};

static struct codes512_scratch codes512_scratch_at(void *scratch, int64_t n_token)
{
    uint8_t *p = (uint8_t *)scratch + act_pad(codes_scratch_bytes(n_token, 0));
    struct codes512_scratch s = {(__m512 *)(void *)p, (__m512i *)(void *)(p + n_token * 64)};
    return s;
}

static size_t codes512_scratch_bytes_0(int64_t n_token, int64_t k)
{
    return act_pad(codes_scratch_bytes(n_token, 0)) +
           (size_t)n_token * (64 + ((size_t)k + 255) / 256 * 256);
}

static size_t codes512_scratch_bytes_k(int64_t n_token, int64_t k)
{
    return act_pad(codes_scratch_bytes(n_token, 0)) + (size_t)n_token * (64 + (size_t)k / 4);
}

/* -offset * (sums of four activations), of types without scales. */
static CODES512_INLINE void codes512_sum_up(struct codes_form f, const struct codes_input *in,
                                            __m512i *sums, int64_t n_token)
{
    __m512i offset = _mm512_set1_epi8((int8_t)CODES512_OFFSET(f)), zero = _mm512_setzero_si512();
    for (int64_t t = 0; t < n_token; t++) {
        for (int64_t column = 0; column < in->k; column += 256) {
            struct codes_x x = codes_x_at(f, in, t, column);
            __m512i sum = zero;
            for (int32_t i = 0; i < 4; i++) {
                __m512i v = _mm512_loadu_si512(x.q + 64 * i);
                sum = _mm512_dpbusd_epi32(f.wide ? sum : zero, offset, v);
                if (!f.wide) {
                    *sums++ = _mm512_sub_epi32(zero, sum);
                }
            }
            if (f.wide) {
                *sums++ = _mm512_sub_epi32(zero, sum);
            }
        }
    }
}

/* acc[t] or, for one token, *first += the products of the 256 columns from `column` on. */
static CODES512_INLINE void codes512_step(struct codes_form f, const struct codes_input *in,
                                          const struct codes512_scratch *s, const uint8_t *p,
                                          int64_t column, int64_t n_token, __m512 *first)
{
    int64_t n_sums = f.wide ? 1 : 4, row_sums = (in->k + 255) / 256 * n_sums;
    const __m512i *sums = s->sums + column / 256 * n_sums;
    struct codes512_chunk c;
    codes512_fill(f, &c, p);
    if (n_token == 1) {
        *first = codes512_dot(f, *first, &c, codes_x_at(f, in, 0, column), sums);
        return;
    }
    for (int64_t t = 0; t < n_token; t++) {
        s->acc[t] =
            codes512_dot(f, s->acc[t], &c, codes_x_at(f, in, t, column), sums + t * row_sums);
    }
}

static CODES512_INLINE void codes512_row(struct codes_form f, const struct codes_input *in,
                                         const struct codes512_scratch *s, const uint8_t *p,
                                         int64_t n_token)
{
    size_t bytes = (size_t)(256 / f.block_elements * f.block_bytes);
    __m512 first = _mm512_setzero_ps();
    for (int64_t t = 0; t < n_token; t++) {
        s->acc[t] = first;
    }
    for (int64_t column = 0; column < in->whole; column += 256, p += bytes) {
        X86_PREFETCH((uintptr_t)p + X86_DISTANCE);
        if (bytes > 64) {
            X86_PREFETCH((uintptr_t)p + X86_DISTANCE + 64);
        }
        codes512_step(f, in, s, p, column, n_token, &first);
    }
    if (!f.wide && in->whole < in->k) {
        codes512_step(f, in, s, codes_tail(f, in, p), in->whole, n_token, &first);
    }
    if (n_token == 1) {
        s->acc[0] = first;
    }
}

static CODES512_INLINE void codes512_multiply(struct codes_form f, float *y, int64_t y_stride,
                                              const uint8_t *w, int64_t row0, int64_t row1,
                                              const void *act, int64_t n_token, int64_t k,
                                              void *scratch)
{
    struct codes_input in = codes_input_of(f, act, n_token, k, scratch);
    struct codes512_scratch s = codes512_scratch_at(scratch, n_token);
    size_t row_bytes = (size_t)(k / f.block_elements * f.block_bytes);
    if (!f.scaled) {
        codes512_sum_up(f, &in, s.sums, n_token);
    }
    for (int64_t r = row0; r < row1; r++) {
        const uint8_t *p = w + (size_t)r * row_bytes;
        if (n_token == 1) {
            codes512_row(f, &in, &s, p, 1);
        } else {
            codes512_row(f, &in, &s, p, n_token);
        }
        for (int64_t t = 0; t < n_token; t++) {
            y[t * y_stride + r] = _mm512_reduce_add_ps(s.acc[t]);
        }
    }
}

/* ---- The types ------------------------------------------------------------------------------- */

#define CODES512_ENTRIES(id, type, elements, wide, offset, scaled)                                 \
    static SLM_NOINLINE CODES512 void codes512_mul_##type(                                         \
        float *y, int64_t y_stride, const uint8_t *w, int64_t row0, int64_t row1, const void *act, \
        int64_t n_token, int64_t k, void *scratch)                                                 \
    {                                                                                              \
        codes512_multiply(codes_form_##type, y, y_stride, w, row0, row1, act, n_token, k,          \
                          scratch);                                                                \
    }                                                                                              \
    static const struct kernel_product codes512_product_##type = {                                 \
        wide ? &avx2_act_q8_k : &avx2_act_q8_0,                                                    \
        wide ? codes512_scratch_bytes_k : codes512_scratch_bytes_0, codes512_mul_##type};
CODES_TYPES(CODES512_ENTRIES)

static void kernels_set_avx512_codes(struct kernels *k)
{
#define CODES512_SET(id, type, elements, wide, offset, scaled)                                     \
    codes_set(&k->matrix[ENC_##id], &codes512_product_##type);
    CODES_TYPES(CODES512_SET)
#undef CODES512_SET
}

#undef CODES512
#undef CODES512_INLINE
#undef CODES512_OFFSET
#undef CODES512_ENTRIES

#endif /* x86-64 */
