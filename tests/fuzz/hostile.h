/* hostile.h - files that broke other loaders, one of each class, and what slm answers. test_hostile
 * opens them and asks for status and message; corpus.c writes them for the fuzzers to begin with.
 *
 * A name begins with the advisory or report that the class is known by. Those of a network server
 * (CVE-2024-42477 to 42479) are the same checks on numbers of a file here. */
#ifndef FUZZ_HOSTILE_H
#define FUZZ_HOSTILE_H

#include "vocabs.h"

struct hostile {
    const char *name;
    void (*make)(struct build *b);
    int status;
    const char *says;  /* in the message */
    const char *names; /* likewise */
};

static struct tiny hostile_shape(void)
{
    struct tiny t = tiny_default();
    t.n_embd = 4;
    t.n_head = 1;
    t.n_kv_head = 1;
    t.n_ff = 4;
    return t;
}

/* A model of hardly anything. */
static void hostile_tiny(struct build *b, void (*keys)(struct build *b))
{
    struct tiny t = hostile_shape();
    t.keys = keys;
    tiny_build(b, &t);
}

static void hostile_poke(struct build *b, const char *name, int field, uint64_t value, size_t n)
{
    hostile_tiny(b, NULL);
    build_poke(b, build_at(b, name, field), value, n);
}

static void hostile_keys_only(struct build *b, const char *key, uint32_t type, uint64_t count,
                              size_t file_size)
{
    build_init(b);
    build_array(b, key, type, count);
    build_finish(b);
    while (b->file.size < file_size) {
        build_put_int(&b->file, 0, 1);
    }
    b->file.size = file_size;
}

/* ---- Counts and lengths ---------------------------------------------------------------------- */

/* count * size is 0 in 64 bits. */
static void hostile_array_overflow(struct build *b)
{
    build_init(b);
    build_text(b, "general.architecture", "llama");
    build_array(b, "a", SLM_TYPE_UINT64, UINT64_C(1) << 61);
    build_finish(b);
    b->file.size = b->needed;
}

/* (count + 1) * size is 0. */
static void hostile_kv_count(struct build *b)
{
    hostile_tiny(b, NULL);
    build_poke(b, BUILD_AT_N_KEYS, UINT64_MAX, 8);
}

static void hostile_tensor_count(struct build *b)
{
    hostile_tiny(b, NULL);
    build_poke(b, BUILD_AT_N_TENSORS, UINT64_C(1) << 59, 8);
}

/* A key of length 2^64 - 1: with a 0 behind it, 0 bytes. */
static void hostile_string_length(struct build *b)
{
    hostile_poke(b, "llama.block_count", AT_NAME, UINT64_MAX, 8);
}

/* A text that ends far behind the file: 45 bytes in all. */
static void hostile_string_value(struct build *b)
{
    build_init(b);
    build_text(b, "k", "");
    build_finish(b);
    build_poke(b, build_at(b, "k", AT_VALUE), (uint64_t)INT64_MAX, 8);
    b->file.size = b->needed;
}

/* A number, and two arrays of strings, of which the second one's last string is cut off: what was
 * allocated for them is freed, and nothing that was not. */
static void hostile_free_uninitialised(struct build *b)
{
    static const char *const texts[3] = {"one", "two", "three"};
    build_init(b);
    build_u32(b, "number", 1);
    build_texts(b, "first", texts, 3);
    build_texts(b, "second", texts, 3);
    build_finish(b);
    b->file.size = b->needed - 2;
    build_poke(b, BUILD_AT_N_KEYS, 4, 8);
}

static void hostile_160_bytes(struct build *b)
{
    hostile_keys_only(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, UINT64_C(1) << 29, 160);
}

static void hostile_43_bytes(struct build *b)
{
    build_init(b);
    build_array(b, "k", SLM_TYPE_UINT8, UINT64_C(1) << 63);
    build_finish(b);
    b->file.size = 49;
}

