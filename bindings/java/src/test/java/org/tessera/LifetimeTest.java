package org.tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Objects that are closed, forgotten, or closed while calls run. */
@Timeout(300)
class LifetimeTest {
  @Test
  void useAfterCloseIsAnIllegalState() {
    Config config = new Config();
    config.close();
    config.close();
    assertTrue(config.isClosed());
    IllegalStateException error =
        assertThrows(IllegalStateException.class, () -> config.get("optimizer.lr"));
    assertEquals("Config is closed", error.getMessage());
    Batch batch = new Batch();
    batch.close();
    try (Job job = new Job()) {
      assertThrows(IllegalStateException.class, () -> job.trainer.step(batch));
      job.trainer.close();
      assertThrows(IllegalStateException.class, job.trainer::stepCount);
      assertThrows(IllegalStateException.class, () -> new WorldOptions(config).with(raw -> null));
      job.world.finish();
      assertThrows(IllegalStateException.class, job.world::rank);
    }
    assertThrows(TesseraException.class, () -> new Mesh(null, new MeshOptions()));
  }

  /** Makes one of everything and forgets it. */
  private static void churn() {
    new Config().set("train.steps", 3);
    Model.ofJson(Job.CONFIG_JSON);
    new Batch().push(new long[] {1, 2, 3}, null, 3);
    new Events(8);
    Tensor.zeros(Dtype.F32, 1024);
    Tensor.view(Dtype.F32, ByteBuffer.allocateDirect(4096), 1024);
  }

  private static void collect(long target) throws InterruptedException {
    for (int i = 0; i < 200 && Tessera.liveObjects(Tessera.Kind.ANY) > target; ++i) {
      System.gc();
      Thread.sleep(20);
    }
  }

  @Test
  void forgottenObjectsAreCollected() throws Exception {
    collect(0); // those of other tests
    long before = Tessera.liveObjects(Tessera.Kind.ANY);
    long warm = 0;
    for (int round = 0; round < 30; ++round) {
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 4; ++t) {
        Thread thread =
            new Thread(
                () -> {
                  for (int i = 0; i < 200; ++i) {
                    churn();
                  }
                });
        thread.start();
        threads.add(thread);
      }
      System.gc();
      for (Thread thread : threads) {
        thread.join();
      }
      if (round == 10) {
        collect(before);
        warm = Job.memory();
      }
    }
    collect(before);
    assertTrue(Tessera.liveObjects(Tessera.Kind.ANY) <= before);
    long after = Job.memory();
    assertTrue(after < warm + 64 * 1024, warm + " KiB, then " + after + " KiB");
  }

  @Test
  void objectsLiveAsLongAsTheirCalls() throws Exception {
    for (int step = 0; step < 20; ++step) {
      CompletableFuture<Metrics> metrics;
      try (Job job = new Job();
          Batch batch = Job.batch(0, step)) {
        metrics = job.trainer.stepAsync(batch);
      }
      System.gc();
      assertTrue(metrics.join().loss() > 0);
    }
    for (int step = 0; step < 5; ++step) {
      CompletableFuture<Metrics> metrics = new Job().trainer.stepAsync(Job.batch(0, step));
      System.gc();
      assertTrue(metrics.join().loss() > 0);
    }
  }

  @Test
  void aViewOutlivesItsCaller() {
    List<World> worlds = World.threads(2, Job.options());
    List<CompletableFuture<Void>> sums = new ArrayList<>();
    for (World world : worlds) {
      sums.add(
          Mesh.createAsync(world, new MeshOptions())
              .thenCompose(
                  mesh -> {
                    ByteBuffer memory = ByteBuffer.allocateDirect(4 << 20);
                    Tensor view = Tensor.view(Dtype.F32, memory, 1 << 20);
                    CompletableFuture<Void> sum = mesh.allReduceAsync("dp", view, Mesh.Reduce.SUM);
                    view.close();
                    return sum;
                  }));
    }
    for (int i = 0; i < 5; ++i) {
      System.gc();
    }
    sums.forEach(CompletableFuture::join);
  }
}
