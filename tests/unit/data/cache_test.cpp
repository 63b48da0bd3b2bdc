// The tokenised cache: found by content and settings, never believed when damaged, written once by many.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>
#include <thread>

#include "core/content_hash.h"
#include "core/error.h"
#include "core/log.h"
#include "data/cache_key.h"
#include "data/cache_lock.h"
#include "data/dataset.h"
#include "data/prepare.h"
#include "data/token_cache.h"
#include "data_directory.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

class DataCache : public ::testing::Test {
 protected:
  DataCache() {
    set_log_sink([this](LogLevel level, std::string_view line) {
      const std::lock_guard lock(mutex_);
      if (level >= LogLevel::warning) warnings_ += std::string(line) + "\n";
    });
    std::string text;
    for (int k = 0; k < 200; ++k)
      text += cat("{\"input_ids\":[", k, ",1,2", k % 3 == 0 ? ",3,4,5,6,7" : "", "]}\n");
    options_.paths = {directory_.write("rows.jsonl", text)};
    options_.cache = directory_.path("cache");
    options_.seq_len = 6;
    options_.long_documents = "split";
    options_.progress = [this](const PrepareProgress&) { ++prepared_; };
  }
  ~DataCache() override { set_log_sink({}); }

  /// All tokens and labels, document by document.
  static std::vector<std::vector<int32_t>> contents(const DocumentStore& store) {
    std::vector<std::vector<int32_t>> out;
    std::vector<int32_t> scratch;
    for (int64_t i = 0; i < store.size(); ++i) {
      const DocumentView view = store.document(i, scratch);
      out.emplace_back(view.tokens.begin(), view.tokens.end());
      out.back().insert(out.back().end(), view.labels.begin(), view.labels.end());
      out.back().push_back(store.continues(i));
      out.back().push_back(static_cast<int32_t>(store.labels(i)));
    }
    return out;
  }
  auto open() { return contents(*cached_documents(options_.paths, options_)); }
  auto expected() {
    DatasetOptions quiet = options_;
    quiet.progress = {};
    return contents(*prepare_documents(options_.paths, quiet));
  }
  /// The cache files; with `suffix`, those whose names end so.
  std::vector<std::string> files(const std::string& suffix = ".cache") const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(options_.cache))
      if (entry.path().string().ends_with(suffix)) out.push_back(entry.path().string());
    return out;
  }
  std::string warnings() {
    const std::lock_guard lock(mutex_);
    return warnings_;
  }

  DataDirectory directory_;
  DatasetOptions options_;
  std::atomic<int> prepared_{0};
  std::mutex mutex_;
  std::string warnings_;
};

TEST_F(DataCache, GivesTheSameDocumentsWithoutPreparingAgain) {
  EXPECT_EQ(open(), expected());
  EXPECT_EQ(prepared_, 1);
  EXPECT_EQ(files().size(), 1u);
  EXPECT_EQ(open(), expected());
  EXPECT_EQ(prepared_, 1);
  const PrepareCounts counts = cached_documents(options_.paths, options_)->counts();
  EXPECT_EQ(counts.rows, 200);
  EXPECT_EQ(counts.split, 67);
  EXPECT_EQ(warnings(), "");
}

TEST_F(DataCache, IsFoundByContentNotByNameOrTime) {
  open();
  fs::copy(options_.paths[0], directory_.path("copy.jsonl"));
  options_.paths = {directory_.path("copy.jsonl")};
  open();
  EXPECT_EQ(prepared_, 1);
  // One byte more or other, the size and the time kept: other tokens.
  const auto time = fs::last_write_time(options_.paths[0]);
  std::fstream(options_.paths[0], std::ios::in | std::ios::out) << "{\"input_ids\":[9";
  fs::last_write_time(options_.paths[0], time);
  EXPECT_EQ(open(), expected());
  EXPECT_EQ(prepared_, 2);
}

