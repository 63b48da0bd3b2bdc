// Seeded initialisation and loading of weights.
#include "parallel/initialize.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "checkpoint/safetensors.h"
#include "checkpoint/stored.h"
#include "checkpoint/unread.h"
#include "core/error.h"
#include "core/log.h"
#include "kernels/cpu/parallel.h"
#include "kernels/normal.h"
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

uint64_t key_of(const ParamSpec& spec, int64_t seed) {
  return splitmix64(static_cast<uint64_t>(seed) ^ fnv1a(spec.name));
}

// On a device whose kernels draw them there: boxes that are a range of rows and, in rows laid out flat, a
// range of columns.
bool fill_normal_there(const ParamSpec& spec, int64_t seed, const Box& box, const at::Tensor& out) {
  int64_t column = 0, columns = 1;
  for (size_t d = 1; d < spec.shape.size(); ++d) {
    if (d > 1 && box.size[d] != spec.shape[d]) return false;
    column = column * spec.shape[d] + box.offset[d];
    columns *= box.size[d];
  }
  return kernels::normal_on_device(out, key_of(spec, seed), box.offset[0], box.size[0], column, columns,
                                   static_cast<float>(spec.init.std));
}

void fill_normal(const ParamSpec& spec, int64_t seed, const Box& box, float* out) {
  const uint64_t key = key_of(spec, seed);
  const int64_t row_elements = checked_numel({spec.shape.begin() + 1, spec.shape.end()});
  const auto std = static_cast<float>(spec.init.std);
  for_each_run(spec.shape, box, [&](int64_t offset, int64_t done, int64_t run) {
    // A value depends on its place in the whole tensor alone, not on where the parts end.
    kernels::parallel(run, sizeof(float), [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t row = (offset + begin) / row_elements;
        const int64_t column = (offset + begin) % row_elements;
        const int64_t part = std::min(end - begin, row_elements - column);
        kernels::normal_row(key, static_cast<uint64_t>(row), column, part, std, out + done + begin);
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
  if (fill_normal_there(spec, seed, box, out)) return;
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
