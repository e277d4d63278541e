/* base.c - what every module stands on: limits, errors, checked arithmetic, bytes, texts and tables of
 * them, memory.
 *
 * Owns nothing. Nothing here knows what a model is. */

/* ---- Compiler -------------------------------------------------------------------------------- */

#if defined(__ELF__) && !defined(__unix__) /* bare metal: int32_t may be long, as wide as int */
#define SLM_PRINTF(text, first)
#elif defined(__clang__)
#define SLM_PRINTF(text, first) __attribute__((format(printf, text, first)))
#elif defined(__GNUC__) /* our own formatter takes %zu and %llu, also where Windows' does not */
#define SLM_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#else
#define SLM_PRINTF(text, first)
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SLM_UNUSED __attribute__((unused))
#define SLM_NOINLINE __attribute__((noinline))
#define SLM_LIKELY(x) __builtin_expect(!!(x), 1)
#define SLM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define SLM_UNUSED
#define SLM_NOINLINE
#define SLM_LIKELY(x) (x)
#define SLM_UNLIKELY(x) (x)
#endif

#ifdef __cplusplus
#define SLM_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define SLM_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Two kinds of check: what comes from a user or a file is checked always and returns a status; what
 * we promise ourselves is asserted, in debug builds only. */
#ifdef SLM_DEBUG
#define SLM_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#define SLM_ASSERT(condition) ((void)0)
#endif

/* What sums, constants and numbers of the file are computed in. A constant that is no whole number
 * is cast, or the sum it stands in would be one of doubles. */
#ifdef SLM_NO_DOUBLE
typedef float wide_float;
#define WIDE_BITS 24
#else
typedef double wide_float;
#define WIDE_BITS 53
#endif

#define SLM_COUNT(array) ((int32_t)(sizeof(array) / sizeof((array)[0])))

/* ---- Limits ---------------------------------------------------------------------------------- */

/* Every bound on what a file or a caller may ask for, but for those that follow from types (a number
 * of elements fits int64_t) and the public SLM_REWIND_MAX. slm.h lists them for users, and
 * tests/test_limits.c takes each at the limit and one past it. */

/* The file */
#define LIMIT_METADATA_BYTES ((uint64_t)1 << 30) /* header, keys and tensor table of one file */
#define LIMIT_KEYS (1u << 16)
#define LIMIT_KEY_BYTES 65535u
#define LIMIT_TENSORS (1u << 20) /* of all files of a model */
#define LIMIT_TENSOR_NAME_BYTES 63u
#define LIMIT_DIMENSIONS 4 /* as slm_tensor_info has room for */
#define LIMIT_ALIGNMENT (1u << 20)
#define LIMIT_SPLIT_FILES 1024
#define LIMIT_PATH_CHARACTERS 1023 /* on Windows; elsewhere the system's own */

/* The model */
#define LIMIT_LAYERS 512
#define LIMIT_WIDTH (1 << 20) /* n_embd, n_ff */
#define LIMIT_HEADS 1024
#define LIMIT_HEAD_DIM 1024
#define LIMIT_EXPERTS 1024   /* of a layer */
#define LIMIT_TAPS 64        /* of a convolution */
#define LIMIT_SSM_STATE 4096 /* columns of a head's state */

/* The vocabulary, and texts for it */
#define LIMIT_VOCABULARY (1 << 24)
#define LIMIT_TOKEN_BYTES 65535u
#define LIMIT_MERGES (1 << 26)
#define LIMIT_MERGE_BYTES (2 * LIMIT_TOKEN_BYTES + 1)
/* A symbol takes up to three bytes a byte, and is counted in 32 bits. */
#define LIMIT_TEXT_BYTES ((size_t)INT32_MAX / 8)

/* The context */
#define LIMIT_CONTEXT (1 << 24)
#define LIMIT_SEQUENCES 256
#define LIMIT_CHECKPOINTS 1024 /* of a sequence */
#define LIMIT_PAGES (INT32_MAX / 2)
#define LIMIT_BATCH 4096
#define LIMIT_THREADS 1024

/* Sampling and generation */
#define LIMIT_STAGES 64
#define LIMIT_WINDOW 4096 /* accepted tokens that a stage looks back at */
#define LIMIT_STOPS 16
#define LIMIT_STOP_BYTES 255
#define LIMIT_FORCED 64 /* tokens that end reasoning */

