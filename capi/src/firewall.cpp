// Exceptions to status codes and error structs.
#include "firewall.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <new>
#include <system_error>

#include "core/caught.h"
#include "core/cuda_plugin.h"
#include "core/log.h"

namespace {

/// The CUDA plugin has to be there before the first tensor operation of the process (core/cuda_plugin.h), so
/// a library that finds one beside itself loads it when it is loaded itself.
[[gnu::constructor]] void load_cuda_plugin() {
  static_cast<void>(tessera::cuda_plugin());
}

}  // namespace

namespace tessera::capi {

#ifdef TESSERA_TEST_HOOKS
void (*firewall_hook)() = nullptr;
#endif

namespace {

/// Length of the valid UTF-8 character at the start of `text`, or 0.
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
  if (lead == 0xED && byte(1) > 0x9F) return 0;  // surrogate
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;  // past U+10FFFF
  return length;
}

void fill(tessera_error* err, Code code, std::string_view message, Domain domain = Domain::none,
          int native = 0, int rank = -1) noexcept {
  if (err == nullptr) return;
  err->code = static_cast<int32_t>(code);
  err->domain = static_cast<int32_t>(domain);
  err->native_code = native;
  err->rank = rank;
  copy_text(err->message, message);
}

}  // namespace

void copy_text(char* out, size_t capacity, std::string_view text) noexcept {
  if (capacity == 0) return;
  size_t used = 0;
  while (!text.empty()) {
    const size_t length = character_length(text);
    if (used + (length == 0 ? 1 : length) >= capacity) break;
    if (length == 0) {
      out[used++] = '?';
    } else if (length == 1) {
      out[used++] = static_cast<unsigned char>(text[0]) < 0x20 ? ' ' : text[0];
    } else {
      std::memcpy(out + used, text.data(), length);
      used += length;
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out[used] = '\0';
}

tessera_status report(const std::exception_ptr& exception, tessera_error* err) noexcept {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    fill(err, error.code(), error.what(), error.domain(), error.native(), error.rank());
    return static_cast<tessera_status>(error.code());
  } catch (const c10::Error& error) {
    try {
      const Error known = caught(error);
      fill(err, known.code(), known.what(), known.domain(), known.native());
      log_debug("LibTorch: ", error.what());
      return static_cast<tessera_status>(known.code());
    } catch (...) {
      fill(err, Code::internal, "error in LibTorch, and no memory to describe it", Domain::torch);
      return TESSERA_E_INTERNAL;
    }
  } catch (const std::bad_alloc&) {
    fill(err, Code::out_of_memory, "out of memory");
    return TESSERA_E_OUT_OF_MEMORY;
  } catch (const std::system_error& error) {  // filesystem and threads
    fill(err, Code::io, error.what(), Domain::os, error.code().value());
    return TESSERA_E_IO;
  } catch (const std::exception& error) {
    fill(err, Code::internal, error.what());
    return TESSERA_E_INTERNAL;
  } catch (...) {
    fill(err, Code::internal, "an exception of unknown type");
    return TESSERA_E_INTERNAL;
  }
}

}  // namespace tessera::capi
