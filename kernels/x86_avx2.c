/* x86_avx2.c - the AVX2 (with FMA and F16C) entries of the kernel table: which types are multiplied
 * how. The kernels stand in x86_avx2_int.c, x86_avx2_f32.c, x86_avx2_vectors.c and
 * x86_avx2_delta.c. */

#if defined(__x86_64__) && !defined(SLM_NO_SIMD)

/* ---- The types ------------------------------------------------------------------------------- */

/* X(id, type, elements, bytes, load, unpack, expand, offset, has_m): how a type becomes floats. */
#define AVX2_FLOAT_TYPES(X)                                                                        \
    X(F32, f32, 1, 4, avx2_load_f32, NULL, NULL, 0, 0)                                             \
    X(F16, f16, 1, 2, avx2_load_f16, NULL, NULL, 0, 0)                                             \
    X(BF16, bf16, 1, 2, avx2_load_bf16, NULL, NULL, 0, 0)                                          \
    X(Q4_0, q4_0, 32, 18, NULL, avx2_unpack_q4_0, avx2_expand_32, 8, 0)                            \
    X(Q4_1, q4_1, 32, 20, NULL, avx2_unpack_q4_1, avx2_expand_32, 0, 1)                            \
    X(Q5_0, q5_0, 32, 22, NULL, avx2_unpack_q5_0, avx2_expand_32, 16, 0)                           \
    X(Q5_1, q5_1, 32, 24, NULL, avx2_unpack_q5_1, avx2_expand_32, 0, 1)                            \
    X(Q8_0, q8_0, 32, 34, NULL, avx2_unpack_q8_0_planes, avx2_expand_8_0, 128, 0)                  \
    X(Q2_K, q2_k, 256, 84, NULL, avx2_unpack_q2_k, avx2_expand_256_16, 0, 1)                       \
    X(Q3_K, q3_k, 256, 110, NULL, avx2_unpack_q3_k, avx2_expand_256_16, 4, 0)                      \
    X(Q4_K, q4_k, 256, 144, NULL, avx2_unpack_q4_k, avx2_expand_256_32, 0, 1)                      \
    X(Q5_K, q5_k, 256, 176, NULL, avx2_unpack_q5_k, avx2_expand_256_32, 0, 1)                      \
    X(Q6_K, q6_k, 256, 210, NULL, avx2_unpack_q6_k, avx2_expand_256_16, 32, 0)

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
#define AVX2_SET_DECODED(id, type, elements, bytes)                                                \
    avx2_set_many(&k->exact[ENC_##id], &avx2_many_f32_##type##_product);                           \
    avx2_set_many(&k->matrix[ENC_##id], &avx2_many_f32_##type##_product);
    AVX2_DECODED_TYPES(AVX2_SET_DECODED)
    AVX2_FLOAT_TYPES(AVX2_SET_FLOAT)

    k->attention[KV_F16] = avx2_attention_f16;
    k->attention[KV_F32] = avx2_attention_f32;
    k->kv_store[KV_F16] = avx2_kv_store_f16;
    k->kv_store[KV_F32] = avx2_kv_store_f32;
    k->rms_norm = avx2_rms_norm;
    k->rope[ROPE_NORM] = avx2_rope_norm;
    k->rope[ROPE_NEOX] = avx2_rope_neox;
    k->swiglu = avx2_swiglu;
    k->delta_net = avx2_delta_net;
    k->softplus = avx2_softplus;
    k->ssm_channels = avx2_ssm_channels;
    k->add = avx2_vector_add;
    k->argmax = avx2_argmax;
}

#undef AVX2
#undef AVX2_INLINE
#undef AVX2_PRODUCT
#undef AVX2_FLOAT
#undef AVX2_SET_FLOAT
#undef AVX2_FLOAT_TYPES
#undef AVX2_DECODED_TYPES
#undef AVX2_DECODED
#undef AVX2_SET_DECODED

#endif /* x86-64 */
