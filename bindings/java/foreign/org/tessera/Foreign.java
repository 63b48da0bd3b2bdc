package org.tessera;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * One call of a C function by Java's foreign function interface: the memory of its arguments, its
 * error, and what is copied back. Static methods find functions and reach memory by its address.
 */
@SuppressWarnings("restricted") // the JVM asks for --enable-native-access, as it does for JNI
final class Foreign implements AutoCloseable {
  /** All memory, by address. */
  static final MemorySegment MEMORY = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  /** Of tessera_error: code, domain, native code and rank, then the message. */
  private static final int MESSAGE = 16;

  private static final int MESSAGE_BYTES = 240;
  private static final Linker LINKER = Linker.nativeLinker();
  private static final MethodHandle CALLOC = system("calloc", "p", "ll");
  private static final MethodHandle FREE = system("free", "", "p");

  /** Set when no library was loaded by its path: the one that the loader of the system found. */
  private static volatile SymbolLookup installed;

  private final Arena arena = Arena.ofConfined();
  private final List<Object> used = new ArrayList<>(4);
  private List<Runnable> copies;
  private MemorySegment error;

  // ---- Functions -------------------------------------------------------------------------------

  /** Finds the library as dlopen does. */
  static void open(String name) {
    try {
      installed = SymbolLookup.libraryLookup(name, Arena.global());
    } catch (IllegalArgumentException missing) {
      throw new UnsatisfiedLinkError(missing.getMessage());
    }
  }

  /**
   * A function of the library. Letters stand for types: i for int, l for long, d for double, p for
   * a pointer. Handles are l: a struct of one 64-bit integer travels as that integer does, on
   * x86-64 and on AArch64.
   */
  static MethodHandle function(String name, String result, String arguments) {
    SymbolLookup lookup = installed == null ? SymbolLookup.loaderLookup() : installed;
    MemorySegment address =
        lookup.find(name).orElseThrow(() -> new UnsatisfiedLinkError("libtessera has no " + name));
    return LINKER.downcallHandle(address, descriptor(result, arguments));
  }

  private static MethodHandle system(String name, String result, String arguments) {
    MemorySegment address = LINKER.defaultLookup().find(name).orElseThrow();
    return LINKER.downcallHandle(address, descriptor(result, arguments));
  }

  private static FunctionDescriptor descriptor(String result, String arguments) {
    MemoryLayout[] layouts =
        arguments.chars().mapToObj(Foreign::layout).toArray(MemoryLayout[]::new);
    return result.isEmpty()
        ? FunctionDescriptor.ofVoid(layouts)
        : FunctionDescriptor.of(layout(result.charAt(0)), layouts);
  }

  private static MemoryLayout layout(int letter) {
    return switch (letter) {
      case 'i' -> ValueLayout.JAVA_INT;
      case 'l' -> ValueLayout.JAVA_LONG;
      case 'd' -> ValueLayout.JAVA_DOUBLE;
      case 'p' -> ValueLayout.ADDRESS;
      default -> throw new IllegalArgumentException("letter " + (char) letter);
    };
  }

  // ---- Arguments -------------------------------------------------------------------------------

  /** A handle, 0 for null. The object lives until the call has ended. */
  long id(NativeObject object) {
    used.add(object);
    return object == null ? 0 : object.id();
  }

  MemorySegment at(long address) {
    return MemorySegment.ofAddress(address);
  }

  MemorySegment in(byte[] array) {
    return array == null ? MemorySegment.NULL : copy(MemorySegment.ofArray(array));
  }

  MemorySegment in(long[] array) {
    return array == null ? MemorySegment.NULL : copy(MemorySegment.ofArray(array));
  }

  MemorySegment out(byte[] array) {
    return array == null ? MemorySegment.NULL : inAndOut(MemorySegment.ofArray(array));
  }

  MemorySegment out(int[] array) {
    return array == null ? MemorySegment.NULL : inAndOut(MemorySegment.ofArray(array));
  }

  MemorySegment out(long[] array) {
    return array == null ? MemorySegment.NULL : inAndOut(MemorySegment.ofArray(array));
  }

