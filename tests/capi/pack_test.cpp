// The packers alone, as a host in any language uses them: lengths in, rows out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tessera/tessera.h"

namespace {

using V = std::vector<int64_t>;

struct Piece {
  int64_t row, document, begin, length;
};

class Packers : public ::testing::Test {
 protected:
  Packers() {
    EXPECT_EQ(tessera_config_create(&config_, nullptr), TESSERA_OK);
    set("data.packing_effort", "100000");
  }
  ~Packers() override { tessera_config_destroy(config_); }
  void set(const char* key, const char* value) {
    tessera_error err;
    EXPECT_EQ(tessera_config_set(config_, key, value, &err), TESSERA_OK) << err.message;
  }
  std::vector<Piece> pieces(const V& lengths) {
    std::vector<Piece> out(4 * lengths.size() + 64);
    size_t numbers = 0;
    tessera_error err;
    const int64_t none = 0;
    const tessera_status status = tessera_pack_get_pieces(
        config_, lengths.empty() ? &none : lengths.data(), static_cast<int64_t>(lengths.size()),
        reinterpret_cast<int64_t*>(out.data()), 4 * out.size(), &numbers, &err);
    EXPECT_EQ(status, TESSERA_OK) << err.message;
    out.resize(numbers / 4);
    return out;
  }
  std::string refusal(const V& lengths) {
    V buf(1024, -7);
    size_t numbers = 77;
    tessera_error err;
    EXPECT_EQ(tessera_pack_get_pieces(config_, lengths.data(), static_cast<int64_t>(lengths.size()),
                                      buf.data(), buf.size(), &numbers, &err),
              TESSERA_E_ARGUMENT);
    EXPECT_EQ(numbers, 77U);
    EXPECT_EQ(buf, V(1024, -7)) << "on error no output is written";
    return err.message;
  }

  tessera_config config_{0};
};

V varied(int count, int64_t longest) {
  V lengths;
  uint64_t state = 5;
  for (int i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    lengths.push_back(1 + static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(longest)));
  }
  return lengths;
}

TEST_F(Packers, EveryPackerByNamePlacesEveryTokenOnce) {
  const V lengths = varied(3000, 90);
  for (const char* name :
       {"none", "next_fit", "next_fit_split", "first_fit", "ffd", "bfd", "wfd", "optimal"}) {
    SCOPED_TRACE(name);
    set("data.packing", name);
    set("data.seq_len", "100");
    V seen(lengths.size(), 0);
    std::map<int64_t, int64_t> fill;
    int64_t row = 0;
    for (const Piece& piece : pieces(lengths)) {
      EXPECT_TRUE(piece.row == row || piece.row == row + 1) << "rows come one after the other";
      row = piece.row;
      EXPECT_EQ(piece.begin, seen[static_cast<size_t>(piece.document)])
          << "the pieces of a document are in order";
      seen[static_cast<size_t>(piece.document)] += piece.length;
      fill[piece.row] += piece.length;
    }
    EXPECT_EQ(seen, lengths);
    for (const auto& [at, tokens] : fill) EXPECT_LE(tokens, 100);
    if (std::strcmp(name, "none") == 0 || std::strcmp(name, "next_fit_split") == 0) continue;
    // tessera_pack_create knows the packers that cut no document, and finds as many packs.
    V packs(lengths.size());
    int64_t count = 0;
    ASSERT_EQ(tessera_pack_create(name, lengths.data(), 3000, 100, 0, packs.data(), &count, nullptr),
              TESSERA_OK);
    if (std::strcmp(name, "optimal") != 0) {
      EXPECT_EQ(count, row + 1);
    }
  }
}

TEST_F(Packers, TheAnswerIsTheSameOnAnyNumberOfThreads) {
  const V lengths = varied(5000, 90);
  set("data.packing", "first_fit");
  set("data.packing_group_size", "700");
  set("data.shuffle", "true");
  std::vector<V> answers;
  for (const char* threads : {"1", "3", "0"}) {
    set("data.workers", threads);
    answers.emplace_back();
    for (const Piece& piece : pieces(lengths)) {
      answers.back().push_back(piece.row);
      answers.back().push_back(piece.document);
    }
  }
  EXPECT_EQ(answers[0], answers[1]);
  EXPECT_EQ(answers[0], answers[2]);
}

