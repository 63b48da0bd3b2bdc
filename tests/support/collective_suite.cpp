// Plain references for the collectives and the comparison with what a group returns.
#include "collective_suite.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace tessera::testing {
namespace {

using c10::ScalarType;

/// What rank `rank` puts in: reproducible by everyone. Values are small, with fractions where the dtype has
/// them.
at::Tensor input_of(int rank, int64_t count, ScalarType dtype, int salt) {
  at::Tensor index = at::arange(count, at::kLong);
  at::Tensor mixed = (index * 7919 + rank * 104729 + salt * 31).remainder(251);
  if (dtype == ScalarType::Bool) return mixed.remainder(2).to(dtype);
  if (dtype == ScalarType::Byte) return mixed.remainder(29).to(dtype);
  if (c10::isIntegralType(dtype, true)) return (mixed - 125).remainder(15).sub(7).to(dtype);
  return ((mixed - 125).to(at::kDouble) / 37.0).to(dtype);
}

at::Tensor reference(const std::vector<at::Tensor>& inputs, ReduceOp op, ScalarType out) {
  const bool narrow =
      inputs[0].scalar_type() == ScalarType::BFloat16 || inputs[0].scalar_type() == ScalarType::Half;
  const ScalarType wide = narrow ? ScalarType::Float : inputs[0].scalar_type();
  at::Tensor result = inputs[0].to(wide).clone();
  for (size_t r = 1; r < inputs.size(); ++r) {
    const at::Tensor next = inputs[r].to(wide);
    if (op == ReduceOp::max) {
      result = at::maximum(result, next);
    } else if (op == ReduceOp::min) {
      result = at::minimum(result, next);
    } else {
      result = (result + next).to(wide);
    }
  }
  if (op == ReduceOp::avg) result = result / static_cast<double>(inputs.size());
  return result.to(out);
}

struct Suite {
  Group& group;
  int salt;
  std::vector<ScalarType> dtypes;
  std::vector<int64_t> counts;
  at::Device device = at::kCPU;
  bool ordered = false;  ///< messages of a pair match in order, whatever their tags

  at::Tensor here(const at::Tensor& tensor) const { return tensor.to(device); }
  at::TensorOptions of(ScalarType dtype) const { return at::dtype(dtype).device(device); }
  /// What this rank puts in.
  at::Tensor own_input(int64_t count, ScalarType dtype, int other_salt) const {
    return here(input_of(group.rank(), count, dtype, other_salt));
  }

  std::vector<at::Tensor> inputs(int64_t count, ScalarType dtype) const {
    std::vector<at::Tensor> all;
    for (int r = 0; r < group.size(); ++r) all.push_back(input_of(r, count, dtype, salt));
    return all;
  }

  void expect_equal(const at::Tensor& got, const at::Tensor& wanted, const std::string& what) const {
    EXPECT_TRUE(at::equal(got.cpu(), wanted))
        << what << " on rank " << group.rank() << " of " << group.size();
  }

  void gather() const {
    for (ScalarType dtype : dtypes) {
      std::vector<at::Tensor> outs, ins, wanted;
      for (int64_t count : counts) {
        const std::vector<at::Tensor> all = inputs(count, dtype);
        ins.push_back(here(all[group.rank()]));
        outs.push_back(at::empty({count * group.size()}, of(dtype)));
        wanted.push_back(at::cat(all));
        group.all_gather({outs.back()}, {ins.back()})->wait();
        expect_equal(outs.back(), wanted.back(), cat("all_gather ", c10::toString(dtype), " ", count));
        // In place: the input is this rank's part of the output.
        at::Tensor whole = at::zeros({count * group.size()}, of(dtype));
        at::Tensor own = whole.narrow(0, group.rank() * count, count);
        own.copy_(ins.back());
        group.all_gather({whole}, {own})->wait();
        expect_equal(whole, wanted.back(), cat("all_gather in place ", c10::toString(dtype), " ", count));
      }
      for (at::Tensor& out : outs) out.zero_();
      group.all_gather(outs, ins)->wait();
      for (size_t i = 0; i < outs.size(); ++i) expect_equal(outs[i], wanted[i], "all_gather of a list");
    }
  }

  std::vector<ReduceOp> ops_for(ScalarType dtype) const {
    if (dtype == ScalarType::Bool) return {ReduceOp::max, ReduceOp::min};
    if (c10::isIntegralType(dtype, true)) return {ReduceOp::sum, ReduceOp::max, ReduceOp::min};
    return {ReduceOp::sum, ReduceOp::avg, ReduceOp::max, ReduceOp::min};
  }

