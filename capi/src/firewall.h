// The wall between exceptions inside and status codes outside, and the checks that every entry point makes
// first.
#pragma once

#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "core/error.h"
#include "tessera/error.h"

namespace tessera::capi {

/// Turns an exception into a status and, when `err` is not null, fills it. Never throws: a failure to
/// describe the failure gives a message that says so.
tessera_status report(const std::exception_ptr& exception, tessera_error* err) noexcept;

inline void clear(tessera_error* err) noexcept {
  if (err == nullptr) return;
  err->code = TESSERA_OK;
  err->domain = TESSERA_DOMAIN_NONE;
  err->native_code = 0;
  err->rank = -1;
  err->message[0] = '\0';
}

#ifdef TESSERA_TEST_HOOKS
/// Called at the top of every entry point of the copy of the library that tests the firewall; may throw
/// anything.
extern void (*firewall_hook)();
#endif

/// Runs the body of an entry point. Nothing gets past it.
template <class Body>
tessera_status guard(tessera_error* err, Body&& body) noexcept {
  try {
#ifdef TESSERA_TEST_HOOKS
    if (firewall_hook != nullptr) firewall_hook();
#endif
    body();
    clear(err);
    return TESSERA_OK;
  } catch (...) {
    return report(std::current_exception(), err);
  }
}

/// Copies UTF-8 text into `out[capacity]`, cut on a character boundary, on one line; bad bytes become '?'.
void copy_text(char* out, size_t capacity, std::string_view text) noexcept;

template <size_t N>
void copy_text(char (&out)[N], std::string_view text) noexcept {
  copy_text(out, N, text);
}

/// NOT_NULL(out_mesh): throws argument "out_mesh is null".
#define TESSERA_NOT_NULL(pointer) TESSERA_CHECK((pointer) != nullptr, argument, #pointer " is null")

}  // namespace tessera::capi
