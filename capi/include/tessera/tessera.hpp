// tessera.hpp - the C interface as C++ values: handles that release themselves, statuses that throw, text and arrays as
// std::string and std::vector. Header only, C++11 to C++23; what a call means is said in the C header of the same noun.
//
//     tessera::Config config;
//     config.load("recipe.yaml").set("parallel.tp", "2");
//     tessera::run_ranks(4, tessera::WorldOptions(config), [&](tessera::World& world) {
//         tessera::Mesh mesh(world, tessera::MeshOptions(config));
//         tessera::Model model = tessera::Model::open("llama/");
//         tessera::Trainer trainer(mesh, model, &config);
//         tessera::Dataset data(config, &mesh, &model);
//         while (tessera::Batch batch = data.next()) trainer.step(batch);
//         trainer.export_model("out/");
//     });
//
// Owners are move-only. An owner that was reset or moved from throws Error(TESSERA_E_HANDLE_NULL) when used. The rules on
// threads are those of the C functions; work on one owner from two threads at once throws Error(TESSERA_E_BUSY), where the C
// header says one-at-a-time.
#ifndef TESSERA_TESSERA_HPP
#define TESSERA_TESSERA_HPP

#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tessera/tessera.h"

namespace tessera {
inline namespace cpp0 {

/// A failed call. what() is the library's one line, which names the argument and its value.
class Error : public std::runtime_error {
   public:
    explicit Error(const tessera_error &error) : std::runtime_error(error.message), error_(error) {}
    Error(tessera_status code, const std::string &message, std::int32_t rank = -1)
        : std::runtime_error(message), error_() {
        error_.code = code;
        error_.rank = rank;
        std::strncpy(error_.message, message.c_str(), sizeof error_.message - 1);
    }
    tessera_status code() const noexcept { return error_.code; }
    const char *name() const noexcept { return tessera_status_name(error_.code); }  ///< "E_ARGUMENT"
    std::int32_t rank() const noexcept { return error_.rank; }  ///< the rank that failed first; -1: this one or unknown
    std::int32_t domain() const noexcept { return error_.domain; }  ///< a tessera_domain
    std::int32_t native_code() const noexcept { return error_.native_code; }

   private:
    tessera_error error_;
};

namespace detail {

/// Calls `function(arguments..., &error)`; returns true, or false for the one status that is no failure, or throws.
template <class Function, class... Arguments>
bool call_or(tessera_status accepted, Function function, Arguments... arguments) {
    tessera_error error = tessera_error();
    const tessera_status status = function(arguments..., &error);
    if (status != TESSERA_OK && status != accepted) throw Error(error);
    return status == TESSERA_OK;
}
template <class Function, class... Arguments>
void call(Function function, Arguments... arguments) {
    call_or(TESSERA_OK, function, arguments...);
}

/// Reads text or an array by `function(arguments..., buf, cap, &len, &error)`. The length may change between two calls.
/// `guess` is how much room there is at first; `extra` is 1 for text, whose NUL needs room.
template <class Container, class Function, class... Arguments>
Container read_guessed(std::size_t guess, std::size_t extra, Function function, Arguments... arguments) {
    Container out(guess, typename Container::value_type());
    for (;;) {
        std::size_t length = 0;
        tessera_error error = tessera_error();
        const tessera_status status = function(arguments..., &out[0], out.size(), &length, &error);
        if (status != TESSERA_OK && status != TESSERA_E_BUFFER) throw Error(error);
        out.resize(status == TESSERA_OK ? length : length + extra);
        if (status == TESSERA_OK) return out;
    }
}
template <class Container, class Function, class... Arguments>
Container read(std::size_t extra, Function function, Arguments... arguments) {
    return read_guessed<Container>(64, extra, function, arguments...);
}
template <class Function, class... Arguments>
std::string read_text(Function function, Arguments... arguments) {
    return read<std::string>(1, function, arguments...);
}

/// A struct of the C interface with its defaults.
template <class Struct>
Struct initialised(tessera_status (*init)(Struct *, std::size_t)) {
    Struct out;
    if (init(&out, sizeof out) != TESSERA_OK) throw Error(TESSERA_E_INTERNAL, "a struct cannot be initialised");
    return out;
}

/// Owns one handle.
template <class T, tessera_status (*destroy)(T)>
class Handle {
   public:
    Handle() noexcept : value_() {}
    explicit Handle(T value) noexcept : value_(value) {}
    Handle(Handle &&other) noexcept : value_(other.release()) {}
    Handle &operator=(Handle &&other) noexcept {
        if (this != &other) {
            reset();
            value_ = other.release();
        }
        return *this;
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    ~Handle() { reset(); }

    /// Gives the handle up at once; never blocks, never fails, may be called again.
    void reset() noexcept {
        if (value_.id != 0) destroy(value_);
        value_ = T();
    }
    explicit operator bool() const noexcept { return value_.id != 0; }
    /// The handle for calls of the C interface; still owned here. {0} after reset().
    T get() const noexcept { return value_; }
    /// The handle, which the caller now has to destroy.
    T release() noexcept {
        const T value = value_;
        value_ = T();
        return value;
    }

   protected:
    T *out() noexcept { return &value_; }

   private:
    T value_;
};

template <class H>
auto get_or_null(const H *handle) -> decltype(handle->get()) {
    return handle == nullptr ? decltype(handle->get())() : handle->get();
}

inline std::int64_t nanoseconds(std::chrono::nanoseconds timeout) {
    return timeout.count() < 0 ? TESSERA_FOREVER : static_cast<std::int64_t>(timeout.count());
}

inline const std::int64_t *data_or_null(const std::vector<std::int64_t> &values) {
    return values.empty() ? nullptr : values.data();
}

}  // namespace detail

/// A wait without end.
inline std::chrono::nanoseconds forever() { return std::chrono::nanoseconds(-1); }

// ---- The library itself ---------------------------------------------------------------------------------------------

inline std::string version() { return tessera_version_string(); }
inline std::string build_info() { return detail::read_text(tessera_build_info); }
/// Throws when the library that runs is not one that this header can speak to.
inline void check_abi() {
    if (tessera_abi_version() != TESSERA_ABI_VERSION)
        throw Error(TESSERA_E_UNSUPPORTED, "the library's abi=" + std::to_string(tessera_abi_version()) +
                                               " is not the header's " + std::to_string(TESSERA_ABI_VERSION));
}
inline std::string status_text(tessera_status status) { return tessera_status_string(status); }
/// Live handles of a kind, to find leaks.
inline std::int64_t handle_count(std::int32_t kind = TESSERA_KIND_ANY) {
    std::int64_t count = 0;
    detail::call(tessera_handle_count, kind, &count);
    return count;
}
inline void set_log_level(std::int32_t level) { detail::call(tessera_log_set_level, level); }
inline std::int32_t log_level() {
    std::int32_t level = 0;
    detail::call(tessera_log_get_level, &level);
    return level;
}

// ---- Settings -------------------------------------------------------------------------------------------------------

/// All settings by key and text value.
class Config : public detail::Handle<tessera_config, tessera_config_destroy> {
   public:
    Config() { detail::call(tessera_config_create, out()); }
    Config &set(const std::string &key, const std::string &value) {
        detail::call(tessera_config_set, Handle::get(), key.c_str(), value.c_str());
        return *this;
    }
    Config &load(const std::string &path) {
        detail::call(tessera_config_load, Handle::get(), path.c_str());
        return *this;
    }
    Config &load_text(const std::string &yaml) {
        detail::call(tessera_config_load_text, Handle::get(), yaml.c_str());
        return *this;
    }
    std::string text(const std::string &key) const {
        return detail::read_text(tessera_config_get, Handle::get(), key.c_str());
    }
    std::string yaml() const { return detail::read_text(tessera_config_get_text, Handle::get()); }
};

/// What is known of a key, by its name.
inline tessera_key_info describe_key(const std::string &key) {
    tessera_key_info info = detail::initialised(tessera_key_info_init);
    detail::call(tessera_key_describe, key.c_str(), &info);
    return info;
}
inline std::vector<tessera_key_info> keys() {
    std::int64_t count = 0;
    detail::call(tessera_key_count, &count);
    std::vector<tessera_key_info> out;
    for (std::int64_t i = 0; i < count; ++i) {
        out.push_back(detail::initialised(tessera_key_info_init));
        detail::call(tessera_key_get, i, &out.back());
    }
    return out;
}

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

struct MeshOptions : tessera_mesh_options {
    MeshOptions() : tessera_mesh_options(detail::initialised(tessera_mesh_options_init)) {}
    explicit MeshOptions(const Config &config) : MeshOptions() {
        detail::call(tessera_mesh_options_load, static_cast<tessera_mesh_options *>(this), config.get());
    }
};

struct GenerateOptions : tessera_generate_options {
    GenerateOptions() : tessera_generate_options(detail::initialised(tessera_generate_options_init)) {}
};

struct TimelineOptions : tessera_timeline_options {
    explicit TimelineOptions(std::int32_t drawn_as = TESSERA_TIMELINE_TEXT)
        : tessera_timeline_options(detail::initialised(tessera_timeline_options_init)) {
        format = drawn_as;
    }
};

using Metrics = tessera_metrics;

// ---- Waiting --------------------------------------------------------------------------------------------------------

namespace detail {
template <class T>
struct FutureResult;  // defined below for each kind of result
}

/// Work under way. Destroying it does not stop the work.
template <class T>
class Future : public detail::Handle<tessera_future, tessera_future_destroy> {
   public:
    Future() {}
    explicit Future(tessera_future future) : Handle(future) {}
    bool done() const {
        std::int32_t done = 0;
        detail::call(tessera_future_poll, Handle::get(), &done);
        return done != 0;
    }
    /// False when the timeout passed first.
    bool wait(std::chrono::nanoseconds timeout = forever()) const {
        return detail::call_or(TESSERA_E_TIMEOUT, tessera_future_wait, Handle::get(), detail::nanoseconds(timeout));
    }
    /// Waits, then returns what the blocking form would have returned, or throws what it would have thrown. Objects are handed
    /// over once.
    T result() const {
        wait();
        detail::call(tessera_future_get_result, Handle::get());
        return detail::FutureResult<T>::take(Handle::get());
    }
    void cancel() const { detail::call(tessera_future_cancel, Handle::get()); }
};

/// The index of the first future that has ended; -1 when the timeout passed first.
template <class T>
std::int64_t wait_any(const std::vector<Future<T>> &futures, std::chrono::nanoseconds timeout = forever()) {
    std::vector<tessera_future> handles;
    for (const Future<T> &future : futures) handles.push_back(future.get());
    std::int64_t index = -1;
    detail::call_or(TESSERA_E_TIMEOUT, tessera_future_wait_any, handles.data(),
                    static_cast<std::int64_t>(handles.size()), detail::nanoseconds(timeout), &index);
    return index;
}

/// Metrics, log lines and failures as a queue to pull from.
class Events : public detail::Handle<tessera_events, tessera_events_destroy> {
   public:
    explicit Events(std::int64_t capacity = 0) { detail::call(tessera_events_create, capacity, out()); }
    /// False when none came in time.
    bool next(tessera_event &event, std::chrono::nanoseconds timeout = forever()) const {
        event = detail::initialised(tessera_event_init);
        return detail::call_or(TESSERA_E_TIMEOUT, tessera_events_next, Handle::get(), detail::nanoseconds(timeout),
                               &event);
    }
};

/// Sends the library's log lines to a queue; nullptr: to stderr again.
inline void set_log_events(const Events *events) { detail::call(tessera_log_set_events, detail::get_or_null(events)); }

// ---- Ranks ----------------------------------------------------------------------------------------------------------

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
    Future<void> close_async() {
        tessera_future future = tessera_future();
        detail::call(tessera_world_close_async, Handle::get(), &future);
        return Future<void>(future);
    }
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

// ---- Tensors and collectives ----------------------------------------------------------------------------------------

/// A tensor that crosses the interface, row-major.
class Tensor : public detail::Handle<tessera_tensor, tessera_tensor_destroy> {
   public:
    Tensor() {}
    explicit Tensor(tessera_tensor tensor) : Handle(tensor) {}
    /// Zeros.
    static Tensor zeros(std::int32_t dtype, const std::vector<std::int64_t> &dims) {
        return make(tessera_tensor_create, dtype, dims, static_cast<const void *>(nullptr), 0);
    }
    /// A copy of `data`.
    template <class T>
    static Tensor copy_of(std::int32_t dtype, const std::vector<std::int64_t> &dims, const std::vector<T> &data) {
        return make(tessera_tensor_create, dtype, dims, static_cast<const void *>(data.data()),
                    data.size() * sizeof(T));
    }
    /// A view of the caller's memory, which must stay until this and every call that got it have ended.
    static Tensor view_of(std::int32_t dtype, const std::vector<std::int64_t> &dims, void *data, std::size_t bytes) {
        return make(tessera_tensor_create_view, dtype, dims, data, bytes);
    }
    /// Takes a DLPack tensor over; on an exception the caller keeps it.
    static Tensor from_dlpack(DLManagedTensorVersioned *dlpack) {
        Tensor tensor;
        detail::call(tessera_tensor_create_dlpack, dlpack, tensor.out());
        return tensor;
    }
    /// The memory as DLPack, without a copy; released by its deleter.
    DLManagedTensorVersioned *to_dlpack() const {
        DLManagedTensorVersioned *dlpack = nullptr;
        detail::call(tessera_tensor_get_dlpack, Handle::get(), &dlpack);
        return dlpack;
    }
    std::int32_t dtype() const {
        std::int32_t dtype = 0;
        detail::call(tessera_tensor_get_dtype, Handle::get(), &dtype);
        return dtype;
    }
    std::vector<std::int64_t> dims() const {
        return detail::read<std::vector<std::int64_t>>(0, tessera_tensor_get_dims, Handle::get());
    }
    /// The elements; sizeof(T) must be that of the dtype.
    template <class T>
    std::vector<T> data() const {
        std::size_t bytes = 0;
        detail::call_or(TESSERA_E_BUFFER, tessera_tensor_get_data, Handle::get(), static_cast<void *>(nullptr),
                        std::size_t(0), &bytes);
        if (bytes % sizeof(T) != 0)
            throw Error(TESSERA_E_ARGUMENT,
                        std::to_string(bytes) + " bytes are no elements of " + std::to_string(sizeof(T)));
        std::vector<T> out(bytes / sizeof(T));
        detail::call(tessera_tensor_get_data, Handle::get(), static_cast<void *>(out.data()), bytes, &bytes);
        return out;
    }
    template <class T>
    void set_data(const std::vector<T> &values) {
        detail::call(tessera_tensor_set_data, Handle::get(), static_cast<const void *>(values.data()),
                     values.size() * sizeof(T));
    }

   private:
    template <class Function, class Pointer>
    static Tensor make(Function create, std::int32_t dtype, const std::vector<std::int64_t> &dims, Pointer data,
                       std::size_t bytes) {
        Tensor tensor;
        detail::call(create, dtype, detail::data_or_null(dims), static_cast<std::int64_t>(dims.size()), data, bytes,
                     tensor.out());
        return tensor;
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
        return start<Mesh>(tessera_mesh_create_async, world.get(), static_cast<const tessera_mesh_options *>(&options));
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
        return start<void>(tessera_mesh_barrier_async, Handle::get(), axis.c_str());
    }
    Future<void> all_reduce_async(const std::string &axis, Tensor &tensor,
                                  std::int32_t reduce = TESSERA_REDUCE_SUM) const {
        return start<void>(tessera_mesh_all_reduce_async, Handle::get(), axis.c_str(), tensor.get(), reduce);
    }
    Future<void> all_gather_async(const std::string &axis, const Tensor &input, Tensor &output) const {
        return start<void>(tessera_mesh_all_gather_async, Handle::get(), axis.c_str(), input.get(), output.get());
    }
    Future<void> reduce_scatter_async(const std::string &axis, const Tensor &input, Tensor &output,
                                      std::int32_t reduce = TESSERA_REDUCE_SUM) const {
        return start<void>(tessera_mesh_reduce_scatter_async, Handle::get(), axis.c_str(), input.get(), output.get(),
                           reduce);
    }
    Future<void> all_to_all_async(const std::string &axis, const Tensor &input, Tensor &output) const {
        return start<void>(tessera_mesh_all_to_all_async, Handle::get(), axis.c_str(), input.get(), output.get());
    }
    Future<void> broadcast_async(const std::string &axis, Tensor &tensor, std::int64_t root) const {
        return start<void>(tessera_mesh_broadcast_async, Handle::get(), axis.c_str(), tensor.get(), root);
    }

   private:
    template <class T, class Function, class... Arguments>
    static Future<T> start(Function function, Arguments... arguments) {
        tessera_future future = tessera_future();
        detail::call(function, arguments..., &future);
        return Future<T>(future);
    }
    template <class Function>
    std::int64_t number(Function function, const std::string &axis) const {
        std::int64_t value = 0;
        detail::call(function, Handle::get(), axis.c_str(), &value);
        return value;
    }
};

// ---- Model and data -------------------------------------------------------------------------------------------------

/// An architecture and where its weights come from.
class Model : public detail::Handle<tessera_model, tessera_model_destroy> {
   public:
    /// A Hugging Face directory.
    static Model open(const std::string &directory) { return made(tessera_model_open, directory.c_str()); }
    /// The text of a config.json; trainers start from seeded random weights.
    static Model create(const std::string &config_json) { return made(tessera_model_create, config_json.c_str()); }
    /// With the architectures of a plugin, a shared library.
    static Model open(const std::string &directory, const std::string &plugin) {
        return made(tessera_model_open_plugin, directory.c_str(), plugin.c_str());
    }
    static Model create(const std::string &config_json, const std::string &plugin) {
        return made(tessera_model_create_plugin, config_json.c_str(), plugin.c_str());
    }
    std::string text() const { return detail::read_text(tessera_model_get_text, Handle::get()); }
    std::int64_t parameter_count() const {
        std::int64_t count = 0;
        detail::call(tessera_model_get_parameter_count, Handle::get(), &count);
        return count;
    }
    /// For jobs with parallel.tp_plan=name: a JSON or YAML map of name patterns and styles.
    void set_tp_plan(const std::string &name, const std::string &plan) const {
        detail::call(tessera_model_set_tp_plan, Handle::get(), name.c_str(), plan.c_str());
    }

   private:
    template <class Function, class... Arguments>
    static Model made(Function function, Arguments... arguments) {
        Model model;
        detail::call(function, arguments..., model.out());
        return model;
    }
};

/// What a job will do, as text: a tessera_plan_part.
inline std::string plan(const Model &model, const Config &config, std::int64_t world_size,
                        std::int32_t part = TESSERA_PLAN_SUMMARY) {
    return detail::read_text(tessera_plan_get_text, model.get(), config.get(), world_size, part);
}

/// A picture of the step: text, SVG or a trace.
inline std::string timeline(const Model &model, const Config &config, std::int64_t world_size,
                            const TimelineOptions &options = TimelineOptions()) {
    const tessera_timeline_options *raw = &options;
    return detail::read_text(tessera_plan_get_timeline, model.get(), config.get(), world_size, raw);
}

/// Puts documents into packs; returns the pack of each.
inline std::vector<std::int64_t> pack(const std::string &packer, const std::vector<std::int64_t> &lengths,
                                      std::int64_t capacity, std::int64_t seed = 0,
                                      std::int64_t *pack_count = nullptr) {
    std::vector<std::int64_t> packs(lengths.size() + 1);  // never without memory, which the interface wants
    std::int64_t count = 0;
    detail::call(tessera_pack_create, packer.c_str(), lengths.data(), static_cast<std::int64_t>(lengths.size()),
                 capacity, seed, packs.data(), &count);
    packs.resize(lengths.size());
    if (pack_count != nullptr) *pack_count = count;
    return packs;
}

/// A document, or a part of it, in a row of pack_pieces.
struct Piece {
    std::int64_t row;
    std::int64_t document;
    std::int64_t begin;  ///< its first token in the document
    std::int64_t length;
};

/// The rows that a dataset with these keys makes of documents of these lengths, piece by piece.
inline std::vector<Piece> pack_pieces(const Config &config, const std::vector<std::int64_t> &lengths) {
    const std::int64_t none = 0;  // the interface wants memory, also of no lengths
    const std::int64_t *given = lengths.empty() ? &none : lengths.data();
    const std::vector<std::int64_t> numbers = detail::read_guessed<std::vector<std::int64_t>>(
        6 * lengths.size() + 64, 0, tessera_pack_get_pieces, config.get(), given,
        static_cast<std::int64_t>(lengths.size()));
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i + 3 < numbers.size(); i += 4)
        pieces.push_back(Piece{numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]});
    return pieces;
}

/// Documents as padded rows [rows, row_length] (BSHD), each array row after row.
struct PaddedRows {
    std::int64_t rows;
    std::int64_t row_length;
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> labels;  ///< in the positions of tokens
    std::vector<std::int64_t> positions;
    std::vector<std::int64_t> attention_mask;
};

/// One rank's share of a step. An empty owner (false) is what Dataset::next returns at the end.
class Batch : public detail::Handle<tessera_batch, tessera_batch_destroy> {
   public:
    Batch() { detail::call(tessera_batch_create, out()); }
    explicit Batch(tessera_batch batch) : Handle(batch) {}
    /// Appends a micro-batch; without labels the tokens are their own.
    void push(const std::vector<std::int64_t> &tokens, const std::vector<std::int64_t> &lengths) {
        push(tokens, nullptr, lengths);
    }
    void push(const std::vector<std::int64_t> &tokens, const std::vector<std::int64_t> &labels,
              const std::vector<std::int64_t> &lengths) {
        if (labels.size() != tokens.size())
            throw Error(TESSERA_E_ARGUMENT,
                        std::to_string(labels.size()) + " labels for " + std::to_string(tokens.size()) + " tokens");
        push(tokens, labels.data(), lengths);
    }
    /// Appends a micro-batch from another form of packed documents, a tessera_batch_form that `index` tells; without labels
    /// the tokens are their own. The layout may be null.
    void push_form(std::int32_t form, const std::vector<std::int64_t> &tokens, const std::vector<std::int64_t> &index,
                   const std::vector<std::int64_t> &labels = std::vector<std::int64_t>(), bool labels_shifted = false,
                   std::int64_t extent = 0, const Config *layout = nullptr) {
        if (!labels.empty() && labels.size() != tokens.size())
            throw Error(TESSERA_E_ARGUMENT,
                        std::to_string(labels.size()) + " labels for " + std::to_string(tokens.size()) + " tokens");
        detail::call(tessera_batch_push_form, Handle::get(), detail::get_or_null(layout), form, tokens.data(),
                     labels.empty() ? nullptr : labels.data(), static_cast<std::int64_t>(tokens.size()),
                     std::int32_t(labels_shifted), index.data(), static_cast<std::int64_t>(index.size()), extent);
    }
    std::int64_t count() const {
        std::int64_t count = 0;
        detail::call(tessera_batch_count, Handle::get(), &count);
        return count;
    }
    /// Tokens and trained labels of all micro-batches.
    std::pair<std::int64_t, std::int64_t> count_tokens() const {
        std::pair<std::int64_t, std::int64_t> counts;
        detail::call(tessera_batch_count_tokens, Handle::get(), &counts.first, &counts.second);
        return counts;
    }
    /// A tessera_batch_array of micro-batch `index`.
    std::vector<std::int64_t> array(std::int64_t index, std::int32_t which) const {
        return detail::read<std::vector<std::int64_t>>(0, tessera_batch_get_array, Handle::get(), index, which);
    }
    /// Micro-batch `index` as one padded row for each document; row_length 0: as long as the longest.
    PaddedRows rows(std::int64_t index, std::int64_t row_length = 0, std::int64_t pad_token = 0) const {
        const std::vector<std::int64_t> all = detail::read<std::vector<std::int64_t>>(
            0, tessera_batch_get_rows, Handle::get(), index, row_length, pad_token);
        const std::int64_t rows = static_cast<std::int64_t>(array(index, TESSERA_BATCH_CU_SEQLENS).size()) - 1;
        const std::ptrdiff_t part = static_cast<std::ptrdiff_t>(all.size() / 4);
        const auto at = all.begin();
        return PaddedRows{rows,
                          part / rows,
                          std::vector<std::int64_t>(at, at + part),
                          std::vector<std::int64_t>(at + part, at + 2 * part),
                          std::vector<std::int64_t>(at + 2 * part, at + 3 * part),
                          std::vector<std::int64_t>(at + 3 * part, at + 4 * part)};
    }

