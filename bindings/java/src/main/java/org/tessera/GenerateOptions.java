package org.tessera;

import java.util.function.Function;

/**
 * How {@link Trainer#generate} chooses tokens.
 *
 * @param maxNewTokens at most; 0 means 64
 * @param temperature 0: always the likeliest token
 * @param topK sample from the likeliest so many; 0: all
 * @param topP sample from the likeliest that hold this probability; 0: all
 * @param seed of sampling
 */
public record GenerateOptions(
    long maxNewTokens, double temperature, long topK, double topP, long seed) {
  /**
   * Always the likeliest token.
   *
   * @param maxNewTokens at most; 0 means 64
   * @return options without sampling
   */
  public static GenerateOptions greedy(long maxNewTokens) {
    return new GenerateOptions(maxNewTokens, 0, 0, 0, 0);
  }

  /** Gives the options as C has them to a call. */
  <T> T with(Function<GenerateOptionsStruct, T> call) {
    GenerateOptionsStruct raw = new GenerateOptionsStruct();
    try {
      raw.setMax_new_tokens(maxNewTokens);
      raw.setTemperature(temperature);
      raw.setTop_k(topK);
      raw.setTop_p(topP);
      raw.setSeed(seed);
      return call.apply(raw);
    } finally {
      raw.delete();
    }
  }
}
