// Text to token ids and back.
#ifndef TESSERA_CPP_TOKENIZER_HPP
#define TESSERA_CPP_TOKENIZER_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tessera/tokenizer.h"
#include "tessera/cpp/handle.hpp"

namespace tessera {
inline namespace cpp0 {

/// The tokenizer of a Hugging Face directory.
class Tokenizer : public detail::Handle<tessera_tokenizer, tessera_tokenizer_destroy> {
   public:
    explicit Tokenizer(const std::string &directory) { detail::call(tessera_tokenizer_open, directory.c_str(), out()); }
    std::int64_t count() const {
        std::int64_t count = 0;
        detail::call(tessera_tokenizer_count, Handle::get(), &count);
        return count;
    }
    std::vector<std::int64_t> encode(const std::string &text, bool add_special = true) const {
        return detail::read<std::vector<std::int64_t>>(0, tessera_tokenizer_encode, Handle::get(), text.data(),
                                                       text.size(), std::int32_t(add_special));
    }
    /// Many texts on many threads.
    std::vector<std::vector<std::int64_t>> encode_batch(const std::vector<std::string> &texts,
                                                        bool add_special = true) const {
        std::string all;
        std::vector<std::int64_t> text_ends, id_ends(texts.size() + 1);
        for (const std::string &text : texts) {
            all += text;
            text_ends.push_back(static_cast<std::int64_t>(all.size()));
        }
        text_ends.push_back(0);  // never empty, so that there is an address
        const std::vector<std::int64_t> ids = detail::read_guessed<std::vector<std::int64_t>>(
            all.size() / 2 + 64, 0, tessera_tokenizer_encode_batch, Handle::get(), all.data(), all.size(),
            static_cast<const std::int64_t *>(text_ends.data()), static_cast<std::int64_t>(texts.size()),
            std::int32_t(add_special), id_ends.data());
        std::vector<std::vector<std::int64_t>> out;
        std::int64_t begin = 0;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            out.emplace_back(ids.begin() + begin, ids.begin() + id_ends[i]);
            begin = id_ends[i];
        }
        return out;
    }
    std::string decode(const std::vector<std::int64_t> &ids, bool skip_special = false) const {
        static const std::int64_t nothing = 0;
        return detail::read_text(tessera_tokenizer_decode, Handle::get(), ids.empty() ? &nothing : ids.data(),
                                 static_cast<std::int64_t>(ids.size()), std::int32_t(skip_special));
    }
    /// A conversation (JSON) as the chat template prints it.
    std::string chat_text(const std::string &conversation, bool add_generation_prompt = false) const {
        return detail::read_text(tessera_tokenizer_get_chat_text, Handle::get(), conversation.c_str(),
                                 std::int32_t(add_generation_prompt));
    }
    /// A conversation as tokens and labels.
    std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> encode_chat(const std::string &conversation) const {
        std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> out;
        std::size_t length = 256;
        for (bool done = false; !done;) {
            out.first.resize(length);
            out.second.resize(length);
            done = detail::call_or(TESSERA_E_BUFFER, tessera_tokenizer_encode_chat, Handle::get(), conversation.c_str(),
                                   out.first.data(), out.second.data(), length, &length);
        }
        out.first.resize(length);
        out.second.resize(length);
        return out;
    }
};

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_TOKENIZER_HPP
