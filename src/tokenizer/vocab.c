/* vocab.c - the vocabulary: tokens, what they are, and the tables that find them by text.
 *
 * Owns tables over the file's metadata and a word of attributes per token, the automata that find
 * special tokens in a text, and for some algorithms a trie. Texts are never copied: they point into
 * the metadata, which lives as long as the model. A vocabulary is immutable once loaded.
 *
 * Tolerated, because files like that exist: special ids that are out of range (the default stays
 * and ignored_key names the key), a pre-tokenizer that is unknown or not named (the default one
 * cuts, and pre_status says so), tokens with the same text (the first is found by text), empty texts
 * (never found by text), token types that do not exist (undefined), NaN scores (the worst). */

/* ---- What a token is ------------------------------------------------------------------------- */

#define TOKEN_UNKNOWN 1u
#define TOKEN_UNUSED 2u
#define TOKEN_NORMAL 4u
#define TOKEN_CONTROL 8u
#define TOKEN_USER 16u
#define TOKEN_BYTE 32u
#define TOKEN_LSTRIP 128u      /* swallows white space before it */
#define TOKEN_RSTRIP 256u      /* swallows white space after it */
#define TOKEN_END 1024u        /* generation ends here */
#define TOKEN_MARKUP 2048u     /* user-defined, and written like what chat templates are made of */
#define TOKEN_SUPPRESSED 4096u /* never sampled */
/* Text from outside becomes one of these only where the caller asks for special tokens: merging
 * letters never yields them, whatever the vocabulary says. */
#define TOKEN_GUARDED (TOKEN_UNKNOWN | TOKEN_CONTROL)
#define TOKEN_SPECIAL (TOKEN_GUARDED | TOKEN_USER)

/* Special tokens that may be looked for together, as an automaton that reads a text byte by byte
 * (Aho and Corasick 1975): a node for everything that one of them begins with, the root for nothing,
 * and at each time the node of the longest such beginning that the text read so far ends with. */
struct special {
    int32_t token;
    uint32_t size;
    uint32_t shorter;   /* the longest of the others that this one ends with */
    uint32_t jump;      /* one further down that chain: finds the first of a size in log steps */
    uint32_t n_shorter; /* length of the chain */
};

struct special_node {
    uint32_t first;   /* child; those of the next node follow. A child's byte is in bytes */
    uint32_t fail;    /* the next shorter beginning that this one ends with */
    uint32_t longest; /* special token that this one ends with */
};

struct specials {
    uint32_t n;                 /* 0: there is nothing else here */
    uint32_t n_nodes;           /* 0 is the root */
    struct special *list;       /* [n + 1] in order of their texts; 0 stands for none */
    struct special_node *nodes; /* [n_nodes + 1] */
    uint8_t *bytes;             /* [n_nodes] the last byte of each beginning */
    uint32_t *start;            /* [256] children of the root by byte, or 0 */
};

struct encoder;

struct vocab;

/* What a tokenizer does unless the file says otherwise, and what it consists of. */
#define TOKENIZER_ADD_BOS 1u
#define TOKENIZER_ADD_EOS 2u
#define TOKENIZER_SPACE_PREFIX 4u
#define TOKENIZER_MERGES 8u  /* has merges and a pre-tokenizer */
#define TOKENIZER_SCORES 16u /* must have scores */
#define TOKENIZER_CLEAN 64u  /* SLM_TEXT_CLEAN has something to do; PRE_CLEAN otherwise */
#define TOKENIZER_SEP 32u    /* a text ends with sep, whatever the flags of the file */

/* A value of tokenizer.ggml.model. Another algorithm is one more row, with its encode. */
typedef int (*tokenizer_load_fn)(struct vocab *v, const struct gguf *g, struct memory *m,
                                 slm_error *err);

struct tokenizer_algorithm {
    const char *model;
    const char *name; /* as slm_model_info tells it */
    /* Appends the tokens of a stretch of text without special tokens. NULL: not supported. */
    int (*encode)(struct encoder *e, struct text fragment, slm_error *err);
    /* Loads what it alone has; what it took is freed by vocab_free. NULL: nothing. */
    tokenizer_load_fn load;
    const char *pre;                       /* its pre-tokenizer, whatever the file says, or NULL */
    int32_t bos, eos, unk, sep, pad, mask; /* where the file names none */
    uint8_t flags;
    uint8_t form; /* PIECE_ of a token's text */
};

/* How the text of a token stands for bytes. */
#define PIECE_RAW 0     /* the text itself */
#define PIECE_SPACES 1  /* U+2581 is a space */
#define PIECE_BYTES 2   /* characters stand for bytes: bpe.c; others stand for themselves */
#define PIECE_BYTE 3    /* one byte */
#define PIECE_ESCAPES 4 /* \n, \x1F: rwkv.c */

/* What text becomes before it is looked up: wpm.c, ugm.c. */
struct normalizer {
    int lowercase;
    int strip_accents;
    int merge_spaces;
    struct gguf_array charsmap; /* bytes; count 0: none */
    uint32_t n_nodes;           /* of the charsmap */
    wide_float unknown_score;   /* of a character that is no token */
};

struct vocab {
    const struct tokenizer_algorithm *algorithm;
    struct text model; /* tokenizer.ggml.model, or "none" */
    struct text pre;   /* tokenizer.ggml.pre, or "" */
    const struct pretokenizer *pretokenizer;
    int32_t pre_status;      /* SLM_PRE_ */
    const char *ignored_key; /* a special id out of range, or NULL: likewise */
    int32_t n_token;
    int add_bos;
    int add_eos;
    int add_sep; /* between the texts of a pair */
    int add_space_prefix;
    int cleans;            /* see SLM_TEXT_CLEAN */
    int suppresses;        /* some token is TOKEN_SUPPRESSED */
    int begins_with_space; /* the first token of a text has a space that is not in the text */
    int32_t bos, eos, eot, eom, unk, sep, pad, mask; /* -1 where there is none */
    int32_t fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep;
    int32_t end;  /* what a text ends with: eos or sep */
    uint8_t form; /* PIECE_ of a token's text */
    struct gguf_array tokens;
    struct gguf_array scores; /* count 0: none */
    struct gguf_array merges;
    uint16_t *attributes; /* [n_token] */
    struct table by_text;
    struct table by_pair;
    uint32_t text_max;       /* longest text in bytes */
    struct specials special; /* all */
    struct specials user;    /* those that are found without SLM_TEXT_SPECIAL */
    struct specials plain; /* of these, those that are no markup: found in what is said in a chat */
    /* A bit for each two neighbouring characters that some merge may join, by the last byte of the one
     * and the first of the other: all text is cut where there is none. See vocab_edge. */
    uint8_t joins[256][32];
    struct trie trie; /* of wpm.c, ugm.c and rwkv.c */
    struct normalizer normalizer;
    int32_t byte_token[256]; /* "<0x0A>", or else the token of that one byte, or -1 */
    void *block;
    uint64_t block_size;
    void *special_block;
    uint64_t special_block_size;
};

