// The mask of a rendered conversation, from byte ranges to tokens.
#include "data/chat_mask.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace tessera {

EosPolicy parse_eos_policy(const std::string& name) {
  static const std::map<std::string, EosPolicy> names = {{"turn", EosPolicy::turn},
                                                         {"all", EosPolicy::all},
                                                         {"last", EosPolicy::last},
                                                         {"none", EosPolicy::none},
                                                         {"as_tagged", EosPolicy::as_tagged}};
  const auto it = names.find(name);
  TESSERA_CHECK(it != names.end(), argument, "eos policy '", name,
                "' is none of turn, all, last, none, as_tagged");
  return it->second;
}

void Rendering::read(const std::vector<RenderEvent>& events, size_t messages) {
  turns.assign(messages, {});
  generations.clear();
  struct Open {
    int64_t loop = -1;
    int64_t message = -1;  // -1: nothing is open
    int64_t begin = 0;
  };
  Open turn;
  std::vector<Open> blocks;  // generation blocks, innermost last
  const auto close_turn = [&](int64_t end) {
    if (turn.message >= 0 && turn.message < static_cast<int64_t>(messages) && end > turn.begin) {
      turns[turn.message].push_back({turn.begin, end});
    }
    turn.message = -1;
  };
  for (const RenderEvent& event : events) {
    // Inside of a turn a template may run over the messages again, to look something up: not turns of their
    // own.
    const bool inner = turn.message >= 0 && event.kind != RenderEvent::generation && event.id != turn.loop;
    if (inner) continue;
    if (event.kind == RenderEvent::turn) {
      close_turn(event.at);
      turn = {event.id, event.message, event.at};
    } else if (event.kind == RenderEvent::loop_end) {
      close_turn(event.at);
    } else if (event.id == 1) {
      blocks.push_back({-1, turn.message, event.at});
    } else if (!blocks.empty()) {
      const Open open = blocks.back();
      blocks.pop_back();
      if (event.at > open.begin) generations.push_back({{open.begin, event.at}, open.message});
    }
  }
  close_turn(static_cast<int64_t>(text.size()));
}

std::vector<bool> trained_messages(const std::vector<MessageRule>& rules, const MaskOptions& options) {
  std::vector<bool> trained(rules.size());
  size_t last = rules.size();
  for (size_t i = 0; i < rules.size(); ++i) {
    const bool by_role = std::find(options.train_roles.begin(), options.train_roles.end(), rules[i].role) !=
                         options.train_roles.end();
    trained[i] = rules[i].train == MessageRule::Train::yes ||
                 (rules[i].train == MessageRule::Train::by_role && by_role);
    if (trained[i]) last = i;
  }
  if (options.last_turn_only) {
    for (size_t i = 0; i < rules.size(); ++i) trained[i] = i == last;
  }
  return trained;
}

namespace {

/// Tokens are in text order, so the first that ends behind a byte is found by bisection.
size_t first_token_behind(const Encoding& encoding, int64_t byte) {
  const auto it = std::partition_point(encoding.offsets.begin(), encoding.offsets.end(),
                                       [&](const TextSpan& span) { return span.end <= byte; });
  return static_cast<size_t>(it - encoding.offsets.begin());
}

/// The tokens [first, last) that share a byte with `span`, and those of no bytes between them.
std::pair<size_t, size_t> tokens_of(const Encoding& encoding, TextSpan span) {
  const size_t first = first_token_behind(encoding, span.begin);
  size_t last = first;
  for (size_t i = first; i < encoding.offsets.size() && encoding.offsets[i].begin < span.end; ++i) {
    if (encoding.offsets[i].begin < encoding.offsets[i].end) last = i + 1;
  }
  return {first, last};
}

bool is_blank(const std::string& text, int64_t begin, int64_t end) {
  return std::all_of(text.begin() + begin, text.begin() + end,
                     [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
}

}  // namespace

int64_t turn_end_token(const std::string& text, const Encoding& encoding, TextSpan turn,
                       const std::function<bool(int32_t id)>& ends) {
  const auto [first, last] = tokens_of(encoding, turn);
  for (size_t i = last; i-- > first;) {
    const TextSpan& span = encoding.offsets[i];
    if (span.begin < turn.begin || span.end > turn.end) continue;
    if (!is_blank(text, span.end, turn.end)) return -1;
    if (ends(encoding.ids[i])) return static_cast<int64_t>(i);
    if (!is_blank(text, span.begin, span.end)) return -1;
  }
  return -1;
}

std::vector<uint8_t> train_mask(const Rendering& rendering, const Encoding& encoding,
                                const std::vector<MessageRule>& rules, const MaskOptions& options,
                                bool tagged, const std::vector<int32_t>& turn_ends,
                                const std::function<TextSpan(TextSpan turn, size_t message)>& content_of) {
  std::vector<uint8_t> mask(encoding.ids.size(), 0);
  const auto fill = [&](size_t first, size_t last, uint8_t value) {
    for (size_t i = first; i < last; ++i) mask[i] = value;
  };
  const auto ends = [&](int32_t id) {
    return std::find(turn_ends.begin(), turn_ends.end(), id) != turn_ends.end();
  };
  const std::vector<bool> trained = trained_messages(rules, options);

  // Messages whose content the tags decide on, and those of them that have a block.
  std::vector<bool> by_tags(rules.size()), has_block(rules.size());
  if (tagged) {
    // What stands outside of every turn has no message to ask; it is the assistant's by its tag.
    const bool assistant = !options.last_turn_only &&
                           std::find(options.train_roles.begin(), options.train_roles.end(), "assistant") !=
                               options.train_roles.end();
    for (const Rendering::Span& span : rendering.generations) {
      const bool train = span.message < 0 ? assistant : trained[span.message];
      if (!train) continue;
      const auto [first, last] = tokens_of(encoding, span.bytes);
      fill(first, last, 1);
      if (span.message >= 0) by_tags[span.message] = has_block[span.message] = true;
    }
    // An assistant turn without a block is one that the template keeps out on purpose.
    for (size_t i = 0; i < rules.size(); ++i) by_tags[i] = by_tags[i] || rules[i].role == "assistant";
  }

  int64_t last_end = -1;
  for (size_t i = 0; i < rules.size(); ++i) {
    for (const TextSpan& turn : rendering.turns[i]) {
      const int64_t end = turn_end_token(rendering.text, encoding, turn, ends);
      if (trained[i] && !by_tags[i]) {
        const auto [first, last] = tokens_of(encoding, content_of(turn, i));
        fill(first, end >= 0 ? static_cast<size_t>(end) + 1 : last, 1);
      }
      if (end < 0) continue;
      const bool trained_content = trained[i] && (!by_tags[i] || has_block[i]);
      if (options.eos == EosPolicy::none || options.eos == EosPolicy::last) mask[end] = 0;
      if (options.eos == EosPolicy::all || (options.eos == EosPolicy::turn && trained_content)) mask[end] = 1;
      if (trained_content) last_end = end;
    }
  }
  if (options.eos == EosPolicy::last && last_end >= 0) mask[last_end] = 1;
  return mask;
}

}  // namespace tessera
