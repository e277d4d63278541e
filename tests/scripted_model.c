/* scripted_model.c - writes a model that answers by heart, for tests of slm chat.
 *
 * usage: scripted_model FILE
 *
 * The next token depends on the last one alone: embeddings are unit vectors, layers add nothing, and
 * the output's row of a token is the sum of those it follows. The template ends each prompt with a
 * token from which the wanted answer runs. */
#include "fuzz/vocabs.h"

/* Control tokens first, then the texts of answers, each followed by the next one unless it says
 * otherwise. All texts are found as tokens in a text, so that an answer read again is the same. */
struct word {
    const char *text;
    int type;
    const char *next; /* NULL: the word behind it */
};

#define END "<|end|>"

static const struct word words[] = {
    {END, SLM_TOKEN_CONTROL, END},
    {"<|user|>", SLM_TOKEN_CONTROL, END},
    {"<|system|>", SLM_TOKEN_CONTROL, END},
    {"<|tool|>", SLM_TOKEN_CONTROL, END},
    {"<|bot|>", SLM_TOKEN_CONTROL, NULL},
    {"Hello", SLM_TOKEN_USER, NULL},
    {" there", SLM_TOKEN_USER, NULL},
    {" all.", SLM_TOKEN_USER, END},
    {"<think>", SLM_TOKEN_USER, NULL},
    {"One", SLM_TOKEN_USER, NULL},
    {" two", SLM_TOKEN_USER, NULL},
    {" three", SLM_TOKEN_USER, NULL},
    {" four", SLM_TOKEN_USER, NULL},
    {"</think>", SLM_TOKEN_USER, "Hello"},
    {"<|may_call|>", SLM_TOKEN_CONTROL, NULL},
    {"Wait.", SLM_TOKEN_USER, NULL},
    {"<tool_call>", SLM_TOKEN_USER, NULL},
    {"{\"name\": \"add\", \"arguments\": {\"a\":\n1}}", SLM_TOKEN_USER, NULL},
    {"</tool_call>", SLM_TOKEN_USER, END},
    {"<|result|>", SLM_TOKEN_CONTROL, NULL},
    {"The sum is 3.", SLM_TOKEN_USER, END},
    {"<|endless|>", SLM_TOKEN_CONTROL, NULL},
    {"on and ", SLM_TOKEN_USER, "on and "},
    {"<|hostile|>", SLM_TOKEN_CONTROL, NULL},
    {"a\033[2Jb\xE2\x82\xAC", SLM_TOKEN_USER, END},
};

static const char template_text[] =
    "{%- for m in messages -%}"
    "{%- if m.role == 'assistant' -%}{{ '<|bot|>' }}{%- else -%}{{ '<|' + m.role + '|>' }}"
    "{%- endif -%}{{ m.content }}"
    "{%- if m.reasoning_content is defined and loop.last -%}"
    "{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{%- endif -%}"
    "{%- for c in m.tool_calls -%}{{ '<tool_call>\\n{\"name\": \"' + c.function.name + "
    "'\", \"arguments\": ' }}{{ c.function.arguments | tojson }}{{ '}\\n</tool_call>' }}"
    "{%- endfor -%}{{ '<|end|>' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{%- if messages[-1].role == 'tool' -%}{{ '<|result|>' }}"
    "{%- elif messages[-1].content == 'endless' -%}{{ '<|endless|>' }}"
    "{%- elif messages[-1].content == 'hostile' -%}{{ '<|hostile|>' }}"
    "{%- elif messages[-1].content == 'refuse' -%}{{ raise_exception('I refuse') }}"
    "{%- elif tools -%}{{ '<|may_call|>' }}"
    "{%- elif enable_thinking is defined and enable_thinking -%}{{ '<|bot|><think>' }}"
    "{%- else -%}{{ '<|bot|>' }}{%- endif -%}{%- endif -%}";

#define N_WORDS ((int)(sizeof words / sizeof *words))
#define N_VOCAB (256 + N_WORDS)
#define N_EMBD 320
#define N_KV 8

static int find(const char *text)
{
    int i = 0;
    while (i < N_WORDS && strcmp(words[i].text, text) != 0) {
        i++;
    }
    return 256 + i;
}

static int next_of(int token)
{
    if (token == '\n') {
        return find("Hello"); /* what ends reasoning that has used up its budget ends so */
    }
    if (token < 256) {
        return find(END);
    }
    const char *next = words[token - 256].next;
    return next != NULL ? find(next) : token + 1;
}

