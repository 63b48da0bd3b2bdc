//! Where batches come from: files, or documents that the host pushes.

use crate::batch::{labels_of, Batch};
use crate::config::Config;
use crate::error::{Code, Result};
use crate::handle::{array, c_text, check, length, optional, text, value, Owned};
use crate::mesh::Mesh;
use crate::model::Model;
use crate::sys;

/// A source of batches. The same documents come in the same order on every mesh.
///
/// It is an iterator of this rank's batches, and [`next_batch`](Dataset::next_batch) reads well in a `while let`:
///
/// ```no_run
/// # fn example(trainer: &mut tessera::Trainer, data: &mut tessera::Dataset) -> tessera::Result<()> {
/// while let Some(batch) = data.next_batch()? {
///     println!("{}", trainer.step(&batch)?.loss);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Dataset {
    pub(crate) handle: Owned<sys::tessera_dataset>,
}

impl Dataset {
    /// Opens the files of the keys `data.*` and `train.{seed,micro_batch,global_batch}`. The mesh says which part of each
    /// step this rank reads (`None`: all), the model gives the tokenizer when no key does, and bounds token ids.
    pub fn open<'a>(
        config: &Config,
        mesh: impl Into<Option<&'a Mesh>>,
        model: impl Into<Option<&'a Model>>,
    ) -> Result<Self> {
        let (mesh, model) = (
            optional(mesh.into().map(|m| &m.handle)),
            optional(model.into().map(|m| &m.handle)),
        );
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_dataset_open(config.handle.raw(), mesh, model, out, error)
        })?;
        Ok(Dataset { handle })
    }

    /// A dataset without files: documents are [pushed](Dataset::push), then [ended](Dataset::push_end), then used like those
    /// of a file. Every rank pushes the same documents in the same order. For data that does not fit into memory push
    /// micro-batches into a [`Batch`] instead.
    pub fn pushed<'a>(
        config: &Config,
        mesh: impl Into<Option<&'a Mesh>>,
        model: impl Into<Option<&'a Model>>,
    ) -> Result<Self> {
        let (mesh, model) = (
            optional(mesh.into().map(|m| &m.handle)),
            optional(model.into().map(|m| &m.handle)),
        );
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_dataset_create(config.handle.raw(), mesh, model, out, error)
        })?;
        Ok(Dataset { handle })
    }

    /// Appends one document; labels as in [`Batch::push`].
    pub fn push(&mut self, tokens: &[i64], labels: Option<&[i64]>) -> Result<()> {
        let labels = labels_of(tokens, labels)?;
        check(|error| unsafe {
            sys::tessera_dataset_push(
                self.handle.raw(),
                tokens.as_ptr(),
                labels,
                length(tokens.len()),
                error,
            )
        })
    }

    /// Says that no more documents will be pushed; batches can be taken from here on.
    pub fn push_end(&mut self) -> Result<()> {
        check(|error| unsafe { sys::tessera_dataset_push_end(self.handle.raw(), error) })
    }

    /// This rank's share of the next step; `None` when the data is used up.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let made =
            Owned::create(|out, error| unsafe { sys::tessera_dataset_next(self.handle.raw(), out, error) });
        match made {
            Ok(handle) => Ok(Some(Batch { handle })),
            Err(error) if error.code() == Code::End => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The position in the data, as text for [`set_state`](Dataset::set_state).
    pub fn state(&mut self) -> Result<String> {
        text(|buffer, cap, length, error| unsafe {
            sys::tessera_dataset_get_state(self.handle.raw(), buffer, cap, length, error)
        })
    }

    /// Goes to a position that [`state`](Dataset::state) returned, on this or another mesh.
    pub fn set_state(&mut self, state: &str) -> Result<()> {
        let state = c_text("state", state)?;
        check(|error| unsafe { sys::tessera_dataset_set_state(self.handle.raw(), state.as_ptr(), error) })
    }

    /// The rows of an Arrow record batch, which are all added or, when one is bad, none.
    ///
    /// # Safety
    /// The addresses are those of an initialised `ArrowSchema` and `ArrowArray` of the Arrow C data interface. Both are
    /// released, so they must not be used or released afterwards.
    pub unsafe fn push_arrow(
        &mut self,
        schema: *mut std::ffi::c_void,
        array: *mut std::ffi::c_void,
    ) -> Result<()> {
        check(|error| unsafe { sys::tessera_dataset_push_arrow(self.handle.raw(), schema, array, error) })
    }

    /// Steps in one pass over the data; `None` when that is not known.
    pub fn steps_per_epoch(&mut self) -> Result<Option<u64>> {
        let steps: i64 =
            value(|out, error| unsafe { sys::tessera_dataset_count_steps(self.handle.raw(), out, error) })?;
        Ok(u64::try_from(steps).ok())
    }

    /// What the dataset holds over all ranks, as JSON.
    pub fn report(&mut self) -> Result<String> {
        text(|buffer, cap, length, error| unsafe {
            sys::tessera_dataset_get_report(self.handle.raw(), buffer, cap, length, error)
        })
    }

    /// Tokens of each document, in the order of the data.
    pub fn lengths(&mut self) -> Result<Vec<i64>> {
        array(1024, |buffer, cap, length, error| unsafe {
            sys::tessera_dataset_get_lengths(self.handle.raw(), buffer, cap, length, error)
        })
    }
}

impl Iterator for Dataset {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
