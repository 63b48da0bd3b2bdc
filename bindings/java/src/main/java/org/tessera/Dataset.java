package org.tessera;

import java.util.Optional;
import java.util.OptionalLong;

/**
 * A source of batches: files, or documents that the program pushes. The same documents come in the
 * same order on every mesh. Calls are one at a time.
 */
public final class Dataset extends NativeObject {
  private Dataset(long id) {
    super(tessera_kind.TESSERA_KIND_DATASET, id);
  }

  /**
   * Opens the files of the keys {@code data.*} and {@code train.{seed,micro_batch,global_batch}}.
   *
   * @param config the keys
   * @param mesh says which part of each step this rank reads; null: all of it
   * @param model gives the tokenizer when no key does, and bounds token ids; null: none
   * @return a new dataset
   */
  public static Dataset open(Config config, Mesh mesh, Model model) {
    long[] out = new long[1];
    Native.tessera_dataset_open(config, mesh, model, out);
    return new Dataset(out[0]);
  }

  /**
   * A dataset without files: documents are {@linkplain #push pushed}, then {@linkplain #pushEnd
   * ended}, then used like those of a file. Every rank pushes the same documents in the same order.
   * For data that does not fit into memory push micro-batches into a {@link Batch} instead.
   *
   * @param config the keys
   * @param mesh says which part of each step this rank reads; null: all of it
   * @param model bounds token ids; null: none
   * @return a new dataset
   */
  public static Dataset pushed(Config config, Mesh mesh, Model model) {
    long[] out = new long[1];
    Native.tessera_dataset_create(config, mesh, model, out);
    return new Dataset(out[0]);
  }

  /**
   * Appends one document.
   *
   * @param tokens its ids
   * @param labels as in {@link Batch#push}; null: the tokens themselves
   */
  public void push(long[] tokens, long[] labels) {
    Batch.checkLabels(tokens, labels);
    Native.tessera_dataset_push(this, tokens, labels, tokens.length);
  }

  /** Says that no more documents will be pushed; batches can be taken from here on. */
  public void pushEnd() {
    Native.tessera_dataset_push_end(this);
  }

  /**
   * Appends the rows of an Arrow record batch.
   *
   * @param schema address of an ArrowSchema of the Arrow C data interface
   * @param array address of the ArrowArray; both are released
   */
  public void pushArrow(long schema, long array) {
    Native.tessera_dataset_push_arrow(this, schema, array);
  }

  /**
   * This rank's share of the next step.
   *
   * @return empty when the data is used up
   */
  public Optional<Batch> next() {
    long[] out = new long[1];
    try {
      Native.tessera_dataset_next(this, out);
    } catch (TesseraException error) {
      if (error.status() == Status.END) {
        return Optional.empty();
      }
      throw error;
    }
    return Optional.of(new Batch(out[0]));
  }

  /**
   * The position in the data.
   *
   * @return text for {@link #setState}
   */
  public String state() {
    return Text.read((buffer, length) -> Native.tessera_dataset_get_state(this, buffer, length));
  }

  /**
   * Goes to a position, also one of another mesh.
   *
   * @param state what {@link #state} returned
   */
  public void setState(String state) {
    Native.tessera_dataset_set_state(this, Text.in("state", state));
  }

  /**
   * Steps in one pass over the data.
   *
   * @return empty when that is not known
   */
  public OptionalLong stepsPerEpoch() {
    long[] out = new long[1];
    Native.tessera_dataset_count_steps(this, out);
    return out[0] < 0 ? OptionalLong.empty() : OptionalLong.of(out[0]);
  }

  /**
   * What the dataset holds over all ranks.
   *
   * @return a JSON object
   */
  public String report() {
    return Text.read((buffer, length) -> Native.tessera_dataset_get_report(this, buffer, length));
  }

  /**
   * Tokens of each document.
   *
   * @return in the order of the data
   */
  public long[] lengths() {
    return Text.readLongs(
        1024, (buffer, length) -> Native.tessera_dataset_get_lengths(this, buffer, length));
  }
}
