// What a random host has before it begins, and operations in which all ranks of a job take part.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "host.h"

namespace random_host {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr int64_t kSlower = 6;
#elif defined(__SANITIZE_ADDRESS__)
constexpr int64_t kSlower = 2;
#else
constexpr int64_t kSlower = 1;
#endif

constexpr const char* kLlama =
    R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64,
 "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
 "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2})";
constexpr const char* kMixtral =
    R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 64,
 "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
 "torch_dtype": "float32", "num_local_experts": 4, "num_experts_per_tok": 2, "bos_token_id": 1, "eos_token_id": 2})";

void write_file(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

void write_files(const std::string& folder) {
  write_file(folder + "/model/config.json", kLlama);
  write_file(folder + "/rows.jsonl",
             "{\"input_ids\": [1, 2, 3, 4]}\n{\"input_ids\": [5, 6], \"labels\": [-100, 6]}\n"
             "{\"input_ids\": [7, 8, 9]}\n{\"input_ids\": [3, 1, 4, 1, 5, 9]}\n");
  write_file(folder + "/broken.jsonl", "{\"input_ids\": [1, 2\n[]\nnull\n{\"input_ids\": \"x\"}\n\xff\n");
  write_file(folder + "/recipe.yaml", "train: {seed: 3}\noptimizer: {lr: 1e-3}\n");
  write_file(
      folder + "/tokenizer/tokenizer.json",
      R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":3,"content":"<end>","single_word":false,
 "lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":null,"pre_tokenizer":{"type":"Whitespace"},
 "post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"<unk>":0,"hello":1,"world":2,"user":4,"hi":5},
 "unk_token":"<unk>"}})");
  write_file(
      folder + "/tokenizer/tokenizer_config.json",
      R"({"eos_token":"<end>","chat_template":"{% for m in messages %}{{ m.role }} {{ m.content }} <end> {% endfor %}"})");
}

/// Degrees that make up `size`, or not quite.
tessera_mesh_options mesh_of(Caller& caller, int64_t size) {
  tessera_mesh_options options;
  tessera_mesh_options_init(&options, sizeof options);
  int64_t* const axes[] = {&options.pp, &options.dp_replicate, &options.cp, &options.tp};
  for (int64_t left = size; left % 2 == 0 && caller.chance(70); left /= 2) {
    int64_t& degree = *axes[caller.below(std::size(axes))];
    degree = std::max<int64_t>(degree, 1) * 2;
  }
  if (caller.chance(10)) options.ep = 2;
  return options;
}

tessera_batch batch_of(Caller& caller) {
  tessera_batch batch{};
  tessera_batch_create(&batch, nullptr);
  caller.host.made(TESSERA_KIND_BATCH, batch.id);
  for (uint64_t parts = 1 + caller.below(2); parts > 0; --parts) {
    std::vector<int64_t> tokens(16);
    for (int64_t& token : tokens) token = static_cast<int64_t>(caller.below(64));
    const int64_t lengths[] = {8, 8};
    tessera_batch_push(batch, tokens.data(), nullptr, 16, lengths, 2, nullptr);
  }
  return batch;
}

/// Waits for all, however long: a job's timeout is what ends them.
void wait_for(Caller& caller, const std::vector<tessera_future>& futures) {
  for (const tessera_future future : futures) {
    tessera_error err;
    caller.begin("tessera_future_wait");
    caller.running.store(caller.call.name);
    caller.end(tessera_future_wait(future, TESSERA_FOREVER, &err), &err);
    caller.begin("tessera_future_get_result");
    caller.running.store(caller.call.name);
    const tessera_status status = tessera_future_get_result(future, &err);
    caller.end(status, &err);
    if (status == TESSERA_E_STATE && std::strstr(err.message, "has not ended") != nullptr)
      fail("a future that was waited for has not ended");
  }
}

void destroy(Caller& caller, const std::vector<tessera_future>& futures) {
  for (const tessera_future future : futures) {
    tessera_future_destroy(future);
    caller.host.destroyed(TESSERA_KIND_FUTURE, future.id);
  }
}

/// The same call on every seat, in any order; `start` gets the seat and the future to fill.
template <class Start>
std::vector<tessera_future> on_every(Caller& caller, const char* name, size_t seats, Start start,
                                     bool all = false) {
  std::vector<size_t> order(seats);
  for (size_t i = 0; i < seats; ++i) order[i] = i;
  for (size_t i = seats; i > 1; --i) std::swap(order[i - 1], order[caller.below(i)]);
  std::vector<tessera_future> futures;
  for (const size_t seat : order) {
    if (!all && caller.chance(3)) continue;  // a rank that does not take part
    tessera_future future{};
    tessera_error err;
    caller.begin(name);
    caller.note(" rank " + std::to_string(seat));
    caller.running.store(name);
    const tessera_status status = start(seat, &future, &err);
    caller.end(status, &err);
    if (status != TESSERA_OK) continue;
    caller.host.made(TESSERA_KIND_FUTURE, future.id);
    futures.push_back(future);
  }
  if (!all && !futures.empty() && caller.chance(3)) tessera_future_cancel(caller.one_of(futures), nullptr);
  return futures;
}

