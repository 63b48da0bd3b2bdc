// Package tessera trains transformer language models over many devices, in this process, through the C library libtessera.
//
// Every owner has Close, which gives its native object up at once and never blocks; the garbage collector does the same
// later for owners that are forgotten. Methods of a closed owner return an error for which errors.Is(err, ErrClosed) holds.
// Other failures are *Error: errors.As gives code, rank and message, errors.Is(err, ErrPeerFailed) asks for a code.
//
// Goroutines may call from any OS thread: work on tensors runs on a thread that each World owns, so runtime.LockOSThread is
// never needed. A blocking call occupies one OS thread; the Async twins return a Future that can be waited for with a
// context. The library installs no signal handlers.
package tessera

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"tessera/internal/capi"
)

// ErrClosed is what methods of a closed owner return, wrapped.
var ErrClosed = errors.New("closed")

// Error is a failed call.
type Error struct {
	Code       Code
	Domain     Domain // where NativeCode comes from
	NativeCode int    // errno, cudaError_t or ncclResult_t, as Domain says
	Rank       int    // the rank that failed first; -1: this one, or unknown
	Message    string // one line that names the argument and its value
}

func (e *Error) Error() string { return "tessera: " + e.Message }

// Is makes errors.Is(err, tessera.ErrTimeout) and errors.Is(err, tessera.ErrClosed) work.
func (e *Error) Is(target error) bool {
	if target == ErrClosed {
		return e.Code == ErrHandleNull || e.Code == ErrHandleStale
	}
	code, ok := target.(Code)
	return ok && code == e.Code
}

// Error is the code in plain words; a Code is an error to be the target of errors.Is.
func (c Code) Error() string { return capi.Tessera_status_string(int32(c)) }

// String is the code's name, such as "E_ARGUMENT".
func (c Code) String() string { return capi.Tessera_status_name(int32(c)) }

func newError(status int32, e *capi.Error) error {
	return &Error{Code(status), Domain(e.Domain), int(e.NativeCode), int(e.Rank), text(e.Message[:])}
}

// text is a NUL-terminated text of the library.
func text(bytes []byte) string {
	s, _, _ := strings.Cut(string(bytes), "\x00")
	return s
}

// call runs one function of the library. The error of the call is filled in the same call, so that it does not matter on which
// thread the goroutine goes on.
func call(f func(e *capi.Error) int32) error {
	// Nothing is made by a library of another interface: what makes the first objects comes through here.
	if err := checkedABI(); err != nil {
		return err
	}
	var e capi.Error
	if status := f(&e); status != 0 {
		return newError(status, &e)
	}
	return nil
}

// noNUL refuses texts that would be cut at a NUL on their way to C.
func noNUL(texts ...string) error {
	for _, s := range texts {
		if strings.IndexByte(s, 0) >= 0 {
			return &Error{Code: ErrArgument, Rank: -1, Message: fmt.Sprintf("text %.40q contains a NUL", s)}
		}
	}
	return nil
}

// in is memory of its own for an array that goes to C; nil stays nil.
func in[T any](values []T) *T {
	if values == nil {
		return nil
	}
	copied := make([]T, len(values)+1) // never without memory
	copy(copied, values)
	return &copied[0]
}

// read gets an array whose length is not known before; it may change between two calls. guess is where it begins, extra is 1
// for text, whose NUL needs room.
func read[T any](guess, extra uint64, f func(buf *T, size uint64, n *uint64, e *capi.Error) int32) ([]T, error) {
	for size := guess; ; {
		var n uint64
		var e capi.Error
		buf := make([]T, size)
		switch status := f(&buf[0], size, &n, &e); Code(status) {
		case OK:
			return buf[:n], nil
		case ErrBuffer:
			size = n + extra
		default:
			return nil, newError(status, &e)
		}
	}
}

func readText(f func(buf *byte, size uint64, n *uint64, e *capi.Error) int32) (string, error) {
	bytes, err := read(256, 1, f)
	return string(bytes), err
}

// handle owns a native object. It is allocated on its own, so that the collector's cleanup is attached to it alone.
type handle struct {
	id      atomic.Uint64
	kind    string
	release func(id uint64) int32
	cleanup runtime.Cleanup
}

