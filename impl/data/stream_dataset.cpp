// Windows of rows as small epochs, one stream of them for each shard.
#include "data/stream_dataset.h"

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.h"
#include "core/json_depth.h"
#include "data/batch_builder.h"
#include "data/corpus.h"
#include "data/dataset_options.h"
#include "data/epoch_plan.h"
#include "data/line_reader.h"
#include "data/mixture.h"
#include "data/parallel_for.h"
#include "data/prepare.h"
#include "data/random.h"
#include "data/row_stream.h"

namespace tessera {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kWindowPurpose = 7;
constexpr int64_t kWindowBytes = int64_t{256} << 20;  // of text: a window of long rows has fewer of them
constexpr int64_t kCancelUnits = 1024;
constexpr int64_t kMostSteps = int64_t{1} << 60;

void check_stream_options(const DatasetOptions& o) {
  TESSERA_CHECK(o.cache.empty(), argument,
                "data.cache is for data that is prepared whole: not with data.streaming");
  TESSERA_CHECK(!o.balance, unsupported,
                "data.balance compares the rows of an epoch: not with data.streaming");
  TESSERA_CHECK(o.order == "auto", unsupported, "data.order=", o.order,
                " sorts the rows of an epoch: not with data.streaming");
  TESSERA_CHECK(o.weights_of == "documents" || o.weights.empty(), unsupported,
                "data.weights_of=tokens needs the mean length of each source: not with data.streaming");
  TESSERA_CHECK(o.validation_split < 1, unsupported, "data.validation_split=", o.validation_split,
                " rows of an unknown number cannot be drawn: with data.streaming it is a fraction below 1");
}

int64_t read_integer(const Json& json, const char* key) {
  TESSERA_CHECK(json.is_object() && json.contains(key) && json[key].is_number_integer(), format,
                "data state has no integer ", key);
  return json[key].get<int64_t>();
}

/// One shard: its readers, and the window it is in.
class Shard {
 public:
  struct Position {
    std::vector<StreamPosition> sources;  ///< where the window began
    int64_t window = 0;
    int64_t row = 0;  ///< rows of the window that were taken
  };

  Shard(const DatasetOptions& options, const std::vector<std::vector<StreamFile>>& sources, int64_t shard,
        int64_t shards, const std::atomic<bool>& cancelled)
      : options_(options), cancelled_(cancelled) {
    for (size_t k = 0; k < sources.size(); ++k) readers_.emplace_back(sources[k], options, shard, shards, k);
    begin_.sources.resize(readers_.size());
    window_options_ = options;
    window_options_.weights.clear();
    SplitMix64 random = seeded(options.seed, kWindowPurpose, shard);
    window_options_.seed = static_cast<int64_t>(random.next() >> 1);
  }

  /// Adds the next row to the batch (null: passes over it). False at the end of the last pass.
  bool take(BatchBuilder* builder) {
    while (plan_ == nullptr || begin_.row == plan_->rows.packs())
      if (!load_next()) return false;
    if (builder != nullptr) add_row(*builder);
    ++begin_.row;
    return true;
  }

  const Position& position() const { return begin_; }
  void seek(const Position& position) {
    for (size_t k = 0; k < readers_.size(); ++k) readers_[k].seek(position.sources[k]);
    begin_ = position;
    plan_.reset();
    if (position.row == 0) return;
    load();
    TESSERA_CHECK(plan_ != nullptr && position.row <= plan_->rows.packs(), state, "data state has row ",
                  position.row, " of a window of ", plan_ == nullptr ? 0 : plan_->rows.packs());
    begin_.row = position.row;
  }

  const DatasetReport& report() const { return report_; }
  int64_t padded() const { return padded_; }  ///< tokens of its windows with padding

 private:
  /// The window after this one. False when there is none.
  bool load_next() {
    const int64_t passes = readers_[0].position().pass;
    while (true) {
      for (size_t k = 0; k < readers_.size(); ++k) begin_.sources[k] = readers_[k].position();
      if (plan_ != nullptr) ++begin_.window;
      begin_.row = 0;
      plan_.reset();
      if (finished()) return false;
      try {
        load();
      } catch (...) {
        // What could not be read is not passed over by the next call.
        for (size_t k = 0; k < readers_.size(); ++k) readers_[k].seek(begin_.sources[k]);
        throw;
      }
      if (plan_ != nullptr) return true;
      TESSERA_CHECK(readers_[0].position().pass <= passes + 1, format,
                    "data.streaming: a whole pass over the data gave no document");
    }
  }

  bool finished() const {
    return options_.epochs > 0 && std::all_of(readers_.begin(), readers_.end(), [&](const RowStream& reader) {
             return reader.position().pass >= options_.epochs;
           });
  }

