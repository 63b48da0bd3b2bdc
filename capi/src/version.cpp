// tessera/version.h and tessera/error.h.
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include "core/cuda_plugin.h"
#include "core/handle.h"
#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::cat;
using tessera::HandleTable;

#define TESSERA_STRINGIFY_(x) #x
#define TESSERA_STRINGIFY(x) TESSERA_STRINGIFY_(x)

namespace {

struct StatusText {
  tessera_status status;
  const char* name;
  const char* text;
};
constexpr StatusText kStatuses[] = {
    {TESSERA_OK, "OK", "success"},
    {TESSERA_E_ARGUMENT, "E_ARGUMENT", "a value that the call cannot accept"},
    {TESSERA_E_HANDLE_NULL, "E_HANDLE_NULL", "a null handle"},
    {TESSERA_E_HANDLE_STALE, "E_HANDLE_STALE", "a handle that was destroyed, or never existed"},
    {TESSERA_E_HANDLE_TYPE, "E_HANDLE_TYPE", "a handle of another kind"},
    {TESSERA_E_BUFFER, "E_BUFFER", "the caller's buffer is too small"},
    {TESSERA_E_BUSY, "E_BUSY", "another call on this object is running"},
    {TESSERA_E_TIMEOUT, "E_TIMEOUT", "the time was up"},
    {TESSERA_E_CANCELLED, "E_CANCELLED", "cancelled"},
    {TESSERA_E_PEER_FAILED, "E_PEER_FAILED", "another rank died, left or failed"},
    {TESSERA_E_COLLECTIVE_MISMATCH, "E_COLLECTIVE_MISMATCH", "ranks called different collectives"},
    {TESSERA_E_IO, "E_IO", "the operating system refused a file or connection"},
    {TESSERA_E_FORMAT, "E_FORMAT", "a file or text that breaks its format"},
    {TESSERA_E_NOT_FOUND, "E_NOT_FOUND", "there is nothing of that name"},
    {TESSERA_E_UNSUPPORTED, "E_UNSUPPORTED", "not supported"},
    {TESSERA_E_OUT_OF_MEMORY, "E_OUT_OF_MEMORY", "out of memory"},
    {TESSERA_E_NUMERIC, "E_NUMERIC", "not a finite number"},
    {TESSERA_E_END, "E_END", "no more data"},
    {TESSERA_E_STATE, "E_STATE", "the object is not in a state that allows the call"},
    {TESSERA_E_FORKED, "E_FORKED", "the handle was made before fork()"},
    {TESSERA_E_DEVICE, "E_DEVICE", "a device failed"},
    {TESSERA_E_INTERNAL, "E_INTERNAL", "a defect of the library"},
};

const StatusText* find_status(tessera_status status) {
  for (const StatusText& entry : kStatuses) {
    if (entry.status == status) return &entry;
  }
  return nullptr;
}

std::string build_info() {
  return cat(
      "tessera: ", tessera_version_string(), "\nabi: ", TESSERA_ABI_VERSION, "\ncompiler: ",
#if defined(__clang__)
      "clang ", __clang_version__,
#else
      "gcc ", __VERSION__,
#endif
      "\ntorch: ", TORCH_VERSION, "\ncpu: ", at::get_cpu_capability(), "\nengines: local gloo", "\ncuda: ",
      tessera::cuda_plugin() ? tessera::cuda_plugin()->versions() : tessera::cuda_unavailable_reason(), "\n");
}

}  // namespace

const char* tessera_status_name(tessera_status status) {
  const StatusText* entry = find_status(status);
  return entry == nullptr ? "E_UNKNOWN" : entry->name;
}

const char* tessera_status_string(tessera_status status) {
  const StatusText* entry = find_status(status);
  return entry == nullptr ? "unknown status" : entry->text;
}

tessera_status tessera_handle_count(int32_t kind, int64_t* out_count, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_count);
    TESSERA_CHECK(kind >= 0 && kind < HandleTable::kKinds, argument, "kind=", kind, " is not a tessera_kind");
    *out_count = HandleTable::instance().live(static_cast<uint8_t>(kind));
  });
}

const char* tessera_version_string(void) {
  return TESSERA_STRINGIFY(TESSERA_VERSION_MAJOR) "." TESSERA_STRINGIFY(
      TESSERA_VERSION_MINOR) "." TESSERA_STRINGIFY(TESSERA_VERSION_PATCH);
}

int32_t tessera_abi_version(void) {
  return TESSERA_ABI_VERSION;
}

tessera_status tessera_build_info(char* buf, size_t cap, size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    write_text(build_info(), buf, cap, out_len);
  });
}
