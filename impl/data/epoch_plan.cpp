// Order of the documents, packing, order of the packs: what makes an epoch.
#include "data/epoch_plan.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "core/error.h"
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

/// The numbers of the first documents of each group, in the epoch's order.
std::vector<int64_t> group_order(const DocumentStore& store, const DatasetOptions& options, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(store.size() / options.group));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (options.shuffle) shuffle(std::span(order), seeded(options.seed, kShufflePurpose, epoch));
  for (int64_t& first : order) first *= options.group;
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
  TESSERA_CHECK(options.group >= 1, argument, "data.group=", options.group, " must be at least 1");
  TESSERA_CHECK(options.balance_window >= 0, argument, "data.balance_window=", options.balance_window,
                " must not be negative");
}

EpochPlan plan_epoch(const DocumentStore& store, const DatasetOptions& options, int64_t epoch) {
  const BatchLayout layout = row_layout(options);
  TESSERA_CHECK(store.size() % options.group == 0, argument, "data.group=", options.group,
                " does not divide ", store.size(), " documents");
  std::vector<int64_t> documents;
  documents.reserve(static_cast<size_t>(store.size()));
  for (const int64_t first : group_order(store, options, epoch))
    for (int64_t k = 0; k < options.group; ++k) documents.push_back(first + k);
  std::vector<int64_t> lengths(documents.size());
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] = layout.aligned(store.length(documents[i]));

  EpochPlan plan;
  const auto start = std::chrono::steady_clock::now();
  plan.rows = pack_documents(lengths, options);
  plan.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  // Orders by data go by the number in the store, not by the place in the shuffled list.
  for (int64_t& document : plan.rows.documents) document = documents[document];
  std::vector<int64_t> real(static_cast<size_t>(store.size()));
  int64_t aligned = 0;
  for (int64_t i = 0; i < store.size(); ++i) {
    real[i] = store.length(i);
    aligned += layout.aligned(real[i]);
    plan.tokens += real[i];
  }
  std::vector<int64_t> order = order_packs(plan.rows, real, pack_order(options), options.seed, epoch);
  if (options.balance)
    balance_steps(order, attention_costs(plan.rows, real), options.global_batch, options.balance_window,
                  options.seed, epoch);
  plan.rows = permuted(plan.rows, order);
  for (size_t i = 0; i < plan.rows.cuts.size(); ++i) {
    Cut& cut = plan.rows.cuts[i];
    cut.length = std::min(cut.length, real[plan.rows.documents[i]] - cut.begin);
  }
  plan.padded = layout.capacity > 0 ? plan.rows.packs() * layout.capacity : aligned;
  plan.lower_bound =
      options.packing == "none" ? plan.rows.packs() : (aligned + options.seq_len - 1) / options.seq_len;
  return plan;
}

}  // namespace tessera
