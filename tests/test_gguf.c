/* test_gguf.c - the file: four ways to read it give the same model, and what the model tells of its
 * metadata and tensors is what stands there. Files with faults are the subject of test_broken.c,
 * models in several files that of test_split.c.
 *
 * Public functions only. Every model here is opened with an allocator that counts, so that each
 * test also shows that nothing is leaked. */
#include "gguf_fixture.h"

/* ---- Metadata of every type ------------------------------------------------------------------ */

static void model_of_every_type(struct build *b, uint32_t version)
{
    struct tiny t = tiny_default();
    t.keys = every_type;
    t.version = version;
    tiny_build(b, &t);
}

static void metadata_of_every_type_is_readable(void **state)
{
    static const struct {
        const char *key;
        int32_t type;
        int32_t is_array;
        uint64_t count;
        uint64_t element;
        int64_t integer;
        double real;
        const char *text;
        size_t text_size;
    } rows[] = {
        {"general.architecture", SLM_TYPE_STRING, 0, 1, 0, 0, 0, "llama", 5},
        {"t.u8", SLM_TYPE_UINT8, 0, 1, 0, 200, 200, NULL, 0},
        {"t.i8", SLM_TYPE_INT8, 0, 1, 0, -100, -100, NULL, 0},
        {"t.u16", SLM_TYPE_UINT16, 0, 1, 0, 60000, 60000, NULL, 0},
        {"t.i16", SLM_TYPE_INT16, 0, 1, 0, -30000, -30000, NULL, 0},
        {"t.u32", SLM_TYPE_UINT32, 0, 1, 0, 4000000000, 4e9, NULL, 0},
        {"t.i32", SLM_TYPE_INT32, 0, 1, 0, -2000000000, -2e9, NULL, 0},
        {"t.f32", SLM_TYPE_FLOAT32, 0, 1, 0, 0, -0.15625, NULL, 0},
        {"t.false", SLM_TYPE_BOOL, 0, 1, 0, 0, 0, NULL, 0},
        {"t.true", SLM_TYPE_BOOL, 0, 1, 0, 1, 1, NULL, 0},
        {"t.truer", SLM_TYPE_BOOL, 0, 1, 0, 1, 1, NULL, 0},
        {"t.nul", SLM_TYPE_STRING, 0, 1, 0, 0, 0, "a\0b", 3},
        {"t.invalid", SLM_TYPE_STRING, 0, 1, 0, 0, 0, "\xff\xc3", 2},
        {"t.empty", SLM_TYPE_STRING, 0, 1, 0, 0, 0, "", 0},
        {"t.u64", SLM_TYPE_UINT64, 0, 1, 0, 1234567890123456789, 1234567890123456789.0, NULL, 0},
        {"t.u64.max", SLM_TYPE_UINT64, 0, 1, 0, -1, 18446744073709551615.0, NULL, 0},
        {"t.i64", SLM_TYPE_INT64, 0, 1, 0, INT64_MIN, -9223372036854775808.0, NULL, 0},
        {"t.f64", SLM_TYPE_FLOAT64, 0, 1, 0, 0, 0.1, NULL, 0},
        {"t.i8s", SLM_TYPE_INT8, 1, 3, 0, -1, -1, NULL, 0},
        {"t.i8s", SLM_TYPE_INT8, 1, 3, 2, 127, 127, NULL, 0},
        {"t.bools", SLM_TYPE_BOOL, 1, 3, 2, 1, 1, NULL, 0},
        {"t.i64s", SLM_TYPE_INT64, 1, 2, 1, INT64_MAX, 9223372036854775807.0, NULL, 0},
        {"t.none", SLM_TYPE_UINT16, 1, 0, 0, 0, 0, NULL, 0},
        {"t.texts", SLM_TYPE_STRING, 1, 3, 0, 0, 0, "", 0},
        {"t.texts", SLM_TYPE_STRING, 1, 3, 2, 0, 0, "\xff\xfe two", 6},
        {"t.notexts", SLM_TYPE_STRING, 1, 0, 0, 0, 0, NULL, 0},
    };
    struct build b;
    slm_model *model = NULL;
    (void)state;
    model_of_every_type(&b, 3);
    assert_int_equal(tiny_open(&model, &b, NULL, NULL), SLM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slm_metadata v = {.struct_size = sizeof v};
        int32_t index = -1;
        assert_int_equal(
            slm_model_metadata_find(model, rows[i].key, strlen(rows[i].key), &index, NULL), SLM_OK);
        assert_true(index >= 0);
        assert_int_equal(slm_model_metadata(model, index, rows[i].element, &v, NULL), SLM_OK);
        assert_int_equal(v.key_size, strlen(rows[i].key));
        assert_memory_equal(v.key, rows[i].key, v.key_size);
        if (v.value_type != rows[i].type || v.is_array != rows[i].is_array ||
            v.count != rows[i].count || v.integer != rows[i].integer || v.real != rows[i].real ||
            v.text_size != rows[i].text_size || (v.text == NULL) != (rows[i].text == NULL) ||
            (v.text_size > 0 && memcmp(v.text, rows[i].text, v.text_size) != 0)) {
            fail_msg("row %zu, key %s: type %d, count %llu, integer %lld, real %.17g", i,
                     rows[i].key, v.value_type, (unsigned long long)v.count, (long long)v.integer,
                     v.real);
        }
    }
    slm_model_free(model);
    build_free(&b);
}

