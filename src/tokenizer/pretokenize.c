/* pretokenize.c - cuts text into the pieces that BPE merges never cross.
 *
 * Owns one row per pre-tokenizer name. The names stand for regular expressions; there is no regular
 * expression engine here, because nearly all of them are built from three shapes, and each shape is
 * matched by hand, in one pass, without memory:
 *
 * - words: the big alternation of contractions, words, numbers, others and white space;
 * - runs: characters of one set, with bounds, perhaps with a space in front;
 * - groups: a number cut into threes from its right end.
 *
 * A pre-tokenizer is a list of such stages. Each cuts every piece of the stage before it into what
 * matches and what lies between matches; looking ahead never sees beyond the piece (so that with a
 * digits-first stage, the spaces before a digit are at the end of their piece).
 *
 * Where llama.cpp rewrote an expression for its engine (Tekken, GPT-4o), this is the original. */

/* ---- Characters ------------------------------------------------------------------------------ */

struct pre_char {
    uint32_t point;
    unsigned type; /* UNICODE_ bit, or 0 */
    size_t size;   /* in bytes; 0 at the end of the piece */
};

static struct pre_char pre_wide_char_at(const uint8_t *s, size_t at, size_t end)
{
    struct pre_char c = {0, 0, 0};
    c.point = unicode_decode(s + at, end - at, &c.size);
    c.type = unicode_class(c.point);
    return c;
}

/* Most of a text are ASCII, and every stage looks at all of it. */
static inline struct pre_char pre_char_at(const uint8_t *s, size_t at, size_t end)
{
    struct pre_char c = {0, 0, 0};
    if (at < end && s[at] >= 0x80) {
        return pre_wide_char_at(s, at, end);
    }
    if (at < end) {
        c.point = s[at];
        c.type = unicode_class_ascii(s[at]);
        c.size = 1;
    }
    return c;
}

/* The character that ends where `at` begins. */
static struct pre_char pre_char_before(const uint8_t *s, size_t at)
{
    for (size_t size = at < 4 ? at : 4; size > 0; size--) {
        struct pre_char c = pre_char_at(s, at - size, at);
        if (c.size == size) {
            return c;
        }
    }
    return pre_char_at(s, at, at);
}

struct pre_range {
    uint32_t first;
    uint32_t last;
};

/* Characters of some classes and in some ranges, or all others. */
struct pre_set {
    uint16_t mask;
    uint8_t negate;
    uint8_t n_ranges;
    const struct pre_range *ranges;
};

/* Ranges are in order. */
static int pre_in_ranges(const struct pre_range *ranges, int32_t n, uint32_t point)
{
    int32_t i = 0;
    while (i < n && ranges[i].last < point) {
        i++;
    }
    return i < n && ranges[i].first <= point;
}

static int pre_set_has(const struct pre_set *set, struct pre_char c)
{
    int found = (c.type & set->mask) != 0 || pre_in_ranges(set->ranges, set->n_ranges, c.point);
    return c.size != 0 && found != set->negate;
}

static int pre_is_newline(struct pre_char c)
{
    return c.point == '\r' || c.point == '\n';
}

/* ---- Words ----------------------------------------------------------------------------------- */

#define PRE_CONTRACTION 1u   /* 's|'t|'re|'ve|'m|'ll|'d in front of all else */
#define PRE_ANY_CASE 2u      /* ... of any case */
#define PRE_SUFFIX 4u        /* ... after a word instead, of any case */
#define PRE_CASED 8u         /* a word is capitals, then small letters: a new one begins at "aB" */
#define PRE_PUNCT_WORD 16u   /* one ASCII punctuation mark with ASCII letters is a word */
#define PRE_SPACE_NUMBER 32u /* " ?" before a number */
#define PRE_NEWLINES 64u     /* \s*[\r\n]+ */
#define PRE_NEWLINE 128u     /* [\r\n] */
#define PRE_TAIL 256u        /* [\r\n]* after other characters */
#define PRE_TAIL_SLASH 512u  /* [\r\n/]* */
#define PRE_TAIL_ONE 1024u   /* [\r\n/]? */
#define PRE_HAN 2048u        /* [\p{Han}]+ in front of all else, and never part of a word */
#define PRE_PHRASE 4096u     /* words with one space between them are one */
#define PRE_POWERS 8192u     /* white space in lengths of 512, 256, ... 4, 2, 1 */
#define PRE_MANY 255

/* In the order of the alternation:
 *     word     [^\r\n prefix_not]? letters+, or with prefix_not 0: " ?" letters+
 *     number   one to `digits`
 *     other    " ?" others+, where others are the classes of `other`, or (0) all that are no white
 *              space, number or in `letters`; see pre_is_other
 *     white    to the last newline (PRE_NEWLINES); a run but for its last character, if a character
 *              follows; a run */
struct pre_words {
    uint32_t flags;
    uint16_t prefix_not;
    uint16_t letters;
    uint8_t digits;
    uint16_t other;
};

/* Flags that have code of their own, without those that no rule of this build has. */
enum {
    PRE_RARE_FLAGS = PRE_HAN | PRE_CASED | PRE_PHRASE | PRE_POWERS,
    PRE_RARE_FLAGS_IN = (PROFILE_PRETOKENIZER(kimi) ? PRE_HAN | PRE_CASED : 0u) |
                        (PROFILE_PRETOKENIZER(tekken) || PROFILE_PRETOKENIZER(gpt4o) ||
                                 PROFILE_PRETOKENIZER(tiny_aya) || PROFILE_PRETOKENIZER(youtu)
                             ? PRE_CASED
                             : 0u) |
                        (PROFILE_PRETOKENIZER(exaone_moe) ? PRE_PHRASE : 0u) |
                        (PROFILE_PRETOKENIZER(jais2) ? PRE_POWERS : 0u)
};

