package tessera

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unsafe"

	"tessera/internal/capi"
)

// WorldOptions says how a rank joins a job. The zero value means defaults.
type WorldOptions struct {
	Rank, Size           int
	LocalRank, LocalSize int
	Backend              Backend
	Device               Device
	IntraOpThreads       int  // threads of one rank inside an operator; 0: cores divided by the ranks of the host
	AgentStore           bool // a launcher already serves the rendezvous port (torchrun)
	Timeout              time.Duration
	Rendezvous           string // "tcp://host:port" or "file:///path"; "" for one process
	Job                  string // keeps two jobs of a host apart; "": derived from Rendezvous
	Allocator            Allocator
	RegisterBuffers      Switch // NCCL uses the memory of gathered weights and of gradients to reduce in place
	ExpandableSegments   Switch // LibTorch's allocator on GPUs maps memory into segments that grow
}

// WorldOptionsFrom takes backend, device, threads, allocator, timeout, comm.register_buffers and cuda.expandable_segments
// from a configuration.
func WorldOptionsFrom(config *Config) (WorldOptions, error) {
	raw := rawWorldOptions()
	err := config.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_world_options_load(raw, id, e) })
	if err != nil {
		return WorldOptions{}, err
	}
	return WorldOptions{Backend: Backend(raw.Backend), Device: Device(raw.Device), IntraOpThreads: int(raw.IntraOpThreads),
		Timeout: time.Duration(raw.TimeoutNs), Allocator: Allocator(raw.Allocator),
		RegisterBuffers: Switch(raw.RegisterBuffers), ExpandableSegments: Switch(raw.ExpandableSegments)}, nil
}

func rawWorldOptions() *capi.WorldOptions {
	raw := new(capi.WorldOptions)
	capi.Tessera_world_options_init(raw, uint64(unsafe.Sizeof(*raw)))
	return raw
}

