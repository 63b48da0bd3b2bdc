// The conversion from a SentencePiece model: a reader for the few protobuf fields that matter, and the JSON
// that makes the tokenizers crate split text the same way.
//
// Linking libsentencepiece instead would bring a second protobuf beside the one inside LibTorch, for a format
// that is three messages; and every encoder, offset and mask below stays one code path.
#include "data/sentencepiece.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <vector>

#include "core/error.h"

namespace tessera {

namespace {

using Json = nlohmann::json;

constexpr const char* kBlank = "\xE2\x96\x81";  // U+2581, which stands for a space
constexpr size_t kLongestPiece = 1024;

/// Walks the fields of one protobuf message. Throws on a field that runs over the end.
class Fields {
 public:
  Fields(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  bool next() {
    if (bytes_.empty()) return false;
    const uint64_t key = varint();
    field_ = key >> 3;
    switch (key & 7) {
      case 0:
        number_ = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        text_ = take(varint());
        break;
      case 5:
        text_ = take(4);
        break;
      default:
        bad();
    }
    return true;
  }

  uint64_t field() const { return field_; }
  int64_t number() const { return static_cast<int64_t>(number_); }
  std::string_view text() const { return text_; }
  float real() const {
    float value = 0;
    if (text_.size() != sizeof value) bad();
    std::memcpy(&value, text_.data(), sizeof value);
    return value;
  }

 private:
  [[noreturn]] void bad() const { throw Error(Code::format, cat(name_, " is not a sentencepiece model")); }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    bad();
  }

  std::string_view take(uint64_t size) {
    if (size > bytes_.size()) bad();
    const std::string_view part = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return part;
  }

