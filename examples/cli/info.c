/* info.c - what a file is. Reads metadata and the tensor table, no weights. Every text in it comes
 * from a stranger and is escaped. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_usage usage = {
    CLI_INFO,
    "info",
    "-m FILE [--metadata] [--tensors]",
    "Says what a file is: the model, its encodings, its vocabulary, which instructions of this\n"
    "CPU would be used, and the memory it takes to run it at several lengths of context.\n"
    "No weights are read, so that it is quick for the largest file.\n",
    "  slm info -m model.gguf\n"
    "  slm info -m model.gguf --metadata | less\n",
};

#define TEXT_LIMIT 200 /* bytes of a text value shown */
#define ARRAY_LIMIT 8  /* elements of an array shown */
#define ELEMENT_LIMIT 40

static void print_text(const char *label, const char *text)
{
    printf("%-12s ", label);
    cli_print_escaped(stdout, text, strlen(text), TEXT_LIMIT);
    putchar('\n');
}

/* ---- The model ------------------------------------------------------------------------------ */

static const char *decimal(uint64_t n, char *buffer, size_t size)
{
    static const char *const units[] = {"", " thousand", " million", " billion", " trillion"};
    double x = (double)n;
    int unit = 0;
    while (x >= 1000 && unit + 1 < CLI_COUNT(units)) {
        x /= 1000;
        unit++;
    }
    snprintf(buffer, size, unit == 0 ? "%.0f%s" : "%.2f%s", x, units[unit]);
    return buffer;
}

static void print_model(const slm_model_info *info, const char *path)
{
    char number[48];
    print_text("file", path);
    if (info->name[0] != 0) {
        print_text("name", info->name);
    }
    print_text("family", info->family);
    printf("%-12s %s\n", "parameters", decimal(info->n_parameters, number, sizeof number));
    if (info->n_layer > 0) {
        printf("%-12s %d layers, %d wide, feed-forward %d\n", "shape", (int)info->n_layer,
               (int)info->n_embd, (int)info->n_ff);
        printf("%-12s %d heads of %d, %d KV heads\n", "attention", (int)info->n_head,
               (int)info->head_dim, (int)info->n_kv_head);
    }
    printf("%-12s %d positions\n", "context", (int)info->n_ctx_train);
    printf("%-12s version %d, %d keys, %d tensors\n", "gguf", (int)info->gguf_version,
           (int)info->n_metadata, (int)info->n_tensors);
}

static void print_token(const slm_model *model, const char *label, int32_t token)
{
    slm_token_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    if (token < 0 || slm_token_get_info(model, token, &info, NULL) != SLM_OK) {
        return;
    }
    printf(", %s %d ", label, (int)token);
    cli_print_escaped(stdout, info.text, info.text_size, ELEMENT_LIMIT);
}

/* How text is cut before pairs are merged. */
static void print_pieces(const slm_model_info *info)
{
    if (info->pre_status == SLM_PRE_MISSING) {
        printf("%-12s not named in the file: the default is used, text may be split wrongly\n",
               "pre");
    } else if (info->pre_status != SLM_PRE_NONE) {
        printf("%-12s ", "pre");
        cli_print_escaped(stdout, info->pre, strlen(info->pre), ELEMENT_LIMIT);
        puts(info->pre_status == SLM_PRE_KNOWN
                 ? ""
                 : " is not known: the default is used, text may be split wrongly");
    }
}

/* The tokens for filling in the middle, if there are any. */
static void print_infill(const slm_model *model, const slm_model_info *info)
{
    if (info->fim_pre_token < 0 || info->fim_suf_token < 0 || info->fim_mid_token < 0) {
        return;
    }
    printf("%-12s yes", "infill");
    print_token(model, "prefix", info->fim_pre_token);
    print_token(model, "suffix", info->fim_suf_token);
    print_token(model, "middle", info->fim_mid_token);
    putchar('\n');
}

static void print_vocabulary(const slm_model *model, const slm_model_info *info)
{
    printf("%-12s %s, %d tokens", "vocabulary", info->tokenizer, (int)info->n_vocab);
    print_token(model, "start", info->bos_token);
    if (info->bos_token >= 0 && !info->add_bos) {
        printf(" (not added to prompts)");
    }
    print_token(model, "end", info->eos_token);
    if (info->eot_token != info->eos_token) {
        print_token(model, "end of turn", info->eot_token);
    }
    printf("%s\n", info->chat_template != NULL ? ", chat template" : "");
    print_pieces(info);
    print_infill(model, info);
}

