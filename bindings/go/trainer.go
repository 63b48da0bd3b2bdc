package tessera

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"unsafe"

	"tessera/internal/capi"
)

// Metrics is what a step reports. All ranks get the same Loss, GradNorm, Tokens and LabelTokens.
type Metrics struct {
	Step                 int64   // from 1
	Loss                 float64 // sum of token losses over all ranks / LabelTokens
	GradNorm             float64 // over all ranks, before clipping
	LR                   float64
	Tokens               int64 // over all ranks
	LabelTokens          int64 // those trained on
	Seconds              float64
	TokensPerSecond      float64
	CommunicationSeconds float64
	Memory               int64 // peak bytes
	// Of models with experts, over all ranks; else 0. An expert's load is the number of tokens that chose it.
	ExpertLoadRatio   float64 // the largest load / the mean, of the layer where that is largest
	ExpertIdle        float64 // the share of all layers' experts that no token chose
	ExpertBalanceLoss float64 // mean over tokens and layers, before moe.balance_loss; 0 when that is 0
	ExpertZLoss       float64 // likewise of moe.z_loss
	MemoryReserved    int64   // peak bytes that the GPU's allocator held; 0 on CPUs and in events
}

func rawMetrics() *capi.Metrics {
	raw := new(capi.Metrics)
	capi.Tessera_metrics_init(raw, uint64(unsafe.Sizeof(*raw)))
	return raw
}

func newMetrics(raw *capi.Metrics) Metrics {
	return Metrics{raw.Step, raw.Loss, raw.GradNorm, raw.Lr, raw.Tokens, raw.LabelTokens, raw.Seconds, raw.TokensPerS,
		raw.CommunicationSeconds, raw.Memory, raw.ExpertLoadRatio, raw.ExpertIdle, raw.ExpertBalanceLoss,
		raw.ExpertZLoss, raw.MemoryReserved}
}

// GenerateOptions says how tokens are chosen. 0 means the default in every field.
type GenerateOptions struct {
	MaxNewTokens int64 // 64
	TopK         int64 // 0: all
	Seed         int64
	Temperature  float64 // 0: always the likeliest token
	TopP         float64 // 0: all
}

func (o GenerateOptions) raw() *capi.GenerateOptions {
	raw := new(capi.GenerateOptions)
	capi.Tessera_generate_options_init(raw, uint64(unsafe.Sizeof(*raw)))
	raw.MaxNewTokens, raw.TopK, raw.Seed, raw.Temperature, raw.TopP = o.MaxNewTokens, o.TopK, o.Seed, o.Temperature, o.TopP
	return raw
}

// Trainer is one rank's part of training a model on a mesh.
type Trainer struct {
	*handle
	lastStep int64 // train.steps of the configuration; 0: not set
}

func newTrainer(id uint64, lastStep int64) *Trainer {
	return &Trainer{newHandle("trainer", id, capi.Tessera_trainer_destroy), lastStep}
}

func lastStepOf(config *Config) (int64, error) {
	if config == nil {
		return 0, nil
	}
	text, err := config.Get("train.steps")
	if err != nil || text == "" {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

func (t *Trainer) owner() *handle {
	if t == nil {
		return nil
	}
	return t.handle
}

// NewTrainer shards the model over the mesh; config may be nil.
func NewTrainer(mesh *Mesh, model *Model, config *Config) (*Trainer, error) {
	lastStep, err := lastStepOf(config)
	if err != nil {
		return nil, err
	}
	id := new(uint64)
	err = mesh.owner().with(func(m uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_create(m, model.owner().raw(), config.owner().raw(), id, e)
	}, model, config)
	if err != nil {
		return nil, err
	}
	return newTrainer(*id, lastStep), nil
}

// NewTrainerAsync is NewTrainer without waiting.
func NewTrainerAsync(mesh *Mesh, model *Model, config *Config) (*Future[*Trainer], error) {
	lastStep, err := lastStepOf(config)
	if err != nil {
		return nil, err
	}
	wrap := func(id uint64) *Trainer { return newTrainer(id, lastStep) }
	return start(mesh.owner(), []any{model, config}, takeObject(capi.Tessera_future_get_trainer, wrap),
		func(m uint64, future *uint64, e *capi.Error) int32 {
			return capi.Tessera_trainer_create_async(m, model.owner().raw(), config.owner().raw(), future, e)
		})
}

// SetEvents sends this trainer's metrics, failures and checkpoints to a queue; nil stops it.
func (t *Trainer) SetEvents(q *Events) error {
	return t.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_set_events(id, q.owner().raw(), e)
	}, q)
}

