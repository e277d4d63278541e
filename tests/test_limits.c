/* test_limits.c - every limit of src/base.c: what stands at it is taken, one past it is refused with
 * a message, and neither takes more memory than its file has bytes.
 *
 * Files larger than a test may be are told to exist and read through a callback that knows only
 * their beginning: the rest is zeros (struct sparse). Where even what slm would keep is too large,
 * an allocator that gives little shows that the limit let the request pass: SLM_E_MEMORY at the
 * limit, another status past it.
 *
 * Not reached as whole models, for their size: a vocabulary of 2^24 texts (256 MB of file) and 2^26
 * merges (1 GB); the counts are written into a read file, and rows of the embedding stand for the
 * rest. Not reached at all: 1,024 running threads, which a container may forbid (the host's own
 * executor stands for them), and paths on Windows from other systems. */
#include "../slm.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "counting.h"
#include "gguf_build.h"

/* ---- Files that are mostly said to be there -------------------------------------------------- */

struct sparse {
    const uint8_t *data;
    size_t size;
    uint64_t claimed;
};

static int64_t sparse_read(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    const struct sparse *s = (const struct sparse *)user + file;
    for (size_t i = 0; i < size; i++) {
        uint64_t at = offset + i;
        ((uint8_t *)buffer)[i] = at < s->size ? s->data[at] : 0;
    }
    return (int64_t)size;
}

/* Opens the file as one of `claimed` bytes. The count of the allocator, which gives no more than
 * 64 MiB, is left in *c. */
static int sparse_open(slm_model **model, const struct build *b, uint64_t claimed, uint32_t flags,
                       struct counting *c, slm_error *err)
{
    struct sparse s = {b->file.data, b->file.size, claimed};
    slm_model_options o;
    memset(c, 0, sizeof *c);
    c->limit = (uint64_t)64 << 20;
    slm_model_options_init(&o, sizeof o);
    o.flags = flags;
    o.alloc = counting_alloc;
    o.alloc_user = c;
    return slm_model_open_callback(model, sparse_read, &s, &claimed, 1, &o, err);
}

/* A tensor whose data nobody wrote. */
static void sparse_tensor(struct build *b, const char *name, int64_t n_in, int64_t n_out)
{
    const int64_t shape[2] = {n_in, n_out};
    build_tensor_bytes(b, name, 0, n_out > 0 ? 2 : 1, shape, NULL, 0);
}

static void assert_says(const char *what, int status, const slm_error *err, int wanted,
                        const char *a, const char *b)
{
    if (status != wanted || (status != SLM_OK && !tiny_says(err, a, b))) {
        fail_msg("%s: %s '%s', not %s '%s' '%s'", what, slm_status_name(status),
                 status != SLM_OK ? err->message : "", slm_status_name(wanted), a != NULL ? a : "",
                 b != NULL ? b : "");
    }
}

static int open_status(const struct build *b, slm_error *err)
{
    slm_model *model = NULL;
    int status = tiny_open(&model, b, NULL, err);
    slm_model_free(model);
    return status;
}

static slm_model *open_tiny(void)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model *model = NULL;
    slm_model_options o;
    tiny_build(&b, &t);
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_READ;
    assert_int_equal(tiny_open(&model, &b, &o, NULL), SLM_OK);
    build_free(&b);
    return model;
}

/* ---- One place, and the manual --------------------------------------------------------------- */

/* Every limit, and how slm.h tells it. */
static const struct {
    const char *name;
    uint64_t value;
    const char *says;
} limits[] = {
    {"METADATA_BYTES", LIMIT_METADATA_BYTES,
     "bytes of metadata in one file: header, keys and tensor table"},
    {"KEYS", LIMIT_KEYS, "keys of a file"},
    {"KEY_BYTES", LIMIT_KEY_BYTES, "bytes of a key"},
    {"TENSORS", LIMIT_TENSORS, "tensors of a model, in all its files"},
    {"TENSOR_NAME_BYTES", LIMIT_TENSOR_NAME_BYTES, "bytes of a tensor's name"},
    {"DIMENSIONS", LIMIT_DIMENSIONS, "dimensions of a tensor"},
    {"ALIGNMENT", LIMIT_ALIGNMENT, "bytes that tensors are aligned to"},
    {"SPLIT_FILES", LIMIT_SPLIT_FILES, "files of a split model"},
    {"PATH_CHARACTERS", LIMIT_PATH_CHARACTERS, "characters of a path on Windows"},
    {"LAYERS", LIMIT_LAYERS, "layers"},
    {"WIDTH", LIMIT_WIDTH, "elements of a row: n_embd, n_ff"},
    {"HEADS", LIMIT_HEADS, "heads"},
    {"HEAD_DIM", LIMIT_HEAD_DIM, "elements of a head"},
    {"EXPERTS", LIMIT_EXPERTS, "experts of a layer"},
    {"TAPS", LIMIT_TAPS, "taps of a convolution"},
    {"SSM_STATE", LIMIT_SSM_STATE, "columns of the state of a recurrent head"},
    {"VOCABULARY", LIMIT_VOCABULARY, "tokens of a vocabulary"},
    {"TOKEN_BYTES", LIMIT_TOKEN_BYTES, "bytes of a token"},
    {"MERGES", LIMIT_MERGES, "merges of a vocabulary"},
    {"MERGE_BYTES", LIMIT_MERGE_BYTES, "bytes of a merge"},
    {"TEXT_BYTES", LIMIT_TEXT_BYTES, "bytes of a text tokenised at once"},
    {"CONTEXT", LIMIT_CONTEXT, "positions of a sequence, and rows of logits of a call"},
    {"SEQUENCES", LIMIT_SEQUENCES, "sequences of a context"},
    {"CHECKPOINTS", LIMIT_CHECKPOINTS, "checkpoints of a sequence"},
    {"PAGES", LIMIT_PAGES, "KV pages of a context"},
    {"BATCH", LIMIT_BATCH, "tokens of a batch"},
    {"THREADS", LIMIT_THREADS, "threads"},
    {"STAGES", LIMIT_STAGES, "stages of a sampler"},
    {"WINDOW", LIMIT_WINDOW, "accepted tokens that a stage looks back at"},
    {"STOPS", LIMIT_STOPS, "stop strings"},
    {"STOP_BYTES", LIMIT_STOP_BYTES, "bytes of a stop string"},
    {"FORCED", LIMIT_FORCED, "tokens that end reasoning"},
    {"TEMPLATE_BYTES", LIMIT_TEMPLATE_BYTES, "bytes of a chat template"},
    {"TEMPLATE_DEPTH", LIMIT_TEMPLATE_DEPTH, "brackets and blocks of a template inside each other"},
    {"JSON_DEPTH", LIMIT_JSON_DEPTH, "values of JSON inside each other"},
    {"RENDER_DEPTH", LIMIT_RENDER_DEPTH,
     "expressions, blocks and macros at work inside each other"},
    {"RENDER_TEXT", LIMIT_RENDER_TEXT,
     "bytes of JSON, of a text in a template and of a rendered prompt"},
    {"RENDER_BYTES", LIMIT_RENDER_BYTES, "bytes of memory that rendering takes"},
    {"RENDER_STEPS", LIMIT_RENDER_STEPS, "steps of a rendering: some tenths of a second"},
    {"RANGE", LIMIT_RANGE, "numbers of a template's range()"},
    {"DATE", LIMIT_DATE, "seconds that a template's date is from 1970"},
    {"STRUCT_BYTES", LIMIT_STRUCT_BYTES, "bytes of a struct that tells its size"},
};

