// tessera.hpp: owners, exceptions, text and arrays, futures, rank threads, and every call of the C interface
// through it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <tessera/tessera.hpp>

namespace {

namespace ts = tessera;
using Ids = std::vector<int64_t>;

const char* const kModel = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64,
  "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
  "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2})";

/// The code of the ts::Error that `call` throws; -1 when it throws none.
template <class Call>
int code_of(Call call) {
  try {
    call();
  } catch (const ts::Error& error) {
    return error.code();
  }
  return -1;
}

/// Each test leaves no handle behind.
class Cpp : public testing::Test {
 protected:
  void SetUp() override {
    config.set("precision.param", "fp32").set("threads", "1");
    std::string name = (std::filesystem::temp_directory_path() / "tessera_cpp_XXXXXX").string();
    folder = mkdtemp(name.data());
  }
  void TearDown() override {
    config.reset();
    EXPECT_EQ(ts::handle_count(), 0);
    std::filesystem::remove_all(folder);
  }
  ts::Batch batch(int rank = 0) {
    ts::Batch out;
    Ids tokens;
    for (int i = 0; i < 12; ++i) tokens.push_back((i * 7 + rank * 5) % 64);
    out.push(tokens, {7, 5});
    return out;
  }
  ts::Config config;
  std::string folder;
};

TEST_F(Cpp, AFailedCallThrowsCodeNameAndLine) {
  try {
    config.set("parallel.tpp", "4");
    FAIL();
  } catch (const ts::Error& error) {
    EXPECT_EQ(error.code(), TESSERA_E_NOT_FOUND);
    EXPECT_STREQ(error.name(), "E_NOT_FOUND");
    EXPECT_NE(std::string(error.what()).find("parallel.tpp"), std::string::npos) << error.what();
    EXPECT_EQ(error.rank(), -1);
    EXPECT_EQ(error.domain(), TESSERA_DOMAIN_NONE);
    EXPECT_EQ(error.native_code(), 0);
  }
  EXPECT_FALSE(ts::status_text(TESSERA_E_END).empty());
}

TEST_F(Cpp, UseAfterResetOrMoveThrows) {
  ts::Config moved = std::move(config);
  EXPECT_EQ(code_of([&] { config.text("train.seed"); }), TESSERA_E_HANDLE_NULL);
  EXPECT_EQ(moved.text("train.seed"), "0");
  moved.reset();
  moved.reset();
  EXPECT_EQ(code_of([&] { moved.text("train.seed"); }), TESSERA_E_HANDLE_NULL);
  EXPECT_FALSE(moved);
  ts::Config other;
  const tessera_config raw = other.release();
  EXPECT_EQ(tessera_config_destroy(raw), TESSERA_OK);
  EXPECT_EQ(code_of([&] {
              ts::Mesh mesh(tessera_mesh{raw.id});
              mesh.text();
            }),
            TESSERA_E_HANDLE_TYPE);
}

TEST_F(Cpp, TextOfAnyLengthComesBack) {
  const std::string path(100000, 'x');
  config.set("data.path", path);
  EXPECT_EQ(config.text("data.path"), path);
  EXPECT_EQ(config.text("output.dir"), "");
  ts::Config other;
  other.load_text(config.yaml());
  EXPECT_EQ(other.text("data.path"), path);
  std::ofstream(folder + "/a.yaml") << "optimizer: {lr: 0.5}\n";
  EXPECT_EQ(other.load(folder + "/a.yaml").text("optimizer.lr"), "0.5");
  EXPECT_GT(ts::keys().size(), 20u);
  EXPECT_EQ(ts::describe_key("ranks").type, TESSERA_KEY_INTEGER);
  EXPECT_NO_THROW(ts::check_abi());
  EXPECT_NE(ts::build_info().find(ts::version()), std::string::npos);
}

TEST_F(Cpp, TensorsKeepTheirBits) {
  const std::vector<float> values = {0.1f, -2.5f, 3e30f, 0, 5, 6};
  ts::Tensor tensor = ts::Tensor::copy_of(TESSERA_DTYPE_F32, {2, 3}, values);
  EXPECT_EQ(tensor.data<float>(), values);
  EXPECT_EQ(tensor.dims(), (Ids{2, 3}));
  EXPECT_EQ(tensor.dtype(), TESSERA_DTYPE_F32);
  EXPECT_EQ(code_of([&] { tensor.data<std::array<char, 7>>(); }), TESSERA_E_ARGUMENT);
  EXPECT_EQ(code_of([&] { tensor.set_data(std::vector<float>{1}); }), TESSERA_E_ARGUMENT);
  ts::Tensor again = ts::Tensor::from_dlpack(tensor.to_dlpack());
  tensor.set_data(std::vector<float>{6, 5, 4, 3, 2, 1});
  tensor.reset();
  EXPECT_EQ(again.data<float>(), (std::vector<float>{6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(ts::Tensor::zeros(TESSERA_DTYPE_I64, {}).data<int64_t>(), Ids{0});
}

TEST_F(Cpp, CollectivesRunOnRankThreads) {
  ts::run_ranks(2, ts::WorldOptions(config), [](ts::World& world) {
    ts::Mesh mesh = ts::Mesh::create_async(world).result();
    EXPECT_EQ(world.size(), 2);
    EXPECT_EQ(mesh.size("dp"), 2);
    EXPECT_EQ(mesh.index("dp"), world.rank());
    EXPECT_EQ(mesh.ranks("dp"), (std::vector<int32_t>{0, 1}));
    EXPECT_NE(mesh.text().find("dp_shard=2"), std::string::npos);
    std::vector<float> memory = {float(world.rank()), 1};
    ts::Tensor view = ts::Tensor::view_of(TESSERA_DTYPE_F32, {2}, memory.data(), 8);
    ts::Tensor both = ts::Tensor::zeros(TESSERA_DTYPE_F32, {4}),
               other = ts::Tensor::zeros(TESSERA_DTYPE_F32, {4});
    mesh.barrier("dp");
    mesh.barrier_async("dp").result();
    mesh.all_gather("dp", view, both);
    mesh.all_gather_async("dp", view, both).result();
    EXPECT_EQ(both.data<float>(), (std::vector<float>{0, 1, 1, 1}));
    mesh.all_to_all("dp", both, other);
    mesh.all_to_all_async("dp", both, other).result();
    mesh.all_reduce("dp", view);
    EXPECT_EQ(memory, (std::vector<float>{1, 2}));
    mesh.all_reduce_async("dp", view, TESSERA_REDUCE_MAX).result();
    mesh.reduce_scatter("dp", both, view, TESSERA_REDUCE_AVG);
    mesh.reduce_scatter_async("dp", both, view).result();
    memory[0] = float(world.rank());
    mesh.broadcast("dp", view, 1);
    mesh.broadcast_async("dp", view, 1).result();
    EXPECT_EQ(memory[0], 1);
  });
}

TEST_F(Cpp, TheFirstExceptionOfARankEndsAllRanks) {
  ts::WorldOptions options(config);
  try {
    ts::run_ranks(4, options, [](ts::World& world) {
      ts::Mesh mesh(world);
      if (world.rank() == 2) throw std::out_of_range("of the host");
      mesh.barrier("dp");
    });
    FAIL();
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "of the host");
  }
  EXPECT_THROW(ts::run_ranks(2, options, [](ts::World&) { throw 7; }), int);
}

TEST_F(Cpp, AStepIsItsPartsAndAllResultsComeBack) {
  ts::run_ranks(2, ts::WorldOptions(config), [&](ts::World& world) {
    const bool first = world.rank() == 0;
    ts::Mesh mesh(world, ts::MeshOptions(config));
    ts::Model model = ts::Model::create(kModel);
    ts::Trainer trainer(mesh, model, &config);
    ts::Trainer twin = ts::Trainer::create_async(mesh, model, &config).result();
    ts::Batch mine = batch(world.rank());
    EXPECT_EQ(mine.count(), 1);
    EXPECT_EQ(mine.count_tokens(), std::make_pair(int64_t(12), int64_t(10)));
    EXPECT_EQ(mine.array(0, TESSERA_BATCH_CU_SEQLENS), (Ids{0, 7, 12}));

    const ts::Metrics whole = trainer.step(mine);
    ts::Metrics parts = twin.forward_backward_async(mine).result();
    EXPECT_EQ(whole.loss, parts.loss);
    const std::string name = trainer.parameter_names().at(1);
    EXPECT_EQ(twin.gradient(name).dims(), twin.gradient_async(name).result().dims());
    twin.optimizer_step();
    EXPECT_EQ(trainer.parameter(name).data<float>(), twin.parameter_async(name).result().data<float>());
    EXPECT_EQ(trainer.evaluate(mine).loss, twin.evaluate_async(mine).result().loss);
    twin.forward_backward(mine);
    twin.zero_grad();
    twin.forward_backward(mine);
    const ts::Metrics second = twin.optimizer_step_async().result();
    EXPECT_EQ(second.step, 2);
    EXPECT_EQ(trainer.step_async(mine).result().grad_norm, second.grad_norm);
    EXPECT_EQ(trainer.step_count(), 2);
    EXPECT_EQ(trainer.logits(mine).dims(), (Ids{12, 64}));
    EXPECT_EQ(trainer.logits_async(mine).result().dims(), (Ids{12, 64}));

    ts::GenerateOptions options;
    options.max_new_tokens = 70;  // more than the first buffer holds
    EXPECT_EQ(trainer.generate({1, 2, 3}, options), trainer.generate_async({1, 2, 3}, options).result());
    ts::Tensor zeros = ts::Tensor::zeros(TESSERA_DTYPE_F32, trainer.parameter(name).dims());
    trainer.set_parameter(name, zeros);
    trainer.set_parameter_async(name, zeros).result();
    EXPECT_EQ(trainer.parameter(name).data<float>(), zeros.data<float>());
    EXPECT_FALSE(trainer.program(1).empty());

    ts::Events events;
    trainer.set_events(&events);
    trainer.save(folder + "/a");
    trainer.save_async(folder + "/b").result();
    twin.load(folder + "/a");
    twin.load_async(folder + "/b").result();
    EXPECT_EQ(twin.evaluate(mine).loss, trainer.evaluate(mine).loss);
    trainer.export_model(folder + "/out");
    trainer.export_model_async(folder + "/out16", "bf16").result();
    tessera_event event;
    EXPECT_TRUE(events.next(event));
    EXPECT_EQ(event.type, TESSERA_EVENT_CHECKPOINT);
    EXPECT_TRUE(events.next(event, std::chrono::seconds(9)));
    EXPECT_FALSE(events.next(event, std::chrono::nanoseconds(0)));
    trainer.set_events(nullptr);
    mesh.barrier("dp");
    EXPECT_GT(ts::Model::open(folder + "/out").parameter_count(), 1000);
    if (first) {
      EXPECT_NE(model.text().find("llama"), std::string::npos);
      config.set("train.global_batch", "2");
      EXPECT_NE(ts::plan(model, config, 2).find("dp_shard"), std::string::npos);
      EXPECT_NE(ts::timeline(model, config, 2).find("rank 0"), std::string::npos);
      model.set_tp_plan("whole", R"({"*": "replicate"})");
      ts::TimelineOptions image(TESSERA_TIMELINE_SVG);
      EXPECT_EQ(ts::timeline(model, config, 2, image).rfind("<svg", 0), 0U);
    }
    mesh.barrier("dp");
    world.close_async().result();
    world = ts::World();  // what run_ranks closes is a world of its own now
  });
}

TEST_F(Cpp, PushedDocumentsBecomeBatchesAndTheirPositionIsKept) {
  config.set("data.seq_len", "16").set("train.global_batch", "2").set("data.epochs", "1");
  ts::Dataset data = ts::Dataset::create(config);
  for (int i = 0; i < 4; ++i) data.push({1, 2, 3, 4 + i});
  data.push({5, 6, 7}, {-100, 6, 7});
  EXPECT_EQ(code_of([&] { data.push({1, 2}, {1}); }), TESSERA_E_ARGUMENT);
  EXPECT_EQ(code_of([&] { data.next(); }), TESSERA_E_STATE);
  data.push_end();
  const std::string start = data.state();
  const int64_t steps = data.count_steps();
  int64_t seen = 0;
  while (ts::Batch next = data.next()) ++seen;
  EXPECT_EQ(seen, steps);
  data.set_state(start);
  EXPECT_TRUE(data.next());
  EXPECT_EQ(code_of([&] { ts::Dataset missing(config); }), TESSERA_E_ARGUMENT);
  int64_t packs = 0;
  EXPECT_EQ(ts::pack("ffd", {6, 5, 4, 3}, 10, 0, &packs).size(), 4u);
  EXPECT_EQ(packs, 2);
  ts::Config settings;
  settings.set("data.seq_len", "10");
  settings.set("data.packing", "next_fit_split");
  const std::vector<ts::Piece> pieces = ts::pack_pieces(settings, {6, 5});
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[2].row + pieces[2].document + pieces[2].begin + pieces[2].length, 1 + 1 + 4 + 1);
  EXPECT_TRUE(ts::pack_pieces(settings, {}).empty());
  ts::Batch forms;
  forms.push_form(TESSERA_BATCH_FORM_ROWS, {5, 6, 7, 0, 8, 9, 0, 0}, {3, 2});
  EXPECT_EQ(forms.array(0, TESSERA_BATCH_SEGMENTS), (std::vector<std::int64_t>{1, 1, 1, 0, 2, 2, 0, 0}));
  const ts::PaddedRows rows = forms.rows(0, 4, 1);
  EXPECT_EQ(rows.row_length, 4);
  EXPECT_EQ(rows.tokens, (std::vector<std::int64_t>{5, 6, 7, 1, 8, 9, 1, 1}));
  EXPECT_THROW(forms.push_form(TESSERA_BATCH_FORM_POSITIONS, {5, 6}, {0, 2}), ts::Error);
}

TEST_F(Cpp, TextBecomesTokensAndBack) {
  std::ofstream(folder + "/tokenizer.json") << R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 3, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false,
                      "rstrip": false, "normalized": false}], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
    "use_regex": true}, "model": {"type": "BPE", "dropout": null, "unk_token": null,
    "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
    "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";
  std::ofstream(folder + "/tokenizer_config.json") << R"({"eos_token": "<|end|>", "chat_template":
    "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"})";
  const ts::Tokenizer tokenizer(folder);
  EXPECT_EQ(tokenizer.count(), 4);
  std::string text;
  for (int i = 0; i < 300; ++i) text += "ab";
  const Ids ids = tokenizer.encode(text);
  EXPECT_GE(ids.size(), 300u);
  const auto several = tokenizer.encode_batch({"ab", "", text, "b"});
  ASSERT_EQ(several.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const char* const texts[] = {"ab", "", text.c_str(), "b"};
    EXPECT_EQ(several[i], tokenizer.encode(texts[i])) << i;
  }
  EXPECT_TRUE(tokenizer.encode_batch({}).empty());
  EXPECT_EQ(tokenizer.decode(ids, true), text);
  EXPECT_EQ(tokenizer.decode({}), "");
  const std::string conversation =
      R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "ab"}])";
  EXPECT_EQ(tokenizer.chat_text(conversation), "a<|end|>ab<|end|>");
  const auto chat = tokenizer.encode_chat(conversation);
  EXPECT_EQ(chat.first.size(), chat.second.size());
  EXPECT_EQ(chat.second.at(0), -100);
}

