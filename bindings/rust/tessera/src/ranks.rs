//! All ranks of a job as threads of this process.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::error::{Code, Error, Result};
use crate::world::{World, WorldOptions};

/// Makes a job of `size` ranks in this process and runs `body` for each on a thread of its own. Returns what they
/// return, in the order of the ranks.
///
/// A body that fails or panics aborts its rank, so that no other rank waits for it. The error returned is the one that
/// came first, not those that followed from it; a panic is [`Code::Panic`] with the panic's message.
///
/// ```
/// let sizes = tessera::run_ranks(2, &tessera::WorldOptions::new(), |world| world.size())?;
/// assert_eq!(sizes, [2, 2]);
/// # Ok::<(), tessera::Error>(())
/// ```
pub fn run_ranks<T: Send>(
    size: usize,
    options: &WorldOptions,
    body: impl Fn(&mut World) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let worlds = options.threads_of_process(size)?;
    let body = &body;
    let results: Vec<Result<T>> = std::thread::scope(|scope| {
        let threads: Vec<_> = worlds
            .into_iter()
            .enumerate()
            .map(|(rank, world)| {
                // Without a thread the world is dropped, which the other ranks see as a failed peer.
                let thread = std::thread::Builder::new().name(format!("rank-{rank}"));
                thread.spawn_scoped(scope, move || run_rank(rank as u32, world, body))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread?
                    .join()
                    .unwrap_or_else(|panic| Err(panic_error(panic.as_ref())))
            })
            .collect()
    });
    if let Some(error) = cause(&results) {
        return Err(error);
    }
    results.into_iter().collect()
}

fn run_rank<T>(rank: u32, mut world: World, body: &impl Fn(&mut World) -> Result<T>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(|| body(&mut world)))
        .unwrap_or_else(|panic| Err(panic_error(panic.as_ref()).at_rank(rank)));
    match result {
        Ok(value) => world.close().map(|()| value),
        Err(error) => {
            // The ranks that wait learn why; when even that fails, dropping the world tells them that it is gone.
            let _ = world.abort(error.message());
            Err(error)
        }
    }
}

/// The error that the others followed from: the first that is no failed peer, else the first.
fn cause<T>(results: &[Result<T>]) -> Option<Error> {
    let errors = || results.iter().filter_map(|result| result.as_ref().err());
    errors()
        .find(|error| error.code() != Code::PeerFailed)
        .or_else(|| errors().next())
        .cloned()
}

pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text");
    Error::new(Code::Panic, format!("panic: {text}"))
}
