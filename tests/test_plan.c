/* test_plan.c - what opening a model and making a context cost: the plan is what the allocator
 * gives, to the byte; a cap is kept; loading tells its progress and can be stopped.
 *
 * Public functions only. */
#include "model_fixture.h"
#include "golden.h"

/* ---- Cancel and progress --------------------------------------------------------------------- */

struct progress {
    int calls;
    int stop_at;
    int32_t *cancel;
    uint64_t done, total;
};

static int32_t progress_step(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = (struct progress *)user;
    p->calls++;
    assert_true(done >= p->done && done <= total);
    assert_true(p->total == 0 || p->total == total);
    p->done = done;
    p->total = total;
    if (p->calls == p->stop_at) {
        if (p->cancel == NULL) {
            return 1;
        }
        *p->cancel = 1;
    }
    return 0;
}

static void loading_tells_its_progress_and_can_be_stopped(void **state)
{
    struct counting c;
    slm_error err;
    slm_model_info info = {.struct_size = sizeof info};
    (void)state;
    for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags++) {
        int calls = 1;
        for (int stop_at = 0; stop_at <= calls; stop_at++) {
            for (int by_flag = 0; by_flag <= 1; by_flag++) {
                int32_t cancel = 0;
                struct progress p = {0, stop_at, by_flag ? &cancel : NULL, 0, 0};
                slm_model_options o = model_options(&c, flags);
                slm_model *model = NULL;
                o.progress = progress_step;
                o.progress_user = &p;
                o.cancel = &cancel;
                int status = slm_model_open(&model, TESTING_STORYTELLER, &o, &err);
                if (stop_at == 0) {
                    assert_says("whole", status, &err, SLM_OK, "", NULL);
                    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
                    assert_int_equal(p.total, info.weight_bytes);
                    assert_int_equal(p.done, p.total);
                    calls = p.calls;
                } else if (!by_flag || stop_at < calls) {
                    assert_says("stopped", status, &err, SLM_E_CANCELLED, "loading", NULL);
                    assert_true(p.calls <= stop_at + 1);
                }
                slm_model_free(model);
                assert_all_freed(&c);
            }
        }
        assert_true(calls > 10);
    }
}

static void loading_with_cancel_set_stops_at_once(void **state)
{
    static const int32_t cancel = 1;
    struct counting c;
    slm_error err;
    slm_model *model = NULL;
    slm_model_options o = model_options(&c, SLM_LOAD_READ);
    (void)state;
    o.cancel = &cancel;
    assert_says("cancel", slm_model_open(&model, TESTING_STORYTELLER, &o, &err), &err,
                SLM_E_CANCELLED, "loading", NULL);
    assert_null(model);
    assert_all_freed(&c);
}

static void a_file_with_unused_tensors_has_a_whole_progress(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct progress p = {0, 0, NULL, 0, 0};
    slm_model_options o = model_options(NULL, 0);
    (void)state;
    t.tensors = extra_tensors;
    tiny_build(&b, &t);
    o.progress = progress_step;
    o.progress_user = &p;
    slm_model_free(open_model(&b, &o));
    assert_true(p.calls > 0);
    assert_int_equal(p.done, p.total);
    build_free(&b);
}

/* ---- The plan, the cap and the count --------------------------------------------------------- */

/* A file in memory or on disk. */
struct subject {
    const char *name;
    const char *path; /* or NULL: build */
    const struct build *build;
};

static int subject_open(const struct subject *s, slm_model **model, const slm_model_options *o,
                        slm_error *err)
{
    return open_file(model, s->path, s->build, o, err);
}

struct subjects {
    struct subject rows[24];
    int n;
    struct build builds[24];
};

static void subjects_add_build(struct subjects *s, const char *name, const struct tiny *t)
{
    struct subject subject = {name, NULL, &s->builds[s->n]};
    tiny_build(&s->builds[s->n], t);
    s->rows[s->n++] = subject;
}

static void subjects_add_golden(struct subjects *s, const char *path)
{
    struct golden g;
    struct subject subject = {path, NULL, &s->builds[s->n]};
    if (!golden_load(&g, path, NULL)) {
        fail_msg("%s: %s", path, g.error);
    }
    build_init(&s->builds[s->n]);
    build_put(&s->builds[s->n].file, g.image, g.image_size);
    golden_free(&g);
    s->rows[s->n++] = subject;
}

