/* fuzz_json.c - any text as JSON: it is read or refused, and what was read is written so that it is
 * read as the same again. */
#include "fuzz.h"

/* What the template makes of the text, to be freed; NULL if it is refused. */
static char *both_ways(const slm_chat_template *t, const char *text, size_t size, size_t *n)
{
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    slm_error err;
    int status = slm_chat_render(&prompt, t, text, size, NULL, &err);
    fuzz_status(status, &err);
    if (status != SLM_OK) {
        fuzz_check(status == SLM_E_ARGUMENT || status == SLM_E_TEMPLATE, "%s", err.message);
        fuzz_check(err.position <= (int64_t)size, "%s", err.message);
        return NULL;
    }
    slm_chat_prompt_get_info(prompt, &info, NULL);
    char *copy = (char *)fuzz_copy(info.text, info.size);
    *n = info.size;
    slm_chat_prompt_free(prompt);
    return copy;
}

static int has_infinity(const char *text, size_t n)
{
    static const char word[] = "Infinity";
    for (size_t i = 0; i + sizeof word - 1 <= n; i++) {
        if (memcmp(text + i, word, sizeof word - 1) == 0) {
            return 1;
        }
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char source[] = "{{ messages|tojson }}";
    struct fuzz_memory memory = fuzz_memory(64 * size);
    slm_chat_template *t = NULL;
    slm_chat_template_options o;
    clock_t begin = clock();
    size_t n = 0;
    size_t again = 0;
    slm_chat_template_options_init(&o, sizeof o);
    o.alloc = fuzz_alloc;
    o.alloc_user = &memory;
    fuzz_check(slm_chat_template_create(&t, NULL, source, sizeof source - 1, &o, NULL) == SLM_OK,
               "no template");
    char *text = (char *)fuzz_copy(data, size);
    char *first = both_ways(t, text, size, &n);
    /* Infinity is written as Python does, which is no JSON. */
    int is_json = first != NULL && !has_infinity(first, n);
    if (is_json) {
        char *second = both_ways(t, first, n, &again);
        fuzz_check(second != NULL && n == again && memcmp(first, second, n) == 0,
                   "'%.*s' became '%.*s'", (int)n, first, (int)again, second);
        free(second);
    }
    free(first);
    free(text);
    slm_chat_template_free(t);
    fuzz_all_freed(&memory);
    fuzz_in_time(begin);
    return 0;
}