  void reduce() const {
    for (ScalarType dtype : dtypes) {
      for (ReduceOp op : ops_for(dtype)) {
        std::vector<at::Tensor> scatter_ins, scatter_outs, scatter_wanted, reduced, reduced_wanted;
        for (int64_t count : counts) {
          const std::vector<at::Tensor> all = inputs(count, dtype);
          const std::string what = cat(" op ", static_cast<int>(op), " ", c10::toString(dtype), " ", count);
          at::Tensor own = here(all[group.rank()].clone());
          group.all_reduce({own}, op)->wait();
          reduced_wanted.push_back(reference(all, op, dtype));
          expect_equal(own, reduced_wanted.back(), "all_reduce" + what);
          reduced.push_back(here(all[group.rank()].clone()));

          const std::vector<at::Tensor> wide = inputs(count * group.size(), dtype);
          const at::Tensor in = here(wide[group.rank()]);
          std::vector<ScalarType> out_dtypes = {dtype};
          if (dtype == ScalarType::BFloat16 || dtype == ScalarType::Half)
            out_dtypes.push_back(ScalarType::Float);
          for (ScalarType out_dtype : out_dtypes) {
            at::Tensor out = at::empty({count}, of(out_dtype));
            group.reduce_scatter({out}, {in}, op)->wait();
            const at::Tensor wanted = reference(wide, op, out_dtype).narrow(0, group.rank() * count, count);
            expect_equal(out, wanted, "reduce_scatter" + what);
            scatter_ins.push_back(in);
            scatter_outs.push_back(at::empty({count}, of(out_dtype)));
            scatter_wanted.push_back(wanted);
          }
        }
        group.all_reduce(reduced, op)->wait();
        for (size_t i = 0; i < reduced.size(); ++i)
          expect_equal(reduced[i], reduced_wanted[i], "all_reduce of a list");
        group.reduce_scatter(scatter_outs, scatter_ins, op)->wait();
        for (size_t i = 0; i < scatter_outs.size(); ++i) {
          expect_equal(scatter_outs[i], scatter_wanted[i], "reduce_scatter of a list");
        }
      }
    }
  }

  void exchange() const {
    const int n = group.size();
    for (ScalarType dtype : dtypes) {
      for (int64_t width : {int64_t{1}, int64_t{5}, counts.back()}) {
        // Equal parts of two rows.
        at::Tensor in = own_input(2 * n * width, dtype, salt).reshape({2 * n, width});
        at::Tensor out = at::empty_like(in);
        group.all_to_all(out, in, {}, {})->wait();
        std::vector<at::Tensor> parts;
        for (int r = 0; r < n; ++r) {
          parts.push_back(
              input_of(r, 2 * n * width, dtype, salt).reshape({2 * n, width}).narrow(0, 2 * group.rank(), 2));
        }
        expect_equal(out, at::cat(parts), "all_to_all");

        // Rank r sends (r + q) % 3 rows to rank q: some parts are empty.
        const auto rows = [&](int from, int to) { return int64_t{(from + to) % 3}; };
        const auto sent_by = [&](int from) {
          int64_t total = 0;
          for (int q = 0; q < n; ++q) total += rows(from, q);
          return input_of(from, total * width, dtype, salt + 1).reshape({total, width});
        };
        std::vector<int64_t> out_splits, in_splits;
        parts.clear();
        for (int q = 0; q < n; ++q) {
          in_splits.push_back(rows(group.rank(), q));
          out_splits.push_back(rows(q, group.rank()));
          int64_t first = 0;
          for (int before = 0; before < group.rank(); ++before) first += rows(q, before);
          parts.push_back(sent_by(q).narrow(0, first, out_splits.back()));
        }
        const at::Tensor wanted = at::cat(parts);
        out = at::empty_like(wanted, wanted.options().device(device));
        group.all_to_all(out, here(sent_by(group.rank())), out_splits, in_splits)->wait();
        expect_equal(out, wanted, "all_to_all with splits");
      }
    }
  }

  void broadcast() const {
    for (ScalarType dtype : dtypes) {
      for (int root = 0; root < group.size(); ++root) {
        std::vector<at::Tensor> tensors;
        for (int64_t count : counts) tensors.push_back(own_input(count, dtype, salt));
        group.broadcast(tensors, root)->wait();
        for (size_t i = 0; i < counts.size(); ++i) {
          expect_equal(tensors[i], input_of(root, counts[i], dtype, salt), "broadcast");
        }
      }
    }
  }