TEST_F(DataCache, EverySettingThatChangesTokensMakesAnotherKey) {
  directory_.write("tokenizer.json", "{}");
  options_.tokenizer = directory_.path("");
  options_.format = "chat";
  const auto key = [&](const auto& change) {
    DatasetOptions other = options_;
    change(other);
    return cache_key(other.paths, other);
  };
  const std::string base = key([](auto&) {});
  EXPECT_EQ(key([](auto& o) { o.shuffle = true; }), base) << "order is no matter of tokens";
  EXPECT_EQ(key([](auto& o) { o.packing = "bfd"; }), base);
  EXPECT_NE(key([](auto& o) { o.format = "tokens"; }), base);
  EXPECT_NE(key([](auto& o) { o.seq_len = 7; }), base);
  EXPECT_NE(key([](auto& o) { o.vocab_size = 7; }), base);
  EXPECT_NE(key([](auto& o) { o.long_documents = "drop"; }), base);
  EXPECT_NE(key([](auto& o) { o.on_error = "skip"; }), base);
  EXPECT_NE(key([](auto& o) { o.chat_template = "chatml"; }), base);
  EXPECT_NE(key([](auto& o) { o.train_roles = {"user"}; }), base);
  EXPECT_NE(key([](auto& o) { o.last_turn_only = true; }), base);
  EXPECT_NE(key([](auto& o) { o.train_on_eos = "none"; }), base);
  EXPECT_NE(key([](auto& o) { o.append_eos = false; }), base);
  EXPECT_NE(key([](auto& o) { o.column_messages = "turns"; }), base);
  EXPECT_NE(key([](auto& o) { o.paths.push_back(o.paths[0]); }), base);
  directory_.write("tokenizer_config.json", "{}");
  EXPECT_NE(key([](auto&) {}), base) << "the tokenizer's files are part of the key";
}

TEST_F(DataCache, ADamagedCacheIsMadeAgainWithAWarningWhereverTheDamageIs) {
  const auto right = expected();
  open();
  const std::string path = files().at(0);
  const auto size = static_cast<int64_t>(fs::file_size(path));
  int rebuilt = prepared_;
  const auto check = [&](const std::string& what) {
    warnings_.clear();
    EXPECT_EQ(open(), right) << what;
    EXPECT_EQ(prepared_, ++rebuilt) << what;
    EXPECT_NE(warnings().find("the cache is made again"), std::string::npos) << what << ": " << warnings();
  };
  for (const int64_t bytes : {int64_t{0}, int64_t{7}, int64_t{4095}, int64_t{4096}, size / 2, size - 1}) {
    fs::resize_file(path, static_cast<uintmax_t>(bytes));
    check(cat("cut to ", bytes));
  }
  fs::resize_file(path, static_cast<uintmax_t>(size) + 8);
  check("longer than written");
  // One bit in each part, and all over the file.
  for (int64_t at = 0; at < size; at += at < 200 ? 9 : 211) {
    if (at >= 144 && at < 4096) continue;  // between header and data nothing is kept
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int old = file.get();
    file.seekp(at);
    file.put(static_cast<char>(old ^ 0x10));
    file.close();
    check(cat("byte ", at));
  }
  directory_.write("cache/" + fs::path(path).filename().string(),
                   std::string(static_cast<size_t>(size), '\xff'));
  check("all ones");
}

TEST_F(DataCache, ACacheOfOtherSettingsUnderThisNameIsRefused) {
  open();
  const std::string path = files().at(0);
  try {
    open_token_cache(path, "another key", 6);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::format);
    EXPECT_NE(std::string(error.what()).find("is of other data or settings"), std::string::npos);
  }
  const std::string key = cache_key(options_.paths, options_);
  EXPECT_THROW(open_token_cache(path, key, 5), Error) << "documents longer than asked for";
  EXPECT_NO_THROW(open_token_cache(path, key, 6));
}

TEST_F(DataCache, AFileCutWhileItIsReadIsAnErrorAndNoCrash) {
  options_.cache = directory_.path("cache");
  options_.global_batch = 4;
  auto dataset = open_dataset(options_);
  std::vector<PackedBatch> microbatches;
  ASSERT_TRUE(dataset->next(microbatches));
  fs::resize_file(files().at(0), 4100);
  try {
    for (int step = 0; step < 100; ++step) dataset->next(microbatches);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::io);
    EXPECT_NE(std::string(error.what()).find("too early"), std::string::npos) << error.what();
  }
}

