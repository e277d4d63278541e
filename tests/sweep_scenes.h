/* sweep_scenes.h - what test_sweep lets happen: files to load, objects made beforehand, the calls that are
 * swept, and hashes of all that can be seen of their results. */
#ifndef SWEEP_SCENES_H
#define SWEEP_SCENES_H

#include "sweep_host.h"

/* ---- The files ------------------------------------------------------------------------------- */

#define SHARDS 3
#define SP "\xE2\x96\x81"

static struct build whole;          /* a llama of one layer, with a vocabulary of SentencePiece */
static struct build shards[SHARDS]; /* the same, split */
static char folder[256];
static char whole_path[320];
static char shard_path[SHARDS][320];

static void vocabulary_keys(struct build *b)
{
    static const struct {
        const char *text;
        int type;
        float score;
    } entries[TINY_VOCAB] = {{"<unk>", 2, 0}, {"<s>", 3, 0},   {"</s>", 3, 0}, {"<0x0A>", 6, 0},
                             {SP, 1, -10},    {"a", 1, -11},   {"b", 1, -12},  {"ab", 1, -2},
                             {"ba", 1, -1},   {SP "a", 1, -3}, {"c", 1, -20},  {"<|u|>", 4, 0}};
    build_text(b, "tokenizer.ggml.model", "llama");
    build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        build_put_string(&b->keys, entries[i].text, strlen(entries[i].text));
    }
    build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        build_put_f32(&b->keys, entries[i].score);
    }
    build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        build_put_int(&b->keys, (uint64_t)entries[i].type, 4);
    }
}

static int make_files(void **state)
{
    const char *temp = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%.200s/slm_sweep_XXXXXX",
             temp != NULL && temp[0] != 0 ? temp : "/tmp");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    struct tiny t = tiny_default();
    t.keys = vocabulary_keys;
    tiny_build(&whole, &t);
    snprintf(whole_path, sizeof whole_path, "%s/whole.gguf", folder);
    int status = testing_put(fopen(whole_path, "wb"), whole.file.data, whole.file.size);
    for (int i = 0; i < SHARDS; i++) {
        t.n_shards = SHARDS;
        t.shard = i;
        tiny_build(&shards[i], &t);
        snprintf(shard_path[i], sizeof shard_path[i], "%s/m-%05d-of-%05d.gguf", folder, i + 1,
                 SHARDS);
        status |= testing_put(fopen(shard_path[i], "wb"), shards[i].file.data, shards[i].file.size);
    }
    return status;
}

