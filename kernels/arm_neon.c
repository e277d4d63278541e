/* arm_neon.c - the AArch64 entries of the kernel table: NEON, then what dotprod and i8mm multiply
 * faster. The kernels stand in arm_neon_blocks.c, arm_neon_int.c, arm_neon_f32.c,
 * arm_neon_vectors.c and arm_neon_mixers.c. */

#if defined(ARM_HAS_NEON)

/* struct kernel_product has no room for the format: each type gets its own entry points. */
#define NEON_PRODUCT(name, form, scratch_size, call)                                               \
    static void name(float *y, int64_t y_stride, const uint8_t *w, int64_t row0, int64_t row1,     \
                     const void *act, int64_t n_token, int64_t k, void *scratch)                   \
    {                                                                                              \
        call;                                                                                      \
    }                                                                                              \
    static const struct kernel_product name##_product = {&form, scratch_size, name};

#define NEON_INTEGER(set, type, form, one)                                                         \
    NEON_PRODUCT(set##_mul_##type, form, neon_scratch_bytes,                                       \
                 neon_multiply(&neon_format_##type, &set##_set, one, y, y_stride, w, row0, row1,   \
                               act, n_token, k, scratch))

#define NEON_FUSED(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)   \
    NEON_INTEGER(neon, type, form, neon_one_##type)
#define NEON_OTHER(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)   \
    NEON_INTEGER(neon, type, form, NULL)
NEON_FUSED_TYPES(NEON_FUSED)
NEON_OTHER_TYPES(NEON_OTHER)

#define NEON_FLOAT(id, type, bytes)                                                                \
    NEON_PRODUCT(neon_one_f32_##type, act_f32, neon_float_scratch_bytes,                           \
                 neon_multiply_one_f32(&neon_float_##type, y, y_stride, w, row0, row1, act,        \
                                       n_token, k, scratch))                                       \
    NEON_PRODUCT(neon_many_f32_##type, act_f32, neon_float_scratch_bytes,                          \
                 neon_multiply_many_f32(&neon_float_##type, y, y_stride, w, row0, row1, act,       \
                                        n_token, k, scratch))
#define NEON_EXACT(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)   \
    NEON_FLOAT(id, type, bytes)
NEON_PLAIN_TYPES(NEON_FLOAT)
NEON_TYPES(NEON_EXACT)

static void neon_set_matrix(struct kernel_matrix *m, const struct kernel_product *one,
                            const struct kernel_product *many)
{
    m->one = one;
    m->few = m->many = many;
    m->few_min = m->many_min = NEON_FEW;
}

static void kernels_set_neon(struct kernels *k)
{
    k->isa = "neon";

#define NEON_SET_INTEGER(set, id, type)                                                            \
    neon_set_matrix(&k->matrix[ENC_##id], &set##_mul_##type##_product, &set##_mul_##type##_product);
#define NEON_SET_EXACT(table, id, type)                                                            \
    neon_set_matrix(&k->table[ENC_##id], &neon_one_f32_##type##_product,                           \
                    &neon_many_f32_##type##_product);
#define NEON_SET_PLAIN(id, type, bytes)                                                            \
    NEON_SET_EXACT(matrix, id, type)                                                               \
    NEON_SET_EXACT(exact, id, type)
#define NEON_SET(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)     \
    NEON_SET_INTEGER(neon, id, type)                                                               \
    NEON_SET_EXACT(exact, id, type)
    NEON_PLAIN_TYPES(NEON_SET_PLAIN)
    NEON_TYPES(NEON_SET)

    k->attention[KV_F16] = neon_attention_f16;
    k->attention[KV_F32] = neon_attention_f32;
    k->kv_store[KV_F16] = neon_kv_store_f16;
    k->kv_store[KV_F32] = neon_kv_store_f32;
    k->rms_norm = neon_rms_norm;
    k->rope[ROPE_NORM] = neon_rope_norm;
    k->rope[ROPE_NEOX] = neon_rope_neox;
    k->layer_norm = neon_layer_norm;
    k->swiglu = neon_swiglu;
    k->swiglu_clamped = neon_swiglu_clamped;
    k->gelu = neon_gelu;
    k->relu_squared = neon_relu_squared;
    k->sigmoid_gate = neon_sigmoid_gate;
    k->softcap = neon_softcap_all;
    k->softplus = neon_softplus;
    k->ssm_head = neon_ssm_head;
    k->ssm_channels = neon_ssm_channels;
    k->delta_net = neon_delta_net;
    k->add = neon_vector_add;
    k->add_scaled = neon_vector_add_scaled;
    k->multiply = neon_vector_multiply;
    k->conv = neon_conv;
    k->rwkv_step = neon_rwkv_step;
    k->argmax = neon_argmax;
}

/* ---- What other dot products change ---------------------------------------------------------- */

#if defined(ARM_HAS_DOTPROD)

#define DOTPROD_FUSED(id, type, form, elements, bytes, offset, width, super, has_m, most,          \
                      unrolled)                                                                    \
    NEON_INTEGER(dotprod, type, form, dotprod_one_##type)
#define DOTPROD_OTHER(id, type, form, elements, bytes, offset, width, super, has_m, most,          \
                      unrolled)                                                                    \
    NEON_INTEGER(dotprod, type, form, NULL)
NEON_FUSED_TYPES(DOTPROD_FUSED)
NEON_OTHER_TYPES(DOTPROD_OTHER)

static void kernels_set_dotprod(struct kernels *k)
{
    k->isa = "dotprod";
#define DOTPROD_SET(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)  \
    NEON_SET_INTEGER(dotprod, id, type)
    NEON_TYPES(DOTPROD_SET)
}

#undef DOTPROD_FUSED
#undef DOTPROD_OTHER
#undef DOTPROD_SET
#endif

#if defined(ARM_HAS_I8MM)

/* One token is dotprod's. */
#define I8MM_FUSED(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)   \
    NEON_INTEGER(i8mm, type, form, dotprod_one_##type)
#define I8MM_OTHER(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)   \
    NEON_INTEGER(i8mm, type, form, NULL)
NEON_FUSED_TYPES(I8MM_FUSED)
NEON_OTHER_TYPES(I8MM_OTHER)

static void kernels_set_i8mm(struct kernels *k)
{
    k->isa = "i8mm";
#define I8MM_SET(id, type, form, elements, bytes, offset, width, super, has_m, most, unrolled)     \
    NEON_SET_INTEGER(i8mm, id, type)
    NEON_TYPES(I8MM_SET)
}

#undef I8MM_FUSED
#undef I8MM_OTHER
#undef I8MM_SET
#endif

#undef NEON
#undef DOTPROD
#undef I8MM
#undef ARM_INLINE
#undef ARM_PREFETCH
#undef NEON_FUSED_BLOCKS
#undef NEON_FUSED_SUPERS
#undef NEON_FUSED_TYPES
#undef neon_d_q4_0
#undef neon_d_q4_1
#undef neon_d_q5_0
#undef neon_d_q5_1
#undef neon_d_q8_0
#undef neon_d_iq4_nl
#undef NEON_OTHER_TYPES
#undef NEON_TYPES
#undef NEON_PLAIN_TYPES
#undef NEON_FILL
#undef NEON_TOGETHER
#undef NEON_FORMAT
#undef NEON_PRODUCT
#undef NEON_INTEGER
#undef NEON_FUSED
#undef NEON_OTHER
#undef NEON_FLOAT
#undef NEON_EXACT
#undef NEON_SET
#undef NEON_SET_EXACT
#undef NEON_SET_INTEGER
#undef NEON_SET_PLAIN

#endif /* AArch64 */
