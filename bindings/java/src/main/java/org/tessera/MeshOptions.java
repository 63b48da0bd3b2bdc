package org.tessera;

import java.util.function.Function;

/**
 * The degrees of a mesh. What is not set is 1, but {@code dpShard}, which takes all ranks that are
 * left. One degree may be -1: inferred from the size of the world. The methods return this object.
 */
public final class MeshOptions {
  private Config config;
  private long pp;
  private long dpReplicate;
  private long dpShard;
  private long cp;
  private long tp;
  private long ep;

  /** The defaults. */
  public MeshOptions() {}

  /**
   * The keys {@code parallel.*} of a configuration, read when a mesh is made.
   *
   * @param config stays open until then
   */
  public MeshOptions(Config config) {
    this.config = config;
  }

  /**
   * Sets the pipeline stages.
   *
   * @param degree how many
   * @return this
   */
  public MeshOptions pp(long degree) {
    pp = degree;
    return this;
  }

  /**
   * Sets the replicas of the sharded model.
   *
   * @param degree how many
   * @return this
   */
  public MeshOptions dpReplicate(long degree) {
    dpReplicate = degree;
    return this;
  }

  /**
   * Sets the ranks that share one copy of the weights.
   *
   * @param degree how many
   * @return this
   */
  public MeshOptions dpShard(long degree) {
    dpShard = degree;
    return this;
  }

  /**
   * Sets the ranks that split each sequence.
   *
   * @param degree how many
   * @return this
   */
  public MeshOptions cp(long degree) {
    cp = degree;
    return this;
  }

  /**
   * Sets the ranks that split each matrix.
   *
   * @param degree how many
   * @return this
   */
  public MeshOptions tp(long degree) {
    tp = degree;
    return this;
  }

  /**
   * Sets the ranks that split the experts; makes no ranks of its own.
   *
   * @param degree how many
   * @return this
   */
  public MeshOptions ep(long degree) {
    ep = degree;
    return this;
  }

  /** Gives the options as C has them to a call. A degree of 0 is one that was not set. */
  <T> T with(Function<MeshOptionsStruct, T> call) {
    MeshOptionsStruct raw = new MeshOptionsStruct();
    try {
      if (config != null) {
        Native.tessera_mesh_options_load(raw, config);
      }
      raw.setPp(pp != 0 ? pp : raw.getPp());
      raw.setDp_replicate(dpReplicate != 0 ? dpReplicate : raw.getDp_replicate());
      raw.setDp_shard(dpShard != 0 ? dpShard : raw.getDp_shard());
      raw.setCp(cp != 0 ? cp : raw.getCp());
      raw.setTp(tp != 0 ? tp : raw.getTp());
      raw.setEp(ep != 0 ? ep : raw.getEp());
      return call.apply(raw);
    } finally {
      raw.delete();
    }
  }
}
