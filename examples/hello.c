/* hello.c - a model tells a story. Build and run from the repository root:
 *
 *     cc -O2 -o hello examples/hello.c slm.c -pthread
 *     ./hello model.gguf "The capital of France is" */
#include "../slm.h"

#include <stdio.h>
#include <string.h>

static int tell(slm_model *model, const char *prompt, slm_error *err)
{
    slm_context *context = NULL;
    slm_generator *generator = NULL;
    slm_generate_options options;
    slm_piece piece = {0};
    piece.struct_size = sizeof piece;

    slm_generate_options_init(&options, sizeof options);
    options.max_tokens = 200;

    int status = slm_context_create(&context, model, NULL, err);
    if (status == SLM_OK) {
        /* Sequence 0 of the context; no sampler means the likeliest token each time. */
        status =
            slm_generate_begin(&generator, context, 0, NULL, prompt, strlen(prompt), &options, err);
    }
    while (status == SLM_OK) {
        status = slm_generate_next(generator, &piece, err);
        if (status != SLM_OK || piece.kind == SLM_PIECE_END) {
            break;
        }
        fwrite(piece.text, 1, piece.size, stdout); /* whole characters, not 0-terminated */
        fflush(stdout);
    }
    slm_generate_end(generator);
    slm_context_free(context);
    return status;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "examples/models/storyteller-q8_0.gguf";
    const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
    slm_model *model = NULL;
    slm_error err;

    int status = slm_model_open(&model, path, NULL, &err);
    if (status == SLM_OK) {
        printf("%s", prompt);
        status = tell(model, prompt, &err);
        printf("\n");
    }
    if (status != SLM_OK) {
        fprintf(stderr, "hello: %s (%s)\n", err.message, slm_status_name(status));
    }
    slm_model_free(model);
    return status == SLM_OK ? 0 : 1;
}
