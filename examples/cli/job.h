// The ranks of this process: rank threads when the recipe says `ranks`, else the one rank that a launcher
// gave it.
#pragma once

#include <functional>

#include "arguments.h"

namespace cli {

/// What one rank works with.
struct Seat {
  tessera_world world{0};
  int rank = 0;
  int size = 1;
  bool speaks() const { return rank == 0; }  ///< prints and writes the metrics of the job
};

/// Runs `work` once for each rank of this process and closes the worlds. When a rank fails the others are
/// told, and the failure that came first is thrown.
void run_ranks(const Arguments& arguments, const std::function<void(const Seat&)>& work);

/// The model that model.path or model.config names.
Model open_model(const Arguments& arguments);

/// Mesh and trainer of one rank.
struct Setup {
  Mesh mesh;
  Model model;
  Trainer trainer;
};
Setup set_up(const Arguments& arguments, const Seat& seat);

/// The data of a recipe for this rank; a terminal sees how its preparation goes.
Dataset open_data(const Config& config, const Setup& setup, const Seat& seat);

}  // namespace cli
