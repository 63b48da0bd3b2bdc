// The rules that hold for all functions: errors, text out, struct sizes, futures, events, live handles.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tessera/tessera.h"

namespace {

struct Err : tessera_error {
  Err() { code = -1; }
};

tessera_config make_config() {
  tessera_config config;
  EXPECT_EQ(tessera_config_create(&config, nullptr), TESSERA_OK);
  return config;
}

TEST(Errors, AreFilledInTheSameCallAndClearedBySuccess) {
  const tessera_config config = make_config();
  Err err;
  EXPECT_EQ(tessera_config_set(config, "train.steps", "none", &err), TESSERA_E_ARGUMENT);
  EXPECT_EQ(err.code, TESSERA_E_ARGUMENT);
  EXPECT_EQ(err.rank, -1);
  EXPECT_STREQ(err.message, "train.steps=none is not an integer");
  EXPECT_EQ(tessera_config_set(config, "train.steps", "3", &err), TESSERA_OK);
  EXPECT_EQ(err.code, TESSERA_OK);
  EXPECT_STREQ(err.message, "");
  EXPECT_EQ(tessera_config_set(config, "tp", "3", nullptr), TESSERA_E_NOT_FOUND);
  EXPECT_EQ(sizeof(tessera_error), 256U);
  tessera_config_destroy(config);
}

TEST(Errors, LongMessagesAreCutOnACharacterBoundary) {
  const tessera_config config = make_config();
  std::string name;
  for (int i = 0; i < 200; ++i) name += "\u00e9";  // two bytes each
  Err err;
  EXPECT_EQ(tessera_config_load(config, name.c_str(), &err), TESSERA_E_IO);
  const size_t length = std::strlen(err.message);
  EXPECT_LT(length, sizeof err.message);
  EXPECT_GE(length, sizeof err.message - 2);
  EXPECT_EQ(static_cast<unsigned char>(err.message[length - 1]) & 0xC0, 0x80);
  EXPECT_EQ(tessera_config_load(config, "\xff\xfe\n", &err), TESSERA_E_IO);
  EXPECT_NE(std::strstr(err.message, "?? "), nullptr) << err.message;
  EXPECT_EQ(err.domain, TESSERA_DOMAIN_OS);
  EXPECT_EQ(err.native_code, ENOENT);
  tessera_config_destroy(config);
}

TEST(Errors, EveryStatusHasAName) {
  for (int32_t status = 0; status <= TESSERA_E_INTERNAL; ++status) {
    EXPECT_STRNE(tessera_status_name(status), "E_UNKNOWN") << status;
    EXPECT_STRNE(tessera_status_string(status), "unknown status") << status;
  }
  EXPECT_STREQ(tessera_status_name(12345), "E_UNKNOWN");
}

TEST(Text, TooSmallBuffersReportTheLengthAndStayUntouched) {
  const tessera_config config = make_config();
  ASSERT_EQ(tessera_config_set(config, "model.path", "abcdef", nullptr), TESSERA_OK);
  size_t length = 0;
  EXPECT_EQ(tessera_config_get(config, "model.path", nullptr, 0, &length, nullptr), TESSERA_E_BUFFER);
  EXPECT_EQ(length, 6U);
  char buf[7] = "??????";
  EXPECT_EQ(tessera_config_get(config, "model.path", buf, 6, &length, nullptr), TESSERA_E_BUFFER);
  EXPECT_STREQ(buf, "??????");
  EXPECT_EQ(tessera_config_get(config, "model.path", buf, 7, &length, nullptr), TESSERA_OK);
  EXPECT_STREQ(buf, "abcdef");
  EXPECT_EQ(length, 6U);
  tessera_config_destroy(config);
}

TEST(Structs, InitFillsWhatTheCallerHas) {
  tessera_mesh_options options;
  std::memset(&options, 0xFF, sizeof options);
  EXPECT_EQ(tessera_mesh_options_init(&options, sizeof options), TESSERA_OK);
  EXPECT_EQ(options.struct_size, sizeof options);
  EXPECT_EQ(options.tp, 0);
  // An older caller, whose struct ends after dp_shard.
  const size_t old_size = offsetof(tessera_mesh_options, cp);
  std::memset(&options, 0xFF, sizeof options);
  EXPECT_EQ(tessera_mesh_options_init(&options, old_size), TESSERA_OK);
  EXPECT_EQ(options.dp_shard, 0);
  EXPECT_EQ(options.cp, -1) << "the library wrote past the caller's struct";
  EXPECT_EQ(tessera_mesh_options_init(&options, 4), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_mesh_options_init(&options, size_t{1} << 40), TESSERA_E_ARGUMENT);
}

TEST(Structs, OlderSmallerAndNewerZeroTailedOptionsAreAccepted) {
  tessera_world worlds[1];
  ASSERT_EQ(tessera_world_create_threads(1, nullptr, worlds, nullptr), TESSERA_OK);
  struct Newer {
    tessera_mesh_options known;
    int64_t unknown;
  } newer{};
  ASSERT_EQ(tessera_mesh_options_init(&newer.known, sizeof newer), TESSERA_OK);
  tessera_mesh mesh;
  Err err;
  EXPECT_EQ(tessera_mesh_create(worlds[0], &newer.known, &mesh, &err), TESSERA_OK) << err.message;
  tessera_mesh_destroy(mesh);
  newer.unknown = 1;
  EXPECT_EQ(tessera_mesh_create(worlds[0], &newer.known, &mesh, &err), TESSERA_E_UNSUPPORTED);
  // In an older caller's memory something else may follow the struct: it must not be read.
  newer.known.struct_size = offsetof(tessera_mesh_options, cp);
  newer.known.cp = newer.known.tp = -77;
  EXPECT_EQ(tessera_mesh_create(worlds[0], &newer.known, &mesh, &err), TESSERA_OK) << err.message;
  tessera_mesh_destroy(mesh);
  newer.known.struct_size = 0;
  EXPECT_EQ(tessera_mesh_create(worlds[0], &newer.known, &mesh, &err), TESSERA_E_ARGUMENT);
  tessera_world_destroy(worlds[0]);
}

TEST(Keys, AreDescribed) {
  tessera_key_info info;
  ASSERT_EQ(tessera_key_info_init(&info, sizeof info), TESSERA_OK);
  ASSERT_EQ(tessera_key_describe("optimizer.betas", &info, nullptr), TESSERA_OK);
  EXPECT_EQ(info.type, TESSERA_KEY_REAL_LIST);
  EXPECT_STREQ(info.default_value, "0.9,0.95");
  EXPECT_EQ(info.has_min, 1);
  int64_t count = 0;
  ASSERT_EQ(tessera_key_count(&count, nullptr), TESSERA_OK);
  EXPECT_GT(count, 50);
  const tessera_config config = make_config();
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(tessera_key_get(i, &info, nullptr), TESSERA_OK);
    EXPECT_LT(std::strlen(info.doc), sizeof info.doc - 1) << info.name << ": the documentation was cut";
    EXPECT_LT(std::strlen(info.choices), sizeof info.choices - 1) << info.name;
    EXPECT_EQ(tessera_config_set(config, info.name, info.default_value, nullptr), TESSERA_OK) << info.name;
  }
  EXPECT_EQ(tessera_key_get(count, &info, nullptr), TESSERA_E_ARGUMENT);
  Err err;
  EXPECT_EQ(tessera_key_describe("optimizer.lrr", &info, &err), TESSERA_E_NOT_FOUND);
  EXPECT_STREQ(err.message, "unknown key optimizer.lrr, did you mean optimizer.lr");
  tessera_config_destroy(config);
}

