/* setup.c - what comes before the work: Ctrl-C, the model, the sampler, tokens. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- Ctrl-C --------------------------------------------------------------------------------- */

/* The one mutable global: a signal handler has no other way. slm polls it between layers. */
static int32_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    __atomic_store_n(&interrupted, 1, __ATOMIC_RELAXED);
}

void cli_catch_interrupt(int once)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigemptyset(&action.sa_mask);
    /* Without SA_RESTART: reading a line must end, too. */
    action.sa_flags = once ? (int)SA_RESETHAND : 0;
    sigaction(SIGINT, &action, NULL);
}

int32_t *cli_interrupt(void)
{
    return &interrupted;
}

void cli_hold_interrupt(sigset_t *before)
{
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, before);
}

/* ---- Model ---------------------------------------------------------------------------------- */

static void on_log(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level >= SLM_LOG_WARN) {
        cli_say("warning: %s", message);
    }
}

int cli_open_model(slm_model **model, const char *path, uint32_t flags,
                   const struct cli_settings *s)
{
    slm_model_options options;
    slm_error err;
    struct cli_progress progress;
    slm_model_options_init(&options, sizeof options);
    options.flags = flags | (s->surplus ? SLM_LOAD_SURPLUS : 0);
    options.cpu = s->cpu;
    options.log = on_log;
    options.progress = cli_progress_report;
    options.progress_user = &progress;
    options.cancel = cli_interrupt();

    cli_progress_begin(&progress, "loading");
    int status = slm_model_open(model, path, &options, &err);
    cli_progress_end(&progress);
    if (status == SLM_E_CANCELLED) {
        return cli_fail("interrupted");
    }
    /* Errors of the file system name the path already; those of the contents don't. */
    if (status != SLM_OK && strstr(err.message, path) != NULL) {
        return cli_fail("%s", err.message);
    }
    return status == SLM_OK ? CLI_GO : cli_fail("%s: %s", path, err.message);
}

/* ---- Sampler -------------------------------------------------------------------------------- */

