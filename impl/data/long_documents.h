// Documents that are longer than a row: the rules, alone and for documents that share one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tessera {

enum class LongDocuments { drop, truncate, split, error };

/// `auto` is split for format text and truncate for the others; the documents of a group are never split, so
/// for them it is always truncate.
LongDocuments parse_long_documents(const std::string& name, const std::string& format = "tokens",
                                   int64_t group = 1);

/// Consecutive documents that stay in one row, such as the two of a preference pair.
struct DocumentGroups {
  int64_t documents = 1;          ///< of a group; 1: each document stands for itself
  int64_t documents_per_row = 1;  ///< that one row of the data brings: what a bad row leaves out
  int64_t alignment = 1;          ///< of each document in its row
};

/// Whether documents of these lengths, aligned, fit into a row of `seq_len` tokens together.
bool fit_together(std::span<const int64_t> lengths, int64_t seq_len, int64_t alignment);

/// The lengths to which documents are cut so that they fit into a row together: the longer ones, all to the
/// same length. `seq_len` is a multiple of the alignment; throws Error(argument) if it is too short for one
/// unit of each document.
std::vector<int64_t> cut_to_fit(std::span<const int64_t> lengths, int64_t seq_len, int64_t alignment);

/// Throws Error(argument) unless a row of `seq_len` tokens has room for a group at all.
void check_groups(const DocumentGroups& groups, int64_t seq_len);

}  // namespace tessera