TEST(Keys, FillWorldAndMeshOptions) {
  const tessera_config config = make_config();
  ASSERT_EQ(tessera_config_load_text(config, "{backend: local, threads: 3, timeout: 1.5, parallel: {tp: 2}}",
                                     nullptr),
            TESSERA_OK);
  tessera_world_options world;
  ASSERT_EQ(tessera_world_options_init(&world, sizeof world), TESSERA_OK);
  ASSERT_EQ(tessera_world_options_load(&world, config, nullptr), TESSERA_OK);
  EXPECT_EQ(world.backend, TESSERA_BACKEND_LOCAL);
  EXPECT_EQ(world.intra_op_threads, 3);
  EXPECT_EQ(world.timeout_ns, 1500000000);
  EXPECT_EQ(world.struct_size, sizeof world);
  tessera_mesh_options mesh;
  ASSERT_EQ(tessera_mesh_options_init(&mesh, sizeof mesh), TESSERA_OK);
  ASSERT_EQ(tessera_mesh_options_load(&mesh, config, nullptr), TESSERA_OK);
  EXPECT_EQ(mesh.tp, 2);
  EXPECT_EQ(mesh.dp_shard, -1);
  tessera_config_destroy(config);
}

TEST(Tensors, CopyInAndOutAndRefuseWrongSizes) {
  const int64_t dims[] = {2, 3};
  const float values[] = {1, 2, 3, 4, 5, 6};
  tessera_tensor tensor;
  ASSERT_EQ(tessera_tensor_create(TESSERA_DTYPE_F32, dims, 2, values, sizeof values, &tensor, nullptr),
            TESSERA_OK);
  int32_t dtype = 0;
  EXPECT_EQ(tessera_tensor_get_dtype(tensor, &dtype, nullptr), TESSERA_OK);
  EXPECT_EQ(dtype, TESSERA_DTYPE_F32);
  int64_t shape[2];
  size_t length = 0;
  ASSERT_EQ(tessera_tensor_get_dims(tensor, shape, 2, &length, nullptr), TESSERA_OK);
  EXPECT_EQ(length, 2U);
  EXPECT_EQ(shape[1], 3);
  float out[6];
  ASSERT_EQ(tessera_tensor_get_data(tensor, out, sizeof out, &length, nullptr), TESSERA_OK);
  EXPECT_EQ(std::memcmp(out, values, sizeof out), 0);
  const float other[] = {6, 5, 4, 3, 2, 1};
  ASSERT_EQ(tessera_tensor_set_data(tensor, other, sizeof other, nullptr), TESSERA_OK);
  ASSERT_EQ(tessera_tensor_get_data(tensor, out, sizeof out, &length, nullptr), TESSERA_OK);
  EXPECT_EQ(out[0], 6);
  tessera_tensor bad{1};
  EXPECT_EQ(tessera_tensor_create(TESSERA_DTYPE_F32, dims, 2, values, 20, &bad, nullptr), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_tensor_create(99, dims, 2, values, 24, &bad, nullptr), TESSERA_E_ARGUMENT);
  const int64_t huge[] = {INT64_MAX, INT64_MAX};
  EXPECT_EQ(tessera_tensor_create(TESSERA_DTYPE_F32, huge, 2, nullptr, 0, &bad, nullptr), TESSERA_E_ARGUMENT);
  const int64_t large[] = {int64_t{1} << 60};
  Err err;
  EXPECT_EQ(tessera_tensor_create(TESSERA_DTYPE_U8, large, 1, nullptr, 0, &bad, &err),
            TESSERA_E_OUT_OF_MEMORY)
      << err.message;
  const int64_t negative[] = {-1};
  EXPECT_EQ(tessera_tensor_create(TESSERA_DTYPE_F32, negative, 1, nullptr, 0, &bad, nullptr),
            TESSERA_E_ARGUMENT);
  EXPECT_EQ(bad.id, 1U);
  tessera_tensor_destroy(tensor);
}

