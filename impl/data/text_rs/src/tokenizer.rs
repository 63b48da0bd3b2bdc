//! The Hugging Face tokenizers crate behind C functions: open, encode, decode and look up.

use crate::ffi::{bytes_in, fail, guard, one_line, text_in, Bytes, Outcome, Status};
use serde_json::{json, Value};
use std::collections::HashSet;
use tokenizers::{AddedToken, Tokenizer};

pub struct TextTokenizer(Tokenizer);

/// Token ids of one text, and for each the byte range it stands for; `ttx_encoding_free` gives it back.
#[repr(C)]
pub struct TextEncoding {
    pub ids: *mut u32,
    /// begin and end of each token, interleaved; null when not asked for.
    pub offsets: *mut u64,
    pub len: usize,
}

/// Settings of a tokenizer.json that would change what training sees are switched off, as transformers does when it
/// encodes: truncation and padding to a length, and random BPE dropout. Offsets keep the blanks of a token, so that
/// every byte of the text belongs to a token.
fn normalise_document(document: &mut Value) {
    if let Some(map) = document.as_object_mut() {
        map.insert("truncation".into(), Value::Null);
        map.insert("padding".into(), Value::Null);
    }
    if let Some(model) = document.get_mut("model").and_then(Value::as_object_mut) {
        if model.contains_key("dropout") {
            model.insert("dropout".into(), Value::Null);
        }
    }
    if let Some(processor) = document.get_mut("post_processor") {
        keep_blanks(processor, 0);
    }
}

fn keep_blanks(processor: &mut Value, depth: usize) {
    let Some(map) = processor.as_object_mut() else { return };
    if map.contains_key("trim_offsets") {
        map.insert("trim_offsets".into(), json!(false));
    }
    if let Some(inner) = map.get_mut("processors").and_then(Value::as_array_mut) {
        if depth < 16 {
            inner.iter_mut().for_each(|p| keep_blanks(p, depth + 1));
        }
    }
}

/// The little-endian word that a base64 text begins with.
fn first_word(text: &str) -> Option<u32> {
    let mut bits = 0u64;
    for byte in text.bytes().take(6) {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u64::from(digit);
    }
    Some(((bits >> 4) as u32).swap_bytes())
}

/// A precompiled normaliser begins with the size of its trie, and the crate makes room for that before it looks how much
/// there is: memory that cannot be had would end the process.
fn check_charsmaps(normalizer: &Value, depth: usize) -> Outcome<()> {
    if let Some(text) = normalizer.get("precompiled_charsmap").and_then(Value::as_str) {
        if first_word(text).is_some_and(|size| u64::from(size) > text.len() as u64) {
            return fail(Status::Format, "precompiled_charsmap is shorter than its trie");
        }
    }
    if let Some(inner) = normalizer.get("normalizers").and_then(Value::as_array) {
        if depth < 128 {
            inner.iter().try_for_each(|n| check_charsmaps(n, depth + 1))?;
        }
    }
    Ok(())
}

/// The longest added token in bytes. The automaton that looks for them takes time with the square of their length: a token
/// of a megabyte would keep its reader for hours.
const LONGEST_ADDED: usize = 512;

fn check_added(content: &str) -> Outcome<()> {
    if content.len() <= LONGEST_ADDED {
        return Ok(());
    }
    let start: String = content.chars().take(32).collect();
    fail(
        Status::Format,
        format!("the added token {start:?}... has {} bytes, the most are {LONGEST_ADDED}", content.len()),
    )
}

/// Adds the tokens that the vocabulary does not mark as added yet: those keep their flags, which adding would reset. Tokens
/// of a kind go in together, since each call builds the automaton anew.
fn add_unknown(tokenizer: &mut Tokenizer, tokens: Vec<AddedToken>) {
    let mut seen: HashSet<String> =
        tokenizer.get_added_vocabulary().get_vocab().keys().cloned().collect();
    let unknown: Vec<AddedToken> = tokens.into_iter().filter(|token| seen.insert(token.content.clone())).collect();
    for run in unknown.chunk_by(|a, b| a.special == b.special) {
        if run[0].special {
            tokenizer.add_special_tokens(run);
        } else {
            tokenizer.add_tokens(run);
        }
    }
}

