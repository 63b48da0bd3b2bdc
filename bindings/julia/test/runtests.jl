# Tests of Tessera.jl; run on one thread and on several. With TESSERA_TEST_RANK set this program is a rank to be killed.
using Tessera, Test, Sockets
import Tessera: CAPI

const MODEL = """{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "float32",
 "bos_token_id": 1, "eos_token_id": 2}"""
const PROGRAM = @__FILE__
const ONE_THREAD = WorldOptions(intra_op_threads = 1, timeout = 30)

if haskey(ENV, "TESSERA_TEST_RANK")
    mesh = Mesh(Tessera.world_from_environment(ONE_THREAD))
    while true
        barrier(mesh, "dp")
    end
end

"The code of the TesseraException that `f` throws."
function code_of(f)
    try
        f()
    catch failure
        return failure isa TesseraException ? failure.code : failure
    end
    return nothing
end
fp32(pairs...) = Config("precision.param" => "fp32", pairs...)
make_batch(rank) = push!(Batch(), [(i * 7 + rank * 5) % 64 for i in 0:11], [7, 5])

@testset "errors" begin
    config = Config()
    failure = try config["parallel.tpp"] = 4; nothing catch e e end
    @test failure isa TesseraException && failure.code == CAPI.TESSERA_E_NOT_FOUND && failure.rank == -1
    @test occursin("parallel.tpp", failure.message) && occursin("E_NOT_FOUND", sprint(showerror, failure))
    @test_throws ArgumentError config["a\0b"] = 1  # not cut at the NUL
    @test occursin(string(Tessera.version()), Tessera.build_info())
    @test !isempty(Tessera.status_string(CAPI.TESSERA_E_END))
end

@testset "use after close" begin
    config = Config()
    close(config)
    close(config)
    @test !isopen(config)
    @test_throws InvalidStateException config["train.seed"]
    world = Tessera.world_threads(1, ONE_THREAD)[1]
    mesh = Mesh(world)
    tensor = Tensor([1f0])
    close(tensor)
    @test_throws InvalidStateException all_reduce!(mesh, "dp", tensor)
    close(world)
    @test_throws InvalidStateException Mesh(world)
end

@testset "settings" begin
    config = Config("train.seed" => 5)
    @test config["train.seed"] == "5" && config["output.dir"] == ""
    long = repeat("x", 100000)
    config["data.path"] = long
    other = Tessera.load_text!(Config(), Tessera.yaml(config))
    @test other["data.path"] == long
    mktempdir() do folder
        write("$folder/a.yaml", "optimizer: {lr: 0.5}\n")
        @test load!(other, "$folder/a.yaml")["optimizer.lr"] == "0.5"
    end
    @test length(keys(Config)) > 20
    @test Tessera.describe("ranks").type == CAPI.TESSERA_KEY_INTEGER && Tessera.describe("ranks").min == 1
    @test_throws ArgumentError WorldOptions(no_such_field = 1)
    level = Tessera.log_level()
    events = Events(16)
    Tessera.set_log_events(events)
    Tessera.set_log_level(CAPI.TESSERA_LOG_DEBUG)
    close(World(WorldOptions(job = "a job", intra_op_threads = 1)))
    Tessera.set_log_level(level)
    Tessera.set_log_events(nothing)
    @test Tessera.log_level() == level
end

@testset "arrays keep their shape" begin
    for values in (Float32[1 2; 3 4; 5 6], [1.5, 2.5], reshape(collect(Int64, 1:24), 2, 3, 4), fill(Int32(7)), rand(Float16, 3, 2),
                   view(Float64[1 2 3; 4 5 6], :, [1, 3]))
        tensor = Tensor(values)
        @test size(tensor) == size(values) && Array(tensor) == values
    end
    # The library stores rows one after the other: a row-major reader sees 1, 2, 3, 4, 5, 6.
    tensor = Tensor(Float32[1 2; 3 4; 5 6])
    again = Tessera.tensor_from_dlpack(Tessera.dlpack(tensor))
    memory = Vector{Float32}(undef, 6)
    Tessera.call(CAPI.tessera_tensor_get_data, again, memory, 24, Ref{Csize_t}(0))
    @test memory == 1:6
    copyto!(tensor, Float32[6 5; 4 3; 2 1])
    @test Array(again) == [6 5; 4 3; 2 1]
    @test_throws DimensionMismatch copyto!(tensor, Float32[1 2])
    @test code_of(() -> copyto!(tensor, Float64[6 5; 4 3; 2 1])) == CAPI.TESSERA_E_ARGUMENT
    @test code_of(() -> Tensor(["text"])) == CAPI.TESSERA_E_ARGUMENT
    @test Array(Tessera.zeros_tensor(Int64, 2, 2)) == zeros(2, 2)
    shared = Float32[1 2 3; 4 5 6]
    @test size(Tessera.tensor_view(shared)) == (3, 2)
