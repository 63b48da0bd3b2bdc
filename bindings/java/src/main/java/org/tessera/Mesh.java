package org.tessera;

import java.util.Arrays;
import java.util.concurrent.CompletableFuture;

/**
 * This rank's view of the ranks laid out on axes: {@code pp}, {@code dp_replicate}, {@code
 * dp_shard}, {@code cp}, {@code tp}, and sub-meshes such as {@code dp}, {@code dp_shard_cp} and
 * {@code dp_cp}.
 *
 * <p>Collectives must be called by all ranks of the axis in the same order, one at a time. Tensors
 * given to an asynchronous one belong to it until it has ended.
 */
public final class Mesh extends NativeObject {
  /** How the values of several ranks become one. */
  public enum Reduce {
    /** Their sum. */
    SUM,
    /** Their mean. */
    AVG,
    /** The largest. */
    MAX,
    /** The smallest. */
    MIN
  }

  /**
   * Lays the ranks out and connects those that will talk to each other. Collective over the world.
   *
   * @param world this rank
   * @param options the degrees
   */
  public Mesh(World world, MeshOptions options) {
    this(create(world, options));
  }

  private Mesh(long id) {
    super(tessera_kind.TESSERA_KIND_MESH, id);
  }

  private static long create(World world, MeshOptions options) {
    long[] out = new long[1];
    options.with(raw -> Native.tessera_mesh_create(world, raw, out));
    return out[0];
  }

  /**
   * Makes a mesh without waiting.
   *
   * @param world this rank
   * @param options the degrees
   * @return the mesh
   */
  public static CompletableFuture<Mesh> createAsync(World world, MeshOptions options) {
    return Call.start(
        out -> options.with(raw -> Native.tessera_mesh_create_async(world, raw, out)),
        future -> {
          long[] id = new long[1];
          Native.tessera_future_get_mesh(future, id);
          return new Mesh(id[0]);
        });
  }

  /**
   * The number of ranks along an axis.
   *
   * @param axis its name
   * @return at least 1
   */
  public long size(String axis) {
    long[] out = new long[1];
    Native.tessera_mesh_get_size(this, Text.in("axis", axis), out);
    return out[0];
  }

  /**
   * This rank's position along an axis.
   *
   * @param axis its name
   * @return from 0
   */
  public long index(String axis) {
    long[] out = new long[1];
    Native.tessera_mesh_get_index(this, Text.in("axis", axis), out);
    return out[0];
  }

  /**
   * The world ranks along an axis through this rank.
   *
   * @param axis its name
   * @return in order
   */
  public int[] ranks(String axis) {
    int[] buffer = new int[Math.toIntExact(size(axis))];
    long[] length = new long[1];
    Native.tessera_mesh_get_ranks(this, Text.in("axis", axis), buffer, length);
    return Arrays.copyOf(buffer, (int) length[0]);
  }

  /**
   * The mesh in words.
   *
   * @return "pp=1 dp_replicate=1 dp_shard=4 cp=1 tp=1"
   */
  public String describe() {
    return Text.read((buffer, length) -> Native.tessera_mesh_get_text(this, buffer, length));
  }

  /**
   * Returns when every rank of the axis has called.
   *
   * @param axis its name
   */
  public void barrier(String axis) {
    Native.tessera_mesh_barrier(this, Text.in("axis", axis));
  }

  /**
   * Like {@link #barrier}, without waiting.
   *
   * @param axis its name
   * @return ends when every rank has called
   */
  public CompletableFuture<Void> barrierAsync(String axis) {
    return Call.start(
        out -> Native.tessera_mesh_barrier_async(this, Text.in("axis", axis), out), this);
  }

  /**
   * Reduces a tensor over the axis, in place.
   *
   * @param axis its name
   * @param tensor in and out
   * @param reduce how
   */
  public void allReduce(String axis, Tensor tensor, Reduce reduce) {
    Native.tessera_mesh_all_reduce(this, Text.in("axis", axis), tensor, reduce.ordinal());
  }

