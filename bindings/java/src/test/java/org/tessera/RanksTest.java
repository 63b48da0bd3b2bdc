package org.tessera;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Several ranks: collectives, calls under way, events, failures. */
@Timeout(120)
class RanksTest {
  @TempDir Path folder;

  @Test
  void collectivesFollowTheAxes() {
    World.runRanks(
        4,
        Job.options(),
        world -> {
          int rank = world.rank();
          assertEquals(4, world.size());
          Mesh mesh = new Mesh(world, new MeshOptions().dpReplicate(2));
          assertEquals(4, mesh.size("dp"));
          assertEquals(rank, mesh.index("dp"));
          assertArrayEquals(new int[] {rank % 2, rank % 2 + 2}, mesh.ranks("dp_replicate"));
          assertTrue(mesh.describe().contains("dp_replicate=2"));
          Tensor pair = Tensor.of(new float[] {rank, 1}, 2);
          mesh.allReduce("dp", pair, Mesh.Reduce.SUM);
          assertArrayEquals(new float[] {6, 4}, pair.toFloats());
          pair.set(new float[] {rank, 1});
          mesh.broadcast("dp_shard", pair, 1);
          assertEquals(rank < 2 ? 1 : 3, pair.toFloats()[0]);
          pair.set(new float[] {rank, 1});
          Tensor all = Tensor.zeros(Dtype.F32, 4, 2);
          mesh.allGather("dp", pair, all);
          assertArrayEquals(new float[] {0, 1, 1, 1, 2, 1, 3, 1}, all.toFloats());
          mesh.reduceScatter("dp", all, pair, Mesh.Reduce.MAX);
          assertArrayEquals(new float[] {rank, 1}, pair.toFloats());
          Tensor other = Tensor.zeros(Dtype.F32, 4, 2);
          mesh.allToAll("dp", all, other);
          assertEquals(rank, other.toFloats()[6]);
          mesh.barrier("dp");
          TesseraException error =
              assertThrows(TesseraException.class, () -> mesh.allGather("dp_shard", pair, all));
          assertEquals(
              "output has 8 elements instead of 2 times the 2 of input", error.getMessage());
          // The same without waiting.
          mesh.broadcastAsync("dp", pair, 3).join();
          mesh.allGatherAsync("dp", pair, all).join();
          assertArrayEquals(new float[] {3, 1, 3, 1, 3, 1, 3, 1}, all.toFloats());
          mesh.reduceScatterAsync("dp", all, pair, Mesh.Reduce.SUM).join();
          mesh.allReduceAsync("dp", pair, Mesh.Reduce.MIN).join();
          assertArrayEquals(new float[] {12, 4}, pair.toFloats());
          mesh.allToAllAsync("dp", all, other).join();
          mesh.barrierAsync("dp").join();
          return null;
        });
  }

  @Test
  void aMeshThatDoesNotFitIsRefused() {
    TesseraException error =
        assertThrows(
            TesseraException.class,
            () -> World.runRanks(4, Job.options(), w -> new Mesh(w, new MeshOptions().tp(3))));
    assertEquals(Status.ARGUMENT, error.status());
    assertThrows(TesseraException.class, () -> World.threads(0, Job.options()));
    assertThrows(TesseraException.class, () -> World.threads(-1, Job.options()));
  }

  private static List<Mesh> meshes(List<World> worlds) {
    List<CompletableFuture<Mesh>> made = new ArrayList<>();
    worlds.forEach(world -> made.add(Mesh.createAsync(world, new MeshOptions())));
    List<Mesh> meshes = new ArrayList<>();
    made.forEach(mesh -> meshes.add(mesh.join()));
    return meshes;
  }

