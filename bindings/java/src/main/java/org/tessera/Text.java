package org.tessera;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;

/** Text, arrays and times as the JNI layer takes and gives them. */
final class Text {
  /** TESSERA_FOREVER. */
  private static final long FOREVER = -1;

  private Text() {}

  /** A call that fills a buffer and tells the length. */
  interface Read<A> {
    void into(A buffer, long[] length);
  }

  /** UTF-8 that ends with a NUL; null for null. */
  static byte[] in(String name, String text) {
    if (text == null) {
      return null;
    }
    if (text.indexOf('\0') >= 0) {
      throw new IllegalArgumentException(name + " contains a NUL character");
    }
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return Arrays.copyOf(bytes, bytes.length + 1);
  }

  static byte[] in(String name, Path path) {
    return in(name, path.toString());
  }

  static String ascii(byte[] bytes) {
    return new String(bytes, StandardCharsets.US_ASCII);
  }

  static String utf8(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** Reads text, once more when the first buffer is too small. */
  static String read(Read<byte[]> call) {
    long[] length = new long[1];
    for (byte[] buffer = new byte[512]; ; buffer = new byte[larger(length[0])]) {
      if (fits(call, buffer, buffer.length, length)) {
        return new String(buffer, 0, (int) length[0], StandardCharsets.UTF_8);
      }
    }
  }

  /** Reads numbers, once more when the first buffer is too small. */
  static long[] readLongs(int guess, Read<long[]> call) {
    long[] length = new long[1];
    for (long[] buffer = new long[guess]; ; buffer = new long[larger(length[0])]) {
      if (fits(call, buffer, buffer.length, length)) {
        return Arrays.copyOf(buffer, (int) length[0]);
      }
    }
  }

  private static <A> boolean fits(Read<A> call, A buffer, int capacity, long[] length) {
    length[0] = 0;
    try {
      call.into(buffer, length);
      return true;
    } catch (TesseraException error) {
      if (error.status() != Status.BUFFER || length[0] < capacity) {
        throw error;
      }
      return false;
    }
  }

  /** Text needs a byte more than its length, for the NUL. */
  private static int larger(long length) {
    return Math.toIntExact(length + 1);
  }

  /** Nanoseconds; null waits for ever. */
  static long nanoseconds(Duration timeout) {
    if (timeout == null) {
      return FOREVER;
    }
    try {
      return Math.max(0, timeout.toNanos());
    } catch (ArithmeticException centuries) {
      return Long.MAX_VALUE;
    }
  }
}