/* ---- Encodings ------------------------------------------------------------------------------ */

#define TYPES_MAX 64

struct tally {
    const char *name;
    int n;
    uint64_t bytes;
};

static int print_encodings(const slm_model *model, const slm_model_info *info)
{
    struct tally tally[TYPES_MAX];
    char size[CLI_BYTES_SIZE];
    slm_error err;
    memset(tally, 0, sizeof tally);
    for (int32_t i = 0; i < info->n_tensors; i++) {
        slm_tensor_info tensor;
        memset(&tensor, 0, sizeof tensor);
        tensor.struct_size = sizeof tensor;
        if (slm_model_tensor(model, i, &tensor, &err) != SLM_OK) {
            return cli_fail("%s", err.message);
        }
        if (tensor.encoding >= 0 && tensor.encoding < TYPES_MAX) {
            tally[tensor.encoding].name = tensor.encoding_name;
            tally[tensor.encoding].n++;
            tally[tensor.encoding].bytes += tensor.size;
        }
    }
    const char *label = "encodings";
    for (int i = 0; i < TYPES_MAX; i++) {
        if (tally[i].n > 0) {
            printf("%-12s %-8s %5d tensors  %s\n", label, tally[i].name, tally[i].n,
                   cli_bytes(tally[i].bytes, size));
            label = "";
        }
    }
    printf("%-12s %s", "weights", cli_bytes(info->weight_bytes, size));
    if (info->n_parameters > 0) {
        printf(", %.2f bits each", 8.0 * (double)info->weight_bytes / (double)info->n_parameters);
    }
    putchar('\n');
    return CLI_GO;
}

/* ---- This computer -------------------------------------------------------------------------- */

static void print_features(const char *label, uint64_t features, const char *more)
{
    printf("%-12s", label);
    for (int32_t i = 0; i < 64; i++) {
        const char *name = slm_cpu_feature_name(i);
        if ((features >> i & 1) && name != NULL) {
            printf(" %s", name);
        }
    }
    printf("%s%s\n", features == 0 ? " none" : "", more);
}

static void print_cpu(const slm_model_info *info)
{
    char more[64];
    snprintf(more, sizeof more, "; kernels up to %s", info->isa);
    print_features("cpu", slm_cpu_features(), "");
    print_features("in use", info->cpu, more);
}

static int plan(const slm_model *model, int32_t n_ctx, slm_plan *plan, slm_error *err)
{
    slm_context_options options;
    slm_context_options_init(&options, sizeof options);
    options.n_ctx = n_ctx;
    memset(plan, 0, sizeof *plan);
    plan->struct_size = sizeof *plan;
    return slm_plan_memory(model, &options, plan, err);
}

static void print_plan_row(const slm_model *model, int32_t n_ctx)
{
    slm_error err;
    slm_plan p;
    if (plan(model, n_ctx, &p, &err) != SLM_OK) {
        printf("  %-9d %s\n", (int)n_ctx, err.message);
        return;
    }
    uint64_t all[5] = {p.model_mapped_bytes, p.model_heap_bytes, p.kv_bytes,
                       p.context_heap_bytes - p.kv_bytes, p.stack_bytes};
    char text[CLI_BYTES_SIZE];
    uint64_t sum = 0;
    printf("  %-9d", (int)p.n_ctx);
    for (int i = 0; i < CLI_COUNT(all); i++) {
        printf(" %11s", cli_bytes(all[i], text));
        sum += all[i];
    }
    printf(" %11s\n", cli_bytes(sum, text));
}

static void print_plans(const slm_model *model, const slm_model_info *info)
{
    static const int32_t lengths[] = {4096, 32768};
    slm_error err;
    slm_plan p;
    if (plan(model, SLM_AUTO, &p, &err) != SLM_OK) {
        printf("%-12s cannot run: %s\n", "memory", err.message);
        return;
    }
    printf("\nmemory, one sequence, f16 cache, %d thread%s:\n", (int)p.n_threads,
           p.n_threads == 1 ? "" : "s");
    printf("  %-9s %11s %11s %11s %11s %11s %11s\n", "context", "mapped", "model heap", "KV cache",
           "scratch", "stacks", "all");
    for (int i = 0; i < CLI_COUNT(lengths); i++) {
        if (lengths[i] < info->n_ctx_train) {
            print_plan_row(model, lengths[i]);
        }
    }
    print_plan_row(model, info->n_ctx_train);
}

/* ---- Lists ---------------------------------------------------------------------------------- */

