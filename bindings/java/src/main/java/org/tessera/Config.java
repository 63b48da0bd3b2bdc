package org.tessera;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;

/**
 * Settings by key and text: {@code optimizer.lr} = {@code 3e-4}. Every key has a type, bounds and a
 * default; a value that breaks them, or an unknown key, throws at once. May be used by any thread.
 */
public final class Config extends NativeObject {
  /** A configuration in which every key has its default. */
  public Config() {
    super(tessera_kind.TESSERA_KIND_CONFIG, create());
  }

  private static long create() {
    long[] out = new long[1];
    Native.tessera_config_create(out);
    return out[0];
  }

  /**
   * Sets one key.
   *
   * @param key such as "optimizer.lr"; the message for an unknown one names the nearest
   * @param value its text; an empty one goes back to the default
   * @return this
   */
  public Config set(String key, Object value) {
    Native.tessera_config_set(this, Text.in("key", key), Text.in("value", String.valueOf(value)));
    return this;
  }

  /**
   * The value of one key.
   *
   * @param key such as "optimizer.lr"
   * @return its value, or its default, or ""
   */
  public String get(String key) {
    byte[] name = Text.in("key", key);
    return Text.read((buffer, length) -> Native.tessera_config_get(this, name, buffer, length));
  }

  /**
   * Sets keys from a YAML or JSON file of nested maps: all or nothing.
   *
   * @param path the file
   * @return this
   */
  public Config load(Path path) {
    Native.tessera_config_load(this, Text.in("path", path));
    return this;
  }

  /**
   * Sets keys from YAML or JSON: all or nothing.
   *
   * @param yaml the text
   * @return this
   */
  public Config loadText(String yaml) {
    Native.tessera_config_load_text(this, Text.in("yaml", yaml));
    return this;
  }

  /**
   * The keys that were set.
   *
   * @return YAML
   */
  public String toYaml() {
    return Text.read((buffer, length) -> Native.tessera_config_get_text(this, buffer, length));
  }

  /** The type of a key's value. */
  public enum Type {
    /** {@code true} or {@code false}. */
    BOOLEAN,
    /** An integer. */
    INTEGER,
    /** A real number. */
    REAL,
    /** Text. */
    TEXT,
    /** One of {@link Key#choices}. */
    CHOICE,
    /** Texts separated by commas; {@code \,} is a comma inside one. */
    TEXT_LIST,
    /** Real numbers separated by commas. */
    REAL_LIST,
    /** A type that this version of the binding does not know. */
    UNKNOWN
  }

  /**
   * What is known of one key.
   *
   * @param name such as "optimizer.lr"
   * @param type of its value
   * @param min inclusive lower bound
   * @param max inclusive upper bound
   * @param defaultValue "" when there is none
   * @param choices the values that a choice may have
   * @param doc a sentence of documentation
   */
  public record Key(
      String name,
      Type type,
      OptionalDouble min,
      OptionalDouble max,
      String defaultValue,
      List<String> choices,
      String doc) {}

  /**
   * All keys that exist.
   *
   * @return in the order of the documentation
   */
  public static List<Key> keys() {
    long[] count = new long[1];
    Native.tessera_key_count(count);
    List<Key> keys = new ArrayList<>();
    for (long index = 0; index < count[0]; ++index) {
      KeyInfoStruct info = new KeyInfoStruct();
      try {
        Native.tessera_key_get(index, info);
        keys.add(key(info));
      } finally {
        info.delete();
      }
    }
    return keys;
  }

  /**
   * What is known of one key.
   *
   * @param name such as "optimizer.lr"
   * @return type, bounds, default and documentation
   */
  public static Key describe(String name) {
    KeyInfoStruct info = new KeyInfoStruct();
    try {
      Native.tessera_key_describe(Text.in("name", name), info);
      return key(info);
    } finally {
      info.delete();
    }
  }

  private static Key key(KeyInfoStruct info) {
    String choices = Text.utf8(info.getChoices());
    return new Key(
        Text.utf8(info.getName()),
        Type.values()[Math.min(info.getType(), Type.UNKNOWN.ordinal())],
        info.getHas_min() != 0 ? OptionalDouble.of(info.getMin()) : OptionalDouble.empty(),
        info.getHas_max() != 0 ? OptionalDouble.of(info.getMax()) : OptionalDouble.empty(),
        Text.utf8(info.getDefault_value()),
        choices.isEmpty() ? List.of() : List.of(choices.split(",")),
        Text.utf8(info.getDoc()));
  }
}