   private:
    void push(const std::vector<std::int64_t> &tokens, const std::int64_t *labels,
              const std::vector<std::int64_t> &lengths) {
        detail::call(tessera_batch_push, Handle::get(), tokens.data(), labels, static_cast<std::int64_t>(tokens.size()),
                     lengths.data(), static_cast<std::int64_t>(lengths.size()));
    }
};

/// Where batches come from.
class Dataset : public detail::Handle<tessera_dataset, tessera_dataset_destroy> {
   public:
    /// The files of data.*; mesh and model may be null.
    explicit Dataset(const Config &config, const Mesh *mesh = nullptr, const Model *model = nullptr) {
        detail::call(tessera_dataset_open, config.get(), detail::get_or_null(mesh), detail::get_or_null(model), out());
    }
    /// A dataset that is pushed.
    static Dataset create(const Config &config, const Mesh *mesh = nullptr, const Model *model = nullptr) {
        tessera_dataset dataset = tessera_dataset();
        detail::call(tessera_dataset_create, config.get(), detail::get_or_null(mesh), detail::get_or_null(model),
                     &dataset);
        return Dataset(dataset);
    }
    void push(const std::vector<std::int64_t> &tokens) {
        detail::call(tessera_dataset_push, Handle::get(), tokens.data(), static_cast<const std::int64_t *>(nullptr),
                     static_cast<std::int64_t>(tokens.size()));
    }
    void push(const std::vector<std::int64_t> &tokens, const std::vector<std::int64_t> &labels) {
        if (labels.size() != tokens.size())
            throw Error(TESSERA_E_ARGUMENT,
                        std::to_string(labels.size()) + " labels for " + std::to_string(tokens.size()) + " tokens");
        detail::call(tessera_dataset_push, Handle::get(), tokens.data(), labels.data(),
                     static_cast<std::int64_t>(tokens.size()));
    }
    /// The rows of an Arrow record batch; both structs (ArrowSchema, ArrowArray) are released.
    void push_arrow(void *schema, void *array) {
        detail::call(tessera_dataset_push_arrow, Handle::get(), schema, array);
    }
    void push_end() { detail::call(tessera_dataset_push_end, Handle::get()); }
    /// This rank's share of the next step; an empty Batch when the data is used up.
    Batch next() {
        tessera_batch batch = tessera_batch();
        detail::call_or(TESSERA_E_END, tessera_dataset_next, Handle::get(), &batch);
        return Batch(batch);
    }
    std::string state() const { return detail::read_text(tessera_dataset_get_state, Handle::get()); }
    void set_state(const std::string &state) { detail::call(tessera_dataset_set_state, Handle::get(), state.c_str()); }
    /// Steps in one pass; -1 when that is not known.
    std::int64_t count_steps() const {
        std::int64_t steps = 0;
        detail::call(tessera_dataset_count_steps, Handle::get(), &steps);
        return steps;
    }
    /// Counts of the whole data, as JSON.
    std::string report() const { return detail::read_text(tessera_dataset_get_report, Handle::get()); }
    /// Tokens of each document, in the order of the data.
    std::vector<std::int64_t> lengths() const {
        return detail::read<std::vector<std::int64_t>>(0, tessera_dataset_get_lengths, Handle::get());
    }