TEST(Tensors, TravelByDlpackWithoutACopy) {
  const int64_t dims[] = {4};
  int64_t memory[] = {1, 2, 3, 4};
  tessera_tensor view;
  ASSERT_EQ(tessera_tensor_create_view(TESSERA_DTYPE_I64, dims, 1, memory, sizeof memory, &view, nullptr),
            TESSERA_OK);
  DLManagedTensorVersioned* exported = nullptr;
  ASSERT_EQ(tessera_tensor_get_dlpack(view, &exported, nullptr), TESSERA_OK);
  tessera_tensor imported;
  Err err;
  ASSERT_EQ(tessera_tensor_create_dlpack(exported, &imported, &err), TESSERA_OK) << err.message;
  tessera_tensor_destroy(view);
  memory[2] = 30;
  int64_t out[4];
  size_t length = 0;
  ASSERT_EQ(tessera_tensor_get_data(imported, out, sizeof out, &length, nullptr), TESSERA_OK);
  EXPECT_EQ(out[2], 30);
  tessera_tensor_destroy(imported);
}

TEST(Packs, HoldEveryDocumentWithinTheCapacity) {
  const int64_t lengths[] = {6, 4, 5, 5, 3, 7};
  int64_t packs[6];
  int64_t count = 0;
  ASSERT_EQ(tessera_pack_create("bfd", lengths, 6, 10, 0, packs, &count, nullptr), TESSERA_OK);
  EXPECT_EQ(count, 3);
  int64_t sums[3] = {};
  for (int i = 0; i < 6; ++i) sums[packs[i]] += lengths[i];
  for (const int64_t sum : sums) EXPECT_EQ(sum, 10);
  EXPECT_EQ(tessera_pack_create("bfd", lengths, 6, 6, 0, packs, &count, nullptr), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_pack_create("best", lengths, 6, 10, 0, packs, &count, nullptr), TESSERA_E_ARGUMENT);
}

