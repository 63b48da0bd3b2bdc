// The c10d store inside a Rendezvous, apart because its header is heavy.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "comm/rendezvous.h"

namespace tessera {

struct Rendezvous::Handle {
  c10::intrusive_ptr<c10d::Store> store;
};

}  // namespace tessera