   private:
    explicit Dataset(tessera_dataset dataset) : Handle(dataset) {}
};

/// Text to token ids and back.
class Tokenizer : public detail::Handle<tessera_tokenizer, tessera_tokenizer_destroy> {
   public:
    explicit Tokenizer(const std::string &directory) { detail::call(tessera_tokenizer_open, directory.c_str(), out()); }
    std::int64_t count() const {
        std::int64_t count = 0;
        detail::call(tessera_tokenizer_count, Handle::get(), &count);
        return count;
    }
    std::vector<std::int64_t> encode(const std::string &text, bool add_special = true) const {
        return detail::read<std::vector<std::int64_t>>(0, tessera_tokenizer_encode, Handle::get(), text.data(),
                                                       text.size(), std::int32_t(add_special));
    }
    /// Many texts on many threads.
    std::vector<std::vector<std::int64_t>> encode_batch(const std::vector<std::string> &texts,
                                                        bool add_special = true) const {
        std::string all;
        std::vector<std::int64_t> text_ends, id_ends(texts.size() + 1);
        for (const std::string &text : texts) {
            all += text;
            text_ends.push_back(static_cast<std::int64_t>(all.size()));
        }
        text_ends.push_back(0);  // never empty, so that there is an address
        const std::vector<std::int64_t> ids = detail::read_guessed<std::vector<std::int64_t>>(
            all.size() / 2 + 64, 0, tessera_tokenizer_encode_batch, Handle::get(), all.data(), all.size(),
            static_cast<const std::int64_t *>(text_ends.data()), static_cast<std::int64_t>(texts.size()),
            std::int32_t(add_special), id_ends.data());
        std::vector<std::vector<std::int64_t>> out;
        std::int64_t begin = 0;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            out.emplace_back(ids.begin() + begin, ids.begin() + id_ends[i]);
            begin = id_ends[i];
        }
        return out;
    }
    std::string decode(const std::vector<std::int64_t> &ids, bool skip_special = false) const {
        static const std::int64_t nothing = 0;
        return detail::read_text(tessera_tokenizer_decode, Handle::get(), ids.empty() ? &nothing : ids.data(),
                                 static_cast<std::int64_t>(ids.size()), std::int32_t(skip_special));
    }
    /// A conversation (JSON) as the chat template prints it.
    std::string chat_text(const std::string &conversation, bool add_generation_prompt = false) const {
        return detail::read_text(tessera_tokenizer_get_chat_text, Handle::get(), conversation.c_str(),
                                 std::int32_t(add_generation_prompt));
    }
    /// A conversation as tokens and labels.
    std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> encode_chat(const std::string &conversation) const {
        std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> out;
        std::size_t length = 256;
        for (bool done = false; !done;) {
            out.first.resize(length);
            out.second.resize(length);
            done = detail::call_or(TESSERA_E_BUFFER, tessera_tokenizer_encode_chat, Handle::get(), conversation.c_str(),
                                   out.first.data(), out.second.data(), length, &length);
        }
        out.first.resize(length);
        out.second.resize(length);
        return out;
    }
};

