// Jobs through the C ABI: ranks as threads, collectives, training in all its calls, futures, events,
// checkpoints.
#include "job.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>

namespace {

/// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera_capi_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<float> floats(tessera_tensor tensor) {
  size_t bytes = 0;
  EXPECT_EQ(tessera_tensor_get_data(tensor, nullptr, 0, &bytes, nullptr), TESSERA_E_BUFFER);
  std::vector<float> out(bytes / sizeof(float));
  EXPECT_EQ(tessera_tensor_get_data(tensor, out.data(), bytes, &bytes, nullptr), TESSERA_OK);
  return out;
}

TEST(Job, CollectivesOfTheHostFollowTheAxes) {
  job::run(4, [](int rank, tessera_world world) {
    tessera_mesh_options options;
    tessera_mesh_options_init(&options, sizeof options);
    options.dp_replicate = 2;
    tessera_mesh mesh;
    ASSERT_OK(tessera_mesh_create(world, &options, &mesh, err));
    int64_t size = 0;
    ASSERT_OK(tessera_mesh_get_size(mesh, "dp", &size, err));
    EXPECT_EQ(size, 4);
    int32_t ranks[4];
    size_t count = 0;
    ASSERT_OK(tessera_mesh_get_ranks(mesh, "dp_replicate", ranks, 4, &count, err));
    EXPECT_EQ(std::vector<int32_t>(ranks, ranks + count), (std::vector<int32_t>{rank % 2, rank % 2 + 2}));

    float memory[] = {float(rank), 1};
    const int64_t dims[] = {2};
    tessera_tensor view;
    ASSERT_OK(tessera_tensor_create_view(TESSERA_DTYPE_F32, dims, 1, memory, sizeof memory, &view, err));
    ASSERT_OK(tessera_mesh_all_reduce(mesh, "dp", view, TESSERA_REDUCE_SUM, err));
    EXPECT_EQ(memory[0], 6);
    EXPECT_EQ(memory[1], 4);
    memory[0] = float(rank);
    ASSERT_OK(tessera_mesh_broadcast(mesh, "dp_shard", view, 1, err));
    EXPECT_EQ(memory[0], rank < 2 ? 1 : 3);

    const int64_t whole_dims[] = {4, 2};
    tessera_tensor whole;
    ASSERT_OK(tessera_tensor_create(TESSERA_DTYPE_F32, whole_dims, 2, nullptr, 0, &whole, err));
    memory[0] = float(rank);
    ASSERT_OK(tessera_mesh_all_gather(mesh, "dp", view, whole, err));
    const std::vector<float> gathered = floats(whole);
    for (int r = 0; r < 4; ++r) EXPECT_EQ(gathered[2 * r], r);
    ASSERT_OK(tessera_mesh_reduce_scatter(mesh, "dp", whole, view, TESSERA_REDUCE_AVG, err));
    EXPECT_EQ(memory[0], rank);
    tessera_tensor other;
    ASSERT_OK(tessera_tensor_create(TESSERA_DTYPE_F32, whole_dims, 2, nullptr, 0, &other, err));
    ASSERT_OK(tessera_mesh_all_to_all(mesh, "dp", whole, other, err));
    EXPECT_EQ(floats(other)[6], rank);
    ASSERT_OK(tessera_mesh_barrier(mesh, "dp", err));

    tessera_error error;
    EXPECT_EQ(tessera_mesh_all_gather(mesh, "dp_shard", view, whole, &error), TESSERA_E_ARGUMENT);
    EXPECT_STREQ(error.message, "output has 8 elements instead of 2 times the 2 of input");
    EXPECT_EQ(tessera_mesh_barrier(mesh, "dq", &error), TESSERA_E_ARGUMENT) << error.message;
    EXPECT_EQ(tessera_mesh_broadcast(mesh, "dp", view, 4, &error), TESSERA_E_ARGUMENT);
    tessera_tensor_destroy(view);
    tessera_tensor_destroy(whole);
    tessera_tensor_destroy(other);
    tessera_mesh_destroy(mesh);
    ASSERT_OK(tessera_world_close(world, err));
  });
}

