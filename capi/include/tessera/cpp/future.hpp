// Work under way, as a value that can be waited for.
#ifndef TESSERA_CPP_FUTURE_HPP
#define TESSERA_CPP_FUTURE_HPP

#include <chrono>
#include <cstdint>
#include <vector>

#include "tessera/future.h"
#include "tessera/cpp/handle.hpp"

namespace tessera {
inline namespace cpp0 {

namespace detail {

/// What the result of a future is taken from; beside each kind of result.
template <class T>
struct FutureResult;

inline std::int64_t nanoseconds(std::chrono::nanoseconds timeout) {
    return timeout.count() < 0 ? TESSERA_FOREVER : static_cast<std::int64_t>(timeout.count());
}

}  // namespace detail

/// A wait without end.
inline std::chrono::nanoseconds forever() { return std::chrono::nanoseconds(-1); }

/// Work under way. Destroying it does not stop the work.
template <class T>
class Future : public detail::Handle<tessera_future, tessera_future_destroy> {
   public:
    Future() {}
    explicit Future(tessera_future future) : Handle(future) {}
    bool done() const {
        std::int32_t done = 0;
        detail::call(tessera_future_poll, Handle::get(), &done);
        return done != 0;
    }
    /// False when the timeout passed first.
    bool wait(std::chrono::nanoseconds timeout = forever()) const {
        return detail::call_or(TESSERA_E_TIMEOUT, tessera_future_wait, Handle::get(), detail::nanoseconds(timeout));
    }
    /// Waits, then returns what the blocking form would have returned, or throws what it would have thrown. Objects are handed
    /// over once.
    T result() const {
        wait();
        detail::call(tessera_future_get_result, Handle::get());
        return detail::FutureResult<T>::take(Handle::get());
    }
    void cancel() const { detail::call(tessera_future_cancel, Handle::get()); }
};

/// The index of the first future that has ended; -1 when the timeout passed first.
template <class T>
std::int64_t wait_any(const std::vector<Future<T>> &futures, std::chrono::nanoseconds timeout = forever()) {
    std::vector<tessera_future> handles;
    for (const Future<T> &future : futures) handles.push_back(future.get());
    std::int64_t index = -1;
    detail::call_or(TESSERA_E_TIMEOUT, tessera_future_wait_any, handles.data(),
                    static_cast<std::int64_t>(handles.size()), detail::nanoseconds(timeout), &index);
    return index;
}

namespace detail {

/// Calls a function that starts work: `function(arguments..., &future, &error)`.
template <class T, class Function, class... Arguments>
Future<T> start(Function function, Arguments... arguments) {
    tessera_future future = tessera_future();
    call(function, arguments..., &future);
    return Future<T>(future);
}

template <>
struct FutureResult<void> {
    static void take(tessera_future) {}
};
template <>
struct FutureResult<std::vector<std::int64_t>> {
    static std::vector<std::int64_t> take(tessera_future future) {
        return read<std::vector<std::int64_t>>(0, tessera_future_get_tokens, future);
    }
};

/// For results that are objects.
template <class T, class Owner, tessera_status (*get)(tessera_future, T *, tessera_error *)>
struct ObjectResult {
    static Owner take(tessera_future future) {
        T handle = T();
        call(get, future, &handle);
        return Owner(handle);
    }
};

}  // namespace detail

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_FUTURE_HPP
