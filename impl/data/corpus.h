// The documents of one or several sources, numbered through, and the part of them that trains or validates.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/document_store.h"

namespace tessera {

/// Documents of a store, all of them or some.
struct CorpusSource {
  std::string name;  ///< the entry of data.path
  std::shared_ptr<const DocumentStore> store;
  bool some = false;
  std::vector<int64_t> chosen;  ///< numbers in the store, ascending; read only when `some`

  int64_t size() const { return some ? static_cast<int64_t>(chosen.size()) : store->size(); }
};

/// Immutable; any thread may read. Numbers of documents run through the sources in their order.
class Corpus {
 public:
  explicit Corpus(std::vector<CorpusSource> sources);

  int64_t size() const { return first_.back(); }
  int64_t sources() const { return static_cast<int64_t>(sources_.size()); }
  const CorpusSource& source(int64_t k) const { return sources_[k]; }
  int64_t first(int64_t source) const { return first_[source]; }  ///< its first document
  int64_t length(int64_t document) const;
  DocumentView document(int64_t document, std::vector<int32_t>& scratch) const;  ///< see DocumentStore
  /// What became of the rows of all sources; `tokens` and `labels` are of the documents chosen.
  const PrepareCounts& counts() const { return counts_; }
  int64_t tokens(int64_t source) const { return tokens_[source]; }  ///< of its documents chosen

 private:
  /// The source of a document, and its number in the source's store.
  std::pair<const DocumentStore*, int64_t> locate(int64_t document) const;

  std::vector<CorpusSource> sources_;
  std::vector<int64_t> first_;  ///< one more than sources
  std::vector<int64_t> tokens_;
  PrepareCounts counts_;
};

/// The documents that validate, or all others. Rows are drawn, not pieces of them: documents split out of one
/// row stay together, and so do groups of `group`; pieces of a plain text are rows of their own. The draw
/// depends on `seed`, `stream` (one number a source) and the number of rows alone. `split` below 1 is a
/// fraction of the rows, rounded, but at least one and not all of them; from 1 on it is their number. Throws
/// Error(argument) for a split that is negative, not finite, a broken number above 1, or leaves no row to
/// train on.
std::vector<int64_t> split_documents(const DocumentStore& store, bool validation, double split, int64_t group,
                                     int64_t seed, uint64_t stream);

/// Throws Error(argument) for values that no data could be split by.
void check_split(double split);

}  // namespace tessera
