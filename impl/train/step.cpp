// One training step and one evaluation: what ranks agree on before, the program, and what they sum up after.
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "comm/device_world.h"
#include "kernels/device_copy.h"
#include "kernels/elementwise.h"
#include "kernels/multi_tensor.h"
#include "train/step_graphs.h"
#include "train/trainer_impl.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct PeakBytes {
  int64_t used = 0, reserved = 0;
};

// Of the device's allocator, which is asked through its type, so that nothing of CUDA is named; of the
// process on the cpu.
PeakBytes peak_bytes(at::Device device) {
  if (!device.is_cpu()) {
    auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
    constexpr size_t kAggregate = 0;
    if (allocator != nullptr && allocator->initialized()) {
      const auto stats = allocator->getDeviceStats(device.index());
      return {stats.allocated_bytes[kAggregate].peak, stats.reserved_bytes[kAggregate].peak};
    }
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {static_cast<int64_t>(usage.ru_maxrss) * 1024, 0};
}

// Sums over the ranks of `group`, in float64.
std::vector<double> sum_over(Group& group, const std::vector<double>& mine) {
  if (group.size() == 1) return mine;
  const at::Tensor values = at::tensor(mine, at::dtype(at::kDouble));
  group.all_reduce({values}, ReduceOp::sum)->wait();
  const double* data = values.data_ptr<double>();
  return {data, data + mine.size()};
}

// What kernels read goes to the device in one copy, from memory that it can read by itself while this thread
// goes on. Boundaries stay: it is the host that plans with them.
PackedBatch to_device(const PackedBatch& batch, at::Device device) {
  if (device.is_cpu() || batch.tokens_count() == 0) return batch;
  const at::Tensor there = sent_to(device, at::stack({batch.tokens, batch.labels, batch.position_ids}));
  PackedBatch moved = batch;
  moved.tokens = there.select(0, 0);
  moved.labels = there.select(0, 1);
  moved.position_ids = there.select(0, 2);
  return moved;
}

}  // namespace

// True when ranks that work on the same data (pp, cp, tp) were given different micro-batches.
bool Trainer::Impl::differs_in_model_group(double digest) {
  const GroupPtr& group = mesh->group("model");
  if (group->size() == 1) return false;
  const at::Tensor range = at::tensor({digest, -digest}, at::dtype(at::kDouble));
  group->all_reduce({range}, ReduceOp::max)->wait();
  const double* data = range.const_data_ptr<double>();
  return data[0] != -data[1];
}

// One small all-reduce: global counts, and whether every rank has valid micro-batches, the same number of
// them. It also is the point after which all ranks have finished writing their weights.
StepTotals Trainer::Impl::agree_on(const std::vector<PackedBatch>& microbatches) {
  const Clock::time_point start = Clock::now();
  std::optional<Error> invalid;
  int64_t labels = 0;
  int64_t tokens = 0;
  int64_t document_tokens = 0;
  uint64_t digest = 0;
  try {
    TESSERA_CHECK(!microbatches.empty(), argument, "the step has no micro-batches");
    for (size_t mb = 0; mb < microbatches.size(); ++mb) {
      const PackedBatch& batch = microbatches[mb];
      digest *= 31;  // also where there are no tokens: which micro-batch that is must agree too
      if (batch.tokens_count() == 0) continue;
      validate(batch, config.vocab_size);
      labels += batch.label_count;
      tokens += batch.tokens_count();
      document_tokens += document_token_count(batch);
      digest += static_cast<uint64_t>(fingerprint(batch));
    }
  } catch (const Error& error) {
    invalid = error;
  }
  const auto count = static_cast<double>(microbatches.size());
  // 52 bits fit a double exactly.
  const bool differs = differs_in_model_group(static_cast<double>(digest >> 12));
  const double share = mesh->index("model") == 0 ? 1.0 : 0.0;
  const std::vector<double> sums =
      sum_over(*mesh->group("world"),
               {share * static_cast<double>(labels), share * static_cast<double>(tokens), invalid ? 1.0 : 0.0,
                count, count * count, invalid ? static_cast<double>(mesh->rank()) : 0.0, differs ? 1.0 : 0.0,
                share * static_cast<double>(document_tokens)});
  if (weights_written) model->weights().publish();
  weights_written = false;
  exposed.step += seconds_since(start);

  const int ranks = mesh->world()->size();
  if (invalid) throw AgreedError(*invalid);
  if (sums[2] > 0) {
    const auto bad = static_cast<int64_t>(sums[2]);
    throw AgreedError(
        bad == 1
            ? Error(Code::peer_failed,
                    cat("rank ", static_cast<int>(sums[5]), " was given a micro-batch that is not valid"),
                    static_cast<int>(sums[5]))
            : Error(Code::peer_failed, cat(bad, " ranks were given micro-batches that are not valid")));
  }
  // Equal counts, and only they, make the square of the sum n times the sum of squares.
  if (sums[3] * sums[3] != ranks * sums[4]) {
    throw AgreedError(
        Error(Code::argument, cat("the number of micro-batches differs between ranks: this one has ",
                                  microbatches.size(), ", the mean is ", sums[3] / ranks)));
  }
  if (sums[6] > 0) {
    throw AgreedError(Error(
        Code::argument, cat(static_cast<int64_t>(sums[6]),
                            " ranks were given other micro-batches than the ranks of the same dp index")));
  }
  return {static_cast<int64_t>(sums[0]), static_cast<int64_t>(sums[1]), static_cast<int64_t>(sums[7])};
}

