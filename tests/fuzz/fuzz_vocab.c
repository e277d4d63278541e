/* fuzz_vocab.c - a vocabulary made of the input, and the rest of the input as text for it.
 *
 * The file is well-formed, so that every input gets as far as the vocabulary: tokens, scores,
 * types, merges (of tokens or of any text), special ids and flags are the input's. Lengths from 224
 * on stand for texts that mean something. */
#include "text.h"

#include "../gguf_build.h"

static const char *const known[] = {"<0x0A>",
                                    "<0x00>",
                                    "<0xfF>",
                                    "<0x-1>",
                                    "<0xZZ>",
                                    "<0x0A",
                                    "\xE2\x96\x81",
                                    "\xC4\xA0",
                                    "\xC4\x8A",
                                    "<s>",
                                    "</s>",
                                    "<unk>",
                                    "<|eot_id|>",
                                    "<|im_end|>",
                                    "<|end|>",
                                    "<|call|>",
                                    "<|return|>",
                                    "<mask>",
                                    "[MASK]",
                                    "<|endoftext|>",
                                    "<fim_prefix>",
                                    "<|channel|>",
                                    "<|eom_id|>",
                                    " ",
                                    "\n",
                                    "\xE2",
                                    "\xE2\x96",
                                    "\x96\x81",
                                    "<end_of_turn>",
                                    "<|tool_response>",
                                    "a\xE2\x96\x81",
                                    "\xE2\x96\x81\xE2\x96\x81"};

static const char *const models[] = {"llama", "gpt2", "llama", "gpt2", "none", "no_vocab", "t5"};

/* Of first bytes from 224 on. */
static const char *const more_models[] = {"gemma4", "bert", "t5", "rwkv", "gpt2"};

/* Every way to cut, one unknown name, and one that comes with a rule for <mask>. */
static const char *const pres[] = {
    "default",        "llama3",      "minicpm5", "qwen2",  "ufakzeka",   "qwen35",
    "gpt-2",          "starcoder",   "tekken",   "gpt-4o", "tiny_aya",   "falcon",
    "deepseek-coder", "deepseek-v3", "spark2_5", "youtu",  "seed-coder", "poro-chat",
    "viking",         "superbpe",    "laguna",   "afmoe",  "jina-v2-de", "no such one"};

static const char *const more_pres[] = {"deepseek-llm", "chameleon",  "kimi-k2", "jais-2",
                                        "exaone-moe",   "whitespace", "gemma4",  "sarvam-moe"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char *choose(uint8_t byte, const char *const *first, size_t n_first,
                          const char *const *more, size_t n_more)
{
    return byte >= 224 ? more[(byte - 224u) % n_more] : first[byte % n_first];
}
#define VOCAB_TOKENS 40

struct vocabulary {
    const char *text[VOCAB_TOKENS];
    size_t size[VOCAB_TOKENS];
    size_t n;
};

static const char *input_token(struct fuzz_input *in, size_t *size)
{
    uint8_t n = in->at < in->size ? in->data[in->at] : 0;
    if (n >= 224) {
        const char *text = known[fuzz_u8(in) % COUNT(known)];
        *size = strlen(text);
        return text;
    }
    return fuzz_text(in, 24, size);
}

static void put_tokens(struct build *b, struct fuzz_input *in, struct vocabulary *v, int bytes)
{
    v->n = 1 + fuzz_u8(in) % VOCAB_TOKENS;
    for (size_t i = 0; i < v->n; i++) {
        v->text[i] = input_token(in, &v->size[i]);
    }
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, v->n + (bytes ? 256 : 0));
    for (size_t i = 0; i < v->n; i++) {
        build_put_string(&b->keys, v->text[i], v->size[i]);
    }
    for (int i = 0; bytes && i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        build_put_string(&b->keys, name, 6);
    }
}

/* The tokens of bytes, behind the input's, have score 0 and their type. */
static void put_numbers(struct build *b, struct fuzz_input *in, size_t n, size_t n_bytes,
                        int scores, int types)
{
    static const float special[4] = {-1e30f, 0.0f, 1e30f, -1.0f / 3};
    if (scores) {
        build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, n + n_bytes);
        for (size_t i = 0; i < n + n_bytes; i++) {
            uint8_t byte = i < n ? fuzz_u8(in) : 0;
            build_put_f32(&b->keys, byte < 250 ? -(float)byte : special[byte % 4]);
        }
    }
    if (types) {
        build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, n + n_bytes);
        for (size_t i = 0; i < n + n_bytes; i++) {
            uint8_t byte = i < n ? fuzz_u8(in) : SLM_TOKEN_BYTE;
            build_put_int(&b->keys, byte % 8 != 0 ? byte % 8 : byte, 4);
        }
    }
}

static void put_merges(struct build *b, struct fuzz_input *in, const struct vocabulary *v)
{
    size_t n = fuzz_u8(in) % 32;
    build_array(b, "tokenizer.ggml.merges", SLM_TYPE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        size_t left = fuzz_u8(in);
        if (left >= 250) {
            size_t size = 0;
            const char *text = input_token(in, &size);
            build_put_string(&b->keys, text, size);
            continue;
        }
        size_t right = fuzz_u8(in) % v->n;
        left %= v->n;
        build_put_int(&b->keys, v->size[left] + 1 + v->size[right], 8);
        build_put(&b->keys, v->text[left], v->size[left]);
        build_put(&b->keys, " ", 1);
        build_put(&b->keys, v->text[right], v->size[right]);
    }
}

