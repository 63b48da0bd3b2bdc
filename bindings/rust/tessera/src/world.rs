//! One rank's seat in a job.

use std::ffi::CString;
use std::time::Duration;

use crate::config::Config;
use crate::error::Result;
use crate::handle::{c_text, check, nanoseconds, value, Owned};
use crate::pending::Pending;
use crate::sys;

/// What carries the ranks' messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Shared memory when all ranks are on one host, else Gloo on CPUs and NCCL on GPUs.
    Auto,
    /// Shared memory of one host.
    Local,
    /// Sockets.
    Gloo,
    /// NVIDIA GPUs.
    Nccl,
}

/// Where a rank computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The cores of the host.
    Cpu,
    /// The GPU whose index is the local rank.
    Cuda,
}

/// Where LibTorch gets the memory of CPU tensors; the first world of a process decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Allocator {
    /// Freed memory is kept and used again.
    Caching,
    /// LibTorch's own is left as it is.
    System,
}

/// Whether something is done that the library else decides on itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Switch {
    /// The library decides.
    Auto,
    /// It is done.
    On,
    /// It is not done.
    Off,
}

/// How a rank joins its job. What is not set has the library's default.
///
/// ```no_run
/// let world = tessera::WorldOptions::new()
///     .rank(0)
///     .size(2)
///     .rendezvous("tcp://10.0.0.1:29500")?
///     .timeout(std::time::Duration::from_secs(60))
///     .join()?;
/// # Ok::<(), tessera::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WorldOptions {
    raw: sys::tessera_world_options,
    rendezvous: Option<CString>,
    job: Option<CString>,
}

// SAFETY: the pointers of `raw` are null except in the copy that `with_raw` makes for one call.
unsafe impl Send for WorldOptions {}
// SAFETY: as above; nothing is changed behind `&self`.
unsafe impl Sync for WorldOptions {}

impl Default for WorldOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl WorldOptions {
    /// The defaults.
    pub fn new() -> Self {
        let mut raw = sys::tessera_world_options::default();
        // SAFETY: `raw` has the size that is passed; with it the call cannot fail.
        let _ = unsafe { sys::tessera_world_options_init(&mut raw, std::mem::size_of_val(&raw)) };
        WorldOptions {
            raw,
            rendezvous: None,
            job: None,
        }
    }

    /// The keys `backend`, `device`, `threads` and `timeout` of a configuration; defaults for the rest.
    pub fn from_config(config: &Config) -> Result<Self> {
        let mut options = Self::new();
        check(|error| unsafe {
            sys::tessera_world_options_load(&mut options.raw, config.handle.raw(), error)
        })?;
        Ok(options)
    }

    /// The number of this rank, from 0.
    pub fn rank(mut self, rank: u32) -> Self {
        self.raw.rank = clamp(rank);
        self
    }

    /// The number of ranks of the job.
    pub fn size(mut self, size: u32) -> Self {
        self.raw.size = clamp(size);
        self
    }

    /// The number of this rank on its host, and how many ranks the host has.
    pub fn local(mut self, rank: u32, size: u32) -> Self {
        (self.raw.local_rank, self.raw.local_size) = (clamp(rank), clamp(size));
        self
    }

