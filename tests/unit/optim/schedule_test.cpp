// Learning rate schedules and clipping against closed forms.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "optim/optimizer.h"

namespace tessera {
namespace {

TEST(Schedule, WarmsUpLinearlyToTheFullRate) {
  for (const char* name : {"constant", "linear", "cosine", "wsd"}) {
    const ScheduleOptions o{.name = name, .warmup_steps = 10, .total_steps = 100};
    for (int64_t s = 1; s <= 10; ++s) EXPECT_DOUBLE_EQ(learning_rate(o, 3e-4, s), 3e-4 * s / 10) << name;
  }
}

TEST(Schedule, ConstantStays) {
  EXPECT_EQ(learning_rate({}, 0.1, 1), 0.1);
  EXPECT_EQ(learning_rate({}, 0.1, 1'000'000'000'000), 0.1);
}

TEST(Schedule, LinearAndCosineReachTheFloorAtTheLastStep) {
  ScheduleOptions o{.name = "linear", .warmup_steps = 20, .total_steps = 120, .min_lr = 0.01};
  EXPECT_DOUBLE_EQ(learning_rate(o, 0.11, 70), 0.01 + 0.1 * 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(o, 0.11, 120), 0.01);
  EXPECT_DOUBLE_EQ(learning_rate(o, 0.11, 500), 0.01);
  o.name = "cosine";
  EXPECT_DOUBLE_EQ(learning_rate(o, 0.11, 45), 0.01 + 0.1 * (1 + std::cos(M_PI * 0.25)) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(o, 0.11, 120), 0.01);
}

TEST(Schedule, WsdHoldsThenFalls) {
  const ScheduleOptions o{
      .name = "wsd", .warmup_steps = 5, .total_steps = 100, .decay_steps = 20, .min_lr = 0.2};
  EXPECT_EQ(learning_rate(o, 1.0, 6), 1.0);
  EXPECT_EQ(learning_rate(o, 1.0, 80), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(o, 1.0, 90), 0.2 + 0.8 * 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(o, 1.0, 100), 0.2);
  const ScheduleOptions tenth{.name = "wsd", .total_steps = 100};
  EXPECT_EQ(learning_rate(tenth, 1.0, 90), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(tenth, 1.0, 95), 0.5);
}

TEST(Schedule, RefusesBadValues) {
  const auto message = [](const ScheduleOptions& o, double lr, int64_t step) -> std::string {
    try {
      learning_rate(o, lr, step);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::argument);
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message({.name = "step"}, 1, 1), "schedule.name step is unknown (constant, linear, cosine, wsd)");
  EXPECT_EQ(message({.name = "cosine"}, 1, 1), "schedule.name cosine needs total_steps");
  EXPECT_EQ(message({.name = "linear", .warmup_steps = 11, .total_steps = 10}, 1, 1),
            "schedule.warmup_steps 11 is above total_steps 10");
  EXPECT_NE(message({.name = "wsd", .warmup_steps = 50, .total_steps = 100, .decay_steps = 51}, 1, 1), "");
  EXPECT_NE(message({}, -1, 1), "");
  EXPECT_NE(message({}, std::numeric_limits<double>::infinity(), 1), "");
  EXPECT_NE(message({.min_lr = 2}, 1, 1), "");
  EXPECT_NE(message({.min_lr = -1}, 1, 1), "");
  EXPECT_NE(message({.warmup_steps = -1}, 1, 1), "");
  EXPECT_NE(message({}, 1, 0), "");
}

TEST(Clip, IsTheCoefficientOfTorch) {
  EXPECT_DOUBLE_EQ(clip_coefficient(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_EQ(clip_coefficient(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_coefficient(0.0, 1.0), 1.0);
  EXPECT_EQ(clip_coefficient(123.0, 0.0), 1.0);
  EXPECT_EQ(clip_coefficient(std::numeric_limits<double>::infinity(), 1.0), 0.0);
  EXPECT_TRUE(std::isnan(clip_coefficient(std::nan(""), 1.0)));
}

}  // namespace
}  // namespace tessera