// ---- Training -------------------------------------------------------------------------------------------------------

/// One rank's part of training a model on a mesh.
class Trainer : public detail::Handle<tessera_trainer, tessera_trainer_destroy> {
   public:
    explicit Trainer(tessera_trainer trainer) : Handle(trainer) {}
    Trainer(const Mesh &mesh, const Model &model, const Config *config = nullptr) {
        detail::call(tessera_trainer_create, mesh.get(), model.get(), detail::get_or_null(config), out());
    }
    static Future<Trainer> create_async(const Mesh &mesh, const Model &model, const Config *config = nullptr) {
        return start<Trainer>(tessera_trainer_create_async, mesh.get(), model.get(), detail::get_or_null(config));
    }
    /// Metrics and failures go to this queue; nullptr: nowhere.
    void set_events(const Events *events) {
        detail::call(tessera_trainer_set_events, Handle::get(), detail::get_or_null(events));
    }

    Metrics step(const Batch &batch) { return metrics(tessera_trainer_step, batch.get()); }
    Metrics forward_backward(const Batch &batch, std::int64_t label_tokens = 0) {
        return metrics(tessera_trainer_forward_backward, batch.get(), label_tokens);
    }
    Metrics optimizer_step() { return metrics(tessera_trainer_optimizer_step); }
    Metrics evaluate(const Batch &batch) { return metrics(tessera_trainer_evaluate, batch.get()); }
    void zero_grad() { detail::call(tessera_trainer_zero_grad, Handle::get()); }
    std::int64_t step_count() const {
        std::int64_t steps = 0;
        detail::call(tessera_trainer_get_step_count, Handle::get(), &steps);
        return steps;
    }
    /// The tokens that follow the prompt.
    std::vector<std::int64_t> generate(const std::vector<std::int64_t> &prompt,
                                       const GenerateOptions &options = GenerateOptions()) {
        return detail::read<std::vector<std::int64_t>>(0, tessera_trainer_generate, Handle::get(), prompt.data(),
                                                       static_cast<std::int64_t>(prompt.size()),
                                                       static_cast<const tessera_generate_options *>(&options));
    }
    /// [tokens, vocabulary] in f32.
    Tensor logits(const Batch &batch) { return tensor(tessera_trainer_get_logits, batch.get()); }

