// Measures the machine at hand as a cluster of rank threads.
#pragma once

#include "simulate/cluster.h"

namespace tessera {

struct CalibrationOptions {
  int ranks = 1;                      ///< rank threads that work at the same time, as they will in the job
  int threads = 0;                    ///< threads of a rank inside an operator; 0: cores divided by the ranks
  bool wide = false;                  ///< float32 instead of bfloat16
  double seconds = 2;                 ///< that it may take, about
  std::string allocator = "caching";  ///< WorldOptions::allocator
};

/// Runs short matrix products, attention, element-wise kernels, updates and all-reduces on all ranks at once
/// and takes the median of several rounds; a rank is a device of the cluster "here". Threads are made and
/// ended inside. Errors (argument): no ranks, or more than 4096.
Cluster calibrate(const CalibrationOptions& options);

}  // namespace tessera
