// A library that CUDA loads into any program (CUDA_INJECTION64_PATH) to write when each kernel and copy ran
// on the GPU into the file TESSERA_KERNEL_TRACE, by CUPTI's activity records. Without CUPTI it says so once
// and does nothing.
#include "kernel_trace.h"

#include <cupti.h>
#include <dlfcn.h>

namespace {

using tessera::tracing::TraceWriter;

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr size_t kAlignment = 8;

// CUPTI is asked for by name: the library must load where there is none.
struct Cupti {
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks;
  decltype(&cuptiActivityEnable) enable;
  decltype(&cuptiActivityGetNextRecord) next_record;
  decltype(&cuptiActivityFlushAll) flush_all;
};
Cupti cupti{};
TraceWriter* writer = nullptr;  // never destroyed: records come until the process ends

bool load_cupti() {
  void* library = nullptr;
  for (const char* name : {"libcupti.so.13", "libcupti.so.12", "libcupti.so"}) {
    library = library == nullptr ? dlopen(name, RTLD_NOW | RTLD_GLOBAL) : library;
  }
  if (library == nullptr) return false;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    return function != nullptr;
  };
  return find(cupti.register_callbacks, "cuptiActivityRegisterCallbacks") &&
         find(cupti.enable, "cuptiActivityEnable") && find(cupti.next_record, "cuptiActivityGetNextRecord") &&
         find(cupti.flush_all, "cuptiActivityFlushAll");
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* records) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, kBufferBytes));
  *size = *buffer == nullptr ? 0 : kBufferBytes;
  *records = 0;  // as many as fit
}

void write_record(const CUpti_Activity& record) {
  switch (record.kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto& kernel = reinterpret_cast<const CUpti_ActivityKernel10&>(record);
      writer->kernel({kernel.start, kernel.end, kernel.streamId}, kernel.name);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto& copy = reinterpret_cast<const CUpti_ActivityMemcpy6&>(record);
      writer->copy({copy.start, copy.end, copy.streamId}, copy.bytes, copy.copyKind);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto& set = reinterpret_cast<const CUpti_ActivityMemset4&>(record);
      writer->set({set.start, set.end, set.streamId}, set.bytes);
      break;
    }
    default:
      break;
  }
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  CUpti_Activity* record = nullptr;
  while (valid > 0 && cupti.next_record(buffer, valid, &record) == CUPTI_SUCCESS) write_record(*record);
  writer->flush();
  std::free(buffer);
}

void finish() {
  cupti.flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
}

}  // namespace

/// Called by the CUDA driver when it starts in a process.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  static bool started = false;
  if (started) return 1;
  started = true;
  writer = new TraceWriter(std::getenv("TESSERA_KERNEL_TRACE"));
  if (!writer->open()) {
    std::fprintf(stderr, "no kernel trace: TESSERA_KERNEL_TRACE names no file that can be written\n");
    return 1;
  }
  if (!load_cupti()) {
    std::fprintf(stderr, "no kernel trace: libcupti cannot be loaded: %s\n", dlerror());
    return 1;
  }
  const bool running = cupti.register_callbacks(give_buffer, take_buffer) == CUPTI_SUCCESS &&
                       cupti.enable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) == CUPTI_SUCCESS &&
                       cupti.enable(CUPTI_ACTIVITY_KIND_MEMCPY) == CUPTI_SUCCESS &&
                       cupti.enable(CUPTI_ACTIVITY_KIND_MEMSET) == CUPTI_SUCCESS;
  if (!running) {
    std::fprintf(stderr, "no kernel trace: CUPTI refuses activity records\n");
    return 1;
  }
  std::atexit(finish);
  return 1;
}
