// tessera pack: how well the documents of a recipe go into rows, with each packer.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "commands.h"
#include "job.h"
#include "preparing.h"

namespace cli {
namespace {

/// What one packer makes of the documents.
struct Outcome {
  std::string packer;
  int64_t packs = 0;
  double seconds = 0;
};

/// What of tessera_dataset_get_report is shown.
struct Report {
  int64_t documents, tokens, label_tokens, rows, lower_bound, bad_rows, dropped, truncated, split;
  double pack_seconds;
};

Report report_of(const Dataset& data) {
  const nlohmann::json json =
      nlohmann::json::parse(read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
        return tessera_dataset_get_report(data.get(), buf, cap, len, err);
      }));
  return {json.at("documents"),   json.at("tokens"),      json.at("label_tokens"), json.at("rows"),
          json.at("lower_bound"), json.at("bad_rows"),    json.at("dropped"),      json.at("truncated"),
          json.at("split"),       json.at("pack_seconds")};
}

std::vector<int64_t> lengths_of(const Dataset& data) {
  std::vector<int64_t> lengths;
  size_t count = 0;
  const tessera_status status =
      check_or(TESSERA_E_BUFFER, tessera_dataset_get_lengths, data.get(), lengths.data(), size_t{0}, &count);
  if (status == TESSERA_OK) return lengths;
  lengths.resize(count);
  check(tessera_dataset_get_lengths, data.get(), lengths.data(), lengths.size(), &count);
  return lengths;
}

/// The rows that the recipe's documents go into, as tessera_pack_get_pieces tells them.
std::vector<int64_t> pieces_of(const Config& config, const std::vector<int64_t>& lengths) {
  std::vector<int64_t> pieces(6 * lengths.size() + 64);
  size_t numbers = 0;
  const auto count = static_cast<int64_t>(lengths.size());
  if (check_or(TESSERA_E_BUFFER, tessera_pack_get_pieces, config.get(), lengths.data(), count, pieces.data(),
               pieces.size(), &numbers) != TESSERA_OK) {
    pieces.resize(numbers);
    check(tessera_pack_get_pieces, config.get(), lengths.data(), count, pieces.data(), pieces.size(),
          &numbers);
  }
  pieces.resize(numbers);
  return pieces;
}

/// The recipe with another packer: groups, alignment and the packer's options are those of the recipe.
Outcome pack_with(const std::string& packer, const Config& config, const std::vector<int64_t>& lengths) {
  Outcome outcome{packer};
  check(tessera_config_set, config.get(), "data.packing", packer.c_str());
  const auto start = std::chrono::steady_clock::now();
  const std::vector<int64_t> pieces = pieces_of(config, lengths);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  outcome.packs = pieces.empty() ? 0 : pieces[pieces.size() - 4] + 1;
  return outcome;
}

double efficiency(int64_t tokens, int64_t packs, int64_t capacity) {
  return packs == 0
             ? 0
             : static_cast<double>(tokens) / (static_cast<double>(packs) * static_cast<double>(capacity));
}

void print_histogram(const std::vector<int64_t>& lengths) {
  constexpr int64_t kBins = 16;
  constexpr int64_t kWidth = 50;
  const int64_t longest = lengths.empty() ? 1 : *std::max_element(lengths.begin(), lengths.end());
  const int64_t width = std::max<int64_t>(1, (longest + kBins - 1) / kBins);
  std::vector<int64_t> counts(static_cast<size_t>((longest + width - 1) / width), 0);
  for (const int64_t length : lengths) ++counts[static_cast<size_t>((length - 1) / width)];
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  std::printf("\nlengths\n");
  for (size_t bin = 0; bin < counts.size(); ++bin) {
    const int64_t bar = most == 0 ? 0 : (counts[bin] * kWidth + most - 1) / most;
    const auto first = static_cast<int64_t>(bin) * width + 1;
    std::printf("%8" PRId64 " ..%8" PRId64 " %9" PRId64 " %s\n", first, std::min(first + width - 1, longest),
                counts[bin], std::string(static_cast<size_t>(bar), '#').c_str());
  }
}

void print_table(const std::vector<Outcome>& outcomes, const std::string& chosen, int64_t tokens,
                 int64_t capacity, int64_t global_batch) {
  std::printf("\n%-16s %12s %12s %14s %14s %10s\n", "packer", "packs", "efficiency", "padding", "steps/epoch",
              "seconds");
  for (const Outcome& outcome : outcomes) {
    std::printf("%-16s %12" PRId64 " %11.4f%% %14" PRId64 " %14" PRId64 " %10.3f\n",
                ((outcome.packer == chosen ? "* " : "  ") + outcome.packer).c_str(), outcome.packs,
                100 * efficiency(tokens, outcome.packs, capacity), outcome.packs * capacity - tokens,
                (outcome.packs + global_batch - 1) / global_batch, outcome.seconds);
  }
}