  /// The source that is furthest behind its weight.
  size_t next_source() const {
    size_t best = 0;
    const auto due = [&](size_t k) {
      return static_cast<double>(readers_[k].position().taken + 1) / options_.weights[k];
    };
    for (size_t k = 1; k < readers_.size(); ++k)
      if (due(k) < due(best)) best = k;
    return best;
  }

  std::vector<StreamRow> read_rows() {
    std::vector<StreamRow> rows, unit;
    int64_t bytes = 0;
    for (int64_t units = 0;
         static_cast<int64_t>(rows.size()) < options_.stream_buffer && bytes < kWindowBytes; ++units) {
      TESSERA_CHECK(units % kCancelUnits != 0 || !cancelled_, cancelled, "reading the data was cancelled");
      RowStream& reader = readers_[readers_.size() == 1 ? 0 : next_source()];
      if (!reader.next(unit)) {
        // One source: a window ends with its pass. Of a mix each source begins its next one, unless all are
        // through.
        if (readers_.size() == 1 || finished()) break;
        continue;
      }
      for (StreamRow& row : unit) {
        bytes += static_cast<int64_t>(row.text.size());
        rows.push_back(std::move(row));
      }
    }
    return rows;
  }

  /// Fills the plan from where the readers are; leaves it empty when no row gave a document.
  void load() {
    std::vector<StreamRow> rows = read_rows();
    std::vector<Converted> converted(rows.size());
    const size_t threads = options_.workers > 0 ? static_cast<size_t>(options_.workers)
                                                : std::max(1u, std::thread::hardware_concurrency());
    parallel_for(rows.size(), threads, [&](size_t i) {
      TESSERA_CHECK(!cancelled_, cancelled, "reading the data was cancelled");
      const StreamRow& row = rows[i];
      converted[i] =
          convert_row(row.text, row.too_long, options_, row.plain ? row.format->plain_text : row.format->row);
    });
    DocumentStoreBuilder builder(options_.seq_len, LongDocuments::truncate, {}, document_groups(options_));
    for (size_t i = 0; i < rows.size(); ++i) add_documents(rows[i], converted[i], builder);
    count(builder.counts(), builder.size());
    if (builder.size() == 0) return;
    std::vector<CorpusSource> sources;
    sources.push_back({"the window", builder.finish(), false, {}});
    corpus_ = std::make_unique<Corpus>(std::move(sources));
    plan_ = std::make_unique<EpochPlan>(plan_epoch(*corpus_, window_options_, begin_.window));
    report_.rows += plan_->rows.packs();
    report_.lower_bound += plan_->lower_bound;
    report_.pack_seconds += plan_->seconds;
    padded_ += plan_->padded;
  }

  void add_documents(const StreamRow& row, Converted& converted, DocumentStoreBuilder& builder) {
    if (converted.error.empty()) {
      try {
        for (const TokenRow& tokens : converted.rows) {
          if (!row.plain) {
            builder.add(tokens.tokens, tokens.labels, row.long_documents);
            continue;
          }
          const int32_t begin = row.first ? row.format->text_begin : -1;
          const int32_t end = row.last ? row.format->text_end : -1;
          if (begin >= 0) builder.extend_text({&begin, 1});
          builder.extend_text(tokens.tokens);
          if (end >= 0) builder.extend_text({&end, 1});
          builder.end_text();
        }
        return;
      } catch (const Error& error) {
        if (error.code() != Code::format) throw;
        converted.error = error.what();
      }
    }
    take_bad_row(row.place, converted.error, says_findings(options_) && row.pass == 0, options_, builder);
  }

  void count(const PrepareCounts& counts, int64_t documents) {
    report_.documents += documents;
    report_.tokens += counts.tokens;
    report_.labels += counts.labels;
    report_.bad_rows += counts.bad_rows;
    report_.dropped += counts.dropped;
    report_.truncated += counts.truncated;
    report_.split += counts.split;
    report_.unlabelled += counts.unlabelled;
  }

  void add_row(BatchBuilder& builder) {
    const Packing& rows = plan_->rows;
    for (int64_t i = rows.offsets[begin_.row]; i < rows.offsets[begin_.row + 1]; ++i) {
      const DocumentView view = corpus_->document(rows.documents[i], scratch_);
      const Cut cut = rows.cuts.empty() ? Cut{0, static_cast<int64_t>(view.tokens.size())} : rows.cuts[i];
      const auto begin = static_cast<size_t>(cut.begin);
      const auto length = static_cast<size_t>(cut.length);
      builder.add(view.tokens.subspan(begin, length), view.labels.subspan(begin, length));
    }
  }

