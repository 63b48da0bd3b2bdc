// Saving, resuming and exporting: what the checkpoint room is given, and what it gives back.
#include "checkpoint/export.h"
#include "train/trainer_impl.h"

namespace tessera {

std::vector<ShardedTensor> Trainer::Impl::weight_shards() {
  const ShardPosition& at = model->position();
  std::vector<ShardedTensor> tensors;
  for (int unit = 0; unit < model->units(); ++unit) {
    for (size_t p = 0; p < model->layout(unit).params.size(); ++p) {
      const FsdpParam& param = model->layout(unit).params[p];
      ShardedTensor tensor;
      tensor.name = param.spec.name;
      tensor.global_shape = param.spec.shape;
      tensor.box = owned_box(param.spec, at.tp_index, at.tp_size, at.shard_index, at.shards);
      tensor.local = model->master({unit, p}).view(tensor.box.size);
      const bool replicated_tp = param.spec.tp.kind == Placement::Kind::replicate && at.tp_index > 0;
      tensor.owner = mesh->index("dp_replicate") == 0 && !replicated_tp;
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
    tessera::export_hf(directory, impl_->weight_shards(), options, *impl_->mesh->world()->everyone());
  });
}

void Trainer::save_checkpoint(const std::string& directory, const std::string& data_state) {
  throw Error(Code::unsupported, "saving checkpoints is not available yet");
}

std::string Trainer::load_checkpoint(const std::string& directory) {
  throw Error(Code::unsupported, "loading checkpoints is not available yet");
}

}  // namespace tessera
