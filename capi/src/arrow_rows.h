// Token rows out of an Arrow record batch, through the Arrow C data interface
// (https://arrow.apache.org/docs/format/CDataInterface.html).
#pragma once

#include <cstdint>
#include <vector>

#include "data/token_rows.h"

namespace tessera::capi {

/// The two structs of the interface, whose layout is fixed by its specification.
struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  int64_t flags;
  int64_t n_children;
  ArrowSchema** children;
  ArrowSchema* dictionary;
  void (*release)(ArrowSchema*);
  void* private_data;
};

struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

/// Releases a struct of the interface, exactly once.
template <class T>
class ArrowOwner {
 public:
  explicit ArrowOwner(T* value) : value_(value) {}
  ~ArrowOwner() {
    if (value_->release != nullptr) value_->release(value_);
  }
  ArrowOwner(const ArrowOwner&) = delete;
  ArrowOwner& operator=(const ArrowOwner&) = delete;

 private:
  T* value_;
};

/// The rows of a batch: a struct with a column input_ids, a list or large list of int32 or int64, and perhaps
/// labels, of the same kind and with as many entries in each row. Throws Error(argument) naming row and
/// column for nulls, other types, and sizes that contradict one another. The buffers are as long as the
/// structs say: nothing in the interface tells.
std::vector<TokenRow> rows_of_arrow(const ArrowSchema& schema, const ArrowArray& batch);

}  // namespace tessera::capi
