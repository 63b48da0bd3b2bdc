// tessera/tokenizer.h and tessera/pack.h
#include "data/tokenizer.h"

#include <mutex>
#include <nlohmann/json.hpp>

#include "core/json_depth.h"
#include "data/chat.h"
#include "data/packed_batch.h"
#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::ChatTemplate;
using tessera::Tokenizer;

namespace {

struct TokenizerObject {
  static constexpr auto kKind = TESSERA_KIND_TOKENIZER;
  explicit TokenizerObject(std::shared_ptr<const Tokenizer> opened) : tokenizer(std::move(opened)) {}

  /// The checkpoint's template, compiled when it is first asked for. Throws not_found when there is none.
  const ChatTemplate& chat() {
    const std::lock_guard lock(mutex);
    if (!chat_template) chat_template = std::make_unique<ChatTemplate>(tokenizer, tessera::ChatOptions{});
    return *chat_template;
  }

  const std::shared_ptr<const Tokenizer> tokenizer;
  std::mutex mutex;
  std::unique_ptr<ChatTemplate> chat_template;
};

nlohmann::ordered_json parse_conversation(const char* text) {
  tessera::check_json_depth(text);
  auto conversation = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  TESSERA_CHECK(!conversation.is_discarded(), format, "conversation is not JSON");
  return conversation;
}

}  // namespace

tessera_status tessera_tokenizer_open(const char* directory, tessera_tokenizer* out_tokenizer,
                                      tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(directory);
    TESSERA_NOT_NULL(out_tokenizer);
    TESSERA_CHECK(*directory != '\0', argument, "directory is empty");
    give(std::make_shared<TokenizerObject>(Tokenizer::open(directory)), out_tokenizer);
  });
}

tessera_status tessera_tokenizer_destroy(tessera_tokenizer tokenizer) {
  return destroy<TokenizerObject>(tokenizer);
}

tessera_status tessera_tokenizer_count(tessera_tokenizer tokenizer, int64_t* out_count, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_count);
    *out_count = find<TokenizerObject>(tokenizer, "tokenizer")->tokenizer->vocab_size();
  });
}

tessera_status tessera_tokenizer_encode(tessera_tokenizer tokenizer, const char* text, size_t bytes,
                                        int32_t add_special, int64_t* buf, size_t cap, size_t* out_len,
                                        tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(text);
    check_buffer(buf, cap, out_len);
    const auto object = find<TokenizerObject>(tokenizer, "tokenizer");
    const bool special = flag_in(add_special, "add_special");
    write_array(object->tokenizer->encode({text, bytes}, special), buf, cap, out_len);
  });
}

tessera_status tessera_tokenizer_encode_batch(tessera_tokenizer tokenizer, const char* text, size_t bytes,
                                              const int64_t* text_ends, int64_t n_texts, int32_t add_special,
                                              int64_t* out_ends, int64_t* buf, size_t cap, size_t* out_len,
                                              tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(text);
    TESSERA_NOT_NULL(text_ends);
    TESSERA_NOT_NULL(out_ends);
    check_buffer(buf, cap, out_len);
    const auto object = find<TokenizerObject>(tokenizer, "tokenizer");
    const bool special = flag_in(add_special, "add_special");
    TESSERA_CHECK(n_texts >= 0 && n_texts <= INT32_MAX, argument, "n_texts=", n_texts, " is out of range");
    std::vector<std::string_view> texts;
    int64_t begin = 0;
    for (int64_t i = 0; i < n_texts; ++i) {
      TESSERA_CHECK(text_ends[i] >= begin && static_cast<size_t>(text_ends[i]) <= bytes, argument,
                    "text_ends[", i, "]=", text_ends[i], " is not within ", begin, "..", bytes);
      texts.emplace_back(text + begin, static_cast<size_t>(text_ends[i] - begin));
      begin = text_ends[i];
    }
    TESSERA_CHECK(static_cast<size_t>(begin) == bytes, argument, "the texts end at ", begin, " of ", bytes,
                  " bytes");
    std::vector<int32_t> all;
    const auto encoded = object->tokenizer->encode_batch(texts, special);
    for (size_t i = 0; i < encoded.size(); ++i) {
      all.insert(all.end(), encoded[i].begin(), encoded[i].end());
      out_ends[i] = static_cast<int64_t>(all.size());
    }
    write_array(all, buf, cap, out_len);
  });
}

tessera_status tessera_tokenizer_decode(tessera_tokenizer tokenizer, const int64_t* ids, int64_t n_ids,
                                        int32_t skip_special, char* buf, size_t cap, size_t* out_len,
                                        tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(ids);
    check_buffer(buf, cap, out_len);
    const auto object = find<TokenizerObject>(tokenizer, "tokenizer");
    TESSERA_CHECK(n_ids >= 0 && n_ids <= INT32_MAX, argument, "n_ids=", n_ids, " is out of range");
    const bool skip = flag_in(skip_special, "skip_special");
    std::vector<int32_t> narrow;
    for (int64_t i = 0; i < n_ids; ++i) {
      TESSERA_CHECK(ids[i] >= 0 && ids[i] <= INT32_MAX, argument, "ids[", i, "]=", ids[i],
                    " is not a token id");
      narrow.push_back(static_cast<int32_t>(ids[i]));
    }
    write_text(object->tokenizer->decode(narrow, skip), buf, cap, out_len);
  });
}

tessera_status tessera_tokenizer_get_chat_text(tessera_tokenizer tokenizer, const char* conversation,
                                               int32_t add_generation_prompt, char* buf, size_t cap,
                                               size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(conversation);
    check_buffer(buf, cap, out_len);
    const auto object = find<TokenizerObject>(tokenizer, "tokenizer");
    const bool prompt = flag_in(add_generation_prompt, "add_generation_prompt");
    write_text(object->chat().render(parse_conversation(conversation), prompt), buf, cap, out_len);
  });
}

tessera_status tessera_tokenizer_encode_chat(tessera_tokenizer tokenizer, const char* conversation,
                                             int64_t* tokens, int64_t* labels, size_t cap, size_t* out_len,
                                             tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(conversation);
    TESSERA_NOT_NULL(out_len);
    TESSERA_CHECK(tokens != nullptr || cap == 0, argument, "tokens is null but cap=", cap);
    TESSERA_CHECK(labels != nullptr || cap == 0, argument, "labels is null but cap=", cap);
    const auto object = find<TokenizerObject>(tokenizer, "tokenizer");
    const tessera::ChatTokens chat = object->chat().tokenize(parse_conversation(conversation));
    std::vector<int64_t> targets;
    for (size_t i = 0; i < chat.ids.size(); ++i) {
      targets.push_back(chat.train[i] ? chat.ids[i] : tessera::kIgnoredLabel);
    }
    write_array(chat.ids, tokens, cap, out_len);
    write_array(targets, labels, cap, out_len);
  });
}
