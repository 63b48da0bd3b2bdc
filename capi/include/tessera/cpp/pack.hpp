// Documents put into packs and rows.
#ifndef TESSERA_CPP_PACK_HPP
#define TESSERA_CPP_PACK_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tessera/pack.h"
#include "tessera/cpp/config.hpp"

namespace tessera {
inline namespace cpp0 {

/// Puts documents into packs; returns the pack of each.
inline std::vector<std::int64_t> pack(const std::string &packer, const std::vector<std::int64_t> &lengths,
                                      std::int64_t capacity, std::int64_t seed = 0,
                                      std::int64_t *pack_count = nullptr) {
    std::vector<std::int64_t> packs(lengths.size() + 1);  // never without memory, which the interface wants
    std::int64_t count = 0;
    detail::call(tessera_pack_create, packer.c_str(), lengths.data(), static_cast<std::int64_t>(lengths.size()),
                 capacity, seed, packs.data(), &count);
    packs.resize(lengths.size());
    if (pack_count != nullptr) *pack_count = count;
    return packs;
}

/// A document, or a part of it, in a row of pack_pieces.
struct Piece {
    std::int64_t row;
    std::int64_t document;
    std::int64_t begin;  ///< its first token in the document
    std::int64_t length;
};

/// The rows that a dataset with these keys makes of documents of these lengths, piece by piece.
inline std::vector<Piece> pack_pieces(const Config &config, const std::vector<std::int64_t> &lengths) {
    const std::int64_t none = 0;  // the interface wants memory, also of no lengths
    const std::int64_t *given = lengths.empty() ? &none : lengths.data();
    const std::vector<std::int64_t> numbers =
        detail::read_guessed<std::vector<std::int64_t>>(6 * lengths.size() + 64, 0, tessera_pack_get_pieces,
                                                        config.get(), given, static_cast<std::int64_t>(lengths.size()));
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i + 3 < numbers.size(); i += 4)
        pieces.push_back(Piece{numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]});
    return pieces;
}

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_PACK_HPP
