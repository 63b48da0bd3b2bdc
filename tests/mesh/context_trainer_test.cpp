// What a trainer offers beside its step, under context parallelism: logits, evaluation, generation, errors.
#include <ATen/ops/equal.h>
#include <ATen/ops/index_select.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "core/error.h"
#include "data/batch_builder.h"
#include "support/errors.h"
#include "support/rank_threads.h"
#include "support/single_rank.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using E = ContextExchange;
using L = ContextLayoutKind;

ModelConfig config_of_eight_heads() {
  ModelConfig config = tiny_config();
  config.num_heads = 8;
  config.sliding_window = {0, 6};
  return config;
}

struct Mesh4 {
  MeshSpec mesh;
  ContextOptions context;
};

/// Four ranks in all.
std::vector<Mesh4> meshes() {
  std::vector<Mesh4> all;
  for (const L layout : {L::zigzag, L::document, L::row}) {
    for (const ContextOptions& context :
         {ContextOptions{E::ring, layout, 0, 0}, {E::all_gather, layout, 0, 1}, {E::ulysses, layout, 0, 0}}) {
      all.push_back({{.dp_shard = 1, .cp = 4}, context});
      all.push_back({{.dp_shard = 2, .cp = 2}, context});
    }
    all.push_back({{.dp_shard = 1, .cp = 4}, {E::ulysses_ring, layout, 2, 0}});
    all.push_back({{.dp_shard = 1, .cp = 4}, {E::ulysses_all_gather, layout, 2, 0}});
  }
  return all;
}

void with_trainers(int ranks, const MeshSpec& mesh, const ContextOptions& context,
                   const std::function<void(Trainer&, int)>& body) {
  TrainerOptions options = tiny_options();
  options.context = context;
  run_ranks(ranks, [&](const WorldPtr& world) {
    Trainer trainer(std::make_shared<DeviceMesh>(world, mesh), config_of_eight_heads(), "", options);
    body(trainer, world->rank());
  });
}

/// Runs `body` on every trainer of every mesh.
void on_every_mesh(const std::function<void(Trainer&, int)>& body) {
  for (const Mesh4& m : meshes()) {
    SCOPED_TRACE(cat(context_exchange_name(m.context.exchange), "/", context_layout_name(m.context.layout),
                     " cp=", m.mesh.cp));
    with_trainers(4, m.mesh, m.context, body);
  }
}

/// The same documents with padding behind each.
PackedBatch padded_documents(int documents) {
  BatchBuilder builder{BatchLayout{.multiple = 5}};
  for (int d = 0; d < documents; ++d) {
    std::vector<int32_t> tokens;
    for (int t = 0; t <= 3 * d; ++t) tokens.push_back((7 * d + 5 * t) % 37);
    builder.add(tokens, std::vector<int32_t>(tokens.size(), 3));
  }
  return builder.finish();
}

/// Places of real tokens.
at::Tensor real_rows(const PackedBatch& batch) {
  return context_inverse(make_context_layout(batch, L::row, 1), batch.tokens_count())
      .ge(0)
      .nonzero()
      .view(-1);
}

TEST(ContextTrainer, LogitsComeInTheOrderOfTheBatch) {
  const PackedBatch batch = padded_documents(6);
  const at::Tensor rows = real_rows(batch);
  at::Tensor expected;
  with_trainers(1, {}, {},
                [&](Trainer& trainer, int) { expected = at::index_select(trainer.logits(batch), 0, rows); });
  on_every_mesh([&](Trainer& trainer, int) {
    const at::Tensor logits = trainer.logits(batch);
    ASSERT_EQ(logits.size(0), batch.tokens_count());
    EXPECT_LT(relative_error(at::index_select(logits, 0, rows), expected), 1e-6);
  });
}

TEST(ContextTrainer, EvaluationAndGenerationAreThoseOfOneRank) {
  const auto batch_of = [](int part) { return documents_batch(4 * part, 4, 37); };
  EvalMetrics expected;
  std::vector<int64_t> greedy, drawn;
  with_trainers(1, {}, {}, [&](Trainer& trainer, int) {
    expected = trainer.evaluate({batch_of(0), batch_of(1)});
    greedy = trainer.generate({1, 2, 3}, {10, 0.0});
    drawn = trainer.generate({5}, {10, 1.0, 0.9, 20, 7});
  });
  on_every_mesh([&](Trainer& trainer, int) {
    const int part = static_cast<int>(trainer.mesh()->index("dp"));
    const bool two = trainer.mesh()->size("dp") == 2;
    const EvalMetrics actual =
        trainer.evaluate(two ? std::vector{batch_of(part)} : std::vector{batch_of(0), batch_of(1)});
    EXPECT_EQ(actual.label_tokens, expected.label_tokens);
    EXPECT_NEAR(actual.loss, expected.loss, 1e-6 * expected.loss);
    EXPECT_EQ(trainer.generate({1, 2, 3}, {10, 0.0}), greedy);
    EXPECT_EQ(trainer.generate({5}, {10, 1.0, 0.9, 20, 7}), drawn);
  });
}