// Metrics sends what each step from here on reports. The channel is closed when the context ends. It takes the place of the
// queue of SetEvents. A reader that is too slow loses the oldest metrics beyond 1024.
func (t *Trainer) Metrics(ctx context.Context) (<-chan Metrics, error) {
	queue, err := NewEvents(0)
	if err != nil {
		return nil, err
	}
	if err := t.SetEvents(queue); err != nil {
		queue.Close()
		return nil, err
	}
	out := make(chan Metrics)
	go func() {
		defer close(out)
		defer queue.Close()
		for event := range queue.Channel(ctx) {
			if event.Type != EventMetrics {
				continue
			}
			select {
			case out <- event.Metrics:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// measured runs a call that reports metrics.
func (t *Trainer) measured(f func(id uint64, raw *capi.Metrics, e *capi.Error) int32, keep ...any) (Metrics, error) {
	raw := rawMetrics()
	err := t.owner().with(func(id uint64, e *capi.Error) int32 { return f(id, raw, e) }, keep...)
	return newMetrics(raw), err
}

// Step is one optimizer step over this rank's micro-batches.
func (t *Trainer) Step(batch *Batch) (Metrics, error) {
	return t.measured(func(id uint64, raw *capi.Metrics, e *capi.Error) int32 {
		return capi.Tessera_trainer_step(id, batch.owner().raw(), raw, e)
	}, batch)
}

// ForwardBackward adds the gradients of a batch. labelTokens is what the loss is divided by; 0: the labels of this batch.
func (t *Trainer) ForwardBackward(batch *Batch, labelTokens int64) (Metrics, error) {
	return t.measured(func(id uint64, raw *capi.Metrics, e *capi.Error) int32 {
		return capi.Tessera_trainer_forward_backward(id, batch.owner().raw(), labelTokens, raw, e)
	}, batch)
}

// OptimizerStep clips the gradients, updates the weights and forgets the gradients.
func (t *Trainer) OptimizerStep() (Metrics, error) {
	return t.measured(capi.Tessera_trainer_optimizer_step)
}

// Evaluate is the loss of a batch, without gradients.
func (t *Trainer) Evaluate(batch *Batch) (Metrics, error) {
	return t.measured(func(id uint64, raw *capi.Metrics, e *capi.Error) int32 {
		return capi.Tessera_trainer_evaluate(id, batch.owner().raw(), raw, e)
	}, batch)
}

// Steps trains on a dataset until it is used up, or until StepCount is train.steps of the configuration that the trainer was made
// with: a step for each turn of the loop, which gets its metrics. An error ends the loop as its last element.
func (t *Trainer) Steps(data *Dataset) iter.Seq2[Metrics, error] {
	step := func() (metrics Metrics, more bool, err error) {
		if t.lastStep > 0 {
			if count, err := t.StepCount(); err != nil || count >= t.lastStep {
				return metrics, false, err
			}
		}
		batch, err := data.Next()
		if errors.Is(err, ErrEnd) {
			return metrics, false, nil
		} else if err != nil {
			return metrics, false, err
		}
		defer batch.Close()
		metrics, err = t.Step(batch)
		return metrics, err == nil, err
	}
	return func(yield func(Metrics, error) bool) {
		for {
			metrics, more, err := step()
			if !more && err == nil || !yield(metrics, err) || !more {
				return
			}
		}
	}
}

// StepAsync is Step without waiting.
func (t *Trainer) StepAsync(batch *Batch) (*Future[Metrics], error) {
	return start(t.owner(), batch, takeMetrics, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_step_async(id, batch.owner().raw(), future, e)
	})
}

// ForwardBackwardAsync is ForwardBackward without waiting.
func (t *Trainer) ForwardBackwardAsync(batch *Batch, labelTokens int64) (*Future[Metrics], error) {
	return start(t.owner(), batch, takeMetrics, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_forward_backward_async(id, batch.owner().raw(), labelTokens, future, e)
	})
}

// OptimizerStepAsync is OptimizerStep without waiting.
func (t *Trainer) OptimizerStepAsync() (*Future[Metrics], error) {
	return start(t.owner(), nil, takeMetrics, capi.Tessera_trainer_optimizer_step_async)
}

// EvaluateAsync is Evaluate without waiting.
func (t *Trainer) EvaluateAsync(batch *Batch) (*Future[Metrics], error) {
	return start(t.owner(), batch, takeMetrics, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_evaluate_async(id, batch.owner().raw(), future, e)
	})
}

// ZeroGrad forgets the gradients.
func (t *Trainer) ZeroGrad() error { return t.owner().with(capi.Tessera_trainer_zero_grad) }

// StepCount is the number of optimizer steps so far, also those before a checkpoint was loaded.
func (t *Trainer) StepCount() (int64, error) {
	return number(t.owner(), capi.Tessera_trainer_get_step_count)
}

// Generate is the tokens that follow the prompt.
func (t *Trainer) Generate(prompt []int64, options GenerateOptions) ([]int64, error) {
	return arrayOf(t.owner(), 256, 0, func(id uint64, buf *int64, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_generate(id, in(prompt), int64(len(prompt)), options.raw(), buf, size, n, e)
	})
}

// GenerateAsync is Generate without waiting.
func (t *Trainer) GenerateAsync(prompt []int64, options GenerateOptions) (*Future[[]int64], error) {
	return start(t.owner(), nil, takeTokens, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_generate_async(id, in(prompt), int64(len(prompt)), options.raw(), future, e)
	})
}

