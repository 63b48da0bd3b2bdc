// What the owners are made of: one handle that releases itself, and texts and arrays by value.
#ifndef TESSERA_CPP_HANDLE_HPP
#define TESSERA_CPP_HANDLE_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tessera/types.h"
#include "tessera/cpp/error.hpp"

namespace tessera {
inline namespace cpp0 {

namespace detail {

/// Reads text or an array by `function(arguments..., buf, cap, &len, &error)`. The length may change between two calls.
/// `guess` is how much room there is at first; `extra` is 1 for text, whose NUL needs room.
template <class Container, class Function, class... Arguments>
Container read_guessed(std::size_t guess, std::size_t extra, Function function, Arguments... arguments) {
    Container out(guess, typename Container::value_type());
    for (;;) {
        std::size_t length = 0;
        tessera_error error = tessera_error();
        const tessera_status status = function(arguments..., &out[0], out.size(), &length, &error);
        if (status != TESSERA_OK && status != TESSERA_E_BUFFER) throw Error(error);
        out.resize(status == TESSERA_OK ? length : length + extra);
        if (status == TESSERA_OK) return out;
    }
}
template <class Container, class Function, class... Arguments>
Container read(std::size_t extra, Function function, Arguments... arguments) {
    return read_guessed<Container>(64, extra, function, arguments...);
}
template <class Function, class... Arguments>
std::string read_text(Function function, Arguments... arguments) {
    return read<std::string>(1, function, arguments...);
}

/// A struct of the C interface with its defaults.
template <class Struct>
Struct initialised(tessera_status (*init)(Struct *, std::size_t)) {
    Struct out;
    if (init(&out, sizeof out) != TESSERA_OK) throw Error(TESSERA_E_INTERNAL, "a struct cannot be initialised");
    return out;
}

/// Owns one handle.
template <class T, tessera_status (*destroy)(T)>
class Handle {
   public:
    Handle() noexcept : value_() {}
    explicit Handle(T value) noexcept : value_(value) {}
    Handle(Handle &&other) noexcept : value_(other.release()) {}
    Handle &operator=(Handle &&other) noexcept {
        if (this != &other) {
            reset();
            value_ = other.release();
        }
        return *this;
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    ~Handle() { reset(); }

    /// Gives the handle up at once; never blocks, never fails, may be called again.
    void reset() noexcept {
        if (value_.id != 0) destroy(value_);
        value_ = T();
    }
    explicit operator bool() const noexcept { return value_.id != 0; }
    /// The handle for calls of the C interface; still owned here. {0} after reset().
    T get() const noexcept { return value_; }
    /// The handle, which the caller now has to destroy.
    T release() noexcept {
        const T value = value_;
        value_ = T();
        return value;
    }

   protected:
    T *out() noexcept { return &value_; }

   private:
    T value_;
};

template <class H>
auto get_or_null(const H *handle) -> decltype(handle->get()) {
    return handle == nullptr ? decltype(handle->get())() : handle->get();
}

inline const std::int64_t *data_or_null(const std::vector<std::int64_t> &values) {
    return values.empty() ? nullptr : values.data();
}

}  // namespace detail

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_HANDLE_HPP
