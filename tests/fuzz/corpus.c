/* corpus.c - writes the hand-made part of tests/corpus: make corpus. Finds of the fuzzers lie beside
 * it under names that begin with find-.
 *
 *     corpus FOLDER    writes FOLDER/gguf, FOLDER/split, ... */
#include "families.h"
#include "hostile.h"

#include <sys/stat.h>

static const char *folder;

static void save(const char *fuzzer, const char *name, const void *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, fuzzer);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, fuzzer, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        fprintf(stderr, "%s cannot be written\n", path);
        exit(1);
    }
}

static void save_build(const char *name, struct build *b)
{
    save("gguf", name, b->file.data, b->file.size);
    build_free(b);
}

/* ---- Good models, to be changed -------------------------------------------------------------- */

/* A model whose matrices have rows of 32 or 256 elements, in an encoding of such blocks, with
 * everything else as small as can be; norms are Q8_0. */
static void good_encoded(struct build *b, int32_t type, int64_t n_embd)
{
    static const char *const names[] = {"token_embd",        "blk.0.attn_q",   "blk.0.attn_k",
                                        "blk.0.attn_v",      "blk.0.ffn_gate", "blk.0.ffn_up",
                                        "blk.0.attn_output", "blk.0.ffn_down", "output_norm",
                                        "blk.0.attn_norm",   "blk.0.ffn_norm"};
    static const int64_t rows[] = {4, 2, 2, 2, 1, 1};
    slm_encoding_info e = {.struct_size = sizeof e};
    slm_encoding_find(type, NULL, &e, NULL);
    build_init(b);
    build_text(b, "general.architecture", "llama");
    build_u32(b, "llama.block_count", 1);
    build_u32(b, "llama.context_length", 64);
    build_u32(b, "llama.embedding_length", (uint32_t)n_embd);
    build_u32(b, "llama.feed_forward_length", 1);
    build_u32(b, "llama.attention.head_count", 1);
    build_u32(b, "llama.attention.key_length", 2);
    build_u32(b, "llama.attention.value_length", 2);
    build_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint8_t data[8192];
        char name[64];
        int is_matrix = i < 6, is_down = i == 6 || i == 7;
        int64_t shape[2] = {is_down ? (i == 6 ? 2 : 1) : n_embd, is_down ? n_embd : 1};
        shape[1] = is_matrix ? rows[i] : shape[1];
        uint32_t as = is_matrix ? (uint32_t)type : is_down ? 1 : 8;
        int64_t size = is_matrix ? n_embd / e.block_elements * e.block_bytes * rows[i]
                       : is_down ? 2 * shape[0] * n_embd
                                 : n_embd / 32 * 34;
        snprintf(name, sizeof name, "%s.weight", names[i]);
        for (int64_t k = 0; k < size && k < (int64_t)sizeof data; k++) {
            data[k] = (uint8_t)(int8_t)(build_weight(name, (uint64_t)k) * 60);
        }
        build_tensor_bytes(b, name, as, is_matrix || is_down ? 2 : 1, shape, data, (size_t)size);
    }
    build_finish(b);
}

static void keys_many(struct build *b)
{
    static const int64_t heads[2] = {4, 4};
    static const char *const tags[3] = {"a", "", "\xff"};
    build_text(b, "general.name", "phi-3");
    build_ints(b, "test.int16", SLM_TYPE_INT16, heads, 2);
    build_texts(b, "test.tags", tags, 3);
    build_f64(b, "test.f64", 1.5);
    build_int(b, "test.i64", SLM_TYPE_INT64, -5);
    build_int(b, "test.u64", SLM_TYPE_UINT64, -5);
    build_int(b, "test.i8", SLM_TYPE_INT8, -5);
    build_int(b, "test.bool", SLM_TYPE_BOOL, 1);
    build_ints(b, "test.empty", SLM_TYPE_FLOAT32, heads, 0);
    build_text(b, "tokenizer.chat_template", "{{ messages }}");
    build_text(b, "llama.rope.scaling.type", "yarn");
    build_f32(b, "llama.rope.scaling.factor", 4);
    build_f32(b, "llama.rope.freq_base", 50000);
    build_u32(b, "llama.rope.scaling.original_context_length", 16);
    build_u32(b, "llama.rope.dimension_count", 4);
    build_u32(b, "llama.attention.key_length", 4);
}

static void tensors_many(struct build *b)
{
    static const int64_t one[1] = {1}, two[1] = {2}, eight[1] = {8}, other[3] = {3, 2, 1};
    build_tensor(b, "rope_freqs.weight", 1, two);
    build_tensor(b, "output.scale", 1, one);
    build_tensor(b, "blk.0.attn_output.bias", 1, eight);
    build_tensor(b, "unused", 3, other);
}