static int remove_files(void **state)
{
    (void)state;
    remove(whole_path);
    build_free(&whole);
    for (int i = 0; i < SHARDS; i++) {
        remove(shard_path[i]);
        build_free(&shards[i]);
    }
    return rmdir(folder);
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

struct scene {
    slm_model *model;
    slm_threads *pool;
    slm_context *context;
    slm_sampler *sampler;
    slm_sampler *copy;
    slm_generator *generator;
    slm_chat_template *chat;
    slm_chat_prompt *prompt;
    slm_chat_output *output;
    int32_t tokens[128];
    size_t n_tokens;
    char text[512];
    size_t n_text;
};

/* What a scenario finds made. */
#define HAS_TINY 1
#define HAS_STORY 2
#define HAS_POOL 4
#define HAS_CONTEXT 8
#define HAS_SAMPLER 16
#define HAS_PREFIX 32 /* five tokens evaluated */
#define HAS_GENERATOR 64
#define HAS_CHAT 128
#define HAS_PROMPT 256
#define HAS_OUTPUT 512
#define HAS_ANSWER 1024 /* pushed into the output */

struct scenario {
    const char *name;
    int has;
    int (*act)(struct scene *s, slm_error *err);
    uint64_t (*check)(struct scene *s); /* a hash of all that can be seen of the result */
};

static const int32_t prefix[5] = {1, 9, 8, 7, 5};
static const char story_text[] = "Once upon a time, the 3 cats sat; \xC3\xA4 caf\xC3\xA9 in 1999!";

static slm_model_options model_options(uint32_t flags)
{
    slm_model_options o;
    assert_int_equal(slm_model_options_init(&o, sizeof o), SLM_OK);
    o.flags = flags;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return o;
}

static int load_path(struct scene *s, const char *path, uint32_t flags, slm_error *err)
{
    slm_model_options o = model_options(flags);
    return slm_model_open(&s->model, path, &o, err);
}

static int load_mapped(struct scene *s, slm_error *err)
{
    return load_path(s, whole_path, 0, err);
}

static int load_read(struct scene *s, slm_error *err)
{
    return load_path(s, whole_path, SLM_LOAD_READ | SLM_LOAD_CHECK, err);
}

static int load_metadata(struct scene *s, slm_error *err)
{
    return load_path(s, whole_path, SLM_LOAD_METADATA, err);
}

static int load_story(struct scene *s, slm_error *err)
{
    return load_path(s, TESTING_STORYTELLER, 0, err);
}

static int load_split(struct scene *s, slm_error *err)
{
    return load_path(s, shard_path[0], 0, err);
}

static int load_split_read(struct scene *s, slm_error *err)
{
    return load_path(s, shard_path[0], SLM_LOAD_READ, err);
}

static int load_memory_of(struct scene *s, const struct build *files, int32_t n, uint32_t flags,
                          slm_error *err)
{
    slm_model_options o = model_options(flags);
    const void *data[SHARDS];
    size_t size[SHARDS];
    for (int32_t i = 0; i < n; i++) {
        data[i] = files[i].file.data;
        size[i] = files[i].file.size;
    }
    return slm_model_open_memory(&s->model, data, size, n, &o, err);
}

static int load_memory(struct scene *s, slm_error *err)
{
    return load_memory_of(s, &whole, 1, 0, err);
}

static int load_memory_read(struct scene *s, slm_error *err)
{
    return load_memory_of(s, &whole, 1, SLM_LOAD_READ, err);
}

static int load_split_memory(struct scene *s, slm_error *err)
{
    return load_memory_of(s, shards, SHARDS, 0, err);
}

static int load_callback_of(struct scene *s, struct build *files, int32_t n, slm_error *err)
{
    slm_model_options o = model_options(0);
    uint64_t size[SHARDS];
    for (int32_t i = 0; i < n; i++) {
        size[i] = files[i].file.size;
    }
    return slm_model_open_callback(&s->model, host_callback, files, size, n, &o, err);
}

static int load_callback(struct scene *s, slm_error *err)
{
    return load_callback_of(s, &whole, 1, err);
}

static int load_split_callback(struct scene *s, slm_error *err)
{
    return load_callback_of(s, shards, SHARDS, err);
}

static int create_pool(struct scene *s, slm_error *err)
{
    slm_threads_options o;
    assert_int_equal(slm_threads_options_init(&o, sizeof o), SLM_OK);
    o.n_threads = 4;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_threads_create(&s->pool, &o, err);
}

static int create_context_of(struct scene *s, slm_threads *pool, int32_t n_threads, slm_error *err)
{
    slm_context_options o = tiny_context();
    o.n_ctx = 64;
    o.n_sequences = 3;
    o.n_threads = n_threads;
    o.threads = pool;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_context_create(&s->context, s->model, &o, err);
}

static int create_context(struct scene *s, slm_error *err)
{
    return create_context_of(s, s->pool, 1, err);
}

static int create_context_own_pool(struct scene *s, slm_error *err)
{
    return create_context_of(s, NULL, 4, err);
}

static int create_sampler(struct scene *s, slm_error *err)
{
    static const slm_logit_bias biases[2] = {{3, -1.0f}, {4, 0.5f}};
    slm_sampler_stage stages[4];
    slm_sampler_options o;
    memset(stages, 0, sizeof stages);
    for (int i = 0; i < 4; i++) {
        stages[i].struct_size = (uint32_t)sizeof stages[i];
    }
    stages[0].kind = SLM_STAGE_LOGIT_BIAS;
    stages[0].biases = biases;
    stages[0].n_biases = 2;
    stages[1].kind = SLM_STAGE_PENALTIES;
    stages[1].n = 8;
    stages[1].repeat = 1.1f;
    stages[2].kind = SLM_STAGE_TOP_K;
    stages[2].n = 8;
    stages[3].kind = SLM_STAGE_TEMPERATURE;
    stages[3].value = 0.9f;
    assert_int_equal(slm_sampler_options_init(&o, sizeof o), SLM_OK);
    o.seed = 42;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_sampler_create(&s->sampler, s->model, stages, 4, sizeof stages[0], &o, err);
}

static int clone_sampler(struct scene *s, slm_error *err)
{
    return slm_sampler_clone(&s->copy, s->sampler, err);
}

static int tokenize_of(struct scene *s, const char *text, size_t size, slm_error *err)
{
    return slm_tokenize(s->model, text, size, SLM_TEXT_BOS | SLM_TEXT_SPECIAL, s->tokens, 128,
                        &s->n_tokens, err);
}

static int tokenize_bpe(struct scene *s, slm_error *err)
{
    return tokenize_of(s, story_text, sizeof story_text - 1, err);
}

static int tokenize_spm(struct scene *s, slm_error *err)
{
    return tokenize_of(s, "abba a<|u|>baab cab\n", 20, err);
}

static int detokenize(struct scene *s, slm_error *err)
{
    slm_text_stream stream;
    size_t n = 0;
    memset(&stream, 0, sizeof stream);
    int status = slm_detokenize(s->model, prefix, 5, SLM_TEXT_BOS, s->text, 256, &s->n_text, err);
    for (int i = 0; status == SLM_OK && i < 5; i++) {
        status =
            slm_decode_token(s->model, &stream, prefix[i], 0, s->text + s->n_text, 64, &n, err);
        s->n_text += n;
    }
    return status;
}

static int prefill(struct scene *s, slm_error *err)
{
    return try_eval(s->context, 0, prefix, 5, SLM_WANT_LAST, err);
}

static int embed(struct scene *s, slm_error *err)
{
    static float rows[2][64];
    slm_embed_text texts[2];
    size_t needed = 0;
    memset(texts, 0, sizeof texts);
    for (int i = 0; i < 2; i++) {
        texts[i].struct_size = (uint32_t)sizeof texts[i];
        texts[i].n_tokens = 5 - 2 * i;
        texts[i].tokens = prefix;
    }
    slm_embed_options o;
    slm_embed_options_init(&o, sizeof o);
    o.pooling = SLM_POOLING_LAST;
    return slm_embed(s->context, texts, 2, sizeof texts[0], &o, rows[0], 128, &needed, err);
}

static int decode(struct scene *s, slm_error *err)
{
    int status = SLM_OK;
    for (int32_t i = 0; status == SLM_OK && i < 20; i++) {
        int32_t token = 4 + i % 8;
        status = try_eval(s->context, 0, &token, 1, SLM_WANT_LAST, err);
    }
    return status;
}

static int sample(struct scene *s, slm_error *err)
{
    const float *logits = NULL;
    int status = slm_logits(s->context, -1, &logits, NULL, err);
    for (s->n_tokens = 0; status == SLM_OK && s->n_tokens < 20;) {
        int32_t *token = &s->tokens[s->n_tokens++];
        status = slm_sample(s->sampler, logits, TINY_VOCAB, token, err);
        if (status == SLM_OK) {
            status = slm_sampler_accept(s->sampler, *token, err);
        }
    }
    return status != SLM_OK ? status : slm_sampler_rewind(s->sampler, 7, err);
}

static int fork_and_rewind(struct scene *s, slm_error *err)
{
    int status = slm_sequence_fork(s->context, 0, 1, err);
    status = status != SLM_OK ? status : slm_sequence_fork(s->context, 1, 2, err);
    status = status != SLM_OK ? status : slm_sequence_rewind(s->context, 0, 3, err);
    return status != SLM_OK ? status : slm_sequence_rewind(s->context, 1, 0, err);
}

static int ask(struct scene *s, slm_error *err)
{
    slm_model_info info;
    slm_context_info context;
    slm_metadata value;
    slm_tensor_info tensor;
    slm_token_info token;
    slm_plan plan;
    int32_t n = 0;
    info.struct_size = (uint32_t)sizeof info;
    context.struct_size = (uint32_t)sizeof context;
    value.struct_size = (uint32_t)sizeof value;
    tensor.struct_size = (uint32_t)sizeof tensor;
    token.struct_size = (uint32_t)sizeof token;
    plan.struct_size = (uint32_t)sizeof plan;
    slm_context_options o = tiny_context();
    int status = slm_model_get_info(s->model, &info, err);
    status = status != SLM_OK ? status : slm_context_get_info(s->context, &context, err);
    status = status != SLM_OK ? status : slm_model_metadata(s->model, 3, 0, &value, err);
    status = status != SLM_OK ? status : slm_model_tensor(s->model, 2, &tensor, err);
    status = status != SLM_OK ? status : slm_token_get_info(s->model, 7, &token, err);
    status = status != SLM_OK ? status : slm_token_find(s->model, "ab", 2, &n, err);
    status = status != SLM_OK ? status : slm_sequence_length(s->context, 0, &n, err);
    return status != SLM_OK ? status : slm_plan_memory(s->model, &o, &plan, err);
}

static int begin_with(struct scene *s, slm_sampler *sampler, int32_t heal, slm_error *err)
{
    static const char *const stops[1] = {"cc"};
    slm_generate_options o;
    assert_int_equal(slm_generate_options_init(&o, sizeof o), SLM_OK);
    o.max_tokens = 12;
    o.stops = stops;
    o.n_stops = 1;
    o.heal = heal;
    return slm_generate_begin(&s->generator, s->context, 0, sampler, "ab ba", heal ? 4 : 5, &o,
                              err);
}

static int generate_begin(struct scene *s, slm_error *err)
{
    return begin_with(s, s->sampler, 0, err);
}

static int generate_begin_greedy(struct scene *s, slm_error *err)
{
    return begin_with(s, NULL, 0, err);
}

/* Takes back "b", with which "ba" begins. */
static int generate_begin_healed(struct scene *s, slm_error *err)
{
    return begin_with(s, s->sampler, 1, err);
}

static int generate_begin_tokens(struct scene *s, slm_error *err)
{
    slm_generate_options o;
    assert_int_equal(slm_generate_options_init(&o, sizeof o), SLM_OK);
    o.max_tokens = 12;
    o.prompt_tokens = prefix;
    o.n_prompt_tokens = 5;
    return slm_generate_begin(&s->generator, s->context, 0, s->sampler, NULL, 0, &o, err);
}

/* Generates until the end, appending to s->text. */
static int generate_to_the_end(struct scene *s, slm_error *err)
{
    slm_piece piece;
    int status = SLM_OK;
    s->n_text = 0;
    do {
        piece.struct_size = (uint32_t)sizeof piece;
        status = slm_generate_next(s->generator, &piece, err);
        if (status == SLM_OK && piece.kind == SLM_PIECE_TEXT) {
            assert_true(piece.size <= sizeof s->text - s->n_text);
            memcpy(s->text + s->n_text, piece.text, piece.size);
            s->n_text += piece.size;
        }
    } while (status == SLM_OK && piece.kind == SLM_PIECE_TEXT);
    return status;
}

/* ---- Chat ------------------------------------------------------------------------------------ */

static const char chat_text[] =
    "{% macro turn(m) %}{{ '<|u|>' ~ m.role }}: {{ m.content|trim|upper }}{% endmacro %}"
    "{% set ns = namespace(n=0) %}{% for m in messages if m.content %}{% set ns.n = ns.n + 1 %}"
    "{{ turn(m) }}{{ m|tojson(indent=2) if loop.last else ', '.join(['a', m.role]) }}{% endfor %}"
    "{% for t in tools or [] %}{{ t.function.name|replace('a', 'b') }}{% endfor %}{{ ns.n }}";
static const char chat_messages[] =
    "[{\"role\": \"user\", \"content\": \" ab\\u00e4ba \"}, {\"role\": \"assistant\", \"content\": "
    "\"\"},"
    " {\"role\": \"user\", \"content\": \"c<|u|>\", \"numbers\": [1, 2.5, true, null]}]";
static const char chat_tools[] = "[{\"type\": \"function\", \"function\": {\"name\": \"add\", "
                                 "\"parameters\": {\"type\": \"object\","
                                 " \"properties\": {\"a\": {\"type\": \"integer\"}}}}}]";
static const char chat_answer[] = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, "
                                  "\"b\": [\"\\u00e4\"]}}\n</tool_call>";

static int create_chat(struct scene *s, slm_error *err)
{
    slm_chat_template_options o;
    slm_chat_template_options_init(&o, sizeof o);
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_chat_template_create(&s->chat, s->model, chat_text, sizeof chat_text - 1, &o, err);
}

static int render(struct scene *s, slm_error *err)
{
    slm_chat_options o;
    slm_chat_options_init(&o, sizeof o);
    o.tools = chat_tools;
    o.tools_size = sizeof chat_tools - 1;
    return slm_chat_render(&s->prompt, s->chat, chat_messages, sizeof chat_messages - 1, &o, err);
}

static int tokenize_prompt(struct scene *s, slm_error *err)
{
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_chat_prompt_get_info(s->prompt, &info, NULL), SLM_OK);
    int32_t tokens[1024];
    int status = slm_tokenize_segments(s->model, info.segments, info.n_segments, info.segment_size,
                                       SLM_TEXT_BOS, tokens, 1024, &s->n_tokens, err);
    s->n_tokens = s->n_tokens < 128 ? s->n_tokens : 128;
    memcpy(s->tokens, tokens, s->n_tokens * sizeof tokens[0]);
    return status;
}