  const DatasetOptions& options_;
  const std::atomic<bool>& cancelled_;
  DatasetOptions window_options_;
  std::vector<RowStream> readers_;
  Position begin_;
  std::unique_ptr<Corpus> corpus_;
  std::unique_ptr<EpochPlan> plan_;
  std::vector<int32_t> scratch_;
  DatasetReport report_;
  int64_t padded_ = 0;
};

class StreamDataset : public Dataset {
 public:
  StreamDataset(const DatasetOptions& options, const std::vector<std::vector<StreamFile>>& sources)
      : options_(options), layout_(row_layout(options)) {
    for (const auto& files : sources) files_ += static_cast<int64_t>(files.size());
    const int64_t microbatches = options_.global_batch / options_.micro_batch;
    shards_ = options_.epochs > 0 ? 1 : microbatches;
    first_ = options_.epochs > 0 ? 0 : options_.dp_rank * (microbatches / options_.dp_size);
    const int64_t own = options_.epochs > 0 ? 1 : microbatches / options_.dp_size;
    for (int64_t k = 0; k < own; ++k)
      own_.push_back(std::make_unique<Shard>(options_, sources, first_ + k, shards_, cancelled_));
  }

  bool next(std::vector<PackedBatch>& microbatches) override {
    std::vector<PackedBatch> out;
    if (options_.epochs > 0) {
      if (!next_of_whole(out)) return false;
    } else {
      BatchBuilder builder(layout_);
      for (const auto& shard : own_) {
        for (int64_t k = 0; k < options_.micro_batch; ++k) {
          shard->take(&builder);
          builder.end_row();
        }
        out.push_back(builder.finish());
      }
    }
    ++step_;
    microbatches = std::move(out);
    return true;
  }

  std::string state() const override {
    Json shards = Json::object();
    for (size_t k = 0; k < own_.size(); ++k) {
      const Shard::Position& at = own_[k]->position();
      Json sources = Json::array();
      for (const StreamPosition& p : at.sources) sources.push_back({p.pass, p.file, p.row, p.unit, p.taken});
      shards[std::to_string(first_ + static_cast<int64_t>(k))] = {
          {"window", at.window}, {"row", at.row}, {"sources", sources}};
    }
    return Json{{"version", 1},
                {"stream", shards_},
                {"step", step_},
                {"files", files_},
                {"buffer", options_.stream_buffer},
                {"seed", options_.seed},
                {"shards", shards}}
        .dump();
  }

  void restore(const std::string& state) override {
    check_json_depth(state);
    const Json json = Json::parse(state, nullptr, false);
    TESSERA_CHECK(json.is_object() && json.contains("stream"), state, "data state is not of a stream");
    TESSERA_CHECK(read_integer(json, "version") == 1, unsupported, "data state has version ",
                  read_integer(json, "version"), ", not 1");
    const auto same = [&](const char* key, int64_t own, const char* what) {
      TESSERA_CHECK(read_integer(json, key) == own, state, "data state is of ", what, " ",
                    read_integer(json, key), ", the dataset has ", own);
    };
    same("stream", shards_, "shards (micro-batches of a step):");
    same("files", files_, "files:");
    same("buffer", options_.stream_buffer, "data.stream_buffer");
    same("seed", options_.seed, "seed");
    const int64_t step = read_integer(json, "step");
    TESSERA_CHECK(step >= 0 && step < kMostSteps, format, "data state has step ", step);
    std::vector<Shard::Position> wanted, before;
    for (size_t k = 0; k < own_.size(); ++k) {
      wanted.push_back(
          read_position(json, first_ + static_cast<int64_t>(k), own_[k]->position().sources.size()));
      before.push_back(own_[k]->position());
    }
    cancelled_ = false;
    try {
      for (size_t k = 0; k < own_.size(); ++k) own_[k]->seek(wanted[k]);
    } catch (...) {
      for (size_t k = 0; k < own_.size(); ++k) own_[k]->seek(before[k]);
      throw;
    }
    step_ = step;
  }

  int64_t steps_per_epoch() const override { return -1; }

  /// Of what this rank has read so far.
  DatasetReport report() const override {
    DatasetReport out;
    int64_t padded = 0;
    for (const auto& shard : own_) {
      const DatasetReport& part = shard->report();
      for (auto field :
           {&DatasetReport::documents, &DatasetReport::tokens, &DatasetReport::labels, &DatasetReport::rows,
            &DatasetReport::lower_bound, &DatasetReport::bad_rows, &DatasetReport::dropped,
            &DatasetReport::truncated, &DatasetReport::split, &DatasetReport::unlabelled})
        out.*field += part.*field;
      out.pack_seconds += part.pack_seconds;
      padded += shard->padded();
    }
    if (padded > 0) out.efficiency = static_cast<double>(out.tokens) / static_cast<double>(padded);
    return out;
  }