// The loss over all ranks, and the global gradient norm: replicas hold equal gradients, so each counts for
// its share. All tp ranks form the same loss, which counts once.
// `local_loss` is undefined where there is none.
void Trainer::Impl::sum_loss_and_norm(const at::Tensor& local_loss, bool with_norm) {
  double squares = 0;
  at::Tensor squares_there;
  if (with_norm) {
    std::vector<kernels::WeightedTensor> gradients;
    for (size_t i = 0; i < model->shards().size(); ++i) {
      const auto replicas = static_cast<double>(model->replicas(model->address(i)));
      gradients.push_back({model->shards()[i].grad, 1 / replicas});
    }
    squares_there = kernels::sum_of_squares(gradients);
  }
  // The one place where a step waits for a device: before the weights change. What failed there is noticed.
  synchronize(*mesh->world());
  if (with_norm) squares = squares_there.item<double>();
  loss_sum = local_loss.defined() ? local_loss.item<double>() : 0;
  const Clock::time_point start = Clock::now();
  const double counted = mesh->index("tp") == 0 ? loss_sum : 0;
  std::vector<double> values = {counted, squares};
  loads->take(values);
  const std::vector<double> sums = sum_over(*mesh->group("world"), values);
  loads->add(sums.data() + 2);
  exposed.step += seconds_since(start);
  const double mine = loss_sum;
  loss_sum = sums[0];
  grad_norm = std::sqrt(sums[1]);
  if (std::isfinite(loss_sum) && std::isfinite(grad_norm)) return;

  // All ranks came here together: they find out where it began.
  const bool bad_loss = !std::isfinite(loss_sum);
  const bool here = bad_loss ? !std::isfinite(mine) : !std::isfinite(squares);
  const at::Tensor first = at::empty({1}, at::dtype(at::kLong));
  first.fill_(here ? mesh->rank() : std::numeric_limits<int64_t>::max());
  mesh->group("world")->all_reduce({first}, ReduceOp::min)->wait();
  const auto rank = static_cast<int>(first.data_ptr<int64_t>()[0]);
  forget_gradients();
  throw AgreedError(Error(Code::numeric,
                          cat("step ", steps + 1, ": the ", bad_loss ? "loss" : "gradient norm", " is ",
                              bad_loss ? loss_sum : grad_norm, ", first on rank ", rank,
                              "; the weights are those before the step"),
                          rank));
}

LocalBatches Trainer::Impl::local_batches(const std::vector<PackedBatch>& microbatches, bool training) const {
  LocalBatches local;
  const bool experts = config.moe.experts > 0;
  const bool limited = experts && training && options.experts.capacity_factor > 0;
  const at::Device device = device_of(*mesh->world());
  for (const PackedBatch& batch : microbatches) {
    if (limited) {
      local.whole_tokens.push_back(batch.tokens_count());
      local.places.emplace_back();
    }
    if (!context) {
      local.batches.push_back(to_device(batch, device));
      if (experts) local.document_tokens.push_back(document_tokens(batch));
      continue;
    }
    local.split.push_back(context->shard(batch));
    local.batches.push_back(to_device(local.split.back().local, device));
    if (limited && batch.tokens_count() > 0) {
      local.places.back() = context_indices(local.split.back().layout, context->rank());
    }
    if (experts) local.document_tokens.push_back(document_tokens(local.split.back(), context->rank()));
  }
  for (const at::Tensor& tokens : local.document_tokens) {
    local.document_rows.push_back(tokens.defined() ? sent_to(device, tokens) : tokens);
  }
  return local;
}

