//! Calls under way.

use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::handle::{array, check, nanoseconds, value, Owned};
use crate::mesh::Mesh;
use crate::metrics::Metrics;
use crate::sys;
use crate::tensor::Tensor;
use crate::trainer::Trainer;

type Take<T> = Box<dyn FnOnce(sys::tessera_future) -> Result<T> + Send + Sync>;

/// A call under way, with a result of type `T`. Wait for it or poll it; with the feature `async` it is a
/// [`Future`](std::future::Future) as well. Dropping it does not stop the work.
#[must_use = "the outcome is known by waiting only"]
pub struct Pending<T> {
    handle: Owned<sys::tessera_future>,
    take: Option<Take<T>>,
}

/// What the library hands over at the end of a call.
pub(crate) trait Outcome: Sized + 'static {
    fn take(future: sys::tessera_future) -> Result<Self>;
}

impl Outcome for () {
    fn take(future: sys::tessera_future) -> Result<Self> {
        check(|error| unsafe { sys::tessera_future_get_result(future, error) })
    }
}

impl Outcome for Metrics {
    fn take(future: sys::tessera_future) -> Result<Self> {
        Metrics::read(|out, error| unsafe { sys::tessera_future_get_metrics(future, out, error) })
    }
}

impl Outcome for Vec<i64> {
    fn take(future: sys::tessera_future) -> Result<Self> {
        array(64, |buffer, cap, length, error| unsafe {
            sys::tessera_future_get_tokens(future, buffer, cap, length, error)
        })
    }
}

impl Outcome for Tensor {
    fn take(future: sys::tessera_future) -> Result<Self> {
        let get = |out: *mut _, error: *mut _| unsafe { sys::tessera_future_get_tensor(future, out, error) };
        Ok(Tensor {
            handle: Owned::create(get)?,
        })
    }
}

impl Outcome for Mesh {
    fn take(future: sys::tessera_future) -> Result<Self> {
        let get = |out: *mut _, error: *mut _| unsafe { sys::tessera_future_get_mesh(future, out, error) };
        Ok(Mesh {
            handle: Owned::create(get)?,
        })
    }
}

impl Outcome for Trainer {
    fn take(future: sys::tessera_future) -> Result<Self> {
        let get = |out: *mut _, error: *mut _| unsafe { sys::tessera_future_get_trainer(future, out, error) };
        Ok(Trainer {
            handle: Owned::create(get)?,
            last_step: 0,
        })
    }
}

impl<T> Pending<T> {
    /// Makes the call that starts the work.
    pub(crate) fn start(
        call: impl FnOnce(*mut sys::tessera_future, *mut sys::tessera_error) -> sys::tessera_status,
    ) -> Result<Self>
    where
        T: Outcome,
    {
        Ok(Pending {
            handle: Owned::create(call)?,
            take: Some(Box::new(T::take)),
        })
    }

    /// Adds what the host knows to the result.
    pub(crate) fn map(self, add: impl FnOnce(T) -> T + Send + Sync + 'static) -> Self
    where
        T: Outcome,
    {
        Pending {
            handle: self.handle,
            take: Some(Box::new(|future| T::take(future).map(add))),
        }
    }
}

impl Pending<()> {
    /// Holds what the work writes to until it has ended, and gives it as the result.
    pub(crate) fn giving<R: Send + Sync + 'static>(self, held: R) -> Pending<R> {
        let take: Take<R> = Box::new(move |future| <()>::take(future).map(|()| held));
        Pending {
            handle: self.handle,
            take: Some(take),
        }
    }

    /// Holds an object until the result is taken.
    pub(crate) fn keeping<R: Send + Sync + 'static>(self, held: R) -> Pending<()> {
        let take: Take<()> = Box::new(move |future| {
            let result = <()>::take(future);
            drop(held);
            result
        });
        Pending {
            handle: self.handle,
            take: Some(take),
        }
    }
}

impl<T> Pending<T> {
    /// Waits for the end of the work and takes its result.
    pub fn wait(mut self) -> Result<T> {
        self.wait_raw(None)?;
        self.take_result()
    }

    /// Waits at most so long; whether the work has ended.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        match self.wait_raw(Some(timeout)) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Code::Timeout => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the work has ended, well or not.
    pub fn is_done(&self) -> Result<bool> {
        let done: i32 =
            value(|out, error| unsafe { sys::tessera_future_poll(self.handle.raw(), out, error) })?;
        Ok(done != 0)
    }

