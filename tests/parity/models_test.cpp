// Every model computes what Hugging Face transformers computes: logits, loss, every gradient, in float32 and
// bfloat16.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "parity/reference.h"

namespace tessera::testing {
namespace {

double median_row_error(const at::Tensor& rows, const at::Tensor& truth) {
  std::vector<double> errors;
  for (int64_t row = 0; row < truth.size(0); ++row) {
    errors.push_back(relative_error(rows[row], truth[row]));
  }
  std::nth_element(errors.begin(), errors.begin() + std::ssize(errors) / 2, errors.end());
  return errors[errors.size() / 2];
}

/// Parameters that gradients reach: the bias of a router's choice is a buffer in transformers.
int64_t learned(const SingleRankModel& model) {
  const std::vector<std::string> names = model.names();
  return std::count_if(names.begin(), names.end(), [](const std::string& name) {
    return name.find("e_score_correction_bias") == std::string::npos;
  });
}

TEST(ParityTest, Float32LogitsLossAndEveryGradientAreThoseOfTransformers) {
  for_each_case([](const Reference& reference) {
    for (const int64_t multiple : {1, 4}) {
      SingleRankModel model(reference.config(), at::kFloat, /*flat=*/multiple == 1);
      reference.load_weights(model);
      const PackedBatch batch = reference.batch(0, multiple);
      const at::Tensor logits = reference.real_rows(model.logits(batch), batch);
      const double logits_error = relative_error(logits, reference.tensor("fp32.logits"));
      EXPECT_LT(logits_error, 1e-5);

      const auto count = static_cast<double>(batch.label_count);
      const double loss = model.forward_backward(batch, 1 / count, Recompute::selective, 50) / count;
      const double expected = reference.number("fp32.loss");
      EXPECT_LT(std::abs(loss - expected), 1e-5 * expected) << loss << " for " << expected;
      EXPECT_EQ(std::ssize(reference.parameters()), learned(model));
      double worst = 0;
      for (const std::string& name : reference.parameters()) {
        const double error = relative_error(model.grad(name), reference.of("fp32.grad.", name));
        EXPECT_LT(error, 1e-4) << name;
        worst = std::max(worst, error);
      }
      report(reference, cat("logits ", logits_error, ", loss ", std::abs(loss - expected) / expected,
                            ", worst gradient ", worst));
    }
  });
}

TEST(ParityTest, BFloat16IsAsCloseToTheTruthAsTransformers) {
  for_each_case([](const Reference& reference) {
    SingleRankModel model(reference.config(), at::kBFloat16, true);
    reference.load_weights(model);
    const PackedBatch batch = reference.batch(0, 1);
    const at::Tensor truth = reference.tensor("fp32.logits");
    // Where two experts are nearly equal, rounding decides which one a token goes to: whole tokens differ,
    // and through the gradients they reach every weight. What most tokens give is compared.
    const MoeConfig& moe = reference.config().moe;
    const bool chooses = moe.experts > moe.routing.top_k;
    const auto error = [&](const at::Tensor& logits) {
      return chooses ? median_row_error(logits, truth) : relative_error(logits, truth);
    };
    const double ours = error(model.logits(batch));
    const double theirs = error(reference.tensor("bf16.logits"));
    EXPECT_LT(ours, 1.5 * theirs);
    EXPECT_LT(ours, 0.05);

    const auto count = static_cast<double>(batch.label_count);
    const double loss = model.forward_backward(batch, 1 / count) / count;
    const double expected = reference.number("fp32.loss");
    EXPECT_LT(std::abs(loss - expected), 5e-3 * expected) << loss << " for " << expected;
    if (chooses) return report(reference, cat("median logits ", ours, " (theirs ", theirs, ")"));
    TotalError our_total;
    TotalError their_total;
    for (const std::string& name : reference.parameters()) {
      const at::Tensor exact = reference.of("fp32.grad.", name);
      const at::Tensor other = reference.of("bf16.grad.", name);
      our_total.add(model.grad(name), exact);
      their_total.add(other, exact);
      // One tensor has few elements, so its error scatters more than the whole.
      const double scatter = exact.numel() < 16 ? 3 : 2;
      EXPECT_LT(relative_error(model.grad(name), exact), scatter * relative_error(other, exact) + 2e-3)
          << name;
    }
    EXPECT_LT(our_total.relative(), 1.5 * their_total.relative());
    report(reference, cat("logits ", ours, " (theirs ", theirs, "), gradients ", our_total.relative(),
                          " (theirs ", their_total.relative(), ")"));
  });
}

}  // namespace
}  // namespace tessera::testing
