package org.tessera;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * One rank's part of training a model on a mesh: steps, evaluation, generation, weights and
 * gradients, checkpoints.
 *
 * <p>But for {@link #stepCount}, {@link #parameterNames} and {@link #setEvents}, calls are one at a
 * time and collective over the mesh: every rank makes the same calls in the same order. While an
 * asynchronous one is under way, another one throws {@link Status#BUSY}.
 */
public final class Trainer extends NativeObject {
  /** {@code train.steps} of the configuration; 0: not set. */
  private final long lastStep;

  /**
   * Shards the model over the mesh and loads this rank's part of the weights.
   *
   * @param mesh who shards
   * @param model what is trained
   * @param config keys {@code train.*}, {@code optimizer.*}, {@code schedule.*}, {@code
   *     parallel.*}, {@code precision.*} and {@code memory.*}; null: defaults
   */
  public Trainer(Mesh mesh, Model model, Config config) {
    this(create(mesh, model, config), lastStep(config));
  }

  private Trainer(long id, long lastStep) {
    super(tessera_kind.TESSERA_KIND_TRAINER, id);
    this.lastStep = lastStep;
  }

  private static long lastStep(Config config) {
    return config == null ? 0 : Long.parseLong("0" + config.get("train.steps"));
  }

  private static long create(Mesh mesh, Model model, Config config) {
    long[] out = new long[1];
    Native.tessera_trainer_create(mesh, model, config, out);
    return out[0];
  }

  /**
   * Makes a trainer without waiting.
   *
   * @param mesh who shards
   * @param model what is trained
   * @param config as in the constructor
   * @return the trainer
   */
  public static CompletableFuture<Trainer> createAsync(Mesh mesh, Model model, Config config) {
    long lastStep = lastStep(config);
    return Call.start(
        out -> Native.tessera_trainer_create_async(mesh, model, config, out),
        future -> {
          long[] id = new long[1];
          Native.tessera_future_get_trainer(future, id);
          return new Trainer(id[0], lastStep);
        });
  }

  /**
   * Sends metrics, failures and saved checkpoints of this trainer to a queue.
   *
   * @param events null stops it
   */
  public void setEvents(Events events) {
    Native.tessera_trainer_set_events(this, events);
  }

  /**
   * One optimizer step over this rank's micro-batches, whose number is equal on all ranks. After an
   * error the weights are those of the step before, unless the message says otherwise.
   *
   * @param batch this rank's share
   * @return what the step reports
   */
  public Metrics step(Batch batch) {
    return Metrics.read(raw -> Native.tessera_trainer_step(this, batch, raw));
  }

  /**
   * Like {@link #step}, without waiting.
   *
   * @param batch this rank's share
   * @return what the step reports
   */
  public CompletableFuture<Metrics> stepAsync(Batch batch) {
    return Call.start(
        out -> Native.tessera_trainer_step_async(this, batch, out), Metrics::take, this);
  }

  /**
   * Trains on a dataset until it is used up, or until {@link #stepCount} is {@code train.steps} of
   * the configuration that the trainer was made with: a step each time the iterator is asked
   * whether there is a next one. Stop asking to stop training.
   *
   * @param data gives the batches
   * @return the metrics of the steps, for one pass
   */
  public Iterable<Metrics> steps(Dataset data) {
    return () -> new Steps(data);
  }

  private final class Steps implements Iterator<Metrics> {
    private final Dataset data;
    private Metrics next;

    Steps(Dataset data) {
      this.data = data;
    }

    @Override
    public boolean hasNext() {
      if (next == null && (lastStep == 0 || stepCount() < lastStep)) {
        Optional<Batch> batch = data.next();
        if (batch.isPresent()) {
          try (Batch taken = batch.get()) {
            next = step(taken);
          }
        }
      }
      return next != null;
    }

    @Override
    public Metrics next() {
      if (!hasNext()) {
        throw new NoSuchElementException("the training is over");
      }
      Metrics metrics = next;
      next = null;
      return metrics;
    }
  }

  /**
   * Adds the gradients of a batch. Several calls accumulate.
   *
   * @param batch this rank's share
   * @param labelTokens what the loss is divided by: the labels of all batches of the step over all
   *     ranks; 0: those of this batch
   * @return loss and counts
   */
  public Metrics forwardBackward(Batch batch, long labelTokens) {
    return Metrics.read(
        raw -> Native.tessera_trainer_forward_backward(this, batch, labelTokens, raw));
  }

  /**
   * Like {@link #forwardBackward}, without waiting.
   *
   * @param batch this rank's share
   * @param labelTokens as there
   * @return loss and counts
   */
  public CompletableFuture<Metrics> forwardBackwardAsync(Batch batch, long labelTokens) {
    return Call.start(
        out -> Native.tessera_trainer_forward_backward_async(this, batch, labelTokens, out),
        Metrics::take,
        this);
  }

  /**
   * Clips the gradients, updates the weights and forgets the gradients.
   *
   * @return what the step reports
   */
  public Metrics optimizerStep() {
    return Metrics.read(raw -> Native.tessera_trainer_optimizer_step(this, raw));
  }

  /**
   * Like {@link #optimizerStep}, without waiting.
   *
   * @return what the step reports
   */
  public CompletableFuture<Metrics> optimizerStepAsync() {
    return Call.start(
        out -> Native.tessera_trainer_optimizer_step_async(this, out), Metrics::take, this);
  }

  /** Forgets the gradients. */
  public void zeroGrad() {
    Native.tessera_trainer_zero_grad(this);
  }

  /**
   * The number of optimizer steps so far, also those before a checkpoint was loaded.
   *
   * @return from 0
   */
  public long stepCount() {
    long[] out = new long[1];
    Native.tessera_trainer_get_step_count(this, out);
    return out[0];
  }

  /**
   * The loss of a batch, without gradients.
   *
   * @param batch this rank's share
   * @return loss and labelTokens
   */
  public Metrics evaluate(Batch batch) {
    return Metrics.read(raw -> Native.tessera_trainer_evaluate(this, batch, raw));
  }

  /**
   * Like {@link #evaluate}, without waiting.
   *
   * @param batch this rank's share
   * @return loss and labelTokens
   */
  public CompletableFuture<Metrics> evaluateAsync(Batch batch) {
    return Call.start(
        out -> Native.tessera_trainer_evaluate_async(this, batch, out), Metrics::take, this);
  }

  /**
   * Continues a prompt; every rank passes the same prompt and gets the same tokens.
   *
   * @param prompt ids
   * @param options how tokens are chosen
   * @return the new tokens, without the prompt
   */
  public long[] generate(long[] prompt, GenerateOptions options) {
    return options.with(
        raw ->
            Text.readLongs(
                64,
                (buffer, length) ->
                    Native.tessera_trainer_generate(
                        this, prompt, prompt.length, raw, buffer, length)));
  }

  /**
   * Like {@link #generate}, without waiting.
   *
   * @param prompt ids
   * @param options how tokens are chosen
   * @return the new tokens, without the prompt
   */
  public CompletableFuture<long[]> generateAsync(long[] prompt, GenerateOptions options) {
    return Call.start(
        out ->
            options.with(
                raw ->
                    Native.tessera_trainer_generate_async(this, prompt, prompt.length, raw, out)),
        future ->
            Text.readLongs(
                64, (buffer, length) -> Native.tessera_future_get_tokens(future, buffer, length)),
        this);
  }

  /**
   * Logits of a batch's first micro-batch. For tests and small models.
   *
   * @param batch this rank's share
   * @return [tokens, vocabulary] in F32
   */
  public Tensor logits(Batch batch) {
    long[] out = new long[1];
    Native.tessera_trainer_get_logits(this, batch, out);
    return new Tensor(out[0]);
  }

  /**
   * Like {@link #logits}, without waiting.
   *
   * @param batch this rank's share
   * @return [tokens, vocabulary] in F32
   */
  public CompletableFuture<Tensor> logitsAsync(Batch batch) {
    return Call.start(
        out -> Native.tessera_trainer_get_logits_async(this, batch, out), Trainer::tensor, this);
  }

  /**
   * The Hugging Face names of all parameters of the model.
   *
   * @return such as "model.layers.0.self_attn.q_proj.weight"
   */
  public List<String> parameterNames() {
    long[] count = new long[1];
    Native.tessera_trainer_count_parameters(this, count);
    List<String> names = new ArrayList<>();
    for (long i = 0; i < count[0]; ++i) {
      long index = i;
      names.add(
          Text.read(
              (buffer, length) ->
                  Native.tessera_trainer_get_parameter_name(this, index, buffer, length)));
    }
    return names;
  }

  /**
   * A full weight, gathered, in the master dtype.
   *
   * @param name as in {@link #parameterNames}
   * @return a copy
   */
  public Tensor parameter(String name) {
    long[] out = new long[1];
    Native.tessera_trainer_get_parameter(this, Text.in("name", name), out);
    return new Tensor(out[0]);
  }

  /**
   * Like {@link #parameter}, without waiting.
   *
   * @param name as in {@link #parameterNames}
   * @return a copy
   */
  public CompletableFuture<Tensor> parameterAsync(String name) {
    byte[] text = Text.in("name", name);
    return Call.start(
        out -> Native.tessera_trainer_get_parameter_async(this, text, out), Trainer::tensor, this);
  }

  /**
   * The full gradient of the last {@link #forwardBackward}, before clipping, in F32.
   *
   * @param name as in {@link #parameterNames}
   * @return a copy
   */
  public Tensor gradient(String name) {
    long[] out = new long[1];
    Native.tessera_trainer_get_gradient(this, Text.in("name", name), out);
    return new Tensor(out[0]);
  }

  /**
   * Like {@link #gradient}, without waiting.
   *
   * @param name as in {@link #parameterNames}
   * @return a copy
   */
  public CompletableFuture<Tensor> gradientAsync(String name) {
    byte[] text = Text.in("name", name);
    return Call.start(
        out -> Native.tessera_trainer_get_gradient_async(this, text, out), Trainer::tensor, this);
  }

  /**
   * Overwrites a weight with a full tensor of its shape, which every rank passes.
   *
   * @param name as in {@link #parameterNames}
   * @param tensor the new value
   */
  public void setParameter(String name, Tensor tensor) {
    Native.tessera_trainer_set_parameter(this, Text.in("name", name), tensor);
  }

  /**
   * Like {@link #setParameter}, without waiting.
   *
   * @param name as in {@link #parameterNames}
   * @param tensor the new value
   * @return ends when it is written
   */
  public CompletableFuture<Void> setParameterAsync(String name, Tensor tensor) {
    byte[] text = Text.in("name", name);
    return Call.start(
        out -> Native.tessera_trainer_set_parameter_async(this, text, tensor, out), this, tensor);
  }

  private static Tensor tensor(Call.Handle future) {
    long[] out = new long[1];
    Native.tessera_future_get_tensor(future, out);
    return new Tensor(out[0]);
  }

  /**
   * The compiled step of this rank.
   *
   * @param microbatches of the step
   * @return one instruction a line
   */
  public String program(long microbatches) {
    return Text.read(
        (buffer, length) -> Native.tessera_trainer_get_program(this, microbatches, buffer, length));
  }

  /**
   * Saves weights, optimizer, step and random state. The directory appears whole or not at all.
   *
   * @param directory the folder
   * @param data its position is saved too; null: none
   */
  public void save(Path directory, Dataset data) {
    Native.tessera_checkpoint_save(this, Text.in("directory", directory), data);
  }

  /**
   * Like {@link #save}, without waiting; the position of the data is taken before this returns.
   *
   * @param directory the folder
   * @param data its position is saved too; null: none
   * @return ends when it is saved
   */
  public CompletableFuture<Void> saveAsync(Path directory, Dataset data) {
    byte[] path = Text.in("directory", directory);
    return Call.start(out -> Native.tessera_checkpoint_save_async(this, path, data, out), this);
  }

  /**
   * Continues from a saved directory, whatever mesh wrote it.
   *
   * @param directory the folder
   * @param data is moved to the saved position; null: none
   */
  public void load(Path directory, Dataset data) {
    Native.tessera_checkpoint_load(this, Text.in("directory", directory), data);
  }

  /**
   * Like {@link #load}, without waiting.
   *
   * @param directory the folder
   * @param data is moved to the saved position; null: none
   * @return ends when it is loaded
   */
  public CompletableFuture<Void> loadAsync(Path directory, Dataset data) {
    byte[] path = Text.in("directory", directory);
    return Call.start(
        out -> Native.tessera_checkpoint_load_async(this, path, data, out), this, data);
  }

  /**
   * Writes {@code config.json} and safetensors that transformers loads.
   *
   * @param directory the folder
   * @param dtype F32, BF16 or F16; null: that of the master weights, so that nothing is lost
   */
  public void export(Path directory, Dtype dtype) {
    Native.tessera_checkpoint_export(this, Text.in("directory", directory), exported(dtype));
  }

  /**
   * Like {@link #export}, without waiting.
   *
   * @param directory the folder
   * @param dtype F32, BF16 or F16; null: that of the master weights
   * @return ends when it is written
   */
  public CompletableFuture<Void> exportAsync(Path directory, Dtype dtype) {
    byte[] path = Text.in("directory", directory);
    byte[] name = exported(dtype);
    return Call.start(out -> Native.tessera_checkpoint_export_async(this, path, name, out), this);
  }

  private static byte[] exported(Dtype dtype) {
    if (dtype == null) {
      return null;
    }
    return switch (dtype) {
      case F32 -> Text.in("dtype", "fp32");
      case BF16 -> Text.in("dtype", "bf16");
      case F16 -> Text.in("dtype", "fp16");
      default ->
          throw new IllegalArgumentException("dtype=" + dtype + " is not one of F32, BF16, F16");
    };
  }
}
