// Packed documents in the forms of other programs, in and out of a tessera_batch.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tessera/tessera.h"

namespace {

using V = std::vector<int64_t>;

class BatchForms : public ::testing::Test {
 protected:
  BatchForms() {
    EXPECT_EQ(tessera_batch_create(&batch_, nullptr), TESSERA_OK);
    EXPECT_EQ(tessera_config_create(&layout_, nullptr), TESSERA_OK);
  }
  ~BatchForms() override {
    tessera_batch_destroy(batch_);
    tessera_config_destroy(layout_);
  }
  void set(const char* key, const char* value) {
    EXPECT_EQ(tessera_config_set(layout_, key, value, nullptr), TESSERA_OK);
  }
  /// "" when the form was taken, else the error's message.
  std::string push(int32_t form, const V& tokens, const V& index, int64_t extent = 0, const V& labels = {},
                   bool shifted = false, tessera_config layout = {0}) {
    tessera_error err;
    const tessera_status status =
        tessera_batch_push_form(batch_, layout, form, tokens.data(), labels.empty() ? nullptr : labels.data(),
                                static_cast<int64_t>(tokens.size()), shifted ? 1 : 0, index.data(),
                                static_cast<int64_t>(index.size()), extent, &err);
    EXPECT_TRUE(status == TESSERA_OK || status == TESSERA_E_ARGUMENT) << err.message;
    return status == TESSERA_OK ? "" : err.message;
  }
  V last(int32_t array) {
    int64_t count = 0;
    EXPECT_EQ(tessera_batch_count(batch_, &count, nullptr), TESSERA_OK);
    V out(64);
    size_t length = 0;
    EXPECT_EQ(tessera_batch_get_array(batch_, count - 1, array, out.data(), out.size(), &length, nullptr),
              TESSERA_OK);
    out.resize(length);
    return out;
  }

  tessera_batch batch_{0};
  tessera_config layout_{0};
};

// Two documents, 5 6 7 and 8 9, with a place of padding each: every form tells the same batch.
TEST_F(BatchForms, AllTellTheSameDocuments) {
  const V tokens = {5, 6, 7, 0, 8, 9, 0, 0};
  const struct {
    int32_t form;
    V index;
    int64_t extent;
  } forms[] = {{TESSERA_BATCH_FORM_ROWS, {3, 2}, 0},
               {TESSERA_BATCH_FORM_SEGMENTS, {1, 1, 1, 0, 2, 2, 0, 0}, 0},
               {TESSERA_BATCH_FORM_SEGMENTS, {1, 1, 1, 0, 1, 1, 0, 0}, 4},
               {TESSERA_BATCH_FORM_CU_SEQLENS, {0, 3, 5, 0, 4, 8}, 0}};
  for (const auto& form : forms) {
    SCOPED_TRACE(form.form);
    ASSERT_EQ(push(form.form, tokens, form.index, form.extent), "");
    EXPECT_EQ(last(TESSERA_BATCH_TOKENS), tokens);
    EXPECT_EQ(last(TESSERA_BATCH_LABELS), (V{6, 7, -100, -100, 9, -100, -100, -100}));
    EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS), (V{0, 3, 5}));
    EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS_PADDED), (V{0, 4, 8}));
    EXPECT_EQ(last(TESSERA_BATCH_POSITIONS), (V{0, 1, 2, 3, 0, 1, 2, 3}));
    EXPECT_EQ(last(TESSERA_BATCH_SEGMENTS), (V{1, 1, 1, 0, 2, 2, 0, 0}));
  }
  // Position ids tell no padding but that at the end.
  ASSERT_EQ(push(TESSERA_BATCH_FORM_POSITIONS, {5, 6, 7, 8, 9, 0, 0}, {0, 1, 2, 0, 1, 0, 0}, 5), "");
  EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS), (V{0, 3, 5}));
  EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS_PADDED), (V{0, 3, 7}));
  EXPECT_EQ(last(TESSERA_BATCH_SEGMENTS), (V{1, 1, 1, 2, 2, 0, 0}));
  ASSERT_EQ(push(TESSERA_BATCH_FORM_POSITIONS, {5, 6, 7, 8, 9, 0, 0}, {0, 1, 2, 0, 1, 0, 0}), "");
  EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS), (V{0, 3, 5, 6, 7})) << "without being told, zeros are documents";
  ASSERT_EQ(push(TESSERA_BATCH_FORM_CU_SEQLENS, {5, 6, 7, 8, 9}, {0, 3, 5}), "");
  EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS_PADDED), (V{0, 3, 5}));
}