static void subjects_make(struct subjects *s)
{
    static const int32_t types[] = {2, 8, 12, 14, 40};
    static const char *const names[] = {"Q4_0", "Q8_0", "Q4_K", "Q6_K", "NVFP4"};
    struct subject storyteller = {"storyteller", TESTING_STORYTELLER, NULL};
    struct tiny t = tiny_default();
    memset(s, 0, sizeof *s);
    s->rows[s->n++] = storyteller;
    subjects_add_build(s, "tiny", &t);
    t.keys = bpe_known;
    t.tensors = extra_tensors;
    t.n_layer = 2;
    subjects_add_build(s, "tiny with a vocabulary and unused tensors", &t);
    for (int i = 0; i < 5; i++) {
        struct tiny any = any_bytes(types[i]);
        subjects_add_build(s, names[i], &any);
    }
    subjects_add_golden(s, "tests/golden/models/llama-3.2-hd32.txt");
    subjects_add_golden(s, "tests/golden/models/qwen2.txt");
    subjects_add_golden(s, "tests/golden/models/qwen3.txt");
    subjects_add_golden(s, "tests/golden/models/llama-fused-qkv.txt");
    subjects_add_golden(s, "tests/golden/models/granite-moe-shared.txt");
    subjects_add_golden(s, "tests/golden/models/x-gpt-oss.txt");
    subjects_add_golden(s, "tests/golden/models/gemma3n.txt");
    subjects_add_golden(s, "tests/golden/models/gemma4-e2b.txt");
    subjects_add_golden(s, "tests/golden/models/gemma4-moe.txt");
}

static void subjects_free(struct subjects *s)
{
    for (int i = 0; i < s->n; i++) {
        build_free(&s->builds[i]);
    }
}

static void the_plan_of_a_model_is_the_peak_of_its_allocator(void **state)
{
    struct subjects s;
    (void)state;
    subjects_make(&s);
    for (int i = 0; i < s.n; i++) {
        for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags++) {
            struct counting full, look;
            slm_model_options o = model_options(&full, flags);
            slm_model *model = NULL;
            slm_context_options co = tiny_context();
            slm_plan plan = {.struct_size = sizeof plan}, early = {.struct_size = sizeof early};
            slm_model_info info = {.struct_size = sizeof info};
            slm_error err;
            int status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says(s.rows[i].name, status, &err, SLM_OK, "", NULL);
            assert_int_equal(slm_plan_memory(model, &co, &plan, NULL), SLM_OK);
            assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
            assert_int_equal(info.heap_peak_bytes, full.peak);
            assert_int_equal(info.heap_bytes, full.now);
            assert_int_equal(info.mapped_bytes, plan.model_mapped_bytes);
            if (plan.model_heap_bytes != full.peak) {
                fail_msg("%s: planned %llu, peak %llu", s.rows[i].name,
                         (unsigned long long)plan.model_heap_bytes, (unsigned long long)full.peak);
            }
            slm_model_free(model);
            assert_all_freed(&full);

            /* Known before: from the metadata alone. */
            o = model_options(&look, flags | SLM_LOAD_METADATA);
            status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says(s.rows[i].name, status, &err, SLM_OK, "", NULL);
            assert_int_equal(slm_plan_memory(model, &co, &early, NULL), SLM_OK);
            if (early.model_heap_bytes != full.peak) {
                fail_msg("%s: planned from the metadata %llu, peak %llu", s.rows[i].name,
                         (unsigned long long)early.model_heap_bytes, (unsigned long long)full.peak);
            }
            assert_memory_equal(&early, &plan, sizeof plan);
            slm_model_free(model);
            assert_all_freed(&look);

            /* The cap: exactly that, and one byte less. */
            o = model_options(&full, flags);
            o.max_bytes = plan.model_heap_bytes;
            status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says("capped", status, &err, SLM_OK, "", NULL);
            slm_model_free(model);
            o.max_bytes--;
            status = subject_open(&s.rows[i], &model, &o, &err);
            assert_says("a byte less", status, &err, SLM_E_MEMORY, "max_bytes", NULL);
            char number[32];
            snprintf(number, sizeof number, "max_bytes %llu", (unsigned long long)o.max_bytes);
            assert_non_null(strstr(err.message, number));
            assert_null(model);
            assert_all_freed(&full);
        }
    }
    subjects_free(&s);
}

