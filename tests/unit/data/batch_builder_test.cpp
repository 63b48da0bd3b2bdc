// PackedBatch: what the builders make, what validate() refuses, and the round trips to the other forms.
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <random>

#include "core/error.h"
#include "data/batch_builder.h"
#include "data/batch_forms.h"

namespace tessera {
namespace {

std::vector<int64_t> values(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kLong).contiguous().view({-1});
  return {wide.const_data_ptr<int64_t>(), wide.const_data_ptr<int64_t>() + wide.numel()};
}

at::Tensor longs(const std::vector<int64_t>& values) {
  at::Tensor out = at::zeros({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
  return out;
}

std::string message(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::argument);
    return error.what();
  }
  return "no error";
}

using V = std::vector<int64_t>;

PackedBatch two_documents(const BatchLayout& layout) {
  return batch_from_documents({{{{5, 6, 7}, {-100, 6, 7}}, {{8, 9}, {8, 9}}}}, layout);
}

TEST(BatchBuilder, ShiftsLabelsWithinEachDocument) {
  const PackedBatch batch = two_documents({});
  EXPECT_EQ(values(batch.tokens), V({5, 6, 7, 8, 9}));
  EXPECT_EQ(values(batch.labels), V({6, 7, -100, 9, -100}));
  EXPECT_EQ(values(batch.position_ids), V({0, 1, 2, 0, 1}));
  EXPECT_EQ(values(batch.cu_seqlens), V({0, 3, 5}));
  EXPECT_EQ(values(batch.cu_seqlens_padded), V({0, 3, 5}));
  EXPECT_EQ(batch.max_seqlen, 3);
  EXPECT_EQ(batch.label_count, 3);
  validate(batch, 10);
}

TEST(BatchBuilder, AlignsEachDocumentAndPadsTheRowInItsLastSlot) {
  const PackedBatch batch = two_documents({.cp = 2, .multiple = 1, .capacity = 12, .pad_token = 1});
  EXPECT_EQ(values(batch.tokens), V({5, 6, 7, 1, 8, 9, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(values(batch.labels), V({6, 7, -100, -100, 9, -100, -100, -100, -100, -100, -100, -100}));
  EXPECT_EQ(values(batch.position_ids), V({0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(values(batch.cu_seqlens), V({0, 3, 5}));
  EXPECT_EQ(values(batch.cu_seqlens_padded), V({0, 4, 12}));
  validate(batch, 10);
}

TEST(BatchBuilder, AlignmentIsTheLcmOfContextParallelAndMultiple) {
  EXPECT_EQ((BatchLayout{.cp = 1, .multiple = 1}.alignment()), 1);
  EXPECT_EQ((BatchLayout{.cp = 2, .multiple = 6}.alignment()), 12);
  EXPECT_EQ((BatchLayout{.cp = 4, .multiple = 16}.alignment()), 16);
  EXPECT_EQ((BatchLayout{.cp = 2, .multiple = 3}.aligned(13)), 24);
}

TEST(BatchBuilder, RefusesACapacityThatIsNoMultipleOfTheAlignment) {
  EXPECT_EQ(message([] { BatchBuilder({.cp = 2, .multiple = 1, .capacity = 10}); }),
            "capacity=10 is not a multiple of the alignment 4 (lcm of 4 for cp=2 and multiple=1)");
}

TEST(BatchBuilder, RefusesADocumentThatDoesNotFitAfterAlignment) {
  BatchBuilder builder({.cp = 1, .multiple = 4, .capacity = 8});
  const std::vector<int32_t> five(5, 1), four(4, 1);
  builder.add(five, five);
  EXPECT_EQ(builder.room(), 0);
  EXPECT_NE(message([&] { builder.add(four, four); }).find("does not fit into the 0 tokens left"),
            std::string::npos);
}

TEST(BatchBuilder, AnEmptyRowIsOneIgnoredToken) {
  const PackedBatch batch = batch_from_documents({{}, {{{3, 4}, {3, 4}}}}, {.capacity = 4});
  EXPECT_EQ(values(batch.cu_seqlens), V({0, 1, 3}));
  EXPECT_EQ(values(batch.cu_seqlens_padded), V({0, 4, 8}));
  EXPECT_EQ(batch.label_count, 1);
  validate(batch, 10);
}

TEST(BatchBuilder, ValidateNamesTheFirstBrokenPromise) {
  const auto broken = [](const std::function<void(PackedBatch&)>& change, int64_t vocab = 10) {
    PackedBatch batch = two_documents({.cp = 1, .multiple = 4});
    change(batch);
    return message([&] { validate(batch, vocab); });
  };
  EXPECT_EQ(broken([](PackedBatch&) {}), "no error");
  EXPECT_EQ(broken([](PackedBatch&) {}, 9), "label 9 at 4 is outside the vocabulary of 9");
  EXPECT_EQ(broken([](PackedBatch& b) { b.tokens = at::Tensor(); }), "tokens is missing");
  EXPECT_EQ(broken([](PackedBatch& b) { b.labels = b.labels.to(at::kInt); }), "labels must be Long, not Int");
  EXPECT_EQ(broken([](PackedBatch& b) { b.labels.mutable_data_ptr<int64_t>()[1] = 10; }),
            "label 10 at 1 is outside the vocabulary of 10");
  EXPECT_EQ(broken([](PackedBatch& b) { b.labels.mutable_data_ptr<int64_t>()[3] = 1; }),
            "labels[3]=1 is on padding");
  EXPECT_EQ(broken([](PackedBatch& b) { b.position_ids.mutable_data_ptr<int64_t>()[4] = 4; }),
            "position_ids[4]=4 is not the position in document 1, 0");
  EXPECT_EQ(broken([](PackedBatch& b) { b.cu_seqlens.mutable_data_ptr<int32_t>()[2] = 8; }),
            "document 1 of length 5 has a slot of 4 tokens");
  EXPECT_EQ(broken([](PackedBatch& b) { b.cu_seqlens_padded.mutable_data_ptr<int32_t>()[2] = 7; }),
            "cu_seqlens_padded ends with 7, not with the token count 8");
  EXPECT_EQ(broken([](PackedBatch& b) { b.max_seqlen = 4; }), "max_seqlen=4 is not the longest document, 3");
  EXPECT_EQ(broken([](PackedBatch& b) { b.label_count = 2; }), "label_count=2, but 3 labels are not ignored");
}

TEST(BatchForms, PaddedRowsGoInAndOut) {
  const at::Tensor tokens = longs({5, 6, 7, 0, 8, 9, 0, 0}).view({2, 4});
  const at::Tensor labels = longs({-100, 6, 7, -100, 8, 9, -100, -100}).view({2, 4});
  const PackedBatch batch = batch_from_rows(tokens, labels, longs({3, 2}), {.cp = 2});
  EXPECT_EQ(values(batch.labels), V({6, 7, -100, -100, 9, -100, -100, -100}));
  EXPECT_EQ(values(batch.cu_seqlens), V({0, 3, 5}));
  EXPECT_EQ(values(batch.cu_seqlens_padded), V({0, 4, 8}));
  const PaddedRows rows = rows_from_batch(batch, 4, 0);
  EXPECT_EQ(values(rows.tokens), values(tokens));
  EXPECT_EQ(values(rows.labels), V({-100, 6, 7, -100, -100, 9, -100, -100}));
  EXPECT_EQ(values(rows.attention_mask), V({1, 1, 1, 0, 1, 1, 0, 0}));
  EXPECT_EQ(message([&] { batch_from_rows(tokens, labels, longs({3, 5}), {}); }),
            "lengths[1]=5 is not between 1 and 4");
  EXPECT_EQ(message([&] { rows_from_batch(batch, 2, 0); }),
            "a document of 3 tokens does not fit into row_length=2");
}

TEST(BatchForms, PositionIdsGiveTheDocumentsBack) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 50; ++round) {
    BatchBuilder builder({.capacity = 64});
    while (builder.room() > 20) {
      const std::vector<int32_t> document(1 + random() % 20, static_cast<int32_t>(random() % 100));
      builder.add(document, shift_labels(document));
    }
    const PackedBatch batch = builder.finish();
    const int64_t real = batch.cu_seqlens.const_data_ptr<int32_t>()[batch.documents()];
    const PackedBatch again = batch_from_positions(batch.tokens, batch.labels, batch.position_ids, real);
    EXPECT_EQ(values(again.cu_seqlens), values(batch.cu_seqlens));
    EXPECT_EQ(values(again.cu_seqlens_padded), values(batch.cu_seqlens_padded));
    EXPECT_EQ(again.label_count, batch.label_count);
    const PackedBatch third =
        batch_from_segments(batch.tokens, batch.labels, segment_ids(batch).to(at::kLong));
    EXPECT_EQ(values(third.cu_seqlens), values(batch.cu_seqlens));
    EXPECT_EQ(values(third.position_ids), values(batch.position_ids));
  }
}

TEST(BatchForms, ALastDocumentOfOneTokenIsNotPadding) {
  const at::Tensor tokens = longs({4, 5, 6, 0});
  const at::Tensor labels = longs({5, -100, -100, -100});
  const PackedBatch batch = batch_from_positions(tokens, labels, longs({0, 1, 0, 0}), 3);
  EXPECT_EQ(values(batch.cu_seqlens), V({0, 2, 3}));
  EXPECT_EQ(values(batch.cu_seqlens_padded), V({0, 2, 4}));
  EXPECT_EQ(message([&] { batch_from_positions(tokens, labels, longs({0, 2, 0, 0}), 3); }),
            "position_ids[1]=2 neither continues its document nor starts one at 0");
}

TEST(BatchForms, SegmentRowsDoNotJoin) {
  const at::Tensor tokens = longs({1, 2, 3, 4, 5, 6}).view({2, 3});
  const at::Tensor ignored = at::full({2, 3}, -100, at::kLong);
  const PackedBatch batch = batch_from_segments(tokens, ignored, longs({1, 1, 0, 1, 1, 2}).view({2, 3}));
  EXPECT_EQ(values(batch.cu_seqlens), V({0, 2, 4, 5}));
  EXPECT_EQ(values(batch.cu_seqlens_padded), V({0, 3, 5, 6}));
  EXPECT_EQ(values(segment_ids(batch)), V({1, 1, 0, 2, 2, 3}));
}

}  // namespace
TEST(PackedBatch, FingerprintChangesWithEveryPartOfTheBatch) {
  const auto make = [] {
    PackedBatch batch;
    batch.tokens = at::arange(6, at::kLong);
    batch.labels = at::arange(6, at::kLong);
    batch.position_ids = at::arange(6, at::kLong);
    batch.cu_seqlens = at::tensor({0, 5}, at::kInt);
    batch.cu_seqlens_padded = at::tensor({0, 6}, at::kInt);
    batch.max_seqlen = 5;
    batch.label_count = 6;
    return batch;
  };
  const PackedBatch base = make();
  EXPECT_EQ(fingerprint(base), fingerprint(make()));
  for (at::Tensor PackedBatch::* part :
       {&PackedBatch::tokens, &PackedBatch::labels, &PackedBatch::position_ids, &PackedBatch::cu_seqlens,
        &PackedBatch::cu_seqlens_padded}) {
    PackedBatch other = make();
    (other.*part)[1].add_(1);
    EXPECT_NE(fingerprint(base), fingerprint(other));
  }
}

}  // namespace tessera