  /**
   * Like {@link #allReduce}, without waiting.
   *
   * @param axis its name
   * @param tensor in and out
   * @param reduce how
   * @return ends when the tensor is reduced
   */
  public CompletableFuture<Void> allReduceAsync(String axis, Tensor tensor, Reduce reduce) {
    byte[] name = Text.in("axis", axis);
    int how = reduce.ordinal();
    return Call.start(
        out -> Native.tessera_mesh_all_reduce_async(this, name, tensor, how, out), this, tensor);
  }

  /**
   * Joins the inputs of all ranks along the axis, in their order.
   *
   * @param axis its name
   * @param input of this rank
   * @param output size of the axis times as many elements
   */
  public void allGather(String axis, Tensor input, Tensor output) {
    Native.tessera_mesh_all_gather(this, Text.in("axis", axis), input, output);
  }

  /**
   * Like {@link #allGather}, without waiting.
   *
   * @param axis its name
   * @param input of this rank
   * @param output size of the axis times as many elements
   * @return ends when the output is there
   */
  public CompletableFuture<Void> allGatherAsync(String axis, Tensor input, Tensor output) {
    byte[] name = Text.in("axis", axis);
    return Call.start(
        out -> Native.tessera_mesh_all_gather_async(this, name, input, output, out),
        this,
        input,
        output);
  }

  /**
   * Reduces the inputs over the axis and leaves each rank its part.
   *
   * @param axis its name
   * @param input size of the axis times as many elements as the output
   * @param output of this rank
   * @param reduce how
   */
  public void reduceScatter(String axis, Tensor input, Tensor output, Reduce reduce) {
    Native.tessera_mesh_reduce_scatter(
        this, Text.in("axis", axis), input, output, reduce.ordinal());
  }

  /**
   * Like {@link #reduceScatter}, without waiting.
   *
   * @param axis its name
   * @param input size of the axis times as many elements as the output
   * @param output of this rank
   * @param reduce how
   * @return ends when the output is there
   */
  public CompletableFuture<Void> reduceScatterAsync(
      String axis, Tensor input, Tensor output, Reduce reduce) {
    byte[] name = Text.in("axis", axis);
    int how = reduce.ordinal();
    return Call.start(
        out -> Native.tessera_mesh_reduce_scatter_async(this, name, input, output, how, out),
        this,
        input,
        output);
  }

  /**
   * Part i of the input goes to position i of the axis; part j of the output came from position j.
   *
   * @param axis its name
   * @param input equal parts
   * @param output as large
   */
  public void allToAll(String axis, Tensor input, Tensor output) {
    Native.tessera_mesh_all_to_all(this, Text.in("axis", axis), input, output);
  }

  /**
   * Like {@link #allToAll}, without waiting.
   *
   * @param axis its name
   * @param input equal parts
   * @param output as large
   * @return ends when the output is there
   */
  public CompletableFuture<Void> allToAllAsync(String axis, Tensor input, Tensor output) {
    byte[] name = Text.in("axis", axis);
    return Call.start(
        out -> Native.tessera_mesh_all_to_all_async(this, name, input, output, out),
        this,
        input,
        output);
  }

  /**
   * Copies the tensor of position {@code root} of the axis to all others, in place.
   *
   * @param axis its name
   * @param tensor in or out
   * @param root whose
   */
  public void broadcast(String axis, Tensor tensor, long root) {
    Native.tessera_mesh_broadcast(this, Text.in("axis", axis), tensor, root);
  }

  /**
   * Like {@link #broadcast}, without waiting.
   *
   * @param axis its name
   * @param tensor in or out
   * @param root whose
   * @return ends when the tensor is there
   */
  public CompletableFuture<Void> broadcastAsync(String axis, Tensor tensor, long root) {
    byte[] name = Text.in("axis", axis);
    return Call.start(
        out -> Native.tessera_mesh_broadcast_async(this, name, tensor, root, out), this, tensor);
  }
}