static const char *const type_names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};

static void print_value(const slm_metadata *value, size_t limit)
{
    switch (value->value_type) {
    case SLM_TYPE_STRING:
        putchar('"');
        cli_print_escaped(stdout, value->text, value->text_size, limit);
        putchar('"');
        break;
    case SLM_TYPE_FLOAT32:
    case SLM_TYPE_FLOAT64:
        printf("%.9g", value->real);
        break;
    case SLM_TYPE_BOOL:
        printf("%s", value->integer ? "true" : "false");
        break;
    case SLM_TYPE_UINT64:
        printf("%llu", (unsigned long long)value->integer);
        break;
    default:
        printf("%lld", (long long)value->integer);
        break;
    }
}

static int get_metadata(const slm_model *model, int32_t index, uint64_t element,
                        slm_metadata *value)
{
    slm_error err;
    memset(value, 0, sizeof *value);
    value->struct_size = sizeof *value;
    if (slm_model_metadata(model, index, element, value, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    return CLI_GO;
}

static int print_metadata(const slm_model *model, const slm_model_info *info)
{
    putchar('\n');
    for (int32_t i = 0; i < info->n_metadata; i++) {
        slm_metadata value;
        if (get_metadata(model, i, 0, &value) != CLI_GO) {
            return CLI_FAILED;
        }
        const char *type = value.value_type >= 0 && value.value_type < CLI_COUNT(type_names)
                               ? type_names[value.value_type]
                               : "?";
        cli_print_escaped(stdout, value.key, value.key_size, TEXT_LIMIT);
        if (!value.is_array) {
            printf(" = %s ", type);
            print_value(&value, TEXT_LIMIT);
            putchar('\n');
            continue;
        }
        uint64_t count = value.count;
        printf(" = %s[%llu] {", type, (unsigned long long)count);
        for (uint64_t e = 0; e < count && e < ARRAY_LIMIT; e++) {
            if (get_metadata(model, i, e, &value) != CLI_GO) {
                return CLI_FAILED;
            }
            printf(e == 0 ? "" : ", ");
            print_value(&value, ELEMENT_LIMIT);
        }
        printf("%s}\n", count > ARRAY_LIMIT ? ", ..." : "");
    }
    return CLI_GO;
}

static int print_tensors(const slm_model *model, const slm_model_info *info)
{
    slm_error err;
    putchar('\n');
    for (int32_t i = 0; i < info->n_tensors; i++) {
        char shape[100] = "", size[CLI_BYTES_SIZE];
        slm_tensor_info tensor;
        memset(&tensor, 0, sizeof tensor);
        tensor.struct_size = sizeof tensor;
        if (slm_model_tensor(model, i, &tensor, &err) != SLM_OK) {
            return cli_fail("%s", err.message);
        }
        for (int d = 0; d < tensor.n_dims && d < 4; d++) {
            size_t n = strlen(shape);
            snprintf(shape + n, sizeof shape - n, d == 0 ? "%lld" : " x %lld",
                     (long long)tensor.shape[d]);
        }
        printf("%-8s %-18s %10s  ", tensor.encoding_name, shape, cli_bytes(tensor.size, size));
        cli_print_escaped(stdout, tensor.name, tensor.name_size, TEXT_LIMIT);
        putchar('\n');
    }
    return CLI_GO;
}

static int with_model(const slm_model *model, const struct cli_settings *s)
{
    slm_error err;
    slm_model_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    if (slm_model_get_info(model, &info, &err) != SLM_OK) {
        return cli_fail("%s", err.message);
    }
    print_model(&info, s->model);
    print_vocabulary(model, &info);
    if (print_encodings(model, &info) != CLI_GO) {
        return CLI_FAILED;
    }
    print_cpu(&info);
    print_plans(model, &info);
    if (s->metadata && print_metadata(model, &info) != CLI_GO) {
        return CLI_FAILED;
    }
    if (s->tensors && print_tensors(model, &info) != CLI_GO) {
        return CLI_FAILED;
    }
    return cli_finish();
}

int cli_info(int argc, char **argv)
{
    struct cli_settings s;
    int code = cli_parse(&usage, &s, argc, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (s.model == NULL) {
        return cli_wanted(&usage, "-m FILE");
    }
    slm_model *model = NULL;
    code = cli_open_model(&model, s.model, SLM_LOAD_METADATA, &s);
    if (code == CLI_GO) {
        code = with_model(model, &s);
    }
    slm_model_free(model);
    return code;
}
