# Ranks and meshes.

"""
    WorldOptions([config]; rank, size, local_rank, local_size, backend, device, intra_op_threads, agent_store, timeout,
                 rendezvous, job, allocator, register_buffers, expandable_segments)

How a rank joins a job. With a configuration, the keys backend, device, threads and timeout come from it. `timeout` is in seconds.
"""
struct WorldOptions
    raw::Base.RefValue{CAPI.TesseraWorldOptions}
    texts::Vector{String}  # that raw points to
end
function WorldOptions(config::Union{Config,Nothing} = nothing; timeout = nothing, rendezvous = nothing, job = nothing,
                      settings...)
    options = WorldOptions(initialised(CAPI.TesseraWorldOptions, CAPI.tessera_world_options_init), String[])
    fields = options.raw[]
    config === nothing || call(CAPI.tessera_world_options_load, options.raw, config)
    for (name, value) in settings
        hasfield(CAPI.TesseraWorldOptions, name) || throw(ArgumentError("WorldOptions has no $name"))
        setfield!(fields, name, Int32(value))
    end
    timeout === nothing || (fields.timeout_ns = round(Int64, timeout * 1e9))
    for (name, value) in ((:rendezvous, rendezvous), (:job, job))
        value === nothing && continue
        '\0' in value && throw(ArgumentError("$name contains a NUL"))
        push!(options.texts, String(value))
        setfield!(fields, name, pointer(options.texts[end]))
    end
    return options
end
raw(options::WorldOptions) = options.raw

"Joins a job and returns when all ranks have met. Blocks this thread meanwhile."
World(options::WorldOptions = WorldOptions()) = World(handle(CAPI.TesseraWorld, CAPI.tessera_world_create, options))
"The rank that torchrun, mpirun or srun describes; without a launcher one rank."
world_from_environment(options::WorldOptions = WorldOptions()) =
    World(handle(CAPI.TesseraWorld, CAPI.tessera_world_create_from_environment, options))
"All ranks of a job in this process."
function world_threads(size::Integer, options::WorldOptions = WorldOptions())
    size <= 65536 || throw(bad_argument("size=$size ranks in one process"))
    out = fill(CAPI.TesseraWorld(0), max(size, 1))
    call(CAPI.tessera_world_create_threads, size, options, out)
    return map(World, out)
end
"This rank's number, from 0."
rank(world::World) = Int(value(Int32, CAPI.tessera_world_get_rank, world))
Base.length(world::World) = Int(value(Int32, CAPI.tessera_world_get_size, world))
leave_async(world::World) = start(take_nothing, CAPI.tessera_world_close_async, world)
"Orderly end with all ranks; `close` alone leaves them a failed peer."
leave(world::World) = finish(leave_async(world))
"Tells all ranks that this one cannot go on."
abort(world::World, reason) = call(CAPI.tessera_world_abort, world, replace(string(reason), '\0' => ' '))

"""
    run_ranks(work, size, options = WorldOptions())

Runs `work(world)` as one task for each of `size` ranks and ends the job. When a rank throws, the others are told, and the
exception that came first is thrown here, not its echoes on other ranks. When the caller is interrupted (Ctrl-C), the ranks are told
and waited for first.
"""
function run_ranks(work, size::Integer, options::WorldOptions = WorldOptions())
    failures = Any[]
    worlds = world_threads(size, options)
    tasks = map(worlds) do world
        @async try
            run_rank(work, world)
        catch failure
            push!(failures, failure)
        finally
            close(world)
        end
    end
    try
        foreach(wait, tasks)
    catch interruption  # Ctrl-C: the tasks themselves throw nothing
        foreach(world -> isopen(world) && abort(world, "interrupted"), worlds)
        foreach(wait, tasks)
        rethrow()
    end
    isempty(failures) && return nothing
    echo(failure) = failure isa TesseraException && failure.code == CAPI.TESSERA_E_PEER_FAILED
    first = findfirst(!echo, failures)
    throw(failures[first === nothing ? 1 : first])
end
"Runs `work(world)` on one rank, then leaves the job. When it throws, the other ranks are told."
function run_rank(work, world::World)
    try
        work(world)
        leave(world)
    catch failure
        isopen(world) && abort(world, first(sprint(showerror, failure), 200))
        rethrow()
    end
end

function mesh_options(config, degrees)
    options = initialised(CAPI.TesseraMeshOptions, CAPI.tessera_mesh_options_init)
    config === nothing || call(CAPI.tessera_mesh_options_load, options, config)
    for (name, value) in degrees
        name !== :struct_size && hasfield(CAPI.TesseraMeshOptions, name) || throw(ArgumentError("a mesh has no $name"))
        setfield!(options[], name, Int64(value))
    end
    return options
end
"""
    Mesh(world, [config]; pp, dp_replicate, dp_shard, cp, tp, ep)

Lays the ranks of a world out on axes; with a configuration, by its keys parallel.*. Every rank calls it.
"""
Mesh(world::World, config = nothing; degrees...) = finish(mesh_async(world, config; degrees...))
mesh_async(world::World, config = nothing; degrees...) =
    start(take_mesh, CAPI.tessera_mesh_create_async, world, mesh_options(config, degrees))
"Ranks along an axis."
Base.size(mesh::Mesh, axis::AbstractString) = Int(value(Int64, CAPI.tessera_mesh_get_size, mesh, axis))
"This rank's position along an axis, from 0 as ranks are."
index(mesh::Mesh, axis::AbstractString) = Int(value(Int64, CAPI.tessera_mesh_get_index, mesh, axis))
"The world ranks along an axis through this one."
ranks(mesh::Mesh, axis::AbstractString) = array(Int32, CAPI.tessera_mesh_get_ranks, mesh, axis)
Base.string(mesh::Mesh) = text(CAPI.tessera_mesh_get_text, mesh)
