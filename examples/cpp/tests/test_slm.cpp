/* test_slm.cpp - slm.hpp, compiled with and without SLM_CPP_EXCEPTIONS, and without exceptions at
 * all: run.sh has the list. A check that fails says its line, and the program returns 1. */
#include "../slm.hpp"

#include <array>
#include <atomic>
#include <cstdio>
#include <thread>

static std::atomic<int> failures;

#define CHECK(condition)                                                                           \
    ((condition)                                                                                   \
         ? (void)0                                                                                 \
         : (void)(failures++, std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition)))

#ifdef SLM_CPP_EXCEPTIONS
/* The value of a call that must work, and the status of any. */
template <class T> static T get(T &&value)
{
    return std::forward<T>(value);
}
template <class F> static int status_of(F &&call)
{
    try {
        (void)call();
        return SLM_OK;
    } catch (const slm::error &error) {
        CHECK(std::string(error.what()).find(error.name()) == 0 && *error.message() != 0);
        return error.status();
    }
}
#else
template <class T> static T get(slm::result<T> &&result)
{
    CHECK(result.has_value());
    return std::move(*result);
}
template <class F> static int status_of(F &&call)
{
    auto result = call();
    CHECK(result.has_value() == result.error().ok());
    CHECK(result.has_value() || *result.error().message() != 0);
    return result.error().status();
}
#endif

static const char *const storyteller = "examples/models/storyteller-q8_0.gguf";
static const char *const prompt = "Once upon a time";

static slm::context small_context(const slm::model &model)
{
    slm::context_options options;
    options.n_ctx = 1024;
    options.n_sequences = 2;
    options.n_threads = 1;
    return get(slm::context::create(model, options));
}

static std::vector<unsigned char> whole_file(const char *path)
{
    std::vector<unsigned char> data;
    if (std::FILE *file = std::fopen(path, "rb")) {
        unsigned char buffer[4096];
        for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
            data.insert(data.end(), buffer, buffer + n);
        }
        std::fclose(file);
    }
    return data;
}

static std::string story(slm::context &context, std::int32_t sequence, std::int32_t max_tokens = 20)
{
    slm::generate_options options;
    options.sequence = sequence;
    options.max_tokens = max_tokens;
    auto generator = get(slm::generator::begin(context, prompt, options));
    std::string text;
    for (const slm::piece &piece : generator) {
        text += piece.text;
    }
    return text;
}

static void test_model(const slm::model &model)
{
    CHECK(std::string(get(model.info()).family) == "llama");
    auto tokens = get(model.tokenize("a little dog"));
    CHECK(get(model.detokenize(tokens)) == "a little dog");
    CHECK(get(model.detokenize(get(model.tokenize("")))).empty());
    auto info = get(model.token_info(get(model.info()).eos_token));
    CHECK(info.is_end == 1);
    CHECK(get(model.token_find(std::string_view(info.text, info.text_size))) ==
          get(model.info()).eos_token);
    auto index = get(model.metadata_find("general.architecture"));
    auto entry = get(model.metadata(index));
    CHECK(std::string_view(entry.text, entry.text_size) == "llama");
    CHECK(get(model.metadata_find(std::string_view("general.architecture\0x", 22))) == -1);
    CHECK(get(model.tensor(0)).size > 0);
    CHECK(get(slm::context::plan(model)).context_heap_bytes > 0);
    CHECK(status_of([&] { return model.token_info(-1); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return model.tensor(1 << 20); }) == SLM_E_ARGUMENT);
}

static void test_bad_models()
{
    auto data = whole_file(storyteller);
    for (std::size_t size : {std::size_t(0), std::size_t(3), std::size_t(5000), data.size() - 1}) {
        std::vector<unsigned char> part(data.begin(), data.begin() + static_cast<long>(size));
        CHECK(status_of([&] { return slm::model::open_memory(part); }) < 0);
    }
    data[8] ^= 0xff;
    CHECK(status_of([&] { return slm::model::open_memory(data); }) == SLM_E_FORMAT);
    data[8] ^= 0xff;
    {
        auto context = small_context(get(slm::model::open_memory(data)));
        CHECK(!story(context, 0).empty());
    }
    CHECK(status_of([] { return slm::model::open("/no/such/file.gguf"); }) == SLM_E_IO);
    CHECK(status_of([] { return slm::model::open(std::string("a\0b", 3)); }) == SLM_E_IO);
    slm::model_options options;
    options.max_bytes = 1000;
    CHECK(status_of([&] { return slm::model::open(storyteller, options); }) == SLM_E_MEMORY);
}

