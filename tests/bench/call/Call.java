import java.util.function.IntSupplier;
import org.tessera.Tessera;
import org.tessera.World;
import org.tessera.WorldOptions;

/** One call from Java through the public API. */
final class Call {
  private static final int ROUNDS = 3_000_000;

  private Call() {}

  private static double nanosecondsOf(IntSupplier call) {
    int sum = 0;
    double nanoseconds = 0;
    for (int pass = 0; pass < 3; ++pass) { // the last one is compiled
      long start = System.nanoTime();
      for (int i = 0; i < ROUNDS; ++i) {
        sum += call.getAsInt();
      }
      nanoseconds = (System.nanoTime() - start) / (double) ROUNDS;
    }
    return sum == -1 ? 0 : nanoseconds;
  }

  public static void main(String[] arguments) {
    try (World world = World.threads(1, new WorldOptions()).get(0)) {
      System.out.printf(
          "java %.1f %.1f%n", nanosecondsOf(Tessera::abiVersion), nanosecondsOf(world::rank));
    }
  }
}
