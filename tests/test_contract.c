/* test_contract.c - what slm.h promises of every function and every object alike: status codes and
 * their messages, encodings by name and number, structs that tell their size, NULL for any pointer,
 * objects freed in any order.
 *
 * Public functions only. */
#include "model_fixture.h"

#if !defined(_WIN32)
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

/* ---- Status codes ---------------------------------------------------------------------------- */

/* What calls that fail find made. */
struct failing {
    slm_model *model; /* with a vocabulary */
    slm_context *context;
    slm_sampler *sampler;
    slm_error *err;
    int status; /* of a call from inside a callback */
};

static int fail_argument(struct failing *f)
{
    return slm_model_get_info(f->model, NULL, f->err);
}

static int fail_memory(struct failing *f)
{
    slm_model *model = NULL;
    slm_model_options o = model_options(NULL, 0);
    o.max_bytes = 1000;
    return slm_model_open(&model, TESTING_STORYTELLER, &o, f->err);
}

static int fail_io(struct failing *f)
{
    slm_model *model = NULL;
    return slm_model_open(&model, "no/such/folder/model.gguf", NULL, f->err);
}

static int fail_open(struct failing *f, const char *text, size_t size)
{
    slm_model *model = NULL;
    const void *data = text;
    return slm_model_open_memory(&model, &data, &size, 1, NULL, f->err);
}

static int fail_format(struct failing *f)
{
    return fail_open(f, "This is a letter, not a model.", 30);
}

static int fail_family(struct failing *f, const char *family)
{
    struct build b;
    slm_error *err = f->err;
    build_init(&b);
    build_text(&b, "general.architecture", family);
    build_finish(&b);
    int status = open_status(&b, NULL, err);
    build_free(&b);
    return status;
}

static int fail_model(struct failing *f)
{
    return fail_family(f, "llama"); /* which has layers */
}

static int fail_unsupported(struct failing *f)
{
    return fail_family(f, "alpaca");
}

static int fail_space(struct failing *f)
{
    int32_t ids[1];
    size_t needed = 0;
    return slm_tokenize(f->model, "abca", 4, 0, ids, 1, &needed, f->err);
}

static int fail_eval(struct failing *f, int32_t n, const slm_eval_options *o)
{
    static const int32_t many[1000];
    slm_span span = {.struct_size = sizeof span};
    span.position = -1;
    span.n_tokens = n;
    span.tokens = many;
    return slm_eval(f->context, &span, 1, sizeof span, o, f->err);
}

static int fail_full(struct failing *f)
{
    return fail_eval(f, 1000, NULL);
}

static int fail_cancelled(struct failing *f)
{
    static const int32_t cancel = 1;
    slm_eval_options o;
    slm_eval_options_init(&o, sizeof o);
    o.cancel = &cancel;
    return fail_eval(f, 2, &o);
}

static int fail_deadline(struct failing *f)
{
    slm_eval_options o;
    slm_eval_options_init(&o, sizeof o);
    o.deadline_ns = 1;
    return fail_eval(f, 2, &o);
}

static int32_t rewind_from_inside(void *user, uint64_t done, uint64_t total)
{
    struct failing *f = (struct failing *)user;
    (void)done, (void)total;
    f->status = slm_sequence_rewind(f->context, 0, 0, f->err);
    return 0;
}

static int fail_busy(struct failing *f)
{
    struct failing outer = *f;
    slm_error error;
    slm_eval_options o;
    slm_eval_options_init(&o, sizeof o);
    o.progress = rewind_from_inside;
    o.progress_user = f;
    outer.err = &error; /* f->err keeps what the call inside says */
    assert_int_equal(fail_eval(&outer, 2, &o), SLM_OK);
    assert_int_equal(slm_sequence_rewind(f->context, 0, 0, NULL), SLM_OK);
    return f->status;
}

static int fail_numeric(struct failing *f)
{
    float row[TINY_VOCAB];
    int32_t token = 0;
    memset(row, 0xff, sizeof row); /* NaN */
    return slm_sample(f->sampler, row, TINY_VOCAB, &token, f->err);
}

#if !defined(_WIN32)