TEST(Job, AMeshThatDoesNotFitIsRefusedByAllRanks) {
  job::run(4, [](int, tessera_world world) {
    tessera_mesh_options options;
    tessera_mesh_options_init(&options, sizeof options);
    options.tp = 3;
    tessera_mesh mesh{77};
    tessera_error error;
    EXPECT_EQ(tessera_mesh_create(world, &options, &mesh, &error), TESSERA_E_ARGUMENT);
    EXPECT_EQ(mesh.id, 77U);
    EXPECT_NE(std::strstr(error.message, "3"), nullptr) << error.message;
  });
}

struct Trained {
  std::vector<double> losses;
  std::vector<float> weights;
};

/// Two steps on `size` ranks; every rank sees all four batches of the step when size is 1.
Trained train(int size) {
  Trained result;
  job::run(size, [&](int rank, tessera_world world) {
    tessera_mesh mesh;
    ASSERT_OK(tessera_mesh_create(world, nullptr, &mesh, err));
    const tessera_model model = job::model();
    const tessera_config config = job::config({{"train.seed", "3"}, {"optimizer.lr", "0.01"}});
    tessera_trainer trainer;
    ASSERT_OK(tessera_trainer_create(mesh, model, config, &trainer, err));
    // Whatever the host lets go early, the trainer keeps.
    tessera_mesh_destroy(mesh);
    tessera_model_destroy(model);
    tessera_config_destroy(config);
    for (int step = 0; step < 3; ++step) {
      tessera_batch batch;
      ASSERT_OK(tessera_batch_create(&batch, err));
      for (int part = rank * 4 / size; part < (rank + 1) * 4 / size; ++part) {
        std::vector<int64_t> tokens;
        for (int i = 0; i < 12; ++i) tokens.push_back((i * 7 + part * 5 + step * 3) % 64);
        const int64_t lengths[] = {7, 5};
        ASSERT_OK(tessera_batch_push(batch, tokens.data(), nullptr, 12, lengths, 2, err));
      }
      tessera_metrics metrics;
      tessera_metrics_init(&metrics, sizeof metrics);
      ASSERT_OK(tessera_trainer_step(trainer, batch, &metrics, err));
      EXPECT_EQ(metrics.step, step + 1);
      EXPECT_EQ(metrics.label_tokens, 4 * 10);
      EXPECT_GT(metrics.grad_norm, 0);
      if (rank == 0) result.losses.push_back(metrics.loss);
      tessera_batch_destroy(batch);
    }
    tessera_tensor weight;
    ASSERT_OK(tessera_trainer_get_parameter(trainer, "model.layers.1.mlp.down_proj.weight", &weight, err));
    if (rank == 0) result.weights = floats(weight);
    tessera_tensor_destroy(weight);
    tessera_trainer_destroy(trainer);
  });
  return result;
}

TEST(Job, FourRanksTrainLikeOneAndLeaveNothingBehind) {
  const int64_t before = job::live_handles();
  const Trained one = train(1);
  const Trained four = train(4);
  ASSERT_EQ(one.losses.size(), 3U);
  ASSERT_EQ(four.losses.size(), 3U);
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(one.losses[i], four.losses[i], 1e-5 * one.losses[i]);
  ASSERT_EQ(one.weights.size(), four.weights.size());
  for (size_t i = 0; i < one.weights.size(); ++i) EXPECT_NEAR(one.weights[i], four.weights[i], 2e-3);
  EXPECT_LT(one.losses[0], 6);
  EXPECT_EQ(job::live_handles(), before);
}

/// A trainer on one rank, for calls where other ranks do not matter.
class OneRank : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = job::live_handles();
    ASSERT_OK(tessera_world_create_threads(1, job::one_thread_each(), &world_, err));
    ASSERT_OK(tessera_mesh_create(world_, nullptr, &mesh_, err));
    model_ = job::model();
    config_ = job::config({{"optimizer.lr", "0.01"}, {"generate.max_new_tokens", "4"}});
    ASSERT_OK(tessera_trainer_create(mesh_, model_, config_, &trainer_, err));
    batch_ = job::batch(0, 0);
    tessera_metrics_init(&metrics_, sizeof metrics_);
  }
  void TearDown() override {
    tessera_batch_destroy(batch_);
    tessera_trainer_destroy(trainer_);
    tessera_config_destroy(config_);
    tessera_model_destroy(model_);
    tessera_mesh_destroy(mesh_);
    tessera_world_destroy(world_);
    EXPECT_EQ(job::live_handles(), before_);
  }

  int64_t before_ = 0;
  tessera_world world_{};
  tessera_mesh mesh_{};
  tessera_model model_{};
  tessera_config config_{};
  tessera_trainer trainer_{};
  tessera_batch batch_{};
  tessera_metrics metrics_{};
};