#define N_LIMITS (sizeof limits / sizeof limits[0])
#define DEFINES "#define LIMIT_"

/* How many limits a source file defines; each must be in the table. */
static size_t defined_limits(const char *path)
{
    size_t size = 0;
    size_t n = 0;
    char *source = testing_read(path, &size);
    assert_non_null(source);
    for (const char *at = source; (at = strstr(at, DEFINES)) != NULL; n++) {
        at += strlen(DEFINES);
        size_t known = 0;
        for (size_t i = 0; i < N_LIMITS; i++) {
            size_t length = strlen(limits[i].name);
            known += strncmp(at, limits[i].name, length) == 0 && at[length] == ' ';
        }
        if (known != 1) {
            fail_msg("%s: LIMIT_%.30s is not in the table of this test", path, at);
        }
    }
    free(source);
    return n;
}

static void all_limits_stand_in_one_place(void **state)
{
    size_t size = 0;
    size_t n_sources = 0;
    char *map = testing_read("slm.c", &size);
    (void)state;
    assert_non_null(map);
    assert_int_equal(defined_limits("src/base.c"), N_LIMITS);
    for (char *at = map; (at = strstr(at, "#include \"src/")) != NULL; n_sources++) {
        char path[64] = "";
        sscanf(at, "#include \"%63[^\"]", path);
        if (strcmp(path, "src/base.c") != 0) {
            assert_int_equal(defined_limits(path), 0);
        }
        at++;
    }
    assert_true(n_sources > 20);
    free(map);
}

/* 1048576 as "1,048,576". */
static void with_commas(uint64_t value, char out[32])
{
    char digits[32];
    size_t n = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            out[used++] = ',';
        }
        out[used++] = digits[i];
    }
    out[used] = 0;
}

static void the_header_tells_every_limit(void **state)
{
    size_t size = 0;
    char *header = testing_read("slm.h", &size);
    (void)state;
    assert_non_null(header);
    for (size_t i = 0; i < N_LIMITS; i++) {
        char number[32];
        char line[160];
        with_commas(limits[i].value, number);
        snprintf(line, sizeof line, " * %18s  %s\n", number, limits[i].says);
        if (strstr(header, line) == NULL) {
            fail_msg("slm.h has no line '%s'", line);
        }
    }
    free(header);
}

/* ---- The file -------------------------------------------------------------------------------- */

static void metadata_of_a_gigabyte(void **state)
{
    const uint64_t gigabyte = LIMIT_METADATA_BYTES;
    (void)state;
    for (int past = 0; past <= 1; past++) {
        struct build b;
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        build_init(&b);
        build_array(&b, "a", SLM_TYPE_UINT8, 0);
        build_finish(&b);
        size_t head = BUILD_HEADER + b.keys.size;
        build_poke(&b, build_at(&b, "a", AT_ELEMENTS), gigabyte - head + (uint64_t)past, 8);
        int status = sparse_open(&model, &b, 2 * gigabyte, 0, &c, &err);
        if (past) {
            assert_says("past", status, &err, SLM_E_UNSUPPORTED, "metadata", "1073741824");
            assert_in_range(c.largest, 1, 65536);
        } else {
            assert_says("at", status, &err, SLM_E_MEMORY, "1073741824", NULL);
            assert_int_equal(c.largest, gigabyte);
        }
        assert_null(model);
        assert_int_equal(c.n_blocks, 0);
        build_free(&b);
    }
}

/* A text takes 8 bytes of file, so no more than 2^27 fit; nothing is indexed before that is known. */
static void array_of_2_to_27_texts(void **state)
{
    const uint64_t most = LIMIT_METADATA_BYTES / 8;
    (void)state;
    for (uint64_t past = 0; past <= 1; past++) {
        struct build b;
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        build_init(&b);
        build_array(&b, "texts", SLM_TYPE_STRING, 0);
        build_finish(&b);
        build_poke(&b, build_at(&b, "texts", AT_ELEMENTS), most + past, 8);
        int status = sparse_open(&model, &b, (uint64_t)1 << 33, 0, &c, &err);
        if (past) {
            assert_says("past", status, &err, SLM_E_UNSUPPORTED, "metadata", "1073741824");
            assert_in_range(c.largest, 1, 65536);
        } else {
            assert_says("at", status, &err, SLM_E_MEMORY, "string array", NULL);
            assert_int_equal(c.largest, most * 4);
        }
        assert_int_equal(c.n_blocks, 0);
        build_free(&b);
    }
}

static void key_of_65535_bytes(void **state)
{
    static char key[LIMIT_KEY_BYTES + 2];
    (void)state;
    for (unsigned past = 0; past <= 1; past++) {
        struct build b;
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        int32_t index = -1;
        memset(key, 'k', LIMIT_KEY_BYTES + past);
        key[LIMIT_KEY_BYTES + past] = 0;
        build_init(&b);
        build_text(&b, "general.architecture", "llama");
        build_u32(&b, key, 7);
        build_finish(&b);
        int status = sparse_open(&model, &b, b.file.size, SLM_LOAD_METADATA, &c, &err);
        assert_says("key", status, &err, past ? SLM_E_FORMAT : SLM_OK, "a key of 65536 bytes",
                    NULL);
        if (!past) {
            assert_int_equal(slm_model_metadata_find(model, key, strlen(key), &index, NULL),
                             SLM_OK);
            assert_int_equal(index, 1);
        }
        slm_model_free(model);
        build_free(&b);
    }
}