/* Numbers of an array lie side by side, each as slm_model_metadata tells it. */
static void arrays_of_numbers_can_be_read_at_once(void **state)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    struct build b;
    slm_model *model = NULL;
    slm_metadata v = {.struct_size = sizeof v};
    int n_arrays = 0;
    (void)state;
    model_of_every_type(&b, 3);
    assert_int_equal(tiny_open(&model, &b, NULL, NULL), SLM_OK);
    for (int32_t index = 0; slm_model_metadata(model, index, 0, &v, NULL) == SLM_OK; index++) {
        if (!v.is_array || v.value_type == SLM_TYPE_STRING || v.count == 0) {
            assert_null(v.data);
            assert_int_equal(v.data_size, 0);
            continue;
        }
        const uint8_t *data = (const uint8_t *)v.data;
        assert_int_equal(v.data_size, v.count * sizes[v.value_type]);
        for (uint64_t i = 0; i < v.count; i++) {
            assert_int_equal(slm_model_metadata(model, index, i, &v, NULL), SLM_OK);
            assert_ptr_equal(v.data, data);
            if (v.value_type == SLM_TYPE_FLOAT32) {
                float f = 0;
                memcpy(&f, data + 4 * i, 4);
                assert_true((double)f == v.real);
            } else {
                uint8_t low = data[sizes[v.value_type] * i];
                assert_int_equal(v.value_type == SLM_TYPE_BOOL ? low != 0 : low,
                                 (uint8_t)v.integer);
            }
        }
        n_arrays++;
    }
    assert_true(n_arrays > 1);
    slm_model_free(model);
    build_free(&b);
}

