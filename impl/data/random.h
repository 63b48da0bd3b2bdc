// Seeded shuffling that is the same on every platform, compiler and rank.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

namespace tessera {

/// SplitMix64 (Steele, Lea, Flood 2014). std::shuffle and the std distributions are not specified bit by bit.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, bound) by Lemire's multiplication; its bias is below bound / 2^64.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

 private:
  uint64_t state_;
};

/// A stream of its own for each (seed, purpose, epoch).
inline SplitMix64 seeded(int64_t seed, uint64_t purpose, int64_t epoch = 0) {
  SplitMix64 mix(static_cast<uint64_t>(seed));
  SplitMix64 second(mix.next() ^ (purpose * 0xd1342543de82ef95ull));
  return SplitMix64(second.next() + static_cast<uint64_t>(epoch) * 0x2545f4914f6cdd1dull);
}

/// Fisher-Yates.
template <class T>
void shuffle(std::span<T> items, SplitMix64 random) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

}  // namespace tessera