static void file_of_65536_keys(void **state)
{
    (void)state;
    for (uint32_t past = 0; past <= 1; past++) {
        struct build b;
        slm_model *model = NULL;
        slm_model_options o;
        slm_model_info info = {.struct_size = sizeof info};
        slm_error err;
        build_init(&b);
        build_text(&b, "general.architecture", "llama");
        for (uint32_t i = 1; i < LIMIT_KEYS + past; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%u", i);
            build_u32(&b, key, i);
        }
        build_finish(&b);
        slm_model_options_init(&o, sizeof o);
        o.flags = SLM_LOAD_METADATA;
        assert_says("keys", tiny_open(&model, &b, &o, &err), &err,
                    past ? SLM_E_UNSUPPORTED : SLM_OK, "65537 keys", "65536 are the limit");
        if (!past) {
            assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
            assert_int_equal(info.n_metadata, LIMIT_KEYS);
        }
        slm_model_free(model);
        build_free(&b);
    }
}

/* Scalars with names of eight letters, all in one place; for there must be bytes for each. */
static void build_tensors(struct build *b, uint32_t n)
{
    build_init(b);
    build_text(b, "general.architecture", "llama");
    for (uint32_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%07u", i);
        build_put_string(&b->infos, name, 8);
        build_put_int(&b->infos, 0, 4);
        build_put_int(&b->infos, 0, 4);
        build_put_int(&b->infos, 0, 8);
        build_put_int(&b->data, 0, 4);
    }
    b->n_tensors = n;
    build_finish(b);
}

static void model_of_2_to_20_tensors(void **state)
{
    struct build b;
    struct counting c;
    slm_model *model = NULL;
    slm_model_options o;
    slm_tensor_info info = {.struct_size = sizeof info};
    slm_error err;
    (void)state;
    build_tensors(&b, LIMIT_TENSORS);
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    assert_says("at", tiny_open(&model, &b, &o, &err), &err, SLM_OK, NULL, NULL);
    assert_int_equal(slm_model_tensor(model, LIMIT_TENSORS - 1, &info, NULL), SLM_OK);
    assert_memory_equal(info.name, "t1048575", 8);
    slm_model_free(model);
    build_poke(&b, BUILD_AT_N_TENSORS, LIMIT_TENSORS + 1, 8);
    assert_says("past", sparse_open(&model, &b, (uint64_t)1 << 30, 0, &c, &err), &err,
                SLM_E_UNSUPPORTED, "1048577 tensors", "1048576");
    assert_in_range(c.largest, 1, 65536);
    build_free(&b);
}

/* The second of two files claims the limit, the first has some already. */
static void tensors_count_over_all_files(void **state)
{
    struct build parts[2];
    struct sparse s[2];
    uint64_t claimed[2];
    struct tiny t = tiny_default();
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    t.n_shards = 2;
    for (t.shard = 0; t.shard < 2; t.shard++) {
        struct build *b = &parts[t.shard];
        tiny_build(b, &t);
        build_poke(b, BUILD_AT_N_TENSORS, t.shard == 1 ? LIMIT_TENSORS : b->n_tensors, 8);
        claimed[t.shard] = b->file.size + (t.shard == 1 ? (uint64_t)1 << 30 : 0);
        s[t.shard].data = b->file.data;
        s[t.shard].size = b->file.size;
    }
    assert_true(parts[0].n_tensors > 0);
    int status = slm_model_open_callback(&model, sparse_read, s, claimed, 2, NULL, &err);
    assert_says("both", status, &err, SLM_E_UNSUPPORTED, "tensors and", "1048576");
    build_free(&parts[0]);
    build_free(&parts[1]);
}

static void tensor_of_four_dimensions(void **state)
{
    static const int64_t shape[LIMIT_DIMENSIONS + 1] = {4, 1, 2, 3, 1};
    (void)state;
    for (uint32_t past = 0; past <= 1; past++) {
        struct build b;
        slm_model *model = NULL;
        slm_model_options o;
        slm_tensor_info info = {.struct_size = sizeof info};
        slm_error err;
        build_init(&b);
        build_text(&b, "general.architecture", "llama");
        build_tensor(&b, "t", LIMIT_DIMENSIONS + past, shape);
        build_finish(&b);
        slm_model_options_init(&o, sizeof o);
        o.flags = SLM_LOAD_METADATA;
        int status = tiny_open(&model, &b, &o, &err);
        assert_says("dimensions", status, &err, past ? SLM_E_FORMAT : SLM_OK, "'t' has 5",
                    "4 are the limit");
        if (!past) {
            assert_int_equal(slm_model_tensor(model, 0, &info, NULL), SLM_OK);
            assert_int_equal(info.n_dims, LIMIT_DIMENSIONS);
            assert_int_equal(info.shape[3], 3);
        }
        slm_model_free(model);
        build_free(&b);
    }
}

static void path_on_windows(void **state)
{
    (void)state;
#if defined(_WIN32) && !defined(SLM_NO_FILES)
    for (size_t past = 0; past <= 1; past++) {
        static char path[LIMIT_PATH_CHARACTERS + 2];
        slm_model *model = NULL;
        slm_error err;
        memset(path, 'p', sizeof path);
        path[LIMIT_PATH_CHARACTERS + past] = 0;
        assert_says("path", slm_model_open(&model, path, NULL, &err), &err, SLM_E_IO,
                    past ? "over 1023 characters" : "cannot open '...pp", NULL);
    }
#else
    skip();
#endif
}

static void tensor_name_of_63_bytes(void **state)
{
    static const int64_t shape[1] = {4};
    (void)state;
    for (unsigned past = 0; past <= 1; past++) {
        struct build b;
        slm_model *model = NULL;
        slm_model_options o;
        slm_tensor_info info;
        slm_error err;
        char name[LIMIT_TENSOR_NAME_BYTES + 2];
        memset(name, 't', LIMIT_TENSOR_NAME_BYTES + past);
        name[LIMIT_TENSOR_NAME_BYTES + past] = 0;
        build_init(&b);
        build_text(&b, "general.architecture", "llama");
        build_tensor(&b, name, 1, shape);
        build_finish(&b);
        slm_model_options_init(&o, sizeof o);
        o.flags = SLM_LOAD_METADATA;
        int status = tiny_open(&model, &b, &o, &err);
        assert_says("name", status, &err, past ? SLM_E_FORMAT : SLM_OK, "name of 64 bytes", NULL);
        if (!past) {
            memset(&info, 0, sizeof info);
            info.struct_size = sizeof info;
            assert_int_equal(slm_model_tensor(model, 0, &info, NULL), SLM_OK);
            assert_int_equal(info.name_size, LIMIT_TENSOR_NAME_BYTES);
        }
        slm_model_free(model);
        build_free(&b);
    }
}

