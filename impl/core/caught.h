// Any exception as an Error: what LibTorch and the standard library throw, classified and on one line.
#pragma once

#include <exception>
#include <string>

#include "core/error.h"

namespace tessera {

/// An Error as it is. LibTorch's: out_of_memory where memory of the host or a device ran out, device (domain
/// cuda, with CUDA's number) where a call of CUDA failed, unsupported for operators that are not there,
/// otherwise internal; all of domain torch but for CUDA's. Others: out_of_memory, io or internal.
Error caught(const std::exception& error);

/// The message alone, one line without LibTorch's trace of calls.
std::string text_of(const std::exception& error);

}  // namespace tessera
