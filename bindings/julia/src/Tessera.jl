"""
Tessera trains transformer language models over many devices, in this process, through the C library libtessera.

Owners are closed with `close`, which never blocks; forgotten ones are closed by the garbage collector. Use of a closed owner
throws `InvalidStateException`; every other failure a `TesseraException` with code, rank and message.

A foreign call that waits would keep the garbage collector, and all tasks of its thread, waiting too. So everything that may wait
for other ranks starts the work and polls it, letting other tasks run: ranks can be tasks of one Julia thread.
"""
module Tessera

import Libdl

module CAPI
include("capi.jl")
end

include("handles.jl")
include("config.jl")
include("futures.jl")
include("world.jl")
include("tensors.jl")
include("data.jl")
include("trainer.jl")

# What starts work and returns a Future has a twin that waits, which says what it does.
for name in names(@__MODULE__; all = true)
    occursin("_async", string(name)) && !startswith(string(name), "#") || continue
    twin = replace(string(name), "_async" => "")
    @eval @doc $("Starts what `$twin` does and returns a [`Future`](@ref).") $name
end

export Config, World, Mesh, Model, Batch, Dataset, Tokenizer, Tensor, Trainer, Events, Future, TesseraException, WorldOptions,
    Metrics, load!, leave, abort, run_ranks, rank, step!, steps!, forward_backward!, optimizer_step!, zero_grad!, evaluate, generate,
    logits, parameter, parameter_names, gradient, set_parameter!, save, export_model, encode, encode_batch, decode, chat_text,
    encode_chat, plan, set_tp_plan!, timeline, pack, pack_pieces, push_form!, padded_rows, all_reduce!, all_gather!,
    reduce_scatter!, all_to_all!, barrier, push_arrow!, push_end!, count_steps, report, lengths

"The path of the library: TESSERA_LIBRARY, or what the system's loader finds."
library_path() = get(ENV, "TESSERA_LIBRARY", CAPI.LIBRARY)

function __init__()
    # Opened by its path here, the library is known by its own name to every later call. The flags matter: RTLD_DEEPBIND, which
    # Julia's own loading uses, would let the library find other unwinding functions than libstdc++ does where Julia brings
    # libunwind, and exceptions inside the library would end the process. So no call of CAPI may be compiled before this line.
    library = Libdl.dlopen(library_path(), Libdl.RTLD_NOW | Libdl.RTLD_LOCAL)
    abi = ccall(Libdl.dlsym(library, :tessera_abi_version), Int32, ())
    abi == CAPI.TESSERA_ABI_VERSION || error("the library's abi=$abi is not $(CAPI.TESSERA_ABI_VERSION)")
end

end
