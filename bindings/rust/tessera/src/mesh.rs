//! The ranks of a world laid out on axes, and collectives along them.

use crate::config::Config;
use crate::error::Result;
use crate::handle::{array, c_text, check, text, value, Owned};
use crate::pending::Pending;
use crate::sys;
use crate::tensor::Tensor;
use crate::world::World;

/// The degrees of a mesh. What is not set is 1, but `dp_shard`, which takes all ranks that are left.
#[derive(Debug, Clone, Copy)]
pub struct MeshOptions {
    raw: sys::tessera_mesh_options,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! degrees {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        ///
        /// One degree may be -1: inferred from the size of the world.
        pub fn $name(mut self, degree: i64) -> Self {
            self.raw.$name = degree;
            self
        }
    )*};
}

impl MeshOptions {
    /// The defaults.
    pub fn new() -> Self {
        let mut raw = sys::tessera_mesh_options::default();
        // SAFETY: `raw` has the size that is passed; with it the call cannot fail.
        let _ = unsafe { sys::tessera_mesh_options_init(&mut raw, std::mem::size_of_val(&raw)) };
        MeshOptions { raw }
    }

    /// The keys `parallel.*` of a configuration.
    pub fn from_config(config: &Config) -> Result<Self> {
        let mut options = Self::new();
        check(|error| unsafe {
            sys::tessera_mesh_options_load(&mut options.raw, config.handle.raw(), error)
        })?;
        Ok(options)
    }

    degrees! {
        /// Pipeline stages.
        pp,
        /// Replicas of the sharded model.
        dp_replicate,
        /// Ranks that share one copy of the weights.
        dp_shard,
        /// Ranks that split each sequence.
        cp,
        /// Ranks that split each matrix.
        tp,
        /// Ranks that split the experts; makes no ranks of its own.
        ep,
    }
}

/// How the values of several ranks become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduce {
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// This rank's view of the ranks laid out on axes.
///
/// Axes are `pp`, `dp_replicate`, `dp_shard`, `cp`, `tp`, and the sub-meshes `dp`, `dp_shard_cp` and `dp_cp`. Collectives
/// must be called by all ranks of the axis in the same order. Their asynchronous forms take tensors and give them back
/// with the result, so that nobody reads what is being written.
#[derive(Debug)]
pub struct Mesh {
    pub(crate) handle: Owned<sys::tessera_mesh>,
}

