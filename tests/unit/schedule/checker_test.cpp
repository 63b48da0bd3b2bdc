// The checker: accepts what the compilers make for any shape, and finds every kind of broken program.
#include "schedule/checker.h"

#include <gtest/gtest.h>

#include <random>

#include "core/error.h"
#include "schedule/compile.h"
#include "train/step_program.h"

namespace tessera {
namespace {

StepOptions random_step(std::mt19937& random) {
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  StepOptions step;
  step.units.resize(1 + below(12));
  step.microbatches = 1 + below(5);
  step.recompute = below(2) == 1;
  step.storage.prefetch = below(5);
  step.storage.reshard.kind = static_cast<ReshardPolicy::Kind>(below(4));
  step.storage.reshard.group = 2;
  step.storage.defer_reduce = below(2) == 1;
  step.storage.replicas = below(2) == 1;
  step.storage.offload = below(2) == 1;
  for (UnitTraits& unit : step.units) {
    unit.trainable = below(5) != 0;
    unit.backward_uses_weights = below(4) != 0;
  }
  if (step.units.size() > 1 && below(2) == 1) step.units.back().borrows = {0};
  return step;
}

TEST(Checker, AcceptsEveryFsdpStep) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 3000; ++trial) {
    const StepOptions step = random_step(random);
    const Program program = compile_fsdp(step);
    CheckReport report;
    ASSERT_NO_THROW(report = check(program, check_options(step))) << to_text(program);
    const int lenders = step.units.back().borrows.empty() ? 0 : 1;
    EXPECT_LE(report.peak_in_flight, step.storage.prefetch + 1);
    if (step.storage.reshard.kind == ReshardPolicy::Kind::always) {
      // A unit in use, its neighbour kept because it is next, what is prefetched, and a lender.
      EXPECT_LE(report.peak_gathered, 1 + step.storage.prefetch + 1 + lenders) << to_text(program);
    }
    if (step.microbatches == 1) {
      EXPECT_LE(report.peak_gradients, 2 + lenders) << to_text(program);
    }
    if (step.recompute) {
      EXPECT_LE(report.peak_saved, 1);
    }
  }
}

TEST(Checker, AcceptsForwardPrograms) {
  std::mt19937 random(11);
  for (int trial = 0; trial < 300; ++trial) {
    const StepOptions step = random_step(random);
    for (bool keep : {false, true}) {
      CheckOptions rules = check_options(step);
      rules.recompute = false;
      rules.keeps_weights = keep;
      const Program program = compile_forward(step, keep ? Op::logits : Op::evaluate, keep);
      ASSERT_NO_THROW(check(program, rules)) << to_text(program);
    }
  }
}

// Dropping any one instruction of a step breaks a rule, except those that only matter for speed or memory
// elsewhere.
TEST(Checker, EveryInstructionIsNeeded) {
  std::mt19937 random(3);
  int broken = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const StepOptions step = random_step(random);
    const Program program = compile_fsdp(step);
    for (size_t i = 0; i < program.instructions.size(); ++i) {
      const Op op = program.instructions[i].op;
      if (op == Op::fetch_shard || op == Op::offload_shard) continue;
      // Without the optimizer the program would be a forward_backward, which is whole without grad_norm too.
      Program damaged = program;
      damaged.instructions.erase(damaged.instructions.begin() + static_cast<std::ptrdiff_t>(i));
      bool accepted = true;
      try {
        check(damaged, check_options(step));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), Code::internal);
        accepted = false;
      }
      EXPECT_FALSE(accepted) << "without \"" << to_text(program.instructions[i]) << "\" at " << i << ":\n"
                             << to_text(program);
      ++broken;
    }
  }
  EXPECT_GT(broken, 1000);
}

