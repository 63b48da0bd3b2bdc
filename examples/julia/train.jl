# Fine-tunes a model on a mesh, from Julia.
#
#     julia train.jl recipe.yaml key=value...
#
# ranks=4: four ranks as tasks of this process. No ranks: one rank of a launcher (torchrun, mpirun, srun), or alone. Rank 0
# prints `loss STEP VALUE`. With output.dir the run ends with a checkpoint and a Hugging Face directory; output.resume=true
# goes on from that checkpoint. The same program in other languages: docs/languages.md.
using Tessera, Printf

# A model starts from a checkpoint (model.path), or from the config.json named by model.config with random weights.
open_model(config) = config["model.config"] == "" ? Tessera.open_model(config["model.path"]) :
                     Model(read(config["model.config"], String))

# One rank: mesh, model, trainer, data, the loop, and the trained model as a Hugging Face directory.
function run_rank(world, config)
    mesh = Mesh(world, config)
    model = open_model(config)
    trainer = Trainer(mesh, model, config)
    data = Dataset(config, mesh, model)
    output = config["output.dir"]

    config["output.resume"] == "true" && load!(trainer, "$output/checkpoint", data)
    for metrics in steps!(trainer, data)
        if rank(world) == 0
            @printf("loss %d %.17g\n", metrics.step, metrics.loss)
            flush(stdout)
        end
    end
    if output != ""
        save(trainer, "$output/checkpoint", data)
        export_model(trainer, output)
    end
end

function main(words)
    config = Config()
    for word in words  # a recipe, then key=value pairs that override it
        if '=' in word
            key, value = split(word, '='; limit = 2)
            config[key] = value
        else
            load!(config, word)
        end
    end
    options = WorldOptions(config)
    if config["ranks"] == ""
        Tessera.run_rank(world -> run_rank(world, config), Tessera.world_from_environment(options))
    else
        run_ranks(world -> run_rank(world, config), parse(Int, config["ranks"]), options)
    end
end

try
    main(ARGS)
catch failure
    failure isa TesseraException || rethrow()
    println(stderr, Tessera.status_name(failure.code), ": ", failure.message)
    exit(1)
end
