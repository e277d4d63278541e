/* sampler_stages.c - what the stages of a chain do to candidates, but for DRY; see sampler.h. */

/* ---- Random numbers: splitmix64 (Steele, Lea, Flood 2014) ------------------------------------ */

static uint64_t sampler_mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Uniform in [0, 1). The state is a counter, so that one word per token is enough to go back. */
static wide_float sampler_uniform(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    const wide_float unit = (wide_float)1 / ((uint64_t)1 << WIDE_BITS);
    return (wide_float)(sampler_mix(*state) >> (64 - WIDE_BITS)) * unit;
}

/* ---- Order ----------------------------------------------------------------------------------- */

#define SAMPLER_KEY_ALWAYS 0x7f800000           /* of +infinity */
#define SAMPLER_KEY_NEVER (-SAMPLER_KEY_ALWAYS) /* of -infinity, and of NaN */
#define SAMPLER_MINUS_INFINITY 0xff800000u      /* the bits of a banned token's logit */
#define SAMPLER_HUGE 3.40282347e+38f            /* FLT_MAX */
#define SAMPLER_LN_2 0.693147181f
#define SAMPLER_LOG2_E 1.44269504f

/* Whole numbers in the order of the floats, -0 like +0. Without branches: the signs of logits are
 * nothing that a CPU could predict. */
static int32_t sampler_key(float logit)
{
    uint32_t bits = f32_to_bits(logit);
    int32_t size = (int32_t)(bits & 0x7fffffffu);
    int32_t sign = (int32_t)(bits >> 31);
    int32_t key = (size ^ -sign) + sign;
    return size > SAMPLER_KEY_ALWAYS ? SAMPLER_KEY_NEVER : key;
}

/* The better candidate has the greater rank; no two tokens have the same. */
static int64_t sampler_rank(const slm_candidate *c)
{
    return (int64_t)sampler_key(c->logit) * ((int64_t)1 << 32) - c->token;
}

static int32_t sampler_best(const slm_candidate *c, int32_t n)
{
    int32_t best = 0;
    int64_t best_rank = sampler_rank(&c[0]);
    for (int32_t i = 1; i < n; i++) {
        int64_t rank = sampler_rank(&c[i]);
        if (rank > best_rank) {
            best_rank = rank;
            best = i;
        }
    }
    return best;
}