static int vocab_load_specials(struct vocab *v, struct memory *m, slm_error *err);
static int spm_encode(struct encoder *e, struct text fragment, slm_error *err);
static int spm_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err);
static int bpe_encode(struct encoder *e, struct text fragment, slm_error *err);
static int bpe_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err);
static int wpm_encode(struct encoder *e, struct text fragment, slm_error *err);
static int wpm_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err);
static int ugm_encode(struct encoder *e, struct text fragment, slm_error *err);
static int ugm_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err);
static int rwkv_encode(struct encoder *e, struct text fragment, slm_error *err);
static int rwkv_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err);

#define TOKENIZER_ROW(name, encode, load)                                                          \
#name, PROFILE_TOKENIZER(name) ? encode : NULL,                                                \
        PROFILE_TOKENIZER(name) ? load : (tokenizer_load_fn)NULL

static const struct tokenizer_algorithm tokenizer_algorithms[] = {
    {"llama", TOKENIZER_ROW(spm, spm_encode, spm_load), NULL, 1, 2, 0, -1, -1, -1,
     TOKENIZER_ADD_BOS | TOKENIZER_SPACE_PREFIX, PIECE_SPACES},
    {"gpt2", TOKENIZER_ROW(bpe, bpe_encode, bpe_load), NULL, 11, 11, -1, -1, -1, -1,
     TOKENIZER_MERGES, PIECE_BYTES},
    {"gemma4", TOKENIZER_ROW(bpe, bpe_encode, bpe_load), "gemma4", -1, -1, -1, -1, -1, -1,
     TOKENIZER_MERGES, PIECE_SPACES},
    {"bert", TOKENIZER_ROW(wordpiece, wpm_encode, wpm_load), NULL, 101, -1, 100, 102, 0, 103,
     TOKENIZER_ADD_BOS | TOKENIZER_ADD_EOS | TOKENIZER_SEP | TOKENIZER_CLEAN, PIECE_SPACES},
    {"t5", TOKENIZER_ROW(unigram, ugm_encode, ugm_load), NULL, -1, 1, 2, -1, 0, -1,
     TOKENIZER_ADD_EOS | TOKENIZER_SCORES, PIECE_SPACES},
    {"rwkv", TOKENIZER_ROW(rwkv, rwkv_encode, rwkv_load), NULL, -1, -1, -1, -1, -1, -1, 0,
     PIECE_ESCAPES},
};

/* Files without a vocabulary, and those whose vocabulary can be looked at only. */
static const struct tokenizer_algorithm tokenizer_none = {
    "none", "none", NULL, NULL, NULL, -1, -1, -1, -1, -1, -1, 0, PIECE_RAW};

static int vocab_has_merges(const struct vocab *v)
{
    return (v->algorithm->flags & TOKENIZER_MERGES) != 0;
}

/* "none" where tokenising is SLM_E_UNSUPPORTED. */
static const char *vocab_kind_name(const struct vocab *v)
{
    return v->algorithm->name;
}

/* ---- Finding by text ------------------------------------------------------------------------- */

static struct text vocab_text(const struct vocab *v, int32_t token)
{
    return gguf_array_text(&v->tokens, (uint64_t)token);
}

static uint64_t vocab_hash(struct text t)
{
    return hash_bytes(t.s, t.n, 0);
}

static uint64_t vocab_pair_hash(uint64_t left, uint64_t right)
{
    return hash_mix(left ^ UINT64_C(0x2D358DCCAA6C78A5), right ^ UINT64_C(0x8BB84B93962EACC9));
}

/* The token of exactly this text, or -1. */
static int32_t vocab_find(const struct vocab *v, struct text t)
{
    uint64_t hash = vocab_hash(t);
    struct table_walk w = table_begin(&v->by_text, hash);
    uint32_t entry;
    if (t.n == 0 || v->n_token == 0) {
        return -1;
    }
    if (SLM_UNLIKELY(v->by_text.n_sorted > 0)) {
        return (int32_t)table_find(&v->by_text, t, hash);
    }
    while ((entry = table_next(&v->by_text, hash, &w)) != 0) {
        if (text_equal(t, gguf_array_text(&v->tokens, entry - 1))) {
            return (int32_t)entry - 1;
        }
    }
    return -1;
}

static int32_t vocab_find_name(const struct vocab *v, const char *name)
{
    return vocab_find(v, text_of(name));
}

/* The rank of merging two texts, UINT32_MAX if they do not. */
static uint32_t vocab_find_pair(const struct vocab *v, struct text left, struct text right)
{
    uint64_t hash = vocab_pair_hash(vocab_hash(left), vocab_hash(right));
    struct table_walk w = table_begin(&v->by_pair, hash);
    uint32_t entry;
    if (SLM_UNLIKELY(v->by_pair.n_sorted > 0)) {
        struct table_key key = {left, right, 1};
        return (uint32_t)table_find_sorted(&v->by_pair, &key);
    }
    while ((entry = table_next(&v->by_pair, hash, &w)) != 0) {
        struct text t = gguf_array_text(&v->merges, entry - 1);
        if (t.n == left.n + 1 + right.n && t.s[left.n] == ' ' && memcmp(t.s, left.s, left.n) == 0 &&
            memcmp(t.s + left.n + 1, right.s, right.n) == 0) {
            return entry - 1;
        }
    }
    return UINT32_MAX;
}

static int vocab_has(const struct vocab *v, int32_t token)
{
    return token >= 0 && token < v->n_token;
}