TEST_F(OneRank, TheHalvesOfAStepMakeAStep) {
  ASSERT_OK(tessera_trainer_forward_backward(trainer_, batch_, 0, &metrics_, err));
  const double loss = metrics_.loss;
  tessera_tensor gradient;
  ASSERT_OK(tessera_trainer_get_gradient(trainer_, "model.norm.weight", &gradient, err));
  double norm = 0;
  for (const float value : floats(gradient)) norm += value * value;
  EXPECT_GT(norm, 0);
  tessera_tensor_destroy(gradient);
  ASSERT_OK(tessera_trainer_optimizer_step(trainer_, &metrics_, err));
  EXPECT_EQ(metrics_.step, 1);
  ASSERT_OK(tessera_trainer_evaluate(trainer_, batch_, &metrics_, err));
  EXPECT_LT(metrics_.loss, loss);
  EXPECT_EQ(metrics_.label_tokens, 10);
  ASSERT_OK(tessera_trainer_forward_backward(trainer_, batch_, 0, nullptr, err));
  ASSERT_OK(tessera_trainer_zero_grad(trainer_, err));
  int64_t steps = 0;
  ASSERT_OK(tessera_trainer_get_step_count(trainer_, &steps, err));
  EXPECT_EQ(steps, 1);
}

TEST_F(OneRank, ParametersGoOutAndInByName) {
  int64_t count = 0;
  ASSERT_OK(tessera_trainer_count_parameters(trainer_, &count, err));
  EXPECT_EQ(count, 2 * 9 + 3);
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) {
    char name[256];
    size_t length = 0;
    ASSERT_OK(tessera_trainer_get_parameter_name(trainer_, i, name, sizeof name, &length, err));
    names.emplace_back(name);
  }
  EXPECT_NE(std::find(names.begin(), names.end(), "model.layers.1.self_attn.q_proj.weight"), names.end());
  const int64_t dims[] = {32};
  const std::vector<float> twos(32, 2.0F);
  tessera_tensor tensor;
  ASSERT_OK(tessera_tensor_create(TESSERA_DTYPE_F32, dims, 1, twos.data(), 128, &tensor, err));
  ASSERT_OK(tessera_trainer_set_parameter(trainer_, "model.norm.weight", tensor, err));
  tessera_tensor_destroy(tensor);
  ASSERT_OK(tessera_trainer_get_parameter(trainer_, "model.norm.weight", &tensor, err));
  EXPECT_EQ(floats(tensor), twos);
  tessera_error error;
  tessera_tensor none{5};
  EXPECT_EQ(tessera_trainer_get_parameter(trainer_, "model.norm.weights", &none, &error), TESSERA_E_NOT_FOUND)
      << error.message;
  EXPECT_NE(tessera_trainer_set_parameter(trainer_, "lm_head.weight", tensor, &error), TESSERA_OK);
  EXPECT_EQ(none.id, 5U);
  tessera_tensor_destroy(tensor);
}

TEST_F(OneRank, GenerationFillsTheBufferOrSaysHowLarge) {
  const int64_t prompt[] = {1, 5, 9};
  tessera_generate_options options;
  tessera_generate_options_init(&options, sizeof options);
  options.max_new_tokens = 5;
  int64_t tokens[5];
  size_t length = 0;
  tessera_error error;
  EXPECT_EQ(tessera_trainer_generate(trainer_, prompt, 3, &options, tokens, 4, &length, &error),
            TESSERA_E_BUFFER);
  EXPECT_EQ(length, 5U);
  ASSERT_OK(tessera_trainer_generate(trainer_, prompt, 3, &options, tokens, 5, &length, err));
  ASSERT_GE(length, 1U);
  const int64_t outside[] = {1, 64};
  EXPECT_EQ(tessera_trainer_generate(trainer_, outside, 2, &options, tokens, 5, &length, &error),
            TESSERA_E_ARGUMENT)
      << error.message;
  // The asynchronous form gives the same.
  tessera_future future;
  ASSERT_OK(tessera_trainer_generate_async(trainer_, prompt, 3, &options, &future, err));
  ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
  int64_t again[5];
  size_t again_length = 0;
  ASSERT_OK(tessera_future_get_tokens(future, again, 5, &again_length, err));
  EXPECT_EQ(std::vector<int64_t>(tokens, tokens + length), std::vector<int64_t>(again, again + again_length));
  tessera_future_destroy(future);
  tessera_tensor logits;
  ASSERT_OK(tessera_trainer_get_logits(trainer_, batch_, &logits, err));
  EXPECT_EQ(floats(logits).size(), 12U * 64U);
  tessera_tensor_destroy(logits);
}