/// Reads the `added` list: objects with `content` and optionally `special`, `lstrip`, `rstrip`, `single_word`,
/// `normalized`.
fn added_tokens(text: &str) -> Outcome<Vec<AddedToken>> {
    let list: Vec<Value> = match serde_json::from_str(text) {
        Ok(list) => list,
        Err(error) => return fail(Status::Format, format!("added tokens: {error}")),
    };
    let mut tokens = Vec::new();
    for entry in &list {
        let Some(content) = entry.get("content").and_then(Value::as_str) else {
            return fail(Status::Format, "added tokens: an entry has no content");
        };
        if content.is_empty() {
            continue;
        }
        check_added(content)?;
        let flag = |name: &str, default: bool| entry.get(name).and_then(Value::as_bool).unwrap_or(default);
        let special = flag("special", false);
        tokens.push(
            AddedToken::from(content, special)
                .single_word(flag("single_word", false))
                .lstrip(flag("lstrip", false))
                .rstrip(flag("rstrip", false))
                .normalized(flag("normalized", !special)),
        );
    }
    Ok(tokens)
}

/// The TemplateProcessing that transformers puts in place when add_bos_token or add_eos_token is given.
fn bos_eos_processor(tokenizer: &Tokenizer, bos: &str, eos: &str) -> Outcome<Value> {
    let mut single = Vec::new();
    let mut special = serde_json::Map::new();
    let mut piece = |token: &str, single: &mut Vec<Value>| -> Outcome<()> {
        let Some(id) = tokenizer.token_to_id(token) else {
            return fail(Status::Format, format!("special token '{}' is not in the vocabulary", one_line(token)));
        };
        special.insert(token.into(), json!({"id": token, "ids": [id], "tokens": [token]}));
        single.push(json!({"SpecialToken": {"id": token, "type_id": 0}}));
        Ok(())
    };
    if !bos.is_empty() {
        piece(bos, &mut single)?;
    }
    single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
    if !eos.is_empty() {
        piece(eos, &mut single)?;
    }
    let pair = [single.clone(), vec![json!({"Sequence": {"id": "B", "type_id": 1}})]].concat();
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}))
}

fn open(json_text: &str, added: &str, bos_eos: Option<(&str, &str)>) -> Outcome<TextTokenizer> {
    let bad = |error: &dyn std::fmt::Display| fail(Status::Format, one_line(&error.to_string()));
    let mut document: Value = match serde_json::from_str(json_text) {
        Ok(document) => document,
        Err(error) => return bad(&error),
    };
    if !document.is_object() {
        return fail(Status::Format, "not a json object");
    }
    normalise_document(&mut document);
    if let Some(normalizer) = document.get("normalizer") {
        check_charsmaps(normalizer, 0)?;
    }
    for token in document.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        token.get("content").and_then(Value::as_str).map_or(Ok(()), check_added)?;
    }
    let missing_processor = document.get("post_processor").is_none_or(Value::is_null);
    let mut tokenizer: Tokenizer = match serde_json::from_value(document) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return bad(&error),
    };
    add_unknown(&mut tokenizer, added_tokens(added)?);
    if let Some((bos, eos)) = bos_eos.or(if missing_processor { Some(("", "")) } else { None }) {
        let processor = bos_eos_processor(&tokenizer, bos, eos)?;
        match serde_json::from_value::<tokenizers::PostProcessorWrapper>(processor) {
            Ok(processor) => tokenizer.with_post_processor(Some(processor)),
            Err(error) => return bad(&error),
        };
    }
    Ok(TextTokenizer(tokenizer))
}

/// `added`: JSON list of added tokens. `set_bos_eos`: put `bos` before and `eos` after each encoded text in place of
/// what the file says; an empty one is left out.
///
/// # Safety
/// The pointers are readable for their lengths; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn ttx_tokenizer_open(
    json_data: *const u8, json_len: usize,
    added_data: *const u8, added_len: usize,
    set_bos_eos: bool,
    bos_data: *const u8, bos_len: usize,
    eos_data: *const u8, eos_len: usize,
    out: *mut *mut TextTokenizer,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let json_text = text_in(json_data, json_len, "tokenizer.json")?;
        let added = text_in(added_data, added_len, "added tokens")?;
        let bos = text_in(bos_data, bos_len, "bos_token")?;
        let eos = text_in(eos_data, eos_len, "eos_token")?;
        let tokenizer = open(json_text, added, set_bos_eos.then_some((bos, eos)))?;
        *out = Box::into_raw(Box::new(tokenizer));
        Ok(())
    })
}