static void alignment_of_a_mebibyte(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_error err;
    (void)state;
    t.alignment = LIMIT_ALIGNMENT;
    tiny_build(&b, &t);
    assert_says("at", open_status(&b, &err), &err, SLM_OK, NULL, NULL);
    build_poke(&b, build_at(&b, "general.alignment", AT_VALUE), 2 * LIMIT_ALIGNMENT, 4);
    assert_says("the next power of two", open_status(&b, &err), &err, SLM_E_FORMAT,
                "general.alignment is 2097152", "up to 1048576");
    build_poke(&b, build_at(&b, "general.alignment", AT_VALUE), LIMIT_ALIGNMENT + 1, 4);
    assert_says("one past", open_status(&b, &err), &err, SLM_E_FORMAT,
                "general.alignment is 1048577", "up to 1048576");
    build_free(&b);
}

static void model_in_1024_files(void **state)
{
    static struct build parts[LIMIT_SPLIT_FILES];
    static const void *data[LIMIT_SPLIT_FILES + 1];
    static size_t size[LIMIT_SPLIT_FILES + 1];
    struct tiny t = tiny_default();
    slm_model *model = NULL;
    slm_error err;
    (void)state;
    t.n_shards = LIMIT_SPLIT_FILES;
    for (int i = 0; i < LIMIT_SPLIT_FILES; i++) {
        t.shard = i;
        tiny_build(&parts[i], &t);
        data[i] = parts[i].file.data;
        size[i] = parts[i].file.size;
    }
    data[LIMIT_SPLIT_FILES] = data[1];
    size[LIMIT_SPLIT_FILES] = size[1];
    assert_says("at", slm_model_open_memory(&model, data, size, LIMIT_SPLIT_FILES, NULL, &err),
                &err, SLM_OK, NULL, NULL);
    slm_model_free(model);
    assert_says("past",
                slm_model_open_memory(&model, data, size, LIMIT_SPLIT_FILES + 1, NULL, &err), &err,
                SLM_E_ARGUMENT, "n_files is 1025", "1 to 1024");
    build_poke(&parts[0], build_at(&parts[0], "split.count", AT_VALUE), LIMIT_SPLIT_FILES + 1, 2);
    assert_says("said by the file", open_status(&parts[0], &err), &err, SLM_E_FORMAT,
                "split.count is 1025", "1 to 1024");
    for (int i = 0; i < LIMIT_SPLIT_FILES; i++) {
        build_free(&parts[i]);
    }
}

/* ---- The model ------------------------------------------------------------------------------- */

/* All hyper-parameters at their limits at once: a file of 2^55 bytes. */
static uint64_t build_giant(struct build *b)
{
    const int64_t width = LIMIT_WIDTH;
    build_init(b);
    build_text(b, "general.architecture", "llama");
    build_u32(b, "llama.block_count", LIMIT_LAYERS);
    build_u32(b, "llama.embedding_length", LIMIT_WIDTH);
    build_u32(b, "llama.feed_forward_length", LIMIT_WIDTH);
    build_u32(b, "llama.attention.head_count", LIMIT_HEADS);
    build_u32(b, "llama.attention.head_count_kv", LIMIT_HEADS);
    build_u32(b, "llama.attention.key_length", LIMIT_HEAD_DIM);
    build_u32(b, "llama.attention.value_length", LIMIT_HEAD_DIM);
    build_u32(b, "llama.context_length", LIMIT_CONTEXT);
    build_u32(b, "llama.rope.scaling.original_context_length", LIMIT_CONTEXT);
    build_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    sparse_tensor(b, "token_embd.weight", width, LIMIT_VOCABULARY);
    sparse_tensor(b, "output_norm.weight", width, 0);
    for (int i = 0; i < LIMIT_LAYERS; i++) {
        static const char *const names[] = {"attn_norm", "ffn_norm", "attn_q",
                                            "attn_k",    "attn_v",   "attn_output",
                                            "ffn_gate",  "ffn_up",   "ffn_down"};
        for (int k = 0; k < 9; k++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, names[k]);
            sparse_tensor(b, name, width, k < 2 ? 0 : width);
        }
    }
    build_finish(b);
    return ((uint64_t)1 << 55) + b->file.size;
}

/* What the plan of a context says of the giant, opened without its weights. */
static int giant_plan(const struct build *b, uint64_t claimed, const slm_context_options *o,
                      slm_plan *plan, slm_error *err)
{
    struct counting c;
    slm_model *model = NULL;
    assert_int_equal(sparse_open(&model, b, claimed, SLM_LOAD_METADATA, &c, err), SLM_OK);
    memset(plan, 0, sizeof *plan);
    plan->struct_size = sizeof *plan;
    int status = slm_plan_memory(model, o, plan, err);
    slm_model_free(model);
    assert_int_equal(c.n_blocks, 0);
    return status;
}

static void hyper_parameters_all_at_their_limits(void **state)
{
    static const struct {
        const char *key;
        uint32_t limit;
    } rows[] = {{"llama.block_count", LIMIT_LAYERS},
                {"llama.embedding_length", LIMIT_WIDTH},
                {"llama.feed_forward_length", LIMIT_WIDTH},
                {"llama.attention.head_count", LIMIT_HEADS},
                {"llama.attention.head_count_kv", LIMIT_HEADS},
                {"llama.attention.key_length", LIMIT_HEAD_DIM},
                {"llama.attention.value_length", LIMIT_HEAD_DIM},
                {"llama.context_length", LIMIT_CONTEXT},
                {"llama.rope.scaling.original_context_length", LIMIT_CONTEXT}};
    struct build b;
    slm_context_options o = tiny_context();
    slm_plan plan;
    slm_error err;
    (void)state;
    if (sizeof(size_t) < 8) {
        skip(); /* too large for such a machine, whatever the limits are */
    }
    uint64_t claimed = build_giant(&b);
    o.n_ctx = 1;
    assert_says("at", giant_plan(&b, claimed, &o, &plan, &err), &err, SLM_OK, NULL, NULL);
    /* 128 positions of keys and values in all layers, in f16. */
    assert_int_equal(plan.kv_bytes, (uint64_t)128 * 2 * LIMIT_WIDTH * LIMIT_LAYERS * 2);
    assert_true(plan.context_heap_bytes > plan.kv_bytes);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char past[64], range[64];
        snprintf(past, sizeof past, "%s' is %u:", rows[i].key, rows[i].limit + 1);
        snprintf(range, sizeof range, " to %u ", rows[i].limit);
        build_poke(&b, build_at(&b, rows[i].key, AT_VALUE), rows[i].limit + 1, 4);
        assert_says(rows[i].key, giant_plan(&b, claimed, &o, &plan, &err), &err, SLM_E_MODEL, past,
                    range);
        build_poke(&b, build_at(&b, rows[i].key, AT_VALUE), rows[i].limit, 4);
    }
    /* Sums of such a model do not fit 64 bits: said, not wrapped. */
    o.n_ctx = LIMIT_CONTEXT;
    o.n_sequences = LIMIT_SEQUENCES;
    o.n_batch = LIMIT_BATCH;
    o.n_logits = LIMIT_CONTEXT;
    assert_says("everything", giant_plan(&b, claimed, &o, &plan, &err), &err, SLM_E_MEMORY,
                "address space", NULL);
    build_free(&b);
}

