/* walk.h - goes through a model that a fuzzer opened: info, all metadata, all tensors, all tokens,
 * tokenising, a context, a prompt and decode steps, fork, checkpoint and rewind, embeddings. */
#ifndef FUZZ_WALK_H
#define FUZZ_WALK_H

#include "fuzz.h"

#define WALK_ELEMENTS 4096 /* of an array that are looked at */
#define WALK_CONTEXT_BYTES ((uint64_t)16 << 20)
#define WALK_POSITIONS 16

/* Every byte of a text must be there to be read. */
static uint64_t walk_sum;

static void walk_text(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        walk_sum += (uint8_t)text[i];
    }
}

/* Bytes that a value takes in the file, without a text's own. */
static uint64_t walk_value_bytes(const slm_metadata *v)
{
    static const uint8_t sizes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
    fuzz_check(v->value_type >= 0 && v->value_type < 13 && v->value_type != SLM_TYPE_ARRAY,
               "type %d", v->value_type);
    return sizes[v->value_type] * v->count + (v->is_array ? 12 : 0);
}

/* Returns how many bytes of the first file the keys take, 0 if that is too much to look at. */
static uint64_t walk_metadata(const slm_model *model, int32_t n)
{
    slm_metadata v = {.struct_size = sizeof v};
    slm_error err;
    uint64_t bytes = 0;
    int all = 1;
    for (int32_t i = 0; i < n; i++) {
        uint64_t count = 1;
        for (uint64_t k = 0; k < count && k < WALK_ELEMENTS; k++) {
            fuzz_check(slm_model_metadata(model, i, k, &v, &err) == SLM_OK, "%s", err.message);
            count = v.count;
            walk_text(v.key, v.key_size);
            walk_text(v.text, v.text_size);
            bytes += v.text_size;
        }
        walk_text((const char *)v.data, v.data_size < WALK_ELEMENTS ? v.data_size : WALK_ELEMENTS);
        bytes += 8 + v.key_size + 4 + walk_value_bytes(&v);
        all &= v.value_type != SLM_TYPE_STRING || count <= WALK_ELEMENTS;
        if (count < WALK_ELEMENTS) {
            int status = slm_model_metadata(model, i, count > 0 ? count : 1, &v, &err);
            fuzz_check(status == SLM_E_ARGUMENT, "element %llu", (unsigned long long)count);
        }
    }
    fuzz_check(slm_model_metadata(model, n, 0, &v, &err) == SLM_E_ARGUMENT, "key %d", n);
    return all ? bytes : 0;
}

/* Of the data section of the first file: its alignment. */
static uint64_t walk_alignment(const slm_model *model)
{
    slm_metadata v = {.struct_size = sizeof v};
    slm_error err;
    int32_t index = -1;
    int status = slm_model_metadata_find(model, "general.alignment", sizeof "general.alignment" - 1,
                                         &index, &err);
    fuzz_check(status == SLM_OK, "%s", err.message);
    if (index < 0) {
        return 32;
    }
    fuzz_check(slm_model_metadata(model, index, 0, &v, &err) == SLM_OK, "%s", err.message);
    fuzz_check(v.integer > 0 && (v.integer & (v.integer - 1)) == 0, "alignment %lld",
               (long long)v.integer);
    return (uint64_t)v.integer;
}

/* Where the data section of the first file begins: behind header, keys and tensor table. */
static uint64_t walk_data_begin(const slm_model *model, uint64_t key_bytes, int32_t n_tensors)
{
    slm_tensor_info t = {.struct_size = sizeof t};
    uint64_t alignment = walk_alignment(model);
    uint64_t at = 24 + key_bytes;
    for (int32_t i = 0; i < n_tensors && key_bytes > 0; i++) {
        fuzz_check(slm_model_tensor(model, i, &t, NULL) == SLM_OK, "tensor %d", i);
        at += t.file == 0 ? 8 + t.name_size + 4 + 8 * (uint64_t)t.n_dims + 4 + 8 : 0;
    }
    return key_bytes > 0 ? (at + alignment - 1) & ~(alignment - 1) : 0;
}

