// tessera/world.h
#include "objects.h"
#include "train/recipe.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::World;
using tessera::WorldOptions;

namespace {

constexpr const char* kSwitches[] = {"auto", "on", "off"};  // by tessera_switch

std::string switch_name(int32_t value, const char* field) {
  TESSERA_CHECK(value >= 0 && value < 3, argument, field, "=", value, " is not a tessera_switch");
  return kSwitches[value];
}

int32_t switch_of(const std::string& name) {
  return name == "on" ? TESSERA_SWITCH_ON : name == "off" ? TESSERA_SWITCH_OFF : TESSERA_SWITCH_AUTO;
}

WorldOptions to_cpp(const tessera_world_options* given) {
  const tessera_world_options options = read_options(given, "tessera_world_options");
  WorldOptions out;
  TESSERA_CHECK(options.size >= 0, argument, "size=", options.size, " is negative");
  out.rank = options.rank;
  out.size = options.size == 0 ? 1 : options.size;
  out.local_rank = options.local_rank;
  out.local_size = options.local_size == 0 ? out.size : options.local_size;
  TESSERA_CHECK(out.rank >= 0 && out.rank < out.size, argument, "rank=", out.rank,
                " is not below size=", out.size);
  TESSERA_CHECK(out.local_size >= 1 && out.local_size <= out.size, argument, "local_size=", out.local_size,
                " must be between 1 and size=", out.size);
  // With one host the local rank is the rank, which callers may leave out.
  if (out.local_rank == 0 && out.local_size == out.size) out.local_rank = out.rank;
  TESSERA_CHECK(out.local_rank >= 0 && out.local_rank < out.local_size, argument,
                "local_rank=", out.local_rank, " is not below local_size=", out.local_size);
  switch (options.backend) {
    case TESSERA_BACKEND_AUTO:
      out.backend = "auto";
      break;
    case TESSERA_BACKEND_LOCAL:
      out.backend = "local";
      break;
    case TESSERA_BACKEND_GLOO:
      out.backend = "gloo";
      break;
    case TESSERA_BACKEND_NCCL:
      out.backend = "nccl";
      break;
    default:
      throw tessera::Error(tessera::Code::argument,
                           tessera::cat("backend=", options.backend, " is not a tessera_backend"));
  }
  TESSERA_CHECK(options.device == TESSERA_DEVICE_CPU || options.device == TESSERA_DEVICE_CUDA, argument,
                "device=", options.device, " is not a tessera_device");
  out.device = options.device == TESSERA_DEVICE_CPU ? "cpu" : "cuda";
  TESSERA_CHECK(options.intra_op_threads >= 0, argument, "intra_op_threads=", options.intra_op_threads,
                " is negative");
  out.intra_op_threads = options.intra_op_threads;
  TESSERA_CHECK(options.agent_store == 0 || options.agent_store == 1, argument,
                "agent_store=", options.agent_store, " is not 0 or 1");
  out.agent_store = options.agent_store == 1;
  TESSERA_CHECK(options.timeout_ns >= 0, argument, "timeout_ns=", options.timeout_ns, " is negative");
  if (options.timeout_ns > 0) {
    const auto timeout = std::chrono::nanoseconds(options.timeout_ns);
    out.timeout = std::chrono::ceil<std::chrono::milliseconds>(timeout);
  }
  TESSERA_CHECK(
      options.allocator == TESSERA_ALLOCATOR_CACHING || options.allocator == TESSERA_ALLOCATOR_SYSTEM,
      argument, "allocator=", options.allocator, " is not a tessera_allocator");
  out.allocator = options.allocator == TESSERA_ALLOCATOR_CACHING ? "caching" : "system";
  out.register_buffers = switch_name(options.register_buffers, "register_buffers");
  out.expandable_segments = switch_name(options.expandable_segments, "expandable_segments");
  TESSERA_CHECK(options.reserved0 == 0, argument, "reserved0=", options.reserved0, " is not 0");
  if (options.rendezvous != nullptr) out.rendezvous = options.rendezvous;
  if (options.job != nullptr) out.job = options.job;
  return out;
}

auto start_close(tessera_world world) {
  const auto object = find<WorldObject>(world, "world");
  return start<Nothing>(*object, object->use.lease("world"), [object] {
    object->world->close();
    return Nothing{};
  });
}

}  // namespace

