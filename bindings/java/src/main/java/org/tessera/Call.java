package org.tessera;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadFactory;
import java.util.function.Function;

/**
 * A call under way as a CompletableFuture. One thread waits for all of them; results are taken, and
 * dependent stages run, on threads of a pool that grows, so that a stage may block.
 */
final class Call<T> extends CompletableFuture<T> {
  /** How late a call that begins while the thread already waits for others may be noticed. */
  private static final long ROUND_NS = 1_000_000;

  private static final ExecutorService POOL = Executors.newCachedThreadPool(daemon("tessera-call"));
  private static final List<Call<?>> RUNNING = new ArrayList<>();
  private static Thread waiter;

  /** Makes the native call, which writes the handle of a future. */
  interface Start {
    void into(long[] outFuture);
  }

  /** The native future. */
  static final class Handle extends NativeObject {
    Handle(long id) {
      super(tessera_kind.TESSERA_KIND_FUTURE, id);
    }
  }

  private final Handle handle;
  private final Function<Handle, T> take;
  private Object kept;

  private Call(Handle handle, Function<Handle, T> take, Object kept) {
    this.handle = handle;
    this.take = take;
    this.kept = kept;
  }

  /** Begins a call. What is {@code kept} stays reachable until the work has ended. */
  static <T> CompletableFuture<T> start(Start start, Function<Handle, T> take, Object... kept) {
    long[] out = new long[1];
    start.into(out);
    Call<T> call = new Call<>(new Handle(out[0]), take, kept);
    synchronized (RUNNING) {
      RUNNING.add(call);
      if (waiter == null) {
        waiter = daemon("tessera-waiter").newThread(Call::waitForAll);
        waiter.start();
      }
      RUNNING.notifyAll();
    }
    return call;
  }

  /** A call without a result. */
  static CompletableFuture<Void> start(Start start, Object... kept) {
    return start(
        start,
        future -> {
          Native.tessera_future_get_result(future);
          return null;
        },
        kept);
  }

  /** Cancels work that has not begun; work that has begun runs to its end, unobserved. */
  @Override
  public boolean cancel(boolean mayInterruptIfRunning) {
    // In this order: the end of cancelled work must not come before the cancellation of this
    // future.
    boolean cancelled = super.cancel(mayInterruptIfRunning);
    try {
      Native.tessera_future_cancel(handle);
    } catch (IllegalStateException | TesseraException ended) {
      // Its result is being taken.
    }
    return cancelled;
  }

  /** Stages of this one are plain futures: cancelling them does not reach the library. */
  @Override
  public <U> CompletableFuture<U> newIncompleteFuture() {
    return new CompletableFuture<>();
  }

  private void end() {
    try {
      T result = take.apply(handle);
      if (!complete(result) && result instanceof NativeObject unwanted) {
        unwanted.close();
      }
    } catch (Throwable error) { // also an Error must reach those who wait
      completeExceptionally(error);
    } finally {
      kept = null;
      handle.close();
    }
  }

  private static void waitForAll() {
    while (true) {
      long[] ids;
      synchronized (RUNNING) {
        while (RUNNING.isEmpty()) {
          try {
            RUNNING.wait();
          } catch (InterruptedException ignored) {
            // Nobody but this class knows the thread.
          }
        }
        ids = RUNNING.stream().mapToLong(call -> call.handle.id()).toArray();
      }
      if (Native.wait_round(ids, ids.length, ROUND_NS) == tessera_status_code.TESSERA_E_TIMEOUT) {
        continue;
      }
      synchronized (RUNNING) {
        for (Iterator<Call<?>> calls = RUNNING.iterator(); calls.hasNext(); ) {
          Call<?> call = calls.next();
          if (Native.has_ended(call.handle.id()) != 0) {
            calls.remove();
            finish(call);
          }
        }
      }
    }
  }

  private static void finish(Call<?> call) {
    try {
      POOL.execute(call::end);
    } catch (Throwable noThread) { // no memory for one: here then, so that nobody waits in vain
      call.end();
    }
  }

  private static ThreadFactory daemon(String name) {
    return task -> {
      Thread thread = new Thread(task, name);
      thread.setDaemon(true);
      return thread;
    };
  }
}
