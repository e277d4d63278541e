/* story.c - a model in flash tells a story: no operating system, no files, no threads, no malloc, no
 * doubles. The same program runs on the host, where the tests take the story to compare with. */
#include "../../slm.h"
#include "arena.h"
#include "board.h"

#ifndef ARENA_BYTES
#define ARENA_BYTES (1024 * 1024)
#endif
#define N_CTX 128
#define N_TOKENS 60

static _Alignas(64) uint8_t arena_memory[ARENA_BYTES];
static struct arena arena;

static size_t length_of(const char *text)
{
    size_t n = 0;
    while (text[n] != 0) {
        n++;
    }
    return n;
}

static void print(const char *text)
{
    board_print(text, length_of(text));
}

static void print_number(uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    board_print(digits + at, sizeof digits - at);
}

/* One line of the report. */
static void print_fact(const char *what, uint64_t value, const char *unit)
{
    print("-- ");
    print(what);
    print_number(value);
    print(unit);
}

static int tell(slm_context *context, const char *prompt, slm_error *err)
{
    slm_generator *generator = NULL;
    slm_generate_options options;
    slm_generate_stats stats = {0};
    slm_piece piece = {0};
    stats.struct_size = sizeof stats;
    piece.struct_size = sizeof piece;
    slm_generate_options_init(&options, sizeof options);
    options.max_tokens = N_TOKENS;
    int status =
        slm_generate_begin(&generator, context, 0, NULL, prompt, length_of(prompt), &options, err);
    print(prompt);
    while (status == SLM_OK && piece.kind != SLM_PIECE_END) {
        status = slm_generate_next(generator, &piece, err);
        if (status == SLM_OK && piece.kind == SLM_PIECE_TEXT) {
            board_print(piece.text, piece.size);
        }
    }
    print("\n");
    if (status == SLM_OK) {
        status = slm_generate_get_stats(generator, &stats, err);
        print_fact("tokens: ", (uint64_t)stats.n_generated, "\n");
        print_fact("ms to generate them: ", (uint64_t)stats.generate_ns / 1000000, "\n");
    }
    slm_generate_end(generator);
    return status;
}

static int open_and_tell(slm_model **model, slm_context **context, slm_error *err)
{
    const void *data = board_model;
    size_t size = (size_t)(board_model_end - board_model);
    slm_model_options how;
    slm_context_options room;
    slm_model_options_init(&how, sizeof how);
    slm_context_options_init(&room, sizeof room);
    how.alloc = room.alloc = arena_alloc;
    how.alloc_user = room.alloc_user = &arena;
    room.n_ctx = N_CTX;
    room.n_batch = 8;
    int status = slm_model_open_memory(model, &data, &size, 1, &how, err);
    if (status == SLM_OK) {
        status = slm_context_create(context, *model, &room, err);
    }
    return status == SLM_OK ? tell(*context, "Once upon a time", err) : status;
}

int main(void)
{
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_error err;
    arena_begin(&arena, arena_memory, sizeof arena_memory);
    int status = open_and_tell(&model, &context, &err);
    if (status != SLM_OK) {
        print(slm_status_name(status));
        print(": ");
        print(err.message);
        print("\n");
    }
    slm_context_free(context);
    slm_model_free(model);
    print_fact("model in flash: ", (uint64_t)(board_model_end - board_model), " bytes\n");
    print_fact("arena at its peak: ", arena.peak, " bytes\n");
    print_fact("stack at its deepest: ", board_stack_used(), " bytes\n");
    print_fact("not given back: ", arena.used, " bytes\n");
    return status == SLM_OK && arena.used == 0 ? 0 : 1;
}
