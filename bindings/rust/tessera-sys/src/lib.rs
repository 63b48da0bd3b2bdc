//! The C ABI of Tessera, declared for Rust: what `tessera/tessera.h` says, word for word. Use the crate `tessera`
//! unless you need a function in its raw form.
//!
//! `build.rs` finds the library (see the README) and refuses a version whose ABI differs from this crate's;
//! [`check_abi`] does the same for the library that the program runs with.

#![allow(non_camel_case_types)]
#![allow(clippy::doc_markdown)]

#[rustfmt::skip]
mod bindings;
pub use bindings::*;

/// The running library has another ABI than the headers of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbiMismatch {
    /// The number of the running library.
    pub library: i32,
    /// The version text of the running library, such as "0.1.0".
    pub version: String,
}

impl std::fmt::Display for AbiMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "libtessera {} has ABI {}, but this program was built for ABI {}",
            self.version, self.library, TESSERA_ABI_VERSION
        )
    }
}

impl std::error::Error for AbiMismatch {}

/// Compares the ABI of the running library with that of the headers this crate was generated from.
pub fn check_abi() -> Result<(), AbiMismatch> {
    // SAFETY: both functions take nothing, and the text is static.
    let (library, version) = unsafe {
        (
            tessera_abi_version(),
            std::ffi::CStr::from_ptr(tessera_version_string()),
        )
    };
    if library == TESSERA_ABI_VERSION {
        return Ok(());
    }
    Err(AbiMismatch {
        library,
        version: version.to_string_lossy().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_library_has_the_abi_of_the_headers() {
        assert_eq!(check_abi(), Ok(()));
    }

    #[test]
    fn a_mismatch_names_both_numbers() {
        let text = AbiMismatch {
            library: 7,
            version: "0.9.0".into(),
        }
        .to_string();
        assert_eq!(
            text,
            "libtessera 0.9.0 has ABI 7, but this program was built for ABI 1"
        );
    }

    #[test]
    fn the_error_struct_has_the_frozen_size() {
        assert_eq!(std::mem::size_of::<tessera_error>(), 256);
    }
}
