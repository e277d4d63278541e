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

int cli_make_sampler(slm_sampler **sampler, slm_model *model, struct cli_sampling *sampling)
{
    if (!sampling->seed.given) {
        sampling->seed.value = random_seed();
    }
    slm_sampler_stage stages[5];
    memset(stages, 0, sizeof stages);
    for (int i = 0; i < CLI_COUNT(stages); i++) {
        stages[i].struct_size = sizeof stages[i];
    }
    int32_t n = 0;
    if (sampling->repeat < 1 || sampling->repeat > 1) {
        stages[n].kind = SLM_STAGE_PENALTIES;
        stages[n].n = 64;
        stages[n++].repeat = sampling->repeat;
    }
    stages[n].kind = SLM_STAGE_TOP_K;
    stages[n++].n = sampling->top_k;
    stages[n].kind = SLM_STAGE_TOP_P;
    stages[n].n = 1;
    stages[n++].value = sampling->top_p;
    stages[n].kind = SLM_STAGE_MIN_P;
    stages[n].n = 1;
    stages[n++].value = sampling->min_p;
    stages[n].kind = SLM_STAGE_TEMPERATURE;
    stages[n++].value = sampling->temperature;

    slm_sampler_options options;
    slm_error err;
    slm_sampler_options_init(&options, sizeof options);
    options.seed = sampling->seed.value;
    if (slm_sampler_create(sampler, model, stages, n, sizeof stages[0], &options, &err) != SLM_OK) {
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