    Future<Metrics> step_async(const Batch &batch) {
        return start<Metrics>(tessera_trainer_step_async, Handle::get(), batch.get());
    }
    Future<Metrics> forward_backward_async(const Batch &batch, std::int64_t label_tokens = 0) {
        return start<Metrics>(tessera_trainer_forward_backward_async, Handle::get(), batch.get(), label_tokens);
    }
    Future<Metrics> optimizer_step_async() {
        return start<Metrics>(tessera_trainer_optimizer_step_async, Handle::get());
    }
    Future<Metrics> evaluate_async(const Batch &batch) {
        return start<Metrics>(tessera_trainer_evaluate_async, Handle::get(), batch.get());
    }
    Future<std::vector<std::int64_t>> generate_async(const std::vector<std::int64_t> &prompt,
                                                     const GenerateOptions &options = GenerateOptions()) {
        return start<std::vector<std::int64_t>>(tessera_trainer_generate_async, Handle::get(), prompt.data(),
                                                static_cast<std::int64_t>(prompt.size()),
                                                static_cast<const tessera_generate_options *>(&options));
    }
    Future<Tensor> logits_async(const Batch &batch) {
        return start<Tensor>(tessera_trainer_get_logits_async, Handle::get(), batch.get());
    }

    /// Hugging Face names of all parameters.
    std::vector<std::string> parameter_names() const {
        std::int64_t count = 0;
        detail::call(tessera_trainer_count_parameters, Handle::get(), &count);
        std::vector<std::string> names;
        for (std::int64_t i = 0; i < count; ++i)
            names.push_back(detail::read_text(tessera_trainer_get_parameter_name, Handle::get(), i));
        return names;
    }
    Tensor parameter(const std::string &name) { return tensor(tessera_trainer_get_parameter, name.c_str()); }
    Tensor gradient(const std::string &name) { return tensor(tessera_trainer_get_gradient, name.c_str()); }
    void set_parameter(const std::string &name, const Tensor &value) {
        detail::call(tessera_trainer_set_parameter, Handle::get(), name.c_str(), value.get());
    }
    Future<Tensor> parameter_async(const std::string &name) {
        return start<Tensor>(tessera_trainer_get_parameter_async, Handle::get(), name.c_str());
    }
    Future<Tensor> gradient_async(const std::string &name) {
        return start<Tensor>(tessera_trainer_get_gradient_async, Handle::get(), name.c_str());
    }
    Future<void> set_parameter_async(const std::string &name, const Tensor &value) {
        return start<void>(tessera_trainer_set_parameter_async, Handle::get(), name.c_str(), value.get());
    }
    /// The compiled step, one instruction a line.
    std::string program(std::int64_t microbatches) const {
        return detail::read_text(tessera_trainer_get_program, Handle::get(), microbatches);
    }