static void head_width_that_follows_from_the_others(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_error err;
    (void)state;
    t.n_head = t.n_kv_head = 1;
    t.n_embd = LIMIT_HEAD_DIM;
    tiny_build(&b, &t);
    slm_model *model = NULL;
    float row[TINY_VOCAB];
    const int32_t token = 3;
    assert_int_equal(tiny_open(&model, &b, NULL, &err), SLM_OK);
    assert_says("runs", tiny_run(model, &token, 1, row, TINY_VOCAB, &err), &err, SLM_OK, NULL,
                NULL);
    slm_model_free(model);
    build_poke(&b, build_at(&b, "llama.embedding_length", AT_VALUE), LIMIT_HEAD_DIM + 2, 4);
    assert_says("past", open_status(&b, &err), &err, SLM_E_MODEL, "a head of 1026", "1 to 1024");
    build_free(&b);
}

static void model_of_512_layers_runs(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model *model = NULL;
    slm_error err;
    float row[TINY_VOCAB];
    const int32_t tokens[2] = {1, 2};
    (void)state;
    t.n_layer = LIMIT_LAYERS;
    t.n_ff = 4;
    tiny_build(&b, &t);
    assert_says("open", tiny_open(&model, &b, NULL, &err), &err, SLM_OK, NULL, NULL);
    assert_says("run", tiny_run(model, tokens, 2, row, TINY_VOCAB, &err), &err, SLM_OK, NULL, NULL);
    slm_model_free(model);
    build_free(&b);
}

static void write_experts(struct build *b)
{
    build_u32(b, "llama.expert_count", LIMIT_EXPERTS);
    build_u32(b, "llama.expert_used_count", LIMIT_EXPERTS);
}

static void write_expert_tensors(struct build *b)
{
    const int64_t router[2] = {16, LIMIT_EXPERTS};
    const int64_t up[3] = {16, 20, LIMIT_EXPERTS}, down[3] = {20, 16, LIMIT_EXPERTS};
    build_tensor(b, "blk.0.ffn_gate_inp.weight", 2, router);
    build_tensor(b, "blk.0.ffn_gate_exps.weight", 3, up);
    build_tensor(b, "blk.0.ffn_up_exps.weight", 3, up);
    build_tensor(b, "blk.0.ffn_down_exps.weight", 3, down);
}

static void layer_of_1024_experts_runs(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model *model = NULL;
    slm_error err;
    float row[TINY_VOCAB];
    const int32_t tokens[2] = {1, 2};
    (void)state;
    t.keys = write_experts;
    t.tensors = write_expert_tensors;
    tiny_build(&b, &t);
    assert_says("open", tiny_open(&model, &b, NULL, &err), &err, SLM_OK, NULL, NULL);
    assert_says("run", tiny_run(model, tokens, 2, row, TINY_VOCAB, &err), &err, SLM_OK, NULL, NULL);
    slm_model_free(model);
    build_poke(&b, build_at(&b, "llama.expert_count", AT_VALUE), LIMIT_EXPERTS + 1, 4);
    assert_says("past", open_status(&b, &err), &err, SLM_E_MODEL, "expert_count' is 1025",
                "0 to 1024");
    build_free(&b);
}

static void embedding_of_2_to_24_rows(void **state)
{
    (void)state;
    if (sizeof(size_t) < 8) {
        skip();
    }
    for (int past = 0; past <= 1; past++) {
        struct build b;
        slm_plan plan;
        slm_error err;
        slm_context_options o = tiny_context();
        uint64_t claimed = build_giant(&b) << 1;
        build_poke(&b, build_at(&b, "token_embd.weight", AT_SHAPE) + 8,
                   (uint64_t)LIMIT_VOCABULARY + (uint64_t)past, 8);
        assert_says("rows", giant_plan(&b, claimed, &o, &plan, &err), &err,
                    past ? SLM_E_MODEL : SLM_OK, "'token_embd.weight' has 16777217 rows", NULL);
        build_free(&b);
    }
}

/* ---- The vocabulary -------------------------------------------------------------------------- */

/* The keys of a vocabulary of n texts, the last one long. */
static void build_vocabulary(struct build *b, const char *model, size_t n, size_t longest)
{
    char *text = (char *)malloc(longest + 1);
    assert_non_null(text);
    memset(text, 'x', longest);
    build_text(b, "tokenizer.ggml.model", model);
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, n);
    for (size_t i = 0; i + 1 < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", (unsigned)i);
        build_put_string(&b->keys, name, strlen(name));
    }
    build_put_string(&b->keys, text, longest);
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, n);
    for (size_t i = 0; i < n; i++) {
        build_put_f32(&b->keys, 0);
    }
    free(text);
}

static int vocabulary_status(size_t longest, slm_error *err)
{
    struct build b;
    struct counting c;
    slm_model *model = NULL;
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_vocabulary(&b, "llama", 4, longest);
    build_finish(&b);
    int status = sparse_open(&model, &b, b.file.size, SLM_LOAD_METADATA, &c, err);
    if (status == SLM_OK) {
        slm_token_info info;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        assert_int_equal(slm_token_get_info(model, 3, &info, NULL), SLM_OK);
        assert_int_equal(info.text_size, longest);
    }
    slm_model_free(model);
    build_free(&b);
    return status;
}

