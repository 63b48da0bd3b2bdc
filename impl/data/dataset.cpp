// Datasets over prepared documents: the order of an epoch, its rows, and the steps cut from them.
#include "data/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/batch_builder.h"
#include "data/document_store.h"
#include "data/epoch_plan.h"
#include "data/line_reader.h"
#include "data/prepare.h"
#include "data/row_formats.h"

namespace tessera {
namespace {

bool one_of(const std::string& value, std::initializer_list<const char*> choices) {
  return std::any_of(choices.begin(), choices.end(), [&](const char* choice) { return value == choice; });
}

void check_options(const DatasetOptions& o) {
  TESSERA_CHECK(o.seq_len >= 1, argument, "data.seq_len=", o.seq_len, " must be at least 1");
  TESSERA_CHECK(o.micro_batch >= 1, argument, "train.micro_batch=", o.micro_batch, " must be at least 1");
  TESSERA_CHECK(o.global_batch >= 1, argument, "train.global_batch=", o.global_batch, " must be at least 1");
  TESSERA_CHECK(o.dp_size >= 1, argument, "dp_size=", o.dp_size, " must be at least 1");
  TESSERA_CHECK(o.dp_rank >= 0 && o.dp_rank < o.dp_size, argument, "dp_rank=", o.dp_rank,
                " is not between 0 and dp_size-1=", o.dp_size - 1);
  TESSERA_CHECK(
      o.micro_batch <= o.global_batch / o.dp_size && o.global_batch % (o.micro_batch * o.dp_size) == 0,
      argument, "train.global_batch=", o.global_batch,
      " is not a multiple of train.micro_batch*dp=", o.micro_batch, "*", o.dp_size);
  TESSERA_CHECK(o.epochs >= 0, argument, "data.epochs=", o.epochs, " must not be negative");
  TESSERA_CHECK(one_of(o.on_error, {"fail", "skip"}), argument, "data.on_error=", o.on_error,
                " must be fail or skip");
  TESSERA_CHECK(one_of(o.pad_rows, {"auto", "yes", "no"}), argument, "data.pad_rows=", o.pad_rows,
                " must be auto, yes or no");
  TESSERA_CHECK(one_of(o.last_step, {"fill", "drop"}), argument, "data.last_step=", o.last_step,
                " must be fill or drop");
  TESSERA_CHECK(o.max_line_bytes >= 1, argument, "data.max_line_bytes=", o.max_line_bytes,
                " must be at least 1");
  TESSERA_CHECK(o.workers >= 0 && o.workers <= 1024, argument, "data.workers=", o.workers,
                " must be between 0 and 1024");
  parse_long_documents(o.long_documents, o.format);
  check_plan_options(o);
  row_layout(o);
}

class PreparedDataset : public Dataset {
 public:
  PreparedDataset(const DatasetOptions& options, std::shared_ptr<const DocumentStore> store)
      : options_(options), store_(std::move(store)), layout_(row_layout(options)) {
    const PrepareCounts& counts = store_->counts();
    TESSERA_CHECK(
        options_.group == 1 || counts.bad_rows + counts.dropped + counts.split + counts.unlabelled == 0,
        argument, "data.group=", options_.group, " needs every document, but ",
        counts.bad_rows + counts.dropped + counts.split + counts.unlabelled, " were left out or split");
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
      if (!filler && row_ == plan_.rows.packs()) start_epoch(epoch_ + 1);
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
                          {"documents", store_->size()},
                          {"seed", options_.seed}}
        .dump();
  }

  void restore(const std::string& state) override {
    const auto json = nlohmann::json::parse(state, nullptr, false);
    const auto number = [&](const char* key) {
      TESSERA_CHECK(json.is_object() && json.contains(key) && json[key].is_number_integer(), format,
                    "data state has no integer ", key);
      return json[key].get<int64_t>();
    };
    TESSERA_CHECK(number("version") == 1, unsupported, "data state has version ", number("version"),
                  ", not 1");
    TESSERA_CHECK(number("documents") == store_->size(), state, "data state is of ", number("documents"),
                  " documents, the data has ", store_->size());
    TESSERA_CHECK(number("seed") == options_.seed, state, "data state is of seed ", number("seed"),
                  ", the dataset has ", options_.seed);
    const int64_t epoch = number("epoch");
    const int64_t row = number("row");
    TESSERA_CHECK(epoch >= 0 && (options_.epochs == 0 || epoch < options_.epochs), format,
                  "data state has epoch ", epoch);
    EpochPlan plan = epoch == epoch_ ? plan_ : plan_epoch(*store_, options_, epoch);
    TESSERA_CHECK(row >= 0 && row <= plan.rows.packs(), format, "data state has row ", row, " of ",
                  plan.rows.packs());
    plan_ = std::move(plan);
    epoch_ = epoch;
    row_ = row;
  }

  int64_t steps_per_epoch() const override {
    return (plan_.rows.packs() + options_.global_batch - 1) / options_.global_batch;
  }

  DatasetReport report() const override {
    const PrepareCounts& counts = store_->counts();
    DatasetReport out;
    out.documents = store_->size();
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
    return out;
  }

 private:
  bool last_epoch() const { return options_.epochs > 0 && epoch_ + 1 == options_.epochs; }
  bool at_end() const { return last_epoch() && row_ == plan_.rows.packs(); }
  /// Only asked under last_step=drop; epochs before the last always have successors to run on into.
  bool full_step_left() const { return !last_epoch() || row_ + options_.global_batch <= plan_.rows.packs(); }

  void start_epoch(int64_t epoch) {
    plan_ = plan_epoch(*store_, options_, epoch);
    epoch_ = epoch;
    row_ = 0;
  }

  void add_row(BatchBuilder& builder, int64_t row) const {
    const Packing& rows = plan_.rows;
    for (int64_t i = rows.offsets[row]; i < rows.offsets[row + 1]; ++i) {
      const DocumentView view = store_->document(rows.documents[i]);
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
  std::shared_ptr<const DocumentStore> store_;
  BatchLayout layout_;
  EpochPlan plan_;
  int64_t epoch_ = 0;
  int64_t row_ = 0;  ///< rows of the epoch that steps have taken
};

}  // namespace

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options) {
  check_options(options);
  const std::vector<std::string> files = expand_paths(options.paths);
  return std::make_unique<PreparedDataset>(options,
                                           prepare_documents(files, options, make_row_format(options)));
}

std::unique_ptr<Dataset> open_documents(const DatasetOptions& options,
                                        std::shared_ptr<const DocumentStore> documents) {
  check_options(options);
  return std::make_unique<PreparedDataset>(options, std::move(documents));
}

}  // namespace tessera