static void good_families(void)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct build b;
        slm_model *model = NULL;
        slm_error err;
        char family[32], name[64];
        family_build(&b, families[i], family);
        const void *data = b.file.data;
        if (slm_model_open_memory(&model, &data, &b.file.size, 1, NULL, &err) != SLM_OK) {
            fprintf(stderr, "%s: %s\n", family, err.message);
            exit(1);
        }
        slm_model_free(model);
        snprintf(name, sizeof name, "good-%s", family);
        save_build(name, &b);
    }
}

static void broken_sizes(void)
{
    for (size_t i = 0; i < sizeof broken_families / sizeof broken_families[0]; i++) {
        struct build b;
        char family[32];
        family_build(&b, broken_families[i].line, family);
        save_build(broken_families[i].name, &b);
    }
}

static void good_models(void)
{
    struct build b;
    struct tiny t = hostile_shape();
    tiny_build(&b, &t);
    save_build("good-llama", &b);
    t.keys = keys_many;
    t.tensors = tensors_many;
    t.n_embd = 8;
    t.n_head = 2;
    t.n_ff = 4;
    t.alignment = 64;
    t.n_layer = 2;
    t.biases = 1;
    t.version = 2;
    tiny_build(&b, &t);
    save_build("good-everything", &b);
    t = hostile_shape();
    t.fused = 1;
    t.biases = 1;
    t.family = "qwen2";
    tiny_build(&b, &t);
    save_build("good-qwen2-fused", &b);
    t = hostile_shape();
    t.keys = vocab_spm;
    t.n_vocab = VOCAB_SPM_TOKENS;
    t.type = 1;
    tiny_build(&b, &t);
    save_build("good-spm", &b);
    build_init(&b);
    build_text(&b, "general.architecture", "gpt2");
    vocab_bpe(&b);
    build_finish(&b);
    save_build("good-bpe-vocabulary", &b);
    for (int32_t type = 2; type < 43; type++) {
        slm_encoding_info e = {.struct_size = sizeof e};
        char name[64];
        if (slm_encoding_find(type, NULL, &e, NULL) == SLM_OK) {
            good_encoded(&b, type, e.block_elements > 32 ? 256 : 32);
            snprintf(name, sizeof name, "encoding-%s", e.name);
            save_build(name, &b);
        }
    }
}

/* ---- Rules of the format and of models, one broken in each ------------------------------------ */

static void broken_fields(void)
{
    static const struct {
        const char *name, *where;
        int field;
        uint64_t value;
        int size;
    } pokes[] = {
        {"magic", NULL, 0, 0x46475547, 4},
        {"version-big-endian", NULL, 4, 0x03000000, 4},
        {"version-1", NULL, 4, 1, 4},
        {"key-of-no-bytes", "general.architecture", AT_NAME, 0, 8},
        {"key-too-long", "general.architecture", AT_NAME, 65536, 8},
        {"value-type", "llama.block_count", AT_TYPE, 13, 4},
        {"value-type-real", "llama.block_count", AT_TYPE, SLM_TYPE_FLOAT32, 4},
        {"heads-0", "llama.attention.head_count", AT_VALUE, 0, 4},
        {"heads-3", "llama.attention.head_count", AT_VALUE, 3, 4},
        {"kv-heads-3", "llama.attention.head_count_kv", AT_VALUE, 3, 4},
        {"epsilon-nan", "llama.attention.layer_norm_rms_epsilon", AT_VALUE, 0x7fc00000, 4},
        {"epsilon-negative", "llama.attention.layer_norm_rms_epsilon", AT_VALUE, 0xbf800000, 4},
        {"epsilon-renamed", "llama.attention.layer_norm_rms_epsilon", AT_NAME + 100, 'x', 1},
        {"embedding-renamed", "token_embd.weight", AT_NAME + 100, 'x', 1},
        {"norm-renamed", "blk.0.attn_norm.weight", AT_NAME + 100, 'x', 1},
        {"architecture-unknown", "general.architecture", AT_VALUE + 100, 'x', 1},
        {"architecture-no-text", "general.architecture", AT_NAME + 100, 'x', 1},
        {"tensor-name-long", "token_embd.weight", AT_NAME, 64, 8},
        {"tensor-blocks", "token_embd.weight", AT_TYPE, 8, 4},
        {"tensor-shape", "token_embd.weight", AT_SHAPE, 2, 8},
        {"tensor-offset-odd", "output_norm.weight", AT_OFFSET, 33, 8},
        {"tensor-integers", "blk.0.attn_norm.weight", AT_TYPE, 26, 4},
    };
    for (size_t i = 0; i < sizeof pokes / sizeof pokes[0]; i++) {
        struct build b;
        char name[64];
        int field = pokes[i].field;
        hostile_tiny(&b, NULL);
        size_t at = pokes[i].where == NULL
                        ? (size_t)field
                        : build_at(&b, pokes[i].where, field % 100) + (field >= 100 ? 8 : 0);
        build_poke(&b, at, pokes[i].value, (size_t)pokes[i].size);
        snprintf(name, sizeof name, "rule-%s", pokes[i].name);
        save_build(name, &b);
    }
}

