/* test_gguf.c - the file: four ways to read it give the same model, and whatever is wrong with it is
 * told by a status and a message that names the place.
 *
 * Public functions only. Every model here is opened with an allocator that counts, so that each test
 * also shows that nothing is leaked and that memory stays in proportion to the file. */
#include "counting.h"
#include "gguf_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* What opening may take at once: a constant (the model, the kernel table, the first entries of each
 * list, the filters of a vocabulary) and so many bytes for each byte of the file. */
#define MEMORY_CONSTANT 49152
#define MEMORY_PER_BYTE 32

static const int32_t tokens[5] = {3, 1, 4, 1, 5};

static slm_model_options options_with(struct counting *c, uint32_t flags)
{
    slm_model_options o;
    slm_model_options_init(&o, sizeof o);
    memset(c, 0, sizeof *c);
    o.alloc = counting_alloc;
    o.alloc_user = c;
    o.flags = flags;
    return o;
}

static void assert_all_freed(const struct counting *c)
{
    assert_int_equal(c->n_blocks, 0);
    assert_int_equal(c->now, 0);
}

static void assert_in_proportion(const struct counting *c, size_t file_size)
{
    uint64_t bound = MEMORY_CONSTANT + (uint64_t)MEMORY_PER_BYTE * file_size;
    if (c->peak > bound || c->largest > bound) {
        fail_msg("%llu bytes in use, %llu in one request, for a file of %zu",
                 (unsigned long long)c->peak, (unsigned long long)c->largest, file_size);
    }
}

static void assert_says(const char *what, int status, const slm_error *err, int wanted,
                        const char *a, const char *b)
{
    if (status != wanted || err->code != wanted || !tiny_says(err, a, b)) {
        fail_msg("%s: %s '%s', expected %s with '%s' and '%s'", what, slm_status_name(status),
                 err->message, slm_status_name(wanted), a != NULL ? a : "", b != NULL ? b : "");
    }
}

/* Opens from memory; must fail like this and leave nothing. */
static void assert_refused(const char *what, const struct build *b, int wanted, const char *one,
                           const char *two)
{
    struct counting c;
    slm_model_options o = options_with(&c, 0);
    slm_error err;
    slm_model *model = (slm_model *)(uintptr_t)1;
    int status = tiny_open(&model, b, &o, &err);
    assert_says(what, status, &err, wanted, one, two);
    assert_null(model);
    assert_all_freed(&c);
    assert_in_proportion(&c, b->file.size);
}

/* ---- What a model is, for comparing ----------------------------------------------------------- */

struct snapshot {
    int32_t n_metadata, n_tensors;
    uint64_t hash; /* of metadata and tensor table */
    float logits[TINY_VOCAB];
};

