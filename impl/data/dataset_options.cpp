// Data options: checks, and the validation part.
#include "data/dataset_options.h"

#include <algorithm>

#include "core/error.h"
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
  parse_long_documents(o.long_documents, o.format);
  check_plan_options(o);
  row_layout(o);
}

DatasetOptions options_of_part(const DatasetOptions& options) {
  DatasetOptions out = options;
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

}  // namespace tessera
