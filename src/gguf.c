/* gguf.c - reads GGUF files, versions 2 and 3, little-endian, whole or split.
 *
 * Owns the copy of the metadata (header, key-value pairs, tensor table) and says where each
 * tensor's bytes are; it never looks at them. Every byte is hostile: no length is used before it is
 * checked against the end of the file, no count is allocated for before that many could exist, and
 * what was checked is the copy, so that a file that changes under a map cannot change what was
 * decided.
 *
 * Strings are pointer and length into the copy: they may hold any byte, 0 included. */

/* ---- Where the bytes come from --------------------------------------------------------------- */

struct source {
    const uint8_t *data; /* mapped file or the caller's memory, else NULL */
    uint64_t size;
    int32_t file; /* index, for the callback */
    int has_file;
    int is_mapped;
    struct platform_file handle;
    slm_read_fn read;
    void *read_user;
};

static int source_read(struct source *s, uint64_t offset, void *buffer, uint64_t size,
                       slm_error *err)
{
    if (offset > s->size || size > s->size - offset || size > SIZE_MAX) {
        SLM_FAIL(err, SLM_E_FORMAT, (int64_t)offset,
                 "the file ends at byte %llu, but %llu bytes are wanted at %llu",
                 (unsigned long long)s->size, (unsigned long long)size, (unsigned long long)offset);
    }
    if (s->data != NULL) {
        memcpy(buffer, s->data + offset, (size_t)size);
        return SLM_OK;
    }
    if (s->read != NULL) {
        uint64_t done = 0;
        while (done < size) {
            int64_t n = s->read(s->read_user, s->file, offset + done, (uint8_t *)buffer + done,
                                (size_t)(size - done));
            if (n <= 0 || (uint64_t)n > size - done) {
                SLM_FAIL(err, SLM_E_IO, (int64_t)(offset + done),
                         "the read callback gave %lld of %llu bytes at %llu of file %d",
                         (long long)n, (unsigned long long)(size - done),
                         (unsigned long long)(offset + done), s->file);
            }
            done += (uint64_t)n;
        }
        return SLM_OK;
    }
    return platform_file_read(&s->handle, offset, buffer, (size_t)size, err);
}

/* Nothing more will be read from the file; a map stays. */
static void source_close_file(struct source *s)
{
    if (s->has_file) {
        platform_file_close(&s->handle);
    }
    s->has_file = 0;
}

static int source_open(struct source *s, const char *path, int map, slm_error *err)
{
    SLM_TRY(platform_file_open(&s->handle, path, err));
    s->has_file = 1;
    s->size = platform_file_size(&s->handle);
    if (map && s->size > 0) {
        SLM_TRY(platform_file_map(&s->handle, &s->data, err));
        s->is_mapped = 1;
        source_close_file(s); /* the map stays */
    }
    return SLM_OK;
}

static void source_close(struct source *s)
{
    if (s->is_mapped) {
        platform_file_unmap(&s->handle);
    }
    source_close_file(s);
    memset(s, 0, sizeof *s);
}

/* ---- What is read ---------------------------------------------------------------------------- */

struct gguf_kv {
    uint32_t key_at; /* in the copy of file 0 */
    uint32_t key_size;
    uint32_t type;         /* SLM_TYPE_ */
    uint32_t element_type; /* of an array, else = type */
    uint64_t count;        /* elements of an array, else 1 */
    uint32_t value_at;     /* first element */
    uint32_t *strings;     /* [count] where each string of an array begins, else NULL */
};

struct gguf_tensor {
    struct text name;
    int64_t shape[LIMIT_DIMENSIONS]; /* fastest first, 1 where there is none */
    int32_t n_dims;
    int32_t type;
    int32_t part;
    uint64_t offset; /* from the start of its file */
    uint64_t size;
};

/* One file: the source and the copy of its metadata. */
struct gguf_part {
    struct source source;
    uint8_t *bytes;
    uint64_t capacity; /* of bytes */
    uint64_t have;     /* read so far */
};

struct gguf {
    struct gguf_part *parts;
    int32_t n_parts;
    uint32_t version;
    struct gguf_kv *kv; /* of part 0 */
    uint64_t n_kv;
    uint64_t kv_capacity;
    struct gguf_tensor *tensors; /* of all parts */
    uint64_t n_tensors;
    uint64_t tensor_capacity;
    struct table by_key;  /* of kv */
    struct table by_name; /* of tensors */
};

