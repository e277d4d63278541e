/* arch.h - what a model family is, field by field.
 *
 * A family is data: which tensors it has, of what shape, and the few numbers in which it differs.
 * The forward pass looks at what a layer has (`if (layer->attn_q_norm)`), never at which family it
 * is. To add one: a file in src/arch/, a line in src/arch/list.c, a line in slm.c, a golden vector.
 */

/* ---- What is bound from the file ------------------------------------------------------------- */

/* A matrix where it lies: y[o] = scale * dot(row o, x) + bias[o]. */
struct linear {
    const uint8_t *data; /* [n_out] rows of n_in elements, any alignment; NULL: absent */
    const float *bias;   /* [n_out] or NULL */
    int64_t n_in;
    int64_t n_out;
    int32_t type; /* ENC_ */
    float scale;  /* 1 unless the file has a .scale beside the weight */
};

struct layer {
    int32_t n_head;
    int32_t n_kv_head;
    int32_t n_ff;
    int32_t window; /* positions a query sees, itself included; 0: all */
    int64_t k_at;   /* in a KV page: bytes to K [n_kv_head][KV_PAGE][head_dim] in elements */
    int64_t v_at;   /* in a KV page: elements to V [n_kv_head][KV_PAGE][head_dim_v] */

    const float *attn_norm;    /* [n_embd] */
    struct linear attn_q;      /* [n_embd] -> [n_head][head_dim] */
    struct linear attn_k;      /* [n_embd] -> [n_kv_head][head_dim] */
    struct linear attn_v;      /* [n_embd] -> [n_kv_head][head_dim_v] */
    struct linear attn_output; /* [n_head][head_dim_v] -> [n_embd] */
    const float *attn_q_norm;  /* [head_dim], each head before RoPE; or NULL */
    const float *attn_k_norm;  /* [head_dim] or NULL */

    const float *ffn_norm;  /* [n_embd] */
    struct linear ffn_gate; /* [n_embd] -> [n_ff] */
    struct linear ffn_up;   /* [n_embd] -> [n_ff] */
    struct linear ffn_down; /* [n_ff] -> [n_embd] */
};

struct globals {
    struct linear token_embd; /* [n_embd], a row a token */
    const float *output_norm; /* [n_embd] */
    struct linear output;    /* [n_embd] -> [n_vocab]; the token embedding where the head is tied */
    const float *rope_freqs; /* [n_rot / 2] divisors of the frequencies, or NULL */
};

/* ---- Hyper-parameters ------------------------------------------------------------------------ */

#define ROPE_SCALING_NONE 0
#define ROPE_SCALING_LINEAR 1
#define ROPE_SCALING_YARN 2

struct hparams {
    int32_t n_vocab; /* rows of the token embedding */
    int32_t n_ctx_train;
    int32_t n_embd;
    int32_t n_layer;
    int32_t n_head; /* of layer 0; layers have their own */
    int32_t n_kv_head;
    int32_t n_ff;
    int32_t head_dim; /* of Q and K */
    int32_t head_dim_v;
    int32_t n_rot; /* elements of a head that are rotated */
    float norm_eps;
    float attn_scale;   /* multiplies Q K^T */
    float attn_softcap; /* c * tanh(x / c) on it, 0: none */
    int32_t rope_scaling;
    double rope_base;
    double rope_factor;      /* the context is stretched by this; 1: not */
    double rope_attn_factor; /* multiplies cos and sin */
    double yarn_beta_fast;
    double yarn_beta_slow;
    int32_t rope_ctx_orig;
};

/* ---- The descriptor -------------------------------------------------------------------------- */

/* Sizes a tensor's shape is made of. */
enum arch_dim {
    DIM_ONE,
    DIM_EMBD,
    DIM_VOCAB,
    DIM_FF,
    DIM_Q,       /* n_head * head_dim */
    DIM_K,       /* n_kv_head * head_dim */
    DIM_V,       /* n_kv_head * head_dim_v */
    DIM_O,       /* n_head * head_dim_v */
    DIM_HEAD,    /* head_dim */
    DIM_ROT_HALF /* n_rot / 2 */
};

#define TENSOR_OPTIONAL 1u
#define TENSOR_BIAS 2u /* may have a .bias */
#define TENSOR_BIAS_NEEDED 4u
#define TENSOR_QKV 8u     /* may instead be rows of a fused attn_qkv: Q, K and V in this order */
#define TENSOR_VECTOR 16u /* copied to f32; else a matrix used where it lies */

struct arch_tensor {
    const char *name; /* without "blk.N." and ".weight" */
    size_t slot;      /* offset in struct layer or struct globals */
    enum arch_dim in;
    enum arch_dim out;
    uint32_t flags;
};

struct slm_model;

struct slm_arch {
    const char *name; /* general.architecture; prefix of the family's keys */
    int32_t rope;     /* ROPE_: which elements make a pair */
    const struct arch_tensor *globals;
    int32_t n_globals;
    const struct arch_tensor *layer;
    int32_t n_layer;
    /* What the keys common to all do not say; runs when these have been read. May be NULL. */
    int (*configure)(struct slm_model *model, slm_error *err);
};

#define ARCH_GLOBAL(name, field, in, out, flags)                                                   \
    {                                                                                              \
        name, offsetof(struct globals, field), in, out, flags                                      \
    }
#define ARCH_LAYER(name, field, in, out, flags)                                                    \
    {                                                                                              \
        name, offsetof(struct layer, field), in, out, flags                                        \
    }