/* Different from run to run; nothing here needs to be hard to guess. */
static uint64_t random_seed(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t x =
        (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec << 20 ^ (uint64_t)getpid();
    x ^= x >> 31;
    x *= UINT64_C(0x9E3779B97F4A7C15);
    return x >> 32; /* short enough to type again */
}

struct chain {
    slm_sampler_stage stages[12];
    int32_t n;
};

static slm_sampler_stage *add_stage(struct chain *chain, int32_t kind, int32_t n, float value)
{
    slm_sampler_stage *stage = &chain->stages[chain->n++];
    memset(stage, 0, sizeof *stage);
    stage->struct_size = sizeof *stage;
    stage->kind = kind;
    stage->n = n;
    stage->value = value;
    return stage;
}

static void add_repeats(struct chain *chain, const struct cli_sampling *s)
{
    static const char *const breakers[4] = {"\n", ":", "\"", "*"};
    if (s->repeat < 1 || s->repeat > 1) {
        add_stage(chain, SLM_STAGE_PENALTIES, 64, 0)->repeat = s->repeat;
    }
    if (s->dry_multiplier > 0) {
        slm_sampler_stage *dry = add_stage(chain, SLM_STAGE_DRY, s->dry_window, s->dry_multiplier);
        dry->base = s->dry_base;
        dry->allowed = s->dry_allowed;
        dry->breakers = breakers;
        dry->n_breakers = CLI_COUNT(breakers);
    }
}

static void add_truncations(struct chain *chain, const struct cli_sampling *s)
{
    if (s->top_n_sigma > 0) {
        add_stage(chain, SLM_STAGE_TOP_N_SIGMA, 0, s->top_n_sigma);
    }
    add_stage(chain, SLM_STAGE_TOP_K, s->top_k, 0);
    if (s->typical < 1) {
        add_stage(chain, SLM_STAGE_TYPICAL, 1, s->typical);
    }
    add_stage(chain, SLM_STAGE_TOP_P, 1, s->top_p);
    add_stage(chain, SLM_STAGE_MIN_P, 1, s->min_p);
    if (s->xtc_probability > 0) {
        add_stage(chain, SLM_STAGE_XTC, 1, s->xtc_probability)->threshold = s->xtc_threshold;
    }
}

static void add_temperature(struct chain *chain, const struct cli_sampling *s)
{
    if (s->dynatemp_range > 0) {
        slm_sampler_stage *stage =
            add_stage(chain, SLM_STAGE_DYNAMIC_TEMPERATURE, 0, s->temperature);
        stage->range = s->dynatemp_range;
        stage->exponent = s->dynatemp_exponent;
    } else {
        add_stage(chain, SLM_STAGE_TEMPERATURE, 0, s->temperature);
    }
}

/* The order in which llama.cpp has them. */
static void make_chain(struct chain *chain, const struct cli_sampling *s)
{
    chain->n = 0;
    if (s->mirostat > 0) {
        add_temperature(chain, s);
        add_stage(chain, s->mirostat == 1 ? SLM_STAGE_MIROSTAT : SLM_STAGE_MIROSTAT_2,
                  s->mirostat == 1 ? 100 : 0, s->mirostat_tau)
            ->rate = s->mirostat_rate;
        return;
    }
    add_repeats(chain, s);
    add_truncations(chain, s);
    add_temperature(chain, s);
    if (s->adaptive_target >= 0) {
        add_stage(chain, SLM_STAGE_ADAPTIVE_P, 0, s->adaptive_target)->decay = s->adaptive_decay;
    }
}

int cli_make_sampler(slm_sampler **sampler, slm_model *model, struct cli_sampling *sampling)
{
    struct chain chain;
    slm_sampler_options options;
    slm_error err;
    if (!sampling->seed.given) {
        sampling->seed.value = random_seed();
    }
    make_chain(&chain, sampling);
    slm_sampler_options_init(&options, sizeof options);
    options.seed = sampling->seed.value;
    if (slm_sampler_create(sampler, model, chain.stages, chain.n, sizeof chain.stages[0], &options,
                           &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    return CLI_GO;
}

/* ---- Tokens --------------------------------------------------------------------------------- */

static int reserve(struct cli_tokens *tokens, size_t n)
{
    if (n <= tokens->capacity) {
        return CLI_GO;
    }
    size_t capacity = n + n / 2 + 64;
    int32_t *grown = realloc(tokens->data, capacity * sizeof *grown);
    if (grown == NULL) {
        return cli_fail("no memory for %zu tokens", n);
    }
    tokens->data = grown;
    tokens->capacity = capacity;
    return CLI_GO;
}

int cli_push_token(struct cli_tokens *tokens, int32_t token)
{
    if (reserve(tokens, tokens->n + 1) != CLI_GO) {
        return CLI_FAILED;
    }
    tokens->data[tokens->n++] = token;
    return CLI_GO;
}

int cli_tokenize(const slm_model *model, const char *text, size_t size, uint32_t flags,
                 struct cli_tokens *tokens)
{
    slm_error err;
    size_t needed = size / 3 + 8; /* a guess; a second try knows */
    int status = SLM_E_SPACE;
    for (int i = 0; i < 2 && status == SLM_E_SPACE; i++) {
        if (reserve(tokens, tokens->n + needed) != CLI_GO) {
            return CLI_FAILED;
        }
        status = slm_tokenize(model, text, size, flags, tokens->data + tokens->n,
                              tokens->capacity - tokens->n, &needed, &err);
    }
    if (status != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    tokens->n += needed;
    return CLI_GO;
}

int cli_tokenize_prompt(const slm_model *model, const slm_chat_prompt *prompt,
                        struct cli_tokens *tokens)
{
    slm_chat_prompt_info info;
    slm_error err;
    size_t needed = 0;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    int status = slm_chat_prompt_get_info(prompt, &info, &err);
    for (int i = 0; i < 2 && status == SLM_OK; i++) { /* the second time there is room */
        if (reserve(tokens, tokens->n + needed) != CLI_GO) {
            return CLI_FAILED;
        }
        status = slm_tokenize_segments(model, info.segments, info.n_segments, info.segment_size,
                                       SLM_TEXT_BOS, i == 0 ? NULL : tokens->data + tokens->n,
                                       needed, &needed, &err);
    }
    if (status != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    tokens->n += needed;
    return CLI_GO;
}

int cli_parse_tokens(const char *what, const char *text, size_t size, struct cli_tokens *tokens)
{
    size_t i = 0;
    for (;;) {
        while (i < size && (strchr(" \t\r\n,", text[i]) != NULL && text[i] != 0)) {
            i++;
        }
        if (i == size) {
            return CLI_GO;
        }
        size_t begin = i;
        int64_t n = 0;
        while (i < size && text[i] >= '0' && text[i] <= '9' && n <= INT32_MAX) {
            n = n * 10 + (text[i++] - '0');
        }
        if (i == begin || n > INT32_MAX ||
            (i < size && (strchr(" \t\r\n,", text[i]) == NULL || text[i] == 0))) {
            size_t left = size - begin;
            return cli_fail("%s: no token id at byte %zu: '%.*s'", what, begin,
                            (int)(left < 16 ? left : 16), text + begin);
        }
        if (cli_push_token(tokens, (int32_t)n) != CLI_GO) {
            return CLI_FAILED;
        }
    }
}
