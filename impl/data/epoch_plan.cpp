// Order of the documents, packing, order of the packs: what makes an epoch.
#include "data/epoch_plan.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "core/error.h"
#include "data/mixture.h"
#include "data/pack_order.h"
#include "data/random.h"

namespace tessera {
namespace {

constexpr uint64_t kShufflePurpose = 1;

bool keeps_order(Packer packer) {
  return packer == Packer::next_fit || packer == Packer::next_fit_split || packer == Packer::first_fit;
}

PackOrder pack_order(const DatasetOptions& options) {
  if (options.order == "short_first") return PackOrder::short_first;
  if (options.order == "long_first") return PackOrder::long_first;
  TESSERA_CHECK(options.order == "auto", argument, "data.order=", options.order,
                " must be auto, short_first or long_first");
  if (options.packing == "none" || keeps_order(parse_packer(options.packing))) return PackOrder::packed;
  return options.shuffle ? PackOrder::shuffled : PackOrder::data;
}

SplitMix64 shuffle_of(const DatasetOptions& options, int64_t source, int64_t pass) {
  return seeded(options.seed, kShufflePurpose + (static_cast<uint64_t>(source) << 8), pass);
}

/// Groups that an epoch draws from each source of a mix.
std::vector<int64_t> mix_draws(const Corpus& corpus, const DatasetOptions& options) {
  check_weights(options.weights, static_cast<size_t>(corpus.sources()));
  std::vector<int64_t> sizes(options.weights.size());
  std::vector<double> weights = options.weights;
  for (int64_t k = 0; k < corpus.sources(); ++k) {
    const int64_t documents = corpus.source(k).size();
    sizes[k] = documents / options.group;
    // Shares of tokens become shares of documents by the mean length.
    if (options.weights_of == "tokens" && corpus.tokens(k) > 0)
      weights[k] *= static_cast<double>(sizes[k]) / static_cast<double>(corpus.tokens(k));
  }
  return mix_counts(sizes, weights);
}

/// The groups that source k gives to an epoch: it goes on where the epoch before stopped, pass after pass.
std::vector<int64_t> source_groups(const Corpus& corpus, const DatasetOptions& options, int64_t k,
                                   int64_t draws, int64_t epoch) {
  const int64_t size = corpus.source(k).size() / options.group;
  std::vector<int64_t> pass_order(static_cast<size_t>(size));
  std::vector<int64_t> out(static_cast<size_t>(draws));
  int64_t pass = -1;
  for (int64_t i = 0; i < draws; ++i) {
    // epoch is below 2^30, see PreparedDataset::restore, and draws below 2^32: what a packer takes.
    const int64_t place = epoch * draws + i;
    if (place / size != pass) {
      pass = place / size;
      std::iota(pass_order.begin(), pass_order.end(), int64_t{0});
      if (options.shuffle) shuffle(std::span(pass_order), shuffle_of(options, k, pass));
    }
    out[i] = corpus.first(k) + pass_order[place % size] * options.group;
  }
  return out;
}

/// The numbers of the first documents of each group, in the epoch's order.
std::vector<int64_t> group_order(const Corpus& corpus, const DatasetOptions& options, int64_t epoch) {
  if (options.weights.empty()) {
    std::vector<int64_t> order(static_cast<size_t>(corpus.size() / options.group));
    std::iota(order.begin(), order.end(), int64_t{0});
    if (options.shuffle) shuffle(std::span(order), shuffle_of(options, 0, epoch));
    for (int64_t& first : order) first *= options.group;
    return order;
  }
  const std::vector<int64_t> draws = mix_draws(corpus, options);
  std::vector<std::vector<int64_t>> groups;
  for (int64_t k = 0; k < corpus.sources(); ++k)
    groups.push_back(source_groups(corpus, options, k, draws[k], epoch));
  std::vector<size_t> taken(groups.size(), 0);
  std::vector<int64_t> order;
  for (const uint32_t k : mix_order(draws)) order.push_back(groups[k][taken[k]++]);
  return order;
}

Packing pack_documents(std::span<const int64_t> lengths, const DatasetOptions& options) {
  const auto count = static_cast<int64_t>(lengths.size());
  std::vector<int64_t> groups;
  for (int64_t i = 0; i <= count; i += options.group) groups.push_back(i);
  if (options.packing == "none") {
    Packing rows;
    rows.offsets = std::move(groups);
    rows.documents.resize(lengths.size());
    std::iota(rows.documents.begin(), rows.documents.end(), int64_t{0});
    return rows;
  }
  PackOptions pack_options;
  pack_options.packer = parse_packer(options.packing);
  pack_options.capacity = options.seq_len;
  pack_options.group_size = options.packing_group_size;
  pack_options.bin_size = options.packing_bin_size;
  pack_options.effort = options.packing_effort;
  pack_options.seed = options.seed;
  pack_options.threads = options.workers;
  return options.group > 1 ? pack_groups(lengths, groups, pack_options) : pack(lengths, pack_options);
}

}  // namespace

BatchLayout row_layout(const DatasetOptions& options) {
  const bool pad = options.pad_rows == "yes" || (options.pad_rows == "auto" && options.packing != "none");
  const bool bounded = pad || options.packing != "none";
  BatchLayout layout{options.cp, options.pad_multiple, bounded ? options.seq_len : 0, options.pad_token};
  layout.check();
  if (!pad) layout.capacity = 0;
  return layout;
}

void check_plan_options(const DatasetOptions& options) {
  if (options.packing != "none") parse_packer(options.packing);
  pack_order(options);
  TESSERA_CHECK(options.weights_of == "documents" || options.weights_of == "tokens", argument,
                "data.weights_of=", options.weights_of, " must be documents or tokens");
  TESSERA_CHECK(options.group >= 1, argument, "data.group=", options.group, " must be at least 1");
  TESSERA_CHECK(options.balance_window >= 0, argument, "data.balance_window=", options.balance_window,
                " must not be negative");
}

std::vector<int64_t> epoch_draws(const Corpus& corpus, const DatasetOptions& options) {
  std::vector<int64_t> draws(static_cast<size_t>(corpus.sources()));
  if (options.weights.empty()) {
    for (int64_t k = 0; k < corpus.sources(); ++k) draws[k] = corpus.source(k).size();
  } else {
    draws = mix_draws(corpus, options);
    for (int64_t& count : draws) count *= options.group;
  }
  return draws;
}

EpochPlan plan_epoch(const Corpus& corpus, const DatasetOptions& options, int64_t epoch, int64_t phase) {
  const BatchLayout layout = row_layout(options);
  for (int64_t k = 0; k < corpus.sources(); ++k)
    TESSERA_CHECK(corpus.source(k).size() % options.group == 0, argument, "data.group=", options.group,
                  " does not divide ", corpus.source(k).size(), " documents",
                  corpus.sources() > 1 ? cat(" of ", corpus.source(k).name) : "");
  std::vector<int64_t> documents;
  for (const int64_t first : group_order(corpus, options, epoch))
    for (int64_t k = 0; k < options.group; ++k) documents.push_back(first + k);

  EpochPlan plan;
  std::vector<int64_t> real(documents.size());  // lengths by place in the epoch: a document may occur twice
  std::vector<int64_t> lengths(documents.size());
  int64_t aligned = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    real[i] = corpus.length(documents[i]);
    lengths[i] = layout.aligned(real[i]);
    plan.tokens += real[i];
    aligned += lengths[i];
  }
  const auto start = std::chrono::steady_clock::now();
  plan.rows = pack_documents(lengths, options);
  plan.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  std::vector<int64_t> order = order_packs(plan.rows, real, pack_order(options), options.seed, epoch);
  if (options.balance)
    balance_steps(order, attention_costs(plan.rows, real), options.global_batch, options.balance_window,
                  options.seed, epoch, phase);
  plan.rows = permuted(plan.rows, order);
  for (size_t i = 0; i < plan.rows.documents.size(); ++i) {
    int64_t& document = plan.rows.documents[i];
    if (!plan.rows.cuts.empty()) {
      Cut& cut = plan.rows.cuts[i];
      cut.length = std::min(cut.length, real[document] - cut.begin);
    }
    document = documents[document];
  }
  plan.padded = layout.capacity > 0 ? plan.rows.packs() * layout.capacity : aligned;
  plan.lower_bound =
      options.packing == "none" ? plan.rows.packs() : (aligned + options.seq_len - 1) / options.seq_len;
  return plan;
}

}  // namespace tessera
