// tessera train: the training loop, its metrics file, checkpoints and the exported model.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "commands.h"
#include "evaluation.h"
#include "job.h"
#include "progress.h"

namespace cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpointPrefix = "checkpoint-";

/// The step of a checkpoint directory's name, or -1.
long long checkpoint_step(const fs::path& path) {
  const std::string name = path.filename().string(), prefix = kCheckpointPrefix;
  if (name.rfind(prefix, 0) != 0) return -1;
  const std::string digits = name.substr(prefix.size());
  if (digits.empty() || digits.size() > 18 || !std::all_of(digits.begin(), digits.end(), ::isdigit))
    return -1;
  return std::stoll(digits);
}

/// Saved directories appear whole or not at all, so the highest number is the newest complete one.
std::string newest_checkpoint(const std::string& directory) {
  std::string newest;
  long long step = -1;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
    if (!entry.is_directory() || checkpoint_step(entry.path()) <= step) continue;
    step = checkpoint_step(entry.path());
    newest = entry.path().string();
  }
  return newest;
}

/// output.metrics: one JSON object a line, written out at once so that a reader can follow.
class MetricsFile {
 public:
  MetricsFile(const std::string& path, bool append) : file_(std::fopen(path.c_str(), append ? "a" : "w")) {
    if (!file_) throw Failure("output.metrics: cannot write " + path, TESSERA_E_IO);
  }
  ~MetricsFile() { std::fclose(file_); }
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  void write(const tessera_metrics& m) {
    std::fprintf(file_,
                 "{\"step\": %lld, \"loss\": %.17g, \"grad_norm\": %.17g, \"lr\": %.17g, \"tokens\": %lld, "
                 "\"label_tokens\": %lld, \"tokens_per_s\": %.6g, \"seconds\": %.6g, "
                 "\"communication_seconds\": %.6g, \"memory\": %lld",
                 static_cast<long long>(m.step), m.loss, m.grad_norm, m.lr, static_cast<long long>(m.tokens),
                 static_cast<long long>(m.label_tokens), m.tokens_per_s, m.seconds, m.communication_seconds,
                 static_cast<long long>(m.memory));
    if (m.expert_load_ratio > 0) {  // the model has experts
      std::fprintf(file_,
                   ", \"expert_load_ratio\": %.6g, \"expert_idle\": %.6g, \"expert_balance_loss\": %.9g, "
                   "\"expert_z_loss\": %.9g",
                   m.expert_load_ratio, m.expert_idle, m.expert_balance_loss, m.expert_z_loss);
    }
    if (m.memory_reserved > 0) {  // of a GPU
      std::fprintf(file_, ", \"memory_reserved\": %lld", static_cast<long long>(m.memory_reserved));
    }
    std::fputs("}\n", file_);
    flush();
  }
  void write_validation(long long step, double loss, long long labels) {
    std::fprintf(file_, "{\"step\": %lld, \"validation_loss\": %.17g, \"validation_label_tokens\": %lld}\n",
                 step, loss, labels);
    flush();
  }

 private:
  void flush() {
    if (std::fflush(file_) != 0) throw Failure("output.metrics: the disk is full", TESSERA_E_IO);
  }
  std::FILE* file_;
};

/// What only one rank does: show progress and write metrics.
struct Narrator {
  Progress progress;
  std::optional<MetricsFile> metrics;

  Narrator(const Arguments& arguments, long long steps, bool resumed) : progress(steps) {
    const std::string path = arguments.text("output.metrics");
    if (!path.empty()) metrics.emplace(path, resumed);
  }
  void step(const tessera_metrics& values) {
    if (metrics) metrics->write(values);
    progress.step(values);
  }
  void validation(long long step, double loss, long long labels) {
    if (metrics) metrics->write_validation(step, loss, labels);
    char line[128];
    std::snprintf(line, sizeof line, "step %lld  validation loss %.4f over %lld labels", step, loss, labels);
    progress.note(line);
  }
};