struct gguf_array {
    uint32_t type; /* SLM_TYPE_ of the elements */
    uint64_t count;
    const uint8_t *data;     /* first element */
    const uint32_t *strings; /* [count] offsets from base */
    const uint8_t *base;
};

static const uint8_t gguf_type_size[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* ---- Cursor over a part, which reads ahead as it goes ---------------------------------------- */

struct gguf_cursor {
    struct gguf_part *part;
    struct memory *memory;
    uint64_t at;
    slm_error *err;
};

#define GGUF_FIRST_READ 65536u
#define GGUF_STRING_BYTES 16 /* of a token or a merge, its length included: a guess */

static int gguf_too_long(const struct gguf_cursor *c)
{
    SLM_FAIL(c->err, SLM_E_UNSUPPORTED, (int64_t)c->at, "the metadata is longer than %llu bytes",
             (unsigned long long)LIMIT_METADATA_BYTES);
}

/* Makes bytes at..at+n-1 present. The copy at least doubles, so all copying is linear. */
static int cursor_need(struct gguf_cursor *c, uint64_t n, const char *what)
{
    struct gguf_part *p = c->part;
    if (n > p->source.size - c->at) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at,
                 "%s at byte %llu needs %llu bytes, but the file has %llu left", what,
                 (unsigned long long)c->at, (unsigned long long)n,
                 (unsigned long long)(p->source.size - c->at));
    }
    uint64_t end = c->at + n;
    if (end <= p->have) {
        return SLM_OK;
    }
    if (end > LIMIT_METADATA_BYTES) {
        return gguf_too_long(c);
    }
    uint64_t capacity = p->capacity == 0 ? GGUF_FIRST_READ : p->capacity * 2;
    while (capacity < end) {
        capacity *= 2;
    }
    capacity = capacity < p->source.size ? capacity : p->source.size;
    capacity = capacity < LIMIT_METADATA_BYTES ? capacity : LIMIT_METADATA_BYTES;
    uint8_t *bytes = (uint8_t *)memory_take(c->memory, capacity);
    if (bytes == NULL) {
        return memory_error(c->memory, capacity, "metadata", c->err);
    }
    if (p->have > 0) {
        memcpy(bytes, p->bytes, (size_t)p->have);
    }
    int status = source_read(&p->source, p->have, bytes + p->have, capacity - p->have, c->err);
    if (status != SLM_OK) {
        memory_give(c->memory, bytes, capacity);
        return status;
    }
    memory_give(c->memory, p->bytes, p->capacity);
    p->bytes = bytes;
    p->capacity = capacity;
    p->have = capacity;
    return SLM_OK;
}

static int cursor_u32(struct gguf_cursor *c, uint32_t *value, const char *what)
{
    SLM_TRY(cursor_need(c, 4, what));
    *value = load_u32(c->part->bytes + c->at);
    c->at += 4;
    return SLM_OK;
}

static int cursor_u64(struct gguf_cursor *c, uint64_t *value, const char *what)
{
    SLM_TRY(cursor_need(c, 8, what));
    *value = load_u64(c->part->bytes + c->at);
    c->at += 8;
    return SLM_OK;
}

/* Passes over a string; *at and *size say where its bytes are. */
static int cursor_string(struct gguf_cursor *c, uint64_t *at, uint64_t *size, const char *what)
{
    SLM_TRY(cursor_u64(c, size, what));
    SLM_TRY(cursor_need(c, *size, what));
    *at = c->at;
    c->at += *size;
    return SLM_OK;
}

/* ---- Key-value pairs ------------------------------------------------------------------------- */

/* Room for one more element of a growing array: the new capacity's block or an error. */
static int gguf_grow(struct memory *m, void **data, uint64_t *capacity, uint64_t count,
                     size_t element, const char *what, slm_error *err)
{
    if (count < *capacity) {
        return SLM_OK;
    }
    uint64_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *p = memory_take(m, wanted * element);
    if (p == NULL) {
        return memory_error(m, wanted * element, what, err);
    }
    if (count > 0) {
        memcpy(p, *data, (size_t)(count * element));
    }
    memory_give(m, *data, *capacity * element);
    *data = p;
    *capacity = wanted;
    return SLM_OK;
}

/* A string array is walked once, here, and its offsets kept: 4 bytes for each 8 or more of the
 * file. */
