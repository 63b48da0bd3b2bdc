//! What can go wrong: [`Error`] with the status, the rank that failed first and one line that names the argument.

use std::ffi::CStr;
use std::fmt;

use crate::sys;

/// A result with a Tessera [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:ident,)*) => {
        /// The kind of an [`Error`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// A closure of this program panicked; only this crate makes it, the library never.
            Panic,
            /// A status that this version of the crate does not know.
            Unknown(i32),
        }

        impl Code {
            pub(crate) fn from_status(status: sys::tessera_status) -> Self {
                $(if status == sys::$value as i32 { return Code::$name; })*
                Code::Unknown(status)
            }

            /// The name in the C interface, such as "E_PEER_FAILED"; "E_UNKNOWN" when it has none.
            pub fn name(self) -> &'static str {
                let status = match self {
                    $(Code::$name => sys::$value as i32,)*
                    Code::Panic => return "E_PANIC",
                    Code::Unknown(status) => status,
                };
                // SAFETY: static ASCII text for every number.
                unsafe { CStr::from_ptr(sys::tessera_status_name(status)) }.to_str().unwrap_or("E_UNKNOWN")
            }

            /// One line in plain words, such as "a value that the call cannot accept".
            pub fn describe(self) -> &'static str {
                let status = match self {
                    $(Code::$name => sys::$value as i32,)*
                    Code::Panic => return "a closure of this program panicked",
                    Code::Unknown(status) => status,
                };
                // SAFETY: static ASCII text for every number.
                unsafe { CStr::from_ptr(sys::tessera_status_string(status)) }.to_str().unwrap_or("unknown")
            }
        }
    };
}

codes! {
    /// A value that the call cannot accept.
    Argument = TESSERA_E_ARGUMENT,
    /// A null handle; does not happen through this crate.
    HandleNull = TESSERA_E_HANDLE_NULL,
    /// A handle that was destroyed, such as a closed [`Events`](crate::Events).
    HandleStale = TESSERA_E_HANDLE_STALE,
    /// A handle of another kind; does not happen through this crate.
    HandleType = TESSERA_E_HANDLE_TYPE,
    /// A buffer that is too small.
    Buffer = TESSERA_E_BUFFER,
    /// Another call on the same object is still running, such as one behind a [`Pending`](crate::Pending).
    Busy = TESSERA_E_BUSY,
    /// The time to wait is over.
    Timeout = TESSERA_E_TIMEOUT,
    /// The work was cancelled before it began.
    Cancelled = TESSERA_E_CANCELLED,
    /// Another rank died, left or failed; [`Error::rank`] says which.
    PeerFailed = TESSERA_E_PEER_FAILED,
    /// The ranks called different collectives.
    CollectiveMismatch = TESSERA_E_COLLECTIVE_MISMATCH,
    /// Reading or writing failed.
    Io = TESSERA_E_IO,
    /// A file or text that breaks its format.
    Format = TESSERA_E_FORMAT,
    /// No such key, file or parameter.
    NotFound = TESSERA_E_NOT_FOUND,
    /// Something that this build or version cannot do.
    Unsupported = TESSERA_E_UNSUPPORTED,
    /// Not enough memory.
    OutOfMemory = TESSERA_E_OUT_OF_MEMORY,
    /// NaN or infinity where a finite number is needed.
    Numeric = TESSERA_E_NUMERIC,
    /// No more data.
    End = TESSERA_E_END,
    /// The object is not in a state that allows the call.
    State = TESSERA_E_STATE,
    /// The object was made before `fork()`.
    Forked = TESSERA_E_FORKED,
    /// The device failed.
    Device = TESSERA_E_DEVICE,
    /// A defect of the library.
    Internal = TESSERA_E_INTERNAL,
}

/// Where [`Error::native_code`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Domain {
    /// No code.
    None,
    /// `errno` of the operating system.
    Os,
    /// A `cudaError_t`.
    Cuda,
    /// An `ncclResult_t`.
    Nccl,
    /// LibTorch; no code.
    Torch,
}

/// An error of the library, produced by the very call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    domain: Domain,
    native_code: i32,
    rank: Option<u32>,
    message: String,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Error {
            code,
            domain: Domain::None,
            native_code: 0,
            rank: None,
            message: message.into(),
        }
    }

    pub(crate) fn at_rank(mut self, rank: u32) -> Self {
        self.rank = Some(rank);
        self
    }

    pub(crate) fn from_raw(status: sys::tessera_status, raw: &sys::tessera_error) -> Self {
        // SAFETY: the library ends the message with a NUL inside the array; a zeroed one is empty.
        let text = unsafe { CStr::from_ptr(raw.message.as_ptr()) };
        let domain = match raw.domain as u32 {
            sys::TESSERA_DOMAIN_OS => Domain::Os,
            sys::TESSERA_DOMAIN_CUDA => Domain::Cuda,
            sys::TESSERA_DOMAIN_NCCL => Domain::Nccl,
            sys::TESSERA_DOMAIN_TORCH => Domain::Torch,
            _ => Domain::None,
        };
        Error {
            code: Code::from_status(status),
            domain,
            native_code: raw.native_code,
            rank: u32::try_from(raw.rank).ok(),
            message: text.to_string_lossy().into_owned(),
        }
    }

    /// The kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Where [`native_code`](Error::native_code) comes from.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The code of the system below, as [`domain`](Error::domain) says, else 0.
    pub fn native_code(&self) -> i32 {
        self.native_code
    }

    /// The rank that failed first; `None` when it is this one or unknown.
    pub fn rank(&self) -> Option<u32> {
        self.rank
    }

    /// One line without the kind: "tp=3 does not divide n_heads=32".
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// So that the body of a rank can read files with `?`.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let mut made = Error::new(Code::Io, error.to_string());
        if let Some(code) = error.raw_os_error() {
            (made.domain, made.native_code) = (Domain::Os, code);
        }
        made
    }
}
