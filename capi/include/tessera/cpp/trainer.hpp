// One rank's part of training a model, and its checkpoints.
#ifndef TESSERA_CPP_TRAINER_HPP
#define TESSERA_CPP_TRAINER_HPP

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/checkpoint.h"
#include "tessera/trainer.h"
#include "tessera/cpp/config.hpp"
#include "tessera/cpp/dataset.hpp"
#include "tessera/cpp/events.hpp"
#include "tessera/cpp/future.hpp"
#include "tessera/cpp/mesh.hpp"
#include "tessera/cpp/model.hpp"
#include "tessera/cpp/tensor.hpp"

namespace tessera {
inline namespace cpp0 {

struct GenerateOptions : tessera_generate_options {
    GenerateOptions() : tessera_generate_options(detail::initialised(tessera_generate_options_init)) {}
};

using Metrics = tessera_metrics;

/// One rank's part of training a model on a mesh.
class Trainer : public detail::Handle<tessera_trainer, tessera_trainer_destroy> {
   public:
    explicit Trainer(tessera_trainer trainer) : Handle(trainer) {}
    Trainer(const Mesh &mesh, const Model &model, const Config *config = nullptr) {
        detail::call(tessera_trainer_create, mesh.get(), model.get(), detail::get_or_null(config), out());
    }
    static Future<Trainer> create_async(const Mesh &mesh, const Model &model, const Config *config = nullptr) {
        return detail::start<Trainer>(tessera_trainer_create_async, mesh.get(), model.get(),
                                      detail::get_or_null(config));
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
        return detail::start<Metrics>(tessera_trainer_step_async, Handle::get(), batch.get());
    }
    Future<Metrics> forward_backward_async(const Batch &batch, std::int64_t label_tokens = 0) {
        return detail::start<Metrics>(tessera_trainer_forward_backward_async, Handle::get(), batch.get(), label_tokens);
    }
    Future<Metrics> optimizer_step_async() {
        return detail::start<Metrics>(tessera_trainer_optimizer_step_async, Handle::get());
    }
    Future<Metrics> evaluate_async(const Batch &batch) {
        return detail::start<Metrics>(tessera_trainer_evaluate_async, Handle::get(), batch.get());
    }
    Future<std::vector<std::int64_t>> generate_async(const std::vector<std::int64_t> &prompt,
                                                     const GenerateOptions &options = GenerateOptions()) {
        return detail::start<std::vector<std::int64_t>>(tessera_trainer_generate_async, Handle::get(), prompt.data(),
                                                        static_cast<std::int64_t>(prompt.size()),
                                                        static_cast<const tessera_generate_options *>(&options));
    }
    Future<Tensor> logits_async(const Batch &batch) {
        return detail::start<Tensor>(tessera_trainer_get_logits_async, Handle::get(), batch.get());
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
        return detail::start<Tensor>(tessera_trainer_get_parameter_async, Handle::get(), name.c_str());
    }
    Future<Tensor> gradient_async(const std::string &name) {
        return detail::start<Tensor>(tessera_trainer_get_gradient_async, Handle::get(), name.c_str());
    }
    Future<void> set_parameter_async(const std::string &name, const Tensor &value) {
        return detail::start<void>(tessera_trainer_set_parameter_async, Handle::get(), name.c_str(), value.get());
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
        return detail::start<void>(tessera_checkpoint_save_async, Handle::get(), directory.c_str(),
                                   detail::get_or_null(data));
    }
    Future<void> load_async(const std::string &directory, Dataset *data = nullptr) {
        return detail::start<void>(tessera_checkpoint_load_async, Handle::get(), directory.c_str(),
                                   detail::get_or_null(data));
    }
    Future<void> export_model_async(const std::string &directory, const std::string &dtype = "") {
        return detail::start<void>(tessera_checkpoint_export_async, Handle::get(), directory.c_str(),
                                   dtype.empty() ? nullptr : dtype.c_str());
    }

   private:
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

namespace detail {

template <>
struct FutureResult<Metrics> {
    static Metrics take(tessera_future future) {
        Metrics metrics = initialised(tessera_metrics_init);
        call(tessera_future_get_metrics, future, &metrics);
        return metrics;
    }
};
template <>
struct FutureResult<Trainer> : ObjectResult<tessera_trainer, Trainer, tessera_future_get_trainer> {};

}  // namespace detail

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_TRAINER_HPP
