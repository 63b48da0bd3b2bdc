// Rank threads with a minimal group for the tests of collective file operations: what they need and no more,
// so that they fail for their own reasons only.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/clone.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "comm/group.h"
#include "core/error.h"
#include "tensor/placement.h"

namespace tessera {

class TestGroup : public Group {
 public:
  struct Shared {
    explicit Shared(int size) : barrier(size), tensors(size) {}
    std::barrier<> barrier;
    std::vector<at::Tensor> tensors;
    /// Called by every rank before its n-th all-reduce: where a test makes something fail in the middle.
    std::function<void(int rank, int call)> before_all_reduce;
  };

  TestGroup(std::shared_ptr<Shared> shared, int rank, int size)
      : Group("test", rank, iota(size)), shared_(std::move(shared)) {}

  WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) override {
    exchange(ins[0], [&](const std::vector<at::Tensor>& all) {
      for (int r = 0; r < size(); ++r) outs[0].narrow(0, r * ins[0].numel(), ins[0].numel()).copy_(all[r]);
    });
    return done();
  }
  WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) override {
    if (shared_->before_all_reduce) shared_->before_all_reduce(rank(), all_reduces_++);
    at::Tensor result;
    exchange(tensors[0], [&](const std::vector<at::Tensor>& all) {
      result = all[0].clone();
      for (int r = 1; r < size(); ++r) {
        if (op == ReduceOp::min) result = result.minimum(all[r]);
        if (op == ReduceOp::max) result = result.maximum(all[r]);
        if (op == ReduceOp::sum) result = result.add(all[r]);
      }
    });
    tensors[0].copy_(result);
    return done();
  }
  WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) override {
    at::Tensor result;
    exchange(tensors[0], [&](const std::vector<at::Tensor>& all) { result = all[root].clone(); });
    tensors[0].copy_(result);
    return done();
  }
  void barrier() override { shared_->barrier.arrive_and_wait(); }

  WorkPtr reduce_scatter(const std::vector<at::Tensor>&, const std::vector<at::Tensor>&, ReduceOp) override {
    throw Error(Code::unsupported, "not needed");
  }
  WorkPtr all_to_all(const at::Tensor&, const at::Tensor&, const std::vector<int64_t>&,
                     const std::vector<int64_t>&) override {
    throw Error(Code::unsupported, "not needed");
  }
  WorkPtr send(const at::Tensor&, int, int) override { throw Error(Code::unsupported, "not needed"); }
  WorkPtr recv(const at::Tensor&, int, int) override { throw Error(Code::unsupported, "not needed"); }

 private:
  struct Done : Work {
    void wait() override {}
  };
  static WorkPtr done() { return std::make_shared<Done>(); }
  static std::vector<int> iota(int size) {
    std::vector<int> ranks(size);
    std::iota(ranks.begin(), ranks.end(), 0);
    return ranks;
  }
  void exchange(const at::Tensor& mine, const std::function<void(const std::vector<at::Tensor>&)>& use) {
    shared_->tensors[rank()] = mine;
    barrier();
    use(shared_->tensors);
    barrier();
  }

  std::shared_ptr<Shared> shared_;
  int all_reduces_ = 0;
};

/// Runs `body` as `size` rank threads and returns what each threw: "" for nothing.
inline std::vector<std::string> run_ranks(
    int size, const std::function<void(Group&)>& body,
    std::function<void(int rank, int call)> before_all_reduce = nullptr) {
  const auto shared = std::make_shared<TestGroup::Shared>(size);
  shared->before_all_reduce = std::move(before_all_reduce);
  std::vector<std::string> errors(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      TestGroup group(shared, rank, size);
      try {
        body(group);
      } catch (const std::exception& error) {
        errors[rank] = error.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return errors;
}

/// A small model as full tensors.
using FullTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// What one rank of a mesh (tp x shards x replicas, tp fastest) holds of `full`; matrices are split by tp in
/// dim 0 or, for every second one, in dim 1. Copies on replicas and tp-replicated tensors have one owner.
inline std::vector<ShardedTensor> shard_tensors(const FullTensors& full, int rank, int tp, int shards) {
  const int t = rank % tp, s = rank / tp % shards, replica = rank / (tp * shards);
  std::vector<ShardedTensor> out;
  int matrices = 0;
  for (const auto& [name, tensor] : full) {
    ParamSpec spec;
    spec.name = name;
    spec.shape = tensor.sizes().vec();
    if (tensor.dim() >= 2) spec.tp = Placement::shard(matrices++ % 2);
    const Box box = owned_box(spec, t, tp, s, shards);
    at::Tensor local = tensor;
    for (size_t d = 0; d < box.size.size(); ++d) {
      local = local.narrow(static_cast<int64_t>(d), box.offset[d], box.size[d]);
    }
    const bool copy = spec.tp.kind == Placement::Kind::replicate && t > 0;
    out.push_back({name, spec.shape, box, local.clone(at::MemoryFormat::Contiguous), replica == 0 && !copy});
  }
  return out;
}

/// The one message that all ranks threw.
inline std::string common_error(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) EXPECT_EQ(error, errors[0]);
  return errors[0];
}

}  // namespace tessera
