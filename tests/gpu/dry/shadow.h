// Who last wrote and who has read each piece of memory, and what of that a stream knows to be over: vector
// clocks over streams, in the manner of FastTrack (Flanagan and Freund, PLDI 2009).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace races {

/// How much of each stream is over, by the stream's number.
class Clock {
 public:
  uint32_t of(int stream) const {
    return static_cast<size_t>(stream) < count_.size() ? count_[static_cast<size_t>(stream)] : 0;
  }
  void advance(int stream) { at(stream) += 1; }
  void join(const Clock& other) {
    if (other.count_.size() > count_.size()) count_.resize(other.count_.size());
    for (size_t i = 0; i < other.count_.size(); ++i) count_[i] = std::max(count_[i], other.count_[i]);
  }
  bool covers(const Clock& other) const {
    for (size_t i = 0; i < other.count_.size(); ++i) {
      if (of(static_cast<int>(i)) < other.count_[i]) return false;
    }
    return true;
  }

 private:
  uint32_t& at(int stream) {
    if (static_cast<size_t>(stream) >= count_.size()) count_.resize(static_cast<size_t>(stream) + 1);
    return count_[static_cast<size_t>(stream)];
  }
  std::vector<uint32_t> count_;
};

/// One access: the work `work` of the trace, number `time` of its stream. Time 0: none.
struct Stamp {
  int stream = 0;
  uint32_t time = 0;
  size_t work = 0;
};

class Shadow {
 public:
  // over(stamp): whether an access is over for whoever asks; conflict(stamp, wrote, at): called for each that
  // is not and that the new one conflicts with.

  template <class Over, class Conflict>
  void access(uintptr_t begin, size_t bytes, bool writes, const Stamp& stamp, const Over& over,
              const Conflict& conflict) {
    const uintptr_t end = begin + bytes;
    split(begin);
    split(end);
    uintptr_t filled = begin;
    for (auto at = cells_.lower_bound(begin); at != cells_.end() && at->first < end; ++at) {
      check(at->first, at->second, writes, over, conflict);
      if (writes) continue;
      if (at->first > filled) cells_.emplace_hint(at, filled, Cell{at->first, {}, {stamp}});
      add_reader(at->second, stamp);
      filled = at->second.end;
    }
    if (writes) {
      cells_.erase(cells_.lower_bound(begin), cells_.lower_bound(end));
      cells_[begin] = {end, stamp, {}};
    } else if (filled < end) {
      cells_[filled] = {end, {}, {stamp}};
    }
  }

  /// All accesses of a range that are not over.
  template <class Over, class Conflict>
  void outstanding(uintptr_t begin, size_t bytes, const Over& over, const Conflict& conflict) {
    const uintptr_t end = begin + bytes;
    for (auto at = first_in(begin); at != cells_.end() && at->first < end; ++at)
      check(at->first, at->second, true, over, conflict);
  }

  /// Forgets the accesses of a range that are over.
  template <class Over>
  void forget(uintptr_t begin, size_t bytes, const Over& over) {
    const uintptr_t end = begin + bytes;
    split(begin);
    split(end);
    for (auto at = cells_.lower_bound(begin); at != cells_.end() && at->first < end;) {
      Cell& cell = at->second;
      if (cell.writer.time > 0 && over(cell.writer)) cell.writer = {};
      std::erase_if(cell.readers, over);
      at = cell.writer.time == 0 && cell.readers.empty() ? cells_.erase(at) : std::next(at);
    }
  }

  /// Calls visit(begin, bytes, wrote) for every piece.
  template <class F>
  void each(const F& visit) const {
    for (const auto& [begin, cell] : cells_) visit(begin, cell.end - begin, cell.writer.time > 0);
  }

 private:
  struct Cell {
    uintptr_t end = 0;
    Stamp writer;
    std::vector<Stamp> readers;  // since then, the latest of each stream
  };
  using Cells = std::map<uintptr_t, Cell>;

  Cells::iterator first_in(uintptr_t begin) {
    auto at = cells_.upper_bound(begin);
    if (at != cells_.begin() && std::prev(at)->second.end > begin) --at;
    return at;
  }

  void split(uintptr_t at) {
    auto cell = first_in(at);
    if (cell == cells_.end() || cell->first >= at) return;
    Cell rest = cell->second;
    cell->second.end = at;
    cells_.emplace_hint(std::next(cell), at, std::move(rest));
  }

  static void add_reader(Cell& cell, const Stamp& stamp) {
    for (Stamp& reader : cell.readers) {
      if (reader.stream != stamp.stream) continue;
      reader = stamp;
      return;
    }
    cell.readers.push_back(stamp);
  }

  template <class Over, class Conflict>
  static void check(uintptr_t at, const Cell& cell, bool writes, const Over& over, const Conflict& conflict) {
    if (cell.writer.time > 0 && !over(cell.writer)) conflict(cell.writer, true, at);
    if (!writes) return;
    for (const Stamp& reader : cell.readers) {
      if (!over(reader)) conflict(reader, false, at);
    }
  }

  Cells cells_;
};

}  // namespace races
