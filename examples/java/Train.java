import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.tessera.Config;
import org.tessera.Dataset;
import org.tessera.Mesh;
import org.tessera.MeshOptions;
import org.tessera.Metrics;
import org.tessera.Model;
import org.tessera.TesseraException;
import org.tessera.Trainer;
import org.tessera.World;
import org.tessera.WorldOptions;

/**
 * Fine-tunes a model on a mesh, from Java.
 *
 * <pre>java -cp tessera.jar:. Train recipe.yaml key=value...</pre>
 *
 * ranks=4: four rank threads in this process. No {@code ranks}: one rank of a launcher (torchrun, mpirun, srun), or
 * alone. Rank 0 prints {@code loss STEP VALUE}. With output.dir the run ends with a checkpoint and a Hugging Face
 * directory; output.resume=true goes on from that checkpoint. The same program in other languages: docs/languages.md.
 */
public final class Train {
  private Train() {}

  /** A model starts from a checkpoint, or from the config.json named by model.config with random weights. */
  private static Model openModel(Config config) throws IOException {
    String json = config.get("model.config");
    return json.isEmpty()
        ? Model.open(Path.of(config.get("model.path")))
        : Model.ofJson(Files.readString(Path.of(json)));
  }

  /** One rank: mesh, model, trainer, data, the loop, and the trained model as a Hugging Face directory. */
  private static void runRank(World world, Config config) throws IOException {
    try (Mesh mesh = new Mesh(world, new MeshOptions(config));
        Model model = openModel(config);
        Trainer trainer = new Trainer(mesh, model, config);
        Dataset data = Dataset.open(config, mesh, model)) {
      String output = config.get("output.dir");

      if (config.get("output.resume").equals("true")) {
        trainer.load(Path.of(output, "checkpoint"), data);
      }
      for (Metrics metrics : trainer.steps(data)) {
        if (world.rank() == 0) {
          System.out.println("loss " + metrics.step() + " " + metrics.loss()); // all digits
          System.out.flush();
        }
      }
      if (!output.isEmpty()) {
        trainer.save(Path.of(output, "checkpoint"), data);
        trainer.export(Path.of(output), null);
      }
    }
  }

  /** A recipe, then key=value pairs that override it. */
  public static void main(String[] arguments) throws IOException {
    try (Config config = new Config()) {
      for (String word : arguments) {
        int equals = word.indexOf('=');
        if (equals < 0) {
          config.load(Path.of(word));
        } else {
          config.set(word.substring(0, equals), word.substring(equals + 1));
        }
      }
      WorldOptions options = new WorldOptions(config);
      String ranks = config.get("ranks");
      if (!ranks.isEmpty()) {
        World.runRanks(
            Integer.parseInt(ranks),
            options,
            world -> {
              runRank(world, config);
              return null;
            });
      } else {
        try (World world = World.fromEnvironment(options)) {
          runRank(world, config);
          world.finish();
        }
      }
    } catch (TesseraException error) {
      System.err.println(error.status().code() + ": " + error.getMessage());
      System.exit(1);
    }
  }
}
