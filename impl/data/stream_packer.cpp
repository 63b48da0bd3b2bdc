// Packing of a stream: pack what is held, give out the fullest half, keep the rest.
#include "data/stream_packer.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace tessera {

StreamPacker::StreamPacker(const PackOptions& options, int64_t buffer) : options_(options), buffer_(buffer) {
  TESSERA_CHECK(buffer >= 1, argument, "buffer=", buffer, " must be at least 1");
  TESSERA_CHECK(options.packer != Packer::next_fit_split, unsupported,
                "a stream cannot be packed by next_fit_split, which cuts documents");
  pack({}, options_);  // checks the options
}

void StreamPacker::push(int64_t id, int64_t length) {
  TESSERA_CHECK(length >= 1 && length <= options_.capacity, argument, "length=", length,
                " is not between 1 and the capacity ", options_.capacity);
  waiting_.push_back({id, length});
  if (static_cast<int64_t>(waiting_.size()) >= buffer_) pack_waiting(false);
}

void StreamPacker::finish() {
  pack_waiting(true);
}

bool StreamPacker::next(std::vector<int64_t>& ids) {
  if (ready_.empty()) return false;
  ids = std::move(ready_.front());
  ready_.pop_front();
  return true;
}

void StreamPacker::pack_waiting(bool all) {
  std::vector<int64_t> lengths(waiting_.size());
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] = waiting_[i].length;
  const Packing packing = pack(lengths, options_);
  std::vector<int64_t> fill(static_cast<size_t>(packing.packs()), 0);
  for (int64_t p = 0; p < packing.packs(); ++p)
    for (const int64_t i : packing.pack(p)) fill[p] += lengths[i];
  std::vector<int64_t> order(fill.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  // Packers that keep the order close their packs one by one: the first ones are done, however full.
  if (options_.packer != Packer::next_fit)
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return fill[a] > fill[b]; });
  const size_t count = all ? order.size() : (order.size() + 1) / 2;
  std::vector<bool> gone(waiting_.size(), false);
  for (size_t k = 0; k < count; ++k) {
    std::vector<int64_t> ids;
    for (const int64_t i : packing.pack(order[k])) {
      ids.push_back(waiting_[i].id);
      gone[i] = true;
    }
    ready_.push_back(std::move(ids));
  }
  std::vector<Document> rest;
  for (size_t i = 0; i < waiting_.size(); ++i)
    if (!gone[i]) rest.push_back(waiting_[i]);
  waiting_ = std::move(rest);
}

}  // namespace tessera
