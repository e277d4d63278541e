/* arch.h - what a model family is, field by field.
 *
 * A family is data: which tensors it has, of what shape, and the few numbers in which it differs.
 * The forward pass looks at what a layer has (`if (layer->attn_q_norm)`), never at which family it
 * is. To add one: a file in src/arch/, a line in src/arch/families.h, a line in slm.c, a golden
 * vector. */

/* ---- What is bound from the file ------------------------------------------------------------- */

/* A matrix where it lies: y[o] = scale * dot(row o, x) + bias[o]. */
struct linear {
    const uint8_t *data; /* [n_out] rows of n_in elements, any alignment; NULL: absent */
    const float *bias;   /* [n_out] or NULL */
    int64_t n_in;
    int64_t n_out;
    int32_t type;             /* ENC_ */
    float scale;              /* 1 unless the file has a .scale beside the weight */
    const float *stack_scale; /* [n] of a stack of n matrices: each has its own; or NULL */
};

/* A norm of each stretch of n elements: an embedding, a head, or all heads of a token at once. */
struct norm {
    const float *weight; /* those of stretch i begin at i * stride; NULL: 1 */
    const float *bias;   /* [n] or NULL; for layer norms only */
    int32_t n;           /* 0: there is no norm here */
    int32_t stride;      /* 0: all stretches have the same weights */
};

/* How a layer rotates Q and K: with which of the model's angles, if any. */
#define LAYER_ROPE_GLOBAL 0
#define LAYER_ROPE_LOCAL 1
#define LAYER_ROPE_COUNT 2
#define LAYER_ROPE_NONE -1

/* A mixer with a state, which a layer has beside attention or instead (src/mixer/recurrent.c). Beside
 * attention it reads the same x as that does. */
enum layer_recurrent {
    RECURRENT_NONE,
    RECURRENT_SHORT_CONV,
    RECURRENT_MAMBA,
    RECURRENT_MAMBA2,
    RECURRENT_DELTA_NET,
    RECURRENT_RWKV7,
    RECURRENT_COUNT
};

struct layer {
    int32_t n_head;
    int32_t n_kv_head; /* 0: no attention */
    int32_t head_dim;  /* of Q and K */
    int32_t head_dim_v;
    int32_t kv_from;     /* K and V are those of this earlier layer; -1: the layer has its own */
    int32_t recurrent;   /* RECURRENT_ */
    int64_t state_at;    /* of its part in the state of a sequence, in floats */
    int32_t n_ff;        /* 0 in a layer of experts, or without a feed-forward */
    int32_t n_expert;    /* 0: an ordinary feed-forward */
    int32_t window;      /* positions a query sees, itself included; 0: all. Where attention is not
                            causal, half of them on either side of it */
    int32_t rope;        /* LAYER_ROPE_ */
    int32_t is_parallel; /* attention and feed-forward both read x as it was before the layer */
    int64_t k_at;        /* in a KV page: bytes to K [n_kv_head][KV_PAGE][head_dim] in elements */
    int64_t v_at;        /* in a KV page: elements to V [n_kv_head][KV_PAGE][head_dim_v] */
    int32_t q_is_gated;  /* each head of attn_q has head_dim gates behind it, which go through a
                            sigmoid and multiply what attention gives: head_dim_v = head_dim */

    struct norm attn_norm;     /* n_embd, before attention */
    struct linear attn_q;      /* [n_embd] -> [n_head][head_dim], or twice that if gated */
    struct linear attn_k;      /* [n_embd] -> [n_kv_head][head_dim] */
    struct linear attn_v;      /* [n_embd] -> [n_kv_head][head_dim_v] */
    struct linear attn_output; /* [n_head][head_dim_v] -> [n_embd] */

