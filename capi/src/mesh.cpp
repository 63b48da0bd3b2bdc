// tessera/mesh.h
#include "train/recipe.h"

#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::DeviceMesh;
using tessera::MeshSpec;

namespace {

MeshSpec to_cpp(const tessera_mesh_options* given) {
  const tessera_mesh_options options = read_options(given, "tessera_mesh_options");
  MeshSpec spec;
  const auto take = [](int64_t value, int64_t& degree) {
    if (value != 0) degree = value;
  };
  take(options.pp, spec.pp);
  take(options.dp_replicate, spec.dp_replicate);
  take(options.dp_shard, spec.dp_shard);
  take(options.cp, spec.cp);
  take(options.tp, spec.tp);
  take(options.ep, spec.ep);
  return spec;
}

auto start_create(tessera_world world, const tessera_mesh_options* options) {
  const auto parent = find<WorldObject>(world, "world");
  return start<std::shared_ptr<MeshObject>>(
      *parent, parent->use.lease("world"), [parent, spec = to_cpp(options)] {
        auto object = std::make_shared<MeshObject>();
        object->world = parent;
        object->mesh = std::make_shared<DeviceMesh>(parent->world, spec);
        return object;
      });
}

}  // namespace

tessera_status tessera_mesh_options_init(tessera_mesh_options* options, size_t struct_size) {
  return init_struct(options, struct_size, tessera_mesh_options{});
}

tessera_status tessera_mesh_options_load(tessera_mesh_options* options, tessera_config config,
                                         tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(options);
    check_out_struct(options, "options");
    const MeshSpec spec = tessera::mesh_spec(find<ConfigObject>(config, "config")->snapshot());
    tessera_mesh_options loaded{};
    loaded.pp = spec.pp;
    loaded.dp_replicate = spec.dp_replicate;
    loaded.dp_shard = spec.dp_shard;
    loaded.cp = spec.cp;
    loaded.tp = spec.tp;
    loaded.ep = spec.ep;
    write_struct(options, loaded);
  });
}

tessera_status tessera_mesh_create(tessera_world world, const tessera_mesh_options* options,
                                   tessera_mesh* out_mesh, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_mesh);
    give(finish(start_create(world, options)), out_mesh);
  });
}

tessera_status tessera_mesh_create_async(tessera_world world, const tessera_mesh_options* options,
                                         tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_create(world, options), out_future);
  });
}

tessera_status tessera_mesh_destroy(tessera_mesh mesh) {
  return destroy<MeshObject>(mesh);
}

tessera_status tessera_mesh_get_size(tessera_mesh mesh, const char* axis, int64_t* out_size,
                                     tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(axis);
    TESSERA_NOT_NULL(out_size);
    *out_size = find<MeshObject>(mesh, "mesh")->mesh->size(axis);
  });
}

tessera_status tessera_mesh_get_index(tessera_mesh mesh, const char* axis, int64_t* out_index,
                                      tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(axis);
    TESSERA_NOT_NULL(out_index);
    *out_index = find<MeshObject>(mesh, "mesh")->mesh->index(axis);
  });
}

tessera_status tessera_mesh_get_ranks(tessera_mesh mesh, const char* axis, int32_t* buf, size_t cap,
                                      size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(axis);
    check_buffer(buf, cap, out_len);
    const auto object = find<MeshObject>(mesh, "mesh");
    const auto ranks = object->mesh->layout().group_ranks(object->mesh->rank(), tessera::submesh_axes(axis));
    write_array(ranks, buf, cap, out_len);
  });
}

tessera_status tessera_mesh_get_text(tessera_mesh mesh, char* buf, size_t cap, size_t* out_len,
                                     tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    write_text(find<MeshObject>(mesh, "mesh")->mesh->layout().describe(), buf, cap, out_len);
  });
}