// tensor runs a call that makes a tensor.
func (t *Trainer) tensor(f func(id uint64, out *uint64, e *capi.Error) int32) (*Tensor, error) {
	id, err := number(t.owner(), f)
	if err != nil {
		return nil, err
	}
	return newTensor(id), nil
}

// tensorAsync begins a call that makes a tensor.
func (t *Trainer) tensorAsync(keep any, f func(id uint64, future *uint64, e *capi.Error) int32) (*Future[*Tensor], error) {
	return start(t.owner(), keep, takeObject(capi.Tessera_future_get_tensor, newTensor), f)
}

// Logits of a batch's first micro-batch, [tokens, vocabulary] in F32.
func (t *Trainer) Logits(batch *Batch) (*Tensor, error) {
	return t.tensor(func(id uint64, out *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_get_logits(id, batch.owner().raw(), out, e)
	})
}

// LogitsAsync is Logits without waiting.
func (t *Trainer) LogitsAsync(batch *Batch) (*Future[*Tensor], error) {
	return t.tensorAsync(batch, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_get_logits_async(id, batch.owner().raw(), future, e)
	})
}

// ParameterNames are the Hugging Face names of all parameters.
func (t *Trainer) ParameterNames() ([]string, error) {
	count, err := number(t.owner(), capi.Tessera_trainer_count_parameters)
	if err != nil {
		return nil, err
	}
	names := make([]string, count)
	for i := range names {
		names[i], err = textOf(t.owner(), func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32 {
			return capi.Tessera_trainer_get_parameter_name(id, int64(i), buf, size, n, e)
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Parameter is the full weight, gathered; a copy.
func (t *Trainer) Parameter(name string) (*Tensor, error) {
	if err := noNUL(name); err != nil {
		return nil, err
	}
	return t.tensor(func(id uint64, out *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_get_parameter(id, name, out, e)
	})
}

// ParameterAsync is Parameter without waiting.
func (t *Trainer) ParameterAsync(name string) (*Future[*Tensor], error) {
	if err := noNUL(name); err != nil {
		return nil, err
	}
	return t.tensorAsync(nil, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_get_parameter_async(id, name, future, e)
	})
}

// Gradient is the full gradient of the last ForwardBackward, in F32; a copy.
func (t *Trainer) Gradient(name string) (*Tensor, error) {
	if err := noNUL(name); err != nil {
		return nil, err
	}
	return t.tensor(func(id uint64, out *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_get_gradient(id, name, out, e)
	})
}

// GradientAsync is Gradient without waiting.
func (t *Trainer) GradientAsync(name string) (*Future[*Tensor], error) {
	if err := noNUL(name); err != nil {
		return nil, err
	}
	return t.tensorAsync(nil, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_get_gradient_async(id, name, future, e)
	})
}

// SetParameter overwrites a weight with a full tensor of its shape, which every rank passes.
func (t *Trainer) SetParameter(name string, value *Tensor) error {
	if err := noNUL(name); err != nil {
		return err
	}
	held := usePins(value)
	defer releasePins(held)
	return t.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_set_parameter(id, name, value.owner().raw(), e)
	}, value)
}

