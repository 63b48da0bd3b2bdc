// Steps prepared ahead by a thread: the same steps, the position of what was taken, errors in their place,
// and no end that waits for ever.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "core/error.h"
#include "data/batch_builder.h"
#include "data/dataset.h"
#include "data/prefetch.h"
#include "data_directory.h"

namespace tessera {
namespace {

/// Step k holds the one token k. Fails at `fail_at`, ends at `end_at`.
class Counting : public Dataset {
 public:
  bool next(std::vector<PackedBatch>& microbatches) override {
    const int64_t step = at_.load();
    TESSERA_CHECK(step != fail_at, format, "step ", step, " is broken");
    while (step == hang_at && !cancelled_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    TESSERA_CHECK(!cancelled_, cancelled, "cancelled");
    if (step == end_at) return false;
    BatchBuilder builder(BatchLayout{});
    const auto token = static_cast<int32_t>(step);
    builder.add({&token, 1}, {&token, 1});
    microbatches = {builder.finish()};
    at_.store(step + 1);
    return true;
  }
  std::string state() const override { return std::to_string(at_.load()); }
  void restore(const std::string& state) override {
    TESSERA_CHECK(state != "bad", state, "a bad state");
    at_.store(std::stoll(state));
    cancelled_ = false;
  }
  int64_t steps_per_epoch() const override { return 100 + at_.load(); }
  void cancel() noexcept override { cancelled_ = true; }
  int64_t prepared() const { return at_.load(); }

  int64_t fail_at = -1, hang_at = -1, end_at = -1;

 private:
  std::atomic<int64_t> at_{0};
  std::atomic<bool> cancelled_{false};
};

int64_t take(Dataset& dataset) {
  std::vector<PackedBatch> microbatches;
  if (!dataset.next(microbatches)) return -1;
  return microbatches.at(0).tokens.const_data_ptr<int64_t>()[0];
}

struct Both {
  Counting* inner;
  std::unique_ptr<Dataset> dataset;
};
Both counting(int64_t steps) {
  auto inner = std::make_unique<Counting>();
  Counting* raw = inner.get();
  return {raw, with_prefetch(std::move(inner), steps)};
}

void wait_until(const std::function<bool()>& done) {
  for (int i = 0; i < 5000 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(done());
}

TEST(Prefetch, StateIsOfWhatWasTakenNotOfWhatWasPrepared) {
  Both both = counting(4);
  EXPECT_EQ(take(*both.dataset), 0);
  wait_until([&] { return both.inner->prepared() == 5; });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(both.inner->prepared(), 5) << "no more than the steps asked for";
  EXPECT_EQ(both.dataset->state(), "1");
  EXPECT_EQ(both.dataset->steps_per_epoch(), 101);
  EXPECT_EQ(take(*both.dataset), 1);
  both.dataset->restore("40");
  EXPECT_EQ(both.dataset->state(), "40");
  EXPECT_EQ(take(*both.dataset), 40);
  EXPECT_EQ(both.dataset->state(), "41");
}

TEST(Prefetch, AnErrorComesWithItsStepAndStaysUntilRestore) {
  Both both = counting(8);
  both.inner->fail_at = 3;
  for (int64_t k = 0; k < 3; ++k) EXPECT_EQ(take(*both.dataset), k);
  for (int again = 0; again < 2; ++again) {
    try {
      take(*both.dataset);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "step 3 is broken");
    }
    EXPECT_EQ(both.dataset->state(), "3");
  }
  both.dataset->restore("1");
  EXPECT_EQ(take(*both.dataset), 1);
}

TEST(Prefetch, TheEndComesAfterTheLastStepAndCanBeLeftByRestore) {
  Both both = counting(8);
  both.inner->end_at = 2;
  EXPECT_EQ(take(*both.dataset), 0);
  EXPECT_EQ(take(*both.dataset), 1);
  EXPECT_EQ(take(*both.dataset), -1);
  EXPECT_EQ(take(*both.dataset), -1);
  EXPECT_EQ(both.dataset->state(), "2");
  both.dataset->restore("0");
  EXPECT_EQ(take(*both.dataset), 0);
}

TEST(Prefetch, ABadStateIsRefusedAndThePlaceKept) {
  Both both = counting(4);
  EXPECT_EQ(take(*both.dataset), 0);
  EXPECT_EQ(take(*both.dataset), 1);
  EXPECT_THROW(both.dataset->restore("bad"), Error);
  EXPECT_EQ(both.dataset->state(), "2");
  EXPECT_EQ(take(*both.dataset), 2);
}

TEST(Prefetch, DestructionNeverWaitsForWorkThatHangsOrForRoom) {
  for (int trial = 0; trial < 50; ++trial) {
    Both both = counting(1 + trial % 3);
    if (trial % 2 == 0) both.inner->hang_at = 1 + trial % 5;
    if (trial % 7 != 0) take(*both.dataset);
    if (trial % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Both never = counting(2);  // the thread of a dataset that nobody takes from is never made
  EXPECT_EQ(never.inner->prepared(), 0);
}

TEST(Prefetch, GivesTheStepsOfADatasetWithoutIt) {
  DataDirectory directory;
  std::string text;
  for (int k = 0; k < 30; ++k) text += cat("{\"input_ids\":[", k, ",1,2]}\n");
  DatasetOptions options;
  options.paths = {directory.write("rows.jsonl", text)};
  options.shuffle = true;
  options.global_batch = 4;
  options.epochs = 3;
  const auto all = [](Dataset& dataset) {
    std::vector<std::string> out;
    for (int64_t id; (id = take(dataset)) >= 0;) out.push_back(cat(id, " ", dataset.state()));
    return out;
  };
  auto plain = open_dataset(options);
  options.prefetch = 3;
  auto ahead = open_dataset(options);
  EXPECT_EQ(ahead->report().documents, 30);
  EXPECT_EQ(all(*ahead), all(*plain));
}

}  // namespace
}  // namespace tessera
