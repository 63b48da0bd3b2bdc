//! One rank's part of training a model on a mesh.

use std::path::Path;

use crate::batch::Batch;
use crate::config::Config;
use crate::dataset::Dataset;
use crate::error::{Code, Error, Result};
use crate::events::Events;
use crate::handle::{array, c_path, c_text, check, length, optional, text, value, Owned};
use crate::mesh::Mesh;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::pending::Pending;
use crate::sys;
use crate::tensor::{Dtype, Tensor};

/// One rank's part of training a model on a mesh: steps, evaluation, generation, weights and gradients, checkpoints.
///
/// Methods with `&mut self` run one at a time and are collective over the mesh: every rank makes the same calls in the same
/// order. While a [`Pending`] of this trainer is under way, such a call gets [`Code::Busy`].
#[derive(Debug)]
pub struct Trainer {
    pub(crate) handle: Owned<sys::tessera_trainer>,
    /// `train.steps` of the configuration; 0: not set.
    pub(crate) last_step: i64,
}

fn last_step(config: Option<&Config>) -> Result<i64> {
    let text = config.map_or(Ok(String::new()), |config| config.get("train.steps"))?;
    Ok(text.parse().unwrap_or(0))
}

impl Trainer {
    /// Shards the model over the mesh and loads this rank's part of the weights. Keys `train.*`, `optimizer.*`,
    /// `schedule.*`, `parallel.*`, `precision.*` and `memory.*` of the configuration; `None` means defaults.
    pub fn new<'a>(mesh: &mut Mesh, model: &Model, config: impl Into<Option<&'a Config>>) -> Result<Self> {
        let config = config.into();
        let last_step = last_step(config)?;
        let config = optional(config.map(|c| &c.handle));
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_trainer_create(mesh.handle.raw(), model.handle.raw(), config, out, error)
        })?;
        Ok(Trainer { handle, last_step })
    }

    /// Like [`new`](Trainer::new), without waiting.
    pub fn new_async<'a>(
        mesh: &mut Mesh,
        model: &Model,
        config: impl Into<Option<&'a Config>>,
    ) -> Result<Pending<Self>> {
        let config = config.into();
        let last_step = last_step(config)?;
        let config = optional(config.map(|c| &c.handle));
        let pending = Pending::<Trainer>::start(|out, error| unsafe {
            sys::tessera_trainer_create_async(mesh.handle.raw(), model.handle.raw(), config, out, error)
        })?;
        Ok(pending.map(move |trainer| Trainer { last_step, ..trainer }))
    }

    /// Sends metrics, failures and saved checkpoints of this trainer to a queue; `None` stops it.
    pub fn set_events(&self, events: Option<&Events>) -> Result<()> {
        let events = optional(events.map(|e| &e.handle));
        check(|error| unsafe { sys::tessera_trainer_set_events(self.handle.raw(), events, error) })
    }

    /// One optimizer step over this rank's micro-batches, whose number is equal on all ranks. After an error the weights are
    /// those of the step before, unless the message says otherwise.
    pub fn step(&mut self, batch: &Batch) -> Result<Metrics> {
        let trainer = self.handle.raw();
        Metrics::read(|out, error| unsafe {
            sys::tessera_trainer_step(trainer, batch.handle.raw(), out, error)
        })
    }

    /// Like [`step`](Trainer::step), without waiting.
    pub fn step_async(&mut self, batch: &Batch) -> Result<Pending<Metrics>> {
        let trainer = self.handle.raw();
        Pending::start(|out, error| unsafe {
            sys::tessera_trainer_step_async(trainer, batch.handle.raw(), out, error)
        })
    }

    /// Trains on a dataset until it is used up, or until [`step_count`](Trainer::step_count) is `train.steps` of the configuration that the
    /// trainer was made with: a step each time the iterator is asked for the next metrics.
    ///
    /// ```no_run
    /// # fn example(mut trainer: tessera::Trainer, mut data: tessera::Dataset) -> tessera::Result<()> {
    /// for metrics in trainer.steps(&mut data) {
    ///     println!("{}", metrics?.loss);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn steps<'a>(&'a mut self, data: &'a mut Dataset) -> Steps<'a> {
        Steps {
            trainer: self,
            data,
            failed: false,
        }
    }

    /// Adds the gradients of a batch. `label_tokens` is what the loss is divided by: the labels of all batches of the step
    /// over all ranks; `None`: those of this batch.
    pub fn forward_backward(&mut self, batch: &Batch, label_tokens: Option<i64>) -> Result<Metrics> {
        let (trainer, labels) = (self.handle.raw(), label_tokens.unwrap_or(0));
        Metrics::read(|out, error| unsafe {
            sys::tessera_trainer_forward_backward(trainer, batch.handle.raw(), labels, out, error)
        })
    }

    /// Like [`forward_backward`](Trainer::forward_backward), without waiting.
    pub fn forward_backward_async(
        &mut self,
        batch: &Batch,
        label_tokens: Option<i64>,
    ) -> Result<Pending<Metrics>> {
        let (trainer, labels) = (self.handle.raw(), label_tokens.unwrap_or(0));
        Pending::start(|out, error| unsafe {
            sys::tessera_trainer_forward_backward_async(trainer, batch.handle.raw(), labels, out, error)
        })
    }

    /// Clips the gradients, updates the weights and forgets the gradients.
    pub fn optimizer_step(&mut self) -> Result<Metrics> {
        let trainer = self.handle.raw();
        Metrics::read(|out, error| unsafe { sys::tessera_trainer_optimizer_step(trainer, out, error) })
    }

    /// Like [`optimizer_step`](Trainer::optimizer_step), without waiting.
    pub fn optimizer_step_async(&mut self) -> Result<Pending<Metrics>> {
        let trainer = self.handle.raw();
        Pending::start(|out, error| unsafe { sys::tessera_trainer_optimizer_step_async(trainer, out, error) })
    }

    /// Forgets the gradients.
    pub fn zero_grad(&mut self) -> Result<()> {
        check(|error| unsafe { sys::tessera_trainer_zero_grad(self.handle.raw(), error) })
    }

    /// The number of optimizer steps so far, also those before a checkpoint was loaded.
    pub fn step_count(&self) -> Result<i64> {
        value(|out, error| unsafe { sys::tessera_trainer_get_step_count(self.handle.raw(), out, error) })
    }

    /// The loss of a batch, without gradients: fills `loss` and `label_tokens`.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<Metrics> {
        let trainer = self.handle.raw();
        Metrics::read(|out, error| unsafe {
            sys::tessera_trainer_evaluate(trainer, batch.handle.raw(), out, error)
        })
    }

    /// Like [`evaluate`](Trainer::evaluate), without waiting.
    pub fn evaluate_async(&mut self, batch: &Batch) -> Result<Pending<Metrics>> {
        let trainer = self.handle.raw();
        Pending::start(|out, error| unsafe {
            sys::tessera_trainer_evaluate_async(trainer, batch.handle.raw(), out, error)
        })
    }

    /// Continues a prompt; every rank passes the same prompt and gets the same tokens, without the prompt.
    pub fn generate(&mut self, prompt: &[i64], options: &GenerateOptions) -> Result<Vec<i64>> {
        let (trainer, n_prompt) = (self.handle.raw(), length(prompt.len()));
        array(64, |buffer, cap, len, error| unsafe {
            let options = &options.raw;
            sys::tessera_trainer_generate(
                trainer,
                prompt.as_ptr(),
                n_prompt,
                options,
                buffer,
                cap,
                len,
                error,
            )
        })
    }

    /// Like [`generate`](Trainer::generate), without waiting.
    pub fn generate_async(&mut self, prompt: &[i64], options: &GenerateOptions) -> Result<Pending<Vec<i64>>> {
        let (trainer, n_prompt) = (self.handle.raw(), length(prompt.len()));
        Pending::start(|out, error| unsafe {
            sys::tessera_trainer_generate_async(trainer, prompt.as_ptr(), n_prompt, &options.raw, out, error)
        })
    }

    /// Logits `[tokens, vocabulary]` in f32 of a batch's first micro-batch. For tests and small models.
    pub fn logits(&mut self, batch: &Batch) -> Result<Tensor> {
        let trainer = self.handle.raw();
        tensor(|out, error| unsafe {
            sys::tessera_trainer_get_logits(trainer, batch.handle.raw(), out, error)
        })
    }

    /// Like [`logits`](Trainer::logits), without waiting.
    pub fn logits_async(&mut self, batch: &Batch) -> Result<Pending<Tensor>> {
        let trainer = self.handle.raw();
        Pending::start(|out, error| unsafe {
            sys::tessera_trainer_get_logits_async(trainer, batch.handle.raw(), out, error)
        })
    }

    /// The Hugging Face names of all parameters of the model: "model.layers.0.self_attn.q_proj.weight".
    pub fn parameter_names(&self) -> Result<Vec<String>> {
        let trainer = self.handle.raw();
        let count: i64 =
            value(|out, error| unsafe { sys::tessera_trainer_count_parameters(trainer, out, error) })?;
        (0..count)
            .map(|index| {
                text(|buffer, cap, len, error| unsafe {
                    sys::tessera_trainer_get_parameter_name(trainer, index, buffer, cap, len, error)
                })
            })
            .collect()
    }

    /// The full weight, gathered, in the master dtype; a copy.
    pub fn parameter(&mut self, name: &str) -> Result<Tensor> {
        let (trainer, name) = (self.handle.raw(), c_text("name", name)?);
        tensor(|out, error| unsafe { sys::tessera_trainer_get_parameter(trainer, name.as_ptr(), out, error) })
    }

    /// Like [`parameter`](Trainer::parameter), without waiting.
    pub fn parameter_async(&mut self, name: &str) -> Result<Pending<Tensor>> {
        let (trainer, name) = (self.handle.raw(), c_text("name", name)?);
        Pending::start(|out, error| unsafe {
            sys::tessera_trainer_get_parameter_async(trainer, name.as_ptr(), out, error)
        })
    }

    /// The full gradient of the last `forward_backward`, before clipping, in f32; a copy.
    pub fn gradient(&mut self, name: &str) -> Result<Tensor> {
        let (trainer, name) = (self.handle.raw(), c_text("name", name)?);
        tensor(|out, error| unsafe { sys::tessera_trainer_get_gradient(trainer, name.as_ptr(), out, error) })
    }

    /// Like [`gradient`](Trainer::gradient), without waiting.
    pub fn gradient_async(&mut self, name: &str) -> Result<Pending<Tensor>> {
        let (trainer, name) = (self.handle.raw(), c_text("name", name)?);
        Pending::start(|out, error| unsafe {
            sys::tessera_trainer_get_gradient_async(trainer, name.as_ptr(), out, error)
        })
    }

    /// Overwrites a weight with a full tensor of its shape, which every rank passes.
    pub fn set_parameter(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let (trainer, name) = (self.handle.raw(), c_text("name", name)?);
        check(|error| unsafe {
            sys::tessera_trainer_set_parameter(trainer, name.as_ptr(), tensor.handle.raw(), error)
        })
    }

    /// Like [`set_parameter`](Trainer::set_parameter), without waiting; gives the tensor back.
    pub fn set_parameter_async(&mut self, name: &str, tensor: Tensor) -> Result<Pending<Tensor>> {
        let (trainer, name) = (self.handle.raw(), c_text("name", name)?);
        let pending = Pending::start(|out, error| unsafe {
            let tensor = tensor.handle.raw();
            sys::tessera_trainer_set_parameter_async(trainer, name.as_ptr(), tensor, out, error)
        })?;
        Ok(pending.giving(tensor))
    }

    /// The compiled step of this rank for so many micro-batches, one instruction a line.
    pub fn program(&mut self, microbatches: i64) -> Result<String> {
        let trainer = self.handle.raw();
        text(|buffer, cap, len, error| unsafe {
            sys::tessera_trainer_get_program(trainer, microbatches, buffer, cap, len, error)
        })
    }

    /// Saves weights, optimizer, step and random state, and the position of a dataset. The directory appears whole or not at
    /// all.
    pub fn save<'a>(
        &mut self,
        directory: impl AsRef<Path>,
        data: impl Into<Option<&'a mut Dataset>>,
    ) -> Result<()> {
        let (trainer, directory, data) = self.checkpoint(directory, data)?;
        check(|error| unsafe { sys::tessera_checkpoint_save(trainer, directory.as_ptr(), data, error) })
    }

    /// Like [`save`](Trainer::save), without waiting; the position of the dataset is taken before this returns.
    pub fn save_async<'a>(
        &mut self,
        directory: impl AsRef<Path>,
        data: impl Into<Option<&'a mut Dataset>>,
    ) -> Result<Pending<()>> {
        let (trainer, directory, data) = self.checkpoint(directory, data)?;
        Pending::start(|out, error| unsafe {
            sys::tessera_checkpoint_save_async(trainer, directory.as_ptr(), data, out, error)
        })
    }

    /// Continues from a saved directory, whatever mesh wrote it, and moves a dataset to the saved position.
    pub fn load<'a>(
        &mut self,
        directory: impl AsRef<Path>,
        data: impl Into<Option<&'a mut Dataset>>,
    ) -> Result<()> {
        let (trainer, directory, data) = self.checkpoint(directory, data)?;
        check(|error| unsafe { sys::tessera_checkpoint_load(trainer, directory.as_ptr(), data, error) })
    }

    /// Like [`load`](Trainer::load), without waiting.
    pub fn load_async<'a>(
        &mut self,
        directory: impl AsRef<Path>,
        data: impl Into<Option<&'a mut Dataset>>,
    ) -> Result<Pending<()>> {
        let (trainer, directory, data) = self.checkpoint(directory, data)?;
        Pending::start(|out, error| unsafe {
            sys::tessera_checkpoint_load_async(trainer, directory.as_ptr(), data, out, error)
        })
    }

    /// Writes `config.json` and safetensors that transformers loads, in `F32`, `Bf16` or `F16`; `None`: the dtype of the master
    /// weights, so that nothing is lost.
    pub fn export(&mut self, directory: impl AsRef<Path>, dtype: Option<Dtype>) -> Result<()> {
        let (trainer, dtype) = (self.handle.raw(), export_dtype(dtype)?);
        let directory = c_path("directory", directory.as_ref())?;
        check(|error| unsafe {
            let dtype = dtype.map_or(std::ptr::null(), |name| name.as_ptr());
            sys::tessera_checkpoint_export(trainer, directory.as_ptr(), dtype, error)
        })
    }

    /// Like [`export`](Trainer::export), without waiting.
    pub fn export_async(&mut self, directory: impl AsRef<Path>, dtype: Option<Dtype>) -> Result<Pending<()>> {
        let (trainer, dtype) = (self.handle.raw(), export_dtype(dtype)?);
        let directory = c_path("directory", directory.as_ref())?;
        Pending::start(|out, error| unsafe {
            let dtype = dtype.map_or(std::ptr::null(), |name| name.as_ptr());
            sys::tessera_checkpoint_export_async(trainer, directory.as_ptr(), dtype, out, error)
        })
    }

    fn checkpoint<'a>(
        &mut self,
        directory: impl AsRef<Path>,
        data: impl Into<Option<&'a mut Dataset>>,
    ) -> Result<(sys::tessera_trainer, std::ffi::CString, sys::tessera_dataset)> {
        let directory = c_path("directory", directory.as_ref())?;
        let data = data.into();
        Ok((
            self.handle.raw(),
            directory,
            optional(data.as_ref().map(|data| &data.handle)),
        ))
    }
}