TEST_F(OneRank, FuturesGiveResultsErrorsAndHandOverOnce) {
  tessera_future future;
  ASSERT_OK(tessera_trainer_step_async(trainer_, batch_, &future, err));
  ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
  int32_t done = 0;
  ASSERT_OK(tessera_future_poll(future, &done, err));
  EXPECT_EQ(done, 1);
  ASSERT_OK(tessera_future_get_result(future, err));
  ASSERT_OK(tessera_future_get_metrics(future, &metrics_, err));
  EXPECT_EQ(metrics_.step, 1);
  tessera_error error;
  tessera_tensor tensor;
  EXPECT_EQ(tessera_future_get_tensor(future, &tensor, &error), TESSERA_E_STATE);
  tessera_future_destroy(future);

  ASSERT_OK(tessera_trainer_get_parameter_async(trainer_, "lm_head.weight", &future, err));
  ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
  ASSERT_OK(tessera_future_get_tensor(future, &tensor, err));
  tessera_tensor_destroy(tensor);
  EXPECT_EQ(tessera_future_get_tensor(future, &tensor, &error), TESSERA_E_STATE);
  tessera_future_destroy(future);

  ASSERT_OK(tessera_trainer_get_parameter_async(trainer_, "no.such", &future, err));
  ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
  EXPECT_EQ(tessera_future_get_result(future, &error), TESSERA_E_NOT_FOUND);
  EXPECT_NE(std::strstr(error.message, "no.such"), nullptr) << error.message;
  tessera_future_destroy(future);
}

/// Two ranks and their meshes, driven from one thread by the asynchronous calls.
class TwoRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(tessera_world_create_threads(2, job::one_thread_each(), worlds_, err));
    tessera_future made[2];
    for (int r = 0; r < 2; ++r) ASSERT_OK(tessera_mesh_create_async(worlds_[r], nullptr, &made[r], err));
    for (int r = 0; r < 2; ++r) {
      ASSERT_OK(tessera_future_wait(made[r], TESSERA_FOREVER, err));
      ASSERT_OK(tessera_future_get_mesh(made[r], &meshes_[r], err));
      tessera_future_destroy(made[r]);
    }
  }
  void TearDown() override {
    for (int r = 0; r < 2; ++r) {
      tessera_mesh_destroy(meshes_[r]);
      tessera_world_destroy(worlds_[r]);
    }
  }

  tessera_world worlds_[2] = {};
  tessera_mesh meshes_[2] = {};
};

TEST_F(TwoRanks, ASecondCallOnABusyObjectIsRefused) {
  tessera_future first;
  ASSERT_OK(tessera_mesh_barrier_async(meshes_[0], "dp", &first, err));
  tessera_error error;
  EXPECT_EQ(tessera_mesh_barrier(meshes_[0], "dp", &error), TESSERA_E_BUSY);
  int32_t done = 1;
  ASSERT_OK(tessera_future_poll(first, &done, err));
  EXPECT_EQ(done, 0);
  EXPECT_EQ(tessera_future_wait(first, 1000000, &error), TESSERA_E_TIMEOUT);
  EXPECT_EQ(tessera_future_get_result(first, &error), TESSERA_E_STATE);
  tessera_future both[2] = {first, {}};
  ASSERT_OK(tessera_mesh_barrier_async(meshes_[1], "dp", &both[1], err));
  int64_t index = -1;
  ASSERT_OK(tessera_future_wait_any(both, 2, TESSERA_FOREVER, &index, err));
  EXPECT_TRUE(index == 0 || index == 1);
  for (const tessera_future future : both) {
    ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
    ASSERT_OK(tessera_future_get_result(future, err));
    tessera_future_destroy(future);
  }
}