static unsigned vocab_attributes(const struct vocab *v, int32_t token)
{
    return vocab_has(v, token) ? v->attributes[token] : 0;
}

static int vocab_is_end(const struct vocab *v, int32_t token)
{
    return (vocab_attributes(v, token) & TOKEN_END) != 0;
}

/* SLM_TOKEN_ or 0. */
static int32_t vocab_type(const struct vocab *v, int32_t token)
{
    static const struct {
        uint16_t attribute;
        uint16_t type;
    } types[] = {{TOKEN_CONTROL, SLM_TOKEN_CONTROL}, {TOKEN_USER, SLM_TOKEN_USER},
                 {TOKEN_UNKNOWN, SLM_TOKEN_UNKNOWN}, {TOKEN_UNUSED, SLM_TOKEN_UNUSED},
                 {TOKEN_BYTE, SLM_TOKEN_BYTE},       {TOKEN_NORMAL, SLM_TOKEN_NORMAL}};
    for (int32_t i = 0; i < SLM_COUNT(types); i++) {
        if ((vocab_attributes(v, token) & types[i].attribute) != 0) {
            return types[i].type;
        }
    }
    return 0;
}

static float vocab_score(const struct vocab *v, int32_t token)
{
    float score = 0;
    if (vocab_has(v, token) && v->scores.count > 0) {
        score = (float)gguf_array_f64(&v->scores, (uint64_t)token);
    }
    return f32_is_nan(score) ? bits_to_f32(0xff800000u) : score;
}

/* ---- Bytes as characters --------------------------------------------------------------------- */

/* Printable bytes stand for themselves, the other 68 are numbered from U+0100. */
static int bpe_is_printable(uint32_t point)
{
    return (point >= 0x21 && point <= 0x7e) || (point >= 0xa1 && point <= 0xff && point != 0xad);
}

static uint32_t bpe_char_of_byte(uint8_t byte)
{
    if (bpe_is_printable(byte)) {
        return byte;
    }
    return byte <= 0x20 ? 0x100u + byte : byte == 0xad ? 0x143u : 0x121u + byte - 0x7fu;
}

/* The byte of a character, or -1. */
static int bpe_byte_of_char(uint32_t point)
{
    if (bpe_is_printable(point)) {
        return (int)point;
    }
    if (point < 0x100 || point > 0x143) {
        return -1;
    }
    return (int)(point <= 0x120 ? point - 0x100 : point == 0x143 ? 0xad : point - 0x121 + 0x7f);
}

/* ---- Loading: tables ------------------------------------------------------------------------- */

static struct text vocab_text_of(const void *array, uint64_t i)
{
    return gguf_array_text((const struct gguf_array *)array, i);
}

static struct table vocab_layout_table(struct arena *a, const struct gguf_array *texts)
{
    uint32_t *slots = (uint32_t *)arena_take(a, table_slots(texts->count), sizeof(uint32_t));
    return table_make(slots, texts->count, vocab_text_of, texts);
}

static void vocab_layout(struct vocab *v, struct arena *a)
{
    v->by_text = vocab_layout_table(a, &v->tokens);
    if (vocab_has_merges(v)) {
        v->by_pair = vocab_layout_table(a, &v->merges);
    }
    v->attributes = (uint16_t *)arena_take(a, (uint64_t)v->n_token, sizeof(uint16_t));
}

#define VOCAB_SPACE "\xE2\x96\x81" /* U+2581, a space as SentencePiece writes it */

static int vocab_is_space_at(struct text t, size_t at)
{
    return t.n - at >= 3 && t.s[at] == VOCAB_SPACE[0] && t.s[at + 1] == VOCAB_SPACE[1] &&
           t.s[at + 2] == VOCAB_SPACE[2];
}

static int vocab_wide_edge(const struct vocab *v, struct text t, size_t at, int at_end)
{
    if (v->form == PIECE_BYTES) {
        size_t size = 1;
        while (at > 0 && ((uint8_t)t.s[at] & 0xc0) == 0x80) {
            at--;
        }
        return bpe_byte_of_char(unicode_decode((const uint8_t *)t.s + at, t.n - at, &size));
    }
    if (v->form == PIECE_SPACES && t.n >= 3 && vocab_is_space_at(t, at_end ? t.n - 3 : 0)) {
        return ' ';
    }
    return (uint8_t)t.s[at];
}

/* What stands for the last character of a text in `joins`, or for the first (at_end 0): a byte of it,
 * a space for U+2581, and of byte-level text the byte that the character stands for. -1: none, as no
 * text becomes such a character. */
static inline int vocab_edge(const struct vocab *v, struct text t, int at_end)
{
    size_t at = at_end ? t.n - 1 : 0;
    uint8_t byte = (uint8_t)t.s[at];
    return byte < 0x80 ? byte : vocab_wide_edge(v, t, at, at_end);
}

static void vocab_note_join(struct vocab *v, struct text left, struct text right)
{
    int a = vocab_edge(v, left, 1);
    int b = vocab_edge(v, right, 0);
    if (a >= 0 && b >= 0) {
        v->joins[a][b / 8] |= (uint8_t)(1u << b % 8);
    }
}

static int vocab_joins(const struct vocab *v, unsigned a, unsigned b)
{
    return v->joins[a][b / 8] >> b % 8 & 1;
}

#define VOCAB_RUN 16

static int vocab_index_tokens(struct vocab *v, slm_error *err)
{
    uint64_t hashes[VOCAB_RUN];
    uint64_t n = v->tokens.count;
    for (uint64_t start = 0; start < n; start += VOCAB_RUN) {
        uint64_t end = n - start < VOCAB_RUN ? n : start + VOCAB_RUN;
        for (uint64_t i = start; i < end; i++) {
            struct text t = gguf_array_text(&v->tokens, i);
            if (t.n > LIMIT_TOKEN_BYTES) {
                SLM_FAIL(err, SLM_E_MODEL, (int64_t)i,
                         "tokenizer.ggml.tokens[%llu] has %zu bytes: %u are the limit",
                         (unsigned long long)i, t.n, LIMIT_TOKEN_BYTES);
            }
            v->text_max = t.n > v->text_max ? (uint32_t)t.n : v->text_max;
            hashes[i - start] = vocab_hash(t);
            table_fetch(&v->by_text, hashes[i - start]);
        }
        for (uint64_t i = start; i < end; i++) {
            struct text t = gguf_array_text(&v->tokens, i);
            if (t.n > 0) {
                table_insert(&v->by_text, t, i, hashes[i - start]);
            }
        }
    }
    table_finish(&v->by_text, n);
    return SLM_OK;
}