static void walk_tensors(const slm_model *model, int32_t n, const size_t *sizes, int32_t n_files,
                         uint64_t key_bytes)
{
    slm_tensor_info t = {.struct_size = sizeof t};
    slm_encoding_info e = {.struct_size = sizeof e};
    slm_error err;
    uint64_t total = 0, most = 0;
    uint64_t begin = walk_data_begin(model, key_bytes, n);
    for (int32_t i = 0; i < n_files; i++) {
        most += sizes[i];
    }
    for (int32_t i = 0; i < n; i++) {
        fuzz_check(slm_model_tensor(model, i, &t, &err) == SLM_OK, "%s", err.message);
        walk_text(t.name, t.name_size);
        fuzz_check(slm_encoding_find(t.encoding, NULL, &e, &err) == SLM_OK, "type %d", t.encoding);
        fuzz_check(t.file >= 0 && t.file < n_files, "file %d", t.file);
        fuzz_check(t.offset <= sizes[t.file] && t.size <= sizes[t.file] - t.offset,
                   "%llu bytes at %llu", (unsigned long long)t.size, (unsigned long long)t.offset);
        int64_t rows = t.shape[1] * t.shape[2] * t.shape[3];
        fuzz_check(t.shape[0] % e.block_elements == 0, "a row of %lld", (long long)t.shape[0]);
        fuzz_check(t.file != 0 || t.offset >= begin, "%llu, the data begins at %llu",
                   (unsigned long long)t.offset, (unsigned long long)begin);
        fuzz_check(t.n_dims >= 0 && t.n_dims <= 4, "%d dimensions", t.n_dims);
        for (int d = 0; d < 4; d++) {
            fuzz_check(t.shape[d] > 0 && (d < t.n_dims || t.shape[d] == 1), "dimension %d", d);
        }
        fuzz_check((uint64_t)(t.shape[0] / e.block_elements * e.block_bytes * rows) == t.size,
                   "%llu bytes", (unsigned long long)t.size);
        total += t.size;
    }
    fuzz_check(begin == 0 || n == 0 || total <= most - begin, "%llu bytes of tensors",
               (unsigned long long)total);
}

/* Tokenises a text with all flags and goes back; only that it comes to an end is asked here. */
static void walk_tokenize(const slm_model *model, const char *text, size_t size)
{
    int32_t tokens[256];
    char out[1024];
    slm_error err;
    for (uint32_t flags = 0; flags < 4; flags++) {
        size_t n = 0, n_out = 0;
        int status = slm_tokenize(model, text, size, flags, tokens, 256, &n, &err);
        fuzz_status(status, &err);
        if (status == SLM_OK) {
            status = slm_detokenize(model, tokens, n, flags, out, sizeof out, &n_out, &err);
            fuzz_status(status, &err);
        }
    }
}

/* The byte that "<0x0A>" names, or -1. */
static int walk_byte(const slm_token_info *t)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    int value = 0;
    if (t->text_size != 6 || memcmp(t->text, "<0x", 3) != 0 || t->text[5] != '>') {
        return -1;
    }
    for (int i = 3; i < 5; i++) {
        const char *digit = (const char *)memchr(digits, t->text[i], sizeof digits - 1);
        if (digit == NULL) {
            return -1;
        }
        value = value * 16 + (int)(digit - digits) % 16;
    }
    return value;
}

/* What SentencePiece's tokens stand for: a byte, or their text, in which U+2581 is a space. */
static void walk_spm_token(const slm_model *model, int32_t id, const slm_token_info *t)
{
    int byte = t->kind == SLM_TOKEN_BYTE ? walk_byte(t) : -1;
    uint8_t *text = (uint8_t *)malloc(t->text_size + 1);
    char *out = (char *)malloc(t->text_size + 1);
    size_t size = 0, n_out = 0;
    slm_error err;
    fuzz_check(text != NULL && out != NULL, "no memory");
    for (size_t i = 0; i < t->text_size && byte < 0; size++) {
        int is_space = t->text_size - i >= 3 && memcmp(t->text + i, "\xE2\x96\x81", 3) == 0;
        text[size] = is_space ? ' ' : (uint8_t)t->text[i];
        i += is_space ? 3 : 1;
    }
    if (byte >= 0) {
        text[size++] = (uint8_t)byte;
    }
    fuzz_check(slm_detokenize(model, &id, 1, 0, out, t->text_size, &n_out, &err) == SLM_OK, "%s",
               err.message);
    fuzz_check(n_out == size && memcmp(out, text, size) == 0, "token %d: '%.*s'", id, (int)n_out,
               out);
    free(text);
    free(out);
}

static void walk_tokens(const slm_model *model, int32_t n, int is_spm)
{
    slm_token_info t = {.struct_size = sizeof t};
    slm_text_stream stream;
    slm_error err;
    memset(&stream, 0, sizeof stream);
    for (int32_t i = 0; i < n && i < WALK_ELEMENTS; i++) {
        int32_t found = -1;
        size_t needed = 0;
        int status = slm_token_get_info(model, i, &t, &err);
        fuzz_status(status, &err);
        if (status != SLM_OK) {
            return;
        }
        walk_text(t.text, t.text_size);
        if (t.text_size > 0) {
            fuzz_check(slm_token_find(model, t.text, t.text_size, &found, &err) == SLM_OK &&
                           found >= 0 && found <= i,
                       "token %d is found as %d", i, found);
        }
        if (is_spm && (t.kind == SLM_TOKEN_NORMAL || t.kind == SLM_TOKEN_BYTE)) {
            walk_spm_token(model, i, &t);
        }
        char *text = (char *)malloc(SLM_DECODE_MAX(t.text_size));
        fuzz_check(text != NULL, "no memory");
        status = slm_decode_token(model, &stream, i, SLM_TEXT_SPECIAL, text,
                                  SLM_DECODE_MAX(t.text_size), &needed, &err);
        fuzz_check(status == SLM_OK || status == SLM_E_UNSUPPORTED, "%s", err.message);
        fuzz_check(status != SLM_OK || fuzz_is_utf8(text, needed), "token %d", i);
        free(text);
    }
}

