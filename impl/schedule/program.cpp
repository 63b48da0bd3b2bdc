// Programs as text: printing, and reading back what was printed.
#include "schedule/program.h"

#include <array>
#include <charconv>
#include <sstream>

#include "core/error.h"

namespace tessera {
namespace {

constexpr int kLimit =
    1 << 24;  // no program has more units or micro-batches; keeps hostile text from huge tables

// Indexed by Op.
constexpr std::array<std::string_view, 24> kNames = {
    "gather",        "wait_gather",    "release",         "forward",       "recompute",     "loss",
    "backward",      "backward_input", "backward_weight", "reduce",        "wait_reduce",   "reduce_replicas",
    "wait_replicas", "send_forward",   "recv_forward",    "send_backward", "recv_backward", "offload_shard",
    "fetch_shard",   "grad_norm",      "optimizer",       "reshard",       "evaluate",      "logits"};
static_assert(kNames.size() == static_cast<size_t>(Op::logits) + 1);

bool sends(Op op) {
  return op == Op::send_forward || op == Op::send_backward;
}
bool receives(Op op) {
  return op == Op::recv_forward || op == Op::recv_backward;
}

// Reads the number after `prefix` ("u3" -> 3).
int number_after(std::string_view word, std::string_view prefix, int line) {
  int value = -1;
  const bool starts = word.substr(0, prefix.size()) == prefix;
  const char* begin = word.data() + (starts ? prefix.size() : 0);
  const char* end = word.data() + word.size();
  const auto [stop, status] = std::from_chars(begin, end, value);
  TESSERA_CHECK(starts && status == std::errc() && stop == end && value >= 0 && value < kLimit, format,
                "program line ", line, ": \"", word, "\" is not ", prefix, "<number>");
  return value;
}

Op parse_op(std::string_view word, int line) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == word) return static_cast<Op>(i);
  }
  throw Error(Code::format, cat("program line ", line, ": unknown instruction \"", word, "\""));
}

Instruction parse_instruction(const std::vector<std::string>& words, int line) {
  Instruction instruction{parse_op(words[0], line)};
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "to" || word == "from") {
      TESSERA_CHECK(i + 1 < words.size(), format, "program line ", line, ": nothing after \"", word, "\"");
      instruction.peer = number_after(words[++i], "", line);
    } else if (word.rfind("mb", 0) == 0) {
      instruction.microbatch = number_after(word, "mb", line);
    } else {
      instruction.unit = number_after(word, "u", line);
    }
  }
  TESSERA_CHECK((sends(instruction.op) || receives(instruction.op)) == (instruction.peer >= 0), format,
                "program line ", line, ": ", words[0],
                instruction.peer >= 0 ? " takes no peer" : " needs a peer");
  return instruction;
}

}  // namespace

std::string_view op_name(Op op) {
  return kNames[static_cast<size_t>(op)];
}

std::string to_text(const Instruction& instruction) {
  std::string text(op_name(instruction.op));
  if (instruction.unit >= 0) text += cat(" u", instruction.unit);
  if (instruction.microbatch >= 0) text += cat(" mb", instruction.microbatch);
  if (instruction.peer >= 0) text += cat(sends(instruction.op) ? " to " : " from ", instruction.peer);
  return text;
}

std::string to_text(const Program& program) {
  std::string text = cat("program units=", program.units, " microbatches=", program.microbatches, "\n");
  for (const Instruction& instruction : program.instructions) text += to_text(instruction) + "\n";
  return text;
}

Program parse_program(const std::string& text) {
  Program program;
  std::istringstream lines(text);
  std::string line;
  bool header = false;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream stream(line.substr(0, line.find('#')));
    std::vector<std::string> words;
    for (std::string word; stream >> word;) words.push_back(word);
    if (words.empty()) continue;
    if (header) {
      program.instructions.push_back(parse_instruction(words, number));
      continue;
    }
    TESSERA_CHECK(words.size() == 3 && words[0] == "program", format, "program line ", number,
                  ": expected \"program units=<number> microbatches=<number>\"");
    program.units = number_after(words[1], "units=", number);
    program.microbatches = number_after(words[2], "microbatches=", number);
    header = true;
  }
  TESSERA_CHECK(header, format, "the program text is empty");
  return program;
}

}  // namespace tessera
