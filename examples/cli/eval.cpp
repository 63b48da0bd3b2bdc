// tessera eval: loss and perplexity of a model on data.
#include <cmath>
#include <cstdio>

#include "commands.h"
#include "evaluation.h"

namespace cli {
namespace {

void evaluate_rank(const Arguments& arguments, const Seat& seat) {
  const Setup setup = set_up(arguments, seat);
  const Dataset data = open_data(arguments.config, setup, seat);
  const Evaluation result = evaluate_all(setup, data, arguments.integer("train.steps", 0));
  if (!seat.speaks()) return;
  if (result.labels == 0) throw Failure("data.path: no labels to evaluate on");
  std::printf("{\"loss\": %.17g, \"perplexity\": %.9g, \"label_tokens\": %lld}\n", result.loss(),
              std::exp(result.loss()), result.labels);
}

}  // namespace

Evaluation evaluate_all(const Setup& setup, const Dataset& data, long long limit) {
  Evaluation out;
  for (long long batches = 0; limit == 0 || batches < limit; ++batches) {
    Batch batch;
    if (check_or(TESSERA_E_END, tessera_dataset_next, data.get(), batch.out()) == TESSERA_E_END) break;
    tessera_metrics metrics{};
    tessera_metrics_init(&metrics, sizeof metrics);
    check(tessera_trainer_evaluate, setup.trainer.get(), batch.get(), &metrics);
    out.loss_sum += metrics.loss * static_cast<double>(metrics.label_tokens);
    out.labels += metrics.label_tokens;
  }
  return out;
}

void evaluate(const Words& words) {
  const Arguments arguments = parse_arguments(words, {});
  if (arguments.text("data.path").empty()) throw Failure("data.path is not set");
  // One pass unless the recipe says otherwise; train.steps bounds it.
  if (arguments.text("data.epochs") == "0")
    check(tessera_config_set, arguments.config.get(), "data.epochs", "1");
  run_ranks(arguments, [&](const Seat& seat) { evaluate_rank(arguments, seat); });
}

}  // namespace cli