/* Chat templates, and JSON for them */
#define LIMIT_TEMPLATE_BYTES (1u << 20)
#define LIMIT_TEMPLATE_DEPTH 100 /* of brackets and blocks in a template */
#define LIMIT_JSON_DEPTH 128     /* of values, in JSON and where templates build them */
#define LIMIT_RENDER_DEPTH 200   /* of expressions, blocks and macros at work: 128 KiB of stack */
#define LIMIT_RENDER_TEXT (1u << 25) /* bytes of a text, JSON or result; values of a list */
#define LIMIT_RENDER_BYTES ((uint64_t)1 << 28) /* of memory */
#define LIMIT_RENDER_STEPS ((uint64_t)1 << 25) /* a node of the tree, or 16 bytes of text, is one */
#define LIMIT_RANGE 100000u
#define LIMIT_DATE ((int64_t)250000000000) /* seconds from 1970: years -5952 to 9892 */

/* The interface */
#define LIMIT_STRUCT_BYTES 65536u /* struct_size: more is a struct that was not set up */

/* ---- Errors ---------------------------------------------------------------------------------- */

/* The macro pair that lets the happy path read straight down. */
#define SLM_FAIL(err, code, position, ...) return error_set(err, code, position, __VA_ARGS__)
#define SLM_TRY(call)                                                                              \
    do {                                                                                           \
        int status_of_try = (call);                                                                \
        if (status_of_try != SLM_OK) {                                                             \
            return status_of_try;                                                                  \
        }                                                                                          \
    } while (0)

struct text_writer {
    char *buffer;
    size_t capacity; /* including the 0 at the end */
    size_t size;
};

static void writer_char(struct text_writer *w, char c)
{
    if (w->size + 1 < w->capacity) {
        w->buffer[w->size++] = c;
    }
}

/* Names come from files: control characters and non-ASCII bytes become '?', so that a message is
 * always one line of valid UTF-8. */
static void writer_text(struct text_writer *w, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        writer_char(w, (s[i] >= 0x20 && s[i] < 0x7f) ? s[i] : '?');
    }
}

static void writer_u64(struct text_writer *w, uint64_t value, unsigned base)
{
    char digits[24];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0) {
        writer_char(w, digits[--n]);
    }
}

static size_t string_length(const char *s)
{
    size_t n = 0;
    while (s[n] != 0) {
        n++;
    }
    return n;
}

/* The part of printf that messages need: %s %.*s %c %d %u %x %lld %llu %zu %%. Anything else ends
 * the text. Returns the length without the 0 at the end; never writes beyond capacity. */
static size_t format_text_va(char *buffer, size_t capacity, const char *format, va_list args)
{
    struct text_writer w = {buffer, capacity, 0};
    for (const char *p = format; *p != 0; p++) {
        if (*p != '%') {
            writer_char(&w, *p);
            continue;
        }
        p++;
        size_t limit = SIZE_MAX;
        int longs = 0;
        if (p[0] == '.' && p[1] == '*') {
            int n = va_arg(args, int);
            limit = n < 0 ? 0 : (size_t)n;
            p += 2;
        }
        while (*p == 'l' || *p == 'z') {
            longs += *p == 'z' ? 8 : 1;
            p++;
        }
        if (*p == 's') {
            const char *s = va_arg(args, const char *);
            size_t n = 0;
            while (n < limit && s[n] != 0) {
                n++;
            }
            writer_text(&w, s, n);
        } else if (*p == 'c') {
            char c = (char)va_arg(args, int);
            writer_text(&w, &c, 1);
        } else if (*p == 'd') {
            int64_t v = longs >= 2 ? (int64_t)va_arg(args, long long) : (int64_t)va_arg(args, int);
            if (v < 0) {
                writer_char(&w, '-');
            }
            writer_u64(&w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10);
        } else if (*p == 'u' || *p == 'x') {
            uint64_t v = longs >= 8   ? (uint64_t)va_arg(args, size_t)
                         : longs >= 2 ? (uint64_t)va_arg(args, unsigned long long)
                                      : (uint64_t)va_arg(args, unsigned);
            writer_u64(&w, v, *p == 'x' ? 16 : 10);
        } else if (*p == '%') {
            writer_char(&w, '%');
        } else {
            break;
        }
    }
    if (capacity > 0) {
        buffer[w.size] = 0;
    }
    return w.size;
}