    // Checkpoints; the position of `data` goes with them when it is not null.
    void save(const std::string &directory, const Dataset *data = nullptr) {
        detail::call(tessera_checkpoint_save, Handle::get(), directory.c_str(), detail::get_or_null(data));
    }
    void load(const std::string &directory, Dataset *data = nullptr) {
        detail::call(tessera_checkpoint_load, Handle::get(), directory.c_str(), detail::get_or_null(data));
    }
    /// A Hugging Face directory; dtype "fp32", "bf16", "fp16" or "" for that of the master weights.
    void export_model(const std::string &directory, const std::string &dtype = "") {
        detail::call(tessera_checkpoint_export, Handle::get(), directory.c_str(),
                     dtype.empty() ? nullptr : dtype.c_str());
    }
    Future<void> save_async(const std::string &directory, const Dataset *data = nullptr) {
        return start<void>(tessera_checkpoint_save_async, Handle::get(), directory.c_str(), detail::get_or_null(data));
    }
    Future<void> load_async(const std::string &directory, Dataset *data = nullptr) {
        return start<void>(tessera_checkpoint_load_async, Handle::get(), directory.c_str(), detail::get_or_null(data));
    }
    Future<void> export_model_async(const std::string &directory, const std::string &dtype = "") {
        return start<void>(tessera_checkpoint_export_async, Handle::get(), directory.c_str(),
                           dtype.empty() ? nullptr : dtype.c_str());
    }

