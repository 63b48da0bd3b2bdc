package org.tessera;

import java.lang.ref.Cleaner;

/**
 * An object of the library. Closing it never blocks, may be done in any order and on any thread,
 * and more than once. An object that is forgotten is released after it was garbage collected; since
 * the collector does not see native memory, close what is large.
 *
 * <p>A call on a closed object throws {@link IllegalStateException}.
 */
public abstract sealed class NativeObject implements AutoCloseable
    permits Batch,
        Call.Handle,
        Config,
        Dataset,
        Events,
        Mesh,
        Model,
        Tensor,
        Tokenizer,
        Trainer,
        World {
  private static final Cleaner CLEANER = Cleaner.create();

  /** Read by the JNI layer, which is given the object and so keeps it alive during a call. */
  private volatile long id;

  private final Cleaner.Cleanable cleanable;

  NativeObject(int kind, long id) {
    this.id = id;
    cleanable = CLEANER.register(this, new Release(kind, id));
  }

  /** Destroys a handle; must not refer to the object. */
  private record Release(int kind, long id) implements Runnable {
    @Override
    public void run() {
      Native.destroy(kind, id);
    }
  }

  /** The argument itself, which may be null. Called by the JNI layer for every object. */
  static NativeObject open(NativeObject object) {
    if (object != null && object.id == 0) {
      throw new IllegalStateException(object.getClass().getSimpleName() + " is closed");
    }
    return object;
  }

  /** The handle, 0 when closed. */
  final long id() {
    return id;
  }

  /**
   * Whether {@link #close} was called.
   *
   * @return true when it was
   */
  public final boolean isClosed() {
    return id == 0;
  }

  /** Releases the object now. */
  @Override
  public void close() {
    id = 0;
    cleanable.clean();
  }
}