static void test_generation(const slm::model &model)
{
    auto context = small_context(model);
    std::string text = story(context, 0);
    CHECK(text.size() > 20);

    slm::generate_options options;
    options.sequence = 1;
    options.max_tokens = 20;
    auto generator = get(slm::generator::begin(context, prompt, options));
    std::string again;
    std::int32_t reason =
        get(generator.each([&](const slm::piece &piece) { again += piece.text; }));
    CHECK(again == text && reason == SLM_END_LIMIT);
    CHECK(get(generator.stats()).n_generated == 20);
    generator.close();

    options.stops = {"little"};
    options.max_tokens = SLM_AUTO;
    CHECK(status_of([&] { return context.rewind(1); }) == SLM_OK);
    generator = get(slm::generator::begin(context, prompt, options));
    std::size_t n = 0;
    reason = get(generator.each([&](const slm::piece &) { return ++n == 2; }));
    CHECK(reason == 0 && n == 2); /* left by the callback; the rest is there */
    CHECK(get(generator.each([](const slm::piece &) {})) == SLM_END_STOP);
    CHECK(status_of([&] { return context.rewind(1); }) == SLM_E_BUSY);
    generator.close();
    options.stops = {std::string("a\0b", 3)};
    CHECK(status_of([&] { return slm::generator::begin(context, prompt, options); }) ==
          SLM_E_ARGUMENT);
    options.stops.clear();
    options.sequence = 9;
    CHECK(status_of([&] { return slm::generator::begin(context, prompt, options); }) ==
          SLM_E_ARGUMENT);
    std::array<std::int32_t, 2000> many{};
    options.sequence = 1;
    CHECK(status_of([&] { return slm::generator::begin(context, many, options); }) == SLM_E_FULL);
}

static void test_cancelled(const slm::model &model)
{
    auto context = small_context(model);
    std::string text = story(context, 0);
    slm::cancel_flag cancel;
    slm::generate_options options;
    options.sequence = 1;
    options.max_tokens = 20;
    options.cancel = cancel.address();
    auto generator = get(slm::generator::begin(context, prompt, options));
    std::string part(get(generator.next()).text);
    std::thread([&] { cancel.set(); }).join();
    CHECK(status_of([&] { return generator.next(); }) == SLM_E_CANCELLED);
#ifndef SLM_CPP_EXCEPTIONS
    for (const slm::piece &piece : generator) {
        CHECK(piece.kind < 0); /* there is none */
    }
    CHECK(generator.last_error().status() == SLM_E_CANCELLED);
#endif
    cancel.clear();
    (void)generator.each([&](const slm::piece &piece) { part += piece.text; });
    CHECK(part == text);
}

