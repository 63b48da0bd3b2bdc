// tessera/pack.h
#include "data/packing.h"

#include "data/length_plan.h"
#include "objects.h"
#include "structs.h"
#include "train/recipe.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace

namespace {

constexpr int64_t kMostLengths = int64_t{1} << 40;
constexpr size_t kPieceNumbers = 4;

}  // namespace

tessera_status tessera_pack_create(const char* packer, const int64_t* lengths, int64_t n_lengths,
                                   int64_t capacity, int64_t seed, int64_t* out_packs,
                                   int64_t* out_pack_count, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(packer);
    TESSERA_NOT_NULL(lengths);
    TESSERA_NOT_NULL(out_packs);
    TESSERA_NOT_NULL(out_pack_count);
    TESSERA_CHECK(n_lengths >= 0 && n_lengths <= kMostLengths, argument, "n_lengths=", n_lengths,
                  " is out of range");
    tessera::PackOptions options;
    options.packer = tessera::parse_packer(packer);
    TESSERA_CHECK(options.packer != tessera::Packer::next_fit_split, unsupported,
                  "packer=next_fit_split splits documents, which this function cannot tell");
    options.capacity = capacity;
    options.seed = seed;
    const tessera::Packing packing = tessera::pack({lengths, static_cast<size_t>(n_lengths)}, options);
    for (int64_t p = 0; p < packing.packs(); ++p) {
      for (const int64_t document : packing.pack(p)) out_packs[document] = p;
    }
    *out_pack_count = packing.packs();
  });
}

tessera_status tessera_pack_get_pieces(tessera_config config, const int64_t* lengths, int64_t n_lengths,
                                       int64_t* buf, size_t cap, size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(lengths);
    check_buffer(buf, cap, out_len);
    TESSERA_CHECK(n_lengths >= 0 && n_lengths <= kMostLengths, argument, "n_lengths=", n_lengths,
                  " is out of range");
    const tessera::Config values = find<ConfigObject>(config, "config")->snapshot();
    const std::vector<tessera::RowPiece> pieces =
        tessera::plan_rows({lengths, static_cast<size_t>(n_lengths)}, tessera::dataset_options(values, 0, 1));
    *out_len = kPieceNumbers * pieces.size();
    TESSERA_CHECK(cap >= *out_len, buffer, "cap=", cap, " is too small for ", pieces.size(), " pieces of ",
                  kPieceNumbers, " numbers");
    for (const tessera::RowPiece& piece : pieces)
      for (const int64_t number : {piece.row, piece.document, piece.begin, piece.length}) *buf++ = number;
  });
}
