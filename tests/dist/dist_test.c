/* dist_test.c - a program that uses what `make dist` wrote, as C11 and as C++17. It prints what the
 * storyteller says, greedily; check.sh wants the same words from every build.
 *
 * With DIST_SINGLE slm comes as slm_single.h, after whatever else a program may have included. */

#ifdef DIST_SINGLE
#include <complex.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#ifdef __cplusplus
#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>
#endif
#define SLM_IMPLEMENTATION
#include "slm_single.h"
#ifdef SLM_TRY
#error "slm_single.h leaves private macros behind"
#endif
#include "slm_single.h" /* once more: nothing is defined twice */
#else
#include "slm.h"
#endif

#include <stdio.h>
#include <string.h>

#define PROMPT "Once upon a time"

static int tell(slm_model *model, slm_error *err)
{
    slm_context *context = NULL;
    slm_generator *generator = NULL;
    slm_context_options context_options;
    slm_generate_options options;
    slm_piece piece;
    memset(&piece, 0, sizeof piece);
    piece.struct_size = (uint32_t)sizeof piece;
    slm_context_options_init(&context_options, sizeof context_options);
    context_options.n_threads = 2;
    slm_generate_options_init(&options, sizeof options);
    options.max_tokens = 40;
    int status = slm_context_create(&context, model, &context_options, err);
    if (status == SLM_OK) {
        status =
            slm_generate_begin(&generator, context, 0, NULL, PROMPT, strlen(PROMPT), &options, err);
    }
    while (status == SLM_OK) {
        status = slm_generate_next(generator, &piece, err);
        if (status != SLM_OK || piece.kind == SLM_PIECE_END) {
            break;
        }
        fwrite(piece.text, 1, piece.size, stdout);
    }
    printf("\n");
    slm_generate_end(generator);
    slm_context_free(context);
    return status;
}

int main(void)
{
    slm_error err;
    slm_model *model = NULL;
    memset(&err, 0, sizeof err);
    int status = slm_model_open(&model, "examples/models/storyteller-q8_0.gguf", NULL, &err);
    if (status == SLM_OK) {
        status = tell(model, &err);
    }
    slm_model_free(model);
    if (slm_version() !=
        SLM_VERSION_MAJOR * 1000000 + SLM_VERSION_MINOR * 1000 + SLM_VERSION_PATCH) {
        fprintf(stderr, "the library is not of the header's version\n");
        return 1;
    }
    if (status != SLM_OK) {
        fprintf(stderr, "%s: %s\n", slm_status_name(status), err.message);
    }
    return status != SLM_OK;
}
