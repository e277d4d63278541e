/* unicode.c - UTF-8, the class of a code point, its lower case and what it is made of.
 *
 * Owns the tables of unicode.inc (Unicode 15.1, written by tests/unicode_gen.py). The classes are
 * those that pre-tokenizers ask for; each is one bit, so that a set of classes is a mask. White
 * space is the property White_Space and overrides the category. Unassigned code points are in no
 * class. */

#define UNICODE_UPPER 1u   /* Lu, Lt */
#define UNICODE_LOWER 2u   /* Ll */
#define UNICODE_UNCASED 4u /* Lm, Lo */
#define UNICODE_LETTER 7u
#define UNICODE_ACCENT 8u  /* Mn */
#define UNICODE_NUMBER 16u /* Nd, Nl, No */
#define UNICODE_PUNCT 32u  /* Pc, Pd, Ps, Pe, Pi, Pf, Po */
#define UNICODE_SYMBOL 64u /* Sm, Sc, Sk, So */
#define UNICODE_WHITE 128u
#define UNICODE_MARK (UNICODE_ACCENT | 256u) /* Mn; Mc, Me */
#define UNICODE_CONTROL 512u                 /* Cc, Cf, Co, Cs */

#define UNICODE_BAD 0xFFFDu /* the replacement character */

struct unicode_range {
    uint32_t first;
    uint32_t last;
    uint8_t code;
};

/* Letters first, first + step, ... last get another case by adding delta. In order. */
struct unicode_case_range {
    uint32_t first;
    uint32_t last;
    uint32_t step;
    int32_t delta;
};

/* A canonical decomposition, one step of it; second is 0 or stands alone. In order of point. */
struct unicode_parts {
    uint32_t point;
    uint32_t first;
    uint32_t second;
};

#include "unicode.inc"

/* The code of a point below UNICODE_TABLE_LIMIT, from the table of SLM_SMALL: a quarter of the other's
 * bytes, and a walk along the runs of a block. */
static unsigned unicode_code_small(uint32_t point)
{
    const uint8_t *run = unicode_runs + unicode_run_at[point / UNICODE_RUN_BLOCK];
    uint32_t left = point % UNICODE_RUN_BLOCK;
    for (;;) {
        unsigned code = (unsigned)*run >> 4;
        uint32_t n = (*run++ & 15u) + 1;
        n += n == 16 ? *run++ : 0u;
        if (left < n) {
            return code < UNICODE_CASED ? code : 1 + (code - UNICODE_CASED + left) % 2;
        }
        left -= n;
    }
}

/* The class bit of a code point, or 0. */
static unsigned unicode_class(uint32_t point)
{
    unsigned code = 0;
    if (PROFILE_SMALL && point < UNICODE_TABLE_LIMIT) {
        code = unicode_code_small(point);
    } else if (point < UNICODE_TABLE_LIMIT) {
        uint32_t at =
            unicode_block[point / UNICODE_BLOCK] * (uint32_t)UNICODE_BLOCK + point % UNICODE_BLOCK;
        code = (unsigned)unicode_codes[at / 2] >> (at % 2 * 4) & 15;
    } else {
        for (int32_t i = 0; i < SLM_COUNT(unicode_ranges); i++) {
            if (point >= unicode_ranges[i].first && point <= unicode_ranges[i].last) {
                code = unicode_ranges[i].code;
                break;
            }
        }
    }
    return (1u << code) >> 1;
}

/* The same below 128: the first block of the table is the first of the codes. */
static unsigned unicode_class_ascii(uint8_t point)
{
    return PROFILE_SMALL ? unicode_class(point)
                         : (1u << (unicode_codes[point / 2] >> (point % 2 * 4) & 15)) >> 1;
}