TEST(Tokenizers, ThatAreNotThereAreReported) {
  tessera_tokenizer tokenizer{9};
  Err err;
  EXPECT_NE(tessera_tokenizer_open("/nowhere", &tokenizer, &err), TESSERA_OK);
  EXPECT_EQ(tokenizer.id, 9U);
  EXPECT_NE(std::strlen(err.message), 0U);
}

TEST(Batches, ShiftLabelsInsideDocuments) {
  tessera_batch batch;
  ASSERT_EQ(tessera_batch_create(&batch, nullptr), TESSERA_OK);
  const int64_t tokens[] = {5, 6, 7, 8, 9};
  const int64_t labels[] = {-100, 6, 7, 8, 9};
  const int64_t lengths[] = {3, 2};
  Err err;
  ASSERT_EQ(tessera_batch_push(batch, tokens, labels, 5, lengths, 2, &err), TESSERA_OK) << err.message;
  int64_t out[8];
  size_t length = 0;
  ASSERT_EQ(tessera_batch_get_array(batch, 0, TESSERA_BATCH_LABELS, out, 8, &length, nullptr), TESSERA_OK);
  EXPECT_EQ(std::vector<int64_t>(out, out + length), (std::vector<int64_t>{6, 7, -100, 9, -100}));
  ASSERT_EQ(tessera_batch_get_array(batch, 0, TESSERA_BATCH_CU_SEQLENS, out, 8, &length, nullptr),
            TESSERA_OK);
  EXPECT_EQ(std::vector<int64_t>(out, out + length), (std::vector<int64_t>{0, 3, 5}));
  int64_t n_tokens = 0;
  int64_t n_labels = 0;
  ASSERT_EQ(tessera_batch_count_tokens(batch, &n_tokens, &n_labels, nullptr), TESSERA_OK);
  EXPECT_EQ(n_tokens, 5);
  EXPECT_EQ(n_labels, 3);
  const int64_t wrong[] = {3, 3};
  EXPECT_EQ(tessera_batch_push(batch, tokens, labels, 5, wrong, 2, &err), TESSERA_E_ARGUMENT);
  EXPECT_STREQ(err.message, "lengths[1]=3 does not fit into n_tokens=5");
  const int64_t negative[] = {5, -6, 7, 8, 9};
  EXPECT_EQ(tessera_batch_push(batch, negative, nullptr, 5, lengths, 2, &err), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_batch_get_array(batch, 1, TESSERA_BATCH_LABELS, out, 8, &length, nullptr),
            TESSERA_E_ARGUMENT);
  tessera_batch_destroy(batch);
}

/// Makes the library write one log line at debug level.
void provoke_log_line() {
  const int64_t large[] = {int64_t{1} << 60};
  tessera_tensor tensor;
  EXPECT_EQ(tessera_tensor_create(TESSERA_DTYPE_U8, large, 1, nullptr, 0, &tensor, nullptr),
            TESSERA_E_OUT_OF_MEMORY);
}

