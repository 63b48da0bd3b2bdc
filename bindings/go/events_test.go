package tessera

import (
	"context"
	"testing"
)

func TestMetricsComeThroughAChannel(t *testing.T) {
	check(Run(1, oneThread, func(world *World) error {
		trainer := must(NewTrainer(must(NewMesh(world, MeshOptions{})), must(NewModel(modelJSON)), newConfig(t)))
		ctx, cancel := context.WithCancel(background())
		metrics := must(trainer.Metrics(ctx))
		for step := int64(1); step <= 3; step++ {
			want := must(trainer.Step(newBatchOf(0)))
			if got := <-metrics; got.Step != step || got.Loss != want.Loss {
				t.Error(got, want)
			}
		}
		cancel()
		for range metrics {
			t.Error("metrics after the end")
		}
		return nil
	}))
}

func TestLogLinesGoToAQueue(t *testing.T) {
	before := must(GetLogLevel())
	queue := must(NewEvents(16))
	check(SetLogEvents(queue))
	check(SetLogLevel(LogDebug))
	must(NewWorld(WorldOptions{Job: "a job", IntraOpThreads: 1})).Close()
	check(SetLogLevel(before))
	check(SetLogEvents(nil))
	queue.Close()
}
