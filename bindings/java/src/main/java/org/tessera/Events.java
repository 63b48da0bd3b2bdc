package org.tessera;

import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;

/**
 * A queue of events that the program pulls from. A full one drops its oldest metrics and log lines
 * and counts them; failures are never dropped. May be used by any thread; every event is taken
 * once. Closing it ends waiting calls.
 */
public final class Events extends NativeObject {
  /**
   * An empty queue.
   *
   * @param capacity metrics and log lines kept at most; 0 means 1024
   */
  public Events(long capacity) {
    super(tessera_kind.TESSERA_KIND_EVENTS, create(capacity));
  }

  private static long create(long capacity) {
    long[] out = new long[1];
    Native.tessera_events_create(capacity, out);
    return out[0];
  }

  /**
   * Takes the oldest event, waiting for one.
   *
   * @param timeout how long; null: without end
   * @return empty when the time is over
   */
  public Optional<Event> next(Duration timeout) {
    EventStruct raw = new EventStruct();
    try {
      Native.tessera_events_next(this, Text.nanoseconds(timeout), raw);
      return Optional.of(event(raw));
    } catch (TesseraException error) {
      if (error.status() == Status.TIMEOUT) {
        return Optional.empty();
      }
      throw error;
    } finally {
      raw.delete();
    }
  }

  /**
   * Takes the oldest event if there is one.
   *
   * @return empty when there is none
   */
  public Optional<Event> poll() {
    return next(Duration.ZERO);
  }

  /**
   * Gives every event to a listener, on a thread of its own, until the listener is closed.
   *
   * @param listener may throw: then it gets no more events, and closing throws what it threw
   * @return closes the queue and waits for the listener's last call
   */
  public Listener listen(Consumer<? super Event> listener) {
    return new Listener(this, listener);
  }

  /** Reads a struct that the library has filled. */
  private static Event event(EventStruct raw) {
    long ns = raw.getTime_ns();
    Event.Origin origin =
        new Event.Origin(
            raw.getRank() < 0 ? OptionalInt.empty() : OptionalInt.of(raw.getRank()),
            Instant.ofEpochSecond(
                Math.floorDiv(ns, 1_000_000_000L), Math.floorMod(ns, 1_000_000_000L)),
            raw.getDropped());
    return switch (raw.getType()) {
      case tessera_event_type.TESSERA_EVENT_METRICS -> new Event.Step(origin, metrics(raw));
      case tessera_event_type.TESSERA_EVENT_LOG ->
          new Event.Log(origin, Tessera.LogLevel.of(raw.getLevel()), Text.utf8(raw.getMessage()));
      case tessera_event_type.TESSERA_EVENT_FAILURE ->
          new Event.Failure(origin, Status.of(raw.getStatus()), Text.utf8(raw.getMessage()));
      case tessera_event_type.TESSERA_EVENT_CHECKPOINT ->
          new Event.Checkpoint(origin, Path.of(Text.utf8(raw.getMessage())));
      default -> new Event.Other(origin, raw.getType());
    };
  }

  private static Metrics metrics(EventStruct raw) {
    return new Metrics(
        raw.getStep(),
        raw.getLoss(),
        raw.getGrad_norm(),
        raw.getLr(),
        raw.getTokens(),
        raw.getLabel_tokens(),
        raw.getSeconds(),
        raw.getTokens_per_s(),
        0,
        raw.getMemory(),
        raw.getExpert_load_ratio(),
        raw.getExpert_idle(),
        raw.getExpert_balance_loss(),
        raw.getExpert_z_loss(),
        0);
  }

  /** A thread that gives events to a consumer. */
  public static final class Listener implements AutoCloseable {
    private final Events events;
    private final Thread thread;
    private volatile Throwable failure;

    private Listener(Events events, Consumer<? super Event> listener) {
      this.events = events;
      this.thread = new Thread(() -> run(listener), "tessera-events");
      thread.setDaemon(true);
      thread.start();
    }

    private void run(Consumer<? super Event> listener) {
      while (true) {
        Event event;
        try {
          event = events.next(null).orElseThrow();
        } catch (TesseraException | IllegalStateException closed) {
          return;
        }
        try {
          listener.accept(event);
        } catch (Throwable thrown) { // reported by close()
          failure = thrown;
          return;
        }
      }
    }

    /**
     * Closes the queue and waits for the last call, unless the listener itself closes.
     *
     * @throws TesseraException with {@link Status#HOST} and what the listener threw as its cause
     */
    @Override
    public void close() {
      events.close();
      boolean interrupted = false;
      while (thread != Thread.currentThread() && thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException later) {
          interrupted = true;
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
      if (failure != null) {
        throw new TesseraException(failure, -1);
      }
    }
  }
}