/* Restores the heap below i: each candidate above two that are no worse. */
static void sampler_sift(slm_candidate *heap, int32_t n, int32_t i)
{
    slm_candidate moving = heap[i];
    int64_t rank = sampler_rank(&moving);
    while (i <= n / 2 - 1) {
        int32_t child = 2 * i + 1;
        int64_t child_rank = sampler_rank(&heap[child]);
        if (child + 1 < n && sampler_rank(&heap[child + 1]) < child_rank) {
            child++;
            child_rank = sampler_rank(&heap[child]);
        }
        if (child_rank >= rank) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

/* Brings the best k of n to the front, best first; the others follow in no particular order. One
 * pass with a heap of the k best so far, whose root is the one to beat. */
static void sampler_select(slm_candidate *c, int32_t n, int32_t k)
{
    for (int32_t i = k / 2 - 1; i >= 0; i--) {
        sampler_sift(c, k, i);
    }
    int64_t worst = sampler_rank(&c[0]);
    for (int32_t i = k; i < n; i++) {
        if (SLM_UNLIKELY(sampler_rank(&c[i]) > worst)) {
            slm_candidate out = c[0];
            c[0] = c[i];
            c[i] = out;
            sampler_sift(c, k, 0);
            worst = sampler_rank(&c[0]);
        }
    }
    for (int32_t i = k - 1; i > 0; i--) {
        slm_candidate out = c[0];
        c[0] = c[i];
        c[i] = out;
        sampler_sift(c, i, 0);
    }
}

/* exp(logit - max): 1 for the best. When the best is +infinity, only its equals count. */
static float sampler_weight(float logit, float max)
{
    int32_t key = sampler_key(logit);
    if (key <= SAMPLER_KEY_NEVER) {
        return 0;
    }
    if (sampler_key(max) == SAMPLER_KEY_ALWAYS) {
        return key == SAMPLER_KEY_ALWAYS ? 1.0f : 0.0f;
    }
    return math_expf(logit - max);
}

/* Leaves in each probability the candidate's weight; returns their sum. */
static wide_float sampler_weigh(slm_candidate *c, int32_t n, float max)
{
    struct math_total total;
    memset(&total, 0, sizeof total);
    for (int32_t i = 0; i < n; i++) {
        c[i].probability = sampler_weight(c[i].logit, max);
        math_add(&total, (wide_float)c[i].probability);
    }
    return total.value;
}

/* logit - max, for candidates with a weight. */
static float sampler_depth(float logit, float max)
{
    return sampler_key(logit) >= sampler_key(max) ? 0 : logit - max;
}

/* The entropy in nats of candidates that sampler_weigh has weighed. */
static wide_float sampler_entropy(const slm_candidate *c, int32_t n, float max, wide_float sum)
{
    struct math_total total;
    memset(&total, 0, sizeof total);
    for (int32_t i = 0; i < n; i++) {
        if (c[i].probability > 0) {
            math_add(&total,
                     (wide_float)c[i].probability * (wide_float)sampler_depth(c[i].logit, max));
        }
    }
    return math_log(sum) - total.value / sum;
}

/* ---- Stages ---------------------------------------------------------------------------------- */

/* Below this, dividing could overflow two different logits to the same infinity. */
#define SAMPLER_COLDEST 1e-30f

static void sampler_cool(slm_candidate *c, int32_t *n, float t)
{
    if (t < SAMPLER_COLDEST) {
        c[0] = c[sampler_best(c, *n)];
        *n = 1;
        return;
    }
    for (int32_t i = 0; i < *n; i++) {
        c[i].logit /= t;
    }
}

static void sampler_temperature(struct slm_sampler *s, const struct sampler_stage *stage,
                                slm_candidate *c, int32_t *n)
{
    (void)s;
    sampler_cool(c, n, stage->set.value);
}

/* The more evenly probability is spread, the hotter: a temperature from value - range to value +
 * range, by the entropy as a part of the greatest possible. */
static void sampler_dynamic_temperature(struct slm_sampler *s, const struct sampler_stage *stage,
                                        slm_candidate *c, int32_t *n)
{
    (void)s;
    float t = stage->set.value;
    if (stage->set.range > 0) {
        if (*n == 1) {
            return;
        }
        float max = c[sampler_best(c, *n)].logit;
        wide_float sum = sampler_weigh(c, *n, max);
        float coldest = t > stage->set.range ? t - stage->set.range : 0;
        float part = 0;
        if (sum > 0) {
            part = (float)(sampler_entropy(c, *n, max, sum) / math_log((wide_float)*n));
        }
        /* part to the power of exponent, where 0 to the power of 0 is 1 */
        float power = part > 0 ? math_expf(stage->set.exponent * math_logf(part))
                               : (float)(stage->set.exponent <= 0);
        float hottest = t + stage->set.range;
        hottest = f32_is_finite(hottest) ? hottest : SAMPLER_HUGE;
        t = coldest + (hottest - coldest) * power;
    }
    sampler_cool(c, n, t);
}

static void sampler_top_k(struct slm_sampler *s, const struct sampler_stage *stage,
                          slm_candidate *c, int32_t *n)
{
    (void)s;
    if (stage->set.n > 0) {
        int32_t k = min_i32(stage->set.n, *n);
        sampler_select(c, *n, k);
        *n = k;
    }
}

/* Candidates are told apart by how far they lie below the best: buckets of a quarter, e to the
 * power of which is 0.78. The last one is for all that is farther away. */
#define SAMPLER_BUCKETS 256

static int32_t sampler_bucket(float logit, float max)
{
    if (sampler_key(logit) >= sampler_key(max)) {
        return 0;
    }
    float distance = (max - logit) * 4;
    return distance < SAMPLER_BUCKETS - 1 ? (int32_t)distance : SAMPLER_BUCKETS - 1;
}

/* Moves what lies in buckets up to `last` to the front; returns how many that is. */
static int32_t sampler_gather(slm_candidate *c, int32_t n, float max, int32_t last)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        if (sampler_bucket(c[i].logit, max) <= last) {
            slm_candidate out = c[count];
            c[count++] = c[i];
            c[i] = out;
        }
    }
    return count;
}

/* The weight of a candidate; in the typical stage its logit is in its probability. */
static wide_float sampler_weight_of(const slm_candidate *c, float max, int typical)
{
    return (wide_float)sampler_weight(typical ? c->probability : c->logit, max);
}