static uint32_t pre_flags(const struct pre_words *w)
{
    const uint32_t out = (uint32_t)PRE_RARE_FLAGS & ~(uint32_t)PRE_RARE_FLAGS_IN;
    SLM_ASSERT((w->flags & out) == 0);
    return w->flags & ~out;
}

/* Length of the contraction at `at`, 0 if there is none. */
static size_t pre_contraction(const uint8_t *s, size_t at, size_t end, int any_case)
{
    static const char two[3][2] = {{'r', 'e'}, {'v', 'e'}, {'l', 'l'}};
    unsigned fold = any_case ? 0x20 : 0;
    if (end - at < 2 || s[at] != '\'') {
        return 0;
    }
    unsigned a = s[at + 1] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    unsigned b = end - at < 3 ? 0 : s[at + 2] | fold;
    for (int i = 0; i < 3; i++) {
        if (a == (unsigned)two[i][0] && b == (unsigned)two[i][1]) {
            return 3;
        }
    }
    return 0;
}

static const struct pre_range pre_han[] = {
    {0x2e80, 0x2e99},   {0x2e9b, 0x2ef3},   {0x2f00, 0x2fd5},   {0x3005, 0x3005},
    {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303b},   {0x3400, 0x4dbf},
    {0x4e00, 0x9fff},   {0xf900, 0xfa6d},   {0xfa70, 0xfad9},   {0x16fe2, 0x16fe3},
    {0x16ff0, 0x16ff1}, {0x20000, 0x2a6df}, {0x2a700, 0x2b739}, {0x2b740, 0x2b81d},
    {0x2b820, 0x2cea1}, {0x2ceb0, 0x2ebe0}, {0x2ebf0, 0x2ee5d}, {0x2f800, 0x2fa1d},
    {0x30000, 0x3134a}, {0x31350, 0x323af}};

static int pre_is_han(struct pre_char c)
{
    return c.point >= 0x2e80 && pre_in_ranges(pre_han, SLM_COUNT(pre_han), c.point);
}

/* The end of the run of characters of these classes that begins at `at`. */
static size_t pre_run_of(const uint8_t *s, size_t at, size_t end, unsigned mask)
{
    struct pre_char c = pre_char_at(s, at, end);
    while ((c.type & mask) != 0) {
        at += c.size;
        c = pre_char_at(s, at, end);
    }
    return at;
}

/* [Lu Lt Lm Lo M]* [Ll Lm Lo M]+ or, failing that, [Lu Lt Lm Lo M]+ [Ll Lm Lo M]*, greedy with
 * backtracking: where capitals are not followed by small letters, the word ends after the last
 * uncased character among them. Returns `at` if there is no word; sets *first if it is of the first
 * form, which is tried with every prefix before the second. */
static size_t pre_cased_word(const struct pre_words *w, const uint8_t *s, size_t at, size_t end,
                             int *first)
{
    const unsigned uncased = UNICODE_UNCASED | UNICODE_MARK;
    int not_han = (pre_flags(w) & PRE_HAN) != 0;
    size_t p = at;
    size_t last_uncased = at;
    struct pre_char c = pre_char_at(s, p, end);
    while ((c.type & (UNICODE_UPPER | uncased)) != 0 && !(not_han && pre_is_han(c))) {
        p += c.size;
        if ((c.type & uncased) != 0) {
            last_uncased = p;
        }
        c = pre_char_at(s, p, end);
    }
    size_t lower = p;
    while ((c.type & (UNICODE_LOWER | uncased)) != 0 && !(not_han && pre_is_han(c))) {
        lower += c.size;
        c = pre_char_at(s, lower, end);
    }
    *first = lower > p || last_uncased > at;
    return lower > p ? lower : last_uncased > at ? last_uncased : p;
}

/* \p{L}, then any of \p{L}, \p{M} and " " before \p{L}. */
static size_t pre_phrase(const uint8_t *s, size_t at, size_t end)
{
    size_t p = at;
    struct pre_char c = pre_char_at(s, p, end);
    while ((c.type & UNICODE_LETTER) != 0 || (p > at && (c.type & UNICODE_MARK) != 0)) {
        p += c.size;
        c = pre_char_at(s, p, end);
        if (c.point == ' ' && (pre_char_at(s, p + 1, end).type & UNICODE_LETTER) != 0) {
            p++;
            c = pre_char_at(s, p, end);
        }
    }
    return p;
}

/* The end of the word at `at`, or `at`. */
static size_t pre_word(const struct pre_words *w, const uint8_t *s, size_t at, size_t end,
                       struct pre_char c)
{
    size_t with = at + c.size;
    int may_prefix =
        w->prefix_not == 0 ? c.point == ' ' : (c.type & w->prefix_not) == 0 && !pre_is_newline(c);
    if ((pre_flags(w) & PRE_PHRASE) != 0) {
        size_t p = may_prefix ? pre_phrase(s, with, end) : with;
        return p > with ? p : pre_phrase(s, at, end);
    }
    if ((pre_flags(w) & PRE_CASED) == 0) {
        size_t p = may_prefix ? pre_run_of(s, with, end, w->letters) : with;
        return p > with ? p : pre_run_of(s, at, end, w->letters);
    }
    int first = 0;
    int first_bare = 0;
    size_t bare = pre_cased_word(w, s, at, end, &first_bare);
    size_t p = may_prefix ? pre_cased_word(w, s, with, end, &first) : with;
    if (p == with || (first_bare && !first)) {
        p = bare;
    }
    if (p > at && (pre_flags(w) & PRE_SUFFIX) != 0) {
        p += pre_contraction(s, p, end, 1);
    }
    return p;
}