static void test_eval(const slm::model &model)
{
    slm::context context;
    auto sampler = get(slm::sampler::create(model, {}));
    auto tokens = get(model.tokenize(prompt));
    {
        auto made = small_context(model);
        context = std::move(made);
        CHECK(!made && status_of([&] { return made.eval(tokens); }) == SLM_E_ARGUMENT);
    }
    slm_span spans[] = {slm::span_of(tokens), slm::span_of(tokens, 1)};
    CHECK(status_of([&] { return context.eval(spans); }) == SLM_OK);
    CHECK(spans[1].n_done == spans[1].n_tokens);
    auto row = get(context.logits());
    CHECK(row.size() == static_cast<std::size_t>(get(model.info()).n_vocab));
    std::int32_t best = get(sampler.sample(row));
    CHECK(row[static_cast<std::size_t>(best)] >= row[0]);
    CHECK(status_of([&] { return sampler.accept(best); }) == SLM_OK);
    auto copy = get(sampler.clone());
    CHECK(status_of([&] { return copy.rewind(1); }) == SLM_OK);
    CHECK(status_of([&] { return context.logits(7); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return context.rewind(0, 2); }) == SLM_OK);
    CHECK(status_of([&] { return context.fork(0, 1); }) == SLM_OK);
    CHECK(get(context.length(1)) == 2 && get(context.info()).n_sequences == 2);
    std::int32_t wrong[] = {1 << 24};
    CHECK(status_of([&] { return context.eval(wrong); }) == SLM_E_ARGUMENT);

    CHECK(status_of([&] { return context.rewind(1); }) == SLM_OK);
    slm::embed_options mean;
    mean.pooling = SLM_POOLING_MEAN;
    auto rows = get(context.embed({tokens, {tokens[0]}}, mean));
    CHECK(rows.size() == 2 * static_cast<std::size_t>(get(model.info()).n_embd_out));
    mean.pooling = SLM_POOLING_CLS;
    CHECK(status_of([&] { return context.embed({tokens}, mean); }) == SLM_E_ARGUMENT);

    slm_logit_bias bias[] = {{best, -1e30f}};
    auto other = get(slm::sampler::create(
        model, {slm::stage::logit_bias(bias), slm::stage::penalties(64, 1.1f), slm::stage::top_k(5),
                slm::stage::top_p(0.9f), slm::stage::min_p(0.1f), slm::stage::temperature(0.8f)}));
    (void)context.rewind(0);
    CHECK(status_of([&] { return context.eval(tokens); }) == SLM_OK);
    CHECK(get(other.sample(get(context.logits()))) != best);
    auto bad = slm::stage::top_k(1);
    bad.kind = 99;
    CHECK(status_of([&] { return slm::sampler::create(model, {bad}); }) == SLM_E_ARGUMENT);
    float short_row[3] = {};
    CHECK(status_of([&] { return other.sample(short_row); }) == SLM_E_ARGUMENT);
}