  void cancel() noexcept override { cancelled_ = true; }

 private:
  /// One stream for all ranks, with an end: steps are dealt out as in a dataset that is held whole.
  bool next_of_whole(std::vector<PackedBatch>& out) {
    const int64_t per_rank = options_.global_batch / options_.dp_size;
    const int64_t first = options_.dp_rank * per_rank;
    BatchBuilder builder(layout_);
    for (int64_t k = 0; k < options_.global_batch; ++k) {
      const bool mine = k >= first && k < first + per_rank;
      if (!own_[0]->take(mine ? &builder : nullptr) && (k == 0 || options_.last_step == "drop")) return false;
      if (!mine) continue;
      builder.end_row();
      if ((k - first + 1) % options_.micro_batch == 0) out.push_back(builder.finish());
    }
    return true;
  }

  static Shard::Position read_position(const Json& json, int64_t shard, size_t sources) {
    const std::string name = std::to_string(shard);
    const bool listed =
        json.contains("shards") && json["shards"].is_object() && json["shards"].contains(name);
    TESSERA_CHECK(listed, state, "data state holds no position of shard ", shard,
                  ": it is of other ranks alone, where a checkpoint joins those of all");
    const Json& at = json["shards"][name];
    Shard::Position out;
    out.window = read_integer(at, "window");
    out.row = read_integer(at, "row");
    TESSERA_CHECK(out.window >= 0 && out.window < kMostSteps && out.row >= 0, format,
                  "data state has window ", out.window, ", row ", out.row);
    TESSERA_CHECK(at.contains("sources") && at["sources"].is_array() && at["sources"].size() == sources,
                  state, "data state does not list ", sources, " sources for shard ", shard);
    for (const Json& source : at["sources"]) {
      const bool numbers = source.is_array() && source.size() == 5 &&
                           std::all_of(source.begin(), source.end(),
                                       [](const Json& number) { return number.is_number_integer(); });
      TESSERA_CHECK(numbers, format, "data state has a source without five integers");
      out.sources.push_back({source[0].get<int64_t>(), source[1].get<int64_t>(), source[2].get<int64_t>(),
                             source[3].get<int64_t>(), source[4].get<int64_t>()});
    }
    return out;
  }

  DatasetOptions options_;
  BatchLayout layout_;
  int64_t files_ = 0, shards_ = 1, first_ = 0, step_ = 0;
  std::atomic<bool> cancelled_{false};
  std::vector<std::unique_ptr<Shard>> own_;
};

}  // namespace

std::unique_ptr<Dataset> open_stream(const DatasetOptions& options) {
  check_stream_options(options);
  std::vector<std::vector<StreamFile>> sources;
  std::shared_ptr<const RowFormat> format;
  for (size_t k = 0; k < options.paths.size(); ++k) {
    DatasetOptions own = options;
    if (!options.formats.empty()) own.format = options.formats[k];
    const LongDocuments rule = long_documents_rule(own);
    if (format == nullptr || !options.formats.empty()) {
      format = std::make_shared<const RowFormat>(make_row_format(own));
    }
    if (sources.empty() || !options.weights.empty()) sources.emplace_back();
    for (const std::string& path : expand_paths({options.paths[k]}))
      sources.back().push_back({path, format, rule});
  }
  TESSERA_CHECK(!sources.empty(), argument, "data.path is empty");
  return std::make_unique<StreamDataset>(options, sources);
}

std::string merge_states(const std::vector<std::string>& states) {
  TESSERA_CHECK(!states.empty(), argument, "there is no data state to merge");
  const bool equal =
      std::all_of(states.begin(), states.end(), [&](const std::string& state) { return state == states[0]; });
  if (equal) return states[0];
  Json joined;  // null until there is one
  for (const std::string& state : states) {
    Json json = Json::parse(state, nullptr, false);
    const bool stream =
        json.is_object() && json.contains("stream") && json.contains("shards") && json["shards"].is_object();
    if (!stream) return states[0];
    if (joined.is_null()) {
      joined = std::move(json);
      continue;
    }
    for (const auto& [shard, position] : json["shards"].items()) {
      const bool fresh = !joined["shards"].contains(shard) || joined["shards"][shard] == position;
      TESSERA_CHECK(fresh, state, "two ranks have different positions of shard ", shard, " of the data");
      joined["shards"][shard] = position;
    }
    json["shards"] = joined["shards"];
    TESSERA_CHECK(json == joined, state, "the data states of the ranks are of different steps or settings");
  }
  return joined.dump();
}

}  // namespace tessera
