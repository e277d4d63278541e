/* test_sweep.c - everything that can be refused is refused, one at a time.
 *
 * A scenario is one call or a row of calls. It runs once undisturbed, which counts how often it asks
 * the allocator and the system for something; then once for every such request, and in that run
 * the request is refused: only this one, or this one and all that follow. Each time the call must
 * answer with the right status and a message, leave nothing behind that was not there before, and
 * give exactly the undisturbed result when it is made again on the same objects. Some faults (an
 * interrupted or a short read) must not be seen at all.
 *
 * Scenarios that must not ask for anything, such as decoding a token, are held to that. */
#include "sweep_scenes.h"

/* ---- The sweep ------------------------------------------------------------------------------- */

struct fault {
    const char *name;
    enum host_call call;
    int code;
    int status;       /* what the call then answers; SLM_OK: the fault is overcome */
    const char *says; /* stands in the message */
    int forever;      /* may last: with an interruption that lasts, it is right to go on for ever */
};

static const struct fault no_memory = {"no memory", HOST_HEAP, ENOMEM, SLM_E_MEMORY, "bytes", 1};
static const struct fault no_file = {"no file", HOST_OPEN, ENFILE, SLM_E_IO, "too many open", 1};
static const struct fault no_file_cpu = {"no file", HOST_OPEN, ENFILE, SLM_OK, NULL, 1};
static const struct fault open_again = {"open EINTR", HOST_OPEN, EINTR, SLM_OK, NULL, 0};
static const struct fault no_stat = {"no stat", HOST_STAT, EIO, SLM_E_IO, "input/output", 1};
static const struct fault no_seek = {"no seek", HOST_SEEK, EOVERFLOW, SLM_E_IO, "too large", 1};
static const struct fault no_map = {"no map", HOST_MAP, ENOMEM, SLM_E_IO, "cannot map", 1};
static const struct fault no_read = {"EIO", HOST_READ, EIO, SLM_E_IO, "input/output error", 1};
static const struct fault no_read_cpu = {"EIO", HOST_READ, EIO, SLM_OK, NULL, 1};
static const struct fault read_again = {"read EINTR", HOST_READ, EINTR, SLM_OK, NULL, 0};
static const struct fault read_short = {"short read", HOST_READ, HOST_SHORT, SLM_OK, NULL, 1};
static const struct fault read_end = {"file ends", HOST_READ, HOST_END, SLM_E_IO, "file ends", 1};
static const struct fault call_fails = {"callback -1", HOST_CALLBACK, EIO, SLM_E_IO, "-1 of", 1};
static const struct fault call_end = {"callback 0", HOST_CALLBACK, HOST_END, SLM_E_IO, "0 of", 1};
static const struct fault call_wild = {"callback lies", HOST_CALLBACK,       HOST_WILD,
                                       SLM_E_IO,        "the read callback", 1};
static const struct fault call_short = {"callback short", HOST_CALLBACK, HOST_SHORT,
                                        SLM_OK,           NULL,          1};
static const struct fault no_thread = {"no thread",  HOST_THREAD,       EAGAIN,
                                       SLM_E_THREAD, "thread: a limit", 1};
static const struct fault no_attr = {
    "no attr", HOST_ATTR, ENOMEM, SLM_E_THREAD, "thread: out of memory", 1};
static const struct fault no_stack = {"no stack",   HOST_STACK,        EINVAL,
                                      SLM_E_THREAD, "thread: invalid", 1};
static const struct fault no_lock = {"no lock", HOST_LOCK, ENOMEM, SLM_E_THREAD, "cannot make", 1};

static void host_calm(void)
{
    host.at = 0;
}

