package org.tessera;

/** Element types of tensors. */
public enum Dtype {
  /** IEEE single precision. */
  F32(tessera_dtype.TESSERA_DTYPE_F32, 4),
  /** IEEE double precision. */
  F64(tessera_dtype.TESSERA_DTYPE_F64, 8),
  /** IEEE half precision. */
  F16(tessera_dtype.TESSERA_DTYPE_F16, 2),
  /** The upper half of an F32. */
  BF16(tessera_dtype.TESSERA_DTYPE_BF16, 2),
  /** Signed, 64 bits. */
  I64(tessera_dtype.TESSERA_DTYPE_I64, 8),
  /** Signed, 32 bits. */
  I32(tessera_dtype.TESSERA_DTYPE_I32, 4),
  /** Unsigned, 8 bits. */
  U8(tessera_dtype.TESSERA_DTYPE_U8, 1);

  final int number;
  private final int bytes;

  Dtype(int number, int bytes) {
    this.number = number;
    this.bytes = bytes;
  }

  /**
   * The size of an element.
   *
   * @return bytes
   */
  public int bytes() {
    return bytes;
  }

  static Dtype of(int number) {
    for (Dtype dtype : values()) {
      if (dtype.number == number) {
        return dtype;
      }
    }
    throw new UnsupportedOperationException("dtype " + number + " is unknown to this binding");
  }
}
