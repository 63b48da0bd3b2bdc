// Reading and putting together what a checkpoint stores as slices.
#include "checkpoint/stored.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "checkpoint/mxfp4.h"
#include "core/error.h"

namespace tessera {
namespace {

// The dim of the parameter along which it takes turns with others; -1: none.
int turning_dim(const StoredSlice& slice) {
  for (size_t d = 0; d < slice.step.size(); ++d) {
    if (slice.step[d] > 1) return static_cast<int>(d);
  }
  return -1;
}

// Where the turns begin: the same for all parameters that take turns.
std::vector<int64_t> first_turn(const StoredSlice& slice, int d) {
  std::vector<int64_t> begin = slice.begin;
  int64_t& at = begin[slice.dim[d]];
  at -= at % slice.step[d];
  return begin;
}

bool take_turns(const ParameterPart& a, const ParameterPart& b, int d) {
  const StoredSlice& x = *a.spec->stored;
  const StoredSlice& y = *b.spec->stored;
  return x.name == y.name && x.shape == y.shape && x.dim == y.dim && x.step == y.step &&
         a.tensor.box == b.tensor.box && first_turn(x, d) == first_turn(y, d);
}

ShardedTensor joined_turns(const std::vector<const ParameterPart*>& turns, int d) {
  const StoredSlice& first = *turns.front()->spec->stored;
  const Box& part = turns.front()->tensor.box;
  ShardedTensor joined = turns.front()->tensor;
  joined.name = first.name;
  joined.global_shape = first.shape;
  joined.box = first.cover(part);
  const int along = first.dim[d];
  joined.box.offset[along] = first_turn(first, d)[along] + part.offset[d] * first.step[d];
  joined.box.size[along] = part.size[d] * first.step[d];
  joined.local = at::empty(joined.box.size, turns.front()->tensor.local.options());
  for (const ParameterPart* turn : turns) {
    if (part.empty()) break;
    const StoredSlice& slice = *turn->spec->stored;
    at::Tensor place = joined.local.narrow(along, slice.begin[along] % slice.step[d],
                                           1 + (part.size[d] - 1) * slice.step[d]);
    slice.view(place, part).copy_(turn->tensor.local);
  }
  return joined;
}

ShardedTensor as_stored(const ParameterPart& part) {
  const StoredSlice& slice = *part.spec->stored;
  ShardedTensor stored = part.tensor;
  stored.name = slice.name;
  stored.global_shape = slice.shape;
  stored.box = slice.cover(part.tensor.box);
  if (slice.plain()) {
    stored.local = part.tensor.local.view(stored.box.size);
    return stored;
  }
  stored.local = at::empty(stored.box.size, part.tensor.local.options());
  slice.view(stored.local, part.tensor.box).copy_(part.tensor.local);
  return stored;
}

}  // namespace

void read_parameter(const CheckpointReader& reader, const ParamSpec& spec, const Box& box,
                    const at::Tensor& out) {
  if (!spec.stored) return reader.read(spec.name, spec.shape, box, out);
  const StoredSlice& slice = *spec.stored;
  slice.check(spec.shape);
  const Box cover = slice.cover(box);
  if (is_mxfp4(reader, slice.name)) {
    out.copy_(slice.view(read_mxfp4(reader, slice.name, slice.shape, cover), box));
    return;
  }
  if (slice.plain()) return reader.read(slice.name, slice.shape, cover, out.view(cover.size));
  const at::Tensor covered = at::empty(cover.size, out.options());
  reader.read(slice.name, slice.shape, cover, covered);
  out.copy_(slice.view(covered, box));
}

std::vector<std::string> tensors_of(const CheckpointReader& reader, const ParamSpec& spec) {
  const std::string& name = spec.stored ? spec.stored->name : spec.name;
  if (spec.stored && is_mxfp4(reader, name)) return {name + "_blocks", name + "_scales"};
  return {name};
}

std::vector<ShardedTensor> stored_parts(const std::vector<ParameterPart>& parts) {
  std::vector<ShardedTensor> result;
  std::vector<bool> done(parts.size(), false);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (done[i]) continue;
    const ParameterPart& part = parts[i];
    if (!part.spec->stored) {
      result.push_back(part.tensor);
      continue;
    }
    part.spec->stored->check(part.spec->shape);
    const int turning = turning_dim(*part.spec->stored);
    if (turning < 0) {
      result.push_back(as_stored(part));
      continue;
    }
    const int64_t expected = part.spec->stored->step[turning];
    std::vector<const ParameterPart*> turns;
    for (size_t j = i; j < parts.size() && std::ssize(turns) < expected; ++j) {
      if (done[j] || !parts[j].spec->stored || !take_turns(part, parts[j], turning)) continue;
      turns.push_back(&parts[j]);
      done[j] = true;
    }
    TESSERA_CHECK(std::ssize(turns) == expected, internal, part.spec->name, " takes turns with ",
                  turns.size() - 1, " parameters in ", part.spec->stored->name, ", expected ", expected - 1);
    result.push_back(joined_turns(turns, turning));
  }
  return result;
}

}  // namespace tessera
