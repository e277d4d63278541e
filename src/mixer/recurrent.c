/* recurrent.c - the recurrent mixers, a line each: how long a state, how much scratch, what runs.
 *
 * A mixer reads c->x, adds what it makes of it to x, works in c->mix and in its part of the thread's
 * scratch, and gets at states through states_open (src/states.c). */

typedef int64_t (*recurrent_size_fn)(const struct hparams *h);
typedef int64_t (*recurrent_part_fn)(const struct slm_model *m);

struct recurrent_mixer {
    recurrent_size_fn state_floats; /* of a layer, for a sequence */
    recurrent_size_fn row_floats;   /* of c->mix, for a token */
    recurrent_part_fn part_bytes;   /* of a thread's scratch; NULL: none */
    void (*run)(struct slm_context *c, const struct layer *l, float *x);
};

#define RECURRENT_ROW(is_in, state, row, part, run)                                                \
    {                                                                                              \
        (is_in) ? state : NULL, (is_in) ? row : NULL, (is_in) ? part : (recurrent_part_fn)NULL,    \
            (is_in) ? run : NULL                                                                   \
    }

/* clang-format off */
static const struct recurrent_mixer recurrent_mixers[RECURRENT_COUNT] = {
    {NULL, NULL, NULL, NULL}, /* RECURRENT_NONE */
    RECURRENT_ROW(PROFILE_SHORT_CONV, shortconv_state_floats, shortconv_row_floats, NULL, shortconv),
    RECURRENT_ROW(PROFILE_MAMBA, mamba_state_floats, mamba_row_floats, NULL, mamba),
    RECURRENT_ROW(PROFILE_MAMBA2, mamba2_state_floats, mamba2_row_floats, NULL, mamba2),
    RECURRENT_ROW(PROFILE_DELTA_NET, delta_state_floats, delta_row_floats, delta_part_bytes, delta_net),
    RECURRENT_ROW(PROFILE_RWKV7, rwkv7_state_floats, rwkv7_row_floats, rwkv7_part_bytes, rwkv7),
};
/* clang-format on */

#undef RECURRENT_ROW

#define STATE_FLOATS_ALIGN 16 /* the state of each layer begins at a line of cache */

/* What a layer wants of the model's sizes. */
static void recurrent_bind(struct slm_model *m, struct layer *l)
{
    const struct recurrent_mixer *mixer = &recurrent_mixers[l->recurrent];
    const struct hparams *h = &m->hparams;
    if (!PROFILE_RECURRENT || l->recurrent == RECURRENT_NONE) {
        return;
    }
    int64_t n = mixer->state_floats(h);
    l->state_at = m->n_state_floats;
    m->n_state_floats += (n + STATE_FLOATS_ALIGN - 1) / STATE_FLOATS_ALIGN * STATE_FLOATS_ALIGN;
    m->n_mix_max = max_i64(m->n_mix_max, mixer->row_floats(h));
    if (mixer->part_bytes != NULL) {
        m->mix_part_bytes = max_i64(m->mix_part_bytes, mixer->part_bytes(m));
    }
}