static int walk_eval(slm_context *context, int32_t sequence, const int32_t *tokens, int32_t n,
                     slm_error *err)
{
    slm_span span = {.struct_size = sizeof span};
    span.sequence = sequence;
    span.position = -1;
    span.n_tokens = n;
    span.tokens = tokens;
    span.want = SLM_WANT_LAST;
    return slm_eval(context, &span, 1, sizeof span, NULL, err);
}

/* What must work in any context with room. */
static void walk_must(slm_context *context, int32_t sequence, const int32_t *tokens, int32_t n)
{
    slm_error err;
    fuzz_check(walk_eval(context, sequence, tokens, n, &err) == SLM_OK, "%s", err.message);
}

/* n decode steps, each with the token that the last one gave. */
static void walk_decode(slm_context *context, slm_sampler *sampler, int32_t n_vocab, int n)
{
    slm_error err;
    const float *logits = NULL;
    for (int step = 0; step < n; step++) {
        int32_t next = -1;
        fuzz_check(slm_logits(context, -1, &logits, NULL, &err) == SLM_OK, "%s", err.message);
        int chosen = slm_sample(sampler, logits, n_vocab, &next, &err);
        fuzz_check(chosen == SLM_OK || chosen == SLM_E_NUMERIC, "%s", err.message);
        next = chosen == SLM_OK ? next : step % n_vocab;
        fuzz_check(next >= 0 && next < n_vocab, "token %d of %d", next, n_vocab);
        walk_must(context, 0, &next, 1);
    }
}

/* A prompt in two parts and a step; back to a checkpoint and a fork from there, whose step must
 * give the same logits; seven more. */
static void walk_generate(slm_context *context, slm_sampler *sampler, const int32_t *tokens,
                          int32_t n_vocab)
{
    slm_error err;
    const float *logits = NULL;
    size_t bytes = (size_t)n_vocab * sizeof *logits;
    int32_t length = -1;
    walk_must(context, 0, tokens, 3);
    walk_must(context, 0, tokens + 3, 2);
    fuzz_check(slm_sequence_checkpoint(context, 0, 0, &err) == SLM_OK, "%s", err.message);
    walk_must(context, 0, tokens, 1);
    fuzz_check(slm_logits(context, -1, &logits, NULL, &err) == SLM_OK, "%s", err.message);
    void *first = fuzz_copy(logits, bytes);
    fuzz_check(slm_sequence_rewind(context, 0, 5, &err) == SLM_OK, "%s", err.message);
    fuzz_check(slm_sequence_fork(context, 0, 1, &err) == SLM_OK, "%s", err.message);
    for (int32_t sequence = 1; sequence >= 0; sequence--) {
        walk_must(context, sequence, tokens, 1);
        fuzz_check(slm_logits(context, -1, &logits, NULL, &err) == SLM_OK, "%s", err.message);
        fuzz_check(memcmp(first, logits, bytes) == 0, "sequence %d differs", sequence);
    }
    free(first);
    walk_decode(context, sampler, n_vocab, 7);
    fuzz_check(slm_sequence_rewind(context, 1, 0, &err) == SLM_OK, "%s", err.message);
    fuzz_check(slm_sequence_length(context, 0, &length, &err) == SLM_OK && length == 13, "%d",
               length);
}

/* Two texts at once by each pooling; which are refused is the model's affair. The rows have a size
 * of exactly what is needed. */
static void walk_embed(slm_context *context, const int32_t *tokens, int32_t n)
{
    const slm_embed_text texts[2] = {{sizeof *texts, n, tokens}, {sizeof *texts, 1, tokens + 1}};
    slm_embed_options o;
    slm_error err;
    slm_embed_options_init(&o, sizeof o);
    for (int32_t pooling = SLM_POOLING_NONE; pooling <= SLM_POOLING_RANK; pooling++) {
        size_t needed = 0;
        o.pooling = pooling;
        int status = slm_embed(context, texts, 2, sizeof *texts, &o, NULL, 0, &needed, &err);
        fuzz_check(status == SLM_OK || status == SLM_E_ARGUMENT || status == SLM_E_FULL ||
                       status == SLM_E_MODEL,
                   "%s", err.message);
        if (status != SLM_OK) {
            continue;
        }
        float *rows = (float *)malloc(needed * sizeof *rows);
        fuzz_check(rows != NULL && needed > 0, "%zu floats", needed);
        status = slm_embed(context, texts, 2, sizeof *texts, &o, rows, needed, &needed, &err);
        fuzz_check(status == SLM_OK, "%s", err.message);
        free(rows);
    }
}