static int create_output_of(struct scene *s, const char *style, slm_error *err)
{
    slm_chat_output_options o;
    slm_chat_output_options_init(&o, sizeof o);
    o.tool_calls = style;
    o.tools = chat_tools;
    o.tools_size = sizeof chat_tools - 1;
    o.alloc = host_alloc;
    o.alloc_user = &heap;
    return slm_chat_output_create(&s->output, s->chat, &o, err);
}

static int create_output(struct scene *s, slm_error *err)
{
    return create_output_of(s, "hermes", err);
}

static int create_output_of_template(struct scene *s, slm_error *err)
{
    return create_output_of(s, NULL, err);
}

static int push_answer(struct scene *s, slm_error *err)
{
    return slm_chat_output_push(s->output, SLM_PIECE_TEXT, chat_answer, sizeof chat_answer - 1,
                                err);
}

static int next_event(struct scene *s, slm_error *err)
{
    slm_chat_event e = {.struct_size = sizeof e};
    int status = slm_chat_output_next(s->output, &e, err);
    if (status == SLM_OK && e.kind == SLM_CHAT_TOOL_CALL) {
        s->n_text = (size_t)snprintf(s->text, sizeof s->text, "%s %s", e.name, e.arguments);
    }
    return status;
}

/* Everything that lives, in an order that leaves references to free for the last. */
static void free_scene(struct scene *s)
{
    slm_model_free(s->model);
    slm_threads_free(s->pool);
    slm_context_free(s->context);
    slm_sampler_free(s->sampler);
    slm_sampler_free(s->copy);
    slm_generate_end(s->generator);
    slm_chat_template_free(s->chat);
    slm_chat_prompt_free(s->prompt);
    slm_chat_output_free(s->output);
    s->chat = NULL;
    s->prompt = NULL;
    s->output = NULL;
    s->model = NULL;
    s->pool = NULL;
    s->context = NULL;
    s->sampler = NULL;
    s->copy = NULL;
    s->generator = NULL;
}