static int pre_is_other(const struct pre_words *w, struct pre_char c)
{
    if (w->other != 0) {
        return (c.type & w->other) != 0;
    }
    return c.size != 0 && (c.type & (UNICODE_WHITE | UNICODE_NUMBER | w->letters)) == 0;
}

static size_t pre_number(const struct pre_words *w, const uint8_t *s, size_t at, size_t end)
{
    size_t p = at;
    struct pre_char c = pre_char_at(s, p, end);
    for (int n = 0; (c.type & UNICODE_NUMBER) != 0 && (n < w->digits || w->digits == PRE_MANY);
         n++) {
        p += c.size;
        c = pre_char_at(s, p, end);
    }
    return p;
}

static size_t pre_other(const struct pre_words *w, const uint8_t *s, size_t at, size_t end)
{
    size_t p = at + (s[at] == ' ');
    struct pre_char c = pre_char_at(s, p, end);
    if (!pre_is_other(w, c)) {
        return at;
    }
    while (pre_is_other(w, c)) {
        p += c.size;
        c = pre_char_at(s, p, end);
    }
    if ((pre_flags(w) & (PRE_TAIL | PRE_TAIL_SLASH)) != 0) {
        while (p < end && (s[p] == '\r' || s[p] == '\n' ||
                           (s[p] == '/' && (pre_flags(w) & PRE_TAIL_SLASH) != 0))) {
            p++;
        }
    }
    p += (pre_flags(w) & PRE_TAIL_ONE) != 0 && p < end &&
         (s[p] == '\r' || s[p] == '\n' || s[p] == '/');
    return p;
}

/* The longest of 512, 256, ... 4, 2 and 1 white space characters that leaves one, if a character
 * follows the run. Where the character before is one of the run, it was seen then that no newline
 * comes: without that, a long run would be read once for each piece of it. */
static size_t pre_white_power(const uint8_t *s, size_t at, size_t end)
{
    size_t n = 0;
    size_t wanted = 512;
    size_t p = at;
    struct pre_char c = pre_char_at(s, p, end);
    while ((c.type & UNICODE_WHITE) != 0 && n <= wanted) {
        n++;
        p += c.size;
        c = pre_char_at(s, p, end);
    }
    n -= n > 1 && (c.size > 0 || n > wanted);
    while (wanted > n) {
        wanted /= 2;
    }
    for (p = at; wanted > 0; wanted--) {
        p += pre_char_at(s, p, end).size;
    }
    return p;
}

static size_t pre_white(const struct pre_words *w, const uint8_t *s, size_t at, size_t end)
{
    size_t p = at;
    size_t last = at;    /* where the last character begins */
    size_t newline = at; /* after the last newline */
    struct pre_char c = pre_char_at(s, p, end);
    if ((pre_flags(w) & PRE_NEWLINE) != 0 && pre_is_newline(c)) {
        return at + 1;
    }
    if ((pre_flags(w) & PRE_POWERS) != 0) {
        struct pre_char before = pre_char_before(s, at);
        if ((before.type & UNICODE_WHITE) != 0 && !pre_is_newline(before)) {
            return pre_white_power(s, at, end);
        }
    }
    while ((c.type & UNICODE_WHITE) != 0) {
        last = p;
        p += c.size;
        newline = pre_is_newline(c) ? p : newline;
        c = pre_char_at(s, p, end);
    }
    if ((pre_flags(w) & PRE_NEWLINES) != 0 && newline > at) {
        return newline;
    }
    if ((pre_flags(w) & PRE_POWERS) != 0) {
        return pre_white_power(s, at, end);
    }
    return p < end && last > at ? last : p;
}

/* The end of what matches at `at`; `at` if nothing does. */
static size_t pre_match_words(const void *rule, const uint8_t *s, size_t at, size_t end)
{
    const struct pre_words *w = (const struct pre_words *)rule;
    struct pre_char c = pre_char_at(s, at, end);
    size_t p = at;
    while ((pre_flags(w) & PRE_HAN) != 0 && pre_is_han(c)) {
        p += c.size;
        c = pre_char_at(s, p, end);
    }
    if (p == at && (pre_flags(w) & PRE_CONTRACTION) != 0) {
        p += pre_contraction(s, at, end, (pre_flags(w) & PRE_ANY_CASE) != 0);
    }
    if (p == at && (pre_flags(w) & PRE_PUNCT_WORD) != 0 && s[at] < 0x80 &&
        (c.type & (UNICODE_PUNCT | UNICODE_SYMBOL)) != 0) {
        while (p + 1 < end && (s[p + 1] | 0x20) >= 'a' && (s[p + 1] | 0x20) <= 'z') {
            p++;
        }
        p += p > at;
    }
    if (p == at) {
        p = pre_word(w, s, at, end, c);
    }
    if (p == at) {
        size_t skip = (pre_flags(w) & PRE_SPACE_NUMBER) != 0 && c.point == ' ';
        p = pre_number(w, s, at + skip, end);
        p = p == at + skip ? at : p;
    }
    if (p == at) {
        p = pre_other(w, s, at, end);
    }
    return p == at ? pre_white(w, s, at, end) : p;
}