  /// A ring in both directions, started before anything is waited for, received in another order than sent.
  void messages() const {
    if (group.size() < 2) return;
    const int n = group.size();
    const int right = (group.rank() + 1) % n;
    const int left = (group.rank() + n - 1) % n;
    for (int64_t count : counts) {
      std::vector<WorkPtr> works;
      for (int tag = 0; tag < 3; ++tag) {
        works.push_back(group.send(own_input(count, ScalarType::Float, tag), right, tag));
        works.push_back(group.send(own_input(count, ScalarType::BFloat16, tag + 7), left, 10 + tag));
      }
      for (int i = 0; i < 3; ++i) {
        const int tag = ordered ? i : 2 - i;
        at::Tensor from_left = at::empty({count}, of(at::kFloat));
        at::Tensor from_right = at::empty({count}, of(at::kBFloat16));
        WorkPtr first = group.recv(from_left, left, tag);
        group.recv(from_right, right, 10 + tag)->wait();
        first->wait();
        expect_equal(from_left, input_of(left, count, ScalarType::Float, tag), "recv from the left");
        expect_equal(from_right, input_of(right, count, ScalarType::BFloat16, tag + 7),
                     "recv from the right");
      }
      for (const WorkPtr& work : works) work->wait();
    }
  }

  /// Many operations under way at once, waited for backwards.
  void overlap() const {
    const int64_t count = counts.back();
    std::vector<at::Tensor> results;
    std::vector<WorkPtr> works;
    for (int i = 0; i < 40; ++i) {
      results.push_back(own_input(count, ScalarType::Float, i));
      works.push_back(group.all_reduce({results.back()}, ReduceOp::sum));
    }
    for (size_t i = works.size(); i-- > 0;) {
      works[i]->wait_output();
      std::vector<at::Tensor> all;
      for (int r = 0; r < group.size(); ++r)
        all.push_back(input_of(r, count, ScalarType::Float, static_cast<int>(i)));
      expect_equal(results[i], reference(all, ReduceOp::sum, ScalarType::Float), "all_reduce under way");
    }
    for (const WorkPtr& work : works) work->wait();
  }

  void run() const {
    group.barrier();
    gather();
    reduce();
    exchange();
    broadcast();
    messages();
    overlap();
    group.barrier();
  }
};

}  // namespace

void exercise_collectives(Group& group, int salt) {
  Suite{group,
        salt,
        {ScalarType::Float, ScalarType::Double, ScalarType::BFloat16, ScalarType::Half, ScalarType::Byte,
         ScalarType::Char, ScalarType::Short, ScalarType::Int, ScalarType::Long, ScalarType::Bool},
        {1, 3, 64, 257, 0, 5000}}
      .run();
}

void exercise_collectives_briefly(Group& group, int salt) {
  Suite{group, salt, {ScalarType::Float, ScalarType::BFloat16, ScalarType::Long}, {0, 3, 5000}}.run();
}

void exercise_device_collectives(Group& group, at::Device device, int salt) {
  Suite suite{group,
              salt,
              {ScalarType::Float, ScalarType::Double, ScalarType::BFloat16, ScalarType::Half,
               ScalarType::Byte, ScalarType::Char, ScalarType::Int, ScalarType::Long, ScalarType::Bool},
              {1, 3, 0, 257}};
  suite.device = device;
  suite.ordered = true;
  suite.run();
}

uint64_t collective_digest(Group& group) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  const auto mix = [&](const at::Tensor& tensor) {
    const auto* bytes = static_cast<const uint8_t*>(tensor.data_ptr());
    for (size_t i = 0; i < tensor.nbytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
  };
  for (ScalarType dtype : {ScalarType::Float, ScalarType::BFloat16, ScalarType::Half}) {
    for (int64_t count : {7, 3001}) {
      // Values of very different size: the order of summation shows in the bits.
      at::Tensor own = (input_of(group.rank(), count * group.size(), at::kDouble, 3) *
                        std::vector<double>{1e-3, 1.0, 17.3, 1e3}[group.rank() % 4])
                           .to(dtype);
      for (ReduceOp op : {ReduceOp::sum, ReduceOp::avg}) {
        at::Tensor whole = own.clone();
        group.all_reduce({whole}, op)->wait();
        mix(whole);
        at::Tensor part = at::empty({count}, at::kFloat);
        if (dtype == ScalarType::Half && op == ReduceOp::sum) part = part.to(dtype);
        group.reduce_scatter({part}, {own}, op)->wait();
        at::Tensor parts = at::empty({count * group.size()}, part.scalar_type());
        group.all_gather({parts}, {part})->wait();
        mix(parts);
      }
    }
  }
  return hash;
}

}  // namespace tessera::testing
