/* test_oom.c - out of memory: whichever request gets none, from opening a model to a token of text,
 * the answer is a status with a message and nothing is left behind; what runs after setup asks for
 * no memory at all.
 *
 * Public functions only. */
#include "model_fixture.h"

struct scenario {
    const struct build *build;
    const char *path; /* instead of it */
    uint32_t flags;
    int32_t n_threads;
    const char *step; /* where it failed */
};

static int scenario_run(struct scenario *s, struct counting *c, slm_error *err)
{
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_sampler *sampler = NULL;
    slm_generator *generator = NULL;
    slm_model_options mo;
    slm_context_options co = tiny_context();
    slm_sampler_options so;
    slm_generate_options go;
    slm_sampler_stage stage;
    int32_t ids[8];
    size_t n = 0;
    float row[8];
    slm_model_options_init(&mo, sizeof mo);
    slm_sampler_options_init(&so, sizeof so);
    slm_generate_options_init(&go, sizeof go);
    memset(&stage, 0, sizeof stage);
    stage.struct_size = sizeof stage;
    stage.kind = SLM_STAGE_TOP_K;
    stage.n = 3;
    mo.flags = s->flags;
    mo.alloc = co.alloc = so.alloc = counting_alloc;
    mo.alloc_user = co.alloc_user = so.alloc_user = c;
    co.n_threads = s->n_threads;
    go.max_tokens = 2;
    go.heal = 1;
    s->step = "open";
    int status = open_file(&model, s->path, s->build, &mo, err);
    if (status == SLM_OK) {
        s->step = "tokenise";
        status = slm_tokenize(model, "abc", 3, 0, ids, 8, &n, err);
    }
    if (status == SLM_OK) {
        s->step = "context";
        status = slm_context_create(&context, model, &co, err);
    }
    if (status == SLM_OK) {
        int64_t calls = c->n_calls;
        s->step = "eval";
        status = tiny_logits(context, ids, (int32_t)n, row, 1, err);
        assert_int_equal(c->n_calls, calls);
    }
    if (status == SLM_OK) {
        s->step = "sampler";
        status = slm_sampler_create(&sampler, model, &stage, 1, sizeof stage, &so, err);
    }
    if (status == SLM_OK) {
        s->step = "generate";
        status = slm_generate_begin(&generator, context, 0, sampler, "abca", 4, &go, err);
    }
    for (int i = 0; status == SLM_OK && i < 3; i++) {
        slm_piece piece = {.struct_size = sizeof piece};
        int64_t calls = c->n_calls;
        status = slm_generate_next(generator, &piece, err);
        assert_int_equal(c->n_calls, calls);
    }
    slm_generate_end(generator);
    slm_sampler_free(sampler);
    slm_context_free(context);
    slm_model_free(model);
    return status;
}

static void every_allocation_that_fails_is_a_status(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    (void)state;
    t.keys = bpe_known;
    t.tensors = extra_tensors;
    tiny_build(&b, &t);
    const struct {
        const char *path;
        uint32_t flags;
        int32_t n_threads;
        int64_t least;
    } rows[] = {
        {NULL, 0, 1, 15},
        {NULL, SLM_LOAD_READ, 2, 15},
        {TESTING_STORYTELLER, 0, 1, 15},
        {TESTING_STORYTELLER, SLM_LOAD_READ, 2, 15},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scenario s = {&b, rows[i].path, rows[i].flags, rows[i].n_threads, ""};
        int64_t at = 0;
        int status = SLM_E_MEMORY;
        int failed_in[256] = {0};
        for (at = 1; status != SLM_OK; at++) {
            struct counting c;
            slm_error err;
            memset(&c, 0, sizeof c);
            c.fail_at = at;
            status = scenario_run(&s, &c, &err);
            if (status != SLM_OK) {
                assert_says(s.step, status, &err, SLM_E_MEMORY, "bytes", NULL);
                failed_in[(uint8_t)s.step[0]]++;
            }
            assert_all_freed(&c);
        }
        print_message("%lld points of failure\n", (long long)at - 2);
        assert_true(at - 2 >= rows[i].least);
        assert_true(failed_in['o'] >= 8);
        assert_true(failed_in['t'] > 0 && failed_in['c'] >= 2 && failed_in['s'] == 1);
        assert_true(failed_in['g'] >= 3);
    }
    build_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_that_fails_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