fn tensor(
    call: impl FnOnce(*mut sys::tessera_tensor, *mut sys::tessera_error) -> sys::tessera_status,
) -> Result<Tensor> {
    Ok(Tensor {
        handle: Owned::create(call)?,
    })
}

fn export_dtype(dtype: Option<Dtype>) -> Result<Option<&'static std::ffi::CStr>> {
    match dtype {
        None => Ok(None),
        Some(Dtype::F32) => Ok(Some(c"fp32")),
        Some(Dtype::Bf16) => Ok(Some(c"bf16")),
        Some(Dtype::F16) => Ok(Some(c"fp16")),
        Some(other) => Err(Error::new(
            Code::Argument,
            format!("dtype={other:?} is not one of F32, Bf16, F16"),
        )),
    }
}

/// The metrics of the steps over a dataset, see [`Trainer::steps`]. Ends after the first error too.
#[derive(Debug)]
pub struct Steps<'a> {
    trainer: &'a mut Trainer,
    data: &'a mut Dataset,
    failed: bool,
}

impl Steps<'_> {
    fn step(&mut self) -> Result<Option<Metrics>> {
        let last = self.trainer.last_step;
        if last > 0 && self.trainer.step_count()? >= last {
            return Ok(None);
        }
        let Some(batch) = self.data.next_batch()? else {
            return Ok(None);
        };
        self.trainer.step(&batch).map(Some)
    }
}