static void metadata_keeps_the_order_of_the_file_and_checks_indices(void **state)
{
    struct build b;
    slm_model *model = NULL;
    slm_error err;
    slm_model_info info = {.struct_size = sizeof info};
    slm_metadata v = {.struct_size = sizeof v};
    slm_tensor_info t = {.struct_size = sizeof t};
    int32_t index = 77;
    (void)state;
    model_of_every_type(&b, 3);
    assert_int_equal(tiny_open(&model, &b, NULL, NULL), SLM_OK);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_int_equal(info.n_metadata, b.n_keys);
    assert_int_equal(info.n_tensors, b.n_tensors);
    for (int32_t i = 0; i < info.n_metadata; i++) {
        assert_int_equal(slm_model_metadata(model, i, 0, &v, NULL), SLM_OK);
        assert_int_equal(v.key_size, strlen(b.marks[i].name));
        assert_memory_equal(v.key, b.marks[i].name, v.key_size);
    }
    for (int32_t i = 0; i < info.n_tensors; i++) {
        const struct build_mark *m = &b.marks[b.n_keys + (uint64_t)i];
        assert_int_equal(slm_model_tensor(model, i, &t, NULL), SLM_OK);
        assert_int_equal(t.name_size, strlen(m->name));
        assert_memory_equal(t.name, m->name, t.name_size);
        assert_string_equal(t.encoding_name, "F32");
        assert_int_equal(t.offset, build_data_at(&b, m->name));
        assert_int_equal(t.file, 0);
    }
    assert_int_equal(
        slm_model_metadata_find(model, "t.absent", sizeof "t.absent" - 1, &index, NULL), SLM_OK);
    assert_int_equal(index, -1);
    assert_int_equal(slm_model_metadata_find(model, "t.u", sizeof "t.u" - 1, &index, NULL), SLM_OK);
    assert_int_equal(index, -1);
    assert_int_equal(slm_model_metadata(model, -1, 0, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_metadata(model, info.n_metadata, 0, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_metadata_find(model, "t.i8s", sizeof "t.i8s" - 1, &index, NULL),
                     SLM_OK);
    assert_says("past an array", slm_model_metadata(model, index, 3, &v, &err), &err,
                SLM_E_ARGUMENT, "3", NULL);
    assert_says("far past it", slm_model_metadata(model, index, UINT64_MAX, &v, &err), &err,
                SLM_E_ARGUMENT, "18446744073709551615", NULL);
    assert_int_equal(slm_model_metadata_find(model, "t.u8", sizeof "t.u8" - 1, &index, NULL),
                     SLM_OK);
    assert_int_equal(slm_model_metadata(model, index, 1, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(
        slm_model_metadata_find(model, "t.notexts", sizeof "t.notexts" - 1, &index, NULL), SLM_OK);
    assert_int_equal(slm_model_metadata(model, index, 1, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_tensor(model, -1, &t, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_tensor(model, info.n_tensors, &t, &err), SLM_E_ARGUMENT);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Ways to read ---------------------------------------------------------------------------- */

static void a_path_gives_the_same_mapped_and_read(void **state)
{
    struct build b;
    struct counting c;
    char path[512];
    slm_model_info info = {.struct_size = sizeof info};
    (void)state;
    model_of_every_type(&b, 3);
    struct snapshot expected = snapshot_from_memory(&b);
    assert_int_equal(testing_temp(path, sizeof path, "ways.gguf", b.file.data, b.file.size), 0);
    for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags += SLM_LOAD_READ) {
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, flags);
        slm_error err;
        int status = slm_model_open(&model, path, &o, &err);
        assert_says(path, status, &err, SLM_OK, "", NULL);
        assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
        assert_int_equal(info.mapped_bytes, flags == 0 ? b.file.size : 0);
        assert_int_equal(info.heap_bytes, c.now);
        assert_int_equal(info.heap_peak_bytes, c.peak);
        assert_same("from a path", model, &c, &expected);
    }
    remove(path);
    build_free(&b);
}

static void memory_may_lie_at_any_alignment(void **state)
{
    struct build b;
    struct counting c;
    (void)state;
    model_of_every_type(&b, 3);
    struct snapshot expected = snapshot_from_memory(&b);
    for (size_t shift = 0; shift < 8; shift++) {
        /* Exactly as large as the file, so that a read beyond it is seen. */
        uint8_t *copy = (uint8_t *)malloc(b.file.size + shift);
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, 0);
        slm_error err;
        assert_non_null(copy);
        memcpy(copy + shift, b.file.data, b.file.size);
        const void *data = copy + shift;
        int status = slm_model_open_memory(&model, &data, &b.file.size, 1, &o, &err);
        assert_says("memory", status, &err, SLM_OK, "", NULL);
        assert_same("memory", model, &c, &expected);
        free(copy);
    }
    build_free(&b);
}

static void load_read_lifts_the_need_to_keep_the_memory(void **state)
{
    struct build b;
    struct counting c;
    slm_model *model = NULL;
    slm_model_options o = model_options(&c, SLM_LOAD_READ);
    (void)state;
    model_of_every_type(&b, 3);
    struct snapshot expected = snapshot_from_memory(&b);
    uint8_t *copy = (uint8_t *)malloc(b.file.size);
    assert_non_null(copy);
    memcpy(copy, b.file.data, b.file.size);
    const void *data = copy;
    assert_int_equal(slm_model_open_memory(&model, &data, &b.file.size, 1, &o, NULL), SLM_OK);
    memset(copy, 0xee, b.file.size);
    free(copy);
    assert_same("after the memory is gone", model, &c, &expected);
    build_free(&b);
}

/* In place, too: what was checked is a copy of the metadata, which the caller's memory cannot
 * change any more. */
static void metadata_is_copied_out_of_the_memory(void **state)
{
    struct build b;
    struct counting c;
    slm_model *model = NULL;
    slm_model_options o = model_options(&c, 0);
    (void)state;
    model_of_every_type(&b, 3);
    struct snapshot expected = snapshot_from_memory(&b);
    assert_int_equal(tiny_open(&model, &b, &o, NULL), SLM_OK);
    memset(b.file.data, 0xff, b.data_at);
    assert_same("after the metadata was overwritten", model, &c, &expected);
    build_free(&b);
}

static void a_callback_may_read_short(void **state)
{
    static const size_t sizes[] = {SIZE_MAX, 1000, 7, 1};
    struct build b;
    struct counting c;
    (void)state;
    model_of_every_type(&b, 3);
    struct snapshot expected = snapshot_from_memory(&b);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct reader r = {&b, 1, sizes[i], 0, 0, 0, 0};
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, 0);
        slm_error err;
        int status = reader_open(&model, &r, &o, &err);
        assert_says("callback", status, &err, SLM_OK, "", NULL);
        int64_t calls = r.calls;
        r.is_over = 1;
        assert_same("callback", model, &c, &expected);
        assert_int_equal(r.calls, calls);
    }
    build_free(&b);
}

/* Each read in turn fails in each way a callback can fail. */
static void a_callback_that_fails_is_an_io_error(void **state)
{
    static const int64_t failures[] = {-1, 0, INT64_MIN, INT64_MAX};
    struct build b;
    struct counting c;
    int64_t n_failed = 0;
    (void)state;
    model_of_every_type(&b, 3);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        for (int64_t at = 1;; at++) {
            struct reader r = {&b, 1, SIZE_MAX, 0, at, failures[i], 0};
            slm_model *model = NULL;
            slm_model_options o = model_options(&c, 0);
            slm_error err;
            int status = reader_open(&model, &r, &o, &err);
            if (status == SLM_OK) {
                slm_model_free(model);
                break;
            }
            assert_says("failing callback", status, &err, SLM_E_IO, "callback", "file 0");
            assert_null(model);
            assert_all_freed(&c);
            n_failed++;
        }
    }
    assert_true(n_failed >= 4 * 10);
    build_free(&b);
}

/* A host that says its file is larger than it is. */
static void a_callback_whose_size_is_a_lie_is_an_io_error(void **state)
{
    static const uint64_t sizes[] = {UINT64_MAX, (uint64_t)INT64_MAX + 1, (uint64_t)1 << 40};
    struct build b;
    struct counting c;
    (void)state;
    model_of_every_type(&b, 3);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct reader r = {&b, 1, SIZE_MAX, 0, 0, 0, 0};
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, 0);
        slm_error err;
        int status = slm_model_open_callback(&model, reader_read, &r, &sizes[i], 1, &o, &err);
        assert_says("size", status, &err, SLM_E_IO, "callback", NULL);
        assert_all_freed(&c);
        assert_true(c.peak < 1 << 20);
    }
    build_free(&b);
}