/* Keeps the shortest row of first candidates, by falling logit, with a probability of at least
 * `share` together (in the typical stage: more than that). How many that takes nobody knows before,
 * so the buckets that hold so much are found first, and only what is in them is sorted. max is the
 * greatest logit that sampler_weight_of meets. */
static void sampler_keep_share(slm_candidate *c, int32_t *n, float share, int32_t min_keep,
                               float max, int typical)
{
    float first = typical ? c[sampler_best(c, *n)].logit : max;
    wide_float bucket[SAMPLER_BUCKETS] = {0};
    struct math_total sum;
    memset(&sum, 0, sizeof sum);
    for (int32_t i = 0; i < *n; i++) {
        wide_float weight = sampler_weight_of(&c[i], max, typical);
        math_add(&sum, weight);
        bucket[sampler_bucket(c[i].logit, first)] += weight;
    }
    wide_float wanted = (wide_float)share * sum.value;
    wide_float running = 0, so_far = 0;
    int32_t done = 0;
    for (int32_t b = 0; done < *n && b < SAMPLER_BUCKETS; b++) {
        so_far += bucket[b];
        if (so_far < wanted && b < SAMPLER_BUCKETS - 1) {
            continue;
        }
        int32_t end = done + sampler_gather(c + done, *n - done, first, b);
        sampler_select(c + done, end - done, end - done);
        for (; done < end; done++) {
            running += sampler_weight_of(&c[done], max, typical);
            int is_enough = typical ? running > wanted : running >= wanted;
            if (is_enough && done + 1 >= min_keep) {
                *n = done + 1;
                return;
            }
        }
    }
}

static void sampler_top_p(struct slm_sampler *s, const struct sampler_stage *stage,
                          slm_candidate *c, int32_t *n)
{
    (void)s;
    if (stage->set.value < 1) {
        float max = c[sampler_best(c, *n)].logit;
        sampler_keep_share(c, n, stage->set.value, stage->set.n, max, 0);
    }
}

/* Those whose surprise, -ln p, is nearest to the expected one, which is the entropy. */
static void sampler_typical(struct slm_sampler *s, const struct sampler_stage *stage,
                            slm_candidate *c, int32_t *n)
{
    (void)s;
    if (stage->set.value >= 1) {
        return;
    }
    float max = c[sampler_best(c, *n)].logit;
    wide_float sum = sampler_weigh(c, *n, max);
    if (sum <= 0) {
        return;
    }
    wide_float expected = sampler_entropy(c, *n, max, sum) - math_log(sum);
    for (int32_t i = 0; i < *n; i++) {
        float logit = c[i].logit;
        wide_float away = (wide_float)sampler_depth(logit, max) + expected;
        c[i].logit = c[i].probability > 0 ? (float)(away > 0 ? -away : away)
                                          : bits_to_f32(SAMPLER_MINUS_INFINITY);
        c[i].probability = logit;
    }
    sampler_keep_share(c, n, stage->set.value, stage->set.n, max, 1);
    for (int32_t i = 0; i < *n; i++) {
        c[i].logit = c[i].probability;
    }
}

/* Keeps what has a key of `least` or more, and at least min_keep candidates. */
static void sampler_keep_from(slm_candidate *c, int32_t *n, int32_t least, int32_t min_keep)
{
    int32_t kept = 0;
    min_keep = min_i32(max_i32(min_keep, 1), *n);
    for (int32_t i = 0; i < *n; i++) {
        kept += sampler_key(c[i].logit) >= least;
    }
    if (kept < min_keep) {
        sampler_select(c, *n, min_keep);
        *n = min_keep;
        return;
    }
    kept = 0;
    for (int32_t i = 0; i < *n; i++) {
        if (sampler_key(c[i].logit) >= least) {
            c[kept++] = c[i];
        }
    }
    *n = kept;
}

/* Those at least `value` times as probable as the best. */
static void sampler_min_p(struct slm_sampler *s, const struct sampler_stage *stage,
                          slm_candidate *c, int32_t *n)
{
    (void)s;
    if (stage->set.value > 0) {
        float max = c[sampler_best(c, *n)].logit;
        sampler_keep_from(c, n, sampler_key(max + math_logf(stage->set.value)), stage->set.n);
    }
}

/* Bans what lies more than `value` standard deviations below the best. The banned stay in the list,
 * as in llama.cpp, where they count in the greatest possible entropy of a dynamic temperature. */
