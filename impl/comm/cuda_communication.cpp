// Finding the plugin's table for communication.
#include "comm/cuda_communication.h"

#include "core/cuda_plugin.h"

namespace tessera {

const CudaCommunication* cuda_communication() {
  using Entry = const CudaCommunication* (*)();
  const auto entry = reinterpret_cast<Entry>(cuda_plugin_symbol(kCudaCommunicationSymbol));
  const CudaCommunication* table = entry ? entry() : nullptr;
  return table && table->abi == kCudaCommunicationAbi ? table : nullptr;
}

}  // namespace tessera