// Other tokens in one document, or at its end, change no bit of what a token may not see.
TEST(ContextTrainer, NothingCrossesADocumentOrComesFromTheFuture) {
  const PackedBatch batch = padded_documents(6);
  const int64_t begin = batch.cu_seqlens_padded[3].item<int64_t>();
  const int64_t end = batch.cu_seqlens_padded[4].item<int64_t>();
  const auto changed_from = [&](int64_t first) {
    PackedBatch other = batch;
    other.tokens = batch.tokens.clone();
    for (int64_t t = first; t < end; ++t) other.tokens[t] = (other.tokens[t].item<int64_t>() + 11) % 37;
    return other;
  };
  on_every_mesh([&](Trainer& trainer, int) {
    const at::Tensor before = trainer.logits(batch);
    for (const int64_t first : {begin, begin + 4}) {
      const at::Tensor after = trainer.logits(changed_from(first));
      EXPECT_TRUE(at::equal(after.narrow(0, 0, first), before.narrow(0, 0, first)));
      EXPECT_TRUE(at::equal(after.narrow(0, end, batch.tokens_count() - end),
                            before.narrow(0, end, batch.tokens_count() - end)));
      EXPECT_FALSE(at::equal(after[first], before[first]));
    }
  });
}

TEST(ContextTrainer, RanksOfOneSequenceMustBeGivenTheSameBatch) {
  with_trainers(2, {.dp_shard = 1, .cp = 2}, {}, [](Trainer& trainer, int rank) {
    const Error error = error_of([&] { trainer.step({documents_batch(4 * rank, 4, 37)}); });
    EXPECT_EQ(error.code(), Code::argument);
    EXPECT_STREQ(error.what(), "2 ranks were given other micro-batches than the ranks of the same dp index");
    const std::vector<PackedBatch> order = rank == 0
                                               ? std::vector<PackedBatch>{documents_batch(0, 4, 37), {}}
                                               : std::vector<PackedBatch>{{}, documents_batch(0, 4, 37)};
    EXPECT_EQ(error_of([&] { trainer.step(order); }).code(), Code::argument);
    EXPECT_GT(trainer.step({documents_batch(0, 4, 37)}).loss, 0);  // the world lives
  });
}

TEST(ContextTrainer, WhatDoesNotDivideIsRefusedBeforeTraining) {
  const auto failure = [](const MeshSpec& mesh, const ContextOptions& context, int ranks) {
    return error_of([&] { with_trainers(ranks, mesh, context, [](Trainer&, int) {}); });
  };
  EXPECT_STREQ(failure({.dp_shard = 1, .cp = 3}, {E::ulysses, L::row, 0, 0}, 3).what(),
               "parallel.cp_exchange=ulysses: cp=3 does not divide n_heads=8");
  EXPECT_STREQ(failure({.dp_shard = 1, .cp = 4}, {E::ulysses_ring, L::zigzag, 3, 0}, 4).what(),
               "parallel.cp_ulysses=3 does not divide cp=4");
}

TEST(ContextTrainer, ACheckpointOfASplitSequenceContinuesOnOneRank) {
  const std::filesystem::path directory =
      std::filesystem::path(::testing::TempDir()) / "tessera_context_checkpoint";
  std::filesystem::remove_all(directory);
  const auto batch = [](int step) { return documents_batch(8 * step, 8, 37); };
  double expected = 0;
  with_trainers(4, {.dp_shard = 2, .cp = 2}, {}, [&](Trainer& trainer, int rank) {
    const auto mine = [&](int step) {
      return std::vector{
          documents_batch(8 * step + 4 * static_cast<int>(trainer.mesh()->index("dp")), 4, 37)};
    };
    trainer.step(mine(0));
    trainer.save_checkpoint(directory.string(), "here");
    const double loss = trainer.step(mine(1)).loss;
    if (rank == 0) expected = loss;
  });
  with_trainers(1, {}, {}, [&](Trainer& trainer, int) {
    EXPECT_EQ(trainer.load_checkpoint(directory.string()), "here");
    EXPECT_NEAR(trainer.step({batch(1)}).loss, expected, 1e-5 * expected);
  });
}

}  // namespace
}  // namespace tessera::testing
