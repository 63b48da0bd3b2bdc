// AdamW and SGD against float64 closed forms and LibTorch's own fused steps.
#include "optim/optimizer.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera {
namespace {

using kernels::expect_close;
using kernels::for_each_isa;
using kernels::random_tensor;
using kernels::same_bits;
using kernels::wide;

OptimizerOptions adamw() {
  return {.name = "adamw", .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
}
OptimizerOptions sgd(double momentum, double decay) {
  return {.name = "sgd", .weight_decay = decay, .momentum = momentum};
}

std::vector<ParamShard> shards_of(std::initializer_list<int64_t> lengths, at::ScalarType master,
                                  bool compute) {
  std::vector<ParamShard> shards;
  for (int64_t n : lengths) {
    const uint64_t seed = 2 * shards.size() + 1;
    ParamShard s{cat("w", shards.size()),
                 random_tensor({n}, master, seed),
                 random_tensor({n}, at::kFloat, seed + 1),
                 {}};
    if (compute) s.compute = at::empty({n}, at::TensorOptions(at::kBFloat16));
    shards.push_back(s);
  }
  return shards;
}

void refresh_grads(std::vector<ParamShard>& shards, int64_t step) {
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i].grad =
        random_tensor({shards[i].master.numel()}, at::kFloat, 100 * static_cast<uint64_t>(step) + i, 0.1);
  }
}

struct Reference {
  at::Tensor p, m, v;
};

/// The formula of the header in float64.
void reference_adamw(Reference& r, const at::Tensor& grad, double lr, double scale, double wd, int64_t step) {
  const OptimizerOptions o = adamw();
  const at::Tensor g = wide(grad) * scale;
  r.m = r.m * o.beta1 + g * (1 - o.beta1);
  r.v = r.v * o.beta2 + g * g * (1 - o.beta2);
  const double b1 = 1 - std::pow(o.beta1, step), b2 = 1 - std::pow(o.beta2, step);
  r.p = r.p * (1 - lr * wd) - (lr / b1) * r.m / (r.v.sqrt() / std::sqrt(b2) + o.eps);
}

TEST(AdamW, FollowsTheFormulaOverSteps) {
  for_each_isa([] {
    std::vector<ParamShard> shards = shards_of({0, 1, 15, 64, 1003}, at::kFloat, true);
    shards[3].decay = false;
    std::vector<Reference> expected;
    for (const ParamShard& s : shards) {
      expected.push_back({wide(s.master), at::zeros_like(wide(s.master)), at::zeros_like(wide(s.master))});
    }
    auto optimizer = make_optimizer(adamw());
    for (int64_t step = 1; step <= 5; ++step) {
      refresh_grads(shards, step);
      optimizer->step(shards, 1e-2, 0.5, step);
      for (size_t i = 0; i < shards.size(); ++i) {
        reference_adamw(expected[i], shards[i].grad, 1e-2, 0.5, shards[i].decay ? 0.1 : 0.0, step);
        expect_close(shards[i].master, expected[i].p, 1e-6);
        expect_close(optimizer->state(shards, i)[0].second, expected[i].m, 1e-6);
        expect_close(optimizer->state(shards, i)[1].second, expected[i].v, 1e-6);
        EXPECT_TRUE(same_bits(shards[i].compute, shards[i].master.to(at::kBFloat16)));
      }
    }
  });
}

TEST(AdamW, AgreesWithLibTorchsFusedStep) {
  std::vector<ParamShard> shards = shards_of({777}, at::kFloat, false);
  at::Tensor p = shards[0].master.clone(), m = at::zeros({777}), v = at::zeros({777}), count = at::zeros({});
  auto optimizer = make_optimizer(adamw());
  for (int64_t step = 1; step <= 20; ++step) {
    refresh_grads(shards, step);
    optimizer->step(shards, 3e-3, 1.0, step);
    count.fill_(step);
    std::vector<at::Tensor> ps{p}, gs{shards[0].grad}, ms{m}, vs{v}, none, counts{count};
    at::_fused_adamw_(ps, gs, ms, vs, none, counts, 3e-3, 0.9, 0.95, 0.1, 1e-8, false, false);
    expect_close(shards[0].master, p, 1e-6);
  }
}

TEST(AdamW, RoundsABfloat16MasterOnceAStep) {
  std::vector<ParamShard> shards = shards_of({130}, at::kBFloat16, false);
  Reference expected{wide(shards[0].master), at::zeros({130}, at::kDouble), at::zeros({130}, at::kDouble)};
  auto optimizer = make_optimizer(adamw());
  for (int64_t step = 1; step <= 3; ++step) {
    refresh_grads(shards, step);
    expected.p = wide(shards[0].master);
    optimizer->step(shards, 1e-2, 1.0, step);
    reference_adamw(expected, shards[0].grad, 1e-2, 1.0, 0.1, step);
    const double mismatch =
        shards[0].master.ne(expected.p.to(at::kFloat).to(at::kBFloat16)).to(at::kFloat).mean().item<double>();
    EXPECT_LT(mismatch, 0.02);  // only where float32 arithmetic lands on the other side of a tie
  }
}

TEST(AdamW, OtherDtypesTakeTheComposition) {
  std::vector<ParamShard> shards = shards_of({50}, at::kDouble, false);
  Reference expected{wide(shards[0].master), at::zeros({50}, at::kDouble), at::zeros({50}, at::kDouble)};
  auto optimizer = make_optimizer(adamw());
  for (int64_t step = 1; step <= 3; ++step) {
    refresh_grads(shards, step);
    optimizer->step(shards, 1e-2, 0.25, step);
    reference_adamw(expected, shards[0].grad, 1e-2, 0.25, 0.1, step);
    expect_close(shards[0].master, expected.p, 1e-6);
  }
}

