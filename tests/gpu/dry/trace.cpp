// The trace of work and waits that races.cpp checks.
#include "trace.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

namespace dry {
namespace {

std::FILE* open_trace() {
  const char* path = std::getenv("TESSERA_DRY_TRACE");
  if (path == nullptr || *path == '\0') return nullptr;
  std::string name = path;
  if (const size_t at = name.find("%p"); at != std::string::npos)
    name.replace(at, 2, std::to_string(getpid()));
  std::FILE* file = std::fopen(name.c_str(), "w");
  if (file != nullptr) std::setvbuf(file, nullptr, _IOFBF, 1 << 20);
  return file;
}

std::FILE* file() {
  static std::FILE* out = open_trace();
  return out;
}

__attribute__((destructor)) void flush() {
  if (file() != nullptr) std::fflush(file());
}

int thread_number() {
  static std::atomic<int> threads{0};
  thread_local const int number = threads++;
  return number;
}

std::string text_of(const Stream& stream) {
  static auto* known = new std::set<const Stream*>;
  const std::string name = std::to_string(stream.device) + "." + std::to_string(stream.id);
  if (known->insert(&stream).second) {
    // The device's own stream and those made without cudaStreamNonBlocking wait for each other.
    const char* kind = stream.id == 0 ? "own" : (stream.flags & cudaStreamNonBlocking) ? "free" : "blocking";
    std::fprintf(file(), "%d stream %s %s\n", thread_number(), name.c_str(), kind);
  }
  return name;
}

/// Where in libtessera.so a call comes from: the innermost functions' return addresses, as offsets for
/// addr2line.
std::string caller() {
  constexpr int kFrames = 32, kWanted = 4;
  static auto* known = new std::map<void*, std::string>;
  void* frames[kFrames];
  const int count = backtrace(frames, kFrames);
  std::string out;
  int wanted = kWanted;
  for (int i = 0; i < count && wanted > 0; ++i) {
    const auto [at, fresh] = known->try_emplace(frames[i]);
    Dl_info info{};
    if (fresh && dladdr(frames[i], &info) != 0 && std::strstr(info.dli_fname, "libtessera.so") != nullptr) {
      char text[32];
      std::snprintf(text, sizeof text, "%zx",
                    static_cast<size_t>(static_cast<char*>(frames[i]) - static_cast<char*>(info.dli_fbase)));
      at->second = text;
    }
    if (at->second.empty()) continue;
    out += (out.empty() ? "" : "<") + at->second;
    --wanted;
  }
  return out.empty() ? "elsewhere" : out;
}

/// An operator of LibTorch that a thread is in, and the streams that it has used.
struct Operator {
  const char* name;
  const Access* given;
  size_t count;
  std::vector<const Stream*> used;
};
thread_local std::vector<Operator> operators;  // innermost last

// ---- Tessera's own kernels ----

struct Parameter {
  enum Kind { value, reads, writes, batch } kind = value;
  size_t element = 0;  // bytes of what it points to; of a batch, of an entry
  std::string type;
};

struct Signature {
  bool own = false;
  std::string name;
  std::vector<Parameter> parameters;
  /// The parameter that is the number of elements of all pointers before it, where a kernel has one.
  size_t flat = SIZE_MAX;
};

std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string out = text != nullptr ? text : name;
  std::free(text);
  return out;
}

/// The types between the last parentheses of a demangled function.
std::vector<std::string> types_of(const std::string& function) {
  std::vector<std::string> out;
  int depth = 0;
  size_t end = function.size() - 1, last = end;
  for (size_t i = function.size(); i-- > 0;) {
    const char c = function[i];
    depth += (c == ')' || c == '>') - (c == '(' || c == '<');
    if ((c == ',' && depth == 1) || (c == '(' && depth == 0)) {
      std::string type = function.substr(i + 1, last - i - 1);
      type.erase(0, type.find_first_not_of(' '));
      out.push_back(type);
      last = i;
      if (c == '(') break;
    }
  }
  std::reverse(out.begin(), out.end());
  return out;
}

size_t element_of(const std::string& type) {
  for (const auto& [name, bytes] : std::initializer_list<std::pair<const char*, size_t>>{
           {"Bf16", 2}, {"char", 1}, {"double", 8}, {"long", 8}, {"int", 4}, {"float", 4}, {"short", 2}}) {
    if (type.find(name) != std::string::npos) return bytes;
  }
  return 1;
}

Parameter parameter_of(const std::string& type) {
  if (type.find("Batch<") != std::string::npos) return {Parameter::batch, 0, type};
  if (type.empty() || type.back() != '*') return {Parameter::value, 0, type};
  const bool constant = type.find(" const*") != std::string::npos;
  return {constant ? Parameter::reads : Parameter::writes, element_of(type), type};
}

const Signature& signature_of(const char* mangled) {
  static auto* all = new std::map<const void*, Signature>;
  const auto [at, fresh] = all->try_emplace(mangled);
  Signature& signature = at->second;
  if (!fresh || std::strstr(mangled, "7tessera4cuda") == nullptr) return signature;
  const std::string text = demangled(mangled);
  signature.own = true;
  for (const std::string& type : types_of(text)) signature.parameters.push_back(parameter_of(type));
  const size_t kernel = text.find(")::") == std::string::npos ? 0 : text.find(")::") + 3;
  signature.name = text.substr(kernel, text.find_first_of("<(", kernel) - kernel);
  for (const char* name :
       {"copy_kernel", "add_kernel", "scale_kernel", "soft_cap_kernel", "find_not_finite_kernel"}) {
    if (signature.name != name) continue;
    const auto count = std::find_if(signature.parameters.begin(), signature.parameters.end(),
                                    [](const Parameter& parameter) { return parameter.type == "long"; });
    signature.flat = static_cast<size_t>(count - signature.parameters.begin());
  }
  return signature;
}

/// The lists of multi_tensor.cu, as impl/kernels/cuda/table.h has their entries.
void add_batch(const std::string& type, const void* argument, std::vector<Access>& out) {
  struct Field {
    size_t offset, element;
    bool writes;
  };
  struct Entry {
    const char* name;
    size_t bytes, count;  // where the entry's number of elements lies
    std::vector<Field> fields;
  };
  // The dtype of p and src is float32 or bfloat16: of both at least two bytes.
  static const auto* all = new std::vector<Entry>{
      {"CudaCopy", 24, 16, {{0, 2, false}, {8, 2, true}}},
      {"CudaSquares", 32, 16, {{0, 2, false}}},
      {"CudaAdamW", 64, 48, {{0, 2, true}, {16, 4, false}, {24, 4, true}, {32, 4, true}, {40, 2, true}}},
      {"CudaSgd", 56, 40, {{0, 2, true}, {16, 4, false}, {24, 4, true}, {32, 2, true}}}};
  constexpr size_t kTensors = 48;  // and as many first blocks and one, then the number of entries
  const auto* from = static_cast<const char*>(argument);
  for (const Entry& entry : *all) {
    if (type.find(entry.name) == std::string::npos) continue;
    int32_t entries = 0;
    std::memcpy(&entries, from + kTensors * entry.bytes + (kTensors + 1) * 4, sizeof entries);
    for (int32_t i = 0; i < entries; ++i, from += entry.bytes) {
      int64_t n = 0;
      std::memcpy(&n, from + entry.count, sizeof n);
      for (const Field& field : entry.fields) {
        const void* at = nullptr;
        std::memcpy(&at, from + field.offset, sizeof at);
        out.push_back({at, static_cast<size_t>(n) * field.element, field.writes});
      }
    }
  }
}

}  // namespace

