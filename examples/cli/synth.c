/* synth.c - GGUF files of random weights in the shapes of known models (shapes.c), for bench: the
 * speed of a model depends on its shape and encodings, not on what it learnt.
 *
 * Vocabularies are made up, but load. What is random is in weights.c.
 *
 * Files are kept in $TMPDIR (or /tmp) in a folder that only this user can write. A file is written
 * under another name and renamed when it is whole. */
#include "cli.h"
#include "weights.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Part of the file's name: raise it when the same names would mean other bytes. */
#define SYNTH_VERSION 1

/* ---- Names, for help and errors ------------------------------------------------------------- */

static void append_name(char *list, size_t capacity, const char *name)
{
    size_t n = strlen(list);
    snprintf(list + n, capacity - n, "%s%s", n > 0 ? ", " : "", name);
}

const char *cli_synth_shapes(void)
{
    static char list[2048];
    list[0] = 0;
    for (int i = 0; i < cli_n_shapes; i++) {
        append_name(list, sizeof list, cli_shapes[i].name);
    }
    return list;
}

const char *cli_synth_types(void)
{
    static char list[512];
    list[0] = 0;
    for (int i = 0; i < cli_n_mixes; i++) {
        append_name(list, sizeof list, cli_mixes[i].name);
    }
    return list;
}

/* ---- A growing row of bytes ----------------------------------------------------------------- */

struct bytes {
    uint8_t *data;
    size_t n, capacity;
    int failed; /* told once, at the end */
};

static void put(struct bytes *b, const void *data, size_t n)
{
    if (b->capacity - b->n < n) {
        size_t capacity = 2 * b->capacity + n + 65536;
        uint8_t *grown = b->failed ? NULL : realloc(b->data, capacity);
        if (grown == NULL) {
            b->failed = 1;
            return;
        }
        b->data = grown;
        b->capacity = capacity;
    }
    if (n > 0) {
        memcpy(b->data + b->n, data, n);
        b->n += n;
    }
}

static void put_uint(struct bytes *b, uint64_t value, int size)
{
    uint8_t bytes[8];
    for (int i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    put(b, bytes, (size_t)size);
}

static void put_f32(struct bytes *b, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_uint(b, bits, 4);
}

static void put_string(struct bytes *b, const char *s)
{
    put_uint(b, strlen(s), 8);
    put(b, s, strlen(s));
}

/* ---- Metadata ------------------------------------------------------------------------------- */

struct writer {
    const struct shape *shape;
    const struct mix *mix;
    struct bytes head; /* everything before the weights */
    uint64_t n_keys, n_tensors;
    struct tensor *tensors; /* [n_tensors] */
    uint64_t data_size, total_size;
    uint64_t random;
    FILE *file;
    struct cli_progress progress;
};

/* A '~' in front stands for the family's name and a dot. */
static void put_key(struct writer *w, const char *key, int type)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s%s", *key == '~' ? w->shape->family : "",
             *key == '~' ? "." : "", *key == '~' ? key + 1 : key);
    put_string(&w->head, full);
    put_uint(&w->head, (uint64_t)type, 4);
    w->n_keys++;
}

static void key_u32(struct writer *w, const char *key, int32_t value)
{
    put_key(w, key, SLM_TYPE_UINT32);
    put_uint(&w->head, (uint64_t)value, 4);
}

static void key_f32(struct writer *w, const char *key, float value)
{
    put_key(w, key, SLM_TYPE_FLOAT32);
    put_f32(&w->head, value);
}

static void key_string(struct writer *w, const char *key, const char *value)
{
    put_key(w, key, SLM_TYPE_STRING);
    put_string(&w->head, value);
}

static void key_array(struct writer *w, const char *key, int type, int32_t n)
{
    put_key(w, key, SLM_TYPE_ARRAY);
    put_uint(&w->head, (uint64_t)type, 4);
    put_uint(&w->head, (uint64_t)n, 8);
}