/* Tokenising takes scratch from the model's allocator, which is no part of what opening takes. */
static void the_plan_of_a_model_does_not_change_with_its_use(void **state)
{
    slm_model *model = NULL;
    slm_plan before = {.struct_size = sizeof before}, after = {.struct_size = sizeof after};
    slm_context_options co = tiny_context();
    size_t n = 0;
    static char text[400000];
    (void)state;
    memset(text, 'a', sizeof text);
    assert_int_equal(slm_model_open(&model, TESTING_STORYTELLER, NULL, NULL), SLM_OK);
    assert_int_equal(slm_plan_memory(model, &co, &before, NULL), SLM_OK);
    slm_tokenize(model, text, sizeof text, 0, NULL, 0, &n, NULL);
    assert_true(n > 0);
    assert_int_equal(slm_plan_memory(model, &co, &after, NULL), SLM_OK);
    assert_int_equal(before.model_heap_bytes, after.model_heap_bytes);
    slm_model_free(model);
}

static void every_smaller_cap_is_a_clean_failure(void **state)
{
    struct build b;
    struct counting c;
    slm_error err;
    struct tiny t = tiny_default();
    (void)state;
    t.keys = bpe_known;
    tiny_build(&b, &t);
    slm_model_options o = model_options(&c, SLM_LOAD_READ);
    slm_model_free(open_model(&b, &o));
    uint64_t peak = c.peak;
    for (uint64_t cap = 0; cap < peak; cap += 37) {
        o = model_options(&c, SLM_LOAD_READ);
        o.max_bytes = cap;
        assert_says("cap", open_status(&b, &o, &err), &err, SLM_E_MEMORY, "max_bytes", NULL);
        assert_all_freed(&c);
        assert_true(c.peak <= cap);
    }
    build_free(&b);
}

static void inline_parallel(void *user, int32_t n, slm_task_fn task, void *arg)
{
    (void)user;
    for (int32_t i = n; i-- > 0;) {
        task(arg, i);
    }
}

static void assert_context_is_as_planned(const char *name, slm_model *model, slm_context_options o)
{
    struct counting c;
    slm_plan plan = {.struct_size = sizeof plan};
    slm_context_info info = {.struct_size = sizeof info};
    slm_context *context = NULL;
    slm_error err;
    float row[8];
    memset(&c, 0, sizeof c);
    o.alloc = counting_alloc;
    o.alloc_user = &c;
    int status = slm_plan_memory(model, &o, &plan, &err);
    assert_says(name, status, &err, SLM_OK, "", NULL);
    assert_int_equal(c.n_calls, 0);
    o.max_bytes = plan.context_heap_bytes;
    status = slm_context_create(&context, model, &o, &err);
    assert_says(name, status, &err, SLM_OK, "", NULL);
    if (c.peak != plan.context_heap_bytes) {
        fail_msg("%s: planned %llu, peak %llu", name, (unsigned long long)plan.context_heap_bytes,
                 (unsigned long long)c.peak);
    }
    assert_int_equal(slm_context_get_info(context, &info, NULL), SLM_OK);
    assert_int_equal(info.heap_bytes, plan.context_heap_bytes);
    assert_int_equal(info.n_ctx, plan.n_ctx);
    assert_int_equal(info.n_pages, plan.n_pages);
    assert_int_equal(info.n_pages_free, plan.n_pages);
    assert_int_equal(info.n_threads, plan.n_threads);
    assert_true(plan.kv_bytes > 0 && plan.kv_bytes < plan.context_heap_bytes);
    /* Nothing is allocated afterwards. */
    int64_t calls = c.n_calls;
    if (info.n_logits > 0) {
        status = tiny_logits(context, tokens, 5, row, 8, &err);
        assert_says(name, status, &err, SLM_OK, "", NULL);
        status = tiny_logits(context, tokens, 1, row, 8, &err);
        assert_says(name, status, &err, SLM_OK, "", NULL);
    }
    if (info.n_sequences > 1) {
        assert_int_equal(slm_sequence_fork(context, 0, 1, NULL), SLM_OK);
    }
    assert_int_equal(slm_sequence_rewind(context, 0, 0, NULL), SLM_OK);
    assert_int_equal(c.n_calls, calls);
    slm_context_free(context);
    assert_all_freed(&c);
    o.max_bytes--;
    status = slm_context_create(&context, model, &o, &err);
    assert_says(name, status, &err, SLM_E_MEMORY, "max_bytes", NULL);
    assert_null(context);
    assert_all_freed(&c);
}

