// Errors that all ranks see alike: a step that one rank fails is failed by every rank, with that rank's
// message.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "comm/group.h"

namespace tessera {

/// Collective. Runs `work`, then learns whether it threw anywhere. If so, every rank throws the error of the
/// first failing group rank: its code, "rank <world rank>: <message>", and that rank in Error::rank(). `what`
/// ("writing x/model.safetensors") is used for exceptions that are not ours. Also a barrier. `device` is the
/// group's.
void together(Group& group, at::Device device, const std::string& what, const std::function<void()>& work);

/// Collective. Every rank's bytes, in rank order, on every rank.
std::vector<std::string> gather_texts(Group& group, at::Device device, const std::string& mine);

}  // namespace tessera
