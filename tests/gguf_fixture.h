/* gguf_fixture.h - what tests of files share: memory in proportion to the file, all that a model
 * tells as one value, a read callback that gives little or fails, metadata of every type. */
#ifndef GGUF_FIXTURE_H
#define GGUF_FIXTURE_H

#include "model_fixture.h"

/* What opening may take at once: a constant (the model, the kernel table, the first entries of each
 * list, the filters of a vocabulary) and so many bytes for each byte of the file. */
#define MEMORY_CONSTANT 49152
#define MEMORY_PER_BYTE 32

static TESTING_UNUSED void assert_in_proportion(const struct counting *c, size_t file_size)
{
    uint64_t bound = MEMORY_CONSTANT + (uint64_t)MEMORY_PER_BYTE * file_size;
    if (c->peak > bound || c->largest > bound) {
        fail_msg("%llu bytes in use, %llu in one request, for a file of %zu",
                 (unsigned long long)c->peak, (unsigned long long)c->largest, file_size);
    }
}

/* ---- What a model is, for comparing ---------------------------------------------------------- */

struct snapshot {
    int32_t n_metadata, n_tensors;
    uint64_t hash; /* of metadata and tensor table */
    float logits[TINY_VOCAB];
};

static TESTING_UNUSED void hash_add(uint64_t *h, const void *data, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)data;
    for (size_t i = 0; i < n; i++) {
        *h = (*h ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
}

static TESTING_UNUSED void hash_metadata(uint64_t *h, const slm_model *model, int32_t index)
{
    slm_metadata v = {.struct_size = sizeof v};
    uint64_t n = 1;
    for (uint64_t i = 0; i < n; i++) {
        assert_int_equal(slm_model_metadata(model, index, i, &v, NULL), SLM_OK);
        n = v.count;
        hash_add(h, v.key, v.key_size);
        hash_add(h, &v.value_type, sizeof v.value_type);
        hash_add(h, &v.is_array, sizeof v.is_array);
        hash_add(h, &v.count, sizeof v.count);
        hash_add(h, &v.integer, sizeof v.integer);
        hash_add(h, &v.real, sizeof v.real);
        hash_add(h, v.text, v.text_size);
    }
}

static TESTING_UNUSED void hash_tensor(uint64_t *h, const slm_model *model, int32_t index)
{
    slm_tensor_info t = {.struct_size = sizeof t};
    assert_int_equal(slm_model_tensor(model, index, &t, NULL), SLM_OK);
    hash_add(h, t.name, t.name_size);
    hash_add(h, &t.encoding, sizeof t.encoding);
    hash_add(h, t.shape, sizeof t.shape);
    hash_add(h, &t.n_dims, sizeof t.n_dims);
    hash_add(h, &t.offset, sizeof t.offset);
    hash_add(h, &t.size, sizeof t.size);
}

static TESTING_UNUSED struct snapshot snapshot_of(slm_model *model)
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
static TESTING_UNUSED void assert_same(const char *what, slm_model *model, const struct counting *c,
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

static TESTING_UNUSED struct snapshot snapshot_from_memory(const struct build *b)
{
    slm_model *model = NULL;
    slm_error err;
    slm_model_options o = model_options(NULL, 0);
    int status = tiny_open(&model, b, &o, &err);
    assert_says("the model compared to", status, &err, SLM_OK, "", NULL);
    struct snapshot s = snapshot_of(model);
    slm_model_free(model);
    return s;
}

/* ---- A read callback ------------------------------------------------------------------------- */

struct reader {
    const struct build *files;
    int32_t n_files;
    size_t most; /* bytes one call gives */
    int64_t calls;
    int64_t fail_at; /* call that fails, from 1; 0: none */
    int64_t failure; /* what it returns */
    int is_over;     /* after opening: no more calls */
};

static TESTING_UNUSED int64_t reader_read(void *user, int32_t file, uint64_t offset, void *buffer,
                                          size_t size)
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

static TESTING_UNUSED int reader_open(slm_model **model, struct reader *r,
                                      const slm_model_options *o, slm_error *err)
{
    uint64_t sizes[8];
    for (int32_t i = 0; i < r->n_files; i++) {
        sizes[i] = r->files[i].file.size;
    }
    return slm_model_open_callback(model, reader_read, r, sizes, r->n_files, o, err);
}

/* ---- Metadata of every type ------------------------------------------------------------------ */

static TESTING_UNUSED void every_type(struct build *b)
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

#endif
