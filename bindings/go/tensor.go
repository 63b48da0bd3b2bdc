package tessera

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"tessera/internal/capi"
)

// Element is a Go type with the bits of a DType. F16 and BF16 are uint16.
type Element interface {
	~float32 | ~float64 | ~int64 | ~int32 | ~uint8 | ~uint16
}

// Tensor crosses the interface in row-major order. There are no operators on it.
type Tensor struct {
	*handle
	view *pins // of a view of Go memory
}

func newTensor(id uint64) *Tensor {
	return &Tensor{handle: newHandle("tensor", id, capi.Tessera_tensor_destroy)}
}

func (t *Tensor) owner() *handle {
	if t == nil {
		return nil
	}
	return t.handle
}

// pins holds Go memory in place for C. It belongs to the tensor and to the calls under way that got the tensor, and is known
// to a set of its own, because a Pinner that is forgotten panics.
type pins struct {
	pinner runtime.Pinner
	users  int
}

var (
	pinsMutex sync.Mutex
	allPins   = map[*pins]struct{}{}
)

func (p *pins) use() *pins {
	if p != nil {
		pinsMutex.Lock()
		p.users++
		allPins[p] = struct{}{}
		pinsMutex.Unlock()
	}
	return p
}

func (p *pins) release() {
	if p == nil {
		return
	}
	pinsMutex.Lock()
	defer pinsMutex.Unlock()
	if p.users--; p.users == 0 {
		p.pinner.Unpin()
		delete(allPins, p)
	}
}

// usePins holds the memory of tensors for a call under way.
func usePins(tensors ...*Tensor) []*pins {
	var out []*pins
	for _, t := range tensors {
		if t != nil && t.view != nil {
			out = append(out, t.view.use())
		}
	}
	return out
}

func releasePins(list []*pins) {
	for _, p := range list {
		p.release()
	}
}

func makeTensor[T Element](dtype DType, dims []int64, data []T, f func(dtype int32, dims *int64, n int64, data unsafe.Pointer,
	bytes uint64, out *uint64, e *capi.Error) int32) (uint64, error) {
	id := new(uint64)
	bytes := uint64(len(data)) * uint64(unsafe.Sizeof(*new(T)))
	err := call(func(e *capi.Error) int32 {
		return f(int32(dtype), in(dims), int64(len(dims)), unsafe.Pointer(unsafe.SliceData(data)), bytes, id, e)
	})
	return *id, err
}

// NewTensor is a tensor of zeros.
func NewTensor(dtype DType, dims ...int64) (*Tensor, error) {
	id, err := makeTensor[uint8](dtype, dims, nil, capi.Tessera_tensor_create)
	if err != nil {
		return nil, err
	}
	return newTensor(id), nil
}

// NewTensorOf is a tensor with a copy of data, which is in row-major order.
func NewTensorOf[T Element](dtype DType, dims []int64, data []T) (*Tensor, error) {
	if data == nil {
		data = []T{}
	}
	id, err := makeTensor(dtype, dims, data, capi.Tessera_tensor_create)
	if err != nil {
		return nil, err
	}
	return newTensor(id), nil
}

// NewTensorView is a tensor whose elements are those of data itself: collectives read and write them in place. The memory is
// pinned until the tensor is closed, or found unreachable, and the calls that got it have ended.
func NewTensorView[T Element](dtype DType, dims []int64, data []T) (*Tensor, error) {
	if len(data) == 0 {
		return nil, &Error{Code: ErrArgument, Rank: -1, Message: "a view of no memory"}
	}
	view := new(pins)
	view.pinner.Pin(&data[0])
	view.use()
	id, err := makeTensor(dtype, dims, data, capi.Tessera_tensor_create_view)
	if err != nil {
		view.release()
		return nil, err
	}
	return &Tensor{newHandle("tensor", id, func(id uint64) int32 {
		defer view.release()
		return capi.Tessera_tensor_destroy(id)
	}), view}, nil
}

// NewTensorFromDLPack takes over a DLManagedTensorVersioned. On error the caller keeps it.
func NewTensorFromDLPack(dlpack unsafe.Pointer) (*Tensor, error) {
	id := new(uint64)
	if err := call(func(e *capi.Error) int32 { return capi.Tessera_tensor_create_dlpack(dlpack, id, e) }); err != nil {
		return nil, err
	}
	return newTensor(*id), nil
}

// DLPack is the memory as a DLManagedTensorVersioned, without a copy; the caller releases it by its deleter.
func (t *Tensor) DLPack() (unsafe.Pointer, error) {
	return number(t.owner(), capi.Tessera_tensor_get_dlpack)
}

// DType is the element type.
func (t *Tensor) DType() (DType, error) {
	dtype, err := number(t.owner(), capi.Tessera_tensor_get_dtype)
	return DType(dtype), err
}

// Dims are the sizes, outermost first.
func (t *Tensor) Dims() ([]int64, error) {
	return arrayOf(t.owner(), 256, 0, capi.Tessera_tensor_get_dims)
}

// Data copies the elements out in row-major order; T has the size of the dtype.
func Data[T Element](t *Tensor) ([]T, error) {
	n := new(uint64)
	err := t.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_tensor_get_data(id, nil, 0, n, e) })
	if err != nil && *n == 0 {
		return nil, err
	}
	size := uint64(unsafe.Sizeof(*new(T)))
	dtype, err := t.DType()
	if err != nil {
		return nil, err
	}
	if want := sizeOf(dtype); want != size {
		return nil, &Error{Code: ErrArgument, Rank: -1, Message: fmt.Sprintf("elements of %d bytes for a tensor whose have %d", size, want)}
	}
	out := make([]T, *n/size)
	err = t.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_tensor_get_data(id, unsafe.Pointer(unsafe.SliceData(out)), *n, n, e)
	})
	return out, err
}

// SetData overwrites the elements; data has exactly the tensor's size in bytes.
func SetData[T Element](t *Tensor, data []T) error {
	bytes := uint64(len(data)) * uint64(unsafe.Sizeof(*new(T)))
	if data == nil {
		data = []T{}
	}
	return t.owner().with(func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_tensor_set_data(id, unsafe.Pointer(unsafe.SliceData(data)), bytes, e)
	})
}

func sizeOf(dtype DType) uint64 {
	switch dtype {
	case DTypeF64, DTypeI64:
		return 8
	case DTypeF32, DTypeI32:
		return 4
	case DTypeF16, DTypeBF16:
		return 2
	}
	return 1
}
