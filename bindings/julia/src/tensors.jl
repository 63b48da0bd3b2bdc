# Tensors that cross the interface, and collectives on them.

const DTYPES = Dict{DataType,Int32}(Float32 => CAPI.TESSERA_DTYPE_F32, Float64 => CAPI.TESSERA_DTYPE_F64,
                                    Float16 => CAPI.TESSERA_DTYPE_F16, Int64 => CAPI.TESSERA_DTYPE_I64,
                                    Int32 => CAPI.TESSERA_DTYPE_I32, UInt8 => CAPI.TESSERA_DTYPE_U8)
const TYPES = Dict(dtype => type for (type, dtype) in DTYPES)

function dtype_of(::Type{T}) where {T}
    haskey(DTYPES, T) || throw(bad_argument("arrays of $T cannot be tensors"))
    return DTYPES[T]
end

"""
    Tensor(array)

A tensor with the elements of `array`, of the same shape: tensor[i, j] of the library is array[i, j]. The library stores rows one
after the other and Julia columns, so the elements are reordered on the way; `Array(tensor)` does the reverse.
"""
mutable struct Tensor <: Owner
    handle::CAPI.TesseraTensor
    memory::Any  # of a view
    Tensor(handle::CAPI.TesseraTensor, memory = nothing) = finalizer(release, new(handle, memory))
end
function Tensor(values::AbstractArray{T,N}) where {T,N}
    kind = dtype_of(T)
    dims = collect(Int64, size(values))
    bytes = length(values) * sizeof(T)
    return Tensor(handle(CAPI.TesseraTensor, CAPI.tessera_tensor_create, kind, dims, N, reversed(values), bytes))
end
"Zeros."
zeros_tensor(::Type{T}, dims...) where {T} =
    Tensor(handle(CAPI.TesseraTensor, CAPI.tessera_tensor_create, dtype_of(T), collect(Int64, dims), length(dims), C_NULL, 0))
"""
    tensor_view(array)

A tensor on the memory of `array` itself, which collectives read and write in place. Nothing is reordered, so the library sees the
dimensions reversed: a Julia array of size (2, 3) is a tensor of 3 rows of 2.
"""
function tensor_view(memory::Array{T,N}) where {T,N}
    dims = collect(Int64, reverse(size(memory)))
    return Tensor(handle(CAPI.TesseraTensor, CAPI.tessera_tensor_create_view, dtype_of(T), dims, N, memory, sizeof(memory)), memory)
end
"Takes over a DLManagedTensorVersioned; on error the caller keeps it."
tensor_from_dlpack(dlpack::Ptr) = Tensor(handle(CAPI.TesseraTensor, CAPI.tessera_tensor_create_dlpack, dlpack))
"The memory as a DLManagedTensorVersioned, without a copy; the caller releases it by its deleter."
dlpack(tensor::Tensor) = value(Ptr{Cvoid}, CAPI.tessera_tensor_get_dlpack, tensor)

# A dense array whose dimensions run the other way round.
reversed(values::AbstractArray{T,N}) where {T,N} = N < 2 ? Array(values) : permutedims(values, N:-1:1)

"The element type, a CAPI.TESSERA_DTYPE_*."
dtype(tensor::Tensor) = value(Int32, CAPI.tessera_tensor_get_dtype, tensor)
Base.size(tensor::Tensor) = Tuple(array(Int64, CAPI.tessera_tensor_get_dims, tensor))
"The elements, in the tensor's shape. Those of bf16, which Julia does not have, become Float32."
function Base.Array(tensor::Tensor)
    kind = dtype(tensor)
    T = kind == CAPI.TESSERA_DTYPE_BF16 ? UInt16 : TYPES[kind]
    dims = size(tensor)
    values = Array{T}(undef, reverse(dims))
    len = Ref{Csize_t}(0)
    call(CAPI.tessera_tensor_get_data, tensor, values, sizeof(values), len)
    kind == CAPI.TESSERA_DTYPE_BF16 && return map(bits -> reinterpret(Float32, UInt32(bits) << 16), reversed(values))
    return reversed(values)
end
"Overwrites the elements with those of an array of the same shape."
function Base.copyto!(tensor::Tensor, values::AbstractArray{T}) where {T}
    dims = size(tensor)
    size(values) == dims || throw(DimensionMismatch("size $(size(values)) for a tensor of size $dims"))
    dtype_of(T) == dtype(tensor) || throw(bad_argument("elements of $T for a tensor of another dtype"))
    call(CAPI.tessera_tensor_set_data, tensor, reversed(values), length(values) * sizeof(T))
    return tensor
end

# ---- Collectives: each with a form that waits and one that returns a Future ------------------------------------------

along(f, mesh, axis, arguments...) = start(take_nothing, f, mesh, axis, arguments...; keep = (mesh, arguments))

barrier_async(mesh::Mesh, axis) = along(CAPI.tessera_mesh_barrier_async, mesh, axis)
all_reduce_async!(mesh::Mesh, axis, tensor::Tensor; reduce = CAPI.TESSERA_REDUCE_SUM) =
    along(CAPI.tessera_mesh_all_reduce_async, mesh, axis, tensor, reduce)
all_gather_async!(mesh::Mesh, axis, input::Tensor, output::Tensor) =
    along(CAPI.tessera_mesh_all_gather_async, mesh, axis, input, output)
reduce_scatter_async!(mesh::Mesh, axis, input::Tensor, output::Tensor; reduce = CAPI.TESSERA_REDUCE_SUM) =
    along(CAPI.tessera_mesh_reduce_scatter_async, mesh, axis, input, output, reduce)
all_to_all_async!(mesh::Mesh, axis, input::Tensor, output::Tensor) =
    along(CAPI.tessera_mesh_all_to_all_async, mesh, axis, input, output)
broadcast_async!(mesh::Mesh, axis, tensor::Tensor, root) =
    along(CAPI.tessera_mesh_broadcast_async, mesh, axis, tensor, root)

"Returns when every rank of the axis has called."
barrier(mesh::Mesh, axis) = finish(barrier_async(mesh, axis))
"Reduces the tensor over the axis, in place."
all_reduce!(mesh::Mesh, axis, tensor::Tensor; options...) = finish(all_reduce_async!(mesh, axis, tensor; options...))
"Joins the inputs of all ranks along the axis."
all_gather!(mesh::Mesh, axis, input::Tensor, output::Tensor) = finish(all_gather_async!(mesh, axis, input, output))
"Reduces the inputs and leaves each rank its part."
reduce_scatter!(mesh::Mesh, axis, input::Tensor, output::Tensor; options...) =
    finish(reduce_scatter_async!(mesh, axis, input, output; options...))
"Sends part i of the input to position i of the axis."
all_to_all!(mesh::Mesh, axis, input::Tensor, output::Tensor) = finish(all_to_all_async!(mesh, axis, input, output))
"Copies the tensor of position `root` (from 0) to all others, in place."
broadcast!(mesh::Mesh, axis, tensor::Tensor, root) = finish(broadcast_async!(mesh, axis, tensor, root))