TEST_F(DataCache, EightThreadsAtOncePrepareOnce) {
  const auto right = expected();
  std::vector<std::thread> threads;
  std::atomic<int> same{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      if (open() == right) ++same;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(same, 8);
  EXPECT_EQ(prepared_, 1);
  EXPECT_EQ(files().size(), 1u);
  EXPECT_EQ(files("").size(), 2u) << "the cache and its lock";
  EXPECT_EQ(warnings(), "");
}

TEST_F(DataCache, FourProcessesAtOncePrepareOnce) {
  const auto right = expected();
  const std::string log = directory_.path("prepared");
  options_.workers = 1;
  options_.progress = [&](const PrepareProgress&) { std::ofstream(log, std::ios::app) << "x"; };
  std::vector<pid_t> children;
  for (int p = 0; p < 4; ++p) {
    const pid_t child = fork();
    if (child == 0) _exit(open() == right ? 0 : 1);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  EXPECT_EQ(fs::file_size(log), 1u);
  EXPECT_EQ(files("").size(), 2u);
}

TEST_F(DataCache, EightThreadsThatFindADamagedCacheMakeItAgainOnce) {
  const auto right = open();
  fs::resize_file(files().at(0), 5000);
  std::vector<std::thread> threads;
  std::atomic<int> same{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      if (open() == right) ++same;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(same, 8);
  EXPECT_EQ(prepared_, 2);
}

TEST_F(DataCache, AWriterThatIsKilledLeavesNothingThatIsBelieved) {
  const pid_t child = fork();
  if (child == 0) {
    options_.workers = 1;
    options_.progress = [](const PrepareProgress&) { kill(getpid(), SIGKILL); };
    cached_documents(options_.paths, options_);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(files().size(), 0u);
  EXPECT_EQ(files("").size(), 2u) << "its lock and what it had written";
  EXPECT_EQ(open(), expected());
  EXPECT_EQ(files("").size(), 2u) << "the cache and its lock: what was left behind is gone";
}

TEST_F(DataCache, AHolderThatStandsStillIsNotWaitedForForEver) {
  const std::string path = directory_.path("x.lock");
  CacheLock first(path, std::chrono::milliseconds(100));
  ASSERT_TRUE(first.wait());
  EXPECT_TRUE(first.exclusive());
  CacheLock second(path, std::chrono::milliseconds(100));
  EXPECT_FALSE(second.wait());
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    for (int i = 0; i < 40 && !stop; ++i) {
      first.touch();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    first = CacheLock(directory_.path("y.lock"));  // lets go
  });
  EXPECT_TRUE(second.wait()) << "one that shows life is waited for";
  stop = true;
  busy.join();
}

TEST_F(DataCache, WithoutAPlaceToWriteItTheDataIsStillRead) {
  directory_.write("file", "");
  for (const std::string& place : {directory_.path("file"), std::string("/proc/self/nowhere")}) {
    options_.cache = place;
    warnings_.clear();
    EXPECT_EQ(open(), expected());
    EXPECT_NE(warnings().find("going on without a cache"), std::string::npos) << warnings();
  }
}

TEST_F(DataCache, ABadRowIsTheSameErrorAndLeavesNoCache) {
  options_.paths = {directory_.write("bad.jsonl", "{\"input_ids\":[1]}\n{\"input_ids\":[]}\n")};
  try {
    open();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::format);
    EXPECT_NE(std::string(error.what()).find("bad.jsonl:2: input_ids is empty"), std::string::npos);
  }
  EXPECT_EQ(files("").size(), 1u) << "the lock";
}

TEST(ContentHash, DependsOnEveryByteAndNotOnThePieces) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  const auto whole = [](const std::string& bytes) {
    ContentHash hash;
    hash.add(bytes);
    return hash.hex();
  };
  const std::string right = whole(text);
  for (size_t piece = 1; piece < 40; ++piece) {
    ContentHash hash;
    for (size_t at = 0; at < text.size(); at += piece) hash.add(std::string_view(text).substr(at, piece));
    EXPECT_EQ(hash.hex(), right);
  }
  for (size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] ^= 1;
    EXPECT_NE(whole(other), right) << i;
  }
  EXPECT_NE(whole(std::string(1, '\0')), whole("")) << "zeros count";
  EXPECT_NE(whole(std::string(7, '\0')), whole(std::string(14, '\0')));
}

}  // namespace
}  // namespace tessera
