// The errors that calls throw.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "core/error.h"

namespace tessera::testing {

/// The error that `call` throws; a failure of the test when it throws none.
inline Error error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {Code::ok, "no error"};
}

/// The code of the error that `call` throws; Code::ok when it throws none.
inline Code error_code(const std::function<void()>& call, std::string* message = nullptr) {
  try {
    call();
  } catch (const Error& error) {
    if (message) *message = error.what();
    return error.code();
  }
  return Code::ok;
}

}  // namespace tessera::testing