/* Objects in any order; closed, moved-from and never made ones answer with an error. */
static void test_closed()
{
    auto model = get(slm::model::open(storyteller));
    auto context = small_context(model);
    auto sampler = get(slm::sampler::create(model, {slm::stage::temperature(1)}));
    slm::generate_options options;
    options.sampler = &sampler;
    auto generator = get(slm::generator::begin(context, prompt, options));
    model.close();
    model.close();
    sampler.close();
    context.close();
    CHECK(!get(generator.next()).text.empty());
    auto moved = std::move(generator);
    CHECK(!get(moved.next()).text.empty());
    moved.close();

    CHECK(status_of([&] { return generator.next(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return moved.stats(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return moved.each([](const slm::piece &) {}); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return model.tokenize("a"); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return model.info(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return slm::context::create(model); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return slm::context::plan(model); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return slm::sampler::create(model, {}); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return sampler.accept(1); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return sampler.clone(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return context.length(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return context.info(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return context.logits(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return context.rewind(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return context.embed({{1}}); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return slm::generator::begin(context, "a"); }) == SLM_E_ARGUMENT);
    auto other = small_context(get(slm::model::open(storyteller)));
    CHECK(status_of([&] { return slm::generator::begin(other, "a", options); }) == SLM_E_ARGUMENT);
    slm::chat_template chat;
    slm::chat_prompt none;
    CHECK(status_of([&] { return slm::chat_template::builtin(model, "chatml"); }) ==
          SLM_E_ARGUMENT);
    CHECK(status_of([&] { return slm::chat_template::create(model); }) < 0);
    slm::chat_output output;
    CHECK(status_of([&] { return chat.render("[]"); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return none.text(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return none.tokens(model); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return output.next(); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return output.push(SLM_PIECE_TEXT, "a"); }) == SLM_E_ARGUMENT);
#ifndef SLM_CPP_EXCEPTIONS
    /* Errors that nobody looks at: empty objects, and no crash. */
    auto nothing = slm::model::open("/no/such/file.gguf");
    auto no_context = slm::context::create(*nothing);
    auto no_story = slm::generator::begin(*no_context, prompt);
    for (const slm::piece &piece : *no_story) {
        CHECK(piece.kind < 0);
    }
    CHECK(no_story->last_error().status() == SLM_E_IO);
    CHECK(std::strstr(no_story->last_error().message(), "/no/such/file.gguf"));
    CHECK(slm::sampler::create(*nothing, {}).error().status() == SLM_E_IO);
    nothing->close();
    CHECK(slm::context::create(*nothing).error().status() == SLM_E_ARGUMENT);
#endif
}

static void test_callbacks(const slm::model &model)
{
    auto context = small_context(model);
    std::vector<std::int32_t> tokens(1000, get(model.tokenize("a"))[0]);
    slm_span one[] = {slm::span_of(tokens)};
    slm::eval_options options;
    int calls = 0;
    options.progress = [&](std::uint64_t, std::uint64_t) { return ++calls == 1; };
    CHECK(status_of([&] { return context.eval(one, options); }) == SLM_E_CANCELLED);
    CHECK(calls == 1 && one[0].n_done == get(context.length()) && one[0].n_done > 0);
    (void)context.rewind();
    options.progress = [&](std::uint64_t, std::uint64_t) {
        CHECK(status_of([&] { return context.rewind(); }) == SLM_E_BUSY);
        return false;
    };
    CHECK(status_of([&] { return context.eval(one, options); }) == SLM_OK);
    std::vector<std::string> lines;
    slm::model_options logging;
    logging.log = [&](std::int32_t, std::string_view line) { lines.emplace_back(line); };
    auto logged = get(slm::model::open(storyteller, logging));
    slm::context_options large;
    large.n_ctx = 4096;
    (void)slm::context::create(logged, large);
    CHECK(!lines.empty());
}

#if defined(__cpp_exceptions)

struct boom : std::exception {
    const char *what() const noexcept override { return "boom"; }
};

/* A callback that throws: the call is cancelled and the exception goes on, or becomes an error. */
template <class F> static void check_throws(F &&call)
{
#ifdef SLM_CPP_EXCEPTIONS
    bool caught = false;
    try {
        (void)call();
    } catch (const boom &) {
        caught = true;
    }
    CHECK(caught);
#else
    auto result = call();
    CHECK(result.error().status() == SLM_E_CANCELLED);
    CHECK(std::string(result.error().message()) == "a callback threw: boom");
#endif
}

static void test_throwing_callbacks(const slm::model &model)
{
    auto throws = [](std::uint64_t, std::uint64_t) -> bool { throw boom(); };
    auto context = small_context(model);
    std::vector<std::int32_t> tokens(1000, 1);
    slm_span one[] = {slm::span_of(tokens)};
    slm::model_options loading;
    slm::eval_options evaluating;
    slm::embed_options embedding;
    slm::generate_options generating;
    loading.progress = evaluating.progress = embedding.progress = generating.progress = throws;
    embedding.pooling = SLM_POOLING_MEAN;
    check_throws([&] { return slm::model::open(storyteller, loading); });
    check_throws([&] { return context.eval(one, evaluating); });
    (void)context.rewind();
    tokens.resize(400);
    check_throws([&] { return context.embed({tokens}, embedding); });
    auto generator = get(slm::generator::begin(context, tokens, generating));
    check_throws([&] { return generator.next(); });
    generator.close();
    (void)context.rewind();
    CHECK(!story(context, 0).empty());

    slm::model_options logging;
    bool quiet = true;
    logging.log = [&](std::int32_t, std::string_view) { quiet ? void() : throw boom(); };
    auto logged = get(slm::model::open(storyteller, logging));
    slm::context_options large;
    large.n_ctx = 4096;
    quiet = false;
    check_throws([&] { return slm::context::create(logged, large); });
    quiet = true;
    CHECK(status_of([&] { return slm::context::create(logged, large); }) == SLM_OK);

    /* Not through slm, but out of the callback of a stream: as anywhere in C++. */
    bool caught = false;
    generator = get(slm::generator::begin(context, prompt));
    try {
        (void)generator.each([](const slm::piece &) { throw boom(); });
    } catch (const boom &) {
        caught = true;
    }
    CHECK(caught);
    CHECK(!get(generator.next()).text.empty());
}

#endif

#ifdef __cpp_lib_memory_resource

struct counting : std::pmr::memory_resource {
    std::atomic<long> blocks{0}, bytes{0};

    void *do_allocate(std::size_t size, std::size_t align) override
    {
        blocks++;
        bytes += static_cast<long>(size);
        return std::pmr::new_delete_resource()->allocate(size, align);
    }
    void do_deallocate(void *p, std::size_t size, std::size_t align) override
    {
        blocks--;
        bytes -= static_cast<long>(size);
        std::pmr::new_delete_resource()->deallocate(p, size, align);
    }
    bool do_is_equal(const memory_resource &other) const noexcept override
    {
        return this == &other;
    }
};

/* Options of one kind that lend from `memory`; what is made of them must take some of it. */
template <class O, class F> static auto borrows(counting &memory, O options, F &&make)
{
    long before = memory.bytes;
    options.memory = &memory;
    auto made = get(make(options));
    CHECK(memory.bytes > before);
    return made;
}

static void test_memory()
{
    counting memory;
    {
        auto model = borrows(memory, slm::model_options(),
                             [](const auto &o) { return slm::model::open(storyteller, o); });
        auto pool = borrows(memory, slm::threads_options(),
                            [](const auto &o) { return slm::threads::create(o); });
        auto sampler = borrows(memory, slm::sampler_options(),
                               [&](const auto &o) { return slm::sampler::create(model, {}, o); });
        auto chat = borrows(memory, slm::chat_template_options(), [&](const auto &o) {
            return slm::chat_template::builtin(model, "chatml", o);
        });
        auto text = borrows(memory, slm::chat_template_options(),
                            [](const auto &o) { return slm::chat_template::create("a", o); });
        auto output = borrows(memory, slm::chat_output_options(),
                              [&](const auto &o) { return slm::chat_output::create(chat, o); });
        slm::context_options small;
        small.n_ctx = 128;
        auto context =
            borrows(memory, small, [&](const auto &o) { return slm::context::create(model, o); });
        CHECK(!story(context, 0, 5).empty());
    }
    CHECK(memory.blocks == 0 && memory.bytes == 0);
#if defined(__cpp_exceptions)
    slm::model_options none;
    none.memory = std::pmr::null_memory_resource(); /* throws, always */
    CHECK(status_of([&] { return slm::model::open(storyteller, none); }) == SLM_E_MEMORY);
#endif
}

#endif

static slm::threads executor(std::function<void(slm::tasks &)> run)
{
    slm::threads_options options;
    options.n_threads = 2;
    options.executor = std::move(run);
    return get(slm::threads::create(options));
}

static slm::context pooled(const slm::model &model, const slm::threads &pool)
{
    slm::context_options options;
    options.n_ctx = 1024;
    options.threads = &pool;
    return get(slm::context::create(model, options));
}

static void test_executor(const slm::model &model)
{
    auto own = small_context(model);
    std::string text = story(own, 0);
    std::atomic<int> ran{0};
    auto run = [&](slm::tasks &tasks) {
        std::thread other([&] {
            while (tasks.run_one()) {
                ran++;
            }
        });
        while (tasks.run_one()) {
            ran++;
        }
        other.join();
        CHECK(tasks.count() > 0 && !tasks.run_one());
    };
    auto pool = executor(run);
    auto context = pooled(model, pool);
    pool.close(); /* the context keeps it, and what it calls */
    CHECK(story(context, 0) == text && ran > 100);
    auto lazy = pooled(model, executor([](slm::tasks &) {}));
    CHECK(story(lazy, 0) == text);
}

#if defined(__cpp_exceptions)

static void test_throwing_executor(const slm::model &model)
{
    int called = 0;
    bool good = false;
    auto context = pooled(model, executor([&](slm::tasks &tasks) {
                              called++;
                              tasks.run_one();
                              good ? void() : throw boom();
                          }));
    std::vector<std::int32_t> tokens(1000, 1);
    slm_span one[] = {slm::span_of(tokens)};
    check_throws([&] { return context.eval(one); });
    CHECK(called == 1 && one[0].n_done > 0 && one[0].n_done < 1000);
    (void)context.rewind();
    auto generator = get(slm::generator::begin(context, tokens));
    check_throws([&] { return generator.next(); });
    CHECK(called == 2);
    generator.close();
    (void)context.rewind();
    good = true;
    auto own = small_context(model);
    CHECK(story(context, 0) == story(own, 0));
}

/* Two threads whose calls make one log throw, at the same time: each is told by its own call. */
static void test_throwing_log_of_two_threads()
{
    std::atomic<int> heard{0};
    slm::model_options logging;
    logging.log = [&](std::int32_t, std::string_view) {
        int round = heard++ / 2;
        while (heard < 2 * round + 2) {
            std::this_thread::yield();
        }
        throw boom();
    };
    auto model = get(slm::model::open(storyteller, logging));
    slm::context_options large;
    large.n_ctx = 4096;
    large.n_threads = 1;
    auto work = [&] {
        for (int i = 0; i < 50; i++) {
            check_throws([&] { return slm::context::create(model, large); });
        }
    };
    std::thread other(work);
    work();
    other.join();
}

#endif

static void test_chat(const slm::model &model)
{
    auto chat = get(slm::chat_template::builtin(model, "chatml"));
    auto rendered = get(chat.render("[{\"role\": \"user\", \"content\": \"Hi<|im_end|>\"}]"));
    CHECK(get(rendered.text()) ==
          "<|im_start|>user\nHi<|im_end|><|im_end|>\n<|im_start|>assistant\n");
    CHECK(get(rendered.info()).n_segments > 1);
    auto tokens = get(rendered.tokens(model));
    auto context = small_context(model);
    auto output = get(slm::chat_output::create(chat));
    (void)output.begin(rendered);
    slm::generate_options options;
    options.chat_output = &output;
    options.max_tokens = 10;
    auto generator = get(slm::generator::begin(context, tokens, options));
    std::string answer;
    auto reason =
        get(generator.each(output, [&](const slm::event &event) { answer += event.text; }));
    CHECK(!answer.empty() && reason == SLM_END_LIMIT);

    slm::chat_output_options styles;
    styles.tool_calls = "hermes";
    auto calls = get(slm::chat_output::create(slm::chat_template(), styles));
    (void)calls.push(SLM_PIECE_TEXT,
                     "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</tool_call>");
    (void)calls.push(SLM_PIECE_END, "");
    auto event = get(calls.next());
    CHECK(event.kind == SLM_CHAT_TOOL_CALL && event.name == "f" && event.text == "{\"x\": 1}");
    CHECK(get(calls.next()).kind == SLM_CHAT_END);

    CHECK(status_of([&] { return chat.render("[{"); }) == SLM_E_ARGUMENT);
    CHECK(status_of([&] { return slm::chat_template::create("{% if %}"); }) == SLM_E_TEMPLATE);
    CHECK(status_of([&] { return slm::chat_template::builtin(model, "nonsense"); }) ==
          SLM_E_UNSUPPORTED);
}

/* Two threads and one context: one of them may be told SLM_E_BUSY, and that is all. */
static void test_two_threads(const slm::model &model)
{
    auto context = small_context(model);
    auto pool = get(slm::threads::create());
    slm::context_options options;
    options.threads = &pool;
    CHECK(status_of([&] { return slm::context::create(model, options); }) == SLM_OK);
    CHECK(get(slm::context::plan(model, options)).stack_bytes == 0);
    slm::threads closed;
    options.threads = &closed;
    CHECK(status_of([&] { return slm::context::create(model, options); }) == SLM_E_ARGUMENT);
    std::vector<std::int32_t> tokens(50, 1);
    std::atomic<int> wrong{0};
    auto work = [&](std::int32_t sequence) {
        for (int i = 0; i < 10; i++) {
            int status = status_of([&] { return context.eval(tokens, sequence); });
            wrong += status != SLM_OK && status != SLM_E_BUSY;
        }
    };
    std::thread other(work, 1);
    work(0);
    other.join();
    CHECK(wrong == 0);
}

static void run()
{
    auto model = get(slm::model::open(storyteller));
    test_model(model);
    test_bad_models();
    test_generation(model);
    test_cancelled(model);
    test_eval(model);
    test_closed();
    test_callbacks(model);
#if defined(__cpp_exceptions)
    test_throwing_callbacks(model);
    test_throwing_executor(model);
    test_throwing_log_of_two_threads();
#endif
#ifdef __cpp_lib_memory_resource
    test_memory();
#endif
    test_executor(model);
    test_chat(model);
    test_two_threads(model);
}

int main()
{
#ifdef SLM_CPP_EXCEPTIONS
    try {
        run();
    } catch (const std::exception &error) {
        failures++;
        std::fprintf(stderr, "%s\n", error.what());
    }
#else
    run();
#endif
    return failures != 0;
}
