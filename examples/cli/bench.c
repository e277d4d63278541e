/* bench.c - prefill and decode speed. Random tokens go straight into slm_eval: no sampling, no
 * text.
 *
 * Trap: decode reads every weight once per token, but of an untied token embedding only one row, and
 * of embeddings that layers add themselves. The bandwidth told leaves those matrices out, and the
 * experts that a token does not select. The states of recurrent layers are read and written for every
 * token as well, and told beside the weights. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_usage usage = {
    CLI_BENCH,
    "bench",
    "(-m FILE | --shape NAME [--type NAME]) [options]",
    "Measures prefill (a prompt at once) and decode (token after token) in tokens a second:\n"
    "the mean of the repetitions and the slowest and fastest of them. Tokens of sequences that\n"
    "are decoded together all count. With --shape the weights are random and the speed is that\n"
    "of the real model.\n",
    "  slm bench -m model.gguf -t 2\n"
    "  slm bench --shape llama3.2-1b --type q4_0 -p 512 -n 32 -d 4096 --isa=avx2\n"
    "  slm bench --shape list\n",
};

struct bench {
    slm_model *model;
    slm_context *context;
    const struct cli_settings *s;
    slm_model_info info;
    int32_t n_threads;
    uint64_t decode_bytes; /* weights read for a token */
    uint64_t state_bytes;  /* of states: read once and written once */
    uint64_t random;
    int32_t *tokens; /* [as many as the longest test, or one for each sequence] */
    struct cli_progress progress;
};

struct result {
    double mean, least, most; /* tokens a second */
};

static int32_t random_token(struct bench *b)
{
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int32_t)((b->random >> 33) % (uint64_t)b->info.n_vocab);
}

static int failed(int status, const slm_error *err)
{
    return status == SLM_E_CANCELLED ? cli_fail("interrupted") : cli_fail("%s", err->message);
}

/* ---- The two tests -------------------------------------------------------------------------- */

/* n of b->tokens for each sequence, those of one behind those of the other. */
static int eval(struct bench *b, int32_t n_sequences, int32_t n)
{
    slm_error err;
    slm_eval_options options;
    slm_span spans[BENCH_SEQUENCES_MAX];
    memset(spans, 0, sizeof spans);
    for (int32_t i = 0; i < n_sequences; i++) {
        spans[i].struct_size = sizeof spans[i];
        spans[i].sequence = i;
        spans[i].position = -1;
        spans[i].tokens = b->tokens + i * n;
        spans[i].n_tokens = n;
        spans[i].want = SLM_WANT_LAST;
    }
    slm_eval_options_init(&options, sizeof options);
    options.cancel = cli_interrupt();
    options.progress = n > 1 ? cli_progress_report : NULL;
    options.progress_user = &b->progress;
    int status = slm_eval(b->context, spans, n_sequences, sizeof spans[0], &options, &err);
    return status == SLM_OK ? CLI_GO : failed(status, &err);
}

static int prefill(struct bench *b, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        b->tokens[i] = random_token(b);
    }
    return eval(b, 1, n);
}

static int decode(struct bench *b, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        for (int32_t j = 0; j < b->s->bench_sequences; j++) {
            b->tokens[j] = random_token(b);
        }
        if (eval(b, b->s->bench_sequences, 1) != CLI_GO) {
            return CLI_FAILED;
        }
        cli_progress_report(&b->progress, (uint64_t)i + 1, (uint64_t)n);
    }
    return CLI_GO;
}

static int rewind_all(struct bench *b)
{
    slm_error err;
    int status = SLM_OK;
    for (int32_t i = 0; i < b->s->bench_sequences && status == SLM_OK; i++) {
        status = slm_sequence_rewind(b->context, i, b->s->bench_depth, &err);
    }
    return status == SLM_OK ? CLI_GO : failed(status, &err);
}

/* What every sequence begins with. */
static int fill(struct bench *b)
{
    slm_error err;
    cli_progress_begin(&b->progress, "filling the cache");
    int code = prefill(b, b->s->bench_depth);
    cli_progress_end(&b->progress);
    if (code != CLI_GO) {
        return code;
    }
    int status = slm_sequence_checkpoint(b->context, 0, 0, &err);
    for (int32_t i = 1; i < b->s->bench_sequences && status == SLM_OK; i++) {
        status = slm_sequence_fork(b->context, 0, i, &err);
    }
    return status == SLM_OK ? CLI_GO : failed(status, &err);
}

