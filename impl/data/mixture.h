// Mixing by weights: how many documents of each source an epoch holds, and in which order the sources take
// turns.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

/// Units that one epoch draws from each source. The source with the largest size/weight is drawn exactly
/// once; from every other one come its share beside that, that size * weight / that source's weight, rounded
/// and at least 1: never less than its size but for the rounding, so that it repeats. Throws Error(argument)
/// "data.weights[1]=0 ..." for weights that are not positive and finite, of another number than the sources,
/// or so uneven that an epoch would have more than 2^28 units beyond the sources' own.
std::vector<int64_t> mix_counts(std::span<const int64_t> sizes, std::span<const double> weights);

/// The source of each of the sum(counts) places of an epoch: always the one that is furthest behind its
/// share, the first of equals. After any n places source k was taken within one turn (two sources) or a few
/// (many) of n * counts[k] / sum(counts), and exactly counts[k] times at the end. Integers only, so equal
/// everywhere.
std::vector<uint32_t> mix_order(std::span<const int64_t> counts);

/// Whether the weights can be mixed by; the message of the Error(argument) names the offending one.
void check_weights(std::span<const double> weights, size_t sources);

}  // namespace tessera