/// What the slowest data-parallel rank of a step waits for: over whole steps, the mean of the costliest row's
/// attention (the sum of its documents' squared lengths) beside that of the mean row. 0 without a whole step.
double imbalance(const std::vector<int64_t>& pieces, int64_t global_batch) {
  std::vector<double> costs;
  for (size_t i = 0; i < pieces.size(); i += 4) {
    costs.resize(static_cast<size_t>(pieces[i]) + 1);
    costs.back() += static_cast<double>(pieces[i + 3]) * static_cast<double>(pieces[i + 3]);
  }
  double sum = 0;
  size_t steps = 0;
  const auto rows = static_cast<size_t>(global_batch);
  for (; (steps + 1) * rows <= costs.size(); ++steps) {
    const auto step = costs.begin() + static_cast<ptrdiff_t>(steps * rows);
    const auto end = step + static_cast<ptrdiff_t>(rows);
    sum += *std::max_element(step, end) * static_cast<double>(rows) / std::accumulate(step, end, 0.0);
  }
  return steps == 0 ? 0 : sum / static_cast<double>(steps);
}

void write_metrics(const std::string& path, const Report& report, int64_t capacity) {
  std::ofstream file(path);
  char line[512];
  std::snprintf(line, sizeof line,
                "{\"documents\": %" PRId64 ", \"tokens\": %" PRId64 ", \"capacity\": %" PRId64
                ", \"packs\": %" PRId64 ", \"lower_bound\": %" PRId64
                ", \"efficiency\": %.17g, \"seconds\": %.9g}\n",
                report.documents, report.tokens, capacity, report.rows, report.lower_bound,
                efficiency(report.tokens, report.rows, capacity), report.pack_seconds);
  file << line;
  file.close();
  if (!file) throw Failure("output.metrics=" + path + " cannot be written");
}

}  // namespace

void pack(const Words& words) {
  const Arguments arguments = parse_arguments(words, {});
  if (arguments.text("data.path").empty()) throw Failure("data.path is not set");
  const std::string chosen = arguments.text("data.packing");
  const int64_t capacity = arguments.integer("data.seq_len", 1024);
  const int64_t global_batch = arguments.integer("train.global_batch", 1);

  Dataset data;
  {
    const PreparingBar bar;
    check(tessera_dataset_open, arguments.config.get(), tessera_mesh{0}, tessera_model{0}, data.out());
  }
  Report report = report_of(data);
  const std::vector<int64_t> lengths = lengths_of(data);
  // Rows that hold one document each have no bound of their own: what packing could reach is of interest.
  if (chosen == "none") report.lower_bound = (report.tokens + capacity - 1) / capacity;

  std::printf("documents   %" PRId64 "\ntokens      %" PRId64 ", of which %" PRId64
              " are learnt\ncapacity    %" PRId64 " tokens a pack, at least %" PRId64 " packs\n",
              report.documents, report.tokens, report.label_tokens, capacity, report.lower_bound);
  std::printf("rows        %" PRId64 " bad, %" PRId64 " dropped, %" PRId64 " truncated, %" PRId64 " split\n",
              report.bad_rows, report.dropped, report.truncated, report.split);
  print_histogram(lengths);
  const double uneven = global_batch > 1 ? imbalance(pieces_of(arguments.config, lengths), global_batch) : 0;
  const bool pairs = arguments.integer("data.group", 1) > 1 ||
                     arguments.text("data.format") == "preference" ||
                     arguments.text("data.formats").find("preference") != std::string::npos;
  std::vector<Outcome> outcomes;
  for (const char* packer :
       {"none", "next_fit", "next_fit_split", "first_fit", "ffd", "bfd", "wfd", "optimal"}) {
    // The recipe's own packer was run when the data was prepared.
    if (packer == chosen) {
      outcomes.push_back({chosen, report.rows, report.pack_seconds});
    } else if (!pairs || std::string(packer) != "next_fit_split") {  // which would cut pairs apart
      outcomes.push_back(pack_with(packer, arguments.config, lengths));
    }
  }
  check(tessera_config_set, arguments.config.get(), "data.packing", chosen.c_str());
  print_table(outcomes, chosen, report.tokens, capacity, std::max<int64_t>(1, global_batch));
  std::printf("* is data.packing\n");
  if (uneven > 0)
    std::printf("attention: the costliest row of a step is %.3f x its mean row (data.balance=%s)\n", uneven,
                arguments.text("data.balance").c_str());
  const std::string metrics = arguments.text("output.metrics");
  if (!metrics.empty()) write_metrics(metrics, report, capacity);
}

}  // namespace cli
