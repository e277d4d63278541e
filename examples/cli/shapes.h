/* shapes.h - the shapes of known models, which synth.c writes files of. */
#ifndef SHAPES_H
#define SHAPES_H

#include <stdint.h>

struct shape {
    const char *name, *family;
    int32_t n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_vocab, n_ctx;
    float rope_base, eps;
    int tied;           /* the token embedding is the head, too */
    const char *layers; /* what they mix tokens with, a letter each; and from the start again */
};

enum layer_kind {
    ATTENTION = 'a',
    WINDOW = 'w', /* attention to the last few */
    MAMBA2 = 'm',
    BOTH = 'b', /* attention and Mamba-2 */
    SHORT_CONV = 'c',
    DELTA_NET = 'd',
    RWKV7 = 'r'
};

/* A key that not all files have, in those of one shape or of all of a family. */
struct setting {
    const char *of, *key;
    int type; /* SLM_TYPE_..., or NOTE: what no key says */
    double value;
    const char *text; /* of a string */
};

#define NOTE (-1)

/* What the tensors of families differ in. */
enum trait {
    ATTN_NORM = 1 << 0, /* before the branch */
    FFN_NORM = 1 << 1,
    BARE_FFN_NORM = 1 << 2, /* the same by another name */
    POST_ATTN_NORM = 1 << 3,
    POST_FFN_NORM = 1 << 4,
    SUB_NORMS = 1 << 5,  /* within the branches */
    HEAD_NORMS = 1 << 6, /* of each head of Q and K */
    WIDE_NORMS = 1 << 7, /* of all of them at once */
    NORM_BIASES = 1 << 8,
    QKV = 1 << 9,
    FUSED_QKV = 1 << 10,
    QKV_BIASES = 1 << 11,
    GATED_Q = 1 << 12,
    GATE = 1 << 13,
    UP = 1 << 14,
    FUSED_GATE = 1 << 15,
    EXPERT_BIAS = 1 << 16,
    BIASES = 1 << 17, /* of the other matrices */
    LAST_NORM = 1 << 18,
    EMBD_NORM = 1 << 19,
    SSM = 1 << 20,
    SSM_NORM = 1 << 21,
    DELTA = 1 << 22,
    ALTUP = 1 << 23,
    GEMMA4 = 1 << 24,
    LLAMA = ATTN_NORM | FFN_NORM | QKV | GATE | UP | LAST_NORM
};

/* Sizes of a layer; 0 of what it does not have. */
struct layer_shape {
    int64_t head_dim, q, kv_head_dim, kv;
    int64_t kept; /* elements of K, and of V, that the cache keeps of a token */
    int64_t n_ff, n_expert, n_ff_expert, n_ff_shared;
    int64_t n_short;                                    /* channels of a short convolution */
    int64_t n_conv, n_ssm_head, ssm_inner, n_ssm_group; /* of Mamba-2 or a delta net */
    int64_t rwkv;
};

extern const struct shape cli_shapes[];
extern const int cli_n_shapes;
extern const struct setting cli_settings[];
extern const int cli_n_settings;

const struct shape *shape_find(const char *name);
unsigned shape_traits(const struct shape *s);

/* Of a shape's and its family's settings the first with this key. */
const struct setting *shape_setting(const struct shape *s, const char *key);
double shape_number(const struct shape *s, const char *key); /* 0: there is none */

enum layer_kind shape_kind(const struct shape *s, int32_t layer);
int32_t shape_kv_heads(const struct shape *s, int32_t layer);
int32_t shape_n_ff(const struct shape *s, int32_t layer);
struct layer_shape shape_of_layer(const struct shape *s, int32_t layer);

#endif