static void versions_2_and_3_are_the_same(void **state)
{
    struct build two, three;
    struct counting c;
    slm_model *model = NULL;
    slm_model_options o = model_options(&c, 0);
    slm_model_info info = {.struct_size = sizeof info};
    (void)state;
    model_of_every_type(&two, 2);
    model_of_every_type(&three, 3);
    struct snapshot expected = snapshot_from_memory(&three);
    assert_int_equal(tiny_open(&model, &two, &o, NULL), SLM_OK);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_int_equal(info.gguf_version, 2);
    assert_same("version 2", model, &c, &expected);
    build_free(&two);
    build_free(&three);
}

/* ---- Large tables ---------------------------------------------------------------------------- */

#define N_MANY 700

static void many_keys(struct build *b)
{
    static char text[300000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < N_MANY; i++) {
        char key[32];
        snprintf(key, sizeof key, "many.%d", i);
        build_int(b, key, SLM_TYPE_INT32, i * i);
    }
    build_string(b, "long", text, sizeof text); /* far longer than what is read ahead */
    build_u32(b, "last", 99);
}

static void many_tensors(struct build *b)
{
    int64_t one = 1;
    for (int i = 0; i < N_MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "unused.%d", i);
        build_tensor(b, name, 1, &one);
    }
}

static void build_many(struct build *b)
{
    struct tiny t = tiny_default();
    t.keys = many_keys;
    t.tensors = many_tensors;
    t.alignment = 4;
    tiny_build(b, &t);
}