/* ---- Runs ------------------------------------------------------------------------------------ */

/* At least `least` and at most `most` (PRE_MANY: any number of) characters of a set, after one
 * optional character: `lead` is UNICODE_WHITE (\s?), ' ' ( ?) or 0. */
struct pre_run {
    struct pre_set set;
    uint8_t least;
    uint8_t most;
    uint8_t lead;
};

/* The end of the run of characters of the set at `p`, or 0 if there are too few. */
static size_t pre_run_end(const struct pre_run *r, const uint8_t *s, size_t p, size_t end)
{
    int n = 0;
    struct pre_char c = pre_char_at(s, p, end);
    while (pre_set_has(&r->set, c) && (n < r->most || r->most == PRE_MANY)) {
        n += n < PRE_MANY;
        p += c.size;
        c = pre_char_at(s, p, end);
    }
    return n >= r->least ? p : 0;
}

static size_t pre_match_run(const void *rule, const uint8_t *s, size_t at, size_t end)
{
    const struct pre_run *r = (const struct pre_run *)rule;
    struct pre_char c = pre_char_at(s, at, end);
    size_t p = 0;
    if (r->lead == ' ' ? c.point == ' ' : (c.type & r->lead) != 0) {
        p = pre_run_end(r, s, at + c.size, end);
    }
    p = p > 0 ? p : pre_run_end(r, s, at, end);
    return p > 0 ? p : at;
}

/* A text, then characters of a range, as many as there are up to `most`, then a text. */
struct pre_tag {
    const char *before;
    struct pre_range range;
    int most;
    const char *after;
};

static size_t pre_text_end(const char *text, const uint8_t *s, size_t p, size_t end)
{
    size_t n = string_length(text);
    return n <= end - p && memcmp(s + p, text, n) == 0 ? p + n : 0;
}

static size_t pre_match_tag(const void *rule, const uint8_t *s, size_t at, size_t end)
{
    const struct pre_tag *t = (const struct pre_tag *)rule;
    size_t p = pre_text_end(t->before, s, at, end);
    size_t first = p;
    if (p == 0) {
        return at;
    }
    while (p < end && s[p] >= t->range.first && s[p] <= t->range.last &&
           (p - first < (size_t)t->most || t->most == PRE_MANY)) {
        p++;
    }
    p = p > first ? pre_text_end(t->after, s, p, end) : 0;
    return p > 0 ? p : at;
}

/* [\t\n]|    |   with four spaces, then with two. */
static size_t pre_match_indent(const void *rule, const uint8_t *s, size_t at, size_t end)
{
    (void)rule;
    if (s[at] == '\t' || s[at] == '\n') {
        return at + 1;
    }
    size_t p = pre_text_end("    ", s, at, end);
    p = p > 0 ? p : pre_text_end("  ", s, at, end);
    return p > 0 ? p : at;
}

/* Where the white space that ends the piece begins: \s+$ */
static size_t pre_find_last_white(const uint8_t *s, size_t at, size_t end)
{
    size_t p = end;
    while (p > at) {
        struct pre_char c = pre_char_before(s + at, p - at);
        if ((c.type & UNICODE_WHITE) == 0) {
            break;
        }
        p -= c.size;
    }
    return p;
}

static size_t pre_match_last_white(const void *rule, const uint8_t *s, size_t at, size_t end)
{
    (void)rule;
    return pre_find_last_white(s, at, end) == at ? end : at;
}

/* A run of numbers in groups of three, the first of one to three. Only ever the first stage: what
 * stands before `at` is then part of the same run, and the rest needs no counting (which would be
 * quadratic). */
static size_t pre_match_groups(const void *rule, const uint8_t *s, size_t at, size_t end)
{
    size_t n = 0;
    size_t p = at;
    struct pre_char c = pre_char_at(s, p, end);
    int behind_number = (pre_char_before(s, at).type & UNICODE_NUMBER) != 0;
    (void)rule;
    while ((c.type & UNICODE_NUMBER) != 0 && (n < 3 || !behind_number)) {
        n++;
        p += c.size;
        c = pre_char_at(s, p, end);
    }
    size_t take = n == 0 ? 0 : (n - 1) % 3 + 1;
    for (p = at; take > 0; take--) {
        p += pre_char_at(s, p, end).size;
    }
    return p;
}

/* ---- Stages ---------------------------------------------------------------------------------- */

#define PRE_STAGES 6

typedef size_t (*pre_match_fn)(const void *rule, const uint8_t *s, size_t at, size_t end);

struct pre_stage {
    pre_match_fn match;
    const void *rule;
    /* Where there is none at `at`: the next match. NULL: tries each place. */
    size_t (*find)(const uint8_t *s, size_t at, size_t end);
};

#define PRE_NOT_WORD (UNICODE_LETTER | UNICODE_NUMBER)
#define PRE_LETTER_MARK (UNICODE_LETTER | UNICODE_MARK)
#define PRE_LLAMA3_FLAGS (PRE_CONTRACTION | PRE_ANY_CASE | PRE_TAIL | PRE_NEWLINES)
#define PRE_GPT4O_FLAGS (PRE_CASED | PRE_SUFFIX | PRE_TAIL_SLASH | PRE_NEWLINES)
#define PRE_PUNCT_SYMBOL (UNICODE_PUNCT | UNICODE_SYMBOL)

