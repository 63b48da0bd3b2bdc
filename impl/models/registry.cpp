// The list of architecture families: to add one, write its file and name it here and in family.h.
#include "core/error.h"
#include "models/family.h"

namespace tessera {

const std::vector<const Family*>& families() {
  static const std::vector<const Family*> list = {
      &kLlamaFamily, &kMistralFamily, &kQwen2Family,  &kQwen3Family,      &kMixtralFamily, &kQwen3MoeFamily,
      &kPhi3Family,  &kGemma2Family,  &kGemma3Family, &kDeepseekV3Family, &kGptOssFamily,  &kGlm4MoeFamily};
  return list;
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const Family* family : families()) names.push_back(family->architecture);
  return names;
}

std::vector<std::unique_ptr<Unit>> build_units(const ModelConfig& config, const ParallelContext& parallel) {
  if (config.family != nullptr) return config.family->build(config, parallel);
  for (const Family* family : families()) {
    if (config.architecture == family->architecture) return family->build(config, parallel);
  }
  throw Error(Code::unsupported, cat("architecture=\"", config.architecture, "\" is not known"));
}

}  // namespace tessera
