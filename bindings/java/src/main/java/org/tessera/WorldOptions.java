package org.tessera;

import java.time.Duration;
import java.util.function.Function;

/**
 * How a rank joins its job. What is not set has the library's default. The methods return this
 * object, so that they can be chained.
 */
public final class WorldOptions {
  /** What carries the ranks' messages. */
  public enum Backend {
    /** Shared memory when all ranks are on one host, else Gloo on CPUs and NCCL on GPUs. */
    AUTO,
    /** Shared memory of one host. */
    LOCAL,
    /** Sockets. */
    GLOO,
    /** NVIDIA GPUs. */
    NCCL
  }

  /** Where a rank computes. */
  public enum Device {
    /** The cores of the host. */
    CPU,
    /** The GPU whose index is the local rank. */
    CUDA
  }

  /** Where LibTorch gets the memory of CPU tensors; the first world of a process decides. */
  public enum Allocator {
    /** Freed memory is kept and used again. */
    CACHING,
    /** LibTorch's own is left as it is. */
    SYSTEM
  }

  /** Whether something is done that the library else decides on itself. */
  public enum Switch {
    /** The library decides. */
    AUTO,
    /** It is done. */
    ON,
    /** It is not done. */
    OFF
  }

  private Config config;
  private Integer rank;
  private Integer size;
  private Integer localRank;
  private Integer localSize;
  private Backend backend;
  private Device device;
  private Allocator allocator;
  private Switch registerBuffers;
  private Switch expandableSegments;
  private Integer threads;
  private Boolean agentStore;
  private Duration timeout;
  private String rendezvous;
  private String job;

  /** The defaults. */
  public WorldOptions() {}

  /**
   * The keys {@code backend}, {@code device}, {@code threads} and {@code timeout} of a
   * configuration, read when a world is made.
   *
   * @param config stays open until then
   */
  public WorldOptions(Config config) {
    this.config = config;
  }

  /**
   * Sets the number of this rank.
   *
   * @param rank from 0
   * @return this
   */
  public WorldOptions rank(int rank) {
    this.rank = rank;
    return this;
  }

  /**
   * Sets the number of ranks of the job.
   *
   * @param size at least 1
   * @return this
   */
  public WorldOptions size(int size) {
    this.size = size;
    return this;
  }

  /**
   * Sets the place of this rank on its host.
   *
   * @param localRank from 0
   * @param localSize how many ranks the host has
   * @return this
   */
  public WorldOptions local(int localRank, int localSize) {
    this.localRank = localRank;
    this.localSize = localSize;
    return this;
  }

  /**
   * Sets what carries the messages.
   *
   * @param backend which
   * @return this
   */
  public WorldOptions backend(Backend backend) {
    this.backend = backend;
    return this;
  }

  /**
   * Sets where this rank computes.
   *
   * @param device which
   * @return this
   */
  public WorldOptions device(Device device) {
    this.device = device;
    return this;
  }

  /**
   * Sets where CPU memory comes from.
   *
   * @param allocator which
   * @return this
   */
  public WorldOptions allocator(Allocator allocator) {
    this.allocator = allocator;
    return this;
  }

  /**
   * Sets whether NCCL uses the memory of gathered weights and of gradients to reduce in place.
   *
   * @param registerBuffers whether
   * @return this
   */
  public WorldOptions registerBuffers(Switch registerBuffers) {
    this.registerBuffers = registerBuffers;
    return this;
  }

  /**
   * Sets whether LibTorch's allocator on GPUs maps memory into segments that grow.
   *
   * @param expandableSegments whether
   * @return this
   */
  public WorldOptions expandableSegments(Switch expandableSegments) {
    this.expandableSegments = expandableSegments;
    return this;
  }

  /**
   * Sets how many threads this rank uses inside an operator.
   *
   * @param threads how many; 0: cores / ranks of the host
   * @return this
   */
  public WorldOptions threads(int threads) {
    this.threads = threads;
    return this;
  }

  /**
   * Says whether a launcher (torchrun) already serves the rendezvous port.
   *
   * @param served whether
   * @return this
   */
  public WorldOptions agentStore(boolean served) {
    this.agentStore = served;
    return this;
  }

  /**
   * Sets after which time a collective that cannot finish fails.
   *
   * @param timeout positive
   * @return this
   */
  public WorldOptions timeout(Duration timeout) {
    this.timeout = timeout;
    return this;
  }

  /**
   * Sets where processes meet.
   *
   * @param address {@code tcp://host:port}, or {@code file:///path} of a file that does not exist
   *     yet
   * @return this
   */
  public WorldOptions rendezvous(String address) {
    this.rendezvous = address;
    return this;
  }

  /**
   * Sets a name that keeps two jobs of a host apart.
   *
   * @param name any
   * @return this
   */
  public WorldOptions job(String name) {
    this.job = name;
    return this;
  }

  /** Gives the options as C has them to a call. */
  <T> T with(Function<WorldOptionsStruct, T> call) {
    WorldOptionsStruct raw = new WorldOptionsStruct();
    try {
      if (config != null) {
        Native.tessera_world_options_load(raw, config);
      }
      fill(raw);
      return call.apply(raw);
    } finally {
      raw.delete();
    }
  }

  // The enums are in the order of the C interface.
  private void fill(WorldOptionsStruct raw) {
    if (rank != null) {
      raw.setRank(rank);
    }
    if (size != null) {
      raw.setSize(size);
    }
    if (localRank != null) {
      raw.setLocal_rank(localRank);
      raw.setLocal_size(localSize);
    }
    if (backend != null) {
      raw.setBackend(backend.ordinal());
    }
    if (device != null) {
      raw.setDevice(device.ordinal());
    }
    if (allocator != null) {
      raw.setAllocator(allocator.ordinal());
    }
    if (registerBuffers != null) {
      raw.setRegister_buffers(registerBuffers.ordinal());
    }
    if (expandableSegments != null) {
      raw.setExpandable_segments(expandableSegments.ordinal());
    }
    if (threads != null) {
      raw.setIntra_op_threads(threads);
    }
    if (agentStore != null) {
      raw.setAgent_store(agentStore ? 1 : 0);
    }
    if (timeout != null) {
      raw.setTimeout_ns(Text.nanoseconds(timeout));
    }
    raw.set_texts(Text.in("rendezvous", rendezvous), Text.in("job", job));
  }
}