    /* Latent attention: Q, K and V from rows shorter than they are (src/mixer/latent.c). */
    struct linear latent_q;      /* [n_embd] -> [n_q_rank]; Q is attn_q of its norm */
    struct linear latent_kv;     /* [n_embd] -> [n_kv_rank] */
    struct linear latent_k_rope; /* [n_embd] -> [n_rot], the rotated end of K of every head */
    struct linear attn_kv;       /* [n_kv_rank] -> [n_head][head_dim - n_rot + head_dim_v] */
    struct norm latent_q_norm;   /* n_q_rank */
    struct norm latent_kv_norm;  /* n_kv_rank */

    struct norm attn_q_norm;    /* a head, or all of Q */
    struct norm attn_k_norm;    /* a head, or all of K */
    struct norm attn_v_norm;    /* a head of V */
    struct norm attn_sub_norm;  /* all of what attention gives, before attn_output */
    struct norm attn_post_norm; /* n_embd, of what attn_output gives */

    struct norm ffn_norm;     /* n_embd; parallel layers without one take attn_norm */
    struct linear ffn_gate;   /* [n_embd] -> [n_ff]; absent: up alone goes through the activation */
    struct linear ffn_up;     /* [n_embd] -> [n_ff] */
    struct linear ffn_down;   /* [n_ff] -> [n_embd] */
    struct norm ffn_sub_norm; /* n_ff, before ffn_down */
    struct norm ffn_post_norm; /* n_embd, of what ffn_down gives */

    const float *output_scale; /* [1] multiplies x behind the layer; or NULL */
    float ffn_cut; /* gates lose mean + ffn_cut * deviation, and are never below 0; 0: no cut */
    /* Norms of x behind a branch, in place of those before it (Vaswani et al. 2017). */
    struct norm attn_sum_norm; /* n_embd, of x with what attention added */
    struct norm attn_norm_2;   /* n_embd, then of this plus x as it was before the layer */
    struct norm ffn_sum_norm;  /* n_embd, of x with what the feed-forward added */

    const float *alibi;      /* [n_head] what a position of distance costs; or NULL */
    const float *attn_sinks; /* [n_head] a score that takes part in the softmax only; or NULL */

    /* A mixture of experts: stacks of n_expert matrices, one behind the other. */
    struct linear ffn_router;     /* [n_embd] -> [n_expert] */
    const float *expert_bias;     /* [n_expert] added to scores for the selection only; or NULL */
    struct linear gate_exps;      /* [n_embd] -> [n_expert][n_ff_expert] */
    struct linear up_exps;        /* [n_embd] -> [n_expert][n_ff_expert] */
    struct linear down_exps;      /* [n_ff_expert] -> [n_expert][n_embd] */
    struct linear gate_up_exps;   /* [n_embd] -> [n_expert][2][n_ff_expert]: instead of these two */
    struct norm router_norm;      /* n_embd; layers without one take ffn_norm */
    struct norm expert_norm;      /* n_embd, before the experts; likewise */
    struct norm expert_post_norm; /* n_embd, of what the experts give together */

    /* The expert that every token goes through, if there is one. */
    struct linear shared_router;  /* [n_embd] -> [1], through a sigmoid: its weight; absent: 1 */
    struct linear shared_gate;    /* [n_embd] -> [n_ff_shared] */
    struct linear shared_up;      /* [n_embd] -> [n_ff_shared] */
    struct linear shared_down;    /* [n_ff_shared] -> [n_embd] */
    struct norm shared_post_norm; /* n_embd, of what it gives */

    /* What the layer adds of its own about the token (src/mixer/ple.c). */
    struct linear ple_gate;    /* [n_embd] -> [n_embd_layer] */
    struct linear ple_output;  /* [n_embd_layer] -> [n_embd] */
    struct norm ple_post_norm; /* n_embd, of what ple_output gives */

    /* Streams beside x (src/mixer/altup.c). */
    struct linear altup_router;     /* [n_embd] -> [n_streams] */
    struct norm altup_router_norm;  /* n_embd */
    const float *altup_predict;     /* [n_streams][n_streams][n_streams], the last summed over */
    const float *altup_correct;     /* [n_streams][n_streams] likewise */
    const float *altup_input_scale; /* [n_embd] of x as ple_gate takes it */

