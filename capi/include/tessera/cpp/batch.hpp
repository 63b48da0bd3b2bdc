// One rank's share of a step.
#ifndef TESSERA_CPP_BATCH_HPP
#define TESSERA_CPP_BATCH_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tessera/batch.h"
#include "tessera/cpp/config.hpp"

namespace tessera {
inline namespace cpp0 {

/// Documents as padded rows [rows, row_length] (BSHD), each array row after row.
struct PaddedRows {
    std::int64_t rows;
    std::int64_t row_length;
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> labels;  ///< in the positions of tokens
    std::vector<std::int64_t> positions;
    std::vector<std::int64_t> attention_mask;
};

/// Micro-batches of packed documents. An empty owner (false) is what Dataset::next returns at the end.
class Batch : public detail::Handle<tessera_batch, tessera_batch_destroy> {
   public:
    Batch() { detail::call(tessera_batch_create, out()); }
    explicit Batch(tessera_batch batch) : Handle(batch) {}
    /// Appends a micro-batch; without labels the tokens are their own.
    void push(const std::vector<std::int64_t> &tokens, const std::vector<std::int64_t> &lengths) {
        push(tokens, nullptr, lengths);
    }
    void push(const std::vector<std::int64_t> &tokens, const std::vector<std::int64_t> &labels,
              const std::vector<std::int64_t> &lengths) {
        if (labels.size() != tokens.size())
            throw Error(TESSERA_E_ARGUMENT,
                        std::to_string(labels.size()) + " labels for " + std::to_string(tokens.size()) + " tokens");
        push(tokens, labels.data(), lengths);
    }
    /// Appends a micro-batch from another form of packed documents, a tessera_batch_form that `index` tells; without labels
    /// the tokens are their own. The layout may be null.
    void push_form(std::int32_t form, const std::vector<std::int64_t> &tokens, const std::vector<std::int64_t> &index,
                   const std::vector<std::int64_t> &labels = std::vector<std::int64_t>(), bool labels_shifted = false,
                   std::int64_t extent = 0, const Config *layout = nullptr) {
        if (!labels.empty() && labels.size() != tokens.size())
            throw Error(TESSERA_E_ARGUMENT,
                        std::to_string(labels.size()) + " labels for " + std::to_string(tokens.size()) + " tokens");
        detail::call(tessera_batch_push_form, Handle::get(), detail::get_or_null(layout), form, tokens.data(),
                     labels.empty() ? nullptr : labels.data(), static_cast<std::int64_t>(tokens.size()),
                     std::int32_t(labels_shifted), index.data(), static_cast<std::int64_t>(index.size()), extent);
    }
    std::int64_t count() const {
        std::int64_t count = 0;
        detail::call(tessera_batch_count, Handle::get(), &count);
        return count;
    }
    /// Tokens and trained labels of all micro-batches.
    std::pair<std::int64_t, std::int64_t> count_tokens() const {
        std::pair<std::int64_t, std::int64_t> counts;
        detail::call(tessera_batch_count_tokens, Handle::get(), &counts.first, &counts.second);
        return counts;
    }
    /// A tessera_batch_array of micro-batch `index`.
    std::vector<std::int64_t> array(std::int64_t index, std::int32_t which) const {
        return detail::read<std::vector<std::int64_t>>(0, tessera_batch_get_array, Handle::get(), index, which);
    }
    /// Micro-batch `index` as one padded row for each document; row_length 0: as long as the longest.
    PaddedRows rows(std::int64_t index, std::int64_t row_length = 0, std::int64_t pad_token = 0) const {
        const std::vector<std::int64_t> all = detail::read<std::vector<std::int64_t>>(
            0, tessera_batch_get_rows, Handle::get(), index, row_length, pad_token);
        const std::int64_t rows = static_cast<std::int64_t>(array(index, TESSERA_BATCH_CU_SEQLENS).size()) - 1;
        const std::ptrdiff_t part = static_cast<std::ptrdiff_t>(all.size() / 4);
        const auto at = all.begin();
        return PaddedRows{rows,
                          part / rows,
                          std::vector<std::int64_t>(at, at + part),
                          std::vector<std::int64_t>(at + part, at + 2 * part),
                          std::vector<std::int64_t>(at + 2 * part, at + 3 * part),
                          std::vector<std::int64_t>(at + 3 * part, at + 4 * part)};
    }

   private:
    void push(const std::vector<std::int64_t> &tokens, const std::int64_t *labels,
              const std::vector<std::int64_t> &lengths) {
        detail::call(tessera_batch_push, Handle::get(), tokens.data(), labels, static_cast<std::int64_t>(tokens.size()),
                     lengths.data(), static_cast<std::int64_t>(lengths.size()));
    }
};

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_BATCH_HPP
