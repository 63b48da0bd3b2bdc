// Plans epochs over a store that knows lengths alone.
#include "data/length_plan.h"

#include <algorithm>
#include <memory>

#include "core/error.h"
#include "data/corpus.h"
#include "data/dataset_options.h"
#include "data/document_store.h"
#include "data/epoch_plan.h"

namespace tessera {
namespace {

constexpr int64_t kLongest = int64_t{1} << 40;
constexpr int64_t kMostPieces = int64_t{1} << 32;  // what a packer takes

class LengthStore : public DocumentStore {
 public:
  explicit LengthStore(DocumentIndex index) : DocumentStore(std::move(index), {}) {}

 private:
  std::span<const int32_t> read(int64_t, size_t, std::vector<int32_t>&) const override {
    throw Error(Code::internal, "only the lengths of these documents are known");
  }
};

/// Where each document of the store comes from.
struct Source {
  int64_t document = 0;
  int64_t begin = 0;
};

/// Applies the rule for over-long documents to lengths.
class Cutter {
 public:
  explicit Cutter(const DatasetOptions& options)
      : seq_len_(options.seq_len), rule_(long_documents_rule(options)), groups_(document_groups(options)) {}

  void add(std::span<const int64_t> group, int64_t first) {
    if (fit_together(group, seq_len_, groups_.documents == 1 ? 1 : groups_.alignment))
      return keep(group, first);
    const std::string name = group.size() == 1 ? cat("lengths[", first, "]=", group[0])
                                               : cat("lengths[", first, "] to lengths[",
                                                     first + static_cast<int64_t>(group.size()) - 1, "]");
    TESSERA_CHECK(rule_ != LongDocuments::error, argument, name,
                  " does not fit into data.seq_len=", seq_len_);
    if (rule_ == LongDocuments::drop) return;
    if (rule_ == LongDocuments::split) return split(group[0], first, name);
    keep(groups_.documents == 1 ? std::vector<int64_t>{seq_len_}
                                : cut_to_fit(group, seq_len_, groups_.alignment),
         first);
  }

  DocumentIndex index;
  std::vector<Source> sources;

 private:
  void piece(int64_t document, int64_t begin, int64_t length) {
    sources.push_back({document, begin});
    index.offsets.push_back(index.offsets.back() + length);
    index.marks.push_back(0);
  }
  void keep(std::span<const int64_t> group, int64_t first) {
    for (size_t i = 0; i < group.size(); ++i) piece(first + static_cast<int64_t>(i), 0, group[i]);
  }
  void split(int64_t length, int64_t document, const std::string& name) {
    TESSERA_CHECK(length / seq_len_ < kMostPieces - index.size(), argument, name,
                  " would be split into more than ", kMostPieces, " pieces");
    for (int64_t begin = 0; begin < length; begin += seq_len_)
      piece(document, begin, std::min(seq_len_, length - begin));
  }

  int64_t seq_len_;
  LongDocuments rule_;
  DocumentGroups groups_;
};

/// The rows of documents first .. first+count, behind those that `out` has.
void plan_window(std::span<const int64_t> lengths, int64_t first, int64_t count,
                 const DatasetOptions& options, int64_t window, std::vector<RowPiece>& out) {
  Cutter cutter(options);
  for (int64_t i = first; i < first + count; i += options.group)
    cutter.add(lengths.subspan(static_cast<size_t>(i), static_cast<size_t>(options.group)), i);
  if (cutter.index.size() == 0) return;
  const std::vector<Source> sources = std::move(cutter.sources);
  std::vector<CorpusSource> corpus;
  corpus.push_back({"the lengths", std::make_shared<LengthStore>(std::move(cutter.index)), false, {}});
  const Corpus documents(std::move(corpus));
  const int64_t rows_before = out.empty() ? 0 : out.back().row + 1;
  const EpochPlan plan = plan_epoch(documents, options, window, rows_before % options.global_batch);
  out.reserve(out.size() + plan.rows.documents.size());
  for (int64_t row = 0; row < plan.rows.packs(); ++row) {
    for (int64_t i = plan.rows.offsets[row]; i < plan.rows.offsets[row + 1]; ++i) {
      const int64_t number = plan.rows.documents[i];
      const Cut cut = plan.rows.cuts.empty() ? Cut{0, documents.length(number)} : plan.rows.cuts[i];
      out.push_back(
          {rows_before + row, sources[number].document, sources[number].begin + cut.begin, cut.length});
    }
  }
}

}  // namespace

std::vector<RowPiece> plan_rows(std::span<const int64_t> lengths, const DatasetOptions& given) {
  DatasetOptions options = with_pairs(given);
  options.weights.clear();
  options.formats.clear();
  options.validation_split = 0;
  options.validation_paths.clear();
  options.part = "train";
  check_dataset_options(options);
  const auto count = static_cast<int64_t>(lengths.size());
  TESSERA_CHECK(count < kMostPieces, argument, count, " documents are more than a packer can take");
  for (int64_t i = 0; i < count; ++i)
    TESSERA_CHECK(lengths[i] >= 1 && lengths[i] <= kLongest, argument, "lengths[", i, "]=", lengths[i],
                  " is not between 1 and ", kLongest);
  TESSERA_CHECK(count % options.group == 0, argument, "data.group=", options.group, " does not divide ",
                count, " documents");
  const int64_t whole_groups = std::max(options.group, options.stream_buffer / options.group * options.group);
  const int64_t window = options.streaming ? whole_groups : std::max<int64_t>(count, 1);
  std::vector<RowPiece> out;
  for (int64_t first = 0, k = 0; first < count; first += window, ++k)
    plan_window(lengths, first, std::min(window, count - first), options, k, out);
  return out;
}

}  // namespace tessera
