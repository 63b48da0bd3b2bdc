"""Fine-tunes a model on a mesh, from Python.

    train.py recipe.yaml key=value...

ranks=4: four rank threads in this process. No ranks: one rank of a launcher (torchrun, mpirun, srun), or alone. Rank 0 prints
`loss STEP VALUE`. With output.dir the run ends with a checkpoint and a Hugging Face directory; output.resume=true goes on from
that checkpoint. The same program in other languages: docs/languages.md.
"""
import pathlib
import sys

import tessera


def open_model(config):
    """From a checkpoint (model.path), or from the config.json named by model.config with random weights."""
    if config["model.config"]:
        return tessera.Model(pathlib.Path(config["model.config"]).read_text())
    return tessera.Model.open(config["model.path"])


def train(world, config):
    """One rank: mesh, model, trainer, data, the loop, and the trained model as a Hugging Face directory."""
    mesh = tessera.Mesh(world, config)
    model = open_model(config)
    trainer = tessera.Trainer(mesh, model, config)
    data = tessera.Dataset(config, mesh, model)
    output = config["output.dir"]

    if config["output.resume"] == "true":
        trainer.load(f"{output}/checkpoint", data)
    for metrics in trainer.steps(data):
        if world.rank == 0:
            print(f"loss {metrics['step']} {metrics['loss']:.17g}", flush=True)
    if output:
        trainer.save(f"{output}/checkpoint", data)
        trainer.export(output)


def main(words):
    config = tessera.Config()
    for word in words:  # a recipe, then key=value pairs that override it
        key, equals, value = word.partition("=")
        if equals:
            config[key] = value
        else:
            config.load(word)
    if config["ranks"]:
        tessera.run_ranks(int(config["ranks"]), lambda world: train(world, config), config)
    else:
        tessera.run_rank(lambda world: train(world, config), tessera.World.from_environment(config))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except tessera.Error as failure:
        sys.exit(f"{failure.name}: {failure}")
