// What happens when the process ends while ranks still work: `exit` runs destructors of static objects, such
// as LibTorch's compiled kernels, under threads that use them. So the end of the process waits for running
// work and lets no more begin.
#pragma once

#include "comm/world.h"

namespace tessera::capi {

/// Marks work while it runs. Once the process is ending no work begins: the constructor does not return.
class RunningWork {
 public:
  RunningWork();
  ~RunningWork();
  RunningWork(const RunningWork&) = delete;
  RunningWork& operator=(const RunningWork&) = delete;
};

/// Lets the end of the process abort `world` when work is running, so that nobody waits for ranks that wait
/// for others.
void watch_for_exit(const WorldPtr& world);

/// Whether destructors of static objects may be running: threads that wait in RunningWork never come back.
bool process_is_ending();

}  // namespace tessera::capi