/* The child tells what it got. */
static int fail_forked(struct failing *f)
{
    slm_error told = {0};
    int ends[2];
    int status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        told.code = slm_sequence_rewind(f->context, 0, 0, &told);
        _exit(write(ends[1], &told, sizeof told) == (ssize_t)sizeof told ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(read(ends[0], &told, sizeof told), sizeof told);
    close(ends[0]);
    close(ends[1]);
    if (f->err != NULL) {
        *f->err = told;
    }
    return told.code;
}

/* Stands for the system's, and leaves threads of this program the stack they have by default. */
static int refuse_stacks;

int pthread_attr_setstacksize(pthread_attr_t *attr, size_t size)
{
    (void)attr, (void)size;
    return refuse_stacks ? EINVAL : 0;
}

static int fail_thread(struct failing *f)
{
    slm_threads *threads = NULL;
    slm_threads_options o;
    slm_threads_options_init(&o, sizeof o);
    o.n_threads = 2;
    refuse_stacks = 1;
    int status = slm_threads_create(&threads, &o, f->err);
    refuse_stacks = 0;
    slm_threads_free(threads);
    return status;
}

#else
#define fail_forked NULL /* no fork, and no way to have threads refused */
#define fail_thread NULL
#endif

static int fail_template(struct failing *f)
{
    slm_chat_template *t = NULL;
    return slm_chat_template_create(&t, f->model, "{% if %}", 8, NULL, f->err);
}

static const struct {
    int code;
    const char *name;
    int (*make)(struct failing *f);
} statuses[] = {
    {SLM_E_ARGUMENT, "SLM_E_ARGUMENT", fail_argument},
    {SLM_E_MEMORY, "SLM_E_MEMORY", fail_memory},
    {SLM_E_IO, "SLM_E_IO", fail_io},
    {SLM_E_FORMAT, "SLM_E_FORMAT", fail_format},
    {SLM_E_MODEL, "SLM_E_MODEL", fail_model},
    {SLM_E_UNSUPPORTED, "SLM_E_UNSUPPORTED", fail_unsupported},
    {SLM_E_SPACE, "SLM_E_SPACE", fail_space},
    {SLM_E_FULL, "SLM_E_FULL", fail_full},
    {SLM_E_CANCELLED, "SLM_E_CANCELLED", fail_cancelled},
    {SLM_E_DEADLINE, "SLM_E_DEADLINE", fail_deadline},
    {SLM_E_BUSY, "SLM_E_BUSY", fail_busy},
    {SLM_E_FORKED, "SLM_E_FORKED", fail_forked},
    {SLM_E_NUMERIC, "SLM_E_NUMERIC", fail_numeric},
    {SLM_E_THREAD, "SLM_E_THREAD", fail_thread},
    {SLM_E_TEMPLATE, "SLM_E_TEMPLATE", fail_template},
};

#define N_STATUSES ((int)(sizeof statuses / sizeof statuses[0]))

static void every_status_is_answered_by_some_call(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct failing f;
    slm_context_options o = tiny_context();
    (void)state;
    t.keys = bpe_known;
    tiny_build(&b, &t);
    memset(&f, 0, sizeof f);
    f.model = open_model(&b, NULL);
    o.n_ctx = 64;
    assert_int_equal(slm_context_create(&f.context, f.model, &o, NULL), SLM_OK);
    assert_int_equal(slm_sampler_create(&f.sampler, f.model, NULL, 0, 0, NULL, NULL), SLM_OK);
    for (int i = 0; i < N_STATUSES; i++) {
        slm_error err;
        if (statuses[i].make == NULL) {
            continue;
        }
        memset(&err, 0x55, sizeof err);
        f.err = &err;
        assert_says(statuses[i].name, statuses[i].make(&f), &err, statuses[i].code, "", NULL);
        assert_non_null(memchr(err.message, 0, sizeof err.message));
        assert_true(strlen(err.message) > 10);
        f.err = NULL;
        assert_int_equal(statuses[i].make(&f), statuses[i].code);
    }
    slm_sampler_free(f.sampler);
    slm_context_free(f.context);
    slm_model_free(f.model);
    build_free(&b);
}

/* The table above lacks no code that slm.h or slm_status_name has. */
static void every_status_has_a_name_and_stands_in_the_table(void **state)
{
    size_t size = 0;
    char *header = testing_read("slm.h", &size);
    int n_defined = 0;
    int n_named = 0;
    (void)state;
    assert_non_null(header);
    for (const char *at = header; (at = strstr(at, "#define SLM_E_")) != NULL; n_defined++) {
        at += strlen("#define ");
        int known = 0;
        for (int i = 0; i < N_STATUSES; i++) {
            size_t n = strlen(statuses[i].name);
            known += strncmp(at, statuses[i].name, n) == 0 && at[n] == ' ';
        }
        if (known != 1) {
            fail_msg("%.20s is not in the table", at);
        }
    }
    while (strcmp(slm_status_name(-1 - n_named), "unknown status") != 0) {
        assert_true(n_named < N_STATUSES);
        assert_string_equal(slm_status_name(statuses[n_named].code), statuses[n_named].name);
        assert_int_equal(statuses[n_named].code, -1 - n_named);
        n_named++;
    }
    assert_int_equal(n_defined, N_STATUSES);
    assert_int_equal(n_named, N_STATUSES);
    assert_string_equal(slm_status_name(SLM_OK), "SLM_OK");
    assert_string_equal(slm_status_name(1), "unknown status");
    assert_string_equal(slm_status_name(INT32_MIN), "unknown status");
    assert_string_equal(slm_status_name(INT32_MAX), "unknown status");
    free(header);
}

/* ---- Encodings ------------------------------------------------------------------------------- */

static const struct {
    int32_t type;
    const char *name;
    int32_t elements, bytes;
} encodings[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
};

#define N_ENCODINGS (sizeof encodings / sizeof encodings[0])

static void every_encoding_is_found_by_type_and_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ENCODINGS; i++) {
        slm_encoding_info e = {.struct_size = sizeof e};
        char lower[16];
        assert_int_equal(slm_encoding_find(encodings[i].type, NULL, &e, NULL), SLM_OK);
        for (int by_name = 0; by_name < 3; by_name++) {
            assert_int_equal(e.id, encodings[i].type);
            assert_string_equal(e.name, encodings[i].name);
            assert_int_equal(e.block_elements, encodings[i].elements);
            assert_int_equal(e.block_bytes, encodings[i].bytes);
            memset(&e, 0, sizeof e);
            e.struct_size = sizeof e;
            snprintf(lower, sizeof lower, "%s", encodings[i].name);
            for (char *p = lower; by_name == 1 && *p != 0; p++) {
                *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
            }
            /* With a name the type does not matter. */
            assert_int_equal(slm_encoding_find(by_name == 0 ? -1 : 999, lower, &e, NULL), SLM_OK);
        }
    }
}

