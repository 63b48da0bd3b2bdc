package org.tessera;

import java.nio.file.Path;
import java.time.Instant;
import java.util.OptionalInt;

/** Something that happened. */
public sealed interface Event
    permits Event.Step, Event.Log, Event.Failure, Event.Checkpoint, Event.Other {
  /**
   * When and where.
   *
   * @return never null
   */
  Origin origin();

  /**
   * When and where something happened.
   *
   * @param rank whose event it is, when it is one's
   * @param time when it happened
   * @param dropped events lost before this one since the last one was taken
   */
  record Origin(OptionalInt rank, Instant time, long dropped) {}

  /**
   * A step was made.
   *
   * @param origin when and where
   * @param metrics what it reports; communicationSeconds is not part of events
   */
  record Step(Origin origin, Metrics metrics) implements Event {}

  /**
   * The library says something.
   *
   * @param origin when and where
   * @param level how important it is
   * @param message the line
   */
  record Log(Origin origin, Tessera.LogLevel level, String message) implements Event {}

  /**
   * A call failed.
   *
   * @param origin when and where
   * @param status how
   * @param message of its exception
   */
  record Failure(Origin origin, Status status, String message) implements Event {}

  /**
   * A checkpoint was saved.
   *
   * @param origin when and where
   * @param directory its folder
   */
  record Checkpoint(Origin origin, Path directory) implements Event {}

  /**
   * An event that this version of the binding does not know.
   *
   * @param origin when and where
   * @param type its number
   */
  record Other(Origin origin, int type) implements Event {}
}
