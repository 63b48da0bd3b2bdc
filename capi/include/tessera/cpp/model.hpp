// An architecture and where its weights come from.
#ifndef TESSERA_CPP_MODEL_HPP
#define TESSERA_CPP_MODEL_HPP

#include <cstdint>
#include <string>

#include "tessera/model.h"
#include "tessera/cpp/handle.hpp"

namespace tessera {
inline namespace cpp0 {

/// What a Trainer trains; itself it holds no weights.
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

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_MODEL_HPP
