// Seeded initialisation does not depend on who owns what, and its numbers are normal.
#include "parallel/initialize.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

ParamSpec spec(const std::string& name, std::vector<int64_t> shape) {
  ParamSpec out;
  out.name = name;
  out.shape = std::move(shape);
  out.init = {Init::Kind::normal, 0.5};
  return out;
}

at::Tensor values(const ParamSpec& spec, int64_t seed, const Box& box, at::ScalarType dtype = at::kFloat) {
  at::Tensor out = at::empty(box.size, at::dtype(dtype));
  fill_initial(spec, seed, box, out);
  return out;
}

TEST(Initialize, ABoxHoldsWhatTheWholeHoldsThere) {
  const ParamSpec weight = spec("w", {13, 7, 3});
  const at::Tensor whole = values(weight, 3, Box::whole(weight.shape));
  for (const Box& box : {Box{{0, 0, 0}, {4, 7, 3}}, Box{{4, 0, 0}, {9, 7, 3}}, Box{{2, 3, 1}, {5, 2, 2}},
                         Box{{12, 0, 0}, {1, 7, 3}}, Box{{5, 0, 0}, {0, 7, 3}}}) {
    at::Tensor expected = whole;
    for (int d = 0; d < 3; ++d) expected = expected.narrow(d, box.offset[d], box.size[d]);
    EXPECT_TRUE(at::equal(values(weight, 3, box), expected));
  }
}

TEST(Initialize, SeedNameAndRowChangeTheNumbers) {
  const Box box = Box::whole({8, 16});
  const at::Tensor base = values(spec("a", {8, 16}), 1, box);
  EXPECT_FALSE(at::equal(base, values(spec("b", {8, 16}), 1, box)));
  EXPECT_FALSE(at::equal(base, values(spec("a", {8, 16}), 2, box)));
  EXPECT_FALSE(at::equal(base[0], base[1]));
}

TEST(Initialize, NormalMomentsAndTails) {
  const at::Tensor sample = values(spec("w", {1000, 1000}), 9, Box::whole({1000, 1000})).div_(0.5);
  EXPECT_NEAR(sample.mean().item<double>(), 0.0, 0.005);
  EXPECT_NEAR(sample.std().item<double>(), 1.0, 0.005);
  EXPECT_NEAR(sample.pow(4).mean().item<double>(), 3.0, 0.05);
  EXPECT_NEAR(sample.abs().gt(2).sum().item<double>() / 1e6, 0.0455, 0.001);
  EXPECT_LT(sample.abs().max().item<double>(), 7.0);
}

TEST(Initialize, ARowBeginsAlikeWhateverItsWidth) {
  const at::Tensor narrow = values(spec("w", {2, 5}), 0, Box::whole({2, 5}));
  const at::Tensor wide = values(spec("w", {2, 70001}), 0, Box::whole({2, 70001}));
  EXPECT_TRUE(at::equal(narrow, wide.narrow(1, 0, 5)));
  EXPECT_FALSE(at::equal(wide.narrow(1, 0, 256), wide.narrow(1, 256, 256)));
}

TEST(Initialize, TheNumberOfThreadsDoesNotMatter) {
  const ParamSpec weight = spec("w", {300, 1001});
  const Box box = Box::whole(weight.shape);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = values(weight, 3, box);
  at::set_num_threads(4);
  const at::Tensor together = values(weight, 3, box);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(alone, together));
}

TEST(Initialize, RoundsOnceIntoOtherDtypes) {
  const ParamSpec weight = spec("w", {5, 9});
  const Box box = Box::whole(weight.shape);
  EXPECT_TRUE(at::equal(values(weight, 3, box, at::kBFloat16), values(weight, 3, box).to(at::kBFloat16)));
}

}  // namespace
}  // namespace tessera
