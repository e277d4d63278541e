/* model.h - a model, field by field.
 *
 * Immutable once open, but for the count of references and the allocator's counters. Everything the
 * forward pass reads lies in one block (layers, vectors as f32, copied weights). */

/* The tables of angles a model may have. */
#define MODEL_ROPE_GLOBAL 0
#define MODEL_ROPE_LOCAL 1
#define MODEL_ROPE_LONG 2 /* instead of the global ones, in contexts beyond rope_ctx_orig */
#define MODEL_ROPE_COUNT 3

struct slm_model {
    struct memory memory;
    int32_t references;
    uint32_t flags; /* SLM_LOAD_ */
    slm_log_fn log;
    void *log_user;
    struct gguf gguf;
    struct vocab vocab;
    struct kernels kernels;
    const struct slm_arch *arch;
    struct hparams hparams;
    struct globals globals;
    struct layer *layers;
    struct rope_table ropes[MODEL_ROPE_COUNT];
    int keeps_x;              /* some layer wants x as it was before it */
    int64_t kv_page_elements; /* K and V of all layers for KV_PAGE positions */
    int64_t n_state_floats; /* the state of all recurrent layers of a sequence; 0: there are none */
    int64_t n_mix_max;      /* scratch of a recurrent mixer for a token, in floats */
    int64_t mix_part_bytes; /* and for a thread */
    /* The largest of all layers. */
    int32_t n_head_max;
    int32_t head_dim_max;
    int32_t head_dim_v_max;
    int64_t n_q_max; /* what attn_q gives for a token */
    int64_t n_o_max; /* n_head * head_dim_v */
    int64_t n_k_max; /* n_kv_head * head_dim */
    int64_t n_v_max; /* n_kv_head * head_dim_v */
    int32_t n_ff_max;
    int32_t n_group_max;        /* queries that share a kv head */
    int64_t n_in_max;           /* longest row of any matrix */
    int64_t n_in_of[ENC_COUNT]; /* longest row of a matrix in this encoding, 0: none */
    uint8_t *block;
    uint64_t block_bytes;   /* of block */
    uint64_t block_planned; /* what a full load takes; = block_bytes unless SLM_LOAD_METADATA */
    uint64_t planned_bytes; /* peak of the allocator in a full load */
    uint64_t mapped_bytes;
    uint64_t weight_bytes;
    uint64_t n_parameters;
    int is_bound;       /* tensors are there: contexts can be made */
    slm_error unbound;  /* if not: why not */
    const char *family; /* 0-terminated copies for slm_model_info */
    const char *name;
    const char *pre; /* of the vocabulary */
    const char *chat_template;
};

static void SLM_PRINTF(3, 4)
    model_log(const struct slm_model *m, int32_t level, const char *format, ...)
{
    char line[256];
    va_list args;
    if (m->log == NULL) {
        return;
    }
    va_start(args, format);
    format_text_va(line, sizeof line, format, args);
    va_end(args);
    m->log(m->log_user, level, line);
}
