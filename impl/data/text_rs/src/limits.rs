//! What one rendering may use. A chat template comes with a checkpoint, so it is input like any other: one that loops
//! for ever or doubles a string until memory is gone must end as an error.
//!
//! The counters belong to the rendering in progress on this thread; `start` sets them.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Steps of the template machine for a rendering, besides those its input earns.
pub const BASE_FUEL: u64 = 2_000_000;
/// Nesting of values and of macro calls.
pub const MAX_DEPTH: usize = 128;
pub const RECURSION: usize = 120;
const BASE_BYTES: usize = 4 << 20;
const MAX_ITEMS: usize = 1 << 20;
/// The steps bound the count of operations, not the cost of each; this bounds their sum.
const LONGEST: Duration = Duration::from_secs(30);

thread_local! {
    /// Bytes a single value may have.
    static VALUE_BYTES: Cell<usize> = const { Cell::new(BASE_BYTES) };
    /// Bytes that may still be printed, into the output or into captured blocks.
    static PRINT_BYTES: Cell<usize> = const { Cell::new(0) };
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// For an input of `bytes`: a template may repeat all of it some times over, and no more.
pub fn start(bytes: usize) {
    VALUE_BYTES.set(BASE_BYTES.saturating_add(bytes.saturating_mul(4)));
    PRINT_BYTES.set(output_limit(bytes).saturating_mul(2));
    DEADLINE.set(Some(Instant::now() + LONGEST));
}

pub fn output_limit(bytes: usize) -> usize {
    (BASE_BYTES * 4).saturating_add(bytes.saturating_mul(16))
}

pub fn fuel(bytes: usize) -> u64 {
    BASE_FUEL.saturating_add((bytes as u64).saturating_mul(100))
}

pub fn exceeded(what: &str) -> Error {
    Error::new(ErrorKind::OutOfFuel, what.to_string())
}

pub fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes > VALUE_BYTES.get() {
        return Err(exceeded("a value is too large"));
    }
    Ok(())
}

pub fn check_time() -> Result<(), Error> {
    match DEADLINE.get() {
        Some(deadline) if Instant::now() > deadline => Err(exceeded("rendering takes too long")),
        _ => Ok(()),
    }
}

/// Counts text that is about to be printed.
pub fn charge(bytes: usize) -> Result<(), Error> {
    match PRINT_BYTES.get().checked_sub(bytes) {
        Some(left) => {
            PRINT_BYTES.set(left);
            Ok(())
        }
        None => Err(exceeded("the output is too large")),
    }
}

/// A value about to be kept in a variable: no longer, wider or deeper than the limits. Messages count as one item.
pub fn check_value(value: &Value) -> Result<(), Error> {
    check_time()?;
    let mut items = 0;
    walk(value, 0, &mut items)
}

fn walk(value: &Value, depth: usize, items: &mut usize) -> Result<(), Error> {
    *items += 1;
    if *items > MAX_ITEMS {
        return Err(exceeded("a value has too many items"));
    }
    match value.kind() {
        ValueKind::String | ValueKind::Bytes => check_size(value.len().unwrap_or(0)),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            if depth >= MAX_DEPTH {
                return Err(exceeded("a value is nested too deep"));
            }
            if value.downcast_object_ref::<crate::template::Message>().is_some() {
                return Ok(());
            }
            let is_map = value.kind() == ValueKind::Map;
            if value.len().is_some_and(|n| n > MAX_ITEMS) {
                return Err(exceeded("a value has too many items"));
            }
            let Ok(iterator) = value.try_iter() else { return Ok(()) };
            for item in iterator {
                walk(&item, depth + 1, items)?;
                if is_map {
                    if let Ok(inner) = value.get_item(&item) {
                        walk(&inner, depth + 1, items)?;
                    }
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