TEST(Events, DropTheOldestAndTellHowMany) {
  tessera_events events;
  ASSERT_EQ(tessera_events_create(2, &events, nullptr), TESSERA_OK);
  ASSERT_EQ(tessera_log_set_events(events, nullptr), TESSERA_OK);
  int32_t level = 0;
  ASSERT_EQ(tessera_log_get_level(&level, nullptr), TESSERA_OK);
  ASSERT_EQ(tessera_log_set_level(TESSERA_LOG_DEBUG, nullptr), TESSERA_OK);
  for (int i = 0; i < 5; ++i) provoke_log_line();
  ASSERT_EQ(tessera_log_set_level(level, nullptr), TESSERA_OK);
  tessera_event event;
  ASSERT_EQ(tessera_event_init(&event, sizeof event), TESSERA_OK);
  ASSERT_EQ(tessera_events_next(events, 0, &event, nullptr), TESSERA_OK);
  EXPECT_EQ(event.type, TESSERA_EVENT_LOG);
  EXPECT_EQ(event.level, TESSERA_LOG_DEBUG);
  EXPECT_EQ(event.dropped, 3);
  EXPECT_NE(std::strlen(event.message), 0U);
  ASSERT_EQ(tessera_events_next(events, 0, &event, nullptr), TESSERA_OK);
  EXPECT_EQ(event.dropped, 0);
  EXPECT_EQ(tessera_events_next(events, 0, &event, nullptr), TESSERA_E_TIMEOUT);
  EXPECT_EQ(tessera_events_next(events, 1000000, &event, nullptr), TESSERA_E_TIMEOUT);
  tessera_events_destroy(events);
}

TEST(Events, DestroyWakesWhoWaits) {
  tessera_events events;
  ASSERT_EQ(tessera_events_create(0, &events, nullptr), TESSERA_OK);
  std::thread waiter([events] {
    tessera_event waited;
    tessera_event_init(&waited, sizeof waited);
    // Stale when the queue was gone before the wait began.
    const tessera_status status = tessera_events_next(events, -1, &waited, nullptr);
    EXPECT_TRUE(status == TESSERA_E_CANCELLED || status == TESSERA_E_HANDLE_STALE) << status;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(tessera_events_destroy(events), TESSERA_OK);
  waiter.join();
  EXPECT_EQ(tessera_events_destroy(events), TESSERA_E_HANDLE_STALE);
}

TEST(Handles, ChurnOnEightThreadsLeavesNothing) {
  int64_t before = 0;
  ASSERT_EQ(tessera_handle_count(TESSERA_KIND_ANY, &before, nullptr), TESSERA_OK);
  std::vector<std::thread> threads;
  std::atomic<int> wins{0};
  tessera_config shared[64];
  for (auto& config : shared) config = make_config();
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        tessera_config own;
        ASSERT_EQ(tessera_config_create(&own, nullptr), TESSERA_OK);
        ASSERT_EQ(tessera_config_set(own, "ranks", "4", nullptr), TESSERA_OK);
        char buf[16];
        size_t length = 0;
        const tessera_status status =
            tessera_config_get(shared[i % 64], "optimizer.lr", buf, sizeof buf, &length, nullptr);
        ASSERT_TRUE(status == TESSERA_OK || status == TESSERA_E_HANDLE_STALE) << status;
        if (i >= 1000 && tessera_config_destroy(shared[i % 64]) == TESSERA_OK) ++wins;
        ASSERT_EQ(tessera_config_destroy(own), TESSERA_OK);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wins, 64) << "each shared handle is destroyed exactly once";
  int64_t after = 0;
  ASSERT_EQ(tessera_handle_count(TESSERA_KIND_ANY, &after, nullptr), TESSERA_OK);
  EXPECT_EQ(after, before);
}

TEST(Version, IsThatOfTheHeaders) {
  EXPECT_EQ(tessera_abi_version(), TESSERA_ABI_VERSION);
  const std::string version = std::to_string(TESSERA_VERSION_MAJOR) + "." +
                              std::to_string(TESSERA_VERSION_MINOR) + "." +
                              std::to_string(TESSERA_VERSION_PATCH);
  EXPECT_EQ(tessera_version_string(), version);
  char info[4096];
  size_t length = 0;
  ASSERT_EQ(tessera_build_info(info, sizeof info, &length, nullptr), TESSERA_OK);
  EXPECT_NE(std::strstr(info, "torch: "), nullptr);
}

}  // namespace
