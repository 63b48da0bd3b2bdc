//! Which library runs, and how many of its objects live.

use std::ffi::CStr;

use crate::error::Result;
use crate::handle::{text, value};
use crate::sys;

/// The version of the running library, such as "0.1.0".
pub fn version() -> &'static str {
    // SAFETY: static text.
    unsafe { CStr::from_ptr(sys::tessera_version_string()) }
        .to_str()
        .unwrap_or("unknown")
}

/// The ABI number of the running library. Every constructor of this crate refuses a library with another one than it was
/// built for.
pub fn abi_version() -> i32 {
    // SAFETY: takes nothing.
    unsafe { sys::tessera_abi_version() }
}

/// What the library was built with and runs on, one "name: value" a line.
pub fn build_info() -> Result<String> {
    text(|buffer, cap, length, error| unsafe { sys::tessera_build_info(buffer, cap, length, error) })
}

/// The kinds of objects that [`live_objects`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the type of its name
pub enum Kind {
    /// All kinds.
    Any = 0,
    Config = 1,
    World = 2,
    Mesh = 3,
    Tensor = 4,
    Model = 5,
    Batch = 6,
    Dataset = 7,
    Trainer = 8,
    /// A [`Pending`](crate::Pending).
    Future = 9,
    Events = 10,
    Tokenizer = 11,
}

/// The number of live objects of a kind in this process, to find leaks.
pub fn live_objects(kind: Kind) -> Result<i64> {
    value(|out, error| unsafe { sys::tessera_handle_count(kind as i32, out, error) })
}