impl Mesh {
    /// Lays the ranks out and connects those that will talk to each other. Collective over the world.
    pub fn new(world: &mut World, options: &MeshOptions) -> Result<Self> {
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_mesh_create(world.handle.raw(), &options.raw, out, error)
        })?;
        Ok(Mesh { handle })
    }

    /// Like [`new`](Mesh::new), without waiting.
    pub fn new_async(world: &mut World, options: &MeshOptions) -> Result<Pending<Self>> {
        Pending::start(|out, error| unsafe {
            sys::tessera_mesh_create_async(world.handle.raw(), &options.raw, out, error)
        })
    }

    /// The number of ranks along an axis.
    pub fn size(&self, axis: &str) -> Result<usize> {
        let axis = c_text("axis", axis)?;
        let size: i64 = value(|out, error| unsafe {
            sys::tessera_mesh_get_size(self.handle.raw(), axis.as_ptr(), out, error)
        })?;
        Ok(size as usize)
    }

    /// This rank's position along an axis.
    pub fn index(&self, axis: &str) -> Result<usize> {
        let axis = c_text("axis", axis)?;
        let index: i64 = value(|out, error| unsafe {
            sys::tessera_mesh_get_index(self.handle.raw(), axis.as_ptr(), out, error)
        })?;
        Ok(index as usize)
    }

    /// The world ranks along an axis through this rank, in order.
    pub fn ranks(&self, axis: &str) -> Result<Vec<u32>> {
        let axis = c_text("axis", axis)?;
        let ranks: Vec<i32> = array(64, |buffer, cap, length, error| unsafe {
            sys::tessera_mesh_get_ranks(self.handle.raw(), axis.as_ptr(), buffer, cap, length, error)
        })?;
        Ok(ranks.into_iter().map(i32::unsigned_abs).collect())
    }

    /// The mesh in words: "pp=1 dp_replicate=1 dp_shard=4 cp=1 tp=1".
    pub fn describe(&self) -> Result<String> {
        text(|buffer, cap, length, error| unsafe {
            sys::tessera_mesh_get_text(self.handle.raw(), buffer, cap, length, error)
        })
    }

    /// Returns when every rank of the axis has called.
    pub fn barrier(&mut self, axis: &str) -> Result<()> {
        let axis = c_text("axis", axis)?;
        check(|error| unsafe { sys::tessera_mesh_barrier(self.handle.raw(), axis.as_ptr(), error) })
    }

    /// Like [`barrier`](Mesh::barrier), without waiting.
    pub fn barrier_async(&mut self, axis: &str) -> Result<Pending<()>> {
        let axis = c_text("axis", axis)?;
        Pending::start(|out, error| unsafe {
            sys::tessera_mesh_barrier_async(self.handle.raw(), axis.as_ptr(), out, error)
        })
    }

    /// Reduces `tensor` over the axis, in place.
    pub fn all_reduce(&mut self, axis: &str, tensor: &mut Tensor, reduce: Reduce) -> Result<()> {
        let axis = c_text("axis", axis)?;
        check(|error| unsafe {
            let tensor = tensor.handle.raw();
            sys::tessera_mesh_all_reduce(self.handle.raw(), axis.as_ptr(), tensor, reduce as i32, error)
        })
    }

    /// Like [`all_reduce`](Mesh::all_reduce), without waiting; gives the tensor back.
    pub fn all_reduce_async(
        &mut self,
        axis: &str,
        tensor: Tensor,
        reduce: Reduce,
    ) -> Result<Pending<Tensor>> {
        let axis = c_text("axis", axis)?;
        let pending = Pending::start(|out, error| unsafe {
            let tensor = tensor.handle.raw();
            sys::tessera_mesh_all_reduce_async(
                self.handle.raw(),
                axis.as_ptr(),
                tensor,
                reduce as i32,
                out,
                error,
            )
        })?;
        Ok(pending.giving(tensor))
    }

    /// Joins the inputs of all ranks along the axis: `output` has as many times the elements of `input`.
    pub fn all_gather(&mut self, axis: &str, input: &Tensor, output: &mut Tensor) -> Result<()> {
        let axis = c_text("axis", axis)?;
        check(|error| unsafe {
            let (input, output) = (input.handle.raw(), output.handle.raw());
            sys::tessera_mesh_all_gather(self.handle.raw(), axis.as_ptr(), input, output, error)
        })
    }

    /// Like [`all_gather`](Mesh::all_gather), without waiting; gives both tensors back.
    pub fn all_gather_async(
        &mut self,
        axis: &str,
        input: Tensor,
        output: Tensor,
    ) -> Result<Pending<(Tensor, Tensor)>> {
        let axis = c_text("axis", axis)?;
        let pending = Pending::start(|out, error| unsafe {
            let (input, output) = (input.handle.raw(), output.handle.raw());
            sys::tessera_mesh_all_gather_async(self.handle.raw(), axis.as_ptr(), input, output, out, error)
        })?;
        Ok(pending.giving((input, output)))
    }

    /// Reduces the inputs over the axis and leaves each rank its part.
    pub fn reduce_scatter(
        &mut self,
        axis: &str,
        input: &Tensor,
        output: &mut Tensor,
        reduce: Reduce,
    ) -> Result<()> {
        let axis = c_text("axis", axis)?;
        check(|error| unsafe {
            let (input, output) = (input.handle.raw(), output.handle.raw());
            sys::tessera_mesh_reduce_scatter(
                self.handle.raw(),
                axis.as_ptr(),
                input,
                output,
                reduce as i32,
                error,
            )
        })
    }

    /// Like [`reduce_scatter`](Mesh::reduce_scatter), without waiting; gives both tensors back.
    pub fn reduce_scatter_async(
        &mut self,
        axis: &str,
        input: Tensor,
        output: Tensor,
        reduce: Reduce,
    ) -> Result<Pending<(Tensor, Tensor)>> {
        let axis = c_text("axis", axis)?;
        let pending = Pending::start(|out, error| unsafe {
            sys::tessera_mesh_reduce_scatter_async(
                self.handle.raw(),
                axis.as_ptr(),
                input.handle.raw(),
                output.handle.raw(),
                reduce as i32,
                out,
                error,
            )
        })?;
        Ok(pending.giving((input, output)))
    }

    /// Part i of the input goes to position i of the axis; part j of the output came from position j.
    pub fn all_to_all(&mut self, axis: &str, input: &Tensor, output: &mut Tensor) -> Result<()> {
        let axis = c_text("axis", axis)?;
        check(|error| unsafe {
            let (input, output) = (input.handle.raw(), output.handle.raw());
            sys::tessera_mesh_all_to_all(self.handle.raw(), axis.as_ptr(), input, output, error)
        })
    }

    /// Like [`all_to_all`](Mesh::all_to_all), without waiting; gives both tensors back.
    pub fn all_to_all_async(
        &mut self,
        axis: &str,
        input: Tensor,
        output: Tensor,
    ) -> Result<Pending<(Tensor, Tensor)>> {
        let axis = c_text("axis", axis)?;
        let pending = Pending::start(|out, error| unsafe {
            let (input, output) = (input.handle.raw(), output.handle.raw());
            sys::tessera_mesh_all_to_all_async(self.handle.raw(), axis.as_ptr(), input, output, out, error)
        })?;
        Ok(pending.giving((input, output)))
    }

    /// Copies the tensor of position `root` of the axis to all others, in place.
    pub fn broadcast(&mut self, axis: &str, tensor: &mut Tensor, root: usize) -> Result<()> {
        let axis = c_text("axis", axis)?;
        check(|error| unsafe {
            let tensor = tensor.handle.raw();
            sys::tessera_mesh_broadcast(self.handle.raw(), axis.as_ptr(), tensor, root as i64, error)
        })
    }

    /// Like [`broadcast`](Mesh::broadcast), without waiting; gives the tensor back.
    pub fn broadcast_async(&mut self, axis: &str, tensor: Tensor, root: usize) -> Result<Pending<Tensor>> {
        let axis = c_text("axis", axis)?;
        let pending = Pending::start(|out, error| unsafe {
            let tensor = tensor.handle.raw();
            sys::tessera_mesh_broadcast_async(
                self.handle.raw(),
                axis.as_ptr(),
                tensor,
                root as i64,
                out,
                error,
            )
        })?;
        Ok(pending.giving(tensor))
    }
}
