// The ranks of a world on axes, and collectives over them.
#ifndef TESSERA_CPP_MESH_HPP
#define TESSERA_CPP_MESH_HPP

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/collective.h"
#include "tessera/mesh.h"
#include "tessera/cpp/config.hpp"
#include "tessera/cpp/future.hpp"
#include "tessera/cpp/tensor.hpp"
#include "tessera/cpp/world.hpp"

namespace tessera {
inline namespace cpp0 {

struct MeshOptions : tessera_mesh_options {
    MeshOptions() : tessera_mesh_options(detail::initialised(tessera_mesh_options_init)) {}
    explicit MeshOptions(const Config &config) : MeshOptions() {
        detail::call(tessera_mesh_options_load, static_cast<tessera_mesh_options *>(this), config.get());
    }
};

/// The ranks of a world laid out on axes. Collectives take the name of an axis or sub-mesh.
class Mesh : public detail::Handle<tessera_mesh, tessera_mesh_destroy> {
   public:
    explicit Mesh(tessera_mesh mesh) : Handle(mesh) {}
    explicit Mesh(const World &world, const MeshOptions &options = MeshOptions()) {
        detail::call(tessera_mesh_create, world.get(), static_cast<const tessera_mesh_options *>(&options), out());
    }
    static Future<Mesh> create_async(const World &world, const MeshOptions &options = MeshOptions()) {
        return detail::start<Mesh>(tessera_mesh_create_async, world.get(),
                                   static_cast<const tessera_mesh_options *>(&options));
    }
    std::int64_t size(const std::string &axis) const { return number(tessera_mesh_get_size, axis); }
    std::int64_t index(const std::string &axis) const { return number(tessera_mesh_get_index, axis); }
    std::vector<std::int32_t> ranks(const std::string &axis) const {
        return detail::read<std::vector<std::int32_t>>(0, tessera_mesh_get_ranks, Handle::get(), axis.c_str());
    }
    std::string text() const { return detail::read_text(tessera_mesh_get_text, Handle::get()); }

    void barrier(const std::string &axis) const { detail::call(tessera_mesh_barrier, Handle::get(), axis.c_str()); }
    void all_reduce(const std::string &axis, Tensor &tensor, std::int32_t reduce = TESSERA_REDUCE_SUM) const {
        detail::call(tessera_mesh_all_reduce, Handle::get(), axis.c_str(), tensor.get(), reduce);
    }
    void all_gather(const std::string &axis, const Tensor &input, Tensor &output) const {
        detail::call(tessera_mesh_all_gather, Handle::get(), axis.c_str(), input.get(), output.get());
    }
    void reduce_scatter(const std::string &axis, const Tensor &input, Tensor &output,
                        std::int32_t reduce = TESSERA_REDUCE_SUM) const {
        detail::call(tessera_mesh_reduce_scatter, Handle::get(), axis.c_str(), input.get(), output.get(), reduce);
    }
    void all_to_all(const std::string &axis, const Tensor &input, Tensor &output) const {
        detail::call(tessera_mesh_all_to_all, Handle::get(), axis.c_str(), input.get(), output.get());
    }
    void broadcast(const std::string &axis, Tensor &tensor, std::int64_t root) const {
        detail::call(tessera_mesh_broadcast, Handle::get(), axis.c_str(), tensor.get(), root);
    }

    Future<void> barrier_async(const std::string &axis) const {
        return detail::start<void>(tessera_mesh_barrier_async, Handle::get(), axis.c_str());
    }
    Future<void> all_reduce_async(const std::string &axis, Tensor &tensor,
                                  std::int32_t reduce = TESSERA_REDUCE_SUM) const {
        return detail::start<void>(tessera_mesh_all_reduce_async, Handle::get(), axis.c_str(), tensor.get(), reduce);
    }
    Future<void> all_gather_async(const std::string &axis, const Tensor &input, Tensor &output) const {
        return detail::start<void>(tessera_mesh_all_gather_async, Handle::get(), axis.c_str(), input.get(),
                                   output.get());
    }
    Future<void> reduce_scatter_async(const std::string &axis, const Tensor &input, Tensor &output,
                                      std::int32_t reduce = TESSERA_REDUCE_SUM) const {
        return detail::start<void>(tessera_mesh_reduce_scatter_async, Handle::get(), axis.c_str(), input.get(),
                                   output.get(), reduce);
    }
    Future<void> all_to_all_async(const std::string &axis, const Tensor &input, Tensor &output) const {
        return detail::start<void>(tessera_mesh_all_to_all_async, Handle::get(), axis.c_str(), input.get(),
                                   output.get());
    }
    Future<void> broadcast_async(const std::string &axis, Tensor &tensor, std::int64_t root) const {
        return detail::start<void>(tessera_mesh_broadcast_async, Handle::get(), axis.c_str(), tensor.get(), root);
    }

   private:
    template <class Function>
    std::int64_t number(Function function, const std::string &axis) const {
        std::int64_t value = 0;
        detail::call(function, Handle::get(), axis.c_str(), &value);
        return value;
    }
};

namespace detail {

template <>
struct FutureResult<Mesh> : ObjectResult<tessera_mesh, Mesh, tessera_future_get_mesh> {};

}  // namespace detail

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_MESH_HPP