static void hostile_nested_arrays(struct build *b)
{
    build_init(b);
    build_array(b, "k", SLM_TYPE_ARRAY, UINT64_C(1) << 62);
    for (int i = 0; i < 40; i++) {
        build_put_int(&b->keys, SLM_TYPE_ARRAY, 4);
        build_put_int(&b->keys, UINT64_C(1) << 62, 8);
    }
    build_finish(b);
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static void hostile_type_id(struct build *b)
{
    hostile_poke(b, "blk.0.attn_q.weight", AT_TYPE, 0x7fffffff, 4);
}

static void hostile_type_removed(struct build *b)
{
    hostile_poke(b, "blk.0.attn_q.weight", AT_TYPE, 4, 4);
}

static void hostile_data_offset(struct build *b)
{
    hostile_poke(b, "blk.0.attn_q.weight", AT_OFFSET, UINT64_C(1) << 62, 8);
}

static void hostile_n_dims(struct build *b)
{
    hostile_poke(b, "blk.0.attn_q.weight", AT_N_DIMS, 0xffffffffu, 4);
}

/* The product of the dimensions is 2^64. */
static void hostile_dims_overflow(struct build *b)
{
    hostile_poke(b, "blk.0.attn_q.weight", AT_SHAPE, UINT64_C(1) << 62, 8);
}

static void hostile_dim_negative(struct build *b)
{
    hostile_poke(b, "blk.0.attn_q.weight", AT_SHAPE, UINT64_MAX - 15, 8);
}

static void hostile_dim_zero(struct build *b)
{
    hostile_poke(b, "blk.0.attn_q.weight", AT_SHAPE, 0, 8);
}

/* Each product fits, the sum of sizes does not: 2^62 elements of four bytes. */
static void hostile_size_overflow(struct build *b)
{
    hostile_tiny(b, NULL);
    size_t at = build_at(b, "token_embd.weight", AT_SHAPE);
    build_poke(b, at, UINT64_C(1) << 31, 8);
    build_poke(b, at + 8, UINT64_C(1) << 31, 8);
}

/* One that fits 64 bits; behind the metadata it does not, and would be a place within them. */
static void hostile_pad_wrap(struct build *b)
{
    hostile_tiny(b, NULL);
    build_poke(b, build_at(b, "output_norm.weight", AT_OFFSET), UINT64_MAX - 63, 8);
}

static void key_alignment(struct build *b)
{
    build_u32(b, "general.alignment", 0xffffffe0u);
}

static void hostile_alignment(struct build *b)
{
    hostile_tiny(b, key_alignment);
}

static void key_alignment_0(struct build *b)
{
    build_u32(b, "general.alignment", 0);
}

static void hostile_alignment_0(struct build *b)
{
    hostile_tiny(b, key_alignment_0);
}

/* A million rows where there are twelve: what lies behind the file would be weights. */
static void hostile_beyond_the_file(struct build *b)
{
    hostile_tiny(b, NULL);
    build_poke(b, build_at(b, "output.weight", AT_SHAPE) + 8, 1000000, 8);
}

/* The last tensor's last bytes are cut off. */
static void hostile_cut_off(struct build *b)
{
    hostile_tiny(b, NULL);
    b->file.size = b->needed - 1;
}

/* All tensors are in one place: each is within the file, together they are not. */
static void hostile_overlap(struct build *b)
{
    hostile_tiny(b, NULL);
    for (size_t i = 0; i < b->n_marks; i++) {
        if (b->marks[i].is_tensor) {
            build_poke(b, b->marks[i].at[AT_OFFSET], 0, 8);
        }
    }
    b->file.size = b->data_at + (size_t)TINY_VOCAB * 4 * 4;
}

/* ---- Hyper-parameters ------------------------------------------------------------------------ */

static void hostile_block_count(struct build *b)
{
    hostile_poke(b, "llama.block_count", AT_VALUE, 513, 4);
}

static void hostile_block_count_max(struct build *b)
{
    hostile_poke(b, "llama.block_count", AT_VALUE, 0xffffffffu, 4);
}

/* An integer where a program that does not ask reads an array, and the other way round. */
static void key_scores_of_bytes(struct build *b)
{
    static const int64_t bytes[3] = {1, 2, 3};
    static const char *const texts[TINY_VOCAB] = {"<unk>", "<s>", "</s>", "a", "b", "c",
                                                  "d",     "e",   "f",    "g", "h", "i"};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_texts(b, "tokenizer.ggml.tokens", texts, TINY_VOCAB);
    build_ints(b, "tokenizer.ggml.scores", SLM_TYPE_UINT8, bytes, 3);
}

/* Nothing stands behind them. */
static void hostile_scores_short(struct build *b)
{
    build_init(b);
    build_text(b, "general.architecture", "llama");
    key_scores_of_bytes(b);
    build_finish(b);
    b->file.size = b->needed;
}

static void key_tokens_of_numbers(struct build *b)
{
    static const int64_t numbers[TINY_VOCAB] = {1, INT64_MAX, -1};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_ints(b, "tokenizer.ggml.tokens", SLM_TYPE_UINT64, numbers, TINY_VOCAB);
}

static void hostile_tokens_of_numbers(struct build *b)
{
    hostile_tiny(b, key_tokens_of_numbers);
}

static void key_types_of_texts(struct build *b)
{
    static const char *const texts[TINY_VOCAB] = {"a", "b", "c", "d", "e", "f",
                                                  "g", "h", "i", "j", "k", "l"};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_texts(b, "tokenizer.ggml.tokens", texts, TINY_VOCAB);
    build_texts(b, "tokenizer.ggml.token_type", texts, TINY_VOCAB);
}

static void hostile_types_of_texts(struct build *b)
{
    hostile_tiny(b, key_types_of_texts);
}

static void key_head_count_texts(struct build *b)
{
    static const char *const texts[1] = {"4"};
    build_texts(b, "llama.attention.key_length", texts, 1);
}

static void hostile_head_count_texts(struct build *b)
{
    hostile_tiny(b, key_head_count_texts);
}

/* ---- Vocabularies ---------------------------------------------------------------------------- */

/* A token whose length does not fit 32 bits. */
static void key_token_length(struct build *b)
{
    build_text(b, "tokenizer.ggml.model", "llama");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, 2);
    build_put_string(&b->keys, "a", 1);
    build_put_int(&b->keys, UINT64_C(0x100000001), 8);
    build_put(&b->keys, "b", 1);
}

