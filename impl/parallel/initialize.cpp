// Seeded initialisation and loading of weights.
#include "parallel/initialize.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>

#include "checkpoint/safetensors.h"
#include "checkpoint/stored.h"
#include "checkpoint/unread.h"
#include "core/error.h"
#include "core/log.h"
#include "kernels/cpu/parallel.h"
#include "tensor/runs.h"

namespace tessera {
namespace {

uint64_t fnv1a(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

uint64_t splitmix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr int64_t kBlock = 4;      // values of one Philox counter
constexpr int64_t kCounters = 64;  // counters drawn at a time

// Philox4x32-10 (Salmon et al. 2011) with the counters `first` .. `first` + kCounters - 1 of the stream
// `row`: the same numbers as at::Philox4_32(key, row, first), value c of counter i at out[c][i]. Written
// counter by counter within each round, which compilers turn into vector code.
void philox(uint64_t key, uint64_t row, uint64_t first, uint32_t (&out)[kBlock][kCounters]) {
  for (int64_t i = 0; i < kCounters; ++i) {
    const uint64_t counter = first + static_cast<uint64_t>(i);
    out[0][i] = static_cast<uint32_t>(counter);
    out[1][i] = static_cast<uint32_t>(counter >> 32);
    out[2][i] = static_cast<uint32_t>(row);
    out[3][i] = static_cast<uint32_t>(row >> 32);
  }
  auto key0 = static_cast<uint32_t>(key);
  auto key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int64_t i = 0; i < kCounters; ++i) {
      const uint64_t a = uint64_t{0xD2511F53u} * out[0][i];
      const uint64_t b = uint64_t{0xCD9E8D57u} * out[2][i];
      out[0][i] = static_cast<uint32_t>(b >> 32) ^ out[1][i] ^ key0;
      out[1][i] = static_cast<uint32_t>(b);
      out[2][i] = static_cast<uint32_t>(a >> 32) ^ out[3][i] ^ key1;
      out[3][i] = static_cast<uint32_t>(a);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// Columns [first, first + count) of one row of a normal stream.
void normal_row(uint64_t key, uint64_t row, int64_t first, int64_t count, float std, float* out) {
  constexpr float kToUnit = 1.0f / 4294967296.0f;
  constexpr float kTwoPi = 6.283185307179586f;
  uint32_t bits[kBlock][kCounters];
  float values[kBlock * kCounters];
  const int64_t end = first + count;
  for (int64_t column = first / kBlock * kBlock; column < end; column += kBlock * kCounters) {
    philox(key, row, static_cast<uint64_t>(column / kBlock), bits);
    const int64_t counters = std::min(kCounters, (end - column + kBlock - 1) / kBlock);
    for (int64_t i = 0; i < counters; ++i) {
      for (int64_t pair = 0; pair < kBlock; pair += 2) {
        // (0, 1] keeps the logarithm finite; the other value may be 0.
        const float u = (static_cast<float>(bits[pair][i]) + 1.0f) * kToUnit;
        const float angle = kTwoPi * (static_cast<float>(bits[pair + 1][i]) * kToUnit);
        const float radius = std * std::sqrt(-2.0f * std::log(u));
        values[i * kBlock + pair] = radius * std::cos(angle);
        values[i * kBlock + pair + 1] = radius * std::sin(angle);
      }
    }
    const int64_t from = std::max(first, column), to = std::min(end, column + kBlock * kCounters);
    std::copy(values + (from - column), values + (to - column), out + (from - first));
  }
}

void fill_normal(const ParamSpec& spec, int64_t seed, const Box& box, float* out) {
  const uint64_t key = splitmix64(static_cast<uint64_t>(seed) ^ fnv1a(spec.name));
  const int64_t row_elements = checked_numel({spec.shape.begin() + 1, spec.shape.end()});
  const auto std = static_cast<float>(spec.init.std);
  for_each_run(spec.shape, box, [&](int64_t offset, int64_t done, int64_t run) {
    // A value depends on its place in the whole tensor alone, not on where the parts end.
    kernels::parallel(run, sizeof(float), [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t row = (offset + begin) / row_elements;
        const int64_t column = (offset + begin) % row_elements;
        const int64_t part = std::min(end - begin, row_elements - column);
        normal_row(key, static_cast<uint64_t>(row), column, part, std, out + done + begin);
        begin += part;
      }
    });
  });
}

template <class Visit>
void for_each_param(ShardedModel& model, Visit&& visit) {
  for (int unit = 0; unit < model.units(); ++unit) {
    for (size_t p = 0; p < model.layout(unit).params.size(); ++p) {
      const ParamAddress address{unit, p};
      if (model.param(address).held) visit(address, model.param(address));
    }
  }
}

// Rank 0's outcome of a fallible step, told to all: each rank throws the same error.
void share_outcome(const GroupPtr& everyone, const std::optional<Error>& error) {
  constexpr int64_t kTextBytes = 1024;
  const at::Tensor message = at::zeros({8 + kTextBytes}, at::dtype(at::kByte));
  auto* bytes = message.data_ptr<uint8_t>();
  if (error) {
    const int32_t code = static_cast<int32_t>(error->code());
    std::memcpy(bytes, &code, sizeof code);
    std::strncpy(reinterpret_cast<char*>(bytes + 8), error->what(), kTextBytes - 1);
  }
  everyone->broadcast({message}, 0)->wait();
  int32_t code = 0;
  std::memcpy(&code, bytes, sizeof code);
  if (code != 0) throw Error(static_cast<Code>(code), reinterpret_cast<const char*>(bytes + 8), 0);
}

template <class Action>
std::optional<Error> outcome_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Error(Code::internal, error.what());
  }
  return std::nullopt;
}

// Layers that predict further tokens, which some checkpoints have behind the others, are the usual case.
void warn_of_unread(const ShardedModel& model, const CheckpointReader& reader, const std::string& directory) {
  std::set<std::string> read;
  for (const auto& [spec, stage] : model.known()) {
    for (std::string& name : tensors_of(reader, *spec)) read.insert(std::move(name));
  }
  const std::string unread = describe_unread(reader.names(), read);
  if (!unread.empty()) log_warning(directory, ": left out, the model has no place for them: ", unread);
}

}  // namespace

