// Making a device current for a while where nothing may be thrown.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

namespace tessera {

/// Makes `device` the calling thread's current one until the end of its life. Unlike c10::DeviceGuard it
/// never throws: on a device that has failed, what is called next says so.
class CurrentDevice {
 public:
  explicit CurrentDevice(at::Device device) noexcept : guard_(device.type()) {
    try {
      previous_ = guard_.getDevice();
    } catch (...) {  // NOLINT: nothing to go back to
    }
    guard_.uncheckedSetDevice(device);
  }
  ~CurrentDevice() {
    if (previous_) guard_.uncheckedSetDevice(*previous_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  c10::impl::VirtualGuardImpl guard_;
  std::optional<at::Device> previous_;
};

}  // namespace tessera
