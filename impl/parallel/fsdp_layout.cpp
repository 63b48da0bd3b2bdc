// Layout arithmetic of FSDP units.
#include "parallel/fsdp_layout.h"

#include "core/error.h"

namespace tessera {
namespace {

// Parameters start at cache lines in any dtype. Usual sizes are multiples, so that the weights of q, k and v
// touch and their GEMMs can be one.
constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

FsdpParam place(const ParamSpec& spec, const ShardPosition& position, FsdpLayout& layout) {
  TESSERA_CHECK(!spec.shape.empty(), unsupported, spec.name, " has no dims: it cannot be sharded by rows");
  FsdpParam param;
  param.spec = spec;
  param.part_shape = tp_box(spec, position.tp_index, position.tp_size).size;
  param.shards = position.shards;
  param.shard = row_shard(param.part_shape, position.shard_index, position.shards);
  param.full_offset = layout.full_numel;
  param.shard_offset = layout.shard_numel;
  layout.full_numel += aligned(param.full_numel());
  layout.shard_numel += aligned(param.shard.padded_numel());
  return param;
}

}  // namespace

at::Tensor FsdpParam::all_chunks(const at::Tensor& full) const {
  return full.narrow(0, full_offset, full_numel());
}

at::Tensor FsdpParam::weight(const at::Tensor& full) const {
  return full.narrow(0, full_offset, checked_numel(part_shape)).view(part_shape);
}

at::Tensor FsdpParam::padded_chunk(const at::Tensor& flat) const {
  return flat.narrow(0, shard_offset, shard.padded_numel());
}

at::Tensor FsdpParam::chunk(const at::Tensor& flat) const {
  return flat.narrow(0, shard_offset, shard.numel());
}

std::vector<FsdpLayout> make_layouts(const std::vector<std::unique_ptr<Unit>>& units,
                                     const std::vector<int>& starts, const ShardPosition& position,
                                     const std::vector<bool>& held) {
  std::vector<FsdpLayout> layouts;
  for (size_t g = 0; g < starts.size(); ++g) {
    const int end = g + 1 < starts.size() ? starts[g + 1] : static_cast<int>(units.size());
    FsdpLayout layout;
    layout.first_member = starts[g];
    layout.members = end - starts[g];
    for (int member = starts[g]; member < end; ++member) {
      layout.first_param.push_back(static_cast<int>(layout.params.size()));
      if (!held.empty() && !held[member]) continue;
      for (const ParamSpec& spec : units[member]->params()) {
        layout.params.push_back(place(spec, position, layout));
      }
    }
    layouts.push_back(std::move(layout));
  }
  return layouts;
}

}  // namespace tessera