// SetParameterAsync is SetParameter without waiting.
func (t *Trainer) SetParameterAsync(name string, value *Tensor) (*Future[struct{}], error) {
	if err := noNUL(name); err != nil {
		return nil, err
	}
	held := usePins(value)
	future, err := start(t.owner(), held, takeNothing, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_set_parameter_async(id, name, value.owner().raw(), future, e)
	})
	if err != nil {
		releasePins(held)
	}
	return future, err
}

// Program is the compiled step, one instruction a line.
func (t *Trainer) Program(microbatches int64) (string, error) {
	return textOf(t.owner(), func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_trainer_get_program(id, microbatches, buf, size, n, e)
	})
}

// Save writes a checkpoint; the position of data goes with it when data is not nil.
func (t *Trainer) Save(directory string, data *Dataset) error {
	if err := noNUL(directory); err != nil {
		return err
	}
	return t.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_checkpoint_save(id, directory, data.owner().raw(), e)
	}, data)
}

// SaveAsync is Save without waiting; the position of data is taken at once.
func (t *Trainer) SaveAsync(directory string, data *Dataset) (*Future[struct{}], error) {
	if err := noNUL(directory); err != nil {
		return nil, err
	}
	return start(t.owner(), data, takeNothing, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_checkpoint_save_async(id, directory, data.owner().raw(), future, e)
	})
}

// Load continues from a checkpoint, whatever mesh wrote it; data is moved to the saved position when it is not nil.
func (t *Trainer) Load(directory string, data *Dataset) error {
	if err := noNUL(directory); err != nil {
		return err
	}
	return t.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_checkpoint_load(id, directory, data.owner().raw(), e)
	}, data)
}

// LoadAsync is Load without waiting.
func (t *Trainer) LoadAsync(directory string, data *Dataset) (*Future[struct{}], error) {
	if err := noNUL(directory); err != nil {
		return nil, err
	}
	return start(t.owner(), data, takeNothing, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_checkpoint_load_async(id, directory, data.owner().raw(), future, e)
	})
}

// dtypeOf is a NUL-terminated dtype name, or nil for that of the master weights.
func dtypeOf(dtype string) *byte {
	if dtype == "" {
		return nil
	}
	return in([]byte(dtype))
}

// Export writes a Hugging Face directory; dtype is "fp32", "bf16", "fp16", or "" for that of the master weights.
func (t *Trainer) Export(directory, dtype string) error {
	if err := noNUL(directory, dtype); err != nil {
		return err
	}
	return t.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_checkpoint_export(id, directory, dtypeOf(dtype), e)
	})
}

// ExportAsync is Export without waiting.
func (t *Trainer) ExportAsync(directory, dtype string) (*Future[struct{}], error) {
	if err := noNUL(directory, dtype); err != nil {
		return nil, err
	}
	return start(t.owner(), nil, takeNothing, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_checkpoint_export_async(id, directory, dtypeOf(dtype), future, e)
	})
}