static void sampler_top_n_sigma(struct slm_sampler *s, const struct sampler_stage *stage,
                                slm_candidate *c, int32_t *n)
{
    (void)s;
    struct math_total total, squares;
    int32_t n_finite = 0;
    if (stage->set.value <= 0) {
        return;
    }
    memset(&total, 0, sizeof total);
    memset(&squares, 0, sizeof squares);
    for (int32_t i = 0; i < *n; i++) {
        if (f32_is_finite(c[i].logit)) {
            math_add(&total, (wide_float)c[i].logit);
            n_finite++;
        }
    }
    if (n_finite < 2) {
        return;
    }
    wide_float mean = total.value / (wide_float)n_finite;
    for (int32_t i = 0; i < *n; i++) {
        if (f32_is_finite(c[i].logit)) {
            wide_float away = (wide_float)c[i].logit - mean;
            math_add(&squares, away * away);
        }
    }
    float sigma = (float)math_sqrt(squares.value / (wide_float)n_finite);
    int32_t least = sampler_key(c[sampler_best(c, *n)].logit - stage->set.value * sigma);
    for (int32_t i = 0; i < *n; i++) {
        if (sampler_key(c[i].logit) < least) {
            c[i].logit = bits_to_f32(SAMPLER_MINUS_INFINITY);
        }
    }
}

/* Excludes top choices: with probability `value`, all that have `threshold` or more but the least
 * likely of them. */
static void sampler_xtc(struct slm_sampler *s, const struct sampler_stage *stage, slm_candidate *c,
                        int32_t *n)
{
    if (stage->set.value <= 0 || stage->set.threshold > 0.5f || *n < 2 ||
        sampler_uniform(&s->now.random) > (wide_float)stage->set.value) {
        return;
    }
    wide_float sum = sampler_weigh(c, *n, c[sampler_best(c, *n)].logit);
    wide_float least = (wide_float)stage->set.threshold * sum;
    int64_t last = INT64_MAX; /* the rank of the least likely of the top choices */
    int32_t n_top = 0;
    for (int32_t i = 0; i < *n; i++) {
        if (c[i].probability > 0 && (wide_float)c[i].probability >= least) {
            last = min_i64(last, sampler_rank(&c[i]));
            n_top++;
        }
    }
    if (n_top < 2 || *n - (n_top - 1) < stage->set.n) {
        return;
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < *n; i++) {
        if (sampler_rank(&c[i]) <= last) {
            c[kept++] = c[i];
        }
    }
    *n = kept;
}

static void sampler_penalties(struct slm_sampler *s, const struct sampler_stage *stage,
                              slm_candidate *c, int32_t *n)
{
    int64_t window = min_i64(stage->set.n, s->n_accepted);
    for (int64_t i = s->n_accepted - window; i < s->n_accepted; i++) {
        s->counts[s->tokens[i % s->n_ring]]++;
    }
    for (int32_t i = 0; i < *n && window > 0; i++) {
        int32_t count = s->counts[c[i].token];
        if (count > 0) {
            float logit = c[i].logit;
            logit = logit <= 0 ? logit * stage->set.repeat : logit / stage->set.repeat;
            c[i].logit = logit - ((float)count * stage->set.frequency + stage->set.presence);
        }
    }
    for (int64_t i = s->n_accepted - window; i < s->n_accepted; i++) {
        s->counts[s->tokens[i % s->n_ring]] = 0;
    }
}

static void sampler_logit_bias(struct slm_sampler *s, const struct sampler_stage *stage,
                               slm_candidate *c, int32_t *n)
{
    const slm_logit_bias *biases = s->biases + stage->first_bias; /* [n_biases], tokens differ */
    for (int32_t i = 0; i < stage->set.n_biases; i++) {
        s->counts[biases[i].token] = i + 1;
    }
    for (int32_t i = 0; i < *n; i++) {
        int32_t which = s->counts[c[i].token];
        if (which > 0) {
            c[i].logit += biases[which - 1].bias;
        }
    }
    for (int32_t i = 0; i < stage->set.n_biases; i++) {
        s->counts[biases[i].token] = 0;
    }
}

/* ---- Stages that learn from what was accepted ------------------------------------------------ */

/* Basu et al. 2021: keeps the surprise of text near a target, `value` bits a token. mu, the most
 * that a token may surprise, moves by `rate` times the error. */
static void sampler_mirostat_begin(const struct sampler_stage *stage, float *memory)
{
    memory[0] = 2 * stage->set.value;
}

