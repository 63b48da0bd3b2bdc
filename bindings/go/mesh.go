package tessera

import (
	"unsafe"

	"tessera/internal/capi"
)

// MeshOptions are degrees; 0 means 1, but for DPShard -1. One axis may be -1: inferred from the size of the world.
type MeshOptions struct {
	PP, DPReplicate, DPShard, CP, TP, EP int64
}

func rawMeshOptions() *capi.MeshOptions {
	raw := new(capi.MeshOptions)
	capi.Tessera_mesh_options_init(raw, uint64(unsafe.Sizeof(*raw)))
	return raw
}

// MeshOptionsFrom takes the keys parallel.* of a configuration.
func MeshOptionsFrom(config *Config) (MeshOptions, error) {
	raw := rawMeshOptions()
	err := config.owner().with(func(id uint64, e *capi.Error) int32 { return capi.Tessera_mesh_options_load(raw, id, e) })
	return MeshOptions{raw.Pp, raw.DpReplicate, raw.DpShard, raw.Cp, raw.Tp, raw.Ep}, err
}

func (o MeshOptions) raw() *capi.MeshOptions {
	raw := rawMeshOptions()
	raw.Pp, raw.DpReplicate, raw.DpShard, raw.Cp, raw.Tp, raw.Ep = o.PP, o.DPReplicate, o.DPShard, o.CP, o.TP, o.EP
	return raw
}

// Mesh is the ranks of a world laid out on axes. Collectives take the name of an axis or sub-mesh.
type Mesh struct{ *handle }

func newMesh(id uint64) *Mesh { return &Mesh{newHandle("mesh", id, capi.Tessera_mesh_destroy)} }

func (m *Mesh) owner() *handle {
	if m == nil {
		return nil
	}
	return m.handle
}

// NewMesh lays the ranks out; every rank of the world calls it.
func NewMesh(world *World, options MeshOptions) (*Mesh, error) {
	id := new(uint64)
	err := world.owner().with(func(w uint64, e *capi.Error) int32 { return capi.Tessera_mesh_create(w, options.raw(), id, e) })
	if err != nil {
		return nil, err
	}
	return newMesh(*id), nil
}

// NewMeshAsync is NewMesh without waiting.
func NewMeshAsync(world *World, options MeshOptions) (*Future[*Mesh], error) {
	return start(world.owner(), nil, takeObject(capi.Tessera_future_get_mesh, newMesh),
		func(w uint64, future *uint64, e *capi.Error) int32 {
			return capi.Tessera_mesh_create_async(w, options.raw(), future, e)
		})
}

// Size is the number of ranks along an axis.
func (m *Mesh) Size(axis string) (int64, error) {
	if err := noNUL(axis); err != nil {
		return 0, err
	}
	return number(m.owner(), func(id uint64, out *int64, e *capi.Error) int32 {
		return capi.Tessera_mesh_get_size(id, axis, out, e)
	})
}

// Index is this rank's position along an axis.
func (m *Mesh) Index(axis string) (int64, error) {
	if err := noNUL(axis); err != nil {
		return 0, err
	}
	return number(m.owner(), func(id uint64, out *int64, e *capi.Error) int32 {
		return capi.Tessera_mesh_get_index(id, axis, out, e)
	})
}

// Ranks are the world ranks along an axis through this rank, in order.
func (m *Mesh) Ranks(axis string) ([]int32, error) {
	if err := noNUL(axis); err != nil {
		return nil, err
	}
	return arrayOf(m.owner(), 256, 0, func(id uint64, buf *int32, size uint64, n *uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_get_ranks(id, axis, buf, size, n, e)
	})
}

// Text is the mesh in words.
func (m *Mesh) Text() (string, error) { return textOf(m.owner(), capi.Tessera_mesh_get_text) }

// along runs a blocking collective; the memory of views stays in place meanwhile.
func (m *Mesh) along(axis string, f func(id uint64, e *capi.Error) int32, tensors ...*Tensor) error {
	if err := noNUL(axis); err != nil {
		return err
	}
	held := usePins(tensors...)
	defer releasePins(held)
	return m.owner().with(f, tensors)
}