/* A SentencePiece vocabulary: three control tokens, the bytes, and made-up words. */
static void put_vocabulary(struct writer *w)
{
    static const char *const control[] = {"<unk>", "<s>", "</s>"};
    int32_t n = w->shape->n_vocab;
    key_string(w, "tokenizer.ggml.model", "llama");
    key_array(w, "tokenizer.ggml.tokens", SLM_TYPE_STRING, n);
    for (int32_t i = 0; i < n; i++) {
        char text[24];
        if (i < 3) {
            snprintf(text, sizeof text, "%s", control[i]);
        } else {
            snprintf(text, sizeof text, i < 259 ? "<0x%02X>" : "\xe2\x96\x81w%d",
                     (unsigned)(i < 259 ? i - 3 : i));
        }
        put_string(&w->head, text);
    }
    key_array(w, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, n);
    for (int32_t i = 0; i < n; i++) {
        put_f32(&w->head, i < 259 ? 0 : (float)-i);
    }
    key_array(w, "tokenizer.ggml.token_type", SLM_TYPE_INT32, n);
    for (int32_t i = 0; i < n; i++) {
        put_uint(&w->head,
                 i == 0    ? SLM_TOKEN_UNKNOWN
                 : i < 3   ? SLM_TOKEN_CONTROL
                 : i < 259 ? SLM_TOKEN_BYTE
                           : SLM_TOKEN_NORMAL,
                 4);
    }
    key_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    key_u32(w, "tokenizer.ggml.bos_token_id", 1);
    key_u32(w, "tokenizer.ggml.eos_token_id", 2);
}

/* One number, or one for each layer where they differ. */
static void key_layers(struct writer *w, const char *key,
                       int32_t (*value)(const struct shape *s, int32_t layer))
{
    const struct shape *s = w->shape;
    int32_t n_same = 1;
    while (n_same < s->n_layer && value(s, n_same) == value(s, 0)) {
        n_same++;
    }
    if (n_same == s->n_layer) {
        key_u32(w, key, value(s, 0));
        return;
    }
    key_array(w, key, SLM_TYPE_INT32, s->n_layer);
    for (int32_t i = 0; i < s->n_layer; i++) {
        put_uint(&w->head, (uint64_t)value(s, i), 4);
    }
}

static void put_attention(struct writer *w)
{
    static const uint64_t sections[] = {11, 11, 10,
                                        0}; /* pairs of a head for time, rows, columns */
    const struct shape *s = w->shape;
    int is_layer_norm = (shape_traits(s) & NORM_BIASES) != 0;
    key_u32(w, "~attention.head_count", s->n_head);
    key_layers(w, "~attention.head_count_kv", shape_kv_heads);
    if (s->n_head > 0) {
        key_u32(w, "~attention.key_length", s->head_dim);
        key_u32(w, "~attention.value_length", s->head_dim);
    }
    key_f32(w,
            is_layer_norm ? "~attention.layer_norm_epsilon" : "~attention.layer_norm_rms_epsilon",
            s->eps);
    if (s->n_head > 0) {
        if (shape_setting(s, "rope.dimension_count") == NULL) {
            key_u32(w, "~rope.dimension_count", s->head_dim);
        }
        key_f32(w, "~rope.freq_base", s->rope_base);
    }
    if ((shape_traits(s) & DELTA) != 0) {
        key_array(w, "~rope.dimension_sections", SLM_TYPE_INT32, CLI_COUNT(sections));
        for (int i = 0; i < CLI_COUNT(sections); i++) {
            put_uint(&w->head, sections[i], 4);
        }
    }
    if ((shape_traits(s) & GEMMA4) != 0) {
        key_array(w, "~attention.sliding_window_pattern", SLM_TYPE_BOOL, s->n_layer);
        for (int32_t i = 0; i < s->n_layer; i++) {
            put_uint(&w->head, shape_kind(s, i) == WINDOW, 1);
        }
    }
}