  @Test
  void oneThreadDrivesAllRanks() {
    List<World> worlds = World.threads(2, Job.options());
    List<Mesh> meshes = meshes(worlds);
    CompletableFuture<Void> first = meshes.get(0).barrierAsync("dp");
    TesseraException error =
        assertThrows(TesseraException.class, () -> meshes.get(0).barrier("dp"));
    assertEquals(Status.BUSY, error.status());
    assertThrows(TimeoutException.class, () -> first.get(20, TimeUnit.MILLISECONDS));
    CompletableFuture.allOf(first, meshes.get(1).barrierAsync("dp")).join();
    List<CompletableFuture<Trainer>> made = new ArrayList<>();
    try (Model model = Model.ofJson(Job.CONFIG_JSON)) {
      meshes.forEach(mesh -> made.add(Trainer.createAsync(mesh, model, Job.config())));
    }
    for (int step = 0; step < 3; ++step) {
      List<CompletableFuture<Metrics>> steps = new ArrayList<>();
      for (int rank = 0; rank < 2; ++rank) {
        steps.add(made.get(rank).join().stepAsync(Job.batch(rank, step)));
      }
      assertEquals(steps.get(0).join().loss(), steps.get(1).join().loss());
    }
    // A stage may block without holding up the calls that it waits for.
    CompletableFuture<Void> nested =
        meshes.get(0).barrierAsync("dp").thenRun(() -> meshes.get(0).barrierAsync("dp").join());
    CompletableFuture<Void> other =
        meshes.get(1).barrierAsync("dp").thenRun(() -> meshes.get(1).barrierAsync("dp").join());
    CompletableFuture.allOf(nested, other).join();
    CompletableFuture.allOf(worlds.get(0).finishAsync(), worlds.get(1).finishAsync()).join();
    assertTrue(worlds.get(0).isClosed());
  }

  @Test
  void workThatHasNotBegunCanBeCancelled() throws Exception {
    List<World> worlds = World.threads(2, Job.options());
    List<Mesh> meshes = meshes(worlds);
    CompletableFuture<Void> waiting = meshes.get(0).barrierAsync("dp");
    assertThrows(TimeoutException.class, () -> waiting.get(50, TimeUnit.MILLISECONDS));
    CompletableFuture<Mesh> queued = Mesh.createAsync(worlds.get(0), new MeshOptions());
    assertTrue(queued.cancel(false));
    assertThrows(CancellationException.class, queued::join);
    worlds.get(1).abort("the test says so");
    CompletionException error = assertThrows(CompletionException.class, waiting::join);
    TesseraException cause = assertInstanceOf(TesseraException.class, error.getCause());
    assertEquals(Status.PEER_FAILED, cause.status());
    assertEquals(1, cause.rank().orElseThrow());
  }

  @Test
  void anInterruptionEndsAllRanks() throws Exception {
    CountDownLatch running = new CountDownLatch(2);
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    AtomicBoolean interrupted = new AtomicBoolean();
    Thread caller =
        new Thread(
            () -> {
              try {
                World.runRanks(
                    2,
                    Job.options(),
                    world -> {
                      Mesh mesh = new Mesh(world, new MeshOptions());
                      running.countDown();
                      while (true) {
                        mesh.barrier("dp");
                      }
                    });
              } catch (TesseraException error) {
                thrown.set(error);
                interrupted.set(Thread.currentThread().isInterrupted());
              }
            });
    caller.start();
    running.await();
    caller.interrupt();
    caller.join(20_000);
    assertFalse(caller.isAlive());
    assertInstanceOf(InterruptedException.class, thrown.get().getCause());
    assertTrue(interrupted.get());
  }

  @Test
  void anExceptionInOneRankIsThrownAndFreesTheOthers() {
    List<TesseraException> others = Collections.synchronizedList(new ArrayList<>());
    TesseraException error =
        assertThrows(
            TesseraException.class,
            () ->
                World.runRanks(
                    3,
                    Job.options(),
                    world -> {
                      Mesh mesh = new Mesh(world, new MeshOptions());
                      if (world.rank() == 1) {
                        throw new IOException("rank one had enough");
                      }
                      try {
                        mesh.barrier("dp");
                      } catch (TesseraException followed) {
                        others.add(followed);
                        throw followed;
                      }
                      return null;
                    }));
    assertEquals(Status.HOST, error.status());
    assertEquals(1, error.rank().orElseThrow());
    assertEquals(
        "rank one had enough", assertInstanceOf(IOException.class, error.getCause()).getMessage());
    assertEquals(2, others.size());
    for (TesseraException other : others) {
      assertEquals(Status.PEER_FAILED, other.status());
      assertTrue(other.getMessage().contains("rank one had enough"), other.getMessage());
    }
  }