static int free_everything(struct scene *s, slm_error *err)
{
    (void)err;
    free_scene(s);
    return heap.n_blocks == 0 && heap.now == 0 ? SLM_OK : SLM_E_MEMORY;
}

/* From the file to the last piece. What was made before the failure is freed. */
static int whole_life(struct scene *s, slm_error *err)
{
    int status = load_read(s, err);
    status = status != SLM_OK ? status : create_pool(s, err);
    status = status != SLM_OK ? status : create_context(s, err);
    status = status != SLM_OK ? status : create_sampler(s, err);
    status = status != SLM_OK ? status : clone_sampler(s, err);
    status = status != SLM_OK ? status : generate_begin(s, err);
    status = status != SLM_OK ? status : generate_to_the_end(s, err);
    if (status != SLM_OK) {
        free_scene(s);
    }
    return status;
}

/* ---- Results --------------------------------------------------------------------------------- */

/* As make_scene does it: nothing is refused. */
static uint64_t mixed(uint64_t hash, const void *data, size_t size)
{
    return hash_bytes(data, size, hash * 31 + size);
}

static uint64_t nothing_to_see(struct scene *s)
{
    (void)s;
    return 1;
}

static uint64_t text_and_tokens(struct scene *s)
{
    return mixed(mixed(1, s->tokens, s->n_tokens * sizeof s->tokens[0]), s->text, s->n_text);
}

