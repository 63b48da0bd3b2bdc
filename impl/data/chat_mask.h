// The mask of a rendered conversation: which tokens are targets, from the turns, the generation blocks and
// the rules.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

/// Whether the token that ends a turn is a target.
enum class EosPolicy {
  turn,      ///< after each trained turn (default)
  all,       ///< after every turn, trained or not
  last,      ///< after the last trained turn only
  none,      ///< never
  as_tagged  ///< exactly what the generation blocks hold, as transformers masks; without blocks the same as
             ///< turn
};

/// "turn", "all", "last", "none" or "as_tagged"; Error(argument) otherwise.
EosPolicy parse_eos_policy(const std::string& name);

struct MaskOptions {
  std::vector<std::string> train_roles = {"assistant"};
  bool last_turn_only = false;  ///< of the messages to train on, only the last
  EosPolicy eos = EosPolicy::turn;
};

/// What a message itself says of training.
struct MessageRule {
  enum class Train { by_role, yes, no };
  std::string role;
  Train train = Train::by_role;
};

/// One thing that the template machine noted while rendering, in order of text position.
struct RenderEvent {
  enum Kind : int64_t { generation = 0, turn = 1, loop_end = 2 };
  int64_t kind;
  int64_t id;  ///< of the loop, or 1 and 0 for a block's start and end
  int64_t message;
  int64_t at;  ///< byte of the text
};

/// The text of a conversation with the byte ranges found in it.
struct Rendering {
  struct Span {
    TextSpan bytes;
    int64_t message;  ///< -1: printed outside of any turn
  };
  std::string text;
  std::vector<std::vector<TextSpan>> turns;  ///< by message: what its turns printed, empty ranges left out
  std::vector<Span> generations;

  /// Sorts out the events of `messages` messages.
  void read(const std::vector<RenderEvent>& events, size_t messages);
};

/// Which messages are trained on.
std::vector<bool> trained_messages(const std::vector<MessageRule>& rules, const MaskOptions& options);

/// One per token, 1 for targets. `turn_ends` are ids that may end a turn; `content_of(turn, message)` tells
/// which part of an untagged turn is the message's own; it reaches to the turn's end token where there is
/// one. A token is a target when it shares a byte with a trained range.
std::vector<uint8_t> train_mask(const Rendering& rendering, const Encoding& encoding,
                                const std::vector<MessageRule>& rules, const MaskOptions& options,
                                bool tagged, const std::vector<int32_t>& turn_ends,
                                const std::function<TextSpan(TextSpan turn, size_t message)>& content_of);

/// The token that ends a turn: the last in `turn` whose id is one of `ends`, with nothing but blanks behind
/// it. Its index, or -1.
int64_t turn_end_token(const std::string& text, const Encoding& encoding, TextSpan turn,
                       const std::function<bool(int32_t id)>& ends);

}  // namespace tessera
