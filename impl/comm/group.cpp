// What a group without shared memory answers.
#include "comm/group.h"

#include "core/error.h"

namespace tessera {

at::Tensor Group::allocate_shared(int64_t /*bytes*/) {
  throw Error(Code::unsupported, cat("group ", name_, ": its ranks do not share memory"));
}

SharedBlocks Group::allocate_symmetric(int64_t /*bytes*/) {
  throw Error(Code::unsupported, cat("group ", name_, ": its ranks do not share memory"));
}

}  // namespace tessera
