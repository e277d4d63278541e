/* test_split.c - a model in several files: it is the model in one file, and what is wrong with the
 * parts, their order, their number or their names is told.
 *
 * Public functions only. */
#include "gguf_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#if defined(_WIN32)
#define mkdir(path, mode) mkdir(path)
#endif

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

/* Opens, and frees what opened; must end like this and leave nothing. */
static void assert_parts_open(const char *what, const void *const *data, const size_t *size,
                              int32_t n, int wanted, const char *one, const char *two)
{
    struct counting c;
    slm_model_options o = model_options(&c, 0);
    slm_error err;
    slm_model *model = NULL;
    int status = slm_model_open_memory(&model, data, size, n, &o, &err);
    assert_says(what, status, &err, wanted, one, two);
    assert_true((status == SLM_OK) == (model != NULL));
    slm_model_free(model);
    assert_all_freed(&c);
}

static void assert_path_refused(const char *what, const char *path, int wanted, const char *one,
                                const char *two)
{
    struct counting c;
    slm_model_options o = model_options(&c, 0);
    slm_error err;
    slm_model *model = NULL;
    int status = slm_model_open(&model, path, &o, &err);
    assert_says(what, status, &err, wanted, one, two);
    assert_null(model);
    assert_all_freed(&c);
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
            slm_model_options o = model_options(&c, flags);
            int status = slm_model_open(&model, s.path[0], &o, &err);
            assert_says("split path", status, &err, SLM_OK, "", NULL);
            slm_model_info info = {.struct_size = sizeof info};
            assert_int_equal(slm_model_get_info(model, &info, NULL), SLM_OK);
            assert_int_equal(info.mapped_bytes, flags == 0 ? s.size[0] + s.size[1] + s.size[2] : 0);
            assert_same_logits(model, &c);

            o = model_options(&c, flags);
            status = slm_model_open_memory(&model, s.data, s.size, SHARDS, &o, &err);
            assert_says("split memory", status, &err, SLM_OK, "", NULL);
            assert_same_logits(model, &c);

            struct reader r = {s.shards, SHARDS, 100, 0, 0, 0, 0};
            o = model_options(&c, flags);
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
        assert_parts_open(rows[i].what, data, size, rows[i].n, rows[i].status, rows[i].says, NULL);
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
        split_build(&s, 0, NULL);
        struct build *b = &s.shards[rows[i].shard];
        build_poke(b, build_at(b, rows[i].key, rows[i].field), rows[i].value, rows[i].bytes);
        assert_parts_open(rows[i].what, s.data, s.size, SHARDS, rows[i].status, rows[i].says,
                          rows[i].also);
        split_free(&s);
    }
}

/* A key of the wrong type in a shard, a tensor of two shards, a shard that is no GGUF file. */
static void broken_shards_are_refused(void **state)
{
    struct split s;
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
    assert_parts_open("too many tensors", twice, twice_size, SHARDS, SLM_E_FORMAT, NULL, NULL);
    build_poke(&s.shards[0], build_at(&s.shards[0], "split.tensors.count", AT_VALUE),
               s.shards[0].n_tensors + 2 * s.shards[1].n_tensors, 4);
    assert_parts_open("a tensor in two shards", twice, twice_size, SHARDS, SLM_E_FORMAT, "tensor '",
                      "twice");
    free(copy.file.data);

    memset((uint8_t *)(uintptr_t)s.data[2], 0, 8);
    assert_parts_open("not GGUF", s.data, s.size, SHARDS, SLM_E_FORMAT, "not a GGUF file", NULL);
    s.size[2] = 0;
    assert_parts_open("empty", s.data, s.size, SHARDS, SLM_E_FORMAT, "header", NULL);
    split_free(&s);
}

static void split_paths_are_found_beside_the_first_or_told(void **state)
{
    struct split s;
    (void)state;
    split_build(&s, 0, NULL);
    split_write(&s, "m", SHARDS);
    assert_path_refused("the second file", s.path[1], SLM_E_FORMAT, "file 2", "open the first");
    assert_int_equal(remove(s.path[2]), 0);
    assert_path_refused("a missing file", s.path[0], SLM_E_IO, "m-00003-of-00003.gguf", NULL);
    assert_int_equal(remove(s.path[1]), 0);
    assert_path_refused("a missing file", s.path[0], SLM_E_IO, "m-00002-of-00003.gguf", NULL);
    remove(s.path[0]);

    split_write(&s, "m", 4);
    assert_path_refused("named of 4", s.path[0], SLM_E_FORMAT, "split into 3 files",
                        "-of-00003.gguf");
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
        assert_path_refused(names[i], path, SLM_E_FORMAT, "split into 3 files", "not named");
        remove(path);
    }
    split_free(&s);
}

static void every_allocation_that_fails_on_a_split_path_is_a_status(void **state)
{
    struct split s;
    (void)state;
    split_build(&s, 0, NULL);
    split_write(&s, "m", SHARDS);
    assert_true(fail_each_request(s.path[0], NULL) >= 15);
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
    slm_model_options o = model_options(&c, 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_model_is_the_whole_model),
        cmocka_unit_test(tensors_of_a_split_model_tell_their_file),
        cmocka_unit_test(the_wrong_files_of_a_split_model_are_refused),
        cmocka_unit_test(split_keys_that_lie_are_refused),
        cmocka_unit_test(broken_shards_are_refused),
        cmocka_unit_test(split_paths_are_found_beside_the_first_or_told),
        cmocka_unit_test(every_allocation_that_fails_on_a_split_path_is_a_status),
        cmocka_unit_test(a_claim_of_many_files_costs_nothing),
        cmocka_unit_test(n_files_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
