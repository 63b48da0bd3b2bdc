// cuDNN's graph interface: descriptors keep what they are given, every graph has one engine, and its
// execution is a launch. Whether a real cuDNN would support a graph is not known here.
#include <cudnn.h>

#include <cstdio>
#include <cstring>

#include "dry.h"

namespace dry {
namespace {

struct State;
using StatePtr = std::shared_ptr<State>;

struct Attribute {
  int64_t count = 0;
  std::vector<char> bytes;
  std::vector<StatePtr> parts;  // of descriptors: kept, as the caller may destroy its own
};

struct State {
  int kind = 0;
  bool final = false;
  std::map<int, Attribute> attributes;
};

/// What a caller's handle points to.
struct Descriptor {
  StatePtr state;
};

Descriptor& of(void* descriptor) {
  return *static_cast<Descriptor*>(descriptor);
}

size_t element(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_FRACTION:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}

struct Handle {
  cudaStream_t stream = nullptr;
};

/// The part of a state that is itself a descriptor, or null.
StatePtr part(const StatePtr& state, int which) {
  if (!state) return nullptr;
  const auto at = state->attributes.find(which);
  return at == state->attributes.end() || at->second.parts.empty() ? nullptr : at->second.parts[0];
}

void give(State& to, int which, StatePtr what) {
  Attribute& attribute = to.attributes[which];
  attribute.count = 1;
  attribute.parts = {std::move(what)};
}

cudnnStatus_t no(const char* what, int which) {
  fail(cudaErrorInvalidValue, "cudnn: %s %d", what, which);
  cudaGetLastError();
  return CUDNN_STATUS_BAD_PARAM;
}

}  // namespace
}  // namespace dry

using namespace dry;

DRY_API cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = reinterpret_cast<cudnnHandle_t>(new Handle);
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete reinterpret_cast<Handle*>(handle);
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  reinterpret_cast<Handle*>(handle)->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  *stream = reinterpret_cast<Handle*>(handle)->stream;
  return CUDNN_STATUS_SUCCESS;
}

DRY_API size_t cudnnGetVersion() {
  return CUDNN_VERSION;
}

DRY_API size_t cudnnGetCudartVersion() {
  return CUDART_VERSION;
}

DRY_API const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "CUDNN_STATUS_BAD_PARAM";
}

DRY_API void cudnnGetLastErrorString(char* text, size_t size) {
  if (size > 0) std::snprintf(text, size, "see the dry runtime's log");
}

DRY_API cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t kind,
                                                   cudnnBackendDescriptor_t* out) {
  auto* descriptor = new Descriptor{std::make_shared<State>()};
  descriptor->state->kind = kind;
  *out = descriptor;
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete &of(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  of(descriptor).state->final = true;
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                               cudnnBackendAttributeName_t which,
                                               cudnnBackendAttributeType_t type, int64_t count,
                                               const void* values) {
  State& state = *of(descriptor).state;
  if (state.final) return no("attribute of a final descriptor", which);
  Attribute& attribute = state.attributes[which];
  attribute.count = count;
  const char* from = static_cast<const char*>(values);
  attribute.bytes.assign(from, from + static_cast<size_t>(count) * element(type));
  attribute.parts.clear();
  if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) return CUDNN_STATUS_SUCCESS;
  for (int64_t i = 0; i < count; ++i) {
    void* given = static_cast<void* const*>(values)[i];
    if (given == nullptr) return no("an empty descriptor for attribute", which);
    attribute.parts.push_back(of(given).state);
  }
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                               cudnnBackendAttributeName_t which,
                                               cudnnBackendAttributeType_t type, int64_t wanted,
                                               int64_t* count, void* values) {
  const StatePtr state = of(const_cast<void*>(static_cast<const void*>(descriptor))).state;
  const auto number = [&](int64_t value) {
    if (count != nullptr) *count = 1;
    if (values != nullptr && wanted > 0) std::memcpy(values, &value, element(type));
    return CUDNN_STATUS_SUCCESS;
  };
  switch (which) {
    case CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT:
      return number(1);
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
    case CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE:
    case CUDNN_ATTR_ENGINECFG_SHARED_MEMORY_USED:
      return number(0);
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
      if (count != nullptr) *count = 1;
      if (wanted == 0 || values == nullptr) return CUDNN_STATUS_SUCCESS;
      State& config = *of(*static_cast<void**>(values)).state;
      auto engine = std::make_shared<State>();
      engine->kind = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
      give(*engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, part(state, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
      give(config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
      config.final = true;
      return CUDNN_STATUS_SUCCESS;
    }
    default:
      break;
  }
  const auto at = state->attributes.find(which);
  if (at == state->attributes.end()) {
    if (which == CUDNN_ATTR_ENGINE_GLOBAL_INDEX) return number(0);
    if (count != nullptr) *count = 0;  // notes, knobs
    return CUDNN_STATUS_SUCCESS;
  }
  const Attribute& attribute = at->second;
  if (count != nullptr) *count = attribute.count;
  if (values == nullptr) return CUDNN_STATUS_SUCCESS;
  const int64_t n = std::min(wanted, attribute.count);
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    // The caller's descriptors become those that were kept.
    for (int64_t i = 0; i < n && i < static_cast<int64_t>(attribute.parts.size()); ++i) {
      if (void* given = static_cast<void**>(values)[i])
        of(given).state = attribute.parts[static_cast<size_t>(i)];
    }
  } else {
    std::memcpy(values, attribute.bytes.data(), static_cast<size_t>(n) * element(type));
  }
  return CUDNN_STATUS_SUCCESS;
}

DRY_API cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                          cudnnBackendDescriptor_t pack) {
  const Lock lock(guard());
  const auto& arguments = of(pack).state->attributes;
  if (const auto at = arguments.find(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS); at != arguments.end()) {
    for (int64_t i = 0; i < at->second.count; ++i) {
      const void* pointer = nullptr;
      std::memcpy(&pointer, at->second.bytes.data() + i * 8, 8);
      // Scalars may lie in the host's memory.
      if (is_device(pointer) && device_of(pointer) < 0)
        return no("memory that is not allocated, argument", static_cast<int>(i));
    }
  }
  const cudaStream_t stream = reinterpret_cast<Handle*>(handle)->stream;
  if (enqueue(stream, "cudnnBackendExecute", nullptr) != cudaSuccess) return CUDNN_STATUS_EXECUTION_FAILED;
  const auto graph = count_in_graph(stream);
  const StatePtr engine =
      part(part(of(plan).state, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG), CUDNN_ATTR_ENGINECFG_ENGINE);
  const StatePtr operations = part(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
  int products = 0, all = 0;
  if (operations) {
    for (const StatePtr& operation : operations->attributes[CUDNN_ATTR_OPERATIONGRAPH_OPS].parts) {
      ++all;
      products += operation->kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR;
    }
  }
  log("cudnn operations=%d matmuls=%d stream=%d%s", all, products, find(stream)->id,
      graph != 0 ? " captured" : "");
  return CUDNN_STATUS_SUCCESS;
}