tessera_config config_of(Caller& caller, int odd_keys) {
  tessera_config config{};
  tessera_config_create(&config, nullptr);
  caller.host.made(TESSERA_KIND_CONFIG, config.id);
  tessera_config_set(config, "precision.param", "fp32", nullptr);
  for (int i = 0; i < odd_keys; ++i) {
    const tessera_key_info key = caller.key();
    const std::string value = caller.value_of(key, caller.chance(20));
    tessera_error err;
    caller.begin("tessera_config_set");
    caller.note(std::string(" ") + key.name + "=" + value.substr(0, 40));
    caller.end(tessera_config_set(config, key.name, value.c_str(), &err), &err);
  }
  return config;
}

}  // namespace

void make_job(Caller& caller) {
  Host& host = caller.host;
  const auto size = static_cast<int32_t>(1 + caller.below(4));
  tessera_world_options options;
  tessera_world_options_init(&options, sizeof options);
  options.intra_op_threads = 1;
  options.allocator = TESSERA_ALLOCATOR_SYSTEM;  // so that sanitizers see what is freed
  options.timeout_ns = kSlower * (150 + 50 * static_cast<int64_t>(caller.below(6))) * 1'000'000;
  std::vector<tessera_world> worlds(static_cast<size_t>(size));
  if (tessera_world_create_threads(size, &options, worlds.data(), nullptr) != TESSERA_OK)
    fail("no rank threads");
  Job job(worlds.size());
  for (size_t r = 0; r < worlds.size(); ++r) {
    job[r].world = worlds[r];
    host.made(TESSERA_KIND_WORLD, worlds[r].id);
  }
  const tessera_mesh_options mesh = mesh_of(caller, size);
  const auto meshes = on_every(
      caller, "tessera_mesh_create_async", job.size(),
      [&](size_t r, auto* out, auto* err) {
        return tessera_mesh_create_async(job[r].world, &mesh, out, err);
      },
      caller.chance(90));
  wait_for(caller, meshes);
  for (const tessera_future future : meshes) {
    tessera_mesh made{};
    if (tessera_future_get_mesh(future, &made, nullptr) != TESSERA_OK) continue;
    host.made(TESSERA_KIND_MESH, made.id);
    int64_t rank = 0;
    if (tessera_mesh_get_index(made, "world", &rank, nullptr) == TESSERA_OK)
      job[static_cast<size_t>(rank)].mesh = made;
  }
  destroy(caller, meshes);
  tessera_model model{};
  if (caller.chance(90)) {
    tessera_model_create(caller.chance(70) ? kLlama : kMixtral, &model, nullptr);
  } else {
    tessera_model_open((host.folder + "/model").c_str(), &model, nullptr);
  }
  host.made(TESSERA_KIND_MODEL, model.id);
  const tessera_config config = config_of(caller, caller.chance(50) ? 0 : static_cast<int>(caller.below(5)));
  const auto trainers = on_every(
      caller, "tessera_trainer_create_async", job.size(),
      [&](size_t r, auto* out, auto* err) {
        return tessera_trainer_create_async(job[r].mesh, model, config, out, err);
      },
      caller.chance(90));
  wait_for(caller, trainers);
  size_t next = 0;
  for (const tessera_future future : trainers) {
    tessera_trainer made{};
    if (tessera_future_get_trainer(future, &made, nullptr) != TESSERA_OK) continue;
    host.made(TESSERA_KIND_TRAINER, made.id);
    job[next++].trainer = made;  // whose rank it is does not matter
  }
  destroy(caller, trainers);
  for (Seat& seat : job) {
    if (tessera_dataset_create(config, seat.mesh, model, &seat.dataset, nullptr) != TESSERA_OK) continue;
    host.made(TESSERA_KIND_DATASET, seat.dataset.id);
    const int64_t tokens[] = {1, 2, 3, 4, 5, 6};
    for (int i = 0; i < 6; ++i) tessera_dataset_push(seat.dataset, tokens, nullptr, 6 - i, nullptr);
    if (caller.chance(80)) tessera_dataset_push_end(seat.dataset, nullptr);
  }
  host.add_job(job);
}

