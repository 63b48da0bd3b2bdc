package tessera

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAStepIsItsParts(t *testing.T) {
	folder := t.TempDir()
	config := newConfig(t)
	check(Run(2, oneThread, func(world *World) error {
		ctx := background()
		mesh := must(NewMesh(world, must(MeshOptionsFrom(config))))
		model := must(NewModel(modelJSON))
		trainer := must(NewTrainer(mesh, model, config))
		twin := must(must(NewTrainerAsync(mesh, model, config)).Wait(ctx))
		batch := newBatchOf(must(world.Rank()))
		if tokens, labels, err := batch.CountTokens(); tokens != 12 || labels != 10 || err != nil || must(batch.Count()) != 1 {
			t.Error(tokens, labels, err)
		}
		if !slices.Equal(must(batch.Array(0, BatchCuSeqlens)), []int64{0, 7, 12}) {
			t.Error("other borders of documents")
		}
		whole := must(trainer.Step(batch))
		if parts := must(must(twin.ForwardBackwardAsync(batch, 0)).Wait(ctx)); parts.Loss != whole.Loss {
			t.Error(whole, parts)
		}
		name := must(trainer.ParameterNames())[1]
		if !slices.Equal(must(must(twin.Gradient(name)).Dims()), must(must(must(twin.GradientAsync(name)).Wait(ctx)).Dims())) {
			t.Error("other gradients")
		}
		must(twin.OptimizerStep())
		weights := func(tensor *Tensor, err error) []float32 { return must(Data[float32](must(tensor, err))) }
		if !slices.Equal(weights(trainer.Parameter(name)), weights(must(twin.ParameterAsync(name)).Wait(ctx))) {
			t.Error("other weights")
		}
		if must(trainer.Evaluate(batch)).Loss != must(must(twin.EvaluateAsync(batch)).Wait(ctx)).Loss {
			t.Error("other losses")
		}
		must(twin.ForwardBackward(batch, 0))
		check(twin.ZeroGrad())
		must(twin.ForwardBackward(batch, 0))
		second := must(must(twin.OptimizerStepAsync()).Wait(ctx))
		if step := must(must(trainer.StepAsync(batch)).Wait(ctx)); step.GradNorm != second.GradNorm || step.Step != 2 {
			t.Error(step, second)
		}
		if must(trainer.StepCount()) != 2 {
			t.Error("other steps")
		}
		if !slices.Equal(must(must(trainer.Logits(batch)).Dims()), []int64{12, 64}) ||
			!slices.Equal(must(must(must(trainer.LogitsAsync(batch)).Wait(ctx)).Dims()), []int64{12, 64}) {
			t.Error("other logits")
		}
		more := GenerateOptions{MaxNewTokens: 100}
		if !slices.Equal(must(trainer.Generate([]int64{1, 2, 3}, more)), must(must(trainer.GenerateAsync([]int64{1, 2, 3}, more)).Wait(ctx))) {
			t.Error("other tokens")
		}
		zeros := must(NewTensor(DTypeF32, must(must(trainer.Parameter(name)).Dims())...))
		check(trainer.SetParameter(name, zeros))
		must(must(trainer.SetParameterAsync(name, zeros)).Wait(ctx))
		if weights(trainer.Parameter(name))[0] != 0 || must(trainer.Program(1)) == "" {
			t.Error("a weight was not set")
		}

		queue := must(NewEvents(0))
		check(trainer.SetEvents(queue))
		check(trainer.Save(folder+"/a", nil))
		must(must(trainer.SaveAsync(folder+"/b", nil)).Wait(ctx))
		check(twin.Load(folder+"/a", nil))
		must(must(twin.LoadAsync(folder+"/b", nil)).Wait(ctx))
		if must(twin.Evaluate(batch)).Loss != must(trainer.Evaluate(batch)).Loss {
			t.Error("a checkpoint holds another model")
		}
		if event := must(queue.Next(ctx)); event.Type != EventCheckpoint || event.Message != folder+"/a" {
			t.Error(event)
		}
		check(trainer.SetEvents(nil))
		check(trainer.Export(folder+"/out", ""))
		must(must(trainer.ExportAsync(folder+"/out16", "bf16")).Wait(ctx))
		if must(must(OpenModel(folder+"/out")).ParameterCount()) < 1000 || !strings.Contains(must(model.Text()), "llama") {
			t.Error("the export is no model")
		}
		return nil
	}))
	check(config.Set("train.global_batch", "2"))
	check(must(NewModel(modelJSON)).SetTPPlan("whole", `{"*": "replicate"}`))
	for format, part := range map[TimelineFormat]string{TimelineText: "rank 0", TimelineColour: "\x1b[", TimelineSvg: "<svg", TimelineTrace: "traceEvents"} {
		options := TimelineOptions{Format: format, Columns: 60, Backward: 3}
		if text := must(Timeline(must(NewModel(modelJSON)), config, 2, options)); !strings.Contains(text, part) {
			t.Error(text)
		}
	}
	if _, err := Timeline(must(NewModel(modelJSON)), config, 2, TimelineOptions{Transfer: -1}); err == nil {
		t.Error("a negative cost was accepted")
	}
	if text := must(Plan(must(NewModel(modelJSON)), config, 2, PlanSummary)); !strings.Contains(text, "dp_shard") {
		t.Fatal(text)
	}
}

func TestCloseWhileStepsRunIsSafe(t *testing.T) {
	check(Run(1, oneThread, func(world *World) error {
		mesh, model, config := must(NewMesh(world, MeshOptions{})), must(NewModel(modelJSON)), newConfig(t)
		for round := range 8 {
			trainer := must(NewTrainer(mesh, model, config))
			batch := newBatchOf(0)
			time.AfterFunc(time.Duration(round)*500*time.Microsecond, func() {
				batch.Close()
				trainer.Close()
			})
			for {
				if _, err := trainer.Step(batch); errors.Is(err, ErrClosed) {
					break
				} else if err != nil {
					t.Error(err)
					break
				}
			}
		}
		return nil
	}))
}
