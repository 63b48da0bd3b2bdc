// What a row of each data.format means: chat, sharegpt, alpaca, prompt, text and tokens to token rows.
#pragma once

#include <string>

#include "data/dataset.h"
#include "data/prepare.h"

namespace tessera {

/// Conversions for data.format. Both may be called from several threads.
struct RowFormat {
  RowConverter row;  ///< a JSON row
  RowConverter
      plain_text;  ///< a part of a plain text file (format text only): its tokens, without bos and eos
  bool text_parts = false;  ///< plain text may be tokenised in parts: the ids are those of the whole
  int32_t text_begin = -1;  ///< put before a plain text file; -1: nothing
  int32_t text_end = -1;    ///< put after it
};

/// Opens the tokenizer and the chat template where the format needs them. Throws Error(argument) for an
/// unknown format and what Tokenizer::open and ChatTemplate throw.
RowFormat make_row_format(const DatasetOptions& options);

}  // namespace tessera