  std::string_view bytes_;
  const std::string& name_;
  uint64_t field_ = 0;
  uint64_t number_ = 0;
  std::string_view text_;
};

struct Piece {
  std::string text;
  float score = 0;
  int64_t type = 1;
};
enum PieceType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

enum ModelType : int64_t { kUnigram = 1, kBpe = 2 };  // 3 is word, 4 is char

/// The fields of ModelProto that bear on encoding, with protobuf's defaults.
struct Model {
  std::vector<Piece> pieces;
  int64_t model_type = kUnigram;
  bool byte_fallback = false;
  bool blank_as_suffix = false;
  int64_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;
  std::string charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_blanks = true;
};

Model parse(std::string_view bytes, const std::string& name) {
  Model model;
  for (Fields top(bytes, name); top.next();) {
    if (top.field() == 1) {
      Piece piece;
      for (Fields f(top.text(), name); f.next();) {
        if (f.field() == 1) piece.text = std::string(f.text());
        if (f.field() == 2) piece.score = f.real();
        if (f.field() == 3) piece.type = f.number();
      }
      TESSERA_CHECK(piece.text.size() <= kLongestPiece, format, name, ": piece ", model.pieces.size(),
                    " has ", piece.text.size(), " bytes, more than ", kLongestPiece);
      model.pieces.push_back(std::move(piece));
    } else if (top.field() == 2) {
      for (Fields f(top.text(), name); f.next();) {
        if (f.field() == 3) model.model_type = f.number();
        if (f.field() == 24) model.blank_as_suffix = f.number() != 0;
        if (f.field() == 35) model.byte_fallback = f.number() != 0;
        // Negative ids are written as ten-byte varints of the 64-bit value.
        if (f.field() == 40) model.unk_id = static_cast<int32_t>(f.number());
        if (f.field() == 41) model.bos_id = static_cast<int32_t>(f.number());
        if (f.field() == 42) model.eos_id = static_cast<int32_t>(f.number());
        if (f.field() == 43) model.pad_id = static_cast<int32_t>(f.number());
      }
    } else if (top.field() == 3) {
      for (Fields f(top.text(), name); f.next();) {
        if (f.field() == 2) model.charsmap = std::string(f.text());
        if (f.field() == 3) model.add_dummy_prefix = f.number() != 0;
        if (f.field() == 4) model.remove_extra_blanks = f.number() != 0;
      }
    }
  }
  TESSERA_CHECK(!model.pieces.empty(), format, name, " is not a sentencepiece model");
  return model;
}

std::string base64(const std::string& bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

/// SentencePiece merges the pair whose piece has the best score, which for BPE is the piece of the lowest id.
/// The merges of a piece are all its splits into two pieces.
Json merges_of(const Model& model) {
  std::unordered_map<std::string_view, int64_t> ids;
  for (size_t i = 0; i < model.pieces.size(); ++i) ids.emplace(model.pieces[i].text, static_cast<int64_t>(i));
  struct Merge {
    float score;
    int64_t whole, left, right;
  };
  std::vector<Merge> merges;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const Piece& piece = model.pieces[i];
    if (piece.type != kNormal && piece.type != kUserDefined) continue;
    for (size_t cut = 1; cut < piece.text.size(); ++cut) {
      if ((static_cast<uint8_t>(piece.text[cut]) & 0xC0) == 0x80) continue;  // inside of a character
      const auto left = ids.find(std::string_view(piece.text).substr(0, cut));
      const auto right = ids.find(std::string_view(piece.text).substr(cut));
      if (left != ids.end() && right != ids.end()) {
        merges.push_back({piece.score, static_cast<int64_t>(i), left->second, right->second});
      }
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return a.score != b.score ? a.score > b.score : a.whole < b.whole;
  });
  Json list = Json::array();
  for (const Merge& m : merges)
    list.push_back(Json::array({model.pieces[m.left].text, model.pieces[m.right].text}));
  return list;
}

/// Llama's kind of model: text comes in as it is, and gets a dummy prefix. transformers has a way of its own
/// with these, which is kept to: no prefix where the text begins with a blank or follows a special token, and
/// user-defined symbols cut the text before it gets one. It reads no other kind as trained, so for those the
/// library that trained them is right.
bool like_llama(const Model& model) {
  return model.model_type == kBpe && model.charsmap.empty() && model.add_dummy_prefix &&
         !model.remove_extra_blanks;
}

/// What SentencePiece's normaliser does. Only U+0020 counts as a blank in front, U+2581 too at the end.
Json normalizer_json(const Model& model) {
  Json steps = Json::array();
  const auto replace = [&](const char* regex, const char* content) {
    steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", regex}}}, {"content", content}});
  };
  if (!model.charsmap.empty()) {
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64(model.charsmap)}});
  }
  if (model.remove_extra_blanks) {
    replace("\\A +", "");
    replace("[ \xE2\x96\x81]+\\z", "");
    replace(" {2,}", " ");
  }
  // Before the whole text, also where it begins with a blank, in front of which Metaspace puts nothing.
  if (model.add_dummy_prefix && !like_llama(model))
    steps.push_back({{"type", "Prepend"}, {"prepend", kBlank}});
  if (steps.empty()) return nullptr;
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

/// The user-defined symbols as one regular expression that prefers the longest.
std::string symbols_regex(const Model& model) {
  std::vector<std::string_view> symbols;
  for (const Piece& piece : model.pieces) {
    if (piece.type == kUserDefined && !piece.text.empty()) symbols.push_back(piece.text);
  }
  std::stable_sort(symbols.begin(), symbols.end(),
                   [](std::string_view a, std::string_view b) { return a.size() > b.size(); });
  std::string regex;
  for (const std::string_view symbol : symbols) {
    if (!regex.empty()) regex += '|';
    for (const char c : symbol) {
      if (std::string_view("\\^$.|?*+()[]{}-#&~/").find(c) != std::string_view::npos) regex += '\\';
      regex += c;
    }
  }
  return regex;
}

/// BPE never merges a user-defined symbol with its neighbours.
bool cuts_symbols(const Model& model) {
  return model.model_type == kBpe && !like_llama(model) &&
         std::any_of(model.pieces.begin(), model.pieces.end(),
                     [](const Piece& piece) { return piece.type == kUserDefined && !piece.text.empty(); });
}

