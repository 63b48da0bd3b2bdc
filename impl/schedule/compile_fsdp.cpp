// The compilers for one pipeline stage: FSDP and HSDP steps, and forward-only programs.
#include "core/error.h"
#include "schedule/compile.h"

namespace tessera {
namespace {

Program start(const StepOptions& options) {
  validate(options.units);
  TESSERA_CHECK(options.microbatches >= 0, argument, "microbatches=", options.microbatches, " is negative");
  Program program;
  program.units = static_cast<int>(options.units.size());
  program.microbatches = options.microbatches;
  return program;
}

}  // namespace

Program compile_fsdp(const StepOptions& options) {
  Program program = start(options);
  const int head = program.units - 1;
  std::vector<Instruction> compute;
  for (int mb = 0; mb < options.microbatches; ++mb) {
    for (int unit = 0; unit < head; ++unit) compute.push_back({Op::forward, unit, mb});
    compute.push_back({Op::loss, head, mb});
    for (int unit = head - 1; unit >= 0; --unit) {
      if (options.recompute) compute.push_back({Op::recompute, unit, mb});
      compute.push_back({Op::backward, unit, mb});
    }
  }
  program.instructions = place_communication(compute, options.units, options.storage);
  if (options.update) {
    program.instructions.push_back({Op::grad_norm});
    program.instructions.push_back({Op::optimizer});
  }
  return program;
}

Program compile_forward(const StepOptions& options, Op head_op, bool keep) {
  TESSERA_CHECK(head_op == Op::evaluate || head_op == Op::logits, argument, "head=", op_name(head_op),
                " is neither evaluate nor logits");
  Program program = start(options);
  const int head = program.units - 1;
  std::vector<Instruction> compute;
  for (int mb = 0; mb < options.microbatches; ++mb) {
    for (int unit = 0; unit < head; ++unit) compute.push_back({Op::forward, unit, mb});
    compute.push_back({head_op, head, mb});
  }
  StoragePolicy storage = options.storage;
  if (keep) storage.reshard.kind = ReshardPolicy::Kind::never;
  program.instructions = place_communication(compute, options.units, storage);
  if (keep) std::erase_if(program.instructions, [](const Instruction& i) { return i.op == Op::release; });
  return program;
}

}  // namespace tessera