    /* A branch beside attention (src/mixer/laurel.c). */
    struct linear laurel_down;    /* [n_embd] -> [n_laurel] */
    struct linear laurel_up;      /* [n_laurel] -> [n_embd] */
    struct norm laurel_post_norm; /* n_embd */

    /* A convolution of each channel by itself (src/mixer/conv.c). */
    const float *conv;      /* [n_conv][n_channel], the oldest first */
    const float *conv_bias; /* [n_channel] or NULL */

    /* A gated short convolution (src/mixer/shortconv.c). */
    struct linear short_in;  /* [n_embd] -> [3][n_embd] */
    struct linear short_out; /* [n_embd] -> [n_embd] */

    /* A selective state space (src/mixer/mamba.c, src/mixer/mamba2.c). */
    struct linear ssm_in;   /* [n_embd] -> x, z [ssm_inner] each; Mamba-2: z, x, b, c, step */
    struct linear ssm_x;    /* Mamba-1: [ssm_inner] -> [ssm_rank], b, c [ssm_state] each */
    struct linear ssm_step; /* Mamba-1: [ssm_rank] -> [ssm_inner] */
    const float *step_bias; /* Mamba-2: [n_ssm_head] */
    const float *ssm_a;     /* [ssm_state][ssm_inner], below 0; Mamba-2: [n_ssm_head] */
    const float *ssm_skip;  /* [ssm_inner]; Mamba-2: [n_ssm_head] */
    struct norm ssm_norm;   /* ssm_inner / n_ssm_group, before ssm_out */
    struct linear ssm_out;  /* [ssm_inner] -> [n_embd] */
    /* A gated delta net (src/mixer/delta_net.c): of G key heads and H value heads, S elements each.
     */
    int32_t delta_is_fused;    /* delta_in, not delta_qkv and delta_z */
    struct linear delta_qkv;   /* [n_embd] -> Q [G][S], K [G][S], V [H][S] */
    struct linear delta_z;     /* [n_embd] -> [H][S] */
    struct linear delta_in;    /* [n_embd] -> for each key head Q [S], K [S], V and z [H / G][S] */
    struct linear delta_beta;  /* [n_embd] -> [H] */
    struct linear delta_alpha; /* [n_embd] -> [H] */
    struct linear delta_ba;    /* [n_embd] -> for each key head beta and alpha [H / G]; or absent */
    const float *delta_dt;     /* [H] */
    const float *delta_a;      /* [H] below 0 */
    struct norm delta_norm;    /* S */
    struct linear delta_output; /* [H][S] -> [n_embd] */
    /* The time mix of RWKV-7 (src/mixer/rwkv7.c). A vector over channels where nothing is said. */
    int32_t n_value_rank;    /* 0 in the first layer, whose V the others mix into theirs */
    const float *time_shift; /* [5 or 6][n_embd]: for r, w, k, v, a, g */
    struct linear rwkv_r;    /* [n_embd] -> [n_embd], as the next two and rwkv_out */
    struct linear rwkv_k;
    struct linear rwkv_v;
    struct linear rwkv_out;
    struct linear decay_down; /* [n_embd] -> [rank of the decay], as the others each to theirs */
    struct linear decay_up;
    struct linear rate_down;
    struct linear rate_up;
    struct linear value_down;
    struct linear value_up;
    struct linear gate_down; /* absent: there is no gate */
    struct linear gate_up;
    const float *decay_base;
    const float *rate_base;
    const float *value_base;
    const float *key_removal;
    const float *key_rate;
    const float *bonus;
    const float *head_norm;
    const float *head_norm_bias;

    /* The feed-forward sees norm(x) mixed with that of the token before, by this; or NULL. */
    const float *ffn_shift; /* [n_embd] */
};

