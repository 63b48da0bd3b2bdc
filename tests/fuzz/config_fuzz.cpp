// Fuzzes the reader of config.json. What it accepts must describe units with sane shapes; what it refuses
// must be a format or unsupported error of one line.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"
#include "models/model.h"

namespace {

using tessera::Code;
using tessera::Error;

// A property that does not hold ends the run, as a crash would.
void require(bool holds) {
  if (!holds) std::abort();
}

void check_units(tessera::ModelConfig config) {
  require(static_cast<int64_t>(config.sliding_window.size()) == config.num_layers);
  require(config.num_kv_heads > 0 && config.num_heads % config.num_kv_heads == 0 && config.head_dim % 2 == 0);
  if (config.num_layers > 2) config.num_layers = 2;
  const auto units = tessera::build_units(config, {});
  require(static_cast<int64_t>(units.size()) == config.num_layers + 2);
  for (const auto& unit : units) {
    for (const tessera::ParamSpec& spec : unit->params()) require(tessera::checked_numel(spec.shape) > 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const tessera::ModelConfig config = tessera::parse_model_config(text);
    require(config.raw == text);
    check_units(config);
  } catch (const Error& error) {
    require(error.code() == Code::format || error.code() == Code::unsupported);
    require(std::strchr(error.what(), '\n') == nullptr && std::strlen(error.what()) < 1000);
  }
  return 0;
}