/* What a context that there is must do. */
static void walk_context(slm_context *context, slm_model *model, const slm_model_info *info)
{
    int32_t n_vocab = info->n_vocab;
    const int32_t tokens[6] = {0, n_vocab > 1, n_vocab - 1, n_vocab / 2, n_vocab / 3, n_vocab};
    slm_sampler *sampler = NULL;
    slm_error err;
    fuzz_check(slm_sampler_create(&sampler, model, NULL, 0, 0, NULL, &err) == SLM_OK, "%s",
               err.message);
    int status = walk_eval(context, 0, tokens + 5, 1, &err);
    fuzz_check(status == (info->is_causal ? SLM_E_ARGUMENT : SLM_E_UNSUPPORTED),
               "a token too large");
    if (info->is_causal) {
        for (int32_t i = 0;
             i < WALK_POSITIONS && (status = walk_eval(context, 1, tokens, 1, &err)) == SLM_OK;
             i++) {
        }
        /* A table of positions may be shorter than this. */
        fuzz_check(status == SLM_OK || (status == SLM_E_FULL && info->n_ctx_train < WALK_POSITIONS),
                   "%s", err.message);
        if (status == SLM_OK) {
            walk_generate(context, sampler, tokens, n_vocab);
        }
        fuzz_check(slm_sequence_rewind(context, 0, 0, &err) == SLM_OK, "%s", err.message);
    }
    walk_embed(context, tokens, info->is_causal ? 5 : 3); /* in two parts where that is possible */
    slm_sampler_free(sampler);
}

static void walk_run(slm_model *model, const slm_model_info *info, struct fuzz_memory *memory)
{
    slm_context_options o;
    slm_context *context = NULL;
    slm_plan plan = {.struct_size = sizeof plan};
    slm_error err;
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = WALK_POSITIONS;
    o.n_sequences = 2;
    o.n_checkpoints = 1;
    o.n_batch = 4;
    o.n_threads = 1;
    o.alloc = fuzz_alloc;
    o.alloc_user = memory;
    o.max_bytes = WALK_CONTEXT_BYTES;
    int planned = slm_plan_memory(model, &o, &plan, &err);
    fuzz_status(planned, &err);
    int status = slm_context_create(&context, model, &o, &err);
    fuzz_status(status, &err);
    fuzz_check((status == SLM_OK) == (context != NULL), "%d and a context", status);
    if (status == SLM_OK) {
        walk_context(context, model, info);
    }
    slm_context_free(context);
}

/* Ids name tokens, sizes are within what slm promises to take. */
static void walk_info(const slm_model_info *info)
{
    const int32_t ids[5] = {info->bos_token, info->eos_token, info->eot_token, info->unk_token,
                            info->pad_token};
    for (int i = 0; i < 5; i++) {
        fuzz_check(ids[i] >= -1 && ids[i] < info->n_vocab, "special token %d", ids[i]);
    }
    fuzz_check(info->n_layer >= 0 && info->n_layer <= 512, "%d layers", info->n_layer);
    fuzz_check(info->n_head >= 0 && info->n_head <= 1024, "%d heads", info->n_head);
    /* Of n_embd, if what does not fit was met only behind it. */
    fuzz_check(info->head_dim >= 0 && info->head_dim <= 1 << 20, "heads of %d", info->head_dim);
    walk_text(info->family, strlen(info->family));
    walk_text(info->name, strlen(info->name));
    walk_text(info->chat_template, info->chat_template != NULL ? strlen(info->chat_template) : 0);
}

/* Everything; the model is still open behind it. */
static TESTING_UNUSED void walk_model(slm_model *model, const size_t *sizes, int32_t n_files,
                                      struct fuzz_memory *memory)
{
    static const char text[] = "<s>Hello w\xc3\xb6rld \xff\xe2\x96\x81</s>\n 123";
    slm_model_info info = {.struct_size = sizeof info};
    slm_error err;
    fuzz_check(slm_model_get_info(model, &info, &err) == SLM_OK, "%s", err.message);
    walk_info(&info);
    uint64_t key_bytes = walk_metadata(model, info.n_metadata);
    walk_tensors(model, info.n_tensors, sizes, n_files, key_bytes);
    walk_tokens(model, info.n_vocab, strcmp(info.tokenizer, "spm") == 0);
    walk_tokenize(model, text, sizeof text - 1);
    if (info.n_vocab > 0) {
        walk_run(model, &info, memory);
    }
}

#endif
