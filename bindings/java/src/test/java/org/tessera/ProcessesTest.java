package org.tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Ranks as processes of their own, of which one is killed; and what the library does to a JVM. */
@Timeout(180)
class ProcessesTest {
  @TempDir Path folder;

  private static World join(int rank, String rendezvous, WorldOptions.Backend backend) {
    return World.join(
        Job.options()
            .rank(rank)
            .size(2)
            .local(rank, 2)
            .backend(backend)
            .timeout(Duration.ofSeconds(60))
            .rendezvous(rendezvous));
  }

  private static void sum(Mesh mesh, int times) {
    try (Tensor one = Tensor.of(new float[] {1}, 1)) {
      for (int i = 0; i < times; ++i) {
        mesh.allReduce("dp", one, Mesh.Reduce.AVG);
      }
    }
  }

  /** Rank 1, which sums until it is killed. */
  static final class Child {
    private Child() {}

    public static void main(String[] arguments) {
      World world = join(1, arguments[0], WorldOptions.Backend.valueOf(arguments[1]));
      sum(new Mesh(world, new MeshOptions()), Integer.MAX_VALUE);
    }
  }

  private void killedRank(WorldOptions.Backend backend) throws Exception {
    String rendezvous = "file://" + folder.resolve(backend.name());
    Process child = Job.java(List.of(), Child.class, rendezvous, backend.name());
    try (World world = join(0, rendezvous, backend);
        Mesh mesh = new Mesh(world, new MeshOptions())) {
      sum(mesh, 100);
      child.destroyForcibly();
      TesseraException error =
          assertThrows(TesseraException.class, () -> sum(mesh, Integer.MAX_VALUE));
      assertEquals(Status.PEER_FAILED, error.status());
      assertEquals(1, error.rank().orElseThrow());
    } finally {
      child.destroyForcibly();
    }
    // This JVM lives, and can begin anew.
    assertEquals(List.of(2, 2), World.runRanks(2, Job.options(), World::size));
  }

  @Test
  void aKilledRankIsAnExceptionInTheOther() throws Exception {
    killedRank(WorldOptions.Backend.LOCAL);
  }

  @Test
  void aKilledRankIsAnExceptionInTheOtherOverSockets() throws Exception {
    killedRank(WorldOptions.Backend.GLOO);
  }

  /** Trains, and tells which signals have handlers before and after it. */
  static final class Signals {
    private static Object nothing;

    private Signals() {}

    /** Dereferences null; once compiled, the JVM learns of it by SIGSEGV. */
    private static int nullPointers(int times) {
      int caught = 0;
      for (int i = 0; i < times; ++i) {
        try {
          nothing.hashCode();
        } catch (NullPointerException expected) {
          ++caught;
        }
      }
      return caught;
    }

    private static String handlers() throws IOException {
      return Long.toHexString(Job.status("SigCgt:", 16))
          + " "
          + Long.toHexString(Job.status("SigIgn:", 16));
    }

    public static void main(String[] arguments) throws Exception {
      String before = handlers();
      World.runRanks(
          2,
          Job.options(),
          world -> {
            Trainer trainer =
                new Trainer(
                    new Mesh(world, new MeshOptions()),
                    Model.ofJson(Job.CONFIG_JSON),
                    Job.config());
            return trainer.step(Job.batch(0, 0));
          });
      if (nullPointers(100_000) != 100_000) {
        throw new IllegalStateException("a null pointer was not caught");
      }
      Thread.sleep(1500); // the JVM looks at its handlers from time to time
      System.out.println("before " + before);
      System.out.println("after " + handlers());
    }
  }

  @Test
  void noSignalHandlerOfTheJvmChanges() throws Exception {
    Process process = Job.java(List.of("-Xcheck:jni"), Signals.class);
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    List<String> lines = output.lines().toList();
    String before = lines.get(lines.size() - 2);
    String after = lines.get(lines.size() - 1);
    assertTrue(before.startsWith("before "), output);
    assertEquals(before.substring("before ".length()), after.substring("after ".length()));
    assertFalse(output.contains("handler"), output); // -Xcheck:jni says which handler was changed
    assertFalse(output.contains("WARNING"), output); // ... and which JNI rule was broken
  }

  /** Leaves the JVM while a step runs. */
  static final class Leave {
    private Leave() {}

    public static void main(String[] arguments) throws Exception {
      Job job = new Job();
      job.trainer.step(Job.batch(0, 0));
      job.trainer.stepAsync(Job.batch(0, 1));
      System.exit(7);
    }
  }

  @Test
  void aJvmEndsAsTheProgramSaysAlsoDuringAStep() throws Exception {
    Process process = Job.java(List.of(), Leave.class);
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(7, process.waitFor(), output);
    assertEquals("", output);
  }

  /** Loads the library from the folder, or the jar, that the class path and properties name. */
  static final class Version {
    private Version() {}

    public static void main(String[] arguments) {
      System.out.println(Tessera.version());
    }
  }

  @Test
  void aFolderWithoutTheLibraryIsNamed() throws Exception {
    Process process = Job.java(List.of("-Dtessera.library.path=" + folder), Version.class);
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(1, process.waitFor(), output);
    assertTrue(output.contains("tessera.library.path=" + folder + " has no libtessera.so"), output);
  }
}