static void files_with_many_keys_and_tensors_are_read(void **state)
{
    struct build b;
    struct counting c;
    slm_model *model = NULL;
    slm_model_options o = model_options(&c, 0);
    slm_metadata v = {.struct_size = sizeof v};
    slm_model_info info = {.struct_size = sizeof info};
    slm_tensor_info t = {.struct_size = sizeof t};
    (void)state;
    build_many(&b);
    struct snapshot expected = snapshot_from_memory(&b);
    struct reader r = {&b, 1, 5000, 0, 0, 0, 0};
    assert_int_equal(reader_open(&model, &r, &o, NULL), SLM_OK);
    assert_in_proportion(&c, b.file.size);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_int_equal(info.n_metadata, b.n_keys);
    assert_int_equal(info.n_tensors, b.n_tensors);
    for (int i = 0; i < N_MANY; i++) {
        char name[32];
        int32_t index = -1;
        snprintf(name, sizeof name, "many.%d", i);
        assert_int_equal(slm_model_metadata_find(model, name, strlen(name), &index, NULL), SLM_OK);
        assert_int_equal(slm_model_metadata(model, index, 0, &v, NULL), SLM_OK);
        assert_int_equal(v.integer, i * i);
        snprintf(name, sizeof name, "unused.%d", i);
        assert_int_equal(slm_model_tensor(model, 12 + i, &t, NULL), SLM_OK);
        assert_int_equal(t.name_size, strlen(name));
        assert_memory_equal(t.name, name, t.name_size);
        assert_int_equal(t.offset, build_data_at(&b, name));
    }
    assert_same("many", model, &c, &expected);
    build_free(&b);
}

/* While lists grow. */
static void every_allocation_that_fails_while_reading_is_a_status(void **state)
{
    struct build b;
    (void)state;
    build_many(&b);
    assert_true(fail_each_request(NULL, &b) >= 15);
    build_free(&b);
}

/* A file of 8 GiB, of which only the beginning is not zero. */
static int64_t read_vast(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    const struct build_bytes *f = (const struct build_bytes *)user;
    memset(buffer, 0, size);
    if (offset < f->size) {
        size_t n = f->size - (size_t)offset;
        memcpy(buffer, f->data + offset, n < size ? n : size);
    }
    return file == 0 ? (int64_t)size : -1;
}

static void metadata_of_more_than_a_gigabyte_is_refused(void **state)
{
    static const uint64_t vast = (uint64_t)1 << 33;
    static const char *const keys[2] = {"s", "a"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct build b;
        struct counting c;
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, 0);
        slm_error err;
        build_init(&b);
        build_text(&b, "s", "");
        build_array(&b, "a", SLM_TYPE_FLOAT64, 0);
        build_finish(&b);
        build_poke(&b, build_at(&b, keys[i], i == 0 ? AT_VALUE : AT_ELEMENTS),
                   i == 0 ? (uint64_t)1 << 32 : (uint64_t)1 << 28, 8);
        int status = slm_model_open_callback(&model, read_vast, &b.file, &vast, 1, &o, &err);
        assert_says("vast", status, &err, SLM_E_UNSUPPORTED, "metadata", "1073741824");
        assert_true(c.peak < 1 << 20);
        assert_all_freed(&c);
        build_free(&b);
    }
}

/* ---- Alignment ------------------------------------------------------------------------------- */

static void every_alignment_that_is_a_power_of_two_works(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct counting c;
    (void)state;
    tiny_build(&b, &t);
    struct snapshot expected = snapshot_from_memory(&b);
    build_free(&b);
    for (uint32_t alignment = 1; alignment <= 1u << 20; alignment *= alignment < 64 ? 2 : 1 << 7) {
        slm_model *model = NULL;
        slm_model_options o = model_options(&c, 0);
        slm_error err;
        float row[TINY_VOCAB];
        t.alignment = alignment;
        tiny_build(&b, &t);
        int status = tiny_open(&model, &b, &o, &err);
        assert_says("alignment", status, &err, SLM_OK, "", NULL);
        assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, &err), SLM_OK);
        assert_memory_equal(row, expected.logits, sizeof row);
        slm_model_free(model);
        assert_all_freed(&c);
        build_free(&b);
    }
}