TEST_F(BatchForms, LabelsComeInEitherPlaceAndNeverCrossABorder) {
  const V tokens = {5, 6, 7, 0, 8, 9, 0, 0};
  const V wanted = {6, -100, -100, -100, 9, -100, -100, -100};
  ASSERT_EQ(push(TESSERA_BATCH_FORM_ROWS, tokens, {3, 2}, 0, {5, 6, -100, 1, 8, 9, 1, 1}), "");
  EXPECT_EQ(last(TESSERA_BATCH_LABELS), wanted) << "labels on padding, and of first tokens, count nothing";
  ASSERT_EQ(push(TESSERA_BATCH_FORM_ROWS, tokens, {3, 2}, 0, wanted, true), "");
  EXPECT_EQ(last(TESSERA_BATCH_LABELS), wanted);
  ASSERT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6, 7, 8, 9}, {3, 2}, 0, {6, 7, 4, 9, -100}, true), "");
  EXPECT_EQ(last(TESSERA_BATCH_LABELS), (V{6, 7, 4, 9, -100}))
      << "a document cut in two keeps the label at the cut";
  int64_t n_tokens = 0;
  int64_t n_labels = 0;
  ASSERT_EQ(tessera_batch_count_tokens(batch_, &n_tokens, &n_labels, nullptr), TESSERA_OK);
  EXPECT_EQ(n_labels, 2 + 2 + 4);
}

TEST_F(BatchForms, TheLayoutAlignsDocumentsAndPadsTheRow) {
  set("data.pad_multiple", "3");
  ASSERT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6, 7, 8, 9}, {3, 2}, 0, {}, false, layout_), "");
  EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS_PADDED), (V{0, 3, 6}));
  set("parallel.cp", "2");
  EXPECT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6, 7, 8, 9}, {3, 2}, 0, {}, false, layout_), "");
  EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS_PADDED), (V{0, 3, 6})) << "cp alone asks for nothing";
  set("data.pad_cp", "true");
  set("data.pad_rows", "yes");
  set("data.seq_len", "36");
  set("data.pad_token", "11");
  ASSERT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6, 7, 8, 9}, {3, 2}, 0, {}, false, layout_), "");
  EXPECT_EQ(last(TESSERA_BATCH_CU_SEQLENS_PADDED), (V{0, 12, 36})) << "lcm(2*2, 3), and the row's end";
  EXPECT_EQ(last(TESSERA_BATCH_TOKENS)[35], 11);
  set("data.seq_len", "32");
  EXPECT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6, 7, 8, 9}, {3, 2}, 0, {}, false, layout_),
            "capacity=32 is not a multiple of the alignment 12 (lcm of 4 for cp=2 and multiple=3)");
  set("data.seq_len", "12");
  EXPECT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6, 7, 8, 9}, {3, 2}, 0, {}, false, layout_),
            "a document of 2 tokens (12 aligned) does not fit into the 0 tokens left of capacity=12");
  EXPECT_EQ(push(TESSERA_BATCH_FORM_ROWS, {5, 6, 7, 0, 8, 9, 0, 0}, {3, 2}, 0, {}, false, layout_),
            "document 0 ends, with its padding, at 4, which is no multiple of the alignment 12");
}

TEST_F(BatchForms, RowsComeOut) {
  ASSERT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6, 7, 8, 9}, {3, 2}, 0, {-100, 6, 7, 8, 9}), "");
  int64_t buf[64];
  size_t length = 0;
  ASSERT_EQ(tessera_batch_get_rows(batch_, 0, 0, 1, buf, 64, &length, nullptr), TESSERA_OK);
  EXPECT_EQ(V(buf, buf + length), (V{5,    6, 7, 8,    9, 1,     //
                                     -100, 6, 7, -100, 9, -100,  //
                                     0,    1, 2, 0,    1, 0,     //
                                     1,    1, 1, 1,    1, 0}));
  ASSERT_EQ(tessera_batch_get_rows(batch_, 0, 4, 1, buf, 64, &length, nullptr), TESSERA_OK);
  EXPECT_EQ(V(buf, buf + 8), (V{5, 6, 7, 1, 8, 9, 1, 1}));
  // What comes out goes in again.
  V mask(buf + 24, buf + 32);
  ASSERT_EQ(push(TESSERA_BATCH_FORM_ROWS, V(buf, buf + 8), {3, 2}, 0, V(buf + 8, buf + 16)), "");
  EXPECT_EQ(last(TESSERA_BATCH_LABELS), (V{6, 7, -100, -100, 9, -100, -100, -100}));
  EXPECT_EQ(mask, (V{1, 1, 1, 0, 1, 1, 0, 0}));

  tessera_error err;
  length = 0;
  EXPECT_EQ(tessera_batch_get_rows(batch_, 0, 4, 1, nullptr, 0, &length, &err), TESSERA_E_BUFFER);
  EXPECT_EQ(length, 32U);
  EXPECT_EQ(tessera_batch_get_rows(batch_, 0, 2, 1, buf, 64, &length, &err), TESSERA_E_ARGUMENT);
  EXPECT_STREQ(err.message, "a document of 3 tokens does not fit into row_length=2");
  EXPECT_EQ(tessera_batch_get_rows(batch_, 0, int64_t{1} << 40, 1, buf, 64, &length, &err),
            TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_batch_get_rows(batch_, 0, -1, 1, buf, 64, &length, &err), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_batch_get_rows(batch_, 7, 4, 1, buf, 64, &length, &err), TESSERA_E_ARGUMENT);
  ASSERT_EQ(push(TESSERA_BATCH_FORM_LENGTHS, {5, 6}, {2}, 0, {6, 7}, true), "");
  EXPECT_EQ(tessera_batch_get_rows(batch_, 2, 4, 1, buf, 64, &length, &err), TESSERA_E_ARGUMENT);
  EXPECT_STREQ(err.message, "document 0 has a label after its last token, which padded rows cannot hold");
}

