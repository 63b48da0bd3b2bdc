// tessera generate: what a model says, greedy or sampled, to single prompts or to a file of questions with
// answers.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands.h"
#include "job.h"

namespace cli {
namespace {

using Tokens = std::vector<int64_t>;
using Tokenizer = Handle<tessera_tokenizer, tessera_tokenizer_destroy>;

struct Question {
  std::string prompt;
  std::string expected;  ///< the completion of a file's row
  Tokens tokens;         ///< in place of a prompt
};

Tokens parse_tokens(const std::string& list) {
  Tokens tokens;
  std::stringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');) {
    size_t used = 0;
    try {
      tokens.push_back(std::stoll(part, &used));
    } catch (const std::exception&) {
    }
    if (used == 0 || used != part.size())
      throw Failure("--tokens " + list + ": '" + part + "' is not a token id");
  }
  return tokens;
}

/// Rows of a JSONL file with the fields that data.columns.prompt and data.columns.completion name.
std::vector<Question> read_rows(const Arguments& arguments, const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Failure("--file: cannot read " + path, TESSERA_E_IO);
  const std::string prompt = arguments.text("data.columns.prompt");
  const std::string completion = arguments.text("data.columns.completion");
  std::vector<Question> questions;
  long long number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty()) continue;
    const nlohmann::json row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object() || !row.contains(prompt) || !row[prompt].is_string())
      throw Failure(path + ":" + std::to_string(number) + ": no text field '" + prompt + "'",
                    TESSERA_E_FORMAT);
    Question question;
    question.prompt = row[prompt];
    if (row.contains(completion) && row[completion].is_string()) question.expected = row[completion];
    questions.push_back(question);
  }
  return questions;
}

std::vector<Question> read_questions(const Arguments& arguments) {
  std::vector<Question> questions;
  if (arguments.has("file")) questions = read_rows(arguments, arguments.option("file"));
  if (arguments.has("prompt"))
    for (const std::string& prompt : arguments.options.at("prompt")) questions.push_back({prompt, "", {}});
  if (arguments.has("tokens"))
    for (const std::string& list : arguments.options.at("tokens"))
      questions.push_back({"", "", parse_tokens(list)});
  if (questions.empty()) throw Failure("nothing to continue: give --prompt, --tokens or --file");
  return questions;
}

Tokens encode(const Tokenizer& tokenizer, const std::string& text, bool chat) {
  std::string whole = text;
  if (chat) {
    const std::string messages = nlohmann::json::array({{{"role", "user"}, {"content", text}}}).dump();
    whole = read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
      return tessera_tokenizer_get_chat_text(tokenizer.get(), messages.c_str(), 1, buf, cap, len, err);
    });
  }
  // A byte is at most one token, and a chat template writes the special tokens itself.
  Tokens tokens(whole.size() + 16);
  size_t count = 0;
  check(tessera_tokenizer_encode, tokenizer.get(), whole.data(), whole.size(), chat ? 0 : 1, tokens.data(),
        tokens.size(), &count);
  tokens.resize(count);
  return tokens;
}

std::string decode(const Tokenizer& tokenizer, const Tokens& tokens) {
  return read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
    return tessera_tokenizer_decode(tokenizer.get(), tokens.data(), static_cast<int64_t>(tokens.size()), 1,
                                    buf, cap, len, err);
  });
}

tessera_generate_options generate_options(const Arguments& arguments) {
  tessera_generate_options options{};
  tessera_generate_options_init(&options, sizeof options);
  options.max_new_tokens = arguments.integer("generate.max_new_tokens", 0);
  options.temperature = std::stod(arguments.text("generate.temperature"));
  options.top_p = std::stod(arguments.text("generate.top_p"));
  options.top_k = arguments.integer("generate.top_k", 0);
  options.seed = arguments.integer("train.seed", 0);
  return options;
}

std::string joined(const Tokens& tokens) {
  std::string text;
  for (const int64_t token : tokens) text += (text.empty() ? "" : ",") + std::to_string(token);
  return text;
}

void generate_rank(const Arguments& arguments, const Seat& seat, const std::vector<Question>& questions,
                   const Tokenizer& tokenizer) {
  const Setup setup = set_up(arguments, seat);
  const tessera_generate_options options = generate_options(arguments);
  const bool chat = arguments.has("chat"), speaks = seat.speaks() && !arguments.has("quiet");
  long long judged = 0, right = 0;
  for (const Question& question : questions) {
    const Tokens prompt =
        question.tokens.empty() ? encode(tokenizer, question.prompt, chat) : question.tokens;
    Tokens answer(options.max_new_tokens);
    size_t count = 0;
    check(tessera_trainer_generate, setup.trainer.get(), prompt.data(), static_cast<int64_t>(prompt.size()),
          &options, answer.data(), answer.size(), &count);
    answer.resize(count);
    if (!question.tokens.empty()) {
      if (speaks) std::printf("%s\n", joined(answer).c_str());
      continue;
    }
    const std::string text = decode(tokenizer, answer);
    if (!question.expected.empty()) {
      ++judged;
      right += text == question.expected;
    }
    if (speaks) std::printf("> %s\n%s\n", question.prompt.c_str(), text.c_str());
    if (speaks) std::fflush(stdout);
  }
  if (seat.speaks() && judged > 0) std::printf("%lld of %lld answers match exactly\n", right, judged);
}

}  // namespace

void generate(const Words& words) {
  const Arguments arguments = parse_arguments(
      words, {{"prompt", true}, {"tokens", true}, {"file", true}, {"chat", false}, {"quiet", false}});
  const std::vector<Question> questions = read_questions(arguments);
  Tokenizer tokenizer;
  bool needs_tokenizer = false;
  for (const Question& question : questions) needs_tokenizer |= question.tokens.empty();
  if (needs_tokenizer) {
    std::string directory = arguments.text("data.tokenizer");
    if (directory.empty()) directory = arguments.text("model.path");
    check(tessera_tokenizer_open, directory.c_str(), tokenizer.out());
  }
  run_ranks(arguments, [&](const Seat& seat) { generate_rank(arguments, seat, questions, tokenizer); });
}

}  // namespace cli