   private:
    template <class T, class Function, class... Arguments>
    static Future<T> start(Function function, Arguments... arguments) {
        tessera_future future = tessera_future();
        detail::call(function, arguments..., &future);
        return Future<T>(future);
    }
    template <class Function, class... Arguments>
    Metrics metrics(Function function, Arguments... arguments) {
        Metrics metrics = detail::initialised(tessera_metrics_init);
        detail::call(function, Handle::get(), arguments..., &metrics);
        return metrics;
    }
    template <class Function, class Argument>
    Tensor tensor(Function function, Argument argument) {
        tessera_tensor out = tessera_tensor();
        detail::call(function, Handle::get(), argument, &out);
        return Tensor(out);
    }
};

// ---- Results of futures ---------------------------------------------------------------------------------------------

namespace detail {
template <>
struct FutureResult<void> {
    static void take(tessera_future) {}
};
template <>
struct FutureResult<Metrics> {
    static Metrics take(tessera_future future) {
        Metrics metrics = initialised(tessera_metrics_init);
        call(tessera_future_get_metrics, future, &metrics);
        return metrics;
    }
};
template <>
struct FutureResult<std::vector<std::int64_t>> {
    static std::vector<std::int64_t> take(tessera_future future) {
        return read<std::vector<std::int64_t>>(0, tessera_future_get_tokens, future);
    }
};
template <class T, class Owner, tessera_status (*get)(tessera_future, T *, tessera_error *)>
struct ObjectResult {
    static Owner take(tessera_future future) {
        T handle = T();
        call(get, future, &handle);
        return Owner(handle);
    }
};
template <>
struct FutureResult<Tensor> : ObjectResult<tessera_tensor, Tensor, tessera_future_get_tensor> {};
template <>
struct FutureResult<Mesh> : ObjectResult<tessera_mesh, Mesh, tessera_future_get_mesh> {};
template <>
struct FutureResult<Trainer> : ObjectResult<tessera_trainer, Trainer, tessera_future_get_trainer> {};
}  // namespace detail

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_TESSERA_HPP
