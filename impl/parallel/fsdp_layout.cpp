// Layout arithmetic of FSDP units.
#include "parallel/fsdp_layout.h"

#include "core/error.h"

namespace tessera {
namespace {

// Parameters start at cache lines in any dtype. Usual sizes are multiples, so that the weights of q, k and v
// touch and their GEMMs can be one.
constexpr int64_t kAlignment = 64;

// Gives the parameter its place behind the others of the layout.
void append(FsdpParam param, FsdpLayout& layout) {
  param.full_offset = layout.full_numel;
  param.shard_offset = layout.shard_numel;
  layout.full_numel += aligned_numel(param.full_numel());
  layout.shard_numel += aligned_numel(param.shard.padded_numel());
  layout.params.push_back(std::move(param));
}

FsdpParam cut(const ParamSpec& spec, const std::vector<ShardPosition>& positions) {
  TESSERA_CHECK(!spec.shape.empty(), unsupported, spec.name, " has no dims: it cannot be sharded by rows");
  FsdpParam param;
  param.spec = spec;
  param.domain = domain_of(spec);
  TESSERA_CHECK(param.domain < positions.size(), internal, spec.name,
                " is an expert's, but there is no place for experts");
  TESSERA_CHECK(!spec.exact || (!spec.trainable && param.domain == 0 && spec.tp == Placement::replicate()),
                internal, spec.name, " cannot be exact: it is trained or cut");
  const ShardPosition position = spec.exact ? ShardPosition{} : positions[param.domain];
  param.held = spec.ep_index < 0 || spec.ep_index == position.ep_index;
  param.part_shape = tp_box(spec, position.tp_index, position.tp_size).size;
  if (!param.held) param.part_shape[0] = 0;
  param.shards = position.shards;
  param.shard = row_shard(param.part_shape, position.shard_index, position.shards);
  return param;
}

}  // namespace

int64_t aligned_numel(int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

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

Box owned_box(const ParamSpec& spec, const ShardPosition& at) {
  if (spec.ep_index >= 0 && spec.ep_index != at.ep_index) {
    Box none = Box::whole(spec.shape);
    none.size[0] = 0;
    return none;
  }
  if (spec.exact) return Box::whole(spec.shape);
  return owned_box(spec, at.tp_index, at.tp_size, at.shard_index, at.shards);
}

std::vector<FsdpLayout> make_layouts(const std::vector<std::unique_ptr<Unit>>& units,
                                     const std::vector<int>& starts,
                                     const std::vector<ShardPosition>& positions,
                                     const std::vector<bool>& held) {
  std::vector<FsdpLayout> layouts;
  for (size_t g = 0; g < starts.size(); ++g) {
    const int end = g + 1 < starts.size() ? starts[g + 1] : static_cast<int>(units.size());
    FsdpLayout layout;
    layout.first_member = starts[g];
    layout.members = end - starts[g];
    std::vector<size_t> slots(positions.size(), 0);
    for (int member = starts[g]; member < end; ++member) {
      layout.first_param.push_back(static_cast<int>(layout.params.size()));
      if (!held.empty() && !held[member]) continue;
      for (const ParamSpec& spec : units[member]->params()) {
        FsdpParam param = cut(spec, positions);
        if (spec.exact) {
          layout.params.push_back(std::move(param));
          continue;
        }
        if (param.held) param.slot = slots[param.domain]++;
        append(std::move(param), layout);
      }
    }
    layouts.push_back(std::move(layout));
  }
  return layouts;
}

std::vector<FsdpLayout> domain_layouts(const std::vector<FsdpLayout>& layouts, size_t domain) {
  return select_params(layouts, [domain](const FsdpParam& param) { return param.domain == domain; });
}

std::vector<FsdpLayout> select_params(const std::vector<FsdpLayout>& layouts,
                                      const std::function<bool(const FsdpParam&)>& has) {
  std::vector<FsdpLayout> parts;
  for (const FsdpLayout& all : layouts) {
    FsdpLayout part;
    part.first_member = all.first_member;
    part.members = all.members;
    for (const FsdpParam& param : all.params) {
      if (param.held && !param.spec.exact && has(param)) append(param, part);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace tessera
