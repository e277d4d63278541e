/* left_out.c - what a build without some parts says of files and calls that want them: built with
 * examples/firmware/minimal.flags, which leaves texts of errors in. */
#include "../gguf_build.h"

static int failed = 0;

static void expect(const char *what, int status, const slm_error *err, const char *says)
{
    if (status != SLM_E_UNSUPPORTED || strstr(err->message, says) == NULL) {
        printf("%s: %s, '%s'; SLM_E_UNSUPPORTED and '%s' are expected\n", what,
               slm_status_name(status), err->message, says);
        failed = 1;
    }
}

/* ---- Files ----------------------------------------------------------------------------------- */

static void tokenizer_keys(struct build *b, const char *model, const char *pre)
{
    static const char *const texts[3] = {"a", "b", "ab"};
    static const char *const merges[1] = {"a b"};
    build_text(b, "tokenizer.ggml.model", model);
    build_text(b, "tokenizer.ggml.pre", pre);
    build_texts(b, "tokenizer.ggml.tokens", texts, 3);
    build_texts(b, "tokenizer.ggml.merges", merges, 1);
}

static void spm_keys(struct build *b)
{
    tokenizer_keys(b, "llama", "default");
}

static void qwen2_keys(struct build *b)
{
    tokenizer_keys(b, "gpt2", "qwen2");
}

static void nameless_keys(struct build *b)
{
    tokenizer_keys(b, "gpt2", "");
}

static void known_keys(struct build *b)
{
    tokenizer_keys(b, "gpt2", "gpt-2");
}

static void expert_keys(struct build *b)
{
    build_u32(b, "llama.expert_count", 4);
    build_u32(b, "llama.expert_used_count", 2);
}

static int open_tiny(const char *family, void (*keys)(struct build *b), int32_t type,
                     uint32_t flags, slm_error *err)
{
    struct build b;
    struct tiny t = tiny_default();
    slm_model_options options;
    slm_model *model = NULL;
    t.family = family;
    t.keys = keys;
    tiny_build(&b, &t);
    if (type != 0) { /* shorter than F32: the bytes are there */
        build_poke(&b, build_at(&b, "blk.0.ffn_up.weight", AT_TYPE), (uint64_t)type, 4);
    }
    slm_model_options_init(&options, sizeof options);
    options.flags = flags;
    const void *data = b.file.data;
    int status = slm_model_open_memory(&model, &data, &b.file.size, 1, &options, err);
    slm_model_free(model);
    build_free(&b);
    return status;
}

static void files(void)
{
    static const struct {
        const char *family;
        void (*keys)(struct build *b);
        int32_t type;
        uint32_t flags;
        const char *says;
    } cases[] = {
        {"qwen2", NULL, 0, 0, "model family 'qwen2' is not known, or was left out of this build"},
        {"llama", NULL, 30, 0,
         "'blk.0.ffn_up.weight': BF16 is not an encoding of weights, or was left out"},
        {"llama", spm_keys, 0, 0, "tokenizer 'spm' was left out of this build"},
        {"llama", qwen2_keys, 0, 0, "pre-tokenizer 'qwen2' is not known, or was left out"},
        {"llama", nameless_keys, 0, 0, "pre-tokenizer '' is not known, or was left out"},
        {"llama", expert_keys, 0, 0, "a mixture of 4 experts"},
        {"llama", expert_keys, 0, 0, "(SLM_NO_EXPERTS)"},
        {"llama", NULL, 0, SLM_LOAD_CHECK, "(SLM_NO_CHECK)"},
    };
    slm_error err;
    int status = open_tiny("llama", known_keys, 0, 0, &err);
    if (status != SLM_OK) {
        printf("the plain model: %s\n", err.message);
        failed = 1;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        status = open_tiny(cases[i].family, cases[i].keys, cases[i].type, cases[i].flags, &err);
        expect(cases[i].says, status, &err, cases[i].says);
    }
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static void model_calls(slm_model *model)
{
    slm_error err;
    slm_sampler *sampler = NULL;
    slm_chat_template *chat = NULL;
    slm_metadata value = {0};
    slm_tensor_info tensor = {0};
    slm_encoding_info encoding = {0};
    slm_sampler_stage stage = {0};
    value.struct_size = sizeof value;
    tensor.struct_size = sizeof tensor;
    encoding.struct_size = sizeof encoding;
    stage.struct_size = sizeof stage;
    stage.kind = SLM_STAGE_TOP_P;
    stage.value = 0.9f;
    expect("metadata", slm_model_metadata(model, 0, 0, &value, &err), &err, "(SLM_NO_LISTS)");
    expect("tensor", slm_model_tensor(model, 0, &tensor, &err), &err, "(SLM_NO_LISTS)");
    expect("encoding", slm_encoding_find(0, NULL, &encoding, &err), &err, "(SLM_NO_LISTS)");
    expect("stage", slm_sampler_create(&sampler, model, &stage, 1, sizeof stage, NULL, &err), &err,
           "top_p was left out of this build (SLM_ONLY_STAGES)");
    expect("template", slm_chat_template_create(&chat, model, NULL, 0, NULL, &err), &err,
           "(SLM_NO_CHAT)");
}

static void context_calls(slm_model *model)
{
    slm_error err;
    slm_context *context = NULL;
    slm_generator *generator = NULL;
    slm_generate_options options;
    slm_embed_text text = {0};
    const int32_t token = 1;
    size_t needed = 0;
    text.struct_size = sizeof text;
    text.n_tokens = 1;
    text.tokens = &token;
    slm_generate_options_init(&options, sizeof options);
    options.heal = 1;
    if (slm_context_create(&context, model, NULL, &err) != SLM_OK) {
        printf("the context: %s\n", err.message);
        failed = 1;
        return;
    }
    expect("embed", slm_embed(context, &text, 1, sizeof text, NULL, NULL, 0, &needed, &err), &err,
           "(SLM_NO_EMBED)");
    expect("heal", slm_generate_begin(&generator, context, 0, NULL, "One", 3, &options, &err), &err,
           "(SLM_NO_HEAL)");
    slm_context_free(context);
}

static void calls(void)
{
    slm_error err;
    slm_model *model = NULL;
    size_t size = 0;
    char *file = testing_read(TESTING_STORYTELLER, &size);
    const void *files_data[2] = {file, file};
    size_t sizes[2] = {size, size};
    if (file == NULL || slm_model_open_memory(&model, files_data, sizes, 1, NULL, &err) != SLM_OK) {
        printf("cannot open %s\n", TESTING_STORYTELLER);
        failed = 1;
    } else {
        model_calls(model);
        context_calls(model);
        slm_model_free(model);
        model = NULL;
        expect("two files", slm_model_open_memory(&model, files_data, sizes, 2, NULL, &err), &err,
               "(SLM_NO_SPLIT)");
    }
    expect("a path", slm_model_open(&model, TESTING_STORYTELLER, NULL, &err), &err,
           "(SLM_NO_FILES)");
    free(file);
}

int main(void)
{
    files();
    calls();
    return failed;
}
