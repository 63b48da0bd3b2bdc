// Arrow record batches pushed by a host: sound ones become documents, others are refused whole, and both
// structs are released exactly once either way.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "arrow_interface.h"
#include "job.h"

namespace {

/// A batch of two list columns over memory of its own; tests bend it before they push it.
class Batch {
 public:
  Batch() {
    list(0, "input_ids", tokens);
    list(1, "labels", labels);
    root_schema = {"+s", "", nullptr, 0, 2, schemas, nullptr, release_schema, &schema_releases};
    root = {3, 0, 0, 1, 2, root_buffers, arrays, nullptr, release_array, &array_releases};
  }

  /// Pushes and returns the error's text, "" when there is none.
  std::string push(tessera_dataset dataset) {
    tessera_error error{};
    const tessera_status status = tessera_dataset_push_arrow(dataset, &root_schema, &root, &error);
    return status == TESSERA_OK ? "" : error.message;
  }

  int schema_releases = 0;
  int array_releases = 0;
  std::vector<int32_t> offsets = {0, 2, 5, 6};
  std::vector<int64_t> tokens = {1, 2, 3, 4, 5, 6};
  std::vector<int64_t> labels = {1, -100, 3, 4, -100, 6};
  ArrowSchema root_schema{}, list_schemas[2]{}, value_schemas[2]{};
  ArrowArray root{}, lists[2]{}, values[2]{};
  ArrowSchema* schemas[2] = {&list_schemas[0], &list_schemas[1]};
  ArrowArray* arrays[2] = {&lists[0], &lists[1]};
  const void* root_buffers[1] = {nullptr};
  const void* list_buffers[2][2] = {};
  const void* value_buffers[2][2] = {};

 private:
  static void release_schema(ArrowSchema* schema) {
    ++*static_cast<int*>(schema->private_data);
    schema->release = nullptr;
  }
  static void release_array(ArrowArray* array) {
    ++*static_cast<int*>(array->private_data);
    array->release = nullptr;
  }
  static void child_schema(ArrowSchema*) {}
  static void child_array(ArrowArray*) {}

  void list(int i, const char* name, const std::vector<int64_t>& data) {
    value_children_[i] = &value_schemas[i];
    array_children_[i] = &values[i];
    list_schemas[i] = {"+l", name, nullptr, 0, 1, &value_children_[i], nullptr, child_schema, nullptr};
    value_schemas[i] = {"l", "item", nullptr, 0, 0, nullptr, nullptr, child_schema, nullptr};
    list_buffers[i][1] = offsets.data();
    value_buffers[i][1] = data.data();
    lists[i] = {3, 0, 0, 2, 1, list_buffers[i], &array_children_[i], nullptr, child_array, nullptr};
    values[i] = {static_cast<int64_t>(data.size()),
                 0,
                 0,
                 2,
                 0,
                 value_buffers[i],
                 nullptr,
                 nullptr,
                 child_array,
                 nullptr};
  }

  ArrowSchema* value_children_[2];
  ArrowArray* array_children_[2];
};

class Arrow : public ::testing::Test {
 protected:
  Arrow() {
    EXPECT_EQ(tessera_config_create(&config_, nullptr), TESSERA_OK);
    EXPECT_EQ(tessera_dataset_create(config_, tessera_mesh{0}, tessera_model{0}, &dataset_, nullptr),
              TESSERA_OK);
  }
  ~Arrow() override {
    tessera_dataset_destroy(dataset_);
    tessera_config_destroy(config_);
  }

  std::vector<int64_t> lengths() {
    EXPECT_EQ(tessera_dataset_push_end(dataset_, nullptr), TESSERA_OK);
    std::vector<int64_t> out(16);
    size_t count = 0;
    EXPECT_EQ(tessera_dataset_get_lengths(dataset_, out.data(), out.size(), &count, nullptr), TESSERA_OK);
    out.resize(count);
    return out;
  }

