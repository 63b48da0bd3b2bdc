// Data options: checks, and the validation part.
#include "data/dataset_options.h"

#include <algorithm>

#include "core/error.h"
#include "data/batch_builder.h"
#include "data/corpus.h"
#include "data/epoch_plan.h"
#include "data/mixture.h"

namespace tessera {
namespace {

bool one_of(const std::string& value, std::initializer_list<const char*> choices) {
  return std::any_of(choices.begin(), choices.end(), [&](const char* choice) { return value == choice; });
}

void check_steps(const DatasetOptions& o) {
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
}

bool has_pairs(const DatasetOptions& o) {
  return o.formats.empty() ? o.format == "preference" : o.formats.front() == "preference";
}

void check_pairs(const DatasetOptions& o) {
  TESSERA_CHECK(one_of(o.preference, {"chosen", "both"}), argument, "data.preference=", o.preference,
                " must be chosen or both");
  const auto pairs = std::count(o.formats.begin(), o.formats.end(), "preference");
  TESSERA_CHECK(pairs == 0 || pairs == static_cast<int64_t>(o.formats.size()), argument,
                "data.formats: preference pairs cannot be mixed with formats of single documents");
  TESSERA_CHECK(!has_pairs(o) || o.group == 1 || o.group == 2, argument, "data.group=", o.group,
                " does not suit data.format=preference, whose rows are pairs");
}

void check_sources(const DatasetOptions& o) {
  if (!o.weights.empty()) check_weights(o.weights, o.paths.size());
  TESSERA_CHECK(o.formats.empty() || o.formats.size() == o.paths.size(), argument, "data.formats has ",
                o.formats.size(), " entries, data.path has ", o.paths.size());
  check_split(o.validation_split);
  TESSERA_CHECK(o.validation_split == 0 || o.validation_paths.empty(), argument,
                "both data.validation_split and data.validation_path are set: choose one");
  TESSERA_CHECK(one_of(o.part, {"train", "validation"}), argument, "data.part=", o.part,
                " must be train or validation");
  TESSERA_CHECK(o.part == "train" || o.validation_split > 0 || !o.validation_paths.empty(), argument,
                "data.part=validation needs data.validation_split or data.validation_path");
}

}  // namespace

void check_dataset_options(const DatasetOptions& o) {
  check_steps(o);
  check_sources(o);
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
  TESSERA_CHECK(o.stream_buffer >= 1, argument, "data.stream_buffer=", o.stream_buffer,
                " must be at least 1");
  TESSERA_CHECK(o.prefetch >= 0 && o.prefetch <= 1024, argument, "data.prefetch=", o.prefetch,
                " must be between 0 and 1024");
  check_plan_options(o);
  row_layout(o);
  check_pairs(o);
  const DatasetOptions paired = with_pairs(o);
  TESSERA_CHECK(paired.group == 1 || paired.packing != "next_fit_split", argument,
                "data.packing=next_fit_split would cut the groups of data.group=", paired.group, " apart");
  long_documents_rule(paired);
  check_groups(document_groups(paired), paired.seq_len);
}

DatasetOptions options_of_part(const DatasetOptions& options) {
  DatasetOptions out = with_pairs(options);
  if (out.part == "train") return out;
  out.weights.clear();
  out.shuffle = false;
  out.epochs = 1;
  if (!out.validation_paths.empty()) {
    out.paths = out.validation_paths;
    out.formats.clear();
  }
  return out;
}

DatasetOptions with_pairs(const DatasetOptions& options) {
  DatasetOptions out = options;
  if (has_pairs(out)) out.group = 2;
  return out;
}

DocumentGroups document_groups(const DatasetOptions& options) {
  return {options.group, options.group / rows_of_group(options), row_layout(options).alignment()};
}

int64_t rows_of_group(const DatasetOptions& options) {
  return has_pairs(options) ? 1 : options.group;
}

bool says_findings(const DatasetOptions& options) {
  const bool shared_out = options.streaming && options.epochs == 0;
  return options.replica == 0 && (shared_out || options.dp_rank == 0);
}

LongDocuments long_documents_rule(const DatasetOptions& options) {
  return parse_long_documents(options.long_documents, options.format, options.group);
}

}  // namespace tessera