/* Where the right part of "left right" begins: behind the first space that is not the first
 * character. 0 if there are no two parts. */
static size_t vocab_merge_right(struct text t)
{
    for (size_t i = 1; i + 1 < t.n; i++) {
        if (t.s[i] == ' ') {
            return i + 1;
        }
    }
    return 0;
}

static int vocab_index_merges(struct vocab *v, slm_error *err)
{
    uint64_t hashes[VOCAB_RUN];
    uint64_t n = v->merges.count;
    for (uint64_t start = 0; start < n; start += VOCAB_RUN) {
        uint64_t end = n - start < VOCAB_RUN ? n : start + VOCAB_RUN;
        for (uint64_t i = start; i < end; i++) {
            struct text t = gguf_array_text(&v->merges, i);
            size_t right = vocab_merge_right(t);
            if (t.n > LIMIT_MERGE_BYTES) {
                SLM_FAIL(err, SLM_E_MODEL, (int64_t)i,
                         "tokenizer.ggml.merges[%llu] has %zu bytes: %u are the limit",
                         (unsigned long long)i, t.n, LIMIT_MERGE_BYTES);
            }
            if (right == 0) {
                SLM_FAIL(err, SLM_E_MODEL, (int64_t)i,
                         "tokenizer.ggml.merges[%llu] is '%.*s': two texts with a space between "
                         "them are expected",
                         (unsigned long long)i, text_width(t), t.s);
            }
            struct text l = {t.s, right - 1};
            struct text r = {t.s + right, t.n - right};
            vocab_note_join(v, l, r);
            hashes[i - start] = vocab_pair_hash(vocab_hash(l), vocab_hash(r));
            table_fetch(&v->by_pair, hashes[i - start]);
        }
        for (uint64_t i = start; i < end; i++) {
            table_insert(&v->by_pair, gguf_array_text(&v->merges, i), i, hashes[i - start]);
        }
    }
    table_finish(&v->by_pair, n);
    return SLM_OK;
}

/* ---- Loading: keys --------------------------------------------------------------------------- */

static int vocab_is_number(uint32_t type, int real)
{
    int is_real = type == SLM_TYPE_FLOAT32 || type == SLM_TYPE_FLOAT64;
    return type != SLM_TYPE_STRING && type != SLM_TYPE_ARRAY && (real || !is_real);
}

/* An optional array with a number for every token; count 0 where the file has none. */
static int vocab_load_numbers(const struct vocab *v, const struct gguf *g, const char *key,
                              int real, struct gguf_array *array, slm_error *err)
{
    int found = gguf_find_array(g, key, array);
    if (found == 0 || (found == 1 && array->count == 0)) {
        array->count = 0;
        return SLM_OK;
    }
    if (found < 0 || !vocab_is_number(array->type, real)) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s is no array of %s", key, real ? "numbers" : "integers");
    }
    if (array->count < (uint64_t)v->n_token) {
        SLM_FAIL(err, SLM_E_MODEL, (int64_t)array->count, "%s has %llu elements for %d tokens", key,
                 (unsigned long long)array->count, (int)v->n_token);
    }
    return SLM_OK;
}

static int vocab_load_texts(const struct gguf *g, const char *key, uint64_t most,
                            struct gguf_array *array, slm_error *err)
{
    int found = gguf_find_array(g, key, array);
    if (found == 0) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s is missing", key);
    }
    if (found < 0 || array->type != SLM_TYPE_STRING) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s is no array of strings", key);
    }
    if (array->count > most) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "%s has %llu elements: %llu are the limit", key,
                 (unsigned long long)array->count, (unsigned long long)most);
    }
    return SLM_OK;
}

static int vocab_load_flag(const struct gguf *g, const char *key, int *flag, slm_error *err)
{
    int64_t value = 0;
    int found = gguf_find_i64(g, key, &value);
    if (found < 0) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s is no bool", key);
    }
    *flag = found ? value != 0 : *flag;
    return SLM_OK;
}

#define VOCAB_BAR "\xEF\xBD\x9C" /* U+FF5C, the bar of DeepSeek's special tokens */

/* Where a special id comes from: a key, an older key, or the first of these texts that is a token,
 * which becomes a control token then. */
struct vocab_source {
    size_t field; /* offset of an int32_t of struct vocab */
    const char *key;
    const char *old_key;
    const char *names; /* with a space between them; "": there are none */
};

static const struct vocab_source vocab_sources[] = {
    {offsetof(struct vocab, bos), "tokenizer.ggml.bos_token_id", NULL, ""},
    {offsetof(struct vocab, eos), "tokenizer.ggml.eos_token_id", NULL, ""},
    {offsetof(struct vocab, eot), "tokenizer.ggml.eot_token_id", NULL,
     "<|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> <EOT> _<EOT> [EOT] "
     "<" VOCAB_BAR "end" VOCAB_SPACE "of" VOCAB_SPACE "sentence" VOCAB_BAR "> <end_of_utterance>"},
    {offsetof(struct vocab, eom), "tokenizer.ggml.eom_token_id", NULL, "<|eom_id|>"},
    {offsetof(struct vocab, unk), "tokenizer.ggml.unknown_token_id", NULL, ""},
    {offsetof(struct vocab, sep), "tokenizer.ggml.seperator_token_id", NULL, ""},
    {offsetof(struct vocab, pad), "tokenizer.ggml.padding_token_id", NULL, ""},
    {offsetof(struct vocab, mask), "tokenizer.ggml.mask_token_id", NULL, ""},
    {offsetof(struct vocab, fim_pre), "tokenizer.ggml.fim_pre_token_id",
     "tokenizer.ggml.prefix_token_id",
     "<|fim_prefix|> <fim-prefix> <fim_prefix> <" VOCAB_BAR "fim" VOCAB_SPACE "begin" VOCAB_BAR
     "> <PRE> " VOCAB_SPACE "<PRE> <|code_prefix|> <|prefix|>"},
    {offsetof(struct vocab, fim_suf), "tokenizer.ggml.fim_suf_token_id",
     "tokenizer.ggml.suffix_token_id",
     "<|fim_suffix|> <fim-suffix> <fim_suffix> <" VOCAB_BAR "fim" VOCAB_SPACE "hole" VOCAB_BAR
     "> <SUF> " VOCAB_SPACE "<SUF> <|code_suffix|> <|suffix|>"},
    {offsetof(struct vocab, fim_mid), "tokenizer.ggml.fim_mid_token_id",
     "tokenizer.ggml.middle_token_id",
     "<|fim_middle|> <fim-middle> <fim_middle> <" VOCAB_BAR "fim" VOCAB_SPACE "end" VOCAB_BAR
     "> <MID> " VOCAB_SPACE "<MID> <|code_middle|> <|middle|>"},
    {offsetof(struct vocab, fim_pad), "tokenizer.ggml.fim_pad_token_id", NULL,
     "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]"},
    {offsetof(struct vocab, fim_rep), "tokenizer.ggml.fim_rep_token_id", NULL,
     "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>"},
    {offsetof(struct vocab, fim_sep), "tokenizer.ggml.fim_sep_token_id", NULL, "<|file_sep|>"},
};

