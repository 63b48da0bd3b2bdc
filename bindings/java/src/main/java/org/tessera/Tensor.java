package org.tessera;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A tensor that crosses the interface, dense and row-major: weights and gradients, and data for
 * collectives. There are no operators on it.
 *
 * <p>Arrays are copied. {@link #view} and DLPack share memory; addresses reach tensors that no Java
 * array can hold.
 */
public final class Tensor extends NativeObject {
  /** Memory that a view reads and writes. */
  private final ByteBuffer memory;

  Tensor(long id) {
    this(id, null);
  }

  private Tensor(long id, ByteBuffer memory) {
    super(tessera_kind.TESSERA_KIND_TENSOR, id);
    this.memory = memory;
  }

  /**
   * Zeros on the CPU.
   *
   * @param dtype of the elements
   * @param dims sizes, outermost first; none is a scalar
   * @return a new tensor
   */
  public static Tensor zeros(Dtype dtype, long... dims) {
    long[] out = new long[1];
    Native.tessera_tensor_create(dtype.number, dims, dims.length, 0, 0, out);
    return new Tensor(out[0]);
  }

  /**
   * A copy of an array.
   *
   * @param elements row-major
   * @param dims sizes, outermost first
   * @return a new tensor of dtype F32
   */
  public static Tensor of(float[] elements, long... dims) {
    ByteBuffer bytes = allocate(4L * elements.length);
    bytes.asFloatBuffer().put(elements);
    return copyOf(Dtype.F32, bytes, dims);
  }

  /**
   * A copy of an array.
   *
   * @param elements row-major
   * @param dims sizes, outermost first
   * @return a new tensor of dtype F64
   */
  public static Tensor of(double[] elements, long... dims) {
    ByteBuffer bytes = allocate(8L * elements.length);
    bytes.asDoubleBuffer().put(elements);
    return copyOf(Dtype.F64, bytes, dims);
  }

  /**
   * A copy of an array.
   *
   * @param elements row-major
   * @param dims sizes, outermost first
   * @return a new tensor of dtype I64
   */
  public static Tensor of(long[] elements, long... dims) {
    ByteBuffer bytes = allocate(8L * elements.length);
    bytes.asLongBuffer().put(elements);
    return copyOf(Dtype.I64, bytes, dims);
  }

  /**
   * A copy of an array.
   *
   * @param elements row-major
   * @param dims sizes, outermost first
   * @return a new tensor of dtype I32
   */
  public static Tensor of(int[] elements, long... dims) {
    ByteBuffer bytes = allocate(4L * elements.length);
    bytes.asIntBuffer().put(elements);
    return copyOf(Dtype.I32, bytes, dims);
  }

  /**
   * A copy of bytes, which are elements in native order.
   *
   * @param dtype of the elements
   * @param bytes row-major
   * @param dims sizes, outermost first
   * @return a new tensor
   */
  public static Tensor ofBytes(Dtype dtype, byte[] bytes, long... dims) {
    ByteBuffer copy = allocate(bytes.length);
    copy.put(0, bytes);
    return copyOf(dtype, copy, dims);
  }

  private static Tensor copyOf(Dtype dtype, ByteBuffer bytes, long... dims) {
    long[] out = new long[1];
    long address = Native.buffer_address(bytes);
    Native.tessera_tensor_create(dtype.number, dims, dims.length, address, bytes.capacity(), out);
    Reference.reachabilityFence(bytes);
    return new Tensor(out[0]);
  }

  /**
   * A view of a direct buffer: collectives read and write it in place. The tensor keeps the buffer
   * alive.
   *
   * @param dtype of the elements
   * @param memory direct, exactly as large as the tensor; its position and limit do not matter
   * @param dims sizes, outermost first
   * @return a new tensor
   */
  public static Tensor view(Dtype dtype, ByteBuffer memory, long... dims) {
    if (!memory.isDirect() || memory.isReadOnly()) {
      throw new IllegalArgumentException("memory is not a direct buffer that can be written");
    }
    long[] out = new long[1];
    long address = Native.buffer_address(memory);
    long bytes = memory.capacity();
    Native.tessera_tensor_create_view(dtype.number, dims, dims.length, address, bytes, out);
    return new Tensor(out[0], memory);
  }

  /**
   * A view of memory by its address, which must stay where it is until the tensor is closed and
   * every call that got it has ended.
   *
   * @param dtype of the elements
   * @param address aligned to the element
   * @param bytes exactly those of the tensor
   * @param dims sizes, outermost first
   * @return a new tensor
   */
  public static Tensor view(Dtype dtype, long address, long bytes, long... dims) {
    long[] out = new long[1];
    Native.tessera_tensor_create_view(dtype.number, dims, dims.length, address, bytes, out);
    return new Tensor(out[0]);
  }

  /**
   * Takes over a DLPack 1.x tensor without a copy. When this throws the caller keeps it.
   *
   * @param address of a {@code DLManagedTensorVersioned}
   * @return a new tensor
   */
  public static Tensor fromDlpack(long address) {
    long[] out = new long[1];
    Native.tessera_tensor_create_dlpack(address, out);
    return new Tensor(out[0]);
  }

  /**
   * The tensor's memory for another library, without a copy. Whoever takes it calls its deleter.
   *
   * @return address of a {@code DLManagedTensorVersioned}
   */
  public long toDlpack() {
    if (memory != null) {
      throw new IllegalStateException(
          "a view of a buffer cannot be handed on: nothing would keep the buffer");
    }
    long[] out = new long[1];
    Native.tessera_tensor_get_dlpack(this, out);
    return out[0];
  }

  /**
   * The element type.
   *
   * @return never null
   */
  public Dtype dtype() {
    int[] out = new int[1];
    Native.tessera_tensor_get_dtype(this, out);
    return Dtype.of(out[0]);
  }

  /**
   * The sizes.
   *
   * @return outermost first
   */
  public long[] dims() {
    return Text.readLongs(
        8, (buffer, length) -> Native.tessera_tensor_get_dims(this, buffer, length));
  }

  /**
   * The number of elements.
   *
   * @return the product of the sizes
   */
  public long count() {
    long count = 1;
    for (long dim : dims()) {
      count *= dim;
    }
    return count;
  }

  /**
   * The elements of a tensor of dtype F32.
   *
   * @return row-major
   */
  public float[] toFloats() {
    ByteBuffer bytes = read(Dtype.F32);
    float[] elements = new float[bytes.capacity() / 4];
    bytes.asFloatBuffer().get(elements);
    return elements;
  }

  /**
   * The elements of a tensor of dtype F64.
   *
   * @return row-major
   */
  public double[] toDoubles() {
    ByteBuffer bytes = read(Dtype.F64);
    double[] elements = new double[bytes.capacity() / 8];
    bytes.asDoubleBuffer().get(elements);
    return elements;
  }

  /**
   * The elements of a tensor of dtype I64.
   *
   * @return row-major
   */
  public long[] toLongs() {
    ByteBuffer bytes = read(Dtype.I64);
    long[] elements = new long[bytes.capacity() / 8];
    bytes.asLongBuffer().get(elements);
    return elements;
  }

  /**
   * The elements of a tensor of dtype I32.
   *
   * @return row-major
   */
  public int[] toInts() {
    ByteBuffer bytes = read(Dtype.I32);
    int[] elements = new int[bytes.capacity() / 4];
    bytes.asIntBuffer().get(elements);
    return elements;
  }

  /**
   * The elements of a tensor of any dtype.
   *
   * @return bytes in native order, row-major
   */
  public byte[] toBytes() {
    ByteBuffer buffer = read(dtype());
    byte[] bytes = new byte[buffer.capacity()];
    buffer.get(0, bytes);
    return bytes;
  }

  private ByteBuffer read(Dtype dtype) {
    if (dtype() != dtype) {
      throw new IllegalArgumentException("the tensor's elements are " + dtype() + ", not " + dtype);
    }
    ByteBuffer bytes = allocate(count() * dtype.bytes());
    copyTo(Native.buffer_address(bytes), bytes.capacity());
    Reference.reachabilityFence(bytes);
    return bytes;
  }

  /**
   * Copies the elements to memory.
   *
   * @param address where to
   * @param bytes how much room there is
   */
  public void copyTo(long address, long bytes) {
    Native.tessera_tensor_get_data(this, address, bytes, new long[1]);
  }

  /**
   * Overwrites all elements from memory.
   *
   * @param address where from
   * @param bytes exactly those of the tensor
   */
  public void copyFrom(long address, long bytes) {
    Native.tessera_tensor_set_data(this, address, bytes);
  }

  /**
   * Overwrites all elements of a tensor of dtype F32.
   *
   * @param elements row-major
   */
  public void set(float[] elements) {
    if (dtype() != Dtype.F32) {
      throw new IllegalArgumentException("the tensor's elements are " + dtype() + ", not F32");
    }
    ByteBuffer bytes = allocate(4L * elements.length);
    bytes.asFloatBuffer().put(elements);
    write(bytes);
  }

  /**
   * Overwrites all elements of a tensor of any dtype.
   *
   * @param elements bytes in native order, row-major
   */
  public void setBytes(byte[] elements) {
    ByteBuffer bytes = allocate(elements.length);
    bytes.put(0, elements);
    write(bytes);
  }

  private void write(ByteBuffer bytes) {
    copyFrom(Native.buffer_address(bytes), bytes.capacity());
    Reference.reachabilityFence(bytes);
  }

  private static ByteBuffer allocate(long bytes) {
    if (bytes > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          bytes + " bytes do not fit into a Java array: use addresses");
    }
    return ByteBuffer.allocateDirect((int) bytes).order(ByteOrder.nativeOrder());
  }
}
