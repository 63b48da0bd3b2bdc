// What operations of the dry NCCL do with contents: gather, reduce and copy them.
#include <algorithm>
#include <cstring>

#include "nccl_parts.h"

namespace dry {

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 4;
  }
}

namespace {

double read(const void* from, size_t at, ncclDataType_t type) {
  const auto get = [&](auto value) {
    std::memcpy(&value, static_cast<const char*>(from) + at * sizeof value, sizeof value);
    return static_cast<double>(value);
  };
  switch (type) {
    case ncclFloat32:
      return get(float{});
    case ncclFloat64:
      return get(double{});
    case ncclInt32:
      return get(int32_t{});
    case ncclInt64:
      return get(int64_t{});
    case ncclInt8:
      return get(int8_t{});
    case ncclUint8:
      return get(uint8_t{});
    case ncclBfloat16: {
      uint16_t half = 0;
      std::memcpy(&half, static_cast<const char*>(from) + at * 2, 2);
      const uint32_t whole = uint32_t{half} << 16;
      float out = 0;
      std::memcpy(&out, &whole, 4);
      return out;
    }
    default:
      return 0;
  }
}

void write(void* to, size_t at, ncclDataType_t type, double value) {
  const auto put = [&](auto typed) {
    std::memcpy(static_cast<char*>(to) + at * sizeof typed, &typed, sizeof typed);
  };
  switch (type) {
    case ncclFloat32:
      return put(static_cast<float>(value));
    case ncclFloat64:
      return put(value);
    case ncclInt32:
      return put(static_cast<int32_t>(value));
    case ncclInt64:
      return put(static_cast<int64_t>(value));
    case ncclInt8:
      return put(static_cast<int8_t>(value));
    case ncclUint8:
      return put(static_cast<uint8_t>(value));
    case ncclBfloat16: {
      const float single = static_cast<float>(value);
      uint32_t whole = 0;
      std::memcpy(&whole, &single, 4);
      return put(static_cast<uint16_t>(whole >> 16));
    }
    default:
      return;
  }
}

double combine(double a, double b, ncclRedOp_t op) {
  return op == ncclMax ? std::max(a, b) : op == ncclMin ? std::min(a, b) : a + b;
}

/// Elements first .. first + count of all inputs, reduced.
std::vector<double> reduced(const Round& round, size_t first, size_t count) {
  std::vector<double> out(count);
  const Part& any = round.parts.begin()->second;
  for (auto at = round.parts.begin(); at != round.parts.end(); ++at) {
    const void* in = reach(at->second.in, (first + count) * size_of(any.type));
    for (size_t i = 0; in != nullptr && i < count; ++i) {
      const double value = read(in, first + i, any.type);
      out[i] = at == round.parts.begin() ? value : combine(out[i], value, any.op);
    }
  }
  if (any.op == ncclAvg) {
    for (double& value : out) value /= static_cast<double>(round.parts.size());
  }
  return out;
}

void store(const Part& part, const std::vector<double>& values) {
  void* out = reach(part.out, values.size() * size_of(part.type));
  for (size_t i = 0; out != nullptr && i < values.size(); ++i) write(out, i, part.type, values[i]);
}

}  // namespace

void move(const Round& round) {
  const Part& any = round.parts.begin()->second;
  const size_t bytes = any.count * size_of(any.type);
  if (bytes == 0 || bytes > kMoved) return;
  for (const auto& [rank, part] : round.parts) {
    const bool there =
        (part.in == nullptr || reach(part.in, bytes) != nullptr) && reach(part.out, bytes) != nullptr;
    if (!there) wrong("memory was freed before the operation ran, rank", rank);
    if (!there) return;
  }
  std::vector<std::vector<double>> results;
  switch (round.kind) {
    case Kind::all_gather: {
      std::vector<char> all;
      for (const auto& [rank, part] : round.parts) {
        const char* in = static_cast<const char*>(reach(part.in, bytes));
        all.insert(all.end(), in, in + bytes);
      }
      for (const auto& [rank, part] : round.parts)
        std::memcpy(reach(part.out, all.size()), all.data(), all.size());
      return;
    }
    case Kind::broadcast: {
      const std::vector<char> root = [&] {
        const char* in = static_cast<const char*>(reach(round.parts.at(any.peer).in, bytes));
        return std::vector<char>(in, in + bytes);
      }();
      for (const auto& [rank, part] : round.parts) std::memcpy(reach(part.out, bytes), root.data(), bytes);
      return;
    }
    case Kind::all_reduce:
    case Kind::reduce_scatter: {
      for (const auto& [rank, part] : round.parts) {
        const size_t first = round.kind == Kind::all_reduce ? 0 : static_cast<size_t>(rank) * part.count;
        results.push_back(reduced(round, first, part.count));
      }
      size_t at = 0;
      for (const auto& [rank, part] : round.parts) store(part, results[at++]);
      return;
    }
    default:
      return;
  }
}

}  // namespace dry
