/* story.c - the storyteller through the reference kernels, for a comparison between platforms: the
 * text it tells, and one number made of the bits of every logit on the way.
 *
 *     story [MODEL]
 *
 * The model is read with stdio and opened in memory, so that a build without files can do it too;
 * any other build must open it by name as well. Compiles as C11 and C++17. */
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif
#include "../testing.h"
#include "../../slm.h"

#define N_TOKENS 60

/* By value, not by the bytes in memory: the same on every byte order. */
static uint64_t hash_row(uint64_t hash, const float *row, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        hash = (hash ^ bits) * UINT64_C(1099511628211);
    }
    return hash;
}

static int32_t best_of(const float *row, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

static int write_token(const slm_model *model, slm_text_stream *stream, int32_t token,
                       slm_error *err)
{
    char text[4096];
    size_t size = 0;
    int status = slm_decode_token(model, stream, token, 0, text, sizeof text, &size, err);
    if (status == SLM_OK) {
        fwrite(text, 1, size, stdout);
    }
    return status;
}

static int tell_story(slm_context *context, const slm_model *model, slm_error *err)
{
    static const char prompt[] = "Once upon a time";
    int32_t tokens[64];
    size_t n = 0;
    uint64_t hash = UINT64_C(1469598103934665603);
    slm_text_stream stream;
    slm_model_info info;
    memset(&stream, 0, sizeof stream);
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    int status = slm_model_get_info(model, &info, err);
    if (status == SLM_OK) {
        status = slm_tokenize(model, prompt, sizeof prompt - 1, SLM_TEXT_BOS, tokens, 64, &n, err);
    }
    for (int i = 0; status == SLM_OK && i < N_TOKENS; i++) {
        const float *row = NULL;
        slm_span span;
        memset(&span, 0, sizeof span);
        span.struct_size = (uint32_t)sizeof span;
        span.position = -1;
        span.n_tokens = (int32_t)n;
        span.tokens = tokens;
        span.want = SLM_WANT_LAST;
        status = slm_eval(context, &span, 1, sizeof span, NULL, err);
        if (status == SLM_OK) {
            status = slm_logits(context, -1, &row, NULL, err);
        }
        if (status == SLM_OK) {
            hash = hash_row(hash, row, info.n_vocab);
            tokens[0] = best_of(row, info.n_vocab);
            n = 1;
            status = write_token(model, &stream, tokens[0], err);
        }
    }
    printf("\nbits %08lx%08lx\n", (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffffu));
    return status;
}

static int open_by_name(const char *path, slm_error *err)
{
    slm_model *model = NULL;
    int status = slm_model_open(&model, path, NULL, err);
    slm_model_free(model);
#ifdef SLM_NO_FILES
    return status == SLM_E_UNSUPPORTED ? SLM_OK : SLM_E_IO;
#else
    return status;
#endif
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : TESTING_STORYTELLER;
    slm_error err;
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_model_options options;
    size_t size = 0;
#ifdef _WIN32
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    char *data = testing_read(path, &size);
    if (data == NULL) {
        fprintf(stderr, "story: cannot read %s\n", path);
        return 1;
    }
    const void *file = data;
    memset(&err, 0, sizeof err);
    slm_model_options_init(&options, sizeof options);
    options.cpu = 0;
    int status = open_by_name(path, &err);
    if (status == SLM_OK) {
        status = slm_model_open_memory(&model, &file, &size, 1, &options, &err);
    }
    if (status == SLM_OK) {
        status = slm_context_create(&context, model, NULL, &err);
    }
    if (status == SLM_OK) {
        status = tell_story(context, model, &err);
    }
    if (status != SLM_OK) {
        fprintf(stderr, "story: %s (%s)\n", err.message, slm_status_name(status));
    }
    slm_context_free(context);
    slm_model_free(model);
    free(data);
    return status == SLM_OK ? 0 : 1;
}