static void token_of_65535_bytes(void **state)
{
    slm_error err;
    (void)state;
    assert_says("at", vocabulary_status(LIMIT_TOKEN_BYTES, &err), &err, SLM_OK, NULL, NULL);
    assert_says("past", vocabulary_status(LIMIT_TOKEN_BYTES + 1, &err), &err, SLM_E_MODEL,
                "tokens[3] has 65536 bytes", "65535");
}

/* The count of a key's array in a file that was read. */
static void set_count(struct gguf *g, const char *key, uint64_t count)
{
    int64_t i = gguf_find(g, key);
    assert_true(i >= 0);
    g->kv[i].count = count;
}

/* Loads a vocabulary after counts of a read file were changed, with 1 MiB of memory. */
static int counts_status(const char *model, const char *const *keys, uint64_t count,
                         struct counting *c, slm_error *err)
{
    static const char *const merges[1] = {"t0 t1"};
    struct build b;
    struct gguf g;
    struct gguf_part part;
    struct vocab v;
    struct memory real = memory_make(NULL, NULL, UINT64_MAX);
    struct memory little = memory_make(counting_alloc, c, UINT64_MAX);
    memset(c, 0, sizeof *c);
    c->limit = 1 << 20;
    memset(&g, 0, sizeof g);
    memset(&part, 0, sizeof part);
    build_init(&b);
    build_vocabulary(&b, model, 4, 8);
    build_texts(&b, "tokenizer.ggml.merges", merges, 1);
    build_finish(&b);
    part.source.data = b.file.data;
    part.source.size = b.file.size;
    g.parts = &part;
    g.n_parts = 1;
    assert_int_equal(gguf_read_part(&g, &part, &real, err), SLM_OK);
    uint64_t before[2] = {0, 0};
    for (int i = 0; i < 2 && keys[i] != NULL; i++) {
        before[i] = g.kv[gguf_find(&g, keys[i])].count;
        set_count(&g, keys[i], count);
    }
    int status = vocab_load(&v, &g, &little, err);
    for (int i = 0; i < 2 && keys[i] != NULL; i++) {
        set_count(&g, keys[i], before[i]);
    }
    gguf_drop_keys(&g, &real);
    memory_give(&real, g.tensors, g.tensor_capacity * sizeof(struct gguf_tensor));
    memory_give(&real, part.bytes, part.capacity);
    build_free(&b);
    return status;
}

static void vocabulary_of_2_to_24_tokens_and_2_to_26_merges(void **state)
{
    static const char *const tokens[2] = {"tokenizer.ggml.tokens", "tokenizer.ggml.scores"};
    static const char *const merges[2] = {"tokenizer.ggml.merges", NULL};
    struct counting c;
    slm_error err;
    (void)state;
    assert_says("tokens at", counts_status("llama", tokens, LIMIT_VOCABULARY, &c, &err), &err,
                SLM_E_MEMORY, "the vocabulary", NULL);
    assert_int_equal(c.n_calls, 1);
    assert_says("tokens past", counts_status("llama", tokens, LIMIT_VOCABULARY + 1, &c, &err), &err,
                SLM_E_UNSUPPORTED, "tokens has 16777217", "16777216");
    assert_int_equal(c.n_calls, 0);
    assert_says("merges at", counts_status("gpt2", merges, LIMIT_MERGES, &c, &err), &err,
                SLM_E_MEMORY, "the vocabulary", NULL);
    assert_int_equal(c.n_calls, 1);
    assert_says("merges past", counts_status("gpt2", merges, LIMIT_MERGES + 1, &c, &err), &err,
                SLM_E_UNSUPPORTED, "merges has 67108865", "67108864");
    assert_int_equal(c.n_calls, 0);
}

/* Two texts of 65,535 bytes and the space. */
static void merge_of_131071_bytes(void **state)
{
    char *text = (char *)malloc(LIMIT_MERGE_BYTES + 1);
    slm_model_options o;
    (void)state;
    assert_non_null(text);
    memset(text, 'm', LIMIT_MERGE_BYTES + 1);
    text[LIMIT_TOKEN_BYTES] = ' ';
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    for (size_t past = 0; past <= 1; past++) {
        struct build b;
        slm_model *model = NULL;
        slm_error err;
        build_init(&b);
        build_text(&b, "general.architecture", "llama");
        build_vocabulary(&b, "gpt2", 4, 8);
        build_array(&b, "tokenizer.ggml.merges", SLM_TYPE_STRING, 1);
        build_put_string(&b.keys, text, LIMIT_MERGE_BYTES + past);
        build_finish(&b);
        assert_says("merge", tiny_open(&model, &b, &o, &err), &err, past ? SLM_E_MODEL : SLM_OK,
                    "merges[0] has 131072 bytes", "131071 are the limit");
        slm_model_free(model);
        build_free(&b);
    }
    free(text);
}

/* 256 MB of text, of which the computer has no page until somebody writes. */
static void text_of_256_megabytes(void **state)
{
    struct build b;
    struct counting c;
    slm_model *model = NULL;
    slm_error err;
    size_t needed = 0;
    char *text = (char *)calloc(LIMIT_TEXT_BYTES + 1, 1);
    (void)state;
    if (text == NULL) {
        skip();
    }
    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_vocabulary(&b, "llama", 4, 8);
    build_finish(&b);
    assert_int_equal(sparse_open(&model, &b, b.file.size, SLM_LOAD_METADATA, &c, &err), SLM_OK);
    assert_says("at", slm_tokenize(model, text, LIMIT_TEXT_BYTES, 0, NULL, 0, &needed, &err), &err,
                SLM_E_MEMORY, NULL, NULL);
    assert_says("past", slm_tokenize(model, text, LIMIT_TEXT_BYTES + 1, 0, NULL, 0, &needed, &err),
                &err, SLM_E_ARGUMENT, "268435456 bytes", "at most 268435455");
    slm_model_free(model);
    assert_int_equal(c.n_blocks, 0);
    build_free(&b);
    free(text);
}

/* ---- The context ----------------------------------------------------------------------------- */

