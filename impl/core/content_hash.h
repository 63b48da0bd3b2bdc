// A 122-bit hash of contents, to tell files and settings apart. Not against those who forge collisions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

/// Two polynomials over the bytes, modulo the prime 2^61-1 at two fixed points (Carter and Wegman 1979): two
/// different contents of n bytes collide with probability (n / 7 / 2^61)^2, below 2^-56 for 2 TB. Some 2
/// GB/s.
class ContentHash {
 public:
  void add(const void* data, size_t bytes);
  void add(std::string_view text) { add(text.data(), text.size()); }
  /// 32 hexadecimal digits, of everything added so far and its length.
  std::string hex() const;

 private:
  void step(uint64_t word);

  uint64_t first_ = 1, second_ = 1;
  uint64_t bytes_ = 0;
  unsigned char rest_[8] = {};  ///< what fills no word yet
  size_t held_ = 0;
};

/// The hash of a file's bytes as they are on disk. Throws Error(io | not_found).
std::string hash_file(const std::string& path);

}  // namespace tessera
