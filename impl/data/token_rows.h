// One JSONL row of token ids, {"input_ids":[...],"labels":[...]}, to a document.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace tessera {

/// Tokens and labels of equal length, labels in the positions of the tokens.
struct TokenRow {
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels;
};

/// Parses one row. Without "labels" they are the tokens; other keys are read over. `vocab` bounds the ids (0:
/// any non-negative int32). Throws Error(format) with the reason alone; the caller knows file and line.
TokenRow parse_token_row(std::string_view text, int64_t vocab);

/// Throws Error(format) unless `row` is a document: not empty, equal lengths, ids in range. Its labels may all
/// be ignored: row k stays document k.
void check_token_row(const TokenRow& row, int64_t vocab);

}  // namespace tessera