TEST_F(BatchForms, WhatIsNoFormIsNamed) {
  const V tokens = {5, 6, 7, 8};
  const auto refused = [&](int32_t form, const V& index, int64_t extent, const std::string& part) {
    const std::string message = push(form, tokens, index, extent);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refused(9, {4}, 0, "form=9 is not a tessera_batch_form");
  refused(TESSERA_BATCH_FORM_LENGTHS, {4}, 4, "extent=4 must be 0");
  refused(TESSERA_BATCH_FORM_LENGTHS, {3}, 0, "lengths sum to 3");
  refused(TESSERA_BATCH_FORM_LENGTHS, {4, INT64_MAX}, 0, "lengths[1]=9223372036854775807");
  refused(TESSERA_BATCH_FORM_ROWS, {2, 3}, 0, "lengths[1]=3 is not between 1 and 2");
  refused(TESSERA_BATCH_FORM_ROWS, {2, 0}, 0, "lengths[1]=0");
  refused(TESSERA_BATCH_FORM_ROWS, {2, 2, 2}, 0, "are not n_index=3 rows");
  refused(TESSERA_BATCH_FORM_POSITIONS, {0, 1, 3, 4}, 0, "position_ids[2]=3 neither continues");
  refused(TESSERA_BATCH_FORM_POSITIONS, {1, 2, 3, 4}, 0, "position_ids[0]=1");
  refused(TESSERA_BATCH_FORM_POSITIONS, {0, 1, 2}, 0, "n_index=3 position ids");
  refused(TESSERA_BATCH_FORM_POSITIONS, {0, 1, 2, 3}, 5, "real_tokens=5");
  refused(TESSERA_BATCH_FORM_POSITIONS, {0, 1, 2, 3}, -1, "extent=-1 must not be negative");
  refused(TESSERA_BATCH_FORM_SEGMENTS, {0, 1, 1, 1}, 0, "row 0 begins with padding");
  refused(TESSERA_BATCH_FORM_SEGMENTS, {1, 1, 1, 1}, 3, "extent=3 does not divide n_tokens=4");
  refused(TESSERA_BATCH_FORM_CU_SEQLENS, {0}, 0, "n_index=1");
  refused(TESSERA_BATCH_FORM_CU_SEQLENS, {0, 5}, 0, "cu_seqlens_padded ends with 5");
  refused(TESSERA_BATCH_FORM_CU_SEQLENS, {0, 3, 2, 4}, 0, "is not between 3 and");
  refused(TESSERA_BATCH_FORM_CU_SEQLENS, {1, 4}, 0, "must begin with 0");
  refused(TESSERA_BATCH_FORM_CU_SEQLENS, {0, 3, 4, 0, 1, 4}, 0,
          "document 0 of 3 tokens does not fit into its 1");
  refused(TESSERA_BATCH_FORM_CU_SEQLENS, {0, INT64_MIN, 4, 0, 1, 4}, 0, "is not between");
  EXPECT_NE(push(TESSERA_BATCH_FORM_ROWS, {5, -6}, {2}).find("-6"), std::string::npos);
  EXPECT_NE(push(TESSERA_BATCH_FORM_ROWS, tokens, {4}, 0, {}, true).find("labels is null"),
            std::string::npos);
  EXPECT_NE(push(TESSERA_BATCH_FORM_ROWS, tokens, {4}, 0, {5, 6, -7, 8}).find("-7"), std::string::npos);
  int64_t count = -1;
  ASSERT_EQ(tessera_batch_count(batch_, &count, nullptr), TESSERA_OK);
  EXPECT_EQ(count, 0) << "nothing of a refused form came in";
}

}  // namespace