static void sampler_mirostat_learn(const struct sampler_stage *stage, float *memory, float observed)
{
    float surprise = -math_logf(observed) * SAMPLER_LOG2_E;
    float mu = memory[0] - stage->set.rate * (surprise - stage->set.value);
    memory[0] = f32_is_finite(mu) ? mu : memory[0];
}

/* Version 1 takes the n best for a row of Zipf's law, whose exponent they give, and from that
 * computes how many candidates have the surprise mu together. */
static void sampler_mirostat(struct slm_sampler *s, const struct sampler_stage *stage,
                             slm_candidate *c, int32_t *n)
{
    int32_t m = min_i32(stage->set.n, *n);
    sampler_select(c, *n, m);
    float max = c[0].logit;
    wide_float products = 0, squares = 0;
    for (int32_t i = 0; i + 1 < m && sampler_weight(c[i + 1].logit, max) > 0; i++) {
        wide_float t = math_log((wide_float)(i + 2) / (wide_float)(i + 1));
        wide_float b =
            (wide_float)(sampler_depth(c[i].logit, max) - sampler_depth(c[i + 1].logit, max));
        products += t * b;
        squares += t * t;
    }
    if (!(squares > 0)) {
        *n = 1;
        return;
    }
    wide_float exponent = products / squares;
    exponent = exponent > (wide_float)1e-6f ? exponent : (wide_float)1e-6f; /* 0: all are equal */
    wide_float epsilon = exponent - 1;
    wide_float log_n = math_log((wide_float)max_i32(s->n_vocab, 2));
    /* epsilon / (1 - N^-epsilon), near 0 by its series */
    wide_float scale = 1 / log_n + epsilon / 2;
    if (epsilon > (wide_float)1e-3f || epsilon < (wide_float)-1e-3f) {
        scale = epsilon / (1 - (wide_float)math_expf((float)(-epsilon * log_n)));
    }
    wide_float log_k = (math_log(scale) + (wide_float)(s->now.memory[0] * SAMPLER_LN_2)) / exponent;
    if (log_k < math_log((wide_float)*n)) {
        int32_t k = min_i32(max_i32((int32_t)math_expf((float)log_k), 1), *n);
        sampler_select(c, *n, k);
        *n = k;
    }
}

/* Version 2 keeps what surprises by mu at most. */
static void sampler_mirostat_2(struct slm_sampler *s, const struct sampler_stage *stage,
                               slm_candidate *c, int32_t *n)
{
    (void)stage;
    float max = c[sampler_best(c, *n)].logit;
    wide_float sum = sampler_weigh(c, *n, max);
    if (sum > 0) {
        float below = (float)math_log(sum) - s->now.memory[0] * SAMPLER_LN_2;
        sampler_keep_from(c, n, sampler_key(max + below), 1);
    }
}

/* Adaptive-p: prefers tokens with a probability near a target, which moves so that the average of
 * those chosen (an exponential one: sum and weight are the memory) comes near `value`. */
static void sampler_adaptive_begin(const struct sampler_stage *stage, float *memory)
{
    memory[0] = stage->set.value / (1 - stage->set.decay);
    memory[1] = 1 / (1 - stage->set.decay);
}

static void sampler_adaptive_learn(const struct sampler_stage *stage, float *memory, float observed)
{
    memory[0] = observed + stage->set.decay * memory[0];
    memory[1] = 1 + stage->set.decay * memory[1];
}

static wide_float sampler_adaptive(const struct slm_sampler *s, const struct sampler_stage *stage,
                                   slm_candidate *c, int32_t n, wide_float sum)
{
    const float width = 0.3f, peak = 5, sharpness = 10;
    if (stage->set.value < 0 || sampler_key(c[sampler_best(c, n)].logit) == SAMPLER_KEY_ALWAYS) {
        return sum;
    }
    struct math_total total;
    memset(&total, 0, sizeof total);
    float target = 2 * stage->set.value - s->now.memory[0] / s->now.memory[1];
    target = target < 0 ? 0 : target > 1 ? 1 : target;
    for (int32_t i = 0; i < n; i++) {
        if (sampler_key(c[i].logit) > SAMPLER_KEY_NEVER) {
            float away = ((float)((wide_float)c[i].probability / sum) - target) / width;
            away = away < 0 ? -away : away;
            c[i].probability = math_expf(peak - sharpness * away * away / (1 + away));
            math_add(&total, (wide_float)c[i].probability);
        }
    }
    return total.value;
}
