/* tokens.c - text to token ids, and back. */
#include "cli.h"

#include <stdlib.h>

static const struct cli_usage usage = {
    CLI_TOKENS,
    "tokens",
    "-m FILE [--special] [--bos] [--decode]",
    "Reads text from standard input and writes its token ids: one line of decimal numbers\n"
    "between spaces. With --decode reads such numbers and writes the text, byte for byte.\n"
    "Reads only the vocabulary of the model, none of its weights.\n",
    "  printf 'Once upon a time' | slm tokens -m story.gguf\n"
    "  echo 123 45 6 | slm tokens -m story.gguf --decode\n",
};

static int encode(const slm_model *model, const char *text, size_t size, uint32_t flags)
{
    struct cli_tokens tokens = {NULL, 0, 0};
    int code = cli_tokenize(model, text, size, flags, &tokens);
    if (code == CLI_GO) {
        for (size_t i = 0; i < tokens.n; i++) {
            printf(i == 0 ? "%d" : " %d", (int)tokens.data[i]);
        }
        putchar('\n');
        code = cli_finish();
    }
    free(tokens.data);
    return code;
}

static int decode_tokens(const slm_model *model, const struct cli_tokens *tokens, uint32_t flags)
{
    slm_error err;
    size_t capacity = tokens->n * 8 + 64; /* a guess; a second try knows */
    int status = SLM_E_SPACE;
    int code = CLI_FAILED;
    char *text = NULL;
    for (int i = 0; i < 2 && status == SLM_E_SPACE; i++) {
        size_t needed = 0;
        free(text);
        text = malloc(capacity);
        if (text == NULL) {
            return cli_fail("no memory for %zu bytes of text", capacity);
        }
        status =
            slm_detokenize(model, tokens->data, tokens->n, flags, text, capacity, &needed, &err);
        capacity = needed;
    }
    if (status != SLM_OK) {
        code = cli_fail("%s", err.message);
    } else if (cli_write(text, capacity) == CLI_GO) {
        code = cli_finish();
    }
    free(text);
    return code;
}

static int decode(const slm_model *model, const char *text, size_t size, uint32_t flags)
{
    struct cli_tokens tokens = {NULL, 0, 0};
    int code = cli_parse_tokens("standard input", text, size, &tokens);
    if (code == CLI_GO && tokens.n > 0) {
        code = decode_tokens(model, &tokens, flags);
    }
    free(tokens.data);
    return code == CLI_GO ? CLI_OK : code;
}

int cli_tokens_command(int argc, char **argv)
{
    struct cli_settings s;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (s.model == NULL) {
        return cli_wanted(&usage, "-m FILE");
    }
    uint32_t flags = (s.special ? SLM_TEXT_SPECIAL : 0) | (s.bos ? SLM_TEXT_BOS : 0);
    slm_model *model = NULL;
    char *text = NULL;
    size_t size = 0;
    code = cli_open_model(&model, s.model, SLM_LOAD_METADATA, &s);
    if (code == CLI_GO) {
        code = cli_read_all(NULL, &text, &size);
    }
    if (code == CLI_GO) {
        code = s.decode ? decode(model, text, size, flags) : encode(model, text, size, flags);
    }
    free(text);
    slm_model_free(model);
    return code;
}