end

@testset "collectives among tasks" begin
    run_ranks(2, ONE_THREAD) do world
        mesh = Mesh(world; dp_shard = 2)
        @test length(world) == 2 && size(mesh, "dp") == 2 && Tessera.index(mesh, "dp") == rank(world)
        @test Tessera.ranks(mesh, "dp") == [0, 1] && occursin("dp_shard=2", string(mesh))
        memory = Float32[rank(world), 1]
        shared = Tessera.tensor_view(memory)
        both, other = Tensor(zeros(Float32, 4)), Tensor(zeros(Float32, 4))
        barrier(mesh, "dp")
        all_gather!(mesh, "dp", shared, both)
        @test Array(both) == [0, 1, 1, 1]
        all_to_all!(mesh, "dp", both, other)
        @test Array(other) == (rank(world) == 0 ? [0, 1, 0, 1] : [1, 1, 1, 1])
        all_reduce!(mesh, "dp", shared)
        @test memory == [1, 2]
        reduce_scatter!(mesh, "dp", both, shared; reduce = CAPI.TESSERA_REDUCE_AVG)
        memory[1] = rank(world)
        Tessera.broadcast!(mesh, "dp", shared, 1)
        @test memory[1] == 1
        @test_throws ArgumentError Mesh(world; no_such_axis = 2)
    end
    @test isempty(Tessera.IN_FLIGHT)
end

@testset "memory of work that nobody waits for is given up" begin
    worlds = Tessera.world_threads(2, ONE_THREAD)
    meshes = map(fetch, map(Tessera.mesh_async, worlds))
    begin_sum(mesh) = Tessera.all_reduce_async!(mesh, "dp", Tessera.tensor_view(Float32[1, 2]))
    close(begin_sum(meshes[1]))  # cannot end before the other rank comes
    GC.gc()
    Tessera.release_ended()
    @test length(Tessera.IN_FLIGHT) == 1
    begin_sum(meshes[2])         # forgotten
    @test Tessera.poll_until(10) do
        GC.gc()
        Tessera.release_ended()
        isempty(Tessera.IN_FLIGHT)
    end
    foreach(close, worlds)
end

@testset "the first exception of a rank ends all ranks" begin
    for thrown in (DomainError(7, "of the host"), "a text")
        failure = try
            run_ranks(4, ONE_THREAD) do world
                mesh = Mesh(world)
                rank(world) == 2 && throw(thrown)
                barrier(mesh, "dp")
            end
        catch e
            e
        end
        @test failure == thrown
    end
end

@testset "an interruption ends all ranks" begin
    running, ended = Ref(0), Ref(0)
    caller = @async run_ranks(2, ONE_THREAD) do world
        mesh = Mesh(world)
        running[] += 1
        try
            while true
                barrier(mesh, "dp")
                yield()
            end
        finally
            ended[] += 1
        end
    end
    @test Tessera.poll_until(() -> running[] == 2, 60)
    schedule(caller, InterruptException(); error = true)
    @test_throws Exception wait(caller)
    @test caller.exception isa InterruptException && ended[] == 2
end

