// A dataset whose steps a thread of its own prepares ahead of those who take them.
#pragma once

#include <memory>

#include "data/dataset.h"

namespace tessera {

/// Keeps up to `steps` steps of `inner` ready (0: `inner` as it is). state() is the position of what was
/// taken, not of what was prepared. What `inner` throws is thrown by the next() that would have given that
/// step, and again by each one after it until restore(). The thread starts with the first next(); destruction
/// ends it, after cancelling an `inner` that is at work. Like every dataset not for two threads at a time.
std::unique_ptr<Dataset> with_prefetch(std::unique_ptr<Dataset> inner, int64_t steps);

}  // namespace tessera