struct globals {
    struct linear token_embd;    /* [n_embd], a row a token */
    struct linear position_embd; /* [n_embd], a row a position, added to the token's; or absent */
    struct linear token_types;   /* [n_embd], the first row is added likewise; or absent */
    struct norm embd_norm;       /* n_embd, of the sum of these; or absent */
    struct norm output_norm;     /* n_embd */
    struct linear output;    /* [n_embd] -> [n_vocab]; the token embedding where the head is tied */
    const float *rope_freqs; /* [n_rot / 2] divisors of the frequencies, or NULL */
    const float *rope_factors_long;  /* [n_rot / 2] instead, in contexts beyond rope_ctx_orig */
    const float *rope_factors_short; /* [n_rot / 2] and in others */

    struct linear ple_embd; /* [n_layer][n_embd_layer], a row a token */
    struct linear ple_proj; /* [n_embd] -> [n_layer][n_embd_layer] */
    struct norm ple_norm;   /* n_embd_layer, of what ple_proj gives */

    struct linear altup_proj;   /* [n_embd] -> [n_streams - 1][n_embd]: streams from x */
    struct linear altup_unproj; /* [n_embd] -> [n_streams - 1][n_embd]: x from streams */
    /* What slm_embed does with pooled hidden states (src/embed.c), if the model has it. */
    struct linear dense_2;    /* [n_embd] -> [n_dense_2] */
    struct linear dense_3;    /* [n_dense_2] -> [n_dense_3] */
    struct linear cls;        /* [n_embd] -> [n_cls], the hidden layer of a classifier */
    struct norm cls_norm;     /* n_cls, of what the activation gives */
    struct linear cls_output; /* [n_cls] -> [n_outputs] */
};

/* ---- Hyper-parameters ------------------------------------------------------------------------ */

#define ROPE_SCALING_NONE 0
#define ROPE_SCALING_LINEAR 1
#define ROPE_SCALING_YARN 2
#define ROPE_SCALING_LONGROPE 3

/* How scores of experts come from the router: a softmax over all, over the selected, or a sigmoid. */
#define EXPERT_SCORE_SOFTMAX 0
#define EXPERT_SCORE_SOFTMAX_SELECTED 1
#define EXPERT_SCORE_SIGMOID 2
#define ALTUP_STREAMS 4 /* all models have so many */

#define NORM_RMS 0
#define NORM_LAYER 1

/* Of the feed-forward: of gate, times up; or of up alone. */
#define ACT_NONE 0
#define ACT_SILU 1
#define ACT_GELU 2
#define ACT_RELU_SQUARED 3
#define ACT_SWIGLU_CLAMPED 4
#define ACT_TANH 5 /* without a gate */