static void hostile_token_length(struct build *b)
{
    hostile_tiny(b, key_token_length);
}

/* Tokens of bytes that are none: minus one, no digits, cut off. Behind the last one comes the
 * length of a key, which is a '>'. */
static void key_byte_tokens(struct build *b)
{
    static const char *const texts[TINY_VOCAB] = {"<unk>",   "<s>",    "</s>",   "<0x-1>",
                                                  "<0xZZ>",  "<0x",    "<0x0",   "<0x0A>",
                                                  "<0x100>", "<0x+7>", "<0x 7>", "<0x0A"};
    static const int64_t types[TINY_VOCAB] = {2, 3, 3, 6, 6, 6, 6, 6, 6, 6, 6, 6};
    char key['>' + 1] = {0};
    memset(key, 'k', '>');
    build_text(b, "tokenizer.ggml.model", "llama");
    build_texts(b, "tokenizer.ggml.tokens", texts, TINY_VOCAB);
    build_u32(b, key, 1);
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, types, TINY_VOCAB);
}

static void hostile_byte_tokens(struct build *b)
{
    hostile_tiny(b, key_byte_tokens);
}

static void key_merge_without_space(struct build *b)
{
    static const char *const texts[3] = {"a", "b", "ab"};
    static const char *const merges[2] = {"a b", "ab"};
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_texts(b, "tokenizer.ggml.tokens", texts, 3);
    build_texts(b, "tokenizer.ggml.merges", merges, 2);
}