std::string complaint(const Program& program, const CheckOptions& rules) {
  try {
    check(program, rules);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Checker, NamesTheInstructionAndTheReason) {
  CheckOptions rules;
  rules.units.resize(2);
  const auto of = [](const std::string& body) {
    return parse_program("program units=2 microbatches=1\n" + body);
  };
  EXPECT_EQ(complaint(of("gather u0\nforward u0 mb0\n"), rules),
            "program instruction 1 (forward u0 mb0): the weights of u0 are not gathered");
  EXPECT_EQ(complaint(of("gather u0\nwait_gather u0\nforward u1 mb0\n"), rules),
            "program instruction 2 (forward u1 mb0): the weights of u1 are not gathered");
  EXPECT_EQ(complaint(of("gather u1\nwait_gather u1\nloss u1 mb0\n"), rules),
            "program instruction 2 (loss u1 mb0): its input does not exist");
  EXPECT_EQ(complaint(of("gather u0\ngather u0\n"), rules),
            "program instruction 1 (gather u0): the weights are already there");
  EXPECT_EQ(complaint(of("gather u2\n"), rules), "program instruction 0 (gather u2): no such unit");
  EXPECT_EQ(complaint(of("optimizer\n"), rules),
            "program instruction 0 (optimizer): there is no grad_norm before it");
  EXPECT_EQ(complaint(of("gather u0\nwait_gather u0\n"), rules), "program end: u0 is still gathered");
}

TEST(Checker, FindsAGradientAddedDuringItsReduction) {
  StepOptions step;
  step.units.resize(2);
  step.microbatches = 2;
  step.storage.defer_reduce = false;
  step.storage.reshard.kind = ReshardPolicy::Kind::never;
  Program program = compile_fsdp(step);
  // Move the wait of u1's first reduction behind its second contribution.
  auto& list = program.instructions;
  const auto wait = std::find(list.begin(), list.end(), Instruction{Op::wait_reduce, 1});
  const auto loss = std::find(list.begin(), list.end(), Instruction{Op::loss, 1, 1});
  ASSERT_LT(wait, loss);
  std::rotate(wait, wait + 1, loss + 1);
  EXPECT_NE(complaint(program, check_options(step)).find("during its reduction"), std::string::npos);
}

// Two stages by hand: what a pipeline compiler will emit.
std::vector<Program> two_stages() {
  return {
      parse_program("program units=2 microbatches=2\n"
                    "gather u0\nwait_gather u0\nforward u0 mb0\nsend_forward u0 mb0 to 1\nforward u0 mb1\n"
                    "send_forward u0 mb1 to 1\nrecv_backward u0 mb0 from 1\nbackward u0 mb0\n"
                    "recv_backward u0 mb1 from 1\nbackward u0 mb1\nrelease u0\nreduce u0\nwait_reduce u0\n"
                    "grad_norm\noptimizer\n"),
      parse_program(
          "program units=2 microbatches=2\n"
          "gather u1\nwait_gather u1\nrecv_forward u1 mb0 from 0\nloss u1 mb0\n"
          "send_backward u1 mb0 to 0\nrecv_forward u1 mb1 from 0\nloss u1 mb1\n"
          "send_backward u1 mb1 to 0\nrelease u1\nreduce u1\nwait_reduce u1\ngrad_norm\noptimizer\n")};
}

TEST(CheckTransfers, AcceptsAPipelineAndItsStages) {
  const std::vector<Program> stages = two_stages();
  CheckOptions rules;
  rules.units.resize(2);
  for (const Program& stage : stages) EXPECT_NO_THROW(check(stage, rules));
  EXPECT_NO_THROW(check_transfers(stages));
}

TEST(CheckTransfers, SynchronousSendsNeedAReceiverThatIsThere) {
  // Stage 0 wants to send mb1 before it receives the gradient of mb0: fine with buffers, a deadlock without.
  EXPECT_THROW(check_transfers(two_stages(), true), Error);
}

TEST(CheckTransfers, FindsWrongOrderAndMissingPartners) {
  std::vector<Program> stages = two_stages();
  std::swap(stages[1].instructions[2].microbatch, stages[1].instructions[5].microbatch);
  EXPECT_THROW(check_transfers(stages), Error);
  stages = two_stages();
  stages[0].instructions.erase(stages[0].instructions.begin() + 3);
  EXPECT_THROW(check_transfers(stages), Error);
  stages = two_stages();
  std::erase_if(stages[1].instructions,
                [](const Instruction& i) { return i == Instruction{Op::recv_forward, 1, 1, 0}; });
  EXPECT_THROW(check_transfers(stages), Error);
}

}  // namespace
}  // namespace tessera