static int gguf_index_strings(struct gguf_cursor *c, struct gguf_kv *kv)
{
    kv->strings = (uint32_t *)memory_take(c->memory, kv->count * sizeof(uint32_t));
    if (kv->strings == NULL) {
        return memory_error(c->memory, kv->count * sizeof(uint32_t), "string array", c->err);
    }
    /* As many bytes as so many short strings take, so that the copy grows once for all of them. */
    uint64_t end =
        c->part->source.size < LIMIT_METADATA_BYTES ? c->part->source.size : LIMIT_METADATA_BYTES;
    uint64_t left = end > c->at ? end - c->at : 0;
    uint64_t ahead = kv->count * GGUF_STRING_BYTES < left ? kv->count * GGUF_STRING_BYTES : left;
    int status = cursor_need(c, ahead, "strings of an array");
    for (uint64_t i = 0; i < kv->count && status == SLM_OK; i++) {
        uint64_t at = 0;
        uint64_t size = 0;
        kv->strings[i] = (uint32_t)c->at;
        status = cursor_string(c, &at, &size, "string of an array");
    }
    if (status != SLM_OK) {
        memory_give(c->memory, kv->strings, kv->count * sizeof(uint32_t));
        kv->strings = NULL;
    }
    return status;
}

static int gguf_read_value(struct gguf_cursor *c, struct gguf_kv *kv, struct text key)
{
    uint64_t at = 0;
    uint64_t size = 0;
    kv->count = 1;
    kv->element_type = kv->type;
    kv->strings = NULL;
    if (kv->type == SLM_TYPE_ARRAY) {
        SLM_TRY(cursor_u32(c, &kv->element_type, "array type"));
        SLM_TRY(cursor_u64(c, &kv->count, "array length"));
        if (kv->element_type > SLM_TYPE_FLOAT64 || kv->element_type == SLM_TYPE_ARRAY) {
            SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at - 12,
                     "key '%.*s': arrays of type %u do not exist", text_width(key), key.s,
                     kv->element_type);
        }
    }
    if (kv->type > SLM_TYPE_FLOAT64) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at - 4, "key '%.*s': type %u does not exist",
                 text_width(key), key.s, kv->type);
    }
    kv->value_at = (uint32_t)c->at;
    int is_string = kv->element_type == SLM_TYPE_STRING;
    uint64_t element = is_string ? 8 : gguf_type_size[kv->element_type];
    if (kv->count > (c->part->source.size - c->at) / element) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at,
                 "key '%.*s' claims %llu elements, more than the file can hold", text_width(key),
                 key.s, (unsigned long long)kv->count);
    }
    if (kv->count > LIMIT_METADATA_BYTES / element) {
        return gguf_too_long(c);
    }
    if (is_string && kv->type == SLM_TYPE_ARRAY) {
        return gguf_index_strings(c, kv);
    }
    if (is_string) {
        return cursor_string(c, &at, &size, "string");
    }
    SLM_TRY(cursor_need(c, kv->count * element, "value"));
    c->at += kv->count * element;
    return SLM_OK;
}

static int gguf_read_kv(struct gguf_cursor *c, struct gguf_kv *kv)
{
    uint64_t at = 0;
    uint64_t size = 0;
    uint64_t start = c->at;
    SLM_TRY(cursor_string(c, &at, &size, "key"));
    if (size == 0 || size > LIMIT_KEY_BYTES) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)start,
                 "a key of %llu bytes at byte %llu: 1 to %u are expected", (unsigned long long)size,
                 (unsigned long long)start, LIMIT_KEY_BYTES);
    }
    SLM_TRY(cursor_u32(c, &kv->type, "value type"));
    kv->key_at = (uint32_t)at;
    kv->key_size = (uint32_t)size;
    /* The copy may move while the value is read: the name for messages is taken only on failure,
     * from bytes that do not change, so a short copy of it does. */
    char name[LIMIT_TENSOR_NAME_BYTES + 1];
    size_t n = size < sizeof name ? (size_t)size : sizeof name;
    memcpy(name, c->part->bytes + at, n);
    struct text key = {name, n};
    return gguf_read_value(c, kv, key);
}

/* ---- Tensor table ---------------------------------------------------------------------------- */

