// Encodes the lines of a file with a checkpoint's tokenizer, on one thread and on all, and renders and masks
// them as conversations. Usage: tokenizer_bench <tokenizer directory> <text file> <threads>. Prints one JSON
// line.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/chat.h"
#include "data/tokenizer.h"

using namespace tessera;

namespace {

/// The best of five, in seconds: the machine is shared.
double time_of(const std::function<void()>& work) {
  double best = 1e30;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s <tokenizer directory> <text file> <threads>\n", argv[0]);
    return 2;
  }
  const auto tokenizer = Tokenizer::open(argv[1]);
  const int threads = std::atoi(argv[3]);
  std::vector<std::string> lines;
  std::ifstream in(argv[2]);
  size_t bytes = 0;
  for (std::string line; std::getline(in, line);) {
    bytes += line.size();
    lines.push_back(line);
  }
  const std::vector<std::string_view> texts(lines.begin(), lines.end());
  size_t ids = 0, sum = 0;
  for (const auto& row : tokenizer->encode_batch(texts, false, threads)) {
    ids += row.size();
    for (size_t i = 0; i < row.size(); ++i) sum += static_cast<size_t>(row[i]) * (i + 1);
  }
  const double one = time_of([&] { tokenizer->encode_batch(texts, false, 1); });
  const double all = time_of([&] { tokenizer->encode_batch(texts, false, threads); });

  ChatOptions options;
  options.chat_template = "chatml";
  const ChatTemplate chat(tokenizer, options);
  std::vector<std::string> talks;
  for (size_t i = 0; i + 1 < lines.size() && talks.size() < 5000; i += 2) {
    talks.push_back(nlohmann::json{{{"role", "user"}, {"content", lines[i]}},
                                   {{"role", "assistant"}, {"content", lines[i + 1]}}}
                        .dump());
  }
  const double conversations = time_of([&] {
    for (const std::string& talk : talks) chat.tokenize(std::string_view(talk));
  });
  std::printf("%s\n", nlohmann::json{{"bytes", bytes},
                                     {"ids", ids},
                                     {"checksum", sum},
                                     {"one_thread_s", one},
                                     {"all_threads_s", all},
                                     {"conversations", talks.size()},
                                     {"chat_one_thread_s", conversations}}
                          .dump()
                          .c_str());
  return 0;
}
