// Errors of the operating system as tessera::Error.
#include "core/error.h"

#include <system_error>

namespace tessera {

Error os_error(const std::string& what, int errnum) {
  return {Code::io, cat(what, ": ", std::generic_category().message(errnum)), -1, Domain::os, errnum};
}

}  // namespace tessera