bool tracing() {
  return file() != nullptr;
}

void trace(const char* format, ...) {
  if (!tracing()) return;
  std::fprintf(file(), "%d ", thread_number());
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(file(), format, arguments);
  va_end(arguments);
  std::fputc('\n', file());
}

void trace(const char* verb, const Stream& stream, int number) {
  if (!tracing()) return;
  const std::string name = text_of(stream);
  if (number < 0) return trace("%s %s", verb, name.c_str());
  trace("%s %s %d", verb, name.c_str(), number);
}

void trace_work(const Stream& stream, const char* name, const std::vector<Access>& accesses) {
  if (!tracing()) return;
  std::string line;
  char text[64];
  for (const Access& access : accesses) {
    if (access.at == nullptr || access.bytes == 0 || !(is_device(access.at) || is_pinned(access.at)))
      continue;
    std::snprintf(text, sizeof text, " %c %zx %zx", access.writes ? 'w' : 'r',
                  reinterpret_cast<size_t>(access.at), access.bytes);
    line += text;
  }
  if (!line.empty()) trace("work %s %s%s", text_of(stream).c_str(), name, line.c_str());
}

void trace_follow(const Stream& stream, int event) {
  if (tracing()) trace("follow %s %d %s", text_of(stream).c_str(), event, caller().c_str());
}

