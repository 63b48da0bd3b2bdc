// Agreement on errors and exchange of small texts over the collectives that every engine has.
#include "checkpoint/agreement.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>

#include "core/error.h"

namespace tessera {
namespace {

constexpr int64_t kMessageBytes = 1024;

// What this rank's `work` threw, if anything.
std::optional<Error> outcome(const std::string& what, const std::function<void()>& work) {
  try {
    work();
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(Code::out_of_memory, cat(what, ": out of memory"));
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return Error(Code::internal, cat(what, ": ", text.substr(0, text.find('\n'))));
  } catch (...) {
    return Error(Code::internal, cat(what, ": unknown exception"));
  }
}

at::Tensor on(at::Device device, const at::Tensor& host) {
  return device.is_cpu() ? host : host.to(device);
}

}  // namespace

void together(Group& group, at::Device device, const std::string& what, const std::function<void()>& work) {
  const at::NoGradGuard no_grad;
  const std::optional<Error> mine = outcome(what, work);
  at::Tensor first = at::empty({1}, at::kLong);
  *first.mutable_data_ptr<int64_t>() = mine ? group.rank() : group.size();
  first = on(device, first);
  group.all_reduce({first}, ReduceOp::min)->wait();
  const int64_t rank = first.item<int64_t>();
  if (rank == group.size()) return;

  at::Tensor packet = at::zeros({kMessageBytes}, at::kByte);
  if (rank == group.rank()) {
    uint8_t* bytes = packet.mutable_data_ptr<uint8_t>();
    const int32_t numbers[3] = {static_cast<int32_t>(mine->code()), static_cast<int32_t>(mine->domain()),
                                mine->native()};
    std::memcpy(bytes, numbers, sizeof numbers);
    const std::string text = mine->what();
    std::memcpy(bytes + sizeof numbers, text.data(),
                std::min<size_t>(text.size(), kMessageBytes - sizeof numbers));
  }
  packet = on(device, packet);
  group.broadcast({packet}, static_cast<int>(rank))->wait();
  packet = packet.cpu();
  const char* bytes = static_cast<const char*>(packet.const_data_ptr());
  int32_t numbers[3];
  std::memcpy(numbers, bytes, sizeof numbers);
  const std::string text(bytes + sizeof numbers,
                         ::strnlen(bytes + sizeof numbers, kMessageBytes - sizeof numbers));
  const int world_rank = group.world_ranks()[rank];
  throw Error(static_cast<Code>(numbers[0]), group.size() > 1 ? cat("rank ", world_rank, ": ", text) : text,
              world_rank, static_cast<Domain>(numbers[1]), numbers[2]);
}

std::vector<std::string> gather_texts(Group& group, at::Device device, const std::string& mine) {
  const at::NoGradGuard no_grad;
  const int64_t ranks = group.size();
  at::Tensor length = at::empty({1}, at::kLong);
  *length.mutable_data_ptr<int64_t>() = static_cast<int64_t>(mine.size());
  length = on(device, length);
  at::Tensor lengths = at::empty({ranks}, length.options());
  group.all_gather({lengths}, {length})->wait();
  lengths = lengths.cpu();
  const int64_t* sizes = lengths.const_data_ptr<int64_t>();
  const int64_t longest = *std::max_element(sizes, sizes + ranks);
  std::vector<std::string> out(ranks);
  if (longest == 0) return out;

  at::Tensor text = at::zeros({longest}, at::kByte);
  std::memcpy(text.mutable_data_ptr(), mine.data(), mine.size());
  text = on(device, text);
  at::Tensor texts = at::empty({ranks * longest}, text.options());
  group.all_gather({texts}, {text})->wait();
  texts = texts.cpu();
  const char* bytes = static_cast<const char*>(texts.const_data_ptr());
  for (int64_t r = 0; r < ranks; ++r) out[r].assign(bytes + r * longest, sizes[r]);
  return out;
}

}  // namespace tessera
