// Chunks in the compute dtype, and a storage of bytes that gathers their casts.
#include "parallel/float8_weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "comm/device_world.h"
#include "core/error.h"
#include "kernels/float8.h"

namespace tessera {
namespace {

class Float8Weights final : public WeightStorage {
 public:
  Float8Weights(GroupPtr group, const std::vector<FsdpLayout>& layouts, const WeightStorageOptions& options)
      : group_(std::move(group)), layouts_(layouts), dtype_(options.dtype) {
    const at::ScalarType rest = options.rest.value_or(options.dtype);
    WeightStorageOptions bytes = options;
    bytes.dtype = at::kByte;
    bytes.rest.reset();
    bytes_ = make_weight_storage(group_, layouts, bytes);
    for (const FsdpLayout& layout : layouts) {
      first_scale_.push_back(weights_);
      weights_ += static_cast<int64_t>(layout.params.size());
      chunks_.push_back(at::zeros({layout.shard_numel}, at::dtype(rest).device(device_of(*group_))));
    }
  }

  void fetch(int unit) override { bytes_->fetch(unit); }
  void gather(int unit) override { bytes_->gather(unit); }
  void wait(int unit) override { bytes_->wait(unit); }
  void release(int unit) override { bytes_->release(unit); }
  void reshard(int unit) override { bytes_->reshard(unit); }
  const at::Tensor& full(int unit) const override { return bytes_->full(unit); }
  bool persistent() const override { return false; }
  bool shared() const override { return false; }

  at::Tensor own_chunk(int unit, size_t param) const override {
    return layouts_[unit].params[param].chunk(chunks_[unit]);
  }

  // New scales each time: those of weights that are bound stay as they were.
  void publish() override {
    if (weights_ == 0) return;
    const auto options = at::dtype(at::kFloat).device(device_of(*group_));
    const at::Tensor amax = at::zeros({weights_}, options);
    scales_ = at::empty({weights_, 1}, options);
    each([&](int64_t index, int unit, size_t param) {
      kernels::float8_raise_amax(amax.narrow(0, index, 1), own_chunk(unit, param).to(dtype_));
    });
    // As integers, of which absolute values have the order: a maximum of numbers may pass over NaN.
    group_->all_reduce({amax.view(at::kInt)}, ReduceOp::max)->wait();
    each([&](int64_t index, int unit, size_t param) {
      kernels::float8_cast_by(amax.narrow(0, index, 1), own_chunk(unit, param).to(dtype_), at::kFloat8_e4m3fn,
                              bytes_->own_chunk(unit, param), scales_.select(0, index));
    });
  }

  at::Tensor scale(int unit, size_t param) const override {
    TESSERA_CHECK(scales_.defined(), internal, "weights are gathered in float8 before they were published");
    return scales_.narrow(0, first_scale_[unit] + static_cast<int64_t>(param), 1);
  }

 private:
  template <class Function>
  void each(const Function& f) const {
    for (size_t unit = 0; unit < layouts_.size(); ++unit) {
      for (size_t param = 0; param < layouts_[unit].params.size(); ++param) {
        f(first_scale_[unit] + static_cast<int64_t>(param), static_cast<int>(unit), param);
      }
    }
  }

  GroupPtr group_;
  const std::vector<FsdpLayout>& layouts_;
  at::ScalarType dtype_;  // whose values are cast
  std::unique_ptr<WeightStorage> bytes_;
  std::vector<at::Tensor> chunks_;    // by unit, flat
  std::vector<int64_t> first_scale_;  // by unit
  int64_t weights_ = 0;
  at::Tensor scales_;  // float32 [weights_, 1]
};

}  // namespace

std::unique_ptr<WeightStorage> make_float8_weights(const GroupPtr& group,
                                                   const std::vector<FsdpLayout>& layouts,
                                                   const WeightStorageOptions& options) {
  return std::make_unique<Float8Weights>(group, layouts, options);
}

}  // namespace tessera