static void other_encodings_do_not_exist(void **state)
{
    static const char *const names[] = {"", "Q4", "Q4_0x", "Q4_0 ", "q4_0_4_4", "nothing", "F3"};
    slm_encoding_info e = {.struct_size = sizeof e};
    slm_error err;
    int n = 0;
    (void)state;
    for (int32_t type = -3; type < 300; type++) {
        int known = 0;
        for (size_t i = 0; i < N_ENCODINGS; i++) {
            known |= encodings[i].type == type;
        }
        int status = slm_encoding_find(type, NULL, &e, &err);
        assert_int_equal(status, known ? SLM_OK : SLM_E_UNSUPPORTED);
        n += known;
    }
    assert_int_equal(n, N_ENCODINGS);
    assert_int_equal(slm_encoding_find(INT32_MIN, NULL, &e, &err), SLM_E_UNSUPPORTED);
    assert_int_equal(slm_encoding_find(INT32_MAX, NULL, &e, &err), SLM_E_UNSUPPORTED);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int status = slm_encoding_find(0, names[i], &e, &err);
        assert_says("name", status, &err, SLM_E_UNSUPPORTED, names[i], NULL);
    }
}

/* ---- Structs that tell their size ------------------------------------------------------------ */

/* A caller of another age: its struct is `size` bytes, and the library must stay inside. */
union aged {
    uint32_t struct_size;
    slm_model_options model;
    slm_context_options context;
    slm_threads_options threads;
    slm_eval_options eval;
    slm_embed_options embed;
    slm_sampler_options sampler;
    slm_generate_options generate;
    slm_encoding_info encoding;
    slm_model_info model_info;
    slm_metadata metadata;
    slm_tensor_info tensor;
    slm_context_info context_info;
    slm_plan plan;
    slm_token_info token;
    slm_chat_template_options chat_template;
    slm_chat_options chat;
    slm_chat_output_options chat_output;
    slm_chat_builtin builtin;
    slm_chat_prompt_info prompt;
    slm_chat_event event;
    slm_chat_output_info output;
    uint8_t bytes[512];
};

struct aged_call {
    slm_model *model;
    slm_context *context;
    slm_generator *generator;
    slm_chat_template *chat;
    slm_chat_prompt *prompt;
    slm_chat_output *output;
};

static int aged_model_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_model *model = NULL;
    (void)c;
    int status = slm_model_open(&model, TESTING_STORYTELLER, &a->model, err);
    slm_model_free(model);
    return status;
}

static int aged_context_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_context *context = NULL;
    int status = slm_context_create(&context, c->model, &a->context, err);
    slm_context_free(context);
    return status;
}

static int aged_threads_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_threads *threads = NULL;
    (void)c;
    int status = slm_threads_create(&threads, &a->threads, err);
    slm_threads_free(threads);
    return status;
}

static int aged_eval_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_eval(c->context, NULL, 0, sizeof(slm_span), &a->eval, err);
}

static int aged_embed_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    size_t needed = 0;
    return slm_embed(c->context, NULL, 0, sizeof(slm_embed_text), &a->embed, NULL, 0, &needed, err);
}

static int aged_sampler_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_sampler *sampler = NULL;
    int status = slm_sampler_create(&sampler, c->model, NULL, 0, 0, &a->sampler, err);
    slm_sampler_free(sampler);
    return status;
}

static int aged_generate_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_generator *generator = NULL;
    int status = slm_generate_begin(&generator, c->context, 0, NULL, "a", 1, &a->generate, err);
    slm_generate_end(generator);
    return status;
}

static int aged_plan_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_plan plan = {.struct_size = sizeof plan};
    return slm_plan_memory(c->model, &a->context, &plan, err);
}

static int aged_chat_template_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_chat_template *chat = NULL;
    int status = slm_chat_template_create(&chat, c->model, "{{ a }}", 7, &a->chat_template, err);
    slm_chat_template_free(chat);
    return status;
}

