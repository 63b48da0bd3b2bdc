// Packs documents as they arrive, with a bounded buffer, for data larger than memory.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "data/packing.h"

namespace tessera {

/// Documents wait in a buffer; when it is full they are packed, the fullest half of the packs is handed out,
/// and the documents of the others wait on. No document waits longer than until the data ends. Not
/// thread-safe.
class StreamPacker {
 public:
  struct Document {
    int64_t id = 0;
    int64_t length = 0;
  };

  /// `buffer`: documents held at most. next_fit_split is refused: a stream hands out whole documents.
  StreamPacker(const PackOptions& options, int64_t buffer);

  /// Throws Error(argument) for a length outside [1, capacity].
  void push(int64_t id, int64_t length);
  /// No more documents come: everything held can be taken.
  void finish();
  /// Takes the ids of one pack; false when more documents are needed, or, after finish(), when nothing is
  /// left.
  bool next(std::vector<int64_t>& ids);

  /// What is held, oldest first: to save the stream's position.
  const std::vector<Document>& waiting() const { return waiting_; }
  const std::deque<std::vector<int64_t>>& ready() const { return ready_; }

 private:
  void pack_waiting(bool all);

  PackOptions options_;
  int64_t buffer_;
  std::vector<Document> waiting_;
  std::deque<std::vector<int64_t>> ready_;
};

}  // namespace tessera