  long length(byte[] array) {
    return array == null ? 0 : array.length;
  }

  long length(int[] array) {
    return array == null ? 0 : array.length;
  }

  long length(long[] array) {
    return array == null ? 0 : array.length;
  }

  MemorySegment error() {
    error = arena.allocate(MESSAGE + MESSAGE_BYTES, 8);
    return error;
  }

  private MemorySegment copy(MemorySegment array) {
    MemorySegment memory =
        arena.allocate(Math.max(array.byteSize(), 1), 8); // no elements are not null
    MemorySegment.copy(array, 0, memory, 0, array.byteSize());
    return memory;
  }

  private MemorySegment inAndOut(MemorySegment array) {
    MemorySegment memory = copy(array);
    if (copies == null) {
      copies = new ArrayList<>(2);
    }
    copies.add(() -> MemorySegment.copy(memory, 0, array, 0, array.byteSize()));
    return memory;
  }

  // ---- Results ---------------------------------------------------------------------------------

  void copyBack() {
    if (copies != null) {
      copies.forEach(Runnable::run);
    }
  }

  /** Gives arrays what the call has written, and throws when it failed. */
  int end(int status) {
    copyBack();
    if (status != 0) {
      throw new TesseraException(
          status,
          error.get(ValueLayout.JAVA_INT, 4),
          error.get(ValueLayout.JAVA_INT, 8),
          error.get(ValueLayout.JAVA_INT, 12),
          text(error.address() + MESSAGE, MESSAGE_BYTES));
    }
    return status;
  }

  @Override
  public void close() {
    Reference.reachabilityFence(used);
    arena.close();
  }

  /** What a call threw; nothing in this layer throws a checked exception. */
  static RuntimeException unchecked(Throwable thrown) {
    if (thrown instanceof Error fatal) {
      throw fatal;
    }
    return thrown instanceof RuntimeException failure ? failure : new IllegalStateException(thrown);
  }

  // ---- Memory by address -----------------------------------------------------------------------

  /** The bytes of static text, null for null. */
  static byte[] text(MemorySegment start) {
    return start.address() == 0 ? null : text(start.address(), Integer.MAX_VALUE);
  }

  /** The bytes at an address up to a NUL, at most so many. */
  static byte[] text(long address, int most) {
    int length = 0;
    while (length < most && MEMORY.get(ValueLayout.JAVA_BYTE, address + length) != 0) {
      ++length;
    }
    return MEMORY.asSlice(address, length).toArray(ValueLayout.JAVA_BYTE);
  }

  /** Where a direct buffer begins; its position does not matter. */
  static long address(Buffer buffer) {
    return MemorySegment.ofBuffer(((ByteBuffer) buffer).duplicate().clear()).address();
  }

  /** A struct with the defaults that its init function writes. */
  static long make(String init, long bytes) {
    try {
      MemorySegment made = (MemorySegment) CALLOC.invokeExact(1L, bytes);
      if (made.address() == 0) {
        throw new OutOfMemoryError(bytes + " bytes");
      }
      int ignored = (int) function(init, "i", "pl").invokeExact(made, bytes);
      return made.address();
    } catch (Throwable thrown) {
      throw unchecked(thrown);
    }
  }

  static void free(long address) {
    try {
      FREE.invokeExact(MemorySegment.ofAddress(address));
    } catch (Throwable thrown) {
      throw unchecked(thrown);
    }
  }

  /** Replaces the text that a field of a struct owns; null for none. Texts end with a NUL. */
  static void setText(long field, byte[] text) {
    try {
      free(MEMORY.get(ValueLayout.JAVA_LONG, field));
      MEMORY.set(ValueLayout.JAVA_LONG, field, 0);
      if (text != null) {
        MemorySegment copy = (MemorySegment) CALLOC.invokeExact(1L, (long) text.length);
        MemorySegment.copy(MemorySegment.ofArray(text), 0, MEMORY, copy.address(), text.length);
        MEMORY.set(ValueLayout.JAVA_LONG, field, copy.address());
      }
    } catch (Throwable thrown) {
      throw unchecked(thrown);
    }
  }
}