static int aged_chat_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_chat_prompt *prompt = NULL;
    int status = slm_chat_render(&prompt, c->chat, "[]", 2, &a->chat, err);
    slm_chat_prompt_free(prompt);
    return status;
}

static int aged_chat_output_options(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_chat_output *output = NULL;
    (void)c;
    int status = slm_chat_output_create(&output, NULL, &a->chat_output, err);
    slm_chat_output_free(output);
    return status;
}

/* Results. */

static int aged_builtin(const struct aged_call *c, union aged *a, slm_error *err)
{
    (void)c;
    return slm_chat_builtin_find(0, NULL, &a->builtin, err);
}

static int aged_prompt(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_chat_prompt_get_info(c->prompt, &a->prompt, err);
}

static int aged_event(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_chat_output_next(c->output, &a->event, err);
}

static int aged_output(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_chat_output_get_info(c->output, &a->output, err);
}

static int aged_encoding(const struct aged_call *c, union aged *a, slm_error *err)
{
    (void)c;
    return slm_encoding_find(12, NULL, &a->encoding, err);
}

static int aged_model_info(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_model_get_info(c->model, &a->model_info, err);
}

static int aged_metadata(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_model_metadata(c->model, 0, 0, &a->metadata, err);
}

static int aged_tensor(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_model_tensor(c->model, 0, &a->tensor, err);
}

static int aged_context_info(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_context_get_info(c->context, &a->context_info, err);
}

static int aged_plan(const struct aged_call *c, union aged *a, slm_error *err)
{
    slm_context_options o = tiny_context();
    return slm_plan_memory(c->model, &o, &a->plan, err);
}

static int aged_token(const struct aged_call *c, union aged *a, slm_error *err)
{
    return slm_token_get_info(c->model, 0, &a->token, err);
}

/* The defaults come through wrappers: calling init through another's type is undefined. */
#define AGED_INIT(name, field)                                                                     \
    static int aged_init_##name(union aged *a, size_t size)                                        \
    {                                                                                              \
        return slm_##name##_options_init(&a->field, size);                                         \
    }
AGED_INIT(model, model)
AGED_INIT(context, context)
AGED_INIT(threads, threads)
AGED_INIT(eval, eval)
AGED_INIT(embed, embed)
AGED_INIT(sampler, sampler)
AGED_INIT(generate, generate)
AGED_INIT(chat_template, chat_template)
AGED_INIT(chat_output, chat_output)

static int aged_init_chat(union aged *a, size_t size)
{
    return slm_chat_options_init(&a->chat, size);
}

static const struct aged_row {
    const char *name;
    size_t size;
    int (*init)(union aged *a, size_t size); /* NULL: a result */
    int (*call)(const struct aged_call *c, union aged *a, slm_error *err);
} aged_rows[] = {
    {"model", sizeof(slm_model_options), aged_init_model, aged_model_options},
    {"context", sizeof(slm_context_options), aged_init_context, aged_context_options},
    {"plan options", sizeof(slm_context_options), aged_init_context, aged_plan_options},
    {"threads", sizeof(slm_threads_options), aged_init_threads, aged_threads_options},
    {"eval", sizeof(slm_eval_options), aged_init_eval, aged_eval_options},
    {"embed", sizeof(slm_embed_options), aged_init_embed, aged_embed_options},
    {"sampler", sizeof(slm_sampler_options), aged_init_sampler, aged_sampler_options},
    {"generate", sizeof(slm_generate_options), aged_init_generate, aged_generate_options},
    {"chat template", sizeof(slm_chat_template_options), aged_init_chat_template,
     aged_chat_template_options},
    {"chat", sizeof(slm_chat_options), aged_init_chat, aged_chat_options},
    {"chat output", sizeof(slm_chat_output_options), aged_init_chat_output,
     aged_chat_output_options},
    {"encoding", sizeof(slm_encoding_info), NULL, aged_encoding},
    {"builtin", sizeof(slm_chat_builtin), NULL, aged_builtin},
    {"prompt", sizeof(slm_chat_prompt_info), NULL, aged_prompt},
    {"event", sizeof(slm_chat_event), NULL, aged_event},
    {"output", sizeof(slm_chat_output_info), NULL, aged_output},
    {"model info", sizeof(slm_model_info), NULL, aged_model_info},
    {"metadata", sizeof(slm_metadata), NULL, aged_metadata},
    {"tensor", sizeof(slm_tensor_info), NULL, aged_tensor},
    {"context info", sizeof(slm_context_info), NULL, aged_context_info},
    {"plan", sizeof(slm_plan), NULL, aged_plan},
    {"token", sizeof(slm_token_info), NULL, aged_token},
};

#define N_AGED (sizeof aged_rows / sizeof aged_rows[0])

