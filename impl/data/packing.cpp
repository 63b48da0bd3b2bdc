// The packers' entry points, the order-keeping packers, and the step from lengths back to documents.
#include "data/packing.h"

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "data/packing_detail.h"
#include "data/parallel_for.h"

namespace tessera {
namespace packing {

Histogram make_histogram(std::span<const int64_t> lengths, int64_t capacity) {
  Histogram out;
  out.first.assign(static_cast<size_t>(capacity) + 2, 0);
  for (const int64_t length : lengths) ++out.first[length + 1];
  for (size_t l = 1; l < out.first.size(); ++l) out.first[l] += out.first[l - 1];
  std::vector<uint32_t> next(out.first.begin(), out.first.end() - 1);
  out.order.resize(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) out.order[next[lengths[i]]++] = static_cast<uint32_t>(i);
  return out;
}

Packing materialise(const Plan& plan, const Histogram& histogram) {
  Packing out;
  out.offsets.assign(plan.packs + size_t{1}, 0);
  for (const Assignment& a : plan.assignments)
    for (uint32_t p = 0; p < a.packs; ++p) out.offsets[a.pack + p + 1] += a.copies;
  for (size_t p = 1; p < out.offsets.size(); ++p) out.offsets[p] += out.offsets[p - 1];
  out.documents.resize(histogram.order.size());
  std::vector<uint32_t> next(histogram.first.begin(), histogram.first.end() - 1);
  std::vector<int64_t> cursor(out.offsets.begin(), out.offsets.end() - 1);
  for (const Assignment& a : plan.assignments) {
    uint32_t& from = next[a.length];
    for (uint32_t p = 0; p < a.packs; ++p) {
      int64_t& to = cursor[a.pack + p];
      for (uint32_t k = 0; k < a.copies; ++k) out.documents[to++] = histogram.order[from++];
    }
  }
  return out;
}

int64_t lower_bound(std::span<const int64_t> counts) {
  const int64_t capacity = static_cast<int64_t>(counts.size()) - 1;
  std::vector<int64_t> number(counts.size() + 1, 0), total(counts.size() + 1, 0);  // of the lengths below l
  for (int64_t l = 0; l <= capacity; ++l) {
    number[l + 1] = number[l] + counts[l];
    total[l + 1] = total[l] + counts[l] * l;
  }
  const auto ceil = [capacity](int64_t tokens) { return (tokens + capacity - 1) / capacity; };
  int64_t best = ceil(total[capacity + 1]);
  const int64_t half = capacity / 2;
  for (int64_t alpha = 1; alpha <= half; ++alpha) {
    if (counts[alpha] == 0) continue;
    const int64_t large = number[capacity + 1] - number[half + 1];
    const int64_t medium = number[capacity - alpha + 1] - number[half + 1];
    const int64_t room = medium * capacity - (total[capacity - alpha + 1] - total[half + 1]);
    const int64_t small = total[half + 1] - total[alpha];
    best = std::max(best, large + (small > room ? ceil(small - room) : 0));
  }
  return std::max(best, number[capacity + 1] - number[half + 1]);
}

}  // namespace packing

namespace {

constexpr int64_t kLargestCapacity = 1 << 24;
constexpr const char* kNames[] = {"next_fit", "next_fit_split", "first_fit", "ffd", "bfd", "wfd", "optimal"};

void check_capacity(int64_t capacity) {
  TESSERA_CHECK(capacity >= 1 && capacity <= kLargestCapacity, argument, "capacity=", capacity,
                " must be between 1 and ", kLargestCapacity);
}

void check(std::span<const int64_t> lengths, const PackOptions& options) {
  check_capacity(options.capacity);
  TESSERA_CHECK(lengths.size() < 0xffffffffu, argument, lengths.size(),
                " documents are more than a packer can take");
  TESSERA_CHECK(options.group_size >= 1, argument, "group_size=", options.group_size, " must be at least 1");
  TESSERA_CHECK(options.bin_size >= 1, argument, "bin_size=", options.bin_size, " must be at least 1");
  TESSERA_CHECK(options.effort >= 0, argument, "effort=", options.effort, " must not be negative");
  const bool splits = options.packer == Packer::next_fit_split;
  const int64_t largest = splits ? int64_t{1} << 40 : options.capacity;
  for (size_t i = 0; i < lengths.size(); ++i)
    TESSERA_CHECK(lengths[i] >= 1 && lengths[i] <= largest, argument, "lengths[", i, "]=", lengths[i],
                  " is not between 1 and ", splits ? "" : "the capacity ", largest);
}

Packing next_fit(std::span<const int64_t> lengths, int64_t capacity) {
  Packing out;
  out.documents.resize(lengths.size());
  int64_t fill = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (fill + lengths[i] > capacity) {
      out.offsets.push_back(static_cast<int64_t>(i));
      fill = 0;
    }
    fill += lengths[i];
    out.documents[i] = static_cast<int64_t>(i);
  }
  if (!lengths.empty()) out.offsets.push_back(static_cast<int64_t>(lengths.size()));
  return out;
}

Packing next_fit_split(std::span<const int64_t> lengths, int64_t capacity) {
  Packing out;
  int64_t fill = 0;
  const auto end_pack = [&] {
    out.offsets.push_back(static_cast<int64_t>(out.documents.size()));
    fill = 0;
  };
  for (size_t i = 0; i < lengths.size(); ++i) {
    for (int64_t begin = 0; begin < lengths[i];) {
      const int64_t length = std::min(lengths[i] - begin, capacity - fill);
      out.documents.push_back(static_cast<int64_t>(i));
      out.cuts.push_back({begin, length});
      begin += length;
      fill += length;
      if (fill == capacity) end_pack();
    }
  }
  if (fill > 0) end_pack();
  return out;
}

/// The room left in each pack under a tree of maxima, to find the first pack with enough of it.
class RoomTree {
 public:
  explicit RoomTree(size_t packs) {
    while (leaves_ < packs) leaves_ *= 2;
    room_.assign(2 * leaves_, 0);
  }
  /// The first pack with at least `length` room; there must be one.
  size_t first(int64_t length) const {
    size_t node = 1;
    while (node < leaves_) node = room_[2 * node] >= length ? 2 * node : 2 * node + 1;
    return node - leaves_;
  }
  int64_t most() const { return room_[1]; }
  int64_t room(size_t pack) const { return room_[leaves_ + pack]; }
  void set(size_t pack, int64_t room) {
    size_t node = leaves_ + pack;
    room_[node] = static_cast<int32_t>(room);
    while (node > 1) {
      node /= 2;
      room_[node] = std::max(room_[2 * node], room_[2 * node + 1]);
    }
  }