/// The rows that data.validation_split or data.validation_path keep from training, as often as they are
/// wanted.
class Validation {
 public:
  /// Null when the recipe sets nothing apart.
  static std::unique_ptr<Validation> open(const Arguments& arguments, const Setup& setup, const Seat& seat) {
    if (arguments.text("data.validation_split") == "0" && arguments.text("data.validation_path").empty())
      return nullptr;
    auto out = std::make_unique<Validation>();
    const std::string recipe = read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
      return tessera_config_get_text(arguments.config.get(), buf, cap, len, err);
    });
    Config config;
    check(tessera_config_create, config.out());
    check(tessera_config_load_text, config.get(), recipe.c_str());
    check(tessera_config_set, config.get(), "data.part", "validation");
    out->data_ = open_data(config, setup, seat);
    out->begin_ = read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
      return tessera_dataset_get_state(out->data_.get(), buf, cap, len, err);
    });
    return out;
  }

  /// Evaluates all of it, on all ranks; says so if `narrator` is not null.
  void run(const Setup& setup, long long step, Narrator* narrator) {
    check(tessera_dataset_set_state, data_.get(), begin_.c_str());
    const Evaluation result = evaluate_all(setup, data_, 0);
    if (narrator && result.labels > 0) narrator->validation(step, result.loss(), result.labels);
  }

 private:
  Dataset data_;
  std::string begin_;
};

void save(const Setup& setup, const Dataset& data, const std::string& output, long long step,
          Narrator* narrator) {
  const std::string directory = output + "/" + kCheckpointPrefix + std::to_string(step);
  check(tessera_checkpoint_save, setup.trainer.get(), directory.c_str(), data.get());
  if (narrator) narrator->progress.note("saved " + directory);
}

/// Steps to run: train.steps, or the passes over the data.
long long planned_steps(const Arguments& arguments, const Dataset& data) {
  const long long steps = arguments.integer("train.steps", 0);
  if (steps > 0) return steps;
  const long long epochs = arguments.integer("data.epochs", 0);
  if (epochs == 0) throw Failure("train.steps is not set: set it, or data.epochs");
  int64_t per_epoch = -1;
  check(tessera_dataset_count_steps, data.get(), &per_epoch);
  return per_epoch < 0 ? 0 : per_epoch * epochs;
}

void train_rank(const Arguments& arguments, const Seat& seat) {
  const Setup setup = set_up(arguments, seat);
  const Dataset data = open_data(arguments.config, setup, seat);
  const std::string output = arguments.text("output.dir");
  const long long steps = planned_steps(arguments, data),
                  save_every = arguments.integer("output.save_every", 0),
                  validate_every = arguments.integer("train.validate_every", 0);
  const auto validation = Validation::open(arguments, setup, seat);

  int64_t step = 0;
  const std::string checkpoint = arguments.flag("output.resume") ? newest_checkpoint(output) : "";
  if (!checkpoint.empty()) {
    check(tessera_checkpoint_load, setup.trainer.get(), checkpoint.c_str(), data.get());
    check(tessera_trainer_get_step_count, setup.trainer.get(), &step);
  }
  std::unique_ptr<Narrator> narrator;
  if (seat.speaks()) {
    narrator = std::make_unique<Narrator>(arguments, steps, !checkpoint.empty());
    if (!checkpoint.empty()) narrator->progress.note("resumed from " + checkpoint);
  }

  int64_t saved = step, validated = -1;
  while (steps == 0 || step < steps) {
    Batch batch;
    if (check_or(TESSERA_E_END, tessera_dataset_next, data.get(), batch.out()) == TESSERA_E_END) break;
    tessera_metrics metrics{};
    tessera_metrics_init(&metrics, sizeof metrics);
    check(tessera_trainer_step, setup.trainer.get(), batch.get(), &metrics);
    step = metrics.step;
    if (narrator) narrator->step(metrics);
    if (validation && validate_every > 0 && step % validate_every == 0) {
      validation->run(setup, step, narrator.get());
      validated = step;
    }
    if (!output.empty() && save_every > 0 && step % save_every == 0) {
      save(setup, data, output, step, narrator.get());
      saved = step;
    }
  }
  if (validation && validated != step) validation->run(setup, step, narrator.get());
  if (narrator) narrator->progress.finish();
  if (output.empty()) return;
  if (saved != step) save(setup, data, output, step, narrator.get());
  if (arguments.flag("output.export")) {
    const std::string dtype = arguments.text("output.dtype");
    check(tessera_checkpoint_export, setup.trainer.get(), output.c_str(),
          dtype.empty() ? nullptr : dtype.c_str());
    if (narrator) narrator->progress.note("exported the model to " + output);
  }
}

}  // namespace

void train(const Words& words) {
  const Arguments arguments = parse_arguments(words, {});
  if (arguments.text("data.path").empty()) throw Failure("data.path is not set");
  const std::string output = arguments.text("output.dir");
  if (!output.empty()) fs::create_directories(output);
  run_ranks(arguments, [&](const Seat& seat) { train_rank(arguments, seat); });
}

}  // namespace cli