static size_t SLM_PRINTF(3, 4) format_text(char *buffer, size_t capacity, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t n = format_text_va(buffer, capacity, format, args);
    va_end(args);
    return n;
}

/* Texts that nobody sees are looked at by the compiler and then gone: nothing inside of sizeof is
 * computed. */
int SLM_PRINTF(1, 2) error_unused(const char *format, ...);

#if defined(SLM_NO_ERRORS)

#define error_set(err, code, position, ...)                                                        \
    ((void)(err), (void)(position), (void)sizeof(error_unused(__VA_ARGS__)), code)

#elif defined(SLM_NO_MESSAGES)

static int SLM_NOINLINE error_code(slm_error *err, int code, int64_t position)
{
    if (err != NULL) {
        memset(err, 0, sizeof *err);
        err->code = code;
        err->position = position;
    }
    return code;
}

/* A shorter call, for the many that have no position. */
static int SLM_NOINLINE error_bare(slm_error *err, int code)
{
    return error_code(err, code, -1);
}

static inline __attribute__((always_inline)) int error_at(slm_error *err, int code,
                                                          int64_t position)
{
    return __builtin_constant_p(position) && position == -1 ? error_bare(err, code)
                                                            : error_code(err, code, position);
}

#define error_set(err, code, position, ...)                                                        \
    ((void)sizeof(error_unused(__VA_ARGS__)), error_at(err, code, position))

#else

/* Fills *err if there is one and returns code. Cold: kept out of line. */
static int SLM_PRINTF(4, 5) SLM_NOINLINE
    error_set(slm_error *err, int code, int64_t position, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        memset(err, 0, sizeof *err);
        err->code = code;
        err->position = position;
        va_start(args, format);
        format_text_va(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return code;
}

#endif

static void error_clear(slm_error *err)
{
    if (err != NULL) {
        memset(err, 0, sizeof *err);
        err->position = -1;
    }
}

/* ---- Checked arithmetic: 1 and *out if it fits, 0 if not ------------------------------------- */

static int add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    *out = a + b;
    return *out >= a;
}

static int mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    *out = a * b;
    return a == 0 || *out / a == b;
}