@testset "a step is its parts" begin
    config = fp32()
    mktempdir() do folder
        run_ranks(2, ONE_THREAD) do world
            mesh = Mesh(world, config)
            model = Model(MODEL)
            trainer, twin = Trainer(mesh, model, config), Trainer(mesh, model, config)
            batch = make_batch(rank(world))
            @test length(batch) == 1 && Tessera.count_tokens(batch) == (12, 10)
            @test Tessera.batch_array(batch, 1, CAPI.TESSERA_BATCH_CU_SEQLENS) == [0, 7, 12]
            whole = step!(trainer, batch)
            @test forward_backward!(twin, batch).loss == whole.loss
            name = parameter_names(trainer)[2]
            @test size(gradient(twin, name)) == size(parameter(twin, name))
            optimizer_step!(twin)
            @test Array(parameter(trainer, name)) == Array(parameter(twin, name))
            @test evaluate(trainer, batch).loss == evaluate(twin, batch).loss
            forward_backward!(twin, batch)
            zero_grad!(twin)
            forward_backward!(twin, batch; label_tokens = 20)
            optimizer_step!(twin)
            step!(trainer, batch)
            @test Tessera.step_count(trainer) == Tessera.step_count(twin) == 2
            @test size(logits(trainer, batch)) == (12, 64)
            tokens = generate(trainer, [1, 2, 3]; max_new_tokens = 100)
            @test tokens == generate(trainer, [1, 2, 3]; max_new_tokens = 100, temperature = 0)
            @test_throws ArgumentError generate(trainer, [1]; no_such = 1)
            weights = reshape(collect(Float32, 1:prod(size(parameter(trainer, name)))), size(parameter(trainer, name)))
            set_parameter!(trainer, name, weights)
            @test Array(parameter(trainer, name)) == weights
            @test !isempty(Tessera.program(trainer, 1))

            events = Events()
            Tessera.set_events(trainer, events)
            save(trainer, "$folder/a")
            @test take!(events).message == "$folder/a"
            @test take!(events; timeout = 0) === nothing
            load!(twin, "$folder/a")
            @test evaluate(twin, batch).loss == evaluate(trainer, batch).loss
            channel = Tessera.metrics(trainer)
            done = step!(trainer, batch)
            @test take!(channel) == Metrics(map(f -> f == :communication_seconds ? 0.0 : getfield(done, f), fieldnames(Metrics))...)
            close(channel)
            export_model(trainer, "$folder/out")
            export_model(trainer, "$folder/out16"; dtype = "bf16")
            @test Tessera.parameter_count(Tessera.open_model("$folder/out")) > 1000
            @test occursin("llama", string(model))
            half = Trainer(mesh, Tessera.open_model("$folder/out16"), Config("precision.param" => "fp32"))
            @test eltype(Array(parameter(half, name))) == Float32
        end
        config["train.global_batch"] = 2
        @test occursin("dp_shard", plan(Model(MODEL), config, 2))
        set_tp_plan!(Model(MODEL), "whole", "{\"*\": \"replicate\"}")
        @test occursin("rank 0", timeline(Model(MODEL), config, 2; columns = 60, backward = 3.0))
        @test startswith(timeline(Model(MODEL), config, 2; format = CAPI.TESSERA_TIMELINE_SVG), "<svg")
        @test_throws TesseraException timeline(Model(MODEL), config, 2; transfer = -1.0)
    end
end

@testset "pushed documents" begin
    config = fp32("data.seq_len" => 16, "train.global_batch" => 2, "data.epochs" => 1)
    data = Tessera.pushed_dataset(config)
    for i in 0:3
        push!(data, [1, 2, 3, 4 + i])
    end
    push!(data, [5, 6, 7]; labels = [-100, 6, 7])
    @test code_of(() -> push!(data, [1, 2]; labels = [1])) == CAPI.TESSERA_E_ARGUMENT
    @test code_of(() -> Tessera.next!(data)) == CAPI.TESSERA_E_STATE
    push_end!(data)
    start = Tessera.state(data)
    @test length(collect(data)) == count_steps(data)
    @test Tessera.next!(data) === nothing
    Tessera.set_state!(data, start)
    @test Tessera.next!(data) isa Batch
    @test code_of(() -> Dataset(config)) == CAPI.TESSERA_E_ARGUMENT
    packs, count = pack("ffd", [6, 5, 4, 3], 10)
    @test length(packs) == 4 && count == 2
    config = Config()
    config["data.seq_len"] = 10
    config["data.packing"] = "next_fit_split"
    pieces = pack_pieces(config, [6, 5])
    @test [(p.row, p.document, p.begin_, p.length) for p in pieces] == [(1, 1, 1, 6), (1, 2, 1, 4), (2, 2, 5, 1)]
    batch = Batch()
    push_form!(batch, CAPI.TESSERA_BATCH_FORM_ROWS, [5, 6, 7, 0, 8, 9, 0, 0], [3, 2])
    @test Tessera.batch_array(batch, 1, CAPI.TESSERA_BATCH_SEGMENTS) == [1, 1, 1, 0, 2, 2, 0, 0]
    rows = padded_rows(batch, 1; row_length = 4, pad_token = 1)
    @test rows.tokens == [5 8; 6 9; 7 1; 1 1] && rows.mask[:, 2] == [1, 1, 0, 0]
    @test_throws TesseraException push_form!(batch, CAPI.TESSERA_BATCH_FORM_POSITIONS, [5, 6], [0, 2])
end