struct hparams {
    int32_t n_vocab; /* rows of the token embedding */
    int32_t n_ctx_train;
    int32_t n_embd;
    int32_t n_layer;
    int32_t n_block; /* stored: behind the layers may be blocks that predict further tokens */
    int32_t n_head;  /* of the first layer with attention; layers have their own */
    int32_t n_kv_head;
    int32_t is_hybrid; /* layers may be without attention, or without a feed-forward */
    int32_t n_ff;
    int32_t n_expert;      /* of each layer; 0: no mixture of experts */
    int32_t n_expert_used; /* by a token */
    int32_t n_ff_expert;
    int32_t n_ff_shared;         /* 0: no shared expert */
    int32_t expert_weights_norm; /* weights of the experts of a token are brought to sum 1 */
    int32_t expert_score;        /* EXPERT_SCORE_ */
    int32_t n_dense_layer;       /* the first so many have an ordinary feed-forward */
    int32_t head_dim;            /* of Q and K; layers have their own */
    int32_t head_dim_v;
    int32_t n_rot;    /* elements of a head that are rotated */
    int32_t rot_at;   /* the first of them */
    int32_t n_q_rank; /* of latent attention; 0: there is none */
    int32_t n_kv_rank;
    int32_t n_conv;     /* taps of a convolution; 0: there is none */
    int32_t ssm_inner;  /* n_ssm_head * elements of a head */
    int32_t ssm_state;  /* columns of a head's state */
    int32_t n_ssm_head; /* time_step_rank in a file */
    int32_t n_ssm_group;
    int32_t n_layer_kv;   /* layers behind so many read K and V of earlier ones; 0: none do */
    int32_t n_embd_layer; /* of what each layer adds about a token; 0: nothing */
    int32_t n_streams;    /* of AltUp, x among them; 0: x alone */
    int32_t n_laurel;
    int32_t ssm_rank;       /* time_step_rank in a file of Mamba-1, which has no heads */
    int32_t ssm_part_norm;  /* what ssm_x gives is normed, each of its three parts */
    int32_t delta_is_tiled; /* value head h has key head h % G; else h / (H / G) */
    int32_t rwkv_head;      /* rows and columns of a head's state */
    int32_t n_decay_rank;
    int32_t n_rate_rank;
    int32_t n_value_rank;
    int32_t n_gate_rank; /* 0: there is no gate */
    float norm_eps;
    float attn_scale;            /* multiplies Q K^T */
    float attn_softcap;          /* c * tanh(x / c) on it, 0: none */
    float alibi_bias;            /* ALiBi: slopes of the heads go down to 2^-this; 0: none */
    float attn_clamp;            /* Q, K and V are brought to -clamp..clamp first; 0: not */
    int32_t qk_norm_after_rope;  /* else before */
    wide_float attn_temperature; /* Q of position p is multiplied by 1 + this * */
    int32_t temperature_context; /* ln(1 + p / temperature_context) */
    int32_t window;              /* of the local layers; 0: there are none */
    float embd_scale;            /* multiplies token embeddings */
    float residual_scale;        /* multiplies what is added to x */
    float logit_scale;           /* multiplies logits */
    float logit_softcap;         /* c * tanh(x / c) on them, 0: none */
    int32_t rope_scaling;
    wide_float rope_base;
    wide_float rope_factor;      /* the context is stretched by this; 1: not */
    wide_float rope_attn_factor; /* multiplies cos and sin */
    wide_float yarn_beta_fast;
    wide_float yarn_beta_slow;
    wide_float
        yarn_log_multiplier; /* 1: takes back what YaRN does to the length of Q and K; 0: not */
    int32_t rope_ctx_orig;
    wide_float
        rope_base_local;   /* of LAYER_ROPE_LOCAL, which is never stretched; 0: no such layers */
    int32_t n_rot_local;   /* of LAYER_ROPE_LOCAL; 0: n_rot */
    int32_t is_causal;     /* a token sees those before it and itself; else all of its text */
    int32_t pooling;       /* SLM_POOLING_ */
    int32_t rank_pooling;  /* which hidden state the classifier takes: SLM_POOLING_ */
    int32_t rank_softmax;  /* its outputs are brought to sum 1 */
    int32_t cls_act;       /* ACT_ behind cls */
    int32_t n_cls;         /* 0: no cls */
    int32_t n_outputs;     /* of the classifier */
    int32_t act;           /* ACT_ of the feed-forward: the family's, unless the file says */
    int32_t n_token_types; /* rows of token_types; 0: none */
    int32_t n_dense_2;     /* 0: no dense layers */
    int32_t n_dense_3;
};

/* ---- The descriptor -------------------------------------------------------------------------- */

