// Arguments at random: handles, numbers, arrays, texts and what callbacks do.
#include "arguments.h"

#include <cstring>
#include <string>

#include "../arrow_interface.h"
#include "dlpack.h"

namespace random_host {
namespace {

constexpr size_t kElement[] = {0, 4, 8, 2, 2, 8, 4, 1};  // bytes, by tessera_dtype

/// What a host's callback might do: ask the library for things in the middle of its call.
void call_back(Host& host) {
  int64_t count = 0;
  tessera_handle_count(TESSERA_KIND_ANY, &count, nullptr);
  for (const int kind : {TESSERA_KIND_DATASET, TESSERA_KIND_TENSOR}) {
    const uint64_t id = host.live(kind, 0);
    if (kind == TESSERA_KIND_DATASET) {
      tessera_dataset_push_end(tessera_dataset{id}, nullptr);
      tessera_dataset_destroy(tessera_dataset{id});
    } else {
      tessera_tensor_destroy(tessera_tensor{id});
    }
    host.destroyed(kind, id);
  }
}

template <class T>
void release_arrow(T* released) {
  released->release = nullptr;
  call_back(*static_cast<Host*>(released->private_data));
}
template <class T>
void release_child(T* child) {
  child->release = nullptr;
}

template <class T>
T* zeroed(Caller& caller, size_t count = 1) {
  auto* out = static_cast<T*>(caller.memory(sizeof(T) * count));
  std::memset(static_cast<void*>(out), 0, sizeof(T) * count);
  return out;
}

}  // namespace

uint64_t random_handle(Caller& caller, int kind, bool nullable) {
  uint64_t id = caller.host.live(kind, caller.below(1 << 20));
  const uint64_t luck = caller.below(100);
  if (nullable && luck < 40) id = 0;
  if (luck >= 96) id = caller.host.stale(caller.below(1 << 20));
  if (luck == 95)
    id = caller.host.live(static_cast<int>(1 + caller.below(kKinds - 1)), caller.below(1 << 20));
  if (luck == 94) id ^= uint64_t{1} << caller.below(64);
  if (luck == 93) id = uint64_t(kind) << 56 | caller.below(uint64_t{1} << 56);
  if (luck == 92) id = 0;
  char shown[32];
  std::snprintf(shown, sizeof shown, "%llx", static_cast<unsigned long long>(id));
  caller.note(shown);
  return id;
}

int32_t random_int32(Caller& caller, std::string_view name) {
  auto value =
      static_cast<int32_t>(caller.chance(85) ? caller.below(8) : static_cast<uint64_t>(caller.odd_number()));
  if (name == "size") {  // of a job: many ranks are many threads
    value = static_cast<int32_t>(caller.chance(95) ? caller.below(5)
                                                   : static_cast<uint64_t>(caller.odd_number()));
    if (value > 64 && value <= 1024) value = 64;
    caller.call.size = value;
  }
  if (name == "kind")
    value = static_cast<int32_t>(caller.chance(90) ? caller.below(kKinds + 1)
                                                   : static_cast<uint64_t>(caller.odd_number()));
  if (name == "level") value = caller.chance(90) ? TESSERA_LOG_OFF : value;
  if (name.starts_with("add_") || name.starts_with("skip_") || name == "labels_shifted")
    value = caller.chance(95) ? static_cast<int32_t>(caller.below(2)) : value;
  if (name == "dtype") caller.call.dtype = value;
  if (name == "form") caller.call.form = value;
  caller.note(std::to_string(value));
  return value;
}

int64_t random_int64(Caller& caller, std::string_view name) {
  Caller::Call& call = caller.call;
  int64_t value = 0;
  if (name.starts_with("n_") || name == "count") {
    // Of the array before it: no more than it has, perhaps less, or what cannot be.
    value = static_cast<int64_t>(call.last_length);
    if (caller.chance(10)) value = static_cast<int64_t>(caller.below(call.last_length + 1));
    if (caller.chance(3)) value = caller.chance(50) ? INT64_MIN : -1;
  } else if (name == "timeout_ns") {
    value = caller.bounded_timeout();
    // Futures end by themselves; so do queues, since the end of the sequence destroys them.
    if (!caller.host.ending && caller.chance(5)) value = caller.chance(50) ? TESSERA_FOREVER : INT64_MAX;
  } else if (name == "world_size") {
    value = caller.chance(80) ? int64_t{1} << caller.below(11) : caller.odd_number();
  } else if (name == "capacity") {
    value = caller.chance(80) ? static_cast<int64_t>(1 + caller.below(64)) : caller.odd_number();
  } else {
    value = caller.chance(70) ? caller.small_number() : caller.odd_number();
  }
  caller.note(std::to_string(value));
  return value;
}

size_t random_size(Caller& caller, std::string_view name) {
  size_t value = caller.call.last_length;
  if (name == "struct_size") {
    // Memory behind `info` and `options` is larger than any struct of this version by a little.
    value = caller.chance(50) ? 16 + caller.below(64) : static_cast<size_t>(caller.below(12));
    if (caller.chance(5)) value = SIZE_MAX;
    value = std::min(value, caller.call.last_length) | (caller.chance(5) ? size_t{1} << 40 : 0);
  } else if (caller.chance(5)) {
    value = caller.below(value + 1);
  } else if (name == "bytes" && caller.call.tensor_bytes != 0 && caller.call.tensor_bytes <= value) {
    value = caller.call.tensor_bytes;
  }
  caller.note(std::to_string(value));
  return value;
}

const int64_t* random_array(Caller& caller, std::string_view name, bool nullable) {
  Caller::Call& call = caller.call;
  size_t count = 1 + caller.below(24);
  if (name == "labels") count = call.token_count;
  if (nullable && caller.chance(30)) {
    if (name == "dims") call.last_length = 0;
    caller.note("null");
    return nullptr;
  }
  if (caller.chance(1)) return nullptr;
  if (name == "dims") count = caller.below(4);
  if (name == "index") {
    switch (call.form) {
      case TESSERA_BATCH_FORM_POSITIONS:
      case TESSERA_BATCH_FORM_SEGMENTS:
        count = call.token_count;
        break;
      case TESSERA_BATCH_FORM_CU_SEQLENS:
        count = 2 + caller.below(5);
        break;
      default:
        count = 1 + caller.below(5);
    }
  }
  auto* out = static_cast<int64_t*>(caller.memory(sizeof(int64_t) * count));
  const bool odd = caller.chance(10);
  int64_t running = 0;
  int64_t left = static_cast<int64_t>(call.token_count);
  for (size_t i = 0; i < count; ++i) {
    int64_t value = static_cast<int64_t>(caller.below(64));
    if (name == "labels" && caller.chance(20)) value = -100;
    if (name == "dims") value = static_cast<int64_t>(caller.below(9));
    if (name == "text_ends")
      value = running = std::min(running + caller.small_number(), static_cast<int64_t>(call.last_length));
    if (name == "text_ends" && i + 1 == count) value = static_cast<int64_t>(call.last_length);
    if (name == "lengths" || (name == "index" && call.form == TESSERA_BATCH_FORM_LENGTHS)) {
      value = 1 + caller.small_number();
      if (left > 0)
        value = i + 1 == count
                    ? left
                    : std::min(value, std::max<int64_t>(1, left - static_cast<int64_t>(count - i - 1)));
      left -= value;
    }
    if (name == "index" && call.form == TESSERA_BATCH_FORM_POSITIONS)
      value = caller.chance(15) ? 0 : running + 1;
    if (name == "index" && call.form == TESSERA_BATCH_FORM_SEGMENTS)
      value = running + (caller.chance(20) ? 1 : 0);
    if (name == "index" && call.form == TESSERA_BATCH_FORM_CU_SEQLENS)
      value = i == 0           ? 0
              : i + 1 == count ? static_cast<int64_t>(call.token_count)
                               : running + 1 + caller.small_number();
    if (name == "index" && i == 0 && call.form != TESSERA_BATCH_FORM_LENGTHS) value = 0;
    running = value;
    if (odd && caller.chance(20)) value = caller.odd_number();
    // A tensor of terabytes may be had where memory is promised freely.
    if (name == "dims" && value > 1000 && value < (int64_t{1} << 53)) value = 1000;
    out[i] = value;
  }
  call.last_length = count;
  if (name == "tokens") call.token_count = count;
  if (name == "lengths" || name == "text_ends") call.lengths_count = count;
  if (name == "dims") {
    size_t bytes = call.dtype >= 1 && call.dtype <= 7 ? kElement[call.dtype] : 1;
    for (size_t i = 0; i < count; ++i)
      if (__builtin_mul_overflow(bytes, static_cast<size_t>(out[i]), &bytes)) bytes = SIZE_MAX;
    call.tensor_bytes = bytes;
  }
  caller.note("[" + std::to_string(count) + "]");
  return out;
}

const char* random_text(Caller& caller, std::string_view name, bool nullable) {
  if ((nullable && caller.chance(40)) || caller.chance(1)) {
    caller.call.last_length = 0;
    caller.note("null");
    return nullptr;
  }
  const std::string text =
      name == "config_json" ? caller.text("config_json") : caller.text(std::string(name));
  caller.call.last_length = text.size();
  caller.note("\"" + text.substr(0, 50) + "\"");
  return caller.text_memory(text);
}

void* random_buffer(Caller& caller, std::string_view name, size_t element) {
  static const std::vector<size_t> kLengths = {0, 1, 7, 64, 64, 1024, 4096};
  size_t count = caller.one_of(kLengths);
  if (name == "labels") count = caller.call.last_length;
  if (name == "out_packs" || name == "out_ends") {
    count = caller.call.lengths_count;  // what they belong to stays what `cap` comes after
    return caller.memory(count * element);
  }
  caller.call.last_length = count;
  if (caller.chance(1)) return nullptr;
  return count == 0 && name != "labels" && caller.chance(50) ? nullptr : caller.memory(count * element);
}

void* random_data(Caller& caller, bool nullable, bool kept) {
  Caller::Call& call = caller.call;
  if (nullable && caller.chance(30)) {
    call.last_length = caller.below(64);
    return nullptr;
  }
  size_t bytes =
      call.tensor_bytes > 0 && call.tensor_bytes <= (1 << 16) ? call.tensor_bytes : caller.below(512);
  if (std::strcmp(call.name, "tessera_tensor_set_data") == 0) {
    static const std::vector<size_t> kBytes = {128, 32, 64, 0, 1};
    bytes = caller.one_of(kBytes);
  }
  call.last_length = bytes;
  void* const out = kept ? caller.host.keep(bytes) : caller.memory(bytes);
  std::memset(out, 1, bytes);
  return caller.chance(3) && kept && bytes > 0 ? (call.last_length = bytes - 1, static_cast<char*>(out) + 1)
                                               : out;
}

tessera_error* random_error(Caller& caller) {
  if (caller.chance(5)) return nullptr;
  auto* out = static_cast<tessera_error*>(caller.memory(sizeof(tessera_error)));
  std::memset(static_cast<void*>(out), 0xA5, sizeof *out);
  caller.call.err = out;
  return out;
}

void* random_arrow(Caller& caller, std::string_view name) {
  const int64_t rows = caller.small_number();
  if (name == "schema") {
    auto* const root = zeroed<ArrowSchema>(caller);
    auto* const list = zeroed<ArrowSchema>(caller);
    auto* const items = zeroed<ArrowSchema>(caller);
    auto** const below = zeroed<ArrowSchema*>(caller, 2);
    below[0] = list;
    below[1] = items;
    static const std::vector<const char*> formats = {"l", "l", "l", "i", "u", "", "+l"};
    *items = {caller.one_of(formats), "item", nullptr, 0, 0, nullptr, nullptr, release_child, nullptr};
    *list = {caller.chance(90) ? "+l" : "+L",
             caller.chance(90) ? "input_ids" : "labels",
             nullptr,
             0,
             caller.chance(95) ? 1 : -1,
             &below[1],
             nullptr,
             release_child,
             nullptr};
    *root = {caller.chance(95) ? "+s" : "l",
             "",
             nullptr,
             0,
             caller.chance(95) ? 1 : caller.odd_number() & -2,
             below,
             nullptr,
             release_arrow<ArrowSchema>,
             &caller.host};
    if (root->n_children > 1) root->n_children = 1;
    return root;
  }
  auto* const root = zeroed<ArrowArray>(caller);
  auto* const list = zeroed<ArrowArray>(caller);
  auto* const items = zeroed<ArrowArray>(caller);
  auto** const below = zeroed<ArrowArray*>(caller, 2);
  below[0] = list;
  below[1] = items;
  auto* const offsets = zeroed<int64_t>(caller, static_cast<size_t>(rows) + 2);
  auto* const narrow = reinterpret_cast<int32_t*>(offsets);
  for (int64_t i = 0; i <= rows; ++i) narrow[i] = static_cast<int32_t>(2 * i);
  auto* const values = zeroed<int64_t>(caller, static_cast<size_t>(2 * rows) + 1);
  auto** const buffers = zeroed<const void*>(caller, 6);
  buffers[1] = offsets;
  buffers[3] = values;
  // Offsets that fall or begin below nothing can be seen; those beyond the memory cannot.
  if (caller.chance(5))
    narrow[caller.below(static_cast<uint64_t>(rows) + 1)] = caller.chance(50) ? -1 : INT32_MIN;
  *items = {2 * rows,      0,      0, caller.chance(95) ? 2 : 1, 0, buffers + 2, nullptr, nullptr,
            release_child, nullptr};
  *list = {rows, 0, 0, 2, 1, buffers, &below[1], nullptr, release_child, nullptr};
  *root = {rows, 0, 0, 1, 1, buffers + 4, below, nullptr, release_arrow<ArrowArray>, &caller.host};
  if (caller.chance(5)) root->length = caller.chance(50) ? INT64_MAX : -1;
  if (caller.chance(3)) root->offset = caller.chance(50) ? INT64_MAX : INT64_MIN;
  if (caller.chance(3)) list->offset = caller.chance(50) ? INT64_MAX : INT64_MIN;
  if (caller.chance(3)) items->length = caller.odd_number();
  if (items->length > 2 * rows) items->length = 2 * rows;
  if (caller.chance(3)) list->length = INT64_MIN;
  return root;
}

DLManagedTensorVersioned* random_dlpack(Caller& caller) {
  DLManagedTensorVersioned* tensor = caller.chance(50) ? caller.host.take_dlpack() : nullptr;
  if (tensor == nullptr) {
    if (caller.chance(2)) return nullptr;
    tensor = make_dlpack(caller);
  }
  // On error the caller keeps it.
  caller.call.after.emplace_back([tensor](tessera_status status) {
    if (status != TESSERA_OK) release_dlpack(tensor);
  });
  return tensor;
}

DLManagedTensorVersioned* make_dlpack(Caller& caller) {
  struct Owned {
    DLManagedTensorVersioned tensor;
    Host* host;
    int64_t shape[3];
    int64_t strides[3];
    alignas(16) char data[1024];
  };
  auto* const owned = new Owned();
  owned->host = &caller.host;
  for (int64_t& dim : owned->shape)
    dim = caller.chance(95) ? static_cast<int64_t>(1 + caller.below(4)) : -caller.small_number();
  owned->strides[2] = 1;
  owned->strides[1] = owned->shape[2];
  owned->strides[0] = owned->shape[1] * owned->shape[2];
  if (caller.chance(10)) owned->strides[caller.below(3)] = 0;
  if (caller.chance(3)) owned->strides[caller.below(3)] = -1;
  if (caller.chance(2)) owned->strides[caller.below(3)] = INT64_MAX;
  DLManagedTensorVersioned& tensor = owned->tensor;
  tensor.version = {caller.chance(97) ? 1u : static_cast<uint32_t>(caller.below(3)), 0};
  tensor.manager_ctx = owned;
  tensor.deleter = [](DLManagedTensorVersioned* self) {
    auto* const mine = static_cast<Owned*>(self->manager_ctx);
    call_back(*mine->host);
    delete mine;
  };
  tensor.flags = caller.chance(10) ? 1 : 0;
  static const std::vector<DLDataType> types = {{2, 32, 1}, {2, 32, 1}, {2, 64, 1}, {0, 64, 1},
                                                {4, 16, 1}, {1, 8, 1},  {2, 16, 1}, {6, 8, 1},
                                                {5, 64, 1}, {2, 32, 4}, {9, 3, 1},  {2, 0, 1}};
  tensor.dl_tensor = {owned->data,
                      {caller.chance(95) ? 1 : static_cast<int32_t>(caller.below(20)), 0},
                      static_cast<int32_t>(caller.chance(97) ? caller.below(4) : static_cast<uint64_t>(-1)),
                      caller.one_of(types),
                      owned->shape,
                      caller.chance(50) ? nullptr : owned->strides,
                      caller.chance(95) ? uint64_t{0} : uint64_t{3}};
  return &tensor;
}

void fill(Caller& caller, tessera_world_options& options) {
  const auto odd = [&](int32_t usual) {
    return caller.chance(95) ? usual : static_cast<int32_t>(caller.odd_number());
  };
  const bool single = caller.chance(70);
  options.rank = odd(0);
  options.size = odd(single ? 1 : 2);
  options.local_rank = odd(0);
  options.local_size = odd(0);
  options.backend = odd(static_cast<int32_t>(caller.below(3)));
  options.device = odd(caller.chance(95) ? 0 : 1);
  options.intra_op_threads = odd(1);
  options.allocator = odd(TESSERA_ALLOCATOR_SYSTEM);
  options.register_buffers = odd(0);
  options.timeout_ns = 100'000'000 + static_cast<int64_t>(caller.below(5)) * 100'000'000;
  if (caller.chance(5)) options.timeout_ns = 1;
  if (caller.chance(2)) options.timeout_ns = INT64_MIN;
  if (options.intra_op_threads > 64) options.intra_op_threads = 64;
  if (!single || caller.chance(5)) {
    const std::string where[] = {"file://" + caller.host.folder + "/meet",
                                 "tcp://127.0.0.1:1",
                                 "tcp://",
                                 "http://x",
                                 "tcp://[::1]:99999",
                                 "file://",
                                 "file://" + caller.host.folder + "/nothing/meet"};
    options.rendezvous = caller.text_memory(where[caller.below(std::size(where))]);
  }
  if (caller.chance(10)) options.job = caller.text_memory(caller.text("job"));
}

void fill(Caller& caller, tessera_mesh_options& options) {
  static const std::vector<int64_t> degrees = {0, 0, 0, 1, 1, 2, -1, 4, 3};
  for (int64_t* degree :
       {&options.pp, &options.dp_replicate, &options.dp_shard, &options.cp, &options.tp, &options.ep})
    *degree = caller.chance(95) ? caller.one_of(degrees) : caller.odd_number();
}

void fill(Caller& caller, tessera_generate_options& options) {
  options.max_new_tokens = caller.chance(90) ? caller.small_number() : caller.odd_number();
  // What a model of 128 positions continues for so long is slow, not wrong.
  if (options.max_new_tokens > 40 && options.max_new_tokens <= 100'000) options.max_new_tokens = 40;
  options.top_k = caller.chance(90) ? caller.small_number() : caller.odd_number();
  options.seed = caller.odd_number();
  static const std::vector<double> reals = {0, 0, 0.5, 1, 1e-300, 1e300, -1, 0.0 / 1.0};
  options.temperature = caller.one_of(reals);
  options.top_p = caller.chance(80) ? 0.9 : caller.one_of(reals);
}

void fill(Caller& caller, tessera_timeline_options& options) {
  options.format =
      static_cast<int32_t>(caller.chance(95) ? caller.below(4) : static_cast<uint64_t>(caller.odd_number()));
  options.columns = static_cast<int32_t>(caller.chance(80) ? 0 : static_cast<uint64_t>(caller.odd_number()));
  static const std::vector<double> reals = {0, 0, 1, 0.5, -1, 1e308, 1e-308};
  options.backward = caller.one_of(reals);
  options.collective = caller.one_of(reals);
  options.transfer = caller.one_of(reals);
}

}  // namespace random_host
