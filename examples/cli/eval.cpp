// tessera eval: loss and perplexity of a model on data.
#include <cmath>
#include <cstdio>

#include "commands.h"
#include "job.h"

namespace cli {
namespace {

void evaluate_rank(const Arguments& arguments, const Seat& seat) {
  const Setup setup = set_up(arguments, seat);
  Dataset data;
  check(tessera_dataset_open, arguments.config.get(), setup.mesh.get(), setup.model.get(), data.out());
  const long long limit = arguments.integer("train.steps", 0);
  double loss_sum = 0;
  long long labels = 0, tokens = 0, batches = 0;
  for (; limit == 0 || batches < limit; ++batches) {
    Batch batch;
    if (check_or(TESSERA_E_END, tessera_dataset_next, data.get(), batch.out()) == TESSERA_E_END) break;
    tessera_metrics metrics{};
    tessera_metrics_init(&metrics, sizeof metrics);
    check(tessera_trainer_evaluate, setup.trainer.get(), batch.get(), &metrics);
    loss_sum += metrics.loss * static_cast<double>(metrics.label_tokens);
    labels += metrics.label_tokens;
    tokens += metrics.tokens;
  }
  if (!seat.speaks()) return;
  if (labels == 0) throw Failure("data.path: no labels to evaluate on");
  const double loss = loss_sum / static_cast<double>(labels);
  std::printf("{\"loss\": %.17g, \"perplexity\": %.9g, \"label_tokens\": %lld, \"tokens\": %lld}\n", loss,
              std::exp(loss), labels, tokens);
}

}  // namespace

void evaluate(const Words& words) {
  const Arguments arguments = parse_arguments(words, {});
  if (arguments.text("data.path").empty()) throw Failure("data.path is not set");
  // One pass unless the recipe says otherwise; train.steps bounds it.
  if (arguments.text("data.epochs") == "0")
    check(tessera_config_set, arguments.config.get(), "data.epochs", "1");
  run_ranks(arguments, [&](const Seat& seat) { evaluate_rank(arguments, seat); });
}

}  // namespace cli
