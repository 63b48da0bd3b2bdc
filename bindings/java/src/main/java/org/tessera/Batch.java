package org.tessera;

import java.util.Arrays;

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
    CU_SEQLENS_PADDED,
    /** [T] 1 for the first document, 2 for the next; 0 on padding. */
    SEGMENTS
  }

  /** Forms in which other programs hold packed documents: what the index says of them. */
  public enum Form {
    /** Tokens end to end; [n] the documents' lengths. The library pads. */
    LENGTHS,
    /** Padded rows [B, S]; [B] real tokens at the start of each. */
    ROWS,
    /** [T] position ids, 0 where a document starts. */
    POSITIONS,
    /** [T] or [B, S] equal numbers on a document's tokens, 0 on padding. */
    SEGMENTS,
    /** [n+1] or [2, n+1] cu_seqlens, and cu_seqlens_padded behind it. */
    CU_SEQLENS
  }

  /**
   * Documents as rows of equal length (BSHD), each array row after row.
   *
   * @param rows one for each document
   * @param rowLength tokens of each
   * @param tokens ids
   * @param labels in the positions of the tokens, as in transformers
   * @param positions from 0 in each row; 0 on padding
   * @param attentionMask 1 on real tokens
   */
  public record PaddedRows(
      int rows,
      int rowLength,
      long[] tokens,
      long[] labels,
      long[] positions,
      long[] attentionMask) {}

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

  /**
   * Appends one micro-batch from another form of packed documents.
   *
   * @param form how the index tells the documents
   * @param tokens ids
   * @param index what the form names
   * @return this
   */
  public Batch pushForm(Form form, long[] tokens, long... index) {
    return pushForm(form, tokens, null, false, index, 0, null);
  }

  /**
   * Appends one micro-batch from another form of packed documents.
   *
   * @param form how the index tells the documents
   * @param tokens ids
   * @param labels null: the tokens themselves
   * @param labelsShifted labels[t] is the token that should follow tokens[t]
   * @param index what the form names
   * @param extent of segments: tokens of a row; of positions: tokens before the padding; 0: all
   * @param layout how documents are aligned and padded; null: not at all
   * @return this
   */
  public Batch pushForm(
      Form form,
      long[] tokens,
      long[] labels,
      boolean labelsShifted,
      long[] index,
      long extent,
      Config layout) {
    checkLabels(tokens, labels);
    int which = form.ordinal(); // the order is that of the C interface
    int shifted = labelsShifted ? 1 : 0;
    int count = tokens.length;
    int entries = index.length;
    Native.tessera_batch_push_form(
        this, layout, which, tokens, labels, count, shifted, index, entries, extent);
    return this;
  }

  /**
   * A micro-batch as one padded row for each document.
   *
   * @param index the micro-batch, from 0
   * @param rowLength 0: as long as the longest document
   * @param padToken the id on padding
   * @return copies
   */
  public PaddedRows rows(long index, long rowLength, long padToken) {
    int rows = array(index, Part.CU_SEQLENS).length - 1;
    long[] all =
        Text.readLongs(
            1024,
            (buffer, length) ->
                Native.tessera_batch_get_rows(this, index, rowLength, padToken, buffer, length));
    int part = all.length / 4;
    long[][] parts = new long[4][];
    for (int k = 0; k < 4; k++) {
      parts[k] = Arrays.copyOfRange(all, k * part, (k + 1) * part);
    }
    return new PaddedRows(rows, part / rows, parts[0], parts[1], parts[2], parts[3]);
  }

  /** The library reads as many labels as tokens. */
  static void checkLabels(long[] tokens, long[] labels) {
    if (labels != null && labels.length != tokens.length) {
      throw new IllegalArgumentException(
          labels.length + " labels for " + tokens.length + " tokens");
    }
  }
}