 private:
  size_t leaves_ = 1;
  std::vector<int32_t> room_;
};

/// First fit over one group; returns the pack of each document and the number of packs.
size_t first_fit_group(std::span<const int64_t> lengths, const PackOptions& options,
                       std::span<uint32_t> pack_of) {
  RoomTree tree(lengths.size());
  std::vector<int32_t> documents;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const bool fits = tree.most() >= lengths[i];
    const size_t pack = fits ? tree.first(lengths[i]) : documents.size();
    if (!fits) documents.push_back(0);
    const int64_t room = (fits ? tree.room(pack) : options.capacity) - lengths[i];
    const bool full = ++documents[pack] >= options.bin_size;
    tree.set(pack, full ? 0 : room);
    pack_of[i] = static_cast<uint32_t>(pack);
  }
  return documents.size();
}

Packing first_fit(std::span<const int64_t> lengths, const PackOptions& options) {
  const auto group_size = static_cast<size_t>(options.group_size);
  const size_t groups = (lengths.size() + group_size - 1) / group_size;
  std::vector<uint32_t> pack_of(lengths.size());
  std::vector<size_t> packs(groups);
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  parallel_for(groups, options.threads > 0 ? static_cast<size_t>(options.threads) : cores, [&](size_t g) {
    const size_t begin = g * group_size;
    const size_t count = std::min(group_size, lengths.size() - begin);
    packs[g] =
        first_fit_group(lengths.subspan(begin, count), options, std::span(pack_of).subspan(begin, count));
  });

  Packing out;
  size_t total = 0;
  for (size_t g = 0; g < groups; ++g) {
    for (size_t i = g * group_size; i < std::min(lengths.size(), (g + 1) * group_size); ++i)
      pack_of[i] += static_cast<uint32_t>(total);
    total += packs[g];
  }
  out.offsets.assign(total + 1, 0);
  for (const uint32_t pack : pack_of) ++out.offsets[pack + size_t{1}];
  for (size_t p = 1; p < out.offsets.size(); ++p) out.offsets[p] += out.offsets[p - 1];
  std::vector<int64_t> cursor(out.offsets.begin(), out.offsets.end() - 1);
  out.documents.resize(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) out.documents[cursor[pack_of[i]]++] = static_cast<int64_t>(i);
  return out;
}

}  // namespace

