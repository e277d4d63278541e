/* sampler.h - what a chain is made of.
 *
 * A stage is one row of sampler_kinds and one of sampler_rules for each field that it reads: adding
 * a sampler is adding rows. Stages are in sampler_stages.c and sampler_dry.c, the chain itself in
 * sampler.c. Formulas are those that llama.cpp's samplers of the same names compute;
 * tests/golden/samplers holds its answers.
 *
 * Traps:
 *   Candidates are compared by sampler_key, a whole number, never by their floats: NaN then counts
 *   as -infinity, equal logits go by token id, and -ffast-math has nothing to reason about.
 *   Stages may produce infinities (a bias) and NaN (inf / inf), so no stage trusts its input.
 *   The counts scratch is all zero between calls: who marks it clears it.
 *   Whatever the stages do, at least one candidate is left. */

/* All that sampling moves and rewind takes back. */
struct sampler_state {
    uint64_t random;
    float memory[2]; /* of the last stage: mirostat's mu; adaptive_p's weighted sum and weight */
    float observed;  /* probability of the token that was drawn last, before any reweighing */
    int32_t drawn;   /* that token; -1: none since the last accept */
};

struct slm_sampler {
    struct memory mem;
    uint64_t bytes;       /* of the one block that all this lies in */
    uint64_t state_bytes; /* of these, what a clone copies: all but the candidates */
    int32_t references;
    int32_t busy;
    struct slm_model *model; /* set and counted by api.c */
    int32_t n_vocab;
    int32_t n_stages;
    uint64_t n_biases;  /* of all stages together */
    uint64_t n_texts;   /* bytes of the breakers of all stages together */
    int32_t has_counts; /* a stage needs the counts scratch */
    int32_t n_ring;     /* capacity of tokens: the longest window and what may be taken back */
    int32_t n_repeats;  /* the longest window of a stage that looks for repeats */
    int32_t n_back;     /* tokens that rewind can take back now */
    int64_t n_accepted; /* token i of the history lies at tokens[i % n_ring] */
    struct sampler_state start; /* as the seed and the stages give it */
    struct sampler_state now;
    struct sampler_stage *stages; /* [n_stages] */
    slm_logit_bias *biases;       /* [n_biases] */
    uint8_t *texts;               /* [n_texts] breakers: a byte with the length, then the text */
    struct sampler_state *states; /* [SLM_REWIND_MAX] the state before accepting token i */
    int32_t *tokens;              /* [n_ring] */
    int32_t *counts;              /* [n_vocab] by token */
    int32_t *repeats;             /* [n_repeats] scratch */
    slm_candidate *candidates;    /* [n_vocab] for sampler_sample */
};

struct sampler_kind;

struct sampler_stage {
    const struct sampler_kind *kind;
    slm_sampler_stage set; /* as the caller gave it; pointers NULL, n_biases after merging */
    uint64_t first_bias;
    uint64_t first_text;
};

#define SAMPLER_NEEDS_COUNTS 1  /* the counts scratch */
#define SAMPLER_NEEDS_HISTORY 2 /* the last n accepted tokens */
#define SAMPLER_NEEDS_REPEATS 4 /* the repeats scratch, of n */

#define SAMPLER_LEFT_OUT 8 /* of this build */

/* Reorders and reweighs c[0..*n-1], lowers *n to no less than 1. */
typedef void (*sampler_apply_fn)(struct slm_sampler *s, const struct sampler_stage *stage,
                                 slm_candidate *c, int32_t *n);
/* Of stages that learn, of which a chain has one at most, its last. begin fills memory; learn moves it
 * when a token is accepted that was drawn with probability `observed`. reweigh turns weights, which are
 * in c[i].probability and have this sum, into others, and returns theirs; it may be NULL. */
struct sampler_learner {
    void (*begin)(const struct sampler_stage *stage, float *memory);
    void (*learn)(const struct sampler_stage *stage, float *memory, float observed);
    wide_float (*reweigh)(const struct slm_sampler *s, const struct sampler_stage *stage,
                          slm_candidate *c, int32_t n, wide_float sum);
};

struct sampler_rule;

struct sampler_kind {
    uint8_t kind;
    uint8_t needs;
    const char *name;
    const struct sampler_rule *rules;      /* the fields it reads */
    sampler_apply_fn apply;                /* may be NULL */
    const struct sampler_learner *learner; /* NULL: it learns nothing */
};