static const struct pre_words pre_words_gpt2 = {PRE_CONTRACTION | PRE_SPACE_NUMBER, 0,
                                                UNICODE_LETTER, PRE_MANY, 0};
static const struct pre_words pre_words_llama3 = {PRE_LLAMA3_FLAGS, PRE_NOT_WORD, UNICODE_LETTER, 3,
                                                  0};
static const struct pre_words pre_words_qwen2 = {PRE_LLAMA3_FLAGS, PRE_NOT_WORD, UNICODE_LETTER, 1,
                                                 0};
static const struct pre_words pre_words_qwen35 = {PRE_LLAMA3_FLAGS, PRE_NOT_WORD, PRE_LETTER_MARK,
                                                  1, 0};
static const struct pre_words pre_words_minicpm5 = {PRE_LLAMA3_FLAGS, PRE_NOT_WORD, UNICODE_LETTER,
                                                    PRE_MANY, 0};
static const struct pre_words pre_words_ufakzeka = {PRE_TAIL | PRE_NEWLINES, PRE_NOT_WORD,
                                                    UNICODE_LETTER, 1, 0};
static const struct pre_words pre_words_seed_coder = {PRE_CONTRACTION | PRE_ANY_CASE | PRE_NEWLINES,
                                                      PRE_NOT_WORD, UNICODE_LETTER, 1, 0};
static const struct pre_words pre_words_tekken = {PRE_CASED | PRE_TAIL_SLASH | PRE_NEWLINES,
                                                  PRE_NOT_WORD, UNICODE_LETTER, 1, 0};
static const struct pre_words pre_words_gpt4o = {PRE_GPT4O_FLAGS, PRE_NOT_WORD, UNICODE_LETTER, 3,
                                                 0};
static const struct pre_words pre_words_youtu = {PRE_GPT4O_FLAGS, PRE_NOT_WORD, UNICODE_LETTER, 1,
                                                 0};
static const struct pre_words pre_words_deepseek3 = {PRE_PUNCT_WORD | PRE_TAIL | PRE_NEWLINES,
                                                     UNICODE_LETTER | PRE_PUNCT_SYMBOL,
                                                     PRE_LETTER_MARK, 0, PRE_PUNCT_SYMBOL};
static const struct pre_words pre_words_spark = {PRE_PUNCT_WORD | PRE_NEWLINE,
                                                 UNICODE_LETTER | PRE_PUNCT_SYMBOL, PRE_LETTER_MARK,
                                                 0, PRE_PUNCT_SYMBOL};

static const struct pre_words pre_words_jais2 = {PRE_LLAMA3_FLAGS | PRE_POWERS, PRE_NOT_WORD,
                                                 UNICODE_LETTER, 3, 0};
static const struct pre_words pre_words_exaone_moe = {PRE_CONTRACTION | PRE_ANY_CASE | PRE_PHRASE |
                                                          PRE_TAIL_ONE | PRE_NEWLINES,
                                                      PRE_NOT_WORD, UNICODE_LETTER, 1, 0};
static const struct pre_words pre_words_kimi = {
    PRE_HAN | PRE_CASED | PRE_SUFFIX | PRE_TAIL | PRE_NEWLINES, PRE_NOT_WORD, UNICODE_LETTER, 3, 0};

static const struct pre_range pre_digits[] = {{'0', '9'}};
static const struct pre_range pre_newline[] = {{'\n', '\n'}};
static const struct pre_range pre_newlines[] = {{'\n', '\n'}, {'\r', '\r'}};
static const struct pre_range pre_symbols[] = {{'$', '$'}, {'+', '+'}, {'<', '>'},
                                               {'^', '^'}, {'|', '|'}, {'~', '~'}};
static const struct pre_range pre_symbols_accent[] = {
    {'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'}, {'`', '`'}, {'|', '|'}, {'~', '~'}};
static const struct pre_range pre_cjk[] = {{0x3040, 0x30ff}, {0x4e00, 0x9fa5}};
static const struct pre_range pre_cjk_wide[] = {{0x800, 0x9fa5}, {0xac00, 0xd7ff}};
static const struct pre_range pre_asian[] = {
    {0x0e40, 0x0e7f}, {0x0e80, 0x0eff}, {0x1000, 0x109f}, {0x1100, 0x11ff}, {0x1780, 0x17ff},
    {0x2f00, 0x2fdf}, {0x3040, 0x309f}, {0x30a0, 0x30ff}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff},
    {0xa9e0, 0xa9ff}, {0xaa60, 0xaa7f}, {0xac00, 0xd7af}, {0xf900, 0xfaff}, {0xff65, 0xff9f}};
static const struct pre_range pre_bloom_not[] = {
    {'!', '!'},       {'(', ')'},       {',', ','},       {'.', '.'},       {'?', '?'},
    {'|', '|'},       {0x060c, 0x060c}, {0x06d4, 0x06d4}, {0x0964, 0x0964}, {0x2026, 0x2026},
    {0x3001, 0x3001}, {0x3002, 0x3002}, {0xff0c, 0xff0c}};

