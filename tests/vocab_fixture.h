/* vocab_fixture.h - small vocabularies made by tests: a file with a tokenizer and nothing else. */
#ifndef VOCAB_FIXTURE_H
#define VOCAB_FIXTURE_H

#include "gguf_build.h"
#include "tokenizer_fixture.h"

#define SP "\xE2\x96\x81"

struct entry {
    const char *text;
    int type;
    float score;
};

struct small {
    const char *model;
    const char *pre;
    const struct entry *entries;
    size_t n;
    const char *const *merges;
    size_t n_merges;
    const char *without;           /* a key that is left out */
    void (*more)(struct build *b); /* writes more keys */
};

static int small_has(const struct small *s, const char *key)
{
    return s->without == NULL || strcmp(s->without, key) != 0;
}

static void small_build(struct build *b, const struct small *s)
{
    build_init(b);
    build_text(b, "general.architecture", "llama");
    if (s->model != NULL) {
        build_text(b, "tokenizer.ggml.model", s->model);
    }
    if (s->pre != NULL) {
        build_text(b, "tokenizer.ggml.pre", s->pre);
    }
    if (small_has(s, "tokenizer.ggml.tokens")) {
        build_array(b, "tokenizer.ggml.tokens", SLM_TYPE_STRING, s->n);
        for (size_t i = 0; i < s->n; i++) {
            build_put_string(&b->keys, s->entries[i].text, strlen(s->entries[i].text));
        }
    }
    if (small_has(s, "tokenizer.ggml.scores")) {
        build_array(b, "tokenizer.ggml.scores", SLM_TYPE_FLOAT32, s->n);
        for (size_t i = 0; i < s->n; i++) {
            build_put_f32(&b->keys, s->entries[i].score);
        }
    }
    if (small_has(s, "tokenizer.ggml.token_type")) {
        build_array(b, "tokenizer.ggml.token_type", SLM_TYPE_INT32, s->n);
        for (size_t i = 0; i < s->n; i++) {
            build_put_int(&b->keys, (uint64_t)s->entries[i].type, 4);
        }
    }
    if (s->merges != NULL && small_has(s, "tokenizer.ggml.merges")) {
        build_texts(b, "tokenizer.ggml.merges", s->merges, s->n_merges);
    }
    if (s->more != NULL) {
        s->more(b);
    }
    build_finish(b);
}

static void small_log(void *user, int32_t level, const char *message)
{
    if (level == SLM_LOG_WARN) {
        snprintf((char *)user, 256, "%s", message);
    }
}

static TESTING_UNUSED int small_open(slm_model **model, const struct small *s, char *warning,
                                     slm_error *err)
{
    struct build b;
    slm_model_options o;
    small_build(&b, s);
    slm_model_options_init(&o, sizeof o);
    o.flags = SLM_LOAD_METADATA;
    o.log = warning != NULL ? small_log : NULL;
    o.log_user = warning;
    int status = tiny_open(model, &b, &o, err);
    build_free(&b);
    return status;
}

static TESTING_UNUSED slm_model *small_model(const struct small *s)
{
    slm_error err;
    slm_model *model = NULL;
    if (small_open(&model, s, NULL, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    return model;
}

#endif