    /// What carries the messages.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.raw.backend = backend as i32;
        self
    }

    /// Where this rank computes.
    pub fn device(mut self, device: Device) -> Self {
        self.raw.device = device as i32;
        self
    }

    /// Where CPU memory comes from.
    pub fn allocator(mut self, allocator: Allocator) -> Self {
        self.raw.allocator = allocator as i32;
        self
    }

    /// Whether NCCL uses the memory of gathered weights and of gradients to reduce in place.
    pub fn register_buffers(mut self, switch: Switch) -> Self {
        self.raw.register_buffers = switch as i32;
        self
    }

    /// Whether LibTorch's allocator on GPUs maps memory into segments that grow.
    pub fn expandable_segments(mut self, switch: Switch) -> Self {
        self.raw.expandable_segments = switch as i32;
        self
    }

    /// Threads that this rank uses inside an operator.
    pub fn threads(mut self, threads: u32) -> Self {
        self.raw.intra_op_threads = clamp(threads);
        self
    }

    /// Whether a launcher (torchrun) already serves the rendezvous port.
    pub fn agent_store(mut self, served: bool) -> Self {
        self.raw.agent_store = i32::from(served);
        self
    }

    /// After which time a collective that cannot finish fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.raw.timeout_ns = nanoseconds(Some(timeout));
        self
    }

    /// Where processes meet: `tcp://host:port` or `file:///path`, a file that does not exist yet.
    pub fn rendezvous(mut self, address: &str) -> Result<Self> {
        self.rendezvous = Some(c_text("rendezvous", address)?);
        Ok(self)
    }

    /// A name that keeps two jobs of a host apart.
    pub fn job(mut self, name: &str) -> Result<Self> {
        self.job = Some(c_text("job", name)?);
        Ok(self)
    }

    /// Joins the job; returns when all ranks have met.
    pub fn join(&self) -> Result<World> {
        self.create(|options, out, error| unsafe { sys::tessera_world_create(options, out, error) })
    }

    /// Joins the job that torchrun, mpirun or srun describe in the environment, or makes a job of one rank. These
    /// options hold where the environment is silent.
    pub fn join_from_environment(&self) -> Result<World> {
        self.create(|options, out, error| unsafe {
            sys::tessera_world_create_from_environment(options, out, error)
        })
    }

    /// Makes a job whose ranks all live in this process; element r is rank r.
    pub fn threads_of_process(&self, size: usize) -> Result<Vec<World>> {
        crate::handle::check_abi()?;
        let mut raw = vec![sys::tessera_world::default(); size.min(i32::MAX as usize)];
        check(|error| unsafe {
            sys::tessera_world_create_threads(raw.len() as i32, &self.raw(), raw.as_mut_ptr(), error)
        })?;
        Ok(raw
            .into_iter()
            .map(|raw| World {
                handle: Owned::from_raw(raw),
            })
            .collect())
    }

    fn create(
        &self,
        call: impl FnOnce(
            *const sys::tessera_world_options,
            *mut sys::tessera_world,
            *mut sys::tessera_error,
        ) -> sys::tessera_status,
    ) -> Result<World> {
        let raw = self.raw();
        Ok(World {
            handle: Owned::create(|out, error| call(&raw, out, error))?,
        })
    }

    /// The options as C reads them, valid as long as `self`.
    fn raw(&self) -> sys::tessera_world_options {
        let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        sys::tessera_world_options {
            rendezvous: pointer(&self.rendezvous),
            job: pointer(&self.job),
            ..self.raw
        }
    }
}

/// A number of ranks or threads; what does not fit is refused by the library like any number that is too large.
fn clamp(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// One rank of a job. Dropped without [`close`](World::close), the other ranks see a failed peer.
///
/// `Send` and `Sync`: all work of a rank runs on a thread that the library owns.
#[derive(Debug)]
pub struct World {
    pub(crate) handle: Owned<sys::tessera_world>,
}

impl World {
    /// Joins the job of the launcher, see [`WorldOptions::join_from_environment`].
    pub fn from_environment() -> Result<Self> {
        WorldOptions::new().join_from_environment()
    }

    /// Makes a job whose ranks all live in this process, see also [`run_ranks`](crate::run_ranks).
    pub fn threads(size: usize) -> Result<Vec<Self>> {
        WorldOptions::new().threads_of_process(size)
    }

    /// This rank's number.
    pub fn rank(&self) -> Result<u32> {
        let rank: i32 =
            value(|out, error| unsafe { sys::tessera_world_get_rank(self.handle.raw(), out, error) })?;
        Ok(rank.unsigned_abs())
    }

    /// The number of ranks.
    pub fn size(&self) -> Result<u32> {
        let size: i32 =
            value(|out, error| unsafe { sys::tessera_world_get_size(self.handle.raw(), out, error) })?;
        Ok(size.unsigned_abs())
    }

    /// Orderly end: waits for all ranks. Collective over the world. Its meshes and trainers cannot be used after it.
    ///
    /// ```compile_fail,E0382
    /// let world = tessera::World::from_environment()?;
    /// world.close()?;
    /// world.rank()?; // use of moved value
    /// # Ok::<(), tessera::Error>(())
    /// ```
    pub fn close(self) -> Result<()> {
        check(|error| unsafe { sys::tessera_world_close(self.handle.raw(), error) })
    }

    /// Like [`close`](World::close), without waiting.
    pub fn close_async(self) -> Result<Pending<()>> {
        let pending = Pending::start(|out, error| unsafe {
            sys::tessera_world_close_async(self.handle.raw(), out, error)
        })?;
        Ok(pending.keeping(self))
    }

    /// Tells all ranks that this one cannot go on: their running and later collectives end with
    /// [`Code::PeerFailed`](crate::Code::PeerFailed). Works while another call on the world is running.
    pub fn abort(&self, reason: &str) -> Result<()> {
        let reason = c_text("reason", reason.replace('\0', " "))?;
        check(|error| unsafe { sys::tessera_world_abort(self.handle.raw(), reason.as_ptr(), error) })
    }
}
