package org.tessera;

import java.util.function.Consumer;

/**
 * What a step reports. All ranks get the same loss, gradient norm and counts.
 *
 * @param step from 1
 * @param loss sum of token losses over all ranks / labelTokens
 * @param gradNorm over all ranks, before clipping
 * @param learningRate of the step
 * @param tokens over all ranks
 * @param labelTokens those trained on
 * @param seconds wall time
 * @param tokensPerSecond over all ranks
 * @param communicationSeconds what this rank waited for others or moved data
 * @param memory peak bytes of this rank; ranks of one process share the number
 * @param expertLoadRatio the largest load of an expert / the mean, of the layer where that is
 *     largest; like those after it 0 for models without experts
 * @param expertIdle the share of all layers' experts that no token chose
 * @param expertBalanceLoss mean over tokens and layers, before moe.balance_loss
 * @param expertZLoss mean over tokens and layers, before moe.z_loss
 * @param memoryReserved peak bytes that the GPU's allocator held; 0 on CPUs and in events
 */
public record Metrics(
    long step,
    double loss,
    double gradNorm,
    double learningRate,
    long tokens,
    long labelTokens,
    double seconds,
    double tokensPerSecond,
    double communicationSeconds,
    long memory,
    double expertLoadRatio,
    double expertIdle,
    double expertBalanceLoss,
    double expertZLoss,
    long memoryReserved) {

  /** Gives a struct to a call and reads what it has become. */
  static Metrics read(Consumer<MetricsStruct> call) {
    MetricsStruct raw = new MetricsStruct();
    try {
      call.accept(raw);
      return new Metrics(
          raw.getStep(),
          raw.getLoss(),
          raw.getGrad_norm(),
          raw.getLr(),
          raw.getTokens(),
          raw.getLabel_tokens(),
          raw.getSeconds(),
          raw.getTokens_per_s(),
          raw.getCommunication_seconds(),
          raw.getMemory(),
          raw.getExpert_load_ratio(),
          raw.getExpert_idle(),
          raw.getExpert_balance_loss(),
          raw.getExpert_z_loss(),
          raw.getMemory_reserved());
    } finally {
      raw.delete();
    }
  }

  static Metrics take(Call.Handle future) {
    return read(raw -> Native.tessera_future_get_metrics(future, raw));
  }
}
