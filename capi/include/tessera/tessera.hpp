// tessera.hpp - the C interface as C++ values: handles that release themselves, statuses that throw, text and arrays as
// std::string and std::vector. Header only, C++11 to C++23; what a call means is said in the C header of the same noun.
// This header is all of it; each part in tessera/cpp can also be included alone.
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

#include "tessera/tessera.h"

#include "tessera/cpp/error.hpp"
#include "tessera/cpp/handle.hpp"
#include "tessera/cpp/library.hpp"
#include "tessera/cpp/config.hpp"
#include "tessera/cpp/future.hpp"
#include "tessera/cpp/events.hpp"
#include "tessera/cpp/world.hpp"
#include "tessera/cpp/tensor.hpp"
#include "tessera/cpp/mesh.hpp"
#include "tessera/cpp/model.hpp"
#include "tessera/cpp/plan.hpp"
#include "tessera/cpp/pack.hpp"
#include "tessera/cpp/batch.hpp"
#include "tessera/cpp/dataset.hpp"
#include "tessera/cpp/tokenizer.hpp"
#include "tessera/cpp/trainer.hpp"

#endif  // TESSERA_TESSERA_HPP