static void hostile_merge(struct build *b)
{
    hostile_tiny(b, key_merge_without_space);
}

static void key_special_ids(struct build *b)
{
    vocab_spm(b);
    build_int(b, "tokenizer.ggml.bos_token_id", SLM_TYPE_UINT32, 0x7fffffff);
    build_int(b, "tokenizer.ggml.eos_token_id", SLM_TYPE_INT64, INT64_MIN);
    build_int(b, "tokenizer.ggml.eot_token_id", SLM_TYPE_UINT64, 100000);
    build_int(b, "tokenizer.ggml.unknown_token_id", SLM_TYPE_INT32, -7);
    build_int(b, "tokenizer.ggml.add_eos_token", SLM_TYPE_BOOL, 2);
}

static void hostile_special_ids(struct build *b)
{
    struct tiny t = hostile_shape();
    t.keys = key_special_ids;
    t.n_vocab = VOCAB_SPM_TOKENS;
    t.type = 1;
    tiny_build(b, &t);
}

/* A vocabulary that the embedding has no rows for. */
static void hostile_vocab_longer(struct build *b)
{
    hostile_tiny(b, vocab_spm);
}

/* ---- Split files ----------------------------------------------------------------------------- */

static void key_split_count(struct build *b)
{
    build_int(b, "split.count", SLM_TYPE_INT64, INT64_MIN);
    build_int(b, "split.no", SLM_TYPE_UINT16, 0);
}

static void hostile_split_count(struct build *b)
{
    hostile_tiny(b, key_split_count);
}

/* Counted from 1 in the message, the largest number is one more than a signed one can be. */
static void key_split_number(struct build *b)
{
    build_int(b, "split.count", SLM_TYPE_UINT16, 2);
    build_int(b, "split.no", SLM_TYPE_INT64, INT64_MAX);
}

static void hostile_split_number(struct build *b)
{
    hostile_tiny(b, key_split_number);
}

/* ---- All ------------------------------------------------------------------------------------- */