static void context_at_its_limits(void **state)
{
    static int32_t tokens[LIMIT_BATCH];
    slm_model *model = open_tiny();
    slm_context *context = NULL;
    slm_context_options o = tiny_context();
    slm_error err;
    slm_span span;
    (void)state;
    /* Tables for 2^24 positions, pages for one batch of 4,096 and a few tokens. */
    o.n_ctx = LIMIT_CONTEXT;
    o.n_sequences = LIMIT_SEQUENCES;
    o.n_batch = LIMIT_BATCH;
    o.n_pages = LIMIT_BATCH / 128 + 1;
    o.n_logits = 1;
    assert_says("at", slm_context_create(&context, model, &o, &err), &err, SLM_OK, NULL, NULL);
    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    span.sequence = LIMIT_SEQUENCES - 1;
    span.position = -1;
    span.n_tokens = LIMIT_BATCH;
    span.tokens = tokens;
    span.want = SLM_WANT_LAST;
    assert_says("batch", slm_eval(context, &span, 1, sizeof span, NULL, &err), &err, SLM_OK, NULL,
                NULL);
    assert_int_equal(span.n_done, LIMIT_BATCH);
    slm_context_free(context);
    slm_model_free(model);
}

static void context_past_a_limit(void **state)
{
    static const struct {
        size_t offset;
        int32_t limit;
        const char *says;
    } rows[] = {
        {offsetof(slm_context_options, n_ctx), LIMIT_CONTEXT, "n_ctx is 16777217: 1 to 16777216"},
        {offsetof(slm_context_options, n_sequences), LIMIT_SEQUENCES,
         "n_sequences is 257: 1 to 256"},
        {offsetof(slm_context_options, n_pages), LIMIT_PAGES,
         "n_pages is 1073741824: 1 to 1073741823"},
        {offsetof(slm_context_options, n_batch), LIMIT_BATCH, "n_batch is 4097: 1 to 4096"},
        {offsetof(slm_context_options, n_logits), LIMIT_CONTEXT, "n_logits is 16777217: 0 to"},
        {offsetof(slm_context_options, n_threads), LIMIT_THREADS, "n_threads is 1025: 1 to 1024"},
    };
    slm_model *model = open_tiny();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int past = 0; past <= 1; past++) {
            slm_context_options o = tiny_context();
            slm_plan plan;
            slm_error err;
            int32_t value = rows[i].limit + past;
            memset(&plan, 0, sizeof plan);
            plan.struct_size = sizeof plan;
            memcpy((char *)&o + rows[i].offset, &value, sizeof value);
            int status = slm_plan_memory(model, &o, &plan, &err);
            if (!past && sizeof(size_t) < 8 && status == SLM_E_MEMORY) {
                continue; /* so many pages are more than such a machine can address */
            }
            assert_says(rows[i].says, status, &err, past ? SLM_E_ARGUMENT : SLM_OK, rows[i].says,
                        NULL);
        }
    }
    slm_model_free(model);
}

static void in_order(void *user, int32_t n, slm_task_fn task, void *arg)
{
    (void)user;
    for (int32_t i = 0; i < n; i++) {
        task(arg, i);
    }
}

static void pool_of_1024_threads(void **state)
{
    slm_model *model = open_tiny();
    slm_threads *threads = NULL;
    slm_context *context = NULL;
    slm_context_options c = tiny_context();
    slm_threads_options o;
    slm_error err;
    float row[TINY_VOCAB];
    const int32_t token = 5;
    (void)state;
    slm_threads_options_init(&o, sizeof o);
    o.n_threads = LIMIT_THREADS;
    o.parallel = in_order;
    assert_int_equal(slm_threads_create(&threads, &o, &err), SLM_OK);
    c.threads = threads;
    assert_says("context", slm_context_create(&context, model, &c, &err), &err, SLM_OK, NULL, NULL);
    assert_says("run", tiny_logits(context, &token, 1, row, TINY_VOCAB, &err), &err, SLM_OK, NULL,
                NULL);
    slm_context_free(context);
    slm_threads_free(threads);
    o.n_threads = LIMIT_THREADS + 1;
    assert_says("past", slm_threads_create(&threads, &o, &err), &err, SLM_E_ARGUMENT,
                "n_threads is 1025", "1 to 1024");
    slm_model_free(model);
}

/* ---- The sampler and the generator ----------------------------------------------------------- */

static void chain_of_64_stages(void **state)
{
    slm_sampler_stage stages[LIMIT_STAGES + 1];
    slm_model *model = open_tiny();
    slm_sampler *sampler = NULL;
    slm_error err;
    float row[TINY_VOCAB] = {0, 0, 0, 9};
    int32_t token = -1;
    (void)state;
    memset(stages, 0, sizeof stages);
    for (int i = 0; i <= LIMIT_STAGES; i++) {
        stages[i].struct_size = sizeof stages[i];
        stages[i].kind = i % 2 == 0 ? SLM_STAGE_TOP_K : SLM_STAGE_TEMPERATURE;
        stages[i].n = 1;
        stages[i].value = 1;
    }
    assert_says(
        "past",
        slm_sampler_create(&sampler, model, stages, LIMIT_STAGES + 1, sizeof stages[0], NULL, &err),
        &err, SLM_E_ARGUMENT, "n_stages is 65", "0 to 64");
    assert_says(
        "at",
        slm_sampler_create(&sampler, model, stages, LIMIT_STAGES, sizeof stages[0], NULL, &err),
        &err, SLM_OK, NULL, NULL);
    assert_int_equal(slm_sample(sampler, row, TINY_VOCAB, &token, &err), SLM_OK);
    assert_int_equal(token, 3);
    slm_sampler_free(sampler);
    slm_model_free(model);
}

static void window_of_4096_tokens(void **state)
{
    slm_model *model = open_tiny();
    (void)state;
    for (int32_t past = 0; past <= 1; past++) {
        slm_sampler *sampler = NULL;
        slm_sampler_stage stage;
        slm_error err;
        float row[TINY_VOCAB] = {0};
        int32_t token = -1;
        memset(&stage, 0, sizeof stage);
        stage.struct_size = sizeof stage;
        stage.kind = SLM_STAGE_PENALTIES;
        stage.n = LIMIT_WINDOW + past;
        stage.repeat = 1;
        stage.presence = 100;
        int status = slm_sampler_create(&sampler, model, &stage, 1, sizeof stage, NULL, &err);
        assert_says("window", status, &err, past ? SLM_E_ARGUMENT : SLM_OK, "4097 tokens",
                    "over 4096");
        /* The token that fell out of the window is the only one without a penalty. */
        for (int32_t i = 0; !past && i <= LIMIT_WINDOW; i++) {
            slm_sampler_accept(sampler, i == 0 ? 5 : i % 5 + (i % 2 != 0 ? 6 : 0), NULL);
        }
        for (int32_t i = 0; i < TINY_VOCAB; i++) {
            row[i] = i == 11 ? -1000.0f : 0.0f;
        }
        if (!past) {
            assert_int_equal(slm_sample(sampler, row, TINY_VOCAB, &token, &err), SLM_OK);
            assert_int_equal(token, 5);
        }
        slm_sampler_free(sampler);
    }
    slm_model_free(model);
}

