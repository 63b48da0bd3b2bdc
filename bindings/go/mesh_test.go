package tessera

import (
	"slices"
	"strings"
	"testing"
)

func TestTensorsKeepTheirBits(t *testing.T) {
	values := []float32{0.1, -2.5, 3e30, 0, 5, 6}
	tensor := must(NewTensorOf(DTypeF32, []int64{2, 3}, values))
	defer tensor.Close()
	if !slices.Equal(must(Data[float32](tensor)), values) || !slices.Equal(must(tensor.Dims()), []int64{2, 3}) {
		t.Fatal("other elements")
	}
	if _, err := Data[float64](tensor); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	if err := SetData(tensor, []float32{1}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	again := must(NewTensorFromDLPack(must(tensor.DLPack())))
	defer again.Close()
	check(SetData(tensor, []float32{6, 5, 4, 3, 2, 1}))
	if must(Data[float32](again))[0] != 6 || must(again.DType()) != DTypeF32 {
		t.Fatal("DLPack made a copy")
	}
	if _, err := NewTensorOf(DTypeF32, []int64{3}, []float32{1}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
}

func TestCollectives(t *testing.T) {
	check(Run(2, oneThread, func(world *World) error {
		rank := must(world.Rank())
		mesh := must(must(NewMeshAsync(world, MeshOptions{})).Wait(background()))
		if must(mesh.Size("dp")) != 2 || must(mesh.Index("dp")) != int64(rank) || must(world.Size()) != 2 {
			t.Error("the mesh has another shape")
		}
		if !slices.Equal(must(mesh.Ranks("dp")), []int32{0, 1}) || !strings.Contains(must(mesh.Text()), "dp_shard=2") {
			t.Error(must(mesh.Text()))
		}
		memory := []float32{float32(rank), 1}
		view := must(NewTensorView(DTypeF32, []int64{2}, memory))
		both, other := must(NewTensor(DTypeF32, 4)), must(NewTensor(DTypeF32, 4))
		wait := func(future *Future[struct{}], err error) { must(must(future, err).Wait(background())) }
		check(mesh.Barrier("dp"))
		wait(mesh.BarrierAsync("dp"))
		check(mesh.AllGather("dp", view, both))
		wait(mesh.AllGatherAsync("dp", view, both))
		if !slices.Equal(must(Data[float32](both)), []float32{0, 1, 1, 1}) {
			t.Error(must(Data[float32](both)))
		}
		check(mesh.AllToAll("dp", both, other))
		wait(mesh.AllToAllAsync("dp", both, other))
		check(mesh.AllReduce("dp", view, ReduceSum))
		if !slices.Equal(memory, []float32{1, 2}) {
			t.Error("a view is not the memory itself: ", memory)
		}
		wait(mesh.AllReduceAsync("dp", view, ReduceMax))
		check(mesh.ReduceScatter("dp", both, view, ReduceAvg))
		wait(mesh.ReduceScatterAsync("dp", both, view, ReduceSum))
		memory[0] = float32(rank)
		check(mesh.Broadcast("dp", view, 1))
		wait(mesh.BroadcastAsync("dp", view, 1))
		if memory[0] != 1 {
			t.Error(memory)
		}
		check(view.Close())
		return nil
	}))
	pinsMutex.Lock()
	defer pinsMutex.Unlock()
	if len(allPins) != 0 {
		t.Fatal(len(allPins), " views are still pinned")
	}
}