TEST_F(Cpp, FuturesArePolledWaitedForAndCancelled) {
  std::vector<ts::World> worlds = ts::World::threads(2, ts::WorldOptions(config));
  std::vector<ts::Future<ts::Mesh>> futures;
  for (const ts::World& world : worlds) futures.push_back(ts::Mesh::create_async(world));
  EXPECT_GE(ts::wait_any(futures), 0);
  std::vector<ts::Mesh> meshes;
  for (const auto& future : futures) meshes.push_back(future.result());
  EXPECT_TRUE(futures[0].done());
  EXPECT_EQ(code_of([&] { futures[0].result(); }), TESSERA_E_STATE);  // handed over once

  ts::Future<void> alone = meshes[0].barrier_async("dp");
  EXPECT_FALSE(alone.wait(std::chrono::milliseconds(1)));
  EXPECT_EQ(code_of([&] { meshes[0].barrier_async("dp"); }), TESSERA_E_BUSY);
  ts::Future<ts::Mesh> behind = ts::Mesh::create_async(worlds[0]);
  behind.cancel();
  EXPECT_EQ(code_of([&] { behind.result(); }), TESSERA_E_CANCELLED);
  worlds[1].abort("said the host");
  EXPECT_EQ(code_of([&] { alone.result(); }), TESSERA_E_PEER_FAILED);
}

TEST_F(Cpp, ThreadsGetTheirOwnErrors) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 32; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string key = "no.such.key." + std::to_string(t * 1000 + i) + ".";
        try {
          ts::Config().set(key, "1");
          ++wrong;
        } catch (const ts::Error& error) {
          wrong += std::string(error.what()).find(key) == std::string::npos;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Cpp, LogLinesGoToAQueue) {
  const int32_t before = ts::log_level();
  ts::Events events(16);
  ts::set_log_events(&events);
  ts::set_log_level(TESSERA_LOG_DEBUG);
  {
    const ts::World world;
  }
  ts::set_log_level(before);
  ts::set_log_events(nullptr);
  EXPECT_EQ(ts::log_level(), before);
}

}  // namespace
