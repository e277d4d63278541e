/* vocabs.h - two small good vocabularies for fuzzers, as keys of a GGUF file. */
#ifndef FUZZ_VOCABS_H
#define FUZZ_VOCABS_H

#include "../gguf_build.h"

static const char *const vocab_words[] = {"\xE2\x96\x81",
                                          "e",
                                          "t",
                                          "a",
                                          "o",
                                          "n",
                                          "h",
                                          "\xE2\x96\x81t",
                                          "th",
                                          "he",
                                          "\xE2\x96\x81th",
                                          "\xE2\x96\x81the",
                                          "an",
                                          "\xE2\x96\x81o",
                                          "en",
                                          "\xC3\xA9",
                                          "on",
                                          "\xE2\x96\x81\xE2\x96\x81"};

#define VOCAB_WORDS (sizeof vocab_words / sizeof *vocab_words)
#define VOCAB_SPM_TOKENS (3 + 256 + VOCAB_WORDS + 2)

/* SentencePiece: <unk> <s> </s>, a token for each byte, words, a user-defined and a control one. */
static TESTING_UNUSED void vocab_spm(struct build *b)
{
    static const char *const first[3] = {"<unk>", "<s>", "</s>"};
    static const char *const last[2] = {"<user>", "<|control|>"};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, VOCAB_SPM_TOKENS);
    for (size_t i = 0; i < VOCAB_SPM_TOKENS; i++) {
        char byte[8];
        snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(i - 3) & 255);
        const char *text = i < 3                   ? first[i]
                           : i < 259               ? byte
                           : i < 259 + VOCAB_WORDS ? vocab_words[i - 259]
                                                   : last[i - 259 - VOCAB_WORDS];
        build_put_string(&b->keys, text, strlen(text));
    }
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, VOCAB_SPM_TOKENS);
    for (size_t i = 0; i < VOCAB_SPM_TOKENS; i++) {
        build_put_f32(&b->keys, i < 259 ? 0.0f : -(float)(i * 7 % 31));
    }
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, VOCAB_SPM_TOKENS);
    for (size_t i = 0; i < VOCAB_SPM_TOKENS; i++) {
        int type = i == 0 ? SLM_TOKEN_UNKNOWN : i < 3 ? SLM_TOKEN_CONTROL : SLM_TOKEN_BYTE;
        type = i >= 259 ? SLM_TOKEN_NORMAL : type;
        type = i == VOCAB_SPM_TOKENS - 2 ? SLM_TOKEN_USER : type;
        type = i == VOCAB_SPM_TOKENS - 1 ? SLM_TOKEN_CONTROL : type;
        build_put_int(&b->keys, (uint64_t)type, 4);
    }
}

/* The character that stands for a byte in a byte-level vocabulary. */
static size_t vocab_byte_char(unsigned byte, char *out)
{
    unsigned point = byte;
    unsigned hidden = 0;
    for (unsigned i = 0; i <= byte; i++) {
        int shown = (i >= 33 && i <= 126) || (i >= 161 && i != 173);
        point = shown ? i : 256 + hidden++;
    }
    if (point < 128) {
        out[0] = (char)point;
        return 1;
    }
    out[0] = (char)(0xc0 | point >> 6);
    out[1] = (char)(0x80 | (point & 63));
    return 2;
}

#define VOCAB_BPE_TOKENS (256 + 5 + 2)

/* Byte-level BPE: all bytes, some merges, a user-defined and a control token. */
static TESTING_UNUSED void vocab_bpe(struct build *b)
{
    static const char *const merged[] = {"\xC4\xA0t", "he", "\xC4\xA0the", "an", "12"};
    static const char *const merges[] = {"\xC4\xA0 t", "h e", "\xC4\xA0t he", "a n", "1 2"};
    static const char *const last[2] = {"<td>", "<|endoftext|>"};
    size_t n = VOCAB_BPE_TOKENS;
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_text(b, "tokenizer.ggml.pre", "llama-bpe");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        char byte[4];
        size_t size = i < 256 ? vocab_byte_char((unsigned)i, byte) : 0;
        const char *text = i < 256 ? byte : i < 261 ? merged[i - 256] : last[i - 261];
        build_put_string(&b->keys, text, i < 256 ? size : strlen(text));
    }
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, n);
    for (size_t i = 0; i < n; i++) {
        int type = i < 261 ? SLM_TOKEN_NORMAL : i == 261 ? SLM_TOKEN_USER : SLM_TOKEN_CONTROL;
        build_put_int(&b->keys, (uint64_t)type, 4);
    }
    build_texts(b, "tokenizer.ggml.merges", merges, 5);
    build_u32(b, "tokenizer.ggml.bos_token_id", 262);
    build_u32(b, "tokenizer.ggml.eos_token_id", 262);
}

#endif
