// Where batches come from.
#ifndef TESSERA_CPP_DATASET_HPP
#define TESSERA_CPP_DATASET_HPP

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/dataset.h"
#include "tessera/cpp/batch.hpp"
#include "tessera/cpp/config.hpp"
#include "tessera/cpp/mesh.hpp"
#include "tessera/cpp/model.hpp"

namespace tessera {
inline namespace cpp0 {

/// The files of data.*, or documents that are pushed.
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

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_DATASET_HPP