Json pre_tokenizer_json(const Model& model) {
  const Json blanks = {{"type", "Metaspace"},
                       {"replacement", kBlank},
                       {"prepend_scheme", like_llama(model) ? "first" : "never"},
                       {"split", false}};
  if (!cuts_symbols(model)) return blanks;
  const Json cut = {{"type", "Split"},
                    {"pattern", {{"Regex", symbols_regex(model)}}},
                    {"behavior", "Isolated"},
                    {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({blanks, cut})}};
}

/// Unigram pieces with the scores that SentencePiece uses: log probabilities, but one that beats them for
/// symbols of the user's, and one that loses for what never stands for text.
Json unigram_vocab(const Model& model) {
  constexpr double kAlways = -0.1, kNever = -1e4;
  Json vocab = Json::array();
  for (const Piece& piece : model.pieces) {
    const double score = piece.type == kUserDefined ? kAlways : piece.type == kByte ? kNever : piece.score;
    vocab.push_back(Json::array({piece.text, score}));
  }
  return vocab;
}

Json model_json(const Model& model, const std::string& name) {
  if (model.model_type == kBpe) {
    Json vocab = Json::object();
    for (size_t i = 0; i < model.pieces.size(); ++i) {
      TESSERA_CHECK(vocab.emplace(model.pieces[i].text, i).second, format, name, " has the piece '",
                    model.pieces[i].text, "' twice");
    }
    return {{"type", "BPE"},
            {"unk_token", model.pieces[model.unk_id].text},
            {"fuse_unk", true},
            {"byte_fallback", model.byte_fallback},
            {"ignore_merges", cuts_symbols(model)},  // a symbol that was cut out has no merges
            {"vocab", vocab},
            {"merges", merges_of(model)}};
  }
  TESSERA_CHECK(model.model_type == kUnigram, unsupported, name, ": sentencepiece model type ",
                model.model_type, " is neither unigram (1) nor bpe (2)");
  return {{"type", "Unigram"},
          {"unk_id", model.unk_id},
          {"vocab", unigram_vocab(model)},
          {"byte_fallback", model.byte_fallback}};
}

}  // namespace

SentencePieceTokenizer convert_sentencepiece(std::string_view bytes, const std::string& name) {
  const Model model = parse(bytes, name);
  TESSERA_CHECK(!model.blank_as_suffix, unsupported, name, ": treat_whitespace_as_suffix is not supported");
  const auto count = static_cast<int64_t>(model.pieces.size());
  TESSERA_CHECK(model.unk_id >= 0 && model.unk_id < count, format, name, ": unk_id=", model.unk_id,
                " is not one of ", count, " pieces");
  const auto piece = [&](int64_t id) {
    return id >= 0 && id < count ? model.pieces[id].text : std::string();
  };

  Json added = Json::array();
  for (int64_t id = 0; id < count; ++id) {
    const int64_t type = model.pieces[id].type;
    const bool symbol = type == kUserDefined && like_llama(model);
    if (type != kControl && type != kUnknown && !symbol) continue;
    added.push_back({{"id", id},
                     {"content", model.pieces[id].text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type != kUserDefined}});
  }
  Json decoders = Json::array({{{"type", "Replace"}, {"pattern", {{"String", kBlank}}}, {"content", " "}},
                               {{"type", "ByteFallback"}},
                               {{"type", "Fuse"}}});
  if (model.add_dummy_prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  const Json document = {{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", added},
                         {"normalizer", normalizer_json(model)},
                         {"pre_tokenizer", pre_tokenizer_json(model)},
                         {"post_processor", nullptr},
                         {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
                         {"model", model_json(model, name)}};
  SentencePieceTokenizer result;
  try {
    result.tokenizer_json = document.dump();
  } catch (const Json::exception&) {
    throw Error(Code::format, cat(name, ": a piece is not utf-8"));
  }
  result.bos = piece(model.bos_id);
  result.eos = piece(model.eos_id);
  result.unk = piece(model.unk_id);
  result.pad = piece(model.pad_id);
  return result;
}

}  // namespace tessera