static int gguf_read_shape(struct gguf_cursor *c, struct gguf_tensor *t)
{
    uint32_t n_dims = 0;
    uint64_t elements = 1;
    SLM_TRY(cursor_u32(c, &n_dims, "dimensions"));
    if (n_dims > LIMIT_DIMENSIONS) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at - 4,
                 "tensor '%.*s' has %u dimensions: %d are the limit", text_width(t->name),
                 t->name.s, n_dims, LIMIT_DIMENSIONS);
    }
    t->n_dims = (int32_t)n_dims;
    for (uint32_t d = 0; d < LIMIT_DIMENSIONS; d++) {
        uint64_t n = 1;
        if (d < n_dims) {
            SLM_TRY(cursor_u64(c, &n, "dimension"));
        }
        if (n == 0 || n > (uint64_t)INT64_MAX || !mul_u64(elements, n, &elements) ||
            elements > (uint64_t)INT64_MAX) {
            SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at - 8,
                     "tensor '%.*s': dimension %u is %llu", text_width(t->name), t->name.s, d,
                     (unsigned long long)n);
        }
        t->shape[d] = (int64_t)n;
    }
    return SLM_OK;
}

/* Sets t->size. kernel_formats[] knows every encoding. */
static int gguf_check_type(struct gguf_cursor *c, struct gguf_tensor *t, uint32_t type)
{
    if (type >= ENC_COUNT || kernel_formats[type].block_elements == 0) {
        SLM_FAIL(c->err, SLM_E_UNSUPPORTED, (int64_t)c->at - 4,
                 "tensor '%.*s': encoding %u is not known", text_width(t->name), t->name.s, type);
    }
    const struct kernel_format *f = &kernel_formats[type];
    if (t->shape[0] % f->block_elements != 0) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at - 4,
                 "tensor '%.*s': rows of %lld elements are no whole blocks of %s",
                 text_width(t->name), t->name.s, (long long)t->shape[0], f->name);
    }
    uint64_t blocks = (uint64_t)(t->shape[0] / f->block_elements) * (uint64_t)t->shape[1] *
                      (uint64_t)t->shape[2] * (uint64_t)t->shape[3];
    if (!mul_u64(blocks, (uint64_t)f->block_bytes, &t->size)) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at - 4, "tensor '%.*s' is too large",
                 text_width(t->name), t->name.s);
    }
    t->type = (int32_t)type;
    return SLM_OK;
}

static int gguf_read_tensor(struct gguf_cursor *c, struct gguf_tensor *t)
{
    uint64_t at = 0;
    uint64_t size = 0;
    uint32_t type = 0;
    char name[LIMIT_TENSOR_NAME_BYTES + 1];
    memset(t, 0, sizeof *t);
    SLM_TRY(cursor_string(c, &at, &size, "tensor name"));
    if (size > LIMIT_TENSOR_NAME_BYTES) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)at,
                 "a tensor name of %llu bytes at byte %llu: %u are the limit",
                 (unsigned long long)size, (unsigned long long)at, LIMIT_TENSOR_NAME_BYTES);
    }
    memcpy(name, c->part->bytes + at, (size_t)size);
    t->name.s = name;
    t->name.n = (size_t)size;
    SLM_TRY(gguf_read_shape(c, t));
    SLM_TRY(cursor_u32(c, &type, "tensor type"));
    SLM_TRY(gguf_check_type(c, t, type));
    SLM_TRY(cursor_u64(c, &t->offset, "tensor offset"));
    /* As an offset until the copy no longer moves; see gguf_place_tensors. */
    t->name.s = (const char *)(uintptr_t)at;
    return SLM_OK;
}

/* Turns offsets into the data section into offsets into the file, once that section's start is
 * known, and names into pointers. Tensors may lie anywhere, but there must be bytes for all of
 * them: a file whose tensors share bytes could ask for any multiple of its size. */
static int gguf_place_tensors(struct gguf *g, struct gguf_cursor *c, uint64_t first,
                              uint64_t alignment)
{
    struct gguf_part *p = c->part;
    uint64_t start = 0;
    uint64_t total = 0;
    if (!align_u64(c->at, alignment, &start)) {
        SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)c->at, "the data section begins nowhere");
    }
    for (uint64_t i = first; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        uint64_t begin = 0;
        uint64_t end = 0;
        t->name.s = (const char *)p->bytes + (uintptr_t)t->name.s;
        if (!add_u64(start, t->offset, &begin) || !add_u64(begin, t->size, &end) ||
            end > p->source.size) {
            SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)start,
                     "tensor '%.*s': %llu bytes at offset %llu of the data section are not within "
                     "the file of %llu bytes",
                     text_width(t->name), t->name.s, (unsigned long long)t->size,
                     (unsigned long long)t->offset, (unsigned long long)p->source.size);
        }
        if (t->offset % alignment != 0) {
            SLM_FAIL(c->err, SLM_E_FORMAT, (int64_t)begin,
                     "tensor '%.*s': offset %llu is no multiple of the alignment %llu",
                     text_width(t->name), t->name.s, (unsigned long long)t->offset,
                     (unsigned long long)alignment);
        }
        t->offset = begin;
        total += t->size; /* cannot wrap: each is within the file, and there are few */
        if (total > p->source.size - start) {
            SLM_FAIL(
                c->err, SLM_E_FORMAT, (int64_t)begin,
                "tensor '%.*s': the tensors up to here take %llu bytes, more than the file has",
                text_width(t->name), t->name.s, (unsigned long long)total);
        }
    }
    return SLM_OK;
}