static void hash_add(uint64_t *h, const void *data, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)data;
    for (size_t i = 0; i < n; i++) {
        *h = (*h ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
}

static void hash_metadata(uint64_t *h, const slm_model *model, int32_t index)
{
    slm_metadata v = {.struct_size = sizeof v};
    uint64_t n = 1;
    for (uint64_t i = 0; i < n; i++) {
        assert_int_equal(slm_model_metadata(model, index, i, &v, NULL), SLM_OK);
        n = v.count;
        hash_add(h, v.key, v.key_size);
        hash_add(h, &v.type, sizeof v.type);
        hash_add(h, &v.is_array, sizeof v.is_array);
        hash_add(h, &v.count, sizeof v.count);
        hash_add(h, &v.integer, sizeof v.integer);
        hash_add(h, &v.real, sizeof v.real);
        hash_add(h, v.text, v.text_size);
    }
}

static void hash_tensor(uint64_t *h, const slm_model *model, int32_t index)
{
    slm_tensor_info t = {.struct_size = sizeof t};
    assert_int_equal(slm_model_tensor(model, index, &t, NULL), SLM_OK);
    hash_add(h, t.name, t.name_size);
    hash_add(h, &t.type, sizeof t.type);
    hash_add(h, t.shape, sizeof t.shape);
    hash_add(h, &t.n_dims, sizeof t.n_dims);
    hash_add(h, &t.offset, sizeof t.offset);
    hash_add(h, &t.size, sizeof t.size);
}

static struct snapshot snapshot_of(slm_model *model)
{
    struct snapshot s;
    slm_model_info info = {.struct_size = sizeof info};
    slm_error err;
    memset(&s, 0, sizeof s);
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    s.n_metadata = info.n_metadata;
    s.n_tensors = info.n_tensors;
    s.hash = UINT64_C(0xcbf29ce484222325);
    for (int32_t i = 0; i < info.n_metadata; i++) {
        hash_metadata(&s.hash, model, i);
    }
    for (int32_t i = 0; i < info.n_tensors; i++) {
        hash_tensor(&s.hash, model, i);
    }
    assert_int_equal(tiny_run(model, tokens, 5, s.logits, TINY_VOCAB, &err), SLM_OK);
    return s;
}

/* Takes a snapshot, compares and frees. */
static void assert_same(const char *what, slm_model *model, const struct counting *c,
                        const struct snapshot *expected)
{
    struct snapshot s = snapshot_of(model);
    if (memcmp(&s, expected, sizeof s) != 0) {
        fail_msg("%s: %d keys, %d tensors, hash %llx, logit %g; expected %d, %d, %llx, %g", what,
                 s.n_metadata, s.n_tensors, (unsigned long long)s.hash, (double)s.logits[0],
                 expected->n_metadata, expected->n_tensors, (unsigned long long)expected->hash,
                 (double)expected->logits[0]);
    }
    slm_model_free(model);
    assert_all_freed(c);
}

static struct snapshot snapshot_from_memory(const struct build *b)
{
    slm_model *model = NULL;
    slm_error err;
    int status = tiny_open(&model, b, NULL, &err);
    assert_says("the model compared to", status, &err, SLM_OK, "", NULL);
    struct snapshot s = snapshot_of(model);
    slm_model_free(model);
    return s;
}

/* ---- A read callback ---------------------------------------------------------------------------- */

struct reader {
    const struct build *files;
    int32_t n_files;
    size_t most; /* bytes one call gives */
    int64_t calls;
    int64_t fail_at; /* call that fails, from 1; 0: none */
    int64_t failure; /* what it returns */
    int is_over;     /* after opening: no more calls */
};

static int64_t reader_read(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    struct reader *r = (struct reader *)user;
    r->calls++;
    if (r->is_over || file < 0 || file >= r->n_files) {
        return -1;
    }
    const struct build_bytes *f = &r->files[file].file;
    if (r->calls == r->fail_at) {
        return r->failure;
    }
    if (offset > f->size) {
        return -1;
    }
    size_t n = size < r->most ? size : r->most;
    n = n < f->size - offset ? n : (size_t)(f->size - offset);
    memcpy(buffer, f->data + offset, n);
    return (int64_t)n;
}

static int reader_open(slm_model **model, struct reader *r, const slm_model_options *o,
                       slm_error *err)
{
    uint64_t sizes[8];
    for (int32_t i = 0; i < r->n_files; i++) {
        sizes[i] = r->files[i].file.size;
    }
    return slm_model_open_callback(model, reader_read, r, sizes, r->n_files, o, err);
}

/* ---- Metadata of every type ---------------------------------------------------------------------- */

static void every_type(struct build *b)
{
    static const int64_t small[3] = {-1, 0, 127}, flags[3] = {0, 1, 2};
    static const int64_t large[2] = {INT64_MIN, INT64_MAX};
    static const char *const texts[3] = {"", "one", "\xff\xfe two"};
    build_int(b, "t.u8", SLM_TYPE_UINT8, 200);
    build_int(b, "t.i8", SLM_TYPE_INT8, -100);
    build_int(b, "t.u16", SLM_TYPE_UINT16, 60000);
    build_int(b, "t.i16", SLM_TYPE_INT16, -30000);
    build_int(b, "t.u32", SLM_TYPE_UINT32, 4000000000);
    build_int(b, "t.i32", SLM_TYPE_INT32, -2000000000);
    build_f32(b, "t.f32", -0.15625f);
    build_int(b, "t.false", SLM_TYPE_BOOL, 0);
    build_int(b, "t.true", SLM_TYPE_BOOL, 1);
    build_int(b, "t.truer", SLM_TYPE_BOOL, 7);
    build_string(b, "t.nul", "a\0b", 3);
    build_string(b, "t.invalid", "\xff\xc3", 2);
    build_string(b, "t.empty", "", 0);
    build_int(b, "t.u64", SLM_TYPE_UINT64, 1234567890123456789);
    build_int(b, "t.u64.max", SLM_TYPE_UINT64, -1);
    build_int(b, "t.i64", SLM_TYPE_INT64, INT64_MIN);
    build_f64(b, "t.f64", 0.1);
    build_ints(b, "t.i8s", SLM_TYPE_INT8, small, 3);
    build_ints(b, "t.bools", SLM_TYPE_BOOL, flags, 3);
    build_ints(b, "t.i64s", SLM_TYPE_INT64, large, 2);
    build_ints(b, "t.none", SLM_TYPE_UINT16, NULL, 0);
    build_texts(b, "t.texts", texts, 3);
    build_texts(b, "t.notexts", NULL, 0);
}

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
        assert_int_equal(slm_model_metadata_find(model, rows[i].key, &index, NULL), SLM_OK);
        assert_true(index >= 0);
        assert_int_equal(slm_model_metadata(model, index, rows[i].element, &v, NULL), SLM_OK);
        assert_int_equal(v.key_size, strlen(rows[i].key));
        assert_memory_equal(v.key, rows[i].key, v.key_size);
        if (v.type != rows[i].type || v.is_array != rows[i].is_array || v.count != rows[i].count ||
            v.integer != rows[i].integer || v.real != rows[i].real ||
            v.text_size != rows[i].text_size || (v.text == NULL) != (rows[i].text == NULL) ||
            (v.text_size > 0 && memcmp(v.text, rows[i].text, v.text_size) != 0)) {
            fail_msg("row %zu, key %s: type %d, count %llu, integer %lld, real %.17g", i,
                     rows[i].key, v.type, (unsigned long long)v.count, (long long)v.integer,
                     v.real);
        }
    }
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
        assert_string_equal(t.type_name, "F32");
        assert_int_equal(t.offset, build_data_at(&b, m->name));
        assert_int_equal(t.file, 0);
    }
    assert_int_equal(slm_model_metadata_find(model, "t.absent", &index, NULL), SLM_OK);
    assert_int_equal(index, -1);
    assert_int_equal(slm_model_metadata_find(model, "t.u", &index, NULL), SLM_OK);
    assert_int_equal(index, -1);
    assert_int_equal(slm_model_metadata(model, -1, 0, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_metadata(model, info.n_metadata, 0, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_metadata_find(model, "t.i8s", &index, NULL), SLM_OK);
    assert_says("past an array", slm_model_metadata(model, index, 3, &v, &err), &err,
                SLM_E_ARGUMENT, "3", NULL);
    assert_says("far past it", slm_model_metadata(model, index, UINT64_MAX, &v, &err), &err,
                SLM_E_ARGUMENT, "18446744073709551615", NULL);
    assert_int_equal(slm_model_metadata_find(model, "t.u8", &index, NULL), SLM_OK);
    assert_int_equal(slm_model_metadata(model, index, 1, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_metadata_find(model, "t.notexts", &index, NULL), SLM_OK);
    assert_int_equal(slm_model_metadata(model, index, 1, &v, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_tensor(model, -1, &t, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_model_tensor(model, info.n_tensors, &t, &err), SLM_E_ARGUMENT);
    slm_model_free(model);
    build_free(&b);
}

/* ---- Ways to read -------------------------------------------------------------------------------- */

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
        slm_model_options o = options_with(&c, flags);
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
        slm_model_options o = options_with(&c, 0);
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
    slm_model_options o = options_with(&c, SLM_LOAD_READ);
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
    slm_model_options o = options_with(&c, 0);
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
        slm_model_options o = options_with(&c, 0);
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
            slm_model_options o = options_with(&c, 0);
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
        slm_model_options o = options_with(&c, 0);
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
    slm_model_options o = options_with(&c, 0);
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

/* ---- Large tables ----------------------------------------------------------------------------- */

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
    slm_model_options o = options_with(&c, 0);
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
        assert_int_equal(slm_model_metadata_find(model, name, &index, NULL), SLM_OK);
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

/* Every request for memory in turn gets none, while lists grow. */
static void every_allocation_that_fails_while_reading_is_a_status(void **state)
{
    struct build b;
    int status = SLM_E_MEMORY;
    int64_t at = 0;
    (void)state;
    build_many(&b);
    while (status != SLM_OK) {
        struct counting c;
        slm_model *model = NULL;
        slm_model_options o = options_with(&c, 0);
        slm_error err;
        c.fail_at = ++at;
        status = tiny_open(&model, &b, &o, &err);
        if (status != SLM_OK) {
            assert_says("no memory", status, &err, SLM_E_MEMORY, "bytes", NULL);
            assert_null(model);
        }
        slm_model_free(model);
        assert_all_freed(&c);
    }
    print_message("%lld points of failure\n", (long long)at - 1);
    assert_true(at > 15);
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
        slm_model_options o = options_with(&c, 0);
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

/* ---- Alignment ----------------------------------------------------------------------------------- */

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
        slm_model_options o = options_with(&c, 0);
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

/* ---- What is not a GGUF file of ours --------------------------------------------------------------- */

static void other_files_are_refused(void **state)
{
    static const struct {
        const char *what;
        const char *bytes;
        size_t size;
        int status;
        const char *says;
    } rows[] = {
        {"empty", "", 0, SLM_E_FORMAT, "needs 4 bytes"},
        {"a byte", "G", 1, SLM_E_FORMAT, "has 1 left"},
        {"text", "once upon a time there was", 26, SLM_E_FORMAT, "not a GGUF file"},
        {"zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_FORMAT,
         "not a GGUF"},
        {"magic alone", "GGUF", 4, SLM_E_FORMAT, "at byte 4"},
        {"no counts", "GGUF\3\0\0\0", 8, SLM_E_FORMAT, "at byte 8"},
        {"version 1", "GGUF\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_UNSUPPORTED,
         "version 1"},
        {"version 4", "GGUF\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_UNSUPPORTED,
         "version 4"},
        {"big-endian", "GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_UNSUPPORTED,
         "big-endian"},
        {"nothing in it", "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SLM_E_MODEL,
         "general.architecture"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct build b;
        struct counting c;
        struct reader r = {&b, 1, SIZE_MAX, 0, 0, 0, 0};
        char path[512];
        build_init(&b);
        build_put(&b.file, "", 0);
        build_put(&b.file, rows[i].bytes, rows[i].size);
        if (b.file.data == NULL) {
            b.file.data = (uint8_t *)malloc(1);
        }
        assert_refused(rows[i].what, &b, rows[i].status, rows[i].says, NULL);
        assert_int_equal(testing_temp(path, sizeof path, "other", rows[i].bytes, rows[i].size), 0);
        for (uint32_t flags = 0; flags <= 1; flags++) {
            slm_model *model = NULL;
            slm_model_options o = options_with(&c, flags);
            slm_error err;
            int status = slm_model_open(&model, path, &o, &err);
            assert_says(rows[i].what, status, &err, rows[i].status, rows[i].says, NULL);
            assert_all_freed(&c);
            status = reader_open(&model, &r, &o, &err);
            assert_says(rows[i].what, status, &err, rows[i].status, rows[i].says, NULL);
            assert_all_freed(&c);
        }
        remove(path);
        build_free(&b);
    }
}

static void paths_that_are_no_files_are_io_errors(void **state)
{
    struct counting c;
    slm_error err;
    (void)state;
    for (uint32_t flags = 0; flags <= 1; flags++) {
        slm_model *model = NULL;
        slm_model_options o = options_with(&c, flags);
        int status = slm_model_open(&model, "tests", &o, &err);
        assert_says("a directory", status, &err, SLM_E_IO, "tests", "directory");
        status = slm_model_open(&model, "tests/no such file.gguf", &o, &err);
        assert_says("no file", status, &err, SLM_E_IO, "no such file.gguf", NULL);
        status = slm_model_open(&model, "", &o, &err);
        assert_says("an empty path", status, &err, SLM_E_IO, NULL, NULL);
        status = slm_model_open(&model, "/dev/null", &o, &err);
        assert_says("a device", status, &err, SLM_E_IO, "/dev/null", NULL);
        assert_null(model);
        assert_all_freed(&c);
    }
}

/* ---- Rules broken one by one ------------------------------------------------------------------------- */

#define IN_HEADER NULL

struct broken {
    const char *what;
    const char *name; /* the key or tensor whose field is overwritten */
    int field;        /* AT_, or BUILD_AT_ in the header */
    size_t plus;      /* bytes behind the field's begin */
    uint64_t value;
    size_t bytes;
    int status;
    const char *says, *also;
};

#define EMBD "token_embd.weight"
#define TWO_63 ((uint64_t)1 << 63)

static const struct broken broken_rows[] = {
    {"tensors, negative", IN_HEADER, BUILD_AT_N_TENSORS, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "18446744073709551615 tensors", NULL},
    {"tensors, 2^63", IN_HEADER, BUILD_AT_N_TENSORS, 0, TWO_63, 8, SLM_E_FORMAT,
     "9223372036854775808 tensors", NULL},
    {"tensors, 2^40", IN_HEADER, BUILD_AT_N_TENSORS, 0, (uint64_t)1 << 40, 8, SLM_E_FORMAT,
     "1099511627776 tensors", NULL},
    {"tensors, one too many", IN_HEADER, BUILD_AT_N_TENSORS, 0, 13, 8, SLM_E_FORMAT, NULL, NULL},
    {"tensors, one too few", IN_HEADER, BUILD_AT_N_TENSORS, 0, 11, 8, SLM_E_MODEL,
     "blk.0.ffn_norm.weight", "missing"},
    {"keys, negative", IN_HEADER, BUILD_AT_N_KEYS, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "18446744073709551615 keys", NULL},
    {"keys, 2^63", IN_HEADER, BUILD_AT_N_KEYS, 0, TWO_63, 8, SLM_E_FORMAT,
     "9223372036854775808 keys", NULL},
    {"keys, more than the file has", IN_HEADER, BUILD_AT_N_KEYS, 0, 500, 8, SLM_E_FORMAT, NULL,
     NULL},

    {"key length 0", "llama.block_count", AT_NAME, 0, 0, 8, SLM_E_FORMAT,
     "a key of 0 bytes at byte", NULL},
    {"key length 2^63", "llama.block_count", AT_NAME, 0, TWO_63, 8, SLM_E_FORMAT,
     "needs 9223372036854775808 bytes", "key"},
    {"key length 2^64-1", "llama.block_count", AT_NAME, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "needs 18446744073709551615 bytes", "key"},
    {"value type 13", "llama.block_count", AT_TYPE, 0, 13, 4, SLM_E_FORMAT, "llama.block_count",
     "type 13"},
    {"value type 2^32-1", "llama.block_count", AT_TYPE, 0, 0xffffffff, 4, SLM_E_FORMAT,
     "llama.block_count", "type 4294967295"},
    {"string of 2^64-1 bytes", "general.architecture", AT_VALUE, 0, UINT64_MAX, 8, SLM_E_FORMAT,
     "needs 18446744073709551615 bytes", "string"},
    {"string of 2^63 bytes", "general.architecture", AT_VALUE, 0, TWO_63, 8, SLM_E_FORMAT,
     "needs 9223372036854775808 bytes", "string"},
    {"array of arrays", "a.ints", AT_VALUE, 0, 9, 4, SLM_E_FORMAT, "a.ints", "type 9"},
    {"array type 13", "a.ints", AT_VALUE, 0, 13, 4, SLM_E_FORMAT, "a.ints", "type 13"},
    {"array of 2^63 integers", "a.ints", AT_ELEMENTS, 0, TWO_63, 8, SLM_E_FORMAT, "a.ints",
     "9223372036854775808 elements"},
    {"array whose bytes wrap", "a.ints", AT_ELEMENTS, 0, ((uint64_t)1 << 62) + 1, 8, SLM_E_FORMAT,
     "a.ints", "4611686018427387905 elements"},
    {"array of 2^64-1 strings", "a.texts", AT_ELEMENTS, 0, UINT64_MAX, 8, SLM_E_FORMAT, "a.texts",
     "18446744073709551615 elements"},
    {"array of 2^61 strings", "a.texts", AT_ELEMENTS, 0, (uint64_t)1 << 61, 8, SLM_E_FORMAT,
     "a.texts", "2305843009213693952 elements"},
    {"array string of 2^64-1 bytes", "a.texts", AT_ELEMENTS, 8, UINT64_MAX, 8, SLM_E_FORMAT,
     "needs 18446744073709551615 bytes", "array"},

    {"alignment 0", "general.alignment", AT_VALUE, 0, 0, 4, SLM_E_FORMAT, "general.alignment is 0",
     NULL},
    {"alignment 48", "general.alignment", AT_VALUE, 0, 48, 4, SLM_E_FORMAT,
     "general.alignment is 48", NULL},
    {"alignment 2^21", "general.alignment", AT_VALUE, 0, 1 << 21, 4, SLM_E_FORMAT,
     "general.alignment is 2097152", NULL},
    {"alignment 2^31", "general.alignment", AT_VALUE, 0, (uint64_t)1 << 31, 4, SLM_E_FORMAT,
     "general.alignment is 2147483648", NULL},
    {"alignment as int32", "general.alignment", AT_TYPE, 0, SLM_TYPE_INT32, 4, SLM_E_FORMAT,
     "general.alignment", "uint32"},
    {"alignment as float32", "general.alignment", AT_TYPE, 0, SLM_TYPE_FLOAT32, 4, SLM_E_FORMAT,
     "general.alignment", "uint32"},

    {"tensor name of 2^64-1 bytes", EMBD, AT_NAME, 0, UINT64_MAX, 8, SLM_E_FORMAT, "tensor name",
     "needs 18446744073709551615 bytes"},
    {"tensor name of 64 bytes", EMBD, AT_NAME, 0, 64, 8, SLM_E_FORMAT,
     "a tensor name of 64 bytes at byte", NULL},
    {"5 dimensions", EMBD, AT_N_DIMS, 0, 5, 4, SLM_E_FORMAT, EMBD, "5 dimensions"},
    {"2^32-1 dimensions", EMBD, AT_N_DIMS, 0, 0xffffffff, 4, SLM_E_FORMAT, EMBD,
     "4294967295 dimensions"},
    {"row length 0", EMBD, AT_SHAPE, 0, 0, 8, SLM_E_FORMAT, EMBD, "dimension 0 is 0"},
    {"no rows", EMBD, AT_SHAPE, 8, 0, 8, SLM_E_FORMAT, EMBD, "dimension 1 is 0"},
    {"negative row length", EMBD, AT_SHAPE, 0, UINT64_MAX, 8, SLM_E_FORMAT, EMBD, "dimension 0"},
    {"2^62 rows", EMBD, AT_SHAPE, 8, (uint64_t)1 << 62, 8, SLM_E_FORMAT, EMBD,
     "4611686018427387904"},
    {"rows whose product wraps to 0", EMBD, AT_SHAPE, 8, (uint64_t)1 << 60, 8, SLM_E_FORMAT, EMBD,
     "1152921504606846976"},
    {"bytes that wrap", EMBD, AT_SHAPE, 8, (uint64_t)1 << 58, 8, SLM_E_FORMAT, EMBD, NULL},
    {"more rows than the file has", EMBD, AT_SHAPE, 8, 1 << 20, 8, SLM_E_FORMAT, EMBD,
     "not within the file"},
    {"a removed encoding, 4", EMBD, AT_TYPE, 0, 4, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 4 "},
    {"a removed encoding, 5", EMBD, AT_TYPE, 0, 5, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 5 "},
    {"a removed encoding, 31", EMBD, AT_TYPE, 0, 31, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 31 "},
    {"a removed encoding, 32", EMBD, AT_TYPE, 0, 32, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 32 "},
    {"a removed encoding, 33", EMBD, AT_TYPE, 0, 33, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 33 "},
    {"a removed encoding, 36", EMBD, AT_TYPE, 0, 36, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 36 "},
    {"a removed encoding, 37", EMBD, AT_TYPE, 0, 37, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 37 "},
    {"a removed encoding, 38", EMBD, AT_TYPE, 0, 38, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 38 "},
    {"an unknown encoding, 43", EMBD, AT_TYPE, 0, 43, 4, SLM_E_UNSUPPORTED, EMBD, "encoding 43 "},
    {"an unknown encoding, 2^31", EMBD, AT_TYPE, 0, (uint64_t)1 << 31, 4, SLM_E_UNSUPPORTED, EMBD,
     "encoding 2147483648 "},
    {"an unknown encoding, 2^32-1", EMBD, AT_TYPE, 0, 0xffffffff, 4, SLM_E_UNSUPPORTED, EMBD,
     "encoding 4294967295 "},
    {"rows that are no whole blocks, Q8_0", EMBD, AT_TYPE, 0, 8, 4, SLM_E_FORMAT, EMBD, "Q8_0"},
    {"rows that are no whole blocks, Q6_K", EMBD, AT_TYPE, 0, 14, 4, SLM_E_FORMAT, EMBD, "Q6_K"},
    {"integers as weights", EMBD, AT_TYPE, 0, 26, 4, SLM_E_UNSUPPORTED, EMBD, "I32"},
    {"unaligned offset", EMBD, AT_OFFSET, 0, 16, 8, SLM_E_FORMAT, EMBD, "alignment 32"},
    {"offset behind the file", EMBD, AT_OFFSET, 0, 1 << 20, 8, SLM_E_FORMAT, EMBD, "1048576"},
    {"offset 2^63", EMBD, AT_OFFSET, 0, TWO_63, 8, SLM_E_FORMAT, EMBD, "9223372036854775808"},
    {"offset whose sum wraps", EMBD, AT_OFFSET, 0, UINT64_MAX - 31, 8, SLM_E_FORMAT, EMBD,
     "18446744073709551584"},
};

static void array_keys(struct build *b)
{
    static const int64_t ints[3] = {1, 2, 3};
    static const char *const texts[2] = {"one", "two"};
    build_ints(b, "a.ints", SLM_TYPE_INT32, ints, 3);
    build_texts(b, "a.texts", texts, 2);
    build_u32(b, "general.alignment", 32);
}

static void each_broken_rule_is_told_with_its_place(void **state)
{
    struct tiny t = tiny_default();
    (void)state;
    t.keys = array_keys;
    for (size_t i = 0; i < sizeof broken_rows / sizeof broken_rows[0]; i++) {
        const struct broken *r = &broken_rows[i];
        struct build b;
        tiny_build(&b, &t);
        snapshot_from_memory(&b);
        size_t at = r->name != IN_HEADER ? build_at(&b, r->name, r->field) : (size_t)r->field;
        build_poke(&b, at + r->plus, r->value, r->bytes);
        assert_refused(r->what, &b, r->status, r->says, r->also);
        build_free(&b);
    }
}

static void a_key_or_tensor_that_stands_twice_is_refused(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    (void)state;
    tiny_build(&b, &t);
    /* The two names have the same length. */
    size_t one = build_at(&b, "blk.0.attn_q.weight", AT_NAME) + 8;
    size_t two = build_at(&b, "blk.0.attn_k.weight", AT_NAME) + 8;
    memcpy(b.file.data + two, b.file.data + one, strlen("blk.0.attn_k.weight"));
    assert_refused("tensor", &b, SLM_E_FORMAT, "tensor 'blk.0.attn_q.weight'", "twice");
    build_free(&b);

    build_init(&b);
    build_text(&b, "general.architecture", "llama");
    build_text(&b, "some.key", "x");
    build_text(&b, "some.key", "y");
    build_finish(&b);
    assert_refused("key", &b, SLM_E_FORMAT, "key 'some.key'", "twice");
    build_free(&b);
}

static void the_longest_key_is_65535_bytes(void **state)
{
    char *key = (char *)malloc(65537);
    (void)state;
    assert_non_null(key);
    memset(key, 'k', 65536);
    key[65536] = 0;
    for (size_t n = 65535; n <= 65536; n++) {
        struct build b;
        slm_model_options o;
        slm_model *model = NULL;
        slm_error err;
        build_init(&b);
        build_text(&b, "general.architecture", "llama");
        build_text(&b, key + (65536 - n), "x");
        build_finish(&b);
        slm_model_options_init(&o, sizeof o);
        o.flags = SLM_LOAD_METADATA;
        int status = tiny_open(&model, &b, &o, &err);
        assert_says("long key", status, &err, n == 65535 ? SLM_OK : SLM_E_FORMAT,
                    n == 65535 ? NULL : "65536 bytes", NULL);
        slm_model_free(model);
        build_free(&b);
    }
    free(key);
}

static void name_of_63(struct build *b)
{
    int64_t one = 1;
    char name[64];
    memset(name, 'n', 63);
    name[63] = 0;
    build_tensor(b, name, 1, &one);
    build_tensor(b, "", 1, &one);
}

static void the_longest_tensor_name_is_63_bytes_and_it_may_be_empty(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    (void)state;
    t.tensors = name_of_63;
    tiny_build(&b, &t);
    snapshot_from_memory(&b);
    build_free(&b);
}

/* ---- Every truncation, every altered byte -------------------------------------------------------------- */

static void an_odd_end(struct build *b)
{
    int64_t one = 1;
    build_tensor(b, "last", 1, &one);
}

static void a_truncated_file_is_refused_at_every_byte(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    struct counting c;
    (void)state;
    t.keys = array_keys;
    t.tensors = an_odd_end;
    tiny_build(&b, &t);
    assert_true(b.needed < b.file.size);
    for (size_t size = 0; size <= b.file.size; size++) {
        /* A copy of exactly that size. */
        uint8_t *copy = (uint8_t *)malloc(size + 1);
        slm_model *model = NULL;
        slm_model_options o = options_with(&c, 0);
        slm_error err;
        assert_non_null(copy);
        uint8_t *begin = copy + 1;
        memcpy(begin, b.file.data, size);
        const void *data = begin;
        int status = slm_model_open_memory(&model, &data, &size, 1, &o, &err);
        if (size >= b.needed) {
            assert_says("only padding is missing", status, &err, SLM_OK, "", NULL);
        } else {
            assert_int_equal(status, SLM_E_FORMAT);
            assert_true(err.message[0] != 0);
            assert_null(model);
        }
        slm_model_free(model);
        assert_all_freed(&c);
        assert_in_proportion(&c, size);
        free(copy);
    }
    build_free(&b);
}

static void bpe_keys(struct build *b)
{
    static const char *const texts[6] = {"a", "b", "c", "ab", "abc", "<|x|>"};
    static const char *const merges[2] = {"a b", "ab c"};
    static const int64_t types[6] = {1, 1, 1, 1, 1, 3};
    array_keys(b);
    build_text(b, "tokenizer.ggml.model", "gpt2");
    build_text(b, "tokenizer.ggml.pre", "gpt-2");
    build_texts(b, "tokenizer.ggml.tokens", texts, 6);
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, types, 6);
    build_texts(b, "tokenizer.ggml.merges", merges, 2);
    build_u32(b, "tokenizer.ggml.eos_token_id", 5);
}

static void spm_keys(struct build *b)
{
    static const char *const texts[8] = {"<unk>", "<s>", "</s>", "<0x61>", "a", "b", "ab", "<|x|>"};
    static const int64_t types[8] = {2, 3, 3, 6, 1, 1, 1, 4};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_texts(b, "tokenizer.ggml.tokens", texts, 8);
    build_ints(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, types, 8);
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, 8);
    for (int i = 0; i < 8; i++) {
        build_put_f32(&b->keys, (float)-i);
    }
    build_u32(b, "tokenizer.ggml.bos_token_id", 1);
    build_u32(b, "tokenizer.ggml.eos_token_id", 2);
    build_u32(b, "tokenizer.ggml.unknown_token_id", 0);
    build_int(b, "tokenizer.ggml.add_bos_token", SLM_TYPE_BOOL, 1);
}

/* Text to tokens and back with whatever vocabulary it is. */
static void use_vocabulary(slm_model *model, int32_t n_vocab)
{
    static const char text[] = "abc <|x|> \xff\xc3 aab</s>";
    int32_t ids[64];
    char out[2048];
    size_t n = 0, size = 0;
    int status = slm_tokenize(model, text, sizeof text - 1, SLM_TEXT_BOS | SLM_TEXT_SPECIAL, ids,
                              64, &n, NULL);
    if (status == SLM_OK) {
        for (size_t i = 0; i < n; i++) {
            assert_in_range(ids[i], 0, n_vocab - 1);
        }
        status = slm_detokenize(model, ids, n, SLM_TEXT_SPECIAL, out, sizeof out, &size, NULL);
        assert_true(status == SLM_OK || (status == SLM_E_SPACE && size > sizeof out));
    }
    for (int32_t i = 0; i < n_vocab; i++) {
        slm_token_info info = {.struct_size = sizeof info};
        assert_int_equal(slm_token_get_info(model, i, &info, NULL), SLM_OK);
    }
}

/* Opens an altered file. If it loads, its vocabulary is used and a token is run. */
static int survives(const struct build *b)
{
    struct counting c;
    slm_model *model = NULL;
    slm_model_options o = options_with(&c, 0);
    slm_context *context = NULL;
    slm_context_options co = tiny_context();
    slm_error err;
    float row[64];
    slm_model_info info = {.struct_size = sizeof info};
    int status = tiny_open(&model, b, &o, &err);
    assert_int_equal(status, err.code);
    assert_in_proportion(&c, b->file.size);
    if (status != SLM_OK) {
        assert_true(err.message[0] != 0);
        assert_null(model);
        assert_all_freed(&c);
        return 0;
    }
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_true(info.n_vocab <= 64);
    use_vocabulary(model, info.n_vocab);
    assert_int_equal(slm_context_create(&context, model, &co, &err), SLM_OK);
    assert_int_equal(tiny_logits(context, tokens, 1, row, info.n_vocab, &err), SLM_OK);
    slm_context_free(context);
    slm_model_free(model);
    assert_all_freed(&c);
    return 1;
}

static void (*const altered_keys[])(struct build *b) = {array_keys, bpe_keys, spm_keys};

#define N_ALTERED (sizeof altered_keys / sizeof altered_keys[0])

static void every_altered_byte_of_the_metadata_is_survived(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < N_ALTERED; kind++) {
        struct build b;
        struct tiny t = tiny_default();
        long n_loaded = 0, n_refused = 0;
        t.keys = altered_keys[kind];
        tiny_build(&b, &t);
        assert_int_equal(survives(&b), 1);
        for (size_t at = 0; at < b.data_at; at++) {
            uint8_t old = b.file.data[at];
            const uint8_t values[] = {
                0, 0xff, 0x7f, 0x80, (uint8_t)(old ^ 1), (uint8_t)(old + 1), (uint8_t)(old ^ 0x20)};
            for (size_t i = 0; i < sizeof values; i++) {
                b.file.data[at] = values[i];
                int loaded = values[i] == old || survives(&b);
                n_loaded += loaded;
                n_refused += !loaded;
            }
            b.file.data[at] = old;
        }
        /* Names of keys that nobody asks for, texts, padding: some alterations do load. */
        print_message("%ld altered files were loaded, %ld refused\n", n_loaded, n_refused);
        assert_true(n_loaded > 500 && n_refused > 5000);
        assert_int_equal(survives(&b), 1);
        build_free(&b);
    }
}

/* Eight bytes at a time: what a length, a count or an offset can be at worst. */
static void every_altered_word_of_the_metadata_is_survived(void **state)
{
    static const uint64_t values[] = {
        0, UINT64_MAX, TWO_63, INT64_MAX, (uint64_t)1 << 32, 0xffffffff, (uint64_t)1 << 30};
    (void)state;
    for (size_t kind = 0; kind < N_ALTERED; kind++) {
        struct build b;
        struct tiny t = tiny_default();
        t.keys = altered_keys[kind];
        tiny_build(&b, &t);
        for (size_t at = 0; at + 8 <= b.data_at; at++) {
            uint64_t old = build_peek(&b, at, 8);
            for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
                build_poke(&b, at, values[i], 8);
                survives(&b);
            }
            build_poke(&b, at, old, 8);
        }
        assert_int_equal(survives(&b), 1);
        build_free(&b);
    }
}

/* Files that are not tiny_build's: a few bytes and large claims, one for each place that has a count.
 * What is asked of the allocator must not depend on the claim. */
static void a_small_file_cannot_ask_for_much(void **state)
{
    static const uint64_t claims[] = {0,
                                      1,
                                      2,
                                      8,
                                      11,
                                      100,
                                      1 << 16,
                                      (uint64_t)1 << 30,
                                      ((uint64_t)1 << 30) + 1,
                                      (uint64_t)1 << 31,
                                      (uint64_t)1 << 32,
                                      (uint64_t)1 << 61,
                                      (uint64_t)1 << 62,
                                      INT64_MAX,
                                      TWO_63,
                                      UINT64_MAX - 7,
                                      UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        for (int place = 0; place < 8; place++) {
            struct build b;
            build_init(&b);
            build_text(&b, "general.architecture", "llama");
            build_array(&b, "x", place == 0 ? SLM_TYPE_STRING : SLM_TYPE_UINT8, 0);
            build_array(&b, "y", SLM_TYPE_FLOAT64, 0);
            build_text(&b, "z", "0123456789abcdef");
            build_finish(&b);
            assert_true(b.file.size <= 160);
            const size_t at[8] = {build_at(&b, "x", AT_ELEMENTS),
                                  build_at(&b, "x", AT_ELEMENTS),
                                  build_at(&b, "y", AT_ELEMENTS),
                                  build_at(&b, "z", AT_VALUE),
                                  build_at(&b, "z", AT_NAME),
                                  BUILD_AT_N_KEYS,
                                  BUILD_AT_N_TENSORS,
                                  build_at(&b, "x", AT_NAME)};
            build_poke(&b, at[place], claims[i], 8);
            struct counting c;
            slm_model *model = NULL;
            slm_error err;
            slm_model_options o = options_with(&c, SLM_LOAD_METADATA);
            tiny_open(&model, &b, &o, &err);
            slm_model_free(model);
            assert_all_freed(&c);
            assert_true(c.peak <= 32768);
            assert_true(c.largest <= 32768);
            build_free(&b);
        }
    }
}

/* ---- Split files ----------------------------------------------------------------------------------------- */

#define SHARDS 3

struct split {
    struct build shards[SHARDS];
    const void *data[SHARDS];
    size_t size[SHARDS];
    char folder[256];
    char path[SHARDS][320]; /* empty where there is no file */
};

static void split_build(struct split *s, int first_is_empty, void (*keys)(struct build *b))
{
    memset(s, 0, sizeof *s);
    for (int i = 0; i < SHARDS; i++) {
        struct tiny t = tiny_default();
        t.n_shards = SHARDS;
        t.shard = i;
        t.first_is_empty = first_is_empty;
        t.keys = keys;
        tiny_build(&s->shards[i], &t);
        s->data[i] = s->shards[i].file.data;
        s->size[i] = s->shards[i].file.size;
    }
}

/* Writes the files into a folder of their own, named prefix-0000N-of-NNNNN.gguf. */
static void split_write(struct split *s, const char *prefix, int of)
{
    for (unsigned n = 0; s->folder[0] == 0 && n < 10000; n++) {
        const char *temp = getenv("TMPDIR");
        snprintf(s->folder, sizeof s->folder, "%.200s/slm-split-%u", temp != NULL ? temp : "/tmp",
                 n);
        if (mkdir(s->folder, 0700) != 0) {
            s->folder[0] = 0;
        }
    }
    assert_true(s->folder[0] != 0);
    for (int i = 0; i < SHARDS; i++) {
        snprintf(s->path[i], sizeof s->path[i], "%s/%s-%05d-of-%05d.gguf", s->folder, prefix, i + 1,
                 of);
        FILE *f = fopen(s->path[i], "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(s->data[i], 1, s->size[i], f), s->size[i]);
        assert_int_equal(fclose(f), 0);
    }
}

static void split_free(struct split *s)
{
    for (int i = 0; i < SHARDS; i++) {
        if (s->path[i][0] != 0) {
            remove(s->path[i]);
        }
        build_free(&s->shards[i]);
    }
    if (s->folder[0] != 0) {
        rmdir(s->folder);
    }
}

static void assert_same_logits(slm_model *model, const struct counting *c)
{
    struct build whole;
    struct tiny t = tiny_default();
    float row[TINY_VOCAB];
    tiny_build(&whole, &t);
    struct snapshot expected = snapshot_from_memory(&whole);
    assert_int_equal(tiny_run(model, tokens, 5, row, TINY_VOCAB, NULL), SLM_OK);
    assert_memory_equal(row, expected.logits, sizeof row);
    slm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
    assert_int_equal(info.n_tensors, expected.n_tensors);
    slm_model_free(model);
    assert_all_freed(c);
    build_free(&whole);
}

static void a_split_model_is_the_whole_model(void **state)
{
    struct counting c;
    slm_error err;
    (void)state;
    for (int first_is_empty = 0; first_is_empty <= 1; first_is_empty++) {
        struct split s;
        slm_model *model = NULL;
        split_build(&s, first_is_empty, every_type);
        assert_int_equal(s.shards[0].n_tensors == 0, first_is_empty);
        split_write(&s, "model", SHARDS);
        for (uint32_t flags = 0; flags <= SLM_LOAD_READ; flags++) {
            slm_model_options o = options_with(&c, flags);
            int status = slm_model_open(&model, s.path[0], &o, &err);
            assert_says("split path", status, &err, SLM_OK, "", NULL);
            slm_model_info info = {.struct_size = sizeof info};
            assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
            assert_int_equal(info.mapped_bytes, flags == 0 ? s.size[0] + s.size[1] + s.size[2] : 0);
            assert_same_logits(model, &c);

            o = options_with(&c, flags);
            status = slm_model_open_memory(&model, s.data, s.size, SHARDS, &o, &err);
            assert_says("split memory", status, &err, SLM_OK, "", NULL);
            assert_same_logits(model, &c);

            struct reader r = {s.shards, SHARDS, 100, 0, 0, 0, 0};
            o = options_with(&c, flags);
            status = reader_open(&model, &r, &o, &err);
            assert_says("split callback", status, &err, SLM_OK, "", NULL);
            r.is_over = 1;
            assert_same_logits(model, &c);
        }
        split_free(&s);
    }
}

static void tensors_of_a_split_model_tell_their_file(void **state)
{
    struct split s;
    slm_model *model = NULL;
    int seen[SHARDS] = {0};
    (void)state;
    split_build(&s, 0, NULL);
    assert_int_equal(slm_model_open_memory(&model, s.data, s.size, SHARDS, NULL, NULL), SLM_OK);
    slm_tensor_info t = {.struct_size = sizeof t};
    for (int32_t i = 0; slm_model_tensor(model, i, &t, NULL) == SLM_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t.name_size, t.name);
        assert_in_range(t.file, 0, SHARDS - 1);
        assert_int_equal(t.offset, build_data_at(&s.shards[t.file], name));
        seen[t.file]++;
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
    slm_model_free(model);
    split_free(&s);
}

/* Memory and callback: any number of files but the right one, in any order but the right one. */
static void the_wrong_files_of_a_split_model_are_refused(void **state)
{
    struct split s;
    struct counting c;
    slm_error err;
    slm_model *model = NULL;
    (void)state;
    split_build(&s, 0, NULL);
    const struct {
        const char *what;
        int32_t n;
        int order[4];
        int status;
        const char *says;
    } rows[] = {
        {"one of three", 1, {0, 0, 0, 0}, SLM_E_ARGUMENT, "3 files, not 1"},
        {"two of three", 2, {0, 1, 0, 0}, SLM_E_ARGUMENT, "3 files, not 2"},
        {"four of three", 4, {0, 1, 2, 2}, SLM_E_ARGUMENT, "3 files, not 4"},
        {"the second first", 3, {1, 0, 2, 0}, SLM_E_FORMAT, "file 2 of a model split into 3"},
        {"the second alone", 1, {1, 0, 0, 0}, SLM_E_FORMAT, "file 2 of a model split into 3"},
        {"the last two swapped", 3, {0, 2, 1, 0}, SLM_E_FORMAT, "split.no 2"},
        {"the first again", 3, {0, 0, 2, 0}, SLM_E_FORMAT, "split.no 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const void *data[4];
        size_t size[4];
        for (int k = 0; k < 4; k++) {
            data[k] = s.data[rows[i].order[k]];
            size[k] = s.size[rows[i].order[k]];
        }
        slm_model_options o = options_with(&c, 0);
        int status = slm_model_open_memory(&model, data, size, rows[i].n, &o, &err);
        assert_says(rows[i].what, status, &err, rows[i].status, rows[i].says, NULL);
        assert_null(model);
        assert_all_freed(&c);
    }
    split_free(&s);
}

static void split_keys_that_lie_are_refused(void **state)
{
    static const struct {
        const char *what;
        int shard;
        const char *key;
        int field;
        uint64_t value;
        size_t bytes;
        int status;
        const char *says, *also;
    } rows[] = {
        {"count 2", 0, "split.count", AT_VALUE, 2, 2, SLM_E_ARGUMENT, "2 files, not 3", NULL},
        {"count 0", 0, "split.count", AT_VALUE, 0, 2, SLM_E_ARGUMENT, "1 files, not 3", NULL},
        {"count 65535", 0, "split.count", AT_VALUE, 65535, 2, SLM_E_FORMAT, "65535", NULL},
        {"count 1025", 0, "split.count", AT_VALUE, 1025, 2, SLM_E_FORMAT, "1025", "1024"},
        {"count negative", 0, "split.count", AT_TYPE, SLM_TYPE_INT16, 4, SLM_OK, NULL, NULL},
        {"no of the first", 0, "split.no", AT_VALUE, 1, 2, SLM_E_FORMAT, "file 2", NULL},
        {"no of the second", 1, "split.no", AT_VALUE, 2, 2, SLM_E_FORMAT, "file 1", "split.no 2"},
        {"no of the third", 2, "split.no", AT_VALUE, 7, 2, SLM_E_FORMAT, "file 2", "split.no 7"},
        {"one tensor more", 0, "split.tensors.count", AT_VALUE, 13, 4, SLM_E_FORMAT, "12 tensors",
         "13"},
        {"tensors negative", 0, "split.tensors.count", AT_VALUE, 0xffffffff, 4, SLM_E_FORMAT,
         "12 tensors", "-1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct split s;
        struct counting c;
        slm_error err;
        slm_model *model = NULL;
        slm_model_options o = options_with(&c, 0);
        split_build(&s, 0, NULL);
        struct build *b = &s.shards[rows[i].shard];
        build_poke(b, build_at(b, rows[i].key, rows[i].field), rows[i].value, rows[i].bytes);
        int status = slm_model_open_memory(&model, s.data, s.size, SHARDS, &o, &err);
        assert_says(rows[i].what, status, &err, rows[i].status, rows[i].says, rows[i].also);
        slm_model_free(model);
        assert_all_freed(&c);
        split_free(&s);
    }
}

/* A key of the wrong type in a shard, a tensor of two shards, a shard that is no GGUF file. */
static void broken_shards_are_refused(void **state)
{
    struct split s;
    struct counting c;
    slm_error err;
    slm_model *model = NULL;
    slm_model_options o = options_with(&c, 0);
    (void)state;
    split_build(&s, 0, NULL);
    const void *twice[3] = {s.data[0], s.data[1], s.data[1]};
    size_t twice_size[3] = {s.size[0], s.size[1], s.size[1]};
    struct build copy = s.shards[1];
    copy.file.data = (uint8_t *)malloc(copy.file.size);
    assert_non_null(copy.file.data);
    memcpy(copy.file.data, s.data[1], s.size[1]);
    build_poke(&copy, build_at(&copy, "split.no", AT_VALUE), 2, 2);
    twice[2] = copy.file.data;
    int status = slm_model_open_memory(&model, twice, twice_size, SHARDS, &o, &err);
    assert_int_equal(status, SLM_E_FORMAT);
    build_poke(&s.shards[0], build_at(&s.shards[0], "split.tensors.count", AT_VALUE),
               s.shards[0].n_tensors + 2 * s.shards[1].n_tensors, 4);
    status = slm_model_open_memory(&model, twice, twice_size, SHARDS, &o, &err);
    assert_says("a tensor in two shards", status, &err, SLM_E_FORMAT, "tensor '", "twice");
    free(copy.file.data);

    memset((uint8_t *)(uintptr_t)s.data[2], 0, 8);
    status = slm_model_open_memory(&model, s.data, s.size, SHARDS, &o, &err);
    assert_says("not GGUF", status, &err, SLM_E_FORMAT, "not a GGUF file", NULL);
    s.size[2] = 0;
    status = slm_model_open_memory(&model, s.data, s.size, SHARDS, &o, &err);
    assert_says("empty", status, &err, SLM_E_FORMAT, "header", NULL);
    assert_all_freed(&c);
    split_free(&s);
}

static void split_paths_are_found_beside_the_first_or_told(void **state)
{
    struct split s;
    struct counting c;
    slm_error err;
    slm_model *model = NULL;
    slm_model_options o = options_with(&c, 0);
    (void)state;
    split_build(&s, 0, NULL);
    split_write(&s, "m", SHARDS);
    int status = slm_model_open(&model, s.path[1], &o, &err);
    assert_says("the second file", status, &err, SLM_E_FORMAT, "file 2", "open the first");
    assert_int_equal(remove(s.path[2]), 0);
    status = slm_model_open(&model, s.path[0], &o, &err);
    assert_says("a missing file", status, &err, SLM_E_IO, "m-00003-of-00003.gguf", NULL);
    assert_int_equal(remove(s.path[1]), 0);
    status = slm_model_open(&model, s.path[0], &o, &err);
    assert_says("a missing file", status, &err, SLM_E_IO, "m-00002-of-00003.gguf", NULL);
    remove(s.path[0]);

    split_write(&s, "m", 4);
    status = slm_model_open(&model, s.path[0], &o, &err);
    assert_says("named of 4", status, &err, SLM_E_FORMAT, "split into 3 files", "-of-00003.gguf");
    for (int i = 0; i < SHARDS; i++) {
        remove(s.path[i]);
    }

    static const char *const names[] = {
        "model.gguf", "m-00001-of-00003.bin", "m_00001-of-00003.gguf", "m-0001-of-00003.gguf",
        "f",          "m-00001-of-0000x.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", s.folder, names[i]);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(s.data[0], 1, s.size[0], f), s.size[0]);
        fclose(f);
        status = slm_model_open(&model, path, &o, &err);
        assert_says(names[i], status, &err, SLM_E_FORMAT, "split into 3 files", "not named");
        remove(path);
    }
    assert_null(model);
    assert_all_freed(&c);
    split_free(&s);
}

static void every_allocation_that_fails_on_a_split_path_is_a_status(void **state)
{
    struct split s;
    int status = SLM_E_MEMORY;
    int64_t at = 0;
    (void)state;
    split_build(&s, 0, NULL);
    split_write(&s, "m", SHARDS);
    while (status != SLM_OK) {
        struct counting c;
        slm_model *model = NULL;
        slm_model_options o = options_with(&c, 0);
        slm_error err;
        c.fail_at = ++at;
        status = slm_model_open(&model, s.path[0], &o, &err);
        if (status != SLM_OK) {
            assert_says("no memory", status, &err, SLM_E_MEMORY, "bytes", NULL);
        }
        slm_model_free(model);
        assert_all_freed(&c);
    }
    assert_true(at > 15);
    split_free(&s);
}

/* A hundred bytes that claim to be the first of many files. */
static void a_claim_of_many_files_costs_nothing(void **state)
{
    struct counting c;
    slm_error err;
    (void)state;
    struct build b;
    char path[512];
    slm_model *model = NULL;
    slm_model_options o = options_with(&c, 0);
    build_init(&b);
    build_int(&b, "split.no", SLM_TYPE_UINT16, 0);
    build_int(&b, "split.count", SLM_TYPE_UINT16, 1024);
    build_finish(&b);
    assert_int_equal(testing_temp(path, sizeof path, "m.gguf", b.file.data, b.file.size), 0);
    int status = slm_model_open(&model, path, &o, &err);
    remove(path);
    assert_says("1024 files", status, &err, SLM_E_FORMAT, "1024 files", NULL);
    assert_all_freed(&c);
    assert_in_proportion(&c, b.file.size);
    build_free(&b);
}

static void n_files_is_checked(void **state)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_error err;
    slm_model *model = NULL;
    uint64_t size64;
    (void)state;
    tiny_build(&b, &t);
    const void *data[2] = {b.file.data, NULL};
    size_t size[2] = {b.file.size, b.file.size};
    size64 = b.file.size;
    struct reader r = {&b, 1, SIZE_MAX, 0, 0, 0, 0};
    static const int32_t wrong[] = {0, -1, INT32_MIN, INT32_MAX, 1025};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int status = slm_model_open_memory(&model, data, size, wrong[i], NULL, &err);
        assert_says("n_files", status, &err, SLM_E_ARGUMENT, "n_files", NULL);
        status = slm_model_open_callback(&model, reader_read, &r, &size64, wrong[i], NULL, &err);
        assert_says("n_files", status, &err, SLM_E_ARGUMENT, "n_files", NULL);
    }
    int status = slm_model_open_memory(&model, data, size, 2, NULL, &err);
    assert_says("data[1]", status, &err, SLM_E_ARGUMENT, "data[1]", NULL);
    assert_int_equal(err.position, 1);
    build_free(&b);
}

/* ---- Real files ------------------------------------------------------------------------------------------- */

static void a_real_model_is_the_same_in_all_four_ways(void **state)
{
    size_t size = 0;
    char *file = testing_read(TESTING_STORYTELLER, &size);
    static float rows[4][1 << 16];
    int32_t n_vocab = 0;
    (void)state;
    assert_non_null(file);
    struct build b;
    build_init(&b);
    b.file.data = (uint8_t *)file;
    b.file.size = size;
    for (int way = 0; way < 4; way++) {
        struct counting c;
        slm_model *model = NULL;
        slm_error err;
        slm_model_options o = options_with(&c, way == 1 ? SLM_LOAD_READ : 0);
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
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(paths_that_are_no_files_are_io_errors),
        cmocka_unit_test(each_broken_rule_is_told_with_its_place),
        cmocka_unit_test(a_key_or_tensor_that_stands_twice_is_refused),
        cmocka_unit_test(the_longest_key_is_65535_bytes),
        cmocka_unit_test(the_longest_tensor_name_is_63_bytes_and_it_may_be_empty),
        cmocka_unit_test(a_truncated_file_is_refused_at_every_byte),
        cmocka_unit_test(every_altered_byte_of_the_metadata_is_survived),
        cmocka_unit_test(every_altered_word_of_the_metadata_is_survived),
        cmocka_unit_test(a_small_file_cannot_ask_for_much),
        cmocka_unit_test(a_split_model_is_the_whole_model),
        cmocka_unit_test(tensors_of_a_split_model_tell_their_file),
        cmocka_unit_test(the_wrong_files_of_a_split_model_are_refused),
        cmocka_unit_test(split_keys_that_lie_are_refused),
        cmocka_unit_test(broken_shards_are_refused),
        cmocka_unit_test(split_paths_are_found_beside_the_first_or_told),
        cmocka_unit_test(every_allocation_that_fails_on_a_split_path_is_a_status),
        cmocka_unit_test(a_claim_of_many_files_costs_nothing),
        cmocka_unit_test(n_files_is_checked),
        cmocka_unit_test(a_real_model_is_the_same_in_all_four_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