TEST_F(TwoRanks, WorkThatHasNotBegunCanBeCancelled) {
  // Rank 0 waits for rank 1, so what follows it on rank 0's thread is still queued.
  tessera_future waiting;
  ASSERT_OK(tessera_mesh_barrier_async(meshes_[0], "dp", &waiting, err));
  while (true) {  // until it has begun: only then can it not be cancelled
    tessera_error error;
    if (tessera_future_wait(waiting, 20000000, &error) == TESSERA_E_TIMEOUT) break;
  }
  tessera_future queued;
  ASSERT_OK(tessera_mesh_create_async(worlds_[0], nullptr, &queued, err));
  ASSERT_OK(tessera_future_cancel(queued, err));
  ASSERT_OK(tessera_future_cancel(waiting, err));
  tessera_error error;
  EXPECT_EQ(tessera_future_get_result(queued, &error), TESSERA_E_CANCELLED);
  EXPECT_EQ(tessera_future_get_result(waiting, &error), TESSERA_E_STATE);
  tessera_future_destroy(queued);
  // The world is free again at once, though its thread is still busy.
  ASSERT_OK(tessera_mesh_create_async(worlds_[0], nullptr, &queued, err));
  ASSERT_OK(tessera_future_cancel(queued, err));
  tessera_future_destroy(queued);

  ASSERT_OK(tessera_world_abort(worlds_[1], "the test says so", err));
  ASSERT_OK(tessera_future_wait(waiting, TESSERA_FOREVER, err));
  EXPECT_EQ(tessera_future_get_result(waiting, &error), TESSERA_E_PEER_FAILED) << error.message;
  EXPECT_EQ(error.rank, 1);
  tessera_future_destroy(waiting);
}

TEST_F(OneRank, EventsTellOfStepsFailuresAndCheckpoints) {
  const TemporaryFolder folder;
  tessera_events events;
  ASSERT_OK(tessera_events_create(0, &events, err));
  ASSERT_OK(tessera_trainer_set_events(trainer_, events, err));
  ASSERT_OK(tessera_trainer_step(trainer_, batch_, nullptr, err));
  tessera_tensor none;
  EXPECT_EQ(tessera_trainer_get_parameter(trainer_, "no.such", &none, nullptr), TESSERA_E_NOT_FOUND);
  ASSERT_OK(tessera_checkpoint_save(trainer_, (folder / "c").c_str(), tessera_dataset{0}, err));
  tessera_event event;
  tessera_event_init(&event, sizeof event);
  ASSERT_OK(tessera_events_next(events, 0, &event, err));
  EXPECT_EQ(event.type, TESSERA_EVENT_METRICS);
  EXPECT_EQ(event.step, 1);
  EXPECT_GT(event.loss, 0);
  ASSERT_OK(tessera_events_next(events, 0, &event, err));
  EXPECT_EQ(event.type, TESSERA_EVENT_FAILURE);
  EXPECT_EQ(event.status, TESSERA_E_NOT_FOUND);
  ASSERT_OK(tessera_events_next(events, 0, &event, err));
  EXPECT_EQ(event.type, TESSERA_EVENT_CHECKPOINT);
  tessera_events_destroy(events);
  ASSERT_OK(tessera_trainer_step(trainer_, batch_, nullptr, err));
}

TEST_F(OneRank, PushedDocumentsAreADatasetWhosePositionIsSaved) {
  const TemporaryFolder folder;
  const tessera_config config = job::config({{"train.global_batch", "2"}, {"data.epochs", "2"}});
  tessera_dataset data;
  ASSERT_OK(tessera_dataset_create(config, mesh_, model_, &data, err));
  tessera_batch batch;
  tessera_error error;
  EXPECT_EQ(tessera_dataset_next(data, &batch, &error), TESSERA_E_STATE);
  for (int64_t d = 0; d < 6; ++d) {
    const int64_t tokens[] = {d, d + 1, d + 2};
    ASSERT_OK(tessera_dataset_push(data, tokens, nullptr, 3, err));
  }
  const int64_t outside[] = {1, 64};
  EXPECT_EQ(tessera_dataset_push(data, outside, nullptr, 2, &error), TESSERA_E_ARGUMENT) << error.message;
  ASSERT_OK(tessera_dataset_push_end(data, err));
  EXPECT_EQ(tessera_dataset_push_end(data, &error), TESSERA_E_STATE);
  int64_t steps = 0;
  ASSERT_OK(tessera_dataset_count_steps(data, &steps, err));
  EXPECT_EQ(steps, 3);
  std::vector<int64_t> firsts;
  const auto take = [&] {
    ASSERT_OK(tessera_dataset_next(data, &batch, err));
    int64_t tokens[16];
    size_t length = 0;
    ASSERT_OK(tessera_batch_get_array(batch, 0, TESSERA_BATCH_TOKENS, tokens, 16, &length, err));
    firsts.push_back(tokens[0]);
    ASSERT_OK(tessera_trainer_step(trainer_, batch, nullptr, err));
    tessera_batch_destroy(batch);
  };
  take();
  ASSERT_OK(tessera_checkpoint_save(trainer_, (folder / "c").c_str(), data, err));
  for (int i = 0; i < 5; ++i) take();
  EXPECT_EQ(tessera_dataset_next(data, &batch, &error), TESSERA_E_END);
  const std::vector<int64_t> first_pass(firsts);
  firsts.clear();
  ASSERT_OK(tessera_checkpoint_load(trainer_, (folder / "c").c_str(), data, err));
  int64_t at = 0;
  ASSERT_OK(tessera_trainer_get_step_count(trainer_, &at, err));
  EXPECT_EQ(at, 1);
  take();
  EXPECT_EQ(firsts[0], first_pass[1]);
  tessera_dataset_destroy(data);
  tessera_config_destroy(config);
}

