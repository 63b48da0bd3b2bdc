// Arguments at random for any function of the interface, chosen by the parameter's type and name.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "host.h"

namespace random_host {

template <class T>
constexpr int kind_of() {
  if constexpr (std::is_same_v<T, tessera_config>) return TESSERA_KIND_CONFIG;
  if constexpr (std::is_same_v<T, tessera_world>) return TESSERA_KIND_WORLD;
  if constexpr (std::is_same_v<T, tessera_mesh>) return TESSERA_KIND_MESH;
  if constexpr (std::is_same_v<T, tessera_tensor>) return TESSERA_KIND_TENSOR;
  if constexpr (std::is_same_v<T, tessera_model>) return TESSERA_KIND_MODEL;
  if constexpr (std::is_same_v<T, tessera_batch>) return TESSERA_KIND_BATCH;
  if constexpr (std::is_same_v<T, tessera_dataset>) return TESSERA_KIND_DATASET;
  if constexpr (std::is_same_v<T, tessera_trainer>) return TESSERA_KIND_TRAINER;
  if constexpr (std::is_same_v<T, tessera_future>) return TESSERA_KIND_FUTURE;
  if constexpr (std::is_same_v<T, tessera_events>) return TESSERA_KIND_EVENTS;
  if constexpr (std::is_same_v<T, tessera_tokenizer>) return TESSERA_KIND_TOKENIZER;
  return 0;
}

uint64_t random_handle(Caller& caller, int kind, bool nullable);
int32_t random_int32(Caller& caller, std::string_view name);
int64_t random_int64(Caller& caller, std::string_view name);
size_t random_size(Caller& caller, std::string_view name);
const int64_t* random_array(Caller& caller, std::string_view name, bool nullable);
const char* random_text(Caller& caller, std::string_view name, bool nullable);
/// Memory for the caller's arrays out; its length becomes `cap`.
void* random_buffer(Caller& caller, std::string_view name, size_t element);
void* random_data(Caller& caller, bool nullable, bool kept);
void* random_arrow(Caller& caller, std::string_view name);
DLManagedTensorVersioned* random_dlpack(Caller& caller);
tessera_error* random_error(Caller& caller);

void fill(Caller& caller, tessera_world_options& options);
void fill(Caller& caller, tessera_mesh_options& options);
void fill(Caller& caller, tessera_generate_options& options);
void fill(Caller& caller, tessera_timeline_options& options);
inline void fill(Caller&, tessera_metrics&) {}
inline void fill(Caller&, tessera_event&) {}
inline void fill(Caller&, tessera_key_info&) {}

/// A struct with struct_size: of this version, of an older one, of a newer one, or never initialised.
template <class T>
T* random_struct(Caller& caller, bool nullable) {
  if ((nullable && caller.chance(30)) || caller.chance(2)) {
    // Without options a job of several ranks waits ten minutes for one that does not come.
    if (!std::is_same_v<T, tessera_world_options> || caller.call.size <= 1) return nullptr;
  }
  constexpr size_t kNewer = 24;
  auto* out = static_cast<T*>(caller.memory(sizeof(T) + kNewer));
  std::memset(static_cast<void*>(out), 0, sizeof(T) + kNewer);
  caller.call.last_length = sizeof(T) + kNewer;
  fill(caller, *out);
  out->struct_size = sizeof(T);
  if (caller.chance(5)) out->struct_size = sizeof(T) + kNewer;
  if (!std::is_same_v<T, tessera_world_options> && caller.chance(5))
    out->struct_size = sizeof(size_t) + caller.below(sizeof(T));
  if (caller.chance(2)) out->struct_size = caller.below(sizeof(size_t));
  if (caller.chance(1)) out->struct_size = SIZE_MAX;
  return out;
}

/// Where a new handle goes: pooled after success, looked at after failure.
template <class T>
T* random_out_handle(Caller& caller, size_t count) {
  if (caller.chance(1)) return nullptr;
  auto* out = static_cast<T*>(caller.memory(sizeof(T) * count));
  std::memset(static_cast<void*>(out), 0xA5, sizeof(T) * count);
  caller.call.after.emplace_back([&caller, out, count](tessera_status status) {
    for (size_t i = 0; i < count; ++i) {
      if (status == TESSERA_OK) {
        caller.host.made(kind_of<T>(), out[i].id);
      } else if (out[i].id != 0xA5A5A5A5A5A5A5A5) {
        fail(std::string(caller.call.name) + " failed and wrote an output");
      }
    }
  });
  return out;
}

template <class T>
T* random_out_number(Caller& caller) {
  if (caller.chance(1)) return nullptr;
  auto* out = static_cast<T*>(caller.memory(sizeof(T)));
  std::memset(static_cast<void*>(out), 0xA5, sizeof(T));
  return out;
}

template <class T>
T make(Caller& caller, std::string_view name) {
  const bool nullable = !name.empty() && name.back() == '?';
  if (nullable) name.remove_suffix(1);
  caller.note(std::string(name) + "=");
  using Pointed = std::remove_cv_t<std::remove_pointer_t<T>>;
  if constexpr (kind_of<T>() != 0) {
    return T{random_handle(caller, kind_of<T>(), nullable)};
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return random_int32(caller, name);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return random_int64(caller, name);
  } else if constexpr (std::is_same_v<T, size_t>) {
    return random_size(caller, name);
  } else if constexpr (std::is_same_v<T, tessera_error*>) {
    return random_error(caller);
  } else if constexpr (std::is_same_v<T, const char*>) {
    return random_text(caller, name, nullable);
  } else if constexpr (std::is_same_v<T, const int64_t*>) {
    return random_array(caller, name, nullable);
  } else if constexpr (std::is_same_v<T, const tessera_future*>) {
    const size_t count = caller.below(6);
    auto* out = static_cast<tessera_future*>(caller.memory(sizeof(tessera_future) * count));
    for (size_t i = 0; i < count; ++i) out[i].id = random_handle(caller, TESSERA_KIND_FUTURE, false);
    caller.call.last_length = count;
    return out;
  } else if constexpr (kind_of<Pointed>() != 0) {
    return random_out_handle<Pointed>(
        caller,
        name == "out_worlds" ? static_cast<size_t>(std::clamp<int64_t>(caller.call.size, 1, 1024)) : 1);
  } else if constexpr (std::is_same_v<T, DLManagedTensorVersioned*>) {
    return random_dlpack(caller);
  } else if constexpr (std::is_same_v<T, DLManagedTensorVersioned**>) {
    auto* out = static_cast<DLManagedTensorVersioned**>(caller.memory(sizeof(void*)));
    caller.call.after.emplace_back([&caller, out](tessera_status status) {
      if (status == TESSERA_OK) caller.host.give_dlpack(*out);
    });
    return out;
  } else if constexpr (std::is_same_v<T, void*> || std::is_same_v<T, const void*>) {
    if (name == "schema" || name == "array") return random_arrow(caller, name);
    if (name == "buf") return random_buffer(caller, name, 1);
    return random_data(caller, nullable, std::is_same_v<T, void*>);
  } else if constexpr (std::is_class_v<Pointed>) {
    return random_struct<Pointed>(caller, nullable);
  } else if constexpr (std::is_same_v<T, int64_t*> || std::is_same_v<T, int32_t*> ||
                       std::is_same_v<T, char*>) {
    if (name.starts_with("out_") && name != "out_packs" && name != "out_ends")
      return random_out_number<Pointed>(caller);
    return static_cast<T>(random_buffer(caller, name, sizeof(Pointed)));
  } else {
    static_assert(std::is_same_v<T, size_t*>, "a parameter of a type that random hosts do not know");
    return random_out_number<size_t>(caller);
  }
}

/// One call of a function, with the names of its parameters.
template <class R, class... P>
void invoke(Caller& caller, const char* function, R (*pointer)(P...),
            std::initializer_list<const char*> names) {
  caller.begin(function);
  [&]<size_t... I>(std::index_sequence<I...>) {
    // Braces: the arguments are made from left to right.
    [[maybe_unused]] const char* const* const name = names.begin();
    std::tuple<P...> arguments{make<P>(caller, name[I])...};
    caller.running.store(function);
    if constexpr (std::is_same_v<R, const char*>) {
      if (std::apply(pointer, arguments) == nullptr) fail(std::string(function) + " returned null");
      caller.end(TESSERA_OK, nullptr);
    } else {
      const auto result = std::apply(pointer, arguments);
      caller.end(std::string_view(function) == "tessera_abi_version" ? TESSERA_OK : result, caller.call.err);
    }
    // A destroyed handle is kept: it must stay stale for ever.
    if constexpr (sizeof...(P) == 1) {
      using First = std::tuple_element_t<0, std::tuple<P...>>;
      if constexpr (kind_of<First>() != 0) caller.host.destroyed(kind_of<First>(), std::get<0>(arguments).id);
    }
  }(std::index_sequence_for<P...>{});
}

}  // namespace random_host