/* Tensors need not follow each other in the order of the table, nor without gaps. */
static void tensors_may_lie_anywhere_in_the_data_section(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model *model = NULL;
    float row[TINY_VOCAB];
    slm_error err;
    (void)state;
    tiny_build(&b, &t);
    struct snapshot expected = snapshot_from_memory(&b);
    size_t from = build_data_at(&b, "token_embd.weight");
    size_t to = b.file.size;
    uint8_t moved[TINY_VOCAB * 16 * 4];
    memcpy(moved, b.file.data + from, sizeof moved);
    build_pad(&b.file, 32);
    to = b.file.size + 64 - b.data_at % 32;
    while (b.file.size < to) {
        build_put_int(&b.file, 0xee, 1);
    }
    build_pad(&b.file, 32);
    to = b.file.size;
    build_put(&b.file, moved, sizeof moved);
    memset(b.file.data + from, 0xee, sizeof moved);
    build_poke(&b, build_at(&b, "token_embd.weight", AT_OFFSET), to - b.data_at, 8);
    int status = tiny_open(&model, &b, NULL, &err);
    assert_says("moved", status, &err, SLM_OK, "", NULL);
    assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, &err), SLM_OK);
    assert_memory_equal(row, expected.logits, sizeof row);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Real files ------------------------------------------------------------------------------ */

static void a_real_model_is_the_same_in_all_four_ways(void **state)
{
    static float rows[4][1 << 16];
    int32_t n_vocab = 0;
    struct build b;
    (void)state;
    build_storyteller(&b);
    for (int way = 0; way < 4; way++) {
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        slm_model_options o = model_options(&c, way == 1 ? SLM_LOAD_READ : 0);
        struct reader r = {&b, 1, 1 << 20, 0, 0, 0, 0};
        int status = way <= 1   ? slm_model_open(&model, TESTING_STORYTELLER, &o, &err)
                     : way == 2 ? tiny_open(&model, &b, &o, &err)
                                : reader_open(&model, &r, &o, &err);
        assert_says("storyteller", status, &err, SLM_OK, "", NULL);
        slm_model_info info = {.struct_size = sizeof info};
        assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
        n_vocab = info.n_vocab;
        assert_in_range(n_vocab, 1, 1 << 16);
        assert_int_equal(tiny_run(model, tokens, 5, rows[way], n_vocab, &err), SLM_OK);
        assert_memory_equal(rows[way], rows[0], (size_t)n_vocab * sizeof(float));
        slm_model_free(model);
        assert_all_freed(&c);
    }
    build_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_of_every_type_is_readable),
        cmocka_unit_test(arrays_of_numbers_can_be_read_at_once),
        cmocka_unit_test(metadata_keeps_the_order_of_the_file_and_checks_indices),
        cmocka_unit_test(a_path_gives_the_same_mapped_and_read),
        cmocka_unit_test(memory_may_lie_at_any_alignment),
        cmocka_unit_test(load_read_lifts_the_need_to_keep_the_memory),
        cmocka_unit_test(metadata_is_copied_out_of_the_memory),
        cmocka_unit_test(a_callback_may_read_short),
        cmocka_unit_test(a_callback_that_fails_is_an_io_error),
        cmocka_unit_test(a_callback_whose_size_is_a_lie_is_an_io_error),
        cmocka_unit_test(versions_2_and_3_are_the_same),
        cmocka_unit_test(files_with_many_keys_and_tensors_are_read),
        cmocka_unit_test(every_allocation_that_fails_while_reading_is_a_status),
        cmocka_unit_test(metadata_of_more_than_a_gigabyte_is_refused),
        cmocka_unit_test(every_alignment_that_is_a_power_of_two_works),
        cmocka_unit_test(tensors_may_lie_anywhere_in_the_data_section),
        cmocka_unit_test(a_real_model_is_the_same_in_all_four_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