/* What is added to a code point, modulo 2^32; 0 if no range has it. */
static uint32_t unicode_case_delta(const struct unicode_case_range *ranges, int32_t n,
                                   uint32_t point)
{
    int32_t low = 0;
    int32_t high = n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (ranges[middle].last < point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == n || point < ranges[low].first ||
        (point - ranges[low].first) % ranges[low].step != 0) {
        return 0;
    }
    return (uint32_t)ranges[low].delta;
}

/* The simple lower case of a code point, or itself. */
static uint32_t unicode_lower(uint32_t point)
{
    if (point < 0x80) {
        return point >= 'A' && point <= 'Z' ? point | 0x20 : point;
    }
    return point + unicode_case_delta(unicode_lower_ranges, SLM_COUNT(unicode_lower_ranges), point);
}

#define UNICODE_PARTS_MAX 4 /* characters of a full canonical decomposition */

/* Writes the full canonical decomposition of a code point; itself if it has none. Returns how many.
 * Not the canonical order of marks that follow each other. */
static int unicode_decompose(uint32_t point, uint32_t out[UNICODE_PARTS_MAX])
{
    uint32_t behind[UNICODE_PARTS_MAX];
    int n_behind = 0;
    int n = 0;
    if (point >= 0xac00 && point <= 0xd7a3) { /* Hangul: by arithmetic */
        uint32_t tail = (point - 0xac00) % 28;
        out[0] = 0x1100 + (point - 0xac00) / 588;
        out[1] = 0x1161 + (point - 0xac00) / 28 % 21;
        out[2] = 0x11a7 + tail;
        return tail > 0 ? 3 : 2;
    }
    for (int more = point >= 0xc0; more;) {
        int32_t low = 0;
        int32_t high = SLM_COUNT(unicode_decompositions);
        while (low < high) {
            int32_t middle = low + (high - low) / 2;
            if (unicode_decompositions[middle].point < point) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        more = low < SLM_COUNT(unicode_decompositions) &&
               unicode_decompositions[low].point == point && n_behind < UNICODE_PARTS_MAX - 1;
        if (more) {
            point = unicode_decompositions[low].first;
            behind[n_behind] = unicode_decompositions[low].second;
            n_behind += behind[n_behind] != 0;
        }
    }
    out[n++] = point;
    while (n_behind > 0) {
        out[n++] = behind[--n_behind];
    }
    return n;
}

/* How many of the n >= 1 bytes at s belong together: a whole character (*point is its code point),
 * or bytes that can begin none. These are told apart by *missing: the bytes that a character still
 * needs when the text ends within it, 0 for a whole one, -1 for bytes that are wrong (the maximal
 * subpart of Unicode chapter 3: what one U+FFFD stands for). Overlong forms, surrogates and code
 * points above 10FFFF are wrong at their second byte. */
static size_t unicode_scan(const uint8_t *s, size_t n, uint32_t *point, int *missing)
{
    unsigned lead = s[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    *point = UNICODE_BAD;
    *missing = -1;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4) {
        return 1;
    }
    uint32_t value = length == 1 ? lead : lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (i == n) {
            *missing = (int)(length - n);
            return n;
        }
        if (s[i] < low || s[i] > high) {
            return i;
        }
        value = value << 6 | (s[i] & 0x3fu);
        low = 0x80;
        high = 0xbf;
    }
    *point = value;
    *missing = 0;
    return length;
}

/* The code point at s and its length in bytes. Every byte that is not part of a whole character is
 * U+FFFD by itself. */
static uint32_t unicode_decode(const uint8_t *s, size_t n, size_t *length)
{
    uint32_t point = 0;
    int missing = 0;
    *length = 1;
    if (s[0] < 0x80) {
        return s[0];
    }
    size_t scanned = unicode_scan(s, n, &point, &missing);
    if (missing == 0) {
        *length = scanned;
    }
    return point;
}

/* Writes a code point up to 10FFFF as UTF-8: 1 to 4 bytes. */
static size_t unicode_encode(uint32_t point, uint8_t *out)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (uint8_t)((0xf00u >> n) | point);
    return n;
}