void LocalBatches::give_to(ExecutionInput& input) const {
  input.microbatches = &batches;
  input.document_tokens = document_tokens;
  input.whole_tokens = whole_tokens;
  input.places = places;
  input.document_rows = document_rows;
  for (const ContextBatch& batch : split) input.contexts.push_back(batch.plan.get());
}

void Trainer::Impl::count_choices(const LocalBatches& local) {
  const auto count = static_cast<int64_t>(local.batches.size());
  // The routers of a single micro-batch meet in its backward, when all of them have chosen.
  const ExpertOptions& experts = options.experts;
  if (!experts.global_balance || experts.balance_loss == 0 || config.moe.experts == 0 || count == 1) return;
  ExecutionInput input;
  local.give_to(input);
  describe_transfers(input);
  input.recompute = Recompute::full;
  input.keep_activations = false;
  input.loss_chunk = options.loss_chunk;
  loads->begin_census();
  executor->run(compile_forward_step(count, Op::evaluate, false), input);
  std::vector<double> values;
  loads->end_census(values);
  loads->expect(sum_over(*mesh->group("world"), values));
}

void Trainer::Impl::update_weights() {
  const int64_t step = steps + 1;
  lr = learning_rate(options.schedule, options.lr, step);
  // Without a single label there is no gradient: weights, decay and moments stay, only the schedule moves on.
  if (pending_labels > 0) {
    optimizer->step(model->shards(), lr, clip_coefficient(grad_norm, options.clip), step);
    loads->update_biases(options.experts.bias_update_speed);
    weights_written = true;
  }
  steps = step;
  pending_labels = 0;
  loads->begin_step();
}

void Trainer::Impl::begin_metering() {
  exposed = {};
  if (tp_exposed) tp_exposed->seconds = 0;
  if (cp_exposed) cp_exposed->seconds = 0;
}

ExposedSeconds Trainer::Impl::metered_seconds() const {
  ExposedSeconds all = exposed;
  if (tp_exposed) all.tp += tp_exposed->seconds;
  if (cp_exposed) all.cp += cp_exposed->seconds;
  return all;
}

StepMetrics Trainer::Impl::metrics(const StepTotals& totals, double seconds) const {
  StepMetrics out;
  out.step = steps;
  out.loss = totals.label_tokens > 0 ? loss_sum / static_cast<double>(totals.label_tokens) : 0;
  out.grad_norm = grad_norm;
  out.lr = lr;
  out.tokens = totals.tokens;
  out.label_tokens = totals.label_tokens;
  out.seconds = seconds;
  out.tokens_per_s = seconds > 0 ? static_cast<double>(totals.tokens) / seconds : 0;
  out.exposed = metered_seconds();
  out.experts = loads->metrics();
  out.communication_seconds = out.exposed.total();
  const PeakBytes peak = peak_bytes(device_of(*mesh->world()));
  const int64_t beside = bytes_beside_allocator(*mesh->world());
  out.memory = peak.used + beside;
  out.memory_reserved = peak.reserved + beside;
  return out;
}

ExecutionInput Trainer::Impl::input_of(const LocalBatches& local, const StepTotals& totals,
                                       int64_t denominator) const {
  ExecutionInput input;
  local.give_to(input);
  describe_transfers(input);
  input.loss_scale = denominator > 0 ? 1.0 / static_cast<double>(denominator) : 0.0;
  if (totals.document_tokens > 0) {
    input.token_scale = input.loss_scale * static_cast<double>(totals.label_tokens) /
                        static_cast<double>(totals.document_tokens);
  }
  input.loss_chunk = options.loss_chunk;
  input.recompute = options.recompute;
  input.offload_activations = options.offload_activations;
  return input;
}

