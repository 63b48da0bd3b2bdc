// Greedy and random choice of tokens.
#include "train/sampling.h"

#include <ATen/core/PhiloxRNGEngine.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace tessera {

void validate(const GenerateOptions& options) {
  TESSERA_CHECK(options.max_new_tokens >= 0, argument, "max_new_tokens=", options.max_new_tokens,
                " is negative");
  TESSERA_CHECK(options.temperature >= 0 && std::isfinite(options.temperature), argument,
                "temperature=", options.temperature, " is not a finite number of at least 0");
  TESSERA_CHECK(options.top_p > 0 && options.top_p <= 1, argument, "top_p=", options.top_p,
                " is not within (0, 1]");
  TESSERA_CHECK(options.top_k >= 0, argument, "top_k=", options.top_k, " is negative");
}

int64_t choose_token(const at::Tensor& logits, const GenerateOptions& options, int64_t position) {
  const auto* values = logits.const_data_ptr<float>();
  const auto vocab = static_cast<size_t>(logits.numel());
  if (options.temperature == 0) return std::max_element(values, values + vocab) - values;

  std::vector<int64_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  const auto larger = [&](int64_t a, int64_t b) {
    return values[a] > values[b] || (values[a] == values[b] && a < b);
  };
  const size_t kept = options.top_k > 0 ? std::min(vocab, static_cast<size_t>(options.top_k)) : vocab;
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), larger);

  std::vector<double> weights(kept);
  double total = 0;
  for (size_t i = 0; i < kept; ++i) {
    weights[i] = std::exp((static_cast<double>(values[order[i]]) - values[order[0]]) / options.temperature);
    total += weights[i];
  }
  size_t nucleus = 0;
  double mass = 0;
  while (nucleus < kept && (nucleus == 0 || mass < options.top_p * total)) mass += weights[nucleus++];

  at::Philox4_32 random(static_cast<uint64_t>(options.seed), static_cast<uint64_t>(position));
  double rest = mass * (static_cast<double>(random()) / 4294967296.0);
  for (size_t i = 0; i + 1 < nucleus; ++i) {
    if (rest < weights[i]) return order[i];
    rest -= weights[i];
  }
  return order[nucleus - 1];
}

}  // namespace tessera
