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

fn part(model: &Model, config: &Config, world_size: usize, part: i32) -> Result<String> {
    text(|buffer, cap, length, error| unsafe {
        let (model, config) = (model.handle.raw(), config.handle.raw());
        sys::tessera_plan_get_text(model, config, world_size as i64, part, buffer, cap, length, error)
    })
}
