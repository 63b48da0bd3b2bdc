// Saving, resuming and exporting: what the checkpoint room is given, and what it gives back.
#include <nlohmann/json.hpp>

#include "checkpoint/agreement.h"
#include "checkpoint/export.h"
#include "checkpoint/stored.h"
#include "checkpoint/training_checkpoint.h"
#include "data/dataset.h"
#include "train/trainer_impl.h"

namespace tessera {
namespace {

constexpr int kFormat = 1;  // of the metadata

// Runs what throws the same error on every rank.
template <class Action>
auto agreed(Action&& action) {
  try {
    return action();
  } catch (const Error& error) {
    if (error.code() == Code::timeout || error.code() == Code::collective_mismatch) throw;
    throw AgreedError(error);
  }
}

}  // namespace

std::vector<ShardedTensor> Trainer::Impl::weight_shards() {
  std::vector<ShardedTensor> tensors;
  for (int unit = 0; unit < model->units(); ++unit) {
    for (size_t p = 0; p < model->layout(unit).params.size(); ++p) {
      const FsdpParam& param = model->layout(unit).params[p];
      if (!param.held) continue;
      ShardedTensor tensor;
      tensor.name = param.spec.name;
      tensor.global_shape = param.spec.shape;
      tensor.box = model->box(param.spec);
      tensor.local = model->master({unit, p}).view(tensor.box.size);
      tensor.owner = model->writes(param.spec);
      tensor.exact = param.spec.exact;
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

void Trainer::export_hf(const std::string& directory, std::optional<at::ScalarType> dtype) {
  impl_->collective([&] {
    ExportOptions options;
    options.config_json = impl_->config.raw;
    options.source_directory = impl_->source;
    options.dtype = dtype;
    std::vector<ParameterPart> parts;
    for (ShardedTensor& shard : impl_->weight_shards()) {
      const ParamSpec* spec = impl_->model->find_known(shard.name).spec;
      parts.push_back({spec, std::move(shard)});
    }
    agreed([&] {
      tessera::export_hf(directory, stored_parts(parts), options, *impl_->mesh->world()->everyone());
    });
  });
}

std::vector<ShardedTensor> Trainer::Impl::training_state() {
  std::vector<ShardedTensor> tensors = weight_shards();
  std::map<std::string, const ShardedTensor*> by_name;
  for (const ShardedTensor& tensor : tensors) by_name[tensor.name] = &tensor;
  std::vector<ShardedTensor> states;
  const std::vector<ParamShard>& shards = model->shards();
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const auto& [kind, state] : optimizer->state(shards, i)) {
      ShardedTensor tensor = *by_name.at(shards[i].name);
      tensor.name = cat("optimizer.", kind, ".", shards[i].name);
      tensor.local = state.view(tensor.box.size);
      states.push_back(std::move(tensor));
    }
  }
  tensors.insert(tensors.end(), states.begin(), states.end());
  return tensors;
}

void Trainer::save_checkpoint(const std::string& directory, const std::string& data_state) {
  impl_->collective([&] {
    Group& everyone = *impl_->mesh->world()->everyone();
    // A stream's rank knows its own shards only; every rank finds the same fault in the same texts.
    const std::vector<std::string> states = gather_texts(everyone, at::kCPU, data_state);
    const std::string joined = agreed([&] { return merge_states(states); });
    const nlohmann::json metadata = {{"tessera_trainer", kFormat},
                                     {"step", impl_->steps},
                                     {"optimizer", impl_->options.optimizer.name},
                                     {"data_state", joined}};
    agreed([&] {
      tessera::save_checkpoint(directory, impl_->training_state(), metadata.dump(),
                               *impl_->mesh->world()->everyone());
    });
  });
}

std::string Trainer::load_checkpoint(const std::string& directory) {
  return impl_->collective([&] {
    Group& everyone = *impl_->mesh->world()->everyone();
    impl_->model->weights().meet();  // no rank computes any more
    std::string text;
    agreed([&] { text = tessera::load_checkpoint(directory, impl_->training_state(), everyone); });
    impl_->model->publish_all();
    impl_->weights_written = true;
    impl_->forget_gradients();
    return agreed([&] {  // all ranks read the same text
      const nlohmann::json metadata = nlohmann::json::parse(text, nullptr, false);
      const bool known = metadata.is_object() && metadata.contains("tessera_trainer") &&
                         metadata["tessera_trainer"] == kFormat && metadata.contains("step") &&
                         metadata["step"].is_number_integer() && metadata.contains("data_state") &&
                         metadata["data_state"].is_string();
      TESSERA_CHECK(known && metadata["step"].get<int64_t>() >= 0, format, directory,
                    ": checkpoint.json holds no metadata of a trainer");
      impl_->steps = metadata["step"].get<int64_t>();
      return metadata["data_state"].get<std::string>();
    });
  });
}

}  // namespace tessera