@testset "tokenizer" begin
    mktempdir() do folder
        write("$folder/tokenizer.json", """{"version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 3, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false,
  "normalized": false}], "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
  "trim_offsets": true, "use_regex": true}, "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true,
  "trim_offsets": true, "use_regex": true}, "model": {"type": "BPE", "dropout": null, "unk_token": null,
  "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
  "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}""")
        write("$folder/tokenizer_config.json", """{"eos_token": "<|end|>", "chat_template":
  "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"}""")
        tokenizer = Tokenizer(folder)
        long = repeat("ab", 600)
        ids = encode(tokenizer, long)
        @test decode(tokenizer, ids; skip_special = true) == long && length(tokenizer) == 4
        @test encode_batch(tokenizer, ["ab", "", long, "é"[1:0], "b"]) == [encode(tokenizer, t) for t in ("ab", "", long, "", "b")]
        @test encode_batch(tokenizer, String[]) == []
        @test decode(tokenizer, Int[]) == "" && encode(tokenizer, ""; add_special = false) == []
        chat = """[{"role": "user", "content": "a"}, {"role": "assistant", "content": "ab"}]"""
        @test chat_text(tokenizer, chat) == "a<|end|>ab<|end|>"
        tokens, labels = encode_chat(tokenizer, chat)
        @test length(tokens) == length(labels) && labels[1] == -100
    end
end

@testset "waits let tasks and the collector run" begin
    worlds = Tessera.world_threads(2, ONE_THREAD)
    futures = map(Tessera.mesh_async, worlds)
    @test Tessera.wait_any(futures) isa Int
    meshes = map(fetch, futures)
    @test code_of(() -> fetch(futures[1])) == CAPI.TESSERA_E_STATE  # handed over once
    alone = Tessera.barrier_async(meshes[1], "dp")
    @test !wait(alone; timeout = 0.01)
    ticks = Ref(0)
    ticking = Ref(true)
    @async while ticking[]
        GC.gc(false)
        ticks[] += 1
        sleep(0.005)
    end
    @test !wait(alone; timeout = 0.3)
    ticking[] = false
    @test ticks[] > 5
    @test code_of(() -> barrier(meshes[1], "dp")) == CAPI.TESSERA_E_BUSY
    behind = Tessera.mesh_async(worlds[1])
    Tessera.cancel(behind)
    @test code_of(() -> fetch(behind)) == CAPI.TESSERA_E_CANCELLED
    abort(worlds[2], "said the host")
    failure = try fetch(alone) catch e e end
    @test failure.code == CAPI.TESSERA_E_PEER_FAILED && failure.rank == 1
    foreach(close, worlds)
end

@testset "tasks get their own errors" begin
    config = Config()
    wrong = Threads.Atomic{Int}(0)
    @sync for t in 1:64
        Threads.@spawn for i in 1:50
            key = "no.such.key.$t.$i."
            failure = try config[key] = 1; nothing catch e e end
            i % 7 == 0 && yield()
            failure isa TesseraException && occursin(key, failure.message) || Threads.atomic_add!(wrong, 1)
        end
    end
    @test wrong[] == 0
end

resident_mb() = parse(Int, split(read("/proc/self/statm", String))[2]) * 4096 / 2^20
function churn(rounds)
    for i in 1:rounds
        config, batch = Config(), make_batch(i)
        shared = Tessera.tensor_view(rand(Float32, 256))
        i % 2 == 0 && close(config)
        i % 500 == 0 && GC.gc()
    end
end
@testset "forgotten owners are collected" begin
    GC.gc(); GC.gc()
    before = Tessera.handle_count()
    churn(2000)
    GC.gc(); GC.gc()
    @test Tessera.handle_count() <= before
    warm = resident_mb()
    churn(8000)
    GC.gc(); GC.gc()
    @test Tessera.handle_count() <= before
    @test resident_mb() - warm < 64
end

@testset "a killed peer is an error" begin
    port, listener = listenany(ip"127.0.0.1", 20000)
    close(listener)
    job = ["WORLD_SIZE" => "2", "LOCAL_WORLD_SIZE" => "2", "MASTER_ADDR" => "127.0.0.1", "MASTER_PORT" => string(Int(port)),
           "TORCHELASTIC_RUN_ID" => "julia.$(getpid())"]
    command = `$(Base.julia_cmd()) --startup-file=no $PROGRAM`
    environment = merge(Dict(ENV), Dict(job...), Dict("RANK" => "1", "LOCAL_RANK" => "1", "TESSERA_TEST_RANK" => "1"))
    peer = run(pipeline(setenv(command, environment), stderr = stderr); wait = false)
    failure = withenv(job..., "RANK" => "0", "LOCAL_RANK" => "0") do
        mesh = Mesh(Tessera.world_from_environment(ONE_THREAD))
        barrier(mesh, "dp")
        kill(peer, Base.SIGKILL)
        try
            while true
                barrier(mesh, "dp")
            end
        catch e
            e
        end
    end
    @test failure isa TesseraException && failure.code == CAPI.TESSERA_E_PEER_FAILED && failure.rank == 1
    @test Config()["train.seed"] == "0"  # the host lives
end