static int measure(struct bench *b, int (*test)(struct bench *, int32_t), const char *what,
                   int32_t n, int32_t n_sequences, struct result *result)
{
    *result = (struct result){0, 1e300, 0};
    /* Repetition -1 warms up: pages come in, clocks rise. */
    for (int32_t i = -1; i < b->s->bench_repeat; i++) {
        cli_progress_begin(&b->progress, what);
        int64_t begin_ns = slm_clock_ns();
        int code = test(b, n);
        int64_t ns = slm_clock_ns() - begin_ns;
        cli_progress_end(&b->progress);
        if (code != CLI_GO || rewind_all(b) != CLI_GO) {
            return CLI_FAILED;
        }
        if (i < 0) {
            continue;
        }
        double speed = (double)n * n_sequences * 1e9 / (double)(ns > 0 ? ns : 1);
        result->mean += speed / b->s->bench_repeat;
        result->least = speed < result->least ? speed : result->least;
        result->most = speed > result->most ? speed : result->most;
    }
    return CLI_GO;
}

/* ---- What is said --------------------------------------------------------------------------- */

static const char *label(const struct cli_settings *s, char *buffer, size_t size)
{
    const char *slash = s->model != NULL ? strrchr(s->model, '/') : NULL;
    if (s->shape != NULL) {
        snprintf(buffer, size, "%s %s", s->shape, s->type);
    } else {
        snprintf(buffer, size, "%s", slash != NULL ? slash + 1 : s->model);
    }
    return buffer;
}

static void print_head(const struct bench *b)
{
    char name[256], file[CLI_BYTES_SIZE], read[CLI_BYTES_SIZE], states[CLI_BYTES_SIZE];
    label(b->s, name, sizeof name);
    if (b->s->csv) {
        printf("model,file_bytes,isa,threads,kv,exact,depth,test,tokens,repetitions,"
               "tokens_per_second,slowest,fastest,weight_bytes_per_second,"
               "state_bytes_per_second,sequences\n");
        return;
    }
    cli_print_escaped(stdout, name, strlen(name), sizeof name);
    printf(": file of %s, %s of weights read for a token", cli_bytes(b->info.mapped_bytes, file),
           cli_bytes(b->decode_bytes, read));
    if (b->state_bytes > 0) {
        printf(", %s of states read and written", cli_bytes(b->state_bytes, states));
    }
    printf("; %s, %d thread%s, %s cache%s\n", b->info.isa, (int)b->n_threads,
           b->n_threads == 1 ? "" : "s", b->s->kv_type == SLM_KV_F32 ? "f32" : "f16",
           b->s->exact ? ", exact" : "");
}

/* weights, states: bytes read, and read and written, for a token of each sequence; 0 where that says
 * nothing. */
static int print_result(const struct bench *b, const char *test, int32_t n, int32_t n_sequences,
                        const struct result *result, uint64_t weights, uint64_t states)
{
    const struct cli_settings *s = b->s;
    double weight_rate = result->mean / n_sequences * (double)weights;
    double state_rate = result->mean * (double)states;
    if (s->csv) {
        char name[256];
        label(s, name, sizeof name);
        putchar('"');
        for (const char *p = name; *p != 0; p++) {
            printf(*p == '"' ? "\"\"" : "%c", *p);
        }
        printf("\",%llu,%s,%d,%s,%d,%d,%s,%d,%d,%.3f,%.3f,%.3f,%.0f,%.0f,%d\n",
               (unsigned long long)b->info.mapped_bytes, b->info.isa, (int)b->n_threads,
               s->kv_type == SLM_KV_F32 ? "f32" : "f16", s->exact, (int)s->bench_depth, test,
               (int)n, (int)s->bench_repeat, result->mean, result->least, result->most, weight_rate,
               state_rate, (int)n_sequences);
    } else {
        printf("%-8s %6d tokens at depth %-6d %10.2f tokens/s  (%.2f .. %.2f, %d runs)", test,
               (int)n, (int)s->bench_depth, result->mean, result->least, result->most,
               (int)s->bench_repeat);
        if (weights > 0) {
            printf("  %.2f GB/s", (weight_rate + state_rate) / 1e9);
        }
        if (n_sequences > 1) {
            printf(", %d sequences", (int)n_sequences);
        }
        putchar('\n');
    }
    fflush(stdout);
    return ferror(stdout) ? cli_finish() : CLI_GO;
}

