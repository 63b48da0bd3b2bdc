// Datasets over prepared documents: the order of an epoch, its rows, and the steps cut from them.
#include "data/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_depth.h"
#include "core/log.h"
#include "data/batch_builder.h"
#include "data/corpus.h"
#include "data/dataset_options.h"
#include "data/epoch_plan.h"
#include "data/line_reader.h"
#include "data/prefetch.h"
#include "data/prepare.h"
#include "data/stream_dataset.h"
#include "data/token_cache.h"

namespace tessera {
namespace {

constexpr int64_t kMostEpochs = int64_t{1} << 30;

class PreparedDataset : public Dataset {
 public:
  PreparedDataset(const DatasetOptions& options, Corpus corpus)
      : options_(options), corpus_(std::move(corpus)), layout_(row_layout(options)) {
    TESSERA_CHECK(corpus_.size() > 0, format, "no document to train on");
    start_epoch(0);
  }

  bool next(std::vector<PackedBatch>& microbatches) override {
    if (at_end() || (options_.last_step == "drop" && !full_step_left())) return false;
    const int64_t per_rank = options_.global_batch / options_.dp_size;
    const int64_t first = options_.dp_rank * per_rank;
    std::vector<PackedBatch> out;
    BatchBuilder builder(layout_);
    for (int64_t k = 0; k < options_.global_batch; ++k) {
      const bool filler = at_end();
      if (!filler && row_ == plan_.rows.packs()) {
        phase_ = k;
        start_epoch(epoch_ + 1);
      }
      if (k >= first && k < first + per_rank) {
        if (!filler) add_row(builder, row_);
        builder.end_row();
        if ((k - first + 1) % options_.micro_batch == 0) out.push_back(builder.finish());
      }
      if (!filler) ++row_;
    }
    microbatches = std::move(out);
    return true;
  }

  std::string state() const override {
    return nlohmann::json{{"version", 1},
                          {"epoch", epoch_},
                          {"row", row_},
                          {"phase", phase_},
                          {"documents", corpus_.size()},
                          {"seed", options_.seed}}
        .dump();
  }

  void restore(const std::string& state) override {
    check_json_depth(state);
    const auto json = nlohmann::json::parse(state, nullptr, false);
    const auto number = [&](const char* key) {
      TESSERA_CHECK(json.is_object() && json.contains(key) && json[key].is_number_integer(), format,
                    "data state has no integer ", key);
      return json[key].get<int64_t>();
    };
    TESSERA_CHECK(number("version") == 1, unsupported, "data state has version ", number("version"),
                  ", not 1");
    TESSERA_CHECK(number("documents") == corpus_.size(), state, "data state is of ", number("documents"),
                  " documents, the data has ", corpus_.size());
    TESSERA_CHECK(number("seed") == options_.seed, state, "data state is of seed ", number("seed"),
                  ", the dataset has ", options_.seed);
    const int64_t epoch = number("epoch");
    const int64_t row = number("row");
    const int64_t phase = json.contains("phase") ? number("phase") : 0;
    TESSERA_CHECK(epoch >= 0 && epoch < (options_.epochs == 0 ? kMostEpochs : options_.epochs), format,
                  "data state has epoch ", epoch);
    TESSERA_CHECK(phase >= 0, format, "data state has phase ", phase);
    const bool same = epoch == epoch_ && phase % options_.global_batch == phase_;
    EpochPlan plan = same ? plan_ : plan_epoch(corpus_, options_, epoch, phase % options_.global_batch);
    TESSERA_CHECK(row >= 0 && row <= plan.rows.packs(), format, "data state has row ", row, " of ",
                  plan.rows.packs());
    plan_ = std::move(plan);
    epoch_ = epoch;
    row_ = row;
    phase_ = phase % options_.global_batch;
  }

  int64_t steps_per_epoch() const override {
    return (plan_.rows.packs() + options_.global_batch - 1) / options_.global_batch;
  }

  std::vector<int64_t> lengths() const override {
    std::vector<int64_t> all(static_cast<size_t>(corpus_.size()));
    for (int64_t i = 0; i < corpus_.size(); ++i) all[static_cast<size_t>(i)] = corpus_.length(i);
    return all;
  }

  DatasetReport report() const override {
    const PrepareCounts& counts = corpus_.counts();
    DatasetReport out;
    out.documents = corpus_.size();
    out.tokens = counts.tokens;
    out.labels = counts.labels;
    out.rows = plan_.rows.packs();
    out.lower_bound = plan_.lower_bound;
    out.efficiency = static_cast<double>(plan_.tokens) / static_cast<double>(plan_.padded);
    out.pack_seconds = plan_.seconds;
    out.bad_rows = counts.bad_rows;
    out.dropped = counts.dropped;
    out.truncated = counts.truncated;
    out.split = counts.split;
    out.unlabelled = counts.unlabelled;
    const std::vector<int64_t> draws = epoch_draws(corpus_, options_);
    for (int64_t k = 0; k < corpus_.sources(); ++k)
      out.sources.push_back({corpus_.source(k).name, corpus_.source(k).size(), corpus_.tokens(k),
                             draws[static_cast<size_t>(k)]});
    return out;
  }

