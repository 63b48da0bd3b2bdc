// Printable names, shape texts and name suggestions.
#include "checkpoint/names.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace tessera {
namespace {

// Levenshtein distance, or `limit` when it is at least that.
size_t edit_distance(const std::string& a, const std::string& b, size_t limit) {
  const size_t longer = std::max(a.size(), b.size()), shorter = std::min(a.size(), b.size());
  if (longer - shorter >= limit) return limit;
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    size_t best = row[0];
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replace = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, diagonal + 1});
      best = std::min(best, row[j + 1]);
    }
    if (best >= limit) return limit;
  }
  return std::min(row.back(), limit);
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  std::string out = "'";
  for (char c : text.substr(0, kLongest)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (text.size() > kLongest) out += "...";
  return out + "'";
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

std::string near_names_hint(const std::string& name, const std::vector<std::string>& known) {
  constexpr size_t kShown = 3, kLongest = 256;
  if (name.empty() || name.size() > kLongest) return "";
  // A missing "model." in front is the most common reason and further away than any typing error.
  std::vector<std::pair<size_t, const std::string*>> near;
  const size_t limit = name.size() / 4 + 2;
  for (const std::string& other : known) {
    const bool part = (other.size() > name.size() && other.ends_with("." + name)) ||
                      (name.size() > other.size() && name.ends_with("." + other));
    const size_t distance = part ? 0 : edit_distance(name, other, limit);
    if (distance < limit) near.emplace_back(distance, &other);
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (near.size() > kShown) near.resize(kShown);
  std::string out;
  for (size_t i = 0; i < near.size(); ++i)
    out += (i ? " or " : ", did you mean ") + printable(*near[i].second);
  return out;
}

}  // namespace tessera