TEST_F(Packers, GroupsShareARowUnderEveryPacker) {
  const V lengths = varied(600, 90);
  set("data.group", "2");
  set("data.seq_len", "100");
  for (const char* name : {"none", "next_fit", "first_fit", "ffd", "bfd", "wfd", "optimal"}) {
    SCOPED_TRACE(name);
    set("data.packing", name);
    std::map<int64_t, std::vector<Piece>> pairs;
    std::map<int64_t, int64_t> fill;
    for (const Piece& piece : pieces(lengths)) {
      pairs[piece.document / 2].push_back(piece);
      fill[piece.row] += piece.length;
    }
    EXPECT_EQ(pairs.size(), 300U);
    for (const auto& [pair, parts] : pairs) {
      ASSERT_EQ(parts.size(), 2U);
      EXPECT_EQ(parts[0].row, parts[1].row);
      const int64_t whole =
          lengths[static_cast<size_t>(2 * pair)] + lengths[static_cast<size_t>(2 * pair + 1)];
      EXPECT_EQ(parts[0].length + parts[1].length, std::min<int64_t>(whole, 100))
          << "cut to fit, the longer one first";
    }
    for (const auto& [row, tokens] : fill) EXPECT_LE(tokens, 100);
  }
  set("data.long_documents", "drop");
  const auto fits = [&](size_t pair) { return lengths[2 * pair] + lengths[2 * pair + 1] <= 100; };
  size_t whole = 0;
  for (size_t pair = 0; pair < 300; ++pair) whole += fits(pair) ? 1 : 0;
  EXPECT_EQ(pieces(lengths).size(), 2 * whole);
  set("data.long_documents", "error");
  EXPECT_NE(refusal({60, 41}).find("lengths[0] to lengths[1] does not fit into data.seq_len=100"),
            std::string::npos);
  set("data.packing", "next_fit_split");
  EXPECT_EQ(refusal({6, 4}), "data.packing=next_fit_split would cut the groups of data.group=2 apart");
  set("data.packing", "bfd");
  set("data.long_documents", "split");
  EXPECT_NE(refusal({6, 4}).find("data.long_documents=split would cut the groups"), std::string::npos);
  set("data.long_documents", "auto");
  EXPECT_EQ(refusal({6, 4, 5}), "data.group=2 does not divide 3 documents");
}

TEST_F(Packers, OverLongDocumentsFollowTheirRule) {
  set("data.packing", "next_fit");
  set("data.seq_len", "10");
  const V lengths = {4, 25, 6};
  const auto placed = [&](const char* rule) {
    set("data.long_documents", rule);
    V out;
    for (const Piece& piece : pieces(lengths)) {
      const V numbers = {piece.row, piece.document, piece.begin, piece.length};
      out.insert(out.end(), numbers.begin(), numbers.end());
    }
    return out;
  };
  EXPECT_EQ(placed("drop"), (V{0, 0, 0, 4, 0, 2, 0, 6}));
  EXPECT_EQ(placed("truncate"), (V{0, 0, 0, 4, 1, 1, 0, 10, 2, 2, 0, 6}));
  EXPECT_EQ(placed("split"), (V{0, 0, 0, 4, 1, 1, 0, 10, 2, 1, 10, 10, 3, 1, 20, 5, 4, 2, 0, 6}));
  set("data.long_documents", "error");
  EXPECT_EQ(refusal(lengths), "lengths[1]=25 does not fit into data.seq_len=10");
}

TEST_F(Packers, DocumentsAreAlignedAndTheCapacityMustBeToo) {
  set("data.packing", "bfd");
  set("data.seq_len", "16");
  set("data.pad_multiple", "8");
  EXPECT_EQ(pieces({5, 5, 5}).back().row, 1) << "two of eight aligned tokens fill a row";
  set("data.pad_cp", "true");
  set("parallel.cp", "3");
  EXPECT_NE(refusal({5, 5}).find("capacity=16 is not a multiple of the alignment 24"), std::string::npos);
}

TEST_F(Packers, AStreamPacksOneBufferAfterTheOther) {
  const V lengths = varied(1000, 90);
  set("data.packing", "bfd");
  set("data.seq_len", "100");
  set("data.stream_buffer", "64");
  set("data.streaming", "true");
  V seen(lengths.size(), 0);
  int64_t furthest = 0;
  for (const Piece& piece : pieces(lengths)) {
    EXPECT_GT(piece.document, furthest / 64 * 64 - 1) << "no row reaches back behind its buffer";
    furthest = std::max(furthest, piece.document);
    ++seen[static_cast<size_t>(piece.document)];
  }
  EXPECT_EQ(seen, V(lengths.size(), 1));
}

