/* fuzz_output.c - any answer in any style, chosen by the first bytes: the same events whatever pieces
 * the text comes in, whole characters only, arguments of one line that end where they say. */
#include "fuzz.h"

static const char *const reasonings[] = {"",       "think",   "granite", "gemma4",  "mistral",
                                         "cohere", "harmony", "seed",    "minimax", "apriel"};
static const char *const calls[] = {
    "",       "qwen-tags",   "seed",       "minimax", "dsml", "minicpm",     "glm",
    "hermes", "mistral",     "phi4",       "granite", "kimi", "deepseek-r1", "deepseek-v3",
    "solar",  "functionary", "harmony",    "gemma4",  "lfm2", "apertus",     "gigachat",
    "cohere", "nemotron",    "tool-calls", "llama3"};

struct events {
    char *text; /* room for all of it: a call takes no more than six times its bytes, and a head */
    size_t n;
    size_t room;
    int32_t kind;
};

static void add(struct events *l, const char *s, size_t n)
{
    fuzz_check(n <= l->room - l->n, "more came out than can be: %zu", l->n + n);
    memcpy(l->text + l->n, s, n);
    l->n += n;
}

static void drain(slm_chat_output *o, struct events *l)
{
    slm_error err;
    for (;;) {
        slm_chat_event e = {.struct_size = sizeof e};
        fuzz_check(slm_chat_output_next(o, &e, &err) == SLM_OK, "%s", err.message);
        if (e.kind == SLM_CHAT_NONE || e.kind == SLM_CHAT_END) {
            return;
        }
        if (e.kind != l->kind || e.kind == SLM_CHAT_TOOL_CALL) {
            add(l,
                e.kind == SLM_CHAT_REASONING ? "\1"
                : e.kind == SLM_CHAT_ANSWER  ? "\2"
                                             : "\3",
                1);
        }
        l->kind = e.kind;
        if (e.kind == SLM_CHAT_TOOL_CALL) {
            fuzz_check(strlen(e.arguments) == e.size && e.arguments[0] == '{', "arguments");
            add(l, e.name, strlen(e.name));
        }
        for (size_t at = 0, bad; at < e.size;) {
            size_t n = fuzz_char((const uint8_t *)e.text + at, e.size - at, &bad);
            fuzz_check(n > 0, "half a character came out");
            at += n;
        }
        add(l, e.text, e.size);
    }
}

static void read_pieces(slm_chat_output *o, const char *text, size_t n, uint32_t seed,
                        struct events *l)
{
    slm_error err;
    l->n = 0;
    l->kind = 0;
    fuzz_check(slm_chat_output_begin(o, NULL, &err) == SLM_OK, "%s", err.message);
    for (size_t at = 0; at < n;) {
        seed = seed * 1664525u + 1013904223u;
        size_t size =
            seed >> 16 == 0 || (seed >> 20) % 9 + 1 > n - at ? n - at : (seed >> 20) % 9 + 1;
        fuzz_check(slm_chat_output_push(o, SLM_PIECE_TEXT, text + at, size, &err) == SLM_OK, "%s",
                   err.message);
        drain(o, l);
        at += size;
    }
    fuzz_check(slm_chat_output_push(o, SLM_PIECE_END, NULL, 0, &err) == SLM_OK, "%s", err.message);
    drain(o, l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size, 0};
    slm_chat_output_options options;
    slm_chat_output *o = NULL;
    slm_error err;
    size_t n = 0;
    slm_chat_output_options_init(&options, sizeof options);
    options.reasoning = reasonings[fuzz_u8(&in) % (sizeof reasonings / sizeof reasonings[0])];
    options.tool_calls = calls[fuzz_u8(&in) % (sizeof calls / sizeof calls[0])];
    uint32_t seed = fuzz_u8(&in);
    const char *text = fuzz_rest(&in, &n);
    fuzz_check(slm_chat_output_create(&o, NULL, &options, &err) == SLM_OK, "%s", err.message);
    struct events a = {(char *)malloc(64 * n + 4096), 0, 64 * n + 4096, 0};
    struct events b = {(char *)malloc(64 * n + 4096), 0, 64 * n + 4096, 0};
    fuzz_check(a.text != NULL && b.text != NULL, "no memory");
    read_pieces(o, text, n, seed, &a);
    read_pieces(o, text, n, seed + 77, &b);
    fuzz_check(a.n == b.n && memcmp(a.text, b.text, a.n) == 0, "pieces matter");
    slm_chat_output_free(o);
    free(a.text);
    free(b.text);
    return 0;
}