static void the_plan_of_a_context_is_the_peak_of_its_allocator(void **state)
{
    static const struct {
        int32_t n_ctx, n_sequences, n_pages, n_batch, n_logits, kv_type, n_threads;
        uint32_t flags;
    } rows[] = {
        {SLM_AUTO, 1, SLM_AUTO, 512, SLM_AUTO, SLM_KV_F16, 1, 0},
        {SLM_AUTO, 1, SLM_AUTO, 512, SLM_AUTO, SLM_KV_F32, 2, 0},
        {16, 1, SLM_AUTO, 4, SLM_AUTO, SLM_KV_F16, 1, 0},
        {16, 1, SLM_AUTO, 1, SLM_AUTO, SLM_KV_F16, 2, SLM_CONTEXT_EXACT},
        {129, 1, SLM_AUTO, 64, 64, SLM_KV_F32, 1, SLM_CONTEXT_BATCH_INVARIANT},
        {1000, 3, SLM_AUTO, 512, SLM_AUTO, SLM_KV_F16, 2, SLM_CONTEXT_BATCH_INVARIANT},
        {1000, 3, 5, 17, 1, SLM_KV_F32, 3, SLM_CONTEXT_EXACT | SLM_CONTEXT_BATCH_INVARIANT},
        {256, 256, 300, 4096, 256, SLM_KV_F16, 2, 0},
        {64, 2, SLM_AUTO, 8, 0, SLM_KV_F16, 1, 0},
    };
    struct subjects s;
    (void)state;
    subjects_make(&s);
    for (int i = 0; i < s.n; i++) {
        slm_model *model = NULL;
        slm_error err;
        int status = subject_open(&s.rows[i], &model, NULL, &err);
        assert_says(s.rows[i].name, status, &err, SLM_OK, "", NULL);
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
            slm_context_options o;
            slm_context_options_init(&o, sizeof o);
            o.n_ctx = rows[k].n_ctx;
            o.n_sequences = rows[k].n_sequences;
            o.n_pages = rows[k].n_pages;
            o.n_batch = rows[k].n_batch;
            o.n_logits = rows[k].n_logits;
            o.kv_type = rows[k].kv_type;
            o.n_threads = rows[k].n_threads;
            o.flags = rows[k].flags;
            assert_context_is_as_planned(s.rows[i].name, model, o);
        }
        slm_model_free(model);
    }
    subjects_free(&s);
}

static void a_shared_pool_is_no_part_of_the_plan(void **state)
{
    struct build b;
    slm_model *model = open_tiny(&b);
    slm_plan own = {.struct_size = sizeof own}, shared = {.struct_size = sizeof shared};
    (void)state;
    for (int32_t n = 1; n <= 4; n++) {
        for (int host = 0; host <= 1; host++) {
            struct counting c;
            slm_threads *threads = NULL;
            slm_threads_options to;
            slm_context_options o = tiny_context();
            memset(&c, 0, sizeof c);
            slm_threads_options_init(&to, sizeof to);
            to.n_threads = n;
            to.alloc = counting_alloc;
            to.alloc_user = &c;
            to.parallel = host ? inline_parallel : NULL;
            assert_int_equal(slm_threads_create(&threads, &to, NULL), SLM_OK);
            o.n_threads = n;
            assert_int_equal(slm_plan_memory(model, &o, &own, NULL), SLM_OK);
            o.threads = threads;
            assert_int_equal(slm_plan_memory(model, &o, &shared, NULL), SLM_OK);
            assert_int_equal(shared.stack_bytes, 0);
            if (host == 0) {
                assert_int_equal(shared.context_heap_bytes + c.now, own.context_heap_bytes);
            }
            assert_context_is_as_planned("shared pool", model, o);
            slm_threads_free(threads);
            assert_all_freed(&c);
        }
    }
    slm_model_free(model);
    build_free(&b);
}