static void make_scene(struct scene *s, int has)
{
    slm_error err;
    memset(s, 0, sizeof *s);
    if ((has & HAS_TINY) != 0) {
        must(load_memory(s, &err), &err);
    }
    if ((has & HAS_STORY) != 0) {
        must(load_story(s, &err), &err);
    }
    if ((has & HAS_POOL) != 0) {
        must(create_pool(s, &err), &err);
    }
    if ((has & HAS_CONTEXT) != 0) {
        must(create_context(s, &err), &err);
    }
    if ((has & HAS_SAMPLER) != 0) {
        must(create_sampler(s, &err), &err);
    }
    if ((has & HAS_PREFIX) != 0) {
        must(prefill(s, &err), &err);
    }
    if ((has & HAS_GENERATOR) != 0) {
        must(generate_begin(s, &err), &err);
    }
    if ((has & HAS_CHAT) != 0) {
        must(create_chat(s, &err), &err);
    }
    if ((has & HAS_PROMPT) != 0) {
        must(render(s, &err), &err);
    }
    if ((has & HAS_OUTPUT) != 0) {
        must(create_output(s, &err), &err);
    }
    if ((has & HAS_ANSWER) != 0) {
        must(push_answer(s, &err), &err);
    }
}

static void assert_nothing_left(const char *name, int64_t at)
{
    int32_t n_threads = __atomic_load_n(&host.n_threads, __ATOMIC_SEQ_CST);
    if (heap.n_blocks != 0 || heap.now != 0 || host.n_files != 0 || host.n_maps != 0 ||
        host.n_attrs != 0 || n_threads != 0) {
        fail_msg("%s, %d: left are %d blocks, %d files, %d maps, %d attributes, %d threads", name,
                 (int)at, (int)heap.n_blocks, (int)host.n_files, (int)host.n_maps,
                 (int)host.n_attrs, (int)n_threads);
    }
}

/* What exists is what existed: a failed call makes and destroys nothing. */
struct existing {
    const void *objects[9];
    int64_t n_blocks, n_files, n_maps;
    uint64_t bytes;
    int32_t n_threads;
};

static struct existing existing_of(const struct scene *s)
{
    struct existing e = {{s->model, s->pool, s->context, s->sampler, s->copy, s->generator, s->chat,
                          s->prompt, s->output},
                         heap.n_blocks,
                         host.n_files,
                         host.n_maps,
                         heap.now,
                         __atomic_load_n(&host.n_threads, __ATOMIC_SEQ_CST)};
    return e;
}

static void assert_untouched(const char *name, int64_t at, const struct existing *before,
                             const struct scene *s)
{
    struct existing now = existing_of(s);
    if (memcmp(now.objects, before->objects, sizeof now.objects) != 0) {
        fail_msg("%s, %d: a failed call leaves another object", name, (int)at);
    }
    if (now.n_blocks != before->n_blocks || now.bytes != before->bytes ||
        now.n_files != before->n_files || now.n_maps != before->n_maps ||
        now.n_threads != before->n_threads) {
        fail_msg("%s, %d: a failed call keeps %d blocks, %d bytes, %d files, %d maps, %d threads",
                 name, (int)at, (int)(now.n_blocks - before->n_blocks),
                 (int)(now.bytes - before->bytes), (int)(now.n_files - before->n_files),
                 (int)(now.n_maps - before->n_maps), (int)(now.n_threads - before->n_threads));
    }
}

/* One run with request number `at` refused. */
static void sweep_point(const struct scenario *c, const struct fault *f, int64_t at, int lasting,
                        int with_error, uint64_t expected)
{
    struct scene s;
    slm_error err;
    memset(&err, 0x55, sizeof err);
    make_scene(&s, c->has);
    struct existing before = existing_of(&s);
    host.call = f->call;
    host.code = f->code;
    host.lasting = lasting;
    host.at = host.calls[f->call] + at;
    int status = c->act(&s, with_error ? &err : NULL);
    int64_t was_at = host.at;
    int reached = host.calls[f->call] >= was_at;
    host_calm();
    if (!reached || status != f->status) {
        fail_msg("%s, %s %d%s: %s where %s is right%s (%s)", c->name, f->name, (int)at,
                 lasting ? " and later" : "", slm_status_name(status), slm_status_name(f->status),
                 reached ? "" : "; never refused", with_error ? err.message : "");
    }
    if (with_error) {
        assert_int_equal(err.code, status);
        assert_non_null(memchr(err.message, 0, sizeof err.message));
        if (status != SLM_OK && (err.message[0] == 0 || strstr(err.message, f->says) == NULL)) {
            fail_msg("%s, %s %d: '%s' does not say '%s'", c->name, f->name, (int)at, err.message,
                     f->says);
        }
    }
    if (status != SLM_OK) {
        if (c->act == next_event) { /* keeps a buffer that has grown */
            before.n_blocks = heap.n_blocks;
            before.bytes = heap.now;
        }
        assert_untouched(c->name, at, &before, &s);
        must(c->act(&s, &err), &err);
    }
    if (c->check(&s) != expected) {
        fail_msg("%s, %s %d: another result than undisturbed", c->name, f->name, (int)at);
    }
    free_scene(&s);
    assert_nothing_left(c->name, at);
}