static void put_settings(struct writer *w)
{
    for (int i = 0; i < cli_n_settings; i++) {
        const struct setting *row = &cli_settings[i];
        char key[64];
        if (row->type == NOTE || shape_setting(w->shape, row->key) != row) {
            continue;
        }
        snprintf(key, sizeof key, "~%s", row->key);
        if (row->type == SLM_TYPE_STRING) {
            key_string(w, key, row->text);
        } else if (row->type == SLM_TYPE_FLOAT32) {
            key_f32(w, key, (float)row->value);
        } else {
            put_key(w, key, row->type);
            put_uint(&w->head, (uint64_t)row->value, row->type == SLM_TYPE_BOOL ? 1 : 4);
        }
    }
}

static void put_metadata(struct writer *w)
{
    const struct shape *s = w->shape;
    char name[64];
    snprintf(name, sizeof name, "%s with random weights", s->name);
    key_string(w, "general.architecture", s->family);
    key_string(w, "general.name", name);
    key_u32(w, "general.file_type", w->mix->file_type);
    key_u32(w, "general.quantization_version", 2);
    key_u32(w, "~context_length", s->n_ctx);
    key_u32(w, "~embedding_length", s->n_embd);
    key_u32(w, "~block_count", s->n_layer);
    key_layers(w, "~feed_forward_length", shape_n_ff);
    put_attention(w);
    key_u32(w, "~vocab_size", s->n_vocab);
    put_settings(w);
    put_vocabulary(w);
}

/* ---- Tensors -------------------------------------------------------------------------------- */

struct tensor {
    char name[48];
    enum content content;
    slm_encoding_info encoding;
    int64_t size_of[3]; /* of a row, a matrix, a stack of matrices; 1 beyond its dimensions */
    uint64_t size, offset;
};

#define ALIGNMENT 32
#define TENSORS_PER_LAYER 40 /* at most */
#define TENSORS_OF_MODEL 16

struct tensor_row {
    const char *name;
    unsigned traits; /* that a family must have all of */
    enum content content;
    const char *encoding;
    int64_t row, rows, stack;
};

/* Rows of tables. What has a size of 0 is left out: that is how layers differ. */
#define VECTOR(name, traits, content, row)                                                         \
    {                                                                                              \
        name, traits, content, "F32", row, 1, 1                                                    \
    }
#define NORM(name, traits, row) VECTOR(name, traits, ONES, row)
#define MATRIX(name, traits, encoding, row, rows)                                                  \
    {                                                                                              \
        name, traits, WEIGHTS, encoding, row, rows, 1                                              \
    }
#define STACK(name, traits, encoding, row, rows, n)                                                \
    {                                                                                              \
        name, traits, WEIGHTS, encoding, row, rows, n                                              \
    }