/* ---- Setup ---------------------------------------------------------------------------------- */

/* The integer of a key "<family>.name", or 0. */
static int64_t family_key(const struct bench *b, const char *name)
{
    slm_error err;
    slm_metadata value;
    int32_t index = -1;
    char key[96];
    memset(&value, 0, sizeof value);
    value.struct_size = sizeof value;
    snprintf(key, sizeof key, "%s.%s", b->info.family, name);
    if (slm_model_metadata_find(b->model, key, strlen(key), &index, &err) != SLM_OK || index < 0 ||
        slm_model_metadata(b->model, index, 0, &value, &err) != SLM_OK) {
        return 0;
    }
    return value.integer;
}

/* A token reads some of a stack of experts only. */
static int is_of_experts(const slm_tensor_info *t)
{
    static const char mark[] = "_exps.weight";
    size_t n = sizeof mark - 1;
    return t->name_size >= n && memcmp(t->name + t->name_size - n, mark, n) == 0;
}

/* K and V of a layer that takes those of an earlier one. */
static int is_idle(const slm_tensor_info *t, int64_t n_own)
{
    static const char *const names[] = {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"};
    char text[64];
    char *rest;
    memcpy(text, t->name, t->name_size);
    text[t->name_size] = 0;
    if (strncmp(text, "blk.", 4) != 0 || strtol(text + 4, &rest, 10) < n_own || *rest != '.') {
        return 0;
    }
    for (int i = 0; i < CLI_COUNT(names); i++) {
        if (strcmp(rest + 1, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Bytes of a tensor that a token does not read. */
static uint64_t unread_bytes(const struct bench *b, const slm_tensor_info *t)
{
    static const char per_layer[] = "per_layer_token_embd.weight";
    int64_t n_expert = family_key(b, "expert_count");
    int64_t n_used = family_key(b, "expert_used_count");
    int64_t n_shared = family_key(b, "attention.shared_kv_layers");
    if (t->name_size == sizeof per_layer - 1 && memcmp(t->name, per_layer, t->name_size) == 0) {
        return t->size;
    }
    if (n_shared > 0 && is_idle(t, b->info.n_layer - n_shared)) {
        return t->size;
    }
    if (is_of_experts(t) && n_expert > 0 && n_used > 0 && n_used < n_expert) {
        return t->size / (uint64_t)n_expert * (uint64_t)(n_expert - n_used);
    }
    return 0;
}

static int count_bytes(struct bench *b)
{
    slm_error err;
    uint64_t embedding = 0;
    int tied = 1;
    b->decode_bytes = b->info.weight_bytes;
    for (int32_t i = 0; i < b->info.n_tensors; i++) {
        slm_tensor_info tensor;
        memset(&tensor, 0, sizeof tensor);
        tensor.struct_size = sizeof tensor;
        if (slm_model_tensor(b->model, i, &tensor, &err) != SLM_OK) {
            return cli_fail("%s", err.message);
        }
        if (tensor.name_size == 17 && memcmp(tensor.name, "token_embd.weight", 17) == 0) {
            embedding = tensor.size;
        }
        tied &= !(tensor.name_size == 13 && memcmp(tensor.name, "output.weight", 13) == 0);
        b->decode_bytes -= unread_bytes(b, &tensor);
    }
    b->decode_bytes -= tied ? 0 : embedding;
    return CLI_GO;
}

/* Of the two states of a sequence a token reads one and writes the other. */
static int count_states(struct bench *b)
{
    slm_error err;
    slm_context_options options;
    slm_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.struct_size = sizeof plan;
    slm_context_options_init(&options, sizeof options);
    options.n_ctx = 1;
    if (slm_plan_memory(b->model, &options, &plan, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    b->state_bytes = plan.state_bytes;
    return CLI_GO;
}

static int setup(struct bench *b)
{
    const struct cli_settings *s = b->s;
    slm_error err;
    slm_context_options options;
    slm_context_info context;
    int32_t longest = s->bench_prefill > s->bench_decode ? s->bench_prefill : s->bench_decode;
    int32_t n_tokens = longest > s->bench_depth ? longest : s->bench_depth;
    n_tokens = n_tokens > s->bench_sequences ? n_tokens : s->bench_sequences;
    b->info.struct_size = sizeof b->info;
    memset(&context, 0, sizeof context);
    context.struct_size = sizeof context;
    slm_context_options_init(&options, sizeof options);
    options.n_ctx = s->bench_depth + longest;
    options.n_sequences = s->bench_sequences;
    options.n_checkpoints = 1; /* recurrent models go back to nothing else */
    options.n_threads = s->n_threads;
    options.kv_type = s->kv_type;
    options.flags = s->exact ? SLM_CONTEXT_EXACT : 0;
    if (slm_model_get_info(b->model, &b->info, &err) != SLM_OK ||
        slm_context_create(&b->context, b->model, &options, &err) != SLM_OK ||
        slm_context_get_info(b->context, &context, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    b->n_threads = context.n_threads;
    b->random = 1;
    b->tokens = malloc((size_t)n_tokens * sizeof *b->tokens);
    if (b->tokens == NULL) {
        return cli_fail("no memory for %d tokens", (int)n_tokens);
    }
    int code = count_states(b);
    return code == CLI_GO ? count_bytes(b) : code;
}

static int measure_all(struct bench *b)
{
    const struct cli_settings *s = b->s;
    struct result result;
    print_head(b);
    fflush(stdout);
    if (s->bench_depth > 0 && fill(b) != CLI_GO) {
        return CLI_FAILED;
    }
    if (s->bench_prefill > 0) {
        if (measure(b, prefill, "prefill", s->bench_prefill, 1, &result) != CLI_GO ||
            print_result(b, "prefill", s->bench_prefill, 1, &result, 0, 0) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    if (s->bench_decode > 0) {
        int32_t n = s->bench_sequences;
        if (measure(b, decode, "decode", s->bench_decode, n, &result) != CLI_GO ||
            print_result(b, "decode", s->bench_decode, n, &result, b->decode_bytes,
                         b->state_bytes) != CLI_GO) {
            return CLI_FAILED;
        }
    }
    return cli_finish();
}

static int check_settings(const struct cli_settings *s)
{
    if (s->shape != NULL && strcmp(s->shape, "list") == 0) {
        printf("shapes: %s\ntypes: %s\n", cli_synth_shapes(), cli_synth_types());
        return cli_finish();
    }
    if ((s->model == NULL) == (s->shape == NULL)) {
        cli_say("bench takes one of -m FILE and --shape NAME; slm bench --help says more");
        return CLI_USAGE;
    }
    if (s->model != NULL && s->type != NULL) {
        return cli_not_both(&usage, "-m", "--type");
    }
    if (s->bench_prefill == 0 && s->bench_decode == 0) {
        cli_say("-p 0 -n 0 leaves nothing to measure");
        return CLI_USAGE;
    }
    return CLI_GO;
}

int cli_bench(int argc, char **argv)
{
    struct cli_settings s;
    struct bench b;
    char *path = NULL;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code == CLI_GO) {
        code = check_settings(&s);
    }
    if (code != CLI_GO) {
        return code;
    }
    s.type = s.type != NULL ? s.type : "q4_k_m";
    memset(&b, 0, sizeof b);
    b.s = &s;
    cli_catch_interrupt(1);
    if (s.shape != NULL) {
        code = cli_synth(s.shape, s.type, &path);
    }
    if (code == CLI_GO) {
        code = cli_open_model(&b.model, path != NULL ? path : s.model, 0, &s);
    }
    if (code == CLI_GO) {
        code = setup(&b);
    }
    if (code == CLI_GO) {
        code = measure_all(&b);
    }
    free(b.tokens);
    free(path);
    slm_context_free(b.context);
    slm_model_free(b.model);
    return code;
}
