// Polynomial hashing modulo 2^61-1, seven bytes at a time.
#include "core/content_hash.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/file_io.h"

namespace tessera {
namespace {

constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;
constexpr size_t kWord = 7;  // bytes: a word is below the prime
constexpr uint64_t kFirst = 0x0a3b1c96f7d2e485ull, kSecond = 0x17d05e2b8c493f61ull;
static_assert(kFirst < kPrime && kSecond < kPrime);

uint64_t multiply_add(uint64_t a, uint64_t b, uint64_t c) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b + c;
  const uint64_t sum = (static_cast<uint64_t>(product) & kPrime) + static_cast<uint64_t>(product >> 61);
  return sum >= kPrime ? sum - kPrime : sum;
}

}  // namespace

void ContentHash::step(uint64_t word) {
  first_ = multiply_add(first_, kFirst, word);
  second_ = multiply_add(second_, kSecond, word);
}

void ContentHash::add(const void* data, size_t bytes) {
  const auto* from = static_cast<const unsigned char*>(data);
  bytes_ += bytes;
  const auto load = [](const unsigned char* at) {
    uint64_t word = 0;
    for (size_t i = 0; i < kWord; ++i) word |= static_cast<uint64_t>(at[i]) << (8 * i);
    return word;
  };
  if (held_ > 0) {
    const size_t count = std::min(kWord - held_, bytes);
    std::memcpy(rest_ + held_, from, count);
    held_ += count;
    from += count;
    bytes -= count;
    if (held_ < kWord) return;
    step(load(rest_));
    held_ = 0;
  }
  for (; bytes >= kWord; bytes -= kWord, from += kWord) step(load(from));
  if (bytes > 0) std::memcpy(rest_, from, bytes);
  held_ = bytes;
}

std::string ContentHash::hex() const {
  ContentHash last = *this;
  uint64_t word = 0;
  for (size_t i = 0; i < held_; ++i) word |= static_cast<uint64_t>(rest_[i]) << (8 * i);
  last.step(word);
  last.step(bytes_ % kPrime);
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(last.first_),
                static_cast<unsigned long long>(last.second_));
  return text;
}

std::string hash_file(const std::string& path) {
  const FileHandle file = open_for_read(path);
  const int64_t bytes = file_bytes(file, path);
  std::vector<char> buffer(static_cast<size_t>(std::clamp<int64_t>(bytes, 1, int64_t{1} << 20)));
  ContentHash hash;
  for (int64_t at = 0; at < bytes;) {
    const int64_t count = std::min(bytes - at, static_cast<int64_t>(buffer.size()));
    read_at(file, path, at, buffer.data(), count);
    hash.add(buffer.data(), static_cast<size_t>(count));
    at += count;
  }
  return hash.hex();
}

}  // namespace tessera
