// Index arithmetic of slices in checkpoint tensors.
#include "tensor/stored_slice.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace tessera {

StoredSlice StoredSlice::rows_of(std::string name, const std::vector<int64_t>& shape, int64_t rows,
                                 int64_t first) {
  StoredSlice slice;
  slice.name = std::move(name);
  slice.shape = shape;
  slice.shape.at(0) = rows;
  slice.begin.assign(shape.size(), 0);
  slice.begin[0] = first;
  slice.dim.resize(shape.size());
  std::iota(slice.dim.begin(), slice.dim.end(), 0);
  slice.step.assign(shape.size(), 1);
  return slice;
}

bool StoredSlice::plain() const {
  return std::is_sorted(dim.begin(), dim.end()) &&
         std::all_of(step.begin(), step.end(), [](int64_t s) { return s == 1; });
}

void StoredSlice::check(const std::vector<int64_t>& parameter) const {
  bool fits = begin.size() == shape.size() && dim.size() == parameter.size() && step.size() == dim.size();
  std::vector<bool> used(shape.size(), false);
  for (size_t d = 0; fits && d < dim.size(); ++d) {
    fits = dim[d] >= 0 && dim[d] < static_cast<int>(shape.size()) && !used[dim[d]] && step[d] >= 1;
    if (fits) used[dim[d]] = true;
  }
  TESSERA_CHECK(fits && Box({begin, cover(Box::whole(parameter)).size}).fits(shape), internal,
                "a parameter does not lie inside ", name, " of the checkpoint");
}

Box StoredSlice::cover(const Box& part) const {
  Box box{begin, std::vector<int64_t>(shape.size(), 1)};
  for (size_t d = 0; d < dim.size(); ++d) {
    int64_t& offset = box.offset[dim[d]];
    offset = std::min(offset + part.offset[d] * step[d], shape[dim[d]]);  // an empty part may lie at the end
    box.size[dim[d]] = part.size[d] == 0 ? 0 : (part.size[d] - 1) * step[d] + 1;
  }
  return box;
}

at::Tensor StoredSlice::view(const at::Tensor& covered, const Box& part) const {
  std::vector<int64_t> strides;
  for (size_t d = 0; d < dim.size(); ++d) strides.push_back(covered.stride(dim[d]) * step[d]);
  return covered.as_strided(part.size, strides, covered.storage_offset());
}

}  // namespace tessera
