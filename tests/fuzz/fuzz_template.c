/* fuzz_template.c - any template over any conversation: the input is a template, a zero byte, JSON.
 *
 * What has no '@' and no escape cannot write one: where an '@' of the conversation comes out, it is
 * content. */
#include "fuzz.h"

#define TEMPLATE_MEMORY ((uint64_t)32 << 20)

static void check_segments(const slm_chat_prompt *prompt, int owns_sign)
{
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    size_t at = 0;
    fuzz_check(slm_chat_prompt_get_info(prompt, &info, NULL) == SLM_OK, "no info");
    for (int32_t i = 0; i < info.n_segments; i++) {
        const slm_chat_segment *s = &info.segments[i];
        fuzz_check(s->size > 0 && s->text == info.text + at, "segment %d", i);
        fuzz_check(i == 0 || s->kind != info.segments[i - 1].kind, "segment %d", i);
        fuzz_check(owns_sign || s->kind == SLM_SEGMENT_CONTENT || !memchr(s->text, '@', s->size),
                   "content became the template's: %.*s", (int)s->size, s->text);
        at += s->size;
    }
    fuzz_check(at == info.size, "%zu of %zu bytes", at, info.size);
}

static int run(const char *text, size_t n, const char *json, size_t n_json, int32_t fails_in)
{
    struct fuzz_memory memory = fuzz_memory(0);
    slm_chat_template *t = NULL;
    slm_chat_prompt *prompt = NULL;
    slm_chat_template_options to;
    slm_chat_options o;
    slm_error err;
    slm_chat_template_options_init(&to, sizeof to);
    slm_chat_options_init(&o, sizeof o);
    memory.fails_in = fails_in;
    to.alloc = fuzz_alloc;
    to.alloc_user = &memory;
    to.max_bytes = TEMPLATE_MEMORY;
    to.bos_token = "<s>";
    o.now = 1774182896;
    int status = slm_chat_template_create(&t, NULL, text, n, &to, &err);
    fuzz_status(status, &err);
    if (status == SLM_OK) {
        status = slm_chat_render(&prompt, t, json, n_json, &o, &err);
        fuzz_status(status, &err);
    }
    fuzz_check((status == SLM_OK) == (prompt != NULL), "%s", err.message);
    if (prompt != NULL) {
        check_segments(prompt, memchr(text, '@', n) != NULL || memchr(text, '\\', n) != NULL);
    }
    slm_chat_template_free(t);
    slm_chat_prompt_free(prompt);
    fuzz_all_freed(&memory);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    clock_t begin = clock();
    const uint8_t *zero = size > 0 ? (const uint8_t *)memchr(data, 0, size) : NULL;
    size_t n = zero != NULL ? (size_t)(zero - data) : size;
    size_t n_json = zero != NULL ? size - n - 1 : 0;
    char *text = (char *)fuzz_copy(data, n);
    char *json = (char *)fuzz_copy(data + (zero != NULL ? n + 1 : n), n_json);
    if (run(text, n, json, n_json, 0) == SLM_OK && size > 0) {
        for (int32_t at = 1; at < 8; at++) {
            run(text, n, json, n_json, at);
        }
    }
    free(text);
    free(json);
    fuzz_in_time(begin);
    return 0;
}