static void aged_open(struct aged_call *c)
{
    slm_context_options o = tiny_context();
    memset(c, 0, sizeof *c);
    assert_int_equal(slm_model_open(&c->model, TESTING_STORYTELLER, NULL, NULL), SLM_OK);
    assert_int_equal(slm_context_create(&c->context, c->model, &o, NULL), SLM_OK);
    assert_int_equal(slm_chat_template_create(&c->chat, c->model, "{{ 1 }}", 7, NULL, NULL),
                     SLM_OK);
    assert_int_equal(slm_chat_render(&c->prompt, c->chat, "[]", 2, NULL, NULL), SLM_OK);
    assert_int_equal(slm_chat_output_create(&c->output, NULL, NULL, NULL), SLM_OK);
}

static void aged_close(struct aged_call *c)
{
    slm_chat_output_free(c->output);
    slm_chat_prompt_free(c->prompt);
    slm_chat_template_free(c->chat);
    slm_context_free(c->context);
    slm_model_free(c->model);
}

static void options_of_older_and_newer_callers_work(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        const struct aged_row *r = &aged_rows[i];
        for (size_t size = 0; r->init != NULL && size <= r->size + 64; size += size < 4 ? 1 : 4) {
            /* Exactly as large as the caller says, so that a read beyond it is seen. */
            union aged *a = (union aged *)malloc(size > 4 ? size : 4);
            slm_error err;
            assert_non_null(a);
            a->struct_size = 0;
            int status = r->init(a, size);
            assert_int_equal(status, size < 4 ? SLM_E_ARGUMENT : SLM_OK);
            if (size >= 4) {
                assert_int_equal(a->struct_size, size);
            } else {
                a->struct_size = (uint32_t)size;
            }
            status = r->call(&c, a, &err);
            if (size < 4) {
                assert_says(r->name, status, &err, SLM_E_ARGUMENT, "struct_size", NULL);
            } else {
                assert_says(r->name, status, &err, SLM_OK, "", NULL);
            }
            free(a);
        }
    }
    aged_close(&c);
}

static void options_the_library_does_not_know_are_refused(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        const struct aged_row *r = &aged_rows[i];
        for (size_t at = r->size; r->init != NULL && at < r->size + 16; at++) {
            union aged a;
            slm_error err;
            char byte[32];
            assert_int_equal(r->init(&a, r->size + 16), SLM_OK);
            a.bytes[at] = 1;
            snprintf(byte, sizeof byte, "byte %zu", at);
            int status = r->call(&c, &a, &err);
            assert_says(r->name, status, &err, SLM_E_ARGUMENT, byte, NULL);
        }
    }
    aged_close(&c);
}

static void results_stay_inside_what_the_caller_has(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        const struct aged_row *r = &aged_rows[i];
        union aged whole;
        slm_error err;
        if (r->init != NULL) {
            continue;
        }
        memset(&whole, 0xaa, sizeof whole);
        whole.struct_size = (uint32_t)r->size;
        assert_int_equal(r->call(&c, &whole, &err), SLM_OK);
        for (size_t size = 0; size <= r->size + 64; size += size < 4 ? 1 : 4) {
            union aged a;
            memset(&a, 0xaa, sizeof a);
            a.struct_size = (uint32_t)size;
            int status = r->call(&c, &a, &err);
            if (size < 4) {
                assert_says(r->name, status, &err, SLM_E_ARGUMENT, "struct_size", NULL);
                continue;
            }
            assert_says(r->name, status, &err, SLM_OK, "", NULL);
            assert_int_equal(a.struct_size, size);
            size_t known = size < r->size ? size : r->size;
            assert_memory_equal(a.bytes + 4, whole.bytes + 4, known - 4);
            for (size_t k = known; k < sizeof a; k++) {
                assert_int_equal(a.bytes[k], k < size ? 0 : 0xaa);
            }
        }
    }
    aged_close(&c);
}

static void absurd_struct_sizes_are_refused(void **state)
{
    struct aged_call c;
    (void)state;
    aged_open(&c);
    for (size_t i = 0; i < N_AGED; i++) {
        static const uint32_t sizes[] = {0, 65537, INT32_MAX, UINT32_MAX};
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            union aged a;
            slm_error err;
            memset(&a, 0, sizeof a);
            a.struct_size = sizes[k];
            int status = aged_rows[i].call(&c, &a, &err);
            assert_says(aged_rows[i].name, status, &err, SLM_E_ARGUMENT, "struct_size", NULL);
        }
        if (aged_rows[i].init != NULL) {
            union aged a;
            assert_int_equal(aged_rows[i].init(&a, SIZE_MAX), SLM_E_ARGUMENT);
            assert_int_equal(slm_model_options_init(NULL, sizeof a), SLM_E_ARGUMENT);
        }
    }
    aged_close(&c);
}

/* An older caller's struct ends before max_bytes and cpu, which keep their defaults. */
static void what_an_older_caller_lacks_keeps_its_default(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model_info info = {.struct_size = sizeof info}, old = {.struct_size = sizeof old};
    slm_model_options o;
    (void)state;
    tiny_build(&b, &t);
    slm_model *model = open_model(&b, NULL);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    slm_model_free(model);
    memset(&o, 0, sizeof o); /* a cap of 0, and no CPU features */
    o.struct_size = offsetof(slm_model_options, max_bytes);
    model = open_model(&b, &o);
    assert_int_equal(slm_model_get_info(model, &old, NULL), SLM_OK);
    assert_int_equal(old.cpu, info.cpu);
    slm_model_free(model);
    build_free(&b);
}

