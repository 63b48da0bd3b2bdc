// Measures what communication costs a rank that its computing does not hide.
#pragma once

#include <memory>

#include "comm/group.h"

namespace tessera {

/// Seconds of one rank inside calls of groups and waits for them. Used by the rank's thread only.
struct ExposedTime {
  double seconds = 0;
};
using ExposedTimePtr = std::shared_ptr<ExposedTime>;

/// The same group, whose calls and waits add their time to `exposed`; the group itself where that is null.
/// Meant for ranks that compute on the CPU: where a device works on its own, the time of a call says little.
GroupPtr metered(GroupPtr group, ExposedTimePtr exposed);

}  // namespace tessera