static int32_t *vocab_id_at(struct vocab *v, const struct vocab_source *source)
{
    return (int32_t *)(void *)((uint8_t *)v + source->field);
}

static int vocab_load_id(struct vocab *v, const struct gguf *g, const struct vocab_source *source,
                         slm_error *err)
{
    int32_t *id = vocab_id_at(v, source);
    const char *key = source->key;
    int64_t value = -1;
    int found = gguf_find_i64(g, key, &value);
    if (found == 0 && source->old_key != NULL) {
        key = source->old_key;
        found = gguf_find_i64(g, key, &value);
    }
    if (found < 0) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s is no integer", key);
    }
    if (found == 1 && value >= 0 && value < v->n_token) {
        *id = (int32_t)value;
    } else if (found == 1 && value != -1 && value != UINT32_MAX) {
        v->ignored_key = key; /* -1, of either width, is how some writers say "none" */
    }
    struct text rest = text_of(source->names);
    for (struct text name = text_word(&rest); name.n > 0 && *id < 0; name = text_word(&rest)) {
        *id = vocab_find(v, name);
        if (*id >= 0) {
            v->attributes[*id] |= TOKEN_CONTROL;
        }
    }
    return SLM_OK;
}

static int32_t vocab_default(const struct vocab *v, int32_t token)
{
    return token < v->n_token ? token : -1;
}

/* What the algorithm and the pre-tokenizer have where the file names none. */
static void vocab_default_ids(struct vocab *v)
{
    const struct tokenizer_algorithm *a = v->algorithm;
    v->bos = vocab_default(v, a->bos);
    v->eos = vocab_default(v, a->eos);
    v->unk = vocab_default(v, a->unk);
    v->sep = vocab_default(v, a->sep);
    v->pad = vocab_default(v, a->pad);
    v->mask = vocab_default(v, a->mask);
    v->add_bos = (a->flags & TOKENIZER_ADD_BOS) != 0;
    v->add_eos = (a->flags & TOKENIZER_ADD_EOS) != 0;
    v->add_space_prefix = (a->flags & TOKENIZER_SPACE_PREFIX) != 0;
    v->cleans = (a->flags & TOKENIZER_CLEAN) != 0;
    if (v->pretokenizer != NULL) {
        v->cleans = (v->pretokenizer->flags & PRE_CLEAN) != 0;
        v->add_bos = (v->pretokenizer->flags & PRE_ADD_BOS) != 0;
        v->bos = (v->pretokenizer->flags & PRE_NO_BOS) != 0 ? -1 : v->bos;
        v->add_sep = (v->pretokenizer->flags & PRE_ADD_SEP) != 0;
    }
}

static int vocab_load_ids(struct vocab *v, const struct gguf *g, slm_error *err)
{
    vocab_default_ids(v);
    for (int32_t i = 0; i < SLM_COUNT(vocab_sources); i++) {
        SLM_TRY(vocab_load_id(v, g, &vocab_sources[i], err));
    }
    SLM_TRY(vocab_load_flag(g, "tokenizer.ggml.add_bos_token", &v->add_bos, err));
    SLM_TRY(vocab_load_flag(g, "tokenizer.ggml.add_eos_token", &v->add_eos, err));
    SLM_TRY(vocab_load_flag(g, "tokenizer.ggml.add_sep_token", &v->add_sep, err));
    SLM_TRY(vocab_load_flag(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix, err));
    v->end = v->eos;
    if ((v->algorithm->flags & TOKENIZER_SEP) != 0) {
        v->end = v->sep; /* which also stands between the texts of a pair */
        v->add_bos = v->add_eos = 1;
        v->add_sep = v->add_space_prefix = 0;
    }
    if (v->pretokenizer != NULL && (v->pretokenizer->flags & PRE_FORCE_BOS) != 0) {
        v->add_bos = 1;
    }
    v->add_bos = v->add_bos && v->bos >= 0;
    v->add_eos = v->add_eos && v->end >= 0;
    v->add_sep = v->add_sep && v->sep >= 0;
    return SLM_OK;
}

/* ---- Loading: attributes --------------------------------------------------------------------- */

static int vocab_load_attributes(struct vocab *v, const struct gguf *g, slm_error *err)
{
    static const uint16_t of_type[7] = {0,          TOKEN_NORMAL, TOKEN_UNKNOWN, TOKEN_CONTROL,
                                        TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE};
    struct gguf_array types = {0, 0, NULL, NULL, NULL};
    SLM_TRY(vocab_load_numbers(v, g, "tokenizer.ggml.token_type", 0, &types, err));
    for (int32_t i = 0; i < v->n_token; i++) {
        int64_t type = types.count > 0 ? gguf_array_i64(&types, (uint64_t)i) : SLM_TOKEN_NORMAL;
        v->attributes[i] = type >= 0 && type < SLM_COUNT(of_type) ? of_type[type] : 0;
    }
    return SLM_OK;
}

