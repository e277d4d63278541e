/* slm.hpp - slm for C++17 and later: this header and slm.h, nothing to compile but slm.c.
 *
 *     #include "slm.hpp"
 *     #include <iostream>
 *
 *     int main()
 *     {
 *         auto model = slm::model::open("model.gguf");
 *         auto context = slm::context::create(*model);
 *         auto story = slm::generator::begin(*context, "Once upon a time");
 *         for (const slm::piece &piece : *story)
 *             std::cout << piece.text << std::flush;
 *         if (!story->last_error().ok())
 *             std::cerr << story->last_error().message() << '\n';
 *     }
 *
 * Errors. A call that can fail gives result<T>: `if (r)` it has *r, else r.error(). A failed result
 * has an empty T, and an empty object answers every call with SLM_E_ARGUMENT: nothing is undefined. What
 * is made of one that is empty because of an error, and a generator of it, have that error, so that a
 * program may look at its end, as this one does. The header compiles with -fno-exceptions -fno-rtti.
 *     With SLM_CPP_EXCEPTIONS defined before it, result<T> is T itself, and what fails throws
 * slm::error, a std::runtime_error: `auto model = slm::model::open(...)`, then `model.info()`.
 * Both kinds of source files may be linked into one program.
 *
 * Objects are moved and not copied, and free what they own; as in C they may go in any order. A
 * moved-from one is empty. Threads: as slm.h says of each.
 *
 * Options are the structs of slm.h with their defaults filled in, and callbacks, strings and objects
 * in C++'s types.
 *
 * Callbacks are called in the thread that called. What they throw does not pass through slm: no
 * callback is called again in that call, which is cancelled where it can be, after the batch at the
 * latest; with SLM_CPP_EXCEPTIONS the exception goes on from there, else the error is SLM_E_CANCELLED
 * with its what().
 *
 * Memory: std::string, std::vector and std::function are used, and throw as they always do. What slm
 * itself allocates comes from the std::pmr::memory_resource that options have as `memory`. */
#ifndef SLM_HPP
#define SLM_HPP

#if defined(__has_include) && __has_include("slm.h")
#include "slm.h"
#else
#include "../../slm.h"
#endif

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#if __has_include(<memory_resource>)
#include <memory_resource>
#endif
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions)
#include <exception>
#endif
/* What differs between files that are compiled in different ways has different names. */
#ifdef SLM_CPP_EXCEPTIONS
#include <stdexcept>
#define SLM_CPP_NAMESPACE throwing
#elif defined(__cpp_exceptions)
#define SLM_CPP_NAMESPACE returning
#else
#define SLM_CPP_NAMESPACE returning_without_exceptions
#endif

