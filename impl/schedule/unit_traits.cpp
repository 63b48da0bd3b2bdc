// Which weights an instruction reads and which gradients it adds to.
#include "schedule/unit_traits.h"

#include <map>

#include "core/error.h"

namespace tessera {
namespace {

std::vector<int> with_lenders(int unit, const std::vector<UnitTraits>& units) {
  std::vector<int> all = {unit};
  const std::vector<int>& lenders = units[unit].borrows;
  all.insert(all.end(), lenders.begin(), lenders.end());
  return all;
}

}  // namespace

bool computes(Op op) {
  switch (op) {
    case Op::forward:
    case Op::recompute:
    case Op::loss:
    case Op::backward:
    case Op::backward_input:
    case Op::backward_weight:
    case Op::evaluate:
    case Op::logits:
      return true;
    default:
      return false;
  }
}

std::vector<int> weights_used(const Instruction& instruction, const std::vector<UnitTraits>& units) {
  switch (instruction.op) {
    case Op::forward:
    case Op::recompute:
    case Op::loss:
    case Op::evaluate:
    case Op::logits:
      return with_lenders(instruction.unit, units);
    case Op::backward:
    case Op::backward_input:
      if (units[instruction.unit].backward_uses_weights) return with_lenders(instruction.unit, units);
      return {};
    default:
      return {};  // backward_weight needs activations and output gradients only
  }
}

std::vector<int> gradients_added(const Instruction& instruction, const std::vector<UnitTraits>& units) {
  const Op op = instruction.op;
  if (op != Op::loss && op != Op::backward && op != Op::backward_weight) return {};
  std::vector<int> added;
  for (int unit : with_lenders(instruction.unit, units)) {
    if (units[unit].trainable) added.push_back(unit);
  }
  return added;
}

std::vector<std::vector<int>> last_weight_uses(const Program& program, const std::vector<UnitTraits>& units) {
  std::map<int, size_t> last;
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    if (!weights_used(program.instructions[i], units).empty()) last[program.instructions[i].unit] = i;
  }
  std::vector<std::vector<int>> uses(program.instructions.size());
  for (const auto& [unit, i] : last) uses[i].push_back(unit);
  return uses;
}

void validate(const std::vector<UnitTraits>& units) {
  const int count = static_cast<int>(units.size());
  TESSERA_CHECK(count > 0, argument, "a program needs at least one unit");
  for (int unit = 0; unit < count; ++unit) {
    for (int lender : units[unit].borrows) {
      TESSERA_CHECK(lender >= 0 && lender < count && lender != unit, argument, "unit ", unit,
                    " borrows from unit ", lender, " of ", count);
    }
  }
}

}  // namespace tessera
