package org.tessera;

import java.util.ArrayList;
import java.util.List;

/** Which library runs, how many of its objects live, and the packers alone. */
public final class Tessera {
  private Tessera() {}

  /** The kinds of objects that {@link #liveObjects} counts. */
  public enum Kind {
    /** All kinds. */
    ANY,
    /** {@link Config}. */
    CONFIG,
    /** {@link World}. */
    WORLD,
    /** {@link Mesh}. */
    MESH,
    /** {@link Tensor}. */
    TENSOR,
    /** {@link Model}. */
    MODEL,
    /** {@link Batch}. */
    BATCH,
    /** {@link Dataset}. */
    DATASET,
    /** {@link Trainer}. */
    TRAINER,
    /** Calls under way. */
    FUTURE,
    /** {@link Events}. */
    EVENTS,
    /** {@link Tokenizer}. */
    TOKENIZER
  }

  /**
   * The version of the running library.
   *
   * @return such as "0.1.0"
   */
  public static String version() {
    return Text.ascii(Native.tessera_version_string());
  }

  /**
   * The ABI number of the running library, which is that of the headers this jar was built with.
   *
   * @return the number in the name of the library
   */
  public static int abiVersion() {
    return Native.tessera_abi_version();
  }

  /**
   * What the library was built with and runs on.
   *
   * @return one "name: value" a line
   */
  public static String buildInfo() {
    return Text.read(Native::tessera_build_info);
  }

  /**
   * The number of live objects in this process, to find leaks.
   *
   * @param kind which objects
   * @return created and not yet destroyed
   */
  public static long liveObjects(Kind kind) {
    long[] count = new long[1];
    Native.tessera_handle_count(kind.ordinal(), count); // the order is that of the C interface
    return count[0];
  }

  /** How documents are put into packs; each goes whole into one. */
  public enum Packer {
    /** Into the last pack, or a new one. */
    NEXT_FIT("next_fit"),
    /** Into the first pack that has room. */
    FIRST_FIT("first_fit"),
    /** The longest first, into the first pack that has room. */
    FIRST_FIT_DECREASING("ffd"),
    /** The longest first, into the fullest pack that has room. */
    BEST_FIT_DECREASING("bfd"),
    /** The longest first, into the emptiest pack that has room. */
    WORST_FIT_DECREASING("wfd"),
    /** As few packs as a search finds. */
    OPTIMAL("optimal");

    private final String name;

    Packer(String name) {
      this.name = name;
    }
  }

  /**
   * What {@link #pack} found.
   *
   * @param packOf the pack of each document, from 0
   * @param count the number of packs
   */
  public record Packs(long[] packOf, long count) {}

  /**
   * Puts documents into packs. The result depends on the arguments alone.
   *
   * @param packer how
   * @param lengths tokens of each document
   * @param capacity tokens of a pack
   * @param seed of {@link Packer#OPTIMAL}
   * @return the packs
   */
  public static Packs pack(Packer packer, long[] lengths, long capacity, long seed) {
    long[] packs = new long[lengths.length];
    long[] count = new long[1];
    byte[] name = Text.in("packer", packer.name);
    Native.tessera_pack_create(name, lengths, lengths.length, capacity, seed, packs, count);
    return new Packs(packs, count[0]);
  }

  /**
   * A document, or a part of it, in a row; all count from 0.
   *
   * @param row its row
   * @param document its document
   * @param begin its first token in the document
   * @param length its tokens
   */
  public record Piece(long row, long document, long begin, long length) {}

  /**
   * The rows that a dataset with these keys makes of documents of these lengths.
   *
   * @param config data.packing, data.seq_len and what else rows depend on
   * @param lengths tokens of each document
   * @return row after row
   */
  public static List<Piece> packPieces(Config config, long... lengths) {
    long[] numbers =
        Text.readLongs(
            Math.toIntExact(6L * lengths.length + 64),
            (buffer, length) ->
                Native.tessera_pack_get_pieces(config, lengths, lengths.length, buffer, length));
    List<Piece> pieces = new ArrayList<>();
    for (int i = 0; i + 3 < numbers.length; i += 4) {
      pieces.add(new Piece(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]));
    }
    return pieces;
  }

  /**
   * Mesh, units and memory per rank of a job, before anything is loaded.
   *
   * @param model what is trained
   * @param config how
   * @param worldSize on how many ranks
   * @return text for a person
   */
  public static String plan(Model model, Config config, long worldSize) {
    return plan(model, config, worldSize, tessera_plan_part.TESSERA_PLAN_SUMMARY);
  }

  /**
   * The compiled step of rank 0 of a job, before anything is loaded.
   *
   * @param model what is trained
   * @param config how
   * @param worldSize on how many ranks
   * @return one instruction a line
   */
  public static String planProgram(Model model, Config config, long worldSize) {
    return plan(model, config, worldSize, tessera_plan_part.TESSERA_PLAN_PROGRAM);
  }

  /**
   * The fastest meshes of a job that fit into the memory of the cluster that the key cluster names.
   *
   * @param model what is trained
   * @param config how; the parallel, memory and batch keys that are set are kept
   * @param worldSize on how many ranks
   * @param json whether the answer is a JSON object instead of a table for a person
   * @return a table, or JSON with the recipe keys of each mesh
   */
  public static String planSearch(Model model, Config config, long worldSize, boolean json) {
    int part =
        json ? tessera_plan_part.TESSERA_PLAN_SEARCH_JSON : tessera_plan_part.TESSERA_PLAN_SEARCH;
    return plan(model, config, worldSize, part);
  }

  /**
   * A picture of the step of a job: which pipeline rank computes which micro-batch when.
   *
   * @param model what is trained
   * @param config how
   * @param worldSize on how many ranks
   * @param options how it is drawn
   * @return text, an SVG image or a JSON trace
   */
  public static String timeline(
      Model model, Config config, long worldSize, TimelineOptions options) {
    return options.with(
        raw ->
            Text.read(
                (buffer, length) ->
                    Native.tessera_plan_get_timeline(
                        model, config, worldSize, raw, buffer, length)));
  }

  private static String plan(Model model, Config config, long worldSize, int part) {
    return Text.read(
        (buffer, length) ->
            Native.tessera_plan_get_text(model, config, worldSize, part, buffer, length));
  }

  /** How important a line of the log is. */
  public enum LogLevel {
    /** Everything. */
    TRACE,
    /** For those who look for a defect. */
    DEBUG,
    /** What happens. */
    INFO,
    /** What should not be; the default of the library. */
    WARNING,
    /** What failed. */
    ERROR,
    /** Nothing. */
    OFF;

    static LogLevel of(int level) {
      return values()[Math.max(0, Math.min(level, values().length - 1))];
    }
  }

  /**
   * Lines below a level are not written. Holds for the whole process.
   *
   * @param level the lowest that is written
   */
  public static void setLogLevel(LogLevel level) {
    Native.tessera_log_set_level(level.ordinal());
  }

  /**
   * The present level.
   *
   * @return the lowest that is written
   */
  public static LogLevel logLevel() {
    int[] level = new int[1];
    Native.tessera_log_get_level(level);
    return LogLevel.of(level[0]);
  }

  /**
   * Sends log lines to a queue instead of to stderr. Holds for the whole process.
   *
   * @param events null, or the end of the queue, goes back to stderr
   */
  public static void setLogEvents(Events events) {
    Native.tessera_log_set_events(events);
  }
}