/* ---- Lookup ---------------------------------------------------------------------------------- */

static struct text gguf_key(const struct gguf *g, uint64_t i)
{
    struct text t = {(const char *)g->parts[0].bytes + g->kv[i].key_at, g->kv[i].key_size};
    return t;
}

static struct text gguf_tensor_name(const struct gguf *g, uint64_t i)
{
    return g->tensors[i].name;
}

static struct text gguf_string_at(const uint8_t *base, uint64_t at)
{
    struct text t = {(const char *)base + at + 8, (size_t)load_u64(base + at)};
    return t;
}

static struct text gguf_key_of(const void *g, uint64_t i)
{
    return gguf_key((const struct gguf *)g, i);
}

static struct text gguf_tensor_name_of(const void *g, uint64_t i)
{
    return gguf_tensor_name((const struct gguf *)g, i);
}

static void gguf_drop_table(struct table *t, struct memory *m)
{
    memory_give(m, t->slots, ((uint64_t)t->mask + 1) * sizeof(uint32_t));
    t->slots = NULL;
}

/* Fills the table of n names; a name that comes twice is an error. */
static int gguf_index(struct table *t, struct memory *m, uint64_t n, const char *what,
                      slm_error *err)
{
    uint64_t bytes = table_slots(n) * sizeof(uint32_t);
    int64_t twin = -1;
    t->slots = (uint32_t *)memory_take(m, bytes);
    if (t->slots == NULL) {
        return memory_error(m, bytes, "name table", err);
    }
    memset(t->slots, 0, (size_t)bytes);
    for (uint64_t i = 0; i < n && twin < 0; i++) {
        struct text name = t->text_of(t->owner, i);
        twin = table_insert(t, name, i, hash_bytes(name.s, name.n, 0)) ? -1 : (int64_t)i;
    }
    twin = twin < 0 ? table_finish(t, n) : twin;
    if (twin >= 0) {
        struct text name = t->text_of(t->owner, (uint64_t)twin);
        SLM_FAIL(err, SLM_E_FORMAT, -1, "%s '%.*s' stands twice in the file", what,
                 text_width(name), name.s);
    }
    return SLM_OK;
}

static int gguf_index_keys(struct gguf *g, struct memory *m, slm_error *err)
{
    g->by_key = table_make(NULL, g->n_kv, gguf_key_of, g);
    return gguf_index(&g->by_key, m, g->n_kv, "key", err);
}

static int gguf_index_tensors(struct gguf *g, struct memory *m, slm_error *err)
{
    g->by_name = table_make(NULL, g->n_tensors, gguf_tensor_name_of, g);
    return gguf_index(&g->by_name, m, g->n_tensors, "tensor", err);
}

static int64_t gguf_find_name(const struct table *t, struct text name)
{
    return table_find(t, name, hash_bytes(name.s, name.n, 0));
}

/* Index of a key or -1. */
static int64_t gguf_find(const struct gguf *g, const char *key)
{
    return gguf_find_name(&g->by_key, text_of(key));
}

static const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, struct text name)
{
    int64_t i = gguf_find_name(&g->by_name, name);
    return i < 0 ? NULL : &g->tensors[i];
}

/* ---- Values ---------------------------------------------------------------------------------- */

static int64_t gguf_load_i64(uint32_t type, const uint8_t *p)
{
    switch (type) {
    case SLM_TYPE_UINT8:
        return p[0];
    case SLM_TYPE_BOOL:
        return p[0] != 0;
    case SLM_TYPE_INT8:
        return (int8_t)p[0];
    case SLM_TYPE_UINT16:
        return load_u16(p);
    case SLM_TYPE_INT16:
        return (int16_t)load_u16(p);
    case SLM_TYPE_UINT32:
        return load_u32(p);
    case SLM_TYPE_INT32:
        return (int32_t)load_u32(p);
    case SLM_TYPE_UINT64:
    case SLM_TYPE_INT64:
        return (int64_t)load_u64(p);
    default:
        return 0;
    }
}

