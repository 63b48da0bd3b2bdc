//! How much the library says on stderr, or to an [`Events`] queue instead. Holds for the whole process.

use crate::error::Result;
use crate::events::Events;
use crate::handle::{check, optional, value};
use crate::sys;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Everything.
    Trace,
    /// For those who look for a defect.
    Debug,
    /// What happens.
    Info,
    /// What should not be; the default of the library.
    Warning,
    /// What failed.
    Error,
    /// Nothing.
    Off,
}

impl Level {
    pub(crate) fn from_raw(level: i32) -> Self {
        match level {
            i32::MIN..=0 => Level::Trace,
            1 => Level::Debug,
            2 => Level::Info,
            3 => Level::Warning,
            4 => Level::Error,
            _ => Level::Off,
        }
    }
}

/// Lines below `level` are not written.
pub fn set_level(level: Level) -> Result<()> {
    check(|error| unsafe { sys::tessera_log_set_level(level as i32, error) })
}

/// The present level.
pub fn level() -> Result<Level> {
    value(|out, error| unsafe { sys::tessera_log_get_level(out, error) }).map(Level::from_raw)
}

/// Sends lines to a queue; `None`, or the end of the queue, goes back to stderr.
pub fn set_events(events: Option<&Events>) -> Result<()> {
    check(|error| unsafe { sys::tessera_log_set_events(optional(events.map(|e| &e.handle)), error) })
}
