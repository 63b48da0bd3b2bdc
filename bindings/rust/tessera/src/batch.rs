//! One rank's share of a step.

use crate::error::{Code, Error, Result};
use crate::handle::{array, check, length, Owned};
use crate::sys;

/// The arrays of a micro-batch of T tokens in n documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchArray {
    /// `[T]` token ids.
    Tokens,
    /// `[T]` shifted: the token that should follow; -100 is not trained on.
    Labels,
    /// `[T]` from 0 in each document.
    Positions,
    /// `[n+1]` sums of the documents' lengths.
    CuSeqlens,
    /// `[n+1]` where documents start, with padding; the last is T.
    CuSeqlensPadded,
}

/// A list of micro-batches, each of which is some documents laid end to end. Attention never crosses the border of a
/// document.
#[derive(Debug)]
pub struct Batch {
    pub(crate) handle: Owned<sys::tessera_batch>,
}

impl Batch {
    /// A batch without micro-batches.
    pub fn new() -> Result<Self> {
        let handle = Owned::create(|out, error| unsafe { sys::tessera_batch_create(out, error) })?;
        Ok(Batch { handle })
    }

    /// Appends one micro-batch.
    ///
    /// `labels` stand at the positions of the tokens, as in transformers: the library shifts them inside each document; -100
    /// is not trained on, `None` means the tokens themselves. `lengths` are those of the documents, which sum up to the
    /// number of tokens.
    pub fn push(&mut self, tokens: &[i64], labels: Option<&[i64]>, lengths: &[i64]) -> Result<()> {
        let labels = labels_of(tokens, labels)?;
        check(|error| unsafe {
            sys::tessera_batch_push(
                self.handle.raw(),
                tokens.as_ptr(),
                labels,
                length(tokens.len()),
                lengths.as_ptr(),
                length(lengths.len()),
                error,
            )
        })
    }

    /// The number of micro-batches.
    pub fn len(&self) -> Result<usize> {
        let count: i64 = crate::handle::value(|out, error| unsafe {
            sys::tessera_batch_count(self.handle.raw(), out, error)
        })?;
        Ok(count as usize)
    }

    /// Whether there are no micro-batches.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The numbers of tokens and of labels that are trained on, over all micro-batches.
    pub fn token_counts(&self) -> Result<(i64, i64)> {
        let (mut tokens, mut labels) = (0, 0);
        check(|error| unsafe {
            sys::tessera_batch_count_tokens(self.handle.raw(), &mut tokens, &mut labels, error)
        })?;
        Ok((tokens, labels))
    }

    /// Copies one array of micro-batch `index` out.
    pub fn array(&self, index: usize, which: BatchArray) -> Result<Vec<i64>> {
        array(1024, |buffer, cap, length, error| unsafe {
            let (index, which) = (index as i64, which as i32);
            sys::tessera_batch_get_array(self.handle.raw(), index, which, buffer, cap, length, error)
        })
    }
}

/// The pointer of labels that are as many as the tokens; null for none.
pub(crate) fn labels_of(tokens: &[i64], labels: Option<&[i64]>) -> Result<*const i64> {
    match labels {
        None => Ok(std::ptr::null()),
        Some(labels) if labels.len() == tokens.len() => Ok(labels.as_ptr()),
        Some(labels) => {
            let text = format!("{} labels for {} tokens", labels.len(), tokens.len());
            Err(Error::new(Code::Argument, text))
        }
    }
}
