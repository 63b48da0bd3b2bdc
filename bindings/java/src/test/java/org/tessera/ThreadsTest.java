package org.tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Each thread gets the exception of its own call. */
@Timeout(120)
class ThreadsTest {
  private static void provokeErrors(int thread, int calls) {
    try (Config config = new Config()) {
      for (int call = 0; call < calls; ++call) {
        String key = "no.such.key." + thread + "." + call;
        TesseraException unknown = assertThrows(TesseraException.class, () -> config.set(key, 1));
        Thread.yield();
        assertEquals(Status.NOT_FOUND, unknown.status());
        assertTrue(unknown.getMessage().contains(key), unknown.getMessage());
        String value = "-" + thread + call;
        TesseraException bad =
            assertThrows(TesseraException.class, () -> config.set("train.steps", value));
        assertEquals(Status.ARGUMENT, bad.status());
        assertTrue(bad.getMessage().contains(value), bad.getMessage());
      }
    }
  }

  private static void run(ExecutorService threads, int count, int calls) throws Exception {
    List<Future<?>> done = new ArrayList<>();
    for (int thread = 0; thread < count; ++thread) {
      int number = thread;
      done.add(threads.submit(() -> provokeErrors(number, calls)));
    }
    for (Future<?> one : done) {
      one.get();
    }
    threads.shutdown();
  }

  @Test
  void thirtyTwoThreadsGetTheirOwnErrors() throws Exception {
    run(Executors.newFixedThreadPool(32), 32, 500);
  }

  @Test
  void virtualThreadsGetTheirOwnErrorsAndResults() throws Exception {
    ExecutorService threads;
    try {
      threads =
          (ExecutorService)
              Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
    } catch (NoSuchMethodException before21) {
      abort("virtual threads need Java 21");
      return;
    }
    List<World> worlds = World.threads(4, Job.options());
    List<Future<Double>> losses = new ArrayList<>();
    for (World world : worlds) {
      losses.add(
          threads.submit(
              () -> {
                Mesh mesh = Mesh.createAsync(world, new MeshOptions()).join();
                Model model = Model.ofJson(Job.CONFIG_JSON);
                Trainer trainer = Trainer.createAsync(mesh, model, Job.config()).join();
                trainer.stepAsync(Job.batch(0, 0)).join();
                return trainer.stepAsync(Job.batch(0, 1)).join().loss();
              }));
    }
    for (Future<Double> loss : losses) {
      assertEquals(losses.get(0).get(), loss.get());
    }
    run(threads, 200, 50);
  }
}
