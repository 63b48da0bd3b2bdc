//! What a job will do, before anything is loaded or connected.

use crate::config::Config;
use crate::error::Result;
use crate::handle::text;
use crate::model::Model;
use crate::sys;

/// Mesh, units and memory per rank of training `model` on so many ranks, as text for a person.
pub fn summary(model: &Model, config: &Config, world_size: usize) -> Result<String> {
    part(model, config, world_size, sys::TESSERA_PLAN_SUMMARY as i32)
}

/// The compiled step of rank 0, one instruction a line.
pub fn program(model: &Model, config: &Config, world_size: usize) -> Result<String> {
    part(model, config, world_size, sys::TESSERA_PLAN_PROGRAM as i32)
}

/// The fastest meshes that fit into the memory of the cluster that the key `cluster` names, as a table. The parallel, memory
/// and batch keys that are set are kept.
pub fn search(model: &Model, config: &Config, world_size: usize) -> Result<String> {
    part(model, config, world_size, sys::TESSERA_PLAN_SEARCH as i32)
}

/// The same as a JSON object, with the recipe keys of each mesh.
pub fn search_json(model: &Model, config: &Config, world_size: usize) -> Result<String> {
    part(model, config, world_size, sys::TESSERA_PLAN_SEARCH_JSON as i32)
}

/// How a timeline is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineFormat {
    /// A line per pipeline rank.
    Text,
    /// The same with the colours of an ANSI terminal.
    Colour,
    /// An image.
    Svg,
    /// Trace Event JSON, for ui.perfetto.dev and chrome://tracing.
    Trace,
}

/// How [`timeline`] draws, and what things cost: 1 is the forward of a mean stage on one micro-batch.
#[derive(Debug, Clone, Copy)]
pub struct TimelineOptions {
    raw: sys::tessera_timeline_options,
}

impl TimelineOptions {
    /// The defaults: 100 columns, a backward takes two forwards, communication takes no time.
    pub fn new(format: TimelineFormat) -> Self {
        let mut raw = sys::tessera_timeline_options::default();
        // SAFETY: `raw` has the size that is passed; with it the call cannot fail.
        let _ = unsafe { sys::tessera_timeline_options_init(&mut raw, std::mem::size_of_val(&raw)) };
        raw.format = match format {
            TimelineFormat::Text => sys::TESSERA_TIMELINE_TEXT,
            TimelineFormat::Colour => sys::TESSERA_TIMELINE_COLOUR,
            TimelineFormat::Svg => sys::TESSERA_TIMELINE_SVG,
            TimelineFormat::Trace => sys::TESSERA_TIMELINE_TRACE,
        } as i32;
        TimelineOptions { raw }
    }

    /// Of text: 40 to 1000.
    pub fn columns(mut self, columns: i32) -> Self {
        self.raw.columns = columns;
        self
    }

    /// A backward, in forwards of the same unit.
    pub fn backward(mut self, forwards: f64) -> Self {
        self.raw.backward = forwards;
        self
    }

    /// To gather or reduce the weights of a mean stage, beside computing.
    pub fn collective(mut self, forwards: f64) -> Self {
        self.raw.collective = forwards;
        self
    }

    /// Of activations or gradients from stage to stage.
    pub fn transfer(mut self, forwards: f64) -> Self {
        self.raw.transfer = forwards;
        self
    }
}

/// A picture of the step: which pipeline rank computes which micro-batch when.
pub fn timeline(
    model: &Model,
    config: &Config,
    world_size: usize,
    options: &TimelineOptions,
) -> Result<String> {
    text(|buffer, cap, length, error| unsafe {
        let (model, config) = (model.handle.raw(), config.handle.raw());
        sys::tessera_plan_get_timeline(
            model,
            config,
            world_size as i64,
            &options.raw,
            buffer,
            cap,
            length,
            error,
        )
    })
}

fn part(model: &Model, config: &Config, world_size: usize, part: i32) -> Result<String> {
    text(|buffer, cap, length, error| unsafe {
        let (model, config) = (model.handle.raw(), config.handle.raw());
        sys::tessera_plan_get_text(model, config, world_size as i64, part, buffer, cap, length, error)
    })
}