bool Trainer::Impl::run_captured(const std::vector<PackedBatch>& microbatches, const StepTotals& totals) {
  const GraphKey key = graph_key(microbatches);
  const StepGraphs::Turn turn = graphs->turn(key);
  if (turn == StepGraphs::Turn::eager) return false;
  const auto count = static_cast<int64_t>(microbatches.size());
  model->gradients().begin(options.defer_gradient_sync && count > 1);
  StepGraphs::Graph& graph = graphs->graph(key);
  if (turn == StepGraphs::Turn::capture) {
    graph.local = local_batches(microbatches);
    const Program& program = step_program(count, false);
    graph.work = graphs->engine().capture([this, &graph, &program, totals] {
      const KeepSent keep(graph.sent);
      graph.loss_sum = executor->run(program, input_of(graph.local, totals, totals.label_tokens)).loss_sum;
    });
  } else {
    const LocalBatches fresh = local_batches(microbatches);
    for (size_t mb = 0; mb < fresh.batches.size(); ++mb) {
      if (fresh.batches[mb].tokens_count() == 0) continue;
      graph.local.batches[mb].tokens.copy_(fresh.batches[mb].tokens);
      graph.local.batches[mb].labels.copy_(fresh.batches[mb].labels);
      graph.local.batches[mb].position_ids.copy_(fresh.batches[mb].position_ids);
    }
  }
  graph.work->replay();
  model->gradients().assume_reduced();
  model->gradients().end();
  gradients_readable = true;
  sum_loss_and_norm(graph.loss_sum, true);
  return true;
}

void Trainer::Impl::make_optimizer_state() {
  if (optimizer_state_made) return;
  for (size_t i = 0; i < model->shards().size(); ++i) optimizer->state(model->shards(), i);
  optimizer_state_made = true;
}

StepMetrics Trainer::Impl::run_step(const std::vector<PackedBatch>& microbatches, bool update,
                                    int64_t loss_denominator) {
  const Clock::time_point start = Clock::now();
  begin_metering();
  const StepTotals totals = agree_on(microbatches);
  const int64_t denominator = loss_denominator > 0 ? loss_denominator : totals.label_tokens;
  const auto count = static_cast<int64_t>(microbatches.size());
  const Program& program = step_program(count, update);
  make_optimizer_state();
  pending_labels += totals.label_tokens;
  loss_sum = 0;
  grad_norm = 0;

  if (update && graphs && loss_denominator == 0 && model->gradients().empty() &&
      run_captured(microbatches, totals)) {
    update_weights();
    model->gradients().zero();
    return metrics(totals, seconds_since(start));
  }
  const LocalBatches local = local_batches(microbatches, true);
  count_choices(local);
  ExecutionInput input = input_of(local, totals, denominator);
  input.grad_norm = [&](const at::Tensor& local_loss) {
    model->gradients().end();
    gradients_readable = true;
    sum_loss_and_norm(local_loss, true);
  };
  input.optimizer = [&] {
    update_weights();
    model->gradients().zero();
  };
  model->gradients().begin(options.defer_gradient_sync && count > 1);
  const ExecutionResult result = executor->run(program, input);
  loads->expect({});
  exposed.dp += result.shard_seconds;
  exposed.pp += result.stage_seconds;
  if (!update) {
    model->gradients().end();
    gradients_readable = true;
    sum_loss_and_norm(result.loss_sum, false);
    lr = learning_rate(options.schedule, options.lr, steps + 1);
  }
  return metrics(totals, seconds_since(start));
}

StepMetrics Trainer::Impl::update_alone() {
  const Clock::time_point start = Clock::now();
  begin_metering();
  sum_loss_and_norm({}, true);
  update_weights();
  model->gradients().zero();
  return metrics({}, seconds_since(start));
}

EvalMetrics Trainer::Impl::evaluate(const std::vector<PackedBatch>& microbatches) {
  begin_metering();
  const StepTotals totals = agree_on(microbatches);
  const LocalBatches local = local_batches(microbatches);
  ExecutionInput input;
  local.give_to(input);
  describe_transfers(input);
  input.loss_chunk = options.loss_chunk;
  input.recompute = Recompute::full;
  input.keep_activations = false;
  const ExecutionResult result = executor->run(
      compile_forward_step(static_cast<int64_t>(microbatches.size()), Op::evaluate, false), input);
  synchronize(*mesh->world());
  const double counted = mesh->index("tp") == 0 ? result.loss_sum.item<double>() : 0;
  const std::vector<double> sums = sum_over(*mesh->group("world"), {counted});
  EvalMetrics out;
  out.label_tokens = totals.label_tokens;
  out.loss = totals.label_tokens > 0 ? sums[0] / static_cast<double>(totals.label_tokens) : 0;
  return out;
}

}  // namespace tessera