static void unknown_flags_are_refused(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_error err;
    (void)state;
    tiny_build(&b, &t);
    for (int bit = 4; bit < 32; bit++) {
        slm_model_options o = model_options(NULL, 1u << bit);
        assert_says("flags", open_status(&b, &o, &err), &err, SLM_E_ARGUMENT, "flags", NULL);
    }
    build_free(&b);
}

/* ---- NULL ------------------------------------------------------------------------------------ */

static int64_t read_nothing(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    (void)user, (void)file, (void)offset, (void)buffer, (void)size;
    return -1;
}

static void null_for_any_pointer_is_a_status(void **state)
{
    struct build b;
    slm_model *model = open_tiny(&b), *none = NULL;
    slm_context *context = NULL, *no_context = NULL;
    slm_context_options o = tiny_context();
    const void *data = b.file.data;
    size_t size = b.file.size;
    uint64_t size64 = size;
    size_t needed = 0;
    int32_t number = 0;
    const float *logits = NULL;
    const slm_embed_text text = {sizeof text, 5, tokens};
    slm_plan plan = {.struct_size = sizeof plan};
    slm_model_info info = {.struct_size = sizeof info};
    slm_metadata value = {.struct_size = sizeof value};
    slm_tensor_info tensor = {.struct_size = sizeof tensor};
    slm_context_info ci = {.struct_size = sizeof ci};
    (void)state;
    assert_int_equal(slm_context_create(&context, model, &o, NULL), SLM_OK);
    for (int with_error = 0; with_error <= 1; with_error++) {
        slm_error error, *err = with_error ? &error : NULL;
        int n = 0;
        memset(&error, 0, sizeof error);
#define REFUSES(name, call)                                                                        \
    do {                                                                                           \
        error.message[0] = 0;                                                                      \
        assert_int_equal(call, SLM_E_ARGUMENT);                                                    \
        assert_true(!with_error || strstr(error.message, name " is NULL") != NULL);                \
        n++;                                                                                       \
    } while (0)
        REFUSES("model", slm_model_open(NULL, "x", NULL, err));
        REFUSES("path", slm_model_open(&none, NULL, NULL, err));
        REFUSES("model", slm_model_open_memory(NULL, &data, &size, 1, NULL, err));
        REFUSES("data", slm_model_open_memory(&none, NULL, &size, 1, NULL, err));
        REFUSES("size", slm_model_open_memory(&none, &data, NULL, 1, NULL, err));
        REFUSES("model", slm_model_open_callback(NULL, read_nothing, NULL, &size64, 1, NULL, err));
        REFUSES("read", slm_model_open_callback(&none, NULL, NULL, &size64, 1, NULL, err));
        REFUSES("size", slm_model_open_callback(&none, read_nothing, NULL, NULL, 1, NULL, err));
        REFUSES("model", slm_model_get_info(NULL, &info, err));
        REFUSES("info", slm_model_get_info(model, NULL, err));
        REFUSES("model", slm_model_metadata(NULL, 0, 0, &value, err));
        REFUSES("value", slm_model_metadata(model, 0, 0, NULL, err));
        REFUSES("model", slm_model_metadata_find(NULL, "x", sizeof "x" - 1, &number, err));
        REFUSES("key", slm_model_metadata_find(model, NULL, 1, &number, err));
        REFUSES("index", slm_model_metadata_find(model, "x", sizeof "x" - 1, NULL, err));
        REFUSES("model", slm_model_tensor(NULL, 0, &tensor, err));
        REFUSES("info", slm_model_tensor(model, 0, NULL, err));
        REFUSES("info", slm_encoding_find(0, NULL, NULL, err));
        REFUSES("model", slm_plan_memory(NULL, NULL, &plan, err));
        REFUSES("plan", slm_plan_memory(model, NULL, NULL, err));
        REFUSES("context", slm_context_create(NULL, model, NULL, err));
        REFUSES("model", slm_context_create(&no_context, NULL, NULL, err));
        REFUSES("context", slm_context_get_info(NULL, &ci, err));
        REFUSES("info", slm_context_get_info(context, NULL, err));
        REFUSES("context", slm_sequence_length(NULL, 0, &number, err));
        REFUSES("length", slm_sequence_length(context, 0, NULL, err));
        REFUSES("context", slm_sequence_fork(NULL, 0, 0, err));
        REFUSES("context", slm_sequence_rewind(NULL, 0, 0, err));
        REFUSES("context", slm_sequence_checkpoint(NULL, 0, 0, err));
        REFUSES("context", slm_eval(NULL, NULL, 0, sizeof(slm_span), NULL, err));
        REFUSES("context", slm_logits(NULL, 0, &logits, NULL, err));
        REFUSES("logits", slm_logits(context, 0, NULL, NULL, err));
        REFUSES("context", slm_embed(NULL, &text, 1, sizeof text, NULL, NULL, 0, &needed, err));
        REFUSES("needed", slm_embed(context, &text, 1, sizeof text, NULL, NULL, 0, NULL, err));
        REFUSES("rows", slm_embed(context, &text, 1, sizeof text, NULL, NULL, 8, &needed, err));
        REFUSES("threads", slm_threads_create(NULL, NULL, err));
#undef REFUSES
        assert_int_equal(n, 36);
        assert_int_equal(slm_eval(context, NULL, 1, sizeof(slm_span), NULL, err), SLM_E_ARGUMENT);
    }
    assert_int_equal(slm_model_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_context_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_eval_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_embed_options_init(NULL, 8), SLM_E_ARGUMENT);
    assert_int_equal(slm_threads_options_init(NULL, 8), SLM_E_ARGUMENT);
    slm_model_free(NULL);
    slm_context_free(NULL);
    slm_threads_free(NULL);
    slm_sampler_free(NULL);
    slm_generate_end(NULL);
    assert_null(none);
    assert_null(no_context);
    slm_context_free(context);
    slm_model_free(model);
    build_free(&b);
}