/* One key of a wrong kind, or with a value out of range, beside the good ones. */
static const struct broken_key {
    const char *name, *key;
    uint32_t type;
    int64_t value;
} broken[] = {
    {"alignment-type", "general.alignment", SLM_TYPE_UINT64, 32},
    {"key-twice", "llama.block_count", SLM_TYPE_UINT32, 1},
    {"rope-odd", "llama.rope.dimension_count", SLM_TYPE_UINT8, 3},
    {"rope-scaling-number", "llama.rope.scaling.type", SLM_TYPE_INT16, 1},
    {"rope-base-0", "llama.rope.freq_base", SLM_TYPE_INT8, 0},
    {"rope-base-text", "llama.rope.freq_base", SLM_TYPE_STRING, 0},
    {"rope-scaling-unknown", "llama.rope.scaling.type", SLM_TYPE_STRING, 0},
    {"experts", "llama.expert_count", SLM_TYPE_UINT32, 8},
    {"head-of-2000", "llama.attention.key_length", SLM_TYPE_UINT32, 2000},
    {"head-text", "llama.attention.value_length", SLM_TYPE_STRING, 0},
    {"split-second", "split.count", SLM_TYPE_UINT16, 2},
    {"tokenizer-number", "tokenizer.ggml.model", SLM_TYPE_UINT16, 2},
    {"tokenizer-alone", "tokenizer.ggml.model", SLM_TYPE_STRING, 0},
    {"pre-number", "tokenizer.ggml.pre", SLM_TYPE_UINT16, 2},
    {"general-name-number", "general.name", SLM_TYPE_BOOL, 2},
    {"flag-text", "tokenizer.ggml.add_bos_token", SLM_TYPE_STRING, 0},
    {"id-text", "tokenizer.ggml.bos_token_id", SLM_TYPE_STRING, 0},
};

static const struct broken_key *breaking;

static int broken_has_vocabulary(void)
{
    return strcmp(breaking->name, "flag-text") == 0 || strcmp(breaking->name, "id-text") == 0;
}

static void put_broken(struct build *b)
{
    if (broken_has_vocabulary()) {
        vocab_spm(b);
    }
    if (breaking->type == SLM_TYPE_STRING) {
        build_text(b, breaking->key, breaking->value == 0 ? "wrong" : "llama");
    } else {
        build_int(b, breaking->key, breaking->type, breaking->value);
    }
}

static void broken_keys(void)
{
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct build b;
        char name[64];
        struct tiny t = hostile_shape();
        breaking = &broken[i];
        t.n_embd = 2;
        t.n_vocab = broken_has_vocabulary() ? VOCAB_SPM_TOKENS : TINY_VOCAB;
        t.type = 1;
        t.keys = put_broken;
        tiny_build(&b, &t);
        snprintf(name, sizeof name, "rule-%s", breaking->name);
        save_build(name, &b);
    }
}

/* Numbers that are arrays, one a layer: right, and too few. */
static void put_heads(struct build *b)
{
    static const int64_t heads[2] = {1, 1};
    build_ints(b, "llama.attention.head_count", SLM_TYPE_UINT8, heads, 2);
}

static void put_heads_few(struct build *b)
{
    static const int64_t heads[2] = {1, 1};
    build_ints(b, "llama.attention.head_count", SLM_TYPE_INT16, heads, 1);
}

static void layer_arrays(void)
{
    struct build b;
    struct tiny t = hostile_shape();
    t.n_layer = 2;
    t.without = "attention.head_count";
    t.keys = put_heads;
    tiny_build(&b, &t);
    save_build("good-heads-by-layer", &b);
    t.keys = put_heads_few;
    tiny_build(&b, &t);
    save_build("rule-heads-by-layer", &b);
}

/* ---- Split models ---------------------------------------------------------------------------- */

static void save_split(const char *name, int n_files, int shards, int mixed_up)
{
    struct build_bytes all = {NULL, 0, 0};
    struct build parts[4];
    build_put_int(&all, (uint64_t)n_files - 1, 1);
    for (int i = 0; i < n_files; i++) {
        struct tiny t = hostile_shape();
        t.n_shards = shards;
        t.shard = mixed_up ? (n_files - i) % n_files : i;
        if (shards < 0) { /* of so many the last */
            t.n_shards = -shards;
            t.shard = -shards - 1;
        }
        tiny_build(&parts[i], &t);
        build_put_int(&all, parts[i].file.size, 4);
    }
    for (int i = 0; i < n_files; i++) {
        build_put(&all, parts[i].file.data, parts[i].file.size);
        build_free(&parts[i]);
    }
    save("split", name, all.data, all.size);
    free(all.data);
}

static void split_models(void)
{
    save_split("good-two", 2, 2, 0);
    save_split("good-three", 3, 3, 0);
    save_split("mixed-up", 3, 3, 1);
    save_split("second-alone", 1, -2, 0);
    save_split("too-few", 2, 3, 0);
    save_split("too-many", 3, 2, 0);
    save("split", "empty-files", "\5\0\0\0\0\0", 6);
}