static const struct pre_range pre_hangul[] = {{0x3131, 0x318e}, {0xac00, 0xd7a3}};
static const struct pre_range pre_cjk_punct[] = {
    {0x2014, 0x2014}, {0x2018, 0x2019}, {0x201c, 0x201d}, {0x2026, 0x2026}, {0x3001, 0x303f},
    {0xfe30, 0xfe4f}, {0xff01, 0xff01}, {0xff0c, 0xff0c}, {0xff1a, 0xff1b}};
static const struct pre_range pre_bopomofo[] = {{0x3105, 0x312f}};

/* Letters that have a case, as of some Unicode before ours. */
static const struct pre_range pre_letters_deepseek[] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},
    {0xd8, 0xf6},       {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},
    {0x295, 0x2af},     {0x370, 0x373},     {0x376, 0x377},     {0x37b, 0x37d},
    {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},     {0x38c, 0x38c},
    {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},
    {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},
    {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},
    {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},
    {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},   {0x1f5b, 0x1f5b},
    {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},
    {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},
    {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210a, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},   {0x213c, 0x213f},
    {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf3},   {0xa640, 0xa66d},
    {0xa680, 0xa69b},   {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},
    {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},   {0xff21, 0xff3a},
    {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb},
    {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943}};
static const struct pre_range pre_punct_deepseek[] = {
    {'!', '/'}, {':', '~'}, {0x2018, 0x201f}, {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e}};
static const struct pre_range pre_ascii_punct[] = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};

