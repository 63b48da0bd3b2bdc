"""Tensors, and the ranks of a world on axes with collectives over them."""
import ctypes
from ctypes import byref, c_char, c_int32, c_int64, c_size_t

from . import capi
from ._config import options_of
from ._future import Future, take_nothing
from ._library import Owner, array, call, call_or, handle, i64, library, number, text, utf8

_ELEMENTS = {capi.DTYPE_F32: "f", capi.DTYPE_F64: "d", capi.DTYPE_F16: "e", capi.DTYPE_BF16: "H", capi.DTYPE_I64: "q",
             capi.DTYPE_I32: "i", capi.DTYPE_U8: "B"}


class Tensor(Owner):
    """A tensor in row-major order; its elements come and go as objects with the buffer protocol (bytes, array, numpy)."""

    _type = capi.Tensor

    @staticmethod
    def _make(function, dtype, dims, data, size):
        return Tensor(handle(capi.Tensor, function, dtype, i64(dims), len(dims), data, size))

    @classmethod
    def zeros(cls, dtype, dims):
        return cls._make(library.tessera_tensor_create, dtype, dims, None, 0)

    @classmethod
    def of(cls, dtype, dims, data):
        """A copy of `data`."""
        content = memoryview(data).tobytes()
        return cls._make(library.tessera_tensor_create, dtype, dims, content, len(content))

    @classmethod
    def view(cls, dtype, dims, data):
        """A tensor on the memory of a writable buffer, which collectives read and write in place."""
        memory = (c_char * memoryview(data).nbytes).from_buffer(data)
        tensor = cls._make(library.tessera_tensor_create_view, dtype, dims, memory, len(memory))
        tensor._memory = memory
        return tensor

    @classmethod
    def from_dlpack(cls, pointer):
        """Takes over a DLManagedTensorVersioned; on an exception the caller keeps it."""
        return cls(handle(capi.Tensor, library.tessera_tensor_create_dlpack, pointer))

    def dlpack(self):
        """The address of a DLManagedTensorVersioned without a copy; the caller releases it by its deleter."""
        return number(ctypes.c_void_p, library.tessera_tensor_get_dlpack, self)

    @property
    def dtype(self):
        """The element type, a capi.DTYPE_*."""
        return number(c_int32, library.tessera_tensor_get_dtype, self)

    @property
    def dims(self):
        """The sizes, outermost first."""
        return array(c_int64, library.tessera_tensor_get_dims, self)

    def data(self):
        """A copy of the elements as a memoryview of the tensor's shape; those of bf16 as their 16 bits."""
        length = c_size_t()
        call_or(capi.E_BUFFER, library.tessera_tensor_get_data, self, None, 0, byref(length))
        content = bytearray(length.value)
        memory = (c_char * len(content)).from_buffer(content)
        call(library.tessera_tensor_get_data, self, memory, len(content), byref(length))
        dims = self.dims
        return memoryview(content).cast(_ELEMENTS[self.dtype], dims) if dims else memoryview(content).cast(_ELEMENTS[self.dtype])

    def set_data(self, data):
        """Overwrites all elements from an object with the buffer protocol, in row-major order."""
        content = memoryview(data).tobytes()
        call(library.tessera_tensor_set_data, self, content, len(content))


def take_tensor(future):
    return Tensor(handle(capi.Tensor, library.tessera_future_get_tensor, future))


class Mesh(Owner):
    """The ranks of a world laid out on axes. Degrees are keywords: dp_shard=4, tp=2."""

    _type = capi.Mesh

    @staticmethod
    def _options(config, degrees):
        return options_of(capi.MeshOptions, library.tessera_mesh_options_init, degrees,
                          library.tessera_mesh_options_load, config)

    def __init__(self, world, config=None, **degrees):
        super().__init__(handle(capi.Mesh, library.tessera_mesh_create, world, byref(self._options(config, degrees))))

    @classmethod
    def create_async(cls, world, config=None, **degrees):
        """`create` without waiting: a Future."""
        return Future(_take_mesh, library.tessera_mesh_create_async, world, byref(cls._options(config, degrees)))

    def size(self, axis):
        """The number of ranks along an axis."""
        return number(c_int64, library.tessera_mesh_get_size, self, utf8(axis))

    def index(self, axis):
        """This rank's position along an axis."""
        return number(c_int64, library.tessera_mesh_get_index, self, utf8(axis))

    def ranks(self, axis):
        """The world ranks along an axis through this one."""
        return array(c_int32, library.tessera_mesh_get_ranks, self, utf8(axis))

    def __str__(self):
        return text(library.tessera_mesh_get_text, self)

    def barrier(self, axis):
        """Returns when every rank of the axis has called."""
        call(library.tessera_mesh_barrier, self, utf8(axis))

    def all_reduce(self, axis, tensor, reduce=capi.REDUCE_SUM):
        """Reduces the tensor over the axis, in place; `reduce` is a capi.REDUCE_*."""
        call(library.tessera_mesh_all_reduce, self, utf8(axis), tensor, reduce)

    def all_gather(self, axis, input, output):
        """Joins the inputs of all ranks along the axis in the output of each."""
        call(library.tessera_mesh_all_gather, self, utf8(axis), input, output)

    def reduce_scatter(self, axis, input, output, reduce=capi.REDUCE_SUM):
        """Reduces the inputs and leaves each rank its part."""
        call(library.tessera_mesh_reduce_scatter, self, utf8(axis), input, output, reduce)

    def all_to_all(self, axis, input, output):
        """Sends part i of the input to position i of the axis."""
        call(library.tessera_mesh_all_to_all, self, utf8(axis), input, output)

    def broadcast(self, axis, tensor, root):
        """Copies the tensor of position `root` to all others, in place."""
        call(library.tessera_mesh_broadcast, self, utf8(axis), tensor, root)

    def barrier_async(self, axis):
        """`barrier` without waiting: a Future."""
        return Future(take_nothing, library.tessera_mesh_barrier_async, self, utf8(axis))

    def all_reduce_async(self, axis, tensor, reduce=capi.REDUCE_SUM):
        """`all_reduce` without waiting: a Future."""
        return Future(take_nothing, library.tessera_mesh_all_reduce_async, self, utf8(axis), tensor, reduce)

    def all_gather_async(self, axis, input, output):
        """`all_gather` without waiting: a Future."""
        return Future(take_nothing, library.tessera_mesh_all_gather_async, self, utf8(axis), input, output)

    def reduce_scatter_async(self, axis, input, output, reduce=capi.REDUCE_SUM):
        """`reduce_scatter` without waiting: a Future."""
        return Future(take_nothing, library.tessera_mesh_reduce_scatter_async, self, utf8(axis), input, output, reduce)

    def all_to_all_async(self, axis, input, output):
        """`all_to_all` without waiting: a Future."""
        return Future(take_nothing, library.tessera_mesh_all_to_all_async, self, utf8(axis), input, output)

    def broadcast_async(self, axis, tensor, root):
        """`broadcast` without waiting: a Future."""
        return Future(take_nothing, library.tessera_mesh_broadcast_async, self, utf8(axis), tensor, root)


def _take_mesh(future):
    return Mesh._of(handle(capi.Mesh, library.tessera_future_get_mesh, future))