TEST_F(OneRank, AnExportOpensAgainWithTheSameLoss) {
  const TemporaryFolder folder;
  ASSERT_OK(tessera_trainer_step(trainer_, batch_, nullptr, err));
  ASSERT_OK(tessera_trainer_evaluate(trainer_, batch_, &metrics_, err));
  const double loss = metrics_.loss;
  const std::string path = folder / "hf";
  ASSERT_OK(tessera_checkpoint_export(trainer_, path.c_str(), "fp32", err));
  tessera_error error;
  EXPECT_EQ(tessera_checkpoint_export(trainer_, path.c_str(), "int3", &error), TESSERA_E_ARGUMENT);
  tessera_model model;
  ASSERT_OK(tessera_model_open(path.c_str(), &model, err));
  int64_t parameters = 0;
  ASSERT_OK(tessera_model_get_parameter_count(model, &parameters, err));
  EXPECT_GT(parameters, 0);
  tessera_trainer again;
  ASSERT_OK(tessera_trainer_create(mesh_, model, config_, &again, err));
  ASSERT_OK(tessera_trainer_evaluate(again, batch_, &metrics_, err));
  EXPECT_DOUBLE_EQ(metrics_.loss, loss);
  tessera_trainer_destroy(again);
  tessera_model_destroy(model);
}

TEST_F(OneRank, TheProgramIsText) {
  size_t length = 0;
  EXPECT_EQ(tessera_trainer_get_program(trainer_, 2, nullptr, 0, &length, nullptr), TESSERA_E_BUFFER);
  std::string text(length + 1, '\0');
  ASSERT_OK(tessera_trainer_get_program(trainer_, 2, text.data(), text.size(), &length, err));
  EXPECT_NE(text.find("forward u1 mb1"), std::string::npos) << text;
}

std::string timeline(const tessera_timeline_options* options, const std::string& pp, int64_t world,
                     tessera_error* err) {
  const tessera_model model = job::model();
  const tessera_config config = job::config({{"parallel.pp", pp}, {"train.global_batch", "4"}});
  std::string text;
  size_t length = 0;
  tessera_status status = tessera_plan_get_timeline(model, config, world, options, nullptr, 0, &length, err);
  if (status == TESSERA_E_BUFFER) {
    text.resize(length + 1);
    status = tessera_plan_get_timeline(model, config, world, options, text.data(), text.size(), &length, err);
    EXPECT_EQ(status, TESSERA_OK) << err->message;
    text.resize(length);
  }
  tessera_config_destroy(config);
  tessera_model_destroy(model);
  return text;
}