  @Test
  void anErrorOfTheJvmInOneRankFreesTheOthers() {
    TesseraException error =
        assertThrows(
            TesseraException.class,
            () ->
                World.runRanks(
                    2,
                    Job.options(),
                    world -> {
                      Mesh mesh = new Mesh(world, new MeshOptions());
                      if (world.rank() == 0) {
                        throw new StackOverflowError();
                      }
                      mesh.barrier("dp");
                      return null;
                    }));
    assertInstanceOf(StackOverflowError.class, error.getCause());
  }

  @Test
  void eventsTellOfStepsFailuresAndCheckpoints() {
    try (Job job = new Job();
        Events events = new Events(0)) {
      job.trainer.setEvents(events);
      assertTrue(events.poll().isEmpty());
      double loss = job.trainer.step(Job.batch(0, 0)).loss();
      assertThrows(TesseraException.class, () -> job.trainer.parameter("no.such"));
      job.trainer.save(folder.resolve("c"), null);
      Event.Step step = assertInstanceOf(Event.Step.class, events.poll().orElseThrow());
      assertEquals(loss, step.metrics().loss());
      assertEquals(0, step.origin().rank().orElseThrow());
      assertTrue(
          step.origin().time().isAfter(java.time.Instant.now().minus(Duration.ofMinutes(1))));
      Event.Failure failure = assertInstanceOf(Event.Failure.class, events.poll().orElseThrow());
      assertEquals(Status.NOT_FOUND, failure.status());
      Event.Checkpoint saved =
          assertInstanceOf(Event.Checkpoint.class, events.poll().orElseThrow());
      assertEquals(folder.resolve("c"), saved.directory());
      job.trainer.setEvents(null);
      job.trainer.step(Job.batch(0, 1));
      assertTrue(events.next(Duration.ofMillis(1)).isEmpty());
    }
  }

  @Test
  void aListenerGetsEventsAndWhatItThrowsIsReported() throws Exception {
    try (Job job = new Job()) {
      List<Long> seen = Collections.synchronizedList(new ArrayList<>());
      CountDownLatch three = new CountDownLatch(3);
      Events events = new Events(0);
      job.trainer.setEvents(events);
      try (Events.Listener listener =
          events.listen(
              event -> {
                if (event instanceof Event.Step step) {
                  seen.add(step.metrics().step());
                  three.countDown();
                }
              })) {
        for (int step = 0; step < 3; ++step) {
          job.trainer.step(Job.batch(0, step));
        }
        three.await();
      }
      assertEquals(List.of(1L, 2L, 3L), seen);

      Events second = new Events(0);
      job.trainer.setEvents(second);
      CountDownLatch called = new CountDownLatch(1);
      Events.Listener listener =
          second.listen(
              event -> {
                called.countDown();
                throw new IllegalArgumentException("a listener had enough");
              });
      job.trainer.step(Job.batch(0, 3));
      called.await();
      TesseraException error = assertThrows(TesseraException.class, listener::close);
      assertEquals("a listener had enough", error.getCause().getMessage());
      job.trainer.step(Job.batch(0, 4));
      assertFalse(job.trainer.isClosed());
    }
  }

  @Test
  void optionsComeFromAConfiguration() {
    try (Config config =
        new Config().set("backend", "local").set("threads", 1).set("parallel.dp_replicate", 2)) {
      WorldOptions options = new WorldOptions(config).timeout(Duration.ofSeconds(60));
      List<Long> sizes =
          World.runRanks(
              2, options, world -> new Mesh(world, new MeshOptions(config)).size("dp_replicate"));
      assertEquals(List.of(2L, 2L), sizes);
    }
  }
}
