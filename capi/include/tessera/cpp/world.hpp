// Ranks: one seat in a job, or all of them as threads of this process.
#ifndef TESSERA_CPP_WORLD_HPP
#define TESSERA_CPP_WORLD_HPP

#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tessera/world.h"
#include "tessera/cpp/config.hpp"
#include "tessera/cpp/future.hpp"

namespace tessera {
inline namespace cpp0 {

/// tessera_world_options that own their texts.
class WorldOptions {
   public:
    WorldOptions() : value(detail::initialised(tessera_world_options_init)) {}
    explicit WorldOptions(const Config &config) : WorldOptions() {
        detail::call(tessera_world_options_load, &value, config.get());
    }
    WorldOptions &rendezvous(const std::string &where) {
        rendezvous_ = where;
        return *this;
    }
    WorldOptions &job(const std::string &name) {
        job_ = name;
        return *this;
    }
    /// For the C interface; lives as long as this and until the next call of it.
    const tessera_world_options *get() const {
        bound_ = value;
        if (!rendezvous_.empty()) bound_.rendezvous = rendezvous_.c_str();
        if (!job_.empty()) bound_.job = job_.c_str();
        return &bound_;
    }
    tessera_world_options value;  ///< the plain fields

   private:
    std::string rendezvous_, job_;
    mutable tessera_world_options bound_ = tessera_world_options();
};

/// One rank's seat in a job.
class World : public detail::Handle<tessera_world, tessera_world_destroy> {
   public:
    explicit World(tessera_world world) : Handle(world) {}
    explicit World(const WorldOptions &options = WorldOptions()) {
        detail::call(tessera_world_create, options.get(), out());
    }
    /// The rank that torchrun, mpirun or srun describes; without a launcher one rank.
    static World from_environment(const WorldOptions &options = WorldOptions()) {
        tessera_world world = tessera_world();
        detail::call(tessera_world_create_from_environment, options.get(), &world);
        return World(world);
    }
    /// All ranks of a job in this process.
    static std::vector<World> threads(std::int32_t size, const WorldOptions &options = WorldOptions()) {
        if (size > 65536) throw Error(TESSERA_E_ARGUMENT, "size=" + std::to_string(size) + " ranks in one process");
        std::vector<tessera_world> handles(size > 0 ? static_cast<std::size_t>(size) : 1);
        detail::call(tessera_world_create_threads, size, options.get(), handles.data());
        std::vector<World> worlds;
        worlds.reserve(handles.size());
        for (const tessera_world handle : handles) worlds.emplace_back(handle);
        return worlds;
    }
    std::int32_t rank() const {
        std::int32_t rank = 0;
        detail::call(tessera_world_get_rank, Handle::get(), &rank);
        return rank;
    }
    std::int32_t size() const {
        std::int32_t size = 0;
        detail::call(tessera_world_get_size, Handle::get(), &size);
        return size;
    }
    /// Orderly end with all ranks; reset() alone leaves them a failed peer.
    void close() { detail::call(tessera_world_close, Handle::get()); }
    Future<void> close_async() { return detail::start<void>(tessera_world_close_async, Handle::get()); }
    /// Tells all ranks that this one cannot go on.
    void abort(const std::string &reason) const { detail::call(tessera_world_abort, Handle::get(), reason.c_str()); }
};

/// Runs `work` once for each of `size` rank threads and ends the job. When a rank throws, the others are told, and the
/// exception that came first is thrown here, not its echoes on other ranks.
inline void run_ranks(std::int32_t size, const WorldOptions &options, const std::function<void(World &)> &work) {
    std::vector<World> worlds = World::threads(size, options);
    std::mutex mutex;
    std::exception_ptr first;
    bool first_is_echo = false;
    const auto keep = [&](bool echo) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (first && !(first_is_echo && !echo)) return;
        first = std::current_exception();
        first_is_echo = echo;
    };
    std::vector<std::thread> threads;
    for (World &world : worlds) {
        threads.emplace_back([&work, &keep, &world] {
            try {
                work(world);
                world.close();
                return;
            } catch (const Error &error) {
                keep(error.code() == TESSERA_E_PEER_FAILED);
                tessera_world_abort(world.get(), error.what(), nullptr);
            } catch (const std::exception &error) {
                keep(false);
                tessera_world_abort(world.get(), error.what(), nullptr);
            } catch (...) {
                keep(false);
                tessera_world_abort(world.get(), "the rank's function threw", nullptr);
            }
            world.reset();
        });
    }
    for (std::thread &thread : threads) thread.join();
    if (first) std::rethrow_exception(first);
}

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_WORLD_HPP