 private:
  bool last_epoch() const { return options_.epochs > 0 && epoch_ + 1 == options_.epochs; }
  bool at_end() const { return last_epoch() && row_ == plan_.rows.packs(); }
  /// Only asked under last_step=drop; epochs before the last always have successors to run on into.
  bool full_step_left() const { return !last_epoch() || row_ + options_.global_batch <= plan_.rows.packs(); }

  void start_epoch(int64_t epoch) {
    plan_ = plan_epoch(corpus_, options_, epoch, phase_);
    epoch_ = epoch;
    row_ = 0;
  }

  void add_row(BatchBuilder& builder, int64_t row) {
    const Packing& rows = plan_.rows;
    for (int64_t i = rows.offsets[row]; i < rows.offsets[row + 1]; ++i) {
      const DocumentView view = corpus_.document(rows.documents[i], scratch_);
      if (rows.cuts.empty()) {
        builder.add(view.tokens, view.labels);
      } else {
        const auto begin = static_cast<size_t>(rows.cuts[i].begin);
        const auto length = static_cast<size_t>(rows.cuts[i].length);
        builder.add(view.tokens.subspan(begin, length), view.labels.subspan(begin, length));
      }
    }
  }

  DatasetOptions options_;
  Corpus corpus_;
  BatchLayout layout_;
  EpochPlan plan_;
  std::vector<int32_t> scratch_;
  int64_t epoch_ = 0;
  int64_t row_ = 0;    ///< rows of the epoch that steps have taken
  int64_t phase_ = 0;  ///< rows of earlier epochs in the step in which this one began
};

std::string joined(const std::vector<std::string>& paths) {
  std::string out;
  for (const std::string& path : paths) out += (out.empty() ? "" : ",") + path;
  return out;
}

/// The part of a source's documents that data.part asks for.
CorpusSource source_part(const DatasetOptions& options, std::string name,
                         std::shared_ptr<const DocumentStore> store, size_t index) {
  CorpusSource source{std::move(name), std::move(store), false, {}};
  if (options.validation_split > 0) {
    source.some = true;
    source.chosen = split_documents(*source.store, options.part == "validation", options.validation_split,
                                    options.group, options.seed, index);
  }
  return source;
}

CorpusSource open_source(const DatasetOptions& options, const std::vector<std::string>& paths, size_t index) {
  DatasetOptions own = options;
  own.paths = paths;
  if (!options.formats.empty()) own.format = options.formats[index];
  // Without a cache every rank prepares alike: one speaks for all.
  if (!own.progress && (says_findings(own) || !own.cache.empty())) own.progress = progress_to_log();
  const std::vector<std::string> files = expand_paths(paths);
  auto store = own.cache.empty() ? prepare_documents(files, own) : cached_documents(files, own);
  if (says_findings(own)) log_counts(store->counts(), own);
  return source_part(options, joined(paths), std::move(store), index);
}

/// `apart`: each entry of the paths is a source of its own.
Corpus open_corpus(const DatasetOptions& options, bool apart) {
  std::vector<CorpusSource> sources;
  if (!apart) {
    sources.push_back(open_source(options, options.paths, 0));
  } else {
    for (size_t k = 0; k < options.paths.size(); ++k)
      sources.push_back(open_source(options, {options.paths[k]}, k));
  }
  return Corpus(std::move(sources));
}

void log_mix(const DatasetReport& report, const DatasetOptions& options) {
  if (!says_findings(options) || options.weights.empty()) return;
  for (const SourceReport& source : report.sources)
    log_info("an epoch takes ", source.draws, " of the ", source.documents, " documents of ", source.name);
}

}  // namespace

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& all_options) {
  check_dataset_options(all_options);
  const DatasetOptions options = options_of_part(all_options);
  if (options.streaming) return with_prefetch(open_stream(options), options.prefetch);
  // Validation reads without weights, but what was set apart was set apart of each source.
  const bool other_files = options.part == "validation" && !options.validation_paths.empty();
  const bool apart = !other_files && !(all_options.weights.empty() && all_options.formats.empty());
  auto dataset = std::make_unique<PreparedDataset>(options, open_corpus(options, apart));
  log_mix(dataset->report(), options);
  return with_prefetch(std::move(dataset), options.prefetch);
}

std::vector<int64_t> Dataset::lengths() const {
  throw Error(Code::unsupported, "data.streaming=true: the documents of a stream are not known beforehand");
}

std::unique_ptr<Dataset> open_documents(const DatasetOptions& all_options,
                                        std::shared_ptr<const DocumentStore> documents) {
  DatasetOptions options = all_options;
  options.paths.clear();
  options.weights.clear();
  options.formats.clear();
  options.validation_paths.clear();
  check_dataset_options(options);
  options = options_of_part(options);
  std::vector<CorpusSource> sources;
  sources.push_back(source_part(options, "the documents pushed", std::move(documents), 0));
  return with_prefetch(std::make_unique<PreparedDataset>(options, Corpus(std::move(sources))),
                       options.prefetch);
}

}  // namespace tessera