static int align_u64(uint64_t a, uint64_t align, uint64_t *out)
{
    if (!add_u64(a, align - 1, out)) {
        return 0;
    }
    *out &= ~(align - 1);
    return 1;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int32_t min_i32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t max_i32(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* ---- Little-endian bytes at any alignment ---------------------------------------------------- */

static inline uint16_t load_u16(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t load_u32(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t load_u64(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint64_t)load_u32(b) | (uint64_t)load_u32(b + 4) << 32;
}

static float bits_to_f32(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t f32_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float load_f32(const void *p)
{
    return bits_to_f32(load_u32(p));
}

static double bits_to_f64(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

SLM_UNUSED static uint64_t f64_to_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

/* NaN and infinity are told from the bits: -ffast-math must not change an answer. */
static int f32_is_finite(float f)
{
    return (f32_to_bits(f) & 0x7f800000u) != 0x7f800000u;
}

static int f32_is_nan(float f)
{
    return (f32_to_bits(f) & 0x7fffffffu) > 0x7f800000u;
}

/* ---- Strings from files: pointer and length, no 0 at the end --------------------------------- */

struct text {
    const char *s;
    size_t n;
};

/* Cuts the next word off a list with spaces; empty at its end. */
static struct text text_word(struct text *list)
{
    struct text word = {list->s, 0};
    while (word.n < list->n && list->s[word.n] != ' ') {
        word.n++;
    }
    size_t n = word.n + (word.n < list->n);
    list->s += n;
    list->n -= n;
    return word;
}

static int text_equal(struct text a, struct text b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

static int text_is(struct text a, const char *s)
{
    return a.n == string_length(s) && (a.n == 0 || memcmp(a.s, s, a.n) == 0);
}

/* Below, at or above 0: by bytes, then the shorter first. */
static int text_order(struct text a, struct text b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.s, b.s, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static struct text text_of(const char *s)
{
    struct text t = {s, string_length(s)};
    return t;
}

static int text_contains(struct text a, const char *part)
{
    size_t n = string_length(part);
    for (size_t i = 0; i + n <= a.n; i++) {
        if (memcmp(a.s + i, part, n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* For "%.*s". */
static int text_width(struct text t)
{
    return t.n > 200 ? 200 : (int)t.n;
}

/* 64-bit hash for our own tables: 8 bytes a step by multiply and fold (wyhash family). Not for
 * anything stored in a file, and no defence against texts that were chosen to collide: see tables.
 */
static uint64_t hash_mix(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 u128;
    u128 p = (u128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
#else
    uint64_t h = (a ^ (b >> 31)) * UINT64_C(0x9E3779B97F4A7C15);
    h ^= h >> 29;
    h = (h + b) * UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ (h >> 32);
#endif
}

static uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = (const uint8_t *)data;
    uint64_t h = seed ^ (uint64_t)n * UINT64_C(0x9E3779B97F4A7C15);
    while (n >= 8) {
        h = hash_mix(h ^ load_u64(p), UINT64_C(0xA0761D6478BD642F));
        p += 8;
        n -= 8;
    }
    uint64_t tail = 0; /* all of the bytes left, some of them twice */
    if (n >= 4) {
        tail = load_u32(p) | (uint64_t)load_u32(p + n - 4) << 32;
    } else if (n > 0) {
        tail = p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16;
    }
    return hash_mix(h ^ tail, UINT64_C(0xE7037ED1A0B428DB));
}

/* ---- Tables: which of n texts is it? --------------------------------------------------------- */

/* The texts stay with their owner; a table is numbers. It is a hash table, about half full. But who
 * writes a file chooses its texts, and may choose some whose hashes fall together, so that each
 * insertion would walk over all before it. Therefore no entry stands more than TABLE_REACH steps
 * away from where its hash belongs, which also ends the search for what is not there; a table where
 * that cannot be kept is sorted instead and searched by halving. (Steps grow by one each. Hashes that
 * nobody chose find a free slot at each with a chance of a third or more: the worst table there can
 * be, of 2^26 entries, is sorted for no reason once in thousands of files.) */
#define TABLE_REACH 64u

typedef struct text (*table_text_fn)(const void *owner, uint64_t index);

struct table {
    uint32_t *slots; /* hashed: 0 is free; else index + 1 in the low index_bits, hash bits above */
    uint32_t mask;   /* slots - 1, all ones in binary */
    uint32_t index_bits;
    uint32_t n_sorted; /* 0: hashed; else slots[0..n_sorted-1] are the indices in order of texts */
    int is_crowded;    /* some entry found no slot: table_finish sorts */
    table_text_fn text_of;
    const void *owner;
};

/* A text to find: as it is, or left and right with a space between. */
struct table_key {
    struct text left;
    struct text right;
    int is_pair;
};

static uint64_t table_slots(uint64_t n)
{
    uint64_t slots = 16;
    while (slots < n + n / 2 + 1) {
        slots *= 2;
    }
    return slots;
}

/* An empty table for the texts 0..n-1 of an owner; its table_slots(n) slots are zero, or NULL for
 * now. */
static struct table table_make(uint32_t *slots, uint64_t n, table_text_fn get, const void *owner)
{
    struct table t = {slots, (uint32_t)(table_slots(n) - 1), 1, 0, 0, get, owner};
    while (n >> t.index_bits != 0) {
        t.index_bits++;
    }
    return t;
}

static int table_order(struct text t, const struct table_key *key)
{
    if (!key->is_pair) {
        return text_order(t, key->left);
    }
    struct text head = {t.s, t.n < key->left.n ? t.n : key->left.n};
    int order = text_order(head, key->left);
    if (order != 0 || t.n == head.n) {
        return order != 0 ? order : -1;
    }
    struct text rest = {t.s + head.n + 1, t.n - head.n - 1};
    order = (uint8_t)t.s[head.n] - ' ';
    return order != 0 ? order : text_order(rest, key->right);
}

/* The index of the first of the texts that is this one, or -1. */
static int64_t table_find_sorted(const struct table *t, const struct table_key *key)
{
    uint32_t low = 0;
    uint32_t high = t->n_sorted;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table_order(t->text_of(t->owner, t->slots[middle]), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == t->n_sorted || table_order(t->text_of(t->owner, t->slots[low]), key) != 0) {
        return -1;
    }
    return t->slots[low];
}

/* A search by hash: where it looks next, and how many slots it has seen. */
struct table_walk {
    uint32_t at;
    uint32_t seen;
};

static struct table_walk table_begin(const struct table *t, uint64_t hash)
{
    struct table_walk w = {(uint32_t)hash & t->mask, 0};
    return w;
}

/* The index + 1 of the next entry that has these hash bits, and may be the text or not. 0: it is not
 * there, and w->at is a free slot or w->seen is TABLE_REACH. */
static uint32_t table_next(const struct table *t, uint64_t hash, struct table_walk *w)
{
    uint32_t tag = (uint32_t)(hash >> 32) << t->index_bits;
    while (w->seen < TABLE_REACH) {
        uint32_t slot = t->slots[w->at];
        if (slot == 0) {
            return 0;
        }
        w->seen++;
        w->at = (w->at + w->seen) & t->mask;
        if ((slot ^ tag) >> t->index_bits == 0) {
            return slot & (((uint32_t)1 << t->index_bits) - 1);
        }
    }
    return 0;
}

/* The index of a text, or -1. */
static int64_t table_find(const struct table *t, struct text text, uint64_t hash)
{
    struct table_walk w = table_begin(t, hash);
    uint32_t entry;
    if (t->n_sorted > 0) {
        struct table_key key = {text, {NULL, 0}, 0};
        return table_find_sorted(t, &key);
    }
    while ((entry = table_next(t, hash, &w)) != 0) {
        if (text_equal(t->text_of(t->owner, entry - 1), text)) {
            return (int64_t)entry - 1;
        }
    }
    return -1;
}

/* The slots are larger than the fast caches: who inserts many asks for them some entries ahead. */
static void table_fetch(const struct table *t, uint64_t hash)
{
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(&t->slots[(uint32_t)hash & t->mask], 1);
#else
    (void)t;
    (void)hash;
#endif
}

/* Adds text number `index`; 0 if an equal one is there already, which stays. */
static int table_insert(struct table *t, struct text text, uint64_t index, uint64_t hash)
{
    struct table_walk w = table_begin(t, hash);
    uint32_t entry;
    if (t->is_crowded) {
        return 1;
    }
    while ((entry = table_next(t, hash, &w)) != 0) {
        if (text_equal(t->text_of(t->owner, entry - 1), text)) {
            return 0;
        }
    }
    if (w.seen == TABLE_REACH) {
        t->is_crowded = 1;
    } else {
        t->slots[w.at] = (uint32_t)(hash >> 32) << t->index_bits | (uint32_t)(index + 1);
    }
    return 1;
}

/* Sorts items[0..n-1], indices of texts, by merging halves; equal texts keep their order. spare has
 * room for n / 2. */
static void table_sort(const struct table *t, uint32_t *items, uint64_t n, uint32_t *spare)
{
    uint64_t half = n / 2;
    uint64_t left = 0;
    uint64_t right = half;
    if (n < 2) {
        return;
    }
    table_sort(t, items, half, spare);
    table_sort(t, items + half, n - half, spare);
    if (text_order(t->text_of(t->owner, items[half - 1]), t->text_of(t->owner, items[half])) <= 0) {
        return;
    }
    memcpy(spare, items, (size_t)half * sizeof *spare);
    for (uint64_t to = 0; left < half; to++) {
        int is_left = right == n || text_order(t->text_of(t->owner, spare[left]),
                                               t->text_of(t->owner, items[right])) <= 0;
        items[to] = is_left ? spare[left++] : items[right++];
    }
}

/* After the last of n insertions. Returns the index of a text that stands before it in the order
 * too, where insertion did not find that out; else -1. */
static int64_t table_finish(struct table *t, uint64_t n)
{
    int64_t twin = -1;
    if (!t->is_crowded) {
        return twin;
    }
    for (uint64_t i = 0; i < n; i++) {
        t->slots[i] = (uint32_t)i;
    }
    table_sort(t, t->slots, n, t->slots + n); /* there are half as many more */
    t->n_sorted = (uint32_t)n;
    for (uint64_t i = 1; i < n && twin < 0; i++) {
        if (text_equal(t->text_of(t->owner, t->slots[i - 1]), t->text_of(t->owner, t->slots[i]))) {
            twin = t->slots[i];
        }
    }
    return twin;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

#define MEMORY_ALIGN 64

/* The allocator of one object: the hook, the cap and the count. A model's is used by many threads
 * at once (slm_tokenize takes scratch), so the counts are atomic; and as wide as a pointer, because
 * wider ones need a library on some 32-bit machines. */
struct memory {
    slm_alloc_fn alloc;
    void *user;
    uint64_t cap;
    size_t used;
    size_t peak;
};

static uint64_t atomic_load_size(const size_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

#if defined(SLM_NO_MALLOC)

/* An object without a hook of its own gets no memory. */
static void *memory_libc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    (void)user;
    (void)ptr;
    (void)old_size;
    (void)new_size;
    (void)align;
    return NULL;
}

#else

/* malloc with alignment, by hand: the original pointer stands just below what is given out. */
static void *memory_libc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    (void)user;
    (void)old_size;
    if (new_size == 0) {
        if (ptr != NULL) {
            free(((void **)ptr)[-1]);
        }
        return NULL;
    }
    size_t extra = align + sizeof(void *);
    if (new_size > SIZE_MAX - extra) {
        return NULL;
    }
    uint8_t *raw = (uint8_t *)malloc(new_size + extra);
    if (raw == NULL) {
        return NULL;
    }
    uintptr_t aligned = ((uintptr_t)raw + extra) & ~(uintptr_t)(align - 1);
    ((void **)aligned)[-1] = raw;
    return (void *)aligned;
}

#endif

static struct memory memory_make(slm_alloc_fn alloc, void *user, uint64_t cap)
{
    struct memory m = {alloc != NULL ? alloc : memory_libc, alloc != NULL ? user : NULL, cap, 0, 0};
    return m;
}

/* Uninitialised bytes, 64-byte aligned. NULL when the hook has none or the cap is reached. size 0
 * gives one byte, so that NULL always means failure. */
static void *memory_take(struct memory *m, uint64_t size)
{
    if (size == 0) {
        size = 1;
    }
    if (size > SIZE_MAX || size > m->cap) {
        return NULL;
    }
    /* Not added first and looked at then: what is refused must not stand in others' way meanwhile. */
    size_t before = __atomic_load_n(&m->used, __ATOMIC_RELAXED), used;
    do {
        used = before + (size_t)size;
        if (used < before || used > m->cap) {
            return NULL;
        }
    } while (!__atomic_compare_exchange_n(&m->used, &before, used, 1, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    void *p = m->alloc(m->user, NULL, 0, (size_t)size, MEMORY_ALIGN);
    if (p == NULL) {
        __atomic_sub_fetch(&m->used, (size_t)size, __ATOMIC_RELAXED);
        return NULL;
    }
    size_t peak = __atomic_load_n(&m->peak, __ATOMIC_RELAXED);
    while (used > peak && !__atomic_compare_exchange_n(&m->peak, &peak, used, 1, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED)) {
    }
    return p;
}

static void memory_give(struct memory *m, void *ptr, uint64_t size)
{
    if (ptr == NULL) {
        return;
    }
    if (size == 0) {
        size = 1;
    }
    m->alloc(m->user, ptr, (size_t)size, 0, MEMORY_ALIGN);
    __atomic_sub_fetch(&m->used, (size_t)size, __ATOMIC_RELAXED);
}

/* The error of a memory_take that gave nothing: the cap or the system? */
static int memory_error(const struct memory *m, uint64_t size, const char *what, slm_error *err)
{
    uint64_t used = atomic_load_size(&m->used);
#if defined(SLM_NO_MALLOC)
    if (m->alloc == memory_libc) {
        return error_set(err, SLM_E_ARGUMENT, -1,
                         "%s needs memory: options.alloc is NULL, and this build has no malloc",
                         what);
    }
#endif
    if (size > m->cap || used > m->cap - size) {
        return error_set(err, SLM_E_MEMORY, -1,
                         "%s needs %llu bytes: with the %llu in use that is over max_bytes %llu",
                         what, (unsigned long long)size, (unsigned long long)used,
                         (unsigned long long)m->cap);
    }
    return error_set(err, SLM_E_MEMORY, -1, "out of memory: %s needs %llu bytes", what,
                     (unsigned long long)size);
}

/* ---- Arena: one block carved into parts ------------------------------------------------------ */

/* Laid out twice by the same code: first with base NULL to measure, then with a block of that size.
 * What is measured is therefore exactly what is used. */
struct arena {
    uint8_t *base;
    uint64_t used;
    int overflow;
};

static void *arena_take(struct arena *a, uint64_t count, uint64_t element_size)
{
    uint64_t bytes = 0;
    uint64_t end = 0;
    if (!mul_u64(count, element_size, &bytes) || !add_u64(a->used, bytes, &end) ||
        !align_u64(end, MEMORY_ALIGN, &end) || end > (uint64_t)INT64_MAX) {
        a->overflow = 1;
        return NULL;
    }
    void *p = a->base != NULL ? a->base + a->used : NULL;
    a->used = end;
    return p;
}

/* ---- Busy: one call at a time ---------------------------------------------------------------- */

static int busy_enter(int32_t *busy)
{
    int32_t free_value = 0;
    return __atomic_compare_exchange_n(busy, &free_value, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void busy_leave(int32_t *busy)
{
    __atomic_store_n(busy, 0, __ATOMIC_RELEASE);
}

static void reference_add(int32_t *references)
{
    __atomic_add_fetch(references, 1, __ATOMIC_RELAXED);
}

/* 1 if that was the last one. */
static int reference_drop(int32_t *references)
{
    return __atomic_sub_fetch(references, 1, __ATOMIC_ACQ_REL) == 0;
}

/* ---- Structs that tell their size ------------------------------------------------------------ */

/* Copies a caller's struct into ours: what the caller does not have keeps our default, what we do
 * not have must be zero. */
static int struct_read(void *ours, size_t our_size, const void *theirs, size_t their_size,
                       const char *what, slm_error *err)
{
    if (their_size < sizeof(uint32_t) || their_size > LIMIT_STRUCT_BYTES) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1,
                 "%s: struct_size is %zu: call the init function or set it to sizeof", what,
                 their_size);
    }
    for (size_t i = our_size; i < their_size; i++) {
        if (((const uint8_t *)theirs)[i] != 0) {
            SLM_FAIL(err, SLM_E_ARGUMENT, (int64_t)i,
                     "%s: byte %zu is set, but this library knows only %zu bytes of it", what, i,
                     our_size);
        }
    }
    memcpy(ours, theirs, their_size < our_size ? their_size : our_size);
    uint32_t size = (uint32_t)our_size;
    memcpy(ours, &size, sizeof size);
    return SLM_OK;
}

/* Copies our struct out: no byte beyond the caller's size, zeros for what we do not know. */
static int struct_write(void *theirs, const void *ours, size_t our_size, const char *what,
                        slm_error *err)
{
    uint32_t their_size = 0;
    if (theirs == NULL) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%s is NULL", what);
    }
    memcpy(&their_size, theirs, sizeof their_size);
    if (their_size < sizeof(uint32_t) || their_size > LIMIT_STRUCT_BYTES) {
        SLM_FAIL(err, SLM_E_ARGUMENT, -1, "%s: struct_size is %u: set it to sizeof before the call",
                 what, their_size);
    }
    memset(theirs, 0, their_size);
    memcpy(theirs, ours, their_size < our_size ? their_size : our_size);
    memcpy(theirs, &their_size, sizeof their_size);
    return SLM_OK;
}

/* Writes defaults into a struct of `size` bytes: the body of every slm_*_options_init. */
static int struct_init(void *theirs, size_t size, const void *defaults, size_t our_size)
{
    if (theirs == NULL || size < sizeof(uint32_t) || size > LIMIT_STRUCT_BYTES) {
        return SLM_E_ARGUMENT;
    }
    uint32_t struct_size = (uint32_t)size;
    memset(theirs, 0, size);
    memcpy(theirs, defaults, size < our_size ? size : our_size);
    memcpy(theirs, &struct_size, sizeof struct_size);
    return SLM_OK;
}