/* Any number as the bits of a double. */
static uint64_t gguf_load_f64_bits(uint32_t type, const uint8_t *p)
{
    switch (type) {
    case SLM_TYPE_FLOAT32:
        return f64_bits_of_f32(load_f32(p));
    case SLM_TYPE_FLOAT64:
        return load_u64(p);
    case SLM_TYPE_UINT64:
        return f64_bits_of_u64(load_u64(p));
    default:
        return f64_bits_of_i64(gguf_load_i64(type, p));
    }
}

static wide_float gguf_load_f64(uint32_t type, const uint8_t *p)
{
    switch (type) {
    case SLM_TYPE_FLOAT32:
        return (wide_float)load_f32(p);
    case SLM_TYPE_FLOAT64:
        return wide_of_f64_bits(load_u64(p));
    case SLM_TYPE_UINT64:
        return (wide_float)load_u64(p);
    default:
        return (wide_float)gguf_load_i64(type, p);
    }
}

static int gguf_is_real(uint32_t type)
{
    return type == SLM_TYPE_FLOAT32 || type == SLM_TYPE_FLOAT64;
}

/* The finders answer 1 (found), 0 (no such key) or -1 (a value of another type). */

static int gguf_find_text(const struct gguf *g, const char *key, struct text *out)
{
    int64_t i = gguf_find(g, key);
    if (i < 0 || g->kv[i].type != SLM_TYPE_STRING) {
        return i < 0 ? 0 : -1;
    }
    *out = gguf_string_at(g->parts[0].bytes, g->kv[i].value_at);
    return 1;
}

static int gguf_find_i64(const struct gguf *g, const char *key, int64_t *out)
{
    int64_t i = gguf_find(g, key);
    if (i < 0) {
        return 0;
    }
    const struct gguf_kv *kv = &g->kv[i];
    if (kv->type == SLM_TYPE_ARRAY || kv->type == SLM_TYPE_STRING || gguf_is_real(kv->type)) {
        return -1;
    }
    *out = gguf_load_i64(kv->type, g->parts[0].bytes + kv->value_at);
    return 1;
}

static int gguf_find_f64(const struct gguf *g, const char *key, wide_float *out)
{
    int64_t i = gguf_find(g, key);
    if (i < 0) {
        return 0;
    }
    const struct gguf_kv *kv = &g->kv[i];
    if (kv->type == SLM_TYPE_ARRAY || kv->type == SLM_TYPE_STRING) {
        return -1;
    }
    *out = gguf_load_f64(kv->type, g->parts[0].bytes + kv->value_at);
    return 1;
}

static int gguf_find_array(const struct gguf *g, const char *key, struct gguf_array *out)
{
    int64_t i = gguf_find(g, key);
    if (i < 0 || g->kv[i].type != SLM_TYPE_ARRAY) {
        return i < 0 ? 0 : -1;
    }
    const struct gguf_kv *kv = &g->kv[i];
    out->type = kv->element_type;
    out->count = kv->count;
    out->base = g->parts[0].bytes;
    out->data = out->base + kv->value_at;
    out->strings = kv->strings;
    return 1;
}

static int64_t gguf_array_i64(const struct gguf_array *a, uint64_t i)
{
    return gguf_load_i64(a->type, a->data + i * gguf_type_size[a->type]);
}

static wide_float gguf_array_f64(const struct gguf_array *a, uint64_t i)
{
    return gguf_load_f64(a->type, a->data + i * gguf_type_size[a->type]);
}

static struct text gguf_array_text(const struct gguf_array *a, uint64_t i)
{
    return gguf_string_at(a->base, a->strings[i]);
}

/* ---- Reading a file -------------------------------------------------------------------------- */

