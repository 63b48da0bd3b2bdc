// Classes of exceptions, and LibTorch's messages cut down to what happened.
#include "core/caught.h"

#include <c10/util/Exception.h>

#include <new>
#include <system_error>

namespace tessera {
namespace {

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

/// LibTorch has no class of its own for host memory that ran out.
bool is_allocation_failure(const std::string& text) {
  return text.find("can't allocate memory") != std::string::npos ||
         text.find("not enough memory") != std::string::npos;
}

/// CUDA's message without the advice on environment variables that LibTorch puts behind it.
std::string cuda_text(const std::string& text) {
  return one_line(text.substr(0, text.find('\n')));
}

Error caught_torch(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  if (const auto* failed = dynamic_cast<const c10::AcceleratorError*>(&error)) {
    return {Code::device, cuda_text(text), -1, Domain::cuda, failed->get_error_code()};
  }
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr || is_allocation_failure(text)) {
    return {Code::out_of_memory, one_line(text), -1, Domain::torch};
  }
  const bool missing = dynamic_cast<const c10::NotImplementedError*>(&error) != nullptr;
  return {missing ? Code::unsupported : Code::internal, one_line(text), -1, Domain::torch};
}

}  // namespace

Error caught(const std::exception& error) {
  if (const auto* own = dynamic_cast<const Error*>(&error)) return *own;
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) return caught_torch(*torch);
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return {Code::out_of_memory, "out of memory"};
  if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {  // filesystem and threads
    return {Code::io, error.what(), -1, Domain::os, system->code().value()};
  }
  return {Code::internal, error.what()};
}

std::string text_of(const std::exception& error) {
  return caught(error).what();
}

}  // namespace tessera
