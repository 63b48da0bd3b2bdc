// Programs as text, and what the FSDP compiler emits for shapes small enough to read.
#include "schedule/program.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "schedule/compile.h"

namespace tessera {
namespace {

StepOptions options(int units, int microbatches) {
  StepOptions step;
  step.units.resize(units);
  step.microbatches = microbatches;
  return step;
}

std::string lines_with(const Program& program, const std::string& word) {
  std::string found;
  for (const Instruction& instruction : program.instructions) {
    const std::string line = to_text(instruction);
    if (line.find(word) != std::string::npos) found += line + "\n";
  }
  return found;
}

TEST(ProgramText, StepOfThreeUnitsReadsAsDesigned) {
  StepOptions step = options(3, 1);
  step.storage.reshard.kind = ReshardPolicy::Kind::always;
  EXPECT_EQ(to_text(compile_fsdp(step)),
            "program units=3 microbatches=1\n"
            "gather u0\n"
            "gather u1\n"
            "wait_gather u0\n"
            "forward u0 mb0\n"
            "release u0\n"
            "gather u2\n"
            "wait_gather u1\n"
            "forward u1 mb0\n"
            "release u1\n"
            "gather u1\n"
            "wait_gather u2\n"
            "loss u2 mb0\n"
            "release u2\n"
            "reduce u2\n"
            "gather u0\n"
            "wait_gather u1\n"
            "backward u1 mb0\n"
            "release u1\n"
            "wait_reduce u2\n"
            "reduce u1\n"
            "wait_gather u0\n"
            "backward u0 mb0\n"
            "release u0\n"
            "wait_reduce u1\n"
            "reduce u0\n"
            "wait_reduce u0\n"
            "grad_norm\n"
            "optimizer\n");
}

TEST(ProgramText, ParsesWhatItPrints) {
  StepOptions step = options(5, 3);
  step.recompute = true;
  step.storage.replicas = true;
  step.storage.offload = true;
  step.storage.reshard = {ReshardPolicy::Kind::group, 2};
  Program program = compile_fsdp(step);
  program.instructions.push_back({Op::send_forward, 4, 2, 1});
  program.instructions.push_back({Op::recv_backward, 4, 2, 1});
  EXPECT_EQ(parse_program(to_text(program)), program);
}

TEST(ProgramText, ErrorsNameTheLine) {
  const auto message = [](const std::string& text) {
    try {
      parse_program(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::format);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message("program units=2 microbatches=1\n\nfly u0\n"),
            "program line 3: unknown instruction \"fly\"");
  EXPECT_EQ(message("program units=2 microbatches=1\ngather x0\n"),
            "program line 2: \"x0\" is not u<number>");
  EXPECT_EQ(message("program units=99999999999 microbatches=1\n"),
            "program line 1: \"units=99999999999\" is not units=<number>");
  EXPECT_EQ(message("program units=2 microbatches=1\nsend_forward u0 mb0\n"),
            "program line 2: send_forward needs a peer");
  EXPECT_EQ(message(""), "the program text is empty");
}

TEST(CompileFsdp, NeverReshardGathersOnceAStep) {
  StepOptions step = options(3, 4);
  step.storage.reshard.kind = ReshardPolicy::Kind::never;
  EXPECT_EQ(lines_with(compile_fsdp(step), " gather"), "");
  EXPECT_EQ(lines_with(compile_fsdp(step), "wait_gather"),
            "wait_gather u0\nwait_gather u1\nwait_gather u2\n");
}

TEST(CompileFsdp, KeepLastSparesTheGatherAfterTheLoss) {
  StepOptions step = options(4, 1);
  step.storage.reshard.kind = ReshardPolicy::Kind::keep_last;
  EXPECT_EQ(
      lines_with(compile_fsdp(step), "wait_gather"),
      "wait_gather u0\nwait_gather u1\nwait_gather u2\nwait_gather u3\nwait_gather u1\nwait_gather u0\n");
}

TEST(CompileFsdp, GroupReshardsBetweenForwardAndBackwardOnly) {
  StepOptions step = options(4, 1);
  step.storage.reshard = {ReshardPolicy::Kind::group, 2};
  EXPECT_EQ(lines_with(compile_fsdp(step), "reshard"), "reshard u0\nreshard u1\nreshard u2\n");
  EXPECT_EQ(lines_with(compile_fsdp(step), "release"), "release u3\nrelease u2\nrelease u1\nrelease u0\n");
}

TEST(CompileFsdp, DeferredSyncReducesOnceAfterTheLastMicrobatch) {
  StepOptions step = options(3, 3);
  EXPECT_EQ(lines_with(compile_fsdp(step), "wait_reduce"),
            "wait_reduce u2\nwait_reduce u1\nwait_reduce u0\n");
  step.storage.defer_reduce = false;
  const Program program = compile_fsdp(step);
  int reductions = 0;
  for (const Instruction& i : program.instructions) reductions += i.op == Op::reduce;
  EXPECT_EQ(reductions, 9);
}

TEST(CompileFsdp, ReplicasAreSummedOnceEvenWhenEveryMicrobatchReduces) {
  StepOptions step = options(2, 3);
  step.storage.defer_reduce = false;
  step.storage.replicas = true;
  EXPECT_EQ(lines_with(compile_fsdp(step), "reduce_replicas"), "reduce_replicas u1\nreduce_replicas u0\n");
}

TEST(CompileFsdp, ATiedHeadGathersItsLenderAndReducesItLast) {
  StepOptions step = options(4, 2);
  step.units[3].borrows = {0};
  step.units[0].backward_uses_weights = false;
  const std::string reductions = lines_with(compile_fsdp(step), "wait_reduce");
  EXPECT_EQ(reductions, "wait_reduce u3\nwait_reduce u2\nwait_reduce u1\nwait_reduce u0\n");
  const std::string text = to_text(compile_fsdp(step));
  EXPECT_NE(text.find("wait_gather u3\ngather u1\nwait_gather u0\nloss u3 mb0\n"), std::string::npos) << text;
  // The embedding's backward reads no weights: they are not gathered for it.
  EXPECT_NE(text.find("release u1\nforward"), 0u);
  EXPECT_EQ(lines_with(compile_fsdp(step), "wait_gather u0"),
            "wait_gather u0\nwait_gather u0\nwait_gather u0\nwait_gather u0\n");
}

TEST(CompileFsdp, RejectsWhatCannotBe) {
  EXPECT_THROW(compile_fsdp(options(0, 1)), Error);
  EXPECT_THROW(compile_fsdp(options(2, -1)), Error);
  StepOptions step = options(2, 1);
  step.storage.prefetch = -1;
  EXPECT_THROW(compile_fsdp(step), Error);
  step = options(2, 1);
  step.units[1].borrows = {1};
  EXPECT_THROW(compile_fsdp(step), Error);
}

TEST(CompileForward, KeptWeightsAreNotReleased) {
  const Program program = compile_forward(options(3, 1), Op::logits, true);
  EXPECT_EQ(lines_with(program, "release"), "");
  EXPECT_EQ(program.instructions.back(), (Instruction{Op::logits, 2, 0}));
}

}  // namespace
}  // namespace tessera
