// The table of recipe keys.
#include "train/recipe_keys.h"

namespace tessera {
namespace {

constexpr double kMaxCount = 9007199254740992.0;  // 2^53: integers up to here are exact in a double
constexpr double kInfinity = std::numeric_limits<double>::infinity();

ConfigKey text(std::string name, std::string value, std::string doc) {
  return {std::move(name), KeyType::text, std::move(value), -kInfinity, kInfinity, {}, std::move(doc)};
}
ConfigKey texts(std::string name, std::string value, std::string doc) {
  return {std::move(name), KeyType::text_list, std::move(value), -kInfinity, kInfinity, {}, std::move(doc)};
}
ConfigKey flag(std::string name, bool value, std::string doc) {
  return {std::move(name), KeyType::boolean, value ? "true" : "false", 0, 1, {}, std::move(doc)};
}
ConfigKey integer(std::string name, std::string value, double min, double max, std::string doc) {
  return {std::move(name), KeyType::integer, std::move(value), min, max, {}, std::move(doc)};
}
ConfigKey real(std::string name, std::string value, double min, double max, std::string doc) {
  return {std::move(name), KeyType::real, std::move(value), min, max, {}, std::move(doc)};
}
ConfigKey reals(std::string name, std::string value, double min, double max, std::string doc) {
  return {std::move(name), KeyType::real_list, std::move(value), min, max, {}, std::move(doc)};
}
ConfigKey choice(std::string name, std::string value, std::vector<std::string> choices, std::string doc) {
  return {std::move(name), KeyType::choice,    std::move(value), -kInfinity,
          kInfinity,       std::move(choices), std::move(doc)};
}

using Keys = std::vector<ConfigKey>;

void add_job_keys(Keys& keys) {
  keys.push_back(
      integer("ranks", "", 1, 1024,
              "Rank threads in this process. Absent: the launcher's world (torchrun, mpirun, srun), or "
              "one rank."));
  keys.push_back(
      choice("backend", "auto", {"auto", "local", "gloo", "nccl"},
             "Engine of the collectives. auto: local when all ranks are on one host, else gloo on CPUs "
             "and nccl on GPUs."));
  keys.push_back(choice("device", "cpu", {"cpu", "cuda"}, "Where the model lives."));
  keys.push_back(
      integer("threads", "0", 0, 4096,
              "Threads that one rank uses inside an operator; 0: cores divided by the ranks of the host."));
  keys.push_back(
      choice("allocator", "caching", {"caching", "system"},
             "Memory of CPU tensors. caching: freed memory is kept and used again, for the whole process; "
             "system: LibTorch's own way."));
  keys.push_back(
      flag("cuda.graphs", false,
           "One GPU: forward and backward of a step are captured in a CUDA graph when a layout of "
           "micro-batches comes for the second time, and replayed from then on. Not with experts or "
           "offloading."));
  keys.push_back(
      choice("cuda.expandable_segments", "auto", {"auto", "on", "off"},
             "LibTorch's allocator on GPUs maps memory into segments that grow, which leaves no gaps that "
             "nothing fits into. auto: unless PYTORCH_ALLOC_CONF names it; off: left as it is. For the whole "
             "process."));
  keys.push_back(
      choice("comm.register_buffers", "auto", {"auto", "on", "off"},
             "NCCL uses the memory of gathered weights and of gradients to reduce in place. auto: where the "
             "ranks that shard share a host; on: everywhere. Without it where a rank cannot."));
  keys.push_back(
      real("timeout", "600", 0.001, 1e6,
           "Seconds after which a collective that cannot finish ends with an error naming the missing "
           "ranks."));
  keys.push_back(text("model.path", "", "Hugging Face directory: config.json, safetensors, tokenizer."));
  keys.push_back(
      text("model.config", "",
           "config.json for a model that starts from seeded random weights, in place of model.path."));
  keys.push_back(
      text("model.plugin", "",
           "Shared library with an architecture of your own; the tessera program opens the model with it."));
  keys.push_back(flag("model.load_from_rank0", false,
                      "The checkpoint is visible to rank 0 only: it sends the weights tensor by tensor."));
}

void add_data_keys(Keys& keys) {
  keys.push_back(texts("data.path", "", "Files, directories or globs."));
  keys.push_back(
      reals("data.weights", "", 0, kInfinity,
            "One weight for each entry of data.path: they are mixed as sources with these shares, and "
            "the smaller ones repeat. Absent: all documents once an epoch."));
  keys.push_back(
      choice("data.weights_of", "documents", {"documents", "tokens"}, "What data.weights shares out."));
  keys.push_back(
      texts("data.formats", "", "Format of each entry of data.path; absent: data.format for all."));
  keys.push_back(
      real("data.validation_split", "0", 0, kMaxCount,
           "Rows of each source that do not train but validate: a fraction below 1, or their number. "
           "Drawn by train.seed."));
  keys.push_back(texts("data.validation_path", "", "Files that validate; not with data.validation_split."));
  keys.push_back(choice("data.part", "train", {"train", "validation"},
                        "Which part a dataset reads. validation: one pass in the order of the files."));
  keys.push_back(
      text("data.cache", "",
           "Directory that keeps the tokenised data, so that it is prepared once for all ranks and "
           "later runs; absent: none."));
  keys.push_back(flag("data.streaming", false,
                      "Read and tokenise while training, in bounded memory, instead of before."));
  keys.push_back(
      integer("data.stream_buffer", "4096", 1, 1 << 30,
              "Rows that each micro-batch of a step has in memory, shuffled and packed together."));
  keys.push_back(
      integer("data.prefetch", "2", 0, 1024, "Steps whose batches a thread prepares ahead; 0: no thread."));
  keys.push_back(choice(
      "data.format", "tokens", {"tokens", "text", "chat", "sharegpt", "alpaca", "prompt", "preference"},
      "What a row holds. tokens: {\"input_ids\": [...], \"labels\": [...]}, labels in the positions "
      "of input_ids."));
  keys.push_back(text("data.tokenizer", "", "Directory with tokenizer.json; absent: model.path."));
  keys.push_back(
      text("data.columns.prompt", "prompt", "Field of the question when data.format=prompt, or preference."));
  keys.push_back(
      text("data.columns.completion", "completion", "Field of the answer when data.format=prompt."));
  keys.push_back(
      text("data.columns.chosen", "chosen", "Field of the better answer when data.format=preference."));
  keys.push_back(
      text("data.columns.rejected", "rejected", "Field of the worse answer when data.format=preference."));
  keys.push_back(choice("data.preference", "chosen", {"chosen", "both"},
                        "Which answers of data.format=preference have labels; both are in the batch."));
  keys.push_back(text("data.columns.text", "text", "Field of the text when data.format=text."));
  keys.push_back(text("data.columns.messages", "messages", "Field of the messages when data.format=chat."));
  keys.push_back(
      text("data.chat_template", "",
           "Name of a template of the checkpoint or of a built-in one, or Jinja source; absent: the "
           "checkpoint's."));
  keys.push_back(texts("data.train_roles", "assistant", "Roles whose messages are learnt."));
  keys.push_back(flag("data.last_turn_only", false, "Of the messages to learn only the last."));
  keys.push_back(choice("data.train_on_eos", "turn", {"turn", "all", "last", "none", "as_tagged"},
                        "After which turns the token that ends a turn is learnt."));
  keys.push_back(
      flag("data.append_eos", true, "The tokenizer's eos ends each document when data.format=text."));
  keys.push_back(
      integer("data.seq_len", "1024", 1, 1 << 26, "Longest document in tokens, and the capacity of a pack."));
  keys.push_back(choice("data.packing", "none",
                        {"none", "next_fit", "next_fit_split", "first_fit", "ffd", "bfd", "wfd", "optimal"},
                        "How documents share a row. none: one document a row."));
  keys.push_back(integer("data.packing_group_size", "100000", 1, kMaxCount,
                         "Documents that packing=first_fit takes at a time."));
  keys.push_back(integer("data.packing_bin_size", "200", 1, kMaxCount,
                         "Most documents of a pack of packing=first_fit."));
  keys.push_back(integer("data.packing_effort", "100000000", 0, kMaxCount,
                         "Search steps of packing=optimal; counted, so that all ranks agree."));
  keys.push_back(choice("data.order", "auto", {"auto", "short_first", "long_first"},
                        "Order of the rows. auto: as data.shuffle says."));
  keys.push_back(flag("data.balance", false,
                      "Rows of one step get nearly the same sum of squared document lengths, so that no rank "
                      "waits for another's attention."));
  keys.push_back(integer("data.balance_window", "0", 0, kMaxCount,
                         "Steps among which data.balance exchanges rows; 0: the epoch."));
  keys.push_back(integer("data.group", "1", 1, 1 << 20,
                         "Consecutive documents that stay in one row; data.format=preference makes it 2."));
  keys.push_back(
      choice("data.pad_rows", "auto", {"auto", "yes", "no"},
             "Whether rows are padded to data.seq_len. auto: packs are, single documents are not."));
  keys.push_back(
      integer("data.pad_multiple", "1", 1, 1 << 20, "Each document is aligned to a multiple of this."));
  keys.push_back(flag("data.pad_cp", false,
                      "Each document is also aligned to 2*parallel.cp, so that the ranks of a sequence have "
                      "equal parts of it."));
  keys.push_back(integer("data.pad_token", "0", 0, 2147483647, "Token id of the padding."));
  keys.push_back(
      choice("data.last_step", "fill", {"fill", "drop"},
             "The step that the last epoch does not fill: filled with ignored tokens, or dropped."));
  keys.push_back(integer("data.max_line_bytes", "67108864", 1, 1LL << 40, "Longer lines are bad rows."));
  keys.push_back(integer("data.workers", "0", 0, 1024, "Threads that prepare documents; 0: one per core."));
  keys.push_back(choice("data.long_documents", "auto", {"auto", "drop", "truncate", "split", "error"},
                        "What happens to a document longer than data.seq_len. auto: split for text, else "
                        "truncate."));
  keys.push_back(flag("data.shuffle", false, "A new seeded order in each epoch, equal on every mesh."));
  keys.push_back(
      integer("data.epochs", "0", 0, kMaxCount, "Passes over the data; 0: as many as train.steps needs."));
  keys.push_back(choice("data.on_error", "fail", {"fail", "skip"},
                        "What a malformed row does; skipped ones are counted."));
}

void add_train_keys(Keys& keys) {
  keys.push_back(
      integer("train.steps", "", 1, kMaxCount,
              "Optimizer steps; the horizon of the schedule. Absent: the data's end after data.epochs."));
  keys.push_back(integer("train.validate_every", "0", 0, kMaxCount,
                         "Steps between evaluations of the validation rows; 0: one after the last step."));
  keys.push_back(
      integer("train.micro_batch", "1", 1, 1 << 20, "Rows in one forward pass of a data-parallel rank."));
  keys.push_back(
      integer("train.global_batch", "1", 1, kMaxCount,
              "Rows in one optimizer step over all data-parallel ranks; a multiple of micro_batch * dp."));
  keys.push_back(integer("train.seed", "0", 0, kMaxCount, "Seed of initial weights and of the shuffle."));
  keys.push_back(integer("train.loss_chunk", "0", 0, kMaxCount,
                         "Tokens whose logits exist at one time; 0: chosen from the vocabulary."));
  keys.push_back(choice("optimizer.name", "adamw", {"adamw", "sgd"}, "Update rule."));
  keys.push_back(real("optimizer.lr", "0.0001", 0, 1e6, "Peak learning rate."));
  keys.push_back(reals("optimizer.betas", "0.9,0.95", 0, 0.9999999999,
                       "AdamW: decay rates of the first and second moment."));
  keys.push_back(real("optimizer.eps", "1e-8", 0, 1e6, "AdamW: added to the root of the second moment."));
  keys.push_back(real("optimizer.weight_decay", "0.1", 0, 1e6,
                      "Decoupled weight decay; norms and biases are left out."));
  keys.push_back(real("optimizer.momentum", "0", 0, 0.9999999999, "SGD: momentum."));
  keys.push_back(real("optimizer.clip", "1", 0, 1e30,
                      "Largest global gradient norm; 0: no clipping, the norm is still reported."));
  keys.push_back(choice("schedule.name", "constant", {"constant", "linear", "cosine", "wsd"},
                        "Shape of the learning rate after the warm-up."));
  keys.push_back(integer("schedule.warmup_steps", "0", 0, kMaxCount, "Steps of linear warm-up."));
  keys.push_back(integer("schedule.decay_steps", "0", 0, kMaxCount,
                         "wsd: steps of the final decay; 0: a tenth of train.steps."));
  keys.push_back(real("schedule.min_lr", "0", 0, 1e6, "Learning rate at the end of the schedule."));
}

void add_parallel_keys(Keys& keys) {
  constexpr double kMaxDegree = 1 << 20;
  keys.push_back(
      integer("parallel.pp", "1", -1, kMaxDegree, "Pipeline stages. One axis may be -1: inferred."));
  keys.push_back(
      choice("parallel.pp_schedule", "1f1b",
             {"gpipe", "1f1b", "interleaved", "zb_h1", "interleaved_zb", "zb_v", "dualpipe_v", "custom"},
             "Order in which pipeline stages work. interleaved, interleaved_zb: several stages a "
             "rank; zb_h1: weight gradients fill the bubble; zb_v, dualpipe_v: two stages a rank "
             "in a V; custom: parallel.pp_program."));
  keys.push_back(integer("parallel.pp_virtual", "0", 0, kMaxDegree,
                         "Stages a rank of interleaved and interleaved_zb; 0: two."));
  keys.push_back(reals("parallel.pp_split", "", 0, kMaxDegree,
                       "Decoder layers of each stage, in order; absent: balanced by the work they are."));
  keys.push_back(
      text("parallel.pp_program", "",
           "parallel.pp_schedule=custom: file with a line per rank, actions such as 0F0,1F0,1B0,0I0,"
           "0W0 (stage, kind, micro-batch)."));
  keys.push_back(integer("parallel.dp_replicate", "1", -1, kMaxDegree,
                         "Replicas of the sharded model (HSDP's outer axis)."));
  keys.push_back(integer("parallel.dp_shard", "-1", -1, kMaxDegree,
                         "Ranks that share one copy of the weights (FSDP2)."));
  keys.push_back(integer("parallel.cp", "1", -1, kMaxDegree, "Ranks that split each sequence."));
  keys.push_back(choice("parallel.cp_exchange", "ring",
                        {"ring", "all_gather", "ulysses", "ulysses_ring", "ulysses_all_gather"},
                        "Under cp: how the queries of a rank meet the keys of the others."));
  keys.push_back(choice("parallel.cp_layout", "auto", {"auto", "zigzag", "document", "row"},
                        "Which tokens a cp rank has: two chunks of each document that balance causal "
                        "attention, one chunk, or one of the row. auto: row for ulysses, else zigzag."));
  keys.push_back(integer("parallel.cp_ulysses", "0", 0, kMaxDegree,
                         "parallel.cp_exchange=ulysses_ring or ulysses_all_gather: neighbours that exchange "
                         "heads; divides parallel.cp."));
  keys.push_back(integer("parallel.cp_heads_k_stride", "0", 0, kMaxDegree,
                         "Where keys are gathered: key heads that travel while those before them are "
                         "computed; 0: all at once."));
  keys.push_back(integer("parallel.tp", "1", -1, kMaxDegree, "Ranks that split each matrix."));
  keys.push_back(integer("parallel.ep", "1", 1, kMaxDegree,
                         "Ranks that share out the experts of a layer: regroups those of dp, cp and tp."));
  keys.push_back(
      flag("parallel.expert_tp", false,
           "Under tp: each expert's width is split over tp, and parallel.ep regroups dp and cp only. "
           "Otherwise experts are whole and the ranks of tp route different tokens."));
  keys.push_back(choice("parallel.ep_exchange", "all_to_all", {"all_to_all", "all_gather"},
                        "How tokens reach the ranks of their experts: each row to one rank, or all tokens to "
                        "all, for a few ranks."));
  keys.push_back(
      flag("parallel.sequence_parallel", false, "Under tp: activations between blocks are split by token."));
  keys.push_back(
      text("parallel.tp_plan", "auto",
           "Which weights tp cuts and how. auto: the architecture's plan, else the checkpoint's "
           "base_model_tp_plan, else by the usual names; architecture, checkpoint or generic: that one; "
           "otherwise a plan registered on the model, a .json or .yaml file, or a JSON map, of name patterns "
           "and styles (colwise, rowwise, "
           "vocab_parallel, replicate, sequence_parallel)."));
  keys.push_back(flag("parallel.defer_gradient_sync", true,
                      "Under accumulation gradients are reduced after the last micro-batch only."));
  keys.push_back(choice(
      "parallel.units", "layer", {"layer", "size", "names"},
      "What is gathered together: each layer, neighbours up to a size, or units that start at names."));
  keys.push_back(integer("parallel.unit_parameters", "0", 0, kMaxCount,
                         "parallel.units=size: parameters that a unit has at least."));
  keys.push_back(texts("parallel.unit_names", "",
                       "parallel.units=names: globs; a new unit starts where a name matches."));
}

void add_moe_keys(Keys& keys) {
  keys.push_back(real("moe.balance_loss", "0", 0, 1e3,
                      "Weight of each layer's load-balancing loss; checkpoints name theirs "
                      "router_aux_loss_coef."));
  keys.push_back(choice(
      "moe.balance_scope", "micro_batch", {"micro_batch", "global"},
      "Over which tokens the load is balanced: those of each micro-batch, or all of a step. The latter "
      "costs a forward more where a step has several micro-batches."));
  keys.push_back(
      real("moe.capacity_factor", "0", 0, 1e3,
           "What an expert takes of a micro-batch in training, in multiples of its even share; assignments "
           "beyond it are dropped, the smallest weights first, and the token's other experts make up for "
           "them. 0: nothing is dropped."));
  keys.push_back(real("moe.z_loss", "0", 0, 1e3,
                      "Weight of each layer's router z-loss, which keeps the router's logits small."));
  keys.push_back(real("moe.bias_update_speed", "0", 0, 1e3,
                      "What a step adds to the selection bias of experts with less than the mean load, and "
                      "takes from those with more: balance without a loss, for models that have such a bias "
                      "(DeepSeek-V3, GLM-4.5); 0: the bias stays."));
}

void add_precision_and_memory_keys(Keys& keys) {
  const std::vector<std::string> dtypes = {"fp32", "bf16", "fp16"};
  keys.push_back(
      choice("precision.param", "bf16", dtypes, "Gathered weights, activations and matrix products."));
  keys.push_back(choice("precision.reduce", "fp32", dtypes, "Gradients while they are reduced over ranks."));
  keys.push_back(choice("precision.output", "fp32", dtypes, "Logits and loss."));
  keys.push_back(choice("precision.master", "fp32", dtypes, "Weights that the optimizer updates."));
  keys.push_back(choice(
      "float8.recipe_name", "none", {"none", "tensorwise", "rowwise", "rowwise_with_gw_hp"},
      "Linear layers of decoder layers in float8, scaled by what is multiplied. tensorwise: a scale a "
      "tensor, "
      "gradients in e5m2; rowwise: a scale per row, all in e4m3; rowwise_with_gw_hp: likewise, weight "
      "gradients in precision.param. Sizes must be multiples of 16, others stay in precision.param; so do "
      "head, embeddings, routers and routed experts."));
  keys.push_back(
      flag("float8.enable_fsdp_float8_all_gather", false,
           "Of tensorwise: dp_shard's ranks cast their shards of the weights and gather one byte an "
           "element. The same results to the last bit."));
  keys.push_back(texts("float8.filter_fqns", "",
                       "Linear layers whose names contain one of these stay in precision.param."));
  keys.push_back(
      choice("memory.recompute", "none", {"none", "selective", "mlp", "full"},
             "Activations computed again in the backward pass: none, those of norms and element-wise "
             "functions, those and an MLP's gate and up projections, or all but each unit's input."));
  keys.push_back(
      choice("memory.cast_weights", "auto", {"auto", "on", "off"},
             "Weights in precision.param: cast from the master weights whenever a unit is gathered (on), or "
             "kept beside them, 2 bytes a parameter and dp_shard (off). auto: cast on GPUs where "
             "memory.recompute asks for memory. The same results to the last bit; ranks that share memory "
             "always keep them, once for all."));
  keys.push_back(
      flag("memory.offload", false,
           "On GPUs: sharded weights, gradients and optimizer state stay in host memory, where the "
           "optimizer runs; weights come and gradients go while the GPU computes."));
  keys.push_back(flag("memory.offload_activations", false,
                      "On GPUs: activations wait for their backward in host memory."));
  keys.push_back(
      text("memory.reshard_after_forward", "keep_last",
           "When a unit's full weights are given up after forward: true (always), false (never), keep_last "
           "(always but for the last unit), or a number n (kept split over groups of n ranks)."));
  keys.push_back(
      integer("memory.prefetch", "1", 0, 1 << 16, "Units gathered ahead of the one that computes."));
}

void add_plan_keys(Keys& keys) {
  keys.push_back(integer("world", "", 1, 1 << 20,
                         "tessera plan: ranks of the job that is planned; absent: ranks, or one."));
  keys.push_back(
      text("cluster", "",
           "tessera plan: what the job runs on. A name (a100-8x-ib, h100-8x-ib, h200-8x-ib, b200-8x-ib, "
           "cpu-local), here to measure this machine, or a map of figures, in place or in a .yaml or .json "
           "file. With it the best meshes are searched for, and the time of a step is estimated."));
  keys.push_back(integer("plan.top", "10", 1, 1000, "tessera plan: meshes that are shown."));
}

void add_output_keys(Keys& keys) {
  keys.push_back(text("output.dir", "", "Directory for checkpoints and the exported model."));
  keys.push_back(text("output.metrics", "", "File that gets one JSON object a step."));
  keys.push_back(integer("output.save_every", "0", 0, kMaxCount,
                         "Steps between checkpoints; 0: one after the last step."));
  keys.push_back(
      flag("output.resume", false, "Continue from the newest checkpoint in output.dir when there is one."));
  keys.push_back(flag("output.export", true, "Write a Hugging Face directory after the last step."));
  keys.push_back(choice("output.dtype", "", {"fp32", "bf16", "fp16"},
                        "Weights of that directory; absent: as precise as the master weights."));
  keys.push_back(integer("generate.max_new_tokens", "64", 1, 1 << 24, "Tokens that are generated at most."));
  keys.push_back(real("generate.temperature", "0", 0, 1e3, "0: the likeliest token is taken."));
  keys.push_back(
      real("generate.top_p", "1", 0, 1, "Samples from the likeliest tokens that hold this probability."));
  keys.push_back(
      integer("generate.top_k", "0", 0, 1 << 24, "Samples from this many of the likeliest tokens; 0: all."));
}

Keys make_keys() {
  Keys keys;
  add_job_keys(keys);
  add_data_keys(keys);
  add_train_keys(keys);
  add_parallel_keys(keys);
  add_moe_keys(keys);
  add_precision_and_memory_keys(keys);
  add_output_keys(keys);
  add_plan_keys(keys);
  return keys;
}

}  // namespace

const KeyTable& recipe_keys() {
  static const auto* table = new KeyTable(make_keys());  // lives until the process ends
  return *table;
}

}  // namespace tessera