/* ---- Texts, vocabularies, prompts ------------------------------------------------------------ */

#define SAVE(fuzzer, name, text) save(fuzzer, name, text, sizeof text - 1)

static void texts(void)
{
    SAVE("text", "story",
         "\0Once upon a time, there was a little girl.\n\nShe said: \"It's 1234!\"");
    SAVE("text", "special", "\0<s>a</s> <unk><|endoftext|><0x41> <|user|>");
    SAVE("text", "spm-special", "\1<s>the</s> <user> the<|control|> <unk><0x0A>");
    SAVE("text", "spm-spaces", "\1  the   an \xE2\x96\x81\xE2\x96\x81 a\n");
    SAVE("text", "spm-utf8", "\1\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xE2\x96");
    SAVE("text", "bpe-utf8", "\2 the\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xE2\x96");
    SAVE("text", "bpe-words", "\2I'm 1234567 the the\r\n\r\n  ?!... <user><|endoftext|>\t x");
    SAVE("text", "bpe-last-planes", "\2\xF0\xAF\xA0\x80\xF3\xA0\x84\x80\xF4\x8F\xBF\xBFx");
    SAVE("text", "cve-2025-52566-tokens-without-room", "\2\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
    SAVE("text", "wrong-utf8",
         "\1\xFF\xC0\x80\xE0\x80\x80\xED\xA0\x80\xF4\x90\x80\x80\xF0\x9F\x98 \xC3");
    SAVE("text", "wrong-utf8-bpe",
         "\2\xFF\xC0\x80\xE0\x80\x80\xED\xA0\x80\xF4\x90\x80\x80\xF0\x9F\x98 \xC3");
    SAVE("text", "empty", "\0");
    SAVE("text", "zeros", "\1a\0\0\0b");
}

static void vocabularies(void)
{
    SAVE("vocab", "spm-bytes", "\0\0\7\3\1a\1b\2ab\3\xE2\x96\x81\5\5\5\5\1\1\1\1\0\x11 ab b\n");
    SAVE("vocab", "bpe-merges", "\1\0\6\4\1a\1b\2ab\1c\3abc\1\1\1\1\1\2\0\1\2\3\0\0ab abc\n\xff");
    SAVE("vocab", "bpe-llama3", "\1\1\6\2\1a\1b\2ab\1\1\1\1\0\1\0\0 12345 I'm ab\n");
    SAVE("vocab", "byte-tokens", "\0\0\4\5\xE0\xE3\xE4\xE5\xE1\xE2\6\6\6\6\6\6\0\0 a\n\0");
    SAVE("vocab", "names",
         "\0\0\4\6\xE8\xEC\xED\xEE\xEF\xF0\xFD\4\4\4\4\4\3\3\0\xF0<|end|> <mask>");
    SAVE("vocab", "ids-out-of-range", "\0\0\0\1\1a\1b\xff\xff\xfa\xfb\xfc\xfd\xfe\x80\x81\x11 ab");
    SAVE("vocab", "control-of-one-letter", "\0\0\4\2\1x\1a\1b\2\3\3\0\0abc");
    SAVE("vocab", "none", "\4\0\0\1\1a");
    SAVE("vocab", "mask", "\1\x16\4\2\1a\xF1\1b\1\4\1\0\0\0a \t<mask> b");
    SAVE("vocab", "modern-bert",
         "\1\0\4\2\1a\xF2\1b\1\4\1\0\0\xE0"
         "a \t[MASK] b");
    SAVE("vocab", "phi-3", "\0\0\4\3\1a\xE9\xEA\xEB\1\3\3\3\0\xF0<s>  a</s> <unk> a");
    SAVE("vocab", "tool-response", "\0\0\4\2\xEA\xFD\1a\3\3\1\0\0</s>a<|tool_response>");
    SAVE("vocab", "same-text-twice", "\0\0\4\3\1a\1a\0\2aa\1\1\1\1\0\0aaa");
    SAVE("vocab", "merge-broken", "\1\0\0\0\1a\1\xFF\3a b\0\0ab");
    SAVE("vocab", "merges-twice", "\1\0\0\2\1a\1b\2ab\2\0\1\0\1\0\0abab");
    SAVE("vocab", "wordpiece",
         "\xE1\0\x44\6\5[UNK]\5[SEP]\4\xE2\x96\x81"
         "a\1b\4\xE2\x96\x81,\4\xE2\x96\x81o\2\3\1\1\1\1\x08\0\0"
         "Ab a,b \xC3\x96 \xE4\xB8\xAD\xEA\xB0\x80 \xFF[SEP]");
    SAVE("vocab", "wordpiece-without-unknown",
         "\xE1\0\x04\2\4\xE2\x96\x81"
         "a\1b\1\1\x08\x80\x80\0ab ax");
    SAVE("vocab", "unigram",
         "\xE2\0\x26\6\5<unk>\3\xE2\x96\x81\1a\1b\2ab\4\xE2\x96\x81"
         "a\0\2\3\3\4\2\2\1\1\1\1\1\x08\0\0ab  a x\xFF");
    /* Node 0 leads "A" to node 64, which says that node 66 has the offset of a replacement. */
    SAVE("vocab", "unigram-charsmap",
         "\xE2\0\x36\3\5<unk>\3\xE2\x96\x81\1a\0\2\3\2\1\1\x08\0\0"
         "\3\0\0\0\4\0\0\x40\0\x41\x09\0\0\x42\0\0\0\0\x80\2a\0AaA b");
    SAVE("vocab", "unigram-charsmap-outside",
         "\xE2\0\x36\3\5<unk>\3\xE2\x96\x81\1a\0\2\3\2\1\1\x08\0\0"
         "\3\0\0\0\4\0\0\x40\0\x41\x09\0\0\x42\0\xFF\xFF\xFF\xFF\2a\0AaA b");
    SAVE("vocab", "unigram-charsmap-endless",
         "\xE2\0\x36\3\5<unk>\3\xE2\x96\x81\1a\0\2\3\2\1\1\x08\0\0"
         "\3\0\0\0\4\0\0\x40\0\x41\x09\0\0\x42\0\0\0\0\x80\4aaaaAaA b");
    SAVE("vocab", "unigram-without-scores", "\xE2\0\4\1\1a\1\0\0a");
    SAVE("vocab", "rwkv",
         "\xE3\0\4\6\1a\2\\n\4\\xE2\4\\x8\2\\\\\3abc\1\1\1\1\1\1\0\0"
         "abca\n\xE2\\\x08 ab");
    SAVE("vocab", "gemma4",
         "\xE0\0\5\4\1a\3\xE2\x96\x81\1\n\2\n\n\1\1\1\1\2\1\0\0\1\0\0"
         "a a  a\n\n\n\xE4\xB8\xAD\xFF");
    for (unsigned i = 0; i < 8; i++) {
        static const char rest[] = "\4\3\1a\1b\1\x30\2ab\1\1\1\1\2\0\1\3\3\0\0"
                                   "I'm we'LL the cat 12345 x1 ab  ab\r\n\n \t!?///    1 "
                                   "<sentinel:12>IMGIMGABZ A\xE4\xB8\xAD\xE3\x80\x87 "
                                   "e\xCC\x81 \xC2\xA0\xE3\x80\x80 \xF0\x9F\x98\x80 \xFF_$\n  ";
        char data[256] = {(char)0xE4, (char)(0xE0 + i)};
        char name[64];
        memcpy(data + 2, rest, sizeof rest - 1);
        snprintf(name, sizeof name, "pre-more-%u", i);
        save("vocab", name, data, sizeof rest + 1);
    }
    for (unsigned i = 0; i < 24; i++) {
        static const char rest[] = "\4\3\1a\1b\1\x30\2ab\1\1\1\1\2\0\1\3\3\0\0"
                                   "I'm we'LL 12345 1234567 x1 ab  ab\r\n\n \t!?.../// "
                                   "\xC3\x89t\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87"
                                   "\xE3\x81\xAA\xE0\xB8\x81 e\xCC\x81 \xC2\xA0\xE2\x82\xAC "
                                   "camelCase HTTPServer \xF0\x9F\x98\x80 \xFF_$\n";
        char data[256] = {1, (char)i};
        char name[64];
        memcpy(data + 2, rest, sizeof rest - 1);
        snprintf(name, sizeof name, "pre-%02u", i);
        save("vocab", name, data, sizeof rest + 1);
    }
}

/* See fuzz_prompt.c and script.h for what each byte is. */
static void prompts(void)
{
    SAVE("prompt", "greedy", "\0\0\0the an");
    SAVE("prompt", "tokens", "\0\0\x14\x10\5\1\2\3\4\5");
    SAVE("prompt", "both", "\0\0\x90\3\1\2\3the");
    SAVE("prompt", "cancel", "\0\0\x20the an the an the an the an the an");
    SAVE("prompt", "deadline", "\0\0\x60the an the an the an");
    SAVE("prompt", "long",
         "\0\0\0the an the an the an the an the an the an the an the an the an the an the an "
         "the an the an the an the an the an the an");
    SAVE("prompt", "special", "\0\0\2\3<s></s><|control|>");
    SAVE("prompt", "healed", "\0\0\2\x96the o");
    SAVE("prompt", "healed-special", "\0\0\2\x80<|control|>t");
    SAVE("prompt", "healed-cancel", "\0\0\x22\x82the t");
    SAVE("prompt", "healed-bpe", "\x10\0\2\x82 an the t");
    SAVE("prompt", "limit-0", "\0\0\4\0the");
    SAVE("prompt", "limit-3", "\0\0\4\3the");
    SAVE("prompt", "empty", "");
    SAVE("prompt", "no-text", "\0\0\2\0");
    SAVE("prompt", "bytes-of-three-tokens",
         "\x14\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
    SAVE("prompt", "end-token-dropped", "\x14\0\2\1the");
    SAVE("prompt", "after-others", "\x0A\0\x28\0the");
    SAVE("prompt", "after-too-many", "\x0A\0\x30\0the");
}

static void prompts_refused(void)
{
    SAVE("prompt", "refused-limit", "\0\0\4\xFBthe");
    SAVE("prompt", "refused-sequence", "\0\0\1\xFFthe");
    SAVE("prompt", "refused-flags", "\0\0\2\4the");
    SAVE("prompt", "refused-17-stops", "\0\0\x08\x11the");
    SAVE("prompt", "refused-empty-stop", "\0\0\x08\1\0the");
    SAVE("prompt", "refused-no-tokens", "\x50\0\0the");
    SAVE("prompt", "refused-tokens-below-0", "\x50\0\x10\3\1\2\3");
    SAVE("prompt", "refused-token", "\0\0\x10\3\1\2\xFF");
    for (int i = 0; i < 12; i++) { /* the first six allocations from the context, from the model */
        char data[] = "\5\0?\x08\1\2hethe an";
        char name[64];
        data[2] = (char)(2 * (i % 6) + (i < 6));
        snprintf(name, sizeof name, "no-memory-%s-%d", i < 6 ? "context" : "model", i % 6);
        save("prompt", name, data, sizeof data - 1);
    }
}

static void prompts_of_stages(void)
{
    SAVE("prompt", "stages",
         "\4\1\1\2\2\1\0\2\0\0\2\x14\0\0\0\3\1\2\0\0\5\2\1\4\x09\7\x0C\x14\2\1a\2he the");
    SAVE("prompt", "stages-cancel",
         "\4\1\1\2\2\1\0\4\0\0\4\3\x09\0\0\5\1\1\4\x09\6\1\0\0\0\7\x24\x14the an the an the an");
    SAVE("prompt", "stage-cold", "\1\1\1\2\2\1\0\0\0\0\7\4\5the");
    SAVE("prompt", "stage-min-p-few", "\1\1\1\2\2\4\x20\x03\0\0\7\4\5the");
    SAVE("prompt", "stage-penalties-off", "\1\1\1\2\2\5\xFF\1\4\x09\7\4\5the");
    SAVE("prompt", "stage-biases-infinite", "\1\5\x0B\6\x0D\6\1\0\0\0\7\4\5the");
    SAVE("prompt", "end-token", "\1\2\6\2\6\6\1\0\0\0\7\0the");
    SAVE("prompt", "end-token-bpe", "\x15\xF7\6\1\1\6\1\0\0\0\7\0the");
    SAVE("prompt", "stop-within-a-character", "\1\xA0\6\1\1\6\1\0\0\0\7\x08\1\1\xBFthe");
    SAVE("prompt", "stop-held-back", "\1\xA0\6\1\1\6\1\0\0\0\7\x0C\x09\1\5\xEF\xBF\xBD\xEF!the");
    SAVE("prompt", "no-candidate-left",
         "\4\5\6\6\1\6\1\0\0\0\2\1\0\0\0\5\1\x0A\x0A\x0A\5\1\x0A\x0A\x0A\7\0the");
    SAVE("prompt", "stage-unknown", "\1\1\1\2\2\x0F\1\2\3\4\7\0the");
    SAVE("prompt", "stage-dynamic", "\1\1\1\2\2\7\0\3\1\3\7\4\5the");
    SAVE("prompt", "stage-top-n-sigma", "\1\1\1\2\2\x08\0\3\0\0\7\4\5the");
    SAVE("prompt", "stage-typical", "\1\1\1\2\2\x09\2\2\0\0\7\4\5the");
    SAVE("prompt", "stage-xtc", "\1\1\1\2\2\x0A\1\3\x09\0\7\4\5the");
    SAVE("prompt", "stage-dry", "\1\1\1\2\2\x0B\x05\1\0\4\7\4\x14the the the");
    SAVE("prompt", "stage-dry-breakers", "\1\1\1\2\2\x0B\x05\1\1\4\7\4\x14the the the");
    SAVE("prompt", "stage-mirostat", "\1\1\1\2\2\x0C\x14\3\1\0\7\4\x14the");
    SAVE("prompt", "stage-mirostat-2", "\1\1\1\2\2\x0D\0\3\1\0\7\4\x14the");
    SAVE("prompt", "stage-adaptive", "\1\1\1\2\2\x0E\0\1\2\0\7\4\x14the");
    SAVE("prompt", "stage-not-last", "\2\1\1\2\2\x0D\0\3\1\0\2\1\0\0\0\7\0the");
    SAVE("prompt", "stage-unread", "\1\1\1\2\2\1\1\2\0\0\7\0the");
    SAVE("prompt", "stage-value-nan", "\1\1\1\2\2\1\0\x0C\0\0\7\0the");
    SAVE("prompt", "stage-window", "\1\1\1\2\2\5\x7F\1\1\1\7\0the");
    SAVE("prompt", "stage-repeat-0", "\1\1\1\2\2\5\1\1\0\1\7\0the");
    SAVE("prompt", "stage-frequency-nan", "\1\1\1\2\2\5\1\1\1\x0C\7\0the");
    SAVE("prompt", "stage-biases-below-0", "\1\1\1\2\2\6\x80\0\0\0\7\0the");
    SAVE("prompt", "stage-biases-null", "\1\1\1\2\2\6\x7F\0\0\0\7\0the");
    SAVE("prompt", "stage-bias-nan", "\1\1\x0C\2\2\6\1\0\0\0\7\0the");
    SAVE("prompt", "stage-bias-token", "\1\xFF\1\2\2\6\1\0\0\0\7\0the");
}

/* Calls of a script, of the stages before it: temperature, top-p, penalties. */
#define STAGES "\x2B\1\1\2\2\1\0\4\0\0\3\1\2\0\0\5\2\1\4\x09\7"
#define EVAL(sequence, n, token) "\0\1\1" sequence n token
#define EVAL_2(first, second, n) "\1\2\1" first n "\7\1" second n "\x09"
#define FORK(from, to) "\2" from to
#define REWIND(sequence, half) "\3" sequence half
#define SAMPLE "\5\x10"

static void scripts(void)
{
    SAVE("prompt", "script-fork",
         "\x28\0" EVAL("\0", "\x40", "\1") EVAL("\0", "\x40", "\2") EVAL("\0", "\x20", "\3")
             FORK("\0", "\1") FORK("\1", "\2") FORK("\2", "\2") EVAL_2("\0", "\1", "\x0A")
                 REWIND("\0", "\x58") EVAL("\0", "\x3F", "\4") FORK("\3", "\1") FORK("\4", "\0"));
    SAVE("prompt", "script-pages",
         "\x28\0" EVAL("\0", "\x40", "\1") EVAL("\0", "\x40", "\2") EVAL("\0", "\x40", "\3")
             FORK("\0", "\1") FORK("\0", "\2") FORK("\0", "\3") EVAL_2("\0", "\1", "\x40")
                 EVAL_2("\2", "\3", "\x40") EVAL_2("\0", "\1", "\x10") EVAL("\2", "\x40", "\5"));
    SAVE("prompt", "cve-2026-21869-rewind",
         "\x28\0" EVAL("\0", "\x40", "\1") REWIND("\0", "\x25") REWIND("\0", "\x1F")
             EVAL("\0", "\1", "\6") REWIND("\0", "\xFF") REWIND("\0", "\x20")
                 EVAL("\0", "\x40", "\x08") REWIND("\4", "\x20") REWIND("\xFF", "\x20"));
    SAVE("prompt", "script-refused",
         "\x28\0" EVAL("\4", "\1", "\1") EVAL("\0", "\0", "\1")
             EVAL("\0", "\1", "\xFF") "\0\1\xC9\0\5\2\1\0\1\7\0\2\1\0\1\2\0\7\1\0\0");
    SAVE("prompt", "script-stopped",
         "\x28\0\0\5\1\0\x40\1\x10\0\6\1\0\x40\2\2\1\x40\3\x20\0\x09\1\1\2\3" EVAL("\0", "\x40",
                                                                                   "\4"));
    SAVE("prompt", "script-sample",
         STAGES EVAL("\0", "\5", "\1") SAMPLE SAMPLE "\6\1\7\6\x7F\1\6\x40\1\6\xFF\1\6\1\xFF" SAMPLE
                                                     "\5\0\5\7\5\1");
    SAVE("prompt", "script-candidates",
         STAGES "\7\2\0\0\0\0\1\0\0\x80\x3F\2\0\0\x80\x7F\3\7\2\0\0\xC0\x7F\1\0\0\x80\xFF\2\0\0\xC0"
                "\xFF\3\7\0\0\0\x80\xFF\1\7\0\0\0\0\0\xFF\7\1\0\0\0\0\1\0\0\0\0\1");
}

/* A template, a zero byte, a conversation. */
static void templates(void)
{
    SAVE("template", "turns",
         "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content|trim }}{% endfor %}\0"
         "[{\"role\": \"user\", \"content\": \" @a\\n\"}, {\"role\": \"@\", \"content\": \"b\"}]");
    SAVE(
        "template", "macro",
        "{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() }}{% endmacro %}"
        "{% call m('x') %}{{ messages|tojson(indent=2) }}{% endcall %}\0[{\"a\": [1, 2.5, null]}]");
    SAVE("template", "blocks",
         "{%- set ns = namespace(x=0) -%}{% for k, v in d|dictsort if v %}"
         "{% if loop.first %}{% continue %}{% elif v > 3 %}{% break %}{% endif %}"
         "{% set ns.x = ns.x + v %}{% else %}none{% endfor %}{{ ns.x }}"
         "{% filter upper %}{% raw %}{{ a }}{% endraw %}{% endfilter %}\0"
         "{\"messages\": [], \"d\": {\"a\": 1, \"B\": 2, \"c\": 5}}");
    SAVE("template", "strings",
         "{{ s[::-1] }}{{ s.split('a', 1) }}{{ s|replace('a', '@')|title }}{{ '%5.2f|%s' % (1.5, "
         "s) }}"
         "{{ '{0:>8}{a!r}'.format(s, a=[s]) }}{{ s.strip('x').partition('b') }}\0"
         "{\"messages\": [], \"s\": \"xaBab\\u00e9\\ud83d\\ude42\"}");
    SAVE("template", "numbers",
         "{{ 7 // 2 ** 3 % 5 - -1.5e3 / 3 }}{{ n|int }}{{ n|float|round(2) }}{{ 2.5|round }}\0"
         "{\"messages\": [], \"n\": \"12.345\"}");
    SAVE("template", "filters",
         "{{ messages|selectattr('role', 'in', ['a', "
         "'b'])|map(attribute='n')|list|sort|unique|join }}"
         "{{ messages|groupby('role') }}{{ messages|batch(2, 0)|list }}{{ messages|sum('n') }}\0"
         "[{\"role\": \"a\", \"n\": 2}, {\"role\": \"b\", \"n\": 1}, {\"role\": \"c\", \"n\": 1}]");
    SAVE("template", "endless-loop",
         "{% set s = 'a' * 9999 %}{% for a in range(99999) %}{{ 'b' in s }}{% endfor %}\0[]");
    SAVE("template", "endless-macro", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}\0[]");
    SAVE("template", "macro-in-its-default",
         "{% macro m(x=m()) %}{{ x }}{% endmacro %}{{ m() }}\0[]");
    SAVE("template", "endless-text",
         "{% set ns = namespace(s='aaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
         "{% endfor %}\0[]");
    SAVE(
        "template", "deep-values",
        "{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}"
        "{{ ns.x }}\0[]");
    SAVE("template", "deep-brackets", "{{ ((((((((((((((((((((((((((((((1)))))))))))) }}\0[]");
    SAVE("template", "date", "{{ strftime_now('%Y-%m-%d %-d %B %j') }}\0[]");
    SAVE("template", "raise", "\n{{ raise_exception('no @' ~ messages) }}\0[\"@\"]");
    SAVE("json", "values",
         "[null, true, -1.5e-3, \"\\u00e9\\ud83d\\ude42\\ud800\\n\", {\"a\": [], \"a\": {}}]");
    SAVE(
        "json", "numbers",
        "[9223372036854775808, 0.30000000000000004, 1e400, 5e-324, -0, -0.0, 1e16, 123456789.125]");
    SAVE("json", "deep",
         "[[[[[[[[[[[[[[[[[[[[{\"a\":[[[[[[[[[[[[1]]]]]]]]]]]]}]]]]]]]]]]]]]]]]]]]]");
    SAVE("json", "open", "[{\"a\": [\"b");
    SAVE("json", "messages", "{\"messages\": [{\"role\": \"user\"}], \"tools\": []}");
}

/* The first three bytes are the styles of reasoning and calls, and how the text is cut. */
static void outputs(void)
{
    SAVE("output", "bare", "\000\x18\001{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\"");
    SAVE("output", "gemma",
         "\003\x11\x09<|channel>thought\nh<channel|><|tool_call>call:f{s:<|\"|>a<|\"|>,o:{k:[1,{}]}"
         "}<tool_call|>");
    SAVE("output", "hermes",
         "\001\007\003<think>\na\n</think>\n\nb <tool_call>\n{\"name\": \"f\", \"arguments\": "
         "{\"s\": \"</tool_call>\"}}\n</tool_call>");
    SAVE(
        "output", "mistral",
        "\004\x08\001[THINK]h[/THINK][TOOL_CALLS]f[CALL_ID]c1[ARGS]{\"n\": 1}[TOOL_CALLS]g[ARGS]{");
    SAVE("output", "python",
         "\000\x12\x11<|tool_call_start|>[f(a='it\\'s', b=[1, True])]<|tool_call_end|>");
    SAVE("output", "tags",
         "\001\001\005x<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</"
         "tool_call>");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: corpus FOLDER\n");
        return 1;
    }
    folder = argv[1];
    mkdir(folder, 0777);
    for (size_t i = 0; i < HOSTILE_FILES; i++) {
        struct build b;
        hostile_files[i].make(&b);
        save_build(hostile_files[i].name, &b);
    }
    good_models();
    good_families();
    broken_sizes();
    broken_fields();
    broken_keys();
    layer_arrays();
    split_models();
    texts();
    vocabularies();
    prompts();
    prompts_refused();
    prompts_of_stages();
    scripts();
    templates();
    outputs();
    return 0;
}
