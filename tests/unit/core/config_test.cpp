// Recipe keys: what is accepted, what is refused and with which words.
#include "core/config.h"

#include <gtest/gtest.h>

#include <functional>

#include "train/recipe.h"
#include "train/recipe_keys.h"

namespace tessera {
namespace {

std::string message_of(const std::function<void()>& call, Code code) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(Config, DefaultsMatchTheOptionStructs) {
  const Config config(recipe_keys());
  const TrainerOptions options = trainer_options(config);
  const TrainerOptions defaults;
  EXPECT_EQ(options.precision.param, defaults.precision.param);
  EXPECT_EQ(options.precision.master, defaults.precision.master);
  EXPECT_EQ(options.reshard.kind, defaults.reshard.kind);
  EXPECT_EQ(options.prefetch, defaults.prefetch);
  EXPECT_EQ(options.defer_gradient_sync, defaults.defer_gradient_sync);
  EXPECT_EQ(options.optimizer.beta2, defaults.optimizer.beta2);
  EXPECT_EQ(options.optimizer.eps, defaults.optimizer.eps);
  EXPECT_EQ(options.optimizer.weight_decay, defaults.optimizer.weight_decay);
  EXPECT_EQ(options.lr, defaults.lr);
  EXPECT_EQ(options.clip, defaults.clip);
  const DatasetOptions data = dataset_options(config, 1, 2);
  const DatasetOptions data_defaults;
  EXPECT_EQ(data.seq_len, data_defaults.seq_len);
  EXPECT_EQ(data.packing, data_defaults.packing);
  EXPECT_EQ(data.long_documents, data_defaults.long_documents);
  EXPECT_EQ(data.dp_rank, 1);
  const MeshSpec spec = mesh_spec(config);
  EXPECT_EQ(spec.dp_shard, -1);
  EXPECT_EQ(world_options(config).timeout, WorldOptions{}.timeout);
}

TEST(Config, UnknownKeySuggestsTheNearest) {
  Config config(recipe_keys());
  EXPECT_EQ(message_of([&] { config.set("paralel.tp", "2"); }, Code::not_found),
            "unknown key paralel.tp, did you mean parallel.tp");
  EXPECT_EQ(message_of([&] { config.set("lr", "2"); }, Code::not_found),
            "unknown key lr, did you mean optimizer.lr");
  EXPECT_EQ(message_of([&] { config.set("something.else.entirely", "2"); }, Code::not_found),
            "unknown key something.else.entirely");
}

TEST(Config, ValueErrorsNameKeyValueAndBounds) {
  Config config(recipe_keys());
  EXPECT_EQ(message_of([&] { config.set("train.steps", "0"); }, Code::argument),
            "train.steps=0 must be between 1 and 9007199254740992");
  EXPECT_EQ(message_of([&] { config.set("train.steps", "ten"); }, Code::argument),
            "train.steps=ten is not an integer");
  EXPECT_EQ(message_of([&] { config.set("optimizer.lr", "nan"); }, Code::argument),
            "optimizer.lr=nan is not a finite number");
  EXPECT_EQ(message_of([&] { config.set("optimizer.betas", "0.9,1.5"); }, Code::argument),
            "optimizer.betas=1.5 must be between 0 and 0.9999999999");
  EXPECT_EQ(message_of([&] { config.set("data.shuffle", "perhaps"); }, Code::argument),
            "data.shuffle=perhaps is not true or false");
  EXPECT_EQ(message_of([&] { config.set("precision.param", "fp64"); }, Code::argument),
            "precision.param=fp64 is not one of fp32, bf16, fp16");
  EXPECT_EQ(message_of([&] { config.text("model.path"); }, Code::argument), "model.path is not set");
}

TEST(Config, ValuesAreKeptInCanonicalForm) {
  Config config(recipe_keys());
  config.set("optimizer.lr", " 1E-3 ");
  EXPECT_EQ(config.get("optimizer.lr"), "0.001");
  config.set("data.shuffle", "YES");
  EXPECT_EQ(config.get("data.shuffle"), "true");
  config.set("precision.param", "FP32");
  EXPECT_EQ(trainer_options(config).precision.param, at::kFloat);
  config.set("optimizer.lr", "");
  EXPECT_EQ(config.get("optimizer.lr"), "1e-04");
  EXPECT_FALSE(config.is_set("optimizer.lr"));
}

TEST(Config, YamlNestsAndRoundTrips) {
  Config config(recipe_keys());
  config.load_yaml(
      "ranks: 4\noptimizer: {lr: 3e-4, betas: [0.9, 0.99]}\ndata:\n  path: [\"a,b.jsonl\", c\\.jsonl]\n"
      "  columns: {prompt: question}\nmodel.path: some dir\noutput: {export: off}\n");
  EXPECT_EQ(config.integer("ranks"), 4);
  EXPECT_EQ(config.real_list("optimizer.betas"), (std::vector<double>{0.9, 0.99}));
  EXPECT_EQ(config.text_list("data.path"), (std::vector<std::string>{"a,b.jsonl", "c\\.jsonl"}));
  EXPECT_EQ(config.text("data.columns.prompt"), "question");
  EXPECT_FALSE(config.flag("output.export"));
  Config again(recipe_keys());
  again.load_yaml(config.to_yaml());
  for (const ConfigKey& key : recipe_keys().keys()) EXPECT_EQ(again.get(key.name), config.get(key.name));
  EXPECT_EQ(Config(recipe_keys()).to_yaml(), "");
}

TEST(Config, YamlErrorsNameTheLineAndChangeNothing) {
  Config config(recipe_keys());
  EXPECT_EQ(message_of([&] { config.load_yaml("ranks: 2\ntrain: {steps: -3}\n", "r.yaml"); }, Code::argument),
            "r.yaml:2: train.steps=-3 must be between 1 and 9007199254740992");
  EXPECT_FALSE(config.is_set("ranks"));
  EXPECT_EQ(message_of([&] { config.load_yaml("train:\n  step: 3\n", "r.yaml"); }, Code::not_found),
            "r.yaml:2: unknown key train.step, did you mean train.steps");
  EXPECT_EQ(message_of([&] { config.load_yaml("ranks: 1\nranks: 2\n", "r.yaml"); }, Code::format),
            "r.yaml:2: ranks is given twice");
  EXPECT_EQ(message_of([&] { config.load_yaml("ranks: [1, 2]\n", "r.yaml"); }, Code::format),
            "r.yaml:1: ranks takes one value, not a list");
  message_of([&] { config.load_yaml("ranks: {\n"); }, Code::format);
  message_of([&] { config.load_yaml("- 1\n- 2\n"); }, Code::format);
  message_of([&] { config.load_yaml("a: &x {b: *x}\n"); }, Code::format);
  message_of([&] { config.load_yaml(std::string(100000, '[')); }, Code::format);
  message_of([&] { config.load_yaml(std::string(2 << 20, ' ')); }, Code::format);
  message_of([&] { config.load_file("/nowhere/recipe.yaml"); }, Code::io);
}

TEST(Config, ReshardPolicyReadsFlagsAndGroups) {
  EXPECT_EQ(parse_reshard("true").kind, ReshardPolicy::Kind::always);
  EXPECT_EQ(parse_reshard("false").kind, ReshardPolicy::Kind::never);
  EXPECT_EQ(parse_reshard("4").group, 4);
  message_of([] { parse_reshard("1"); }, Code::argument);
  message_of([] { parse_reshard("4x"); }, Code::argument);
}

TEST(Config, EveryKeyIsDocumentedAndItsDefaultValid) {
  for (const ConfigKey& key : recipe_keys().keys()) {
    EXPECT_FALSE(key.doc.empty()) << key.name;
    Config config(recipe_keys());
    if (!key.default_value.empty()) {
      config.set(key.name, key.default_value);
      EXPECT_EQ(config.get(key.name), key.default_value);
    }
  }
}

}  // namespace
}  // namespace tessera
