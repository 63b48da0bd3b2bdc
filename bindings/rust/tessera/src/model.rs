//! What is trained: an architecture and where its weights come from.

use std::path::Path;

use crate::error::Result;
use crate::handle::{c_path, c_text, check, text, value, Owned};
use crate::sys;

/// An architecture and where its weights come from. Holds no weights; a [`Trainer`](crate::Trainer) loads each rank's part.
#[derive(Debug)]
pub struct Model {
    pub(crate) handle: Owned<sys::tessera_model>,
}

impl Model {
    /// Reads `config.json` of a Hugging Face directory; trainers load its safetensors.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = c_path("directory", directory.as_ref())?;
        let handle =
            Owned::create(|out, error| unsafe { sys::tessera_model_open(directory.as_ptr(), out, error) })?;
        Ok(Model { handle })
    }

    /// A model from the text of a `config.json`; trainers start it from seeded random weights.
    pub fn from_json(config_json: &str) -> Result<Self> {
        let json = c_text("config_json", config_json)?;
        let handle =
            Owned::create(|out, error| unsafe { sys::tessera_model_create(json.as_ptr(), out, error) })?;
        Ok(Model { handle })
    }

    /// Like [`open`](Model::open), with the architectures of a plugin, a shared library, before the built-in ones.
    pub fn open_plugin(directory: impl AsRef<Path>, plugin: impl AsRef<Path>) -> Result<Self> {
        let directory = c_path("directory", directory.as_ref())?;
        let plugin = c_path("plugin", plugin.as_ref())?;
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_model_open_plugin(directory.as_ptr(), plugin.as_ptr(), out, error)
        })?;
        Ok(Model { handle })
    }

    /// Like [`from_json`](Model::from_json), with a plugin as in [`open_plugin`](Model::open_plugin).
    pub fn from_json_plugin(config_json: &str, plugin: impl AsRef<Path>) -> Result<Self> {
        let json = c_text("config_json", config_json)?;
        let plugin = c_path("plugin", plugin.as_ref())?;
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_model_create_plugin(json.as_ptr(), plugin.as_ptr(), out, error)
        })?;
        Ok(Model { handle })
    }

    /// The `config.json` as read.
    pub fn to_json(&self) -> Result<String> {
        text(|buffer, cap, length, error| unsafe {
            sys::tessera_model_get_text(self.handle.raw(), buffer, cap, length, error)
        })
    }

    /// The number of trained values; shared ones (tied embeddings) count once.
    pub fn parameter_count(&self) -> Result<i64> {
        value(|out, error| unsafe { sys::tessera_model_get_parameter_count(self.handle.raw(), out, error) })
    }

    /// Registers a tensor-parallel plan, a JSON or YAML map of name patterns and styles, for jobs with
    /// `parallel.tp_plan=name`.
    pub fn set_tp_plan(&self, name: &str, plan: &str) -> Result<()> {
        let (name, plan) = (c_text("name", name)?, c_text("plan", plan)?);
        check(|error| unsafe {
            sys::tessera_model_set_tp_plan(self.handle.raw(), name.as_ptr(), plan.as_ptr(), error)
        })
    }
}
