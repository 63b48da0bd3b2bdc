// Datasets: files or pushed token arrays in, the micro-batches of each step out, the same documents in the
// same order on every mesh.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/packed_batch.h"

namespace tessera {

/// How far the reading and tokenising of files has come.
struct PrepareProgress {
  std::string file;  ///< being read
  int64_t file_index = 0;
  int64_t files = 0;
  int64_t rows = 0;  ///< so far, over all files
  int64_t tokens = 0;
  int64_t bytes = 0;        ///< of the files as they are on disk, so far
  int64_t bytes_total = 0;  ///< of all files; of a mix: of the source that is being prepared
};

/// The options are data.* and train.* keys of the recipe; docs/data.md explains each.
struct DatasetOptions {
  std::vector<std::string> paths;  ///< data.path: files, directories or globs
  /// data.weights: one for each entry of `paths`, whose entries are then sources that are mixed; empty: no
  /// mixing.
  std::vector<double> weights;
  std::string weights_of = "documents";  ///< data.weights_of: documents | tokens: what the weights share out
  std::vector<std::string> formats;      ///< data.formats: of each entry of `paths`; empty: `format` for all
  /// data.validation_split: fraction (below 1) or number of rows, of each source, that do not train
  double validation_split = 0;
  std::vector<std::string> validation_paths;  ///< data.validation_path: files that validate instead
  std::string part = "train";     ///< data.part: train | validation: of these two, the one to read
  std::string cache;              ///< data.cache: directory of tokenised data; empty: none
  bool streaming = false;         ///< data.streaming: read while training instead of before
  int64_t stream_buffer = 4096;   ///< data.stream_buffer: rows of a window of a stream
  int64_t prefetch = 0;           ///< data.prefetch: steps that a thread prepares ahead; 0: no thread
  std::string format = "tokens";  ///< tokens | text | chat | sharegpt | alpaca | prompt | preference
  std::string tokenizer;          ///< directory with tokenizer.json; needed for all formats but tokens
  int64_t vocab_size = 0;         ///< bounds token ids; 0: not checked
  int64_t seq_len = 1024;         ///< longest document, and the capacity of a pack
  std::string packing = "none";   ///< none | next_fit | first_fit | ffd | bfd | wfd | optimal ...
  /// drop | truncate | split | error | auto: split for format text, truncate for all others
  std::string long_documents = "auto";
  bool shuffle = false;
  int64_t seed = 0;
  int64_t micro_batch = 1;   ///< rows (documents, or packs) per micro-batch and dp rank
  int64_t global_batch = 1;  ///< rows per step over all dp ranks
  int64_t dp_rank = 0;
  int64_t dp_size = 1;
  int64_t replica =
      0;  ///< which one of the ranks with this dp_rank: what all of them see, the first one says
  std::string on_error = "fail";  ///< fail | skip
  int64_t epochs = 0;             ///< 0: repeat for ever

