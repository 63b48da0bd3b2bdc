# Work under way, and queues of events: both are polled, so that neither tasks nor the garbage collector wait for them.

"""
Work under way: `isready(future)`, `wait(future)`, `fetch(future)`. Closing it does not stop the work. Objects are handed over by
the first fetch.
"""
mutable struct Future <: Owner
    handle::CAPI.TesseraFuture
    take::Any  # the result, from the handle
    Future(handle::CAPI.TesseraFuture, take) = finalizer(release, new(handle, take))
end

# Work under way that uses memory of Julia, by the future's number. The future is held too, so that no finalizer comes before
# the end of the work; a closed one (nothing) is destroyed here. What nobody asks for is let go when the next such work starts.
const IN_FLIGHT = Dict{UInt64,Tuple{Union{Future,Nothing},Any}}()
const IN_FLIGHT_LOCK = ReentrantLock()

# Starts `f(arguments..., future, err)`. `keep` is memory that the work uses.
function start(take, f, arguments...; keep = nothing)
    keep === nothing || release_ended()
    future = Future(handle(CAPI.TesseraFuture, f, arguments...), take)
    keep === nothing || lock(() -> IN_FLIGHT[future.handle.id] = (future, keep), IN_FLIGHT_LOCK)
    return future
end

function release_ended()
    lock(IN_FLIGHT_LOCK) do
        for id in collect(keys(IN_FLIGHT))
            future = CAPI.TesseraFuture(id)
            value(Int32, CAPI.tessera_future_poll, future) == 1 || continue
            IN_FLIGHT[id][1] === nothing && destroy(future)
            delete!(IN_FLIGHT, id)
        end
    end
end

function Base.close(future::Future)
    id = future.handle.id
    id == 0 && return nothing
    lock(IN_FLIGHT_LOCK) do
        if haskey(IN_FLIGHT, id)
            IN_FLIGHT[id] = (nothing, IN_FLIGHT[id][2])
            future.handle = CAPI.TesseraFuture(0)
        end
    end
    return release(future)
end

function Base.isready(future::Future)
    done = value(Int32, CAPI.tessera_future_poll, future) == 1
    done && lock(() -> delete!(IN_FLIGHT, future.handle.id), IN_FLIGHT_LOCK)
    return done
end

# Returns true when `ready()` does; false when `timeout` seconds passed first. Lets other tasks run meanwhile.
function poll_until(ready, timeout)
    started = time()
    rounds = 0
    while !ready()
        time() - started < timeout || return false
        # Work of microseconds is met by looking again at once; longer work by looking a thousand times a second.
        rounds += 1
        rounds < 50 ? yield() : sleep(0.001)
    end
    return true
end

"""
    wait(future; timeout = Inf)

Waits until the work has ended, well or not; false when `timeout` seconds passed first.
"""
Base.wait(future::Future; timeout = Inf) = poll_until(() -> isready(future), timeout)

"Waits, then returns the result, or throws what the work failed with."
function Base.fetch(future::Future)
    wait(future)
    call(CAPI.tessera_future_get_result, future)
    return GC.@preserve future future.take(raw(future))
end
"Asks that work which has not begun is not begun. For collective work cancel on every rank."
cancel(future::Future) = call(CAPI.tessera_future_cancel, future)
"The index of the first future that has ended; nothing when `timeout` seconds passed first."
function wait_any(futures::Vector{Future}; timeout = Inf)
    handles = map(raw, futures)
    index = Ref{Int64}(0)
    ready() = call_or(CAPI.TESSERA_E_TIMEOUT, CAPI.tessera_future_wait_any, handles, length(handles), 0, index)
    return GC.@preserve futures poll_until(ready, timeout) ? index[] + 1 : nothing
end

"What a step reports. All ranks get the same loss, grad_norm, tokens and label_tokens."
struct Metrics
    step::Int64
    loss::Float64
    grad_norm::Float64
    lr::Float64
    tokens::Int64
    label_tokens::Int64
    seconds::Float64
    tokens_per_s::Float64
    communication_seconds::Float64
    memory::Int64
    # Of models with experts, over all ranks; else 0: see tessera_metrics.
    expert_load_ratio::Float64
    expert_idle::Float64
    expert_balance_loss::Float64
    expert_z_loss::Float64
    memory_reserved::Int64
end
Metrics(m::CAPI.TesseraMetrics) = Metrics(m.step, m.loss, m.grad_norm, m.lr, m.tokens, m.label_tokens, m.seconds, m.tokens_per_s,
                                          m.communication_seconds, m.memory, m.expert_load_ratio, m.expert_idle, m.expert_balance_loss,
                                          m.expert_z_loss, m.memory_reserved)

# How results are taken out of a future.
take_nothing(_) = nothing
function take_metrics(future)
    out = initialised(CAPI.TesseraMetrics, CAPI.tessera_metrics_init)
    call(CAPI.tessera_future_get_metrics, future, out)
    return Metrics(out[])
end
take_tokens(future) = array(Int64, CAPI.tessera_future_get_tokens, future)
take_tensor(future) = Tensor(handle(CAPI.TesseraTensor, CAPI.tessera_future_get_tensor, future))
take_mesh(future) = Mesh(handle(CAPI.TesseraMesh, CAPI.tessera_future_get_mesh, future))

# Runs work whose result is needed now: starts it, and lets other tasks run until it has ended.
function finish(future::Future)
    try
        return fetch(future)
    finally
        close(future)
    end
end

"""
    Events(capacity = 0)

A queue of metrics, log lines, failures and checkpoints: `take!(events)`, or `take!(events; timeout = 0)`, which gives nothing
when there is none.
"""
Events(capacity::Integer = 0) = Events(handle(CAPI.TesseraEvents, CAPI.tessera_events_create, capacity))

function Base.take!(events::Events; timeout = Inf)
    event = initialised(CAPI.TesseraEvent, CAPI.tessera_event_init)
    ready() = call_or(CAPI.TESSERA_E_TIMEOUT, CAPI.tessera_events_next, events, 0, event)
    poll_until(ready, timeout) || return nothing
    e = event[]
    return (type = e.type, rank = e.rank, level = e.level, status = e.status, time = e.time_ns / 1e9, dropped = e.dropped,
            metrics = Metrics(e.step, e.loss, e.grad_norm, e.lr, e.tokens, e.label_tokens, e.seconds, e.tokens_per_s, 0.0,
                              e.memory, e.expert_load_ratio, e.expert_idle, e.expert_balance_loss, e.expert_z_loss, 0),
            message = text(e.message))
end