static void sampler_for_2_to_24_tokens(void **state)
{
    struct counting c;
    slm_sampler_options o;
    slm_sampler_stage stage;
    struct slm_sampler *sampler = NULL;
    slm_error err;
    (void)state;
    memset(&stage, 0, sizeof stage);
    stage.struct_size = sizeof stage;
    stage.kind = SLM_STAGE_TEMPERATURE;
    stage.value = 1;
    memset(&c, 0, sizeof c);
    c.limit = (uint64_t)1 << 20;
    slm_sampler_options_init(&o, sizeof o);
    o.alloc = counting_alloc;
    o.alloc_user = &c;
    assert_says("at", sampler_create(&sampler, LIMIT_VOCABULARY, &stage, 1, sizeof stage, &o, &err),
                &err, SLM_E_MEMORY, NULL, NULL);
    assert_true(c.largest >= (uint64_t)LIMIT_VOCABULARY * sizeof(slm_candidate));
    assert_says("past",
                sampler_create(&sampler, LIMIT_VOCABULARY + 1, &stage, 1, sizeof stage, &o, &err),
                &err, SLM_E_ARGUMENT, "16777217", NULL);
}

static int begin_with_stops(slm_context *context, const char *const *stops, int32_t n,
                            slm_error *err)
{
    static const int32_t prompt = 1;
    slm_generator *generator = NULL;
    slm_generate_options o;
    slm_generate_options_init(&o, sizeof o);
    o.prompt_tokens = &prompt;
    o.n_prompt_tokens = 1;
    o.stops = stops;
    o.n_stops = n;
    int status = slm_generate_begin(&generator, context, 0, NULL, NULL, 0, &o, err);
    slm_generate_end(generator);
    return status;
}

static void sixteen_stop_strings_of_255_bytes(void **state)
{
    char text[LIMIT_STOP_BYTES + 2];
    const char *stops[LIMIT_STOPS + 1];
    struct build b;
    struct tiny t = tiny_default();
    slm_model *model = NULL;
    slm_context *context = NULL;
    slm_context_options o = tiny_context();
    slm_error err;
    (void)state;
    tiny_build(&b, &t);
    build_vocabulary(&b, "llama", TINY_VOCAB, 8);
    build_finish(&b);
    assert_int_equal(tiny_open(&model, &b, NULL, &err), SLM_OK);
    assert_int_equal(slm_context_create(&context, model, &o, &err), SLM_OK);
    memset(text, 's', sizeof text);
    text[LIMIT_STOP_BYTES] = 0;
    for (int i = 0; i <= LIMIT_STOPS; i++) {
        stops[i] = text;
    }
    assert_says("at", begin_with_stops(context, stops, LIMIT_STOPS, &err), &err, SLM_OK, NULL,
                NULL);
    assert_says("one more", begin_with_stops(context, stops, LIMIT_STOPS + 1, &err), &err,
                SLM_E_ARGUMENT, "n_stops is 17", "0 to 16");
    text[LIMIT_STOP_BYTES] = 's';
    text[LIMIT_STOP_BYTES + 1] = 0;
    assert_says("longer", begin_with_stops(context, stops, 1, &err), &err, SLM_E_ARGUMENT,
                "stop string 0", "256 bytes: 1 to 255");
    slm_context_free(context);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Structs --------------------------------------------------------------------------------- */

static void struct_of_65536_bytes(void **state)
{
    slm_model *model = open_tiny();
    (void)state;
    for (uint32_t past = 0; past <= 1; past++) {
        uint32_t size = LIMIT_STRUCT_BYTES + past;
        int wanted = past ? SLM_E_ARGUMENT : SLM_OK;
        void *bytes = calloc(size, 1);
        slm_context *context = NULL;
        slm_error err;
        assert_non_null(bytes);
        memcpy(bytes, &size, sizeof size);
        int status = slm_model_get_info(model, (slm_model_info *)bytes, &err);
        assert_says("result", status, &err, wanted, "struct_size is 65537", NULL);
        assert_int_equal(slm_context_options_init((slm_context_options *)bytes, size), wanted);
        memcpy(bytes, &size, sizeof size);
        status = slm_context_create(&context, model, (slm_context_options *)bytes, &err);
        assert_says("options", status, &err, wanted, "struct_size is 65537", NULL);
        slm_context_free(context);
        free(bytes);
    }
    slm_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_limits_stand_in_one_place),
        cmocka_unit_test(the_header_tells_every_limit),
        cmocka_unit_test(metadata_of_a_gigabyte),
        cmocka_unit_test(array_of_2_to_27_texts),
        cmocka_unit_test(key_of_65535_bytes),
        cmocka_unit_test(file_of_65536_keys),
        cmocka_unit_test(model_of_2_to_20_tensors),
        cmocka_unit_test(tensors_count_over_all_files),
        cmocka_unit_test(tensor_of_four_dimensions),
        cmocka_unit_test(path_on_windows),
        cmocka_unit_test(tensor_name_of_63_bytes),
        cmocka_unit_test(alignment_of_a_mebibyte),
        cmocka_unit_test(model_in_1024_files),
        cmocka_unit_test(hyper_parameters_all_at_their_limits),
        cmocka_unit_test(head_width_that_follows_from_the_others),
        cmocka_unit_test(model_of_512_layers_runs),
        cmocka_unit_test(layer_of_1024_experts_runs),
        cmocka_unit_test(embedding_of_2_to_24_rows),
        cmocka_unit_test(token_of_65535_bytes),
        cmocka_unit_test(vocabulary_of_2_to_24_tokens_and_2_to_26_merges),
        cmocka_unit_test(merge_of_131071_bytes),
        cmocka_unit_test(text_of_256_megabytes),
        cmocka_unit_test(context_at_its_limits),
        cmocka_unit_test(context_past_a_limit),
        cmocka_unit_test(pool_of_1024_threads),
        cmocka_unit_test(chain_of_64_stages),
        cmocka_unit_test(window_of_4096_tokens),
        cmocka_unit_test(sampler_for_2_to_24_tokens),
        cmocka_unit_test(sixteen_stop_strings_of_255_bytes),
        cmocka_unit_test(struct_of_65536_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
