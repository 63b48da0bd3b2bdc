package org.tessera;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Training: ranks as threads, steps in all their forms, weights, checkpoints, export. */
class TrainingTest {
  @TempDir Path folder;

  /** The losses of three steps over four parts that the ranks share. */
  private static List<Double> losses(int size) {
    List<List<Double>> all =
        World.runRanks(
            size,
            Job.options(),
            world -> {
              int rank = world.rank();
              List<Double> losses = new ArrayList<>();
              try (Mesh mesh = new Mesh(world, new MeshOptions());
                  Model model = Model.ofJson(Job.CONFIG_JSON);
                  Trainer trainer = new Trainer(mesh, model, Job.config())) {
                for (int step = 0; step < 3; ++step) {
                  try (Batch batch = new Batch()) {
                    for (int part = rank * 4 / size; part < (rank + 1) * 4 / size; ++part) {
                      Job.push(batch, part, step);
                    }
                    Metrics metrics = trainer.step(batch);
                    assertEquals(step + 1, metrics.step());
                    assertEquals(40, metrics.labelTokens());
                    losses.add(metrics.loss());
                  }
                }
              }
              return losses;
            });
    all.forEach(other -> assertEquals(all.get(0), other, "all ranks report the same"));
    return all.get(0);
  }

  @Test
  void fourRanksTrainLikeOne() {
    List<Double> one = losses(1);
    List<Double> four = losses(4);
    assertTrue(one.get(2) < one.get(0) && one.get(0) < 6, one.toString());
    for (int i = 0; i < 3; ++i) {
      assertEquals(one.get(i), four.get(i), 1e-5 * one.get(i));
    }
  }

  @Test
  void theHalvesOfAStepMakeAStep() {
    try (Job job = new Job();
        Batch batch = Job.batch(0, 0)) {
      double before = job.trainer.forwardBackward(batch, 0).loss();
      double norm = 0;
      for (float value : job.trainer.gradient("model.norm.weight").toFloats()) {
        norm += value * value;
      }
      assertTrue(norm > 0);
      assertEquals(1, job.trainer.optimizerStep().step());
      Metrics after = job.trainer.evaluate(batch);
      assertTrue(after.loss() < before);
      assertEquals(10, after.labelTokens());
      job.trainer.forwardBackwardAsync(batch, 10).join();
      job.trainer.zeroGrad();
      assertEquals(1, job.trainer.stepCount());
      assertEquals(after, again(job.trainer.evaluateAsync(batch).join(), after));
      job.trainer.forwardBackward(batch, 0);
      assertEquals(2, job.trainer.optimizerStepAsync().join().step());
    }
  }

  /** The metrics with the times of others, which differ. */
  private static Metrics again(Metrics of, Metrics times) {
    return new Metrics(
        of.step(),
        of.loss(),
        of.gradNorm(),
        of.learningRate(),
        of.tokens(),
        of.labelTokens(),
        times.seconds(),
        times.tokensPerSecond(),
        times.communicationSeconds(),
        times.memory(),
        of.expertLoadRatio(),
        of.expertIdle(),
        of.expertBalanceLoss(),
        of.expertZLoss(),
        times.memoryReserved());
  }

  @Test
  void parametersGoOutAndInByName() {
    try (Job job = new Job()) {
      List<String> names = job.trainer.parameterNames();
      assertEquals(2 * 9 + 3, names.size());
      assertTrue(names.contains("model.layers.1.self_attn.q_proj.weight"));
      float[] twos = new float[32];
      java.util.Arrays.fill(twos, 2);
      try (Tensor tensor = Tensor.of(twos, 32)) {
        job.trainer.setParameter("model.norm.weight", tensor);
        job.trainer.setParameterAsync("model.layers.0.input_layernorm.weight", tensor).join();
      }
      assertArrayEquals(twos, job.trainer.parameter("model.norm.weight").toFloats());
      assertArrayEquals(
          twos,
          job.trainer.parameterAsync("model.layers.0.input_layernorm.weight").join().toFloats());
      TesseraException error =
          assertThrows(TesseraException.class, () -> job.trainer.parameter("model.norm.wäights"));
      assertEquals(Status.NOT_FOUND, error.status());
      assertTrue(error.getMessage().contains("model.norm.wäights"), error.getMessage());
    }
  }