static int vocab_set(struct vocab *v, const char *name, unsigned attributes)
{
    int32_t token = vocab_find_name(v, name);
    if (token >= 0) {
        v->attributes[token] = (uint16_t)attributes;
    }
    return token >= 0;
}

static int vocab_name_is_end(const struct vocab *v, const char *name)
{
    return vocab_is_end(v, vocab_find_name(v, name));
}

/* Which tokens end the generation, by id and by name. */
static void vocab_find_ends(struct vocab *v)
{
    static const char *const names[] = {"<|eot_id|>",
                                        "<|im_end|>",
                                        "<|end|>",
                                        "<|return|>",
                                        "<|call|>",
                                        "<|flush|>",
                                        "<|calls|>",
                                        "<end_of_turn>",
                                        "<|endoftext|>",
                                        "</s>",
                                        "<|eom_id|>",
                                        "<EOT>",
                                        "_<EOT>",
                                        "[EOT]",
                                        "[EOS]",
                                        "<|end_of_text|>",
                                        "<end_of_utterance>",
                                        "<eos>",
                                        "<turn|>",
                                        "<|tool_response>",
                                        "<" VOCAB_BAR "end" VOCAB_SPACE "of" VOCAB_SPACE
                                        "sentence" VOCAB_BAR ">",
                                        "[e~["};
    const int32_t ids[] = {v->eos, v->eot, v->eom, v->fim_pad, v->fim_rep, v->fim_sep};
    for (int32_t i = 0; i < SLM_COUNT(names); i++) {
        int32_t token = vocab_find_name(v, names[i]);
        if (token >= 0) {
            v->attributes[token] |= TOKEN_END | TOKEN_CONTROL;
        }
    }
    for (int32_t i = 0; i < SLM_COUNT(ids); i++) {
        if (ids[i] >= 0) {
            v->attributes[ids[i]] |= TOKEN_END;
        }
    }
    /* gpt-oss and its kin: <|end|> ends a message within the answer. */
    int calls = vocab_name_is_end(v, "<|call|>") || vocab_name_is_end(v, "<|calls|>");
    if (calls && vocab_name_is_end(v, "<|end|>") &&
        (vocab_name_is_end(v, "<|return|>") || vocab_name_is_end(v, "<|flush|>"))) {
        vocab_set(v, "<|end|>", TOKEN_USER);
    }
    /* Gemma 4: </s> is a tag of HTML. */
    if (vocab_name_is_end(v, "<|tool_response>") && vocab_name_is_end(v, "</s>")) {
        vocab_set(v, "</s>", TOKEN_NORMAL);
    }
}

static int vocab_load_suppressed(struct vocab *v, const struct gguf *g, slm_error *err)
{
    static const char key[] = "tokenizer.ggml.suppress_tokens";
    struct gguf_array ids = {0, 0, NULL, NULL, NULL};
    int found = gguf_find_array(g, key, &ids);
    if (found < 0 || (ids.count > 0 && !vocab_is_number(ids.type, 0))) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "%s is no array of integers", key);
    }
    for (uint64_t i = 0; i < ids.count; i++) {
        int64_t id = gguf_array_i64(&ids, i);
        if (id >= 0 && id < v->n_token) {
            v->attributes[id] |= TOKEN_SUPPRESSED;
            v->suppresses = 1;
        } else {
            v->ignored_key = key;
        }
    }
    return SLM_OK;
}

/* Any case. */
static int vocab_text_contains(struct text t, const char *part)
{
    size_t n = string_length(part);
    for (size_t i = 0; i + n <= t.n; i++) {
        size_t same = 0;
        while (same < n && (t.s[i + same] | 0x20) == (part[same] | 0x20)) {
            same++;
        }
        if (same == n) {
            return 1;
        }
    }
    return 0;
}

/* What no key says and everybody does by name: gpt-oss. */
static void vocab_patch_types(struct vocab *v)
{
    static const char *const user[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};
    for (int32_t i = 0; i < SLM_COUNT(user); i++) {
        vocab_set(v, user[i], TOKEN_USER);
    }
}

/* Likewise: which tokens swallow white space. Types must be settled. */
static void vocab_patch_strips(struct vocab *v, const struct gguf *g)
{
    static const char *const phi3_not[] = {"<unk>", "<s>", "<|endoftext|>"};
    struct text name = {"", 0};
    struct text arch = {"", 0};
    gguf_find_text(g, "general.name", &name);
    gguf_find_text(g, "general.architecture", &arch);
    int phi3 = vocab_text_contains(name, "phi-3") || vocab_text_contains(name, "phi3");
    for (int32_t i = 0; i < v->n_token && phi3; i++) {
        if ((v->attributes[i] & TOKEN_SPECIAL) != 0 || text_is(vocab_text(v, i), "</s>")) {
            v->attributes[i] |= TOKEN_RSTRIP;
        }
    }
    for (int32_t i = 0; i < SLM_COUNT(phi3_not) && phi3; i++) {
        int32_t token = vocab_find_name(v, phi3_not[i]);
        if (token >= 0) {
            v->attributes[token] &= (uint16_t)~TOKEN_RSTRIP;
        }
    }
    int32_t mask = -1;
    if (!PROFILE_EMBED) {
        return; /* what follows is about encoders */
    }
    if (text_contains(v->pre, "jina-v2-de") || text_contains(v->pre, "jina-v2-es") ||
        text_contains(v->pre, "jina-v2-code") || text_contains(arch, "nomic-bert-moe") ||
        text_contains(arch, "jina-bert-v3")) {
        mask = vocab_find_name(v, "<mask>");
    } else if (vocab_text_contains(name, "modern-bert")) {
        mask = vocab_find_name(v, "[MASK]");
    }
    if (mask >= 0) {
        v->attributes[mask] |= TOKEN_LSTRIP;
    }
}

/* Where tokens alone say what belongs together: the neighbouring characters of each, of which the
 * second begins at `from` or behind. (Bytes within a character do no harm: nobody asks for them.) */
static void vocab_note_joins(struct vocab *v, const char *s, size_t n, size_t from)
{
    struct text t = {s, n};
    for (size_t i = from > 0 ? from : 1; i < n; i++) {
        uint8_t a = i >= 3 && vocab_is_space_at(t, i - 3) ? ' ' : (uint8_t)s[i - 1];
        uint8_t b = vocab_is_space_at(t, i) ? ' ' : (uint8_t)s[i];
        v->joins[a][b / 8] |= (uint8_t)(1u << b % 8);
    }
}