/* ---- slm_embed ------------------------------------------------------------------------------- */

static void absurd_texts_are_refused_and_nothing_is_written(void **state)
{
    struct build b;
    slm_model *model = open_tiny(&b);
    slm_context *context = NULL;
    slm_context_options co = tiny_context();
    slm_embed_options o;
    slm_error err;
    float rows[4 * TINY_VOCAB];
    size_t needed = 0, size = sizeof(slm_embed_text);
    int32_t ids[2] = {1, 2};
    slm_embed_text t = {sizeof t, 2, ids};
    (void)state;
    assert_int_equal(slm_context_create(&context, model, &co, NULL), SLM_OK);
    slm_embed_options_init(&o, sizeof o);
    memset(rows, 0, sizeof rows);
#define REFUSES(wanted, word, texts, n_texts, text_size)                                           \
    do {                                                                                           \
        int status = slm_embed(context, texts, n_texts, text_size, &o, rows, 4 * TINY_VOCAB,       \
                               &needed, &err);                                                     \
        assert_says(#texts, status, &err, wanted, word, NULL);                                     \
        for (int k = 0; k < 4 * TINY_VOCAB; k++) {                                                 \
            assert_true(rows[k] == 0);                                                             \
        }                                                                                          \
    } while (0)
    REFUSES(SLM_E_ARGUMENT, "texts", NULL, 1, size);
    REFUSES(SLM_E_ARGUMENT, "texts", &t, -1, size);
    REFUSES(SLM_E_ARGUMENT, "texts", &t, INT32_MIN, size);
    REFUSES(SLM_E_ARGUMENT, "texts of 0 bytes", &t, 1, 0);
    REFUSES(SLM_E_ARGUMENT, "sizeof", &t, 1, size - 1);
    REFUSES(SLM_E_ARGUMENT, "struct_size", &t, 1, SIZE_MAX / sizeof(void *) * sizeof(void *));
    ids[1] = -1;
    REFUSES(SLM_E_ARGUMENT, "token 1 is id -1", &t, 1, size);
    ids[1] = INT32_MAX;
    REFUSES(SLM_E_ARGUMENT, "token 1 is id 2147483647", &t, 1, size);
    ids[1] = 2;
    t.n_tokens = 0;
    REFUSES(SLM_E_ARGUMENT, "text 0 has no tokens", &t, 1, size);
    t.n_tokens = -1;
    REFUSES(SLM_E_ARGUMENT, "text 0 has no tokens", &t, 1, size);
    t.n_tokens = INT32_MAX;
    REFUSES(SLM_E_FULL, "text 0 has 2147483647 tokens", &t, 1, size);
    t.n_tokens = 2;
    t.tokens = NULL;
    REFUSES(SLM_E_ARGUMENT, "text 0 has no tokens", &t, 1, size);
    t.tokens = ids;
    for (int i = 0; i < 4; i++) {
        static const int32_t wrong[4] = {-2, 5, INT32_MIN, INT32_MAX};
        o.pooling = wrong[i];
        REFUSES(SLM_E_ARGUMENT, "pooling", &t, 1, size);
        o.pooling = SLM_AUTO;
        o.normalize = wrong[i];
        REFUSES(SLM_E_ARGUMENT, "normalize", &t, 1, size);
        o.normalize = SLM_NORMALIZE_EUCLIDEAN;
    }
    o.reserved = 1;
    REFUSES(SLM_E_ARGUMENT, "reserved", &t, 1, size);
#undef REFUSES
    o.reserved = 0;
    assert_int_equal(slm_embed(context, NULL, 0, size, &o, rows, 0, &needed, NULL), SLM_OK);
    assert_int_equal(needed, 0);
    slm_context_free(context);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Lifetime -------------------------------------------------------------------------------- */

struct family {
    struct counting c[4]; /* model, threads, context and generator, sampler */
    slm_model *model;
    slm_threads *threads;
    slm_context *context;
    slm_sampler *sampler;
    slm_generator *generator;
};

static void family_make(struct family *f, const struct build *b)
{
    slm_model_options mo = model_options(&f->c[0], SLM_LOAD_READ);
    slm_threads_options to;
    slm_context_options co = tiny_context();
    slm_sampler_options so;
    slm_generate_options go;
    memset(f, 0, sizeof *f);
    f->model = open_model(b, &mo);
    slm_threads_options_init(&to, sizeof to);
    to.n_threads = 2;
    to.alloc = counting_alloc;
    to.alloc_user = &f->c[1];
    assert_int_equal(slm_threads_create(&f->threads, &to, NULL), SLM_OK);
    co.threads = f->threads;
    co.alloc = counting_alloc;
    co.alloc_user = &f->c[2];
    assert_int_equal(slm_context_create(&f->context, f->model, &co, NULL), SLM_OK);
    slm_sampler_options_init(&so, sizeof so);
    so.alloc = counting_alloc;
    so.alloc_user = &f->c[3];
    assert_int_equal(slm_sampler_create(&f->sampler, f->model, NULL, 0, 0, &so, NULL), SLM_OK);
    slm_generate_options_init(&go, sizeof go);
    go.prompt_tokens = tokens;
    go.n_prompt_tokens = 5;
    go.max_tokens = 4;
    assert_int_equal(
        slm_generate_begin(&f->generator, f->context, 0, f->sampler, NULL, 0, &go, NULL), SLM_OK);
}

static void family_free(struct family *f, int which)
{
    switch (which) {
    case 0:
        slm_model_free(f->model);
        break;
    case 1:
        slm_threads_free(f->threads);
        break;
    case 2:
        slm_context_free(f->context);
        break;
    case 3:
        slm_sampler_free(f->sampler);
        break;
    default:
        slm_generate_end(f->generator);
    }
}

/* All 120 orders; as long as the generator is there, it works, whatever else is gone. */
static void objects_may_be_freed_in_any_order(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    int n_orders = 0;
    (void)state;
    t.keys = bpe_known;
    tiny_build(&b, &t);
    for (int code = 0; code < 5 * 5 * 5 * 5 * 5; code++) {
        int order[5], seen = 0;
        for (int i = 0, rest = code; i < 5; i++, rest /= 5) {
            order[i] = rest % 5;
            seen |= 1 << order[i];
        }
        if (seen != 31) {
            continue;
        }
        struct family f;
        family_make(&f, &b);
        int has_generator = 1;
        n_orders++;
        for (int i = 0; i < 5; i++) {
            slm_piece piece = {.struct_size = sizeof piece};
            slm_error err;
            if (has_generator) {
                int status = slm_generate_next(f.generator, &piece, &err);
                assert_says("generator", status, &err, SLM_OK, "", NULL);
            }
            family_free(&f, order[i]);
            has_generator = has_generator && order[i] != 4;
        }
        for (int i = 0; i < 4; i++) {
            assert_all_freed(&f.c[i]);
        }
    }
    assert_int_equal(n_orders, 120);
    build_free(&b);
}

static void a_context_keeps_its_model(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct counting c;
    float rows[2][TINY_VOCAB];
    (void)state;
    tiny_build(&b, &t);
    slm_model_options o = model_options(&c, SLM_LOAD_READ);
    slm_model *model = open_model(&b, &o);
    slm_context *context = NULL;
    slm_context_options co = tiny_context();
    assert_int_equal(slm_context_create(&context, model, &co, NULL), SLM_OK);
    assert_int_equal(tiny_run(model, tokens, 5, rows[0], TINY_VOCAB, NULL), SLM_OK);
    slm_model_free(model);
    assert_true(c.n_blocks > 0);
    assert_int_equal(tiny_logits(context, tokens, 5, rows[1], TINY_VOCAB, NULL), SLM_OK);
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    slm_context_free(context);
    assert_all_freed(&c);
    build_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_is_answered_by_some_call),
        cmocka_unit_test(every_status_has_a_name_and_stands_in_the_table),
        cmocka_unit_test(every_encoding_is_found_by_type_and_by_name),
        cmocka_unit_test(other_encodings_do_not_exist),
        cmocka_unit_test(options_of_older_and_newer_callers_work),
        cmocka_unit_test(options_the_library_does_not_know_are_refused),
        cmocka_unit_test(results_stay_inside_what_the_caller_has),
        cmocka_unit_test(absurd_struct_sizes_are_refused),
        cmocka_unit_test(what_an_older_caller_lacks_keeps_its_default),
        cmocka_unit_test(unknown_flags_are_refused),
        cmocka_unit_test(null_for_any_pointer_is_a_status),
        cmocka_unit_test(absurd_texts_are_refused_and_nothing_is_written),
        cmocka_unit_test(objects_may_be_freed_in_any_order),
        cmocka_unit_test(a_context_keeps_its_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
