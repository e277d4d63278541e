/* weights.h - the encodings of random weights, and their bytes. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include "cli.h"
#include "shapes.h"

/* Which layers of n get the better encoding. */
enum when {
    NEVER,
    ALWAYS,
    MORE_BITS,
    FIRST_2,
    FIRST_4,
    FIRST_8TH,
    FIRST_16TH,
    MANY_QUERIES
};

struct rule {
    enum when when;
    const char *then, *otherwise; /* otherwise NULL: the base encoding */
};

struct mix {
    const char *name;
    int32_t file_type;
    const char *base;
    const char *output;               /* the head, also where it is the token embedding */
    const char *qkv;                  /* in one matrix; NULL: the base encoding */
    struct rule v, down, attn_output; /* {0}: the base encoding */
};

extern const struct mix cli_mixes[];
extern const int cli_n_mixes;

const struct mix *mix_find(const char *name);
const char *mix_choose(const struct mix *mix, const struct rule *rule, int32_t layer,
                       const struct shape *shape);

/* Narrow matrices step down until a row is a whole number of blocks; F16 always is. */
int weights_encoding(const char *name, int64_t row, slm_encoding_info *info);

/* n bytes, whole blocks and a multiple of 8, of a matrix with rows of so many elements. */
void weights_fill(uint64_t *random, const slm_encoding_info *e, int64_t row, uint8_t *p, size_t n);

enum content {
    WEIGHTS,
    ONES,
    MINUS_ONES,
    SMALL,
    ROPE_FACTORS,
    ROPE_QUARTER /* divisors that leave a quarter of a head turning */
};

/* n floats, not WEIGHTS */
void vector_fill(uint64_t *random, enum content content, const struct shape *s, uint8_t *p,
                 size_t n);

#endif
