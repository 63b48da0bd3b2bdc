// What a checkpoint holds and a model has no place for, in words.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace tessera {

/// The tensors of `stored` that are not in `read`, tensors of one layer together, as text for a person:
/// "model.layers.46.* (18 tensors, behind the last layer)". Empty when there are none, and for what has no
/// meaning of its own: rotary frequencies, and a head that is tied to an embedding that was read.
std::string describe_unread(const std::vector<std::string>& stored, const std::set<std::string>& read);

}  // namespace tessera
