# Errors, owners of native objects, and how functions of the library are called.

"A failed call of the library."
struct TesseraException <: Exception
    code::Int32         # a CAPI.TESSERA_E_*
    domain::Int32       # where native_code comes from
    native_code::Int32  # errno, cudaError_t or ncclResult_t
    rank::Int32         # the rank that failed first; -1: this one, or unknown
    message::String     # one line that names the argument and its value
end

"The name of a status, such as \"E_ARGUMENT\"."
status_name(status) = unsafe_string(CAPI.tessera_status_name(status))
"A status in plain words."
status_string(status) = unsafe_string(CAPI.tessera_status_string(status))
Base.showerror(io::IO, e::TesseraException) = print(io, "TesseraException: ", status_name(e.code), ": ", e.message)

text(bytes::NTuple{N,UInt8}) where {N} = String(collect(Iterators.takewhile(!iszero, bytes)))

exception(status, e::CAPI.TesseraError) =
    TesseraException(status, e.domain, e.native_code, e.rank, text(e.message))
bad_argument(message) = TesseraException(CAPI.TESSERA_E_ARGUMENT, 0, 0, -1, message)

"Something that owns a native object in its field `handle`."
abstract type Owner end

"""
    close(owner)

Gives the native object up at once. It never blocks and may be called again; the garbage collector does the same.
"""
Base.close(owner::Owner) = release(owner)
# What the garbage collector calls: it takes no lock.
function release(owner::Owner)
    handle = owner.handle
    owner.handle = typeof(handle)(0)
    handle.id == 0 || destroy(handle)
    return nothing
end
Base.isopen(owner::Owner) = owner.handle.id != 0

function raw(owner::Owner)
    isopen(owner) || throw(InvalidStateException("$(nameof(typeof(owner))) is closed", :closed))
    return owner.handle
end
raw(value) = value

# Each kind of owner: a mutable struct whose finalizer closes it.
for name in (:Config, :World, :Mesh, :Model, :Batch, :Dataset, :Events, :Tokenizer)
    handle = Symbol(:Tessera, name)
    @eval begin
        mutable struct $name <: Owner
            handle::CAPI.$handle
            $name(handle::CAPI.$handle) = finalizer(release, new(handle))
        end
    end
end
for name in (:Config, :World, :Mesh, :Model, :Batch, :Dataset, :Trainer, :Events, :Tokenizer, :Tensor, :Future)
    handle = Symbol(:Tessera, name)
    destroy_name = Symbol(:tessera_, lowercase(string(name)), :_destroy)
    @eval destroy(handle::CAPI.$handle) = CAPI.$destroy_name(handle)
end

# Calls `f(arguments..., err)` and returns whether it succeeded; `accepted` is a status that is no failure.
function call_or(accepted, f, arguments...)
    err = Ref(CAPI.TesseraError())
    # Owners stay alive until the call returns.
    status = GC.@preserve arguments f(map(raw, arguments)..., err)
    status == CAPI.TESSERA_OK && return true
    status == accepted && return false
    throw(exception(status, err[]))
end
call(f, arguments...) = (call_or(CAPI.TESSERA_OK, f, arguments...); nothing)

# The handle of an owner, or the null handle for nothing.
or_null(::Type{H}, ::Nothing) where {H} = H(0)
or_null(::Type{H}, owner::Owner) where {H} = raw(owner)

# One value that `f` writes.
function value(::Type{T}, f, arguments...) where {T}
    out = Ref{T}()
    call(f, arguments..., out)
    return out[]
end
handle(::Type{H}, f, arguments...) where {H} = (out = Ref(H(0)); call(f, arguments..., out); out[])

# An array whose length is not known before; it may change between two calls. `extra` is 1 for text, whose NUL needs room.
function array(::Type{T}, f, arguments...; extra = 0, guess = 256) where {T}
    out = Vector{T}(undef, guess)
    while true
        len = Ref{Csize_t}(0)
        done = call_or(CAPI.TESSERA_E_BUFFER, f, arguments..., out, length(out), len)
        resize!(out, done ? len[] : len[] + extra)
        done && return out
    end
end
text(f, arguments...) = String(array(UInt8, f, arguments...; extra = 1))

# A struct of the C interface with its defaults.
function initialised(::Type{S}, init) where {S}
    made = Ref(S())
    init(made, sizeof(S)) == CAPI.TESSERA_OK || error("a struct cannot be initialised")
    return made
end

"The version of the library."
version() = VersionNumber(unsafe_string(CAPI.tessera_version_string()))
"What the library was built with and runs on, one \"name: value\" a line."
build_info() = text(CAPI.tessera_build_info)
"The number of live native objects of a kind, to find leaks."
handle_count(kind = CAPI.TESSERA_KIND_ANY) = value(Int64, CAPI.tessera_handle_count, kind)
"Lines below the level are not written. It holds for the whole process."
set_log_level(level) = call(CAPI.tessera_log_set_level, level)
"The present level."
log_level() = value(Int32, CAPI.tessera_log_get_level)
"Log lines go to a queue; nothing: to stderr again."
set_log_events(events) = call(CAPI.tessera_log_set_events, or_null(CAPI.TesseraEvents, events))