/* Sizes a tensor's shape is made of. */
enum arch_dim {
    DIM_ONE,
    DIM_EMBD,
    DIM_VOCAB,
    DIM_FF,        /* 0 where there are experts; a row of a size 0 is left out */
    DIM_EXPERTS,   /* n_expert, 0 where there are none */
    DIM_FF_EXPERT, /* n_ff_expert, or 0 */
    DIM_FF_SHARED, /* n_ff_shared, or 0 */
    DIM_Q,         /* n_head * head_dim */
    DIM_K,         /* n_kv_head * head_dim, 0 in a layer without K and V of its own */
    DIM_V,         /* n_kv_head * head_dim_v, or 0 */
    DIM_O,         /* n_head * head_dim_v */
    DIM_HEAD,      /* head_dim */
    DIM_K_HEAD,    /* head_dim, 0 in a layer without K and V of its own */
    DIM_V_HEAD,    /* head_dim_v, or 0 */
    DIM_HEADS,     /* n_head */
    DIM_KV_HEADS,  /* n_kv_head */
    DIM_CTX,       /* n_ctx_train */
    DIM_ROT_HALF,  /* n_rot / 2 */
    DIM_Q_RANK,
    DIM_KV_RANK,
    DIM_KV,          /* n_head * (head_dim - n_rot + head_dim_v) */
    DIM_Q_GATED,     /* 2 * n_head * head_dim */
    DIM_EXPERT_EMBD, /* n_embd in a layer of experts, or 0 */
    DIM_LAYER_EMBD,  /* n_embd_layer, 0 if layers add nothing about a token */
    DIM_LAYERS_EMBD, /* n_layer * n_embd_layer, or 0 */
    DIM_PLE_EMBD,    /* n_embd, or 0 */
    DIM_STREAMS,
    DIM_STREAMS_SQUARE, /* n_streams * n_streams */
    DIM_LAUREL,
    DIM_TOKEN_TYPES,
    DIM_CLS,
    DIM_CLS_IN, /* n_cls, or n_embd if there is no cls */
    DIM_OUTPUTS,
    DIM_DENSE_2,
    DIM_DENSE_3,
    /* 0 in layers that have no recurrent mixer: */
    DIM_MIX,   /* n_embd */
    DIM_MIX_3, /* 3 * n_embd */
    DIM_CONV,
    DIM_SSM_INNER,
    DIM_SSM_STATE,
    DIM_SSM_HEADS,
    DIM_SSM_GROUPS,
    DIM_SSM_GROUP, /* ssm_inner / n_ssm_group */
    DIM_SSM_CONV,  /* ssm_inner + 2 * n_ssm_group * ssm_state */
    DIM_SSM_IN,    /* ssm_inner + DIM_SSM_CONV + n_ssm_head */
    DIM_SSM_RANK,
    DIM_SSM_X,       /* ssm_rank + 2 * ssm_state */
    DIM_DELTA_QKV,   /* (2 * n_ssm_group + n_ssm_head) * ssm_state; 0 where it is fused with z */
    DIM_DELTA_CONV,  /* the same, fused or not */
    DIM_DELTA_Z,     /* n_ssm_head * ssm_state, or 0 */
    DIM_DELTA_IN,    /* the sum of both; 0 where it is not fused */
    DIM_DELTA_BA,    /* 2 * n_ssm_head */
    DIM_RWKV_SHIFTS, /* inputs of a time mix */
    DIM_DECAY_RANK,
    DIM_RATE_RANK,
    DIM_VALUE_RANK, /* n_value_rank of the layer */
    DIM_GATE_RANK
};

#define TENSOR_OPTIONAL 1u
#define TENSOR_BIAS 2u /* may have a .bias */
#define TENSOR_BIAS_NEEDED 4u
#define TENSOR_QKV 8u     /* may instead be rows of a fused attn_qkv: Q, K and V in this order */
#define TENSOR_VECTOR 16u /* copied to f32; else a matrix used where it lies */
/* A struct norm of `in` elements, copied to f32; with out heads, each has its own weights. */
#define TENSOR_NORM 32u
#define TENSOR_NO_WEIGHT 64u /* a norm that stands in no file: its weights are 1 */
#define TENSOR_STACK 256u    /* n_expert matrices, one behind the other */
#define TENSOR_GATE_UP 128u  /* may instead be rows of a ffn_up of twice the size: gate, then up */

/* n_kv_rank rows for the slot, then n_rot rows for latent_k_rope. */
#define TENSOR_LATENT_KV 512u
#define TENSOR_BARE 1024u /* a vector or norm whose name is all there is: no .weight behind it */
#define TENSOR_TRANSPOSED 2048u /* a vector of `out` rows of `in`, copied as `in` rows of `out` */
#define TENSOR_STREAMS 4096u    /* n_streams - 1 matrices, one behind the other */
/* ffn_gate_exps and ffn_up_exps: may instead be one stack, each expert's gate before its up. */
#define TENSOR_GATE_UP_EXPS 8192u
/* A router whose .scale has n_embd elements: the weights of router_norm, with 1 / sqrt(n_embd). */
#define TENSOR_ROUTER 16384u