TEST_F(Packers, BalancedStepsAndCurriculaComeOutInTheirOrder) {
  const V lengths = varied(4000, 1000);
  set("data.packing", "bfd");
  set("data.seq_len", "1000");
  set("train.global_batch", "8");
  const auto costs = [&] {
    std::vector<double> out;
    for (const Piece& piece : pieces(lengths)) {
      out.resize(static_cast<size_t>(piece.row) + 1);
      out.back() += static_cast<double>(piece.length * piece.length);
    }
    return out;
  };
  const auto imbalance = [](const std::vector<double>& rows) {
    double sum = 0;
    size_t steps = 0;
    for (; 8 * (steps + 1) <= rows.size(); ++steps) {
      const auto step = rows.begin() + static_cast<ptrdiff_t>(8 * steps);
      double total = 0;
      for (auto it = step; it != step + 8; ++it) total += *it;
      sum += *std::max_element(step, step + 8) * 8 / total;
    }
    return sum / static_cast<double>(steps);
  };
  set("data.shuffle", "true");
  const double shuffled = imbalance(costs());
  set("data.balance", "true");
  const double balanced = imbalance(costs());
  EXPECT_GT(shuffled, 1.2);
  EXPECT_LT(balanced, 1.02);
  set("data.balance", "false");
  set("data.order", "short_first");
  int64_t longest = 0;
  int64_t row = -1;
  int64_t before = 0;
  for (const Piece& piece : pieces(lengths)) {
    if (piece.row != row) {
      EXPECT_GE(longest, before);
      before = longest;
      longest = 0;
      row = piece.row;
    }
    longest = std::max(longest, piece.length);
  }
}

TEST_F(Packers, HostileLengthsAreNamed) {
  set("data.packing", "bfd");
  EXPECT_EQ(refusal({5, 0}), "lengths[1]=0 is not between 1 and 1099511627776");
  EXPECT_EQ(refusal({-1}), "lengths[0]=-1 is not between 1 and 1099511627776");
  EXPECT_EQ(refusal({INT64_MAX, 1}), "lengths[0]=9223372036854775807 is not between 1 and 1099511627776");
  set("data.long_documents", "split");
  set("data.seq_len", "1");
  EXPECT_NE(refusal({int64_t{1} << 40}).find("pieces"), std::string::npos);
  EXPECT_TRUE(pieces({}).empty());
  const int64_t one = 1;
  int64_t out[4];
  int64_t count = 9;
  size_t numbers = 9;
  tessera_error err;
  EXPECT_EQ(tessera_pack_get_pieces(config_, &one, -1, out, 4, &numbers, &err), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_pack_get_pieces(config_, &one, 1, out, 3, &numbers, &err), TESSERA_E_BUFFER);
  EXPECT_EQ(numbers, 4U);
  for (const char* name : {"next_fit", "first_fit", "ffd", "bfd", "wfd", "optimal"}) {
    for (const int64_t bad : {int64_t{0}, int64_t{-5}, int64_t{11}, INT64_MAX, INT64_MIN}) {
      EXPECT_EQ(tessera_pack_create(name, &bad, 1, 10, 0, out, &count, &err), TESSERA_E_ARGUMENT)
          << name << bad;
      EXPECT_NE(std::strstr(err.message, "lengths[0]="), nullptr) << err.message;
    }
    for (const int64_t capacity : {int64_t{0}, int64_t{-1}, INT64_MAX})
      EXPECT_EQ(tessera_pack_create(name, &one, 1, capacity, 0, out, &count, &err), TESSERA_E_ARGUMENT)
          << name;
    EXPECT_EQ(count, 9);
    EXPECT_EQ(tessera_pack_create(name, &one, 0, 10, 0, out, &count, &err), TESSERA_OK)
        << "no documents, no packs";
    EXPECT_EQ(count, 0);
    count = 9;
  }
}

TEST_F(Packers, TenMillionLengthsAreQuick) {
  const V lengths = varied(10'000'000, 2048);
  V packs(lengths.size());
  int64_t count = 0;
  ASSERT_EQ(tessera_pack_create("bfd", lengths.data(), 10'000'000, 2048, 0, packs.data(), &count, nullptr),
            TESSERA_OK);
  int64_t tokens = 0;
  for (const int64_t length : lengths) tokens += length;
  EXPECT_GT(static_cast<double>(tokens) / (2048.0 * static_cast<double>(count)), 0.999);
}

}  // namespace
