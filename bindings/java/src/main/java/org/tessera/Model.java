package org.tessera;

import java.nio.file.Path;

/**
 * An architecture and where its weights come from. Holds no weights; a {@link Trainer} loads each
 * rank's part. May be used by any thread.
 */
public final class Model extends NativeObject {
  private Model(long id) {
    super(tessera_kind.TESSERA_KIND_MODEL, id);
  }

  /**
   * Reads {@code config.json} of a Hugging Face directory; trainers load its safetensors.
   *
   * @param directory the folder
   * @return a new model
   */
  public static Model open(Path directory) {
    long[] out = new long[1];
    Native.tessera_model_open(Text.in("directory", directory), out);
    return new Model(out[0]);
  }

  /**
   * A model from the text of a {@code config.json}; trainers start it from seeded random weights.
   *
   * @param configJson the text
   * @return a new model
   */
  public static Model ofJson(String configJson) {
    long[] out = new long[1];
    Native.tessera_model_create(Text.in("configJson", configJson), out);
    return new Model(out[0]);
  }

  /**
   * Like {@link #open(Path)}, with the architectures of a plugin before the built-in ones.
   *
   * @param directory the folder
   * @param plugin a shared library
   * @return a new model
   */
  public static Model open(Path directory, Path plugin) {
    long[] out = new long[1];
    Native.tessera_model_open_plugin(
        Text.in("directory", directory), Text.in("plugin", plugin), out);
    return new Model(out[0]);
  }

  /**
   * Like {@link #ofJson(String)}, with the architectures of a plugin before the built-in ones.
   *
   * @param configJson the text
   * @param plugin a shared library
   * @return a new model
   */
  public static Model ofJson(String configJson, Path plugin) {
    long[] out = new long[1];
    Native.tessera_model_create_plugin(
        Text.in("configJson", configJson), Text.in("plugin", plugin), out);
    return new Model(out[0]);
  }

  /**
   * The {@code config.json} as read.
   *
   * @return its text
   */
  public String toJson() {
    return Text.read((buffer, length) -> Native.tessera_model_get_text(this, buffer, length));
  }

  /**
   * The number of trained values; shared ones (tied embeddings) count once.
   *
   * @return positive
   */
  public long parameterCount() {
    long[] out = new long[1];
    Native.tessera_model_get_parameter_count(this, out);
    return out[0];
  }

  /**
   * Registers a tensor-parallel plan for jobs with {@code parallel.tp_plan=name}.
   *
   * @param name of letters, digits, '_', '-' and '.'
   * @param plan a JSON or YAML map of name patterns and styles
   */
  public void setTpPlan(String name, String plan) {
    Native.tessera_model_set_tp_plan(this, Text.in("name", name), Text.in("plan", plan));
  }
}
