// One rank's trainer through the C ABI: parts of a step, parameters, generation, events, datasets, exports.
#include "one_rank.h"

#include <cstring>

namespace {

using job::floats;
using job::OneRank;
using job::TemporaryFolder;

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

}  // namespace
