/* process.h - the whole path from a file to logits and text, through a table of functions: those of
 * any copy of slm, linked in or loaded. */
#ifndef PROCESS_H
#define PROCESS_H

#include <dlfcn.h>

#include "../slm.h"
#include "testing.h"

#define PROCESS_VOCAB 8192

/* Where the build puts the library; the Makefile says. */
#ifndef PROCESS_LIBRARY
#define PROCESS_LIBRARY "build/libslm.so"
#endif
#ifndef PROCESS_DECOY
#define PROCESS_DECOY "build/process_decoy"
#endif

#define PROCESS_FUNCTIONS(F)                                                                       \
    F(version)                                                                                     \
    F(status_name)                                                                                 \
    F(clock_ns)                                                                                    \
    F(cpu_features)                                                                                \
    F(cpu_feature_name)                                                                            \
    F(encoding_find)                                                                               \
    F(model_options_init)                                                                          \
    F(model_open)                                                                                  \
    F(model_open_memory)                                                                           \
    F(model_open_callback)                                                                         \
    F(model_free)                                                                                  \
    F(model_get_info)                                                                              \
    F(model_metadata)                                                                              \
    F(model_metadata_find)                                                                         \
    F(model_tensor)                                                                                \
    F(tokenize)                                                                                    \
    F(detokenize)                                                                                  \
    F(decode_token)                                                                                \
    F(token_get_info)                                                                              \
    F(token_find)                                                                                  \
    F(threads_options_init)                                                                        \
    F(threads_create)                                                                              \
    F(threads_free)                                                                                \
    F(context_options_init)                                                                        \
    F(plan_memory)                                                                                 \
    F(context_create)                                                                              \
    F(context_free)                                                                                \
    F(context_get_info)                                                                            \
    F(sequence_length)                                                                             \
    F(sequence_fork)                                                                               \
    F(sequence_rewind)                                                                             \
    F(sequence_checkpoint)                                                                         \
    F(eval_options_init)                                                                           \
    F(eval)                                                                                        \
    F(logits)                                                                                      \
    F(sampler_create)                                                                              \
    F(sampler_free)                                                                                \
    F(sampler_clone)                                                                               \
    F(sampler_options_init)                                                                        \
    F(sample)                                                                                      \
    F(sampler_apply)                                                                               \
    F(sampler_choose)                                                                              \
    F(sampler_accept)                                                                              \
    F(sampler_rewind)                                                                              \
    F(generate_options_init)                                                                       \
    F(generate_begin)                                                                              \
    F(generate_next)                                                                               \
    F(generate_get_stats)                                                                          \
    F(generate_end)

/* Every function of slm.h. */
struct process_api {
#define PROCESS_FIELD(name) __typeof__(&slm_##name) name;
    PROCESS_FUNCTIONS(PROCESS_FIELD)
#undef PROCESS_FIELD
};

struct process_result {
    float logits[PROCESS_VOCAB];
    size_t n_text;
    char text[512];
};

/* 0, or 1 and the name of what the library lacks is printed. */
static TESTING_UNUSED int process_bind(struct process_api *api, void *library)
{
    void *p = NULL;
#define PROCESS_BIND(name)                                                                         \
    p = dlsym(library, "slm_" #name);                                                              \
    memcpy(&api->name, &p, sizeof p);                                                              \
    if (p == NULL) {                                                                               \
        printf("no slm_%s: %s\n", #name, dlerror());                                               \
        return 1;                                                                                  \
    }
    PROCESS_FUNCTIONS(PROCESS_BIND)
#undef PROCESS_BIND
    return 0;
}

static int process_generate(const struct process_api *api, slm_model *model, slm_context *context,
                            struct process_result *r, slm_error *err)
{
    slm_sampler_stage stage;
    slm_generate_options o;
    slm_sampler *sampler = NULL;
    slm_generator *generator = NULL;
    slm_piece piece;
    memset(&stage, 0, sizeof stage);
    stage.struct_size = (uint32_t)sizeof stage;
    stage.kind = SLM_STAGE_TEMPERATURE;
    stage.value = 0.8f;
    api->generate_options_init(&o, sizeof o);
    o.max_tokens = 10;
    int status = api->sampler_create(&sampler, model, &stage, 1, sizeof stage, NULL, err);
    if (status == SLM_OK) {
        status =
            api->generate_begin(&generator, context, 0, sampler, "Once upon a time", 16, &o, err);
    }
    piece.kind = SLM_PIECE_TEXT;
    while (status == SLM_OK && piece.kind == SLM_PIECE_TEXT) {
        piece.struct_size = (uint32_t)sizeof piece;
        status = api->generate_next(generator, &piece, err);
        if (status == SLM_OK && piece.kind == SLM_PIECE_TEXT &&
            piece.size <= sizeof r->text - r->n_text) {
            memcpy(r->text + r->n_text, piece.text, piece.size);
            r->n_text += piece.size;
        }
    }
    api->generate_end(generator);
    api->sampler_free(sampler);
    return status;
}

/* Opens the storyteller, evaluates some tokens on two threads, generates a little, frees all. */
static TESTING_UNUSED int process_run(const struct process_api *api, struct process_result *r,
                                      slm_error *err)
{
    static const int32_t tokens[12] = {1, 300, 7, 12, 900, 31, 4, 77, 1000, 5, 6, 2};
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_context_options o;
    slm_span span;
    const float *logits = NULL;
    memset(r, 0, sizeof *r);
    memset(&span, 0, sizeof span);
    span.struct_size = (uint32_t)sizeof span;
    span.n_tokens = 12;
    span.tokens = tokens;
    span.want = SLM_WANT_LAST;
    api->context_options_init(&o, sizeof o);
    o.n_ctx = 64;
    o.n_threads = 2;
    int status = api->model_open(&model, TESTING_STORYTELLER, NULL, err);
    if (status == SLM_OK) {
        status = api->context_create(&context, model, &o, err);
    }
    if (status == SLM_OK) {
        status = api->eval(context, &span, 1, sizeof span, NULL, err);
    }
    if (status == SLM_OK) {
        status = api->logits(context, -1, &logits, NULL, err);
    }
    if (status == SLM_OK) {
        slm_model_info info;
        info.struct_size = (uint32_t)sizeof info;
        status = api->model_get_info(model, &info, err);
        size_t n = info.n_vocab < PROCESS_VOCAB ? (size_t)info.n_vocab : PROCESS_VOCAB;
        memcpy(r->logits, logits, n * sizeof *logits);
    }
    if (status == SLM_OK) {
        status = api->sequence_rewind(context, 0, 0, err);
    }
    if (status == SLM_OK) {
        status = process_generate(api, model, context, r, err);
    }
    api->context_free(context);
    api->model_free(model);
    return status;
}

#endif
