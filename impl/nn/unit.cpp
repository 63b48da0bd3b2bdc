// The stack of saved tensors.
#include "nn/unit.h"

#include "core/error.h"

namespace tessera {

at::Tensor Saved::pop() {
  TESSERA_CHECK(!tensors_.empty(), internal, "a backward pops more tensors than its forward saved");
  at::Tensor tensor = std::move(tensors_.back());
  tensors_.pop_back();
  return tensor;
}

int64_t Saved::bytes() const {
  int64_t total = 0;
  for (const at::Tensor& tensor : tensors_) {
    if (tensor.defined()) total += static_cast<int64_t>(tensor.nbytes());
  }
  return total;
}

}  // namespace tessera
