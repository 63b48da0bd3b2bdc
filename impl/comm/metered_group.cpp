// A group around another that watches the clock.
#include "comm/metered_group.h"

#include <chrono>

namespace tessera {
namespace {

/// Adds the time of its life.
class Watch {
 public:
  explicit Watch(ExposedTime& exposed) : exposed_(exposed), start_(Clock::now()) {}
  ~Watch() { exposed_.seconds += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  ExposedTime& exposed_;
  Clock::time_point start_;
};

class MeteredWork final : public Work {
 public:
  MeteredWork(WorkPtr inner, ExposedTimePtr exposed)
      : inner_(std::move(inner)), exposed_(std::move(exposed)) {}
  void wait() override {
    const Watch watch(*exposed_);
    inner_->wait();
  }
  void wait_output() override {
    const Watch watch(*exposed_);
    inner_->wait_output();
  }

 private:
  WorkPtr inner_;
  ExposedTimePtr exposed_;
};

class MeteredGroup final : public Group {
 public:
  MeteredGroup(GroupPtr inner, ExposedTimePtr exposed)
      : Group(inner->name(), inner->rank(), inner->world_ranks()),
        inner_(std::move(inner)),
        exposed_(std::move(exposed)) {}

  WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) override {
    return start([&] { return inner_->all_gather(outs, ins); });
  }
  WorkPtr reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                         ReduceOp op) override {
    return start([&] { return inner_->reduce_scatter(outs, ins, op); });
  }
  WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) override {
    return start([&] { return inner_->all_reduce(tensors, op); });
  }
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in, const std::vector<int64_t>& out_splits,
                     const std::vector<int64_t>& in_splits) override {
    return start([&] { return inner_->all_to_all(out, in, out_splits, in_splits); });
  }
  WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) override {
    return start([&] { return inner_->broadcast(tensors, root); });
  }
  WorkPtr send(const at::Tensor& tensor, int destination, int tag) override {
    return start([&] { return inner_->send(tensor, destination, tag); });
  }
  WorkPtr recv(const at::Tensor& tensor, int source, int tag) override {
    return start([&] { return inner_->recv(tensor, source, tag); });
  }
  void barrier() override {
    const Watch watch(*exposed_);
    inner_->barrier();
  }
  bool shares_memory() const override { return inner_->shares_memory(); }
  at::Tensor allocate_shared(int64_t bytes) override { return inner_->allocate_shared(bytes); }
  SharedBlocks allocate_symmetric(int64_t bytes) override { return inner_->allocate_symmetric(bytes); }

 private:
  template <class Call>
  WorkPtr start(const Call& call) {
    const Watch watch(*exposed_);
    return std::make_shared<MeteredWork>(call(), exposed_);
  }

  GroupPtr inner_;
  ExposedTimePtr exposed_;
};

}  // namespace

GroupPtr metered(GroupPtr group, ExposedTimePtr exposed) {
  if (!exposed) return group;
  return std::make_shared<MeteredGroup>(std::move(group), std::move(exposed));
}

}  // namespace tessera
