// DLPack 1.x as a host declares it, and tensors of such a host, whose deleters call back into the library.
#pragma once

#include <cstdint>

#include "host.h"

// From the layout that dlpack.h of github.com/dmlc/dlpack describes.
struct DLPackVersion {
  uint32_t major;
  uint32_t minor;
};
struct DLDevice {
  int32_t device_type;
  int32_t device_id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor dl_tensor;
};

namespace random_host {

/// A tensor as a host would export it, or one with something wrong in it.
DLManagedTensorVersioned* make_dlpack(Caller& caller);
inline void release_dlpack(DLManagedTensorVersioned* tensor) {
  if (tensor != nullptr && tensor->deleter != nullptr) tensor->deleter(tensor);
}

}  // namespace random_host