static void put_ids(struct build *b, struct fuzz_input *in)
{
    static const char *const keys[] = {
        "tokenizer.ggml.bos_token_id",     "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.unknown_token_id",
        "tokenizer.ggml.padding_token_id", "tokenizer.ggml.eom_token_id",
        "tokenizer.ggml.prefix_token_id",  "tokenizer.ggml.fim_pad_token_id"};
    static const char *const flags[] = {"tokenizer.ggml.add_bos_token",
                                        "tokenizer.ggml.add_eos_token",
                                        "tokenizer.ggml.add_space_prefix"};
    uint8_t wanted = fuzz_u8(in);
    for (size_t i = 0; i < COUNT(keys); i++) {
        if ((wanted >> i & 1) != 0) {
            uint8_t id = fuzz_u8(in);
            build_int(b, keys[i], id < 128 ? SLM_TYPE_UINT32 : SLM_TYPE_INT64,
                      id < 250 ? id : -(int64_t)id);
        }
    }
    wanted = fuzz_u8(in);
    for (size_t i = 0; i < COUNT(flags); i++) {
        if ((wanted >> i & 1) != 0) {
            build_int(b, flags[i], SLM_TYPE_BOOL, wanted >> (i + 4) & 1);
        }
    }
    if (wanted >= 0xe0) {
        build_text(b, "general.name", wanted >= 0xf0 ? "Phi-3 mini" : "Modern-BERT");
    }
}

#define MAP_NODES 1024

/* A charsmap: some nodes, and replacements. */
static void put_charsmap(struct build *b, struct fuzz_input *in)
{
    uint32_t nodes[MAP_NODES] = {0};
    size_t n_strings = 0;
    for (size_t n = fuzz_u8(in) % 32; n > 0; n--) {
        uint32_t at = fuzz_u8(in);
        at = (at | (uint32_t)fuzz_u8(in) << 8) % MAP_NODES;
        for (unsigned shift = 0; shift < 32; shift += 8) {
            nodes[at] |= (uint32_t)fuzz_u8(in) << shift;
        }
    }
    const char *strings = fuzz_text(in, 24, &n_strings);
    build_array(b, "tokenizer.ggml.precompiled_charsmap", SLM_TYPE_UINT8,
                4 + sizeof nodes + n_strings);
    build_put_int(&b->keys, sizeof nodes + (n_strings == 23 ? 4 : 0), 4);
    for (size_t i = 0; i < MAP_NODES; i++) {
        build_put_int(&b->keys, nodes[i], 4);
    }
    build_put(&b->keys, strings, n_strings);
}

/* The rest of the input is the text. */
static void make_vocabulary(struct build *b, struct fuzz_input *in)
{
    struct vocabulary v;
    uint8_t first = fuzz_u8(in);
    const char *model = choose(first, models, COUNT(models), more_models, COUNT(more_models));
    const char *pre = choose(fuzz_u8(in), pres, COUNT(pres), more_pres, COUNT(more_pres));
    uint8_t has = fuzz_u8(in);
    memset(&v, 0, sizeof v);
    build_init(b);
    build_text(b, "general.architecture", "llama");
    build_text(b, "tokenizer.ggml.model", model);
    build_text(b, "tokenizer.ggml.pre", pre);
    put_tokens(b, in, &v, (has & 1) != 0);
    put_numbers(b, in, v.n, (has & 1) != 0 ? 256 : 0, (has & 2) != 0, (has & 4) != 0);
    if (strcmp(model, "gpt2") == 0 || strcmp(model, "gemma4") == 0 || (has & 8) != 0) {
        put_merges(b, in, &v);
    }
    put_ids(b, in);
    if (first >= 224) {
        for (unsigned bit = 0; bit < 3; bit++) {
            static const char *const flags[] = {"remove_extra_whitespaces", "normalizer.lowercase",
                                                "normalizer.strip_accents"};
            char key[64];
            snprintf(key, sizeof key, "tokenizer.ggml.%s", flags[bit]);
            build_int(b, key, SLM_TYPE_BOOL, has >> (5 + bit) & 1);
        }
        if ((has & 16) != 0) {
            put_charsmap(b, in);
        }
    }
    build_finish(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size, 0};
    struct fuzz_memory memory = fuzz_memory(size);
    slm_model_options o;
    slm_model *model = NULL;
    struct build b;
    slm_error err;
    clock_t begin = clock();
    size_t n = 0;
    make_vocabulary(&b, &in);
    const char *rest = fuzz_rest(&in, &n);
    char *text = (char *)fuzz_copy(rest, n);
    const void *file = b.file.data;
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    o.alloc = fuzz_alloc;
    o.alloc_user = &memory;
    int status = slm_model_open_memory(&model, &file, &b.file.size, 1, &o, &err);
    fuzz_status(status, &err);
    fuzz_opened(&memory, b.file.size);
    for (uint32_t flags = 0; status == SLM_OK && flags < 4; flags++) {
        size_t back_size = 0;
        free(text_both_ways(model, text, n, flags, &back_size));
    }
    slm_model_free(model);
    fuzz_all_freed(&memory);
    free(text);
    build_free(&b);
    fuzz_in_time(begin);
    return 0;
}