bool trace_kernel(const Stream& stream, const char* mangled, void** arguments) {
  if (!tracing()) return true;
  const Signature& signature = signature_of(mangled);
  if (!signature.own) return false;
  std::vector<Access> accesses;
  const size_t flat =
      signature.flat < signature.parameters.size() ? *static_cast<size_t*>(arguments[signature.flat]) : 0;
  for (size_t i = 0; i < signature.parameters.size(); ++i) {
    const Parameter& parameter = signature.parameters[i];
    if (parameter.kind == Parameter::value) continue;
    if (parameter.kind == Parameter::batch) {
      add_batch(parameter.type, arguments[i], accesses);
      continue;
    }
    // How far most reach is not said; what is certain is the first element.
    const size_t count = i < signature.flat && flat > 0 ? flat : 1;
    accesses.push_back(
        {*static_cast<void**>(arguments[i]), count * parameter.element, parameter.kind == Parameter::writes});
  }
  trace_work(stream, signature.name.c_str(), accesses);
  return true;
}

void note_work(const Stream& stream) {
  if (operators.empty()) return;
  Operator& current = operators.back();
  if (std::find(current.used.begin(), current.used.end(), &stream) != current.used.end()) return;
  current.used.push_back(&stream);
  trace_work(stream, current.name, {current.given, current.given + current.count});
}

void listen() {
  static const bool once = [] {
    if (!tracing()) return false;
    const char* library = std::getenv("TESSERA_DRY_LISTENER");
    void* handle = library != nullptr ? dlopen(library, RTLD_NOW | RTLD_LOCAL) : nullptr;
    auto* start = handle != nullptr
                      ? reinterpret_cast<decltype(&dry_start_listening)>(dlsym(handle, "dry_start_listening"))
                      : nullptr;
    if (start == nullptr) {
      const char* reason = library == nullptr ? "TESSERA_DRY_LISTENER names no library" : dlerror();
      const Lock lock(guard());
      trace("deaf %s", reason != nullptr ? reason : "");
      return false;
    }
    start();
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace dry

using namespace dry;

DRY_API void dry_operator_begins(const char* name, const Access* given, size_t count) {
  operators.push_back({name, given, count, {}});
}

DRY_API void dry_operator_ends(const Access* made, size_t count) {
  if (operators.empty()) return;  // began before there was a listener
  const Operator ended = std::move(operators.back());
  operators.pop_back();
  if (ended.used.empty() || count == 0) return;
  const Lock lock(guard());
  for (const Stream* stream : ended.used) trace_work(*stream, ended.name, {made, made + count});
}

DRY_API void dry_block(const char* verb, int device, size_t address, size_t bytes, void* handle) {
  const Lock lock(guard());
  const Stream* stream = find(static_cast<cudaStream_t>(handle), device);
  if (stream != nullptr) trace("%s %s %zx %zx", verb, text_of(*stream).c_str(), address, bytes);
}
