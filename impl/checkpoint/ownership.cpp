// Exchange and checks of who owns which part of which tensor.
#include "checkpoint/ownership.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "checkpoint/agreement.h"
#include "checkpoint/names.h"
#include "core/error.h"

namespace tessera {
namespace {

// [name, dtype, shape, offset, size, exact] for each tensor of this rank that it owns a part of.
std::string describe(const std::vector<ShardedTensor>& tensors) {
  nlohmann::json list = nlohmann::json::array();
  for (const ShardedTensor& tensor : tensors) {
    if (!tensor.owner) continue;
    list.push_back({tensor.name, static_cast<int>(tensor.local.scalar_type()), tensor.global_shape,
                    tensor.box.offset, tensor.box.size, tensor.exact});
  }
  return list.dump();
}

}  // namespace

void check_tensors(const std::vector<ShardedTensor>& tensors, PartsOfRank parts) {
  std::unordered_map<std::string, std::vector<const Box*>> seen;
  for (const ShardedTensor& tensor : tensors) {
    TESSERA_CHECK(!tensor.name.empty(), argument, "a tensor has no name");
    TESSERA_CHECK(tensor.local.defined(), argument, "tensor ", printable(tensor.name), " has no local part");
    checked_numel(tensor.global_shape);
    TESSERA_CHECK(tensor.box.fits(tensor.global_shape), argument, "tensor ", printable(tensor.name),
                  ": its box lies outside the shape ", shape_text(tensor.global_shape));
    TESSERA_CHECK(tensor.local.sizes() == at::IntArrayRef(tensor.box.size), argument, "tensor ",
                  printable(tensor.name), ": the local part has shape ",
                  shape_text(tensor.local.sizes().vec()), ", its box ", shape_text(tensor.box.size));
    TESSERA_CHECK(tensor.local.is_contiguous(), argument, "tensor ", printable(tensor.name),
                  ": the local part is not contiguous");
    std::vector<const Box*>& others = seen[tensor.name];
    const bool apart = std::all_of(others.begin(), others.end(), [&](const Box* other) {
      return parts == PartsOfRank::several && other->fits(tensor.global_shape) &&
             intersection(*other, tensor.box).empty();
    });
    TESSERA_CHECK(apart, argument, "tensor ", printable(tensor.name), " is listed twice");
    others.push_back(&tensor.box);
  }
}

void check_cover(const OwnedTensor& tensor) {
  const auto name = [&] { return "tensor " + printable(tensor.name); };
  int64_t covered = 0;
  std::vector<const OwnedPart*> order;
  for (const OwnedPart& part : tensor.parts) {
    TESSERA_CHECK(part.box.fits(tensor.shape), argument, name(), ": a part lies outside the shape ",
                  shape_text(tensor.shape));
    if (part.box.empty()) continue;
    covered += part.box.numel();
    order.push_back(&part);
  }
  const int64_t numel = checked_numel(tensor.shape);
  TESSERA_CHECK(covered <= numel, argument, name(), ": parts have ", covered, " elements, the tensor ",
                numel);
  TESSERA_CHECK(covered == numel, argument, name(), ": ", covered, " of ", numel, " elements have an owner");
  if (tensor.shape.empty()) return;  // one element, and covered == 1
  // Only parts that share rows can overlap: walk them by first row.
  std::sort(order.begin(), order.end(),
            [](const OwnedPart* a, const OwnedPart* b) { return a->box.offset < b->box.offset; });
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t end = order[i]->box.offset[0] + order[i]->box.size[0];
    for (size_t j = i + 1; j < order.size() && order[j]->box.offset[0] < end; ++j) {
      TESSERA_CHECK(intersection(order[i]->box, order[j]->box).empty(), argument, name(), ": ranks ",
                    order[i]->rank, " and ", order[j]->rank, " both own a part of it");
    }
  }
}

std::vector<OwnedTensor> gather_ownership(const std::vector<ShardedTensor>& tensors, Group& group,
                                          at::Device device, PartsOfRank parts) {
  std::string mine;
  together(group, device, "listing tensors", [&] {
    check_tensors(tensors, parts);
    mine = describe(tensors);
  });
  const std::vector<std::string> lists = gather_texts(group, device, mine);
  // From here on every rank works on the same data: an error is the same error everywhere.
  std::vector<OwnedTensor> all;
  std::unordered_map<std::string, size_t> index;
  for (int rank = 0; rank < group.size(); ++rank) {
    for (const nlohmann::json& item : nlohmann::json::parse(lists[rank])) {
      const auto& name = item[0].get_ref<const std::string&>();
      const auto dtype = static_cast<at::ScalarType>(item[1].get<int>());
      auto shape = item[2].get<std::vector<int64_t>>();
      const auto [it, fresh] = index.emplace(name, all.size());
      if (fresh) all.push_back({name, dtype, shape, {}, item[5].get<bool>()});
      OwnedTensor& tensor = all[it->second];
      TESSERA_CHECK(tensor.shape == shape, argument, "tensor ", printable(name), " has shape ",
                    shape_text(shape), " on group rank ", rank, " and ", shape_text(tensor.shape),
                    " before it");
      TESSERA_CHECK(tensor.dtype == dtype, argument, "tensor ", printable(name), " is ", c10::toString(dtype),
                    " on group rank ", rank, " and ", c10::toString(tensor.dtype), " before it");
      Box box{item[3].get<std::vector<int64_t>>(), item[4].get<std::vector<int64_t>>()};
      if (!box.empty()) tensor.parts.push_back({rank, std::move(box)});
    }
  }
  for (const OwnedTensor& tensor : all) check_cover(tensor);
  return all;
}

}  // namespace tessera