static int gguf_read_header(struct gguf_cursor *c, uint32_t *version, uint64_t *n_tensors,
                            uint64_t *n_kv)
{
    uint32_t magic = 0;
    SLM_TRY(cursor_u32(c, &magic, "header"));
    if (magic != 0x46554747u) {
        SLM_FAIL(c->err, SLM_E_FORMAT, 0, "not a GGUF file: it begins with bytes %x", magic);
    }
    SLM_TRY(cursor_u32(c, version, "header"));
    if ((*version & 0xffff) == 0) {
        SLM_FAIL(c->err, SLM_E_UNSUPPORTED, 4, "this GGUF file is big-endian");
    }
    if (*version != 2 && *version != 3) {
        SLM_FAIL(c->err, SLM_E_UNSUPPORTED, 4, "GGUF version %u: only 2 and 3 can be read",
                 *version);
    }
    SLM_TRY(cursor_u64(c, n_tensors, "header"));
    SLM_TRY(cursor_u64(c, n_kv, "header"));
    uint64_t end =
        c->part->source.size < LIMIT_METADATA_BYTES ? c->part->source.size : LIMIT_METADATA_BYTES;
    uint64_t left = end > c->at ? end - c->at : 0;
    if (*n_tensors > left / 25 || *n_kv > left / 14) {
        SLM_FAIL(c->err, SLM_E_FORMAT, 8,
                 "the header claims %llu tensors and %llu keys, more than the file can hold",
                 (unsigned long long)*n_tensors, (unsigned long long)*n_kv);
    }
    return SLM_OK;
}

static int gguf_alignment(const struct gguf *g, uint64_t *alignment, slm_error *err)
{
    int64_t value = 32;
    int64_t i = gguf_find(g, "general.alignment");
    if (i >= 0 && g->kv[i].type != SLM_TYPE_UINT32) {
        SLM_FAIL(err, SLM_E_FORMAT, (int64_t)g->kv[i].value_at, "general.alignment is no uint32");
    }
    gguf_find_i64(g, "general.alignment", &value);
    if (value <= 0 || value > LIMIT_ALIGNMENT || (value & (value - 1)) != 0) {
        SLM_FAIL(err, SLM_E_FORMAT, (int64_t)g->kv[i].value_at,
                 "general.alignment is %lld: a power of two up to %u is expected", (long long)value,
                 LIMIT_ALIGNMENT);
    }
    *alignment = (uint64_t)value;
    return SLM_OK;
}

static void gguf_drop_keys(struct gguf *g, struct memory *m)
{
    for (uint64_t i = 0; i < g->n_kv; i++) {
        if (g->kv[i].strings != NULL) {
            memory_give(m, g->kv[i].strings, g->kv[i].count * sizeof(uint32_t));
        }
    }
    memory_give(m, g->kv, g->kv_capacity * sizeof(struct gguf_kv));
    gguf_drop_table(&g->by_key, m);
    g->kv = NULL;
    g->n_kv = g->kv_capacity = 0;
}

/* Reads one part whose keys become g's (for part 0) and whose tensors are added. `g` here may be a
 * temporary that stands for one shard. */
static int gguf_read_part(struct gguf *g, struct gguf_part *part, struct memory *m, slm_error *err)
{
    struct gguf_cursor c = {part, m, 0, err};
    uint64_t n_tensors = 0;
    uint64_t n_kv = 0;
    uint64_t alignment = 32;
    SLM_TRY(gguf_read_header(&c, &g->version, &n_tensors, &n_kv));
    if (n_tensors > LIMIT_TENSORS - g->n_tensors || n_kv > LIMIT_KEYS) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, 8, "%llu tensors and %llu keys: %u and %u are the limit",
                 (unsigned long long)(g->n_tensors + n_tensors), (unsigned long long)n_kv,
                 LIMIT_TENSORS, LIMIT_KEYS);
    }
    for (uint64_t i = 0; i < n_kv; i++) {
        SLM_TRY(
            gguf_grow(m, (void **)&g->kv, &g->kv_capacity, g->n_kv, sizeof *g->kv, "keys", err));
        SLM_TRY(gguf_read_kv(&c, &g->kv[g->n_kv]));
        g->n_kv++;
    }
    SLM_TRY(gguf_index_keys(g, m, err));
    SLM_TRY(gguf_alignment(g, &alignment, err));
    uint64_t first = g->n_tensors;
    for (uint64_t i = 0; i < n_tensors; i++) {
        SLM_TRY(gguf_grow(m, (void **)&g->tensors, &g->tensor_capacity, g->n_tensors,
                          sizeof *g->tensors, "tensor table", err));
        SLM_TRY(gguf_read_tensor(&c, &g->tensors[g->n_tensors]));
        g->n_tensors++;
    }
    return gguf_place_tensors(g, &c, first, alignment);
}