namespace slm {
inline namespace SLM_CPP_NAMESPACE {

/* ---- Errors ---------------------------------------------------------------------------------- */

namespace detail {

/* What slm_error tells. */
class told {
  public:
    told() noexcept : error_() {}
    explicit told(const slm_error &e) noexcept : error_(e) {}

    int status() const noexcept { return error_.code; } /* SLM_OK, SLM_E_ */
    const char *name() const noexcept { return slm_status_name(error_.code); }
    const char *message() const noexcept { return error_.message; }
    std::int64_t position() const noexcept { return error_.position; }
    bool ok() const noexcept { return error_.code == SLM_OK; }

  private:
    slm_error error_;
};

} // namespace detail

#ifdef SLM_CPP_EXCEPTIONS

class error : public std::runtime_error, public detail::told {
  public:
    explicit error(const slm_error &e)
        : std::runtime_error(std::string(slm_status_name(e.code)) + ": " + e.message), told(e)
    {
    }
};

#else

/* Also no error: ok(). */
class error : public detail::told {
  public:
    using told::told;
};

#endif

#ifdef SLM_CPP_EXCEPTIONS

template <class T> using result = T;

#else

/* A value or an error. The value of a failed result is T(). */
template <class T> class [[nodiscard]] result {
  public:
    result(T value) : value_(std::move(value)) {}
    result(const slm::error &e) : value_(), error_(e) {}
    result(const slm::error &e, T empty) : value_(std::move(empty)), error_(e) {}

    explicit operator bool() const noexcept { return error_.ok(); }
    bool has_value() const noexcept { return error_.ok(); }
    const slm::error &error() const noexcept { return error_; }

    T &operator*() &noexcept { return value_; }
    const T &operator*() const &noexcept { return value_; }
    T &&operator*() &&noexcept { return std::move(value_); }
    T *operator->() noexcept { return &value_; }
    const T *operator->() const noexcept { return &value_; }
    T value_or(T other) && { return error_.ok() ? std::move(value_) : std::move(other); }

  private:
    T value_;
    slm::error error_;
};

template <> class [[nodiscard]] result<void> {
  public:
    result() noexcept = default;
    result(const slm::error &e) noexcept : error_(e) {}

    explicit operator bool() const noexcept { return error_.ok(); }
    bool has_value() const noexcept { return error_.ok(); }
    const slm::error &error() const noexcept { return error_; }

  private:
    slm::error error_;
};

#endif

/* ---- Small types ----------------------------------------------------------------------------- */

/* A view of n values that lie one behind the other: of a vector, an array, a std::span. */
template <class T> class span {
  public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    template <class C, class = std::enable_if_t<
                           std::is_convertible_v<decltype(std::declval<C &>().data()), T *>>>
    constexpr span(C &&container) noexcept : data_(container.data()), size_(container.size())
    {
    }

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

using tokens_view = span<const std::int32_t>;

/* Stops calls that have its address in their options: from any thread or signal handler. */
class cancel_flag {
  public:
    void set() noexcept { flag_.store(1, std::memory_order_relaxed); }
    void clear() noexcept { flag_.store(0, std::memory_order_relaxed); }
    const std::int32_t *address() const noexcept
    {
        return reinterpret_cast<const std::int32_t *>(&flag_);
    }

  private:
    static_assert(sizeof(std::atomic<std::int32_t>) == sizeof(std::int32_t) &&
                      std::atomic<std::int32_t>::is_always_lock_free,
                  "slm polls an int32_t");
    std::atomic<std::int32_t> flag_{0};
};

/* How far a long call is (bytes when loading, tokens else). True stops it: SLM_E_CANCELLED. */
using progress_fn = std::function<bool(std::uint64_t done, std::uint64_t total)>;
using log_fn = std::function<void(std::int32_t level, std::string_view message)>;

/* The tasks of one parallel region: they never wait for each other, and do not throw. */
class tasks {
  public:
    tasks(std::int32_t count, slm_task_fn task, void *arg) noexcept
        : count_(count), task_(task), arg_(arg)
    {
    }

    std::int32_t count() const noexcept { return count_; }

    /* Runs one that nobody has begun, in this thread; false if there is none. */
    bool run_one() noexcept
    {
        /* Looked at first, so that no number of calls can make it wrap. */
        if (next_.load(std::memory_order_relaxed) >= count_) {
            return false;
        }
        std::int32_t index = next_.fetch_add(1, std::memory_order_relaxed);
        if (index >= count_) {
            return false;
        }
        task_(arg_, index);
        return true;
    }

  private:
    std::atomic<std::int32_t> next_{0};
    std::int32_t count_;
    slm_task_fn task_;
    void *arg_;
};

/* A host's own threads: calls run_one until it is false, in as many threads as it likes, and returns
 * when these are through. What it leaves runs in the calling thread. It is never called twice at a time:
 * while it works for one context, others of the pool compute in their own threads. */
using executor_fn = std::function<void(tasks &)>;

/* ---- Inside ---------------------------------------------------------------------------------- */

namespace detail {

/* Why an object is empty, where that was an error. */
class reason {
  public:
    void blame(const slm_error &e) { why_ = std::make_shared<const slm_error>(e); }
    const slm_error *why() const noexcept { return why_.get(); }

  protected:
    void forget() noexcept { why_.reset(); }

  private:
    std::shared_ptr<const slm_error> why_;
};

#if defined(__cpp_exceptions)
/* What a callback threw in the call that this thread is in. Callbacks run in the thread of the call
 * only, and none once one has thrown: so it is that call's, whoever owns the callback. */
inline std::exception_ptr &thrown() noexcept
{
    thread_local std::exception_ptr slot;
    return slot;
}

inline bool has_thrown() noexcept
{
    return thrown() != nullptr;
}

template <class F> void shield(F &&f) noexcept
{
    if (!has_thrown()) {
        try {
            f();
        } catch (...) {
            thrown() = std::current_exception();
        }
    }
}

#ifndef SLM_CPP_EXCEPTIONS
inline void describe(const std::exception_ptr &exception, char *out, std::size_t capacity)
{
    std::string text = "a callback threw something";
    try {
        std::rethrow_exception(exception);
    } catch (const std::exception &known) {
        text = std::string("a callback threw: ") + known.what();
    } catch (...) {
    }
    text.resize(text.size() < capacity ? text.size() : capacity - 1);
    std::memcpy(out, text.c_str(), text.size() + 1);
}
#endif

/* The status of a call, or what a callback threw during it. */
inline int finish(int status, slm_error &e)
{
    (void)e;
    if (has_thrown()) {
        std::exception_ptr exception = std::exchange(thrown(), nullptr);
#ifdef SLM_CPP_EXCEPTIONS
        std::rethrow_exception(exception);
#else
        e = slm_error{};
        e.code = status = SLM_E_CANCELLED;
        e.position = -1;
        describe(exception, e.message, sizeof e.message);
#endif
    }
    return status;
}
#else
inline bool has_thrown() noexcept
{
    return false;
}
template <class F> void shield(F &&f) noexcept
{
    f();
}
inline int finish(int status, slm_error &) noexcept
{
    return status;
}
#endif

/* The callbacks of a call or an object. */
struct callbacks {
    progress_fn progress;
    log_fn log;
    executor_fn executor;
    std::shared_ptr<callbacks> parent; /* the model's, which its contexts and generators keep */
    std::shared_ptr<callbacks> pool;   /* of the context's threads */

    static std::int32_t on_progress(void *user, std::uint64_t done, std::uint64_t total) noexcept
    {
        callbacks &c = *static_cast<callbacks *>(user);
        bool stop = false;
        if (c.progress) {
            shield([&] { stop = c.progress(done, total); });
        }
        return stop || has_thrown();
    }

    static void on_log(void *user, std::int32_t level, const char *message) noexcept
    {
        callbacks &c = *static_cast<callbacks *>(user);
        shield([&] { c.log(level, message); });
    }

    static void on_parallel(void *user, std::int32_t n, slm_task_fn task, void *arg) noexcept
    {
        callbacks &c = *static_cast<callbacks *>(user);
        tasks all(n, task, arg);
        shield([&] { c.executor(all); });
        while (all.run_one()) {
            /* What it has left, or all of them if something was thrown before. */
        }
    }

    /* Sets the fields that options with a progress callback have. Without one, too: it is what stops
     * the call when a log or an executor has thrown. */
    template <class O> void watch(O &options)
    {
        options.progress = on_progress;
        options.progress_user = this;
    }
};

#ifdef __cpp_lib_memory_resource
inline void *on_alloc(void *user, void *ptr, std::size_t old_size, std::size_t new_size,
                      std::size_t align) noexcept
{
    auto &memory = *static_cast<std::pmr::memory_resource *>(user);
    if (new_size == 0) {
        memory.deallocate(ptr, old_size, align);
        return nullptr;
    }
#if defined(__cpp_exceptions)
    try {
        return memory.allocate(new_size, align);
    } catch (...) {
        return nullptr; /* SLM_E_MEMORY */
    }
#else
    return memory.allocate(new_size, align);
#endif
}

/* Where what slm allocates for an object comes from; must outlive the object and all that was made of
 * it, and for models and templates be safe for several threads. nullptr: malloc, or `alloc`. */
struct memory_option {
    std::pmr::memory_resource *memory = nullptr;

    template <class O> void lend(O &options) const noexcept
    {
        if (memory != nullptr) {
            options.alloc = on_alloc;
            options.alloc_user = memory;
        }
    }
};
#else
struct memory_option {
    template <class O> void lend(O &) const noexcept {}
};
#endif

/* What a call gives: value if the status is SLM_OK. */
template <class T> result<T> give(int status, slm_error &e, T value)
{
    status = finish(status, e);
    if (status != SLM_OK) {
#ifdef SLM_CPP_EXCEPTIONS
        throw error(e);
#else
        if constexpr (std::is_base_of_v<reason, T>) {
            value.blame(e);
        }
        return result<T>(error(e), std::move(value));
#endif
    }
    return value;
}

inline result<void> done(int status, slm_error &e)
{
    status = finish(status, e);
    if (status != SLM_OK) {
#ifdef SLM_CPP_EXCEPTIONS
        throw error(e);
#else
        return error(e);
#endif
    }
    return result<void>();
}

/* A reference of ours to an object of slm, and the callbacks that must outlive it. */
template <class T, void (*Free)(T *)> class handle : public reason {
  public:
    handle() noexcept = default;
    explicit handle(T *object, std::shared_ptr<callbacks> keep = nullptr) noexcept
        : object_(object), keep_(std::move(keep))
    {
    }
    handle(handle &&other) noexcept
        : reason(std::move(other)), object_(std::exchange(other.object_, nullptr)),
          keep_(std::move(other.keep_))
    {
    }
    handle &operator=(handle &&other) noexcept
    {
        if (this != &other) {
            close();
            reason::operator=(std::move(other));
            object_ = std::exchange(other.object_, nullptr);
            keep_ = std::move(other.keep_);
        }
        return *this;
    }
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    ~handle() { close(); }

    /* Frees it now; closing again does nothing. */
    void close() noexcept
    {
        Free(std::exchange(object_, nullptr));
        keep_.reset();
        forget();
    }

    /* For the functions of slm.h; NULL when empty. */
    T *get() const noexcept { return object_; }
    explicit operator bool() const noexcept { return object_ != nullptr; }

  protected:
    const std::shared_ptr<callbacks> &keep() const noexcept { return keep_; }

  private:
    T *object_ = nullptr;
    std::shared_ptr<callbacks> keep_;
};

/* An in-out struct of slm.h with its size set. */
template <class T> T sized()
{
    T value{};
    value.struct_size = sizeof value;
    return value;
}

/* What call(arguments..., &value, &e) puts into value. */
template <class T, class F, class... A> result<T> ask(F call, A... arguments)
{
    slm_error e;
    T value{};
    if constexpr (std::is_class_v<T>) {
        value.struct_size = sizeof value;
    }
    int status = call(arguments..., &value, &e);
    return give(status, e, value);
}

/* The object that call(&made, arguments..., &e) makes. */
template <class H, class T, class F, class... A> result<H> own(F call, A... arguments)
{
    slm_error e;
    T *made = nullptr;
    int status = call(&made, arguments..., &e);
    return give(status, e, H(made));
}

/* call(arguments..., &e), which gives nothing. */
template <class F, class... A> result<void> tell(F call, A... arguments)
{
    slm_error e;
    int status = call(arguments..., &e);
    return done(status, e);
}

/* Calls fill(buffer, capacity, &needed, &e) with room for `guess`, and again if it was too small. */
template <class V, class F> result<V> filled(std::size_t guess, F &&fill)
{
    V buffer;
    slm_error e;
    std::size_t needed = 0;
    buffer.resize(guess);
    int status = fill(buffer.data(), buffer.size(), &needed, &e);
    if (status == SLM_E_SPACE) {
        buffer.resize(needed);
        status = fill(buffer.data(), buffer.size(), &needed, &e);
    }
    buffer.resize(status == SLM_OK ? needed : 0);
    return give(status, e, std::move(buffer));
}

/* SLM_OK if the object may be used, or is not given at all; else the error that made it empty, or
 * SLM_E_ARGUMENT. (The functions of slm.h take NULL for an object that they can do without.) */
template <class H> int check_open(const H *object, const char *what, slm_error &e)
{
    if (object == nullptr || *object) {
        return SLM_OK;
    }
    if (object->why() != nullptr) {
        e = *object->why();
        return e.code;
    }
    e = slm_error{};
    e.code = SLM_E_ARGUMENT;
    e.position = -1;
    std::memcpy(e.message, what, std::strlen(what) + 1);
    return SLM_E_ARGUMENT;
}

/* For functions that take 0-terminated strings: "", which they refuse, if there is a 0 inside. */
inline const char *whole(const std::string &s) noexcept
{
    return s.find('\0') == std::string::npos ? s.c_str() : "";
}

/* A count as slm takes it. More than it can be is more than any limit of slm. */
constexpr std::int32_t count(std::size_t n) noexcept
{
    return n < INT32_MAX ? static_cast<std::int32_t>(n) : INT32_MAX;
}

} // namespace detail

/* ---- Models ---------------------------------------------------------------------------------- */

struct model_options : slm_model_options, detail::memory_option {
    model_options() { slm_model_options_init(this, sizeof(slm_model_options)); }
    progress_fn progress;
    log_fn log; /* kept: contexts of the model use it, too */
};

class model : public detail::handle<slm_model, slm_model_free> {
  public:
    using handle::handle;

    static result<model> open(const std::string &path, const model_options &options = {})
    {
        return make(options, [&](slm_model **out, const slm_model_options *o, slm_error *e) {
            return slm_model_open(out, detail::whole(path), o, e);
        });
    }

    /* A file that lies in memory, which must stay as it is until the model and all that was made of
     * it is gone. */
    static result<model> open_memory(span<const unsigned char> data,
                                     const model_options &options = {})
    {
        return make(options, [&](slm_model **out, const slm_model_options *o, slm_error *e) {
            const void *place = data.data();
            std::size_t size = data.size();
            return slm_model_open_memory(out, &place, &size, 1, o, e);
        });
    }

    result<slm_model_info> info() const
    {
        return detail::ask<slm_model_info>(slm_model_get_info, get());
    }

    /* Metadata entry `index`, or of an array one of its elements. */
    result<slm_metadata> metadata(std::int32_t index, std::uint64_t element = 0) const
    {
        return detail::ask<slm_metadata>(slm_model_metadata, get(), index, element);
    }

    /* The index of a key, or -1. */
    result<std::int32_t> metadata_find(std::string_view key) const
    {
        return detail::ask<std::int32_t>(slm_model_metadata_find, get(), key.data(), key.size());
    }

    result<slm_tensor_info> tensor(std::int32_t index) const
    {
        return detail::ask<slm_tensor_info>(slm_model_tensor, get(), index);
    }

    /* flags: SLM_TEXT_ bits. Never SLM_TEXT_SPECIAL for text from a user. */
    result<std::vector<std::int32_t>> tokenize(std::string_view text,
                                               std::uint32_t flags = SLM_TEXT_BOS) const
    {
        return detail::filled<std::vector<std::int32_t>>(
            text.size() + 8,
            [&](std::int32_t *tokens, std::size_t n, std::size_t *needed, slm_error *e) {
                return slm_tokenize(get(), text.data(), text.size(), flags, tokens, n, needed, e);
            });
    }

    result<std::string> detokenize(tokens_view tokens, std::uint32_t flags = SLM_TEXT_BOS) const
    {
        return detail::filled<std::string>(tokens.size() * 8 + 16, [&](char *text, std::size_t n,
                                                                       std::size_t *needed,
                                                                       slm_error *e) {
            return slm_detokenize(get(), tokens.data(), tokens.size(), flags, text, n, needed, e);
        });
    }

    result<slm_token_info> token_info(std::int32_t token) const
    {
        return detail::ask<slm_token_info>(slm_token_get_info, get(), token);
    }

    /* The token stored as exactly this text, or -1. */
    result<std::int32_t> token_find(std::string_view text) const
    {
        return detail::ask<std::int32_t>(slm_token_find, get(), text.data(), text.size());
    }

  private:
    friend class context;

    template <class F> static result<model> make(const model_options &options, F &&open)
    {
        slm_error e;
        slm_model *made = nullptr;
        auto hooks = std::make_shared<detail::callbacks>();
        slm_model_options o = options;
        hooks->progress = options.progress;
        hooks->log = options.log;
        hooks->watch(o);
        options.lend(o);
        if (hooks->log) {
            o.log = detail::callbacks::on_log;
            o.log_user = hooks.get();
        }
        int status = open(&made, &o, &e);
        return detail::give(status, e, model(made, hooks));
    }
};

/* ---- Threads and samplers -------------------------------------------------------------------- */

struct threads_options : slm_threads_options, detail::memory_option {
    threads_options() { slm_threads_options_init(this, sizeof(slm_threads_options)); }
    executor_fn executor; /* instead of threads of slm's own; n_threads says how many it has */
};

class threads : public detail::handle<slm_threads, slm_threads_free> {
  public:
    using handle::handle;

    static result<threads> create(const threads_options &options = {})
    {
        slm_error e;
        slm_threads *made = nullptr;
        auto hooks = std::make_shared<detail::callbacks>();
        slm_threads_options o = options;
        options.lend(o);
        if (options.executor) {
            hooks->executor = options.executor;
            o.parallel = detail::callbacks::on_parallel;
            o.parallel_user = hooks.get();
        }
        int status = slm_threads_create(&made, &o, &e);
        return detail::give(status, e, threads(made, hooks));
    }

  private:
    friend class context;
};

/* Stages of a sampler: top_k(40), temperature(0.7f) ... Biases are copied by sampler::create. */
namespace stage {

inline slm_sampler_stage make(std::int32_t kind, std::int32_t n, float value)
{
    auto s = detail::sized<slm_sampler_stage>();
    s.kind = kind;
    s.n = n;
    s.value = value;
    return s;
}

inline slm_sampler_stage temperature(float t)
{
    return make(SLM_STAGE_TEMPERATURE, 0, t);
}
inline slm_sampler_stage top_k(std::int32_t n)
{
    return make(SLM_STAGE_TOP_K, n, 0);
}
inline slm_sampler_stage top_p(float p, std::int32_t at_least = 0)
{
    return make(SLM_STAGE_TOP_P, at_least, p);
}
inline slm_sampler_stage min_p(float p, std::int32_t at_least = 0)
{
    return make(SLM_STAGE_MIN_P, at_least, p);
}
inline slm_sampler_stage penalties(std::int32_t window, float repeat, float frequency = 0,
                                   float presence = 0)
{
    auto s = make(SLM_STAGE_PENALTIES, window, 0);
    s.repeat = repeat;
    s.frequency = frequency;
    s.presence = presence;
    return s;
}
inline slm_sampler_stage logit_bias(span<const slm_logit_bias> biases)
{
    auto s = make(SLM_STAGE_LOGIT_BIAS, 0, 0);
    s.biases = biases.data();
    s.n_biases = detail::count(biases.size());
    return s;
}

} // namespace stage

struct sampler_options : slm_sampler_options, detail::memory_option {
    sampler_options() { slm_sampler_options_init(this, sizeof(slm_sampler_options)); }
};

class sampler : public detail::handle<slm_sampler, slm_sampler_free> {
  public:
    using handle::handle;

    /* No stages: greedy. The same seed and logits give the same tokens everywhere. */
    static result<sampler> create(const model &model, const std::vector<slm_sampler_stage> &stages,
                                  std::uint64_t seed = 0)
    {
        sampler_options options;
        options.seed = seed;
        return create(model, stages, options);
    }

    static result<sampler> create(const model &model, const std::vector<slm_sampler_stage> &stages,
                                  const sampler_options &options)
    {
        slm_error e;
        slm_sampler *made = nullptr;
        slm_sampler_options o = options;
        options.lend(o);
        int n = detail::count(stages.size());
        int status = detail::check_open(&model, "the model is closed", e);
        if (status == SLM_OK) {
            status = slm_sampler_create(&made, model.get(), stages.data(), n,
                                        sizeof(slm_sampler_stage), &o, &e);
        }
        return detail::give(status, e, sampler(made));
    }

    result<sampler> clone() const
    {
        return detail::own<sampler, slm_sampler>(slm_sampler_clone, get());
    }

    result<std::int32_t> sample(span<const float> logits)
    {
        return detail::ask<std::int32_t>(slm_sample, get(), logits.data(),
                                         detail::count(logits.size()));
    }

    result<void> accept(std::int32_t token)
    {
        return detail::tell(slm_sampler_accept, get(), token);
    }

    result<void> rewind(std::int32_t n = INT32_MAX)
    {
        return detail::tell(slm_sampler_rewind, get(), n);
    }
};

/* ---- Contexts -------------------------------------------------------------------------------- */

struct context_options : slm_context_options, detail::memory_option {
    context_options() { slm_context_options_init(this, sizeof(slm_context_options)); }
    const slm::threads *threads = nullptr; /* a pool to share; nullptr: one of its own */
};

struct eval_options : slm_eval_options {
    eval_options() { slm_eval_options_init(this, sizeof(slm_eval_options)); }
    progress_fn progress;
};

struct embed_options : slm_embed_options {
    embed_options() { slm_embed_options_init(this, sizeof(slm_embed_options)); }
    progress_fn progress;
};

/* A run of tokens for one sequence, for context::eval. */
inline slm_span span_of(tokens_view tokens, std::int32_t sequence = 0,
                        std::int32_t want = SLM_WANT_LAST)
{
    auto s = detail::sized<slm_span>();
    s.sequence = sequence;
    s.position = -1;
    s.tokens = tokens.data();
    s.n_tokens = detail::count(tokens.size());
    s.want = want;
    return s;
}

class context : public detail::handle<slm_context, slm_context_free> {
  public:
    context() noexcept = default;

    static result<context> create(const model &model, const context_options &options = {})
    {
        slm_error e;
        slm_context *made = nullptr;
        slm_context_options o = options;
        options.lend(o);
        auto hooks = std::make_shared<detail::callbacks>();
        hooks->parent = model.keep();
        if (options.threads) {
            hooks->pool = options.threads->keep();
            o.threads = options.threads->get();
        }
        int status = detail::check_open(&model, "the model is closed", e);
        if (status == SLM_OK) {
            status = detail::check_open(options.threads, "the thread pool is closed", e);
        }
        if (status == SLM_OK) {
            status = slm_context_create(&made, model.get(), &o, &e);
        }
        return detail::give(status, e, context(made, hooks));
    }

    /* What a model and a context of these options need. */
    static result<slm_plan> plan(const model &model, const context_options &options = {})
    {
        slm_context_options o = options;
        o.threads = options.threads ? options.threads->get() : nullptr;
        return detail::ask<slm_plan>(slm_plan_memory, model.get(), &o);
    }

    result<slm_context_info> info() const
    {
        return detail::ask<slm_context_info>(slm_context_get_info, get());
    }

    result<std::int32_t> length(std::int32_t sequence = 0) const
    {
        return detail::ask<std::int32_t>(slm_sequence_length, get(), sequence);
    }

    result<void> fork(std::int32_t from, std::int32_t to)
    {
        return detail::tell(slm_sequence_fork, get(), from, to);
    }

    result<void> rewind(std::int32_t sequence = 0, std::int32_t length = 0)
    {
        return detail::tell(slm_sequence_rewind, get(), sequence, length);
    }

    result<void> checkpoint(std::int32_t sequence, std::int32_t index)
    {
        return detail::tell(slm_sequence_checkpoint, get(), sequence, index);
    }

    /* Runs the model over spans, whose n_done tell how far it came, also on errors. */
    result<void> eval(span<slm_span> spans, const eval_options &options = {})
    {
        slm_error e;
        detail::callbacks hooks;
        hooks.progress = options.progress;
        slm_eval_options o = options;
        hooks.watch(o);
        int status =
            slm_eval(get(), spans.data(), detail::count(spans.size()), sizeof(slm_span), &o, &e);
        return detail::done(status, e);
    }

    /* The same of one run of tokens. */
    result<void> eval(tokens_view tokens, std::int32_t sequence = 0)
    {
        slm_span one = span_of(tokens, sequence);
        return eval(span<slm_span>(&one, 1));
    }

    /* A row of the last eval, [n_vocab], -1 the last: valid until the next eval or generation. */
    result<span<const float>> logits(std::int32_t index = -1) const
    {
        slm_error e;
        const float *row = nullptr;
        std::int32_t n = 0;
        int status = slm_logits(get(), index, &row, &n, &e);
        return detail::give(status, e, span<const float>(row, static_cast<std::size_t>(n)));
    }

    /* Embeddings of texts of tokens, a row a text, with SLM_POOLING_NONE a row a token, one behind
     * the other. */
    result<std::vector<float>> embed(const std::vector<std::vector<std::int32_t>> &texts,
                                     const embed_options &options = {})
    {
        slm_error e;
        detail::callbacks hooks;
        hooks.progress = options.progress;
        slm_embed_options o = options;
        hooks.watch(o);
        std::vector<slm_embed_text> table(texts.size(), detail::sized<slm_embed_text>());
        for (std::size_t i = 0; i < texts.size(); i++) {
            table[i].tokens = texts[i].data();
            table[i].n_tokens = detail::count(texts[i].size());
        }
        int n = detail::count(table.size());
        std::vector<float> rows;
        std::size_t needed = 0;
        int status =
            slm_embed(get(), table.data(), n, sizeof(slm_embed_text), &o, nullptr, 0, &needed, &e);
        if (status == SLM_OK) {
            rows.resize(needed);
            status = slm_embed(get(), table.data(), n, sizeof(slm_embed_text), &o, rows.data(),
                               rows.size(), &needed, &e);
        }
        return detail::give(status, e, std::move(rows));
    }

  private:
    friend class generator;

    context(slm_context *made, const std::shared_ptr<detail::callbacks> &keep) : handle(made, keep)
    {
    }
};

/* ---- Chats ----------------------------------------------------------------------------------- */

struct chat_template_options : slm_chat_template_options, detail::memory_option {
    chat_template_options()
    {
        slm_chat_template_options_init(this, sizeof(slm_chat_template_options));
    }
};

struct chat_options : slm_chat_options {
    chat_options() { slm_chat_options_init(this, sizeof(slm_chat_options)); }
    std::string_view tools; /* JSON; empty: none */
    std::string_view extra;
};

/* A conversation as a template wrote it down. */
class chat_prompt : public detail::handle<slm_chat_prompt, slm_chat_prompt_free> {
  public:
    using handle::handle;

    /* Pointers are valid as long as the prompt. */
    result<slm_chat_prompt_info> info() const
    {
        return detail::ask<slm_chat_prompt_info>(slm_chat_prompt_get_info, get());
    }

    result<std::string> text() const
    {
        slm_error e;
        auto about = detail::sized<slm_chat_prompt_info>();
        int status = slm_chat_prompt_get_info(get(), &about, &e);
        return detail::give(status, e, std::string(about.text ? about.text : "", about.size));
    }

    /* Tokens for a generation; nothing of the conversation becomes a special token. */
    result<std::vector<std::int32_t>> tokens(const model &model,
                                             std::uint32_t flags = SLM_TEXT_BOS) const
    {
        auto about = detail::sized<slm_chat_prompt_info>();
        int got = slm_chat_prompt_get_info(get(), &about, nullptr);
        return detail::filled<std::vector<std::int32_t>>(
            about.size + 8,
            [&](std::int32_t *tokens, std::size_t n, std::size_t *needed, slm_error *e) {
                return got != SLM_OK
                           ? slm_chat_prompt_get_info(get(), &about, e)
                           : slm_tokenize_segments(model.get(), about.segments, about.n_segments,
                                                   about.segment_size, flags, tokens, n, needed, e);
            });
    }
};

class chat_template : public detail::handle<slm_chat_template, slm_chat_template_free> {
  public:
    using handle::handle;

    /* The model's own template. */
    static result<chat_template> create(const model &model,
                                        const chat_template_options &options = {})
    {
        return make(model.get(), nullptr, 0, options);
    }

    /* Another one, in Jinja, with the texts of the options' start and end tokens. */
    static result<chat_template> create(std::string_view text,
                                        const chat_template_options &options = {})
    {
        return make(nullptr, text.data() ? text.data() : "", text.size(), options);
    }

    /* A built-in one by its name, "chatml", with the model's start and end tokens. */
    static result<chat_template> builtin(const model &model, const std::string &name,
                                         const chat_template_options &options = {})
    {
        slm_error e;
        slm_chat_template *made = nullptr;
        auto found = detail::sized<slm_chat_builtin>();
        int status = detail::check_open(&model, "the model is closed", e);
        if (status == SLM_OK) {
            status = slm_chat_builtin_find(0, detail::whole(name), &found, &e);
        }
        if (status == SLM_OK) {
            slm_chat_template_options o = options;
            options.lend(o);
            status = slm_chat_template_create(&made, model.get(), found.text, found.size, &o, &e);
        }
        return detail::give(status, e, chat_template(made));
    }

    /* messages: a JSON array. */
    result<chat_prompt> render(std::string_view messages, const chat_options &options = {}) const
    {
        slm_error e;
        slm_chat_prompt *made = nullptr;
        slm_chat_options o = options;
        o.tools = options.tools.empty() ? nullptr : options.tools.data();
        o.tools_size = options.tools.size();
        o.extra = options.extra.empty() ? nullptr : options.extra.data();
        o.extra_size = options.extra.size();
        int status = slm_chat_render(&made, get(), messages.data(), messages.size(), &o, &e);
        return detail::give(status, e, chat_prompt(made));
    }

  private:
    static result<chat_template> make(const slm_model *model, const char *text, std::size_t size,
                                      const chat_template_options &options)
    {
        slm_chat_template_options o = options;
        options.lend(o);
        return detail::own<chat_template, slm_chat_template>(slm_chat_template_create, model, text,
                                                             size, &o);
    }
};

struct chat_output_options : slm_chat_output_options, detail::memory_option {
    chat_output_options() { slm_chat_output_options_init(this, sizeof(slm_chat_output_options)); }
    std::string_view tools; /* JSON; empty: none */
};

/* What a model says, taken apart. Views are valid until the next call on the output. */
struct event {
    event() noexcept = default;
    explicit event(const slm_chat_event &e) noexcept
        : kind(e.kind), index(e.index), text(e.text ? e.text : "", e.size), id(e.id ? e.id : ""),
          name(e.name ? e.name : "")
    {
    }
    std::int32_t kind = SLM_CHAT_NONE; /* SLM_CHAT_ */
    std::int32_t index = 0;            /* of a call in its answer */
    std::string_view text;             /* of a call its arguments, a JSON object */
    std::string_view id;
    std::string_view name;
};

class chat_output : public detail::handle<slm_chat_output, slm_chat_output_free> {
  public:
    using handle::handle;

    /* The template tells the styles of reasoning and calls; an empty one has none but the options'. */
    static result<chat_output> create(const chat_template &chat_template,
                                      const chat_output_options &options = {})
    {
        slm_error e;
        slm_chat_output *made = nullptr;
        slm_chat_output_options o = options;
        options.lend(o);
        o.tools = options.tools.empty() ? nullptr : options.tools.data();
        o.tools_size = options.tools.size();
        int status = slm_chat_output_create(&made, chat_template.get(), &o, &e);
        return detail::give(status, e, chat_output(made));
    }

    /* Begins another answer, to this prompt. */
    result<void> begin(const chat_prompt &prompt)
    {
        slm_error e;
        int status = detail::check_open(&prompt, "the prompt is closed", e);
        if (status == SLM_OK) {
            status = slm_chat_output_begin(get(), prompt.get(), &e);
        }
        return detail::done(status, e);
    }

    /* kind: SLM_PIECE_. */
    result<void> push(std::int32_t kind, std::string_view text)
    {
        return detail::tell(slm_chat_output_push, get(), kind, text.data(), text.size());
    }

    /* SLM_CHAT_NONE: nothing until more is pushed; SLM_CHAT_END: nothing more in this answer. */
    result<event> next()
    {
        slm_error e;
        auto raw = detail::sized<slm_chat_event>();
        int status = slm_chat_output_next(get(), &raw, &e);
        return detail::give(status, e, event(raw));
    }
};

/* ---- Generation ------------------------------------------------------------------------------ */

struct generate_options : slm_generate_options {
    generate_options() { slm_generate_options_init(this, sizeof(slm_generate_options)); }
    std::int32_t sequence = 0;
    const slm::sampler *sampler = nullptr; /* nullptr: greedy */
    std::vector<std::string> stops;
    const slm::chat_output *chat_output = nullptr; /* see slm_generate_options */
    progress_fn progress;                          /* during the prompt */
};

struct piece {
    std::int32_t kind = SLM_PIECE_END; /* SLM_PIECE_ */
    std::int32_t reason = 0;           /* SLM_END_ when kind is SLM_PIECE_END */
    span<const std::int32_t> tokens;   /* chosen since the last piece; valid like the generator */
    std::string_view text;             /* valid until the next call on the generator */
};

/* Prompt in, pieces out: a range for one pass, or next(), or each() with a callback. */
class generator : public detail::handle<slm_generator, slm_generate_end> {
  public:
    generator() noexcept = default;

    static result<generator> begin(const context &context, std::string_view prompt,
                                   const generate_options &options = {})
    {
        return make(context, prompt.data() ? prompt : std::string_view(""), tokens_view(), options);
    }

    static result<generator> begin(const context &context, tokens_view prompt,
                                   const generate_options &options = {})
    {
        return make(context, std::string_view(), prompt, options);
    }

    static result<generator> begin(const context &context, const char *prompt,
                                   const generate_options &options = {})
    {
        return begin(context, std::string_view(prompt), options);
    }

    /* The next piece. After an error, a cancel and a deadline above all, calling again goes on. */
    result<piece> next()
    {
        slm_error e;
        int status = step(e);
        return detail::give(status, e, piece_);
    }

    /* Calls f(piece) for every piece up to the end, and gives the reason of it (SLM_END_). If f
     * returns a bool, true stops, and the reason is 0. */
    template <class F> result<std::int32_t> each(F &&f)
    {
        for (;;) {
            slm_error e;
            int status = step(e);
            if (status != SLM_OK || piece_.kind == SLM_PIECE_END || stops(f, piece_)) {
                return detail::give(status, e, piece_.reason);
            }
        }
    }

    /* The same of a chat: calls f(event) for reasoning, pieces of the answer, and tool calls. The
     * generator was begun with this output in its options. */
    template <class F> result<std::int32_t> each(slm::chat_output &output, F &&f)
    {
        for (;;) {
            slm_error e;
            int status = step(e);
            if (status == SLM_OK) {
                status = slm_chat_output_push(output.get(), piece_.kind, piece_.text.data(),
                                              piece_.text.size(), &e);
            }
            bool stop = false;
            auto raw = detail::sized<slm_chat_event>();
            while (status == SLM_OK && !stop) {
                status = slm_chat_output_next(output.get(), &raw, &e);
                if (status != SLM_OK || raw.kind == SLM_CHAT_NONE || raw.kind == SLM_CHAT_END) {
                    break;
                }
                stop = stops(f, event(raw));
            }
            if (status != SLM_OK || stop || piece_.kind == SLM_PIECE_END) {
                return detail::give(status, e, piece_.reason);
            }
        }
    }

    result<slm_generate_stats> stats() const
    {
        return detail::ask<slm_generate_stats>(slm_generate_get_stats, get());
    }

    /* for (const slm::piece &piece : generator): up to the end, or to an error, which last_error()
     * then has; with SLM_CPP_EXCEPTIONS it is thrown. */
    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = piece;
        using difference_type = std::ptrdiff_t;
        using pointer = const piece *;
        using reference = const piece &;

        iterator() noexcept = default;
        reference operator*() const noexcept { return generator_->piece_; }
        pointer operator->() const noexcept { return &generator_->piece_; }
        iterator &operator++()
        {
            advance();
            return *this;
        }
        void operator++(int) { advance(); }
        friend bool operator==(const iterator &a, const iterator &b) noexcept
        {
            return a.generator_ == b.generator_;
        }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return !(a == b); }

      private:
        friend class generator;
        explicit iterator(generator *g) : generator_(g) { advance(); }

        void advance()
        {
            slm_error e;
            int status = generator_->step(e);
            if (status != SLM_OK || generator_->piece_.kind == SLM_PIECE_END) {
                generator_ = nullptr;
            }
            (void)detail::done(status, e);
        }

        generator *generator_ = nullptr;
    };

    iterator begin() { return iterator(this); }
    iterator end() noexcept { return iterator(); }

#ifndef SLM_CPP_EXCEPTIONS
    /* Of the last step, which ended the range or each(); ok() if that was the text's own end. */
    const error &last_error() const noexcept
    {
        return last_error_;
    }
#endif

  private:
    using handle::handle;

    static result<generator> make(const context &context, std::string_view text, tokens_view tokens,
                                  const generate_options &options)
    {
        slm_error e;
        slm_generator *made = nullptr;
        auto hooks = std::make_shared<detail::callbacks>();
        hooks->progress = options.progress;
        hooks->parent = context.keep();
        slm_generate_options o = options;
        hooks->watch(o);
        std::vector<const char *> stops;
        for (const std::string &stop : options.stops) {
            stops.push_back(detail::whole(stop));
        }
        o.stops = stops.data();
        o.n_stops = detail::count(stops.size());
        o.chat_output = options.chat_output ? options.chat_output->get() : nullptr;
        if (text.data() == nullptr) {
            o.prompt_tokens = tokens.data();
            o.n_prompt_tokens = detail::count(tokens.size());
        }
        int status = detail::check_open(&context, "the context is closed", e);
        if (status == SLM_OK) {
            status = detail::check_open(options.sampler, "the sampler is closed", e);
        }
        if (status == SLM_OK) {
            status = detail::check_open(options.chat_output, "the chat output is closed", e);
        }
        if (status == SLM_OK) {
            slm_sampler *chooser = options.sampler ? options.sampler->get() : nullptr;
            status = slm_generate_begin(&made, context.get(), options.sequence, chooser,
                                        text.data(), text.size(), &o, &e);
        }
        return detail::give(status, e, generator(made, hooks));
    }

    /* One slm_generate_next into piece_. */
    int step(slm_error &e)
    {
        auto raw = detail::sized<slm_piece>();
        int status = detail::check_open(this, "the generator is closed", e);
        if (status == SLM_OK) {
            status = slm_generate_next(get(), &raw, &e);
        }
        piece_.kind = status == SLM_OK ? raw.kind : SLM_PIECE_END;
        piece_.reason = raw.reason;
        piece_.tokens = {raw.tokens, static_cast<std::size_t>(raw.n_tokens)};
        piece_.text = std::string_view(raw.text ? raw.text : "", raw.size);
        status = detail::finish(status, e);
#ifndef SLM_CPP_EXCEPTIONS
        last_error_ = status == SLM_OK ? error() : error(e);
#endif
        return status;
    }

    template <class F, class V> static bool stops(F &f, const V &value)
    {
        if constexpr (std::is_convertible_v<decltype(f(value)), bool>) {
            return f(value);
        } else {
            f(value);
            return false;
        }
    }

    piece piece_;
#ifndef SLM_CPP_EXCEPTIONS
    error last_error_;
#endif
};

} // namespace SLM_CPP_NAMESPACE
} // namespace slm

#undef SLM_CPP_NAMESPACE
#endif