void fill_initial(const ParamSpec& spec, int64_t seed, const Box& box, const at::Tensor& out) {
  switch (spec.init.kind) {
    case Init::Kind::zeros:
      out.zero_();
      return;
    case Init::Kind::ones:
      out.fill_(1);
      return;
    case Init::Kind::normal:
      break;
  }
  if (out.scalar_type() == at::kFloat && out.device().is_cpu())
    return fill_normal(spec, seed, box, out.data_ptr<float>());
  const at::Tensor values = at::empty(out.sizes(), at::dtype(at::kFloat));
  fill_normal(spec, seed, box, values.data_ptr<float>());
  out.copy_(values);
}

void initialize(ShardedModel& model, int64_t seed) {
  for_each_param(model, [&](const ParamAddress& address, const FsdpParam& param) {
    fill_initial(param.spec, seed, model.box(param.spec), model.master(address));
    model.publish(address);
  });
}

void load_weights(ShardedModel& model, const std::string& directory) {
  const CheckpointReader reader(directory);
  if (model.mesh()->world()->rank() == 0) warn_of_unread(model, reader, directory);
  for_each_param(model, [&](const ParamAddress& address, const FsdpParam& param) {
    const Box box = model.box(param.spec);
    read_parameter(reader, param.spec, box, model.master(address).view(box.size));
    model.publish(address);
  });
}

void load_weights_from_rank0(ShardedModel& model, const std::string& directory) {
  const GroupPtr everyone = model.mesh()->world()->everyone();
  const bool reads = everyone->rank() == 0;
  std::unique_ptr<CheckpointReader> reader;
  std::optional<Error> error;
  if (reads) error = outcome_of([&] { reader = std::make_unique<CheckpointReader>(directory); });
  share_outcome(everyone, error);
  if (reads) warn_of_unread(model, *reader, directory);

  // All ranks go through all parameters, those of other pipeline stages too: the broadcast is everyone's.
  for (const auto& [spec, stage] : model.known()) {
    // The master dtype holds the checkpoint's values exactly or rounded once, as when each rank reads its own
    // part.
    at::Tensor full = at::empty(spec->shape, at::dtype(spec->exact ? at::kFloat : model.options().master));
    if (reads) {
      error = outcome_of([&] { read_parameter(*reader, *spec, Box::whole(spec->shape), full); });
    }
    share_outcome(everyone, error);
    everyone->broadcast({full}, 0)->wait();
    const std::optional<ParamAddress> here = model.find_here(spec->name);
    if (!here) continue;
    const Box box = model.box(*spec);
    at::Tensor part = full;
    for (size_t d = 0; d < box.size.size(); ++d) {
      part = part.narrow(static_cast<int64_t>(d), box.offset[d], box.size[d]);
    }
    model.master(*here).view(box.size).copy_(part);
    model.publish(*here);
  }
}

}  // namespace tessera
