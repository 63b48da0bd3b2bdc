package org.tessera;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * One rank of a job: its number, its device and its connection to the others. Ranks are processes
 * of a launcher, or threads of this process. {@link #finish} is the orderly end; a world that is
 * only closed is a failed peer to the other ranks.
 *
 * <p>All work of a rank runs on a thread that the library owns, so it does not matter which thread
 * calls.
 */
public final class World extends NativeObject {
  private World(long id) {
    super(tessera_kind.TESSERA_KIND_WORLD, id);
  }

  /**
   * Joins a job; returns when all ranks have met.
   *
   * @param options which rank of which job this is
   * @return this rank
   */
  public static World join(WorldOptions options) {
    long[] out = new long[1];
    options.with(raw -> Native.tessera_world_create(raw, out));
    return new World(out[0]);
  }

  /**
   * Joins the job that torchrun, mpirun or srun describe in the environment, or makes a job of one
   * rank.
   *
   * @param options what holds where the environment is silent
   * @return this rank
   */
  public static World fromEnvironment(WorldOptions options) {
    long[] out = new long[1];
    options.with(raw -> Native.tessera_world_create_from_environment(raw, out));
    return new World(out[0]);
  }

  /**
   * Makes a job whose ranks all live in this process.
   *
   * @param size how many
   * @param options rank, size and rendezvous are ignored
   * @return the ranks in their order
   */
  public static List<World> threads(int size, WorldOptions options) {
    long[] out = new long[Math.max(size, 1)];
    options.with(raw -> Native.tessera_world_create_threads(size, raw, out));
    List<World> worlds = new ArrayList<>();
    for (long id : out) {
      worlds.add(new World(id));
    }
    return worlds;
  }

  /**
   * What a rank does.
   *
   * @param <T> its result
   */
  @FunctionalInterface
  public interface Body<T> {
    /**
     * Runs on a thread of its own.
     *
     * @param world the rank
     * @return its result
     * @throws Exception makes the rank a failed one
     */
    T run(World world) throws Exception;
  }

  /**
   * Makes a job of {@code size} ranks in this process and runs {@code body} for each on a thread of
   * its own.
   *
   * <p>A body that throws aborts its rank, so that no other rank waits for it. What is thrown here
   * is what came first, not what followed from it; anything but a {@link TesseraException} becomes
   * the cause of one with {@link Status#HOST}. When the calling thread is interrupted, the ranks
   * are told and waited for, and its interrupt status is set again.
   *
   * @param <T> result of a rank
   * @param size how many ranks
   * @param options rank, size and rendezvous are ignored
   * @param body what each does
   * @return what the bodies returned, in the order of the ranks
   */
  public static <T> List<T> runRanks(int size, WorldOptions options, Body<T> body) {
    List<FutureTask<T>> tasks = new ArrayList<>();
    List<World> worlds = threads(size, options);
    for (World world : worlds) {
      int rank = tasks.size();
      Callable<T> run = () -> runRank(world, rank, body);
      FutureTask<T> task = new FutureTask<>(run);
      Thread thread = new Thread(task, "rank-" + rank);
      thread.setDaemon(true);
      thread.start();
      tasks.add(task);
    }
    List<T> results = new ArrayList<>();
    TesseraException cause = null;
    TesseraException interruption = null;
    for (int rank = 0; rank < size; ) {
      try {
        results.add(tasks.get(rank).get());
        ++rank;
      } catch (ExecutionException error) {
        TesseraException thrown =
            (TesseraException) error.getCause(); // runRank throws nothing else
        if (cause == null || (followed(cause) && !followed(thrown))) {
          cause = thrown;
        }
        ++rank;
      } catch (InterruptedException interrupted) { // ends the ranks, which cannot be left alone
        interruption = new TesseraException(interrupted, -1);
        worlds.forEach(World::abortInterrupted);
      }
    }
    if (interruption != null) {
      Thread.currentThread().interrupt();
      throw interruption;
    }
    if (cause != null) {
      throw cause;
    }
    return results;
  }

  private static boolean followed(TesseraException error) {
    return error.status() == Status.PEER_FAILED;
  }

  private static <T> T runRank(World world, int rank, Body<T> body) {
    try {
      T result = body.run(world);
      if (!world.isClosed()) {
        world.finish();
      }
      return result;
    } catch (TesseraException error) {
      tellOthers(world, error);
      throw error;
    } catch (Throwable thrown) { // also an Error must reach the other ranks
      TesseraException error = new TesseraException(thrown, rank);
      tellOthers(world, error);
      throw error;
    } finally {
      world.close();
    }
  }

  private void abortInterrupted() {
    try {
      abort("interrupted");
    } catch (IllegalStateException | TesseraException closed) {
      // Its rank has ended.
    }
  }

  /** When the body has closed the world, the others see that it is gone. */
  private static void tellOthers(World world, TesseraException error) {
    if (!world.isClosed()) {
      world.abort(String.valueOf(error.getMessage()).replace('\0', ' '));
    }
  }

  /**
   * This rank's number.
   *
   * @return from 0
   */
  public int rank() {
    int[] out = new int[1];
    Native.tessera_world_get_rank(this, out);
    return out[0];
  }

  /**
   * The number of ranks.
   *
   * @return at least 1
   */
  public int size() {
    int[] out = new int[1];
    Native.tessera_world_get_size(this, out);
    return out[0];
  }

  /** Orderly end: waits for all ranks, then closes. Collective over the world. */
  public void finish() {
    Native.tessera_world_close(this);
    close();
  }

  /**
   * Like {@link #finish}, without waiting.
   *
   * @return ends when all ranks have called
   */
  public CompletableFuture<Void> finishAsync() {
    return Call.start(
        out -> Native.tessera_world_close_async(this, out),
        future -> {
          Native.tessera_future_get_result(future);
          close();
          return null;
        },
        this);
  }

  /**
   * Tells all ranks that this one cannot go on: their running and later collectives end with {@link
   * Status#PEER_FAILED}. Works while another call on the world is running.
   *
   * @param reason one line
   */
  public void abort(String reason) {
    Native.tessera_world_abort(this, Text.in("reason", reason));
  }
}