/* A shard has keys of its own, which only have to agree with its place; its tensors join g's. */
static int gguf_read_shard(struct gguf *g, int32_t index, struct memory *m, slm_error *err)
{
    struct gguf shard;
    memset(&shard, 0, sizeof shard);
    shard.parts = &g->parts[index];
    shard.n_parts = 1;
    shard.tensors = g->tensors;
    shard.n_tensors = g->n_tensors;
    shard.tensor_capacity = g->tensor_capacity;
    int64_t no = -1;
    int status = gguf_read_part(&shard, &g->parts[index], m, err);
    if (status == SLM_OK && (gguf_find_i64(&shard, "split.no", &no) != 1 || no != index)) {
        status = error_set(err, SLM_E_FORMAT, index, "file %d of the split model has split.no %lld",
                           index, (long long)no);
    }
    for (uint64_t i = g->n_tensors; i < shard.n_tensors; i++) {
        shard.tensors[i].part = index;
    }
    g->tensors = shard.tensors;
    g->n_tensors = shard.n_tensors;
    g->tensor_capacity = shard.tensor_capacity;
    gguf_drop_keys(&shard, m);
    return status;
}

/* How many files the model of part 0 is split into, from its keys. */
static int gguf_split_count(const struct gguf *g, int32_t *n_files, slm_error *err)
{
    int64_t count = 1;
    int64_t no = 0;
    if (gguf_find_i64(g, "split.count", &count) < 0 || count < 0 || count > LIMIT_SPLIT_FILES) {
        SLM_FAIL(err, SLM_E_FORMAT, -1, "split.count is %lld: 1 to %d is expected",
                 (long long)count, LIMIT_SPLIT_FILES);
    }
    if (count > 1 && (gguf_find_i64(g, "split.no", &no) != 1 || no != 0)) {
        SLM_FAIL(err, SLM_E_FORMAT, -1,
                 "this is file %llu of a model split into %lld: open the first one",
                 (unsigned long long)no + 1, (long long)count);
    }
    *n_files = count == 0 ? 1 : (int32_t)count;
    return SLM_OK;
}

/* After all parts are read. */
static int gguf_finish(struct gguf *g, struct memory *m, slm_error *err)
{
    int64_t total = 0;
    if (g->n_parts > 1 && gguf_find_i64(g, "split.tensors.count", &total) == 1 &&
        (uint64_t)total != g->n_tensors) {
        SLM_FAIL(err, SLM_E_FORMAT, -1,
                 "the split model has %llu tensors, but split.tensors.count is %lld",
                 (unsigned long long)g->n_tensors, (long long)total);
    }
    return gguf_index_tensors(g, m, err);
}

static void gguf_free(struct gguf *g, struct memory *m)
{
    gguf_drop_keys(g, m);
    memory_give(m, g->tensors, g->tensor_capacity * sizeof(struct gguf_tensor));
    gguf_drop_table(&g->by_name, m);
    for (int32_t i = 0; i < g->n_parts; i++) {
        memory_give(m, g->parts[i].bytes, g->parts[i].capacity);
        source_close(&g->parts[i].source);
    }
    memory_give(m, g->parts, (uint64_t)g->n_parts * sizeof(struct gguf_part));
    memset(g, 0, sizeof *g);
}

/* ---- Names of split files -------------------------------------------------------------------- */

#define SPLIT_SUFFIX "-00001-of-00000.gguf"

/* Writes the path of file `index` (0-based) of a model whose first file is `path`, in place: the
 * same length, only the digits differ. Returns 0 if path is not named like the first of n_files. */
static int gguf_split_name(char *path, size_t size, int32_t index, int32_t n_files)
{
    size_t n = sizeof SPLIT_SUFFIX - 1;
    if (size < n) {
        return 0;
    }
    char *suffix = path + size - n;
    int32_t number = 0;
    int32_t count = 0;
    for (int i = 0; i < 5; i++) {
        if (suffix[1 + i] < '0' || suffix[1 + i] > '9' || suffix[10 + i] < '0' ||
            suffix[10 + i] > '9') {
            return 0;
        }
        number = number * 10 + (suffix[1 + i] - '0');
        count = count * 10 + (suffix[10 + i] - '0');
    }
    if (suffix[0] != '-' || memcmp(suffix + 6, "-of-", 4) != 0 ||
        memcmp(suffix + 15, ".gguf", 5) != 0 || count != n_files || number < 1) {
        return 0;
    }
    for (int i = 4, v = index + 1; i >= 0; i--, v /= 10) {
        suffix[1 + i] = (char)('0' + v % 10);
    }
    return 1;
}
