//! Fine-tunes a model on a mesh, from Rust.
//!
//!     train recipe.yaml key=value...
//!
//! ranks=4: four rank threads in this process. No `ranks`: one rank of a launcher (torchrun, mpirun, srun), or alone.
//! Rank 0 prints `loss STEP VALUE`. With output.dir the run ends with a checkpoint and a Hugging Face directory;
//! output.resume=true goes on from that checkpoint. The same program in other languages: docs/languages.md.

use std::path::PathBuf;
use std::process::ExitCode;

use tessera::{run_ranks, Config, Dataset, Mesh, MeshOptions, Model, Result, Trainer, World, WorldOptions};

/// A model starts from a checkpoint (model.path), or from the config.json named by model.config with random weights.
fn open_model(config: &Config) -> Result<Model> {
    match config.get("model.config")?.as_str() {
        "" => Model::open(config.get("model.path")?),
        path => Model::from_json(&std::fs::read_to_string(path)?),
    }
}

/// One rank: mesh, model, trainer, data, the loop, and the trained model as a Hugging Face directory.
fn run_rank(world: &mut World, config: &Config) -> Result<()> {
    let mut mesh = Mesh::new(world, &MeshOptions::from_config(config)?)?;
    let model = open_model(config)?;
    let mut trainer = Trainer::new(&mut mesh, &model, config)?;
    let mut data = Dataset::open(config, &mesh, &model)?;
    let output = PathBuf::from(config.get("output.dir")?);

    if config.get("output.resume")? == "true" {
        trainer.load(output.join("checkpoint"), &mut data)?;
    }
    for metrics in trainer.steps(&mut data) {
        let metrics = metrics?;
        if world.rank()? == 0 {
            println!("loss {} {}", metrics.step, metrics.loss); // as many digits as tell the value from all others
        }
    }
    if output.as_os_str().is_empty() {
        return Ok(());
    }
    trainer.save(output.join("checkpoint"), &mut data)?;
    trainer.export(&output, None)
}

fn run() -> Result<()> {
    let config = Config::new()?;
    for word in std::env::args().skip(1) {
        match word.split_once('=') {
            None => config.load(word)?, // a recipe, then key=value pairs that override it
            Some((key, value)) => config.set(key, value)?,
        }
    }
    let options = WorldOptions::from_config(&config)?;
    match config.get("ranks")?.parse() {
        Ok(ranks) => run_ranks(ranks, &options, |world| run_rank(world, &config)).map(|_| ()),
        Err(_) => {
            let mut world = options.join_from_environment()?;
            run_rank(&mut world, &config)?;
            world.close()
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", error.code().name());
            ExitCode::FAILURE
        }
    }
}
