package tessera

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

func TestFuturesThatNobodyWaitsForGiveTheirMemoryUp(t *testing.T) {
	worlds := must(NewWorldThreads(2, oneThread))
	first, second := must(NewMeshAsync(worlds[0], MeshOptions{})), must(NewMeshAsync(worlds[1], MeshOptions{}))
	meshes := []*Mesh{must(first.Wait(background())), must(second.Wait(background()))}
	begin := func(rank int) *Future[struct{}] {
		view := must(NewTensorView(DTypeF32, []int64{2}, []float32{1, 2}))
		defer view.Close()
		return must(meshes[rank].AllReduceAsync("dp", view, ReduceSum))
	}
	pinned := func() int {
		pinsMutex.Lock()
		defer pinsMutex.Unlock()
		return len(allPins)
	}
	check(begin(0).Close()) // cannot end before rank 1 comes
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
	if pinned() != 1 {
		t.Fatal("memory of work under way was given up")
	}
	begin(1) // forgotten
	for i := 0; pinned() != 0; i++ {
		if i == 500 {
			t.Fatal(pinned(), " views are still pinned")
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	for _, world := range worlds {
		world.Close()
	}
}

func TestWaitsEndWithTheirContext(t *testing.T) {
	worlds := must(NewWorldThreads(2, oneThread))
	first, second := must(NewMeshAsync(worlds[0], MeshOptions{})), must(NewMeshAsync(worlds[1], MeshOptions{}))
	must(WaitAny(background(), first, second))
	mesh := must(first.Wait(background()))
	must(second.Wait(background()))
	if _, err := first.Wait(background()); !errors.Is(err, ErrState) {
		t.Fatal("handed over twice: ", err)
	}
	alone := must(mesh.BarrierAsync("dp"))
	ctx, cancel := context.WithTimeout(background(), 30*time.Millisecond)
	defer cancel()
	if _, err := alone.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if done := must(alone.Done()); done {
		t.Fatal("a barrier of one rank of two ended")
	}
	if err := mesh.Barrier("dp"); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	behind := must(NewMeshAsync(worlds[0], MeshOptions{}))
	check(behind.Cancel())
	if _, err := behind.Wait(background()); !errors.Is(err, ErrCancelled) {
		t.Fatal(err)
	}
	check(worlds[1].Abort("said the host"))
	var failure *Error
	if _, err := alone.Wait(background()); !errors.As(err, &failure) || failure.Code != ErrPeerFailed || failure.Rank != 1 {
		t.Fatal(err)
	}
	if _, err := worlds[0].LeaveAsync(); err != nil {
		t.Fatal(err)
	}
	for _, world := range worlds {
		world.Close()
	}
	queue := must(NewEvents(4))
	if _, ok, err := queue.TryNext(time.Millisecond); ok || err != nil {
		t.Fatal(ok, err)
	}
	time.AfterFunc(20*time.Millisecond, func() { queue.Close() })
	if _, err := queue.Next(background()); !errors.Is(err, ErrCancelled) {
		t.Fatal(err)
	}
}
