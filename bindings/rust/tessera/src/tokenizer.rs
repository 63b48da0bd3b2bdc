//! Text to token ids and back.

use std::path::Path;

use crate::error::{Code, Result};
use crate::handle::{array, c_path, c_text, check, length, text, value, Owned};
use crate::sys;

/// A tokenizer with the ids of transformers for the same checkpoint.
#[derive(Debug)]
pub struct Tokenizer {
    handle: Owned<sys::tessera_tokenizer>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` (or a SentencePiece model) and its companions from a Hugging Face directory.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = c_path("directory", directory.as_ref())?;
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_tokenizer_open(directory.as_ptr(), out, error)
        })?;
        Ok(Tokenizer { handle })
    }

    /// The number of tokens, added ones included.
    pub fn token_count(&self) -> Result<i64> {
        value(|out, error| unsafe { sys::tessera_tokenizer_count(self.handle.raw(), out, error) })
    }

    /// Text to ids, with or without the begin and end tokens that the checkpoint asks for.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<i64>> {
        array(text.len() / 2 + 16, |buffer, cap, len, error| unsafe {
            let (tokenizer, bytes) = (self.handle.raw(), text.as_ptr().cast());
            let special = i32::from(add_special);
            sys::tessera_tokenizer_encode(tokenizer, bytes, text.len(), special, buffer, cap, len, error)
        })
    }

    /// Many texts to ids, on many threads.
    pub fn encode_batch(&self, texts: &[&str], add_special: bool) -> Result<Vec<Vec<i64>>> {
        let all = texts.concat();
        let (mut text_ends, mut end) = (Vec::with_capacity(texts.len()), 0);
        for text in texts {
            end += text.len();
            text_ends.push(length(end));
        }
        let mut id_ends = vec![0i64; texts.len()];
        let ids = array(all.len() / 2 + 16, |buffer, cap, len, error| unsafe {
            sys::tessera_tokenizer_encode_batch(
                self.handle.raw(),
                all.as_ptr().cast(),
                all.len(),
                text_ends.as_ptr(),
                length(texts.len()),
                i32::from(add_special),
                id_ends.as_mut_ptr(),
                buffer,
                cap,
                len,
                error,
            )
        })?;
        let mut begin = 0;
        let mut out = Vec::with_capacity(texts.len());
        for end in id_ends {
            let end = usize::try_from(end).unwrap_or(begin);
            out.push(ids[begin..end].to_vec());
            begin = end;
        }
        Ok(out)
    }

    /// Ids to text, with or without special tokens; ids that are no token are left out.
    pub fn decode(&self, ids: &[i64], skip_special: bool) -> Result<String> {
        text(|buffer, cap, len, error| unsafe {
            let (tokenizer, n_ids) = (self.handle.raw(), length(ids.len()));
            let skip = i32::from(skip_special);
            sys::tessera_tokenizer_decode(tokenizer, ids.as_ptr(), n_ids, skip, buffer, cap, len, error)
        })
    }

    /// A conversation as the checkpoint's chat template prints it. `conversation` is JSON: a list of messages
    /// `{"role": .., "content": ..}`, or an object with `messages` and optionally `tools` and `documents`.
    pub fn chat_text(&self, conversation: &str, add_generation_prompt: bool) -> Result<String> {
        let conversation = c_text("conversation", conversation)?;
        text(|buffer, cap, len, error| unsafe {
            let (tokenizer, prompt) = (self.handle.raw(), i32::from(add_generation_prompt));
            sys::tessera_tokenizer_get_chat_text(
                tokenizer,
                conversation.as_ptr(),
                prompt,
                buffer,
                cap,
                len,
                error,
            )
        })
    }

    /// A conversation as tokens and labels for [`Dataset::push`](crate::Dataset::push): what the assistant says is trained on.
    pub fn encode_chat(&self, conversation: &str) -> Result<(Vec<i64>, Vec<i64>)> {
        let conversation = c_text("conversation", conversation)?;
        let (mut tokens, mut labels) = (vec![0; 1024], vec![0; 1024]);
        loop {
            let mut count = 0;
            let encoded = check(|error| unsafe {
                sys::tessera_tokenizer_encode_chat(
                    self.handle.raw(),
                    conversation.as_ptr(),
                    tokens.as_mut_ptr(),
                    labels.as_mut_ptr(),
                    tokens.len(),
                    &mut count,
                    error,
                )
            });
            match encoded {
                Err(error) if error.code() == Code::Buffer && count > tokens.len() => {}
                other => {
                    other?;
                    tokens.truncate(count);
                    labels.truncate(count);
                    return Ok((tokens, labels));
                }
            }
            tokens.resize(count, 0);
            labels.resize(count, 0);
        }
    }
}