TEST(AdamW, BitsDoNotDependOnThreadsOrSharding) {
  const int64_t n = 300'000;
  std::vector<ParamShard> whole = shards_of({n}, at::kFloat, true);
  const at::Tensor start = whole[0].master.clone();
  std::vector<ParamShard> halves;
  for (int64_t begin : {int64_t{0}, n / 2 + 7}) {
    const int64_t len = begin == 0 ? n / 2 + 7 : n / 2 - 7;
    halves.push_back({"half", start.narrow(0, begin, len).clone(), whole[0].grad.narrow(0, begin, len), {}});
  }
  auto a = make_optimizer(adamw()), b = make_optimizer(adamw());
  {
    kernels::ThreadsGuard threads(4);
    a->step(whole, 1e-3, 0.7, 1);
  }
  kernels::ThreadsGuard threads(1);
  b->step(halves, 1e-3, 0.7, 1);
  EXPECT_TRUE(same_bits(whole[0].master.narrow(0, 0, n / 2 + 7), halves[0].master));
  EXPECT_TRUE(same_bits(whole[0].master.narrow(0, n / 2 + 7, n / 2 - 7), halves[1].master));
}

TEST(AdamW, StateWrittenFromOutsideContinues) {
  std::vector<ParamShard> a = shards_of({40}, at::kFloat, false);
  auto first = make_optimizer(adamw());
  first->step(a, 1e-2, 1.0, 1);
  std::vector<ParamShard> b = a;
  b[0].master = a[0].master.clone();
  auto second = make_optimizer(adamw());
  const auto from = first->state(a, 0), to = second->state(b, 0);
  for (size_t i = 0; i < from.size(); ++i) {
    EXPECT_EQ(from[i].first, to[i].first);
    to[i].second.copy_(from[i].second);
  }
  first->step(a, 1e-2, 1.0, 2);
  second->step(b, 1e-2, 1.0, 2);
  EXPECT_TRUE(same_bits(a[0].master, b[0].master));
}

TEST(Sgd, FollowsTheFormulaWithAndWithoutMomentum) {
  for_each_isa([] {
    for (double momentum : {0.0, 0.9}) {
      std::vector<ParamShard> shards = shards_of({1, 67}, at::kFloat, true);
      std::vector<Reference> expected;
      for (const ParamShard& s : shards)
        expected.push_back({wide(s.master), at::zeros_like(wide(s.master)), {}});
      auto optimizer = make_optimizer(sgd(momentum, 0.01));
      for (int64_t step = 1; step <= 4; ++step) {
        refresh_grads(shards, step);
        optimizer->step(shards, 0.1, 2.0, step);
        for (size_t i = 0; i < shards.size(); ++i) {
          Reference& r = expected[i];
          r.m = r.m * momentum + wide(shards[i].grad) * 2.0 + r.p * 0.01;
          r.p = r.p - r.m * 0.1;
          expect_close(shards[i].master, r.p, 1e-6);
          EXPECT_TRUE(same_bits(shards[i].compute, shards[i].master.to(at::kBFloat16)));
        }
      }
      EXPECT_EQ(optimizer->state(shards, 0).size(), momentum == 0 ? 0u : 1u);
    }
  });
}

TEST(Sgd, OtherDtypesTakeTheComposition) {
  std::vector<ParamShard> shards = shards_of({20}, at::kDouble, false);
  at::Tensor p = shards[0].master.clone(), buf = at::zeros_like(p);
  auto optimizer = make_optimizer(sgd(0.5, 0.1));
  for (int64_t step = 1; step <= 3; ++step) {
    refresh_grads(shards, step);
    optimizer->step(shards, 0.1, 1.0, step);
    buf = buf * 0.5 + wide(shards[0].grad) + p * 0.1;
    p = p - buf * 0.1;
    expect_close(shards[0].master, p, 1e-6);
  }
}

TEST(OptimizerErrors, NameTheOptionAndTheShard) {
  const auto message = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message([] { make_optimizer({.name = "lion"}); }), "optimizer.name lion is unknown (adamw, sgd)");
  EXPECT_EQ(message([] { make_optimizer({.beta1 = 1.0}); }), "optimizer.beta1 1 is not in [0, 1)");
  EXPECT_THROW(make_optimizer({.eps = -1}), Error);
  EXPECT_THROW(make_optimizer({.weight_decay = std::nan("")}), Error);
  EXPECT_THROW(make_optimizer(sgd(-0.1, 0)), Error);

  auto optimizer = make_optimizer(adamw());
  std::vector<ParamShard> shards = shards_of({4}, at::kFloat, false);
  EXPECT_THROW(optimizer->step(shards, -1.0, 1.0, 1), Error);
  EXPECT_THROW(optimizer->step(shards, 0.1, 1.0, 0), Error);
  optimizer->step(shards, 0.1, 1.0, 1);
  shards[0].grad = at::ones({5});
  EXPECT_NE(message([&] { optimizer->step(shards, 0.1, 1.0, 2); }).find("grad of w0"), std::string::npos);
  std::vector<ParamShard> other = shards_of({5}, at::kFloat, false);
  EXPECT_THROW(optimizer->step(other, 0.1, 1.0, 2), Error);
  std::vector<ParamShard> more = shards_of({4, 4}, at::kFloat, false);
  EXPECT_THROW(optimizer->step(more, 0.1, 1.0, 2), Error);
}

}  // namespace
}  // namespace tessera
