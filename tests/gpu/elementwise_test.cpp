// Flat passes, alone and over many tensors, against ATen in float64.
#include "kernels/elementwise.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "gpu_support.h"
#include "kernels/cuda/geometry.h"
#include "kernels/linear.h"
#include "kernels/multi_tensor.h"
#include "optim/optimizer.h"

namespace tessera::kernels {
namespace {

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16};

class FlatOn : public OnPlace {
 protected:
  /// Lengths around packs, chunks and nothing, more of them than one launch holds.
  static std::vector<int64_t> lengths() {
    std::vector<int64_t> all = {
        0, 1, 7, 8, 1000, kManyChunk - 1, kManyChunk, kManyChunk + 1, 0, 3 * kManyChunk + 5};
    for (int64_t i = 0; i < 90; ++i) all.push_back(i);
    return all;
  }
};

TEST_P(FlatOn, CopiesAddsAndScalesOfAllDtypePairs) {
  for (at::ScalarType to : kTypes) {
    for (at::ScalarType from : kTypes) {
      for (int64_t offset : {0, 1}) {  // 1: not aligned to packs
        const at::Tensor a = random_tensor({3001}, to, 1), b = random_tensor({3001}, from, 2);
        const at::Tensor dst = put(a), src = put(b);
        const at::Tensor d = dst.narrow(0, offset, 3000), s = src.narrow(0, offset, 3000);
        here([&] { add_to(d, s); });
        expect_close(back(d), wide(a.narrow(0, offset, 3000)) + wide(b.narrow(0, offset, 3000)),
                     tolerance(to));
        here([&] { cast_copy(d, s); });
        EXPECT_TRUE(same_bits(back(d), b.narrow(0, offset, 3000).to(to)));
        here([&] { scale(d, 0.3); });
        expect_close(back(d), wide(b.narrow(0, offset, 3000).to(to)) * static_cast<double>(0.3f),
                     tolerance(to));
      }
    }
    const at::Tensor a = random_tensor({777}, to, 1), b = random_tensor({777}, to, 2);
    expect_close(back(here([&] { return kernels::add(put(a), put(b)); })), wide(a) + wide(b), tolerance(to));
  }
}

TEST_P(FlatOn, MoreBlocksThanCudaTakesAreRefusedAndNotCut) {
  const at::Tensor x = put(at::zeros({512}));
  float* odd = x.mutable_data_ptr<float>() + 1;  // one element a thread
  EXPECT_NE(table().scale(CudaType::f32, odd, 1, (int64_t{1} << 40) + 256, stream()), 0);
}

TEST_P(FlatOn, FindsOneBadNumberAnywhere) {
  for (at::ScalarType dtype : kTypes) {
    for (int64_t at : {0, 511, 998}) {
      for (double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
        at::Tensor x = random_tensor({999}, dtype, 1);
        EXPECT_TRUE(here([&] { return all_finite(put(x)); }));
        x[at] = bad;
        EXPECT_FALSE(here([&] { return all_finite(put(x)); }));
      }
    }
  }
}

TEST_P(FlatOn, ColumnSumsOfAnyHeight) {
  for (at::ScalarType dtype : kTypes) {
    for (int64_t rows : {0, 1, 255, 256, 257, 1000}) {
      const at::Tensor dy = random_tensor({rows, 77}, dtype, 1);
      expect_close(back(here([&] { return linear_grad_bias(put(dy)); })), wide(dy).sum(0), 4e-6,
                   std::sqrt(1.0 + static_cast<double>(rows)));
    }
  }
  const at::Tensor tall = random_tensor({70000, 3}, at::kFloat, 2);  // three levels
  expect_close(back(here([&] { return linear_grad_bias(put(tall)); })), wide(tall).sum(0), 1e-5, 260.0);
}

TEST_P(FlatOn, CopiesManyTensorsInAndOutOfAFlatBuffer) {
  for (at::ScalarType to : kTypes) {
    for (at::ScalarType from : kTypes) {
      std::vector<at::Tensor> srcs, there, parts;
      int64_t total = 0;
      for (int64_t n : lengths()) total += n;
      const at::Tensor flat = put(at::zeros({total}, to));
      int64_t offset = 0;
      for (int64_t n : lengths()) {
        srcs.push_back(random_tensor({n}, from, static_cast<uint64_t>(n)));
        there.push_back(put(srcs.back()));
        parts.push_back(flat.narrow(0, offset, n));
        offset += n;
      }
      here([&] { copy_all(parts, there); });
      for (size_t i = 0; i < srcs.size(); ++i) ASSERT_TRUE(same_bits(back(parts[i]), srcs[i].to(to))) << i;
      here([&] { add_all(parts, there); });
      for (size_t i = 0; i < srcs.size(); ++i)
        expect_close(back(parts[i]), wide(srcs[i].to(to)) + wide(srcs[i]), tolerance(to));
    }
  }
}

TEST_P(FlatOn, SumOfSquaresOfManyTensorsIsExactToDouble) {
  double expected = 0;
  std::vector<WeightedTensor> list;
  for (int64_t n : lengths()) {
    const at::Tensor x =
        random_tensor({n}, n % 2 ? at::kFloat : at::kBFloat16, static_cast<uint64_t>(n), 1e20);
    const double factor = n % 3 ? 1.0 : 0.25;
    expected += factor * wide(x).square().sum().item<double>();
    list.push_back({put(x), factor});
  }
  const at::Tensor sum = here([&] { return sum_of_squares(list); });
  EXPECT_NEAR(back(sum).item<double>() / expected, 1, 1e-12);
  const double norm = std::sqrt(expected);
  for (double most : {norm / 4, norm * 4}) {
    const at::Tensor scale = here([&] { return clip_scale(sum, most); });
    EXPECT_FLOAT_EQ(back(scale).item<float>(), static_cast<float>(clip_coefficient(norm, most)));
  }
  EXPECT_EQ(back(here([&] { return sum_of_squares({{put(at::empty({0})), 1.0}}); })).item<double>(), 0);
}

class OptimizerOn : public OnPlace {
 protected:
  struct Shards {
    std::vector<ParamShard> list;
  };
  Shards make(at::ScalarType master, bool copies, bool there) const {
    Shards s;
    for (int64_t n : {5, 0, 1024, 20000, 33}) {
      const auto seed = static_cast<uint64_t>(n);
      const auto place = [&](const at::Tensor& t) { return there ? put(t) : t.clone(); };
      ParamShard shard;
      shard.name = cat("w", n);
      shard.master = place(random_tensor({n}, master, seed));
      shard.grad = place(random_tensor({n}, at::kFloat, seed + 1));
      if (copies) shard.compute = place(at::zeros({n}, at::kBFloat16));
      shard.decay = n != 33;
      s.list.push_back(shard);
    }
    return s;
  }
  void matches(const std::string& name, at::ScalarType master, bool copies) const {
    SCOPED_TRACE(cat(name, " ", master, copies ? " with copies" : ""));
    OptimizerOptions options;
    options.name = name;
    options.momentum = 0.9;
    Shards want = make(master, copies, false), got = make(master, copies, true);
    const auto cpu = make_optimizer(options), gpu = make_optimizer(options);
    for (int64_t step = 1; step <= 3; ++step) {
      cpu->step(want.list, 1e-2, 0.5, step);
      here([&] { gpu->step(got.list, 1e-2, 0.5, step); });
    }
    for (size_t i = 0; i < want.list.size(); ++i) {
      expect_close(back(got.list[i].master), wide(want.list[i].master), tolerance(master));
      if (copies) {
        EXPECT_TRUE(same_bits(back(got.list[i].compute), back(got.list[i].master).to(at::kBFloat16)));
      }
      const auto a = cpu->state(want.list, i), b = gpu->state(got.list, i);
      for (size_t k = 0; k < a.size(); ++k) expect_close(back(b[k].second), wide(a[k].second), 2e-6);
    }
  }
};

TEST_P(OptimizerOn, AdamWAndSgdMatchTheCpu) {
  for (const char* name : {"adamw", "sgd"}) {
    matches(name, at::kFloat, false);
    matches(name, at::kFloat, true);
    matches(name, at::kBFloat16, false);
  }
}

TEST_P(OptimizerOn, TheScaleMayBeOnTheDevice) {
  const at::Tensor p = random_tensor({1000}, at::kFloat, 1), g = random_tensor({1000}, at::kFloat, 2);
  const auto run = [&](float host, double device) {
    const at::Tensor master = put(p), m = put(at::zeros({1000})), v = put(at::zeros({1000}));
    const at::Tensor scale = put(at::ones({1}).mul_(device));
    AdamWScalars s{0.9f, 0.95f, 0.1f, 0.05f, 1e-8f, 1, 1e-2f, 0.3f, host};
    here([&] { adamw_all({{master, put(g), m, v, {}, 1.0f}}, s, scale); });
    return back(m);
  };
  EXPECT_TRUE(same_bits(run(0.5f, 1.0), run(1.0f, 0.5)));
}

TESSERA_ON_PLACES(FlatOn);
TESSERA_ON_PLACES(OptimizerOn);

TEST(CudaGeometry, PartsFillAGpuWithoutOutweighingTheRows) {
  EXPECT_EQ(norm_parts(0, 64), 1);
  EXPECT_EQ(norm_parts(16384, 2048), 512);
  EXPECT_EQ(norm_parts(524288, 128), 8192);
  for (int64_t rows : {1, 100, 16384, 1000000}) {
    for (int64_t h : {1, 64, 2048, 16384})
      EXPECT_LE(norm_parts(rows, h) * h * 8, std::max<int64_t>(rows * h + 8 * h, 512 * 8 * h))
          << rows << " x " << h;
  }
  EXPECT_EQ(column_sum_floats(256, 5), 0);
  EXPECT_EQ(column_sum_floats(257, 5), 2 * 5);
  EXPECT_EQ(column_sum_floats(70000, 1), 274 + 2);
}

}  // namespace
}  // namespace tessera::kernels