static const struct hostile hostile_files[] = {
    {"cve-2024-21802-array-overflow", hostile_array_overflow, SLM_E_FORMAT, "2305843009213693952",
     "'a'"},
    {"cve-2024-21802-key-count", hostile_kv_count, SLM_E_FORMAT, "header claims",
     "18446744073709551615 keys"},
    {"cve-2024-21802-tensor-count", hostile_tensor_count, SLM_E_FORMAT, "header claims",
     "576460752303423488 tensors"},
    {"cve-2024-21802-string-length", hostile_string_length, SLM_E_FORMAT, "key at byte",
     "18446744073709551615 bytes"},
    {"cve-2024-32878-free-of-uninitialised", hostile_free_uninitialised, SLM_E_FORMAT,
     "string of an array", "left"},
    {"cve-2024-42477-tensor-type", hostile_type_id, SLM_E_UNSUPPORTED, "encoding 2147483647",
     "blk.0.attn_q.weight"},
    {"cve-2024-42477-tensor-type-removed", hostile_type_removed, SLM_E_UNSUPPORTED, "encoding 4 ",
     "blk.0.attn_q.weight"},
    {"cve-2024-42478-tensor-offset", hostile_data_offset, SLM_E_FORMAT, "not within the file",
     "blk.0.attn_q.weight"},
    {"cve-2024-42479-tensor-dimensions", hostile_n_dims, SLM_E_FORMAT, "4294967295 dimensions",
     "blk.0.attn_q.weight"},
    {"cve-2025-49847-token-length", hostile_token_length, SLM_E_FORMAT, "string of an array",
     "4294967297 bytes"},
    {"cve-2025-53630-dimensions-overflow", hostile_dims_overflow, SLM_E_FORMAT, "dimension 1 is 4",
     "blk.0.attn_q.weight"},
    {"cve-2025-53630-dimension-negative", hostile_dim_negative, SLM_E_FORMAT, "dimension 0",
     "blk.0.attn_q.weight"},
    {"cve-2025-53630-dimension-zero", hostile_dim_zero, SLM_E_FORMAT, "dimension 0 is 0",
     "blk.0.attn_q.weight"},
    {"cve-2026-27940-size-overflow", hostile_size_overflow, SLM_E_FORMAT, "too large",
     "token_embd.weight"},
    {"cve-2026-7482-tensor-beyond-the-file", hostile_beyond_the_file, SLM_E_FORMAT,
     "not within the file", "output.weight"},
    {"cve-2026-7482-file-cut-off", hostile_cut_off, SLM_E_FORMAT, "not within the file",
     "blk.0.ffn_norm.weight"},
    {"llama-25821-block-count", hostile_block_count, SLM_E_MODEL, "513: 1 to 512",
     "llama.block_count"},
    {"llama-25821-block-count-max", hostile_block_count_max, SLM_E_MODEL, "4294967295: 1 to 512",
     "llama.block_count"},
    {"llama-26318-pad-wrap", hostile_pad_wrap, SLM_E_FORMAT, "not within the file",
     "output_norm.weight"},
    {"llama-26318-alignment", hostile_alignment, SLM_E_FORMAT, "general.alignment is 4294967264",
     NULL},
    {"llama-26318-alignment-zero", hostile_alignment_0, SLM_E_FORMAT, "general.alignment is 0",
     NULL},
    {"llama-26690-scores-short", hostile_scores_short, SLM_E_MODEL, "3 elements for 12 tokens",
     "tokenizer.ggml.scores"},
    {"llama-26690-tokens-of-numbers", hostile_tokens_of_numbers, SLM_E_MODEL, "no array of strings",
     "tokenizer.ggml.tokens"},
    {"llama-26690-types-of-texts", hostile_types_of_texts, SLM_E_MODEL, "no array of integers",
     "tokenizer.ggml.token_type"},
    {"llama-26690-number-of-texts", hostile_head_count_texts, SLM_E_MODEL, "no integer",
     "llama.attention.key_length"},
    {"llama-27188-43-byte-hang", hostile_43_bytes, SLM_E_FORMAT, "9223372036854775808", "'k'"},
    {"llama-27188-nested-arrays", hostile_nested_arrays, SLM_E_FORMAT, "arrays of type 9", "'k'"},
    {"llama-25969-byte-tokens", hostile_byte_tokens, SLM_OK, NULL, NULL},
    {"ggml-1516-160-bytes-ask-for-gigabytes", hostile_160_bytes, SLM_E_FORMAT, "536870912",
     "tokenizer.ggml.tokens"},
    {"ggml-709-merge-without-space", hostile_merge, SLM_E_MODEL, "tokenizer.ggml.merges[1]",
     "'ab'"},
    {"ggml-709-special-ids", hostile_special_ids, SLM_OK, NULL, NULL},
    {"ggml-709-vocabulary-longer-than-embedding", hostile_vocab_longer, SLM_E_MODEL,
     "12 rows for a vocabulary", "token_embd.weight"},
    {"ollama-17042-string-length", hostile_string_value, SLM_E_FORMAT, "string at byte",
     "9223372036854775807 bytes"},
    {"lmstudio-2289-split-count", hostile_split_count, SLM_E_FORMAT, "split.count", "1 to 1024"},
    {"split-number-largest", hostile_split_number, SLM_E_FORMAT, "open the first one", "into 2"},
    {"tensors-that-overlap", hostile_overlap, SLM_E_FORMAT, "more than the file", NULL},
};

#define HOSTILE_FILES (sizeof hostile_files / sizeof *hostile_files)

#endif