static void put_keys(struct build *b)
{
    static const char *const merges[1] = {"0 0"}; /* there must be some; this one makes no token */
    build_text(b, "general.architecture", "llama");
    build_u32(b, "llama.block_count", 1);
    build_u32(b, "llama.context_length", 1 << 20);
    build_u32(b, "llama.embedding_length", N_EMBD);
    build_u32(b, "llama.feed_forward_length", 8);
    build_u32(b, "llama.attention.head_count", N_EMBD / N_KV);
    build_u32(b, "llama.attention.head_count_kv", 1);
    build_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_text(b, "tokenizer.ggml.pre", "llama-bpe");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, N_VOCAB);
    for (unsigned i = 0; i < N_VOCAB; i++) {
        char byte[4];
        size_t n = i < 256 ? vocab_byte_char(i, byte) : strlen(words[i - 256].text);
        build_put_string(&b->keys, i < 256 ? byte : words[i - 256].text, n);
    }
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, N_VOCAB);
    for (int i = 0; i < N_VOCAB; i++) {
        build_put_int(&b->keys, (uint64_t)(i < 256 ? SLM_TOKEN_NORMAL : words[i - 256].type), 4);
    }
    build_texts(b, "tokenizer.ggml.merges", merges, 1);
    build_u32(b, "tokenizer.ggml.bos_token_id", (uint32_t)find(END));
    build_u32(b, "tokenizer.ggml.eos_token_id", (uint32_t)find(END));
    build_int(b, "tokenizer.ggml.add_bos_token", SLM_TYPE_BOOL, 0);
    build_text(b, "tokenizer.chat_template", template_text);
}

/* One value on all of a vector or matrix, or what `at` sets. */
static void put_tensor(struct build *b, const char *name, int64_t n_in, int64_t n_out, float value,
                       void (*fill)(float *data))
{
    int64_t shape[2] = {n_in, n_out};
    size_t n = (size_t)(n_in * (n_out > 0 ? n_out : 1));
    float *data = (float *)malloc(n * sizeof *data);
    for (size_t i = 0; i < n; i++) {
        data[i] = value;
    }
    if (fill != NULL) {
        fill(data);
    }
    build_tensor_bytes(b, name, 0, n_out > 0 ? 2 : 1, shape, data, n * sizeof *data);
    free(data);
}

static void fill_embeddings(float *data)
{
    for (int i = 0; i < N_VOCAB; i++) {
        data[i * N_EMBD + i] = 1;
    }
}

static void fill_output(float *data)
{
    for (int i = 0; i < N_VOCAB; i++) {
        data[next_of(i) * N_EMBD + i] = 10;
    }
}

int main(int argc, char **argv)
{
    struct build b;
    build_init(&b);
    put_keys(&b);
    put_tensor(&b, "token_embd.weight", N_EMBD, N_VOCAB, 0, fill_embeddings);
    put_tensor(&b, "output_norm.weight", N_EMBD, 0, 1, NULL);
    put_tensor(&b, "output.weight", N_EMBD, N_VOCAB, 0, fill_output);
    put_tensor(&b, "blk.0.attn_norm.weight", N_EMBD, 0, 1, NULL);
    put_tensor(&b, "blk.0.attn_q.weight", N_EMBD, N_EMBD, 0, NULL);
    put_tensor(&b, "blk.0.attn_k.weight", N_EMBD, N_KV, 0, NULL);
    put_tensor(&b, "blk.0.attn_v.weight", N_EMBD, N_KV, 0, NULL);
    put_tensor(&b, "blk.0.attn_output.weight", N_EMBD, N_EMBD, 0, NULL);
    put_tensor(&b, "blk.0.ffn_norm.weight", N_EMBD, 0, 1, NULL);
    put_tensor(&b, "blk.0.ffn_gate.weight", N_EMBD, 8, 0, NULL);
    put_tensor(&b, "blk.0.ffn_up.weight", N_EMBD, 8, 0, NULL);
    put_tensor(&b, "blk.0.ffn_down.weight", 8, N_EMBD, 0, NULL);
    build_finish(&b);
    FILE *to = argc == 2 ? fopen(argv[1], "wb") : NULL;
    if (to == NULL || fwrite(b.file.data, 1, b.file.size, to) != b.file.size || fclose(to) != 0) {
        fprintf(stderr, "scripted_model: cannot write %s\n",
                argc == 2 ? argv[1] : "without a name");
        return 1;
    }
    build_free(&b);
    return 0;
}