tessera_status tessera_world_options_init(tessera_world_options* options, size_t struct_size) {
  return init_struct(options, struct_size, tessera_world_options{});
}

tessera_status tessera_world_options_load(tessera_world_options* options, tessera_config config,
                                          tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(options);
    check_out_struct(options, "options");
    const WorldOptions from = tessera::world_options(find<ConfigObject>(config, "config")->snapshot());
    tessera_world_options loaded{};
    loaded.backend = from.backend == "local"  ? TESSERA_BACKEND_LOCAL
                     : from.backend == "gloo" ? TESSERA_BACKEND_GLOO
                     : from.backend == "nccl" ? TESSERA_BACKEND_NCCL
                                              : TESSERA_BACKEND_AUTO;
    loaded.device = from.device == "cuda" ? TESSERA_DEVICE_CUDA : TESSERA_DEVICE_CPU;
    loaded.intra_op_threads = from.intra_op_threads;
    loaded.allocator = from.allocator == "system" ? TESSERA_ALLOCATOR_SYSTEM : TESSERA_ALLOCATOR_CACHING;
    loaded.register_buffers = switch_of(from.register_buffers);
    loaded.expandable_segments = switch_of(from.expandable_segments);
    loaded.timeout_ns = std::chrono::nanoseconds(from.timeout).count();
    write_struct(options, loaded);
  });
}

tessera_status tessera_world_create(const tessera_world_options* options, tessera_world* out_world,
                                    tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_world);
    give(std::make_shared<WorldObject>(World::connect(to_cpp(options))), out_world);
  });
}

tessera_status tessera_world_create_from_environment(const tessera_world_options* options,
                                                     tessera_world* out_world, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_world);
    give(std::make_shared<WorldObject>(World::from_environment(to_cpp(options))), out_world);
  });
}

tessera_status tessera_world_create_threads(int32_t size, const tessera_world_options* options,
                                            tessera_world* out_worlds, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_worlds);
    constexpr int32_t kMost = 1024;
    TESSERA_CHECK(size >= 1 && size <= kMost, argument, "size=", size, " must be between 1 and ", kMost);
    tessera_world_options defaults = read_options(options, "tessera_world_options");
    defaults.rank = defaults.size = defaults.local_rank = defaults.local_size = 0;
    defaults.rendezvous = nullptr;
    std::vector<std::shared_ptr<WorldObject>> objects;
    for (auto& world : World::threads(size, to_cpp(&defaults))) {
      objects.push_back(std::make_shared<WorldObject>(std::move(world)));
    }
    std::vector<tessera_world> handles(objects.size());
    for (size_t i = 0; i < objects.size(); ++i) give(std::move(objects[i]), &handles[i]);
    std::copy(handles.begin(), handles.end(), out_worlds);
  });
}

tessera_status tessera_world_destroy(tessera_world world) {
  return destroy<WorldObject>(world);
}

tessera_status tessera_world_close(tessera_world world, tessera_error* err) {
  return guard(err, [&] { finish(start_close(world)); });
}

tessera_status tessera_world_close_async(tessera_world world, tessera_future* out_future,
                                         tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_close(world), out_future);
  });
}

tessera_status tessera_world_abort(tessera_world world, const char* reason, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(reason);
    find<WorldObject>(world, "world")->world->abort(reason);
  });
}

tessera_status tessera_world_get_rank(tessera_world world, int32_t* out_rank, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_rank);
    *out_rank = find<WorldObject>(world, "world")->world->rank();
  });
}

tessera_status tessera_world_get_size(tessera_world world, int32_t* out_size, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_size);
    *out_size = find<WorldObject>(world, "world")->world->size();
  });
}
