# One call from Julia through Tessera.jl.
using Tessera, Printf
import Tessera: CAPI

function nanoseconds_of(call, argument)
    rounds = 1000000
    sum = 0
    for _ in 1:1000
        sum += call(argument)  # compiled before it is measured
    end
    start = time_ns()
    for _ in 1:rounds
        sum += call(argument)
    end
    return (time_ns() - start) / rounds + 0 * sum
end
world = Tessera.world_threads(1)[1]
@printf("julia %.1f %.1f\n", nanoseconds_of(_ -> CAPI.tessera_abi_version(), world), nanoseconds_of(rank, world))
