/* test_shapes.c - the loader takes every shape that `slm bench --shape` knows, in the sizes of the
 * real models: all keys and tensors, and a plan for a context.
 *
 * Only what stands before the weights is made, by the tool's own sources. The weights are not there:
 * they would be read as zeros, but with SLM_LOAD_METADATA nobody reads them. */
#include "../examples/cli/shapes.c"
#include "../examples/cli/synth.c"
#include "../examples/cli/weights.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- What synth.c wants of the tool ---------------------------------------------------------- */

static char said[512];

void cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
    return CLI_FAILED;
}

void cli_progress_begin(struct cli_progress *progress, const char *what)
{
    (void)progress;
    (void)what;
}

int32_t cli_progress_report(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return 0;
}

void cli_progress_end(struct cli_progress *progress)
{
    (void)progress;
}

/* ---- A file of which only the beginning is there --------------------------------------------- */

static int64_t read_head(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    const struct writer *w = (const struct writer *)user;
    (void)file;
    memset(buffer, 0, size);
    if (offset < w->head.n) {
        size_t n = w->head.n - (size_t)offset;
        memcpy(buffer, w->head.data + offset, n < size ? n : size);
    }
    return (int64_t)size;
}

static void take_warning(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level <= SLM_LOG_WARN) {
        snprintf(said, sizeof said, "%s", message);
    }
}

/* Bytes of K and V for a page of positions, as the shape's own numbers have it. */
static uint64_t page_bytes(const struct writer *w)
{
    uint64_t n = 0;
    for (int32_t i = 0; i < w->shape->n_layer; i++) {
        n += 2 * (uint64_t)shape_of_layer(w->shape, i).kept;
    }
    return n * 128 * 2; /* f16 */
}

static void check_opened(const struct writer *w, slm_model *model)
{
    slm_model_info info = {.struct_size = sizeof info};
    slm_plan plan = {.struct_size = sizeof plan};
    slm_context_options o;
    slm_error err;
    assert_int_equal(slm_model_get_info(model, &info, &err), SLM_OK);
    assert_int_equal(info.n_layer, w->shape->n_layer);
    assert_int_equal(info.n_embd, w->shape->n_embd);
    assert_int_equal(info.n_vocab, w->shape->n_vocab);
    assert_int_equal(info.head_dim, w->shape->head_dim);
    slm_context_options_init(&o, sizeof o);
    o.n_ctx = 128;
    if (slm_plan_memory(model, &o, &plan, &err) != SLM_OK) {
        fail_msg("%s: %s", w->shape->name, err.message);
    }
    assert_int_equal(plan.kv_bytes, page_bytes(w));
}

static void every_shape_is_taken(void **state)
{
    (void)state;
    for (int i = 0; i < cli_n_shapes; i++) {
        struct writer w;
        slm_model *model = NULL;
        slm_model_options o;
        slm_error err;
        memset(&w, 0, sizeof w);
        w.shape = &cli_shapes[i];
        w.mix = mix_find("q4_k_m");
        said[0] = 0;
        if (build_head(&w) != CLI_GO) {
            fail_msg("%s: %s", w.shape->name, said);
        }
        slm_model_options_init(&o, sizeof o);
        o.flags = SLM_LOAD_METADATA;
        o.log = take_warning;
        if (slm_model_open_callback(&model, read_head, &w, &w.total_size, 1, &o, &err) != SLM_OK) {
            fail_msg("%s: %s", w.shape->name, err.message);
        }
        if (said[0] != 0) {
            fail_msg("%s: %s", w.shape->name, said);
        }
        check_opened(&w, model);
        slm_model_free(model);
        free(w.head.data);
        free(w.tensors);
    }
}

/* A row that no shape takes has a name misspelt, or one before it hides it. */
static void every_setting_is_taken(void **state)
{
    (void)state;
    for (int i = 0; i < cli_n_settings; i++) {
        int n_taken = 0;
        for (int k = 0; k < cli_n_shapes; k++) {
            n_taken += shape_setting(&cli_shapes[k], cli_settings[i].key) == &cli_settings[i];
        }
        if (n_taken == 0) {
            fail_msg("%s: %s", cli_settings[i].of, cli_settings[i].key);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_is_taken),
        cmocka_unit_test(every_setting_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