static int vocab_hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The token that a byte of a text becomes, or -1: no text becomes a guarded token. */
static int32_t vocab_find_byte(const struct vocab *v, struct text t)
{
    int32_t token = vocab_find(v, t);
    return (vocab_attributes(v, token) & TOKEN_GUARDED) != 0 ? -1 : token;
}

static void vocab_find_bytes(struct vocab *v)
{
    for (int i = 0; i < 256; i++) {
        static const char digits[] = "0123456789ABCDEF";
        char name[6] = {'<', '0', 'x', digits[i / 16], digits[i % 16], '>'};
        char byte = (char)(uint8_t)i;
        struct text by_name = {name, sizeof name};
        struct text by_byte = {&byte, 1};
        int32_t token = vocab_find_byte(v, by_name);
        v->byte_token[i] = token >= 0 ? token : vocab_find_byte(v, by_byte);
    }
}

/* ---- Loading: by bytes ----------------------------------------------------------------------- */

/* The byte at s, and how many of the n >= 1 characters stand for it, as RWKV writes its tokens: \t,
 * \n, \r, \x1F, and behind any other backslash the character itself. */
static int vocab_unescape(const uint8_t *s, size_t n, size_t *size)
{
    *size = 1;
    if (s[0] != '\\' || n < 2) {
        return s[0];
    }
    *size = 2;
    if (s[1] == 'x' && n >= 4 && vocab_hex_digit(s[2]) >= 0 && vocab_hex_digit(s[3]) >= 0) {
        *size = 4;
        return vocab_hex_digit(s[2]) * 16 + vocab_hex_digit(s[3]);
    }
    return s[1] == 't' ? '\t' : s[1] == 'n' ? '\n' : s[1] == 'r' ? '\r' : s[1];
}

/* The bytes that a token stands for: its text, or the same without escapes at *bytes, which goes on
 * behind them. */
static struct text vocab_bytes(const struct vocab *v, int32_t token, uint8_t **bytes)
{
    struct text t = vocab_text(v, token);
    struct text unescaped = {(const char *)*bytes, 0};
    if (v->form != PIECE_ESCAPES) {
        return t;
    }
    for (size_t at = 0, size = 1; at < t.n; at += size) {
        *(*bytes)++ = (uint8_t)vocab_unescape((const uint8_t *)t.s + at, t.n - at, &size);
        unescaped.n++;
    }
    return unescaped;
}

/* The trie of the tokens of these types that text may become. */
static int vocab_load_trie(struct vocab *v, unsigned types, struct memory *m, slm_error *err)
{
    struct arena a = {NULL, 0, 0};
    struct trie_plan plan = {NULL, (uint32_t)v->n_token, NULL, 0, NULL, v->text_max, NULL, NULL};
    uint8_t *bytes = NULL;
    uint64_t n_bytes = 0;
    for (int32_t i = 0; i < v->n_token && v->form == PIECE_ESCAPES; i++) {
        n_bytes += vocab_text(v, i).n;
    }
    for (int pass = 0; pass < 2; pass++) {
        a.used = 0;
        trie_plan_layout(&plan, &a);
        bytes = (uint8_t *)arena_take(&a, n_bytes, 1);
        if (pass == 0) {
            a.base = a.overflow ? NULL : (uint8_t *)memory_take(m, a.used);
        }
        if (a.base == NULL) {
            return memory_error(m, a.used, "tokens in order", err);
        }
    }
    plan.n = 0;
    for (int32_t i = 0; i < v->n_token; i++) {
        if ((v->attributes[i] & types) != 0 && (v->attributes[i] & TOKEN_GUARDED) == 0) {
            plan.keys[plan.n++] = trie_key_of(vocab_bytes(v, i, &bytes), i);
        }
    }
    int status = trie_build(&v->trie, &plan, m, err);
    for (uint32_t i = 0; i < plan.n && v->algorithm->encode == ugm_encode; i++) {
        const struct trie_key *k = &plan.keys[i];
        trie_fetch(plan.keys, i, plan.n);
        vocab_note_joins(v, k->s, k->size, (size_t)k->key);
    }
    memory_give(m, a.base, a.used);
    return status;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static int vocab_load_model(struct vocab *v, const struct gguf *g, slm_error *err)
{
    v->algorithm = &tokenizer_none;
    v->model = text_of("none");
    if (gguf_find_text(g, "tokenizer.ggml.model", &v->model) < 0) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "tokenizer.ggml.model is no string");
    }
    for (int32_t i = 0; i < SLM_COUNT(tokenizer_algorithms); i++) {
        if (text_is(v->model, tokenizer_algorithms[i].model)) {
            v->algorithm = &tokenizer_algorithms[i];
        }
    }
    if (v->algorithm != &tokenizer_none && v->algorithm->encode == NULL) {
        SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "tokenizer '%s' was left out of this build",
                 v->algorithm->name);
    }
    v->pre = text_of("");
    if (gguf_find_text(g, "tokenizer.ggml.pre", &v->pre) < 0) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "tokenizer.ggml.pre is no string");
    }
    v->form = v->algorithm->form;
    if (PROFILE_TOKENIZER(bpe) && vocab_has_merges(v)) {
        const char *own = v->algorithm->pre;
        v->pretokenizer = pretokenizer_find(own != NULL ? text_of(own) : v->pre);
        v->pre_status = SLM_PRE_KNOWN;
        if (v->pretokenizer == NULL) {
            v->pretokenizer = &pretokenizers[0];
            v->pre_status = v->pre.n > 0 ? SLM_PRE_UNKNOWN : SLM_PRE_MISSING;
        }
        if (v->pretokenizer->group == NULL) {
            SLM_FAIL(err, SLM_E_UNSUPPORTED, -1,
                     "pre-tokenizer '%.*s' is not known, or was left out of this build",
                     text_width(v->pre), v->pre.s);
        }
        if ((v->pretokenizer->flags & PRE_RAW) != 0) {
            v->form = (v->pretokenizer->flags & PRE_SPACES) != 0 ? PIECE_SPACES : PIECE_RAW;
        }
    }
    return SLM_OK;
}

