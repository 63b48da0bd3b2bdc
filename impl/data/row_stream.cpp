// Passes over files, sharding by counting units, and skipping to a position.
#include "data/row_stream.h"

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "data/dataset_options.h"
#include "data/random.h"

namespace tessera {
namespace {

constexpr uint64_t kSplitPurpose = 5, kFilesPurpose = 6;
constexpr int64_t kTextPartBytes = int64_t{256} << 10;
constexpr int64_t kMostPasses = int64_t{1} << 31, kMostRows = int64_t{1} << 60;

}  // namespace

RowStream::RowStream(std::vector<StreamFile> files, const DatasetOptions& options, int64_t shard,
                     int64_t shards, uint64_t stream)
    : files_(std::move(files)), options_(options), shard_(shard), shards_(shards), stream_(stream) {
  order_files();
}

void RowStream::order_files() {
  order_.resize(files_.size());
  std::iota(order_.begin(), order_.end(), int64_t{0});
  if (options_.shuffle)
    shuffle(std::span(order_), seeded(options_.seed, kFilesPurpose + (stream_ << 8), at_.pass));
}

bool RowStream::open_file() {
  if (at_.file == static_cast<int64_t>(files_.size())) return false;
  const StreamFile& opened = file();
  plain_ = opened.format->plain_text && !is_json_name(opened.path);
  TESSERA_CHECK(!plain_ || opened.format->text_parts, unsupported, opened.path,
                ": a plain text cannot be streamed with this tokenizer, whose ids depend on the whole text: "
                "use data.cache, or rows of JSON");
  reader_ =
      plain_ ? open_text_parts(opened.path, kTextPartBytes) : open_rows(opened.path, options_.max_line_bytes);
  ahead_.reset();
  begun_ = false;
  return true;
}

bool RowStream::wanted() const {
  if (options_.validation_split == 0) return true;
  const auto source_file = static_cast<uint64_t>(order_[at_.file]);
  SplitMix64 random = seeded(options_.seed, kSplitPurpose + (stream_ << 8) + (source_file << 24),
                             at_.row / rows_of_group(options_));
  const bool validates =
      std::ldexp(static_cast<double>(random.next() >> 11), -53) < options_.validation_split;
  return validates == (options_.part == "validation");
}

bool RowStream::read_part(StreamRow* row) {
  const auto read = [&]() -> std::unique_ptr<StreamRow> {
    Line line;
    if (!reader_->next(line)) return nullptr;
    auto part = std::make_unique<StreamRow>();
    part->text = line.text;
    part->place = cat(file().path, ":", line.number);
    part->format = file().format.get();
    part->pass = at_.pass;
    part->plain = true;
    return part;
  };
  const bool first = !begun_;
  if (first) ahead_ = read();
  begun_ = true;
  if (ahead_ == nullptr) return false;
  std::unique_ptr<StreamRow> part = std::move(ahead_);
  ahead_ = read();
  part->first = first;
  part->last = ahead_ == nullptr;
  if (row != nullptr) *row = std::move(*part);
  return true;
}

bool RowStream::read_row(StreamRow* row) {
  if (plain_) return read_part(row);
  Line line;
  if (!reader_->next(line)) return false;
  if (row == nullptr) return true;
  *row = StreamRow{std::string(line.text),
                   cat(file().path, ":", line.number),
                   file().format.get(),
                   file().long_documents,
                   at_.pass,
                   line.too_long};
  return true;
}

bool RowStream::next(std::vector<StreamRow>& rows) {
  while (true) {
    if (reader_ == nullptr && !open_file()) {
      TESSERA_CHECK(found_ > 0, format, "data.streaming: the ", at_.unit,
                    " rows of a pass do not give each of ", shards_, " micro-batches of a step one");
      at_ = {at_.pass + 1, 0, 0, 0, at_.taken};
      found_ = 0;
      order_files();
      return false;
    }
    const bool chosen = wanted();
    const bool mine = chosen && at_.unit % shards_ == shard_;
    rows.resize(mine ? static_cast<size_t>(rows_of_group(options_)) : 0);
    int64_t read = 0;
    while (read < rows_of_group(options_) && read_row(mine ? &rows[static_cast<size_t>(read)] : nullptr))
      ++read;
    if (read == 0) {
      reader_.reset();
      ++at_.file;
      at_.row = 0;
      continue;
    }
    TESSERA_CHECK(read == rows_of_group(options_), argument, "data.group=", rows_of_group(options_),
                  " does not divide the rows of ", file().path);
    at_.row += read;
    if (chosen) ++at_.unit;
    if (!mine) continue;
    ++at_.taken;
    ++found_;
    return true;
  }
}

void RowStream::seek(const StreamPosition& position) {
  const auto count = static_cast<int64_t>(files_.size());
  const auto within = [](int64_t value, int64_t most) { return value >= 0 && value <= most; };
  const bool possible = within(position.pass, kMostPasses) && within(position.file, count) &&
                        within(position.row, kMostRows) && within(position.unit, kMostRows) &&
                        within(position.taken, kMostRows) && (position.file < count || position.row == 0);
  TESSERA_CHECK(possible, state, "data state has file ", position.file, ", row ", position.row, ", pass ",
                position.pass, " of ", count, " files");
  at_ = position;
  found_ = position.unit > shard_ ? 1 : 0;
  order_files();
  reader_.reset();
  if (position.row == 0) return;
  open_file();
  for (int64_t row = 0; row < position.row; ++row)
    TESSERA_CHECK(read_row(nullptr), state, "data state is at row ", position.row, " of ", file().path,
                  ", which has ", row);
}

}  // namespace tessera