void Caller::furnish() {
  write_files(host.folder);
  config_of(*this, 3);
  batch_of(*this);
  for (int i = 0; i < 3; ++i) {
    tessera_tensor tensor{};
    const int64_t dims[] = {4, 8};
    tessera_tensor_create(i == 2 ? TESSERA_DTYPE_BF16 : TESSERA_DTYPE_F32, dims, 2, nullptr, 0, &tensor,
                          nullptr);
    host.made(TESSERA_KIND_TENSOR, tensor.id);
  }
  tessera_tokenizer tokenizer{};
  tessera_error err;
  if (tessera_tokenizer_open((host.folder + "/tokenizer").c_str(), &tokenizer, &err) != TESSERA_OK)
    fail(err.message);
  host.made(TESSERA_KIND_TOKENIZER, tokenizer.id);
  tessera_events events{};
  tessera_events_create(4, &events, nullptr);
  host.made(TESSERA_KIND_EVENTS, events.id);
  for (uint64_t jobs = chance(20) ? 2 : 1; jobs > 0; --jobs) make_job(*this);
}

void Caller::call_together() {
  const Job job = host.job(below(1 << 20));
  if (job.empty()) return;
  const bool same = chance(95);
  std::string axis = chance(90) ? "world" : text("axis");
  const std::string directory =
      chance(90) ? host.folder + (chance(50) ? "/checkpoint" : "/checkpoint2") : path();
  const std::string parameter = text("name");
  const tessera_dataset none{};
  const uint64_t which = below(14);
  const int64_t count = small_number();
  const auto each = [&](const char* name, auto start) {
    auto futures = on_every(
        *this, name, job.size(),
        [&](size_t r, tessera_future* out, tessera_error* error) { return start(job[r], out, error); });
    const bool waits = chance(85);
    if (waits) wait_for(*this, futures);
    for (const tessera_future future : futures) {
      tessera_tensor tensor{};
      if (chance(50) && tessera_future_get_tensor(future, &tensor, nullptr) == TESSERA_OK)
        host.made(TESSERA_KIND_TENSOR, tensor.id);
    }
    destroy(*this, futures);
  };
  tessera_batch batch = batch_of(*this);
  const auto batch_for_rank = [&] { return same ? batch : batch = batch_of(*this); };
  switch (which) {
    case 0:
    case 1:
    case 2:
      return each("tessera_trainer_step_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_trainer_step_async(s.trainer, batch_for_rank(), out, err);
      });
    case 3:
      return each("tessera_trainer_forward_backward_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_trainer_forward_backward_async(s.trainer, batch_for_rank(),
                                                      same ? count : odd_number(), out, err);
      });
    case 4:
      return each("tessera_trainer_optimizer_step_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_trainer_optimizer_step_async(s.trainer, out, err);
      });
    case 5:
      return each("tessera_trainer_evaluate_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_trainer_evaluate_async(s.trainer, batch_for_rank(), out, err);
      });
    case 6: {
      const std::vector<int64_t> prompt(static_cast<size_t>(1 + count), 3);
      tessera_generate_options options;
      tessera_generate_options_init(&options, sizeof options);
      options.max_new_tokens = 3;
      return each("tessera_trainer_generate_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_trainer_generate_async(s.trainer, prompt.data(), same ? 1 + count : 1, &options, out,
                                              err);
      });
    }
    case 7:
      return each("tessera_trainer_get_parameter_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_trainer_get_parameter_async(s.trainer, same ? parameter.c_str() : "lm_head.weight",
                                                   out, err);
      });
    case 8:
      return each("tessera_trainer_get_gradient_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_trainer_get_gradient_async(s.trainer, same ? parameter.c_str() : "lm_head.weight", out,
                                                  err);
      });
    case 9:
      return each("tessera_checkpoint_save_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_checkpoint_save_async(s.trainer, same ? directory.c_str() : host.folder.c_str(),
                                             count == 0 ? s.dataset : none, out, err);
      });
    case 10:
      return each("tessera_checkpoint_load_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_checkpoint_load_async(s.trainer, same ? directory.c_str() : "nothing",
                                             count == 0 ? s.dataset : none, out, err);
      });
    case 11:
      return each("tessera_checkpoint_export_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_checkpoint_export_async(s.trainer, directory.c_str(), count == 0 ? "bf16" : nullptr,
                                               out, err);
      });
    case 12:
      return each("tessera_mesh_barrier_async", [&](const Seat& s, auto* out, auto* err) {
        return tessera_mesh_barrier_async(s.mesh, axis.c_str(), out, err);
      });
    default:
      if (chance(90)) {
        return each("tessera_mesh_all_reduce_async", [&](const Seat& s, auto* out, auto* err) {
          const tessera_tensor tensor{host.live(TESSERA_KIND_TENSOR, below(8))};
          return tessera_mesh_all_reduce_async(s.mesh, axis.c_str(), tensor, static_cast<int32_t>(count % 4),
                                               out, err);
        });
      }
      each("tessera_world_close_async",
           [&](const Seat& s, auto* out, auto* err) { return tessera_world_close_async(s.world, out, err); });
      make_job(*this);
  }
}

}  // namespace random_host
