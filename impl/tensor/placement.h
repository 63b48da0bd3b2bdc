// Where a parameter lives: its global shape, its placement on each mesh axis, and the box a rank owns. TP
// plans, FSDP sharding, loading, saving, gradient norm and optimizer state all read this; none keeps a second
// book.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mesh/mesh.h"
#include "tensor/stored_slice.h"

namespace tessera {

struct Placement {
  enum class Kind : int { replicate = 0, shard = 1 };
  Kind kind = Kind::replicate;
  int dim = 0;  ///< for shard
  /// For shard: how many parts there are; 0 means one per rank. With fewer, which must divide the ranks,
  /// neighbours hold the same part (key and value heads, when there are fewer of them than ranks).
  int64_t parts = 0;

  static Placement replicate() { return {}; }
  static Placement shard(int dim, int64_t parts = 0) { return {Kind::shard, dim, parts}; }
  /// Consecutive ranks of `size` that hold the same elements.
  int64_t copies(int64_t size) const;
  bool operator==(const Placement&) const = default;
};

/// The product of the sizes. Throws argument for a negative size or a product beyond int64.
int64_t checked_numel(const std::vector<int64_t>& shape);

/// How a parameter's values start when there is no checkpoint.
struct Init {
  enum class Kind : int { zeros = 0, ones = 1, normal = 2 };
  Kind kind = Kind::normal;
  double std = 0.02;
};

/// What is known of a parameter before any tensor exists.
struct ParamSpec {
  std::string name;            ///< Hugging Face name: model.layers.0.self_attn.q_proj.weight
  std::vector<int64_t> shape;  ///< global
  Init init;
  bool decay = true;  ///< weight decay applies (by convention not to norms and biases)
  bool trainable = true;
  /// Float32 and whole on every rank of its stage, whatever the precision options and the mesh: a few values
  /// that decide and must not be rounded (a router's selection bias). Never trainable, an expert's or cut.
  bool exact = false;
  /// Multiplied in float8.
  bool float8 = false;
  /// Multiplied in float8 with one scale, by layers that can take it gathered in that form.
  bool float8_gather = false;
  Placement tp;  ///< on the tp axis; set by the plan, replicate by default
  /// Ranks of the tp axis that hold the same elements form partial gradients, whose sum is the gradient.
  bool tp_partial = false;
  /// Of an expert's parameter: the coordinate on the ep axis that holds it. -1: all do, it is no expert's.
  int64_t ep_index = -1;
  double token_share = 1;  ///< of the tokens that meet it: of an expert, top_k / experts
  /// Pipeline stages that hold the parameter: 2 for tied embeddings whose first and last stage are on
  /// different ranks. Their gradients are partial sums too.
  int64_t stage_copies = 1;
  /// Of several stages the one whose copy is saved.
  bool primary = true;
  /// Where a Hugging Face checkpoint has it, when not under its own name and shape.
  std::optional<StoredSlice> stored;
};

/// The part of `spec` that tp coordinate `tp_index` of `tp_size` holds. Uneven splits follow torch.chunk.
Box tp_box(const ParamSpec& spec, int64_t tp_index, int64_t tp_size);

/// FSDP's share of a tp part: rows are cut by torch.chunk over `shards` ranks, so the first ranks hold
/// ceil(rows / shards) rows and trailing ranks may hold fewer or none (Zhao et al., FSDP, 2023; FSDP2's dim-0
/// rule).
struct RowShard {
  int64_t chunk_rows = 0;    ///< rows per rank with padding: the same on all ranks
  int64_t row_elements = 1;  ///< elements of one row
  int64_t first_row = 0;     ///< of this rank, in the tp part
  int64_t rows = 0;          ///< real rows of this rank

  int64_t padded_numel() const { return chunk_rows * row_elements; }
  int64_t numel() const { return rows * row_elements; }
};
RowShard row_shard(const std::vector<int64_t>& part_shape, int64_t index, int64_t shards);

/// The box that one rank owns after tp and FSDP, in global coordinates.
Box owned_box(const ParamSpec& spec, int64_t tp_index, int64_t tp_size, int64_t shard_index, int64_t shards);

/// One rank's piece of a named global tensor: what checkpoints, resharding and export speak in.
struct ShardedTensor {
  std::string name;
  std::vector<int64_t> global_shape;
  Box box;           ///< where `local` sits in the global tensor
  at::Tensor local;  ///< contiguous, box.size shaped
  /// False on ranks that hold a copy which another rank writes (dp_replicate > 0, replicated tp): exactly one
  /// rank is the owner of each element.
  bool owner = true;
  /// ParamSpec::exact: written in its own dtype whatever the others are converted to.
  bool exact = false;
};

}  // namespace tessera
