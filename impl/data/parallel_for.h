// A loop over several threads that also works when there are no threads to be had.
#pragma once

#include <cstddef>
#include <functional>

namespace tessera {

/// Runs work(i) for i in [0, count) on up to `threads` threads, the caller's among them; what one throws
/// first ends the others and is thrown here.
void parallel_for(size_t count, size_t threads, const std::function<void(size_t)>& work);

}  // namespace tessera
