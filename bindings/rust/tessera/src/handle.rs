//! How every call goes through the C ABI: owned handles, statuses as results, text and arrays out.

use std::ffi::{c_char, CString};
use std::path::Path;
use std::sync::OnceLock;

use crate::error::{Code, Error, Result};
use crate::sys;

/// A handle of the C ABI. `{0}` is the null handle.
pub(crate) trait Raw: Copy + Default {
    fn destroy(self);
    fn id(self) -> u64;
}

macro_rules! raw {
    ($($handle:ident $destroy:ident,)*) => {$(
        impl Raw for sys::$handle {
            fn destroy(self) {
                // SAFETY: any handle is accepted, on any thread; the call never blocks. A status other than OK means
                // that there was nothing to destroy.
                let _ = unsafe { sys::$destroy(self) };
            }

            fn id(self) -> u64 {
                self.id
            }
        }
    )*};
}

raw! {
    tessera_config tessera_config_destroy,
    tessera_world tessera_world_destroy,
    tessera_mesh tessera_mesh_destroy,
    tessera_tensor tessera_tensor_destroy,
    tessera_model tessera_model_destroy,
    tessera_batch tessera_batch_destroy,
    tessera_dataset tessera_dataset_destroy,
    tessera_trainer tessera_trainer_destroy,
    tessera_future tessera_future_destroy,
    tessera_events tessera_events_destroy,
    tessera_tokenizer tessera_tokenizer_destroy,
}

/// A handle that is destroyed with its owner. It is a number, so it may go to any thread; what may be called at the
/// same time is said by `&self` and `&mut self` of the public types.
pub(crate) struct Owned<R: Raw>(R);

impl<R: Raw> Owned<R> {
    /// Makes an object, after a look at the ABI of the running library.
    pub(crate) fn create(
        call: impl FnOnce(*mut R, *mut sys::tessera_error) -> sys::tessera_status,
    ) -> Result<Self> {
        check_abi()?;
        let mut raw = R::default();
        check(|error| call(&mut raw, error))?;
        Ok(Owned(raw))
    }

    /// Takes over a handle that the library has just given out.
    pub(crate) fn from_raw(raw: R) -> Self {
        Owned(raw)
    }

    pub(crate) fn raw(&self) -> R {
        self.0
    }
}

impl<R: Raw> Drop for Owned<R> {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

impl<R: Raw> std::fmt::Debug for Owned<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0.id())
    }
}

/// The handle of an optional argument: `{0}` for `None`.
pub(crate) fn optional<R: Raw>(handle: Option<&Owned<R>>) -> R {
    handle.map_or_else(R::default, Owned::raw)
}

/// Compares the ABI of the running library with that of this crate, once.
pub(crate) fn check_abi() -> Result<()> {
    static CHECKED: OnceLock<std::result::Result<(), sys::AbiMismatch>> = OnceLock::new();
    match CHECKED.get_or_init(sys::check_abi) {
        Ok(()) => Ok(()),
        Err(mismatch) => Err(Error::new(Code::Unsupported, mismatch.to_string())),
    }
}

/// Runs one call with an error of its own.
pub(crate) fn check(call: impl FnOnce(*mut sys::tessera_error) -> sys::tessera_status) -> Result<()> {
    let mut error = std::mem::MaybeUninit::<sys::tessera_error>::zeroed();
    let status = call(error.as_mut_ptr());
    if status == sys::TESSERA_OK as i32 {
        return Ok(());
    }
    // SAFETY: all bytes were set to zero, which is a valid error, before the library filled it.
    Err(Error::from_raw(status, unsafe { error.assume_init_ref() }))
}

/// Runs one call that has one plain output.
pub(crate) fn value<T: Default>(
    call: impl FnOnce(*mut T, *mut sys::tessera_error) -> sys::tessera_status,
) -> Result<T> {
    let mut out = T::default();
    check(|error| call(&mut out, error))?;
    Ok(out)
}

/// Reads an array whose length the library knows: again with the length it asked for when the first guess was short.
pub(crate) fn array<T: Clone + Default>(
    guess: usize,
    mut call: impl FnMut(*mut T, usize, *mut usize, *mut sys::tessera_error) -> sys::tessera_status,
) -> Result<Vec<T>> {
    let mut buffer = vec![T::default(); guess];
    loop {
        let mut length = 0;
        match check(|error| call(buffer.as_mut_ptr(), buffer.len(), &mut length, error)) {
            Ok(()) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // Text needs a byte more than its length, for the NUL.
            Err(error) if error.code() == Code::Buffer && length >= buffer.len() => {
                buffer.resize(length + 1, T::default());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads text.
pub(crate) fn text(
    mut call: impl FnMut(*mut c_char, usize, *mut usize, *mut sys::tessera_error) -> sys::tessera_status,
) -> Result<String> {
    let bytes = array::<u8>(512, |buffer, cap, length, error| {
        call(buffer.cast(), cap, length, error)
    })?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Text that goes in. A NUL inside cannot be passed.
pub(crate) fn c_text(name: &str, text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Code::Argument, format!("{name} contains a NUL byte")))
}

/// A path that goes in.
pub(crate) fn c_path(name: &str, path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    c_text(name, path.as_os_str().as_bytes())
}

/// The text of a `char name[N]` field.
pub(crate) fn field(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A count or length as C has it. Memory never holds more than `i64::MAX` elements.
pub(crate) fn length(count: usize) -> i64 {
    count as i64
}

/// Nanoseconds as C has them; `None` waits for ever.
pub(crate) fn nanoseconds(timeout: Option<std::time::Duration>) -> i64 {
    timeout.map_or(i64::from(sys::TESSERA_FOREVER), |t| {
        i64::try_from(t.as_nanos()).unwrap_or(i64::MAX)
    })
}