static void context_options_out_of_range_are_told(void **state)
{
    static const struct {
        const char *name;
        int32_t values[4];
        size_t offset;
    } rows[] = {
        {"n_ctx", {0, -2, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, n_ctx)},
        {"n_sequences", {0, -1, 257, INT32_MAX}, offsetof(slm_context_options, n_sequences)},
        {"n_pages", {0, -2, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, n_pages)},
        {"n_batch", {0, -1, 4097, INT32_MAX}, offsetof(slm_context_options, n_batch)},
        {"n_logits",
         {-2, INT32_MIN, INT32_MAX, INT32_MAX},
         offsetof(slm_context_options, n_logits)},
        {"kv_type", {-1, 2, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, kv_type)},
        {"n_threads", {0, -2, 1025, INT32_MAX}, offsetof(slm_context_options, n_threads)},
        {"n_checkpoints",
         {-1, 1025, INT32_MIN, INT32_MAX},
         offsetof(slm_context_options, n_checkpoints)},
        {"flags", {4, 8, INT32_MIN, INT32_MAX}, offsetof(slm_context_options, flags)},
    };
    struct build b;
    slm_model *model = open_tiny(&b);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int k = 0; k < 4; k++) {
            slm_context_options o = tiny_context();
            slm_context *context = NULL;
            slm_plan plan = {.struct_size = sizeof plan};
            slm_error err;
            memcpy((uint8_t *)&o + rows[i].offset, &rows[i].values[k], sizeof(int32_t));
            int status = slm_context_create(&context, model, &o, &err);
            assert_says(rows[i].name, status, &err, SLM_E_ARGUMENT, rows[i].name, NULL);
            assert_null(context);
            status = slm_plan_memory(model, &o, &plan, &err);
            assert_says(rows[i].name, status, &err, SLM_E_ARGUMENT, rows[i].name, NULL);
        }
    }
    slm_model_free(model);
    build_free(&b);
}

/* The largest context that options can ask for: a plan, or a status; never less than it takes. */
static void the_largest_context_is_planned_or_refused(void **state)
{
    struct subjects s;
    (void)state;
    subjects_make(&s);
    for (int i = 0; i < s.n; i++) {
        slm_model *model = NULL;
        slm_context *context = NULL;
        slm_context_options o;
        struct counting c;
        slm_plan plan = {.struct_size = sizeof plan};
        slm_error err;
        assert_int_equal(subject_open(&s.rows[i], &model, NULL, &err), SLM_OK);
        memset(&c, 0, sizeof c);
        c.limit = 1 << 20;
        slm_context_options_init(&o, sizeof o);
        o.alloc = counting_alloc;
        o.alloc_user = &c;
        o.n_ctx = 1 << 24;
        o.n_sequences = 256;
        o.n_pages = INT32_MAX / 2;
        o.n_batch = 4096;
        o.n_logits = 1 << 24;
        o.n_threads = 1024;
        o.kv_type = SLM_KV_F32;
        int status = slm_plan_memory(model, &o, &plan, &err);
        if (status == SLM_OK) {
            assert_true(plan.context_heap_bytes > (uint64_t)1 << 36);
        } else {
            assert_int_equal(status, SLM_E_MEMORY);
        }
        status = slm_context_create(&context, model, &o, &err);
        assert_says("huge", status, &err, SLM_E_MEMORY, "context", NULL);
        assert_null(context);
        assert_all_freed(&c);
        slm_model_free(model);
    }
    subjects_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_tells_its_progress_and_can_be_stopped),
        cmocka_unit_test(loading_with_cancel_set_stops_at_once),
        cmocka_unit_test(a_file_with_unused_tensors_has_a_whole_progress),
        cmocka_unit_test(the_plan_of_a_model_is_the_peak_of_its_allocator),
        cmocka_unit_test(the_plan_of_a_model_does_not_change_with_its_use),
        cmocka_unit_test(every_smaller_cap_is_a_clean_failure),
        cmocka_unit_test(the_plan_of_a_context_is_the_peak_of_its_allocator),
        cmocka_unit_test(a_shared_pool_is_no_part_of_the_plan),
        cmocka_unit_test(context_options_out_of_range_are_told),
        cmocka_unit_test(the_largest_context_is_planned_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