  @Test
  void generationGivesTheSameTokensBothWays() {
    try (Job job = new Job();
        Batch batch = Job.batch(0, 0)) {
      long[] prompt = {1, 5, 9};
      long[] tokens = job.trainer.generate(prompt, GenerateOptions.greedy(5));
      assertTrue(tokens.length >= 1 && tokens.length <= 5);
      assertArrayEquals(
          tokens, job.trainer.generateAsync(prompt, GenerateOptions.greedy(5)).join());
      GenerateOptions sampled = new GenerateOptions(100, 1, 5, 0.9, 7);
      assertTrue(job.trainer.generate(prompt, sampled).length <= 100);
      TesseraException error =
          assertThrows(
              TesseraException.class,
              () -> job.trainer.generate(new long[] {1, 64}, GenerateOptions.greedy(5)));
      assertEquals(Status.ARGUMENT, error.status());
      try (Tensor logits = job.trainer.logits(batch);
          Tensor again = job.trainer.logitsAsync(batch).join()) {
        assertArrayEquals(new long[] {12, 64}, logits.dims());
        assertArrayEquals(logits.toBytes(), again.toBytes());
      }
    }
  }

  private static List<Double> rest(Job job, Dataset data) {
    List<Double> losses = new ArrayList<>();
    for (Metrics metrics : job.trainer.steps(data)) {
      losses.add(metrics.loss());
    }
    return losses;
  }

  @Test
  void pushedDocumentsAreADatasetWhosePositionIsSaved() {
    try (Job job = new Job();
        Config config = Job.config().set("train.global_batch", 2).set("data.epochs", 2);
        Dataset data = Dataset.pushed(config, job.mesh, job.model)) {
      assertEquals(Status.STATE, assertThrows(TesseraException.class, data::next).status());
      for (long d = 0; d < 6; ++d) {
        data.push(new long[] {d, d + 1, d + 2}, null);
      }
      long[] outside = {1, 64};
      assertThrows(TesseraException.class, () -> data.push(outside, null));
      assertThrows(IllegalArgumentException.class, () -> data.push(outside, new long[1]));
      data.pushEnd();
      assertEquals(3, data.stepsPerEpoch().orElseThrow());
      assertTrue(job.trainer.steps(data).iterator().next().loss() > 0);
      String state = data.state();
      job.trainer.save(folder.resolve("checkpoint"), data);
      List<Double> first = rest(job, data);
      assertEquals(5, first.size());
      assertTrue(data.next().isEmpty());

      job.trainer.load(folder.resolve("checkpoint"), data);
      assertEquals(1, job.trainer.stepCount());
      assertEquals(state, data.state());
      assertEquals(first, rest(job, data), "resumed bit for bit");
      job.trainer.loadAsync(folder.resolve("checkpoint"), null).join();
      data.setState(state);
      job.trainer.saveAsync(folder.resolve("second"), data).join();
      assertEquals(first, rest(job, data));
      assertThrows(TesseraException.class, () -> data.setState("no state"));
    }
  }

  @Test
  void anExportOpensAgainWithTheSameLoss() {
    try (Job job = new Job();
        Batch batch = Job.batch(0, 0)) {
      job.trainer.step(batch);
      double loss = job.trainer.evaluate(batch).loss();
      job.trainer.export(folder.resolve("hf"), null);
      job.trainer.exportAsync(folder.resolve("bf16"), Dtype.BF16).join();
      assertThrows(
          IllegalArgumentException.class, () -> job.trainer.export(folder.resolve("x"), Dtype.U8));
      try (Model model = Model.open(folder.resolve("hf"));
          Trainer again = new Trainer(job.mesh, model, job.config)) {
        assertTrue(model.parameterCount() > 0);
        assertTrue(model.toJson().contains("LlamaForCausalLM"));
        assertEquals(loss, again.evaluate(batch).loss());
      }
    }
  }

  @Test
  void plansAndProgramsAreText() {
    try (Job job = new Job();
        Config config = Job.config().set("train.global_batch", 8).set("data.seq_len", 16)) {
      assertTrue(job.trainer.program(2).contains("forward u1 mb1"));
      assertTrue(Tessera.plan(job.model, config, 4).contains("dp_shard"));
      assertTrue(Tessera.planProgram(job.model, config, 4).lines().count() > 10);
      assertThrows(TesseraException.class, () -> Tessera.plan(job.model, config, 3));
      job.model.setTpPlan("whole", "{\"*\": \"replicate\"}");
      assertThrows(TesseraException.class, () -> job.model.setTpPlan("auto", "{}"));
      TimelineOptions text = new TimelineOptions(TimelineOptions.Format.TEXT, 60, 3, 0, 0.1);
      assertTrue(Tessera.timeline(job.model, config, 4, text).contains("rank 0"));
      TimelineOptions image = TimelineOptions.as(TimelineOptions.Format.SVG);
      assertTrue(Tessera.timeline(job.model, config, 4, image).startsWith("<svg"));
      TimelineOptions trace = TimelineOptions.as(TimelineOptions.Format.TRACE);
      assertTrue(Tessera.timeline(job.model, config, 4, trace).contains("traceEvents"));
      TimelineOptions bad = new TimelineOptions(TimelineOptions.Format.COLOUR, 60, 2, -1, 0);
      assertThrows(TesseraException.class, () -> Tessera.timeline(job.model, config, 4, bad));
    }
  }
}
