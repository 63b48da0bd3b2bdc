// The rules for over-long documents.
#include "data/long_documents.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace tessera {
namespace {

int64_t aligned(int64_t length, int64_t alignment) {
  return (length + alignment - 1) / alignment * alignment;
}

}  // namespace

LongDocuments parse_long_documents(const std::string& name, const std::string& format, int64_t group) {
  if (name == "auto") return format == "text" && group == 1 ? LongDocuments::split : LongDocuments::truncate;
  if (name == "drop") return LongDocuments::drop;
  if (name == "truncate") return LongDocuments::truncate;
  if (name == "split") {
    TESSERA_CHECK(group == 1, argument,
                  "data.long_documents=split would cut the groups of data.group=", group,
                  " apart: choose drop, truncate or error");
    return LongDocuments::split;
  }
  TESSERA_CHECK(name == "error", argument, "data.long_documents=", name,
                " must be auto, drop, truncate, split or error");
  return LongDocuments::error;
}

bool fit_together(std::span<const int64_t> lengths, int64_t seq_len, int64_t alignment) {
  int64_t room = seq_len;
  return std::all_of(lengths.begin(), lengths.end(), [&](int64_t length) {
    if (length > room) return false;
    room -= aligned(length, alignment);
    return room >= 0;
  });
}

std::vector<int64_t> cut_to_fit(std::span<const int64_t> lengths, int64_t seq_len, int64_t alignment) {
  const int64_t units = seq_len / alignment;
  const auto documents = static_cast<int64_t>(lengths.size());
  TESSERA_CHECK(units >= documents, argument, "data.seq_len=", seq_len, " has no room for a group of ",
                documents, " documents aligned to ", alignment);
  std::vector<int64_t> shortest_first(lengths.begin(), lengths.end());
  std::sort(shortest_first.begin(), shortest_first.end());
  // Short documents stay whole; what they leave is shared out evenly among those longer than their share.
  int64_t left = units;
  int64_t limit = units;
  for (int64_t i = 0; i < documents; ++i) {
    const int64_t share = left / (documents - i);
    if (shortest_first[i] > share * alignment) {
      limit = share;
      break;
    }
    left -= aligned(shortest_first[i], alignment) / alignment;
  }
  std::vector<int64_t> out(lengths.begin(), lengths.end());
  for (int64_t& length : out) length = std::min(length, limit * alignment);
  return out;
}

void check_groups(const DocumentGroups& groups, int64_t seq_len) {
  if (groups.documents == 1) return;
  TESSERA_CHECK(groups.documents >= 1 && seq_len / groups.documents >= groups.alignment, argument,
                "data.seq_len=", seq_len, " has no room for data.group=", groups.documents,
                " documents aligned to ", groups.alignment);
}

}  // namespace tessera
