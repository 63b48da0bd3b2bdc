// Numbering of documents over sources, and the draw of the validation rows.
#include "data/corpus.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "data/random.h"

namespace tessera {
namespace {

constexpr uint64_t kSplitPurpose = 5;

}  // namespace

Corpus::Corpus(std::vector<CorpusSource> sources) : sources_(std::move(sources)), first_{0} {
  for (const CorpusSource& source : sources_) {
    const PrepareCounts& counts = source.store->counts();
    int64_t tokens = counts.tokens;
    int64_t labels = counts.labels;
    if (source.some) {
      tokens = labels = 0;
      for (const int64_t document : source.chosen) {
        tokens += source.store->length(document);
        labels += source.store->labels(document);
      }
    }
    first_.push_back(first_.back() + source.size());
    tokens_.push_back(tokens);
    counts_.rows += counts.rows;
    counts_.bad_rows += counts.bad_rows;
    counts_.dropped += counts.dropped;
    counts_.truncated += counts.truncated;
    counts_.split += counts.split;
    counts_.unlabelled += counts.unlabelled;
    counts_.tokens += tokens;
    counts_.labels += labels;
  }
}

std::pair<const DocumentStore*, int64_t> Corpus::locate(int64_t document) const {
  const auto after = std::upper_bound(first_.begin(), first_.end(), document);
  const auto k = static_cast<size_t>(after - first_.begin()) - 1;
  const CorpusSource& source = sources_[k];
  const int64_t place = document - first_[k];
  return {source.store.get(), source.some ? source.chosen[place] : place};
}

int64_t Corpus::length(int64_t document) const {
  const auto [store, number] = locate(document);
  return store->length(number);
}

DocumentView Corpus::document(int64_t document, std::vector<int32_t>& scratch) const {
  const auto [store, number] = locate(document);
  return store->document(number, scratch);
}

void check_split(double split) {
  TESSERA_CHECK(std::isfinite(split) && split >= 0, argument, "data.validation_split=", split,
                " must be a fraction below 1 or a number of rows");
  TESSERA_CHECK(split < 1 || split == std::floor(split), argument, "data.validation_split=", split,
                " is neither a fraction below 1 nor a whole number of rows");
}

std::vector<int64_t> split_documents(const DocumentStore& store, bool validation, double split, int64_t group,
                                     int64_t seed, uint64_t stream) {
  check_split(split);
  std::vector<int64_t> begins;  // of the units that stay together
  for (int64_t i = 0; i < store.size(); ++i)
    if (group > 1 ? i % group == 0 : !store.continues(i)) begins.push_back(i);
  const auto units = static_cast<int64_t>(begins.size());
  int64_t wanted = 0;
  if (split > 0 && split < 1) {
    TESSERA_CHECK(units > 1, argument, "data.validation_split=", split,
                  " of one row leaves none to train on");
    wanted = std::clamp<int64_t>(std::llround(split * static_cast<double>(units)), 1, units - 1);
  } else {
    TESSERA_CHECK(split < static_cast<double>(units), argument, "data.validation_split=", split,
                  " leaves no row to train on: there are ", units);
    wanted = static_cast<int64_t>(split);
  }
  std::vector<int64_t> order(begins.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  shuffle(std::span(order), seeded(seed, kSplitPurpose + (stream << 8)));
  std::vector<bool> drawn(begins.size(), false);
  for (int64_t i = 0; i < wanted; ++i) drawn[order[i]] = true;
  std::vector<int64_t> documents;
  for (size_t u = 0; u < begins.size(); ++u) {
    const int64_t end = u + 1 < begins.size() ? begins[u + 1] : store.size();
    for (int64_t i = begins[u]; drawn[u] == validation && i < end; ++i) documents.push_back(i);
  }
  return documents;
}

}  // namespace tessera