/// # Safety
/// `tokenizer` came from `ttx_tokenizer_open` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn ttx_tokenizer_free(tokenizer: *mut TextTokenizer) {
    if !tokenizer.is_null() {
        let owned = Box::from_raw(tokenizer);
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(owned)));
    }
}

/// # Safety
/// As `ttx_tokenizer_open`.
#[no_mangle]
pub unsafe extern "C" fn ttx_tokenizer_encode(
    tokenizer: *const TextTokenizer,
    data: *const u8, len: usize,
    add_special: bool,
    with_offsets: bool,
    out: *mut TextEncoding,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let text = text_in(data, len, "text")?;
        let tokenizer = &(*tokenizer).0;
        let result =
            if with_offsets { tokenizer.encode(text, add_special) } else { tokenizer.encode_fast(text, add_special) };
        let encoding = match result {
            Ok(encoding) => encoding,
            Err(error) => return fail(Status::Format, one_line(&error.to_string())),
        };
        let ids: Box<[u32]> = encoding.get_ids().into();
        let mut offsets = std::ptr::null_mut();
        if with_offsets {
            let flat: Box<[u64]> = encoding.get_offsets().iter().flat_map(|&(b, e)| [b as u64, e as u64]).collect();
            offsets = Box::into_raw(flat) as *mut u64;
        }
        let len = ids.len();
        *out = TextEncoding { ids: Box::into_raw(ids) as *mut u32, offsets, len };
        Ok(())
    })
}

/// # Safety
/// `encoding` is one that `ttx_tokenizer_encode` filled and that was not freed before.
#[no_mangle]
pub unsafe extern "C" fn ttx_encoding_free(encoding: TextEncoding) {
    if !encoding.ids.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(encoding.ids, encoding.len)));
    }
    if !encoding.offsets.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(encoding.offsets, 2 * encoding.len)));
    }
}

/// # Safety
/// As `ttx_tokenizer_open`; `ids` points at `len` ids.
#[no_mangle]
pub unsafe extern "C" fn ttx_tokenizer_decode(
    tokenizer: *const TextTokenizer,
    ids: *const u32, len: usize,
    skip_special: bool,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let ids = if len == 0 { &[] } else { std::slice::from_raw_parts(ids, len) };
        match (*tokenizer).0.decode(ids, skip_special) {
            Ok(text) => *out = Bytes::from_vec(text.into_bytes()),
            Err(error) => return fail(Status::Format, one_line(&error.to_string())),
        }
        Ok(())
    })
}

/// `out` is -1 when the token is not in the vocabulary.
///
/// # Safety
/// As `ttx_tokenizer_open`.
#[no_mangle]
pub unsafe extern "C" fn ttx_tokenizer_token_to_id(
    tokenizer: *const TextTokenizer,
    data: *const u8, len: usize,
    out: *mut i64,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        // A token that is not UTF-8 cannot be in the vocabulary.
        let id = std::str::from_utf8(bytes_in(data, len)).ok().and_then(|token| (*tokenizer).0.token_to_id(token));
        *out = id.map_or(-1, i64::from);
        Ok(())
    })
}

/// # Safety
/// As `ttx_tokenizer_open`.
#[no_mangle]
pub unsafe extern "C" fn ttx_tokenizer_id_to_token(
    tokenizer: *const TextTokenizer,
    id: u32,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || match (*tokenizer).0.id_to_token(id) {
        Some(token) => {
            *out = Bytes::from_vec(token.into_bytes());
            Ok(())
        }
        None => fail(Status::Argument, format!("id={id} is not in the vocabulary")),
    })
}

/// JSON: {"size": tokens with added ones, "max_id": .., "added": [{"id":, "content":, "special":}, ...] by id}.
///
/// # Safety
/// As `ttx_tokenizer_open`.
#[no_mangle]
pub unsafe extern "C" fn ttx_tokenizer_describe(
    tokenizer: *const TextTokenizer,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let tokenizer = &(*tokenizer).0;
        let vocabulary = tokenizer.get_vocab(true);
        let max_id = vocabulary.values().copied().max().map_or(-1, i64::from);
        let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
        added.sort_by_key(|(id, _)| *id);
        let added: Vec<_> = added
            .into_iter()
            .map(|(id, token)| json!({"id": id, "content": token.content, "special": token.special}))
            .collect();
        let text = json!({"size": vocabulary.len(), "max_id": max_id, "added": added}).to_string();
        *out = Bytes::from_vec(text.into_bytes());
        Ok(())
    })
}