  int64_t cp = 1;  ///< context-parallel size: documents are aligned to lcm(2*cp, pad_multiple)
  int64_t pad_multiple =
      1;  ///< data.pad_multiple: further alignment of each document (tp with sequence parallelism)
  int64_t pad_token = 0;          ///< data.pad_token: id that fills padding
  std::string pad_rows = "auto";  ///< data.pad_rows: yes | no | auto: rows padded to seq_len (auto: packs
                                  ///< are, single documents not)
  std::string last_step =
      "fill";  ///< data.last_step: fill | drop: the step that the last epoch does not fill
  int64_t max_line_bytes = int64_t{64} << 20;  ///< data.max_line_bytes: longer lines are bad rows
  int64_t workers = 0;  ///< data.workers: threads that prepare documents; 0: one per core
  std::string order =
      "auto";            ///< data.order: auto | short_first | long_first: of the rows; auto follows shuffle
  bool balance = false;  ///< data.balance: the rows of a step get nearly equal sums of squared lengths
  int64_t balance_window = 0;  ///< data.balance_window: steps among which rows are exchanged; 0: the epoch
  int64_t group = 1;  ///< data.group: so many documents stay in one row; format preference makes it 2
  int64_t packing_group_size =
      100000;                      ///< data.packing_group_size: first_fit packs so many documents at a time
  int64_t packing_bin_size = 200;  ///< data.packing_bin_size: first_fit: most documents in a pack
  int64_t packing_effort = 100'000'000;  ///< data.packing_effort: search steps of packing=optimal
  std::string column_prompt = "prompt";  ///< data.columns.prompt: format prompt: text, or list of messages
  std::string column_completion = "completion";  ///< data.columns.completion
  std::string column_chosen = "chosen";          ///< data.columns.chosen: format preference
  std::string column_rejected = "rejected";      ///< data.columns.rejected
  std::string preference = "chosen";             ///< data.preference: chosen | both: whose labels are learnt
  std::string column_text = "text";              ///< data.columns.text: format text
  std::string column_messages = "messages";      ///< data.columns.messages: format chat
  std::string
      chat_template;  ///< data.chat_template: empty: the checkpoint's; a built-in name; or Jinja source
  std::vector<std::string> train_roles = {"assistant"};  ///< data.train_roles: whose messages are learnt
  bool last_turn_only = false;                           ///< data.last_turn_only: of these only the last
  std::string train_on_eos = "turn";  ///< data.train_on_eos: turn | all | last | none | as_tagged
  bool append_eos = true;  ///< data.append_eos: format text: the tokenizer's eos ends each document
  std::function<void(const PrepareProgress&)> progress;  ///< called from the preparing thread; may be empty
};

/// One entry of data.path under data.weights or data.formats, else all of them together.
struct SourceReport {
  std::string name;
  int64_t documents = 0;
  int64_t tokens = 0;
  int64_t draws = 0;  ///< documents that an epoch takes from it; above `documents` some of them repeat
};

/// What a dataset holds; counts are over all dp ranks.
struct DatasetReport {
  int64_t documents = 0;  ///< after dropping and splitting
  int64_t tokens = 0;
  int64_t labels = 0;       ///< tokens with a label
  int64_t rows = 0;         ///< rows (documents, or packs) of the current epoch
  int64_t lower_bound = 0;  ///< ceil(aligned tokens / capacity): no packing has fewer rows
  double efficiency = 0;    ///< tokens / tokens with padding, over the current epoch
  double pack_seconds = 0;  ///< time the packer took for the current epoch
  int64_t bad_rows = 0, dropped = 0, truncated = 0, split = 0, unlabelled = 0;
  std::vector<SourceReport> sources;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  /// The micro-batches of this dp rank's next step, all of equal count over ranks; false at the end of the
  /// data. With packing=none and shuffle=false, row k of the files is document k and step s holds rows
  /// [s*global_batch, (s+1)*global_batch): dp rank r takes the r-th contiguous part of each. Steps run on
  /// across the ends of epochs, so every step is full; after the last epoch the missing rows are single
  /// ignored tokens.
  virtual bool next(std::vector<PackedBatch>& microbatches) = 0;
  /// Position in the data as JSON, after the last step that next() returned; restore() on any dp size
  /// continues with the same global order. A stream that is sharded over ranks knows the position of its own
  /// shards only: merge_states() joins those of all ranks.
  virtual std::string state() const = 0;
  /// Leaves the position as it was when it throws.
  virtual void restore(const std::string& state) = 0;
  virtual int64_t steps_per_epoch() const = 0;  ///< -1 when unknown (streams)
  virtual DatasetReport report() const { return {}; }
  /// Tokens of each document, in the order of the data. Throws Error(unsupported) for streams, which never
  /// know them all.
  virtual std::vector<int64_t> lengths() const;
  /// From any thread: a next() that is at work, or the following one, may end soon with Error(cancelled).
  /// Until restore().
  virtual void cancel() noexcept {}
};

/// Reads and prepares all of the data before it returns, or under `streaming` as steps are taken. Throws
/// Error(argument) for options that do not fit together, Error(format) "FILE:LINE: reason" for bad rows,
/// Error(io | not_found) for files.
std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options);

/// The positions of all ranks as one that restore() takes on any of them. Those of streams are joined; of
/// others, which are equal on all ranks, the first is taken. Throws Error(state) for streams at different
/// steps.
std::string merge_states(const std::vector<std::string>& states);

class DocumentStore;
/// The same over documents in memory; the options about files are not used.
std::unique_ptr<Dataset> open_documents(const DatasetOptions& options,
                                        std::shared_ptr<const DocumentStore> documents);

}  // namespace tessera
