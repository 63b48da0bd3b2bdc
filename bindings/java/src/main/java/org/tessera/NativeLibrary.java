package org.tessera;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Finds and loads libtessera.so, and the library of the JNI layer above it where there is one,
 * once.
 *
 * <ol>
 *   <li>The folder of the property {@code tessera.library.path} or of the variable {@code
 *       TESSERA_LIBRARY_PATH}.
 *   <li>The jar, when libtessera.so was put into it.
 *   <li>The loader of the system ({@code LD_LIBRARY_PATH}, ldconfig).
 * </ol>
 *
 * The JNI layer itself is taken from that folder, from {@code java.library.path}, or from the jar.
 */
final class NativeLibrary {
  private static final String LIBRARY = "libtessera.so";
  private static boolean loaded;

  private NativeLibrary() {}

  /** Loads both libraries when they are not yet. */
  static synchronized void load() {
    if (loaded) {
      return;
    }
    String folder =
        System.getProperty("tessera.library.path", System.getenv("TESSERA_LIBRARY_PATH"));
    if (folder != null && !folder.isEmpty()) {
      loadFrom(Path.of(folder).toAbsolutePath());
    } else if (NativeLibrary.class.getResource(path(LIBRARY)) != null) {
      loadFromJar(withLayer(LIBRARY));
    } else {
      loadFromSystem();
    }
    loaded = true;
  }

  private static List<String> withLayer(String... names) {
    List<String> out = new ArrayList<>(List.of(names));
    if (NativeLayer.LIBRARY != null) {
      out.add(NativeLayer.LIBRARY);
    }
    return out;
  }

  /**
   * Refuses the loaded library when its ABI differs from that of the headers this jar was built
   * with.
   */
  static void checkAbi() {
    checkAbi(NativeLayer.tessera_abi_version(), Text.ascii(NativeLayer.tessera_version_string()));
  }

  static void checkAbi(int library, String version) {
    int built = NativeLayer.header_abi_version();
    if (library != built) {
      throw new UnsatisfiedLinkError(
          "libtessera "
              + version
              + " has ABI "
              + library
              + ", but this jar was built for ABI "
              + built);
    }
  }

  private static void loadFrom(Path folder) {
    Path library = folder.resolve(LIBRARY);
    if (!Files.exists(library)) {
      throw new UnsatisfiedLinkError("tessera.library.path=" + folder + " has no " + LIBRARY);
    }
    System.load(library.toString());
    for (String name : withLayer()) {
      Path layer = folder.resolve(name);
      if (Files.exists(layer)) {
        System.load(layer.toString());
      } else {
        loadFromJar(List.of(name));
      }
    }
  }

  private static void loadFromSystem() {
    try {
      NativeLayer.openInstalled();
      return;
    } catch (UnsatisfiedLinkError notInstalled) {
      if (NativeLayer.LIBRARY == null) {
        throw notFound(notInstalled);
      }
      // The common case: the layer is in the jar.
    }
    try {
      loadFromJar(List.of(NativeLayer.LIBRARY));
    } catch (UnsatisfiedLinkError missing) {
      throw notFound(missing);
    }
  }

  private static UnsatisfiedLinkError notFound(UnsatisfiedLinkError cause) {
    UnsatisfiedLinkError error =
        new UnsatisfiedLinkError(
            "libtessera was not found; install it, or name its folder by the property tessera.library.path"
                + " or the variable TESSERA_LIBRARY_PATH: "
                + cause.getMessage());
    error.initCause(cause);
    return error;
  }

  private static void loadFromJar(List<String> names) {
    List<Path> files = new ArrayList<>();
    try {
      Path folder = Files.createTempDirectory("tessera");
      try {
        for (String name : names) {
          try (InputStream in = resource(name)) {
            if (in == null) {
              throw new UnsatisfiedLinkError(path(name) + " is not in the jar");
            }
            Path file = folder.resolve(name);
            files.add(file);
            Files.copy(in, file);
            System.load(file.toString());
          }
        }
      } finally {
        // What is loaded stays mapped.
        for (Path file : files) {
          Files.deleteIfExists(file);
        }
        Files.deleteIfExists(folder);
      }
    } catch (IOException problem) {
      UnsatisfiedLinkError error =
          new UnsatisfiedLinkError("cannot unpack " + names + ": " + problem);
      error.initCause(problem);
      throw error;
    }
  }

  private static String path(String name) {
    String machine =
        System.getProperty("os.arch").equals("amd64") ? "x86_64" : System.getProperty("os.arch");
    return "native/linux-" + machine + "/" + name;
  }

  private static InputStream resource(String name) {
    return NativeLibrary.class.getResourceAsStream(path(name));
  }
}