packing::Plan packing::first_fit_decreasing(const Histogram& histogram) {
  Plan plan;
  const int64_t capacity = histogram.capacity();
  int64_t tokens = 0;
  for (int64_t l = 1; l <= capacity; ++l) tokens += l * histogram.count(l);
  // Two neighbouring packs of first fit hold more than one capacity together.
  RoomTree tree(static_cast<size_t>(2 * (tokens / capacity) + 2));
  for (int64_t l = capacity; l >= 1; --l) {
    for (int64_t left = histogram.count(l); left > 0;) {
      const bool fits = tree.most() >= l;
      const size_t pack = fits ? tree.first(l) : plan.packs++;
      const int64_t room = fits ? tree.room(pack) : capacity;
      const int64_t copies = std::min(left, room / l);
      plan.assignments.push_back(
          {static_cast<uint32_t>(pack), 1, static_cast<uint32_t>(l), static_cast<uint32_t>(copies)});
      tree.set(pack, room - copies * l);
      left -= copies;
    }
  }
  return plan;
}

const std::vector<std::string>& packer_names() {
  static const std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  return names;
}

const char* packer_name(Packer packer) {
  return kNames[static_cast<int>(packer)];
}

Packer parse_packer(const std::string& name) {
  const auto& names = packer_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    std::string all;
    for (const std::string& known : names) all += (all.empty() ? "" : ", ") + known;
    throw Error(Code::argument, cat("packer ", name, " is none of ", all));
  }
  return static_cast<Packer>(found - names.begin());
}

Packing pack(std::span<const int64_t> lengths, const PackOptions& options) {
  check(lengths, options);
  if (options.packer == Packer::next_fit) return next_fit(lengths, options.capacity);
  if (options.packer == Packer::next_fit_split) return next_fit_split(lengths, options.capacity);
  if (options.packer == Packer::first_fit) return first_fit(lengths, options);
  const packing::Histogram histogram = packing::make_histogram(lengths, options.capacity);
  packing::Plan plan;
  if (options.packer == Packer::ffd) plan = packing::first_fit_decreasing(histogram);
  if (options.packer == Packer::bfd) plan = packing::best_fit_decreasing(histogram);
  if (options.packer == Packer::wfd) plan = packing::worst_fit_decreasing(histogram);
  if (options.packer == Packer::optimal) plan = packing::near_optimal(histogram, options);
  return packing::materialise(plan, histogram);
}

Packing pack_groups(std::span<const int64_t> lengths, std::span<const int64_t> group_offsets,
                    const PackOptions& options) {
  TESSERA_CHECK(options.packer != Packer::next_fit_split, argument, "next_fit_split would cut groups apart");
  TESSERA_CHECK(!group_offsets.empty() && group_offsets.front() == 0 &&
                    group_offsets.back() == static_cast<int64_t>(lengths.size()),
                argument, "group_offsets must run from 0 to the number of documents, ", lengths.size());
  std::vector<int64_t> sums(group_offsets.size() - 1, 0);
  for (size_t g = 0; g < sums.size(); ++g) {
    TESSERA_CHECK(group_offsets[g] < group_offsets[g + 1], argument, "group_offsets[", g + 1,
                  "]=", group_offsets[g + 1], " does not follow ", group_offsets[g]);
    for (int64_t i = group_offsets[g]; i < group_offsets[g + 1]; ++i) {
      TESSERA_CHECK(lengths[i] >= 1 && lengths[i] <= options.capacity, argument, "lengths[", i,
                    "]=", lengths[i], " is not between 1 and the capacity ", options.capacity);
      sums[g] += lengths[i];
    }
    TESSERA_CHECK(sums[g] <= options.capacity, argument, "group ", g, " of ", sums[g],
                  " tokens does not fit into the capacity ", options.capacity);
  }
  const Packing groups = pack(sums, options);
  Packing out;
  out.documents.reserve(lengths.size());
  for (int64_t p = 0; p < groups.packs(); ++p) {
    for (const int64_t g : groups.pack(p))
      for (int64_t i = group_offsets[g]; i < group_offsets[g + 1]; ++i) out.documents.push_back(i);
    out.offsets.push_back(static_cast<int64_t>(out.documents.size()));
  }
  return out;
}

int64_t pack_lower_bound(std::span<const int64_t> lengths, int64_t capacity) {
  check_capacity(capacity);
  std::vector<int64_t> counts(static_cast<size_t>(capacity) + 1, 0);
  for (size_t i = 0; i < lengths.size(); ++i) {
    TESSERA_CHECK(lengths[i] >= 1 && lengths[i] <= capacity, argument, "lengths[", i, "]=", lengths[i],
                  " is not between 1 and the capacity ", capacity);
    ++counts[lengths[i]];
  }
  return packing::lower_bound(counts);
}

double pack_efficiency(std::span<const int64_t> lengths, int64_t packs, int64_t capacity) {
  if (packs == 0) return 0;
  double tokens = 0;
  for (const int64_t length : lengths) tokens += static_cast<double>(length);
  return tokens / (static_cast<double>(packs) * static_cast<double>(capacity));
}

}  // namespace tessera