/* `least`: so many points there are at least. */
static void sweep(const struct scenario *c, const struct fault *f, int64_t least)
{
    struct scene s;
    slm_error err;
    host_calm();
    make_scene(&s, c->has);
    int64_t before = host.calls[f->call];
    must(c->act(&s, &err), &err);
    int64_t n = host.calls[f->call] - before;
    uint64_t expected = c->check(&s);
    free_scene(&s);
    assert_nothing_left(c->name, 0);
    printf("%-24s %-14s %3d points, at least %d are expected\n", c->name, f->name, (int)n,
           (int)least);
    assert_true(n >= least && least > 0);
    for (int64_t at = 1; at <= n; at++) {
        sweep_point(c, f, at, 0, 1, expected);
        sweep_point(c, f, at, 0, 0, expected);
        if (f->forever) {
            sweep_point(c, f, at, 1, 1, expected);
        }
    }
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static const struct scenario mapped = {"load, mapped", 0, load_mapped, model_works};
static const struct scenario read_in = {"load, read", 0, load_read, model_works};
static const struct scenario metadata = {"load, metadata", 0, load_metadata, metadata_works};
static const struct scenario in_memory = {"load, memory", 0, load_memory, model_works};
static const struct scenario copied = {"load, memory, read", 0, load_memory_read, model_works};
static const struct scenario callback = {"load, callback", 0, load_callback, model_works};
static const struct scenario split = {"load, split", 0, load_split, model_works};
static const struct scenario split_read = {"load, split, read", 0, load_split_read, model_works};
static const struct scenario split_memory = {"load, split, memory", 0, load_split_memory,
                                             model_works};
static const struct scenario split_callback = {"load, split, callback", 0, load_split_callback,
                                               model_works};
static const struct scenario story = {"load, storyteller", 0, load_story, story_tokenizes};
static const struct scenario pool = {"pool", HAS_TINY, create_pool, pool_works};
static const struct scenario context_own = {"context, own pool", HAS_TINY, create_context_own_pool,
                                            works_in_context};
static const struct scenario context_shared = {"context, shared pool", HAS_TINY | HAS_POOL,
                                               create_context, works_in_context};
static const struct scenario life = {"whole life", 0, whole_life, text_and_tokens};

static void loading_survives_every_refused_allocation(void **state)
{
    (void)state;
    sweep(&mapped, &no_memory, 10);
    sweep(&read_in, &no_memory, 10);
    sweep(&metadata, &no_memory, 10);
    sweep(&in_memory, &no_memory, 10);
    sweep(&copied, &no_memory, 10);
    sweep(&callback, &no_memory, 10);
    sweep(&split, &no_memory, 13);
    sweep(&split_read, &no_memory, 13);
    sweep(&split_memory, &no_memory, 13);
    sweep(&split_callback, &no_memory, 13);
}

static void loading_a_real_vocabulary_survives_every_refused_allocation(void **state)
{
    (void)state;
    TESTING_NEEDS(TESTING_STORYTELLER);
    sweep(&story, &no_memory, 11);
}

static void loading_survives_files_that_cannot_be_opened(void **state)
{
    (void)state;
    sweep(&mapped, &no_file, 1);
    sweep(&mapped, &open_again, 1);
    sweep(&mapped, &no_stat, 1);
    sweep(&mapped, &no_seek, 2); /* a file that was mapped is asked again: is it still as long? */
    sweep(&mapped, &no_map, 1);
    sweep(&split, &no_file, SHARDS);
    sweep(&split, &open_again, SHARDS);
    sweep(&split, &no_stat, SHARDS);
    sweep(&split, &no_seek, 2 * SHARDS);
    sweep(&split, &no_map, SHARDS);
    sweep(&split_read, &no_file, SHARDS);
    sweep(&split_read, &no_stat, SHARDS);
    sweep(&split_read, &no_seek, SHARDS);
}

static void loading_survives_reads_that_fail_and_finishes_those_that_are_short(void **state)
{
    (void)state;
    sweep(&read_in, &no_read, 12);
    sweep(&read_in, &read_end, 12);
    sweep(&read_in, &read_again, 12);
    sweep(&read_in, &read_short, 12);
    sweep(&split_read, &no_read, 12);
    sweep(&split_read, &read_end, 12);
    sweep(&split_read, &read_again, 12);
}

static void loading_survives_a_callback_that_fails_or_lies(void **state)
{
    (void)state;
    sweep(&callback, &call_fails, 12);
    sweep(&callback, &call_end, 12);
    sweep(&callback, &call_wild, 12);
    sweep(&callback, &call_short, 12);
    sweep(&split_callback, &call_fails, 12);
}

static void making_pools_and_contexts_survives_every_refusal(void **state)
{
    (void)state;
    sweep(&pool, &no_memory, 1);
    sweep(&pool, &no_attr, 3);
    sweep(&pool, &no_stack, 3);
    sweep(&pool, &no_thread, 3);
    sweep(&pool, &no_lock, 3);
    sweep(&context_own, &no_memory, 2);
    sweep(&context_own, &no_attr, 3);
    sweep(&context_own, &no_stack, 3);
    sweep(&context_own, &no_thread, 3);
    sweep(&context_own, &no_lock, 3);
    sweep(&context_shared, &no_memory, 1);
}

/* The count of CPUs reads files of the system, and makes do where there are none. */
static void making_a_pool_does_not_need_the_files_of_the_system(void **state)
{
    (void)state;
    if (!testing_exists("/proc/self/cgroup")) {
        printf("skipped: no /proc/self/cgroup here\n");
        skip();
    }
    sweep(&pool, &no_file_cpu, 1);
    sweep(&pool, &no_read_cpu, 1);
}

static void samplers_survive_every_refused_allocation(void **state)
{
    static const struct scenario create = {"sampler", HAS_TINY | HAS_CONTEXT | HAS_PREFIX,
                                           create_sampler, samplers_work};
    static const struct scenario clone = {"sampler, clone",
                                          HAS_TINY | HAS_CONTEXT | HAS_SAMPLER | HAS_PREFIX,
                                          clone_sampler, samplers_work};
    (void)state;
    sweep(&create, &no_memory, 1);
    sweep(&clone, &no_memory, 1);
}

static void tokenizing_survives_every_refused_allocation(void **state)
{
    static const struct scenario spm = {"tokenize, spm", HAS_TINY, tokenize_spm, text_and_tokens};
    static const struct scenario bpe = {"tokenize, bpe", HAS_STORY, tokenize_bpe, text_and_tokens};
    (void)state;
    sweep(&spm, &no_memory, 6);
    TESTING_NEEDS(TESTING_STORYTELLER);
    sweep(&bpe, &no_memory, 6);
}

static void beginning_to_generate_survives_every_refused_allocation(void **state)
{
    static const int has = HAS_TINY | HAS_CONTEXT;
    const struct scenario text = {"generate, text", has | HAS_SAMPLER, generate_begin, generates};
    const struct scenario greedy = {"generate, greedy", has, generate_begin_greedy, generates};
    const struct scenario later = {"generate, later", has | HAS_PREFIX, generate_begin_greedy,
                                   generates};
    const struct scenario ids = {"generate, tokens", has | HAS_SAMPLER, generate_begin_tokens,
                                 generates};
    const struct scenario healed = {"generate, healed", has | HAS_SAMPLER, generate_begin_healed,
                                    generates};
    (void)state;
    sweep(&text, &no_memory, 9);
    sweep(&healed, &no_memory, 10);
    sweep(&greedy, &no_memory, 10);
    sweep(&later, &no_memory, 10);
    sweep(&ids, &no_memory, 3);
}

static void chats_survive_every_refused_allocation(void **state)
{
    static const struct scenario template_ = {"chat template", HAS_TINY, create_chat, chat_renders};
    static const struct scenario prompt = {"render", HAS_TINY | HAS_CHAT, render, prompt_of};
    static const struct scenario segments = {"tokenize segments", HAS_TINY | HAS_CHAT | HAS_PROMPT,
                                             tokenize_prompt, text_and_tokens};
    static const struct scenario output = {"chat output", 0, create_output, output_reads};
    static const struct scenario probed = {"chat output, probed", HAS_TINY | HAS_CHAT,
                                           create_output_of_template, output_reads};
    static const struct scenario push = {"push", HAS_OUTPUT, push_answer, output_reads};
    static const struct scenario next = {"next", HAS_OUTPUT | HAS_ANSWER, next_event, output_reads};
    (void)state;
    sweep(&template_, &no_memory, 2);
    sweep(&prompt, &no_memory, 3);
    sweep(&segments, &no_memory, 3);
    sweep(&output, &no_memory, 2);
    sweep(&probed, &no_memory, 3);
    sweep(&push, &no_memory, 1);
    sweep(&next, &no_memory, 1);
}

static void a_whole_life_survives_every_refusal(void **state)
{
    (void)state;
    sweep(&life, &no_memory, 20);
    sweep(&life, &no_stat, 1);
    sweep(&life, &no_attr, 3);
    sweep(&life, &no_stack, 3);
    sweep(&life, &no_thread, 3);
    sweep(&life, &no_lock, 3);
}

static void after_creation_nothing_is_asked_for(void **state)
{
    static const int all = HAS_TINY | HAS_POOL | HAS_CONTEXT | HAS_SAMPLER;
    const struct scenario quiet[] = {
        {"detokenize", HAS_TINY, detokenize, text_and_tokens},
        {"prefill", all, prefill, logits_and_lengths},
        {"embed", all, embed, nothing_to_see},
        {"decode", all | HAS_PREFIX, decode, logits_and_lengths},
        {"sample", all | HAS_PREFIX, sample, text_and_tokens},
        {"fork, rewind", all | HAS_PREFIX, fork_and_rewind, logits_and_lengths},
        {"decode after a fork", all | HAS_PREFIX, decode, works_in_context},
        {"questions", all, ask, nothing_to_see},
        {"generate", all | HAS_GENERATOR, generate_to_the_end, text_and_tokens},
        {"free", all | HAS_PREFIX | HAS_GENERATOR, free_everything, nothing_to_see},
    };
    (void)state;
    for (size_t i = 0; i < sizeof quiet / sizeof quiet[0]; i++) {
        struct scene s;
        slm_error err;
        int64_t before[HOST_CALLS];
        host_calm();
        make_scene(&s, quiet[i].has);
        memcpy(before, host.calls, sizeof before);
        must(quiet[i].act(&s, &err), &err);
        for (int call = 0; call < HOST_CALLS; call++) {
            if (host.calls[call] != before[call]) {
                fail_msg("%s asks %d times for something of kind %d", quiet[i].name,
                         (int)(host.calls[call] - before[call]), call);
            }
        }
        assert_true(quiet[i].check(&s) != 0);
        free_scene(&s);
        assert_nothing_left(quiet[i].name, 0);
        printf("%-24s asks for nothing\n", quiet[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_survives_every_refused_allocation),
        cmocka_unit_test(loading_a_real_vocabulary_survives_every_refused_allocation),
        cmocka_unit_test(loading_survives_files_that_cannot_be_opened),
        cmocka_unit_test(loading_survives_reads_that_fail_and_finishes_those_that_are_short),
        cmocka_unit_test(loading_survives_a_callback_that_fails_or_lies),
        cmocka_unit_test(making_pools_and_contexts_survives_every_refusal),
        cmocka_unit_test(making_a_pool_does_not_need_the_files_of_the_system),
        cmocka_unit_test(samplers_survive_every_refused_allocation),
        cmocka_unit_test(tokenizing_survives_every_refused_allocation),
        cmocka_unit_test(beginning_to_generate_survives_every_refused_allocation),
        cmocka_unit_test(chats_survive_every_refused_allocation),
        cmocka_unit_test(a_whole_life_survives_every_refusal),
        cmocka_unit_test(after_creation_nothing_is_asked_for),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