  tessera_config config_{0};
  tessera_dataset dataset_{0};
};

TEST_F(Arrow, RowsBecomeDocumentsAndTheStructsAreReleased) {
  Batch batch;
  EXPECT_EQ(batch.push(dataset_), "");
  EXPECT_EQ(batch.schema_releases, 1);
  EXPECT_EQ(batch.array_releases, 1);
  EXPECT_EQ(lengths(), (std::vector<int64_t>{2, 3, 1}));
}

TEST_F(Arrow, SlicesAndOtherWidthsAreRead) {
  Batch sliced;
  sliced.root.offset = 1;
  sliced.root.length = 2;
  EXPECT_EQ(sliced.push(dataset_), "");
  Batch narrow;
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> offsets = {0, 6};
  narrow.root_schema.n_children = 1;  // without labels
  narrow.root.n_children = 1;
  narrow.list_schemas[0].format = "+L";
  narrow.value_schemas[0].format = "i";
  narrow.list_buffers[0][1] = offsets.data();
  narrow.value_buffers[0][1] = tokens.data();
  narrow.lists[0].length = narrow.root.length = 1;
  EXPECT_EQ(narrow.push(dataset_), "");
  EXPECT_EQ(lengths(), (std::vector<int64_t>{3, 1, 6}));
}

TEST_F(Arrow, BadBatchesAreRefusedWholeAndReleased) {
  const uint8_t second_is_null[] = {0b11111101};
  const std::vector<std::pair<std::string, std::function<void(Batch&)>>> cases = {
      {"arrow row 1: input_ids lies at 2..7 of 6 values", [](Batch& b) { b.offsets[2] = 7; }},
      {"arrow row 1: input_ids lies at 2..1 of 6 values", [](Batch& b) { b.offsets[2] = 1; }},
      {"arrow row 0: input_ids lies at -1..2 of 6 values", [](Batch& b) { b.offsets[0] = -1; }},
      {"arrow input_ids.length=-1 is out of range", [](Batch& b) { b.lists[0].length = -1; }},
      {"arrow batch.offset=4611686018427387904 is out of range",
       [](Batch& b) { b.root.offset = int64_t{1} << 62; }},
      {"the arrow batch has 4 rows from 0 on, its columns 3 and 3", [](Batch& b) { b.root.length = 4; }},
      {"arrow input_ids has 1 buffers, not 2", [](Batch& b) { b.lists[0].n_buffers = 1; }},
      {"arrow input_ids has no offsets", [](Batch& b) { b.list_buffers[0][1] = nullptr; }},
      {"arrow input_ids has no values", [](Batch& b) { b.value_buffers[0][1] = nullptr; }},
      {"arrow row 2: input_ids[0]=4294967296 is not a token id",
       [](Batch& b) { b.tokens[5] = int64_t{1} << 32; }},
      {"arrow input_ids has the format \"u\": a list (+l) or large list (+L) of integers is needed",
       [](Batch& b) { b.list_schemas[0].format = "u"; }},
      {"arrow input_ids holds values of the format \"g\": int32 (i) or int64 (l) are needed",
       [](Batch& b) { b.value_schemas[0].format = "g"; }},
      {"the arrow batch has no column input_ids: texts are to be tokenised first",
       [](Batch& b) { b.list_schemas[0].name = "text"; }},
      {"the arrow batch has the format \"+l\": a struct of columns (+s) is needed",
       [](Batch& b) { b.root_schema.format = "+l"; }},
      {"arrow input_ids is missing or released", [](Batch& b) { b.arrays[0] = nullptr; }},
      {"arrow row 1: input_ids is null",
       [&](Batch& b) {
         b.lists[0].null_count = 1;
         b.list_buffers[0][0] = second_is_null;
       }},
      {"arrow row 0: labels[1] is null",
       [&](Batch& b) {
         b.values[1].null_count = 1;
         b.value_buffers[1][0] = second_is_null;
       }},
      {"arrow row 1 is null",
       [&](Batch& b) {
         b.root.null_count = 1;
         b.root_buffers[0] = second_is_null;
       }},
  };
  for (const auto& [message, bend] : cases) {
    Batch batch;
    bend(batch);
    EXPECT_EQ(batch.push(dataset_), message);
    EXPECT_EQ(batch.schema_releases, 1) << message;
    EXPECT_EQ(batch.array_releases, 1) << message;
  }
  Batch negative;
  negative.tokens[5] = -5;
  EXPECT_NE(negative.push(dataset_), "");
  Batch good;
  EXPECT_EQ(good.push(dataset_), "");
  EXPECT_EQ(lengths(), (std::vector<int64_t>{2, 3, 1})) << "nothing of the bad batches came in";
}

TEST(ArrowLengths, ABatchWithADocumentThatIsTooLongIsRefusedWhole) {
  // The documents have 2, 3 and 1 tokens; in pairs the last one would wait for its other half.
  for (const char* format : {"tokens", "preference"}) {
    tessera_config config;
    ASSERT_EQ(tessera_config_create(&config, nullptr), TESSERA_OK);
    const bool pairs = std::string(format) == "preference";
    for (const auto& [key, value] : {std::pair{"data.format", format},
                                     {"data.seq_len", pairs ? "4" : "2"},
                                     {"data.long_documents", "error"}}) {
      ASSERT_EQ(tessera_config_set(config, key, value, nullptr), TESSERA_OK) << key;
    }
    tessera_dataset dataset;
    ASSERT_EQ(tessera_dataset_create(config, tessera_mesh{0}, tessera_model{0}, &dataset, nullptr),
              TESSERA_OK);
    Batch batch;
    EXPECT_EQ(batch.push(dataset),
              pairs ? "documents of 5 tokens that stay together do not fit into data.seq_len=4"
                    : "a document of 3 tokens is longer than data.seq_len=2");
    tessera_error error{};
    EXPECT_EQ(tessera_dataset_push_end(dataset, &error), TESSERA_E_STATE);
    EXPECT_STREQ(error.message, "no document was pushed, or none was kept");
    tessera_dataset_destroy(dataset);
    tessera_config_destroy(config);
  }
}

TEST_F(Arrow, WithoutADatasetTheBatchStaysTheHosts) {
  Batch batch;
  EXPECT_NE(batch.push(tessera_dataset{0}), "");
  EXPECT_EQ(batch.schema_releases + batch.array_releases, 0);
}

}  // namespace