/* Of the two sequences that are left after forking, too. */
static uint64_t logits_and_lengths(struct scene *s)
{
    uint64_t hash = 2;
    const float *logits = NULL;
    assert_int_equal(slm_logits(s->context, -1, &logits, NULL, NULL), SLM_OK);
    hash = mixed(hash, logits, TINY_VOCAB * sizeof *logits);
    for (int32_t i = 0; i < 3; i++) {
        int32_t n = -1;
        assert_int_equal(slm_sequence_length(s->context, i, &n, NULL), SLM_OK);
        hash = mixed(hash, &n, sizeof n);
    }
    return hash;
}

static uint64_t works_in_context(struct scene *s)
{
    slm_error err;
    assert_int_equal(slm_sequence_rewind(s->context, 0, 0, &err), SLM_OK);
    assert_int_equal(prefill(s, &err), SLM_OK);
    return logits_and_lengths(s);
}

static uint64_t pool_works(struct scene *s)
{
    slm_error err;
    assert_int_equal(create_context(s, &err), SLM_OK);
    return works_in_context(s);
}

/* Tokenises and evaluates. */
static uint64_t model_works(struct scene *s)
{
    slm_error err;
    assert_int_equal(tokenize_spm(s, &err), SLM_OK);
    assert_int_equal(create_context(s, &err), SLM_OK);
    uint64_t hash = works_in_context(s);
    slm_context_free(s->context);
    s->context = NULL;
    return mixed(hash, s->tokens, s->n_tokens * sizeof s->tokens[0]);
}

