// Datasets over prepared documents: the order of an epoch, its rows, and the steps cut from them.
#include "data/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "data/batch_builder.h"
#include "data/document_store.h"
#include "data/line_reader.h"
#include "data/prepare.h"
#include "data/random.h"
#include "data/row_plan.h"

namespace tessera {
namespace {

constexpr uint64_t kShufflePurpose = 1;

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
}

class PreparedDataset : public Dataset {
 public:
  PreparedDataset(const DatasetOptions& options, std::shared_ptr<const DocumentStore> store)
      : options_(options), store_(std::move(store)) {
    const bool pad = options.pad_rows == "yes" || (options.pad_rows == "auto" && options.packing != "none");
    layout_ = {options.cp, options.pad_multiple, pad ? options.seq_len : 0, options.pad_token};
    layout_.check();
    plan_epoch(0);
  }

  bool next(std::vector<PackedBatch>& microbatches) override {
    if (at_end() || (options_.last_step == "drop" && !full_step_left())) return false;
    const int64_t per_rank = options_.global_batch / options_.dp_size;
    const int64_t first = options_.dp_rank * per_rank;
    std::vector<PackedBatch> out;
    BatchBuilder builder(layout_);
    for (int64_t k = 0; k < options_.global_batch; ++k) {
      const bool filler = at_end();
      if (!filler && row_ == plan_.rows()) plan_epoch(epoch_ + 1);
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
    const int64_t old_epoch = epoch_;
    if (epoch != epoch_) plan_epoch(epoch);
    if (row < 0 || row > plan_.rows()) {
      const int64_t rows = plan_.rows();
      if (epoch != old_epoch) plan_epoch(old_epoch);
      throw Error(Code::format, cat("data state has row ", row, " of ", rows));
    }
    row_ = row;
  }

  int64_t steps_per_epoch() const override {
    return (plan_.rows() + options_.global_batch - 1) / options_.global_batch;
  }

  DatasetReport report() const override {
    const PrepareCounts& counts = store_->counts();
    DatasetReport out;
    out.documents = store_->size();
    out.tokens = counts.tokens;
    out.labels = counts.labels;
    out.rows = plan_.rows();
    out.bad_rows = counts.bad_rows;
    out.dropped = counts.dropped;
    out.truncated = counts.truncated;
    out.split = counts.split;
    out.unlabelled = counts.unlabelled;
    return out;
  }

 private:
  bool last_epoch() const { return options_.epochs > 0 && epoch_ + 1 == options_.epochs; }
  bool at_end() const { return last_epoch() && row_ == plan_.rows(); }
  /// Only asked under last_step=drop; epochs before the last always have successors to run on into.
  bool full_step_left() const { return !last_epoch() || row_ + options_.global_batch <= plan_.rows(); }

  void plan_epoch(int64_t epoch) {
    std::vector<int64_t> order(static_cast<size_t>(store_->size()));
    std::iota(order.begin(), order.end(), int64_t{0});
    if (options_.shuffle) shuffle(std::span(order), seeded(options_.seed, kShufflePurpose, epoch));
    RowPlan plan;
    plan.offsets.reserve(order.size() + 1);
    plan.pieces.reserve(order.size());
    for (const int64_t document : order) {
      plan.pieces.push_back({document, 0, store_->length(document)});
      plan.offsets.push_back(static_cast<int64_t>(plan.pieces.size()));
    }
    plan_ = std::move(plan);
    epoch_ = epoch;
    row_ = 0;
  }

  void add_row(BatchBuilder& builder, int64_t row) const {
    for (const Piece& piece : plan_.row(row)) {
      const DocumentView view = store_->document(piece.document);
      const auto begin = static_cast<size_t>(piece.begin);
      const auto length = static_cast<size_t>(piece.length);
      builder.add(view.tokens.subspan(begin, length), view.labels.subspan(begin, length));
    }
  }

  DatasetOptions options_;
  std::shared_ptr<const DocumentStore> store_;
  BatchLayout layout_;
  RowPlan plan_;
  int64_t epoch_ = 0;
  int64_t row_ = 0;  ///< rows of the epoch that steps have taken
};

}  // namespace

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options) {
  check_options(options);
  TESSERA_CHECK(options.format == "tokens", unsupported, "data.format=", options.format, " is not supported");
  TESSERA_CHECK(options.packing == "none", unsupported, "data.packing=", options.packing,
                " is not supported");
  const int64_t vocab = options.vocab_size;
  const RowConverter convert = [vocab](std::string_view line) {
    std::vector<TokenRow> rows;
    rows.push_back(parse_token_row(line, vocab));
    return rows;
  };
  return std::make_unique<PreparedDataset>(options,
                                           prepare_documents(expand_paths(options.paths), options, convert));
}

std::unique_ptr<Dataset> open_documents(const DatasetOptions& options,
                                        std::shared_ptr<const DocumentStore> documents) {
  check_options(options);
  TESSERA_CHECK(options.packing == "none", unsupported, "data.packing=", options.packing,
                " is not supported");
  return std::make_unique<PreparedDataset>(options, std::move(documents));
}

}  // namespace tessera
