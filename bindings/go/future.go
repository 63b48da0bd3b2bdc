package tessera

import (
	"context"
	"math"
	"runtime"
	"sync"
	"time"

	"tessera/internal/capi"
)

// A wait looks at its context this often.
const contextInterval = 20 * time.Millisecond

// Future is a call under way. Closing it does not stop the work.
type Future[T any] struct {
	*handle
	take   func(future uint64) (T, error)
	keep   any       // owners that the work uses
	memory *inFlight // memory of Go that the work uses
}

func newFuture[T any](id uint64, take func(future uint64) (T, error), keep any) *Future[T] {
	memory := &inFlight{}
	memory.pins, _ = keep.([]*pins)
	return &Future[T]{handle: newHandle("future", id, memory.releaseAfter), take: take, keep: keep, memory: memory}
}

// inFlight is pinned memory that work under way uses.
type inFlight struct {
	pins []*pins
	once sync.Once
}

func (m *inFlight) release() {
	m.once.Do(func() { releasePins(m.pins) })
}

// releaseAfter closes a future. Nobody will ask for the end of its work any more, but memory must stay in place until then.
func (m *inFlight) releaseAfter(id uint64) int32 {
	done := new(int32)
	if len(m.pins) == 0 || capi.Tessera_future_poll(id, done, nil) != 0 || *done != 0 {
		m.release()
		return capi.Tessera_future_destroy(id)
	}
	go func() {
		capi.Tessera_future_wait(id, -1, nil)
		m.release()
		capi.Tessera_future_destroy(id)
	}()
	return 0
}

func (f *Future[T]) owner() *handle {
	if f == nil {
		return nil
	}
	return f.handle
}

// Done says whether the work has ended, well or not.
func (f *Future[T]) Done() (bool, error) {
	done, err := number(f.owner(), capi.Tessera_future_poll)
	if err == nil && done != 0 {
		f.memory.release()
	}
	return done != 0, err
}

// Wait waits for the result, or until the context ends; the work goes on then. Objects are handed over once.
func (f *Future[T]) Wait(ctx context.Context) (T, error) {
	var nothing T
	err := patiently(ctx, func(timeout int64) error {
		return f.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_future_wait(id, timeout, e) })
	})
	if err != nil {
		return nothing, err
	}
	f.memory.release()
	if err := f.owner().with(capi.Tessera_future_get_result); err != nil {
		return nothing, err
	}
	out, err := f.take(f.raw())
	runtime.KeepAlive(f)
	return out, err
}

// Cancel asks that work which has not begun is not begun. For collective work cancel on every rank.
func (f *Future[T]) Cancel() error { return f.owner().with(capi.Tessera_future_cancel) }

// AnyFuture is a Future of any result.
type AnyFuture interface{ owner() *handle }

// WaitAny waits until one of the futures has ended, or the context has, and returns the lowest such index.
func WaitAny(ctx context.Context, futures ...AnyFuture) (int, error) {
	ids := make([]uint64, len(futures), len(futures)+1)
	for i, future := range futures {
		ids[i] = future.owner().raw()
	}
	index := new(int64)
	err := patiently(ctx, func(timeout int64) error {
		return call(func(e *capi.Error) int32 {
			return capi.Tessera_future_wait_any(&ids[:1][0], int64(len(futures)), timeout, index, e)
		})
	})
	runtime.KeepAlive(futures)
	return int(*index), err
}

// patiently calls wait until it does not time out or the context ends.
func patiently(ctx context.Context, wait func(timeout int64) error) error {
	for {
		timeout := int64(-1)
		if ctx.Done() != nil {
			timeout = int64(contextInterval)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := wait(timeout)
		if failure, ok := err.(*Error); !ok || failure.Code != ErrTimeout || timeout < 0 {
			return err
		}
	}
}

// start begins work on an object.
func start[T any](h *handle, keep any, take func(future uint64) (T, error),
	f func(id uint64, future *uint64, e *capi.Error) int32) (*Future[T], error) {
	future := new(uint64)
	if err := h.with(func(id uint64, e *capi.Error) int32 { return f(id, future, e) }, keep); err != nil {
		return nil, err
	}
	return newFuture(*future, take, keep), nil
}

func takeNothing(uint64) (struct{}, error) { return struct{}{}, nil }

// startPlain begins work without a result.
func startPlain(h *handle, f func(id uint64, future *uint64, e *capi.Error) int32) (*Future[struct{}], error) {
	return start(h, nil, takeNothing, f)
}

func takeMetrics(future uint64) (Metrics, error) {
	raw := rawMetrics()
	err := call(func(e *capi.Error) int32 { return capi.Tessera_future_get_metrics(future, raw, e) })
	return newMetrics(raw), err
}

func takeTokens(future uint64) ([]int64, error) {
	return read(256, 0, func(buf *int64, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_future_get_tokens(future, buf, size, n, e)
	})
}

// takeObject hands an object of the future over.
func takeObject[T any](get func(future uint64, out *uint64, e *capi.Error) int32, wrap func(id uint64) *T) func(uint64) (*T, error) {
	return func(future uint64) (*T, error) {
		id := new(uint64)
		if err := call(func(e *capi.Error) int32 { return get(future, id, e) }); err != nil {
			return nil, err
		}
		return wrap(*id), nil
	}
}

// timeoutOf is a duration as C wants it; negative: without end.
func timeoutOf(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return min(int64(d), math.MaxInt64)
}
