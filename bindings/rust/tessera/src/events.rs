//! Metrics, log lines and failures as a queue.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::error::{Code, Error, Result};
use crate::handle::{check, field, nanoseconds, Owned, Raw};
use crate::log::Level;
use crate::metrics::Metrics;
use crate::ranks::panic_error;
use crate::sys;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Whose event it is.
    pub rank: Option<u32>,
    /// When it happened.
    pub time: SystemTime,
    /// Events lost before this one since the last one was taken.
    pub dropped: i64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A step was made. `communication_seconds` is not part of events.
    Metrics(Metrics),
    /// The library says something.
    Log {
        /// How important it is.
        level: Level,
        /// The line.
        message: String,
    },
    /// A call failed.
    Failure {
        /// How.
        code: Code,
        /// The message of its error.
        message: String,
    },
    /// A checkpoint was saved.
    Checkpoint {
        /// Where.
        directory: PathBuf,
    },
    /// An event that this version of the crate does not know.
    Unknown(i32),
}

/// A queue that the host pulls from. A full one drops its oldest metrics and log lines and counts them; failures are never
/// dropped. Share it by `Arc` or reference: every event is taken once.
#[derive(Debug)]
pub struct Events {
    pub(crate) handle: Owned<sys::tessera_events>,
}

impl Events {
    /// An empty queue that keeps so many metrics and log lines; 0 means 1024.
    pub fn new(capacity: usize) -> Result<Self> {
        let capacity = i64::try_from(capacity).unwrap_or(i64::MAX);
        let handle = Owned::create(|out, error| unsafe { sys::tessera_events_create(capacity, out, error) })?;
        Ok(Events { handle })
    }

    /// Takes the oldest event, waiting for one: at most so long, or without end. `None` when the time is over.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Option<Event>> {
        let mut raw = std::mem::MaybeUninit::<sys::tessera_event>::zeroed();
        let size = std::mem::size_of::<sys::tessera_event>();
        let taken = check(|error| unsafe {
            match sys::tessera_event_init(raw.as_mut_ptr(), size) {
                0 => {
                    sys::tessera_events_next(self.handle.raw(), nanoseconds(timeout), raw.as_mut_ptr(), error)
                }
                status => status,
            }
        });
        match taken {
            // SAFETY: zeroed, then filled.
            Ok(()) => Ok(Some(Event::from_raw(unsafe { raw.assume_init_ref() }))),
            Err(error) if error.code() == Code::Timeout => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The events that are there, without waiting.
    pub fn try_iter(&self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.next(Some(Duration::ZERO)).ok().flatten())
    }

    /// All events, waiting for each, until the queue is [closed](Events::close).
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.next(None).ok().flatten())
    }

    /// Ends the queue: those who wait for events get no more.
    pub fn close(&self) {
        self.handle.raw().destroy();
    }

    /// Calls `listener` for every event, on a thread of its own, until the [`Listener`] is stopped.
    pub fn listen(self: &Arc<Self>, mut listener: impl FnMut(Event) + Send + 'static) -> Result<Listener> {
        let events = Arc::clone(self);
        let run = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| events.iter().for_each(&mut listener)));
            ended.map_err(|panic| panic_error(panic.as_ref()))
        };
        let thread = std::thread::Builder::new()
            .name("tessera-events".into())
            .spawn(run)?;
        Ok(Listener {
            events: Arc::clone(self),
            thread: Some(thread),
        })
    }
}

/// A thread that gives events to a closure, see [`Events::listen`]. Stops when dropped.
#[derive(Debug)]
pub struct Listener {
    events: Arc<Events>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Listener {
    /// Closes the queue and waits for the closure's last call. [`Code::Panic`] when it panicked.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.events.close();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => Err(panic_error(panic.as_ref())),
            None => Ok(()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever wants the outcome calls `stop`.
        let _: std::result::Result<(), Error> = self.end();
    }
}

impl Event {
    fn from_raw(raw: &sys::tessera_event) -> Self {
        let message = || field(&raw.message);
        let kind = match raw.type_ as u32 {
            sys::TESSERA_EVENT_METRICS => EventKind::Metrics(Metrics {
                step: raw.step,
                loss: raw.loss,
                grad_norm: raw.grad_norm,
                lr: raw.lr,
                tokens: raw.tokens,
                label_tokens: raw.label_tokens,
                seconds: raw.seconds,
                tokens_per_s: raw.tokens_per_s,
                communication_seconds: 0.0,
                memory: raw.memory,
                expert_load_ratio: raw.expert_load_ratio,
                expert_idle: raw.expert_idle,
                expert_balance_loss: raw.expert_balance_loss,
                expert_z_loss: raw.expert_z_loss,
                memory_reserved: 0,
            }),
            sys::TESSERA_EVENT_LOG => EventKind::Log {
                level: Level::from_raw(raw.level),
                message: message(),
            },
            sys::TESSERA_EVENT_FAILURE => EventKind::Failure {
                code: Code::from_status(raw.status),
                message: message(),
            },
            sys::TESSERA_EVENT_CHECKPOINT => EventKind::Checkpoint {
                directory: message().into(),
            },
            _ => EventKind::Unknown(raw.type_),
        };
        let nanoseconds = u64::try_from(raw.time_ns).unwrap_or(0);
        Event {
            rank: u32::try_from(raw.rank).ok(),
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
            dropped: raw.dropped,
            kind,
        }
    }
}
