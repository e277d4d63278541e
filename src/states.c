/* states.c - the states of recurrent layers: what a sequence remembers beside keys and values.
 *
 * A state is that of all recurrent layers of a model after some number of positions. A sequence owns
 * two: `current` belongs to its length, `next` is what a batch writes; eval_commit swaps them, so a
 * batch that failed was never there. At length 0 the current state is all zeros, whatever its floats
 * are (states_open), and nothing needs clearing. A state cannot be taken back: checkpoints are copies
 * to return to. */

struct states {
    float *data;      /* [2 * n_sequences + n_sequences * n_checkpoints][n_floats] */
    int64_t n_floats; /* 0: the model has no recurrent layers, and none of this exists */
    int32_t n_sequences;
    int32_t n_checkpoints;
    int32_t *current;   /* [n_sequences] which of data */
    int32_t *next;      /* [n_sequences] */
    int32_t *positions; /* [n_sequences][n_checkpoints] the length each belongs to; -1: none */
};

#define STATES_NONE -1
#define STATES_FAR_FLOATS 262144 /* shorter ones may belong to a model that a cache holds */

static void states_layout(struct states *s, struct arena *a)
{
    uint64_t n = s->n_floats > 0 ? (uint64_t)s->n_sequences : 0;
    uint64_t n_checkpoints = n * (uint64_t)s->n_checkpoints;
    s->current = (int32_t *)arena_take(a, n, sizeof(int32_t));
    s->next = (int32_t *)arena_take(a, n, sizeof(int32_t));
    s->positions = (int32_t *)arena_take(a, n_checkpoints, sizeof(int32_t));
    s->data = (float *)arena_take(a, 2 * n + n_checkpoints, (uint64_t)s->n_floats * sizeof(float));
    if (a->base == NULL || a->overflow) {
        return;
    }
    for (int32_t i = 0; i < (int32_t)n; i++) {
        s->current[i] = i;
        s->next[i] = (int32_t)n + i;
    }
    for (uint64_t i = 0; i < n_checkpoints; i++) {
        s->positions[i] = STATES_NONE;
    }
}

/* A constant where no family has any. */
static int states_exist(const struct states *s)
{
    return PROFILE_RECURRENT && s->n_floats > 0;
}

static float *states_at(const struct states *s, int64_t index)
{
    return s->data + index * s->n_floats;
}

static float *states_of_checkpoint(const struct states *s, int32_t sequence, int32_t i)
{
    return states_at(s, 2 * (int64_t)s->n_sequences + (int64_t)sequence * s->n_checkpoints + i);
}

static void states_copy(const struct states *s, float *to, const float *from)
{
    memcpy(to, from, (size_t)s->n_floats * sizeof(float));
}

/* The batch counts. */
static void states_commit(struct states *s, int32_t sequence)
{
    if (states_exist(s)) {
        int32_t old = s->current[sequence];
        s->current[sequence] = s->next[sequence];
        s->next[sequence] = old;
    }
}

/* Remembers the state, which belongs to `length`, in place i of the sequence's checkpoints. */
static void states_checkpoint(struct states *s, int32_t sequence, int32_t i, int32_t length)
{
    if (states_exist(s)) {
        states_copy(s, states_of_checkpoint(s, sequence, i), states_at(s, s->current[sequence]));
        s->positions[(int64_t)sequence * s->n_checkpoints + i] = length;
    }
}

/* The checkpoint that belongs to `length`, or STATES_NONE. */
static int32_t states_find(const struct states *s, int32_t sequence, int32_t length)
{
    const int32_t *positions = s->positions + (int64_t)sequence * s->n_checkpoints;
    for (int32_t i = 0; i < s->n_checkpoints; i++) {
        if (positions[i] == length) {
            return i;
        }
    }
    return STATES_NONE;
}

/* Can a sequence of length `now` go back to `length`? */
static int states_can_rewind(const struct states *s, int32_t sequence, int32_t now, int32_t length)
{
    return !states_exist(s) || length == 0 || length == now ||
           states_find(s, sequence, length) != STATES_NONE;
}

/* Only after states_can_rewind said yes. Checkpoints behind `length` are of a past that never was. */
static void states_rewind(struct states *s, int32_t sequence, int32_t now, int32_t length)
{
    if (!states_exist(s)) {
        return;
    }
    if (length != now && length != 0) {
        states_copy(s, states_at(s, s->current[sequence]),
                    states_of_checkpoint(s, sequence, states_find(s, sequence, length)));
    }
    int32_t *positions = s->positions + (int64_t)sequence * s->n_checkpoints;
    for (int32_t i = 0; i < s->n_checkpoints; i++) {
        positions[i] = positions[i] > length ? STATES_NONE : positions[i];
    }
}

/* `to` becomes a copy of `from`, with its checkpoints. */
static void states_fork(struct states *s, int32_t from, int32_t to)
{
    if (!states_exist(s) || from == to) {
        return;
    }
    states_copy(s, states_at(s, s->current[to]), states_at(s, s->current[from]));
    for (int32_t i = 0; i < s->n_checkpoints; i++) {
        int32_t position = s->positions[(int64_t)from * s->n_checkpoints + i];
        s->positions[(int64_t)to * s->n_checkpoints + i] = position;
        if (position != STATES_NONE) {
            states_copy(s, states_of_checkpoint(s, to, i), states_of_checkpoint(s, from, i));
        }
    }
}

/* n floats of the state a batch leaves, from `at`, holding what the sequence's state has there now
 * (zeros if its length is 0): to be worked on in place. Once in a batch for each part of a state. */
static float *states_open(const struct states *s, int32_t sequence, int32_t length, int64_t at,
                          int64_t n)
{
    float *to = states_at(s, s->next[sequence]) + at;
    if (length > 0) {
        memcpy(to, states_at(s, s->current[sequence]) + at, (size_t)n * sizeof(float));
    } else {
        memset(to, 0, (size_t)n * sizeof(float));
    }
    return to;
}

/* The same without the copy: all n floats are to be written, from those at *from. */
static float *states_replace(const struct states *s, int32_t sequence, int32_t length, int64_t at,
                             int64_t n, const float **from)
{
    float *to = states_at(s, s->next[sequence]) + at;
    *from = states_at(s, s->current[sequence]) + at;
    if (length == 0) {
        memset(to, 0, (size_t)n * sizeof(float));
        *from = to;
    }
    return to;
}

/* Has a state left all caches before the next token reads it? What is read of a model meanwhile is
 * many times as long. */
static int32_t states_are_far(const struct states *s)
{
    return s->n_floats >= STATES_FAR_FLOATS;
}