struct arch_tensor {
    const char *name; /* without "blk.N." and ".weight" */
    size_t slot;      /* offset in struct layer or struct globals */
    enum arch_dim in;
    enum arch_dim out;
    uint32_t flags;
};

struct config; /* the keys of a file: config.c */

struct slm_arch {
    const char *name; /* general.architecture; prefix of the family's keys */
    int32_t rope;     /* ROPE_: which elements make a pair */
    int32_t norm;     /* NORM_ */
    int32_t act;      /* ACT_ */
    const struct arch_tensor *globals;
    int32_t n_globals;
    const struct arch_tensor *layer;
    int32_t n_layer;
    /* What the keys common to all do not say; runs when these have been read. May be NULL. */
    int (*configure)(const struct config *c, struct hparams *h);
    /* The same for layer i, before its tensors are bound. May be NULL. */
    int (*configure_layer)(const struct config *c, const struct hparams *h, int32_t i,
                           struct layer *l);
};

#define ARCH_GLOBAL(name, field, in, out, flags)                                                   \
    {                                                                                              \
        name, offsetof(struct globals, field), in, out, flags                                      \
    }
#define ARCH_LAYER(name, field, in, out, flags)                                                    \
    {                                                                                              \
        name, offsetof(struct layer, field), in, out, flags                                        \
    }

/* What may divide the frequencies of the rotation. */
#define ARCH_ROPE_FACTORS                                                                          \
    ARCH_GLOBAL("rope_freqs", rope_freqs, DIM_ROT_HALF, DIM_ONE, TENSOR_OPTIONAL | TENSOR_VECTOR), \
        ARCH_GLOBAL("rope_factors_long", rope_factors_long, DIM_ROT_HALF, DIM_ONE,                 \
                    TENSOR_OPTIONAL | TENSOR_VECTOR),                                              \
        ARCH_GLOBAL("rope_factors_short", rope_factors_short, DIM_ROT_HALF, DIM_ONE,               \
                    TENSOR_OPTIONAL | TENSOR_VECTOR)

/* What a classifier may consist of. */
#define ARCH_CLASSIFIER                                                                            \
    ARCH_GLOBAL("cls", cls, DIM_EMBD, DIM_CLS, TENSOR_BIAS),                                       \
        ARCH_GLOBAL("cls.norm", cls_norm, DIM_CLS, DIM_ONE, TENSOR_NORM | TENSOR_OPTIONAL),        \
        ARCH_GLOBAL("cls.output", cls_output, DIM_CLS_IN, DIM_OUTPUTS,                             \
                    TENSOR_OPTIONAL | TENSOR_BIAS)

/* The rows of a mixture of experts; a family that may be dense too has both these and its ffn_. */
#define ARCH_EXPERTS(bias)                                                                         \
    ARCH_LAYER("ffn_gate_inp", ffn_router, DIM_EMBD, DIM_EXPERTS, bias),                           \
        ARCH_LAYER("ffn_gate_exps", gate_exps, DIM_EMBD, DIM_FF_EXPERT, bias | TENSOR_STACK),      \
        ARCH_LAYER("ffn_up_exps", up_exps, DIM_EMBD, DIM_FF_EXPERT, bias | TENSOR_STACK),          \
        ARCH_LAYER("ffn_down_exps", down_exps, DIM_FF_EXPERT, DIM_EMBD, bias | TENSOR_STACK)
#define ARCH_SHARED_EXPERT                                                                         \
    ARCH_LAYER("ffn_gate_shexp", shared_gate, DIM_EMBD, DIM_FF_SHARED, 0),                         \
        ARCH_LAYER("ffn_up_shexp", shared_up, DIM_EMBD, DIM_FF_SHARED, 0),                         \
        ARCH_LAYER("ffn_down_shexp", shared_down, DIM_FF_SHARED, DIM_EMBD, 0)
