package org.tessera;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Finds and loads libtessera.so and the JNI layer above it, once.
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
  private static final String LAYER = "libtessera_jni.so";
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
      loadFromJar(List.of(LIBRARY, LAYER));
    } else {
      loadFromSystem();
    }
    checkAbi(NativeJNI.tessera_abi_version(), Text.ascii(NativeJNI.tessera_version_string()));
    loaded = true;
  }

  /** Refuses a library whose ABI differs from that of the headers this jar was built with. */
  static void checkAbi(int library, String version) {
    int built = NativeJNI.header_abi_version();
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
    Path layer = folder.resolve(LAYER);
    if (Files.exists(layer)) {
      System.load(layer.toString());
    } else {
      loadFromJar(List.of(LAYER));
    }
  }

  private static void loadFromSystem() {
    try {
      System.loadLibrary("tessera_jni");
      return;
    } catch (UnsatisfiedLinkError notInstalled) {
      // The common case: the layer is in the jar.
    }
    try {
      loadFromJar(List.of(LAYER));
    } catch (UnsatisfiedLinkError missing) {
      UnsatisfiedLinkError error =
          new UnsatisfiedLinkError(
              "libtessera was not found; install it, or name its folder by the property tessera.library.path"
                  + " or the variable TESSERA_LIBRARY_PATH: "
                  + missing.getMessage());
      error.initCause(missing);
      throw error;
    }
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