func newHandle(kind string, id uint64, release func(id uint64) int32) *handle {
	h := &handle{kind: kind, release: release}
	h.id.Store(id)
	h.cleanup = runtime.AddCleanup(h, func(id uint64) { release(id) }, id)
	return h
}

// Close gives the native object up. It never blocks and may be called again.
func (h *handle) Close() error {
	if h == nil {
		return nil
	}
	id := h.id.Swap(0)
	if id == 0 {
		return nil
	}
	h.cleanup.Stop()
	if status := h.release(id); status != 0 {
		return &Error{Code: Code(status), Rank: -1, Message: h.kind + ": " + Code(status).Error()}
	}
	return nil
}

// raw is the number of the native object; 0 when it is closed or h is nil.
func (h *handle) raw() uint64 {
	if h == nil {
		return 0
	}
	return h.id.Load()
}

// with runs one function of the library on the object. Owners in keep are used by f and stay alive until it returns.
func (h *handle) with(f func(id uint64, e *capi.Error) int32, keep ...any) error {
	id := h.raw()
	if id == 0 {
		if h == nil {
			return fmt.Errorf("tessera: nil owner: %w", ErrClosed)
		}
		return fmt.Errorf("tessera: %s is %w", h.kind, ErrClosed)
	}
	var e capi.Error
	status := f(id, &e)
	runtime.KeepAlive(h)
	runtime.KeepAlive(keep)
	if status != 0 {
		return newError(status, &e)
	}
	return nil
}

// number gets one value of the object.
func number[T any](h *handle, f func(id uint64, out *T, e *capi.Error) int32) (T, error) {
	out := new(T)
	err := h.with(func(id uint64, e *capi.Error) int32 { return f(id, out, e) })
	return *out, err
}

// textOf gets a text of the object.
func textOf(h *handle, f func(id uint64, buf *byte, size uint64, n *uint64, e *capi.Error) int32) (string, error) {
	bytes, err := arrayOf(h, 256, 1, f)
	return string(bytes), err
}

// arrayOf gets an array of the object.
func arrayOf[T any](h *handle, guess, extra uint64, f func(id uint64, buf *T, size uint64, n *uint64, e *capi.Error) int32) ([]T, error) {
	var out []T
	err := h.with(func(id uint64, _ *capi.Error) int32 { return 0 })
	if err != nil {
		return nil, err
	}
	out, err = read(guess, extra, func(buf *T, size uint64, n *uint64, e *capi.Error) int32 { return f(h.raw(), buf, size, n, e) })
	runtime.KeepAlive(h)
	return out, err
}

// Version is that of the library, such as "0.1.0".
func Version() string { return capi.Tessera_version_string() }

// BuildInfo is what the library was built with and runs on, one "name: value" a line.
func BuildInfo() (string, error) { return readText(capi.Tessera_build_info) }

// CheckABI fails when the library that runs does not speak the interface that this package was made for. The first object that a
// program makes asks it too.
func CheckABI() error { return checkABI(capi.Tessera_abi_version()) }

func checkABI(library int32) error {
	if library != ABIVersion {
		return &Error{Code: ErrUnsupported, Rank: -1, Message: fmt.Sprintf("the library's abi=%d is not %d", library, ABIVersion)}
	}
	return nil
}

var checkedABI = sync.OnceValue(CheckABI)

// HandleCount is the number of live native objects of a kind, to find leaks.
func HandleCount(kind Kind) (int64, error) {
	out := new(int64)
	err := call(func(e *capi.Error) int32 { return capi.Tessera_handle_count(int32(kind), out, e) })
	return *out, err
}

// SetLogLevel says below which level lines are not written. It holds for the whole process.
func SetLogLevel(level LogLevel) error {
	return call(func(e *capi.Error) int32 { return capi.Tessera_log_set_level(int32(level), e) })
}

// GetLogLevel is the present level.
func GetLogLevel() (LogLevel, error) {
	out := new(int32)
	err := call(func(e *capi.Error) int32 { return capi.Tessera_log_get_level(out, e) })
	return LogLevel(*out), err
}