/* Whether the file says that it has no vocabulary. */
static int vocab_is_none(const struct vocab *v)
{
    return text_is(v->model, "none") || text_is(v->model, "no_vocab");
}

static int vocab_load_arrays(struct vocab *v, const struct gguf *g, slm_error *err)
{
    SLM_TRY(vocab_load_texts(g, "tokenizer.ggml.tokens", LIMIT_VOCABULARY, &v->tokens, err));
    if (v->tokens.count == 0) {
        SLM_FAIL(err, SLM_E_MODEL, -1, "tokenizer.ggml.tokens is empty");
    }
    v->n_token = (int32_t)v->tokens.count;
    SLM_TRY(vocab_load_numbers(v, g, "tokenizer.ggml.scores", 1, &v->scores, err));
    if (v->scores.count == 0 && (v->algorithm->flags & TOKENIZER_SCORES) != 0) {
        SLM_FAIL(err, SLM_E_MODEL, -1,
                 "tokenizer.ggml.scores is missing: the tokenizer '%s' wants it",
                 v->algorithm->model);
    }
    if (vocab_has_merges(v)) {
        SLM_TRY(vocab_load_texts(g, "tokenizer.ggml.merges", LIMIT_MERGES, &v->merges, err));
    }
    return SLM_OK;
}

static int vocab_fill(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    SLM_TRY(vocab_load_attributes(v, g, err));
    SLM_TRY(vocab_index_tokens(v, err));
    if (vocab_has_merges(v)) {
        SLM_TRY(vocab_index_merges(v, err));
    }
    vocab_patch_types(v);
    SLM_TRY(vocab_load_ids(v, g, err));
    vocab_find_ends(v);
    vocab_patch_strips(v, g);
    SLM_TRY(vocab_load_suppressed(v, g, err));
    vocab_find_bytes(v);
    SLM_TRY(vocab_load_specials(v, m, err));
    SLM_TRY(v->algorithm->load != NULL ? v->algorithm->load(v, g, m, err) : SLM_OK);
    v->begins_with_space = v->add_space_prefix || v->normalizer.merge_spaces ||
                           (v->algorithm->flags & TOKENIZER_SEP) != 0;
    return SLM_OK;
}

static void vocab_free(struct vocab *v, struct memory *m)
{
    trie_free(&v->trie, m);
    memory_give(m, v->special_block, v->special_block_size);
    memory_give(m, v->block, v->block_size);
    memset(v, 0, sizeof *v);
}

static void vocab_clear_ids(struct vocab *v)
{
    for (int32_t i = 0; i < SLM_COUNT(vocab_sources); i++) {
        *vocab_id_at(v, &vocab_sources[i]) = -1;
    }
    memset(v->byte_token, 0xff, sizeof v->byte_token);
    v->end = -1;
}

/* Reads the vocabulary of a file, which must outlive it. Without one (no tokenizer.ggml.model, or
 * "none") n_token is 0. On failure nothing is left to free. */
static int vocab_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    memset(v, 0, sizeof *v);
    vocab_clear_ids(v);
    SLM_TRY(vocab_load_model(v, g, err));
    if (vocab_is_none(v)) {
        return SLM_OK;
    }
    SLM_TRY(vocab_load_arrays(v, g, err));
    struct arena a = {NULL, 0, 0};
    vocab_layout(v, &a);
    v->block_size = a.used;
    v->block = a.overflow ? NULL : memory_take(m, a.used);
    if (v->block == NULL) {
        return memory_error(m, a.used, "the vocabulary", err);
    }
    memset(v->block, 0, (size_t)a.used);
    a.base = (uint8_t *)v->block;
    a.used = 0;
    vocab_layout(v, &a);
    int status = vocab_fill(v, g, m, err);
    if (status != SLM_OK) {
        vocab_free(v, m);
    }
    return status;
}

/* ---- What an encoder works with -------------------------------------------------------------- */

/* A buffer that grows while a call lasts. */
struct scratch {
    void *data;
    uint64_t size;
};

struct encoder {
    const struct vocab *v;
    struct memory *m;
    uint32_t flags;       /* SLM_TEXT_ */
    const uint8_t *marks; /* of each byte of the whole text: not 0 is content, in which no guarded
                             token is found; NULL: flags say what is found everywhere */
    int after_special;    /* the fragment begins the text or follows a special token */
    struct scratch text;  /* of a piece, as the vocabulary writes it */
    struct scratch symbols;
    uint32_t n_text; /* of those to merge: spm.c */
    uint32_t n_symbols;
    uint8_t last; /* what stands for the last one in vocab.joins */
    struct scratch ranks;
    struct scratch tree;
    struct scratch matches; /* special tokens in the text: tokenize.c */
    struct scratch best;
    struct scratch parts;
    struct scratch tokens;
    size_t n_tokens;
    const char *base;     /* where the words lie: words.c */
    struct scratch words; /* what they became */
    uint32_t n_words;     /* slots, a power of two */
};

/* Makes a buffer at least `size` bytes long; the first `keep` of them stay. */
static int encoder_reserve(struct encoder *e, struct scratch *b, uint64_t size, uint64_t keep,
                           slm_error *err)
{
    if (size <= b->size) {
        return SLM_OK;
    }
    uint64_t wanted = b->size * 2 > size ? b->size * 2 : size;
    wanted = wanted < 256 ? 256 : wanted;
    if (keep == 0) {
        memory_give(e->m, b->data, b->size);
        b->data = NULL;
        b->size = 0;
    }
    void *data = memory_take(e->m, wanted);
    if (data == NULL) {
        return memory_error(e->m, wanted, "tokenising", err);
    }
    if (keep > 0) {
        memcpy(data, b->data, (size_t)keep);
        memory_give(e->m, b->data, b->size);
    }
    b->data = data;
    b->size = wanted;
    return SLM_OK;
}

static int encoder_push(struct encoder *e, int32_t token, slm_error *err)
{
    uint64_t used = (uint64_t)e->n_tokens * sizeof token;
    SLM_TRY(encoder_reserve(e, &e->tokens, used + sizeof token, used, err));
    ((int32_t *)e->tokens.data)[e->n_tokens++] = token;
    return SLM_OK;
}
