package org.tessera;

import java.util.function.Function;

/**
 * How {@link Tessera#timeline} draws a step, and what things cost beside computing: 1 is the
 * forward of a mean stage on one micro-batch.
 *
 * @param format what is drawn
 * @param columns of text: 40 to 1000; 0 means 100
 * @param backward a backward, in forwards of the same unit; 0 means 2
 * @param collective to gather or reduce the weights of a mean stage, beside computing
 * @param transfer of activations or gradients from stage to stage
 */
public record TimelineOptions(
    Format format, int columns, double backward, double collective, double transfer) {
  /** What is drawn. */
  public enum Format {
    /** A line per pipeline rank. */
    TEXT,
    /** The same with the colours of an ANSI terminal. */
    COLOUR,
    /** An image. */
    SVG,
    /** Trace Event JSON, for ui.perfetto.dev and chrome://tracing. */
    TRACE
  }

  /**
   * The default costs: a backward takes two forwards, communication takes no time.
   *
   * @param format what is drawn
   * @return options
   */
  public static TimelineOptions as(Format format) {
    return new TimelineOptions(format, 0, 0, 0, 0);
  }

  /** Gives the options as C has them to a call. */
  <T> T with(Function<TimelineOptionsStruct, T> call) {
    TimelineOptionsStruct raw = new TimelineOptionsStruct();
    try {
      raw.setFormat(format.ordinal());
      raw.setColumns(columns);
      raw.setBackward(backward);
      raw.setCollective(collective);
      raw.setTransfer(transfer);
      return call.apply(raw);
    } finally {
      raw.delete();
    }
  }
}
