//! What every extern "C" function of this library shares: owned byte strings, error reports, and the guard that keeps
//! a panic from crossing into C++.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

/// Status codes of the C functions; impl/data/text_ffi.h has the same list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    Argument = 1,
    Format = 2,
    Limit = 3,
    Internal = 4,
}

#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

pub type Outcome<T> = Result<T, Failure>;

pub fn fail<T>(status: Status, message: impl Into<String>) -> Outcome<T> {
    Err(Failure { status, message: message.into() })
}

/// Bytes owned by this library; `ttx_bytes_free` gives them back.
#[repr(C)]
pub struct Bytes {
    pub data: *mut u8,
    pub len: usize,
}

impl Bytes {
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let boxed = bytes.into_boxed_slice();
        let len = boxed.len();
        Bytes { data: Box::into_raw(boxed) as *mut u8, len }
    }
}

/// # Safety
/// `bytes` is one that this library returned and that was not freed before.
#[no_mangle]
pub unsafe extern "C" fn ttx_bytes_free(bytes: Bytes) {
    if !bytes.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(bytes.data, bytes.len)));
    }
}

/// # Safety
/// `data` points at `len` readable bytes, or `len` is 0.
pub unsafe fn bytes_in<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, len)
    }
}

/// # Safety
/// As `bytes_in`.
pub unsafe fn text_in<'a>(data: *const u8, len: usize, what: &str) -> Outcome<&'a str> {
    let bytes = bytes_in(data, len);
    std::str::from_utf8(bytes).or_else(|error| {
        let at = error.valid_up_to();
        fail(Status::Format, format!("{what} is not utf-8: byte 0x{:02x} at offset {at}", bytes[at]))
    })
}

/// Runs `body`; a failure or a panic becomes a status and a message in `error`.
pub fn guard(error: *mut Bytes, body: impl FnOnce() -> Outcome<()>) -> i32 {
    // The default hook writes each panic to stderr; this copy of the standard library is private to the library.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok as i32,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("unknown panic");
            Failure { status: Status::Internal, message: one_line(text) }
        }
    };
    if !error.is_null() {
        unsafe { *error = Bytes::from_vec(failure.message.into_bytes()) };
    }
    failure.status as i32
}

/// The library's messages are one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
