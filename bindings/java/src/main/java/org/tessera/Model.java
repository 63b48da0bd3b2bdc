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
}
