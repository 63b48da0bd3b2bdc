//! Trains transformer language models over many devices: the safe Rust interface to libtessera.
//!
//! A [`World`] is one rank's seat in a job; ranks are processes of a launcher, or threads of this process
//! ([`run_ranks`]). A [`Mesh`] lays them out, a [`Model`] says what is trained, a [`Trainer`] holds this rank's part of it,
//! and a [`Dataset`] gives the batches.
//!
//! ```no_run
//! use tessera::{run_ranks, Config, Dataset, Mesh, MeshOptions, Model, Trainer, WorldOptions};
//!
//! let config = Config::new()?.with("data.path", "rows.jsonl")?.with("data.format", "tokens")?;
//! run_ranks(4, &WorldOptions::new(), |world| {
//!     let mut mesh = Mesh::new(world, &MeshOptions::new())?;
//!     let model = Model::open("my-model")?;
//!     let mut trainer = Trainer::new(&mut mesh, &model, &config)?;
//!     let mut data = Dataset::open(&config, &mesh, &model)?;
//!     for metrics in trainer.steps(&mut data).take(100) {
//!         println!("{}", metrics?.loss);
//!     }
//!     trainer.export("trained", None)
//! })?;
//! # Ok::<(), tessera::Error>(())
//! ```
//!
//! # Threads
//!
//! All types are [`Send`] and [`Sync`]. What the library allows once at a time takes `&mut self`, everything else `&self`. It
//! does not matter which thread calls: the work of a rank runs on a thread that the library owns. Objects may be dropped in any
//! order on any thread; dropping never blocks.
//!
//! # Errors
//!
//! Every call returns its own [`Error`]; the library neither ends the process nor unwinds into Rust. A panic in the body of a
//! rank or in a listener becomes an error with [`Code::Panic`], and the other ranks learn of it.

#![warn(missing_docs)]

pub use tessera_sys as sys;

mod batch;
mod config;
mod dataset;
mod dlpack;
mod error;
mod events;
mod handle;
pub mod log;
mod mesh;
mod metrics;
mod model;
mod pack;
mod pending;
pub mod plan;
mod ranks;
mod tensor;
mod tokenizer;
mod trainer;
mod version;
mod world;

pub use batch::{Batch, BatchArray, BatchForm, FormOptions, PaddedRows};
pub use config::{Config, Key, KeyType};
pub use dataset::Dataset;
pub use dlpack::Dlpack;
pub use error::{Code, Domain, Error, Result};
pub use events::{Event, EventKind, Events, Listener};
pub use mesh::{Mesh, MeshOptions, Reduce};
pub use metrics::Metrics;
pub use model::Model;
pub use pack::{pack, pack_pieces, Packer, Packs, Piece};
pub use pending::Pending;
pub use ranks::run_ranks;
pub use tensor::{Dtype, Element, Tensor};
pub use tokenizer::Tokenizer;
pub use trainer::{GenerateOptions, Steps, Trainer};
pub use version::{abi_version, build_info, live_objects, version, Kind};
pub use world::{Allocator, Backend, Device, Switch, World, WorldOptions};

/// What the documentation says of threads, checked by the compiler.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Config>();
    shared::<World>();
    shared::<WorldOptions>();
    shared::<Mesh>();
    shared::<Tensor>();
    shared::<Model>();
    shared::<Batch>();
    shared::<Dataset>();
    shared::<Trainer>();
    shared::<Events>();
    shared::<Tokenizer>();
    shared::<Pending<Tensor>>();
    shared::<Error>();
};