static int add_tensor(struct writer *w, const char *prefix, const struct tensor_row *r)
{
    struct tensor *t = &w->tensors[w->n_tensors++];
    snprintf(t->name, sizeof t->name, "%s%s", prefix, r->name);
    t->content = r->content;
    t->size_of[0] = r->row;
    t->size_of[1] = r->rows;
    t->size_of[2] = r->stack;
    if (weights_encoding(r->encoding, r->row, &t->encoding) != CLI_GO) {
        return CLI_FAILED;
    }
    t->size = (uint64_t)(r->row / t->encoding.block_elements) * (uint64_t)r->rows *
              (uint64_t)r->stack * (uint64_t)t->encoding.block_bytes;
    t->offset = w->data_size;
    w->data_size += (t->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return CLI_GO;
}

static int add_rows(struct writer *w, const char *prefix, const struct tensor_row *rows, int n)
{
    unsigned traits = shape_traits(w->shape);
    for (int i = 0; i < n; i++) {
        const struct tensor_row *r = &rows[i];
        if ((r->traits & ~traits) == 0 && r->row > 0 && r->rows > 0 && r->stack > 0 &&
            add_tensor(w, prefix, r) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return CLI_GO;
}

static int64_t number(const struct writer *w, const char *key)
{
    return (int64_t)shape_number(w->shape, key);
}

/* What makes the tensors of a layer from its sizes. */
typedef int layer_part(struct writer *w, int32_t layer, const struct layer_shape *l,
                       const char *prefix);

static int add_attention(struct writer *w, int32_t layer, const struct layer_shape *l,
                         const char *prefix)
{
    const struct shape *s = w->shape;
    const struct mix *m = w->mix;
    int64_t n = s->n_embd, qkv = l->q > 0 ? l->q + 2 * l->kv : 0;
    int64_t q_rows = (shape_traits(s) & GATED_Q) != 0 ? 2 * l->q : l->q;
    const char *v = mix_choose(m, &m->v, layer, s), *o = mix_choose(m, &m->attn_output, layer, s);
    const struct tensor_row rows[] = {
        NORM("attn_norm.weight", ATTN_NORM, n),
        VECTOR("attn_norm.bias", ATTN_NORM | NORM_BIASES, SMALL, n),
        MATRIX("attn_qkv.weight", FUSED_QKV, m->qkv != NULL ? m->qkv : m->base, n, qkv),
        VECTOR("attn_qkv.bias", FUSED_QKV | QKV_BIASES, SMALL, qkv),
        MATRIX("attn_q.weight", QKV, m->base, n, q_rows),
        VECTOR("attn_q.bias", QKV | QKV_BIASES, SMALL, l->q),
        NORM("attn_q_norm.weight", HEAD_NORMS, l->head_dim),
        NORM("attn_q_norm.weight", WIDE_NORMS, l->q),
        MATRIX("attn_k.weight", QKV, m->base, n, l->kv),
        VECTOR("attn_k.bias", QKV | QKV_BIASES, SMALL, l->kv),
        NORM("attn_k_norm.weight", HEAD_NORMS, l->kv_head_dim),
        NORM("attn_k_norm.weight", WIDE_NORMS, l->kv),
        MATRIX("attn_v.weight", QKV, v, n, l->kv),
        VECTOR("attn_v.bias", QKV | QKV_BIASES, SMALL, l->kv),
        NORM("attn_sub_norm.weight", SUB_NORMS, l->q),
        MATRIX("attn_output.weight", 0, o, l->q, n),
        VECTOR("attn_output.bias", BIASES, SMALL, n),
        NORM("post_attention_norm.weight", POST_ATTN_NORM, n),
    };
    return add_rows(w, prefix, rows, CLI_COUNT(rows));
}

/* Short convolutions, Mamba-2, delta nets. */
static int add_recurrent(struct writer *w, int32_t layer, const struct layer_shape *l,
                         const char *prefix)
{
    const char *base = w->mix->base, *qkv = w->mix->qkv != NULL ? w->mix->qkv : base;
    int64_t n = w->shape->n_embd, heads = l->n_ssm_head, groups = l->n_ssm_group;
    int64_t taps = number(w, "ssm.conv_kernel"),
            state = heads > 0 ? number(w, "ssm.state_size") : 0;
    const struct tensor_row rows[] = {
        MATRIX("shortconv.conv.weight", 0, "F32", number(w, "shortconv.l_cache"), l->n_short),
        MATRIX("shortconv.in_proj.weight", 0, base, n, 3 * l->n_short),
        MATRIX("shortconv.out_proj.weight", 0, base, l->n_short, n),
        MATRIX("ssm_in.weight", SSM, base, n, l->ssm_inner + l->n_conv + heads),
        MATRIX("attn_qkv.weight", DELTA, qkv, n, l->n_conv),
        MATRIX("attn_gate.weight", DELTA, base, n, l->ssm_inner),
        MATRIX("ssm_conv1d.weight", 0, "F32", taps, l->n_conv),
        VECTOR("ssm_conv1d.bias", SSM, SMALL, l->n_conv),
        VECTOR("ssm_dt.bias", 0, SMALL, heads),
        VECTOR("ssm_a", DELTA, MINUS_ONES, heads),
        {"ssm_a", SSM, MINUS_ONES, "F32", 1, heads, 1},
        {"ssm_d", SSM, ONES, "F32", 1, heads, 1},
        MATRIX("ssm_beta.weight", DELTA, base, n, heads),
        MATRIX("ssm_alpha.weight", DELTA, base, n, heads),
        NORM("ssm_norm.weight", DELTA, state),
        {"ssm_norm.weight", SSM_NORM, ONES, "F32", groups > 0 ? l->ssm_inner / groups : 0, groups,
         1},
        MATRIX("ssm_out.weight", 0, base, l->ssm_inner, n),
    };
    (void)layer;
    return add_rows(w, prefix, rows, CLI_COUNT(rows));
}

static int add_feed_forward(struct writer *w, int32_t layer, const struct layer_shape *l,
                            const char *prefix)
{
    const struct mix *m = w->mix;
    const char *base = m->base, *down = mix_choose(m, &m->down, layer, w->shape);
    int64_t n = w->shape->n_embd, n_expert = l->n_expert, width = l->n_ff_expert;
    const struct tensor_row rows[] = {
        NORM("ffn_norm.weight", FFN_NORM, n),
        NORM("ffn_norm", BARE_FFN_NORM, n),
        VECTOR("ffn_norm.bias", FFN_NORM | NORM_BIASES, SMALL, n),
        MATRIX("ffn_gate.weight", GATE, base, n, l->n_ff),
        MATRIX("ffn_up.weight", UP, base, n, l->n_ff),
        MATRIX("ffn_up.weight", FUSED_GATE, base, n, 2 * l->n_ff),
        VECTOR("ffn_up.bias", BIASES, SMALL, l->n_ff),
        NORM("ffn_sub_norm.weight", SUB_NORMS, l->n_ff),
        MATRIX("ffn_down.weight", 0, down, l->n_ff, n),
        VECTOR("ffn_down.bias", BIASES, SMALL, n),
        MATRIX("ffn_gate_inp.weight", 0, "F32", n, n_expert),
        VECTOR("exp_probs_b.bias", EXPERT_BIAS, SMALL, n_expert),
        STACK("ffn_gate_exps.weight", 0, base, n, width, n_expert),
        STACK("ffn_up_exps.weight", 0, base, n, width, n_expert),
        STACK("ffn_down_exps.weight", 0, down, width, n, n_expert),
        MATRIX("ffn_gate_shexp.weight", 0, base, n, l->n_ff_shared),
        MATRIX("ffn_up_shexp.weight", 0, base, n, l->n_ff_shared),
        MATRIX("ffn_down_shexp.weight", 0, down, l->n_ff_shared, n),
        NORM("post_ffw_norm.weight", POST_FFN_NORM, n),
    };
    return add_rows(w, prefix, rows, CLI_COUNT(rows));
}

/* What the later Gemmas have besides. No program quantises what is F16 here. */
static int add_gemma(struct writer *w, int32_t layer, const struct layer_shape *l,
                     const char *prefix)
{
    int64_t n = w->shape->n_embd, of_token = number(w, "embedding_length_per_layer_input");
    const struct tensor_row rows[] = {
        MATRIX("inp_gate.weight", 0, w->mix->base, n, of_token),
        MATRIX("proj.weight", 0, w->mix->base, of_token, n),
        NORM("post_norm.weight", 0, of_token > 0 ? n : 0),
        NORM("layer_output_scale.weight", GEMMA4, 1),
        MATRIX("altup_router.weight", ALTUP, "F16", n, 4),
        NORM("altup_router_norm.weight", ALTUP, n),
        {"altup_predict_coef.weight", ALTUP, SMALL, "F32", 4, 16, 1},
        {"altup_correct_coef.weight", ALTUP, SMALL, "F32", 4, 4, 1},
        NORM("altup_correct_scale.weight", ALTUP, n),
        MATRIX("laurel_l.weight", ALTUP, "F16", n, 64),
        MATRIX("laurel_r.weight", ALTUP, "F16", 64, n),
        NORM("laurel_post_norm.weight", ALTUP, n),
    };
    (void)layer;
    (void)l;
    return add_rows(w, prefix, rows, CLI_COUNT(rows));
}

/* No program quantises what is of low rank. */
static int add_rwkv7(struct writer *w, int32_t layer, const struct layer_shape *l,
                     const char *prefix)
{
    const struct mix *m = w->mix;
    int64_t n = l->rwkv, n_ff = w->shape->n_ff;
    int64_t decay = number(w, "attention.decay_lora_rank");
    int64_t rate = number(w, "attention.iclr_lora_rank");
    int64_t value = layer > 0 ? number(w, "attention.value_residual_mix_lora_rank") : 0;
    int64_t gate = number(w, "attention.gate_lora_rank");
    const struct tensor_row rows[] = {
        NORM("attn_norm_2.weight", 0, n),
        VECTOR("attn_norm_2.bias", 0, SMALL, n),
        MATRIX("time_mix_lerp_fused.weight", 0, "F32", n, 6),
        MATRIX("time_mix_receptance.weight", 0, m->base, n, n),
        MATRIX("time_mix_key.weight", 0, m->base, n, n),
        MATRIX("time_mix_value.weight", 0, m->base, n, n),
        MATRIX("time_mix_output.weight", 0, m->base, n, n),
        VECTOR("time_mix_w0.weight", 0, SMALL, n),
        MATRIX("time_mix_w1.weight", 0, "F32", n, decay),
        MATRIX("time_mix_w2.weight", 0, "F32", decay, n),
        VECTOR("time_mix_a0.weight", 0, SMALL, n),
        MATRIX("time_mix_a1.weight", 0, "F32", n, rate),
        MATRIX("time_mix_a2.weight", 0, "F32", rate, n),
        VECTOR("time_mix_v0.weight", 0, SMALL, n),
        MATRIX("time_mix_v1.weight", 0, "F32", n, value),
        MATRIX("time_mix_v2.weight", 0, "F32", value, n),
        MATRIX("time_mix_g1.weight", 0, "F32", n, gate),
        MATRIX("time_mix_g2.weight", 0, "F32", gate, n),
        NORM("time_mix_k_k.weight", 0, n),
        NORM("time_mix_k_a.weight", 0, n),
        VECTOR("time_mix_r_k.weight", 0, SMALL, n),
        NORM("time_mix_ln.weight", 0, n),
        VECTOR("time_mix_ln.bias", 0, SMALL, n),
        VECTOR("channel_mix_lerp_k.weight", 0, SMALL, n),
        MATRIX("channel_mix_key.weight", 0, m->base, n, n_ff),
        MATRIX("channel_mix_value.weight", 0, mix_choose(m, &m->down, layer, w->shape), n_ff, n),
    };
    return add_rows(w, prefix, rows, n > 0 ? CLI_COUNT(rows) : 0);
}

static int add_layer(struct writer *w, int32_t layer)
{
    static layer_part *const parts[] = {add_attention, add_recurrent, add_feed_forward, add_gemma,
                                        add_rwkv7};
    struct layer_shape l = shape_of_layer(w->shape, layer);
    char prefix[16];
    int code = CLI_GO;
    snprintf(prefix, sizeof prefix, "blk.%d.", (int)layer);
    for (int i = 0; i < CLI_COUNT(parts) && code == CLI_GO; i++) {
        code = parts[i](w, layer, &l, prefix);
    }
    return code;
}

/* What stands before the layers. */
static int add_globals(struct writer *w)
{
    const struct shape *s = w->shape;
    const struct mix *m = w->mix;
    int64_t n = s->n_embd, of_token = number(w, "embedding_length_per_layer_input");
    int64_t of_layers = s->n_layer * of_token, n_factor = number(w, "rope_factors");
    int64_t n_stretched = number(w, "rope_freqs") > 0 ? s->head_dim / 2 : 0;
    const struct tensor_row rows[] = {
        MATRIX("token_embd.weight", 0, s->tied ? m->output : m->base, n, s->n_vocab),
        NORM("token_embd_norm.weight", EMBD_NORM, n),
        VECTOR("token_embd_norm.bias", EMBD_NORM | NORM_BIASES, SMALL, n),
        VECTOR("rope_freqs.weight", 0, ROPE_FACTORS, n_stretched),
        VECTOR("rope_freqs.weight", GEMMA4, ROPE_QUARTER, s->head_dim / 2),
        VECTOR("rope_factors_long.weight", 0, ONES, n_factor),
        VECTOR("rope_factors_short.weight", 0, ONES, n_factor),
        MATRIX("per_layer_token_embd.weight", 0, m->base, of_layers, s->n_vocab),
        MATRIX("per_layer_model_proj.weight", 0, "F16", n, of_layers),
        NORM("per_layer_proj_norm.weight", 0, of_token),
        STACK("altup_proj.weight", ALTUP, "F16", n, n, 3),
        STACK("altup_unembd_proj.weight", ALTUP, "F16", n, n, 3),
    };
    return add_rows(w, "", rows, CLI_COUNT(rows));
}

/* What stands behind them. */
static int add_head(struct writer *w)
{
    const struct shape *s = w->shape;
    int64_t n_own = s->tied ? 0 : s->n_vocab;
    const struct tensor_row rows[] = {
        NORM("output_norm.weight", LAST_NORM, s->n_embd),
        VECTOR("output_norm.bias", LAST_NORM | NORM_BIASES, SMALL, s->n_embd),
        MATRIX("output.weight", 0, w->mix->output, s->n_embd, n_own),
        VECTOR("output.bias", BIASES, SMALL, n_own),
    };
    return add_rows(w, "", rows, CLI_COUNT(rows));
}

static int add_tensors(struct writer *w)
{
    int32_t n_layer = w->shape->n_layer;
    w->tensors = calloc((size_t)n_layer * TENSORS_PER_LAYER + TENSORS_OF_MODEL, sizeof *w->tensors);
    if (w->tensors == NULL) {
        return cli_fail("no memory for a tensor table");
    }
    int code = add_globals(w);
    for (int32_t i = 0; i < n_layer && code == CLI_GO; i++) {
        code = add_layer(w, i);
    }
    return code == CLI_GO ? add_head(w) : code;
}

static int build_head(struct writer *w)
{
    if (add_tensors(w) != CLI_GO) {
        return CLI_FAILED;
    }
    put(&w->head, "GGUF\3\0\0\0", 8);
    put_uint(&w->head, w->n_tensors, 8);
    put_uint(&w->head, 0, 8); /* the number of keys, below */
    put_metadata(w);
    for (uint64_t i = 0; i < w->n_tensors; i++) {
        const struct tensor *t = &w->tensors[i];
        put_string(&w->head, t->name);
        int n_dims = t->size_of[2] > 1 ? 3 : t->size_of[1] > 1 ? 2 : 1;
        put_uint(&w->head, (uint64_t)n_dims, 4);
        for (int d = 0; d < n_dims; d++) {
            put_uint(&w->head, (uint64_t)t->size_of[d], 8);
        }
        put_uint(&w->head, (uint64_t)t->encoding.id, 4);
        put_uint(&w->head, t->offset, 8);
    }
    while (w->head.n % ALIGNMENT != 0 && !w->head.failed) {
        put_uint(&w->head, 0, 1);
    }
    if (w->head.failed) {
        return cli_fail("no memory for the metadata of a model");
    }
    for (int i = 0; i < 8; i++) {
        w->head.data[16 + i] = (uint8_t)(w->n_keys >> (8 * i));
    }
    w->total_size = w->head.n + w->data_size;
    return CLI_GO;
}

/* ---- Weights -------------------------------------------------------------------------------- */

#define CHUNK_BYTES (256 * 1024)

static int write_tensor(struct writer *w, const struct tensor *t, uint8_t *chunk)
{
    static const uint8_t zeros[ALIGNMENT];
    size_t unit = 8 * (size_t)t->encoding.block_bytes;
    size_t whole = CHUNK_BYTES / unit * unit;
    if (t->content != WEIGHTS) {
        vector_fill(&w->random, t->content, w->shape, chunk, (size_t)(t->size / 4));
    }
    for (uint64_t done = 0; done < t->size;) {
        size_t n = t->size - done < whole ? (size_t)(t->size - done) : whole;
        if (t->content == WEIGHTS) {
            weights_fill(&w->random, &t->encoding, t->size_of[0], chunk,
                         (n + unit - 1) / unit * unit);
        }
        if (fwrite(chunk, 1, n, w->file) != n) {
            return cli_fail("cannot write weights: %s", strerror(errno));
        }
        done += n;
        if (cli_progress_report(&w->progress, w->head.n + t->offset + done, w->total_size) != 0) {
            return cli_fail("interrupted");
        }
    }
    size_t padding = (size_t)((ALIGNMENT - t->size % ALIGNMENT) % ALIGNMENT);
    if (fwrite(zeros, 1, padding, w->file) != padding) {
        return cli_fail("cannot write weights: %s", strerror(errno));
    }
    return CLI_GO;
}

static int write_all(struct writer *w)
{
    /* Holds any vector, too: the widest has 18,944 floats. */
    uint8_t *chunk = malloc(CHUNK_BYTES);
    if (chunk == NULL) {
        return cli_fail("no memory for weights");
    }
    int code = CLI_GO;
    if (fwrite(w->head.data, 1, w->head.n, w->file) != w->head.n) {
        code = cli_fail("cannot write metadata: %s", strerror(errno));
    }
    for (uint64_t i = 0; i < w->n_tensors && code == CLI_GO; i++) {
        code = write_tensor(w, &w->tensors[i], chunk);
    }
    free(chunk);
    return code;
}

/* ---- The cache ------------------------------------------------------------------------------ */

#define PATH_BYTES 1024

/* A folder of ours that nobody else can write: names in a shared one could be planted. */
static int cache_folder(char *path)
{
    const char *parent = getenv("TMPDIR");
    struct stat st;
    if (parent == NULL || *parent == 0) {
        parent = "/tmp";
    }
    int n = snprintf(path, PATH_BYTES, "%s/slm-bench-%lu", parent, (unsigned long)getuid());
    if (n < 0 || n > PATH_BYTES - 128) {
        return cli_fail("TMPDIR is too long");
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return cli_fail("cannot make %s: %s", path, strerror(errno));
    }
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() ||
        (st.st_mode & 022) != 0) {
        return cli_fail("%s is not a folder that only this user can write", path);
    }
    return CLI_GO;
}

static int write_file(struct writer *w, const char *path)
{
    char temporary[PATH_BYTES + 32];
    char what[96];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    snprintf(what, sizeof what, "writing random %s %s", w->shape->name, w->mix->name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
    w->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (w->file == NULL) {
        return cli_fail("cannot make %s: %s", temporary, strerror(errno));
    }
    cli_progress_begin(&w->progress, what);
    int code = write_all(w);
    cli_progress_end(&w->progress);
    if (fclose(w->file) != 0 && code == CLI_GO) {
        code = cli_fail("cannot write %s: %s", temporary, strerror(errno));
    }
    if (code == CLI_GO && rename(temporary, path) != 0) {
        code = cli_fail("cannot rename %s: %s", temporary, strerror(errno));
    }
    if (code != CLI_GO) {
        unlink(temporary);
    }
    return code;
}

static int is_there(const struct writer *w, const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == w->total_size;
}

int cli_synth(const char *shape, const char *type, char **path)
{
    struct writer w;
    char file[PATH_BYTES];
    memset(&w, 0, sizeof w);
    w.shape = shape_find(shape);
    w.mix = mix_find(type);
    w.random = UINT64_C(0x853c49e6748fea9b);
    if (w.shape == NULL) {
        cli_say("no shape '%s'; there are %s", shape, cli_synth_shapes());
        return CLI_USAGE;
    }
    if (w.mix == NULL) {
        cli_say("no type '%s'; there are %s", type, cli_synth_types());
        return CLI_USAGE;
    }
    int code = cache_folder(file);
    if (code == CLI_GO) {
        size_t n = strlen(file);
        snprintf(file + n, sizeof file - n, "/%s-%s-%d.gguf", w.shape->name, w.mix->name,
                 SYNTH_VERSION);
        code = build_head(&w);
    }
    if (code == CLI_GO && !is_there(&w, file)) {
        code = write_file(&w, file);
    }
    if (code == CLI_GO) {
        *path = strdup(file);
        code = *path != NULL ? CLI_GO : cli_fail("no memory for a path");
    }
    free(w.head.data);
    free(w.tensors);
    return code;
}