impl Iterator for Steps<'_> {
    type Item = Result<Metrics>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let metrics = self.step().transpose();
        self.failed = matches!(metrics, Some(Err(_)));
        metrics
    }
}

/// How [`Trainer::generate`] chooses tokens: always the likeliest, up to 64, unless set otherwise.
#[derive(Debug, Clone, Copy)]
pub struct GenerateOptions {
    raw: sys::tessera_generate_options,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl GenerateOptions {
    /// The defaults.
    pub fn new() -> Self {
        let mut raw = sys::tessera_generate_options::default();
        // SAFETY: `raw` has the size that is passed; with it the call cannot fail.
        let _ = unsafe { sys::tessera_generate_options_init(&mut raw, std::mem::size_of_val(&raw)) };
        GenerateOptions { raw }
    }

    /// Tokens at most; 0 means 64.
    pub fn max_new_tokens(mut self, tokens: i64) -> Self {
        self.raw.max_new_tokens = tokens;
        self
    }

    /// 0: always the likeliest token.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.raw.temperature = temperature;
        self
    }

    /// Samples from the likeliest so many; 0: all.
    pub fn top_k(mut self, tokens: i64) -> Self {
        self.raw.top_k = tokens;
        self
    }

    /// Samples from the likeliest that hold this probability; 0: all.
    pub fn top_p(mut self, probability: f64) -> Self {
        self.raw.top_p = probability;
        self
    }

    /// The seed of sampling.
    pub fn seed(mut self, seed: i64) -> Self {
        self.raw.seed = seed;
        self
    }
}