// alongAsync begins a collective; the future holds the memory of views.
func (m *Mesh) alongAsync(axis string, f func(id uint64, future *uint64, e *capi.Error) int32, tensors ...*Tensor) (*Future[struct{}], error) {
	if err := noNUL(axis); err != nil {
		return nil, err
	}
	held := usePins(tensors...)
	future, err := start(m.owner(), held, takeNothing, f)
	if err != nil {
		releasePins(held)
	}
	return future, err
}

// Barrier returns when every rank of the axis has called.
func (m *Mesh) Barrier(axis string) error {
	return m.along(axis, func(id uint64, e *capi.Error) int32 { return capi.Tessera_mesh_barrier(id, axis, e) })
}

// AllReduce reduces the tensor over the axis, in place.
func (m *Mesh) AllReduce(axis string, t *Tensor, reduce Reduce) error {
	return m.along(axis, func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_all_reduce(id, axis, t.owner().raw(), int32(reduce), e)
	}, t)
}

// AllGather joins the inputs of all ranks along the axis.
func (m *Mesh) AllGather(axis string, input, output *Tensor) error {
	return m.along(axis, func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_all_gather(id, axis, input.owner().raw(), output.owner().raw(), e)
	}, input, output)
}

// ReduceScatter reduces the inputs and leaves each rank its part.
func (m *Mesh) ReduceScatter(axis string, input, output *Tensor, reduce Reduce) error {
	return m.along(axis, func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_reduce_scatter(id, axis, input.owner().raw(), output.owner().raw(), int32(reduce), e)
	}, input, output)
}

// AllToAll sends part i of the input to position i of the axis.
func (m *Mesh) AllToAll(axis string, input, output *Tensor) error {
	return m.along(axis, func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_all_to_all(id, axis, input.owner().raw(), output.owner().raw(), e)
	}, input, output)
}

// Broadcast copies the tensor of position root to all others, in place.
func (m *Mesh) Broadcast(axis string, t *Tensor, root int64) error {
	return m.along(axis, func(id uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_broadcast(id, axis, t.owner().raw(), root, e)
	}, t)
}

// BarrierAsync is Barrier without waiting.
func (m *Mesh) BarrierAsync(axis string) (*Future[struct{}], error) {
	return m.alongAsync(axis, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_barrier_async(id, axis, future, e)
	})
}

// AllReduceAsync is AllReduce without waiting.
func (m *Mesh) AllReduceAsync(axis string, t *Tensor, reduce Reduce) (*Future[struct{}], error) {
	return m.alongAsync(axis, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_all_reduce_async(id, axis, t.owner().raw(), int32(reduce), future, e)
	}, t)
}

// AllGatherAsync is AllGather without waiting.
func (m *Mesh) AllGatherAsync(axis string, input, output *Tensor) (*Future[struct{}], error) {
	return m.alongAsync(axis, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_all_gather_async(id, axis, input.owner().raw(), output.owner().raw(), future, e)
	}, input, output)
}

// ReduceScatterAsync is ReduceScatter without waiting.
func (m *Mesh) ReduceScatterAsync(axis string, input, output *Tensor, reduce Reduce) (*Future[struct{}], error) {
	return m.alongAsync(axis, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_reduce_scatter_async(id, axis, input.owner().raw(), output.owner().raw(), int32(reduce), future, e)
	}, input, output)
}

// AllToAllAsync is AllToAll without waiting.
func (m *Mesh) AllToAllAsync(axis string, input, output *Tensor) (*Future[struct{}], error) {
	return m.alongAsync(axis, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_all_to_all_async(id, axis, input.owner().raw(), output.owner().raw(), future, e)
	}, input, output)
}

// BroadcastAsync is Broadcast without waiting.
func (m *Mesh) BroadcastAsync(axis string, t *Tensor, root int64) (*Future[struct{}], error) {
	return m.alongAsync(axis, func(id uint64, future *uint64, e *capi.Error) int32 {
		return capi.Tessera_mesh_broadcast_async(id, axis, t.owner().raw(), root, future, e)
	}, t)
}
