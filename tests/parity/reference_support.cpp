// What transformers computed for one parity case.
#include "parity/reference.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"

namespace tessera::testing {

std::vector<std::string> reference_cases() {
  std::vector<std::string> names;
  std::error_code unused;
  for (const auto& entry : std::filesystem::directory_iterator(TESSERA_PARITY_REFERENCE, unused)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

namespace {

const std::string kGradients = "fp32.grad.";

std::string directory_of(const std::string& name) {
  return std::string(TESSERA_PARITY_REFERENCE) + "/" + name;
}

}  // namespace

Reference::Reference(const std::string& name)
    : name_(name),
      config_(load_model_config(directory_of(name))),
      weights_(directory_of(name) + "/model.safetensors"),
      values_(directory_of(name) + "/reference.safetensors") {
  int64_t elements = 0;
  for (const auto& unit : build_units(config_, {})) {
    for (const ParamSpec& spec : unit->params()) {
      specs_.push_back(spec);
      if (spec.trainable) elements += checked_numel(spec.shape);
    }
  }
  for (const TensorEntry& entry : values_.entries()) {
    if (entry.name.rfind(kGradients, 0) == 0) elements -= checked_numel(entry.shape);
  }
  TESSERA_CHECK(elements == 0, internal, name, ": the model and its reference differ by ", elements,
                " elements");
}

at::Tensor Reference::read(const SafetensorsFile& file, const std::string& name) const {
  const TensorEntry* entry = file.find(name);
  TESSERA_CHECK(entry, not_found, file.path(), " lacks ", name);
  const at::Tensor out = at::empty(entry->shape, entry->dtype);
  file.read(*entry, Box::whole(entry->shape), out);
  return out;
}

at::Tensor Reference::tensor(const std::string& name) const {
  return read(values_, name);
}

double Reference::number(const std::string& name, int64_t index) const {
  return tensor(name)[index].item<double>();
}

std::vector<std::string> Reference::parameters() const {
  std::vector<std::string> names;
  for (const ParamSpec& spec : specs_) {
    if (spec.trainable) names.push_back(spec.name);
  }
  return names;
}

const ParamSpec& Reference::spec(const std::string& parameter) const {
  const auto found = std::find_if(specs_.begin(), specs_.end(),
                                  [&](const ParamSpec& spec) { return spec.name == parameter; });
  TESSERA_CHECK(found != specs_.end(), not_found, name_, " has no parameter ", parameter);
  return *found;
}

at::Tensor Reference::part(const SafetensorsFile& file, const std::string& kind,
                           const ParamSpec& spec) const {
  if (!spec.stored) return read(file, kind + spec.name);
  const Box whole = Box::whole(spec.shape);
  const Box cover = spec.stored->cover(whole);
  at::Tensor covered = read(file, kind + spec.stored->name);
  for (size_t d = 0; d < cover.size.size(); ++d) {
    covered = covered.narrow(static_cast<int64_t>(d), cover.offset[d], cover.size[d]);
  }
  return spec.stored->view(covered.contiguous(), whole).contiguous();
}

at::Tensor Reference::of(const std::string& kind, const std::string& parameter) const {
  return part(values_, kind, spec(parameter));
}

void Reference::load_weights(const SingleRankModel& model) const {
  for (const std::string& name : model.names()) model.weight(name).copy_(part(weights_, "", spec(name)));
}

std::string Reference::directory() const {
  return directory_of(name_);
}

std::vector<Document> Reference::documents(int step) const {
  const at::Tensor lengths = tensor("lengths");
  const at::Tensor tokens = tensor(cat("tokens.", step));
  const at::Tensor labels = tensor(cat("labels.", step));
  const int64_t* token = tokens.const_data_ptr<int64_t>();
  const int64_t* label = labels.const_data_ptr<int64_t>();
  std::vector<Document> documents;
  for (int64_t d = 0; d < lengths.numel(); ++d) {
    const int64_t length = lengths[d].item<int64_t>();
    documents.push_back({{token, token + length}, {label, label + length}});
    token += length;
    label += length;
  }
  return documents;
}

PackedBatch Reference::batch(int step, int64_t multiple) const {
  BatchLayout layout;
  layout.multiple = multiple;
  return batch_from_documents({documents(step)}, layout);
}

PackedBatch Reference::part_of_batch(int step, int part, int parts) const {
  const std::vector<Document> all = documents(step);
  const auto begin = static_cast<int64_t>(all.size()) * part / parts;
  const auto end = static_cast<int64_t>(all.size()) * (part + 1) / parts;
  if (begin == end) return {};
  return batch_from_documents({{all.begin() + begin, all.begin() + end}}, BatchLayout{});
}

at::Tensor Reference::real_rows(const at::Tensor& rows, const PackedBatch& batch) const {
  const at::Tensor lengths = tensor("lengths");
  std::vector<at::Tensor> parts;
  for (int64_t d = 0; d < lengths.numel(); ++d) {
    parts.push_back(rows.narrow(0, batch.cu_seqlens_padded[d].item<int64_t>(), lengths[d].item<int64_t>()));
  }
  return at::cat(parts);
}

}  // namespace tessera::testing