    /// Asks that work which has not begun is not begun: it ends with [`Code::Cancelled`]. Cancel collective work on every
    /// rank, or the others wait in vain.
    pub fn cancel(&self) -> Result<()> {
        check(|error| unsafe { sys::tessera_future_cancel(self.handle.raw(), error) })
    }

    /// Waits until one of several has ended, and says which: the lowest such index, or `None` when the time is over.
    pub fn wait_any(pending: &[Self], timeout: Option<Duration>) -> Result<Option<usize>> {
        let raw: Vec<_> = pending.iter().map(|one| one.handle.raw()).collect();
        wait_any(&raw, timeout)
    }

    fn wait_raw(&self, timeout: Option<Duration>) -> Result<()> {
        check(|error| unsafe { sys::tessera_future_wait(self.handle.raw(), nanoseconds(timeout), error) })
    }

    fn take_result(&mut self) -> Result<T> {
        let Some(take) = self.take.take() else {
            return Err(Error::new(
                Code::State,
                "the result of this call was taken before",
            ));
        };
        take(self.handle.raw())
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pending({:?})", self.handle)
    }
}

/// Waits for one of several futures; `None` when the time is over.
fn wait_any(futures: &[sys::tessera_future], timeout: Option<Duration>) -> Result<Option<usize>> {
    let (count, timeout) = (crate::handle::length(futures.len()), nanoseconds(timeout));
    let index: Result<i64> = value(|out, error| unsafe {
        sys::tessera_future_wait_any(futures.as_ptr(), count, timeout, out, error)
    });
    match index {
        Ok(index) => Ok(Some(index as usize)),
        Err(error) if error.code() == Code::Timeout => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(feature = "async")]
mod waker {
    //! One thread that waits for all polled calls and wakes their tasks.

    use std::future::Future;
    use std::pin::Pin;
    use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::{sys, wait_any, Pending, Result};
    use crate::handle::value;

    /// How late a call that is polled while the thread already waits for others may be noticed.
    const ROUND: Duration = Duration::from_millis(1);

    #[derive(Default)]
    struct Tasks {
        list: Mutex<Vec<(sys::tessera_future, Waker)>>,
        changed: Condvar,
    }

    impl<T> Future for Pending<T> {
        type Output = Result<T>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
            match self.is_done() {
                Ok(true) => Poll::Ready(self.take_result()),
                Ok(false) => {
                    register(self.handle.raw(), context.waker().clone());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        }
    }

    /// The list of the waiting thread, which begins with the first task; `None` when the system gives no thread.
    fn tasks() -> Option<&'static Tasks> {
        static TASKS: OnceLock<Option<&'static Tasks>> = OnceLock::new();
        *TASKS.get_or_init(|| {
            let tasks: &'static Tasks = Box::leak(Box::default());
            let thread = std::thread::Builder::new().name("tessera-waker".into());
            thread.spawn(|| run(tasks)).ok().map(|_| tasks)
        })
    }

    fn register(future: sys::tessera_future, waker: Waker) {
        let Some(tasks) = tasks() else {
            // The task polls again at once: slow, but right.
            waker.wake();
            return;
        };
        let mut list = tasks.list.lock().unwrap_or_else(PoisonError::into_inner);
        match list.iter_mut().find(|(other, _)| other.id == future.id) {
            Some((_, old)) => old.clone_from(&waker),
            None => list.push((future, waker)),
        }
        tasks.changed.notify_one();
    }

    fn run(tasks: &Tasks) {
        loop {
            let mut list = tasks.list.lock().unwrap_or_else(PoisonError::into_inner);
            while list.is_empty() {
                list = tasks.changed.wait(list).unwrap_or_else(PoisonError::into_inner);
            }
            let futures: Vec<_> = list.iter().map(|(future, _)| *future).collect();
            drop(list);
            if let Ok(None) = wait_any(&futures, Some(ROUND)) {
                continue;
            }
            // One has ended, or was dropped, which wait_any reports as an error.
            let mut list = tasks.list.lock().unwrap_or_else(PoisonError::into_inner);
            let (ended, rest) = list.drain(..).partition(|(future, _)| ended(*future));
            *list = rest;
            drop(list);
            let ended: Vec<(sys::tessera_future, Waker)> = ended;
            ended.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }

    fn ended(future: sys::tessera_future) -> bool {
        let done: Result<i32> = value(|out, error| unsafe { sys::tessera_future_poll(future, out, error) });
        done != Ok(0)
    }
}