static const struct pre_run pre_run_number = {{UNICODE_NUMBER, 0, 0, NULL}, 1, 1, 0};
static const struct pre_run pre_run_numbers3 = {{UNICODE_NUMBER, 0, 0, NULL}, 1, 3, 0};
static const struct pre_run pre_run_numbers = {{UNICODE_NUMBER, 0, 0, NULL}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_digits3 = {{0, 0, 1, pre_digits}, 3, 3, 0};
static const struct pre_run pre_run_newline = {{0, 0, 2, pre_newlines}, 1, 1, 0};
static const struct pre_run pre_run_newlines = {{0, 0, 1, pre_newline}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_punct_falcon = {
    {UNICODE_PUNCT, 0, 7, pre_symbols_accent}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_punct_default = {
    {UNICODE_PUNCT, 0, 6, pre_symbols}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_letters = {
    {UNICODE_LETTER, 0, 0, NULL}, 1, PRE_MANY, UNICODE_WHITE};
static const struct pre_run pre_run_punct = {
    {UNICODE_PUNCT, 0, 0, NULL}, 1, PRE_MANY, UNICODE_WHITE};
static const struct pre_run pre_run_cjk = {{0, 0, 2, pre_cjk}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_cjk_wide = {{0, 0, 2, pre_cjk_wide}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_asian = {{0, 0, 15, pre_asian}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_bloom = {
    {UNICODE_WHITE, 1, 13, pre_bloom_not}, 1, PRE_MANY, ' '};

static const struct pre_run pre_run_hangul = {{0, 0, 2, pre_hangul}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_cjk_punct = {{0, 0, 9, pre_cjk_punct}, 1, PRE_MANY, 0};
static const struct pre_run pre_run_bopomofo = {{0, 0, 1, pre_bopomofo}, 1, PRE_MANY, 0};

static const struct pre_run pre_run_letters_deepseek = {
    {0, 0, SLM_COUNT(pre_letters_deepseek), pre_letters_deepseek}, 1, PRE_MANY, UNICODE_WHITE};
static const struct pre_run pre_run_punct_deepseek = {
    {0, 0, 6, pre_punct_deepseek}, 1, PRE_MANY, UNICODE_WHITE};
static const struct pre_run pre_run_punct_one = {{UNICODE_PUNCT, 0, 4, pre_ascii_punct}, 1, 1, 0};
static const struct pre_run pre_run_not_white = {{UNICODE_WHITE, 1, 0, NULL}, 1, PRE_MANY, 0};

static const struct pre_tag pre_tag_sentinel = {"<sentinel:", {'0', '9'}, PRE_MANY, ">"};
static const struct pre_tag pre_tag_image = {"IMGIMG", {'A', 'I'}, 4, "Z"};

/* ---- Names ----------------------------------------------------------------------------------- */

#define PRE_WORDS(name)                                                                            \
    {                                                                                              \
        pre_match_words, &pre_words_##name, NULL                                                   \
    }
#define PRE_RUN(name)                                                                              \
    {                                                                                              \
        pre_match_run, &pre_run_##name, NULL                                                       \
    }
#define PRE_GROUPS                                                                                 \
    {                                                                                              \
        pre_match_groups, NULL, NULL                                                               \
    }

#define PRE_TAG(name)                                                                              \
    {                                                                                              \
        pre_match_tag, &pre_tag_##name, NULL                                                       \
    }
#define PRE_INDENT                                                                                 \
    {                                                                                              \
        pre_match_indent, NULL, NULL                                                               \
    }
#define PRE_LAST_WHITE                                                                             \
    {                                                                                              \
        pre_match_last_white, NULL, pre_find_last_white                                            \
    }

/* As many stages as there are up to the first empty one. */
struct pre_group {
    struct pre_stage stages[PRE_STAGES];
};

static const struct pre_group pre_llama3 = {{PRE_WORDS(llama3)}};
static const struct pre_group pre_qwen2 = {{PRE_WORDS(qwen2)}};
static const struct pre_group pre_qwen35 = {{PRE_WORDS(qwen35)}};
static const struct pre_group pre_minicpm5 = {{PRE_RUN(numbers3), PRE_WORDS(minicpm5)}};
static const struct pre_group pre_ufakzeka = {{PRE_WORDS(ufakzeka)}};
static const struct pre_group pre_seed_coder = {{PRE_WORDS(seed_coder)}};
static const struct pre_group pre_laguna = {{PRE_RUN(newlines), PRE_WORDS(qwen2)}};
static const struct pre_group pre_gpt2 = {{PRE_WORDS(gpt2)}};
static const struct pre_group pre_starcoder = {{PRE_RUN(number), PRE_WORDS(gpt2)}};
static const struct pre_group pre_falcon = {
    {PRE_RUN(punct_falcon), PRE_WORDS(gpt2), PRE_RUN(digits3)}};
static const struct pre_group pre_default = {
    {PRE_RUN(punct_default), PRE_WORDS(gpt2), PRE_RUN(numbers), PRE_RUN(digits3)}};
static const struct pre_group pre_tekken = {{PRE_WORDS(tekken)}};
static const struct pre_group pre_gpt4o = {{PRE_WORDS(gpt4o)}};
static const struct pre_group pre_tiny_aya = {{PRE_GROUPS, PRE_WORDS(gpt4o)}};
static const struct pre_group pre_youtu = {
    {PRE_RUN(hangul), PRE_RUN(cjk_punct), PRE_RUN(bopomofo), PRE_RUN(cjk), PRE_WORDS(youtu)}};
static const struct pre_group pre_deepseek3 = {
    {PRE_RUN(numbers3), PRE_RUN(cjk), PRE_WORDS(deepseek3)}};
static const struct pre_group pre_spark = {
    {PRE_RUN(numbers3), PRE_RUN(cjk), PRE_WORDS(spark), PRE_RUN(number)}};
static const struct pre_group pre_afmoe = {{PRE_GROUPS, PRE_RUN(asian), PRE_WORDS(deepseek3)}};
static const struct pre_group pre_deepseek_coder = {
    {PRE_RUN(newline), PRE_RUN(letters), PRE_RUN(punct), PRE_RUN(cjk_wide), PRE_RUN(number)}};
static const struct pre_group pre_deepseek_llm = {{PRE_RUN(newline), PRE_RUN(letters_deepseek),
                                                   PRE_RUN(punct_deepseek), PRE_LAST_WHITE,
                                                   PRE_RUN(cjk_wide), PRE_RUN(numbers)}};
static const struct pre_group pre_chameleon = {{PRE_TAG(sentinel), PRE_TAG(image), PRE_INDENT,
                                                PRE_RUN(number), PRE_RUN(punct_one),
                                                PRE_WORDS(gpt2)}};
static const struct pre_group pre_jais2 = {{PRE_WORDS(jais2)}};
static const struct pre_group pre_exaone_moe = {{PRE_WORDS(exaone_moe)}};
static const struct pre_group pre_kimi = {{PRE_WORDS(kimi)}};
static const struct pre_group pre_lines = {{PRE_RUN(newlines)}};
static const struct pre_group pre_whitespace = {{PRE_RUN(not_white)}};
static const struct pre_group pre_bloom = {{PRE_RUN(bloom)}};
static const struct pre_group pre_viking = {{PRE_RUN(bloom), PRE_RUN(number)}};
static const struct pre_group pre_superbpe = {{PRE_GROUPS}};

#define PRE_IGNORE_MERGES 1u /* a piece that is a token is taken whole */
#define PRE_ADD_BOS 2u       /* unless the file says otherwise */
#define PRE_NO_BOS 4u        /* the default start token of the algorithm does not hold */
#define PRE_ADD_SEP 8u       /* unless the file says otherwise */
/* Tokens and merges are text as it is, not bytes written as characters. */
#define PRE_RAW 16u
#define PRE_SPACES 32u    /* ... with U+2581 for each space */
#define PRE_FORCE_BOS 64u /* whatever the file says */
#define PRE_LOWER 128u    /* lower case, if tokenizer.ggml.normalizer.lowercase says so */
#define PRE_NO_WHITE 256u /* pieces of white space are dropped */
#define PRE_CLEAN 512u    /* SLM_TEXT_CLEAN has something to do */

struct pretokenizer {
    const char *names; /* values of tokenizer.ggml.pre, with a space between them */
    const struct pre_group *group;
    uint32_t flags;
};

/* A row that is left out has neither names nor a group. */
#define PRE_ROW(names, group, flags)                                                               \
    {                                                                                              \
        PROFILE_PRETOKENIZER(group) ? names : "",                                                  \
            PROFILE_PRETOKENIZER(group) ? &pre_##group : (const struct pre_group *)NULL, flags     \
    }

/* The first row is for files without the key, and for names that are not here. */
static const struct pretokenizer pretokenizers[] = {
    PRE_ROW("default", default, PRE_CLEAN),
    PRE_ROW("llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
            llama3, PRE_IGNORE_MERGES | PRE_ADD_BOS | PRE_CLEAN),
    PRE_ROW("dbrx smaug-bpe", llama3, PRE_CLEAN),
    PRE_ROW("chatglm-bpe glm4", llama3, PRE_NO_BOS | PRE_CLEAN),
    PRE_ROW("minicpm5", minicpm5, PRE_IGNORE_MERGES | PRE_CLEAN),
    PRE_ROW("qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2", qwen2, 0),
    PRE_ROW("megrez stablelm2", qwen2, PRE_CLEAN),
    PRE_ROW("bailingmoe bailingmoe2 llada-moe", qwen2, 0),
    PRE_ROW("ufakzeka", ufakzeka, 0),
    PRE_ROW("qwen35", qwen35, 0),
    PRE_ROW("gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum "
            "modern-bert mpt olmo jais exaone4",
            gpt2, PRE_CLEAN),
    PRE_ROW("jina-v1-en jina-v2-code roberta-bpe", gpt2, PRE_ADD_SEP | PRE_CLEAN),
    PRE_ROW("trillion granite-docling", gpt2, 0),
    PRE_ROW("starcoder refact codeshell exaone minerva-7b mellum2", starcoder, PRE_CLEAN),
    PRE_ROW("smollm command-r", starcoder, 0),
    PRE_ROW("tekken", tekken, PRE_IGNORE_MERGES | PRE_ADD_BOS),
    PRE_ROW("gpt-4o llama4 kanana2 talkie minimax-m2", gpt4o, 0),
    PRE_ROW("granite-embed-multi-97m", gpt4o, PRE_IGNORE_MERGES),
    PRE_ROW("tiny_aya cohere2moe", tiny_aya, 0),
    PRE_ROW("falcon", falcon, PRE_CLEAN),
    PRE_ROW("deepseek-coder", deepseek_coder, 0),
    PRE_ROW("deepseek-v3 hunyuan-dense joyai-llm hy_v4", deepseek3, 0),
    PRE_ROW("spark2_5", spark, 0),
    PRE_ROW("youtu", youtu, PRE_IGNORE_MERGES),
    PRE_ROW("seed-coder", seed_coder, 0),
    PRE_ROW("poro-chat", bloom, 0),
    PRE_ROW("bloom gpt3-finnish", bloom, PRE_CLEAN),
    PRE_ROW("viking", viking, 0),
    PRE_ROW("superbpe", superbpe, 0),
    PRE_ROW("laguna", laguna, 0),
    PRE_ROW("gemma4 granite-embed-multi-311m", lines,
            PRE_RAW | PRE_SPACES | PRE_FORCE_BOS | PRE_CLEAN),
    PRE_ROW("sarvam-moe", lines, PRE_RAW | PRE_SPACES),
    PRE_ROW("whitespace", whitespace, PRE_RAW | PRE_LOWER | PRE_NO_WHITE | PRE_CLEAN),
    PRE_ROW("deepseek-llm", deepseek_llm, 0),
    PRE_ROW("chameleon", chameleon, PRE_ADD_BOS),
    PRE_ROW("kimi-k2", kimi, 0),
    PRE_ROW("jais-2", jais2, PRE_CLEAN),
    PRE_ROW("exaone-moe", exaone_moe, PRE_CLEAN),
    PRE_ROW("afmoe", afmoe, 0),
};

/* The row of a name, NULL if there is none. */
static const struct pretokenizer *pretokenizer_find(struct text name)
{
    for (int32_t i = 0; i < SLM_COUNT(pretokenizers); i++) {
        struct text rest = text_of(pretokenizers[i].names);
        for (struct text word = text_word(&rest); word.n > 0; word = text_word(&rest)) {
            if (text_equal(word, name)) {
                return &pretokenizers[i];
            }
        }
    }
    return NULL;
}

/* ---- Cutting --------------------------------------------------------------------------------- */

/* The piece of a stage that begins at `at`: a match, or all up to the next match. */
static size_t pre_piece_end(const struct pre_stage *stage, const uint8_t *s, size_t at, size_t end)
{
    size_t p = stage->match(stage->rule, s, at, end);
    if (p > at) {
        return p;
    }
    if (stage->find != NULL) {
        return stage->find(s, at, end);
    }
    do {
        p += pre_char_at(s, p, end).size;
    } while (p < end && stage->match(stage->rule, s, p, end) == p);
    return p;
}

/* Where the cutting of a text stands: the end of the current piece of each stage, of which each
 * lies within the one before. ends[0] is the end of the text. */
struct pre_cursor {
    const struct pre_stage *stages;
    int32_t n_stages;
    const uint8_t *s;
    size_t at;
    size_t ends[PRE_STAGES + 1];
};

static void pretokenize_begin(struct pre_cursor *c, const struct pretokenizer *p, struct text text)
{
    memset(c, 0, sizeof *c);
    c->stages = p->group->stages;
    while (c->n_stages < PRE_STAGES && c->stages[c->n_stages].match != NULL) {
        c->n_stages++;
    }
    c->s = (const uint8_t *)text.s;
    c->ends[0] = text.n;
}

/* 1 and the next piece, or 0 at the end. Pieces are never empty; together they are the text. */
static int pretokenize_next(struct pre_cursor *c, struct text *piece)
{
    if (c->at == c->ends[0]) {
        return 0;
    }
    for (int32_t i = 1; i <= c->n_stages; i++) {
        if (c->ends[i] == c->at) {
            c->ends[i] = pre_piece_end(&c->stages[i - 1], c->s, c->at, c->ends[i - 1]);
        }
    }
    piece->s = (const char *)c->s + c->at;
    piece->n = c->ends[c->n_stages] - c->at;
    c->at += piece->n;
    return 1;
}

/* Whether a piece begins with white space. */
static int pre_is_white(struct text piece)
{
    return (pre_char_at((const uint8_t *)piece.s, 0, piece.n).type & UNICODE_WHITE) != 0;
}