static uint64_t metadata_works(struct scene *s)
{
    slm_error err;
    slm_plan plan;
    slm_context_options o = tiny_context();
    memset(&plan, 0, sizeof plan);
    plan.struct_size = (uint32_t)sizeof plan;
    assert_int_equal(tokenize_spm(s, &err), SLM_OK);
    assert_int_equal(slm_plan_memory(s->model, &o, &plan, &err), SLM_OK);
    return mixed(text_and_tokens(s), &plan, sizeof plan);
}

static uint64_t story_tokenizes(struct scene *s)
{
    slm_error err;
    assert_int_equal(tokenize_bpe(s, &err), SLM_OK);
    return text_and_tokens(s);
}

static uint64_t samplers_work(struct scene *s)
{
    slm_error err;
    uint64_t hash = 3;
    assert_int_equal(sample(s, &err), SLM_OK);
    hash = mixed(hash, s->tokens, s->n_tokens * sizeof s->tokens[0]);
    if (s->copy != NULL) {
        slm_sampler *original = s->sampler;
        s->sampler = s->copy;
        assert_int_equal(sample(s, &err), SLM_OK);
        s->sampler = original;
        hash = mixed(hash, s->tokens, s->n_tokens * sizeof s->tokens[0]);
    }
    return hash;
}

static uint64_t generates(struct scene *s)
{
    slm_error err;
    assert_int_equal(generate_to_the_end(s, &err), SLM_OK);
    assert_true(s->n_text > 0);
    return mixed(4, s->text, s->n_text);
}

static uint64_t prompt_of(struct scene *s)
{
    slm_chat_prompt_info info = {.struct_size = sizeof info};
    uint64_t hash = 5;
    assert_int_equal(slm_chat_prompt_get_info(s->prompt, &info, NULL), SLM_OK);
    for (int32_t i = 0; i < info.n_segments; i++) {
        hash = mixed(hash + (uint64_t)info.segments[i].kind, info.segments[i].text,
                     info.segments[i].size);
    }
    slm_chat_prompt_free(s->prompt);
    s->prompt = NULL;
    return hash;
}

static uint64_t chat_renders(struct scene *s)
{
    slm_error err;
    assert_int_equal(render(s, &err), SLM_OK);
    return prompt_of(s);
}

/* The call, and text behind it. */
static uint64_t output_reads(struct scene *s)
{
    slm_error err;
    uint64_t hash = mixed(6, s->text, s->n_text);
    assert_int_equal(slm_chat_output_push(s->output, SLM_PIECE_TEXT, "more", 4, &err), SLM_OK);
    assert_int_equal(slm_chat_output_push(s->output, SLM_PIECE_END, NULL, 0, &err), SLM_OK);
    for (;;) {
        slm_chat_event e = {.struct_size = sizeof e};
        assert_int_equal(slm_chat_output_next(s->output, &e, &err), SLM_OK);
        if (e.kind == SLM_CHAT_END) {
            return hash;
        }
        hash = mixed(hash + (uint64_t)e.kind, e.text, e.size);
    }
}

#endif
