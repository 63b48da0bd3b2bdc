//! One rank's share of a step.

use crate::config::Config;
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
    /// `[T]` 1 for the first document, 2 for the next; 0 on padding.
    Segments,
}

/// Forms in which other programs hold packed documents: what the index of [`Batch::push_form`] says of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchForm {
    /// Tokens end to end; `[n]` the documents' lengths. The library pads.
    Lengths,
    /// Padded rows `[B, S]`; `[B]` real tokens at the start of each.
    Rows,
    /// `[T]` position ids, 0 where a document starts.
    Positions,
    /// `[T]` or `[B, S]` equal numbers on a document's tokens, 0 on padding.
    Segments,
    /// `[n+1]` or `[2, n+1]` cu_seqlens, and cu_seqlens_padded behind it.
    CuSeqlens,
}

/// What [`Batch::push_form`] may be told beside the documents.
#[derive(Debug, Clone, Copy, Default)]
pub struct FormOptions<'a> {
    /// `None`: the tokens are their own.
    pub labels: Option<&'a [i64]>,
    /// `labels[t]` is the token that should follow token t.
    pub labels_shifted: bool,
    /// Of segments: tokens of a row; of positions: tokens before the padding; 0: all.
    pub extent: i64,
    /// How documents are aligned and padded; `None`: not at all.
    pub layout: Option<&'a Config>,
}

/// Documents as rows of equal length (BSHD), each array row after row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedRows {
    /// Their number, one for each document.
    pub rows: usize,
    /// Tokens of each.
    pub row_length: usize,
    /// Token ids.
    pub tokens: Vec<i64>,
    /// In the positions of the tokens, as in transformers.
    pub labels: Vec<i64>,
    /// From 0 in each row; 0 on padding.
    pub positions: Vec<i64>,
    /// 1 on real tokens.
    pub attention_mask: Vec<i64>,
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

    /// Appends one micro-batch from another form of packed documents, which `index` tells.
    pub fn push_form(
        &mut self,
        form: BatchForm,
        tokens: &[i64],
        index: &[i64],
        options: FormOptions<'_>,
    ) -> Result<()> {
        let labels = labels_of(tokens, options.labels)?;
        let layout = match options.layout {
            Some(config) => config.handle.raw(),
            None => sys::tessera_config { id: 0 },
        };
        check(|error| unsafe {
            sys::tessera_batch_push_form(
                self.handle.raw(),
                layout,
                form as i32,
                tokens.as_ptr(),
                labels,
                length(tokens.len()),
                options.labels_shifted as i32,
                index.as_ptr(),
                length(index.len()),
                options.extent,
                error,
            )
        })
    }

    /// Micro-batch `index` as one padded row for each document; `row_length` 0: as long as the longest.
    pub fn rows(&self, index: usize, row_length: i64, pad_token: i64) -> Result<PaddedRows> {
        let rows = self.array(index, BatchArray::CuSeqlens)?.len() - 1;
        let all: Vec<i64> = array(1024, |buffer, cap, length, error| unsafe {
            let (handle, index) = (self.handle.raw(), index as i64);
            sys::tessera_batch_get_rows(handle, index, row_length, pad_token, buffer, cap, length, error)
        })?;
        let part = all.len() / 4;
        let piece = |k: usize| all[k * part..(k + 1) * part].to_vec();
        Ok(PaddedRows {
            rows,
            row_length: part / rows,
            tokens: piece(0),
            labels: piece(1),
            positions: piece(2),
            attention_mask: piece(3),
        })
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