TEST(Job, ATimelineIsTextAnImageOrATrace) {
  tessera_error err{};
  tessera_timeline_options options;
  ASSERT_EQ(tessera_timeline_options_init(&options, sizeof options), TESSERA_OK);
  const std::string text = timeline(nullptr, "2", 2, &err);
  EXPECT_EQ(text, timeline(&options, "2", 2, &err)) << "the defaults";
  EXPECT_EQ(text.rfind("1f1b over pp=2, 4 micro-batches; backward 2 forwards", 0), 0U) << text;
  EXPECT_NE(text.find("\nrank 1  ..."), std::string::npos) << text;
  options.format = TESSERA_TIMELINE_COLOUR;
  EXPECT_NE(timeline(&options, "2", 2, &err).find('\x1b'), std::string::npos);
  options.format = TESSERA_TIMELINE_SVG;
  EXPECT_EQ(timeline(&options, "2", 2, &err).rfind("<svg", 0), 0U);
  options.format = TESSERA_TIMELINE_TRACE;
  EXPECT_NE(timeline(&options, "2", 4, &err).find("\"traceEvents\""), std::string::npos);
  options.format = TESSERA_TIMELINE_TEXT;
  options.collective = 0.5;
  EXPECT_NE(timeline(&options, "1", 2, &err).find("\ncomm "), std::string::npos)
      << "a rank and its collectives";

  options.transfer = -1;
  EXPECT_EQ(timeline(&options, "2", 2, &err), "");
  EXPECT_STREQ(err.message, "cost transfer=-1 must be between 0 and 1e9");
  options.transfer = 0;
  options.columns = 39;
  EXPECT_EQ(timeline(&options, "2", 2, &err), "");
  EXPECT_STREQ(err.message, "columns=39 must be between 40 and 1000");
  options.format = 4;
  EXPECT_EQ(timeline(&options, "2", 2, &err), "");
  EXPECT_STREQ(err.message, "format=4 is not a tessera_timeline_format");
  EXPECT_EQ(timeline(nullptr, "3", 2, &err), "");
  EXPECT_EQ(err.code, TESSERA_E_ARGUMENT);
}

TEST(Job, ARegisteredTensorParallelPlanIsUsedByItsName) {
  const tessera_model model = job::model();
  const tessera_config config = job::config({{"parallel.tp", "2"}, {"parallel.tp_plan", "mine"}});
  tessera_error err{};
  char text[8192];
  size_t length = 0;
  const auto plan = [&] {
    return tessera_plan_get_text(model, config, 2, TESSERA_PLAN_SUMMARY, text, sizeof text, &length, &err);
  };
  EXPECT_EQ(plan(), TESSERA_E_IO);
  EXPECT_NE(std::strstr(err.message, "\"mine\" is neither auto"), nullptr) << err.message;
  ASSERT_OK(tessera_model_set_tp_plan(model, "mine", R"({"*": "replicate", "layers.*.mlp.*_proj": "colwise",
      "layers.*.mlp.down_proj": "rowwise"})",
                                      err));
  EXPECT_EQ(plan(), TESSERA_OK) << err.message;
  EXPECT_NE(std::strstr(text, "tensor parallel plan: the user's, registered as mine"), nullptr) << text;
  const tessera_model other = job::model();
  EXPECT_EQ(tessera_plan_get_text(other, config, 2, TESSERA_PLAN_SUMMARY, text, sizeof text, &length, &err),
            TESSERA_E_IO)
      << "a plan belongs to one model";
  EXPECT_EQ(tessera_model_set_tp_plan(model, "auto", "{}", &err), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_model_set_tp_plan(model, "p", "[", &err), TESSERA_E_FORMAT);
  tessera_model_destroy(other);
  tessera_model_destroy(model);
  tessera_config_destroy(config);
}

TEST(Job, DestroyWhileAStepRunsIsSafe) {
  const int64_t before = job::live_handles();
  for (int round = 0; round < 20; ++round) {
    tessera_world world;
    ASSERT_OK(tessera_world_create_threads(1, job::one_thread_each(), &world, err));
    tessera_mesh mesh;
    ASSERT_OK(tessera_mesh_create(world, nullptr, &mesh, err));
    const tessera_model model = job::model();
    const tessera_config config = job::config();
    tessera_trainer trainer;
    ASSERT_OK(tessera_trainer_create(mesh, model, config, &trainer, err));
    const tessera_batch batch = job::batch(0, round);
    tessera_future future;
    ASSERT_OK(tessera_trainer_step_async(trainer, batch, &future, err));
    // In an order that is wrong on purpose.
    tessera_world_destroy(world);
    tessera_batch_destroy(batch);
    tessera_trainer_destroy(trainer);
    tessera_mesh_destroy(mesh);
    tessera_config_destroy(config);
    tessera_model_destroy(model);
    ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
    ASSERT_OK(tessera_future_get_result(future, err));
    tessera_future_destroy(future);
  }
  EXPECT_EQ(job::live_handles(), before);
}

}  // namespace
