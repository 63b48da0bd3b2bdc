package org.tessera;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A small job for the tests: a tiny model and batches. */
final class Job implements AutoCloseable {
  static final String CONFIG_JSON =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
       "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
       "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
       "tie_word_embeddings": false, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2}
      """;

  final World world = World.threads(1, options()).get(0);
  final Mesh mesh = new Mesh(world, new MeshOptions());
  final Model model = Model.ofJson(CONFIG_JSON);
  final Config config = config();
  final Trainer trainer = new Trainer(mesh, model, config);

  static Config config() {
    return new Config()
        .set("precision.param", "fp32")
        .set("optimizer.lr", 0.01)
        .set("train.seed", 3);
  }

  /** Ranks that compute with one thread each. */
  static WorldOptions options() {
    return new WorldOptions().threads(1);
  }

  /** One micro-batch of two documents, different for each part and step. */
  static Batch push(Batch batch, int part, int step) {
    long[] tokens = new long[12];
    for (int i = 0; i < tokens.length; ++i) {
      tokens[i] = (i * 7 + part * 5 + step * 3) % 64;
    }
    return batch.push(tokens, null, 7, 5);
  }

  static Batch batch(int part, int step) {
    return push(new Batch(), part, step);
  }

  /** Starts another JVM with the class path of this one. */
  static Process java(List<String> flags, Class<?> program, String... arguments)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(flags);
    if (Runtime.version().feature() >= 22) {
      command.add("--enable-native-access=ALL-UNNAMED"); // newer ones warn without it
    }
    command.addAll(List.of("-Xmx256m", "-cp", System.getProperty("java.class.path")));
    command.add(program.getName());
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command).redirectErrorStream(true).start();
  }

  /** Resident memory in KiB. */
  static long memory() throws IOException {
    return status("VmRSS:", 10);
  }

  /** A number of /proc/self/status. */
  static long status(String name, int radix) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith(name)) {
        return Long.parseUnsignedLong(line.split("\\s+")[1], radix);
      }
    }
    throw new IOException("no " + name);
  }

  @Override
  public void close() {
    trainer.close();
    config.close();
    model.close();
    mesh.close();
    world.close();
  }
}
