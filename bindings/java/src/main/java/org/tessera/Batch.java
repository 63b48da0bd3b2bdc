package org.tessera;

/**
 * One rank's share of a step: a list of micro-batches, each of which is some documents laid end to
 * end. Attention never crosses the border of a document.
 */
public final class Batch extends NativeObject {
  /** The arrays of a micro-batch of T tokens in n documents. */
  public enum Part {
    /** [T] token ids. */
    TOKENS,
    /** [T] shifted: the token that should follow; -100 is not trained on. */
    LABELS,
    /** [T] from 0 in each document. */
    POSITIONS,
    /** [n+1] sums of the documents' lengths. */
    CU_SEQLENS,
    /** [n+1] where documents start, with padding; the last is T. */
    CU_SEQLENS_PADDED
  }

  /** A batch without micro-batches. */
  public Batch() {
    this(create());
  }

  Batch(long id) {
    super(tessera_kind.TESSERA_KIND_BATCH, id);
  }

  private static long create() {
    long[] out = new long[1];
    Native.tessera_batch_create(out);
    return out[0];
  }

  /**
   * Appends one micro-batch.
   *
   * @param tokens document after document
   * @param labels at the positions of the tokens, as in transformers: the library shifts them
   *     inside each document; -100 is not trained on; null: the tokens themselves
   * @param lengths of the documents; they sum up to the number of tokens
   * @return this
   */
  public Batch push(long[] tokens, long[] labels, long... lengths) {
    checkLabels(tokens, labels);
    Native.tessera_batch_push(this, tokens, labels, tokens.length, lengths, lengths.length);
    return this;
  }

  /**
   * The number of micro-batches.
   *
   * @return from 0
   */
  public long count() {
    long[] out = new long[1];
    Native.tessera_batch_count(this, out);
    return out[0];
  }

  /**
   * The number of tokens over all micro-batches.
   *
   * @return from 0
   */
  public long tokenCount() {
    return counts()[0];
  }

  /**
   * The number of labels that are trained on, over all micro-batches.
   *
   * @return from 0
   */
  public long labelCount() {
    return counts()[1];
  }

  private long[] counts() {
    long[] tokens = new long[1];
    long[] labels = new long[1];
    Native.tessera_batch_count_tokens(this, tokens, labels);
    return new long[] {tokens[0], labels[0]};
  }

  /**
   * Copies one array of a micro-batch out.
   *
   * @param index the micro-batch, from 0
   * @param part which array
   * @return its elements
   */
  public long[] array(long index, Part part) {
    int which = part.ordinal(); // the order is that of the C interface
    return Text.readLongs(
        1024,
        (buffer, length) -> Native.tessera_batch_get_array(this, index, which, buffer, length));
  }

  /** The library reads as many labels as tokens. */
  static void checkLabels(long[] tokens, long[] labels) {
    if (labels != null && labels.length != tokens.length) {
      throw new IllegalArgumentException(
          labels.length + " labels for " + tokens.length + " tokens");
    }
  }
}
