// Logits and text generation on the sharded model.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "train/sampling.h"
#include "train/trainer_impl.h"

namespace tessera {
namespace {

PackedBatch one_document(const std::vector<int64_t>& tokens) {
  const auto length = static_cast<int64_t>(tokens.size());
  PackedBatch batch;
  batch.tokens = at::tensor(tokens, at::dtype(at::kLong));
  batch.labels = at::full({length}, kIgnoredLabel, at::dtype(at::kLong));
  batch.position_ids = at::arange(length, at::dtype(at::kLong));
  batch.cu_seqlens = at::tensor({int64_t{0}, length}, at::dtype(at::kInt));
  batch.cu_seqlens_padded = batch.cu_seqlens;
  batch.max_seqlen = length;
  return batch;
}

void check_tokens(const std::vector<int64_t>& prompt, int64_t vocab) {
  TESSERA_CHECK(!prompt.empty(), argument, "the prompt is empty");
  for (size_t i = 0; i < prompt.size(); ++i) {
    TESSERA_CHECK(prompt[i] >= 0 && prompt[i] < vocab, argument, "prompt[", i, "]=", prompt[i],
                  " is not within 0..", vocab - 1);
  }
}

}  // namespace

// The logits that the head's pp rank has formed, on all pp ranks.
at::Tensor Trainer::Impl::from_last_stage(const std::vector<at::Tensor>& formed, int64_t rows) {
  if (mesh->size("pp") == 1) return formed.at(0).cpu();
  const at::Tensor logits = formed.empty() ? at::empty({rows, config.vocab_size}, at::dtype(at::kFloat))
                                           : formed[0].contiguous().cpu();
  mesh->group("pp")->broadcast({logits}, pipeline->stages().rank_of_stage.back())->wait();
  return logits;
}

at::Tensor Trainer::Impl::run_logits(const Program& program, const PackedBatch& batch,
                                     const at::Tensor& rows) {
  const LocalBatches local = local_batches({batch});
  // Under context parallelism each rank forms the logits of its own tokens.
  at::Tensor place;
  if (context && rows.defined())
    place = at::index_select(context_inverse(local.split[0].layout, batch.tokens_count()), 0, rows)
                .sub_(context->rank() * local.batches[0].tokens_count());
  const at::Tensor own_rows = place.defined() ? place.clamp(0, local.batches[0].tokens_count() - 1) : rows;

  ExecutionInput input;
  local.give_to(input);
  describe_transfers(input);
  input.recompute = Recompute::full;
  input.keep_activations = false;
  input.logit_rows = own_rows;
  const int64_t count = own_rows.defined() ? own_rows.numel() : local.batches[0].tokens_count();
  const at::Tensor logits = from_last_stage(executor->run(program, input).logits, count);
  if (!context) return logits;
  if (!place.defined()) return context->gather(logits, local.split[0].layout, batch.tokens_count());
  logits.masked_fill_(place.ne(own_rows).unsqueeze(1), 0);
  context->group()->all_reduce({logits}, ReduceOp::sum)->wait();
  return logits;
}

at::Tensor Trainer::Impl::logits(const PackedBatch& batch) {
  try {
    TESSERA_CHECK(batch.tokens_count() > 0, argument, "the batch has no tokens");
    validate(batch, config.vocab_size);
  } catch (const Error& error) {
    throw AgreedError(error);  // every rank passes a batch of its own making, but passes one
  }
  TESSERA_CHECK(!differs_in_model_group(static_cast<double>(fingerprint(batch))), argument,
                "the ranks of a dp index were given different batches");
  publish_weights();
  const at::Tensor out = run_logits(compile_forward_step(1, Op::logits, false), batch, {});
  return options.precision.output == at::kFloat ? out : out.to(options.precision.output).to(at::kFloat);
}

std::vector<int64_t> Trainer::Impl::generate(const std::vector<int64_t>& prompt,
                                             const GenerateOptions& generation) {
  try {
    validate(generation);
    check_tokens(prompt, config.vocab_size);
    const auto length = static_cast<int64_t>(prompt.size()) + generation.max_new_tokens;
    TESSERA_CHECK(length <= config.max_positions, argument, "a prompt of ", prompt.size(),
                  " tokens and max_new_tokens=", generation.max_new_tokens,
                  " pass max_position_embeddings=", config.max_positions);
  } catch (const Error& error) {
    throw AgreedError(error);  // every rank passes the same
  }
  publish_weights();
  const GroupPtr everyone = mesh->world()->everyone();
  // The first forward gathers, later ones find the weights there.
  const Program first = compile_forward_step(1, Op::logits, true);
  Program later = first;
  std::erase_if(later.instructions,
                [](const Instruction& i) { return i.op == Op::gather || i.op == Op::wait_gather; });

  std::vector<int64_t> tokens = prompt;
  std::vector<int64_t> generated;
  for (int64_t i = 0; i < generation.max_new_tokens; ++i) {
    const at::Tensor last = at::full({1}, static_cast<int64_t>(tokens.size()) - 1, at::dtype(at::kLong));
    const at::Tensor logits = run_logits(i == 0 ? first : later, one_document(tokens), last);
    const at::Tensor choice =
        at::full({1}, choose_token(logits.view({-1}), generation, i), at::dtype(at::kLong));
    // Machines of different make may differ in the last bit: rank 0 decides.
    if (everyone->size() > 1) everyone->broadcast({choice}, 0)->wait();
    const int64_t token = choice.data_ptr<int64_t>()[0];
    generated.push_back(token);
    tokens.push_back(token);
    if (std::find(config.eos_tokens.begin(), config.eos_tokens.end(), token) != config.eos_tokens.end())
      break;
  }
  executor->release_all();
  return generated;
}

}  // namespace tessera