// with calls f with the options as C wants them; the texts are pinned meanwhile.
func (o WorldOptions) with(f func(raw *capi.WorldOptions, e *capi.Error) int32) error {
	if err := noNUL(o.Rendezvous, o.Job); err != nil {
		return err
	}
	raw := rawWorldOptions()
	raw.Rank, raw.Size, raw.LocalRank, raw.LocalSize = int32(o.Rank), int32(o.Size), int32(o.LocalRank), int32(o.LocalSize)
	raw.Backend, raw.Device, raw.Allocator = int32(o.Backend), int32(o.Device), int32(o.Allocator)
	raw.RegisterBuffers, raw.ExpandableSegments = int32(o.RegisterBuffers), int32(o.ExpandableSegments)
	raw.IntraOpThreads, raw.TimeoutNs = int32(o.IntraOpThreads), int64(o.Timeout)
	if o.AgentStore {
		raw.AgentStore = 1
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pin := func(s string) unsafe.Pointer {
		if s == "" {
			return nil
		}
		bytes := in([]byte(s)) // ends with a NUL
		pinner.Pin(bytes)
		return unsafe.Pointer(bytes)
	}
	raw.Rendezvous, raw.Job = pin(o.Rendezvous), pin(o.Job)
	return call(func(e *capi.Error) int32 { return f(raw, e) })
}

// World is one rank's seat in a job.
type World struct{ *handle }

func newWorld(id uint64) *World { return &World{newHandle("world", id, capi.Tessera_world_destroy)} }

func (w *World) owner() *handle {
	if w == nil {
		return nil
	}
	return w.handle
}

// NewWorld joins a job and returns when all ranks have met.
func NewWorld(options WorldOptions) (*World, error) {
	id := new(uint64)
	err := options.with(func(raw *capi.WorldOptions, e *capi.Error) int32 { return capi.Tessera_world_create(raw, id, e) })
	if err != nil {
		return nil, err
	}
	return newWorld(*id), nil
}

// NewWorldFromEnvironment joins the job that torchrun, mpirun or srun describes; without a launcher it is one rank.
func NewWorldFromEnvironment(options WorldOptions) (*World, error) {
	id := new(uint64)
	err := options.with(func(raw *capi.WorldOptions, e *capi.Error) int32 {
		return capi.Tessera_world_create_from_environment(raw, id, e)
	})
	if err != nil {
		return nil, err
	}
	return newWorld(*id), nil
}

// NewWorldThreads makes all ranks of a job in this process; element r is rank r. Rank, Size and Rendezvous are ignored.
func NewWorldThreads(size int, options WorldOptions) ([]*World, error) {
	if size > 1<<16 {
		return nil, &Error{Code: ErrArgument, Rank: -1, Message: fmt.Sprintf("size=%d ranks in one process", size)}
	}
	ids := make([]uint64, max(size, 1))
	err := options.with(func(raw *capi.WorldOptions, e *capi.Error) int32 {
		return capi.Tessera_world_create_threads(int32(size), raw, &ids[0], e)
	})
	if err != nil {
		return nil, err
	}
	worlds := make([]*World, size)
	for rank := range worlds {
		worlds[rank] = newWorld(ids[rank])
	}
	return worlds, nil
}

// Rank is this rank's number.
func (w *World) Rank() (int, error) {
	rank, err := number(w.owner(), capi.Tessera_world_get_rank)
	return int(rank), err
}

// Size is the number of ranks.
func (w *World) Size() (int, error) {
	size, err := number(w.owner(), capi.Tessera_world_get_size)
	return int(size), err
}

// Leave is the orderly end: it waits for all ranks, then closes the connections. Close alone leaves the others a failed peer.
func (w *World) Leave() error { return w.owner().with(capi.Tessera_world_close) }

// LeaveAsync is Leave without waiting.
func (w *World) LeaveAsync() (*Future[struct{}], error) {
	return startPlain(w.owner(), capi.Tessera_world_close_async)
}

// Abort tells all ranks that this one cannot go on: their collectives end with ErrPeerFailed.
func (w *World) Abort(reason string) error {
	if err := noNUL(reason); err != nil {
		return err
	}
	return w.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_world_abort(id, reason, e) })
}

// PanicError is a panic of a rank's function.
type PanicError struct {
	Value any
	Stack []byte
}

func (p *PanicError) Error() string { return fmt.Sprintf("tessera: a rank panicked: %v", p.Value) }

// errGoexit is of a rank whose function called runtime.Goexit, as FailNow of a test does.
var errGoexit = errors.New("tessera: the goroutine of a rank has ended by runtime.Goexit")

// Run runs work on one goroutine for each of size ranks in this process and ends the job. When a rank fails or panics, the
// others are told; the error that came first is returned, not its echoes on other ranks.
func Run(size int, options WorldOptions, work func(world *World) error) error {
	worlds, err := NewWorldThreads(size, options)
	if err != nil {
		return err
	}
	var first error
	var mutex sync.Mutex
	var group sync.WaitGroup
	for _, world := range worlds {
		group.Add(1)
		go func() {
			defer group.Done()
			defer world.Close()
			err := errGoexit
			defer func() {
				mutex.Lock()
				defer mutex.Unlock()
				if err != nil && (first == nil || errors.Is(first, ErrPeerFailed) && !errors.Is(err, ErrPeerFailed)) {
					first = err
				}
			}()
			err = RunRank(world, work)
		}()
	}
	group.Wait()
	return first
}

// RunRank runs work on one rank, then leaves the job. When work fails or panics, the other ranks are told.
func RunRank(world *World, work func(world *World) error) (err error) {
	err = errGoexit // unless work returns or panics
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{value, debug.Stack()}
		}
		if err != nil {
			reason, _, _ := strings.Cut(err.Error(), "\x00")
			world.Abort(reason)
		}
	}()
	if err := work(world); err != nil {
		return err
	}
	return world.Leave()
}
